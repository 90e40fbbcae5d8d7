"""Pictures read back, and scenes of a few triangles."""

import io

import numpy as np

from semquery.procedural import KnownScene


def image_of(png: bytes) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def triangles(corners: np.ndarray, owners: list[int], parents: list[int]) -> KnownScene:
    """A scene of separate triangles [f 3 3]."""
    count = len(corners)
    return KnownScene(
        np.asarray(corners, np.float32).reshape(-1, 3), np.arange(3 * count, dtype=np.int32).reshape(-1, 3),
        np.full((count, 3), 128, np.uint8), np.array(owners, np.int32), np.array(parents, np.int32),
        tuple(f"node{k}" for k in range(len(parents))))
