"""Which of a model's answers are masks: stability, boxes, non-maximum suppression, duplicates.

All of it on the device, in float32 (suppression refuses half precision on a CPU, and a stability of .95 is a
matter of the third digit). Logits are above 0 inside a mask. A box is (x0, y0, x1, y1), far sides excluded.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor


def stability(logits: Float[Tensor, "m h w"], offset: float) -> Float[Tensor, " m"]:
    """IoU of the masks cut at +offset and at -offset: 1 where the border is sharp. A mask empty at both has 0."""
    inner, outer = (num_pixels(logits > level) for level in (offset, -offset))
    return inner / outer.clamp(min=1)


def num_pixels(masks: Bool[Tensor, "m h w"]) -> Float[Tensor, " m"]:
    """Pixels of each mask; on a CPU numpy counts several times as fast as torch adds up."""
    if masks.device.type == "cpu":
        return torch.tensor([np.count_nonzero(mask) for mask in masks.numpy()], dtype=torch.float32)
    return masks.flatten(1).sum(1).float()


def mask_boxes(masks: Bool[Tensor, "m h w"]) -> Float[Tensor, "m 4"]:
    """Bounding boxes; zeros where a mask is empty."""
    sides = []
    for axis in (1, 2):  # which columns, then which rows hold something; the maximum of bytes is ten times as fast as any()
        held = masks.view(torch.uint8).amax(axis)
        first = held.argmax(1)
        last = held.shape[1] - held.flip(1).argmax(1)
        sides.append(torch.stack([first, last], 1) * held.amax(1, keepdim=True))
    (x, y) = sides
    return torch.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], 1).float()


def best_boxes(boxes: Float[Tensor, "m 4"], scores: Float[Tensor, " m"], max_iou: float) -> Int64[Tensor, " k"]:
    """Non-maximum suppression: rows whose box overlaps no better-scored kept box by more than `max_iou`, best first."""
    from torchvision.ops import nms

    return nms(boxes.float(), scores.float(), max_iou)


def is_cut_off(boxes: Float[Tensor, "m 4"], crop: Int64[np.ndarray, "4"], size: tuple[int, int], margin: float) -> Bool[Tensor, " m"]:
    """Whether a box ends within `margin` pixels of a side of the crop that is no side of the frame: its object goes on beyond."""
    sides = torch.as_tensor(crop, dtype=torch.float32, device=boxes.device)
    frame = torch.tensor([0, 0, size[1], size[0]], dtype=torch.float32, device=boxes.device)
    return (((boxes - sides).abs() <= margin) & (sides != frame)).any(1)


def shared_area(masks: Bool[Tensor, "m h w"], block: int = 1 << 16) -> Float[Tensor, "m m"]:
    """How many pixels each pair of masks shares; a block of pixels at a time, so that memory stays small."""
    flat = masks.flatten(1)
    shared = torch.zeros(len(masks), len(masks), device=masks.device)
    for part in flat.split(block, 1):
        part = part.float()
        shared += part @ part.T
    return shared


def best_masks(masks: Bool[Tensor, "m h w"], scores: Float[Tensor, " m"], max_iou: float) -> list[int]:
    """Duplicates merged: rows whose mask overlaps no better-scored (or as good and earlier) kept mask by more than `max_iou`."""
    shared = shared_area(masks)
    areas = shared.diagonal()
    iou = (shared / (areas[:, None] + areas[None] - shared).clamp(min=1)).cpu()
    kept: list[int] = []
    for k in torch.sort(scores, descending=True, stable=True).indices.tolist():
        if not kept or iou[k, kept].max() <= max_iou:
            kept.append(k)
    return kept
