"""On Ray's own local cluster everything is as in one process; a killed worker is replaced. Skipped where Ray is not installed."""

import importlib
import re
import socket
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import partnet_tasks
import pytest
from test_partnet_harness import SMALL, without_seconds
from test_partnet_kept import same

from eval.partnet.config import PartnetConfig
from eval.partnet.made.procedural import write_objects
from eval.partnet.readers.find import find_objects
from eval.partnet.work import cluster
from eval.partnet.work.cluster import each_on_ray
from eval.partnet.work.harness import Task, evaluate, run_partnet
from eval.partnet.work.workers import DIED, Failed
from semquery.labelling.asking import Unreachable

METHODS = ("cot", "true-names", "oracle", "random")


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    folder = tmp_path_factory.mktemp("objects")
    write_objects(folder, 2)
    return folder


@pytest.fixture(scope="module")
def ray():
    """A cluster of two processors that every test of this module joins."""
    ray = pytest.importorskip("ray")
    with ExitStack() as stack:
        for attempt in range(3):  # on a busy machine Ray gives its own processes too little time to start
            try:
                stack.enter_context(cluster.connected(ray, "local", 2))
                break
            except ValueError:
                if attempt == 2:
                    raise
        ray.cloudpickle.register_pickle_by_value(partnet_tasks)  # the workers do not know the folder of the tests
        yield ray


def test_records_are_those_of_one_process_though_a_worker_dies_in_the_middle(ray, objects, tmp_path):
    config = PartnetConfig(objects, methods=METHODS, pictures=SMALL)
    tasks = [Task(reference, config, METHODS, ("wing", "tail")) for reference in find_objects(objects)]
    here = [without_seconds(evaluate(task)) for task in tasks]
    dying = [replace(task, folder=tmp_path / "answers") for task in tasks]
    there = dict(each_on_ray(partnet_tasks.evaluate_but_die_once, dying, "local"))
    assert (tmp_path / "answers" / "died").exists()
    assert all(same(without_seconds(there[k]), here[k]) for k in range(2))


def test_a_task_that_cannot_be_done_and_one_that_kills_every_worker_are_results(ray, tmp_path):
    assert dict(each_on_ray(partnet_tasks.odd_only, [1, 2], "local")) == {0: 1, 1: Failed("2 is even; give an odd number.")}
    told = []
    found = dict(each_on_ray(partnet_tasks.killed_at_two, [(k, str(tmp_path)) for k in range(5)], "local", died=told.append))
    assert told.count(4) == cluster.RETRIES
    assert found == {0: 0, 1: 1, 2: 4, 3: 9, 4: cluster.DIED} and cluster.DIED != DIED


def test_when_the_model_is_away_what_is_done_comes_first(ray):
    found = []
    with pytest.raises(Unreachable, match="nobody answers"):
        for one in each_on_ray(partnet_tasks.away_at_two, range(40), "local"):
            found.append(one)
    assert {(0, 0), (1, 1)} <= set(found) and len(found) < 10


def test_a_bug_is_no_broken_object(ray):
    with pytest.raises(KeyError, match="a bug"):
        list(each_on_ray(partnet_tasks.buggy, [1], "local"))


def test_the_command_gives_the_same_numbers(ray, objects, tmp_path, monkeypatch):
    monkeypatch.setattr("eval.partnet.page.report.write_report", lambda out: out / "report.html")
    config = PartnetConfig(objects, tmp_path / "here", methods=METHODS, pictures=SMALL, bootstrap=10)
    here, there = (run_partnet(c) for c in (config, replace(config, out=tmp_path / "there", ray="local")))
    assert here["scores"] == there["scores"] and here["naming"] == there["naming"] and here["absent"] == there["absent"]


# ------------------------------------------------------------------ without a cluster


def test_without_ray_the_extra_is_named(monkeypatch, tmp_path, objects):
    def absent(name):
        raise ImportError(name)
    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(ValueError, match=r'pip install "semquery\[ray\]"'):
        list(each_on_ray(partnet_tasks.square, [1], "auto"))


def test_what_is_sent_along_can_be_imported_and_has_the_prompts(tmp_path):
    folders = [Path(folder) for folder in cluster._copies(tmp_path)]
    assert [folder.name for folder in folders] == ["eval", "semquery"]
    assert (tmp_path / "eval" / "partnet" / "work" / "harness.py").exists() and (tmp_path / "semquery" / "__init__.py").exists()
    assert (tmp_path / "semquery" / "_prompts" / "negatives.txt").exists() and list((tmp_path / "eval" / "partnet" / "prompts").iterdir())
    assert not list(tmp_path.rglob("__pycache__")) and sum(path.stat().st_size for path in tmp_path.rglob("*")) < 20e6


@pytest.mark.parametrize("address", ["127.0.0.1:{}", "ray://127.0.0.1:{}", "127.0.0.1:port", "no host:1", "127.0.0.1:99999999"])
def test_where_nobody_listens_ray_is_not_waited_for(monkeypatch, address):
    class Waiting:
        __version__, is_initialized = "2", staticmethod(lambda: False)
        init = staticmethod(lambda *_, **__: pytest.fail("Ray would wait for minutes"))
    monkeypatch.setattr(cluster, "_ray", lambda: Waiting)
    with socket.socket() as taken:  # bound, so that nobody else listens there, and not listening
        taken.bind(("127.0.0.1", 0))
        given = address.format(taken.getsockname()[1])
        for ask in (lambda: cluster.check_ray(given), lambda: list(each_on_ray(partnet_tasks.square, [1], given))):
            with pytest.raises(ValueError, match=rf"No Ray cluster answers at '{re.escape(given)}' \(.+\); start one"):
                ask()
    assert cluster.check_ray("auto") == "Ray 2"


def test_no_cluster_at_an_address_is_said(monkeypatch):
    class Away:
        is_initialized, shutdown = (staticmethod(lambda: False) for _ in range(2))

        @staticmethod
        def init(*_, **__):
            raise ConnectionError("Could not find any running Ray instance.\nMore.")
    monkeypatch.setattr(cluster, "_ray", lambda: Away)
    with pytest.raises(ValueError, match=r"No Ray cluster answers at 'auto' \(Could not find any running Ray instance.\); start one"):
        list(each_on_ray(partnet_tasks.square, [1], "auto"))
