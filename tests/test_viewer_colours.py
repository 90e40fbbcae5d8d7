"""Colours of the surface: the highlight is seen on anything, heat is turbo over a dimmed picture, features keep their colours."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from helpers import named_run
from hypothesis import given, settings
from hypothesis import strategies as st

from semquery.export import part_colors
from semquery.viewer import Heat, Shown, load
from semquery.viewer.colours import COLOURINGS, LIT, TURBO_END, Look, dimmed, heat_colors, pca_basis, point_colors, tinted

ALL = np.array(list(itertools.product(range(0, 256, 51), repeat=3)), np.uint8)  # colours from every corner of the cube
WHITE_AND_BLACK = np.array([[255] * 3, [0] * 3], np.uint8)


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    return Shown(loaded=load(named_run(tmp_path_factory.mktemp("colours"))), level=2)


def difference(one, other):
    """CIEDE2000 between every pair; 2 is just noticed, black and white are 100 apart."""
    from skimage.color import deltaE_ciede2000, rgb2lab

    lab = [rgb2lab(colors[None] / 255)[0] for colors in (one, other)]
    return deltaE_ciede2000(lab[0][:, None], lab[1][None])


def lightness(colors):
    from skimage.color import rgb2lab

    return rgb2lab(colors[None] / 255)[0][:, 0]


# ---------------------------------------------------------------- the selection


def test_no_lit_colour_can_be_taken_for_a_dimmed_one_whatever_the_two_were_before():
    lit, rest = tinted(ALL, np.ones(len(ALL), bool)), tinted(ALL, np.zeros(len(ALL), bool))
    assert difference(lit, rest).min() > 10


def test_what_is_lit_is_lighter_than_it_would_be_dimmed():
    """A spot of some pixels is told by lightness before it is told by hue."""
    lit, rest = tinted(ALL, np.ones(len(ALL), bool)), tinted(ALL, np.zeros(len(ALL), bool))
    assert (lightness(lit) - lightness(rest)).min() > 10


def test_what_is_lit_and_what_is_dimmed_is_seen_on_white_and_on_black():
    lit, rest = tinted(ALL, np.ones(len(ALL), bool)), tinted(ALL, np.zeros(len(ALL), bool))
    assert difference(lit, WHITE_AND_BLACK).min() > 25 and difference(rest, WHITE_AND_BLACK).min() > 10


def test_no_heat_is_taken_for_the_highlight():
    grey = np.full((256, 3), 128, np.uint8)
    assert difference(heat_colors(np.linspace(0, 1, 256), grey), tinted(grey[:1], np.ones(1, bool))).min() > 20


def test_shading_shows_through_the_highlight_and_through_the_dimming():
    ramp = np.repeat(np.arange(0, 256, 15, dtype=np.uint8)[:, None], 3, 1)
    for is_lit in (True, False):
        drawn = tinted(ramp, np.full(len(ramp), is_lit)).astype(int).sum(1)
        assert (np.diff(drawn) > 0).all()


def test_by_hand_one_point_of_three_is_lit():
    colors = np.array([[200, 40, 35], [0, 0, 0], [255, 255, 255]], np.uint8)
    drawn = tinted(colors, np.array([True, False, False]), color=(0, 255, 0))
    np.testing.assert_array_equal(drawn, [[26, 205, 26], [42, 42, 42], [124, 124, 124]])  # the lightness of the red is 87


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000))
def test_a_picture_is_tinted_as_its_pixels_are_and_is_not_changed_itself(seed):
    random = np.random.default_rng(seed)
    image, mask = random.integers(0, 256, (4, 5, 3), np.uint8), random.random((4, 5)) < 0.5
    before = image.copy()
    one_by_one = [[tinted(image[y, x][None], mask[y, x][None])[0] for x in range(5)] for y in range(4)]
    np.testing.assert_array_equal(tinted(image, mask), one_by_one)
    np.testing.assert_array_equal(image, before)


# ---------------------------------------------------------------- heat


def test_heat_is_turbo_with_the_lightness_of_the_picture_and_what_is_below_the_threshold_is_only_dimmed():
    import matplotlib

    under = np.array([[100, 100, 100], [255, 255, 255], [200, 40, 35], [7, 8, 9]], np.uint8)
    value = np.array([0.0, 1.0, 0.5, np.nan], np.float32)
    drawn = heat_colors(value, under)
    for k, (share, grey) in enumerate([(0.0, 100), (1.0, 255), (0.5, 87)]):
        turbo = np.array(matplotlib.colormaps["turbo"](TURBO_END * share)[:3]) * 255
        np.testing.assert_allclose(drawn[k], 0.75 * turbo + 0.25 * grey, atol=2)
    np.testing.assert_array_equal(drawn[3], dimmed(under[3:])[0])


def test_heat_out_of_range_is_the_least_or_the_most_and_pictures_are_drawn_as_their_pixels():
    under = np.random.default_rng(0).integers(0, 256, (2, 3, 3), np.uint8)
    value = np.array([[-1.0, 0.0, np.inf], [1.0, np.nan, -np.inf]])
    drawn = heat_colors(value, under)
    np.testing.assert_array_equal(drawn, heat_colors(np.clip(value, 0, 1), under))
    np.testing.assert_array_equal(drawn.reshape(-1, 3), heat_colors(value.reshape(-1), under.reshape(-1, 3)))


# ---------------------------------------------------------------- features


def slow_colors(features):
    """Principal components by the covariance matrix, one channel at a time."""
    rows = features.astype(np.float64)
    values, vectors = np.linalg.eigh(np.cov(rows.T))
    channels = []
    for axis in vectors[:, np.argsort(-values)[:3]].T:
        axis = -axis if axis[np.abs(axis).argmax()] < 0 else axis
        along = (rows - rows.mean(0)) @ axis
        low, high = np.quantile(along, [0.01, 0.99])
        channels.append(np.clip((along - low) / (high - low), 0, 1) * 255)
    return np.stack(channels, 1)


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), channels=st.integers(3, 8))
def test_features_are_coloured_by_their_three_principal_components(seed, channels):
    random = np.random.default_rng(seed)
    features = (random.normal(size=(50, channels)) * 2.0 ** -np.arange(channels)).astype(np.float16)
    np.testing.assert_allclose(pca_basis(features).colors(features), slow_colors(features), atol=2)


def test_the_colour_of_a_feature_does_not_depend_on_what_else_is_in_the_picture():
    features = np.random.default_rng(0).normal(size=(300, 6)).astype(np.float32)
    basis = pca_basis(features)
    np.testing.assert_array_equal(basis.colors(features)[40:44].reshape(2, 2, 3), basis.colors(features[40:44].reshape(2, 2, 6)))


def test_the_basis_is_the_same_each_time_and_for_the_points_in_another_order():
    random = np.random.default_rng(0)
    many = random.normal(size=(25_000, 5)).astype(np.float16)
    once, again = pca_basis(many), pca_basis(many)
    assert all(np.array_equal(getattr(once, name), getattr(again, name)) for name in ("mean", "axes", "low", "high"))
    few = random.normal(size=(500, 5)) * [5, 4, 3, 2, 1]
    np.testing.assert_allclose(pca_basis(few[::-1]).axes, pca_basis(few).axes, atol=1e-5)


def test_the_basis_of_a_sample_tells_features_apart_as_that_of_all_does(monkeypatch):
    from semquery.viewer import colours

    features = np.random.default_rng(0).normal(size=(5000, 5)) * [8, 4, 2, 1, 1]
    whole = pca_basis(features).colors(features).astype(int)
    monkeypatch.setattr(colours, "SAMPLE", 1000)
    assert np.abs(pca_basis(features).colors(features).astype(int) - whole).mean() < 10


@pytest.mark.parametrize("features", [np.ones((5, 4), np.float16), np.arange(4.0)[:, None], np.eye(2), np.ones((1, 8), np.float32)],
                         ids=["all alike", "one channel", "two channels", "one point"])
def test_features_that_differ_in_fewer_than_three_ways_still_have_colours(features):
    basis = pca_basis(features)
    assert np.isfinite(basis.axes).all() and basis.colors(features).shape == (len(features), 3)
    assert len(np.unique(basis.colors(features), axis=0)) == len(np.unique(features, axis=0))


def test_features_that_are_no_numbers_are_black_and_spoil_no_others():
    features = np.random.default_rng(0).normal(size=(20, 4))
    broken = np.concatenate([features, np.full((1, 4), np.nan)])
    basis = pca_basis(broken)
    np.testing.assert_allclose(basis.axes, pca_basis(features).axes, atol=1e-6)
    assert not basis.colors(broken)[-1].any()


@pytest.mark.parametrize("features", [np.zeros((7, 0), np.float16), np.zeros((0, 8), np.float16), np.full((2, 3), np.nan)])
def test_that_there_are_no_features_is_told(features):
    with pytest.raises(ValueError, match="no features"):
        pca_basis(features)


# ---------------------------------------------------------------- what a state shows


def test_photo_and_parts_are_the_colours_of_the_points_and_of_the_parts_at_the_level(shown):
    surface, colors = shown.loaded.surface, part_colors(5)
    np.testing.assert_array_equal(point_colors(shown, "photo"), surface.colors)
    np.testing.assert_array_equal(point_colors(shown, "parts"), colors[[0] * 4 + [1] * 3 + [2] * 4 + [3]])
    np.testing.assert_array_equal(point_colors(replace(shown, level=1), "parts"), colors[[3] * 7 + [2] * 4 + [3]])


def test_relevancy_is_the_heat_of_the_smallest_parts_and_the_photo_before_anything_was_asked(shown):
    surface = shown.loaded.surface
    np.testing.assert_array_equal(point_colors(shown, "relevancy"), surface.colors)
    heat = Heat("knob", np.array([0.9, 0.8, 0.1, 0.6, 0.3], np.float32))
    drawn = point_colors(replace(shown, heat=heat, threshold=0.5), "relevancy")
    value = np.array([0.9] * 4 + [0.8] * 3 + [np.nan] * 4 + [0.6])
    np.testing.assert_array_equal(drawn, heat_colors(value, surface.colors))


def test_features_are_coloured_by_the_basis_that_is_given_or_by_their_own(shown):
    features = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float16)
    shown = replace(shown, loaded=replace(shown.loaded, surface=replace(shown.loaded.surface, features=features)))
    other = pca_basis(features[:6])
    np.testing.assert_array_equal(point_colors(shown, "features"), pca_basis(features).colors(features))
    np.testing.assert_array_equal(point_colors(shown, "features", other), other.colors(features))


def test_what_cannot_be_coloured_is_told(shown):
    with pytest.raises(ValueError, match="no features"):
        point_colors(shown, "features")
    with pytest.raises(ValueError, match="no part tree yet"):
        point_colors(Shown(), "photo")


def test_at_first_the_scene_is_drawn_as_captured_and_whole():
    assert Look() == Look("photo", 0.0, 1.4, False) and Look().colouring in COLOURINGS and len(LIT) == 3
