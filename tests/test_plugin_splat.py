"""`semquery-splat` in process on a coloured box, by the torch rasteriser: both phases, resuming, reloading, what is shown, refusals."""

import json
import shutil
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

pytest.importorskip("nerfstudio.engine.trainer")

from live_viewer import BOX, TOP, face_of, looking, named_box, open_viewer  # noqa: E402
from nerfstudio.data.dataparsers.nerfstudio_dataparser import NerfstudioDataParserConfig  # noqa: E402
from nerfstudio.data.scene_box import OrientedBox  # noqa: E402
from nerfstudio.utils import eval_utils  # noqa: E402
from training import CENTRE, HALF, SIZE, tiny, train  # noqa: E402
from viewing import PATIENCE, wait_until  # noqa: E402

from nerfstudio_plugin import config as plugin  # noqa: E402
from nerfstudio_plugin.beside import FORMAT  # noqa: E402
from nerfstudio_plugin.outputs import PICTURES, Frame, Sight, colors_at  # noqa: E402
from nerfstudio_plugin.pipeline import check_checkpoint  # noqa: E402
from nerfstudio_plugin.splat_observe import SPLATS, observe_splat_views  # noqa: E402
from nerfstudio_plugin.splat_outputs import SplatScenery, drawable  # noqa: E402
from nerfstudio_plugin.trainer import SemqueryTrainer, SemqueryTrainerConfig  # noqa: E402
from semquery import stages  # noqa: E402
from semquery.export.splats import read_splats  # noqa: E402
from semquery.fit import FitConfig, RasterisedFit  # noqa: E402
from semquery.splatting import View, gaussians_of, rasterize  # noqa: E402
from semquery.splatting.features import RasterisedConfig  # noqa: E402
from semquery.stages.splats import cleaned  # noqa: E402
from semquery.store import Run, RunError  # noqa: E402

SIDE, NAMES = 32, [f"view_{k:02d}" for k in range(12)]


def tiny_splats(scene: Path, output: Path, geometry_steps: int = 40, fit_steps: int = 20) -> SemqueryTrainerConfig:
    """semquery-splat-tiny, smaller still; the configuration is copied the way the command line would fill it."""
    config = yaml.load(yaml.dump(plugin.semquery_splat_tiny.config), Loader=yaml.Loader)
    config.data = config.pipeline.datamanager.data = scene
    config.output_dir, config.timestamp, config.vis = output, "run", "tensorboard"
    config.pipeline.datamanager.dataparser = NerfstudioDataParserConfig(data=scene, eval_mode="all")
    config.pipeline.datamanager.max_side, config.pipeline.datamanager.num_seeds = SIDE, 600
    config.pipeline.geometry_steps, config.pipeline.fit = geometry_steps, FitConfig(steps=fit_steps, batch=256)
    config.pipeline.model.num_downscales, config.pipeline.model.num_random = 0, 64
    config.machine.device_type, config.steps_per_save = "cpu", 10_000
    return config


def refining(config: SemqueryTrainerConfig, every: int) -> SemqueryTrainerConfig:
    """The same with Gaussians that come and go at once, whatever they are like."""
    model, config.pipeline.datamanager.num_seeds = config.pipeline.model, 150
    model.warmup_length, model.refine_every, model.densify_grad_thresh, model.cull_alpha_thresh = 1, every, 1e-12, 0.02
    return config


@pytest.fixture(scope="module")
def trained(box_photos: Path, tmp_path_factory) -> SemqueryTrainer:
    return train(tiny_splats(box_photos, tmp_path_factory.mktemp("splats")))


@pytest.fixture(scope="module")
def named(trained: SemqueryTrainer, tmp_path_factory) -> Run:
    return named_box(trained, tmp_path_factory.mktemp("named") / "box")


