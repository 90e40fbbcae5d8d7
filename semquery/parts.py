"""From features on a surface to the part tree: edges, merge tree, and which of its nodes are parts.

Notation
  n points, e edges of their neighbour graph, t nodes of the merge tree (see `hierarchy`), p parts.

Node selection is a facility-location problem (see `facility`): choose the fewest nodes that explain the masks;
then unions of them that no merge tree has (see `groups`). Where no masks are at hand, nodes are kept by
persistence: the altitude between a node's own split and the merge that swallows it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int, Int64

from semquery.borders import color_steps, creases, num_views, share_of_color
from semquery.evidence import cooccurrence, mask_evidence
from semquery.facility import facility_location, mask_density, usual_share
from semquery.geometry import bridges, knn_edges
from semquery.groups import GroupConfig, with_groups
from semquery.hierarchy import Linkage, cut, intervals, merge_tree
from semquery.pieces import ALIKE, reunions
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
    crease: float = 0.3
    """Weight of concave creases of the surface on an edge: parts meet where a surface folds inwards."""
    color_views: float = 1.0
    """A step of colour across an edge counts as much as this many views of it: where few views show a place, their masks
    say little about it. 0 = colour counts for nothing."""
    rejoin: float = 30.0
    """Pieces of one part that lie apart, as the two faces of a thin board, may be this many voxels apart; 0 = no such pieces."""
    select: Literal["masks", "persistence"] = "masks"
    """Choose parts by how well they explain the masks, or (without masks) by persistence."""
    gamma: float = 1.0
    """A part must explain this many masks that no other part explains, where views have 20 masks each; in proportion
    where they have more or fewer: the more masks a source makes, the more of them agree by chance."""
    min_share: float = 0.06
    """…and masks in this share of the views that see it…"""
    relative_share: float = 0.18
    """…or in this part of the share that is usual for the scene's clearest parts, if that is less: where masks are
    rarely right, a small part cannot have many that are."""
    groups: GroupConfig = GroupConfig()
    """Parts no merge tree makes, such as four legs that masks show as one."""
    max_parts: int = 80
    """Most parts; the ones that explain most are chosen first."""
    min_points: int = 12
    """Smallest part, in surface points."""
    persistence: float = 0.2
    """With select=persistence: least altitude between a part's split and its merge."""


# ------------------------------------------------------------------ selection


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


def part_tree(tree: MergeTree, chosen: list[int]) -> PartTree:
    """The chosen nodes and the root as an n-ary tree, without supports; each part's parent is its nearest chosen ancestor."""
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
    return PartTree(
        parents=np.array([number[parent_node[node]] for node in order], np.int32),
        altitude=tree.altitude[order],
        part_of_point=np.array([number[node] for node in above[: tree.num_leaves]], np.int32),
        support=np.zeros((0, 3), np.int32),
        support_iou=np.zeros(0, np.float32),
    )


def edge_weights(
    surface: Surface, edges: Int[np.ndarray, "e 2"], masks: Mapping[str, MaskStack], config: TreeConfig
) -> Float64[np.ndarray, " e"]:
    """Feature distance across each edge, plus the masks' own evidence, plus creases; where views are few, rather its colour."""
    features = surface.features.astype(np.float32)
    distance = np.linalg.norm(features[edges[:, 0]] - features[edges[:, 1]], axis=1).astype(np.float64)
    if config.cooccurrence and masks:
        distance += config.cooccurrence * cooccurrence(edges, surface, masks)
    if config.crease:
        distance += config.crease * creases(surface.points, surface.normals, edges)
    if config.color_views and surface.point_of_pixel:
        share = share_of_color(num_views(surface.point_of_pixel, len(surface.points)), edges, config.color_views)
        distance = (1 - share) * distance + share * color_steps(surface.colors, edges)
    return distance


def build_merge_tree(
    surface: Surface, masks: Mapping[str, MaskStack], config: TreeConfig
) -> tuple[Int64[np.ndarray, "e 2"], Float64[np.ndarray, " e"], MergeTree]:
    """Edges, their weights and the merge tree; where pieces are rejoined, of the graph that joins them."""
    edges = knn_edges(surface.points, config.neighbours, config.radius * surface.voxel_size)
    edges = np.concatenate([edges, bridges(surface.points, edges)])
    weights = edge_weights(surface, edges, masks, config)
    tree = merge_tree(len(surface.points), edges, weights, config.linkage)
    if not config.rejoin:
        return edges, weights, tree
    more = reunions(surface.points, surface.features.astype(np.float32), cut(tree, ALIKE), config.rejoin * surface.voxel_size)
    if not len(more):
        return edges, weights, tree
    edges = np.concatenate([edges, more])
    weights = np.concatenate([weights, edge_weights(surface, more, masks, config)])
    return edges, weights, merge_tree(len(surface.points), edges, weights, config.linkage)


def build_part_tree(
    surface: Surface, masks: Mapping[str, MaskStack], config: TreeConfig
) -> tuple[PartTree, MergeTree, Int64[np.ndarray, "e 2"], Float64[np.ndarray, " e"]]:
    """Surface features and masks → part tree; also the merge tree, its edges and their weights."""
    edges, weights, tree = build_merge_tree(surface, masks, config)
    if config.select == "persistence" or not any(stack.num_masks for stack in masks.values()):
        return part_tree(tree, persistent(tree, config.min_points, config.persistence)), tree, edges, weights
    evidence = mask_evidence(tree, surface, masks, config.min_points)
    gamma = config.gamma * mask_density(masks)
    usual = usual_share(evidence, gamma)
    min_share = min(config.min_share, config.relative_share * usual)
    parts = part_tree(tree, facility_location(evidence, gamma, min_share, config.max_parts - 1))
    return with_groups(parts, surface, masks, config.groups, gamma, min_share, usual), tree, edges, weights
