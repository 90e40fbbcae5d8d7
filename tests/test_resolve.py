"""From phrases to parts: questions about a known scene, groups, choices, and what is said where there is no answer."""

import numpy as np
import pytest
from helpers import part_tree, random_parts
from hypothesis import given, settings
from hypothesis import strategies as st
from known_places import called, tabletop_scene
from test_relations import UPRIGHT, cloud, placed

from semquery.phrases import Phrase, Relation, parse
from semquery.relations import Places, distance, frame_of, places
from semquery.resolve import Resolution, resolve
from semquery.resolve.apart import remainder
from semquery.resolve.choose import at_rank, closest, corner, middle, picked, ranked, rows
from semquery.resolve.trail import Names, Trail

QUESTIONS = """
the button left of the start button               | button 8
the button to the right of button 4               | button 5
the button directly above the start button        | button 6
the button below button 4                         | button 7
the buttons above the start button                | button 3, button 6
the button between button 4 and button 6          | button 5
top left button                                   | button 1
the button in the bottom right corner             | start button
the middle button                                 | button 5
the button on the keypad in the middle            | button 5
the second button in the top row                  | button 2
the last button in the bottom row                 | start button
the buttons in the left column                    | button 1, button 4, button 7
third button from the left                        | button 3, button 6, start button
the buttons in the same row as the start button   | button 7, button 8
the button in the same column as the dial         | button 2, button 5, button 8
the bottom row of buttons                         | button 7, button 8, start button
the middle row of buttons                         | button 4, button 5, button 6
the door without the handle                       | door frame, window
the door and the dial                             | door, dial
the posts and the top slat                        | post 1, post 2, slat 4
the keypad without the buttons                    | keypad plate
buttons but not the start button                  | button 1, button 2, button 3, button 4, button 5, button 6, button 7, button 8
the button nearest to the dial                    | button 2
which button is closest to the door?              | button 1, button 4, button 7
the dial above the keypad                         | dial
the dial below the display                        | dial
what is below the display?                        | dial
what is between the display and the keypad        | dial
the display above the dial                        | display
second slat from the top                          | slat 3
the topmost slat                                  | slat 4
the lowest slat                                   | slat 1
the last slat                                     | slat 1
third slat from the bottom                        | slat 3
first two slats from the top                      | slat 3, slat 4
the slats in the back of the chair                | slat 1, slat 2, slat 3, slat 4
slats other than the top one                      | slat 1, slat 2, slat 3
the table leg nearest to the chair                | table leg 3
the table leg farthest from the chair             | table leg 1, table leg 2
the leg of the chair closest to the table         | chair leg 1
leftmost table leg                                | table leg 1, table leg 2
front left table leg                              | table leg 1
the back right chair leg                          | chair leg 4
the front chair legs                              | chair leg 1, chair leg 3
the table legs other than the back ones           | table leg 1, table leg 3
the legs of the chair other than the front ones   | chair leg 2, chair leg 4
the chair's legs                                  | chair leg 1, chair leg 2, chair leg 3, chair leg 4
both posts                                        | post 1, post 2
the front post                                    | post 1
what is under the seat                            | chair leg 1, chair leg 2, chair leg 3, chair leg 4
what is under the microwave                       | table
the thing on top of the table                     | microwave
what is on the table top                          | microwave
everything above the seat                         | back
what is right of the table                        | chair
what is left of the chair                         | table
handle of the door                                | handle
handle on the front of the microwave              | handle
the handle left of the panel                      | handle
the window of the microwave                       | window
the largest part of the door                      | door frame
parts of the door                                 | door frame, window, handle
the largest part                                  | table
the second largest part                           | chair
"""
CASES = [tuple(map(str.strip, line.split("|"))) for line in QUESTIONS.strip().split("\n")]


@pytest.fixture(scope="module")
def scene():
    known, surface, parts, cameras = tabletop_scene()
    return known, parts, places(surface, parts, frame_of(surface, parts, cameras))


def asked(text: str, scene) -> Resolution:
    known, parts, at = scene
    return resolve(parse(text), called(known), at, parts)


def names(found: Resolution, scene) -> list[str]:
    return sorted(scene[0].names[part] for part in found.members)


