"""What a text encoder, a scorer and a set of labels make of every written query.

Each query is asked twice: with the threshold for "not here" at its default, and with none, so that what the threshold
costs can be told from what the scorer gets wrong. The score that tells present from absent is that of the first hit
without a threshold, 0 where there is no hit at all.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float32

from eval.queries.known import FRONT, UP, Known, bare_labels, described_labels
from eval.queries.scores import best_iou
from eval.queries.written import Query
from semquery.codebook import build_codebook
from semquery.prompts import bank, negatives
from semquery.query import QueryConfig, Searcher
from semquery.relations import Places, frame_of, places
from semquery.text import HfText, Lexical, TextEncoder
from semquery.types import Hit, NodeLabel

Labels = Literal["names", "described"]
Scorer = Literal["auto", "lerf", "cosine", "zscore"]


@dataclass(frozen=True)
class Method:
    """What is compared."""

    encoder: str  # lexical, or the name of a checkpoint's folder
    labels: Labels
    scorer: Scorer

    @property
    def name(self) -> str:
        return f"{self.encoder} {self.labels} {self.scorer}"


@dataclass(frozen=True)
class Outcome:
    """What became of one query."""

    scene: str
    id: str
    text: str
    kind: str
    half: str
    members: tuple[int, ...]  # answered with the default threshold; () for "not here"
    iou: float  # with the best accepted answer; of an absent part 1 for "not here" and else 0
    forced: tuple[int, ...]  # answered without a threshold
    forced_iou: float
    probability: float  # of the first hit without a threshold
    score: float  # likewise, what the scorer gives
    reason: str  # of what was answered, or why nothing was

    @property
    def right(self) -> float:
        """1 for exactly the surface that answers, else 0."""
        return float(self.iou == 1)


@lru_cache
def encoder_of(name: str) -> TextEncoder:
    """The encoder called `lexical`, or that of a checkpoint's folder."""
    if name == "lexical":
        return Lexical()
    if not Path(name).is_dir():
        raise ValueError(f"There is no encoder {name!r}: expected lexical or the folder of a checkpoint.")
    return Remembering(HfText(name))


@dataclass(frozen=True)
class Remembering:
    """An encoder that runs each text once: the same bank, names and queries are encoded for every method."""

    encoder: TextEncoder
    _memory: ClassVar[dict[tuple[str, str, str], np.ndarray]] = {}

    @property
    def identity(self) -> str:
        return self.encoder.identity

    @property
    def kind(self) -> str:
        return self.encoder.kind

    def check(self) -> str:
        return self.encoder.check()

    def queries(self, texts: Sequence[str]) -> Float32[np.ndarray, "k d"]:
        return self._recalled("query", texts, self.encoder.queries)

    def passages(self, texts: Sequence[str]) -> Float32[np.ndarray, "k d"]:
        return self._recalled("passage", texts, self.encoder.passages)

    def _recalled(self, role: str, texts: Sequence[str], encode: Callable[[Sequence[str]], np.ndarray]) -> Float32[np.ndarray, "k d"]:
        new = [text for text in dict.fromkeys(texts) if (self.identity, role, text) not in self._memory]
        if new or not texts:
            vectors = encode(new)
            self._memory.update({(self.identity, role, text): vector for text, vector in zip(new, vectors, strict=True)})
        return np.stack([self._memory[self.identity, role, text] for text in texts]) if texts else vectors


def labels_of(known: Known, labels: Labels, descriptions: Mapping) -> dict[int, NodeLabel]:
    return bare_labels(known) if labels == "names" else described_labels(known, descriptions)


def places_of(known: Known) -> Places:
    """Where the parts lie, in the frame that the answers were written in."""
    frame = frame_of(known.surface, known.parts, None, up=np.array(UP), front=np.array(FRONT))
    return places(known.surface, known.parts, frame)


def searchers(
    known: Known, labels: Mapping[int, NodeLabel], encoder: TextEncoder, scorers: Sequence[Scorer], config: QueryConfig
) -> dict[Scorer, tuple[Searcher, Searcher]]:
    """For every scorer a searcher with the default threshold, and one without any; the codebook is made once."""
    book = build_codebook(labels, encoder, negatives(), bank())
    configs = {scorer: replace(config, scorer=scorer) for scorer in scorers}
    return {scorer: (Searcher(known.parts, labels, book, encoder, c), Searcher(known.parts, labels, book, encoder, replace(c, threshold=0.0)))
            for scorer, c in configs.items()}


def first_hit(searcher: Searcher, text: str, where: Places) -> tuple[Hit | None, str]:
    """The first answer to a query, and why it is, or why there is none."""
    try:
        hits = searcher.find(text, where)
    except ValueError as error:  # a query of which the encoder knows no word
        return None, str(error)
    return (hits[0], hits[0].reason) if hits else (None, "not here")


def outcome(known: Known, query: Query, pair: tuple[Searcher, Searcher], where: Places) -> Outcome:
    """One query, asked with and without a threshold."""
    (hit, reason), (forced, _) = (first_hit(searcher, query.text, where) for searcher in pair)
    members, forced_members = (h.members if h else () for h in (hit, forced))
    return Outcome(
        known.name, query.id, query.text, query.kind, query.half, members, _iou(known, query, members), forced_members,
        _iou(known, query, forced_members), forced.probability if forced else 0.0, forced.score if forced else 0.0, reason,
    )


def _iou(known: Known, query: Query, members: Sequence[int]) -> float:
    return best_iou(known.parts, members, query.accepted) if query.answer else float(not members)


def measure(
    scenes: Sequence[Known], encoders: Sequence[str], labels: Sequence[Labels], scorers: Sequence[Scorer], descriptions: Mapping,
    config: QueryConfig,
) -> dict[Method, list[Outcome]]:
    """Every query of every scene with every method."""
    outcomes: dict[Method, list[Outcome]] = {}
    where = {known.name: places_of(known) for known in scenes}
    for name in encoders:
        encoder = encoder_of(name)
        for said in labels:
            for known in scenes:
                for scorer, pair in searchers(known, labels_of(known, said, descriptions), encoder, scorers, config).items():
                    found = [outcome(known, query, pair, where[known.name]) for query in known.queries.queries]
                    outcomes.setdefault(Method(Path(name).name, said, scorer), []).extend(found)
    return outcomes
