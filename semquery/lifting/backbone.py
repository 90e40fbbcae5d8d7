"""Features for the points of a scene that has no trained field: a small point network without sparse convolutions.

Points are averaged in voxels of a few sizes; at each size the voxels look at their nearest ones (edge convolution: the largest
answer of a small network to what a neighbour has and where it is, DGCNN, arXiv 1801.07829), and each point gets its own
feature and those of its voxels side by side. In place of the MinkUNet of the published method, which needs a GPU library.

Notation
  n points, v voxels of one level, k neighbours, c input channels, w width.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor, nn


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch draws from this seed inside, and goes on as before outside."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@dataclass(frozen=True)
class Level:
    """Voxels of one size, over all points."""

    voxel_of_point: Int64[Tensor, " n"]
    count: Float32[Tensor, "v 1"]  # points in each voxel
    near: Int64[Tensor, "v k"]  # nearest voxels, the voxel itself first
    offset: Float32[Tensor, "v k 3"]  # from the voxel to each, in units of the voxel's side


def level_of(points: Float32[np.ndarray, "n 3"], side: float, neighbours: int) -> Level:
    """Voxels with a side in world units, each with its nearest ones by the mean of their points; fewer where there are fewer."""
    from scipy.spatial import cKDTree

    _, voxel, count = np.unique(np.floor((points - points.min(0)) / side), axis=0, return_inverse=True, return_counts=True)
    voxel = voxel.reshape(-1)
    centre = np.stack([np.bincount(voxel, column) for column in points.T.astype(np.float64)], 1) / count[:, None]
    k = min(neighbours, len(centre))
    near = cKDTree(centre).query(centre, k=k)[1].reshape(len(centre), k)
    offset = (centre[near] - centre[:, None]) / side
    tensors = voxel.astype(np.int64), count[:, None].astype(np.float32), near.astype(np.int64), offset.astype(np.float32)
    return Level(*map(torch.from_numpy, tensors))


def channels_of(points: Float32[np.ndarray, "n 3"], colors: UInt8[np.ndarray, "n 3"], normals: Float32[np.ndarray, "n 3"]) -> Float32[Tensor, "n 9"]:
    """What the network is told of each point: its place (the scene's box is about −1..1), its colour and its normal."""
    middle, half = (points.max(0) + points.min(0)) / 2, max(float(np.ptp(points, axis=0).max()) / 2, 1e-9)
    return torch.from_numpy(np.concatenate([(points - middle) / half, colors / 127.5 - 1, normals], 1).astype(np.float32))


class EdgeConv(nn.Module):
    """max over neighbours j of a network of (x_i, x_j − x_i, offset)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.own, self.other, self.place = nn.Linear(width, width), nn.Linear(width, width, bias=False), nn.Linear(3, width, bias=False)

    def forward(self, x: Float[Tensor, "v w"], level: Level) -> Float[Tensor, "v w"]:
        """The linear parts are taken before neighbours are gathered: the same sum, k times cheaper."""
        other = self.other(x)
        return torch.relu(self.own(x)[:, None] + other[level.near] - other[:, None] + self.place(level.offset)).amax(1)


class PointTrunk(nn.Module):
    """Points → features, trained with the head. Its points are no weights, and are not saved."""

    def __init__(self, channels: Float[Tensor, "n c"], levels: Sequence[Level], width: int, seed: int = 0) -> None:
        super().__init__()
        self.register_buffer("channels", channels, persistent=False)
        self.levels = list(levels)
        with seeded(seed):
            self.first = nn.Sequential(nn.Linear(channels.shape[1], width), nn.ReLU())
            self.convolutions = nn.ModuleList(EdgeConv(width) for _ in levels)
            self.last = nn.Linear(width * (1 + len(levels)), width)

    def forward(self, rows: Int64[Tensor, " b"] | None = None) -> Float[Tensor, "b w"]:
        """Features of some points, or of all; all take part in the averages either way."""
        x = self.first(self.channels)
        found = [x if rows is None else x[rows]]
        for level, convolution in zip(self.levels, self.convolutions, strict=True):
            pooled = torch.zeros(len(level.count), x.shape[1], dtype=x.dtype, device=x.device).index_add_(0, level.voxel_of_point, x) / level.count
            voxel = level.voxel_of_point if rows is None else level.voxel_of_point[rows]
            found.append(convolution(pooled, level)[voxel])
        return self.last(torch.cat(found, 1))


def point_trunk(
    points: Float32[np.ndarray, "n 3"], colors: UInt8[np.ndarray, "n 3"], normals: Float32[np.ndarray, "n 3"], voxel_size: float,
    width: int = 64, sizes: Sequence[float] = (4.0, 12.0, 36.0), neighbours: int = 8, seed: int = 0,
) -> PointTrunk:
    """A network over these points; `sizes` are the sides of its voxels in units of the surface's."""
    return PointTrunk(channels_of(points, colors, normals), [level_of(points, voxel_size * size, neighbours) for size in sizes], width, seed)
