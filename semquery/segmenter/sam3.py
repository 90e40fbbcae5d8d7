"""Segmentation of concepts by SAM3: a short noun phrase in, every instance of it out.

SAM3 does not reason. A query by purpose has to be turned into a phrase first; a vision-language model does that per picture where one
is given, else the query itself is the phrase. Longer phrases are cut at the 32 tokens that SAM3 reads.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import UInt8

from semquery.devices import choose_device, first_line
from semquery.loose_json import json_objects, one_line
from semquery.pictures import png_bytes
from semquery.segmenter.base import Context, Region, SegmenterError
from semquery.segmenter.crops import with_embeddings
from semquery.segmenter.grounded import checkpoint_identity, prompt_hash
from semquery.segmenter.questions import ask, question, request
from semquery.text import HfText, OpenClip
from semquery.text.base import once
from semquery.vlm import OpenAiServer, QwenVl, Replay

TOKENS = 32  # of a phrase, start and end included
FAMILIES = ("sam3", "sam3_video")
HOW_TO_GET_ONE = "Accept the licence of facebook/sam3 on the Hugging Face hub, and get it with `hf download facebook/sam3 --local-dir sam3`."
PHRASE_SCHEMA = {
    "type": "object", "additionalProperties": False, "required": ["reasoning", "visible", "phrase"],
    "properties": {"reasoning": {"type": "string", "maxLength": 600}, "visible": {"type": "boolean"}, "phrase": {"type": "string", "maxLength": 60}},
}


class Phrase(NamedTuple):
    """What SAM3 is to look for, "" for nothing, and why."""

    text: str
    reasoning: str = ""


@dataclass(frozen=True)
class Sam3:
    """SAM3 by a noun phrase; with a vision-language model also for queries by purpose."""

    checkpoint: str = "facebook/sam3"
    """Folder of a SAM3 checkpoint, or its name on the Hugging Face hub."""
    download: bool = False
    """Let the hub be asked for what is not on this machine."""
    device: str = "auto"
    """auto (a GPU where there is one), cpu, cuda, cuda:1, ..."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format in which the network computes; auto = bfloat16 on GPUs that compute in it, float32 elsewhere."""
    threshold: float = 0.5
    """Instances whose score is not above this are dropped."""
    mask_threshold: float = 0.5
    """Pixels whose probability is above this belong to an instance."""
    vlm: OpenAiServer | QwenVl | Replay | None = None
    """Turns the query into a noun phrase, looking at the picture; None = the query is one."""
    encoder: OpenClip | HfText | None = None
    """Embeds what is in each mask: a CLIP or SigLIP; None = no embeddings."""

    def __post_init__(self) -> None:
        if not (0 <= self.threshold <= 1 and 0 <= self.mask_threshold <= 1):
            raise ValueError(f"Expected thresholds from 0 to 1; got {self.threshold:g} and {self.mask_threshold:g}.")

    @cached_property
    def identity(self) -> str:
        by = "the query" if self.vlm is None else f"{self.vlm.identity} prompt={prompt_hash(('phrase.md', 'repair.md'))}"
        seen = "none" if self.encoder is None else self.encoder.identity
        return f"Sam3 {checkpoint_identity(self.checkpoint)} {self.precision} {self.threshold:g} {self.mask_threshold:g} phrase by {by} encoder={seen}"

    def check(self) -> str:
        """Open what is used. Raises ValueError."""
        model = self._opened[0]
        millions = sum(p.numel() for p in model.parameters()) / 1e6
        phrase = "the query is the phrase" if self.vlm is None else f"phrases: {self.vlm.check()}"
        seen = "" if self.encoder is None else f"; embeddings: {self.encoder.check()}"
        return f"{Path(self.checkpoint).name} ({model.config.model_type}, {millions:.3g} M weights) on {model.device}; {phrase}{seen}"

    def segment(self, image: UInt8[np.ndarray, "h w 3"], query: str, context: Context = Context()) -> list[Region]:
        """Every instance of what the query asks for. Raises SegmenterError."""
        phrase = self._phrase(image, query, context)
        if not phrase.text:
            return []
        try:
            found = self._found(image, phrase.text)
        except RuntimeError as error:
            raise SegmenterError(f"SAM3 failed: {first_line(error)}.") from error
        why = phrase.reasoning or f"“{phrase.text}”"
        masks, scores, boxes = (found[name].float().cpu().numpy() for name in ("masks", "scores", "boxes"))
        regions = [Region(mask, float(score), tuple(map(float, box)), text=why, label=phrase.text)
                   for mask, score, box in zip(masks > 0.5, scores, boxes, strict=True) if mask.any()]
        return with_embeddings(regions, image, self.encoder)

    def _phrase(self, image: np.ndarray, query: str, context: Context) -> Phrase:
        if self.vlm is None:
            return Phrase(one_line(query))
        asked = request(question("phrase.md", query, context), png_bytes(image), PHRASE_SCHEMA, 600)
        return ask(self.vlm, asked, phrase_from, 1)[0]

    def _found(self, image: np.ndarray, phrase: str) -> dict[str, Any]:
        """Scores, boxes (pixels) and masks of the instances."""
        import torch
        from PIL import Image

        model, processor, precision = self._opened
        fed = processor.image_processor(images=Image.fromarray(image), return_tensors="pt")["pixel_values"].to(model.device, torch.float32)
        words = processor.tokenizer(phrase, padding="max_length", max_length=TOKENS, truncation=True, return_tensors="pt").to(model.device)
        with torch.inference_mode(), torch.autocast(model.device.type, dtype=precision, enabled=precision != torch.float32):
            out = model(pixel_values=fed, input_ids=words["input_ids"], attention_mask=words["attention_mask"])
        return processor.post_process_instance_segmentation(
            out, threshold=self.threshold, mask_threshold=self.mask_threshold, target_sizes=[image.shape[:2]])[0]

    @once
    def _opened(self) -> tuple[Any, Any, Any]:
        """Model, processor and the precision that it computes in. Raises ValueError."""
        import torch
        import transformers

        from semquery.masks.checkpoint import pick_precision

        device = choose_device(self.device, ("cuda", "cpu"))
        try:
            family = transformers.AutoConfig.from_pretrained(self.checkpoint, local_files_only=not self.download).model_type
            if family not in FAMILIES:
                raise ValueError(f"it is a checkpoint of {family!r}")
            model, told = transformers.Sam3Model.from_pretrained(
                self.checkpoint, local_files_only=not self.download, dtype=torch.float32, output_loading_info=True)
            processor = transformers.Sam3Processor.from_pretrained(self.checkpoint, local_files_only=not self.download)
        except (OSError, ValueError, RuntimeError, ImportError, KeyError, TypeError) as error:
            raise ValueError(f"{self.checkpoint} cannot be opened as SAM3: {first_line(error)}. {HOW_TO_GET_ONE}") from error
        _check_weights(self.checkpoint, model, told)
        return model.eval().requires_grad_(False).to(device), processor, pick_precision(self.precision, device)


def _check_weights(checkpoint: str, model: Any, told: Mapping[str, Any]) -> None:
    missing, held = sorted(told["missing_keys"]), len(model.state_dict())
    if len(missing) > 0.1 * held:
        raise ValueError(f"{checkpoint} lacks {len(missing)} of {held} tensors (first: {missing[0]}): it holds no text-prompted SAM3. {HOW_TO_GET_ONE}")


def phrase_from(text: str) -> Phrase | None:
    """The phrase of an answer, "" where nothing is meant; None for what cannot be read."""
    said = next((r for r in reversed(list(json_objects(text))) if {"phrase", "visible"} & set(r)), None)
    if said is None:
        return None
    phrase, why = said.get("phrase"), said.get("reasoning")
    seen = str(said.get("visible", "true")).strip().lower() not in ("false", "no", "0")
    told = one_line(phrase, 60).strip(" .\"'") if isinstance(phrase, str) and seen else ""
    return None if seen and not told else Phrase(told, one_line(why, 600) if isinstance(why, str) else "")
