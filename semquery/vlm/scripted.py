"""Answers from a function: for tests, and to try a walk without a model."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from semquery.vlm.base import Answer, Request


@dataclass(frozen=True)
class Scripted:
    """Answers what the script says: a text, a record (sent as JSON), a whole Answer, or an exception to raise."""

    script: Callable[[Request], str | Mapping[str, Any] | Answer | Exception]
    identity: str = "Scripted"
    source: ClassVar[str] = "vlm"

    def check(self) -> str:
        return "answers from a script; no model"

    def __call__(self, request: Request) -> Answer:
        said = self.script(request)
        if isinstance(said, Exception):
            raise said
        return said if isinstance(said, Answer) else Answer(said if isinstance(said, str) else json.dumps(said, ensure_ascii=False))
