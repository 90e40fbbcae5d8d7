"""Frames, places and graded relations: hand-made scenes, slow twins, and what must not depend on where one stands."""

from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest
from helpers import part_tree, random_parts, small_cameras, small_parts, small_surface
from hypothesis import given, settings
from hypothesis import strategies as st
from known_places import tabletop_scene

from semquery.relations import (
    DIRECTIONS,
    HOLDS,
    Frame,
    Places,
    direction,
    distance,
    frame_of,
    holds_relation,
    in_words,
    nested,
    places,
    straight,
)
from semquery.relations.graded import box_gap
from semquery.render import look_at
from semquery.types import Cameras, Surface

OPPOSITE = {"above": "below", "left": "right", "front": "behind"}
UPRIGHT = Frame(np.array([0.0, 0, 1]), np.array([0.0, -1, 0]), np.array([1.0, 0, 0]), "as drawn")
KINDS = [*DIRECTIONS, "near", "inside", "on"]


def cloud(points, normals=None, spacing: float = 1e-3) -> Surface:
    points = np.asarray(points, np.float32)
    normals = np.tile(np.array([0, 0, 1], np.float32), (len(points), 1)) if normals is None else np.asarray(normals, np.float32)
    return Surface(points, normals, np.zeros((len(points), 3), np.uint8), np.zeros((len(points), 0), np.float16), np.zeros(len(points), np.int32), spacing)


def boxes(*solids: tuple) -> tuple[Surface, object]:
    """A scene of boxes, each (middle, size), as a grid of points; the root holds them all."""
    grid = np.array(list(product(np.linspace(-0.5, 0.5, 5), repeat=3)))
    points = np.concatenate([np.array(middle) + grid * np.array(size) for middle, size in solids])
    return cloud(points), part_tree([len(solids)] * (len(solids) + 1), np.repeat(np.arange(len(solids)), len(grid)))


def placed(*solids: tuple, frame: Frame = UPRIGHT) -> Places:
    return places(*boxes(*solids), frame)


numbers = st.floats(-3, 3).map(lambda x: round(x, 2))
sizes = st.floats(0.1, 2).map(lambda x: round(x, 2))
solids = st.lists(st.tuples(st.tuples(numbers, numbers, numbers), st.tuples(sizes, sizes, sizes)), min_size=3, max_size=5)
few = settings(max_examples=40, deadline=None)


# ----------------------------------------------------------------------------------------------- axioms


@few
@given(solids)
def test_what_is_above_another_has_it_below(scene):
    at = placed(*scene)
    for a, b in combinations(range(len(scene)), 2):
        for one, other in OPPOSITE.items():
            assert direction(one, a, b, at) == direction(other, b, a, at)
            assert direction(one, a, b, at) == 0 or direction(other, a, b, at) == 0


@few
@given(solids)
def test_left_and_right_swap_for_a_viewer_on_the_other_side(scene):
    here = placed(*scene)
    there = placed(*scene, frame=Frame(UPRIGHT.up, -UPRIGHT.front, -UPRIGHT.right, "from behind"))
    for a, b in combinations(range(len(scene)), 2):
        for one, other in (("left", "right"), ("front", "behind")):
            assert direction(one, a, b, here) == pytest.approx(direction(other, a, b, there), abs=1e-4)
        assert direction("above", a, b, here) == pytest.approx(direction("above", a, b, there), abs=1e-4)


@few
@given(solids, st.floats(0, 6.28), st.floats(0.01, 100), st.tuples(numbers, numbers, numbers))
def test_moving_turning_and_scaling_the_scene_changes_nothing(scene, angle, scale, offset):
    surface, parts = boxes(*scene)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    moved = replace(surface, points=(scale * (surface.points @ turn.T + np.array(offset))).astype(np.float32), voxel_size=surface.voxel_size * scale)
    here, there = places(surface, parts, UPRIGHT), places(moved, parts, Frame(UPRIGHT.up, turn @ UPRIGHT.front, turn @ UPRIGHT.right, "turned"))
    for a, b in combinations(range(len(scene)), 2):
        for kind in KINDS:
            assert holds_relation(kind, a, [b], here) == pytest.approx(holds_relation(kind, a, [b], there), abs=2e-3), kind
        assert distance(a, b, there) == pytest.approx(scale * distance(a, b, here), rel=1e-3, abs=1e-4 * scale)


