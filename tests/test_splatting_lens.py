"""Lenses that bend lines: there and back, beside OpenCV, and the pinhole picture that holds a photo."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semquery.splatting.lens import distorted, looked_up, pinhole_of, rays_of, undistorted

PHONE = np.array([0.058, -0.081, -0.001, 0.0002, 0.01])
BARREL = np.array([-0.28, 0.07, 0.0005, -0.0003, -0.005])
NONE = np.zeros(5)
K = np.array([60.0, 62.0, 33.0, 20.0])
lenses = st.tuples(st.floats(-0.1, 0.1), st.floats(-0.02, 0.02), st.floats(-0.003, 0.003), st.floats(-0.003, 0.003), st.floats(-0.01, 0.01)).map(np.array)


@given(lenses, st.integers(0, 10_000))
def test_bent_and_unbent_is_where_it_was(lens, seed):
    points = np.random.default_rng(seed).uniform(-0.7, 0.7, (20, 2))
    np.testing.assert_allclose(undistorted(distorted(points, lens), lens), points, atol=1e-8)


@pytest.mark.parametrize("lens", [PHONE, BARREL])
def test_distortion_is_that_of_opencv(lens):
    cv2 = pytest.importorskip("cv2")
    points = np.random.default_rng(0).uniform(-0.6, 0.6, (50, 2))
    there = cv2.projectPoints(np.c_[points, np.ones(50)], np.zeros(3), np.zeros(3), np.eye(3), lens)[0][:, 0]
    np.testing.assert_allclose(distorted(points, lens), there, atol=1e-12)


def test_a_point_on_an_axis_by_hand():
    lens = np.array([0.1, 0.0, 0.02, 0.03, 0.0])
    np.testing.assert_allclose(distorted(np.array([[2.0, 0.0]]), lens), [[2 * 1.4 + 0.03 * 12, 0.02 * 4]])


def test_what_lies_beyond_the_fold_of_a_lens_is_nowhere():
    lens = np.array([-0.3, 0, 0, 0, 0.0])  # x (1 - .3 x²) is largest at 1.054: .7027
    found = undistorted(np.array([[0.70, 0.0], [0.71, 0.0], [0.0, 5.0]]), lens)
    assert found[0, 0] < 1.0541 and np.isnan(found[1:]).all()


def test_without_a_lens_every_pixel_is_looked_up_at_itself():
    size, intrinsics = pinhole_of((41, 67), K, NONE)
    assert size == (41, 67) and intrinsics is K
    place, inside = looked_up(rays_of((41, 67), K, NONE), size, intrinsics)
    assert inside.all() and place.tolist() == list(range(41 * 67))


@pytest.mark.parametrize("lens, grows", [(PHONE, False), (BARREL, True)])
def test_the_pinhole_picture_is_the_smallest_that_holds_the_whole_photo(lens, grows):
    rays = rays_of((41, 67), K, lens)
    size, intrinsics = pinhole_of((41, 67), K, lens)
    place, inside = looked_up(rays, size, intrinsics)
    assert inside.all() and (size[1] > 67) == grows
    row, column = np.divmod(place, size[1])
    assert row.min() == 0 and column.min() == 0 and row.max() == size[0] - 1 and column.max() == size[1] - 1
    back = np.stack([(column + 0.5 - intrinsics[2]) / intrinsics[0], (row + 0.5 - intrinsics[3]) / intrinsics[1]], 1)
    assert (np.abs(back - rays) * K[:2]).max() <= 0.5 + 1e-9  # pixels


def test_rays_that_miss_the_picture_or_are_none_are_not_inside():
    place, inside = looked_up(np.array([[0.0, 0.0], [9.0, 0.0], [np.nan, 0.0]]), (41, 67), K)
    assert inside.tolist() == [True, False, False] and place.tolist() == [20 * 67 + 33, 0, 0]


def test_a_picture_does_not_grow_without_end():
    size, _ = pinhole_of((41, 67), np.array([20.0, 20.0, 33.0, 20.0]), np.array([-0.117, 0, 0, 0, 0.0]))
    assert size[0] <= 2 * 41 + 1 and size[1] <= 2 * 67 + 1
