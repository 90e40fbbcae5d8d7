"""What the panel says: text that stays text whatever it holds, lines that are short and told apart, cards that tell all."""

import json
import re
import unicodedata
from dataclasses import replace

import pytest
from helpers import named_run, part_tree, random_parts
from hypothesis import given
from hypothesis import strategies as st

from semquery.ask import AskAnswer, Considered
from semquery.opened import Answered
from semquery.spans import Spans
from semquery.types import NodeLabel
from semquery.viewer import load
from semquery.viewer.words import (
    LONGEST_LINE,
    LONGEST_NAME,
    MOST_LISTED,
    answer_card,
    card,
    escaped,
    exported_whom,
    folded,
    hit_line,
    number,
    part_lines,
    path_line,
    percent,
    plain,
    sentence,
    told_apart,
    typed_out,
    unique,
    who_answers,
)
from semquery.vlm import OpenAiServer, Scripted

ATTACKS = ["</script><script>window.broken = 1</script>", "{process.env}", "![x](http://example.org/x.png)", "[a](javascript:alert(1))",
           "`a` **b** _c_",
           "a\n\n# b\n- c\n1. d", "<img src=x onerror='window.broken = 1'>", "www.example.org https://example.org a@example.org",
           "\u202eabc\u2067", '"}{window.broken = 1}{"',
           "\\", "\\u0041", "&lt;b&gt;", "| a | b |", "import x from 'y'", "~~a~~", "\ud800", "\u2028", "\x00\x1b[31m", "x" * 10_000]
ANY = st.text(st.characters(), max_size=60) | st.sampled_from(ATTACKS)  # lone surrogates too


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    return load(named_run(tmp_path_factory.mktemp("words") / "run"))


def relabelled(loaded, **labels):
    return replace(loaded, labels=dict(loaded.labels) | {int(part[1:]): label for part, label in labels.items()})


def shown_by(markup: str) -> str:
    """The texts that the expressions of some markup show, one after another, and nothing of the markup."""
    return "".join(json.loads(text) for text in re.findall(r'\{("[^"]*")\}', markup))


# -------------------------------------------------------------------- texts


@given(ANY)
def test_an_escaped_text_is_one_string_without_anything_special_and_survives(text):
    markup = escaped(text)
    assert re.fullmatch(r'\{"(?:[A-Za-z0-9 ,.%()-]|\\u[0-9a-f]{4})*"\}', markup)
    assert json.loads(markup[1:-1]) == text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def test_a_text_is_escaped_as_javascript_writes_it():
    assert escaped("a door") == '{"a door"}'
    assert escaped('"}') == r'{"\u0022\u007d"}' and escaped("\\钮🎉") == r'{"\u005c\u94ae\ud83c\udf89"}'


@given(ANY, st.integers(1, 50))
def test_a_plain_text_is_one_short_line_that_can_be_written_down_and_seen(text, most):
    line = plain(text, most)
    inside = line.removeprefix("\u2068").removesuffix("\u2069")
    line.encode()
    assert len(inside) <= most and inside == " ".join(inside.split())
    assert not {unicodedata.category(c) for c in inside if c not in "\u200c\u200d"} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert plain(inside, most) == line  # once is enough


def test_right_to_left_is_set_apart_and_cannot_turn_what_stands_beside_it():
    assert plain("\u202eknob \u2067dial") == "knob dial"
    assert path_line(["scene", "מקש", "knob"]) == "scene / \u2068מקש\u2069 / knob"


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_attack_leaves_its_string_in_any_markup(attack, loaded):
    label = NodeLabel(0, attack, (attack,), attack, ((attack, 0.5),), attack, 0.5, "vlm", reason=attack)
    hostile = relabelled(loaded, p0=label, p3=replace(label, part=3))
    answer = AskAnswer(attack, (0,), attack, (Considered(3, "anchor", attack),), ((1, attack),), 0.5, attack, attack, "", (attack,))
    said = [card(hostile, (0,)), card(hostile, (0, 2)), sentence(attack), folded("Thinking", (attack,)),
            answer_card(Answered(answer, hostile.scene))]
    for markup in said:
        ours = re.sub(r'\{"(?:[A-Za-z0-9 ,.%()-]|\\u[0-9a-f]{4})*"\}', "", markup)
        assert re.fullmatch(r'(?:</?(?:b|br/|summary|details)>|</div>|'
                            r'<div style=\{\{fontSize: "0\.[89]em", lineHeight: 1\.45,(?: opacity: 0\.75,)? overflowWrap: "anywhere"\}\}>'
                            r'|[a-zA-Z0-9 .·%()…,]|\n)*', ours), ours
    assert len(max(said, key=len)) < 60_000


