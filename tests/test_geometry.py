"""Fusion, neighbours, bridges and axes against their slow twins."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from semquery.geometry import (
    FusionConfig,
    bridges,
    bulk_box,
    components,
    fuse,
    knn_edges,
    normals_of,
    principal_extent,
    without_cracks,
)
from semquery.types import Observation


def observation(points, random, size=(30, 30)) -> Observation:
    """A view that shows these points in its first pixels."""
    pixels = np.sort(random.choice(size[0] * size[1], len(points), replace=False)).astype(np.int32)
    return Observation(size, pixels, points.astype(np.float32), random.integers(0, 256, (len(points), 3)).astype(np.uint8))


def views_of_a_cube(seed=0, num_views=3, num_pixels=300):
    random = np.random.default_rng(seed)
    seen = {f"v{i}": observation(random.random((num_pixels, 3)), random) for i in range(num_views)}
    return seen, {name: np.array([5.0, 5, 5]) for name in seen}


def slow_voxels(seen, config):
    """cell → its (view, pixel, point, colour) hits, for the cells that count as surface."""
    box = bulk_box(np.concatenate([o.points for o in seen.values()]))
    cells = {}
    for view, o in seen.items():
        for pixel, point, color in zip(o.pixels, o.points, o.colors, strict=True):
            if (point >= box[0]).all() and (point <= box[1]).all():
                cell = tuple(np.floor((point - box[0]) / config.voxel_size).astype(int))
                cells.setdefault(cell, []).append((view, pixel, point, color))
    enough = lambda hits: len(hits) >= config.min_hits and len({h[0] for h in hits}) >= config.min_views  # noqa: E731
    return [cells[cell] for cell in sorted(cells) if enough(cells[cell])]


@pytest.mark.parametrize(("min_hits", "min_views"), [(1, 1), (3, 2), (4, 3), (2, 1)])
def test_fusion_agrees_with_a_dictionary_of_voxels(min_hits, min_views):
    seen, eyes = views_of_a_cube()
    config = FusionConfig(voxel_size=0.21, min_hits=min_hits, min_views=min_views)
    surface, voxels = fuse(seen, eyes, config), slow_voxels(seen, config)
    assert len(surface.points) == len(voxels) > 3
    np.testing.assert_allclose(surface.points, [np.mean([h[2].astype(float) for h in v], 0) for v in voxels], atol=1e-6)
    np.testing.assert_allclose(surface.colors, [np.mean([h[3].astype(float) for h in v], 0).round() for v in voxels])
    direct = {(h[0], h[1]): row for row, hits in enumerate(voxels) for h in hits}
    for view, o in seen.items():
        expected = np.full(o.size, -1, np.int32)
        for pixel, point in zip(o.pixels, o.points, strict=True):
            distance = np.linalg.norm(surface.points - point, axis=1)
            nearby = int(distance.argmin()) if distance.min() < 2 * config.voxel_size else -1
            expected.ravel()[pixel] = direct.get((view, pixel), nearby)
        np.testing.assert_array_equal(surface.point_of_pixel[view], without_cracks(expected))


def test_two_points_three_views_by_hand():
    random = np.random.default_rng(0)
    three = np.array([[0, 0, 0], [0, 0, 0.01], [1, 1, 1]])
    seen = {"a": observation(three, random, (2, 2)), "b": observation(three, random, (2, 2)), "c": observation(three[:2], random, (2, 2))}
    surface = fuse(seen, dict.fromkeys(seen, np.ones(3) * 9), FusionConfig(voxel_size=0.1, min_hits=3))
    np.testing.assert_allclose(surface.points, [[0, 0, 0.005]], atol=1e-6)  # the far corner has two hits only
    assert surface.point_of_pixel["a"].ravel()[seen["a"].pixels].tolist() == [0, 0, -1]
    assert surface.source.tolist() == [0] and surface.features.shape == (1, 0)


def test_min_views_asks_for_no_more_views_than_there_are():
    seen, eyes = views_of_a_cube(num_views=1, num_pixels=800)
    assert len(fuse(seen, eyes, FusionConfig(voxel_size=0.3, min_views=2)).points) > 10


def test_voxels_grow_until_max_points_suffice():
    seen, eyes = views_of_a_cube(num_pixels=800)
    fine = fuse(seen, eyes, FusionConfig(resolution=8, min_hits=1, min_views=1))
    coarse = fuse(seen, eyes, FusionConfig(resolution=8, min_hits=1, min_views=1, max_points=40))
    assert len(fine.points) > 40 >= len(coarse.points) > 0 and coarse.voxel_size > fine.voxel_size


def test_voxels_grow_until_enough_pixels_fall_into_surface():
    random = np.random.default_rng(0)
    seen = {name: observation(random.random((200, 3)) * [1, 1, 0], random) for name in "abc"}
    eyes = dict.fromkeys(seen, np.ones(3))
    strict, lenient = (fuse(seen, eyes, FusionConfig(resolution=50, min_kept=kept)) for kept in (0.9, 0.1))
    share = [sum(len(cell) for cell in slow_voxels(seen, FusionConfig(voxel_size=s.voxel_size))) / 600 for s in (strict, lenient)]
    assert share[0] >= 0.9 > share[1] >= 0.1 and strict.voxel_size > lenient.voxel_size > 1.2 / 50


def test_nothing_seen_and_nothing_left_are_said_clearly():
    random = np.random.default_rng(0)
    eyes = {"a": np.zeros(3)}
    with pytest.raises(ValueError, match="every pixel of every view is background"):
        fuse({"a": observation(np.zeros((0, 3)), random)}, eyes, FusionConfig())
    with pytest.raises(ValueError, match=r"No voxel of .* was hit by 3 pixels .*\(50 pixels in 1 views\)"):
        fuse({"a": observation(random.random((50, 3)), random)}, eyes, FusionConfig(resolution=4000))


def test_a_few_strays_do_not_stretch_the_box():
    points = np.random.default_rng(0).random((2000, 3))
    points[:4] = 1000
    box = bulk_box(points)
    assert (box[0] < 0.05).all() and (box[1] > 0.95).all() and (box[1] < 1.1).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 30), st.integers(1, 8), st.sampled_from([np.inf, 0.4, 0.05]))
def test_neighbour_edges_agree_with_all_distances(seed, n, k, radius):
    points = np.random.default_rng(seed).random((n, 3))
    slow = set()
    for i in range(n):
        others = sorted((float(np.linalg.norm(points[i] - points[j])), j) for j in range(n) if j != i)
        slow |= {(min(i, j), max(i, j)) for d, j in others[:k] if d < radius}
    edges = knn_edges(points, k, radius)
    assert [tuple(e) for e in edges.tolist()] == sorted(slow)


def slow_bridge_length(points, edges):
    """Prim's spanning tree over all pairs of points, where points of one component are at distance 0."""
    n = len(points)
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1)
    _, labels = components(n, edges)
    distance[labels[:, None] == labels[None]] = 0
    inside, total = {0}, 0.0
    while len(inside) < n:
        d, j = min((distance[i, j], j) for i in inside for j in range(n) if j not in inside)
        inside.add(j)
        total += d
    return total


