"""The hash grid: C equals torch equals tiny-cuda-nn, and all equal trilinear interpolation by hand."""

import itertools
import subprocess

import pytest
import torch

from semquery.field import grid as grid_module
from semquery.field import kernel as kernel_module
from semquery.field.grid import GridConfig, HashGrid, grid_levels, row_of_vertex, torch_grid

SMALL = GridConfig(levels=6, features=4, log2_table=10, coarsest=4, finest=60, init=1.0)
needs_compiler = pytest.mark.skipif(kernel_module.kernel(4) is None, reason="no C compiler here")


@pytest.fixture(autouse=True)
def _one_seed() -> None:
    torch.manual_seed(0)


def positions(n: int) -> torch.Tensor:
    """Random positions, and all corners, edges' middles and the centre of the cube."""
    special = torch.tensor(list(itertools.product([0.0, 0.5, 1.0], repeat=3)))
    return torch.cat([torch.rand(n, 3), special])


def test_levels_are_dense_while_they_fit_and_hashed_after() -> None:
    levels = grid_levels(SMALL)
    assert levels[0].is_dense and levels[0].resolution == 4 and levels[0].size == 64
    assert not levels[-1].is_dense and levels[-1].size == 2**10
    assert [v.offset for v in levels[1:]] == [v.offset + v.size for v in levels[:-1]]
    assert all(v.size % 8 == 0 for v in levels)


def test_one_level_is_trilinear_interpolation_by_hand() -> None:
    """Three vertices along an edge, whose rows hold a linear function: the grid must return that function."""
    config = GridConfig(levels=1, features=1, log2_table=10, coarsest=3, finest=3)
    net = HashGrid(config, "torch")
    assert net.levels[0].scale == 2 and net.levels[0].resolution == 3
    net.table.data = torch.arange(len(net.table), dtype=torch.float32)[:, None]
    x = torch.tensor([[0.25, 0.25, 0.25], [0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.25, 0.25, 0.5], [0.1, 0.2, 0.3]])
    # vertex (a,b,c) holds a + 3b + 9c, which is linear: so is the interpolation, at 2x + .5
    expected = ((2 * x + 0.5) * torch.tensor([1.0, 3.0, 9.0])).sum(1, keepdim=True)
    torch.testing.assert_close(net(x), expected)


def test_torch_agrees_with_a_loop_over_points_levels_and_corners() -> None:
    net, x = HashGrid(SMALL, "torch"), positions(20)
    slow = torch.zeros(len(x), net.out_dim)
    for i, (number, level) in itertools.product(range(len(x)), enumerate(net.levels)):
        for corner in itertools.product([0, 1], repeat=3):
            at = x[i] * level.scale + 0.5
            weight = torch.stack([(at[d] % 1) if corner[d] else 1 - at[d] % 1 for d in range(3)]).prod()
            vertex = at.floor().long() + torch.tensor(corner)
            row = level.offset + slow_row(vertex.tolist(), level.resolution, level.size)
            slow[i, number * 4 : number * 4 + 4] += weight * net.table[row].detach()
    torch.testing.assert_close(net(x), slow, atol=1e-5, rtol=1e-5)


def slow_row(vertex: list[int], resolution: int, size: int) -> int:
    if resolution**3 <= size:
        return (vertex[0] + vertex[1] * resolution + vertex[2] * resolution**2) % 2**32 % size
    hashed = vertex[0] ^ (vertex[1] * 2654435761 % 2**32) ^ (vertex[2] * 805459861 % 2**32)
    return hashed % size


def test_dense_vertices_have_rows_of_their_own() -> None:
    level = grid_levels(SMALL)[1]
    vertices = torch.cartesian_prod(*[torch.arange(level.resolution)] * 3)
    assert len(row_of_vertex(vertices, level).unique()) == level.resolution**3


def test_torch_gradients_are_those_of_finite_differences() -> None:
    config = GridConfig(levels=2, features=2, log2_table=6, coarsest=3, finest=7, init=1.0)
    net = HashGrid(config, "torch").double()
    x = (torch.rand(5, 3, dtype=torch.float64) * 0.9 + 0.03).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, table: torch_grid(x, table, net.levels), (x, net.table))