# -------------------------------------------------------------------- lines


def test_numbers_and_shares_read_as_people_write_them():
    assert (percent(0.934), percent(1.0), number(1234567), number(7)) == ("93 %", "100 %", "1\u202f234\u202f567", "7")


def test_a_path_is_shown_whole_or_from_its_end():
    assert path_line(["microwave", "door", "handle"]) == "microwave / door / handle"
    assert [path_line(["microwave", "door", "handle"], most) for most in (13, 3)] == ["… / door / handle", "… / handle"]
    assert path_line(["x" * 99]) == "x" * (LONGEST_NAME - 1) + "…" and path_line([""]) == "…"


@given(st.lists(ANY, min_size=1, max_size=8))
def test_a_path_fits_whatever_it_is_made_of(path):
    assert len(path_line(path)) <= LONGEST_LINE + len("… / ") + 2 * len(path) and "\n" not in path_line(path)


def test_a_hit_tells_its_name_how_likely_it_is_and_where_it_is(loaded):
    (found,) = loaded.scene.query("left knob", top=1)
    assert hit_line(found, 0) == f"1. {percent(found.probability)} left knob · in panel"
    both = loaded.scene.shapes.found(replace(found.hit, members=(0, 1), probability=0.5, path=("panel",)))
    assert hit_line(both, 1) == "2. 50 % panel (×2)"


@given(st.lists(st.sampled_from(["a", "b", "a · part 1", "a · part 2", "· part 2"]), max_size=6))
def test_lines_are_told_apart_by_the_number_of_their_part_where_they_must_be(lines):
    told = told_apart(lines, range(len(lines)))
    assert len(set(told)) == len(told)
    for part, (line, now) in enumerate(zip(lines, told, strict=True)):
        assert now in (line, f"{line} · part {part}")
        assert now == line or lines.count(line) > 1 or "part" in line


def test_texts_have_one_line_each_and_empty_ones_none():
    assert unique(["handle", " handle\n", "\u200b", "x" * 200]) == (("handle", "handle"), ("x" * (LONGEST_LINE - 1) + "…", "x" * 200))


def test_a_search_that_was_typed_on_is_no_earlier_search():
    assert typed_out(["left knob", "left", "le", "plate", "knob", "left"]) == ["left knob", "plate", "knob", "left"]
    assert typed_out([]) == [] and typed_out(["a"]) == ["a"]


def test_parts_are_listed_down_to_a_level_in_the_order_of_the_tree(loaded):
    assert part_lines(loaded, 1) == ((("plate", 2), ("panel", 3)), 2)
    assert part_lines(loaded, 9) == ((("plate", 2), ("panel", 3), ("panel / left knob", 0), ("panel / right knob", 1)), 4)
    assert part_lines(loaded, 0) == ((("scene", 4),), 1)
    deep = relabelled(loaded, p3=NodeLabel(3, "control panel of the oven"))
    assert [line for line, _ in part_lines(deep, 2)[0]] == ["plate", "control panel of the oven", "… / left knob", "… / right knob"]
    twins = relabelled(loaded, p1=NodeLabel(1, "left knob"))
    assert [line for line, _ in part_lines(twins, 2)[0]] == ["plate", "panel", "panel / left knob · part 0", "panel / left knob · part 1"]


def test_of_too_many_parts_the_largest_are_listed_and_all_are_counted(loaded):
    import numpy as np

    for seed in range(5):
        tree = random_parts(np.random.default_rng(seed), 40, 300)
        many = replace(loaded, tree=tree, labels={}, spans=Spans(tree))
        lines, there = part_lines(many, 3, most=10)
        points = [int(tree.points_of(p).sum()) for p in range(40)]
        within = [p for p in range(39) if tree.depth[p] <= 3]
        assert there == len(within) and len(lines) == min(10, there) and len({line for line, _ in lines}) == len(lines)
        assert min(points[p] for _, p in lines) >= max((points[p] for p in within if p not in {q for _, q in lines}), default=0)
        assert [p for _, p in lines] == sorted((p for _, p in lines), key=lambda p: many.spans.first[p])


# -------------------------------------------------------------------- cards


