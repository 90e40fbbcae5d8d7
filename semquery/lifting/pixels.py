"""What pictures look like at each pixel: the 2D features that the spatial-consistency loss compares points with.

The paper takes the encoder of SAM (`SamEncoder`, with a checkpoint of one's own). Without weights there is `ColourEdges`: local
colour and how it changes, at a few scales. It knows no objects; it tells apart what is painted differently, and no more.

Notation
  h w height and width of a picture, a b of the feature map (any size, same frame), e feature width, n surface points.
Conventions
  A point's feature in a view is the mean over its pixels, at unit length.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from semquery.lifting.lift import Sight, Votes
from semquery.masks import Sam

OPPONENT = np.array([[1, 1, 1], [1, -1, 0], [0.5, 0.5, -1]]) / np.array([[3], [1], [1]])  # light, red-green, yellow-blue


@runtime_checkable
class PixelEncoder(Protocol):
    """Anything that gives every pixel a feature."""

    @property
    def identity(self) -> str:
        """What decides its features."""

    def dense(self, image: UInt8[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "a b e"]:
        """The feature map of a picture."""


@dataclass(frozen=True)
class ColourEdges:
    """Light and opponent colours, and their slopes, smoothed at a few scales (pixels). Needs no weights."""

    scales: tuple[float, ...] = (1.0, 3.0)

    @property
    def identity(self) -> str:
        return f"ColourEdges {self.scales}"

    def dense(self, image: UInt8[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "a b e"]:
        """Three colours centred at middle grey and the size of their slopes at each scale: 6 features a scale, all in −1..1 or so."""
        from scipy.ndimage import gaussian_filter, gaussian_gradient_magnitude

        opponent = (image / 255.0 - [0.5, 0.5, 0.5]) @ OPPONENT.T
        maps = [op(channel, scale) for scale in self.scales for op in (gaussian_filter, gaussian_gradient_magnitude) for channel in np.moveaxis(opponent, -1, 0)]
        return np.stack(maps, -1).astype(np.float32)


@dataclass(frozen=True)
class SamEncoder:
    """The image encoder of a SAM, as the paper has it: one feature for each patch of the picture."""

    sam: Sam

    @property
    def identity(self) -> str:
        return f"SamEncoder {self.sam.identity()['checkpoint']}"

    def dense(self, image: UInt8[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "a b e"]:
        """The encoder's embedding, without the padding of the model's square. Raises ValueError when the checkpoint cannot be opened."""
        opened = self.sam.open()
        encoded = opened.encode(image, np.zeros((1, 2)))
        found = encoded.embeddings["image_embeddings"]
        patches = (found[-1] if isinstance(found, list) else found)[0].permute(1, 2, 0).cpu().numpy()
        if encoded.fitted is None:
            return patches
        side = opened.processor.image_processor.pad_size
        a, b = (max(1, round(p * f / side[key])) for p, f, key in zip(patches.shape, encoded.fitted, ("height", "width")))
        return patches[:a, :b]


@dataclass(frozen=True)
class PointFeatures:
    """Of each point what the pictures show there, summed over views: Σ m f and Σ m, with m the vote of a view (or 1 where it sees)."""

    total: Float32[np.ndarray, "n e"]
    count: Float64[np.ndarray, " n"]


def point_features(
    sights: Mapping[str, Sight], votes: Votes, encoder: PixelEncoder, photo: Callable[[str], UInt8[np.ndarray, "_ _ 3"]], everywhere: bool = False
) -> PointFeatures:
    """The features of the views that answered, where they voted for a point (as in the paper) or everywhere they see (as in its code)."""
    n = votes.seen.shape[1]
    total, count = None, np.zeros(n)
    for view, seen, share in zip(votes.views, votes.seen, votes.share, strict=True):
        weight = seen.astype(np.float32) if everywhere else share
        part = weight[:, None] * unit_at_points(sights[view], encoder.dense(photo(view)), n)
        total, count = part if total is None else total + part, count + weight
    return PointFeatures(np.zeros((n, 0), np.float32) if total is None else total, count)


def unit_at_points(sight: Sight, dense: Float32[np.ndarray, "a b e"], num_points: int) -> Float32[np.ndarray, "n e"]:
    """The mean feature of each point's pixels at unit length; zero where the view shows none."""
    rows, columns = np.divmod(sight.pixels, sight.size[1])
    at = ((rows + 0.5) * dense.shape[0] / sight.size[0]).astype(np.int64), ((columns + 0.5) * dense.shape[1] / sight.size[1]).astype(np.int64)
    found = dense[at]
    total = np.stack([np.bincount(sight.points, column, num_points) for column in found.T], 1)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.divide(total, length, out=np.zeros_like(total), where=length > 1e-12).astype(np.float32)
