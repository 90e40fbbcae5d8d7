"""A surface of any size seen in any number of views, with masks: what the benches of evidence and growth work on.

The world is a square sheet with bumps; its points are one unit apart. Its parts are patches within patches: level k
divides the sheet into 2^k by 2^k cells with wavy borders. A view looks straight down on a window of the sheet, one
pixel a point or so, and its masks are the cells it sees, with borders that wander from view to view; a share of the
masks is lost. So nodes of a good tree match many masks well, and none perfectly: what segmenters give.

Notation: n points, v views, h w side of a view's pixel grid, l levels.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from semquery.types import MaskStack, Observation, Surface

LEVELS = range(1, 6)  # of patches; a window of a third of the sheet shows about 1 to 140 cells a level
LOST = 0.25  # share of the masks that a view lacks
WANDER = 0.02  # how far borders wander from view to view, in shares of a window


@dataclass(frozen=True)
class Patchwork:
    """Everything the tree stage starts from, and the observations that the surface would be fused from."""

    surface: Surface
    masks: dict[str, MaskStack]
    seen: dict[str, Observation]
    eyes: dict[str, Float64[np.ndarray, " 3"]]

    @property
    def num_masks(self) -> int:
        return sum(stack.num_masks for stack in self.masks.values())


def patchwork(num_points: int, num_views: int, seed: int = 0) -> Patchwork:
    """About `num_points` points in `num_views` views of some hundred masks each."""
    rng, side = np.random.default_rng(seed), int(np.sqrt(num_points))
    row, column = np.divmod(np.arange(side * side), side)
    points = _lifted(np.stack([column, row], 1) + rng.uniform(-0.3, 0.3, (side * side, 2)), side)
    features = _features(points[:, :2] / side, rng)
    window = max(16, side // 3)
    images, masks, seen, eyes = {}, {}, {}, {}
    for v in range(num_views):
        name = f"{v:04d}"
        y, x = rng.integers(0, side - window + 1, 2)
        at = np.stack(np.meshgrid(np.arange(x, x + window), np.arange(y, y + window)), -1).reshape(-1, 2)
        images[name] = (at[:, 1] * side + at[:, 0]).astype(np.int32).reshape(window, window)
        masks[name] = _masks(at, window, side, rng)
        seen[name] = Observation((window, window), np.arange(window**2, dtype=np.int32),
                                 _lifted(at + rng.uniform(-0.3, 0.3, at.shape), side), np.full((window**2, 3), 128, np.uint8))
        eyes[name] = np.array([x + window / 2, y + window / 2, side])
    normals, gray = np.tile(np.float32([0, 0, 1]), (len(points), 1)), np.full((len(points), 3), 128, np.uint8)
    return Patchwork(Surface(points, normals, gray, features, np.arange(len(points), dtype=np.int32), 1.0, images), masks, seen, eyes)


def _lifted(at: Float64[np.ndarray, "n 2"], side: int) -> np.ndarray:
    """Points of the sheet over these places: bumps some thirty points wide."""
    height = 3 * np.sin(at[:, 0] / 5) * np.sin(at[:, 1] / 5)
    return np.stack([at[:, 0], at[:, 1], height], 1).astype(np.float32)


def cells(at: Float64[np.ndarray, "n 2"]) -> Int64[np.ndarray, "l n"]:
    """The patch of every level at places in 0..1 of the sheet, numbered within the level."""
    wavy = at + 0.02 * np.sin(at[:, ::-1] * 17 + np.array([0.0, 2.0])) + 0.005 * np.sin(at[:, ::-1] * 71)
    wavy = np.clip(wavy, 0, 1 - 1e-9)
    return np.stack([(wavy[:, 1] * 2**k).astype(np.int64) * 2**k + (wavy[:, 0] * 2**k).astype(np.int64) for k in LEVELS])


def _features(at: Float64[np.ndarray, "n 2"], rng: np.random.Generator, dim: int = 16) -> np.ndarray:
    """Unit features: coarse patches differ more than the fine ones inside them, plus noise that is now and then large."""
    total = np.zeros((len(at), dim))
    for depth, number in enumerate(cells(at)):
        codes = rng.normal(size=(number.max() + 1, dim))
        total += 0.6**depth * codes[number]
    total += rng.normal(size=total.shape) * rng.gamma(0.5, 0.1, (len(at), 1))
    return (total / np.linalg.norm(total, axis=1, keepdims=True)).astype(np.float16)


def _masks(at: np.ndarray, window: int, side: int, rng: np.random.Generator) -> MaskStack:
    """The cells that a view shows, one layer a level, without the lost ones."""
    slope, phase = rng.normal(size=(2, 2)), rng.uniform(0, 6, 2)
    wander = WANDER * window * np.sin(at @ slope * (12 / window) + phase)
    labels, count = [], 0
    for number in cells((at + wander) / side):
        used, compact = np.unique(number, return_inverse=True)
        kept = rng.random(len(used)) >= LOST
        names = np.where(kept, count + np.cumsum(kept), 0)
        labels.append(names[compact.reshape(-1)].reshape(window, window))
        count += int(kept.sum())
    return MaskStack(np.stack(labels).astype(np.uint16), np.ones(count, np.float32))
