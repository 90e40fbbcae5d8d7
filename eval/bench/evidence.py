"""Evidence of masks for nodes and edges, and the choice of nodes: all pairs of a layer against paths of the tree.

    python -m eval.bench.evidence [--large]

The baselines are the direct ways, and give the same answers, which is checked before anything is timed:
  nodes   counts of every (node, mask of a layer) pair, dense, a layer at a time
  edges   labels of all points and edges in all layers of a view at once, votes counted by sorting
  choice  mask numbers by sorting rows, first gains node by node in Python
Points grow from 1e4 to 1e6 (`--large`), masks from 150 to 1.5e4, on the surface of `patchwork`; its tree is made by
single linkage, which has the longest chains. Seconds are medians; memory is what a process grows by.
"""

import argparse
import heapq
import time
from collections.abc import Callable, Mapping

import numpy as np

from eval.bench import compare
from eval.bench.patchwork import Patchwork, patchwork
from eval.bench.peak import peak_mb
from semquery.evidence import Evidence, cooccurrence, mask_evidence
from semquery.facility import facility_location
from semquery.geometry import bridges, knn_edges
from semquery.hierarchy import intervals, merge_tree
from semquery.types import MaskStack, MergeTree, Surface

SIZES = ((10_000, 1), (10_000, 10), (100_000, 10), (100_000, 100))  # points, views of about 150 masks
LARGE = ((1_000_000, 10), (1_000_000, 100))
MIN_POINTS, GAMMA, MIN_SHARE = 12, 3.0, 0.06


# ------------------------------------------------------------------ the direct ways


def seen_pixels(image: np.ndarray, stack: MaskStack) -> tuple[np.ndarray, np.ndarray]:
    """Mask ids [l, k] and points [k] of the pixels that show a point; the stack has the image's size."""
    return stack.layers[:, image >= 0].astype(np.int64), image[image >= 0].astype(np.int64)


def dense_evidence(tree: MergeTree, surface: Surface, masks: Mapping[str, MaskStack]) -> Evidence:
    """All nodes that a view sees against all masks of a layer, by differences of cumulative sums."""
    start, stop = intervals(tree.parents)
    large, num_views, rows = np.flatnonzero(stop - start >= MIN_POINTS), np.zeros(len(start), np.int64), []
    for v, (view, stack) in enumerate(masks.items()):
        layers, points = seen_pixels(surface.point_of_pixel[view], stack)
        place = np.sort(start[points])
        seen = np.searchsorted(place, stop[large]) - np.searchsorted(place, start[large])
        nodes, seen = large[seen > 0], seen[seen > 0]
        num_views[nodes] += 1
        for layer in layers:
            used = np.unique(layer[layer > 0])
            spots = np.unique(start[points])
            counts = np.zeros((len(spots) + 1, len(used)), np.int32)
            inside = layer > 0
            np.add.at(counts, (np.searchsorted(spots, start[points[inside]]) + 1, np.searchsorted(used, layer[inside])), 1)
            total = counts.cumsum(0, dtype=np.int32)
            both = total[np.searchsorted(spots, stop[nodes])] - total[np.searchsorted(spots, start[nodes])]
            iou = both / (seen[:, None] + counts.sum(0) - both)
            row, column = np.nonzero(iou > 0.5)
            rows.append((nodes[row], np.full(len(row), v), used[column] - 1, iou[row, column]))
    node, view_id, mask, iou = (np.concatenate(column) for column in zip(*rows, strict=True))
    order = np.argsort(node, kind="stable")
    return Evidence(node[order], view_id[order], mask[order], iou[order], num_views)


