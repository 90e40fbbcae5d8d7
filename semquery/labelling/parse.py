"""Reading answers as models really give them.

A ladder, from the strictest form to the loosest; the first rung that holds a name wins:
  1. thoughts are taken off, with both tags or with one of them missing;
  2. a JSON object with a name: bare, fenced, amid prose, with trailing commas or raw line breaks, or cut off after the name;
  3. a marked line, `Label: …` in any markdown, or the mark on one line and the name on the next; the last one wins;
  4. if asked for, a bare short line that is no refusal.
What cannot be a name (a sentence, a refusal) is no answer: asking again is cheaper than a wrong name.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from semquery.loose_json import is_whole_object, json_objects, one_line

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
    if is_whole_object(text.strip()):  # whatever its strings hold
        return text.strip()
    text = re.sub(r"<think(?:ing)?>.*?</think(?:ing)?>", "", text, flags=re.S | re.I)
    text = re.sub(r"\A.*</think(?:ing)?>", "", text, flags=re.S | re.I)  # some servers leave out the opening tag
    opened = re.search(r"<think(?:ing)?>", text, re.I)
    if opened is None:
        return text.strip()
    thought, before = text[opened.end():], text[: opened.start()]
    return (before + _answer_that_ends(thought, answers or _name_of)).strip()


def _answer_that_ends(thought: str, answers: Callable[[Mapping[str, Any]], object]) -> str:
    """What a thought that was never closed ends with, if it is beyond doubt an answer: JSON to the last letter, or a marked last line."""
    for start in (m.start() for m in re.finditer(r"^\s*(?:```\w*\s*)?\{", thought, re.M)):
        tail = thought[start:].strip().removesuffix("```").strip()
        found = list(json_objects(tail))
        if tail.endswith("}") and len(found) == 1 and answers(found[0]) and len(found[0]) > 1:
            return tail
    last = thought.strip().rsplit("\n", 1)
    return last[-1] if len(last) == 2 and last[-1].lstrip().startswith("**") and _MARKED.search(last[-1]) else ""


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


def clean_name(text: str) -> str:
    """A name without markdown, quotes, numbering and bracketed remarks; "" for what cannot be a name."""
    name = re.sub(r"\A[\s*_#`~>\-\"'“”‘’«»]*(?:\d+[.)]\s+)?[\s*_`~\"'“”‘’«»]*", "", one_line(text))
    name = re.sub(r"\s*[(\[（][^)\]）]*[)\]）]?[\s.*_`]*\Z", "", name)
    name = name.strip(" *_`~\"'“”‘’«».,;。，；")
    too_long = len(name) > _MOST_LETTERS or len(name.split()) > _MOST_WORDS
    is_word = any(c.isalnum() for c in name) and not name.startswith(("{", "["))
    return "" if too_long or not is_word or _REFUSAL.search(name) else name
