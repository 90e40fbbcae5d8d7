"""A scene of many objects: copies of known scenes side by side under one root, more parts than fit a prompt.

Conventions
  The new tree is laid out as all trees are: leaves first, then the inner parts of one copy after another, the root last.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int32

from eval.queries.known import Known, true_tree
from semquery.types import NodeLabel, PartTree, Surface


@dataclass(frozen=True)
class Crowd:
    """The big scene, and where in it every copy of every scene is."""

    surface: Surface
    parts: PartTree
    numbers: dict[str, list[Int32[np.ndarray, " _"]]]  # of a scene: for each copy, the new number of every old part

    def labels(self, of_scene: dict[str, dict[int, NodeLabel]]) -> dict[int, NodeLabel]:
        """The labels of the scenes, said of every copy; the root is a room."""
        moved = {int(new[part]): replace(label, part=int(new[part]))
                 for scene, labels in of_scene.items() for new in self.numbers[scene] for part, label in labels.items()}
        return {**dict(sorted(moved.items())), self.parts.root: NodeLabel(self.parts.root, "room")}


def crowd(scenes: Sequence[Known], num_copies: int) -> Crowd:
    """So many copies of every scene, in rows along x, one row a scene."""
    copies = [(known, c) for known in scenes for c in range(num_copies)]
    num_parts = sum(known.parts.num_parts for known, _ in copies) + 1
    next_leaf, next_inner = 0, sum(int(is_leaf(known).sum()) for known, _ in copies)
    parents, points, owners, numbers = np.full(num_parts, num_parts - 1, np.int32), [], [], {}
    gap = 1.2 * max(float(np.ptp(known.surface.points, axis=0).max()) for known in scenes)
    for row, (known, copy) in enumerate(copies):
        leaf, new = is_leaf(known), np.zeros(known.parts.num_parts, np.int32)
        new[leaf] = next_leaf + np.arange(leaf.sum())
        new[~leaf] = next_inner + np.arange((~leaf).sum())
        next_leaf, next_inner = next_leaf + int(leaf.sum()), next_inner + int((~leaf).sum())
        parents[new[:-1]] = new[known.parts.parents[:-1]]
        offset = np.array([copy * gap, row // num_copies * gap, 0], np.float32)
        points.append(known.surface.points + offset)
        owners.append(new[known.parts.part_of_point])
        numbers.setdefault(known.name, []).append(new)
    surface = replace(scenes[0].surface, points=np.concatenate(points), **{
        name: np.concatenate([getattr(known.surface, name) for known, _ in copies]) for name in ("normals", "colors", "features", "source")})
    return Crowd(surface, true_tree(parents, np.concatenate(owners)), numbers)


def is_leaf(known: Known) -> np.ndarray:
    """Which parts hold no other part."""
    return ~np.isin(np.arange(known.parts.num_parts), known.parts.parents[:-1])
