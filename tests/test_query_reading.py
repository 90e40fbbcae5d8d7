"""Queries read with the names of a scene at hand: the demo scene, where neither the table nor the chair has a name of its own."""

import re
from functools import cache

import numpy as np
import pytest
from helpers import part_tree
from known_places import tabletop_scene
from test_query import searcher as small_searcher
from test_relations import UPRIGHT, cloud, placed

from semquery.codebook import build_codebook
from semquery.phrases import parse
from semquery.prompts import bank, negatives
from semquery.query import QueryConfig, Searcher
from semquery.query.kinds import Names, kinds, number_of
from semquery.relations import frame_of, places
from semquery.resolve.choose import picked
from semquery.spans import Spans
from semquery.text import Lexical
from semquery.types import NodeLabel

UNNAMED = {"chair", "table"}


@cache
def tabletop(numbered: bool, threshold: float = 0.5):
    """The scene ready to be asked, with its places; slats and legs by bare names unless `numbered`."""
    scene, surface, parts, cameras = tabletop_scene()
    names = scene.names if numbered else [re.sub(" [0-9]+$", "", name) for name in scene.names]
    labels = {part: NodeLabel(part, name) for part, name in enumerate(names) if name not in UNNAMED}
    book = build_codebook(labels, Lexical(), negatives(), bank())
    searcher = Searcher(parts, labels, book, Lexical(), QueryConfig(threshold=threshold))
    return searcher, places(surface, parts, frame_of(surface, parts, cameras))


def best(query, numbered=False):
    """The names of the parts that answer first, and the hit; none where there is no answer."""
    searcher, where = tabletop(numbered)
    hits = searcher.find(query, where)
    return ({tabletop_scene()[0].names[part] for part in hits[0].members}, hits[0]) if hits else (set(), None)


def failed(query):
    searcher, where = tabletop(False)
    return searcher.resolution(parse(query), where).failed


LEGS = {f"chair leg {k}" for k in range(1, 5)}
SLATS = {f"slat {k}" for k in range(1, 5)}


@pytest.mark.parametrize(("query", "wanted"), [
    ("door window", {"window"}), ("microwave door window", {"window"}), ("the microwave door handle", {"handle"}),
    ("keypad start button", {"start button"}), ("legs of the chair", LEGS), ("the chair's legs", LEGS), ("chair legs", LEGS),
    ("door and window", {"door", "window"}), ("the door and the window", {"door", "window"}), ("the dial or the display", {"dial", "display"}),
    ("chair legs or slats", LEGS | SLATS), ("the dial and the panel", {"dial", "panel"}),
    ("door with a handle", {"door"}), ("the microwave with a door", {"microwave"}), ("everything but the microwave", {"table", "chair"}),
    ("everything", {"table", "microwave", "chair"}), ("not the microwave", {"table", "chair"}), ("no microwave", {"table", "chair"}),
    ("the dial on the panel", {"dial"}), ("the handle in the microwave", {"handle"}), ("the handle on the microwave", {"handle"}),
    ("slat 2", {"slat 3"}), ("slat #2", {"slat 3"}), ("2. slat", {"slat 3"}), ("slat number 2", {"slat 3"}), ("number 2 slat", {"slat 3"}),
])
def test_nouns_are_read_as_the_names_that_are_there(query, wanted):
    assert best(query)[0] == wanted


@pytest.mark.parametrize("query", ["slat 2", "slat #2", "2. slat", "the slat number 2"])
def test_a_number_in_a_name_is_the_one_that_was_asked_for(query):
    assert best(query, numbered=True)[0] == {"slat 2"}


def test_another_number_is_another_part():
    assert best("slat 7", numbered=True)[0] == set() and best("slat 7")[0] == set()
    assert "there are 4, so" in failed("slat 7")


def test_what_only_begins_a_name_is_not_called_so():
    assert best("chair")[0] == set() and tabletop(False)[0].closest("chair")[0] == "chair leg"
    assert "Nothing here is called “chair”" in failed("chair without legs")


def test_what_must_not_be_there_is_no_answer():
    assert failed("table leg without a leg").startswith("No “table leg” is without")
    assert best("door without a dial")[0] == {"door"}


def test_nothing_is_left_out_where_nothing_is_called_so():
    assert failed("not the piano") == "Nothing here is called “the piano”, so “not the piano” leaves out nothing."


def test_a_door_with_a_handle_is_no_door_handle():
    labels = {0: NodeLabel(0, "door handle"), 1: NodeLabel(1, "hinge"), 2: NodeLabel(2, "door")}
    found = small_searcher(labels)
    assert not found.is_a_name("door with a handle") and found.is_a_name("the door handle")
    assert not found.match("door with a handle").exact.any()


def test_what_is_with_something_that_is_no_part_is_a_description():
    searcher, _ = tabletop(False)
    assert searcher.understood("the door with a red dot").head == "door with a red dot"


def test_of_parts_named_together_all_names_are_said():
    hit = best("the dial and the panel")[1]
    assert hit.matched == "panel, dial" or hit.matched == "dial, panel"
    assert hit.path == ("microwave", "panel", hit.matched) and hit.num_points == len(tabletop(False)[0].laid.points_of(36))


