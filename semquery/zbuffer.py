"""Which triangle every pixel of a view shows, by rasterisation: what a ray caster answers, without one.

Homogeneous rasterisation (Olano and Greer, Triangle scan conversion using 2D homogeneous coordinates, 1997): with
the corners a, b, c in camera axes and the ray d of a pixel, the ray meets the triangle where d·(b×c), d·(c×a) and
d·(a×b) have the sign of a·(b×c). Nothing is divided by a depth, so triangles that reach behind the camera need no
clipping. Along a row of pixels all of these are straight lines: they bound the columns that are looked at.

Notation
  n vertices, f triangles, s spans (one triangle in one row of pixels), k pixels of triangles, h w image height, width.
Conventions
  Cameras and pixel centres as in `render`: OpenGL axes, the ray of a pixel is (x, y, -1), so that its length to a hit
  is the depth along the viewing axis. Everything is in double precision. Of triangles at exactly the same depth the
  one with the lowest number is shown; triangles that are seen edge-on or have no area are not. Neighbours
  that share an edge leave no gap: on the edge their tests are the same number with opposite signs.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Int32, Int64

CHUNK = 1 << 17  # triangles, rows of triangles, or pixels of triangles that are looked at together: about 100 MB
FLAT = 1e-12  # a triangle of less than this share of its longest edge squared has no area


@dataclass(frozen=True)
class Tests:
    """What is asked of every triangle's pixels, as linear functions of the ray: x·v[0] + y·v[1] - v[2]."""

    edges: Float64[np.ndarray, "f 3 3"]  # ≥ 0 on the inner side of each edge
    nearness: Float64[np.ndarray, "f 3"]  # 1 / depth


def rasterised(
    vertices: Float[np.ndarray, "n 3"], faces: Int[np.ndarray, "f 3"],
    T_world_cam: Float[np.ndarray, "4 4"], intrinsics: Float[np.ndarray, " 4"], size: tuple[int, int], chunk: int = CHUNK,
) -> Int32[np.ndarray, "h w"]:
    """The first triangle behind the centre of every pixel, -1 where there is none.

    `size` is (height, width). Triangles with a corner that is not finite are left out. O(f + pixels of all triangles)
    in time; in memory O(vertices + pixels + chunk).
    """
    fx, fy, cx, cy = (float(value) for value in intrinsics)
    x, y = (np.arange(size[1]) + 0.5 - cx) / fx, (cy - np.arange(size[0]) - 0.5) / fy
    points = in_camera(vertices, T_world_cam)
    nearest = np.zeros(size[0] * size[1])
    face = np.full(size[0] * size[1], -1, np.int32)
    for start in range(0, len(faces), chunk):
        corners = points[faces[start : start + chunk]]
        tests, sound = tests_of(corners)
        first, count = rows_of(corners, fy, cy, size[0])
        shown = np.flatnonzero(sound & (count > 0))
        for some in slices(count[shown], chunk):
            triangle, row = spread(shown[some], first[shown[some]], count[shown[some]])
            edges, near = at_row(tests.edges, triangle, y[row]), at_row(tests.nearness, triangle, y[row])
            left, width = columns_of(edges, x)
            for part in slices(width, chunk):
                span, column = spread(np.arange(part.start, part.stop), left[part], width[part])
                _show(nearest, face, edges, near, span, start + triangle[span], row[span] * size[1] + column, x[column])
    return face.reshape(size)


def in_camera(vertices: Float[np.ndarray, "n 3"], T_world_cam: Float[np.ndarray, "4 4"]) -> Float64[np.ndarray, "n 3"]:
    """Vertices in camera axes; equal ones stay equal to the last bit, wherever they stand in the list."""
    offsets, axes = np.asarray(vertices, np.float64) - T_world_cam[:3, 3], np.asarray(T_world_cam[:3, :3], np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        return offsets[:, :1] * axes[0] + offsets[:, 1:2] * axes[1] + offsets[:, 2:] * axes[2]


def tests_of(corners: Float64[np.ndarray, "f 3 3"]) -> tuple[Tests, Bool[np.ndarray, " f"]]:
    """The tests of triangles in camera axes, and which triangles can be seen at all."""
    a, b, c = corners.transpose(1, 0, 2)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        # (b - a) × (c - a) = b×c + c×a + a×b, but without the loss of digits when the triangle is small and far.
        normal = np.cross(b - a, c - a)
        volume = (a * normal).sum(1)
        longest = np.max([((q - p) ** 2).sum(1) for p, q in ((a, b), (b, c), (c, a))], axis=0)
        sound = np.isfinite(volume) & (volume != 0) & ((normal**2).sum(1) > (FLAT * longest) ** 2)
        edges = np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)], 1) * np.sign(volume)[:, None, None]
        return Tests(edges, normal / volume[:, None]), sound


