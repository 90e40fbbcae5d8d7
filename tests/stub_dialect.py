"""The OpenAI dialect as a strict server takes it: what a request must look like, its tokens, JSON schemas.

Tokens: a word of text is one, a picture one per 28 × 28 pixels, carrying the picture's hash. block hash = hash(hash of the
block before, tokens), over full blocks of 16: two prompts share the blocks of their common beginning (vLLM's rule).
"""

import base64
import hashlib
import json
import re
import zlib
from collections.abc import Mapping
from typing import Any

BLOCK = 16
FIELDS = {"model", "messages", "temperature", "max_tokens", "max_completion_tokens", "seed", "response_format", "logprobs", "chat_template_kwargs"}
PNG_HEAD = b"\x89PNG\r\n\x1a\n"


class BadRequest(Exception):
    """What was sent is not the dialect."""



def images_of(body: Mapping[str, Any], last: bool = False) -> list[bytes]:
    """The PNGs of a request in order: all of them, or those of the last message."""
    contents = [m["content"] for m in body["messages"][-1 if last else 0:] if isinstance(m["content"], list)]
    return [png_of(part) for content in contents for part in content if part["type"] == "image_url"]


def text_of(message: Mapping[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "\n".join(part["text"] for part in content if part["type"] == "text")


def is_probe(body: Mapping[str, Any]) -> bool:
    """Whether this is the client's question whether schemas are enforced: it is answered "blue", as its text demands."""
    return "just the word blue" in text_of(body["messages"][-1])


def check_body(body: Any, rejects: tuple[str, ...] = ()) -> None:
    """Raise BadRequest for whatever a strict server would not take."""
    _demand(isinstance(body, dict) and isinstance(body.get("model"), str) and body["model"] != "", "model: a name is needed")
    for name in body:
        _demand(name in FIELDS and name not in rejects, f"{name}: extra fields not permitted")
    _demand(isinstance(body.get("temperature", 0), (int, float)) and 0 <= body.get("temperature", 0) <= 2, "temperature: 0 to 2")
    most = body.get("max_tokens", body.get("max_completion_tokens"))
    _demand(type(most) is int and most > 0, "max_tokens: a positive integer")
    _demand(type(body.get("seed", 0)) is int, "seed: an integer")
    _demand(isinstance(body.get("logprobs", False), bool), "logprobs: a boolean")
    _check_format(body.get("response_format", {"type": "text"}))
    messages = body.get("messages")
    _demand(isinstance(messages, list) and len(messages) > 0, "messages: a list that is not empty")
    for message in messages:
        _check_message(message)
    roles = [m["role"] for m in messages if m is not messages[0] or m["role"] != "system"]
    _demand(roles == ["user", "assistant"] * (len(roles) // 2) + ["user"], f"messages: user and assistant must take turns and the user ask last, got {roles}")


def _demand(fine: bool, message: str) -> None:
    if not fine:
        raise BadRequest(message)


def _check_format(given: Any) -> None:
    if given == {"type": "text"}:
        return
    nested = given.get("json_schema") if isinstance(given, dict) and given.get("type") == "json_schema" else None
    _demand(isinstance(nested, dict) and set(nested) == {"name", "strict", "schema"} and set(given) == {"type", "json_schema"},
            "response_format: {type: json_schema, json_schema: {name, strict, schema}}")
    _demand(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", nested["name"]) is not None and nested["strict"] is True, "response_format: a plain name, strict")
    problems(None, nested["schema"])


def _check_message(message: Any) -> None:
    _demand(isinstance(message, dict) and set(message) == {"role", "content"}, "a message has role and content, and nothing else")
    role, content = message["role"], message["content"]
    _demand(role in ("system", "user", "assistant"), f"role: {role!r}")
    if isinstance(content, str):
        return _demand(content != "", "content: empty")
    _demand(role == "user", f"a message of the {role} is a string")
    _demand(isinstance(content, list) and len(content) > 0, "content: a string, or a list of parts")
    kinds = [part.get("type") for part in content]
    _demand(kinds == ["image_url"] * (len(kinds) - 1) + ["text"], f"parts: pictures, then one text; got {kinds}")
    _demand(set(content[-1]) == {"type", "text"} and isinstance(content[-1]["text"], str) and content[-1]["text"] != "", "text: a string")
    for part in content[:-1]:
        _check_png(png_of(part))


def png_of(part: Mapping[str, Any]) -> bytes:
    url = part.get("image_url", {}).get("url", "") if isinstance(part.get("image_url"), dict) else ""
    head, _, data = url.partition(",")
    _demand(set(part) == {"type", "image_url"} and head == "data:image/png;base64", "image_url: {url: data:image/png;base64,…}")
    try:
        return base64.b64decode(data, validate=True)
    except ValueError as error:
        raise BadRequest(f"image_url: {error}") from error


def _check_png(png: bytes) -> None:
    """Every chunk is whole, from the head to IEND."""
    _demand(png[:8] == PNG_HEAD and png[12:16] == b"IHDR", "a picture is no PNG")
    at, kind = 8, b""
    while at < len(png):
        _demand(at + 12 <= len(png), "a picture is cut off")
        size, kind = int.from_bytes(png[at : at + 4], "big"), png[at + 4 : at + 8]
        body, check = png[at + 4 : at + 8 + size], png[at + 8 + size : at + 12 + size]
        _demand(zlib.crc32(body) == int.from_bytes(check, "big") and len(check) == 4, "a picture is broken")
        at += 12 + size
    _demand(kind == b"IEND", "a picture is cut off")


# tokens


def prompt_tokens(messages: list[dict]) -> list[str]:
    return [token for m in messages for token in (*turn_tokens(m["role"], m["content"]), "<end>")] + ["<assistant>"]


def turn_tokens(role: str, content: str | list[dict]) -> list[str]:
    """A turn up to its end mark."""
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return [f"<{role}>", *(token for part in parts for token in _part_tokens(part))]


def _part_tokens(part: Mapping[str, Any]) -> list[str]:
    if part["type"] == "text":
        return part["text"].split()
    png = png_of(part)
    width, height = int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")
    return [f"<picture {hashlib.sha256(png).hexdigest()}>"] * (max(1, round(width / 28)) * max(1, round(height / 28)))


def block_hashes(tokens: list[str]) -> list[bytes]:
    """Of the full blocks, each over everything up to its end."""
    hashes, parent = [], b""
    for start in range(0, len(tokens) - BLOCK + 1, BLOCK):
        parent = hashlib.sha256(parent + "\0".join(tokens[start : start + BLOCK]).encode()).digest()
        hashes.append(parent)
    return hashes


# schemas

_TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float), "null": type(None)}
_KEYWORDS = {"type", "properties", "required", "additionalProperties", "items", "minItems", "maxItems", "minLength", "maxLength", "minimum", "maximum",
             "enum", "const", "description", "title"}


def problems(value: Any, schema: Mapping[str, Any], where: str = "answer") -> list[str]:
    """What keeps a value from fitting a JSON schema, of the keywords that servers know; raises BadRequest for others."""
    _demand(set(schema) <= _KEYWORDS, f"schema: {sorted(set(schema) - _KEYWORDS)} is not supported")
    found = [f"{where} is no {schema['type']}"] if "type" in schema and not _is_of(value, schema["type"]) else []
    found += [f"{where} is none of {schema['enum']}"] if "enum" in schema and value not in schema["enum"] else []
    found += [f"{where} is not {schema['const']!r}"] if "const" in schema and value != schema["const"] else []
    found += _outside(value, schema, where)
    if isinstance(value, dict):
        known = schema.get("properties", {})
        found += [f"{where} lacks {name}" for name in schema.get("required", ()) if name not in value]
        found += [f"{where} has {name}" for name in value if name not in known and schema.get("additionalProperties") is False]
    inside = [(value.get(n) if isinstance(value, dict) else None, s, f"{where}.{n}", isinstance(value, dict) and n in value)
              for n, s in schema.get("properties", {}).items()]
    items = list(enumerate(value)) if isinstance(value, list) else []
    inside += [(item, schema["items"], f"{where}[{k}]", True) for k, item in items if "items" in schema]
    if "items" in schema and not items:
        inside.append((None, schema["items"], where, False))  # for its keywords only
    return found + [p for v, s, w, present in inside for p in problems(v, s, w) if present]


def _is_of(value: Any, kind: str) -> bool:
    whole = kind == "integer" and isinstance(value, float) and value.is_integer()  # 1.0 is an integer to JSON schema
    return whole or isinstance(value, _TYPES[kind]) and not (isinstance(value, bool) and kind in ("integer", "number"))


def _outside(value: Any, schema: Mapping[str, Any], where: str) -> list[str]:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    size = len(value) if isinstance(value, (str, list)) else None
    low, high = ("minLength", "maxLength") if isinstance(value, str) else ("minItems", "maxItems")
    wrong = [
        is_number and value < schema.get("minimum", value), is_number and value > schema.get("maximum", value),
        size is not None and size < schema.get(low, 0), size is not None and size > schema.get(high, size),
    ]
    return [f"{where} is out of bounds"] * any(wrong)


def smallest(schema: Mapping[str, Any]) -> Any:
    """A value that fits, with as little in it as may be."""
    if "const" in schema or "enum" in schema:
        return schema["const"] if "const" in schema else schema["enum"][0]
    if schema["type"] == "object":
        return {name: smallest(schema["properties"][name]) for name in schema.get("required", ())}
    if schema["type"] == "array":
        return [smallest(schema["items"])] * schema.get("minItems", 0)
    if schema["type"] == "string":
        return "x" * schema.get("minLength", 0)
    return {"boolean": False, "null": None}.get(schema["type"], schema.get("minimum", 0))


def as_value(found: Mapping[str, Any] | str) -> Any:
    try:
        return json.loads(found) if isinstance(found, str) else found
    except ValueError:
        return found
