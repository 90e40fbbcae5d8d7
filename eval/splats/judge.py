"""How well a part tree labels Gaussians whose true part is known.

Notation
  g Gaussians, a nodes of the true tree, p nodes of the predicted tree; both laid out as in `eval.metrics.trees`.
Conventions
  -1 is no part: in the truth a floater, in the prediction a Gaussian that the clean-up left out or that is out of reach of the surface.
  Opacities weigh as whole thousandths, so that counts stay exact.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Int32, Int64

from eval.metrics import node_iou
from eval.metrics.trees import up_tree


@dataclass(frozen=True)
class SplatScores:
    """All numbers of one labelling; nan where there is nothing to count."""

    reached: float  # share of the Gaussians of a true part that get any part
    accuracy: float  # share that get their own, so never more
    weighted: float  # the same, weighing by opacity
    purity: float  # mean over nodes, the root apart: opacity in the node that is of its best true node, of all opacity in it
    held: float  # share of the floaters' opacity that lies in some part
    grabbed: float  # floaters' share of the opacity in a node, of the node, the root apart, that holds most of them


@dataclass(frozen=True)
class CleanScores:
    """How well a clean-up tells floaters."""

    caught: float  # share of the floaters that are left out
    precise: float  # share of those left out that are floaters
    lost: float  # share of the others that are left out


def score_splats(
    leaf: Int[np.ndarray, " g"], part: Int[np.ndarray, " g"], opacity: Float[np.ndarray, " g"], true_parents: Int[np.ndarray, " a"],
    parents: Int[np.ndarray, " p"],
) -> SplatScores:
    """Every number of one labelling."""
    weight = np.round(1000 * opacity).astype(np.int64)
    iou = splat_iou(leaf, part, weight, true_parents, parents)
    label, known = labels_of(part, iou, leaf, parents), leaf >= 0
    right = label[known] == leaf[known]
    floating = weight[~known]
    return SplatScores(
        reached=_share(part[known] >= 0), accuracy=_share(right), weighted=_share(right, weight[known]),
        purity=_node_purity(leaf, part, weight, true_parents, parents, iou), held=_share(part[~known] >= 0, floating),
        grabbed=_most_grabbed(leaf, part, weight, true_parents, parents))


def score_clean(leaf: Int[np.ndarray, " g"], kept: Bool[np.ndarray, " g"]) -> CleanScores:
    """Floaters against what was left out."""
    floats, out = leaf < 0, ~kept
    return CleanScores(_share(out[floats]), _share(floats[out]), _share(out[~floats]))


def splat_iou(
    leaf: Int[np.ndarray, " g"], part: Int[np.ndarray, " g"], weight: Int64[np.ndarray, " g"], true_parents: Int[np.ndarray, " a"],
    parents: Int[np.ndarray, " p"],
) -> Float64[np.ndarray, "a p"]:
    """IoU of true and predicted nodes in opacity, of the Gaussians that have a part: those without do not tell which node is which."""
    has = part >= 0
    return node_iou(weighted_contingency(leaf[has], len(true_parents), part[has], len(parents), weight[has]), true_parents, parents)


def weighted_contingency(
    leaf: Int[np.ndarray, " g"], num_true: int, part: Int[np.ndarray, " g"], num_parts: int, weight: Int64[np.ndarray, " g"]
) -> Int64[np.ndarray, "a+1 p+1"]:
    """As `eval.metrics.trees.contingency`, a Gaussian counting as often as it weighs."""
    place = np.where(leaf < 0, num_true, leaf).astype(np.int64) * (num_parts + 1) + np.where(part < 0, num_parts, part)
    counts = np.bincount(place, weight, (num_true + 1) * (num_parts + 1))
    return counts.round().astype(np.int64).reshape(num_true + 1, num_parts + 1)


def labels_of(
    part: Int[np.ndarray, " g"], iou: Float[np.ndarray, "a p"], leaf: Int[np.ndarray, " g"], parents: Int[np.ndarray, " p"]
) -> Int32[np.ndarray, " g"]:
    """The true part each Gaussian is labelled with: that of the smallest node around it that is one's by more than a half; -1 = none."""
    label_of_node = np.full(len(parents) + 1, -1, np.int32)  # the last row is for no part
    for true in np.unique(leaf[leaf >= 0]):
        best = int(iou[true].argmax())
        if iou[true, best] > 0.5:
            label_of_node[best] = true
    for node in range(len(parents) - 2, -1, -1):  # parents come later, so they are done
        if label_of_node[node] < 0:
            label_of_node[node] = label_of_node[parents[node]]
    return label_of_node[part]


def _node_purity(
    leaf: Int[np.ndarray, " g"], part: Int[np.ndarray, " g"], weight: Int64[np.ndarray, " g"], true_parents: Int[np.ndarray, " a"],
    parents: Int[np.ndarray, " p"], iou: Float[np.ndarray, "a p"],
) -> float:
    own = weighted_contingency(leaf, len(true_parents), part, len(parents), weight)
    both = up_tree(up_tree(own[:-1, :-1], true_parents).T, parents).T
    whole = up_tree(own[:, :-1].sum(0), parents)
    filled = np.flatnonzero(whole[:-1])
    best = iou[:-1, filled].argmax(0)
    return float((both[best, filled] / whole[filled]).mean()) if len(filled) else float("nan")


def _most_grabbed(
    leaf: Int[np.ndarray, " g"], part: Int[np.ndarray, " g"], weight: Int64[np.ndarray, " g"], true_parents: Int[np.ndarray, " a"],
    parents: Int[np.ndarray, " p"],
) -> float:
    own = weighted_contingency(leaf, len(true_parents), part, len(parents), weight)[:, :-1]
    floating, whole = up_tree(own[-1], parents)[:-1], up_tree(own.sum(0), parents)[:-1]
    filled = whole > 0
    return float((floating[filled] / whole[filled]).max()) if filled.any() else float("nan")


def _share(which: np.ndarray, weight: np.ndarray | None = None) -> float:
    weight = np.ones(len(which)) if weight is None else weight
    total = weight.sum()
    return float(weight[which].sum() / total) if total else float("nan")
