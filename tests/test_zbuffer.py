"""Rasterised views against testing every triangle at every pixel, and against the ray caster."""

import warnings

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.objects import SCENES
from semquery.render import RayCaster, look_at, pinhole, pixel_rays
from semquery.zbuffer import columns_of, in_camera, rasterised, rows_of, slices, spread

IDENTITY = np.eye(4)  # a camera at the origin that looks along -z, +y up
EDGES = np.array([[-1.0, -1, -2], [1, -1, -2], [1, 1, -2], [-1, 1, -2]])
TWO = np.array([[0, 1, 2], [0, 2, 3]])
needs_embree = pytest.mark.skipif(not trimesh.ray.has_embree, reason="no embreex here")


def soup(seed: int, count: int = 25) -> tuple[np.ndarray, np.ndarray]:
    """Triangles all around the origin, many of which reach behind a camera there."""
    random = np.random.default_rng(seed)
    middles, reach = random.normal(size=(count, 1, 3)), random.uniform(0.05, 1.5, (count, 1, 1))
    return (middles + reach * random.normal(size=(count, 3, 3))).reshape(-1, 3), np.arange(3 * count).reshape(-1, 3)


def camera(seed: int) -> np.ndarray:
    random = np.random.default_rng(seed + 1000)
    return look_at(random.normal(size=3) * random.choice([0.0, 0.3, 4.0]), random.normal(size=3))


def slow(vertices, faces, T_world_cam, intrinsics, size):
    """Möller and Trumbore's test of every pixel's ray with every triangle."""
    origin, rays = pixel_rays(T_world_cam, intrinsics, size)
    best, face = np.full(size, np.inf), np.full(size, -1)
    for k, (a, b, c) in enumerate(np.asarray(vertices, float)[faces]):
        for pixel in np.ndindex(size):
            p = np.cross(rays[pixel], c - a)
            det = np.dot(b - a, p)
            if abs(det) < 1e-12:
                continue
            u = np.dot(origin - a, p) / det
            q = np.cross(origin - a, b - a)
            v, t = np.dot(rays[pixel], q) / det, np.dot(c - a, q) / det
            if u >= 0 and v >= 0 and u + v <= 1 and 0 < t < best[pixel]:
                best[pixel], face[pixel] = t, k
    return face


def settled(vertices, faces, T_world_cam, intrinsics, size):
    """Pixels that show the same face a hundredth of a pixel to every side: no edge is near."""
    middle = rasterised(vertices, faces, T_world_cam, intrinsics, size)
    moves = 0.01 * np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])
    around = [rasterised(vertices, faces, T_world_cam, intrinsics + [0, 0, *move], size) for move in moves]
    return np.all([face == middle for face in around], axis=0)


# ------------------------------------------------------------------ what every pixel shows


@settings(max_examples=15)
@given(st.integers(0, 10**6))
def test_every_pixel_agrees_with_testing_every_triangle(seed):
    vertices, faces = soup(seed)
    view = (camera(seed), pinhole(70, (8, 11)), (8, 11))
    assert (rasterised(vertices, faces, *view) == slow(vertices, faces, *view)).all()


def test_a_triangle_shows_at_the_pixels_whose_centres_it_covers():
    # Columns 0..3 have x = -1.5, -0.5, 0.5, 1.5 at depth 1; the triangle's long edge passes between the centres.
    vertices = np.array([[-2, -1, -1], [2, -1, -1], [-2, 2.9, -1]], float)
    face = rasterised(vertices, np.array([[0, 1, 2]]), IDENTITY, np.array([1.0, 1, 2, 2]), (4, 4))
    assert face.tolist() == [[0, -1, -1, -1], [0, 0, -1, -1], [0, 0, 0, -1], [-1, -1, -1, -1]]


def test_the_nearer_of_two_triangles_is_shown_also_where_they_cross():
    left, right = [-1.0, 0, -3], [1.0, 0, -1]  # one plane comes closer to the right, the other to the left
    vertices = np.array([left, right, right, left]) + [[0, 9, 0], [0, 9, 0], [0, -9, 0], [0, -9, 0]]
    mirrored = vertices * [-1, 1, 1]
    faces = np.concatenate([TWO, TWO + 4])
    face = rasterised(np.concatenate([vertices, mirrored]), faces, IDENTITY, pinhole(40, (6, 6)), (6, 6))
    assert (face[:, 3:] < 2).all() and (face[:, :3] >= 2).all()


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.integers(1, 300))
def test_working_in_pieces_changes_nothing(seed, chunk):
    vertices, faces = soup(seed)
    view = (camera(seed), pinhole(80, (12, 9)), (12, 9))
    assert (rasterised(vertices, faces, *view, chunk=chunk) == rasterised(vertices, faces, *view)).all()


