"""What a vision-language model points at: the form of its answers, and reading them as models really give them.

Asked for is {reasoning, visible, boxes: [{bbox_2d, label}], points: [{point_2d, label}]}; taken are also bare lists of boxes, as
Qwen's models give them unasked, other usual names of the fields, numbers as text, and what is whole of an answer that was cut off.

Conventions
  Boxes are (x0, y0, x1, y1), points (x, y), in the model's own numbers (see coords.py).
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from semquery.loose_json import json_objects, one_line

LONGEST_REASONING, LONGEST_LABEL = 1000, 80  # letters

_BOX_KEYS, _POINT_KEYS = ("bbox_2d", "bbox", "box_2d", "box"), ("point_2d", "point", "points", "coordinates")
_LABELS = {"type": "string", "maxLength": 60}


def _record(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _numbers(count: int) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "number"}, "minItems": count, "maxItems": count}


POINTING_SCHEMA = _record(
    reasoning={"type": "string", "maxLength": 800},
    visible={"type": "boolean"},
    boxes={"type": "array", "maxItems": 32, "items": _record(bbox_2d=_numbers(4), label=_LABELS)},
    points={"type": "array", "maxItems": 32, "items": _record(point_2d=_numbers(2), label=_LABELS)},
)


@dataclass(frozen=True)
class Thing:
    """One thing that was pointed at: by a box and points in it, or by a point alone."""

    box: tuple[float, float, float, float] | None
    points: tuple[tuple[float, float], ...] = ()
    label: str = ""


@dataclass(frozen=True)
class Pointing:
    """An answer; without things what is asked for is not visible."""

    things: tuple[Thing, ...]
    reasoning: str = ""


def pointing_from(text: str) -> Pointing | None:
    """None for what cannot be read, and for answers that see what is asked for but do not say where."""
    records = list(json_objects(re.sub(r"\A.*</think(?:ing)?>", "", text, flags=re.S | re.I)))
    said = next((r for r in reversed(records) if {"visible", "boxes", "points"} & set(r)), None)
    if said is None:
        loose = [r for r in (records if _is_listed(text) else _cut_records(text)) if _is_pointer(r)]
        said = {"boxes": loose, "points": loose, "reasoning": _cut_reasoning(text)} if loose else {}
        if not loose and not re.search(r"\[\s*\]\s*(?:```\s*)?\Z", text):
            return None
    if str(said.get("visible", "true")).strip().lower() in ("false", "no", "0"):
        return Pointing((), _text(said.get("reasoning"), LONGEST_REASONING))
    boxes, points = _items(said.get("boxes")), _items(said.get("points"))
    things = _joined(_things(boxes, _BOX_KEYS, 4), _things(points, _POINT_KEYS, 2))
    promised = boxes or points or "visible" in said
    return None if promised and not things else Pointing(things, _text(said.get("reasoning"), LONGEST_REASONING))


def _is_listed(text: str) -> bool:
    """Whether an answer is a list of boxes rather than an object that holds lists."""
    return '"boxes"' not in text and '"points"' not in text


def _cut_records(text: str) -> list[dict[str, Any]]:
    """The whole records of an answer that was cut off within its lists."""
    starts = [found.end() for found in re.finditer(r'"(?:boxes|points)"\s*:\s*\[', text)]
    return [record for start in starts[:1] for record in json_objects(text[start:])]


def _cut_reasoning(text: str) -> str:
    found = re.search(r'"reasoning"\s*:\s*"((?:[^"\\]|\\.)*)"', text)
    return found[1] if found else ""


def _is_pointer(record: Mapping[str, Any]) -> bool:
    return bool({*_BOX_KEYS, *_POINT_KEYS} & set(record))


def _things(items: Sequence[Any], keys: Sequence[str], count: int) -> list[Thing]:
    """Boxes (count 4) or points (count 2); what has not so many numbers is left out."""
    found = []
    for item in items:
        record = item if isinstance(item, Mapping) else {keys[0]: item}
        numbers = _flat(next((record[key] for key in keys if key in record), ()))
        if len(numbers) != count:
            continue
        label = _text(record.get("label") or record.get("name"), LONGEST_LABEL)
        x0, x1, y0, y1 = (*sorted(numbers[::2]), *sorted(numbers[1::2])) if count == 4 else (*numbers[:1] * 2, *numbers[1:] * 2)
        found.append(Thing((x0, y0, x1, y1), label=label) if count == 4 else Thing(None, ((x0, y0),), label))
    return found


def _joined(boxes: Sequence[Thing], points: Sequence[Thing]) -> tuple[Thing, ...]:
    """Each point goes to the smallest box that holds it; those that no box holds stand for themselves."""
    joined, alone = list(dict.fromkeys(boxes)), []
    for point in dict.fromkeys(points):
        holding = [k for k, thing in enumerate(joined) if _holds(thing.box, point.points[0])]
        if holding:
            k = min(holding, key=lambda k: _area(joined[k].box))
            joined[k] = replace(joined[k], points=(*joined[k].points, *point.points))
        else:
            alone.append(point)
    return (*joined, *alone)


def _holds(box: tuple[float, float, float, float] | None, point: tuple[float, float]) -> bool:
    return box is not None and box[0] <= point[0] <= box[2] and box[1] <= point[1] <= box[3]


def _area(box: tuple[float, float, float, float] | None) -> float:
    return 0.0 if box is None else (box[2] - box[0]) * (box[3] - box[1])


def _items(value: Any) -> list[Any]:
    """A list of records or of lists of numbers; one that came without its list is put into one."""
    if isinstance(value, Mapping):
        return [value]
    if not isinstance(value, (list, tuple)):
        return []
    return [list(value)] if value and all(isinstance(v, (int, float)) for v in value) else list(value)


def _flat(value: Any) -> list[float]:
    """The numbers in nested lists, [] where anything else is among them."""
    if isinstance(value, (list, tuple)):
        parts = [_flat(v) for v in value]
        return [number for part in parts for number in part] if all(parts) else []
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return []
    return [number] if math.isfinite(number) else []


def _text(value: Any, most: int) -> str:
    return one_line(value, most) if isinstance(value, str) else ""


def probability_of_seeing(tokens: Sequence[tuple[str, float]]) -> float:
    """The probability of the tokens that spell the value of "visible", 1 where the model tells none.

    `tokens`: an answer's tokens and their natural-log probabilities. What a model says of its own sureness is never asked.
    """
    found = list(re.finditer(r'"visible"\s*:\s*"?(true|false)', "".join(text for text, _ in tokens), re.I))
    total, at = 0.0, 0
    for text, log_probability in tokens:
        if found and at < found[-1].end(1) and at + len(text) > found[-1].start(1):
            total += log_probability
        at += len(text)
    return min(1.0, math.exp(total)) if math.isfinite(total) else 0.0
