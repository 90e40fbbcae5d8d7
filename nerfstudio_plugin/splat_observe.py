"""The surface of trained splats as every training view sees it, and the splats themselves, in the capture's frame.

Depth is rendered where nerfstudio trains: in undistorted photos. A photo's own pixel, which masks speak of, is looked up there along
its ray; where a lens bends nothing, that is the same pixel.

Notation
  v views, r pixels of a photo, h w of a depth map.
"""

import time
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float64
from nerfstudio.cameras.cameras import Cameras as TrainerCameras
from nerfstudio.cameras.cameras import CameraType

from nerfstudio_plugin.observe import Capture, capture_cameras, fingerprint, photo_at, resized_cameras
from nerfstudio_plugin.splat_model import SemquerySplatModel
from semquery.manifest import atomic
from semquery.splatting import ply_of
from semquery.splatting.lens import looked_up
from semquery.splatting.surface import DepthMap, SplatSurface, depth_map, neighbours_of, times_finer, uncontradicted
from semquery.stages import progress
from semquery.stages.splats import check_left, cleaned
from semquery.store import Run, RunError
from semquery.types import Cameras, Observation

SPLATS = "splats.ply"  # in the run directory
DOWN = np.array([1.0, -1.0])  # OpenGL's y is up, that of pictures down


def observe_splat_views(run: Run, model: SemquerySplatModel, capture: Capture, pinholes: TrainerCameras, config: SplatSurface) -> None:
    """splats.ply, every view's surface points → observed/<view>.npz, and cameras.json; what was made from this very geometry is kept.

    `pinholes`: the cameras of the undistorted photos. Raises ValueError where the clean-up leaves no Gaussian, RunError where no view
    sees a surface.
    """
    made_from = {"splats": str((run / SPLATS).resolve()), "gaussians": model.num_points, "surface": config, "cleaning": model.cleaning,
                 "transform": None, "distorted": is_distorted(capture.cameras), "geometry": fingerprint(model), "views": " ".join(capture.names)}
    last = run.stage("observe")
    stale = last is not None and last["config"].get("geometry") != made_from["geometry"]
    if not run.begin("observe", made_from, overwrite=stale):
        return
    start, gaussians = time.time(), model.captured_gaussians()
    with atomic(run / SPLATS) as path:
        ply_of(gaussians).write(str(path))
    found = cleaned(gaussians, model.cleaning)
    check_left(found, run / SPLATS)
    print(f"surface: {found.in_words()}")
    kept = gaussians[torch.from_numpy(found.kept).to(model.device)]
    photos, seen_by = (resized_cameras(cameras, config.max_side) for cameras in (capture.cameras, pinholes))
    run.write_cameras(capture_cameras(model, capture, photos))
    cameras = capture_cameras(model, capture, seen_by)
    finer = times_finer(torch.cat([pinholes.height, pinholes.width], 1).cpu().numpy(), cameras.sizes, config.finer)
    maps = [depth_map(kept, cameras, view, config, finer=finer[view]) for view in progress(range(len(capture.names)), "surface: depth")]
    for view in progress(range(len(capture.names)), "surface: views"):
        run.write_observation(capture.names[view], _observe(capture, photos, cameras, maps, view, config))
    shares = [len(o.pixels) / (o.size[0] * o.size[1]) for o in map(run.observation, capture.names)]
    if not any(shares):
        raise RunError(
            f"None of the {len(shares)} views shows a surface: the splats are too faint or too spread. Look at the geometry (ns-viewer); "
            "train it longer (--pipeline.geometry-steps) or check the poses."
        )
    run.done("observe", time.time() - start, surface_share=float(np.mean(shares)), left_out=int((~found.kept).sum()))


def _observe(
    capture: Capture, photos: TrainerCameras, cameras: Cameras, maps: Sequence[DepthMap], view: int, config: SplatSurface
) -> Observation:
    """The surface points of one view."""
    size = int(photos.height[view]), int(photos.width[view])
    rgb, shown = photo_at(capture, view, size)
    rays = rays_of(photos, view)
    place, inside = looked_up(rays[:, :2] * DOWN, tuple(cameras.sizes[view].tolist()), cameras.intrinsics[view])
    pixels = np.flatnonzero(inside & maps[view].certain.reshape(-1)[place] & shown.ravel())
    depth = maps[view].depth.reshape(-1)[place[pixels]].astype(np.float64)
    T = cameras.T_world_cam[view]
    points = (rays[pixels] * depth[:, None]) @ T[:3, :3].T + T[:3, 3]
    good = uncontradicted(points, maps, cameras, neighbours_of(cameras, view, config.others), config.tolerance)
    pixels = pixels[good].astype(np.int32)
    return Observation(size, pixels, points[good].astype(np.float32), rgb.reshape(-1, 3)[pixels])


def is_distorted(cameras: TrainerCameras) -> bool:
    """Whether a lens bends anything, or the cameras are no pinholes at all."""
    bent = cameras.distortion_params is not None and bool((cameras.distortion_params != 0).any())
    return bent or bool((cameras.camera_type != CameraType.PERSPECTIVE.value).any())


def rays_of(cameras: TrainerCameras, view: int) -> Float64[np.ndarray, "r 3"]:
    """Directions of a photo's pixels in the camera's own frame (OpenGL axes), one unit deep; NaN where the lens looks aside or back."""
    bundle = cameras[view : view + 1].generate_rays(camera_indices=0).flatten()
    turn = cameras.camera_to_worlds[view, :, :3].double()
    directions = (bundle.directions.double() @ turn).numpy()
    depth = np.where(directions[:, 2:] < -1e-6, -directions[:, 2:], np.nan)
    return directions / depth
