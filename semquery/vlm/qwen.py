"""Qwen's vision-language models in this process: Qwen2.5-VL, Qwen3-VL, Qwen3.5, by the checkpoint's own type.

Down a path of parts every prompt begins with its parent's. What was computed of that beginning is kept (`prefix`), so
that a part costs its own question only; the answers are the same with and without.
"""

import threading
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import ClassVar, Literal

from semquery.devices import first_line, is_out_of_memory
from semquery.vlm.base import Answer, Request, Turn, VlmError
from semquery.vlm.checkpoint import Opened, find_checkpoint, fingerprint, open_checkpoint
from semquery.vlm.decoding import decode, prefill
from semquery.vlm.prefix import PrefixStore
from semquery.vlm.reading import Reader, token_texts

ONE_AT_A_TIME = threading.Lock()  # a device does one thing at a time, however many workers ask


@dataclass(frozen=True)
class QwenVl:
    """A Qwen vision-language model in this process. It follows a JSON schema as far as the prompt tells it to."""

    checkpoint: str = "Qwen/Qwen2.5-VL-7B-Instruct"
    """Folder of a checkpoint, or its name on the Hugging Face hub."""
    download: bool = False
    """Fetch the checkpoint from the hub if it is not on this machine (16.6 GB for the default)."""
    device: str = "auto"
    """Where to compute: cuda, cuda:1, mps, cpu; auto takes the best there is."""
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    """Number format: auto is bfloat16 on a GPU that has it, float32 on the CPU."""
    attention: Literal["auto", "flash_attention_2", "sdpa", "eager"] = "auto"
    """Attention kernel; flash_attention_2 falls back to sdpa where it is not installed."""
    min_pixels: int = 448 * 448
    """Smaller pictures are enlarged to this many pixels (448 × 448 = 256 tokens)."""
    max_pixels: int = 1280 * 28 * 28
    """Larger pictures are reduced to this many pixels (1280 tokens)."""
    prefix_gib: float = 2.0
    """Memory for the beginnings of prompts, in GiB; 0 computes every prompt anew."""
    seed: int = 0
    """Chance of answers at a temperature above 0."""

    source: ClassVar[str] = "vlm"

    @property
    def identity(self) -> str:
        return f"QwenVl {fingerprint(self.checkpoint)} pixels {self.min_pixels}-{self.max_pixels} seed {self.seed}"

    def check(self) -> str:
        """Open the model and let it look at one small picture."""
        turn = Turn("user", "Which colour is this?", (_grey_square(),))
        try:
            self(Request((turn,), max_tokens=1))
        except VlmError as error:
            raise ValueError(f"{self.checkpoint} was opened, but cannot answer: {error}") from error
        return f"{self.checkpoint}: {self._opened.in_words()}, context {self._context} tokens"

    def __call__(self, request: Request) -> Answer:
        with ONE_AT_A_TIME:
            try:
                return self._answer(request, self._store)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise VlmError(f"The model failed: {first_line(error)}") from error
            return self._answer_with_all_memory(request)  # outside the handler, whose traceback holds on to memory

    def _answer(self, request: Request, store: PrefixStore | None) -> Answer:
        import torch

        model, reader = self._opened.model, self._reader
        prompt = reader.read(request)
        self._check_length(len(prompt), request.max_tokens)
        with torch.inference_mode():
            state = prefill(model, reader, prompt, store)
            ids, scores = decode(model, state, request.max_tokens, request.temperature, int(request.key(self.identity)[:8], 16))
        texts = token_texts(reader.tokenizer, ids)
        tokens = tuple(zip(texts, scores, strict=True))
        return Answer("".join(texts), tokens, len(prompt), state.known, len(ids), cut=len(ids) == request.max_tokens)

    def _answer_with_all_memory(self, request: Request) -> Answer:
        """Once more, without what was kept of other prompts."""
        self._store.clear()
        release_memory()
        try:
            return self._answer(request, None)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise VlmError(f"The model failed: {first_line(error)}") from error
        release_memory()
        raise VlmError(
            f"Out of memory on {self._opened.model.device}, even with nothing kept of earlier prompts. Show smaller pictures "
            f"(--vlm.max-pixels, now {self.max_pixels}), take a smaller checkpoint, or a server (OpenAiServer)."
        )

    def _check_length(self, length: int, max_tokens: int) -> None:
        if length + max_tokens > self._context:
            raise VlmError(
                f"The prompt has {length} tokens and the answer up to {max_tokens}; the model reads {self._context} at most. "
                f"Show smaller pictures (--vlm.max-pixels, now {self.max_pixels}) or fewer ancestors."
            )

    @property
    def _context(self) -> int:
        return self._opened.model.config.get_text_config().max_position_embeddings

    @cached_property
    def _opened(self) -> Opened:
        if not 0 < self.min_pixels <= self.max_pixels:
            raise ValueError(f"Expected 0 < min-pixels ≤ max-pixels, got {self.min_pixels} and {self.max_pixels}.")
        return open_checkpoint(find_checkpoint(self.checkpoint, self.download), self.device, self.dtype, self.attention)

    @cached_property
    def _reader(self) -> Reader:
        return Reader(self._opened.processor, self.min_pixels, self.max_pixels)

    @cached_property
    def _store(self) -> PrefixStore:
        return PrefixStore(int(self.prefix_gib * 2**30))


def release_memory() -> None:
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _grey_square() -> bytes:
    from PIL import Image

    png = BytesIO()
    Image.new("RGB", (64, 64), "grey").save(png, "PNG")
    return png.getvalue()
