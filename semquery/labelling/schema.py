"""What an answer looks like: JSON schemas for servers that can enforce one.

Fields are generated in the order in which they stand here, so thinking comes first and the name can profit from it.
Lengths are bounded, so that no answer runs on until the tokens are used up. No schema asks how sure the model is:
what models say of themselves is not worth reading (see `confidence.py`).
"""

from typing import Any


def _text(most: int) -> dict[str, Any]:
    return {"type": "string", "maxLength": most}


def _record(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


_NAMED = {
    "thinking": _text(600),
    "name": {"type": "string", "minLength": 1, "maxLength": 60},
    "synonyms": {"type": "array", "items": _text(60), "maxItems": 6},
    "function": _text(240),
    "alternatives": {"type": "array", "items": _record(name=_text(60), score={"type": "number", "minimum": 0, "maximum": 1}), "maxItems": 4},
}

NODE_SCHEMA = _record(**_NAMED, parent_suspect={"type": "boolean"})  # one part
RECONSIDER_SCHEMA = _record(**_NAMED)  # a part again, in the light of its own parts
SIBLINGS_SCHEMA = _record(  # all parts of one part, by their numbers in the question; only those to be renamed
    thinking=_text(600),
    renamed={
        "type": "array", "maxItems": 40,
        "items": _record(number={"type": "integer", "minimum": 1}, name={"type": "string", "minLength": 1, "maxLength": 60}, reason=_text(200)),
    },
)
