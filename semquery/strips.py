"""The pictures that an answer ends with: where it is in the scene, what it looks like, and what else was found.

Of the best answer a strip shows its place (the view that shows most of the scene, with a frame around a small part), the view
that shows it best, and a close-up; of each further answer the view that shows that best. What is meant keeps its colours and is
outlined, all else is pale and grey: so it stands out whatever its colour.

Notation
  n points of the surface; h w size of a picture. A view's `point_of_pixel` names the point that each pixel shows, -1 = none.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Int, UInt8

from semquery.frames import Frame, cut_out, cut_out_mask, meeting, moved_inside, outlined, square_around, without_specks
from semquery.types import Hit, Surface
from semquery.views import best_views, part_mask

Photo = Callable[[str], UInt8[np.ndarray, "_ _ 3"]]

CONTRAST, COLOUR, PALE = 0.45, 0.4, 228  # of what is not meant: what is left of its contrast and of its colour, the grey it is mixed with
PLENTY = 12  # pixels of a view's grid: with fewer of a part a view tells its place less well
SMALL = 0.2  # of a picture's longer side: a part below that gets a frame around it
ENOUGH = 0.7  # of the picture's longer side: a close-up that shows as much is left out
WIDEST = 1.8  # width over height of a picture; what is wider is shown around the part alone
GAP = 8  # pixels between pictures
LONGEST = 160  # letters of a text; names come from models


@dataclass(frozen=True)
class Sight:
    """A part in one view: the photo, and which pixels of the view's grid show it."""

    view: str
    photo: UInt8[np.ndarray, "h w 3"]
    mask: Bool[np.ndarray, "a b"]

    @property
    def whole(self) -> Frame:
        """The photo, or as much of it around the part as is not too wide or high to be shown beside others."""
        height, width = (float(n) for n in self.photo.shape[:2])
        most = WIDEST * min(height, width)
        around = Frame(self.box.top + self.box.height / 2 - min(height, most) / 2, self.box.left + self.box.width / 2 - min(width, most) / 2,
                       min(height, most), min(width, most))
        return moved_inside(around, Frame(0.0, 0.0, height, width))

    @property
    def box(self) -> Frame:
        """The part's box on the photo."""
        rows, columns = np.flatnonzero(self.mask.any(1)), np.flatnonzero(self.mask.any(0))
        grid = Frame(float(rows[0]), float(columns[0]), float(np.ptp(rows) + 1), float(np.ptp(columns) + 1))
        return grid.scaled(*self.scale)

    @property
    def scale(self) -> tuple[float, float]:
        """Photo pixels per pixel of the grid, along rows and columns."""
        return self.photo.shape[0] / self.mask.shape[0], self.photo.shape[1] / self.mask.shape[1]

    @property
    def close(self) -> Frame:
        """A square around the part, within the photo where that is large enough."""
        return moved_inside(square_around(self.box, 0.3, 12.0), Frame(0.0, 0.0, *(float(n) for n in self.photo.shape[:2])))

    def lit(self, frame: Frame, height: int) -> UInt8[np.ndarray, "h w 3"]:
        """What a frame shows of the photo, `height` pixels high: the part in its colours and outlined, all else pale."""
        image = cut_out(self.photo, frame, max(1, round(height * frame.longer / frame.height)))
        rows, columns = self.scale
        mask = without_specks(cut_out_mask(self.mask, frame.scaled(1 / rows, 1 / columns), (image.shape[0], image.shape[1])))
        return outlined(faded(image, mask), mask)


