"""Which nodes of a tree match which masks of a view, without trying every pair.

IoU > c asks that a node holds more than the share c of the mask's pixels. A node is an interval of the leaf order
(see `hierarchy`), so it then holds one of few known pixels of the mask, for c = 1/2 the middle one in that order,
and lies on the path from there to the root. Along that path both the pixels shared with the mask and the pixels
of the node only grow: the nodes that hold enough of the mask and are not too large for it are one run of the path,
whose ends are found by bisection. Root paths are long (hundreds of nodes, where a large part takes in crumb after
crumb), so they are made of heavy paths (Sleator and Tarjan 1983), of which any root path crosses at most log2 n.

Notation
  n points, t nodes of a merge tree, b of them big, with `min_points` points or more; k pixels of a view that show a
  point, l label layers, m masks; q pairs of a mask and one of its pixels.
  A node goes by its rank among the big nodes in the order of `HeavyPaths`, a mask by its label, 0 = none.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Int32, Int64

_BLOCK = 1 << 21  # (node, mask) pairs looked at together


@dataclass(frozen=True)
class HeavyPaths:
    """The big nodes of a tree, path after path, from the lowest node up; a path goes on where its nodes are the larger child."""

    node: Int64[np.ndarray, " b"]  # a node's place in here is its rank
    start: Int64[np.ndarray, " b"]  # its interval of the leaf order
    stop: Int64[np.ndarray, " b"]
    last: Int64[np.ndarray, " b"]  # rank of the last node of its path
    above: Int64[np.ndarray, " b"]  # rank of the parent of that node, -1 on the root's path
    lowest: Int64[np.ndarray, " n"]  # rank of the lowest big node that holds each place of the leaf order


def heavy_paths(
    parents: Int[np.ndarray, " t"], start: Int64[np.ndarray, " t"], stop: Int64[np.ndarray, " t"], min_points: int
) -> HeavyPaths:
    """Cut a tree into heavy paths, its nodes of fewer than `min_points` points left out."""
    size, me = stop - start, np.arange(len(parents))
    node = np.flatnonzero(size >= min_points)
    top = _jump(np.where(_heavy_children(parents, size)[parents] == me, parents, me))
    node = node[np.lexsort((size[node], top[node]))]
    rank = np.full(len(me), -1)
    rank[node] = np.arange(len(node))
    above = np.where(top == me[-1], -1, rank[parents[top]])
    lowest = _jump(np.where((size >= min_points) | (me == me[-1]), me, parents))
    leaf_at = np.argsort(start[: (len(me) + 1) // 2])
    return HeavyPaths(node, start[node], stop[node], rank[top[node]], above[node], rank[lowest[leaf_at]])


def _heavy_children(parents: Int[np.ndarray, " t"], size: Int64[np.ndarray, " t"]) -> Int64[np.ndarray, " t"]:
    """The child with most points of every node, -1 for leaves."""
    heavy = np.full(len(parents), -1)
    order = np.argsort(size[:-1], kind="stable")
    heavy[parents[order]] = order  # the last write wins: the largest
    return heavy


def _jump(up: Int[np.ndarray, " t"]) -> Int[np.ndarray, " t"]:
    """Where following `up` from each node ends, by doubling the step."""
    while (up != (further := up[up])).any():
        up = further
    return up


@dataclass(frozen=True)
class Counts:
    """The pixels of one view, ready to be counted in any node (given by rank) and mask (given by label, 0 = none)."""

    seen: Int64[np.ndarray, " b"]  # pixels that show each node
    size: Int64[np.ndarray, " labels"]  # pixels of each mask that show a point; none for label 0
    begin: Int64[np.ndarray, " labels"]  # where a mask's pixels begin in `pixels`
    pixels: Int64[np.ndarray, " s"]  # of each mask, in the leaf order: label * stride + place
    stride: int

    @classmethod
    def of(
        cls, layers: Int32[np.ndarray, "l k"], points: Int32[np.ndarray, " k"], start: Int64[np.ndarray, " t"], paths: HeavyPaths
    ) -> "Counts":
        """Count a view, given the place of every node (so of every point) in the leaf order."""
        n, place, labels = len(paths.lowest), start[points], int(layers.max(initial=0)) + 1
        before = np.append(0, np.cumsum(np.bincount(place, minlength=n)))
        size = sum((np.bincount(layer, minlength=labels) for layer in layers), np.zeros(labels, np.int64))
        size[0] = 0
        pixels = np.empty(size.sum(), np.int64)
        filled = 0
        for layer in layers:
            inside = np.flatnonzero(layer)
            pixels[filled : filled + len(inside)] = layer[inside].astype(np.int64) * (n + 1) + place[inside]
            filled += len(inside)
        pixels.sort()
        return cls(before[paths.stop] - before[paths.start], size, np.cumsum(size) - size, pixels, n + 1)

    def place(self, mask: Int64[np.ndarray, " q"], nth: Int64[np.ndarray, " q"]) -> Int64[np.ndarray, " q"]:
        """Place in the leaf order of a mask's pixel number 0, 1, …"""
        return self.pixels[self.begin[mask] + nth] % self.stride

    def before(self, mask: Int64[np.ndarray, " q"], place: Int64[np.ndarray, " q"]) -> Int64[np.ndarray, " q"]:
        """How many pixels of a mask come before a place of the leaf order."""
        return np.searchsorted(self.pixels, mask * self.stride + place) - self.begin[mask]


