"""Linkage of sparse graphs: C equals torch equals Higra equals a loop that looks for the nearest two clusters."""

import higra as hg
import numpy as np
import pytest
import torch

from semquery import compiled, linkage
from semquery.geometry import bridges, knn_edges
from semquery.linkage import average_linkage, average_merges, single_linkage
from semquery.types import MergeTree

needs_compiler = pytest.mark.skipif(linkage.compiled("average.c") is None, reason="no C compiler here")
backends = pytest.mark.parametrize("backend", ["torch", pytest.param("c", marks=needs_compiler)])


def neighbour_graph(n: int, seed: int, k: int = 6) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(seed)
    points = rng.random((n, 3))
    edges = knn_edges(points, k)
    return points, np.concatenate([edges, bridges(points, edges)]), rng


def random_graph(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    _, edges, rng = neighbour_graph(n, seed)
    return edges, rng.random(len(edges))


def crumbly_graph(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Few parts with points of very different noise: every part is a hub that absorbs its points one after the other."""
    points, edges, rng = neighbour_graph(n, seed, k=10)
    features = np.floor(2 * points) + rng.normal(size=(n, 3)) * rng.exponential(0.1, (n, 1))
    return edges, np.linalg.norm(features[edges[:, 0]] - features[edges[:, 1]], axis=1)


def tied_graph(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    edges, weights = random_graph(n, seed)
    return edges, np.floor(4 * weights)


GRAPHS = {"random": random_graph, "crumbly": crumbly_graph, "tied": tied_graph}


def meets(tree: MergeTree) -> np.ndarray:
    """The altitude at which every pair of leaves meets."""
    n = tree.num_leaves
    a, b = np.meshgrid(np.arange(n), np.arange(n))
    return tree.altitude[hg.Tree(tree.parents.astype(np.int64)).lowest_common_ancestor(a.ravel(), b.ravel())].reshape(n, n)


def by_higra(n: int, edges: np.ndarray, weights: np.ndarray, build) -> MergeTree:
    graph = hg.UndirectedGraph(n)
    graph.add_edges(edges[:, 0], edges[:, 1])
    tree, altitude = build(graph, weights)
    return MergeTree(tree.parents().astype(np.int32), altitude.astype(np.float32))


def nearest_two_first(n: int, edges: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Average linkage's altitudes of all pairs of points, by looking at all pairs of clusters before every merge."""
    found, clusters = np.zeros((n, n)), [[i] for i in range(n)]
    weight = np.full((n, n), np.nan)
    weight[edges[:, 0], edges[:, 1]] = weight[edges[:, 1], edges[:, 0]] = weights
    while len(clusters) > 1:
        between = {(a, b): weight[np.ix_(clusters[a], clusters[b])] for a in range(len(clusters)) for b in range(a)}
        mean = {pair: np.nanmean(block) for pair, block in between.items() if not np.isnan(block).all()}
        a, b = min(mean, key=mean.get)
        found[np.ix_(clusters[a], clusters[b])] = found[np.ix_(clusters[b], clusters[a])] = mean[a, b]
        clusters[b] += clusters.pop(a)
    return found


def rounds_of(monkeypatch, n: int, edges: np.ndarray, weights: np.ndarray) -> int:
    rounds, stars = [], linkage._stars
    monkeypatch.setattr(linkage, "_stars", lambda graph: rounds.append(1) or stars(graph))
    average_merges(n, torch.from_numpy(edges), torch.from_numpy(weights))
    return len(rounds)


# ------------------------------------------------------------------ average linkage


@backends
def test_four_points_by_hand(backend):
    edges, weights = np.array([[0, 1], [1, 2], [0, 2], [2, 3]]), np.array([1, 2, 4, 2.5])
    tree = average_linkage(4, edges, weights, backend)
    assert tree.parents.tolist() == [4, 4, 5, 5, 6, 6, 6]
    assert tree.altitude.tolist() == [0, 0, 0, 0, 1, 2.5, 3]  # 3 = (2 + 4) / 2: there is no edge from 0 or 1 to 3


@backends
@pytest.mark.parametrize("graph", [random_graph, crumbly_graph])
@pytest.mark.parametrize("seed", range(3))
def test_average_linkage_equals_merging_the_nearest_two_again_and_again(backend, graph, seed):
    edges, weights = graph(30, seed)
    np.testing.assert_allclose(meets(average_linkage(30, edges, weights, backend)), nearest_two_first(30, edges, weights), rtol=1e-6)


@backends
@pytest.mark.parametrize("graph", [random_graph, crumbly_graph])
@pytest.mark.parametrize("seed", range(3))
def test_average_linkage_equals_higras(backend, graph, seed):
    edges, weights = graph(800, seed)
    expected = by_higra(800, edges, weights, hg.binary_partition_tree_average_linkage)
    np.testing.assert_allclose(meets(average_linkage(800, edges, weights, backend)), meets(expected), rtol=1e-6)


@backends
@pytest.mark.parametrize("graph", GRAPHS)
def test_every_altitude_is_the_mean_of_the_edges_between_the_two_that_merge(backend, graph):
    """With ties too, where several dendrograms are right."""
    edges, weights = GRAPHS[graph](150, 0)
    tree = average_linkage(150, edges, weights, backend)
    inside = [np.isin(np.arange(150), [i]) for i in range(150)]
    for node in range(150, 299):
        a, b = (inside[child] for child in np.flatnonzero(tree.parents == node) if child != node)
        across = (a[edges[:, 0]] & b[edges[:, 1]]) | (b[edges[:, 0]] & a[edges[:, 1]])
        assert tree.altitude[node] == pytest.approx(weights[across].mean(), rel=1e-6)
        inside.append(a | b)


@backends
@pytest.mark.parametrize("graph", GRAPHS)
def test_the_result_is_a_binary_tree_whose_altitudes_never_fall(backend, graph):
    for tree in (average_linkage(300, *GRAPHS[graph](300, 1), backend), single_linkage(300, *GRAPHS[graph](300, 1))):
        assert tree.parents.shape == (599,) and tree.parents[-1] == 598
        assert (tree.parents[:-1] > np.arange(598)).all()
        assert (np.bincount(tree.parents[:-1], minlength=599) == [0] * 300 + [2] * 299).all()
        assert (np.diff(tree.altitude[300:]) >= 0).all()


@backends
def test_parallel_edges_are_added_up_and_loops_ignored(backend):
    edges, weights = np.array([[0, 1], [1, 0], [1, 1], [1, 2]]), np.array([1.0, 3, 0, 2.5])
    assert average_linkage(3, edges, weights, backend).altitude.tolist() == [0, 0, 0, 2, 2.5]


@needs_compiler
@pytest.mark.parametrize("graph", GRAPHS)
def test_c_and_torch_agree_on_thousands_of_points(graph):
    """With ties the order of merges may differ; the altitudes of few values still have the same least one."""
    edges, weights = GRAPHS[graph](5000, 0)
    c, twin = (average_linkage(5000, edges, weights, backend) for backend in ("c", "torch"))
    if graph == "tied":
        assert c.altitude[5000] == twin.altitude[5000] == weights.min()
    else:
        np.testing.assert_allclose(c.altitude, twin.altitude, rtol=1e-6)


def test_a_hub_absorbs_followers_that_are_no_neighbours_in_one_round(monkeypatch):
    edges = np.array([[0, i] for i in range(1, 50)])
    assert rounds_of(monkeypatch, 50, edges, np.arange(1.0, 50)) == 1


def test_a_hub_waits_with_a_follower_whose_distance_changes(monkeypatch):
    edges, weights = np.array([[0, 1], [0, 2], [1, 2]]), np.array([1.0, 2, 3])
    assert rounds_of(monkeypatch, 3, edges, weights) == 2
    assert average_linkage(3, edges, weights, "torch").altitude.tolist() == [0, 0, 0, 1, 2.5]


def test_a_chain_of_equal_edges_takes_few_rounds(monkeypatch):
    chain = np.stack([np.arange(1999), np.arange(1, 2000)], 1)
    assert rounds_of(monkeypatch, 2000, chain, np.ones(1999)) < 40


def test_crumbs_do_not_take_a_round_each(monkeypatch):
    edges, weights = crumbly_graph(3000, 0)
    assert rounds_of(monkeypatch, 3000, edges, weights) < 60  # reciprocal pairs alone: 226


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_rounds_on_a_gpu_give_the_same_altitudes():
    edges, weights = (torch.from_numpy(a) for a in crumbly_graph(3000, 0))
    expected = average_merges(3000, edges, weights)[1].sort().values
    torch.testing.assert_close(average_merges(3000, edges.cuda(), weights.cuda())[1].sort().values.cpu(), expected)


# ------------------------------------------------------------------ single linkage


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("seed", range(3))
def test_single_linkage_equals_higras_canonical_tree(graph, seed):
    edges, weights = GRAPHS[graph](800, seed)
    weights = weights - 0.5  # signs sort differently in their bits
    np.testing.assert_array_equal(meets(single_linkage(800, edges, weights))[~np.eye(800, dtype=bool)],
                                  meets(by_higra(800, edges, weights.astype(np.float32), hg.bpt_canonical))[~np.eye(800, dtype=bool)])


def test_edges_of_equal_weight_merge_in_the_order_given():
    edges = np.array([[2, 3], [0, 1], [1, 2], [0, 3]])
    tree = single_linkage(4, edges, np.ones(4))
    assert tree.parents.tolist() == [5, 5, 4, 4, 6, 6, 6]


# ------------------------------------------------------------------ both


@pytest.mark.parametrize("method", [single_linkage, average_linkage])
def test_a_single_point_is_a_tree(method):
    tree = method(1, np.zeros((0, 2), np.int64), np.zeros(0))
    assert tree.parents.tolist() == [0] and tree.altitude.tolist() == [0]


@pytest.mark.parametrize("method", [single_linkage, average_linkage])
def test_what_is_no_connected_graph_is_refused_with_the_remedy(method):
    two, ones = np.array([[0, 1], [2, 3]]), np.ones(2)
    with pytest.raises(ValueError, match=r"2 components.*bridges"):
        method(4, two, ones)
    with pytest.raises(ValueError, match=r"points 0 to 3, but there are 3"):
        method(3, two, ones)
    with pytest.raises(ValueError, match=r"1 of 2 edge weights are not finite"):
        method(4, two, np.array([1, np.nan]))


def test_edges_without_a_weight_are_refused():
    with pytest.raises(ValueError, match=r"2 edges and 3 weights"):
        linkage._check(4, np.array([[0, 1], [2, 3]]), np.ones(3))


def test_without_a_compiler_the_trees_are_the_same(monkeypatch, tmp_path, caplog):
    edges, weights = crumbly_graph(300, 0)
    methods = (single_linkage, average_linkage)
    expected = [meets(method(300, edges, weights)) for method in methods]
    monkeypatch.setenv("CC", "no-such-compiler")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compiled.library.cache_clear()
    try:
        for method, altitudes in zip(methods, expected, strict=True):
            np.testing.assert_allclose(meets(method(300, edges, weights)), altitudes, rtol=1e-6)
        assert len([r for r in caplog.records if "could not be built" in r.message]) == 2  # once for each file
    finally:
        compiled.library.cache_clear()
