"""How well a predicted part tree recovers the true one: numbers only, no files.

Notation
  n points, a nodes of the true tree, p nodes of the predicted tree, l levels of the true tree.
  A tree comes as two arrays: `parents` (leaves first, a parent's id larger than its children's, the root
  last and its own parent) and, for each point, the smallest node that holds it. A point of the true tree
  may be -1: it belongs to no true part (false geometry) but still counts in the predicted parts that hold it.
  A point of the predicted tree may be -1: no predicted part holds it, the root neither.
  Level k of the true tree are its nodes k steps below the root; the root itself is never scored. True nodes
  that no point shows cannot be found: they are left out of every mean, and counted.

Two definitions of normalised covering (NC) are given. The plain one takes for every true node the best
predicted node wherever it lies. `sampled_covering` is Ultrametric Feature Fields' definition: the best
of the segments that hold a sampled pixel, averaged over pixels; the original draws 100 pixels a segment,
here the expectation is computed exactly. It is never larger than the first.
Both can be gamed by predicting thousands of nodes, so they go with precision and the number of nodes.
Dendrogram purity (Heller and Ghahramani, "Bayesian hierarchical clustering", 2005) looks at pairs of points
instead of the best nodes, so that more nodes do not raise it by themselves.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Int64


@dataclass(frozen=True)
class TreeScores:
    """All numbers of one predicted tree."""

    nc: float  # mean over levels of the mean best IoU of the level's true nodes
    levels: tuple[float, ...]  # NC of level 1, 2, …; nan where no node of the level is shown
    sampled_nc: float  # the same by the original's sampled definition
    recall50: float  # share of true nodes with a predicted node of IoU > .5
    recall75: float
    precision50: float  # share of predicted nodes (root apart) with a true node of IoU > .5
    num_nodes: int  # predicted, the root among them
    purity: float = math.nan  # dendrogram purity; nan where no two points share a smallest true node
    num_hidden: int = 0  # true nodes that no point shows, left out of all of the above


def score_tree(
    true_parents: Int[np.ndarray, " a"], leaf_of_point: Int[np.ndarray, " n"],
    parents: Int[np.ndarray, " p"], part_of_point: Int[np.ndarray, " n"],
) -> TreeScores:
    """Every number of this module for one prediction."""
    own = contingency(leaf_of_point, len(true_parents), part_of_point, len(parents))
    iou, shown = node_iou(own, true_parents, parents), shown_nodes(own, true_parents)
    levels = level_means(iou[:-1].max(1), true_parents, shown)
    sampled = level_means(sampled_covering(own, iou, true_parents, parents), true_parents, shown)
    return TreeScores(
        nc=float(np.nanmean(levels)), levels=tuple(levels.tolist()), sampled_nc=float(np.nanmean(sampled)),
        recall50=recall(iou, 0.5, shown), recall75=recall(iou, 0.75, shown), precision50=precision(iou, 0.5), num_nodes=len(parents),
        purity=dendrogram_purity(own, parents), num_hidden=int((~shown).sum()),
    )


def contingency(
    leaf_of_point: Int[np.ndarray, " n"], num_true: int, part_of_point: Int[np.ndarray, " n"], num_parts: int
) -> Int64[np.ndarray, "a+1 p+1"]:
    """Points whose smallest true node is the row and smallest predicted node the column; the last of each is "none"."""
    if len(leaf_of_point) != len(part_of_point):
        raise ValueError(f"{len(leaf_of_point)} points have a true part and {len(part_of_point)} a predicted one; score the same points.")
    row = np.where(leaf_of_point < 0, num_true, leaf_of_point).astype(np.int64)
    column = np.where(part_of_point < 0, num_parts, part_of_point)
    counts = np.bincount(row * (num_parts + 1) + column, minlength=(num_true + 1) * (num_parts + 1))
    return counts.reshape(num_true + 1, num_parts + 1)


def node_iou(
    own: Int64[np.ndarray, "a+1 p+1"], true_parents: Int[np.ndarray, " a"], parents: Int[np.ndarray, " p"]
) -> Float64[np.ndarray, "a p"]:
    """IoU of every true with every predicted node, descendants included, from counts alone."""
    both = up_tree(up_tree(own[:-1, :-1], true_parents).T, parents).T
    predicted = up_tree(own[:, :-1].sum(0), parents)
    true = up_tree(own[:-1].sum(1), true_parents)
    return both / np.maximum(true[:, None] + predicted[None] - both, 1)


def shown_nodes(own: Int64[np.ndarray, "a+1 p+1"], true_parents: Int[np.ndarray, " a"], least: int = 1) -> Bool[np.ndarray, " b"]:
    """Which true nodes, the root left out (b = a - 1), have at least so many points."""
    return up_tree(own[:-1].sum(1), true_parents)[:-1] >= least


def up_tree(values: Int64[np.ndarray, "a ..."], parents: Int[np.ndarray, " a"]) -> Int64[np.ndarray, "a ..."]:
    """Each node's value plus those of all its descendants."""
    total = values.copy()
    for node in range(len(parents) - 1):
        total[parents[node]] += total[node]
    return total


def depths(parents: Int[np.ndarray, " a"]) -> Int64[np.ndarray, " a"]:
    """Steps from the root, which has depth 0."""
    depth = np.zeros(len(parents), np.int64)
    for node in range(len(parents) - 2, -1, -1):
        depth[node] = depth[parents[node]] + 1
    return depth


