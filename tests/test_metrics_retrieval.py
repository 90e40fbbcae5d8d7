"""Overlap, right and wrong nodes and rankings against loops over sets, by hand, by their axioms, and the floors in closed form."""

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from eval.metrics.retrieval import (
    THRESHOLDS,
    area_under,
    auroc,
    average_precision,
    confusion,
    f1,
    first_highest,
    iou_curves,
    known_mean,
    peak,
    random_confusion,
    random_iou,
    retrieve_all_f1,
    retrieve_all_iou,
    width,
    wins,
)

# root 4 ── 3 ── leaves 0, 1; leaf 2 beside 3. Every leaf is an atom.
HOLDS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 1, 1]], bool)
WEIGHT = np.array([1.0, 3.0, 4.0])


@dataclass
class Case:
    holds: np.ndarray
    weight: np.ndarray
    positive: np.ndarray
    relevancy: np.ndarray


@st.composite
def cases(draw):
    """Any sets, nested or not, whole weights (some 0), several queries, relevancies that often tie and often meet a threshold."""
    p, a, k = draw(st.integers(1, 6)), draw(st.integers(1, 6)), draw(st.integers(1, 4))
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    levels = draw(st.sampled_from([2, 4, 10, 37]))
    relevancy = random.integers(0, levels + 1, (p, k)) / levels
    kind = draw(st.sampled_from([np.float32, np.float64]))
    return Case(random.random((p, a)) < 0.5, random.integers(0, 4, a).astype(float), random.random((p, k)) < 0.4, relevancy.astype(kind))


def slow_iou(case, thresholds):
    """Sets of atoms, one query and one threshold at a time."""
    sets = [{a for a in range(len(case.weight)) if row[a]} for row in case.holds]
    weigh = lambda atoms: sum(case.weight[a] for a in atoms)  # noqa: E731
    curves = np.zeros((case.positive.shape[1], len(thresholds)))
    for (k, of_query), (i, t) in product(enumerate(case.relevancy.T), enumerate(thresholds)):
        truth = set().union(*(s for s, is_meant in zip(sets, case.positive[:, k], strict=True) if is_meant))
        found = set().union(*(s for s, r in zip(sets, of_query, strict=True) if float(r) > float(t)))
        curves[k, i] = weigh(truth & found) / weigh(truth | found) if weigh(truth) else math.nan
    return curves


def slow_confusion(case, thresholds, counted):
    p, k = case.positive.shape
    out = np.zeros((3, k, len(thresholds)), int)
    for v, q, i in product(range(p), range(k), range(len(thresholds))):
        if counted[v, q]:
            found = float(case.relevancy[v, q]) > float(thresholds[i])
            if case.positive[v, q]:
                out[0 if found else 2, q, i] += 1
            elif found:
                out[1, q, i] += 1
    return out


def slow_average_precision(case, counted):
    """For every positive: the share of positives among all that are at least as relevant."""
    values = []
    for q in range(case.positive.shape[1]):
        of = [v for v in range(len(case.positive)) if counted[v, q]]
        good = [v for v in of if case.positive[v, q]]
        shares = []
        for v in good:
            above = [u for u in of if case.relevancy[u, q] >= case.relevancy[v, q]]
            shares.append(sum(u in good for u in above) / len(above))
        values.append(np.mean(shares) if shares else math.nan)
    return np.array(values)


# ------------------------------------------------------------------ overlap


@settings(max_examples=120)
@given(cases())
def test_overlap_equals_that_of_sets(case):
    got = iou_curves(case.holds, case.weight, case.positive, case.relevancy)
    np.testing.assert_array_equal(got, slow_iou(case, THRESHOLDS))


def test_overlap_by_hand():
    """Group 3 is meant; r falls from 2 (wrong) over 0 to the root."""
    positive, relevancy = np.zeros((5, 1), bool), np.array([[0.5], [0], [0.8], [0], [0.2]])
    positive[3] = True
    curve = iou_curves(HOLDS, WEIGHT, positive, relevancy, np.array([0.0, 0.2, 0.5, 0.8]))[0]
    assert curve.tolist() == [4 / 8, 1 / 8, 0, 0]  # everything; leaves 0 and 2; leaf 2; nothing


