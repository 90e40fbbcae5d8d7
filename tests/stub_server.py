"""A strict server of the OpenAI dialect, without a model: checks what it is sent, counts as real servers do, and fails on demand.

    with StubServer(lambda body: {"name": "door", …}) as server:
        OpenAiServer(server.url, "stub")(request)

What it is strict about: roles in turn, known fields and parts only, pictures before the text and whole PNGs, the nested response_format.
An answer that does not fit the request's schema is replaced by the smallest that does, as constrained decoding would.

A prompt's cached tokens are those of its leading blocks of 16 tokens that were seen before (`stub_dialect.py`).

Faults are decided by the content of a request and the number of the attempt, so the same requests meet the same faults
in whatever order and on however many threads they come.
"""

import hashlib
import json
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from shapes import shapes_by_name
from stub_dialect import (
    BLOCK,
    BadRequest,
    as_value,
    block_hashes,
    check_body,
    images_of,
    is_probe,
    problems,
    prompt_tokens,
    smallest,
    text_of,
    turn_tokens,
)

__all__ = ["Faults", "StubServer", "images_of", "text_of"]

LOST = ("429", "500", "timeout", "reset", "cut body")  # no answer arrives
SPOILED = ("cut text", "shape")  # an answer arrives, but not as it should


@dataclass(frozen=True)
class Faults:
    """Which requests go wrong, and how."""

    rate: float = 0.3  # share of attempts that meet a fault
    kinds: tuple[str, ...] = LOST + SPOILED
    most: int = 3  # attempts of one request that may go wrong; later ones are answered
    seed: int = 0
    retry_after: str = "0"  # header of a 429
    hang: float = 2.0  # seconds before a timeout's connection is closed
    shapes: tuple[str, ...] = ()  # names from shapes.py; empty = all but "unknown", which would be a name

    def of(self, digest: str, attempt: int) -> tuple[str, int]:
        """(kind or "", a number to choose by) of an attempt, counted from 0, at the request with this hash."""
        drawn = hashlib.sha256(f"{self.seed} {digest} {attempt}".encode()).digest()
        share, which, number = int.from_bytes(drawn[:4], "big") / 2**32, drawn[4], int.from_bytes(drawn[5:9], "big")
        return (self.kinds[which % len(self.kinds)] if share < self.rate and attempt < self.most else ""), number


