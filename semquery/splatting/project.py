"""From Gaussians in space to ellipses in a picture (EWA splatting, Zwicker et al. 2001, with the constants of 3DGS and gsplat).

Notation
  g Gaussians. Σ' = J W Σ Wᵀ Jᵀ + ε I is the covariance in pixels²; W turns the world into the camera, J is the derivative of
  the projection at the centre, which is clamped to 1.3 times the field of view, and ε = .3 makes no Gaussian smaller than a pixel.
  A conic a b c stands for the inverse of Σ': (a b; b c).
  A slope says how the place where a Gaussian is densest along a pixel's ray gets deeper across the picture: Σ'⁻¹ cov(pixel, depth).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from semquery.splatting.gaussians import Gaussians, View

EPS_2D = 0.3  # pixels²
NEAR = 0.01
BEYOND = 0.3  # of half the field of view, how far outside of it the derivative is still taken at the centre itself


@dataclass(frozen=True)
class Projected:
    """Gaussians in a picture; those with a radius of 0 are not seen."""

    means: Float[Tensor, "g 2"]  # pixels, x y
    conics: Float[Tensor, "g 3"]  # a b c
    depths: Float[Tensor, " g"]  # along the camera's axis, world units
    radii: Float[Tensor, " g"]  # three standard deviations of the longer axis, whole pixels
    sigmas: Float[Tensor, "g 2"]  # standard deviations along x and y, pixels; without gradient
    slopes: Float[Tensor, "g 2"]  # depth a pixel, along x and y, at the centre; without gradient


def project(gaussians: Gaussians, view: View) -> Projected:
    """The ellipses of a view; differentiable but for radii, sigmas and slopes."""
    turn, shift = view.T_cam_world[:3, :3], view.T_cam_world[:3, 3]
    means = gaussians.means @ turn.T + shift
    fx, fy, cx, cy = view.intrinsics
    height, width = view.size
    z = means[:, 2].clamp(min=NEAR)  # those nearer are dropped below; without the clamp their gradients are infinite
    centre = torch.stack([fx * means[:, 0] / z + cx, fy * means[:, 1] / z + cy], -1)
    x = z * (means[:, 0] / z).clamp(-(cx / fx + BEYOND * width / (2 * fx)), (width - cx) / fx + BEYOND * width / (2 * fx))
    y = z * (means[:, 1] / z).clamp(-(cy / fy + BEYOND * height / (2 * fy)), (height - cy) / fy + BEYOND * height / (2 * fy))
    zero = torch.zeros_like(z)
    J = torch.stack([fx / z, zero, -fx * x / z**2, zero, fy / z, -fy * y / z**2], -1).reshape(-1, 2, 3)
    JW = J @ turn
    across = JW @ gaussians.covariances
    covariance, deeper = across @ JW.mT, (across @ turn[2]).detach()
    a, b, c = covariance[:, 0, 0] + EPS_2D, covariance[:, 0, 1], covariance[:, 1, 1] + EPS_2D
    det = (a * c - b * b).clamp(min=1e-10)
    conics, radii = torch.stack([c, -b, a], -1) / det[:, None], _radii(a, c, det, means[:, 2], centre, view)
    slopes = torch.stack([(conics[:, :2].detach() * deeper).sum(1), (conics[:, 1:].detach() * deeper).sum(1)], -1)
    return Projected(centre, conics, means[:, 2], radii, torch.stack([a, c], -1).detach().sqrt(), slopes)


@torch.no_grad()
def _radii(a: Tensor, c: Tensor, det: Tensor, depths: Tensor, centre: Tensor, view: View) -> Float[Tensor, " g"]:
    """Whole pixels; 0 where a Gaussian is before the near plane, outside of the picture or no number."""
    middle = (a + c) / 2
    radius = torch.ceil(3 * (middle + (middle**2 - det).clamp(min=0.01).sqrt()).sqrt())
    height, width = view.size
    inside = (centre + radius[:, None] > 0).all(1) & (centre[:, 0] - radius < width) & (centre[:, 1] - radius < height)
    return torch.where(inside & (depths > NEAR) & radius.isfinite(), radius, 0.0)
