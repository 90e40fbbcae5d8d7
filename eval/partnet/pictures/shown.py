"""Pictures of an object's nodes, rendered from its mesh.

The object is surveyed once from 24 viewpoints, small: how many pixels of each node every view shows, and where. By that a
node is shown in the view in which it and all that holds it are least hidden (of those that are about as good, the nearest to
the canonical one), but in its parent's view if that shows at least half of what any view shows of it: pictures from the root
down to a node then look from one side, each at a piece of the one before. A node that no view shows is drawn alone, with
everything else removed.

  outline     two pictures: the whole with the node outlined, and a close-up, outlined; the whole alone if that is as close
  fade_zoom   a close-up; all else faded
  black_crop  the node alone on black, filling the picture
  black       the whole view, black but for the node (the published method)

Notation
  p nodes, a atoms, v views, s width and height of the survey's views.
Conventions
  Windows and boxes as in `crops`: in widths of the whole view. A pixel shows the face that the viewer sees, which of two
  coincident faces is the one turned to him: if that is another node's, the other is hidden there.
"""

import threading
from functools import lru_cache
from typing import get_args

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64

from eval.partnet.config import PictureConfig, PictureStyle
from eval.partnet.pictures.crops import IN_WORDS, WHOLE, Drawing, Stage, averaged, marked, viewpoints, window_around
from eval.partnet.records import PartObject, triangle_areas
from semquery.frames import Frame, square_around
from semquery.portraits import ENOUGH
from semquery.views import png_bytes

SHARED = 0.5  # of what any view shows of a node: so much is enough to show it in its parent's view
KEPT_VIEWS, KEPT_PICTURES = 4, 512  # in memory; a view of 448² with 4 rays a pixel takes 6 MB
AROUND = 0.15  # in box widths, the room in which the exact box of a node is looked for
LEAST_BOX = 3.0  # pixels of the survey that are looked at for it at least


