"""Windows of a view, rendered from the mesh at any zoom, and a node marked in them.

Notation
  v views, f faces, side: width and height of a picture in pixels, fine: of the rays behind it.
Conventions
  All pictures are square. A window is a `Frame` in widths of the whole view, (0, 0, 1, 1) is all of it, and it may reach
  beyond. A closer window is rendered anew with other intrinsics: nothing is enlarged. What marks a node is decided ray by
  ray, before pixels are averaged: a mask of whole pixels would leave a fringe of what is around it.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Int32, UInt8

from eval.partnet.config import PictureStyle
from eval.partnet.pictures.lighting import lit
from semquery.frames import Frame, moved_inside, outlined, square_around
from semquery.portraits import IN_WORDS as PORTRAITS_IN_WORDS
from semquery.procedural import KnownScene
from semquery.render import Hits, RayCaster, ring

FIELD_OF_VIEW = 35.0  # degrees across the whole view
ELEVATIONS, NUM_AZIMUTHS = (-20, 20, 55), 8
CANONICAL = (35, 20)  # azimuth, elevation
WHOLE = Frame(0.0, 0.0, 1.0, 1.0)
ZOOM_PAD, CROP_PAD = 0.3, 0.1  # room around a node on every side, in its own sizes: windows of 1.6 and of 1.2 times the node
LEAST = 8.0  # pixels of the whole view that a close-up shows at least
LEAST_CROP = 1e-4  # widths of the whole view: closer, the directions of rays in single precision are no longer distinct
FADED = (0.55, 0.35)  # what is not the node becomes .55 + .35 of its grey

IN_WORDS: dict[PictureStyle, str] = {  # how each style marks the node, for prompts
    "outline": PORTRAITS_IN_WORDS["outlined"],
    "fade_zoom": "Each picture is a close-up that shows the part in question in its own colours; everything else is faded to a light grey.",
    "black_crop": PORTRAITS_IN_WORDS["black"],
    "black": PORTRAITS_IN_WORDS["black"],
}


@dataclass(frozen=True)
class Drawing:
    """What the rays of a window show."""

    colors: UInt8[np.ndarray, "fine fine 3"]  # shaded; white where there is nothing
    atom: Int32[np.ndarray, "fine fine"]  # -1 = none
    supersample: int


class Stage:
    """Some faces of a scene, all others removed, ready to be looked at."""

    def __init__(self, scene: KnownScene, atom_of_face: Int32[np.ndarray, " f"], kept: Int[np.ndarray, " k"] | None = None) -> None:
        """`kept`: the faces that stay, by default all."""
        self.scene, self.atom_of_face = scene, atom_of_face
        self.kept = np.arange(len(scene.faces)) if kept is None else np.asarray(kept)
        used, corners = np.unique(scene.faces[self.kept], return_inverse=True)
        self.vertices = np.asarray(scene.vertices[used], float)
        self.caster = RayCaster(scene.vertices[used], corners.reshape(-1, 3))

    def cast(self, T_world_cam: Float[np.ndarray, "4 4"], window: Frame, fine: int) -> Hits:
        """What is behind the centre of every ray's share of a window; faces as the scene numbers them."""
        hits = self.caster.cast(T_world_cam, intrinsics_of(window, fine), (fine, fine))
        return Hits(np.where(hits.mask, self.kept[hits.face], -1).astype(np.int32), hits.points, hits.normals)

    def atoms(self, T_world_cam: Float[np.ndarray, "4 4"], window: Frame, fine: int) -> Int32[np.ndarray, "fine fine"]:
        """The atom that every ray meets, -1 where it meets none."""
        hits = self.cast(T_world_cam, window, fine)
        return np.where(hits.mask, self.atom_of_face[hits.face], -1).astype(np.int32)

    def draw(self, T_world_cam: Float[np.ndarray, "4 4"], window: Frame, side: int, supersample: int) -> Drawing:
        """A window, shaded, with so many rays along each side of a pixel."""
        hits = self.cast(T_world_cam, window, side * supersample)
        colors = np.full((*hits.face.shape, 3), 255, np.uint8)
        colors[hits.mask] = np.round(255 * lit(self.scene, hits, T_world_cam))
        atom = np.where(hits.mask, self.atom_of_face[hits.face], -1).astype(np.int32)
        return Drawing(colors, atom, supersample)

    def box(self, T_world_cam: Float[np.ndarray, "4 4"]) -> Frame:
        """The rectangle that everything on the stage fills in a view, hidden or not."""
        x, y, z = ((self.vertices - T_world_cam[:3, 3]) @ T_world_cam[:3, :3]).T
        column, row = 0.5 + focal() * x / -z, 0.5 + focal() * y / z
        return Frame(float(row.min()), float(column.min()), float(np.ptp(row)), float(np.ptp(column)))

    def shown_area(self, T_world_cam: Float[np.ndarray, "v 4 4"]) -> Float64[np.ndarray, " v"]:
        """Area as each camera sees it, squared units of the mesh: what a face turns away counts less, what it hides counts in full."""
        a, b, c = np.asarray(self.scene.vertices, float)[self.scene.faces[self.kept]].transpose(1, 0, 2)
        return np.abs(T_world_cam[:, :3, 2] @ (np.cross(b - a, c - a) / 2).T).sum(1)


