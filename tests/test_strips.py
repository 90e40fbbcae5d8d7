"""The pictures that answers end with: which views, what stands out, and that every word and every hit is there."""

import numpy as np
import pytest
from helpers import DRAWN, NAMES, small_parts, small_surface
from hypothesis import given
from hypothesis import strategies as st

from semquery import strips
from semquery.frames import Frame
from semquery.pictures import OUTLINE
from semquery.strips import Sight, answer_picture, answers_picture, broken, faded, framed, in_rows, place_picture, place_view, sights_of
from semquery.types import Hit
from semquery.views import repainted

GREY = np.full((40, 60, 3), 100, np.uint8)


def painted(view):
    return repainted(small_surface(), view)


def points(*members: int) -> np.ndarray:
    return np.flatnonzero(np.logical_or.reduce([small_parts().points_of(member) for member in members]))


def hit_of(*members: int, probability: float = 0.87) -> Hit:
    return Hit(members[0], 0.72, ("scene", NAMES[members[0]]), NAMES[members[0]], "it is called so.", 4, (3.0, 0.0, 0.0), members, probability)


def rectangle(size, top, left, height, width) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[top : top + height, left : left + width] = True
    return mask


# ------------------------------------------------------------------ what stands out


def test_what_is_meant_keeps_its_colours_and_all_else_is_mixed_with_grey():
    image, mask = np.array([[[200, 40, 30], [200, 40, 30], [255, 255, 255]]], np.uint8), np.array([[True, False, False]])
    shown = faded(image, mask)
    luma = 0.299 * 200 + 0.587 * 40 + 0.114 * 30
    expected = [0.45 * (0.4 * c + 0.6 * luma) + 0.55 * 228 for c in (200, 40, 30)]
    assert shown[0, 0].tolist() == [200, 40, 30] and shown[0, 1].tolist() == [round(c) for c in expected]
    assert shown[0, 2].min() > 228


def test_a_red_part_among_red_ones_still_stands_out():
    red = np.broadcast_to(np.array([250, 40, 40], np.uint8), (40, 60, 3))
    shown = Sight("view", red, rectangle((20, 30), 5, 10, 8, 8)).lit(Frame(0.0, 0.0, 40.0, 60.0), 80).astype(int)
    inside, outside = shown[32:40, 60:68], shown[:10, :20]
    assert (inside == (250, 40, 40)).all() and np.abs(inside.mean((0, 1)) - outside.mean((0, 1))).max() > 60


# ------------------------------------------------------------------ which views


def slow_worth(view: str, part: int) -> float:
    """Deviations of the points of every drawn pixel, one by one, less where few pixels show the part."""
    drawn = [int(pixel, 16) for row in DRAWN[view] for pixel in row if pixel != "."]
    inside = small_parts().points_of(part)
    spread = sum(float(np.std([small_surface().points[point][axis] for point in drawn])) for axis in range(3))
    return spread * np.sqrt(min(1.0, sum(bool(inside[point]) for point in drawn) / 12))


@pytest.mark.parametrize("part", range(5))
def test_the_view_of_the_place_sees_much_of_the_scene_and_enough_of_the_part(part):
    best = max(DRAWN, key=lambda view: slow_worth(view, part))
    assert place_view(small_surface(), small_parts().points_of(part)) == best


def test_the_place_of_a_knob_is_a_wider_view_than_the_one_that_shows_it_best():
    surface = small_surface()
    surface.point_of_pixel["above"][1:5, :4] = [[0, 7, 7, 8], [1, 9, 10, 9], [2, 10, 8, 7], [3, 8, 9, 10]]
    assert [sight.view for sight in sights_of(surface, points(0), painted)] == ["above", "front"]


def test_every_view_comes_once_and_no_more_than_are_wanted():
    for part in range(5):
        for count in (1, 2, 3):
            views = [sight.view for sight in sights_of(small_surface(), points(part), painted, count)]
            assert len(set(views)) == len(views) <= count and views


def test_what_no_view_shows_has_no_sight_and_no_picture():
    surface = small_surface()
    for view in surface.point_of_pixel.values():
        view[np.isin(view, points(2))] = -1
    assert sights_of(surface, points(2), painted) == []
    assert place_view(surface, small_parts().points_of(2)) is None
    assert answer_picture(surface, [(hit_of(2), points(2))], painted, "plate") is None


# ------------------------------------------------------------------ frames


def test_the_box_of_a_part_is_told_in_pixels_of_the_photo():
    sight = Sight("view", GREY, rectangle((20, 30), 4, 10, 3, 6))
    assert sight.box == Frame(8.0, 20.0, 6.0, 12.0) and sight.whole == Frame(0.0, 0.0, 40.0, 60.0)


@pytest.mark.parametrize("size", [(20, 400), (400, 20)])
def test_of_a_panorama_what_is_around_the_part_is_shown(size):
    mask = rectangle(size, size[0] - 12, size[1] - 12, 6, 6)
    sight = Sight("view", np.full((*size, 3), 100, np.uint8), mask)
    frame = sight.whole
    assert frame.longer == pytest.approx(1.8 * 20) and min(frame.height, frame.width) == 20
    assert frame.top <= sight.box.top and frame.left <= sight.box.left
    assert frame.top + frame.height <= size[0] and frame.left + frame.width <= size[1]


