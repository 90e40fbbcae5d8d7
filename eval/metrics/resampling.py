"""How far chance reaches: intervals over objects, differences of two methods, and thresholds that were not chosen on the test.

Notation
  o objects, d draws, t thresholds, r and s anything (of one object; of all objects together).
  A draw takes as many objects as there are, with replacement; `times` [d o] says how often each object is in each draw.
  A pool makes one number, or one curve, of the objects of every draw: `mean_of` their values, `f1_of` their counts. Each adds
  terms up over objects, c of them [o c *r], and makes its number of the totals.
Conventions
  Intervals are 95 % percentile bootstraps over whole objects: nodes and queries of one object are no independent samples.
  The same seed draws the same objects, so that two methods on the same objects are paired. Where there is one object
  the bounds are nan. Objects that bring nothing to measure (nan throughout, or counts that are all 0) are left out first,
  so that they do not pass for objects.
  Efron and Tibshirani, "An introduction to the bootstrap", 1993.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Int64, Num

from eval.metrics.retrieval import THRESHOLDS, f1, first_highest, ratio, wins

NUM_DRAWS = 2000
Bounds = tuple[float, float, float]  # value, low, high
NONE = float("nan")


@lru_cache(maxsize=64)
def draws(num_objects: int, num: int = NUM_DRAWS, seed: int = 0) -> Int64[np.ndarray, "d o"]:
    """How often each object occurs in each draw of as many objects as there are, with replacement; read-only."""
    drawn = np.random.default_rng(seed).integers(0, num_objects, (num, num_objects))
    cell = drawn + num_objects * np.arange(num)[:, None]
    times = np.bincount(cell.reshape(-1), minlength=num * num_objects).reshape(num, num_objects)
    times.setflags(write=False)
    return times


def bounds(values: Float64[np.ndarray, " d"]) -> tuple[float, float]:
    """The middle 95 % of the draws; nan where no draw has a value."""
    values = values[np.isfinite(values)]
    low, high = np.quantile(values, [0.025, 0.975]) if len(values) else (NONE, NONE)
    return float(low), float(high)


def interval_of(
    statistic: Callable[[Int64[np.ndarray, "d o"]], Float64[np.ndarray, " d"]], num_objects: int, num: int = NUM_DRAWS, seed: int = 0
) -> Bounds:
    """(value of all objects, low, high) of anything that can be computed for many draws at once; nan without objects."""
    if num_objects == 0:
        return NONE, NONE, NONE
    value = float(statistic(np.ones((1, num_objects), np.int64))[0])
    return (value, *bounds(statistic(draws(num_objects, num, seed)))) if num_objects > 1 else (value, NONE, NONE)


# ------------------------------------------------------------------ pools


@dataclass(frozen=True)
class Pool:
    """One number, or one curve, of the objects of every draw: pool(per_object [o *r], times [d o]) is [d *s]."""

    of: Callable[[np.ndarray], np.ndarray]  # totals [d c *r] to numbers [d *s]
    terms: Callable[[np.ndarray], np.ndarray] = np.asarray  # an object's values to what is added up, [o c *r]

    def __call__(self, per_object: Num[np.ndarray, "o *r"], times: Int[np.ndarray, "d o"]) -> Float64[np.ndarray, "d *s"]:
        return self.of(_total(self.terms(per_object), times))


def of_totals(statistic: Callable[[np.ndarray], np.ndarray]) -> Pool:
    """The pool that adds counts up over objects and applies a statistic to [d *r] totals, e.g. `of_totals(propagation)`."""
    return Pool(statistic)


def _known(values: Float[np.ndarray, "o *r"]) -> Float64[np.ndarray, "o 2 *r"]:
    """(value, 1), (0, 0) where it is nan."""
    known = ~np.isnan(values)
    return np.stack([np.where(known, values, 0), known], axis=1, dtype=np.float64)


def _share(total: Float64[np.ndarray, "d 2 *r"]) -> Float64[np.ndarray, "d *r"]:
    return ratio(total[:, 0], total[:, 1])


def _micro_f1(total: Float64[np.ndarray, "d 3 *r"]) -> Float64[np.ndarray, "d *r"]:
    return f1(total[:, 0], total[:, 1], total[:, 2])


mean_of = Pool(_share, _known)  # of values [o *r]; nan where no object of the draw has a value
ratio_of = Pool(_share)  # numerators over denominators of [o 2 *r], each added up; nan where the latter are 0
f1_of = Pool(_micro_f1)  # micro-F1 of (TP, FP, FN) [o 3 *r], added up


def auroc_of(
    present: Float[np.ndarray, " a"], object_of_present: Int[np.ndarray, " a"],
    absent: Float[np.ndarray, " b"], object_of_absent: Int[np.ndarray, " b"], times: Int[np.ndarray, "d o"],
) -> Float64[np.ndarray, " d"]:
    """AUROC of every draw, over all objects' queries together; an object that is drawn twice brings its queries twice.

    What every object wins against every other is counted once, one object's absent queries at a time.
    """
    num = times.shape[1]
    won = np.stack([np.bincount(object_of_present, wins(present, absent[object_of_absent == o]), num) for o in range(num)], axis=1)
    times = times.astype(np.float64)
    number = [times @ np.bincount(owner, minlength=num) for owner in (object_of_present, object_of_absent)]
    return ratio(((times @ won) * times).sum(1), number[0] * number[1])


# ------------------------------------------------------------------ intervals


def pooled_interval(per_object: np.ndarray, pool: Pool = mean_of, num: int = NUM_DRAWS, seed: int = 0) -> Bounds:
    """(value, low, high) of one number pooled over objects."""
    per_object = per_object[_measured(pool, per_object)]
    return interval_of(lambda times: pool(per_object, times), len(per_object), num, seed)


def mean_interval(per_object: Float[np.ndarray, " o"], num: int = NUM_DRAWS, seed: int = 0) -> Bounds:
    """(mean, low, high) over objects."""
    return pooled_interval(per_object, mean_of, num, seed)


def ratio_interval(
    numerators: Num[np.ndarray, " o"], denominators: Num[np.ndarray, " o"], num: int = NUM_DRAWS, seed: int = 0
) -> Bounds:
    """(sum over sum, low, high): shares of things of which objects have different numbers."""
    return pooled_interval(np.stack([numerators, denominators], axis=1), ratio_of, num, seed)


def curve_interval(per_object: np.ndarray, pool: Pool = mean_of, num: int = NUM_DRAWS, seed: int = 0) -> Float64[np.ndarray, "3 t"]:
    """(curve of all objects, low, high), threshold by threshold: at each one, not for the curve as a whole."""
    per_object = per_object[_measured(pool, per_object)]
    curve = pool(per_object, np.ones((1, len(per_object)), np.int64))[0]
    if len(per_object) < 2:
        return np.stack([curve, np.full_like(curve, np.nan), np.full_like(curve, np.nan)])
    drawn = pool(per_object, draws(len(per_object), num, seed))
    return np.concatenate([curve[None], np.array([bounds(column) for column in drawn.T]).T])


def mean_curve_interval(per_object: Float[np.ndarray, "o t"], num: int = NUM_DRAWS, seed: int = 0) -> Float64[np.ndarray, "3 t"]:
    """`curve_interval` of the mean over objects."""
    return curve_interval(per_object, mean_of, num, seed)


# ------------------------------------------------------------------ peaks


@dataclass(frozen=True)
class Peak:
    """The highest value of a curve and how far chance moves it."""

    value: float
    threshold: float  # the lowest one that has the value
    fixed: tuple[float, float]  # bounds of the value at this threshold
    maximised: tuple[float, float]  # bounds of the highest value wherever it is: each draw chooses its own threshold
    moved: tuple[float, float]  # bounds of the threshold that a draw chooses


def peak_interval(
    per_object: np.ndarray, thresholds: Float[np.ndarray, " t"] = THRESHOLDS, pool: Pool = mean_of, num: int = NUM_DRAWS, seed: int = 0
) -> Peak:
    """Peak over thresholds of the pooled curve: of per-object curves [o t] with `mean_of`, of counts [o 3 t] with `f1_of`."""
    per_object = per_object[_measured(pool, per_object)]
    best, value = _best(pool, per_object)
    threshold = float(thresholds[best]) if value == value else NONE
    if len(per_object) < 2:
        return Peak(value, threshold, (NONE, NONE), (NONE, NONE), (NONE, NONE))
    drawn = pool(per_object, draws(len(per_object), num, seed))
    highest = first_highest(drawn)
    known = ~np.isnan(drawn).all(1)
    return Peak(value, threshold, bounds(drawn[:, best]), bounds(_at(drawn, highest)), bounds(thresholds[highest[known]]))


def micro_f1_interval(
    counts: Int[np.ndarray, "o 3 t"], thresholds: Float[np.ndarray, " t"] = THRESHOLDS, num: int = NUM_DRAWS, seed: int = 0
) -> Peak:
    """`peak_interval` of micro-F1 from every object's (TP, FP, FN)."""
    return peak_interval(counts, thresholds, f1_of, num, seed)


