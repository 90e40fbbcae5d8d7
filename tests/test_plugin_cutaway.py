"""Parts taken out of a radiance field: which cells go, and what a ray then meets."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("nerfstudio.engine.trainer")

from nerfstudio_plugin.capture import Frame  # noqa: E402
from nerfstudio_plugin.cutaway import MARGIN, NEAR, Cells, Cut  # noqa: E402

AT_HOME = torch.eye(4, dtype=torch.float64)


def walls() -> tuple[np.ndarray, np.ndarray]:
    """Two square walls across the x axis: part 0 at x = 1, part 1 at x = 3."""
    side = np.arange(0.05, 2, 0.1)
    y, z = (axis.ravel() for axis in np.meshgrid(side, side))
    points = np.concatenate([np.stack([np.full_like(y, x), y, z], 1) for x in (1.05, 3.05)]).astype(np.float32)
    return points, np.repeat([0, 1], len(y)).astype(np.int32)


def first_met(cut: Cut | None, direction: float = 1.0) -> float | None:
    """x where a ray through the middle of both walls, each 0.1 thick, first meets something."""
    x = torch.arange(0, 4, 0.01)
    x = x if direction > 0 else x.flip(0)
    positions = torch.stack([x, torch.full_like(x, 1.0), torch.full_like(x, 1.0)], 1)
    is_solid = ((x > 1) & (x < 1.1)) | ((x > 3) & (x < 3.1))
    if cut is not None:
        is_solid = is_solid & cut(positions)[:, 0]
    return round(float(x[is_solid][0]), 2) if is_solid.any() else None


def test_behind_a_hidden_wall_is_the_other_one() -> None:
    points, part = walls()
    cells = Cells.around(points, part, 0.1)
    front = np.array([True, False])
    cut = lambda kept, outside: Cut.of(cells, kept, outside, AT_HOME, "cpu")  # noqa: E731
    assert first_met(None) == 1.01
    assert first_met(cut(cells.without(front), True)) == 3.01
    assert first_met(cut(cells.without(~front), True), -1.0) == 1.1
    assert (first_met(cut(cells.only(front), False)), first_met(cut(cells.only(front), False), -1.0)) == (1.01, 1.1)
    assert first_met(cut(cells.only(~front), False)) == 3.01
    assert first_met(cut(cells.without(front | ~front), True)) is None


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 4))
def test_every_cell_is_of_the_part_that_a_slow_search_finds_nearest(seed: int, num_points: int, num_parts: int) -> None:
    random = np.random.default_rng(seed)
    points, part = random.uniform(-3, 3, (num_points, 3)).astype(np.float32), random.integers(0, num_parts, num_points).astype(np.int32)
    cells = Cells.around(points, part, 0.2, most=12)
    cell_of_point = np.floor((points - cells.low) / cells.size).astype(int)
    assert cells.size >= 0.2 and max(cells.part.shape) <= 12 + 1 + 2 * MARGIN
    for cell in random.integers(0, cells.part.shape, (20, 3)):
        away = np.linalg.norm(cell_of_point - cell, axis=1)
        assert cells.part[tuple(cell)] in part[away == away.min()]
        assert cells.is_near[tuple(cell)] == (away.min() <= NEAR)


def test_a_cell_is_of_the_part_with_most_points_in_it() -> None:
    points = np.array([[0, 0, 0], [0.1, 0, 0], [0.2, 0, 0], [5, 5, 5]], np.float32)
    cells = Cells.around(points, np.array([2, 1, 1, 0], np.int32), 0.5)
    assert cells.part[MARGIN, MARGIN, MARGIN] == 1
    assert cells.part[-1, -1, -1] == 0


def test_one_point_is_a_surface_too() -> None:
    cells = Cells.around(np.zeros((1, 3), np.float32), np.zeros(1, np.int32), 0.1)
    assert (cells.part == 0).all() and cells.only(np.array([True])).any() and not cells.without(np.array([True])).any()


def test_positions_of_the_trainer_are_looked_up_in_the_capture() -> None:
    """A turned, scaled and shifted trainer's frame gives the same answers at the same places."""
    torch.manual_seed(0)
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3, :3], matrix[:3, 3] = 0.07 * torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0], torch.tensor([0.3, -2.0, 5.0])
    points, part = walls()
    cells = Cells.around(points, part, 0.1)
    kept = cells.without(np.array([True, False]))
    places = torch.rand(500, 3, dtype=torch.float64) * 5 - 0.5
    here, there = (Cut.of(cells, kept, True, T, "cpu") for T in (AT_HOME, matrix))
    same = here(places) == there(Frame(matrix).to_trainer(places))
    assert same.float().mean() > 0.99  # but for places on the border of two cells
    assert 0.8 < here(places).float().mean() < 0.95


@pytest.mark.parametrize("outside", [True, False])
def test_beyond_the_box_and_beyond_all_numbers_it_is_as_it_was_told(outside: bool) -> None:
    points, part = walls()
    cells = Cells.around(points, part, 0.1)
    cut = Cut.of(cells, np.full(cells.part.shape, not outside), outside, AT_HOME, "cpu")
    far = torch.tensor([[[1e9, 0, 0], [-1e9, 0, 0]], [[0, 1e30, 0], [float("nan"), 0, 0]]])
    assert cut(far).shape == (2, 2, 1) and bool((cut(far) == outside).all())
    assert bool((cut(torch.tensor([[1.0, 1.0, 1.0]])) != outside).all())
