"""The same tasks on a Ray cluster: this code is sent along, a worker that dies is replaced, results come as they are done.

Conventions
  As in `workers`: numbered results in any order, `Failed` where a task cannot be done or was the death of three workers,
  Unreachable raised after those in flight. The cluster's machines need the package semquery's own requirements, and must
  see files under the same paths as this machine; of this package and of eval they get copies.
  A task takes one processor, and a GPU where models run in its process and the cluster has any. A model stays in its worker
  from task to task.
"""

import importlib
import logging
import shutil
import socket
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from eval.partnet.work.workers import Failed, attempt, nobody
from semquery.labelling.asking import Unreachable

Task = TypeVar("Task")
Result = TypeVar("Result")

RETRIES = 2  # of a task whose worker died
DIED = Failed(f"its worker died {RETRIES + 1} times (out of memory, or a crash of a library)")
PATIENCE = 10.0  # seconds for a cluster's machine to answer; Ray itself waits for minutes
SHIPPED = ("eval", "semquery")


def each_on_ray(
    work: Callable[[Task], Result], tasks: Sequence[Task], address: str, gpu: bool = False, processors: int | None = None,
    died: Callable[[int], None] = nobody,
) -> Iterator[tuple[int, Result | Failed]]:
    """(number, result) of every task on the cluster at `address`: auto, ray://HOST:PORT, HOST:PORT, or local for one of its own.

    `gpu`: a task wants a GPU, where there is one. `processors` of a local cluster; all by default. `died` is told the number of each
    task that is begun again because its worker died. Raises ValueError where Ray is missing or no cluster answers.
    """
    ray = _ray()
    with connected(ray, address, processors):
        yield from _stream(ray, work, tasks, gpu, died)


def _stream(
    ray: ModuleType, work: Callable[[Task], Result], tasks: Sequence[Task], gpu: bool, died: Callable[[int], None]
) -> Iterator[tuple[int, Result | Failed]]:
    resources = ray.cluster_resources()
    gpus = int(gpu and resources.get("GPU", 0) >= 1)
    at_a_time = int(resources["GPU"] if gpus else resources.get("CPU", 1))
    remote = ray.remote(num_cpus=1, num_gpus=gpus, max_calls=0, max_retries=0)(attempt)
    waiting, running, deaths = list(range(len(tasks)))[::-1], {}, Counter[int]()
    away: Unreachable | None = None
    while running or waiting:
        while waiting and len(running) < 2 * max(at_a_time, 1):  # bounded, and yet no worker waits for this process
            k = waiting.pop()
            running[remote.remote(work, tasks[k])] = k
        (done,), _ = ray.wait(list(running), num_returns=1)
        k = running.pop(done)
        try:
            result = ray.get(done)
        except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError, ray.exceptions.ObjectLostError):
            deaths[k] += 1
            if away is None and deaths[k] <= RETRIES:
                died(k)
                waiting.append(k)
                continue
            result = DIED
        except ray.exceptions.RayTaskError as error:
            if not isinstance(error.cause, Unreachable):
                raise
            waiting, away = [], error.cause
            continue
        yield k, result
    if away is not None:
        raise away


def check_ray(address: str) -> str:
    """Which Ray there is. Raises ValueError where there is none, and where nobody answers at HOST:PORT."""
    found = f"Ray {_ray().__version__}"
    _check_answers(address)
    return found


def _check_answers(address: str) -> None:
    """Raise ValueError where nothing can be connected to at [ray://]HOST:PORT; auto and local are Ray's own business."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), PATIENCE).close()
    except (OSError, ValueError, OverflowError) as error:  # ValueError: no number, or a host that is no name
        raise ValueError(_nobody_at(address, error)) from error


def _nobody_at(address: str, error: Exception) -> str:
    return f"No Ray cluster answers at {address!r} ({_first_line(error)}); start one with `ray start --head`, or give --ray local."


def _ray() -> ModuleType:
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise ValueError('--ray needs Ray, which is not installed: pip install "semquery[ray]". --workers N needs nothing.') from None


@contextmanager
def connected(ray: ModuleType, address: str, processors: int | None) -> Iterator[None]:
    """Joined to a cluster for as long as the block runs; one that this process has joined already is used, and left as it is."""
    if ray.is_initialized():
        yield
        return
    _check_answers(address)
    with tempfile.TemporaryDirectory() as folder:
        own = {"num_cpus": processors, "include_dashboard": False} if address == "local" else {}
        try:
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False, **own, runtime_env={
                "py_modules": _copies(Path(folder)),
                "env_vars": {"TQDM_DISABLE": "1", "RAY_USAGE_STATS_ENABLED": "0"},
            })
        except Exception as error:  # Ray raises many kinds, the bare one among them
            ray.shutdown()
            raise ValueError(_nobody_at(address, error)) from error
        try:
            yield
        finally:
            ray.shutdown()


def _copies(folder: Path) -> list[str]:
    """This code, as the cluster gets it: the packages without caches, the prompts of a checkout inside the package that reads them."""
    for name in SHIPPED:
        source = Path(importlib.import_module(name).__file__ or "").parent
        shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.so", ".*"))
    prompts = Path(importlib.import_module("semquery").__file__ or "").parent.parent / "prompts"
    if prompts.is_dir():
        shutil.copytree(prompts, folder / "semquery" / "_prompts", dirs_exist_ok=True)
    return [str(folder / name) for name in SHIPPED]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
