"""Votes, part trees and modes: against slow twins, by hand, and on meshes that are broken."""

from dataclasses import replace

import numpy as np
import pytest
from fusion_shapes import ball, random_mesh, regions_of, shown, strip, surroundings
from hypothesis import given
from hypothesis import strategies as st

from semquery.fusion import FaceTree, FusionConfig, ViewRegions, evidence_of, fuse, mesh_graph, visible
from semquery.fusion.nodes import best_node, nodes_of, snapped
from semquery.fusion.said import said_by_views
from semquery.fusion.votes import region_weights, votes_of
from semquery.segmenter import Context, Noisy, Oracle, Region

BALL = ball(2)
CAP = BALL[0][BALL[1]].mean(1)[:, 1] > 0.3  # the faces of the upper third


def graph_and_views(around: str = "ring8+2"):
    return mesh_graph(*BALL), shown(*BALL, around=around)


def views_by_hand(rows: list[tuple[str, str]]) -> tuple[ViewRegions, ...]:
    """Views of one pixel a face; the first word has a letter a face, . where it is not seen, the second 1 where a region holds it."""
    found = []
    for k, (seen, held) in enumerate(rows):
        face = np.array([f if c != "." else -1 for f, c in enumerate(seen)], np.int32)[None]
        found.append(ViewRegions(face, (Region(np.array([[c == "1" for c in held]])),) if "1" in held else (), f"view_{k}"))
    return tuple(found)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


# ------------------------------------------------------------------ votes


@given(st.integers(0, 200), st.integers(0, 4))
def test_votes_are_what_a_loop_over_views_and_faces_gives(seed, steps):
    random = np.random.default_rng(seed)
    graph = mesh_graph(*random_mesh(random, 9, 12))
    f = graph.num_faces
    views = tuple(
        ViewRegions(random.integers(-1, f, (6, 8)).astype(np.int32), tuple(Region(random.random((6, 8)) < 0.5, float(random.random())) for _ in range(k)), str(k))
        for k in (0, 1, 2)
    )
    evidence, seen = evidence_of(views, f), visible(views, f)
    (found,) = votes_of(graph, [evidence], seen, steps=steps)
    near, weights, vis = surroundings(graph.neighbours.toarray() > 0, steps), region_weights([evidence], seen)[0], seen.toarray()
    plus, minus, shown_of = np.zeros((3, f))
    for v in range(len(views)):
        rows = np.flatnonzero(evidence.view == v)
        omega = weights[rows].max(initial=0)
        m = np.minimum(sum((weights[r] / omega * evidence.pixels[r].toarray()[0] for r in rows), np.zeros(f)), vis[v])
        for face in range(f):
            taken, sees = 2 * m > vis[v], vis[v] > 0
            plus[face] += omega * m[face] * (near[face] & taken).sum() / near[face].sum()
            minus[face] += omega * (vis[v, face] - m[face]) * (near[face] & sees & ~taken).sum() / near[face].sum()
            shown_of[face] += omega * vis[v, face]
    np.testing.assert_allclose(found.p, np.where(plus + minus > 0, plus / np.maximum(plus + minus, 1e-30), 0), atol=1e-9)
    np.testing.assert_allclose(found.s, np.where(shown_of > 0, plus / np.maximum(shown_of, 1e-30), 0), atol=1e-9)
    assert (found.s <= found.p + 1e-12).all() and (found.is_known == (shown_of > 0)).all()


def test_exact_masks_give_zero_or_one_on_every_seen_face_however_thin_the_part():
    graph, faces = graph_and_views()
    thin = np.abs(BALL[0][BALL[1]].mean(1)[:, 1]) < 0.08  # a belt, one or two triangles wide
    views = regions_of(faces, thin)
    seen = visible(views, graph.num_faces)
    (found,) = votes_of(graph, [evidence_of(views, graph.num_faces)], seen)
    known = np.asarray(seen.sum(0)).reshape(-1) > 0
    np.testing.assert_array_equal(found.p[known], thin[known].astype(float))


def test_the_order_of_views_and_a_common_factor_of_scores_do_not_matter():
    graph, faces = graph_and_views()
    views = regions_of(faces, CAP, score=0.9)
    softer = tuple(replace(view, regions=tuple(replace(region, score=0.3) for region in view.regions)) for view in views)
    first, turned, quieter = (fuse(graph, {"cap": each})[0] for each in (views, views[::-1], softer))
    np.testing.assert_allclose(first.scores, turned.scores)
    np.testing.assert_allclose(first.scores, quieter.scores)


