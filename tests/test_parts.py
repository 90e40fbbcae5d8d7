"""Merge trees against SciPy, evidence against counting pixels, part trees by hand."""

import numpy as np
import pytest
from scipy.cluster.hierarchy import cophenet, linkage
from scipy.spatial.distance import pdist, squareform

from semquery.evidence import cooccurrence, mask_evidence, point_labels
from semquery.hierarchy import cut, intervals, merge_tree, monotone
from semquery.masks import stack_masks
from semquery.parts import TreeConfig, build_part_tree, part_tree, persistent
from semquery.types import MergeTree, Surface


def complete_graph(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    i, j = np.triu_indices(len(points), 1)
    return np.stack([i, j], 1), pdist(points)


def leaves_below(tree: MergeTree) -> list[set[int]]:
    sets = [{i} for i in range(tree.num_leaves)] + [set() for _ in range(tree.num_leaves - 1)]
    for node in range(len(tree.parents) - 1):
        sets[tree.parents[node]] |= sets[node]
    return sets


def merge_altitudes(tree: MergeTree) -> np.ndarray:
    """The altitude at which every pair of leaves meets, by walking up."""
    n = tree.num_leaves
    meets = np.zeros((n, n))
    for node, below in enumerate(leaves_below(tree)):
        for a in below if node >= n else ():
            for b in below:
                if meets[a, b] == 0 and a != b:
                    meets[a, b] = tree.altitude[node]
    return meets


def surface_of(points: np.ndarray, views: dict[str, np.ndarray], features: np.ndarray | None = None, voxel: float = 1.0) -> Surface:
    n = len(points)
    return Surface(points.astype(np.float32), np.tile(np.float32([0, 0, 1]), (n, 1)), np.full((n, 3), 128, np.uint8),
                   (np.ones((n, 1)) if features is None else features).astype(np.float16), np.arange(n, dtype=np.int32), voxel, views)


# ------------------------------------------------------------------ merge trees


@pytest.mark.parametrize("method", ["single", "average"])
@pytest.mark.parametrize("seed", range(5))
def test_linkage_equals_scipys_on_a_complete_graph(method, seed):
    points = np.random.default_rng(seed).random((17, 3))
    tree = merge_tree(17, *complete_graph(points), linkage=method)
    np.testing.assert_allclose(merge_altitudes(tree), squareform(cophenet(linkage(points, method))), atol=1e-5)


@pytest.mark.parametrize("method", ["single", "average", "area", "volume"])
def test_every_hierarchy_is_a_binary_tree_with_rising_altitudes(method):
    points = np.random.default_rng(1).random((30, 3))
    edges, weights = complete_graph(points)
    tree = merge_tree(30, edges, weights, method)
    assert tree.parents.shape == (59,) and tree.parents[-1] == 58
    assert (tree.parents[:-1] > np.arange(58)).all()
    assert (np.bincount(tree.parents[:-1], minlength=59)[30:] == 2).all()
    assert (tree.altitude[tree.parents] >= tree.altitude).all()


def test_a_graph_in_pieces_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r"2 components.*bridges"):
        merge_tree(4, np.array([[0, 1], [2, 3]]), np.array([1.0, 1.0]))


def test_monotone_raises_parents_only_as_far_as_needed():
    parents = np.array([3, 3, 4, 4, 4])
    np.testing.assert_array_equal(monotone(parents, np.array([0, 0, 0, 0.7, 0.5])), [0, 0, 0, 0.7, 0.7])


def test_cut_joins_what_merges_below_the_threshold():
    points = np.array([[0.0], [1], [3], [10], [11.5]])
    tree = merge_tree(5, *complete_graph(points), linkage="single")
    assert cut(tree, 0.5).tolist() == [0, 1, 2, 3, 4] or len(set(cut(tree, 0.5).tolist())) == 5
    groups = lambda t: {frozenset(np.flatnonzero(cut(tree, t) == k).tolist()) for k in set(cut(tree, t).tolist())}  # noqa: E731
    assert groups(1.2) == {frozenset({0, 1}), frozenset({2}), frozenset({3}), frozenset({4})}
    assert groups(2.0) == {frozenset({0, 1, 2}), frozenset({3, 4})}
    assert groups(7.0) == {frozenset(range(5))}


