"""Where to look from: the parts are in the picture, seen from where a photo saw them; frusta project as the cameras do."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import part_tree, random_parts, small_cameras, small_parts, small_surface
from hypothesis import given, settings
from hypothesis import strategies as st

from semquery.geometry import image_points
from semquery.render import look_at, ring
from semquery.spans import Spans
from semquery.types import Cameras, PartTree, Surface
from semquery.viewer import cameras as viewer_cameras
from semquery.viewer.cameras import FILL, FIT, STEEPEST, ball, best_view, frustum, moved, pose_for, pose_of_view, up_of
from semquery.viewer.loaded import Loaded

FOV = np.radians(60)
SEEDS = st.integers(0, 10_000)
VIEWS = ("one", "two", "three")


def loaded_of(surface: Surface, tree: PartTree, cameras: Cameras) -> Loaded:
    return Loaded(surface=surface, tree=tree, labels={}, cameras=cameras, spans=Spans(tree, surface), scene=None)


def cameras_of(poses, names=VIEWS, size=(48, 64), focal=(50.0, 60.0)) -> Cameras:
    intrinsics = np.tile([*focal, size[1] / 2, size[0] / 2], (len(poses), 1))
    images, T_world_cam = tuple(f"gone/{name}.png" for name in names), np.array(poses, float).reshape(-1, 4, 4)
    return Cameras(tuple(names), images, T_world_cam, intrinsics, np.tile(size, (len(poses), 1)))


def surface_of(points, normals, pixels, voxel=0.2) -> Surface:
    n = len(points)
    return Surface(points, normals, np.zeros((n, 3), np.uint8), np.zeros((n, 0), np.float16), np.arange(n, dtype=np.int32), voxel, pixels)


def plate(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points in the plane y = 0 between -1 and 1, their normals, and their numbers in rows."""
    at = np.linspace(-1, 1, count, dtype=np.float32)
    x, z = np.meshgrid(at, at)
    points = np.stack([x.ravel(), np.zeros(count**2, np.float32), z.ravel()], 1)
    return points, np.tile(np.array([0, -1, 0], np.float32), (count**2, 1)), np.arange(count**2, dtype=np.int32).reshape(count, count)


def random_loaded(seed: int, distance: float = 8.0) -> Loaded:
    """Forty points in a ball, three views that show some of them."""
    random = np.random.default_rng(seed)
    tree = random_parts(random, int(random.integers(2, 7)), 40)
    points, normals = random.normal(size=(2, 40, 3)).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    pixels = {view: random.integers(-1, 40, (6, 7)).astype(np.int32) for view in VIEWS}
    cameras = cameras_of(ring(np.zeros(3), distance, float(random.uniform(0, 60)), random.uniform(0, 360, 3)))
    return loaded_of(surface_of(points, normals, pixels, 0.001), tree, cameras)


def small_loaded() -> Loaded:
    return loaded_of(small_surface(), small_parts(), small_cameras())


def seen_by(pose, points, aspect=1.0, fov=FOV):
    """Column and row of points in a picture that reaches from -1 to 1 on its smaller side, and their depth."""
    T_world_cam = look_at(pose.position, pose.look_at, tuple(float(u) for u in pose.up))
    focal = 1 / (np.tan(fov / 2) * min(1.0, aspect))
    return image_points(points, T_world_cam, np.array([focal, focal, 0.0, 0.0]))


