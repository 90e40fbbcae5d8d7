"""Where a photo is asked: points on a grid, crops of the frame.

A frame is h × w pixels; positions are (x, y) with x to the right, y down, and pixel (0, 0) covering [0, 1] × [0, 1].
A box is (x0, y0, x1, y1), its far sides excluded. Layer 0 of the crops is the whole frame, layer i cuts it
into 2^i × 2^i overlapping crops, as the automatic generator of the SAM paper does (its appendix B).
"""

import numpy as np
from jaxtyping import Float64, Int64


def point_grid(per_side: int) -> Float64[np.ndarray, "n 2"]:
    """The middles of per_side × per_side equal cells of the unit square, row by row."""
    middles = (np.arange(per_side) + 0.5) / per_side
    x, y = np.meshgrid(middles, middles)
    return np.stack([x.ravel(), y.ravel()], 1)


def points_on(box: Int64[np.ndarray, "4"], per_side: int) -> Float64[np.ndarray, "n 2"]:
    """The grid over a crop, in pixels from the crop's own corner: it spans the true frame, whatever its shape."""
    return point_grid(per_side) * (box[2:] - box[:2])


def crop_boxes(size: tuple[int, int], num_layers: int, overlap: float) -> tuple[Int64[np.ndarray, "c 4"], Int64[np.ndarray, " c"]]:
    """Boxes of all crops and the layer of each; `overlap` is a part of the frame's shorter side, halved from layer to layer."""
    boxes, layers = [], []
    for layer in range(num_layers + 1):
        per_side = 2**layer
        shared = int(overlap * min(size) * 2 / per_side) if layer else 0
        spans = [_spans(length, per_side, shared) for length in size]
        boxes += [(x0, y0, x1, y1) for y0, y1 in spans[0] for x0, x1 in spans[1]]
        layers += [layer] * per_side**2
    return np.array(boxes, np.int64), np.array(layers, np.int64)


def _spans(length: int, count: int, shared: int) -> list[tuple[int, int]]:
    """`count` equal stretches that cover 0..length, neighbours sharing `shared`."""
    stretch = -(-(length + shared * (count - 1)) // count)
    return [(start, min(start + stretch, length)) for start in (k * (stretch - shared) for k in range(count))]


def scaled_box(box: Int64[np.ndarray, "4"], frame: tuple[int, int], size: tuple[int, int]) -> Int64[np.ndarray, "4"]:
    """A box of the frame in a picture of another size; at least a pixel wide and high."""
    factor = np.array([size[1] / frame[1], size[0] / frame[0]])
    near = np.minimum((box[:2] * factor).round().astype(np.int64), [size[1] - 1, size[0] - 1])
    return np.concatenate([near, np.maximum((box[2:] * factor).round().astype(np.int64), near + 1)])