def rows_of(
    corners: Float64[np.ndarray, "f 3 3"], fy: float, cy: float, height: int
) -> tuple[Int64[np.ndarray, " f"], Int64[np.ndarray, " f"]]:
    """First row of pixels that a triangle may touch, and how many: all, when it reaches behind the camera."""
    depth = -corners[..., 2]
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        v = cy - fy * corners[..., 1] / depth - 0.5
        slack = 1e-6 + 1e-9 * np.abs(v)
        low, high = (v - slack).min(1), (v + slack).max(1)
    before, behind = (depth > 0).all(1), (depth <= 0).all(1)
    first = np.where(before, np.nan_to_num(np.ceil(low)).clip(0, height), 0).astype(np.int64)
    last = np.where(before, np.nan_to_num(np.floor(high)).clip(-1, height - 1), height - 1).astype(np.int64)
    return first, np.where(behind, 0, np.maximum(last - first + 1, 0))


def at_row(
    values: Float64[np.ndarray, "f ... 3"], triangle: Int64[np.ndarray, " s"], y: Float64[np.ndarray, " s"]
) -> Float64[np.ndarray, "s ... 2"]:
    """Slope along x and value at x = 0 of linear functions, in one row of each triangle."""
    chosen = values[triangle]
    y = y.reshape(-1, *[1] * (values.ndim - 2))
    return np.stack([chosen[..., 0], chosen[..., 1] * y - chosen[..., 2]], -1)


def columns_of(
    edges: Float64[np.ndarray, "s 3 2"], x: Float64[np.ndarray, " w"]
) -> tuple[Int64[np.ndarray, " s"], Int64[np.ndarray, " s"]]:
    """First column, and how many, that no edge's line excludes; a column too many rather than one too few."""
    if len(x) == 0:
        return np.zeros(len(edges), np.int64), np.zeros(len(edges), np.int64)
    step = x[1] - x[0] if len(x) > 1 else 1.0
    slope, value = edges[..., 0] * step, edges[..., 0] * x[0] + edges[..., 1]
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        # What rounding may have done to the value moves the bound by this many columns.
        slack = 1e-6 + 1e-14 * (np.abs(edges[..., 0] * x[0]) + np.abs(edges[..., 1])) / np.abs(slope)
        bound = -value / slope
        low = np.where(slope > 0, bound - slack, -np.inf).max(1)
        high = np.where(slope < 0, bound + slack, np.inf).min(1)
    first = np.ceil(low).clip(0, len(x)).astype(np.int64)
    last = np.floor(high).clip(-1, len(x) - 1).astype(np.int64)
    return first, np.maximum(last - first + 1, 0)


def _show(
    nearest: Float64[np.ndarray, " hw"], face: Int32[np.ndarray, " hw"],
    edges: Float64[np.ndarray, "s 3 2"], near: Float64[np.ndarray, "s 2"],
    span: Int64[np.ndarray, " k"], triangle: Int64[np.ndarray, " k"], pixel: Int64[np.ndarray, " k"], x: Float64[np.ndarray, " k"],
) -> None:
    """Enters those pixels of spans into the buffers that lie in their triangle and before what was there."""
    nearness = near[span, 0] * x + near[span, 1]
    inside = (nearness > 0) & (nearness >= nearest[pixel])
    for k in range(3):
        inside &= edges[span, k, 0] * x + edges[span, k, 1] >= 0
    pixel, nearness, triangle = pixel[inside], nearness[inside], triangle[inside]
    before = nearest[pixel]
    np.maximum.at(nearest, pixel, nearness)
    now = nearest[pixel]
    face[pixel[now > before]] = np.iinfo(np.int32).max
    first = nearness == now
    np.minimum.at(face, pixel[first], triangle[first].astype(np.int32))


def spread(
    item: Int64[np.ndarray, " m"], first: Int64[np.ndarray, " m"], count: Int64[np.ndarray, " m"]
) -> tuple[Int64[np.ndarray, " k"], Int64[np.ndarray, " k"]]:
    """Each item as often as it counts, and first, first + 1, … beside it."""
    ends = np.cumsum(count)
    within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - count, count)
    return np.repeat(item, count), np.repeat(first, count) + within


def slices(counts: Int64[np.ndarray, " m"], most: int) -> Iterator[slice]:
    """Runs of consecutive items whose counts add up to at most so many; an item that has more stands alone."""
    ends, start = np.cumsum(counts), 0
    while start < len(counts):
        done = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + most, "right")))
        yield slice(start, stop)
        start = stop
