"""Asking a model: every answer is remembered, nothing recorded is asked again, and unreadable answers are mended.

An answer is found again by the content of its request (`Request.key`), whoever asks and in whatever order; so a
walk that is run again replays what is recorded and asks only for the rest.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from semquery.labelling.config import REPAIR_TEMPERATURE
from semquery.prompts import fill, template
from semquery.vlm import Answer, Request, Turn, Vlm, VlmError

Read = TypeVar("Read")
LOST_BEFORE_GIVING_UP = 5  # requests in a row that nobody answers


class OutOfCalls(Exception):
    """The number of calls that was allowed is used up; what was answered is recorded."""


class Unreachable(ValueError):
    """The model does not answer."""


@dataclass(frozen=True)
class Outcome:
    """What came of a question."""

    read: Any  # the answer as read, None if it could not be
    answer: Answer | None  # the last that came
    key: str  # of the first request
    calls: int  # requests that were made for it, now or when it was recorded
    reason: str = ""  # why there is nothing to read


class Asker:
    """Asks a model, remembers, counts. Safe to use from several threads."""

    def __init__(
        self, vlm: Vlm, answers: Mapping[str, Answer], on_answer: Callable[[str, Answer, float], None], max_calls: int | None = None
    ) -> None:
        """`answers` are the recorded ones by key; `on_answer(key, answer, seconds)` records a new one before anybody sees it."""
        self.vlm = vlm
        self.max_calls = max_calls
        self.calls = self.cached = self.lost = self.answer_tokens = self.prompt_tokens = self.cached_tokens = 0
        self._answers, self._on_answer, self._last_error, self._is_there = dict(answers), on_answer, "", False
        self._lock = threading.Lock()

    def __call__(self, request: Request, fresh: bool = False) -> Answer:
        """The recorded answer, or a new one (always a new one if `fresh`). Raises VlmError, OutOfCalls, Unreachable."""
        key = request.key(self.vlm.identity)
        with self._lock:
            known = None if fresh else self._answers.get(key)
            if known is not None:
                self.cached += 1
                return known
            if self.max_calls is not None and self.calls >= self.max_calls:
                raise OutOfCalls
            self.calls += 1
        start = time.monotonic()
        try:
            answer = self.vlm(request)
        except VlmError as error:
            self._count_lost(error)
            raise
        with self._lock:
            self._answers[key] = answer
            self._is_there, self.lost = True, 0
            self.answer_tokens += answer.answer_tokens
            self.prompt_tokens += answer.prompt_tokens
            self.cached_tokens += answer.cached_tokens
            self._on_answer(key, answer, time.monotonic() - start)
        return answer

    def check_reached(self) -> None:
        """Raise Unreachable when there were requests, and not one was answered."""
        if self.lost > 0 and not self._is_there:
            raise Unreachable(self._nobody("first"))

    def _nobody(self, which: str) -> str:
        of_these = f"None of the {which} {self.lost} requests" if self.lost > 1 else f"Not even the {which} request"
        return (
            f"{of_these} was answered; the last one failed with: {self._last_error.rstrip('.')}. "
            "Nothing is lost: mend it and run the same command again."
        )

    def _count_lost(self, error: VlmError) -> None:
        """A model that was there counts as gone when it is away so many times in a row; that it refuses is no such sign."""
        with self._lock:
            self.lost += 1 if error.is_away or not self._is_there else 0
            self._last_error = str(error)
            if self.lost >= LOST_BEFORE_GIVING_UP:
                raise Unreachable(self._nobody("last" if self._is_there else "first")) from error


def ask(asker: Asker, request: Request, read: Callable[[str], Read | None], repairs: int, fresh: bool = False) -> Outcome:
    """Ask until the answer can be read, `repairs` times more at most: shown the bad answer, and at last with a little chance."""
    asked, answer, calls = request, None, 0
    try:
        for attempt in range(repairs + 1):
            calls += 1
            answer = asker(asked, fresh)
            found = read(answer.text)
            if found is not None:
                return Outcome(found, answer, request.key(asker.vlm.identity), calls)
            asked = _repair(request, answer.text, last=attempt == repairs - 1)
    except VlmError as error:
        return Outcome(None, answer, request.key(asker.vlm.identity), calls, f"the request failed: {error}")
    return Outcome(None, answer, request.key(asker.vlm.identity), calls, _unreadable(answer, request.max_tokens))


def _unreadable(answer: Answer | None, max_tokens: int) -> str:
    seen = " ".join((answer.text if answer else "").split())[:120]
    cut = f" (it was cut at {max_tokens} tokens: raise --max-tokens)" if answer and answer.cut else ""
    return f"the answer could not be read{cut}: {seen!r}" if seen else f"the answer was empty{cut}"


def _repair(request: Request, bad: str, last: bool) -> Request:
    wanted = "the JSON object with all its fields" if request.schema is not None else "the line **Label**: followed by the name"
    turns = (*request.turns, Turn("assistant", bad[:2000] or "(nothing)"), Turn("user", fill(template("repair.md"), wanted=wanted)))
    return replace(request, turns=turns, temperature=REPAIR_TEMPERATURE if last else request.temperature)
