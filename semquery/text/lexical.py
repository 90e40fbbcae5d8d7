"""Texts by how their words are spelled: hashed words and character n-grams, without weights and without synonyms."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float32

from semquery.text.base import unit_rows, words


@dataclass(frozen=True)
class Lexical:
    """Hashed words and their character n-grams: no weights, no synonyms; knows only how words are spelled."""

    dim: int = 4096
    """Length of a vector; words hash into it."""
    ngram: int = 3
    """Length of the character n-grams, which let `buttons` find `button`."""
    ngram_weight: float = 0.35
    """Weight of a word's n-grams together, against 1 for the word itself."""

    kind: ClassVar[str] = "lexical"

    def __post_init__(self) -> None:
        if self.dim < 1 or self.ngram < 1 or not 0 <= self.ngram_weight < float("inf"):
            raise ValueError(f"Expected dim and ngram ≥ 1, ngram weight ≥ 0; got {self.dim}, {self.ngram}, {self.ngram_weight:g}.")

    @property
    def identity(self) -> str:
        return repr(self)

    def check(self) -> str:
        return f"spelling alone ({self.dim} slots): no synonyms are known but those that the labels give"

    def queries(self, texts: Sequence[str]) -> Float32[np.ndarray, "k d"]:
        vectors = np.zeros((len(texts), self.dim), np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for word in words(text):
                row[self._slot(word)] += 1
                padded = f"<{word}>"
                grams = [padded[i : i + self.ngram] for i in range(len(padded) - self.ngram + 1)]
                for gram in grams:
                    row[self._slot(f"#{gram}")] += np.sqrt(self.ngram_weight / len(grams))
        return unit_rows(vectors)

    def passages(self, texts: Sequence[str]) -> Float32[np.ndarray, "k d"]:
        return self.queries(texts)

    def _slot(self, token: str) -> int:
        return zlib.crc32(token.encode(errors="replace")) % self.dim
