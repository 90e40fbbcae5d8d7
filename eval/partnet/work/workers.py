"""Many tasks in several processes: a few in flight, results as they come, a process that dies takes nobody with it.

Conventions
  `work` is a module's own function of one task, both can be pickled; it raises ValueError where its task cannot be done, which
  is a result too (`Failed`), and Unreachable where none can be done: then no new task is begun, those in flight come to
  their end and are handed over, and the error is raised after them.
  Results come in the order in which they are done, each with the number of its task.
"""

import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import active_children, get_context
from typing import TypeVar

from semquery.labelling.asking import Unreachable

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Failed:
    """A task that cannot be done."""

    reason: str


DIED = Failed("its process died twice (out of memory, or a crash of a library): it was begun again in a process of its own, in vain")


def attempt(work: Callable[[Task], Result], task: Task) -> Result | Failed:
    """The result, or why there is none. Raises Unreachable where no other task could be done either."""
    try:
        return work(task)
    except Unreachable:
        raise
    except ValueError as error:
        return Failed(str(error))


def nobody(k: int) -> None:
    """Told of a death, says nothing."""


def each(
    work: Callable[[Task], Result], tasks: Sequence[Task], workers: int = 1, died: Callable[[int], None] = nobody
) -> Iterator[tuple[int, Result | Failed]]:
    """(number, result) of every task: one after another in this process, or in `workers` processes on one thread each.

    `died` is told the number of each task that is begun again because a process died.
    """
    if workers == 1:
        yield from ((k, attempt(work, task)) for k, task in enumerate(tasks))
        return
    waiting, suspects = deque(range(len(tasks))), list[int]()
    while waiting:
        yield from _until_one_dies(work, tasks, waiting, suspects, min(workers, len(tasks)))
    for k in suspects:  # one of those in flight was the death of their process: alone, it can only harm itself
        died(k)
        yield k, _alone(work, tasks[k])


def _until_one_dies(
    work: Callable[[Task], Result], tasks: Sequence[Task], waiting: deque[int], suspects: list[int], workers: int
) -> Iterator[tuple[int, Result | Failed]]:
    """Results of the tasks that wait, until all are done or the pool is broken; tasks that were in flight then become suspects."""
    running: dict[Future, int] = {}
    away: Unreachable | None = None
    with _pool(workers) as pool:
        while running or waiting:
            while waiting and len(running) <= workers:  # one more than can run, so that none waits for this process
                if (future := _submitted(pool, work, tasks[waiting[0]])) is None:
                    suspects += sorted(running.values())
                    return
                running[future] = waiting.popleft()
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                k = running.pop(done)
                try:
                    result = done.result()
                except BrokenProcessPool:
                    suspects += sorted([k, *running.values()])
                    return
                except Unreachable as error:
                    waiting.clear()
                    away = error
                    continue
                yield k, result
    if away is not None:
        raise away


def _submitted(pool: ProcessPoolExecutor, work: Callable[[Task], Result], task: Task) -> Future | None:
    """None where the pool is broken already."""
    try:
        return pool.submit(attempt, work, task)
    except BrokenProcessPool:
        return None


def _alone(work: Callable[[Task], Result], task: Task) -> Result | Failed:
    with _pool(1) as pool:
        try:
            return pool.submit(attempt, work, task).result()
        except BrokenProcessPool:
            return DIED


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool that waits for its tasks at the end, and is killed with them where the block is left by an exception."""
    others = set(active_children())
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _quiet_on_one_thread)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in set(active_children()) - others:
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _quiet_on_one_thread() -> None:
    """Several processes on few cores: more threads than cores slow all of them down. Ctrl-C is the first process's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ |= {"TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1"}  # torch reads the second when it is imported
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
