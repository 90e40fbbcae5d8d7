"""Features that Gaussians carry: against the rasteriser, numerical gradients, and the training at surface points."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from semquery import stages
from semquery.field import FeatureField, FieldConfig, GridConfig
from semquery.fit import FieldFit, FitConfig, RasterisedFit, ViewPixels, checkpoint_tensors, load_checkpoint_tensors
from semquery.geometry import FusionConfig
from semquery.manifest import as_config
from semquery.render import ring
from semquery.splatting import Gaussians, View, ply_of, rasterize
from semquery.splatting.features import PixelWeights, RasterisedConfig, VectorField, blended, heaviest
from semquery.stages.blending import centres_of, splats_of
from semquery.store import Run, RunError
from semquery.types import Cameras, MaskStack

SIZE = (20, 37)
GRID = GridConfig(levels=4, features=2, log2_table=10, coarsest=4, finest=32)
SMALL = FitConfig(steps=60, batch=256, field=FieldConfig(grid=GRID, hidden=16, dim=8))


def random_scene(count: int, seed: int = 0, dtype=torch.float64) -> tuple[Gaussians, View]:
    rng = torch.Generator().manual_seed(seed)
    drawn = [torch.randn(count, 3, dtype=dtype, generator=rng) * 0.6, torch.randn(count, 4, dtype=dtype, generator=rng),
             torch.rand(count, 3, dtype=dtype, generator=rng) * 0.2 + 0.02, torch.rand(count, dtype=dtype, generator=rng)]
    gaussians = Gaussians(*drawn, torch.zeros(count, 1, 3, dtype=dtype))
    return gaussians, View.of(ring(np.zeros(3), 2.0, 20.0, np.array([30.0]))[0], np.array([30.0, 28.0, 17.0, 11.0]), SIZE, gaussians.means)


def every_pixel() -> torch.Tensor:
    return torch.arange(SIZE[0] * SIZE[1])


def all_weights(gaussians: Gaussians, view: View) -> torch.Tensor:
    """The weight of every Gaussian in every pixel, from the rasteriser: each carries a feature of its own."""
    return rasterize(gaussians, view, torch.eye(len(gaussians), dtype=gaussians.means.dtype)).features.reshape(-1, len(gaussians))


# ------------------------------------------------------------------ weights


@given(st.integers(0, 1000), st.integers(1, 40), st.sampled_from([1, 3, 16, 50]))
def test_the_heaviest_gaussians_of_a_pixel_are_those_of_the_rasteriser(seed, count, most):
    gaussians, view = random_scene(count, seed)
    every, seen = all_weights(gaussians, view), heaviest(gaussians, view, every_pixel(), most)
    expected = every.sort(1, descending=True).values[:, :most]
    kept = expected.sum(1, keepdim=True)
    found, rows, whole = seen.weights[:, : expected.shape[1]] * kept, seen.rows[:, : expected.shape[1]].long(), every.sum(1)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(every.gather(1, rows)[found > 0], expected[found > 0], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(seen.share[whole > 0], (kept[:, 0] / whole)[whole > 0], rtol=1e-9, atol=1e-12)
    assert not seen.weights[:, expected.shape[1]:].any() and not seen.share[whole == 0].any()


def test_weights_sum_to_one_heaviest_first_and_to_nothing_where_nothing_is():
    gaussians, view = random_scene(60)
    seen = heaviest(gaussians, view, every_pixel(), 5)
    total, empty = seen.weights.sum(1), all_weights(gaussians, view).sum(1) == 0
    assert empty.any() and (~empty).any() and (seen.weights.diff(dim=1) <= 0).all()
    torch.testing.assert_close(total, (~empty).to(total))


def test_some_pixels_in_any_order_are_rows_of_all_pixels():
    gaussians, view = random_scene(60)
    chosen = torch.randperm(len(every_pixel()), generator=torch.Generator().manual_seed(0))[:50]
    some, every = heaviest(gaussians, view, chosen, 4), heaviest(gaussians, view, every_pixel(), 4)[chosen]
    assert torch.equal(some.weights, every.weights) and torch.equal(some.share, every.share)
    assert torch.equal(some.rows[some.weights > 0], every.rows[every.weights > 0])


def test_of_a_view_that_shows_nothing_all_weights_are_nought():
    gaussians, view = random_scene(5)
    none = gaussians[torch.zeros(5, dtype=torch.bool)]
    seen = heaviest(none, view, every_pixel(), 4)
    assert not seen.weights.any() and not seen.share.any() and seen.weights.shape == (740, 4)
    assert len(heaviest(gaussians, view, every_pixel()[:0], 4).share) == 0


def test_a_pixel_needs_a_gaussian():
    with pytest.raises(ValueError, match="0 Gaussians a pixel were asked for; expected 1 or more"):
        RasterisedConfig(most=0)


def test_memory_is_told():
    gaussians, view = random_scene(30, dtype=torch.float32)
    assert heaviest(gaussians, view, every_pixel(), 16).num_bytes == 740 * (16 * 8 + 4)


# ------------------------------------------------------------------ blending


def test_with_all_gaussians_a_blend_is_what_the_rasteriser_gives():
    gaussians, view = random_scene(40)
    features = torch.randn(40, 6, dtype=torch.float64)
    rendered = rasterize(gaussians, view, features)
    expected = torch.nn.functional.normalize(rendered.features.reshape(-1, 6), dim=-1)
    found = blended(lambda rows: features[rows], heaviest(gaussians, view, every_pixel(), 40))
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)


@given(st.integers(0, 1000), st.integers(1, 12))
def test_a_blend_of_few_differs_by_no_more_than_what_they_leave_out(seed, most):
    gaussians, view = random_scene(40, seed)
    features = torch.nn.functional.normalize(torch.randn(40, 6, dtype=torch.float64), dim=-1)
    seen, rendered = heaviest(gaussians, view, every_pixel(), most), rasterize(gaussians, view, features)
    opacity = rendered.opacity.reshape(-1)
    whole = rendered.features.reshape(-1, 6) / opacity.clamp(min=1e-30)[:, None]
    few = (seen.weights[..., None] * features[seen.rows.long()]).sum(1)
    assert ((few - whole).norm(dim=1) <= 2 * (1 - seen.share) + 1e-9)[opacity > 0].all()


def test_a_blend_is_the_weighted_sum_pixel_by_pixel_and_asks_for_each_gaussian_once():
    gaussians, view = random_scene(50)
    features, asked = torch.randn(50, 4, dtype=torch.float64), []
    seen = heaviest(gaussians, view, every_pixel(), 7)[torch.arange(100, 400)]

    def of_gaussians(rows):
        asked.append(rows)
        return features[rows]

    found = blended(of_gaussians, seen)
    assert len(asked) == 1 and len(asked[0]) == len(asked[0].unique())
    for k in range(300):
        mixed = sum(float(w) * features[int(g)] for g, w in zip(seen.rows[k], seen.weights[k], strict=True))
        torch.testing.assert_close(found[k], mixed / mixed.norm().clamp(min=1e-12))


def test_gradients_are_those_of_finite_differences_and_of_the_rasteriser():
    gaussians, view = random_scene(8)
    features = torch.randn(8, 3, dtype=torch.float64, requires_grad=True)
    shown = all_weights(gaussians, view).sum(1).nonzero()[:, 0][::9]
    seen = heaviest(gaussians, view, shown, 8)
    assert torch.autograd.gradcheck(lambda f: blended(lambda rows: f[rows], seen), (features,))
    toward = torch.randn(len(shown), 3, dtype=torch.float64)
    mine, = torch.autograd.grad((blended(lambda rows: features[rows], seen) * toward).sum(), features)
    picture = torch.nn.functional.normalize(rasterize(gaussians, view, features).features.reshape(-1, 3)[shown], dim=-1)
    expected, = torch.autograd.grad((picture * toward).sum(), features)
    torch.testing.assert_close(mine, expected, rtol=1e-7, atol=1e-9)


# ------------------------------------------------------------------ training


def two_halves(gaussians: int = 3, seed: int = 0) -> tuple[dict[str, ViewPixels], torch.Tensor, dict[str, PixelWeights]]:
    """A unit square in two views, the left half mask 1, the right half mask 2; every pixel shows the Gaussians of a grid nearest to it."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(np.arange(12) + 0.5, np.arange(12) + 0.5), -1).reshape(-1, 2) / 12
    centres = np.concatenate([grid, np.zeros((144, 1))], 1).astype(np.float32)
    views, weights = {}, {}
    for name in ("a", "b"):
        points = np.concatenate([rng.random((400, 2)), np.zeros((400, 1))], 1).astype(np.float32)
        distance = np.linalg.norm(points[:, None] - centres[None], axis=2)
        near = np.argsort(distance, 1)[:, :gaussians]
        heavy = np.exp(-(np.take_along_axis(distance, near, 1) ** 2) / 0.005)
        heavy = (heavy / heavy.sum(1, keepdims=True)).astype(np.float32)
        views[name] = ViewPixels(torch.from_numpy(points), torch.from_numpy(np.where(points[:, :1] < 0.5, 1, 2).astype(np.int32)))
        weights[name] = PixelWeights(torch.from_numpy(near.astype(np.int32)), torch.from_numpy(heavy), torch.ones(400))
    return views, torch.from_numpy(centres), weights


