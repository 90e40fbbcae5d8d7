"""Masks by a model of the SAM family: the settings, and the way to a checkpoint.

The steps and default numbers are those of the original automatic generator (segment-anything), but for these:
points cover the true frame in every family; small regions are cleaned up by default; what remains twice after that
is dropped by the overlap of the masks themselves; distances are parts of a crop, not pixels.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8

from semquery.manifest import as_config, sha256
from semquery.types import MaskStack

# settings, what they have to be, and how that is told; thresholds have no lower end: far below 0 they let everything pass
SANE = (
    (("points_per_side", "points_per_batch", "crop_points_downscale", "max_side"), "1 or more", lambda value: value >= 1),
    (("crop_layers", "min_region", "stability_offset"), "0 or more", lambda value: value >= 0),
    (("box_iou", "crop_box_iou", "same_iou"), "a number from 0 to 1", lambda value: 0 <= value <= 1),
    (("min_predicted_iou", "min_stability"), "1 at most", lambda value: value <= 1),
    (("crop_overlap",), "0 or more and less than 1", lambda value: 0 <= value < 1),
)


@dataclass(frozen=True)
class Sam:
    """A segmentation model of the SAM family (SAM, SAM-HQ, SAM2, SAM3), through transformers.

    Nothing is fetched unless `download` is set. Get a checkpoint with
    `hf download facebook/sam-vit-base --local-dir sam-vit-base`.
    """

    checkpoint: str = ""
    """Folder with config.json and weights, or a name on the Hugging Face hub; the family is what its config says."""
    download: bool = False
    """Let the hub be asked for what is not on this machine."""
    device: str = "auto"
    """auto (a GPU where there is one), cpu, cuda, cuda:1, ..."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Of the image encoder; auto = bfloat16 on GPUs that compute in it, float32 elsewhere. All else is float32."""
    points_per_side: int = 32
    """The model is asked at points_per_side² points, spread over the whole frame."""
    points_per_batch: int = 64
    """Points asked at a time, at most: fewer where the memory is small, halved when it runs out."""
    min_predicted_iou: float = 0.88
    """Drop masks whose overlap with the truth the model itself predicts to be lower."""
    min_stability: float = 0.95
    """Drop masks that change more (intersection over union) between two thresholds about the usual one."""
    stability_offset: float = 1.0
    """How far these two thresholds lie from it, in logits."""
    box_iou: float = 0.7
    """Of two masks whose boxes overlap more than this (intersection over union) the worse is dropped."""
    crop_layers: int = 0
    """Ask also about crops of the photo: 1 = four crops, 2 = sixteen more, ... Finds smaller parts, costs as many times more."""
    crop_box_iou: float = 0.7
    """As box_iou, between crops; masks of smaller crops win."""
    crop_overlap: float = 512 / 1500
    """How much neighbouring crops share, as a part of the photo's shorter side; halved from layer to layer."""
    crop_points_downscale: int = 1
    """Divide points_per_side by this from layer to layer."""
    min_region: int = 100
    """Holes and islands of fewer pixels are cleaned up, smaller masks dropped; 0 = as the model answers."""
    same_iou: float = 0.9
    """Of two masks that overlap more than this once they are clean the worse is dropped."""
    max_side: int = 1024
    """Longest side of the masks, pixels; the model looks at the photo itself."""

    def __post_init__(self) -> None:
        for names, expected, is_sane in SANE:
            for name in names:
                if not is_sane(value := getattr(self, name)):
                    raise ValueError(f"{name.replace('_', '-')} is {value}; expected {expected}.")

    def check(self, names: list[str]) -> None:
        """Raise before any work when there is no checkpoint of the family; opens no weights."""
        from semquery.masks.checkpoint import find_family

        find_family(self.checkpoint, self.download)

    def open(self) -> Any:
        """The checkpoint, loaded (a checkpoint.Segmenter); it stays loaded until `close`."""
        from semquery.masks.checkpoint import open_checkpoint

        return open_checkpoint(self.checkpoint, self.download, self.device, self.precision, self.points_per_batch)

    def close(self) -> None:
        """Give the memory back."""
        import torch

        from semquery.masks.checkpoint import open_checkpoint

        open_checkpoint.cache_clear()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def identity(self) -> dict[str, Any]:
        """What decides the masks: settings and weights, wherever they lie and run."""
        config = {k: v for k, v in as_config(self).items() if k not in ("download", "device", "points_per_batch")}
        folder = Path(self.checkpoint)
        if self.checkpoint and folder.is_dir():
            weights = sorted(f"{p.name} {p.stat().st_size}" for p in folder.iterdir() if p.suffix in (".safetensors", ".bin"))
            config |= {"checkpoint": folder.resolve().name, "weights": weights, "config": sha256(folder / "config.json")}
        return config

    def __call__(self, name: str, image: UInt8[np.ndarray, "h w c"]) -> MaskStack:
        from semquery.masks.everywhere import masks_of_photo

        return masks_of_photo(self, self.open(), image)