def slow_best_view(loaded: Loaded, parts):
    """Pixel by pixel: cells of space shown × mean |cosine|."""
    inside = np.zeros(len(loaded.surface.points), bool)
    for part in parts:
        inside |= loaded.tree.points_of(part)
    points, shown = loaded.surface.points.astype(np.float64), {}
    for view, eye in zip(loaded.cameras.names, loaded.cameras.T_world_cam[:, :3, 3], strict=True):
        shown[view] = [int(point) for point in loaded.surface.point_of_pixel[view].ravel() if point >= 0 and inside[point]]
    every = [point for rows in shown.values() for point in rows]
    if not every:
        return None
    low, most, worth = points[every].min(0), max(len(rows) for rows in shown.values()), {}
    side = np.ptp(points[every], axis=0).max()
    for view, eye in zip(loaded.cameras.names, loaded.cameras.T_world_cam[:, :3, 3], strict=True):
        if shown[view] and len(shown[view]) >= most / 8:
            cells = {tuple(min(int(x), 7) for x in (points[p] - low) * 8 / max(side, 1e-12)) for p in shown[view]}
            cosines = [abs((points[p] - eye) @ loaded.surface.normals[p]) / np.linalg.norm(points[p] - eye) for p in shown[view]]
            worth[view] = len(cells) * max(float(np.mean(cosines)), 0.05)

    def num_inside(view):
        pixels = loaded.surface.point_of_pixel[view].ravel()
        deeper = [q for q in range(loaded.tree.num_parts) if any(p != q and p in (loaded.tree.root, *loaded.tree.path(q)) for p in parts)]
        return sum(int(loaded.tree.points_of(q)[pixels[pixels >= 0]].sum()) > 20 for q in deeper)

    good = [view for view in worth if worth[view] >= 0.7 * max(worth.values())]
    return max(good, key=lambda view: (num_inside(view), worth[view]))


# ---------------------------------------------------------------- looking at parts


@settings(max_examples=40)
@given(seed=SEEDS, data=st.data())
def test_the_best_view_is_that_of_a_loop_over_pixels(seed, data):
    loaded = random_loaded(seed)
    parts = data.draw(st.lists(st.integers(0, loaded.tree.root), min_size=1, max_size=3))
    assert best_view(loaded, parts) == slow_best_view(loaded, parts)


def test_a_plate_is_looked_at_from_the_front_though_a_nearer_photo_shows_it_edge_on():
    """Of the nearer photo, at the plate's side, twice as many pixels show it."""
    points, normals, every = plate(12)
    poses = [look_at(np.array([0.5, -9.0, 0.5]), np.zeros(3)), look_at(np.array([4.0, -0.3, 0.5]), np.zeros(3))]
    surface = surface_of(points, normals, {"front": every, "side": np.repeat(every, 2, 0)})
    loaded = loaded_of(surface, part_tree([1, 1], [0] * 144), cameras_of(poses, ("front", "side")))
    assert best_view(loaded, [0]) == "front"
    pose = pose_for(loaded, [0], FOV)
    assert pose.position[1] < -1 and abs(pose.position[0]) < 1


def test_an_object_is_looked_at_from_the_side_that_shows_most_parts_inside_among_views_as_good():
    points, normals, every = plate(12)
    back = look_at(np.array([0.0, 9.0, 0.0]), np.zeros(3))
    front = look_at(np.array([2.0, -9.0, 0.0]), np.zeros(3))  # a little from the side: shows the plate slightly less frontally
    surface = surface_of(np.concatenate([points, points]), np.concatenate([normals, normals]), {"back": every, "front": every + 144})
    knobs = [0] * 144 + [1] * 48 + [2] * 48 + [0] * 48
    loaded = loaded_of(surface, part_tree([3, 3, 3, 4, 4], knobs), cameras_of([back, front], ("back", "front")))
    assert best_view(loaded, [3]) == "front" and best_view(loaded, [0]) == "back"


@pytest.mark.parametrize(("photo", "away"), [(50.0, "voxel"), (1.0, "photo")])
def test_a_voxel_takes_no_more_than_six_pixels_of_a_page_unless_the_photo_was_nearer(photo, away):
    points, normals, every = plate(12)
    surface = surface_of(points * np.float32(0.1), normals, {"front": every}, 0.02)
    loaded = loaded_of(surface, part_tree([1, 1], [0] * 144), cameras_of([look_at(np.array([0.0, -photo, 0.01]), np.zeros(3))], ("front",)))
    pose = pose_for(loaded, [0], FOV)
    distance = float(np.linalg.norm(pose.position - pose.look_at))
    pixels = 0.02 / distance / np.tan(FOV / 2) * 450
    assert pixels == pytest.approx(6) if away == "voxel" else (pixels > 6 and distance == pytest.approx(photo, rel=1e-3))