# ------------------------------------------------------------------ two methods on the same objects


@dataclass(frozen=True)
class PeakGain:
    """By how much the second method's peak is higher than the first's."""

    value: float
    fixed: tuple[float, float]  # bounds at the threshold of each method's own peak
    maximised: tuple[float, float]  # bounds where each draw chooses both thresholds anew


def paired_interval(first: np.ndarray, second: np.ndarray, pool: Pool = mean_of, num: int = NUM_DRAWS, seed: int = 0) -> Bounds:
    """(gain, low, high) of the second method over the first; objects that lack either value are left out."""
    both = _measured(pool, first, second)
    first, second = first[both], second[both]
    return interval_of(lambda times: pool(second, times) - pool(first, times), len(first), num, seed)


def paired_peaks(first: np.ndarray, second: np.ndarray, pool: Pool = mean_of, num: int = NUM_DRAWS, seed: int = 0) -> PeakGain:
    """Gain of the second method's peak over the first's, on the same objects in the same order."""
    both = _measured(pool, first, second)
    first, second = first[both], second[both]
    at_first, value_first = _best(pool, first)
    at_second, value_second = _best(pool, second)
    gain = value_second - value_first
    if len(first) < 2:
        return PeakGain(gain, (NONE, NONE), (NONE, NONE))
    a, b = (pool(x, draws(len(x), num, seed)) for x in (first, second))
    return PeakGain(gain, bounds(b[:, at_second] - a[:, at_first]), bounds(_at(b, first_highest(b)) - _at(a, first_highest(a))))


