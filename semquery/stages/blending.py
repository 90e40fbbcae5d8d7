"""A training of rasterised features: the Gaussians a run was made from, and what each pixel shows of them."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from semquery.export.splats import read_splats
from semquery.field import FeatureField
from semquery.fit import FitConfig, RasterisedFit, ViewPixels
from semquery.splatting.features import PixelWeights, VectorField, heaviest
from semquery.splatting.files import gaussians_of
from semquery.splatting.gaussians import Gaussians, View
from semquery.stages.common import progress
from semquery.stages.splats import cleaned, own_splats
from semquery.store import Run, RunError
from semquery.types import Observation

Placed = tuple[Gaussians, Float64[np.ndarray, "4 4"] | None]  # Gaussians, and the way from their frame to that of the cameras


def splats_of(run: Run) -> Placed:
    """The Gaussians that a run's surface was seen on, without those that the clean-up left out.

    Raises RunError for a run made from something else, or from photos that are distorted: weights are those of a pinhole's pixels.
    """
    scene = own_splats(run)
    if scene is None:
        raise RunError(f"{run.path} was not made from splats, so no Gaussians can carry features: give --feature-rendering surface.")
    if run.stage("observe")["config"].get("distorted"):
        raise RunError(f"The photos of {run.path} are distorted, and rasterised features take pinholes: give --feature-rendering surface, or undistort "
                       "the photos first (colmap image_undistorter).")
    gaussians = gaussians_of(read_splats(scene.path))
    return gaussians[torch.from_numpy(cleaned(gaussians, scene.cleaning).kept)], scene.T_world_splats


def weights_of_views(run: Run, placed: Placed, seen: Mapping[str, Observation], most: int, device: torch.device) -> dict[str, PixelWeights]:
    """What each observed pixel shows of the Gaussians, view by view; how much that is, is printed."""
    gaussians, T_world_splats = placed[0].to(device), placed[1]
    cameras, found = run.cameras(), {}
    for k, name in progress([(k, name) for k, name in enumerate(cameras.names) if name in seen], "features: weights"):
        view = View.of(cameras.T_world_cam[k], cameras.intrinsics[k], seen[name].size, gaussians.means, T_world_splats)
        found[name] = heaviest(gaussians, view, torch.from_numpy(seen[name].pixels).to(device), most)
    shares = torch.cat([weights.share for weights in found.values()]) if found else torch.ones(1)
    memory = sum(weights.num_bytes for weights in found.values()) / 1e6
    print(f"features: {most} Gaussians a pixel carry {100 * float(shares.mean()):.1f} % of the weight; {memory:.0f} MB")
    return found


def centres_of(placed: Placed, device: torch.device) -> Float[Tensor, "g 3"]:
    """Where the Gaussians are in the frame of the cameras."""
    gaussians, T_world_splats = placed
    if T_world_splats is None:
        return gaussians.means.float().to(device)
    T = torch.as_tensor(T_world_splats)
    return (gaussians.means.double().cpu() @ T[:3, :3].T + T[:3, 3]).float().to(device)


def open_rasterised(
    run: Run, config: FitConfig, field: FeatureField | None, views: Mapping[str, ViewPixels], seen: Mapping[str, Observation],
    placed: Placed, device: torch.device,
) -> RasterisedFit:
    """The training; `field` None: a vector of its own for every Gaussian."""
    weights = weights_of_views(run, placed, {name: seen[name] for name in views}, config.rasterised.most, device)
    centres = centres_of(placed, device)
    if field is not None:
        return RasterisedFit(field, views, config, centres, weights)
    is_shown = torch.zeros(len(centres), dtype=torch.bool, device=device)
    for each in weights.values():
        is_shown[each.rows[each.weights > 0].long()] = True
    return RasterisedFit(VectorField(config.field.dim, centres, is_shown), views, config, centres, weights)
