"""Unions of parts that no merge tree makes: proposed by masks, chosen and dropped like parts, put into a tree again."""

import numpy as np
import pytest
from helpers import part_tree, random_parts
from hypothesis import given, settings
from hypothesis import strategies as st

from semquery.groups import (
    GroupConfig,
    Pixels,
    add_groups,
    candidates,
    count_pixels,
    counts_for,
    cross,
    drop_redundant,
    tree_of,
    with_groups,
)
from semquery.masks import stack_masks
from semquery.types import MaskStack, PartTree, Surface

# four legs 0..3 of two points and a seat 4 of four, under the root 5; every point is one pixel
LEGS = part_tree([5, 5, 5, 5, 5, 5], [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 4, 4], altitude=[0.1, 0.2, 0.3, 0.4, 0.5, 1.0])
LEG, SEAT = [[0, 1], [2, 3], [4, 5], [6, 7]], [8, 9, 10, 11]
ALL_LEGS, EVERYTHING = list(range(8)), list(range(12))
SINGLE = [*LEG, SEAT]  # masks that the parts explain


def scene(shown: dict[str, list[int]], held: dict[str, list[list[int]]], n: int = 12) -> tuple[Surface, dict[str, MaskStack]]:
    """Views as rows of points, and each view's masks as the points they hold."""
    zeros = np.zeros((n, 3), np.float32)
    views = {name: np.array([points], np.int32) for name, points in shown.items()}
    surface = Surface(zeros, zeros, zeros.astype(np.uint8), np.zeros((n, 0), np.float16), np.arange(n, dtype=np.int32), 0.1, views)
    return surface, {name: masks_of(view, held[name]) for name, view in views.items()}


def masks_of(view: np.ndarray, held: list[list[int]]) -> MaskStack:
    dense = np.array([np.isin(view, points) for points in held], bool)
    return stack_masks(dense.reshape(-1, *view.shape), np.ones(len(held), np.float32))


def same_masks(count: int, *held: list[int]):
    """Views that show everything, all with the same masks."""
    return scene({f"v{k}": EVERYTHING for k in range(count)}, {f"v{k}": list(held) for k in range(count)})


def grouped(tree: PartTree, seen, gamma: float = 1.0, min_share: float = 0.1, usual_share: float = 0.0, **config) -> PartTree:
    return with_groups(tree, *seen, GroupConfig(**config), gamma, min_share, usual_share)


def point_sets(tree: PartTree) -> list[tuple[int, ...]]:
    return sorted(tuple(np.flatnonzero(tree.points_of(p)).tolist()) for p in range(tree.num_parts))


def random_pixels(random: np.random.Generator, num_atoms: int, num_masks: int = 12, num_views: int = 3) -> Pixels:
    """Counts that could be: every mask holds most of some atoms."""
    view = np.sort(random.integers(0, num_views, num_masks))
    seen = random.integers(0, 30, (num_views, num_atoms)).astype(np.float32)
    held = random.random((num_masks, num_atoms)) < random.random((num_masks, 1))
    both = np.floor(seen[view] * held * random.uniform(0.8, 1.01, held.shape)).astype(np.float32)
    return Pixels(both, both.sum(1), seen, view)


def random_family(random: np.random.Generator, atoms: np.ndarray, num_atoms: int) -> np.ndarray:
    """A laminar family: the whole, and sets inside sets that lie apart."""
    rows, todo = [], [atoms]
    while todo:
        members = todo.pop()
        rows.append(np.isin(np.arange(num_atoms), members))
        blocks = np.split(random.permutation(members), np.sort(random.integers(0, len(members) + 1, 2)))
        todo += [block for block in blocks if 0 < len(block) < len(members) and random.random() < 0.7]
    return np.array(rows)[random.permutation(len(rows))]


# ------------------------------------------------------------------ what becomes a group