def test_of_overlapping_masks_the_one_whose_inside_a_face_is_in_wins():
    """Both masks hold the middle squares of the ribbon; each half is nearer to its own."""
    graph = mesh_graph(*strip(10))
    left, right = np.arange(20) < 14, np.arange(20) >= 6
    face = np.arange(20, dtype=np.int32)[None]
    asked = {name: (ViewRegions(face, (Region(held[None]),), "v"),) for name, held in (("left", left), ("right", right))}
    a, b = fuse(graph, asked)
    np.testing.assert_array_equal(a.mask, np.arange(20) < 10)
    np.testing.assert_array_equal(b.mask, np.arange(20) >= 10)
    alone = fuse(graph, asked, FusionConfig(is_exclusive=False))
    np.testing.assert_array_equal([each.mask for each in alone], [left, right])


def test_views_whose_masks_the_others_contradict_weigh_nothing():
    views = views_by_hand([("abcdefgh", "11110000"), ("abcdef..", "11110000"), ("abcdefgh", "00001111"), ("..cdefgh", "00110000")])
    (weights,) = region_weights([evidence_of(views, 8)], visible(views, 8))
    np.testing.assert_allclose(weights, [1, 1, 0, 1], atol=1e-6)


def test_views_that_answer_with_another_part_weigh_little():
    graph, faces = graph_and_views("fib16")
    middle = BALL[0][BALL[1]].mean(1)
    part = (middle[:, 0] > 0) + 2 * (middle[:, 2] > 0)  # quarters, as of an orange
    truth = {name: np.where(face >= 0, part[face], -1) for name, face in faces.items()}
    noisy = Noisy(Oracle(truth, {f"quarter {k}": frozenset([k]) for k in range(4)}), "hallucinate", 0.3, seed=1)
    asked = {}
    for query in noisy.inner.meant:
        answers = {name: tuple(noisy.segment(np.zeros((*face.shape, 3), np.uint8), query, Context(name))) for name, face in faces.items()}
        asked[query] = tuple(ViewRegions(face, answers[name], name) for name, face in faces.items())
    found = fuse(graph, asked, FusionConfig(is_complete=True))
    for k, each in enumerate(found):
        wrong = noisy.spoiled(each.query)
        weights = [[view.weight for view in each.views if view.num_regions and (view.view in wrong) == is_wrong] for is_wrong in (True, False)]
        assert np.mean(weights[0]) < 0.35 * np.mean(weights[1])
        assert iou(each.mask, part == k) > 0.8
        assert {view.view for view in each.views if view.dissent == "elsewhere"} >= {view.view for view in each.views if view.view in wrong and view.num_regions}


def test_boxes_are_told_from_masks_and_count_more_at_their_middle():
    graph, faces = graph_and_views("ring8")
    truth = {name: np.where(face >= 0, CAP[face].astype(np.int64), -1) for name, face in faces.items()}
    boxes = Noisy(Oracle(truth, {"cap": frozenset([1])}), "box")
    views = tuple(ViewRegions(face, tuple(boxes.segment(np.zeros((*face.shape, 3), np.uint8), "cap", Context(name))), name) for name, face in faces.items())
    evidence = evidence_of(views, graph.num_faces)
    assert evidence.is_box.all()
    seen = visible(views, graph.num_faces)
    plain = votes_of(graph, [evidence], seen, is_reweighted=False)[0]
    weighted = votes_of(graph, [evidence], seen)[0]
    assert weighted.p[plain.p > 0].max() <= 1 and (weighted.p <= plain.p + 1e-12).all() and (weighted.p < plain.p - 0.01).any()


# ------------------------------------------------------------------ unseen, silent


def test_faces_that_no_view_sees_take_after_their_neighbours():
    graph = mesh_graph(*strip(4))
    (found,) = fuse(graph, {"left": views_by_hand([("ab....gh", "11000000")])})
    np.testing.assert_array_equal(found.mask, [True] * 4 + [False] * 4)


def test_a_view_without_an_answer_speaks_only_where_no_other_does():
    graph = mesh_graph(*strip(4))
    views = views_by_hand([("abcd....", "11110000"), ("..cdefgh", "00000000")])
    (found,) = fuse(graph, {"left": views})
    np.testing.assert_array_equal(found.mask, [True] * 4 + [False] * 4)