def a_field(config: FitConfig = SMALL) -> FeatureField:
    torch.manual_seed(config.seed)
    return FeatureField(config.field, np.array([[0.0, 0, 0], [1, 1, 1]]))


def new_fit(carried_by: str, config: FitConfig = SMALL) -> RasterisedFit:
    views, centres, weights = two_halves()
    torch.manual_seed(config.seed)
    field = a_field(config) if carried_by == "field" else VectorField(config.field.dim, centres, torch.ones(144, dtype=torch.bool))
    return RasterisedFit(field, views, config, centres, weights)


@pytest.mark.parametrize("carried_by", ["field", "vectors"])
def test_features_of_gaussians_separate_the_masks(carried_by):
    fit = new_fit(carried_by)
    fit.train(fit.optimizer())
    of_centre = fit.field.at(two_halves()[1].numpy())
    left = two_halves()[1][:, 0].numpy() < 0.5
    np.testing.assert_allclose(np.linalg.norm(of_centre, axis=1), 1, atol=1e-5)
    assert (of_centre[left] @ of_centre[left].mean(0)).min() > 0.6 > 0.3 > (of_centre[left] @ of_centre[~left].T).mean()


def test_where_each_pixel_shows_one_gaussian_at_its_surface_the_losses_are_those_at_surface_points():
    views, _, _ = two_halves()
    centres = torch.cat([view.points for view in views.values()])
    rows = torch.arange(800, dtype=torch.int32)[:, None].split(400)
    weights = {name: PixelWeights(own, torch.ones(400, 1), torch.ones(400)) for name, own in zip(views, rows, strict=True)}
    plain, rasterised = FieldFit(a_field(), views, SMALL), RasterisedFit(a_field(), views, SMALL, centres, weights)
    for step in range(4):
        mine, other = ({name: float(loss.detach()) for name, loss in fit.losses(step).items()} for fit in (rasterised, plain))
        assert mine == pytest.approx(other, rel=1e-4) and all(mine.values())


