"""The nerfstudio plugin, in process on a coloured box: both phases, resuming, reloading, frames, refusals."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

trainer_module = pytest.importorskip("nerfstudio.engine.trainer")

from nerfstudio.utils.eval_utils import eval_setup  # noqa: E402
from training import CENTRE, HALF, SIZE, tiny, train, write_transforms  # noqa: E402

from nerfstudio_plugin import config as plugin  # noqa: E402
from nerfstudio_plugin.capture import CaptureError  # noqa: E402
from nerfstudio_plugin.capture import Frame as CaptureFrame  # noqa: E402
from nerfstudio_plugin.hull import hull_box  # noqa: E402
from nerfstudio_plugin.observe import SurfaceConfig, capture_cameras, observe_views, view_rays  # noqa: E402
from nerfstudio_plugin.outputs import PICTURES, Frame, Scenery, Sight, TreePictures, colors_at, tree_pictures  # noqa: E402
from nerfstudio_plugin.pipeline import check_checkpoint  # noqa: E402
from nerfstudio_plugin.trainer import SemqueryTrainer  # noqa: E402
from semquery.render import pinhole  # noqa: E402
from semquery.store import Run, RunError  # noqa: E402
from semquery.viewer.colours import pca_basis  # noqa: E402

# ------------------------------------------------------------------------------------------ a scene


@pytest.fixture(scope="session")
def scene(box_photos: Path) -> Path:
    return box_photos


@pytest.fixture(scope="session")
def trained(trained_box: SemqueryTrainer) -> SemqueryTrainer:
    return trained_box


# ------------------------------------------------------------------------------------- a whole run


def test_one_training_leaves_a_whole_run(trained: SemqueryTrainer) -> None:
    run = Run(trained.base_dir)
    names = [f"view_{k:02d}" for k in range(12)]
    assert run.masked_views() == run.observed_views() == names
    assert run.parts().num_parts >= 1 and len(run.surface().points) > 100
    assert [line["stage"] for line in run.manifest() if line["event"] == "done"] == ["masks", "observe", "fit", "tree"]
    assert (trained.checkpoint_dir / "step-000000089.ckpt").exists()


def test_the_surface_is_where_the_box_is(trained: SemqueryTrainer) -> None:
    """In the capture's frame, though nerfstudio turned, centred and scaled the scene."""
    assert trained.pipeline.datamanager.train_dataparser_outputs.dataparser_scale != 1
    points = np.concatenate([Run(trained.base_dir).observation(f"view_{k:02d}").points for k in range(12)])
    outside = np.abs(points - CENTRE).max(1) - HALF  # 0 on the surface
    assert np.abs(np.median(outside)) < 0.05 and np.quantile(np.abs(outside), 0.8) < 0.15


def test_cameras_are_written_as_they_were_captured(trained: SemqueryTrainer, scene: Path) -> None:
    cameras = Run(trained.base_dir).cameras()
    frames = json.loads((scene / "transforms.json").read_text())["frames"]
    np.testing.assert_allclose(cameras.T_world_cam, [f["transform_matrix"] for f in frames], atol=2e-6)
    assert cameras.intrinsics[0] == pytest.approx(pinhole(50, (SIZE, SIZE)), rel=1e-5)
    assert cameras.sizes.tolist() == [[SIZE, SIZE]] * 12


def test_observed_points_project_back_to_their_pixels(trained: SemqueryTrainer) -> None:
    run = Run(trained.base_dir)
    cameras, seen = run.cameras(), run.observation("view_03")
    T, (fx, fy, cx, cy) = cameras.T_world_cam[3], cameras.intrinsics[3]
    x, y, z = ((seen.points - T[:3, 3]) @ T[:3, :3]).T
    rows, columns = np.divmod(seen.pixels, seen.size[1])
    np.testing.assert_allclose(cx - fx * x / z, columns + 0.5, atol=0.02)
    np.testing.assert_allclose(cy + fy * y / z, rows + 0.5, atol=0.02)