def test_of_a_large_part_a_sample_of_the_pixels_decides(monkeypatch):
    monkeypatch.setattr(viewer_cameras, "SAMPLE_PIXELS", 40)
    points, normals, every = plate(20)
    surface = surface_of(points, normals, {"corner": np.repeat(every[:5, :5], 4, 0), "whole": every})
    poses = [look_at(np.array([0.0, -3.0, 0.0]), np.zeros(3))] * 2
    loaded = loaded_of(surface, part_tree([0], [0] * 400), cameras_of(poses, ("corner", "whole")))
    assert best_view(loaded, [0]) == "whole"


@settings(max_examples=40)
@given(seed=SEEDS, aspect=st.sampled_from([0.5, 1.0, 1.8]), distance=st.sampled_from([4.0, 8.0, 30.0]), data=st.data())
def test_parts_are_in_the_middle_and_fill_the_agreed_share_unless_the_photo_was_nearer(seed, aspect, distance, data):
    loaded = random_loaded(seed, distance)
    parts = data.draw(st.lists(st.integers(0, loaded.tree.root), min_size=1, max_size=2))
    centre, radius = ball(loaded, parts)
    pose, view = pose_for(loaded, parts, FOV, aspect), best_view(loaded, parts)
    assert np.linalg.norm(pose.up) == pytest.approx(1)
    if view is None or distance <= 2 * radius:
        return
    np.testing.assert_allclose(pose.look_at, centre)
    away = float(np.linalg.norm(pose.position - centre))
    filled = np.tan(np.arcsin(radius / away)) / (np.tan(FOV / 2) * min(1, aspect))
    photo = float(np.linalg.norm(loaded.cameras.T_world_cam[VIEWS.index(view), :3, 3] - centre))
    share = FIT if loaded.tree.root in parts else FILL
    least = min(photo, loaded.surface.voxel_size / (2 * viewer_cameras.FINEST * np.tan(FOV / 2)))
    assert away >= least - 1e-9
    if filled != pytest.approx(share) and away > least + 1e-9:
        assert share < filled <= FIT + 1e-9, "nearer than agreed only to stay where the photo was taken, and then they still fit"
        assert away == pytest.approx(photo) if filled < FIT - 1e-6 else away >= photo - 1e-9
    column, row, depth = seen_by(pose, centre[None], aspect)
    np.testing.assert_allclose([column[0], row[0], depth[0]], [0, 0, away], atol=1e-9)


def test_the_camera_stands_on_the_side_of_the_photo_that_shows_the_part_best():
    loaded = small_loaded()
    assert best_view(loaded, [2]) in ("close", "above")
    pose, view = pose_for(loaded, [2], FOV), best_view(loaded, [2])
    to_photo = loaded.cameras.T_world_cam[loaded.cameras.names.index(view), :3, 3] - pose.look_at
    to_camera = pose.position - pose.look_at
    assert to_photo @ to_camera == pytest.approx(np.linalg.norm(to_photo) * np.linalg.norm(to_camera))


@settings(max_examples=20)
@given(seed=SEEDS, shift=st.floats(-5, 5), scale=st.sampled_from([0.1, 10.0]))
def test_the_pose_moves_and_grows_with_the_scene(seed, shift, scale):
    loaded = random_loaded(seed)
    T_other_world = np.diag([scale, scale, scale, 1.0])
    T_other_world[:3, 3] = shift
    points = loaded.surface.points * np.float32(scale) + np.float32(shift)
    surface = replace(loaded.surface, points=points, voxel_size=loaded.surface.voxel_size * scale)
    poses = loaded.cameras.T_world_cam.copy()
    poses[:, :3, 3] = scale * poses[:, :3, 3] + shift
    other = loaded_of(surface, loaded.tree, replace(loaded.cameras, T_world_cam=poses))
    if best_view(other, [loaded.tree.root]) != best_view(loaded, [loaded.tree.root]):  # a point on the border between two cells
        return
    expected, pose = moved(pose_for(loaded, [], FOV), T_other_world), pose_for(other, [], FOV)
    for name in ("position", "look_at", "up"):
        np.testing.assert_allclose(getattr(pose, name), getattr(expected, name), atol=1e-3 * scale)


