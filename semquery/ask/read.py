"""Reading the answers as models really give them.

Thoughts are taken off; the last JSON object that has what was asked for counts, mended where models usually break it,
and read by its whole fields where it was cut off; of a decision a marked line ("Targets: 12, 13") will do too. Ids come as numbers, as
"#12", "part 12", "12: handle", or as a range; what the table does not have is left out, and said.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from semquery.ask.record import Considered
from semquery.labelling.parse import json_objects, one_line, without_thoughts

LONGEST_WHY, LONGEST_EXPLANATION = 240, 1000  # letters
_MARKED = re.compile(r"^[\W\d_]*(?:targets?|answer)[ \t*_`]*[:=](?P<ids>[^\n]{1,400})$", re.I | re.M)
_IDS = re.compile(r"(?:[\s,;#&.*_`\[\]]|and\b|parts?\b|\d+)+", re.I)  # a line of nothing but ids


@dataclass(frozen=True)
class Relevance:
    """What the first answer says."""

    relevant: tuple[Considered, ...]
    open: tuple[int, ...] = ()
    unknown: tuple[str, ...] = ()  # what was named and is in no row
    thinking: str = ""


@dataclass(frozen=True)
class Decision:
    """What the last answer says."""

    targets: tuple[int, ...]
    explanation: str = ""
    rejected: tuple[tuple[int, str], ...] = ()
    unknown: tuple[str, ...] = ()


def relevance_from(text: str, known: Collection[int]) -> Relevance | None:
    """None for what cannot be read, and where nothing that is named is known."""
    record = _last_with("relevant", text) or _last_with("open", text)
    if record is None:
        return None
    found: dict[int, Considered] = {}
    unknown: list[str] = []
    for item in _items(record.get("relevant")):
        said = item if isinstance(item, Mapping) else {"part": item}
        ids, others = ids_in([_id_of(said)], known)
        unknown += others
        role = "anchor" if "anchor" in str(said.get("role", "")).lower() else "candidate"
        found.update({part: Considered(part, role, _line(said.get("why"), LONGEST_WHY)) for part in ids if part not in found})
    wanted, others = ids_in(_items(record.get("open")), known)
    if not found and not wanted and (unknown or others):
        return None
    return Relevance(tuple(found.values()), wanted, (*unknown, *others), _line(record.get("thinking"), LONGEST_EXPLANATION))


def decision_from(text: str, known: Collection[int]) -> Decision | None:
    """None for what cannot be read, and where targets are named of which none is known; no target at all is an answer."""
    record = _last_with("targets", text)
    if record is None:
        return _marked(without_thoughts(text, is_answer), known)
    targets, unknown = ids_in(_items(record.get("targets")), known)
    if unknown and not targets:
        return None
    rejected: dict[int, str] = {}
    for item in _items(record.get("rejected")):
        said = item if isinstance(item, Mapping) else {"part": item}
        ids, _ = ids_in([_id_of(said)], known)
        rejected.update({part: _line(said.get("why"), LONGEST_WHY) for part in ids if part not in targets})
    explanation = record.get("explanation") or record.get("thinking")
    return Decision(targets, _line(explanation, LONGEST_EXPLANATION), tuple(rejected.items()), unknown)


def ids_in(items: Sequence[Any], known: Collection[int]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The known ids that are named, each once, and what else was named."""
    found: dict[int, None] = {}
    unknown: list[str] = []
    for item in items:
        ids = [part for part in _ids(item, known) if part in known]
        found.update(dict.fromkeys(ids))
        if not ids and item is not None:
            unknown.append(one_line(str(item), 40))
    return tuple(found), tuple(unknown)


def _ids(item: Any, known: Collection[int]) -> list[int]:
    """The ids that one item of a list means."""
    if isinstance(item, bool):
        return []
    if isinstance(item, (int, float)):  # JSON as Python reads it knows Infinity
        return [int(item)] if isinstance(item, int) or item.is_integer() else []
    if isinstance(item, Mapping):
        return _ids(_id_of(item), known)
    named = re.match(r"\W*(?:part|id|node)?\W*(\d{1,9})(?:\s*(?:[-–—]|to)\s*#?(\d{1,9})(?!\d))?", str(item), re.I)
    if named is None:
        return []
    first, last = int(named[1]), int(named[2] or named[1])
    return sorted(part for part in known if first <= part <= last) if last > first else [first]


def _id_of(said: Mapping[Any, Any]) -> Any:
    return next((said[key] for key in ("part", "id", "node", "target") if key in said), None)


def _marked(text: str, known: Collection[int]) -> Decision | None:
    """The ids on the last line that is marked as the answer, and the lines before it as the explanation."""
    lines = [line for line in _MARKED.finditer(text) if _says_none(line["ids"]) or (_IDS.fullmatch(line["ids"]) and re.search(r"\d", line["ids"]))]
    if not lines:
        return None
    targets, unknown = ids_in(re.findall(r"\d+", lines[-1]["ids"]), known)
    if unknown and not targets:
        return None
    return Decision(targets, _line(text[: lines[-1].start()], LONGEST_EXPLANATION), unknown=unknown)


def _says_none(ids: str) -> bool:
    return ids.strip(" \t*_`.").lower() in ("none", "no part", "[]", "[ ]")


def _last_with(key: str, text: str) -> dict[str, Any] | None:
    """The last object of an answer that has a field, keys in lower case; one that was cut off is read as far as it goes."""
    said = without_thoughts(text, is_answer)
    for record in reversed([*json_objects(said), *_cut_off(said)]):
        lowered = {str(name).strip().lower(): value for name, value in record.items()}
        if key in lowered:
            return lowered
    return None


def is_answer(record: Mapping[str, Any]) -> bool:
    """Whether an object is an answer to one of the questions."""
    return "targets" in record or "relevant" in record


def _cut_off(text: str) -> list[dict[str, Any]]:
    """The object that a text ends within, by its whole fields: half a list of targets would be another answer."""
    start, end, depth, quoted, escaped = text.find("{"), 0, 0, False, False
    for k, c in enumerate(text[start:] if start >= 0 else "", start):
        if quoted:
            escaped, quoted = (c == "\\" and not escaped), not (c == '"' and not escaped)
        elif c == '"':
            quoted = True
        elif c in "{[":
            depth += 1
        elif c in "}]":
            depth -= 1
        if not quoted and depth == 1 and c in ",}]":
            end = k + (c != ",")
    try:
        record = json.loads(text[start:end] + "}", strict=False) if depth > 0 and end else None
    except ValueError:
        return []
    return [record] if isinstance(record, dict) else []


def _items(value: Any) -> list:
    return list(value) if isinstance(value, (list, tuple)) else [] if value is None or value == "" else [value]


def _line(value: Any, most: int) -> str:
    return one_line(value, most) if isinstance(value, str) else ""
