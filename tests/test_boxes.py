"""Tight boxes: what they hold, how small they are, how they move with their points."""


import numpy as np
import pytest

from semquery.boxes import oriented_box
from semquery.geometry import principal_extent


def turned_block(extent=(5.0, 2.0, 1.0), centre=(3.0, -4.0, 7.0), num_points=4000, seed=0) -> tuple[np.ndarray, np.ndarray]:
    """Points of a turned block, its corners among them, and its axes as rows."""
    random = np.random.default_rng(seed)
    axes = np.linalg.qr(random.normal(size=(3, 3)))[0]
    corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    inside = np.concatenate([corners, random.random((num_points, 3)) - 0.5])
    return (inside * extent) @ axes + centre, axes


def test_the_box_of_a_turned_block_is_the_block():
    points, axes = turned_block()
    box = oriented_box(points)
    np.testing.assert_allclose(box.extent, [5, 2, 1], atol=1e-6)
    np.testing.assert_allclose(box.centre, [3, -4, 7], atol=1e-6)
    np.testing.assert_allclose(np.abs(box.axes @ axes.T), np.eye(3), atol=1e-6)
    far = np.abs(box.corners[:, None] - points[None, :8]).sum(-1).min(1)
    np.testing.assert_allclose(far, 0, atol=1e-5)


@pytest.mark.parametrize("points", [
    np.zeros((1, 3)), np.array([[0.0, 0, 0], [1, 2, 2]]), np.ones((9, 3)), np.arange(12.0)[:, None] * np.ones(3),  # a point, two, one many times, a line
    np.random.default_rng(0).random((3, 3)), np.random.default_rng(0).random((40, 2)) @ np.array([[1.0, 2, 3], [0, 1, -1]]),  # a triangle, a plane
    np.c_[np.random.default_rng(0).random((50, 2)), 1e-13 * np.random.default_rng(1).random(50)], 1e6 + np.random.default_rng(0).random((60, 3)),
    np.random.default_rng(0).normal(size=(20_000, 3)),  # more than decide how it is turned
], ids=["point", "two", "same", "line", "triangle", "plane", "almost flat", "far away", "many"])
def test_every_box_holds_all_points_and_is_a_right_handed_frame(points):
    box = oriented_box(points)
    inside = (points - box.centre) @ box.axes.T
    scale = 1e-9 * (1 + np.abs(points).max())
    assert (np.abs(inside) <= box.extent / 2 + scale).all()
    np.testing.assert_allclose(np.ptp(inside, axis=0), box.extent, atol=2 * scale)
    np.testing.assert_allclose(box.axes @ box.axes.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(box.axes) > 0 and (np.diff(box.extent) <= 0).all()
    np.testing.assert_allclose((box.T_world_box @ np.r_[box.extent / 2, 1])[:3], box.corners[-1], atol=1e-9)


def test_no_box_is_smaller_than_the_best_of_many_turns():
    """Slow twin: try many turns, and take the smallest box."""
    points, _ = turned_block(num_points=60, seed=3)
    points = points[8:]  # without its corners
    turns = np.linalg.qr(np.random.default_rng(0).normal(size=(4000, 3, 3)))[0]
    along = points @ turns.transpose(0, 2, 1)
    assert oriented_box(points).extent.prod() <= np.ptp(along, axis=1).prod(1).min() * 1.0001


@pytest.mark.parametrize("seed", range(8))
def test_no_box_is_larger_than_the_upright_one_or_the_one_along_the_principal_axes(seed):
    random = np.random.default_rng(seed)
    points = random.normal(size=(200, 3)) * [3, 2, 1] if seed % 2 else (random.random((30, 3)) - 0.5) * [4, 1, 1]
    upright, principal = np.ptp(points, axis=0).prod(), np.ptp(points @ principal_extent(points)[1].T, axis=0).prod()
    assert oriented_box(points).extent.prod() <= min(upright, principal) * (1 + 1e-9)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("thickness", [0.0, 1e-12, 1e-8, 1e-6, 1e-4, 1e-3])
def test_a_sheet_has_its_smallest_rectangle_and_gives_no_warning(thickness):
    """Slow twin: half-degree turns in the plane."""
    random = np.random.default_rng(2)
    flat = random.random((80, 2)) @ np.array([[3.0, 1.0], [0.0, 1.0]])
    turn = np.linalg.qr(random.normal(size=(3, 3)))[0]
    box = oriented_box(np.c_[flat, thickness * random.random(80)] @ turn)
    angles = np.radians(np.arange(0, 90, 0.5))
    areas = [np.ptp(flat @ [np.cos(a), np.sin(a)]) * np.ptp(flat @ [-np.sin(a), np.cos(a)]) for a in angles]
    assert box.extent[0] * box.extent[1] <= min(areas) * (1.03 if thickness else 1 + 1e-9) and box.extent[2] <= 1.1 * thickness + 1e-9


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seed", range(60))
def test_needles_and_slivers_have_a_box_and_give_no_warning(seed):
    random = np.random.default_rng(seed)
    points = random.normal(size=(random.integers(1, 30), 3)) * 10.0 ** random.integers(-9, 3, size=3)
    points = (points @ np.linalg.qr(random.normal(size=(3, 3)))[0] + random.normal(size=3) * 10.0 ** random.integers(-2, 4)).astype(np.float32)
    box, exact = oriented_box(points), points.astype(np.float64)
    scale = 1e-6 * (1 + np.abs(exact).max())
    assert (np.abs((exact - box.centre) @ box.axes.T) <= box.extent / 2 + scale).all() and np.isfinite(box.extent).all()


def test_a_box_moves_and_turns_with_its_points():
    points, _ = turned_block(num_points=80, seed=5)
    turn = np.linalg.qr(np.random.default_rng(9).normal(size=(3, 3)))[0]
    box, moved = oriented_box(points), oriented_box(3 * points @ turn + 5)
    np.testing.assert_allclose(moved.extent, 3 * box.extent, rtol=1e-6)
    np.testing.assert_allclose(moved.centre, 3 * box.centre @ turn + 5, atol=1e-6)


def test_there_is_no_box_around_nothing():
    with pytest.raises(ValueError, match="no box around no points"):
        oriented_box(np.zeros((0, 3)))