@few
@given(solids)
def test_between_does_not_care_which_anchor_is_named_first(scene):
    at = placed(*scene)
    assert holds_relation("between", 0, [1, 2], at) == pytest.approx(holds_relation("between", 0, [2, 1], at))
    several = holds_relation("between", 0, list(range(1, len(scene))), at)
    assert several == max(holds_relation("between", 0, pair, at) for pair in combinations(range(1, len(scene)), 2))


@given(st.integers(0, 50))
@few
def test_being_part_of_is_transitive_and_no_part_lies_beside_what_holds_it(seed):
    random = np.random.default_rng(seed)
    parts = random_parts(random, 7, 40)
    at = places(cloud(random.normal(size=(40, 3))), parts, UPRIGHT)
    within = np.array([[holds_relation("part_of", a, [b], at) for b in range(7)] for a in range(7)])
    np.testing.assert_array_equal(within, (parts.holds.T & ~np.eye(7, dtype=bool)).astype(float))
    for a, b, c in product(range(7), repeat=3):
        assert not (within[a, b] and within[b, c]) or within[a, c]
    for a, b in product(range(7), repeat=2):
        if within[a, b] and at.num_points[a]:
            assert all(direction(kind, a, b, at) == direction(kind, b, a, at) == 0 for kind in DIRECTIONS)
            assert distance(a, b, at) == 0 and holds_relation("inside", a, [b], at) == 1 and nested(a, b, at)


# ------------------------------------------------------------------------------------------ slow twins


@few
@given(solids)
def test_distance_and_boxes_agree_with_every_pair_of_points(scene):
    surface, parts = boxes(*scene)
    at = places(surface, parts, UPRIGHT)
    for a, b in combinations(range(len(scene)), 2):
        one, other = surface.points[parts.points_of(a)].astype(np.float64), surface.points[parts.points_of(b)].astype(np.float64)
        assert distance(a, b, at) == pytest.approx(np.linalg.norm(one[:, None] - other[None], axis=2).min(), abs=1e-5)
        assert box_gap(a, b, at) <= distance(a, b, at) + 1e-5


def test_a_box_leaves_out_the_outermost_points():
    points = np.random.default_rng(0).normal(size=(1001, 3))
    at = places(cloud(points), part_tree([0], [0] * 1001), UPRIGHT)
    seen = np.sort(points, axis=0)
    assert at.low[0] == pytest.approx(seen[10], abs=1e-5) and at.high[0] == pytest.approx(seen[990], abs=1e-5)


@few
@given(solids)
def test_directions_agree_with_the_rule_spelled_out(scene):
    at = placed(*scene)
    for a, b in product(range(len(scene)), repeat=2):
        for kind in DIRECTIONS:
            assert direction(kind, a, b, at) == pytest.approx(spelled_out(kind, a, b, at), abs=1e-9), kind


def spelled_out(kind: str, a: int, b: int, at: Places) -> float:
    """The rule for directions, axis by axis."""
    axis, sign = {"right": (0, 1), "left": (0, -1), "behind": (1, 1), "front": (1, -1), "above": (2, 1), "below": (2, -1)}[kind]
    step = sign * (at.centre[a][axis] - at.centre[b][axis])
    if a == b or step <= 0:
        return 0.0
    size_a, size_b = at.high[a] - at.low[a], at.high[b] - at.low[b]
    overlap = (size_a[axis] + size_b[axis]) / 2 - step
    clear = min(max(1 - overlap / min(size_a[axis], size_b[axis]), 0), 1)
    gaps = [max(0.0, abs(at.centre[a][k] - at.centre[b][k]) - (size_a[k] + size_b[k]) / 2) for k in range(3) if k != axis]
    aside = (gaps[0] ** 2 + gaps[1] ** 2) ** 0.5
    if axis < 2:
        return clear * min(max(1.5 - aside / step, 0), 1)
    width = (((size_a[0] + size_b[0]) / 2) ** 2 + ((size_a[1] + size_b[1]) / 2) ** 2) ** 0.5
    root = at.high[-1] - at.low[-1]
    if step / (step**2 + aside**2) ** 0.5 <= 0.3:
        return 0.0
    return clear * max(1 - aside / min(0.55 * width, 0.35 * max(root[0], root[1])), 0)


# ------------------------------------------------------------------------------------ hand-made cases