def test_background_pixels_are_no_surface(trained: SemqueryTrainer, scene: Path) -> None:
    alpha = np.asarray(Image.open(scene / "images" / "view_03.png"))[..., 3].ravel()
    seen = Run(trained.base_dir).observation("view_03")
    assert (alpha[seen.pixels] > 127).all()
    assert len(seen.pixels) > 0.4 * (alpha > 127).sum()


def test_the_run_reloads_and_shows_features_and_parts(trained: SemqueryTrainer, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)  # the run directory is found from anywhere
    _, pipeline, _, step = eval_setup(trained.base_dir / "config.yml", test_mode="test")
    assert step == 89
    outputs = pipeline.model.get_outputs_for_camera(pipeline.datamanager.train_dataset.cameras[3:4])
    was = trained.pipeline.eval().model.get_outputs_for_camera(pipeline.datamanager.train_dataset.cameras[3:4])
    assert all(outputs[name].shape == (SIZE, SIZE, 3) for name in ("rgb", *PICTURES))
    torch.testing.assert_close(outputs["features"], was["features"])
    assert len(outputs["parts"].reshape(-1, 3).unique(dim=0)) > 1
    torch.testing.assert_close(outputs["highlight"], outputs["rgb"])  # nothing is selected
    metrics, _ = pipeline.get_eval_image_metrics_and_images(step)
    assert set(metrics) == {"psnr", "ssim", "num_rays"} and metrics["psnr"] > 12


def test_the_features_shown_are_those_of_the_field_at_the_capture_frame(trained: SemqueryTrainer) -> None:
    model = trained.pipeline.eval().model
    camera = trained.pipeline.datamanager.train_dataset.cameras[3:4]
    outputs = model.get_outputs_for_camera(camera)
    rays = camera.generate_rays(camera_indices=0)
    points = model.frame.to_capture(rays.origins + rays.directions * outputs["depth"]).reshape(-1, 3)
    basis = pca_basis(Run(trained.base_dir).surface().features)
    expected = basis.colors(model.feature_field(points).detach().numpy()).reshape(SIZE, SIZE, 3) / 255 * outputs["accumulation"].numpy()
    hit = outputs["accumulation"][..., 0] >= 0.5  # the depth of other rays lies behind the scene
    assert hit.any()
    np.testing.assert_allclose(outputs["features"][hit].numpy(), expected[hit.numpy()], atol=2 / 255)


def test_rays_that_hit_nothing_end_just_behind_the_scene(trained: SemqueryTrainer) -> None:
    model = trained.pipeline.eval().model
    outputs = model.get_outputs_for_camera(trained.pipeline.datamanager.train_dataset.cameras[3:4])
    hit, box = outputs["accumulation"] >= 0.5, model.scene_box.aabb
    assert 0 < outputs["depth"][hit].max() < outputs["depth"][~hit].min()
    assert outputs["depth"][~hit].max() < outputs["depth"][hit].min() + 2 * float((box[1] - box[0]).norm())


def test_a_checkpoint_is_whole_or_not_there(trained: SemqueryTrainer, monkeypatch) -> None:
    before = {p.name: p.stat().st_size for p in trained.checkpoint_dir.iterdir()}

    def die_half_way(state, path) -> None:
        Path(path).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", die_half_way)
    with pytest.raises(KeyboardInterrupt):
        trained.save_checkpoint(99)
    assert {p.name: p.stat().st_size for p in trained.checkpoint_dir.iterdir()} == before
    monkeypatch.undo()
    trained.save_checkpoint(99)
    assert [p.name for p in trained.checkpoint_dir.iterdir()] == ["step-000000099.ckpt"]
    assert torch.load(trained.checkpoint_dir / "step-000000099.ckpt")["step"] == 99
    trained.save_checkpoint(trained.step)