@pytest.mark.parametrize(("question", "answer"), CASES)
def test_a_question_about_the_demo_scene_finds_the_right_parts(question, answer, scene):
    found = asked(question, scene)
    assert not found.failed and names(found, scene) == sorted(answer.split(", ")), found.steps
    assert len(found.scores) == len(found.members) and all(0 < score <= 1 for score in found.scores)
    assert not set(found.members) & {part for part, _ in found.rejected}


def test_the_table_of_questions_is_long():
    assert len(CASES) >= 40


@pytest.mark.parametrize(("view", "question", "answer"), [
    ("microwave_02", "the button left of the start button", "button 8"), ("microwave_02", "front left table leg", "table leg 1"),
    ("microwave_05", "front left table leg", "table leg 4"), ("microwave_05", "rightmost post", "post 1, post 2"),
    ("microwave_05", "what is left of the table", "chair"), ("microwave_02", "what is right of the table", "chair"),
    ("orbit_00", "the left table legs", "table leg 1, table leg 3"), ("orbit_00", "front left table leg", "table leg 3")])
def test_left_and_right_are_those_of_the_view_that_is_named(view, question, answer):
    known, surface, parts, cameras = tabletop_scene()
    at = places(surface, parts, frame_of(surface, parts, cameras, view=view))
    found = asked(question, (known, parts, at))
    assert names(found, (known, parts)) == sorted(answer.split(", "))
    assert found.steps[-1] == f"Directions: up from the cameras; left and right as seen in view {view}."


@pytest.mark.parametrize(("question", "reason"), [
    ("the button nearest to the lamp", "Nothing here is called “lamp”, so “the button nearest to the lamp” cannot be answered."),
    ("handle of the fridge", "Nothing here is called “fridge”, so “handle of the fridge” cannot be answered."),
    ("the lamp above the table", "Nothing here is called “lamp”, so “the lamp above the table” cannot be answered."),
    ("fifth slat from the top", "Counted from the top there are 4, so “fifth slat from the top” is not among them."),
    ("the seat of the microwave", "No “seat” is part of “the microwave”."),
    ("the chair above the table", "No “chair” is above “the table”."),
    ("the button in the fourth row", "There are 3 such rows, so there is no “the fourth row”."),
    ("buttons except the buttons", "“buttons except the buttons” excludes all that it names."),
    ("the keypad without the buttons and the keypad plate",
     "What “the keypad without the buttons and the keypad plate” leaves is no part of its own: the tree has no other parts in part 35."),
    ("the table without a leg", "No “table” is without “a leg”."),
    ("what is between the dial", "“what is between the dial” needs two parts to be between, and there is 1."),
    ("what is above the display", "There is nothing above “the display” here."),
    ("", "Nothing is asked for."),
    ("the shelf", "Nothing here is called “shelf”, so “the shelf” cannot be answered.")])
def test_what_cannot_be_answered_is_said_precisely(question, reason, scene):
    found = asked(question, scene)
    assert found.failed == reason and found.members == ()


def test_steps_tell_anchors_choices_and_the_frame(scene):
    found = asked("the button left of the start button", scene)
    known, _, at = scene
    start = known.names.index("start button")
    assert found.anchors == (start,)
    assert found.steps[-1] == f"Directions: {at.frame.origin}." and any(f"(part {start})" in step for step in found.steps)
    assert (known.names.index("button 7"), "not the nearest") in found.rejected
    assert (known.names.index("button 3"), "not left of “the start button”") in found.rejected


def test_the_one_straight_beside_comes_before_one_at_an_angle_that_is_as_near():
    at = placed(((0, 0, 0), (1, 1, 1)), ((-2.5, 0, 0), (1, 1, 1)), ((-1.6, 0, 0.9), (1, 1, 1)), ((-1.7, 0, -0.95), (1, 1, 1)))
    parts = part_tree([4] * 5, [0, 1, 2, 3])

    def candidates(text):
        return {"start": [(0, 1.0)], "key": [(p, 1.0) for p in (1, 2, 3)]}.get(text, [])

    found = resolve(parse("the key left of the start"), candidates, at, parts)
    assert found.members == (1,) and (2, "not straight left of “the start”") in found.rejected
    assert set(resolve(parse("the keys left of the start"), candidates, at, parts).members) == {1, 2, 3}
    assert len(resolve(parse("two keys left of the start"), candidates, at, parts).members) == 2


