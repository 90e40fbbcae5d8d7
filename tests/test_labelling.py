"""The walk: its order, its context, what it remembers and what it never overwrites."""

import dataclasses
import json

import pytest
from helpers import NAMES, random_parts, small_facts, small_parts

from semquery.labelling import ATTEMPTS, ask, depth_first, label_from, labels_by_hand, walk
from semquery.types import NodeLabel
from semquery.vlm import Appearance, Request


def pictures(part: int) -> tuple[bytes, ...]:
    return (f"picture of {part}".encode(), b"close up")


@dataclasses.dataclass
class Scripted:
    """Answers with the part's name, which it reads from the last picture; notes what it was asked."""

    source: str = "vlm"
    stop_after: int = 99

    def __post_init__(self):
        self.asked: list[int] = []
        self.requests: dict[int, Request] = {}

    def __call__(self, request: Request) -> str:
        part = int(request.turns[-1].images[0].split()[-1])
        if len(self.asked) >= self.stop_after:
            raise KeyboardInterrupt
        self.asked.append(part)
        self.requests[part] = request
        return json.dumps({"name": NAMES[part]})

    def __repr__(self):
        return "Scripted()"


class Book(dict):
    """A journal in memory."""

    def add(self, label: NodeLabel, key: str) -> None:
        self[label.part] = (label, key)


def label_all(vlm, journal=None) -> tuple[dict[int, NodeLabel], Book]:
    journal = Book() if journal is None else journal
    return walk(small_parts(), small_facts(), pictures, vlm, journal, journal.add), journal


# ------------------------------------------------------------------ order and context


def test_the_walk_goes_depth_first_larger_parts_first():
    assert list(depth_first(small_parts())) == [4, 3, 0, 1, 2]


@pytest.mark.parametrize("seed", range(5))
def test_every_part_comes_once_after_its_parent_and_with_its_family(seed):
    import numpy as np

    parts = random_parts(np.random.default_rng(seed), 15, 40)
    order = list(depth_first(parts))
    place = {part: i for i, part in enumerate(order)}
    assert sorted(order) == list(range(15))
    for part in range(15):
        family = sorted(place[p] for p in range(15) if parts.holds[part, p])
        assert family == list(range(place[part], place[part] + len(family)))  # itself, then all inside it, without a gap


def test_every_part_is_asked_with_its_ancestors_pictures_and_answers():
    vlm = Scripted()
    labels, _ = label_all(vlm)
    assert vlm.asked == [4, 3, 0, 1, 2] and {p: label.name for p, label in labels.items()} == NAMES
    turns = vlm.requests[1].turns
    assert [t.role for t in turns] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert [t.images[0] for t in turns if t.images] == [b"picture of 4", b"picture of 3", b"picture of 1"]
    assert [json.loads(t.text)["name"] for t in turns if t.role == "assistant"] == ["scene", "panel"]
    assert "This is a part of the panel, which has 2 parts." in turns[-1].text and "This is the whole scene." in turns[1].text
    assert small_facts()[1].in_words() in turns[-1].text


def test_a_parents_conversation_is_a_strict_beginning_of_its_childrens():
    vlm = Scripted()
    label_all(vlm)
    for part in (0, 1, 2, 3):
        parent, child = vlm.requests[int(small_parts().parents[part])].turns, vlm.requests[part].turns
        assert child[: len(parent)] == parent and len(child) == len(parent) + 2
        assert child[len(parent)].role == "assistant" and child[-1].role == "user"


# ------------------------------------------------------------------ the journal


def test_a_finished_walk_is_repeated_without_a_single_question():
    first, journal = label_all(Scripted())
    again = Scripted()
    labels, _ = label_all(again, journal)
    assert again.asked == [] and labels == first


@pytest.mark.parametrize("stop", range(5))
def test_an_interrupted_walk_asks_only_what_is_missing(stop):
    journal = Book()
    with pytest.raises(KeyboardInterrupt):
        label_all(Scripted(stop_after=stop), journal)
    rest = Scripted()
    labels, _ = label_all(rest, journal)
    assert rest.asked == [4, 3, 0, 1, 2][stop:] and labels == label_all(Scripted())[0]


