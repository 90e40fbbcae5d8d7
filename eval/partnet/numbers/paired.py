"""Two methods on the same objects: every number of both, and the second less the first with intervals.

Notation
  o objects that both have, in one order; t thresholds; d draws of objects.
Conventions
  The same draws of objects serve both, so that what makes an object hard cancels. A curve is compared at each side's own best
  threshold held fixed, with both sought anew in every draw, and with thresholds chosen on the other half of the objects.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Int

from eval.metrics.naming import propagation
from eval.metrics.resampling import (
    Pool,
    auroc_of,
    cross_fitted,
    f1_of,
    halves,
    interval_of,
    mean_of,
    of_totals,
    paired_cross_fitted,
    paired_interval,
    paired_peaks,
)
from eval.partnet.page.results import NAN, Results, Value, at, curve


@dataclass(frozen=True)
class Side:
    """One method of one evaluation, on the common objects in the common order."""

    iou: Float64[np.ndarray, "o t"]
    counts: Float64[np.ndarray, "o 3 t"]  # TP, FP, FN
    average_precision: Float64[np.ndarray, " o"]
    top1: Float64[np.ndarray, " o"]  # share of nodes that are nearest to their own name
    propagation: Float64[np.ndarray, "o 2 2"]
    present: tuple[Float64[np.ndarray, " _"], ...]  # best relevancy of each name that the object has
    absent: tuple[Float64[np.ndarray, " _"], ...]  # … and of each that it has not


def side_of(results: Results, method: str, common: Sequence[str]) -> Side:
    """A method's numbers of the common objects. Raises ValueError where an object lacks the method."""
    entries = {entry["id"]: entry for entry in results["objects"]}
    found = [at(entries[id], "methods", method) for id in common]
    if None in found:
        lacking = common[found.index(None)]
        raise ValueError(f"{lacking} has no numbers of {method}; run `python -m eval partnet` again, which adds what is missing.")
    num_thresholds = len(results["thresholds"])
    return Side(
        np.array([_row(entry["iou"], num_thresholds) for entry in found]),
        np.array([[_row(entry[key], num_thresholds) for key in ("tp", "fp", "fn")] for entry in found]),
        curve([entry["average_precision"] for entry in found]), curve([entry["top1"] for entry in found]),
        np.array([entry["propagation"] for entry in found], np.float64),
        tuple(curve(entry["present"]) for entry in found), tuple(curve(entry["absent"]) for entry in found),
    )


def _row(values: list | None, num_thresholds: int) -> Float64[np.ndarray, " t"]:
    return curve(values) if values else np.full(num_thresholds, NAN)


# ------------------------------------------------------------------ numbers


def compared(
    first: Side, second: Side, thresholds: Float64[np.ndarray, " t"], bootstrap: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """Every difference of the second from the first, as plain values for JSON."""
    options = {"num": bootstrap, "seed": seed}
    half = halves(len(first.iou), seed)
    known = ~(np.isnan(first.iou) | np.isnan(second.iou)).any(1)
    best = [_best(mean_of(side.iou, np.ones((1, len(side.iou)), np.int64))[0]) for side in (first, second)]
    per_object = np.where(known, second.iou[:, best[1]] - first.iou[:, best[0]], NAN)
    return {
        "iou": _curves(first.iou, second.iou, mean_of, half, thresholds, options),
        "f1": _curves(first.counts, second.counts, f1_of, half, thresholds, options),
        "average_precision": _number(first.average_precision, second.average_precision, mean_of, options),
        "top1": _number(first.top1, second.top1, mean_of, options),
        "propagation": _number(first.propagation, second.propagation, of_totals(propagation), options),
        "auroc": _auroc(first, second, options),
        "per_object": [None if np.isnan(value) else round(float(value), 6) for value in per_object],
    }


def _curves(first: np.ndarray, second: np.ndarray, pool: Pool, half: np.ndarray, thresholds: np.ndarray, options: dict) -> dict[str, Any]:
    """Peaks of both curves and their difference in three ways."""
    if pool is mean_of:
        known = ~(np.isnan(first) | np.isnan(second)).any(1)
        first, second, half = first[known], second[known], half[known]
    if not len(first):
        return {"a": None, "b": None, "fixed": None, "remaximised": None, "cross_fitted": None}
    everything = np.ones((1, len(first)), np.int64)
    pooled = [pool(side, everything)[0] for side in (first, second)]
    gain = paired_peaks(first, second, pool, **options)
    peaks = [{"peak": _plain(row[_best(row)]), "at": _plain(thresholds[_best(row)]), "cross_fitted": _plain(cross_fitted(side, half, pool))}
             for row, side in zip(pooled, (first, second), strict=True)]
    return {"a": peaks[0], "b": peaks[1], "fixed": _span((gain.value, *gain.fixed)), "remaximised": _span((gain.value, *gain.maximised)),
            "cross_fitted": _span(paired_cross_fitted(first, second, half, pool, **options))}


def _number(first: np.ndarray, second: np.ndarray, pool: Pool, options: dict) -> dict[str, Any]:
    values = [_plain(pool(side, np.ones((1, len(side)), np.int64))[0]) for side in (first, second)]
    return {"a": values[0], "b": values[1], "gain": _span(paired_interval(first, second, pool, **options))}


def _auroc(first: Side, second: Side, options: dict) -> dict[str, Any]:
    """Over all objects' names together."""
    def of(side: Side, times: Int[np.ndarray, "d o"]) -> Float64[np.ndarray, " d"]:
        there, missing = (np.repeat(np.arange(len(some)), [len(row) for row in some]) for some in (side.present, side.absent))
        return auroc_of(np.concatenate(side.present), there, np.concatenate(side.absent), missing, times)

    everything = np.ones((1, len(first.iou)), np.int64)
    gain = interval_of(lambda times: of(second, times) - of(first, times), len(first.iou), **options)
    return {"a": _plain(of(first, everything)[0]), "b": _plain(of(second, everything)[0]), "gain": _span(gain)}


def _best(row: Float64[np.ndarray, " t"]) -> int:
    return int(np.argmax(np.where(np.isnan(row), -np.inf, row)))


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _span(value: Value) -> dict[str, float | None]:
    return dict(zip(("value", "low", "high"), map(_plain, value), strict=True))
