"""The surface as every training view sees it, rendered once from the trained geometry.

A pixel counts as surface when the photo does not call it background, its ray is opaque, and the ray ends
in one place: where the termination is spread over a length, the depth is a guess, and guesses become
specks that glue parts together. What is written is in the capture's frame.
"""

import hashlib
import time
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from nerfstudio.cameras.cameras import Cameras as TrainerCameras
from nerfstudio.cameras.rays import RayBundle
from torch import Tensor

from nerfstudio_plugin.model import RaySurface, SemqueryModel
from semquery.stages import load_photo, progress
from semquery.store import Run, RunError
from semquery.types import Cameras, Observation


@dataclass(frozen=True)
class SurfaceConfig:
    """Which pixels show a surface, and at what size views are rendered."""

    max_side: int = 400
    """Longest side of the rendered views, pixels."""
    min_opacity: float = 0.5
    """Rays less opaque than this are background."""
    max_spread: float = 0.02
    """Rays whose termination spreads (quartile to quartile) over more than this share of the depth are dropped…"""
    least_kept: float = 0.8
    """…but never more of a view's opaque rays than leaves this share: where the geometry is poor all over, a rough
    surface is better than holes."""


@dataclass(frozen=True)
class Capture:
    """The training views: names, photos, trainer's cameras, and masks of what to ignore (None = nothing)."""

    names: Sequence[str]
    photos: Sequence[Path]
    cameras: TrainerCameras
    keep_masks: Sequence[Path] | None = None


def observe_views(run: Run, model: SemqueryModel, capture: Capture, config: SurfaceConfig) -> None:
    """Every view's surface points → observed/<view>.npz and cameras.json; views already done are kept.

    What is there is kept only if it was rendered from the geometry as it is now.
    """
    cameras = resized_cameras(capture.cameras, config.max_side)
    made_from = {"surface": config, "geometry": fingerprint(model), "views": " ".join(capture.names)}
    last = run.stage("observe")
    stale = last is not None and last["config"].get("geometry") != made_from["geometry"]
    if not run.begin("observe", made_from, overwrite=stale):
        return
    start, done = time.time(), set(run.observed_views())
    run.write_cameras(capture_cameras(model, capture, cameras))
    for view in progress([v for v, name in enumerate(capture.names) if name not in done], "surface"):
        run.write_observation(capture.names[view], observe_view(model, capture, cameras, view, config))
    shares = [len(o.pixels) / (o.size[0] * o.size[1]) for o in map(run.observation, capture.names)]
    if not any(shares):
        raise RunError(
            f"None of the {len(shares)} views shows a surface: every ray is transparent or ends nowhere in particular. "
            "Look at the geometry (ns-viewer); train it longer (--pipeline.geometry-steps) or check the poses."
        )
    run.done("observe", time.time() - start, surface_share=float(np.mean(shares)))


def observe_view(
    model: SemqueryModel, capture: Capture, cameras: TrainerCameras, view: int, config: SurfaceConfig
) -> Observation:
    """The surface points of one view."""
    rays = view_rays(model, cameras, view)
    height, width = int(cameras.height[view]), int(cameras.width[view])
    surface = surface_of_rays(model, rays)
    rgb, shown = photo_at(capture, view, (height, width))
    points = model.frame.to_capture(rays.origins + rays.directions * surface.depth[:, None])
    good = (is_certain(surface, config) & points.isfinite().all(1)).cpu().numpy() & shown.ravel()
    pixels = np.flatnonzero(good).astype(np.int32)
    return Observation((height, width), pixels, points.float().cpu().numpy()[pixels], rgb.reshape(-1, 3)[pixels])


def is_certain(surface: RaySurface, config: SurfaceConfig) -> Bool[Tensor, " r"]:
    """Rays that end on a surface, and in one place."""
    opaque = surface.opacity > config.min_opacity
    if not bool(opaque.any()):
        return opaque
    spread = surface.spread / surface.depth.clamp(min=1e-6)
    return opaque & (spread <= max(config.max_spread, float(spread[opaque].quantile(config.least_kept))))


def view_rays(model: SemqueryModel, cameras: TrainerCameras, view: int) -> RayBundle:
    """Flat rays of a training view, with the pose correction that training found for it."""
    rays = cameras[view : view + 1].generate_rays(camera_indices=0).flatten().to(model.device)
    rays.camera_indices = torch.full((len(rays), 1), view, device=model.device)
    with torch.no_grad():
        model.camera_optimizer.apply_to_raybundle(rays)
    return rays


def surface_of_rays(model: SemqueryModel, rays: RayBundle) -> RaySurface:
    """`model.surface_along` in chunks, in evaluation mode."""
    was_training = model.training
    model.eval()
    try:
        chunk = model.config.eval_num_rays_per_chunk
        parts = [model.surface_along(rays[k : k + chunk]) for k in range(0, len(rays), chunk)]
    finally:
        model.train(was_training)
    return RaySurface(*(torch.cat([getattr(p, name) for p in parts]) for name in ("depth", "spread", "opacity")))


def photo_at(
    capture: Capture, view: int, size: tuple[int, int]
) -> tuple[UInt8[np.ndarray, "h w 3"], Bool[np.ndarray, "h w"]]:
    """The photo's colours at this size, and which pixels it (or its mask file) calls foreground."""
    from PIL import Image

    photo = load_photo(capture.photos[view])
    small = np.asarray(Image.fromarray(photo).resize(size[::-1], Image.Resampling.BOX))
    shown = small[..., 3] > 127 if small.shape[2] == 4 else np.ones(size, bool)
    if capture.keep_masks is not None:
        with Image.open(capture.keep_masks[view]) as mask:
            shown = shown & (np.asarray(mask.convert("L").resize(size[::-1], Image.Resampling.NEAREST)) > 0)
    return small[..., :3].copy(), shown


def resized_cameras(cameras: TrainerCameras, max_side: int) -> TrainerCameras:
    """The same cameras with at most this many pixels on the longer side."""
    cameras = deepcopy(cameras).to("cpu")
    longest = int(max(cameras.height.max(), cameras.width.max()))
    if longest > max_side:
        cameras.rescale_output_resolution(max_side / longest * (1 + 1e-6))
    return cameras


def capture_cameras(model: SemqueryModel, capture: Capture, cameras: TrainerCameras) -> Cameras:
    """Names, photos and corrected poses of the views, in the capture's frame."""
    with torch.no_grad():
        correction = model.camera_optimizer(torch.arange(len(capture.names), device=model.device)).cpu()
    poses = cameras.camera_to_worlds.clone()
    poses[:, :, :3] = correction[:, :, :3] @ poses[:, :, :3]
    poses[:, :, 3] += correction[:, :, 3]
    intrinsics = torch.cat([cameras.fx, cameras.fy, cameras.cx, cameras.cy], 1)
    return Cameras(
        names=tuple(capture.names),
        images=tuple(str(Path(p).resolve()) for p in capture.photos),
        T_world_cam=model.frame.poses_to_capture(poses).numpy(),
        intrinsics=intrinsics.double().numpy(),
        sizes=torch.cat([cameras.height, cameras.width], 1).numpy(),
    )


def fingerprint(model: SemqueryModel) -> str:
    """Hash of the geometry's parameters: the same geometry gives the same surface."""
    digest = hashlib.sha256()
    for parameter in model.geometry_parameters():
        digest.update(parameter.detach().cpu().numpy().tobytes())
    return digest.hexdigest()
