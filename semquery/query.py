"""From a query to parts: relevancy, and which of several nested hits is the answer.

Notation
  k codebook rows, d embedding width, j negatives, p parts.
Relevancy is LERF's (Kerr et al., ICCV 2023): the least, over the negatives, of the softmax of the row's
similarity to the query against the negative's,  min_j e^{T s} / (e^{T s} + e^{T n_j}),  T = 10. Departure:
LERF compares s = phi·query with n_j = phi·negative_j, both seen from the image embedding phi; here phi is the
embedding of what is said about the part, in the same formula. .5 means no more like the query than like a negative.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int32

from semquery.export import path_names
from semquery.geometry import principal_extent
from semquery.text import TextEncoder
from semquery.types import Codebook, Hit, NodeLabel, PartTree, Surface


@dataclass(frozen=True)
class QueryConfig:
    """How a query is scored and answered."""

    top: int = 5
    """Most hits to return."""
    threshold: float = 0.6
    """Least relevancy of a hit; .5 is indifference."""
    near_best: float = 0.7
    """A hit must lead its strongest negative by at least this share of the best hit's lead."""
    temperature: float = 10.0
    """LERF's T: how sharply relevancy turns from 0 to 1."""
    same: float = 0.02
    """Of nested hits whose leads in similarity differ by less than this, the highest part is the answer."""


def relevancy(
    vectors: Float[np.ndarray, "k d"], query: Float[np.ndarray, " d"], negatives: Float[np.ndarray, "j d"], temperature: float
) -> Float[np.ndarray, " k"]:
    """LERF relevancy of each row, 0..1; without negatives, against a similarity of 0."""
    positive = vectors @ query
    strongest = (vectors @ negatives.T).max(1) if len(negatives) else np.zeros(len(vectors))
    # the least softmax over the negatives is the one against the strongest of them
    return 1 / (1 + np.exp(-temperature * (positive - strongest)))


def best_rows(book: Codebook, scores: Float[np.ndarray, " k"], num_parts: int) -> Int32[np.ndarray, " p"]:
    """The codebook row that speaks best for each part; -1 for parts nothing is said about."""
    best = np.full(num_parts, -1, np.int32)
    order = np.argsort(scores, kind="stable")
    best[book.part_of_vector[order]] = order  # the last write wins: the highest score
    return best


def select(parts: PartTree, score: Mapping[int, float], config: QueryConfig) -> list[int]:
    """Parts in order of relevancy; of nested hits only one stays: the better, or the higher of equals.

    Compared are leads, similarity minus the strongest negative's: relevancy saturates, and near 1 all are alike.
    """
    lead = {p: float(np.log(max(s, 1e-12) / max(1 - s, 1e-12))) / config.temperature for p, s in score.items()}
    best = max(lead.values(), default=0.0)
    least = min(best, config.near_best * best)  # where even the best trails its negatives, only the best may stay
    hits = [p for p, s in score.items() if s >= config.threshold and lead[p] >= least]
    ranked = sorted(hits, key=lambda p: (-score[p], int(parts.depth[p]), p))
    chosen: list[int] = []
    for part in ranked:
        rivals = [p for p in hits if parts.holds[p, part] and lead[p] >= lead[part] - config.same]
        highest = min(rivals, key=lambda p: int(parts.depth[p]))
        if not any(parts.holds[c, highest] or parts.holds[highest, c] for c in chosen):
            chosen.append(highest)
    return sorted(chosen, key=lambda p: -score[p])[: config.top]


def answer(
    text: str, surface: Surface, parts: PartTree, labels: Mapping[int, NodeLabel], book: Codebook, config: QueryConfig, encoder: TextEncoder
) -> list[Hit]:
    """The parts that answer a query, best first; none where nothing reaches the threshold.

    Raises ValueError for a query without a word the encoder knows, and for a codebook of another encoder.
    """
    if repr(encoder) != book.encoder:
        raise ValueError(f"The codebook was made by {book.encoder}, the query is encoded by {encoder!r}. Run `semquery encode RUN --overwrite`.")
    vector = encoder([text])[0]
    if not vector.any():
        raise ValueError(f"The query {text!r} has no word to search for.")
    scores = relevancy(book.vectors, vector, book.negatives, config.temperature)
    rows = best_rows(book, scores, parts.num_parts)
    score = {p: float(scores[row]) for p, row in enumerate(rows.tolist()) if row >= 0}
    return [_hit(p, score[p], int(rows[p]), surface, parts, labels, book) for p in select(parts, score, config)]


def _hit(part: int, score: float, row: int, surface: Surface, parts: PartTree, labels: Mapping[int, NodeLabel], book: Codebook) -> Hit:
    points = surface.points[parts.points_of(part)]
    (a, b, c), _ = principal_extent(points)
    label = labels[part]
    reason = f"its {book.fields[row]} “{book.texts[row]}” is closest to the query. {label.thinking}".strip()
    return Hit(part, score, path_names(parts, labels, part), book.texts[row], reason, len(points), (float(a), float(b), float(c)))
