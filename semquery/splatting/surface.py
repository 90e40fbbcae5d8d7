"""Where the views of a splat scene see a surface.

A pixel shows a surface where its ray is opaque, where the Gaussians that make it so lie in one place, where none beside it sees
past that place, and where no other view looks through it. Gaussians stick out beyond the outline of what they make up: there the
photo and its masks show what is behind, and the depth is of what is before. What one view alone makes up fails the last; a Gaussian
that floats opaque in space is seen alike by all views, and is `clean`'s to find.

Notation
  v views, h w height and width, k pixels that show a surface.
Conventions
  Depth is along the camera's axis, in world units. A view contradicts a point that it looks through: it sees something farther
  away there, or nothing at all. A view confirms a point that lies on its own surface.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int, Int64

from semquery.splatting.gaussians import Gaussians, View
from semquery.types import Cameras

EMPTY = 0.1  # opacity of a ray below which it ends nowhere
STEEP = 4.0  # a depth that grows by so many pixels' widths from pixel to pixel can be one surface's, seen aslant


@dataclass(frozen=True)
class SplatSurface:
    """Which pixels show a surface, and where it is."""

    max_side: int = 256
    """Longest side of the rendered views, pixels."""
    finer: int = 3
    """Depth is rendered up to so many times finer (an odd number), no finer than the photos: the rasteriser's blur of half a pixel makes
    outlines wide."""
    depth: Literal["median", "expected"] = "median"
    """Where along the ray: half of its opacity is reached (keeps edges sharp), or the mean."""
    min_opacity: float = 0.7
    """Rays less opaque than this show no surface."""
    max_spread: float = 0.03
    """Rays whose middle half of opacity spreads over more than this share of the depth are dropped…"""
    least_kept: float = 0.8
    """…but never more of a view's opaque rays than leaves this share."""
    max_jump: float = 0.03
    """Pixels beside one that sees nothing, or farther by more than this share of the depth, are dropped: outlines of splats are wide."""
    others: int = 6
    """How many other views are asked whether they look through a point."""
    tolerance: float = 0.02
    """Depths that differ by less than this share of themselves agree."""

    def __post_init__(self) -> None:
        wrong = [name for name, is_good in (
            ("max_side", self.max_side >= 1), ("finer", self.finer >= 1 and self.finer % 2), ("min_opacity", 0 <= self.min_opacity < 1),
            ("max_spread", self.max_spread >= 0), ("least_kept", 0 <= self.least_kept <= 1), ("max_jump", self.max_jump > 0),
            ("others", self.others >= 0), ("tolerance", self.tolerance > 0)) if not is_good]
        if wrong:
            raise ValueError(
                f"The surface's {wrong[0]} is {getattr(self, wrong[0]):g}; expected max_side ≥ 1, finer odd, 0 ≤ min_opacity < 1, max_spread ≥ 0, "
                "0 ≤ least_kept ≤ 1, max_jump > 0, others ≥ 0 and tolerance > 0.")


@dataclass(frozen=True)
class DepthMap:
    """What one view sees."""

    depth: Float32[np.ndarray, "h w"]  # 0 = no surface
    certain: Bool[np.ndarray, "h w"]  # shows a surface, in one place
    empty: Bool[np.ndarray, "h w"]  # shows nothing


