"""Answers as models really give them: what must be read, and what must not be taken for a name."""

import json

import pytest
from shapes import NAMELESS, shapes_by_name

from semquery.labelling.parse import clean_name, json_objects, parse_answer, without_thoughts
from semquery.prompts import template

DOOR = {"name": "door", "function": "opens"}
JSON = '{"name": "door", "function": "opens"}'


def test_the_instructions_show_json_that_can_be_read():
    example = next(json_objects(template("label_system.md")))
    assert list(example) == ["thinking", "name", "synonyms", "function", "alternatives", "parent_suspect"]
    assert isinstance(next(json_objects(template("siblings.md").split("thinking first:")[1]))["renamed"], list)


@pytest.mark.parametrize("text", [
    JSON, f"```json\n{JSON}\n```", f"```\n{JSON}\n```", f"Sure! Here it is:\n{JSON}\nHope that helps.", '{"name": "door", "function": "opens",}',
    f'<think>a {{lid}}? {{"name": "lid"}} no</think>\n{JSON}', f'a {{lid}}? {{"name": "lid"}} no\n</think>\n{JSON}', f"<think>hm, a door\n{JSON}",
    f"<thinking>no</thinking>{JSON}", f"{{a set}} of braces, then {JSON}", f'{{"name": "lid"}}\nNo, better:\n{JSON}', "{'name': 'door', 'function': 'opens'}",
    '{"Name": "door", "function": "opens"}', '{"label": "door", "function": "opens"}', '{"name": ["door"], "function": "opens"}',
    '{"name": "**door**", "function": "opens"}', '{"name": "door (0.9)", "function": "opens"}', '{"name": "door", "function": "opens", "alterna',
    '{"name": "door", "function": "opens", "alternatives": [{"name": "lid", "sco',
])
def test_json_is_found_in_what_models_wrap_it_in(text):
    assert parse_answer(text) == DOOR


def test_raw_line_breaks_and_inner_names_do_no_harm():
    assert parse_answer('{"thinking": "line\nbreak\ttab", "name": "door"}') == {"name": "door", "thinking": "line\nbreak\ttab"}
    text = '{"alternatives": [{"name": "lid", "score": 0.1}], "name": "door"}'
    assert parse_answer(text) == json.loads(text)
    assert parse_answer('{"thinking": "a } and \\" and </think> inside", "name": "door"}')["name"] == "door"
    assert parse_answer('{"thinking": "so, [a, b,] then", "name": "door",}')["thinking"] == "so, [a, b,] then"


def test_a_cut_answer_keeps_what_was_complete():
    whole = {"thinking": "two\nlines", "name": "door", "synonyms": ["flap", "leaf"], "function": "opens", "alternatives": [{"name": "lid", "score": 0.2}]}
    text = json.dumps(whole)
    for end in range(len(text)):
        found = parse_answer(text[:end])
        complete = end >= text.index('"door"') + len('"door"')
        assert (found is not None) == complete
        assert not complete or (found["name"] == "door" and all(found[k] == whole[k] for k in found))


def test_a_broken_object_never_lends_the_name_of_something_inside_it():
    broken = '{"thinking": "the "door" here", "name": "door", "alternatives": [{"name": "lid", "score": 0.1}]}'
    assert parse_answer(broken)["name"] == "door"
    assert parse_answer('{"thinking": "a "b" c", "alternatives": [{"name": "lid"}], "name": "door"}') is None


@pytest.mark.parametrize(("text", "name"), [
    ("Label: oven door", "oven door"), ("It could be a lid.\n**Label:** oven door.\n", "oven door"), ("## Name: oven door", "oven door"),
    ("**Thinking**: flat.\n**Label**: oven door", "oven door"), ("****Label**:** oven door", "oven door"), ("- **label** : *oven door*", "oven door"),
    ("label：门", "门"), ("标签：门", "门"), ("Label: first thought\nLabel: second thought", "second thought"), ("Final answer: **door**", "door"),
    ("### Label\n\noven door\n", "oven door"), ("**Label**:\noven door", "oven door"), ("1. **Thinking**: flat\n2. **Label**: door", "door"),
    ("Label: \"door\"", "door"), ("Label: `door` (confidence: 0.8)", "door"), ("It is flat and hinged. **Label**: door", "door"),
    ("<think>It is flat.\n**Label**: door", "door"), ("Label: Unknown", "Unknown"), ("{a set} of braces\nName: door", "door"),
])
def test_marked_labels_are_found_in_any_markdown(text, name):
    assert parse_answer(text)["name"] == name


