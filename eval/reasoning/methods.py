"""Ways to fuse the regions of all views into labels of faces, and how right they are.

Notation
  f faces, k labels (queries).
Conventions
  `regions`: the views with their regions, of every query. A face has one label or none (-1), and none is wrong everywhere.
  The sums take the query of the largest score and leave unseen faces without a label; `robust` fills them, so both are measured
  on seen faces, too. Objects have faces that nobody can see, inside other parts: `seeable` leaves them out. `reasoning3d` answers one
  query at a time, and is measured as such: so is `robust-alone`.

  sum           pixels times confidence
  ggr, vs, both the same with Gaussian geodesic reweighting, with visibility smoothing, with both: SATR's scores on masks
  satr          both, on the boxes around the masks
  reasoning3d   both, above the mean over all faces, each query alone
  robust        votes over what was seen; every face gets the best query
  robust-tree   the same, knowing a part tree whose pieces respect the borders
  robust-alone  the same without a tree, each query alone
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64, Int, Int32

from eval.metrics.grounding import label_ious
from eval.metrics.retrieval import known_mean, ratio
from eval.reasoning.subjects import Subject
from semquery.fusion.evidence import ViewRegions, evidence_of
from semquery.fusion.fuse import FusionConfig, fuse
from semquery.fusion.graph import MeshGraph
from semquery.fusion.nodes import FaceTree
from semquery.fusion.published import largest, summed_scores

MethodName = Literal["sum", "ggr", "vs", "both", "satr", "reasoning3d", "robust", "robust-tree", "robust-alone"]
METHODS: tuple[MethodName, ...] = ("sum", "ggr", "vs", "both", "satr", "reasoning3d", "robust", "robust-tree", "robust-alone")
ALONE: tuple[MethodName, ...] = ("reasoning3d", "robust-alone")  # measured one query at a time
Regions = Mapping[str, Sequence[ViewRegions]]


@dataclass(frozen=True)
class Right:
    """How right one method is on one subject."""

    miou: float  # mean over labels of the IoU of their faces
    seeable: float  # the same on faces that can be seen from somewhere outside
    seen: float  # on faces that some view of this run shows
    area: float  # on all faces, by area
    accuracy: float  # share of the seen faces whose label is right; of methods that answer alone: mean over queries


def found_by(method: MethodName, graph: MeshGraph, subject: Subject, regions: Regions) -> Bool[np.ndarray, "k f"]:
    """The faces that a method finds for every query."""
    if method in ("sum", "ggr", "vs", "both"):
        evidence = [evidence_of(views, graph.num_faces) for views in regions.values()]
        scores = np.stack([summed_scores(graph, each, method in ("ggr", "both"), method in ("vs", "both")) for each in evidence])
        return largest(scores) == np.arange(len(scores))[:, None]
    modes = {"satr": FusionConfig("satr"), "reasoning3d": FusionConfig("reasoning3d", is_exclusive=False),
             "robust-alone": FusionConfig(is_exclusive=False)}
    tree = tree_of(subject) if method == "robust-tree" else None
    return np.stack([found.mask for found in fuse(graph, regions, modes.get(method, FusionConfig(is_complete=True)), tree)])


def tree_of(subject: Subject) -> FaceTree:
    """The pieces of a subject under one root."""
    num = int(subject.piece_of_face.max()) + 1
    return FaceTree(subject.piece_of_face, np.full(num + 1, num, np.int32))


def label_of(found: Bool[np.ndarray, "k f"]) -> Int32[np.ndarray, " f"]:
    """The label of each face, -1 where no query found it; the first of several."""
    return np.where(found.any(0), found.argmax(0), -1).astype(np.int32)


def measured(
    found: Bool[np.ndarray, "k f"], truth: Int[np.ndarray, " f"], seeable: Bool[np.ndarray, " f"], seen: Bool[np.ndarray, " f"],
    area: Float64[np.ndarray, " f"], alone: bool,
) -> Right:
    """How right what was found is; `alone`: each query's faces by themselves, which may overlap."""
    weights = (np.ones(len(area)), seeable.astype(float), seen.astype(float), area)
    meant, label = truth == np.arange(len(found))[:, None], label_of(found)
    ious = [_mask_ious(found, meant, weight) if alone else label_ious(label, truth, len(found), weight) for weight in weights]
    is_right = found == meant if alone else label == truth
    return Right(*(float(known_mean(iou)) for iou in ious), float(is_right[..., seen].mean()))


def _mask_ious(
    found: Bool[np.ndarray, "k f"], meant: Bool[np.ndarray, "k f"], weight: Float64[np.ndarray, " f"]
) -> Float64[np.ndarray, " k"]:
    """IoU by weight of each query's faces; nan where nothing that weighs is meant."""
    return ratio((found & meant) @ weight, np.where(meant @ weight > 0, (found | meant) @ weight, 0))
