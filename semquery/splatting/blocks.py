"""Which Gaussians each block of a picture needs.

Two rules decide. 3DGS and gsplat draw a Gaussian in every tile of 16 × 16 pixels that the square of its radius touches, and
nowhere else: that is part of the picture. Within these tiles it is nothing (below 1/255) outside of an ellipse that its opacity
tells; blocks of 8 × 8 pixels that the ellipse's box does not reach are left out, which changes nothing but the time.

Notation
  g Gaussians, i pairs of a block and a Gaussian, b blocks (row by row), s Gaussians of a block, padded.
"""

import math
from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from semquery.splatting.project import Projected

TILE = 16  # pixels
BLOCK = 8  # pixels; divides TILE
LEAST_ALPHA = 1 / 255
SLACK = 0.05  # pixels that an ellipse is taken larger, for rounding


def grid_of(size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of blocks that cover a picture, whole tiles of them."""
    height, width = size
    return -(-height // TILE) * (TILE // BLOCK), -(-width // TILE) * (TILE // BLOCK)


@torch.no_grad()
def blocks_of(
    projected: Projected, opacities: Float[Tensor, " g"], size: tuple[int, int]
) -> tuple[Int[Tensor, " i"], Int[Tensor, " starts"]]:
    """The Gaussians of each block, nearest first: rows of `projected`, and where each block's begin; one more than there are blocks."""
    rows, columns = grid_of(size)
    seen = ((projected.radii > 0) & (opacities >= LEAST_ALPHA)).nonzero()[:, 0]
    seen = seen[projected.depths[seen].argsort(stable=True)]
    low, high = _reach(projected, opacities, seen, torch.tensor([columns, rows], device=seen.device))
    wide, count = (high - low)[:, 0], (high - low).prod(1)
    which = torch.repeat_interleave(torch.arange(len(seen), device=seen.device), count)
    nth = torch.arange(len(which), device=seen.device) - (count.cumsum(0) - count)[which]
    block = (low[which, 1] + nth // wide[which]) * columns + low[which, 0] + nth % wide[which]
    start = torch.cat([count.new_zeros(1), torch.bincount(block, minlength=rows * columns).cumsum(0)])
    return seen[which[block.argsort(stable=True)]], start


def _reach(
    projected: Projected, opacities: Tensor, seen: Int[Tensor, " t"], grid: Int[Tensor, " 2"]
) -> tuple[Int[Tensor, "t 2"], Int[Tensor, "t 2"]]:
    """First block and the one after the last, columns and rows, of each Gaussian."""
    means, radii, per_tile = projected.means[seen], projected.radii[seen, None], TILE // BLOCK
    ends = (2 * (opacities[seen] / LEAST_ALPHA).log()).clamp(min=0).sqrt()[:, None] * projected.sigmas[seen] + SLACK
    low = torch.maximum(per_tile * ((means - radii) / TILE).floor(), ((means - ends + 0.5) / BLOCK).ceil() - 1)
    high = torch.minimum(per_tile * ((means + radii) / TILE).ceil(), ((means + ends - 0.5) / BLOCK).floor() + 1)
    low = torch.minimum(low.long().clamp(min=0), grid)
    return low, torch.maximum(torch.minimum(high.long(), grid), low)


def batches(order: Int[Tensor, " i"], start: Int[Tensor, " starts"], most: int) -> Iterator[tuple[Int[Tensor, " b"], Int[Tensor, "b s"]]]:
    """Blocks with about as many Gaussians each, and these Gaussians, -1 behind the last; b · s · BLOCK² is at most `most` where b > 1."""
    counts = start.diff()
    blocks = counts.argsort(descending=True)[: int((counts > 0).sum())]
    lengths, done = counts[blocks].tolist(), 0
    while done < len(blocks):
        here = blocks[done : done + max(1, math.floor(most / (BLOCK * BLOCK * lengths[done])))]
        nth = torch.arange(lengths[done], device=order.device)
        inside = nth < counts[here, None]
        yield here, torch.where(inside, order[(start[here, None] + nth).clamp(max=len(order) - 1)], -1)
        done += len(here)
