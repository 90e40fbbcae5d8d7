"""The 26 shapes in which models give one and the same answer (or fail to), for the parser and for the stub server."""

import json
from collections.abc import Mapping
from typing import Any

NAMELESS = ("unknown", "bare line", "refusal", "cut before the name")  # these do not hold the answer's name, or not beyond doubt


def shapes(answer: Mapping[str, Any]) -> list[str]:
    """All 26 of an answer with a name."""
    return list(shapes_by_name(answer).values())


def shapes_by_name(answer: Mapping[str, Any]) -> dict[str, str]:
    name, thinking = answer["name"], answer.get("thinking") or "It is flat and hinged."
    return _as_json(answer, name, thinking) | _as_marked_text(answer, name, thinking) | {
        "unknown": f"**Thinking**: {thinking}\n**Label**: Unknown",
        "bare line": f"{name}.",
        "refusal": "I'm sorry, but I cannot identify the part that is shown.",
        "cut before the name": json.dumps({"thinking": thinking})[:-2],
    }


def _as_json(answer: Mapping[str, Any], name: str, thinking: str) -> dict[str, str]:
    whole = json.dumps(answer, ensure_ascii=False)
    up_to_name = {"thinking": thinking, "name": name, "alternatives": [{"name": "something else", "score": 0.1}]}
    return {
        "plain": whole,
        "fenced": f"```json\n{json.dumps(answer, ensure_ascii=False, indent=2)}\n```",
        "fenced without a language": f"```\n{whole}\n```",
        "amid prose": f"Sure! Here is what I see:\n\n{whole}\n\nLet me know if you need more.",
        "trailing comma": f"{whole[:-1]},}}",
        "cut after the name": json.dumps(up_to_name, ensure_ascii=False)[:-10],
        "thoughts closed": f'<think>\nIs it a lid? {{"name": "lid"}} No.\n</think>\n\n{whole}',
        "thoughts never closed": f"<think>\nIs it a lid? No.\n{whole}",
        "thoughts never opened": f'Is it a lid? {{"name": "lid"}} No.\n</think>\n\n{whole}',
        "raw control characters": json.dumps({**answer, "thinking": f"{thinking}@@Surely."}, ensure_ascii=False).replace("@@", "\n\t"),
        "list values": json.dumps({**answer, "name": [name]}, ensure_ascii=False),
        "single quotes": repr(dict(answer)),
    }


def _as_marked_text(answer: Mapping[str, Any], name: str, thinking: str) -> dict[str, str]:
    thought = f"**Thinking**: {thinking}"
    return {
        "marked": f"{thought}\n**Label**: {name}",
        "marked as the paper prints it": f"****Thinking**:** {thinking}\n****Label**:** {name}",
        "marked with the colon inside": f"**Thinking:** {thinking}\n\n**Label:** {name}.",
        "heading": f"### Thinking\n{thinking}\n\n### Label\n\n{name}\n",
        "label on the next line": f"{thought}\n**Label**:\n{name}",
        "numbered list": f"1. {thought}\n2. **Label**: {name}",
        "a label for every picture": f"Image 1\n{thought}\n**Label**: scene\n\nImage 2\n{thought}\n**Label**: {name}",
        "Chinese header": f"思考：{thinking}\n标签：{name}",
        "confidence in brackets": f"{thought}\n**Label**: {name} (confidence: 0.85)",
        "slash alternatives": f"{thought}\n**Label**: {name} / something else",
    }
