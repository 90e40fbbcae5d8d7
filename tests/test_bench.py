"""The benches' baselines give the product's answers, on sizes that take no time."""

import json
from collections.abc import Callable

import numpy as np
import pytest
import torch

from eval.bench import evidence, growth, querying, seen, training, ultrametric_step, viewing
from eval.bench.patchwork import patchwork
from eval.bench.peak import peak_mb
from semquery.codebook import build_codebook
from semquery.fit import FitConfig
from semquery.prompts import bank, negatives


@pytest.fixture(scope="module")
def tabletop() -> training.Bench:
    return training.make_bench("sam", size=48, views=4, max_points=2000)


# ------------------------------------------------------------------ the scene, and what measures


def test_a_patchworks_masks_lie_in_one_layer_each_and_its_pixels_show_its_points():
    scene = patchwork(2500, 3)
    for view, stack in scene.masks.items():
        labels = [set(np.unique(layer[layer > 0]).tolist()) for layer in stack.layers]
        assert sum(map(len, labels)) == len(set().union(*labels)) == stack.num_masks
        image, seen = scene.surface.point_of_pixel[view], scene.seen[view]
        assert image.min() >= 0 and image.shape == seen.size == stack.size
        assert np.linalg.norm(scene.surface.points[image.ravel()] - seen.points, axis=1).max() < 1.5


def test_a_patchwork_is_the_same_every_time():
    a, b = patchwork(900, 2, seed=3), patchwork(900, 2, seed=3)
    np.testing.assert_array_equal(a.surface.features, b.surface.features)
    assert all((a.masks[v].layers == b.masks[v].layers).all() for v in a.masks)


def test_the_peak_is_what_was_held_at_most():
    assert 75 < peak_mb(lambda: np.ones(10_000_000)) < 120
    assert peak_mb(lambda: [np.ones(10_000_000) for _ in range(2)][0]) > 150
    assert peak_mb(lambda: np.ones(10)) < 20


def test_the_peak_of_a_call_that_fails_is_refused():
    def fails() -> None:
        raise SystemExit

    with pytest.raises(ValueError, match="failed in its own process"):
        peak_mb(fails)


# ------------------------------------------------------------------ evidence


@pytest.mark.parametrize("what", ["nodes", "edges", "choice"])
def test_all_pairs_and_paths_of_the_tree_give_the_same_evidence(what):
    ours, baseline = evidence.calls(patchwork(2500, 4))[what]
    answer = ours()
    assert len(answer.node if what == "nodes" else answer)
    evidence.check_same(answer, baseline())


def test_different_answers_are_noticed():
    with pytest.raises(AssertionError):
        evidence.check_same([1, 2], [1, 3])


# ------------------------------------------------------------------ the ultrametric step


@pytest.mark.parametrize("seed", range(3))
def test_the_original_algorithm_and_ours_give_the_same_loss_and_gradient(seed):
    step = ultrametric_step.make_step(pixels=300, dim=8, rows=24, seed=seed)
    ours, original = ultrametric_step.ours(step), ultrametric_step.original(step)
    assert float(ours[0]) > 0 and bool(ours[1].any())
    ultrametric_step.check_same(ours, original)


def test_all_distances_give_the_neighbours_of_the_search_tree():
    step = ultrametric_step.make_step(pixels=200, dim=4, rows=1)
    dense = {tuple(sorted(edge)) for edge in ultrametric_step.dense_graph(step.points).tolist()}
    assert dense == {tuple(edge) for edge in ultrametric_step.pixel_graph(step.points, ultrametric_step.NEIGHBOURS).tolist()}


# ------------------------------------------------------------------ training


def losses(fit: Callable, step: int) -> list[float]:
    return [float(loss.detach()) for loss in fit.losses(step).values()]


def test_compositing_at_the_surface_alone_is_our_training(tabletop):
    config = FitConfig(batch=256)
    plain, composited = (training.make_fit(tabletop, kind, config, backend="torch") for kind in (False, True))
    composited.field.spread = 0.0
    for step in range(3):
        assert losses(composited, step) == pytest.approx(losses(plain, step), rel=1e-4)


def test_compositing_reaches_along_the_ray(tabletop):
    field = training.make_fit(tabletop, True, backend="torch").field
    torch.nn.init.normal_(field.grid.table)
    points = torch.tensor(tabletop.surface.points[:50])
    plain = field(points)
    field.eye = torch.zeros(3)
    seen = field(points)
    assert not torch.allclose(seen, plain, atol=1e-4)
    torch.testing.assert_close(seen.norm(dim=1), torch.ones(50))


