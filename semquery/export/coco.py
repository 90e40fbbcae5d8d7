"""Masks of parts in the photos: COCO instances as JSON, a PNG per part and view, a PNG of part numbers per view.

Notation
  h w height and width of a photo, k pixels of it that show a part.
Conventions
  Masks have the size the cameras give the photos. Where a view was observed on another grid of pixels, each pixel of the
  photo takes the value of the grid's pixel that its centre falls into: nothing is interpolated.
  Every mask of a part holds what is inside the part too, so masks of a part and its ancestors overlap. Only what a view
  shows is in a mask, not what something else hides.
  The numbers of COCO's images, categories and annotations count from 1, as its own evaluation needs it; parts keep the
  run's numbers, in a field `semquery` of each annotation.
  Segmentations are compressed run lengths with iscrowd = 0. The format's own files have polygons there, but its own
  reader takes both, and polygons would cut holes and thin parts short.
"""

import io
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int32, Integer, UInt16

from semquery.export.chosen import Chosen
from semquery.masks.formats import text_of_runs
from semquery.spans import Spans
from semquery.types import Cameras

UNKNOWN = "unknown"  # the category of parts without a name
MOST_PARTS = 2**16 - 1  # 16 bits, less the 0 for no part


def coco_record(chosen: Chosen, cameras: Cameras) -> dict[str, Any]:
    """COCO's instances: an image per view with a surface, a category per name, an annotation per chosen part and view that shows it.

    A category's `supercategory` is what the parents of its parts are called most often (its own name at the top of the tree).
    `file_name` is the photo's path below `info.photos`, the folder all photos lie in.
    Raises ValueError where no view shows the surface, or a view has no camera.
    """
    shown = _shown(chosen, cameras)
    folder, files = _below_one_folder([cameras.images[row] for _, row in shown])
    categories = _categories(chosen)
    number = {category["name"]: category["id"] for category in categories}
    images, annotations = [], []
    for (view, row), file in zip(shown, files, strict=True):
        height, width = (int(side) for side in cameras.sizes[row])
        images.append({"id": len(images) + 1, "file_name": file, "width": width, "height": height, "semquery": {"view": view}})
        for part, pixels in _pixels(chosen, view, (height, width), chosen.nodes):
            annotations.append({
                "id": len(annotations) + 1, "image_id": len(images), "category_id": number[_category(chosen, part)],
                **_segment(pixels, (height, width)), "iscrowd": 0, "semquery": _said_of(chosen, part),
            })
    info = {"description": "Parts of a scene, by semquery", "version": "1", "schema": "semquery/coco", "photos": folder}
    return {"info": info, "licenses": [], "images": images, "categories": categories, "annotations": annotations}


def mask_pngs(chosen: Chosen, cameras: Cameras, parts: Iterable[int] | None = None) -> Iterator[tuple[str, int, bytes]]:
    """(view, part, PNG) for every view that shows the part: 1 bit a pixel, white inside the part, at the photo's size.

    `parts`: by default the highest that were chosen. Raises ValueError as `coco_record` does.
    """
    wanted = chosen.tops if parts is None else tuple(parts)
    for view, row in _shown(chosen, cameras):
        height, width = (int(side) for side in cameras.sizes[row])
        for part, pixels in _pixels(chosen, view, (height, width), wanted):
            mask = np.zeros(width * height, bool)
            mask[pixels] = True
            yield view, part, _png(np.ascontiguousarray(mask.reshape(width, height).T))


def id_pngs(chosen: Chosen, cameras: Cameras) -> Iterator[tuple[str, bytes]]:
    """(view, PNG) for every view: 16 bits a pixel, the number of the smallest chosen part the pixel shows plus 1; 0 = none.

    Raises ValueError as `coco_record` does, and for a tree whose numbers do not fit.
    """
    if chosen.parts.num_parts > MOST_PARTS:
        raise ValueError(f"The tree has {chosen.parts.num_parts} parts, and a picture of 16 bits has numbers for {MOST_PARTS}: "
                         "export coco instead.")
    number = np.where(chosen.inside, chosen.parts.part_of_point + 1, 0).astype(np.uint16)
    for view, row in _shown(chosen, cameras):
        height, width = (int(side) for side in cameras.sizes[row])
        point = nearest(chosen.surface.point_of_pixel[view], (height, width))
        shown = np.zeros((height, width), np.uint16)
        shown[point >= 0] = number[point[point >= 0]]
        yield view, _png(shown)


