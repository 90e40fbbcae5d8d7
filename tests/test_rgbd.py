"""Depth cameras: the layout of a capture, points of depth, outlines, views that disagree; and what is said of captures that cannot be read."""

from pathlib import Path

import numpy as np
import pytest
from depth_camera import COLOR_LENS, COLOR_SIZE, DEPTH_LENS, DEPTH_SIZE, FLIP, film, true_depth, write_depth, write_matrix
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from semquery import tabletop
from semquery.geometry import image_points
from semquery.procedural import Leaf, assemble, box
from semquery.render import RayCaster, look_at
from semquery.rgbd import RgbdConfig, Seen, backproject, beside, is_rgbd, load_depth, read_capture, resampled, told, trusted, votes

POSES = {str(k): look_at(np.array([2 * np.cos(a), 2 * np.sin(a), 0.8]), np.array([0.0, 0.0, 0.1])) for k, a in enumerate(np.linspace(0, 2.4, 12))}
BLOCK = assemble({"floor": Leaf((150, 150, 150), (box((0, 0, -0.05), (2.0, 2.0, 0.1)),)), "block": Leaf((200, 40, 40), (box((0, 0, 0.25), (0.4, 0.4, 0.5)),))}, "scene")


@pytest.fixture(scope="module")
def filmed(tmp_path_factory) -> Path:
    return film(tmp_path_factory.mktemp("filmed"), BLOCK, POSES)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A capture of three frames, to be spoiled."""
    return film(tmp_path / "scan", BLOCK, dict(list(POSES.items())[:3]))


# ------------------------------------------------------------------ reading


def test_poses_and_lenses_come_out_as_the_house_has_them(filmed):
    capture = read_capture(filmed)
    assert capture.cameras.names == tuple(str(k) for k in range(12)) and not capture.skipped  # by number: 9 before 10
    np.testing.assert_allclose(capture.cameras.T_world_cam, list(POSES.values()), atol=1e-7)
    np.testing.assert_allclose(capture.cameras.intrinsics, [COLOR_LENS] * 12)
    np.testing.assert_allclose(capture.depth_intrinsics, DEPTH_LENS)
    assert capture.cameras.sizes.tolist() == [list(COLOR_SIZE)] * 12 and [d.stem for d in capture.depths] == list(capture.cameras.names)


def test_frames_without_a_finite_pose_or_depth_are_left_out_and_counted(filmed, folder):
    write_matrix(folder / "pose" / "0.txt", np.full((4, 4), -np.inf))
    (folder / "depth" / "2.png").unlink()
    capture = read_capture(folder)
    assert capture.cameras.names == ("1",) and told(capture.skipped) == "pose lost (not finite): 1 (first: 0), no depth: 1 (first: 2)"
    assert read_capture(filmed, every=5).cameras.names == ("0", "5", "10")


def test_a_stride_counts_the_frames_that_can_be_used(folder):
    (folder / "pose" / "1.txt").unlink()
    assert read_capture(folder, every=2).cameras.names == ("0",) and read_capture(folder).cameras.names == ("0", "2")


def test_the_lens_of_depth_may_be_left_out_where_it_has_the_size_of_the_photos(folder):
    (folder / "intrinsic" / "intrinsic_depth.txt").unlink()
    with pytest.raises(ValueError, match="has no intrinsic/intrinsic_depth.txt"):
        read_capture(folder)
    write_depth(folder / "depth" / "0.png", np.ones(COLOR_SIZE))
    np.testing.assert_allclose(read_capture(folder).depth_intrinsics, COLOR_LENS)


def test_only_the_whole_layout_counts_as_a_capture(folder, tmp_path):
    assert is_rgbd(folder) and not is_rgbd(tmp_path) and not is_rgbd(tmp_path / "gone")


def spoil(folder: Path, what: str) -> None:
    """Break a capture in one way."""
    if what == "no pose folder":
        for pose in (folder / "pose").iterdir():
            pose.unlink()
        (folder / "pose").rmdir()
    elif what == "empty":
        for photo in (folder / "color").iterdir():
            photo.unlink()
    elif what == "all lost":
        for pose in (folder / "pose").iterdir():
            write_matrix(pose, np.full((4, 4), -np.inf))
    elif what == "no rotation":
        write_matrix(folder / "pose" / "1.txt", np.diag([1.0, 2.0, 1.0, 1.0]))
    elif what == "words":
        (folder / "pose" / "1.txt").write_text("1 0 0 zero\n")
    elif what == "ragged":
        (folder / "pose" / "1.txt").write_text("1 0 0 0\n1 0\n")
    elif what == "other photo":
        Image.new("RGB", (20, 30)).save(folder / "color" / "1.jpg")
    elif what == "no lens":
        (folder / "intrinsic" / "intrinsic_color.txt").unlink()
    elif what == "lens of another size":
        K = np.eye(4)
        K[[0, 1, 0, 1], [0, 1, 2, 2]] = 1170.0, 1170.0, 647.75, 483.75
        write_matrix(folder / "intrinsic" / "intrinsic_color.txt", K)
    elif what == "flat lens":
        write_matrix(folder / "intrinsic" / "intrinsic_color.txt", np.eye(2))
    elif what == "cameras apart":
        write_matrix(folder / "intrinsic" / "extrinsic_depth.txt", np.eye(4) + np.eye(4, k=3) * 0.05)
    elif what == "no photo":
        (folder / "color" / "1.jpg").write_text("not a picture")


@pytest.mark.parametrize(("what", "told"), [
    ("no pose folder", "has no folder pose.*color/, depth/, pose/ and intrinsic/"), ("empty", "holds no photos"),
    ("all lost", r"None of the 3 frames .* can be used: pose lost \(not finite\): 3"), ("no rotation", r"1\.txt has a pose whose rotation part"),
    ("words", r"1\.txt is no matrix of numbers.*zero.*four rows"), ("ragged", r"1\.txt is no matrix"),
    ("other photo", r"1\.jpg is 20×30, .*0\.jpg is 96×72.*same size"), ("no lens", "has no intrinsic/intrinsic_color.txt"),
    ("lens of another size", r"optical axis at 647.75, 483.75, far from the middle of 96×72 color.*another size"),
    ("flat lens", "not a matrix of intrinsics: expected 3×3 or 4×4"), ("cameras apart", "Expected the identity. Register the depth"),
    ("no photo", r"1\.jpg cannot be read as an image"),
])
def test_a_capture_that_cannot_be_used_is_refused_with_the_reason(folder, what, told):
    spoil(folder, what)
    with pytest.raises(ValueError, match=told):
        read_capture(folder)


# ------------------------------------------------------------------ depth files


def test_depth_is_read_in_units_of_the_poses_and_out_of_range_is_nothing(tmp_path):
    Image.fromarray(np.array([[0, 50, 1000], [2500, 9000, 65535]], np.uint16)).save(tmp_path / "d.png")
    np.testing.assert_allclose(load_depth(tmp_path / "d.png", RgbdConfig(far=8.0)), [[np.nan, np.nan, 1.0], [2.5, np.nan, np.nan]])
    np.testing.assert_allclose(load_depth(tmp_path / "d.png", RgbdConfig(depth_scale=5000.0, near=0.0)), [[np.nan, 0.01, 0.2], [0.5, 1.8, np.nan]], rtol=1e-6)


@pytest.mark.parametrize("mode", ["L", "RGB", "P"])
def test_a_picture_of_depth_is_no_depth(tmp_path, mode):
    Image.new(mode, (4, 3)).save(tmp_path / "d.png")
    with pytest.raises(ValueError, match=rf"d\.png has pixels of kind {mode}; expected 16-bit"):
        load_depth(tmp_path / "d.png")
    (tmp_path / "d.png").write_text("no picture")
    with pytest.raises(ValueError, match="cannot be read as a depth picture"):
        load_depth(tmp_path / "d.png")


@pytest.mark.parametrize("wrong", [{"every": 0}, {"max_side": 0}, {"depth_scale": 0.0}, {"depth_scale": float("nan")}, {"near": 2.0, "far": 1.0}, {"near": -1.0}, {"jump": -0.1}])
def test_settings_without_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong)).replace("_", "-")):
        RgbdConfig(**wrong)


# ------------------------------------------------------------------ outlines


def plane(normal: tuple[float, float, float], distance: float, size: tuple[int, int] = (12, 16), focal: float = 20.0) -> np.ndarray:
    """Depth of the plane normal · (x, y, z) = distance, z forward, by intersecting each pixel's ray."""
    rows, columns = np.indices(size) + 0.5
    rays = np.stack([(columns - size[1] / 2) / focal, (rows - size[0] / 2) / focal, np.ones(size)], -1)
    return distance / (rays @ np.array(normal))


