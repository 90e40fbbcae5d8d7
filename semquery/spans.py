"""The tree laid out so that every part is one slice: of the parts, of the points and of each view's pixels.

Notation
  p parts, n points, v views, h w height and width of a view's pixel grid.
  The rank of a part is its number in preorder: a part comes before its descendants, which follow it without a gap,
  so a part and all inside it are the ranks first[part] .. last[part] - 1. Points are sorted by the rank of the smallest
  part that holds them, and so are the pixels of all views together by that of the point they show: what a part holds is
  one slice of each. Pixels are numbered on from view to view, row by row.
It takes memory with parts plus points plus pixels, and a number per view and part; no table of parts by parts is made.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64, Integer

from semquery.types import PartTree, Surface


@dataclass(frozen=True)
class Slices:
    """Items sorted by the rank of the part each belongs to; those that belong to none are left out."""

    items: Integer[np.ndarray, " i"]
    start: Int64[np.ndarray, " r"]  # start[rank] .. start[rank + 1] are the items of one rank alone; one more than there are parts

    def within(self, ranges: Int64[np.ndarray, "k 2"]) -> Integer[np.ndarray, " m"]:
        """Items of ranges of ranks, one range after another; those of a single range are a view of the array, not a copy."""
        found = [self.items[start:stop] for start, stop in self.start[ranges].tolist()]
        return found[0] if len(found) == 1 else np.concatenate([self.items[:0], *found])


class Spans:
    """Where every part lies in the sorted parts, points and pixels; not changed once it is made."""

    def __init__(self, parts: PartTree, surface: Surface | None = None) -> None:
        """With the surface, masks in its views can be had too."""
        self.parents = parts.parents
        self.first, self.last = preorder(parts.parents)  # the part's own rank, and one more than the largest rank inside it
        self._above = parts.parents.tolist()
        self.order = np.argsort(self.first)  # the part of each rank
        rank = self.first.astype(np.min_scalar_type(len(self.first)))  # two bytes where they do: sorting those is a radix sort
        of_view = surface.point_of_pixel if surface else {}
        self.sizes: dict[str, tuple[int, ...]] = {view: point.shape for view, point in of_view.items()}
        self.points = _slices(np.arange(len(parts.part_of_point)), rank[parts.part_of_point], len(rank))
        self._first_pixel = np.cumsum([0, *(point.size for point in of_view.values())])
        of_each = [_slices(*_seen(point, rank, parts), len(rank)) for point in of_view.values()]
        self.pixels = _merged(of_each, self._first_pixel, len(rank))
        self._before = {view: slices.start.astype(np.int32) for view, slices in zip(of_view, of_each, strict=True)}  # pixels of lower ranks

    @property
    def num_points(self) -> Int64[np.ndarray, " p"]:
        """Points in each part, those of its descendants included."""
        return self.points.start[self.last] - self.points.start[self.first]

    def holds(self, outer: int, inner: int) -> bool:
        """Whether `inner` is `outer` or lies somewhere inside it."""
        return bool(self.first[outer] <= self.first[inner] < self.last[outer])

    def inside(self, part: int) -> Int64[np.ndarray, " k"]:
        """The part and its descendants, in preorder."""
        return self.order[self.first[part] : self.last[part]]

    def above(self, part: int) -> list[int]:
        """The parts around a part, from its parent up to the root."""
        found: list[int] = []
        while self._above[part] != part:
            part = self._above[part]
            found.append(part)
        return found

    def highest(self, members: Iterable[int]) -> list[int]:
        """The members that lie in no other, in preorder."""
        found: list[int] = []
        for part in sorted(set(members), key=lambda p: int(self.first[p])):
            if not found or not self.holds(found[-1], part):
                found.append(part)
        return found

    def common(self, members: Sequence[int]) -> int:
        """The smallest part that holds them all."""
        low, high = min(int(self.first[p]) for p in members), max(int(self.last[p]) for p in members)
        part = int(members[0])
        while self.first[part] > low or self.last[part] < high:
            part = int(self.parents[part])
        return part

    def ranges(self, members: Iterable[int]) -> Int64[np.ndarray, "k 2"]:
        """The ranks inside one of the parts, as ranges [from, to) that neither meet nor overlap, increasing."""
        parts = np.fromiter(members, np.int64)
        parts = parts[np.argsort(self.first[parts], kind="stable")]
        first, reached = self.first[parts], np.maximum.accumulate(self.last[parts])
        begins = np.flatnonzero(np.append(True, first[1:] > reached[:-1])[: len(first)])
        return np.stack([first[begins], reached[np.append(begins, len(first))[1:] - 1]], axis=1)

    def points_of(self, *members: int) -> Int32[np.ndarray, " k"]:
        """The points that lie in one of the parts, each once; of a single part a view, without copying."""
        return self.points.within(self.ranges(members))

    def point_mask(self, *members: int) -> Bool[np.ndarray, " n"]:
        """Which points lie in one of the parts."""
        mask = np.zeros(len(self.points.items), bool)
        mask[self.points_of(*members)] = True
        return mask

    def num_pixels(self, view: str) -> Int64[np.ndarray, " p"]:
        """Pixels of a view that show each part, or a part inside it."""
        return (self._before[view][self.last] - self._before[view][self.first]).astype(np.int64)

    def mask(self, view: str, *members: int) -> Bool[np.ndarray, "h w"]:
        """The pixels of a view that show one of the parts, as a picture."""
        k = list(self.sizes).index(view)
        mask, pixels = np.zeros(self.sizes[view], bool), self.pixels.within(self.ranges(members))
        begin, end = self._first_pixel[k : k + 2]
        mask.reshape(-1)[pixels[(pixels >= begin) & (pixels < end)] - begin] = True
        return mask

    def masks(self, *members: int) -> dict[str, Bool[np.ndarray, "_ _"]]:
        """The mask of every view that shows one of the parts, the one with the most pixels of it first; slices of one array."""
        ranges = self.ranges(members)
        painted = np.zeros(self._first_pixel[-1], bool)
        painted[self.pixels.within(ranges).astype(np.intp)] = True  # indices of this type are written faster
        of_view = dict(zip(self.sizes, np.split(painted, self._first_pixel[1:-1]), strict=True)) if self.sizes else {}
        return {view: of_view[view].reshape(self.sizes[view]) for view in self._seen_in(ranges)}

    def views_of(self, *members: int) -> list[str]:
        """The views that show one of the parts, the one with the most pixels of it first."""
        return self._seen_in(self.ranges(members))

    def _seen_in(self, ranges: Int64[np.ndarray, "k 2"]) -> list[str]:
        count = {view: int((before[ranges[:, 1]] - before[ranges[:, 0]]).sum()) for view, before in self._before.items()}
        return sorted((view for view in count if count[view]), key=lambda view: -count[view])


def preorder(parents: Int32[np.ndarray, " p"]) -> tuple[Int64[np.ndarray, " p"], Int64[np.ndarray, " p"]]:
    """The first rank of each part, and one more than the last rank inside it; of siblings the smaller number comes first."""
    above, num_parts = parents.tolist(), len(parents)
    size = [1] * num_parts
    for part in range(num_parts - 1):  # parents come after their children
        size[above[part]] += size[part]
    first, end = [0] * num_parts, size.copy()  # `end`: where the last child not yet placed ends
    for part in range(num_parts - 2, -1, -1):
        end[above[part]] -= size[part]
        first[part] = end[above[part]]
        end[part] = first[part] + size[part]
    return np.array(first, np.int64), np.array(first, np.int64) + np.array(size, np.int64)


def _seen(
    point: Int32[np.ndarray, "h w"], rank: Integer[np.ndarray, " p"], parts: PartTree
) -> tuple[Int64[np.ndarray, " i"], Integer[np.ndarray, " i"]]:
    """The pixels that show a point, and the rank of the smallest part that holds it."""
    pixels = np.flatnonzero(point.reshape(-1) >= 0)
    return pixels, rank[parts.part_of_point[point.reshape(-1)[pixels]]]


def _slices(items: Int64[np.ndarray, " i"], rank: Integer[np.ndarray, " i"], num_parts: int) -> Slices:
    start = np.concatenate([[0], np.cumsum(np.bincount(rank, minlength=num_parts))])
    return Slices(items[np.argsort(rank, kind="stable")].astype(np.int32), start.astype(np.int64))


def _merged(of_each: Sequence[Slices], first_pixel: Int64[np.ndarray, " o"], num_parts: int) -> Slices:
    """The pixels of all views by rank, within a rank by view; view by view, so that it takes no more memory than what it makes."""
    start = sum((slices.start for slices in of_each), np.zeros(num_parts + 1, np.int64))
    items = np.empty(start[-1], np.int32 if first_pixel[-1] < 2**31 else np.int64)
    free = start[:-1].copy()  # where the next view's pixels of each rank go
    for slices, first in zip(of_each, first_pixel[:-1].tolist(), strict=True):
        count = np.diff(slices.start)
        items[np.repeat(free - slices.start[:-1], count) + np.arange(len(slices.items))] = slices.items.astype(items.dtype) + first
        free += count
    return Slices(items, start)


def best_above(value: Float32[np.ndarray, " p"], parents: Int32[np.ndarray, " p"]) -> Float32[np.ndarray, " p"]:
    """Of each part, the largest value of its own and those of the parts around it."""
    best = value.tolist()
    for part, parent in reversed(list(enumerate(parents.tolist()))):
        best[part] = max(best[part], best[parent])
    return np.array(best, np.float32)
