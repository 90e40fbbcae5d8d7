"""Which parts of a large scene a table tells of: one order, whose beginning a budget takes."""

import numpy as np
import pytest
from helpers import part_tree, random_parts
from hypothesis import given, settings
from hypothesis import strategies as st

from semquery.ask.shortlist import MOST_OTHERS, Row, opened, shortlist
from semquery.spans import preorder
from semquery.types import NodeLabel, PartTree

#     9 scene ─┬─ 8 desk ─┬─ 0 1 2 3 leg, 4 top
#              └─ 7 shelf ─── 6 box ── 5 lid
TREE = part_tree([8, 8, 8, 8, 8, 6, 7, 9, 9, 9], np.repeat(np.arange(7), [1, 1, 1, 1, 6, 1, 2]))
NAMES = ["leg", "Leg", "leg", "leg", "top", "lid", "box", "shelf", "desk", "scene"]
LABELS = {part: NodeLabel(part, name) for part, name in enumerate(NAMES)}


def rows(budget: int, lead=None, tree: PartTree = TREE, labels=LABELS, **more) -> list[tuple[int, ...]]:
    lead = np.zeros(tree.num_parts) if lead is None else np.asarray(lead, float)
    return [row.parts for row in shortlist(tree, lead, labels, budget, **more).rows]


def test_a_scene_that_fits_is_listed_whole_each_part_for_itself():
    assert rows(10) == [(9,), (7,), (6,), (5,), (8,), (0,), (1,), (2,), (3,), (4,)]


def test_what_lies_directly_in_the_scene_shares_the_last_row_where_the_budget_does_not_reach_it():
    whole = shortlist(TREE, np.zeros(10), LABELS, 3)
    assert whole.rows == (Row((9,)), Row((7,), 2), Row((8,), 5)) and whole.hidden == 7
    shared = shortlist(TREE, np.zeros(10), LABELS, 2)
    assert shared.rows == (Row((9,)), Row((8, 7), 7, others=True)) and shared.hidden == 7 and shared.parts == {7, 8, 9}
    assert shortlist(TREE, np.zeros(10), LABELS, 1).rows == (Row((9,), 9),)


def test_a_single_one_that_is_left_has_the_last_row_for_itself():
    lead = np.zeros(10)
    lead[5] = 1
    assert shortlist(TREE, lead, LABELS, 4).rows == (Row((9,)), Row((7,)), Row((6,), 1), Row((8,), 5))


def test_of_a_crowd_so_many_are_named_and_the_others_counted():
    tree = part_tree([300] * 301, range(300))
    found = shortlist(tree, np.zeros(301), {}, 10)
    assert len(found.rows) == 10 and len(found.rows[-1].parts) == MOST_OTHERS == 200 and found.rows[0].hidden == found.hidden == 300 - 8 - 200


