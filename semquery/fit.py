"""Training the feature field on observed surface points, whatever made the surface.

One step takes pixels of one view: their surface points are given, so a step is one field query of a few
thousand points and no ray marching. Step i draws from a generator seeded by (seed, i): a run that was
interrupted and resumed is the run that was not.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int32, Int64
from torch import Tensor

from semquery.contrast import ContrastConfig, contrastive_losses, membership
from semquery.field import FeatureField, FieldConfig
from semquery.geometry import FusionConfig
from semquery.manifest import LATER
from semquery.splatting.features import PixelWeights, RasterisedConfig, VectorField, at_centres, blended
from semquery.types import MaskStack, Observation


@dataclass(frozen=True)
class FitConfig:
    """How the feature field is trained."""

    steps: int = 1500
    """Training steps."""
    batch: int = 2048
    """Surface points per step, all of one view."""
    learning_rate: float = 2e-2
    """Adam's rate for the hash table; it falls along a cosine to 3 %."""
    network_learning_rate: float = 5e-3
    """The same for the network behind the table."""
    contrast: ContrastConfig = dataclasses.field(default_factory=ContrastConfig)
    """Pairs and losses."""
    field: FieldConfig = dataclasses.field(default_factory=FieldConfig)
    """Size of the field."""
    fusion: FusionConfig = dataclasses.field(default_factory=FusionConfig)
    """How the views' points become one surface."""
    seed: int = 0
    """Seed of weights and draws."""
    feature_rendering: Literal["surface", "rasterised"] = dataclasses.field(default="surface", metadata=LATER)
    """What a pixel's feature is: the field's at its surface point, or, of splats alone, a blend of the features of its Gaussians
    (a step takes about twice as long)."""
    rasterised: RasterisedConfig = dataclasses.field(default_factory=RasterisedConfig, metadata=LATER)
    """Rasterised features."""


@dataclass(frozen=True)
class ViewPixels:
    """The surface points of one view and the masks each lies in, ready for sampling."""

    points: Float[Tensor, "k 3"]
    labels: Int32[Tensor, "k l"]  # mask id per layer, 0 = none


def labels_at(stack: MaskStack, seen: Observation) -> Int32[np.ndarray, "k l"]:
    """Mask ids of the observed pixels; stack and pixel grid may differ in size but show the same frame."""
    (rows, columns), (h, w) = stack.size, seen.size
    y, x = np.divmod(seen.pixels, w)
    y = ((y + 0.5) * rows / h).astype(np.int64)
    x = ((x + 0.5) * columns / w).astype(np.int64)
    return stack.layers[:, y, x].T.astype(np.int32)


def cosine_rate(step: int, steps: int) -> float:
    """A cosine from 1 at step 0 to 0.03 at `steps`; constant before and after."""
    share = min(max(step, 0) / max(1, steps), 1.0)
    return 0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * share))


