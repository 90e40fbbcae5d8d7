"""How well queries are answered by sets of points: overlaps, shares above a threshold, and their means.

Notation
  q queries, s scenes; of a query I is what was found and meant, U what was found or meant, in points.
Conventions
  Points count alike: the sets that are scored are laid out so (vertices of a scan), and nothing is weighted by area.
  Every query counts, also one that was answered with nothing.
  acc@k  share of queries with I/U > k, strictly (Reason3D, SegPoint, MLLM-For3D: Acc@0.25, Acc@0.5).
  mIoU   mean of Reason3D's I / (U + 1e-6); where nothing is meant and nothing found that is 0.
  gIoU   mean of I/U with 1 where nothing is meant and nothing found (LISA).
  cIoU   ΣI / ΣU over all queries: large targets weigh more (LISA); nan where all U are 0.
  acc@k takes the I/U of gIoU, so a query that means nothing and found nothing is right.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Int64, Shaped

from eval.metrics.resampling import Bounds, ratio_interval
from eval.metrics.retrieval import ratio

REASON3D_EPSILON = 1e-6
LEVELS = (0.25, 0.5)


@dataclass(frozen=True)
class Overlaps:
    """What was counted of every query."""

    intersection: Int64[np.ndarray, " q"]
    union: Int64[np.ndarray, " q"]

    def __post_init__(self) -> None:
        if self.intersection.shape != self.union.shape:
            raise ValueError(f"{len(self.intersection)} intersections and {len(self.union)} unions; give one of each for every query.")
        if ((self.intersection < 0) | (self.intersection > self.union)).any():
            raise ValueError("An intersection is negative or larger than its union; count both on the same points.")

    def of(self, chosen: Bool[np.ndarray, " q"]) -> "Overlaps":
        """Those of some queries."""
        return Overlaps(self.intersection[chosen], self.union[chosen])


@dataclass(frozen=True)
class Grounding:
    """The numbers of one set of queries; nan where there is none."""

    num: int
    acc25: float
    acc50: float
    miou: float
    giou: float
    ciou: float


def overlap(found: Bool[np.ndarray, " n"], meant: Bool[np.ndarray, " n"]) -> tuple[int, int]:
    """(I, U) of one query. Raises ValueError where the masks are not of the same points."""
    if found.shape != meant.shape:
        raise ValueError(f"{len(found)} points were answered and {len(meant)} are true; give a mask over the scene's points.")
    return int((found & meant).sum()), int((found | meant).sum())


def overlaps(pairs: list[tuple[int, int]]) -> Overlaps:
    """The (I, U) of many queries together."""
    table = np.array(pairs, np.int64).reshape(-1, 2)
    return Overlaps(table[:, 0], table[:, 1])


def reason3d_iou(counts: Overlaps) -> Float64[np.ndarray, " q"]:
    """I / (U + 1e-6) of every query, as Reason3D's evaluator has it."""
    return counts.intersection / (counts.union + REASON3D_EPSILON)


def whole_iou(counts: Overlaps) -> Float64[np.ndarray, " q"]:
    """I / U of every query; 1 where nothing is meant and nothing found."""
    return np.where(counts.union > 0, counts.intersection / np.maximum(counts.union, 1), 1.0)


def accuracy(iou: Float[np.ndarray, " q"], level: float) -> float:
    """Share of queries strictly above the level; nan without queries."""
    return float((iou > level).mean()) if len(iou) else float("nan")


def grounding(counts: Overlaps) -> Grounding:
    """All numbers of a set of queries."""
    iou = whole_iou(counts)
    low, high = (accuracy(iou, level) for level in LEVELS)
    means = (float(x.mean()) if len(x) else float("nan") for x in (reason3d_iou(counts), iou))
    return Grounding(len(iou), low, high, *means, float(ratio(counts.intersection.sum(), counts.union.sum())))


def miou_interval(counts: Overlaps, scene: Shaped[np.ndarray, " q"]) -> Bounds:
    """(mIoU, low, high): 95 % bootstrap over scenes, since queries of one scene are no independent samples."""
    _, place = np.unique(scene, return_inverse=True)
    num = int(place.max(initial=-1)) + 1
    total = np.bincount(place, reason3d_iou(counts), num)
    return ratio_interval(total, np.bincount(place, minlength=num))


# ------------------------------------------------------------------ labels on elements


def label_ious(
    found: Int[np.ndarray, " n"], meant: Int[np.ndarray, " n"], num_labels: int, weight: Float[np.ndarray, " n"] | None = None
) -> Float64[np.ndarray, " k"]:
    """IoU of every label 0..k-1 that occurs in `meant`, nan of the others; -1 is no label and matches none.

    Elements (vertices, faces) count alike, or by their weight.
    """
    weight = np.ones(len(meant)) if weight is None else weight
    right = np.bincount(meant[found == meant] + 1, weight[found == meant], num_labels + 1)[1:]
    of_meant, of_found = (np.bincount(x + 1, weight, num_labels + 1)[1:] for x in (meant, found))
    return ratio(right, np.where(of_meant > 0, of_meant + of_found - right, 0))