def faded(image: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """What is marked as it is, all else pale and nearly without colour (luma of ITU-R BT.601)."""
    grey = (image @ np.array([0.299, 0.587, 0.114]))[..., None]
    pale = CONTRAST * (COLOUR * image + (1 - COLOUR) * grey) + (1 - CONTRAST) * PALE
    return np.where(mask[..., None], image, pale.round()).astype(np.uint8)


def place_view(surface: Surface, inside: Bool[np.ndarray, " n"]) -> str | None:
    """The view that tells best where the marked points are: it sees much of the scene, and enough of them; None where no view shows any.

    How much of the scene a view sees is told by the spread of the points it shows.
    """

    def worth(view: str) -> float:
        return _spread(surface, view) * min(1.0, part_mask(surface, inside, view).sum() / PLENTY) ** 0.5

    worths = {view: worth(view) for view in surface.point_of_pixel}
    return max(worths, key=lambda view: worths[view]) if any(worths.values()) else None


def _spread(surface: Surface, view: str) -> float:
    """Summed standard deviations of the points that a view shows; an even sample of some thousand pixels tells it."""
    point = surface.point_of_pixel[view].reshape(-1)
    shown = point[:: 1 + len(point) // 5000]
    return float(surface.points[shown[shown >= 0]].std(0).sum()) if (shown >= 0).any() else 0.0


def sights_of(surface: Surface, points: Int[np.ndarray, " k"], photo: Photo, count: int = 2) -> list[Sight]:
    """Where some points are, then the views that show them best, each view once; at most `count`. Empty where no view shows them."""
    inside = np.zeros(len(surface.points), bool)
    inside[points] = True
    views = dict.fromkeys([view for view in [place_view(surface, inside)] if view] + best_views(surface, inside, count))
    return [Sight(view, photo(view), part_mask(surface, inside, view)) for view in list(views)[:count]]


# ------------------------------------------------------------------------------------------ pictures of one answer


def place_picture(sight: Sight, height: int) -> UInt8[np.ndarray, "h w 3"]:
    """A whole view, with a frame around a small part."""
    frame, image = sight.whole, sight.lit(sight.whole, height)
    if sight.box.longer >= SMALL * frame.longer:
        return image
    around = meeting(square_around(sight.box, 0.5, SMALL * frame.longer), frame)
    scale = image.shape[0] / frame.height
    return framed(image, Frame((around.top - frame.top) * scale, (around.left - frame.left) * scale, around.height * scale, around.width * scale))


def framed(image: UInt8[np.ndarray, "h w 3"], frame: Frame) -> UInt8[np.ndarray, "h w 3"]:
    """With a thin dark rectangle."""
    from PIL import Image, ImageDraw

    picture = Image.fromarray(image)
    right, bottom = (min(start + length, size) - 1 for start, length, size in
                     ((frame.left, frame.width, image.shape[1]), (frame.top, frame.height, image.shape[0])))
    ImageDraw.Draw(picture).rectangle((max(0, frame.left), max(0, frame.top), right, bottom), outline=(30, 30, 30), width=2)
    return np.asarray(picture)


def pictures_of(sights: Sequence[Sight], height: int) -> list[UInt8[np.ndarray, "_ _ 3"]]:
    """Its place, the view that shows it best, and a close-up where that is closer."""
    best = sights[-1]
    drawn = [place_picture(sights[0], height)] + [each.lit(each.whole, height) for each in sights[1:]]
    return drawn + ([best.lit(best.close, height)] if best.close.longer < ENOUGH * best.whole.longer else [])


def answer_picture(
    surface: Surface, hits: Sequence[tuple[Hit, Int[np.ndarray, " _"]]], photo: Photo, text: str, height: int = 300, width: int = 1200
) -> UInt8[np.ndarray, "h w 3"] | None:
    """The query and its best answer in words, the answer's pictures, then one of each further answer; None where no view shows any.

    Each hit comes with the numbers of its points, those of all its members together.
    """
    kept = lru_cache(8)(photo)
    shown = [(rank, hit, sights_of(surface, points, kept, 2 if rank == 1 else 1)) for rank, (hit, points) in enumerate(hits, 1)]
    cells = [captioned_cells(rank, hit, sights, height) for rank, hit, sights in shown if sights]
    if not cells:
        return None
    sheet = in_rows([cell for each in cells for cell in each], width)
    best = hits[0][0]
    return np.concatenate([written([(f"“{text[:LONGEST]}”", 20, "black"), (f"{' / '.join(best.path)[-LONGEST:]}: {told(best)}", 15, (70, 70, 70))], sheet.shape[1]), sheet])


def captioned_cells(rank: int, hit: Hit, sights: Sequence[Sight], height: int) -> list[UInt8[np.ndarray, "_ _ 3"]]:
    """The pictures of one answer, each with a line under it."""
    drawn = pictures_of(sights, height) if rank == 1 else [place_picture(sights[0], height)]
    words = [sight.view for sight in sights] + ["close-up"] if rank == 1 else [f"{rank}. {' / '.join(hit.path[-2:])[-LONGEST:]}: {told(hit)} ({sights[0].view})"]
    return [under(image, line) for image, line in zip(drawn, words, strict=False)]


def called(hit: Hit) -> str:
    """What an answer is called; how many they are, where several answer together."""
    return f"{len(hit.members)} parts" if len(hit.members) > 1 else hit.path[-1]


def told(hit: Hit) -> str:
    """How likely an answer is, and of how many parts it is made."""
    several = f", {len(hit.members)} parts" if len(hit.members) > 1 else ""
    return f"{100 * hit.probability:.0f} % likely{several}"


# ------------------------------------------------------------------------------------------ several questions


def answers_picture(
    surface: Surface, answers: Sequence[tuple[str, Hit | None, Int[np.ndarray, " _"]]], photo: Photo, side: int = 280
) -> UInt8[np.ndarray, "h w 3"]:
    """A column for each question: its words, where the answer is, its close-up, and what it is called; or that it is not here."""
    kept = lru_cache(8)(photo)
    columns = [_column(text, hit, sights_of(surface, points, kept) if hit else [], side) for text, hit, points in answers]
    return in_rows(columns, len(columns) * (side + GAP))


def _column(text: str, hit: Hit | None, sights: Sequence[Sight], side: int) -> UInt8[np.ndarray, "h w 3"]:
    white = np.full((side, side, 3), 255, np.uint8)
    drawn = [place_picture(sights[0], side), sights[-1].lit(sights[-1].close, side)] if sights else [white, white]
    said = [(called(hit)[:LONGEST], 15, "black"), (f"{100 * hit.probability:.0f} % likely", 14, (70, 70, 70))] if hit else [("not found here", 15, (70, 70, 70))]
    cells = [written([(f"“{text[:LONGEST]}”", 17, "black")], side, lines=2), *[_squared(image, side) for image in drawn], written(said, side)]
    return np.concatenate([part for cell in cells for part in (cell, np.full((GAP, side, 3), 255, np.uint8))])


def _squared(image: UInt8[np.ndarray, "h w 3"], side: int) -> UInt8[np.ndarray, "s s 3"]:
    """Shrunk to fit a square, centred on white."""
    small = cut_out(image, Frame(0.0, 0.0, float(image.shape[0]), float(image.shape[1])), side)
    sheet = np.full((side, side, 3), 255, np.uint8)
    top, left = (side - small.shape[0]) // 2, (side - small.shape[1]) // 2
    sheet[top : top + small.shape[0], left : left + small.shape[1]] = small
    return sheet


# ------------------------------------------------------------------------------------------ sheets and words


def in_rows(cells: Sequence[UInt8[np.ndarray, "_ _ 3"]], width: int) -> UInt8[np.ndarray, "h w 3"]:
    """Pictures beside one another, each as wide as it is, in as many rows as it takes to stay within `width` where they can."""
    rows: list[list[np.ndarray]] = [[]]
    for cell in cells:
        if rows[-1] and sum(other.shape[1] + GAP for other in rows[-1]) + cell.shape[1] > width:
            rows.append([])
        rows[-1].append(cell)
    broad = max(sum(cell.shape[1] + GAP for cell in row) - GAP for row in rows)
    sheet = np.full((sum(max(c.shape[0] for c in row) + GAP for row in rows) - GAP, broad, 3), 255, np.uint8)
    top = 0
    for row in rows:
        left = 0
        for cell in row:
            sheet[top : top + cell.shape[0], left : left + cell.shape[1]] = cell
            left += cell.shape[1] + GAP
        top += max(cell.shape[0] for cell in row) + GAP
    return sheet


def under(image: UInt8[np.ndarray, "h w 3"], text: str) -> UInt8[np.ndarray, "a w 3"]:
    """The picture with words under it."""
    return np.concatenate([image, written([(text, 14, (70, 70, 70))], image.shape[1])])


def written(lines_of: Sequence[tuple[str, int, str | tuple[int, int, int]]], width: int, lines: int = 1) -> UInt8[np.ndarray, "h w 3"]:
    """Texts of given sizes and colours below one another on white, broken where they are too long; room for `lines` lines of each at least."""
    from PIL import Image, ImageDraw, ImageFont

    blocks = [(broken(text, size, width), size, color) for text, size, color in lines_of]
    height = [round(1.35 * size) * max(lines, len(block)) for block, size, _ in blocks]
    sheet = Image.new("RGB", (width, sum(height) + 6), "white")
    draw, top = ImageDraw.Draw(sheet), 2
    for (block, size, color), tall in zip(blocks, height, strict=True):
        for k, line in enumerate(block):
            draw.text((2, top + k * round(1.35 * size)), line, fill=color, font=ImageFont.load_default(size))
        top += tall
    return np.asarray(sheet)


def broken(text: str, size: int, width: int) -> list[str]:
    """Lines no wider than `width` pixels; a word that is wider is broken in itself."""
    from PIL import ImageFont

    font, lines = ImageFont.load_default(size), [""]
    for word in text.split():
        while word:
            joined = f"{lines[-1]} {word}".strip()
            if font.getlength(joined) <= width - 4:
                lines[-1], word = joined, ""
            elif lines[-1]:
                lines.append("")
            else:
                fits = max((n for n in range(1, len(word)) if font.getlength(word[:n]) <= width - 4), default=1)
                lines[-1], word = word[:fits], word[fits:]
                lines.append("")
    return lines if lines[-1] else lines[:-1] or [""]
