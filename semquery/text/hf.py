"""Text encoders from a folder that transformers opens: sentence encoders (MiniLM, e5, bge, Qwen3-Embedding, …), CLIP and SigLIP.

All are run in 32-bit floats: a query is one short text, and an order of parts should not depend on the device.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32

from semquery.devices import first_line
from semquery.text.base import encoded, once
from semquery.text.files import LONGEST, content_hash, deciding_files, find_folder
from semquery.text.layout import Layout, layout_of
from semquery.vlm.dual import FAMILIES, open_dual


@dataclass(frozen=True)
class HfText:
    """A sentence encoder, CLIP or SigLIP from a local folder (MiniLM, e5, bge, Qwen3-Embedding, …); nothing is fetched unasked."""

    checkpoint: str = "sentence-transformers/all-MiniLM-L6-v2"
    """Folder of the checkpoint, or its name on the hub if it was fetched before."""
    pooling: Literal["auto", "mean", "cls", "last", "max"] = "auto"
    """How tokens become one vector; auto: as the folder says, or as its family was trained. CLIP and SigLIP pool on their own."""
    query_prefix: str | None = None
    """What is put before a query; unset: what the folder says, or what its family was trained with."""
    passage_prefix: str | None = None
    """What is put before a name or a function that is searched in; unset: likewise."""
    download: bool = False
    """Fetch the checkpoint from the hub if it is not on this machine."""
    device: str = "auto"
    """Torch device; auto: cuda, mps or cpu, the first there is."""
    batch: int = 32
    """Texts or pictures that go through the model at once."""

    def __post_init__(self) -> None:
        if not self.checkpoint.strip() or self.batch < 1:
            raise ValueError(f"Expected a checkpoint and a batch ≥ 1; got {self.checkpoint!r} and {self.batch}.")

    @property
    def kind(self) -> str:
        return "clip" if self._is_dual else "sentence"

    @once
    def identity(self) -> str:
        layout, (query, passage) = self._layout, self._prefixes
        content = content_hash(self._folder, deciding_files({self._folder, layout.transformer, *layout.dense}))
        pooling = "" if self._is_dual else f" pooling={layout.pooling} tokens={layout.max_tokens} lower={layout.lower}"
        return f"HfText {layout.family} {content}{pooling} query={query!r} passage={passage!r}"

    def check(self) -> str:
        model, layout, (query, passage) = self._opened.model, self._layout, self._prefixes
        width = self.queries(["a"]).shape[1]
        how = "texts and pictures" if self._is_dual else f"pooling {layout.pooling}"
        prefixes = "".join(f", {what} begin with {prefix!r}" for what, prefix in (("queries", query), ("passages", passage)) if prefix)
        return f"{type(model).__name__} of {self.checkpoint} on {model.device}: {width} numbers, {how}{prefixes}"

    def queries(self, texts: Sequence[str]) -> Float32[np.ndarray, "k d"]:
        return encoded(texts, self._opened.texts, self._prefixes[0], self.batch)

    def passages(self, texts: Sequence[str]) -> Float32[np.ndarray, "k d"]:
        return encoded(texts, self._opened.texts, self._prefixes[1], self.batch)

    def pictures(self, pngs: Sequence[bytes]) -> Float32[np.ndarray, "k d"]:
        """Raises ValueError for a model that knows no pictures."""
        if not self._is_dual:
            raise ValueError(f"{self.checkpoint} is a {self._layout.family} checkpoint, which knows no pictures; expected one of {', '.join(FAMILIES)}.")
        found = [self._opened.pictures(pngs[start : start + self.batch]) for start in range(0, len(pngs), self.batch)]
        return np.concatenate([self.queries([]), *found])

    @once
    def _folder(self) -> Path:
        return find_folder(self.checkpoint, self.download)

    @once
    def _layout(self) -> Layout:
        return layout_of(self._folder, self.checkpoint, self.pooling)

    @property
    def _is_dual(self) -> bool:
        return self._layout.family in FAMILIES

    @property
    def _prefixes(self) -> tuple[str, str]:
        layout = self._layout
        return (layout.query_prefix if self.query_prefix is None else self.query_prefix,
                layout.passage_prefix if self.passage_prefix is None else self.passage_prefix)

    @once
    def _opened(self) -> Any:
        """A DualEncoder or a SentenceModel."""
        from safetensors import SafetensorError

        from semquery.text.sentence import open_sentence

        layout = self._layout
        try:
            return open_dual(str(layout.transformer), self.device) if self._is_dual else open_sentence(layout, self.device)
        except (OSError, EOFError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
            raise ValueError(f"{self.checkpoint} cannot be used as a text encoder: {first_line(error)[:LONGEST]}. "
                             "Give the folder of a sentence encoder, of CLIP or of SigLIP.") from error
