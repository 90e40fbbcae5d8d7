"""Second looks: each switch does what it says, and nothing when it is off; no pass touches a name given by the user."""

import dataclasses
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import NAMES, random_parts, small_facts, small_parts
from labelling_helpers import PLAIN, Known, is_about_siblings, is_second_look, label_all, names_of, node, part_shown, small_subject

from semquery.labelling import LabelConfig, candidates_from, reconsider
from semquery.labelling.alike import alike, speakers
from semquery.labelling.ontology import offered
from semquery.labelling.passes import renamings
from semquery.prompts import template
from semquery.types import NodeLabel
from semquery.vlm import VlmError

KNOB = small_facts()[0]


def twins(num: int = 2) -> dict:
    """The hand-made facts with the two knobs alike."""
    facts = small_facts()
    return {**facts, 1: facts[0]}


# ------------------------------------------------------------------ alternatives


def unsure(request, part):
    return node("panel", alternatives=[{"name": "door", "score": 0.25}, {"name": "lid", "score": 0.5}]) if part == 3 else node(NAMES[part])


def test_alternatives_of_an_uncertain_parent_are_told_to_its_children_and_to_nobody_else():
    told = "This is a part of the “panel” (not certain: it may be a “lid” (p = 0.5) or a “door” (p = 0.25)), which has 2 parts."
    for on in (True, False):
        vlm = Known(answer=unsure)
        label_all(vlm, config=replace(PLAIN, carry_alternatives=on))
        assert (told in vlm.of(0).turns[-1].text) == on and "certain" not in vlm.of(2).turns[-1].text


def test_alternatives_of_a_certain_parent_or_a_users_are_not_told():
    for config, given in ((replace(PLAIN, carry_alternatives=True, unsure=0.5), {}),
                          (replace(PLAIN, carry_alternatives=True), {3: NodeLabel(3, "panel", alternatives=(("lid", 0.5),), confidence=0.1, source="user")})):
        vlm = Known(answer=unsure)
        label_all(vlm, config=config, given=given)
        assert "certain" not in vlm.of(0).turns[-1].text


# ------------------------------------------------------------------ reconsider


def misled(request, part):
    """Calls the panel a drawer until it is asked to look again; its knobs suspect it, and are wrong below it."""
    if is_second_look(request):
        return node("panel")
    if part == 3:
        return node("drawer")
    told = "of the “drawer”" in request.turns[-1].text
    return node("handle", parent_suspect=True) if told else node(NAMES[part])


ON = replace(PLAIN, reconsider=True)


def test_a_parent_its_parts_do_not_fit_is_asked_once_more_and_what_is_inside_it_again():
    vlm = Known(answer=misled)
    labels, _, _ = label_all(vlm, config=ON)
    assert names_of(labels) == NAMES and labels[3].reason.endswith("was “drawer”, which 2 of its parts did not fit") and labels[3].calls == 2
    assert vlm.asked == [4, 3, 0, 1, 2, 0, 0, 1] and len([r for r in vlm.requests if is_second_look(r)]) == 1
    second = next(r for r in vlm.requests if is_second_look(r))
    assert second.turns[:-2] == vlm.of(3).turns and json.loads(second.turns[-2].text)["name"] == "drawer"
    assert second.turns[-1].images == (b"picture of 0", b"picture of 1") and second.turns[-1].text.count("- “handle”") == 2


def test_without_the_switch_the_wrong_names_stay():
    vlm = Known(answer=misled)
    labels, _, _ = label_all(vlm, config=PLAIN)
    assert names_of(labels) == {4: "scene", 3: "drawer", 2: "plate", 0: "handle", 1: "handle"} and len(vlm.requests) == 5


@pytest.mark.parametrize(("suspicious", "again"), [((), False), ((0,), True), ((0, 1), True), ((2,), True)])
def test_half_of_the_parts_are_enough_and_fewer_are_not(suspicious, again):
    vlm = Known(answer=lambda r, p: node(NAMES[p], parent_suspect=p in suspicious))
    label_all(vlm, config=ON)
    assert any(is_second_look(r) for r in vlm.requests) == again


