"""Photos whose lens bends straight lines, beside the pinhole pictures that Gaussians are rendered as.

A scene is rendered by a pinhole of the same focal length, large enough for all that the photo shows; each pixel of the photo is then
looked up where its ray goes through that picture.

Notation
  k points, r pixels of a photo (row by row). A lens is k1 k2 p1 p2 k3: radial and tangential distortion (Brown 1966), as OpenCV has them.
Conventions
  x y are coordinates on the plane one unit before the camera, OpenCV axes (x right, y down); pixel (row, column) has its centre at
  (column + .5, row + .5).
"""

import numpy as np
from jaxtyping import Bool, Float64, Int64

STEPS = 30  # of Newton; usual lenses take five
SAME = 1e-9  # of a focal length: so near is found
MOST = 2.0  # times the photo's sides that a pinhole picture may be large


def distorted(points: Float64[np.ndarray, "k 2"], lens: Float64[np.ndarray, " 5"]) -> Float64[np.ndarray, "k 2"]:
    """Where a lens puts what a pinhole would see at `points`."""
    return _distorted_and_slopes(points, lens)[0]


def undistorted(points: Float64[np.ndarray, "k 2"], lens: Float64[np.ndarray, " 5"]) -> Float64[np.ndarray, "k 2"]:
    """Where a pinhole would see what a lens puts at `points`, by Newton's method; NaN where the lens puts nothing."""
    found = points.copy()
    with np.errstate(all="ignore"):
        for _ in range(STEPS):
            there, (xx, xy, yy) = _distorted_and_slopes(found, lens)
            dx, dy = (there - points).T
            det = xx * yy - xy * xy
            found = found - np.stack([yy * dx - xy * dy, xx * dy - xy * dx], 1) / det[:, None]
        there, (xx, xy, yy) = _distorted_and_slopes(found, lens)
        good = (np.abs(there - points).max(1, initial=0.0) < SAME) & (xx * yy - xy * xy > 0) & (xx + yy > 0)  # not beyond the fold
    return np.where(good[:, None], found, np.nan)


def _distorted_and_slopes(
    points: Float64[np.ndarray, "k 2"], lens: Float64[np.ndarray, " 5"]
) -> tuple[Float64[np.ndarray, "k 2"], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The same, and how it changes: ∂x'/∂x, ∂x'/∂y (which is ∂y'/∂x), ∂y'/∂y."""
    (k1, k2, p1, p2, k3), (x, y) = lens, points.T
    r = x * x + y * y
    radial, slope = 1 + r * (k1 + r * (k2 + r * k3)), 2 * (k1 + r * (2 * k2 + 3 * r * k3))
    there = np.stack([x * radial + 2 * p1 * x * y + p2 * (r + 2 * x * x), y * radial + p1 * (r + 2 * y * y) + 2 * p2 * x * y], 1)
    xx = radial + slope * x * x + 2 * p1 * y + 6 * p2 * x
    yy = radial + slope * y * y + 6 * p1 * y + 2 * p2 * x
    return there, (xx, slope * x * y + 2 * p1 * x + 2 * p2 * y, yy)


def rays_of(size: tuple[int, int], intrinsics: Float64[np.ndarray, " 4"], lens: Float64[np.ndarray, " 5"]) -> Float64[np.ndarray, "r 2"]:
    """x y of what each pixel of a photo shows; NaN where its lens shows nothing."""
    (height, width), (fx, fy, cx, cy) = size, intrinsics
    row, column = (place.reshape(-1) + 0.5 for place in np.mgrid[:height, :width])
    plane = np.stack([(column - cx) / fx, (row - cy) / fy], 1)
    return undistorted(plane, lens) if lens.any() else plane


def pinhole_of(
    size: tuple[int, int], intrinsics: Float64[np.ndarray, " 4"], lens: Float64[np.ndarray, " 5"]
) -> tuple[tuple[int, int], Float64[np.ndarray, " 4"]]:
    """Size and intrinsics of the smallest picture of a pinhole, of the same focal length, that holds a whole photo; it grows at most MOST times."""
    if not lens.any():
        return size, intrinsics
    (height, width), (fx, fy, cx, cy) = size, intrinsics
    seen = rays_of(size, intrinsics, lens) * [fx, fy] + [cx, cy]
    side, spare = np.array([width, height]), (MOST - 1) / 2
    low = np.floor(np.maximum(np.nanmin(seen, 0), -spare * side)).astype(int)
    high = np.ceil(np.minimum(np.nanmax(seen, 0), (1 + spare) * side)).astype(int)
    columns, rows = (high - low).tolist()
    return (rows, columns), np.array([fx, fy, cx - low[0], cy - low[1]])


def looked_up(
    rays: Float64[np.ndarray, "r 2"], size: tuple[int, int], intrinsics: Float64[np.ndarray, " 4"]
) -> tuple[Int64[np.ndarray, " r"], Bool[np.ndarray, " r"]]:
    """The flat pixel of a pinhole picture that each ray goes through, and whether it does; 0 where it does not."""
    (height, width), (fx, fy, cx, cy) = size, intrinsics
    column, row = np.floor(fx * rays[:, 0] + cx), np.floor(fy * rays[:, 1] + cy)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return np.where(inside, row * width + column, 0).astype(np.int64), inside
