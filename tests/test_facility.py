"""Choosing nodes against the plain greedy choice; how usual it is that masks agree."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semquery.evidence import Evidence
from semquery.facility import facility_location, mask_density, usual_share
from semquery.types import MaskStack


def rows(*found: tuple[int, int, int, float], num_views: list[int]) -> Evidence:
    """Evidence of (node, view, mask, iou)."""
    node, view, mask, iou = (np.array(column) for column in zip(*found, strict=True))
    return Evidence(node, view, mask, iou.astype(float), np.array(num_views))


def random_evidence(seed: int, nodes: int = 12, masks: int = 8) -> Evidence:
    """One mask a view."""
    random = np.random.default_rng(seed)
    found = [(n, m, 0, random.uniform(0.4, 1)) for n in range(nodes) for m in range(masks) if random.random() < 0.4]
    views = np.bincount([n for n, *_ in found], minlength=nodes) + random.integers(0, 5, nodes)
    return rows(*found, num_views=views.tolist())


def scores_of(evidence: Evidence) -> np.ndarray:
    score = np.zeros((12, 8))
    score[evidence.node, evidence.view] = np.maximum(evidence.iou - 0.5, 0) / 0.5
    return score


def slow_greedy(evidence: Evidence, gamma: float, min_share: float) -> tuple[list[int], list[float]]:
    """All gains anew for every choice."""
    score, explained = scores_of(evidence), np.zeros(8)
    chosen, won = [], []
    while True:
        gains = np.maximum(score - explained, 0).sum(1)
        gains[gains < np.maximum(gamma, min_share * evidence.num_views)] = 0
        if not gains.any():
            return chosen, won
        chosen.append(int(gains.argmax()))
        won.append(gains.max())
        explained = np.maximum(explained, score[chosen[-1]])


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("gamma", "min_share"), [(0.3, 0.0), (0.3, 0.2), (1.0, 0.1)])
def test_lazy_greedy_equals_plain_greedy(seed, gamma, min_share):
    evidence = random_evidence(seed)
    chosen, _ = slow_greedy(evidence, gamma, min_share)
    assert facility_location(evidence, gamma, min_share) == chosen
    assert facility_location(evidence, gamma, min_share, most=2) == chosen[:2]


def test_a_node_is_worth_what_it_explains_beyond_those_before_it():
    """Node 0 has masks 0 and 1 exactly, node 1 the same half as well, node 2 a mask of its own."""
    evidence = rows((0, 0, 0, 1.0), (0, 0, 1, 1.0), (1, 0, 0, 0.75), (1, 0, 1, 0.75), (2, 0, 2, 0.9), num_views=[1, 1, 1])
    assert facility_location(evidence, gamma=0.1, min_share=0.0) == [0, 2]


def test_a_node_seen_often_must_explain_its_share():
    evidence = rows((0, 0, 0, 1.0), (1, 0, 1, 1.0), num_views=[1, 100])
    assert facility_location(evidence, gamma=0.5, min_share=0.06) == [0]


def nothing() -> Evidence:
    empty = np.zeros(0, np.int64)
    return Evidence(empty, empty, empty, np.zeros(0), np.ones(3, np.int64))


def test_without_evidence_nothing_is_chosen_and_every_view_counts():
    assert facility_location(nothing(), 0.5, 0.0) == []
    assert usual_share(nothing(), 0.5) == 1.0
    assert usual_share(rows((0, 0, 0, 1.0), num_views=[1]), gamma=0.5) == 1.0  # a single mask is not clear enough


def test_the_usual_share_is_the_median_over_the_clearest_nodes():
    """Three nodes, each with one exact mask in 4, 3 and 2 of 4, 6 and 8 views that see it: 1, 1/2, 1/4."""
    found = [(node, view, node, 1.0) for node, count in enumerate((4, 3, 2)) for view in range(count)]
    evidence = rows(*found, num_views=[4, 6, 8])
    assert usual_share(evidence, gamma=0.5) == pytest.approx(0.5)
    assert usual_share(evidence, gamma=0.5, clearest=2) == pytest.approx(0.75)
    assert usual_share(evidence, gamma=1.2) == pytest.approx(1.0)  # clear are three times gamma and more


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.01, 0.1, 0.4]))
def test_the_usual_share_lies_between_none_and_all_of_the_views(seed, gamma):
    """Here a view has one mask; with more of the same part, a node can explain several a view."""
    evidence = random_evidence(seed)
    share = usual_share(evidence, gamma)
    chosen, won = slow_greedy(evidence, 3 * gamma, 0.0)
    assert 0 < share <= 1
    assert share == pytest.approx(np.median(won / evidence.num_views[chosen]) if chosen else 1.0)


def test_mask_density_is_masks_a_view_in_twenties_within_bounds():
    stack = lambda m: MaskStack(np.zeros((0, 1, 1), np.uint16), np.ones(m, np.float32))  # noqa: E731
    views = lambda *counts: {str(k): stack(m) for k, m in enumerate(counts)}  # noqa: E731
    assert mask_density(views(20)) == 1.0 and mask_density(views(10, 50)) == 1.5
    assert mask_density(views(3, 0)) == 0.5 and mask_density(views(200)) == 6.0
    assert mask_density(views(30), usual=10.0) == 3.0
