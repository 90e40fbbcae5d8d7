"""Whether splats and cameras belong together: where the Gaussians lie, and whether they look like the photos.

Notation
  g Gaussians, v views, h w height and width.
"""

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, UInt8

from semquery.splatting.gaussians import Gaussians, View
from semquery.types import Cameras

MOST = 20_000  # Gaussians that are asked where they lie


def in_views(points: Float[np.ndarray, "g 3"], cameras: Cameras) -> Bool[np.ndarray, " g"]:
    """Which points of the world lie before a camera and within its picture, of one view at least."""
    seen = np.zeros(len(points), bool)
    for T, (fx, fy, cx, cy), (height, width) in zip(cameras.T_world_cam, cameras.intrinsics, cameras.sizes, strict=True):
        x, y, z = ((points - T[:3, 3]) @ T[:3, :3]).T
        depth = np.where(z < 0, -z, np.nan)
        column, row = fx * x / depth + cx, cy - fy * y / depth
        seen |= (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return seen


def share_in_views(gaussians: Gaussians, cameras: Cameras, T_world_splats: Float64[np.ndarray, "4 4"] | None = None) -> float:
    """Share of the Gaussians whose centres some view could show; of many, evenly chosen ones are asked."""
    points = gaussians.means[:: -(-len(gaussians) // MOST)].double().cpu().numpy()
    if T_world_splats is not None:
        points = points @ T_world_splats[:3, :3].T + T_world_splats[:3, 3]
    return float(in_views(points, cameras).mean())


def picture(
    gaussians: Gaussians, cameras: Cameras, view: int, T_world_splats: Float64[np.ndarray, "4 4"] | None = None
) -> Float32[np.ndarray, "h w 3"]:
    """A view of the Gaussians on white, 0..1."""
    import torch

    from semquery.splatting.raster import rasterize

    size = tuple(cameras.sizes[view].tolist())
    seen_by = View.of(cameras.T_world_cam[view], cameras.intrinsics[view], size, gaussians.means, T_world_splats)
    with torch.no_grad():
        rendered = rasterize(gaussians, seen_by, gaussians.colors(seen_by.position), ())
    return (rendered.features + 1 - rendered.opacity[..., None]).clamp(0, 1).float().cpu().numpy()


def likeness(one: Float[np.ndarray, "h w 3"], photo: UInt8[np.ndarray, "h w 3"]) -> float:
    """Correlation of two pictures, -1 to 1: 1 where they differ in brightness and contrast alone, about 0 where they show different
    things; 0 where one of them is of one colour."""
    a, b = one - one.mean((0, 1)), photo / 255 - (photo / 255).mean((0, 1))
    return float((a * b).sum() / max(float(np.sqrt((a * a).sum() * (b * b).sum())), 1e-9))