class Shown:
    """Pictures of one object; threads may share it."""

    marking: str
    """How the pictures of the configured style mark a node, in words, for prompts."""

    def __init__(self, thing: PartObject, config: PictureConfig = PictureConfig()) -> None:
        self.thing, self.config = thing, config
        self.marking = IN_WORDS[config.style]
        self.stage = Stage(thing.scene, thing.atom_of_face)
        self.poses, self.order = viewpoints(self.stage.vertices)
        self.seen, self.boxes = survey(self.stage, self.poses, thing.holds, config.survey)
        self.pixels: Int64[np.ndarray, " p"] = self.seen.max(0)
        self._scores = chain_scores(self.seen, thing.parents)
        self._chain = chain_views(self.seen, self._scores, thing.parents, self.order)
        self._whole = lru_cache(KEPT_VIEWS)(lambda view: self._draw(view, WHOLE))
        self._painted, self._lock = lru_cache(KEPT_PICTURES)(self._paint), threading.RLock()

    # ------------------------------------------------------------------ which views

    def best_views(self, node: int, count: int = 1, chain: bool = True) -> list[int]:
        """Up to `count` views that show the node, best first; with `chain`, the one it shares with its parent before the others."""
        ranked = ranking(self._scores[:, node], self.order)
        shared = [self._chain[node]] if chain and self._chain[node] >= 0 else []
        return list(dict.fromkeys(shared + ranked))[:count]

    def is_isolated(self, node: int) -> bool:
        """Whether no view of the survey shows the node, so that it is drawn alone."""
        return bool(self.pixels[node] == 0)

    # ------------------------------------------------------------------ pictures

    def pictures(self, node: int, style: PictureStyle | None = None, count: int = 1) -> tuple[bytes, ...]:
        """The node's pictures as PNG, of up to `count` views, the same bytes at every call; none for a node without area.

        Raises ValueError for a node, style or count that there is not.
        """
        style = style or self.config.style
        if not 0 <= node < len(self.thing.parents) or style not in get_args(PictureStyle) or count < 1:
            raise ValueError(
                f"Pictures of {self.thing.id}: expected a node of 0..{len(self.thing.parents) - 1}, one of the styles "
                f"{', '.join(get_args(PictureStyle))} and a count ≥ 1; got {node}, {style} and {count}.")
        with self._lock:  # a view is rendered once, not by every thread that waits for it
            return self._painted(int(node), style, count)

    def crop(self, node: int, count: int = 1) -> tuple[bytes, ...]:
        """The node alone on black, filling the picture."""
        return self.pictures(node, "black_crop", count)

    def overview(self, side: int = 256) -> tuple[bytes, Int32[np.ndarray, "h w"]]:
        """The canonical view on white as PNG, and the atom behind the centre of each pixel (-1 = none)."""
        pose, supersample = self.poses[self.order[0]], self.config.supersample
        with self._lock:
            image = averaged(self.stage.draw(pose, WHOLE, side, supersample).colors, supersample)
            return png_bytes(image), self.stage.atoms(pose, WHOLE, side)

    def _paint(self, node: int, style: PictureStyle, count: int) -> tuple[bytes, ...]:
        views = self.best_views(node, count)
        if style == "black":
            images = [self._marked(node, self._whole(view), style) for view in views]
        else:
            images = self._close_ups(node, style, views)
        return tuple(png_bytes(image) for image in images or self._alone(node, style) if image is not None)

    def _close_ups(self, node: int, style: PictureStyle, views: list[int]) -> list[np.ndarray | None]:
        """In style outline the whole from the first view, then a close-up of each view that is closer than that."""
        windows = [window_around(self._box(node, view), style, self.config.side) for view in views]
        whole = [self._marked(node, self._whole(view), style) for view in views[:1] if style == "outline"]
        closer = [pair for pair in zip(views, windows, strict=True) if not whole or pair[1].width < ENOUGH]
        if whole and node == len(self.thing.parents) - 1:
            closer = []
        images = [self._marked(node, self._draw(view, window), style) for view, window in closer]
        return [image for image in whole + images if image is not None]

    def _alone(self, node: int, style: PictureStyle) -> list[np.ndarray | None]:
        """The node without anything else, from the canonical view unless it shows less than half of what another does."""
        faces = np.flatnonzero(self.thing.holds[node][self.thing.atom_of_face])
        if not triangle_areas(self.thing.scene)[faces].any():
            return []
        stage = Stage(self.thing.scene, self.thing.atom_of_face, faces)
        area = stage.shown_area(self.poses)
        view = self.order[0] if area[self.order[0]] >= SHARED * area.max() else int(area.argmax())
        pose = self.poses[view]
        window = WHOLE if style == "black" else window_around(stage.box(pose), style, self.config.side)
        drawing = stage.draw(pose, window, self.config.side, self.config.supersample)
        return [self._marked(node, drawing, style)]

    def _draw(self, view: int, window: Frame) -> Drawing:
        return self.stage.draw(self.poses[view], window, self.config.side, self.config.supersample)

    def _marked(self, node: int, drawing: Drawing, style: PictureStyle) -> np.ndarray | None:
        """The node marked in a drawing; None where the drawing does not show it."""
        mask = self._mask(node, drawing.atom)
        return marked(drawing, mask, style) if mask.any() else None

    def _mask(self, node: int, atom: Int32[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
        return np.append(self.thing.holds[node], False)[atom]  # atom -1 takes the last

    def _box(self, node: int, view: int) -> Frame:
        """Where a view shows a node: the survey's box, looked at more closely, for it is only so exact as its pixels."""
        coarse = Frame(*self.boxes[view, node].tolist())
        around = square_around(coarse, AROUND, LEAST_BOX / self.config.survey)
        rows, columns = np.nonzero(self._mask(node, self.stage.atoms(self.poses[view], around, self.config.survey)))
        if not len(rows):
            return coarse
        pixel = around.width / self.config.survey
        top, left = rows.min() * pixel, columns.min() * pixel
        return Frame(float(around.top + top), float(around.left + left), float((rows.max() + 1) * pixel - top),
                     float((columns.max() + 1) * pixel - left))


# ----------------------------------------------------------------------------------------------- the survey


def survey(
    stage: Stage, poses: Float64[np.ndarray, "v 4 4"], holds: Bool[np.ndarray, "p a"], size: int
) -> tuple[Int64[np.ndarray, "v p"], Float64[np.ndarray, "v p 4"]]:
    """(pixels, boxes): how many of size² pixels of each view show each node, and where: top, left, height, width in widths of the
    view, NaN where it shows none. One cast a view."""
    views = [_surveyed(stage.atoms(pose, WHOLE, size), holds) for pose in poses]
    return np.stack([pixels for pixels, _ in views]), np.stack([boxes for _, boxes in views])


def _surveyed(atom: Int32[np.ndarray, "s s"], holds: Bool[np.ndarray, "p a"]) -> tuple[Int64[np.ndarray, " p"], Float64[np.ndarray, "p 4"]]:
    """Pixels and boxes of all nodes in one view, by way of those of its atoms."""
    num_atoms, size = holds.shape[1], len(atom)
    rows, columns = np.nonzero(atom >= 0)
    count = np.bincount(atom[rows, columns], minlength=num_atoms)
    low, high = np.full((2, num_atoms), float(size)), np.full((2, num_atoms), 0.0)
    for axis, at in enumerate((rows, columns)):
        np.minimum.at(low[axis], atom[rows, columns], at)
        np.maximum.at(high[axis], atom[rows, columns], at + 1)
    start = np.where(holds, low[:, None], size).min(2).T
    end = np.where(holds, high[:, None], 0).max(2).T
    pixels = (holds @ count).astype(np.int64)
    return pixels, np.where(pixels[:, None] > 0, np.concatenate([start, end - start], 1) / size, np.nan)


def visible_shares(seen: Int64[np.ndarray, "v p"]) -> Float64[np.ndarray, "v p"]:
    """Pixels of each node in each view, as a share of the most that any view shows of it; 0 where none does."""
    return seen / np.maximum(seen.max(0), 1)


def chain_scores(seen: Int64[np.ndarray, "v p"], parents: Int32[np.ndarray, " p"]) -> Float64[np.ndarray, "v p"]:
    """The least visible share of a node and of what holds it up to below the root; -1 where the node is not seen.

    Nothing is below the root: all views that show it are worth the same to it.
    """
    scores = visible_shares(seen)
    root = len(parents) - 1
    scores[:, root] = 1.0
    for node in range(root - 1, -1, -1):
        scores[:, node] = np.minimum(scores[:, node], scores[:, parents[node]])
    return np.where(seen > 0, scores, -1.0)


def ranking(scores: Float64[np.ndarray, " v"], order: list[int]) -> list[int]:
    """The views that show a node, best first, equally good ones in `order`: those with the same tenths."""
    tenths = np.round(10 * scores)
    return [view for view in sorted(order, key=lambda view: -tenths[view]) if scores[view] >= 0]


def chain_views(
    seen: Int64[np.ndarray, "v p"], scores: Float64[np.ndarray, "v p"], parents: Int32[np.ndarray, " p"], order: list[int]
) -> Int32[np.ndarray, " p"]:
    """The view of each node: its parent's where that shows enough of it, else its own best; -1 where none shows it."""
    views, shares = np.full(len(parents), -1, np.int32), visible_shares(seen)
    for node in range(len(parents) - 1, -1, -1):
        above = views[parents[node]]
        if above >= 0 and shares[above, node] >= SHARED:
            views[node] = above
        else:
            views[node] = next(iter(ranking(scores[:, node], order)), -1)
    return views