def test_the_oracle_overlaps_and_retrieves_exactly_at_every_threshold_below_one():
    random = np.random.default_rng(0)
    weight = random.random(3)
    names = np.array([0, 1, 0, 2, 3])
    positive = names[:, None] == np.arange(4)[None]
    relevancy = positive.astype(np.float32)
    curves = iou_curves(HOLDS, weight, positive, relevancy)
    assert (curves[:, :-1] == 1).all() and (curves[:, -1] == 0).all()
    assert (f1(*confusion(positive, relevancy))[:, :-1] == 1).all()
    assert average_precision(positive, relevancy).tolist() == [1] * 4
    assert area_under(curves) == pytest.approx(1) and width(curves[0]) == peak(curves[0])[0] == 1


@given(cases(), st.randoms(use_true_random=False))
def test_the_order_of_nodes_queries_and_atoms_changes_nothing(case, random):
    p, a, k = (random.sample(range(n), n) for n in (*case.holds.shape, case.positive.shape[1]))
    positive, relevancy = case.positive[p][:, k], case.relevancy[p][:, k]
    turned = iou_curves(case.holds[p][:, a], case.weight[a], positive, relevancy)
    np.testing.assert_array_equal(turned, iou_curves(case.holds, case.weight, case.positive, case.relevancy)[k])
    for one, other in zip(confusion(positive, relevancy), confusion(case.positive, case.relevancy), strict=True):
        np.testing.assert_array_equal(one, other[k])
    np.testing.assert_allclose(average_precision(positive, relevancy), average_precision(case.positive, case.relevancy)[k])


@given(cases(), st.data())
def test_splitting_an_atom_in_two_changes_nothing(case, data):
    atom = data.draw(st.integers(0, len(case.weight) - 1))
    holds = np.concatenate([case.holds, case.holds[:, [atom]]], axis=1)
    weight = np.append(case.weight, case.weight[atom] / 4)
    weight[atom] *= 3 / 4
    np.testing.assert_allclose(
        iou_curves(holds, weight, case.positive, case.relevancy), iou_curves(case.holds, case.weight, case.positive, case.relevancy))


def test_a_relevancy_that_equals_the_threshold_is_not_above_it_and_numbers_are_taken_as_they_are():
    positive = np.ones((1, 1), bool)
    for i, t in enumerate(THRESHOLDS):
        tp, _, fn = confusion(positive, np.array([[t]]))
        assert tp[0].tolist() == [1] * i + [0] * (101 - i) and (tp + fn == 1).all()
    near = confusion(positive, np.array([[0.8]], np.float32))[0][0]
    assert near[80] == 1 and near[81] == 0  # the float32 next to .8 is larger than .8
    assert THRESHOLDS[[29, 57, 80]].tolist() == [0.29, 0.57, 0.8]


def test_queries_that_weigh_nothing_are_left_out_of_means():
    holds, weight = np.eye(2, dtype=bool), np.array([1.0, 0.0])
    curves = iou_curves(holds, weight, np.eye(2, dtype=bool), np.eye(2))
    assert np.isnan(curves[1]).all() and np.isnan(curves).all(1).sum() == 1
    assert known_mean(curves)[:-1].tolist() == [1] * 100
    assert np.isnan(known_mean(curves[1:])).all()


# ------------------------------------------------------------------ right and wrong nodes


@settings(max_examples=80)
@given(cases(), st.integers(0, 1000))
def test_right_and_wrong_nodes_equal_a_count_one_by_one(case, seed):
    counted = np.random.default_rng(seed).random(case.positive.shape) < 0.8
    np.testing.assert_array_equal(confusion(case.positive, case.relevancy, counted=counted), slow_confusion(case, THRESHOLDS, counted))
    everything = np.ones_like(counted)
    np.testing.assert_array_equal(confusion(case.positive, case.relevancy), slow_confusion(case, THRESHOLDS, everything))


@given(cases())
def test_a_higher_threshold_retrieves_no_more(case):
    tp, fp, fn = confusion(case.positive, case.relevancy)
    assert (np.diff(tp) <= 0).all() and (np.diff(fp) <= 0).all() and (np.diff(fn) >= 0).all()
    assert (tp + fn == case.positive.sum(0)[:, None]).all() and (fp <= (~case.positive).sum(0)[:, None]).all()


def test_f1_by_hand_and_without_anything_to_find():
    assert f1(np.array([2, 0, 0]), np.array([1, 0, 5]), np.array([1, 3, 0])).tolist()[:2] == [4 / 6, 0]
    assert np.isnan(f1(np.array([0]), np.array([5]), np.array([0])))


