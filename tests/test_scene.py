"""Posed photos in their dialects, and what is said of scenes that cannot be read."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers import write_photo
from hypothesis import given, settings
from hypothesis import strategies as st

from semquery.render import look_at
from semquery.scene import applied_transform, check_undistorted, limited, photos_in, read_lenses, read_scene, scene_photos, view_names
from semquery.types import Cameras

POSE = look_at(np.array([3.0, -2, 1]), np.zeros(3))


def write_scene(folder: Path, frames=None, name="transforms.json", photos=("images/a.png", "images/b.png"), **shared) -> Path:
    """A scene of 6×8 photos; frames default to one per photo."""
    for photo in photos:
        write_photo(folder / photo)
    frames = [{"file_path": p, "transform_matrix": POSE.tolist()} for p in photos] if frames is None else frames
    folder.mkdir(exist_ok=True, parents=True)
    (folder / name).write_text(json.dumps({**shared, "frames": frames}))
    return folder


def frame(**changes):
    return {"file_path": "images/a.png", "transform_matrix": POSE.tolist(), **changes}


# ------------------------------------------------------------------ dialects


def test_nerfstudio_intrinsics_follow_the_photo_on_disk(tmp_path):
    scene = write_scene(tmp_path, fl_x=20.0, fl_y=22.0, cx=8.0, cy=6.5, w=16, h=12)  # the photos are half as large
    cameras = read_scene(scene)
    assert cameras.names == ("a", "b") and [Path(i).name for i in cameras.images] == ["a.png", "b.png"]
    np.testing.assert_allclose(cameras.intrinsics, [[10, 11, 4, 3.25]] * 2)
    np.testing.assert_allclose(cameras.T_world_cam, [POSE] * 2)
    assert cameras.sizes.tolist() == [[6, 8]] * 2


def test_intrinsics_of_a_frame_win_over_those_of_the_scene(tmp_path):
    scene = write_scene(tmp_path, [frame(), frame(file_path="images/b.png", fl_x=9.0)], fl_x=7.0)
    assert read_scene(scene).intrinsics.tolist() == [[7, 7, 4, 3], [9, 9, 4, 3]]


def test_instant_ngp_frames_whose_photo_is_absent_are_left_out(tmp_path):
    scene = write_scene(tmp_path, [frame(file_path="./images/gone.png"), frame(file_path="./images/b.png")], camera_angle_x=np.pi / 2, w=8, h=6)
    cameras = read_scene(scene)
    assert cameras.names == ("b",)
    np.testing.assert_allclose(cameras.intrinsics, [[4, 4, 4, 3]])


def test_blender_names_photos_without_suffix_and_gives_an_angle(tmp_path):
    write_photo(tmp_path / "train/r_0.png")
    scene = write_scene(tmp_path, [frame(file_path="./train/r_0")], "transforms_train.json", (), camera_angle_x=np.pi / 2)
    cameras = read_scene(scene)
    assert cameras.names == ("r_0",)
    np.testing.assert_allclose(cameras.intrinsics, [[4, 4, 4, 3]])


def test_poses_of_three_rows_are_completed(tmp_path):
    scene = write_scene(tmp_path, [frame(transform_matrix=POSE[:3].tolist())], fl_x=5.0)
    np.testing.assert_allclose(read_scene(scene).T_world_cam, [POSE])


def test_the_transforms_file_itself_may_be_given(tmp_path):
    scene = write_scene(tmp_path, fl_x=5.0)
    assert read_scene(scene / "transforms.json").names == ("a", "b")


# ------------------------------------------------------------------ errors


@pytest.mark.parametrize(("frames", "shared", "message"), [
    ([], {"fl_x": 5.0}, "lists no frames"),
    ([{"file_path": "images/x.png", "transform_matrix": POSE.tolist()}], {"fl_x": 5.0}, r"None of the 1 photos .*x\.png.*belong to other images"),
    ([frame(transform_matrix=(POSE * np.nan).tolist())], {"fl_x": 5.0}, r"a\.png has NaN or infinite"),
    ([frame(transform_matrix=np.full((4, 4), np.inf).tolist())], {"fl_x": 5.0}, "NaN or infinite"),
    ([frame(transform_matrix=[[1, 0], [0, 1]])], {"fl_x": 5.0}, r"pose of shape \(2, 2\)"),
    ([frame(transform_matrix=(POSE @ np.diag([1, 2, 1, 1])).tolist())], {"fl_x": 5.0}, "not a rotation"),
    ([frame(transform_matrix=(POSE @ np.diag([1, 1, -1, 1])).tolist())], {"fl_x": 5.0}, "not a rotation"),
    ([frame(transform_matrix=np.zeros((4, 4)).tolist())], {"fl_x": 5.0}, "not a rotation"),
    ([frame()], {}, r"neither fl_x nor camera_angle_x"),
    ([{"file_path": "images/a.png"}], {"fl_x": 5.0}, "without transform_matrix"),
    ([{"transform_matrix": POSE.tolist()}], {"fl_x": 5.0}, "without file_path"),
])
def test_a_scene_that_cannot_be_used_is_refused_with_the_reason(tmp_path, frames, shared, message):
    with pytest.raises(ValueError, match=message):
        read_scene(write_scene(tmp_path, frames, **shared))


def test_missing_and_broken_transforms_are_named(tmp_path):
    with pytest.raises(ValueError, match="holds no transforms.json or transforms_train.json.*ns-process-data"):
        read_scene(tmp_path)
    (tmp_path / "transforms.json").write_text('{"frames": [')
    with pytest.raises(ValueError, match="is not JSON"):
        read_scene(tmp_path)


def test_folders_without_photos_are_named(tmp_path):
    with pytest.raises(ValueError, match="There is no folder .*gone"):
        photos_in(tmp_path / "gone")
    with pytest.raises(ValueError, match="holds no photos"):
        photos_in(tmp_path)


# ------------------------------------------------------------------ names


def test_photos_come_from_the_transforms_or_images_or_the_folder(tmp_path):
    write_photo(tmp_path / "x.png")
    write_photo(tmp_path / ".hidden.png")
    assert [p.name for p in scene_photos(tmp_path)] == ["x.png"]
    write_photo(tmp_path / "images/b.JPG"), write_photo(tmp_path / "images/a.png")
    assert [p.name for p in scene_photos(tmp_path)] == ["a.png", "b.JPG"]
    write_scene(tmp_path, [frame(file_path="x.png")], photos=(), fl_x=5.0)
    assert [p.name for p in scene_photos(tmp_path)] == ["x.png"]


def test_names_are_stems_or_paths_where_stems_repeat():
    assert view_names([Path("/s/images/a b.png"), Path("/s/images/c.1.png")]) == ["a_b", "c.1"]
    assert view_names([Path("/s/left/1.png"), Path("/s/right/1.png")]) == ["left_1", "right_1"]
    assert view_names([]) == []


@pytest.mark.parametrize("paths", [["s/a.png", "s/a.jpg"], ["s/a b.png", "s/a_b.png"], ["s/a/b_c.png", "s/a_b/c.png", "s/c.png"], ["s/x.png", "s/x.jpg", "s/x_2.png"]])
def test_names_never_repeat(paths):
    names = view_names([Path(p) for p in paths])
    assert len(set(names)) == len(paths)


# ------------------------------------------------------------------ smaller images


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 700))
def test_limited_cameras_see_a_point_at_the_same_relative_place(height, width, max_side):
    K = np.array([[0.9 * width, 0.8 * width, 0.45 * width, 0.55 * height]])
    cameras = Cameras(("a",), ("a.png",), POSE[None], K, np.array([[height, width]]))
    small = limited(cameras, max_side)
    assert small.sizes.max() <= max(max_side, 1) and (small.sizes <= cameras.sizes).all() and small.sizes.min() >= 1
    for direction in np.array([[0.3, -0.2], [-0.5, 0.1]]):
        place = [(c.intrinsics[0, :2] * direction + c.intrinsics[0, 2:]) / c.sizes[0, ::-1] for c in (cameras, small)]
        np.testing.assert_allclose(place[0], place[1], rtol=1e-12)


def test_a_distorting_lens_is_refused_where_a_pinhole_is_assumed(tmp_path):
    for record in ({"k1": 0.06, "frames": []}, {"frames": [{"p2": 1e-4}]}):
        (tmp_path / "transforms.json").write_text(json.dumps(record))
        with pytest.raises(ValueError, match="distorting lens.*Undistort"):
            check_undistorted(tmp_path)
    (tmp_path / "transforms.json").write_text(json.dumps({"k1": 0.0, "frames": [{"k2": 0}]}))
    assert check_undistorted(tmp_path) is None


def lens_of(folder, shared: dict, *frames: dict):
    (folder / "a.png").write_bytes(b"")
    frames = [{"file_path": "a.png", "transform_matrix": POSE.tolist(), **frame} for frame in frames or ({},)]
    (folder / "transforms.json").write_text(json.dumps({"fl_x": 9.0, "w": 4, "h": 4, "frames": frames} | shared))
    return read_lenses(folder)


def test_lenses_are_told_for_all_photos_or_for_each(tmp_path):
    assert lens_of(tmp_path, {}).tolist() == [[0, 0, 0, 0, 0]]
    shared = {"camera_model": "OPENCV", "k1": 0.1, "k2": 0.2, "p1": 0.3, "p2": 0.4, "k3": 0.5, "k4": 0.0}
    assert lens_of(tmp_path, shared, {}, {"k1": -0.1, "camera_model": "SIMPLE_RADIAL"}).tolist() == [[0.1, 0.2, 0.3, 0.4, 0.5], [-0.1, 0.2, 0.3, 0.4, 0.5]]
    assert lens_of(tmp_path, {"distortion_params": [0.1, 0.2, 0.5, 0.0, 0.3, 0.4]}).tolist() == [[0.1, 0.2, 0.3, 0.4, 0.5]]


@pytest.mark.parametrize("wrong, told", [({"camera_model": "OPENCV_FISHEYE", "k1": 0.1}, "OPENCV_FISHEYE"), ({"is_fisheye": True}, "OPENCV_FISHEYE"),
                                         ({"camera_model": "EQUIRECTANGULAR"}, "EQUIRECTANGULAR"), ({"k4": 0.1}, "OPENCV with k4")])
def test_lenses_of_other_kinds_are_refused(wrong, told, tmp_path):
    with pytest.raises(ValueError, match=f"a lens of the kind {told}; expected a pinhole.*Undistort"):
        lens_of(tmp_path, wrong)


def test_what_was_done_to_the_poses_is_told_by_the_file_or_by_its_age(tmp_path):
    def applied(record):
        (tmp_path / "transforms.json").write_text(json.dumps(record))
        return applied_transform(tmp_path)

    turn = [[1, 0, 0, 2], [0, 0, 1, 0], [0, -1, 0, 0]]
    assert applied({}).tolist() == np.eye(4).tolist()
    assert applied({"applied_transform": turn, "applied_scale": 3}).tolist() == [[3, 0, 0, 6], [0, 0, 3, 0], [0, -3, 0, 0], [0, 0, 0, 1]]
    for wrong in ({"applied_transform": [1, 2]}, {"applied_transform": np.zeros((3, 4)).tolist()}, {"applied_scale": "large"}):
        with pytest.raises(ValueError, match="applied_transform or applied_scale that cannot be read"):
            applied(wrong)
    (tmp_path / "colmap/sparse/0").mkdir(parents=True)
    assert applied({})[:3, :3].tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, -1]]
    assert applied({"applied_transform": turn})[0, 3] == 2
