"""The surface that the cameras see of splats brought along, view by view.

A photo may be distorted: the splats are rendered by pinholes that hold what it shows, and its pixels looked up there.
"""

import hashlib
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64, UInt8

from semquery.export.splats import read_splats
from semquery.manifest import sha256
from semquery.masks import on_white
from semquery.pictures import resized
from semquery.scene import limited, read_scene
from semquery.splatting import Gaussians, gaussians_of
from semquery.splatting.clean import CleanConfig
from semquery.splatting.lens import looked_up, pinhole_of, rays_of
from semquery.splatting.placed import likeness, picture, share_in_views
from semquery.splatting.surface import DepthMap, SplatSurface, depth_map, neighbours_of, times_finer, uncontradicted, unproject
from semquery.stages.common import check_same_views, default_device, load_photo, progress
from semquery.stages.splats import check_left, cleaned
from semquery.store import Run, RunError
from semquery.types import Cameras, Observation

MAPS = "observed/depth"  # depth maps, kept until the last view is done
MAP = tuple(each.name for each in fields(DepthMap))
LEAST_INSIDE = 0.02  # share of the Gaussians in some view's picture below which they are surely elsewhere
LIKE = 0.4  # correlation with the photos below which something is probably wrong…
UNLIKE = 0.25  # …and below which it surely is
COMPARED = 4  # views that are compared with their photos
WHERE = ("If they are in the frame of their nerfstudio run, give --splats-transform dataparser_transforms.json; if they were trained on COLMAP's "
         "poses, which nerfstudio has turned, --splats-transform transforms.json")


@dataclass(frozen=True)
class _Seen:
    """What is looked at: Gaussians on their device, the cameras of the photos at the size they look, and the pinholes that are rendered."""

    gaussians: Gaussians
    photos: Cameras
    lenses: Float64[np.ndarray, "v 5"]  # of the photos
    pinholes: Cameras
    config: SplatSurface
    T_world_splats: Float64[np.ndarray, "4 4"] | None
    finer: Sequence[int]  # by how much depth is rendered, of each view

    def place(self, view: int) -> tuple[Int64[np.ndarray, " r"], Bool[np.ndarray, " r"]]:
        """The pixel of the pinhole's picture that each pixel of the photo shows, and whether it does."""
        rays = rays_of(_size(self.photos, view), self.photos.intrinsics[view], self.lenses[view])
        return looked_up(rays, _size(self.pinholes, view), self.pinholes.intrinsics[view])

    def picture(self, view: int) -> Float[np.ndarray, "h w 3"]:
        """A photo of the Gaussians on white, bent as the photo is, 0..1."""
        place, inside = self.place(view)
        drawn = picture(self.gaussians, self.pinholes, view, self.T_world_splats).reshape(-1, 3)
        return np.where(inside[:, None], drawn[place], 1).reshape(*_size(self.photos, view), 3)


def observe_splats(
    run: Run, splats: Path, cameras: Cameras, config: SplatSurface = SplatSurface(), cleaning: CleanConfig = CleanConfig(),
    T_world_splats: Float64[np.ndarray, "4 4"] | None = None, overwrite: bool = False, lenses: Float64[np.ndarray, "v 5"] | None = None,
    min_likeness: float = UNLIKE,
) -> None:
    """The surface of Gaussian splats as the cameras see it → observed/<view>.npz and cameras.json.

    `T_world_splats`: from the frame of the splats to that of the cameras; a similarity. `lenses`: how the photos are distorted
    (`scene.read_lenses`); not at all by default. Views already done are kept, and so are rendered depth maps. A photo that is gone has
    the splats' colours. Raises ValueError for a file that holds no splats or none that are left or seen, and where their correlation
    with the photos is below `min_likeness`; RunError where no view sees a surface.
    """
    photos, lenses = limited(cameras, config.max_side), np.zeros((len(cameras.names), 5)) if lenses is None else lenses
    pinholes = _pinholes(photos, lenses)
    check_same_views(run, photos.names)
    gaussians = gaussians_of(read_splats(splats))
    found = cleaned(gaussians, cleaning)
    check_left(found, splats)
    kept = gaussians[torch.from_numpy(found.kept)]
    check_inside(kept, pinholes, T_world_splats, splats)
    recorded = {"splats": str(splats.resolve()), "sha256": sha256(splats), "gaussians": len(gaussians), "surface": config, "cleaning": cleaning,
                "views": " ".join(photos.names), "cameras": _digest(photos, lenses), "distorted": bool(lenses.any()),
                "transform": None if T_world_splats is None else T_world_splats.tolist()}
    finer = times_finer(cameras.sizes, photos.sizes, config.finer)
    seen = _Seen(kept.to(default_device()), photos, lenses, pinholes, config, T_world_splats, finer)
    if run.stage("observe") is None or overwrite:
        check_likeness(seen, min_likeness)
    if not run.begin("observe", recorded, overwrite=overwrite):
        print("surface: already done")
        return
    start = time.time()
    print(f"surface: {found.in_words()}")
    run.write_cameras(photos)
    _observe_views(run, seen)
    shares = [len(o.pixels) / (o.size[0] * o.size[1]) for o in map(run.observation, photos.names)]
    if not any(shares):
        raise RunError(f"None of the {len(shares)} views shows a surface: the splats lie elsewhere, or are of another scene. {WHERE}; "
                       "look at splats and cameras together in a splat viewer.")
    shutil.rmtree(run / MAPS, ignore_errors=True)
    run.done("observe", time.time() - start, surface_share=float(np.mean(shares)), left_out=int((~found.kept).sum()))
    print(f"surface: {100 * np.mean(shares):.0f} % of the pixels of {len(shares)} views show it")


