"""Evidence against counting pixel by pixel; the lazy choice of nodes against the plain greedy one."""

import numpy as np
import pytest

from semquery.coverage import heavy_paths, runs
from semquery.evidence import Evidence, cooccurrence, mask_evidence, point_labels
from semquery.hierarchy import intervals
from semquery.types import MaskStack, MergeTree, Surface


def random_tree(rng: np.random.Generator, n: int, crumbs: float) -> MergeTree:
    """Random merges; a share `crumbs` of them adds one point to the node made last, which makes long chains."""
    parents, roots, fresh = np.arange(2 * n - 1), list(range(n)), list(rng.permutation(n))
    for node in range(n, 2 * n - 1):
        a = roots[-1] if rng.random() < crumbs else roots[rng.integers(len(roots))]
        points = [leaf for leaf in fresh if leaf in roots and leaf != a]
        b = points[0] if points and rng.random() < crumbs else next(r for r in rng.permutation(roots) if r != a)
        parents[[a, b]] = node
        roots = [r for r in roots if r not in (a, b)] + [node]
    return MergeTree(parents.astype(np.int32), np.maximum(np.arange(2 * n - 1) - n + 1, 0).astype(np.float32))


def random_surface(rng: np.random.Generator, n: int, views: int) -> Surface:
    images = {str(v): rng.integers(-1, n, (9, 11)).astype(np.int32) for v in range(views)}
    return Surface(rng.random((n, 3)).astype(np.float32), np.zeros((n, 3), np.float32), np.zeros((n, 3), np.uint8),
                   np.zeros((n, 0), np.float16), np.arange(n, dtype=np.int32), 1.0, images)


def random_masks(rng: np.random.Generator, surface: Surface, tree: MergeTree) -> dict[str, MaskStack]:
    """Masks that are nodes of the tree with a few pixels changed, and one layer of pure noise, of another size."""
    masks, below = {}, leaves_below(tree)
    for view, image in surface.point_of_pixel.items():
        layers, count = [], 0
        for _ in range(3):
            nodes = rng.choice(len(below), 2, replace=False)
            layer = np.where(np.isin(image, list(below[nodes[0]])), count + 1, 0)
            layer[np.isin(image, list(below[nodes[1]])) & (layer == 0)] = count + 2
            layer[rng.random(image.shape) < 0.1] = count + 1
            layers.append(layer)
            count += 2
        layers.append(np.array([0, count + 1, count + 2])[rng.integers(0, 3, image.shape)])
        doubled = np.stack(layers).repeat(2, 1).repeat(2, 2).astype(np.uint16)
        masks[view] = MaskStack(doubled, np.ones(int(doubled.max()), np.float32))
    return masks


def leaves_below(tree: MergeTree) -> list[set[int]]:
    sets = [{i} for i in range(tree.num_leaves)] + [set() for _ in range(tree.num_leaves - 1)]
    for node in range(len(tree.parents) - 1):
        sets[tree.parents[node]] |= sets[node]
    return sets


def every_pair(tree: MergeTree, surface: Surface, masks: dict[str, MaskStack], min_points: int, min_iou: float) -> dict:
    """IoU of every node with every mask, from sets of pixels."""
    found = {}
    for node, below in enumerate(leaves_below(tree)):
        for v, (view, stack) in enumerate(masks.items()):
            image = surface.point_of_pixel[view]
            inside = np.isin(image, list(below)) & (image >= 0)
            for layer in stack.layers[:, ::2, ::2]:
                for label in np.unique(layer[(layer > 0) & (image >= 0)]).tolist():
                    mask = (layer == label) & (image >= 0)
                    iou = (inside & mask).sum() / (inside | mask).sum()
                    if len(below) >= min_points and iou > min_iou:
                        found[node, v, label - 1] = iou
    return found


def as_dict(evidence: Evidence) -> dict:
    columns = (evidence.node, evidence.view, evidence.mask, evidence.iou)
    found = {(n, v, m): iou for n, v, m, iou in zip(*(c.tolist() for c in columns), strict=True)}
    assert len(found) == len(evidence.node)  # no pair twice
    return found


# ------------------------------------------------------------------ nodes and masks


@pytest.mark.parametrize("crumbs", [0.0, 0.9])
@pytest.mark.parametrize("min_points", [1, 2, 5])
@pytest.mark.parametrize("min_iou", [0.0, 0.2, 0.5, 0.8])
def test_evidence_is_that_of_all_nodes_against_all_masks(crumbs, min_points, min_iou):
    rng = np.random.default_rng(min_points)
    tree, surface = random_tree(rng, 40, crumbs), random_surface(rng, 40, views=3)
    masks = random_masks(rng, surface, tree)
    evidence = mask_evidence(tree, surface, masks, min_points, min_iou)
    expected = every_pair(tree, surface, masks, min_points, min_iou)
    assert expected and as_dict(evidence) == expected
    assert (np.diff(evidence.node) >= 0).all()


def test_views_are_counted_for_nodes_that_are_large_enough():
    rng = np.random.default_rng(0)
    tree, surface = random_tree(rng, 60, 0.5), random_surface(rng, 60, views=4)
    masks = random_masks(rng, surface, tree)
    num_views = mask_evidence(tree, surface, masks, min_points=3).num_views
    for node, below in enumerate(leaves_below(tree)):
        seen = sum(bool(below & set(image.ravel().tolist())) for image in surface.point_of_pixel.values())
        assert num_views[node] == (seen if len(below) >= 3 else 0)


def test_a_tree_without_a_node_large_enough_has_no_evidence():
    rng = np.random.default_rng(0)
    tree, surface = random_tree(rng, 5, 0.0), random_surface(rng, 5, views=1)
    evidence = mask_evidence(tree, surface, random_masks(rng, surface, tree), min_points=6)
    assert len(evidence.node) == 0 and not evidence.num_views.any()


