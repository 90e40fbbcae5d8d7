"""How well a predicted part tree recovers the true one: numbers only, no files.

Notation
  n points, a nodes of the true tree, p nodes of the predicted tree.
  A tree comes as two arrays: `parents` (leaves first, a parent's id larger than its children's, the root
  last and its own parent) and, for each point, the smallest node that holds it. A point of the true tree
  may be -1: it belongs to no true part (false geometry) but still counts in the predicted parts that hold it.
  Level k of the true tree are its nodes k steps below the root; the root itself is never scored.

Two definitions of normalised covering (NC) are given. `normalized_covering` takes for every true node the
best predicted node wherever it lies. `sampled_covering` is Ultrametric Feature Fields' definition: the best
of the segments that hold a sampled pixel, averaged over pixels; the original draws 100 pixels a segment,
here the expectation is computed exactly. It is never larger than the first.
Both can be gamed by predicting thousands of nodes, so they go with precision and the number of nodes.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int, Int64


@dataclass(frozen=True)
class TreeScores:
    """All numbers of one predicted tree."""

    nc: float  # mean over levels of the mean best IoU of the level's true nodes
    levels: tuple[float, ...]  # NC of level 1, 2, …
    sampled_nc: float  # the same by the original's sampled definition
    recall50: float  # share of true nodes with a predicted node of IoU > .5
    recall75: float
    precision50: float  # share of predicted nodes (root apart) with a true node of IoU > .5
    num_nodes: int  # predicted, the root among them


def score_tree(
    true_parents: Int[np.ndarray, " a"], leaf_of_point: Int[np.ndarray, " n"],
    parents: Int[np.ndarray, " p"], part_of_point: Int[np.ndarray, " n"],
) -> TreeScores:
    """Every number of this module for one prediction."""
    own = contingency(leaf_of_point, len(true_parents), part_of_point, len(parents))
    iou = node_iou(own, true_parents, parents)
    levels = level_means(iou[:-1].max(1), true_parents)
    return TreeScores(
        nc=float(levels.mean()), levels=tuple(levels.tolist()),
        sampled_nc=float(level_means(sampled_covering(own, iou, true_parents, parents), true_parents).mean()),
        recall50=recall(iou, 0.5), recall75=recall(iou, 0.75), precision50=precision(iou, 0.5), num_nodes=len(parents),
    )


def contingency(
    leaf_of_point: Int[np.ndarray, " n"], num_true: int, part_of_point: Int[np.ndarray, " n"], num_parts: int
) -> Int64[np.ndarray, "a+1 p"]:
    """Points whose smallest true node is the row and smallest predicted node the column; the last row is "none"."""
    if len(leaf_of_point) != len(part_of_point):
        raise ValueError(f"{len(leaf_of_point)} points have a true part and {len(part_of_point)} a predicted one; score the same points.")
    row = np.where(leaf_of_point < 0, num_true, leaf_of_point).astype(np.int64)
    counts = np.bincount(row * num_parts + part_of_point, minlength=(num_true + 1) * num_parts)
    return counts.reshape(num_true + 1, num_parts)


def node_iou(
    own: Int64[np.ndarray, "a+1 p"], true_parents: Int[np.ndarray, " a"], parents: Int[np.ndarray, " p"]
) -> Float64[np.ndarray, "a p"]:
    """IoU of every true with every predicted node, descendants included, from counts alone."""
    both = up_tree(up_tree(own[:-1], true_parents).T, parents).T
    predicted = up_tree(own.sum(0), parents)
    true = up_tree(own[:-1].sum(1), true_parents)
    return both / np.maximum(true[:, None] + predicted[None] - both, 1)


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


def level_means(values: Float64[np.ndarray, " b"], true_parents: Int[np.ndarray, " a"]) -> Float64[np.ndarray, " l"]:
    """Mean of the true nodes' values at every level; `values` has one entry a node, the root left out (b = a - 1)."""
    level = depths(true_parents)[:-1]
    if len(level) == 0:
        raise ValueError("The true tree has no node below its root; there is nothing to score.")
    return np.array([values[level == k].mean() for k in range(1, level.max() + 1)])


def normalized_covering(iou: Float64[np.ndarray, "a p"], true_parents: Int[np.ndarray, " a"]) -> float:
    """Mean over levels of the mean over true nodes of the best IoU of any predicted node."""
    return float(level_means(iou[:-1].max(1), true_parents).mean())


def sampled_covering(
    own: Int64[np.ndarray, "a+1 p"], iou: Float64[np.ndarray, "a p"],
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
    return ((points * best).sum(1) / np.maximum(points.sum(1), 1))[:-1]


def recall(iou: Float64[np.ndarray, "a p"], threshold: float) -> float:
    """Share of true nodes, the root left out, with a predicted node above the threshold."""
    return float((iou[:-1].max(1) > threshold).mean())


def precision(iou: Float64[np.ndarray, "a p"], threshold: float) -> float:
    """Share of predicted nodes with a true node above the threshold, both roots left out; 0 without predictions."""
    best = iou[:-1, :-1].max(0) if iou.shape[1] > 1 else np.zeros(1)
    return float((best > threshold).mean())
