"""Training the feature field: on surface points, as we do, against compositing features along rays at every step.

    python -m eval.bench.training [--threads 1] [--no-quality]

  steps    one step (losses, gradient, optimiser) on the same pixels and pairs: ours with the C grid and with the torch
           grid, and the composited baseline with each
  grids    our torch hash grid against nerfstudio's own torch encoding of the same size, forward and backward. Their
           tables differ by design (nerfstudio hashes coarse levels too), so no values are compared
  quality  seconds of training until the part tree of the table-top scene reaches a normalised covering of .9, on exact
           geometry with exact and with segmenter-like masks; the tree is built and scored after every 20 steps,
           outside the clock

The composited baseline does what radiance-field methods do: the field is evaluated at 48 samples along each pixel's ray
and the outputs are summed with compositing weights and normalised. It is spared what else a ray costs: the weights are
given (a Gaussian around the surface, one voxel wide), no density is queried and no empty space is skipped.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from eval.bench import compare
from eval.metrics import score_tree
from eval.noise import SAM_LIKE, exact_masks, noisy_masks
from eval.truth import carry
from semquery.field import FeatureField, GridConfig, HashGrid
from semquery.fit import FieldFit, FitConfig, ViewPixels, labels_at
from semquery.geometry import FusionConfig, bulk_box, fuse
from semquery.parts import TreeConfig, build_part_tree
from semquery.render import RayCaster, observe
from semquery.scene import read_scene
from semquery.tabletop import write_scene
from semquery.types import MaskStack, Observation, Surface

SAMPLES = 48  # along a ray
SLICE = 20  # steps between two trees
ENOUGH = 0.9  # normalised covering


@dataclass(frozen=True)
class Bench:
    """The table-top scene, ready to train on and to score."""

    seen: dict[str, Observation]
    eyes: dict[str, np.ndarray]
    masks: dict[str, MaskStack]
    surface: Surface  # without features
    leaf_of_point: np.ndarray
    parents: np.ndarray  # of the true tree


class CompositedField(FeatureField):
    """The field seen from an eye: features composited along rays around the surface. Without an eye, the plain field."""

    eye: Tensor | None = None  # 3, world
    spread: float = 0.0  # standard deviation of the compositing weights along the ray, world units

    def forward(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n c"]:
        if self.eye is None:
            return super().forward(points)
        offset = torch.linspace(-3, 3, SAMPLES, device=points.device)
        weight = torch.softmax(-0.5 * offset**2, 0)
        along = normalize(points - self.eye, dim=-1)
        samples = points[:, None] + self.spread * offset[:, None] * along[:, None]
        x = ((samples.reshape(-1, 3) - self.box[0]) / (self.box[1] - self.box[0])).clamp(0, 1)
        features = self.network(self.grid(x).float()).reshape(len(points), SAMPLES, -1)
        return normalize((weight[:, None] * features).sum(1), dim=-1)


class CompositedFit(FieldFit):
    """Training as in `FieldFit`, every step looking from the camera of its view."""

    def __init__(self, field: CompositedField, views: dict[str, ViewPixels], config: FitConfig, eyes: dict[str, np.ndarray]) -> None:
        super().__init__(field, views, config)
        self.eyes = [torch.as_tensor(eyes[name], dtype=torch.float32) for name in self.names]

    def losses(self, step: int) -> dict[str, Float[Tensor, ""]]:
        self.field.eye = self.eyes[self._view_of(step)]
        found = super().losses(step)
        self.field.eye = None
        return found


def make_bench(regime: str, size: int = 160, views: int = 50, max_points: int = 40_000) -> Bench:
    """Scene, masks and surface on exact geometry; `regime` is exact or sam."""
    with tempfile.TemporaryDirectory() as folder:
        scene = write_scene(Path(folder), size, views, num_heldout=0)
        cameras = read_scene(Path(folder))
    caster = RayCaster(scene.vertices, scene.faces)
    seen, masks, leaves = {}, {}, {}
    for v, name in enumerate(cameras.names):
        seen[name] = observe(caster, cameras, v, scene.colors)
        hits = caster.cast(cameras.T_world_cam[v], cameras.intrinsics[v], seen[name].size)
        leaves[name] = np.where(hits.mask, scene.part_of_face[hits.face], -1)
        masks[name] = exact_masks(leaves[name], scene.parents)
        if regime == "sam":
            masks[name] = noisy_masks(leaves[name], hits.normals, scene.parents, SAM_LIKE, (0, v))
    eyes = {name: T[:3, 3] for name, T in zip(cameras.names, cameras.T_world_cam, strict=True)}
    surface = fuse(seen, eyes, FusionConfig(max_points=max_points))
    return Bench(seen, eyes, masks, surface, carry(surface, leaves, len(scene.parents)), scene.parents)


def make_fit(bench: Bench, composited: bool, config: FitConfig = FitConfig(), backend: str = "auto") -> FieldFit:
    """A training on the bench's scene; both kinds start from the same weights."""
    labels = {name: torch.from_numpy(labels_at(bench.masks[name], o)) for name, o in bench.seen.items()}
    views = {name: ViewPixels(torch.from_numpy(o.points), labels[name]) for name, o in bench.seen.items()}
    box = bulk_box(np.concatenate([o.points for o in bench.seen.values()]))
    torch.manual_seed(config.seed)
    field = (CompositedField if composited else FeatureField)(config.field, box)
    field.grid.backend = backend
    if not composited:
        return FieldFit(field, views, config)
    field.spread = bench.surface.voxel_size
    return CompositedFit(field, views, config, bench.eyes)