def test_a_view_without_masks_or_without_surface_counts_for_nothing():
    rng = np.random.default_rng(0)
    tree, surface = random_tree(rng, 5, 0.0), random_surface(rng, 5, views=1)
    surface.point_of_pixel["blank"] = np.full((2, 2), -1, np.int32)
    stacks = {"0": MaskStack(np.zeros((0, 9, 11), np.uint16), np.zeros(0, np.float32)),
              "blank": MaskStack(np.ones((1, 2, 2), np.uint16), np.ones(1, np.float32))}
    evidence = mask_evidence(tree, surface, stacks, min_points=1)
    assert len(evidence.node) == 0 and evidence.num_views.max() == 1
    np.testing.assert_allclose(cooccurrence(np.array([[0, 1]]), surface, stacks), 0.5)


def test_evidence_of_a_chain_by_hand():
    # 4 = {0, 1}, 5 = {0, 1, 2}, 6 = all; two pixels show point 2, none shows point 3
    tree = MergeTree(np.array([4, 4, 5, 6, 5, 6, 6], np.int32), np.array([0, 0, 0, 0, 1, 2, 3], np.float32))
    surface = random_surface(np.random.default_rng(0), 4, 0)
    surface.point_of_pixel["v"] = np.array([[0, 1, 2, 2]], np.int32)
    masks = {"v": MaskStack(np.array([[[1, 1, 1, 0]]], np.uint16), np.ones(1, np.float32))}
    assert as_dict(mask_evidence(tree, surface, masks, min_points=2)) == {(4, 0, 0): 2 / 3, (5, 0, 0): 3 / 4, (6, 0, 0): 3 / 4}


# ------------------------------------------------------------------ heavy paths


@pytest.mark.parametrize("crumbs", [0.0, 0.5, 1.0])
def test_a_root_path_crosses_few_heavy_paths_and_misses_no_node(crumbs):
    rng = np.random.default_rng(1)
    tree = random_tree(rng, 80, crumbs)
    start, stop = intervals(tree.parents)
    paths = heavy_paths(tree.parents, start, stop, min_points=3)
    big = set(np.flatnonzero(stop - start >= 3).tolist())
    assert sorted(paths.node.tolist()) == sorted(big)
    for leaf in range(80):
        node, expected = leaf, []
        while node not in expected:
            expected.append(node)
            node = int(tree.parents[node])
        rank, climbed, crossed = int(paths.lowest[start[leaf]]), [], 0
        while rank >= 0:
            climbed += paths.node[rank : paths.last[rank] + 1].tolist()
            rank, crossed = int(paths.above[rank]), crossed + 1
        assert climbed == [n for n in expected if n in big]
        assert crossed <= 1 + np.log2(80)


def test_runs_are_ranges_side_by_side():
    run, numbers = runs(np.array([7, 0, 3]), np.array([2, 0, 3]))
    assert run.tolist() == [0, 0, 2, 2, 2] and numbers.tolist() == [7, 8, 3, 4, 5]


# ------------------------------------------------------------------ points and edges


def votes(image: np.ndarray, stack: MaskStack, n: int) -> np.ndarray:
    """The label of most pixels of each point, counted one by one; of equals the larger."""
    label = np.full((len(stack.layers), n), -1)
    for row, layer in zip(label, stack.layers[:, ::2, ::2], strict=True):
        for point in range(n):
            count = np.bincount(layer[image == point]) if (image == point).any() else None
            row[point] = -1 if count is None else np.flatnonzero(count == count.max())[-1]
    return label


@pytest.mark.parametrize("n", [5, 30])
def test_point_labels_are_the_winners_of_a_vote_counted_by_hand(n):
    rng = np.random.default_rng(n)
    surface = random_surface(rng, n, views=1)
    stack = random_masks(rng, surface, random_tree(rng, n, 0.5))["0"]
    image = surface.point_of_pixel["0"]
    np.testing.assert_array_equal(point_labels(image, stack, n), votes(image, stack, n))


@pytest.mark.parametrize("seed", range(4))
def test_cooccurrence_is_counted_mask_by_mask(seed):
    rng = np.random.default_rng(seed)
    surface = random_surface(rng, 50, views=3)
    masks = random_masks(rng, surface, random_tree(rng, 50, 0.5))
    edges = rng.integers(0, 50, (200, 2))
    apart, around = np.zeros(200), np.zeros(200)
    for view, stack in masks.items():
        label = votes(surface.point_of_pixel[view], stack, 50)
        for e, (a, b) in enumerate(edges):
            for of_a, of_b in label[:, [a, b]].tolist():
                if of_a >= 0 and of_b >= 0:
                    holders = {of_a, of_b} - {0}
                    around[e] += len(holders)
                    apart[e] += len(holders) if of_a != of_b else 0
    np.testing.assert_allclose(cooccurrence(edges, surface, masks), (apart + 0.15) / (around + 0.3))


def test_cooccurrence_by_hand():
    # points 0 1 2 in a row; one mask holds 0 and 1, another only 1 and 2
    surface = random_surface(np.random.default_rng(0), 4, 0)
    surface.point_of_pixel["v"] = np.array([[0, 1, 2]], np.int32)
    masks = {"v": MaskStack(np.array([[[1, 1, 0]], [[0, 2, 2]]], np.uint16), np.ones(2, np.float32))}
    found = cooccurrence(np.array([[0, 1], [0, 2], [2, 3]]), surface, masks, prior=0.5, strength=1.0)
    np.testing.assert_allclose(found, [1.5 / 3, 2.5 / 3, 0.5])