def test_the_geometry_is_kept_before_the_surface_is_rendered(scene: Path, tmp_path: Path, monkeypatch) -> None:
    """Killed while it renders the surface, a run comes back to the same geometry and keeps the views that were done."""
    calls, write = [], Run.write_observation

    def write_or_die(self, view, seen):
        if len(calls) == 5:
            raise KeyboardInterrupt
        calls.append(view)
        write(self, view, seen)

    monkeypatch.setattr(Run, "write_observation", write_or_die)
    with pytest.raises(KeyboardInterrupt):
        train(tiny(scene, tmp_path, 20, 10))
    monkeypatch.undo()
    run = Run(next(tmp_path.rglob("observed")).parent)
    stamps = {p.name: p.stat().st_mtime_ns for p in (run / "observed").glob("*.npz")}
    assert len(stamps) == 5
    again = tiny(scene, tmp_path, 20, 10)
    again.load_dir = run / "nerfstudio_models"
    train(again)
    assert {name: (run / "observed" / name).stat().st_mtime_ns for name in stamps} == stamps
    assert (run / "parts.npz").exists()


def test_the_level_changes_the_colours_of_the_parts(trained: SemqueryTrainer) -> None:
    run, shape = Run(trained.base_dir), (-1, 3)
    scenery = Scenery(run.surface(), run.parts())
    points = torch.from_numpy(run.surface().points)
    white, seen = torch.ones_like(points), torch.ones(len(points), 1)
    whole, fine = (
        tree_pictures(Frame(Sight(scenery, colors_at(scenery.tree, level))), white, seen, points, lambda: None, lambda cut: white)["parts"].reshape(shape)
        for level in (0, 12))
    assert len(whole.unique(dim=0)) == 1
    assert len(fine.unique(dim=0)) == len(np.unique(run.parts().part_of_point))


def test_parts_are_grey_until_there_is_a_tree(trained: SemqueryTrainer, tmp_path: Path) -> None:
    pictures = TreePictures()
    pictures.run = tmp_path
    white, seen = torch.ones(4, 3), torch.ones(4, 1)
    with pictures.frame() as frame:
        drawn = tree_pictures(frame, white, seen, white, lambda: None, lambda cut: white)
    assert set(drawn) == set(PICTURES) and len(drawn["parts"].unique()) == len(drawn["features"].unique()) == 1
    pictures.run = trained.base_dir
    assert pictures.now.sight is not None and pictures.now is not pictures.now  # outside of a frame: what is shown at this moment


# -------------------------------------------------------------------------------- phases and resuming


def test_the_phase_switch_is_idempotent(trained: SemqueryTrainer) -> None:
    pipeline = trained.pipeline
    before = (trained.base_dir / "run.jsonl").read_text()
    fit = pipeline.feature_phase()
    pipeline.feature_fit = None
    again = pipeline.feature_phase()
    assert again is not fit and again.names == fit.names
    assert (trained.base_dir / "run.jsonl").read_text() == before
    assert not any(p.requires_grad for p in pipeline.model.geometry_parameters())


def test_the_geometry_stands_still_while_the_field_learns(trained: SemqueryTrainer) -> None:
    geometry = [p.clone() for p in trained.pipeline.model.geometry_parameters()]
    table = trained.pipeline.model.feature_field.grid.table.clone()
    trained.pipeline.train()
    trained.train_iteration(step=80)
    assert all(torch.equal(a, b) for a, b in zip(geometry, trained.pipeline.model.geometry_parameters(), strict=True))
    assert not torch.equal(table, trained.pipeline.model.feature_field.grid.table)
    trained.pipeline.model.feature_field.grid.table.data.copy_(table)


def test_a_run_stopped_between_phases_goes_on_to_the_planned_end(scene: Path, tmp_path: Path) -> None:
    first = tiny(scene, tmp_path, 50, 20)
    first.max_num_iterations = 54
    stopped = train(first)
    assert not (stopped.base_dir / "parts.npz").exists()
    second = tiny(scene, tmp_path, 50, 20)
    second.timestamp, second.load_dir = "resumed", stopped.checkpoint_dir
    resumed = train(second)
    assert resumed.step == 69 and (resumed.base_dir / "parts.npz").exists()
    for a, b in zip(stopped.pipeline.model.geometry_parameters(), resumed.pipeline.model.geometry_parameters(), strict=True):
        assert torch.equal(a, b)
    masks = [Run(t.base_dir) / "masks" / "view_00.npz" for t in (stopped, resumed)]
    assert masks[0].stat().st_ino == masks[1].stat().st_ino, "the second run made the masks again"


