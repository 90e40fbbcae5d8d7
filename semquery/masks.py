"""2D masks of a view: where they come from and how they are packed.

A mask source is a frozen dataclass, configuration and callable in one: `source(name, image)` gives the
masks of one view as label layers. Masks may nest and may be empty; they need not agree between views,
which is what the field is for. A source may work at a smaller size than the photo: masks are read by
relative position, so only the aspect ratio has to match.
"""

import zlib
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8

from semquery.types import MaskStack


@dataclass(frozen=True)
class Regions:
    """Nested regions of like colour (scikit-image): no weights, works anywhere, knows nothing of objects.

    Total-variation denoising, Felzenszwalb segmentations at several scales, and SLIC superpixels merged
    by mean Lab colour at several thresholds; regions that say the same twice are dropped.
    """

    max_side: int = 256
    """Longest side of the image that is segmented, pixels."""
    denoise: float = 0.04
    """Weight of the total-variation denoising; 0 = none."""
    scales: tuple[float, ...] = (40.0, 150.0, 500.0)
    """Felzenszwalb scales: larger means larger regions."""
    superpixels: int = 250
    """Number of SLIC superpixels before merging."""
    color_steps: tuple[float, ...] = (5.0, 10.0, 18.0, 30.0)
    """Lab distances at which neighbouring superpixels are merged."""
    min_pixels: int = 14
    """Smaller regions are dropped."""
    same_iou: float = 0.85
    """Of two regions that overlap more than this (intersection over union) the smaller is dropped."""

    def __call__(self, name: str, image: UInt8[np.ndarray, "h w c"]) -> MaskStack:
        from skimage.restoration import denoise_tv_chambolle

        image = shrink(image, self.max_side)
        inside = image[..., 3] > 127 if image.shape[2] == 4 else np.ones(image.shape[:2], bool)
        if inside.sum() < self.min_pixels:
            return empty_stack(image.shape[:2])
        rgb = image[..., :3].astype(np.float32) / 255
        if self.denoise:
            rgb = denoise_tv_chambolle(rgb, weight=self.denoise, max_num_iter=30, channel_axis=-1)
        labelings = [*self._felzenszwalb(rgb), *self._merged_superpixels(rgb, inside)]
        masks = [m for labels in labelings for m in regions_of(np.where(inside, labels, 0), self.min_pixels)]
        if not masks:
            return empty_stack(image.shape[:2])
        kept = without_duplicates(np.stack(masks), self.same_iou)
        return stack_masks(kept, np.ones(len(kept), np.float32))

    def _felzenszwalb(self, rgb: np.ndarray) -> list[np.ndarray]:
        from skimage.segmentation import felzenszwalb

        return [felzenszwalb(rgb, scale=s, sigma=0.5, min_size=self.min_pixels) + 1 for s in self.scales]

    def _merged_superpixels(self, rgb: np.ndarray, inside: np.ndarray) -> list[np.ndarray]:
        from skimage.color import rgb2lab
        from skimage.graph import cut_threshold, rag_mean_color
        from skimage.segmentation import slic

        # slic takes rgb: it scales what it is given to 0..1 before it converts to Lab, so Lab given to it would count for nothing
        labels = slic(rgb, self.superpixels, compactness=6, mask=inside, start_label=1, channel_axis=-1)
        if labels.max() < 2:
            return [labels]
        graph = rag_mean_color(rgb2lab(rgb), labels)
        return [cut_threshold(labels, graph, step, in_place=False) + 1 for step in self.color_steps]


@dataclass(frozen=True)
class MaskFolder:
    """Masks made elsewhere, one entry per view, named like the photo (without its suffix).

    <view>.npz        `masks` [m, h, w] boolean, or semquery's own `layers` and `scores`
    <view>.png        one label image: 0 = no mask, k = mask k (8 or 16 bit, or palette)
    <view>/*.png      one black-and-white image per mask
    """

    folder: Path
    """Where the masks lie."""
    allow_missing: bool = False
    """Treat views without an entry as views without masks, instead of refusing them."""

    def entry(self, name: str) -> Path | None:
        """The file or folder that holds a view's masks."""
        found = (self.folder / f"{name}.npz", self.folder / f"{name}.png", self.folder / name)
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
                f"{missing[0]}.npz or {missing[0]}/*.png. Views that have none: set allow-missing."
            )

    def __call__(self, name: str, image: UInt8[np.ndarray, "h w c"]) -> MaskStack:
        entry = self.entry(name)
        if entry is None:
            return empty_stack(image.shape[:2])
        stack = _read_masks(entry)
        (h, w), (rows, columns) = stack.size, image.shape[:2]
        if stack.num_masks and abs(h * columns - w * rows) > 0.02 * w * rows:
            raise ValueError(
                f"{entry} is {h}×{w}, its photo {rows}×{columns}: the shapes differ, so the masks belong to other "
                "pictures or were cropped. Masks may be smaller than the photo but must show the same frame."
            )
        return stack


MaskSource = Regions | MaskFolder


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


def pairwise_iou(a: Bool[np.ndarray, "m h w"], b: Bool[np.ndarray, "k h w"]) -> Float32[np.ndarray, "m k"]:
    """Intersection over union of every pair of masks; 0 where both are empty."""
    A, B = (m.reshape(len(m), m.shape[1] * m.shape[2]).astype(np.float32) for m in (a, b))
    both = A @ B.T
    union = A.sum(1)[:, None] + B.sum(1)[None] - both
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


def shrink(image: UInt8[np.ndarray, "h w c"], max_side: int) -> UInt8[np.ndarray, "a b c"]:
    """The image with its longer side at most `max_side`, area-averaged; never enlarged."""
    from PIL import Image

    h, w = image.shape[:2]
    factor = max_side / max(h, w)
    if factor >= 1:
        return image
    size = (max(1, round(w * factor)), max(1, round(h * factor)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an npz file, never unpickled. Raises ValueError when it is torn or not an npz."""
    try:
        with np.load(path, allow_pickle=False) as data:
            return dict(data)
    except (OSError, ValueError, EOFError, BadZipFile, zlib.error, TypeError) as error:
        raise ValueError(f"{path} cannot be read ({error}).") from error


def _read_masks(entry: Path) -> MaskStack:
    from PIL import Image

    if entry.suffix == ".npz":
        data = load_arrays(entry)
        if {"layers", "scores"} <= data.keys():
            return MaskStack(data["layers"].astype(np.uint16), data["scores"].astype(np.float32))
        if "masks" in data:
            masks = data["masks"] > 0
            return stack_masks(masks, np.ones(len(masks), np.float32))
        raise ValueError(f"{entry} holds {sorted(data)}; expected `masks` [m, h, w], or `layers` and `scores`.")
    if entry.is_dir():
        files = sorted(entry.glob("*.png"))
        if not files:
            raise ValueError(f"{entry} holds no PNG; expected one black-and-white PNG per mask.")
        masks = np.stack([np.asarray(Image.open(f).convert("L")) > 127 for f in files])
        return stack_masks(masks, np.ones(len(masks), np.float32))
    with Image.open(entry) as picture:
        labels = np.asarray(picture)
    if labels.ndim != 2:
        raise ValueError(f"{entry} is a colour image {labels.shape}; expected one integer label per pixel (8 or 16 bit grey, or palette).")
    masks = regions_of(labels.astype(np.int64), min_pixels=1)
    return stack_masks(masks, np.ones(len(masks), np.float32))
