"""OpenAI's chat completions as most servers understand them: what is sent, what comes back, what can be left out.

A user's message holds its pictures as data URLs, then its text; other messages are plain strings. Words from outside (of a
scene, of an earlier answer) must not end a message: the marks that begin control tokens are broken up.
"""

import base64
import codecs
import json
import re
from collections.abc import Mapping
from typing import Any

from semquery.vlm.base import Answer, Request, Turn, VlmError
from semquery.vlm.wire import Refused

# Left out where a server refuses a request: the one it complains of, else the next in this order.
OPTIONAL = ("logprobs", "chat_template_kwargs", "seed", "response_format")
ONLY_IF_NAMED = ("max_tokens", "temperature")  # the newest hosted models want max_completion_tokens, and no temperature

# what a complaint means → what to do; nothing that could be left out would help
ADVICE = (
    (re.compile(r"context (length|size|window)|context_length|exceed\w* .*context|too long|longer than", re.I),
     "The conversation is longer than the server takes: start it with a larger context, or send less with --ancestors parent."),
    (re.compile(r"at most \d+ image|too many images|limit.mm.per.prompt|number of images", re.I),
     "That is more pictures than the server takes: start vLLM with --limit-mm-per-prompt '{\"image\": 64}', or send less with --ancestors parent."),
    (re.compile(r"not a multimodal|does not support image|no vision|image input is not supported|mmproj|image_url.{0,40}not supported", re.I),
     "This model, or this server, takes no pictures: choose a vision-language model (llama.cpp needs its --mmproj file too)."),
)


def body_of(request: Request, model: str, seed: int, thinking: bool) -> dict[str, Any]:
    """A request as it is sent, all optional fields included."""
    body: dict[str, Any] = {
        "model": model, "messages": [message_of(turn) for turn in request.turns],
        "temperature": request.temperature, "max_tokens": request.max_tokens, "seed": seed, "logprobs": True,
    }
    if not thinking:
        body["chat_template_kwargs"] = {"enable_thinking": False}
    if request.schema is not None:
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": request.schema}}
    return body


def message_of(turn: Turn) -> dict[str, Any]:
    text = re.sub(r"<(?=\|)", "< ", turn.text)
    if not turn.images:
        return {"role": turn.role, "content": text}
    urls = [f"data:image/png;base64,{base64.b64encode(image).decode()}" for image in turn.images]
    return {"role": turn.role, "content": [*({"type": "image_url", "image_url": {"url": url}} for url in urls), {"type": "text", "text": text}]}


def answer_from(record: Mapping[str, Any], max_tokens: int) -> Answer:
    """What a response says. Raises VlmError when it says nothing."""
    try:
        choice = record["choices"][0]
        message, reason = choice["message"], choice.get("finish_reason")
        text = _text_of(message.get("content"))
        thought = _text_of(message.get("reasoning_content") or message.get("reasoning"))
    except (LookupError, TypeError, AttributeError) as error:
        raise VlmError(f"The server's answer has no message: {json.dumps(record)[:200]}") from error
    if not text.strip() and reason == "length":
        where = "in the midst of thinking" if thought else "before it began"
        raise VlmError(f"The answer was cut {where}, at {max_tokens} tokens: raise --max-tokens.")
    if not text.strip() and message.get("refusal"):
        raise VlmError(f"The model refused: {_text_of(message['refusal'])[:200]}")
    usage = record.get("usage")
    counts = (_count(usage, *path) for path in (("prompt_tokens",), ("prompt_tokens_details", "cached_tokens"), ("completion_tokens",)))
    return Answer(text if text.strip() else thought, _tokens(choice.get("logprobs")), *counts, cut=reason == "length")


def _text_of(content: Any) -> str:
    """Text, given as such or in parts."""
    if isinstance(content, list):
        return "".join(_text_of(part.get("text")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _tokens(logprobs: Any) -> tuple[tuple[str, float], ...]:
    """(text, log-probability); a letter that is spread over several tokens comes with the last of them. () if not told in this form."""
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    try:
        return tuple((decode(bytes(e["bytes"])) if e.get("bytes") else str(e["token"]), float(e["logprob"])) for e in logprobs["content"])
    except (LookupError, TypeError, ValueError, AttributeError):
        return ()


def _count(usage: Any, *path: str) -> int:
    for name in path:
        usage = usage.get(name) if isinstance(usage, dict) else None
    return usage if isinstance(usage, int) else 0


def without(body: Mapping[str, Any], dropped: set[str]) -> dict[str, Any]:
    """The body without some fields; the length of the answer is not left out, but given in its newer form."""
    kept = {name: value for name, value in body.items() if name not in dropped}
    return kept | ({"max_completion_tokens": body["max_tokens"]} if "max_tokens" in dropped else {})


def to_drop(error: Refused, body: Mapping[str, Any]) -> str | None:
    """The next field to do without; None if that would not help."""
    if error.status not in (400, 422) or advice_on(error):
        return None
    named = [f for f in (*OPTIONAL, *ONLY_IF_NAMED) if f in body and re.search(rf"\b{f}\b", error.message)]
    left = [f for f in OPTIONAL if f in body]
    return (named or left or [None])[0]


def advice_on(error: Refused) -> list[str]:
    return [advice for pattern, advice in ADVICE if pattern.search(error.message)]
