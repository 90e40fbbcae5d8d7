"""Relations between parts, each to a degree 0..1; half and more counts as holding.

Notation
  a is the part that is asked about, b an anchor. Directions are those of the frame: x right, y away from the viewer, z up.
  The gap along an axis is that between the boxes, 0 where they overlap; the step is that between their middles.
  The distance of two parts is that between their surfaces, of the nearest two of their sampled points; 0 where one holds the other.
Everything is measured against the sizes of the two parts, so a keypad and a building follow the same rules. Along the axis
of a direction the boxes must not overlap by more than half of the smaller one. What is above or below is there within a gap
between the footprints that is small against their widths (CausalSplat's limit, min(.55·√(bx² + by²), .35 of the scene's
width) with the mean widths bx, by; for the gap instead of the middles: a lamp over the end of a long table is above it).
What is to the left is so within about 45° of left. A part is none of this to what holds it.
What is between two parts lies on the way from one to the other, beside it by little against the way or against how thick
they are across it. Of one row are parts whose heights differ by no more than half their mean height, of one column those
whose places across do by no more than half their mean width.
"""

from collections.abc import Sequence

import numpy as np

from semquery.relations.place import Places

DIRECTIONS = {"right": (0, 1), "left": (0, -1), "behind": (1, 1), "front": (1, -1), "above": (2, 1), "below": (2, -1)}  # axis, sign
HOLDS = 0.5
WIDE, WIDEST = 0.55, 0.35  # CausalSplat's shares of the mean width and of the scene's
STEEP = 0.3  # least rise over distance of what is above
SMALLER = 0.999  # parts of one size are not smaller than each other, whatever the rounding says
TOUCH = 0.1  # parts closer than this share of the smaller one's diagonal touch
LINES = {"row": 2, "column": 0}  # the axis along which parts of one line are equal
STRAIGHT = 0.5  # share of the smaller box, across a direction, that lies beside the other


def holds_relation(kind: str, a: int, of: Sequence[int], places: Places) -> float:
    """To what degree a part stands in a relation to its anchors: to all of them in a direction, to any of them otherwise.

    Raises ValueError for a kind that is not graded: nearest and farthest compare several parts by their `distance`.
    """
    if not of:
        return float(kind == "without")
    if kind in DIRECTIONS:
        return min(direction(kind, a, b, places) for b in of)
    if kind == "between":
        return between(a, of, places)
    if kind == "without":  # what is, or lies in, the thing that must not be there is not without it
        return 1.0 - max(float(nested(a, b, places)) for b in of)
    if kind == "with":
        return max(part_of(b, a, places) for b in of)
    if kind in LINES:
        return max(in_line(kind, a, b, places) for b in of)
    graded = {"near": near, "inside": inside, "on": on, "part_of": part_of}
    if kind not in graded:
        raise ValueError(f"Expected one of {', '.join([*DIRECTIONS, *LINES, *graded, 'between', 'without', 'with'])} for a relation, got {kind!r}.")
    return max(graded[kind](a, b, places) for b in of)


def direction(kind: str, a: int, b: int, places: Places) -> float:
    """To what degree a is above, below, left of, right of, in front of or behind b."""
    if nested(a, b, places):
        return 0.0
    axis, sign = DIRECTIONS[kind]
    size = (places.size[a] + places.size[b]) / 2
    step = places.centre[a] - places.centre[b]
    along = sign * step[axis]
    if along <= 0:
        return 0.0
    aside = float(np.linalg.norm(np.delete(np.maximum(np.abs(step) - size, 0), axis)))
    smaller = max(float(min(places.size[a][axis], places.size[b][axis])), 1e-12)
    clear = float(np.clip((along - size[axis]) / smaller + 1, 0, 1))  # the share of the smaller box that is beyond the larger
    if axis < 2:
        return clear * float(np.clip(1.5 - aside / along, 0, 1))
    limit = min(WIDE * float(np.linalg.norm(size[:2])), WIDEST * float(places.size[places.spans.order[0]][:2].max()))
    steep = along / float(np.hypot(along, aside)) > STEEP
    return clear * steep * float(np.clip(1 - aside / max(limit, 1e-12), 0, 1))


def straight(kind: str, a: int, b: int, places: Places) -> bool:
    """Whether a lies straight in a direction from b: across it, at least half of the smaller box is beside the other."""
    axis, _ = DIRECTIONS[kind]
    shared = np.delete(np.minimum(places.high[a], places.high[b]) - np.maximum(places.low[a], places.low[b]), axis)
    smaller = np.delete(np.minimum(places.size[a], places.size[b]), axis)
    return bool((shared + places.spacing >= STRAIGHT * smaller).all())


