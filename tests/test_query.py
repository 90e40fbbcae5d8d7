"""Relevancy against its definition, and which parts are the answer."""

import numpy as np
import pytest
from helpers import part_tree, random_parts, small_labels, small_parts, small_surface
from hypothesis import given, settings
from hypothesis import strategies as st

from semquery.query import QueryConfig, answer, best_rows, relevancy, select
from semquery.text import Lexical, build_codebook
from semquery.types import NodeLabel

ENCODER = Lexical()
NEGATIVES = ("object", "things", "stuff", "texture")


def unit(random, *shape):
    vectors = random.normal(size=shape)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


# ------------------------------------------------------------------ relevancy


@pytest.mark.parametrize(("k", "j"), [(6, 4), (1, 1), (0, 3)])
def test_relevancy_is_the_least_pairwise_softmax(k, j):
    random = np.random.default_rng(0)
    vectors, query, negatives, T = unit(random, k, 8), unit(random, 8), unit(random, j, 8), 10.0
    naive = [min(np.exp(T * v @ query) / (np.exp(T * v @ query) + np.exp(T * v @ n)) for n in negatives) for v in vectors]
    np.testing.assert_allclose(relevancy(vectors, query, negatives, T), naive)


def test_relevancy_grows_with_similarity_and_is_half_at_indifference():
    angles = np.linspace(0, np.pi / 2, 50)
    rows = np.stack([np.cos(angles), np.sin(angles)], 1)
    scores = relevancy(rows, np.array([0.0, 1.0]), np.array([[1.0, 0.0]]), 10.0)
    assert (np.diff(scores) > 0).all() and scores[0] < 0.001 and scores[-1] > 0.999
    assert relevancy(np.array([[1.0, 1.0]]), np.array([0.0, 1.0]), np.array([[1.0, 0.0]]), 10.0)[0] == pytest.approx(0.5)


def test_without_negatives_relevancy_is_against_no_similarity():
    scores = relevancy(np.array([[1.0, 0], [0, 1]]), np.array([1.0, 0]), np.zeros((0, 2)), 2.0)
    np.testing.assert_allclose(scores, [1 / (1 + np.exp(-2)), 0.5])


def test_each_part_is_spoken_for_by_its_best_row():
    book = build_codebook({0: NodeLabel(0, "a b", ("c d", "e f")), 2: NodeLabel(2, "g h")}, ENCODER, ())
    assert best_rows(book, np.array([0.1, 0.9, 0.3, 0.2]), 4).tolist() == [1, -1, 3, -1]


# ------------------------------------------------------------------ selection


@pytest.mark.parametrize(("score", "answers"), [
    ({0: 0.9, 3: 0.895, 4: 0.2}, [3]),  # the panel is as good as its knob: the higher answers
    ({0: 0.9, 3: 0.85, 4: 0.2}, [0]),  # a clearly better knob stands for itself
    ({0: 0.9, 1: 0.9, 3: 0.8}, [0, 1]),  # both knobs
    ({0: 0.9, 3: 0.895, 4: 0.885}, [4]),
    ({0: 0.9, 4: 0.885, 2: 0.89}, [4]),  # an equal far above swallows all below
    ({0: 0.8, 2: 0.9}, [2]),  # .8 leads by 63 % of .9's lead
    ({0: 0.85, 2: 0.9}, [2, 0]),  # .85 by 79 %
    ({0: 0.99999, 4: 0.999}, [0]),  # relevancy saturates: these differ by .46 in similarity
    ({0: 0.59, 2: 0.3}, []),
    ({}, []),
])
def test_nested_hits_resolve_on_the_tree_of_five(score, answers):
    assert select(small_parts(), score, QueryConfig()) == answers


def test_no_more_than_top_hits_the_best_first():
    flat = part_tree([4] * 5, [0, 1, 2, 3])
    assert select(flat, {0: 0.9, 1: 0.95, 2: 0.92, 3: 0.91}, QueryConfig(top=3)) == [1, 2, 3]


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12), st.floats(0.0, 0.1), st.floats(0.3, 0.9), st.floats(0.0, 1.0))
def test_hits_are_never_nested_and_the_best_part_is_always_answered_for(seed, num_parts, same, threshold, near_best):
    random = np.random.default_rng(seed)
    parts = random_parts(random, num_parts, 5)
    score = {p: float(s) for p, s in enumerate(random.uniform(0.1, 0.99, num_parts))}
    config = QueryConfig(top=99, same=same, threshold=threshold, near_best=near_best)
    chosen = select(parts, score, config)
    assert not any(parts.holds[a, b] for a in chosen for b in chosen if a != b)
    assert [score[p] for p in chosen] == sorted((score[p] for p in chosen), reverse=True)
    assert all(score[p] >= threshold for p in chosen)
    best = max(score, key=score.get)
    if score[best] >= threshold:
        lead = {p: np.log(s / (1 - s)) / config.temperature for p, s in score.items()}
        assert any(parts.holds[c, best] and lead[c] >= lead[best] - same - 1e-9 for c in chosen)
    else:
        assert not chosen


def test_scores_of_zero_and_one_are_no_trouble():
    with np.errstate(all="raise"):
        assert select(small_parts(), {0: 1.0, 2: 0.0}, QueryConfig()) == [0]


# ------------------------------------------------------------------ answers


def ask(text, labels=None, encoder=ENCODER, **config):
    labels = labels or small_labels()
    book = build_codebook(labels, ENCODER, NEGATIVES)
    return answer(text, small_surface(), small_parts(), labels, book, QueryConfig(**config), encoder)


def test_an_answer_says_what_where_and_why():
    hits = ask("the right knob, please", {**small_labels(), 1: NodeLabel(1, "right knob", thinking="It is on the right.")})
    hit = hits[0]
    assert (hit.part, hit.path, hit.matched, hit.num_points) == (1, ("panel", "right knob"), "right knob", 3)
    assert hit.reason == "its name “right knob” is closest to the query. It is on the right."
    assert hit.extent == pytest.approx((1.92, 0, 0), abs=1e-6) and hit.score > 0.99


def test_parts_nothing_is_said_about_are_never_hits_but_stand_in_paths():
    labels = {0: NodeLabel(0, "left knob")}
    hits = ask("left knob", labels)
    assert [h.part for h in hits] == [0] and hits[0].path == ("part 3", "left knob")
    assert ask("plate", labels) == []


def test_a_query_close_to_nothing_has_no_answer():
    assert ask("submarine") == []


def test_a_query_without_a_word_is_refused():
    with pytest.raises(ValueError, match="'of the part' has no word to search for"):
        ask("of the part")


def test_a_codebook_of_another_encoder_is_refused():
    with pytest.raises(ValueError, match=r"made by Lexical\(dim=4096.*encoded by Lexical\(dim=64.*semquery encode RUN --overwrite"):
        ask("knob", encoder=Lexical(dim=64))
