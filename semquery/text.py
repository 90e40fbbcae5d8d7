"""Text as vectors, and the codebook of everything that is said about the parts.

A text encoder is a frozen dataclass, configuration and callable in one: `encoder(texts)` gives one unit
vector per text (or zero where it knows nothing of a text).
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from semquery.types import Codebook, NodeLabel

# words that say nothing about which part is meant
_STOP = frozenset("a an and any are at by for from i in is it its me my of on one or part parts piece please show that the this thing to which with".split())


@dataclass(frozen=True)
class Lexical:
    """Hashed words and their character n-grams: no weights, no synonyms; knows only how words are spelled."""

    dim: int = 4096
    """Length of a vector; words hash into it."""
    ngram: int = 3
    """Length of the character n-grams, which let `buttons` find `button`."""
    ngram_weight: float = 0.35
    """Weight of a word's n-grams together, against 1 for the word itself."""

    def __call__(self, texts: Sequence[str]) -> Float32[np.ndarray, "k d"]:
        vectors = np.zeros((len(texts), self.dim), np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for word in words(text):
                row[self._slot(word)] += 1
                padded = f"<{word}>"
                grams = [padded[i : i + self.ngram] for i in range(len(padded) - self.ngram + 1)]
                for gram in grams:
                    row[self._slot(f"#{gram}")] += np.sqrt(self.ngram_weight / len(grams))
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

    def _slot(self, token: str) -> int:
        return zlib.crc32(token.encode()) % self.dim


TextEncoder = Lexical  # a union once there are others


def words(text: str) -> list[str]:
    """Lower-case words without those that say nothing; British and American spellings of grey are one."""
    found = "".join(c if c.isalnum() else " " for c in text.lower()).split()
    return [{"gray": "grey"}.get(w, w) for w in found if w not in _STOP]


def build_codebook(labels: Mapping[int, NodeLabel], encoder: TextEncoder, negatives: Sequence[str]) -> Codebook:
    """One row per distinct text said about each part; rows the encoder knows nothing of are kept as zeros."""
    rows = [(part, field, text) for part, label in sorted(labels.items()) for field, text in _texts(label)]
    parts, fields, texts = zip(*rows, strict=True) if rows else ((), (), ())
    return Codebook(
        vectors=encoder(texts), part_of_vector=np.array(parts, np.int32), texts=tuple(texts), fields=tuple(fields),
        negatives=encoder(negatives), negative_texts=tuple(negatives), encoder=repr(encoder),
    )


def _texts(label: NodeLabel) -> list[tuple[str, str]]:
    said = [("name", label.name), *(("synonym", s) for s in label.synonyms), ("function", label.function),
            *(("alternative", name) for name, _ in label.alternatives)]
    seen: set[str] = set()
    return [(f, t) for f, t in said if t and not (t.lower() in seen or seen.add(t.lower()))]
