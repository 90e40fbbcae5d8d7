"""A model of the SAM family asked everywhere on a photo; what it is sure of is kept.

Every crop of the photo is encoded once and asked at a grid of points. An answer stays when the model predicts a
good overlap for it, when its border is sharp, when no crop cuts it off, and when no better answer says the same.

The photo is h × w pixels, its masks may be smaller (`size`), crops lie in it as boxes (x0, y0, x1, y1).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, Int64, UInt8
from torch import Tensor

from semquery.masks.checkpoint import Encoded, Segmenter
from semquery.masks.grid import crop_boxes, points_on, scaled_box
from semquery.masks.sam import Sam
from semquery.masks.sieve import best_boxes, best_masks, is_cut_off, mask_boxes, stability
from semquery.masks.stacks import empty_stack, on_white, shrink, shrunk_size, stack_masks
from semquery.masks.tidy import tidy
from semquery.types import MaskStack

CHUNK = 1 << 25  # logits enlarged at a time: 128 MiB
EDGE = 0.02  # of a crop's longer side: masks that end so near to its border go on beyond it


@dataclass(frozen=True)
class Found:
    """Answers that may be masks, in the frame of the result."""

    bits: UInt8[np.ndarray, "m b"]  # the masks, eight pixels a byte: a thousand large ones fit the memory
    boxes: Float[Tensor, "m 4"]
    scores: Float[Tensor, " m"]

    @staticmethod
    def joined(parts: list["Found"]) -> "Found":
        return Found(np.concatenate([f.bits for f in parts]), torch.cat([f.boxes for f in parts]), torch.cat([f.scores for f in parts]))

    def best(self, merit: Float[Tensor, " m"], max_iou: float) -> "Found":
        """Without what overlaps something of higher merit."""
        kept = best_boxes(self.boxes, merit, max_iou)
        return Found(self.bits[kept.cpu().numpy()], self.boxes[kept], self.scores[kept])

    def masks(self, size: tuple[int, int]) -> Bool[np.ndarray, "m h w"]:
        flat = np.unpackbits(self.bits, axis=1, count=size[0] * size[1])
        return flat.reshape(len(self.bits), *size).view(bool)


def masks_of_photo(sam: Sam, model: Segmenter, image: UInt8[np.ndarray, "h w c"]) -> MaskStack:
    """All masks of a photo, large ones first: a mask's number is above that of whatever contains it."""
    size = shrunk_size(image.shape[:2], sam.max_side)
    found = ask_everywhere(sam, model, on_white(image), size)
    masks, scores = clean(found.masks(size), found.scores.cpu().numpy(), is_solid(image, size), sam.min_region)
    if not len(masks):
        return empty_stack(size)
    kept = np.array(best_masks(torch.from_numpy(masks).to(model.device), torch.from_numpy(scores), sam.same_iou))
    order = kept[np.argsort(-masks[kept].sum((1, 2)), kind="stable")]
    return stack_masks(masks[order], scores[order].clip(0, 1))


def ask_everywhere(sam: Sam, model: Segmenter, photo: UInt8[np.ndarray, "h w 3"], size: tuple[int, int]) -> Found:
    """What is found in all crops; what several crops found is taken from the smallest."""
    boxes, layers = crop_boxes(photo.shape[:2], sam.crop_layers, sam.crop_overlap)
    found = []
    for box, layer in zip(boxes, layers, strict=True):
        per_side = max(1, int(sam.points_per_side / sam.crop_points_downscale**layer))
        found.append(ask_crop(sam, model, photo, size, box, points_on(box, per_side)))
    together = Found.joined(found)
    if len(boxes) == 1:
        return together
    smallness = np.repeat(1 / (boxes[:, 2:] - boxes[:, :2]).prod(1), [len(f.scores) for f in found])
    return together.best(torch.from_numpy(smallness).to(together.boxes), sam.crop_box_iou)


def ask_crop(sam: Sam, model: Segmenter, photo: UInt8[np.ndarray, "h w 3"], size: tuple[int, int], box: Int64[np.ndarray, "4"],
             points: Float64[np.ndarray, "n 2"]) -> Found:
    """What is found in one crop: encoded once, asked in batches."""
    encoded = model.encode(photo[box[1] : box[3], box[0] : box[2]], points)
    target = scaled_box(box, photo.shape[:2], size)

    def work(start: int, stop: int) -> list[Found]:
        return list(answers(sam, model, encoded, start, stop, target, size))

    found = Found.joined([part for parts in model.batches.run(len(points), work) for part in parts])
    return found.best(found.scores, sam.box_iou)


def answers(sam: Sam, model: Segmenter, encoded: Encoded, start: int, stop: int, target: Int64[np.ndarray, "4"],
            size: tuple[int, int]) -> Iterator[Found]:
    """Answers at points start..stop that the model trusts, whose border is sharp and which the crop does not cut off."""
    low, scores = model.ask(encoded, start, stop)
    is_trusted = scores > sam.min_predicted_iou
    low, scores = low[is_trusted], scores[is_trusted]
    width, height = (target[2:] - target[:2]).tolist()
    corner = torch.tensor([*target[:2].tolist()] * 2, dtype=torch.float32, device=model.device)
    for some, score in zip(*(x.split(max(1, CHUNK // (width * height))) for x in (low, scores)), strict=True):
        logits = model.enlarge(encoded, some, (height, width))
        masks = logits > 0
        boxes = mask_boxes(masks)
        kept = (stability(logits, sam.stability_offset) >= sam.min_stability) & (boxes[:, 2] > 0)
        boxes += corner
        kept &= ~is_cut_off(boxes, target, size, EDGE * max(width, height))
        yield Found(packed(masks[kept].cpu().numpy(), target, size), boxes[kept], score[kept])


def clean(masks: Bool[np.ndarray, "m h w"], scores: Float32[np.ndarray, " m"], solid: Bool[np.ndarray, "h w"],
          min_region: int) -> tuple[Bool[np.ndarray, "k h w"], Float32[np.ndarray, " k"]]:
    """Masks without specks and without transparent background; those of which little is left are dropped."""
    cleaned, kept = [], []
    for k, mask in enumerate(masks):
        inside = mask & solid
        if 2 * inside.sum() < mask.sum():  # a mask of the background
            continue
        inside = tidy(inside, min_region)
        if inside.sum() >= max(1, min_region):
            cleaned.append(inside)
            kept.append(k)
    return np.stack(cleaned) if cleaned else masks[:0], scores[kept]


def packed(masks: Bool[np.ndarray, "k a b"], target: Int64[np.ndarray, "4"], size: tuple[int, int]) -> UInt8[np.ndarray, "k n"]:
    """Masks of a crop in the frame of the result, eight pixels a byte."""
    frame = np.zeros((len(masks), *size), bool)
    frame[:, target[1] : target[3], target[0] : target[2]] = masks
    return np.packbits(frame.reshape(len(masks), size[0] * size[1]), axis=1)


def is_solid(image: UInt8[np.ndarray, "h w c"], size: tuple[int, int]) -> Bool[np.ndarray, "a b"]:
    """Where the photo is not transparent, at the masks' size."""
    return np.ones(size, bool) if image.shape[2] == 3 else shrink(image, max(size))[..., 3] > 127
