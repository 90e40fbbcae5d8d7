"""What a region looks like, as a vector: the picture within its mask, by an encoder of pictures (CLIP, SigLIP).

It stands in for a [SEG] token where the segmenter has none: regions of one thing in several views are near each other.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, UInt8

from semquery.pictures import png_bytes, window
from semquery.segmenter.base import Region, SegmenterError
from semquery.text import PictureEncoder

OUTSIDE = 127  # grey: near the mean of what encoders were trained on, so that the outline does not speak loudest


def masked_crop(image: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"], pad: float = 0.1) -> UInt8[np.ndarray, "side side 3"]:
    """The square around a mask that has pixels, `pad` of its side added all around; grey outside of the mask."""
    top, left, side = window(mask, pad)
    crop = np.full((side, side, 3), OUTSIDE, np.uint8)
    y, x = np.nonzero(mask)
    crop[y - top, x - left] = image[y, x]
    return crop


def with_embeddings(regions: Sequence[Region], image: UInt8[np.ndarray, "h w 3"], encoder: PictureEncoder | None) -> list[Region]:
    """The regions, each with the vector of its own crop; as they are without an encoder. Raises SegmenterError."""
    if encoder is None or not regions:
        return list(regions)
    try:
        vectors = encoder.pictures([png_bytes(masked_crop(image, region.mask)) for region in regions])
    except ValueError as error:
        raise SegmenterError(f"The regions cannot be embedded: {error}") from error
    return [replace(region, embedding=vector) for region, vector in zip(regions, vectors, strict=True)]
