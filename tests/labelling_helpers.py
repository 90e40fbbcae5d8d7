"""Models that know the answer, and what a walk over the hand-made tree needs; shared by the tests of labelling."""

import dataclasses
import json
import threading
from collections.abc import Callable

from helpers import NAMES, small_facts, small_parts

from semquery.labelling import Asker, LabelConfig, Subject, label_parts
from semquery.types import NodeLabel
from semquery.vlm import Answer, Request, VlmError

PLAIN = LabelConfig(carry_alternatives=False, reconsider=False, siblings=False, copy_alike=False)


def pictures(part: int) -> tuple[bytes, ...]:
    return (f"picture of {part}".encode(), f"close up of {part}".encode())


def part_shown(request: Request) -> int:
    """The part whose picture comes last."""
    return int(next(t for t in reversed(request.turns) if t.images).images[0].split()[-1])


def small_subject(**changes) -> Subject:
    return dataclasses.replace(Subject(small_parts(), small_facts(), pictures, {0: 4, 1: 3, 2: 6, 3: 8, 4: 12}), **changes)


def node(name: str, **fields) -> str:
    return json.dumps({"thinking": f"it is a {name}", "name": name, "synonyms": [], "function": "", "alternatives": [], "parent_suspect": False} | fields)


def is_about_siblings(request: Request) -> bool:
    return request.schema is not None and "renamed" in request.schema["properties"]


def is_second_look(request: Request) -> bool:
    return "Look again at what the whole of it must be" in request.turns[-1].text


@dataclasses.dataclass
class Known:
    """Answers with the part's name, which it reads from the last picture; notes what it was asked."""

    names: dict[int, str] = dataclasses.field(default_factory=lambda: dict(NAMES))
    stop_after: int = 10**6
    answer: Callable[[Request, int], str] | None = None  # (request, part) → text, in place of the name
    source: str = "vlm"
    identity: str = "Known"

    def __post_init__(self):
        self.requests: list[Request] = []
        self.lock = threading.Lock()

    @property
    def asked(self) -> list[int]:
        return [part_shown(r) for r in self.requests]

    def of(self, part: int) -> Request:
        return next(r for r in self.requests if part_shown(r) == part)

    def check(self) -> str:
        return "knows"

    def __call__(self, request: Request) -> Answer:
        with self.lock:
            if len(self.requests) >= self.stop_after:
                raise KeyboardInterrupt
            self.requests.append(request)
        return Answer(self.text(request))

    def text(self, request: Request) -> str:
        part = part_shown(request)
        if self.answer is not None:
            return self.answer(request, part)
        return json.dumps({"thinking": "", "renamed": []}) if is_about_siblings(request) else node(self.names[part])


def label_all(vlm, answers=None, config=PLAIN, given=None, subject=None, workers=1, max_calls=None, fresh=(), heard=None):
    """(labels, answers by key, the asker)."""
    answers = {} if answers is None else answers
    asker = Asker(vlm, answers, lambda key, answer, seconds: answers.__setitem__(key, answer), max_calls)
    heard = [] if heard is None else heard
    labels = label_parts(subject or small_subject(), asker, config, given, lambda label, key: heard.append((label, key)), fresh, workers)
    return labels, answers, asker


def names_of(labels: dict[int, NodeLabel]) -> dict[int, str]:
    return {part: label.name for part, label in labels.items()}


class Away(Known):
    """Nobody answers, for the parts given or for all."""

    away: frozenset = frozenset(range(1000))

    def text(self, request: Request) -> str:
        if part_shown(request) in self.away:
            raise VlmError("connection refused")
        return super().text(request)
