"""Splats of known scenes: Gaussians on the visible surface, as a trainer leaves them, and floaters; the true part of each is known.

Notation
  n points, g Gaussians, v views, h w image height and width.
Conventions
  World units, OpenGL camera axes, as in `semquery.types`. A Gaussian's spacing is the side of the square of surface that it stands for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Int32, Int64, UInt8

from eval.truth import Truth
from semquery.geometry import image_points
from semquery.masks import on_white
from semquery.pictures import load_photo
from semquery.procedural import KnownScene
from semquery.splatting import Gaussians
from semquery.splatting.gaussians import SH_C0

FLAT, SPREAD = 0.15, 0.3  # thickness of a Gaussian of its width; standard deviation of the logarithm of its size


@dataclass(frozen=True)
class MadeConfig:
    """What the splats are like."""

    gaussians: int = 20_000
    """Gaussians on the surface of a scene."""
    floaters: float = 0.05
    """Floating Gaussians, as a share of those on the surface."""
    jitter: float = 0.2
    """Standard deviation of the distance from the surface, of the spacing."""
    width: float = 0.65
    """Standard deviation of a Gaussian along the surface, of the spacing."""


@dataclass(frozen=True)
class KnownSplats:
    """Splats and the true part of each."""

    gaussians: Gaussians
    leaf: Int32[np.ndarray, " g"]  # the deepest true part; -1: a floater
    spacing: float  # world units


def make_splats(truth: Truth, config: MadeConfig, seed: int) -> KnownSplats:
    """Gaussians at places of the mesh that two photos show, as a trainer needs to place them, and floaters around them."""
    rng = np.random.default_rng(seed)
    points, face, colors, area = visible_places(truth, config.gaussians, rng)
    spacing = float(np.sqrt(area / len(points)))
    normals = face_normals(truth.scene)[face]
    sizes = spacing * config.width * np.exp(SPREAD * rng.normal(size=(len(points), 3))) * (1, 1, FLAT)
    means = points + config.jitter * spacing * rng.normal(size=(len(points), 1)) * normals
    on_surface = (means, _standing_on(normals, rng), sizes, rng.uniform(0.6, 0.99, len(points)), colors)
    floating = _floaters(points, round(config.floaters * len(points)), spacing, rng)
    columns = [np.concatenate(pair) for pair in zip(on_surface, floating, strict=True)]
    leaf = np.concatenate([truth.scene.part_of_face[face], np.full(len(floating[0]), -1)]).astype(np.int32)
    *shape, shown = (torch.tensor(column, dtype=torch.float32) for column in columns)
    return KnownSplats(Gaussians(*shape, ((shown - 0.5) / SH_C0)[:, None]), leaf, spacing)


def visible_places(
    truth: Truth, count: int, rng: np.random.Generator
) -> tuple[Float64[np.ndarray, "n 3"], Int64[np.ndarray, " n"], Float64[np.ndarray, "n 3"], float]:
    """Points spread evenly over the surface that two photos show, their faces and mean colours (0..1), and the area they stand for."""
    found, drawn, area = [], 0, surface_area(truth.scene)
    seen_by = list(views_seen(truth))
    while sum(len(points) for points, _, _ in found) < count:
        points, face = sample_surface(truth.scene, count, rng)
        weight, color = np.zeros(count), np.zeros((count, 3))
        for T, intrinsics, places, photo in seen_by:
            shown, pixel = is_shown(points, places, T, intrinsics)
            weight[shown] += 1
            color[shown] += photo.reshape(-1, 3)[pixel[shown]] / 255
        kept, drawn = weight >= 2, drawn + count
        if not kept.any():
            raise ValueError(f"No two photos of {truth.name} show the same surface, so there is nothing to put splats on.")
        found.append((points[kept], face[kept], color[kept] / weight[kept, None]))
    share = sum(len(points) for points, _, _ in found) / drawn
    points, face, color = (np.concatenate(column)[:count] for column in zip(*found, strict=True))
    return points, face, color, area * share


def views_seen(truth: Truth) -> Iterator[tuple[np.ndarray, np.ndarray, Float32[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w 3"]]]:
    """Pose, intrinsics, the place behind every pixel (nan where there is none) and the photo of every view to train on."""
    cameras = truth.cameras
    for T, intrinsics, size, photo in zip(cameras.T_world_cam, cameras.intrinsics, cameras.sizes, cameras.images, strict=True):
        hits = truth.caster.cast(T, intrinsics, (int(size[0]), int(size[1])))
        yield T, intrinsics, np.where(hits.mask[..., None], hits.points, np.nan).astype(np.float32), on_white(load_photo(Path(photo)))


def is_shown(
    points: Float64[np.ndarray, "n 3"], places: Float32[np.ndarray, "h w 3"], T_world_cam: Float64[np.ndarray, "4 4"],
    intrinsics: Float64[np.ndarray, " 4"],
) -> tuple[Bool[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    """Which points a view shows, to within two of its pixels, and the flat index of the pixel."""
    column, row, depth = image_points(points, T_world_cam, intrinsics)
    height, width = places.shape[:2]
    inside = (depth > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    pixel = np.where(inside, np.floor(np.where(inside, row, 0)) * width + np.floor(np.where(inside, column, 0)), 0).astype(np.int64)
    gap = np.linalg.norm(places.reshape(-1, 3)[pixel] - points, axis=1)
    return inside & (gap < 2 * depth / intrinsics[0]), pixel


def sample_surface(scene: KnownScene, count: int, rng: np.random.Generator) -> tuple[Float64[np.ndarray, "n 3"], Int64[np.ndarray, " n"]]:
    """Points drawn evenly from a mesh, and their faces."""
    corners = scene.vertices[scene.faces].astype(np.float64)
    area = np.linalg.norm(_crosses(corners), axis=1)
    face = rng.choice(len(area), count, p=area / area.sum())
    a, b = rng.random((2, count, 1))
    a, b = np.where(a + b > 1, 1 - a, a), np.where(a + b > 1, 1 - b, b)
    first, second, third = corners[face].transpose(1, 0, 2)
    return first + a * (second - first) + b * (third - first), face


def surface_area(scene: KnownScene) -> float:
    """Of all faces, in square world units."""
    return float(np.linalg.norm(_crosses(scene.vertices[scene.faces].astype(np.float64)), axis=1).sum() / 2)


def face_normals(scene: KnownScene) -> Float64[np.ndarray, "f 3"]:
    """Unit normals; 0 of a face without area."""
    cross = _crosses(scene.vertices[scene.faces].astype(np.float64))
    return cross / np.maximum(np.linalg.norm(cross, axis=1, keepdims=True), 1e-12)


def _crosses(corners: Float64[np.ndarray, "f 3 3"]) -> Float64[np.ndarray, "f 3"]:
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


def _standing_on(normals: Float64[np.ndarray, "n 3"], rng: np.random.Generator) -> Float64[np.ndarray, "n 4"]:
    """Rotations, w x y z, that turn the third axis to the normal, and about it at random."""
    from scipy.spatial.transform import Rotation

    axis = np.cross([0.0, 0, 1], normals)
    length = np.linalg.norm(axis, axis=1, keepdims=True)
    axis = np.where(length > 1e-9, axis / np.maximum(length, 1e-9), [1.0, 0, 0])
    tilt = Rotation.from_rotvec(axis * np.arccos(normals[:, 2].clip(-1, 1))[:, None])
    spin = Rotation.from_rotvec(rng.uniform(0, 2 * np.pi, (len(normals), 1)) * [0.0, 0, 1])
    return (tilt * spin).as_quat()[:, [3, 0, 1, 2]]


def _floaters(points: Float64[np.ndarray, "n 3"], count: int, spacing: float, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Means, rotations, sizes, opacities and colours of Gaussians anywhere in a box half as large again as the scene's."""
    low, high = points.min(0), points.max(0)
    means = rng.uniform(low - 0.25 * (high - low), high + 0.25 * (high - low), (count, 3))
    sizes = spacing * np.exp(rng.normal(np.log(1.5), 0.5, (count, 3)))
    return means, rng.normal(size=(count, 4)), sizes, rng.uniform(0.02, 0.9, count), rng.random((count, 3))
