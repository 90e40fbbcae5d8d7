"""Masks that lie in a folder, made by whatever made them: a reasoning segmenter that runs elsewhere, or a person with a brush.

    FOLDER/mask_0.jpg  mask_1.png …         one mask a view, by its name, with or without mask_ (mask_view_3.png, view_3.png), or, where
                                            the view is called view_3, frame_3 or 3, by its number
    FOLDER/boxes.json                       optional: [{"view": 0, "boxes": [[x0, y0, x1, y1], …], "scores": […], "texts": […]}, …]
    FOLDER/<query>/…                        of several queries each in a folder of its own, named like the query

With boxes, each is a region: what the mask has in it, or all of it where there is no mask. A view without either does not show what is
asked for. Boxes are pixels of the mask, columns before rows, the last ones excluded.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8

from semquery.manifest import sha256
from semquery.pictures import load_photo, resized
from semquery.segmenter.base import Context, Region, SegmenterError
from semquery.segmenter.oracle import boxed

KINDS = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class Recorded:
    """Masks made elsewhere, one for each view."""

    folder: Path
    """Masks by view: view_3.png, mask_3.jpg or 3.png, and boxes.json with boxes, scores and texts where there are any. Of several queries
    each in a folder of its own within, called like the query, with blanks or dashes."""
    threshold: int = 80
    """Pixels of a mask above this (of 255) belong to the region: JPEG leaves no clean 0."""

    @property
    def identity(self) -> str:
        return f"Recorded 1 {sha256(Path(self.folder))[:16]} threshold={self.threshold}"

    def check(self) -> str:
        folder = Path(self.folder)
        if not folder.is_dir():
            raise ValueError(f"There is no folder {folder} with masks; expected one with a mask for each view (mask_0.png, view_0.png).")
        count = sum(path.suffix.lower() in KINDS for path in folder.rglob("*"))
        if not count and not any(folder.rglob("boxes.json")):
            raise ValueError(f"{folder} holds no masks and no boxes.json; expected a mask for each view (mask_0.png, view_0.png).")
        return f"{count} pictures in {folder}"

    def segment(self, image: UInt8[np.ndarray, "h w 3"], query: str, context: Context = Context()) -> list[Region]:
        """What the folder holds of a view. Raises SegmenterError for files that cannot be read and masks of another shape."""
        folder = self._folder_of(query)
        mask = self._mask(folder, context.view, image.shape[:2])
        told = _told(folder / "boxes.json", context.view)
        if told is None:
            return [Region(mask)] if mask is not None and mask.any() else []
        return [region for region in _regions(told, mask, image.shape[:2], folder) if region.mask.any()]

    def _folder_of(self, query: str) -> Path:
        folder, words = Path(self.folder), " ".join(re.sub(r"[^\w]+", " ", query.lower()).split())
        found = next((own for name in (query, words, words.replace(" ", "-"), words.replace(" ", "_")) if name and (own := folder / name).is_dir()), folder)
        if found == folder and not any(path.suffix.lower() in KINDS or path.name == "boxes.json" for path in folder.glob("*")):
            raise SegmenterError(f"{folder} holds no masks for {query!r}: expected some in it, or in {folder / words.replace(' ', '-')}.")
        return found

    def _mask(self, folder: Path, view: str, size: tuple[int, int]) -> Bool[np.ndarray, "h w"] | None:
        """A mask of the same shape in another resolution is brought to the picture's."""
        names = [name for name in (view, number(view)) if name not in ("", None)]
        # mask_ first: pictures of the views may lie beside the masks
        path = next((p for stem in ("mask_", "") for name in names for kind in KINDS if (p := folder / f"{stem}{name}{kind}").is_file()), None)
        if path is None:
            return None
        try:
            mask = load_photo(path)[..., :3].max(-1) > self.threshold
        except ValueError as error:
            raise SegmenterError(str(error)) from error
        if abs(mask.shape[0] / mask.shape[1] - size[0] / size[1]) > 0.01:
            raise SegmenterError(f"{path} has {mask.shape} pixels and the view {size}: expected the same shape.")
        return mask if mask.shape == size else resized(mask, size)


def number(view: str) -> int | None:
    """The number of a view that is called by its number alone: 3, view_3 or frame_00003. Others may share their numbers (door_3, lamp_3)."""
    found = re.fullmatch(r"(?:(?:view|frame)[_-]?)?(\d+)", view)
    return int(found[1]) if found else None


def _told(path: Path, view: str) -> Mapping[str, Any] | None:
    """What boxes.json says of a view; None where there is no such file, nothing in it where it does not name the view."""
    if not path.is_file():
        return None
    try:
        entries = json.loads(path.read_bytes())
        return next((each for each in entries if str(each["view"]) in (view, str(number(view)))), {})
    except (ValueError, TypeError, KeyError) as error:
        raise SegmenterError(f"{path} cannot be read ({error}); expected a list of {{\"view\": …, \"boxes\": […], \"scores\": […]}}.") from error


def _regions(told: Mapping[str, Any], mask: Bool[np.ndarray, "h w"] | None, size: tuple[int, int], folder: Path) -> list[Region]:
    boxes = told.get("boxes", [])
    scores, texts, scale = told.get("scores", [1.0] * len(boxes)), told.get("texts", [""] * len(boxes)), told.get("image_size", size)
    if not len(boxes) == len(scores) == len(texts):
        raise SegmenterError(f"{folder / 'boxes.json'} has {len(boxes)} boxes, {len(scores)} scores and {len(texts)} texts in one view: expected as many of each.")
    found = []
    for box, score, text in zip(boxes, scores, texts, strict=True):
        x0, y0, x1, y1 = _scaled(box, scale, size)
        inside = boxed(size, (x0, y0, x1, y1))
        found.append(Region(inside if mask is None else inside & mask, float(score), (x0, y0, x1, y1), text=str(text)))
    return found


def _scaled(box, scale, size: tuple[int, int]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (float(value) for value in box)
    return x0 * size[1] / scale[1], y0 * size[0] / scale[0], x1 * size[1] / scale[1], y1 * size[0] / scale[0]
