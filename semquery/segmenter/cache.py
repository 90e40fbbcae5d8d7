"""What was answered before: a segmenter that asks another one only for what is not remembered.

An answer is found by the content of the picture, the query, the context and the identity of who is asked: equal keys have equal
answers. Where answers are remembered is the shelf's business; this module only says how they are packed. A failure is not
remembered, and what cannot be unpacked, or has not the picture's size, is asked anew.

Notation
  h w height and width of the picture, m regions.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from semquery.segmenter.base import Context, Region, Segmenter

VERSION = 1  # of what a key is made of and of how answers are packed


@runtime_checkable
class Shelf(Protocol):
    """Remembers packed answers by their keys."""

    def find(self, key: str) -> Mapping[str, np.ndarray] | None:
        """What was put there under the key, None for nothing or for what cannot be read."""

    def put(self, key: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Remember it, whole or not at all."""


@dataclass(frozen=True)
class Cached:
    """Another segmenter, its answers remembered."""

    inner: Segmenter
    shelf: Shelf

    @property
    def identity(self) -> str:
        return self.inner.identity

    def check(self) -> str:
        return self.inner.check()

    def segment(self, image: UInt8[np.ndarray, "h w 3"], query: str, context: Context = Context()) -> list[Region]:
        """The remembered regions, or those of the inner one. Raises SegmenterError, and then remembers nothing."""
        key = key_of(image, query, context, self.inner.identity)
        found = self.shelf.find(key)
        if found is not None:
            try:
                return unpacked(found, image.shape[:2])
            except (KeyError, ValueError, TypeError, AttributeError):  # damaged
                pass
        regions = self.inner.segment(image, query, context)
        self.shelf.put(key, packed(regions, image.shape[:2]))
        return regions


def key_of(image: UInt8[np.ndarray, "h w 3"], query: str, context: Context, identity: str) -> str:
    """Content hash of a question and of who is asked: 32 hexadecimal digits."""
    head = json.dumps([VERSION, image.shape, query, context.view, context.ancestors, identity])
    return hashlib.sha256(head.encode() + b"\0" + np.ascontiguousarray(image).tobytes()).hexdigest()[:32]


def packed(regions: Sequence[Region], size: tuple[int, int]) -> dict[str, np.ndarray]:
    """Regions as arrays without objects: masks as bits, words and numbers as JSON, points and embeddings each by themselves."""
    told = [{"score": r.score, "box": r.box, "text": r.text, "label": r.label} for r in regions]
    masks = np.stack([r.mask for r in regions]) if regions else np.zeros((0, *size), bool)
    arrays = {"told": np.frombuffer(json.dumps([list(size), told]).encode(), np.uint8), "masks": np.packbits(masks)}
    for k, region in enumerate(regions):
        given = {"points": region.points, "embedding": region.embedding}
        arrays |= {f"{name} {k}": array for name, array in given.items() if array is not None}
    return arrays


def unpacked(arrays: Mapping[str, np.ndarray], size: tuple[int, int]) -> list[Region]:
    """The inverse of `packed`. Raises KeyError, ValueError or TypeError for what is damaged or of another size (h, w)."""
    told_size, told = json.loads(arrays["told"].tobytes().decode())
    if tuple(told_size) != tuple(size):
        raise ValueError(f"The remembered regions are of a picture of {told_size} pixels; expected {size}.")
    count = len(told) * size[0] * size[1]
    masks = np.unpackbits(arrays["masks"], count=count).astype(bool)
    if len(arrays["masks"]) != -(-count // 8):
        raise ValueError(f"The remembered masks have {len(arrays['masks'])} bytes; expected {-(-count // 8)}.")
    return [_region(record, mask, arrays, k) for k, (record, mask) in enumerate(zip(told, masks.reshape(-1, *size), strict=True))]


def _region(record: Mapping[str, Any], mask: np.ndarray, arrays: Mapping[str, np.ndarray], k: int) -> Region:
    box = record["box"]
    return Region(mask, float(record["score"]), None if box is None else tuple(map(float, box)), arrays.get(f"points {k}"),
                  arrays.get(f"embedding {k}"), str(record["text"]), str(record["label"]))
