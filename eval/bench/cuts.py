"""Fifty flat segmentations: one merge tree and its cuts against fifty times connected components of the light edges.

    python -m eval.bench.cuts           # 10⁴ and 10⁵ points
    python -m eval.bench.cuts --large   # 10⁶ points too

The same graphs as in eval.bench.linkage; thresholds are quantiles of the weights, so that half of the edges are
light in the mean. Both sides must give the same segments at every threshold.
"""

import sys

import numpy as np

from eval.bench import compare
from eval.bench.linkage import cube, surfaces
from eval.bench.peak import peak_mb
from semquery.geometry import components
from semquery.hierarchy import cuts, merge_tree


def all_cuts(n: int, edges: np.ndarray, weights: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    return cuts(merge_tree(n, edges, weights, "single"), thresholds)


def all_components(n: int, edges: np.ndarray, weights: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    return np.stack([components(n, edges[weights <= threshold])[1] for threshold in thresholds])


def check_same(ours: np.ndarray, other: np.ndarray) -> None:
    """The same segments: every label of one side goes with one label of the other."""
    for a, b in zip(ours, other, strict=True):
        both = np.unique(a.astype(np.int64) * (b.max() + 1) + b)
        assert len(both) == a.max() + 1 == b.max() + 1


def main() -> None:
    print("graph      points    edges   tree and 50 cuts    50 × components    ratio   peak MB")
    for n in (10_000, 100_000, *((1_000_000,) if "--large" in sys.argv else ())):
        for make in (cube, surfaces):
            edges, weights = make(n)
            weights = weights.astype(np.float32)
            job = (n, edges, weights, np.quantile(weights, np.linspace(0, 1, 50)).astype(np.float32))
            check_same(all_cuts(*job), all_components(*job))
            memory = peak_mb(lambda job=job: all_cuts(*job))
            fast, slow, ratio = compare(lambda job=job: all_cuts(*job), lambda job=job: all_components(*job), 5 if n <= 100_000 else 1)
            figures = f"{1e3 * fast:15.0f} ms {1e3 * slow:15.0f} ms {ratio:7.1f}× {memory:9.0f}"
            print(f"{make.__name__:8s} {n:8d} {len(edges):8d} {figures}", flush=True)


if __name__ == "__main__":
    main()
