"""Questions without a model: what geometry and names can tell, and that it is said what they cannot."""

import numpy as np
import pytest
from asking_helpers import painted_subject, small_subject, subject_of
from helpers import small_cameras, small_labels, small_parts, small_surface
from painted import painted

from semquery.ask import ask
from semquery.types import NodeLabel


@pytest.fixture(scope="module")
def room():
    subject = painted_subject(painted(), left_leg="leg", right_leg="leg")
    knob = painted().names.index("drawer knob")
    subject.labels[knob] = NodeLabel(knob, "knob", function="pull it to open the drawer")
    return subject


@pytest.mark.parametrize(("question", "wanted"), [
    ("the left leg of the desk", {"left leg"}), ("all the legs", {"left leg", "right leg"}), ("the leg closest to the cupboard", {"right leg"}),
    ("Which leg is nearest to the lamp?", {"right leg"})])
def test_what_the_form_of_a_question_tells_is_computed(room, question, wanted):
    answer = ask(question, room)
    assert {painted().names[p] for p in answer.targets} == wanted and answer.method == "symbolic" and answer.steps and answer.calls == 0


def test_anchors_and_what_was_left_out_are_told(room):
    answer, names = ask("the leg closest to the cupboard", room), painted().names
    assert [names[p] for p in answer.anchors] == ["cupboard"] and names.index("left leg") in dict(answer.rejected) and answer.frame


def test_a_name_is_found_by_the_names(room):
    answer = ask("crown", room)
    assert answer.targets == (painted().names.index("crown"),) and answer.method == "names" and "No model was asked" in answer.explanation
    assert 0.5 <= answer.sure <= 1


def test_a_purpose_is_found_where_a_part_is_described_so():
    labels = small_labels() | {0: NodeLabel(0, "left knob", function="press to start it")}
    answer = ask("What would I press to start it?", subject_of(small_surface(), small_parts(), small_cameras(), labels))
    assert answer.targets == (0,) and answer.method == "names" and "“press to start it”" in answer.explanation


def test_a_purpose_that_nobody_described_is_beyond_the_names_and_it_is_said():
    answer = ask("What would I press to start it?", small_subject())
    assert answer.targets == () and answer.failed.startswith("No model was named, and nothing here is called or described like that; closest is “")
    assert "vlm:" in answer.failed and answer.sure_by == "how well the words fit those of the parts"


def test_what_no_word_of_is_known_is_said():
    answer = ask("？？", small_subject())
    assert answer.targets == () and "name one: vlm:" in answer.failed


def test_where_an_anchor_is_not_there_nothing_is_named_and_it_is_said(room):
    answer = ask("the leg closest to the piano", room)
    assert answer.targets == () and "piano" in answer.failed and "name one: vlm:" in answer.failed


def test_a_purpose_in_the_form_of_a_relation_is_found_by_what_a_part_is_for():
    labels = small_labels() | {0: NodeLabel(0, "left knob", function="opens the valve of the boiler")}
    answer = ask("the thing on the boiler that opens the valve", subject_of(small_surface(), small_parts(), small_cameras(), labels))
    assert answer.targets == (0,) and answer.method == "names"
    assert answer.steps[0].startswith("By its form the question could not be answered: There is nothing on")


def test_equals_are_told_apart_from_worse_ones():
    answer = ask("knob", small_subject())
    assert answer.targets == (0,) and answer.rejected == ((1, "“right knob” fits as well; the question does not tell which is meant"),)


@pytest.mark.parametrize(("question", "message"), [
    ("", "The question is empty"), (" \n", "The question is empty"), ("x" * 10_000, "has 10000 characters, and at most 1000 are read")])
def test_a_question_that_cannot_be_read_is_refused_in_a_sentence(question, message):
    with pytest.raises(ValueError, match=message):
        ask(question, small_subject())


def test_where_the_question_does_not_tell_which_one_is_named_and_the_other_told():
    answer = ask("the knob of the panel", small_subject())
    assert len(answer.targets) == 1 and answer.anchors == (3,)
    (other,) = {0, 1} - set(answer.targets)
    assert dict(answer.rejected)[other] == "fits as well; the question does not tell which"
    assert set(ask("all the knobs of the panel", small_subject()).targets) == {0, 1}


def test_parts_of_which_nothing_is_said_fit_no_better_than_any_other():
    labels = {part: label for part, label in small_labels().items() if part != 2}
    subject = subject_of(small_surface(), small_parts(), small_cameras(), labels)
    lead = subject.lead("left knob")
    assert lead.argmax() == 0 and lead[2] == lead.min() and np.isfinite(lead).all()
    assert not subject.lead("？？").any()


def test_what_is_named_beside_what_holds_it_is_a_target_too():
    subject = small_subject()
    answer = ask("the left knob and the panel", subject)
    assert {subject.name(part) for part in answer.targets} == {"left knob", "panel"} and answer.method == "symbolic"
