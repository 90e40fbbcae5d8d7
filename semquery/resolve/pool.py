"""Which parts a phrase may mean before anything is said about where they are.

A head is looked up by the caller's search, which may answer with a single part that groups several alike ones ("legs" that
holds four); where one of them is to be chosen, the choice is made inside. Without a head any part may be meant: those beside
the anchor, else beside what holds it, and so on outwards, so what is under the seat is a leg and not a screw of the microwave.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from semquery.phrases import Phrase
from semquery.relations import Places, nested
from semquery.types import PartTree

ALIKE = 0.25  # sizes of children may differ by this share for their parent to count as a group of alike ones
CALLED = 0.85  # of the best score: what else is called so may take part in a choice…
EQUAL = 0.97  # …and counts as called so just as well


def chooses(phrase: Phrase) -> bool:
    """Whether the phrase means some of several rather than whatever is called so."""
    return bool(phrase.order or phrase.pick or phrase.exclude or (phrase.number or 0) > 1 or any(r.kind != "part_of" for r in phrase.relations))


def alike_children(part: int, places: Places, parts: PartTree) -> list[int]:
    """The children of a group of alike parts; none where they differ or are fewer than two."""
    while len(children := parts.children(part)) == 1:
        part = children[0]
    if len(children) < 2 or not all(places.num_points[child] for child in children):
        return []
    extents = np.array([places.extent(child) for child in children])
    typical = np.median(extents, axis=0)
    slack = ALIKE * np.maximum(typical, 0.1 * typical.max()) + 2 * places.spacing
    return children if (np.abs(extents - typical) <= slack).all() else []


def best_called(pool: Sequence[tuple[int, float]], share: float) -> list[tuple[int, float]]:
    """Those that are called so nearly as well as the best."""
    least = share * max((score for _, score in pool), default=0.0)
    return [(part, score) for part, score in pool if score >= least]


def surroundings(anchors: Sequence[int], places: Places, parts: PartTree) -> Iterator[list[int]]:
    """Parts beside the anchors, then beside what holds them, and so on outwards; never what holds an anchor or lies in it.

    Several anchors lie in different parts of what holds them all; beside each of those parts' inner ones counts as beside.
    """
    holder = places.spans.common(list(anchors))
    if holder in anchors:
        holder = int(parts.parents[holder])
    holders = {holder} | {above for anchor in anchors for above in places.spans.above(anchor) if places.spans.holds(holder, above)}
    while True:
        yield [child for held in sorted(holders) for child in parts.children(held) if not any(nested(child, anchor, places) for anchor in anchors)]
        if holder == parts.root:
            return
        holder = int(parts.parents[holder])
        holders = {holder}


def outermost(parts: PartTree) -> list[int]:
    """The parts that the scene is made of; where it is one thing, those of that."""
    part = parts.root
    while len(children := parts.children(part)) == 1:
        part = children[0]
    return children