@settings(max_examples=60, deadline=None)
@given(st.floats(-0.9, 0.9), st.floats(-0.9, 0.9), st.floats(0.5, 5.0))
def test_a_plane_is_trusted_however_slanted(x, y, distance):
    depth = plane((x, y, 1.0), distance)
    assert trusted(np.where(depth > 0, depth, np.nan), 1e-6)[depth > 0].all()


def test_both_sides_of_an_outline_and_what_hangs_between_them_are_refused():
    depth = np.full((7, 9), 2.0)
    depth[:, 5:] = 3.0
    assert (trusted(depth, 0.05) == ~np.isin(np.arange(9), [4, 5])[None]).all()
    depth[:, 5] = 1 / (0.5 / 2 + 0.5 / 3)  # an average of both
    assert (trusted(depth, 0.05) == ~np.isin(np.arange(9), [4, 5, 6])[None]).all()
    assert trusted(depth, 0.0).all()


def test_pixels_beside_a_hole_are_judged_by_the_neighbours_they_have():
    depth = np.array([[2.0, 2.0, 2.0, 3.0, np.nan, 3.0, 3.0]])
    assert trusted(depth, 0.05).tolist() == [[True, True, False, False, False, True, True]]
    assert not trusted(np.array([[np.nan, 2.0, 3.0, np.nan]]), 0.05).any()
    assert trusted(np.full((3, 3), np.nan), 0.05).sum() == 0 and trusted(np.array([[1.0]]), 0.05).all()


