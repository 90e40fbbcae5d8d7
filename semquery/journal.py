"""What was said of the parts, line by line: labels.jsonl with labels and answers of a model, asks.jsonl with answers to questions.

A journal only grows: a line is on disk before anybody acts on it, and of several about the same thing the newest counts.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from semquery.manifest import Manifest, RunError, append_line, atomic, json_lines, numbered_lines
from semquery.types import NodeLabel
from semquery.vlm import Answer


class Journal(Manifest):
    """The journals of one directory."""

    def append_label(self, label: NodeLabel, key: str) -> None:
        """One line per label, appended and flushed."""
        append_line(self.path / "labels.jsonl", {"key": key, **dataclasses.asdict(label)})

    def append_answer(self, key: str, answer: Answer, identity: str, seconds: float = 0.0, journal: str = "labels.jsonl") -> None:
        """One line per answer of a model, with who gave it, appended and flushed: what was answered is never lost, nor asked again."""
        line = {"key": key, "answer": dataclasses.asdict(answer), "identity": identity, "seconds": round(seconds, 3)}
        append_line(self.path / journal, line)

    def answers(self, journal: str = "labels.jsonl") -> dict[str, Answer]:
        """Recorded answers by the content key of their request, the newest of each. Labels and questions have journals of their own."""
        found: dict[str, Answer] = {}
        for number, line in numbered_lines(self.path / journal):
            if "answer" in line:
                try:
                    record = line["answer"]
                    found[line["key"]] = Answer(**{**record, "tokens": tuple((str(t), float(p)) for t, p in record.get("tokens", ()))})
                except (KeyError, TypeError, ValueError, AttributeError) as error:
                    raise RunError(f"Line {number} of {self.path / journal} is no answer ({error}); correct the line or delete it.") from error
        return found

    def seconds_per_call(self, identity: str | None = None, journal: str = "labels.jsonl") -> float | None:
        """Median time that recorded answers (of one model) took; None before three were timed."""
        lines = [line for line in json_lines(self.path / journal) if "answer" in line and identity in (None, line.get("identity"))]
        seconds = [line["seconds"] for line in lines if line.get("seconds")]
        return float(np.median(seconds)) if len(seconds) >= 3 else None

    def set_labels_aside(self) -> Path | None:
        """Rename labels.jsonl, whose part numbers are about to lose their meaning; its new path, None if there is none."""
        labels = self.path / "labels.jsonl"
        if not labels.exists():
            return None
        number = 1 + sum(1 for _ in self.path.glob("labels.old*.jsonl"))
        return labels.rename(self.path / f"labels.old{number}.jsonl")

    def keep_answers_and_labels_by_hand(self) -> None:
        """Drop all labels but those the user gave; answers stay, they were paid for. One step, which cannot lose any."""
        answers = [line for line in json_lines(self.path / "labels.jsonl") if "answer" in line]
        kept = [{"key": "", **dataclasses.asdict(label)} for label in self.labels().values() if label.source == "user"]
        with atomic(self.path / "labels.jsonl") as path:
            path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in [*answers, *kept]))

    def labels(self) -> dict[int, NodeLabel]:
        """The newest label of each part; a label given by the user wins over any other."""
        return {part: label for part, (label, _) in self.label_journal().items()}

    def label_journal(self) -> dict[int, tuple[NodeLabel, str]]:
        """part → (label, content key of the request that was answered)."""
        journal: dict[int, tuple[NodeLabel, str]] = {}
        for number, line in numbered_lines(self.path / "labels.jsonl"):
            if "answer" in line:
                continue
            key = line.pop("key", "")
            try:
                label = _label(line)
            except (KeyError, TypeError, ValueError) as error:
                raise RunError(
                    f"Line {number} of {self.path / 'labels.jsonl'} is no label ({error}); a label has a part's number and a name. "
                    "Correct the line or delete it."
                ) from error
            held = journal.get(label.part)
            if held is None or held[0].source != "user" or label.source == "user":
                journal[label.part] = (label, key)
        return journal


def _label(line: Mapping[str, Any]) -> NodeLabel:
    """Raises TypeError, ValueError or KeyError for what is no label."""
    if not isinstance(line["part"], int) or not isinstance(line["name"], str):
        raise TypeError(f"part {line['part']!r}, name {line['name']!r}")
    several = {"synonyms": tuple(line.get("synonyms", ())), "alternatives": tuple((str(n), float(s)) for n, s in line.get("alternatives", ()))}
    return NodeLabel(**{**line, **several})
