"""Which surface point a ray meets: points have no extent, so the ray meets those it passes within a voxel of.

Notation
  n points, k of them near the ray, in blocks of b rows. Points, origin and direction are in one frame. The depth of a
  point is its distance along the ray, its distance aside is that from the ray.
Conventions
  A surface fused at a voxel size has a point in every voxel it crosses, so a ray with a radius of about one voxel does
  not slip through it. The reading is in blocks that stay in the processor's cache: 10⁶ points take some milliseconds.
"""

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

MISS = float(np.radians(0.5))  # a few pixels of a screen
BLOCK = 1 << 15  # rows worked on at a time
DEEP = 4.0  # radii: so far behind the first point, others are taken for the same surface, seen at a slant


def picked(
    points: Float[np.ndarray, "n 3"], origin: Float[np.ndarray, " 3"], direction: Float[np.ndarray, " 3"], radius: float,
    among: Bool[np.ndarray, " n"] | None = None, angle: float = MISS,
) -> int | None:
    """The point that a ray shows: of those it passes within `radius` of, the first, or one just behind it that is nearer to the ray.

    `direction` may have any length, `among` marks the points that can be picked. Where the ray passes none, the point that
    it misses by the least, and by no more than `angle` (radians) as seen from the origin; else None. Points that are not
    finite are passed over. Raises ValueError for a ray without a direction.
    """
    number, depth, aside = _near(points, *_ray(origin, direction), radius, angle)
    if among is not None:
        chosen = among[number]
        number, depth, aside = number[chosen], depth[chosen], aside[chosen]
    if not len(number):
        return None
    met = aside <= radius
    if not met.any():
        return int(number[((aside - radius) / depth).argmin()])
    surface = np.flatnonzero(met & (depth <= depth[met].min() + DEEP * radius))
    return int(number[surface[aside[surface].argmin()]])


def _ray(
    origin: Float[np.ndarray, " 3"], direction: Float[np.ndarray, " 3"]
) -> tuple[Float64[np.ndarray, " 3"], Float64[np.ndarray, "3 3"]]:
    """The origin, and as columns the unit direction and two axes across it."""
    length = np.linalg.norm(np.asarray(direction, np.float64))
    if not 0 < length < np.inf:
        raise ValueError(f"A ray needs a direction; got {np.asarray(direction).tolist()}.")
    along = np.asarray(direction, np.float64) / length
    right = np.cross(along, np.eye(3)[np.abs(along).argmin()])
    right /= np.linalg.norm(right)
    return np.asarray(origin, np.float64), np.stack([along, right, np.cross(along, right)], 1)


def _near(
    points: Float[np.ndarray, "n 3"], origin: Float64[np.ndarray, " 3"], axes: Float64[np.ndarray, "3 3"], radius: float, angle: float
) -> tuple[Int64[np.ndarray, " k"], Float64[np.ndarray, " k"], Float64[np.ndarray, " k"]]:
    """Number, depth and distance aside of the points in front that lie in the cone of `radius` and `angle` around the ray."""
    start, turn, slope = origin.astype(points.dtype), axes.astype(points.dtype), np.tan(angle)
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    with np.errstate(invalid="ignore", over="ignore"):
        for first in range(0, len(points), BLOCK):
            # turned into the ray's axes: |away|² − depth² would lose what is a voxel wide far from the origin
            depth, *across = ((points[first : first + BLOCK] - start) @ turn).T
            aside = np.hypot(*across)
            rows = np.flatnonzero((depth > 0) & (aside <= radius + slope * depth))
            found.append((rows + first, depth[rows].astype(np.float64), aside[rows].astype(np.float64)))
    if not found:
        return np.zeros(0, np.int64), np.zeros(0), np.zeros(0)
    number, depth, aside = (np.concatenate(column) for column in zip(*found, strict=True))
    return number, depth, aside
