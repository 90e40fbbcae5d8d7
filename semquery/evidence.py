"""What the 2D masks say about points, edges and nodes.

Notation
  n points, e edges, l label layers, m masks of a view, k pixels that show a point, t nodes of a merge tree.
  Overlaps are counted in pixels of the views. A mask stack may have another size than a view's pixel grid; the
  two show the same frame.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int, Int32, Int64

from semquery.hierarchy import intervals
from semquery.types import MaskStack, MergeTree, Surface


def cooccurrence(
    edges: Int[np.ndarray, "e 2"], surface: Surface, masks: Mapping[str, MaskStack], prior: float = 0.5, strength: float = 0.3
) -> Float64[np.ndarray, " e"]:
    """Share of the masks around an edge's two points that hold only one of them, 0..1.

    Counted over the views that see both; `prior` is the answer where none does, worth `strength` masks.
    """
    apart, around = np.zeros(len(edges)), np.zeros(len(edges))
    for view, stack in masks.items():
        label = point_labels(surface.point_of_pixel[view], stack, len(surface.points))
        if label is None:
            continue
        a, b = label[:, edges[:, 0]], label[:, edges[:, 1]]
        seen = (a >= 0) & (b >= 0)
        one = (a > 0).astype(np.int32) + (b > 0)
        apart += np.where(seen & (a != b), one, 0).sum(0)
        around += np.where(seen, np.where(a == b, a > 0, one), 0).sum(0)
    return (apart + strength * prior) / (around + strength)


def point_labels(point_of_pixel: Int32[np.ndarray, "h w"], stack: MaskStack, n: int) -> Int32[np.ndarray, "l n"] | None:
    """The mask of most of each point's pixels, per layer: -1 unseen, 0 none. None where there are no layers."""
    layers, points = _seen_pixels(point_of_pixel, stack)
    if not len(layers) or not len(points):
        return None
    label = np.full((len(layers), n), -1, np.int32)
    for row, layer in zip(label, layers, strict=True):
        width = int(layer.max()) + 1
        pairs, votes = np.unique(points * width + layer, return_counts=True)
        best = np.argsort(votes, kind="stable")  # the last write wins: most votes
        row[pairs[best] // width] = pairs[best] % width
    return label


def _seen_pixels(point_of_pixel: np.ndarray, stack: MaskStack) -> tuple[np.ndarray, np.ndarray]:
    """Mask ids [l, k] and points [k] of the pixels that show a point; the stack may have another size."""
    h, w = point_of_pixel.shape
    y, x = np.nonzero(point_of_pixel >= 0)
    rows, columns = stack.size
    layers = stack.layers[:, ((y + 0.5) * rows / h).astype(int), ((x + 0.5) * columns / w).astype(int)]
    return layers.astype(np.int64), point_of_pixel[y, x].astype(np.int64)


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
    nodes = np.flatnonzero(stop - start >= min_points)
    num_views = np.zeros(len(start), np.int64)
    rows = [(np.zeros(0, np.int64),) * 3 + (np.zeros(0),)]
    for v, (view, stack) in enumerate(masks.items()):
        layers, points = _seen_pixels(surface.point_of_pixel[view], stack)
        place = np.sort(start[points])
        seen = np.searchsorted(place, stop[nodes]) - np.searchsorted(place, start[nodes])
        num_views[nodes[seen > 0]] += 1
        for layer in layers:
            rows.append(_layer_evidence(layer, start[points], nodes[seen > 0], seen[seen > 0], start, stop, v, min_iou))
    node, view_id, mask, iou = (np.concatenate(column) for column in zip(*rows, strict=True))
    order = np.argsort(node, kind="stable")
    return Evidence(node[order], view_id[order], mask[order], iou[order], num_views)


def _layer_evidence(layer, place, nodes, seen, start, stop, v, min_iou):
    """Evidence from one layer of disjoint masks. Only a node's most frequent mask can pass an IoU of .5."""
    width = int(layer.max(initial=0)) + 1
    inside = layer > 0
    ids, position = layer[inside], place[inside]
    used, compact = np.unique(ids, return_inverse=True)
    if not len(used):
        return (np.zeros(0, np.int64),) * 3 + (np.zeros(0),)
    spots, spot = np.unique(position, return_inverse=True)
    counts = np.zeros((len(spots) + 1, len(used)), np.int32)
    np.add.at(counts, (spot.reshape(-1) + 1, compact.reshape(-1)), 1)
    total = counts.cumsum(0, dtype=np.int32)
    both = total[np.searchsorted(spots, stop[nodes])] - total[np.searchsorted(spots, start[nodes])]
    iou = both / (seen[:, None] + np.bincount(ids, minlength=width)[used][None] - both)
    row, column = np.nonzero(iou > min_iou)
    return nodes[row], np.full(len(row), v), used[column] - 1, iou[row, column]
