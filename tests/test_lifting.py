"""From views to points: which views are asked, what of their answers counts, and what they mean together."""

import itertools

import numpy as np
import pytest
from helpers import part_tree, random_parts, small_parts, small_surface
from hypothesis import given, settings
from hypothesis import strategies as st

from semquery.lifting import (
    PUBLISHED,
    FuseConfig,
    KeepConfig,
    Sight,
    agreement,
    choose_views,
    dissenting,
    explanation,
    fuse,
    keep,
    lift,
    sight_of_depth,
    sight_of_grid,
    snap,
    weigh,
)
from semquery.lifting.lift import at_size, together, votes_of
from semquery.render import look_at
from semquery.segmenter import Region

SEEDS = st.integers(0, 10_000)
SURFACE = small_surface()
SIGHTS = {view: sight_of_grid(point) for view, point in SURFACE.point_of_pixel.items()}


def region(view: str, ids, score=1.0, embedding=None, text="") -> Region:
    mask = np.isin(SURFACE.point_of_pixel[view], list(ids)) & (SURFACE.point_of_pixel[view] >= 0)
    return Region(mask, score, embedding=None if embedding is None else np.array(embedding, np.float32), text=text)


def said(**ids):
    return {view: [region(view, some)] if some else [] for view, some in ids.items()}


# choosing


def drawn_scene(seed, v=9, n=25):
    random = np.random.default_rng(seed)
    poses = np.stack([look_at(random.normal(size=3) * 5, np.zeros(3)) for _ in range(v)])
    return random.random((v, n)) < 0.4, poses


@settings(max_examples=30)
@given(SEEDS, st.sampled_from(["random", "visibility", "poses"]), st.integers(1, 12))
def test_every_way_chooses_as_many_different_views_as_asked_and_the_same_ones_again(seed, how, count):
    seen, poses = drawn_scene(seed)
    chosen = choose_views(how, seen, poses, count, seed)
    assert len(chosen) == len(set(chosen)) == min(count, 9) and set(chosen) <= set(range(9))
    assert chosen == choose_views(how, seen, poses, count, seed)


@settings(max_examples=30)
@given(SEEDS, st.integers(1, 4))
def test_by_visibility_the_views_cover_what_greed_can_of_the_best_cover(seed, count):
    seen, poses = drawn_scene(seed)
    best = max(seen[list(some)].any(0).sum() for some in itertools.combinations(range(9), count))
    covered = seen[choose_views("visibility", seen, poses, count)].any(0).sum()
    assert covered >= (1 - 1 / np.e) * best


def test_once_all_is_covered_the_next_views_cover_it_again():
    seen = np.array([[1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 0, 0], [1, 1, 1, 0]], bool)
    assert choose_views("visibility", seen, np.tile(np.eye(4), (4, 1, 1)), 4) == [3, 1, 0, 2]


def test_views_that_show_nothing_are_chosen_when_there_are_no_others():
    assert sorted(choose_views("visibility", np.zeros((3, 4), bool), np.tile(np.eye(4), (3, 1, 1)), 3)) == [0, 1, 2]


def test_by_poses_each_group_of_like_views_sends_one():
    random = np.random.default_rng(0)
    eyes = np.repeat(np.array([[5, 0, 0], [0, 5, 0], [0, 0, 5.0]]), [6, 4, 2], axis=0) + 0.1 * random.normal(size=(12, 3))
    poses = np.stack([look_at(eye, np.zeros(3), (0.3, 0.5, 0.8)) for eye in eyes])
    for seed in range(5):
        chosen = choose_views("poses", np.zeros((12, 1), bool), poses, 3, seed)
        assert [0 if k < 6 else 1 if k < 10 else 2 for k in chosen] == [0, 1, 2]  # the largest group first


def test_cameras_in_one_place_are_chosen_too_and_no_view_at_all_is_refused():
    assert choose_views("poses", np.zeros((3, 1), bool), np.tile(np.eye(4), (3, 1, 1)), 2) == [0, 1]
    with pytest.raises(ValueError, match="At least one view"):
        choose_views("random", np.zeros((3, 1), bool), np.tile(np.eye(4), (3, 1, 1)), 0)


# keeping


