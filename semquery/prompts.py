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


def negatives(file: Path | None = None) -> tuple[str, ...]:
    """The phrases a query has to beat (LERF's: object, things, stuff, texture), or those of a file."""
    return _lines("negatives.txt" if file is None else file, "the phrases that a query has to beat, one a line: object, things, stuff, texture")


def bank() -> tuple[str, ...]:
    """Generic names of parts and objects: what else a query might mean."""
    return _lines("generic_parts.txt", "some two hundred generic names of parts and objects, one a line")


def _lines(name: str | Path, wanted: str) -> tuple[str, ...]:
    """The lines of prompts/<name>, or of a file. Raises ValueError, saying what is wanted, where there are none."""
    try:
        text = template(name) if isinstance(name, str) else name.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{name} cannot be read ({error}); it should hold {wanted}.") from None
    except ValueError as error:
        raise ValueError(f"{str(error)[:-1]}; it should hold {wanted}.") from None
    lines = tuple(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))
    if not lines:
        raise ValueError(f"{'The prompt ' if isinstance(name, str) else ''}{name} is empty; it should hold {wanted}.")
    return lines