def stepper(fit: FieldFit) -> Callable[[], float]:
    """A call that does the next training step and gives its loss."""
    optimizer, count = fit.optimizer(), [0]

    def step() -> float:
        loss = torch.stack(list(fit.losses(count[0]).values())).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        count[0] += 1
        return float(loss.detach())

    return step


def steps_per_second(bench: Bench, repeats: int) -> None:
    print("grid    ours            composited        ratio")
    for backend in ("c", "torch"):
        fast, slow, ratio = compare(*(stepper(make_fit(bench, composited, backend=backend)) for composited in (False, True)), repeats)
        print(f"{backend:6s} {1 / fast:6.1f} steps/s {1 / slow:9.2f} steps/s {ratio:8.1f}×", flush=True)


def grid_call(grid: torch.nn.Module, x: Tensor) -> Callable[[], None]:
    """Forward and backward of an encoding."""

    def call() -> None:
        grid.zero_grad(set_to_none=True)
        grid(x).sum().backward()

    return call


def grids(repeats: int) -> None:
    from nerfstudio.field_components.encodings import HashEncoding

    c = GridConfig()
    theirs = HashEncoding(num_levels=c.levels, min_res=c.coarsest, max_res=c.finest, log2_hashmap_size=c.log2_table,
                          features_per_level=c.features, implementation="torch")
    print("points   our grid           nerfstudio's     ratio")
    for n in (2048, 16384, 65536):
        x = torch.rand((n, 3), generator=torch.Generator().manual_seed(0))
        for backend in ("torch", "c"):
            fast, slow, ratio = compare(grid_call(HashGrid(c, backend=backend), x), grid_call(theirs, x), repeats)
            print(f"{n:6d} {backend:>6s} {1e3 * fast:9.1f} ms {1e3 * slow:12.1f} ms {ratio:8.2f}×", flush=True)


def covering(bench: Bench, field: FeatureField) -> float:
    """Normalised covering of the part tree that the field gives now."""
    surface = replace(bench.surface, features=field.at(bench.surface.points).astype(np.float16))
    parts, *_ = build_part_tree(surface, bench.masks, TreeConfig())
    return score_tree(bench.parents, bench.leaf_of_point, parts.parents, parts.part_of_point).nc


def seconds_to_enough(bench: Bench, composited: bool, most: int, enough: float = ENOUGH) -> tuple[float, int, float]:
    """Seconds of training, steps and covering when the tree first covers enough, or after `most` steps."""
    fit = make_fit(bench, composited)
    step, spent, steps, nc = stepper(fit), 0.0, 0, 0.0
    while nc < enough and steps < most:
        start = time.perf_counter()
        for _ in range(min(SLICE, most - steps)):
            step()
            steps += 1
        spent += time.perf_counter() - start
        nc = covering(bench, fit.field)
    return spent, steps, nc


def quality(most: int) -> None:
    print("masks    way           seconds   steps     NC")
    for regime in ("exact", "sam"):
        bench = make_bench(regime)
        for composited in (False, True):
            spent, steps, nc = seconds_to_enough(bench, composited, most)
            print(f"{regime:8s} {'composited' if composited else 'ours':10s} {spent:9.1f} {steps:8d} {nc:8.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Training on surface points against compositing features along rays.")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--repeats", type=int, default=7, help="timed pairs of steps")
    parser.add_argument("--most", type=int, default=1500, help="steps after which a training is given up")
    parser.add_argument("--no-quality", action="store_true", help="leave out the trainings up to a covering of .9 (minutes)")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    steps_per_second(make_bench("sam"), a.repeats)
    grids(a.repeats)
    if not a.no_quality:
        quality(a.most)


if __name__ == "__main__":
    main()
