"""Cutting pieces out of pictures, and marking a part in them.

Notation
  h w size of a picture, a b size of a mask that shows the same scene at another resolution, y x size of what is cut out.
A frame is a rectangle in a picture, in pixels of that picture, fractions allowed. It may reach over the border.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8

from semquery.pictures import OUTLINE

WIDTH = 3  # pixels of an outline
SPECK = 0.005  # share of a mask below which a piece of it, or a hole in it, is not outlined
DIMMED = 0.3  # what is left of the brightness of what is not the part


@dataclass(frozen=True)
class Frame:
    """A rectangle: its corner and its size."""

    top: float
    left: float
    height: float
    width: float

    @property
    def longer(self) -> float:
        return max(self.height, self.width)

    def scaled(self, rows: float, columns: float) -> "Frame":
        """The same rectangle on a picture of another size."""
        return Frame(self.top * rows, self.left * columns, self.height * rows, self.width * columns)

    def size_at(self, side: int) -> tuple[int, int]:
        """Height and width when its longer side has `side` pixels."""
        return max(1, round(self.height * side / self.longer)), max(1, round(self.width * side / self.longer))


def square_around(frame: Frame, pad: float, least: float) -> Frame:
    """The square with the same centre that is larger than the frame by `pad` of its longer side on every side."""
    side = max(least, (1 + 2 * pad) * frame.longer)
    return Frame(frame.top + (frame.height - side) / 2, frame.left + (frame.width - side) / 2, side, side)


def moved_inside(frame: Frame, outer: Frame) -> Frame:
    """The frame moved as little as it takes to lie inside another; centred in it where it is the larger one."""
    top = _moved(frame.top, frame.height, outer.top, outer.height)
    return Frame(top, _moved(frame.left, frame.width, outer.left, outer.width), frame.height, frame.width)


def _moved(start: float, length: float, outer_start: float, outer_length: float) -> float:
    if length >= outer_length:
        return outer_start + (outer_length - length) / 2
    return min(max(start, outer_start), outer_start + outer_length - length)


def meeting(a: Frame, b: Frame) -> Frame:
    """What two frames have in common (they must meet)."""
    top, left = max(a.top, b.top), max(a.left, b.left)
    return Frame(top, left, min(a.top + a.height, b.top + b.height) - top, min(a.left + a.width, b.left + b.width) - left)


# ----------------------------------------------------------------------------------------------- cutting out


def cut_out(image: UInt8[np.ndarray, "h w 3"], frame: Frame, side: int) -> UInt8[np.ndarray, "y x 3"]:
    """What a frame shows, its longer side at `side` pixels; white beyond the picture's border."""
    from PIL import Image

    scale, (height, width) = side / frame.longer, frame.size_at(side)
    inner = meeting(frame, Frame(0.0, 0.0, float(image.shape[0]), float(image.shape[1])))
    y, x = (min(round(d * scale), n - 1) for d, n in ((inner.top - frame.top, height), (inner.left - frame.left, width)))
    piece_size = min(width - x, max(1, round(inner.width * scale))), min(height - y, max(1, round(inner.height * scale)))
    box = (inner.left, inner.top, inner.left + inner.width, inner.top + inner.height)
    piece = np.asarray(Image.fromarray(image).resize(piece_size, Image.Resampling.BICUBIC, box=box))
    canvas = np.full((height, width, 3), 255, np.uint8)
    canvas[y : y + piece.shape[0], x : x + piece.shape[1]] = piece
    return canvas


def cut_out_mask(mask: Bool[np.ndarray, "a b"], frame: Frame, size: tuple[int, int]) -> Bool[np.ndarray, "y x"]:
    """What a frame (in the mask's pixels) shows of a mask. No pixel of it is lost, however much the mask is reduced."""
    rows = np.floor(frame.top + (np.arange(size[0]) + 0.5) * frame.height / size[0]).astype(int)
    columns = np.floor(frame.left + (np.arange(size[1]) + 0.5) * frame.width / size[1]).astype(int)
    inside = ((rows >= 0) & (rows < mask.shape[0]))[:, None] & (columns >= 0) & (columns < mask.shape[1])
    shown = mask[rows.clip(0, mask.shape[0] - 1)[:, None], columns.clip(0, mask.shape[1] - 1)] & inside
    at = (np.argwhere(mask) + 0.5 - (frame.top, frame.left)) * (size[0] / frame.height, size[1] / frame.width)
    at = np.floor(at[((at >= 0) & (at < size)).all(1)]).astype(int)
    shown[at[:, 0], at[:, 1]] = True
    return rounded(shown, size[0] / frame.height)