def cameras_of(run: Run, data: Path) -> Cameras:
    """The cameras of a scene whose masks the run has; the photos of those views may be gone by now."""
    return read_scene(data, run.masked_views())


def check_inside(gaussians: Gaussians, cameras: Cameras, T_world_splats: Float64[np.ndarray, "4 4"] | None, path: Path) -> None:
    """Raises ValueError where next to no Gaussian lies in any view's picture."""
    share = share_in_views(gaussians, cameras, T_world_splats)
    if share < LEAST_INSIDE:
        remedy = f"{WHERE}; else check that the poses lead from camera to world, with OpenGL's axes." if T_world_splats is None else (
            "Is --splats-transform the one of this training?")
        raise ValueError(f"{path}: {100 * share:.1f} % of the Gaussians lie in the picture of any of the {len(cameras.names)} views, so the splats "
                         f"are elsewhere than the cameras look. {remedy}")


def _pinholes(photos: Cameras, lenses: Float64[np.ndarray, "v 5"]) -> Cameras:
    """Pinholes at the same places that show all that the photos do."""
    found = [pinhole_of(_size(photos, view), photos.intrinsics[view], lens) for view, lens in enumerate(lenses)]
    return replace(photos, intrinsics=np.array([k for _, k in found]).reshape(-1, 4), sizes=np.array([size for size, _ in found]).reshape(-1, 2))


def _size(cameras: Cameras, view: int) -> tuple[int, int]:
    height, width = cameras.sizes[view].tolist()
    return height, width


def _digest(cameras: Cameras, lenses: Float64[np.ndarray, "v 5"]) -> str:
    """The same for the same cameras, rounded as far as no picture tells."""
    numbers = np.concatenate([cameras.T_world_cam.reshape(len(lenses), -1), cameras.intrinsics, cameras.sizes, lenses], 1)
    return hashlib.sha256((numbers.astype(np.float32) + 0.0).tobytes()).hexdigest()


def check_likeness(seen: _Seen, least: float = UNLIKE) -> None:
    """Raises ValueError where the splats have nothing in common with the photos, says so where they have little: a wrong frame need not
    show in anything else."""
    there = [view for view, image in enumerate(seen.photos.images) if Path(image).exists()]
    if len(there) < len(seen.photos.images):
        gone, total = len(seen.photos.images) - len(there), len(seen.photos.images)
        print(f"surface: {gone} of {total} photos are gone; these views have the splats' colours")
    compared = [there[i] for i in np.unique(np.linspace(0, len(there) - 1, min(COMPARED, len(there))).round().astype(int))]
    shown = {view: _photo(seen.photos, view)[0] for view in compared}
    found = [likeness(seen.picture(view), photo) for view, photo in shown.items() if np.ptp(photo)]  # one colour alone tells nothing
    like = float(np.median(found)) if found else 1.0
    told = (f"splats hardly look like the photos (correlation {like:.2f}; 1 is alike, 0 is nothing in common). {WHERE}; if they are of other "
            "photos, give the transforms.json that they were trained with")
    if like < least:
        raise ValueError(f"The {told}. --min-likeness -1 goes on all the same.")
    if like < LIKE:
        print(f"surface: the {told}.")


def _observe_views(run: Run, seen: _Seen) -> None:
    """What every view sees that is not there yet; a surface is told from the depth maps of other views, so all of these come first."""
    done, names = set(run.observed_views()), seen.photos.names
    lacking = [view for view, name in enumerate(names) if name not in done]
    if not lacking:
        return
    maps = [_kept_map(run, seen, view) for view in progress(range(len(names)), "surface: depth")]
    for view in progress(lacking, "surface: views"):
        run.write_observation(names[view], _observation(seen, maps, view))


def _kept_map(run: Run, seen: _Seen, view: int) -> DepthMap:
    """A view's depth map, rendered unless an interrupted run has left it."""
    name = f"{MAPS}/{seen.photos.names[view]}.safetensors"
    if (run / name).exists():
        tensors, _ = run.read_tensors(name)
        return DepthMap(**{each: tensors[each].numpy() for each in MAP})
    made = depth_map(seen.gaussians, seen.pinholes, view, seen.config, seen.T_world_splats, seen.finer[view])
    run.write_tensors(name, {each: torch.from_numpy(np.ascontiguousarray(getattr(made, each))) for each in MAP})
    return made


def _observation(seen: _Seen, maps: Sequence[DepthMap], view: int) -> Observation:
    """What one view sees."""
    photos, pinholes, config = seen.photos, seen.pinholes, seen.config
    if Path(photos.images[view]).exists():
        colors, foreground = _photo(photos, view)
    else:
        colors = (255 * seen.picture(view)).round().astype(np.uint8)
        foreground = np.ones(colors.shape[:2], bool)
    place, inside = seen.place(view)
    pixels = np.flatnonzero(inside & maps[view].certain.reshape(-1)[place] & foreground.reshape(-1))
    points = unproject(maps[view].depth, place[pixels], pinholes.T_world_cam[view], pinholes.intrinsics[view])
    good = uncontradicted(points, maps, pinholes, neighbours_of(pinholes, view, config.others), config.tolerance)
    return Observation(_size(photos, view), pixels[good].astype(np.int32), points[good].astype(np.float32), colors.reshape(-1, 3)[pixels[good]])


def _photo(cameras: Cameras, view: int) -> tuple[UInt8[np.ndarray, "h w 3"], Bool[np.ndarray, "h w"]]:
    """A photo on white at the view's size, and what of it is no background."""
    photo, size = load_photo(Path(cameras.images[view])), _size(cameras, view)
    small = resized(photo, size)
    return resized(on_white(photo), size), small[..., 3] > 127 if small.shape[2] == 4 else np.ones(size, bool)
