"""Work for the tests of processes and clusters: functions that other processes can import."""

import os
import signal
import time
from pathlib import Path

from semquery.labelling.asking import Unreachable


def square(task: int) -> int:
    return task * task


def odd_only(task: int) -> int:
    if task % 2 == 0:
        raise ValueError(f"{task} is even; give an odd number.")
    return task


def away_at_two(task: int) -> int:
    if task == 2:
        raise Unreachable("nobody answers")
    return task


def killed_at_two(task: tuple[int, str]) -> int:
    """The first process that takes number 2 is killed, and every one that takes number 4; (number, folder for a marker)."""
    number, marker = task[0], Path(task[1]) / "killed"
    if number == 4 or number == 2 and not marker.exists():
        marker.write_text("")
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def evaluate_but_die_once(task):
    """`evaluate`, in the middle of which the first process that sees this object dies."""
    from eval.partnet.work.harness import evaluate

    assert task.folder is not None
    marker = task.folder / "died"
    if not marker.exists():
        task.folder.mkdir(parents=True, exist_ok=True)
        marker.write_text("")
        os._exit(1)
    return evaluate(task)


def buggy(task: int) -> int:
    raise KeyError("a bug")