def test_where_several_are_equally_meant_all_are_given_and_the_steps_say_so(scene):
    found = asked("leftmost table leg", scene)
    assert len(found.members) == 2 and any("does not tell which of 2" in step for step in found.steps)


def test_a_choice_behind_a_noun_of_which_there_is_one_is_said_of_the_other(scene):
    found = asked("the leg of the chair closest to the table", scene)
    assert any("There is one “chair” only" in step for step in found.steps)


def test_what_is_excluded_but_not_there_is_no_obstacle(scene):
    found = asked("buttons except the lamp", scene)
    assert len(found.members) == 9 and "without “the lamp”: nothing here is called so." in found.steps


# --------------------------------------------------------------------------------------------- exclusions


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 14))
def test_what_is_left_of_a_part_is_all_of_it_but_what_is_gone_in_as_few_parts_as_can_be(seed, num_parts):
    random = np.random.default_rng(seed)
    parts = random_parts(random, num_parts, 60)
    trail = Trail(Names(lambda text: [], lambda text: False, lambda text, part: ()), places(cloud(random.normal(size=(60, 3))), parts, UPRIGHT), parts)
    part, gone = int(random.integers(num_parts)), random.integers(0, num_parts, 2).tolist()
    left = remainder(part, gone, trail)
    free = [p for p in range(num_parts) if parts.holds[part, p] and not any(parts.holds[g, p] or parts.holds[p, g] for g in gone)]
    highest = {p for p in free if p == part or int(parts.parents[p]) not in free}
    assert set(left) == {p for p in highest if trail.places.num_points[p]} and len(set(left)) == len(left)


def test_an_exclusion_inside_what_is_meant_leaves_its_other_parts():
    parts = part_tree([4, 4, 5, 5, 6, 6, 6], [0, 0, 1, 2, 2, 3])  # two rolls, 4 and 5, each a bun and a filling
    at = places(cloud(np.arange(18).reshape(6, 3)), parts, UPRIGHT)

    def candidates(text):
        return {"rolls": [(4, 1.0), (5, 1.0)], "filling": [(1, 1.0), (3, 1.0)], "bun": [(0, 1.0), (2, 1.0)]}.get(text, [])

    found = resolve(parse("rolls but not the filling"), candidates, at, parts)
    assert found.members == (0, 2) and any("the other parts are left: 0, 2" in step for step in found.steps)
    assert set(resolve(parse("two rolls without the filling"), candidates, at, parts).members) == {0, 2}, "the number counts rolls"
    assert resolve(parse("rolls without a filling"), candidates, at, parts).failed == "No “rolls” is without “a filling”."


def test_a_part_whose_name_is_a_place_is_left_out_and_where_there_is_none_the_place_is_meant():
    at, parts = cabinet()

    def candidates(text):
        return {"top": [(5, 1.0)], "box": [(8, 1.0)]}.get(text) or grouped(text)

    assert set(resolve(parse("the box without the top"), candidates, at, parts, lambda text: text == "the top").members) == {0, 1, 2, 6, 3, 4}
    assert set(resolve(parse("all the drawers but the top"), grouped, at, parts).members) == {3, 4}


# --------------------------------------------------------------------------------------------- groups


def cabinet() -> tuple[Places, object]:
    """Three drawers in a group of their own (4), their handles 0..2 not in them but before them, and a plate 6 at the left. 7 is the root.

    3, 4 and 5 are the drawers from the bottom; 8 groups them.
    """
    grid = np.stack(np.meshgrid(*[np.linspace(-0.5, 0.5, 4)] * 3), -1).reshape(-1, 3)
    middles = [(0, -0.6, z) for z in (0, 1, 2)] + [(0, 0, z) for z in (0, 1, 2)] + [(-2, 0, 1)]
    extents = [(0.3, 0.1, 0.1)] * 3 + [(1, 1, 0.9)] * 3 + [(0.2, 1, 1)]
    points = np.concatenate([np.array(m) + grid * np.array(e) for m, e in zip(middles, extents, strict=True)])
    parts = part_tree([8, 8, 8, 7, 7, 7, 8, 8, 8], np.repeat(np.arange(7), len(grid)))
    return places(cloud(points), parts, UPRIGHT), parts


