"""From features on a surface to the part tree: edges, merge tree, and which of its nodes are parts.

Notation
  n points, e edges of their neighbour graph, t nodes of the merge tree (see `hierarchy`), p parts.

Node selection is a facility-location problem: choose the fewest nodes that explain the masks. A mask is
explained by the chosen node that covers its pixels best; the gain of a node is what it explains beyond
the nodes chosen before (submodular, so a lazy greedy choice is exact greedy). Where no masks are at hand,
nodes are kept by persistence: the altitude between a node's own split and the merge that swallows it.
"""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float32, Float64, Int, Int32, Int64

from semquery.evidence import Evidence, cooccurrence, mask_evidence
from semquery.geometry import bridges, knn_edges
from semquery.hierarchy import Linkage, intervals, merge_tree
from semquery.types import MaskStack, MergeTree, PartTree, Surface


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
    max_parts: int = 80
    """Most parts; the ones that explain most are chosen first."""
    min_points: int = 12
    """Smallest part, in surface points."""
    persistence: float = 0.2
    """With select=persistence: least altitude between a part's split and its merge."""


# ------------------------------------------------------------------ selection


def mask_density(masks: Mapping[str, MaskStack], usual: float = 20.0) -> float:
    """Masks per view as a share of a usual number, from a half to three."""
    return float(np.clip(np.mean([stack.num_masks for stack in masks.values()]) / usual, 0.5, 3.0))


def facility_location(evidence: Evidence, gamma: float, min_share: float, most: int = 1 << 31, min_iou: float = 0.5) -> list[int]:
    """Nodes chosen greedily, best first, until the best left explains less than `gamma` masks anew, or there are `most`.

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
    while heap and -heap[0][0] >= gamma and len(chosen) < most:
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
    edges = knn_edges(surface.points, config.neighbours, config.radius * surface.voxel_size)
    edges = np.concatenate([edges, bridges(surface.points, edges)])
    weights = edge_weights(surface, edges, masks, config)
    tree = merge_tree(len(surface.points), edges, weights, config.linkage)
    if config.select == "persistence" or not any(stack.num_masks for stack in masks.values()):
        return part_tree(tree, persistent(tree, config.min_points, config.persistence)), tree, edges, weights
    evidence = mask_evidence(tree, surface, masks, config.min_points)
    chosen = facility_location(evidence, config.gamma * mask_density(masks), config.min_share, config.max_parts - 1)
    return part_tree(tree, chosen, evidence), tree, edges, weights
