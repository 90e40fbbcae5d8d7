"""What the surface itself says about where parts meet: inward folds, and steps of colour.

The features know best, from masks, but only where enough views show a place. Where few do, what they say is mostly
noise, and the surface's own looks are the better guess.

Notation
  n points, e edges of their neighbour graph as (i, j).
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float64, Int, Int32, Num, UInt8

COLOR_STEP = 30.0  # a difference in CIELAB, lightness halved, that is as clear a border as any
LIGHTNESS = 0.5  # counts half: it changes with the lighting


def creases(
    points: Num[np.ndarray, "n 3"], normals: Num[np.ndarray, "n 3"], edges: Int[np.ndarray, "e 2"]
) -> Float64[np.ndarray, " e"]:
    """How far the surface folds inwards across each edge, 0 (flat or convex) to 2 (face to face).

    The change of the unit normal along the unit step from one end to the other, counted where it leans against the
    step. Parts meet at concave creases (Hoffman and Richards, "Parts of recognition", 1984: the minima rule).
    """
    step = (points[edges[:, 1]] - points[edges[:, 0]]).astype(np.float64)
    step /= np.maximum(np.linalg.norm(step, axis=1, keepdims=True), 1e-12)
    return np.maximum(0.0, -((normals[edges[:, 1]] - normals[edges[:, 0]]) * step).sum(1))


def color_steps(colors: UInt8[np.ndarray, "n 3"], edges: Int[np.ndarray, "e 2"]) -> Float64[np.ndarray, " e"]:
    """How much the colour (sRGB) changes along each edge, 0 (not at all) to 1 (as clearly as a border can be)."""
    from skimage.color import rgb2lab

    lab = rgb2lab(colors[None].astype(np.float64) / 255)[0] * (LIGHTNESS, 1, 1)
    return np.minimum(np.linalg.norm(lab[edges[:, 0]] - lab[edges[:, 1]], axis=1) / COLOR_STEP, 1)


def num_views(point_of_pixel: Mapping[str, Int32[np.ndarray, "_ _"]], n: int) -> Int[np.ndarray, " n"]:
    """In how many views some pixel shows each point."""
    count = np.zeros(n, np.int64)
    for point in point_of_pixel.values():
        count[np.unique(point[point >= 0])] += 1
    return count


def share_of_color(seen: Int[np.ndarray, " n"], edges: Int[np.ndarray, "e 2"], worth: float) -> Float64[np.ndarray, " e"]:
    """How far to go by colour on each edge: as a prior that is worth so many views beside those that show both its ends."""
    return worth / (worth + np.minimum(seen[edges[:, 0]], seen[edges[:, 1]]))
