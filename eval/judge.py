"""Scoring trees over one run's surface: what is measured at a time, and every number of it.

Held-out views are scored by place: each pixel takes the part of the surface point nearest to the true place it shows.
"""

import json
import math
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Int64

from eval.consistency import View, view_consistency
from eval.metrics import TreeScores, score_tree, score_views
from eval.truth import Regime, Truth, carry
from semquery.store import Run
from semquery.types import PartTree, Surface

Geometry = Literal["exact", "trained"]


@dataclass(frozen=True)
class Cell:
    """What is measured at a time."""

    scene: str
    geometry: Geometry | str  # or a way of `eval.splats`
    regime: Regime
    seed: int

    @property
    def name(self) -> str:
        return f"{self.scene}-{self.geometry}-{self.regime}-{self.seed}"


@dataclass(frozen=True)
class Row:
    """One measured tree."""

    cell: Cell
    method: str
    scores: TreeScores  # on the surface's points
    heldout_nc: float  # on views no training saw
    consistency: float  # of these views among each other
    true_nodes: int  # of the true tree that some point shows, the root among them
    masks_per_view: float
    points: int  # of the surface
    seconds: float  # of training and tree together


def nearest_points(surface: Surface, view: View, reach: float) -> Int64[np.ndarray, "h w"]:
    """The surface point nearest to the true place that each pixel shows; -1 where none lies within reach, or nothing is shown."""
    from scipy.spatial import cKDTree

    distance, near = cKDTree(surface.points).query(view.points.reshape(-1, 3), distance_upper_bound=reach)
    return np.where(np.isfinite(distance) & (view.leaves.reshape(-1) >= 0), near, -1).reshape(view.leaves.shape)


class Judge:
    """Scores trees over one run's surface; what does not depend on the tree is worked out once."""

    def __init__(self, truth: Truth, run: Run, cell: Cell) -> None:
        self.truth, self.cell, self.surface, cameras = truth, cell, run.surface(), truth.heldout
        self.leaf = carry(self.surface, truth.leaves(), len(truth.scene.parents))
        leaves = truth.leaves(heldout=True)
        self.masks_per_view = float(np.mean([run.masks(name).num_masks for name in run.masked_views()]))
        self.views = [View(leaves[name], leaves[name], truth.points(k), T, intrinsics)
                      for k, (name, T, intrinsics) in enumerate(zip(cameras.names, cameras.T_world_cam, cameras.intrinsics, strict=True))]
        depth = [np.linalg.norm(v.points[v.leaves >= 0] - v.T_world_cam[:3, 3], axis=1).mean() / v.intrinsics[0] for v in self.views]
        self.footprint = float(np.median(depth))  # of a pixel, on the surface
        self.shown = [nearest_points(self.surface, view, 2 * max(self.footprint, self.surface.voxel_size)) for view in self.views]

    def row(self, method: str, parts: PartTree, seconds: float) -> Row:
        """Every number of one tree."""
        true, part_of_point = self.truth.scene.parents, parts.part_of_point
        views = [replace(view, parts=np.where(shown >= 0, part_of_point[shown], -1)) for view, shown in zip(self.views, self.shown, strict=True)]
        scores = score_tree(true, self.leaf, parts.parents, part_of_point)
        return Row(
            self.cell, method, scores,
            heldout_nc=score_views(true, [v.leaves for v in views], parts.parents, [v.parts for v in views])[0],
            consistency=view_consistency(true, parts.parents, views, self.footprint)[0],
            true_nodes=len(true) - scores.num_hidden, masks_per_view=self.masks_per_view, points=len(self.leaf), seconds=seconds,
        )


def entry_of(row: Row) -> dict:
    """A row as JSON has it, which knows no nan: null in its place."""
    return json.loads(json.dumps(asdict(row)), parse_constant=lambda _: None)


def row_of(entry: dict) -> Row:
    """Inverse of `entry_of`."""
    scores = {name: math.nan if value is None else value for name, value in entry["scores"].items()}
    scores["levels"] = tuple(math.nan if level is None else level for level in scores["levels"])
    return Row(**entry | {"cell": Cell(**entry["cell"]), "scores": TreeScores(**scores)})
