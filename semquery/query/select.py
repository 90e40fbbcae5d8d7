"""Which of the parts that fit a query are the answer.

Of nested hits one stays: the better, or the higher of equals. Parts that are called alike answer together, as a group.
Compared are leads (scorers.py), which do not saturate as scores do.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int32, Int64

from semquery.spans import Spans

MOSTLY = 0.9  # a part whose points are theirs to this share is nothing but its members


@dataclass(frozen=True)
class Group:
    """Parts that answer together."""

    part: int  # the part that is nothing but the members; where there is none, the best of them
    members: tuple[int, ...]  # increasing


def near_the_best(lead: Float[np.ndarray, " p"], near_best: float) -> Int64[np.ndarray, " h"]:
    """Parts whose lead is this share of the best at least; where even the best trails what it has to beat, the best alone."""
    known = np.flatnonzero(np.isfinite(lead))
    if not len(known):
        return known
    best = float(lead[known].max())
    return known[lead[known] >= min(best, near_best * best)]


def outermost(
    hits: Int64[np.ndarray, " h"], lead: Float[np.ndarray, " p"], depth: Int32[np.ndarray, " p"], laid: Spans, same: float
) -> list[int]:
    """The hits that stay, the best first, none inside another: for each, the highest hit around it that leads about as well.

    A walk up the tree for each hit that no answer holds yet; what answers is marked as slices of the preorder.
    """
    best_first, in_preorder = hits[np.lexsort((hits, depth[hits], -lead[hits]))], hits[np.argsort(laid.first[hits])]
    if (laid.last[in_preorder[:-1]] <= laid.first[in_preorder[1:]]).all():
        return best_first.tolist()  # none holds another
    is_hit, held, holds_one = np.zeros(len(lead), bool), np.zeros(len(lead), bool), np.zeros(len(lead), bool)
    is_hit[hits] = True
    chosen: list[int] = []
    for part in best_first.tolist():
        if held[laid.first[part]] or holds_one[part]:
            continue
        around = [part, *laid.above(part)]
        highest = [p for p in around if is_hit[p] and lead[p] >= lead[part] - same][-1]
        if not holds_one[highest]:
            chosen.append(highest)
            held[laid.first[highest] : laid.last[highest]] = True
            holds_one[around[around.index(highest) :]] = True
    return sorted(chosen, key=lambda p: -lead[p])


def repeated(
    part: int, is_hit: Bool[np.ndarray, " p"], called: Callable[[int], str], lead: Float[np.ndarray, " p"], laid: Spans, same: float
) -> list[int]:
    """The hits inside a hit that is nothing but several of its own kind ("legs": leg, leg, leg); the part itself otherwise."""
    inside = laid.inside(part)[1:]
    if not len(inside):
        return [part]
    inside = inside[is_hit[inside] & (lead[inside] >= lead[part] - same)]
    alike = [p for p in inside.tolist() if called(p) == called(part)]
    tops = laid.highest(alike)
    return sorted(tops) if len(tops) > 1 and is_but(part, tops, laid) else [part]


def grouped(
    chosen: Sequence[int], members: Sequence[Sequence[int]], called: Callable[[int], str],
    lead: Float[np.ndarray, " p"], laid: Spans, same: float,
) -> list[Group]:
    """Answers that are called alike and lead about as well, as one group, in the place of its best."""
    groups: list[list[int]] = []  # places in `chosen`
    latest: dict[str, list[int]] = {}  # of each name; the others' leads are farther away
    for place, part in enumerate(chosen):
        group = latest.get(called(part))
        if group is None or lead[part] < lead[chosen[group[0]]] - same:
            latest[called(part)] = group = []
            groups.append(group)
        group.append(place)
    return [_group([chosen[place] for place in g], sorted(m for place in g for m in members[place]), laid) for g in groups]


def _group(tops: Sequence[int], members: Sequence[int], laid: Spans) -> Group:
    if len(tops) == 1:
        return Group(tops[0], tuple(members))
    return group_of(members, tops[0], laid)


def group_of(members: Sequence[int], best: int, laid: Spans) -> Group:
    """Parts of which none holds another: the part that is nothing but them, or the best."""
    around = laid.common(members)
    return Group(around if is_but(around, members, laid) else best, tuple(sorted(members)))


def is_but(part: int, members: Sequence[int], laid: Spans) -> bool:
    """Whether the part has hardly a point that is not its members'."""
    return bool(0 < MOSTLY * laid.num_points[part] <= laid.num_points[list(members)].sum())
