"""Whole photos for splats: checked as for the other methods, and points to begin from where the photos tell foreground from background.

Nerfstudio undistorts photos before it trains splats on them, and changes the cameras with them. Masks are of the photos as they are;
so both sets of cameras are kept.
"""

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.data.datamanagers.full_images_datamanager import FullImageDatamanager, FullImageDatamanagerConfig
from nerfstudio.data.datasets.base_dataset import InputDataset

from nerfstudio_plugin.capture import IS_BOUNDED, CheckedCapture
from nerfstudio_plugin.hull import hull_points

SEEDS = "points3D_xyz", "points3D_rgb"  # nerfstudio's keys for points of structure from motion


@dataclass
class SemquerySplatDataManagerConfig(FullImageDatamanagerConfig):
    """Nerfstudio's datamanager of whole photos, with a cap on their size, transparency kept, and seeds from silhouettes."""

    _target: type = field(default_factory=lambda: SemquerySplatDataManager)
    max_side: int | None = None
    """Images are shrunk to at most this many pixels on their longer side; None = as they are."""
    num_seeds: int = 50_000
    """Gaussians to begin with where silhouettes bound the scene and no points of structure from motion are there."""


class SemquerySplatDataManager(CheckedCapture, FullImageDatamanager[InputDataset]):
    """Checked photos, whole."""

    config: SemquerySplatDataManagerConfig
    photo_cameras: Cameras
    """Of the photos as they are, lens distortion included, at the size that is trained on."""

    def create_train_dataset(self) -> InputDataset:
        dataset = super().create_train_dataset()
        self.photo_cameras = deepcopy(dataset.cameras)
        if self.test_mode == "val" and dataset.metadata.get(IS_BOUNDED) and SEEDS[0] not in dataset.metadata:
            outputs = self.train_dataparser_outputs
            points = hull_points(outputs.cameras, outputs.image_filenames, outputs.scene_box.aabb, self.config.num_seeds)
            found = dict(zip(SEEDS, (points, torch.full_like(points, 127.5)), strict=True))
            outputs.metadata = {**outputs.metadata, **found}
        return dataset

    @property
    def pinhole_cameras(self) -> Cameras:
        """Of the photos as they are trained on, undistorted."""
        _ = self.cached_train
        return self.train_dataset.cameras

    def _load_images(self, split: Literal["train", "eval"], cache_images_device: Literal["cpu", "gpu"]) -> list[dict[str, Any]]:
        """On a CPU "gpu" is the CPU; nerfstudio's "cpu" pins memory, for which there must be CUDA."""
        return super()._load_images(split, cache_images_device if torch.device(self.device).type == "cuda" else "gpu")