def test_without_parts_the_whole_scene_is_looked_at():
    loaded = small_loaded()
    for name in ("position", "look_at", "up"):
        np.testing.assert_array_equal(getattr(pose_for(loaded, (), FOV), name), getattr(pose_for(loaded, [4], FOV), name))


def test_a_part_of_one_point_is_shown_with_what_is_around_it():
    centre, radius = ball(small_loaded(), [3])
    lonely = replace(small_surface(), point_of_pixel={})
    tree = replace(small_parts(), part_of_point=np.array([0] + [2] * 11, np.int32))
    at, least = ball(loaded_of(lonely, tree, small_cameras()), [0])
    np.testing.assert_allclose(at, lonely.points[0])
    assert least == viewer_cameras.LEAST_RADIUS * lonely.voxel_size and radius > 0 and np.isfinite(centre).all()


def test_strays_and_points_that_are_no_numbers_do_not_drive_the_camera_away():
    points = np.random.default_rng(0).uniform(-1, 1, (1000, 3)).astype(np.float32)
    points[:4], points[4] = 100, np.nan
    loaded = loaded_of(surface_of(points, np.zeros_like(points), {}, 0.01), part_tree([0], [0] * 1000), small_cameras())
    centre, radius = ball(loaded, [0])
    assert np.abs(centre).max() < 0.1 and 1.4 < radius < 1.75


def test_from_amid_a_room_the_photo_itself_is_taken():
    loaded = small_loaded()
    poses = loaded.cameras.T_world_cam.copy()
    poses[:, :3, 3] = [4.0, 0.1, 1.0]
    inside = loaded_of(loaded.surface, loaded.tree, replace(loaded.cameras, T_world_cam=poses))
    pose, view = pose_for(inside, [4], FOV), best_view(inside, [4])
    np.testing.assert_allclose(pose.position, [4.0, 0.1, 1.0])
    np.testing.assert_allclose(pose.look_at, pose_of_view(inside.cameras, view).look_at)


def test_what_no_photo_shows_is_looked_at_from_the_mean_of_the_cameras():
    surface = replace(small_surface(), point_of_pixel={})
    loaded = loaded_of(surface, small_parts(), small_cameras())
    pose, centre = pose_for(loaded, [2], FOV), ball(loaded, [2])[0]
    away = loaded.cameras.T_world_cam[:, :3, 3].mean(0) - centre
    np.testing.assert_allclose(np.cross(pose.position - centre, away), 0, atol=1e-9)
    assert (pose.position - centre) @ away > 0


def test_views_without_a_camera_and_scenes_without_cameras_have_a_pose():
    none = cameras_of(np.zeros((0, 4, 4)), ())
    pose = pose_for(loaded_of(small_surface(), small_parts(), none), [0], FOV)
    assert all(np.isfinite(getattr(pose, name)).all() for name in ("position", "look_at", "up"))
    np.testing.assert_array_equal(up_of(none), [0, 0, 1])


@pytest.mark.parametrize("elevation", [90.0, -90.0, 89.9])
def test_from_straight_above_or_below_one_looks_at_a_slant_with_the_photos_side_up(elevation):
    """Along the vertical no side is up, and a viewer's camera would be turned by chance."""
    loaded = small_loaded()
    e = np.radians(elevation)
    eye = np.array([4.0, 0.0, 1.0]) + 60 * np.array([0, -np.cos(e), np.sin(e)])
    poses = np.stack([look_at(eye, np.array([4.0, 0.0, 1.0]), (0, 1, 0) if elevation > 0 else (0, -1, 0))] * 3)
    level = ring(np.array([4.0, 0.0, 1.0]), 20.0, 0.0, np.arange(0.0, 360.0, 40.0))  # of views that show nothing: they tell what is up
    cameras = cameras_of([*poses, *level], (*loaded.cameras.names, *(f"unused_{k}" for k in range(9))))
    np.testing.assert_array_equal(up_of(cameras), [0, 0, 1])
    pose = pose_for(loaded_of(loaded.surface, loaded.tree, cameras), [2], FOV)
    sight = (pose.look_at - pose.position) / np.linalg.norm(pose.look_at - pose.position)
    assert abs(sight @ pose.up) <= np.sin(STEEPEST) + 1e-9
    column, row, _ = seen_by(pose, pose.look_at + poses[0, :3, 1][None] * 0.1)
    assert row[0] < 0 and abs(column[0]) < 0.1 * abs(row[0]), "what was up in the photo is up in the picture"


