"""Merge trees of weighted graphs: building them, cutting them, and the order that makes sums cheap.

Notation
  n points, e edges of their neighbour graph, t = 2n - 1 nodes of the binary merge tree (points first, merges
  in the order of their altitude, root last).
  Leaves are put in one depth-first order, so that every node is an interval [start, stop) of it and sums
  over any node's points are two look-ups in a cumulative sum.
"""

from functools import partial
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int, Int64, Num

from semquery.geometry import components
from semquery.types import MergeTree

Linkage = Literal["average", "single", "area", "volume"]


def merge_tree(n: int, edges: Int[np.ndarray, "e 2"], weights: Num[np.ndarray, " e"], linkage: Linkage = "average") -> MergeTree:
    """The binary tree of merges of a connected graph. Raises ValueError when the graph is not connected."""
    import higra as hg

    count, _ = components(n, edges)
    if count != 1:
        raise ValueError(f"The neighbour graph has {count} components; join them with geometry.bridges first.")
    if n == 1:
        return MergeTree(np.zeros(1, np.int32), np.zeros(1, np.float32))
    weights = np.ascontiguousarray(weights, np.float64)
    graph = hg.UndirectedGraph(n)
    graph.add_edges(edges[:, 0], edges[:, 1])
    build = {
        "single": hg.bpt_canonical,
        "average": hg.binary_partition_tree_average_linkage,
        "area": partial(hg.watershed_hierarchy_by_area, canonize_tree=False),
        "volume": partial(hg.watershed_hierarchy_by_volume, canonize_tree=False),
    }[linkage]
    tree, altitude = build(graph, weights)
    parents = np.asarray(tree.parents()).astype(np.int32)
    return MergeTree(parents, monotone(parents, np.asarray(altitude)).astype(np.float32))


def monotone(parents: Int[np.ndarray, " t"], altitude: Num[np.ndarray, " t"]) -> Float64[np.ndarray, " t"]:
    """The least altitudes above the given ones that never fall from child to parent.

    Average linkage on a sparse graph can merge two groups at a lower distance than they were made at.
    """
    raised, up = altitude.astype(np.float64).tolist(), parents.tolist()
    for node in range(len(up) - 1):
        if raised[up[node]] < raised[node]:
            raised[up[node]] = raised[node]
    return np.array(raised)


def cut(tree: MergeTree, threshold: float) -> Int64[np.ndarray, " n"]:
    """Flat segments at an altitude: points joined by merges of altitude ≤ threshold share a label 0, 1, …"""
    top = list(range(len(tree.parents)))
    parents, joined = tree.parents.tolist(), (tree.altitude <= threshold).tolist()
    for node in range(len(top) - 2, -1, -1):
        if joined[parents[node]]:
            top[node] = top[parents[node]]
    return np.unique(top[: tree.num_leaves], return_inverse=True)[1].reshape(-1)


def intervals(parents: Int[np.ndarray, " t"]) -> tuple[Int64[np.ndarray, " t"], Int64[np.ndarray, " t"]]:
    """(start, stop) of every node in a depth-first order of the leaves; start of leaf i is i's place in it."""
    up, n = parents.tolist(), (len(parents) + 1) // 2
    size = [1] * n + [0] * (len(up) - n)
    for node in range(len(up) - 1):
        size[up[node]] += size[node]
    start, free = [0] * len(up), [0] * len(up)
    for node in range(len(up) - 2, -1, -1):
        start[node] = free[node] = free[up[node]]
        free[up[node]] += size[node]
    return np.array(start), np.array(start) + np.array(size)