@pytest.mark.parametrize("seed", range(4))
def test_cut_equals_components_of_the_light_edges(seed):
    from semquery.geometry import components

    points = np.random.default_rng(seed).random((25, 2))
    edges, weights = complete_graph(points)
    tree = merge_tree(25, edges, weights, "single")
    for t in (0.05, 0.1, 0.2, 0.4):
        _, labels = components(25, edges[weights <= np.float32(t)])
        ours = cut(tree, t)
        assert len(set(zip(labels.tolist(), ours.tolist(), strict=True))) == len(set(ours.tolist())) == len(set(labels.tolist()))


def test_intervals_hold_exactly_the_leaves_below():
    points = np.random.default_rng(3).random((20, 3))
    tree = merge_tree(20, *complete_graph(points))
    start, stop = intervals(tree.parents)
    for node, below in enumerate(leaves_below(tree)):
        assert {leaf for leaf in range(20) if start[node] <= start[leaf] < stop[node]} == below


# ------------------------------------------------------------------ evidence


def two_view_case() -> tuple[Surface, dict, MergeTree]:
    """Eight points on a line; view a sees all, view b the first six, twice as large."""
    points = np.array([[x, 0, 0] for x in (0, 1, 2, 3, 10, 11, 12, 13)], float)
    surface = surface_of(points, {"a": np.array([[0, 1, 2, 3], [4, 5, 6, 7]], np.int32), "b": np.array([[0, 0, 1, 1], [2, 3, 4, -1]], np.int32)})
    masks_a = np.zeros((3, 2, 4), bool)
    masks_a[0, 0], masks_a[1, 1], masks_a[2, 0, :2] = True, True, True
    masks_b = np.zeros((1, 4, 8), bool)  # another size, the same frame
    masks_b[0, :2] = True
    masks = {"a": stack_masks(masks_a, np.ones(3, np.float32)), "b": stack_masks(masks_b, np.ones(1, np.float32))}
    return surface, masks, merge_tree(8, *complete_graph(points), linkage="single")


def test_evidence_equals_iou_counted_pixel_by_pixel():
    surface, masks, tree = two_view_case()
    evidence = mask_evidence(tree, surface, masks, min_points=2, min_iou=0.1)
    found = {(n, v, m): i for n, v, m, i in zip(evidence.node.tolist(), evidence.view.tolist(), evidence.mask.tolist(), evidence.iou.tolist(), strict=True)}
    expected = {}
    for node, below in enumerate(leaves_below(tree)):
        for v, view in enumerate(("a", "b")):
            point = surface.point_of_pixel[view]
            dense = masks[view].masks()
            scale = dense.shape[1] // len(point)
            for m, mask in enumerate(dense[:, scale // 2 :: scale, scale // 2 :: scale]):
                inside = np.isin(point, list(below)) & (point >= 0)
                labelled = mask & (point >= 0)
                iou = (inside & labelled).sum() / max((inside | labelled).sum(), 1)
                if len(below) >= 2 and iou > 0.1 and inside.any():
                    expected[node, v, m] = iou
    assert found.keys() == expected.keys()
    assert all(found[k] == pytest.approx(expected[k]) for k in expected)


def test_point_labels_are_the_majority_of_a_points_pixels():
    point_of_pixel = np.array([[0, 0, 0, 1, -1]], np.int32)
    masks = np.zeros((2, 1, 5), bool)
    masks[0, 0, :1], masks[1, 0, 1:4] = True, True
    label = point_labels(point_of_pixel, stack_masks(masks, np.ones(2, np.float32)), 3)
    assert label.tolist() == [[2, 2, -1]]


def test_cooccurrence_is_high_across_a_border_and_low_inside():
    surface, masks, _ = two_view_case()
    inside, across, unseen = cooccurrence(np.array([[0, 1], [1, 2], [6, 7]]), surface, {"b": masks["b"]})
    assert inside < 0.5 < across
    assert unseen == pytest.approx(0.5)  # view b does not see both: the prior


# ------------------------------------------------------------------ selection


def test_persistence_keeps_the_two_clusters_that_split_late():
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(0, 0.1, (20, 3)), rng.normal(3, 0.1, (20, 3))])
    tree = merge_tree(40, *complete_graph(points), linkage="average")
    kept = [frozenset(leaves_below(tree)[n]) for n in persistent(tree, min_points=12, threshold=1.0)]
    assert set(kept) == {frozenset(range(20)), frozenset(range(20, 40))}
    assert persistent(tree, min_points=12, threshold=100.0) == []