def room() -> Places:
    """0 table, 1 lamp over its end, 2 chair to its right, 3 mug on it, 4 coin in the mug, 5 shelf far away."""
    return placed(((0, 0, 0.7), (2, 1, 0.1)), ((0.8, 0, 1.8), (0.3, 0.3, 0.2)), ((1.8, 0.1, 0.4), (0.5, 0.5, 0.8)),
                  ((-0.5, 0, 0.82), (0.1, 0.1, 0.14)), ((-0.5, 0, 0.80), (0.03, 0.03, 0.01)), ((0, 8, 1), (1, 0.3, 2)))


@pytest.mark.parametrize(("kind", "a", "of", "holds"), [
    ("above", 1, [0], True), ("above", 3, [0], True), ("below", 0, [1], True), ("above", 1, [3], False), ("above", 2, [0], False),
    ("right", 2, [0], True), ("left", 0, [2], True), ("left", 3, [1], True), ("behind", 5, [0], True), ("front", 0, [5], True),
    ("left", 3, [0], False), ("on", 3, [0], True), ("on", 1, [0], False), ("on", 0, [3], False), ("inside", 4, [3], True),
    ("inside", 3, [4], False), ("near", 3, [0], True), ("near", 5, [3], False), ("above", 1, [0, 2], False), ("left", 3, [1, 2], True),
    ("between", 1, [3, 2], False), ("near", 3, [5, 0], True), ("above", 1, [], False)])
def test_in_a_small_room_one_would_say_so(kind, a, of, holds):
    assert (holds_relation(kind, a, of, room()) >= HOLDS) == holds


def test_what_stands_between_two_others_of_a_row_is_between_them():
    row = placed(((0, 0, 0), (0.2, 0.2, 0.2)), ((1, 0, 0), (0.2, 0.2, 0.2)), ((2, 0, 0), (0.2, 0.2, 0.2)), ((1, 3, 0), (0.2, 0.2, 0.2)), ((1, 0, 0), (4, 0.1, 0.1)))
    assert holds_relation("between", 1, [0, 2], row) == 1 and holds_relation("between", 0, [1, 2], row) == 0
    assert holds_relation("between", 3, [0, 2], row) == 0, "far aside"
    assert holds_relation("between", 4, [0, 2], row) == 0, "longer than the way"


def test_an_unknown_relation_is_refused():
    with pytest.raises(ValueError, match="Expected one of right, left.*got 'nearest'"):
        holds_relation("nearest", 0, [1], room())


def test_a_part_without_points_is_near_nothing():
    at = places(cloud([[0, 0, 0], [1, 0, 0]]), part_tree([3, 3, 3, 3], [0, 0]), UPRIGHT)
    assert distance(0, 1, at) == float("inf") and holds_relation("near", 1, [0], at) == 0


def test_the_notes_name_the_clearest_relations_to_the_nearest_siblings():
    surface, parts = small_surface(), small_parts()
    at = places(surface, parts, UPRIGHT)
    assert in_words(0, at, parts) == "left of 1; in 3"
    assert in_words(1, at, parts, {0: "left knob", 3: "panel"}) == "right of 0 left knob; in 3 panel"
    assert in_words(2, at, parts) == "right of 3" and in_words(parts.root, at, parts) == ""


def test_measures_are_those_of_the_box():
    at = placed(((0, 0, 0), (2, 1, 0.5)), ((5, 5, 5), (1, 1, 1)))
    assert at.size[0] == pytest.approx([2, 1, 0.5], abs=1e-5) and at.volume[0] == pytest.approx(1, abs=1e-4)
    assert at.area[0] == pytest.approx(2 + 0.5 + 1, abs=1e-4) and at.diagonal[0] == pytest.approx(np.sqrt(5.25), abs=1e-4)
    assert at.extent(0) == pytest.approx([2, 1, 0.5], abs=1e-4)


# -------------------------------------------------------------------------------------------- frames


def looking(*eyes: tuple) -> Cameras:
    poses = np.stack([look_at(np.array(eye, float), np.zeros(3)) for eye in eyes])
    names = tuple(f"view_{k}" for k in range(len(eyes)))
    return Cameras(names, names, poses, np.tile([5.0, 5, 3, 3], (len(eyes), 1)), np.full((len(eyes), 2), 6))


