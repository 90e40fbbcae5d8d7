"""Masks as JSON: run lengths and polygons, as SAM's automatic generator, SA-1B and COCO write them.

A record is `{"segmentation": S, "predicted_iou": .., "stability_score": ..}`; a file holds a list of records,
or `{"image": {"height", "width"}, "annotations": [records]}`. S is one of

    {"size": [h, w], "counts": [12, 3, ..]}     run lengths, column by column, the first of pixels outside the mask
    {"size": [h, w], "counts": "Pb42.."}        the same lengths, five bits a character (COCO)
    [[x, y, x, y, ..], ..]                      polygons, in pixels
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32

MOST_PIXELS = 1 << 28  # larger is not a photo but a mistake, and would fill the memory


def masks_of_json(path: Path, frame: tuple[int, int]) -> tuple[Bool[np.ndarray, "m h w"], Float32[np.ndarray, " m"]]:
    """Masks and scores of a file; `frame` is the size polygons are drawn at when the file does not tell."""
    records, frame = _records(path, frame)
    masks, scores = [], []
    for number, record in enumerate(records):
        try:
            _check_form(record)
            masks.append(mask_of(record["segmentation"], frame))
            scores.append(score_of(record))
        except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
            reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
            raise ValueError(f"{path}: mask {number} cannot be read: {reason}.") from error
    sizes = sorted({mask.shape for mask in masks})
    if len(sizes) > 1:
        raise ValueError(f"{path}: its masks have different sizes, {sizes[0]} and {sizes[1]}; masks of one view must be of one size.")
    return np.stack(masks) if masks else np.zeros((0, *frame), bool), np.array(scores, np.float32)


def _records(path: Path, frame: tuple[int, int]) -> tuple[list[Any], tuple[int, int]]:
    """The records of a file and the size of its frame."""
    try:
        held = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as JSON ({error}).") from error
    if isinstance(held, dict) and isinstance(held.get("annotations"), list):
        told = held["image"] if isinstance(held.get("image"), dict) else {}
        if {"height", "width"} <= told.keys():
            frame = _frame(path, told)
        held = held["annotations"]
    if not isinstance(held, list):
        raise ValueError(f'{path} holds a JSON {type(held).__name__}; expected a list of masks, or {{"image": .., "annotations": [..]}}.')
    return held, frame


def _frame(path: Path, told: dict[str, Any]) -> tuple[int, int]:
    try:
        return int(told["height"]), int(told["width"])
    except (ValueError, TypeError, OverflowError) as error:
        sides = f"the height {told['height']!r} and the width {told['width']!r}"
        raise ValueError(f"{path}: its image has {sides}; expected numbers.") from error


def _check_form(record: Any) -> None:
    """Raise ValueError when a record is not built as the head of this file says."""
    if not isinstance(record, dict):
        raise ValueError(f'it is a JSON {type(record).__name__}; expected {{"segmentation": ..}}')
    held = record["segmentation"]
    if not isinstance(held, dict | list):
        raise ValueError(f'its segmentation is a JSON {type(held).__name__}; expected {{"size": [h, w], "counts": ..}} or polygons')
    if isinstance(held, dict) and not (_is_pair(held["size"]) and isinstance(held["counts"], str | list)):
        raise ValueError('its size or its counts are of another form; expected {"size": [h, w], "counts": run lengths}')


def _is_pair(held: Any) -> bool:
    return isinstance(held, list) and len(held) == 2 and all(isinstance(side, int) for side in held)


def mask_of(segmentation: Any, frame: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """One mask from run lengths or polygons. Raises ValueError, TypeError or KeyError when it is neither."""
    if isinstance(segmentation, list):
        return mask_of_polygons(segmentation, frame)
    height, width = (int(side) for side in segmentation["size"])
    counts = segmentation["counts"]
    return mask_of_runs(runs_of_text(counts) if isinstance(counts, str) else counts, (height, width))


def mask_of_runs(counts: list[int], size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """Run lengths, by turns outside and inside the mask, down the columns."""
    lengths = np.asarray(counts, np.int64)
    pixels = size[0] * size[1]
    if lengths.ndim != 1 or (lengths < 0).any() or lengths.sum() != pixels or not 0 < pixels <= MOST_PIXELS:
        raise ValueError(f"its runs cover {lengths.sum()} pixels of a frame of {size[0]}×{size[1]}")
    inside = np.arange(len(lengths)) % 2 == 1
    return np.repeat(inside, lengths).reshape(size[1], size[0]).T


def runs_of_text(text: str) -> list[int]:
    """COCO's compressed run lengths: five bits a character, low bits first, signed; from the third on, the change since two before."""
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"its counts hold the character {character!r}, which is none of the 64 that run lengths are written with")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:  # the last character of this number, its fifth bit the sign
            value -= (1 << shift) if bits & 16 else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError("its counts end in the middle of a number")
    return runs


def text_of_runs(runs: list[int]) -> str:
    """The inverse of `runs_of_text`."""
    text = ""
    for k, run in enumerate(runs):
        value = run - (runs[k - 2] if k > 2 else 0)
        while True:
            bits, value = value & 31, value >> 5
            more = value != (-1 if bits & 16 else 0)
            text += chr(48 + bits + 32 * more)
            if not more:
                break
    return text


def runs_of_mask(mask: Bool[np.ndarray, "h w"]) -> list[int]:
    """The inverse of `mask_of_runs`."""
    flat = np.concatenate([[False], mask.T.ravel(), [not mask.T.ravel()[-1]]])
    ends = np.flatnonzero(flat[1:] != flat[:-1])
    return np.diff(ends, prepend=0).tolist()


def mask_of_polygons(polygons: list[Any], size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """Every pixel whose middle lies inside any of the polygons, each x, y, x, y, ..."""
    from skimage.draw import polygon as pixels_inside

    if not 0 < size[0] * size[1] <= MOST_PIXELS:
        raise ValueError(f"a frame of {size[0]}×{size[1]} pixels")
    canvas = np.zeros(size, bool)
    for polygon in polygons:
        corners = np.asarray(polygon, np.float64)
        if corners.ndim != 1 or len(corners) < 6 or len(corners) % 2:
            raise ValueError(f"a polygon of {corners.size} numbers; expected x, y of three corners or more")
        # the middle of pixel 0 is at ½ in these files, at 0 where pixels are drawn
        canvas[pixels_inside(corners[1::2] - 0.5, corners[::2] - 0.5, size)] = True
    return canvas


def score_of(record: dict[str, Any]) -> float:
    """Predicted IoU where it is told, else stability, else a score; 0..1, and 1 where nothing is known."""
    told = next((record[k] for k in ("predicted_iou", "stability_score", "score") if record.get(k) is not None), 1.0)
    return float(np.clip(np.nan_to_num(float(told)), 0, 1))
