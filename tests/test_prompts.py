"""Templates without holes."""

import re
from pathlib import Path

import pytest

from semquery import prompts
from semquery.prompts import bank, fill, negatives, template


def test_every_hole_is_filled_and_nothing_else_changes():
    assert fill("{{a}} and {{b}}, {c} {{a}}", a="1", b="{{a}}", unused="x") == "1 and {{a}}, {c} 1"


def test_a_hole_without_a_value_never_reaches_a_model():
    with pytest.raises(ValueError, match=r"needs \['candidates', 'facts'\]; given were \['place'\]"):
        fill(template("label_part.md"), place="here")


def test_a_prompt_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="There is no prompt gone.md in "):
        template("gone.md")


def test_the_negatives_are_those_of_lerf():
    assert negatives() == ("object", "things", "stuff", "texture")


def test_the_bank_names_some_two_hundred_parts_of_all_sorts():
    names = bank()
    assert 200 <= len(names) <= 400 and len({name.casefold() for name in names}) == len(names)
    assert {"handle", "tree trunk", "finger", "propeller"} <= set(names)


@pytest.mark.parametrize(("read", "name", "holds"), [
    (negatives, "negatives.txt", "phrases that a query has to beat, one a line: object"), (bank, "generic_parts.txt", "two hundred generic names"),
])
def test_a_list_that_is_missing_or_empty_is_named_with_what_it_should_hold(read, name, holds, tmp_path, monkeypatch):
    monkeypatch.setattr(prompts, "_FOLDERS", (tmp_path,))
    with pytest.raises(ValueError, match=f"no prompt {name} in .*; it should hold .*{holds}"):
        read()
    (tmp_path / name).write_text(" \n\n")
    with pytest.raises(ValueError, match=f"{name} is empty; it should hold .*{holds}"):
        read()
    (tmp_path / name).write_text(" lid \n\nlid\nleg\n")
    assert read() == ("lid", "leg")


def test_every_hole_of_every_template_has_a_name_that_is_filled():
    holes = {p.name: set(re.findall(r"{{(\w+)}}", p.read_text())) for p in (Path(__file__).parent.parent / "prompts").glob("*.md")}
    assert holes == {
        "label_system.md": {"marking"}, "paper_system.md": set(), "label_part.md": {"place", "facts", "candidates"}, "paper_part.md": {"place"},
        "siblings.md": {"parent", "children"}, "reconsider.md": {"name", "children"}, "repair.md": {"wanted"},
        "ask_system.md": set(), "ask_scene.md": {"frame", "listed", "pictures", "table"}, "ask_opened.md": {"last", "table"},
        "ask_relevant.md": {"open", "question"}, "ask_priors.md": {"parts", "pictures"}, "ask_decide.md": {"opened", "question", "relevant"},
        "parse_query.md": {"along", "kinds", "picks"},
        "point_system.md": {"coordinates"}, "point.md": {"place", "query"}, "phrase.md": {"place", "query"},
    }