@pytest.mark.parametrize("parts", [[9], [-1], [0, 5]])
def test_parts_that_are_none_are_told(parts):
    with pytest.raises(ValueError, match="There is no part .*0 to 4"):
        pose_for(small_loaded(), parts, FOV)


@pytest.mark.parametrize(("fov", "aspect"), [(0.0, 1.0), (4.0, 1.0), (float("nan"), 1.0), (1.0, 0.0), (1.0, float("inf"))])
def test_a_picture_that_there_cannot_be_is_told(fov, aspect):
    with pytest.raises(ValueError, match="field of view between"):
        pose_for(small_loaded(), [0], fov, aspect)


# ---------------------------------------------------------------- looking as a photo does


@settings(max_examples=30)
@given(seed=SEEDS, elevation=st.floats(-70, 70), roll=st.floats(-60, 60))
def test_the_pose_of_a_view_turns_the_camera_as_the_photos_was_turned(seed, elevation, roll):
    random = np.random.default_rng(seed)
    poses = ring(random.normal(size=3), 5.0, elevation, random.uniform(0, 360, 3))
    c, s = np.cos(np.radians(roll)), np.sin(np.radians(roll))
    poses[0, :3, :3] = poses[0, :3, :3] @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    pose = pose_of_view(cameras_of(poses), "one")
    T_world_cam = look_at(pose.position, pose.look_at, tuple(float(u) for u in pose.up))
    np.testing.assert_allclose(T_world_cam, poses[0], atol=1e-9)


def test_photos_that_look_at_one_place_are_looked_through_as_far_as_there():
    target = np.array([3.0, 4.0, 5.0])
    cameras = cameras_of(ring(target, 7.0, 20.0, np.array([0.0, 70.0, 200.0])))
    np.testing.assert_allclose(pose_of_view(cameras, "two").look_at, target, atol=1e-4)
    near = pose_of_view(cameras, "two", distance=2.0)
    assert np.linalg.norm(near.look_at - near.position) == pytest.approx(2.0)


def test_one_photo_alone_and_photos_side_by_side_look_at_something_ahead():
    one = look_at(np.array([1.0, 2.0, 3.0]), np.zeros(3))
    beside = np.stack([one, one, one])
    beside[1:, :3, 3] += [one[:3, 0], 2 * one[:3, 0]]
    for poses in (one[None], beside):
        pose = pose_of_view(cameras_of(poses, VIEWS[: len(poses)]), "one")
        ahead = (pose.look_at - pose.position) @ -one[:3, 2]
        assert ahead > 0.1 and np.isfinite(pose.look_at).all()


def test_a_photo_straight_down_keeps_the_side_that_was_up():
    down = look_at(np.array([0.0, 0.0, 5.0]), np.zeros(3), (1, 1, 0))
    level = ring(np.zeros(3), 5.0, 0.0, np.array([0.0, 180.0]))
    pose = pose_of_view(cameras_of([down, *level]), "one")
    np.testing.assert_allclose(look_at(pose.position, pose.look_at, tuple(float(u) for u in pose.up)), down, atol=1e-9)


def test_a_view_without_a_camera_is_told_with_those_that_have_one():
    with pytest.raises(ValueError, match="no camera of a view 'nine'.*one, two, three"):
        pose_of_view(cameras_of(ring(np.zeros(3), 5.0, 0.0, np.arange(3.0))), "nine")


# ---------------------------------------------------------------- drawing a photo's camera


