"""What the 2D masks say about points, edges and nodes.

Notation
  n points, e edges, l label layers, m masks of a view, k pixels that show a point, p points that a view shows,
  t nodes of a merge tree.
  Overlaps are counted in pixels of the views. A mask stack may have another size than a view's pixel grid; the
  two show the same frame. Views are taken one at a time: beside the answer, memory is that of one view.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int, Int32, Int64

from semquery.coverage import Counts, heavy_paths, matches, runs
from semquery.hierarchy import intervals
from semquery.types import MaskStack, MergeTree, Surface

# ------------------------------------------------------------------ points and edges


def cooccurrence(
    edges: Int[np.ndarray, "e 2"], surface: Surface, masks: Mapping[str, MaskStack], prior: float = 0.5, strength: float = 0.3
) -> Float64[np.ndarray, " e"]:
    """Share of the masks around an edge's two points that hold only one of them, 0..1.

    Counted over the views that see both; `prior` is the answer where none does, worth `strength` masks.
    """
    n = len(surface.points)
    apart, around = np.zeros(len(edges)), np.zeros(len(edges))
    by_point = np.argsort(edges[:, 0], kind="stable")
    degree = np.bincount(edges[:, 0], minlength=n)
    first = np.cumsum(degree) - degree
    for view, stack in masks.items():
        layers, points = seen_pixels(surface.point_of_pixel[view], stack)
        if not len(layers) or not len(points):
            continue
        shown, number = _numbered(points, n)
        near = by_point[runs(first[shown], degree[shown])[1]]
        near = near[number[edges[near, 1]] >= 0]
        only, both = _masks_around(_majority(layers, number[points], len(shown)), number[edges[near]])
        apart[near] += only
        around[near] += only + both
    return (apart + strength * prior) / (around + strength)


def _masks_around(
    label: Int32[np.ndarray, "l p"], ends: Int32[np.ndarray, "q 2"]
) -> tuple[Int64[np.ndarray, " q"], Int64[np.ndarray, " q"]]:
    """Masks that hold just one of a pair's points, and masks that hold both; one mask a layer and point."""
    a, b = np.ascontiguousarray(ends.T)
    both = np.zeros(len(ends), np.int64)
    for row in label:
        of_a = row[a]
        both += (of_a == row[b]) & (of_a > 0)
    num_masks = np.count_nonzero(label, axis=0)
    return num_masks[a] + num_masks[b] - 2 * both, both


def point_labels(point_of_pixel: Int32[np.ndarray, "h w"], stack: MaskStack, n: int) -> Int32[np.ndarray, "l n"] | None:
    """The mask of most of each point's pixels, per layer: -1 unseen, 0 none. None where there are no layers."""
    layers, points = seen_pixels(point_of_pixel, stack)
    if not len(layers) or not len(points):
        return None
    shown, number = _numbered(points, n)
    label = np.full((len(layers), n), -1, np.int32)
    label[:, shown] = _majority(layers, number[points], len(shown))
    return label


def _majority(layers: Int32[np.ndarray, "l k"], points: Int32[np.ndarray, " k"], count: int) -> Int32[np.ndarray, "l p"]:
    """The mask of most of each point's pixels, per layer; of equals the one of the larger number.

    Most points lie inside a mask or outside of all, and any of their pixels answers; votes are counted for the others.
    """
    label = np.empty((len(layers), count), np.int32)
    for row, layer in zip(label, layers, strict=True):
        row[points] = layer
        torn = np.zeros(count, bool)
        torn[points[row[points] != layer]] = True
        voting = torn[points]
        pairs, votes = np.unique(points[voting].astype(np.int64) << 16 | layer[voting], return_counts=True)
        best = np.argsort(votes, kind="stable")  # the last write wins: most votes
        row[pairs[best] >> 16] = pairs[best] & 0xFFFF
    return label


def seen_pixels(point_of_pixel: np.ndarray, stack: MaskStack) -> tuple[Int32[np.ndarray, "l k"], Int32[np.ndarray, " k"]]:
    """Mask ids and points of the pixels that show a point; the stack may have another size."""
    h, w = point_of_pixel.shape
    y, x = np.nonzero(point_of_pixel >= 0)
    rows, columns = stack.size
    place = ((y + 0.5) * rows / h).astype(int) * columns + ((x + 0.5) * columns / w).astype(int)
    layers = np.take(stack.layers.reshape(len(stack.layers), rows * columns), place, axis=1)
    return layers.astype(np.int32), point_of_pixel[y, x]  # 16 bits are too few to multiply with


def _numbered(points: Int32[np.ndarray, " k"], n: int) -> tuple[Int64[np.ndarray, " p"], Int32[np.ndarray, " n"]]:
    """The different points, in order, and the number of each among them (-1 = not there)."""
    number = np.full(n, -1, np.int32)
    number[points] = 0
    shown = np.flatnonzero(number == 0)
    number[shown] = np.arange(len(shown), dtype=np.int32)
    return shown, number


# ------------------------------------------------------------------ nodes


@dataclass(frozen=True)
class Evidence:
    """How well nodes cover masks: one row for each (node, mask) whose overlap counts, sorted by node."""

    node: Int64[np.ndarray, " s"]
    view: Int64[np.ndarray, " s"]
    mask: Int64[np.ndarray, " s"]
    iou: Float64[np.ndarray, " s"]
    num_views: Int64[np.ndarray, " t"]  # views that see each node


def mask_evidence(
    tree: MergeTree, surface: Surface, masks: Mapping[str, MaskStack], min_points: int, min_iou: float = 0.5
) -> Evidence:
    """Intersection over union, in pixels, of every node with every mask of every view, where above `min_iou`."""
    start, stop = intervals(tree.parents)
    num_views = np.zeros(len(start), np.int64)
    rows = [(np.zeros(0, np.int64),) * 3 + (np.zeros(0),)]
    paths = heavy_paths(tree.parents, start, stop, min_points)
    for v, (view, stack) in enumerate(masks.items() if len(paths.node) else ()):
        counts = Counts.of(*seen_pixels(surface.point_of_pixel[view], stack), start, paths)
        num_views[paths.node] += counts.seen > 0
        for rank, mask, iou in matches(counts, paths, min_iou):
            rows.append((paths.node[rank], np.full(len(rank), v), mask - 1, iou))
    node, view_id, mask, iou = (np.concatenate(column) for column in zip(*rows, strict=True))
    order = np.argsort(node, kind="stable")
    return Evidence(node[order], view_id[order], mask[order], iou[order], num_views)