def square(normals) -> tuple[Surface, object]:
    """Four parts of one point each around the origin, with these normals."""
    return cloud([[1, 1, 0], [-1, 1, 0], [-1, -1, 0], [1, -1, 0]], normals), part_tree([4] * 5, [0, 1, 2, 3])


AROUND = [[1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]]


def test_in_a_named_view_right_is_what_is_right_in_its_picture():
    cameras = looking((5, 0, 1), (0, -5, 1), (0, 0.01, 9))
    for view, pose in zip(cameras.names, cameras.T_world_cam, strict=True):
        frame = frame_of(*square(AROUND), cameras, up=np.array([0.0, 0, 1]), view=view)
        assert frame.right @ pose[:3, 0] > 0.99, "the camera's own x axis"
        assert frame.origin == f"up as given; left and right as seen in view {view}"


def test_a_camera_above_the_scene_is_in_front_of_the_lower_edge_of_its_picture():
    frame = frame_of(*square(AROUND), looking((0, -0.01, 9)), up=np.array([0.0, 0, 1]), view="view_0")
    assert frame.front == pytest.approx([0, -1, 0], abs=1e-3)


def test_the_front_is_where_most_parts_face():
    frame = frame_of(*square([[0, 1, 0], [0, 1, 0], [0, 1, 0], [1, 0, 0]]), looking((5, 0, 0), (0, 5, 0)))
    assert frame.front == pytest.approx([0, 1, 0], abs=1e-6) and frame.right == pytest.approx([-1, 0, 0], abs=1e-6)
    assert frame.origin.endswith("as seen from the side to which most parts face")


def test_parts_count_alike_however_many_points_they_have():
    points = np.zeros((102, 3))
    normals = np.array([[0, -1, 0]] * 2 + [[1, 0, 0]] * 100, float)
    frame = frame_of(cloud(points, normals), part_tree([3, 3, 3, 3], [0, 1] + [2] * 100), None)
    assert frame.front @ [0, -1, 0] > frame.front @ [1, 0, 0]


def test_where_parts_face_nowhere_the_view_that_shows_most_parts_decides():
    surface, parts = square(AROUND)
    seen = {"view_0": np.array([[0, -1]], np.int32), "view_1": np.array([[0, 1]], np.int32)}
    frame = frame_of(replace(surface, point_of_pixel=seen), parts, looking((5, 1, 0), (1, 5, 0)))
    assert frame.front == pytest.approx([0, 1, 0], abs=1e-6), "11° off the scene's axis, so along it"
    assert frame.origin.endswith("as seen from the side of view view_1, which shows most parts")


def test_a_front_far_from_the_axes_of_the_scene_stays_where_it_is():
    surface, parts = square(AROUND)
    frame = frame_of(replace(surface, point_of_pixel={"view_0": np.zeros((1, 1), np.int32)}), parts, looking((5, 3, 0)))
    assert frame.front == pytest.approx(np.array([5, 3, 0]) / np.sqrt(34), abs=1e-6)


def test_without_cameras_or_a_side_the_axes_of_the_world_serve_and_the_frame_says_so():
    frame = frame_of(*square(AROUND), None)
    assert frame.axes() == pytest.approx(np.eye(3)) and "for want of" in frame.origin


def test_a_given_front_is_made_horizontal():
    frame = frame_of(*square(AROUND), None, up=np.array([0.0, 0, 2]), front=np.array([3.0, 0, 1]))
    assert frame.front == pytest.approx([1, 0, 0]) and frame.up == pytest.approx([0, 0, 1])
    assert frame.origin == "up as given; left and right as seen from the front that was given"


@pytest.mark.parametrize(("given", "message"), [
    ({"view": "gone"}, "no view 'gone' with a pose.*view_0"), ({"up": np.zeros(3)}, "direction for up"),
    ({"front": np.array([np.nan, 0, 0])}, "direction for front"), ({"front": np.array([0.0, 0, 1])}, "not vertical")])
def test_what_gives_no_frame_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        frame_of(*square(AROUND), looking((5, 0, 0)), **given)