@settings(max_examples=20)
@given(st.integers(0, 10**6))
def test_the_order_and_the_winding_of_triangles_change_only_their_numbers(seed):
    vertices, faces = soup(seed)
    view = (camera(seed), pinhole(80, (12, 9)), (12, 9))
    order = np.random.default_rng(seed).permutation(len(faces))
    face = rasterised(vertices, faces[order][:, [1, 0, 2]], *view)
    assert (np.where(face >= 0, order[face], -1) == rasterised(vertices, faces, *view)).all()


# ------------------------------------------------------------------ borders


@pytest.mark.parametrize("seed", range(5))
def test_from_inside_a_closed_mesh_no_pixel_sees_through(seed):
    ball = trimesh.creation.icosphere(3)
    random = np.random.default_rng(seed)
    T = look_at(random.uniform(-0.5, 0.5, 3), random.normal(size=3))
    assert (rasterised(np.asarray(ball.vertices), ball.faces, T, pinhole(120, (80, 80)), (80, 80)) >= 0).all()


def test_edges_through_the_centres_of_pixels_leave_no_gap():
    """A grid of squares of which every corner lies behind the centre of a pixel."""
    columns, rows = np.meshgrid(np.arange(9) - 3.5, np.arange(9) - 3.5)
    vertices = np.stack([columns, rows, np.full_like(columns, -1)], -1).reshape(-1, 3)
    at = (np.arange(8)[:, None] * 9 + np.arange(8)).reshape(-1, 1)
    faces = np.concatenate([at + [0, 1, 10], at + [0, 10, 9]])
    assert (rasterised(vertices, faces, IDENTITY, np.array([1.0, 1, 4, 4]), (8, 8)) >= 0).all()


def test_of_copies_in_one_place_the_first_is_shown():
    faces = np.concatenate([TWO, TWO[:, [2, 0, 1]], TWO[:, ::-1]])
    T = look_at(np.array([0.3, 0.2, 1.0]), np.array([0, 0, -2.0]), up=(0, 1, 0))
    face = rasterised(EDGES, faces, T, pinhole(20, (9, 9)), (9, 9))
    assert set(np.unique(face)) == {0, 1}


def test_what_is_behind_the_camera_or_beside_the_picture_is_not_shown():
    for move in ([0, 0, 4], [9, 0, 0], [0, -9, 0]):
        assert (rasterised(EDGES + move, TWO, IDENTITY, pinhole(60, (7, 7)), (7, 7)) == -1).all()


def test_triangles_without_an_inside_are_not_shown_and_disturb_nothing():
    bad = np.array([
        [[0, 0, -1], [0, 0, -1], [1, 1, -1]],  # two corners in one place
        [[-1, -1, -1], [0, 0, -1], [0.3, 0.3, -1]],  # in a line
        [[0, 0, 0], [0.2, 0, -1], [0.1, 0, -2]],  # seen edge-on
        [[0, 0, -1], [np.nan, 1, -1], [1, 0, -1]],
        [[0, 0, -1], [np.inf, 1, -1], [1, 0, -1]],
        [[0, 0, -1], [1e200, 1e200, -1], [1, -1e200, -1]],
        [[0, 0, 0], [0, 0, 0], [0, 0, 0]],
    ], float)
    vertices = np.concatenate([EDGES, bad.reshape(-1, 3)])
    faces = np.concatenate([np.arange(4, 4 + 3 * len(bad)).reshape(-1, 3), TWO])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        face = rasterised(vertices, faces, IDENTITY, pinhole(40, (9, 9)), (9, 9))
    assert set(np.unique(face)) == {len(bad), len(bad) + 1}


@pytest.mark.parametrize("size", [(0, 0), (0, 5), (5, 0), (1, 1)])
def test_empty_pictures_and_meshes_are_answered(size):
    assert rasterised(EDGES, TWO, IDENTITY, pinhole(60, (5, 5)), size).shape == size
    assert (rasterised(EDGES, TWO[:0], IDENTITY, pinhole(60, (5, 5)), size) == -1).all()


# ------------------------------------------------------------------ its pieces


@settings(max_examples=30)
@given(st.integers(0, 10**6))
def test_rows_and_columns_exclude_no_pixel_that_shows_the_triangle(seed):
    vertices, faces = soup(seed, 1)
    T, K, size = camera(seed), pinhole(75, (10, 10)), (10, 10)
    shown = rasterised(vertices, faces, T, K, size) == 0
    first, count = rows_of(in_camera(vertices, T)[faces], K[1], K[3], size[0])
    inside = np.zeros(10, bool)
    inside[first[0] : first[0] + count[0]] = True
    assert inside[shown.any(1)].all()