def test_what_is_left_out_is_told_with_the_reason():
    half = np.zeros((10, 10), bool)
    half[:5] = True
    one = np.zeros((100, 100), bool)
    one[0, 0] = True
    answers = {"a": [Region(half), Region(half, 0.1)], "b": [Region(one)], "c": [Region(np.ones((4, 4), bool))], "d": [], "e": [Region(np.zeros((4, 4), bool))]}
    kept, dropped = keep(answers, KeepConfig(min_score=0.3, min_area=0.01, max_area=0.9))
    assert list(kept) == ["a", "d"] and len(kept["a"]) == 1 and kept["d"] == ()  # who sees nothing has said so; who erred is not heard
    told = {each.view: each.why for each in dropped}
    assert told == {"a": "its score 0.10 is below 0.3", "b": "it covers 0.01 % of the picture, and 1 to 90 % count",
                    "c": "it covers 100 % of the picture, and 1 to 90 % count", "d": "nothing is seen there", "e": "the region is empty"}


@pytest.mark.parametrize(("values", "said"), [({"min_score": 2.0}, "min-score is 2"), ({"min_area": 0.5, "max_area": 0.4}, "min-area < max-area")])
def test_limits_that_nothing_can_meet_are_refused(values, said):
    with pytest.raises(ValueError, match=said):
        KeepConfig(**values)


# lifting


@settings(max_examples=30)
@given(SEEDS)
def test_a_vote_is_the_share_of_a_points_pixels_that_lie_in_the_mask(seed):
    random = np.random.default_rng(seed)
    point = random.integers(-1, 6, (5, 7)).astype(np.int32)
    mask = random.random((5, 7)) < 0.5
    seen, share = votes_of(sight_of_grid(point), mask, 6)
    for p in range(6):
        pixels = [mask[y, x] for y in range(5) for x in range(7) if point[y, x] == p]
        assert seen[p] == bool(pixels) and np.isclose(share[p], np.mean(pixels) if pixels else 0)


def test_a_mask_at_another_resolution_is_read_at_the_centres_of_the_pixels():
    mask = np.array([[True, False], [False, True]])
    assert (at_size(mask, (4, 6)) == np.kron(mask, np.ones((2, 3), bool))).all()
    assert (at_size(np.kron(mask, np.ones((5, 5), bool)), (2, 2)) == mask).all()


def depth_scene(seed):
    """Points in front of a camera, and the depth map that their z-buffer makes."""
    random = np.random.default_rng(seed)
    eye = random.normal(size=3) * 3
    T = look_at(eye, eye + random.normal(size=3))
    points = (eye + random.normal(size=(60, 3)) * 2).astype(np.float32)
    intrinsics, depth = np.array([8.0, 9.0, 6.0, 5.0]), np.zeros((10, 12))
    where = []
    for p in points:
        x, y, z = np.linalg.inv(T)[:3, :3] @ (p.astype(float) - T[:3, 3])
        row, column = (int(np.floor(5 - 9 * y / -z)), int(np.floor(6 + 8 * x / -z))) if z < 0 else (-1, -1)
        where.append((row, column, -z) if 0 <= row < 10 and 0 <= column < 12 else None)
        if where[-1] and (depth[row, column] == 0 or -z < depth[row, column]):
            depth[row, column] = -z
    return points, T, intrinsics, depth, where


@settings(max_examples=30)
@given(SEEDS, st.sampled_from([0.0001, 0.05, 0.5]))
def test_a_point_is_seen_where_the_depth_there_is_its_own_up_to_the_tolerance(seed, tolerance):
    points, T, intrinsics, depth, where = depth_scene(seed)
    sight = sight_of_depth(points, T, intrinsics, depth, tolerance)
    expected = {p: at[0] * 12 + at[1] for p, at in enumerate(where) if at and abs(depth[at[0], at[1]] - at[2]) <= tolerance}
    assert dict(zip(sight.points.tolist(), sight.pixels.tolist())) == expected and sight.size == (10, 12)


def test_pixels_without_depth_show_nothing():
    points, T, intrinsics, depth, _ = depth_scene(3)
    for nothing in (0.0, np.nan, np.inf):
        assert not len(sight_of_depth(points, T, intrinsics, np.full_like(depth, nothing), 100.0).points)


def test_the_regions_of_a_view_count_as_one_by_their_areas():
    a = region("front", [0, 1, 2, 3], 0.5, [2, 0], "a knob")
    b = region("front", [4, 5, 6], 0.8, [0, 5], "a knob")
    whole = together([a, b])
    areas = np.array([a.mask.sum(), b.mask.sum()]) / (a.mask | b.mask).sum()
    assert (whole.mask == (a.mask | b.mask)).all() and np.isclose(whole.score, areas @ [0.5, 0.8]) and whole.text == "a knob"
    assert np.allclose(whole.embedding, areas)
    assert together([a, region("front", [4])]).embedding is None