def test_one_of_three_parts_is_not_enough():
    parts = dataclasses.replace(small_parts(), parents=np.array([4, 4, 4, 4, 4], np.int32), part_of_point=np.array([0] * 4 + [1] * 3 + [2] * 4 + [3], np.int32))
    vlm = Known(answer=lambda r, p: node(NAMES[p], parent_suspect=p == 0))
    label_all(vlm, subject=small_subject(parts=parts), config=ON)
    assert not any(is_second_look(r) for r in vlm.requests)


def test_a_parent_that_keeps_its_name_leaves_everything_as_it_was():
    calm = label_all(Known(), config=ON)[0]
    stubborn = Known(answer=lambda r, p: node(NAMES[p], parent_suspect=p == 0) if not is_second_look(r) else node("Panel"))
    labels, _, asker = label_all(stubborn, config=ON)
    assert names_of(labels) == names_of(calm) and asker.calls == 6


def test_a_users_name_is_not_reconsidered_however_suspect():
    vlm = Known(answer=lambda r, p: node(NAMES[p], parent_suspect=True))
    labels, _, _ = label_all(vlm, config=ON, given={3: NodeLabel(3, "drawer", source="user"), 4: NodeLabel(4, "room", source="user")})
    assert not any(is_second_look(r) for r in vlm.requests) and labels[3].name == "drawer"


def test_a_second_look_that_fails_leaves_the_first_name():
    class Failing(Known):
        def text(self, request):
            if is_second_look(request):
                raise VlmError("busy")
            return misled(request, part_shown(request))

    assert label_all(Failing(), config=ON)[0][3].name == "drawer"


def test_what_was_reconsidered_is_replayed_from_the_record():
    labels, answers, _ = label_all(Known(answer=misled), config=ON)
    again = Known(answer=misled)
    assert label_all(again, answers, config=ON)[0] == labels and not again.requests


# ------------------------------------------------------------------ siblings

BESIDE = replace(PLAIN, siblings=True)


def renaming(*changes):
    """Knows no left from right; seen together, it renames."""
    def answer(request, part):
        if not is_about_siblings(request):
            return node({**NAMES, 0: "knob", 1: "knob"}[part])
        about = "of the “panel”" in request.turns[-1].text
        return json.dumps({"thinking": "", "renamed": [dict(zip(("number", "name", "reason"), c, strict=True)) for c in changes] if about else []})

    return answer


def test_the_parts_of_one_parent_are_looked_at_together_once():
    vlm = Known(answer=renaming((1, "power knob", "one is above"), (2, "timer knob", "")))
    labels, _, _ = label_all(vlm, config=BESIDE)
    assert names_of(labels) == {**NAMES, 0: "power knob", 1: "timer knob"}
    assert labels[0].reason.endswith("was “knob”, renamed beside its siblings: one is above") and labels[0].alternatives == (("knob", 0.5),)
    looks = [r for r in vlm.requests if is_about_siblings(r)]
    assert len(looks) == 2  # one for the scene's parts, one for the panel's
    panel = next(r for r in looks if "of the “panel”" in r.turns[-1].text)
    assert panel.turns[:-2] == vlm.of(3).turns and panel.turns[-1].images == (b"close up of 0", b"close up of 1")
    assert "1. “knob”: " in panel.turns[-1].text and "2. “knob”: " in panel.turns[-1].text


def test_without_the_switch_nobody_looks():
    vlm = Known(answer=renaming((1, "power knob", "")))
    assert names_of(label_all(vlm, config=PLAIN)[0]) == {**NAMES, 0: "knob", 1: "knob"} and len(vlm.requests) == 5


def test_a_users_name_is_not_renamed():
    vlm = Known(answer=renaming((1, "power knob", ""), (2, "timer knob", "")))
    labels, _, _ = label_all(vlm, config=BESIDE, given={0: NodeLabel(0, "knob", source="user")})
    assert (labels[0].name, labels[1].name) == ("knob", "timer knob")


