"""A depth camera that films a known scene, and writes what it saw as ScanNet's tools do."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from semquery.procedural import KnownScene
from semquery.render import RayCaster, picture

COLOR_SIZE, DEPTH_SIZE = (72, 96), (54, 64)
COLOR_LENS = np.array([104.0, 104.0, 47.0, 37.0])  # fx fy cx cy, pixel centres at + .5
DEPTH_LENS = np.array([66.0, 68.0, 33.0, 26.0])
FLIP = np.diag([1.0, -1.0, -1.0, 1.0])


def true_depth(caster: RayCaster, T_world_cam: np.ndarray, lens: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Depth along the optical axis, nan where nothing is hit."""
    hits = caster.cast(T_world_cam, lens, size)
    depth = -((hits.points - T_world_cam[:3, 3]) @ T_world_cam[:3, :3])[..., 2]
    return np.where(hits.mask, depth, np.nan)


def film(folder: Path, scene: KnownScene, poses: Mapping[str, np.ndarray], color_suffix: str = ".jpg") -> Path:
    """color/ depth/ pose/ intrinsic/ of these views (frame → T_world_cam)."""
    caster = RayCaster(scene.vertices, scene.faces)
    for name in ("color", "depth", "pose", "intrinsic"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for frame, T in poses.items():
        photo = picture(caster, scene.albedo, T, COLOR_LENS, COLOR_SIZE)
        Image.fromarray(np.where(photo[..., 3:] > 0, photo[..., :3], 255).astype(np.uint8)).save(folder / "color" / f"{frame}{color_suffix}", quality=97)
        write_depth(folder / "depth" / f"{frame}.png", true_depth(caster, T, DEPTH_LENS, DEPTH_SIZE))
        write_matrix(folder / "pose" / f"{frame}.txt", T @ FLIP)
    for name, lens in (("color", COLOR_LENS), ("depth", DEPTH_LENS)):
        write_lens(folder / "intrinsic" / f"intrinsic_{name}.txt", lens)
    return folder


def write_depth(path: Path, depth: np.ndarray, scale: float = 1000.0) -> None:
    """Depth in metres (nan: none) as 16-bit millimetres."""
    Image.fromarray(np.nan_to_num(depth * scale).round().astype(np.uint16)).save(path)


def write_lens(path: Path, lens: np.ndarray) -> None:
    """A 4×4 matrix, with pixel centres at whole numbers."""
    K = np.eye(4)
    K[0, 0], K[1, 1], K[0, 2], K[1, 2] = lens[0], lens[1], lens[2] - 0.5, lens[3] - 0.5
    write_matrix(path, K)


def write_matrix(path: Path, matrix: np.ndarray) -> None:
    path.write_text("\n".join(" ".join(f"{value:.9g}" for value in row) for row in matrix) + "\n")
