"""Do other views see a point, or do they see through it?

Notation
  n points, h w a view's grid of depth, v views.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int64

from semquery.geometry import image_points


@dataclass(frozen=True)
class Seen:
    """What a view measured."""

    depth: Float[np.ndarray, "h w"]  # world units, nan = nothing measured
    T_world_cam: Float64[np.ndarray, "4 4"]
    lens: Float64[np.ndarray, " 4"]  # fx fy cx cy in pixels of `depth`


def votes(
    points: Float[np.ndarray, "n 3"], others: Sequence[Seen], tolerance: float
) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    """How many views measured the surface at each point (up to a share of the depth), and how many measured what lies behind it.

    A view in which the point is hidden, outside, or without a measurement does not vote.
    """
    same, through = np.zeros((2, len(points)), np.int64)
    for view in others:
        column, row, depth = image_points(points, view.T_world_cam, view.lens)
        height, width = view.depth.shape
        inside = (depth > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
        found = np.full(len(points), np.nan)
        found[inside] = view.depth[row[inside].astype(int), column[inside].astype(int)]
        same += np.abs(found - depth) <= tolerance * depth
        through += found > (1 + tolerance) * depth
    return same, through


def beside(T_world_cam: Float64[np.ndarray, "v 4 4"], view: int, count: int) -> Int64[np.ndarray, " c"]:
    """The views that look most alike: nearest eyes, where a quarter turn counts as much as the spread of all eyes."""
    eyes, back = T_world_cam[:, :3, 3], T_world_cam[:, :3, 2]
    spread = max(float(np.linalg.norm(eyes - eyes.mean(0), axis=1).mean()), 1e-12)
    away = np.linalg.norm(eyes - eyes[view], axis=1) / spread + (1 - back @ back[view])
    order = np.argsort(away, kind="stable")
    return order[order != view][:count]
