"""One record to numbers: overlap, right and wrong nodes and rankings in every variant, names, calibration, and what to break down by.

Notation
  t thresholds, k queries (the object's distinct names), p nodes, a atoms, b bins of calibration.
Conventions
  What objects are pooled by is kept small: curves, counts and one number a query or node; relevancies are dropped.
  A query whose nodes have no measure (no area, no point) has no overlap; a name without a node to compare with has none either.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int, Int64

from eval.metrics import depths
from eval.metrics.naming import (
    Calibration,
    calibration,
    hierarchical_prf,
    parent_repeats,
    path_right,
    propagation_counts,
    reciprocal_rank,
    top1,
)
from eval.metrics.retrieval import (
    THRESHOLDS,
    auroc,
    average_precision,
    confusion,
    f1,
    iou_curves,
    known_mean,
    random_confusion,
    random_iou,
    retrieve_all_iou,
)
from eval.partnet.numbers.variants import Chosen, asked_for, chosen
from eval.partnet.records import Cost, Record, Said, normalised

NAN = float("nan")


@dataclass(frozen=True)
class Retrieval:
    """How well one method's queries of one variant find their parts."""

    num_nodes: int
    num_queries: int
    num_measured: int  # queries with an overlap
    iou: Float64[np.ndarray, " t"]  # mean over measured queries
    counts: Int64[np.ndarray, "3 t"]  # TP, FP, FN of all queries
    f1_sum: Float64[np.ndarray, " t"]  # over the queries that have one
    num_f1: int
    precision_sum: float  # of average precisions, over the queries that have one
    num_precision: int

    @property
    def average_precision(self) -> float:
        return self.precision_sum / self.num_precision if self.num_precision else NAN


@dataclass(frozen=True)
class Floors:
    """What doing nothing gives in one variant, in closed form."""

    num_measured: int
    all_iou: float  # mean over queries
    random_iou: Float64[np.ndarray, " t"]
    all_counts: Int64[np.ndarray, " 3"]  # TP, FP, FN
    random_counts: Float64[np.ndarray, "3 t"]  # expected


@dataclass(frozen=True)
class Naming:
    """What one method calls the nodes."""

    right: Bool[np.ndarray, " p"]  # the node's own name is the most relevant one
    path: Bool[np.ndarray, " p"]
    reciprocal_rank: Float64[np.ndarray, " p"]
    hierarchical: tuple[int, int, int]  # shared, said, true
    counts: Int64[np.ndarray, "2 2"]  # parent wrong or right × node wrong or right
    exact: Bool[np.ndarray, " p"] | None  # the name as said is the true one; None for methods that say no names
    synonym: Bool[np.ndarray, " p"] | None  # … or one of its synonyms is
    repeats: tuple[int, int] | None  # nodes with their parent's name though it is not theirs, and nodes that could


@dataclass(frozen=True)
class MeasuredMethod:
    """One method on one object."""

    retrieval: Mapping[str, Retrieval | None]  # by variant; None where it was not asked
    query_iou: Float32[np.ndarray, "k t"]  # paper variant
    naming: Naming
    present: Float64[np.ndarray, " k"]  # best relevancy of any node for each name it has
    absent: Float64[np.ndarray, " _"]  # … and for each it has not
    relevancy: Calibration
    confidence: Calibration | None
    cost: Cost

    @property
    def auroc(self) -> float:
        return auroc(self.present, self.absent)


@dataclass(frozen=True)
class Measured:
    """One object: what it is like, its floors, and every method's numbers."""

    id: str
    category: str
    model: str
    format: str
    notes: tuple[str, ...]
    seconds: float
    parents: Int[np.ndarray, " p"]
    depth: Int64[np.ndarray, " p"]
    share: Float64[np.ndarray, " p"]  # of the whole's weight
    repeated: Bool[np.ndarray, " p"]  # another node has the same name
    pixels: Int64[np.ndarray, " p"]
    query_share: Float64[np.ndarray, " k"]  # of all that a name means
    positive: Bool[np.ndarray, "p k"]
    floors: Mapping[str, Floors]
    methods: Mapping[str, MeasuredMethod]


