"""What can be measured of a part without knowing what it is: colour, shape, size, place, look-alikes.

Notation
  n points of the part, p parts. Extents a ≥ b ≥ c are along the part's principal axes, world units.
  `up` is a unit vector; heights are along it.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Num, UInt8

from semquery.geometry import principal_extent
from semquery.types import PartTree, Surface

# Colour terms and an sRGB value typical of each: Berlin and Kay's basic terms and a few shades of them.
COLORS = {
    "black": (25, 25, 25), "dark grey": (75, 75, 75), "grey": (128, 128, 128), "light grey": (190, 190, 190), "white": (240, 240, 240),
    "red": (200, 40, 35), "dark red": (120, 25, 25), "orange": (235, 130, 40), "brown": (125, 80, 45), "dark brown": (75, 45, 25),
    "beige": (215, 190, 150), "yellow": (235, 210, 50), "green": (60, 160, 65), "dark green": (25, 85, 40), "turquoise": (60, 190, 180),
    "blue": (50, 90, 190), "dark blue": (25, 40, 90), "light blue": (140, 190, 230), "purple": (120, 60, 160), "pink": (240, 150, 180),
}


@dataclass(frozen=True)
class PartFacts:
    """Measurements of one part, in words and numbers."""

    color: str  # the colour most of it has
    second_color: str  # another that covers at least a quarter of it, or ""
    shape: str  # rod, bar, plate, disc, ball, block, …
    is_round: bool
    size: str  # tiny … large, against the whole scene
    extent: tuple[float, float, float]
    share_of_parent: float  # of the parent's points
    place: str  # where in its parent
    num_parts: int  # children
    num_alike: int  # other parts of like colour, shape and size beside it

    def in_words(self) -> str:
        colors = self.color + (f" and {self.second_color}" if self.second_color else "")
        alike = f"; {self.num_alike} more like it beside it" if self.num_alike else ""
        inner = f"; made of {self.num_parts} parts" if self.num_parts else ""
        sides = " × ".join(f"{e:.3g}" for e in self.extent)
        return (f"{colors} {'round ' if self.is_round else ''}{self.shape}, {self.size}, {sides} in size, "
                f"{100 * self.share_of_parent:.0f} % of its parent, {self.place}{inner}{alike}")


def measure(surface: Surface, parts: PartTree, up: Float[np.ndarray, " 3"]) -> dict[int, PartFacts]:
    """The facts of every part."""
    inside = {p: parts.points_of(p) for p in range(parts.num_parts)}
    extents = {p: principal_extent(surface.points[m]) for p, m in inside.items()}
    colors = {p: dominant_colors(surface.colors[m]) for p, m in inside.items()}
    scene = float(np.linalg.norm(extents[parts.root][0]))
    facts = {}
    for part, mask in inside.items():
        parent = int(parts.parents[part])
        (a, b, c), axes = extents[part]
        round_, shape = shape_word(surface.points[mask], extents[part][0], axes)
        beside = [] if part == parts.root else [s for s in parts.children(parent) if s != part]
        alike = [s for s in beside if _alike(extents[s][0], extents[part][0]) and colors[s][0] == colors[part][0]]
        facts[part] = PartFacts(
            color=colors[part][0], second_color=colors[part][1], shape=shape, is_round=round_,
            size=size_word(float(np.linalg.norm([a, b, c])) / max(scene, 1e-12)), extent=(float(a), float(b), float(c)),
            share_of_parent=float(mask.sum() / max(inside[parent].sum(), 1)),
            place="the whole scene" if part == parts.root else place_word(surface.points[mask], surface.points[inside[parent]], up),
            num_parts=len(parts.children(part)), num_alike=len(alike),
        )
    return facts


def dominant_colors(colors: UInt8[np.ndarray, "n 3"]) -> tuple[str, str]:
    """The commonest colour term, and the next if it covers a quarter of the points ("" otherwise)."""
    from skimage.color import rgb2lab

    if not len(colors):
        return "grey", ""
    terms = list(COLORS)
    palette = rgb2lab(np.array([COLORS[t] for t in terms], np.float64)[None] / 255)[0]
    lab = rgb2lab(colors[None].astype(np.float64) / 255)[0]
    # lightness counts less than hue: it changes with the lighting
    weight = np.array([0.6, 1.0, 1.0])
    nearest = (((lab[:, None] - palette[None]) * weight) ** 2).sum(-1).argmin(1)
    share = np.bincount(nearest, minlength=len(terms)) / len(colors)
    first, second = np.argsort(-share, kind="stable")[:2]
    return terms[first], terms[second] if share[second] >= 0.25 else ""


def shape_word(points: Num[np.ndarray, "n 3"], extent: Float[np.ndarray, " 3"], axes: Float[np.ndarray, "3 3"]) -> tuple[bool, str]:
    """(is it round, a word for its shape) from the extents along the principal axes."""
    a, b, c = (max(float(e), 1e-9) for e in extent)
    if b < 0.25 * a:
        return False, "rod" if c > 0.5 * b else "strip"
    round_ = b > 0.7 * a and is_round(points, axes[:2])
    if c < 0.3 * b:
        return round_, "disc" if round_ else "plate"
    if b < 0.5 * a:
        return False, "bar"
    return round_, "knob" if round_ and c < 0.75 * b else "ball" if round_ else "block"


def is_round(points: Num[np.ndarray, "n 3"], plane: Float[np.ndarray, "2 3"]) -> bool:
    """Whether the outline in a plane is about as wide in every direction (a square's diagonal is 1.41 sides)."""
    flat = (points - points.mean(0)) @ plane.T
    angles = np.arange(12) * np.pi / 12
    along = flat @ np.stack([np.cos(angles), np.sin(angles)])
    width = np.ptp(along, axis=0)
    return bool(width.min() > 0.8 * width.max())


def size_word(share: float) -> str:
    """How large a part is, by its diagonal as a share of the scene's."""
    return next((word for limit, word in ((0.06, "tiny"), (0.15, "small"), (0.4, "medium-sized"), (0.75, "large")) if share < limit), "very large")


def place_word(points: Num[np.ndarray, "n 3"], around: Num[np.ndarray, "k 3"], up: Float[np.ndarray, " 3"]) -> str:
    """Where a part sits in its parent: its height, and whether it is central or to one side."""
    low, high = np.quantile(around @ up, [0.01, 0.99])
    height = (float(np.mean(points @ up)) - low) / max(high - low, 1e-9)
    level = "at the top" if height > 0.72 else "at the bottom" if height < 0.28 else "at middle height"
    flat = np.eye(3) - np.outer(up, up)
    offset = float(np.linalg.norm(flat @ (points.mean(0) - around.mean(0))))
    reach = float(np.quantile(np.linalg.norm((around - around.mean(0)) @ flat, axis=1), 0.9))
    return f"{level}, {'to one side' if offset > 0.45 * reach else 'near the centre'}"


def up_direction(T_world_cam: Float[np.ndarray, "v 4 4"]) -> Float[np.ndarray, " 3"]:
    """Which way is up: the mean of the cameras' up axes, snapped to a coordinate axis less than 25° away."""
    mean = T_world_cam[:, :3, 1].mean(0)
    norm = np.linalg.norm(mean)
    if norm < 1e-6:
        return np.array([0.0, 0.0, 1.0])
    mean = mean / norm
    axis = int(np.abs(mean).argmax())
    return np.sign(mean[axis]) * np.eye(3)[axis] if abs(mean[axis]) > np.cos(np.radians(25)) else mean


def _alike(a: np.ndarray, b: np.ndarray) -> bool:
    return bool((np.abs(a - b) < 0.25 * np.maximum(a, b) + 1e-9).all())
