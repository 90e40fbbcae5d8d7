"""Masks of a view drawn from its true parts: exact, or broken the way segmenters break them.

Notation
  h w image height and width, m masks, a nodes of the true tree (`parents`: leaves first, root last).
  `leaf` holds the true leaf of every pixel, -1 where there is nothing.
The noise is synthetic and drawn from the true tree: a real segmenter also misses whole groups and finds
textures. It says how a method bears inconsistent views, not how it does with a given model.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from eval.metrics import depths
from semquery.masks import stack_masks, without_duplicates
from semquery.types import MaskStack

MIN_PIXELS = 12  # smaller masks are dropped


@dataclass(frozen=True)
class Noise:
    """What happens to the true masks of a view, in this order."""

    levels: float = 0.6  # probability that a level of the tree is masked at all in a view
    drop: float = 0.25  # probability that a mask is lost
    merge: float = 0.12  # probability that a mask swallows one that touches it
    facet: float = 0.2  # probability that only one facet of a part is found, as where shading ends a region
    boundary: float = 0.6  # pixels, standard deviation of how far the outline moves; it peaks at twice that
    smoothness: float = 6.0  # pixels over which the outline moves together
    same_iou: float = 0.9  # masks more alike than this are one


SAM_LIKE = Noise()
HARD = Noise(levels=0.45, drop=0.45, merge=0.25, facet=0.4, boundary=1.2)


def exact_masks(leaf: Int[np.ndarray, "h w"], parents: Int[np.ndarray, " a"]) -> MaskStack:
    """One mask per visible node, the root left out."""
    masks, _ = node_masks(leaf, parents)
    return stack_masks(masks, np.ones(len(masks), np.float32))


def noisy_masks(
    leaf: Int[np.ndarray, "h w"], normals: Float[np.ndarray, "h w 3"], parents: Int[np.ndarray, " a"], noise: Noise, seed: tuple[int, ...]
) -> MaskStack:
    """The view's masks with noise; `seed` is one tuple a view, such as (seed of the experiment, number of the view)."""
    random = np.random.default_rng(seed)
    masks, nodes = node_masks(leaf, parents)
    depth = depths(parents)
    present = random.random(depth.max() + 1) < noise.levels
    masks = masks[present[depth[nodes]] & (random.random(len(masks)) >= noise.drop)]
    masks = merge_touching(masks, noise.merge, random)
    masks = keep_one_facet(masks, normals, noise.facet, random)
    masks = move_outlines(masks, noise.boundary, noise.smoothness, random)
    masks = masks[masks.sum((1, 2)) >= MIN_PIXELS]
    if len(masks):
        masks = without_duplicates(masks, noise.same_iou)
    return stack_masks(masks, np.ones(len(masks), np.float32))


def node_masks(leaf: Int[np.ndarray, "h w"], parents: Int[np.ndarray, " a"]) -> tuple[Bool[np.ndarray, "m h w"], Int[np.ndarray, " m"]]:
    """The pixels of every node with enough of them, and which node each mask is; the root left out."""
    masks = leaf[None] == np.arange(len(parents))[:, None, None]
    for node in range(len(parents) - 1):
        masks[parents[node]] |= masks[node]
    nodes = np.flatnonzero(masks[:-1].sum((1, 2)) >= MIN_PIXELS)
    return masks[nodes], nodes


def merge_touching(masks: Bool[np.ndarray, "m h w"], share: float, random: np.random.Generator) -> Bool[np.ndarray, "m h w"]:
    """With probability `share`, a mask becomes the union of itself and a disjoint mask that touches it."""
    from scipy.ndimage import binary_dilation

    merged = masks.copy()
    for k in np.flatnonzero(random.random(len(masks)) < share):
        rim = binary_dilation(masks[k], iterations=2) & ~masks[k]
        apart = ~(masks & masks[k]).any((1, 2))
        touching = np.flatnonzero(apart & (masks & rim).any((1, 2)))
        if len(touching):
            merged[k] |= masks[random.choice(touching)]
    return merged


def keep_one_facet(
    masks: Bool[np.ndarray, "m h w"], normals: Float[np.ndarray, "h w 3"], share: float, random: np.random.Generator
) -> Bool[np.ndarray, "m h w"]:
    """With probability `share`, only the pixels of one normal (nearest of the six axis directions) are left of a mask."""
    axis = np.abs(normals).argmax(-1)
    facet = 2 * axis + (np.take_along_axis(normals, axis[..., None], -1)[..., 0] > 0)
    kept = masks.copy()
    for k in np.flatnonzero(random.random(len(masks)) < share):
        facets, pixels = np.unique(facet[masks[k]], return_counts=True)
        kept[k] &= facet == random.choice(facets, p=pixels / pixels.sum())
    return kept


def move_outlines(
    masks: Bool[np.ndarray, "m h w"], pixels: float, smoothness: float, random: np.random.Generator
) -> Bool[np.ndarray, "m h w"]:
    """Each mask's outline moved in and out by a smooth random field with this standard deviation."""
    moved = [signed_distance(mask) + pixels * smooth_field(mask.shape, smoothness, random) > 0 for mask in masks]
    return np.stack(moved) if moved else masks


def signed_distance(mask: Bool[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """Pixels to the outline, which runs between pixels: positive inside, negative outside."""
    from scipy.ndimage import distance_transform_edt

    if mask.all() or not mask.any():
        return np.full(mask.shape, np.inf if mask.all() else -np.inf, np.float32)
    inside, outside = distance_transform_edt(mask), distance_transform_edt(~mask)
    return np.where(mask, inside - 0.5, 0.5 - outside).astype(np.float32)


def smooth_field(size: tuple[int, int], smoothness: float, random: np.random.Generator) -> Float32[np.ndarray, "h w"]:
    """Gaussian noise blurred over `smoothness` pixels, back to unit variance."""
    from scipy.ndimage import gaussian_filter

    # White noise blurred with a Gaussian of deviation s has deviation 1 / (2 s sqrt(pi)).
    field = gaussian_filter(random.normal(size=size), smoothness, mode="wrap")
    return (field * 2 * smoothness * np.sqrt(np.pi)).astype(np.float32)
