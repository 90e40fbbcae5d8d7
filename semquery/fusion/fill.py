"""What no view has seen takes after what is nearest along the surface."""

import numpy as np
from jaxtyping import Bool, Int64
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import dijkstra

from semquery.fusion.graph import MeshGraph


def nearest_known(graph: MeshGraph, known: Bool[np.ndarray, " f"]) -> Int64[np.ndarray, " f"]:
    """The known face nearest to each along the surface and across bridges; a known one is its own. Raises ValueError where none is known."""
    if not known.any():
        raise ValueError("No face is known, so nothing can be told of the others.")
    sources = np.flatnonzero(known)
    if known.all():
        return sources
    _, _, source = dijkstra(_faces_and_vertices(graph), indices=sources, min_only=True, return_predecessors=True)
    return np.where(known, np.arange(graph.num_faces), source[: graph.num_faces]).astype(np.int64)


def _faces_and_vertices(graph: MeshGraph) -> csr_matrix:
    """[f + n, f + n]: from the middle of each face to its corners and back, and along edges and bridges."""
    face, corner = np.repeat(np.arange(graph.num_faces), 3), graph.faces.ravel()
    length = np.maximum(np.linalg.norm(graph.middle[face] - graph.vertices[corner], axis=1), 1e-12)
    along = graph.joined.tocoo()
    size = graph.num_faces + len(graph.vertices)
    _, once = np.unique(face * len(graph.vertices) + corner, return_index=True)  # a face may name a corner twice
    face, corner, length = face[once], corner[once] + graph.num_faces, length[once]
    rows = np.concatenate([face, corner, along.row + graph.num_faces])
    columns = np.concatenate([corner, face, along.col + graph.num_faces])
    return coo_matrix((np.concatenate([length, length, along.data]), (rows, columns)), shape=(size, size)).tocsr()
