"""From features on a surface to the part tree: edges, merge tree, and which of its nodes are parts.

Notation
  n points, e edges of their neighbour graph, t = 2n - 1 nodes of the binary merge tree (points first, merges
  in the order of their altitude, root last), v views, m masks of a view, p parts.
  Leaves are put in one depth-first order, so that every node is an interval [start, stop) of it and sums
  over any node's points are two look-ups in a cumulative sum.

Node selection is a facility-location problem: choose the fewest nodes that explain the masks. A mask is
explained by the chosen node that covers its pixels best; the gain of a node is what it explains beyond
the nodes chosen before (submodular, so a lazy greedy choice is exact greedy). Where no masks are at hand,
nodes are kept by persistence: the altitude between a node's own split and the merge that swallows it.
"""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int, Int32, Int64, Num

from semquery.types import MaskStack, MergeTree, PartTree, Surface

Linkage = Literal["average", "single", "area", "volume"]


@dataclass(frozen=True)
class TreeConfig:
    """How the part tree is built."""

    linkage: Linkage = "average"
    """average: mean feature distance between two groups; single: the paper's watershed; area, volume: watershed by size."""
    neighbours: int = 12
    """Neighbours of each point in the graph…"""
    radius: float = 3.75
    """…no farther than this many voxels."""
    cooccurrence: float = 0.2
    """Weight of the masks' own evidence on an edge, beside the feature distance."""
    select: Literal["masks", "persistence"] = "masks"
    """Choose parts by how well they explain the masks, or (without masks) by persistence."""
    gamma: float = 1.0
    """A part must explain this many masks that no other part explains, where views have 20 masks each; in proportion
    where they have more or fewer: the more masks a source makes, the more of them agree by chance."""
    min_share: float = 0.06
    """…and masks in this share of the views that see it."""
    min_points: int = 12
    """Smallest part, in surface points."""
    persistence: float = 0.2
    """With select=persistence: least altitude between a part's split and its merge."""


# ------------------------------------------------------------------ edges


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


# ------------------------------------------------------------------ merge tree


def merge_tree(n: int, edges: Int[np.ndarray, "e 2"], weights: Num[np.ndarray, " e"], linkage: Linkage = "average") -> MergeTree:
    """The binary tree of merges of a connected graph. Raises ValueError when the graph is not connected."""
    import higra as hg

    from semquery.geometry import components

    count, _ = components(n, edges)
    if count != 1:
        raise ValueError(f"The neighbour graph has {count} components; join them with geometry.bridges first.")
    if n == 1:
        return MergeTree(np.zeros(1, np.int32), np.zeros(1, np.float32))
    weights = np.ascontiguousarray(weights, np.float64)
    graph = hg.UndirectedGraph(n)
    graph.add_edges(edges[:, 0], edges[:, 1])
    build = {
        "single": hg.bpt_canonical,
        "average": hg.binary_partition_tree_average_linkage,
        "area": partial(hg.watershed_hierarchy_by_area, canonize_tree=False),
        "volume": partial(hg.watershed_hierarchy_by_volume, canonize_tree=False),
    }[linkage]
    tree, altitude = build(graph, weights)
    parents = np.asarray(tree.parents()).astype(np.int32)
    return MergeTree(parents, monotone(parents, np.asarray(altitude)).astype(np.float32))


def monotone(parents: Int[np.ndarray, " t"], altitude: Num[np.ndarray, " t"]) -> Float64[np.ndarray, " t"]:
    """The least altitudes above the given ones that never fall from child to parent.

    Average linkage on a sparse graph can merge two groups at a lower distance than they were made at.
    """
    raised, up = altitude.astype(np.float64).tolist(), parents.tolist()
    for node in range(len(up) - 1):
        if raised[up[node]] < raised[node]:
            raised[up[node]] = raised[node]
    return np.array(raised)


def cut(tree: MergeTree, threshold: float) -> Int64[np.ndarray, " n"]:
    """Flat segments at an altitude: points joined by merges of altitude ≤ threshold share a label 0, 1, …"""
    top = list(range(len(tree.parents)))
    parents, joined = tree.parents.tolist(), (tree.altitude <= threshold).tolist()
    for node in range(len(top) - 2, -1, -1):
        if joined[parents[node]]:
            top[node] = top[parents[node]]
    return np.unique(top[: tree.num_leaves], return_inverse=True)[1].reshape(-1)


def intervals(parents: Int[np.ndarray, " t"]) -> tuple[Int64[np.ndarray, " t"], Int64[np.ndarray, " t"]]:
    """(start, stop) of every node in a depth-first order of the leaves; start of leaf i is i's place in it."""
    up, n = parents.tolist(), (len(parents) + 1) // 2
    size = [1] * n + [0] * (len(up) - n)
    for node in range(len(up) - 1):
        size[up[node]] += size[node]
    start, free = [0] * len(up), [0] * len(up)
    for node in range(len(up) - 2, -1, -1):
        start[node] = free[node] = free[up[node]]
        free[up[node]] += size[node]
    return np.array(start), np.array(start) + np.array(size)


# ------------------------------------------------------------------ selection


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


def mask_density(masks: Mapping[str, MaskStack], usual: float = 20.0) -> float:
    """Masks per view as a share of a usual number, from a half to three."""
    return float(np.clip(np.mean([stack.num_masks for stack in masks.values()]) / usual, 0.5, 3.0))


