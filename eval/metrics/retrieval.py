"""How well queries find the parts they mean: overlap, right and wrong nodes, rankings, and their curves over the threshold.

Notation
  p nodes of one object, a atoms (sets of elements that lie in the same nodes), k queries, t thresholds, b anything.
  r(v, q) is the relevancy of node v for query q; R_t = {v: r > t} is what a query retrieves at t, strictly above it;
  M_t is the union of its nodes' elements, G the union of the elements of the nodes that the query means, w(·) a weight.
Conventions
  Relevancies and thresholds are compared as the numbers they are: a float32 .8 is .800000012 and lies above the threshold .8.
  A threshold stands for the interval up to the next one: relevancies that are multiples of the step are measured exactly.
  A query whose G weighs nothing has no overlap to measure: nan, and left out of means by `known_mean`.
  IoU and F1 as everywhere; floors (retrieve everything, relevancies at random) in closed form beside them.
"""

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64, Num

THRESHOLDS = np.arange(101) / 100  # 0, .01, …, 1, each the float nearest to its decimal
THRESHOLDS.setflags(write=False)


def check(positive: Bool[np.ndarray, "p k"], relevancy: Float[np.ndarray, "p _"]) -> None:
    """Raise ValueError unless there is a relevancy, and no nan, for every node and query."""
    if positive.shape != relevancy.shape:
        raise ValueError(f"The truth is of {positive.shape} nodes and queries, the relevancy of {relevancy.shape}; give the same.")
    if np.isnan(relevancy).any():
        raise ValueError(f"{int(np.isnan(relevancy).sum())} of {relevancy.size} relevancies are nan; a node without a name has 0.")


def steps_below(relevancy: Float[np.ndarray, "*b"], thresholds: Float[np.ndarray, " t"]) -> Int64[np.ndarray, "*b"]:
    """How many of the rising thresholds lie strictly below: a node is retrieved at exactly the first so many of them."""
    if len(thresholds) == 0 or (np.diff(thresholds) <= 0).any():
        raise ValueError(f"{len(thresholds)} thresholds that do not rise; give at least one, each larger than the last.")
    return np.searchsorted(thresholds, relevancy.astype(np.float64), side="left")


def retrieved(step: Int64[np.ndarray, "b k"], weight: Float[np.ndarray, "b k"], num_thresholds: int) -> Float64[np.ndarray, "k _"]:
    """[k t+1]: the weight that each query retrieves at every threshold; in the last column everything, retrieved or not."""
    num_queries, num_bins = step.shape[1], num_thresholds + 1
    cell = np.arange(num_queries) * num_bins + step
    mass = np.bincount(cell.reshape(-1), weight.reshape(-1), num_queries * num_bins).astype(np.float64).reshape(num_queries, num_bins)
    total = mass[:, ::-1].cumsum(1)[:, ::-1]  # column s: retrieved at s or more of the thresholds
    return np.concatenate([total[:, 1:], total[:, :1]], axis=1)


# ------------------------------------------------------------------ overlap


def iou_curves(
    holds: Bool[np.ndarray, "p a"], weight: Float[np.ndarray, " a"], positive: Bool[np.ndarray, "p k"],
    relevancy: Float[np.ndarray, "p k"], thresholds: Float[np.ndarray, " t"] = THRESHOLDS,
) -> Float64[np.ndarray, "k t"]:
    """w(M_t ∩ G) / w(M_t ∪ G) of every query at every threshold; 0 where nothing is retrieved, nan where w(G) = 0.

    An atom is retrieved at t where the most relevant node that holds it is, so each is looked at once for all thresholds.
    """
    check(positive, relevancy)
    step = _highest(steps_below(relevancy, thresholds), holds)
    meant = _meant(holds, positive)
    inside = retrieved(step, weight[:, None] * meant, len(thresholds))
    outside = retrieved(step, weight[:, None] * ~meant, len(thresholds))
    truth = inside[:, -1:]
    return ratio(inside[:, :-1], np.where(truth > 0, truth + outside[:, :-1], 0))


def retrieve_all_iou(
    holds: Bool[np.ndarray, "p a"], weight: Float[np.ndarray, " a"], positive: Bool[np.ndarray, "p k"]
) -> Float64[np.ndarray, " k"]:
    """The floor of retrieving every node: w(G) / w(all that the nodes hold); nan where w(G) = 0."""
    truth = weight @ _meant(holds, positive).astype(np.float64)
    whole = weight @ holds.any(0).astype(np.float64)
    return ratio(truth, np.where(truth > 0, whole, 0))


