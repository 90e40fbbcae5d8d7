"""Merge trees of large graphs against Higra: average linkage in C and in torch, single linkage.

    python -m eval.bench.linkage           # 10⁴ and 10⁵ points
    python -m eval.bench.linkage --large   # 10⁶ points too, where average linkage in C meets torch: Higra takes too long

Points in a cube with random weights, and points on surfaces whose weights are distances of clustered, noisy
features; 16 nearest neighbours. Higra's graph is built outside the clock; ours counts every check of its input.
Both must put sampled pairs of points together at the same altitudes.
"""

import sys
import time
from collections.abc import Callable, Iterator

import higra as hg
import numpy as np
import torch

from eval.bench import compare
from eval.bench.peak import peak_mb
from semquery.geometry import bridges, knn_edges
from semquery.linkage import average_linkage, single_linkage
from semquery.types import MergeTree

Graph = tuple[np.ndarray, np.ndarray]


def cube(n: int) -> Graph:
    """Uniform points in a cube, random weights."""
    rng = np.random.default_rng(0)
    edges = _connected(rng.random((n, 3)))
    return edges, rng.random(len(edges))


def surfaces(n: int) -> Graph:
    """A row of spheres that cut into each other, each of eight parts; points differ in how noisy their features are."""
    rng = np.random.default_rng(0)
    normal = rng.normal(size=(n, 3))
    sphere, octant = rng.integers(0, 8, n), (normal > 0) @ [1, 2, 4]
    points = normal / np.linalg.norm(normal, axis=1, keepdims=True) + np.stack([1.5 * sphere, *np.zeros((2, n))], 1)
    of_part = (rng.normal(size=(8, 1, 16)) + 0.4 * rng.normal(size=(8, 8, 16)))[sphere, octant]
    features = of_part + 0.05 * rng.exponential(1, (n, 1)) * rng.normal(size=(n, 16))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    edges = _connected(points)
    return edges, np.sqrt(sum((features[edges[:, 0], k] - features[edges[:, 1], k]) ** 2 for k in range(16)))


def _connected(points: np.ndarray) -> np.ndarray:
    edges = knn_edges(points, 16)
    return np.concatenate([edges, bridges(points, edges)])


def by_higra(n: int, edges: np.ndarray, weights: np.ndarray, build: Callable) -> Callable[[], MergeTree]:
    graph = hg.UndirectedGraph(n)
    graph.add_edges(edges[:, 0], edges[:, 1])

    def call() -> MergeTree:
        tree, altitude = build(graph, weights)
        return MergeTree(tree.parents().astype(np.int32), altitude.astype(np.float32))

    return call


def check_same(ours: MergeTree, other: MergeTree) -> None:
    """The same altitudes, and 10⁵ random pairs of points that meet at the same of them."""
    pairs = np.random.default_rng(0).integers(0, ours.num_leaves, (2, 100_000))
    meet = [tree.altitude[hg.Tree(tree.parents.astype(np.int64)).lowest_common_ancestor(*pairs)] for tree in (ours, other)]
    np.testing.assert_allclose(*meet, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(np.sort(ours.altitude), np.sort(other.altitude), rtol=1e-5, atol=1e-7)


def measured(ours: Callable[[], MergeTree], baseline: Callable[[], MergeTree], repeats: int) -> tuple[float, float, float]:
    """Seconds of ours, of the baseline, and the ratio; what takes minutes is run once, without warming up."""
    if repeats > 1:
        check_same(ours(), baseline())
        return compare(ours, baseline, repeats)
    times = [time.perf_counter()]
    trees = [(call(), times.append(time.perf_counter()))[0] for call in (ours, baseline)]
    check_same(*trees)
    fast, slow = np.diff(times).tolist()
    return fast, slow, slow / fast


def rivals(n: int, edges: np.ndarray, weights: np.ndarray) -> Iterator[tuple[str, Callable, Callable, int]]:
    """What is compared, ours, the baseline, and how often."""
    averages = {backend: lambda backend=backend: average_linkage(n, edges, weights, backend) for backend in ("c", "torch")}
    yield "single / Higra", lambda: single_linkage(n, edges, weights), by_higra(n, edges, weights, hg.bpt_canonical), 5
    if n > 200_000:
        yield "average C / torch", averages["c"], averages["torch"], 1
        return
    higra = by_higra(n, edges, weights, hg.binary_partition_tree_average_linkage)
    for backend, ours in averages.items():
        yield f"average {backend} / Higra", ours, higra, 3 if n < 50_000 else 1


def main() -> None:
    torch.set_num_threads(1)
    print("graph      points   edges     linkage                     ours       baseline    ratio   peak MB")
    for n in (10_000, 100_000, *((1_000_000,) if "--large" in sys.argv else ())):
        for make in (cube, surfaces):
            edges, weights = make(n)
            for name, ours, baseline, repeats in rivals(n, edges, weights):
                memory = peak_mb(ours)
                fast, slow, ratio = measured(ours, baseline, repeats)
                figures = f"{1e3 * fast:9.0f} ms {1e3 * slow:11.0f} ms {ratio:7.1f}× {memory:8.0f}"
                print(f"{make.__name__:8s} {n:8d} {len(edges):8d}   {name:20s} {figures}", flush=True)


if __name__ == "__main__":
    main()