@needs_compiler
@pytest.mark.parametrize("features", [1, 2, 4, 8])
def test_c_equals_torch_in_values_and_gradients(features: int) -> None:
    config = GridConfig(levels=6, features=features, log2_table=10, coarsest=4, finest=60, init=1.0)
    twin, fast = HashGrid(config, "torch"), HashGrid(config, "c")
    fast.load_state_dict(twin.state_dict())
    mix = torch.randn(twin.out_dim)
    inside = positions(3000).requires_grad_()
    assert fast.backend_in_use() == "c"
    results = []
    for net in (twin, fast):
        out = net(inside)
        results.append((out, *torch.autograd.grad((out.tanh() @ mix).sum(), (net.table, inside))))
    for ours, reference in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(ours, reference, atol=2e-3, rtol=1e-3)
    torch.testing.assert_close(results[1][0], results[0][0], atol=1e-4, rtol=1e-4)


@needs_compiler
def test_threads_do_not_change_the_result() -> None:
    net, x, threads = HashGrid(SMALL, "c"), positions(5000), torch.get_num_threads()
    results = []
    try:
        for count in (1, 3, 3):
            torch.set_num_threads(count)
            out = net(x)
            results.append((out, *torch.autograd.grad(out.square().sum(), net.table)))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("backend", ["torch", "auto"])
def test_empty_half_precision_and_outside_input_are_served(backend: str) -> None:
    net = HashGrid(SMALL, backend)
    assert net(torch.zeros(0, 3)).shape == (0, net.out_dim)
    assert net(torch.rand(5, 3).half()).dtype == torch.float32
    assert net(torch.tensor([[-3.0, 0.5, 7.0]])).isfinite().all()


def test_a_grid_learns_a_function() -> None:
    net = HashGrid(SMALL, "auto")
    head = torch.nn.Linear(net.out_dim, 1)
    optimizer = torch.optim.Adam([*net.parameters(), *head.parameters()], lr=1e-2)
    x = torch.rand(500, 3)
    wanted = (x.norm(dim=1, keepdim=True) > 0.9).float()
    losses = []
    for _ in range(60):
        loss = (head(net(x)) - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]


def test_without_a_compiler_auto_is_torch_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CC", "no-such-compiler")
    kernel_module.kernel.cache_clear()
    try:
        nets = [HashGrid(SMALL, backend) for backend in ("auto", "c")]
        assert [net.backend_in_use() for net in nets] == ["torch", "torch"]
        assert nets[0](positions(3)).isfinite().all()
        assert len([r for r in caplog.records if "could not be built" in r.message]) == 1
        assert not list(tmp_path.rglob("*.so"))
    finally:
        kernel_module.kernel.cache_clear()


@needs_compiler
def test_plain_flags_serve_a_compiler_that_refuses_the_fast_ones(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(kernel_module, "FLAGS", ("--no-such-flag",))
    library = kernel_module._compile(2)
    assert library.exists() and [p.suffix for p in library.parent.iterdir()] == [".so"]
    before = library.stat().st_mtime_ns
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("compiled again"))
    assert kernel_module._compile(2).stat().st_mtime_ns == before


@pytest.mark.parametrize("wrong", [{"features": 3}, {"levels": 0}, {"coarsest": 50, "finest": 20}])
def test_impossible_shapes_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match="[0-9]"):
        GridConfig(**wrong)


@pytest.mark.skipif(not (grid_module._tcnn_installed() and torch.cuda.is_available()), reason="needs tiny-cuda-nn and a GPU")
def test_tcnn_equals_torch_with_the_same_table() -> None:
    twin, fast = HashGrid(SMALL, "torch").cuda(), HashGrid(SMALL, "tcnn").cuda()
    fast.load_state_dict(twin.state_dict())
    x, results = positions(1000).cuda(), []
    for net in (twin, fast):
        out = net(x)
        results.append((out, *torch.autograd.grad(out.square().sum(), net.table)))
    for ours, reference in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(ours, reference, atol=1e-3, rtol=1e-3)