def test_views_that_answered_vote_silent_ones_only_see_and_missing_ones_do_not_count():
    votes = lift(SIGHTS, said(front=[0, 1, 2, 3], above=[]), 12)
    assert votes.views == ("front",) and votes.embeddings is None
    assert np.flatnonzero(votes.share[0]).tolist() == [0, 1, 2, 3] and np.flatnonzero(votes.seen[0]).tolist() == [0, 1, 2, 3, 4, 5, 6, 11]
    assert np.flatnonzero(votes.silent[0]).tolist() == [0, 1, 7, 8, 9, 10]


# weighing and fusing


def slow_fused(votes, weighed, doubt):
    mask = []
    for p in range(votes.seen.shape[1]):
        who = [i for i in range(len(votes.views)) if votes.seen[i, p]]
        silent = sum(w for w, s in zip(weighed.silent, votes.silent[:, p]) if s)
        heard = sum(weighed.weights[i] for i in who) + silent
        mask.append(sum(weighed.weights[i] * votes.share[i, p] for i in who) / (heard + doubt * max(weighed.weights)) if heard else 0.0)
    return mask


@settings(max_examples=30)
@given(SEEDS, st.sampled_from([0.0, 0.25, 1.0]), st.sampled_from([0.0, 0.5]), st.sampled_from(["auto", "consensus", "uniform"]))
def test_the_fused_mask_is_the_formulas(seed, doubt, silence, belief):
    random = np.random.default_rng(seed)
    grids = {f"v{k}": random.integers(-1, 12, (6, 6)).astype(np.int32) for k in range(4)}
    answers = {view: [Region(random.random((6, 6)) < 0.5, embedding=random.normal(size=3).astype(np.float32))] for view in ("v0", "v1", "v2")}
    votes = lift({view: sight_of_grid(point) for view, point in grids.items()}, answers | {"v3": []}, 12)
    weighed = weigh(votes, FuseConfig(belief, 2.0, doubt, silence))
    fused = fuse(votes, weighed, doubt)
    assert np.allclose(fused.mask, slow_fused(votes, weighed, doubt)) and np.isclose(weighed.weights.sum(), 1)
    assert (fused.known == (fused.heard > 0)).all() and (fused.mask[~fused.known] == 0).all() and fused.trust.max() <= 1


def disagreeing():
    """Two views that mean the left knob, and one that means the plate, which it alone sees."""
    return lift({"front": SIGHTS["front"], "close": SIGHTS["close"], "again": SIGHTS["front"]}, {
        "front": [region("front", [0, 1, 2, 3], embedding=[1, 0.1, 0], text="the left knob")],
        "close": [region("close", [7, 8, 9, 10], embedding=[0.3, 0, 1], text="the plate")],
        "again": [region("front", [0, 1, 2, 3], embedding=[1, -0.1, 0], text="a knob")],
    }, 12)


def test_as_published_a_view_decides_alone_about_what_it_alone_sees_and_with_doubt_it_does_not():
    votes = disagreeing()
    published = fuse(votes, weigh(votes, PUBLISHED))
    ours = fuse(votes, weigh(votes), FuseConfig().doubt)
    assert published.mask[9] == 1 and published.mask[2] == 1
    assert ours.mask[9] < 0.05 and ours.mask[2] > 0.7


def test_who_points_elsewhere_is_named_and_the_view_believed_most_explains():
    votes = disagreeing()
    weighed = weigh(votes)
    fused = fuse(votes, weighed, 0.25)
    assert weighed.by == "tokens" and dissenting(votes, fused) == ("close",)
    assert agreement(votes, fused).tolist() == [1, 0, 1]
    assert explanation(votes, weighed.weights) in ("the left knob", "a knob") and explanation(votes, np.zeros(3)) == ""


def test_without_embeddings_the_masks_tell_and_tokens_cannot_be_asked_for():
    votes = lift(SIGHTS, said(front=[0, 1, 2, 3], above=[0], close=[7, 8, 9, 10]), 12)
    weighed = weigh(votes)
    assert weighed.by == "consensus" and weighed.token is None and weighed.weights[list(votes.views).index("front")] > 0
    with pytest.raises(ValueError, match="only where every region has an embedding"):
        weigh(votes, PUBLISHED)