def dense_cooccurrence(edges: np.ndarray, surface: Surface, masks: Mapping[str, MaskStack]) -> np.ndarray:
    """All layers of all edges at once, view by view."""
    apart, around = np.zeros(len(edges)), np.zeros(len(edges))
    for view, stack in masks.items():
        layers, points = seen_pixels(surface.point_of_pixel[view], stack)
        label = np.full((len(layers), len(surface.points)), -1, np.int32)
        for row, layer in zip(label, layers, strict=True):
            width = int(layer.max()) + 1
            pairs, votes = np.unique(points * width + layer, return_counts=True)
            best = np.argsort(votes, kind="stable")  # the last write wins: most votes
            row[pairs[best] // width] = pairs[best] % width
        a, b = label[:, edges[:, 0]], label[:, edges[:, 1]]
        seen, one = (a >= 0) & (b >= 0), (a > 0).astype(np.int32) + (b > 0)
        apart += np.where(seen & (a != b), one, 0).sum(0)
        around += np.where(seen, np.where(a == b, a > 0, one), 0).sum(0)
    return (apart + 0.15) / (around + 0.3)


def node_by_node(evidence: Evidence) -> list[int]:
    """The lazy greedy choice, every node's first gain computed on its own."""
    score = (evidence.iou - 0.5) / 0.5
    mask = np.unique(np.stack([evidence.view, evidence.mask], 1), axis=0, return_inverse=True)[1].reshape(-1)
    nodes, first = np.unique(evidence.node, return_index=True)
    last, explained = np.append(first[1:], len(mask)), np.zeros(int(mask.max(initial=-1)) + 1)
    gain_of = lambda i: float(np.maximum(score[first[i] : last[i]] - explained[mask[first[i] : last[i]]], 0).sum())  # noqa: E731
    heap, chosen = [(-gain_of(i), i) for i in range(len(nodes))], []
    heapq.heapify(heap)
    while heap and -heap[0][0] >= GAMMA:
        _, i = heapq.heappop(heap)
        gain = gain_of(i)
        if gain < max(GAMMA, MIN_SHARE * evidence.num_views[nodes[i]]):
            continue
        if heap and gain < -heap[0][0]:
            heapq.heappush(heap, (-gain, i))
            continue
        chosen.append(int(nodes[i]))
        np.maximum.at(explained, mask[first[i] : last[i]], score[first[i] : last[i]])
    return chosen


# ------------------------------------------------------------------ both, side by side


def tree_of(scene: Patchwork) -> tuple[np.ndarray, MergeTree]:
    """Neighbour graph and merge tree of the scene's features."""
    points, features = scene.surface.points, scene.surface.features.astype(np.float32)
    edges = knn_edges(points, 12, 3.75)
    edges = np.concatenate([edges, bridges(points, edges)])
    weights = np.linalg.norm(features[edges[:, 0]] - features[edges[:, 1]], axis=1)
    return edges, merge_tree(len(points), edges, weights, "single")


def calls(scene: Patchwork) -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
    """Ours and the baseline of every part of the work."""
    (edges, tree), surface, masks = tree_of(scene), scene.surface, scene.masks
    evidence = mask_evidence(tree, surface, masks, MIN_POINTS)
    return {
        "nodes": (lambda: mask_evidence(tree, surface, masks, MIN_POINTS), lambda: dense_evidence(tree, surface, masks)),
        "edges": (lambda: cooccurrence(edges, surface, masks), lambda: dense_cooccurrence(edges, surface, masks)),
        "choice": (lambda: facility_location(evidence, GAMMA, MIN_SHARE), lambda: node_by_node(evidence)),
    }


def check_same(a: object, b: object) -> None:
    """Raise AssertionError where the two answers differ."""
    if not isinstance(a, Evidence):
        return np.testing.assert_array_equal(a, b)
    orders = [np.lexsort((x.mask, x.view, x.node)) for x in (a, b)]
    for column in ("node", "view", "mask", "iou"):
        np.testing.assert_array_equal(*(getattr(x, column)[order] for x, order in zip((a, b), orders, strict=True)))
    np.testing.assert_array_equal(a.num_views, b.num_views)


def measure(num_points: int, num_views: int, repeats: int) -> None:
    """Check, time and print every part at one size; without repeats, the checked calls are the timed ones."""
    scene = patchwork(num_points, num_views)
    for what, (ours, baseline) in calls(scene).items():
        (fast, answer), (slow, expected) = timed(ours), timed(baseline)
        check_same(answer, expected)
        del answer, expected
        fast, slow, ratio = compare(ours, baseline, repeats) if repeats else (fast, slow, slow / fast)
        print(f"{len(scene.surface.points):8d} {scene.num_masks:6d}  {what:6s} {fast:8.3f} s {slow:9.3f} s {ratio:7.1f}× "
              f"{peak_mb(ours):9.0f} {peak_mb(baseline):12.0f}", flush=True)


def timed(call: Callable[[], object]) -> tuple[float, object]:
    start = time.perf_counter()
    answer = call()
    return time.perf_counter() - start, answer


def main() -> None:
    parser = argparse.ArgumentParser(description="Evidence of masks: all pairs against paths of the tree.")
    parser.add_argument("--large", action="store_true", help="also a million points, each call timed once (minutes)")
    parser.add_argument("--repeats", type=int, default=3, help="timed pairs of calls")
    arguments = parser.parse_args()
    print("  points  masks  what         ours    baseline    ratio   ours MB  baseline MB")
    for size in SIZES:
        measure(*size, arguments.repeats)
    for size in LARGE if arguments.large else ():
        measure(*size, repeats=0)


if __name__ == "__main__":
    main()
