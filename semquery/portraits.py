"""The pictures a model sees of each part: where it sits, and what it looks like.

A part is shown in the captured photo that shows it best, in two pictures:
  its place: what holds it (its parent) in that photo, the part outlined. The frame is the parent's, padded; a part that
    would be tiny in it gets a smaller frame around itself, because what cannot be made out says nothing. The parts of the
    whole scene are shown in the whole photo, if they are large enough in it.
  its close-up: the part in a padded square, enlarged, marked in the configuration's style. Beyond the photo's border
    is white only where the photo is smaller than the square; otherwise the square is moved inside.
Where the close-up would show no less than its place, and marks it no otherwise (style `outlined`), one picture is
enough: so it is for the whole scene.

Three kinds of parts are not shown so. One that covers few pixels even in its best photo, and has more surface points than
that: its close-up is drawn from the surface, from in front of it. One that is mostly hidden in its best photo: a drawing of
it alone is added. One that no view shows: that drawing is all there is. In style `black`, the published method's, there
is the close-up alone.

Notation
  n points, p parts, h w height and width. Photos and pixel grids (`point_of_pixel`) show the same frame at any two sizes.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64, Int32, UInt8

from semquery.discs import FIELD_OF_VIEW, close_camera, disc_radii, draw_discs, facing, smoothed
from semquery.facts import up_direction
from semquery.frames import MARKINGS, Frame, cut_out, cut_out_mask, meeting, moved_inside, outlined, square_around
from semquery.masks import on_white
from semquery.render import pinhole
from semquery.sightings import ranked, sightings, worths
from semquery.types import Cameras, PartTree, Surface
from semquery.views import part_mask, png_bytes

Style = Literal["outlined", "black", "white", "dim", "blur"]
KEPT_PHOTOS = 12  # in memory
LEAST_FRAME = 8.0  # pixels of a photo that a frame shows at least
ENOUGH = 0.8  # of the width of the place: an outlined close-up that is no closer is left out

_PLACE = "In the first picture the part in question is outlined in red; the red line is drawn on the picture and is no part of the scene."
IN_WORDS: dict[str, str] = {  # how each style marks the part, for prompts
    "outlined": "The part in question is outlined in red in every picture; the red line is drawn on it and is no part of the scene.",
    "black": "Each picture shows the part in question alone; everything else is blacked out.",
    "white": f"{_PLACE} The others show it alone, on white.",
    "dim": f"{_PLACE} In the others all else is darkened.",
    "blur": f"{_PLACE} In the others all else is blurred.",
}

_ANY = float("inf")
_RANGES = {"side": (16, _ANY), "views": (1, _ANY), "pad": (0, 10), "context": (1, _ANY), "least_pixels": (0, _ANY), "least_share": (0, 1)}


@dataclass(frozen=True)
class PortraitConfig:
    """How a part is shown to a model."""

    style: Style = "outlined"
    """How a close-up marks the part: by a red outline; alone on black (the published method) or on white; with all else dimmed or
    blurred."""
    side: int = 448
    """Longer side of each picture, pixels."""
    pad: float = 0.2
    """Room around the part on every side of a close-up, in part widths."""
    views: int = 1
    """Close-ups, each from another view; the first view also shows the part's place."""
    context: float = 8.0
    """Most part widths that the picture of its place is wide."""
    least_pixels: int = 80
    """A part that covers fewer pixels of its best photo is drawn from the surface, if it has more points there."""
    least_share: float = 0.35
    """A part of which its best photo shows a smaller share of what would be seen if nothing stood before it is also drawn alone."""

    def __post_init__(self) -> None:
        for name, (least, most) in _RANGES.items():
            if not least <= getattr(self, name) <= most:
                upper = "" if most == _ANY else f" and at most {most:g}"
                raise ValueError(f"Pictures of parts: {name} is {getattr(self, name):g}; expected at least {least:g}{upper}.")


def portraits(
    surface: Surface, parts: PartTree, cameras: Cameras, photo: Callable[[str], UInt8[np.ndarray, "_ _ _"]],
    config: PortraitConfig = PortraitConfig(), supporting: Sequence[str] | None = None,
) -> Callable[[int], tuple[bytes, ...]]:
    """part → its pictures as PNG, the same bytes at every call; several threads may call it.

    `photo`: view → the photo, RGB or RGBA. `supporting`: the views that the tree's supports count, by default all that
    show the surface, by name. A part without points has no pictures.
    """
    names = sorted(surface.point_of_pixel) if supporting is None else supporting
    return _Painter(surface, parts, cameras, photo, config, names).pictures


