"""Where a photo is asked: grids of points and crops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semquery.masks.grid import crop_boxes, point_grid, points_on, scaled_box

SIZES = st.tuples(st.integers(20, 400), st.integers(20, 400))


def test_a_grid_of_two_by_hand():
    assert point_grid(2).tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]


@settings(max_examples=50, deadline=None)
@given(SIZES, st.integers(2, 33))
def test_points_reach_every_side_of_the_crop_to_half_a_cell(size, per_side):
    points = points_on(np.array([7, 3, 7 + size[1], 3 + size[0]]), per_side)
    cell = np.array([size[1], size[0]]) / per_side
    np.testing.assert_allclose(points.min(0), cell / 2)
    np.testing.assert_allclose(points.max(0), np.array([size[1], size[0]]) - cell / 2)
    assert len(points) == per_side**2


def test_the_crops_of_the_original_generator_by_hand():
    """1500 pixels, a third shared: 512 pixels between the two crops of a side, 256 between the four of the next layer."""
    boxes, layers = crop_boxes((1500, 1500), 2, 512 / 1500)
    assert layers.tolist() == [0] + [1] * 4 + [2] * 16
    assert boxes[:5].tolist() == [[0, 0, 1500, 1500], [0, 0, 1006, 1006], [494, 0, 1500, 1006], [0, 494, 1006, 1500], [494, 494, 1500, 1500]]
    assert boxes[5:9, [0, 2]].tolist() == [[0, 567], [311, 878], [622, 1189], [933, 1500]]


@settings(max_examples=60, deadline=None)
@given(SIZES, st.integers(0, 2), st.floats(0, 0.5))
def test_every_layer_covers_the_frame_and_stays_inside(size, num_layers, overlap):
    boxes, layers = crop_boxes(size, num_layers, overlap)
    for layer in range(num_layers + 1):
        seen = np.zeros(size, int)
        for x0, y0, x1, y1 in boxes[layers == layer]:
            assert 0 <= x0 < x1 <= size[1] and 0 <= y0 < y1 <= size[0]
            seen[y0:y1, x0:x1] += 1
        assert seen.min() >= 1 and (layers == layer).sum() == 4**layer


def test_neighbouring_crops_share_what_they_should():
    boxes, layers = crop_boxes((300, 500), 1, 0.2)
    left, right = boxes[layers == 1][:2]
    assert left[2] - right[0] == 60  # a fifth of the shorter side


@pytest.mark.parametrize(("box", "expected"), [([0, 0, 1600, 900], [0, 0, 160, 90]), ([800, 450, 1600, 900], [80, 45, 160, 90]), ([3, 3, 5, 5], [0, 0, 1, 1])])
def test_boxes_are_scaled_to_smaller_pictures_and_never_vanish(box, expected):
    assert scaled_box(np.array(box), (900, 1600), (90, 160)).tolist() == expected


@settings(max_examples=60, deadline=None)
@given(SIZES, st.integers(8, 60))
def test_crops_that_meet_still_meet_when_scaled(size, side):
    factor = side / max(size)
    small = (max(1, round(size[0] * factor)), max(1, round(size[1] * factor)))
    seen = np.zeros(small, bool)
    boxes, layers = crop_boxes(size, 1, 0.0)
    for box in boxes[layers == 1]:
        x0, y0, x1, y1 = scaled_box(box, size, small)
        assert 0 <= x0 < x1 <= small[1] and 0 <= y0 < y1 <= small[0]
        seen[y0:y1, x0:x1] = True
    assert seen.all()
