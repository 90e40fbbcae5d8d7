"""Objects' numbers pooled: curves with their peaks, shares with intervals, groups, differences of methods.

Notation
  o objects, t thresholds, d draws.
Conventions
  Everything is drawn by whole objects; the same draws serve every method and variant, so that differences are paired.
  A span is {"value", "low", "high"}. Shares of nodes weigh objects alike, but for counts that are added up first
  (propagation, recovery, hierarchical precision and recall, repeated names, absent names).
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64

from eval.metrics.naming import Calibration, accuracy_by_depth, propagation, recovery
from eval.metrics.resampling import (
    Bounds,
    Pool,
    auroc_of,
    cross_fitted,
    curve_interval,
    f1_of,
    halves,
    interval_of,
    mean_of,
    of_totals,
    paired_cross_fitted,
    paired_interval,
    paired_peaks,
    peak_interval,
    pooled_interval,
    ratio_of,
)
from eval.metrics.retrieval import THRESHOLDS, area_under, f1, known_mean, width
from eval.partnet.numbers.measured import (
    PIXELS,
    SIZES,
    Floors,
    Measured,
    MeasuredMethod,
    Naming,
    Retrieval,
    groups_of_nodes,
    groups_of_queries,
)

Numbers = dict[str, Any]
ORDER = {"size": [name for _, name in SIZES], "pixels": [name for _, name in PIXELS], "repeated": ["single", "several"]}


@dataclass(frozen=True)
class Draws:
    """Which draws of objects stand behind every interval."""

    num_objects: int
    num: int
    seed: int

    @property
    def half(self) -> Bool[np.ndarray, " o"]:
        """The objects on which thresholds for the others are chosen, and the other way round."""
        return halves(self.num_objects, self.seed)

    @property
    def options(self) -> dict[str, int]:
        return {"num": self.num, "seed": self.seed}

    def span(self, per_object: np.ndarray, pool: Pool = mean_of) -> Numbers:
        """One number pooled over objects, with its interval."""
        return span(pooled_interval(per_object, pool, **self.options))


def span(bounds: Bounds) -> Numbers:
    return dict(zip(("value", "low", "high"), bounds, strict=True))


# ------------------------------------------------------------------ retrieval


def score_of(found: Sequence[Retrieval | None], draws: Draws, bands: bool = False) -> Numbers | None:
    """Everything of one method and variant; None where it was not asked of every object. `bands`: with bounds at every threshold."""
    if any(one is None for one in found):
        return None
    known = [one for one in found if one is not None]
    iou, counts = np.stack([one.iou for one in known]), np.stack([one.counts for one in known])
    measured, with_f1 = (np.array([getattr(one, name) for one in known])[:, None] for name in ("num_measured", "num_f1"))
    summed = np.stack([np.nan_to_num(iou) * measured, np.broadcast_to(measured, iou.shape)], axis=1)
    f1_sums = np.stack([one.f1_sum for one in known])
    precisions = np.array([[one.precision_sum, one.num_precision] for one in known])
    return {
        "objects": int((measured > 0).sum()), "queries": sum(one.num_queries for one in known),
        "nodes": sum(one.num_nodes for one in known), "unmeasured": sum(one.num_queries - one.num_measured for one in known),
        "iou": curve(iou, mean_of, draws, bands), "iou_over_queries": curve(summed, ratio_of, draws),
        "f1": curve(counts, f1_of, draws, bands), "f1_over_objects": curve(f1(*counts.transpose(1, 0, 2)), mean_of, draws),
        "f1_over_queries": curve(np.stack([f1_sums, np.broadcast_to(with_f1, f1_sums.shape)], axis=1), ratio_of, draws),
        "average_precision": draws.span(np.array([one.average_precision for one in known])),
        "average_precision_over_queries": float(ratio_of(precisions, np.ones((1, len(known)), np.int64))[0]),
    }


def curve(per_object: np.ndarray, pool: Pool, draws: Draws, bands: bool = False) -> Numbers:
    """The curve of all objects over the threshold, its peak, and how far that flatters."""
    everyone = np.ones((1, draws.num_objects), np.int64)
    if bands:
        values, low, high = curve_interval(per_object, pool, **draws.options)
    else:
        values, low, high = pool(per_object, everyone)[0], None, None
    top = peak_interval(per_object, THRESHOLDS, pool, **draws.options)
    return {
        "curve": values, "low": low, "high": high, "peak": top.value, "at": top.threshold, "moved": top.moved,
        "fixed": span((top.value, *top.fixed)), "remaximised": span((top.value, *top.maximised)),
        "cross_fitted": cross_fitted(per_object, draws.half, pool), "area": float(area_under(values)), "width": width(values),
    }


def floors(found: Sequence[Floors]) -> Numbers:
    """The curves of doing nothing, pooled as the headlines are: IoU over objects, F1 over everything."""
    counts = np.sum([one.all_counts for one in found], axis=0)
    chance = np.sum([one.random_counts for one in found], axis=0)
    return {
        "retrieve-all": {"iou": np.full(len(THRESHOLDS), known_mean(np.array([one.all_iou for one in found]))),
                         "f1": np.full(len(THRESHOLDS), f1(*counts))},
        "random": {"iou": known_mean(np.stack([one.random_iou for one in found])), "f1": f1(*chance)},
    }


# ------------------------------------------------------------------ names


def naming(things: Sequence[Measured], method: str, draws: Draws) -> Numbers:
    """Label quality without thresholds."""
    found = [thing.methods[method].naming for thing in things]

    def share(values: Callable[[Any], np.ndarray | None]) -> Numbers | None:
        each = [values(one) for one in found]
        return None if any(value is None for value in each) else draws.span(np.array([value.mean() for value in each if value is not None]))

    counts = np.stack([one.counts for one in found])
    repeats = [one.repeats for one in found]
    return {
        "top1": share(lambda one: one.right), "path": share(lambda one: one.path),
        "reciprocal_rank": share(lambda one: one.reciprocal_rank),
        "hierarchical": _hierarchical(np.array([one.hierarchical for one in found]), draws), "by_depth": _by_depth(things, found),
        "propagation": draws.span(counts, of_totals(propagation)), "recovery": draws.span(counts, of_totals(recovery)),
        "counts": counts.sum(0),
        "exact": share(lambda one: one.exact), "synonym": share(lambda one: one.synonym),
        "parent_repeat": None if None in repeats else draws.span(np.array(repeats, float), ratio_of),
    }


def _by_depth(things: Sequence[Measured], found: Sequence[Naming]) -> list[Numbers]:
    shares, number = accuracy_by_depth(np.concatenate([one.right for one in found]), np.concatenate([thing.depth for thing in things]))
    return [{"depth": k, "nodes": int(n), "top1": float(value)} for k, (n, value) in enumerate(zip(number, shares, strict=True))]


def _hierarchical(counts: np.ndarray, draws: Draws) -> Numbers:
    """Precision, recall and F of (shared, said, true) counts."""
    parts = {"precision": counts[:, [0, 1]], "recall": counts[:, [0, 2]],
             "f1": np.stack([2 * counts[:, 0], counts[:, 1] + counts[:, 2]], axis=1)}
    return {name: draws.span(pair, ratio_of) for name, pair in parts.items()}


def absent(found: Sequence[MeasuredMethod], at: Sequence[float], draws: Draws) -> Numbers:
    """How well names that an object has are told from names it has not; `at`: the best thresholds of mIoU and of F1."""
    def answered(threshold: float) -> Numbers:
        return draws.span(np.array([[(one.absent > threshold).sum(), len(one.absent)] for one in found], float), ratio_of)
    auroc = span(interval_of(auroc_statistic(found), len(found), **draws.options))
    return {"auroc": auroc, "at_iou": answered(at[0]), "at_f1": answered(at[1])}


def auroc_statistic(found: Sequence[MeasuredMethod]) -> Callable[[np.ndarray], Float64[np.ndarray, " d"]]:
    """AUROC of all objects' names together, for any draws of objects."""
    present, missing = ([getattr(one, name) for one in found] for name in ("present", "absent"))
    of_present, of_absent = (np.repeat(np.arange(len(found)), [len(values) for values in side]) for side in (present, missing))
    return lambda times: auroc_of(np.concatenate(present), of_present, np.concatenate(missing), of_absent, times)


