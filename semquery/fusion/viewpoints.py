"""Where a mesh is looked at from: rings, points spread evenly over the sphere, from above and from below.

Notation
  n vertices, v views.
Conventions
  Meshes are looked at in the unit sphere (`unit_sphere`), from 2 units away with 60° across the picture. Elevation and azimuth are
  radians; with y up, azimuth 0 is +x and π/2 is +z (Reasoning3D's axes), with z up 0 is +x and π/2 is +y. Poses are T_world_cam of
  OpenGL's axes, as in `render`.
"""

from typing import Literal

import numpy as np
from jaxtyping import Float, Float64

from semquery.render import look_at

DISTANCE, FOV = 2.0, 60.0  # units of the unit sphere, degrees
ELEVATION = 0.2  # radians, of Reasoning3D's ring
GOLDEN = np.pi * (3 - np.sqrt(5))  # radians between neighbours of a Fibonacci lattice
Up = Literal["y", "z"]
AROUND: tuple[str, ...] = ("ring8", "ring16", "ring8+2", "fib16", "fib32")
Around = Literal["ring8", "ring16", "ring8+2", "fib16", "fib32"]


def unit_sphere(vertices: Float[np.ndarray, "n 3"]) -> tuple[Float64[np.ndarray, "n 3"], Float64[np.ndarray, " 3"], float]:
    """Vertices moved to their mean and scaled so that the farthest has length 1; the mean and the scale, to go back.

    The mean is over vertices, not over area, as in Reasoning3D. Raises ValueError for vertices that are not finite or all in one place.
    """
    broken = int((~np.isfinite(vertices).all(1)).sum())
    if broken or not len(vertices):
        raise ValueError(f"{broken} of {len(vertices)} vertices of the mesh are not finite numbers (or there are none). Repair the mesh first.")
    shift = vertices.mean(0, dtype=np.float64)
    moved = vertices.astype(np.float64) - shift
    scale = float(np.linalg.norm(moved, axis=1).max())
    if not scale > 0:
        raise ValueError(f"All {len(vertices)} vertices of the mesh lie in one place; expected a mesh that has a size.")
    return moved / scale, shift, scale


def directions(around: Around) -> Float64[np.ndarray, "v 2"]:
    """Elevation and azimuth of each view.

    ring8 is Reasoning3D's; ring8+2 looks from above and below too; fib16 and fib32 are Fibonacci lattices (González, Measurement of
    areas on a sphere using Fibonacci and latitude-longitude lattices, 2010), which leave hardly any face unseen.
    """
    if around not in AROUND:
        raise ValueError(f"There is no set of views {around!r}; expected one of {', '.join(AROUND)}.")
    if around.startswith("fib"):
        count = int(around[3:])
        k = np.arange(count)
        return np.stack([np.arcsin(1 - (2 * k + 1) / count), (GOLDEN * k) % (2 * np.pi)], 1)
    count = int(around[4:].split("+")[0])
    ring = np.stack([np.full(count, ELEVATION), 2 * np.pi * np.arange(count) / count], 1)
    return np.concatenate([ring, [[np.pi / 2, 0.0], [-np.pi / 2, 0.0]]]) if around.endswith("+2") else ring


def poses(
    at: Float[np.ndarray, "v 2"], distance: float = DISTANCE, up: Up = "y"
) -> Float64[np.ndarray, "v 4 4"]:
    """T_world_cam of cameras that look at the origin; straight from above or below, the top of the picture is away from azimuth 0."""
    found = []
    for elevation, azimuth in at:
        along, across, height = np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)
        eye = np.array([along, height, across] if up == "y" else [along, across, height]) * distance
        upwards = (1, 0, 0) if abs(height) > 1 - 1e-9 else (0, 1, 0) if up == "y" else (0, 0, 1)
        found.append(look_at(eye, np.zeros(3), upwards))
    return np.array(found).reshape(-1, 4, 4)
