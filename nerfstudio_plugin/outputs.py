"""The part tree as colours: what the viewer's output `parts` shows.

A surface point takes the part of the nearest fused surface point. Colours depend on the part's id
alone, so that a part keeps its colour while the camera moves and the level changes.
"""

from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Float
from nerfstudio.utils.rich_utils import CONSOLE
from torch import Tensor

from semquery.export import part_colors
from semquery.store import Run
from semquery.types import PartTree, Surface


class PartColors:
    """Colours points by their part at a level of the tree; grey while there is no tree."""

    def __init__(self) -> None:
        self.run: Path | None = None
        self._said = False

    def __call__(self, points: Float[Tensor, "n 3"], rgb: Float[Tensor, "n 3"], level: int) -> Float[Tensor, "n 3"]:
        """`points` in the capture's frame; the photo's brightness shines through, so that shape stays visible."""
        light = 0.35 + 0.65 * rgb.mean(-1, keepdim=True)
        if not self.has_tree:
            self._say_why_grey()
            return light.expand_as(rgb) * 0.5
        nearest = self._nearest.query(points.detach().float().cpu().numpy(), workers=-1)[1]
        part = self._tree.level(level)[self._tree.part_of_point[nearest]]
        return torch.as_tensor(part_colors(self._tree.num_parts)[part] / 255).to(rgb) * light

    @property
    def has_tree(self) -> bool:
        return self.run is not None and (self.run / "parts.npz").exists() and (self.run / "surface.npz").exists()

    def _say_why_grey(self) -> None:
        if not self._said:
            self._said = True
            CONSOLE.log(f"`parts` is grey: there is no part tree in {self.run} yet. It is built when the training ends.")

    def forget(self) -> None:
        """Read the tree anew at the next call."""
        for name in ("_tree", "_nearest"):
            self.__dict__.pop(name, None)

    @cached_property
    def _tree(self) -> PartTree:
        return Run(self.run).parts()

    @cached_property
    def _nearest(self):
        from scipy.spatial import cKDTree

        surface: Surface = Run(self.run).surface()
        return cKDTree(surface.points)
