"""Matched nodes against every possible matching, ranked parts against a loop, and by hand."""

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.metrics import contingency, node_iou
from eval.metrics.matching import ap50, label_aware_miou, leaf_ap50, leaves, matched, matched_rates

# root 4 ── 3 ── leaves 0, 1
#        └─ leaf 2
FIVE = np.array([3, 3, 4, 4, 4])
POINTS = np.array([0, 0, 1, 1, 2, 2, 2, 2])


def overlaps(seed, most=5):
    random = np.random.default_rng(seed)
    a, p = random.integers(1, most + 1, 2)
    return random.integers(0, 21, (a, p)) / 20


def every_matching(iou, least):
    """The largest sum of IoUs that any choice of pairs reaches."""
    a, p = iou.shape
    wide = np.concatenate([np.where(iou >= least, iou, 0), np.zeros((a, a))], axis=1)  # a column of its own for "none"
    return max(sum(wide[i, c] for i, c in enumerate(columns)) for columns in permutations(range(p + a), a))


def slow_ap(iou, confidence, least=0.5):
    """COCO's loop: most confident first, the best free true part; then precision at each hit, the best from there on."""
    order = sorted(range(iou.shape[1]), key=lambda p: -confidence[p])
    free, hits = set(range(len(iou))), []
    for p in order:
        best = max((t for t in free if iou[t, p] >= least), key=lambda t: iou[t, p], default=None)
        hits.append(best is not None)
        free -= {best}
    precision = [sum(hits[:k + 1]) / (k + 1) for k in range(len(hits))]
    return sum(max(precision[k:]) for k, hit in enumerate(hits) if hit) / len(iou)


# ------------------------------------------------------------------ one to one


@given(st.integers(0, 5000), st.sampled_from([0.05, 0.5, 0.9]))
def test_no_matching_of_allowed_pairs_adds_up_to_more(seed, least):
    iou = overlaps(seed, 4)
    pairs = matched(iou, least)
    assert len(set(pairs[:, 0].tolist())) == len(set(pairs[:, 1].tolist())) == len(pairs)
    assert all(iou[t, p] >= least for t, p in pairs)
    assert sum(iou[t, p] for t, p in pairs) == pytest.approx(every_matching(iou, least))


def test_pairs_that_are_too_small_do_not_take_the_place_of_good_ones():
    """Two pairs of .45 would add up to .9, more than the one pair of .8 that is allowed."""
    assert matched(np.array([[0.8, 0.45], [0.45, 0.0]])).tolist() == [[0, 0]]


def test_the_matching_of_the_true_tree_with_itself_is_everything():
    iou = node_iou(contingency(POINTS, 5, POINTS, 5), FIVE, FIVE)
    pairs = matched(iou)
    assert pairs.tolist() == [[k, k] for k in range(5)] and matched_rates(pairs, 5, 5) == (1, 1)
    assert label_aware_miou(iou, pairs, np.ones((5, 5), bool)) == 1
    assert leaf_ap50(iou, FIVE, FIVE, np.zeros(5)) == 1


@given(st.integers(0, 5000))
def test_the_order_of_nodes_does_not_change_what_is_matched(seed):
    random = np.random.default_rng(seed)
    iou = random.random((5, 4))
    rows, columns = random.permutation(5), random.permutation(4)
    turned = {(int(rows[t]), int(columns[p])) for t, p in matched(iou[rows][:, columns])}
    assert turned == {(int(t), int(p)) for t, p in matched(iou)}


def test_rates_of_nothing_are_nan_and_nothing_is_matched_to_nothing():
    assert matched(np.zeros((0, 3))).shape == matched(np.zeros((3, 0))).shape == (0, 2)
    assert all(math.isnan(x) for x in matched_rates(np.zeros((0, 2), int), 0, 0))
    assert matched_rates(np.array([[0, 1]]), 4, 2) == (1 / 4, 1 / 2)


# ------------------------------------------------------------------ with labels


@given(st.integers(0, 5000))
def test_label_aware_overlap_equals_a_loop_over_true_nodes(seed):
    iou = overlaps(seed)
    same = np.random.default_rng(seed).random(iou.shape) < 0.5
    pairs = matched(iou)
    of = dict(pairs.tolist())
    expected = np.mean([iou[t, of[t]] if t in of and same[t, of[t]] else 0 for t in range(len(iou))])
    assert label_aware_miou(iou, pairs, same) == pytest.approx(expected)
    assert label_aware_miou(iou, pairs, same) <= label_aware_miou(iou, pairs, np.ones_like(same)) + 1e-12


