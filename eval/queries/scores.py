"""How right an answer is, and how far chance reaches.

Notation
  n surface points, p parts, q queries, a queries whose part is there, b queries whose part is absent, s scenes.
Conventions
  An answer is the set of points its members cover, so a group node and all its members are one answer. It is compared
  with every accepted answer and takes the best of them. A query whose part is absent is answered rightly by nothing.
  Intervals are 95 % percentile bootstraps that draw whole scenes: queries of one scene are no independent samples.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from jaxtyping import Bool, Float, Float64

from eval.metrics.resampling import auroc_of, interval_of, ratio_interval
from semquery.types import PartTree


def covered(parts: PartTree, members: Iterable[int]) -> Bool[np.ndarray, " n"]:
    """The points of all these parts together."""
    held = parts.holds[list(members)].any(0)
    return held[parts.part_of_point]


def iou(one: Bool[np.ndarray, " n"], other: Bool[np.ndarray, " n"]) -> float:
    """Intersection over union; 1 for two empty answers."""
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else 1.0


def best_iou(parts: PartTree, members: Iterable[int], accepted: Sequence[Sequence[int]]) -> float:
    """IoU with the accepted answer that fits best; 1 means that the answer is exactly right."""
    given = covered(parts, members)
    return max(iou(given, covered(parts, answer)) for answer in accepted)


def random_iou(parts: PartTree, accepted: Sequence[Sequence[int]]) -> Float64[np.ndarray, " p"]:
    """The IoU of every single part: what an answer drawn at random would get."""
    return np.array([best_iou(parts, [part], accepted) for part in range(parts.num_parts)])


# ------------------------------------------------------------------ intervals


def mean_interval(values: Float[np.ndarray, " q"], scene: Sequence[str]) -> tuple[float, float, float]:
    """(mean, low, high) over queries; nan without queries, nan bounds for one scene."""
    _, of_query = np.unique(scene, return_inverse=True)
    return ratio_interval(np.bincount(of_query, values), np.bincount(of_query))


def auroc_interval(
    present: Float[np.ndarray, " a"], scene_of_present: Sequence[str], absent: Float[np.ndarray, " b"], scene_of_absent: Sequence[str]
) -> tuple[float, float, float]:
    """(AUROC, low, high); a scene that is drawn twice brings its queries twice."""
    names, number = np.unique([*scene_of_present, *scene_of_absent], return_inverse=True)
    here, gone = number[:len(present)], number[len(present):]
    return interval_of(lambda times: auroc_of(present, here, absent, gone, times), len(names))


def paired_interval(first: Float[np.ndarray, " q"], second: Float[np.ndarray, " q"], scene: Sequence[str]) -> tuple[float, float, float]:
    """(mean gain, low, high) of the second over the first on the same queries."""
    return mean_interval(second - first, scene)


def by_group(keys: Sequence[str], score: Callable[[np.ndarray], float]) -> dict[str, float]:
    """A score of the queries of every key, in order of first occurrence; `score` gets their positions."""
    return {key: score(np.flatnonzero(np.array(keys) == key)) for key in dict.fromkeys(keys)}