def test_other_names_after_a_slash_become_synonyms():
    assert parse_answer("Label: dial / knob") == {"name": "dial", "synonyms": ["knob"]}
    assert parse_answer('{"name": "dial/knob", "synonyms": ["disc"]}') == {"name": "dial", "synonyms": ["knob", "disc"]}


def test_thoughts_before_a_label_are_kept():
    assert parse_answer("**Thinking**: it is round,\nso it turns.\n**Label**: dial") == {"name": "dial", "thinking": "it is round,\nso it turns."}


@pytest.mark.parametrize("text", [
    "", "I cannot tell.", "{}", '{"name": 3}', '{"name": " "}', '{"name": []}', "[1, 2]", "}{", '{"name": "do', '<think>{"name": "door"}',
    "<think>it could be a door. Label: hm, no", "Label:", "**Label**:", "Label: I'm sorry, I cannot identify the part.", "Label: ?", '{"name": "{"}',
    "Label: this is a rather long sentence about many things that are seen here", "The label on the bottle reads: poison", "{" * 3000, '{"a":' * 3000,
    '{"name": "Sorry, I am unable to help"}', "这是一个门", "door",
])
def test_what_holds_no_answer_is_none(text):
    assert parse_answer(text) is None


def test_a_bare_line_counts_only_when_asked_for_and_never_a_refusal():
    assert parse_answer("oven door.", bare=True) == {"name": "oven door"}
    for text in ("I'm sorry, I cannot tell.", "What is shown?", "a\nb", "It is flat, has two hinges and may be opened to the front"):
        assert parse_answer(text, bare=True) is None


def test_thoughts_are_taken_off():
    for text in ("<think>a</think>b", "a</think>b", "<think>x</think><think>y</think>b", "<THINK>a</THINK> b"):
        assert without_thoughts(text) == "b"
    assert without_thoughts("b <think>never ends") == "b" and without_thoughts(f"<think>hm {JSON}") == ""


@pytest.mark.parametrize(("text", "name"), [
    (" **Oven  door**. ", "Oven door"), ("1. handle", "handle"), ("«door»", "door"), ("handle (left, 80 %)", "handle"), ("3D printer", "3D printer"),
    ("t-shirt", "t-shirt"), ("***", ""), ("x" * 81, ""), ("one two three four five six seven eight nine", ""), ("USB-C port", "USB-C port"),
])
def test_names_are_cleaned_of_everything_that_is_no_name(text, name):
    assert clean_name(text) == name and clean_name(name) == name


ANSWER = {"thinking": "It is round.", "name": "timer knob", "synonyms": ["dial"], "function": "sets the time",
          "alternatives": [{"name": "button", "score": 0.2}], "parent_suspect": False}


@pytest.mark.parametrize("shape", shapes_by_name(ANSWER))
def test_of_the_26_shapes_all_that_hold_the_name_are_read_and_no_other_gives_a_wrong_one(shape):
    text = shapes_by_name(ANSWER)[shape]
    found, bare = parse_answer(text), parse_answer(text, bare=True)
    assert (found and found["name"]) == {"unknown": "Unknown"}.get(shape, None if shape in NAMELESS else "timer knob")
    assert (bare and bare["name"]) == {"unknown": "Unknown", "refusal": None, "cut before the name": None}.get(shape, "timer knob")


def test_24_of_the_26_shapes_are_read_once_bare_lines_count():
    texts = shapes_by_name(ANSWER).values()
    assert len(texts) == 26 and sum(parse_answer(text, bare=True) is not None for text in texts) == 24
    assert sum(parse_answer(text) is not None for text in texts) == 23
