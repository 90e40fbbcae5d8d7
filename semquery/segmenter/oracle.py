"""Segmenters that know the answer: exact, or wrong in the ways that real ones are.

`Oracle` looks the answer up; `Noisy` spoils the answers of another by one kind of noise, and several are composed by nesting
them: Noisy(Noisy(oracle, "dilate", 8), "hallucinate", 0.4). What chance decides depends on the seed, the view and the query
alone, not on the order of asking.

Notation
  h w height and width of a picture, d embedding width; a part is a number in the truth, an id set is what a query means.
Conventions
  Pictures are only measured, never looked at. The pixel of a view holds its part, -1 where there is none. Embeddings are unit
  vectors, one per id set, whichever the view; those of two disjoint sets have a cosine of 0.3 ± 0.05, about what is told of
  the [SEG] tokens of right and wrong answers.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8

from semquery.segmenter.base import Context, Region

WIDTH = 256  # of embeddings: that of LISA's
SHARED = 0.3  # cosine of the embeddings of two different answers
BLOCK = 8  # side of the blocks of speckle, pixels

Noise = Literal["dilate", "erode", "jitter", "box", "speckle", "miss", "hallucinate"]


class Knowing(ABC):
    """A segmenter that can answer for any id set in any view, and so can be made to answer wrongly."""

    @property
    @abstractmethod
    def identity(self) -> str:
        """What decides its answers."""

    @property
    @abstractmethod
    def views(self) -> tuple[str, ...]:
        """The names of all pictures it knows."""

    @abstractmethod
    def check(self) -> str:
        """One line that says what it is."""

    @abstractmethod
    def meaning(self, query: str) -> frozenset[int]:
        """The parts that a query means. Raises ValueError for a query that it does not know."""

    @abstractmethod
    def others(self, view: str, query: str) -> list[frozenset[int]]:
        """The id sets, visible in the view, that the query might be mistaken for."""

    @abstractmethod
    def answer(self, view: str, query: str, ids: frozenset[int]) -> list[Region]:
        """What is answered to the query in this view if `ids` are taken for what is meant; none where they are not visible."""

    def segment(self, image: UInt8[np.ndarray, "h w 3"], query: str, context: Context = Context()) -> list[Region]:
        """The regions that answer the query. Raises ValueError for a view, a query or a picture size that it does not know."""
        if context.view not in self.views:
            raise ValueError(f"There is no truth for the view {context.view!r}; expected one of {', '.join(self.views)}.")
        found = self.answer(context.view, query, self.meaning(query))
        if found and found[0].mask.shape != image.shape[:2]:
            raise ValueError(f"The picture of view {context.view} has {image.shape[:2]} pixels; the truth about it {found[0].mask.shape}.")
        return found


@dataclass(frozen=True, eq=False)
class Oracle(Knowing):
    """Answers with exactly the pixels of the parts that are meant."""

    truth: Mapping[str, Int[np.ndarray, "h w"]]
    """Per view name the part of each pixel, -1 where there is none."""
    meant: Mapping[str, frozenset[int]]
    """Per query the parts that are meant."""

    @cached_property
    def identity(self) -> str:
        """Class, and the content of what it knows."""
        digest = hashlib.sha256(json.dumps({query: sorted(map(int, ids)) for query, ids in self.meant.items()}, sort_keys=True).encode())
        for view, parts in sorted(self.truth.items()):
            digest.update(f"\0{view}\0{parts.shape}".encode() + parts.astype(np.int64).tobytes())
        return f"Oracle {digest.hexdigest()[:16]}"

    @property
    def views(self) -> tuple[str, ...]:
        return tuple(self.truth)

    def check(self) -> str:
        return f"the truth about {len(self.truth)} views and {len(self.meant)} queries"

    def meaning(self, query: str) -> frozenset[int]:
        if query not in self.meant:
            raise ValueError(f"The oracle does not know what {query!r} means; it knows {', '.join(map(repr, self.meant))}.")
        return self.meant[query]

    def others(self, view: str, query: str) -> list[frozenset[int]]:
        """What the other queries mean, so far as it shares no part with this one; where there is none, every other part by itself."""
        right, seen = self.meaning(query), {int(part) for part in np.unique(self.truth[view])} - {-1}
        named = [ids for other, ids in sorted(self.meant.items()) if other != query and not ids & right and ids & seen]
        return named or [frozenset({part}) for part in sorted(seen - right)]

    def answer(self, view: str, query: str, ids: frozenset[int]) -> list[Region]:
        mask = np.isin(self.truth[view], sorted(ids))
        if not mask.any():
            return []
        label = next((name for name, meant in sorted(self.meant.items()) if meant == ids), f"part {min(ids)}")
        return [Region(mask, box=box_around(mask), embedding=embedding_of(ids), text=f"“{query}” asks for {label}.", label=label)]


@dataclass(frozen=True, eq=False)
class Noisy(Knowing):
    """The answers of another, spoiled by one kind of noise."""

    inner: Knowing
    """Whose answers are spoiled: an Oracle, or a Noisy one."""
    kind: Noise
    """dilate, erode: masks grown or shrunk. jitter: one of the two. box: masks replaced by their bounding boxes. speckle: blocks of
    8×8 pixels flipped. miss: no answer. hallucinate: the answer for another part that is visible, mask and embedding."""
    amount: float | int = 0
    """Of dilate, erode, jitter: pixels. Of speckle: share of the blocks. Of miss, hallucinate: share of the views, rounded. Box: not used."""
    seed: int = 0
    """Of chance."""

    def __post_init__(self) -> None:
        most = np.inf if self.kind in ("dilate", "erode", "jitter", "box") else 1
        if not 0 <= self.amount <= most:
            raise ValueError(f"The amount of {self.kind} is {self.amount}; expected {'0 or more pixels' if most > 1 else 'a share from 0 to 1'}.")

    @property
    def identity(self) -> str:
        return f"Noisy {self.kind} {self.amount:g} seed={self.seed} of {self.inner.identity}"

    @property
    def views(self) -> tuple[str, ...]:
        return self.inner.views

    def check(self) -> str:
        return f"{self.kind} {self.amount:g} on {self.inner.identity}"

    def meaning(self, query: str) -> frozenset[int]:
        return self.inner.meaning(query)

    def others(self, view: str, query: str) -> list[frozenset[int]]:
        return self.inner.others(view, query)

    def answer(self, view: str, query: str, ids: frozenset[int]) -> list[Region]:
        if self.kind in ("miss", "hallucinate"):
            return self._answer_at_fault(view, query, ids) if view in self.spoiled(query) else self.inner.answer(view, query, ids)
        chance = _chance(self.seed, self.kind, view, query)
        found = [(region, _spoiled(region.mask, self.kind, self.amount, chance)) for region in self.inner.answer(view, query, ids)]
        return [replace(region, mask=mask, box=box_around(mask)) for region, mask in found if mask.any()]

    def spoiled(self, query: str) -> frozenset[str]:
        """The views that go without an answer, or with a wrong one: the share asked for, drawn anew for each query."""
        order = _chance(self.seed, self.kind, "", query).permutation(len(self.views))
        return frozenset(self.views[i] for i in order[: round(self.amount * len(self.views))])

    def _answer_at_fault(self, view: str, query: str, ids: frozenset[int]) -> list[Region]:
        """Nothing, or another part; where there is no other the answer is nothing as well."""
        others = [] if self.kind == "miss" else [other for other in self.others(view, query) if other != ids]
        return self.inner.answer(view, query, others[_chance(self.seed, self.kind, view, query).integers(len(others))]) if others else []


def box_around(mask: Bool[np.ndarray, "h w"]) -> tuple[float, float, float, float]:
    """x0 y0 x1 y1 of the smallest box that holds the pixels of a mask, which has some; its edges run along pixel edges."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def boxed(shape: tuple[int, int], box: tuple[float, float, float, float]) -> Bool[np.ndarray, "h w"]:
    """The pixels of a picture whose centres lie in a box x0 y0 x1 y1."""
    y, x = np.arange(shape[0]) + 0.5, np.arange(shape[1]) + 0.5
    return ((y >= box[1]) & (y < box[3]))[:, None] & ((x >= box[0]) & (x < box[2]))[None]