def test_among_many_objects_the_part_that_fits_best_has_a_row():
    num_objects, wanted = 40, 7  # each holds two parts
    tree = part_tree([*(80 + k // 2 for k in range(2 * num_objects)), *[120] * (num_objects + 1)], range(80))
    found = shortlist(tree, np.eye(121)[wanted], {}, 12)
    assert {(wanted,), (80 + wanted // 2,)} <= {row.parts for row in found.rows} and len(found.rows) == 12
    assert found.rows[-1].others and found.parts == {wanted, *range(80, 121)} and found.rows[-1].hidden == 2 * len(found.rows[-1].parts) == 2 * 31


def test_one_of_the_others_that_is_opened_has_a_row_of_its_own_and_its_inside_once():
    lead = np.zeros(10)
    shown = shortlist(TREE, lead, LABELS, 2).rows
    inner = opened(TREE, lead, LABELS, shown, [7], 6)
    assert inner == (Row((7,)), Row((6,)), Row((5,)))
    assert opened(TREE, lead, LABELS, (*shown, *inner), [7, 6], 6) == ()
    assert opened(TREE, lead, LABELS, (*shown, *inner), [8], 3) == (Row((8,)), Row((0, 1, 2, 3)), Row((4,)))


def test_siblings_called_alike_share_a_row_where_not_all_parts_fit():
    assert rows(9, [1, 0, 0, 0, 0, 0, 0, 0, 0, 0]) == [(9,), (7,), (6,), (5,), (8,), (0, 1, 2, 3), (4,)]


def test_what_fits_the_question_comes_with_everything_it_lies_in():
    lead = np.zeros(10)
    lead[5] = 1
    assert rows(5, lead) == [(9,), (7,), (6,), (5,), (8,)]


def test_without_a_clue_the_largest_of_the_least_deep_come_first():
    assert rows(4) == [(9,), (7,), (8,), (4,)]  # the desk's top has most points at its level


def test_two_alike_or_alike_without_a_name_keep_rows_of_their_own():
    two = {part: NodeLabel(part, "leg" if part < 2 else f"part {part}") for part in range(10)}
    unnamed = {part: NodeLabel(part, "unknown") for part in range(10)}
    failed = {part: NodeLabel(part, "leg", status="failed") for part in range(10)}
    for labels in (two, unnamed, failed, {}):
        assert all(len(row) == 1 for row in rows(9, labels=labels))


def test_an_opened_part_shows_its_inside_and_an_opened_row_its_members():
    shown = shortlist(TREE, np.zeros(10), LABELS, 3).rows
    assert opened(TREE, np.zeros(10), LABELS, shown, [8], 6) == (Row((0,)), Row((1,)), Row((2,)), Row((3,)), Row((4,)))
    crowd = opened(TREE, np.zeros(10), LABELS, shown, [8], 3)
    assert crowd == (Row((0, 1, 2, 3)), Row((4,)))
    assert opened(TREE, np.zeros(10), LABELS, (*shown, *crowd), [2], 3) == (Row((0,)), Row((1,)), Row((2,)), Row((3,)))
    assert opened(TREE, np.zeros(10), LABELS, shown, [3, 77], 3) == ()  # not listed, or no part


def slow_order(tree: PartTree, lead: np.ndarray) -> list[int]:
    """In turn two by lead and one by level, each after its ancestors."""
    def points(p: int) -> int:
        return int(tree.points_of(p).sum())

    by_level = sorted(range(tree.num_parts), key=lambda p: (tree.depth[p], -points(p), p))
    by_lead = sorted(by_level, key=lambda p: -lead[p])
    wanted = [p for k, level in enumerate(by_level) for p in [*by_lead[2 * k : 2 * k + 2], level]]
    order: list[int] = []
    for part in wanted:
        order += [p for p in dict.fromkeys([tree.root, *tree.path(part)]) if p not in order]
    return order


scenes = st.tuples(st.integers(0, 10**6), st.integers(2, 30))


@given(scenes, st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_the_rows_are_the_beginning_of_one_order(scene, budget):
    random = np.random.default_rng(scene[0])
    tree = random_parts(random, scene[1], 60)
    lead = random.integers(0, 4, tree.num_parts).astype(float)
    found, order = shortlist(tree, lead, {}, budget), slow_order(tree, lead)
    own = [row.parts for row in found.rows if not row.others]
    left = [p for p in order if tree.parents[p] == tree.root and p != tree.root and (p,) not in own]
    assert [row.parts for row in found.rows if row.others] == ([tuple(left)] if left and budget > 1 else [])
    assert own == [(p,) for p in np.argsort(preorder(tree.parents)[0]) if (p,) in own] and len(found.rows) == min(budget, tree.num_parts)
    assert {p for row in own for p in row} >= set(order[: budget - 1])
    assert found.hidden == tree.num_parts - len(found.parts) == sum(row.hidden for row in found.rows)


@given(scenes, st.integers(1, 40), st.integers(0, 10))
@settings(max_examples=60, deadline=None)
def test_a_larger_budget_tells_of_the_same_and_more_and_every_row_follows_what_it_lies_in(scene, budget, more):
    random = np.random.default_rng(scene[0])
    tree = random_parts(random, scene[1], 60)
    lead = random.normal(size=tree.num_parts)
    labels = {p: NodeLabel(p, "ab"[int(random.integers(2))]) for p in range(tree.num_parts)}
    small, large = shortlist(tree, lead, labels, budget), shortlist(tree, lead, labels, budget + more)
    assert small.parts <= large.parts
    seen: set[int] = set()
    for row in small.rows:
        assert all(p == tree.root or int(tree.parents[p]) in seen for p in row.parts)
        seen |= set(row.parts)
    assert len(small.rows) <= budget and not any(row.others for row in small.rows[:-1])
    if budget > 1:
        assert small.parts >= {tree.root, *tree.children(tree.root)}


@pytest.mark.parametrize("num_parts", [1, 2])
def test_the_smallest_scenes_are_listed(num_parts):
    tree = part_tree([num_parts - 1] * num_parts, [0] * 3)
    assert [row.parts for row in shortlist(tree, np.zeros(num_parts), {}, 2).rows] == [(p,) for p in reversed(range(num_parts))]
