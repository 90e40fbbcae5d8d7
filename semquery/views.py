"""Where a part is seen, and the pictures of the levels.

Notation
  n points, p parts; a view's `point_of_pixel` [h, w] names the surface point each pixel shows, -1 = none.
A part's mask in a view is a look-up: no projection, no visibility test.
"""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int32, UInt8

from semquery.export import part_colors
from semquery.masks import on_white, shrink
from semquery.pictures import captioned, enlarged, grid, load_photo, png_bytes
from semquery.types import Cameras, PartTree, Surface


def part_mask(surface: Surface, inside: Bool[np.ndarray, " n"], view: str) -> Bool[np.ndarray, "h w"]:
    """The pixels of a view that show the points marked in `inside`."""
    point = surface.point_of_pixel[view]
    return (point >= 0) & inside[point]


def visible_pixels(surface: Surface, parts: PartTree) -> tuple[list[str], Int32[np.ndarray, "v p"]]:
    """View names, and how many pixels of each part (descendants included) each view shows."""
    names = list(surface.point_of_pixel)
    own = np.zeros((len(names), parts.num_parts), np.int64)
    for row, name in zip(own, names, strict=True):
        point = surface.point_of_pixel[name]
        row += np.bincount(parts.part_of_point[point[point >= 0]], minlength=parts.num_parts)
    return names, (own @ parts.holds.T.astype(np.int64)).astype(np.int32)


def best_views(surface: Surface, inside: Bool[np.ndarray, " n"], count: int = 1) -> list[str]:
    """The views that show the points marked in `inside` best: many pixels, and not cut off by the picture's border."""

    def worth(view: str) -> float:
        mask = part_mask(surface, inside, view)
        border = mask[0].sum() + mask[-1].sum() + mask[:, 0].sum() + mask[:, -1].sum()
        return float(mask.sum()) * (0.25 if border > 0.05 * np.sqrt(mask.sum()) + 2 else 1.0)

    worths = {view: worth(view) for view in surface.point_of_pixel}
    return sorted((view for view in worths if worths[view] > 0), key=lambda view: -worths[view])[:count]


def half_size(png: bytes) -> bytes:
    """The picture at half its width and height: a quarter of what it costs a model to look at it."""
    from PIL import Image

    with Image.open(io.BytesIO(png)) as picture:
        return png_bytes(shrink(np.asarray(picture.convert("RGB")), max(1, max(picture.size) // 2)))


def repainted(surface: Surface, view: str) -> UInt8[np.ndarray, "h w 3"]:
    """The view painted from the surface's own colours, for when the photo is gone."""
    point = surface.point_of_pixel[view]
    return np.where((point >= 0)[..., None], surface.colors[point], 255).astype(np.uint8)


def photo_of(cameras: Cameras, surface: Surface) -> Callable[[str], UInt8[np.ndarray, "_ _ 3"]]:
    """view → its photo on white; where the photo is gone, the view painted from the surface."""
    paths = dict(zip(cameras.names, cameras.images, strict=True))

    def photo(view: str) -> UInt8[np.ndarray, "_ _ 3"]:
        path = Path(paths[view])
        return on_white(load_photo(path)) if path.exists() else repainted(surface, view)

    return photo


def levels_picture(
    surface: Surface, parts: PartTree, photo: Callable[[str], UInt8[np.ndarray, "_ _ 3"]], side: int = 300, views: int = 2
) -> UInt8[np.ndarray, "h w 3"]:
    """Rows of photo and part tree, one column per level: the parts at depth 1, 2, …"""
    colors, cells = part_colors(parts.num_parts), []
    names, pixels = visible_pixels(surface, parts)
    most_parts = np.argsort(-(pixels >= 20).sum(1), kind="stable")[:views]
    for view in (names[i] for i in most_parts):
        point = surface.point_of_pixel[view]
        cells.append(captioned(enlarged(photo(view), side), view))
        for depth in range(1, int(parts.depth.max()) + 1):
            part = parts.level(depth)[parts.part_of_point[point]]
            shown = np.where((point >= 0)[..., None], colors[part], 255).astype(np.uint8)
            cells.append(captioned(enlarged(shown, side, smooth=False), f"level {depth}"))
    return grid(cells, columns=1 + int(parts.depth.max()))