@pytest.mark.parametrize("carried_by", ["field", "vectors"])
def test_an_interrupted_training_resumes_to_the_same_features(carried_by):
    whole, first, second = (new_fit(carried_by) for _ in range(3))
    whole.train(whole.optimizer())
    kept, optimizer = {}, first.optimizer()

    class Killed(Exception):
        pass

    def stop_half_way(step: int, losses: dict[str, float]) -> None:
        if step == 25:
            kept.update({name: t.clone() for name, t in checkpoint_tensors(first.field, optimizer).items()})
            raise Killed

    with pytest.raises(Killed):
        first.train(optimizer, on_step=stop_half_way)
    optimizer = second.optimizer()
    load_checkpoint_tensors(kept, second.field, optimizer)
    second.train(optimizer, start=25)
    points = np.random.default_rng(0).random((50, 3))
    np.testing.assert_allclose(second.field.at(points), whole.field.at(points), atol=1e-5)


def test_a_point_has_the_vector_of_the_nearest_gaussian_that_some_pixel_shows():
    centres = torch.tensor([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]])
    field = VectorField(4, centres, torch.tensor([True, False, True]))
    own = torch.nn.functional.normalize(field.vectors.detach(), dim=-1).numpy()
    np.testing.assert_allclose(field.at(np.array([[0.1, 0, 0], [0.9, 0, 0], [1.1, 0, 0], [9, 9, 9]])), own[[0, 0, 2, 2]], atol=1e-6)
    with pytest.raises(ValueError, match="None of the 3 Gaussians is shown"):
        VectorField(4, centres, torch.zeros(3, dtype=torch.bool)).at(np.zeros((1, 3)))


def test_geometry_gets_no_gradient():
    fit = new_fit("field")
    torch.stack(list(fit.losses(0).values())).sum().backward()
    assert fit.field.grid.table.grad.abs().sum() > 0 and not any(w.weights.requires_grad for w in fit.weights)


# ------------------------------------------------------------------ what a run records


def test_a_training_at_surface_points_is_recorded_as_before_there_was_a_choice():
    before = {"class", "steps", "batch", "learning_rate", "network_learning_rate", "contrast", "field", "fusion", "seed"}
    assert set(as_config(FitConfig())) == before


def test_rasterised_features_are_recorded():
    recorded = as_config(FitConfig(feature_rendering="rasterised", rasterised=RasterisedConfig(most=8)))
    assert recorded["feature_rendering"] == "rasterised"
    assert recorded["rasterised"] == {"class": "RasterisedConfig", "most": 8, "carried_by": "field"}
    assert as_config(dataclasses.replace(FitConfig(), feature_rendering="rasterised")) != as_config(FitConfig())


