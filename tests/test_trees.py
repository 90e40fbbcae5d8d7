"""The tree evaluation: how truth reaches surface points, what the tables say, and one small run of it all."""

import json
from dataclasses import replace

import numpy as np
import pytest

from eval import report
from eval.__main__ import main
from eval.judge import Cell, Row, entry_of, row_of
from eval.metrics import TreeScores
from eval.trained import take_surface
from eval.trees import OURS, TreesConfig, measure, run_trees
from eval.truth import Truth, carry, scenes, write_truth
from semquery.fit import FitConfig
from semquery.geometry import FusionConfig
from semquery.store import Run, RunError
from semquery.types import Surface

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


# ------------------------------------------------------------------ truth


def test_points_take_the_leaf_most_of_their_pixels_show():
    random = np.random.default_rng(0)
    points = {v: np.concatenate([np.arange(12), random.integers(-1, 12, 52)]).reshape(8, 8).astype(np.int32) for v in "ab"}
    leaves = {v: random.integers(-1, 3, (8, 8)).astype(np.int32) for v in "ab"}
    assert carry(surface_of(points), leaves, 5).tolist() == slow_carry(surface_of(points), leaves)


def test_truth_of_another_resolution_is_read_at_the_same_place():
    points = {"a": np.arange(4, dtype=np.int32).reshape(2, 2)}
    leaf = np.repeat(np.repeat(np.array([[0, 1], [2, -1]], np.int32), 3, 0), 5, 1)
    assert carry(surface_of(points), {"a": leaf}, 5).tolist() == [0, 1, 2, -1]


def test_unknown_scenes_and_folders_without_objects_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no scene 'sofa'; choose from tabletop, chair"):
        scenes(("sofa",), None)
    with pytest.raises(ValueError, match=r"result\.json"):
        scenes((), tmp_path)


# ------------------------------------------------------------------ tables


def row(method=OURS, nc=0.5, scene="lamp", geometry="exact", regime="sam", seed=0, levels=(0.4, 0.6)) -> Row:
    scores = TreeScores(nc, levels, nc - 0.1, 0.7, 0.2, 0.9, 30, purity=0.8, num_hidden=0)
    return Row(Cell(scene, geometry, regime, seed), method, scores, 0.45, 0.95, 15, 9.0, 1000, 12.0)


