"""Small meshes and views of them for the tests of fusion; distances and surroundings by the slow obvious way."""

import numpy as np

from semquery.fusion import ViewRegions, directions, poses, unit_sphere
from semquery.render import RayCaster, pinhole
from semquery.segmenter import Region


def strip(length: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """A ribbon of 2·length triangles along x, face 2k and 2k + 1 make its k-th square."""
    x = np.arange(length + 1)
    vertices = np.stack([np.repeat(x, 2), np.tile([0, 1], length + 1), np.zeros(2 * length + 2)], 1).astype(np.float64)
    faces = [corner for k in range(length) for corner in ([2 * k, 2 * k + 2, 2 * k + 1], [2 * k + 1, 2 * k + 2, 2 * k + 3])]
    return vertices, np.array(faces, np.int64)


def ball(detail: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """A sphere of 20·4^detail triangles."""
    import trimesh

    mesh = trimesh.creation.icosphere(subdivisions=detail)
    return np.asarray(mesh.vertices), np.asarray(mesh.faces)


def random_mesh(random: np.random.Generator, num_vertices: int, num_faces: int) -> tuple[np.ndarray, np.ndarray]:
    """Triangles between random points: pieces, fans, twins and triangles without area, whatever comes."""
    vertices = random.normal(size=(num_vertices, 3))
    faces = random.integers(0, num_vertices, (num_faces, 3))
    return vertices, np.where(random.random((num_faces, 1)) < 0.2, faces[:1], faces)


def shown(vertices: np.ndarray, faces: np.ndarray, around: str = "ring8", size: int = 96) -> dict[str, np.ndarray]:
    """The face behind each pixel of every view."""
    caster = RayCaster(unit_sphere(vertices)[0], faces)
    return {f"view_{k}": caster.cast(pose, pinhole(60.0, (size, size)), (size, size)).face for k, pose in enumerate(poses(directions(around)))}


def regions_of(views: dict[str, np.ndarray], inside: np.ndarray, **told) -> tuple[ViewRegions, ...]:
    """Exact masks of the marked faces, one region a view that shows any."""
    found = []
    for name, face in views.items():
        mask = (face >= 0) & inside[face]
        found.append(ViewRegions(face, (Region(mask, **told),) if mask.any() else (), name))
    return tuple(found)


def all_distances(lengths: np.ndarray) -> np.ndarray:
    """Floyd and Warshall on a dense matrix in which 0 is no edge."""
    d = np.where(lengths > 0, lengths, np.inf)
    np.fill_diagonal(d, 0)
    for k in range(len(d)):
        d = np.minimum(d, d[:, k, None] + d[None, k])
    return d


def surroundings(neighbours: np.ndarray, steps: int) -> np.ndarray:
    """[f, f], whether a face is within so many steps, by walking from each."""
    reached = np.eye(len(neighbours), dtype=bool)
    for _ in range(steps):
        reached = np.array([neighbours[row].any(0) for row in reached])
    return reached
