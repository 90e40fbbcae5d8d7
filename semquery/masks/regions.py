"""Masks without weights: nested regions of like colour."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from semquery.masks.stacks import empty_stack, regions_of, shrink, stack_masks, without_duplicates
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