def cells_of(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_the_gap_is_ours_minus_theirs_cell_by_cell():
    rows = [row(seed=s, nc=0.9 - 0.1 * s) for s in (0, 1)] + [row("hdbscan", seed=s, nc=0.7 - 0.1 * s) for s in (0, 1)]
    head, _, ours, theirs = cells_of(report.methods_table(rows, OURS))
    assert dict(zip(head, ours, strict=True))["NC"] == "0.850" and dict(zip(head, ours, strict=True))["gap"] == ""
    assert theirs[:4] == ["exact", "sam", "hdbscan", "2"] and theirs[-1] == "+0.200"
    assert dict(zip(head, ours, strict=True))["nodes/true"] == "2.000"


def test_intervals_are_over_scenes_not_over_seeds():
    """Seeds of one scene are no independent samples: the interval is that of the scenes' means."""
    rows = [row(scene=scene, seed=s, nc=nc) for scene, nc in (("lamp", 0.6), ("plate", 0.8)) for s in range(3)]
    head, _, ours = cells_of(report.methods_table(rows, OURS))
    assert float(dict(zip(head, ours, strict=True))["±"].strip("±")) == pytest.approx(12.706 * 0.1, abs=0.002)  # t(.975, 1) · half the spread


def test_scenes_have_a_line_each_and_levels_where_they_have_them():
    table = cells_of(report.scenes_table([row(seed=0), row(seed=1), row(scene="chair", levels=(0.1, 0.2, 0.3))]))
    assert [line[0] for line in table[2:]] == ["lamp", "chair"] and table[2][-3:] == ["0.400", "0.600", ""]


def test_trained_geometry_is_compared_level_by_level():
    rows = [row(), row(geometry="trained", levels=(0.2, 0.6)), row(scene="chair")]
    assert cells_of(report.levels_kept(rows))[2:] == [["lamp", "sam", "0.500", "1.000"]]
    assert report.levels_kept([row()]) == ""


def test_rows_survive_json_and_what_is_undefined_is_null():
    assert row_of(json.loads(json.dumps(entry_of(row())))) == row()
    hidden = row(levels=(0.5, float("nan")))
    assert json.loads(json.dumps(entry_of(hidden), allow_nan=False))["scores"]["levels"] == [0.5, None]
    assert np.isnan(row_of(entry_of(hidden)).scores.levels[1])


def test_found_parts_are_drawn_in_their_true_colour_and_missed_ones_dark():
    leaf = np.array([0, 0, 1, 1, 2, 2])
    parents, part = np.array([2, 2, 2]), np.array([0, 0, 0, 0, 1, 1])  # {0, 1} as one part, and leaf 2
    colors = np.arange(15, dtype=np.uint8).reshape(5, 3)
    shown = np.array([[0, 2, 4, -1]])
    first, second = report.level_pictures(FIVE, leaf, parents, part, shown, colors)
    assert first[0].tolist() == [colors[3].tolist()] * 2 + [colors[2].tolist(), [255] * 3]
    assert second[0].tolist() == [[45] * 3] * 3 + [[255] * 3]  # half of a node is not found


# ------------------------------------------------------------------ the whole


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    """The scissors alone, small and briefly trained, beside every rival."""
    out = tmp_path_factory.mktemp("trees")
    fit = FitConfig(steps=150, batch=512, fusion=FusionConfig(resolution=60))  # voxels no finer than the pixels
    config = TreesConfig(out, scenes=("scissors",), regimes=("exact",), seeds=(0,), baselines=("all",), size=64, num_views=14, num_heldout=3, fit=fit)
    return config, run_trees(config)


def test_with_exact_masks_a_small_scene_comes_back_and_every_rival_is_scored(small_run):
    config, rows = small_run
    ours = rows[0]
    assert ours.method == OURS and ours.scores.nc > 0.8 and ours.heldout_nc > 0.6 and ours.consistency > 0.8
    assert {r.method for r in rows[1:]} == {"flat cuts", "watershed", "hdbscan", "co-occurrence"}
    assert all(0.3 < r.scores.nc <= 1 and r.scores.num_nodes > 1 for r in rows[1:])


def test_tables_rows_and_a_picture_lie_in_the_folder(small_run):
    from PIL import Image

    config, rows = small_run
    written = json.loads((config.out / "trees.json").read_text())
    assert [row_of(entry) for entry in written] == rows and "| scissors" in (config.out / "trees.md").read_text()
    assert np.asarray(Image.open(config.out / "scissors-exact.png")).std() > 10


def test_what_was_measured_with_the_same_settings_is_kept(small_run, monkeypatch):
    config, rows = small_run
    monkeypatch.setattr("eval.trees._ours", lambda *_: pytest.fail("measured again"))
    assert run_trees(config) == rows


def test_measuring_one_rival_keeps_the_rows_of_the_others(small_run):
    config, rows = small_run
    note = config.out / "runs" / "scissors-exact-exact-0" / "rows.json"
    whole = json.loads(note.read_text())
    note.write_text(json.dumps(whole | {"rows": [entry for entry in whole["rows"] if entry["method"] != "co-occurrence"]}))
    again = measure(replace(config, baselines=("co-occurrence",)), rows[0].cell)
    assert [r.method for r in again] == [OURS, "co-occurrence"] and again[0] == rows[0]
    assert {entry["method"] for entry in json.loads(note.read_text())["rows"]} == {r.method for r in rows}


def test_a_capture_of_other_settings_is_not_mixed_in(small_run):
    config, _ = small_run
    with pytest.raises(ValueError, match="was written with"):
        run_trees(replace(config, size=32))


@pytest.mark.parametrize(("arguments", "words"), [
    (["--baselines", "lerf"], "no baseline 'lerf'; choose from flat cuts"),
    (["--scenes", "sofa"], "no scene 'sofa'"),
    (["--scenes"], "nothing to measure"),
    (["--seeds"], "--seeds is empty"),
    (["--jobs", "0"], "--jobs is 0"),
])
def test_what_cannot_be_run_is_said_in_one_sentence_before_any_work(arguments, words, tmp_path, capsys):
    assert main(["trees", "--out", str(tmp_path / "out"), *arguments]) == 2
    said = capsys.readouterr().err
    assert words in said and len(said.splitlines()) == 1 and not (tmp_path / "out").exists()


def test_a_file_is_no_folder_to_write_to(tmp_path, capsys):
    (tmp_path / "out").write_text("")
    assert main(["trees", "--out", str(tmp_path / "out")]) == 2 and "is a file" in capsys.readouterr().err


def test_the_surface_of_another_run_is_taken_over_and_strangers_refused(small_run, tmp_path):
    config, _ = small_run
    make = scenes(("scissors",), None)["scissors"]
    truth = write_truth(config.out / "scenes" / "scissors", "scissors", make, config.size, config.num_views, config.num_heldout)
    trained = config.out / "runs" / "scissors-exact-exact-0"
    run = Run(tmp_path / "run", create=True)
    take_surface(run, trained, truth)
    assert run.observed_views() == Run(trained).observed_views() and run.cameras().names == truth.cameras.names

    class Elsewhere(Truth):
        cameras = replace(truth.cameras, names=tuple(f"other_{k}" for k in range(len(truth.cameras.names))))

    with pytest.raises(RunError, match="does not have"):
        take_surface(run, trained, Elsewhere("other", tmp_path, truth.scene))
