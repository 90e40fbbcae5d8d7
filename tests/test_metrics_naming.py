"""Names of a tree's nodes: against loops that walk up the tree, by hand on five nodes, and known errors found again."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.metrics.naming import (
    accuracy_by_depth,
    calibration,
    hierarchical_prf,
    parent_repeats,
    path_right,
    precision_recall_f,
    propagation,
    propagation_counts,
    reciprocal_rank,
    recovery,
    simulated,
    top1,
)
from eval.metrics.resampling import of_totals, pooled_interval
from eval.metrics.trees import depths

# root 4 ── 3 ── leaves 0, 1
#        └─ leaf 2
FIVE = np.array([3, 3, 4, 4, 4])


@st.composite
def trees(draw):
    size = draw(st.integers(1, 9))
    return np.array([draw(st.integers(k + 1, size - 1)) for k in range(size - 1)] + [size - 1])


@st.composite
def named_trees(draw):
    parents = draw(trees())
    name = st.sampled_from(["", "leg", "seat", "bar"])
    said = [draw(name) for _ in parents]
    true = [draw(st.sampled_from(["leg", "seat", "bar", "chair"])) for _ in parents]
    return parents, said, true


def upwards(parents, node):
    """The node and its ancestors, up to the root."""
    path = [node]
    while parents[path[-1]] != path[-1]:
        path.append(int(parents[path[-1]]))
    return path


def verdicts(parents, seed):
    return np.random.default_rng(seed).random(len(parents)) < 0.6


# ------------------------------------------------------------------ one by one


@given(st.integers(0, 10_000))
def test_the_place_of_a_nodes_name_equals_one_counted_in_a_sorted_list(seed):
    random = np.random.default_rng(seed)
    p, k = random.integers(1, 7, 2)
    relevancy = random.integers(0, 4, (p, k)) / 4
    positive = np.eye(k, dtype=bool)[random.integers(0, k, p)]
    for v in range(p):
        own = int(positive[v].argmax())
        ahead = [q for q in range(k) if q != own and relevancy[v, q] >= relevancy[v, own]]
        place = 1 / (len(ahead) + 1) if relevancy[v, own] > 0 else 0
        assert reciprocal_rank(relevancy, positive)[v] == place
        assert top1(relevancy, positive)[v] == (place == 1)


def test_a_tie_is_wrong_and_so_is_a_node_without_a_name():
    positive = np.eye(3, dtype=bool)
    relevancy = np.array([[0.9, 0.9, 0.1], [0.2, 0.3, 0.1], [0, 0, 0]])
    assert top1(relevancy, positive).tolist() == [False, True, False]
    assert reciprocal_rank(relevancy, positive).tolist() == [0.5, 1, 0]
    assert top1(np.array([[0.0], [0.1]]), np.ones((2, 1), bool)).tolist() == [False, True]  # one name alone has no rival


def test_a_node_of_two_right_names_may_take_either_and_one_of_none_is_never_right():
    relevancy = np.array([[0.5, 0.8, 0.7], [0.5, 0.8, 0.7]])
    positive = np.array([[0, 1, 1], [0, 0, 0]], bool)
    assert top1(relevancy, positive).tolist() == [True, False]
    assert reciprocal_rank(relevancy, positive).tolist() == [1, 0]


@given(trees(), st.integers(0, 1000))
def test_a_path_is_right_where_every_step_of_a_walk_to_the_root_is(parents, seed):
    right = verdicts(parents, seed)
    expected = [all(right[u] for u in upwards(parents, v)) for v in range(len(parents))]
    assert path_right(right, parents).tolist() == expected
    assert not (path_right(right, parents) & ~right).any()


@given(trees(), trees(), st.integers(0, 1000))
def test_accuracy_by_depth_pools_the_nodes_of_all_objects(one, other, seed):
    right = [verdicts(one, seed), verdicts(other, seed + 1)]
    depth = [len(upwards(tree, v)) - 1 for tree in (one, other) for v in range(len(tree))]
    share, number = accuracy_by_depth(np.concatenate(right), np.concatenate([depths(one), depths(other)]))
    assert len(share) == max(depth) + 1
    for level in range(len(share)):
        here = [r for r, d in zip(np.concatenate(right), depth, strict=True) if d == level]
        assert number[level] == len(here) and share[level] == pytest.approx(np.mean(here))


# ------------------------------------------------------------------ names along the tree


@given(named_trees(), st.booleans())
def test_hierarchical_counts_equal_sets_of_walks_to_the_root(case, root):
    parents, said, true = case
    counts = np.zeros(3, int)
    for v in range(len(parents) if root else len(parents) - 1):
        path = [u for u in upwards(parents, v) if root or u != len(parents) - 1]
        s, t = {said[u] for u in path} - {""}, {true[u] for u in path}
        counts += [len(s & t), len(s), len(t)]
    assert hierarchical_prf(said, true, parents, root) == tuple(counts)


def test_hierarchical_precision_recall_and_f_by_hand():
    """The base is called leg, the seat nothing: (shared, said, true) is 2 2 3 of each leg, 1 1 2 of the seat, 1 2 2 of the base, 1 1 1."""
    true = ["leg", "leg", "seat", "base", "chair"]
    said = ["leg", "leg", "", "leg", "chair"]
    assert hierarchical_prf(said, true, FIVE) == (2 + 2 + 1 + 1 + 1, 2 + 2 + 1 + 2 + 1, 3 + 3 + 2 + 2 + 1)
    assert precision_recall_f(7, 8, 11) == (7 / 8, 7 / 11, pytest.approx(2 * (7 / 8) * (7 / 11) / (7 / 8 + 7 / 11)))
    assert hierarchical_prf(said, true, FIVE, root=False) == (1 + 1 + 0 + 0, 1 + 1 + 0 + 1, 2 + 2 + 1 + 1)


@given(named_trees())
def test_true_names_score_one_and_nothing_said_scores_nothing(case):
    parents, _, true = case
    assert precision_recall_f(*hierarchical_prf(true, true, parents)) == (1, 1, 1)
    precision, recall, f = precision_recall_f(*hierarchical_prf([""] * len(true), true, parents))
    assert math.isnan(precision) and recall == f == 0


@given(named_trees())
def test_repetitions_of_a_parents_name_equal_a_loop(case):
    parents, said, true = case
    able = [v for v in range(len(parents)) if parents[v] != v and true[v] != true[parents[v]]]
    repeats = [v for v in able if said[v] and said[v] == said[parents[v]]]
    assert parent_repeats(said, true, parents) == (len(repeats), len(able))
    assert parent_repeats(true, true, parents)[0] == 0


# ------------------------------------------------------------------ a wrong parent


@given(trees(), st.integers(0, 1000))
def test_pairs_of_parent_and_node_equal_a_loop(parents, seed):
    right = verdicts(parents, seed)
    expected = np.zeros((2, 2), int)
    for v in range(len(parents)):
        if parents[v] != v:
            expected[int(right[parents[v]]), int(right[v])] += 1
    assert propagation_counts(right, parents).tolist() == expected.tolist()


def test_propagation_and_recovery_by_hand():
    """Group 3 is wrong: leaf 0 below it is wrong and leaf 1 right; below the right root, group 3 is wrong and leaf 2 right."""
    counts = propagation_counts(np.array([False, True, True, False, True]), FIVE)
    assert counts.tolist() == [[1, 1], [1, 1]]
    assert propagation(counts) == 0 and recovery(counts) == 0.5
    assert propagation(np.array([[4, 0], [0, 3]])) == 1 and recovery(np.array([[4, 0], [0, 3]])) == 0
    assert np.isnan(propagation(np.array([[0, 0], [1, 3]]))) and np.isnan(recovery(np.array([[0, 0], [1, 3]])))
    both = np.array([[[4, 0], [0, 3]], [[1, 1], [1, 1]]])
    assert propagation(both).tolist() == [1, 0] and recovery(both).tolist() == [0, 0.5]


def many_trees(random, number):
    sizes = random.integers(8, 40, number)
    return [np.array([random.integers(k + 1, min(k + 8, n)) for k in range(n - 1)] + [n - 1]) for n in sizes]


@pytest.mark.parametrize(("below_right", "below_wrong"), [(0.6, 0.6), (0.6, 0.2), (0.9, 0.1)])
def test_known_errors_lie_in_their_intervals_nineteen_times_in_twenty(below_right, below_wrong):
    random = np.random.default_rng(2)
    forest, spread, recovered = many_trees(random, 60), [], []
    for _ in range(150):
        counts = np.array([propagation_counts(simulated(tree, below_right, below_wrong, random), tree) for tree in forest])
        spread.append(pooled_interval(counts, of_totals(propagation), num=300))
        recovered.append(pooled_interval(counts, of_totals(recovery), num=300))
    for truth, intervals in ((below_right - below_wrong, spread), (below_wrong, recovered)):
        value, low, high = np.array(intervals).T
        assert 0.88 <= np.mean((low <= truth) & (truth <= high)) <= 0.99
        assert abs(value.mean() - truth) < 0.02 and (high - low).max() < 0.35


def test_simulated_labels_at_their_extremes_and_with_impossible_chances():
    random = np.random.default_rng(0)
    assert simulated(FIVE, 1, 0, random).all() and not simulated(FIVE, 0, 0, random).any()
    wrong_root = simulated(FIVE, 0, 1, random)
    assert wrong_root.tolist() == [True, True, True, True, False] or wrong_root.tolist() == [False, False, True, True, False]
    with pytest.raises(ValueError, match="chances within 0..1, got 1.2 and 0.5"):
        simulated(FIVE, 1.2, 0.5, random)


def test_simulated_labels_are_those_of_their_seed():
    one, other = (simulated(FIVE, 0.6, 0.2, np.random.default_rng(7)) for _ in range(2))
    assert one.tolist() == other.tolist()


# ------------------------------------------------------------------ calibration


@given(st.integers(0, 10_000), st.integers(1, 12))
def test_calibration_equals_a_loop_over_bins(seed, bins):
    random = np.random.default_rng(seed)
    n = int(random.integers(1, 40))
    probability = random.integers(0, 21, n) / 20
    outcome = random.random(n) < probability
    got, error = calibration(probability, outcome, bins), 0.0
    for b in range(bins):
        inside = [i for i in range(n) if b / bins <= probability[i] and (probability[i] < (b + 1) / bins or b == bins - 1)]
        assert got.count[b] == len(inside)
        if inside:
            stated, found = probability[inside].mean(), outcome[inside].mean()
            assert (got.stated[b], got.found[b]) == (pytest.approx(stated), pytest.approx(found))
            error += len(inside) / n * abs(stated - found)
        else:
            assert np.isnan(got.stated[b]) and np.isnan(got.found[b])
    assert got.error == pytest.approx(error)


def test_calibration_by_hand():
    """Three stated .9 of which two come true, and one stated .25 that does not: (3/4)(.9 - 2/3) + (1/4)(.25)."""
    got = calibration(np.array([0.9, 0.9, 0.9, 0.25]), np.array([True, True, False, False]))
    assert got.error == pytest.approx(0.75 * (0.9 - 2 / 3) + 0.25 * 0.25)
    assert got.count.tolist() == [0, 0, 1, 0, 0, 0, 0, 0, 0, 3]


def test_what_comes_true_as_often_as_stated_has_no_error_and_certainty_belongs_to_the_last_bin():
    assert calibration(np.array([1.0, 1, 0, 0.5, 0.5]), np.array([True, True, False, True, False])).error == 0
    assert calibration(np.array([1.0], np.float32), np.array([True])).count.tolist() == [0] * 9 + [1]


def test_nothing_has_no_calibration_and_impossible_probabilities_are_refused():
    empty = calibration(np.zeros(0), np.zeros(0, bool))
    assert math.isnan(empty.error) and empty.count.sum() == 0
    for wrong in (1.5, -0.1, np.nan):
        with pytest.raises(ValueError, match="probabilities within 0..1"):
            calibration(np.array([0.5, wrong]), np.array([True, False]))


def test_names_and_tree_must_correspond():
    with pytest.raises(ValueError, match="2 names are said and 5 true of a tree of 5 nodes"):
        hierarchical_prf(["a", "b"], ["a"] * 5, FIVE)
    with pytest.raises(ValueError, match="relevancy of"):
        top1(np.ones((2, 3)), np.ones((2, 2), bool))