def grouped(text: str) -> list[tuple[int, float]]:
    """The search answers "drawer" with the group of drawers."""
    known = {"drawer": [(7, 0.9)], "drawers": [(7, 0.9)], "handle": [(0, 0.8), (1, 0.8), (2, 0.8)], "plate": [(6, 1.0)], "handles": [(0, 0.8), (1, 0.8), (2, 0.8)]}
    return known.get(text, [])


@pytest.mark.parametrize(("question", "answer"), [
    ("the second drawer from the top", {4}), ("bottom drawer", {3}), ("all the drawers", {7}), ("two drawers", {3, 4}), ("the last drawer", {3}),
    ("drawers except the top one", {3, 4}), ("handle of the top drawer", {2}), ("the bottom drawer's handle", {0}), ("the plate", {6}),
    ("handle nearest to the bottom drawer", {0}), ("the drawer below the middle drawer", {3}), ("the drawer between the top drawer and the bottom drawer", {4}),
    ("the thing left of the drawers", {6}), ("handles of the drawers", {0, 1, 2}), ("top two drawers", {4, 5}), ("upper drawers", {5})])
def test_a_choice_among_alike_children_looks_inside_their_group(question, answer):
    at, parts = cabinet()
    found = resolve(parse(question), grouped, at, parts)
    assert set(found.members) == answer, (found.failed, found.steps)


@pytest.mark.parametrize(("question", "answer"), [
    ("the key left of the red key", {1}), ("keys but not the red key", {0, 1}), ("the third key from the left", {2}), ("the leftmost key", {0}),
    ("two keys", {0, 1, 2}), ("the key of the pad", {0, 1, 2}), ("all the keys", {4}), ("the key", {4})])
def test_what_is_called_like_the_keys_in_it_is_looked_into_where_one_of_them_is_meant(question, answer):
    """A pad, 4, that is called "keys": three of them, the last longer than the others, and a plate."""
    at, parts = looked_into()

    def candidates(text):
        return {"red key": [(2, 1.0)], "pad": [(4, 1.0)]}.get(text) or [(4, 1.0)] * ("key" in text)

    found = resolve(parse(question), candidates, at, parts, inside=lambda text, part: [0, 1, 2] if "key" in text and part == 4 else [])
    assert set(found.members) <= answer and found.members, (found.failed, found.steps)
    assert set(found.members) == answer or question == "two keys" and len(found.members) == 2
    assert any("looks inside" in step for step in found.steps) == (answer != {4})


def looked_into() -> tuple[Places, object]:
    solids = [((0, 0, 0), (0.5, 0.5, 0.5)), ((1, 0, 0), (0.5, 0.5, 0.5)), ((2.5, 0, 0), (1.5, 0.5, 0.5)), ((1.5, 0.5, 0), (4, 0.2, 1))]
    grid = np.stack(np.meshgrid(*[np.linspace(-0.5, 0.5, 4)] * 3), -1).reshape(-1, 3)
    points = np.concatenate([np.array(middle) + grid * np.array(size) for middle, size in solids])
    parts = part_tree([4, 4, 4, 4, 5, 5], np.repeat(np.arange(4), len(grid)))
    return places(cloud(points), parts, UPRIGHT), parts


def test_between_two_kinds_is_between_one_of_each():
    at = placed(((0, 0, 0), (1, 1, 1)), ((0, 0, 2), (1, 1, 1)), ((0, 0, 4), (1, 1, 1)), ((6, 0, 2), (1, 1, 1)), ((3, 0, 2), (1, 1, 1)))
    parts = part_tree([5] * 6, [0, 1, 2, 3, 4])
    known = {"drawers": [(0, 1.0), (2, 1.0)], "door": [(3, 1.0)], "thing": []}
    found = resolve(parse("what is between the drawers and the door"), lambda text: known.get(text, []), at, parts)
    assert found.members == (4,)
    assert resolve(parse("what is between the drawers"), lambda text: known.get(text, []), at, parts).members == (1,)


def test_what_is_between_parts_of_different_parts_is_found_beside_the_inner_one():
    at = placed(((0, 0, 0), (1, 1, 0.2)), ((0, 0, 1), (0.2, 0.2, 1.8)), ((0, 0, 2.2), (1, 1, 0.5)))
    parts = part_tree([4, 3, 3, 4, 4], at_points := np.repeat([0, 1, 2], 125))  # the pole, 1, and the head, 2, are one unit
    at = places(cloud(at.points[: len(at_points)]), parts, UPRIGHT)
    known = {"base": [(0, 1.0)], "head": [(2, 1.0)]}
    assert resolve(parse("the part between the base and the head"), lambda text: known.get(text, []), at, parts).members == (1,)