def test_four_legs_under_one_mask_become_a_group_between_them_and_their_parent():
    tree = grouped(LEGS, same_masks(3, ALL_LEGS, *SINGLE))
    assert point_sets(tree) == sorted([*point_sets(LEGS), tuple(ALL_LEGS)])
    legs = tree.part_of_point[[0, 2, 4, 6]]
    group = tree.parents[legs[0]]
    assert (tree.parents[legs] == group).all() and tree.parents[group] == tree.root != group
    assert tree.parents[tree.part_of_point[8]] == tree.root
    assert tree.altitude[group] == pytest.approx(0.4)  # of its highest part
    assert tree.support[tree.support[:, 0] == group].tolist() == [[group, v, 0] for v in range(3)]


def test_where_parts_explain_every_mask_the_parts_stay_as_they_are():
    tree = grouped(LEGS, same_masks(3, *SINGLE))
    assert point_sets(tree) == point_sets(LEGS)
    assert sorted(tree.altitude.tolist()) == sorted(LEGS.altitude.tolist())


def test_no_groups_are_made_where_none_are_wanted():
    assert point_sets(grouped(LEGS, same_masks(3, ALL_LEGS, *SINGLE), most=0)) == point_sets(LEGS)


def test_a_group_seen_whole_once_is_backed_by_views_that_show_some_of_it():
    """Views of two legs propose pairs; the view of all four proposes the group, which explains the pairs' masks too."""
    shown = {"all": EVERYTHING, "front": [*LEG[0], *LEG[1], *SEAT], "back": [*LEG[2], *LEG[3], *SEAT]}
    tree = grouped(LEGS, scene(shown, dict.fromkeys(shown, [ALL_LEGS, *SINGLE])), gamma=1.9)
    assert point_sets(tree) == sorted([*point_sets(LEGS), tuple(ALL_LEGS)])


def test_a_group_is_expected_only_in_views_that_show_two_of_its_leaves():
    shown = {"left": [*LEG[0], *SEAT], "right": [*LEG[1], *SEAT], "all": EVERYTHING, "bare": EVERYTHING}
    pair = [*LEG[0], *LEG[1]]
    held = {**dict.fromkeys(shown, [pair, *SINGLE]), "bare": SINGLE}  # in "left" and "right" a leg explains the pair's mask
    expected = {"gamma": 0.5, "usual_share": 1.0, "relative_share": 0.5}
    assert tuple(pair) in point_sets(grouped(LEGS, scene(shown, held), **expected))  # one of two views
    assert tuple(pair) not in point_sets(grouped(LEGS, scene(shown, held), **{**expected, "relative_share": 0.6}))


@pytest.mark.parametrize(("right", "wrong", "replaces"), [(3, 1, True), (2, 2, False), (1, 3, False)])
def test_a_group_replaces_a_part_it_crosses_only_when_it_explains_more(right, wrong, replaces):
    """Part 5 holds a leg and the seat."""
    tree = part_tree([5, 6, 6, 6, 5, 6, 6], LEGS.part_of_point)
    mixed = [*LEG[0], *SEAT]
    held = {f"r{k}": [ALL_LEGS, *SINGLE] for k in range(right)} | {f"w{k}": [mixed, *SINGLE] for k in range(wrong)}
    found = point_sets(grouped(tree, scene(dict.fromkeys(held, EVERYTHING), held), gamma=0.9))
    assert (tuple(ALL_LEGS) in found) == replaces and (tuple(mixed) in found) == (not replaces)
    assert {tuple(leg) for leg in LEG} <= set(found)


def test_a_part_seen_often_and_masked_rarely_is_dropped():
    held = {"masked": SINGLE, **{f"v{k}": SINGLE[1:] for k in range(9)}}  # one mask in ten views for the first leg
    seen = scene(dict.fromkeys(held, EVERYTHING), held)
    assert tuple(LEG[0]) in point_sets(grouped(LEGS, seen, gamma=0.5, min_share=0.09))
    assert point_sets(grouped(LEGS, seen, gamma=0.5, min_share=0.11)) == sorted(map(tuple, [*SINGLE[1:], EVERYTHING]))


def test_a_view_without_masks_proposes_and_supports_nothing():
    held = {"a": [ALL_LEGS, *SINGLE], "b": [], "c": [ALL_LEGS, *SINGLE]}
    tree = grouped(LEGS, scene(dict.fromkeys(held, EVERYTHING), held), min_share=0.0)
    assert tuple(ALL_LEGS) in point_sets(tree) and set(tree.support[:, 1].tolist()) == {0, 2}


