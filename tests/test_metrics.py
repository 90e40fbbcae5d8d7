"""Tree scores against Python sets, by hand on trees of five nodes, and by the axioms they must obey."""

import numpy as np
import pytest
from hypothesis import given, settings
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
    sampled = [np.mean([max(iou(t, f) for f in found if x in f) for x in t]) if t else 0.0 for t in true]
    levels = [np.mean([b for b, d in zip(best, depth, strict=True) if d == k]) for k in range(1, max(depth) + 1)]
    sampled_levels = [np.mean([b for b, d in zip(sampled, depth, strict=True) if d == k]) for k in range(1, max(depth) + 1)]
    matched = [max(iou(t, f) for t in true[:-1]) > 0.5 for f in found[:-1]]
    return {
        "nc": np.mean(levels), "levels": levels, "sampled_nc": np.mean(sampled_levels),
        "recall50": np.mean([b > 0.5 for b in best[:-1]]), "recall75": np.mean([b > 0.75 for b in best[:-1]]),
        "precision50": np.mean(matched) if matched else 0.0, "num_nodes": len(found),
    }


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
    part = np.array(data.draw(st.lists(st.integers(0, len(parents) - 1), min_size=n, max_size=n)))
    scores = metrics.score_tree(true_parents, leaf, parents, part)
    for name, expected in slow_scores(true_parents, leaf, parents, part).items():
        np.testing.assert_allclose(getattr(scores, name), expected, atol=1e-12, err_msg=name)
    assert 0 <= scores.sampled_nc <= scores.nc + 1e-12 <= 1 + 1e-9


def test_the_true_tree_scores_one_in_everything():
    scores = metrics.score_tree(FIVE, POINTS, FIVE, POINTS)
    assert (scores.nc, scores.sampled_nc, scores.recall50, scores.recall75, scores.precision50) == (1, 1, 1, 1, 1)
    assert scores.levels == (1, 1) and scores.num_nodes == 5


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
