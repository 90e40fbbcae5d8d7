"""Creases, steps of colour and how far to trust them, against their slow twins."""

import math

import numpy as np
import pytest
from helpers import DRAWN, small_surface
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from semquery.borders import color_steps, creases, num_views, share_of_color
from semquery.geometry import knn_edges
from semquery.parts import TreeConfig, edge_weights

# ------------------------------------------------------------------ creases


@pytest.mark.parametrize(("turn", "expected"), [(1, 0.0), (-1, np.sqrt(2))])
def test_a_cubes_edge_is_no_crease_and_the_corner_of_a_room_is(turn, expected):
    """A floor and a wall that meet at a right angle, seen from outside of a cube and from inside of a room."""
    points = np.array([[-1, 0, 0], [-2, 0, 0], [0, 0, -1], [0, 0, -2]], float)
    normals = turn * np.array([[0, 0, 1], [0, 0, 1], [1, 0, 0], [1, 0, 0]], float)
    across, in_top, in_side = creases(points, normals, np.array([[0, 2], [0, 1], [2, 3]]))
    assert across == pytest.approx(expected) and in_top == in_side == 0  # flat is no crease


def test_walls_that_face_each_other_are_the_deepest_crease():
    points, edge = np.array([[0, 0, 0], [3.0, 0, 0]]), np.array([[0, 1]])
    facing = np.array([[1.0, 0, 0], [-1, 0, 0]])
    assert creases(points, facing, edge).tolist() == [2] and creases(points, -facing, edge).tolist() == [0]


def test_a_sphere_creases_nowhere_from_outside_and_everywhere_from_inside():
    radial = np.random.default_rng(0).normal(size=(200, 3))
    radial /= np.linalg.norm(radial, axis=1, keepdims=True)
    edges = knn_edges(radial, 6)
    assert creases(2 * radial, radial, edges).max() < 1e-12
    length = np.linalg.norm(radial[edges[:, 1]] - radial[edges[:, 0]], axis=1)
    np.testing.assert_allclose(creases(2 * radial, -radial, edges), length)  # the turn of the normal, whatever the radius


def random_creases(seed: int, n: int):
    """Points, some of them in one place, with unit normals, and every pair of different ones."""
    random = np.random.default_rng(seed)
    points, normals = random.integers(0, 3, (n, 3)).astype(float), random.normal(size=(n, 3))
    return points, normals / np.linalg.norm(normals, axis=1, keepdims=True), np.stack(np.triu_indices(n, 1), 1)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 12))
def test_creases_agree_with_one_edge_at_a_time_in_either_direction(seed, n):
    points, normals, edges = random_creases(seed, n)
    slow = []
    for i, j in edges:
        length = max(math.dist(points[i], points[j]), 1e-12)
        lean = sum((normals[j][x] - normals[i][x]) * (points[j][x] - points[i][x]) / length for x in range(3))
        slow.append(max(0.0, -lean))
    np.testing.assert_allclose(creases(points, normals, edges), slow, atol=1e-12)
    np.testing.assert_allclose(creases(points, normals, edges[:, ::-1]), slow, atol=1e-12)
    assert max(slow) <= 2


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 12), st.floats(0.01, 100))
def test_creases_do_not_depend_on_where_how_large_or_which_way_round(seed, n, scale):
    points, normals, edges = random_creases(seed, n)
    R = Rotation.from_rotvec(normals[0]).as_matrix()
    moved = creases(scale * points @ R.T + 5, normals @ R.T, edges)
    np.testing.assert_allclose(moved, creases(points, normals, edges), atol=1e-8)


# ------------------------------------------------------------------ colour


def pairs(n: int) -> np.ndarray:
    return np.stack(np.triu_indices(n, 1), 1)


def test_grey_steps_are_half_of_what_lightness_says_and_end_at_one():
    """CIELAB of greys is lightness alone: 0 for black, 100 for white, 53.6 for 128."""
    grey = np.array([[0] * 3, [128] * 3, [255] * 3, [138] * 3], np.uint8)
    steps = dict(zip(map(tuple, pairs(4).tolist()), color_steps(grey, pairs(4)).tolist(), strict=True))
    assert steps[0, 1] == pytest.approx(53.585 / 2 / 30, abs=1e-3) and steps[0, 2] == 1
    assert steps[1, 3] == pytest.approx((57.4 - 53.6) / 2 / 30, abs=2e-3)


def test_hue_counts_more_than_shade():
    wood, shaded, paint = (168, 112, 70), (128, 82, 48), (70, 112, 168)
    shade, hue = color_steps(np.array([wood, shaded, paint], np.uint8), np.array([[0, 1], [0, 2]]))
    assert shade < 0.35 and hue == 1


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 12))
def test_colour_steps_are_symmetric_bounded_and_zero_for_one_colour(seed, n):
    colors = np.random.default_rng(seed).integers(0, 256, (n, 3)).astype(np.uint8)
    steps = color_steps(colors, pairs(n))
    np.testing.assert_allclose(steps, color_steps(colors, pairs(n)[:, ::-1]))
    assert (steps >= 0).all() and (steps <= 1).all()
    assert not color_steps(np.repeat(colors[:1], n, 0), pairs(n)).any()


def test_views_of_a_point_are_counted_once_each():
    seen = num_views(small_surface().point_of_pixel, 12)
    slow = [sum(any(f"{point:x}" in row for row in rows) for rows in DRAWN.values()) for point in range(12)]
    assert seen.tolist() == slow and max(slow) == 3 and min(slow) == 1


def test_the_worst_seen_end_decides_and_more_views_leave_less_to_colour():
    seen, edges = np.array([0, 2, 6, 98]), np.array([[0, 3], [1, 2], [2, 3]])
    assert share_of_color(seen, edges, 2.0).tolist() == [1.0, 0.5, 0.25]
    assert (share_of_color(seen, edges, 3.0) >= share_of_color(seen, edges, 2.0)).all()


def test_edges_of_a_poorly_seen_place_go_by_colour_and_of_a_well_seen_one_by_features():
    from dataclasses import replace

    surface, edges = small_surface(), np.array([[6, 7], [0, 1]])  # red to blue; red to red
    features = np.zeros((12, 2), np.float16)
    features[:7, 0], features[7:, 1] = 1, 1
    config = TreeConfig(crease=0.0, cooccurrence=0.0)
    alike = replace(surface, features=np.tile(np.array([[1, 0]], np.float16), (12, 1)))
    few = edge_weights(alike, edges, {}, config)  # features see no border, colour does
    many = replace(alike, point_of_pixel={f"{name}{k}": p for k in range(99) for name, p in surface.point_of_pixel.items()})
    assert few[0] > 0.4 and few[1] == 0 and edge_weights(many, edges, {}, config)[0] < 0.02
    told = edge_weights(replace(surface, features=features), edges, {}, replace(config, color_views=0.0))
    np.testing.assert_allclose(told, [np.sqrt(2), 0])
    blind = replace(surface, features=features, point_of_pixel={})  # no views are known: nothing to weigh colour against
    np.testing.assert_allclose(edge_weights(blind, edges, {}, config), told)
