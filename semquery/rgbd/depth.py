"""Depth pictures: reading them, leaving out what lies on outlines, and points of them in another camera's pixels.

Notation
  a b height and width of a depth picture, h w of the grid of points, k pixels of the grid that have a point.
Conventions
  Depth is along the optical axis, in world units, nan where nothing was measured. On a plane its inverse is an affine function of the
  pixel, in every pinhole camera: that is why planes are recognised, and depth is interpolated, by the inverse.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int32

from semquery.rgbd.config import RgbdConfig


def load_depth(path: Path, config: RgbdConfig = RgbdConfig()) -> Float32[np.ndarray, "a b"]:
    """A depth file in world units; nan below near, above far, and where nothing was measured. Raises ValueError unless it has 16 bits."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            mode, counted = picture.mode, np.asarray(picture)
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"{path} cannot be read as a depth picture: {error}") from error
    if not mode.startswith("I") or counted.ndim != 2:
        raise ValueError(f"{path} has pixels of kind {mode}; expected 16-bit grey ones that count depth. "
                         "Perhaps it is a picture of depth to look at.")
    depth = counted.astype(np.float32) / np.float32(config.depth_scale)
    return np.where((counted > 0) & (depth >= config.near) & (depth <= config.far), depth, np.float32(np.nan))


def trusted(depth: Float[np.ndarray, "a b"], jump: float) -> Bool[np.ndarray, "a b"]:
    """Pixels with a depth that lies on a plane with their neighbours' along rows and columns, up to the share `jump`; 0: all with a depth.

    On a plane, however slanted, the second difference of inverse depth is zero; across an outline it is large. A pixel between
    two that are refused is refused: sensors average both sides of an outline into one that hangs in the air, on a line with them.
    """
    measured = np.isfinite(depth)
    if jump == 0:
        return measured
    inverse = 1 / depth.astype(np.float64)
    kept = measured.copy()
    for axis in (0, 1):
        bent = np.abs(_bend(inverse, axis)) > jump * inverse
        before, after = _shifted(bent, 1, axis, False), _shifted(bent, -1, axis, False)
        kept &= ~(bent | (before & after))
    return kept


def _bend(values: Float64[np.ndarray, "a b"], axis: int) -> Float64[np.ndarray, "a b"]:
    """How far values leave the line through their neighbours, twice: through both; at a border through the two on one side; beside the
    only one where there are no two; 0 where there is none."""
    before, after = _shifted(values, 1, axis, np.nan), _shifted(values, -1, axis, np.nan)
    bend = before + after - 2 * values
    for other in (_shifted(bend, 1, axis, np.nan), _shifted(bend, -1, axis, np.nan), before - values, after - values):
        bend = np.where(np.isnan(bend), other, bend)
    return np.nan_to_num(bend)


def _shifted(values: np.ndarray, step: int, axis: int, fill: float | bool) -> np.ndarray:
    """Rolled along an axis, with what comes in from outside filled."""
    moved = np.roll(values, step, axis)
    border = [slice(None), slice(None)]
    border[axis] = slice(0, 1) if step > 0 else slice(-1, None)
    moved[tuple(border)] = fill
    return moved


def resampled(
    depth: Float[np.ndarray, "a b"], lens: Float64[np.ndarray, " 4"], grid_lens: Float64[np.ndarray, " 4"], size: tuple[int, int]
) -> Float64[np.ndarray, "h w"]:
    """The depth at the pixels of another camera that looks from the same place in the same direction.

    Both lenses are (fx, fy, cx, cy) in their own pixels, so a grid pixel has one place in the depth picture, whatever the depth. There
    the inverse depth is interpolated, exact on planes; where one of the four pixels around has none, the nearest one's answers.
    """
    (height, width), rows, columns = depth.shape, *np.indices(size, dtype=np.float64)
    x = (columns + 0.5 - grid_lens[2]) / grid_lens[0] * lens[0] + lens[2] - 0.5  # in numbers of pixels, not of their corners
    y = (rows + 0.5 - grid_lens[3]) / grid_lens[1] * lens[1] + lens[3] - 0.5
    inverse = 1 / depth.astype(np.float64)
    near_x, near_y = np.rint(x).astype(int), np.rint(y).astype(int)
    inside = (near_x >= 0) & (near_x < width) & (near_y >= 0) & (near_y < height)
    nearest = inverse[near_y.clip(0, height - 1), near_x.clip(0, width - 1)]
    left, top = np.floor(x).clip(0, max(0, width - 2)).astype(int), np.floor(y).clip(0, max(0, height - 2)).astype(int)
    right, below = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    s, t = x - left, y - top  # beyond 0..1 on the outer half of the border's pixels
    around = ((inverse[top, left] * (1 - s) + inverse[top, right] * s) * (1 - t)
              + (inverse[below, left] * (1 - s) + inverse[below, right] * s) * t)
    found = np.where(np.isfinite(around) & (around > 0), around, nearest)
    return np.where(inside & np.isfinite(nearest), 1 / found, np.nan)


def backproject(
    depth: Float[np.ndarray, "h w"], T_world_cam: Float64[np.ndarray, "4 4"], lens: Float64[np.ndarray, " 4"]
) -> tuple[Int32[np.ndarray, " k"], Float32[np.ndarray, "k 3"]]:
    """Flat numbers of the pixels that have a depth, increasing, and the world point that each shows."""
    fx, fy, cx, cy = lens
    rows, columns = np.nonzero(np.isfinite(depth))
    z = depth[rows, columns].astype(np.float64)
    camera = np.stack([(columns + 0.5 - cx) / fx * z, (cy - rows - 0.5) / fy * z, -z], 1)
    points = camera @ T_world_cam[:3, :3].T + T_world_cam[:3, 3]
    return (rows * depth.shape[1] + columns).astype(np.int32), points.astype(np.float32)
