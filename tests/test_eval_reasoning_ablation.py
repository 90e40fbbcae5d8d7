"""The ablation of MLLM-For3D: what is asked, what a setting makes of it, and the table."""

import json
from dataclasses import replace

import numpy as np
import pytest
from desk import COLORS, desk_cameras, desk_surface
from helpers import part_tree
from PIL import Image

from eval.reasoning import ablation
from eval.reasoning.ablation import ALIKE, FULL, OURS, SETTINGS, AblationConfig, Answer, per_query, report, run_ablation
from eval.reasoning.ablation_scene import Asked, Found, Setting, answer_all, iou_of, named_targets, spoiled
from semquery.lifting.head import DistillConfig

EXACT = Setting("exact", 3, ALIKE, learned=False)
QUERIES = {"left knob": frozenset({0}), "right knob": frozenset({1}), "plate": frozenset({2}), "panel": frozenset({3})}


@pytest.fixture
def desk(tmp_path) -> Asked:
    """A panel with two knobs above a plate, seen by three cameras; its features tell parts apart, but for noise."""
    surface, part = desk_surface()
    random = np.random.default_rng(0)
    features = np.eye(8)[part] + 0.1 * random.normal(size=(len(part), 8))
    surface = replace(surface, features=(features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float16))
    truth = {view: np.append(part, -1)[grid].astype(np.int32) for view, grid in surface.point_of_pixel.items()}
    for view, leaf in truth.items():
        Image.fromarray(np.append(COLORS, [[255] * 3], 0).astype(np.uint8)[leaf]).save(tmp_path / f"{view}.png")
    cameras = replace(desk_cameras(), images=tuple(str(tmp_path / f"{view}.png") for view in truth))
    return Asked(surface, part_tree([3, 3, 4, 4, 4], part), cameras, truth, QUERIES, part.astype(np.int32))


# ------------------------------------------------------------------ what is asked


def test_a_query_means_all_parts_of_its_name_down_to_their_leaves():
    """Leaves 0 1 2 3; 4 = {0, 1} and 5 = {2} are both called "arm", 6 is all; leaf 3 is a speck."""
    names, parents = ("hand", "cuff", "hand", "screw", "arm", "arm", "robot"), np.array([4, 4, 5, 6, 6, 6, 6])
    leaf = np.repeat([0, 1, 2, 3, -1], [300, 200, 100, 1, 400])
    targets = named_targets(names, parents, leaf, 10)
    assert targets == {"hand": frozenset({0, 2}), "cuff": frozenset({1})}  # the arms and the robot are most of it, the screw is too small
    assert named_targets(names, parents, np.append(leaf, np.full(900, -1)), 10)["arm"] == frozenset({0, 1, 2})
    assert list(named_targets(names, parents, leaf, 1)) == ["cuff"] and named_targets(names, parents, leaf[:0], 5) == {}


def test_two_names_with_one_answer_are_one_query():
    assert named_targets(("lid", "cover", "pot"), np.array([1, 2, 2]), np.repeat([0, -1], [10, 50]), 5) == {"lid": frozenset({0})}


# ------------------------------------------------------------------ what is answered


def test_exact_masks_in_all_views_are_right_everywhere_they_see(desk):
    """What no view sees stays unanswered: that, and no more, is missing."""
    seen = np.zeros(len(desk.surface.points), bool)
    for grid in desk.surface.point_of_pixel.values():
        seen[grid[grid >= 0]] = True
    found = answer_all(desk, EXACT, spoiled(desk, 0.0, 0.0, 0), DistillConfig(steps=1), 0)
    assert [f.query for f in found] == list(QUERIES) and all(f.best == 1.0 for f in found if f.query != "panel")
    for f in found:
        meant = desk.target(f.query)
        assert np.isclose(f.iou, (meant & seen).sum() / meant.sum())
        assert f.snapped >= 0.99 or f.query == "panel"  # the panel without its knobs is no union of parts


def test_a_view_that_means_something_else_costs_less_when_views_are_weighed(desk):
    """Summed over seeds: in each, one of three views means another part for each query."""
    def mean(setting: Setting) -> float:
        found = [answer_all(desk, setting, spoiled(desk, 1 / 3, 0.0, seed), DistillConfig(), seed) for seed in range(4)]
        return float(np.mean([f.iou for each in found for f in each]))

    assert mean(Setting("ours", 3, OURS, learned=False)) > mean(Setting("alike", 3, ALIKE, learned=False))