def level_means(
    values: Float64[np.ndarray, "*v b"], true_parents: Int[np.ndarray, " a"], shown: Bool[np.ndarray, "*v b"]
) -> Float64[np.ndarray, " l"]:
    """Mean of the shown values of every level's true nodes, nan for a level without; the root left out (b = a - 1).

    With an axis of views in front, all shown (view, node) pairs of a level weigh alike.
    """
    if not shown.any():
        raise ValueError(
            f"None of the {shown.shape[-1]} true nodes below the root is shown by enough points or pixels, so there is nothing to score. "
            "Is the truth of this scene, and the surface in the scene's frame?"
        )
    level = np.broadcast_to(depths(true_parents)[:-1], shown.shape)
    number = np.bincount(level[shown], minlength=level.max() + 1)[1:]
    total = np.bincount(level[shown], values[shown], level.max() + 1)[1:]
    return np.where(number, total / np.maximum(number, 1), np.nan)


def sampled_covering(
    own: Int64[np.ndarray, "a+1 p+1"], iou: Float64[np.ndarray, "a p"],
    true_parents: Int[np.ndarray, " a"], parents: Int[np.ndarray, " p"],
) -> Float64[np.ndarray, " b"]:
    """For each true node but the root: mean over its points of the best IoU among predicted nodes holding the point.

    The nodes that hold a point are the ancestors of its smallest one, so the best of them is a running
    maximum down the predicted tree, and the mean over points a weighted sum over predicted nodes.
    """
    best = iou.copy()
    for node in range(len(parents) - 2, -1, -1):
        best[:, node] = np.maximum(best[:, node], best[:, parents[node]])
    points = up_tree(own[:-1], true_parents)
    return ((points[:, :-1] * best).sum(1) / np.maximum(points.sum(1), 1))[:-1]


def recall(iou: Float64[np.ndarray, "a p"], threshold: float, shown: Bool[np.ndarray, " b"]) -> float:
    """Share of the shown true nodes, the root left out, with a predicted node above the threshold."""
    return float((iou[:-1].max(1)[shown] > threshold).mean())


def precision(iou: Float64[np.ndarray, "a p"], threshold: float) -> float:
    """Share of predicted nodes with a true node above the threshold, both roots left out; 0 without predictions."""
    best = iou[:-1, :-1].max(0) if iou.shape[1] > 1 else np.zeros(1)
    return float((best > threshold).mean())


def dendrogram_purity(own: Int64[np.ndarray, "a+1 p+1"], parents: Int[np.ndarray, " p"]) -> float:
    """Mean, over pairs of points of one smallest true node, of its share of the smallest predicted node that holds both.

    Pairs need not be listed: a part's lowest pairs are those inside it less those inside one of its children.
    Points that lie in a part directly are children of one point. Points of no true part make no pairs but dilute
    the parts that hold them; a pair of which no part holds both has purity 0. nan where there is no pair.
    """
    size = up_tree(own[:, :-1].sum(0), parents)
    held = up_tree(own[:-1, :-1].T, parents)
    inside = held * (held - 1) // 2
    lowest = inside.copy()
    np.subtract.at(lowest, parents[:-1], inside[:-1])
    points = own[:-1].sum(1)
    pairs = int((points * (points - 1) // 2).sum())
    return float((lowest * held / np.maximum(size, 1)[:, None]).sum() / pairs) if pairs else math.nan


def score_views(
    true_parents: Int[np.ndarray, " a"], leaves: Sequence[Int[np.ndarray, "h w"]],
    parents: Int[np.ndarray, " p"], parts: Sequence[Int[np.ndarray, "h w"]], min_pixels: int = 20,
) -> tuple[float, tuple[float, ...]]:
    """(NC, NC of every level) in pictures: `leaves` and `parts` hold the smallest node each pixel shows, -1 = none.

    A true node is scored in every view that shows `min_pixels` of it, by the best IoU of any predicted node's
    pixels there; every such (view, node) weighs alike within its level, and every level alike.
    """
    best, shown = [], []
    for leaf, part in zip(leaves, parts, strict=True):
        if leaf.shape != part.shape:
            raise ValueError(f"A view's truth is {leaf.shape} pixels and its prediction {part.shape}; draw both in the same size.")
        own = contingency(leaf.reshape(-1), len(true_parents), part.reshape(-1), len(parents))
        best.append(node_iou(own, true_parents, parents)[:-1].max(1))
        shown.append(shown_nodes(own, true_parents, min_pixels))
    levels = level_means(np.array(best), true_parents, np.array(shown))
    return float(np.nanmean(levels)), tuple(levels.tolist())


def interval(values: Sequence[float] | Float[np.ndarray, " k"]) -> tuple[float, float, float]:
    """(mean, low, high) of seeds or scenes: Student's 95 % interval of their mean; nan bounds for a single value."""
    from scipy.stats import t

    values = np.asarray(values, np.float64)
    if values.size == 0:
        raise ValueError("interval: no values; give at least one, and two for an interval.")
    mean, k = float(values.mean()), len(values)
    if k == 1:
        return mean, math.nan, math.nan
    half = float(t.ppf(0.975, k - 1) * values.std(ddof=1) / np.sqrt(k))
    return mean, mean - half, mean + half
