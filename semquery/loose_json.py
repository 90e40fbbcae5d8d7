"""Reading text of models that may break the rules: JSON objects amid prose, and what is to be quoted as one line.

Models wrap JSON in fences and remarks, leave trailing commas and raw line breaks in it, write it as Python would, or are cut off;
whoever reads an answer picks from the objects that are found.
"""

import ast
import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any


def json_objects(text: str) -> Iterator[dict[str, Any]]:
    """Every outermost JSON object in a text, mended where models usually break it."""
    at = 0
    while (start := text.find("{", at)) >= 0:
        record, at = _object_at(text, start)
        if record is not None:
            yield record


def _object_at(text: str, start: int) -> tuple[dict[str, Any] | None, int]:
    """The object that opens at `start`, and where to look on: never inside it, where names of other things are."""
    stop = _closing(text, start)
    body = text[start:] if stop is None else text[start : stop + 1]
    readers: tuple[Callable[[str], Any], ...] = (_loose_json, lambda b: _loose_json(_without_trailing_commas(b)), ast.literal_eval)
    for read in readers if stop is not None else ():
        try:
            record = read(body)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
        if isinstance(record, dict):
            return record, start + len(body)
    if re.match(r"\{\s*[\"']", body):  # meant as JSON, but broken or cut off
        return _whole_fields(body) or None, start + len(body)
    return None, start + 1


def _loose_json(body: str) -> Any:
    return json.loads(body, strict=False)  # raw line breaks and tabs inside strings are common


def _closing(text: str, start: int) -> int | None:
    """Where the brace at `start` is closed, braces inside strings not counted."""
    depth, quoted, escaped = 0, False, False
    for i in range(start, len(text)):
        c = text[i]
        if quoted:
            escaped, quoted = (c == "\\" and not escaped), not (c == '"' and not escaped)
        elif c == '"':
            quoted = True
        elif c in "{}":
            depth += 1 if c == "{" else -1
            if depth == 0:
                return i
    return None


def _without_trailing_commas(body: str) -> str:
    """Commas before a closing bracket removed, those inside strings kept."""
    pieces = re.split(r'("(?:[^"\\]|\\.)*")', body, flags=re.S)
    return "".join(p if k % 2 else re.sub(r",(\s*)\Z", r"\1", re.sub(r",(\s*[}\]])", r"\1", p)) for k, p in enumerate(pieces))


def _whole_fields(body: str) -> dict[str, Any]:
    """The fields of an object that are whole, up to its alternatives; what is cut or broken is left out."""
    body = re.split(r'"alternatives"\s*:', body)[0]
    string = r'"((?:[^"\\]|\\.)*)"'
    found: dict[str, Any] = {}
    for key in ("thinking", "name", "label", "function"):
        match = re.search(rf'[{{,]\s*"{key}"\s*:\s*{string}', body, re.S)
        if match:
            found[key] = _loose_json(f'"{match[1]}"') if _is_json_text(match[1]) else match[1]
    synonyms = re.search(r'"synonyms"\s*:\s*\[([^\]]*)\]', body)
    return found | ({"synonyms": re.findall(string, synonyms[1])} if synonyms else {})


def _is_json_text(body: str) -> bool:
    try:
        return isinstance(_loose_json(f'"{body}"'), str)
    except ValueError:
        return False


def is_whole_object(text: str) -> bool:
    """Whether a text is one JSON object, from its first letter to its last."""
    return text.startswith("{") and _closing(text, 0) == len(text) - 1 and _object_at(text, 0)[0] is not None


def one_line(text: str, most: int = 10_000) -> str:
    """A text as one line of at most so many letters: what a model wrote is quoted in later prompts, and must stay a quotation.

    Line breaks and control characters become spaces, invisible ones (which turn the direction of writing) nothing, and the
    quotation marks that prompts put around names plain ones. Joiners stay: some scripts need them.
    """
    kinds = ((c, unicodedata.category(c)) for c in text)
    plain = "".join(" " if kind in ("Cc", "Zl", "Zp") else c for c, kind in kinds if kind != "Cf" or c in "\u200c\u200d")
    line = " ".join(plain.replace("“", '"').replace("”", '"').split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"
