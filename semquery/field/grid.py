"""The multiresolution hash grid (Müller et al. 2022, Instant-NGP): positions → features.

Space [0,1]³ carries a grid per level; each vertex owns a row of `table`, coarse levels one to one, fine
ones through a hash. A position gets the trilinear mix of its eight corners' rows, of all levels side by
side. Levels grow geometrically from `coarsest` to `finest` vertices along an edge.

One parameter layout serves three backends, so that a checkpoint moves between them: it is tiny-cuda-nn's
(scale, half-cell shift, dense or hashed rows, rounding of level sizes to 8).
  torch  the readable twin: any device, any float type, twice differentiable
  c      float32 on a CPU, several times as fast (kernel.c; eval/bench/grid.py)
  tcnn   tiny-cuda-nn, where it is installed and the table lies on a GPU

Notation: n points, l levels, f features of a row; a row number counts from the level's first row.
"""

import ctypes
import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.util import find_spec
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from semquery.field.kernel import Kernel, kernel
from semquery.field.kernel import Level as KernelLevel

Backend = Literal["auto", "torch", "c", "tcnn"]
PRIMES = (1, 2654435761, 805459861)  # of the spatial hash; x stays unscrambled for memory locality
UINT32 = 0xFFFFFFFF


@dataclass(frozen=True)
class GridConfig:
    """The shape of a hash grid."""

    levels: int = 10
    """Resolutions side by side."""
    features: int = 4
    """Numbers per vertex: 1, 2, 4 or 8."""
    log2_table: int = 15
    """Rows of a level, as a power of two; finer levels share rows by hashing."""
    coarsest: int = 8
    """Vertices along an edge of the first level."""
    finest: int = 400
    """Vertices along an edge of the last level."""
    init: float = 1e-4
    """Rows start uniformly within ± this."""

    def __post_init__(self) -> None:
        if self.features not in (1, 2, 4, 8):
            raise ValueError(f"A grid row has 1, 2, 4 or 8 features, not {self.features}: set GridConfig.features to one of these.")
        if self.levels < 1 or not 2 <= self.coarsest <= self.finest:
            raise ValueError(
                f"A grid needs levels >= 1 and 2 <= coarsest <= finest; "
                f"got levels={self.levels}, coarsest={self.coarsest}, finest={self.finest}."
            )

    @property
    def growth(self) -> float:
        """Ratio of the resolutions of neighbouring levels."""
        return math.exp(math.log(self.finest / self.coarsest) / max(self.levels - 1, 1))


@dataclass(frozen=True)
class Level:
    """One resolution: how positions become vertices, and where its rows lie in the table."""

    scale: float  # cells along an edge; not always whole
    resolution: int  # vertices along an edge
    size: int  # rows
    offset: int  # its first row

    @property
    def is_dense(self) -> bool:
        return self.resolution**3 <= self.size


