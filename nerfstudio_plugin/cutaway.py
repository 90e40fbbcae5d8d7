"""Parts taken out of a radiance field: what lies behind a hidden part, and a part alone.

Painting over the pixels of a part cannot show what is behind it. So the density of what belongs to it is taken away before
the rays are rendered. What belongs to it: every cell of space belongs to the part whose surface is nearest. A hidden part
goes with all of its cells, for behind its surface a radiance field may be filled with anything; of a part alone only the
cells near its surface are kept, for nothing else is known to be its own.

Notation
  n surface points, p parts, s positions along rays, x y z cells. Points are in the capture's frame.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int32
from torch import Tensor

MOST_CELLS = 192  # along the longest edge of the surface's box
NEAR = 4.0  # cells between what is kept of a part alone and its surface
MARGIN = 5  # cells of the box beyond the surface


@dataclass(frozen=True)
class Cells:
    """Which part's surface is nearest, in every cell of a box around the surface."""

    low: Float64[np.ndarray, " 3"]  # corner of the first cell
    size: float  # edge of a cell
    part: Int32[np.ndarray, "x y z"]
    is_near: Bool[np.ndarray, "x y z"]  # the nearest cell with surface is at most NEAR cells away

    @staticmethod
    def around(
        points: Float[np.ndarray, "n 3"], part_of_point: Int32[np.ndarray, " n"], voxel_size: float, most: int = MOST_CELLS
    ) -> "Cells":
        """Cells of the surface's own resolution, at most `most` along an edge of its box; a cell with points of several parts
        is of the one with most. At least one point is expected."""
        from scipy.ndimage import distance_transform_edt

        low, high = points.min(0).astype(np.float64), points.max(0).astype(np.float64)
        size = float(max(voxel_size, (high - low).max() / most))
        low = low - MARGIN * size
        shape = tuple(np.floor((high - low) / size).astype(int) + 1 + MARGIN)
        of_cell = np.full(shape, -1, np.int32)
        cell = np.ravel_multi_index(tuple(np.floor((points - low) / size).astype(np.int64).T), shape)
        cells, parts = _most_frequent(cell, part_of_point)
        of_cell.reshape(-1)[cells] = parts
        away, nearest = distance_transform_edt(of_cell < 0, return_indices=True)
        return Cells(low, size, of_cell[tuple(nearest)], away <= NEAR)

    def without(self, is_lit: Bool[np.ndarray, " p"]) -> Bool[np.ndarray, "x y z"]:
        """The cells that are left when the lit parts are hidden."""
        return ~is_lit[self.part]

    def only(self, is_lit: Bool[np.ndarray, " p"]) -> Bool[np.ndarray, "x y z"]:
        """The cells that are left when all but the lit parts are hidden."""
        return is_lit[self.part] & self.is_near


def _most_frequent(cell: np.ndarray, part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each cell once, and the part that most of its points are of; of equals the smallest number."""
    pairs, count = np.unique(np.stack([cell, part]), axis=1, return_counts=True)
    order = np.lexsort((pairs[1], -count, pairs[0]))
    cells, first = np.unique(pairs[0][order], return_index=True)
    return cells, pairs[1][order][first].astype(np.int32)


@dataclass(frozen=True)
class Cut:
    """What is left of space when parts are hidden, for positions in the trainer's frame."""

    kept: Bool[Tensor, "x y z"]
    T_cell_train: Float[Tensor, "3 4"]  # to coordinates in cells
    outside: bool  # whether what lies outside of the box is kept

    @staticmethod
    def of(
        cells: Cells, kept: Bool[np.ndarray, "x y z"], outside: bool, T_train_capture: Float[Tensor, "4 4"], device: torch.device | str
    ) -> "Cut":
        """`T_train_capture` maps points of the capture's frame to the trainer's."""
        to_cell = torch.eye(4, dtype=torch.float64) / cells.size
        to_cell[:3, 3] = torch.from_numpy(-cells.low / cells.size)
        T_cell_train = (to_cell @ torch.linalg.inv(T_train_capture.detach().double().cpu()))[:3]
        return Cut(torch.from_numpy(kept).to(device), T_cell_train.float().to(device), outside)

    def __call__(self, positions: Float[Tensor, "*s 3"]) -> Bool[Tensor, "*s 1"]:
        """Whether there is anything left at these positions."""
        turn, shift = self.T_cell_train[:, :3], self.T_cell_train[:, 3]
        cell = torch.floor(positions.float() @ turn.T + shift)
        most = torch.tensor(self.kept.shape, device=cell.device) - 1
        is_inside = ((cell >= 0) & (cell <= most)).all(-1)
        x, y, z = torch.where(is_inside[..., None], cell, torch.zeros_like(cell)).long().unbind(-1)
        return torch.where(is_inside, self.kept[x, y, z], torch.full_like(is_inside, self.outside))[..., None]