def test_a_view_that_failed_says_nothing_of_what_it_shows():
    graph = mesh_graph(*strip(4))
    views = views_by_hand([("ab....gh", "11000000"), ("abcdefgh", "00000000")])
    lost = (views[0], replace(views[1], failed="the server is gone"))
    (silent,), (found,) = fuse(graph, {"left": views}), fuse(graph, {"left": lost})
    np.testing.assert_array_equal(silent.mask, [True] * 2 + [False] * 6)
    np.testing.assert_array_equal(found.mask, [True] * 4 + [False] * 4)
    assert silent.dissenting == ("view_1",) and found.dissenting == () and found.views[1].failed == "the server is gone"
    right = views_by_hand([("ab....gh", "00000011"), ("abcdefgh", "00000000")])
    both = fuse(graph, {"left": lost, "right": right})
    np.testing.assert_array_equal(both[0].mask, silent.mask)  # the view has an answer for the other query


def test_nothing_found_anywhere_is_an_empty_answer():
    graph, faces = graph_and_views()
    for mode in ("robust", "reasoning3d", "satr", "sum"):
        (found,) = fuse(graph, {"wings": regions_of(faces, np.zeros(320, bool))}, FusionConfig(mode))
        assert not found.mask.any() and not found.scores.any() and found.explanation == "" and found.dissenting == ()


def test_complete_answers_leave_no_face_out():
    graph, faces = graph_and_views()
    asked = {"cap": regions_of(faces, CAP), "rest": regions_of(faces, ~CAP)}
    few = {query: (*views[:2], *(replace(view, regions=()) for view in views[2:])) for query, views in asked.items()}
    found = fuse(graph, few, FusionConfig(is_complete=True))
    assert (sum(each.mask.astype(int) for each in found) == 1).all()
    assert iou(found[0].mask, CAP) > 0.7


# ------------------------------------------------------------------ part trees

TREE = FaceTree(np.array([0, 0, 0, 0, 1, 1, 2, 2], np.int32), np.array([3, 3, 4, 4, 4], np.int32))  # ((0, 1) = 3, 2) = 4


def test_a_part_follows_its_votes_only_where_they_agree():
    ones = np.ones(8)
    label = np.array([0, 0, 0, -1, 0, -1, -1, -1], np.int32)
    np.testing.assert_array_equal(snapped(label, ones, 1, TREE, 0.7), [0, 0, 0, 0, 0, -1, -1, -1])
    np.testing.assert_array_equal(snapped(label, ones, 1, TREE, 0.8), label)
    weight = np.array([1, 1, 1, 0, 1, 0, 0, 0.0])
    np.testing.assert_array_equal(snapped(label, weight, 1, TREE, 1.0), [0, 0, 0, 0, 0, 0, -1, -1])


def test_the_highest_whole_parts_are_told():
    area = np.ones(8)
    assert nodes_of(np.arange(8) < 6, area, TREE) == (3,)
    assert nodes_of(np.arange(8) < 4, area, TREE) == (0,)
    assert nodes_of(np.ones(8, bool), area, TREE) == (4,)
    assert nodes_of(np.arange(8) < 3, area, TREE) == ()
    assert nodes_of(np.arange(8) % 8 > 3, area, TREE) == (1, 2)
    assert best_node(np.arange(8) < 3, area, TREE) == (0, 0.75)
    assert best_node(np.zeros(8, bool), area, TREE) == (-1, 0.0)


def test_faces_of_no_part_are_left_alone():
    tree = FaceTree(np.array([0, 0, -1, 1], np.int32), np.array([2, 2, 2], np.int32))
    np.testing.assert_array_equal(snapped(np.array([0, 0, 0, -1], np.int32), np.ones(4), 1, tree), [0, 0, 0, -1])
    assert nodes_of(np.array([True, True, False, False]), np.ones(4), tree) == (0,)


def test_a_tree_that_respects_the_borders_cleans_noise_away_and_one_that_does_not_is_left_alone():
    graph, faces = graph_and_views()
    truth = {name: np.where(face >= 0, CAP[face].astype(np.int64), -1) for name, face in faces.items()}
    noisy = Noisy(Oracle(truth, {"cap": frozenset([1])}), "dilate", 7)
    views = tuple(ViewRegions(face, tuple(noisy.segment(np.zeros((*face.shape, 3), np.uint8), "cap", Context(name))), name) for name, face in faces.items())
    good, bad = (FaceTree(part.astype(np.int32), np.array([2, 2, 2], np.int32)) for part in (CAP, np.arange(320) % 2))
    plain, snapped_to_good, snapped_to_bad = (fuse(graph, {"cap": views}, tree=tree)[0] for tree in (None, good, bad))
    assert iou(plain.mask, CAP) < 0.97
    np.testing.assert_array_equal(snapped_to_good.mask, CAP)
    assert snapped_to_good.nodes == (1,) and snapped_to_good.node == 1 and snapped_to_good.node_iou == pytest.approx(1)
    np.testing.assert_array_equal(snapped_to_bad.mask, plain.mask)
    assert snapped_to_bad.nodes == ()


