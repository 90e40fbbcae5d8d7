"""Benchmarks: ratios of two ways of doing the same thing, taken in turn in one process; medians, no absolute promises."""

import statistics
import time
from collections.abc import Callable


def compare(ours: Callable[[], object], baseline: Callable[[], object], repeats: int = 7) -> tuple[float, float, float]:
    """Median seconds of ours and of the baseline, and the median of the paired ratios baseline / ours."""
    ours(), baseline()
    pairs = [(_seconds(ours), _seconds(baseline)) for _ in range(repeats)]
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs), statistics.median(b / a for a, b in pairs)


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
