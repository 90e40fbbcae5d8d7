"""Choosing among several parts by where they are or how large: rows, corners, the middle, sizes, distances. Pure geometry.

A row is what lies at the same place along an axis: parts whose middles are less than ROW of their median size apart, so
the three buttons beside each other are one row when it is counted from the top. Sizes within SAME of each other are equal.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from semquery.phrases import SIDES
from semquery.relations import Places, distance

AXES = {"left": (0, 1), "right": (0, -1), "front": (1, 1), "back": (1, -1), "bottom": (2, 1), "top": (2, -1)}  # axis, sign of growing distance
ROW = 0.5
SAME = 0.08
SAME_WAY = 0.05  # distances that differ by less than this share are equal, and so are those of all that touches
NEARER = 0.49  # of the way from a side to the other, up to which several parts are on that side: the one in the middle is on neither
CORNER = 0.02  # of the way across, by which two rows may differ together and their parts still be equally far in a corner


def rows(pool: Sequence[int], side: str, places: Places) -> list[list[int]]:
    """The parts in rows, counted from a side."""
    axis, sign = AXES[side]
    at = {part: sign * float(places.centre[part, axis]) for part in pool}
    tolerance = max(ROW * float(np.median([places.size[part, axis] for part in pool])), 2 * places.spacing) if pool else 0.0
    found: list[list[int]] = []
    for part in sorted(pool, key=lambda part: (at[part], part)):
        if found and at[part] - at[found[-1][0]] <= tolerance:
            found[-1].append(part)
        else:
            found.append([part])
    return found


def ranked(pool: Sequence[int], along: str, places: Places) -> list[list[int]]:
    """The parts in the order they are counted in, equal ones together; where nothing is said, as one reads: row by row
    from the top left, and of those behind each other the front one first."""
    if along in SIDES:
        return rows(pool, along, places)
    if along:
        return _by_size(pool, along, places)
    return [row for line in rows(pool, "top", places) for column in rows(line, "left", places) for row in rows(column, "front", places)]


def picked(pool: Sequence[int], pick: str, number: int | None, places: Places) -> list[int]:
    """The parts that words such as "largest", "left" or "top left" choose; all that are equally so."""
    words = pick.split()
    sides = [word for word in words if word in SIDES]
    chosen = list(pool)
    if len(sides) > 1:
        chosen = corner(chosen, sides, places)
    elif sides:
        chosen = _at_side(chosen, sides[0], number, places)
    for word in words:
        if word == "middle":
            chosen = middle(chosen, places)
        elif word not in SIDES:
            chosen = _first(_by_size(chosen, word, places), number or 1)
    return chosen


def corner(pool: Sequence[int], sides: Sequence[str], places: Places) -> list[int]:
    """The parts that are furthest towards all of the sides together, each counted by rows: those of one row are equally far."""
    near = dict.fromkeys(pool, 0.0)
    for side in sides:
        lines = rows(pool, side, places)
        at = [float(places.centre[line, AXES[side][0]].mean()) for line in lines]
        for line, value in zip(lines, at, strict=True):
            near |= {part: near[part] + abs(value - at[0]) / max(abs(at[-1] - at[0]), 1e-12) for part in line}
    return [part for part in pool if near[part] <= min(near.values()) + min(CORNER, 0.5 / len(pool))]


def middle(pool: Sequence[int], places: Places) -> list[int]:
    """The parts nearest to the middle of them all."""
    at = places.centre[list(pool)]
    away = np.linalg.norm(at - (at.min(0) + at.max(0)) / 2, axis=1)
    across = int(np.ptp(at, axis=0).argmax())  # long parts side by side are told apart across, not along
    tolerance = max(0.25 * float(np.median(places.size[list(pool), across])), 2 * places.spacing)
    return [part for part, value in zip(pool, away, strict=True) if value <= away.min() + tolerance]


def closest(pool: Sequence[int], kind: str, anchors: Sequence[int], number: int, about: float, places: Places) -> list[int]:
    """The nearest or farthest parts by the distance of surfaces to any anchor; for one, also all that are as far to within `about`."""
    touching = 2 * places.spacing
    away = {part: max(touching, min(distance(part, anchor, places) for anchor in anchors)) for part in pool}
    sign = 1 if kind == "nearest" else -1
    order = sorted(pool, key=lambda part: (sign * away[part], part))
    if number > 1:
        return order[:number]
    best = away[order[0]]
    return [part for part in order if abs(away[part] - best) <= SAME_WAY * max(best, away[part]) + about]


def at_rank(lines: Sequence[list[int]], rank: int, wanted: int = 1) -> int | None:
    """Where the row of a rank is, the first of several that are wanted; None where there are fewer. The last two are -1, wanted 2."""
    start = rank - 1 if rank > 0 else len(lines) + rank - (wanted - 1)
    return start if 0 <= start < len(lines) else None


def _at_side(pool: list[int], side: str, number: int | None, places: Places) -> list[int]:
    """The first row from a side, or as many rows as hold the number; of "the upper shelves",
    one alone in front, all up to the middle."""
    lines = rows(pool, side, places)
    if number is None and len(lines) > 2 and len(lines[0]) == 1:
        at = [float(places.centre[line, AXES[side][0]].mean()) for line in lines]
        return [part for line, value in zip(lines, at, strict=True) if abs(value - at[0]) < NEARER * abs(at[-1] - at[0]) for part in line]
    return _first(lines, number or 1)


def _first(lines: list[list[int]], number: int) -> list[int]:
    """Whole rows until there are enough."""
    chosen: list[int] = []
    for line in lines:
        if len(chosen) >= number:
            break
        chosen += line
    return chosen


def _by_size(pool: Sequence[int], word: str, places: Places) -> list[list[int]]:
    """From the most so to the least; what differs too little from the first of its group, or less than points can tell, is in it."""
    size, blur = _sizes(pool, word, places)
    sign = -1 if word in ("smallest", "narrowest", "shortest", "thinnest") else 1
    found: list[list[int]] = []
    lead = 0
    for k in sorted(range(len(size)), key=lambda k: (-sign * size[k], pool[k])):
        if found and abs(size[lead] - size[k]) <= SAME * max(size[lead], size[k]) + max(blur[lead], blur[k]):
            found[-1].append(pool[k])
        else:
            found.append([pool[k]])
            lead = k
    return found


def _sizes(pool: Sequence[int], word: str, places: Places) -> tuple[Float64[np.ndarray, " k"], Float64[np.ndarray, " k"]]:
    """What a superlative compares, of each part, and how uncertain it is: lengths by the spacing of the points."""
    at, blur = list(pool), np.full(len(pool), places.spacing)
    if word in ("largest", "smallest"):
        return places.area[at], blur * places.diagonal[at]
    if word in ("widest", "narrowest", "tallest"):
        return places.size[at, 2 if word == "tallest" else 0], blur
    return np.array([places.extent(part)[0 if word in ("longest", "shortest") else 2] for part in at]), blur