def weight_of(record: Record, domain: str) -> Float64[np.ndarray, " a"]:
    """How much each atom counts. Raises ValueError for points where the data set has no sample of the object."""
    if domain == "area":
        return record.area
    if len(record.points) != record.holds.shape[1]:
        raise ValueError(f"{record.id} comes without a sample of points; measure by --domain area, or leave it out.")
    return record.points.astype(np.float64)


def measure(record: Record, methods: Sequence[str], domain: str = "area") -> Measured:
    """Every number of one record that objects are pooled by. Raises ValueError as `weight_of`, and for methods it does not hold."""
    if lacking := [name for name in methods if name not in record.said]:
        raise ValueError(f"The record of {record.id} holds no {', '.join(lacking)}; run the evaluation with them first.")
    weight, variants = weight_of(record, domain), chosen(record)
    positive = asked_for(record, "name").positive
    whole = weight @ record.holds.any(0) or 1.0
    meant = record.holds.T.astype(np.float32) @ positive.astype(np.float32) > 0
    return Measured(
        id=record.id, category=record.category, model=record.model, format=record.format, notes=record.notes, seconds=record.seconds,
        parents=record.parents, depth=depths(record.parents).astype(np.int64), share=record.holds @ weight / whole,
        repeated=(positive & (positive.sum(0) > 1)).any(1), pixels=record.pixels, query_share=weight @ meant / whole, positive=positive,
        floors={name: floors(record.holds, weight, pick) for name, pick in variants.items()},
        methods={name: _method(record, record.said[name], weight, variants) for name in methods},
    )


def _method(record: Record, said: Said, weight: Float64[np.ndarray, " a"], variants: Mapping[str, Chosen]) -> MeasuredMethod:
    asked = asked_for(record, "name")
    relevancy, positive = said.relevancy["name"], asked.positive
    query_iou = iou_curves(record.holds, weight, positive, relevancy)
    names = naming(record, said, relevancy, positive, asked.texts)
    none = np.zeros((len(positive), 0), np.float32)
    return MeasuredMethod(
        retrieval={name: retrieval(record.holds, weight, pick, said) for name, pick in variants.items()},
        query_iou=query_iou.astype(np.float32), naming=names,
        present=relevancy.max(0).astype(np.float64), absent=said.relevancy.get("absent", none).max(0).astype(np.float64),
        relevancy=calibration(relevancy.reshape(-1), positive.reshape(-1)),
        confidence=calibration(np.array(said.confidence), names.right) if said.confidence else None, cost=said.cost,
    )


def retrieval(holds: Bool[np.ndarray, "p a"], weight: Float64[np.ndarray, " a"], pick: Chosen, said: Said) -> Retrieval | None:
    """One method's queries of one variant; None where it was not asked them."""
    relevancy = pick.relevancy(said)
    if relevancy is None:
        return None
    iou = iou_curves(holds[pick.nodes], weight, pick.positive, relevancy)
    counts = np.stack(confusion(pick.positive, relevancy, counted=pick.counted))  # [3 k t]
    of_query = f1(*counts)
    precision = average_precision(pick.positive, relevancy, pick.counted)
    return Retrieval(
        num_nodes=len(pick.nodes), num_queries=len(pick.queries), num_measured=int((~np.isnan(iou[:, 0])).sum()), iou=known_mean(iou),
        counts=counts.sum(1), f1_sum=np.nansum(of_query, 0), num_f1=int((~np.isnan(of_query[:, 0])).sum()),
        precision_sum=float(np.nansum(precision)), num_precision=int((~np.isnan(precision)).sum()),
    )


