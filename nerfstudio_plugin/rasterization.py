"""gsplat's `rasterization` without CUDA: the same call, by the torch rasteriser, for one camera.

Notation
  g Gaussians, k spherical harmonics, c channels, h w height and width; the leading 1 is the camera.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from semquery.splatting.gaussians import Gaussians, View
from semquery.splatting.project import EPS_2D, project
from semquery.splatting.raster import composite

Rasterised = tuple[Float[Tensor, "1 h w c"], Float[Tensor, "1 h w 1"], dict[str, Any]]


def rasterization(
    means: Float[Tensor, "g 3"], quats: Float[Tensor, "g 4"], scales: Float[Tensor, "g 3"], opacities: Float[Tensor, " g"], colors: Tensor,
    viewmats: Float[Tensor, "1 4 4"], Ks: Float[Tensor, "1 3 3"], width: int, height: int, *, sh_degree: int | None = None,
    render_mode: Literal["RGB", "RGB+ED"] = "RGB", rasterize_mode: Literal["classic", "antialiased"] = "classic", absgrad: bool = False,
    packed: bool = False,
) -> Rasterised:
    """Picture, opacity, and what densification asks for; `colors` are values (g c), or harmonics (g k 3) where there is a degree.

    The centres in the picture get gradients of their own, as gsplat's do. Raises ValueError for what gsplat alone can do.
    """
    if absgrad or packed or len(viewmats) != 1:
        raise ValueError(f"The torch rasteriser was asked for absgrad={absgrad}, packed={packed} and {len(viewmats)} cameras; it has plain "
                         "gradients, no packing and one camera: set use_absgrad to False.")
    sh = colors[:, : (sh_degree + 1) ** 2] if sh_degree is not None else colors[:, None, :3]
    gaussians = Gaussians(means, quats, scales, opacities, sh)
    view = View(viewmats[0], Ks[0, [0, 1, 0, 1], [0, 1, 2, 2]], (height, width))
    values = colors if sh_degree is None else gaussians.colors(view.position)
    projected = project(gaussians, view)
    centres = projected.means[None]
    opacities = opacities * thinned(projected.conics) if rasterize_mode == "antialiased" else opacities
    rendered = composite(replace(projected, means=centres[0]), opacities, values, view.size, shares=())
    picture = torch.cat([rendered.features, rendered.depth[..., None]], -1) if render_mode == "RGB+ED" else rendered.features
    told = {"means2d": centres, "radii": projected.radii[None], "gaussian_ids": None, "n_cameras": 1, "width": width, "height": height}
    return picture[None], rendered.opacity[None, ..., None], told


def thinned(conics: Float[Tensor, "g 3"]) -> Float[Tensor, " g"]:
    """What the widening of ellipses to at least a pixel is made good by: √(|Σ| / |Σ + ε I|) (Mip-Splatting, Yu et al. 2024, eq. 9)."""
    a, b, c = conics.unbind(-1)  # of the inverse of Σ + ε I
    det = 1 / (a * c - b * b)
    return (((c * det - EPS_2D) * (a * det - EPS_2D) - (b * det) ** 2) / det).clamp(min=1e-10).sqrt()


def rasterization_on(device: torch.device) -> Callable[..., Rasterised]:
    """gsplat's own where there is CUDA; imported when it is needed, as it compiles its kernels then."""
    if device.type != "cuda":
        return rasterization
    from gsplat.rendering import rasterization as on_cuda

    return on_cuda


def viewmat_of(T_world_cam: Float[Tensor, "1 3 4"]) -> Float[Tensor, "1 4 4"]:
    """World to camera with OpenCV's axes, of a pose with OpenGL's; differentiable."""
    turn = (T_world_cam[:, :, :3] * T_world_cam.new_tensor([1.0, -1.0, -1.0])).mT
    last = T_world_cam.new_tensor([[[0.0, 0.0, 0.0, 1.0]]])
    return torch.cat([torch.cat([turn, -turn @ T_world_cam[:, :, 3:]], 2), last], 1)