# ------------------------------------------------------------------ who said what


def test_dissent_is_pointing_elsewhere_or_silence_where_it_shows():
    views = views_by_hand([("abcdefgh", "11110000"), ("abcdefgh", "00001111"), ("abcdefgh", "00000000"), ("....efgh", "00000000"), ("abcd....", "11000000")])
    evidence, seen = evidence_of(views, 8), visible(views, 8)
    said = said_by_views(evidence, seen, np.arange(8) < 4, np.array([1.0, 0.1, 0, 0, 1]), np.array([1.0, 0.1, 1]), views)
    assert [each.dissent for each in said] == ["", "elsewhere", "silent", "", ""]
    assert [each.iou for each in said] == [1.0, 0.0, 0.0, 1.0, 0.5]
    assert [(each.num_regions, each.pixels, each.found) for each in said] == [(1, 4, 4), (1, 4, 4), (0, 0, 4), (0, 0, 0), (1, 2, 4)]


def test_the_explanation_is_that_of_the_view_that_is_believed_most_and_does_not_dissent():
    views = views_by_hand([("abcdefgh", "00001111"), *[("abcdefgh", "11110000")] * 5])
    told = [("the end", 1.0), *[(f"the start, says {k}", 0.9 - k / 10) for k in range(5)]]
    views = tuple(replace(view, name=str(k), regions=(replace(view.regions[0], text=text, score=score),)) for k, (view, (text, score)) in enumerate(zip(views, told)))
    (found,) = fuse(mesh_graph(*strip(4)), {"start": views}, FusionConfig("reasoning3d"))
    assert found.mask[:2].all() and not found.mask[4:].any()
    assert found.views[0].weight == 1 and found.explanation == "the start, says 0" and found.dissenting == ("0",)


# ------------------------------------------------------------------ broken meshes, bad input


def broken() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two balls apart, one in twice, one face with a fan of others at its edge, a face without area, a lone face far away."""
    vertices, faces = ball(1)
    n, f = len(vertices), len(faces)
    corners = np.concatenate([vertices, vertices + [3, 0, 0], [[0, 2, k / 5] for k in range(5)], [[1.5, 3, 0], [1.6, 3, 0], [1.5, 3.1, 0]]])
    fan = [[faces[0, 0], faces[0, 1], 2 * n + k] for k in range(5)]
    whole = np.concatenate([faces, faces[:, ::-1], faces + n, fan, [[0, 1, 1]], [[2 * n + 5, 2 * n + 6, 2 * n + 7]]])
    return corners, whole, np.arange(len(whole)) < 2 * f


@pytest.mark.parametrize("mode", ["robust", "reasoning3d", "satr", "sum"])
def test_pieces_fans_twins_flat_and_lone_faces_are_fused_like_others(mode):
    vertices, faces, first = broken()
    graph, views = mesh_graph(vertices, faces), shown(vertices, faces)
    (found,) = fuse(graph, {"first ball": regions_of(views, first)}, FusionConfig(mode))
    assert np.isfinite(found.scores).all()
    seen = np.unique(np.concatenate([face[face >= 0] for face in views.values()]))
    if mode == "robust":
        np.testing.assert_array_equal(found.mask[seen], first[seen])
        assert found.mask[: 160].mean() > 0.95  # twins that face inwards follow the ones outside
        assert not found.mask[160:240].any()


def test_what_cannot_be_asked_is_told():
    graph, faces = graph_and_views()
    views = regions_of(faces, CAP)
    for asked, says in [({}, "nothing asked for"), ({" ": views}, "nothing asked for"), ({"cap": ()}, "no views"),
                        ({"cap": views, "rest": views[1:]}, "same views")]:
        with pytest.raises(ValueError, match=says):
            fuse(graph, asked)
    with pytest.raises(ValueError, match="mesh of 8 faces; this one has 320"):
        fuse(graph, {"cap": views}, tree=TREE)
    with pytest.raises(ValueError, match="Faces name part 3; the tree has 2"):
        FaceTree(np.array([3], np.int32), np.array([1, 1], np.int32))


@pytest.mark.parametrize("wrong", [{"threshold": 1.0}, {"steps": -1}, {"power": 0.0}, {"purity": 0.5}])
def test_settings_without_sense_are_refused(wrong):
    with pytest.raises(ValueError, match="Expected a threshold"):
        FusionConfig(**wrong)