# ------------------------------------------------------------------ counting


def test_pixels_are_counted_per_atom_mask_and_view():
    tree = part_tree([2, 2, 3, 3], [0, 0, 1, 2])
    surface, masks = scene({"v": [0, 1, 2, 3, -1, 0], "w": [3, 3, -1, -1, -1, -1]}, {"v": [[0], [1, 2]], "w": [[3]]}, 4)
    masks["v"] = MaskStack(masks["v"].layers.repeat(2, 1).repeat(2, 2), masks["v"].scores)  # another size, the same frame
    pixels = count_pixels(tree, surface, masks)
    assert pixels.seen.tolist() == [[3, 1, 1, 0], [0, 0, 2, 0]]
    assert pixels.both.tolist() == [[2, 0, 0, 0], [1, 1, 0, 0], [0, 0, 2, 0]]
    assert pixels.size.tolist() == [2, 2, 2] and pixels.view.tolist() == [0, 0, 1]


@pytest.mark.parametrize("seed", range(3))
def test_what_masks_count_is_the_loop_over_masks_and_sets(seed):
    random = np.random.default_rng(seed)
    pixels, sets = random_pixels(random, 6), random.random((7, 6)) < 0.4
    slow = np.zeros((len(sets), len(pixels.size)))
    for s, row in enumerate(sets):
        for m, view in enumerate(pixels.view):
            both = sum(pixels.both[m, a] for a in np.flatnonzero(row))
            either = pixels.size[m] + sum(pixels.seen[view, a] for a in np.flatnonzero(row)) - both
            slow[s, m] = max(both / max(either, 1) - 0.5, 0) / 0.5
    np.testing.assert_allclose(counts_for(pixels, sets), slow, atol=1e-6)
    assert slow.any()


def test_supports_are_all_masks_that_overlap_a_part_by_more_than_half_in_order():
    random = np.random.default_rng(0)
    tree = random_parts(random, 9, 40)
    shown = {f"v{k}": random.integers(-1, 40, 60).tolist() for k in range(4)}
    most_of = lambda part: random.permutation(np.flatnonzero(tree.points_of(part)))[2:].tolist()  # noqa: E731
    held = {name: [most_of(int(random.integers(9))) for _ in range(6)] for name in shown}
    surface, masks = scene(shown, held, 40)
    tree = grouped(tree, (surface, masks), gamma=0.2, min_share=0.0)
    expected = []
    for part in range(tree.num_parts):
        for v, (name, view) in enumerate(surface.point_of_pixel.items()):
            inside = (view >= 0) & tree.points_of(part)[view]
            for m, mask in enumerate(masks[name].masks() & (view >= 0)):
                iou = (inside & mask).sum() / max((inside | mask).sum(), 1)
                expected += [(part, v, m, iou)] if iou > 0.5 else []
    assert len(expected) > 20
    np.testing.assert_array_equal(tree.support, [row[:3] for row in expected])
    np.testing.assert_allclose(tree.support_iou, [row[3] for row in expected], rtol=1e-6)


# ------------------------------------------------------------------ candidates


def proposed(tree: PartTree, seen) -> list[tuple[int, ...]]:
    return [tuple(np.flatnonzero(row).tolist()) for row in candidates(tree, count_pixels(tree, *seen))]


def test_masks_that_share_a_part_also_propose_their_union():
    first, second = [*LEG[0], *LEG[1]], [*LEG[1], *LEG[2]]
    held = {"a": [first], "b": [second], "c": [second]}
    assert proposed(LEGS, scene(dict.fromkeys(held, EVERYTHING), held)) == [(1, 2), (0, 1), (0, 1, 2)]  # the most frequent first


def test_a_mask_that_a_part_explains_and_a_mask_over_everything_propose_nothing():
    assert proposed(LEGS, same_masks(2, LEG[0], SEAT, EVERYTHING)) == []


