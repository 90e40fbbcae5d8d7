"""What naming would cost, found by going through it with a model that only counts.

The walk is the real one, with the real pictures; what is assumed is what the model would say: names that fit, answers of
ordinary length. Notation: sent = prompt tokens of all requests; new = those that a cache of prompt beginnings lacks,
which for whole paths is S + Σ (I + T): the instructions once, then each part's own pictures and text.
"""

import json
from dataclasses import dataclass, field
from typing import ClassVar

from semquery.types import PartTree
from semquery.vlm import Answer, Request, Turn

LETTERS_PER_TOKEN = 4
PIXELS_PER_TOKEN = 28  # along each side: 448 × 448 pixels are 256 tokens (Qwen2.5-VL; newer ones take 32)
TURN_TOKENS = 4  # the marks around a turn
ANSWER_TOKENS = 120
ASSUMED_SECONDS = 2.0  # a call, before any was measured


def text_tokens(text: str) -> int:
    return -(-len(text) // LETTERS_PER_TOKEN)


def image_tokens(png: bytes) -> int:
    """Of a PNG, by the width and height in its head; anything else counts as 448 × 448."""
    if png[:8] != b"\x89PNG\r\n\x1a\n" or len(png) < 24:
        return (448 // PIXELS_PER_TOKEN) ** 2
    width, height = (int.from_bytes(png[i : i + 4], "big") for i in (16, 20))
    return max(1, round(width / PIXELS_PER_TOKEN)) * max(1, round(height / PIXELS_PER_TOKEN))


def turn_tokens(turn: Turn) -> int:
    return TURN_TOKENS + text_tokens(turn.text) + sum(image_tokens(image) for image in turn.images)


@dataclass
class Counting:
    """In a model's place: counts what it is asked, and answers with ordinary length."""

    identity: str
    source: ClassVar[str] = "vlm"
    calls: int = 0
    sent: int = 0
    new: int = 0
    answered: int = 0
    longest: int = 0  # the largest context, answer included
    sample: Request | None = None  # of the requests about a single part, the one with most turns
    _seen: set[int] = field(default_factory=set)  # beginnings of conversations

    def check(self) -> str:
        return "counts only"

    def __call__(self, request: Request) -> Answer:
        answer = _ordinary(request)
        tokens = [turn_tokens(turn) for turn in request.turns]
        self.calls += 1
        self.sent += sum(tokens)
        self.new += sum(tokens[self._known(request.turns, answer):])
        self.answered += text_tokens(answer)
        self.longest = max(self.longest, sum(tokens) + text_tokens(answer))
        if self.sample is None or (request.facts is not None and len(request.turns) > len(self.sample.turns)):
            self.sample = request
        return Answer(answer)

    def _known(self, turns: tuple[Turn, ...], answer: str) -> int:
        """How many turns were computed before; the conversation and its answer are computed from now on."""
        beginnings, code = [], 0
        for turn in (*turns, Turn("assistant", answer)):
            code = hash((code, turn))
            beginnings.append(code)
        known = next((k for k, code in enumerate(beginnings[:-1]) if code not in self._seen), len(turns))
        self._seen.update(beginnings)
        return known


def _ordinary(request: Request) -> str:
    """An answer of ordinary length in the form that is asked for."""
    if request.schema is not None and "renamed" in request.schema["properties"]:
        return json.dumps({"thinking": "x" * 120, "renamed": []})
    thinking = "x" * (ANSWER_TOKENS * LETTERS_PER_TOKEN - 140)
    if request.schema is None:
        return f"**Thinking**: {thinking}{'x' * 100}\n**Label**: some part"
    named = {"thinking": thinking, "name": "some part", "synonyms": ["another"], "function": "", "alternatives": [], "parent_suspect": False}
    return json.dumps(named)


@dataclass(frozen=True)
class Estimate:
    """What naming would take."""

    num_parts: int
    depth: int
    calls: int
    recorded: int  # answers that are there already
    sent: int
    new: int
    answered: int
    longest: int
    seconds: float
    measured: bool  # the seconds rest on calls that were made
    price: float | None  # without a prefix cache

    def lines(self) -> list[str]:
        share = f" ({100 * self.new / self.sent:.0f} %)" if self.sent else ""
        how = "after the calls made so far" if self.measured else f"assuming {ASSUMED_SECONDS:g} s a call; no call was made yet"
        lines = [
            f"parts           {self.num_parts} in {self.depth + 1} levels",
            f"calls           {self.calls}" + (f", and {self.recorded} answers that are recorded" if self.recorded else ""),
            f"prompt tokens   {self.sent} sent, {self.new} new with a prefix cache{share}; longest context {self.longest}",
            f"answer tokens   {self.answered} (assuming {ANSWER_TOKENS} a part)",
            f"time            {duration(self.seconds)} ({how})",
        ]
        return lines if self.price is None else [*lines, f"price           {self.price:.3g} without a prefix cache"]


def estimate(
    parts: PartTree, counted: Counting, recorded: int, workers: int, seconds_per_call: float | None, prices: tuple[float, float] | None
) -> Estimate:
    """From what was counted; levels cannot overlap, whatever the number of workers. Prices are per million tokens in and out."""
    each = ASSUMED_SECONDS if seconds_per_call is None else seconds_per_call
    depth = int(parts.depth.max())
    in_turn = max(counted.calls / max(workers, 1), min(depth + 1, counted.calls))
    price = None if prices is None else (counted.sent * prices[0] + counted.answered * prices[1]) / 1e6
    return Estimate(parts.num_parts, depth, counted.calls, recorded, counted.sent, counted.new, counted.answered, counted.longest,
                    each * in_turn, seconds_per_call is not None, price)


def duration(seconds: float) -> str:
    hours, minutes = int(seconds // 3600), int(seconds // 60) % 60
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {int(seconds) % 60} s" if minutes else f"{seconds:.0f} s"
