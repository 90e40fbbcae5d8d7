"""A text encoder behind a server that speaks OpenAI's embeddings: vLLM, SGLang, llama.cpp, Ollama, LM Studio, TEI, hosted ones.

POST {base_url}/embeddings with a list of texts; the vectors come back with the index of their text, in any order. A server
that is busy or away is tried again (vlm/wire.py); one whose vectors change their length is refused, for then another
model answers than before.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float32

from semquery.text.base import encoded, once
from semquery.text.layout import prefixes_of
from semquery.vlm.address import address, key_in, refusal_in_words, travels_open
from semquery.vlm.base import VlmError
from semquery.vlm.wire import Patience, Refused, Wire


@dataclass(frozen=True)
class EmbeddingServer:
    """A text encoder behind a server of the OpenAI dialect (/v1/embeddings): vLLM, SGLang, llama.cpp, Ollama, LM Studio, or a hosted one."""

    base_url: str = "http://localhost:8000/v1"
    """Address of the server, with or without /v1."""
    model: str = "Qwen/Qwen3-Embedding-0.6B"
    """Name of the model, as the server calls it."""
    key_variable: str = "OPENAI_API_KEY"
    """Environment variable that holds the key; none is sent where it is empty."""
    query_prefix: str | None = None
    """What is put before a query; unset: what models of this name were trained with (e5, bge, Qwen3-Embedding)."""
    passage_prefix: str | None = None
    """What is put before a name or a function that is searched in; unset: likewise."""
    dimensions: int | None = None
    """Length of the vectors, for models that can shorten them."""
    batch: int = 64
    """Texts of one request."""
    tries: int = 6
    """Tries of one request, while the server is busy or away."""
    timeout: float = 60.0
    """Seconds without a sign of the server before a try counts as failed."""
    first_delay: float = 0.5
    """Seconds before the second try; doubled before each further one, unless the server asks for more."""
    longest_delay: float = 60.0
    """Longest wait before a try, seconds."""

    kind: ClassVar[str] = "sentence"

    def __post_init__(self) -> None:
        if not self.model.strip():
            raise ValueError("The server has to be told which model to use: give its name, as the server calls it.")
        if min(self.tries, self.batch, 1 if self.dimensions is None else self.dimensions) < 1 or self.timeout <= 0 or min(self.first_delay, self.longest_delay) < 0:
            given = f"{self.tries}, {self.batch}, {self.dimensions}, {self.timeout:g}, {self.first_delay:g}, {self.longest_delay:g}"
            raise ValueError(f"Expected tries, batch and dimensions ≥ 1, timeout > 0, first and longest delay ≥ 0; got {given}.")
        address(self.base_url)

    @property
    def identity(self) -> str:
        query, passage = self._prefixes
        return f"EmbeddingServer {self.model} dimensions={self.dimensions} query={query!r} passage={passage!r}"

    def check(self) -> str:
        """Ask for one vector."""
        try:
            self._wire.knock()
        except OSError as error:
            raise ValueError(f"No server can be reached at {address(self.base_url)} ({error}). Start one, for example `vllm serve {self.model} "
                             "--runner pooling`, or give the address of one that runs as the base URL.") from error
        start = time.monotonic()
        width = self.queries(["handle"]).shape[1]
        careful = f"; careful: the key in {self.key_variable} travels unencrypted" if travels_open(self.base_url, self.key_variable) else ""
        return f"{self.model} at {address(self.base_url)}: {width} numbers, a query took {time.monotonic() - start:.2f} s{careful}"

    def queries(self, texts: Sequence[str]) -> Float32[np.ndarray, "k d"]:
        return self._encoded(texts, self._prefixes[0])

    def passages(self, texts: Sequence[str]) -> Float32[np.ndarray, "k d"]:
        return self._encoded(texts, self._prefixes[1])

    def _encoded(self, texts: Sequence[str], prefix: str) -> Float32[np.ndarray, "k d"]:
        try:
            return encoded(texts, self._ask, prefix, self.batch)
        except Refused as error:
            told = refusal_in_words(error, [], self._wire.url, self.model, self.key_variable)
            raise ValueError(f"The embedding server cannot be used: {told}") from None
        except VlmError as error:
            raise ValueError(f"The embedding server cannot be used: {error}") from error

    def _ask(self, texts: Sequence[str]) -> Float32[np.ndarray, "b d"]:
        body: dict[str, Any] = {"model": self.model, "input": list(texts), "encoding_format": "float"}
        if self.dimensions is not None:
            body["dimensions"] = self.dimensions
        vectors = vectors_from(self._wire.post(body, key_in(self.key_variable)), len(texts))
        width = self._width.setdefault("first", vectors.shape[1])
        if vectors.shape[1] != (self.dimensions or width):
            raise ValueError(f"{self._wire.url} gives vectors of {vectors.shape[1]} numbers; expected {self.dimensions or width} "
                             f"({'as asked for' if self.dimensions else 'as before'}). Does another model answer now?")
        return vectors

    @property
    def _prefixes(self) -> tuple[str, str]:
        query, passage = prefixes_of(self.model)
        return query if self.query_prefix is None else self.query_prefix, passage if self.passage_prefix is None else self.passage_prefix

    @once
    def _wire(self) -> Wire:
        return Wire(f"{address(self.base_url)}/embeddings", Patience(self.tries, self.timeout, self.first_delay, self.longest_delay), "data")

    @once
    def _width(self) -> dict[str, int]:
        """Length of the first vectors that came."""
        return {}


def vectors_from(record: Mapping[str, Any], num: int) -> Float32[np.ndarray, "b d"]:
    """The vectors of an answer, one per text in the order of the texts. Raises ValueError when they are not what was asked for."""
    try:
        found = {int(row.get("index", k)): row["embedding"] for k, row in enumerate(record["data"])}
        vectors = np.array([found[k] for k in range(num)], np.float32)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"The embedding server's answer is not understood ({type(error).__name__}: {error}); expected {num} vectors of one length, each with the index of its text.") from error
    if vectors.ndim != 2 or len(found) != num or not vectors.shape[1]:
        raise ValueError(f"The embedding server gave {len(found)} vectors of the shape {vectors.shape[1:]}; expected {num} lists of numbers.")
    if not vectors.any(1).all():
        raise ValueError("The embedding server gave a vector of zeros for a text; does it serve a model that embeds texts?")
    return vectors
