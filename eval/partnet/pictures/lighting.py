"""Light that moves with the camera, so that every view of an object is lit alike and no side of it lies in the dark.

Notation
  k points on surfaces.
Conventions
  Camera axes are x right, y up, z towards the viewer; the world's z is up. Normals are unit vectors turned to the viewer.
"""

import numpy as np
from jaxtyping import Float, Float32

from eval import textured
from semquery.procedural import KnownScene
from semquery.render import Hits

AMBIENT, KEY_SHARE, FILL_SHARE, SKY_SHARE = 0.30, 0.55, 0.20, 0.12
KEY = (-0.5, 0.7, 0.6)  # camera direction towards the main light: over the viewer's left shoulder
FILL = (0.8, 0.1, 0.5)
LIFT = 0.15  # of black, in which no light shows a shape


def light(normals: Float[np.ndarray, "k 3"], T_world_cam: Float[np.ndarray, "4 4"]) -> Float32[np.ndarray, " k"]:
    """How bright matt white would be: a floor, a main light and a weaker one beside the viewer, and a little from above."""
    key, fill = (T_world_cam[:3, :3] @ (np.array(towards) / np.linalg.norm(towards)) for towards in (KEY, FILL))
    sources = np.stack([KEY_SHARE * key, FILL_SHARE * fill, (0, 0, SKY_SHARE)], 1).astype(np.float32)
    return AMBIENT + np.maximum(np.asarray(normals, np.float32) @ sources, 0).sum(1)


def lifted_albedo(scene: KnownScene, hits: Hits) -> Float32[np.ndarray, "h w 3"]:
    """The scene's own colours, 0..1, with black lifted to LIFT; textured scenes have lifted it a part of the way."""
    lifted = textured.LIFT if isinstance(scene, textured.TexturedScene) else 0.0
    kept = (1 - LIFT) / (1 - lifted)
    return (1 - kept + kept * scene.albedo(hits)).astype(np.float32)


def lit(scene: KnownScene, hits: Hits, T_world_cam: Float[np.ndarray, "4 4"]) -> Float32[np.ndarray, "k 3"]:
    """Colour of every pixel that hit, in the order of the image's rows, 0..1."""
    mask = hits.mask
    seen = Hits(hits.face[mask][None], hits.points[mask][None], hits.normals[mask][None])
    return (lifted_albedo(scene, seen)[0] * light(seen.normals[0], T_world_cam)[:, None]).clip(0, 1)
