"""Which views of a scene are asked.

Notation
  v views, n surface points, k views wanted.
Conventions
  Views are row numbers. Every way answers with k different views (all of them, where there are no more), in the order in
  which they were chosen, and answers the same for the same seed.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64

Choosing = Literal["random", "visibility", "poses"]


def choose_views(
    how: Choosing, seen: Bool[np.ndarray, "v n"], T_world_cam: Float64[np.ndarray, "v 4 4"], count: int, seed: int = 0
) -> list[int]:
    """`count` views: at random (as published), those that together see most of the surface, or one for each group of like poses.

    Raises ValueError for a count below 1.
    """
    if count < 1:
        raise ValueError(f"At least one view has to be asked; got {count}.")
    ways: dict[str, Callable[[], list[int]]] = {
        "random": lambda: at_random(len(seen), count, seed),
        "visibility": lambda: by_visibility(seen, count),
        "poses": lambda: by_poses(T_world_cam, count, seed),
    }
    return ways[how]()


def at_random(num_views: int, count: int, seed: int) -> list[int]:
    """Any views (MLLM-For3D asks 4)."""
    return np.random.default_rng(seed).permutation(num_views)[:count].tolist()


def by_visibility(seen: Bool[np.ndarray, "v n"], count: int) -> list[int]:
    """Greedily the view that shows most points not shown by those before it; of equal ones the one that shows most points.

    Once all is shown it begins anew with the views that are left, so that further ones cover the surface a second time. The
    first round shows at least 1 − 1/e of what any `count` views can (Nemhauser, Wolsey & Fisher, 1978).
    """
    chosen: list[int] = []
    total, left = seen.sum(1), np.ones(seen.shape[1], bool)
    while len(chosen) < min(count, len(seen)):
        gain = (seen & left).sum(1)
        gain[chosen] = -1
        if gain.max() <= 0 and not left.all():
            left[:] = True
            continue
        best = int(np.lexsort((-total, -gain))[0])
        chosen.append(best)
        left &= ~seen[best]
    return chosen


def by_poses(T_world_cam: Float64[np.ndarray, "v 4 4"], count: int, seed: int = 0) -> list[int]:
    """The view nearest to the middle of each group of like poses (k-means of where cameras are and where they look).

    Places count in units of how far they spread, directions as unit vectors. The largest group comes first. Where k-means
    leaves a group empty, the view farthest from those chosen takes its place.
    """
    from scipy.cluster.vq import kmeans2

    count = min(count, len(T_world_cam))
    places, looks = T_world_cam[:, :3, 3], -T_world_cam[:, :3, 2]
    spread = np.sqrt(places.var(0).sum())
    poses = np.concatenate([(places - places.mean(0)) / (spread or 1.0), looks / np.linalg.norm(looks, axis=1, keepdims=True)], 1)
    if not np.ptp(poses, axis=0).any():
        return list(range(count))
    middles, group = kmeans2(poses, _spread_out(poses, count, seed), minit="matrix", missing="warn")
    groups = sorted((np.flatnonzero(group == g) for g in np.unique(group)), key=len, reverse=True)
    chosen = [int(rows[np.linalg.norm(poses[rows] - middles[group[rows[0]]], axis=1).argmin()]) for rows in groups]
    while len(chosen) < count:
        away = np.linalg.norm(poses[:, None] - poses[chosen], axis=2).min(1)
        away[chosen] = -1
        chosen.append(int(away.argmax()))
    return chosen


def _spread_out(poses: Float64[np.ndarray, "v c"], count: int, seed: int) -> Float64[np.ndarray, "k c"]:
    """Where k-means begins: any pose, then always the one farthest from those before (Gonzalez, 1985)."""
    rows = [int(np.random.default_rng(seed).integers(len(poses)))]
    while len(rows) < count:
        rows.append(int(np.linalg.norm(poses[:, None] - poses[rows], axis=2).min(1).argmax()))
    return poses[rows]
