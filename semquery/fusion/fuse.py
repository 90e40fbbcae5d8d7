"""Regions on views of a mesh become its faces: the modes, and the record of what was found and who said so.

Notation
  v views, q queries, f faces.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64
from scipy.sparse import csr_matrix

from semquery.fusion.evidence import Evidence, ViewRegions, evidence_of, visible
from semquery.fusion.fill import nearest_known
from semquery.fusion.graph import MeshGraph
from semquery.fusion.nodes import PURITY, FaceTree, best_node, nodes_of, snapped
from semquery.fusion.published import UNKNOWN, above_mean, boxed, largest, summed_scores
from semquery.fusion.said import ViewSaid, said_by_views
from semquery.fusion.smoothing import STEPS
from semquery.fusion.votes import POWER, Votes, votes_of

Mode = Literal["robust", "reasoning3d", "satr", "sum"]


@dataclass(frozen=True)
class FusionConfig:
    """How what the views say becomes faces."""

    mode: Mode = "robust"
    """robust: votes over what was seen, weighted by how far views agree. reasoning3d, satr: as published. sum: pixels times confidence."""
    threshold: float = 0.5
    """robust: a face belongs to what was asked for from this share of the votes on."""
    steps: int = STEPS
    """Smoothing looks at faces so many shared edges away; 0 for none."""
    power: float = POWER
    """robust: how sharply views whose embeddings disagree are left out; 1 is MLLM-For3D's weight."""
    purity: float = PURITY
    """robust, with a part tree: a part follows its votes as a whole if this share of them agrees. Above 1: never."""
    is_exclusive: bool = True
    """Of several queries, a face answers at most the best; otherwise each query is answered by itself."""
    is_complete: bool = False
    """robust and exclusive: every face answers one of the queries."""

    def __post_init__(self) -> None:
        if not 0 <= self.threshold < 1 or self.steps < 0 or not self.power > 0 or not self.purity > 0.5:
            raise ValueError(f"Expected a threshold from 0 to 1, steps ≥ 0, a power above 0 and a purity above 0.5; got {self.threshold:g}, "
                             f"{self.steps}, {self.power:g} and {self.purity:g}.")


@dataclass(frozen=True)
class Found:
    """What answers one query."""

    query: str
    scores: Float64[np.ndarray, " f"]  # robust: share of the votes, 0..1; as published: unnormalised
    mask: Bool[np.ndarray, " f"]
    views: tuple[ViewSaid, ...]
    explanation: str  # what the view said that is believed most
    nodes: tuple[int, ...] = ()  # with a part tree: the highest parts that lie in the mask as a whole
    node: int = -1  # the part that overlaps the mask best
    node_iou: float = 0.0

    @property
    def dissenting(self) -> tuple[str, ...]:
        """Views that were asked and see it otherwise."""
        return tuple(each.view for each in self.views if each.dissent)


def fuse(
    graph: MeshGraph, asked: Mapping[str, Sequence[ViewRegions]], config: FusionConfig = FusionConfig(), tree: FaceTree | None = None
) -> tuple[Found, ...]:
    """What answers each query. All queries are about the same views, in the same order; a view that failed for one may have an answer for another.

    Raises ValueError for no query, no view, other views from query to query, and a tree of another mesh.
    """
    views = _checked(graph, asked, tree)
    if config.mode == "satr":
        asked = {query: boxed(each) for query, each in asked.items()}
    seen = visible(views, graph.num_faces)
    evidence = [evidence_of(each, graph.num_faces) for each in asked.values()]
    answered = np.array([[not view.failed for view in each] for each in asked.values()])
    if config.mode == "robust":
        scores, masks, of_view, of_region = _robust(graph, evidence, seen, answered, config, tree)
    else:
        scores, masks = _published(graph, evidence, config)
        of_region = [each.score for each in evidence]
        of_view = [_best(each, seen.shape[0]) for each in evidence]
    return tuple(
        _found(graph, query, each, seen, scores[k], masks[k], of_view[k], of_region[k], asked[query], tree)
        for k, (query, each) in enumerate(zip(asked, evidence, strict=True))
    )


