"""A checkpoint of the SAM family: found, opened, asked.

The family is what the checkpoint's own config says. All of them encode a picture once and then answer points in
batches; they differ in how a picture is fitted into the model's square (SAM pads, SAM2 and SAM3 squash) and in what
the encoder hands on. Points go through the family's own processor, whose `input_points` are right for every frame,
other than the grid of transformers' mask-generation pipeline, which leaves out parts of frames that are not square.

Low masks are the model's own, small and square; logits are above 0 inside a mask.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, UInt8
from torch import Tensor

from semquery.devices import choose_device, first_line
from semquery.masks.memory import Batches, free_bytes

# model_type of a checkpoint → its processor; the video families hold the picture model inside
PROCESSORS = {
    "sam": "SamProcessor",
    "sam_hq": "SamHQProcessor",
    "sam2": "Sam2Processor",
    "sam2_video": "Sam2Processor",
    "sam3_tracker": "Sam3TrackerProcessor",
    "sam3_video": "Sam3TrackerProcessor",
}
HOW_TO_GET_ONE = (
    "Get one with `hf download facebook/sam-vit-base --local-dir sam-vit-base` and give that folder, or give a hub name and set "
    "download. What fits: SAM (facebook/sam-vit-base, -large, -huge), SAM-HQ (syscv-community/sam-hq-vit-base, -large, -huge), "
    "SAM2 (facebook/sam2.1-hiera-tiny, -small, -base-plus, -large), SAM3 (facebook/sam3, after accepting its licence on the hub)."
)


def find_family(checkpoint: str, download: bool) -> str:
    """The model_type of a checkpoint, from its config alone. Raises ValueError when there is none or it is of another kind."""
    from transformers import AutoConfig

    if not checkpoint:
        raise ValueError(f"No SAM checkpoint is given. {HOW_TO_GET_ONE}")
    if Path(checkpoint).is_file():
        raise ValueError(
            f"{checkpoint} is a file; expected a folder with config.json and weights, as transformers reads them "
            f"(the .pth files of the original repositories are not). {HOW_TO_GET_ONE}"
        )
    if not Path(checkpoint).is_dir() and not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", checkpoint):
        raise ValueError(
            f"There is no folder {checkpoint}; expected a checkpoint's folder (`hf download facebook/sam-vit-base --local-dir "
            "sam-vit-base` makes one), or a name on the hub like facebook/sam-vit-base."
        )
    try:
        family = AutoConfig.from_pretrained(checkpoint, local_files_only=not download).model_type
    except (OSError, ValueError) as error:
        raise ValueError(f"{_where(checkpoint, download)} ({first_line(error)}). {HOW_TO_GET_ONE}") from error
    if family not in PROCESSORS:
        raise ValueError(f"{checkpoint} is a checkpoint of {family!r}; expected one of {', '.join(PROCESSORS)}. {HOW_TO_GET_ONE}")
    return family


def _where(checkpoint: str, download: bool) -> str:
    """Where a checkpoint was looked for in vain."""
    if Path(checkpoint).is_dir():
        return f"The folder {checkpoint} holds no checkpoint"
    told = "on the hub" if download else "in the local cache, and nothing is fetched unasked"
    return f"There is no checkpoint {checkpoint}, neither a folder nor {told}"


def pick_precision(name: str, device: torch.device) -> torch.dtype:
    """Precision of the encoder; auto: bfloat16 on GPUs that compute in it, float32 elsewhere."""
    if name != "auto":
        return getattr(torch, name)
    is_recent = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    return torch.bfloat16 if is_recent else torch.float32


@dataclass(frozen=True)
class Encoded:
    """A crop as the model sees it, with the points to ask at."""

    embeddings: Mapping[str, Any]  # what the model takes in place of pixels
    points: Float[Tensor, "n 2"]  # (x, y) in the model's own square
    fitted: tuple[int, int] | None  # height and width of the picture within the square, where the rest is padding


@dataclass(frozen=True)
class Segmenter:
    """An opened checkpoint."""

    name: str
    family: str
    model: Any
    processor: Any
    device: torch.device
    precision: torch.dtype
    batches: Batches

    def __str__(self) -> str:
        millions = sum(p.numel() for p in self.model.parameters()) / 1e6
        return (f"{self.name} ({self.family}, {millions:.3g} M weights) on {self.device}, encoder in "
                f"{str(self.precision).removeprefix('torch.')}, {self.batches.size} points at a time")

    @torch.inference_mode()
    def encode(self, crop: UInt8[np.ndarray, "h w 3"], points: Float64[np.ndarray, "n 2"]) -> Encoded:
        """Encode a crop, once. Only the encoder, where nearly all the work is, runs in half precision: points and thresholds need more."""
        from PIL import Image

        asked = torch.from_numpy(points)[None, :, None]
        fed = self.processor(images=Image.fromarray(crop), input_points=asked, return_tensors="pt")
        pixels = fed["pixel_values"].to(self.device, torch.float32)
        with torch.autocast(self.device.type, dtype=self.precision, enabled=self.precision != torch.float32):
            found = self.model.get_image_embeddings(pixels)
        fitted = tuple(fed["reshaped_input_sizes"][0].tolist()) if "reshaped_input_sizes" in fed else None
        # the processors of SAM and SAM-HQ answer in float64, which half of all devices refuse
        return Encoded(self._embeddings(found), fed["input_points"][0, :, 0].to(self.device, torch.float32), fitted)

    def _embeddings(self, found: Any) -> dict[str, Any]:
        if self.family == "sam_hq":  # an embedding, and what its mask decoder takes from the middle of the encoder
            return {"image_embeddings": found[0].float(), "intermediate_embeddings": [e.float() for e in found[1]]}
        is_single = isinstance(found, Tensor)
        return {"image_embeddings": found.float() if is_single else [e.float() for e in found]}

    @torch.inference_mode()
    def ask(self, encoded: Encoded, start: int, stop: int) -> tuple[Float[Tensor, "k a b"], Float[Tensor, " k"]]:
        """Low masks of points start..stop and the IoU the model predicts for each."""
        points = encoded.points[start:stop][None, :, None]
        out = self.model(input_points=points, multimask_output=True, **encoded.embeddings)
        masks, scores = out.pred_masks[0], out.iou_scores[0]
        if self.family == "sam_hq":
            # best first; its high-quality mask refines the best, and is no partner for the other two
            masks, scores = masks[:, :1], scores[:, :1]
        return masks.flatten(0, 1).float(), scores.flatten().float()

    @torch.inference_mode()
    def enlarge(self, encoded: Encoded, low: Float[Tensor, "k a b"], size: tuple[int, int]) -> Float[Tensor, "k h w"]:
        """Low masks at the size of a picture, the model's padding cut off."""
        from torch.nn.functional import interpolate

        logits = low[:, None]
        if encoded.fitted is not None:
            side = self.processor.image_processor.pad_size
            logits = interpolate(logits, (side["height"], side["width"]), mode="bilinear", align_corners=False)
            logits = logits[..., : encoded.fitted[0], : encoded.fitted[1]]
        return interpolate(logits, size, mode="bilinear", align_corners=False)[:, 0]


