"""Points in space: fusing what the views saw, neighbour graphs, bridges, principal axes.

Notation
  k observed pixels of a view, n fused points, e undirected edges stored once as (i, j) with i < j.
  Distances are in world units.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64, Int, Int32, Int64, Num

from semquery.types import Observation, Surface


@dataclass(frozen=True)
class FusionConfig:
    """How the views' points become one surface."""

    resolution: int = 400
    """Voxels along the longest side of the scene's bulk."""
    voxel_size: float = 0.0
    """Side of a voxel in world units, taken as it is; 0 = from the resolution, larger where the next four ask for it."""
    max_points: int = 80_000
    """The voxels grow until no more points than this are left: the tree's cost grows with them."""
    min_hits: int = 3
    """A voxel counts as surface when at least this many pixels fell into it…"""
    min_views: int = 2
    """…from at least this many views. Floating specks of a radiance field rarely repeat."""
    min_kept: float = 0.5
    """The voxels also grow until at least this share of the pixels fell into surface: few or small photos need large ones."""


def bulk_box(points: Num[np.ndarray, "k 3"], outside: float = 0.005) -> Float64[np.ndarray, "2 3"]:
    """The box of all but the outermost share of points along each axis, grown by 2 % on every side."""
    low, high = np.quantile(points, [outside, 1 - outside], axis=0).astype(np.float64)
    margin = 0.02 * max(float((high - low).max()), 1e-9)
    return np.stack([low - margin, high + margin])


def fuse(seen: Mapping[str, Observation], eyes: Mapping[str, np.ndarray], config: FusionConfig) -> Surface:
    """Average the observed points of each voxel; keep voxels with enough hits.

    `eyes` are the camera centres, which orient the normals. Raises ValueError when nothing is left.
    """
    points = np.concatenate([o.points for o in seen.values()])
    if not len(points):
        raise ValueError("No view shows any surface: every pixel of every view is background.")
    box = bulk_box(points)
    voxel = config.voxel_size or float((box[1] - box[0]).max()) / config.resolution
    views = np.repeat(np.arange(len(seen)), [len(o.points) for o in seen.values()])
    while True:
        row_of_hit, num_rows = _voxel_rows(points, box, voxel, views, config)
        growth = max(num_rows / config.max_points, 1.7 if (row_of_hit >= 0).mean() < config.min_kept else 0.0)
        if growth <= 1 or config.voxel_size or voxel > (box[1] - box[0]).max() / 8:
            break
        voxel *= max(1.05, np.sqrt(growth))
    if num_rows == 0:
        raise ValueError(
            f"No voxel of {voxel:.4g} was hit by {config.min_hits} pixels from {config.min_views} views "
            f"({len(points)} pixels in {len(seen)} views). The views do not overlap, or the voxels are too small."
        )
    return _averaged(seen, eyes, points, row_of_hit, num_rows, voxel)


