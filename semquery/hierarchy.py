"""Merge trees of weighted graphs: building them, cutting them, and the order that makes sums cheap.

Notation
  n points, e edges of their neighbour graph, t = 2n - 1 nodes of the binary merge tree (points first, merges
  in the order of their altitude, root last), c cuts.
  Leaves are put in one depth-first order, so that every node is an interval [start, stop) of it and sums
  over any node's points are two look-ups in a cumulative sum.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float32, Float64, Int, Int32, Int64, Num

from semquery.compiled import call
from semquery.geometry import components
from semquery.linkage import average_linkage, compiled, single_linkage
from semquery.types import MergeTree

Linkage = Literal["average", "single", "area", "volume"]


def merge_tree(n: int, edges: Int[np.ndarray, "e 2"], weights: Num[np.ndarray, " e"], linkage: Linkage = "average") -> MergeTree:
    """The binary tree of merges of a connected graph. Raises ValueError when the graph is not connected."""
    if linkage in ("average", "single"):
        return (average_linkage if linkage == "average" else single_linkage)(n, edges, weights)
    return _watershed(n, edges, weights, linkage)


def _watershed(n: int, edges: Int[np.ndarray, "e 2"], weights: Num[np.ndarray, " e"], linkage: Linkage) -> MergeTree:
    import higra as hg

    count, _ = components(n, edges)
    if count != 1:
        raise ValueError(f"The neighbour graph has {count} components; join them with geometry.bridges first.")
    if n == 1:
        return MergeTree(np.zeros(1, np.int32), np.zeros(1, np.float32))
    graph = hg.UndirectedGraph(n)
    graph.add_edges(edges[:, 0], edges[:, 1])
    build = {"area": hg.watershed_hierarchy_by_area, "volume": hg.watershed_hierarchy_by_volume}[linkage]
    tree, altitude = build(graph, np.ascontiguousarray(weights, np.float64), canonize_tree=False)
    parents = np.asarray(tree.parents()).astype(np.int32)
    return MergeTree(parents, monotone(parents, np.asarray(altitude)).astype(np.float32))


def monotone(parents: Int[np.ndarray, " t"], altitude: Num[np.ndarray, " t"]) -> Float64[np.ndarray, " t"]:
    """The least altitudes above the given ones that never fall from child to parent."""
    raised = altitude.astype(np.float64)
    if (c := compiled()) is None:
        return _monotone_by_loop(parents, raised)
    call(c.raise_parents, len(parents), np.ascontiguousarray(parents, np.int32), raised)
    return raised


def _monotone_by_loop(parents: Int[np.ndarray, " t"], altitude: Float64[np.ndarray, " t"]) -> Float64[np.ndarray, " t"]:
    raised, up = altitude.tolist(), parents.tolist()
    for node in range(len(up) - 1):
        raised[up[node]] = max(raised[up[node]], raised[node])
    return np.array(raised)


def cut(tree: MergeTree, threshold: float) -> Int64[np.ndarray, " n"]:
    """Flat segments at an altitude: points joined by merges of altitude ≤ threshold share a label 0, 1, …"""
    return cuts(tree, [threshold])[0].astype(np.int64)


def cuts(tree: MergeTree, thresholds: Sequence[float] | Num[np.ndarray, " c"]) -> Int32[np.ndarray, "c n"]:
    """Flat segments at many altitudes. Labels count along the depth-first order, so those of finer cuts refine intervals."""
    start, _ = intervals(tree.parents)
    gap, place = _gaps(tree, start), start[: tree.num_leaves]
    labels, found = np.empty(len(gap), np.int32), np.empty((len(thresholds), len(gap)), np.int32)
    for threshold, row in zip(np.asarray(thresholds).tolist(), found, strict=True):
        np.cumsum(gap > threshold, out=labels)
        np.take(labels, place, out=row)
    return found


def _gaps(tree: MergeTree, start: Int64[np.ndarray, " t"]) -> Float32[np.ndarray, " n"]:
    """The altitude at which each leaf of the depth-first order meets the one before it; -∞ for the first."""
    gap = np.full(tree.num_leaves, -np.inf, np.float32)
    later = np.flatnonzero(start != start[tree.parents])  # children that do not start where their parent does
    gap[start[later]] = tree.altitude[tree.parents[later]]
    return gap


def intervals(parents: Int[np.ndarray, " t"]) -> tuple[Int64[np.ndarray, " t"], Int64[np.ndarray, " t"]]:
    """(start, stop) of every node in a depth-first order of the leaves; start of leaf i is i's place in it."""
    if (c := compiled()) is None:
        return _intervals_by_loop(parents)
    start, stop = np.empty(len(parents), np.int64), np.empty(len(parents), np.int64)
    if call(c.tree_intervals, len(parents), np.ascontiguousarray(parents, np.int32), start, stop) < 0:
        raise MemoryError(f"No memory to order {len(parents)} nodes.")
    return start, stop


def _intervals_by_loop(parents: Int[np.ndarray, " t"]) -> tuple[Int64[np.ndarray, " t"], Int64[np.ndarray, " t"]]:
    up, n = parents.tolist(), (len(parents) + 1) // 2
    size = [1] * n + [0] * (len(up) - n)
    for node in range(len(up) - 1):
        size[up[node]] += size[node]
    start, free = [0] * len(up), [0] * len(up)
    for node in range(len(up) - 2, -1, -1):
        start[node] = free[node] = free[up[node]]
        free[up[node]] += size[node]
    return np.array(start), np.array(start) + np.array(size)
