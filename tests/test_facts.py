"""Measurements of synthetic shapes and of the hand-made scene."""

import numpy as np
import pytest
from helpers import BLUE, RED, part_tree, small_facts, small_surface
from scipy.spatial.transform import Rotation

from semquery.facts import COLORS, dominant_colors, is_round, measure, place_word, shape_word, size_word, up_direction
from semquery.geometry import principal_extent
from semquery.render import ring
from semquery.types import Surface

UP = np.array([0.0, 0, 1])


@pytest.mark.parametrize("term", COLORS)
def test_every_colour_term_is_called_by_its_name(term):
    assert dominant_colors(np.array([COLORS[term]] * 3, np.uint8)) == (term, "")


def test_a_second_colour_counts_from_a_quarter_on():
    red, blue = np.array(RED, np.uint8), np.array(BLUE, np.uint8)
    assert dominant_colors(np.array([red] * 3 + [blue])) == ("red", "blue")
    assert dominant_colors(np.array([red] * 4 + [blue])) == ("red", "")
    assert dominant_colors(np.zeros((0, 3), np.uint8)) == ("grey", "")


def cloud(shape: str) -> np.ndarray:
    """Points spread evenly in a solid of this shape."""
    random = np.random.default_rng(0)
    box = random.uniform(-0.5, 0.5, (6000, 3))
    disc = box[np.linalg.norm(box[:, :2], axis=1) < 0.5]
    return {"rod": box * [1, 0.1, 0.1], "strip": box * [1, 0.2, 0.02], "plate": box * [1, 0.8, 0.05], "bar": box * [1, 0.35, 0.3],
            "block": box * [1, 0.9, 0.8], "disc": disc * [1, 1, 0.1], "knob": disc * [1, 1, 0.5],
            "ball": box[np.linalg.norm(box, axis=1) < 0.5]}[shape]


@pytest.mark.parametrize(("shape", "round_"), [("rod", False), ("strip", False), ("plate", False), ("bar", False), ("block", False),
                                               ("disc", True), ("knob", True), ("ball", True)])
def test_shapes_are_called_by_their_names_however_they_lie(shape, round_):
    for angles in ([0, 0, 0], [30, 50, 70], [90, 0, 10]):
        points = 7 * cloud(shape) @ Rotation.from_euler("xyz", angles, degrees=True).as_matrix().T + 3
        assert shape_word(points, *principal_extent(points)) == (round_, shape)


def test_a_square_is_not_round_and_a_circle_is():
    square = np.stack(np.meshgrid(np.linspace(-1, 1, 30), np.linspace(-1, 1, 30), [0.0]), -1).reshape(-1, 3)
    plane = np.eye(3)[:2]
    assert not is_round(square, plane) and is_round(square[np.linalg.norm(square, axis=1) < 1], plane)


def test_sizes_grow_with_the_share_of_the_scene():
    shares = np.linspace(0, 1.2, 100)
    told = list(dict.fromkeys(size_word(float(s)) for s in shares))
    assert told == ["tiny", "small", "medium-sized", "large", "very large"]


@pytest.mark.parametrize(("centre", "words"), [((0, 0, 0.95), "at the top, near the centre"), ((0, 0, 0.05), "at the bottom, near the centre"),
                                               ((0.45, 0, 0.5), "at middle height, to one side"), ((0, -0.45, 0.9), "at the top, to one side")])
def test_places_are_told_by_height_and_by_distance_from_the_axis(centre, words):
    around = np.random.default_rng(0).uniform([-0.5, -0.5, 0], [0.5, 0.5, 1], (3000, 3))
    near = np.array(centre) + np.random.default_rng(1).normal(size=(50, 3)) * 0.01
    assert place_word(near, around, UP) == words
    turned = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])  # the same with y up
    assert place_word(near @ turned.T, around @ turned.T, turned @ UP) == words


@pytest.mark.parametrize("elevation", [-20.0, 5.0, 40.0, 70.0])
def test_up_is_up_for_rings_of_cameras_at_any_height(elevation):
    poses = ring(np.zeros(3), 2.0, elevation, np.arange(0, 360, 30))
    assert up_direction(poses).tolist() == [0, 0, 1]


def test_up_follows_a_turned_world_and_is_not_snapped_far():
    poses = ring(np.zeros(3), 2.0, 20.0, np.arange(0, 360, 30))
    for up, axis, degrees in (([0, 1, 0], "x", -90), ([0, -1, 0], "x", 85), ([1, 0, 0], "y", 80), ([0, 0, -1], "x", 180)):
        turned = poses.copy()
        turned[:, :3] = Rotation.from_euler(axis, degrees, degrees=True).as_matrix() @ poses[:, :3]
        assert up_direction(turned).tolist() == up
    tilted = poses.copy()
    tilted[:, :3] = Rotation.from_euler("x", 40, degrees=True).as_matrix() @ poses[:, :3]
    np.testing.assert_allclose(up_direction(tilted), [0, -np.sin(np.radians(40)), np.cos(np.radians(40))], atol=1e-6)


def test_cameras_that_cancel_out_leave_z_up():
    poses = np.stack([np.eye(4), np.diag([-1.0, -1, 1, 1])])
    assert up_direction(poses).tolist() == [0, 0, 1]


def test_facts_of_the_hand_made_scene():
    facts = small_facts()
    assert [facts[p].color for p in range(5)] == ["red", "red", "blue", "red", "red"]
    assert [facts[p].num_parts for p in range(5)] == [0, 0, 0, 2, 2]
    assert facts[0].share_of_parent == pytest.approx(4 / 8) and facts[4].share_of_parent == 1
    assert facts[4].place == "the whole scene" and facts[4].second_color == "blue" and facts[0].shape == "rod"
    assert facts[0].extent[0] == pytest.approx(3, rel=0.05) and facts[0].extent[1:] == pytest.approx((0, 0), abs=1e-6)
    assert facts[0].in_words() == f"red rod, {facts[0].size}, 2.88 × 0 × 0 in size, 50 % of its parent, {facts[0].place}"
    assert "made of 2 parts" in facts[3].in_words() and facts[3].in_words().startswith("red ")


def test_look_alikes_are_siblings_of_like_colour_and_size():
    """Five rods in a row: three alike, one of another colour, one twice as long; and a part far up the tree."""
    rod = np.random.default_rng(0).uniform(0, 1, (40, 3)) * [1, 0.05, 0.05]
    rods = [rod, rod + [0, 1, 0], rod + [0, 2, 0], rod + [0, 3, 0], rod * [2, 1, 1] + [0, 4, 0]]
    colors = np.repeat(np.array([RED, RED, RED, BLUE, RED], np.uint8), 40, 0)
    points = np.concatenate(rods).astype(np.float32)
    surface = Surface(points, points, colors, np.zeros((200, 0), np.float16), np.zeros(200, np.int32), 0.1, {})
    facts = measure(surface, part_tree([5, 5, 5, 5, 5, 5], np.repeat(np.arange(5), 40)), UP)
    assert [facts[p].num_alike for p in range(5)] == [2, 2, 2, 0, 0]
    assert "2 more like it beside it" in facts[0].in_words()


def test_the_whole_scene_has_nothing_beside_it():
    surface = small_surface()
    facts = measure(surface, part_tree([1, 1], [0] * 12), UP)  # one part that is all of the scene
    assert facts[0].num_alike == facts[1].num_alike == 0