def test_a_part_without_points_of_its_own_makes_no_second_candidate():
    """Legs 0 and 1 make part 5: its union with leg 2 is that of the three legs."""
    tree = part_tree([5, 5, 6, 6, 6, 6, 6], LEGS.part_of_point)
    assert proposed(tree, same_masks(1, [*LEG[0], *LEG[1], *LEG[2]])) == [(0, 1, 2)]
    assert proposed(tree, same_masks(1, [*LEG[0], *LEG[1], *LEG[2][:1]])) == []  # part 5 itself
    grown = grouped(tree, same_masks(2, [*LEG[0], *LEG[1], *LEG[2]], [*LEG[0], *LEG[1]], *SINGLE))
    assert point_sets(grown) == sorted([*point_sets(tree), (0, 1, 2, 3, 4, 5)])


def test_a_mask_also_proposes_the_leaves_of_a_wrong_part():
    """Part 5 holds a leg and the seat, and lies mostly outside of the mask over the legs."""
    tree = part_tree([5, 6, 6, 6, 5, 6, 6], LEGS.part_of_point)
    assert proposed(tree, same_masks(1, ALL_LEGS)) == [(0, 1, 2, 3)]
    most_of_it = [*LEG[0], *LEG[1], *SEAT[:3]]
    assert set(proposed(tree, same_masks(1, most_of_it))) == {(0, 1, 4)}


def test_a_mask_proposes_only_as_far_as_no_part_explains_it():
    """Leaves of 9, 9 and 1 points in part 4, beside another leaf: part 4 explains the first two nearly as well."""
    tree = part_tree([4, 4, 4, 5, 5, 5], [0] * 9 + [1] * 9 + [2] + [3] * 21)
    first, second, everything = list(range(9)), list(range(9, 18)), list(range(40))
    held = lambda *points: proposed(tree, scene({"v": everything}, {"v": [list(points)]}, 40))  # noqa: E731
    assert held(*first, *second) == []  # IoU 18/19
    assert held(*first[2:], *second[2:]) == [(0, 1)]  # IoU 14/19


def test_a_mask_over_most_of_the_scene_proposes_parts_below_the_whole():
    """Part 5 holds two legs and two points of its own."""
    tree = part_tree([5, 5, 6, 6, 6, 6, 6], [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5])
    assert set(proposed(tree, same_masks(1, EVERYTHING[:6] + SEAT))) == {(0, 1, 2, 4, 5), (0, 1, 2, 4)}


@pytest.mark.parametrize("seed", range(5))
def test_candidates_are_different_unions_of_parts_that_are_not_parts(seed):
    random = np.random.default_rng(seed)
    tree = random_parts(random, 12, 60)
    pixels = random_pixels(random, 12, 40)
    own = np.bincount(tree.part_of_point, minlength=12) > 0
    rows = candidates(tree, Pixels(pixels.both * own, (pixels.both * own).sum(1), pixels.seen * own, pixels.view))
    found, parts = {row.tobytes() for row in rows}, tree.holds & own
    assert 0 < len(rows) == len(found) and not found & {row.tobytes() for row in parts}
    for row in rows:
        np.testing.assert_array_equal(parts[(parts <= row).all(1)].any(0), row)


# ------------------------------------------------------------------ choice


def total(pixels: Pixels, family: np.ndarray) -> float:
    return float(counts_for(pixels, family).max(0).astype(float).sum())


def apart_or_nested(a: np.ndarray, b: np.ndarray) -> bool:
    return not (a & b).any() or (a <= b).all() or (b <= a).all()


def slow_add(family, extra, least, pixels, most):
    """Every candidate is tried in full, every time."""
    for _ in range(most):
        tried = [np.concatenate([[row], [f for f in family if apart_or_nested(f, row)]]) for row in extra]
        net = np.array([total(pixels, rows) - total(pixels, family) for rows in tried])
        net[net < least] = -np.inf
        if not np.isfinite(net).any():
            break
        family = tried[int(net.argmax())]
    return family


def slow_drop(family, least, pixels):
    """Every set but the whole is left out in turn, every time."""
    while len(family) > 1:
        without = np.array([total(pixels, np.delete(family, s, 0)) for s in range(len(family))])
        cost = np.where(family.all(1), np.inf, total(pixels, family) - without - least)
        if cost.min() >= 0:
            break
        family, least = (np.delete(rows, int(cost.argmin()), 0) for rows in (family, least))
    return family


