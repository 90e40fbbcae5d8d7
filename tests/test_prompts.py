"""Templates without holes, and answers as models really give them."""

import pytest

from semquery.prompts import fill, negatives, parse_answer, template


def test_every_hole_is_filled_and_nothing_else_changes():
    assert fill("{{a}} and {{b}}, {c} {{a}}", a="1", b="{{a}}", unused="x") == "1 and {{a}}, {c} 1"


def test_a_hole_without_a_value_never_reaches_a_model():
    with pytest.raises(ValueError, match=r"needs \['facts'\]; given were \['place'\]"):
        fill(template("label_part.md"), place="here")


def test_a_prompt_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="There is no prompt gone.md in "):
        template("gone.md")


def test_the_negatives_are_those_of_lerf():
    assert negatives() == ("object", "things", "stuff", "texture")


def test_the_instructions_ask_for_json_that_can_be_read():
    assert parse_answer(template("label_system.md"))["name"].startswith("the usual name")


DOOR = {"name": "door", "confidence": 0.5}


@pytest.mark.parametrize(("text", "answer"), [
    ('{"name": "door", "confidence": 0.5}', DOOR),
    ('```json\n{"name": "door", "confidence": 0.5}\n```', DOOR),
    ('Sure! Here it is:\n{"name": "door", "confidence": 0.5}\nHope that helps.', DOOR),
    ('<think>a {lid}? {"name": "lid"} no</think>\n{"name": "door", "confidence": 0.5}', DOOR),
    ('a {lid}? {"name": "lid"} no\n</think>\n{"name": "door", "confidence": 0.5}', DOOR),
    ('{"name": "door", "confidence": 0.5,}', DOOR),
    ('{"name": "door", "synonyms": ["flap", "lid",], }', {"name": "door", "synonyms": ["flap", "lid"]}),
    ('{"thinking": "line\nbreak", "name": "door"}', {"thinking": "line\nbreak", "name": "door"}),
    ('{"name": "door", "alternatives": [{"name": "lid", "score": 0.1}]}', {"name": "door", "alternatives": [{"name": "lid", "score": 0.1}]}),
    ("Label: oven door", {"name": "oven door"}),
    ("It could be a lid.\n**Label:** oven door.\n", {"name": "oven door"}),
    ("## Name: oven door", {"name": "oven door"}),
    ("label：门", {"name": "门"}),
    ("Label: first thought\nLabel: second thought", {"name": "second thought"}),
    ("{a set} of braces\nName: door", {"name": "door"}),
])
def test_answers_are_found_in_what_models_wrap_them_in(text, answer):
    assert parse_answer(text) == answer


@pytest.mark.parametrize("text", ["", "I cannot tell.", "{}", '{"name": 3}', '{"name": " "}', '{"label": "door"}', "[1, 2]", "}{", '{"name": "do',
                                  '<think>{"name": "door"}', '<think>it goes on and on {"name": "door"}\nName: door'])
def test_what_holds_no_answer_is_none(text):
    assert parse_answer(text) is None
