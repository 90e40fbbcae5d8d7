"""Servers of the OpenAI dialect: where they are, the key they want, and what a refusal means.

A key is read from the environment for every request, and is in no field, error or record.
"""

import os
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from semquery.vlm.base import VlmError
from semquery.vlm.wire import Refused

_ROUTES = ("/chat/completions", "/embeddings")


def address(base_url: str) -> str:
    """A base URL as it is used: with scheme and path, without what belongs to one route. Raises ValueError."""
    url = base_url.strip() if "://" in base_url else f"http://{base_url.strip()}"
    url = url.rstrip("/")
    for route in _ROUTES:
        url = url.removesuffix(route)
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and parts.hostname and not parts.query and not parts.fragment and (parts.port or 1)
    except ValueError:
        valid = False
    if "@" in url:  # a user:password@ would end in records; do not repeat it
        raise ValueError("The server's address must hold no user and no password; put the key into the environment.")
    if not valid or re.search(r"\s", url):
        raise ValueError(f"{base_url!r} is no address of a server; expected something like http://localhost:8000/v1 or https://host/v1.")
    return url if parts.path else f"{url}/v1"


def key_in(variable: str) -> str:
    """The key in an environment variable, "" without one."""
    key = os.environ.get(variable, "").strip()
    if not key.isascii() or not key.isprintable():
        raise VlmError(f"The key in {variable} holds letters that no key has; was something else put there?")
    return key


def travels_open(base_url: str, variable: str) -> bool:
    """Whether a key would leave this machine unencrypted."""
    parts = urlsplit(address(base_url))
    return parts.scheme == "http" and bool(key_in(variable)) and parts.hostname not in ("localhost", "127.0.0.1", "::1")


def refusal_in_words(error: Refused, advice: Sequence[str], url: str, model: str, variable: str) -> str:
    """A refusal by the server behind `url`, and what to do about it; `advice` is given where the status says no more."""
    if error.status in (401, 403):
        state = "does not accept the key in" if os.environ.get(variable, "").strip() else "wants a key: put one into"
        advice = [f"{address(url)} {state} the environment variable {variable}."]
    if error.status == 404:
        advice = [f"There is either no {url} (is the address right?) or no model {model} (what does the server call it?)."]
    return " ".join([f"{str(error).rstrip('.')}.", *advice])
