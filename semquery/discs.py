"""What a camera sees of surface points drawn as discs, on the CPU: for views that no photo shows.

Notation
  n points, m of them drawn, k (point, pixel) pairs, h w image height and width.
Conventions
  Cameras and pixel centres as in `types`. A disc faces the camera; its radius, in world units, is the point's own; on
  the picture it is at least `LEAST` pixels in radius, so that no point falls between pixels. The answer is the number
  of the point that each pixel shows, -1 = none: the same record as a photo's (`Surface.point_of_pixel`).
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Int32, UInt8

from semquery.render import look_at

LEAST = 0.71  # pixels: half a pixel's diagonal
MOST_PAIRS = 1 << 20  # worked on at a time
FIELD_OF_VIEW = 30.0  # degrees, of close-ups: narrow, so that a part is shown without much perspective


def draw_discs(
    points: Float[np.ndarray, "n 3"], radius: Float[np.ndarray, " n"], T_world_cam: Float[np.ndarray, "4 4"],
    intrinsics: Float[np.ndarray, " 4"], size: tuple[int, int], near: float = 1e-6,
) -> Int32[np.ndarray, "h w"]:
    """The point that each pixel shows. Points nearer than `near` are left out.

    Discs overlap, so depth alone would let the nearest one cover its neighbours: of the discs that are less than a
    radius behind the first, a pixel shows the one whose centre is nearest, measured in its own radii.
    """
    at, depth, reach, number = _projected(points, radius, T_world_cam, intrinsics, size, near)
    thick, (front, nearest) = radius[number], np.full((2, size[0] * size[1]), np.inf)
    for pixel, row, _ in _pairs(at, reach, size):
        np.minimum.at(front, pixel, depth[row])
    shown = np.full(size, -1, np.int32).ravel()
    for pixel, row, away in _pairs(at, reach, size):
        first = depth[row] <= front[pixel] + thick[row]
        np.minimum.at(nearest, pixel[first], away[first])
    for pixel, row, away in _pairs(at, reach, size):
        wins = (depth[row] <= front[pixel] + thick[row]) & (away == nearest[pixel])
        shown[pixel[wins]] = number[row[wins]]
    return shown.reshape(size)


def _projected(
    points: Float[np.ndarray, "n 3"], radius: Float[np.ndarray, " n"], T_world_cam: Float[np.ndarray, "4 4"],
    intrinsics: Float[np.ndarray, " 4"], size: tuple[int, int], near: float,
) -> tuple[Float64[np.ndarray, "m 2"], Float64[np.ndarray, " m"], Float64[np.ndarray, " m"], Int32[np.ndarray, " m"]]:
    """Row and column on the picture, depth, radius in pixels and number of the points whose discs are in the picture."""
    fx, fy, cx, cy = (float(value) for value in intrinsics)
    x, y, z = ((points.astype(np.float64) - T_world_cam[:3, 3]) @ T_world_cam[:3, :3]).T
    number = np.flatnonzero(-z >= near)
    depth = -z[number]
    at = np.stack([cy - fy * y[number] / depth, cx + fx * x[number] / depth], 1)
    reach = np.maximum(LEAST, radius[number] * np.sqrt(fx * fy) / depth)
    inside = ((at > -reach[:, None]) & (at < np.array(size) + reach[:, None])).all(1)
    return at[inside], depth[inside], reach[inside], number[inside].astype(np.int32)


def _pairs(
    at: Float64[np.ndarray, "m 2"], reach: Float64[np.ndarray, " m"], size: tuple[int, int]
) -> Iterator[tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"], Float64[np.ndarray, " k"]]]:
    """Flat pixel, drawn point, and distance between their centres in radii, for all pixels inside discs; discs of like size together."""
    width = np.minimum(np.ceil(reach), max(size)).astype(np.int64)
    for w in np.unique(width):
        offsets = np.stack(np.meshgrid(*[np.arange(-w, w + 1)] * 2, indexing="ij"), -1).reshape(-1, 2)
        alike = np.flatnonzero(width == w)
        step = max(1, MOST_PAIRS // len(offsets))
        for rows in (alike[k : k + step] for k in range(0, len(alike), step)):
            pixel = np.floor(at[rows])[:, None] + offsets
            away = np.linalg.norm(pixel + 0.5 - at[rows][:, None], axis=-1) / reach[rows][:, None]
            drawn = (away <= 1) & (pixel >= 0).all(-1) & (pixel < np.array(size)).all(-1)
            point, _ = np.nonzero(drawn)
            y, x = pixel[drawn].astype(np.int64).T
            yield y * size[1] + x, rows[point], away[drawn]


def facing(
    points: Float[np.ndarray, "n 3"], normals: Float[np.ndarray, "n 3"], towards: Float[np.ndarray, " 3"] | None = None
) -> Float64[np.ndarray, " 3"]:
    """The direction from which to look at a part: along its mean normal.

    Where normals cancel each other, as on closed things, `towards` (a camera that has seen it) or else the direction
    in which it is thinnest.
    """
    mean = normals.astype(np.float64).mean(0)
    if np.linalg.norm(mean) >= 0.3:
        return mean / np.linalg.norm(mean)
    if towards is not None and np.linalg.norm(towards) > 0:
        return towards / np.linalg.norm(towards)
    spread = np.linalg.eigh(np.cov(points.astype(np.float64).T))[1] if len(points) > 1 else np.eye(3)
    thinnest = spread[:, 0]
    return thinnest * (1.0 if thinnest[np.abs(thinnest).argmax()] > 0 else -1.0)  # the sign of an axis is chance


def close_camera(
    points: Float[np.ndarray, "n 3"], direction: Float[np.ndarray, " 3"], up: Float[np.ndarray, " 3"], least: float, pad: float
) -> tuple[Float64[np.ndarray, "4 4"], float]:
    """T_world_cam of a camera that looks at points from `direction` and whose picture they fill but for the padding.

    And the depth from which on it should draw: what stands farther in front of the part than the part is large is left
    out, for it could hide the part. `least`: smallest radius of what fills the picture, world units.
    """
    low, high = points.min(0).astype(np.float64), points.max(0).astype(np.float64)
    centre = (low + high) / 2
    radius = max(least, float(np.linalg.norm(points - centre, axis=1).max()))
    distance = (1 + 2 * pad) * radius / np.sin(np.radians(FIELD_OF_VIEW) / 2)
    parallel = abs(float(direction @ up)) > 0.98
    upwards = np.eye(3)[np.abs(direction).argmin()] if parallel else up
    return look_at(centre + distance * direction, centre, tuple(float(u) for u in upwards)), distance - 2 * radius


def disc_radii(points: Float[np.ndarray, "n 3"], voxel_size: float) -> Float64[np.ndarray, " n"]:
    """Radii with which discs close a surface: a little more than half a voxel's diagonal, or more where points are sparse."""
    from scipy.spatial import cKDTree

    count = min(5, len(points))
    away = cKDTree(points).query(points, k=count)[0].reshape(len(points), -1)[:, -1]
    return np.clip(0.75 * away, 0.75 * voxel_size, 3.0 * voxel_size)


def smoothed(image: UInt8[np.ndarray, "h w 3"], shown: Bool[np.ndarray, "h w"], sigma: float) -> UInt8[np.ndarray, "h w 3"]:
    """A picture of discs without their edges: colours averaged around each pixel, among pixels that show something."""
    from scipy.ndimage import gaussian_filter

    weight = gaussian_filter(shown.astype(np.float32), sigma)
    mean = gaussian_filter(image * shown[..., None].astype(np.float32), (sigma, sigma, 0)) / np.maximum(weight, 1e-6)[..., None]
    return np.where(shown[..., None], mean.round().clip(0, 255), image).astype(np.uint8)
