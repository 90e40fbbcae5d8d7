"""Bodies with geometric parts, where no labels are at hand: pseudo-truth that lies along the surface.

Notation
  n vertices, f faces, k seeds.
Conventions
  +y is up. Distances are shortest paths along edges. `coarse_parts` and `fine_parts` have as many parts as FAUST has labels, 4 and
  17, but they are NOT those labels: coarse parts end at distances from the tips of head, hands and feet, fine ones are Voronoi cells
  of seeds that lie as far apart as can be. Numbers on them do not compare with published ones.
"""

import numpy as np
from jaxtyping import Float, Float64, Int, Int32, Int64

from eval.reasoning.faust import face_labels
from semquery.fusion.graph import MeshGraph, mesh_graph

COARSE = ("arm", "head", "leg", "torso")
REACH = {"head": 0.15, "arm": 0.37, "leg": 0.47}  # how far a part reaches from its tip, shares of the body's height
NUM_FINE = 17
Bone = tuple[tuple[float, float, float], tuple[float, float, float], float]  # both ends and the radius, shares of the height


def coarse_parts(vertices: Float[np.ndarray, "n 3"], faces: Int[np.ndarray, "f 3"]) -> Int32[np.ndarray, " f"]:
    """Place in COARSE of every face of a body that stretches its limbs.

    The five points that lie farthest from its middle and from each other are taken for the head (the highest), the feet (the
    lowest two) and the hands.
    """
    graph = mesh_graph(vertices, faces)
    middle = int(np.linalg.norm(graph.vertices - graph.middle.mean(0), axis=1).argmin())
    _, tips = farthest(graph, 5, start=middle, with_start=False)
    order = tips[np.argsort(-graph.vertices[tips, 1])]
    tip_of = {"head": order[:1], "arm": order[1:3], "leg": order[3:]}
    height = float(np.ptp(graph.vertices[:, 1]))
    label = np.full(len(graph.vertices), COARSE.index("torso"), np.int32)
    for name, ends in tip_of.items():
        label[distances(graph, ends).min(0) < REACH[name] * height] = COARSE.index(name)
    return face_labels(label, graph.faces)


def fine_parts(vertices: Float[np.ndarray, "n 3"], faces: Int[np.ndarray, "f 3"], num: int = NUM_FINE) -> Int32[np.ndarray, " f"]:
    """The Voronoi cell of every face: seeds are chosen one after another, each as far from the earlier ones as can be."""
    graph = mesh_graph(vertices, faces)
    nearest, _ = farthest(graph, num, start=int(graph.vertices[:, 1].argmax()))
    return face_labels(nearest, graph.faces)


def farthest(graph: MeshGraph, num: int, start: int, with_start: bool = True) -> tuple[Int32[np.ndarray, " n"], Int64[np.ndarray, " k"]]:
    """(the nearest seed of every vertex, the seeds), each seed the vertex that is farthest from those before it.

    Without `with_start` the search begins at the start, but it is no seed itself.
    """
    away = distances(graph, np.array([start]))[0]
    rows, seeds = ([away], [start]) if with_start else ([], [])
    while len(seeds) < num:
        seeds.append(int(away.argmax()))
        rows.append(distances(graph, np.array(seeds[-1:]))[0])
        away = np.minimum(away, rows[-1])
    return np.argmin(rows, axis=0).astype(np.int32), np.array(seeds)


def distances(graph: MeshGraph, sources: Int64[np.ndarray, " k"]) -> Float64[np.ndarray, "k n"]:
    """Shortest paths along edges from every source."""
    from scipy.sparse.csgraph import dijkstra

    return dijkstra(graph.joined, indices=sources).reshape(len(sources), -1)


# ------------------------------------------------------------------ a figure of our own


def bones() -> list[Bone]:
    """A standing figure with its arms half raised; of unit height, +y up, facing +z."""
    middle: list[Bone] = [
        ((0, 0.53, 0), (0, 0.77, 0), 0.085), ((0, 0.80, 0), (0, 0.86, 0.01), 0.035), ((0, 0.91, 0.01), (0, 0.935, 0.015), 0.065)]
    sides: list[Bone] = []
    for s in (-1, 1):
        sides += [
            ((0.11 * s, 0.77, 0), (0.25 * s, 0.72, -0.01), 0.038), ((0.25 * s, 0.72, -0.01), (0.38 * s, 0.80, 0.03), 0.03),
            ((0.38 * s, 0.80, 0.03), (0.45 * s, 0.84, 0.04), 0.026), ((0.06 * s, 0.52, 0), (0.10 * s, 0.28, 0.02), 0.06),
            ((0.10 * s, 0.28, 0.02), (0.13 * s, 0.06, -0.01), 0.042), ((0.13 * s, 0.035, -0.01), (0.145 * s, 0.03, 0.10), 0.032),
        ]
    return middle + sides


def figure(spacing: float = 0.011, blend: float = 0.02) -> tuple[Float64[np.ndarray, "n 3"], Int32[np.ndarray, "f 3"]]:
    """A closed surface around the bones, about 20,000 triangles at the default spacing; joints are rounded by `blend`."""
    from skimage.measure import marching_cubes

    low, high = np.array([-0.52, -0.04, -0.16]), np.array([0.52, 1.06, 0.18])
    axes = [np.arange(a, b, spacing) for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    share = np.sum([np.exp(-_to_bone(grid, bone) / blend) for bone in bones()], axis=0)
    vertices, faces, _, _ = marching_cubes(-blend * np.log(share), 0.0, spacing=(spacing,) * 3)
    return vertices.astype(np.float64) + low, np.ascontiguousarray(faces, np.int32)


def _to_bone(points: Float64[np.ndarray, "x y z 3"], bone: Bone) -> Float64[np.ndarray, "x y z"]:
    """Distance to the surface of a capsule, negative inside."""
    a, b, radius = np.array(bone[0], float), np.array(bone[1], float), bone[2]
    along = ((points - a) @ (b - a) / ((b - a) @ (b - a))).clip(0, 1)
    return np.linalg.norm(points - a - along[..., None] * (b - a), axis=-1) - radius