def test_a_training_is_given_up_after_the_most_steps(tabletop, monkeypatch):
    monkeypatch.setattr(training, "covering", lambda bench, field: 0.5)
    monkeypatch.setattr(training, "SLICE", 2)
    _, steps, nc = training.seconds_to_enough(tabletop, composited=False, most=3)
    assert (steps, nc) == (3, 0.5)
    _, steps, _ = training.seconds_to_enough(tabletop, composited=False, most=9, enough=0.4)
    assert steps == 2


# ------------------------------------------------------------------ querying


@pytest.mark.parametrize("distinct", [False, True])
def test_the_codebook_and_a_feature_at_every_point_mark_the_same_points_and_pixels(distinct):
    bench = querying.make_bench(300, 60, 4, 20, distinct)
    book = build_codebook(bench.labels, querying.Scattered(), negatives(), bank())
    for text in querying.often_and_seldom(bench):
        ways = querying.calls(bench, *querying.open_scene(bench, book), text)
        answer = ways["ours"]()
        named = [bench.labels[p].name == text for p in range(300)]
        assert (answer[0] == np.array(named)[bench.parts.part_of_point]).all()
        for name in ("dense", "dense, negatives kept"):
            querying.check_same(answer, ways[name]())


def test_masks_that_differ_in_a_pixel_are_noticed():
    inside, mask = np.ones(3, bool), np.ones((2, 2), bool)
    querying.check_same((inside, {"a": mask}), (inside, {"a": mask.copy()}))
    for other in ({"a": ~mask}, {}, {"b": mask}):
        with pytest.raises(AssertionError):
            querying.check_same((inside, {"a": mask}), (inside, other))


# ------------------------------------------------------------------ growth


def test_growth_measures_every_stage_and_writes_table_and_curves(tmp_path):
    rows = list(growth.measure("points", 400, 2, repeats=1))
    assert len({row.stage for row in rows}) == len(rows) == 7
    growth.write(rows, tmp_path)
    assert len(json.loads((tmp_path / "growth.json").read_text())) == 7
    assert (tmp_path / "growth.png").stat().st_size > 1000


def test_exponents_are_the_slopes_of_powers():
    rows = [growth.Row("points", 1, n, 1, stage, n**power, 1.0) for n in (10, 100, 1000) for stage, power in (("a", 1.0), ("b", 1.5))]
    assert growth.exponents(rows) == {"a": pytest.approx(1.0), "b": pytest.approx(1.5)}
    assert growth.exponents(rows[:1]) == {}


# ------------------------------------------------------------------ viewing


def test_the_session_and_relevancy_at_every_point_light_the_same_and_ours_sends_less(tmp_path):
    pytest.importorskip("viser", reason="viser is not installed")
    bench = viewing.make_bench(tmp_path / "run", 300, 60, 4, 20)
    viewing.check_same(bench)
    told = list(viewing.measure(bench, repeats=2))
    assert [row.split("  ")[0] for row in told] == [
        "first picture", "query → what is lit", "lit parts", "what is lit → sent", "query → sent", *["bytes of an update"] * 2, "click → part",
        "isolate", "hide", "tint", "another level, in colour"]
    ours, whole = (float(row.split("MB")[0].split()[-1]) for row in told if row.startswith("bytes"))
    assert 0 < ours < whole


def test_a_session_that_lights_other_points_is_noticed(tmp_path, monkeypatch):
    bench = viewing.make_bench(tmp_path / "run", 300, 60, 4, 20)
    monkeypatch.setattr(viewing.querying, "THRESHOLD", 2.0)
    with pytest.raises(AssertionError):
        viewing.check_same(bench)


def test_a_run_is_written_and_opened_as_a_viewer_does(tmp_path):
    bench = viewing.make_bench(tmp_path / "run", 300, 60, 4, 20)
    assert [row.split("  ")[0] for row in viewing.opening(bench, tmp_path / "other")] == ["run → session"]


def test_a_highlight_is_told_from_what_is_dimmed():
    from semquery.viewer.colours import tinted

    colors = np.random.default_rng(0).integers(0, 256, (30, 40, 3)).astype(np.uint8)
    lit = np.zeros((30, 40), bool)
    assert not seen.is_lit(tinted(colors, lit))
    lit[5, 7] = True
    assert seen.is_lit(tinted(colors, lit))
