"""Discs against looking at every point from every pixel, and cameras that stand where one would stand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semquery import discs
from semquery.discs import LEAST, close_camera, disc_radii, draw_discs, facing, smoothed
from semquery.render import look_at, pinhole

UP = np.array([0.0, 0.0, 1.0])


def slow_draw(points, radius, T_world_cam, intrinsics, size, near=1e-6):
    """For each pixel: the discs it lies in, of these the ones near the first, of these the one whose centre is nearest."""
    fx, fy, cx, cy = intrinsics
    shown = np.full(size, -1)
    camera = np.linalg.inv(T_world_cam)
    for y, x in np.ndindex(size):
        found = []
        for k, point in enumerate(points):
            a, b, c, _ = camera @ [*point, 1.0]
            if -c < near:
                continue
            row, column = cy + fy * b / c, cx - fx * a / c
            away = np.hypot(y + 0.5 - row, x + 0.5 - column) / max(LEAST, radius[k] * np.sqrt(fx * fy) / -c)
            if away <= 1:
                found.append((-c, away, k))
        if found:
            first = min(depth for depth, _, _ in found)
            shown[y, x] = min((away, k) for depth, away, k in found if depth <= first + radius[k])[1]
    return shown


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 25), st.tuples(st.integers(4, 14), st.integers(4, 14)), st.floats(0.01, 0.6))
def test_each_pixel_shows_the_disc_that_looking_at_all_of_them_finds(seed, n, size, radius):
    random = np.random.default_rng(seed)
    points, radii = random.uniform(-1, 1, (n, 3)).astype(np.float32), random.uniform(0.5, 1.5, n) * radius
    T = look_at(random.normal(size=3) * 0.5 + [0, -2.5, 0.4], np.zeros(3))
    drawn = draw_discs(points, radii, T, pinhole(50, size), size, near=1.5)
    assert drawn.tolist() == slow_draw(points, radii, T, pinhole(50, size), size, near=1.5).tolist()


def test_many_pairs_are_worked_on_in_pieces(monkeypatch):
    points = np.random.default_rng(0).uniform(-1, 1, (200, 3)).astype(np.float32)
    view = (look_at(np.array([0, -3.0, 0]), np.zeros(3)), pinhole(45, (40, 40)), (40, 40))
    whole = draw_discs(points, np.full(200, 0.1), *view)
    monkeypatch.setattr(discs, "MOST_PAIRS", 50)
    assert (draw_discs(points, np.full(200, 0.1), *view) == whole).all() and (whole >= 0).any()


def test_a_point_behind_another_is_hidden_and_none_behind_the_camera_is_drawn():
    points = np.array([[0, 0, 0], [0, 1, 0], [0, -9, 0]], np.float32)  # the camera is at y = -3 and looks along +y
    T, size = look_at(np.array([0, -3.0, 0]), np.zeros(3)), (9, 9)
    assert set(draw_discs(points, np.full(3, 0.3), T, pinhole(40, size), size).ravel()) == {-1, 0}
    assert set(draw_discs(points, np.full(3, 0.3), T, pinhole(40, size), size, near=3.5).ravel()) == {-1, 1}
    assert (draw_discs(points[2:], np.ones(1), T, pinhole(40, size), size) == -1).all()


def test_a_point_smaller_than_a_pixel_is_still_drawn():
    T, size = look_at(np.array([0, -50.0, 0]), np.zeros(3)), (8, 8)
    for at in np.random.default_rng(1).uniform(-10, 10, (50, 3)).astype(np.float32):
        assert (draw_discs(at[None], np.full(1, 1e-9), T, pinhole(60, size), size) == 0).any()


def test_one_looks_along_the_mean_normal_or_from_where_it_was_seen_or_at_the_broad_side():
    random = np.random.default_rng(0)
    board = random.uniform(-1, 1, (50, 3)) * (1.0, 0.01, 0.5)
    front = np.tile([0.0, -1.0, 0.0], (50, 1))
    np.testing.assert_allclose(facing(board, front), [0, -1, 0])
    both = front * np.where(np.arange(50) % 2, 1, -1)[:, None]  # normals of a closed thing cancel out
    np.testing.assert_allclose(facing(board, both, np.array([3.0, 0, 4.0])), [0.6, 0, 0.8])
    np.testing.assert_allclose(np.abs(facing(board, both)), [0, 1, 0], atol=0.02)
    np.testing.assert_allclose(np.linalg.norm(facing(board[:1], 0 * front[:1])), 1)


@pytest.mark.parametrize("direction", [(0.0, -1.0, 0.0), (0.6, 0.0, 0.8), (0.0, 0.0, 1.0), (0.0, 0.0, -1.0)])
def test_a_close_camera_sees_all_of_the_part_and_little_else(direction):
    points = np.random.default_rng(2).uniform(-1, 1, (300, 3)).astype(np.float32) * (0.5, 0.2, 0.3) + (4, 5, 6)
    T, near = close_camera(points, np.array(direction), UP, 0.01, pad=0.2)
    shown = draw_discs(points, np.full(300, 0.02), T, pinhole(discs.FIELD_OF_VIEW, (100, 100)), (100, 100), near)
    rows, columns = np.nonzero(shown >= 0)
    edges = min(rows.min(), columns.min()), max(rows.max(), columns.max())
    assert edges[0] >= 8 and edges[1] <= 91 and max(np.ptp(rows), np.ptp(columns)) > 35
    back = T[:3, 3] - points.mean(0)
    np.testing.assert_allclose(back / np.linalg.norm(back), direction, atol=0.05)


def test_what_stands_far_in_front_of_the_part_is_left_out():
    part = np.array([[0, 0, 0], [0.1, 0, 0]], np.float32)
    T, near = close_camera(part, np.array([0, -1.0, 0]), UP, 0.01, pad=0.2)
    depth = lambda point: float(-(np.linalg.inv(T) @ [*point, 1])[2])  # noqa: E731
    assert depth((0.05, 0, 0)) > near > depth((0.05, -0.15, 0))


def test_discs_are_as_large_as_points_are_sparse():
    grid = np.stack(np.meshgrid(np.arange(10.0), np.arange(10.0), [0.0]), -1).reshape(-1, 3)
    radii = disc_radii(np.concatenate([grid, grid + (100, 0, 0), 2 * grid + (200, 0, 0)]), 1.0)
    assert np.allclose(radii[:100].reshape(10, 10)[1:-1, 1:-1], 0.75)  # the diagonal of a cell is 1.41 wide
    assert np.allclose(radii[200:].reshape(10, 10)[1:-1, 1:-1], 1.5) and radii.max() <= 3.0
    assert disc_radii(np.zeros((1, 3)), 1.0).tolist() == [0.75]


def test_smoothing_keeps_flat_colours_and_the_background():
    shown = np.zeros((30, 30), bool)
    shown[5:25, 5:25] = True
    flat = np.where(shown[..., None], np.array([10, 200, 30], np.uint8), np.uint8(255)).astype(np.uint8)
    assert (smoothed(flat, shown, 2.0) == flat).all()
    noisy = flat.copy()
    noisy[shown] = np.random.default_rng(0).integers(0, 256, (400, 3))
    assert smoothed(noisy, shown, 2.0)[shown].std() < 0.4 * noisy[shown].std()
