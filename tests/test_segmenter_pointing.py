"""Where a vision-language model points: its numbers, and its answers as they really come."""

import json
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from stub_dialect import problems

from semquery.segmenter.coords import extent, in_words, smart_size, to_pixels
from semquery.segmenter.pointing import POINTING_SCHEMA, Thing, pointing_from, probability_of_seeing

HANDLE = Thing((10.0, 20.0, 110.0, 60.0), label="handle")
sides = st.integers(1, 3000)


@given(sides, sides, st.sampled_from([28, 32]), st.sampled_from([(56 * 56, 1280 * 28 * 28), (448 * 448, 1280 * 28 * 28), (3136, 12845056)]))
def test_pictures_are_resized_as_the_models_own_processor_does(height, width, factor, bounds):
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

    assume(max(height, width) <= 200 * min(height, width))
    assert smart_size((height, width), factor, *bounds) == smart_resize(height, width, factor, *bounds)


@given(sides, sides)
def test_a_size_that_was_found_once_is_left_alone(height, width):
    assume(max(height, width) <= 100 * min(height, width))
    size = smart_size((height, width), 28, 448 * 448, 1280 * 28 * 28)
    assert smart_size(size, 28, 448 * 448, 1280 * 28 * 28) == size
    assert smart_size(size, 28, 3136, 12845056) == size  # and so by servers that are set more widely


def test_sizes_by_hand():
    bounds = (56 * 56, 1280 * 28 * 28)
    assert smart_size((1024, 1024), 28, *bounds) == (980, 980)
    assert smart_size((512, 512), 28, *bounds) == (504, 504)
    assert smart_size((10, 10), 28, *bounds) == (56, 56)


@pytest.mark.parametrize("size", [(0, 10), (10, 2001)])
def test_pictures_that_no_model_takes_are_refused(size):
    with pytest.raises(ValueError, match="cannot be shown to the model"):
        smart_size(size, 28, 3136, 12845056)


@pytest.mark.parametrize("mode, told, pixel", [
    ("absolute", (490.0, 245.0), (512.0, 256.0)), ("relative_1000", (500.0, 250.0), (512.0, 256.0)), ("original", (512.0, 256.0), (512.0, 256.0))])
def test_the_same_place_in_the_numbers_of_each_mode(mode, told, pixel):
    size, shown = (1024, 1024), (980, 980) if mode == "absolute" else (1024, 1024)
    assert to_pixels(np.array([told]), extent(mode, shown), size)[0] == pytest.approx(pixel)
    assert ("thousandths" in in_words(mode, shown)) == (mode == "relative_1000")


@given(st.integers(1, 500), st.integers(1, 500), st.floats(0, 1), st.floats(0, 1), st.sampled_from(["absolute", "relative_1000", "original"]))
def test_corners_go_to_corners_and_all_else_in_proportion(height, width, x, y, mode):
    reach = extent(mode, (280, 560))
    found = to_pixels(np.array([[0.0, 0.0], [x * reach[0], y * reach[1]], list(reach)]), reach, (height, width))
    assert found == pytest.approx(np.array([[0, 0], [x * width, y * height], [width, height]]), abs=1e-6)


def test_a_little_outside_is_clipped_and_far_outside_is_refused():
    assert to_pixels(np.array([[-3.0, 1005.0]]), (1000.0, 1000.0), (50, 100)).tolist() == [[0, 50]]
    for wrong in ((1024.0, 1200.0), (-150.0, 5.0), (math.nan, 1.0), (math.inf, 1.0)):
        with pytest.raises(ValueError, match="other coordinates than it is set to"):
            to_pixels(np.array([[5.0, 5.0], wrong]), (1000.0, 1000.0), (50, 100))


FULL = {"reasoning": "one holds it there", "visible": True, "boxes": [{"bbox_2d": [10, 20, 110, 60], "label": "handle"}], "points": []}


@pytest.mark.parametrize("text", [
    json.dumps(FULL),
    f"```json\n{json.dumps(FULL, indent=1)}\n```\nThat is the handle.",
    f"<think>perhaps {{\"boxes\": []}}</think>{json.dumps(FULL)}",
    json.dumps(FULL).replace("}],", "},],"),
    json.dumps({**FULL, "boxes": [{"bbox_2d": ["10", "20", "110", "60"], "label": "handle"}]}),
    json.dumps({**FULL, "boxes": [{"bbox_2d": [[10, 20], [110, 60]], "label": "handle"}]}),
    json.dumps({**FULL, "boxes": [{"bbox_2d": [110, 60, 10, 20], "label": "handle"}]}),
    json.dumps({**FULL, "boxes": {"bbox_2d": [10, 20, 110, 60], "label": "handle"}}),
    json.dumps({**FULL, "boxes": FULL["boxes"] * 3}),
    json.dumps({**FULL, "visible": "true"}),
    str(FULL),
])
def test_an_answer_is_read_however_it_is_wrapped(text):
    said = pointing_from(text)
    assert said.things == (HANDLE,) and said.reasoning == "one holds it there"


