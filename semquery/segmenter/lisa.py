"""A reasoning segmenter behind HTTP: LISA, or any other that needs an environment of its own.

The protocol: POST {base_url}/segment with {"image": base64 of a PNG, "query": text} is answered by {"regions": [{"mask": base64 of a
PNG of the picture's size, above 127 inside, "score": 0..1, "embedding": [numbers] or null, "text": why, "label": name}]}; no regions
mean that nothing is visible. docs/lisa_server.py serves LISA so: score is the overlap with the truth that its SAM predicts,
embedding its [SEG] token. Servers that are busy or away are tried again (vlm/wire.py).
"""

import base64
import binascii
import time
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from semquery.pictures import png_bytes
from semquery.segmenter.base import Context, Region, SegmenterError
from semquery.segmenter.oracle import box_around
from semquery.text.base import once
from semquery.vlm import VlmError
from semquery.vlm.address import address, key_in, travels_open
from semquery.vlm.wire import Patience, Refused, Wire


@dataclass(frozen=True)
class Lisa:
    """LISA, or another reasoning segmenter, behind a small server in an environment of its own (docs/segmenters.md)."""

    base_url: str = "http://localhost:8090"
    """Address of the server."""
    model: str = "LISA-13B-llama2-v0-explanatory"
    """What runs there: told to nobody, but a part of what answers are remembered by. Change it when another model is served."""
    question: str = "Can you segment {query} in this image? Please output segmentation mask and explain why."
    """How a query is put; {query} stands for it. What the picture shows is not told: LISA was not trained to be told."""
    key_variable: str = "LISA_API_KEY"
    """Environment variable that holds the key; none is sent where it is empty."""
    tries: int = 6
    """Tries of one request, while the server is busy or away."""
    timeout: float = 300.0
    """Seconds without a sign of the server before a try counts as failed."""
    first_delay: float = 0.5
    """Seconds before the second try; doubled before each further one, unless the server asks for more."""
    longest_delay: float = 60.0
    """Longest wait before a try, seconds."""

    def __post_init__(self) -> None:
        if self.tries < 1 or self.timeout <= 0 or min(self.first_delay, self.longest_delay) < 0:
            given = f"{self.tries}, {self.timeout:g}, {self.first_delay:g}, {self.longest_delay:g}"
            raise ValueError(f"Expected tries ≥ 1, timeout > 0, first and longest delay ≥ 0; got {given}.")
        if "{query}" not in self.question:
            raise ValueError(f"The question {self.question!r} has no place for the query: write {{query}} where it belongs.")
        address(self.base_url)

    @property
    def identity(self) -> str:
        return f"Lisa {self.model} {self.question!r}"

    def check(self) -> str:
        """Ask about one grey picture. Raises ValueError."""
        try:
            self._wire.knock()
        except OSError as error:
            raise ValueError(f"No server can be reached at {self._wire.url} ({error}). Start one in LISA's own environment with "
                             "docs/lisa_server.py, or give the address of one that runs.") from error
        start = time.monotonic()
        try:
            found = self.segment(np.full((64, 64, 3), 127, np.uint8), "the part that one sits on")
        except SegmenterError as error:
            raise ValueError(f"The server cannot be used: {error}") from error
        width = next((len(r.embedding) for r in found if r.embedding is not None), 0)
        careful = f"; careful: the key in {self.key_variable} travels unencrypted" if travels_open(self.base_url, self.key_variable) else ""
        return f"{self.model} at {self._wire.url}: {time.monotonic() - start:.1f} s, {f'embeddings of {width} numbers' if width else 'no embedding seen yet'}{careful}"

    def segment(self, image: UInt8[np.ndarray, "h w 3"], query: str, context: Context = Context()) -> list[Region]:
        """The regions that answer the query. Raises SegmenterError."""
        body = {"image": base64.b64encode(png_bytes(image)).decode(), "query": self.question.replace("{query}", query)}
        try:
            record = self._wire.post(body, key_in(self.key_variable))
        except Refused as error:
            raise SegmenterError(f"{self._wire.url} refused: {error}") from error
        except VlmError as error:
            raise SegmenterError(str(error), error.is_away) from error
        return regions_from(record, image.shape[:2])

    @once
    def _wire(self) -> Wire:
        url = address(self.base_url).removesuffix("/v1").removesuffix("/segment")
        return Wire(f"{url}/segment", Patience(self.tries, self.timeout, self.first_delay, self.longest_delay), "regions")


def regions_from(record: Mapping[str, Any], size: tuple[int, int]) -> list[Region]:
    """The regions of an answer; empty masks are left out. Raises SegmenterError for what is not as the protocol says."""
    try:
        found = [_region(given, size) for given in record["regions"]]
    except (KeyError, TypeError, ValueError, AttributeError, OSError, SyntaxError) as error:
        raise SegmenterError(f"The segmentation server's answer is not understood ({type(error).__name__}: {error}); expected regions with "
                             "mask, score, embedding, text and label.") from error
    return [region for region in found if region is not None]


def _region(given: Any, size: tuple[int, int]) -> Region | None:
    mask = mask_from(given["mask"], size)
    if not mask.any():
        return None
    return Region(mask, float(given.get("score", 1.0)), box_around(mask), embedding=_vector(given.get("embedding")),
                  text=str(given.get("text") or ""), label=str(given.get("label") or ""))


def mask_from(encoded: str, size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """A mask from the base64 of a PNG: what is brighter than 127. Raises ValueError where it is none, or of another size (h, w)."""
    from PIL import Image

    try:
        data = base64.b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise ValueError(f"the mask is no base64: {error}") from error
    with Image.open(BytesIO(data)) as picture:
        mask = np.asarray(picture.convert("L")) > 127
    if mask.shape != tuple(size):
        raise ValueError(f"a mask has {mask.shape[1]} × {mask.shape[0]} pixels, the picture {size[1]} × {size[0]}")
    return mask


def _vector(given: Any) -> Float32[np.ndarray, " d"] | None:
    if given is None:
        return None
    vector = np.array(given, np.float32)
    if vector.ndim != 1 or not len(vector):
        raise ValueError(f"an embedding has the shape {vector.shape}; expected a list of numbers")
    return vector
