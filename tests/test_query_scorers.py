"""Scorers against their definitions, a pair of vectors at a time."""

from statistics import NormalDist, fmean, pstdev

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semquery.query.scorers import LEAST_SPREAD, background, hybrid, leads, other_names, relevancy, scores, strongest_negative

SEEDS = st.integers(0, 10**6)


def unit(random, *shape):
    vectors = random.normal(size=shape)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def scored(scorer, vectors, query, negatives, bank, temperature=10.0):
    behind = background(bank, query)
    lead = leads(scorer, vectors @ query, strongest_negative(vectors, negatives), behind)
    return lead, scores(scorer, lead, behind, temperature)


# ------------------------------------------------------------------ lerf


@pytest.mark.parametrize(("k", "j"), [(6, 4), (1, 1), (0, 3)])
def test_relevancy_is_the_least_pairwise_softmax(k, j):
    random = np.random.default_rng(0)
    vectors, query, negatives, T = unit(random, k, 8), unit(random, 8), unit(random, j, 8), 10.0
    naive = [min(np.exp(T * v @ query) / (np.exp(T * v @ query) + np.exp(T * v @ n)) for n in negatives) for v in vectors]
    np.testing.assert_allclose(relevancy(vectors, query, negatives, T), naive)
    np.testing.assert_allclose(scored("lerf", vectors, query, negatives, negatives)[1], naive)


def test_relevancy_grows_with_similarity_and_is_half_at_indifference():
    angles = np.linspace(0, np.pi / 2, 50)
    rows = np.stack([np.cos(angles), np.sin(angles)], 1)
    found = relevancy(rows, np.array([0.0, 1.0]), np.array([[1.0, 0.0]]), 10.0)
    assert (np.diff(found) > 0).all() and found[0] < 0.001 and found[-1] > 0.999
    assert relevancy(np.array([[1.0, 1.0]]), np.array([0.0, 1.0]), np.array([[1.0, 0.0]]), 10.0)[0] == pytest.approx(0.5)


def test_without_negatives_relevancy_is_against_no_similarity():
    found = relevancy(np.array([[1.0, 0], [0, 1]]), np.array([1.0, 0]), np.zeros((0, 2)), 2.0)
    np.testing.assert_allclose(found, [1 / (1 + np.exp(-2)), 0.5])


# ------------------------------------------------------------------ cosine, zscore


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.integers(1, 6), st.integers(1, 12))
def test_a_percentile_is_the_normal_share_below_the_standardised_similarity(seed, k, b):
    random = np.random.default_rng(seed)
    vectors, query, bank = unit(random, k, 5), unit(random, 5), unit(random, b, 5)
    near = [s for s in (float(name @ query) for name in bank) if s < 0.95] or [0.0]
    spread = max(pstdev(near), LEAST_SPREAD)
    naive = [NormalDist(fmean(near), spread).cdf(float(v @ query)) for v in vectors]
    lead, score = scored("zscore", vectors, query, np.zeros((0, 5)), bank)
    np.testing.assert_allclose(score, naive, atol=1e-12)
    np.testing.assert_allclose(lead, [float(v @ query) - fmean(near) for v in vectors], atol=1e-12)


def test_a_text_as_near_as_the_mean_of_the_bank_is_in_the_middle():
    bank = np.array([[0.8, 0.6], [0.2, -0.98]])
    assert scored("zscore", np.array([[0.5, 0.7]]), np.array([1.0, 0.0]), bank, bank)[1] == pytest.approx([0.5])


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.sampled_from(["lerf", "cosine", "zscore"]))
def test_scores_are_shares_and_grow_with_leads(seed, scorer):
    random = np.random.default_rng(seed)
    lead, score = scored(scorer, unit(random, 30, 4), unit(random, 4), unit(random, 4, 4), unit(random, 9, 4))
    assert ((score >= 0) & (score <= 1)).all() and (np.diff(score[np.argsort(lead)]) >= 0).all()


@pytest.mark.parametrize("scorer", ["lerf", "cosine", "zscore"])
def test_of_what_nothing_is_known_the_score_is_zero(scorer):
    with np.errstate(all="raise", under="ignore"):
        assert scores(scorer, np.array([-np.inf]), background(np.zeros((0, 3)), np.ones(3)), 10.0).tolist() == [0.0]


def test_a_bank_name_that_the_scene_says_or_nearly_says_does_not_count():
    near = np.array([np.cos(0.2), np.sin(0.2)])  # a cosine of .98
    bank = np.array([[1.0, 0.0], near, [np.cos(0.4), np.sin(0.4)], [0.0, 1.0]])
    assert other_names(bank, np.array([[1.0, 0.0], [0.0, 0.0]])).tolist() == [False, False, True, True]
    assert other_names(bank, np.zeros((0, 2))).all()


def test_a_bank_name_that_all_but_says_the_query_does_not_count():
    bank = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    behind = background(bank, np.array([1.0, 0.0]))
    assert (behind.mean, behind.spread) == pytest.approx((0.4, 0.4))
    assert background(bank[:1], np.array([1.0, 0.0])).mean == 0


def test_the_background_of_an_empty_bank_is_no_similarity():
    behind = background(np.zeros((0, 3)), np.ones(3))
    assert (behind.mean, behind.spread) == (0.0, LEAST_SPREAD)


# ------------------------------------------------------------------ hybrid


def slow_hybrid(text, picture, alpha):
    known_text, known_picture = [t for t in text if t == t], [q for q in picture if q == q]
    found = []
    for t, q in zip(text, picture, strict=True):
        z_text = (t - fmean(known_text)) / pstdev(known_text) if t == t else None
        z_picture = (q - fmean(known_picture)) / pstdev(known_picture) if q == q else None
        both = [z for z in (z_text, z_picture) if z is not None]
        z = alpha * z_text + (1 - alpha) * z_picture if len(both) == 2 else both[0] if both else float("nan")
        found.append(z * pstdev(known_text) + fmean(known_text))
    return found


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(5, 12), st.floats(0, 1))
def test_the_hybrid_mixes_standardised_leads_and_takes_the_one_that_is_there(seed, p, alpha):
    random = np.random.default_rng(seed)
    text, picture = random.normal(size=p), random.normal(size=p)
    text[:2] = picture[1:3] = np.nan  # only a picture, neither, only a text, then both
    np.testing.assert_allclose(hybrid(text, picture, alpha), slow_hybrid(text.tolist(), picture.tolist(), alpha), atol=1e-9)


def test_with_the_text_alone_every_lead_is_kept():
    text, picture = np.array([0.3, 0.1, 0.2]), np.array([0.9, np.nan, 0.1])
    np.testing.assert_allclose(hybrid(text, picture, 1.0), text)
    np.testing.assert_allclose(hybrid(text, np.full(3, np.nan), 0.2), text)


def test_equal_leads_decide_nothing():
    assert np.argmax(hybrid(np.full(3, 0.4), np.array([0.1, 0.7, 0.2]), 0.5)) == 1
