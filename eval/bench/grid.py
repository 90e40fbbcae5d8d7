"""Hash grid, forward and backward: C compiled on first use against the torch twin.

    python -m eval.bench.grid
"""

import torch

from eval.bench import compare
from semquery.field import GridConfig, HashGrid


def main() -> None:
    torch.set_num_threads(1)
    print("points        C            torch      ratio")
    for n in (2048, 16384, 65536):
        x = torch.rand((n, 3), generator=torch.Generator().manual_seed(0))
        calls = []
        for backend in ("c", "torch"):
            torch.manual_seed(0)
            grid = HashGrid(GridConfig(), backend=backend)

            def step(grid: HashGrid = grid, x: torch.Tensor = x) -> torch.Tensor:
                grid.table.grad = None
                out = grid(x)
                out.sum().backward()
                return out.detach()

            calls.append(step)
        torch.testing.assert_close(calls[0](), calls[1](), rtol=1e-4, atol=1e-6)
        fast, slow, ratio = compare(*calls)
        print(f"{n:6d} {1e3 * fast:9.1f} ms {1e3 * slow:9.1f} ms {ratio:8.1f}×")


if __name__ == "__main__":
    main()
