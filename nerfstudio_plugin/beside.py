"""What every semquery model has beside nerfstudio's geometry: the feature field, the way between frames, the pictures of the tree.

The field takes points in the capture's frame, whatever frame the geometry is in, and is trained by the pipeline once the geometry
stands.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from nerfstudio.models.base_model import Model
from torch import Tensor, nn

from nerfstudio_plugin.capture import Frame
from nerfstudio_plugin.outputs import Scenery, TreePictures
from semquery.field import FeatureField, FieldConfig

FORMAT = 1  # of checkpoints; raised when their content changes meaning


class FieldBeside(Model):
    """To be mixed in before one of nerfstudio's models."""

    growing: tuple[str, ...] = ()
    """Beginnings of the names of parameters whose number of rows is found out in training."""

    def add_field(self, scenery: Callable[..., Scenery] = Scenery) -> None:
        """What belongs to the checkpoint, and the pictures; the field itself comes with its settings, from the pipeline."""
        self.register_buffer("format", torch.tensor(FORMAT))
        self.register_buffer("T_train_capture", torch.eye(4, dtype=torch.float64))
        self.register_buffer("is_field_trained", torch.tensor(False))
        self.pictures = TreePictures(scenery)

    def set_field(self, config: FieldConfig) -> None:
        """Make the feature field; nerfstudio gives models no settings but their own, so the pipeline calls this."""
        self.feature_field = FeatureField(config).to(self.device)

    @property
    def frame(self) -> Frame:
        return Frame(self.T_train_capture)

    def has(self, fact: str) -> bool:
        """What the datamanager found out about the capture."""
        return bool(self.kwargs.get("metadata", {}).get(fact, False))

    def geometry_parameters(self) -> Iterator[nn.Parameter]:
        """All parameters but those of the feature field."""
        return (p for name, p in self.named_parameters() if not name.startswith("feature_field."))

    def get_param_groups(self) -> dict[str, list[nn.Parameter]]:
        field = {"feature_table": [self.feature_field.grid.table], "feature_network": list(self.feature_field.network.parameters())}
        return {**super().get_param_groups(), **field}

    def get_image_metrics_and_images(self, outputs: dict[str, Any], batch: dict[str, Any]) -> tuple[dict[str, float], dict[str, Tensor]]:
        metrics, images = super().get_image_metrics_and_images(outputs, batch)
        return {name: value for name, value in metrics.items() if name != "lpips"}, images


@contextmanager
def without_lpips() -> Iterator[None]:
    """Nerfstudio's models build LPIPS with themselves, which downloads AlexNet; PSNR and SSIM need no weights."""
    name = "torchmetrics.image.lpip.LearnedPerceptualImagePatchSimilarity"
    with mock.patch(name, lambda **_: lambda *_: float("nan")):
        yield