def test_another_answerer_is_asked_anew():
    _, journal = label_all(Scripted())
    labels, _ = label_all(Appearance(), journal)
    assert {label.source for label in labels.values()} == {"rule"}


def test_a_name_by_the_user_is_never_asked_for_nor_overwritten_and_is_context_for_its_children():
    _, journal = label_all(Scripted())
    journal[3] = (NodeLabel(3, "control panel", source="user"), "")
    vlm = Scripted()
    labels, after = label_all(vlm, journal)
    assert labels[3].name == after[3][0].name == "control panel"
    assert vlm.asked == [0, 1]  # their context changed; the plate's did not
    assert vlm.requests[0].turns[-2].text == "control panel" and "a part of the control panel" in vlm.requests[0].turns[-1].text


# ------------------------------------------------------------------ answers that cannot be read


class Mumbling(Scripted):
    """Never gives a readable answer for the panel."""

    def __call__(self, request):
        answer = super().__call__(request)
        return "hm, who knows" if self.asked[-1] == 3 else answer


def test_an_unreadable_answer_becomes_unknown_and_the_walk_goes_on():
    vlm = Mumbling()
    labels, _ = label_all(vlm)
    assert vlm.asked == [4] + [3] * ATTEMPTS + [0, 1, 2] and ATTEMPTS == 3
    unknown = labels[3]
    assert (unknown.name, unknown.confidence, unknown.raw, unknown.thinking) == ("unknown", 0, "hm, who knows", "the answer could not be read")
    assert labels[0].name == "left knob"


def test_a_second_attempt_may_succeed():
    answers = iter(["nothing", '{"name": "door"}'])

    class Late:
        source = "vlm"

        def __call__(self, request):
            return next(answers)

    assert ask(Late(), Request((), small_facts()[0]), 7) == NodeLabel(7, "door", confidence=0.5, source="vlm", raw='{"name": "door"}')


def test_labels_leave_out_what_is_missing_or_of_the_wrong_type():
    label = label_from({"name": "  oven\n door ", "synonyms": ["flap", 3, " "], "function": None, "alternatives": [
        {"name": "lid", "score": 7}, {"score": 1}, "x", {"name": "cap"}], "thinking": ["a"], "confidence": "high"}, 2, "vlm", "raw")
    assert label == NodeLabel(2, "oven door", ("flap",), "", (("lid", 1.0), ("cap", 0.5)), "", 0.5, "vlm", "raw")
    assert label_from({"name": "a", "confidence": float("nan")}, 0, "vlm").confidence in (0.0, 0.5)
    assert label_from({"name": "a", "synonyms": "flap", "confidence": -3}, 0, "vlm").synonyms == ()


# ------------------------------------------------------------------ names by hand


def test_names_by_hand_are_names_or_objects():
    given = labels_by_hand({"0": "knob", "3": {"name": "panel", "synonyms": ["controls"], "function": "set the time"}}, small_parts())
    assert given == [NodeLabel(0, "knob", source="user"), NodeLabel(3, "panel", ("controls",), "set the time", source="user")]


@pytest.mark.parametrize(("record", "message"), [
    ({}, "are a JSON object such as"), ([1], "are a JSON object such as"), ({"5": "x"}, "There is no part '5': parts are numbered 0 to 4"),
    ({"-1": "x"}, "There is no part '-1'"), ({"knob": "x"}, "There is no part 'knob'"), ({"²": "x"}, "There is no part '²'"),
    ({"1": 3}, "Part 1: expected a name or an object with a name, got 3"),
    ({"1": " "}, "Part 1: expected a name"), ({"1": {"synonyms": ["x"]}}, "Part 1: expected a name"), ({"1": None}, "Part 1: expected a name"),
])
def test_names_by_hand_that_fit_no_part_are_refused(record, message):
    with pytest.raises(ValueError, match=message):
        labels_by_hand(record, small_parts())
