"""The stub server that other tests trust: its strictness, its counting, its faults, and the shapes of answers."""

import base64
import copy
import json
from importlib.util import find_spec
from itertools import takewhile

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from shapes import NAMELESS, shapes, shapes_by_name
from stub_dialect import BadRequest, block_hashes, check_body, images_of, problems, prompt_tokens, smallest, text_of
from stub_server import Faults, StubServer
from test_server import DOOR, client, png, request

from semquery.labelling.parse import parse_answer
from semquery.labelling.schema import NODE_SCHEMA, RECONSIDER_SCHEMA, SIBLINGS_SCHEMA
from semquery.vlm import VlmError

RED = f"data:image/png;base64,{base64.b64encode(png('red')).decode()}"


def body() -> dict:
    parts = [{"type": "image_url", "image_url": {"url": RED}}, {"type": "text", "text": "what is it?"}]
    messages = [{"role": "system", "content": "name"}, {"role": "user", "content": parts}, {"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}]
    nested = {"name": "answer", "strict": True, "schema": {"type": "object", "properties": {}, "required": [], "additionalProperties": False}}
    return {"model": "m", "messages": messages, "max_tokens": 9, "response_format": {"type": "json_schema", "json_schema": nested}}


def broken(change) -> dict:
    changed = copy.deepcopy(body())
    change(changed)
    return changed


def test_what_is_right_is_taken():
    check_body(body())
    check_body(broken(lambda b: b["messages"].pop(0)))
    check_body(broken(lambda b: b.pop("response_format")))
    assert images_of(body()) == [png("red")] and images_of(body(), last=True) == [] and text_of(body()["messages"][1]) == "what is it?"


@pytest.mark.parametrize("change", [
    lambda b: b.pop("model"), lambda b: b.update(top_k=3), lambda b: b.update(seed=1.5), lambda b: b.update(max_tokens=0), lambda b: b.pop("max_tokens"),
    lambda b: b.update(temperature=3), lambda b: b.update(logprobs=1), lambda b: b.update(messages=[]),
    lambda b: b["messages"].pop(), lambda b: b["messages"].pop(1), lambda b: b["messages"].append({"role": "tool", "content": "x"}),
    lambda b: b["messages"][0].update(name="x"), lambda b: b["messages"][3].update(content=""), lambda b: b["messages"][1]["content"].reverse(),
    lambda b: b["messages"][1]["content"].pop(), lambda b: b["messages"][0].update(content=[{"type": "text", "text": "x"}]),
    lambda b: b["messages"][1]["content"][0].update(image_url=RED), lambda b: b["messages"][1]["content"][0]["image_url"].update(url="https://host/a.png"),
    lambda b: b["messages"][1]["content"][0]["image_url"].update(url=RED[:-8]), lambda b: b["messages"][1]["content"][0]["image_url"].update(url=RED + "!"),
    lambda b: b["messages"][1]["content"][0]["image_url"].update(url=RED.replace("png", "jpeg")),
    lambda b: b["messages"][1]["content"][0]["image_url"].update(url=RED[:60] + ("A" if RED[60] != "A" else "B") + RED[61:]),
    lambda b: b.update(response_format={"type": "json_schema", "schema": {}}), lambda b: b["response_format"]["json_schema"].update(strict=False),
    lambda b: b["response_format"]["json_schema"].update(name="an answer"), lambda b: b["response_format"]["json_schema"]["schema"].update(oneOf=[]),
])
def test_what_is_wrong_is_refused(change):
    with pytest.raises(BadRequest):
        check_body(broken(change))


def test_the_prompts_own_schemas_are_understood():
    for schema in (NODE_SCHEMA, RECONSIDER_SCHEMA, SIBLINGS_SCHEMA):
        assert problems(smallest(schema), schema) == []
    assert problems(DOOR, NODE_SCHEMA) == [] and problems(DOOR, RECONSIDER_SCHEMA) == ["answer has parent_suspect"]


VALUES = st.recursive(st.none() | st.booleans() | st.integers(-3, 5) | st.floats(-2, 2) | st.text("ab", max_size=3),
                      lambda v: st.lists(v, max_size=3) | st.dictionaries(st.sampled_from("xyz"), v, max_size=3), max_leaves=6)
SCHEMAS = st.recursive(
    st.sampled_from([{"type": "boolean"}, {"type": "integer", "minimum": 0}, {"type": "number", "maximum": 1}, {"type": "string", "minLength": 1, "maxLength": 2},
                     {"type": "null"}, {"enum": ["a", "b"]}]),
    lambda s: st.builds(lambda i, n: {"type": "array", "items": i, "minItems": n, "maxItems": 2}, s, st.integers(0, 2))
    | st.builds(lambda p, r, a: {"type": "object", "properties": p, "required": sorted(set(r) & set(p)), "additionalProperties": a},
                st.dictionaries(st.sampled_from("xyz"), s, max_size=3), st.lists(st.sampled_from("xyz")), st.booleans()), max_leaves=5)


@settings(deadline=None)
@given(SCHEMAS)
def test_the_smallest_value_fits(schema):
    assert problems(smallest(schema), schema) == []


@pytest.mark.skipif(find_spec("jsonschema") is None, reason="the judge, jsonschema, is not installed")
@settings(deadline=None)
@example({"type": "integer"}, 1.0)
@example({"type": "integer"}, True)
@given(SCHEMAS, VALUES)
def test_values_fit_or_not_as_a_full_validator_says(schema, value):
    from jsonschema import Draft202012Validator

    assert (problems(value, schema) == []) == Draft202012Validator(schema).is_valid(json.loads(json.dumps(value)))


@settings(deadline=None)
@given(st.lists(st.sampled_from("ab"), max_size=40), st.lists(st.sampled_from("ab"), max_size=40), st.lists(st.sampled_from("ab"), max_size=40))
def test_the_blocks_known_of_a_prompt_are_the_full_ones_of_its_longest_known_beginning(common, one, other):
    server = StubServer(lambda b: DOOR)
    first, second = common + one, common + other + ["end"]
    assert server.read(first) == 0
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))
    assert server.read(second) == min(shared // 16, (len(second) - 1) // 16) * 16
    assert len(block_hashes(first)) == len(first) // 16


def test_a_picture_is_a_token_per_28_pixels_square_and_another_picture_other_tokens():
    def tokens(color: str, size: tuple[int, int]) -> list[str]:
        url = f"data:image/png;base64,{base64.b64encode(png(color, size)).decode()}"
        return prompt_tokens([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "a b"}]}])

    assert len(tokens("red", (448, 448))) == 256 + 5 and len(tokens("red", (5, 5))) == 1 + 5
    assert not set(tokens("red", (56, 56))[1:5]) & set(tokens("blue", (56, 56))[1:5])


