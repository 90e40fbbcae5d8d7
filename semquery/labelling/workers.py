"""Doing the parts of a tree in order, several at a time: a part is done once those it waits for are.

Among the parts that may be done, the first by rank goes first. So one worker goes exactly in the order of the
ranks (as far as parts do not wait), which is what caches of the path to a part want.
"""

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

GRACE = 3.0  # seconds that an interruption waits for what is already under way


def run_in_order(
    starts: Iterable[int], after: Mapping[int, Sequence[int]], rank: Mapping[int, int], work: Callable[[int], None], workers: int = 1
) -> None:
    """`work(part)` for the starts and for everything that becomes ready; `after[part]` become ready when a part is done.

    The first exception ends it: nothing more is started, and what is under way is waited for (an interruption waits
    only a little; a late worker still finishes its part).
    """
    ready = [(rank[part], part) for part in starts]
    heapq.heapify(ready)
    if workers <= 1:
        while ready:
            _, part = heapq.heappop(ready)
            work(part)
            _push(ready, after.get(part, ()), rank)
        return
    pool, running = ThreadPoolExecutor(workers, thread_name_prefix="label"), {}
    try:
        while ready or running:
            while ready and len(running) < workers:
                _, part = heapq.heappop(ready)
                running[pool.submit(work, part)] = part
            _collect(running, ready, after, rank)
    except KeyboardInterrupt:
        wait(running, timeout=GRACE)
        raise
    finally:
        pool.shutdown(wait=not running, cancel_futures=True)


def _collect(running: dict[Future, int], ready: list[tuple[int, int]], after: Mapping[int, Sequence[int]], rank: Mapping[int, int]) -> None:
    """Wait for one part at least; what waited for it becomes ready. Raises what a worker raised, when all are back."""
    done, _ = wait(running, return_when=FIRST_COMPLETED)
    for future in done:
        if future.exception() is not None:
            if not isinstance(future.exception(), KeyboardInterrupt):
                wait(running)
            future.result()
        _push(ready, after.get(running.pop(future), ()), rank)


def _push(ready: list[tuple[int, int]], parts: Iterable[int], rank: Mapping[int, int]) -> None:
    for part in parts:
        heapq.heappush(ready, (rank[part], part))