def matches(counts: Counts, paths: HeavyPaths, min_iou: float) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Rank of the node, mask and IoU of all pairs above `min_iou`, the masks in order, a block at a time."""
    step = (counts.size * min_iou).astype(np.int64) + 1  # a node with enough pixels holds at least one in so many
    mask, turn = runs(np.zeros_like(step), counts.size // step)
    nth = (turn + 1) * step[mask] - 1
    run_probe, first, length = _eligible(counts, paths, mask, paths.lowest[counts.place(mask, nth)], min_iou)
    for block in np.split(np.arange(len(first)), np.flatnonzero(np.diff(np.cumsum(length) // _BLOCK)) + 1):
        run, rank = runs(first[block], length[block])
        probe = run_probe[block][run]
        m = mask[probe]
        skipped = counts.before(m, paths.start[rank])
        both = counts.before(m, paths.stop[rank]) - skipped
        iou = both / (counts.seen[rank] + counts.size[m] - both)
        # a node that holds several of a mask's probes answers for the first of them
        found = (iou > min_iou) & (skipped > nth[probe] - step[m])
        yield rank[found], m[found], iou[found]


def _eligible(
    counts: Counts, paths: HeavyPaths, mask: Int64[np.ndarray, " q"], rank: Int64[np.ndarray, " q"], min_iou: float
) -> tuple[Int64[np.ndarray, " r"], Int64[np.ndarray, " r"], Int64[np.ndarray, " r"]]:
    """Runs of nodes above `rank` that hold enough of the mask and not too much else: probe, first rank and length of each."""
    rank, probe = _lowest_with_enough(counts, paths, mask, rank, min_iou), np.arange(len(mask))
    parts = [(np.zeros(0, np.int64),) * 3]
    while len(probe):
        last, size = paths.last[rank], counts.size[mask[probe]]
        end = _first(rank, last + 1, lambda middle, i, size=size: counts.seen[middle] * min_iou >= size[i])
        parts.append((probe, rank, end - rank))
        on = (end > last) & (paths.above[last] >= 0)
        probe, rank = probe[on], paths.above[last[on]]
    probe, first, length = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(probe, kind="stable")
    return probe[order], first[order], length[order]


def _lowest_with_enough(
    counts: Counts, paths: HeavyPaths, mask: Int64[np.ndarray, " q"], rank: Int64[np.ndarray, " q"], min_iou: float
) -> Int64[np.ndarray, " q"]:
    """The lowest node at or above `rank` that holds more than the share `min_iou` of the mask's pixels."""

    def enough(at: np.ndarray, i: np.ndarray) -> np.ndarray:
        both = counts.before(mask[i], paths.stop[at]) - counts.before(mask[i], paths.start[at])
        return both > min_iou * counts.size[mask[i]]

    rank, climbing = rank.copy(), np.arange(len(rank))
    while len(climbing := climbing[~enough(paths.last[rank[climbing]], climbing)]):
        rank[climbing] = paths.above[rank[climbing]]
    return _first(rank, paths.last[rank], enough)


def _first(
    low: Int64[np.ndarray, " q"], high: Int64[np.ndarray, " q"], holds: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> Int64[np.ndarray, " q"]:
    """The first number of each low..high-1 that `holds` (it then holds for all further ones), or high: bisection."""
    low, high = low.copy(), high.copy()
    while len(undecided := np.flatnonzero(low < high)):
        middle = (low[undecided] + high[undecided]) // 2
        yes = holds(middle, undecided)
        high[undecided] = np.where(yes, middle, high[undecided])
        low[undecided] = np.where(yes, low[undecided], middle + 1)
    return low


def runs(first: Int64[np.ndarray, " r"], length: Int64[np.ndarray, " r"]) -> tuple[Int64[np.ndarray, " s"], Int64[np.ndarray, " s"]]:
    """The numbers first, first + 1, … of every run, one run after the other, and which run each is of; run first."""
    run = np.repeat(np.arange(len(first)), length)
    return run, np.arange(len(run)) + (first - np.cumsum(length) + length)[run]