def test_the_gpu_method_runs_too_and_writes_the_poses_it_found(scene: Path, tmp_path: Path) -> None:
    """`semquery` refines poses while it trains: cameras.json must hold the rays that the surface was seen along."""
    config, small = yaml.load(yaml.dump(plugin.semquery.config), Loader=yaml.Loader), tiny(scene, tmp_path, 2, 2)
    config.data, config.output_dir, config.timestamp, config.vis = scene, tmp_path, "run", "tensorboard"
    config.mixed_precision, config.machine.device_type = False, "cpu"
    config.pipeline.datamanager, config.pipeline.fit, config.pipeline.geometry_steps = small.pipeline.datamanager, small.pipeline.fit, 2
    config.pipeline.model.log2_hashmap_size, config.pipeline.model.num_proposal_samples_per_ray = 12, (16, 8)
    config.pipeline.model.num_nerf_samples_per_ray = config.pipeline.model.surface_samples = 8
    trainer = train(config)
    model, capture = trainer.pipeline.model, trainer.pipeline.capture
    assert Run(trainer.base_dir).parts().num_parts >= 1
    model.camera_optimizer.pose_adjustment.data.normal_(0, 0.05)
    cameras, rays = capture_cameras(model, capture, capture.cameras), view_rays(model, capture.cameras, 5)
    T, (fx, fy, cx, cy) = cameras.T_world_cam[5], cameras.intrinsics[5]
    eye = model.frame.to_capture(rays.origins[0]).numpy()
    np.testing.assert_allclose(eye, T[:3, 3], atol=1e-5)
    x, y, z = (model.frame.to_capture(rays.origins + rays.directions).numpy() - eye)[7 * SIZE + 11] @ T[:3, :3]
    assert (cx - fx * x / z, cy + fy * y / z) == pytest.approx((11.5, 7.5), abs=1e-3)


def test_half_an_observation_is_finished_not_begun_anew(trained: SemqueryTrainer, tmp_path: Path) -> None:
    pipeline, surface = trained.pipeline, trained.pipeline.config.surface
    run = Run(tmp_path / "run", create=True)
    observe_views(run, pipeline.model, pipeline.capture, surface)
    lines = (run / "run.jsonl").read_text().splitlines()
    (run / "run.jsonl").write_text(lines[0] + "\n")  # as if killed before it was done
    (run / "observed" / "view_07.npz").unlink()
    kept = (run / "observed" / "view_00.npz").stat().st_mtime_ns
    observe_views(run, pipeline.model, pipeline.capture, surface)
    assert len(run.observed_views()) == 12 and (run / "observed" / "view_00.npz").stat().st_mtime_ns == kept


def test_a_surface_of_another_geometry_is_rendered_anew(trained: SemqueryTrainer, tmp_path: Path) -> None:
    pipeline, run = trained.pipeline, Run(tmp_path / "run", create=True)
    observe_views(run, pipeline.model, pipeline.capture, pipeline.config.surface)
    kept = (run / "observed" / "view_00.npz").stat().st_mtime_ns
    weight = next(p for p in pipeline.model.geometry_parameters() if p.numel())
    weight.data += 1e-3
    observe_views(run, pipeline.model, pipeline.capture, pipeline.config.surface)
    weight.data -= 1e-3
    assert (run / "observed" / "view_00.npz").stat().st_mtime_ns != kept


def test_the_hull_box_holds_the_object(trained: SemqueryTrainer) -> None:
    outputs = trained.pipeline.datamanager.train_dataparser_outputs
    box = hull_box(outputs.cameras, outputs.image_filenames)
    corners = torch.cartesian_prod(*[torch.tensor([-HALF, HALF])] * 3) + torch.from_numpy(CENTRE).float()
    truth = CaptureFrame.of(outputs).to_trainer(corners)
    assert bool((truth >= box[0]).all()) and bool((truth <= box[1]).all())
    # twelve views leave pyramids on the box's faces, but not the space between the cameras
    assert float((box[1] - box[0]).max()) < 3 * float((truth.amax(0) - truth.amin(0)).max())
    assert float((box[1] - box[0]).max()) < 0.75 * float((outputs.cameras.camera_to_worlds[:, :3, 3].amax(0) - outputs.cameras.camera_to_worlds[:, :3, 3].amin(0)).max())