def rounded(mask: Bool[np.ndarray, "y x"], block: float) -> Bool[np.ndarray, "y x"]:
    """An enlarged mask, each of whose pixels has become a block, without the steps; small ones stay as they are."""
    from scipy.ndimage import gaussian_filter

    if block < 2:
        return mask
    smooth = gaussian_filter(mask.astype(np.float32), 0.4 * block) > 0.5
    return smooth if 2 * smooth.sum() > mask.sum() else mask


# ----------------------------------------------------------------------------------------------- marking


def outlined(image: UInt8[np.ndarray, "y x 3"], mask: Bool[np.ndarray, "y x"]) -> UInt8[np.ndarray, "y x 3"]:
    """With a line around the mask, just outside it, and a thin white line around that: seen on any colour, red included.

    Where the mask runs off the picture both lines are closed just inside the border: otherwise, of a table top that fills
    the picture, only the rim of what stands on it would be seen outlined. Cracks narrower than the line are not outlined,
    for the line would cover the part, nor are specks and pinholes.
    """
    from scipy.ndimage import binary_closing, binary_dilation

    margin = WIDTH + 2
    whole = np.pad(mask, margin)
    whole = without_specks(binary_closing(whole, iterations=WIDTH) | whole)
    whole = off_the_border(whole, margin + WIDTH + 1)
    line = binary_dilation(whole, iterations=WIDTH) & ~whole
    halo = binary_dilation(line | whole, iterations=1) & ~line & ~whole
    drawn, inner = image.copy(), (slice(margin, -margin),) * 2
    drawn[halo[inner]] = 255
    drawn[line[inner]] = OUTLINE
    return drawn


def off_the_border(mask: Bool[np.ndarray, "y x"], room: int) -> Bool[np.ndarray, "y x"]:
    """Without what lies closer than `room` to the border, so that a line has its place there; pieces that lose over half stay whole."""
    from scipy.ndimage import label

    number, _ = label(mask)
    inner = np.zeros_like(mask)
    inner[room:-room, room:-room] = True
    area, left = np.bincount(number.ravel()), np.bincount(number[inner], minlength=number.max() + 1)
    return mask & (inner | (2 * left < area)[number])


def without_specks(mask: Bool[np.ndarray, "y x"]) -> Bool[np.ndarray, "y x"]:
    """Without pieces, and then without holes, that are smaller than SPECK of the mask: some pixels show wrong points."""
    from scipy.ndimage import label

    least = SPECK * mask.sum()
    for inside in (True, False):
        number, _ = label(mask == inside)
        area = np.bincount(number.ravel())
        small = area < least
        small[0] = False
        mask = mask ^ small[number]
    return mask


def blackened(image: UInt8[np.ndarray, "y x 3"], mask: Bool[np.ndarray, "y x"]) -> UInt8[np.ndarray, "y x 3"]:
    """The part alone, on black: the published method's."""
    return np.where(mask[..., None], image, 0).astype(np.uint8)


def whitened(image: UInt8[np.ndarray, "y x 3"], mask: Bool[np.ndarray, "y x"]) -> UInt8[np.ndarray, "y x 3"]:
    """The part alone, on white."""
    return np.where(mask[..., None], image, 255).astype(np.uint8)


def dimmed(image: UInt8[np.ndarray, "y x 3"], mask: Bool[np.ndarray, "y x"]) -> UInt8[np.ndarray, "y x 3"]:
    """The part as it is, all else darkened."""
    return np.where(mask[..., None], image, (DIMMED * image).round()).astype(np.uint8)


def blurred(image: UInt8[np.ndarray, "y x 3"], mask: Bool[np.ndarray, "y x"]) -> UInt8[np.ndarray, "y x 3"]:
    """The part as it is, all else out of focus."""
    from scipy.ndimage import gaussian_filter

    soft = gaussian_filter(image.astype(np.float32), (max(image.shape) / 40, max(image.shape) / 40, 0))
    return np.where(mask[..., None], image, soft.round()).astype(np.uint8)


Marking = Callable[[UInt8[np.ndarray, "y x 3"], Bool[np.ndarray, "y x"]], UInt8[np.ndarray, "y x 3"]]
MARKINGS: dict[str, Marking] = {"outlined": outlined, "black": blackened, "white": whitened, "dim": dimmed, "blur": blurred}
