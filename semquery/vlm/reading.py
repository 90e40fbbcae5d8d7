"""From a request to a model's input: tokens, pixels and positions.

The chat template of the checkpoint writes the conversation as text, with one placeholder per picture; a picture of
t × h × w patches stands there as t h w / merge² equal tokens. Words from outside (of a scene, of an earlier
answer) can hold no control token: these are broken up first.
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import Any

import numpy as np
from jaxtyping import Int

from semquery.vlm.base import Request, Turn, VlmError

PICTURES_KEPT = 32  # whose pixels are remembered: those of a few paths


@dataclass(frozen=True)
class Prompt:
    """A conversation as a model reads it."""

    ids: Int[np.ndarray, "n"]
    marks: Int[np.ndarray, "n"]  # equal where the input is equal (see prefix.py)
    pictures: tuple[bytes, ...]
    starts: tuple[int, ...]  # the first token of each picture
    turns: tuple[int, ...]  # the first token of each message, the answer to come included

    def __len__(self) -> int:
        return len(self.ids)


class Reader:
    """Reads requests for one checkpoint."""

    def __init__(self, processor: Any, min_pixels: int, max_pixels: int) -> None:
        self.processor, self.tokenizer = processor, processor.tokenizer
        self.size = {"shortest_edge": min_pixels, "longest_edge": max_pixels}
        self.special = sorted((str(t) for t in self.tokenizer.added_tokens_decoder.values() if t.special), key=len, reverse=True)
        self.pixels = lru_cache(PICTURES_KEPT)(self._pixels)

    def read(self, request: Request) -> Prompt:
        """Raises VlmError for pictures that cannot be shown."""
        pictures = tuple(picture for turn in request.turns for picture in turn.images)
        merge = self.processor.image_processor.merge_size
        counts = [int(np.prod(self.pixels(picture)[1])) // merge**2 for picture in pictures]
        text = expanded(self.render(request.turns), self.processor.image_token, counts)
        ids = np.array(self.tokenizer(text)["input_ids"], np.int64)
        places = np.flatnonzero(ids == self.tokenizer.convert_tokens_to_ids(self.processor.image_token))
        assert len(places) == sum(counts), "a picture's placeholders became other tokens"
        marks, ends = ids.copy(), np.cumsum([0, *counts])
        for picture, start, end in zip(pictures, ends[:-1], ends[1:], strict=True):
            marks[places[start:end]] = picture_mark(picture)
        begins = np.flatnonzero(ids == self.tokenizer.convert_tokens_to_ids("<|im_start|>"))
        return Prompt(ids, marks, pictures, tuple(int(places[i]) for i in ends[:-1]), tuple(begins.tolist()))

    def render(self, turns: tuple[Turn, ...]) -> str:
        """The conversation as text, up to where the answer begins; families that can think are told not to."""
        messages = [
            {"role": turn.role, "content": [{"type": "image"}] * len(turn.images) + [{"type": "text", "text": self.plain(turn.text)}]}
            for turn in turns
        ]
        template = str(self.processor.chat_template or self.tokenizer.chat_template)
        options = {"enable_thinking": False} if "enable_thinking" in template else {}
        return self.processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **options)

    def plain(self, text: str) -> str:
        """The text without control tokens: a space after their first character makes them words like others."""
        for token in self.special:
            text = text.replace(token, f"{token[0]} {token[1:]}")
        return text

    def _pixels(self, picture: bytes) -> tuple[Any, Int[np.ndarray, "3"]]:
        """A picture's patches [t h w, values] and its grid (t, h, w)."""
        try:
            found = self.processor.image_processor(images=[decoded(picture)], size=self.size, return_tensors="pt")
        except ValueError as error:  # far too long and thin
            raise VlmError(f"A picture cannot be shown to the model: {error}") from error
        return found["pixel_values"], found["image_grid_thw"][0].numpy()


def decoded(picture: bytes) -> Any:
    """The picture, transparency over white."""
    from PIL import Image

    try:
        image = Image.open(BytesIO(picture))
        if image.mode in ("RGB", "L"):
            return image.convert("RGB")
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise VlmError(f"A picture of the request cannot be decoded ({len(picture)} bytes, expected PNG or JPEG): {error}") from error


def expanded(text: str, placeholder: str, counts: list[int]) -> str:
    """The text with its k-th placeholder repeated counts[k] times."""
    pieces = text.split(placeholder)
    assert len(pieces) == len(counts) + 1, f"the chat template wrote {len(pieces) - 1} placeholders for {len(counts)} pictures"
    return pieces[0] + "".join(placeholder * n + piece for n, piece in zip(counts, pieces[1:], strict=True))


def picture_mark(picture: bytes) -> int:
    """A negative number that only this picture has."""
    return -1 - (int.from_bytes(hashlib.sha256(picture).digest()[:8], "big") >> 2)


def token_texts(tokenizer: Any, ids: list[int]) -> list[str]:
    """The text of each token, which together make the text of all: a character of several tokens stands with its last."""
    texts: list[str] = []
    held: list[int] = []  # tokens since the last whole character
    for token in ids:
        held.append(token)
        text = tokenizer.decode(held, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        is_whole = not text.endswith("\N{REPLACEMENT CHARACTER}") or len(texts) + 1 == len(ids)
        texts.append(text if is_whole else "")
        held = [] if is_whole else held
    return texts
