"""Intervals against draws that copy objects, by hand, by their coverage; thresholds chosen elsewhere against loops."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.metrics.resampling import (
    NUM_DRAWS,
    auroc_of,
    bounds,
    cross_fitted,
    cross_fitted_interval,
    curve_interval,
    draws,
    f1_of,
    halves,
    interval_of,
    mean_curve_interval,
    mean_interval,
    mean_of,
    micro_f1_interval,
    of_totals,
    paired_cross_fitted,
    paired_interval,
    paired_peaks,
    peak_interval,
    pooled_interval,
    ratio_interval,
    ratio_of,
)
from eval.metrics.retrieval import auroc, f1

GRID = np.array([0.0, 0.25, 0.5, 0.75])


def copied(values, times):
    """The objects of a draw, one after the other, each as often as it was drawn."""
    return np.concatenate([values[[o] * n] for o, n in enumerate(times)])


def curves(seed, objects=6):
    return np.random.default_rng(seed).integers(0, 9, (objects, len(GRID))) / 8


def counts(seed, objects=6):
    return np.random.default_rng(seed).integers(0, 9, (objects, 3, len(GRID)))


# ------------------------------------------------------------------ draws


def test_a_draw_has_as_many_objects_as_there_are_and_its_seed_gives_it_again():
    times = draws(7, 300, 5)
    assert times.shape == (300, 7) and (times.sum(1) == 7).all() and (times >= 0).all()
    expected = np.random.default_rng(5).integers(0, 7, (300, 7))
    assert times.tolist() == [[list(row).count(o) for o in range(7)] for row in expected]
    assert (times == draws(7, 300, 5)).all() and (times != draws(7, 300, 6)).any()
    assert abs(draws(7).mean(0) - 1).max() < 0.1 and len(draws(7)) == NUM_DRAWS


def test_bounds_hold_the_middle_ninety_five_percent_of_what_is_a_number():
    assert bounds(np.append(np.arange(101.0), [np.nan, np.inf])) == (2.5, 97.5)
    assert all(math.isnan(x) for x in bounds(np.full(3, np.nan)))


# ------------------------------------------------------------------ pools


@given(st.integers(0, 1000))
def test_pools_equal_those_of_copied_objects(seed):
    random = np.random.default_rng(seed)
    values, of = curves(seed), counts(seed)
    values[random.random(values.shape) < 0.3] = np.nan
    for row, times in enumerate(draws(6, 5, seed)):
        chosen = copied(values, times)
        known = [chosen[~np.isnan(chosen[:, t]), t] for t in range(len(GRID))]
        expected = [np.mean(column) if len(column) else np.nan for column in known]
        np.testing.assert_allclose(mean_of(values, draws(6, 5, seed))[row], expected)
        total = copied(of, times).sum(0)
        np.testing.assert_allclose(f1_of(of, draws(6, 5, seed))[row], f1(*total))
        share = [a / b if b else np.nan for a, b in total[:2].T]
        np.testing.assert_allclose(ratio_of(of[:, :2], draws(6, 5, seed))[row], share)
        spread = of_totals(lambda total: total[:, 0] - total[:, 2])(of, draws(6, 5, seed))[row]
        np.testing.assert_allclose(spread, total[0] - total[2])


@given(st.integers(0, 1000))
def test_auroc_of_a_draw_is_that_of_its_objects_queries_one_after_the_other(seed):
    random = np.random.default_rng(seed)
    present, absent = random.integers(0, 5, 12) / 4, random.integers(0, 5, 9) / 4
    of_present, of_absent = random.integers(0, 4, 12), random.integers(0, 4, 9)
    times = draws(4, 8, seed)
    got = auroc_of(present, of_present, absent, of_absent, times)
    for row, often in enumerate(times):
        a = np.repeat(present, often[of_present])
        b = np.repeat(absent, often[of_absent])
        assert got[row] == pytest.approx(auroc(a, b), nan_ok=True)


# ------------------------------------------------------------------ intervals


@given(st.integers(0, 500))
def test_intervals_equal_those_of_copied_objects(seed):
    random = np.random.default_rng(seed)
    values, numbers = random.random(5), random.integers(1, 9, 5)
    drawn = [copied(values, times).mean() for times in draws(5, 50, seed)]
    assert mean_interval(values, 50, seed) == pytest.approx((values.mean(), *np.quantile(drawn, [0.025, 0.975])))
    tops = values * numbers
    drawn = [copied(tops, times).sum() / copied(numbers, times).sum() for times in draws(5, 50, seed)]
    assert ratio_interval(tops, numbers, 50, seed) == pytest.approx((tops.sum() / numbers.sum(), *np.quantile(drawn, [0.025, 0.975])))


def test_the_interval_of_two_objects_by_hand():
    """Of two objects a quarter of the draws has the first twice, a quarter the second twice: the bounds are the values."""
    assert mean_interval(np.array([0.2, 0.8])) == (0.5, pytest.approx(0.2), pytest.approx(0.8))
    assert ratio_interval(np.array([1, 9]), np.array([10, 10])) == (0.5, pytest.approx(0.1), pytest.approx(0.9))
    assert mean_interval(np.full(5, 0.3)) == pytest.approx((0.3, 0.3, 0.3))


def test_one_object_has_no_bounds_and_none_has_no_value():
    one = curves(0)[:1]
    for low in (
        mean_interval(one[0, :1])[1:], ratio_interval(np.array([1]), np.array([2]))[1:], mean_curve_interval(one)[1:].ravel(),
        peak_interval(one, GRID).fixed, peak_interval(one, GRID).maximised, paired_interval(one[0, :1], one[0, :1])[1:],
        paired_peaks(one, one).fixed, cross_fitted_interval(one, halves(1))[1:], interval_of(lambda times: np.ones(len(times)), 0),
        [cross_fitted(one, halves(1))], mean_interval(np.zeros(0)), mean_interval(np.array([np.nan])),
    ):
        assert np.isnan(low).all()
    assert peak_interval(one, GRID).value == one.max() and mean_interval(one[0, :1])[0] == one[0, 0]


def test_objects_that_bring_nothing_to_measure_do_not_pass_for_objects():
    values = np.array([0.2, np.nan, 0.8, np.nan])
    assert mean_interval(values) == mean_interval(values[[0, 2]])
    assert np.isnan(mean_interval(np.array([0.4, np.nan, np.nan]))[1:]).all()
    assert ratio_interval(np.array([1, 0, 3]), np.array([2, 0, 4])) == ratio_interval(np.array([1, 3]), np.array([2, 4]))
    of = np.concatenate([counts(1), np.zeros((2, 3, len(GRID)), int)])
    assert micro_f1_interval(of, GRID) == micro_f1_interval(counts(1), GRID)
    with_gap = np.concatenate([curves(1), np.full((1, len(GRID)), np.nan)])
    assert peak_interval(with_gap, GRID) == peak_interval(curves(1), GRID)


def test_intervals_hold_the_true_mean_nearly_nineteen_times_in_twenty():
    """Percentile bootstraps of 30 objects are a little narrow."""
    random = np.random.default_rng(0)
    inside = [low < 0.5 < high for _, low, high in (mean_interval(random.random(30), num=400) for _ in range(400))]
    assert 0.9 < np.mean(inside) < 0.98


def test_a_curves_band_is_the_interval_of_every_threshold():
    values = curves(3)
    band = mean_curve_interval(values)
    for t in range(len(GRID)):
        assert tuple(band[:, t]) == pytest.approx(mean_interval(values[:, t]))
    of = counts(3)
    for t in range(len(GRID)):
        assert tuple(curve_interval(of, f1_of)[:, t]) == pytest.approx(pooled_interval(of[:, :, t], f1_of))


# ------------------------------------------------------------------ peaks


@settings(max_examples=50)
@given(st.integers(0, 300))
def test_peaks_equal_those_of_copied_objects(seed):
    for per_object, curve_of in ((curves(seed), lambda x: x.mean(0)), (counts(seed) + 1, lambda x: f1(*x.sum(0)))):
        pool = mean_of if per_object.ndim == 2 else f1_of
        whole = curve_of(per_object)
        best = int((whole > whole.max() - 1e-9).argmax())
        drawn = [curve_of(copied(per_object, times)) for times in draws(6, 40, seed)]
        chosen = [GRID[(c > c.max() - 1e-9).argmax()] for c in drawn]
        got = peak_interval(per_object, GRID, pool, 40, seed)
        assert (got.value, got.threshold) == (pytest.approx(whole.max()), GRID[best])
        assert got.fixed == pytest.approx(tuple(np.quantile([c[best] for c in drawn], [0.025, 0.975])))
        assert got.maximised == pytest.approx(tuple(np.quantile([c.max() for c in drawn], [0.025, 0.975])))
        assert got.moved == pytest.approx(tuple(np.quantile(chosen, [0.025, 0.975])))
        assert got.maximised[1] >= got.fixed[1] - 1e-12 and got.maximised[0] >= got.fixed[0] - 1e-12


def test_a_peak_by_hand():
    per_object = np.array([[0.1, 0.6, 0.5, 0.0], [0.3, 0.8, 0.5, 0.0]])
    got = peak_interval(per_object, GRID)
    assert (got.value, got.threshold, got.moved) == (pytest.approx(0.7), 0.25, (0.25, 0.25))
    assert got.fixed == got.maximised == (pytest.approx(0.6), pytest.approx(0.8))
    assert micro_f1_interval(np.array([[[3, 1], [1, 0], [0, 2]]] * 2), GRID[:2]).value == pytest.approx(12 / 14)


def test_a_peak_of_nothing_is_nan():
    got = peak_interval(np.full((3, 4), np.nan), GRID)
    assert np.isnan([got.value, got.threshold, *got.fixed, *got.maximised, *got.moved]).all()


# ------------------------------------------------------------------ two methods


@settings(max_examples=50)
@given(st.integers(0, 300))
def test_differences_equal_those_of_copied_pairs(seed):
    for first, second, pool, curve_of in (
        (curves(seed), curves(seed + 1), mean_of, lambda x: x.mean(0)),
        (counts(seed) + 1, counts(seed + 1) + 1, f1_of, lambda x: f1(*x.sum(0))),
    ):
        a, b = (int((c > c.max() - 1e-9).argmax()) for c in (curve_of(first), curve_of(second)))
        drawn = [(curve_of(copied(first, times)), curve_of(copied(second, times))) for times in draws(6, 40, seed)]
        got = paired_peaks(first, second, pool, 40, seed)
        assert got.value == pytest.approx(curve_of(second).max() - curve_of(first).max())
        assert got.fixed == pytest.approx(tuple(np.quantile([y[b] - x[a] for x, y in drawn], [0.025, 0.975])))
        assert got.maximised == pytest.approx(tuple(np.quantile([y.max() - x.max() for x, y in drawn], [0.025, 0.975])))
        at = (first[..., 0], second[..., 0])
        expected = np.quantile([y[0] - x[0] for x, y in drawn], [0.025, 0.975])
        assert paired_interval(*at, pool, 40, seed)[1:] == pytest.approx(tuple(expected))


def test_a_gain_on_every_object_is_sure_where_the_methods_alone_overlap():
    first = np.random.default_rng(0).random(30)
    second = first + 0.05
    assert paired_interval(first, second) == pytest.approx((0.05, 0.05, 0.05))
    assert mean_interval(first)[2] > mean_interval(second)[1]


@settings(max_examples=15)
@given(st.integers(0, 200))
def test_a_method_gains_nothing_over_itself_and_differences_turn_over(seed):
    first, second, half = curves(seed), curves(seed + 1), halves(6, seed)
    assert paired_peaks(first, first).maximised == (0, 0) and paired_cross_fitted(first, first, half) == (0, 0, 0)
    gain, loss = paired_peaks(first, second), paired_peaks(second, first)
    assert gain.value == -loss.value and gain.fixed == pytest.approx((-loss.fixed[1], -loss.fixed[0]))


def test_objects_that_one_method_lacks_are_left_out_of_the_difference():
    first, second = np.array([0.1, np.nan, 0.5, 0.7]), np.array([0.2, 0.9, np.nan, 0.9])
    assert paired_interval(first, second)[0] == pytest.approx((0.1 + 0.2) / 2)
    with pytest.raises(ValueError, match=r"\(4,\), \(3,\)"):
        paired_interval(first, second[:3])


# ------------------------------------------------------------------ thresholds chosen elsewhere


@settings(max_examples=60)
@given(st.integers(0, 500), st.booleans())
def test_cross_fitting_equals_choosing_on_one_half_and_using_it_on_the_other(seed, micro):
    per_object = counts(seed, 7) + 1 if micro else curves(seed, 7)
    pool, half = (f1_of, halves(7, seed)) if micro else (mean_of, halves(7, seed))

    def curve_of(x):
        return f1(*x.sum(0)) if micro else x.mean(0)

    def both_ways(x, half):
        chosen = [(c > c.max() - 1e-9).argmax() for c in (curve_of(x[half]), curve_of(x[~half]))]
        held_out = np.stack([x[o][..., chosen[int(half[o])]] for o in range(len(x))])
        return curve_of(held_out)

    assert cross_fitted(per_object, half, pool) == pytest.approx(both_ways(per_object, half))
    drawn = []
    for times in draws(7, 30, seed):
        which = copied(half, times)
        drawn.append(both_ways(copied(per_object, times), which) if which.any() and not which.all() else np.nan)
    expected = bounds(np.array(drawn))
    assert cross_fitted_interval(per_object, half, pool, 30, seed)[1:] == pytest.approx(expected, nan_ok=True)


@given(st.integers(0, 500), st.integers(2, 9))
def test_no_cross_fitted_mean_exceeds_the_peak_however_unequal_the_halves(seed, objects):
    random = np.random.default_rng(seed)
    half = halves(objects, seed) if seed % 2 else np.arange(objects) < random.integers(1, objects)
    values, number = curves(seed, objects), random.integers(1, 9, objects)
    weighed = np.stack([values * number[:, None], np.broadcast_to(number[:, None], values.shape)], axis=1)
    with_gaps = values.copy()
    with_gaps[random.random(objects) < 0.3] = np.nan
    for per_object, pool in ((values, mean_of), (weighed, ratio_of), (with_gaps, mean_of)):
        assert not cross_fitted(per_object, half, pool) > peak_interval(per_object, GRID, pool, 1).value + 1e-12


def test_a_cross_fitted_micro_f1_may_exceed_the_peak_where_denominators_depend_on_the_threshold():
    """Each half is best where the other is poor; at the other's threshold the good half has the more nodes to weigh with."""
    good, poor = [[100, 82], [25, 0], [0, 18]], [[100, 5], [1800, 0], [0, 95]]
    per_object, half = np.array([good, poor]), np.array([True, False])
    assert cross_fitted(per_object, half, f1_of) == pytest.approx((200 + 10) / (225 + 105))
    assert peak_interval(per_object, GRID[:2], f1_of).value == pytest.approx((164 + 10) / (182 + 105))


