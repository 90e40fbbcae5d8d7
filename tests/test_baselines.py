"""The rivals: nested cuts against sets, flat cuts against connected components, and each on a scene of two halves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.baselines import BASELINES, feature_graph, flat_cuts, hdbscan_cuts, hdbscan_labels, laminar_tree, largest, nested
from eval.metrics import score_tree
from semquery.geometry import components
from semquery.types import MaskStack, Surface


def as_sets(parents, part_of_point):
    """The points of every node, by walking up from each point."""
    nodes = [set() for _ in parents]
    for point, node in enumerate(part_of_point):
        while point not in nodes[node]:
            nodes[node].add(point)
            node = parents[node]
    return nodes


def segments(labels):
    return {frozenset(np.flatnonzero(row == k).tolist()) for row in labels for k in set(row.tolist()) - {-1}}


def random_cuts(random, n: int, c: int) -> np.ndarray:
    """Cuts of one random tree in a random order, some segments of each made rest."""
    label, rows = np.zeros(n, int), []
    for _ in range(c):
        label = np.unique(label * 3 + random.integers(0, 3, n) * (random.random(n) < 0.5), return_inverse=True)[1].reshape(-1)
        rows.append(np.where(random.random(n + 1)[label] < 0.2, -1, label))
    return random.permutation(np.array(rows))


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 15), st.integers(1, 5))
def test_nested_cuts_become_the_tree_of_their_distinct_segments(seed, n, c):
    labels = random_cuts(np.random.default_rng(seed), n, c)
    parents, part = nested(labels)
    found = as_sets(parents, part)
    assert {frozenset(s) for s in found} == segments(labels) | {frozenset(range(n))}
    assert len(found) == len({frozenset(s) for s in found})  # none twice


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 15), st.integers(1, 5))
def test_the_tree_of_cuts_is_laid_out_as_every_part_tree(seed, n, c):
    """Leaves first, parents after their children, the root last and its own parent; altitudes never fall."""
    tree = laminar_tree(random_cuts(np.random.default_rng(seed), n, c))
    p, parents = tree.num_parts, tree.parents
    assert parents[-1] == p - 1 and (parents[:-1] > np.arange(p - 1)).all()
    is_leaf = ~np.isin(np.arange(p), parents[:-1])
    assert (np.diff(is_leaf.astype(int)) <= 0).all()
    assert (tree.altitude[parents] >= tree.altitude).all() and tree.altitude[-1] == 1
    np.testing.assert_allclose(tree.altitude * n, tree.num_points, rtol=1e-6)


def test_nested_cuts_by_hand():
    """{0 1 2 3}, in it {0 1}, which the finest cut repeats; 4 is rest wherever it is not alone."""
    parents, part = nested(np.array([[5, 5, 5, 5, -1], [0, 0, -1, -1, -1], [3, 3, -1, 7, -1]]))
    assert as_sets(parents, part) == [{3}, {0, 1}, {0, 1, 2, 3}, {0, 1, 2, 3, 4}]
    assert parents.tolist() == [2, 2, 3, 3] and part.tolist() == [1, 1, 2, 0, 3]


def test_the_order_of_cuts_does_not_matter():
    labels = random_cuts(np.random.default_rng(3), 14, 4)
    some, others = as_sets(*nested(labels)), as_sets(*nested(labels[::-1]))
    assert {frozenset(s) for s in some} == {frozenset(s) for s in others}


def test_cuts_that_cross_are_refused():
    with pytest.raises(ValueError, match="a segment of 2 points lies across two others"):
        nested(np.array([[0, 0, 0, 1], [-1, -1, 0, 0]]))


def test_the_largest_segments_stay_and_the_others_are_rest():
    assert largest(np.array([7, 7, 7, 2, 5, 5]), 2).tolist() == [0, 0, 0, -1, 1, 1]


# ------------------------------------------------------------------------------------------ the rivals


def halves(n: int = 400, spread: float = 0.02, seed: int = 0) -> Surface:
    """A sheet of points whose features say left or right; one view of it, 20 × 20 pixels, a point a pixel."""
    random = np.random.default_rng(seed)
    side = int(np.sqrt(n))
    points = np.stack([*np.divmod(np.arange(n), side), np.zeros(n)], 1).astype(np.float32)
    direction = np.where((np.arange(n) % side < side // 2)[:, None], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    features = direction + spread * random.normal(size=(n, 3))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    normals = np.tile(np.array([0, 0, 1], np.float32), (n, 1))
    shown = {f"view {k}": np.arange(n, dtype=np.int32).reshape(side, side) for k in range(3)}
    return Surface(points, normals, np.zeros((n, 3), np.uint8), features.astype(np.float16), np.arange(n, dtype=np.int32), 1.0, shown)


def half_masks(surface: Surface) -> dict[str, MaskStack]:
    """The left half and the right half, in every view."""
    label = np.where(np.arange(20) < 10, 1, 2).astype(np.uint16)
    return {view: MaskStack(np.tile(label, (1, 20, 1)), np.ones(2, np.float32)) for view in surface.point_of_pixel}


@pytest.mark.parametrize("seed", range(4))
def test_flat_cuts_are_the_connected_components_at_every_distance(seed):
    """The original: at each of 50 distances, components of the edges below it, all but the 200 largest rest."""
    surface = halves(spread=0.25, seed=seed)
    edges, weights = feature_graph(surface, 16)
    cuts = [largest(components(400, edges[weights < np.float32(k / 100)])[1], 10_000) for k in range(1, 51)]
    every = flat_cuts(surface, {}, keep=10_000)
    assert {frozenset(s) for s in as_sets(every.parents, every.part_of_point)} == segments(cuts) | {frozenset(range(400))}
    few = flat_cuts(surface, {}, keep=5)
    sizes = [sorted((len(s) for s in segments([cut])), reverse=True)[:5] for cut in cuts]
    assert {len(s) for s in as_sets(few.parents, few.part_of_point)} == {size for five in sizes for size in five} | {400}


def test_pieces_that_no_edge_joins_stay_apart_in_every_flat_cut():
    """Two sheets far from each other with the same features."""
    one = halves(100, spread=0.0)
    points = np.concatenate([one.points, one.points + 1000])
    both = Surface(points, *(np.concatenate([a, a]) for a in (one.normals, one.colors, one.features, one.source)), 1.0, {})
    tree = flat_cuts(both, {})
    nodes = as_sets(tree.parents, tree.part_of_point)
    assert not any(s & set(range(100)) and s - set(range(100)) for s in nodes[:-1])


@pytest.mark.parametrize("name", BASELINES)
def test_every_rival_finds_two_halves(name):
    surface = halves()
    tree = BASELINES[name].build(surface, half_masks(surface))
    truth = np.where(np.arange(400) % 20 < 10, 0, 1)
    assert score_tree(np.array([2, 2, 2]), truth, tree.parents, tree.part_of_point).nc > 0.95
    assert len(tree.part_of_point) == 400 and tree.parents[-1] == tree.root


def test_rivals_say_which_field_they_want():
    wanted = {name: baseline.contrast and baseline.contrast.ultrametric_weight for name, baseline in BASELINES.items()}
    assert wanted == {"flat cuts": 1.0, "watershed": 1.0, "hdbscan": 0.0, "co-occurrence": None}
    assert all(name == baseline.name for name, baseline in BASELINES.items())


@pytest.mark.parametrize("seed", range(3))
def test_hdbscans_clusters_and_cuts_are_of_one_tree(seed):
    """Blobs of any density: whatever it returns nests, and its own clusters are among the nodes."""
    random = np.random.default_rng(seed)
    features = np.concatenate([random.normal(random.normal(size=4), width, (60, 4)) for width in (0.02, 0.1, 0.2, 0.4)])
    labels = hdbscan_labels(features, 10, 12)
    parents, part = nested(labels)
    found = {frozenset(s) for s in as_sets(parents, part)}
    assert segments(labels[:1]) <= found and min(map(len, segments(labels))) >= 10


def test_points_left_out_of_hdbscan_follow_their_nearest_in_features():
    surface = halves()
    tree = hdbscan_cuts(surface, {}, limit=100)
    truth = np.where(np.arange(400) % 20 < 10, 0, 1)
    assert score_tree(np.array([2, 2, 2]), truth, tree.parents, tree.part_of_point).nc > 0.95


def test_co_occurrence_does_not_look_at_features():
    plain, noisy = halves(), halves(spread=5.0)
    trees = [BASELINES["co-occurrence"].build(surface, half_masks(surface)) for surface in (plain, noisy)]
    np.testing.assert_array_equal(trees[0].part_of_point, trees[1].part_of_point)
