"""Which point a ray shows: a loop over all points does the same, and the cases that a click meets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semquery.viewer import pick
from semquery.viewer.pick import DEEP, MISS, picked

AHEAD = np.array([0.0, 0.0, 1.0])
ORIGIN = np.zeros(3)


def slowly_picked(points, origin, direction, radius, among=None, angle=MISS):
    """The rule, point by point."""
    along = direction / np.linalg.norm(direction)
    met, missed = [], []
    for number, point in enumerate(points.astype(np.float64)):
        if not np.isfinite(point).all() or (among is not None and not among[number]):
            continue
        depth = float((point - origin) @ along)
        aside = float(np.linalg.norm(point - origin - depth * along))
        if depth > 0 and aside <= radius:
            met.append((depth, aside, number))
        elif depth > 0 and aside <= radius + depth * np.tan(angle):
            missed.append(((aside - radius) / depth, number))
    if met:
        first = min(met)[0]
        return min((aside, number) for depth, aside, number in met if depth <= first + DEEP * radius)[1]
    return min(missed)[1] if missed else None


def wall(depth, side=1.0, step=0.1):
    """Points in a square grid across the line of sight, `step` apart."""
    at = np.arange(-side, side + step / 2, step)
    x, y = np.meshgrid(at, at)
    return np.stack([x.ravel(), y.ravel(), np.full(x.size, depth)], 1).astype(np.float32)


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), radius=st.sampled_from([0.02, 0.1, 0.4]), angle=st.sampled_from([0.0, 0.05]), some=st.booleans())
def test_the_point_is_that_of_a_loop_over_all_points(seed, radius, angle, some):
    random = np.random.default_rng(seed)
    points = random.normal(size=(40, 3)).astype(np.float32)
    points[random.random(40) < 0.1] = np.nan
    among = random.random(40) < 0.5 if some else None
    origin, direction = random.normal(size=3), random.normal(size=3)
    assert picked(points, origin, direction, radius, among, angle) == slowly_picked(points, origin, direction, radius, among, angle)


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), block=st.integers(1, 50))
def test_the_size_of_the_blocks_changes_nothing(seed, block):
    random = np.random.default_rng(seed)
    points = random.normal(size=(40, 3)).astype(np.float32)
    ray = random.normal(size=3), random.normal(size=3), 0.3
    expected = picked(points, *ray)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pick, "BLOCK", block)
        assert picked(points, *ray) == expected


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([0.01, 100.0]))
def test_turning_moving_and_scaling_the_scene_with_the_ray_picks_the_same_point(seed, scale):
    random = np.random.default_rng(seed)
    points = random.normal(size=(60, 3))
    turn, shift = np.linalg.qr(random.normal(size=(3, 3)))[0], random.normal(size=3)
    origin, direction = random.normal(size=3), random.normal(size=3)
    expected = picked(points, origin, direction, 0.3)
    there = scale * (points @ turn.T + shift), scale * (turn @ origin + shift), 7 * scale * (turn @ direction)
    assert picked(*there, 0.3 * scale) == expected


def test_the_nearer_of_two_walls_is_met_wherever_the_ray_goes_through_it():
    """The near wall has a point in every voxel; between its points the far one would show."""
    near, far = wall(2.0), wall(3.0)
    points = np.concatenate([far, near])
    random = np.random.default_rng(0)
    for x, y in random.uniform(-0.8, 0.8, (200, 2)):
        found = picked(points, np.array([x, y, 0.0]), AHEAD, radius=0.1)
        assert found is not None and found >= len(far)
        assert np.linalg.norm(points[found, :2] - (x, y)) <= 0.0708, "of the near wall's points, the nearest to the ray"


def test_on_a_surface_seen_at_a_slant_the_point_is_the_one_under_the_pointer_not_the_first_in_reach():
    floor = wall(0.0)[:, [0, 2, 1]] + np.array([0, -1, 3], np.float32)
    aim = np.array([0.0, -1.0, 3.0])
    in_reach = floor[np.linalg.norm(np.cross(floor, aim / np.linalg.norm(aim)), axis=1) <= 0.1]
    assert in_reach[:, 2].min() < 2.75
    np.testing.assert_allclose(floor[picked(floor, ORIGIN, aim, radius=0.1)], aim, atol=1e-6)


def test_what_is_behind_is_not_met_even_from_within_the_cloud():
    points = np.array([[0, 0, -1], [0, 0, 2], [0, 0, 5]], np.float32)
    assert picked(points, ORIGIN, AHEAD, 0.1) == 1
    assert picked(points, ORIGIN, -AHEAD, 0.1) == 0
    assert picked(points, np.array([0.0, 0.0, 3.0]), AHEAD, 0.1) == 2


def test_points_that_cannot_be_picked_let_the_ray_through():
    points = np.array([[0, 0, 1], [0, 0, 2]], np.float32)
    assert picked(points, ORIGIN, AHEAD, 0.1, among=np.array([False, True])) == 1
    assert picked(points, ORIGIN, AHEAD, 0.1, among=np.zeros(2, bool)) is None


def test_a_near_miss_takes_the_point_that_it_misses_by_the_least_as_seen_from_the_eye():
    points = np.array([[0.5, 0, 5], [0.7, 0, 10]], np.float32)
    assert picked(points, ORIGIN, AHEAD, 0.1) is None and picked(points, ORIGIN, AHEAD, 0.1, angle=0.0) is None
    assert picked(points, ORIGIN, AHEAD, 0.1, angle=np.radians(5)) == 1
    assert picked(points, ORIGIN, AHEAD, 0.1, angle=np.radians(1)) is None
    assert picked(points, ORIGIN, AHEAD, 0.55, angle=np.radians(5)) == 0, "a point that is met goes before one that is missed"


def test_a_click_a_few_pixels_beside_a_far_thing_hits_it_and_one_well_beside_hits_nothing():
    """At a field of view of 75° over 900 pixels, a pixel is a twelfth of a degree."""
    thing, pixel = np.array([[0, 0, 100.0]], np.float32), np.radians(75 / 900)
    for pixels, hit in [(0, 0), (4, 0), (30, None)]:
        assert picked(thing, ORIGIN, np.array([np.tan(pixels * pixel), 0, 1]), radius=0.01) == hit


def test_far_from_the_origin_of_the_frame_a_voxel_is_still_told_apart():
    shift = np.array([1000.0, -2000.0, 500.0])
    points = (wall(2.0) + shift).astype(np.float32)
    found = picked(points, shift + (0.32, -0.18, -50.0), AHEAD, radius=0.1)
    assert np.allclose(points[found] - shift, (0.3, -0.2, 2.0), atol=1e-3)


def test_points_that_are_no_numbers_are_passed_over():
    points = np.array([[np.nan, 0, 1], [np.inf, -np.inf, 1], [0, 0, np.inf], [0, 0, 2]], np.float32)
    assert picked(points, ORIGIN, AHEAD, 0.1, angle=0.1) == 3


def test_no_points_are_not_met():
    assert picked(np.zeros((0, 3), np.float32), ORIGIN, AHEAD, 0.1) is None


@pytest.mark.parametrize("direction", [np.zeros(3), np.array([np.nan, 0, 1]), np.array([np.inf, 0, 0])])
def test_a_ray_without_a_direction_is_told(direction):
    with pytest.raises(ValueError, match="needs a direction"):
        picked(wall(1.0), ORIGIN, direction, 0.1)
