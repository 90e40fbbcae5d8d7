"""Which of many names suit a picture, by a model that embeds both: CLIP, SigLIP, and checkpoints built like them.

Such a model is no judge (its scores are close together and it reads no context), but out of a long list it picks the few
names worth offering to a judge.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Float32

from semquery.devices import first_line
from semquery.vlm.dual import DualEncoder, open_dual

PHRASE = "a photo of a {}"  # CLIP's own


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
        return self._texts(names) @ self._opened.pictures([png])[0]

    def best(self, png: bytes, names: Sequence[str], most: int) -> list[str]:
        """So many names, the likeliest first; of equal ones the one listed first."""
        if not names:
            return []
        order = np.argsort(-self.scores(png, names), kind="stable")
        return [names[k] for k in order[:most]]

    def _texts(self, names: Sequence[str]) -> Float32[np.ndarray, "n d"]:
        """Unit vectors of the names; each is embedded once."""
        new = [name for name in dict.fromkeys(names) if name not in self._known]
        if new:
            self._known.update(zip(new, self._opened.texts([PHRASE.format(name) for name in new]), strict=True))
        return np.stack([self._known[name] for name in names])

    @cached_property
    def _opened(self) -> DualEncoder:
        from safetensors import SafetensorError

        try:
            return open_dual(self.checkpoint, self.device)
        except (OSError, EOFError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
            raise ValueError(
                f"{self.checkpoint} cannot be used to rank names: {first_line(error)}. Give the folder of a CLIP or SigLIP checkpoint, "
                "for example what `hf download openai/clip-vit-base-patch16 --local-dir clip` fetches."
            ) from error
