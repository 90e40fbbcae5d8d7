"""Prompt templates: finding them, filling them, and reading what comes back.

Templates lie in `prompts/` of a checkout, or beside the package as `_prompts` once installed; a template
is text with {{names}} to fill. Answers are read tolerantly: models wrap JSON in prose, fences and thoughts.
"""

import json
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


def parse_answer(text: str) -> dict | None:
    """The JSON object in an answer, or {"name": …} from a `Label: …` line; None when there is neither."""
    text = re.sub(r"\A.*</think>|<think>.*\Z", "", text, flags=re.S)  # some servers leave out the opening tag
    start, stop = text.find("{"), text.rfind("}")
    if 0 <= start < stop:
        body = re.sub(r",\s*([}\]])", r"\1", text[start : stop + 1])
        try:
            answer = json.loads(body, strict=False)
        except json.JSONDecodeError:
            answer = None
        if isinstance(answer, dict) and isinstance(answer.get("name"), str) and answer["name"].strip():
            return answer
    labels = re.findall(r"^[\s*#]*(?:label|name)[\s*]*[:：][\s*]*(.+?)[\s*.]*$", text, flags=re.I | re.M)
    return {"name": labels[-1]} if labels else None
