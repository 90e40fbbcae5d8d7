"""A model behind a server that speaks OpenAI's chat completions: vLLM, SGLang, llama.cpp, Ollama, LM Studio, hosted ones.

What is sent is what all of them understand: POST {base_url}/chat/completions, pictures as data URLs before the text,
and the answer's schema in the nested form of `response_format` (the flat form is taken and ignored by some). Fields that
a server does not know are left out from then on. Whether a schema is enforced is tried once, in `check`, to be told to
the user; answers are never trusted to follow it. Nothing else is asked of a server; several cannot list their models.

The key is read from the environment for every request, and is in no field, error or record.
"""

import json
import time
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from semquery.vlm.address import address, key_in, refusal_in_words, travels_open
from semquery.vlm.base import Answer, Request, Turn, VlmError
from semquery.vlm.dialect import advice_on, answer_from, body_of, to_drop, without
from semquery.vlm.wire import Patience, Refused, Wire

PROBE = "What color is this picture? Use no JSON: answer with just the word blue."
PROBE_SCHEMA = {"type": "object", "properties": {"color": {"type": "string", "enum": ["red"]}}, "required": ["color"], "additionalProperties": False}


@dataclass(frozen=True)
class OpenAiServer:
    """A model behind a server of the OpenAI dialect: vLLM, SGLang, llama.cpp, Ollama, LM Studio, or a hosted one."""

    base_url: str = "http://localhost:8000/v1"
    """Address of the server, with or without /v1 (vLLM 8000, SGLang 30000, llama.cpp 8080, Ollama 11434, LM Studio 1234)."""
    model: str = "Qwen/Qwen2.5-VL-7B-Instruct"
    """Name of the model, as the server calls it."""
    key_variable: str = "OPENAI_API_KEY"
    """Environment variable that holds the key; none is sent where it is empty."""
    seed: int = 0
    """Seed of the server's chance."""
    thinking: bool = False
    """Let a thinking model think before it answers (better, perhaps; much slower; caches of the path no longer fit)."""
    tries: int = 6
    """Tries of one request, while the server is busy or away."""
    timeout: float = 300.0
    """Seconds without a sign of the server before a try counts as failed."""
    first_delay: float = 0.5
    """Seconds before the second try; doubled before each further one, unless the server asks for more."""
    longest_delay: float = 60.0
    """Longest wait before a try, seconds."""

    source: ClassVar[str] = "vlm"

    def __post_init__(self) -> None:
        if not self.model.strip():
            raise ValueError("The server has to be told which model to use: give its name, as the server calls it.")
        if self.tries < 1 or self.timeout <= 0 or min(self.first_delay, self.longest_delay) < 0:
            given = f"{self.tries}, {self.timeout:g}, {self.first_delay:g}, {self.longest_delay:g}"
            raise ValueError(f"Expected tries ≥ 1, timeout > 0, first and longest delay ≥ 0; got {given}.")
        address(self.base_url)

    @property
    def identity(self) -> str:
        return f"OpenAiServer {self.model} seed={self.seed} thinking={self.thinking}"

    def check(self) -> str:
        """Try one request with a picture, whose text contradicts its schema. Raises ValueError."""
        try:
            self._wire.knock()
        except OSError as error:
            raise ValueError(self._nobody(error)) from error
        start = time.monotonic()
        try:
            answer = self._ask(_probe(max_tokens=2000 if self.thinking else 100))
        except VlmError as error:
            raise ValueError(f"The server cannot be used: {error}") from error
        return f"{self.model} at {address(self.base_url)} (a short answer took {time.monotonic() - start:.1f} s), {self._found(answer)}"

    def __call__(self, request: Request) -> Answer:
        return self._ask(request)

    def _ask(self, request: Request) -> Answer:
        """Ask, with less and less of what a server may not know; what had to go stays away if that was it."""
        body, dropped = body_of(request, self.model, self.seed, self.thinking), set(self._dropped)
        while True:
            try:
                record = self._wire.post(without(body, dropped), key_in(self.key_variable))
                break
            except Refused as error:
                more = to_drop(error, without(body, dropped))
                if more is None:
                    raise VlmError(refusal_in_words(error, advice_on(error), self._wire.url, self.model, self.key_variable)) from None
                dropped.add(more)
        self._dropped.update(dropped)
        return answer_from(record, request.max_tokens)

    @cached_property
    def _wire(self) -> Wire:
        return Wire(f"{address(self.base_url)}/chat/completions", Patience(self.tries, self.timeout, self.first_delay, self.longest_delay))

    @cached_property
    def _dropped(self) -> set[str]:
        """What this server refused."""
        return set()

    def _found(self, answer: Answer) -> str:
        enforces = "response_format" not in self._dropped and _is_as_the_schema_wants(answer.text)
        found = f"{'enforces' if enforces else 'does not enforce'} the schema, gives {'' if answer.tokens else 'no '}log-probabilities"
        dropped = f"; it does not take {', '.join(sorted(self._dropped))}" if self._dropped else ""
        return found + dropped + (f"; careful: the key in {self.key_variable} travels unencrypted" if travels_open(self.base_url, self.key_variable) else "")

    def _nobody(self, error: OSError) -> str:
        return (
            f"No server can be reached at {address(self.base_url)} ({error}). Start a server that takes pictures, for example\n"
            f"    vllm serve {self.model} --limit-mm-per-prompt '{{\"image\": 64}}'\n"
            "(SGLang, llama.cpp with --mmproj, Ollama and LM Studio serve too), or give the address of one that runs as the base URL."
        )


def _probe(max_tokens: int) -> Request:
    from io import BytesIO

    from PIL import Image

    file = BytesIO()
    Image.new("RGB", (64, 64), (30, 60, 220)).save(file, "PNG")
    return Request((Turn("user", PROBE, (file.getvalue(),)),), schema=PROBE_SCHEMA, max_tokens=max_tokens)


def _is_as_the_schema_wants(text: str) -> bool:
    try:
        return json.loads(text) == {"color": "red"}
    except ValueError:
        return False
