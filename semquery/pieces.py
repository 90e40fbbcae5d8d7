"""Pieces of one part that the neighbour graph keeps apart: the two faces of a thin board, a rail that runs on behind a handle.

Neighbours are sought within a few voxels, so a part of which some surface was never seen, or that is thicker than that
and thin in its rim, falls into pieces. A merge tree then joins each piece with something else first, and no node is the
part. The features know better: views that show both pieces in one mask have drawn their features together. So
the tree is built twice: its lower segments are compared, and where two that lie near each other have like features, edges
between them are added to the graph. What such an edge weighs is then decided like for any other.

Notation
  n points, s segments, e edges stored once as (i, j) with i < j. Features are unit vectors, compared by their distance.
"""

from functools import cache

import numpy as np
from jaxtyping import Float, Float32, Int, Int64, Num

ALIKE = 0.4  # distance of features: neighbours inside a part are .1 to .3 apart, neighbours of two parts about 1
LEAST_POINTS = 12  # smaller segments are noise
MOST_SEGMENTS = 4096  # the largest ones; they are compared pair by pair


def reunions(
    points: Num[np.ndarray, "n 3"], features: Float[np.ndarray, "n c"], segment: Int[np.ndarray, " n"], reach: float
) -> Int64[np.ndarray, "e 2"]:
    """Edges from each point of a segment to the nearest point of every segment of like features within `reach` (world units)."""
    from scipy.spatial import cKDTree

    members = _members(segment)
    tree_of = cache(lambda large: cKDTree(points[members[large]]))
    found = [np.zeros((0, 2), np.int64)]
    for large, small in _like_and_near(points, features, members, reach):
        distance, nearest = tree_of(large).query(points[members[small]], distance_upper_bound=reach)
        hit = np.isfinite(distance)
        found.append(np.sort(np.stack([members[small][hit], members[large][nearest[hit]]], 1), axis=1))
    return np.unique(np.concatenate(found), axis=0)


def _members(segment: Int[np.ndarray, " n"]) -> list[Int64[np.ndarray, " _"]]:
    """The points of each segment, the largest segments first."""
    order = np.argsort(segment, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(segment[order])) + 1)
    return sorted((m for m in members if len(m) >= LEAST_POINTS), key=len, reverse=True)[:MOST_SEGMENTS]


def _like_and_near(points, features, members: list[np.ndarray], reach: float) -> list[tuple[int, int]]:
    """Pairs of segments, the larger first, whose mean features are alike and whose boxes lie within reach of each other."""
    if len(members) < 2:
        return []
    mean = np.stack([features[m].mean(0, dtype=np.float32) for m in members])
    low, high = (np.stack([extreme(points[m], axis=0) for m in members]) for extreme in (np.min, np.max))
    large, small = np.nonzero(np.triu(pairwise_distance(mean) < ALIKE, 1))
    gap = np.maximum(np.maximum(low[large] - high[small], low[small] - high[large]), 0)
    near = (gap**2).sum(1) < reach**2
    return list(zip(large[near].tolist(), small[near].tolist(), strict=True))


def pairwise_distance(vectors: Float32[np.ndarray, "s c"]) -> Float32[np.ndarray, "s s"]:
    """Euclidean distance of every pair of rows."""
    square = (vectors**2).sum(1)
    return np.sqrt(np.maximum(square[:, None] + square[None] - 2 * vectors @ vectors.T, 0))
