"""Intervals and cuts of merge trees, fast and slow; what the trees themselves are is in test_linkage.py and test_parts.py."""

import numpy as np
import pytest

from semquery import hierarchy, linkage
from semquery.geometry import components
from semquery.hierarchy import cut, cuts, intervals, monotone
from semquery.linkage import single_linkage
from semquery.types import MergeTree

needs_compiler = pytest.mark.skipif(linkage.compiled() is None, reason="no C compiler here")


def random_tree(n: int, seed: int) -> tuple[MergeTree, np.ndarray, np.ndarray]:
    """Single linkage of a random tree and as many other edges, with ties."""
    rng = np.random.default_rng(seed)
    child = np.arange(1, n)
    edges = np.concatenate([np.stack([rng.integers(0, child), child], 1), rng.integers(0, n, (n, 2))])
    weights = rng.integers(1, 20, len(edges)).astype(np.float64)
    return single_linkage(n, edges, weights), edges, weights


def chain(n: int) -> MergeTree:
    """Every merge adds one leaf: as deep as a tree can be."""
    parents = np.concatenate([[n], np.arange(n, 2 * n - 1), np.arange(n + 1, 2 * n - 1), [2 * n - 2]])
    return MergeTree(parents.astype(np.int32), np.concatenate([np.zeros(n), np.arange(1, n)]).astype(np.float32))


def walked_up(tree: MergeTree, threshold: float) -> np.ndarray:
    """The topmost node at or below the threshold above each leaf."""
    tops = []
    for node in range(tree.num_leaves):
        while tree.parents[node] != node and tree.altitude[tree.parents[node]] <= threshold:
            node = tree.parents[node]
        tops.append(node)
    return np.array(tops)


def same_groups(a: np.ndarray, b: np.ndarray) -> bool:
    return len(set(zip(a.tolist(), b.tolist(), strict=True))) == len(set(a.tolist())) == len(set(b.tolist()))


def test_five_leaves_by_hand():
    # 5 = {0, 3} at 1, 6 = {1, 5} at 2, 7 = {2, 4} at 2, 8 = all at 5
    tree = MergeTree(np.array([5, 6, 7, 5, 7, 6, 8, 8, 8], np.int32), np.array([0, 0, 0, 0, 0, 1, 2, 2, 5], np.float32))
    start, stop = intervals(tree.parents)
    assert (stop - start).tolist() == [1, 1, 1, 1, 1, 2, 3, 2, 5]
    found = cuts(tree, [0.5, 1.0, 2.0, 5.0])
    groups = [{frozenset(np.flatnonzero(row == k).tolist()) for k in set(row.tolist())} for row in found]
    assert [len(g) for g in groups] == [5, 4, 2, 1]
    assert frozenset({0, 3}) in groups[1] and groups[2] == {frozenset({0, 1, 3}), frozenset({2, 4})}


@needs_compiler
@pytest.mark.parametrize("tree", [random_tree(400, 0)[0], random_tree(1, 0)[0], random_tree(2, 0)[0], chain(2000)])
def test_c_equals_the_python_loops(tree):
    for fast, slow in zip(intervals(tree.parents), hierarchy._intervals_by_loop(tree.parents), strict=True):
        np.testing.assert_array_equal(fast, slow)
    altitude = np.random.default_rng(0).normal(size=len(tree.parents))
    np.testing.assert_array_equal(monotone(tree.parents, altitude), hierarchy._monotone_by_loop(tree.parents, altitude))


@pytest.mark.parametrize("tree", [random_tree(300, 1)[0], chain(300)])
def test_intervals_of_children_tile_their_parents(tree):
    start, stop = intervals(tree.parents)
    n = tree.num_leaves
    assert sorted(start[:n].tolist()) == list(range(n)) and (stop[:n] == start[:n] + 1).all() and stop[-1] == n
    for node in range(n, 2 * n - 1):
        a, b = sorted((start[child], stop[child]) for child in np.flatnonzero(tree.parents == node) if child != node)
        assert (a[0], b[1]) == (start[node], stop[node]) and a[1] == b[0]


@pytest.mark.parametrize("tree", [random_tree(200, 2)[0], chain(100)])
def test_cuts_equal_walking_up_from_every_leaf(tree):
    thresholds = [-1.0, 0.0, *np.unique(tree.altitude)[1::9].tolist(), 1e9]
    for threshold, labels in zip(thresholds, cuts(tree, thresholds), strict=True):
        assert same_groups(labels, walked_up(tree, threshold))
        assert sorted(set(labels.tolist())) == list(range(labels.max() + 1))
        np.testing.assert_array_equal(cut(tree, threshold), labels)


@pytest.mark.parametrize("seed", range(3))
def test_cuts_of_single_linkage_are_the_components_of_the_light_edges(seed):
    tree, edges, weights = random_tree(500, seed)
    thresholds = np.arange(0.5, 20, 3)
    for threshold, labels in zip(thresholds, cuts(tree, thresholds), strict=True):
        assert same_groups(labels, components(500, edges[weights <= threshold])[1])


def test_a_higher_cut_only_joins_segments_whose_labels_follow_each_other():
    low, high = cuts(random_tree(300, 3)[0], [3.0, 6.0])
    joined = np.full(low.max() + 1, -1)
    joined[low] = high
    assert (joined[low] == high).all() and (np.diff(joined) >= 0).all()


def test_no_thresholds_give_no_cuts():
    assert cuts(random_tree(10, 0)[0], []).shape == (0, 10)


def test_without_a_compiler_intervals_and_cuts_are_the_same(monkeypatch):
    tree, altitude = random_tree(300, 4)[0], np.random.default_rng(0).normal(size=599)
    everything = lambda: (*intervals(tree.parents), cuts(tree, [2.0, 4.0, 8.0]), monotone(tree.parents, altitude))  # noqa: E731
    expected = everything()
    monkeypatch.setattr(hierarchy, "compiled", lambda: None)
    for got, wanted in zip(everything(), expected, strict=True):
        np.testing.assert_array_equal(got, wanted)
