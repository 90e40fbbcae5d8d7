"""The scene taken apart: every part moves away from the centre of its parent, which has moved before it.

Notation
  n points, p parts. The centre of a part is the mean of its points, those of its descendants included.
Conventions
  offset[root] = 0 and offset[part] = offset[parent] + amount · (centre[part] − centre[parent]) down to a level of the
  tree; what lies deeper moves with the part around it. So parts of one parent keep their arrangement, and the distances
  between their centres grow by the factor 1 + amount. A part that sits in the middle of its parent stays there.
"""

import numpy as np
from jaxtyping import Float32, Float64, Int32

from semquery.types import PartTree
from semquery.viewer.loaded import Loaded


def offsets(loaded: Loaded, level: int, amount: float) -> Float32[np.ndarray, "n 3"]:
    """How far each point moves, capture units. Raises ValueError for an amount outside 0..1."""
    if not 0 <= amount <= 1:
        raise ValueError(f"A scene is taken apart by an amount from 0 to 1; got {amount}.")
    tree, points = loaded.tree, loaded.surface.points
    if amount == 0:
        return np.zeros((len(points), 3), np.float32)
    of_part = part_offsets(tree, centres(tree, points), level)
    return (amount * of_part).astype(np.float32).take(tree.part_of_point, axis=0)


def part_offsets(tree: PartTree, centre: Float64[np.ndarray, "p 3"], level: int) -> Float64[np.ndarray, "p 3"]:
    """How far each part moves when the scene is wholly taken apart down to a level."""
    offset = np.zeros((tree.num_parts, 3))
    for part in range(tree.num_parts - 2, -1, -1):  # parents before their children
        above = tree.parents[part]
        offset[part] = offset[above] + (centre[part] - centre[above] if tree.depth[part] <= level else 0)
    return offset


def centres(tree: PartTree, points: Float32[np.ndarray, "n 3"]) -> Float64[np.ndarray, "p 3"]:
    """The mean of each part's points; that of its parent for a part without. Points that are not finite do not count."""
    count, total = _sums(tree.part_of_point, points, tree.num_parts)
    if not np.isfinite(total).all():
        finite = np.isfinite(points).all(1)
        count, total = _sums(tree.part_of_point[finite], points[finite], tree.num_parts)
    for inner in range(tree.num_parts - 1):  # children before their parents
        count[tree.parents[inner]] += count[inner]
        total[tree.parents[inner]] += total[inner]
    centre = total / np.maximum(count, 1)[:, None]
    for inner in range(tree.num_parts - 2, -1, -1):
        if not count[inner]:
            centre[inner] = centre[tree.parents[inner]]
    return centre


def _sums(
    part: Int32[np.ndarray, " n"], points: Float32[np.ndarray, "n 3"], num_parts: int
) -> tuple[Float64[np.ndarray, " p"], Float64[np.ndarray, "p 3"]]:
    """How many points each part has itself, and their sum."""
    sums = [np.bincount(part, points[:, axis], minlength=num_parts).astype(np.float64) for axis in range(3)]  # of no point at all, integers
    return np.bincount(part, minlength=num_parts).astype(np.float64), np.stack(sums, 1)