def embedding_of(ids: frozenset[int]) -> Float32[np.ndarray, " d"]:
    """The unit vector of an id set: √0.3 of a direction that all share and √0.7 of one of its own, at right angles to it."""
    common = np.zeros(WIDTH)
    common[0] = 1
    own = np.random.default_rng([1 + part for part in sorted(ids)]).normal(size=WIDTH)
    own[0] = 0
    return (np.sqrt(SHARED) * common + np.sqrt(1 - SHARED) * own / np.linalg.norm(own)).astype(np.float32)


def _chance(seed: int, *where: str) -> np.random.Generator:
    """A generator of its own for each place where chance decides."""
    return np.random.default_rng(list(hashlib.sha256(json.dumps([seed, *where]).encode()).digest()))


def _spoiled(mask: Bool[np.ndarray, "h w"], kind: str, amount: float | int, chance: np.random.Generator) -> Bool[np.ndarray, "h w"]:
    if kind == "box":
        return boxed(mask.shape, box_around(mask))
    if kind == "speckle":
        return speckled(mask, amount, chance)
    grows = kind == "dilate" or (kind == "jitter" and bool(chance.integers(2)))
    return grown(mask, amount) if grows else ~grown(~mask, amount)


def grown(mask: Bool[np.ndarray, "h w"], pixels: float | int) -> Bool[np.ndarray, "h w"]:
    """All pixels at most so far (Euclidean, between centres) from a pixel of the mask; of an empty mask none."""
    from scipy.ndimage import distance_transform_edt

    return distance_transform_edt(~mask) <= pixels if mask.any() else mask


def speckled(mask: Bool[np.ndarray, "h w"], share: float | int, chance: np.random.Generator) -> Bool[np.ndarray, "h w"]:
    """The mask flipped in a share of the blocks of 8×8 pixels, the nearest whole number of them."""
    h, w = mask.shape
    rows, columns = -(-h // BLOCK), -(-w // BLOCK)
    flipped = np.zeros(rows * columns, bool)
    flipped[chance.permutation(len(flipped))[: round(share * len(flipped))]] = True
    blocks = flipped.reshape(rows, columns).repeat(BLOCK, 0).repeat(BLOCK, 1)
    return mask ^ blocks[:h, :w]
