"""Surfaces that were measured: a depth camera's frames, or a point cloud with posed photos, as surface points of a run."""

import time
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32

from semquery.discs import draw_discs
from semquery.masks import on_white
from semquery.pictures import resized
from semquery.rgbd import Capture, RgbdConfig, Seen, backproject, beside, is_rgbd, load_depth, resampled, told, trusted, votes
from semquery.scene import limited, scene_photos, view_names
from semquery.stages.common import load_photo, progress
from semquery.stages.prepare import Views, check_same_views
from semquery.store import Run
from semquery.types import Cameras, Observation

TRIED = 5  # frames looked at before work begins


def observe_rgbd(run: Run, capture: Capture, config: RgbdConfig = RgbdConfig(), overwrite: bool = False) -> None:
    """The surface as a depth camera measured it → observed/<view>.npz and cameras.json.

    Raises ValueError, before the run is touched, when depth cannot be read or is out of range.
    """
    cameras = limited(capture.cameras, config.max_side)
    if capture.skipped:
        print(f"surface: {len(capture.skipped)} frames left out; {told(capture.skipped)}")
    if not overwrite:
        check_same_views(run, cameras.names)
    _check_depth(capture, config)
    if not run.begin("observe", {"rgbd": capture.name, **vars(config), "views": " ".join(cameras.names)}, overwrite=overwrite):
        print(f"surface: {len(cameras.names)} views, already done")
        return
    start, done = time.time(), set(run.observed_views())
    run.write_cameras(cameras)
    seen_by = lru_cache(maxsize=4 * config.check + 1)(lambda view: _seen(capture, cameras, view, config))
    for view, name in progress([(i, n) for i, n in enumerate(cameras.names) if n not in done], "surface"):
        others = [seen_by(int(other)) for other in beside(cameras.T_world_cam, view, config.check)]
        run.write_observation(name, _observation(seen_by(view), others, config, _colors(cameras, view)))
    run.done("observe", time.time() - start)
    _tell(run, cameras)


def observe_cloud(
    run: Run, cloud: Path, cameras: Cameras, radius: float | None = None, max_side: int = 320, overwrite: bool = False
) -> None:
    """A point cloud as the cameras see it, each point a disc → observed/<view>.npz and cameras.json.

    `radius` of the discs is in world units; by default the distance between neighbours, so that the front hides the back.
    """
    points, cameras = load_cloud(cloud), limited(cameras, max_side)
    if not overwrite:
        check_same_views(run, cameras.names)
    reach = np.full(len(points), radius) if radius is not None else spacing(points)
    config = {"cloud": cloud.name, "points": len(points), "radius": radius, "max_side": max_side, "views": " ".join(cameras.names)}
    if not run.begin("observe", config, overwrite=overwrite):
        print(f"surface: {len(cameras.names)} views, already done")
        return
    start, done = time.time(), set(run.observed_views())
    run.write_cameras(cameras)
    for view, name in progress([(i, n) for i, n in enumerate(cameras.names) if n not in done], "surface"):
        colors = _colors(cameras, view)
        shown = draw_discs(points, reach, cameras.T_world_cam[view], cameras.intrinsics[view], colors.shape[:2]).reshape(-1)
        pixels = np.flatnonzero(shown >= 0).astype(np.int32)
        run.write_observation(name, Observation(colors.shape[:2], pixels, points[shown[pixels]], colors.reshape(-1, 3)[pixels]))
    run.done("observe", time.time() - start)
    _tell(run, cameras)


def photos_to_mask(run: Run, data: Path | None) -> Views:
    """Name and photo of each view that masks are made of: a scene's; of an RGB-D capture, or without one, those whose surface is known."""
    if data is not None and not is_rgbd(data):
        photos = scene_photos(data)
        return list(zip(view_names(photos), photos, strict=True))
    if data is not None and not (run / "cameras.json").exists():
        raise ValueError(f"{data} is an RGB-D capture, of which not every frame is used: first semquery surface {run.path} --rgbd {data}")
    cameras = run.cameras()
    return [(name, Path(image)) for name, image in zip(cameras.names, cameras.images, strict=True)]