@contextmanager
def shown(trained: SemqueryTrainer, run: Run, is_lit=None, cut: str | None = None, heat=None, wanted=frozenset(PICTURES)):
    """The model in evaluation mode with this on show; `cut`: "hide" or "isolate" the lit parts."""
    model = trained.pipeline.eval().model
    scenery = model.pictures.scenery(run.surface(), run.parts()).prepare()
    left = None if cut is None else scenery.cut(is_lit, cut == "isolate", model.T_train_capture, "cpu")
    model.pictures.is_live, model.pictures.watched = True, lambda: wanted
    model.pictures.sight = Sight(scenery, colors_at(scenery.tree, 2), is_lit, left, heat)
    try:
        yield model
    finally:
        model.pictures.is_live, model.pictures.watched, model.pictures.sight = False, None, None


def view(model, trained: SemqueryTrainer, number: int = 8) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The pictures of a training view, and the face that each pixel shows by where its depth ends; -1 = none."""
    camera = trained.pipeline.datamanager.train_dataset.cameras[number : number + 1]
    outputs = model.get_outputs_for_camera(camera)
    rays = camera.generate_rays(camera_indices=0)
    deep = rays.directions / -(rays.directions @ camera.camera_to_worlds[0, :, :3])[..., 2:]
    points = model.frame.to_capture(rays.origins + deep * outputs["depth"]).reshape(-1, 3)
    face = np.where(outputs["accumulation"].flatten() > 0.8, face_of(points.numpy()), -1)
    return {name: outputs[name].reshape(-1, 3).numpy() for name in ("rgb", *PICTURES)}, face


def lit(*parts: int) -> np.ndarray:
    return np.isin(np.arange(10), parts)


# ------------------------------------------------------------------------------------- a whole run


def test_one_training_leaves_a_whole_run(trained) -> None:
    run = Run(trained.base_dir)
    assert run.masked_views() == run.observed_views() == NAMES
    assert run.parts().num_parts > 1 and len(run.surface().points) > 100
    assert [line["stage"] for line in run.manifest() if line["event"] == "done"] == ["masks", "observe", "fit", "tree"]
    assert (trained.checkpoint_dir / "step-000000059.ckpt").exists()


def test_the_surface_is_where_the_box_is(trained) -> None:
    """In the capture's frame, though nerfstudio turned, centred and scaled the scene."""
    assert trained.pipeline.datamanager.train_dataparser_outputs.dataparser_scale != 1
    points = np.concatenate([Run(trained.base_dir).observation(name).points for name in NAMES])
    outside = np.abs(points - CENTRE).max(1) - HALF  # 0 on the surface
    assert np.abs(np.median(outside)) < 0.1 and np.quantile(np.abs(outside), 0.8) < 0.15


def test_observed_points_project_back_to_their_pixels(trained) -> None:
    run = Run(trained.base_dir)
    cameras, seen = run.cameras(), run.observation("view_03")
    T, (fx, fy, cx, cy) = cameras.T_world_cam[3], cameras.intrinsics[3]
    x, y, z = ((seen.points - T[:3, 3]) @ T[:3, :3]).T
    rows, columns = np.divmod(seen.pixels, seen.size[1])
    assert seen.size == (SIDE, SIDE) and len(seen.pixels) > 50
    np.testing.assert_allclose(cx - fx * x / z, columns + 0.5, atol=1e-3)
    np.testing.assert_allclose(cy + fy * y / z, rows + 0.5, atol=1e-3)


def test_the_splats_of_the_run_are_the_models_in_the_captures_frame(trained) -> None:
    """Rendered from the capture's cameras they show what the model shows."""
    run, model = Run(trained.base_dir), trained.pipeline.eval().model
    gaussians, cameras = gaussians_of(read_splats(run / SPLATS)), run.cameras()
    assert len(gaussians) == model.num_points
    seen_by = View.of(cameras.T_world_cam[3], cameras.intrinsics[3], (SIDE, SIDE), gaussians.means)
    with torch.no_grad():
        picture = rasterize(gaussians, seen_by, gaussians.colors(seen_by.position))
    outputs = model.get_outputs_for_camera(trained.pipeline.datamanager.train_dataset.cameras[3:4])
    rgb = picture.features + (1 - picture.opacity[..., None]) * outputs["background"]
    torch.testing.assert_close(rgb.clamp(0, 1), outputs["rgb"], atol=2e-3, rtol=0)


