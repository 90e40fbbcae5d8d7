"""How well each view shows each part: how large, how freely, how frontally, how completely.

Notation
  n points, p parts, v views, h w height and width of a view's pixel grid. What is said of a part holds for the points
  of its descendants too. A box is (top, left, bottom, right) in pixels of the grid, the latter two exclusive.

Only look-ups: a pixel names the point it shows, so nothing is projected and no visibility is tested. The share of a part
that a view shows is counted in coarse cells of space: counted in points, it would be the higher the more pixels there
are, and a close-up of half a table would show more of it than a photo of the whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64

from semquery.types import Cameras, PartTree, Surface

CELLS = 8  # along the longest side of a part
STRAY = 0.01  # share of a part's pixels that may lie outside its box on each side: some pixels show wrong points
CUT_OFF = 0.25  # worth of a view in which the part touches one side of the border, against one in which it lies free; once per side
BARE = 0.25  # worth of a view that shows none of the part's own parts, against one that shows them all: a thing's back says little
EDGE_ON = 0.05  # least worth of a view by its frontality: a part seen edge on is still seen


@dataclass(frozen=True)
class Sightings:
    """What the views show of the parts."""

    views: tuple[str, ...]
    sizes: Int64[np.ndarray, "v 2"]  # height and width of each view's pixel grid
    pixels: Int64[np.ndarray, "v p"]
    share: Float64[np.ndarray, "v p"]  # of the part's cells, 0..1
    frontality: Float64[np.ndarray, "v p"]  # mean |cosine| between line of sight and normal, over pixels; 0 where there are none
    box: Int32[np.ndarray, "v p 4"]  # around all of its pixels but the stray ones; 0 where there are none


def sightings(surface: Surface, parts: PartTree, cameras: Cameras) -> Sightings:
    """Look at every part in every view. Views without a pose count as frontal."""
    views = tuple(surface.point_of_pixel)
    eyes = dict(zip(cameras.names, cameras.T_world_cam[:, :3, 3], strict=True))
    cells = [_cells(surface, parts, part) for part in range(parts.num_parts)]
    rows = [_seen(surface, parts, cells, surface.point_of_pixel[view], eyes.get(view)) for view in views]
    p = parts.num_parts
    columns = [np.stack(column) for column in zip(*rows, strict=True)] if rows else [np.zeros((0, p))] * 3 + [np.zeros((0, p, 4))]
    pixels, share, frontality, box = columns
    sizes = np.array([surface.point_of_pixel[view].shape for view in views], np.int64).reshape(-1, 2)
    return Sightings(views, sizes, pixels.astype(np.int64), share, frontality, box.astype(np.int32))


def _seen(
    surface: Surface, parts: PartTree, cells: list[tuple[np.ndarray, np.ndarray]],
    point_of_pixel: Int32[np.ndarray, "h w"], eye: Float64[np.ndarray, " 3"] | None,
) -> tuple[Float64[np.ndarray, " p"], Float64[np.ndarray, " p"], Float64[np.ndarray, " p"], Int64[np.ndarray, "p 4"]]:
    """Pixels, share, frontality and box of every part in one view."""
    holds, p = parts.holds.astype(np.float64), parts.num_parts
    y, x = np.nonzero(point_of_pixel >= 0)
    point = point_of_pixel[y, x]
    own = parts.part_of_point[point]
    pixels = holds @ np.bincount(own, minlength=p)
    shown = np.bincount(point, minlength=len(surface.points)) > 0
    share = np.array([_share(cell, shown[points]) for points, cell in cells])
    facing = holds @ np.bincount(own, _cosines(surface, point, eye), minlength=p)
    top, bottom = _span(holds, own, y, point_of_pixel.shape[0])
    left, right = _span(holds, own, x, point_of_pixel.shape[1])
    return pixels, share, facing / np.maximum(pixels, 1), np.stack([top, left, bottom, right], 1)


def _cells(surface: Surface, parts: PartTree, part: int) -> tuple[Int64[np.ndarray, " k"], Int64[np.ndarray, " k"]]:
    """The part's points, and the number of the cell that each lies in: cubes, the longest side of the part being CELLS of them."""
    points = np.flatnonzero(parts.points_of(part))
    if not len(points):
        return points, points
    at = surface.points[points].astype(np.float64)
    at -= at.min(0)
    cube = np.minimum(at * (CELLS / max(at.max(), 1e-12)), CELLS - 1).astype(np.int64)
    return points, np.unique(cube @ (CELLS**2, CELLS, 1), return_inverse=True)[1].reshape(-1).astype(np.int64)