def load_cloud(path: Path) -> Float32[np.ndarray, "n 3"]:
    """The points of a PLY file (of a mesh, its vertices). Raises ValueError when it has none."""
    import trimesh

    if not path.is_file():
        raise ValueError(f"There is no point cloud at {path}. Give a PLY file.")
    try:
        points = np.asarray(trimesh.load_scene(path, process=False).to_geometry().vertices, np.float32)
    except Exception as error:  # trimesh's readers raise whatever their formats raise
        raise ValueError(f"{path} cannot be read as a point cloud ({type(error).__name__}: {error}). Give a PLY file.") from error
    if len(points) < 2 or not np.isfinite(points).all():
        broken = int((~np.isfinite(points)).any(1).sum())
        raise ValueError(f"{path} has {len(points)} points, {broken} of them not finite; give a cloud of finite points.")
    return points


def spacing(points: Float32[np.ndarray, "n 3"], neighbours: int = 4) -> Float[np.ndarray, " n"]:
    """How far the neighbours of each point are: the mean over the nearest few; of lonely points no more than thrice the median."""
    from scipy.spatial import cKDTree

    distance, _ = cKDTree(points).query(points, k=min(neighbours + 1, len(points)))
    mean = distance[:, 1:].mean(1)
    return np.minimum(mean, 3 * np.median(mean))


def _check_depth(capture: Capture, config: RgbdConfig) -> None:
    """Raise ValueError when none of a few frames has depth in range: the scale is wrong, mostly."""
    first, *more = np.unique(np.linspace(0, len(capture.depths) - 1, min(TRIED, len(capture.depths))).round().astype(int))
    if any(np.isfinite(load_depth(capture.depths[view], config)).any() for view in (first, *more)):
        return
    counted = np.nan_to_num(load_depth(capture.depths[first], RgbdConfig(depth_scale=1.0, near=0.0, far=1e9)))
    most = float(counted.max())
    raise ValueError(
        f"None of {len(more) + 1} frames has a depth from {config.near:g} to {config.far:g}: {capture.depths[first]} counts up to {most:.0f}, "
        f"which --depth-scale {config.depth_scale:g} makes {most / config.depth_scale:g}. Set --depth-scale, --near, --far."
    )


def _seen(capture: Capture, cameras: Cameras, view: int, config: RgbdConfig) -> Seen:
    """What a view measured, on the grid of its points."""
    depth = load_depth(capture.depths[view], config)
    depth = np.where(trusted(depth, config.jump), depth, np.float32(np.nan))
    size = (int(cameras.sizes[view][0]), int(cameras.sizes[view][1]))
    on_grid = resampled(depth, capture.depth_intrinsics, cameras.intrinsics[view], size)
    return Seen(on_grid, cameras.T_world_cam[view], cameras.intrinsics[view])


def _observation(seen: Seen, others: list[Seen], config: RgbdConfig, colors: np.ndarray) -> Observation:
    pixels, points = backproject(seen.depth, seen.T_world_cam, seen.lens)
    same, through = votes(points, others, config.tolerance)
    kept = through <= same
    return Observation(colors.shape[:2], pixels[kept], points[kept], np.ascontiguousarray(colors.reshape(-1, 3)[pixels[kept]]))


def _colors(cameras: Cameras, view: int) -> np.ndarray:
    return resized(on_white(load_photo(Path(cameras.images[view]))), (int(cameras.sizes[view][0]), int(cameras.sizes[view][1])))


def _tell(run: Run, cameras: Cameras) -> None:
    found = [run.observation(name) for name in cameras.names]
    share = np.array([len(seen.pixels) / (seen.size[0] * seen.size[1]) for seen in found])
    print(f"surface: {len(found)} views of {cameras.sizes[0][1]}×{cameras.sizes[0][0]}, points in {share.mean():.0%} of the pixels "
          f"({share.min():.0%} to {share.max():.0%})")