@pytest.mark.parametrize("text", [
    '```json\n[{"bbox_2d": [10, 20, 110, 60], "label": "handle"}]\n```',
    '[{"bbox_2d": [10, 20, 110, 60], "label": "handle"}, {"bbox_2d": [3, 4',
    '{"reasoning": "", "visible": true, "boxes": [{"bbox_2d": [10, 20, 110, 60], "label": "handle"}, {"bbox_2d": [1, 2',
    '{"boxes": [[10, 20, 110, 60, 3], {"bbox_2d": [10, 20, 110, 60], "label": "handle"}, {"bbox_2d": [1, "x", 3, 4]}]}',
])
def test_of_lists_and_of_what_was_cut_off_the_whole_boxes_count(text):
    assert pointing_from(text).things == (HANDLE,)


@pytest.mark.parametrize("text", [
    json.dumps({**FULL, "visible": False}), json.dumps({**FULL, "visible": False, "boxes": []}), '{"boxes": [], "points": []}', "[]", "```json\n[]\n```"])
def test_what_is_not_visible_has_no_things(text):
    assert pointing_from(text).things == ()


@pytest.mark.parametrize("text", [
    "", "I see a handle on the left.", '{"name": "handle"}', json.dumps({**FULL, "boxes": []}), json.dumps({**FULL, "boxes": [[1, 2, 3]]}),
    '{"visible": true}', '{"boxes": ["left"]}', '{"reasoning": "well", "vis', json.dumps({**FULL, "boxes": [{"bbox_2d": [1, 2, None, True]}]})])
def test_what_points_nowhere_is_no_answer(text):
    assert pointing_from(text) is None


def test_a_point_belongs_to_the_smallest_box_that_holds_it_or_stands_alone():
    text = json.dumps({"visible": True, "boxes": [[0, 0, 100, 100], [10, 10, 40, 40]], "points": [
        {"point_2d": [20, 20], "label": "a"}, {"point_2d": [90, 90]}, [300, 300], {"point_2d": [20, 20], "label": "a"}]})
    assert pointing_from(text).things == (
        Thing((0.0, 0.0, 100.0, 100.0), ((90.0, 90.0),)), Thing((10.0, 10.0, 40.0, 40.0), ((20.0, 20.0),)), Thing(None, ((300.0, 300.0),)))


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
    st.sampled_from(["boxes", "points", "visible", "bbox_2d", "point_2d", "label", "reasoning", "x"]), inner, max_size=4), max_leaves=12), st.integers(0, 400))
def test_whatever_stands_in_an_answer_nothing_breaks_and_all_numbers_are_finite(value, length):
    said = pointing_from(json.dumps(value)[:length])
    for thing in said.things if said else ():
        assert np.isfinite([*(thing.box or ()), *(n for p in thing.points for n in p)]).all()
        assert thing.box is None or (thing.box[0] <= thing.box[2] and thing.box[1] <= thing.box[3])
        assert thing.box is not None or len(thing.points) == 1


def test_the_schema_is_one_that_servers_know_and_takes_what_is_asked_for():
    point = {**FULL, "points": [{"point_2d": [3.5, 4], "label": "knob"}]}
    assert problems(FULL, POINTING_SCHEMA) == [] == problems(point, POINTING_SCHEMA)
    assert problems({**FULL, "boxes": [{"bbox_2d": [1, 2, 3], "label": ""}]}, POINTING_SCHEMA)


def test_the_probability_of_seeing_is_that_of_the_word_that_says_it():
    tokens = [('{"vis', -3.0), ('ible": t', math.log(0.9)), ("rue", math.log(0.5)), (', "boxes": []}', -4.0)]
    assert probability_of_seeing(tokens) == pytest.approx(0.45)
    assert probability_of_seeing([]) == 1 == probability_of_seeing([("handle", -2.0)])
    assert probability_of_seeing([('{"visible": true', -math.inf)]) == 0
