"""A furnished room of known parts, every leaf in a flat colour of its own, photographed: who knows the colours knows the parts.

    room ─┬─ desk ─┬─ desk top, left leg, right leg
          │        └─ drawer: drawer front, drawer knob
          ├─ cupboard ─┬─ cupboard body, crown
          │            └─ door: door panel, handle
          └─ lamp: foot, pole, shade

Metres; z is up, fronts look towards -y. A colour is neither red (outlines), nor white, nor black (backgrounds).
"""

from dataclasses import dataclass, replace
from functools import cache
from itertools import product

import numpy as np

from semquery import tabletop
from semquery.geometry import FusionConfig, fuse
from semquery.procedural import KnownScene, Leaf, assemble, box, rod
from semquery.render import RayCaster, look_at, observe, pinhole
from semquery.types import Cameras, PartTree, Surface

FIELD_OF_VIEW = 45.0
SIGN = "door panel"  # the part that may bear writing
INK, PAPER = (20, 20, 20), (255, 130, 210)


@dataclass(frozen=True)
class Painted:
    """The scene, its true tree, and its photos."""

    scene: KnownScene
    surface: Surface
    parts: PartTree
    cameras: Cameras
    photos: dict[str, np.ndarray]
    truth: dict[str, np.ndarray]  # view → the leaf each pixel shows, -1 = none

    @property
    def names(self) -> tuple[str, ...]:
        return self.scene.names

    def leaves(self, part: int) -> frozenset[int]:
        return frozenset(np.flatnonzero(self.parts.holds[part][: self.scene.num_leaves]).tolist())

    def color(self, leaf: int) -> tuple[int, int, int]:
        return tuple(int(c) for c in self.scene.colors[np.flatnonzero(self.scene.part_of_face == leaf)[0]])


def room() -> KnownScene:
    desk = {
        "desk top": Leaf((150, 90, 40), (box((-0.6, 0, 0.62), (0.9, 0.5, 0.06)),)),
        "left leg": Leaf((0, 120, 255), (box((-0.98, 0, 0.295), (0.08, 0.4, 0.59)),)),
        "right leg": Leaf((0, 190, 80), (box((-0.22, 0, 0.295), (0.08, 0.4, 0.59)),)),
        "drawer": {
            "drawer front": Leaf((255, 200, 0), (box((-0.6, -0.19, 0.47), (0.6, 0.06, 0.22)),)),
            "drawer knob": Leaf((150, 0, 200), (box((-0.6, -0.25, 0.47), (0.13, 0.06, 0.09)),)),
        },
    }
    cupboard = {
        "cupboard body": Leaf((110, 110, 110), (box((0.55, 0.05, 0.45), (0.7, 0.5, 0.9)),)),
        "crown": Leaf((0, 200, 210), (box((0.55, 0.05, 0.96), (0.8, 0.6, 0.12)),)),
        "door": {
            SIGN: Leaf(PAPER, (box((0.55, -0.23, 0.45), (0.56, 0.06, 0.76)),)),
            "handle": Leaf((20, 70, 20), (box((0.76, -0.29, 0.45), (0.07, 0.06, 0.3)),)),
        },
    }
    lamp = {
        "foot": Leaf((255, 130, 0), (rod((-0.05, -0.75, 0.03), 0.16, 0.06, "z"),)),
        "pole": Leaf((20, 20, 130), (rod((-0.05, -0.75, 0.3), 0.035, 0.48, "z"),)),
        "shade": Leaf((170, 220, 120), (rod((-0.05, -0.75, 0.64), 0.15, 0.2, "z"),)),
    }
    return assemble({"desk": desk, "cupboard": cupboard, "lamp": lamp}, "room")


def poses() -> dict[str, np.ndarray]:
    """Five looks from in front of the room, and a nearer one at each thing."""
    around = {f"room{k}": (np.array([2.9 * np.sin(a), -2.9 * np.cos(a), 0.5 + h]), (0, -0.1, 0.45))
              for k, (a, h) in enumerate([(-0.7, 0.5), (-0.3, 0.9), (0.0, 1.3), (0.35, 0.4), (0.75, 0.8)])}
    near = {"desk": ((-0.9, -1.4, 1.0), (-0.6, 0, 0.4)), "cupboard": ((0.9, -1.8, 0.9), (0.55, 0, 0.5)),
            "lamp": ((-0.5, -1.9, 0.7), (-0.05, -0.75, 0.4)),
            "drawer": ((-0.75, -1.0, 0.6), (-0.6, -0.2, 0.47)), "handle": ((0.75, -1.1, 0.6), (0.7, -0.2, 0.45))}
    return {name: look_at(np.array(eye, float), np.array(target, float)) for name, (eye, target) in (around | near).items()}