def test_a_silent_view_counts_against_what_it_sees_if_asked_and_by_consensus_unless_the_others_see_there_what_is_meant():
    assert weigh(lift(SIGHTS, said(front=[2, 3], above=[]), 12), FuseConfig("consensus", silence=0.5)).silent.tolist() == [0.5]
    knob = [region("front", [0, 1, 2, 3])]
    two = lift({"a": SIGHTS["front"], "b": SIGHTS["front"], "above": SIGHTS["above"]}, {"a": knob, "b": knob, "above": []}, 12)
    assert weigh(two, FuseConfig("consensus", silence=0.5)).silent.tolist() == [0.0]
    votes = lift(SIGHTS, said(front=[0, 1, 2, 3], above=[]), 12)
    quiet, loud = (fuse(votes, weigh(votes, FuseConfig("uniform", silence=s)), 0.0) for s in (0.0, 0.5))
    assert loud.mask[0] == 1 / 1.5 and quiet.mask[0] == 1 and loud.mask[2] == quiet.mask[2] == 1
    assert quiet.known.sum() == 8 and loud.known.all()


def test_where_nobody_answered_nothing_is_meant():
    votes = lift(SIGHTS, said(front=[], above=[]), 12)
    for config in (FuseConfig(), PUBLISHED, FuseConfig("uniform", silence=1.0)):
        assert not fuse(votes, weigh(votes, config), config.doubt).mask.any()


@pytest.mark.parametrize(("values", "said"), [({"power": 0.0}, "power"), ({"doubt": 2.0}, "doubt is 2"), ({"silence": -1.0}, "silence is -1")])
def test_weights_that_make_no_sense_are_refused(values, said):
    with pytest.raises(ValueError, match=said):
        FuseConfig(**values)


# snapping


def slow_snap(tree, mask, weight):
    """The best of all unions of parts that do not hold each other."""
    best = (0.0, np.zeros(len(mask), bool))
    for size in range(1, tree.num_parts + 1):
        for parts in itertools.combinations(range(tree.num_parts), size):
            if any(tree.holds[a, b] for a in parts for b in parts if a != b):
                continue
            inside = np.any([tree.points_of(p) for p in parts], axis=0)
            hit = (weight * mask)[inside].sum()
            union = weight[inside].sum() + (weight * mask)[~inside].sum()
            best = max(best, (hit / union if union else 0.0, inside), key=lambda each: each[0])
    return best


@settings(max_examples=30)
@given(SEEDS)
def test_the_snapped_union_is_the_best_of_all(seed):
    random = np.random.default_rng(seed)
    tree = random_parts(random, 6, 15)
    mask, weight = random.random(15).round(1), random.random(15).round(1)
    found = snap(tree, mask, weight, each=0.0)
    best, _ = slow_snap(tree, mask, weight)
    assert np.isclose(found.iou, best)
    inside = np.any([tree.points_of(p) for p in found.parts], axis=0) if found.parts else np.zeros(15, bool)
    assert (found.inside == inside).all() and list(found.parts) == sorted(set(found.parts))


def test_a_mask_with_holes_means_the_part_and_one_of_two_knobs_means_both():
    tree = small_parts()
    mask = np.array([1, 1, 0, 1] + [0] * 8, float)
    assert snap(tree, mask, np.ones(12)).parts == (0,) and snap(tree, mask, np.ones(12)).iou == 0.75
    both = np.array([1] * 7 + [0] * 5, float)
    assert snap(tree, both, np.ones(12)).parts == (0, 1)  # the panel has a point more
    assert snap(tree, np.array([1] * 7 + [0] * 4 + [1], float), np.ones(12)).parts == (3,)


def test_points_that_nobody_saw_do_not_count_and_belong_to_the_part_in_the_end():
    tree, mask = small_parts(), np.array([1, 1] + [0] * 10, float)
    known = np.array([1, 1, 0, 0] + [1] * 8, bool)
    found = snap(tree, mask, known)
    assert found.parts == (0,) and found.iou == 1 and found.inside.sum() == 4


def test_a_further_part_has_to_be_worth_its_while():
    tree = part_tree([2, 2, 2], [0] * 99 + [1] + [2] * 50)
    mask = np.array([1.0] * 100 + [0.0] * 50)
    assert snap(tree, mask, np.ones(150)).parts == (0,) and snap(tree, mask, np.ones(150), each=0.0).parts == (0, 1)


def test_a_mask_of_nothing_means_no_part():
    found = snap(small_parts(), np.zeros(12), np.ones(12))
    assert found.parts == () and found.iou == 0 and not found.inside.any()
    assert snap(small_parts(), np.ones(12), np.zeros(12)).parts == ()


def test_a_sight_holds_only_pixels_that_show_points():
    sight = sight_of_grid(np.array([[-1, 3], [0, 3]], np.int32))
    assert isinstance(sight, Sight) and sight.points.tolist() == [3, 0, 3] and sight.pixels.tolist() == [1, 2, 3] and sight.size == (2, 2)