@lru_cache(maxsize=1)
def open_checkpoint(checkpoint: str, download: bool, device_name: str, precision_name: str, points_per_batch: int) -> Segmenter:
    """Open a checkpoint, or hand out the one that is open. `open_checkpoint.cache_clear()` gives its memory back."""
    from pickle import UnpicklingError

    import transformers
    from safetensors import SafetensorError

    family, device = find_family(checkpoint, download), choose_device(device_name, ("cuda", "cpu"))
    precision = pick_precision(precision_name, device)
    try:
        model, told = transformers.AutoModelForMaskGeneration.from_pretrained(
            checkpoint, local_files_only=not download, dtype=torch.float32, output_loading_info=True)
        processor = getattr(transformers, PROCESSORS[family]).from_pretrained(checkpoint, local_files_only=not download)
    except (OSError, ValueError, RuntimeError, SafetensorError, EOFError, UnpicklingError) as error:
        if is_broken_file(error):
            raise ValueError(
                f"{checkpoint} cannot be read: its weights are incomplete or broken ({first_line(error)}). Download it again."
            ) from error
        raise ValueError(f"{checkpoint} cannot be opened as {family} ({first_line(error)}). {HOW_TO_GET_ONE}") from error
    _check_weights(checkpoint, model, told)
    model = model.eval().requires_grad_(False).to(device)
    batches = Batches(min(points_per_batch, points_that_fit(free_bytes(device), bytes_per_point(model.config))))
    return Segmenter(Path(checkpoint).name, family, model, processor, device, precision, batches)


def is_broken_file(error: Exception) -> bool:
    """Whether an error says that a file of weights is torn; torch has no class for it, only words."""
    from pickle import UnpicklingError

    from safetensors import SafetensorError

    return isinstance(error, SafetensorError | EOFError | UnpicklingError) or "PytorchStreamReader failed" in str(error)


def _check_weights(checkpoint: str, model: Any, told: Mapping[str, Any]) -> None:
    """A name or two may differ between versions; when many are missing, the model would guess."""
    missing, held = sorted(told["missing_keys"]), len(model.state_dict())
    if len(missing) > 0.1 * held:
        raise ValueError(
            f"{checkpoint} lacks {len(missing)} of {held} tensors (first: {missing[0]}): its weights do not belong to its config.json."
        )


def bytes_per_point(config: Any) -> int:
    """About what the mask decoder needs for a point more: copies of the embedding, and its enlargements (float32)."""
    prompt = config.prompt_encoder_config
    cells = math.prod((prompt.image_size // prompt.patch_size,) * 2)
    return 4 * prompt.hidden_size * cells * 20


def points_that_fit(free: int, per_point: int) -> int:
    """How many points half of the free memory holds; at least one."""
    return max(1, free // 2 // per_point)
