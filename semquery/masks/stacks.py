"""Masks of one view as arrays: packing, comparing, nesting.

m masks of h × w pixels, boolean. Intersection over union is written IoU.
"""

import numpy as np
from jaxtyping import Bool, Float32, Int, Int32, UInt8

from semquery.types import MaskStack


def empty_stack(size: tuple[int, int]) -> MaskStack:
    """A view without masks, which is legal."""
    return MaskStack(np.zeros((0, *size), np.uint16), np.zeros(0, np.float32))


def stack_masks(masks: Bool[np.ndarray, "m h w"], scores: Float32[np.ndarray, " m"]) -> MaskStack:
    """Pack masks into as few label layers as a greedy pass finds, large masks first; mask k keeps id k+1."""
    if len(masks) > np.iinfo(np.uint16).max:
        raise ValueError(f"{len(masks)} masks in one view; at most 65535 fit the label layers.")
    layers: list[np.ndarray] = []
    for k in np.argsort(-masks.sum((1, 2)), kind="stable"):
        free = next((layer for layer in layers if not layer[masks[k]].any()), None)
        if free is None:
            free = np.zeros(masks.shape[1:], np.uint16)
            layers.append(free)
        free[masks[k]] = k + 1
    packed = np.stack(layers) if layers else np.zeros((0, *masks.shape[1:]), np.uint16)
    return MaskStack(packed, scores.astype(np.float32))


def regions_of(labels: Int[np.ndarray, "h w"], min_pixels: int) -> Bool[np.ndarray, "m h w"]:
    """Each label > 0 with enough pixels as one boolean mask."""
    ids, counts = np.unique(labels, return_counts=True)
    ids = ids[(ids > 0) & (counts >= min_pixels)]
    return labels[None] == ids[:, None, None]


def shared_pixels(a: Bool[np.ndarray, "m h w"], b: Bool[np.ndarray, "k h w"], block: int = 1 << 16) -> Float32[np.ndarray, "m k"]:
    """How many pixels each pair of masks shares; a block of pixels at a time, so that memory stays small."""
    A, B = (m.reshape(len(m), m.shape[1] * m.shape[2]) for m in (a, b))
    shared = np.zeros((len(a), len(b)), np.float32)
    for start in range(0, A.shape[1], block):
        shared += A[:, start : start + block].astype(np.float32) @ B[:, start : start + block].astype(np.float32).T
    return shared


def pairwise_iou(a: Bool[np.ndarray, "m h w"], b: Bool[np.ndarray, "k h w"]) -> Float32[np.ndarray, "m k"]:
    """Intersection over union of every pair of masks; 0 where both are empty."""
    both = shared_pixels(a, b)
    areas = [m.sum((1, 2)).astype(np.float32) for m in (a, b)]
    union = areas[0][:, None] + areas[1][None] - both
    return both / np.maximum(union, 1)


def without_duplicates(masks: Bool[np.ndarray, "m h w"], same_iou: float) -> Bool[np.ndarray, "k h w"]:
    """Drop every mask that overlaps a larger (or equal and earlier) kept one by more than `same_iou`."""
    order = np.argsort(-masks.sum((1, 2)), kind="stable")
    iou = pairwise_iou(masks, masks)
    kept: list[int] = []
    for k in order:
        if not kept or iou[k, kept].max() <= same_iou:
            kept.append(int(k))
    return masks[kept]


def containing_mask(masks: Bool[np.ndarray, "m h w"], ratio: float = 0.9) -> Int32[np.ndarray, " m"]:
    """The hierarchy by containment: the smallest larger mask that holds at least `ratio` of each mask; -1 = none does.

    Larger means more pixels, or as many and earlier; so the answer is a forest. An empty mask lies nowhere.
    """
    areas = masks.sum((1, 2))
    order = np.argsort(-areas, kind="stable")  # large first
    shared = shared_pixels(masks, masks)[order][:, order]
    holds = shared >= ratio * areas[order][:, None]  # holds[i, j]: mask j holds mask i
    holds = np.tril(holds, -1) & (areas[order] > 0)[:, None]
    nearest = len(masks) - 1 - holds[:, ::-1].argmax(1) if len(masks) else np.zeros(0, np.int64)
    parents = np.full(len(masks), -1, np.int32)
    parents[order] = np.where(holds.any(1), order[nearest], -1)
    return parents


def shrunk_size(size: tuple[int, int], max_side: int) -> tuple[int, int]:
    """Height and width with the longer side at most `max_side`, in the same proportion."""
    factor = min(1.0, max_side / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def on_white(image: UInt8[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "h w 3"]:
    """Without transparency: RGBA over white."""
    if image.shape[2] == 3:
        return image
    alpha = image[..., 3:].astype(np.float32) / 255
    return (image[..., :3] * alpha + 255 * (1 - alpha)).round().astype(np.uint8)


def shrink(image: UInt8[np.ndarray, "h w c"], max_side: int) -> UInt8[np.ndarray, "a b c"]:
    """The image with its longer side at most `max_side`, area-averaged; never enlarged."""
    from PIL import Image

    height, width = shrunk_size(image.shape[:2], max_side)
    if (height, width) == image.shape[:2]:
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BOX))