def test_a_small_part_is_framed_and_a_large_one_is_not():
    def dark(mask) -> bool:
        return bool((place_picture(Sight("view", GREY, mask), 200) == 30).all(-1).any())

    assert dark(rectangle((20, 30), 9, 14, 2, 2)) and not dark(rectangle((20, 30), 2, 3, 15, 20))


@given(st.floats(-20, 50), st.floats(-20, 70), st.floats(1, 60), st.floats(1, 60))
def test_a_frame_changes_nothing_inside_it_and_may_reach_over_the_border(top, left, height, width):
    drawn = framed(GREY, Frame(top, left, height, width)) if top < 38 and left < 58 and top + height > 2 and left + width > 2 else GREY
    assert drawn.shape == GREY.shape and set(np.unique(drawn)) <= {30, 100}


# ------------------------------------------------------------------ the strip of one query


def test_the_picture_of_an_answer_has_a_cell_for_each_view_and_hit():
    one = answer_picture(small_surface(), [(hit_of(0), points(0))], painted, "knob", height=60)
    two = answer_picture(small_surface(), [(hit_of(0), points(0)), (hit_of(1), points(1))], painted, "knob", height=60)
    narrow = answer_picture(small_surface(), [(hit_of(0), points(0)), (hit_of(1), points(1))], painted, "knob", height=60, width=70)
    assert two.shape[1] >= one.shape[1] + 60 and (one == OUTLINE).all(-1).any()
    assert narrow.shape[1] < 80 and narrow.shape[0] > 2 * two.shape[0]  # one below the other


def test_the_picture_of_a_group_keeps_the_colours_of_every_member():
    def colours(members) -> set:
        return {tuple(c) for c in answer_picture(small_surface(), [(hit_of(*members), points(*members))], painted, "knobs", height=120).reshape(-1, 3)}

    red, blue = (tuple(small_surface().colors[points(part)[0]].tolist()) for part in (0, 2))
    assert red in colours((0,)) and blue not in colours((0,)) and {red, blue} <= colours((0, 2))


def test_the_words_say_the_query_the_path_and_how_likely_it_is(monkeypatch):
    said = []
    monkeypatch.setattr(strips, "broken", lambda text, size, width: said.append(text) or [text])
    answer_picture(small_surface(), [(hit_of(0, 1), points(0, 1)), (hit_of(2, probability=0.41), points(2))], painted, "all knobs", height=60)
    told = "\n".join(said)
    assert "“all knobs”" in told and "scene / left knob: 87 % likely, 2 parts" in told and "2. scene / plate: 41 % likely (" in told
    assert "72" not in told  # the score is no probability


def test_a_photo_is_read_once_however_many_pictures_show_it():
    read = []
    answer_picture(small_surface(), [(hit_of(part), points(part)) for part in range(4)], lambda view: read.append(view) or painted(view), "part", height=40)
    assert len(read) == len(set(read))


def test_the_picture_is_the_same_every_time():
    one, two = (answer_picture(small_surface(), [(hit_of(0), points(0))], painted, "knob") for _ in range(2))
    assert (one == two).all()


# ------------------------------------------------------------------ the strip of several


def test_the_strip_of_several_questions_has_a_column_for_each_found_or_not(monkeypatch):
    said = []
    monkeypatch.setattr(strips, "broken", lambda text, size, width: said.append(text) or [text])
    none = np.zeros(0, np.int64)
    strip = answers_picture(small_surface(), [("knob", hit_of(0), points(0)), ("submarine", None, none)], painted, side=80)
    assert strip.shape[1] == 2 * 80 + 8 and {"“knob”", "left knob", "“submarine”", "not found here"} <= set(said)
    assert (strip[:, :80] == OUTLINE).all(-1).any() and not (strip[:, 88:] == OUTLINE).all(-1).any()


def test_an_answer_that_no_photo_shows_is_still_told():
    surface = small_surface()
    surface.point_of_pixel.clear()
    assert answers_picture(surface, [("knob", hit_of(0), points(0))], painted, side=80).shape[1] == 80


# ------------------------------------------------------------------ sheets and words


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 40)), min_size=1, max_size=7), st.integers(1, 100))
def test_in_rows_every_picture_is_shown_whole_in_its_order(sizes, width):
    cells = [np.full((*size, 3), k, np.uint8) for k, size in enumerate(sizes)]
    sheet = in_rows(cells, width)
    tops = []
    for k, size in enumerate(sizes):
        rows, columns = np.nonzero((sheet == k).all(-1))
        assert len(rows) == size[0] * size[1] and (np.ptp(rows) + 1, np.ptp(columns) + 1) == size
        tops.append((rows.min(), columns.min()))
    assert tops == sorted(tops) and sheet.shape[1] <= max(width, *(w for _, w in sizes))


@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")) | st.just(" "), max_size=60), st.integers(20, 200))
def test_broken_lines_hold_every_letter_and_fit(text, width):
    from PIL import ImageFont

    lines = broken(text, 14, width)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(ImageFont.load_default(14).getlength(line) <= width - 4 or len(line) == 1 for line in lines)