def _found(graph: MeshGraph, query: str, evidence: Evidence, seen: csr_matrix, scores, mask, of_view, of_region, views, tree) -> Found:
    said = said_by_views(evidence, seen, mask, of_view, of_region, views)
    texts = sorted((each for each in said if each.text), key=lambda each: -each.weight)
    explanation = next((each.text for each in texts if not each.dissent), texts[0].text if texts else "")
    if tree is None:
        return Found(query, scores, mask, said, explanation)
    node, iou = best_node(mask, graph.area, tree)
    return Found(query, scores, mask, said, explanation, nodes_of(mask, graph.area, tree), node, iou)


def _published(graph: MeshGraph, evidence: Sequence[Evidence], config: FusionConfig) -> tuple[Float64[np.ndarray, "q f"], Bool[np.ndarray, "q f"]]:
    is_weighted = config.mode != "sum"
    scores = np.stack([summed_scores(graph, each, is_weighted, is_weighted, config.steps) for each in evidence])
    masks = above_mean(scores) if config.mode == "reasoning3d" else scores >= UNKNOWN
    if config.is_exclusive:
        masks = masks & (largest(scores) == np.arange(len(scores))[:, None])
    return scores, masks


def _robust(
    graph: MeshGraph, evidence: Sequence[Evidence], seen: csr_matrix, answered: Bool[np.ndarray, "q v"], config: FusionConfig, tree: FaceTree | None
) -> tuple[Float64[np.ndarray, "q f"], Bool[np.ndarray, "q f"], list[Float64[np.ndarray, " v"]], list[Float64[np.ndarray, " r"]]]:
    votes = votes_of(graph, evidence, seen, config.power, config.steps, is_contested=config.is_exclusive)
    if config.is_exclusive and len(votes) > 1:
        scores, masks = _shared_out(graph, votes, answered.any(0) @ seen, config, tree)
    else:
        alone = [_shared_out(graph, (each,), heard @ seen, config, tree) for each, heard in zip(votes, answered, strict=True)]
        scores, masks = np.concatenate([each for each, _ in alone]), np.concatenate([each for _, each in alone])
    return scores, masks, [each.of_view for each in votes], [each.of_region for each in votes]


def _shared_out(
    graph: MeshGraph, votes: Sequence[Votes], pixels: Float64[np.ndarray, " f"], config: FusionConfig, tree: FaceTree | None
) -> tuple[Float64[np.ndarray, "q f"], Bool[np.ndarray, "q f"]]:
    """Faces to queries by s, where p is above the threshold; then whole parts; then what was not seen."""
    p, s = np.stack([each.p for each in votes]), np.stack([each.s for each in votes])
    best = s.argmax(0)
    is_complete = config.is_complete and len(votes) > 1
    is_told = s.max(0) > 0 if is_complete else pixels > 0
    enough = s.max(0) > 0 if is_complete else p[best, np.arange(len(best))] > config.threshold
    label = np.where(enough, best, -1).astype(np.int32)
    weight = np.where(is_told, pixels, 0)
    if tree is not None:
        label = snapped(label, weight, len(votes), tree, config.purity)
        is_told = is_told | (label >= 0)
    if is_told.any() and not (is_complete and not enough.any()):
        near = nearest_known(graph, is_told)
        label, p = label[near], p[:, near]
    return p, label == np.arange(len(votes))[:, None]


def _best(evidence: Evidence, num_views: int) -> Float64[np.ndarray, " v"]:
    """The score of the best region of each view."""
    found = np.zeros(num_views)
    np.maximum.at(found, evidence.view, evidence.score)
    return found


def _checked(graph: MeshGraph, asked: Mapping[str, Sequence[ViewRegions]], tree: FaceTree | None) -> Sequence[ViewRegions]:
    if not asked or any(not query.strip() for query in asked):
        raise ValueError("There is nothing asked for: give a query in words.")
    first, *others = asked.values()
    if not first:
        raise ValueError("There are no views to fuse: give at least one.")
    for each in others:
        if [view.name for view in each] != [view.name for view in first]:
            raise ValueError("All queries must be about the same views, in the same order.")
    if tree is not None and len(tree.part_of_face) != graph.num_faces:
        raise ValueError(f"The part tree is of a mesh of {len(tree.part_of_face)} faces; this one has {graph.num_faces}.")
    return first
