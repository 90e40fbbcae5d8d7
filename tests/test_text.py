"""The lexical encoder and the codebook."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semquery.text import Lexical, build_codebook, words
from semquery.types import NodeLabel

ROOT = Path(__file__).parent.parent
ENCODER = Lexical()
TEXTS = st.lists(st.text(max_size=30), min_size=1, max_size=4)


def slow_vector(text, encoder):
    """The definition, a dictionary of tokens at a time."""
    import zlib

    slots = {}
    for word in words(text):
        padded = f"<{word}>"
        grams = ["#" + padded[i : i + encoder.ngram] for i in range(len(padded)) if i + encoder.ngram <= len(padded)]
        for token, weight in [(word, 1.0)] + [(g, (encoder.ngram_weight / len(grams)) ** 0.5) for g in grams]:
            slot = zlib.crc32(token.encode()) % encoder.dim
            slots[slot] = slots.get(slot, 0) + weight
    vector = np.zeros(encoder.dim)
    for slot, weight in slots.items():
        vector[slot] = weight
    return vector / (np.linalg.norm(vector) or 1)


@settings(max_examples=60, deadline=None)
@given(TEXTS)
def test_vectors_are_of_unit_length_or_zero_and_equal_for_equal_texts(texts):
    vectors = ENCODER(texts + texts)
    norms = np.linalg.norm(vectors, axis=1)
    assert ((abs(norms - 1) < 1e-5) | (norms == 0)).all()
    assert (vectors[: len(texts)] == vectors[len(texts) :]).all()
    for text, norm in zip(texts, norms, strict=False):
        assert (norm > 0) == bool(words(text))


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=30), st.sampled_from([Lexical(), Lexical(dim=16, ngram=2, ngram_weight=1.0)]))
def test_vectors_agree_with_their_definition(text, encoder):
    np.testing.assert_allclose(encoder([text])[0], slow_vector(text, encoder), atol=1e-5)


@pytest.mark.parametrize(("query", "right", "wrong"), [
    ("buttons", "button", "bottle cap"), ("legs", "leg", "lid"), ("microwaves", "microwave", "table"),
    ("red round part", "red round disc", "blue square plate"), ("gray door", "grey door", "grand piano"),
])
def test_the_right_name_is_closer_than_the_wrong_one(query, right, wrong):
    vectors = ENCODER([query, right, wrong])
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.1


def test_word_order_case_punctuation_and_stop_words_do_not_count():
    a, b, c = ENCODER(["The LID of the pot!", "pot lid", "please show me: pot (lid)"])
    assert a @ b == pytest.approx(1, abs=1e-6) and a @ c == pytest.approx(1, abs=1e-6)
    assert words("Which part of it is the gray one?") == ["grey"]


def test_a_text_of_stop_words_alone_is_zero():
    assert not ENCODER(["the part of it", "", "?!"]).any()


def test_vectors_are_the_same_in_another_process():
    code = "from semquery.text import Lexical; v = Lexical(dim=64)(['handle of the door']); print(v.tobytes().hex())"
    told = {subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": seed, "PATH": ""}, cwd=ROOT, capture_output=True,
                           text=True, check=True).stdout.strip() for seed in ("1", "2")}
    assert told == {Lexical(dim=64)(["handle of the door"]).tobytes().hex()}


def test_the_codebook_has_a_row_for_each_thing_said():
    labels = {
        3: NodeLabel(3, "panel"),
        1: NodeLabel(1, "knob", ("dial", "Knob"), "turns", (("button", 0.2), ("dial", 0.1))),
    }
    book = build_codebook(labels, ENCODER, ("object", "stuff"))
    assert list(zip(book.part_of_vector.tolist(), book.fields, book.texts, strict=True)) == [
        (1, "name", "knob"), (1, "synonym", "dial"), (1, "function", "turns"), (1, "alternative", "button"), (3, "name", "panel")]
    np.testing.assert_array_equal(book.vectors, ENCODER(book.texts))
    np.testing.assert_array_equal(book.negatives, ENCODER(["object", "stuff"]))
    assert book.negative_texts == ("object", "stuff") and book.encoder == repr(ENCODER)


def test_a_codebook_of_nothing_is_legal():
    book = build_codebook({}, ENCODER, ())
    assert book.vectors.shape == (0, ENCODER.dim) and book.negatives.shape == (0, ENCODER.dim)
