"""The tree evaluation: how truth reaches surface points, what the table says, and one small run of it all."""

import json
from dataclasses import replace

import numpy as np
import pytest

from eval.metrics import TreeScores
from eval.trees import Row, TreesConfig, carry, run_trees, score_surface, table, take_surface
from semquery.fit import FitConfig
from semquery.geometry import FusionConfig
from semquery.scene import read_scene
from semquery.store import Run, RunError
from semquery.types import PartTree, Surface

FIVE = np.array([3, 3, 4, 4, 4])  # root 4 over group 3 = {0, 1} and leaf 2


def surface_of(point_of_pixel: dict) -> Surface:
    n = 1 + max(int(p.max()) for p in point_of_pixel.values())
    zeros = np.zeros((n, 3), np.float32)
    return Surface(zeros, zeros, zeros.astype(np.uint8), np.zeros((n, 0), np.float16), np.zeros(n, np.int32), 0.01, point_of_pixel)


def slow_carry(surface, leaves):
    """The most frequent leaf among each point's pixels, one pixel at a time."""
    shown = [[] for _ in surface.points]
    for view, point in surface.point_of_pixel.items():
        for index in np.ndindex(point.shape):
            if point[index] >= 0:
                shown[point[index]].append(leaves[view][index])
    return [max(sorted(set(s), key=lambda leaf: (leaf < 0, leaf)), key=s.count, default=None) for s in shown]


def test_points_take_the_leaf_most_of_their_pixels_show():
    random = np.random.default_rng(0)
    points = {v: np.concatenate([np.arange(12), random.integers(-1, 12, 52)]).reshape(8, 8).astype(np.int32) for v in "ab"}
    leaves = {v: random.integers(-1, 3, (8, 8)).astype(np.int32) for v in "ab"}
    assert carry(surface_of(points), leaves, 5).tolist() == slow_carry(surface_of(points), leaves)


def test_truth_of_another_resolution_is_read_at_the_same_place():
    points = {"a": np.arange(4, dtype=np.int32).reshape(2, 2)}
    leaf = np.repeat(np.repeat(np.array([[0, 1], [2, -1]], np.int32), 3, 0), 5, 1)
    assert carry(surface_of(points), {"a": leaf}, 5).tolist() == [0, 1, 2, -1]


def test_the_true_tree_over_its_own_points_scores_one():
    points = {"a": np.arange(6, dtype=np.int32).reshape(2, 3)}
    leaf = np.array([[0, 0, 1], [2, 2, 1]], np.int32)
    parts = PartTree(FIVE.astype(np.int32), np.zeros(5, np.float32), leaf.ravel(), np.zeros((0, 3), np.int32), np.zeros(0, np.float32))
    scores = score_surface(FIVE, surface_of(points), {"a": leaf}, parts)
    assert scores.nc == scores.recall75 == scores.precision50 == 1


def test_the_table_has_a_line_a_row_and_a_mean_over_seeds():
    scores = TreeScores(0.5, (0.4, 0.6), 0.4, 0.7, 0.2, 0.9, 30)
    rows = [Row("sam", "exact", 0, scores, 9.0, 1000, 10.0), Row("sam", "exact", 1, replace(scores, nc=0.7), 9.0, 1000, 12.0)]
    lines = [line.split() for line in table(rows).splitlines()]
    assert lines[0][:7] == ["masks", "geometry", "seed", "m/view", "NC", "L1", "L2"]
    assert [line[4] for line in lines[1:]] == ["0.500", "0.700", "0.600"] and lines[3][2] == "mean"


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    """The microwave alone, small and briefly trained."""
    out = tmp_path_factory.mktemp("trees")
    fit = FitConfig(steps=150, batch=512, fusion=FusionConfig(resolution=60))  # voxels no finer than the pixels
    config = TreesConfig(out, regimes=("exact",), size=64, num_views=12, objects=("microwave",), fit=fit)
    return config, run_trees(config)


def test_with_exact_masks_a_small_scene_comes_back(small_run):
    config, rows = small_run
    assert rows[0].scores.nc > 0.7 and min(rows[0].scores.levels[:2]) > 0.8
    written = json.loads((config.out / "trees.json").read_text())
    assert written[0]["regime"] == "exact" and written[0]["scores"]["nc"] == rows[0].scores.nc


def test_the_surface_of_another_run_is_taken_over_and_strangers_refused(small_run, tmp_path):
    config, _ = small_run
    trained = Run(config.out / "runs" / "exact-exact-0")
    cameras = read_scene(config.out / "scene")
    run = Run(tmp_path / "run", create=True)
    take_surface(run, trained, cameras)
    assert run.observed_views() == trained.observed_views() and run.cameras().names == trained.cameras().names
    with pytest.raises(RunError, match="does not have"):
        take_surface(run, trained, replace(cameras, names=tuple(f"other_{k}" for k in range(len(cameras.names)))))