def floors(holds: Bool[np.ndarray, "p a"], weight: Float64[np.ndarray, " a"], pick: Chosen) -> Floors:
    """What retrieving every node, and relevancies by lot, would give."""
    kept = holds[pick.nodes]
    everything = retrieve_all_iou(kept, weight, pick.positive)
    right, wrong = int((pick.positive & pick.counted).sum()), int((~pick.positive & pick.counted).sum())
    return Floors(
        num_measured=int((~np.isnan(everything)).sum()), all_iou=float(known_mean(everything)),
        random_iou=known_mean(random_iou(kept, weight, pick.positive)), all_counts=np.array([right, wrong, 0]),
        random_counts=np.stack(random_confusion(pick.positive, THRESHOLDS, pick.counted)).sum(1),
    )


# ------------------------------------------------------------------ names


def naming(
    record: Record, said: Said, relevancy: Float32[np.ndarray, "p k"], positive: Bool[np.ndarray, "p k"], texts: Sequence[str]
) -> Naming:
    """What a method calls the nodes: by the most relevant of the object's names, and by the words it said."""
    right = top1(relevancy, positive)
    best = relevancy.max(1, initial=0)
    clear = (best > 0) & ((relevancy == best[:, None]).sum(1) == 1)
    called = [texts[k] if sure else "" for k, sure in zip(relevancy.argmax(1), clear, strict=True)] if len(texts) else [""] * len(right)
    said_names = [normalised(name) for name in said.names]
    exact = np.array([name == true for name, true in zip(said_names, record.names, strict=True)], bool) if said_names else None
    return Naming(
        right=right, path=path_right(right, record.parents), reciprocal_rank=reciprocal_rank(relevancy, positive),
        hierarchical=hierarchical_prf(called, record.names, record.parents), counts=propagation_counts(right, record.parents),
        exact=exact, synonym=None if exact is None else exact | _by_synonym(said, record.names),
        repeats=parent_repeats(said_names, record.names, record.parents) if said_names else None,
    )


def _by_synonym(said: Said, names: Sequence[str]) -> Bool[np.ndarray, " p"]:
    """Whether a node's true name is among the synonyms it was given."""
    if not said.synonyms:
        return np.zeros(len(names), bool)
    return np.array([true in map(normalised, words) for true, words in zip(names, said.synonyms, strict=True)], bool)


# ------------------------------------------------------------------ groups to break numbers down by

SIZES = ((0.001, "< 0.1 %"), (0.01, "0.1–1 %"), (0.1, "1–10 %"), (np.inf, "> 10 %"))  # of the whole's weight
PIXELS = ((1, "0"), (16, "1–15"), (64, "16–63"), (256, "64–255"), (np.inf, "≥ 256"))  # in the best view of the survey


def binned(values: Float64[np.ndarray, " b"] | Int64[np.ndarray, " b"], bins: Sequence[tuple[float, str]]) -> list[str]:
    """The name of the first bin whose end lies above each value."""
    place = np.searchsorted([end for end, _ in bins], values, side="right")
    return [bins[k][1] for k in place]


def groups_of_nodes(thing: Measured) -> dict[str, list[str]]:
    """Under which key of every breakdown each node falls."""
    return _groups(thing, thing.depth, thing.share, thing.repeated, thing.pixels)


def groups_of_queries(thing: Measured) -> dict[str, list[str]]:
    """The same of each query: the least depth and the most pixels of any node it means, and the size of all of them."""
    def over(values: np.ndarray, reduce: Callable, start: float) -> np.ndarray:
        return reduce(np.where(thing.positive, values[:, None], start), axis=0)
    return _groups(thing, over(thing.depth, np.min, 10 ** 6), thing.query_share, thing.positive.sum(0) > 1, over(thing.pixels, np.max, 0))


def _groups(thing: Measured, depth: np.ndarray, share: np.ndarray, repeated: np.ndarray, pixels: np.ndarray) -> dict[str, list[str]]:
    return {
        "category": [thing.category] * len(depth), "depth": [str(int(level)) for level in depth], "size": binned(share, SIZES),
        "repeated": ["several" if several else "single" for several in repeated], "pixels": binned(pixels, PIXELS),
    }