def rows_of(family: np.ndarray) -> list[list[bool]]:
    return sorted(family.tolist())


@pytest.mark.parametrize("seed", range(60))
def test_groups_are_those_of_trying_everything(seed):
    random = np.random.default_rng(seed)
    pixels, family = random_pixels(random, 7, 30), random_family(random, np.arange(7), 7)
    extra = random.random((15, 7)) < 0.5
    least = random.uniform(0.05, 0.6, 15).astype(np.float32)
    for most in (0, 1, 9):
        found = add_groups(family, extra, least, pixels, most)
        assert rows_of(found) == rows_of(slow_add(family, extra, least, pixels, most))
        assert all(apart_or_nested(a, b) for a in found for b in found)
        assert total(pixels, found) >= total(pixels, family)


@pytest.mark.parametrize("seed", range(12))
def test_what_is_dropped_is_what_leaving_out_each_in_turn_drops(seed):
    random = np.random.default_rng(seed)
    pixels, family = random_pixels(random, 7, 30), random_family(random, np.arange(7), 7)
    least = random.uniform(0.05, 1.5, len(family)).astype(np.float32)
    assert rows_of(drop_redundant(family, least, pixels)) == rows_of(slow_drop(family, least, pixels))


def test_of_two_sets_that_replace_each_other_one_stays_and_so_does_the_whole():
    family = np.array([[1, 0, 0], [1, 1, 0], [1, 1, 1]], bool)
    pixels = Pixels(np.float32([[20, 1, 0]]), np.float32([21]), np.float32([[20, 2, 90]]), np.array([0]))  # IoU 20/21, 21/22, .19
    dropped = lambda least: drop_redundant(family, np.full(3, least, np.float32), pixels).tolist()  # noqa: E731
    assert dropped(0.5) == family[1:].tolist()
    assert dropped(2.0) == family[2:].tolist()
    assert dropped(0.0) == family.tolist()


def test_sets_cross_that_share_atoms_while_neither_holds_the_other():
    rows = np.array([[1, 1, 0, 0], [0, 0, 1, 0], [1, 1, 1, 1], [0, 1, 1, 0], [1, 0, 0, 0]], bool)
    assert cross(rows, rows[0]).tolist() == [False, False, False, True, False]


# ------------------------------------------------------------------ tree


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 14))
def test_any_laminar_family_becomes_a_tree_of_exactly_its_sets(seed, num_parts):
    random = np.random.default_rng(seed)
    tree = random_parts(random, num_parts, 30)
    family = random_family(random, np.unique(tree.part_of_point), num_parts)
    grown = tree_of(tree, family)
    p = grown.num_parts
    assert point_sets(grown) == sorted(tuple(np.flatnonzero(row[tree.part_of_point]).tolist()) for row in family)
    assert (grown.parents[:-1] > np.arange(p - 1)).all() and grown.parents[-1] == p - 1, "the root last"
    assert (grown.altitude[grown.parents] >= grown.altitude).all()
    inner = np.isin(np.arange(p - 1), grown.parents)
    assert inner.tolist() == sorted(inner.tolist()), "leaves first"


def test_the_family_of_a_trees_own_parts_is_that_tree():
    tree = tree_of(LEGS, LEGS.holds)
    assert tree.parents.tolist() == LEGS.parents.tolist() and tree.part_of_point.tolist() == LEGS.part_of_point.tolist()
    assert tree.altitude.tolist() == LEGS.altitude.tolist()


def test_groups_inside_groups_keep_their_order():
    pair, legs = (np.isin(np.arange(6), members) for members in ([0, 1], [0, 1, 2, 3]))
    tree = tree_of(LEGS, np.stack([legs, pair, *LEGS.holds]))
    first, third = tree.part_of_point[[0, 4]]
    assert tree.parents[tree.parents[first]] == tree.parents[third] != tree.root
    assert tree.altitude[tree.path(int(first))].tolist() == pytest.approx([0.4, 0.2, 0.1])