def test_a_parent_with_one_named_part_is_not_asked_about():
    vlm = Known(answer=lambda r, p: "hm?" if p == 1 and not is_about_siblings(r) else renaming()(r, p))
    label_all(vlm, config=BESIDE)
    assert sum(is_about_siblings(r) for r in vlm.requests) == 1


def test_renamings_that_make_no_sense_are_left_out():
    vlm = Known(answer=renaming((0, "a", ""), (7, "b", ""), ("1", "c", ""), (1, "Knob", "the same"), (2, "unknown", "")))
    assert names_of(label_all(vlm, config=BESIDE)[0]) == {**NAMES, 0: "knob", 1: "knob"}
    assert renamings('{"renamed": [3, {"number": true, "name": "x"}, {"number": 2, "name": "dial"}]}') == [(2, "dial", "")]
    assert renamings("no list") is None and renamings('{"renamed": []}') == []


def test_a_look_that_cannot_be_read_leaves_the_names():
    vlm = Known(answer=lambda r, p: "nothing to say" if is_about_siblings(r) else node(NAMES[p]))
    assert names_of(label_all(vlm, config=BESIDE)[0]) == NAMES and len(vlm.requests) == 5 + 2 * 3


# ------------------------------------------------------------------ look-alikes

ALIKE = replace(PLAIN, copy_alike=True)


def test_of_two_that_look_alike_the_one_seen_best_is_asked_and_the_other_copies():
    for best, other in ((0, 1), (1, 0)):
        vlm = Known(names={**NAMES, 0: "knob", 1: "dial"})
        labels, _, _ = label_all(vlm, config=ALIKE, subject=small_subject(facts=twins(), pixels={best: 9, other: 2}))
        assert vlm.asked.count(best) == 1 and other not in vlm.asked
        assert labels[other].name == labels[best].name and labels[other].part == other
        assert labels[other].reason == f"copied from part {best}, which looks alike" and labels[other].raw == ""


def test_without_the_switch_both_are_asked():
    vlm = Known()
    label_all(vlm, config=PLAIN, subject=small_subject(facts=twins()))
    assert {0, 1} <= set(vlm.asked)


def test_a_part_whose_like_got_no_name_is_asked_itself():
    vlm = Known(answer=lambda r, p: "hm?" if p == 0 else node(NAMES[p]))
    labels, _, _ = label_all(vlm, config=ALIKE, subject=small_subject(facts=twins()))
    assert labels[0].status == "failed" and labels[1].name == "right knob" and 1 in vlm.asked


def test_a_users_name_is_neither_copied_nor_overwritten():
    labels, _, _ = label_all(Known(), config=ALIKE, subject=small_subject(facts=twins()), given={0: NodeLabel(0, "start", source="user")})
    assert (labels[0].name, labels[1].name) == ("start", "right knob")


def test_below_a_copy_the_walk_goes_on():
    """Two alike boxes with a lid each: one box is asked, both lids are."""
    parts = random_parts(np.random.default_rng(0), 5, 12)
    parts = dataclasses.replace(parts, parents=np.array([2, 3, 4, 4, 4], np.int32))
    facts = {0: replace(KNOB, num_parts=0), 1: replace(KNOB, num_parts=0), 2: replace(KNOB, num_parts=1), 3: replace(KNOB, num_parts=1), 4: small_facts()[4]}
    for workers in (1, 3):
        vlm = Known(names={0: "lid", 1: "lid", 2: "box", 3: "box", 4: "scene"})
        labels, _, _ = label_all(vlm, config=ALIKE, subject=small_subject(parts=parts, facts=facts, pixels={3: 5}), workers=workers)
        assert sorted(vlm.asked) == [0, 1, 3, 4] and labels[2].reason.startswith("copied from part 3")
        assert json.loads(vlm.of(0).turns[-2].text)["name"] == "box"


