"""How often what is asked for is among the parts that a model is told of, for tables of several lengths.

An answer is told of as far as its surface is covered by listed parts that lie inside it: four legs are, when each leg has
a row, shares one with its like, or their group has one. An object that only the last row names, among all others, does not
count: nothing but its name is told there. Of a big scene made of copies, any copy may be the one told of.
The budget is in rows; a question is scored by the words of its text alone, as `ask` does before any model has answered.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from jaxtyping import Float

from eval.queries.big import Crowd, crowd
from eval.queries.known import Known
from eval.queries.measure import encoder_of, labels_of
from eval.queries.report import with_bounds
from eval.queries.scores import mean_interval
from eval.queries.written import KINDS, Query
from eval.report import markdown
from semquery.ask.shortlist import Shortlist, shortlist
from semquery.codebook import build_codebook
from semquery.prompts import bank, negatives
from semquery.query import Searcher
from semquery.types import NodeLabel, PartTree

BUDGETS = (10, 20, 40, 80, 120)
LEAST_PARTS = 1000  # of the big scene


@dataclass(frozen=True)
class Told:
    """Whether a table of so many rows tells of all that answers a query."""

    scene: str
    kind: str
    budget: int
    told: bool


def told_share(parts: PartTree, listed: Collection[int], query: Query) -> float:
    """The share of the answer's points that listed parts inside it cover; of several accepted answers the best."""
    own = np.bincount(parts.part_of_point, minlength=parts.num_parts)

    def covered(answer: Sequence[int]) -> float:
        wanted = parts.holds[list(answer)].any(0)
        inside = [part for part in listed if not (parts.holds[part] & (own > 0) & ~wanted).any()]
        return float(own[parts.holds[inside].any(0) & wanted].sum() / own[wanted].sum())

    return max(covered(answer) for answer in query.accepted)


def described(listed: Shortlist) -> frozenset[int]:
    """The parts that a row tells more of than a name."""
    return frozenset(part for row in listed.rows if not row.others for part in row.parts)


def leads(searcher: Searcher, text: str, num_parts: int) -> Float[np.ndarray, " p"]:
    """How well each part fits the words of a question; the same for all where the encoder knows none of them."""
    try:
        lead = searcher.match(text).lead
    except ValueError:
        return np.zeros(num_parts)
    return np.where(np.isfinite(lead), lead, lead[np.isfinite(lead)].min(initial=0.0)).astype(np.float64)


def in_own_scene(scenes: Sequence[Known], labels: Mapping[str, Mapping[int, NodeLabel]], encoder_name: str) -> list[Told]:
    """Every query that has an answer, at every budget, in the scene it was written for."""
    found = []
    for known in scenes:
        searcher = searcher_of(known.parts, labels[known.name], encoder_name)
        for query, budget in asked(known):
            listed = described(shortlist(known.parts, leads(searcher, query.text, known.parts.num_parts), searcher.labels, budget))
            found.append(Told(known.name, query.kind, budget, told_share(known.parts, listed, query) == 1))
    return found


def in_the_crowd(scenes: Sequence[Known], many: Crowd, labels: Mapping[int, NodeLabel], encoder_name: str) -> list[Told]:
    """The same among copies of all scenes, where any copy of the query's scene may be the one told of."""
    searcher, found = searcher_of(many.parts, labels, encoder_name), []
    for known in scenes:
        for query, budget in asked(known):
            listed = described(shortlist(many.parts, leads(searcher, query.text, many.parts.num_parts), searcher.labels, budget))
            local = ([part for part, number in enumerate(new.tolist()) if number in listed] for new in many.numbers[known.name])
            found.append(Told(known.name, query.kind, budget, max(told_share(known.parts, parts, query) for parts in local) == 1))
    return found


def searcher_of(parts: PartTree, labels: Mapping[int, NodeLabel], encoder_name: str) -> Searcher:
    encoder = encoder_of(encoder_name)
    return Searcher(parts, labels, build_codebook(labels, encoder, negatives(), bank()), encoder)


def asked(known: Known) -> Iterable[tuple[Query, int]]:
    """The queries that have an answer, with every budget."""
    return product((query for query in known.queries.queries if query.answer), BUDGETS)


def shortlist_table(scenes: Sequence[Known], encoder_names: Sequence[str], descriptions: Mapping) -> str:
    """Recall by kind and budget, in the scenes themselves and in a big scene of their copies; described labels."""
    labels = {known.name: labels_of(known, "described", descriptions) for known in scenes}
    many = crowd(scenes, num_copies=-(-LEAST_PARTS // sum(known.parts.num_parts for known in scenes)))
    lines = [["encoder", "scene", "rows", "all", *KINDS[:-1]]]
    for name in encoder_names:
        crowded = in_the_crowd(scenes, many, many.labels(labels), name)
        for scene, found in (("its own", in_own_scene(scenes, labels, name)), (f"{many.parts.num_parts} parts", crowded)):
            for budget in BUDGETS:
                rows = [told for told in found if told.budget == budget]
                of_kind = [[told for told in rows if told.kind == kind] for kind in KINDS[:-1]]
                lines.append([Path(name).name, scene, str(budget), *(with_bounds(recall(some)) for some in (rows, *of_kind))])
    return markdown(lines)


def recall(rows: Sequence[Told]) -> tuple[float, float, float]:
    """(share told of, low, high)."""
    return mean_interval(np.array([told.told for told in rows], float), [told.scene for told in rows])
