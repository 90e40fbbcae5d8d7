"""`semquery surface`: a depth camera's folder, or a point cloud, all the way to a tree of parts, and what goes wrong."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from depth_camera import DEPTH_LENS, DEPTH_SIZE, film, true_depth, write_depth, write_matrix
from test_stages import FIT, REGIONS

from semquery import stages
from semquery.cli import main
from semquery.geometry import FusionConfig
from semquery.procedural import Leaf, assemble, box, write_scene
from semquery.render import RayCaster, ring
from semquery.rgbd import RgbdConfig, read_capture
from semquery.stages.surface import load_cloud, spacing
from semquery.store import Run, RunError

SCENE = assemble({
    "floor": Leaf((170, 170, 165), (box((0, 0, -0.05), (1.6, 1.6, 0.1)),)),
    "tower": {"foot": Leaf((190, 50, 40), (box((-0.2, 0, 0.2), (0.5, 0.5, 0.4)),)), "head": Leaf((50, 90, 190), (box((-0.2, 0, 0.55), (0.3, 0.3, 0.3)),))},
    "block": Leaf((60, 160, 65), (box((0.45, 0.2, 0.15), (0.25, 0.4, 0.3)),)),
}, "scene")
EYES = ring(np.array([0.0, 0.0, 0.2]), 2.2, 30.0, np.arange(0, 360, 30))
POSES = {str(10 * k): T for k, T in enumerate(EYES)}


@pytest.fixture(scope="module")
def filmed(tmp_path_factory) -> Path:
    folder = film(tmp_path_factory.mktemp("filmed") / "scan", SCENE, POSES)
    write_matrix(folder / "pose" / "50.txt", np.full((4, 4), -np.inf))
    return folder


@pytest.fixture(scope="module")
def finished(filmed, tmp_path_factory) -> Path:
    """A whole run of it, through the commands where they take no settings, made once."""
    path = tmp_path_factory.mktemp("whole") / "run"
    assert main(["surface", str(path), "--rgbd", str(filmed)]) == 0
    run = Run(path)
    stages.make_masks(run, stages.photos_to_mask(run, filmed), REGIONS)
    stages.fit(run, replace(FIT, steps=60, fusion=FusionConfig(resolution=45)))
    stages.build_tree(run)
    return path


def part_of(points: np.ndarray) -> np.ndarray:
    """The true leaf nearest to each point."""
    import trimesh

    mesh = trimesh.Trimesh(SCENE.vertices, SCENE.faces, process=False)
    return SCENE.part_of_face[trimesh.proximity.closest_point(mesh, points)[2]]


# ------------------------------------------------------------------ the whole way


def test_the_tree_of_a_filmed_scene_has_its_parts(finished):
    """Each coloured solid is, to 80 %, a node of the tree; the run has what every other run has."""
    run = Run(finished)
    surface, parts = run.surface(), run.parts()
    truth = part_of(surface.points)
    nodes = np.stack([parts.points_of(p) for p in range(parts.num_parts)])
    for leaf, name in enumerate(SCENE.names[: SCENE.num_leaves]):
        mine = truth == leaf
        iou = (nodes & mine).sum(1) / (nodes | mine).sum(1)
        assert iou.max() > 0.8, name
    stages.label(run), stages.encode(run)
    assert stages.query(run, "blue part")


def test_points_lie_on_the_surface_and_the_lost_frame_is_left_out(finished, filmed):
    import trimesh

    run = Run(finished)
    assert run.observed_views() == sorted(set(POSES) - {"50"}) and set(run.masked_views()) == set(run.observed_views())
    mesh = trimesh.Trimesh(SCENE.vertices, SCENE.faces, process=False)
    for view in ("0", "70"):
        seen = run.observation(view)
        assert seen.size == (72, 96) and len(seen.pixels) > 2000
        distance = np.abs(trimesh.proximity.closest_point(mesh, seen.points)[1])
        assert np.median(distance) < 0.0005 and np.quantile(distance, 0.95) < 0.01 and distance.max() < 0.05  # a pixel of depth is 3 cm: creases
    red = seen.colors[part_of(seen.points) == SCENE.names.index("foot")].mean(0)
    assert red[0] > 2 * red[1]  # the photo's colours are at their places


def test_masks_are_made_of_the_frames_that_were_taken(filmed, tmp_path, capsys):
    run = str(tmp_path / "run")
    assert main(["masks", run, "--data", str(filmed)]) == 2 and "first semquery surface" in capsys.readouterr().err
    assert main(["surface", run, "--rgbd", str(filmed), "--every", "4", "--max-side", "48"]) == 0
    assert "1 frames left out; pose lost (not finite): 1 (first: 50)" in capsys.readouterr().out
    assert main(["masks", run, "--data", str(filmed)]) == 0 and Run(run).masked_views() == ["0", "40", "90"]
    assert main(["masks", run]) == 0 and "already done" in capsys.readouterr().out  # the run knows its photos
    assert Run(run).observation("0").size == (36, 48) and Run(run).cameras().sizes.tolist() == [[36, 48]] * 3


def test_it_is_skipped_when_done_and_refuses_to_mix(filmed, finished, tmp_path, capsys):
    shutil.copytree(finished, tmp_path / "run")
    run, capture = Run(tmp_path / "run"), read_capture(filmed)
    before = (run / "observed" / "0.npz").stat().st_mtime_ns
    stages.observe_rgbd(run, capture)
    assert "already done" in capsys.readouterr().out and (run / "observed" / "0.npz").stat().st_mtime_ns == before
    with pytest.raises(RunError, match="far: 10.0 → 9.0.*--overwrite"):
        stages.observe_rgbd(run, capture, RgbdConfig(far=9.0))
    with pytest.raises(RunError, match="belongs to another scene"):
        stages.observe_rgbd(run, read_capture(filmed, every=2), RgbdConfig(every=2))
    stages.observe_rgbd(run, capture, RgbdConfig(far=2.0), overwrite=True)
    assert all(((seen := run.observation(name)).points @ T[:3, 2] - T[:3, 3] @ T[:3, 2] >= -2.001).all() and len(seen.points)
               for name, T in zip(capture.cameras.names, capture.cameras.T_world_cam, strict=True))


def test_an_interrupted_surface_goes_on_where_it_stopped(filmed, finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    run = Run(tmp_path / "run")
    run.reopen("observe")
    (run / "observed" / "110.npz").unlink()
    before = (run / "observed" / "0.npz").stat().st_mtime_ns
    stages.observe_rgbd(run, read_capture(filmed))
    assert (run / "observed" / "110.npz").exists() and (run / "observed" / "0.npz").stat().st_mtime_ns == before


def test_a_wrong_patch_of_depth_is_dropped_when_views_are_compared(filmed, tmp_path):
    """A board that one frame alone saw hang in the air."""
    folder = tmp_path / "scan"
    shutil.copytree(filmed, folder)
    wrong = true_depth(RayCaster(SCENE.vertices, SCENE.faces), POSES["0"], DEPTH_LENS, DEPTH_SIZE)
    patch = wrong[24:38, 20:44]
    depth = 0.8 * float(np.nanmin(patch))
    wrong[24:38, 20:44] = depth
    write_depth(folder / "depth" / "0.png", wrong)
    capture, counts = read_capture(folder), []
    for check in (0, 4):
        run = Run(tmp_path / f"run{check}", create=True)
        stages.observe_rgbd(run, capture, RgbdConfig(check=check))
        seen = run.observation("0")
        board = np.abs((seen.points - EYES[0][:3, 3]) @ EYES[0][:3, 2] + depth) < 0.02
        counts.append((int(board.sum()), int((~board).sum()), len(run.observation("60").pixels)))
    (hanging, rest, other), (left, kept, other_kept) = counts
    assert hanging > 300 and left < 0.2 * hanging and kept > 0.97 * rest and other_kept > 0.97 * other


# ------------------------------------------------------------------ what goes wrong


@pytest.mark.parametrize(("arguments", "told"), [
    ([], "Give --rgbd DIR, or --points"), (["--rgbd", "SCAN", "--points", "c.ply"], "Give --rgbd DIR, or --points"), (["--points", "c.ply"], "with --data SCENE"),
    (["--rgbd", "gone"], "gone has no folder color and no folder depth and no folder pose"), (["--rgbd", "SCAN", "--radius", "0.1"], "--radius"),
    (["--rgbd", "SCAN", "--depth-scale", "1"], "None of 5 frames has a depth from 0.1 to 10: .*counts up to [0-9]+, which --depth-scale 1 makes"),
    (["--rgbd", "SCAN", "--every", "0"], "every is 0"), (["--rgbd", "SCAN", "--near", "5", "--far", "2"], "near has to be less"),
    (["--points", "gone.ply", "--data", "SCAN"], "holds no transforms.json"),
])
def test_what_cannot_be_done_is_one_line_and_nothing_is_begun(arguments, told, filmed, tmp_path, capsys):
    import re

    given = [a.replace("SCAN", str(filmed)) for a in arguments]
    try:
        code = main(["surface", str(tmp_path / "run"), *given])
    except SystemExit as left:  # tyro's own, for settings that their class refuses
        code = left.code
    said = capsys.readouterr().err
    assert code == 2 and "Traceback" not in said and re.search(told, " ".join(said.replace("│", " ").split()))
    assert not (tmp_path / "run" / "run.jsonl").exists()


def test_depth_with_eight_bits_is_refused_before_the_run_is_begun(filmed, tmp_path, capsys):
    from PIL import Image

    folder = tmp_path / "scan"
    shutil.copytree(filmed, folder)
    Image.new("L", (64, 54), 90).save(folder / "depth" / "0.png")
    assert main(["surface", str(tmp_path / "run"), "--rgbd", str(folder)]) == 2
    assert "kind L; expected 16-bit" in capsys.readouterr().err and not (tmp_path / "run" / "run.jsonl").exists()


# ------------------------------------------------------------------ point clouds


@pytest.fixture
def cloud(tmp_path) -> Path:
    """40 000 points on the scene, beside its photos and poses."""
    import trimesh

    write_scene(tmp_path / "scene", SCENE, {f"v{k}": T for k, T in enumerate(EYES[::3])}, {}, 64)
    random = np.random.default_rng(0)
    mesh = trimesh.Trimesh(SCENE.vertices, SCENE.faces, process=False)
    points = trimesh.sample.sample_surface(mesh, 40_000, seed=int(random.integers(1 << 30)))[0]
    trimesh.PointCloud(points).export(tmp_path / "cloud.ply")
    return tmp_path


def test_a_point_cloud_is_seen_from_its_front(cloud, capsys):
    run_path = cloud / "run"
    assert main(["surface", str(run_path), "--points", str(cloud / "cloud.ply"), "--data", str(cloud / "scene")]) == 0
    run = Run(run_path)
    caster, cameras = RayCaster(SCENE.vertices, SCENE.faces), run.cameras()
    for view, name in enumerate(cameras.names):
        seen = run.observation(name)
        truth = true_depth(caster, cameras.T_world_cam[view], cameras.intrinsics[view], (64, 64)).ravel()
        depth = -(seen.points - cameras.T_world_cam[view, :3, 3]) @ cameras.T_world_cam[view, :3, 2]
        assert len(seen.pixels) > 0.95 * np.isfinite(truth).sum()
        assert np.nanmean(np.abs(depth - truth[seen.pixels]) < 0.06) > 0.93  # what lies behind does not shine through
    assert json.loads((run / "run.jsonl").read_text().splitlines()[-1])["config"]["points"] == 40_000
    assert main(["surface", str(run_path), "--points", str(cloud / "cloud.ply"), "--data", str(cloud / "scene")]) == 0 and "already done" in capsys.readouterr().out


def test_discs_are_as_large_as_the_distance_of_neighbours():
    square = np.stack([*np.meshgrid(np.arange(6.0), np.arange(6.0)), np.zeros((6, 6))], -1).reshape(-1, 3).astype(np.float32)
    reach = spacing(np.concatenate([square, [[50, 50, 50]]]).astype(np.float32))
    assert np.allclose(reach[7], 1.0) and np.isclose(reach[-1], 3 * np.median(spacing(square)), rtol=0.1)


def test_a_cloud_that_cannot_be_used_is_named(tmp_path):
    with pytest.raises(ValueError, match="There is no point cloud at .*gone"):
        load_cloud(tmp_path / "gone.ply")
    (tmp_path / "bad.ply").write_text("ply\nnonsense")
    with pytest.raises(ValueError, match="cannot be read as a point cloud"):
        load_cloud(tmp_path / "bad.ply")
