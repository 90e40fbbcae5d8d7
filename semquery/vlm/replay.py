"""Answers recorded before, in a run's labels.jsonl.

An answer's line is {"key", "answer", "identity"}. Answers are found by the content of their request and by who was
asked; so a replay passes for the model it recorded, and knows an answer only to what that model was asked.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from semquery.manifest import Manifest, json_lines
from semquery.vlm.base import Answer, Request, VlmError


@dataclass(frozen=True)
class Replay:
    """Answers that were recorded in a run: no model, no cost; anything else is not known."""

    journal: Path
    """labels.jsonl of a run (for questions: asks.jsonl), or the run directory."""

    source: ClassVar[str] = "vlm"

    def __post_init__(self) -> None:
        _ = self._recorded  # read now: `label --overwrite` clears the journal of its own run before it asks

    @property
    def identity(self) -> str:
        """That of the model which was recorded."""
        return self._recorded[0]

    def check(self) -> str:
        return f"{len(self._recorded[1])} answers of {self.identity} recorded in {self._path}"

    def __call__(self, request: Request) -> Answer:
        answer = self._recorded[1].get(request.key(self.identity))
        if answer is None:
            raise VlmError(
                f"No answer to this request is recorded in {self._path}: {self.identity} was asked another question, or with another scene, other names, prompts or settings."
            )
        return answer

    @cached_property
    def _path(self) -> Path:
        return self.journal / "labels.jsonl" if self.journal.is_dir() else self.journal

    @cached_property
    def _recorded(self) -> tuple[str, dict[str, Answer]]:
        """Who answered, and its answers by key, the newest of each. Raises ValueError when there are none."""
        if not self._path.is_file():
            raise ValueError(f"There is no {self._path} to replay: give a run whose model's answers are recorded, or the journal that holds them (labels.jsonl; asks.jsonl for questions).")
        lines = [line for line in json_lines(self._path) if isinstance(line, dict) and isinstance(line.get("answer"), dict)]
        if not lines:
            raise ValueError(f"{self._path} holds no answer of a model: names by hand or by measurement cannot be replayed (a run's answers to questions are in its asks.jsonl).")
        identity = next((line["identity"] for line in reversed(lines) if "identity" in line), None) or self._labelled_by()
        return identity, {line["key"]: _answer(line["answer"]) for line in lines if line.get("identity", identity) == identity}

    def _labelled_by(self) -> str:
        """From the run's manifest, for journals whose lines do not say it."""
        last = Manifest(self._path.parent).stage("label")
        identity = last["config"].get("vlm", {}).get("identity") if last is not None else None
        if identity is None:
            raise ValueError(f"Neither {self._path} nor the run.jsonl beside it says whose answers these are; copy the whole run directory.")
        return identity


def _answer(record: dict) -> Answer:
    return Answer(**{**record, "tokens": tuple((str(text), float(logprob)) for text, logprob in record.get("tokens", ()))})