@cache
def painted(side: int = 128, writing: str = "") -> Painted:
    """The room photographed; with `writing`, the door panel bears it."""
    return photographed(room(), poses(), side, writing)


@cache
def demo(side: int = 160) -> Painted:
    """The demo's scene with its true tree, from every third of its cameras, each leaf in a flat colour of its own."""
    scene, Ts = tabletop.build(), list(tabletop.cameras().items())[::3]
    colors = np.array(unlike(scene.num_leaves), np.uint8)[scene.part_of_face]
    return photographed(replace(scene, colors=colors, grains=()), dict(Ts), side)


def unlike(count: int, step: int = 51) -> list[tuple[int, int, int]]:
    """So many colours, at least a step apart in some channel, none of them near red, white or black."""
    steps = range(0, 256, step)
    kept = [c for c in product(steps, steps, steps) if not (c[0] > 150 and max(c[1:]) < 110) and 60 < max(c) and min(c) < 200]
    return [kept[k * len(kept) // count] for k in range(count)]


def photographed(scene: KnownScene, Ts: dict[str, np.ndarray], side: int, writing: str = "") -> Painted:
    """Photos of a scene without light and shade, and the surface they show."""
    caster, intrinsics = RayCaster(scene.vertices, scene.faces), pinhole(FIELD_OF_VIEW, (side, side))
    cameras = Cameras(tuple(Ts), tuple(f"gone/{name}.png" for name in Ts), np.stack(list(Ts.values())),
                      np.tile(intrinsics, (len(Ts), 1)), np.full((len(Ts), 2), side))
    photos, truth = {}, {}
    for name, T in Ts.items():
        hits = caster.cast(T, intrinsics, (side, side))
        truth[name] = np.where(hits.mask, scene.part_of_face[hits.face], -1)
        photos[name] = np.where(hits.mask[..., None], scene.colors[hits.face], 255).astype(np.uint8)
        if writing:
            inked = (truth[name] == scene.names.index(SIGN)) & _written(hits.points, writing)
            photos[name][inked] = INK
    seen = {name: observe(caster, cameras, k, photos[name]) for k, name in enumerate(Ts)}
    surface = fuse(seen, {name: T[:3, 3] for name, T in Ts.items()}, FusionConfig(voxel_size=0.008, min_views=1, min_hits=1))
    return Painted(scene, surface, true_tree(scene, surface, truth), cameras, photos, truth)


def true_tree(scene: KnownScene, surface: Surface, truth: dict[str, np.ndarray]) -> PartTree:
    """The scene's own tree; each point belongs to the leaf that most of its pixels show."""
    votes = np.zeros((len(surface.points), scene.num_leaves), np.int64)
    for name, leaf in truth.items():
        both = (surface.point_of_pixel[name] >= 0) & (leaf >= 0)
        np.add.at(votes, (surface.point_of_pixel[name][both], leaf[both]), 1)
    altitude = np.linspace(0, 1, len(scene.parents)).astype(np.float32)
    return PartTree(scene.parents, altitude, votes.argmax(1).astype(np.int32), np.zeros((0, 3), np.int32), np.zeros(0, np.float32))


def swapped(world: Painted, one: str, other: str) -> Painted:
    """The same scene with the points of two leaves mistaken for each other."""
    a, b = world.names.index(one), world.names.index(other)
    number = np.arange(world.parts.num_parts, dtype=np.int32)
    number[[a, b]] = b, a
    return replace(world, parts=replace(world.parts, part_of_point=number[world.parts.part_of_point]))


def _written(points: np.ndarray, text: str) -> np.ndarray:
    """Where the door panel is inked: the text in lines across its front."""
    from PIL import Image, ImageDraw, ImageFont

    page = Image.new("1", (280, 380), 0)
    lines = "\n".join(text.split())
    ImageDraw.Draw(page).multiline_text((8, 8), lines, fill=1, font=ImageFont.load_default(38), spacing=2)
    x = ((points[..., 0] - 0.27) / 0.56 * 280).astype(int).clip(0, 279)
    y = ((0.83 - points[..., 2]) / 0.76 * 380).astype(int).clip(0, 379)
    return np.asarray(page)[y, x] & (points[..., 1] < -0.255)
