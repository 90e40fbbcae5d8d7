"""The same pictures by gsplat's kernels, which need CUDA; quantiles of depth, which gsplat lacks, by the torch twin on the same device."""

import logging
from collections.abc import Sequence
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from semquery.splatting.gaussians import Gaussians, View
from semquery.splatting.project import NEAR, project
from semquery.splatting.raster import Rendered, composite


@lru_cache
def is_there() -> bool:
    """Whether gsplat and its kernels can be used; said once, in one line of log, where they cannot."""
    try:
        from gsplat.cuda._backend import _C
    except (ImportError, OSError, RuntimeError) as error:  # it compiles its kernels when it is imported
        _C, why = None, str(error).splitlines()[0] if str(error) else type(error).__name__
    else:
        why = "it was built without CUDA"
    if _C is None:
        logging.getLogger(__name__).warning("gsplat cannot be used (%s); splats are rendered by torch, which is slower.", why)
    return _C is not None


def rasterize(gaussians: Gaussians, view: View, features: Float[Tensor, "g c"], shares: Sequence[float]) -> Rendered:
    """As `raster.rasterize`; gsplat works in single precision, and blends channels by thirty-two."""
    from gsplat import rasterization

    (height, width), (fx, fy, cx, cy), zero = view.size, view.intrinsics.float(), view.intrinsics.new_zeros(()).float()
    K = torch.stack([fx, zero, cx, zero, fy, cy, zero, zero, zero + 1]).reshape(1, 3, 3)
    whole = is_whole(gaussians)
    given = gaussians[whole]
    blended, opacity, _ = rasterization(
        given.means.float(), None, None, given.opacities.float(), features[whole].float(), view.T_cam_world[None].float(), K, width, height,
        near_plane=NEAR, packed=False, render_mode="RGB+ED", covars=given.covariances.float())
    blended, opacity = blended[0].to(features), opacity[0, ..., 0].to(features)
    depth = torch.where(opacity > 0, blended[..., -1], 0.0)
    return Rendered(blended[..., : features.shape[1]], opacity, depth, _quantiles(given, view, shares))


def is_whole(gaussians: Gaussians) -> Tensor:
    """Those that are numbers: the kernels do not look."""
    parts = (gaussians.means, gaussians.quats, gaussians.scales, gaussians.opacities[:, None])
    return torch.stack([part.isfinite().all(1) for part in parts]).all(0)


@torch.no_grad()
def _quantiles(gaussians: Gaussians, view: View, shares: Sequence[float]) -> Float[Tensor, "q h w"]:
    if not shares:
        return gaussians.means.new_zeros(0, *view.size)
    return composite(project(gaussians, view), gaussians.opacities, gaussians.means[:, :0], view.size, shares).quartiles
