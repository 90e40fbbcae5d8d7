"""The scene taken apart: by hand, by a loop over points, and what holds for every tree."""

import numpy as np
import pytest
from helpers import part_tree, random_parts, small_cameras, small_parts, small_surface
from hypothesis import given, settings
from hypothesis import strategies as st

from semquery.spans import Spans
from semquery.types import PartTree, Surface
from semquery.viewer.explode import centres, offsets, part_offsets
from semquery.viewer.loaded import Loaded

SEEDS = st.integers(0, 10_000)


def loaded_of(points, tree: PartTree) -> Loaded:
    n = len(points)
    surface = Surface(np.asarray(points, np.float32), np.zeros((n, 3), np.float32), np.zeros((n, 3), np.uint8),
                      np.zeros((n, 0), np.float16), np.arange(n, dtype=np.int32), 0.5, {})
    return Loaded(surface=surface, tree=tree, labels={}, cameras=small_cameras(), spans=Spans(tree, surface), scene=None)


def random_loaded(seed: int) -> Loaded:
    random = np.random.default_rng(seed)
    tree = random_parts(random, int(random.integers(2, 9)), 40)
    return loaded_of(random.normal(size=(40, 3)), tree)


def slow_offsets(loaded: Loaded, level: int, amount: float):
    """Point by point: the steps from the root down to the part that it moves with."""
    tree, points = loaded.tree, loaded.surface.points.astype(np.float64)

    def centre(part):
        return points[tree.points_of(part)].mean(0) if tree.points_of(part).any() else centre(int(tree.parents[part]))

    moved = np.zeros(points.shape)
    for number, part in enumerate(tree.part_of_point.tolist()):
        for step in tree.path(part)[:level]:
            if step != tree.root:
                moved[number] += amount * (centre(step) - centre(int(tree.parents[step])))
    return moved


def test_by_hand_the_knobs_part_and_then_the_panel_and_the_plate():
    """left knob at x 0, right knob at x 2, one point of the panel's own at x 1; plate at x 7.5."""
    loaded = loaded_of(small_surface().points, small_parts())
    panel, plate, scene = (0 * 4 + 2 * 3 + 1) / 8, 7.5, (0 * 4 + 2 * 3 + 1 + 30) / 12
    one, two = offsets(loaded, 1, 1.0)[:, 0], offsets(loaded, 2, 1.0)[:, 0]
    away = panel - scene
    np.testing.assert_allclose(one, [away] * 7 + [plate - scene] * 4 + [away], rtol=1e-6)
    np.testing.assert_allclose(two, [away + 0 - panel] * 4 + [away + 2 - panel] * 3 + [plate - scene] * 4 + [away], rtol=1e-6)
    assert (offsets(loaded, 2, 1.0)[:, 1] == 0).all(), "nothing leaves the plane that all lies in"


@settings(max_examples=30)
@given(seed=SEEDS, level=st.integers(0, 6), amount=st.floats(0, 1))
def test_offsets_are_those_of_a_loop_over_points(seed, level, amount):
    loaded = random_loaded(seed)
    np.testing.assert_allclose(offsets(loaded, level, amount), slow_offsets(loaded, level, amount), atol=1e-5)


@settings(max_examples=30)
@given(seed=SEEDS, level=st.integers(0, 6))
def test_nothing_moves_by_nothing_and_at_the_level_of_the_whole_scene(seed, level):
    loaded = random_loaded(seed)
    assert not offsets(loaded, level, 0.0).any() and not offsets(loaded, 0, 1.0).any()


@settings(max_examples=30)
@given(seed=SEEDS, level=st.integers(1, 6))
def test_the_points_of_one_part_at_the_level_move_together_and_the_roots_own_stay(seed, level):
    loaded = random_loaded(seed)
    moved, part = offsets(loaded, level, 0.7), loaded.tree.level(level)[loaded.tree.part_of_point]
    for one in np.unique(part):
        assert (moved[part == one] == moved[part == one][0]).all()
    assert not moved[loaded.tree.part_of_point == loaded.tree.root].any()


@settings(max_examples=30)
@given(seed=SEEDS, level=st.integers(1, 6), amounts=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_centres_of_parts_of_one_parent_move_apart_by_the_factor_one_plus_amount(seed, level, amounts):
    loaded = random_loaded(seed)
    tree, before = loaded.tree, centres(loaded.tree, loaded.surface.points)
    for amount in sorted(amounts):
        after = before + amount * part_offsets(tree, before, level)
        for parent in range(tree.num_parts):
            siblings = [part for part in tree.children(parent) if tree.depth[part] <= level]
            for a in siblings:
                for b in siblings:
                    np.testing.assert_allclose(after[a] - after[b], (1 + amount) * (before[a] - before[b]), atol=1e-9)


@settings(max_examples=30)
@given(seed=SEEDS, level=st.integers(1, 4), shift=st.floats(-5, 5), scale=st.sampled_from([0.1, 3.0]))
def test_offsets_do_not_change_with_the_place_of_the_scene_and_grow_with_its_size(seed, level, shift, scale):
    loaded = random_loaded(seed)
    moved = offsets(loaded_of(loaded.surface.points * scale + np.float32(shift), loaded.tree), level, 0.6)
    np.testing.assert_allclose(moved, scale * offsets(loaded, level, 0.6), atol=1e-5)


def test_parts_without_points_and_points_that_are_no_numbers_spoil_no_centre():
    """Part 0 has no point; part 1 has one that is none."""
    tree = part_tree([3, 3, 3, 3], [1, 1, 2, 2])
    points = np.array([[0, 0, 0], [np.nan, 0, 0], [4, 0, 0], [6, 0, 0]], np.float32)
    np.testing.assert_allclose(centres(tree, points), [[10 / 3, 0, 0], [0, 0, 0], [5, 0, 0], [10 / 3, 0, 0]], rtol=1e-6)
    np.testing.assert_allclose(offsets(loaded_of(points, tree), 1, 1.0)[2:, 0], [5 - 10 / 3] * 2, rtol=1e-6)


@pytest.mark.parametrize("amount", [-0.1, 1.5, float("nan")])
def test_an_amount_outside_of_0_to_1_is_told(amount):
    with pytest.raises(ValueError, match="from 0 to 1; got"):
        offsets(random_loaded(0), 1, amount)