def _share(cell: Int64[np.ndarray, " k"], shown: Bool[np.ndarray, " k"]) -> float:
    """Share of the cells in which some point is shown."""
    return float((np.bincount(cell[shown]) > 0).sum() / (cell.max() + 1)) if len(cell) else 0.0


def _cosines(surface: Surface, point: Int32[np.ndarray, " k"], eye: Float64[np.ndarray, " 3"] | None) -> Float64[np.ndarray, " k"]:
    """|cosine| between the normal of each point and the line of sight to it."""
    if eye is None:
        return np.ones(len(point))
    sight = surface.points[point] - eye
    length = np.maximum(np.linalg.norm(sight, axis=1), 1e-12)
    return np.abs((sight * surface.normals[point]).sum(1) / length)


def _span(
    holds: Float64[np.ndarray, "p p"], own: Int32[np.ndarray, " k"], at: Int64[np.ndarray, " k"], size: int
) -> tuple[Int64[np.ndarray, " p"], Int64[np.ndarray, " p"]]:
    """First and one past the last row (or column) of each part, `STRAY` of its pixels left out at either end."""
    counts = holds @ np.bincount(own.astype(np.int64) * size + at, minlength=len(holds) * size).reshape(len(holds), size)
    before, total = counts.cumsum(1), counts.sum(1, keepdims=True)
    out = np.floor(STRAY * total)
    first, stop = (before <= out).sum(1), (before < total - out).sum(1) + 1
    return np.where(total[:, 0] > 0, first, 0), np.where(total[:, 0] > 0, stop, 0)


def worths(seen: Sightings, parts: PartTree, supporting: Sequence[str], pad: float) -> Float64[np.ndarray, "v p"]:
    """How well each view shows each part: pixels × margin × frontality × share visible × own parts visible; 0 = not at all.

    The margin is the product over the four sides: 1 where `pad` of the part's width is free between it and the border, and
    CUT_OFF where it touches it. What fills the frame is worth the least: the eye takes it for the ground. A view with a mask that is evidence for the part shows it whole and by itself: it is worth up to twice as much, by the
    mask's IoU. `supporting`: the names that the tree's view numbers count.
    """
    top, left, bottom, right = np.moveaxis(seen.box.astype(np.float64), -1, 0)
    height, width = seen.sizes.T[..., None]
    gaps = np.stack([top, left, height - bottom, width - right])
    wanted = pad * np.maximum(np.maximum(bottom - top, right - left), 1)
    margin = (CUT_OFF + (1 - CUT_OFF) * np.clip(gaps / np.maximum(wanted, 1e-9), 0, 1)).prod(0)
    revealed = BARE + (1 - BARE) * _share_of_children(seen, parts)
    return seen.pixels * margin * np.maximum(seen.frontality, EDGE_ON) * seen.share * revealed * (1 + _support(seen, parts, supporting))


def _share_of_children(seen: Sightings, parts: PartTree) -> Float64[np.ndarray, "v p"]:
    """The mean share that a view shows of a part's own parts; 1 for parts without."""
    up = parts.parents[:-1]
    count = np.bincount(up, minlength=parts.num_parts)
    total = np.zeros(seen.share.shape)
    np.add.at(total, (slice(None), up), seen.share[:, :-1])
    return np.where(count > 0, total / np.maximum(count, 1), 1.0)


def _support(seen: Sightings, parts: PartTree, supporting: Sequence[str]) -> Float64[np.ndarray, "v p"]:
    """The best IoU of a mask that is evidence for the part, in each view; 0 without one."""
    found, row = np.zeros(seen.pixels.shape), {view: k for k, view in enumerate(seen.views)}
    for (part, view, _), iou in zip(parts.support, parts.support_iou, strict=True):
        k = row.get(supporting[view]) if view < len(supporting) else None
        if k is not None:
            found[k, part] = max(found[k, part], float(iou))
    return found


def ranked(worth: Float64[np.ndarray, " v"]) -> list[int]:
    """Rows of the views that show something, the best first."""
    order = np.argsort(-worth, kind="stable")
    return [int(k) for k in order if worth[k] > 0]
