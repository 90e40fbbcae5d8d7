"""What is asked, how it is recognised again, and the answerer without eyes."""

import dataclasses

from helpers import small_facts

from semquery.prompts import parse_answer
from semquery.vlm import Appearance, Request, Turn, Vlm

TURNS = (Turn("system", "you name"), Turn("user", "this?", (b"png",)))


def test_equal_requests_have_equal_keys_and_any_change_another():
    facts = small_facts()
    request = Request(TURNS, facts[0])
    key = request.key(Appearance())
    assert key == Request(TURNS, facts[0]).key(Appearance()) and len(key) == 32
    others = [
        Request(TURNS[:1], facts[0]), Request((TURNS[0], Turn("user", "that?", (b"png",))), facts[0]),
        Request((TURNS[0], Turn("user", "this?", (b"other",))), facts[0]), Request((TURNS[0], Turn("user", "this?")), facts[0]),
        Request((TURNS[0], Turn("assistant", "this?", (b"png",))), facts[0]),
    ]
    keys = {key, request.key(Appearance(source="vlm")), *(r.key(Appearance()) for r in others)}
    assert len(keys) == 7


def test_appearance_is_an_answerer_and_says_that_it_understands_nothing():
    appearance, facts = Appearance(), small_facts()
    answer = parse_answer(appearance(Request(TURNS, facts[0])))
    assert isinstance(appearance, Vlm) and appearance.source == "rule"
    assert answer["name"] == f"{facts[0].size} red rod" and answer["synonyms"] == ["red rod"]
    assert answer["thinking"] == f"Measured, not understood: {facts[0].in_words()}."
    assert answer["function"].endswith("what it is for is not known from appearance") and answer["confidence"] <= 0.3


def test_appearance_tells_colours_roundness_look_alikes_and_inner_parts():
    facts = dataclasses.replace(small_facts()[4], is_round=True, shape="disc", second_color="blue", num_alike=2)
    answer = parse_answer(Appearance()(Request(TURNS, facts)))
    assert answer["name"].endswith("red round disc") and answer["synonyms"] == ["red round disc", "blue disc"]
    assert answer["function"].startswith("one of 3 alike, the whole scene, made of 2 parts; ")
