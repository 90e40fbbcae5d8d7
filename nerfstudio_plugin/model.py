"""Nerfacto with a feature field on its surface.

The radiance field is nerfstudio's, unchanged but for its hash grids, which are ours: the same on every
device, ten times as fast on a CPU. The feature field lives beside it, takes points in the capture's
frame, and is trained by the pipeline once the geometry stands.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.field_components.encodings import HashEncoding
from nerfstudio.models.nerfacto import NerfactoModel, NerfactoModelConfig
from torch import Tensor, nn

from nerfstudio_plugin.capture import HAS_ALPHA
from semquery.field.grid import GridConfig, HashGrid

FORMAT = 1  # of checkpoints; raised when their content changes meaning


@dataclass
class SemqueryModelConfig(NerfactoModelConfig):
    """Nerfacto's settings, and those of the feature field."""

    _target: type = field(default_factory=lambda: SemqueryModel)
    implementation: str = "torch"
    """Kept at torch: the grids are semquery's own, so checkpoints move between machines."""