def focal() -> float:
    """Focal length in widths of the whole view."""
    return float(0.5 / np.tan(np.radians(FIELD_OF_VIEW) / 2))


def intrinsics_of(window: Frame, fine: int) -> Float64[np.ndarray, " 4"]:
    """(fx, fy, cx, cy) in pixels of a square window that is `fine` pixels wide."""
    scale = fine / window.width
    return scale * np.array([focal(), focal(), 0.5 - window.left, 0.5 - window.top])


def viewpoints(vertices: Float[np.ndarray, "n 3"]) -> tuple[Float64[np.ndarray, "v 4 4"], list[int]]:
    """T_world_cam of the 24 views of an object, each of which shows all of it, and the views from the canonical one on.

    Azimuths count from the front (-y) towards +x, and start at the canonical one: no view looks straight at a side of a box.
    The order is by angle from the canonical view, then by number.
    """
    low, high = vertices.min(0), vertices.max(0)
    centre = (low + high) / 2
    radius = max(float(np.linalg.norm(vertices - centre, axis=1).max()), 1e-6)
    distance = 1.02 * radius / np.sin(np.radians(FIELD_OF_VIEW) / 2)
    azimuths = CANONICAL[0] - 90 + np.arange(NUM_AZIMUTHS) * 360 / NUM_AZIMUTHS
    poses = np.concatenate([ring(centre, distance, elevation, azimuths) for elevation in ELEVATIONS])
    towards = poses[:, :3, 2]
    likeness = np.round(towards @ towards[ELEVATIONS.index(CANONICAL[1]) * NUM_AZIMUTHS], 6)
    return poses, np.argsort(-likeness, kind="stable").tolist()


def window_around(box: Frame, style: PictureStyle, side: int) -> Frame:
    """The square that a close-up of a node shows: within the whole view, or for black_crop just the node with a little room."""
    if style == "black_crop":
        return square_around(box, CROP_PAD, LEAST_CROP)
    window = square_around(box, ZOOM_PAD, LEAST / side)
    return WHOLE if window.width >= 1 else moved_inside(window, WHOLE)


# ----------------------------------------------------------------------------------------------- marking


def averaged(fine: np.ndarray, supersample: int) -> UInt8[np.ndarray, "side side 3"]:
    """The mean of each pixel's rays."""
    side = len(fine) // supersample
    return fine.reshape(side, supersample, side, supersample, 3).mean((1, 3), dtype=np.float32).round().astype(np.uint8)


def marked(drawing: Drawing, mask: Bool[np.ndarray, "fine fine"], style: PictureStyle) -> UInt8[np.ndarray, "side side 3"]:
    """The picture with a node marked; `mask` says which rays meet it."""
    if style == "outline":
        side = len(mask) // drawing.supersample  # a pixel belongs to the node if any of its rays does: thin ones stay whole
        touched = mask.reshape(side, drawing.supersample, side, drawing.supersample).any((1, 3))
        return outlined(averaged(drawing.colors, drawing.supersample), touched)
    rest = faded(drawing.colors) if style == "fade_zoom" else np.uint8(0)
    return averaged(np.where(mask[..., None], drawing.colors, rest), drawing.supersample)


def faded(colors: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 1"]:
    """Light grey, a little darker where the colours are."""
    grey = colors @ np.array([0.299, 0.587, 0.114], np.float32)
    return (255 * FADED[0] + FADED[1] * grey).round().astype(np.uint8)[..., None]
