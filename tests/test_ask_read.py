"""Answers as models really give them: ids and roles are found in whatever they are wrapped, and never made up."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapes import shapes_by_name

from semquery.ask import Considered
from semquery.ask.read import Decision, decision_from, ids_in, relevance_from
from semquery.ask.sure import agreement, targets_probability

KNOWN = frozenset({3, 12, 13, 14})
DECIDED = {"thinking": "It is {round}.", "targets": [12, 13], "explanation": "They turn, “so”.", "rejected": [{"part": 3, "why": "too large"}]}
RELEVANT = {"thinking": "hm", "relevant": [{"part": 3, "role": "anchor", "why": "holds it"}, {"part": 12, "role": "candidate", "why": ""}], "open": [14]}
WRAPPED = ("plain", "fenced", "fenced without a language", "amid prose", "trailing comma", "thoughts never closed", "thoughts closed", "thoughts never opened",
           "raw control characters", "single quotes")


def wrapped(answer: dict, shape: str) -> str:
    return shapes_by_name({"name": "x", **answer})[shape]


@pytest.mark.parametrize("shape", WRAPPED)
def test_whatever_a_decision_is_wrapped_in_the_same_is_read(shape):
    assert decision_from(wrapped(DECIDED, shape), KNOWN) == Decision((12, 13), 'They turn, "so".', ((3, "too large"),))


@pytest.mark.parametrize("shape", WRAPPED)
def test_whatever_a_first_answer_is_wrapped_in_the_same_is_read(shape):
    found = relevance_from(wrapped(RELEVANT, shape), KNOWN)
    assert found.relevant == (Considered(3, "anchor", "holds it"), Considered(12, "candidate", "")) and found.open == (14,)


@pytest.mark.parametrize("said", ["12", "#12", "part 12", "id 12: handle", {"part": 12}, {"id": "12"}, 12.0, "**12**", "Node 12", "12–12"])
def test_an_id_is_an_id_however_it_is_written(said):
    assert ids_in([said], KNOWN) == ((12,), ())
    assert decision_from(json.dumps({"targets": said}), KNOWN).targets == (12,)


@pytest.mark.parametrize("said", ["handle", "2 of them", 7, -12, 1.5, math.inf, -math.inf, math.nan, 10**400, True, None, "99999999999999", "the 12th", [], "#"])
def test_what_is_no_known_id_is_none(said):
    assert ids_in([said], KNOWN)[0] == ()


def test_a_range_means_what_is_listed_within_it():
    assert ids_in(["12-14", "12"], KNOWN) == ((12, 13, 14), ()) and ids_in(["4 to 11"], KNOWN) == ((), ("4 to 11",))


def test_no_target_is_an_answer_but_only_unknown_ones_are_none():
    assert decision_from('{"targets": [], "explanation": "There is no piano."}', KNOWN) == Decision((), "There is no piano.")
    assert decision_from('{"targets": [77]}', KNOWN) is None and relevance_from('{"relevant": [{"part": 77}]}', KNOWN) is None
    assert decision_from('{"targets": [77, 12]}', KNOWN) == Decision((12,), "", (), ("77",))
    assert relevance_from('{"relevant": [], "open": []}', KNOWN).relevant == ()


@pytest.mark.parametrize("text", ["", "no idea", "{}", '{"name": "door"}', "12", "I'm sorry", '{"thinking": "it is 12', "<think>12 or 13", '{"targets', "Targets:", "Answer: 3 legs", "Answer: I take 12", "Targets: 77", "targets: " + "1 " * 50_000 + "x"])
def test_what_holds_no_answer_is_not_read(text):
    assert decision_from(text, KNOWN) is None and relevance_from(text, KNOWN) is None


def test_half_a_list_of_targets_is_no_answer_and_a_cut_explanation_spoils_nothing():
    whole = json.dumps(DECIDED)
    list_ends = whole.index("]") + 1
    read = [decision_from(whole[:k], KNOWN) for k in range(len(whole))]
    assert all(found is None for found in read[:list_ends])
    assert all(found.targets == (12, 13) for found in read[list_ends:])


@given(st.dictionaries(st.text(max_size=5), st.recursive(st.integers() | st.text(max_size=5) | st.none() | st.booleans() | st.floats(allow_nan=False),
                                                           lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=6)))
def test_whatever_stands_in_the_fields_nothing_breaks_and_only_known_ids_come_out(more):
    for record in (more, more | {"targets": list(more.values())}, more | {"relevant": list(more.values()), "open": list(more)}):
        decided, first = decision_from(json.dumps(record), KNOWN), relevance_from(json.dumps(record), KNOWN)
        assert decided is None or set(decided.targets) <= KNOWN
        assert first is None or {each.part for each in first.relevant} | set(first.open) <= KNOWN


@pytest.mark.parametrize(("text", "targets"), [
    ("It turns.\n**Targets**: 12, 13", (12, 13)), ("Answer: #12 and #13.", (12, 13)), ("target = [12]", (12,)), ("Targets: **none**", ()),
    ("Answer: 3 legs\nTargets: part 12", (12,)), ("thus\nTargets: []", ())])
def test_a_marked_line_will_do_for_a_decision(text, targets):
    assert decision_from(text, KNOWN).targets == targets


def test_roles_are_read_leniently_and_the_first_mention_counts():
    said = [{"part": 3, "role": "Anchor object"}, {"part": 3, "role": "candidate"}, {"id": "#12", "role": "target_candidate"}, 13]
    found = relevance_from(json.dumps({"Relevant": said}), KNOWN).relevant
    assert [(each.part, each.role) for each in found] == [(3, "anchor"), (12, "candidate"), (13, "candidate")]


def test_long_reasons_are_trimmed_to_a_line():
    found = relevance_from(json.dumps({"relevant": [{"part": 3, "why": "x\n" * 5000}]}), KNOWN)
    assert len(found.relevant[0].why) <= 240 and "\n" not in found.relevant[0].why


# how sure


def test_the_probability_is_that_of_the_tokens_of_the_targets_alone():
    tokens = [('{"thinking": "1', -9.0), ('2", "targets": [', -3.0), ("12", -0.2), (", ", -5.0), ("1", -0.4), ("3", -0.6), ('], "x": 4}', -7.0)]
    assert targets_probability(tokens) == pytest.approx(math.exp(-0.4))


def test_of_an_empty_list_the_brackets_speak_and_without_a_list_nobody():
    assert targets_probability([('{"targets": ', -1.0), ("[", -0.1), ("]", -0.3), ("}", -2.0)]) == pytest.approx(math.exp(-0.2))
    assert targets_probability([("no", -1.0)]) is None and targets_probability([]) is None


def test_the_answer_counts_not_what_was_thought_of_before():
    tokens = [('<think>"targets": [3]', -8.0), ("</think>", 0.0), ('{"targets": [', 0.0), ("12", -0.5), ("]}", 0.0)]
    assert targets_probability(tokens) == pytest.approx(math.exp(-0.5))
    assert targets_probability([('{"targets": [', 0.0), ("12", -math.inf), ("]}", 0.0)]) == 0.0


def test_agreement_is_the_share_of_equal_answers_in_any_order():
    assert agreement((1, 2), [(2, 1), (1,), None]) == 0.5 and agreement((), []) == 1.0
