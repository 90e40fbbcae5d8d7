"""Splats on a CPU: rasterising against brute force, and a training step at surface points against one of rasterised features.

    python -m eval.bench.splatting [--large] [--threads 1]

  pictures  seconds of a picture of 256² with depth and three features: 10⁴ and 10⁵ Gaussians, with --large 10⁶
  forces    the same 2000 Gaussians by the rasteriser and by brute force (every Gaussian over every pixel, nearest first)
  steps     one step (losses, gradient, optimiser) on the same pixels and pairs, on splats of the table-top

Seconds are those of the processor, all threads together, so that other work on the machine does not count.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from eval.bench.training import stepper
from eval.splats.made import MadeConfig, make_splats
from eval.truth import scenes, write_regime, write_truth
from semquery import stages
from semquery.fit import FieldFit, FitConfig
from semquery.render import ring
from semquery.splatting import Gaussians, View, ply_of, project, rasterize
from semquery.splatting.blocks import LEAST_ALPHA, TILE
from semquery.splatting.features import RasterisedConfig
from semquery.splatting.raster import DONE, MOST_ALPHA
from semquery.store import Run

COUNTS, LARGE, BRUTE, SIZE = (10_000, 100_000), 1_000_000, 2_000, 256
WAYS = {
    "surface": FitConfig(),
    "rasterised, field": FitConfig(feature_rendering="rasterised"),
    "rasterised, vectors": FitConfig(feature_rendering="rasterised", rasterised=RasterisedConfig(carried_by="vectors")),
}


def sphere(count: int, size: int = SIZE) -> tuple[Gaussians, View]:
    """Gaussians on a unit sphere, as wide as their spacing asks, and a view of all of it."""
    rng = torch.Generator().manual_seed(0)
    means = torch.nn.functional.normalize(torch.randn(count, 3, generator=rng), dim=1)
    spacing = (4 * torch.pi / count) ** 0.5
    gaussians = Gaussians(means, torch.randn(count, 4, generator=rng), 0.65 * spacing * (0.3 * torch.randn(count, 3, generator=rng)).exp(),
                          0.6 + 0.39 * torch.rand(count, generator=rng), torch.randn(count, 1, 3, generator=rng))
    intrinsics = np.array([1.2 * size, 1.2 * size, size / 2, size / 2])
    return gaussians, View.of(ring(np.zeros(3), 3.0, 20.0, np.array([30.0]))[0], intrinsics, (size, size), means)


def by_brute_force(gaussians: Gaussians, view: View, features: Float[Tensor, "g c"]) -> Float[Tensor, "h w c"]:
    """Every Gaussian over the whole picture, nearest first; the rules are those of `semquery.splatting.raster`."""
    projected, (height, width) = project(gaussians, view), view.size
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    left, is_done = torch.ones(view.size), torch.zeros(view.size, dtype=torch.bool)
    picture = torch.zeros(*view.size, features.shape[1])
    for g in projected.depths.argsort(stable=True).tolist():
        radius, centre, (a, b, c) = projected.radii[g], projected.means[g], projected.conics[g]
        low, high = ((centre - radius) / TILE).floor() * TILE, ((centre + radius) / TILE).ceil() * TILE
        dx, dy = x - centre[0], y - centre[1]
        power = -0.5 * (a * dx * dx + c * dy * dy) - b * dx * dy
        alpha = (gaussians.opacities[g] * power.exp()).clamp(max=MOST_ALPHA)
        counts = (radius > 0) & (x > low[0]) & (x < high[0]) & (y > low[1]) & (y < high[1]) & (power <= 0) & (alpha >= LEAST_ALPHA)
        is_done |= counts & (left * (1 - alpha) <= DONE)
        alpha = torch.where(counts & ~is_done, alpha, 0.0)
        picture += (alpha * left)[..., None] * features[g]
        left = left * (1 - alpha)
    return picture


def cpu_seconds(call: Callable[[], object], repeats: int) -> float:
    """Median of a call's processor time, after one call that is not counted."""
    call()
    spent = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        spent.append(time.process_time() - start)
    return statistics.median(spent)


def pictures(counts: tuple[int, ...], repeats: int) -> None:
    print("Gaussians     CPU s a picture")
    for count in counts:
        gaussians, view = sphere(count)
        with torch.no_grad():
            spent = cpu_seconds(lambda: rasterize(gaussians, view, gaussians.colors(view.position)), repeats)
            print(f"{count:9d} {spent:15.2f}", flush=True)


def forces(count: int, repeats: int) -> None:
    gaussians, view = sphere(count)
    with torch.no_grad():
        colors = gaussians.colors(view.position)
        ours = cpu_seconds(lambda: rasterize(gaussians, view, colors), repeats)
        brute = cpu_seconds(lambda: by_brute_force(gaussians, view, colors), 1)
    print(f"{count} Gaussians: {ours:.2f} CPU s, by brute force {brute:.2f}, {brute / ours:.0f}×", flush=True)


def make_fits(size: int, views: int, gaussians: int, batch: int) -> dict[str, FieldFit]:
    """Trainings of every way on splats of the table-top, with segmenter-like masks."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        truth = write_truth(folder / "scene", "tabletop", scenes(("tabletop",), None)["tabletop"], size, views, 0)
        splats = make_splats(truth, MadeConfig(gaussians=gaussians), 0).gaussians
        ply_of(splats).write(str(folder / "scene.ply"))
        run = Run(folder / "run", create=True)
        stages.observe_splats(run, folder / "scene.ply", truth.cameras)
        write_regime(run, truth, "sam", 0)
        return {way: stages.open_fit(run, FitConfig(batch=batch, feature_rendering=config.feature_rendering, rasterised=config.rasterised),
                                     splats=(splats, None)) for way, config in WAYS.items()}


def steps(fits: dict[str, FieldFit], repeats: int) -> None:
    print("features              CPU ms a step   of surface")
    surface = 0.0
    for way, fit in fits.items():
        spent = cpu_seconds(stepper(fit), repeats)
        surface = surface or spent
        print(f"{way:20s} {1e3 * spent:14.1f} {spent / surface:11.1f}×", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Rasterising splats on a CPU, and training features on them.")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--repeats", type=int, default=5, help="timed calls")
    parser.add_argument("--large", action="store_true", help="a million Gaussians, too")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    pictures((*COUNTS, *((LARGE,) if a.large else ())), a.repeats)
    forces(BRUTE, a.repeats)
    steps(make_fits(160, 20, 40_000, 2048), 4 * a.repeats)


if __name__ == "__main__":
    main()
