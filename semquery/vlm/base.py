"""What is asked of a vision-language model, and what comes back.

A request carries the whole path from the root to the part, so that a model sees every part in the context
of its ancestors, and the measurements of the part, which a backend without eyes can answer from.

A backend is a frozen dataclass, configuration and callable in one. What it opens (weights, connections) it opens
at the first request, or in `check`, which is called once before long work starts.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from semquery.facts import PartFacts

VERSION = 2  # of what a key is made of: raised when equal requests may no longer have equal answers


class VlmError(Exception):
    """One request that failed for good: the model could not be reached, refused, or ran out of room. Others may succeed.

    `is_away`: nobody answered, however often it was tried; when that goes on, others will not succeed either.
    """

    def __init__(self, message: str, is_away: bool = False) -> None:
        super().__init__(message)
        self.is_away = is_away


@dataclass(frozen=True)
class Turn:
    """One message: who speaks, what they say, and the pictures shown with it (PNG bytes), which come before the text."""

    role: str  # system | user | assistant
    text: str
    images: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Request:
    """A conversation that ends with a question."""

    turns: tuple[Turn, ...]
    facts: PartFacts | None = None  # measurements of the part asked about
    schema: Mapping[str, Any] | None = None  # JSON schema the answer should follow; None = free text
    max_tokens: int = 400
    temperature: float = 0.0

    def key(self, identity: str) -> str:
        """Content hash of the request and of who is asked: equal keys have equal answers."""
        head = [VERSION, identity, self.schema, self.max_tokens, self.temperature]
        digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
        for turn in self.turns:
            digest.update(f"\0{turn.role}\0{turn.text}\0".encode())
            for image in turn.images:
                digest.update(hashlib.sha256(image).digest())
        return digest.hexdigest()[:32]


@dataclass(frozen=True)
class Answer:
    """What came back, and what it cost."""

    text: str
    tokens: tuple[tuple[str, float], ...] = ()  # the answer's tokens and their natural-log probabilities, where the backend tells
    prompt_tokens: int = 0
    cached_tokens: int = 0  # of these, how many the backend had computed before
    answer_tokens: int = 0
    cut: bool = False  # it ended because its tokens were used up


@runtime_checkable
class Vlm(Protocol):
    """A vision-language model, or something in its place."""

    @property
    def source(self) -> str:
        """Written into every label: vlm, or rule."""

    @property
    def identity(self) -> str:
        """What decides its answers (class, model, decoding), and nothing else: no address, key or number of tries."""

    def check(self) -> str:
        """Open what is needed and try it; one line that says what was found. Raises ValueError when it cannot be used."""

    def __call__(self, request: Request) -> Answer:
        """Answer one request; may be called from several threads. Raises VlmError."""