def test_label_aware_overlap_by_hand():
    """Of three true nodes one is matched with its label, one without, and one not at all."""
    iou = np.array([[0.75, 0.0], [0.0, 1.0], [0.2, 0.0]])
    pairs = matched(iou)
    assert pairs.tolist() == [[0, 0], [1, 1]]
    assert label_aware_miou(iou, pairs, np.array([[1, 1], [0, 0], [1, 1]], bool)) == pytest.approx(0.75 / 3)
    assert math.isnan(label_aware_miou(np.zeros((0, 2)), matched(np.zeros((0, 2))), np.zeros((0, 2), bool)))


# ------------------------------------------------------------------ ranked parts


@given(st.integers(0, 5000))
def test_average_precision_equals_cocos_loop_where_confidences_differ(seed):
    iou = overlaps(seed)
    confidence = np.random.default_rng(seed).permutation(iou.shape[1]).astype(float)
    assert ap50(iou, confidence) == pytest.approx(slow_ap(iou, confidence))


def test_ranked_parts_by_hand():
    """Right, wrong, right of three true parts: precision 1 up to a third, then 2/3 up to two thirds, then nothing."""
    iou = np.array([[0.9, 0.1, 0.0], [0.0, 0.2, 0.6], [0.0, 0.0, 0.0]])
    assert ap50(iou, np.array([0.9, 0.8, 0.7])) == pytest.approx((1 + 2 / 3) / 3)
    assert ap50(iou, np.array([0.5, 0.9, 0.7])) == pytest.approx((2 / 3 + 2 / 3) / 3)  # made falling: 1/2 counts as 2/3
    assert ap50(iou, np.array([0.5, 0.5, 0.5])) == pytest.approx((2 / 3 + 2 / 3) / 3)  # all enter together


def test_a_true_part_is_found_once():
    assert ap50(np.array([[0.9, 0.8]]), np.array([0.1, 0.9])) == 1
    assert ap50(np.array([[0.4, 0.9]]), np.array([0.9, 0.1])) == 0.5


@given(st.integers(0, 2000))
def test_equal_confidences_do_not_depend_on_the_order_of_disjoint_parts(seed):
    """Leaves are disjoint, so that a part has one partner of more than half in common at most."""
    random = np.random.default_rng(seed)
    true, found = random.integers(0, 4, 30), random.integers(0, 5, 30)
    iou = node_iou(contingency(true, 5, found, 6), np.full(5, 4), np.full(6, 5))[:4, :5]
    confidence = random.integers(0, 2, 5) / 2
    order = random.permutation(5)
    assert ap50(iou, confidence, 0.51) == ap50(iou[:, order], confidence[order], 0.51)


def test_leaf_ap_asks_for_shown_leaves_and_ranks_leaves_alone():
    assert leaves(FIVE).tolist() == [True, True, True, False, False] and leaves(np.array([0])).tolist() == [True]
    part = np.array([0, 0, 0, 0, 1, 1, 1, 1])  # leaves 0 and 1 as one
    iou = node_iou(contingency(POINTS, 5, part, 3), FIVE, np.array([2, 2, 2]))
    confidence = np.array([0.9, 0.5, 1.0])
    assert leaf_ap50(iou, FIVE, np.array([2, 2, 2]), confidence) == pytest.approx(2 / 3)  # IoU .5 with leaf 0, then leaf 2
    shown = np.array([False, True, True, True, True])
    assert leaf_ap50(iou, FIVE, np.array([2, 2, 2]), confidence, shown) == 1


def test_no_parts_and_bad_input():
    assert ap50(np.zeros((2, 0)), np.zeros(0)) == 0 and math.isnan(ap50(np.zeros((0, 2)), np.ones(2)))
    with pytest.raises(ValueError, match="1 of 2 confidences are nan"):
        ap50(np.ones((1, 2)), np.array([1, np.nan]))
    with pytest.raises(ValueError, match="0 < least"):
        matched(np.ones((2, 2)), 0)
    with pytest.raises(ValueError, match="1 nan"):
        matched(np.array([[np.nan]]))