# ------------------------------------------------------------------ thresholds chosen elsewhere


def halves(num_objects: int, seed: int = 0) -> Bool[np.ndarray, " o"]:
    """A random half of the objects, the larger one where their number is odd."""
    return np.random.default_rng(seed).permutation(num_objects) < (num_objects + 1) // 2


def cross_fitted_of(
    per_object: np.ndarray, half: Bool[np.ndarray, " o"], times: Int[np.ndarray, "d o"], pool: Pool
) -> Float64[np.ndarray, " d"]:
    """`cross_fitted` of every draw; objects stay in their halves, and each draw chooses its thresholds anew."""
    terms = pool.terms(per_object)
    one, other = _total(terms, times * half), _total(terms, times * ~half)  # [d c t]
    of_one, of_other = pool.of(one), pool.of(other)
    held_out = pool.of(_at(one, first_highest(of_other)) + _at(other, first_highest(of_one)))
    return np.where(np.isnan(of_one).all(1) | np.isnan(of_other).all(1), NONE, held_out)


def cross_fitted(per_object: np.ndarray, half: Bool[np.ndarray, " o"], pool: Pool = mean_of) -> float:
    """What thresholds give that were chosen on other objects: every object is taken where the other half is best, and all are pooled.

    nan where a half is empty. The peak itself is chosen on the objects it is measured on, and flatters: no mean over objects, and no
    ratio whose denominators are the same at every threshold, is cross-fitted above its peak. Micro-F1 can be, by a hair, where the
    halves differ a lot: its denominators depend on the threshold.
    """
    return float(cross_fitted_of(per_object, half, np.ones((1, len(per_object)), np.int64), pool)[0])


def cross_fitted_interval(
    per_object: np.ndarray, half: Bool[np.ndarray, " o"], pool: Pool = mean_of, num: int = NUM_DRAWS, seed: int = 0
) -> Bounds:
    """(`cross_fitted`, low, high)."""
    known = _measured(pool, per_object)
    per_object, half = per_object[known], half[known]
    return interval_of(lambda times: cross_fitted_of(per_object, half, times, pool), len(per_object), num, seed)


def paired_cross_fitted(
    first: np.ndarray, second: np.ndarray, half: Bool[np.ndarray, " o"], pool: Pool = mean_of, num: int = NUM_DRAWS, seed: int = 0
) -> Bounds:
    """(gain, low, high) of the second method's `cross_fitted` value over the first's."""
    both = _measured(pool, first, second)
    first, second, half = first[both], second[both], half[both]

    def gain(times: Int64[np.ndarray, "d o"]) -> Float64[np.ndarray, " d"]:
        return cross_fitted_of(second, half, times, pool) - cross_fitted_of(first, half, times, pool)

    return interval_of(gain, len(first), num, seed)


def _total(values: np.ndarray, times: Int[np.ndarray, "d o"]) -> Float64[np.ndarray, "d *r"]:
    return np.tensordot(times.astype(np.float64), values.astype(np.float64), 1)


def _at(curves: Float64[np.ndarray, "d *r t"], place: Int64[np.ndarray, " d"]) -> Float64[np.ndarray, "d *r"]:
    return np.take_along_axis(curves, place.reshape(-1, *[1] * (curves.ndim - 1)), -1)[..., 0]


def _best(pool: Pool, per_object: np.ndarray) -> tuple[int, float]:
    """(place, value) of the peak of all objects' curve."""
    curve = pool(per_object, np.ones((1, len(per_object)), np.int64))
    place = int(first_highest(curve)[0])
    return place, float(curve[0, place])


def _measured(pool: Pool, *methods: np.ndarray) -> Bool[np.ndarray, " o"]:
    """Objects of which every method has something: a value that is not nan, or counts that are not all 0."""
    if len({x.shape for x in methods}) > 1:
        raise ValueError(f"The methods' values are of {[x.shape for x in methods]}; give the same objects in the same order.")
    something = [~np.isnan(x) if pool is mean_of else x != 0 for x in methods]
    return np.all([x.any(tuple(range(1, x.ndim))) for x in something], axis=0)
