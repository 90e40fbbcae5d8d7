"""Tree scores against Python sets, by hand on trees of five nodes, and by the axioms they must obey."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from eval import metrics

# root 4 ── 3 ── leaves 0, 1
#        └─ leaf 2
FIVE = np.array([3, 3, 4, 4, 4])
POINTS = np.array([0, 0, 1, 1, 2, 2, 2, 2])


def as_sets(parents, node_of_point):
    """The points of every node, by walking up from each point."""
    nodes = [set() for _ in parents]
    for point, node in enumerate(node_of_point):
        while node >= 0:
            nodes[node].add(point)
            node = -1 if parents[node] == node else parents[node]
    return nodes


def iou(a: set, b: set) -> float:
    return len(a & b) / len(a | b) if a | b else 0.0


def slow_scores(true_parents, leaf, parents, part):
    true, found = as_sets(true_parents, leaf), as_sets(parents, part)
    depth = [0] * len(true)
    for k in range(len(true) - 1):
        node = k
        while true_parents[node] != node:
            node, depth[k] = true_parents[node], depth[k] + 1
    best = [max(iou(t, f) for f in found) for t in true]
    sampled = [np.mean([max((iou(t, f) for f in found if x in f), default=0) for x in t]) if t else 0.0 for t in true]
    shown = [k for k in range(len(true) - 1) if true[k]]
    levels, sampled_levels = (
        [np.mean([b[k] for k in shown if depth[k] == level] or [np.nan]) for level in range(1, max(depth) + 1)] for b in (best, sampled)
    )
    matched = [max(iou(t, f) for t in true[:-1]) > 0.5 for f in found[:-1]]
    return {
        "nc": np.nanmean(levels), "levels": levels, "sampled_nc": np.nanmean(sampled_levels),
        "recall50": np.mean([best[k] > 0.5 for k in shown]), "recall75": np.mean([best[k] > 0.75 for k in shown]),
        "precision50": np.mean(matched) if matched else 0.0, "num_nodes": len(found),
        "purity": slow_purity(leaf, parents, part), "num_hidden": len(true) - 1 - len(shown),
    }


def slow_purity(leaf, parents, part):
    """Every pair of points of one class, and the smallest predicted node around both."""
    found, scores = as_sets(parents, part), []
    for x, y in combinations(range(len(leaf)), 2):
        if leaf[x] == leaf[y] >= 0:
            around = min((f for f in found if x in f and y in f), key=len, default=None)
            scores.append(sum(leaf[z] == leaf[x] for z in around) / len(around) if around else 0.0)
    return np.mean(scores) if scores else np.nan


@st.composite
def trees(draw, smallest=1):
    size = draw(st.integers(smallest, 9))
    parents = [draw(st.integers(k + 1, size - 1)) for k in range(size - 1)] + [size - 1]
    return np.array(parents)


@settings(max_examples=150, deadline=None)
@given(trees(smallest=2), trees(), st.data())
def test_scores_equal_those_of_python_sets(true_parents, parents, data):
    n = data.draw(st.integers(1, 20))
    leaf = np.array(data.draw(st.lists(st.integers(-1, len(true_parents) - 1), min_size=n, max_size=n)))
    part = np.array(data.draw(st.lists(st.integers(-1, len(parents) - 1), min_size=n, max_size=n)))
    assume(((leaf >= 0) & (leaf < len(true_parents) - 1)).any())
    scores = metrics.score_tree(true_parents, leaf, parents, part)
    for name, expected in slow_scores(true_parents, leaf, parents, part).items():
        np.testing.assert_allclose(getattr(scores, name), expected, atol=1e-12, err_msg=name)
    assert 0 <= scores.sampled_nc <= scores.nc + 1e-12 <= 1 + 1e-9


def test_the_true_tree_scores_one_in_everything():
    scores = metrics.score_tree(FIVE, POINTS, FIVE, POINTS)
    assert (scores.nc, scores.sampled_nc, scores.recall50, scores.recall75, scores.precision50) == (1, 1, 1, 1, 1)
    assert scores.levels == (1, 1) and scores.num_nodes == 5 and scores.purity == 1 and scores.num_hidden == 0


def test_a_flat_prediction_by_hand():
    """Leaves 0, 1, 2 right under the root: the group {0, 1} has to make do with the root, half too large."""
    scores = metrics.score_tree(FIVE, POINTS, np.array([3, 3, 3, 3]), POINTS)
    assert scores.levels == (pytest.approx((1 + 0.5) / 2), 1)
    assert scores.nc == pytest.approx(0.875)
    assert scores.recall50 == pytest.approx(3 / 4)  # .5 is not more than .5
    assert scores.precision50 == 1


def test_the_sampled_definition_by_hand():
    """A node that holds 3 of the 4 points of leaf 2: the fourth only lies in the root, IoU 4/8."""
    part = np.array([1, 1, 1, 1, 0, 0, 0, 1])
    one_part = np.array([1, 1])
    own = metrics.contingency(POINTS, 5, part, 2)
    iou = metrics.node_iou(own, FIVE, one_part)
    assert iou[2].tolist() == [0.75, 0.5]
    assert metrics.sampled_covering(own, iou, FIVE, one_part)[2] == pytest.approx((3 * 0.75 + 0.5) / 4)


def test_false_geometry_lowers_the_score():
    leaf = np.append(POINTS, [-1, -1])
    part = np.append(POINTS, [2, 2])
    assert metrics.score_tree(FIVE, leaf, FIVE, part).levels[0] == pytest.approx((1 + 4 / 6) / 2)


@settings(max_examples=40, deadline=None)
@given(st.permutations(range(len(POINTS))))
def test_the_order_of_points_does_not_matter(order):
    part = np.array([0, 1, 1, 1, 2, 2, 0, 2])
    assert metrics.score_tree(FIVE, POINTS[order], FIVE, part[order]) == metrics.score_tree(FIVE, POINTS, FIVE, part)


def test_refining_a_prediction_never_lowers_covering_but_can_lower_precision():
    coarse, halves = metrics.score_tree(FIVE, POINTS, FIVE, POINTS), np.arange(8)
    parents = np.array([8, 8, 9, 9, 10, 10, 10, 10, 11, 11, 12, 12, 12])  # every point its own part, then FIVE
    fine = metrics.score_tree(FIVE, POINTS, parents, halves)
    assert fine.nc == coarse.nc == 1 and fine.precision50 < coarse.precision50


def test_points_must_correspond():
    with pytest.raises(ValueError, match="8 points have a true part and 3"):
        metrics.score_tree(FIVE, POINTS, FIVE, POINTS[:3])


def test_true_nodes_that_no_point_shows_are_left_out_of_every_mean():
    """The same scene without leaf 1: group 3 is leaf 0 now, and nothing asks for leaf 1."""
    seen = POINTS != 1
    scores = metrics.score_tree(FIVE, POINTS[seen], FIVE, POINTS[seen])
    assert scores.num_hidden == 1 and scores.levels == (1, 1) and scores.recall75 == 1


def test_a_level_that_is_not_shown_has_no_score_and_does_not_count():
    scores = metrics.score_tree(FIVE, np.array([2, 2]), FIVE, np.array([2, 2]))
    assert scores.nc == scores.levels[0] == 1 and np.isnan(scores.levels[1]) and scores.num_hidden == 3


def test_a_truth_that_nothing_shows_is_refused():
    with pytest.raises(ValueError, match="None of the 4 true nodes"):
        metrics.score_tree(FIVE, np.array([-1, -1]), FIVE, np.array([0, 1]))


# ------------------------------------------------------------------------------------------ purity


def test_dendrogram_purity_by_hand():
    """Classes {0 1 2} and {3 4}; the tree ((0 1) (2 3)) and 4 beside them, all five under the root.

    Pair 01 meets in a pure node; 02 and 12 meet in {0 1 2 3}, three quarters pure; 34 meets in the root, two fifths.
    """
    parents, part = np.array([2, 2, 3, 3]), np.array([0, 0, 1, 1, 3])
    own = metrics.contingency(np.array([0, 0, 0, 1, 1]), 3, part, 4)
    assert metrics.dendrogram_purity(own, parents) == pytest.approx((1 + 0.75 + 0.75 + 0.4) / 4)


@pytest.mark.parametrize("seed", range(20))
def test_dendrogram_purity_equals_higras_where_every_point_is_a_leaf(seed):
    """Points of no true part are classes of their own there: no pair, but part of every node around them."""
    hg = pytest.importorskip("higra")
    random = np.random.default_rng(seed)
    n, p = 30, int(random.integers(2, 9))
    parents = np.array([random.integers(k + 1, p) for k in range(p - 1)] + [p - 1])
    part = np.concatenate([np.arange(p), random.integers(0, p, n - p)])  # no part without a point
    leaf = random.integers(-1, 4, n)
    classes = np.where(leaf < 0, 4 + np.arange(n), leaf)
    expected = hg.dendrogram_purity(hg.Tree(np.concatenate([n + part, n + parents])), classes)
    assert metrics.dendrogram_purity(metrics.contingency(leaf, 5, part, p), parents) == pytest.approx(expected)


def test_one_part_for_everything_has_the_purity_of_chance_and_any_refinement_of_it_no_less():
    whole = metrics.score_tree(FIVE, POINTS, np.array([0]), np.zeros(8, int))
    assert whole.purity == pytest.approx((1 * 2 / 8 + 1 * 2 / 8 + 6 * 4 / 8) / 8)
    assert metrics.score_tree(FIVE, POINTS, np.array([2, 2, 2]), POINTS // 2).purity >= whole.purity


# ------------------------------------------------------------------------------------------ views


def test_views_weigh_every_visible_node_alike_and_skip_small_ones():
    leaf = np.array([[0, 0, 0, 1], [2, 2, 2, 2]])
    part = np.array([[0, 0, -1, 1], [2, 2, 1, 1]])  # the third pixel shows no predicted surface
    other = np.full((2, 4), -1)
    other[:, 0] = 0
    nc, levels = metrics.score_views(FIVE, [leaf, other], FIVE, [part, other], min_pixels=2)
    # view 1: leaf 0 2/3, leaf 2 4/7 by the root, group 3 3/6; leaf 1 is one pixel. view 2: leaf 0 and its group, both whole.
    assert levels == (pytest.approx((4 / 7 + 3 / 6 + 1) / 3), pytest.approx((2 / 3 + 1) / 2))
    assert nc == pytest.approx(np.mean(levels))


@settings(max_examples=60, deadline=None)
@given(trees(smallest=2), trees(), st.integers(0, 1000))
def test_scores_of_one_view_are_those_of_its_pixels(true_parents, parents, seed):
    random = np.random.default_rng(seed)
    leaf, part = random.integers(-1, len(true_parents), (4, 5)), random.integers(-1, len(parents), (4, 5))
    assume(((leaf >= 0) & (leaf < len(true_parents) - 1)).any())
    scores = metrics.score_tree(true_parents, leaf.reshape(-1), parents, part.reshape(-1))
    nc, levels = metrics.score_views(true_parents, [leaf], parents, [part], min_pixels=1)
    np.testing.assert_allclose((nc, *levels), (scores.nc, *scores.levels))


def test_pictures_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match="draw both in the same size"):
        metrics.score_views(FIVE, [np.zeros((2, 2), int)], FIVE, [np.zeros((2, 3), int)])


# ------------------------------------------------------------------------------------------ intervals


def test_an_interval_by_hand():
    """Three values 1 2 3: standard error 1/sqrt(3), and Student's t of two degrees of freedom is 4.303."""
    half = 4.3027 / np.sqrt(3)
    assert metrics.interval([1.0, 2.0, 3.0]) == pytest.approx((2, 2 - half, 2 + half), rel=1e-4)


def test_intervals_hold_the_true_mean_nineteen_times_in_twenty():
    random = np.random.default_rng(0)
    inside = [low < 0 < high for _, low, high in (metrics.interval(sample) for sample in random.normal(size=(2000, 4)))]
    assert 0.93 < np.mean(inside) < 0.97


def test_one_value_has_no_interval_and_none_has_no_mean():
    mean, low, high = metrics.interval([0.5])
    assert mean == 0.5 and np.isnan(low) and np.isnan(high)
    with pytest.raises(ValueError, match="no values"):
        metrics.interval([])
