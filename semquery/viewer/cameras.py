"""Where to look from: at parts, as a photo does, and how a photo's camera is drawn in viser.

Notation
  v views, n points of the parts. `fov` is the vertical field of view in radians, `aspect` width over height.
Conventions
  The frame is the capture's. `Cameras` has OpenGL axes (y up, z towards the viewer); viser and `Frustum` have OpenCV's
  (y down, z forward). A `Pose` is three vectors that mean the same in both; its up is never along the line of sight.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Float64, Int32

from semquery.facts import up_direction
from semquery.sightings import CELLS, EDGE_ON
from semquery.types import Cameras, Surface
from semquery.viewer.loaded import Loaded

SAMPLE_POINTS = 20_000  # of a larger part an even sample tells where it is
SAMPLE_PIXELS = 300_000  # of a part that more pixels show an even sample tells which view shows it best
STRAY = 0.01  # share of a part's points that may lie outside its ball on each side along each axis
LEAST_RADIUS = 4.0  # voxels: of a part smaller than that the neighbourhood is shown as well
FILL = 0.6  # share of the picture's smaller side that parts fill…
FIT = 0.9  # …and that they may fill before the camera goes farther away than the photo's
FEW = 0.125  # of the pixels that another view has of the parts: too few to tell
FINEST = 6 / 900  # share of the picture's height that one voxel may take: nearer, points are seen as discs
ALIKE = 0.7  # of the best view's worth: of views as good as that the one that shows most parts inside is taken
CLEARLY = 20  # pixels of a photo that a part takes to be seen in it
STEEPEST = np.radians(80.0)  # of a look up or down: along the vertical no side is up


@dataclass(frozen=True)
class Pose:
    """A camera to look through; capture frame."""

    position: Float64[np.ndarray, " 3"]
    look_at: Float64[np.ndarray, " 3"]
    up: Float64[np.ndarray, " 3"]  # unit


class Frustum(NamedTuple):
    """A camera as viser draws it: OpenCV axes, its principal point taken to be the picture's centre."""

    wxyz: Float64[np.ndarray, " 4"]  # turns camera axes into the capture's
    position: Float64[np.ndarray, " 3"]
    fov: float  # vertical, radians
    aspect: float  # width over height, of what it sees


def pose_for(loaded: Loaded, parts: Sequence[int], fov: float, aspect: float = 1.0) -> Pose:
    """A camera that looks at parts from the side of the photo that shows them best; without parts, at the whole scene.

    They fill FILL of the picture's smaller side, the whole scene FIT of it; a camera that would have to stand farther away for
    that than the photo's stays there as long as they fit, for what lies behind it may hide them; nor does it go so near, if the
    photo was not, that a voxel takes more than FINEST of the picture's height. A photo taken from amid the
    parts (a room) is taken as it is. Where no photo shows them, from the mean of the cameras. Raises ValueError for a part
    that the tree does not have, and for a field of view or an aspect that no picture has.
    """
    parts = tuple(parts) or (loaded.tree.root,)
    if wrong := [part for part in parts if not 0 <= part < loaded.tree.num_parts]:
        raise ValueError(f"There is no part {wrong[0]}; the parts have the numbers 0 to {loaded.tree.num_parts - 1}.")
    if not (0 < fov < np.pi and 0 < aspect < np.inf):
        raise ValueError(f"Expected a field of view between 0 and π and an aspect above 0; got {fov} and {aspect}.")
    centre, radius = ball(loaded, parts)
    cameras, up, view = loaded.cameras, up_of(loaded.cameras), best_view(loaded, parts)
    if view is not None and np.linalg.norm(cameras.T_world_cam[cameras.names.index(view), :3, 3] - centre) <= radius:
        return pose_of_view(cameras, view)
    seen_from, above = _from_where(cameras, view, centre, up)
    away = seen_from - centre
    photo = float(np.linalg.norm(away))
    wanted, fits = (_distance(radius, fov, aspect, share) for share in (FIT if loaded.tree.root in parts else FILL, FIT))
    least = loaded.surface.voxel_size / (2 * FINEST * np.tan(fov / 2))
    distance = max(min(wanted, max(photo, fits)), min(least, photo)) if view is not None else max(wanted, least)
    return Pose(centre + distance * _not_vertical(away / photo, up, above), centre, up)


