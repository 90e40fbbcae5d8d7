"""Meshes as graphs, evidence, geodesic weights, smoothing: against slow twins and by hand."""

import inspect
import itertools

import numpy as np
import pytest
from fusion_shapes import all_distances, ball, random_mesh, regions_of, shown, strip, surroundings
from hypothesis import given
from hypothesis import strategies as st

from eval.bench import fusing
from semquery.fusion import ViewRegions, directions, evidence_of, mesh_graph, poses, unit_sphere, visible
from semquery.fusion.evidence import is_box
from semquery.fusion.fill import nearest_known
from semquery.fusion.geodesics import capital, distances, gaussian, geodesic_weights
from semquery.fusion.published import above_mean, boxed, largest, summed_scores
from semquery.fusion.smoothing import agreement, around, counts_around
from semquery.segmenter import Region

SEEDS = st.integers(0, 200)


def random_graph(seed: int):
    random = np.random.default_rng(seed)
    vertices, faces = random_mesh(random, int(random.integers(4, 12)), int(random.integers(2, 25)))
    return random, mesh_graph(vertices, faces)


def random_views(random: np.random.Generator, num_faces: int, num_views: int = 3) -> tuple[ViewRegions, ...]:
    """Pixels that show faces at random, with none to three regions a view."""
    def region() -> Region:
        return Region(random.random((7, 9)) < random.random(), float(random.random()))

    faces = [random.integers(-1, num_faces, (7, 9)).astype(np.int32) for _ in range(num_views)]
    return tuple(ViewRegions(face, tuple(region() for _ in range(random.integers(0, 4))), f"view_{k}") for k, face in enumerate(faces))


# ------------------------------------------------------------------ where a mesh is looked at from


