"""How a part stands to its neighbours, in a few words: the notes of the node table that a language model reads."""

from collections.abc import Mapping

import numpy as np

from semquery.relations.graded import DIRECTIONS, box_gap, direction
from semquery.relations.place import Places
from semquery.types import PartTree

WORDS = {"above": "above", "below": "below", "left": "left of", "right": "right of", "front": "in front of", "behind": "behind"}
TELLING = 0.75  # least degree of a relation that is worth saying
NEIGHBOURS = 12  # siblings, the closest by their middles, that are looked at


def in_words(part: int, places: Places, parts: PartTree, names: Mapping[int, str] | None = None, most: int = 3) -> str:
    """Such as "above 12; left of 9; in 3": its clearest relations to its nearest siblings, each sibling and each relation once."""
    if part == parts.root:
        return ""
    notes, said = [], set()
    for other in _neighbours(part, places, parts):
        degree, kind = max((direction(kind, part, other, places), kind) for kind in DIRECTIONS)
        if degree >= TELLING and kind not in said and len(notes) < most:
            said.add(kind)
            notes.append(f"{WORDS[kind]} {_called(other, names)}")
    parent = int(parts.parents[part])
    return "; ".join(notes + ([f"in {_called(parent, names)}"] if parent != parts.root else []))


def _called(part: int, names: Mapping[int, str] | None) -> str:
    return f"{part} {names.get(part, '')}".strip() if names else str(part)


def _neighbours(part: int, places: Places, parts: PartTree) -> list[int]:
    """The nearest siblings by the gap between boxes, nearest first; of those that touch, the one whose middle is closest."""
    siblings = [s for s in parts.children(int(parts.parents[part])) if s != part and places.num_points[s]]
    steps = {s: float(np.linalg.norm(places.centre[s] - places.centre[part])) for s in siblings}
    closest = sorted(siblings, key=lambda s: (steps[s], s))[:NEIGHBOURS]
    return sorted(closest, key=lambda s: (max(box_gap(part, s, places), 2 * places.spacing), steps[s], s))
