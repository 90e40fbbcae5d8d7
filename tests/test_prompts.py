"""Templates without holes."""

import re
from pathlib import Path

import pytest

from semquery.prompts import fill, negatives, template


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


def test_every_hole_of_every_template_has_a_name_that_is_filled():
    holes = {p.name: set(re.findall(r"{{(\w+)}}", p.read_text())) for p in (Path(__file__).parent.parent / "prompts").glob("*.md")}
    assert holes == {
        "label_system.md": {"marking"}, "paper_system.md": set(), "label_part.md": {"place", "facts", "candidates"}, "paper_part.md": {"place"},
        "siblings.md": {"parent", "children"}, "reconsider.md": {"name", "children"}, "repair.md": {"wanted"},
    }
