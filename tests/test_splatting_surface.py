"""From splats to surface points: files, clean-up, depth that views agree on."""

import numpy as np
import pytest
import torch
from plyfile import PlyData
from scipy.spatial.transform import Rotation

from semquery.render import pinhole, ring
from semquery.splatting import Gaussians, gaussians_of, ply_of
from semquery.splatting.clean import CleanConfig, clean
from semquery.splatting.surface import (
    DepthMap,
    SplatSurface,
    depth_map,
    is_certain,
    is_outline,
    neighbours_of,
    times_finer,
    uncontradicted,
    unproject,
)
from semquery.types import Cameras


def cameras(count: int = 8, side: int = 24) -> Cameras:
    poses = ring(np.zeros(3), 3.0, 25.0, np.linspace(0, 360, count, endpoint=False))
    return Cameras(tuple(f"v{i}" for i in range(count)), ("gone.png",) * count, poses, np.tile(pinhole(50.0, (side, side)), (count, 1)),
                   np.full((count, 2), side))


def ball(count: int = 1500, radius: float = 0.7, seed: int = 0) -> Gaussians:
    """Flat Gaussians on a sphere, opaque."""
    random = np.random.default_rng(seed)
    normals = random.normal(size=(count, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    turn = np.stack([_quaternion_to(n) for n in normals])
    scales = np.tile([0.04, 0.04, 0.002], (count, 1))
    return Gaussians(*(torch.tensor(a, dtype=torch.float32) for a in (radius * normals, turn, scales, np.full(count, 0.95), random.random((count, 1, 3)))))


def _quaternion_to(normal: np.ndarray) -> np.ndarray:
    """w x y z that turns z to the normal."""
    axis = np.cross([0, 0, 1.0], normal)
    length = np.linalg.norm(axis)
    angle = np.arctan2(length, normal[2])
    return Rotation.from_rotvec(axis / max(length, 1e-12) * angle).as_quat()[[3, 0, 1, 2]]


@pytest.mark.parametrize("degree", range(4))
def test_gaussians_come_back_from_a_file_of_any_degree(degree, tmp_path):
    torch.manual_seed(degree)
    made = Gaussians(torch.randn(7, 3), torch.randn(7, 4), torch.rand(7, 3) + 0.1, torch.rand(7) * 0.9 + 0.05, torch.randn(7, (degree + 1) ** 2, 3))
    ply_of(made).write(str(tmp_path / "scene.ply"))
    read = gaussians_of(PlyData.read(tmp_path / "scene.ply"))
    for name in ("means", "quats", "scales", "opacities", "sh"):
        torch.testing.assert_close(getattr(read, name), getattr(made, name), rtol=1e-5, atol=1e-6)


def test_harmonics_lie_channel_by_channel_in_the_file():
    made = Gaussians(torch.zeros(1, 3), torch.ones(1, 4), torch.ones(1, 3), torch.full((1,), 0.5), torch.arange(12.0).reshape(1, 4, 3))
    row = ply_of(made)["vertex"].data[0]
    assert [row[f"f_dc_{c}"] for c in range(3)] == [0, 1, 2]
    assert [row[f"f_rest_{k}"] for k in range(9)] == [3, 6, 9, 4, 7, 10, 5, 8, 11]  # red of the three, then green, then blue
    assert row["opacity"] == 0 and row["scale_0"] == 0


def test_clean_up_tells_each_reason_by_hand():
    random = np.random.default_rng(0)
    means = np.r_[random.random((200, 3)), [[9.0, 9, 9]], [[np.nan, 0, 0]], random.random((2, 3))]
    scales, opacities = np.full((204, 3), 0.02), np.full(204, 0.9)
    opacities[202], scales[203, 1] = 0.01, 5.0
    found = clean(means, scales, opacities)
    assert [np.flatnonzero(m).tolist() for m in (found.floating, found.broken, found.faint, found.huge)] == [[200], [201], [202], [203]]
    assert found.kept[:200].all() and not found.kept[200:].any()
    assert found.in_words() == "4 of 204 Gaussians left out: 1 nearly transparent, 1 huge, 1 floating alone, 1 no numbers"


def test_clean_up_does_not_mind_scale_turn_and_place():
    random = np.random.default_rng(1)
    means, scales, opacities = random.normal(size=(300, 3)) ** 3, np.exp(random.normal(-3, 1.2, (300, 3))), random.random(300)
    turn = Rotation.random(random_state=0).as_matrix()
    here, there = clean(means, scales, opacities), clean(70 * means @ turn.T + 5, 70 * scales, opacities)
    assert 0 < here.kept.sum() < 300
    np.testing.assert_array_equal(here.kept, there.kept)


def test_every_gaussian_has_one_fate():
    random = np.random.default_rng(2)
    found = clean(random.normal(size=(400, 3)) ** 3, np.exp(random.normal(-3, 1.5, (400, 3))), random.random(400))
    assert (found.kept.astype(int) + found.broken + found.faint + found.huge + found.floating == 1).all()


def wall(count: int, side: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Centres and sizes of flat Gaussians that make a square at z = 0, as wide as their spacing asks."""
    random = np.random.default_rng(seed)
    width = 0.65 * side / count**0.5
    return np.c_[random.uniform(-side / 2, side / 2, (count, 2)), np.zeros(count)], np.tile([width, width, 0.1 * width], (count, 1))


def test_the_large_gaussians_of_a_plain_wall_do_not_float_and_large_ones_before_small_ones_do():
    (small, fine), (large, wide) = wall(6000, 1.0, 0), wall(400, 4.0, 1)
    before = np.random.default_rng(2).uniform([-0.5, -0.5, 0.15], [0.5, 0.5, 0.6], (12, 3))
    means, scales = np.r_[small, large - (0, 0, 1.0), before], np.r_[fine, wide, np.full((12, 3), 0.05)]
    floating = clean(means, scales, np.full(len(means), 0.9)).floating
    far = before[:, 2] < 3 * 0.05 + 0.1
    assert floating[6400:].all() and far.any()  # some reach the small ones, which do not reach them
    assert floating[6000:6400].mean() < 0.05 and not floating[:6000].any()


def test_floating_is_told_one_by_one_as_by_hand():
    random = np.random.default_rng(3)
    means, scales = random.normal(size=(250, 3)) ** 3, np.exp(random.normal(-0.5, 0.8, (250, 3)))
    config, longest = CleanConfig(max_size=1e9, max_sigma=1.0), scales.max(1)
    apart = np.linalg.norm(means[:, None] - means, axis=2)
    nearest = np.argsort(apart, axis=1)[:, 1:9]
    away = np.log([apart[g, nearest[g]].mean() for g in range(250)])
    sigma = max(1.4826 * np.median(np.abs(away - np.median(away))), 0.3)
    touched = [sum(apart[g, k] <= 3 * min(longest[g], longest[k]) for k in nearest[g]) for g in range(250)]
    expected = (away > np.median(away) + sigma) & (np.array(touched) < 4)
    assert 5 < expected.sum() < (away > np.median(away) + sigma).sum()  # both conditions tell something
    np.testing.assert_array_equal(clean(means, scales, np.full(250, 0.9), config).floating, expected)


@pytest.mark.parametrize("config", [{"min_opacity": 1.0}, {"max_size": 0.0}, {"neighbours": 0}, {"max_sigma": -1.0}])
def test_clean_up_of_no_sense_is_refused(config):
    with pytest.raises(ValueError, match="Expected 0 ≤ min opacity < 1"):
        CleanConfig(**config)


def test_few_gaussians_cannot_float():
    assert clean(np.eye(3), np.ones((3, 3)), np.ones(3)).kept.all()
    assert clean(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0)).kept.shape == (0,)


@pytest.mark.parametrize("depth", ["median", "expected"])
def test_the_surface_of_a_ball_of_splats_is_where_the_ball_is(depth):
    views, config = cameras(side=64), SplatSurface(depth=depth)  # fewer pixels, and their blur pulls nearer Gaussians in
    seen = depth_map(ball(), views, 0, config)
    pixels = np.flatnonzero(seen.certain)
    points = unproject(seen.depth, pixels, views.T_world_cam[0], views.intrinsics[0])
    assert len(pixels) > 60
    off = np.abs(np.linalg.norm(points, axis=1) - 0.7)
    assert np.quantile(off, 0.5) < 0.02 and np.quantile(off, 0.9) < 0.06
    assert (points @ views.T_world_cam[0][:3, 2] > 0).mean() > 0.95  # the half that the camera looks at


def test_depth_rendered_finer_is_that_of_the_same_rays_and_lies_nearer_the_ball():
    small, large, scene, config = cameras(side=24), cameras(side=72), ball(), SplatSurface(least_kept=0.0)
    coarse, finer = (depth_map(scene, small, 0, config, finer=times) for times in (1, 3))
    whole = depth_map(scene, large, 0, config)
    np.testing.assert_array_equal(finer.depth, whole.depth[1::3, 1::3])
    np.testing.assert_array_equal(finer.empty, whole.empty[1::3, 1::3])
    points = [unproject(seen.depth, np.flatnonzero(seen.certain), small.T_world_cam[0], small.intrinsics[0]) for seen in (coarse, finer)]
    off = [np.abs(np.linalg.norm(each, axis=1) - 0.7) for each in points]
    assert finer.depth.shape == (24, 24) and np.quantile(off[1], 0.9) < 0.7 * np.quantile(off[0], 0.9)


@pytest.mark.parametrize(("photo", "view", "most", "times"), [
    (800, 256, 3, 3), (800, 256, 1, 1), (256, 256, 3, 1), (767, 256, 3, 1), (2000, 256, 5, 5)])
def test_views_are_rendered_finer_by_an_odd_number_and_no_finer_than_the_photo(photo, view, most, times):
    assert times_finer(np.full((1, 2), photo), np.full((1, 2), view), most) == [times]


def test_unprojected_points_project_back_to_their_pixels():
    views = cameras()
    depth = np.random.default_rng(0).random((24, 24)).astype(np.float32) + 1
    pixels = np.arange(0, 576, 7)
    points = unproject(depth, pixels, views.T_world_cam[2], views.intrinsics[2])
    local = (points - views.T_world_cam[2][:3, 3]) @ views.T_world_cam[2][:3, :3]
    fx, fy, cx, cy = views.intrinsics[2]
    np.testing.assert_allclose(-local[:, 2], depth.ravel()[pixels], rtol=1e-6)
    np.testing.assert_allclose(fx * local[:, 0] / -local[:, 2] + cx, pixels % 24 + 0.5, atol=1e-6)
    np.testing.assert_allclose(-fy * local[:, 1] / -local[:, 2] + cy, pixels // 24 + 0.5, atol=1e-6)


def test_a_splat_scene_in_a_frame_of_its_own_has_the_same_depths():
    views, config = cameras(), SplatSurface()
    scene = ball()
    turn, scale, shift = Rotation.random(random_state=5).as_matrix(), 0.25, np.array([1.0, -2.0, 0.5])
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = scale * turn, shift
    inverse = Rotation.from_matrix(turn.T)
    means = (scene.means.numpy() - shift) @ turn / scale
    quats = (inverse * Rotation.from_quat(scene.quats.numpy()[:, [1, 2, 3, 0]])).as_quat()[:, [3, 0, 1, 2]]
    moved = Gaussians(torch.tensor(means, dtype=torch.float32), torch.tensor(quats, dtype=torch.float32), scene.scales / scale, scene.opacities, scene.sh)
    here, there = depth_map(scene, views, 1, config), depth_map(moved, views, 1, config, T)
    both = here.certain & there.certain
    assert both.sum() > 60 and (here.certain != there.certain).mean() < 0.01
    np.testing.assert_allclose(here.depth[both], there.depth[both], rtol=1e-3)


def test_rays_that_end_nowhere_in_particular_are_no_surface():
    depth, opacity = np.full((4, 5), 2.0), np.full((4, 5), 0.9)
    spread = np.zeros((4, 5))
    spread[0, 0], opacity[0, 1], depth[0, 2] = 1.0, 0.2, 0.0
    certain = is_certain(depth, spread, opacity, SplatSurface(least_kept=0.0))
    assert np.flatnonzero(~certain).tolist() == [0, 1, 2]
    rough = is_certain(depth, np.linspace(0.2, 1, 20).reshape(4, 5), np.full((4, 5), 0.9), SplatSurface(least_kept=0.5))
    assert rough.sum() == 10 and rough[0].tolist() == [True, True, False, True, True]  # half of the nineteen that have a depth


def test_outlines_are_told_pixel_by_pixel_as_by_hand():
    random = np.random.default_rng(0)
    depth = np.float32(2 + 0.2 * random.random((9, 11)) + (random.random((9, 11)) < 0.1))
    empty = random.random((9, 11)) < 0.05
    depth[empty] = 0
    expected = np.zeros((9, 11), bool)
    for row in range(9):
        for column in range(11):
            for other in [(y, x) for y in range(row - 1, row + 2) for x in range(column - 1, column + 2) if 0 <= y < 9 and 0 <= x < 11]:
                expected[row, column] |= empty[other] or depth[other] > 1.15 * depth[row, column]
    assert 0 < expected.sum() < 99
    np.testing.assert_array_equal(is_outline(depth, empty, 0.15), expected)


def test_where_a_square_of_splats_sticks_out_before_a_wall_no_surface_is_told_and_on_a_wall_seen_aslant_it_is():
    (near, small), (far, large) = wall(400, 1.0, 0), wall(4000, 6.0, 1)
    means, scales = np.r_[near + (0, 0, 1.0), far], np.r_[small, large]
    scene = Gaussians(*(torch.tensor(a, dtype=torch.float32) for a in (
        means, np.tile([1.0, 0, 0, 0], (4400, 1)), scales, np.full(4400, 0.98), np.zeros((4400, 1, 3)))))
    poses = np.stack([np.eye(4), np.eye(4)])
    poses[0, 2, 3] = 4
    poses[1, :3] = np.c_[Rotation.from_euler("y", 60, degrees=True).as_matrix(), [0.9 * 4, 0, 2]]
    views = Cameras(("before", "aslant"), ("",) * 2, poses, np.tile(pinhole(40.0, (64, 64)), (2, 1)), np.full((2, 2), 64))
    seen, loose = (depth_map(scene, views, 0, SplatSurface(max_jump=jump)) for jump in (0.03, 10.0))
    place = unproject(seen.depth, np.arange(64 * 64), poses[0], views.intrinsics[0]).reshape(64, 64, 3)
    sticks_out = (place[..., 2] > 0.5) & (np.abs(place[..., :2]).max(-1) > 0.5)
    inside = (place[..., 2] > 0.5) & (np.abs(place[..., :2]).max(-1) < 0.42)
    assert (sticks_out & loose.certain).sum() > 20 and (sticks_out & seen.certain).sum() < 0.2 * (sticks_out & loose.certain).sum()
    assert seen.certain[inside].mean() > 0.9 and seen.certain[place[..., 2] < 0.5].mean() > 0.9
    assert depth_map(scene, views, 1, SplatSurface()).certain.mean() > 0.8


def test_points_that_other_views_look_through_are_dropped():
    """Slow twin: by hand, with a wall at depth 3 in two cameras that look the same way, and a point before it."""
    pose = np.tile(np.eye(4), (3, 1, 1))
    pose[1, 0, 3], pose[2, 0, 3] = 0.2, -0.2
    views = Cameras(("a", "b", "c"), ("",) * 3, pose, np.tile([20.0, 20, 10, 10], (3, 1)), np.full((3, 2), 20))
    wall = DepthMap(np.full((20, 20), 3.0, np.float32), np.ones((20, 20), bool), np.zeros((20, 20), bool))
    points = np.array([[0, 0, -3.0], [0, 0, -1.5], [0, 0, -3.02], [0, 0, -4.0], [50, 0, -1.0], [0, 0, 1.0]])
    kept = uncontradicted(points, [wall] * 3, views, [1, 2], 0.02)
    assert kept.tolist() == [True, False, True, True, True, True]  # before the wall; behind it, outside and behind the camera nobody says no
    unsure = DepthMap(wall.depth, wall.empty, wall.empty)
    assert uncontradicted(points, [unsure] * 3, views, [1, 2], 0.02).all()
    nothing = DepthMap(0 * wall.depth, wall.empty, wall.certain)
    assert uncontradicted(points, [nothing] * 3, views, [1, 2], 0.02).tolist() == [False] * 4 + [True] * 2
    assert uncontradicted(points, [wall, wall, nothing], views, [1, 2], 0.02).tolist() == [True, False, True, False, True, True]  # one each


def test_the_views_that_are_asked_are_others_and_lie_near():
    views = cameras(12)
    for view in range(12):
        asked = neighbours_of(views, view, 4)
        assert len(asked) == len(set(asked)) == 4 and view not in asked
        turns = [min((k - view) % 12, (view - k) % 12) for k in asked]
        assert min(turns) == 1 and max(turns) <= 4
    assert neighbours_of(cameras(2), 0, 6) == [1] and neighbours_of(cameras(1), 0, 6) == []
