"""Questions to `ask`: without a language model, and with a simulated reader to see what dropped and added anchors change.

No real model is run here. The simulated reader stands in for one: it reads nothing but the text of the requests. First it
takes the rows of the table that share most words with the question for candidates and the next ones for anchors; then, of
the candidates, those that fit the words best and lie in or near the anchors, by what the second request says of them. What
it shows is how far the second request hangs on its anchors; how far a model does, only a model can tell.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from eval.queries.known import Known
from eval.queries.measure import Labels, encoder_of, labels_of, places_of
from eval.queries.report import with_bounds
from eval.queries.scores import best_iou, covered, iou, mean_interval
from eval.queries.written import KINDS, Query
from eval.report import markdown
from semquery.ask import AskAnswer, AskConfig, Subject, ask
from semquery.codebook import build_codebook
from semquery.labelling import Asker
from semquery.prompts import bank, negatives
from semquery.query import Searcher
from semquery.text import words
from semquery.types import Cameras
from semquery.vlm import Answer, Request

NO_CAMERAS = Cameras((), (), np.zeros((0, 4, 4)), np.zeros((0, 4)), np.zeros((0, 2)))
DICE = ((0.5, 0.0), (1.0, 0.0), (0.0, 0.5), (0.5, 0.5))  # chances to drop and to add an anchor
SEEDS = (0, 1, 2)
WITHOUT_PICTURES = AskConfig(overviews=0, closeups=0)


@dataclass(frozen=True)
class Asked:
    """What became of one question that no model was asked."""

    scene: str
    id: str
    kind: str
    half: str
    targets: tuple[int, ...]
    iou: float  # with the best accepted answer; of an absent part 1 for no target and else 0
    method: str  # symbolic | names
    failed: str


def subject_of(known: Known, encoder_name: str, labels: Labels, descriptions: Mapping) -> Subject:
    """The scene as `ask` takes it, without views."""
    encoder, said = encoder_of(encoder_name), labels_of(known, labels, descriptions)
    searcher = Searcher(known.parts, said, build_codebook(said, encoder, negatives(), bank()), encoder)
    return Subject(known.surface, known.parts, NO_CAMERAS, searcher, places_of(known), _no_photo)


def _no_photo(view: str) -> np.ndarray:
    raise ValueError(f"No photo of {view} is shown to the simulated reader.")


def right(known: Known, query: Query, targets: Sequence[int]) -> float:
    """IoU with the best accepted answer; of an absent part 1 for none."""
    return best_iou(known.parts, targets, query.accepted) if query.answer else float(not targets)


# ------------------------------------------------------------------ without a model


def ask_all(scenes: Sequence[Known], encoder_names: Sequence[str], descriptions: Mapping) -> dict[str, list[Asked]]:
    """Every query put as a question, no model at hand, by encoder."""
    return {name: [_asked(known, query, ask(query.text, subject)) for known in scenes
                   for subject in [subject_of(known, name, "described", descriptions)] for query in known.queries.queries]
            for name in encoder_names}


def _asked(known: Known, query: Query, answer: AskAnswer) -> Asked:
    return Asked(known.name, query.id, query.kind, query.half, answer.targets, right(known, query, answer.targets), answer.method, answer.failed)


def asking_table(asked: Mapping[str, Sequence[Asked]], half: str = "report") -> str:
    """By kind: how often the answer is right, wrong, or that it cannot tell; of absent parts "right" is to name none."""
    lines = [["encoder", "kind", "questions", "right", "IoU>.5", "wrong", "says it cannot", "by form", "by names"]]
    for name, found in asked.items():
        for kind in KINDS:
            some = [a for a in found if a.kind == kind and a.half == half]
            by = Counter(a.method for a in some if a.targets)
            told = [(a.iou == 1, a.iou > 0.5, bool(a.targets) and a.iou <= 0.5, bool(a.failed)) for a in some]
            shares = shares_of(told, [a.scene for a in some], 4)
            lines.append([Path(name).name, kind, str(len(some)), *shares, str(by["symbolic"]), str(by["names"])])
    return markdown(lines)


def shares_of(told: Sequence[Sequence[bool]], scene: Sequence[str], num_columns: int) -> list[str]:
    """The share of rows in which each column is true, with its interval."""
    return [with_bounds(mean_interval(np.array([row[k] for row in told], float), scene)) for k in range(num_columns)]


# ------------------------------------------------------------------ a simulated reader


@dataclass(frozen=True)
class SimulatedReader:
    """Answers from the text of a request alone."""

    source: str = "rule"
    identity: str = "simulated reader"

    def check(self) -> str:
        return "a simulated reader of prompts; no model"

    def __call__(self, request: Request) -> Answer:
        text, question = request.turns[-1].text, _quoted(request.turns[-1].text)
        if "relevant" in (request.schema or {}).get("properties", {}):
            rows = list(relevant_rows("\n".join(turn.text for turn in request.turns), question))
            return Answer(json.dumps({"thinking": "", "relevant": rows, "open": []}))
        return Answer(json.dumps({"thinking": "", "targets": decided(text), "explanation": "the words and the places fit best", "rejected": []}))


def _quoted(text: str) -> str:
    """The question that a request asks."""
    return re.search(r"The question is: “(.*?)”\n", text)[1]


def relevant_rows(text: str, question: str) -> Iterator[dict]:
    """The rows of a table that share most words with a question, as candidates, and those that come next, as anchors."""
    wanted, shared = stems(question), {}
    for ids, name, function in re.findall(r"^([\d, ]+) \| (.*?) \| (.*?) \|", text, re.M):
        score = 2 * len(wanted & stems(name)) + len(wanted & stems(function))
        shared.update({int(part): score for part in ids.split(",")})
    levels = sorted({score for score in shared.values() if score}, reverse=True)[:2]
    for role, level in zip(("candidate", "anchor"), levels, strict=False):
        for part in [part for part, score in shared.items() if score == level][:8]:
            yield {"part": part, "role": role, "why": "its words are those of the question"}


def stems(text: str) -> set[str]:
    """Words without what an s or an e at the end makes of them."""
    return {word.rstrip("s").rstrip("e") for word in words(text)}


def decided(text: str) -> list[int]:
    """The candidates that fit best by their line: words, being part of an anchor or inside it, and being near one."""
    votes = {}
    for part, line in re.findall(r"^- (\d+) .*?: (candidate.*)$", text, re.M):
        percent = re.search(r"better than (\d+) %", line)
        held, away = re.findall(r"(?:a part of|inside) \d+", line), re.findall(r"([\d.]+) away from", line)
        votes[int(part)] = (float(percent[1]) / 100 if percent else 0.0) + len(held) - min(map(float, away), default=0.0) / 100
    best = max(votes.values(), default=0.0)
    return [part for part, vote in votes.items() if vote >= best - 1e-9]


def steadiness_table(scenes: Sequence[Known], encoder_names: Sequence[str], descriptions: Mapping) -> str:
    """How often an answer changes when anchors are dropped or added, and how often it is right."""
    lines = [["drop", "add", "questions", "with anchors", "changed", "right before", "right after"]]
    asked = [(known, query, subject) for known in scenes for subject in [subject_of(known, encoder_names[0], "described", descriptions)]
             for query in _questions(known)]
    plain = [_read(query, subject, WITHOUT_PICTURES) for _, query, subject in asked]
    for drop, add in DICE:
        configs = [replace(WITHOUT_PICTURES, drop_anchors=drop, add_anchors=add, seed=seed) for seed in SEEDS]
        rows = [_compared(known, query, before, _read(query, subject, config))
                for config in configs for (known, query, subject), before in zip(asked, plain, strict=True)]
        lines.append([f"{drop:g}", f"{add:g}", str(len(rows)), *shares_of(rows, [known.name for _ in SEEDS for known, _, _ in asked], 4)])
    return markdown(lines)


def _compared(known: Known, query: Query, before: AskAnswer, after: AskAnswer) -> tuple[bool, ...]:
    """Whether there were anchors, the answer changed, it was right before, it is right after."""
    differ = iou(covered(known.parts, before.targets), covered(known.parts, after.targets)) < 1
    return bool(before.anchors), differ, right(known, query, before.targets) == 1, right(known, query, after.targets) == 1


def _questions(known: Known) -> Iterator[Query]:
    """The questions whose answer can hang on anchors."""
    return (query for query in known.queries.queries if query.kind in ("purpose", "relation", "compound"))


def _read(query: Query, subject: Subject, config: AskConfig) -> AskAnswer:
    return ask(query.text, subject, Asker(SimulatedReader(), {}, lambda key, answer, seconds: None), config)

