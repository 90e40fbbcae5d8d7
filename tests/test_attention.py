"""How much views are believed: the fixed point of the tokens, and the consensus of the masks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from semquery.attention import consensus, contested_attention, token_attention

SEEDS = st.integers(0, 10_000)


def slow_tokens(embeddings, scores, power, iterations):
    """One number at a time, as the formula stands."""
    unit = [[x / sum(y * y for y in e) ** 0.5 for x in e] for e in embeddings.tolist()]
    weights = [a / sum(scores.tolist()) for a in scores.tolist()]
    for _ in range(iterations):
        q = [sum(w * e[k] for w, e in zip(weights, unit)) for k in range(embeddings.shape[1])]
        length = sum(x * x for x in q) ** 0.5
        raw = [(a * max(0.0, sum(x * y for x, y in zip(e, q)) / length)) ** power for a, e in zip(scores.tolist(), unit)]
        weights = [r / sum(raw) for r in raw]
    return weights


def slow_consensus(seen, votes, iterations):
    weights = [1.0] * len(seen)
    for _ in range(iterations):
        fresh = []
        for i in range(len(seen)):
            low = high = 0.0
            for p in range(seen.shape[1]):
                others = [j for j in range(len(seen)) if j != i and seen[j, p] and weights[j] > 1e-9]
                if seen[i, p] and others:
                    said = sum(weights[j] * votes[j, p] for j in others) / sum(weights[j] for j in others)
                    low, high = low + min(votes[i, p], said), high + max(votes[i, p], said)
            fresh.append((low / high) ** 2 if high else 1.0)
        weights = fresh if any(fresh) else [1.0] * len(seen)
    return weights


def drawn_views(seed, v=6, d=5):
    random = np.random.default_rng(seed)
    return random.normal(size=(v, d)).astype(np.float32) + 1, random.random(v) + 0.1


def drawn_votes(seed, v=5, n=30):
    random = np.random.default_rng(seed)
    return random.random((v, n)) < 0.7, random.random((v, n)).round(1)


def agreeing(wrong: int, right: int = 6, d: int = 16, seed: int = 0):
    """Views of one thing, and views that each mean another."""
    random = np.random.default_rng(seed)
    meant = np.r_[1.0, np.zeros(d - 1)]
    other = random.normal(size=(wrong, d))
    other[:, 0] = 0
    near = np.tile(meant, (right, 1)) + 0.2 * random.normal(size=(right, d)) / np.sqrt(d)
    far = 0.3 * meant + 0.95 * other / np.linalg.norm(other, axis=1, keepdims=True)
    return np.concatenate([near, far]).astype(np.float32), np.ones(wrong + right)


# tokens


@given(SEEDS, st.sampled_from([1.0, 2.0, 8.0]))
def test_the_weights_are_the_formulas(seed, power):
    embeddings, scores = drawn_views(seed)
    weights, token = token_attention(embeddings, scores, power, 10)
    assert np.allclose(weights, slow_tokens(embeddings, scores, power, 10), atol=1e-7)
    assert np.isclose(np.linalg.norm(token), 1)


@given(arrays.arrays(np.float32, (4, 3), elements=st.floats(-2, 2, width=32)), arrays.arrays(np.float64, 4, elements=st.floats(0, 1)), st.sampled_from([0.5, 1.0, 8.0, 64.0]))
def test_weights_are_at_least_0_and_sum_to_1_whatever_came(embeddings, scores, power):
    weights, token = token_attention(embeddings, scores, power)
    assert (weights >= 0).all() and np.isclose(weights.sum(), 1) and np.isfinite(token).all()


@given(SEEDS)
def test_another_order_of_the_views_is_another_order_of_the_weights(seed):
    embeddings, scores = drawn_views(seed)
    order = np.random.default_rng(seed + 1).permutation(len(scores))
    weights, token = token_attention(embeddings, scores)
    turned, same = token_attention(embeddings[order], scores[order])
    assert np.allclose(turned, weights[order]) and np.allclose(same, token)


@given(SEEDS)
def test_neither_the_length_of_embeddings_nor_the_unit_of_scores_counts(seed):
    embeddings, scores = drawn_views(seed)
    lengths = np.random.default_rng(seed).random((len(scores), 1)).astype(np.float32) + 0.5
    assert np.allclose(token_attention(embeddings * lengths, scores * 7)[0], token_attention(embeddings, scores)[0], atol=1e-5)


@pytest.mark.parametrize("power", [1.0, 8.0])
def test_a_view_that_means_something_else_weighs_less_and_the_power_sharpens_that(power):
    embeddings, scores = agreeing(wrong=3)
    weights, token = token_attention(embeddings, scores, power)
    assert weights[6:].max() < (0.55 if power == 1 else 0.01) * weights[:6].min() and token[0] > 0.95


def test_with_a_high_power_the_views_that_agree_win_even_where_they_are_fewer():
    embeddings, scores = agreeing(wrong=9)
    assert token_attention(embeddings, scores, 8.0)[0][:6].sum() > 0.99
    assert 0.5 < token_attention(embeddings, scores)[0][:6].sum() < 0.9


def test_a_score_counts():
    embeddings = np.array([[1, 0], [1, 0]], np.float32)
    assert np.allclose(token_attention(embeddings, np.array([0.9, 0.3]))[0], [0.75, 0.25])


def test_views_that_nothing_tells_apart_weigh_the_same():
    same = np.ones(4) / 4
    assert np.allclose(token_attention(np.eye(4, dtype=np.float32), np.ones(4), 8.0)[0], same)  # all at right angles
    assert np.allclose(token_attention(np.ones((4, 2), np.float32), np.zeros(4))[0], same)  # nobody is sure
    weights, token = token_attention(np.array([[1, 0], [-1, 0]], np.float32), np.array([0.5, 0.5]))
    assert np.allclose(weights, 0.5) and not token.any()  # they cancel out
    weights, token = token_attention(np.zeros((2, 3), np.float32), np.array([0.9, 0.1]))
    assert np.allclose(weights, [0.9, 0.1]) and not token.any()  # no embeddings: the scores


def test_one_view_is_believed_and_no_view_has_no_weight():
    weights, token = token_attention(np.array([[0, 3]], np.float32), np.array([0.2]))
    assert weights.tolist() == [1] and token.tolist() == [0, 1]
    weights, token = token_attention(np.zeros((0, 3), np.float32), np.zeros(0))
    assert weights.shape == (0,) and token.tolist() == [0, 0, 0]


def test_a_view_without_an_embedding_weighs_nothing_beside_one_that_has_one():
    assert np.allclose(token_attention(np.array([[0, 0], [1, 1]], np.float32), np.ones(2))[0], [0, 1])


def test_a_high_power_of_small_scores_does_not_vanish():
    embeddings, scores = agreeing(wrong=2)
    assert np.isclose(token_attention(embeddings, scores * 1e-12, 64.0)[0].sum(), 1)


@pytest.mark.parametrize(("scores", "power", "said"), [
    ([0.5, -1], 1.0, "not below 0"), ([0.5, np.nan], 1.0, "finite"), ([0.5, 0.5], 0.0, "power of the attention is 0")])
def test_what_makes_no_sense_is_refused_in_a_sentence(scores, power, said):
    with pytest.raises(ValueError, match=said):
        token_attention(np.ones((2, 3), np.float32), np.array(scores, float), power)


# consensus


@given(SEEDS)
def test_the_consensus_is_the_formulas(seed):
    seen, votes = drawn_votes(seed)
    assert np.allclose(consensus(seen, votes, 3), slow_consensus(seen, votes, 3))


@given(SEEDS)
def test_the_consensus_turns_with_the_views_and_not_with_the_points(seed):
    seen, votes = drawn_votes(seed)
    random = np.random.default_rng(seed)
    views, points = random.permutation(5), random.permutation(30)
    assert np.allclose(consensus(seen[views][:, points], votes[views][:, points]), consensus(seen, votes)[views])


@given(SEEDS)
def test_an_area_counts_as_so_many_points(seed):
    seen, votes = drawn_votes(seed, n=8)
    area = np.random.default_rng(seed).integers(1, 4, 8)
    many = consensus(np.repeat(seen, area, 1), np.repeat(votes, area, 1))
    assert np.allclose(consensus(seen, votes, area=area.astype(float)), many)


def test_views_that_agree_are_believed_and_one_that_contradicts_is_not():
    votes = np.zeros((4, 12))
    votes[:3, :4] = 1
    votes[3, 8:] = 1
    weights = consensus(np.ones((4, 12), bool), votes)
    assert (weights[:3] > 0.9).all() and weights[3] < 1e-6


def test_a_view_that_sees_only_a_piece_is_judged_by_that_piece():
    seen, votes = np.ones((3, 10), bool), np.zeros((3, 10))
    seen[2, 2:] = False
    votes[:2, :4] = 1
    votes[2, :2] = 1
    assert np.allclose(consensus(seen, votes), 1)


def test_without_anybody_who_could_contradict_every_view_counts_in_full():
    assert consensus(np.ones((1, 4), bool), np.ones((1, 4))).tolist() == [1]
    assert consensus(np.eye(3, dtype=bool), np.eye(3)).tolist() == [1, 1, 1]  # no point is seen twice
    assert consensus(np.zeros((0, 4), bool), np.zeros((0, 4))).shape == (0,)
    assert consensus(np.ones((2, 4), bool), np.zeros((2, 4))).tolist() == [1, 1]  # both say nothing


def test_where_no_two_views_agree_all_count_alike():
    assert np.ptp(consensus(np.ones((3, 3), bool), np.eye(3))) < 1e-12
    two = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert consensus(np.ones((2, 2), bool), two).tolist() == [1, 1]


def test_a_vote_where_nothing_is_seen_does_not_count():
    seen, votes = np.ones((2, 4), bool), np.ones((2, 4))
    seen[1, 2:] = False
    other = votes.copy()
    other[1, 2:] = 0
    assert np.allclose(consensus(seen, votes), consensus(seen, other))


# ------------------------------------------------------------------ several queries


def slow_contested(embeddings, scores, power, iterations):
    """One query, one view and one number at a time."""
    unit = [[e / np.linalg.norm(e) for e in each.astype(float)] for each in embeddings]
    weights = [[a / sum(each) for a in each] for each in scores]
    for _ in range(iterations):
        tokens = []
        for each, w in zip(unit, weights):
            q = sum(a * e for a, e in zip(w, each))
            tokens.append(q / np.linalg.norm(q))
        raw = []
        for k, (each, alpha) in enumerate(zip(unit, scores)):
            rivals = [[float(e @ q) for j, q in enumerate(tokens) if j != k] for e in each]
            raw.append([(a * max(0.0, float(e @ tokens[k]) - max([0.0, *other]))) ** power for a, e, other in zip(alpha, each, rivals)])
        weights = [[r / sum(each) for r in each] if sum(each) else w for each, w in zip(raw, weights)]
    return weights


@given(SEEDS, st.sampled_from([1.0, 3.0]))
def test_contested_weights_are_the_formulas(seed, power):
    drawn = [drawn_views(seed + k, v=4 + k) for k in range(3)]
    drawn = [((e + 2 * np.eye(3, e.shape[1], dtype=np.float32)[k]).astype(np.float32), alpha) for k, (e, alpha) in enumerate(drawn)]
    found, _ = contested_attention([e for e, _ in drawn], [alpha for _, alpha in drawn], power, iterations=3)
    for own, slow in zip(found, slow_contested([e for e, _ in drawn], [alpha.tolist() for _, alpha in drawn], power, 3)):
        np.testing.assert_allclose(own, slow, atol=1e-9)


@given(SEEDS)
def test_a_query_alone_is_not_contested(seed):
    e, alpha = drawn_views(seed)
    (weights,), (token,) = contested_attention([e], [alpha], 8.0)
    alone, q = token_attention(e, alpha, 8.0)
    np.testing.assert_array_equal(weights, alone)
    np.testing.assert_array_equal(token, q)


def test_a_view_that_means_what_another_query_means_is_found_out_though_most_do():
    seat, leg = np.eye(2, 8, dtype=np.float32)
    of_seat, of_leg = np.stack([seat] * 5), np.stack([leg, seat, leg, seat, seat])  # three of five answer "leg" with the seat
    alone, _ = token_attention(of_leg, np.ones(5), 8.0)
    (_, contested), (_, token) = contested_attention([of_seat, of_leg], [np.ones(5), np.ones(5)], 8.0)
    assert alone[[0, 2]].sum() < 0.1
    np.testing.assert_allclose(contested, [0.5, 0, 0.5, 0, 0], atol=1e-9)
    np.testing.assert_allclose(token, leg, atol=1e-6)