def test_micro_f1_weighs_nodes_and_macro_f1_weighs_queries():
    positive = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], bool)
    relevancy = np.array([[0.9, 0], [0.9, 0], [0.9, 0], [0, 0]])  # the first query finds all three, the second nothing
    counts = confusion(positive, relevancy, np.array([0.5]))
    assert known_mean(f1(*counts)).tolist() == [0.5]
    assert f1(*(c.sum(0) for c in counts)).tolist() == [6 / 7]


# ------------------------------------------------------------------ floors


@given(cases())
def test_retrieving_everything_scores_its_closed_form_in_the_general_code(case):
    everything = np.ones_like(case.relevancy)
    curves = iou_curves(case.holds, case.weight, case.positive, everything)
    np.testing.assert_array_equal(curves[:, 0], retrieve_all_iou(case.holds, case.weight, case.positive))
    counts = [c.sum(0) for c in confusion(case.positive, everything)]
    closed = retrieve_all_f1(int(case.positive.sum()), case.positive.size)
    assert (math.isnan(closed) and np.isnan(f1(*counts)).all()) or (f1(*counts)[:-1] == closed).all()
    ranked = average_precision(case.positive, everything)
    np.testing.assert_allclose(ranked, np.where(case.positive.any(0), case.positive.mean(0), np.nan))


def test_the_floor_of_retrieving_everything_by_hand():
    """Three leaves of weights 1 3 4, each asked for, in a tree of five nodes; and F1 of 3 positives among 15 decisions."""
    assert retrieve_all_iou(HOLDS, WEIGHT, np.eye(5, 3, dtype=bool)).tolist() == [1 / 8, 3 / 8, 4 / 8]
    assert retrieve_all_f1(3, 15) == 2 * 3 / (3 + 15)


def test_random_relevancies_score_their_closed_forms():
    """Counts in expectation exactly; the ratio of expected overlaps near the mean overlap, and equal at both ends."""
    random = np.random.default_rng(0)
    positive = np.array([[1, 0], [0, 0], [1, 0], [0, 1], [0, 0]], bool)
    lots = random.random((4000, 5, 2))
    thresholds = np.arange(0, 1.01, 0.1)
    counts = np.mean([confusion(positive, lot, thresholds) for lot in lots], 0)
    np.testing.assert_allclose(counts, np.array(random_confusion(positive, thresholds)), atol=0.08)
    overlaps = np.mean([iou_curves(HOLDS, WEIGHT, positive, lot, thresholds) for lot in lots], 0)
    closed = random_iou(HOLDS, WEIGHT, positive, thresholds)
    np.testing.assert_array_equal(closed[:, [0, -1]], overlaps[:, [0, -1]])
    np.testing.assert_array_equal(closed[:, 0], retrieve_all_iou(HOLDS, WEIGHT, positive))
    assert abs(closed - overlaps).max() < 0.05


# ------------------------------------------------------------------ rankings


@settings(max_examples=120)
@given(cases(), st.integers(0, 1000))
def test_average_precision_equals_a_loop_over_positives(case, seed):
    counted = np.random.default_rng(seed).random(case.positive.shape) < 0.8
    np.testing.assert_allclose(average_precision(case.positive, case.relevancy, counted), slow_average_precision(case, counted))
    np.testing.assert_allclose(
        average_precision(case.positive, case.relevancy), slow_average_precision(case, np.ones_like(counted)))


@settings(max_examples=20)
@given(cases())
def test_average_precision_is_scikit_learns(case):
    sklearn = pytest.importorskip("sklearn.metrics")
    assume(case.positive[:, 0].any())
    expected = sklearn.average_precision_score(case.positive[:, 0], case.relevancy[:, 0])
    assert average_precision(case.positive, case.relevancy)[0] == pytest.approx(expected)


def test_average_precision_by_hand_with_equals():
    """Right at .9; then one right and one wrong at .5 together; a last right one at .1: precisions 1, 2/3 and 3/4."""
    positive = np.array([[1], [1], [0], [1]], bool)
    relevancy = np.array([[0.9], [0.5], [0.5], [0.1]])
    assert average_precision(positive, relevancy)[0] == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)


def test_auroc_by_hand():
    assert auroc(np.array([0.9, 0.5]), np.array([0.5, 0.1])) == (1 + 1 + 0.5 + 1) / 4
    assert math.isnan(auroc(np.array([0.9]), np.array([])))
    many = np.arange(200_000) / 200_000  # of which no table of pairs fits into memory
    assert auroc(many, many) == 0.5 and auroc(many + 0.5, many) == pytest.approx(7 / 8)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=20), st.lists(st.integers(0, 5), min_size=1, max_size=20))
