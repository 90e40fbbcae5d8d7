"""The figures that take no browser: the method, the levels of the tree, answers, the scene taken apart.

Notation
  n points; h w size of a picture. All of them show the same run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, UInt8

from semquery.discs import disc_radii, draw_discs, smoothed
from semquery.export import part_colors
from semquery.opened import Found, Scene
from semquery.pictures import enlarged, overlay, resized
from semquery.query import QueryConfig
from semquery.render import look_at, pinhole
from semquery.store import Run
from semquery.strips import Sight, answers_picture, in_rows, under
from semquery.types import Surface
from semquery.viewer import Loaded, load
from semquery.viewer.cameras import up_of
from semquery.viewer.colours import pca_basis
from semquery.viewer.explode import offsets
from semquery.views import visible_pixels

Picture = UInt8[np.ndarray, "h w 3"]
QUERIES = ("handle", "start button", "display above the dial", "all the table legs", "the topmost slat")
SEEN = 20  # pixels of a view that show a part, at least
FOV = 32.0  # degrees, of drawings of the surface
APART, APART_LEVEL = (0.0, 0.4, 0.8), 2  # how far, and down to which level of the tree


@dataclass(frozen=True)
class Shown:
    """The run, and what the figures have in common."""

    run: Run

    @cached_property
    def loaded(self) -> Loaded:
        return load(self.run)

    @cached_property
    def scene(self) -> Scene:
        return Scene.open(self.run, QueryConfig(top=3))

    @property
    def surface(self) -> Surface:
        return self.loaded.surface

    @cached_property
    def answer(self) -> Found:
        """What answers the query of the first picture. Raises ValueError where nothing does."""
        found = self.scene.query(QUERIES[0], top=1)
        if not found:
            raise ValueError(f"“{QUERIES[0]}” finds nothing in {self.run.path}; delete the folder {self.run.path.parent} to make its run anew.")
        return found[0]

    @cached_property
    def photo(self) -> Picture:
        return self.scene.photo()(self.view)

    @cached_property
    def view(self) -> str:
        """Of the views that show the answer, the one that shows the most parts."""
        names, pixels = visible_pixels(self.surface, self.loaded.tree)
        shows = pixels[:, list(self.answer.members)].max(1) >= SEEN
        return names[int(np.where(shows, (pixels >= SEEN).sum(1), -1).argmax())]

    def painted(self, colors: UInt8[np.ndarray, "n 3"]) -> Picture:
        """The view at the size of its photo, every pixel in the colour of its point."""
        point = self.surface.point_of_pixel[self.view]
        image = np.where((point >= 0)[..., None], colors[point], 255).astype(np.uint8)
        return resized(image, self.photo.shape[:2], smooth=False)

    def parts_at(self, level: int) -> Picture:
        """The view in the colours of the parts at a level."""
        tree = self.loaded.tree
        return self.painted(part_colors(tree.num_parts)[tree.level(level)][tree.part_of_point])


def method(shown: Shown, side: int = 232) -> Picture:
    """From a photo to an answer, step by step."""
    photo, features = shown.photo, shown.surface.features
    answer = Sight(shown.view, photo, shown.answer.mask(shown.view))
    steps = {
        "photos with poses": photo,
        "2D masks, view by view": overlay(photo, shown.run.masks(shown.view)),
        "ultrametric feature field": shown.painted(pca_basis(features).colors(features)),
        "part tree, names, codebook": shown.parts_at(2),
        f"query: “{QUERIES[0]}”": answer.lit(answer.whole, photo.shape[0]),
    }
    cells = [under(enlarged(image, side), words) for image, words in zip(trimmed(list(steps.values())), steps, strict=True)]
    return in_rows(with_arrows(cells), 10_000)


def levels(shown: Shown, side: int = 236) -> Picture:
    """The photo, and the parts at every level of the tree."""
    photo, *painted = trimmed([shown.photo, *(shown.parts_at(level) for level in range(1, shown.loaded.max_level + 1))])
    cells = [under(enlarged(photo, side), "photo")]
    cells += [under(enlarged(image, side, smooth=False), f"level {level}") for level, image in enumerate(painted, 1)]
    return in_rows(cells, 10_000)


def answers(shown: Shown, side: int = 236) -> Picture:
    """Queries and what answers them."""
    found = [(text, shown.scene.query(text, top=1)) for text in QUERIES]
    none = np.zeros(0, np.int64)
    return answers_picture(shown.surface, [(text, each[0].hit if each else None, each[0].point_ids if each else none) for text, each in found],
                           shown.scene.photo(), side)


def exploded(shown: Shown, size: tuple[int, int] = (380, 560)) -> Picture:
    """The scene in place, then taken apart step by step, from one camera on the side of the photo."""
    surface, cameras = shown.surface, shown.loaded.cameras
    moved = [surface.points + offsets(shown.loaded, APART_LEVEL, amount) for amount in APART]
    centre = (moved[-1].min(0) + moved[-1].max(0)).astype(np.float64) / 2
    radius = float(np.linalg.norm(moved[-1] - centre, axis=1).max())
    towards = cameras.T_world_cam[cameras.names.index(shown.view), :3, 3] - centre
    eye = centre + radius / np.sin(np.radians(FOV) / 2) * towards / np.linalg.norm(towards)
    T_world_cam = look_at(eye, centre, tuple(up_of(cameras).tolist()))
    pictures = [drawn(surface, points, T_world_cam, size) for points in moved]
    return in_rows(with_arrows([narrowed(picture) for picture in trimmed(pictures, np.minimum.reduce(pictures))]), 10_000)


def drawn(
    surface: Surface, points: Float[np.ndarray, "n 3"], T_world_cam: Float[np.ndarray, "4 4"], size: tuple[int, int]
) -> Picture:
    """The surface's points at other places, as discs in their own colours on white; twice as large and then shrunk."""
    intrinsics, radii = pinhole(FOV, size), disc_radii(surface.points, surface.voxel_size)
    twice = (2 * size[0], 2 * size[1])
    point = draw_discs(points, radii, T_world_cam, 2 * intrinsics, twice)
    image = np.where((point >= 0)[..., None], surface.colors[point], 255).astype(np.uint8)
    return resized(smoothed(image, point >= 0, 1.0), size)


def with_arrows(cells: Sequence[Picture]) -> list[Picture]:
    """The pictures with an arrow from each to the next."""
    from PIL import Image, ImageDraw

    gap = Image.new("RGB", (26, cells[0].shape[0]), "white")
    middle = (cells[0].shape[0] - 24) // 2
    ImageDraw.Draw(gap).polygon([(6, middle - 10), (6, middle + 10), (20, middle)], fill=(130, 130, 130))
    return [part for k, cell in enumerate(cells) for part in ([np.asarray(gap), cell] if k else [cell])]


def trimmed(images: Sequence[Picture], content: Picture | None = None, room: int = 8) -> list[Picture]:
    """Pictures of one size without the rows and columns around what is not white in `content`, by default the first; every one cut alike."""
    drawn_at = ((images[0] if content is None else content) < 250).any(-1)
    rows, columns = np.flatnonzero(drawn_at.any(1)), np.flatnonzero(drawn_at.any(0))
    top, left = max(0, rows[0] - room), max(0, columns[0] - room)
    return [image[top : rows[-1] + 1 + room, left : columns[-1] + 1 + room] for image in images]


def narrowed(image: Picture, room: int = 8) -> Picture:
    """Without the white columns at both sides."""
    columns = np.flatnonzero((image < 250).any((0, 2)))
    return image[:, max(0, columns[0] - room) : columns[-1] + 1 + room]