def test_cross_fitting_takes_back_what_a_peak_gains_by_chance():
    """Curves of noise around ½: the peak is above it, the cross-fitted value is not on average."""
    random = np.random.default_rng(0)
    peaks, fitted = [], []
    for seed in range(200):
        noise = random.random((20, 50))
        peaks.append(noise.mean(0).max())
        fitted.append(cross_fitted(noise, halves(20, seed)))
    assert np.mean(peaks) > 0.6 and abs(np.mean(fitted) - 0.5) < 0.02


def test_cross_fitting_by_hand():
    """The first half is best at .25 and the second at .5: each is judged where the other is best. Objects, not halves, weigh alike."""
    per_object = np.array([[0.0, 0.8, 0.6, 0.0], [0.0, 0.2, 0.4, 0.1]])
    half = np.array([True, False])
    assert cross_fitted(per_object, half) == pytest.approx((0.2 + 0.6) / 2)
    assert cross_fitted(per_object[[0, 0, 1]], half[[0, 0, 1]]) == pytest.approx((0.2 + 0.6 + 0.6) / 3)


def test_halves_split_evenly_by_their_seed():
    assert [halves(n).sum() for n in (0, 1, 2, 7, 100)] == [0, 1, 1, 4, 50]
    assert (halves(100, 1) == halves(100, 1)).all() and (halves(100, 1) != halves(100, 2)).any()


def test_paired_cross_fitting_is_the_difference_of_both():
    first, second, half = curves(1), curves(2), halves(6)
    gain, low, high = paired_cross_fitted(first, second, half)
    assert gain == pytest.approx(cross_fitted(second, half) - cross_fitted(first, half)) and low <= high
