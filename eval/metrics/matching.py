"""How well the nodes of a predicted tree stand for those of the true one: matched one to one, with and without their labels.

Notation
  a true nodes, p predicted nodes, m matched pairs. `iou` [a p] is `eval.metrics.node_iou`, on weighted points or on counts.
Conventions
  Which nodes take part is the caller's choice (all, without the roots, the leaves): select rows and columns before.
  A pair needs an IoU of at least `least`.
"""

import numpy as np
from jaxtyping import Bool, Float, Int, Int64


def matched(iou: Float[np.ndarray, "a p"], least: float = 0.5) -> Int64[np.ndarray, "m 2"]:
    """Pairs (true, predicted), each node in one at most, whose IoUs add up to the most; by true node.

    Pairs below `least` are no candidates (not assigned first and dropped afterwards, which could cost good pairs).
    Of matchings that are equally good, one. Kuhn, "The Hungarian method for the assignment problem", 1955.
    """
    from scipy.optimize import linear_sum_assignment

    if np.isnan(iou).any() or not 0 < least <= 1:
        raise ValueError(f"Expected IoUs that are numbers and 0 < least ≤ 1; got {int(np.isnan(iou).sum())} nan and least = {least}.")
    allowed = iou >= least
    true, predicted = linear_sum_assignment(np.where(allowed, iou, 0), maximize=True)
    kept = allowed[true, predicted]
    return np.stack([true[kept], predicted[kept]], axis=1).astype(np.int64)


def matched_rates(pairs: Int[np.ndarray, "m 2"], num_true: int, num_predicted: int) -> tuple[float, float]:
    """(recall: share of true nodes that are matched, precision: share of predicted ones); nan where there are none."""
    return tuple(len(pairs) / number if number else float("nan") for number in (num_true, num_predicted))


def label_aware_miou(iou: Float[np.ndarray, "a p"], pairs: Int[np.ndarray, "m 2"], same_label: Bool[np.ndarray, "a p"]) -> float:
    """Mean over true nodes of the IoU with their match where its label is the same, else 0; nan without true nodes.

    Unmatched nodes and wrongly labelled matches both count 0; predicted nodes that match nothing cost nothing
    (`matched_rates` tells them). With every label the same it is the plain matched mIoU.
    """
    if not len(iou):
        return float("nan")
    true, predicted = pairs[:, 0], pairs[:, 1]
    return float((iou[true, predicted] * same_label[true, predicted]).sum() / len(iou))


def leaves(parents: Int[np.ndarray, " p"]) -> Bool[np.ndarray, " p"]:
    """The nodes that are nobody's parent; a root alone is a leaf."""
    leaf = np.ones(len(parents), bool)
    leaf[parents[:-1]] = False
    return leaf


def ap50(iou: Float[np.ndarray, "a p"], confidence: Float[np.ndarray, " p"], least: float = 0.5) -> float:
    """Average precision of predicted parts, whatever their labels; nan without true parts, 0 without predicted ones.

    From the most confident on, every prediction takes the free true part of the highest IoU ≥ `least`, or is false (as COCO
    does). AP is the area under precision over recall, precision made falling (at each recall the best at any higher one),
    at all recalls where COCO samples 101. Predictions of equal confidence are matched best IoU first and enter together.
    """
    if np.isnan(confidence).any():
        raise ValueError(f"{int(np.isnan(confidence).sum())} of {len(confidence)} confidences are nan; give every predicted part one.")
    num_true, num_predicted = iou.shape
    if not num_true or not num_predicted:
        return 0.0 if num_true else float("nan")
    order = np.lexsort((-iou.max(0), -confidence))
    hit = _greedy(iou[:, order], least)
    last = np.append(np.diff(confidence[order]) != 0, True)
    found = hit.cumsum()[last]
    precision = found / (np.flatnonzero(last) + 1)
    falling = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(found, prepend=0) * falling).sum() / num_true)


def leaf_ap50(
    iou: Float[np.ndarray, "a p"], true_parents: Int[np.ndarray, " a"], parents: Int[np.ndarray, " p"], confidence: Float[np.ndarray, " p"],
    shown: Bool[np.ndarray, " a"] | None = None,
) -> float:
    """`ap50` of the predicted tree's leaves for the true tree's, or for those of them that are shown."""
    asked = leaves(true_parents) & (True if shown is None else shown)
    return ap50(iou[asked][:, leaves(parents)], confidence[leaves(parents)])


def _greedy(iou: Float[np.ndarray, "a p"], least: float) -> Bool[np.ndarray, " p"]:
    """Whether each prediction, in this order, still finds a true part."""
    free = np.ones(len(iou), bool)
    hit = np.zeros(iou.shape[1], bool)
    for predicted, column in enumerate(iou.T):
        best = int(np.where(free, column, -1).argmax())
        if free[best] and column[best] >= least:
            free[best], hit[predicted] = False, True
    return hit
