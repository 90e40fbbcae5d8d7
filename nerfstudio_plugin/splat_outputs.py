"""The part tree in pictures of splats: the same outputs as for a radiance field, drawn by giving the Gaussians themselves other colours.

A Gaussian is of the part that an export and a query say it is of (stages.labelled_gaussians), or where they find none in their
smaller reach, of the nearest one in that of all pictures: a part has no holes where Gaussians are large and few. So a tinted part is
tinted through and through, what is hidden is not rendered, and no place of a picture has to be looked up.

Notation
  g Gaussians, p parts.
Conventions
  A Gaussian out of reach of the surface, or left out as no surface, has no part: it belongs to the scene as a whole, is hidden,
  shown alone and lit with the root, and has no heat.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor

from nerfstudio_plugin.outputs import PICTURES, Ends, Frame, Scenery
from semquery.export.splats import MOST_REACH


@dataclass(frozen=True)
class SplatScenery(Scenery):
    """A surface and its tree, and the Gaussians that are rendered."""

    centres: Float32[np.ndarray, "g 3"]  # capture's frame
    is_surface: Bool[np.ndarray, " g"]  # not left out by the clean-up

    @property
    def reach(self) -> float:
        """No less than any Gaussian has in an export."""
        return max(super().reach, MOST_REACH * self.surface.voxel_size)

    @cached_property
    def on(self) -> Ends:
        """What each Gaussian belongs to."""
        known = self.is_surface & np.isfinite(self.centres).all(1)
        away, point = self.nearest.query(np.where(known[:, None], self.centres, 0.0), workers=-1)
        is_on = known & (away <= self.reach)
        return Ends(np.where(is_on, self.tree.part_of_point[point], self.tree.root).astype(np.int32), is_on)

    def prepare(self) -> "SplatScenery":
        super().prepare()
        _ = self.on
        return self

    def prepare_cuts(self) -> None:
        """Nothing takes long."""

    def cut(self, is_lit: Bool[np.ndarray, " p"], alone: bool, T_train_capture: Tensor, device: torch.device | str) -> Bool[Tensor, " g"]:
        """Which Gaussians are left."""
        return torch.from_numpy(is_lit[self.on.part] == alone).to(device)

    def ends(self, points: Float[Tensor, "g 3"], seen: Float[Tensor, "g 1"]) -> Ends:
        return self.on


def drawable(frame: Frame, num_gaussians: int) -> Frame:
    """A frame without what it shows of other Gaussians: while the geometry is trained, they come and go."""
    scenery = frame.sight.scenery if frame.sight is not None else None
    return replace(frame, sight=None) if scenery is not None and len(scenery.centres) != num_gaussians else frame


def stacked(pictures: dict[str, Float[Tensor, "g 3"]], rgb: Float[Tensor, "g 3"]) -> tuple[Float[Tensor, "g c"], dict[str, int]]:
    """The colours of all pictures that differ from the plain one as channels of one rendering, and where each begins."""
    others = [name for name in PICTURES if pictures[name] is not rgb]
    begin = {name: 3 * (1 + others.index(name)) if name in others else 0 for name in PICTURES}
    return torch.cat([rgb, *(pictures[name] for name in others)], 1), begin
