"""Bottlenecks of one training step's pairs: the component tree against a spanning tree walked pair by pair.

    python -m eval.bench.bottleneck

Both take the same graph (10 nearest neighbours) and the same 8 pairs per vertex, and must give the same weights.
The baseline is what a direct implementation does: SciPy's spanning tree, a binary partition tree, and for each
pair a loop up to the lowest common ancestor.
"""

import numpy as np
import torch

from eval.bench import compare
from semquery.geometry import bridges, knn_edges
from semquery.hierarchy import merge_tree
from semquery.ultrametric import component_tree, ultrametric_distance


def pair_by_pair(n: int, edges: np.ndarray, weights: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    tree = merge_tree(n, edges, weights, "single")
    parents, altitude = tree.parents.tolist(), tree.altitude.tolist()
    found = []
    for a, b in pairs.tolist():
        while a != b:  # the lower-numbered of two nodes is never the common ancestor
            a, b = (parents[a], b) if a < b else (a, parents[b])
        found.append(altitude[a])
    return np.array(found)


def main() -> None:
    torch.set_num_threads(1)
    print("vertices   component tree      pair by pair    ratio")
    for n in (512, 2048, 8192):
        rng = np.random.default_rng(0)
        points = rng.random((n, 3))
        edges = knn_edges(points, 10)
        edges = np.concatenate([edges, bridges(points, edges)])
        weights = rng.random(len(edges)).astype(np.float32)
        pairs = rng.integers(0, n, (8 * n, 2))
        E, W, Q = torch.from_numpy(edges), torch.from_numpy(weights), torch.from_numpy(pairs)
        ours = lambda n=n, E=E, W=W, Q=Q: ultrametric_distance(component_tree(n, E, W), W, Q)  # noqa: E731
        baseline = lambda n=n, e=edges, w=weights, p=pairs: pair_by_pair(n, e, w, p)  # noqa: E731
        np.testing.assert_allclose(ours().numpy(), baseline(), rtol=1e-6)
        fast, slow, ratio = compare(ours, baseline)
        print(f"{n:8d} {1e3 * fast:13.1f} ms {1e3 * slow:14.1f} ms {ratio:8.1f}×")


if __name__ == "__main__":
    main()
