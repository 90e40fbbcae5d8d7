"""The published scores of faces: SATR (arXiv 2304.04909) and Reasoning3D (arXiv 2405.19326).

    S(f) = Σ_regions c · conf · w · r     c pixels, w Gaussian geodesic weight, r visibility smoothing

Notation
  f faces, r regions, q queries.
Nothing is divided by how often a face was seen. SATR's regions are boxes and its part is the largest score; Reasoning3D's are masks, one
query at a time, and its part is whatever scores above the mean of all faces.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float64, Int32

from semquery.fusion.evidence import Evidence, ViewRegions
from semquery.fusion.geodesics import geodesic_weights
from semquery.fusion.graph import MeshGraph
from semquery.fusion.smoothing import STEPS, agreement
from semquery.segmenter import Region, oracle

UNKNOWN = 1e-4  # SATR: faces whose scores add up to less are of no part


def summed_scores(
    graph: MeshGraph, evidence: Evidence, is_reweighted: bool = True, is_smoothed: bool = True, steps: int = STEPS
) -> Float64[np.ndarray, " f"]:
    """S of every face for one query; without both switches, pixels times confidence."""
    votes = evidence.pixels.copy()
    if is_reweighted:
        votes = votes.multiply(geodesic_weights(graph, evidence.pixels, np.arange(evidence.num_regions), across="heat")).tocsr()
    if is_smoothed:
        votes = votes.multiply(agreement(graph, evidence.pixels, steps)).tocsr()
    return np.asarray(votes.T @ evidence.score).reshape(-1)


def above_mean(scores: Float64[np.ndarray, "q f"]) -> Bool[np.ndarray, "q f"]:
    """Reasoning3D's filter: above the mean over all faces, seen or not."""
    return scores > scores.mean(1, keepdims=True)


def largest(scores: Float64[np.ndarray, "q f"], unknown: float = UNKNOWN) -> Int32[np.ndarray, " f"]:
    """SATR's assignment: the query of the largest score, the first of several; -1 where all scores together are below `unknown`."""
    return np.where(scores.sum(0) < unknown, -1, scores.argmax(0)).astype(np.int32)


def boxed(views: Sequence[ViewRegions]) -> tuple[ViewRegions, ...]:
    """The views with each region's box for its mask, as SATR knows them; the rectangle around the mask where no box is given."""
    return tuple(replace(each, regions=tuple(_boxed(region) for region in each.regions if region.mask.any())) for each in views)


def _boxed(region: Region) -> Region:
    return replace(region, mask=oracle.boxed(region.mask.shape, region.box or oracle.box_around(region.mask)))