def calibrations(found: Sequence[MeasuredMethod]) -> Numbers:
    """Of relevancies, and of the confidence in names where a method tells any."""
    confident = [one.confidence for one in found if one.confidence is not None]
    of_names = calibration_table(confident) if confident else None
    return {"relevancy": calibration_table([one.relevancy for one in found]), "confidence": of_names}


def calibration_table(found: Sequence[Calibration]) -> Numbers:
    """Bins of many objects together, and the expected calibration error of them."""
    count = np.sum([one.count for one in found], axis=0)
    said, came = (np.sum([np.nan_to_num(getattr(one, name)) * one.count for one in found], axis=0) for name in ("stated", "found"))
    filled = np.maximum(count, 1)
    edges = np.arange(len(count) + 1) / len(count)
    said_of, came_of = (np.where(count > 0, values / filled, np.nan) for values in (said, came))
    names = ("low", "high", "count", "said", "came")
    rows = [dict(zip(names, row, strict=True)) for row in zip(edges[:-1], edges[1:], count, said_of, came_of, strict=True)]
    return {"ece": float(np.abs(said - came).sum() / count.sum()) if count.sum() else float("nan"), "bins": rows}


# ------------------------------------------------------------------ groups, differences, cost


def breakdowns(things: Sequence[Measured], method: str, threshold: float) -> dict[str, list[Numbers]]:
    """Mean IoU of queries at one threshold, and the share of nodes named rightly, by what they are like."""
    column = int(np.searchsorted(THRESHOLDS, threshold)) if np.isfinite(threshold) else 0
    iou = np.concatenate([thing.methods[method].query_iou[:, column] for thing in things]).astype(np.float64)
    right = np.concatenate([thing.methods[method].naming.right for thing in things]).astype(np.float64)
    queries, nodes = ([group(thing) for thing in things] for group in (groups_of_queries, groups_of_nodes))
    owner = np.repeat(np.arange(len(things)), [len(thing.query_share) for thing in things])
    found: dict[str, list[Numbers]] = {}
    for kind in nodes[0]:
        of_query, of_node = (np.array([key for one in side for key in one[kind]], object) for side in (queries, nodes))
        found[kind] = [_group(key, of_query == key, of_node == key, iou, right, owner) for key in _in_order(kind, {*of_query, *of_node})]
    return found