# ---------------------------------------------------------------------------------------- refusals


def broken(scene: Path, folder: Path, change) -> Path:
    """A copy of the scene's transforms with changed frames, its photos left where they are."""
    frames = json.loads((scene / "transforms.json").read_text())["frames"]
    for frame in frames:
        frame["file_path"] = str(scene / frame["file_path"])
    write_transforms(folder, change(frames))
    return folder


def without_photos(frames: list[dict]) -> list[dict]:
    return [{**f, "file_path": "images/gone.png"} for f in frames]


def with_nan_pose(frames: list[dict]) -> list[dict]:
    pose = np.array(frames[4]["transform_matrix"])
    pose[0, 3] = np.nan
    return [*frames[:4], {**frames[4], "transform_matrix": pose.tolist()}, *frames[5:]]


@pytest.mark.parametrize("change", [without_photos, with_nan_pose, lambda frames: []], ids=["photos gone", "NaN pose", "no frames"])
def test_captures_that_cannot_be_trained_on_are_refused(scene: Path, tmp_path: Path, change) -> None:
    config = tiny(broken(scene, tmp_path, change), tmp_path)
    with pytest.raises(CaptureError, match="(?s)(capture|photo|pose).*(Check|Remove|Restore|remove)"):
        config.setup(local_rank=0, world_size=1).setup()


def test_a_pose_of_nan_is_named(scene: Path, tmp_path: Path) -> None:
    config = tiny(broken(scene, tmp_path, with_nan_pose), tmp_path)
    with pytest.raises(CaptureError, match="view_04.png has NaN"):
        config.setup(local_rank=0, world_size=1).setup()


def test_an_absent_capture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="nowhere"):
        tiny(tmp_path / "nowhere", tmp_path).setup(local_rank=0, world_size=1).setup()


def test_invisible_photos_are_refused(scene: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for path in (scene / "images").iterdir():
        Image.new("RGBA", (SIZE, SIZE)).save(tmp_path / "images" / path.name)
    (tmp_path / "transforms.json").write_text((scene / "transforms.json").read_text())
    with pytest.raises(CaptureError, match="transparent"):
        tiny(tmp_path, tmp_path / "out").setup(local_rank=0, world_size=1).setup()


def test_masks_of_another_scene_are_refused(trained: SemqueryTrainer, scene: Path, tmp_path: Path) -> None:
    config = tiny(scene, tmp_path)
    masks = config.get_base_dir() / "masks"
    masks.mkdir(parents=True)
    (masks / "kitchen_1.npz").write_bytes((trained.base_dir / "masks" / "view_00.npz").read_bytes())
    with pytest.raises(RunError, match="another scene"):
        config.setup(local_rank=0, world_size=1).setup()


def test_checkpoints_of_other_versions_and_shapes_are_refused(trained: SemqueryTrainer) -> None:
    state = trained.pipeline.state_dict()
    check_checkpoint(state, state)
    with pytest.raises(RunError, match="format 99.*reads format 1"):
        check_checkpoint({**state, "_model.format": torch.tensor(99)}, state)
    with pytest.raises(RunError, match="format None"):
        check_checkpoint({}, state)
    name = next(n for n in state if n.endswith("table"))
    with pytest.raises(RunError, match=rf"{name} has \(1, 4\), expected"):
        check_checkpoint({**state, name: torch.zeros(1, 4)}, state)


def test_a_geometry_without_surface_is_reported(trained: SemqueryTrainer, tmp_path: Path) -> None:
    pipeline = trained.pipeline
    with pytest.raises(RunError, match="None of the 12 views shows a surface"):
        observe_views(Run(tmp_path / "run", create=True), pipeline.model, pipeline.capture, replace(SurfaceConfig(), min_opacity=2.0))
