"""Posting JSON over HTTP until it is answered: a kept connection per thread, and patience with servers that are busy or away.

Tried again, after a growing wait: answers 408, 425, 429, 500, 502, 503, 504, 529, time-outs, lost connections, answers that
break off. Wait before try k+1 = first · 2^k · uniform(½, 1), at least what the server asks for (Retry-After), at most `longest`;
chance spreads the tries of many workers. Every other answer but 200 is final.
Redirections are not followed: the key must not travel to another host.
"""

import json
import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from semquery.vlm.base import VlmError

RETRIED = {408, 425, 429, 500, 502, 503, 504, 529}
TO_CONNECT = 10.0  # seconds; answers may take longer
SHORTEST_SECRET = 8  # letters; what is put in place of a key for servers that want none ("none", "x") must not be struck out
LONGEST_MESSAGE = 300  # letters of a server's complaint that are passed on; some repeat the whole request


class Refused(VlmError):
    """An answer that trying again does not change."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"HTTP {status}: {message}")
        self.status, self.message = status, message


class _Again(Exception):
    """It may go better another time; not before `wait` seconds."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


@dataclass(frozen=True)
class Patience:
    """How long to try."""

    tries: int = 6
    timeout: float = 300.0  # seconds without a sign of the server
    first: float = 0.5
    longest: float = 60.0

    def wait(self, attempt: int, asked: float, chance: float) -> float:
        """Seconds before the try after `attempt` (from 0); `chance` is 0..1."""
        return min(self.longest, max(asked, self.first * 2**attempt * (0.5 + chance / 2)))


class Wire:
    """Posts to one address; safe to use from several threads."""

    def __init__(self, url: str, patience: Patience, field: str = "choices") -> None:
        """`field`: what the record of a right answer has."""
        self.url, self.patience, self.field = url, patience, field
        self._parts, self._local, self._random = urlsplit(url), threading.local(), random.Random()

    def post(self, record: Any, key: str = "") -> dict[str, Any]:
        """The JSON that is answered. Raises Refused, or VlmError when patience is at its end."""
        data, tries = json.dumps(record).encode(), self.patience.tries
        for attempt in range(tries):
            try:
                return self._once(data, key)
            except _Again as error:
                last = error
            if attempt < tries - 1:
                time.sleep(self.patience.wait(attempt, last.wait, self._random.random()))
        raise VlmError(f"{self.url} did not answer in {tries} {'try' if tries == 1 else 'tries'}; the last time: {last}.", is_away=True)

    def knock(self) -> None:
        """Connect. Raises OSError when nobody opens."""
        self._close()
        self._local.connection = self._connect()

    def _once(self, data: bytes, key: str) -> dict[str, Any]:
        status, told, body = self._exchange(data, {"Authorization": f"Bearer {key}"} if key else {})
        if len(key) >= SHORTEST_SECRET:  # some repeat it when they refuse it
            body = body.replace(key.encode(), b"(the key)")
        if status in RETRIED:
            raise _Again(f"HTTP {status}: {message_of(body)}", seconds_asked(told))
        if status != 200:
            to = f" (it points to {told['Location']})" if 300 <= status < 400 and "Location" in told else ""
            raise Refused(status, message_of(body) + to)
        try:
            record = json.loads(body)
        except ValueError as error:
            raise _Again(f"the answer is no JSON: {message_of(body)!r}") from error
        if not isinstance(record, dict) or self.field not in record:  # some pass on the error of another server as 200
            raise _Again(f"the answer is of another kind: {message_of(body)!r}")
        return record

    def _exchange(self, data: bytes, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str], bytes]:
        from http.client import HTTPException
        from ssl import SSLCertVerificationError

        kept = getattr(self._local, "connection", None)
        try:
            connection = self._local.connection = kept or self._connect()
            connection.request("POST", self._parts.path, data, {"Content-Type": "application/json", **headers})
            response = connection.getresponse()
            found = response.status, {name.title(): value for name, value in response.headers.items()}, response.read()
        except SSLCertVerificationError as error:
            raise VlmError(f"{self.url} has no certificate that this machine trusts ({error.verify_message}).") from error
        except (OSError, HTTPException) as error:
            self._close()
            if kept is not None and isinstance(error, ConnectionError):  # it was closed while idle
                return self._exchange(data, headers)
            raise _Again(_in_words(error, self.patience.timeout)) from error
        except BaseException:  # an interruption leaves an answer in the pipe, which the next request must not read
            self._close()
            raise
        if response.will_close:
            self._close()
        return found

    def _connect(self) -> Any:
        from http.client import HTTPConnection, HTTPSConnection

        kind = HTTPSConnection if self._parts.scheme == "https" else HTTPConnection
        assert self._parts.hostname is not None
        connection = kind(self._parts.hostname, self._parts.port, timeout=min(self.patience.timeout, TO_CONNECT))
        connection.connect()
        connection.sock.settimeout(self.patience.timeout)
        return connection

    def _close(self) -> None:
        connection = getattr(self._local, "connection", None)
        self._local.connection = None
        if connection is not None:
            connection.close()


def message_of(body: bytes) -> str:
    """What a server complains of, in the forms that servers have for it; never what was sent, which some repeat."""
    text = body.decode(errors="replace")
    try:
        record = json.loads(text)
    except ValueError:
        return _short(text)
    for key in ("error", "detail", "message"):
        found = record.get(key) if isinstance(record, dict) else None
        found = found.get("message") if isinstance(found, dict) else found
        if isinstance(found, list):  # of a validator: where, and what is wrong there
            found = "; ".join(f"{'.'.join(str(s) for s in f.get('loc', ()))}: {f.get('msg', '')}" for f in found if isinstance(f, dict))
        if isinstance(found, str) and found.strip():
            return _short(found)
    return _short(text)


def seconds_asked(headers: Mapping[str, str]) -> float:
    """What Retry-After says, in seconds or as a date; 0 without it, or if it makes no sense."""
    from email.utils import parsedate_to_datetime

    told = headers.get("Retry-After") or "0"
    try:
        seconds = float(told)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(told).timestamp() - time.time()
        except (ValueError, TypeError):
            return 0.0
    return seconds if 0 < seconds < float("inf") else 0.0


def _in_words(error: Exception, timeout: float) -> str:
    from http.client import IncompleteRead

    if isinstance(error, TimeoutError):
        return f"nothing came within {timeout:g} s"
    if isinstance(error, IncompleteRead):
        return "the answer broke off"
    return f"{type(error).__name__}: {error}"


def _short(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= LONGEST_MESSAGE else plain[:LONGEST_MESSAGE] + "…"