class _Painter:
    """Holds what all pictures of a scene have in common."""

    def __init__(
        self, surface: Surface, parts: PartTree, cameras: Cameras, photo: Callable[[str], UInt8[np.ndarray, "_ _ _"]],
        config: PortraitConfig, supporting: Sequence[str],
    ) -> None:
        self.surface, self.parts, self.cameras, self.config = surface, parts, cameras, config
        self.seen = sightings(surface, parts, cameras)
        self.worth = worths(self.seen, parts, supporting, config.pad)
        self.row_of_camera = {name: k for k, name in enumerate(cameras.names)}
        self.up = up_direction(cameras.T_world_cam) if len(cameras.names) else np.array([0.0, 0.0, 1.0])
        self.mark = MARKINGS[config.style]
        self._photo, self._lock = lru_cache(KEPT_PHOTOS)(lambda view: on_white(photo(view))), threading.Lock()

    @cached_property
    def radii(self) -> Float64[np.ndarray, " n"]:
        return disc_radii(self.surface.points, self.surface.voxel_size)

    def photo(self, view: int) -> UInt8[np.ndarray, "h w 3"]:
        with self._lock:  # a photo is read once, not by every thread that waits for it
            return self._photo(self.seen.views[view])

    def pictures(self, part: int) -> tuple[bytes, ...]:
        inside = self.parts.points_of(part)
        if not inside.any():
            return ()
        views = ranked(self.worth[:, part])[: self.config.views]
        shown = self._captured(part, inside, views) if views else []
        if not views or (self.config.style != "black" and part != self.parts.root and self._is_hidden(part, inside, views[0])):
            shown.append(self._alone(inside, self._towards(inside, views)))
        return tuple(png_bytes(image) for image in shown)

    def _captured(self, part: int, inside: Bool[np.ndarray, " n"], views: list[int]) -> list[UInt8[np.ndarray, "_ _ 3"]]:
        """The part's place in its best view, and a close-up from each view."""
        place, close = self.place_frame(part, views[0]), self.close_frame(part, views[0])
        first = [self._cut(inside, views[0], place, outlined)] if self.config.style != "black" else []
        if self._is_small(part, views[0]):
            return [*first, self._drawn(inside, self._towards(inside, views))]
        if self.config.style == "outlined" and close.longer >= ENOUGH * place.longer:
            views = views[1:]  # its place is a close-up
        return first + [self._cut(inside, view, self.close_frame(part, view), self.mark) for view in views]

    # ------------------------------------------------------------------ frames

    def box(self, part: int, view: int) -> Frame:
        """The part's box on the view's photo."""
        rows, columns = self._photo_scale(view)
        top, left, bottom, right = (float(edge) for edge in self.seen.box[view, part])
        return Frame(top, left, bottom - top, right - left).scaled(rows, columns)

    def close_frame(self, part: int, view: int) -> Frame:
        square = square_around(self.box(part, view), self.config.pad, LEAST_FRAME)
        return moved_inside(square, self._whole(view))

    def place_frame(self, part: int, view: int) -> Frame:
        """The frame of what holds the part: its parent's, no more than so many part widths wide, within the photo."""
        whole, parent = self._whole(view), int(self.parts.parents[part])
        outer = whole if parent == self.parts.root else square_around(self.box(parent, view), self.config.pad, LEAST_FRAME)
        own = square_around(self.box(part, view), self.config.pad, LEAST_FRAME)
        most = max(self.config.context * self.box(part, view).longer, own.longer)
        if part != self.parts.root and outer.longer > most:
            around = Frame(own.top + (own.height - most) / 2, own.left + (own.width - most) / 2, most, most)
            outer = moved_inside(around, outer)
        return meeting(moved_inside(outer, whole), whole)

    def _whole(self, view: int) -> Frame:
        return Frame(0.0, 0.0, *(float(n) for n in self.photo(view).shape[:2]))

    def _photo_scale(self, view: int) -> tuple[float, float]:
        """Photo pixels per grid pixel, along rows and columns."""
        photo, grid = self.photo(view).shape[:2], self.seen.sizes[view]
        return float(photo[0] / grid[0]), float(photo[1] / grid[1])

    # ------------------------------------------------------------------ pictures

    def _cut(self, inside: Bool[np.ndarray, " n"], view: int, frame: Frame, mark: Callable) -> UInt8[np.ndarray, "_ _ 3"]:
        """What a frame shows of a photo, the part marked."""
        rows, columns = self._photo_scale(view)
        image = cut_out(self.photo(view), frame, self.config.side)
        mask = part_mask(self.surface, inside, self.seen.views[view])
        return mark(image, cut_out_mask(mask, frame.scaled(1 / rows, 1 / columns), (image.shape[0], image.shape[1])))

    def _drawn(self, inside: Bool[np.ndarray, " n"], towards: Float64[np.ndarray, " 3"] | None) -> UInt8[np.ndarray, "_ _ 3"]:
        """A close-up of the part among what is around it, drawn from the surface."""
        image, shown = self._close_up(inside, np.arange(len(inside)), towards)
        part = (shown >= 0) & inside[shown]
        if not part.any():  # something lies on it
            return self._alone(inside, towards)
        return self.mark(image, part)

    def _alone(self, inside: Bool[np.ndarray, " n"], towards: Float64[np.ndarray, " 3"] | None) -> UInt8[np.ndarray, "_ _ 3"]:
        """The part alone, drawn from the surface: on black in the style that is black, else outlined on white."""
        image, shown = self._close_up(inside, np.flatnonzero(inside), towards)
        return (self.mark if self.config.style == "black" else outlined)(image, shown >= 0)

    def _close_up(
        self, inside: Bool[np.ndarray, " n"], drawn: np.ndarray, towards: Float64[np.ndarray, " 3"] | None
    ) -> tuple[UInt8[np.ndarray, "h w 3"], Int32[np.ndarray, "h w"]]:
        """A drawing of the points `drawn` from in front of the part, on white, and the point that each of its pixels shows."""
        surface, size = self.surface, (self.config.side, self.config.side)
        points, intrinsics = surface.points[inside], pinhole(FIELD_OF_VIEW, size)
        direction = facing(points, surface.normals[inside], towards)
        T_world_cam, near = close_camera(points, direction, self.up, surface.voxel_size, self.config.pad)
        shown = draw_discs(surface.points[drawn], self.radii[drawn], T_world_cam, intrinsics, size, near)
        shown = np.where(shown >= 0, drawn[shown], -1).astype(np.int32)
        image = np.where((shown >= 0)[..., None], surface.colors[shown], 255).astype(np.uint8)
        distance = np.linalg.norm(T_world_cam[:3, 3] - points.mean(0))
        return smoothed(image, shown >= 0, 0.4 * float(np.median(self.radii[inside]) * intrinsics[0] / distance)), shown

    # ------------------------------------------------------------------ which pictures

    def _is_small(self, part: int, view: int) -> bool:
        """Whether the view shows the part with few pixels, and fewer than it has points: a drawing of fewer points shows less."""
        rows, columns = self._photo_scale(view)
        pixels = self.seen.pixels[view, part] * rows * columns
        return bool(pixels < min(self.config.least_pixels, int(self.parts.num_points[part])))

    def _is_hidden(self, part: int, inside: Bool[np.ndarray, " n"], view: int) -> bool:
        """Whether the view shows little of what it would show of the part if nothing stood in front of it."""
        row = self.row_of_camera.get(self.seen.views[view])
        if row is None:
            return False
        size = (int(self.seen.sizes[view, 0]), int(self.seen.sizes[view, 1]))
        rows, columns = np.array(size) / self.cameras.sizes[row]
        intrinsics = self.cameras.intrinsics[row] * (columns, rows, columns, rows)
        points, T_world_cam = self.surface.points[inside], self.cameras.T_world_cam[row]
        free = draw_discs(points, np.full(len(points), 0.75 * self.surface.voxel_size), T_world_cam, intrinsics, size) >= 0
        return bool(self.seen.pixels[view, part] < self.config.least_share * free.sum())

    def _towards(self, inside: Bool[np.ndarray, " n"], views: list[int]) -> Float64[np.ndarray, " 3"] | None:
        """From the part to the camera that sees it best."""
        row = self.row_of_camera.get(self.seen.views[views[0]]) if views else None
        return None if row is None else self.cameras.T_world_cam[row, :3, 3] - self.surface.points[inside].astype(np.float64).mean(0)
