"""Naming the parts, depth first, each in the context of its ancestors.

A part is asked as soon as its parent is done, so siblings can be asked at the same time; nothing that is asked depends
on which of them was first. Names given by the user are never asked for, and are context like any other.
"""

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace

from semquery.labelling.alike import copied, speakers
from semquery.labelling.answers import failed_label, is_named, label_from
from semquery.labelling.asking import Asker, Outcome, ask
from semquery.labelling.confidence import NOT_KNOWN, UNKNOWN_REASON, agreement, name_confidence
from semquery.labelling.config import REPAIR_TEMPERATURE, LabelConfig
from semquery.labelling.context import Subject, conversation, question, request_for
from semquery.labelling.parse import parse_answer
from semquery.labelling.workers import run_in_order
from semquery.types import NodeLabel, PartTree
from semquery.vlm import Answer, Request, Turn, VlmError


def depth_first(parts: PartTree) -> Iterator[int]:
    """The root, then every part after its parent and before its parent's next child; larger children first."""
    stack = [parts.root]
    while stack:
        part = stack.pop()
        yield part
        stack.extend(sorted(parts.children(part), key=lambda child: (int(parts.num_points[child]), child)))


class Walk:
    """The labels of a tree as they come; safe to be worked on by several threads."""

    def __init__(
        self, subject: Subject, asker: Asker, config: LabelConfig, given: Mapping[int, NodeLabel],
        on_label: Callable[[NodeLabel, str], None], fresh: Collection[int] = (), workers: int = 1,
    ) -> None:
        """`given` labels stay as they are; for parts in `fresh` recorded answers do not count; `on_label(label, key)` hears of every label."""
        self.subject, self.asker, self.config, self.given = subject, asker, config, given
        self.labels: dict[int, NodeLabel] = {}
        self.questions: dict[int, Turn] = {}
        self.fresh, self.workers = frozenset(fresh), workers
        self._on_label, self._lock = on_label, threading.Lock()
        self._rank = {part: i for i, part in enumerate(depth_first(subject.parts))}
        self._copies = speakers(subject.parts, subject.facts, subject.pixels, given) if config.copy_alike else {}

    def run(self, among: Collection[int] | None = None) -> dict[int, NodeLabel]:
        """Label all parts, or those in `among`, whose parents must be in it or labelled."""
        parts = self.subject.parts
        chosen = set(range(parts.num_parts) if among is None else among)
        waits_for = {part: self._waits_for(part, chosen) for part in chosen}
        after: dict[int, list[int]] = {}
        for part, before in waits_for.items():
            if before is not None:
                after.setdefault(before, []).append(part)
        run_in_order([p for p in chosen if waits_for[p] is None], after, self._rank, self.label, self.workers)
        return self.labels

    def _waits_for(self, part: int, chosen: set[int]) -> int | None:
        """The part that must be done before: the one it copies from, else its parent."""
        before = self._copies.get(part, int(self.subject.parts.parents[part]))
        return before if before in chosen and before != part else None

    def label(self, part: int) -> None:
        """Label one part, whose parent is labelled."""
        with self._lock:  # pictures are drawn one at a time; answers are what is waited for
            self.questions[part] = question(self.subject, part, self.labels, self.config)
        speaker = self.labels.get(self._copies.get(part, -1))
        if part in self.given:
            self.set(self.given[part], "")
        elif speaker is not None and is_named(speaker):
            self.set(copied(speaker, part), "")
        else:
            self.set(*self.asked(part))

    def set(self, label: NodeLabel, key: str) -> None:
        with self._lock:
            self.labels[label.part] = label
            self._on_label(label, key)

    def asked(self, part: int) -> tuple[NodeLabel, str]:
        """The label that the model gives, and the key of its request."""
        turns = conversation(self.subject, part, self.questions, self.labels, self.config)
        request = request_for(turns, self.subject.facts[part], self.config)
        outcome = ask(self.asker, request, parse_answer, self.config.repairs, part in self.fresh)
        return self.judged(part, request, outcome), outcome.key

    def judged(self, part: int, request: Request, outcome: Outcome) -> NodeLabel:
        """The label that an outcome makes, with its confidence."""
        source, answer = self.asker.vlm.source, outcome.answer
        if outcome.read is None or answer is None:
            return failed_label(part, source, outcome.reason, answer.text if answer else "", outcome.calls)
        label = label_from(outcome.read, part, source, answer.text, calls=outcome.calls)
        if source == "rule":  # what is measured is no opinion of a model about itself
            return replace(label, confidence=_number(outcome.read.get("confidence")))
        return self._weighed(label, request, answer)

    def _weighed(self, label: NodeLabel, request: Request, answer: Answer) -> NodeLabel:
        certain = name_confidence(answer.tokens, label.name)
        if certain is not None:
            return replace(label, confidence=certain)
        if not self.config.agreement:
            return replace(label, confidence=NOT_KNOWN, reason=UNKNOWN_REASON)
        samples = self._samples(label.part, request)
        return replace(label, confidence=agreement(label.name, label.synonyms, samples), calls=label.calls + self.config.agreement)

    def _samples(self, part: int, request: Request) -> list[str]:
        """Names in further answers to the same request. Their temperatures differ by a hair, so that each has a key of its own."""
        names = []
        for k in range(self.config.agreement):
            try:
                answer = self.asker(replace(request, temperature=REPAIR_TEMPERATURE + 0.001 * (k + 1)), part in self.fresh)
            except VlmError:
                continue
            names.append((parse_answer(answer.text) or {"name": ""})["name"])
        return names


def _number(value: object) -> float:
    return min(1.0, max(0.0, float(value))) if isinstance(value, (int, float)) and value == value else NOT_KNOWN