def test_a_phrase_that_is_a_name_as_a_whole_is_that_part_as_an_anchor():
    at, parts = cabinet()

    def candidates(text):
        return [(6, 1.0)] if text == "front of the drawer" else grouped(text)

    found = resolve(parse("the thing right of the front of the drawer"), candidates, at, parts, lambda text: text == "the front of the drawer")
    assert found.anchors == (6,) and not found.failed


def test_a_part_of_the_nearest_where_the_tree_has_none_inside_is_said_to_be_so():
    at, parts = cabinet()
    found = resolve(parse("handle of the top drawer"), grouped, at, parts)
    assert any("nearest to it" in step for step in found.steps) and found.scores == (0.4,)


def test_children_of_different_sizes_are_no_group():
    at, parts = cabinet()
    found = resolve(parse("the largest cabinet"), lambda text: [(8, 1.0)] if text == "cabinet" else [], at, parts)
    assert found.members == (8,)


def test_the_singular_is_looked_up_where_the_plural_is_not_known():
    at, parts = cabinet()
    assert resolve(parse("all the plates"), grouped, at, parts).members == (6,)


def test_what_is_called_so_only_poorly_takes_no_part_in_a_choice():
    at, parts = cabinet()
    found = resolve(parse("the leftmost knob"), lambda text: [(0, 1.0), (1, 0.95), (6, 0.3)], at, parts)
    assert 6 not in found.members


def test_a_part_called_like_a_choice_is_that_part_as_an_anchor_too():
    at, parts = cabinet()

    def candidates(text):
        return {"bottom drawer": [(5, 1.0)], "back plate": [(6, 1.0)]}.get(text) or grouped(text)

    assert resolve(parse("bottom drawer"), candidates, at, parts, lambda text: text == "bottom drawer").members == (5,)
    assert resolve(parse("handle of the bottom drawer"), candidates, at, parts, lambda text: text == "bottom drawer").members == (2,)
    assert resolve(parse("handle of the bottom drawer"), candidates, at, parts).members == (0,), "nothing is called exactly so"
    assert resolve(parse("the lower lid"), lambda text: [(6, 1.0)] if text == "lower lid" else [], at, parts).members == (6,)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=2, max_size=7, unique=True), st.sampled_from(["nearest", "farthest"]))
def test_the_closest_agree_with_measuring_to_each(cells, kind):
    at = placed(*(((x, 0, z), (0.5, 0.5, 0.5)) for x, z in cells))
    away = {k: max(distance(k, 0, at), 2 * at.spacing) for k in range(1, len(cells))}
    best = (min if kind == "nearest" else max)(away.values())
    assert set(closest(list(away), kind, [0], 1, 0.0, at)) == {k for k in away if abs(away[k] - best) <= 0.05 * max(best, away[k])}
    two = sorted(away.values(), reverse=kind == "farthest")[:2]
    assert [away[k] for k in closest(list(away), kind, [0], 2, 0.0, at)] == two


@pytest.mark.parametrize(("rank", "wanted", "start"), [(1, 1, 0), (4, 1, 3), (5, 1, None), (-1, 1, 3), (-4, 1, 0), (-5, 1, None), (-1, 2, 2), (1, 2, 0)])
def test_ranks_count_from_one_and_from_the_end(rank, wanted, start):
    assert at_rank([[0], [1], [2], [3]], rank, wanted) == start


def test_a_relation_without_anchors_is_refused_in_words():
    at, parts = cabinet()
    assert "needs" in resolve(Phrase("handle", relations=(Relation("above", ()),), text="handle above"), grouped, at, parts).failed


# ------------------------------------------------------------------------------------------- choosing


def grid(columns: int, lines: int) -> Places:
    """Small cubes, row by row from the top left."""
    return placed(*(((x, 0, -z), (0.5, 0.5, 0.5)) for z in range(lines) for x in range(columns)))


