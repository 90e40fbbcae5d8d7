"""Masks made elsewhere: a folder with one entry per view."""

import zlib
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from jaxtyping import UInt8

from semquery.masks.formats import masks_of_json
from semquery.masks.stacks import empty_stack, regions_of, stack_masks
from semquery.types import MaskStack


@dataclass(frozen=True)
class MaskFolder:
    """Masks made elsewhere, one entry per view, named like the photo (without its suffix).

    <view>.npz        `masks` [m, h, w] boolean, or semquery's own `layers` and `scores`
    <view>.json       records as SAM's automatic generator writes them (SA-1B's files too): run lengths or polygons
    <view>.png        one label image: 0 = no mask, k = mask k (8 or 16 bit, or palette)
    <view>/*.png      one black-and-white image per mask
    """

    folder: Path
    """Where the masks lie."""
    allow_missing: bool = False
    """Treat views without an entry as views without masks, instead of refusing them."""

    def entry(self, name: str) -> Path | None:
        """The file or folder that holds a view's masks."""
        found = (*(self.folder / f"{name}.{suffix}" for suffix in ("npz", "json", "png")), self.folder / name)
        return next((p for p in found if p.exists()), None)

    def check(self, names: list[str]) -> None:
        """Raise before any work when the folder does not belong to these views."""
        if not self.folder.is_dir():
            raise ValueError(f"There is no mask folder at {self.folder}.")
        missing = [n for n in names if self.entry(n) is None]
        if missing and (len(missing) == len(names) or not self.allow_missing):
            present = sorted(p.name for p in self.folder.iterdir())[:3]
            raise ValueError(
                f"{self.folder} has no masks for {len(missing)} of {len(names)} views (first: {missing[0]}); "
                f"it holds {present or 'nothing'}. Entries must be named like the photos: {missing[0]}.png, "
                f"{missing[0]}.npz, {missing[0]}.json or {missing[0]}/*.png. Views that have none: set allow-missing."
            )

    def __call__(self, name: str, image: UInt8[np.ndarray, "h w c"]) -> MaskStack:
        entry = self.entry(name)
        if entry is None:
            return empty_stack(image.shape[:2])
        stack = _read_masks(entry, image.shape[:2])
        (h, w), (rows, columns) = stack.size, image.shape[:2]
        if stack.num_masks and abs(h * columns - w * rows) > 0.02 * w * rows:
            raise ValueError(
                f"{entry} is {h}×{w}, its photo {rows}×{columns}: the shapes differ, so the masks belong to other "
                "pictures or were cropped. Masks may be smaller than the photo but must show the same frame."
            )
        return stack


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an npz file, never unpickled. Raises ValueError when it is torn or not an npz."""
    try:
        with np.load(path, allow_pickle=False) as data:
            return dict(data)
    except (OSError, ValueError, EOFError, BadZipFile, zlib.error, TypeError) as error:
        raise ValueError(f"{path} cannot be read ({error}).") from error


def _read_masks(entry: Path, frame: tuple[int, int]) -> MaskStack:
    if entry.suffix == ".npz":
        return _read_npz(entry)
    if entry.suffix == ".json":
        masks, scores = masks_of_json(entry, frame)
        return stack_masks(masks, scores)
    masks = _read_pngs(entry) if entry.is_dir() else _read_labels(entry)
    return stack_masks(masks, np.ones(len(masks), np.float32))


def _read_npz(entry: Path) -> MaskStack:
    data = load_arrays(entry)
    if {"layers", "scores"} <= data.keys():
        return _checked(entry, MaskStack(data["layers"].astype(np.uint16), data["scores"].astype(np.float32)))
    if "masks" not in data:
        raise ValueError(f"{entry} holds {sorted(data)}; expected `masks` [m, h, w], or `layers` and `scores`.")
    if data["masks"].ndim != 3:
        raise ValueError(f"{entry}: `masks` has shape {data['masks'].shape}; expected one picture per mask, [m, h, w].")
    masks = data["masks"] > 0
    return stack_masks(masks, np.ones(len(masks), np.float32))


def _checked(entry: Path, stack: MaskStack) -> MaskStack:
    if stack.layers.ndim != 3 or stack.scores.ndim != 1 or stack.layers.max(initial=0) > stack.num_masks:
        raise ValueError(
            f"{entry}: `layers` has shape {stack.layers.shape} and labels up to {stack.layers.max(initial=0)}, `scores` has "
            f"shape {stack.scores.shape}; expected [l, h, w] with labels 1 to m, and [m].")
    return stack


def _read_pngs(entry: Path) -> np.ndarray:
    from PIL import Image

    files = sorted(entry.glob("*.png"))
    if not files:
        raise ValueError(f"{entry} holds no PNG; expected one black-and-white PNG per mask.")
    masks = [np.asarray(_opened(Image, f).convert("L")) > 127 for f in files]
    odd = next((k for k, mask in enumerate(masks) if mask.shape != masks[0].shape), None)
    if odd is not None:
        raise ValueError(f"{files[odd]} is {masks[odd].shape}, {files[0].name} is {masks[0].shape}; masks of one view must be of one size.")
    return np.stack(masks)


def _read_labels(entry: Path) -> np.ndarray:
    from PIL import Image

    labels = np.asarray(_opened(Image, entry))
    if labels.ndim != 2:
        raise ValueError(f"{entry} is a colour image {labels.shape}; expected one integer label per pixel (8 or 16 bit grey, or palette).")
    return regions_of(labels.astype(np.int64), min_pixels=1)


def _opened(reader, path: Path):
    """A picture, read whole; a torn file is a ValueError that names it."""
    try:
        with reader.open(path) as picture:
            picture.load()
            return picture
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{path} cannot be read as an image: {error}") from error