def _group(key: str, asked: np.ndarray, node: np.ndarray, iou: np.ndarray, right: np.ndarray, owner: np.ndarray) -> Numbers:
    return {"key": key, "queries": int(asked.sum()), "objects": len(np.unique(owner[asked])), "iou": float(known_mean(iou[asked])),
            "nodes": int(node.sum()), "top1": float(known_mean(right[node]))}


def _in_order(kind: str, keys: set[str]) -> list[str]:
    if kind in ORDER:
        return [key for key in ORDER[kind] if key in keys]
    return sorted(keys, key=lambda key: (int(key), key) if key.isdecimal() else (0, key))


def differences(first: Sequence[MeasuredMethod], second: Sequence[MeasuredMethod], variant: str, draws: Draws) -> Numbers:
    """By how much the second method is better than the first, on the same draws of the same objects."""
    def both(value: Callable[[MeasuredMethod], Any]) -> tuple[np.ndarray, np.ndarray]:
        return np.array([value(one) for one in first]), np.array([value(one) for one in second])

    def single(value: Callable[[MeasuredMethod], Any], pool: Pool = mean_of) -> Numbers:
        return span(paired_interval(*both(value), pool, **draws.options))

    ours, theirs = auroc_statistic(second), auroc_statistic(first)
    return {
        "iou": _peaks(*both(lambda one: one.retrieval[variant].iou), mean_of, draws),
        "f1": _peaks(*both(lambda one: one.retrieval[variant].counts), f1_of, draws),
        "average_precision": single(lambda one: one.retrieval[variant].average_precision),
        "top1": single(lambda one: one.naming.right.mean()), "propagation": single(lambda one: one.naming.counts, of_totals(propagation)),
        "auroc": span(interval_of(lambda times: ours(times) - theirs(times), len(first), **draws.options)),
    }


def _peaks(first: np.ndarray, second: np.ndarray, pool: Pool, draws: Draws) -> Numbers:
    gain = paired_peaks(first, second, pool, **draws.options)
    return {"fixed": span((gain.value, *gain.fixed)), "remaximised": span((gain.value, *gain.maximised)),
            "cross_fitted": span(paired_cross_fitted(first, second, draws.half, pool, **draws.options))}


def costs(things: Sequence[Measured], method: str) -> Numbers:
    """What the method's answers took together."""
    spent = [asdict(thing.methods[method].cost) for thing in things]
    total = {name: sum(one[name] for one in spent) for name in spent[0]}
    return {**total, "objects": len(things), "nodes": sum(len(thing.parents) for thing in things)}