def random_iou(
    holds: Bool[np.ndarray, "p a"], weight: Float[np.ndarray, " a"], positive: Bool[np.ndarray, "p k"],
    thresholds: Float[np.ndarray, " t"] = THRESHOLDS,
) -> Float64[np.ndarray, "k t"]:
    """The floor of relevancies drawn evenly from 0..1: expected w(M_t ∩ G) over expected w(M_t ∪ G); nan where w(G) = 0.

    An atom that h nodes hold is missed with probability t^h. The ratio of expectations stands for the expected ratio,
    which has no closed form: equal at t = 0 and t = 1, in between up to .06 apart on the mean of a real object's queries,
    at its peak .003.
    """
    chance = 1 - thresholds[None] ** holds.sum(0)[:, None]
    meant = _meant(holds, positive).astype(np.float64)
    inside, outside = (side.T @ (weight[:, None] * chance) for side in (meant, 1 - meant))
    truth = (weight @ meant)[:, None]
    return ratio(inside, np.where(truth > 0, truth + outside, 0))


# ------------------------------------------------------------------ right and wrong nodes


def confusion(
    positive: Bool[np.ndarray, "p k"], relevancy: Float[np.ndarray, "p k"], thresholds: Float[np.ndarray, " t"] = THRESHOLDS,
    counted: Bool[np.ndarray, "p k"] | None = None,
) -> tuple[Int64[np.ndarray, "k t"], Int64[np.ndarray, "k t"], Int64[np.ndarray, "k t"]]:
    """(true positives, false positives, false negatives) among the counted nodes of every query; all count by default.

    Sum over queries (and objects) before `f1` for the micro average; `known_mean` of `f1` over queries for the macro one.
    """
    check(positive, relevancy)
    counted = np.ones_like(positive) if counted is None else counted
    step = steps_below(relevancy, thresholds)
    right = retrieved(step, (positive & counted).astype(np.float64), len(thresholds))
    wrong = retrieved(step, (~positive & counted).astype(np.float64), len(thresholds))
    tp, fp, fn = right[:, :-1], wrong[:, :-1], right[:, -1:] - right[:, :-1]
    return tp.astype(np.int64), fp.astype(np.int64), fn.astype(np.int64)


def f1(tp: Num[np.ndarray, "*b"], fp: Num[np.ndarray, "*b"], fn: Num[np.ndarray, "*b"]) -> Float64[np.ndarray, "*b"]:
    """2 TP / (2 TP + FP + FN); nan where a query means no counted node (TP + FN = 0), so that means leave it out."""
    truth = tp + fn
    return ratio(2 * tp, (tp + fp + truth) * (truth > 0))


def retrieve_all_f1(num_positive: float, num_nodes: float) -> float:
    """The floor of retrieving everything: 2 P / (P + N) of P positives among N counted (node, query) pairs; nan where P = 0."""
    return 2 * num_positive / (num_positive + num_nodes) if num_positive else float("nan")


def random_confusion(
    positive: Bool[np.ndarray, "p k"], thresholds: Float[np.ndarray, " t"] = THRESHOLDS, counted: Bool[np.ndarray, "p k"] | None = None
) -> tuple[Float64[np.ndarray, "k t"], Float64[np.ndarray, "k t"], Float64[np.ndarray, "k t"]]:
    """Expected (TP, FP, FN) of relevancies drawn evenly from 0..1: a node is retrieved with probability 1 - t."""
    counted = np.ones_like(positive) if counted is None else counted
    right, wrong = ((side & counted).sum(0)[:, None].astype(np.float64) for side in (positive, ~positive))
    return right * (1 - thresholds), wrong * (1 - thresholds), right * thresholds


# ------------------------------------------------------------------ rankings


def average_precision(
    positive: Bool[np.ndarray, "p k"], relevancy: Float[np.ndarray, "p k"], counted: Bool[np.ndarray, "p k"] | None = None
) -> Float64[np.ndarray, " k"]:
    """Mean over a query's positives of the precision once everything at least as relevant is retrieved; nan without positives.

    Nodes of equal relevancy enter together (as in scikit-learn's average_precision_score): their order does not matter,
    and relevancies that are all alike score the share of positives. No interpolation.
    """
    check(positive, relevancy)
    counted = np.ones_like(positive) if counted is None else counted
    order = np.argsort(np.where(counted, -relevancy.astype(np.float64), np.inf), axis=0, kind="stable")
    r, hit, in_rank = (np.take_along_axis(x, order, 0) for x in (relevancy, positive & counted, counted))
    last = np.concatenate([(r[1:] != r[:-1]) | ~in_rank[1:], np.ones((1, r.shape[1]), bool)])
    row = np.arange(len(r))[:, None]
    end = np.minimum.accumulate(np.where(last, row, len(r) - 1)[::-1], axis=0)[::-1]  # of the block of equals
    precision = np.take_along_axis(hit.cumsum(0) / np.maximum(in_rank.cumsum(0), 1), end, 0)
    return ratio((precision * hit).sum(0), hit.sum(0))