def ball(loaded: Loaded, parts: Sequence[int]) -> tuple[Float64[np.ndarray, " 3"], float]:
    """Centre and radius of a ball around nearly all points of parts, at least some voxels large."""
    rows = loaded.spans.points_of(*parts)
    points = loaded.surface.points[rows[:: -(-len(rows) // SAMPLE_POINTS) or 1]].astype(np.float64)
    points = points[np.isfinite(points).all(1)]
    least = LEAST_RADIUS * loaded.surface.voxel_size
    if not len(points):
        return np.zeros(3), least
    low, high = np.quantile(points, [STRAY, 1 - STRAY], axis=0)
    centre = (low + high) / 2
    inside = ((points >= low) & (points <= high)).all(1)
    return centre, max(least, float(np.linalg.norm(points[inside] - centre, axis=1).max(initial=0.0)))


def best_view(loaded: Loaded, parts: Sequence[int]) -> str | None:
    """The posed view from whose side most of the parts is seen, and most frontally; None where no view shows any.

    Its photo may be taken from nearer or farther than others: what counts is the share of the parts' cells that it shows
    (as in `sightings`, cubes of which the longest side has CELLS) times the mean |cosine| between normals and lines of
    sight, of an even sample of the pixels. A view with far fewer pixels of the parts than another is left out: of so few, more are wrong. Of
    those worth nearly as much as the best (ALIKE) it is the one that shows most of the parts inside: an object's front.
    """
    spans, surface, cameras = loaded.spans, loaded.surface, loaded.cameras
    views = list(spans.sizes)
    seen = dict(zip(views, _seen_points(loaded, parts), strict=True))
    eyes = {view: eye for view, eye in zip(cameras.names, cameras.T_world_cam[:, :3, 3], strict=True) if len(seen.get(view, ()))}
    if not eyes:
        return None
    most, low, side = max(len(seen[view]) for view in eyes), *_box(surface.points, np.concatenate([seen[view] for view in eyes]))
    worth = {view: _worth(surface, seen[view], low, side, eye) for view, eye in eyes.items() if len(seen[view]) >= FEW * most}
    best = max(worth.values())
    inside = np.unique(np.concatenate([spans.inside(part)[1:] for part in parts]))
    return max((view for view in worth if worth[view] >= ALIKE * best),
               key=lambda view: (int((spans.num_pixels(view)[inside] > CLEARLY).sum()), worth[view]))


def _seen_points(loaded: Loaded, parts: Sequence[int]) -> list[Int32[np.ndarray, " _"]]:
    """For every view, the points that an even sample of its pixels of the parts shows."""
    spans, point_of_pixel = loaded.spans, loaded.surface.point_of_pixel
    pixels = spans.pixels.within(spans.ranges(parts))
    sample = np.sort(pixels[:: -(-len(pixels) // SAMPLE_PIXELS) or 1])
    first = np.cumsum([0, *(height * width for height, width in spans.sizes.values())])
    ends = np.searchsorted(sample, first).tolist()
    seen = [point_of_pixel[view].reshape(-1)[sample[begin:end] - start]
            for view, start, begin, end in zip(spans.sizes, first[:-1].tolist(), ends[:-1], ends[1:], strict=True)]
    return [rows[np.isfinite(loaded.surface.points[rows]).all(1)] for rows in seen]


def _box(points: Float32[np.ndarray, "n 3"], rows: Int32[np.ndarray, " k"]) -> tuple[Float32[np.ndarray, " 3"], float]:
    """The lowest corner of the box around some points, and its longest side."""
    low, high = points[rows].min(0), points[rows].max(0)
    return low, max(float((high - low).max()), 1e-12)


def _worth(
    surface: Surface, seen: Int32[np.ndarray, " k"], low: Float32[np.ndarray, " 3"], side: float, eye: Float64[np.ndarray, " 3"]
) -> float:
    """Cells shown × frontality, of the points that a view's pixels show."""
    at = surface.points[seen]
    cell = np.minimum((at - low) * (CELLS / side), CELLS - 1).astype(np.int64) @ (CELLS**2, CELLS, 1)
    sight = at - eye
    cosine = np.abs((sight * surface.normals[seen]).sum(1)) / np.maximum(np.linalg.norm(sight, axis=1), 1e-12)
    return int((np.bincount(cell) > 0).sum()) * max(float(cosine.mean()), EDGE_ON)


def _from_where(
    cameras: Cameras, view: str | None, centre: Float64[np.ndarray, " 3"], up: Float64[np.ndarray, " 3"]
) -> tuple[Float64[np.ndarray, " 3"], Float64[np.ndarray, " 3"]]:
    """A place to look at the centre from, other than the centre, and what is up in its picture."""
    if view is not None:
        T_world_cam = cameras.T_world_cam[cameras.names.index(view)]
        return T_world_cam[:3, 3], T_world_cam[:3, 1]
    sideways = np.eye(3)[np.abs(up).argmin()]
    mean = cameras.T_world_cam[:, :3, 3].mean(0) if len(cameras.names) else centre
    apart = np.linalg.norm(mean - centre) > 1e-9 * max(1.0, float(np.abs(centre).max()))
    return (mean if apart else centre + sideways + up), sideways


def _distance(radius: float, fov: float, aspect: float, share: float) -> float:
    """From where a ball fills a share of the picture's smaller side."""
    half = np.tan(fov / 2) * min(1.0, aspect)
    return float(radius / np.sin(np.arctan(share * half)))


def _not_vertical(
    direction: Float64[np.ndarray, " 3"], up: Float64[np.ndarray, " 3"], above: Float64[np.ndarray, " 3"]
) -> Float64[np.ndarray, " 3"]:
    """The direction to a camera, turned off the vertical where it is steeper than STEEPEST; `above` stays up in the picture."""
    sign, flat = (1.0 if direction @ up > 0 else -1.0), direction - (direction @ up) * up
    if np.linalg.norm(flat) >= np.cos(STEEPEST):
        return direction
    sides = (side - (side @ up) * up for side in (-sign * above, flat, np.eye(3)[np.abs(up).argmin()]))
    level = next(side for side in sides if np.linalg.norm(side) > 1e-3)
    return sign * np.sin(STEEPEST) * up + np.cos(STEEPEST) * level / np.linalg.norm(level)


def pose_of_view(cameras: Cameras, view: str, distance: float | None = None) -> Pose:
    """A camera that looks as a photo's does, at a point `distance` away; where that is None, as far as where all photos look.

    Its up is the scene's as far as the picture allows, so that one can walk around from there. Raises ValueError for a
    view without a camera.
    """
    if view not in cameras.names:
        raise ValueError(f"There is no camera of a view {view!r}; the first of {len(cameras.names)}: {', '.join(cameras.names[:8])}.")
    T_world_cam = cameras.T_world_cam[cameras.names.index(view)]
    right, upwards, back = T_world_cam[:3, :3].T
    eye, up = T_world_cam[:3, 3].copy(), up_of(cameras)
    depth = max(float((eye - focus(cameras)) @ back), 1e-3 * _reach(cameras)) if distance is None else distance
    level = up - (up @ right) * right
    leans = level @ upwards <= np.cos(STEEPEST) * np.linalg.norm(level)  # along the line of sight, or upside down
    return Pose(eye, eye - depth * back, upwards if leans else level / np.linalg.norm(level))


def focus(cameras: Cameras) -> Float64[np.ndarray, " 3"]:
    """The point nearest to all optical axes; ahead of the mean camera where they are parallel."""
    eyes, back = cameras.T_world_cam[:, :3, 3], cameras.T_world_cam[:, :3, 2]
    across = np.eye(3) - back[:, :, None] * back[:, None]
    middle = eyes.mean(0)
    # a weak pull to a point ahead decides where the axes leave it open
    ahead, weak = middle - _reach(cameras) * back.mean(0), 1e-6
    return np.linalg.solve(across.mean(0) + weak * np.eye(3), np.einsum("vij,vj->i", across, eyes) / len(eyes) + weak * ahead)


def _reach(cameras: Cameras) -> float:
    """The mean distance of the cameras from their middle; 1 where there is but one place."""
    eyes = cameras.T_world_cam[:, :3, 3]
    return float(np.linalg.norm(eyes - eyes.mean(0), axis=1).mean()) or 1.0


def up_of(cameras: Cameras) -> Float64[np.ndarray, " 3"]:
    """Which way is up: from the cameras, along the z axis where there are none."""
    return up_direction(cameras.T_world_cam).astype(np.float64) if len(cameras.names) else np.array([0.0, 0.0, 1.0])


def moved(pose: Pose, T_other_world: Float[np.ndarray, "4 4"]) -> Pose:
    """The pose in another frame; the matrix may scale, by the same along every axis."""
    turn, shift = T_other_world[:3, :3].astype(np.float64), T_other_world[:3, 3]
    up = turn @ pose.up
    return Pose(turn @ pose.position + shift, turn @ pose.look_at + shift, up / np.linalg.norm(up))


def frustum(cameras: Cameras, k: int) -> Frustum:
    """The camera of view number k as viser draws it."""
    from scipy.spatial.transform import Rotation

    T_world_cam, (fx, fy, _, _), (height, width) = cameras.T_world_cam[k], cameras.intrinsics[k].tolist(), cameras.sizes[k].tolist()
    x, y, z, w = Rotation.from_matrix(T_world_cam[:3, :3] * [1, -1, -1]).as_quat()
    fov, aspect = 2 * np.arctan(height / 2 / fy), width / fx * fy / height
    return Frustum(np.array([w, x, y, z]), T_world_cam[:3, 3].copy(), float(fov), float(aspect))