def test_parts_that_stand_behind_each_other_are_counted_one_by_one():
    found = [best(f"the {rank} table leg")[0] for rank in ("first", "second", "third", "fourth")]
    assert all(len(parts) == 1 for parts in found) and len(set.union(*found)) == 4
    assert "there are 4, so" in failed("the fifth table leg")


def test_parts_at_one_place_are_counted_once_and_it_is_said():
    assert "Counted from the left there are 4 at 2 places" in failed("the third table leg from the left")
    assert "number 1 of 2 counted from the left (4 parts, some at one place)" in best("the first table leg from the left")[1].reason


def test_several_on_a_side_are_all_up_to_the_middle():
    at = placed(*(((0, y, 0), (0.1, 0.1, 0.1)) for y in (0, 0.3, 0.9, 1.5, 2)))
    assert picked(range(5), "front", None, at) == [0, 1, 2] and picked(range(5), "back", None, at) == [4, 3]
    assert picked(range(5), "front", 1, at) == [0]  # one was asked for


def test_fewer_than_asked_for_is_said_with_and_without_places():
    assert "asks for 5, there are only 4" in best("five slats")[1].reason
    labels = {0: NodeLabel(0, "left knob"), 1: NodeLabel(1, "right knob"), 2: NodeLabel(2, "plate")}
    (hit,) = small_searcher(labels).find("all the knobs")
    assert "only" not in hit.reason.lower()
    searcher = tabletop(False)[0]
    assert searcher._counted(parse("five slats")).steps == ("Only 4 parts are called “slats”. “five slats” asks for 5.",)


def test_a_name_is_certain_whatever_is_asked_for():
    searcher, where = tabletop(False, threshold=1.0)
    assert [hit.probability for hit in searcher.find("slat", where)] == [1.0]
    assert searcher.find("control dial", where) == []
    assert searcher.closest_in_words("control dial").endswith("likely to be meant, and at least 100 % is asked for.")


@pytest.mark.parametrize(("typed", "meant"), [("buton", "button"), ("displey", "display"), ("slaat", "slat")])
def test_a_slip_of_the_keyboard_is_asked_about(typed, meant):
    assert tabletop(False)[0].closest_in_words(typed).endswith(f"Did you mean “{meant}”?")


def test_who_types_a_name_that_is_nothing_like_any_is_not_asked():
    assert "Did you mean" not in tabletop(False)[0].closest_in_words("submarine")


def test_a_part_without_points_is_said_to_have_none():
    parts = part_tree([3, 3, 3, 3], [0, 0, 2, 2])
    labels = {0: NodeLabel(0, "plate"), 1: NodeLabel(1, "button"), 2: NodeLabel(2, "dial"), 3: NodeLabel(3, "panel")}
    surface = cloud(np.random.default_rng(0).random((4, 3)))
    where = places(surface, parts, UPRIGHT)
    searcher = small_searcher(labels, parts=parts)
    (hit,) = searcher.find("button")
    assert hit.num_points == 0 and hit.reason.endswith("It has no surface point, so where it is cannot be shown.")
    said = searcher.resolution(parse("the button left of the dial"), where).failed
    assert said == "“button” is part 1, without a surface point here, so “the button left of the dial” cannot be answered."
    for query in ("the button of the panel", "the button on the panel", "the button in the panel"):
        assert [hit.part for hit in searcher.find(query, where)] == [1]
    assert searcher.resolution(parse("the button on the dial"), where).failed == "No “button” is on “the dial”."


# ------------------------------------------------------------------ kinds


@pytest.mark.parametrize(("query", "name", "other"), [
    ("chair", "chair leg", True), ("door window", "door", True), ("leg", "chair leg", False), ("lettuce", "lettuce leaf", False),
    ("red leg", "chair leg", False), ("knob left", "left knob", False), ("what opens the door", "door frame", False), ("piano", "door", False),
    ("leg left", "leg", False), ("chair back", "back", False), ("door with a window", "window", True), ("chair", "leg of the chair", False)])
def test_names_that_share_all_but_the_kind_are_of_another_kind(query, name, other):
    assert Names([name], np.array([True])).of_another_kind(query).tolist() == [other]
    assert Names([name], np.array([False])).of_another_kind(query).tolist() == [False]  # a function line is no name


def test_numbers_tell_names_apart():
    assert [number_of(text) for text in ("slat 2", "Slat #2", "slat", "2 slats")] == [2, 2, -1, -1]
    names = Names(["slat 1", "slat 2", "slat", "press 1"], np.array([True, True, True, False]))
    assert names.otherwise_numbered("slat 2").tolist() == [True, False, False, False] and not names.otherwise_numbered("slat").any()


def test_points_of_parts_named_together_count_once():
    laid = Spans(part_tree([1, 2, 2], [0, 0, 1]))
    assert len(laid.points_of(0, 1)) == 3 and "leg of chair" in kinds("leg of the chair")
