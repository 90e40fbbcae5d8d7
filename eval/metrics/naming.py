"""How right the names of a tree's nodes are: one by one, along paths, and what a wrong parent does to its children.

Notation
  p nodes of one tree, k queries (the tree's distinct names), l levels, b bins, d anything.
  `right` says of every node whether its name is right; a tree comes as `parents`, the root last and its own parent.
Conventions
  The root counts as a node like any other unless it says so. Names are compared as they are: normalise them before.
  An empty name is no name: never right, never a repetition. Counts are returned where objects are to be pooled;
  add them up and divide once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Int64, Num

from eval.metrics.retrieval import check, ratio


def top1(relevancy: Float[np.ndarray, "p k"], positive: Bool[np.ndarray, "p k"]) -> Bool[np.ndarray, " p"]:
    """Whether a node's own name is strictly more relevant to it than every other name; a node of relevancy 0 is wrong."""
    own, rival = _own_and_rivals(relevancy, positive)
    return own > rival.max(1, initial=0)


def reciprocal_rank(relevancy: Float[np.ndarray, "p k"], positive: Bool[np.ndarray, "p k"]) -> Float64[np.ndarray, " p"]:
    """1 / place of a node's own name among all names, behind those it ties with; 0 where its relevancy is 0. 1 exactly where top1."""
    own, rival = _own_and_rivals(relevancy, positive)
    return np.where(own > 0, 1 / (1 + (rival >= own[:, None]).sum(1)), 0.0)


def path_right(right: Bool[np.ndarray, " p"], parents: Int[np.ndarray, " p"]) -> Bool[np.ndarray, " p"]:
    """Whether a node and all its ancestors, the root among them, are right."""
    path = right.copy()
    for node in range(len(parents) - 2, -1, -1):
        path[node] &= path[parents[node]]
    return path


def accuracy_by_depth(
    right: Bool[np.ndarray, " p"], depth: Int[np.ndarray, " p"]
) -> tuple[Float64[np.ndarray, " l"], Int64[np.ndarray, " l"]]:
    """(share of right names, number of nodes) of depth 0 (the root), 1, …; nan for a depth without nodes.

    Nodes of many objects may be given at once, with their `eval.metrics.depths`.
    """
    number = np.bincount(depth)
    return ratio(np.bincount(depth, right.astype(np.float64)), number), number.astype(np.int64)


# ------------------------------------------------------------------ names along the tree


def hierarchical_prf(
    said: Sequence[str], true: Sequence[str], parents: Int[np.ndarray, " p"], root: bool = True
) -> tuple[int, int, int]:
    """Σ over nodes of (|Ŝ ∩ T̂|, |Ŝ|, |T̂|): Ŝ the names said of a node and its ancestors, T̂ the true ones, as sets.

    Kiritchenko, Matwin, Nock and Famili, "Learning and evaluation in the presence of class hierarchies", 2006. They leave
    the root out because everything belongs to it; here it has to be named, so it counts unless `root` is False.
    Add the three up over objects; `precision_recall_f` makes numbers of them.
    """
    if not len(said) == len(true) == len(parents):
        raise ValueError(f"{len(said)} names are said and {len(true)} true of a tree of {len(parents)} nodes; give one of each a node.")
    said_of, true_of = (_with_ancestors(names, parents, root) for names in (said, true))
    last = len(parents) if root else len(parents) - 1
    shared = sum(len(s & t) for s, t in zip(said_of[:last], true_of[:last], strict=True))
    return shared, sum(map(len, said_of[:last])), sum(map(len, true_of[:last]))


def precision_recall_f(shared: float, said: float, true: float) -> tuple[float, float, float]:
    """(shared / said, shared / true, their harmonic mean = 2 shared / (said + true)); nan where the denominator is 0."""
    return tuple(float(a / b) if b else float("nan") for a, b in ((shared, said), (shared, true), (2 * shared, said + true)))


def parent_repeats(said: Sequence[str], true: Sequence[str], parents: Int[np.ndarray, " p"]) -> tuple[int, int]:
    """(nodes that were given their parent's name, nodes whose true name is not their parent's); the second counts the first's chances."""
    able = [v for v in range(len(parents) - 1) if true[v] != true[parents[v]]]
    return sum(said[v] != "" and said[v] == said[parents[v]] for v in able), len(able)


# ------------------------------------------------------------------ a wrong parent