def depth_map(
    gaussians: Gaussians, cameras: Cameras, view: int, config: SplatSurface, T_world_splats: Float64[np.ndarray, "4 4"] | None = None,
    finer: int = 1,
) -> DepthMap:
    """Render a view's depth, so many times finer than it is (an odd number), and tell at its pixels' centres where it is a surface's."""
    import torch

    from semquery.splatting.raster import rasterize

    size, intrinsics = tuple((finer * cameras.sizes[view]).tolist()), finer * cameras.intrinsics[view]
    seen_by = View.of(cameras.T_world_cam[view], intrinsics, size, gaussians.means, T_world_splats)
    with torch.no_grad():
        rendered = rasterize(gaussians, seen_by, gaussians.means[:, :0])
    near, median, far = rendered.quartiles.float().cpu().numpy()
    depth = median if config.depth == "median" else rendered.depth.float().cpu().numpy()
    opacity = rendered.opacity.float().cpu().numpy()
    empty, jump = opacity < EMPTY, max(config.max_jump, STEEP / float(intrinsics[:2].min()))
    outline, centres = is_outline(depth, empty, jump), (slice(finer // 2, None, finer),) * 2
    depth, spread, opacity, empty, outline = (each[centres] for each in (depth, far - near, opacity, empty, outline))
    return DepthMap(depth, is_certain(depth, spread, opacity, config) & ~outline, empty)


def times_finer(photos: Int[np.ndarray, "v 2"], views: Int[np.ndarray, "v 2"], most: int) -> list[int]:
    """By which odd number, `most` at most, each view can be finer than its size and still no finer than its photo."""
    ratio = (photos / views).min(1)
    return [int(min(most, max(1, 2 * ((n + 1) // 2) - 1))) for n in ratio]


def is_certain(
    depth: Float[np.ndarray, "h w"], spread: Float[np.ndarray, "h w"], opacity: Float[np.ndarray, "h w"], config: SplatSurface
) -> Bool[np.ndarray, "h w"]:
    """Opaque rays that end in one place."""
    opaque = (opacity > config.min_opacity) & (depth > 0)
    if not opaque.any():
        return opaque
    relative = spread / np.maximum(depth, 1e-9)
    return opaque & (relative <= max(config.max_spread, float(np.quantile(relative[opaque], config.least_kept))))


def is_outline(depth: Float[np.ndarray, "h w"], empty: Bool[np.ndarray, "h w"], jump: float) -> Bool[np.ndarray, "h w"]:
    """Pixels that have one of eight beside them that sees nothing, or farther by more than this share of their depth."""
    from scipy.ndimage import maximum_filter

    return maximum_filter(np.where(empty, np.inf, depth), 3, mode="nearest") > (1 + jump) * depth


def unproject(
    depth: Float[np.ndarray, "h w"], pixels: Int[np.ndarray, " k"], T_world_cam: Float64[np.ndarray, "4 4"], intrinsics: Float64[np.ndarray, " 4"]
) -> Float64[np.ndarray, "k 3"]:
    """World points of flat pixel indices; poses with OpenGL's axes."""
    fx, fy, cx, cy = intrinsics
    row, column = np.divmod(pixels, depth.shape[1])
    z = depth.reshape(-1)[pixels].astype(np.float64)
    in_camera = np.stack([(column + 0.5 - cx) / fx * z, -(row + 0.5 - cy) / fy * z, -z], 1)
    return in_camera @ T_world_cam[:3, :3].T + T_world_cam[:3, 3]


def neighbours_of(cameras: Cameras, view: int, count: int) -> list[int]:
    """Other views, evenly chosen from the half that looks most alike: from near and from somewhat aside; all where there are few."""
    axis, centre = -cameras.T_world_cam[:, :3, 2], cameras.T_world_cam[:, :3, 3]
    apart = np.linalg.norm(centre - centre[view], axis=1) / (np.linalg.norm(centre - centre.mean(0), axis=1).mean() + 1e-12)
    unlike = apart + (1 - axis @ axis[view])
    unlike[view] = np.inf
    pool = np.argsort(unlike, kind="stable")[:-1][: max(count, len(unlike) // 2)]  # without the view itself
    return [int(pool[i]) for i in np.unique(np.linspace(0, len(pool) - 1, min(count, len(pool))).round().astype(int))]


def uncontradicted(
    points: Float64[np.ndarray, "k 3"], maps: Sequence[DepthMap], cameras: Cameras, views: Sequence[int], tolerance: float
) -> Bool[np.ndarray, " k"]:
    """Points that no more views look through than confirm; `views` are asked. A point that no other view sees stays."""
    through, agree = np.zeros(len(points), np.int32), np.zeros(len(points), np.int32)
    for view in views:
        pixel, depth = _pixels_of(points, cameras, view)
        known = np.flatnonzero(pixel >= 0)
        seen, at = maps[view], pixel[known]
        gap = (seen.depth.reshape(-1)[at] - depth[known]) / np.maximum(depth[known], 1e-9)
        certain = seen.certain.reshape(-1)[at]
        through[known] += (certain & (gap > tolerance)) | seen.empty.reshape(-1)[at]
        agree[known] += certain & (np.abs(gap) <= tolerance)
    return through <= agree


def _pixels_of(
    points: Float64[np.ndarray, "k 3"], cameras: Cameras, view: int
) -> tuple[Int64[np.ndarray, " k"], Float64[np.ndarray, " k"]]:
    """The flat pixel of a view that each point is in, -1 for none, and its depth there."""
    T, (fx, fy, cx, cy), (height, width) = cameras.T_world_cam[view], cameras.intrinsics[view], cameras.sizes[view]
    x, y, z = ((points - T[:3, 3]) @ T[:3, :3]).T
    depth = np.where(z < 0, -z, np.nan)
    column, row = np.floor(fx * x / depth + cx), np.floor(-fy * y / depth + cy)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return np.where(inside, row * width + column, -1).astype(np.int64), depth
