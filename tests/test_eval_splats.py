"""The evaluation of splats: made splats lie where they should, labels are scored as by hand, and one small run of it all."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eval.__main__ import main
from eval.bench import splatting as bench
from eval.metrics import contingency
from eval.splats import report
from eval.splats.judge import labels_of, score_clean, score_splats, splat_iou, weighted_contingency
from eval.splats.made import FLAT, MadeConfig, make_splats, sample_surface, surface_area
from eval.splats.refine import RefineConfig, leaf_near, optimise, photos_of, refine
from eval.splats.run import SplatsConfig, checked, entry, labelled, open_scene, open_truth, read_row, run_splats, tree_of
from semquery.fit import FitConfig
from semquery.geometry import FusionConfig
from semquery.render import ring
from semquery.splatting import Gaussians, View, rasterize
from semquery.splatting.clean import CleanConfig
from semquery.splatting.gaussians import rotations
from semquery.types import Cameras

FIVE = np.array([3, 3, 4, 4, 4])  # root 4 over group 3 = {0, 1} and leaf 2


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    """The scissors alone, small and briefly trained, in every way but the radiance field."""
    out = tmp_path_factory.mktemp("splats")
    fit = FitConfig(steps=60, batch=512, fusion=FusionConfig(resolution=50))
    config = SplatsConfig(out, scenes=("scissors",), regimes=("exact",), seeds=(0,), size=56, num_views=10, num_heldout=2,
                          made=MadeConfig(gaussians=2500), most=8, fit=fit)
    return config, run_splats(config)


# ------------------------------------------------------------------ made splats


def test_made_gaussians_lie_flat_on_their_part_and_floaters_have_none(small_run):
    config, _ = small_run
    truth = open_truth(config, "scissors")
    made = make_splats(truth, config.made, 0)
    surface = made.leaf >= 0
    assert surface.sum() == 2500 and (~surface).sum() == 125
    means, g = made.gaussians.means.numpy(), made.gaussians
    near = leaf_near(means.astype(float), truth.scene, 3 * made.spacing, 0)
    assert (near[surface] == made.leaf[surface]).mean() > 0.85  # parts touch
    assert (near[~surface] < 0).mean() > 0.5
    thin = rotations(g.quats)[torch.from_numpy(surface)][:, :, 2].numpy()
    assert np.median((g.scales[:, 2] / g.scales[:, 0]).numpy()[surface]) == pytest.approx(FLAT, rel=0.1)
    np.testing.assert_allclose(np.linalg.norm(thin, axis=1), 1, atol=1e-4)
    assert torch.equal(make_splats(truth, config.made, 0).gaussians.means, g.means)
    assert not torch.equal(make_splats(truth, config.made, 1).gaussians.means, g.means)


def test_points_are_drawn_evenly_by_area_and_lie_in_their_faces(small_run):
    scene = open_truth(small_run[0], "scissors").scene
    points, face = sample_surface(scene, 40_000, np.random.default_rng(0))
    corners = scene.vertices[scene.faces].astype(float)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(normal, axis=1) / 2
    assert surface_area(scene) == pytest.approx(area.sum())
    of_part = np.bincount(scene.part_of_face, area, len(scene.parents))
    drawn = np.bincount(scene.part_of_face[face], minlength=len(scene.parents))
    np.testing.assert_allclose(drawn / 40_000, of_part / area.sum(), atol=0.01)
    off = np.abs(np.einsum("kc,kc->k", points - corners[face, 0], normal[face])) / np.maximum(2 * area[face], 1e-12)
    assert off.max() < 1e-6


# ------------------------------------------------------------------ scores


def by_hand(leaf, part, weight, true_parents, parents):
    """Sets of Gaussians, one node at a time."""
    def inside(of, tree):
        nodes = [set() for _ in tree]
        for g, node in enumerate(of):
            while node >= 0 and g not in nodes[node]:
                nodes[node].add(g)
                node = tree[node]
        return nodes

    total = lambda some: sum(int(weight[g]) for g in some)  # noqa: E731
    has = {g for g in range(len(part)) if part[g] >= 0}
    true, found = [s & has for s in inside(leaf, true_parents)], inside(part, parents)
    iou = [[total(t & f) / max(total(t | f), 1) for f in found] for t in true]
    names = {}
    for a in sorted(set(leaf[leaf >= 0].tolist())):
        best = int(np.argmax(iou[a]))
        if iou[a][best] > 0.5:
            names[best] = a
    label = []
    for node in part:
        while node >= 0 and node not in names and parents[node] != node:
            node = parents[node]
        label.append(names.get(int(node), -1))
    known = [g for g in range(len(leaf)) if leaf[g] >= 0]
    right = [g for g in known if label[g] == leaf[g]]
    floats = set(range(len(leaf))) - set(known)
    best = [true[int(np.argmax([row[n] for row in iou[:-1]]))] for n in range(len(parents) - 1)]
    pure = [total(t & f) / total(f) for t, f in zip(best, found[:-1], strict=True) if total(f)]
    grabbed = max(total(f & floats) / total(f) for f in found[:-1] if total(f))
    return len(right) / len(known), total(right) / max(total(known), 1), np.mean(pure), total(floats & has) / total(floats), grabbed


@given(st.integers(0, 10_000))
def test_scores_are_those_of_sets(seed):
    rng = np.random.default_rng(seed)
    leaf = np.append(rng.integers(-1, 3, 40), [0, 1, 2, -1, -1])
    part = np.append(np.where(rng.random(40) < 0.7, leaf[:40], rng.integers(-1, 4, 40)), [0, 1, 2, -1, 3])
    opacity = rng.integers(1, 1000, 45) / 1000
    mine = score_splats(leaf, part, opacity, FIVE, FIVE)
    expected = by_hand(leaf, part, np.round(1000 * opacity).astype(int), FIVE, FIVE)
    assert (mine.accuracy, mine.weighted, mine.purity, mine.held, mine.grabbed) == pytest.approx(expected)
    assert mine.accuracy <= mine.reached == pytest.approx((part[leaf >= 0] >= 0).mean())


@given(st.integers(0, 10_000))
def test_weights_count_as_so_many_gaussians(seed):
    rng = np.random.default_rng(seed)
    leaf, part, weight = rng.integers(-1, 3, 30), rng.integers(-1, 5, 30), rng.integers(0, 9, 30)
    expected = contingency(np.repeat(leaf, weight), 3, np.repeat(part, weight), 5)
    np.testing.assert_array_equal(weighted_contingency(leaf, 3, part, 5, weight), expected)


def test_a_perfect_tree_labels_all_and_a_flat_one_nothing_below_it():
    leaf, opacity = np.array([0, 0, 1, 1, 2, 2, -1]), np.ones(7)
    perfect = score_splats(leaf, np.array([0, 0, 1, 1, 2, 2, -1]), opacity, FIVE, FIVE)
    assert (perfect.reached, perfect.accuracy, perfect.weighted, perfect.purity, perfect.held) == (1, 1, 1, 1, 0)
    grabbing = score_splats(leaf, np.array([0, 0, 1, 1, 2, 2, 2]), opacity, FIVE, FIVE)
    assert grabbing.held == 1 and grabbing.accuracy == 1 and grabbing.purity == pytest.approx((1 + 1 + 2 / 3 + 1) / 4)
    assert perfect.grabbed == 0 and grabbing.grabbed == pytest.approx(1 / 3)
    flat = score_splats(leaf, np.array([0, 0, 0, 0, 0, 0, -1]), opacity, FIVE, np.array([1, 1]))
    assert flat.accuracy == 0 and flat.reached == 1


def test_a_gaussian_without_a_part_of_its_own_has_the_name_of_what_is_around_it():
    """Node 0 lies in node 2, which is leaf 1's; node 1 is leaf 0's."""
    parents, part = np.array([2, 3, 3, 3]), np.array([0, 0, 2, 2, 1, 1, -1])
    leaf = np.array([1, 1, 1, 1, 0, 0, 0])
    assert labels_of(part, splat_iou(leaf, part, np.full(7, 1000), FIVE, parents), leaf, parents).tolist() == [1, 1, 1, 1, 0, 0, -1]


def test_floaters_caught_by_hand():
    found = score_clean(np.array([-1, -1, -1, -1, 0, 1, 2, 2]), np.array([False, False, False, True, False, True, True, True]))
    assert (found.caught, found.precise, found.lost) == (0.75, 0.75, 0.25)
    nothing = score_clean(np.array([0, 1]), np.array([True, True]))
    assert np.isnan(nothing.caught) and np.isnan(nothing.precise) and nothing.lost == 0


# ------------------------------------------------------------------ optimised splats


def test_optimising_brings_wrong_colours_to_those_of_the_photos():
    torch.manual_seed(0)
    means = torch.nn.functional.normalize(torch.randn(60, 3), dim=1)
    true = Gaussians(means, torch.randn(60, 4), torch.full((60, 3), 0.25), torch.full((60,), 0.9), torch.randn(60, 1, 3))
    poses, intrinsics = ring(np.zeros(3), 3.0, 20.0, np.arange(4) * 90.0), np.array([24.0, 24, 12, 12])
    cameras = Cameras(tuple("abcd"), ("",) * 4, poses, np.tile(intrinsics, (4, 1)), np.full((4, 2), 24))
    photos = []
    for pose in poses:
        view = View.of(pose, intrinsics, (24, 24), means)
        seen = rasterize(true, view, true.colors(view.position))
        photos.append((seen.features + 1 - seen.opacity[..., None]).clamp(0, 1).numpy())
    start = replace(true, sh=torch.zeros(60, 1, 3))
    found, losses = optimise(start, cameras, photos, 16, 0.05, 0)
    assert np.mean(losses[-4:]) < 0.85 * np.mean(losses[:4]) and optimise(start, cameras, photos, 3, 0.05, 0)[1] == losses[:3]
    assert np.corrcoef(found.sh.flatten(), true.sh.flatten())[0, 1] > 0.4  # not all are seen
    assert (found.scales > 0).all() and (found.opacities > 0).all() and (found.opacities < 1).all()


def test_refined_splats_have_the_parts_of_where_they_are(small_run):
    truth = open_truth(small_run[0], "scissors")
    made = make_splats(truth, MadeConfig(gaussians=400), 0)
    assert refine(made, truth, RefineConfig(steps=0), 0) is made
    moved = refine(made, truth, RefineConfig(steps=4, max_side=24), 0)
    assert not torch.equal(moved.gaussians.means, made.gaussians.means) and moved.spacing == made.spacing
    np.testing.assert_array_equal(moved.leaf, leaf_near(moved.gaussians.means.double().numpy(), truth.scene, 2 * made.spacing, 0))
    assert (moved.leaf[made.leaf >= 0] >= 0).mean() > 0.95


def test_photos_are_white_where_nothing_is(small_run):
    truth = open_truth(small_run[0], "scissors")
    photo, leaf = photos_of(truth.cameras)[0], truth.leaves()[truth.cameras.names[0]]
    assert photo.shape == (56, 56, 3) and photo.dtype == np.float32 and photo[leaf < 0].mean() > 0.97 > photo[leaf >= 0].mean()


# ------------------------------------------------------------------ the whole


def test_with_exact_masks_splats_give_nearly_the_tree_of_the_mesh_in_every_way(small_run):
    _, rows = small_run
    by_way = {row.row.cell.geometry: row for row in rows}
    assert set(by_way) == {"mesh", "surface", "rasterised", "vectors"}
    assert by_way["mesh"].row.scores.nc > 0.6 and all(row.row.scores.nc > 0.4 for row in rows)
    assert all(0 <= row.splats.accuracy <= row.splats.reached <= 1 and row.splats.reached > 0.5 for row in rows)
    assert len({row.row.scores.nc for row in rows}) == 4  # four trainings, not one


def test_nodes_do_not_grab_floaters_and_more_would_lie_in_them_without_the_clean_up(small_run):
    config, rows = small_run
    assert all(row.splats.grabbed < 0.04 and row.splats.held < 0.25 and row.splats.purity > 0.75 for row in rows)
    scene, nothing = open_scene(config, "scissors", 0), CleanConfig(min_opacity=0.0, max_size=1e9, max_sigma=1e9)
    run, parts = tree_of(config, rows[1].row.cell)
    opacity, true = scene.splats.gaussians.opacities.double().numpy(), scene.truth.scene.parents
    dirty = score_splats(scene.splats.leaf, labelled(replace(config, cleaning=nothing), run, scene), opacity, true, parts.parents)
    assert dirty.held > 1.15 * rows[1].splats.held and dirty.grabbed > rows[1].splats.grabbed


def test_tables_rows_and_a_picture_lie_in_the_folder(small_run):
    from PIL import Image

    config, rows = small_run
    written = json.loads((config.out / "splats.json").read_text())
    cleaned = open_scene(config, "scissors", 0).cleaned
    assert [read_row(told) for told in written["rows"]] == rows and cleaned.caught > 0.1
    assert written["clean"] == [{"scene": "scissors", "seed": 0, **vars(cleaned)}]
    text = (config.out / "splats.md").read_text()
    assert text.count("| scissors") == 5 and "rasterised" in text
    assert np.asarray(Image.open(config.out / "scissors.png")).std() > 10


def test_what_was_measured_with_the_same_settings_is_kept(small_run, monkeypatch):
    config, rows = small_run
    monkeypatch.setattr("eval.splats.run.stages.fit", lambda *_, **__: pytest.fail("measured again"))
    assert run_splats(config) == rows
    with pytest.raises(ValueError, match="splats of other settings"):
        run_splats(replace(config, made=MadeConfig(gaussians=2400)))


def test_rows_survive_json_and_what_is_undefined_is_null(small_run):
    row = small_run[1][0]
    assert read_row(json.loads(json.dumps(entry(row)))) == row
    undefined = replace(row, splats=replace(row.splats, held=float("nan")))
    assert json.loads(json.dumps(entry(undefined), allow_nan=False))["splats"]["held"] is None
    assert np.isnan(read_row(entry(undefined)).splats.held)


def test_the_gap_to_the_mesh_is_paired_seed_by_seed(small_run):
    def row(way, seed, nc):
        one = small_run[1][0]
        cell, scores = replace(one.row.cell, geometry=way, seed=seed), replace(one.row.scores, nc=nc)
        return replace(one, row=replace(one.row, cell=cell, scores=scores))

    rows = [row(way, seed, base - drop) for seed, base in ((0, 0.9), (1, 0.7)) for way, drop in (("mesh", 0), ("surface", 0.1))]
    head, _, mesh, surface = [[cell.strip() for cell in line.strip("|").split("|")] for line in report.ways_table(rows).splitlines()]
    assert mesh[head.index("- mesh")] == "" and surface[head.index("- mesh")] == "-0.100 ±0.000" and surface[head.index("NC")] == "0.700"


@pytest.mark.parametrize(("arguments", "words"), [
    (["--scenes", "sofa"], "no scene 'sofa'"),
    (["--seeds"], "--seeds is empty"),
    (["--fit.feature-rendering", "rasterised"], "chosen by --ways"),
])
def test_what_cannot_be_run_is_said_in_one_sentence_before_any_work(arguments, words, tmp_path, capsys):
    assert main(["splats", "--out", str(tmp_path / "out"), *arguments]) == 2
    said = capsys.readouterr().err
    assert words in said and len(said.splitlines()) == 1 and not (tmp_path / "out").exists()


def test_the_defaults_can_be_run(tmp_path):
    assert checked(SplatsConfig(tmp_path)).scenes == ("tabletop", "chair")


# ------------------------------------------------------------------ the bench


def test_brute_force_and_the_rasteriser_give_the_same_picture():
    gaussians, view = bench.sphere(150, size=40)
    colors = gaussians.colors(view.position)
    expected = rasterize(gaussians, view, colors).features
    torch.testing.assert_close(bench.by_brute_force(gaussians, view, colors), expected, rtol=1e-4, atol=1e-4)


def test_the_benchs_trainings_see_the_same_pixels():
    fits = bench.make_fits(32, 4, 800, 128)
    assert list(fits) == list(bench.WAYS) and len({fit.config.batch for fit in fits.values()}) == 1
    surface, *others = fits.values()
    for fit in others:
        assert fit.names == surface.names and all(torch.equal(a.points, b.points) for a, b in zip(fit.views, surface.views, strict=True))
        assert float(bench.stepper(fit)()) > 0
