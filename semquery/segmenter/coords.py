"""In which numbers a model points: the coordinates of its answers, and those of the picture that was handed in.

Models of one kind answer in pixels of the picture as it reached them (`absolute`: Qwen2.5-VL, which wants sides that are whole
multiples of 28 pixels), others in thousandths of width and height (`relative_1000`: Qwen3-VL), others in pixels of the picture as
it is (`original`). The mode is a setting and never guessed: 500 may be any of the three. In `absolute` mode the picture is resized
before it is sent, to a size that the model's own resizing leaves alone, so that nobody has to know where a server resizes.

Notation
  h w height and width in pixels, k points, xy = (column, row) from the picture's upper left corner.
"""

import math
from typing import Literal

import numpy as np
from jaxtyping import Float64

Mode = Literal["absolute", "relative_1000", "original"]

FACTOR = 28  # pixels: patches of 14, merged two by two
LONGEST = 200  # times the shorter side: Qwen's limit
SLACK = 0.1  # of the range: answers so far outside are clipped; what lies further out was meant in other numbers


def smart_size(size: tuple[int, int], factor: int, min_pixels: int, max_pixels: int) -> tuple[int, int]:
    """The height and width at which Qwen's models look at a picture: multiples of `factor`, the pixels within bounds, the shape kept.

    Qwen2-VL's rule ("smart resize"); a size that it returns it leaves as it is. Raises ValueError for pictures it refuses.
    """
    height, width = size
    if min(size) < 1 or max(size) > LONGEST * min(size):
        raise ValueError(f"A picture of {width} × {height} pixels cannot be shown to the model; one side may be {LONGEST} times the other at most.")
    h, w = round(height / factor) * factor, round(width / factor) * factor
    if h * w > max_pixels:
        shrink = math.sqrt(height * width / max_pixels)
        return max(factor, math.floor(height / shrink / factor) * factor), max(factor, math.floor(width / shrink / factor) * factor)
    if h * w < min_pixels:
        grow = math.sqrt(min_pixels / (height * width))
        return math.ceil(height * grow / factor) * factor, math.ceil(width * grow / factor) * factor
    return h, w


def extent(mode: Mode, shown: tuple[int, int]) -> tuple[float, float]:
    """The x and y of the lower right corner in a model's numbers; `shown` is the height and width of the picture that it sees."""
    return (1000.0, 1000.0) if mode == "relative_1000" else (float(shown[1]), float(shown[0]))


def in_words(mode: Mode, shown: tuple[int, int]) -> str:
    """How a prompt tells the model which numbers are wanted."""
    if mode == "relative_1000":
        return "thousandths of the picture's width (x) and height (y)"
    return f"pixels of this picture, which is {shown[1]} wide and {shown[0]} high"


def to_pixels(xy: Float64[np.ndarray, "k 2"], extent: tuple[float, float], size: tuple[int, int]) -> Float64[np.ndarray, "k 2"]:
    """A model's numbers as pixels of a picture of `size` (h, w), clipped to it. Raises ValueError for what lies far outside."""
    share = xy / np.array(extent)
    far = (share < -SLACK) | (share > 1 + SLACK) | ~np.isfinite(share)
    if far.any():
        x, y = xy[far.any(1)][0]
        raise ValueError(f"the model pointed at ({x:g}, {y:g}), which is outside of the range (0, 0) to ({extent[0]:g}, {extent[1]:g}); "
                         "does it answer in other coordinates than it is set to?")
    return np.clip(share, 0, 1) * np.array([size[1], size[0]], np.float64)