@few
@given(st.floats(0, 6.28))
def test_the_frame_turns_with_the_scene(angle):
    random = np.random.default_rng(0)
    normals = random.normal(size=(60, 3)) + [0.4, -1.5, 0]
    surface, parts = cloud(random.normal(size=(60, 3)), normals / np.linalg.norm(normals, axis=1, keepdims=True)), part_tree([6] * 7, np.arange(60) % 6)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    turned = replace(surface, points=(surface.points @ turn.T).astype(np.float32), normals=(surface.normals @ turn.T).astype(np.float32))
    up = np.array([0.0, 0, 1])
    here, there = frame_of(surface, parts, None, up=up), frame_of(turned, parts, None, up=up)
    assert there.front == pytest.approx(turn @ here.front, abs=1e-4)
    assert there.axes() @ there.axes().T == pytest.approx(np.eye(3), abs=1e-6) and np.linalg.det(there.axes()) == pytest.approx(1)


def test_the_demo_scene_is_looked_at_from_the_side_of_the_microwave():
    _, surface, parts, cameras = tabletop_scene()
    frame = frame_of(surface, parts, cameras)
    assert frame.up == pytest.approx([0, 0, 1]) and frame.front == pytest.approx([0, -1, 0], abs=0.01)


def test_a_capture_made_by_hand_has_a_frame():
    frame = frame_of(small_surface(), small_parts(), small_cameras())
    assert frame.front == pytest.approx([0, -1, 0], abs=1e-6) and frame.right == pytest.approx([1, 0, 0], abs=1e-6)


# ------------------------------------------------------------------------------------- between, in line, without


def test_what_joins_two_parts_is_between_them_though_it_touches_both():
    pole, foot, shade = ((0, 0, 1), (0.1, 0.1, 2)), ((0, 0, 0), (1, 1, 0.2)), ((0, 0, 2.2), (1.5, 1.5, 0.8))
    assert holds_relation("between", 0, [1, 2], placed(pole, foot, shade)) >= HOLDS


def test_a_tall_panel_behind_two_fronts_is_between_them_and_the_wall_behind_them_is_not():
    panel, wall = ((0, 1, 0), (0.1, 1.9, 4)), ((0, 2, 0), (4, 0.1, 4))
    at = placed(panel, wall, ((-1, 0, -1), (1.5, 0.1, 1)), ((1, 0, -1), (1.5, 0.1, 1)))
    assert holds_relation("between", 0, [2, 3], at) >= HOLDS > holds_relation("between", 1, [2, 3], at)


def test_the_table_that_two_cups_stand_on_is_not_between_them():
    at = placed(((0, 0, -0.05), (3, 2, 0.1)), ((-0.5, 0, 0.1), (0.2, 0.2, 0.2)), ((0.5, 0, 0.1), (0.2, 0.2, 0.2)), ((0, 0, 0.1), (0.2, 0.2, 0.2)))
    assert holds_relation("between", 0, [1, 2], at) < HOLDS <= holds_relation("between", 3, [1, 2], at)


@few
@given(solids)
def test_rows_columns_and_what_is_straight_beside_agree_with_the_rules_spelled_out(scene):
    at = placed(*scene)
    for a, b in product(range(len(scene)), repeat=2):
        for kind, axis in (("row", 2), ("column", 0)):
            mean = (at.size[a][axis] + at.size[b][axis]) / 2
            apart = abs(at.centre[a][axis] - at.centre[b][axis])
            assert holds_relation(kind, a, [b], at) == pytest.approx(0 if a == b else max(0, 1 - apart / mean), abs=1e-6)
        for kind, axis in (("left", 0), ("behind", 1), ("above", 2)):
            others = [k for k in range(3) if k != axis]
            shared = [min(at.high[a][k], at.high[b][k]) - max(at.low[a][k], at.low[b][k]) for k in others]
            halves = [min(at.size[a][k], at.size[b][k]) / 2 for k in others]
            assert straight(kind, a, b, at) == all(s + at.spacing >= h for s, h in zip(shared, halves, strict=True))
            assert straight(kind, a, b, at) == straight(kind, b, a, at)


def test_without_is_what_holds_none_of_them():
    parts = small_parts()  # 0 and 1 in 3, all in 4
    at = places(small_surface(), parts, UPRIGHT)
    assert [holds_relation("with", a, [0], at) for a in range(5)] == [holds_relation("part_of", 0, [a], at) for a in range(5)] == [0, 0, 0, 1, 1]
    assert [holds_relation("without", a, [0], at) for a in range(5)] == [0, 1, 1, 0, 0]  # a thing is not without itself
    assert holds_relation("without", 3, [2], at) == 1 and holds_relation("without", 3, [2, 1], at) == 0 and holds_relation("without", 3, [], at) == 1
