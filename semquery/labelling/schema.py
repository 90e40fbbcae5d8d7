"""What an answer looks like: JSON schemas for servers that can enforce one.

Fields are generated in the order in which they stand here, so thinking comes first and the name can profit from it.
Lengths are bounded, so that no answer runs on until the tokens are used up. No schema asks how sure the model is:
what models say of themselves is not worth reading (see `confidence.py`).
"""

from typing import Any


def bounded(most: int) -> dict[str, Any]:
    """A text of at most so many letters."""
    return {"type": "string", "maxLength": most}


def record(**properties: Any) -> dict[str, Any]:
    """An object with exactly these fields, in this order."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


_NAMED = {
    "thinking": bounded(600),
    "name": {"type": "string", "minLength": 1, "maxLength": 60},
    "synonyms": {"type": "array", "items": bounded(60), "maxItems": 6},
    "function": bounded(240),
    "alternatives": {"type": "array", "items": record(name=bounded(60), score={"type": "number", "minimum": 0, "maximum": 1}), "maxItems": 4},
}

NODE_SCHEMA = record(**_NAMED, parent_suspect={"type": "boolean"})  # one part
RECONSIDER_SCHEMA = record(**_NAMED)  # a part again, in the light of its own parts
SIBLINGS_SCHEMA = record(  # all parts of one part, by their numbers in the question; only those to be renamed
    thinking=bounded(600),
    renamed={
        "type": "array", "maxItems": 40,
        "items": record(number={"type": "integer", "minimum": 1}, name={"type": "string", "minLength": 1, "maxLength": 60}, reason=bounded(200)),
    },
)