def facility_location(evidence: Evidence, gamma: float, min_share: float, min_iou: float = 0.5) -> list[int]:
    """Nodes chosen greedily, best first, until the best left explains less than `gamma` masks anew.

    A mask counts (IoU - min_iou) / (1 - min_iou). A node that explains less than `min_share` of the views
    that see it is passed over.
    """
    score = (evidence.iou - min_iou) / (1 - min_iou)
    _, mask = np.unique(np.stack([evidence.view, evidence.mask], 1), axis=0, return_inverse=True)
    mask = mask.reshape(-1)
    nodes, first = np.unique(evidence.node, return_index=True)
    last = np.append(first[1:], len(mask))
    explained = np.zeros(int(mask.max(initial=-1)) + 1)
    gain_of = lambda i: float(np.maximum(score[first[i] : last[i]] - explained[mask[first[i] : last[i]]], 0).sum())  # noqa: E731
    heap = [(-gain_of(i), i) for i in range(len(nodes))]
    heapq.heapify(heap)
    chosen: list[int] = []
    while heap and -heap[0][0] >= gamma:
        _, i = heapq.heappop(heap)
        gain = gain_of(i)
        if gain < max(gamma, min_share * evidence.num_views[nodes[i]]):
            continue  # gains only fall, so it never comes back
        if heap and gain < -heap[0][0]:
            heapq.heappush(heap, (-gain, i))
            continue
        chosen.append(int(nodes[i]))
        rows = slice(first[i], last[i])
        np.maximum.at(explained, mask[rows], score[rows])
    return chosen


def persistent(tree: MergeTree, min_points: int, threshold: float) -> list[int]:
    """Nodes of the condensed tree whose persistence reaches the threshold.

    A merge is a true split when both its sides have `min_points`; a node's persistence is the altitude of the
    true split that frees it minus that of the first true split inside it (0 where there is none).
    """
    start, stop = intervals(tree.parents)
    big = stop - start >= min_points
    t, n, parents = len(start), tree.num_leaves, tree.parents
    big_children = np.bincount(parents[:-1][big[:-1]], minlength=t)
    own = np.where(big_children == 2, tree.altitude.astype(np.float64), 0.0)
    for node in range(t - 1):  # a node that only sheds crumbs splits where its one big child does
        if big[node] and big_children[parents[node]] == 1:
            own[parents[node]] = own[node]
    head = big[:-1] & (big_children[parents[:-1]] == 2)
    persistence = tree.altitude[parents[:-1]] - own[:-1]
    return np.flatnonzero(head & (persistence >= threshold) & (np.arange(t - 1) >= n)).tolist()


# ------------------------------------------------------------------ part tree


def part_tree(tree: MergeTree, chosen: list[int], evidence: Evidence | None = None) -> PartTree:
    """The chosen nodes and the root as an n-ary tree; each part's parent is its nearest chosen ancestor."""
    root = len(tree.parents) - 1
    keep = sorted({*chosen, root})
    up = tree.parents.tolist()
    above = [root] * len(up)  # nearest kept node at or above each node
    kept = set(keep)
    for node in range(root - 1, -1, -1):
        above[node] = node if node in kept else above[up[node]]
    parent_node = {node: above[up[node]] if node != root else root for node in keep}
    has_child = {parent_node[node] for node in keep if node != root}
    order = sorted(keep, key=lambda node: (node in has_child or node == root, node))  # leaves first, root last
    number = {node: i for i, node in enumerate(order)}
    support, iou = _support(evidence, number)
    return PartTree(
        parents=np.array([number[parent_node[node]] for node in order], np.int32),
        altitude=tree.altitude[order],
        part_of_point=np.array([number[node] for node in above[: tree.num_leaves]], np.int32),
        support=support,
        support_iou=iou,
    )


def _support(evidence: Evidence | None, number: dict[int, int]) -> tuple[Int32[np.ndarray, "s 3"], Float32[np.ndarray, " s"]]:
    if evidence is None:
        return np.zeros((0, 3), np.int32), np.zeros(0, np.float32)
    rows = np.isin(evidence.node, list(number))
    part = [number[node] for node in evidence.node[rows].tolist()]
    support = np.stack([np.array(part, np.int32), evidence.view[rows].astype(np.int32), evidence.mask[rows].astype(np.int32)], 1)
    return support.reshape(-1, 3), evidence.iou[rows].astype(np.float32)


def edge_weights(
    surface: Surface, edges: Int[np.ndarray, "e 2"], masks: Mapping[str, MaskStack], config: TreeConfig
) -> Float64[np.ndarray, " e"]:
    """Feature distance across each edge, plus the masks' own evidence."""
    features = surface.features.astype(np.float32)
    distance = np.linalg.norm(features[edges[:, 0]] - features[edges[:, 1]], axis=1).astype(np.float64)
    if config.cooccurrence and masks:
        distance += config.cooccurrence * cooccurrence(edges, surface, masks)
    return distance


def build_part_tree(
    surface: Surface, masks: Mapping[str, MaskStack], config: TreeConfig
) -> tuple[PartTree, MergeTree, Int64[np.ndarray, "e 2"], Float64[np.ndarray, " e"]]:
    """Surface features and masks → part tree; also the merge tree, its edges and their weights."""
    from semquery.geometry import bridges, knn_edges

    edges = knn_edges(surface.points, config.neighbours, config.radius * surface.voxel_size)
    edges = np.concatenate([edges, bridges(surface.points, edges)])
    weights = edge_weights(surface, edges, masks, config)
    tree = merge_tree(len(surface.points), edges, weights, config.linkage)
    if config.select == "persistence":
        return part_tree(tree, persistent(tree, config.min_points, config.persistence)), tree, edges, weights
    evidence = mask_evidence(tree, surface, masks, config.min_points)
    chosen = facility_location(evidence, config.gamma * mask_density(masks), config.min_share)
    return part_tree(tree, chosen, evidence), tree, edges, weights
