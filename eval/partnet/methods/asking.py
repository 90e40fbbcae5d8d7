"""Asking the model about one object: nothing twice, and at a known cost.

An object that is half answered because the model went away would look like one that the model cannot name. So the first
request that nobody answers ends the object's turn with `Unreachable`: what was answered is recorded, and the object is
asked again later. A request that the model refuses (too long, not allowed) is an answer of a kind: a name that failed.
"""

import threading
from dataclasses import dataclass

from eval.partnet.methods.backends import Answers
from eval.partnet.records import Cost
from semquery.labelling import Asker, Unreachable
from semquery.vlm import Answer, Request, Vlm, VlmError


@dataclass(frozen=True)
class Present:
    """A model that has to be there."""

    vlm: Vlm

    @property
    def source(self) -> str:
        return self.vlm.source

    @property
    def identity(self) -> str:
        return self.vlm.identity

    def check(self) -> str:
        return self.vlm.check()

    def __call__(self, request: Request) -> Answer:
        """Raises Unreachable when nobody answers, VlmError when the request is refused."""
        try:
            return self.vlm(request)
        except VlmError as error:
            if not error.is_away:
                raise
            raise Unreachable(f"The model does not answer: {str(error).rstrip('.')}. What it answered so far is recorded; "
                              "run the same command again when it is back.") from error


class CountedAsker(Asker):
    """Asks, remembers, and knows what the answers took, those recorded before included: equal work has equal cost."""

    def __init__(self, vlm: Vlm, journal: Answers) -> None:
        asks = vlm.source != "rule"  # what is measured costs nothing to measure again
        super().__init__(Present(vlm), journal.answers() if asks else {}, journal.append if asks else lambda key, answer, seconds: None)
        self._took = journal.seconds() if asks else {}
        self._cost, self._known, self._counting = Cost(), set[str](), threading.Lock()

    def __call__(self, request: Request, fresh: bool = False) -> Answer:
        key = request.key(self.vlm.identity)
        with self._counting:
            is_new = key not in self._known
            self._known.add(key)
        answer = super().__call__(request, fresh)
        if is_new and self.vlm.source != "rule":
            with self._counting:
                self._cost = plus(self._cost, Cost(1, sum(len(turn.images) for turn in request.turns), answer.prompt_tokens,
                                                   answer.answer_tokens, seconds=self._took.get(key, 0.0)))
        return answer

    def check_reached(self) -> None:
        """Raises Unreachable when there were requests and none was ever answered; refusals beside recorded answers are no sign of that."""
        if not self.cached:
            super().check_reached()

    def cost(self, failed: int, seconds: float) -> Cost:
        """Of all answers so far. `seconds` went by now; what recorded answers took is added."""
        return plus(self._cost, Cost(failed=failed, seconds=seconds))


def plus(a: Cost, b: Cost) -> Cost:
    """Both together."""
    return Cost(a.calls + b.calls, a.pictures + b.pictures, a.prompt_tokens + b.prompt_tokens, a.answer_tokens + b.answer_tokens,
                a.failed + b.failed, a.seconds + b.seconds)