class StubServer:
    """Listens on a free local port between __enter__ and __exit__; an exception in `answer` is raised again at the exit."""

    def __init__(
        self, answer: Callable[[dict], Mapping | str], latency: float = 0.05, faults: Faults | None = None, enforce: bool = True,
        logprob: float | None = -0.05, rejects: tuple[str, ...] = (), key: str | None = None, reasoning: bool = False, refuse: tuple[int, str] | None = None,
        silent: bool = False, idle: float | None = None, port: int = 0, hangs_up: bool = False,
    ) -> None:
        """`rejects`: fields answered with 400, named unless `silent`; `key`: demanded; `reasoning`: answers in reasoning_content;
        `refuse`: (status, message) for every request; `idle`: seconds after which a connection without a request is
        closed; `hangs_up`: after every answer."""
        self.answer, self.latency, self.faults, self.enforce, self.logprob = answer, latency, faults, enforce, logprob
        self.rejects, self.key, self.reasoning, self.refuse, self.silent, self.idle = rejects, key, reasoning, refuse, silent, idle
        self.port, self.hangs_up = port, hangs_up
        self.requests: list[dict] = []  # every one that was understood, retries and probes too
        self.counts: Counter[str] = Counter()  # requests, answered, prompt_tokens, cached_tokens, completion_tokens, connections, 400, each fault
        self.lock, self.closing = threading.Lock(), threading.Event()
        self._attempts: Counter[str] = Counter()
        self._blocks: set[bytes] = set()
        self.open: set[socket.socket] = set()
        self._error: Exception | None = None

    def __enter__(self) -> "StubServer":
        self._http = _Server(("127.0.0.1", self.port), _Handler)
        self._http.stub = self
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind, error, trace) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        for connection in list(self.open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        if self._error is not None and kind is None:
            raise self._error

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def fault(self, body: dict) -> tuple[str, int]:
        digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        with self.lock:
            attempt = self._attempts[digest]
            self._attempts[digest] += 1
            kind, number = ("", 0) if self.faults is None else self.faults.of(digest, attempt)
            if kind:
                self.counts[kind] += 1
        return kind, number

    def read(self, prompt: list[str]) -> int:
        """Remember a prompt; how many of its tokens were known. The last token is always computed, for its logits."""
        hashes = block_hashes(prompt)
        with self.lock:
            known = next((k for k, block in enumerate(hashes) if block not in self._blocks), len(hashes))
            self._blocks.update(hashes)
        return min(known, max(len(prompt) - 1, 0) // BLOCK) * BLOCK

    def text_for(self, body: dict, kind: str, number: int) -> str:
        try:
            found = "blue" if is_probe(body) else self.answer(body)
        except Exception as error:
            self._error = error
            raise
        schema = body.get("response_format", {}).get("json_schema", {}).get("schema")
        if self.enforce and schema is not None and problems(as_value(found), schema):
            found = smallest(schema)
        text = found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
        return _spoiled(text, kind, number, self.faults) if kind in SPOILED else text

    def respond(self, body: dict, kind: str = "", number: int = 0) -> dict:
        """The whole response to a request that is answered."""
        prompt = prompt_tokens(body["messages"])
        cached = self.read(prompt)
        time.sleep(self.latency)
        pieces = re.findall(r"\s*\S+", self.text_for(body, kind, number))
        most = body.get("max_tokens", body.get("max_completion_tokens"))
        told, cut = pieces[:most], len(pieces) > most
        text = "".join(told)
        self.read([*prompt, *turn_tokens("assistant", text)[1:], "<end>"])  # an answer's blocks are kept too
        with self.lock:
            self.counts.update(answered=1, prompt_tokens=len(prompt), cached_tokens=cached, completion_tokens=len(told))
        message = {"role": "assistant", "content": text}
        if self.reasoning:
            message = {"role": "assistant", "content": None, "reasoning_content": text}
        choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": "length" if cut else "stop"}
        if body.get("logprobs") and self.logprob is not None:
            choice["logprobs"] = {"content": [{"token": t, "logprob": self.logprob, "bytes": list(t.encode()), "top_logprobs": []} for t in told]}
        usage = {"prompt_tokens": len(prompt), "completion_tokens": len(told), "total_tokens": len(prompt) + len(told)}
        return {"id": "stub", "object": "chat.completion", "created": 0, "model": body["model"], "choices": [choice],
                "usage": usage | {"prompt_tokens_details": {"cached_tokens": cached}}}


class _Server(ThreadingHTTPServer):
    daemon_threads, block_on_close = True, False
    request_queue_size = 64
    stub: StubServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version, disable_nagle_algorithm = "HTTP/1.1", True
    server: _Server

    def setup(self) -> None:
        self.timeout = self.server.stub.idle
        super().setup()
        with self.server.stub.lock:
            self.server.stub.counts["connections"] += 1
            self.server.stub.open.add(self.connection)

    def finish(self) -> None:
        with self.server.stub.lock:
            self.server.stub.open.discard(self.connection)
        super().finish()

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._send(500, {"error": {"message": "this server cannot list its models"}})

    def do_POST(self) -> None:
        stub, raw = self.server.stub, self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path != "/v1/chat/completions":
            return self._send(404, {"detail": "Not Found"})
        if stub.key is not None and self.headers.get("Authorization") != f"Bearer {stub.key}":
            return self._send(401, {"error": {"message": f"Incorrect API key provided: {self.headers.get('Authorization')}"}})
        try:
            body = json.loads(raw)
            check_body(body, stub.rejects)
        except (BadRequest, ValueError) as error:
            with stub.lock:
                stub.counts["400"] += 1
            return self._send(400, {"error": {"message": "bad request" if stub.silent else str(error), "type": "invalid_request_error"}})
        with stub.lock:
            stub.requests.append(body)
            stub.counts["requests"] += 1
        if stub.refuse is not None:
            return self._send(stub.refuse[0], {"error": {"message": stub.refuse[1]}})
        kind, number = stub.fault(body)
        self._go_wrong(kind, body) if kind in LOST else self._answer(body, kind, number)

    def _answer(self, body: dict, kind: str, number: int) -> None:
        try:
            self._send(200, self.server.stub.respond(body, kind, number))
        except Exception as error:
            self._send(418, {"error": {"message": f"{type(error).__name__}: {error}"}})  # final: trying again would not mend it

    def _go_wrong(self, kind: str, body: dict) -> None:
        stub = self.server.stub
        if kind == "429":
            return self._send(429, {"error": {"message": "too many requests"}}, {"retry-after": stub.faults.retry_after})
        if kind == "500":
            return self._send(500, {"error": {"message": "out of luck"}})
        if kind == "timeout":
            stub.closing.wait(stub.faults.hang)
        if kind == "cut body":
            self._send(200, stub.respond(body), cut=20)
        if kind == "reset":  # closing a connection that lingers for no time resets it
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.rfile.close()
            self.connection.close()
        self.close_connection = True

    def _send(self, status: int, record: dict, headers: Mapping[str, str] = {}, cut: int = 0) -> None:
        data = json.dumps(record).encode()
        self.send_response(status)
        headers = {**headers, **({"Connection": "close"} if self.server.stub.hangs_up else {})}
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data[: len(data) - cut])


def _spoiled(text: str, kind: str, number: int, faults: Faults) -> str:
    answer = as_value(text)
    if kind == "cut text" or not isinstance(answer, dict) or "name" not in answer:
        return text[: 1 + number % max(len(text) - 1, 1)].rstrip("}")
    found = shapes_by_name(answer)
    names = faults.shapes or tuple(name for name in found if name != "unknown")
    return found[names[number % len(names)]]
