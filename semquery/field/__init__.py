"""The feature field: a unit vector for every point of the scene.

x (world) → hash grid → small network → f(x), ‖f‖ = 1.  Points of one part get alike vectors, points that
some mask separates get unlike ones; how unlike says how far up the part tree they meet.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Num
from torch import Tensor, nn

from semquery.field.grid import GridConfig, HashGrid

__all__ = ["FeatureField", "FieldConfig", "GridConfig", "HashGrid"]


@dataclass(frozen=True)
class FieldConfig:
    """Size of the feature field."""

    grid: GridConfig = field(default_factory=GridConfig)
    """The hash grid."""
    hidden: int = 64
    """Width of the network's one hidden layer."""
    dim: int = 16
    """Length of a feature."""


class FeatureField(nn.Module):
    """f: world points → unit features. `box` (world) is the region the grid covers; it can be set once known."""

    def __init__(self, config: FieldConfig = FieldConfig(), box: Num[np.ndarray, "2 3"] | None = None) -> None:
        super().__init__()
        self.config = config
        self.grid = HashGrid(config.grid)
        self.network = nn.Sequential(
            nn.Linear(self.grid.out_dim, config.hidden), nn.ReLU(), nn.Linear(config.hidden, config.dim))
        self.register_buffer("box", torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]))
        if box is not None:
            self.set_box(box)

    def set_box(self, box: Num[np.ndarray, "2 3"]) -> None:
        """Cover this box; the grid stays isotropic, so its cells are cubes of the longest side's resolution."""
        box = torch.as_tensor(np.asarray(box), dtype=torch.float32)
        side = (box[1] - box[0]).max()
        if not bool(torch.isfinite(box).all()) or not side > 0:
            raise ValueError(f"The field needs a finite box with positive sides, got {box.tolist()}.")
        self.box.copy_(torch.stack([box[0], box[0] + side]))

    def forward(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n c"]:
        x = ((points - self.box[0]) / (self.box[1] - self.box[0])).clamp(0, 1)
        return nn.functional.normalize(self.network(self.grid(x).float()), dim=-1)

    @torch.no_grad()
    def at(self, points: Num[np.ndarray, "n 3"], chunk: int = 1 << 17) -> Float[np.ndarray, "n c"]:
        """Features of many points, in chunks, as an array."""
        world = torch.as_tensor(points, dtype=torch.float32)
        parts = [self(part.to(self.box.device)).cpu() for part in world.split(chunk)]
        return torch.cat(parts).numpy() if parts else np.zeros((0, self.config.dim), np.float32)
