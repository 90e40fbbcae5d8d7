"""The part tree of a mesh: what fused votes say of its nodes, where nodes respect the borders of what was found.

Notation
  f faces, p parts (nodes), q queries.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int32

from semquery.types import PartTree

PURITY = 0.8  # share of a node's votes that must agree for the whole node to follow them


@dataclass(frozen=True)
class FaceTree:
    """A part tree whose leaves are sets of faces."""

    part_of_face: Int32[np.ndarray, " f"]  # the smallest part that owns each face; -1 = none
    parents: Int32[np.ndarray, " p"]  # laid out as in `types`; the root is its own parent

    def __post_init__(self) -> None:
        if self.part_of_face.max(initial=-1) >= len(self.parents):
            raise ValueError(f"Faces name part {self.part_of_face.max()}; the tree has {len(self.parents)} parts.")

    @property
    def holds(self) -> Bool[np.ndarray, "p p"]:
        """holds[a, b]: part b is a or lies somewhere inside a."""
        none = np.zeros(0, np.int32)
        return PartTree(self.parents, none.astype(np.float32), none, none.reshape(0, 3), none.astype(np.float32)).holds


def snapped(
    label: Int32[np.ndarray, " f"], weight: Float64[np.ndarray, " f"], num_labels: int, tree: FaceTree, purity: float = PURITY
) -> Int32[np.ndarray, " f"]:
    """Each smallest part as a whole gets the label of most of it, if that is at least `purity` of its weight; others keep their faces' labels.

    A part through which the border of what was found runs is no denoiser but an error: it is left alone. `label` is -1 for none;
    `weight` says how well a face is known (0: not at all).
    """
    owned = tree.part_of_face >= 0
    part = tree.part_of_face[owned]
    table = np.zeros((len(tree.parents), num_labels + 1))  # the first column is none
    np.add.at(table, (part, label[owned] + 1), weight[owned])
    total = table.sum(1)
    best = table.argmax(1)
    is_pure = (total > 0) & (table.max(1) >= purity * total)
    found = label.copy()
    found[owned] = np.where(is_pure[part], best[part] - 1, label[owned])
    return found


def nodes_of(mask: Bool[np.ndarray, " f"], area: Float64[np.ndarray, " f"], tree: FaceTree, whole: float = 0.95) -> tuple[int, ...]:
    """The highest parts of which at least `whole` of the area is in a mask, in order; none where the mask follows no part."""
    inside, total = _areas(mask, area, tree)
    is_whole = (total > 0) & (inside >= whole * total)
    root = len(tree.parents) - 1
    return tuple(int(p) for p in np.flatnonzero(is_whole) if p == root or not is_whole[tree.parents[p]])


def best_node(mask: Bool[np.ndarray, " f"], area: Float64[np.ndarray, " f"], tree: FaceTree) -> tuple[int, float]:
    """The part that overlaps a mask best, and their intersection over union by area; (-1, 0) for a mask of no area."""
    inside, total = _areas(mask, area, tree)
    union = total + float(area[mask].sum()) - inside
    iou = np.divide(inside, union, out=np.zeros_like(inside), where=union > 0)
    best = int(iou.argmax())
    return (best, float(iou[best])) if iou[best] > 0 else (-1, 0.0)


def _areas(mask, area, tree: FaceTree) -> tuple[Float64[np.ndarray, " p"], Float64[np.ndarray, " p"]]:
    """Of every part, what is inside it included: area in the mask, and all of it."""
    owned, num_parts = tree.part_of_face >= 0, len(tree.parents)
    part = tree.part_of_face[owned]
    inside = np.bincount(part, (area * mask)[owned], num_parts)
    total = np.bincount(part, area[owned], num_parts)
    for k in range(num_parts - 1):  # children before parents
        inside[tree.parents[k]] += inside[k]
        total[tree.parents[k]] += total[k]
    return inside, total
