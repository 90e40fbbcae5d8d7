"""The pictures that a question shows: the scene from a few sides, and the parts that matter, outlined and numbered.

Anchors are outlined in blue, candidates in red, each with its id beside it. Close-ups are the labeller's, drawn from a
tree of the parts in question and what they lie in alone: their cost does not grow with the scene.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8

from semquery.ask.record import Subject
from semquery.pictures import OUTLINE, enlarged, outlined, resized
from semquery.portraits import PortraitConfig, portraits
from semquery.types import PartTree
from semquery.views import png_bytes

ANCHOR, CANDIDATE = (40, 110, 255), OUTLINE  # prompts call them blue and red
LEAST_PIXELS = 20  # of the grid, that a view shows of a part to count as showing it

Marked = tuple[Sequence[int], tuple[int, int, int]]  # parts, and the colour they are outlined in


def overviews(subject: Subject, listed: Iterable[int], most: int, side: int) -> tuple[bytes, ...]:
    """The scene in the views that together show most of the listed parts; what lies directly in the scene is numbered."""
    parts = subject.parts
    direct = [part for part in range(parts.root) if parts.parents[part] == parts.root]
    return tuple(png_bytes(drawn(subject, view, [(direct, ANCHOR)], side, width=0)) for view in showing(subject, sorted(listed), most))


def marked(subject: Subject, anchors: Sequence[int], candidates: Sequence[int], most: int, side: int) -> tuple[bytes, ...]:
    """The views that together show most of the parts in question, these outlined and numbered."""
    views = showing(subject, [*candidates, *anchors], most)
    return tuple(png_bytes(drawn(subject, view, [(anchors, ANCHOR), (candidates, CANDIDATE)], side)) for view in views)


def close_ups(subject: Subject, which: Sequence[int]) -> dict[int, tuple[bytes, ...]]:
    """part → its pictures, as the labeller shows it; none for a part without surface."""
    tree, kept = pruned(subject.parts, which)
    number = {int(part): k for k, part in enumerate(kept)}
    draw = portraits(subject.surface, tree, subject.cameras, subject.photo, PortraitConfig(), subject.supporting)
    return {part: draw(number[part]) for part in which}


def pruned(parts: PartTree, which: Iterable[int]) -> tuple[PartTree, Int64[np.ndarray, " k"]]:
    """The tree of some parts and all that they lie in, and the old number of each; points of others belong to what holds them."""
    kept = {parts.root}
    for part in which:
        kept.update(parts.path(part))
    old = np.array(sorted(kept))
    new = np.full(parts.num_parts, -1, np.int32)
    new[old] = np.arange(len(old))
    for part in range(parts.num_parts - 2, -1, -1):  # parents come after their children
        new[part] = new[part] if part in kept else new[parts.parents[part]]
    is_of_kept = np.isin(parts.support[:, 0], old)
    support = parts.support[is_of_kept].copy()
    support[:, 0] = new[support[:, 0]]
    tree = PartTree(new[parts.parents[old]], parts.altitude[old], new[parts.part_of_point], support, parts.support_iou[is_of_kept])
    return tree, old


def showing(subject: Subject, which: Sequence[int], most: int) -> list[str]:
    """The fewest views that show what can be seen of some parts, at most so many: each adds the most parts, then the best seen."""
    views, rows = sorted(subject.laid.sizes), np.array(which, np.int64)
    if not views or not len(rows):
        return []
    pixels, worth = (np.stack(column) for column in zip(*(_seen(subject, view, rows) for view in views), strict=True))
    chosen, unseen = [], np.ones(len(rows), bool)
    while len(chosen) < most and unseen.any():
        gain = [(int((pixels[k, unseen] >= LEAST_PIXELS).sum()), float(worth[k, unseen].sum()), -k) for k in range(len(views))]
        count, value, k = max(gain)
        if not value or (chosen and not count):
            break
        chosen.append(views[-k])
        unseen &= pixels[-k] < LEAST_PIXELS
    return chosen


def _seen(subject: Subject, view: str, rows: Int64[np.ndarray, " r"]) -> tuple[Int64[np.ndarray, " r"], Float64[np.ndarray, " r"]]:
    """Pixels of each part in a view, and what they are worth: their root, a quarter of it where the picture's border cuts the part off."""
    laid, point = subject.laid, subject.surface.point_of_pixel[view]
    pixels = laid.num_pixels(view)[rows]
    border = np.concatenate([point[0], point[-1], point[1:-1, 0], point[1:-1, -1]])
    own = subject.parts.part_of_point[border[border >= 0]]
    before = np.concatenate([[0], np.cumsum(np.bincount(laid.first[own], minlength=len(laid.first)))])
    is_cut = before[laid.last[rows]] - before[laid.first[rows]] > 0.05 * np.sqrt(pixels) + 2
    return pixels, np.sqrt(pixels) * np.where(is_cut, 0.25, 1.0)


def drawn(subject: Subject, view: str, marks: Sequence[Marked], side: int, width: int = 2) -> UInt8[np.ndarray, "h w 3"]:
    """A view's photo with parts outlined (unless `width` is 0) and numbered."""
    image, tags = enlarged(subject.photo(view), side), []
    for parts, color in marks:
        for part in parts:
            mask = resized(subject.laid.mask(view, part), image.shape[:2])
            if mask.any():
                image = outlined(image, mask, width, color=color) if width else image
                tags.append((part, inmost(mask), color))
    return _numbered(image, tags)


def inmost(mask: Bool[np.ndarray, "h w"]) -> tuple[int, int]:
    """The pixel of a mask that is farthest from its border."""
    from scipy.ndimage import distance_transform_edt

    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, left = int(rows[0]), int(columns[0])
    depth = distance_transform_edt(np.pad(mask[top : rows[-1] + 1, left : columns[-1] + 1], 1))[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return top + int(row), left + int(column)


def _numbered(image: UInt8[np.ndarray, "h w 3"], tags: Sequence[tuple[int, tuple[int, int], tuple[int, int, int]]]) -> UInt8[np.ndarray, "h w 3"]:
    """The picture with ids written at pixels, white on a patch of their colour."""
    from PIL import Image, ImageDraw, ImageFont

    picture, font = Image.fromarray(image), ImageFont.load_default(13)
    draw = ImageDraw.Draw(picture)
    for part, (row, column), color in tags:
        left, top, right, bottom = draw.textbbox((0, 0), str(part), font=font)
        width, height = right - left + 4, bottom - top + 4
        x, y = min(max(0, column - width // 2), max(0, image.shape[1] - width)), min(max(0, row - height // 2), max(0, image.shape[0] - height))
        draw.rectangle((x, y, x + width, y + height), fill=color)
        draw.text((x + 2 - left, y + 2 - top), str(part), fill="white", font=font)
    return np.asarray(picture)
