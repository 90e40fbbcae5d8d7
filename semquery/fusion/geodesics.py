"""Distances along a mesh, and Gaussian geodesic reweighting (SATR, arXiv 2304.04909; Reasoning3D, arXiv 2405.19326).

Notation
  n vertices, f faces, r regions, k vertices or faces of one region.
Conventions
  Lengths are units of the unit sphere. Distances are shortest paths along edges: 5 % longer than true geodesics, and as good for
  weights that depend on distances only relative to each other. One region needs one source; the published codes solve for all
  vertices, n² numbers, of which they read one column a region.

Between pieces that do not touch there are two ways. "bridges" joins them where they are nearest. "heat" is what the published codes
get from the heat method: its Poisson equation has no source on other pieces and leaves each of them one constant, which relative to
the source is the mean distance on the source's own piece, by area. With many pieces that is chance, but the published scores have it.
"""

from typing import Literal

import numpy as np
from jaxtyping import Float64, Int64
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

from semquery.fusion.graph import MeshGraph

Across = Literal["bridges", "heat"]


def distances(graph: MeshGraph, source: int, wanted: Int64[np.ndarray, " k"], across: Across = "bridges") -> Float64[np.ndarray, " k"]:
    """From one vertex to others. A search goes only as far as it must: one that misses some is repeated three times as far."""
    if across == "heat":
        return _on_one_piece(graph, source, wanted)
    return _searched(graph.joined, graph, source, wanted)


def _on_one_piece(graph: MeshGraph, source: int, wanted: Int64[np.ndarray, " k"]) -> Float64[np.ndarray, " k"]:
    own = graph.piece[wanted] == graph.piece[source]
    if own.all():
        return _searched(graph.apart, graph, source, wanted)
    found = dijkstra(graph.apart, indices=source)
    reached = np.isfinite(found)
    area = graph.area_of_vertex[reached]
    mean = np.average(found[reached], weights=area) if area.any() else found[reached].mean()
    return np.where(own, found[wanted], mean)


def _searched(lengths: csr_matrix, graph: MeshGraph, source: int, wanted: Int64[np.ndarray, " k"]) -> Float64[np.ndarray, " k"]:
    reach = 1.5 * float(np.linalg.norm(graph.vertices[wanted] - graph.vertices[source], axis=1).max(initial=0)) + 1e-9
    while True:
        found = dijkstra(lengths, indices=source, limit=reach)[wanted]
        if np.isfinite(found).all():
            return found
        reach *= 3


def capital(graph: MeshGraph, faces: Int64[np.ndarray, " k"]) -> int:
    """The vertex of these faces that is nearest to their centroid, each face weighing by its area."""
    area = graph.area[faces]
    area = area if area.sum() > 0 else np.ones(len(faces))
    centroid = area @ graph.middle[faces] / area.sum()
    corners = np.unique(graph.faces[faces])
    return int(corners[np.linalg.norm(graph.vertices[corners] - centroid, axis=1).argmin()])


def gaussian(d: Float64[np.ndarray, " k"], width: float = 1.0, is_density: bool = True) -> Float64[np.ndarray, " k"]:
    """N(d; mean of d, deviation of d times width): the published density, which makes small regions louder by 1/σ, or relative to its peak, 0..1.

    The peak is at the mean distance, not in the middle of the region. Where all distances are the same: 1.
    """
    sigma = width * float(d.std())
    if sigma <= 1e-9:
        return np.ones(len(d))
    relative = np.exp(-((d - d.mean()) ** 2) / (2 * sigma**2))
    return relative / (sigma * np.sqrt(2 * np.pi)) if is_density else relative


def geodesic_weights(
    graph: MeshGraph, pixels: csr_matrix, rows: Int64[np.ndarray, " m"], width: float = 1.0, is_density: bool = True, across: Across = "bridges"
) -> csr_matrix:
    """w [r, f] in the entries of `pixels`: Gaussian in these rows, 1 in the others. Distances are to the first vertex of each face."""
    weights = pixels.copy()
    weights.data = np.ones(len(pixels.data))
    for row in rows:
        at = slice(pixels.indptr[row], pixels.indptr[row + 1])
        faces = pixels.indices[at].astype(np.int64)
        d = distances(graph, capital(graph, faces), graph.faces[faces, 0], across)
        weights.data[at] = gaussian(d, width, is_density)
    return weights
