"""Robust scores: the share of the pixels in which a face was seen that were said to be the part, views weighing as far as they agree.

    p(f) = Σ_i ω_i m_i r⁺_i  /  Σ_i ω_i (m_i r⁺_i + (vis_i − m_i) r⁻_i)         s(f) = Σ_i ω_i m_i r⁺_i / Σ_i ω_i vis_i

Notation
  v views, r regions, f faces; i a view.
  vis pixels of a face in a view, m those of them that a region holds, ω the weight of the view.
  r⁺ share of the faces around that the view takes for the part, r⁻ share that it sees and does not take for it.
Conventions
  p is for one query by itself: with exact masks it is 0 or 1, however thin the part. s compares queries: where masks of neighbours
  overlap, the one whose inside the face is in wins. Views without a region say that what is asked for is not visible, or have missed it:
  they count only for faces that no view with a region sees.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64
from scipy.sparse import csr_matrix, diags, vstack

from semquery.attention import consensus, contested_attention
from semquery.fusion.evidence import Evidence
from semquery.fusion.geodesics import geodesic_weights
from semquery.fusion.graph import MeshGraph
from semquery.fusion.smoothing import STEPS, counts_around

POWER = 8.0  # of the token attention; the published 1 is too soft against views that answer with another part
WIDTH = 3.0  # of the Gaussian on boxes, deviations: the published 1 helps large parts and harms small ones, 3 helps the one and spares the other


@dataclass(frozen=True)
class Votes:
    """What the views say of every face, for one query."""

    p: Float64[np.ndarray, " f"]  # 0..1; 0 where nothing is known
    s: Float64[np.ndarray, " f"]  # 0..1, at most p
    is_known: Bool[np.ndarray, " f"]  # some view with a region sees it
    of_view: Float64[np.ndarray, " v"]  # weight of each view, the largest is 1; 0 for views without a region
    of_region: Float64[np.ndarray, " r"]  # the same of each region


def region_weights(queries: Sequence[Evidence], seen: csr_matrix, power: float = POWER, is_contested: bool = True) -> list[Float64[np.ndarray, " _"]]:
    """How much each region of each query is believed, the largest is 1: consensus of the views' masks, times the token attention of the
    regions where all of a query have embeddings of one length, times their scores where not.

    Either alone leaves some wrong views in. The root of the consensus, the overlap itself, is sharp enough: a view that sees little of a part
    overlaps little with the others, and is right all the same. `is_contested`: a region that means another of the queries is not believed.
    """
    found = []
    for evidence, meant in zip(queries, _meant(queries, power, is_contested), strict=True):
        weights = meant * _agreeing(evidence, seen)[evidence.view]
        weights = weights if weights.any() else meant
        found.append(weights / weights.max(initial=0) if weights.any() else np.ones(evidence.num_regions))
    return found


def _meant(queries: Sequence[Evidence], power: float, is_contested: bool) -> list[Float64[np.ndarray, " _"]]:
    tokens = [_embeddings(each) for each in queries]
    told = [k for k, each in enumerate(tokens) if each is not None]
    together = is_contested and len({tokens[k].shape[1] for k in told}) == 1
    meant = [each.score if each.score.any() else np.ones(each.num_regions) for each in queries]
    for which in [told] if together else [[k] for k in told]:
        weights, _ = contested_attention([tokens[k] for k in which], [queries[k].score for k in which], power)
        for k, each in zip(which, weights, strict=True):
            meant[k] = each
    return meant


def _embeddings(evidence: Evidence) -> Float32[np.ndarray, "r d"] | None:
    found = [region.embedding for region in evidence.regions]
    if not found or any(each is None for each in found) or len({len(each) for each in found if each is not None}) > 1:
        return None
    return np.stack([each for each in found if each is not None]).astype(np.float32)


def _agreeing(evidence: Evidence, seen: csr_matrix) -> Float64[np.ndarray, " v"]:
    """How far each view's regions overlap with what the others say; only faces that some region holds count, others are agreed on by all."""
    speaking = np.unique(evidence.view)
    faces = np.unique(evidence.pixels.indices)
    held = _views_of(evidence, np.ones(evidence.num_regions), seen.shape[0]) @ evidence.pixels
    pixels = seen[speaking][:, faces].toarray()
    votes = np.minimum(held[speaking][:, faces].toarray() / np.maximum(pixels, 1), 1)
    weights = np.zeros(seen.shape[0])
    weights[speaking] = np.sqrt(consensus(pixels > 0, votes))
    return weights