def test_a_card_tells_all_that_is_known_of_a_part(loaded):
    label = NodeLabel(0, "timer knob", ("dial",), "turn it to set the time", (("button", 0.4),), "Round.\nSo a knob?", 0.88, "vlm",
                      parent_suspect=True, reason="made shorter")
    markup = card(relabelled(loaded, p0=label), (0,))
    assert shown_by(markup) == ("panel / timer knobnamed by the modelturn it to set the timeAlso: dialMay also be: button 40 %"
                                "Note: made shorterRound.So a knob?")
    for said in ("part 0 · level 2 · 4 points · 88 % sure", "hardly fits what its parent is called", "<summary>Thinking</summary>"):
        assert said in markup


def test_a_card_says_who_named_a_part_and_that_nobody_did(loaded):
    assert "88 % sure" not in card(relabelled(loaded, p0=NodeLabel(0, "knob", confidence=0.88, source="user")), (0,))
    assert shown_by(card(relabelled(loaded, p0=NodeLabel(0, "knob", source="user")), (0,))) == "panel / knobnamed by hand"
    failed = card(relabelled(loaded, p0=NodeLabel(0, "unknown", status="failed", reason="three answers could not be read")), (0,))
    assert "4 points · not named" in failed and "three answers could not be read" in shown_by(failed)
    assert "not named" in card(replace(loaded, labels={}), (0,)) and shown_by(card(replace(loaded, labels={}), (0,))) == "part 3 / part 0"


def test_a_card_of_several_names_the_first_and_counts_the_rest(loaded):
    markup = card(loaded, (0, 1, 2))
    assert shown_by(markup) == "panel / left knobpanel / right knobplate" and "<b>3 parts</b>" in markup and "11 points together" in markup
    tree = part_tree([12] * 13, [0])
    many = card(replace(loaded, tree=tree, labels={}, spans=Spans(tree)), tuple(range(12)))
    assert f"and {12 - MOST_LISTED} more" in many and shown_by(many).count("part") == MOST_LISTED


def test_an_empty_selection_says_what_to_do(loaded):
    assert "Nothing is selected. Search, or click a part." in card(loaded, ())


def test_an_answer_tells_what_it_is_why_how_sure_and_why_not_others(loaded):
    considered = (Considered(3, "anchor", "It holds it."), Considered(0, "candidate", "It may."))
    answer = AskAnswer("what do I turn?", (0,), "It turns.", considered, ((1, "It is on the right."),), 0.75, "agreement of 4",
                       "model X", "", ("Looked at 2 parts.",), 2)
    markup = answer_card(Answered(answer, loaded.scene))
    assert shown_by(markup) == ("panel / left knobIt turns.75 % sure (agreement of 4)Told by: panelLooked at 2 parts.model X"
                                "panel / right knob: It is on the right.")
    assert "(part 0)" in markup


def test_no_answer_says_why_and_claims_no_certainty(loaded):
    markup = answer_card(Answered(AskAnswer("why?", failed="Nobody could tell."), loaded.scene))
    assert shown_by(markup) == "Nobody could tell." and "sure" not in markup


def test_it_is_said_who_answers_and_what_is_exported(loaded):
    assert who_answers(None).startswith("No model is configured")
    assert who_answers(Scripted(lambda request: "")) == "Questions are put to Scripted."
    asked = who_answers(OpenAiServer("http://here:8000/v1", "Owl-7B"))
    assert asked == "Questions are put to the model Owl-7B at http://here:8000/v1."
    for option in ("--vlm.model NAME", "--pipeline.vlm.model NAME", "config.yml", "semquery label RUN vlm:"):
        assert option in shown_by(sentence(who_answers(None)))
    assert exported_whom(None, ()).startswith("There is no part tree yet")
    assert exported_whom(loaded, ()) == "Nothing is selected: all 5 parts are exported."
    assert exported_whom(loaded, (0,)) == "Exports panel / left knob."
    assert exported_whom(loaded, (3,)) == "Exports panel, with 2 parts inside."
    assert exported_whom(loaded, (3, 2)) == "Exports the 2 selected parts, with 2 parts inside."


def test_thoughts_keep_their_lines_and_are_cut_where_they_are_very_long():
    assert folded("Thinking", ("", "\n \n")) == "" and "<br/>" in folded("Thinking", ("a\nb",))
    assert len(folded("Thinking", ("word " * 10_000,))) < 10_000