def propagation_counts(right: Bool[np.ndarray, " p"], parents: Int[np.ndarray, " p"]) -> Int64[np.ndarray, "2 2"]:
    """Nodes below the root by (parent is right, node is right), 0 = wrong; add them up over objects."""
    parent, node = right[parents[:-1]].astype(np.int64), right[:-1]
    return np.bincount(2 * parent + node, minlength=4).reshape(2, 2).astype(np.int64)


def propagation(counts: Num[np.ndarray, "*d 2 2"]) -> Float64[np.ndarray, "*d"]:
    """P(wrong | parent wrong) - P(wrong | parent right): 0 where errors do not spread; nan where a kind of parent is missing."""
    wrong = ratio(counts[..., 0], counts.sum(-1))
    return np.asarray(wrong[..., 0] - wrong[..., 1])


def recovery(counts: Num[np.ndarray, "*d 2 2"]) -> Float64[np.ndarray, "*d"]:
    """P(right | parent wrong); nan where no parent is wrong."""
    return np.asarray(ratio(counts[..., 1], counts.sum(-1))[..., 0])


def simulated(
    parents: Int[np.ndarray, " p"], right_below_right: float, right_below_wrong: float, rng: np.random.Generator
) -> Bool[np.ndarray, " p"]:
    """Which names a labeller of known errors gets right: with one chance below a right parent, with another below a wrong one.

    The root has the first chance. `propagation` of many such trees tends to right_below_right - right_below_wrong.
    """
    if not (0 <= right_below_right <= 1 and 0 <= right_below_wrong <= 1):
        raise ValueError(f"Expected chances within 0..1, got {right_below_right} and {right_below_wrong}.")
    lot = rng.random(len(parents))
    right = lot < right_below_right
    for node in range(len(parents) - 2, -1, -1):
        if not right[parents[node]]:
            right[node] = lot[node] < right_below_wrong
    return right


# ------------------------------------------------------------------ calibration


@dataclass(frozen=True)
class Calibration:
    """What became of stated probabilities, in bins of equal width over 0..1."""

    error: float  # expected calibration error; nan without values
    count: Int64[np.ndarray, " b"]
    stated: Float64[np.ndarray, " b"]  # mean probability; nan in an empty bin
    found: Float64[np.ndarray, " b"]  # share that came true; nan in an empty bin


def calibration(probability: Float[np.ndarray, " d"], outcome: Bool[np.ndarray, " d"], bins: int = 10) -> Calibration:
    """Σ over bins of their share of the values × |mean probability - share that came true|, and the bins themselves.

    The last bin holds 1. Naeini, Cooper and Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning", 2015.
    """
    if bins < 1 or not ((probability >= 0) & (probability <= 1)).all():
        lowest, highest = probability.min(initial=1), probability.max(initial=0)
        raise ValueError(f"Expected bins ≥ 1 and probabilities within 0..1, got {bins} and {lowest}..{highest}.")
    place = np.searchsorted(np.arange(bins) / bins, probability.astype(np.float64), side="right") - 1
    count = np.bincount(place, minlength=bins).astype(np.int64)
    stated, found = (ratio(np.bincount(place, values.astype(np.float64), bins), count) for values in (probability, outcome))
    error = float(np.nansum(np.abs(stated - found) * count) / count.sum()) if len(probability) else float("nan")
    return Calibration(error, count, stated, found)


def _own_and_rivals(
    relevancy: Float[np.ndarray, "p k"], positive: Bool[np.ndarray, "p k"]
) -> tuple[Float64[np.ndarray, " p"], Float64[np.ndarray, "p k"]]:
    """A node's relevancy for the best of its own names, and for the others; -inf where it has none."""
    check(positive, relevancy)
    r = relevancy.astype(np.float64)
    return np.where(positive, r, -np.inf).max(1, initial=-np.inf), np.where(positive, -np.inf, r)


def _with_ancestors(names: Sequence[str], parents: Int[np.ndarray, " p"], root: bool) -> list[frozenset[str]]:
    """Of every node the set of its name and its ancestors' names, empty ones left out."""
    top = len(parents) - 1
    sets = [frozenset({name} - {""}) if root or node < top else frozenset() for node, name in enumerate(names)]
    for node in range(top - 1, -1, -1):
        sets[node] |= sets[parents[node]]
    return sets
