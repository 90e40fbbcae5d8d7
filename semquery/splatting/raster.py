"""Exact alpha compositing of projected Gaussians, front to back, block by block.

Notation
  h w height and width, c channels, q quantiles, b blocks of 8 × 8 pixels, x pixels of a block, s Gaussians of a block, nearest first.
  α = opacity · exp(−½ dᵀ Σ'⁻¹ d), at most .999 and 0 below 1/255; T = Π (1 − α) of those before; weight = α T. A pixel is done
  before the Gaussian that would bring T to 1e-4 or less. The constants are those of 3DGS and gsplat.
Conventions
  Depth is along the camera's axis, in world units. The expected depth is that of the Gaussians' centres, as gsplat's. Quantiles are
  those of the weights of a pixel: where the first Gaussian with which a share of the pixel's opacity is reached is densest along
  the ray. On a flat Gaussian seen aslant that is where the ray meets it, so large ones make planes and not steps.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from semquery.splatting.blocks import BLOCK, LEAST_ALPHA, batches, blocks_of, grid_of
from semquery.splatting.gaussians import Gaussians, View
from semquery.splatting.project import Projected, project

MOST_ALPHA, DONE = 0.999, 1e-4
SHARES = (0.25, 0.5, 0.75)
AT_ONCE = 1 << 20  # weights that are worked out together
CHUNK = 128  # Gaussians of a block that are blended before it is seen whether all its pixels are done


@dataclass(frozen=True)
class Rendered:
    """What a view shows."""

    features: Float[Tensor, "h w c"]  # Σ weight · feature; black and zero where nothing is
    opacity: Float[Tensor, "h w"]  # Σ weight
    depth: Float[Tensor, "h w"]  # expected: Σ weight · depth / opacity; 0 where nothing is
    quartiles: Float[Tensor, "q h w"]  # of depth; the second is the median; 0 where nothing is; without gradient


def rasterize(gaussians: Gaussians, view: View, features: Float[Tensor, "g c"], shares: Sequence[float] = SHARES) -> Rendered:
    """Render features of Gaussians (colours are three of them); differentiable in all but the camera.

    By gsplat on a CUDA device, by the torch twin elsewhere. `shares`: of the opacity, at which depths are told; () where none is wanted.
    """
    if gaussians.means.is_cuda:
        from semquery.splatting import on_cuda

        if on_cuda.is_there():
            return on_cuda.rasterize(gaussians, view, features, shares)
    return composite(project(gaussians, view), gaussians.opacities, features, view.size, shares)


def composite(
    projected: Projected, opacities: Float[Tensor, " g"], features: Float[Tensor, "g c"], size: tuple[int, int],
    shares: Sequence[float] = SHARES,
) -> Rendered:
    """Blend ellipses; memory is that of some blocks, also when gradients are wanted, for which these are worked out again."""
    (height, width), (rows, columns), c = size, grid_of(size), features.shape[1]
    scene = (projected.means, projected.conics, projected.depths, projected.slopes, opacities, features)
    wants_grad = torch.is_grad_enabled() and any(t.requires_grad for t in scene)
    blocks, blended = [], []
    for here, which in batches(*blocks_of(projected, opacities, size), AT_ONCE):
        given = (_corners(here, columns), which, *scene, tuple(shares))
        blended.append(checkpoint(_blend, *given, use_reentrant=False) if wants_grad else _blend(*given))
        blocks.append(here)
    table = features.new_zeros(rows * columns, BLOCK * BLOCK, c + 2 + len(shares))
    if blocks:
        table = table.index_copy(0, torch.cat(blocks), torch.cat(blended))
    table = table.reshape(rows, columns, BLOCK, BLOCK, -1).transpose(1, 2).reshape(rows * BLOCK, columns * BLOCK, -1)[:height, :width]
    opacity = table[..., c]
    depth = torch.where(opacity > 0, table[..., c + 1] / opacity.clamp(min=1e-10), 0.0)
    return Rendered(table[..., :c], opacity, depth, table[..., c + 2 :].detach().permute(2, 0, 1))


@torch.no_grad()
def pixel_weights(
    projected: Projected, opacities: Float[Tensor, " g"], size: tuple[int, int]
) -> Iterator[tuple[Int[Tensor, "b x"], Int[Tensor, "b s"], Float[Tensor, "b x s"]]]:
    """All weights of a view, some blocks at a time: flat pixel indices (-1 beyond the picture), Gaussians (-1 for none), weights."""
    (height, width), (_, columns) = size, grid_of(size)
    for here, which in batches(*blocks_of(projected, opacities, size), AT_ONCE):
        corners = _corners(here, columns)
        weights = _weights(corners, which, projected.means, projected.conics, opacities)
        x, y = (corners[:, None] + _inside(which.device)).unbind(-1)
        yield torch.where((x < width) & (y < height), y * width + x, -1), which[:, : weights.shape[2]], weights


def _corners(blocks: Int[Tensor, " b"], columns: int) -> Int[Tensor, "b 2"]:
    """First pixel of each block, x y."""
    return BLOCK * torch.stack([blocks % columns, blocks // columns], -1)


def _inside(device: torch.device) -> Int[Tensor, "x 2"]:
    """Pixels of a block, x y, row by row."""
    nth = torch.arange(BLOCK * BLOCK, device=device)
    return torch.stack([nth % BLOCK, nth // BLOCK], -1)


def _filled(which: Int[Tensor, "b s"]) -> Int[Tensor, "b s"]:
    """With a block's first Gaussian where it has no more: a row that can be looked up."""
    return torch.where(which >= 0, which, which[:, :1])


