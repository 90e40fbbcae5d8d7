"""Crops, outlines and sheets, checked by their pixels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semquery.export import part_colors
from semquery.masks import empty_stack, on_white, stack_masks
from semquery.pictures import OUTLINE, captioned, close_up, contact_sheet, enlarged, grid, outlined, overlay, resized, window

GREY = np.full((20, 30, 3), 100, np.uint8)


def rectangle(size, top, left, height, width) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[top : top + height, left : left + width] = True
    return mask


def test_transparency_becomes_white_in_proportion():
    image = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 100, 200, 51]]], np.uint8)
    assert on_white(image).tolist() == [[[10, 20, 30], [255, 255, 255], [204, 224, 244]]]
    assert on_white(GREY) is GREY


@pytest.mark.parametrize("size", [(7, 50), (40, 60), (3, 4), (20, 30)])
def test_masks_and_labels_are_never_interpolated(size):
    random = np.random.default_rng(0)
    labels = random.choice(np.array([0, 7, 300, 60000], np.uint16), (20, 30))
    small = resized(labels, size, smooth=False)
    assert small.shape == size and small.dtype == np.uint16 and set(small.ravel()) <= {0, 7, 300, 60000}
    mask = resized(labels > 0, size)
    assert mask.dtype == bool and mask.shape == size


def test_doubling_a_mask_repeats_its_pixels():
    mask = np.random.default_rng(0).random((5, 6)) > 0.5
    assert resized(mask, (10, 12)).tolist() == mask.repeat(2, 0).repeat(2, 1).tolist()


@pytest.mark.parametrize(("side", "size"), [(60, (40, 60)), (15, (10, 15)), (1, (1, 1))])
def test_enlarging_sets_the_longer_side(side, size):
    assert enlarged(GREY, side).shape == (*size, 3)


@settings(max_examples=80, deadline=None)
@given(st.data(), st.sampled_from([0.0, 0.2, 1.0]))
def test_a_window_is_a_square_around_the_mask_with_the_padding_asked_for(data, pad):
    top, left = data.draw(st.integers(0, 30)), data.draw(st.integers(0, 30))
    height, width = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 30))
    y, x, side = window(rectangle((60, 60), top, left, height, width), pad)
    assert y <= top and x <= left and y + side >= top + height and x + side >= left + width  # all of it is inside
    assert side >= 8 and side >= (1 + 2 * pad) * max(height, width) and side <= max(8, (1 + 2 * pad) * max(height, width) + 1)
    assert abs((top - y) - (y + side - top - height)) <= 1 and abs((left - x) - (x + side - left - width)) <= 1  # centred


def test_an_outline_runs_just_outside_the_mask():
    mask = rectangle((20, 30), 5, 6, 4, 8)
    drawn = outlined(GREY, mask, width=1)
    line = (drawn == OUTLINE).all(-1)
    for y, x in np.ndindex(20, 30):
        beside = any(0 <= y + b < 20 and 0 <= x + a < 30 and mask[y + b, x + a] for b, a in ((0, 1), (1, 0), (0, -1), (-1, 0)))
        assert line[y, x] == (beside and not mask[y, x])
    assert (drawn[~line] == 100).all()
    assert (outlined(GREY, mask, tint=0.5)[mask] == np.round((100 + np.array(OUTLINE)) / 2)).all()


def test_a_mask_of_another_size_is_laid_over_the_whole_image():
    drawn = outlined(GREY, rectangle((10, 15), 2, 3, 3, 4), width=1, tint=1.0)
    assert ((drawn == OUTLINE).all(-1))[4:10, 6:14].all() and (drawn[11:] == 100).all()


def test_a_close_up_shows_the_part_in_the_middle_of_a_square():
    image = GREY.copy()
    mask = rectangle((20, 30), 6, 10, 8, 8)
    image[mask] = (0, 200, 0)
    crop = close_up(image, mask, side=120, pad=0.25)
    green = (crop[..., 1] > 150) & (crop[..., 0] < 50)  # the edges are smooth
    rows, columns = np.flatnonzero(green.any(1)), np.flatnonzero(green.any(0))
    assert crop.shape == (120, 120, 3) and green[60, 60]
    assert np.ptp(rows) == np.ptp(columns) == pytest.approx(80, abs=8) and abs(rows.mean() - 60) < 2
    assert (crop == OUTLINE).all(-1).any()


def test_beyond_the_pictures_border_a_close_up_is_white():
    crop = close_up(GREY, rectangle((20, 30), 0, 0, 6, 6), side=100, pad=0.5)
    assert (crop[:15, :15] == 255).all() and (crop[-5:, -5:] == 100).all()


def test_an_overlay_mixes_the_colours_of_the_masks_over_each_pixel():
    nested = np.stack([rectangle((20, 30), 2, 2, 12, 20), rectangle((20, 30), 5, 5, 5, 9)])
    shown = overlay(GREY, stack_masks(nested, np.ones(2, np.float32)))
    one, two = part_colors(2).astype(float)
    assert shown[0, 0].tolist() == [100] * 3
    np.testing.assert_allclose(shown[12, 20], 40 + 0.6 * one, atol=1)
    np.testing.assert_allclose(shown[7, 8], 40 + 0.3 * (one + two), atol=1)
    assert (overlay(GREY, empty_stack((10, 15))) == GREY).all()


def test_a_contact_sheet_holds_each_photo_beside_its_masks():
    transparent = np.dstack([GREY, np.zeros((20, 30), np.uint8)])
    sheet = contact_sheet([(GREY, empty_stack((20, 30))), (transparent, empty_stack((20, 30))), (GREY, empty_stack((20, 30)))], side=30)
    assert sheet.shape == (20 + 6 + 20, 60 + 6 + 60, 3)
    assert (sheet[:20, :60] == 100).all() and (sheet[:20, 66:] == 255).all() and (sheet[26:, 66:] == 255).all()


def test_a_grid_puts_pictures_of_any_size_in_rows_on_white():
    cells = [np.full((h, w, 3), i, np.uint8) for i, (h, w) in enumerate([(4, 5), (2, 7), (3, 3)])]
    sheet = grid(cells, columns=2, gap=1)
    assert sheet.shape == (4 + 1 + 4, 7 + 1 + 7, 3)
    assert (sheet[:4, :5] == 0).all() and (sheet[:2, 8:15] == 1).all() and (sheet[5:8, :3] == 2).all()
    assert (sheet == 255).all(-1).sum() == 9 * 15 - 20 - 14 - 9


def test_a_caption_goes_under_the_picture_in_as_many_lines_as_it_takes():
    short, long = captioned(GREY, "knob"), captioned(GREY, "a very long name of a very small knob")
    assert (short[:20] == GREY).all() and (short[20:] < 128).any() and short.shape[1] == 30
    assert long.shape[0] > short.shape[0] and captioned(GREY, "").shape[0] > 20
