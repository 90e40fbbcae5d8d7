"""Cutting out and marking, checked by single pixels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semquery.frames import (
    MARKINGS,
    WIDTH,
    Frame,
    cut_out,
    cut_out_mask,
    meeting,
    moved_inside,
    off_the_border,
    outlined,
    square_around,
    without_specks,
)
from semquery.pictures import OUTLINE

GREY = np.full((60, 80, 3), 100, np.uint8)
numbers = st.floats(-20, 40).map(lambda x: round(x, 2))
lengths = st.floats(0.5, 60).map(lambda x: round(x, 2))
frames = st.builds(Frame, numbers, numbers, lengths, lengths)


def square(size, top, left, height, width) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[top : top + height, left : left + width] = True
    return mask


def is_line(image: np.ndarray) -> np.ndarray:
    return (image == OUTLINE).all(-1)


# ------------------------------------------------------------------ frames


@given(frames, st.floats(0, 1), st.floats(1, 30))
def test_a_square_around_a_frame_has_its_centre_and_the_padding_asked_for(frame, pad, least):
    around = square_around(frame, pad, least)
    assert around.height == around.width == pytest.approx(max(least, (1 + 2 * pad) * frame.longer))
    assert around.top + around.height / 2 == pytest.approx(frame.top + frame.height / 2)
    assert around.left + around.width / 2 == pytest.approx(frame.left + frame.width / 2)


@given(frames, frames)
def test_a_frame_moved_inside_another_lies_in_it_or_around_its_middle(frame, outer):
    moved = moved_inside(frame, outer)
    assert (moved.height, moved.width) == (frame.height, frame.width)
    for start, length, outer_start, outer_length, old in ((moved.top, moved.height, outer.top, outer.height, frame.top),
                                                         (moved.left, moved.width, outer.left, outer.width, frame.left)):
        if length >= outer_length:
            assert start + length / 2 == pytest.approx(outer_start + outer_length / 2, abs=1e-6)
        else:
            assert outer_start - 1e-9 <= start and start + length <= outer_start + outer_length + 1e-9
            if outer_start <= old and old + length <= outer_start + outer_length:
                assert start == old  # it was inside


def test_what_two_frames_share():
    assert meeting(Frame(0.0, 0.0, 10.0, 20.0), Frame(5.0, -5.0, 10.0, 10.0)) == Frame(5.0, 0.0, 5.0, 5.0)


# ------------------------------------------------------------------ cutting out


def test_a_cut_out_shows_what_is_in_the_frame_at_the_size_asked_for():
    image = np.zeros((40, 40, 3), np.uint8)
    image[10:20, 20:30] = (0, 200, 0)
    cut = cut_out(image, Frame(10.0, 20.0, 10.0, 10.0), 50)
    assert cut.shape == (50, 50, 3) and (cut[10:40, 10:40] == (0, 200, 0)).all() and cut[..., 1].min() > 50
    assert cut_out(image, Frame(0.0, 0.0, 10.0, 40.0), 80).shape == (20, 80, 3)


def test_beyond_the_border_a_cut_out_is_white():
    cut = cut_out(GREY, Frame(-10.0, -10.0, 20.0, 20.0), 100)
    assert (cut[:49, :] == 255).all() and (cut[:, :49] == 255).all() and (cut[51:, 51:] == 100).all()


def slow_cut_mask(mask: np.ndarray, frame: Frame, size: tuple[int, int]) -> np.ndarray:
    """Every pixel asks what lies under its centre, and every pixel of the mask asks where its own centre falls."""
    shown = np.zeros(size, bool)
    for y, x in np.ndindex(size):
        row, column = frame.top + (y + 0.5) * frame.height / size[0], frame.left + (x + 0.5) * frame.width / size[1]
        if 0 <= row < mask.shape[0] and 0 <= column < mask.shape[1]:
            shown[y, x] = mask[int(row), int(column)]
    for row, column in zip(*np.nonzero(mask), strict=True):
        y, x = (row + 0.5 - frame.top) * (size[0] / frame.height), (column + 0.5 - frame.left) * (size[1] / frame.width)
        if 0 <= y < size[0] and 0 <= x < size[1]:
            shown[int(y), int(x)] = True
    return shown


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1000), frames, st.integers(1, 30), st.integers(1, 30))
def test_a_cut_out_mask_is_what_lies_under_each_pixel(seed, frame, height, width):
    mask = np.random.default_rng(seed).random((12, 15)) > 0.7
    slow = slow_cut_mask(mask, frame, (height, width))
    found = cut_out_mask(mask, frame, (height, width))
    if height / frame.height < 2:  # larger blocks are rounded
        assert (found == slow).all()
    assert found.any() == slow.any() and 2 * found.sum() >= slow.sum()


def test_no_pixel_is_lost_when_a_mask_is_reduced_and_its_steps_are_rounded_when_it_is_enlarged():
    for at in [(0, 0), (399, 599), (123, 456)]:
        assert cut_out_mask(square((400, 600), *at, 1, 1), Frame(0.0, 0.0, 400.0, 600.0), (20, 30)).sum() == 1
    disc = np.hypot(*(np.indices((20, 20)) - 9.5)) < 7
    large = cut_out_mask(disc, Frame(0.0, 0.0, 20.0, 20.0), (400, 400))
    radius = np.hypot(*(np.indices((400, 400)) - 199.5))
    true = radius < 7 * 20
    assert (large ^ true).sum() < 0.85 * (disc.repeat(20, 0).repeat(20, 1) ^ true).sum()
    one = cut_out_mask(square((8, 8), 3, 4, 1, 1), Frame(0.0, 0.0, 8.0, 8.0), (448, 448))
    assert one[28 + 3 * 56, 28 + 4 * 56] and 0.5 * 56**2 < one.sum() <= 56**2


# ------------------------------------------------------------------ marking


@pytest.mark.parametrize("mask", [square((60, 80), 20, 30, 12, 9), square((60, 80), 20, 30, 1, 1), square((60, 80), 0, 70, 25, 10),
                                  square((60, 80), 0, 0, 60, 40)], ids=["inside", "a pixel", "corner", "half"])
@pytest.mark.parametrize("color", [(100, 100, 100), OUTLINE, (255, 255, 255)], ids=["grey", "red", "white"])
def test_a_line_runs_around_the_part_and_a_white_one_around_that(mask, color):
    image = np.full((60, 80, 3), color, np.uint8)
    drawn, kept = outlined(image, mask), slow_off_the_border(mask, WIDTH + 1)
    away = slow_distance(kept)
    assert (drawn[kept] == color).all()
    assert is_line(drawn)[(away >= 1) & (away <= WIDTH)].all()
    assert (drawn[away == WIDTH + 1] == 255).all() and (drawn[away > WIDTH + 1] == color).all()


def slow_off_the_border(mask: np.ndarray, room: int) -> np.ndarray:
    """Piece after piece, a piece being what can be walked to along rows and columns."""
    kept, left = np.zeros_like(mask), set(zip(*np.nonzero(mask), strict=True))
    while left:
        piece, new = set(), {next(iter(left))}
        while new:
            piece |= new
            new = {(y + dy, x + dx) for y, x in new for dy, dx in ((1, 0), (-1, 0), (0, 1), (0, -1))} & left - piece
        left -= piece
        inner = {(y, x) for y, x in piece if room <= y < mask.shape[0] - room and room <= x < mask.shape[1] - room}
        for at in inner if 2 * len(inner) >= len(piece) else piece:
            kept[at] = True
    return kept


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 25), st.integers(1, 25), st.integers(1, 4))
def test_what_is_taken_off_the_border_is_so_piece_by_piece(seed, height, width, room):
    mask = np.random.default_rng(seed).random((height, width)) > 0.4
    assert (off_the_border(mask, room) == slow_off_the_border(mask, room)).all()


def test_a_part_that_runs_off_the_picture_is_outlined_along_its_border_and_not_only_around_what_stands_on_it():
    table = ~square((60, 80), 20, 30, 20, 20)  # fills the picture around a thing that stands on it
    drawn = outlined(GREY, table)
    line = is_line(drawn)
    for side in (drawn, drawn[::-1], drawn.swapaxes(0, 1), drawn.swapaxes(0, 1)[::-1]):
        assert (side[0, 5:-5] == 255).all() and is_line(side)[1 : 1 + WIDTH, 5:-5].all()
    assert line[20:23, 34:46].all() and not line[WIDTH + 1 : 20, WIDTH + 1 : -WIDTH - 1].any()
    half = is_line(outlined(GREY, square((60, 80), 0, 0, 60, 40)))  # three sides of it on the border
    assert half[30, :7].tolist() == [False, True, True, True, False, False, False]
    assert half[:, 20].tolist() == [False, True, True, True] + 52 * [False] + [True, True, True, False]
    assert half[30, 40 : 40 + WIDTH].all() and not half[:, 50:].any()


def test_what_is_no_wider_than_the_line_is_not_painted_over_along_the_border():
    rail = square((60, 80), 0, 10, 5, 40)
    assert (outlined(GREY, rail)[rail] == 100).all()


def slow_distance(mask: np.ndarray) -> np.ndarray:
    """Steps along rows and columns to the nearest pixel of the mask."""
    marked = np.argwhere(mask)
    return np.array([[np.abs(marked - (y, x)).sum(1).min() for x in range(mask.shape[1])] for y in range(mask.shape[0])])


def test_a_hole_is_outlined_but_not_a_crack_nor_a_speck():
    ring = square((60, 80), 10, 10, 40, 40) & ~square((60, 80), 22, 22, 16, 16)
    assert is_line(outlined(GREY, ring))[22:25, 25:35].all()
    cracked = square((60, 80), 10, 10, 40, 40) & ~square((60, 80), 30, 10, 1, 40)
    cracked[3, 70] = True
    line = is_line(outlined(GREY, cracked))
    assert not line[12:48, 12:48].any() and not line[:, 62:].any()


def test_of_equal_pieces_none_is_a_speck():
    buttons = np.zeros((90, 90), bool)
    for y, x in np.ndindex(9, 9):
        buttons[10 * y + 2 : 10 * y + 6, 10 * x + 2 : 10 * x + 6] = True
    assert (without_specks(buttons) == buttons).all()
    assert not without_specks(np.zeros((4, 4), bool)).any() and without_specks(np.ones((4, 4), bool)).all()


def test_each_style_leaves_the_part_as_it_is_and_takes_away_the_rest():
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    mask = square((60, 80), 20, 30, 20, 20)
    shown = {style: mark(image, mask) for style, mark in MARKINGS.items()}
    for style, picture in shown.items():
        assert (picture[mask] == image[mask]).all() and picture.dtype == np.uint8, style
    assert (shown["black"][~mask] == 0).all() and (shown["white"][~mask] == 255).all()
    assert np.abs(shown["dim"][~mask] - 0.3 * image[~mask]).max() <= 0.5
    assert shown["blur"][~mask].std() < 0.5 * image[~mask].std()
    far = ~square((60, 80), 14, 24, 32, 32)
    assert (shown["outlined"][far] == image[far]).all()
