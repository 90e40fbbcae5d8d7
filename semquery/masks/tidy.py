"""Small-region clean-up of a mask: holes are filled, islands dropped.

Regions are 8-connected. A hole is a region outside the mask, within the mask's bounding box and cut off from what
lies beyond it; an island is a region of the mask. Smaller than `min_pixels` pixels is small.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

EIGHT = np.ones((3, 3), bool)


def tidy(mask: Bool[np.ndarray, "h w"], min_pixels: int) -> Bool[np.ndarray, "h w"]:
    """The mask without small holes, then without small islands; its largest island stays whatever its size."""
    if min_pixels <= 1 or not mask.any():
        return mask
    window, is_open = _window(mask)
    tidied = np.zeros_like(mask)
    tidied[window] = without_islands(without_holes(mask[window], min_pixels, is_open), min_pixels)
    return tidied


def without_holes(mask: Bool[np.ndarray, "h w"], min_pixels: int, open_edges: Sequence[bool]) -> Bool[np.ndarray, "h w"]:
    """Small regions outside the mask filled, but for those on an open edge (top, bottom, left, right), beyond which more may lie."""
    labels, sizes = _regions(~mask)
    small = sizes < min_pixels
    for may_go_on, edge in zip(open_edges, (labels[0], labels[-1], labels[:, 0], labels[:, -1]), strict=True):
        if may_go_on:
            small[edge] = False
    small[0] = False  # label 0 is the mask itself
    return mask | small[labels]


def without_islands(mask: Bool[np.ndarray, "h w"], min_pixels: int) -> Bool[np.ndarray, "h w"]:
    """Small regions of the mask dropped, but for the largest."""
    labels, sizes = _regions(mask)
    sizes[0] = 0
    kept = sizes >= min_pixels
    kept[sizes.argmax()] = mask.any()
    kept[0] = False
    return kept[labels]


def _regions(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Label of every pixel (0 = not in the mask) and the size of every label."""
    from scipy.ndimage import label

    labels, count = label(mask, EIGHT)
    return labels, np.bincount(labels.ravel(), minlength=count + 1)


def _window(mask: np.ndarray) -> tuple[tuple[slice, slice], list[bool]]:
    """The mask's box with a pixel around it, and on which sides (top, bottom, left, right) the frame has that pixel."""
    spans = [np.flatnonzero(mask.any(axis))[[0, -1]].tolist() for axis in (1, 0)]
    rows, columns = (slice(max(0, first - 1), last + 2) for first, last in spans)
    is_open = [side for (first, last), length in zip(spans, mask.shape, strict=True) for side in (first > 0, last < length - 1)]
    return (rows, columns), is_open
