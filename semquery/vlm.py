"""Who answers: anything that reads a conversation with pictures and returns text.

A request carries the whole path from the root to the part, so that a model sees every part in the context
of its ancestors, and the measurements of the part, which a backend without eyes can answer from.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from semquery.facts import PartFacts


@dataclass(frozen=True)
class Turn:
    """One message: who speaks, what they say, and the pictures shown with it (PNG bytes)."""

    role: str  # system | user | assistant
    text: str
    images: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Request:
    """A conversation that ends with a question about one part."""

    turns: tuple[Turn, ...]
    facts: PartFacts

    def key(self, answerer: object) -> str:
        """Content hash of the request and of who is asked: equal keys have equal answers."""
        digest = hashlib.sha256(repr(answerer).encode())
        for turn in self.turns:
            digest.update(f"\0{turn.role}\0{turn.text}\0".encode())
            for image in turn.images:
                digest.update(hashlib.sha256(image).digest())
        return digest.hexdigest()[:32]


@runtime_checkable
class Vlm(Protocol):
    """A vision-language model, or something in its place."""

    source: str  # written into every label: vlm, rule

    def __call__(self, request: Request) -> str: ...


@dataclass(frozen=True)
class Appearance:
    """Names parts by what can be measured: size, colour, shape. No weights, and no idea what anything is for."""

    source: str = "rule"

    def __call__(self, request: Request) -> str:
        f = request.facts
        look = f"{f.color} {'round ' if f.is_round else ''}{f.shape}"
        group = f"one of {f.num_alike + 1} alike, " if f.num_alike else ""
        inner = f", made of {f.num_parts} parts" if f.num_parts else ""
        answer = {
            "thinking": f"Measured, not understood: {f.in_words()}.",
            "name": f"{f.size} {look}",
            "synonyms": [look] + ([f"{f.second_color} {f.shape}"] if f.second_color else []),
            "function": f"{group}{f.place}{inner}; what it is for is not known from appearance",
            "alternatives": [],
            "confidence": 0.3,
        }
        return json.dumps(answer, ensure_ascii=False)