def test_an_answer_that_does_not_fit_is_replaced_where_the_schema_is_enforced():
    for enforce, found in ((True, smallest(NODE_SCHEMA)), (False, {"name": "door"})):
        with StubServer(lambda b: {"name": "door"}, latency=0.0, enforce=enforce) as server:
            assert json.loads(client(server)(request("red")).text) == found


def test_an_answer_is_cut_where_its_tokens_end():
    with StubServer(lambda b: "one two three", latency=0.0) as server:
        assert client(server)(request("red", max_tokens=2, schema=None)).text == "one two"


def test_an_oracle_that_fails_is_not_forgotten():
    def wrong(body: dict) -> str:
        raise KeyError("no such part")

    with pytest.raises(KeyError, match="no such part"):
        with StubServer(wrong, latency=0.0) as server:
            with pytest.raises(VlmError, match="HTTP 418: KeyError"):
                client(server)(request("red"))


def test_faults_depend_on_the_request_and_the_attempt_alone():
    faults = Faults(rate=0.3, most=3)
    drawn = [[faults.of(str(k), attempt)[0] for attempt in range(5)] for k in range(400)]
    assert drawn == [[Faults(rate=0.3, most=3).of(str(k), attempt)[0] for attempt in range(5)] for k in range(400)]
    assert abs(np.mean([kind != "" for kinds in drawn for kind in kinds[:3]]) - 0.3) < 0.05
    assert {kind for kinds in drawn for kind in kinds[3:]} == {""} and {kind for kinds in drawn for kind in kinds} == {"", *faults.kinds}
    assert drawn != [[Faults(rate=0.3, seed=1).of(str(k), attempt)[0] for attempt in range(5)] for k in range(400)]


def test_spoiled_answers_arrive_in_other_shapes_then_whole():
    for kind in ("shape", "cut text"):
        with StubServer(lambda b: DOOR, latency=0.0, faults=Faults(rate=1.0, kinds=(kind,), most=2)) as server:
            told = [client(server)(request("red")).text for _ in range(3)]
        assert told[2] == json.dumps(DOOR) and json.dumps(DOOR) not in told[:1] and server.counts[kind] == 2
        assert kind == "cut text" or set(told[:2]) <= set(shapes(DOOR))


def test_there_are_26_shapes_and_all_but_four_hold_the_name():
    found = shapes_by_name(DOOR)
    assert len(found) == 26 == len(set(shapes(DOOR))) and set(NAMELESS) < set(found)
    names = {shape: (parse_answer(text) or {}).get("name") for shape, text in found.items()}
    assert names == {shape: "Unknown" if shape == "unknown" else None if shape in NAMELESS else "door" for shape in found}