class FieldFit:
    """A field, its views and its optimiser. `losses(i)` is one step's loss; `train` runs them all."""

    def __init__(self, field: FeatureField | VectorField, views: Mapping[str, ViewPixels], config: FitConfig) -> None:
        usable = {name: v for name, v in views.items() if len(v.points) >= 32 and bool((v.labels > 0).any())}
        if not usable:
            raise ValueError(
                f"None of the {len(views)} views has both masks and surface points, so there is nothing to learn from. "
                "Look at masks/contact.png and at the photos: are the masks empty, or is everything background?"
            )
        device = field.box.device
        self.field, self.config = field, config
        self.views = [ViewPixels(v.points.to(device), v.labels.to(device)) for v in usable.values()]
        self.names = list(usable)

    def parameter_groups(self) -> list[dict]:
        return [
            {"params": [self.field.grid.table], "lr": self.config.learning_rate},
            {"params": list(self.field.network.parameters()), "lr": self.config.network_learning_rate},
        ]

    def optimizer(self) -> torch.optim.Adam:
        return torch.optim.Adam(self.parameter_groups(), betas=(0.9, 0.99), eps=1e-15, fused=True)

    def rate(self, step: int) -> float:
        """Factor of the learning rates at a step."""
        return cosine_rate(step, self.config.steps)

    def losses(self, step: int) -> dict[str, Float[Tensor, ""]]:
        """The losses of a step, a function of the field, the seed and the step alone. Empty if its masks are."""
        device = self.field.box.device
        rng = torch.Generator(device).manual_seed(self.config.seed * 1_000_003 + step)
        number = self._view_of(step)
        view = self.views[number]
        chosen = torch.randint(len(view.points), (min(self.config.batch, len(view.points)),), generator=rng, device=device)
        member = membership(view.labels[chosen])
        if not len(member):
            return {}
        points = view.points[chosen]
        return contrastive_losses(self.features(number, chosen), points, member, self.config.contrast, rng)

    def features(self, view: int, chosen: Int64[Tensor, " b"]) -> Float[Tensor, "b c"]:
        """What pixels of a view show."""
        return self.field(self.views[view].points[chosen])

    def _view_of(self, step: int) -> int:
        """Every view once per epoch, in a new order each time."""
        epoch, place = divmod(step, len(self.views))
        order = torch.randperm(len(self.views), generator=torch.Generator().manual_seed(self.config.seed + epoch))
        return int(order[place])

    def train(
        self,
        optimizer: torch.optim.Adam,
        start: int = 0,
        on_step: Callable[[int, dict[str, float]], None] = lambda step, losses: None,
    ) -> None:
        """Steps start..config.steps; `on_step(steps done, losses)` after each."""
        base = [group["lr"] for group in self.parameter_groups()]
        for step in range(start, self.config.steps):
            for group, rate in zip(optimizer.param_groups, base, strict=True):
                group["lr"] = rate * self.rate(step)
            losses = self.losses(step)
            if losses:
                optimizer.zero_grad(set_to_none=True)
                torch.stack(list(losses.values())).sum().backward()
                optimizer.step()
            on_step(step + 1, {name: float(loss.detach()) for name, loss in losses.items()})


class RasterisedFit(FieldFit):
    """Training of features that frozen Gaussians carry; but for what a pixel shows all is as in `FieldFit`.

    `weights` are those of each view's pixels, in the order of its points; `centres` are in the frame of the points.
    """

    def __init__(
        self, field: FeatureField | VectorField, views: Mapping[str, ViewPixels], config: FitConfig,
        centres: Float[Tensor, "g 3"], weights: Mapping[str, PixelWeights],
    ) -> None:
        super().__init__(field, views, config)
        self.weights = [weights[name].to(field.box.device) for name in self.names]
        self.of_gaussians = field.of_gaussians if isinstance(field, VectorField) else at_centres(field, centres.to(field.box))

    def parameter_groups(self) -> list[dict]:
        if isinstance(self.field, VectorField):
            return [{"params": [self.field.vectors], "lr": self.config.learning_rate}]
        return super().parameter_groups()

    def features(self, view: int, chosen: Int64[Tensor, " b"]) -> Float[Tensor, "b c"]:
        return blended(self.of_gaussians, self.weights[view][chosen])


def checkpoint_tensors(field: FeatureField | VectorField, optimizer: torch.optim.Adam) -> dict[str, Tensor]:
    """Everything a resumed training needs, as named tensors."""
    tensors = {f"field.{name}": t for name, t in field.state_dict().items()}
    for i, state in optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{i}.{name}": torch.as_tensor(t) for name, t in state.items()}
    return {name: t.detach().cpu().contiguous() for name, t in tensors.items()}


def load_checkpoint_tensors(
    tensors: Mapping[str, Tensor], field: FeatureField | VectorField, optimizer: torch.optim.Adam | None = None
) -> None:
    """Inverse of `checkpoint_tensors`. Raises ValueError when the tensors are of another field."""
    wanted, device = field.state_dict(), field.box.device
    found = {name.removeprefix("field."): t for name, t in tensors.items() if name.startswith("field.")}
    shapes = lambda state: {name: tuple(t.shape) for name, t in state.items()}  # noqa: E731
    if shapes(wanted) != shapes(found):
        raise ValueError(
            f"The stored field has {shapes(found)}, this configuration wants {shapes(wanted)}. It was made by another "
            "version or with other settings: train it again with `semquery fit RUN --overwrite`."
        )
    field.load_state_dict(found)
    if optimizer is not None:
        state = optimizer.state_dict()
        for name in (n for n in tensors if n.startswith("adam.")):
            _, i, key = name.split(".")
            state["state"].setdefault(int(i), {})[key] = tensors[name].to("cpu" if key == "step" and device.type == "cpu" else device)
        optimizer.load_state_dict(state)
