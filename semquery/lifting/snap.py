"""The parts of a tree that a mask of points means: the union of parts with the best overlap.

A union of parts that do not hold each other is best if no other such union has a higher IoU with the mask. Because the mask's
own size is fixed, whether IoU > λ is told by a sum over the parts of the union, so for a given λ the best union is found by one pass from the
leaves to the root; λ is raised to the IoU of what was found until nothing better is found (Dinkelbach, 1967). That is exact.

Notation
  n points, p parts; a mask is 0..1.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from semquery.types import PartTree


@dataclass(frozen=True)
class Snapped:
    """The parts that a mask means."""

    parts: tuple[int, ...]  # increasing; none holds another
    iou: float  # with the mask
    inside: Bool[np.ndarray, " n"]  # all points of the parts, unseen ones included


def snap(tree: PartTree, mask: Float64[np.ndarray, " n"], weight: Float64[np.ndarray, " n"] | Bool[np.ndarray, " n"], each: float = 0.02) -> Snapped:
    """The union of parts with the best soft IoU; every part beyond the first has to be worth `each` of the mask.

    `weight`: how much a point counts, 0 where nobody sees it; such points belong to the parts in the end. A mask of nothing means no
    part.
    """
    hit, size, total = _sums(tree, weight * mask), _sums(tree, weight.astype(np.float64)), float(weight @ mask)
    if total == 0:
        return Snapped((), 0.0, np.zeros(len(mask), bool))
    best, iou = [int(np.argmax(_iou(hit, size, total)))], float(_iou(hit, size, total).max())
    while True:
        found = _best_union(tree, (1 + iou) * hit - iou * size, each * total)
        reached = float(_iou(hit[found].sum(), size[found].sum(), total)) if found else 0.0
        if reached <= iou + 1e-12:
            break
        best, iou = found, reached
    return Snapped(tuple(sorted(best)), iou, tree.holds[best].any(0)[tree.part_of_point])


def _iou(hit, size, total: float):
    """Soft IoU: the mask's weight inside, by the points inside plus the weight outside."""
    return hit / np.maximum(size + total - hit, 1e-12)


def _sums(tree: PartTree, values: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " p"]:
    """Of the values of all points in each part."""
    sums = np.bincount(tree.part_of_point, values, tree.num_parts)
    for part in range(tree.num_parts - 1):  # children come before their parents
        sums[tree.parents[part]] += sums[part]
    return sums


def _best_union(tree: PartTree, worth: Float64[np.ndarray, " p"], each: float) -> list[int]:
    """The parts, none inside another, of the largest total worth less `each` a part; a part wins over its own parts when equal."""
    below = np.zeros(tree.num_parts)  # the best of each part's descendants
    whole = np.zeros(tree.num_parts, bool)
    for part in range(tree.num_parts):
        whole[part] = worth[part] - each > 0 and worth[part] - each >= below[part] - 1e-12
        if part != tree.root:
            below[tree.parents[part]] += max(worth[part] - each, below[part], 0.0)
    chosen, open_ = [], [tree.root]
    while open_:
        part = open_.pop()
        if whole[part]:
            chosen.append(part)
        else:
            open_ += tree.children(part)
    return chosen
