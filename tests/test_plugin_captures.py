"""Captures of every kind that nerfstudio reads, through a small training and into both viewers' hands.

The same photos of the box are written as four captures. Whatever the dataparser turns, shifts and scales, the surface is where
the photos were taken, and a click through a known pixel selects what is seen there.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import maximum_filter, minimum_filter

pytest.importorskip("nerfstudio.engine.trainer")

from live_viewer import named_box, open_viewer  # noqa: E402
from nerfstudio.configs.base_config import InstantiateConfig  # noqa: E402
from nerfstudio.data.dataparsers.blender_dataparser import BlenderDataParserConfig  # noqa: E402
from nerfstudio.data.dataparsers.colmap_dataparser import ColmapDataParserConfig  # noqa: E402
from nerfstudio.data.dataparsers.instant_ngp_dataparser import InstantNGPDataParserConfig  # noqa: E402
from nerfstudio.data.dataparsers.nerfstudio_dataparser import NerfstudioDataParserConfig  # noqa: E402
from nerfstudio.data.utils import colmap_parsing_utils as colmap  # noqa: E402
from training import CENTRE, HALF, SIZE, poses, tiny, train  # noqa: E402

from semquery.render import pinhole  # noqa: E402
from semquery.store import Run  # noqa: E402
from semquery.viewer import Loaded, Session, load  # noqa: E402


def as_nerfstudio(photos: Path, folder: Path) -> InstantiateConfig:
    shutil.copytree(photos, folder)
    return NerfstudioDataParserConfig(data=folder, eval_mode="all")


def as_instant_ngp(photos: Path, folder: Path) -> InstantiateConfig:
    shutil.copytree(photos, folder)
    record = json.loads((folder / "transforms.json").read_text())
    (folder / "transforms.json").write_text(json.dumps({**record, "aabb_scale": 4}))
    return InstantNGPDataParserConfig(data=folder, eval_mode="all")


def as_blender(photos: Path, folder: Path) -> InstantiateConfig:
    shutil.copytree(photos, folder)
    record = json.loads((folder / "transforms.json").read_text())
    (folder / "transforms.json").unlink()
    frames = [{**frame, "file_path": f"./{frame['file_path'].removesuffix('.png')}"} for frame in record["frames"]]
    angle = 2 * np.arctan(SIZE / 2 / record["fl_x"])
    for split in ("train", "val", "test"):
        (folder / f"transforms_{split}.json").write_text(json.dumps({"camera_angle_x": angle, "frames": frames}))
    return BlenderDataParserConfig(data=folder)


def as_colmap(photos: Path, folder: Path) -> InstantiateConfig:
    """COLMAP's cameras look along +z with y down, and map the world to the camera."""
    shutil.copytree(photos / "images", folder / "images")
    (folder / "colmap" / "sparse" / "0").mkdir(parents=True)
    images = {}
    for k, T in enumerate(poses()):
        T_cam_world = np.linalg.inv(T @ np.diag([1.0, -1, -1, 1]))
        nothing = np.zeros((0, 2)), np.zeros(0, int)
        images[k + 1] = colmap.Image(k + 1, colmap.rotmat2qvec(T_cam_world[:3, :3]), T_cam_world[:3, 3], 1, f"view_{k:02d}.png", *nothing)
    camera = colmap.Camera(1, "PINHOLE", SIZE, SIZE, pinhole(50, (SIZE, SIZE)))
    point = colmap.Point3D(1, CENTRE, np.array([200, 30, 30]), 0.1, np.zeros(0, int), np.zeros(0, int))
    colmap.write_model({1: camera}, images, {1: point}, str(folder / "colmap" / "sparse" / "0"))
    return ColmapDataParserConfig(data=folder, eval_mode="all", downscale_factor=1)


@pytest.mark.parametrize("written", [as_nerfstudio, as_instant_ngp, as_blender, as_colmap])
def test_a_click_selects_what_is_seen_whatever_the_capture_is(written, box_photos: Path, tmp_path: Path) -> None:
    config = tiny(box_photos, tmp_path / "out", geometry_steps=20, fit_steps=10)
    config.pipeline.datamanager.dataparser = written(box_photos, tmp_path / "capture")
    config.data = config.pipeline.datamanager.data = tmp_path / "capture"
    trainer = train(config)

    run = named_box(trainer, tmp_path / "named")
    surface, cameras = run.surface(), run.cameras()
    np.testing.assert_allclose(cameras.T_world_cam, poses(), atol=1e-4)
    assert np.median(np.abs(np.abs(surface.points - CENTRE).max(1) - HALF)) < HALF / 2

    standalone, loaded = Session(Run(run.path), load(run)), load(run)
    with open_viewer(trainer, run) as viewer:
        session, frame, right = viewer.pipeline.panel.session, viewer.pipeline.model.frame, []
        for eye, ray, part in known_pixels(loaded):
            standalone.click(eye, ray)
            origin, ahead = (10 * frame.to_trainer(torch.from_numpy(end)).numpy() for end in (eye, eye + ray))
            viewer.pipeline.panel.pick(origin, (ahead - origin) / np.linalg.norm(ahead - origin))
            assert standalone.shown.lit == session.shown.lit
            right.append(standalone.shown.lit == (part,))
    assert len(right) > 20 and np.mean(right) > 0.75  # the rest meets specks before the surface, after so short a training


def known_pixels(loaded: Loaded, every: int = 7) -> list[tuple[np.ndarray, np.ndarray, int]]:
    """Pixels that show a face together with all around them: eye and direction in the photo's own pose, and the part there."""
    found = []
    for (view, point), T, (fx, fy, cx, cy) in zip(sorted(loaded.surface.point_of_pixel.items()), poses(), loaded.cameras.intrinsics, strict=True):
        part = np.where(point >= 0, loaded.tree.part_of_point[point], -1)
        well_inside = (minimum_filter(part, 7) == maximum_filter(part, 7)) & (part >= 0)
        for row, column in np.argwhere(well_inside)[::every]:
            ray = T[:3, :3] @ np.array([(column + 0.5 - cx) / fx, -(row + 0.5 - cy) / fy, -1.0])
            found.append((T[:3, 3], ray, int(part[row, column])))
    return found