def check_bridges(points, edges):
    added = bridges(points, edges)
    before, _ = components(len(points), edges)
    after, _ = components(len(points), np.concatenate([edges, added]))
    assert after == 1 and len(added) == before - 1  # a forest: not one bridge too many
    length = np.linalg.norm(points[added[:, 0]] - points[added[:, 1]], axis=1).sum()
    assert length == pytest.approx(slow_bridge_length(points, edges), rel=1e-6, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 35), st.integers(0, 40))
def test_bridges_are_the_shortest_that_connect(seed, n, num_edges):
    random = np.random.default_rng(seed)
    check_bridges(random.normal(size=(n, 3)) ** 3, np.sort(random.integers(0, n, (num_edges, 2)), axis=1))


@pytest.mark.parametrize("seed", range(3))
def test_bridges_join_many_tiny_components(seed):
    points = np.random.default_rng(seed).random((60, 3))
    check_bridges(points, knn_edges(points, 1))


def test_bridges_join_components_too_large_for_the_common_tree():
    random = np.random.default_rng(0)
    points = np.concatenate([random.random((300, 3)), random.random((280, 3)) + [3, 0, 0], random.random((5, 3)) + [0, 9, 0]])
    edges = knn_edges(points, 8, radius=2.0)
    _, labels = components(len(points), edges)
    assert sorted(np.bincount(labels)) == [5, 280, 300]
    added = bridges(points, edges)
    far = np.linalg.norm(points[:, None] - points[None], axis=-1)
    shortest = min(far[:300, 300:580].min() + min(far[:300, 580:].min(), far[300:580, 580:].min()), far[:300, 580:].min() + far[300:580, 580:].min())
    assert len(added) == 2 and far[added[:, 0], added[:, 1]].sum() == pytest.approx(shortest)


