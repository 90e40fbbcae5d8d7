"""The reference frame in which above, left and in front are meant.

Up is given, or the mean of the cameras' up axes. The front is given; or it is against the way a named view looks, so
that left and right are as in its picture; or it is where the parts face, the mean over the smallest parts of their mean
outward normal, each part counting the same; or, where they face nowhere in particular, the side of the view that shows most.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

from semquery.facts import up_direction
from semquery.types import Cameras, PartTree, Surface

CLEAR = 0.15  # least length of the mean of the parts' normals that says where they face; all the same way = 1
SNAP = np.radians(20)  # a front this close to an axis of the scene is meant to be along it
ALIGNED = 0.3  # least agreement of the normals on the scene's axes; 1 = all walls at right angles, 0 = a round thing


@dataclass(frozen=True)
class Frame:
    """Three unit vectors at right angles, and where they come from, in words."""

    up: Float[np.ndarray, " 3"]
    front: Float[np.ndarray, " 3"]  # horizontal, from the scene towards whoever looks at it
    right: Float[np.ndarray, " 3"]  # what is right for them
    origin: str  # such as "up from the cameras; left and right as seen in view door_02"

    def axes(self) -> Float64[np.ndarray, "3 3"]:
        """Rows x right, y away from the viewer, z up."""
        return np.stack([self.right, -self.front, self.up]).astype(np.float64)


def frame_of(
    surface: Surface, parts: PartTree, cameras: Cameras | None,
    up: Float[np.ndarray, " 3"] | None = None, front: Float[np.ndarray, " 3"] | None = None, view: str | None = None,
) -> Frame:
    """The frame of a scene. Raises ValueError for a view that has no pose and for directions without a length."""
    if view is not None and (cameras is None or view not in cameras.names):
        known = ", ".join(cameras.names[:5]) if cameras else "none"
        raise ValueError(f"There is no view {view!r} with a pose; the first few that have one: {known}.")
    if up is not None:
        vertical, said = _unit(up, "up"), "up as given"
    elif cameras is not None and len(cameras.names):
        vertical, said = up_direction(cameras.T_world_cam), "up from the cameras"
    else:
        vertical, said = np.array([0.0, 0.0, 1.0]), "up along z, for want of cameras"
    ahead, seen = _front(surface, parts, cameras, vertical, front, view)
    return Frame(vertical, ahead, np.cross(vertical, ahead), f"{said}; left and right {seen}")


def _front(surface, parts, cameras, up, front, view) -> tuple[Float64[np.ndarray, " 3"], str]:
    """The horizontal direction towards the viewer, and whose left and right that makes it."""
    if front is not None:
        return _level(_unit(front, "front"), up, None), "as seen from the front that was given"
    if view is not None:
        return _behind(cameras.T_world_cam[cameras.names.index(view)], up), f"as seen in view {view}"
    facing = _facing(surface, parts, up)
    if np.linalg.norm(facing) >= CLEAR:
        return _snapped(facing / np.linalg.norm(facing), surface, up), "as seen from the side to which most parts face"
    posed = [name for name in surface.point_of_pixel if cameras is not None and name in cameras.names]
    if posed:
        best = max(posed, key=lambda name: _num_shown(surface, parts, name))
        behind = _behind(cameras.T_world_cam[cameras.names.index(best)], up)
        return _snapped(behind, surface, up), f"as seen from the side of view {best}, which shows most parts"
    return _level(np.array([0.0, -1.0, 0.0]), up, np.array([0.0, 0.0, 1.0])), "as seen against the y axis, for want of a better side"


def _facing(surface: Surface, parts: PartTree, up: Float64[np.ndarray, " 3"]) -> Float64[np.ndarray, " 3"]:
    """The horizontal part of the mean, over the smallest parts, of their mean normals."""
    own = np.bincount(parts.part_of_point, minlength=parts.num_parts)
    total = np.stack([np.bincount(parts.part_of_point, surface.normals[:, k], minlength=parts.num_parts) for k in range(3)], 1)
    inner = np.zeros(parts.num_parts, bool)
    inner[parts.parents[:-1]] = True
    leaves = ~inner & (own > 0)
    mean = (total[leaves] / own[leaves, None]).mean(0) if leaves.any() else np.zeros(3)
    return mean - (mean @ up) * up


def _behind(pose: Float64[np.ndarray, "4 4"], up: Float64[np.ndarray, " 3"]) -> Float64[np.ndarray, " 3"]:
    """Towards a camera, against the way it looks; for one that looks straight down, where the lower edge of its picture is."""
    return _level(pose[:3, 2], up, -pose[:3, 1])


def _level(
    direction: Float64[np.ndarray, " 3"], up: Float64[np.ndarray, " 3"], instead: Float64[np.ndarray, " 3"] | None
) -> Float64[np.ndarray, " 3"]:
    """The horizontal direction closest to one; `instead` for one that is nearly vertical."""
    flat = direction - (direction @ up) * up
    if np.linalg.norm(flat) > 0.1 * max(float(np.linalg.norm(direction)), 1e-12):
        return flat / np.linalg.norm(flat)
    if instead is None:
        raise ValueError(f"The front {np.round(direction, 3).tolist()} is along up {np.round(up, 3).tolist()}: give one that is not vertical.")
    return _level(instead, up, np.eye(3)[int(np.abs(up).argmin())])


def _snapped(direction: Float64[np.ndarray, " 3"], surface: Surface, up: Float64[np.ndarray, " 3"]) -> Float64[np.ndarray, " 3"]:
    """The direction turned onto the scene's horizontal axes, the four at right angles along which most of it faces, where they are close."""
    across = np.cross(up, direction)
    flat = surface.normals @ np.stack([direction, across], 1) @ np.array([1, 1j])
    # the fourth power turns the four axes into one, the length still counts how horizontal a normal is
    length = np.abs(flat)
    mean = (flat**4 / np.maximum(length, 1e-9) ** 3).sum() / max(float(length.sum()), 1e-9)
    angle = float(np.angle(mean)) / 4
    if np.abs(mean) < ALIGNED or abs(angle) > SNAP:
        return direction
    return np.cos(angle) * direction + np.sin(angle) * across


def _num_shown(surface: Surface, parts: PartTree, view: str) -> int:
    point = surface.point_of_pixel[view]
    return len(np.unique(parts.part_of_point[point[point >= 0]]))


def _unit(direction: Float[np.ndarray, " 3"], name: str) -> Float64[np.ndarray, " 3"]:
    direction = np.asarray(direction, np.float64)
    length = np.linalg.norm(direction)
    if not np.isfinite(length) or length < 1e-9:
        raise ValueError(f"Expected a direction for {name}, got {direction.tolist()}.")
    return direction / length