def test_rows_are_counted_from_their_side_and_hold_what_is_at_the_same_place():
    at = grid(3, 2)
    assert rows(range(6), "top", at) == [[0, 1, 2], [3, 4, 5]] and rows(range(6), "bottom", at) == [[3, 4, 5], [0, 1, 2]]
    assert rows(range(6), "left", at) == [[0, 3], [1, 4], [2, 5]] and rows(range(6), "front", at) == [[0, 1, 2, 3, 4, 5]]
    assert rows([], "top", at) == []


def test_without_a_direction_one_counts_as_one_reads():
    assert ranked(range(6), "", grid(3, 2)) == [[k] for k in range(6)] == ranked([5, 3, 1, 0, 2, 4], "", grid(3, 2))


def test_corner_and_middle():
    at = grid(3, 3)
    assert corner(range(9), ["top", "left"], at) == [0] and corner(range(9), ["bottom", "right"], at) == [8] and middle(range(9), at) == [4]
    assert middle(range(4), grid(4, 1)) == [1, 2]


def test_a_corner_is_decided_by_rows_also_where_there_are_many():
    at = grid(2, 20)
    assert corner(range(40), ["bottom", "left"], at) == [38] and corner(range(40), ["top", "right"], at) == [1]
    crooked = placed(((0, 0, 0.02), (0.5, 0.5, 0.5)), ((1, 0, -0.02), (0.5, 0.5, 0.5)), ((2, 0, 0.02), (0.5, 0.5, 0.5)))
    assert corner(range(3), ["top", "right"], crooked) == [2] and corner(range(3), ["bottom", "right"], crooked) == [2], "one row"


def test_of_long_parts_side_by_side_the_middle_one_is_in_the_middle():
    assert middle(range(5), placed(*(((0.3 * k, 0, 0), (0.1, 0.1, 4)) for k in range(5)))) == [2]


def test_of_upper_shelves_the_upper_half_is_meant_and_of_front_legs_the_front_row():
    assert picked(range(4), "top", None, grid(1, 4)) == [0, 1] and picked(range(6), "top", None, grid(3, 2)) == [0, 1, 2]
    assert picked(range(4), "top", 3, grid(1, 4)) == [0, 1, 2]


def test_superlatives_compare_what_they_say():
    at = placed(((0, 0, 0), (4, 0.5, 0.5)), ((0, 3, 0), (2, 2, 2)), ((0, 6, 0), (0.6, 0.6, 3)), ((0, 9, 0), (0.05, 1, 1)))
    chosen = {word: picked(range(4), word, 1, at) for word in "largest smallest longest shortest tallest widest narrowest thickest thinnest".split()}
    assert chosen == {"largest": [1], "smallest": [3], "longest": [0], "shortest": [3], "tallest": [2], "widest": [0], "narrowest": [3],
                      "thickest": [1], "thinnest": [3]}


def test_sizes_that_hardly_differ_are_equal():
    at = placed(((0, 0, 0), (1, 1, 1)), ((3, 0, 0), (1.01, 1, 1)), ((6, 0, 0), (0.5, 0.5, 0.5)))
    assert sorted(picked(range(3), "largest", 1, at)) == [0, 1] and ranked(range(3), "largest", at)[1] == [2]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=1, max_size=8, unique=True))
def test_rows_agree_with_sorting_by_hand(cells):
    at = placed(*(((x, 0, z), (0.4, 0.4, 0.4)) for x, z in cells))
    expected = [[k for k, cell in enumerate(cells) if cell[1] == z] for z in sorted({z for _, z in cells}, reverse=True)]
    assert [sorted(line) for line in rows(range(len(cells)), "top", at)] == expected
    reading = sorted(range(len(cells)), key=lambda k: (-cells[k][1], cells[k][0]))
    assert ranked(range(len(cells)), "", at) == [[k] for k in reading]


# ------------------------------------------------------------------------------------------- soundness


WORDS = st.sampled_from("the all both two second last left top of above between and in on to button buttons leg legs drawer's but not from nearest "
                        "nearest to largest chair table keypad row middle thing parts near behind microwave without a same as".split())


@settings(max_examples=150, deadline=None)
@given(text=st.lists(WORDS, min_size=1, max_size=9).map(" ".join))
def test_whatever_is_asked_there_are_members_or_a_reason(text, scene):
    found = asked(text, scene)
    assert bool(found.members) != bool(found.failed)
    assert len(set(found.members)) == len(found.members) == len(found.scores) and all(0 <= part < scene[1].num_parts for part in found.members)