def test_auroc_is_blind_to_monotone_maps_and_turns_over_with_its_sides(present, absent):
    a, b = np.array(present, float), np.array(absent, float)
    assert auroc(a, b) == pytest.approx(auroc(np.exp(a), np.exp(b)))
    assert auroc(a, b) == pytest.approx(1 - auroc(b, a))
    assert wins(a, b).tolist() == [sum(1 if x > y else 0.5 if x == y else 0 for y in b) for x in a]


# ------------------------------------------------------------------ curves


def test_area_peak_and_width_by_hand():
    thresholds = np.array([0, 0.2, 0.5, 0.6, 1])
    curve = np.array([0.5, 0.95, 1.0, 0.4, 0.99])
    assert area_under(curve, thresholds) == pytest.approx(0.5 * 0.2 + 0.95 * 0.3 + 1 * 0.1 + 0.4 * 0.4)
    assert peak(curve, thresholds) == (1, 0.5)
    assert width(curve, thresholds) == pytest.approx(0.6 - 0.2)  # the hill at 1 lies apart
    assert width(curve, thresholds, share=0.3) == 1
    assert width(curve, thresholds, share=1) == pytest.approx(0.1)


def test_a_curve_of_zeros_has_no_width_and_one_of_nan_no_peak():
    assert width(np.zeros(101)) == 0 and peak(np.zeros(101)) == (0, 0)
    assert all(math.isnan(x) for x in peak(np.full(101, np.nan))) and width(np.full(101, np.nan)) == 0


def test_the_noise_of_adding_up_does_not_move_a_peak():
    curves = np.array([[0.3, 0.1 + 0.2, 0.1], [np.nan, 0.1, 0.4]])
    assert first_highest(curves).tolist() == [0, 2] and curves[0].argmax() == 1


@given(st.lists(st.integers(0, 10), min_size=2, max_size=30), st.sampled_from([0.5, 0.9, 1.0]))
def test_width_walks_from_the_peak_to_both_sides(values, share):
    curve = np.array(values) / 10
    thresholds = np.linspace(0, 1, len(curve))
    assume(curve.max() > 0)
    low = high = int(curve.argmax())
    while low > 0 and curve[low - 1] >= share * curve.max():
        low -= 1
    while high < len(curve) - 1 and curve[high] >= share * curve.max():
        high += 1
    assert width(curve, thresholds, share) == pytest.approx(thresholds[high] - thresholds[low])


@given(cases())
def test_area_is_exact_where_relevancies_are_thresholds(case):
    """The integral over every real threshold of a query's recall is the mean relevancy of what it means."""
    relevancy = np.round(case.relevancy.astype(float), 2)
    tp, _, fn = confusion(case.positive, relevancy)
    for q in range(relevancy.shape[1]):
        if case.positive[:, q].any():
            assert area_under((tp / np.maximum(tp + fn, 1))[q]) == pytest.approx(relevancy[case.positive[:, q], q].mean())


# ------------------------------------------------------------------ bad input


def test_bad_input_is_refused_in_a_sentence():
    truth = np.ones((2, 2), bool)
    with pytest.raises(ValueError, match=r"\(2, 2\) nodes and queries, the relevancy of \(2, 3\)"):
        confusion(truth, np.ones((2, 3)))
    with pytest.raises(ValueError, match="1 of 4 relevancies are nan"):
        iou_curves(np.eye(2, dtype=bool), np.ones(2), truth, np.array([[1, np.nan], [0, 0]]))
    with pytest.raises(ValueError, match="1 of 4 relevancies are nan"):
        average_precision(truth, np.array([[1, np.nan], [0, 0]]))
    with pytest.raises(ValueError, match="3 thresholds that do not rise"):
        confusion(truth, np.ones((2, 2)), np.array([0, 0.5, 0.5]))


def test_an_object_without_queries_or_without_atoms_has_empty_curves():
    unasked = iou_curves(HOLDS, WEIGHT, np.zeros((5, 0), bool), np.zeros((5, 0)))
    assert unasked.shape == (0, 101) and unasked.dtype == np.float64
    none = iou_curves(np.zeros((2, 0), bool), np.zeros(0), np.ones((2, 1), bool), np.ones((2, 1)))
    assert none.shape == (1, 101) and np.isnan(none).all()