def _voxel_rows(points, box, voxel, views, config) -> tuple[Int64[np.ndarray, " k"], int]:
    """The fused row of each hit (-1 = dropped) and the number of rows."""
    inside = ((points >= box[0]) & (points <= box[1])).all(1)
    cell = np.floor((points[inside] - box[0]) / voxel).astype(np.int64)
    side = int(cell.max(initial=0)) + 1
    _, row, hits = np.unique((cell[:, 0] * side + cell[:, 1]) * side + cell[:, 2], return_inverse=True, return_counts=True)
    pairs = np.unique(row.reshape(-1) * np.int64(views.max() + 1) + views[inside])
    num_views = np.bincount(pairs // (views.max() + 1), minlength=len(hits))
    kept = (hits >= config.min_hits) & (num_views >= min(config.min_views, views.max() + 1))
    new_row = np.where(kept, np.cumsum(kept) - 1, -1)
    row_of_hit = np.full(len(points), -1, np.int64)
    row_of_hit[inside] = new_row[row.reshape(-1)]
    return row_of_hit, int(kept.sum())


def _averaged(seen, eyes, points, row_of_hit, n, voxel) -> Surface:
    kept = row_of_hit >= 0
    rows = row_of_hit[kept]
    hits = np.bincount(rows, minlength=n)[:, None]
    colors = np.concatenate([o.colors for o in seen.values()])
    eye_of_hit = np.repeat(np.stack([eyes[v] for v in seen]), [len(o.points) for o in seen.values()], axis=0)
    mean = lambda values: np.stack([np.bincount(rows, column, n) for column in values[kept].T], 1) / hits  # noqa: E731
    centre = mean(points)
    normals = normals_of(centre, mean(eye_of_hit) - centre)
    shown = _with_nearby(points, row_of_hit, centre, voxel)
    point_of_pixel, start = {}, 0
    for view, o in seen.items():
        image = np.full(o.size, -1, np.int32)
        image.reshape(-1)[o.pixels] = shown[start : start + len(o.pixels)]
        point_of_pixel[view], start = without_cracks(image), start + len(o.pixels)
    return Surface(centre.astype(np.float32), normals, mean(colors).round().astype(np.uint8), np.zeros((n, 0), np.float16),
                   np.arange(n, dtype=np.int32), voxel, point_of_pixel)


def _with_nearby(points, row_of_hit, centre, voxel, reach: float = 2.0) -> Int64[np.ndarray, " k"]:
    """Hits whose voxel was dropped show the nearest kept point, if it is within two voxels."""
    from scipy.spatial import cKDTree

    lost = np.flatnonzero(row_of_hit < 0)
    distance, near = cKDTree(centre).query(points[lost], distance_upper_bound=reach * voxel)
    shown = row_of_hit.copy()
    shown[lost[np.isfinite(distance)]] = near[np.isfinite(distance)]
    return shown


def without_cracks(point_of_pixel: Int32[np.ndarray, "h w"]) -> Int32[np.ndarray, "h w"]:
    """Gaps of one or two pixels between pixels that show a point show the nearest of these points; the outline stays."""
    from scipy.ndimage import binary_closing, distance_transform_edt

    shown = point_of_pixel >= 0
    if not shown.any():
        return point_of_pixel
    cracks = binary_closing(np.pad(shown, 2), np.ones((3, 3)))[2:-2, 2:-2] & ~shown
    nearest = distance_transform_edt(~shown, return_distances=False, return_indices=True)
    return np.where(cracks, point_of_pixel[tuple(nearest)], point_of_pixel)


def normals_of(points: Num[np.ndarray, "n 3"], outward: Num[np.ndarray, "n 3"], neighbours: int = 12) -> Float32[np.ndarray, "n 3"]:
    """Unit normals: the direction in which the nearest neighbours spread least, turned towards `outward`."""
    from scipy.spatial import cKDTree

    _, near = cKDTree(points).query(points, k=min(neighbours, len(points)))
    spread = points[near.reshape(len(points), -1)]
    spread = spread - spread.mean(1, keepdims=True)
    _, axes = np.linalg.eigh(spread.transpose(0, 2, 1) @ spread)
    normal = axes[:, :, 0]
    turn = np.where((normal * outward).sum(1) < 0, -1.0, 1.0)
    return (normal * turn[:, None]).astype(np.float32)


def knn_edges(points: Num[np.ndarray, "n d"], k: int, radius: float = np.inf) -> Int64[np.ndarray, "e 2"]:
    """Undirected edges between each point and its k nearest others within the radius."""
    from scipy.spatial import cKDTree

    n = len(points)
    if n < 2:
        return np.zeros((0, 2), np.int64)
    _, near = cKDTree(points).query(points, k=min(k + 1, n), distance_upper_bound=radius)
    i, j = np.arange(n)[:, None], np.where(near == n, np.arange(n)[:, None], near)  # n: fewer than k others within the radius
    i, j = np.divmod(np.unique(np.minimum(i, j) * n + np.maximum(i, j)), n)
    return np.stack([i, j], 1)[i != j]


def bridges(points: Num[np.ndarray, "n 3"], edges: Int[np.ndarray, "e 2"]) -> Int64[np.ndarray, "b 2"]:
    """Shortest edges that make the graph connected: Boruvka rounds over its components.

    A small component of s points finds its nearest outsider among the s + 1 nearest of any of its points,
    so one tree over all points serves; only large components need a tree of the rest.
    """
    n, added = len(points), [np.zeros((0, 2), np.int64)]
    while True:
        count, labels = components(n, np.concatenate([edges, *added]))
        if count == 1:
            return np.concatenate(added)
        added.append(_nearest_outsiders(points, labels))


def components(n: int, edges: Int[np.ndarray, "e 2"]) -> tuple[int, Int[np.ndarray, " n"]]:
    """Number of connected components, and the component of each vertex."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    graph = coo_matrix((np.ones(len(edges), bool), (edges[:, 0], edges[:, 1])), shape=(n, n))
    return connected_components(graph, directed=False)


def _nearest_outsiders(points, labels, large: int = 256) -> Int64[np.ndarray, "b 2"]:
    """For every component but the largest, the shortest edge that leaves it."""
    from scipy.cluster.hierarchy import DisjointSet
    from scipy.spatial import cKDTree

    tree, sizes, found = cKDTree(points), np.bincount(labels), []
    order = np.argsort(labels, kind="stable")
    members = np.split(order, np.cumsum(sizes)[:-1])
    for c in np.argsort(sizes, kind="stable")[:-1]:
        mine = members[c]
        if sizes[c] <= large:
            distance, near = tree.query(points[mine], k=sizes[c] + 1)
            distance = np.where(labels[near] == c, np.inf, distance)
        else:
            rest = np.flatnonzero(labels != c)
            distance, near = cKDTree(points[rest]).query(points[mine])
            distance, near = distance[:, None], rest[near][:, None]
        a, b = np.unravel_index(np.argmin(distance), distance.shape)
        found.append(sorted((int(mine[a]), int(near[a, b]))))
    joined = DisjointSet(range(len(sizes)))  # edges of equal length can close a ring: one of them is left out
    return np.array([(i, j) for i, j in sorted(found) if joined.merge(labels[i], labels[j])], np.int64)


def image_points(
    points: Num[np.ndarray, "n 3"], T_world_cam: Float[np.ndarray, "4 4"], intrinsics: Float[np.ndarray, " 4"]
) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """(column, row, depth) of each point, in pixels and world units; nan, nan and a depth ≤ 0 behind the camera."""
    fx, fy, cx, cy = intrinsics
    x, y, z = ((points - T_world_cam[:3, 3]) @ T_world_cam[:3, :3]).astype(np.float64).T
    depth = -z
    front = np.where(depth > 0, depth, np.nan)
    return cx + fx * x / front, cy - fy * y / front, depth


def principal_extent(points: Float[np.ndarray, "n 3"]) -> tuple[Float64[np.ndarray, " 3"], Float64[np.ndarray, "3 3"]]:
    """Extents along the principal axes (longest first; 2-98 % of the points) and the axes as rows."""
    if len(points) < 2:
        return np.zeros(3), np.eye(3)
    centred = points.astype(np.float64) - points.mean(0, dtype=np.float64)
    _, _, axes = np.linalg.svd(centred.T @ centred)
    low, high = np.quantile(centred @ axes.T, [0.02, 0.98], axis=0)
    order = np.argsort(-(high - low), kind="stable")
    return (high - low)[order], axes[order]
