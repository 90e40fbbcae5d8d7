"""What is asked, how it is recognised again, and the answerer without eyes."""

import dataclasses

from helpers import small_facts

from semquery.labelling import parse_answer
from semquery.vlm import Answer, Appearance, Request, Turn, Vlm

TURNS = (Turn("system", "you name"), Turn("user", "this?", (b"png",)))


def test_equal_requests_have_equal_keys_and_any_change_another():
    facts = small_facts()
    request = Request(TURNS, facts[0])
    key = request.key("A")
    assert key == Request(TURNS, facts[0]).key("A") and len(key) == 32
    others = [
        Request(TURNS[:1]), Request((TURNS[0], Turn("user", "that?", (b"png",)))), Request((TURNS[0], Turn("user", "this?", (b"other",)))),
        Request((TURNS[0], Turn("user", "this?"))), Request((TURNS[0], Turn("assistant", "this?", (b"png",)))),
        Request(TURNS, schema={"type": "object"}), Request(TURNS, max_tokens=9), Request(TURNS, temperature=0.7),
    ]
    assert len({key, request.key("B"), *(r.key("A") for r in others)}) == 10
    assert Request(TURNS).key("A") == key  # what is measured is in the text, if anywhere


def test_a_models_answer_is_text_and_what_it_cost():
    assert Answer("x") == Answer("x", (), 0, 0, 0)


def test_appearance_is_an_answerer_and_says_that_it_understands_nothing():
    appearance, facts = Appearance(), small_facts()
    answer = parse_answer(appearance(Request(TURNS, facts[0])).text)
    assert isinstance(appearance, Vlm) and appearance.source == "rule"
    assert answer["name"] == f"{facts[0].size} red rod" and answer["synonyms"] == ["red rod"]
    assert answer["thinking"] == f"Measured, not understood: {facts[0].in_words()}."
    assert answer["function"].endswith("what it is for is not known from appearance") and answer["confidence"] <= 0.3


def test_appearance_tells_colours_roundness_look_alikes_and_inner_parts():
    facts = dataclasses.replace(small_facts()[4], is_round=True, shape="disc", second_color="blue", num_alike=2)
    answer = parse_answer(Appearance()(Request(TURNS, facts)).text)
    assert answer["name"].endswith("red round disc") and answer["synonyms"] == ["red round disc", "blue disc"]
    assert answer["function"].startswith("one of 3 alike, the whole scene, made of 2 parts; ")
