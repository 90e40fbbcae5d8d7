"""Prompt templates: finding and filling them.

Templates lie in `prompts/` of a checkout, or beside the package as `_prompts` once installed; a template
is text with {{names}} to fill.
"""

import re
from pathlib import Path

_FOLDERS = (Path(__file__).parent.parent / "prompts", Path(__file__).parent / "_prompts")


def template(name: str) -> str:
    """The text of prompts/<name>."""
    for folder in _FOLDERS:
        if (folder / name).is_file():
            return (folder / name).read_text()
    raise ValueError(f"There is no prompt {name} in {' or '.join(str(f) for f in _FOLDERS)}.")


def fill(text: str, **values: str) -> str:
    """Replace every {{name}}. Raises ValueError for names without a value, so that no hole reaches a model."""
    missing = set(re.findall(r"{{(\w+)}}", text)) - set(values)
    if missing:
        raise ValueError(f"The prompt needs {sorted(missing)}; given were {sorted(values)}.")
    return re.sub(r"{{(\w+)}}", lambda m: values[m.group(1)], text)


def negatives() -> tuple[str, ...]:
    """The phrases a query has to beat (LERF's: object, things, stuff, texture)."""
    return tuple(line.strip() for line in template("negatives.txt").splitlines() if line.strip())
