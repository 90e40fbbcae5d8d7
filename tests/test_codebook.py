"""What the codebook says of whom, and that nothing is encoded twice."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semquery.codebook import build_codebook, said
from semquery.text import Lexical
from semquery.types import NodeLabel

ENCODER, TEXTS = Lexical(dim=512), st.sampled_from("abcd")


@dataclass(frozen=True)
class Counting:
    """Lexical, with a record of what it was given; its pictures are the lengths of their files."""

    asked: list = field(default_factory=list, compare=False)
    identity = "counting"
    kind = "lexical"

    def check(self) -> str:
        return ""

    def passages(self, texts):
        self.asked.extend(texts)
        return ENCODER.passages(texts)

    def queries(self, texts):
        raise AssertionError("what is searched in was encoded as a query")

    def pictures(self, pngs):
        return np.array([[len(png), 1] for png in pngs], np.float32)


LABELS = {
    3: NodeLabel(3, "panel", ("Knob",)),
    1: NodeLabel(1, "knob", ("dial", "Knob", " "), "turns", (("button", 0.2), ("dial", 0.1))),
    2: NodeLabel(2, "knob"),
}


def entries(book):
    return list(zip(book.part_of_entry.tolist(), book.fields, [book.texts[t] for t in book.text_of_entry], strict=True))


def test_there_is_an_entry_for_each_thing_said():
    book = build_codebook(LABELS, ENCODER, ("object", "stuff"), ("leg",))
    assert entries(book) == [(1, "name", "knob"), (1, "synonym", "dial"), (1, "function", "turns"), (1, "alternative", "button"),
                             (2, "name", "knob"), (3, "name", "panel"), (3, "synonym", "Knob")]
    np.testing.assert_array_equal(book.vectors, ENCODER.passages(book.texts))
    np.testing.assert_array_equal(book.negatives, ENCODER.passages(["object", "stuff"]))
    np.testing.assert_array_equal(book.bank, ENCODER.passages(["leg"]))
    assert (book.negative_texts, book.bank_texts, book.encoder) == (("object", "stuff"), ("leg",), ENCODER.identity)
    assert book.encoder_config == {"class": "Lexical", "dim": 512, "ngram": 3, "ngram_weight": 0.35}


def test_a_text_is_encoded_once_however_many_parts_it_is_said_of():
    encoder = Counting()
    book = build_codebook({p: NodeLabel(p, "screw", (), "holds") for p in range(40)}, encoder, ("object",), ("leg", "lid"))
    assert encoder.asked == ["screw", "holds", "object", "leg", "lid"]
    assert book.texts == ("screw", "holds") and len(book.part_of_entry) == 80


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.integers(0, 9), st.tuples(TEXTS, st.lists(TEXTS, max_size=3), st.sampled_from(["", "d e"])), max_size=8))
def test_every_entry_is_what_its_label_says(drawn):
    labels = {p: NodeLabel(p, name, tuple(synonyms), function) for p, (name, synonyms, function) in drawn.items()}
    book = build_codebook(labels, ENCODER, (), ())
    assert entries(book) == [(p, field, text) for p in sorted(labels) for field, text in said(labels[p])]
    assert len(set(book.texts)) == len(book.texts) == len(book.vectors)


@pytest.mark.parametrize("label", [
    NodeLabel(0, "unknown", ("thing",)), NodeLabel(0, "unknown", status="failed"), NodeLabel(0, "lid", status="failed"),
])
def test_nothing_is_said_of_a_part_that_could_not_be_named(label):
    assert said(label) == [] and build_codebook({0: label}, ENCODER, (), ()).texts == ()


def test_a_codebook_of_nothing_is_legal():
    book = build_codebook({}, ENCODER, (), ())
    assert book.vectors.shape == book.negatives.shape == book.bank.shape == (0, 512) and book.picture_encoder == ""


def test_pictures_stand_beside_the_texts_with_their_own_encoder():
    encoder = Counting()
    book = build_codebook(LABELS, ENCODER, (), (), {2: b"xxx", 0: b"x"}, encoder)
    assert book.part_of_picture.tolist() == [0, 2] and book.pictures.tolist() == [[1, 1], [3, 1]]
    assert (book.encoder, book.picture_encoder, book.picture_encoder_config["class"]) == (ENCODER.identity, "counting", "Counting")


def test_without_pictures_no_encoder_of_pictures_is_recorded():
    assert build_codebook(LABELS, ENCODER, (), (), {}, Counting()).picture_encoder == ""


def test_pictures_without_an_encoder_are_refused():
    with pytest.raises(ValueError, match="pictures of 1 parts but no encoder of pictures"):
        build_codebook(LABELS, ENCODER, (), (), {2: b"x"})