# ------------------------------------------------------------------ part trees


def test_part_tree_by_hand():
    # leaves 0-3; 4 = {0, 1}, 5 = {2, 3}, 6 = all
    tree = MergeTree(np.array([4, 4, 5, 5, 6, 6, 6], np.int32), np.array([0, 0, 0, 0, 0.1, 0.2, 0.9], np.float32))
    parts = part_tree(tree, [4, 0])
    assert parts.parents.tolist() == [1, 2, 2]
    assert parts.part_of_point.tolist() == [0, 1, 2, 2]
    assert parts.points_of(1).tolist() == [True, True, False, False]
    assert parts.path(0) == [1, 0] and parts.depth.tolist() == [2, 1, 0]


def test_nothing_chosen_gives_the_root_alone():
    tree = merge_tree(4, *complete_graph(np.random.default_rng(0).random((4, 3))))
    parts = part_tree(tree, [])
    assert parts.num_parts == 1 and parts.part_of_point.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("seed", range(5))
def test_parts_are_laminar_leaves_come_first_and_the_root_last(seed):
    points = np.random.default_rng(seed).random((40, 3))
    tree = merge_tree(40, *complete_graph(points))
    chosen = np.random.default_rng(seed).choice(np.arange(40, 78), 12, replace=False).tolist()
    parts = part_tree(tree, chosen)
    assert parts.num_parts == 13 and parts.parents[-1] == 12 and (parts.parents[:-1] > np.arange(12)).all()
    is_leaf = ~np.isin(np.arange(13), parts.parents)
    assert is_leaf.tolist() == sorted(is_leaf.tolist(), reverse=True)
    below = leaves_below(tree)
    assert {frozenset(np.flatnonzero(parts.points_of(p)).tolist()) for p in range(12)} == {frozenset(below[n]) for n in chosen}


def test_masks_of_two_objects_and_a_part_give_that_tree():
    """Features know the parts; the masks of one view name three of them; the tree has those three and the root."""
    rng = np.random.default_rng(0)
    x, y = np.meshgrid(np.arange(20), np.arange(12))
    points = np.stack([x.ravel(), y.ravel(), np.zeros(240)], 1)
    region = np.where(x < 10, np.where(y < 6, 0, 1), 2)  # left (upper, lower), right
    directions = np.array([[1, 0.3, 0], [1, -0.3, 0], [0, 0, 1.0]])
    features = directions[region.ravel()] + rng.normal(0, 0.01, (240, 3))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    surface = surface_of(points, {"v": np.arange(240, dtype=np.int32).reshape(12, 20)}, features)
    masks = {"v": stack_masks(np.stack([region < 2, region == 2, region == 0]), np.ones(3, np.float32))}
    parts, *_ = build_part_tree(surface, masks, TreeConfig(gamma=1.0, min_points=5))
    assert parts.num_parts == 4
    found = {frozenset(np.flatnonzero(parts.points_of(p)).tolist()) for p in range(3)}
    assert found == {frozenset(np.flatnonzero(m.ravel()).tolist()) for m in (region < 2, region == 2, region == 0)}
    assert {(int(v), int(m)) for _, v, m in parts.support} >= {(0, 0), (0, 1), (0, 2)}
    without, *_ = build_part_tree(surface, {}, TreeConfig(min_points=5, persistence=0.1))
    assert without.num_parts >= 3  # no masks at hand: by persistence
    assert any((without.points_of(p) == (region == 2).ravel()).all() for p in range(without.num_parts))
