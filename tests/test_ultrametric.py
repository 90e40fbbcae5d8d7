"""Bottlenecks against a Floyd-Warshall minimax, gradients, and the axioms of an ultrametric."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semquery.ultrametric import NOT_CONNECTED, SAME_VERTEX, bottleneck_edge, component_tree, ultrametric_distance


def minimax(n: int, edges: torch.Tensor, weights: torch.Tensor) -> np.ndarray:
    """The slow obvious twin: the least heaviest edge over all paths, by Floyd-Warshall."""
    distance = np.full((n, n), np.inf)
    np.fill_diagonal(distance, 0)
    for (a, b), w in zip(edges.tolist(), weights.tolist(), strict=True):
        if a != b:
            distance[a, b] = distance[b, a] = min(distance[a, b], w)
    for k in range(n):
        distance = np.minimum(distance, np.maximum(distance[:, k : k + 1], distance[k : k + 1]))
    return distance


def random_graph(seed: int) -> tuple[int, torch.Tensor, torch.Tensor]:
    """Sparse to dense graphs of 2-60 vertices; a third has heavy ties, many are not connected."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 60))
    edges = rng.integers(0, n, (int(rng.integers(1, 3 * n)), 2))
    weights = rng.integers(0, 4, len(edges)) / 4 if seed % 3 == 0 else rng.random(len(edges))
    return n, torch.from_numpy(edges), torch.from_numpy(weights.astype(np.float32))


def all_pairs(n: int) -> torch.Tensor:
    return torch.cartesian_prod(torch.arange(n), torch.arange(n)).reshape(n, n, 2)


def test_hand_made_path_of_four():
    # 0 -.1- 1 -.5- 2 -.2- 3, and a heavy short cut 0-3
    edges = torch.tensor([[0, 1], [1, 2], [2, 3], [0, 3]])
    weights = torch.tensor([0.1, 0.5, 0.2, 0.9])
    tree = component_tree(4, edges, weights)
    pairs = torch.tensor([[0, 1], [0, 2], [0, 3], [2, 3], [1, 1]])
    assert bottleneck_edge(tree, pairs).tolist() == [0, 1, 1, 2, SAME_VERTEX]


@pytest.mark.parametrize("block", range(10))
def test_equals_brute_force_minimax_on_random_graphs(block):
    for seed in range(40 * block, 40 * block + 40):
        n, edges, weights = random_graph(seed)
        found = ultrametric_distance(component_tree(n, edges, weights), weights, all_pairs(n))
        np.testing.assert_array_equal(found.numpy(), minimax(n, edges, weights))


def test_vertices_without_a_path_say_so():
    tree = component_tree(4, torch.tensor([[0, 1], [2, 3]]), torch.tensor([0.3, 0.4]))
    assert bottleneck_edge(tree, torch.tensor([[0, 2], [0, 1]])).tolist() == [NOT_CONNECTED, 0]
    assert component_tree(3, torch.zeros((0, 2), dtype=torch.long), torch.zeros(0)).num_rounds == 0


def test_rounds_are_at_most_log2_of_the_vertices():
    for seed in range(50):
        n, edges, weights = random_graph(seed)
        assert component_tree(n, edges, weights).num_rounds <= int(np.ceil(np.log2(n)))


@given(st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_is_an_ultrametric(seed):
    n, edges, weights = random_graph(seed)
    d = ultrametric_distance(component_tree(n, edges, weights), weights, all_pairs(n)).numpy()
    assert (np.diag(d) == 0).all() and (d >= 0).all()
    np.testing.assert_array_equal(d, d.T)
    # the strong triangle inequality: d(a, c) ≤ max(d(a, b), d(b, c))
    assert (d[:, None, :] <= np.maximum(d[:, :, None], d[None, :, :])).all()


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_does_not_depend_on_how_vertices_are_numbered(seed):
    n, edges, weights = random_graph(seed)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(n))
    plain = ultrametric_distance(component_tree(n, edges, weights), weights, all_pairs(n))
    turned = ultrametric_distance(component_tree(n, order[edges], weights), weights, order[all_pairs(n)])
    np.testing.assert_array_equal(plain.numpy(), turned.numpy())


def test_gradient_reaches_only_the_bottleneck_edges():
    n, edges, _ = random_graph(7)
    weights = torch.rand(len(edges), dtype=torch.float64, requires_grad=True)
    tree, pairs = component_tree(n, edges, weights), all_pairs(n).reshape(-1, 2)
    edge = bottleneck_edge(tree, pairs)
    picked = edge[edge >= 0]
    ultrametric_distance(tree, weights, pairs[edge >= 0]).sum().backward()
    np.testing.assert_array_equal(weights.grad.numpy(), np.bincount(picked.numpy(), minlength=len(edges)))


def test_gradient_agrees_with_finite_differences():
    edges = torch.tensor([[0, 1], [1, 2], [2, 3], [0, 3], [3, 4]])
    weights = torch.tensor([0.11, 0.53, 0.27, 0.9, 0.35], dtype=torch.float64, requires_grad=True)
    pairs = all_pairs(5).reshape(-1, 2)
    assert torch.autograd.gradcheck(lambda w: ultrametric_distance(component_tree(5, edges, w), w, pairs), weights, eps=1e-6)


def test_negative_and_nan_weights_are_refused():
    for bad in (-0.1, float("nan")):
        with pytest.raises(ValueError, match="must be ≥ 0"):
            component_tree(2, torch.tensor([[0, 1]]), torch.tensor([bad]))
