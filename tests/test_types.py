"""The part tree's derived tables against walking it part by part, and the packed masks."""

import dataclasses

import numpy as np
import pytest
from helpers import random_parts
from hypothesis import given, settings
from hypothesis import strategies as st

from semquery.types import MaskStack, MergeTree

TREES = st.builds(lambda seed, p, n: random_parts(np.random.default_rng(seed), p, n),
                  st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 30))


def slow_ancestors(tree, part):
    """The part, its parent, …, the root."""
    found = [part]
    while tree.parents[found[-1]] != found[-1]:
        found.append(int(tree.parents[found[-1]]))
    return found


def test_the_tree_of_five_by_hand(parts):
    assert parts.root == 4 and parts.num_parts == 5
    assert parts.depth.tolist() == [2, 2, 1, 1, 0]
    assert parts.num_points.tolist() == [4, 3, 4, 8, 12]
    assert parts.children(4) == [2, 3] and parts.children(3) == [0, 1] and parts.children(0) == []
    assert parts.path(0) == [3, 0] and parts.path(2) == [2] and parts.path(4) == [4]
    assert parts.level(0).tolist() == [4] * 5
    assert parts.level(1).tolist() == [3, 3, 2, 3, 4] and parts.level(9).tolist() == [0, 1, 2, 3, 4]
    assert np.flatnonzero(parts.points_of(3)).tolist() == [0, 1, 2, 3, 4, 5, 6, 11]


@settings(max_examples=60, deadline=None)
@given(TREES)
def test_the_tables_agree_with_walking_up_from_every_part(tree):
    up = [slow_ancestors(tree, p) for p in range(tree.num_parts)]
    assert tree.depth.tolist() == [len(u) - 1 for u in up]
    assert tree.holds.tolist() == [[a in up[b] for b in range(tree.num_parts)] for a in range(tree.num_parts)]
    for part in range(tree.num_parts):
        inside = [part in up[p] for p in tree.part_of_point]
        assert tree.points_of(part).tolist() == inside and tree.num_points[part] == sum(inside)
        assert tree.path(part) == (up[part][:-1][::-1] or [tree.root])
        assert tree.children(part) == [p for p in range(tree.num_parts) if p != part and tree.parents[p] == part]
        for depth in range(4):
            assert tree.level(depth)[part] == (up[part][::-1][depth] if len(up[part]) > depth else part)


def test_a_tree_of_one_part_is_its_own_root():
    tree = random_parts(np.random.default_rng(0), 1, 4)
    assert tree.path(0) == [0] and tree.children(0) == [] and tree.num_points.tolist() == [4]


def test_a_merge_tree_of_n_leaves_has_2n_minus_1_nodes():
    assert MergeTree(np.array([3, 3, 4, 4, 4], np.int32), np.zeros(5, np.float32)).num_leaves == 3


def test_masks_are_unpacked_by_number_not_by_layer():
    layers = np.array([[[2, 2, 0]], [[1, 0, 3]]], np.uint16)
    stack = MaskStack(layers, np.ones(3, np.float32))
    assert stack.num_masks == 3 and stack.size == (1, 3)
    assert stack.masks().tolist() == [[[True, False, False]], [[True, True, False]], [[False, False, True]]]


def test_records_cannot_be_changed(parts):
    with pytest.raises(dataclasses.FrozenInstanceError):
        parts.parents = None
