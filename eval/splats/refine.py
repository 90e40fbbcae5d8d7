"""Splats optimised against photos by our own rasteriser: what is left after it has the needles, holes and haze of trained ones.

The optimisation is that of 3DGS (Kerbl et al. 2023) without densification: Adam on all parameters, one photo a step, the mean absolute
difference of colours on white. Truth is carried by place: a Gaussian has the part of the surface near it, or floats.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int32
from torch import Tensor

from eval.splats.made import KnownSplats, sample_surface
from eval.truth import Truth
from semquery.masks import on_white
from semquery.pictures import load_photo, resized
from semquery.procedural import KnownScene
from semquery.scene import limited
from semquery.splatting import Gaussians, View, rasterize
from semquery.stages import progress
from semquery.types import Cameras

NEAR = 2.0  # spacings from the surface within which a Gaussian is one of it
# Adam's, several times those of 3DGS, which takes a hundred times as many steps; that of means is in spacings
RATES = {"means": 2e-2, "quats": 5e-3, "scales": 1e-2, "opacities": 5e-2, "sh": 2e-2}


@dataclass(frozen=True)
class RefineConfig:
    """How splats are optimised."""

    steps: int = 300
    """One photo each; 0 = not at all."""
    max_side: int = 96
    """Longest side of the photos while optimising, pixels."""


def refine(splats: KnownSplats, truth: Truth, config: RefineConfig, seed: int) -> KnownSplats:
    """The same splats after some steps, each with the true part of where it is then."""
    if config.steps < 1:
        return splats
    cameras = limited(truth.cameras, config.max_side)
    gaussians, _ = optimise(splats.gaussians, cameras, photos_of(cameras), config.steps, splats.spacing, seed)
    leaf = leaf_near(gaussians.means.double().numpy(), truth.scene, NEAR * splats.spacing, seed)
    return KnownSplats(gaussians, leaf, splats.spacing)


def photos_of(cameras: Cameras) -> list[Float32[np.ndarray, "h w 3"]]:
    """Photos on white in the cameras' sizes, 0..1."""
    return [resized(on_white(load_photo(Path(path))), (int(size[0]), int(size[1]))).astype(np.float32) / 255
            for path, size in zip(cameras.images, cameras.sizes, strict=True)]


def optimise(
    gaussians: Gaussians, cameras: Cameras, photos: list[np.ndarray], steps: int, spacing: float, seed: int
) -> tuple[Gaussians, list[float]]:
    """The Gaussians after so many steps, and the loss of each step; a function of its arguments alone."""
    raw = {"means": gaussians.means, "quats": gaussians.quats, "scales": gaussians.scales.log(),
           "opacities": torch.logit(gaussians.opacities.clamp(1e-4, 1 - 1e-4)), "sh": gaussians.sh}
    raw = {name: value.detach().clone().requires_grad_() for name, value in raw.items()}
    rates = RATES | {"means": RATES["means"] * spacing}
    adam = torch.optim.Adam([{"params": [value], "lr": rates[name]} for name, value in raw.items()], eps=1e-15)
    rng, losses = np.random.default_rng(seed), []
    order = np.concatenate([rng.permutation(len(photos)) for _ in range(-(-steps // len(photos)))])[:steps]
    for k in progress(order, "splats: optimised"):
        now = _gaussians(raw)
        view = View.of(cameras.T_world_cam[k], cameras.intrinsics[k], photos[k].shape[:2], now.means)
        rendered = rasterize(now, view, now.colors(view.position))
        loss = (rendered.features + (1 - rendered.opacity[..., None]) - torch.from_numpy(photos[k])).abs().mean()
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        losses.append(float(loss.detach()))
    return _gaussians({name: value.detach() for name, value in raw.items()}), losses


def _gaussians(raw: dict[str, Tensor]) -> Gaussians:
    return Gaussians(raw["means"], raw["quats"], raw["scales"].exp(), raw["opacities"].sigmoid(), raw["sh"])


def leaf_near(
    means: Float64[np.ndarray, "g 3"], scene: KnownScene, reach: float, seed: int, samples: int = 400_000
) -> Int32[np.ndarray, " g"]:
    """The true part of the surface nearest to each centre; -1 beyond reach."""
    from scipy.spatial import cKDTree

    points, face = sample_surface(scene, samples, np.random.default_rng(seed))
    distance, near = cKDTree(points).query(means)
    return np.where(distance <= reach, scene.part_of_face[face[near]], -1).astype(np.int32)