def slow_speakers(parts, facts, pixels):
    """Greedy by hand: walk the children from most seen to least, each joins the first speaker it is like."""
    found = {}
    for parent in range(parts.num_parts):
        heads = []
        for child in sorted(parts.children(parent), key=lambda c: (-pixels[c], c)):
            likes = [h for h in heads if alike(facts[h], facts[child])]
            if likes:
                found[child] = likes[0]
            else:
                heads.append(child)
    return found


@pytest.mark.parametrize("seed", range(10))
def test_speakers_are_siblings_seen_no_worse_and_nobody_copies_from_a_copy(seed):
    random = np.random.default_rng(seed)
    parts = random_parts(random, 20, 60)
    facts = {p: replace(KNOB, color=str(random.choice(["red", "blue"])), extent=(float(random.choice([1.0, 1.1, 2.0])), 1.0, 0.5)) for p in range(20)}
    pixels = {p: int(random.integers(0, 50)) for p in range(20)}
    found = speakers(parts, facts, pixels)
    assert found == slow_speakers(parts, facts, pixels)
    for part, speaker in found.items():
        assert parts.parents[part] == parts.parents[speaker] and pixels[speaker] >= pixels[part] and speaker not in found


def test_alike_is_colour_shape_and_size():
    assert alike(KNOB, replace(KNOB, place="elsewhere", share_of_parent=0.9)) and alike(KNOB, replace(KNOB, extent=tuple(1.2 * e for e in KNOB.extent)))
    for other in (replace(KNOB, color="blue"), replace(KNOB, shape="ball"), replace(KNOB, extent=(9.0, 1.0, 1.0)), replace(KNOB, num_parts=3)):
        assert not alike(KNOB, other) and not alike(other, KNOB)


# ------------------------------------------------------------------ candidates


def test_candidates_are_offered_and_may_be_rejected():
    vlm, asked = Known(), []

    def candidates(part, ancestors):
        asked.append((part, list(ancestors)))
        return ["dial", "button"] if part == 0 else []

    labels, _, _ = label_all(vlm, subject=small_subject(candidates=candidates))
    assert "It may be one of these, or something else: dial, button." in vlm.of(0).turns[-1].text and labels[0].name == "left knob"
    assert "one of these" not in vlm.of(2).turns[-1].text and (0, ["scene", "panel"]) in asked


def test_names_of_kinds_are_offered_below_parts_that_mention_the_kind():
    kinds = {"chair": ["seat", "leg"], "table": ["top", "leg"], "trash can": ["bin"]}
    assert offered(kinds, ["room", "wooden chairs", "Table"]) == ["top", "leg", "seat"]
    assert offered(kinds, ["armchair", "room"]) == [] and offered(kinds, ["a Trash Can"]) == ["bin"]


def test_a_list_is_offered_everywhere(tmp_path):
    (tmp_path / "names.json").write_text('["dial", "door"]')
    assert candidates_from(tmp_path / "names.json")(3, ["room"]) == ["dial", "door"]


@pytest.mark.parametrize("text", ["{", "[]", "{}", "[1]", '{"chair": "leg"}', '{"chair": []}', "3"])
def test_files_without_names_are_refused(tmp_path, text):
    (tmp_path / "names.json").write_text(text)
    with pytest.raises(ValueError, match="names.json (is not JSON|holds neither)"):
        candidates_from(tmp_path / "names.json")
    with pytest.raises(ValueError, match="There is no file .*gone.json"):
        candidates_from(tmp_path / "gone.json")


def test_the_names_of_partnet_are_there():
    assert "handle" in candidates_from(Path("ontology_partnet.json"))(0, ["room", "a small microwave"])
    kinds = json.loads(template("ontology_partnet.json"))
    assert len(kinds) == 24 and "handle" in kinds["microwave"] and all(names and len(set(names)) == len(names) for names in kinds.values())


def test_a_pass_that_changes_nothing_reports_nothing():
    from semquery.labelling import Asker, Walk

    walk = Walk(small_subject(), Asker(Known(), {}, lambda *_: None), LabelConfig(), {}, lambda *_: None)
    walk.run()
    assert reconsider(walk) == []