def _blend(
    corners: Int[Tensor, "b 2"], which: Int[Tensor, "b s"], means: Float[Tensor, "g 2"], conics: Float[Tensor, "g 3"],
    depths: Float[Tensor, " g"], slopes: Float[Tensor, "g 2"], opacities: Float[Tensor, " g"], features: Float[Tensor, "g c"], shares: tuple[float, ...],
) -> Float[Tensor, "b x d"]:
    """Of each pixel: features, opacity, Σ weight · depth, quantiles of depth."""
    weights = _weights(corners, which, means, conics, opacities)
    rows = _filled(which)[:, : weights.shape[2]]
    depth = depths[rows]
    blended = weights @ torch.cat([features[rows], torch.ones_like(depth)[..., None], depth[..., None]], -1)
    if not shares:
        return blended
    reached = weights.detach().cumsum(2)
    total = reached[..., -1:].contiguous()
    nth = torch.searchsorted(reached, total * total.new_tensor(shares)).clamp(max=rows.shape[1] - 1)
    found = rows.gather(1, nth.flatten(1)).reshape(nth.shape)
    away = (corners[:, None] + _inside(corners.device) + 0.5)[:, :, None] - means[found].detach()
    return torch.cat([blended, torch.where(total > 0, depth_at(away, depths[found].detach(), slopes[found]), 0.0)], -1)


def _weights(
    corners: Int[Tensor, "b 2"], which: Int[Tensor, "b s"], means: Float[Tensor, "g 2"], conics: Float[Tensor, "g 3"],
    opacities: Float[Tensor, " g"],
) -> Float[Tensor, "b x t"]:
    """What each Gaussian contributes to each pixel, up to the last that contributes to any."""
    left, found = means.new_ones(len(which), BLOCK * BLOCK), []
    for rows, is_there in zip(_filled(which).split(CHUNK, 1), (which >= 0).split(CHUNK, 1), strict=True):
        going = (left.detach() > DONE).any(1).nonzero()[:, 0]
        if not len(going):
            break
        here = rows[going]
        weights, after = weights_of(corners[going], means[here], conics[here], opacities[here] * is_there[going], left[going])
        left = left.index_copy(0, going, after)
        found.append(weights.new_zeros(len(which), *weights.shape[1:]).index_copy(0, going, weights))
    return torch.cat(found, 2)


def weights_of(
    corners: Int[Tensor, "b 2"], means: Float[Tensor, "b s 2"], conics: Float[Tensor, "b s 3"], opacities: Float[Tensor, "b s"],
    left: Float[Tensor, "b x"],
) -> tuple[Float[Tensor, "b x s"], Float[Tensor, "b x"]]:
    """What each Gaussian contributes to each pixel of blocks, of the transmittance that is left; and what is left after them."""
    at = (corners[:, :, None] + torch.arange(BLOCK, device=means.device)).to(means.dtype) + 0.5
    dx, dy = (at[..., None] - means.mT[:, :, None]).unbind(1)  # b, BLOCK, s
    a, b, c = conics.mT[:, :, None].unbind(1)
    power = ((-0.5 * a * dx * dx)[:, None] + (-0.5 * c * dy * dy)[:, :, None] - (b * dx)[:, None] * dy[:, :, None]).flatten(1, 2)
    alpha = (opacities[:, None] * power.clamp(max=0).exp()).clamp(max=MOST_ALPHA)
    alpha = torch.where((power <= 0) & (alpha >= LEAST_ALPHA), alpha, 0.0)
    after = (1 - alpha).cumprod(2) * left[..., None]
    before = torch.cat([left[..., None], after[..., :-1]], 2)
    return torch.where(after > DONE, alpha * before, 0.0), after[..., -1]


def depth_at(away: Float[Tensor, "*n 2"], depths: Float[Tensor, "*n"], slopes: Float[Tensor, "*n 2"]) -> Float[Tensor, "*n"]:
    """Where Gaussians are densest along rays that miss their centres by so many pixels; on a plane, inverse depth changes evenly."""
    change = (away * slopes).sum(-1) / depths.clamp(min=1e-10)
    return depths / (1 - change.clamp(-0.5, 0.5))