def wins(present: Float[np.ndarray, " a"], absent: Float[np.ndarray, " b"]) -> Float64[np.ndarray, " a"]:
    """How many absent parts each present one scores higher than; each that scores alike counts ½. By ranks: no pair is made."""
    ranked = np.sort(absent)
    return (np.searchsorted(ranked, present, "left") + np.searchsorted(ranked, present, "right")) / 2


def auroc(present: Float[np.ndarray, " a"], absent: Float[np.ndarray, " b"]) -> float:
    """The chance that a part that is there scores higher than one that is not; nan where there is none of a kind."""
    pairs = len(present) * len(absent)
    return float(wins(present, absent).sum() / pairs) if pairs else float("nan")


# ------------------------------------------------------------------ curves


def ratio(part: Num[np.ndarray, "*#b"], whole: Num[np.ndarray, "*#b"]) -> Float64[np.ndarray, "*b"]:
    """part / whole; nan where the whole is 0."""
    nothing = np.full(np.broadcast_shapes(np.shape(part), np.shape(whole)), np.nan)
    return np.divide(part, whole, out=nothing, where=np.asarray(whole) > 0)


def known_mean(values: Float[np.ndarray, "b *c"]) -> Float64[np.ndarray, "*c"]:
    """Mean over the first axis of what is not nan; nan where everything is."""
    known = ~np.isnan(values)
    return ratio(np.where(known, values, 0).sum(0, dtype=np.float64), known.sum(0))


def area_under(curve: Float[np.ndarray, "*b t"], thresholds: Float[np.ndarray, " t"] = THRESHOLDS) -> Float64[np.ndarray, "*b"]:
    """Integral of a curve of steps: every threshold's value holds up to the next one. The last value has no width."""
    return np.asarray(curve[..., :-1] @ np.diff(thresholds), np.float64)


def peak(curve: Float[np.ndarray, " t"], thresholds: Float[np.ndarray, " t"] = THRESHOLDS) -> tuple[float, float]:
    """(highest value, the lowest threshold that has it); nan, nan of a curve without values."""
    if np.isnan(curve).all():
        return float("nan"), float("nan")
    best = int(first_highest(curve[None])[0])
    return float(curve[best]), float(thresholds[best])


def first_highest(curves: Float[np.ndarray, "b t"]) -> Int64[np.ndarray, " b"]:
    """The first place where a curve is at its highest, nan apart, but for the noise of adding up (1e-12); 0 where all is nan."""
    known = np.where(np.isnan(curves), -np.inf, curves)
    return (known >= known.max(1, keepdims=True) - 1e-12).argmax(1)


def width(curve: Float[np.ndarray, " t"], thresholds: Float[np.ndarray, " t"] = THRESHOLDS, share: float = 0.9) -> float:
    """Length of the one interval around the peak in which the curve keeps at least that share of it; 0 of a curve that is 0 or nan.

    What lies apart from the peak does not count, so a curve that dips in between is as wide as its highest hill.
    """
    value, t = peak(curve, thresholds)
    if not value > 0:
        return 0.0
    low = np.flatnonzero(~(curve >= share * value))  # nan is low
    best = int(np.searchsorted(thresholds, t))
    first = low[low < best].max(initial=-1) + 1
    beyond = low[low > best].min(initial=len(curve) - 1)
    return float(thresholds[beyond] - thresholds[first])


def _highest(step: Int64[np.ndarray, "p k"], holds: Bool[np.ndarray, "p a"]) -> Int64[np.ndarray, "a k"]:
    """Of each atom the highest step among the nodes that hold it; 0 where none does."""
    atom, node = np.nonzero(holds.T)
    best = np.zeros((holds.shape[1], step.shape[1]), np.int64)
    if len(atom):
        starts = np.flatnonzero(np.diff(atom, prepend=-1))
        best[atom[starts]] = np.maximum.reduceat(step[node], starts, axis=0)
    return best


def _meant(holds: Bool[np.ndarray, "p a"], positive: Bool[np.ndarray, "p k"]) -> Bool[np.ndarray, "a k"]:
    """Whether an atom lies in G of a query."""
    return holds.T.astype(np.float32) @ positive.astype(np.float32) > 0
