"""Which of many names suit a picture, by a model that embeds both: CLIP, SigLIP, and checkpoints built like them.

Such a model is no judge (its scores are close together and it reads no context), but out of a long list it picks the few
names worth offering to a judge.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from semquery.devices import choose_device, first_line

PHRASE = "a photo of a {}"  # CLIP's own
FAMILIES = ("clip", "siglip", "siglip2")


@dataclass(frozen=True)
class ClipRanking:
    """Orders names by how well they suit a picture."""

    checkpoint: str
    device: str = "auto"
    _known: dict[str, Float32[np.ndarray, " d"]] = field(default_factory=dict, repr=False, compare=False)

    def check(self) -> None:
        """Raise ValueError when the checkpoint is not here or of another kind."""
        _ = self._opened

    def scores(self, png: bytes, names: Sequence[str]) -> Float32[np.ndarray, " n"]:
        """Cosine of the picture with each name."""
        from PIL import Image

        model, images, _ = self._opened
        shown = images(images=[Image.open(io.BytesIO(png)).convert("RGB")], return_tensors="pt").to(model.device)
        return self._texts(names) @ self._embedded(model.get_image_features, pixel_values=shown["pixel_values"])[0]

    def best(self, png: bytes, names: Sequence[str], most: int) -> list[str]:
        """So many names, the likeliest first; of equal ones the one listed first."""
        if not names:
            return []
        order = np.argsort(-self.scores(png, names), kind="stable")
        return [names[k] for k in order[:most]]

    def _texts(self, names: Sequence[str]) -> Float32[np.ndarray, "n d"]:
        """Unit vectors of the names; each is embedded once."""
        model, _, tokenizer = self._opened
        new = [name for name in dict.fromkeys(names) if name not in self._known]
        if new:
            words = tokenizer([PHRASE.format(name) for name in new], padding="max_length", truncation=True,
                              max_length=model.config.text_config.max_position_embeddings, return_tensors="pt")
            given = {key: words[key].to(model.device) for key in ("input_ids", "attention_mask") if key in words}
            self._known.update(zip(new, self._embedded(model.get_text_features, **given), strict=True))
        return np.stack([self._known[name] for name in names])

    def _embedded(self, embed: Any, **given: Any) -> Float32[np.ndarray, "n d"]:
        import torch

        with torch.inference_mode():
            found = embed(**given)
        vectors = found if isinstance(found, torch.Tensor) else found.pooler_output  # transformers 4 and 5
        return torch.nn.functional.normalize(vectors.float(), dim=-1).cpu().numpy()

    @cached_property
    def _opened(self) -> tuple[Any, Any, Any]:
        """Model, image processor, tokenizer."""
        folder = Path(self.checkpoint).expanduser()
        where = folder if folder.is_dir() else self.checkpoint
        from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoTokenizer

        try:
            config = AutoConfig.from_pretrained(where, local_files_only=True)
            if config.model_type not in FAMILIES:
                raise ValueError(f"it is of the kind {config.model_type}; expected {', '.join(FAMILIES)}")
            model, found = AutoModel.from_pretrained(where, local_files_only=True, output_loading_info=True)
            if found["missing_keys"]:
                raise ValueError(f"it lacks {len(found['missing_keys'])} weights")
            tools = [auto.from_pretrained(where, local_files_only=True) for auto in (AutoImageProcessor, AutoTokenizer)]
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise ValueError(
                f"{self.checkpoint} cannot be used to rank names: {first_line(error)}. Give the folder of a CLIP or SigLIP checkpoint, "
                "for example what `hf download openai/clip-vit-base-patch16 --local-dir clip` fetches."
            ) from error
        return model.to(choose_device(self.device)).eval(), *tools
