"""Which part each face of a mesh belongs to, from the surface points that lie on it.

Notation
  n surface points, f faces, k samples of the mesh, c faces that are tried for a point. Ids are row numbers.
Points of a surface are means of what several pixels saw: they lie near a face, seldom on it, and do not say which.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float, Float64, Int32, Int64, Integer

from semquery.render import Mesh
from semquery.types import PartTree, Surface

MOST_SAMPLES = 4_000_000  # of a mesh, besides one a face
TRIED = 8  # samples near a point whose faces are measured exactly
AT_A_TIME = 100_000  # points
WITHIN = 0.9  # share of the surface that lies within the bounds of the mesh it was made from, at least
BEYOND = 3.0  # voxels that points may lie outside of these bounds


def check_mesh(mesh: Mesh, surface: Surface, path: Path | None) -> None:
    """Raises ValueError for a mesh that does not lie where the surface does."""
    low, high = mesh.vertices.min(0) - BEYOND * surface.voxel_size, mesh.vertices.max(0) + BEYOND * surface.voxel_size
    share = float(((surface.points >= low) & (surface.points <= high)).all(1).mean()) if len(surface.points) else 1.0
    if share < WITHIN:
        raise ValueError(f"{100 * (1 - share):.0f} % of the surface lies outside of the mesh {path}: it is not the one that this run was made from, "
                         "or lies elsewhere. Give the mesh that `semquery fit --mesh` was given.")


def part_of_face(surface: Surface, parts: PartTree, mesh: Mesh) -> Int32[np.ndarray, " f"]:
    """The part of most of the points that lie on each face; of a face that no point lies on, that of the point next to its middle.

    A point lies on the face nearest to it. Raises ValueError for a surface without points and for a mesh without faces.
    """
    from scipy.spatial import cKDTree

    if not len(surface.points):
        raise ValueError("The surface has no points, so nothing says to which part a face of the mesh belongs.")
    if not len(mesh.faces):
        raise ValueError(f"A mesh of {len(mesh.vertices)} vertices has no faces. Give one with triangles, or none: discs are drawn then.")
    face = nearest_faces(surface.points, mesh, surface.voxel_size / 2)
    part = most_frequent(face, parts.part_of_point, len(mesh.faces))
    bare = np.flatnonzero(part < 0)
    middle = mesh.vertices[mesh.faces[bare]].mean(1)
    part[bare] = parts.part_of_point[cKDTree(surface.points).query(middle)[1]]
    return part


def most_frequent(face: Integer[np.ndarray, " n"], part: Int32[np.ndarray, " n"], num_faces: int) -> Int32[np.ndarray, " f"]:
    """The part that occurs most often with each face, of several the one with the lowest number; -1 where none does."""
    width = int(part.max(initial=0)) + 1
    pairs, count = np.unique(face.astype(np.int64) * width + part, return_counts=True)
    on_face, of_part = np.divmod(pairs, width)
    order = np.lexsort((of_part, -count, on_face))
    first = order[np.unique(on_face[order], return_index=True)[1]]
    found = np.full(num_faces, -1, np.int32)
    found[on_face[first]] = of_part[first]
    return found


def nearest_faces(points: Float[np.ndarray, "n 3"], mesh: Mesh, spacing: float) -> Int64[np.ndarray, " n"]:
    """The face nearest to each point, of those with samples next to it; `spacing` (world units) is between samples of a face."""
    from scipy.spatial import cKDTree
    from trimesh.triangles import closest_point

    corners = mesh.vertices[mesh.faces].astype(np.float64)
    samples, of_sample = samples_of(corners, spacing)
    near, found = cKDTree(samples), []
    for k in range(0, len(points), AT_A_TIME):
        some = points[k : k + AT_A_TIME].astype(np.float64)
        tried = of_sample[near.query(some, k=min(TRIED, len(samples)))[1].reshape(len(some), -1)]
        on_face = closest_point(corners[tried].reshape(-1, 3, 3), np.repeat(some, tried.shape[1], axis=0))
        away = np.linalg.norm(on_face.reshape(*tried.shape, 3) - some[:, None], axis=-1)
        found.append(tried[np.arange(len(some)), away.argmin(1)])
    return np.concatenate([np.zeros(0, np.int64), *found])


def samples_of(corners: Float64[np.ndarray, "f 3 3"], spacing: float) -> tuple[Float64[np.ndarray, "k 3"], Int64[np.ndarray, " k"]]:
    """Points spread evenly over triangles, at least one in each, and the triangle of each point.

    They are Roberts' R2 sequence, folded into the triangle; spaced more widely where they were more than `MOST_SAMPLES`.
    """
    a, b, c = corners.transpose(1, 0, 2)
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    longest = np.linalg.norm(corners - corners[:, [1, 2, 0]], axis=2).max(1)
    wanted = np.maximum(area / max(spacing, 1e-30) ** 2, longest / max(spacing, 1e-30))
    count = 1 + (wanted * min(1.0, MOST_SAMPLES / max(float(wanted.sum()), 1e-30))).astype(np.int64)
    of_sample = np.repeat(np.arange(len(corners)), count)
    within = np.arange(len(of_sample)) - np.repeat(np.cumsum(count) - count, count)
    u, v = (0.5 + np.outer([0.7548776662466927, 0.5698402909980532], within)) % 1
    u, v = np.where(u + v > 1, [1 - u, 1 - v], [u, v])
    return a[of_sample] + u[:, None] * (b - a)[of_sample] + v[:, None] * (c - a)[of_sample], of_sample