def nearest(grid: Int32[np.ndarray, "a b"], size: tuple[int, int]) -> Int32[np.ndarray, "h w"]:
    """The grid at another height and width: each pixel has the value of the grid's pixel that its centre falls into."""
    rows, columns = ((2 * np.arange(to) + 1) * have // (2 * to) for to, have in zip(size, grid.shape, strict=True))
    return grid[rows[:, None], columns]


def runs_of_pixels(pixels: Integer[np.ndarray, " k"], total: int) -> list[int]:
    """Run lengths, by turns outside and inside, of increasing pixel numbers out of 0 .. total - 1; the last run is never empty."""
    if not len(pixels):
        return [total]
    gaps = np.flatnonzero(np.diff(pixels) != 1)
    ends = np.stack([pixels[np.append(0, gaps + 1)], pixels[np.append(gaps, len(pixels) - 1)] + 1], axis=1).reshape(-1)
    runs = np.diff(ends, prepend=0).tolist()
    return runs if ends[-1] == total else [*runs, total - int(ends[-1])]


def _shown(chosen: Chosen, cameras: Cameras) -> list[tuple[str, int]]:
    """The views that have a surface, in the order of the cameras, and the row of each camera."""
    held = chosen.surface.point_of_pixel
    if not held:
        raise ValueError("The surface was made without views, so there are no masks to export; the other formats need none.")
    missing = sorted(held.keys() - set(cameras.names))
    if missing:
        raise ValueError(f"The surface has a view {missing[0]} and the cameras have none of that name: "
                         "make the surface anew with semquery fit.")
    return [(view, row) for row, view in enumerate(cameras.names) if view in held]


def _pixels(chosen: Chosen, view: str, size: tuple[int, int], parts: Sequence[int]) -> Iterator[tuple[int, Integer[np.ndarray, " k"]]]:
    """Those of the parts that the view shows, and their pixels in the photo: increasing, numbered column by column."""
    turned = nearest(chosen.surface.point_of_pixel[view], size).T  # row by row of the turned picture is column by column
    spans = Spans(chosen.parts, replace(chosen.surface, point_of_pixel={view: turned}))
    count = spans.num_pixels(view)
    for part in parts:
        if count[part]:
            yield part, np.sort(spans.pixels.within(spans.ranges([part])), kind="stable")


def _segment(pixels: Integer[np.ndarray, " k"], size: tuple[int, int]) -> dict[str, Any]:
    """Segmentation, area and box (x, y, width, height) of pixels numbered column by column."""
    columns, rows = np.divmod(pixels, size[0])
    left, top = int(columns.min()), int(rows.min())
    box = [left, top, int(columns.max()) + 1 - left, int(rows.max()) + 1 - top]
    counts = text_of_runs(runs_of_pixels(pixels, size[0] * size[1]))
    return {"segmentation": {"size": list(size), "counts": counts}, "area": len(pixels), "bbox": box}


def _said_of(chosen: Chosen, part: int) -> dict[str, Any]:
    parent = int(chosen.parts.parents[part])
    return {"part": part, "path": list(chosen.path(part)), "parent": parent if parent != part else None}


def _category(chosen: Chosen, part: int) -> str:
    label = chosen.labels.get(part)
    return label.name if label is not None and label.name.strip() else UNKNOWN


def _categories(chosen: Chosen) -> list[dict[str, Any]]:
    """One for each name among the chosen parts, in alphabetical order."""
    above: dict[str, Counter[str]] = {}
    for part in chosen.nodes:
        above.setdefault(_category(chosen, part), Counter())[_category(chosen, int(chosen.parts.parents[part]))] += 1
    common = {name: min(counts, key=lambda parent: (-counts[parent], parent)) for name, counts in above.items()}
    return [{"id": k + 1, "name": name, "supercategory": common[name]} for k, name in enumerate(sorted(common))]


def _below_one_folder(photos: Sequence[str]) -> tuple[str, list[str]]:
    """The deepest folder that holds all photos, and their paths below it; "" and the whole paths where there is none."""
    try:
        folder = os.path.commonpath([Path(photo).parent for photo in photos])
    except ValueError:  # some are absolute paths and some are not
        return "", [Path(photo).as_posix() for photo in photos]
    return Path(folder).as_posix() if folder else "", [Path(photo).relative_to(folder).as_posix() for photo in photos]


def _png(picture: Bool[np.ndarray, "h w"] | UInt16[np.ndarray, "h w"]) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()