def test_its_splats_are_labelled_by_an_export(trained, named, tmp_path: Path) -> None:
    shutil.copyfile(trained.base_dir / SPLATS, named / SPLATS)
    stages.export(named, tmp_path, formats=("splats",))  # which ones need not be said
    rows = read_splats(tmp_path / "splats.ply")["vertex"].data
    centres = np.stack([rows["x"], rows["y"], rows["z"]], 1)
    has = rows["part"] >= 0
    assert len(rows) == trained.pipeline.model.num_points and has.mean() > 0.2
    away = np.abs(np.abs(centres - CENTRE).max(1) - HALF)
    assert (rows["part"][has] == face_of(centres[has])).mean() > 0.7 and np.median(away[has]) < np.median(away[~has])


def test_the_run_reloads_from_anywhere_and_shows_the_same(trained, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    for method in (plugin.semquery_splat, plugin.semquery_splat_tiny):
        monkeypatch.setitem(eval_utils.all_methods, method.config.method_name, method.config)
    _, pipeline, _, step = eval_utils.eval_setup(trained.base_dir / "config.yml", test_mode="test")
    assert step == 59
    camera = pipeline.datamanager.train_dataset.cameras[3:4]
    outputs, was = pipeline.model.get_outputs_for_camera(camera), trained.pipeline.eval().model.get_outputs_for_camera(camera)
    assert all(outputs[name].shape == (SIDE, SIDE, 3) for name in ("rgb", "background", *PICTURES))
    torch.testing.assert_close(dict(outputs), dict(was))
    assert outputs["parts"].reshape(-1, 3).unique(dim=0).shape[0] > 1
    torch.testing.assert_close(outputs["highlight"], outputs["rgb"])  # nothing is selected
    metrics, _ = pipeline.get_eval_image_metrics_and_images(step)
    assert {"psnr", "ssim"} <= set(metrics) and "lpips" not in metrics and metrics["psnr"] > 12


# ------------------------------------------------------------------------------------- what is shown


def test_a_lit_part_is_tinted_and_nothing_else(trained, named) -> None:
    with shown(trained, named, lit(TOP)) as model:
        drawn, face = view(model, trained)
    magenta = drawn["highlight"][:, 0] - drawn["highlight"][:, 1]
    assert (face == TOP).sum() > 20 and ((face >= 0) & (face != TOP)).sum() > 20
    assert magenta[face == TOP].mean() > 0.15 + magenta[(face >= 0) & (face != TOP)].mean()
    with shown(trained, named) as model:
        np.testing.assert_array_equal(view(model, trained)[0]["highlight"], drawn["rgb"])


def test_a_part_alone_and_a_hidden_one_add_up_to_all_gaussians(trained, named) -> None:
    with shown(trained, named, lit(TOP), "isolate") as model:
        alone, face = view(model, trained)
        scenery = model.pictures.sight.scenery
    with shown(trained, named, lit(TOP), "hide") as model:
        hidden, _ = view(model, trained)
    is_top, is_other, behind = face == TOP, (face >= 0) & (face != TOP), trained.pipeline.model.background_color.numpy()
    left = lambda drawn, name, where: np.abs(drawn[name][where] - behind).mean()  # noqa: E731
    gone = lambda drawn, where: left(drawn, "highlight", where) < 0.4 * left(drawn, "rgb", where)  # noqa: E731
    assert gone(alone, is_other) and not gone(alone, is_top) and not gone(hidden, is_other)
    assert np.abs(hidden["highlight"] - hidden["rgb"])[is_top].mean() > np.abs(hidden["highlight"] - hidden["rgb"])[is_other].mean()
    keeps = [scenery.cut(lit(TOP), is_alone, torch.eye(4), "cpu") for is_alone in (True, False)]
    assert bool((keeps[0] ^ keeps[1]).all()) and 0 < int(keeps[0].sum()) < len(keeps[0])
    with shown(trained, named, lit(*range(10)), "hide") as model:  # the root goes with all that have no part
        np.testing.assert_allclose(view(model, trained)[0]["highlight"], np.broadcast_to(behind, (SIDE * SIDE, 3)), atol=1e-6)


def test_heat_is_where_the_query_fits(trained, named) -> None:
    with shown(trained, named, heat=np.where(lit(TOP), 0.9, np.nan).astype(np.float32)) as model:
        drawn, face = view(model, trained)
    colourful = np.ptp(drawn["relevancy"], axis=1)
    assert colourful[face == TOP].mean() > 2 * colourful[(face >= 0) & (face != TOP)].mean()


def test_each_gaussian_is_of_the_part_of_its_nearest_surface_point(trained, named) -> None:
    model, surface, tree = trained.pipeline.model, named.surface(), named.parts()
    scenery = model.pictures.scenery(surface, tree)
    away = np.linalg.norm(scenery.centres[:, None].astype(np.float64) - surface.points[None], axis=2)
    near = scenery.is_surface & (away.min(1) <= scenery.reach)
    np.testing.assert_array_equal(scenery.on.is_on, near)
    np.testing.assert_array_equal(scenery.on.part, np.where(near, tree.part_of_point[away.argmin(1)], BOX))
    assert 0 < near.sum() < len(near)


def test_what_is_shown_of_a_gaussian_is_what_an_export_and_a_query_say_of_it(trained, named) -> None:
    shutil.copyfile(trained.base_dir / SPLATS, named / SPLATS)
    scenery, labelled = trained.pipeline.model.pictures.scenery(named.surface(), named.parts()), stages.labelled_gaussians(named)
    has = labelled.part >= 0
    np.testing.assert_array_equal(scenery.on.part[has], labelled.part[has])
    np.testing.assert_array_equal(scenery.is_surface, ~labelled.left_out)
    assert scenery.on.is_on[has].all() and has.mean() > 0.2
    assert labelled.features.shape == (trained.pipeline.model.num_points, trained.pipeline.config.fit.field.dim)
    heat, found = stages.opened(named).relevancy("top face"), stages.query_gaussians(stages.opened(named), labelled, "top face")
    np.testing.assert_array_equal(heat[scenery.on.part[has]], found.relevancy[has])
    assert found.is_hit.any() and np.isnan(found.relevancy[~has]).all() and (labelled.part[found.is_hit] == TOP).all()


def test_left_out_gaussians_have_no_part(trained, named) -> None:
    model = trained.pipeline.model
    opacities = model.opacities.detach().sigmoid()[:, 0].numpy()
    least = float(np.median(opacities))
    was, model.cleaning = model.cleaning, replace(model.cleaning, min_opacity=least)
    strict = model.pictures.scenery(named.surface(), named.parts())
    model.cleaning = was
    assert 0 < strict.is_surface.sum() < model.num_points and not strict.on.is_on[~strict.is_surface].any()
    assert (~strict.is_surface[opacities < least]).all()


def test_what_nobody_looks_at_is_not_worked_out(trained, named, monkeypatch) -> None:
    asked: list[int] = []
    with shown(trained, named, lit(TOP), "hide", wanted=frozenset({"rgb"})) as model:
        monkeypatch.setattr(type(model.feature_field), "forward", lambda self, points: asked.append(len(points)))
        monkeypatch.setattr(SplatScenery, "ends", lambda self, points, seen: asked.append(len(points)))
        drawn, _ = view(model, trained)
    assert asked == [] and all(drawn[name] is not None and np.array_equal(drawn[name], drawn["rgb"]) for name in PICTURES)


def test_a_crop_box_leaves_what_is_in_it_in_every_picture(trained, named) -> None:
    camera = trained.pipeline.datamanager.train_dataset.cameras[8:9]
    with shown(trained, named, lit(TOP)) as model:
        whole = model.get_outputs_for_camera(camera)
        everything = model.get_outputs_for_camera(camera, OrientedBox(torch.eye(3), torch.zeros(3), 20 * torch.ones(3)))
        nothing = model.get_outputs_for_camera(camera, OrientedBox(torch.eye(3), torch.tensor([9.0, 9, 9]), torch.ones(3)))
        middle = model.means.detach().mean(0)
        half = model.get_outputs_for_camera(camera, OrientedBox(torch.eye(3), middle + torch.tensor([0, 0, 5.0]), 10 * torch.ones(3)))
        model.set_crop(None)
    torch.testing.assert_close(everything, whole)
    assert float(nothing["accumulation"].max()) == 0 and set(nothing) == set(whole)
    assert 0.05 < float(half["accumulation"].mean() / whole["accumulation"].mean()) < 0.95


def test_pictures_of_other_gaussians_are_not_drawn(trained, named) -> None:
    model = trained.pipeline.model
    scenery = model.pictures.scenery(named.surface(), named.parts())
    frame = Frame(Sight(scenery, colors_at(scenery.tree, 2)))
    assert drawable(frame, model.num_points) is frame
    assert drawable(frame, model.num_points + 1).sight is None and drawable(Frame(None), 3).sight is None


def test_the_viewer_shows_what_the_panel_selects(trained, named) -> None:
    """Nerfstudio's own viewer, which treats splats as a case of their own. How large a moving picture is depends on the machine, so
    the pictures are those of a page at rest."""
    at_rest, seen = (64, 64, 3), []

    def shows(condition) -> bool:
        seen.append(page.frames[-1].astype(float) if page.frames else np.zeros(0))
        return seen[-1].shape == at_rest and bool(condition(seen[-1]))

    with open_viewer(trained, named) as viewer:
        session, page = viewer.pipeline.panel.session, looking(viewer)
        page.move()
        wait_until(lambda: shows(lambda frame: frame.std() > 5), "the plain picture")
        plain = seen[-1]
        assert set(PICTURES) <= set(viewer.control_panel._output_render.options)
        session.select(TOP)
        viewer.pipeline.panel.painter.settle(PATIENCE)
        assert viewer.pipeline.panel.painter.troubles == [] and viewer.control_panel.output_render == "highlight"
        magenta = lambda frame: (frame[..., 0] - frame[..., 1]) - (plain[..., 0] - plain[..., 1])  # noqa: E731
        wait_until(lambda: shows(lambda frame: magenta(frame).max() > 60), "the selection in magenta")
        assert np.abs(magenta(seen[-1])).min() == 0  # and the rest as it was


# -------------------------------------------------------------------------------- phases and resuming


def test_the_field_may_learn_from_rasterised_features(box_photos: Path, tmp_path: Path, capsys) -> None:
    """The other way of feature rendering, in a whole training."""
    config = tiny_splats(box_photos, tmp_path, 20, 10)
    config.pipeline.fit = replace(config.pipeline.fit, feature_rendering="rasterised", rasterised=RasterisedConfig(most=4))
    by_splats = train(config)
    run = Run(by_splats.base_dir)
    assert isinstance(by_splats.pipeline.feature_fit, RasterisedFit) and "4 Gaussians a pixel carry" in capsys.readouterr().out
    assert run.stage("fit")["config"]["feature_rendering"] == "rasterised" and run.parts().num_parts > 1
    again = stages.open_fit(run, config.pipeline.fit, by_splats.pipeline.model.feature_field)
    on_surface = stages.open_fit(run, replace(config.pipeline.fit, feature_rendering="surface"), by_splats.pipeline.model.feature_field)
    losses = [{name: float(loss) for name, loss in each.losses(3).items()} for each in (again, on_surface)]
    assert losses[0].keys() == losses[1].keys() and losses[0] != losses[1]


@pytest.mark.parametrize("depth", ["median", "expected"])
def test_the_surface_is_at_the_depth_that_is_asked_for(trained, tmp_path: Path, depth: str) -> None:
    """Along the axis of each camera, as the splats of the run are rendered."""
    pipeline, run = trained.pipeline, Run(tmp_path / "run", create=True)
    config = replace(pipeline.config.surface, depth=depth, others=0)
    observe_splat_views(run, pipeline.model, pipeline.capture, pipeline.datamanager.pinhole_cameras, config)
    gaussians, cameras, seen = gaussians_of(read_splats(run / SPLATS)), run.cameras(), run.observation("view_03")
    gaussians = gaussians[torch.from_numpy(cleaned(gaussians, pipeline.model.cleaning).kept)]
    with torch.no_grad():
        rendered = rasterize(gaussians, View.of(cameras.T_world_cam[3], cameras.intrinsics[3], (SIDE, SIDE), gaussians.means), gaussians.sh[:, 0])
    expected = (rendered.quartiles[1] if depth == "median" else rendered.depth).numpy().ravel()[seen.pixels]
    T = cameras.T_world_cam[3]
    np.testing.assert_allclose((T[:3, 3] - seen.points) @ T[:3, 2], expected, rtol=1e-4)
    assert len(seen.pixels) > 50 and rendered.opacity.numpy().ravel()[seen.pixels].min() > config.min_opacity - 1e-3


def test_the_geometry_stands_still_while_the_field_learns(trained) -> None:
    model = trained.pipeline.train().model
    geometry, table = [p.clone() for p in model.geometry_parameters()], model.feature_field.grid.table.clone()
    trained.train_iteration(step=50)
    model.step_post_backward(50)
    assert all(torch.equal(a, b) for a, b in zip(geometry, model.geometry_parameters(), strict=True))
    assert not torch.equal(table, model.feature_field.grid.table)
    model.feature_field.grid.table.data.copy_(table)


def test_a_run_that_grew_is_resumed_with_as_many_gaussians_and_goes_on_growing(box_photos: Path, tmp_path: Path) -> None:
    first = refining(tiny_splats(box_photos, tmp_path, 75, 5), 15)
    first.max_num_iterations = 33
    stopped = train(first)
    grown = stopped.pipeline.model.num_points
    assert grown > 150 and not (stopped.base_dir / "parts.npz").exists()
    second = refining(tiny_splats(box_photos, tmp_path, 75, 5), 15)
    second.timestamp, second.load_dir = "resumed", stopped.checkpoint_dir
    resumed = second.setup(local_rank=0, world_size=1)
    resumed.setup()
    model = resumed.pipeline.model
    for name, values in stopped.pipeline.model.gauss_params.items():
        held = resumed.optimizers.optimizers[name].param_groups[0]["params"][0]
        assert held is model.gauss_params[name], f"the optimiser would train other {name}"
        torch.testing.assert_close(held, values)
    resumed.train()
    assert resumed.step == 79 and (resumed.base_dir / "parts.npz").exists() and model.num_points > grown
    assert len(read_splats(resumed.base_dir / SPLATS)["vertex"].data) == model.num_points


def test_gaussians_are_left_alone_in_the_last_third_of_the_geometrys_training(trained) -> None:
    strategy, model = trained.pipeline.model.strategy, trained.pipeline.model
    assert strategy.refine_stop_iter == 2 * 40 // 3
    model.end_refinement(10**6)
    assert strategy.refine_stop_iter == model.config.stop_split_at
    model.end_refinement(40)


def test_the_surface_is_made_once_from_a_geometry_and_anew_from_another(trained, tmp_path: Path) -> None:
    pipeline, run = trained.pipeline, Run(tmp_path / "run", create=True)
    stamp = lambda: [(run / name).stat().st_mtime_ns for name in (SPLATS, "observed/view_00.npz")]  # noqa: E731
    pipeline.observe(run)
    kept = stamp()
    pipeline.observe(run)
    assert stamp() == kept
    pipeline.model.means.data += 1e-3
    pipeline.observe(run)
    pipeline.model.means.data -= 1e-3
    assert all(now > was for now, was in zip(stamp(), kept, strict=True))


# ---------------------------------------------------------------------------------------- refusals


def test_features_that_no_training_can_carry_are_refused_before_any_work(box_photos: Path, tmp_path: Path) -> None:
    splats, field = tiny_splats(box_photos, tmp_path), tiny(box_photos, tmp_path)
    rasterised = replace(splats.pipeline.fit, feature_rendering="rasterised")
    splats.pipeline.fit = rasterised
    splats.pipeline.check_can_train("cpu")
    splats.pipeline.fit = replace(rasterised, rasterised=RasterisedConfig(carried_by="vectors"))
    with pytest.raises(RunError, match="carried_by vectors.*semquery fit RUN --feature-rendering rasterised"):
        splats.setup(local_rank=0, world_size=1).setup()
    field.pipeline.fit = rasterised
    with pytest.raises(RunError, match="a radiance field has none.*semquery-splat"):
        field.setup(local_rank=0, world_size=1).setup()


def test_rasterised_features_of_distorted_photos_are_refused_before_any_training(box_photos: Path, tmp_path: Path) -> None:
    bent = shutil.copytree(box_photos, tmp_path / "bent")
    lens = json.loads((bent / "transforms.json").read_text()) | {"k1": 0.05}
    (bent / "transforms.json").write_text(json.dumps(lens))
    config = tiny_splats(bent, tmp_path / "out")
    config.pipeline.fit = replace(config.pipeline.fit, feature_rendering="rasterised")
    with pytest.raises(RunError, match="photos are distorted.*feature-rendering at surface"):
        config.setup(local_rank=0, world_size=1).setup()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA here")
def test_without_cuda_one_sentence_says_what_to_use_instead_and_nothing_is_begun(box_photos: Path, tmp_path: Path, capsys) -> None:
    config = tiny_splats(box_photos, tmp_path)
    config.pipeline.model.rasterizer = "gsplat"
    with pytest.raises(SystemExit) as refused:  # what ns-train calls first, and what its exit code is made from
        config.print_to_terminal()
    said = refused.value.code
    assert all(name in said for name in ("CUDA", "semquery-splat-tiny", "--pipeline.model.rasterizer torch", "semquery fit RUN --splats"))
    assert said.count(". ") == 0 and said.endswith(".") and capsys.readouterr().out == ""
    with pytest.raises(RunError, match="needs a CUDA device"):
        config.setup(local_rank=0, world_size=1).setup()
    assert list(tmp_path.iterdir()) == []


def test_a_run_trained_with_gsplat_opens_without_cuda(trained) -> None:
    model = trained.pipeline.eval().model
    camera = trained.pipeline.datamanager.train_dataset.cameras[3:4]
    by_torch = model.get_outputs_for_camera(camera)["rgb"]
    model.config.rasterizer = "gsplat"
    by_default = model.get_outputs_for_camera(camera)["rgb"]
    model.config.rasterizer = "torch"
    torch.testing.assert_close(by_default, by_torch, atol=0.02, rtol=0)  # equal here, gsplat's own where there is CUDA


def test_checkpoints_of_other_methods_are_refused_and_those_of_other_counts_are_not(trained) -> None:
    state = trained.pipeline.state_dict()
    more = {name: torch.cat([t, t]) if "gauss_params" in name else t for name, t in state.items()}
    check_checkpoint(more, state, ("_model.gauss_params.",))
    with pytest.raises(RunError, match="does not fit"):
        check_checkpoint(more, state)
    with pytest.raises(RunError, match=r"features_rest has \(9, 3\), expected \(3, 3\)"):
        check_checkpoint({**state, "_model.gauss_params.features_rest": torch.zeros(7, 9, 3)}, state, ("_model.gauss_params.",))
    with pytest.raises(RunError, match=f"format 99.*reads format {FORMAT}"):
        check_checkpoint({**state, "_model.format": torch.tensor(99)}, state)


def test_a_geometry_without_surface_is_reported(trained, tmp_path: Path) -> None:
    pipeline, run = trained.pipeline, Run(tmp_path / "run", create=True)
    model, nothing = pipeline.model, replace(pipeline.config.surface, min_opacity=0.99999)
    with pytest.raises(RunError, match="None of the 12 views shows a surface"):
        observe_splat_views(run, model, pipeline.capture, pipeline.datamanager.pinhole_cameras, nothing)
    was = model.opacities.data.clone()
    model.opacities.data.fill_(-9.0)
    with pytest.raises(ValueError, match="600 nearly transparent, so nothing is left"):
        pipeline.observe(run)
    model.opacities.data.copy_(was)


def test_seeds_fill_what_the_silhouettes_leave(trained) -> None:
    from nerfstudio_plugin.hull import hull_points

    outputs = trained.pipeline.datamanager.train_dataparser_outputs
    points = hull_points(outputs.cameras, outputs.image_filenames, outputs.scene_box.aabb, 500, seed=3)
    away = np.abs(trained.pipeline.model.frame.to_capture(points).numpy() - CENTRE).max(1) / HALF
    assert len(points) == 500 and np.median(away) < 1.2 and away.max() < 3 and (away < 1).mean() > 0.3
    assert SIZE > SIDE  # silhouettes are those of the photos, whatever size is trained on
