"""The parts that a model is told of: all of them, or of a large scene as many rows as its table may have.

There is one order of rows for a question, and a budget takes its beginning: so a larger budget tells of the same parts
and more. In turn come two parts that fit the question best and the largest of those least deep, each after everything
it lies in. Of a part that is listed and whose inside is not, the number of parts inside is told. Where not all parts fit,
siblings that hold nothing and are called alike share a row; and what lies directly in the scene and has no row yet shares
the last one, with ids and names alone, as a flat scene of many objects would otherwise fill the table before any of their
parts had a row. That row names `MOST_OTHERS`; of a scene with still more objects, the others are left out.

Notation
  p parts. A row is a part, or several siblings called alike, or the others.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from jaxtyping import Float, Int64

from semquery.spans import preorder
from semquery.types import NodeLabel, PartTree

FEWEST_ALIKE = 3  # siblings that share a row
MOST_OTHERS = 200  # objects that the last row names


@dataclass(frozen=True)
class Row:
    """A part, or several siblings that are called alike or, in the last row, have nothing in common."""

    parts: tuple[int, ...]
    hidden: int = 0  # parts inside that no row tells of
    others: bool = False  # what lies directly in the scene and has no row of its own


@dataclass(frozen=True)
class Shortlist:
    """The rows of a table, every part after the part it lies in; the others last."""

    rows: tuple[Row, ...]
    hidden: int  # parts that no row tells of

    @property
    def parts(self) -> frozenset[int]:
        """All parts that some row tells of."""
        return frozenset(part for row in self.rows for part in row.parts)


def shortlist(
    parts: PartTree, lead: Float[np.ndarray, " p"], labels: Mapping[int, NodeLabel], budget: int, within: int | None = None
) -> Shortlist:
    """The first rows for a question.

    `lead`: how well each part fits the question. `within`: only what lies inside this part, and the part itself.
    """
    top = parts.root if within is None else within
    first, last = preorder(parts.parents)
    inside = np.argsort(first)[first[top] : last[top]]
    unit = _units(parts, labels, inside, last - first, collapse=len(inside) > budget)
    members = defaultdict(list)
    for part in inside.tolist():
        members[unit[part]].append(part)
    order = _order(parts, unit, inside, lead, top)
    taken, others = _cut(order, {part for part in members if part != top and parts.parents[part] == top}, budget)
    rows = [(members[part], False) for part in sorted(taken, key=lambda p: first[p])]
    return _listed(rows + [([p for part in others for p in members[part]], True)] * bool(others), parts, inside.tolist())


def opened(
    parts: PartTree, lead: Float[np.ndarray, " p"], labels: Mapping[int, NodeLabel], shown: Collection[Row], which: Sequence[int], budget: int
) -> tuple[Row, ...]:
    """Further rows: what lies inside the parts named, and each for itself of those that share a row; a budget for each part."""
    known, found = frozenset(part for row in shown for part in row.parts), []
    for part in dict.fromkeys(which):
        row = next((row for row in reversed(shown) if part in row.parts), None)  # its own, where it once shared one
        if row is not None and len(row.parts) > 1 and not row.others:
            found += [Row((each,)) for each in row.parts]
        elif row is not None and (row.others or row.hidden):
            inner = shortlist(parts, lead, labels, budget + 1, within=part).rows
            new = [replace(each, parts=tuple(p for p in each.parts if p not in known or row.others and p == part)) for each in inner]
            found += [each for each in new if each.parts]
    return tuple(dict.fromkeys(found))


def _units(
    parts: PartTree, labels: Mapping[int, NodeLabel], inside: Int64[np.ndarray, " k"], size: Int64[np.ndarray, " p"], collapse: bool
) -> dict[int, int]:
    """part → the part whose row it is in: itself, or the first of at least three siblings called alike that hold nothing."""
    unit = {part: part for part in inside.tolist()}
    alike = defaultdict(list)
    for part in inside.tolist() if collapse else ():
        label = labels.get(part)
        if size[part] == 1 and part != parts.root and label is not None and label.status == "named" and label.name != "unknown":
            alike[int(parts.parents[part]), label.name.casefold().strip()].append(part)
    for group in alike.values():
        if len(group) >= FEWEST_ALIKE:
            unit.update(dict.fromkeys(group, group[0]))
    return unit


def _order(parts: PartTree, unit: Mapping[int, int], inside: Int64[np.ndarray, " k"], lead: Float[np.ndarray, " p"], top: int) -> list[int]:
    """Every row's first part, each after everything it lies in."""
    own = np.bincount(parts.part_of_point, minlength=parts.num_parts)
    first, last = preorder(parts.parents)
    before = np.concatenate([[0], np.cumsum(own[np.argsort(first)])])
    num_points = before[last] - before[first]
    by_level = inside[np.lexsort((inside, -num_points[inside], parts.depth[inside]))]
    by_lead = by_level[np.argsort(-lead[by_level], kind="stable")]
    order: dict[int, None] = {}
    for part in _in_turn(by_lead.tolist(), by_level.tolist()):
        path = []
        while unit[part] not in order:
            path.append(unit[part])
            if part == top:
                break
            part = int(parts.parents[part])
        order.update(dict.fromkeys(reversed(path)))
    return list(order)


def _in_turn(by_lead: Sequence[int], by_level: Sequence[int]) -> Iterator[int]:
    """Two of the first and one of the second, until all have come."""
    fitting = iter(by_lead)
    for part in by_level:
        yield from islice(fitting, 2)
        yield part


def _cut(order: Sequence[int], direct: Collection[int], budget: int) -> tuple[list[int], list[int]]:
    """The beginning of the order, and those of `direct` that it leaves out, for which one row is kept; a single one takes it itself."""
    if budget == 1 or not any(part in direct for part in order[budget:]):
        return list(order[:budget]), []
    others = [part for part in order[budget - 1 :] if part in direct]
    return (list(order[: budget - 1]), others[:MOST_OTHERS]) if len(others) > 1 else ([*order[: budget - 1], *others], [])


def _listed(groups: Sequence[tuple[Sequence[int], bool]], parts: PartTree, inside: Sequence[int]) -> Shortlist:
    """The rows, with what each of them leaves out counted at the nearest part that is listed."""
    row_of_part = {part: row for row, (group, _) in enumerate(groups) for part in group}
    hidden = [0] * len(groups)
    for part in inside:  # in preorder: a parent comes before what it holds
        if part not in row_of_part:
            above = int(parts.parents[part])
            while above not in row_of_part:
                above = int(parts.parents[above])
            hidden[row_of_part[above]] += 1
    rows = tuple(Row(tuple(group), count, others) for (group, others), count in zip(groups, hidden, strict=True))
    return Shortlist(rows, sum(hidden))
