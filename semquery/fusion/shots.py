"""Pictures of a mesh from all around, and the face behind each of their pixels.

Notation
  v views, f faces, h w height and width.
Conventions
  The mesh is in the unit sphere (`viewpoints`). Shading is `render`'s, turned so that light comes from what is up.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64, Int32, UInt8

from semquery.fusion.viewpoints import DISTANCE, FOV, Around, Up, directions, poses, unit_sphere
from semquery.render import Hits, Mesh, RayCaster, pinhole, shade

BACKGROUND = 255  # white
TO_Z_UP = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])  # turns y up to z up


@dataclass(frozen=True)
class Shot:
    """One view of a mesh."""

    name: str
    hits: Hits
    T_world_cam: Float64[np.ndarray, "4 4"]  # in the unit sphere
    up: Up

    @property
    def face(self) -> Int32[np.ndarray, "h w"]:
        return self.hits.face

    def picture(self, colors: UInt8[np.ndarray, "f 3"]) -> UInt8[np.ndarray, "h w 3"]:
        """Shaded, on white."""
        hits = self.hits if self.up == "z" else replace(self.hits, normals=(self.hits.normals @ TO_Z_UP.T).astype(np.float32))
        shown = np.full((*self.face.shape, 3), BACKGROUND, np.uint8)
        lit = shade(hits, colors[self.face] / 255.0)
        shown[hits.mask] = (255 * lit[hits.mask]).round().astype(np.uint8)
        return shown


def shots(mesh: Mesh, around: Around = "ring8", size: int = 1024, up: Up = "y", distance: float = DISTANCE) -> Iterator[Shot]:
    """The views of a mesh, named view_0, view_1, …; square pictures of `size` pixels."""
    points, _, _ = unit_sphere(mesh.vertices)
    caster, intrinsics = RayCaster(points, mesh.faces), pinhole(FOV, (size, size))
    for k, pose in enumerate(poses(directions(around), distance, up)):
        yield Shot(f"view_{k}", caster.cast(pose, intrinsics, (size, size)), pose, up)