def votes_of(
    graph: MeshGraph, queries: Sequence[Evidence], seen: csr_matrix, power: float = POWER, steps: int = STEPS, is_reweighted: bool = True,
    is_contested: bool = True,
) -> tuple[Votes, ...]:
    """The votes for each of several queries about the same views; `seen` is vis [v, f]. Surroundings are counted once for all of them."""
    weights = region_weights(queries, seen, power, is_contested)
    of_view = [_largest(each, w, seen.shape[0]) for each, w in zip(queries, weights, strict=True)]
    held = [_held(graph, each, w, omega, seen, is_reweighted) for each, w, omega in zip(queries, weights, of_view, strict=True)]
    taken = [_majority(m, seen) for m in held]
    around, size = counts_around(graph, vstack([_pattern(seen), *taken]).tocsr(), steps)
    v, size = seen.shape[0], np.maximum(size, 1)
    found = []
    for k, (w, omega, m) in enumerate(zip(weights, of_view, held, strict=True)):
        inside, view = around[v * (k + 1) : v * (k + 2)], diags(omega)
        outside = (around[:v] - inside).multiply(_pattern(seen))
        plus = np.asarray((view @ m.multiply(inside)).sum(0)).reshape(-1) / size
        minus = np.asarray((view @ (seen - m).multiply(outside)).sum(0)).reshape(-1) / size
        shown = omega @ seen
        both = plus + minus
        p = np.divide(plus, both, out=np.zeros_like(plus), where=both > 0)
        s = np.divide(plus, shown, out=np.zeros_like(plus), where=shown > 0)
        found.append(Votes(p, s, shown > 0, omega, w))
    return tuple(found)


def _held(graph: MeshGraph, evidence: Evidence, weights, of_view, seen: csr_matrix, is_reweighted: bool) -> csr_matrix:
    """m [v, f]: pixels in the regions of each view, a region that is believed less than the view's best counting less; at most vis."""
    pixels, boxes = evidence.pixels, np.flatnonzero(evidence.is_box)
    if is_reweighted and len(boxes):
        pixels = pixels.multiply(geodesic_weights(graph, pixels, boxes, width=WIDTH, is_density=False)).tocsr()
    share = weights / np.maximum(of_view[evidence.view], 1e-300)
    return (_views_of(evidence, share, seen.shape[0]) @ pixels).minimum(seen).tocsr()


def _views_of(evidence: Evidence, values: Float64[np.ndarray, " r"], num_views: int) -> csr_matrix:
    """[v, r]: the value of each region in the row of its view."""
    return csr_matrix((values, (evidence.view, np.arange(evidence.num_regions))), shape=(num_views, evidence.num_regions))


def _largest(evidence: Evidence, weights: Float64[np.ndarray, " r"], num_views: int) -> Float64[np.ndarray, " v"]:
    found = np.zeros(num_views)
    np.maximum.at(found, evidence.view, weights)
    return found


def _majority(m: csr_matrix, seen: csr_matrix) -> csr_matrix:
    """1 where more than half of a face's pixels are held."""
    taken = (m.multiply(2) - seen) > 0
    return taken.multiply(_pattern(m)).astype(np.float64).tocsr()


def _pattern(matrix: csr_matrix) -> csr_matrix:
    return csr_matrix((np.ones(len(matrix.data)), matrix.indices, matrix.indptr), shape=matrix.shape)