@pytest.mark.parametrize("setting", [Setting("head", 3), Setting("vector", 3, ALIKE, token_for_query=False), Setting("flat", 3, spatial=False)])
def test_a_head_answers_for_points_that_no_view_shows(desk, setting):
    unseen = np.ones(len(desk.surface.points), bool)
    for grid in desk.surface.point_of_pixel.values():
        unseen[grid[grid >= 0]] = False
    assert unseen.any()
    learned = answer_all(desk, setting, spoiled(desk, 0.0, 0.0, 0), DistillConfig(steps=60), 0)
    assert min(f.iou for f in learned) > 0.97


def test_the_same_seed_gives_the_same_answers(desk):
    found = [answer_all(desk, Setting("head", 2), spoiled(desk, 0.5, 2.0, seed), DistillConfig(steps=5), seed) for seed in (3, 3, 4)]
    assert found[0] == found[1] != found[2]


def test_views_that_all_see_nothing_answer_nothing(desk):
    nowhere = replace(desk, truth={view: np.full_like(leaf, -1) for view, leaf in desk.truth.items()})
    for setting in (EXACT, Setting("head", 3)):
        found = answer_all(nowhere, setting, spoiled(nowhere, 0.0, 0.0, 0), DistillConfig(steps=2), 0)
        assert all(f.iou == 0 and f.snapped == 0 for f in found) and len(found) == 4


def test_overlap_by_hand():
    assert iou_of(np.array([True, True, False, False]), np.array([False, True, True, False])) == pytest.approx(1 / 3)


# ------------------------------------------------------------------ the table


def answers(iou: dict[str, tuple[float, float]]) -> list[Answer]:
    """Two scenes with a query each; the second seed of every one is right by .1 more."""
    return [Answer(scene, seed, name, Found("leg", value + 0.1 * seed, 0.9, 1.0)) for name, values in iou.items()
            for scene, value in zip(("lamp", "chair"), values, strict=True) for seed in (0, 1)]


def test_seeds_are_averaged_before_queries_and_differences_are_paired(tmp_path):
    rows = answers({FULL: (0.5, 0.2), "projection only": (0.4, 0.1)})
    np.testing.assert_allclose(per_query(rows, FULL), [[0.55, 0.9, 1.0, 0.5], [0.25, 0.9, 0.5, 0.0]])
    text = report(rows, AblationConfig(tmp_path, seeds=(0, 1)))
    cells = {line.split("|")[1].strip(): [c.strip() for c in line.split("|")[2:-1]] for line in text.splitlines() if line.startswith("|")}
    assert cells["projection only"][:5] == ["19.75", "0.300", "0.150 to 0.450", "-0.100", "-0.100 to -0.100"]
    assert cells[FULL][3:5] == ["", ""] and cells[FULL][7:9] == ["0.900", "+0.500"] and "2 queries on 2 scenes, 2 seeds" in text


def test_the_papers_rows_are_there_and_switch_one_thing_each():
    by_paper = sorted((s for s in SETTINGS if s.paper), key=lambda s: s.paper)
    assert [s.paper for s in by_paper] == [19.75, 20.93, 21.02, 21.30, 23.50, 23.90] and by_paper[-1].name == FULL
    full = by_paper[-1]
    assert replace(by_paper[2], spatial=True, name="", paper=None) == replace(full, name="", paper=None)
    assert all(replace(s, views=4, name="", paper=None) == replace(full, name="", paper=None) for s in by_paper[3:5])
    assert len({s.name for s in SETTINGS}) == len(SETTINGS)


@pytest.mark.parametrize("wrong", [{"scenes": ()}, {"seeds": ()}, {"hallucinate": 1.5}, {"jitter": -1.0}])
def test_settings_without_sense_are_refused(tmp_path, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        AblationConfig(tmp_path, **wrong)


def test_a_whole_small_ablation_is_written_and_read_back(tmp_path, monkeypatch, capsys):
    few = tuple(s for s in SETTINGS if s.name in ("projection only", FULL))
    monkeypatch.setattr(ablation, "SETTINGS", few)
    config = AblationConfig(tmp_path, scenes=("lamp",), seeds=(0,), size=40, views=6, max_queries=2, resolution=24, fit_steps=8, head_steps=8)
    found = run_ablation(config)
    assert {a.setting for a in found} == {s.name for s in few} and len(found) == 4 and all(0 <= a.found.iou <= 1 for a in found)
    said = json.loads((tmp_path / "results.json").read_text())
    assert said["answers"][0]["found"]["iou"] == found[0].found.iou and said["config"]["hallucinate"] == 0.4
    assert (tmp_path / "ablation.md").read_text() in capsys.readouterr().out
    monkeypatch.setattr(ablation, "prepare", lambda *_: pytest.fail("measured twice"))
    assert run_ablation(config) == found