def turned(wxyz, vectors):
    """Vectors turned by a unit quaternion: v + 2 w (u × v) + 2 u × (u × v)."""
    w, u = wxyz[0], wxyz[1:]
    across = np.cross(u, vectors)
    return vectors + 2 * w * across + 2 * np.cross(u, across)


@settings(max_examples=30)
@given(seed=SEEDS, size=st.sampled_from([(48, 64), (200, 112)]), focal=st.sampled_from([(50.0, 50.0), (50.0, 70.0)]))
def test_a_pixels_ray_in_the_frustum_goes_through_the_point_that_the_pixel_shows(seed, size, focal):
    """viser: z forward, y down; `fov` is between the lower and the upper edge, `aspect` the plane's width over its height."""
    random = np.random.default_rng(seed)
    poses = ring(random.normal(size=3), 5.0, float(random.uniform(-60, 60)), random.uniform(0, 360, 3))
    cameras = cameras_of(poses, size=size, focal=focal)
    points = random.normal(size=(20, 3))
    wxyz, position, fov, aspect = frustum(cameras, 1)
    column, row, depth = image_points(points, cameras.T_world_cam[1], cameras.intrinsics[1])
    in_front = depth > 0.1
    across = 2 * column / size[1] - 1, 2 * row / size[0] - 1
    rays = np.stack([across[0] * np.tan(fov / 2) * aspect, across[1] * np.tan(fov / 2), np.ones(20)], 1)
    np.testing.assert_allclose((position + turned(wxyz, rays) * depth[:, None])[in_front], points[in_front], atol=1e-6)


@settings(max_examples=30)
@given(seed=SEEDS)
def test_points_in_the_frustum_project_to_the_pixels_that_the_photo_shows_them_at(seed):
    """The other way: from the frustum's own axes to the picture."""
    random = np.random.default_rng(seed)
    cameras = cameras_of(ring(random.normal(size=3), 5.0, 30.0, random.uniform(0, 360, 3)))
    wxyz, position, fov, aspect = frustum(cameras, 0)
    x, y, z = turned(wxyz * [1, -1, -1, -1], random.normal(size=(20, 3)) - position).T
    points = position + turned(wxyz, np.stack([x, y, z], 1))
    column, row, depth = image_points(points, cameras.T_world_cam[0], cameras.intrinsics[0])
    seen = z > 0.1
    np.testing.assert_allclose(depth[seen], z[seen])
    np.testing.assert_allclose(column[seen], (32 * (1 + x / z / np.tan(fov / 2) / aspect))[seen])
    np.testing.assert_allclose(row[seen], (24 * (1 + y / z / np.tan(fov / 2)))[seen])


def test_the_axes_of_the_frustum_are_those_that_viser_turns():
    import viser.transforms as tf

    cameras = small_cameras()
    for k, T_world_cam in enumerate(cameras.T_world_cam):
        wxyz = frustum(cameras, k).wxyz
        np.testing.assert_allclose(tf.SO3(wxyz).as_matrix(), T_world_cam[:3, :3] * [1, -1, -1], atol=1e-9)
        assert np.linalg.norm(wxyz) == pytest.approx(1)


# ---------------------------------------------------------------- another frame


@settings(max_examples=30)
@given(seed=SEEDS, scale=st.sampled_from([0.1, 1.0, 10.0]))
def test_a_pose_in_another_frame_shows_the_same_picture_and_comes_back(seed, scale):
    random = np.random.default_rng(seed)
    turn = np.linalg.qr(random.normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    T_other_world = np.eye(4)
    T_other_world[:3, :3], T_other_world[:3, 3] = scale * turn, random.normal(size=3)
    pose, points = pose_for(small_loaded(), [2], FOV), random.normal(size=(9, 3))
    there, points_there = moved(pose, T_other_world), points @ T_other_world[:3, :3].T + T_other_world[:3, 3]
    for one, other in zip(seen_by(pose, points)[:2], seen_by(there, points_there)[:2], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    back = moved(there, np.linalg.inv(T_other_world))
    for name in ("position", "look_at", "up"):
        np.testing.assert_allclose(getattr(back, name), getattr(pose, name), atol=1e-9)
