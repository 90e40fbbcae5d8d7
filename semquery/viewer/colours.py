"""In what colours the surface is drawn, and how a selection and a heat map are laid over them.

Notation
  n points, p parts, c feature channels. Colours are sRGB, uint8; they are mixed as they are, without going to linear light.
Conventions
  What is not meant is dimmed: drawn in a narrow band of dark greys, lighter than black, so that it is still seen before
  either background. What is meant is drawn in one saturated colour, in which the lightness it had still shows: mixed with
  the colour itself, a green part would turn grey under magenta. So lit and dimmed differ in hue and in lightness, which a
  spot of some pixels needs, whatever the colours were.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Float32, Num, UInt8

from semquery.export import part_colors
from semquery.viewer.session import Shown

Colouring = Literal["photo", "parts", "relevancy", "features"]
COLOURINGS: tuple[Colouring, ...] = get_args(Colouring)
LIT = (255, 60, 220)  # the highlight: a magenta, which few things have and no heat has, lighter than all that is dimmed
LIT_SHARE = 0.7  # of the highlight colour in what is lit
DARK, DARK_CONTRAST, TINGE = 42.0, 0.32, 0.08  # what is dimmed: the grey of black, the contrast it keeps, the colour it keeps
HEAT_SHARE = 0.75  # of the heat colour in what is above the threshold
TURBO_END = 0.93  # how far along the map of heat colours is used
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # how much red, green and blue count for lightness (Rec. 601)
BLOCK = 1 << 15  # features worked on at a time
SAMPLE = 20_000  # features that a basis is worked out from


@dataclass(frozen=True)
class Look:
    """How the scene is drawn; not part of what is selected."""

    colouring: Colouring = "photo"
    explode: float = 0.0  # 0 = in place, 1 = wholly taken apart
    point_size: float = 1.4  # voxels; at 1 one sees through what was photographed from afar
    photos: bool = False  # whether the captured photos stand in the scene
    scale: float = 1.0  # how many units of the page a unit of the capture is drawn as


def point_colors(shown: Shown, colouring: Colouring, basis: "Basis | None" = None) -> UInt8[np.ndarray, "n 3"]:
    """The colours of the surface's points before the selection is marked; as captured where there is no query to tell relevancy of.

    `basis`: for features; worked out from the surface where it is None. Raises ValueError where there is nothing loaded, for
    features of a surface that has none, and for another colouring.
    """
    if shown.loaded is None:
        raise ValueError("There is no part tree yet, so there are no points to colour.")
    surface, tree = shown.loaded.surface, shown.loaded.tree
    if colouring == "photo" or (colouring == "relevancy" and shown.heat is None):
        return surface.colors
    if colouring == "parts":
        return part_colors(tree.num_parts)[tree.level(shown.level)].take(tree.part_of_point, axis=0)
    if colouring == "relevancy":
        return heat_colors(shown.heat.shown(shown.threshold, shown.normalise)[tree.part_of_point], surface.colors)
    if colouring == "features":
        return (basis or pca_basis(surface.features)).colors(surface.features)
    raise ValueError(f"There is no colouring {colouring!r}; expected one of {', '.join(COLOURINGS)}.")


def dimmed(colors: UInt8[np.ndarray, "... 3"]) -> UInt8[np.ndarray, "... 3"]:
    """Dark, with little contrast and nearly without colour."""
    drawn = colors.astype(np.float32)
    light = drawn @ LUMA
    drawn *= TINGE
    drawn += ((DARK_CONTRAST - TINGE) * light + DARK)[..., None]
    return drawn.round().astype(np.uint8)


def tinted(
    colors: UInt8[np.ndarray, "... 3"], is_lit: Bool[np.ndarray, "..."], color: tuple[int, int, int] = LIT
) -> UInt8[np.ndarray, "... 3"]:
    """What is lit in one colour with the lightness it had, the rest dimmed."""
    drawn = dimmed(colors)
    drawn[is_lit] = mixed(grey(colors[is_lit]), np.array(color, np.uint8), LIT_SHARE)
    return drawn


def grey(colors: UInt8[np.ndarray, "... 3"]) -> UInt8[np.ndarray, "... 3"]:
    """The grey that is as light as each colour."""
    return (colors.astype(np.float32) @ LUMA).round().astype(np.uint8)[..., None].repeat(3, -1)


def mixed(under: UInt8[np.ndarray, "... 3"], over: UInt8[np.ndarray, "... 3"], share: float) -> UInt8[np.ndarray, "... 3"]:
    """Colours laid over others; `share` of the upper one."""
    drawn = np.float32(share) * over.astype(np.float32)
    return (drawn + (np.float32(1 - share) * under.astype(np.float32) + np.float32(0.5))).astype(np.uint8)


def heat_colors(value: Float[np.ndarray, "..."], under: UInt8[np.ndarray, "... 3"]) -> UInt8[np.ndarray, "... 3"]:
    """0..1 in turbo colours with the lightness of a picture; NaN, what is below the threshold, is the picture dimmed."""
    cold = np.isnan(value)
    row = np.where(cold, 0, value.clip(0, 1) * 255 + 0.5).astype(np.uint8)
    drawn = mixed(grey(under), turbo().take(row, axis=0), HEAT_SHARE)
    np.copyto(drawn, dimmed(under), where=cold[..., None])
    return drawn


@lru_cache(maxsize=1)
def turbo() -> UInt8[np.ndarray, "256 3"]:
    """The colours of the map turbo (Mikhailov 2019) from dark blue over green to red, without its last, as dark as what is dimmed."""
    import matplotlib

    return (matplotlib.colormaps["turbo"](np.linspace(0, TURBO_END, 256))[:, :3] * 255).round().astype(np.uint8)


@dataclass(frozen=True)
class Basis:
    """Three axes of a feature space, and what of each is drawn as none and as all of a colour channel."""

    mean: Float32[np.ndarray, " c"]
    axes: Float32[np.ndarray, "3 c"]
    low: Float32[np.ndarray, " 3"]
    high: Float32[np.ndarray, " 3"]

    def colors(self, features: Num[np.ndarray, "... c"]) -> UInt8[np.ndarray, "... 3"]:
        """The first axis as red, the second as green, the third as blue."""
        width = np.maximum(self.high - self.low, 1e-12)
        turn, shift = (self.axes / width[:, None]).T, (self.axes @ self.mean + self.low) / width
        drawn = np.empty((*features.shape[:-1], 3), np.uint8)
        rows, flat = features.reshape(-1, features.shape[-1]), drawn.reshape(-1, 3)
        for first in range(0, len(rows), BLOCK):  # half floats are made into floats piece by piece
            share = rows[first : first + BLOCK].astype(np.float32) @ turn - shift
            flat[first : first + BLOCK] = 255 * np.nan_to_num(share, copy=False).clip(0, 1) + 0.5
        return drawn


def pca_basis(features: Num[np.ndarray, "n c"], seed: int = 0) -> Basis:
    """The axes along which features differ most; the same for the same features, so that colours do not change from frame to frame.

    Raises ValueError where there are no features.
    """
    rows = np.random.default_rng(seed).permutation(len(features))[:SAMPLE]
    sample = features[np.sort(rows)].astype(np.float64)
    sample = sample[np.isfinite(sample).all(1)]
    if not sample.size:
        raise ValueError("The surface has no features to colour by: the contrastive field has not been trained, or its numbers are broken.")
    mean = sample.mean(0)
    axes = np.linalg.svd(sample - mean, full_matrices=False)[2][:3]
    axes = np.pad(axes, ((0, 3 - len(axes)), (0, 0)))
    axes = axes * np.where(np.take_along_axis(axes, np.abs(axes).argmax(1)[:, None], 1) < 0, -1, 1)
    low, high = np.quantile((sample - mean) @ axes.T, [0.01, 0.99], axis=0)
    return Basis(mean.astype(np.float32), axes.astype(np.float32), low.astype(np.float32), high.astype(np.float32))