# ------------------------------------------------------------------ as a stage


def splat_run(folder: Path, T_world_splats: np.ndarray | None = None) -> Run:
    """A ball of Gaussians seen from eight sides, with a mask for either half of every picture."""
    rng = torch.Generator().manual_seed(0)
    means = torch.nn.functional.normalize(torch.randn(300, 3, generator=rng), dim=1)
    scale = 1.0 if T_world_splats is None else float(np.linalg.norm(T_world_splats[:3, 0]))
    placed = means if T_world_splats is None else (means - torch.tensor(T_world_splats[:3, 3]).float()) / scale
    sizes = torch.full((300, 3), 0.12) / scale
    folder.mkdir(parents=True)
    ball = Gaussians(placed, torch.randn(300, 4, generator=rng), sizes, torch.full((300,), 0.9), torch.zeros(300, 1, 3))
    ply_of(ball).write(str(folder / "ball.ply"))
    Image.new("RGB", (32, 32), (90, 90, 90)).save(folder / "photo.png")
    poses = np.concatenate([ring(np.zeros(3), 3.0, elevation, np.arange(4) * 90.0) for elevation in (20.0, -20.0)])
    names = tuple(f"v{k}" for k in range(8))
    cameras = Cameras(names, (str(folder / "photo.png"),) * 8, poses, np.tile([32.0, 32, 16, 16], (8, 1)), np.full((8, 2), 32))
    run = Run(folder / "run", create=True)
    half = np.where(np.arange(32) < 16, 1, 2).astype(np.uint16)
    for name in names:
        run.write_masks(name, MaskStack(np.tile(half, (1, 32, 1)), np.ones(2, np.float32)))
    stages.observe_splats(run, folder / "ball.ply", cameras, T_world_splats=T_world_splats)
    return run


STAGE = dataclasses.replace(SMALL, steps=6, fusion=FusionConfig(resolution=12), feature_rendering="rasterised")


@pytest.mark.parametrize("carried_by", ["field", "vectors"])
def test_a_run_made_from_splats_is_fitted_with_the_features_of_its_gaussians(carried_by, tmp_path, capsys):
    run = splat_run(tmp_path / "a")
    stages.fit(run, dataclasses.replace(STAGE, rasterised=RasterisedConfig(most=8, carried_by=carried_by)))
    surface, (tensors, _) = run.surface(), run.read_tensors("field.safetensors")
    np.testing.assert_allclose(np.linalg.norm(surface.features.astype(float), axis=1), 1, atol=1e-2)
    assert ("vectors" in tensors) == (carried_by == "vectors") and len(surface.points) > 50
    assert "8 Gaussians a pixel carry" in capsys.readouterr().out


def test_gaussians_in_a_frame_of_their_own_show_the_same_pixels_and_have_the_same_centres(tmp_path):
    T = np.diag([2.0, 2, 2, 1])
    T[:3, 3] = 0.3, -0.2, 0.1
    fits = []
    for name, way in (("a", None), ("b", T)):
        run = splat_run(tmp_path / name, way)
        fits.append((stages.open_fit(run, STAGE), centres_of(splats_of(run), torch.device("cpu"))))
    (plain, centres), (moved, other) = fits
    torch.testing.assert_close(other, centres, atol=1e-5, rtol=1e-5)
    for a, b, x, y in zip(plain.weights, moved.weights, plain.views, moved.views, strict=True):
        assert len(a.share) == len(b.share) and x.points.shape == y.points.shape
        torch.testing.assert_close(a.share, b.share, atol=1e-3, rtol=0)
        torch.testing.assert_close(a.weights, b.weights, atol=1e-3, rtol=0)


def test_a_run_without_splats_cannot_have_rasterised_features_and_stays_as_it_is(tmp_path):
    run = splat_run(tmp_path / "a")
    record = run / "run.jsonl"
    record.write_text("".join(line.replace('"splats"', '"mesh"') + "\n" for line in record.read_text().splitlines()))
    before = record.read_text()
    with pytest.raises(RunError, match="was not made from splats"):
        stages.fit(run, STAGE)
    assert record.read_text() == before


def test_vectors_take_the_place_of_a_field_that_is_given(tmp_path):
    run = splat_run(tmp_path / "a")
    with pytest.raises(ValueError, match="a field was given: set rasterised.carried_by to field"):
        stages.open_fit(run, dataclasses.replace(STAGE, rasterised=RasterisedConfig(carried_by="vectors")), field=a_field())