def grid_levels(config: GridConfig) -> tuple[Level, ...]:
    """The levels of a grid. Scales are computed in float32 as tiny-cuda-nn does: rounding decides resolutions."""
    levels, offset = [], 0
    log2_growth = np.log2(np.float32(config.growth))
    for number in range(config.levels):
        scale = np.exp2(np.float32(number) * log2_growth) * np.float32(config.coarsest) - np.float32(1)
        resolution = int(np.ceil(scale)) + 1
        size = min(-(-(resolution**3) // 8) * 8, 2**config.log2_table)
        levels.append(Level(float(scale), resolution, size, offset))
        offset += size
    return tuple(levels)


class HashGrid(nn.Module):
    """Positions in [0,1]³ → features [n, levels·features]. Gradients reach the table and the positions."""

    def __init__(self, config: GridConfig = GridConfig(), backend: Backend = "auto") -> None:
        super().__init__()
        self.config, self.backend = config, backend
        self.levels = grid_levels(config)
        self.out_dim = config.levels * config.features
        rows = self.levels[-1].offset + self.levels[-1].size
        self.table = nn.Parameter(torch.empty(rows, config.features).uniform_(-config.init, config.init))

    def forward(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n c"]:
        backend = self.backend_in_use()
        x = x.to(self.table.dtype)
        with torch.autocast(self.table.device.type, enabled=False):
            if backend == "c":
                return _CGrid.apply(x, self.table, self._c_levels, kernel(self.config.features))
            return self._tcnn(x) if backend == "tcnn" else torch_grid(x, self.table, self.levels)

    def backend_in_use(self) -> Literal["torch", "c", "tcnn"]:
        """What computes the next call: it follows the table to its device."""
        if self.backend != "auto":
            return self.backend if self.backend != "c" or self._c_fits() else "torch"
        if self.table.device.type == "cuda" and _tcnn_installed():
            return "tcnn"
        return "c" if self._c_fits() else "torch"

    def _c_fits(self) -> bool:
        right = self.table.device.type == "cpu" and self.table.dtype == torch.float32
        return right and kernel(self.config.features) is not None

    @cached_property
    def _c_levels(self) -> ctypes.Array:
        return (KernelLevel * len(self.levels))(*((v.scale, v.resolution, v.size, v.offset) for v in self.levels))

    def _tcnn(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n c"]:
        encoding = _tcnn_encoding(self.config)
        encoding.params = self.table.reshape(-1)  # the layout is the same: it reads our table, its gradient lands in it
        return encoding(x)


def torch_grid(
    x: Float[Tensor, "n 3"], table: Float[Tensor, "rows f"], levels: tuple[Level, ...]
) -> Float[Tensor, "n c"]:
    """The grid in plain torch; the definition that the other backends are tested against."""
    return torch.cat([_one_level(x, table[v.offset : v.offset + v.size], v) for v in levels], dim=1)


def _one_level(x: Float[Tensor, "n 3"], table: Float[Tensor, "rows f"], level: Level) -> Float[Tensor, "n f"]:
    position = x * level.scale + 0.5
    low = position.detach().floor()
    inside = position - low
    corners = torch.tensor([[c & 1, c >> 1 & 1, c >> 2] for c in range(8)], device=x.device)
    rows = row_of_vertex(low.long()[:, None] + corners, level)
    weights = torch.where(corners.bool(), inside[:, None], 1 - inside[:, None]).prod(-1)
    return torch.einsum("nc,ncf->nf", weights, table[rows])


def row_of_vertex(vertex: Int64[Tensor, "*batch 3"], level: Level) -> Int64[Tensor, "*batch"]:
    """Row of an integer vertex, in 32-bit unsigned arithmetic; vertices just outside wrap around."""
    if level.is_dense:
        factors = (1, level.resolution, level.resolution**2)
        terms = [v * f for v, f in zip(vertex.unbind(-1), factors, strict=True)]
        return ((terms[0] + terms[1] + terms[2]) & UINT32) % level.size
    x, y, z = (v * p & UINT32 for v, p in zip(vertex.unbind(-1), PRIMES, strict=True))
    return (x ^ y ^ z) % level.size


class _CGrid(torch.autograd.Function):
    """kernel.c under autograd."""

    @staticmethod
    def forward(ctx, x: Tensor, table: Tensor, levels, c: Kernel) -> Tensor:  # noqa: ANN001 (autograd's context)
        x, table = x.detach().contiguous(), table.detach().contiguous()
        ctx.save_for_backward(x, table)
        ctx.levels, ctx.c = levels, c
        return c.forward(levels, table, x)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN001
        x, table = ctx.saved_tensors
        grad = grad.contiguous()
        grad_x = ctx.c.backward_x(ctx.levels, table, x, grad) if ctx.needs_input_grad[0] else None
        grad_table = ctx.c.backward_table(ctx.levels, table, x, grad) if ctx.needs_input_grad[1] else None
        return grad_x, grad_table, None, None


def _tcnn_installed() -> bool:
    return find_spec("tinycudann") is not None


@lru_cache
def _tcnn_encoding(config: GridConfig) -> nn.Module:
    """tiny-cuda-nn's encoding without parameters of its own; the caller lends it a table."""
    import tinycudann

    settings = {
        "otype": "HashGrid", "n_levels": config.levels, "n_features_per_level": config.features,
        "log2_hashmap_size": config.log2_table, "base_resolution": config.coarsest, "per_level_scale": config.growth,
    }
    encoding = tinycudann.Encoding(3, settings, dtype=torch.float32)
    last = grid_levels(config)[-1]
    found, expected = encoding.params.numel(), (last.offset + last.size) * config.features
    if found != expected:
        raise ValueError(
            f"tiny-cuda-nn lays this grid out in {found} numbers, semquery in {expected}. "
            "Use HashGrid(config, backend='torch'), or another finest resolution."
        )
    del encoding.params
    return encoding
