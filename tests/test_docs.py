"""Every block of Python in the documentation runs, in the order of its page."""

import re
from pathlib import Path

import pytest
from helpers import named_run

DOCS = Path(__file__).parent.parent / "docs"


def blocks(page: Path) -> list[str]:
    """The code blocks of a page, each at its own lines, so that errors name the line of the page."""
    found = re.finditer(r"^```python\n(.*?)^```$", page.read_text(), re.M | re.S)
    text = page.read_text()
    return ["\n" * text[: match.start(1)].count("\n") + match.group(1) for match in found]


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.stem)
def test_every_block_of_a_page_runs(page, tmp_path, capsys):
    names: dict = {"run": named_run(tmp_path / "run").path}
    assert blocks(page)
    for block in blocks(page):
        exec(compile(block, str(page), "exec"), names)
    told = capsys.readouterr().out
    if page.stem == "python":
        assert "submarine is not here" in told and "left knob [" in told and "knob" in told.splitlines()[0]
