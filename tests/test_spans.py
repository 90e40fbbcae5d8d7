"""Slices against the tree's own tables: the same points, the same pixels."""

import numpy as np
import pytest
from helpers import part_tree, random_parts, small_parts, small_surface
from hypothesis import given, settings
from hypothesis import strategies as st

from semquery.spans import Spans, preorder
from semquery.types import Surface
from semquery.views import part_mask, visible_pixels

SEEDS = st.integers(0, 10**6)


def random_surface(random: np.random.Generator, num_points: int) -> Surface:
    views = {f"view {k}": random.integers(-1, num_points, random.integers(1, 8, 2)).astype(np.int32) for k in range(int(random.integers(0, 4)))}
    return Surface(random.normal(size=(num_points, 3)).astype(np.float32), np.zeros((num_points, 3), np.float32), np.zeros((num_points, 3), np.uint8),
                   np.zeros((num_points, 0), np.float16), np.arange(num_points, dtype=np.int32), 1.0, views)


def test_the_small_scene_by_hand():
    # preorder: 4 scene, 2 plate, 3 panel, 0 left knob, 1 right knob
    laid = Spans(small_parts(), small_surface())
    assert laid.order.tolist() == [4, 2, 3, 0, 1] and laid.first.tolist() == [3, 4, 1, 2, 0] and laid.last.tolist() == [4, 5, 2, 5, 5]
    assert sorted(laid.points_of(3).tolist()) == [0, 1, 2, 3, 4, 5, 6, 11] and laid.num_points.tolist() == [4, 3, 4, 8, 12]
    assert laid.inside(3).tolist() == [3, 0, 1] and laid.common([0, 1]) == 3 and laid.common([1, 2]) == 4 and laid.common([1]) == 1
    assert laid.highest([1, 3, 2, 1]) == [2, 3]
    assert laid.views_of(1) == ["front", "close"] and laid.mask("close", 0, 1).sum() == 2  # front shows six of its pixels, close one


@settings(max_examples=100, deadline=None)
@given(SEEDS, st.integers(1, 20))
def test_every_part_is_a_slice_of_what_it_holds(seed, num_parts):
    random = np.random.default_rng(seed)
    parts, surface = random_parts(random, num_parts, 15), random_surface(random, 15)
    laid, (views, pixels) = Spans(parts, surface), visible_pixels(surface, parts)
    np.testing.assert_array_equal(laid.num_points, parts.num_points)
    for part in range(num_parts):
        np.testing.assert_array_equal(laid.point_mask(part), parts.points_of(part))
        assert set(laid.inside(part).tolist()) == set(np.flatnonzero(parts.holds[part]).tolist())
        assert [laid.holds(part, other) for other in range(num_parts)] == parts.holds[part].tolist()
        assert laid.above(part) == sorted(set(np.flatnonzero(parts.holds[:, part]).tolist()) - {part})  # parents come after children
        for view in views:
            np.testing.assert_array_equal(laid.mask(view, part), part_mask(surface, parts.points_of(part), view))
        count = dict(zip(views, pixels[:, part].tolist(), strict=True))
        assert [count[v] for v in laid.views_of(part)] == sorted((c for c in count.values() if c), reverse=True)


@settings(max_examples=100, deadline=None)
@given(SEEDS, st.integers(1, 20), st.integers(1, 5))
def test_several_parts_are_their_union_and_no_point_comes_twice(seed, num_parts, num_members):
    random = np.random.default_rng(seed)
    parts, surface = random_parts(random, num_parts, 15), random_surface(random, 15)
    laid, members = Spans(parts, surface), [int(p) for p in random.integers(0, num_parts, num_members)]
    union = np.any([parts.points_of(p) for p in members], axis=0)
    np.testing.assert_array_equal(laid.point_mask(*members), union)
    assert len(laid.points_of(*members)) == union.sum()
    for view, mask in laid.masks(*members).items():
        np.testing.assert_array_equal(mask, part_mask(surface, union, view))
    tops = [p for p in set(members) if not any(parts.holds[q, p] for q in members if q != p)]
    assert sorted(laid.highest(members)) == sorted(tops)
    holders = [p for p in range(num_parts) if all(parts.holds[p, m] for m in members)]
    assert laid.common(members) == max(holders, key=lambda p: int(parts.depth[p]))


def test_no_parts_hold_no_points():
    laid = Spans(small_parts(), small_surface())
    assert not len(laid.points_of()) and not laid.mask("front").any() and laid.masks() == {}


@pytest.mark.parametrize("num_parts", [1, 255, 256, 70_000])
def test_a_chain_of_any_length_needs_no_recursion(num_parts):
    first, last = preorder(np.minimum(np.arange(num_parts) + 1, num_parts - 1).astype(np.int32))
    assert first.tolist() == list(range(num_parts))[::-1] and set(last.tolist()) == {num_parts}


def test_deep_parts_keep_their_points_however_many_bytes_a_rank_takes():
    num_parts = 66_000
    parts = part_tree(np.minimum(np.arange(num_parts) + 1, num_parts - 1), np.arange(num_parts))
    laid = Spans(parts)
    assert laid.points_of(0).tolist() == [0] and sorted(laid.points_of(65_000).tolist()) == list(range(65_001))
    assert laid.common([0, 65_999]) == 65_999 and not laid.sizes


def test_a_single_part_is_not_copied():
    laid = Spans(small_parts())
    assert np.shares_memory(laid.points_of(3), laid.points.items)
