"""From boxes and points to masks: by a model of the SAM family, by regions of like colour, or by the boxes themselves.

Notation
  h w height and width of the picture, k points; boxes x0 y0 x1 y1 and points x y are in pixels of the picture.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, UInt8

from semquery.segmenter.oracle import box_around, boxed
from semquery.segmenter.pointing import Thing

LEAST_FIT = 0.3  # of a region with the box asked for, below which the box itself is better

Found = tuple[Bool[np.ndarray, "h w"], float]  # a mask, and how far it is to be trusted, 0..1


def by_sam(opened: Any, image: UInt8[np.ndarray, "h w 3"], things: Sequence[Thing]) -> list[Found]:
    """A mask per thing by an opened checkpoint (masks.checkpoint.Segmenter), with the overlap with the truth that SAM predicts.

    The picture is encoded once. A box, with points in it if there are, says what is meant: one mask is asked for. A point alone may
    mean a part or the whole: of three masks the one that SAM thinks best is taken.
    """
    if not things:
        return []
    asked = [_corners_and_points(thing) for thing in things]
    encoded = opened.encode(image, np.concatenate(asked))
    ends = np.cumsum([len(rows) for rows in asked])
    return [_by_sam(opened, encoded, thing, slice(end - len(rows), end), image.shape[:2])
            for thing, rows, end in zip(things, asked, ends, strict=True)]


def _corners_and_points(thing: Thing) -> Float64[np.ndarray, "k 2"]:
    corners = [] if thing.box is None else [thing.box[:2], thing.box[2:]]
    return np.array([*corners, *thing.points], np.float64)


def _by_sam(opened: Any, encoded: Any, thing: Thing, rows: slice, size: tuple[int, int]) -> Found:
    import torch

    given = encoded.points[rows]  # in the model's own square: both ends of a box go there as points do
    has_box = thing.box is not None
    points = given[2:] if has_box else given
    prompt: dict[str, Any] = {"input_boxes": given[:2].reshape(1, 1, 4)} if has_box else {}
    if len(points):
        prompt |= {"input_points": points[None, None], "input_labels": torch.ones(1, 1, len(points), dtype=torch.int, device=points.device)}
    with torch.inference_mode():
        out = opened.model(multimask_output=not has_box, **prompt, **encoded.embeddings)
        masks, scores = out.pred_masks[0, 0].float(), out.iou_scores[0, 0].float()
        best = int(scores.argmax())
        logits = opened.enlarge(encoded, masks[best : best + 1], size)
    return (logits[0] > 0).cpu().numpy(), float(scores[best].clamp(0, 1))


def by_regions(masks: Bool[np.ndarray, "m h w"], things: Sequence[Thing], size: tuple[int, int]) -> list[Found]:
    """The region that fits each thing best: the box by `fit`, or the smallest that holds the point.

    What of a region lies outside of the box is cut off, and where none fits the box stands for itself; a point that no region holds has an empty mask.
    """
    frames = [box_around(mask) for mask in masks]
    return [_by_box(masks, frames, thing, size) if thing.box is not None else _by_point(masks, thing, size) for thing in things]


def _by_box(masks: np.ndarray, frames: Sequence[tuple[float, ...]], thing: Thing, size: tuple[int, int]) -> Found:
    assert thing.box is not None
    fits = [fit(mask, frame, thing.box) for mask, frame in zip(masks, frames, strict=True)]
    best = int(np.argmax(fits)) if fits else -1
    inside = boxed(size, thing.box)
    return (masks[best] & inside, fits[best]) if fits and fits[best] >= LEAST_FIT else (inside, LEAST_FIT)


def fit(mask: Bool[np.ndarray, "h w"], frame: tuple[float, ...], box: tuple[float, ...]) -> float:
    """How well a region fits a box, 0..1: the overlap of the region's own box (`frame`) with it, times √(share of `frame` that it fills).

    The fringe around a thing fits the thing's box as well as the thing does; it is thin.
    """
    return overlap(frame, box) * float(np.sqrt(mask.sum() / ((frame[2] - frame[0]) * (frame[3] - frame[1]))))


def _by_point(masks: np.ndarray, thing: Thing, size: tuple[int, int]) -> Found:
    x, y = (min(int(value), most - 1) for value, most in zip(thing.points[0], size[::-1], strict=True))
    holding = [mask for mask in masks if mask[y, x]]
    return (min(holding, key=np.count_nonzero), 1.0) if holding else (np.zeros(size, bool), 0.0)


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Intersection over union of two boxes x0 y0 x1 y1; 0 where both are empty."""
    across = [max(0.0, min(a[k + 2], b[k + 2]) - max(a[k], b[k])) for k in (0, 1)]
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    shared = across[0] * across[1]
    return float(shared / union) if (union := sum(areas) - shared) > 0 else 0.0


def regions_in(image: UInt8[np.ndarray, "h w 3"]) -> Bool[np.ndarray, "m h w"]:
    """Nested regions of like colour, at the picture's own size; every one has pixels."""
    from semquery.masks import Regions
    from semquery.pictures import resized

    masks = [resized(mask, image.shape[:2]) for mask in Regions()("", image).masks()]
    return np.stack([m for m in masks if m.any()]) if any(m.any() for m in masks) else np.zeros((0, *image.shape[:2]), bool)