@given(SEEDS)
def test_the_unit_sphere_is_touched_and_centred_and_can_be_undone(seed):
    points = np.random.default_rng(seed).normal(size=(9, 3)) * 40 + 7
    inside, shift, scale = unit_sphere(points)
    assert np.linalg.norm(inside, axis=1).max() == pytest.approx(1)
    np.testing.assert_allclose(inside.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(inside * scale + shift, points)


@pytest.mark.parametrize("points", [np.zeros((3, 3)), np.full((3, 3), np.nan), np.zeros((0, 3))])
def test_a_mesh_without_size_has_no_unit_sphere(points):
    with pytest.raises(ValueError, match="mesh"):
        unit_sphere(points)


def test_the_ring_is_reasoning3ds():
    """Positions (2 cos e cos a, 2 sin e, 2 cos e sin a) with e = .2 and a = kπ/4, looking at the origin with +y up."""
    found = poses(directions("ring8"))
    for k, pose in enumerate(found):
        a = k * np.pi / 4
        np.testing.assert_allclose(pose[:3, 3], [2 * np.cos(0.2) * np.cos(a), 2 * np.sin(0.2), 2 * np.cos(0.2) * np.sin(a)], atol=1e-12)
        np.testing.assert_allclose(pose[:3, 2], pose[:3, 3] / 2, atol=1e-12)
        assert pose[1, 1] > 0.9


@pytest.mark.parametrize("name, count", [("ring8", 8), ("ring16", 16), ("ring8+2", 10), ("fib16", 16), ("fib32", 32)])
@pytest.mark.parametrize("up", ["y", "z"])
def test_every_set_of_views_sees_the_whole_sphere_from_its_distance(name, count, up):
    found = poses(directions(name), up=up)
    assert len(found) == count
    np.testing.assert_allclose(np.linalg.norm(found[:, :3, 3], axis=1), 2)
    np.testing.assert_allclose(np.linalg.det(found[:, :3, :3]), 1)
    assert len(np.unique(found[:, :3, 3].round(6), axis=0)) == count


def test_fibonacci_views_are_spread_evenly():
    eyes = poses(directions("fib32"))[:, :3, 3] / 2
    nearest = np.sort(eyes @ eyes.T, axis=1)[:, -2]
    assert np.degrees(np.arccos(nearest)).min() > 25  # 32 equal caps have a radius of 20.4°
    np.testing.assert_allclose(eyes.mean(0), 0, atol=0.03)


def test_an_unknown_set_of_views_is_refused():
    with pytest.raises(ValueError, match="'ring9'; expected one of ring8"):
        inspect.unwrap(directions)("ring9")


# ------------------------------------------------------------------ graphs


@given(SEEDS)
def test_neighbours_share_an_edge_as_all_pairs_tell(seed):
    _, graph = random_graph(seed)

    def sides(face):
        return {frozenset(pair) for pair in itertools.combinations(face.tolist(), 2) if len(set(pair)) == 2}

    found = graph.neighbours.toarray()
    crowded = {side for side in set().union(*(sides(f) for f in graph.faces)) if sum(side in sides(f) for f in graph.faces) > 8}
    for a, b in itertools.product(range(graph.num_faces), repeat=2):
        shared = sides(graph.faces[a]) & sides(graph.faces[b])
        if a == b or not shared or shared - crowded:
            assert found[a, b] == (a == b or bool(shared))


def test_at_an_edge_of_very_many_faces_all_are_two_steps_apart():
    vertices = np.concatenate([[[0, 0, 0], [0, 0, 1]], [[np.cos(t), np.sin(t), 0] for t in np.linspace(0, 6, 30)]])
    graph = mesh_graph(vertices, np.array([[0, 1, k] for k in range(2, 32)]))
    assert graph.neighbours.nnz == 30 + 2 * 29
    assert around(graph, np.arange(30), 2).nnz == 900


def test_vertices_in_one_place_are_one_and_faces_keep_their_numbers():
    vertices, faces = strip(3)
    split = mesh_graph(vertices[faces].reshape(-1, 3), np.arange(3 * len(faces)).reshape(-1, 3))
    whole = mesh_graph(vertices, faces)
    assert len(split.vertices) == len(whole.vertices) == 8
    np.testing.assert_array_equal(split.neighbours.toarray(), whole.neighbours.toarray())
    assert set(split.piece) == {0}


def test_vertices_of_no_face_are_no_pieces():
    vertices, faces = strip(2)
    graph = mesh_graph(np.concatenate([vertices, [[3.0, 9, 9]]]), faces)
    assert set(graph.piece) == {0} and np.isfinite(graph.joined.data).all()


@pytest.mark.parametrize("faces, says", [(np.zeros((0, 3), int), "no faces"), (np.array([[0, 1, 9]]), "there are 3")])
def test_meshes_that_are_none_are_refused(faces, says):
    with pytest.raises(ValueError, match=says):
        mesh_graph(np.eye(3), faces)


# ------------------------------------------------------------------ geodesics


@given(SEEDS)
def test_distances_are_shortest_paths_across_bridges(seed):
    random, graph = random_graph(seed)
    every = all_distances(graph.joined.toarray())
    source, wanted = int(random.integers(len(graph.vertices))), random.integers(0, len(graph.vertices), 5)
    np.testing.assert_allclose(distances(graph, source, wanted), every[source, wanted], atol=1e-9)


@given(SEEDS)
def test_as_heat_has_it_other_pieces_are_the_mean_distance_away(seed):
    random, graph = random_graph(seed)
    every = all_distances(graph.apart.toarray())
    source, wanted = int(random.integers(len(graph.vertices))), np.arange(len(graph.vertices))
    own = graph.piece == graph.piece[source]
    area = graph.area_of_vertex[own]
    mean = np.average(every[source, own], weights=area if area.any() else None)
    np.testing.assert_allclose(distances(graph, source, wanted, "heat"), np.where(own, every[source], mean), atol=1e-9)


def test_the_capital_is_next_to_the_centroid_by_area():
    graph = mesh_graph(*strip(6))
    at = graph.vertices[capital(graph, np.arange(12))]
    assert at[0] == pytest.approx(0, abs=1e-9)  # the middle of the ribbon
    assert graph.vertices[capital(graph, np.array([0, 1]))][0] < graph.vertices[capital(graph, np.array([10, 11]))][0]


def test_the_gaussian_peaks_at_the_mean_distance_and_integrates_to_one():
    d = np.linspace(0, 2, 2001)
    density, relative = gaussian(d), gaussian(d, is_density=False)
    assert d[density.argmax()] == pytest.approx(d.mean(), abs=1e-3)
    assert relative.max() == pytest.approx(1) and relative.min() > 0
    np.testing.assert_allclose(density * d.std() * np.sqrt(2 * np.pi), relative)
    np.testing.assert_array_less(relative[:900], gaussian(d, 3.0, is_density=False)[:900])
    np.testing.assert_array_equal(gaussian(np.full(4, 0.3)), np.ones(4))


def test_small_regions_are_louder_in_the_published_density():
    graph = mesh_graph(*strip(12))
    rows = np.zeros((2, 24))
    rows[0, 10:14], rows[1] = 1, 1
    views = tuple(ViewRegions(np.where(row > 0, np.arange(24), -1).astype(np.int32)[None], (Region((row > 0)[None]),), str(k)) for k, row in enumerate(rows))
    weights = geodesic_weights(graph, evidence_of(views, 24).pixels, np.arange(2))
    assert weights[0].max() > 2 * weights[1].max()


# ------------------------------------------------------------------ smoothing


@given(SEEDS, st.integers(0, 5))
def test_agreement_is_the_share_of_the_surroundings_that_the_region_holds(seed, steps):
    random, graph = random_graph(seed)
    evidence = evidence_of(random_views(random, graph.num_faces), graph.num_faces)
    near, held = surroundings(graph.neighbours.toarray() > 0, steps), evidence.pixels.toarray() > 0
    expected = np.array([[(near[f] & row).sum() / near[f].sum() if row[f] else 0 for f in range(graph.num_faces)] for row in held])
    np.testing.assert_allclose(agreement(graph, evidence.pixels, steps).toarray(), expected.reshape(evidence.pixels.shape))


@given(SEEDS)
def test_counting_a_few_faces_at_a_time_changes_nothing(seed):
    random, graph = random_graph(seed)
    pixels = evidence_of(random_views(random, graph.num_faces), graph.num_faces).pixels
    whole = counts_around(graph, pixels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("semquery.fusion.smoothing.AT_A_TIME", 2)
        pieces = counts_around(graph, pixels)
    np.testing.assert_array_equal(whole[0].toarray(), pieces[0].toarray())
    np.testing.assert_array_equal(whole[1], pieces[1])


def test_inside_a_region_that_holds_everything_all_agree():
    graph = mesh_graph(*ball(2))
    views = regions_of(shown(*ball(2)), np.ones(320, bool))
    one = (ViewRegions(np.arange(320, dtype=np.int32)[None], (Region(np.ones((1, 320), bool)),), "all"),)
    np.testing.assert_allclose(agreement(graph, evidence_of(one, 320).pixels).toarray(), 1)
    assert agreement(graph, evidence_of(views, 320).pixels).max() <= 1


# ------------------------------------------------------------------ evidence


@given(SEEDS)
def test_evidence_counts_pixels_as_a_loop_does(seed):
    random = np.random.default_rng(seed)
    views = random_views(random, 6)
    evidence, seen = evidence_of(views, 6), visible(views, 6)
    rows = [(v, region) for v, view in enumerate(views) for region in view.regions]
    expected = [[sum(1 for y, x in zip(*np.nonzero(region.mask)) if views[v].face[y, x] == f) for f in range(6)] for v, region in rows]
    kept = [k for k, row in enumerate(expected) if any(row)]
    np.testing.assert_array_equal(evidence.pixels.toarray(), np.array([expected[k] for k in kept]).reshape(-1, 6))
    assert evidence.view.tolist() == [rows[k][0] for k in kept] and evidence.regions == tuple(rows[k][1] for k in kept)
    np.testing.assert_array_equal(seen.toarray(), [[(view.face == f).sum() for f in range(6)] for view in views])


def test_a_region_of_another_size_and_a_face_that_is_not_there_are_refused():
    face = np.zeros((4, 5), np.int32)
    with pytest.raises(ValueError, match=r"\(4, 5\) pixels, and a region in it \(5, 4\)"):
        ViewRegions(face, (Region(np.ones((5, 4), bool)),), "a")
    with pytest.raises(ValueError, match="the mesh has 3"):
        evidence_of((ViewRegions(face + 3, (), "a"),), 3)


def test_a_box_is_a_full_rectangle_of_some_size():
    mask = np.zeros((9, 9), bool)
    assert not is_box(mask)
    mask[2:6, 3:8] = True
    assert is_box(mask)
    mask[3, 4] = False
    assert not is_box(mask)
    assert not is_box(np.eye(9, dtype=bool)) and not is_box(np.arange(9)[None] > 3)


# ------------------------------------------------------------------ published scores


@given(SEEDS, st.booleans(), st.booleans())
def test_the_published_score_is_what_all_pairs_give(seed, is_reweighted, is_smoothed):
    random, graph = random_graph(seed)
    views = random_views(random, graph.num_faces)
    every, near = all_distances(graph.apart.toarray()), surroundings(graph.neighbours.toarray() > 0, 5)
    expected = np.zeros(graph.num_faces)
    for view in views:
        for region in view.regions:
            count = np.bincount(view.face[region.mask & (view.face >= 0)], minlength=graph.num_faces)
            held = np.flatnonzero(count)
            if not len(held):
                continue
            source = capital(graph, held)
            own = graph.piece == graph.piece[source]
            area = graph.area_of_vertex[own]
            d = np.where(own, every[source], np.average(every[source, own], weights=area if area.any() else None))[graph.faces[held, 0]]
            w = gaussian(d) if is_reweighted else np.ones(len(held))
            r = [(near[f] & (count > 0)).sum() / near[f].sum() for f in held] if is_smoothed else np.ones(len(held))
            expected[held] += count[held] * region.score * w * r
    np.testing.assert_allclose(summed_scores(graph, evidence_of(views, graph.num_faces), is_reweighted, is_smoothed), expected, rtol=1e-5, atol=1e-9)


def test_the_bench_compares_equal_scores():
    (line,) = fusing.against_all_pairs(1)
    assert line.startswith("80 faces, 17 parts, 8 views")
    boxes = [region.mask for view in fusing.make(1, 3, 32, boxes=True)[1]["part 1"] for region in view.regions]
    assert boxes and all(is_box(mask) or min(mask.any(0).sum(), mask.any(1).sum()) < 3 for mask in boxes)


def test_filters_by_hand():
    scores = np.array([[0.0, 1, 5, 2], [0, 3, 1, 2]])
    np.testing.assert_array_equal(above_mean(scores), [[False, False, True, False], [False, True, False, True]])
    np.testing.assert_array_equal(largest(scores), [-1, 1, 0, 0])


def test_satr_knows_boxes_alone():
    face = np.zeros((6, 6), np.int32)
    mask = np.eye(6, dtype=bool)
    mask[0] = mask[5] = False
    (view,) = boxed([ViewRegions(face, (Region(mask), Region(mask, box=(0.0, 1.0, 3.0, 4.0)), Region(np.zeros((6, 6), bool))), "a")])
    assert [region.mask.sum() for region in view.regions] == [16, 9] and view.regions[0].mask[1:5, 1:5].all() and view.regions[1].mask[1:4, :3].all()


# ------------------------------------------------------------------ what no view has seen


@given(SEEDS)
def test_unseen_faces_take_after_the_nearest(seed):
    random, graph = random_graph(seed)
    known = random.random(graph.num_faces) < 0.4
    known[random.integers(graph.num_faces)] = True
    near = nearest_known(graph, known)
    n, f = len(graph.vertices), graph.num_faces
    lengths = np.zeros((f + n, f + n))
    lengths[f:, f:] = graph.joined.toarray()
    for k, corner in itertools.product(range(f), range(3)):
        v = f + graph.faces[k, corner]
        lengths[k, v] = lengths[v, k] = max(np.linalg.norm(graph.middle[k] - graph.vertices[v - f]), 1e-12)
    every = all_distances(lengths)[:f, :f]
    assert known[near].all()
    np.testing.assert_array_equal(near[known], np.flatnonzero(known))
    np.testing.assert_allclose(every[np.arange(f), near], every[:, known].min(1), atol=1e-9)


def test_where_nothing_is_known_nothing_can_be_filled():
    with pytest.raises(ValueError, match="No face is known"):
        nearest_known(mesh_graph(*strip(2)), np.zeros(4, bool))


def test_pictures_of_a_sphere_show_most_of_it():
    views = shown(*ball(2), around="fib16")
    assert len(set(np.concatenate([face[face >= 0] for face in views.values()]))) == 320
    shares = [(face >= 0).mean() for face in views.values()]
    assert max(shares) < np.pi / 4 and min(shares) > 0.7  # 60° are just enough for a unit sphere from 2 units away
