"""Splats of any trainer through the command line: a ball of two colours, photographed, splatted, and split into its halves."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from plyfile import PlyData, PlyElement
from scipy.spatial.transform import Rotation
from test_splatting_surface import ball, cameras

from semquery import stages
from semquery.cli import main
from semquery.export import Chosen
from semquery.export.splats import SH_C0, labelled_splats, read_splats, read_T_world_splats
from semquery.scene import read_lenses, read_scene
from semquery.splatting import Gaussians, View, gaussians_of, ply_of, rasterize
from semquery.splatting.clean import CleanConfig
from semquery.splatting.lens import looked_up, rays_of
from semquery.splatting.placed import in_views, likeness
from semquery.splatting.surface import SplatSurface
from semquery.stages.blending import splats_of
from semquery.store import Run, RunError
from semquery.types import MaskStack

SIDE = 40
QUICK = ["--steps", "80", "--batch", "512", "--field.hidden", "16", "--fusion.resolution", "40"]
KINDS = [(degree, 3) for degree in range(4)] + [(1, 2)]  # spherical harmonics up to this degree, and how many scales; 2 are those of 2DGS


def scene_of_two_halves() -> Gaussians:
    made = ball()
    color = torch.where(made.means[:, 2:] > 0, torch.tensor([[0.9, 0.1, 0.1]]), torch.tensor([[0.1, 0.2, 0.9]]))
    return Gaussians(made.means, made.quats, made.scales, made.opacities, ((color - 0.5) / SH_C0)[:, None])


def write_by_plyfile(path: Path, gaussians: Gaussians, degree: int = 0, scales: int = 3) -> Path:
    """As a trainer that knows nothing of us would: names in an order of its own, a field more, all harmonics that the degree has."""
    random, count, rest = np.random.default_rng(degree), len(gaussians), 3 * ((degree + 1) ** 2 - 1)
    columns = {name: gaussians.means[:, k].numpy() for k, name in enumerate("xyz")}
    columns |= {f"scale_{k}": gaussians.scales[:, k].log().numpy() for k in range(scales)}
    columns |= {"opacity": torch.logit(gaussians.opacities).numpy()} | {f"rot_{k}": gaussians.quats[:, k].numpy() for k in range(4)}
    columns |= {f"f_dc_{k}": gaussians.sh[:, 0, k].numpy() for k in range(3)}
    columns |= {f"f_rest_{k}": random.normal(0, 0.02, count) for k in range(rest)} | {"tint": random.random(count)}
    rows = np.empty(count, [(name, "<f4") for name in columns])
    for name, column in columns.items():
        rows[name] = column
    PlyData([PlyElement.describe(rows, "vertex")], byte_order="<", comments=["of another tool"]).write(str(path))
    return path


def write_capture(folder: Path, gaussians: Gaussians, count: int = 8) -> Path:
    """Photos and transforms.json of a ring of cameras."""
    views, frames = cameras(count, SIDE), []
    (folder / "images").mkdir(parents=True)
    for k, name in enumerate(views.names):
        seen_by = View.of(views.T_world_cam[k], views.intrinsics[k], (SIDE, SIDE), gaussians.means)
        with torch.no_grad():
            drawn = rasterize(gaussians, seen_by, gaussians.colors(seen_by.position))
        photo = (255 * (drawn.features + 1 - drawn.opacity[..., None]).clamp(0, 1)).byte().numpy()
        Image.fromarray(photo).save(folder / "images" / f"{name}.png")
        frames.append({"file_path": f"images/{name}.png", "transform_matrix": views.T_world_cam[k].tolist()})
    fx, fy, cx, cy = views.intrinsics[0]
    record = {"fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy, "w": SIDE, "h": SIDE, "frames": frames}
    (folder / "transforms.json").write_text(json.dumps(record))
    return folder


def write_masks(run: Run, capture: Path) -> None:
    """Two masks a view: what is red and what is blue."""
    for path in sorted((capture / "images").glob("*.png")):
        photo = np.asarray(Image.open(path)).astype(int)
        red, blue = photo[..., 0] > photo[..., 2] + 60, photo[..., 2] > photo[..., 0] + 60
        run.write_masks(path.stem, MaskStack(np.where(red, 1, np.where(blue, 2, 0)).astype(np.uint16)[None], np.ones(2, np.float32)))


@pytest.fixture(scope="module")
def capture(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("capture")
    write_capture(folder, scene_of_two_halves())
    write_by_plyfile(folder / "scene.ply", scene_of_two_halves(), degree=3)
    return folder


@pytest.fixture(scope="module")
def fitted(capture, tmp_path_factory) -> Run:
    run = Run(tmp_path_factory.mktemp("fitted") / "run", create=True)
    write_masks(run, capture)
    assert main(["fit", str(run.path), "--splats", str(capture / "scene.ply"), "--cameras", str(capture / "transforms.json"), *QUICK]) == 0
    assert main(["tree", str(run.path)]) == 0
    return run


@pytest.fixture
def run(capture, tmp_path) -> Run:
    """With masks and nothing else."""
    made = Run(tmp_path / "run", create=True)
    write_masks(made, capture)
    return made


def shown() -> np.ndarray:
    """The Gaussians that some camera surely sees: all but those below."""
    return scene_of_two_halves().means[:, 2].numpy() > -0.3


def observed(run: Run) -> np.ndarray:
    return np.concatenate([run.observation(name).points for name in run.observed_views()])


def test_the_surface_is_the_balls_and_the_tree_has_its_halves(fitted):
    surface, parts = fitted.surface(), fitted.parts()
    assert np.quantile(np.abs(np.linalg.norm(surface.points, axis=1) - 0.7), 0.9) < 0.05
    top, inner = surface.points[:, 2] > 0, np.abs(surface.points[:, 2]) > 0.05  # a pixel is that wide, and the lower half is seen as a rim
    for half in (top, ~top):
        held = [parts.points_of(part) for part in range(parts.num_parts)]
        assert max((points & half & inner).sum() / ((points | half) & inner).sum() for points in held) > 0.9
    reds = surface.colors[top].astype(int)
    assert (reds[:, 0] > reds[:, 2]).mean() > 0.95


def test_what_it_was_made_from_is_recorded_and_done_again_only_when_asked(fitted, capture, capsys):
    line = fitted.stage("observe")
    assert line["config"]["splats"] == str((capture / "scene.ply").resolve()) and line["config"]["gaussians"] == 1500
    assert not (fitted / "observed" / "depth").exists() and 0.1 < line["surface_share"] < 0.5
    arguments = ["fit", str(fitted.path), "--splats", str(capture / "scene.ply"), "--data", str(capture), *QUICK]
    before = (fitted / "surface.npz").stat().st_mtime_ns
    assert main(arguments) == 0 and "surface: already done" in capsys.readouterr().out
    assert main([*arguments, "--surface.max-side", "20"]) == 2
    assert "surface.max_side: 256 → 20" in capsys.readouterr().err
    assert (fitted / "surface.npz").stat().st_mtime_ns == before


def test_an_interrupted_run_keeps_the_depth_maps_it_has_rendered(run, capture, monkeypatch):
    from semquery.stages import observing as stage

    made, drawn = stage.depth_map, []

    def until(last):
        def draw(gaussians, cameras, view, *rest):
            if len(drawn) == last:
                raise KeyboardInterrupt
            drawn.append(view)
            return made(gaussians, cameras, view, *rest)
        return draw

    scene = read_scene(capture)
    monkeypatch.setattr(stage, "depth_map", until(5))
    with pytest.raises(KeyboardInterrupt):
        stages.observe_splats(run, capture / "scene.ply", scene)
    assert run.stage("observe")["event"] == "start" and not run.observed_views()
    drawn.clear()
    monkeypatch.setattr(stage, "depth_map", until(99))
    stages.observe_splats(run, capture / "scene.ply", scene)
    assert drawn == [5, 6, 7] and len(run.observed_views()) == 8 and run.stage("observe")["event"] == "done"
    whole = Run(run.path.parent / "whole", create=True)
    write_masks(whole, capture)
    stages.observe_splats(whole, capture / "scene.ply", scene)
    np.testing.assert_array_equal(observed(run), observed(whole))


@pytest.mark.parametrize("degree, scales", KINDS)
def test_splats_of_every_kind_are_seen_labelled_and_written_back_bit_for_bit(degree, scales, fitted, run, capture, tmp_path):
    """Written by plyfile; the third scale of a 2DGS file is none, and its Gaussians are flat, as those of the ball nearly are."""
    path = write_by_plyfile(tmp_path / "other.ply", scene_of_two_halves(), degree, scales)
    stages.observe_splats(run, path, read_scene(capture))
    assert len(observed(run)) == pytest.approx(len(observed(fitted)), rel=0.05)
    assert np.quantile(np.abs(np.linalg.norm(observed(run), axis=1) - 0.7), 0.9) < 0.05
    parts = fitted.parts()
    labelled_splats(read_splats(path), Chosen(fitted.surface(), parts, {}, (parts.root,)), 0.1).write(str(tmp_path / "labelled.ply"))
    before, after = PlyData.read(path)["vertex"].data, PlyData.read(tmp_path / "labelled.ply")["vertex"].data
    assert after.dtype.names == (*before.dtype.names, "part", "part_distance")
    assert (after["part"] >= 0)[shown()].mean() > 0.95
    for name in before.dtype.names:
        assert before[name].tobytes() == after[name].tobytes(), name
    expected = PlyData.read(next(iter(stages.export(fitted, tmp_path / "out", ("splats",)))))["vertex"]["part"]
    assert (after["part"] == expected)[shown()].mean() > 0.95  # the places are the same, the reach is not


def test_each_half_of_the_gaussians_has_a_part_of_its_own(fitted, capture):
    found = stages.labelled_gaussians(fitted)
    means, parts = scene_of_two_halves().means.numpy(), fitted.parts()
    known = found.part >= 0
    assert known[shown()].mean() > 0.9 and (found.distance[known] <= 3 * fitted.surface().voxel_size).all() and not found.left_out[known].any()
    for half in (means[:, 2] > 0, means[:, 2] <= 0):
        assert max((parts.holds[part][np.where(known, found.part, 0)] & known)[half & shown()].mean() for part in range(parts.num_parts - 1)) > 0.8
    lengths = np.linalg.norm(found.features.astype(np.float32), axis=1)
    np.testing.assert_allclose(lengths[known], 1, atol=0.01)
    assert not lengths[~known].any()
    near = np.argmin(np.linalg.norm(fitted.surface().points - means[known][0], axis=1))
    assert found.features[known][0].astype(float) @ fitted.surface().features[near].astype(float) > 0.8


def test_floaters_have_no_part_and_no_feature(fitted, tmp_path):
    made = scene_of_two_halves()
    far = Gaussians(torch.tensor([[3.0, 3, 3], [0, 0, 0.72]]), made.quats[:2], made.scales[:2], torch.tensor([0.9, 0.01]), made.sh[:2])
    both = Gaussians(*(torch.cat([getattr(made, n), getattr(far, n)]) for n in ("means", "quats", "scales", "opacities", "sh")))
    found = stages.labelled_gaussians(fitted, stages.SplatScene(write_by_plyfile(tmp_path / "more.ply", both)))
    assert found.part[-2:].tolist() == [-1, -1] and found.left_out[-2:].all() and not found.features[-2:].any()  # one floats, one is faint
    assert found.distance[-1] < 0.1 < found.distance[-2] and (found.part[:-2] == stages.labelled_gaussians(fitted).part).mean() > 0.99


def test_an_export_takes_the_splats_that_the_run_was_made_from(fitted, capture, tmp_path, capsys):
    assert main(["export", str(fitted.path), "--formats", "splats", "--out", str(tmp_path / "a")]) == 0
    written = PlyData.read(tmp_path / "a" / "splats.ply")["vertex"].data
    assert len(written) == 1500 and (written["part"] >= 0)[shown()].mean() > 0.9 and written["tint"].tobytes() == PlyData.read(capture / "scene.ply")["vertex"]["tint"].tobytes()
    assert main(["export", str(fitted.path), "--formats", "splats", "--reach", "1e-9", "--out", str(tmp_path / "b")]) == 2
    assert "None of the 1500 splats lies within reach" in capsys.readouterr().err
    shutil.copytree(fitted.path, tmp_path / "moved")
    lines = (tmp_path / "moved" / "run.jsonl").read_text().replace(str(capture.resolve()), "/gone")
    (tmp_path / "moved" / "run.jsonl").write_text(lines)
    assert main(["export", str(tmp_path / "moved"), "--formats", "splats"]) == 2
    assert "was made from the splats /gone/scene.ply, which are not there any more. Say where they are now: --splats" in capsys.readouterr().err
    shutil.copy(capture / "scene.ply", tmp_path / "moved" / "scene.ply")  # a file of the run itself moves with it
    assert stages.own_splats(Run(tmp_path / "moved")).path == tmp_path / "moved" / "scene.ply"


def test_the_viewer_draws_the_splats_that_the_run_was_made_from(fitted):
    from semquery.viewer import app
    from semquery.viewer.elements import PointElements, SplatElements

    own = stages.own_splats(fitted)
    assert isinstance(app.elements_of(app.ViewConfig(), app.opened(fitted)[0], own), SplatElements)
    assert isinstance(app.elements_of(app.ViewConfig(), None, stages.SplatScene(Path("gone.ply"))), PointElements)
    with pytest.raises(ValueError, match="give one of them"):
        app.elements_of(app.ViewConfig(points=True, splats=own.path), None, own)


def test_splats_in_the_frame_of_their_nerfstudio_run_have_the_same_surface(run, fitted, capture, tmp_path):
    turn, scale, shift = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]]), 0.4, np.array([0.3, -0.2, 0.1])
    made = scene_of_two_halves()
    means = scale * (made.means.double().numpy() @ turn.T + shift)
    half = np.sqrt(0.5)
    w, x, y, z = made.quats.double().numpy().T  # a quarter turn about z, then the Gaussian's own
    quats = np.stack([half * (w - z), half * (x - y), half * (y + x), half * (z + w)], 1)
    moved = Gaussians(torch.tensor(means).float(), torch.tensor(quats).float(), made.scales * scale, made.opacities, made.sh)
    transform = tmp_path / "dataparser_transforms.json"
    transform.write_text(json.dumps({"transform": np.c_[turn, shift].tolist(), "scale": scale}))
    T = read_T_world_splats(transform)
    stages.observe_splats(run, write_by_plyfile(tmp_path / "moved.ply", moved), read_scene(capture), T_world_splats=T)
    here, there = observed(fitted), observed(run)
    assert len(there) == pytest.approx(len(here), rel=0.02)
    assert np.quantile(np.abs(np.linalg.norm(there, axis=1) - 0.7), 0.9) < 0.05
    np.testing.assert_allclose(stages.own_splats(run).T_world_splats, T)


@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_the_frame_of_a_nerfstudio_run_leads_to_the_poses_that_it_has_read(scale, tmp_path):
    """nerfstudio turns COLMAP's poses before it writes transforms.json, and tells the way from COLMAP's own frame to that of the run."""
    random = np.random.default_rng(0)
    in_colmap = random.normal(size=(5, 3))
    applied = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0.0]])
    in_file = scale * in_colmap @ applied[:, :3].T
    turn, shift, shrunk = Rotation.random(random_state=1).as_matrix(), np.array([0.3, -0.2, 0.1]), 0.4
    in_run = shrunk * (in_file @ turn.T + shift)
    (tmp_path / "transforms.json").write_text(json.dumps({"applied_transform": applied.tolist(), "applied_scale": scale, "frames": []}))
    whole = np.c_[turn, shift] @ np.vstack([applied, [0, 0, 0, 1]])
    (tmp_path / "dataparser_transforms.json").write_text(json.dumps({"transform": whole.tolist(), "scale": shrunk * scale}))
    for name, places in (("dataparser_transforms.json", in_run), ("transforms.json", in_colmap)):
        T = read_T_world_splats(tmp_path / name, tmp_path)
        np.testing.assert_allclose(places @ T[:3, :3].T + T[:3, 3], in_file, atol=1e-12)
    if scale == 1:  # a run of ns-train is in COLMAP's own frame
        T = read_T_world_splats(tmp_path / "dataparser_transforms.json")
        np.testing.assert_allclose(in_run @ T[:3, :3].T + T[:3, 3], in_colmap, atol=1e-12)


def test_the_file_that_a_run_was_made_from_lies_where_it_lay_wherever_it_is_now(run, capture, tmp_path):
    T = np.diag([2.0, 2, 2, 1])
    made = scene_of_two_halves()
    small = write_by_plyfile(tmp_path / "small.ply", Gaussians(made.means / 2, made.quats, made.scales / 2, made.opacities, made.sh))
    stages.observe_splats(run, small, read_scene(capture), T_world_splats=T, cleaning=CleanConfig(max_size=30.0))
    found = stages.given_splats(run, small.rename(tmp_path / "moved.ply"))
    assert found.path.name == "moved.ply" and found.cleaning == CleanConfig(max_size=30.0)
    np.testing.assert_array_equal(found.T_world_splats, T)
    assert stages.given_splats(run, capture / "scene.ply").T_world_splats is None


LENS, CLOSE = np.array([-1.2, 0.9, 0.01, -0.006, 0.0]), np.array([80.0, 80, 20, 20])  # intrinsics by which the ball fills the picture


def bent(capture: Path, folder: Path) -> Path:
    """The ball from close by, by lenses that bend: every pixel of a photo shows what a larger and finer picture of a pinhole has on its ray."""
    views, gaussians = read_scene(capture), scene_of_two_halves()
    shutil.copytree(capture, folder)
    fine, size = 3 * CLOSE + [0, 0, 90, 90], (3 * SIDE + 180, 3 * SIDE + 180)
    place, inside = looked_up(rays_of((SIDE, SIDE), CLOSE, LENS), size, fine)
    assert inside.all()
    for k, name in enumerate(views.names):
        seen_by = View.of(views.T_world_cam[k], fine, size, gaussians.means)
        with torch.no_grad():
            drawn = rasterize(gaussians, seen_by, gaussians.colors(seen_by.position))
        wide = (255 * (drawn.features + 1 - drawn.opacity[..., None]).clamp(0, 1)).byte().numpy()
        Image.fromarray(wide.reshape(-1, 3)[place].reshape(SIDE, SIDE, 3)).save(folder / "images" / f"{name}.png")
    record = json.loads((folder / "transforms.json").read_text())
    record |= {"camera_model": "OPENCV", "fl_x": 80.0, "fl_y": 80.0} | dict(zip(("k1", "k2", "p1", "p2"), LENS.tolist(), strict=False))
    (folder / "transforms.json").write_text(json.dumps(record))
    return folder


def test_photos_of_a_lens_that_bends_lines_see_the_same_surface(capture, tmp_path, capsys):
    """Points are on the ball, and have the colour of their half, but for those on the border and on the rim."""
    scene = bent(capture, tmp_path / "bent")
    wrong = {}
    for name, lenses in (("looked up", read_lenses(scene)), ("as if by pinholes", None)):
        run = Run(tmp_path / name, create=True)
        write_masks(run, scene)
        stages.observe_splats(run, capture / "scene.ply", read_scene(scene), lenses=lenses)
        points, colors = observed(run), np.concatenate([run.observation(view).colors for view in run.observed_views()])
        inner = np.abs(points[:, 2]) > 0.04
        wrong[name] = ((points[:, 2] > 0) != (colors[:, 0] > colors[:, 2]))[inner].mean() + (colors.min(1) > 200)[inner].mean()
        assert np.quantile(np.abs(np.linalg.norm(points, axis=1) - 0.7), 0.9) < 0.05
        assert run.stage("observe")["config"]["distorted"] == (lenses is not None)
    assert wrong["looked up"] < 0.08 and wrong["as if by pinholes"] > 3 * wrong["looked up"]  # the ball has holes
    assert "hardly look like" not in capsys.readouterr().out
    with pytest.raises(RunError, match="photos .* are distorted, and rasterised features take pinholes"):
        splats_of(Run(tmp_path / "looked up"))


def test_a_fisheye_is_refused_and_a_lens_that_bends_is_taken_by_the_command(run, capture, tmp_path, capsys):
    scene = bent(capture, tmp_path / "bent")
    given = ["fit", str(run.path), "--splats", str(capture / "scene.ply"), "--cameras", str(scene), *QUICK]
    record = json.loads((scene / "transforms.json").read_text())
    (scene / "transforms.json").write_text(json.dumps(record | {"camera_model": "OPENCV_FISHEYE"}))
    assert main(given) == 2 and "a lens of the kind OPENCV_FISHEYE; expected a pinhole" in capsys.readouterr().err
    assert run.stage("observe") is None
    (scene / "transforms.json").write_text(json.dumps(record))
    assert main(given) == 0 and run.stage("observe")["config"]["distorted"]


def test_a_run_is_not_gone_on_with_other_cameras(run, capture, tmp_path):
    views = read_scene(capture)
    stages.observe_splats(run, capture / "scene.ply", views)
    moved = views.T_world_cam.copy()
    moved[3, 0, 3] += 0.01
    with pytest.raises(ValueError, match="cameras: .* Give --overwrite"):
        stages.observe_splats(run, capture / "scene.ply", replace(views, T_world_cam=moved))


def test_photos_that_are_gone_leave_the_splats_own_colours(fitted, capture, tmp_path, capsys):
    lost = tmp_path / "capture"
    shutil.copytree(capture, lost)
    shutil.rmtree(lost / "images")
    write_by_plyfile(lost / "scene.ply", scene_of_two_halves())  # as it was photographed, the same from all sides
    run = Run(tmp_path / "run", create=True)
    write_masks(run, capture)
    stages.observe_splats(run, lost / "scene.ply", stages.cameras_of(run, lost))
    assert "8 of 8 photos are gone; these views have the splats' colours" in capsys.readouterr().out
    for name in run.observed_views():
        mine, was = run.observation(name), fitted.observation(name)
        np.testing.assert_array_equal(mine.points, was.points)
        assert np.abs(mine.colors.astype(int) - was.colors).max() <= 2
    with pytest.raises(ValueError, match="None of the 8 photos"):
        read_scene(lost)


def without_field(path: Path, name: str, rename: str) -> Path:
    rows = PlyData.read(path)["vertex"].data
    renamed = np.array(rows.tolist(), [(rename if each == name else each, "<f4") for each in rows.dtype.names])
    target = path.with_name(f"{rename}.ply")
    PlyData([PlyElement.describe(renamed, "vertex")]).write(str(target))
    return target


def test_what_cannot_be_is_told_in_one_sentence_and_begins_nothing(run, capture, tmp_path, capsys):
    scene, made = shutil.copy(capture / "scene.ply", tmp_path / "scene.ply"), scene_of_two_halves()
    none = made[torch.zeros(1500, dtype=torch.bool)]
    elsewhere = Gaussians(made.means + 500, made.quats, made.scales, made.opacities, made.sh)
    ply_of(none).write(str(tmp_path / "none.ply"))
    ply_of(elsewhere).write(str(tmp_path / "elsewhere.ply"))
    given = ["--cameras", str(capture)]
    for arguments, told in (
        (["--splats", str(tmp_path / "none.ply"), *given], "none.ply holds no Gaussians"),
        (["--splats", str(without_field(scene, "x", "packed_position")), *given], "compressed splat PLY"),
        (["--splats", str(without_field(scene, "rot_0", "turned")), *given], "it has no field rot_0"),
        (["--splats", str(tmp_path / "gone.ply"), *given], "There is no file"),
        (["--splats", str(scene), *given, "--cleaning.min-opacity", "0.99"], "1500 of 1500 Gaussians left out: 1500 nearly transparent, so nothing is left"),
        (["--splats", str(tmp_path / "elsewhere.ply"), *given], "0.0 % of the Gaussians lie in the picture of any of the 8 views.*--splats-transform"),
        (["--splats", str(scene)], "--splats and --cameras"),
        (["--splats", str(scene), "--mesh", "m.ply", *given], "give one of them"),
        (given, "go together"),
        (["--surface.others", "2"], "none were given: --splats SCENE.ply"),
        (["--splats-transform", "t.json"], "none were given: --splats SCENE.ply"),
        (["--splats", str(scene), *given, "--splats-transform", "t.json"], "t.json cannot be read"),
        (["--splats", str(scene), "--cameras", str(tmp_path)], "holds no transforms.json"),
    ):
        assert main(["fit", str(run.path), *arguments]) == 2
        assert re.search(told, capsys.readouterr().err, re.S), told
    assert run.stage("observe") is None
    empty = Run(tmp_path / "empty", create=True)
    assert main(["fit", str(empty.path), "--splats", str(scene), *given]) == 2
    assert f"has no masks yet. Make it with: semquery masks {empty.path} --data SCENE" in capsys.readouterr().err


def test_views_that_see_no_surface_are_told(run, capture, tmp_path):
    made = scene_of_two_halves()
    faint = write_by_plyfile(tmp_path / "faint.ply", Gaussians(made.means, made.quats, made.scales, torch.full((1500,), 0.02), made.sh))
    with pytest.raises(RunError, match="None of the 8 views shows a surface"):
        stages.observe_splats(run, faint, read_scene(capture), cleaning=CleanConfig(min_opacity=0.0))


def test_splats_that_do_not_look_like_the_photos_are_told(run, capture, tmp_path, capsys):
    """The ball aside of where it was photographed, as in a frame that is moved."""
    made = scene_of_two_halves()
    moved = Gaussians(made.means + torch.tensor([0.6, 0.6, 0.6]), made.quats, made.scales, made.opacities, made.sh)
    path = write_by_plyfile(tmp_path / "moved.ply", moved)
    with pytest.raises(ValueError, match="The splats hardly look like the photos .correlation.*--splats-transform transforms.json.*--min-likeness -1"):
        stages.observe_splats(run, path, read_scene(capture))
    assert run.stage("observe") is None
    stages.observe_splats(run, path, read_scene(capture), min_likeness=-1.0)
    assert "surface: the splats hardly look like the photos" in capsys.readouterr().out
    stages.observe_splats(run, capture / "scene.ply", read_scene(capture), overwrite=True)
    assert "hardly" not in capsys.readouterr().out


# -------------------------------------------------------------------- whether they belong together


def test_points_are_in_a_picture_by_hand():
    views = cameras(1, 10)
    T = views.T_world_cam[0]
    ahead, aside, behind = (T @ np.array([*place, 1.0]) for place in ((0, 0, -2.0), (9, 0, -2.0), (0, 0, 2.0)))
    assert in_views(np.stack([ahead, aside, behind])[:, :3], views).tolist() == [True, False, False]


def test_likeness_is_one_for_the_same_picture_in_another_light_and_none_for_others():
    random = np.random.default_rng(0)
    one, other = random.random((30, 40, 3)), random.random((30, 40, 3))
    dark = (255 * (0.2 + 0.5 * one)).astype(np.uint8)
    assert likeness(one, dark) > 0.99 and abs(likeness(other, dark)) < 0.1 and likeness(1 - one, dark) < -0.99
    assert likeness(one, np.full((30, 40, 3), 7, np.uint8)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("wrong", [
    {"max_side": 0}, {"finer": 2}, {"min_opacity": 1.0}, {"max_spread": -0.1}, {"least_kept": 1.5}, {"max_jump": 0.0}, {"others": -1}, {"tolerance": 0.0}])
def test_a_surface_of_no_sense_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong)).replace("_", "[ _]")):
        SplatSurface(**wrong)


def test_the_clean_up_that_was_asked_for_is_remembered(run, capture):
    stages.observe_splats(run, capture / "scene.ply", read_scene(capture), cleaning=CleanConfig(max_sigma=7.5))
    assert stages.own_splats(run).cleaning == CleanConfig(max_sigma=7.5)
    assert len(gaussians_of(read_splats(stages.own_splats(run).path))) == 1500