def in_line(kind: str, a: int, b: int, places: Places) -> float:
    """1 at the same height (row) or the same place across (column), ½ where they differ by half their mean size; 0 for what holds the other."""
    axis = LINES[kind]
    size = max(float(places.size[a, axis] + places.size[b, axis]) / 2, 2 * places.spacing)
    step = abs(float(places.centre[a, axis] - places.centre[b, axis]))
    return 0.0 if nested(a, b, places) else float(np.clip(1 - step / size, 0, 1))


def distance(a: int, b: int, places: Places) -> float:
    """Between the surfaces of two parts, world units; 0 where one holds the other."""
    from scipy.spatial import cKDTree

    if nested(a, b, places):
        return 0.0
    one, other = sorted((places.sample(a), places.sample(b)), key=len)
    return float(cKDTree(other).query(one)[0].min()) if len(one) else float("inf")


def box_gap(a: int, b: int, places: Places) -> float:
    """Between the boxes of two parts: never more than their distance, and found at once."""
    gaps = np.maximum(np.abs(places.centre[a] - places.centre[b]) - (places.size[a] + places.size[b]) / 2, 0)
    return float(np.linalg.norm(gaps))


def near(a: int, b: int, places: Places) -> float:
    """1 where they touch, ½ where they are half their mean diagonal apart."""
    reach = (places.diagonal[a] + places.diagonal[b]) / 2
    return 0.0 if nested(a, b, places) else float(np.clip(1 - distance(a, b, places) / max(reach, 1e-12), 0, 1))


def inside(a: int, b: int, places: Places) -> float:
    """1 for the parts of a part, else the share of a's box that lies in b's."""
    if nested(a, b, places):
        return part_of(a, b, places)
    thick = np.maximum(places.high[a] - places.low[a], places.spacing)
    shared = np.minimum(places.low[a] + thick, places.high[b] + places.spacing / 2) - np.maximum(places.low[a], places.low[b] - places.spacing / 2)
    return float(np.clip(shared / thick, 0, 1).prod())


def on(a: int, b: int, places: Places) -> float:
    """1 for the parts of a part, else whether it touches b and is above it or, less so, smaller than b and not under it."""
    if nested(a, b, places):
        return part_of(a, b, places)
    tolerance = max(2 * places.spacing, TOUCH * min(places.diagonal[a], places.diagonal[b]))
    touches = float(np.clip(2 - distance(a, b, places) / max(tolerance, 1e-12), 0, 1))
    fixed = places.diagonal[a] < SMALLER * places.diagonal[b] and direction("below", a, b, places) < HOLDS
    return touches * max(direction("above", a, b, places), 0.75 * fixed)


def between(a: int, of: Sequence[int], places: Places) -> float:
    """To what degree a is between two anchors, of several the two that it is most between.

    Wholly: in the middle half of the way from one to the other, no longer than the way, and less aside than a quarter of the
    way by its middle or than a quarter of the two's mean thickness by its box: a panel between drawers and doors may stand far back.
    """
    best = 0.0
    for k, b in enumerate(of):
        for c in of[k + 1 :]:
            if not any(nested(a, anchor, places) for anchor in (b, c)):
                best = max(best, _between(a, b, c, places))
    return best


def part_of(a: int, b: int, places: Places) -> float:
    """1 where a lies somewhere inside b in the part tree."""
    return float(a != b and places.spans.holds(b, a))


def nested(a: int, b: int, places: Places) -> bool:
    """Whether one holds the other, or they are the same."""
    return places.spans.holds(a, b) or places.spans.holds(b, a)


def _between(a: int, b: int, c: int, places: Places) -> float:
    middle, size, start = places.centre[a], places.size[a], places.centre[b]
    way = places.centre[c] - start
    length = float(np.linalg.norm(way))
    if length < 1e-12:
        return 0.0
    share = float((middle - start) @ way) / length**2
    step = np.abs(middle - start - share * way)
    thick = float(np.linalg.norm((1 - np.abs(way / length)) * (places.size[b] + places.size[c]) / 2)) / 2
    aside, gap = float(np.linalg.norm(step)), float(np.linalg.norm(np.maximum(step - size / 2, 0)))
    beside = max(1.5 - 2 * aside / length, 1.25 - gap / max(thick, places.spacing))
    fits = 2 - float(np.abs(way / length) @ size) / length
    return float(np.clip(4 * min(share, 1 - share), 0, 1) * np.clip(beside, 0, 1) * np.clip(fits, 0, 1))