def test_columns_are_those_between_the_edges():
    x = np.arange(10) + 0.5
    edges = np.array([[[1, -2], [-1, 5], [0, 1]], [[1, -7], [-1, 3], [0, 1]]], float)  # x ≥ 2 and x ≤ 5; x ≥ 7 and x ≤ 3
    first, count = columns_of(edges, x)
    assert (first[0], count[0], count[1]) == (2, 3, 0)


def test_items_are_spread_and_cut_into_runs():
    item, value = spread(np.array([7, 8, 9]), np.array([1, 5, 3]), np.array([2, 0, 3]))
    assert item.tolist() == [7, 7, 9, 9, 9] and value.tolist() == [1, 2, 3, 4, 5]
    runs = [(run.start, run.stop) for run in slices(np.array([2, 3, 9, 0, 1, 4]), 5)]
    assert runs == [(0, 2), (2, 3), (3, 6)]


# ------------------------------------------------------------------ beside the ray caster


@needs_embree
@pytest.mark.parametrize("make", SCENES.values())
def test_both_ways_of_casting_a_view_give_the_same(make):
    """Wherever no edge is near: the same face, or one that lies in the same place as well (boards that overlap in a plane)."""
    scene, size = make(), (96, 96)
    low, high = scene.vertices.min(0).astype(float), scene.vertices.max(0).astype(float)
    T = look_at((low + high) / 2 + 1.7 * np.linalg.norm(high - low) * np.array([0.47, -0.81, 0.35]), (low + high) / 2)
    view = (T, pinhole(35, size), size)
    rays, raster = (RayCaster(scene.vertices, scene.faces, way).cast(*view) for way in ("rays", "z-buffer"))
    certain = settled(scene.vertices, scene.faces, *view)
    assert certain.mean() > 0.97 and raster.mask.mean() > 0.05
    assert (rays.mask == raster.mask)[certain].all()
    np.testing.assert_allclose(rays.points[certain], raster.points[certain], atol=1e-6)
    same = rays.face == raster.face
    assert same.mean() > 0.995 and (scene.part_of_face[rays.face] == scene.part_of_face[raster.face])[certain].all()


@needs_embree
@pytest.mark.parametrize("seed", range(10))
def test_of_double_sided_triangles_both_ways_show_the_front(seed):
    vertices, faces = soup(seed)
    order = np.random.default_rng(seed).permutation(2 * len(faces))
    double = np.concatenate([faces, faces[:, ::-1]])[order]
    view = (camera(seed), pinhole(70, (40, 40)), (40, 40))
    rays, raster = (RayCaster(vertices, double, way).cast(*view) for way in ("rays", "z-buffer"))
    certain = settled(vertices, faces, *view)
    assert (rays.face == raster.face)[certain].all() and certain.mean() > 0.9
    np.testing.assert_array_equal(rays.normals[certain], raster.normals[certain])


def test_without_embree_views_are_rasterised(monkeypatch):
    monkeypatch.setattr(trimesh.ray, "has_embree", False)
    caster = RayCaster(EDGES, TWO)
    monkeypatch.setattr(caster, "_first", None)  # no ray is traced
    hits = caster.cast(IDENTITY, pinhole(20, (6, 6)), (6, 6))
    assert set(np.unique(hits.face)) == {0, 1}
    np.testing.assert_allclose(hits.points[..., 2], -2)
    np.testing.assert_allclose(hits.normals, np.broadcast_to([0, 0, 1], (6, 6, 3)))


@needs_embree
def test_the_bench_of_views_sees_the_whole_object_and_notices_other_faces():
    from eval.bench.views import agreement, camera

    scene, size = SCENES["chair"](), (64, 64)
    rays, raster = (RayCaster(scene.vertices, scene.faces, way).cast(camera(scene), pinhole(35, size), size) for way in ("rays", "z-buffer"))
    rim = np.concatenate([raster.mask[[0, -1]].ravel(), raster.mask[:, [0, -1]].ravel()])
    assert not rim.any() and raster.mask[16:48, 16:48].any()
    assert agreement(rays, raster) > 0.99
    other = RayCaster(scene.vertices, scene.faces[::-1], "z-buffer").cast(camera(scene), pinhole(35, size), size)
    assert agreement(rays, other) == pytest.approx((~raster.mask).mean(), abs=0.01)
