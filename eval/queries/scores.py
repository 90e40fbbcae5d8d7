"""How right an answer is, how well present is told from absent, and how far chance reaches.

Notation
  n surface points, p parts, q queries, a queries whose part is there, b queries whose part is absent, s scenes, d draws.
Conventions
  An answer is the set of points its members cover, so a group node and all its members are one answer. It is compared
  with every accepted answer and takes the best of them. A query whose part is absent is answered rightly by nothing.
  Intervals are 95 % percentile bootstraps that draw whole scenes: queries of one scene are no independent samples.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from semquery.types import PartTree

NUM_DRAWS = 2000


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


def wins(present: Float[np.ndarray, " a"], absent: Float[np.ndarray, " b"]) -> Float64[np.ndarray, "a b"]:
    """1 where the present part scores higher than the absent one, ½ where they score alike."""
    return (present[:, None] > absent[None]) + 0.5 * (present[:, None] == absent[None])


def auroc(present: Float[np.ndarray, " a"], absent: Float[np.ndarray, " b"]) -> float:
    """The chance that a part that is there scores higher than one that is not; nan where there is none of a kind."""
    return float(wins(present, absent).mean()) if len(present) and len(absent) else float("nan")


# ------------------------------------------------------------------ intervals


def draw_scenes(num_scenes: int, num_draws: int = NUM_DRAWS, seed: int = 0) -> Int[np.ndarray, "d s"]:
    """How often each scene occurs in each draw of as many scenes as there are, with replacement."""
    drawn = np.random.default_rng(seed).integers(0, num_scenes, (num_draws, num_scenes))
    return np.stack([np.bincount(row, minlength=num_scenes) for row in drawn])


def bounds(values: Float64[np.ndarray, " d"]) -> tuple[float, float]:
    """The middle 95 % of the draws; nan where no draw has a value."""
    values = values[np.isfinite(values)]
    low, high = np.quantile(values, [0.025, 0.975]) if len(values) else (float("nan"), float("nan"))
    return float(low), float(high)


def mean_interval(values: Float[np.ndarray, " q"], scene: Sequence[str]) -> tuple[float, float, float]:
    """(mean, low, high) over queries; nan without queries, nan bounds for one scene."""
    if not len(values):
        return (float("nan"),) * 3
    names, of_query = np.unique(scene, return_inverse=True)
    if len(names) == 1:
        return float(values.mean()), float("nan"), float("nan")
    times = draw_scenes(len(names))
    total, count = np.bincount(of_query, values), np.bincount(of_query)
    return float(values.mean()), *bounds((times @ total) / (times @ count))


def auroc_interval(
    present: Float[np.ndarray, " a"], scene_of_present: Sequence[str], absent: Float[np.ndarray, " b"], scene_of_absent: Sequence[str]
) -> tuple[float, float, float]:
    """(AUROC, low, high); a scene that is drawn twice brings its queries twice."""
    middle = auroc(present, absent)
    names = np.unique([*scene_of_present, *scene_of_absent])
    if np.isnan(middle) or len(names) == 1:
        return middle, float("nan"), float("nan")
    times = draw_scenes(len(names)).astype(float)
    a, b = (times[:, np.searchsorted(names, list(scenes))] for scenes in (scene_of_present, scene_of_absent))
    with np.errstate(invalid="ignore"):  # a draw may hold no absent query at all
        draws = ((a @ wins(present, absent)) * b).sum(1) / (a.sum(1) * b.sum(1))
    return middle, *bounds(draws)


def paired_interval(first: Float[np.ndarray, " q"], second: Float[np.ndarray, " q"], scene: Sequence[str]) -> tuple[float, float, float]:
    """(mean gain, low, high) of the second over the first on the same queries."""
    return mean_interval(second - first, scene)


def by_group(keys: Sequence[str], score: Callable[[np.ndarray], float]) -> dict[str, float]:
    """A score of the queries of every key, in order of first occurrence; `score` gets their positions."""
    return {key: score(np.flatnonzero(np.array(keys) == key)) for key in dict.fromkeys(keys)}