@settings(max_examples=60, deadline=None)
@given(st.permutations(list(itertools.product(range(3), repeat=3))), st.integers(2, 27))
def test_equal_distances_do_not_make_a_ring_of_bridges(grid, n):
    check_bridges(np.array(grid[:n], float), np.zeros((0, 2), np.int64))


def test_points_in_one_place_are_bridged_at_no_cost():
    check_bridges(np.zeros((6, 3)), np.array([[0, 1]]))


def test_a_connected_graph_needs_no_bridge():
    assert bridges(np.eye(3), np.array([[0, 1], [1, 2]])).shape == (0, 2)


def test_normals_of_a_plane_stand_on_it_towards_the_viewer():
    plane = np.random.default_rng(0).random((60, 3)) * [1, 1, 0]
    for side in (1.0, -1.0):
        np.testing.assert_allclose(normals_of(plane, np.tile([0, 0, side], (60, 1))), np.tile([0, 0, side], (60, 1)), atol=1e-6)


def test_normals_of_a_sphere_are_radial():
    radial = np.random.default_rng(0).normal(size=(1500, 3))
    radial /= np.linalg.norm(radial, axis=1, keepdims=True)
    normals = normals_of(2 * radial, radial)
    assert np.linalg.norm(normals, axis=1) == pytest.approx(1, abs=1e-5) and (normals * radial).sum(1).min() > 0.97


def test_a_single_point_has_a_normal():
    assert np.linalg.norm(normals_of(np.zeros((1, 3)), np.ones((1, 3)))) == pytest.approx(1)


def test_extents_of_a_turned_box_are_its_sides():
    box = np.stack(np.meshgrid(np.linspace(0, 3, 31), np.linspace(0, 2, 21), np.linspace(0, 1, 11), indexing="ij"), -1).reshape(-1, 3)
    R = Rotation.from_euler("xyz", [20, 50, -70], degrees=True).as_matrix()
    extent, axes = principal_extent(box @ R.T + 7)
    np.testing.assert_allclose(extent, [3, 2, 1], rtol=0.08)
    np.testing.assert_allclose(np.abs(axes @ R), np.eye(3), atol=1e-6)


@pytest.mark.parametrize("n", [0, 1])
@pytest.mark.filterwarnings("error")
def test_fewer_than_two_points_have_no_extent(n):
    extent, axes = principal_extent(np.ones((n, 3), np.float32))
    assert extent.tolist() == [0, 0, 0] and axes.tolist() == np.eye(3).tolist()


def test_cracks_close_and_outlines_stay():
    image = np.full((7, 9), -1, np.int32)
    image[1:6, 1:4], image[1:6, 5:8] = 3, 4  # one column apart
    filled = without_cracks(image)
    assert (filled[1:6, 4] >= 0).all() and set(filled[1:6, 4].tolist()) <= {3, 4}
    outside = np.ones_like(image, bool)
    outside[1:6, 1:8] = False
    assert (filled[outside] == -1).all() and (filled[image >= 0] == image[image >= 0]).all()
    three_apart = np.where(np.isin(np.arange(9), (3, 4, 5)), -1, image)
    assert (without_cracks(three_apart)[:, 4] == -1).all()
    assert (without_cracks(np.full((3, 3), -1, np.int32)) == -1).all()