# ------------------------------------------------------------------ points


@settings(max_examples=40, deadline=None)
@given(st.floats(-0.3, 0.3), st.floats(-0.3, 0.3), st.integers(0, 11))
def test_points_of_a_plane_lie_on_it_whatever_the_two_lenses(x, y, view):
    """Depth of one camera, points at the pixels of another."""
    lens, T = np.array([20.0, 20.0, 8.0, 6.0]), POSES[str(view)]
    depth = resampled(plane((x, y, 1.0), 2.0), lens, np.array([33.0, 31.0, 12.5, 9.0]), (18, 25))
    _, points = backproject(depth, T, np.array([33.0, 31.0, 12.5, 9.0]))
    camera = (points - T[:3, 3]) @ T[:3, :3] * [1, -1, -1]
    np.testing.assert_allclose(camera @ [x, y, 1.0], 2.0, atol=1e-5)  # to the border
    assert len(points) > 0.6 * 18 * 25


def slow_resampled(depth: np.ndarray, lens: np.ndarray, grid_lens: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """One ray at a time, and four neighbours."""
    out = np.full(size, np.nan)
    for i in range(size[0]):
        for j in range(size[1]):
            x = (j + 0.5 - grid_lens[2]) / grid_lens[0] * lens[0] + lens[2] - 0.5
            y = (i + 0.5 - grid_lens[3]) / grid_lens[1] * lens[1] + lens[3] - 0.5
            near = round(y), round(x)
            if not (0 <= near[0] < depth.shape[0] and 0 <= near[1] < depth.shape[1]) or np.isnan(depth[near]):
                continue
            left, top = min(max(int(np.floor(x)), 0), depth.shape[1] - 2), min(max(int(np.floor(y)), 0), depth.shape[0] - 2)
            s, t = x - left, y - top
            four = 1 / depth[top : top + 2, left : left + 2]
            mean = np.array([1 - t, t]) @ four @ np.array([1 - s, s])
            out[i, j] = 1 / (mean if np.isfinite(mean) and mean > 0 else 1 / depth[near])
    return out


@pytest.mark.parametrize("seed", range(3))
def test_resampling_is_the_same_as_one_ray_at_a_time(seed):
    random = np.random.default_rng(seed)
    depth = np.where(random.random((9, 11)) < 0.2, np.nan, random.uniform(1, 3, (9, 11)))
    lens, grid_lens = np.array([14.0, 15.0, 5.2, 4.6]), random.uniform([10, 10, 4, 4], [30, 30, 12, 10])
    np.testing.assert_allclose(resampled(depth, lens, grid_lens, (13, 17)), slow_resampled(depth, lens, grid_lens, (13, 17)))


def test_the_same_lens_gives_the_same_depth_back():
    depth = np.random.default_rng(0).uniform(1, 3, (9, 11))
    lens = np.array([14.0, 15.0, 5.2, 4.6])
    np.testing.assert_allclose(resampled(depth, lens, lens, (9, 11)), depth)


def test_backprojected_points_project_back_to_their_pixels():
    T, lens = POSES["3"], np.array([33.0, 31.0, 12.5, 9.0])
    depth = np.random.default_rng(0).uniform(1, 3, (18, 25))
    depth[2, 3] = np.nan
    pixels, points = backproject(depth, T, lens)
    column, row, found = image_points(points, T, lens)
    assert len(pixels) == 18 * 25 - 1 and (np.diff(pixels) > 0).all()
    np.testing.assert_allclose(np.floor(row) * 25 + np.floor(column), pixels)
    np.testing.assert_allclose(found, depth.ravel()[pixels], rtol=1e-5)


def test_points_of_a_filmed_scene_lie_on_its_surface(filmed):
    """To a millimetre or two, through files, two lenses and OpenCV's axes; outlines are left out, not smeared."""
    import trimesh

    capture = read_capture(filmed)
    mesh = trimesh.Trimesh(BLOCK.vertices, BLOCK.faces, process=False)
    for view in (0, 7):
        depth = load_depth(capture.depths[view])
        depth = np.where(trusted(depth, 0.05), depth, np.nan)
        on_grid = resampled(depth, capture.depth_intrinsics, capture.cameras.intrinsics[view], COLOR_SIZE)
        _, points = backproject(on_grid, capture.cameras.T_world_cam[view], capture.cameras.intrinsics[view])
        distance = np.abs(trimesh.proximity.closest_point(mesh, points)[1])
        assert len(points) > 1500 and np.quantile(distance, 0.9) < 0.001 and distance.max() < 0.03  # at a crease, up to a pixel of depth
        truth = true_depth(RayCaster(BLOCK.vertices, BLOCK.faces), capture.cameras.T_world_cam[view], capture.cameras.intrinsics[view], COLOR_SIZE)
        assert np.isfinite(on_grid).sum() > 0.8 * np.isfinite(truth).sum()


# ------------------------------------------------------------------ other views


def test_a_point_that_hangs_in_the_air_is_seen_through_and_one_on_the_surface_is_seen(filmed):
    capture = read_capture(filmed)
    T, K = capture.cameras.T_world_cam, capture.cameras.intrinsics
    caster = RayCaster(BLOCK.vertices, BLOCK.faces)
    others = [Seen(true_depth(caster, T[v], K[v], COLOR_SIZE), T[v], K[v]) for v in (0, 1, 2)]
    points = np.array([[0.2, 0.02, 0.3], [0.45, 0.1, 0.3], [-0.8, 0.0, 0.0], [50.0, 0.0, 0.0], [0.0, 0.0, 0.1]])
    same, through = votes(points, others, 0.03)
    assert same.tolist() == [3, 0, 0, 0, 0] and through.tolist() == [0, 3, 0, 0, 0]  # on the block, before it, hidden, behind the camera, inside
    assert [a.tolist() for a in votes(points, [], 0.03)] == [[0] * 5] * 2


def test_the_views_beside_one_are_those_that_look_alike():
    T = np.stack(list(POSES.values()))
    assert sorted(beside(T, 5, 2).tolist()) == [4, 6] and 5 not in beside(T, 5, 100) and len(beside(T, 5, 100)) == 11
    assert len(beside(T[:1], 0, 3)) == 0
    turned = np.concatenate([T, T[:1] @ np.diag([-1.0, 1, -1, 1])])
    assert beside(turned, 0, 2).tolist() == [1, 2]  # the last stands in the same place, and looks the other way


def test_the_layout_of_the_tests_is_opencvs():
    """A point to the right of, below and before the camera of a pose file has positive coordinates."""
    T_world_cv = POSES["0"] @ FLIP
    column, row, depth = image_points((T_world_cv @ [0.1, 0.2, 1.0, 1.0])[None, :3], POSES["0"], DEPTH_LENS)
    assert column > DEPTH_SIZE[1] / 2 and row > DEPTH_SIZE[0] / 2 and np.isclose(depth, 1.0)
    assert tabletop.FIELD_OF_VIEW == 45.0
