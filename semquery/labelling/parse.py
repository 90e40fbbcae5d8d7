"""Reading answers as models really give them.

A ladder, from the strictest form to the loosest; the first rung that holds a name wins:
  1. thoughts are taken off, with both tags or with one of them missing;
  2. a JSON object with a name: bare, fenced, amid prose, with trailing commas or raw line breaks, or cut off after the name;
  3. a marked line, `Label: …` in any markdown, or the mark on one line and the name on the next; the last one wins;
  4. if asked for, a bare short line that is no refusal.
What cannot be a name (a sentence, a refusal) is no answer: asking again is cheaper than a wrong name.
"""

import ast
import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from typing import Any

_MOST_WORDS, _MOST_LETTERS = 8, 80  # of a name
_MARK = r"(?:final[ \t]+)?(?:label|name|answer|标签|名称|名字|标注)"
_DECOR = r"[ \t>*_#`~\"'“”]*"
_NUMBER = rf"{_DECOR}(?:\d+[.)][ \t]*)?{_DECOR}"
_MARKED = re.compile(
    rf"(?:^|(?<=[.!?。] )|(?<=\*\*)){_NUMBER}{_MARK}{_DECOR}(?:\([^)\n]*\))?{_DECOR}[:：=]{_DECOR}(?P<name>[^\n]*)$", re.I | re.M)
_HEADED = re.compile(rf"^{_NUMBER}{_MARK}{_DECOR}[:：]?{_DECOR}\n\s*(?P<name>[^\n]+)$", re.I | re.M)
_REFUSAL = re.compile(
    r"\b(sorry|cannot|can't|can not|unable|i am|i'm|as an ai|not able|apologi[sz]e|no idea|who knows)\b|[?？]$|抱歉|无法", re.I)


def parse_answer(text: str, bare: bool = False) -> dict[str, Any] | None:
    """The answer as a dictionary with a clean "name", or None. `bare` also takes a single short line for a name."""
    said = without_thoughts(text)
    objects = [record for record in json_objects(said) if _name_of(record)]
    if objects:
        return _with_clean_name(objects[-1])
    return _marked(said) or (_bare(said) if bare else None)


def without_thoughts(text: str, answers: Callable[[Mapping[str, Any]], object] | None = None) -> str:
    """The text without <think> blocks; a block that is never closed ends where an answer is marked below it, or takes all.

    `answers`: whether an object is an answer; by default one with a name is.
    """
    if _is_whole_object(text.strip()):  # whatever its strings hold
        return text.strip()
    text = re.sub(r"<think(?:ing)?>.*?</think(?:ing)?>", "", text, flags=re.S | re.I)
    text = re.sub(r"\A.*</think(?:ing)?>", "", text, flags=re.S | re.I)  # some servers leave out the opening tag
    opened = re.search(r"<think(?:ing)?>", text, re.I)
    if opened is None:
        return text.strip()
    thought, before = text[opened.end():], text[: opened.start()]
    return (before + _answer_that_ends(thought, answers or _name_of)).strip()


def _is_whole_object(text: str) -> bool:
    return text.startswith("{") and _closing(text, 0) == len(text) - 1 and _object_at(text, 0)[0] is not None


def _answer_that_ends(thought: str, answers: Callable[[Mapping[str, Any]], object]) -> str:
    """What a thought that was never closed ends with, if it is beyond doubt an answer: JSON to the last letter, or a marked last line."""
    for start in (m.start() for m in re.finditer(r"^\s*(?:```\w*\s*)?\{", thought, re.M)):
        tail = thought[start:].strip().removesuffix("```").strip()
        found = list(json_objects(tail))
        if tail.endswith("}") and len(found) == 1 and answers(found[0]) and len(found[0]) > 1:
            return tail
    last = thought.strip().rsplit("\n", 1)
    return last[-1] if len(last) == 2 and last[-1].lstrip().startswith("**") and _MARKED.search(last[-1]) else ""


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


def _marked(text: str) -> dict[str, Any] | None:
    """The name on the last line that is marked as one, and the thoughts before it."""
    found = [m for pattern in (_MARKED, _HEADED) for m in pattern.finditer(text) if clean_name(m["name"])]
    if not found:
        return None
    last = max(found, key=lambda m: m.start("name"))
    thinking = re.sub(rf"^{_DECOR}(?:thinking|thoughts?|reasoning){_DECOR}[:：]?{_DECOR}", "", text[: last.start()].strip(), flags=re.I)
    record = _with_clean_name({"name": last["name"]})
    return {**record, "thinking": thinking.strip(" *\n")} if thinking.strip(" *\n") else record


def _bare(text: str) -> dict[str, Any] | None:
    """A text that is nothing but one short line."""
    return _with_clean_name({"name": text}) if "\n" not in text.strip() and clean_name(text) else None


def _name_of(record: Mapping[str, Any]) -> str:
    """The name in a record: under "name" or "label" in any case, text or the first of a list; "" without one."""
    lowered = {str(k).strip().lower(): v for k, v in record.items()}
    for key in ("name", "label"):
        value = lowered.get(key)
        value = value[0] if isinstance(value, (list, tuple)) and value else value
        if isinstance(value, str) and clean_name(value):
            return value
    return ""


def _with_clean_name(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record under its usual keys; of a name like "dial / knob" the second half becomes a synonym."""
    name = _name_of(record)
    found = {str(k).strip().lower(): v for k, v in record.items() if str(k).strip().lower() not in ("name", "label")}
    first, *others = [part for part in (clean_name(n) for n in re.split(r"\s*/\s*|\s*\|\s*", name)) if part]
    if others:
        given = found.get("synonyms")
        found["synonyms"] = [*others, *(given if isinstance(given, list) else [])]
    return {"name": first, **found}


def one_line(text: str, most: int = 10_000) -> str:
    """A text as one line of at most so many letters: what a model wrote is quoted in later prompts, and must stay a quotation.

    Line breaks and control characters become spaces, invisible ones (which turn the direction of writing) nothing, and the
    quotation marks that prompts put around names plain ones. Joiners stay: some scripts need them.
    """
    kinds = ((c, unicodedata.category(c)) for c in text)
    plain = "".join(" " if kind in ("Cc", "Zl", "Zp") else c for c, kind in kinds if kind != "Cf" or c in "\u200c\u200d")
    line = " ".join(plain.replace("“", '"').replace("”", '"').split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"


def clean_name(text: str) -> str:
    """A name without markdown, quotes, numbering and bracketed remarks; "" for what cannot be a name."""
    name = re.sub(r"\A[\s*_#`~>\-\"'“”‘’«»]*(?:\d+[.)]\s+)?[\s*_`~\"'“”‘’«»]*", "", one_line(text))
    name = re.sub(r"\s*[(\[（][^)\]）]*[)\]）]?[\s.*_`]*\Z", "", name)
    name = name.strip(" *_`~\"'“”‘’«».,;。，；")
    too_long = len(name) > _MOST_LETTERS or len(name.split()) > _MOST_WORDS
    is_word = any(c.isalnum() for c in name) and not name.startswith(("{", "["))
    return "" if too_long or not is_word or _REFUSAL.search(name) else name
