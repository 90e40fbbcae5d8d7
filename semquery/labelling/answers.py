"""From what was answered, or written by hand, to labels."""

import json
from collections.abc import Mapping
from typing import Any

from semquery.labelling.parse import clean_name, one_line, parse_answer, without_thoughts
from semquery.types import NodeLabel, PartTree

MOST_NAMES, LONGEST_NAME, LONGEST_LINE, LONGEST_ANSWER = 8, 80, 400, 2000  # letters; what is longer or more is left out
EXAMPLE = '{"12": "handle", "7": {"name": "door", "synonyms": ["flap"]}}'


def label_from(answer: Mapping[str, Any], part: int, source: str, raw: str = "", confidence: float = 1.0, **more: Any) -> NodeLabel:
    """A label from an answer's JSON, whatever is missing or of the wrong type left out."""
    name = _text(answer, "name")
    name = "unknown" if name.lower() == "unknown" else name
    named = (one_line(s, LONGEST_NAME) for s in _items(answer, "synonyms") if isinstance(s, str))
    synonyms = tuple(dict.fromkeys(s for s in named if s and s != name))[:MOST_NAMES]
    alternatives = tuple(
        (one_line(a["name"], LONGEST_NAME), _unit(a.get("score", 0.5)))
        for a in _items(answer, "alternatives") if isinstance(a, dict) and isinstance(a.get("name"), str) and one_line(a["name"]))[:MOST_NAMES]
    return NodeLabel(
        part=part, name=name, synonyms=synonyms, function=_text(answer, "function"), alternatives=alternatives,
        thinking=_text(answer, "thinking", as_line=False), confidence=confidence, source=source, raw=raw,
        parent_suspect=answer.get("parent_suspect") is True, **more,
    )


def failed_label(part: int, source: str, reason: str, raw: str = "", calls: int = 0) -> NodeLabel:
    """A part that could not be named, and why."""
    return NodeLabel(part, "unknown", confidence=0.0, source=source, raw=raw, status="failed", reason=reason, calls=calls)


def said(label: NodeLabel) -> str:
    """What the model hears itself say about a part: its own words where they hold the name, else the name as it would have put it."""
    read = parse_answer(label.raw, bare=True) if label.raw else None
    own = without_thoughts(label.raw)
    if label.status == "named" and read is not None and read["name"] == clean_name(label.name) and len(own) <= LONGEST_ANSWER:
        return own
    known = {"name": label.name, "synonyms": list(label.synonyms), "function": label.function}
    return json.dumps({k: v for k, v in known.items() if v}, ensure_ascii=False)


def is_named(label: NodeLabel) -> bool:
    return label.status == "named" and label.name != "unknown"


def labels_by_hand(record: object, parts: PartTree) -> list[NodeLabel]:
    """Labels from a JSON object: part number → name, or → {name, synonyms, function}; alone, or as "edits" of a report page.

    Raises ValueError for parts that do not exist and for values that are neither.
    """
    if isinstance(record, Mapping) and "edits" in record:
        if record.get("format") != 1 or not isinstance(record["edits"], Mapping):
            wanted = f'{{"format": 1, "edits": {EXAMPLE}}}, as the report page saves them'
            raise ValueError(f"These edits have format {record.get('format')!r}; expected {wanted}.")
        record = record["edits"]
    if not isinstance(record, Mapping) or not record:
        raise ValueError(f"Names by hand are a JSON object such as {EXAMPLE}.")
    labels = []
    for key, value in record.items():
        if not str(key).isdecimal() or int(key) >= parts.num_parts:
            raise ValueError(f"There is no part {key!r}: parts are numbered 0 to {parts.num_parts - 1} (see parts.json or views/).")
        answer = {"name": value} if isinstance(value, str) else value
        if not isinstance(answer, Mapping) or not isinstance(answer.get("name"), str) or not answer["name"].strip():
            raise ValueError(f"Part {key}: expected a name or an object with a name, got {value!r}.")
        labels.append(label_from(answer, int(key), "user"))
    return labels


def _text(answer: Mapping[str, Any], key: str, as_line: bool = True) -> str:
    value = answer.get(key)
    if not isinstance(value, str):
        return ""
    return one_line(value, LONGEST_LINE) if as_line else value.strip()[:LONGEST_ANSWER]


def _items(answer: Mapping[str, Any], key: str) -> list:
    value = answer.get(key)
    return value if isinstance(value, list) else [value] if isinstance(value, str) and value else []


def _unit(value: object) -> float:
    return min(1.0, max(0.0, float(value))) if isinstance(value, (int, float)) and value == value else 0.5
