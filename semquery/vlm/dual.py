"""Models that embed texts and pictures in one space: CLIP, SigLIP, and checkpoints built like them, opened by transformers.

SigLIP was trained on texts padded to a fixed length and without an attention mask: padding is part of what it reads. CLIP
reads its texts causally, so that what is padded behind the end of a text changes nothing.
"""

import io
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from semquery.devices import choose_device

FAMILIES = ("clip", "siglip", "siglip2")


class DualEncoder:
    """An opened checkpoint; safe to use from several threads."""

    def __init__(self, model: Any, images: Any, tokenizer: Any) -> None:
        self.model, self._images, self._tokenizer = model, images, tokenizer
        self._lock = threading.Lock()  # fast tokenizers refuse to be used by two threads at once

    def texts(self, texts: Sequence[str]) -> Float32[np.ndarray, "k d"]:
        """Unit vectors of texts, at least one; longer ones than the model reads are cut."""
        config = self.model.config
        taken = ("input_ids", "attention_mask") if config.model_type == "clip" else ("input_ids",)
        with self._lock:
            tokens = self._tokenizer(list(texts), padding="max_length", truncation=True,
                                     max_length=config.text_config.max_position_embeddings, return_tensors="pt")
        return self._embedded(self.model.get_text_features, {name: tokens[name] for name in taken if name in tokens})

    def pictures(self, pngs: Sequence[bytes]) -> Float32[np.ndarray, "k d"]:
        """Unit vectors of pictures, at least one."""
        return self._embedded(self.model.get_image_features, dict(self._images(images=[picture_of(png) for png in pngs], return_tensors="pt")))

    def _embedded(self, embed: Any, given: dict[str, Any]) -> Float32[np.ndarray, "k d"]:
        import torch

        with torch.inference_mode():
            found = embed(**{name: tensor.to(self.model.device) for name, tensor in given.items()})
        vectors = found if isinstance(found, torch.Tensor) else found.pooler_output  # transformers 4 and 5
        return torch.nn.functional.normalize(vectors.float(), dim=-1).cpu().numpy()


def open_dual(checkpoint: str, device: str = "auto") -> DualEncoder:
    """A folder, or a name in the hub's cache. Raises ValueError when it is not here, of another kind, or not whole."""
    folder = Path(checkpoint).expanduser()
    where = folder if folder.is_dir() else checkpoint
    from transformers import AutoConfig, AutoImageProcessor, AutoTokenizer

    place = choose_device(device)
    config = AutoConfig.from_pretrained(where, local_files_only=True)
    if config.model_type not in FAMILIES:
        raise ValueError(f"it is of the kind {config.model_type}; expected {', '.join(FAMILIES)}")
    model, missing = load_model(where)
    if missing:
        raise ValueError(f"it lacks {len(missing)} weights")
    images, tokenizer = (auto.from_pretrained(where, local_files_only=True) for auto in (AutoImageProcessor, AutoTokenizer))
    return DualEncoder(model.to(place).eval(), images, tokenizer)


def load_model(where: Path | str) -> tuple[Any, list[str]]:
    """The model of a checkpoint that is here, and the names of weights it lacks; opened without a bar, in a moment."""
    import torch
    from transformers import AutoModel
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        model, found = AutoModel.from_pretrained(where, dtype=torch.float32, local_files_only=True, output_loading_info=True)
    finally:
        if shown:
            logging.enable_progress_bar()
    return model, list(found["missing_keys"])


def picture_of(png: bytes) -> Any:
    """A PIL image without transparency."""
    from PIL import Image

    from semquery.masks.stacks import on_white

    with Image.open(io.BytesIO(png)) as picture:
        return Image.fromarray(on_white(np.asarray(picture.convert("RGBA"))))
