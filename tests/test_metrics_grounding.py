"""How well queries are answered by sets of points."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.metrics.grounding import Overlaps, accuracy, grounding, label_ious, miou_interval, overlap, overlaps, reason3d_iou, whole_iou

masks = st.integers(1, 30).flatmap(lambda n: st.tuples(*[st.lists(st.booleans(), min_size=n, max_size=n).map(np.array)] * 2))


def test_four_queries_counted_by_hand():
    found = [[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    meant = [[1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0]]
    counts = overlaps([overlap(np.array(f, bool), np.array(m, bool)) for f, m in zip(found, meant, strict=True)])
    assert counts.intersection.tolist() == [2, 1, 0, 0] and counts.union.tolist() == [4, 4, 2, 0]
    numbers = grounding(counts)
    assert numbers.num == 4
    assert numbers.acc25 == 2 / 4  # 1/4 is not above .25; what means nothing and found nothing is
    assert numbers.acc50 == 1 / 4  # 1/2 is not above .5
    assert numbers.miou == pytest.approx((0.5 + 0.25 + 0 + 0) / 4, abs=1e-6)
    assert numbers.giou == pytest.approx((0.5 + 0.25 + 0 + 1) / 4, abs=1e-12)
    assert numbers.ciou == 3 / 10


def test_reason3ds_iou_of_nothing_meant_and_nothing_found_is_0_and_the_others_1():
    nothing = overlaps([(0, 0)])
    assert reason3d_iou(nothing).tolist() == [0.0] and whole_iou(nothing).tolist() == [1.0]
    assert math.isnan(grounding(nothing).ciou)


def test_accuracy_is_strict():
    assert accuracy(np.array([0.5, 0.5 + 1e-9, 0.25]), 0.5) == 1 / 3
    assert math.isnan(accuracy(np.zeros(0), 0.5))


def test_no_query_has_no_numbers():
    numbers = grounding(overlaps([]))
    assert numbers.num == 0 and all(math.isnan(x) for x in (numbers.acc25, numbers.miou, numbers.giou, numbers.ciou))


@given(masks)
def test_overlap_is_that_of_python_sets(pair):
    found, meant = pair
    a, b = set(np.flatnonzero(found)), set(np.flatnonzero(meant))
    assert overlap(found, meant) == (len(a & b), len(a | b)) == overlap(meant, found)


@given(st.lists(masks, min_size=1, max_size=8))
def test_all_means_lie_between_0_and_1_and_perfect_answers_have_1(pairs):
    numbers = grounding(overlaps([overlap(*pair) for pair in pairs]))
    assert all(0 <= x <= 1 for x in (numbers.acc25, numbers.acc50, numbers.miou, numbers.giou)) and numbers.acc50 <= numbers.acc25
    perfect = grounding(overlaps([overlap(meant, meant) for _, meant in pairs]))
    assert (perfect.acc50, perfect.giou) == (1, 1) and (math.isnan(perfect.ciou) or perfect.ciou == 1)


def test_masks_of_other_points_are_refused():
    with pytest.raises(ValueError, match="3 points were answered and 4 are true"):
        overlap(np.ones(3, bool), np.ones(4, bool))
    with pytest.raises(ValueError, match="larger than its union"):
        Overlaps(np.array([2]), np.array([1]))


def test_the_interval_draws_scenes_and_not_queries():
    counts = overlaps([(1, 1)] * 50 + [(0, 1)] * 50)
    scene = np.array(["a"] * 50 + ["b"] * 50)
    value, low, high = miou_interval(counts, scene)
    assert value == pytest.approx(0.5, abs=1e-5)
    assert (low, high) == pytest.approx((0, 1), abs=1e-5)  # two scenes: all of one, or all of the other
    assert math.isnan(miou_interval(counts, np.array(["a"] * 100))[1])


def test_labels_are_compared_one_by_one_and_by_weight():
    found, meant = np.array([0, 0, 1, -1, 2]), np.array([0, 1, 1, 1, -1])
    ious = label_ious(found, meant, 4)
    assert ious[:2].tolist() == [1 / 2, 1 / 3] and np.isnan(ious[2:]).all()
    weighted = label_ious(found, meant, 4, np.array([3.0, 1, 1, 1, 1]))
    assert weighted[:2].tolist() == [3 / 4, 1 / 3]


@given(st.integers(1, 20).flatmap(lambda n: st.tuples(*[st.lists(st.integers(-1, 3), min_size=n, max_size=n).map(np.array)] * 2)))
def test_label_ious_are_those_of_one_mask_a_label(pair):
    found, meant = pair
    for label, iou in enumerate(label_ious(found, meant, 4)):
        inside, union = overlap(found == label, meant == label)
        assert np.isnan(iou) if not (meant == label).any() else iou == inside / union
