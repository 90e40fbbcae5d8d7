"""Reading a folder of a depth camera's frames, laid out as ScanNet's tools export them.

  color/0.jpg …    photos
  depth/0.png …    16-bit depth along the optical axis, of any size; 0 is no measurement
  pose/0.txt …     4×4 camera-to-world; a pose that was lost is written as -inf or nan
  intrinsic/       intrinsic_color.txt and intrinsic_depth.txt, 3×3 or 4×4

Notation
  v frames.
Conventions
  In the files camera axes are OpenCV's (x right, y down, z forward) and pixel (row, column) has its centre at (row, column); what
  is returned is as in `types`: OpenGL axes, centres at + .5. Both cameras of a frame look from one place (the depth is registered).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from semquery.scene import check_pose, photos_in, view_names
from semquery.types import Cameras

FOLDERS = ("color", "depth", "pose")
FLIP = np.diag([1.0, -1.0, -1.0, 1.0])  # OpenCV's camera axes ↔ OpenGL's


@dataclass(frozen=True)
class Capture:
    """Posed photos, and the depth that belongs to each."""

    name: str  # of the folder
    cameras: Cameras  # of the photos
    depths: tuple[Path, ...]  # one depth file per view
    depth_intrinsics: Float64[np.ndarray, " 4"]  # fx fy cx cy of the depth camera, pixels
    skipped: Mapping[str, str]  # frame → why it cannot be used


def is_rgbd(folder: Path) -> bool:
    """Whether a folder is laid out as above."""
    return all((folder / name).is_dir() for name in FOLDERS)


def read_capture(folder: Path, every: int = 1) -> Capture:
    """Every so-many-th of the frames that have photo, depth and a finite pose.

    Raises ValueError when a folder or the intrinsics are missing, when no frame can be used, when a pose is no rigid motion, when
    photos differ in size, or the intrinsics are those of another size.
    """
    if not is_rgbd(folder):
        lacking = [name for name in FOLDERS if not (folder / name).is_dir()]
        raise ValueError(f"{folder} has no folder {' and no folder '.join(lacking)}. "
                         "An RGB-D capture has color/, depth/, pose/ and intrinsic/.")
    photos = {photo.stem: photo for photo in photos_in(folder / "color")}
    depths = {depth.stem: depth for depth in photos_in(folder / "depth")}
    poses, skipped = {}, {}
    for frame in sorted(photos, key=_as_number):
        pose = _pose(folder / "pose" / f"{frame}.txt")
        if frame not in depths or isinstance(pose, str):
            skipped[frame] = pose if isinstance(pose, str) else "no depth"
        else:
            poses[frame] = pose
    used = list(poses)[::every]
    if not used:
        raise ValueError(f"None of the {len(photos)} frames of {folder} can be used: {told(skipped)}.")
    size = _common_size([photos[frame] for frame in used])
    color = _lens(folder, "color", size)
    cameras = Cameras(
        names=tuple(view_names([photos[frame] for frame in used])), images=tuple(str(photos[frame]) for frame in used),
        T_world_cam=np.stack([poses[frame] for frame in used]),
        intrinsics=np.tile(color, (len(used), 1)), sizes=np.tile(np.array(size), (len(used), 1)),
    )
    _check_registered(folder)
    lens = _depth_lens(folder, depths[used[0]], size, color)
    return Capture(folder.resolve().name, cameras, tuple(depths[frame] for frame in used), lens, skipped)


def told(skipped: Mapping[str, str]) -> str:
    """The frames left out, by reason: how many, and the first."""
    reasons: dict[str, list[str]] = {}
    for frame, why in skipped.items():
        reasons.setdefault(why, []).append(frame)
    return ", ".join(f"{why}: {len(frames)} (first: {frames[0]})" for why, frames in reasons.items())


def _as_number(stem: str) -> tuple[int, int, str]:
    return (0, int(stem), stem) if stem.isdecimal() else (1, 0, stem)


def _pose(path: Path) -> Float64[np.ndarray, "4 4"] | str:
    """T_world_cam, or why there is none."""
    if not path.exists():
        return "no pose"
    T_world_cv = _matrix(path)
    if not np.isfinite(T_world_cv).all():
        return "pose lost (not finite)"
    check_pose(T_world_cv, str(path))
    T_world_cam = np.eye(4)
    T_world_cam[:3] = T_world_cv[:3] @ FLIP
    return T_world_cam


def _matrix(path: Path) -> Float64[np.ndarray, "_ _"]:
    """The numbers of a text file, a row on each line."""
    try:
        rows = [[float(word) for word in line.split()] for line in path.read_text().splitlines() if line.strip()]
        return np.array(rows, np.float64, ndmin=2)
    except ValueError as error:
        raise ValueError(f"{path} is no matrix of numbers ({error}). Expected four rows of four numbers.") from error


def _common_size(photos: list[Path]) -> tuple[int, int]:
    """Height and width, the same of all photos."""
    found = size_of(photos[0])
    other = next((photo for photo in photos if size_of(photo) != found), None)
    if other is not None:
        raise ValueError(f"{other} is {size_of(other)[1]}×{size_of(other)[0]}, {photos[0]} is {found[1]}×{found[0]}; "
                         "one intrinsic_color.txt serves photos of one size. Give them the same size.")
    return found


def size_of(picture: Path) -> tuple[int, int]:
    """Height and width of a picture file. Raises ValueError when it is none."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(picture) as opened:
            return opened.height, opened.width
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"{picture} cannot be read as an image: {error}") from error


def _lens(folder: Path, camera: str, size: tuple[int, int]) -> Float64[np.ndarray, " 4"]:
    """fx fy cx cy of the photos' or the depth's camera, with pixel centres at + .5."""
    names = (f"intrinsic/intrinsic_{camera}.txt", f"intrinsics_{camera}.txt", f"intrinsic_{camera}.txt")
    path = next((folder / name for name in names if (folder / name).is_file()), None)
    if path is None:
        raise ValueError(f"{folder} has no {names[0]} (a 3×3 or 4×4 matrix), so the lens is not known.")
    K = _matrix(path)
    if K.shape not in ((3, 3), (4, 4)) or not np.isfinite(K).all() or K[0, 0] <= 0 or K[1, 1] <= 0:
        raise ValueError(f"{path} is not a matrix of intrinsics: expected 3×3 or 4×4 with focal lengths above zero, met\n{K}")
    middle = (K[0, 2] + 0.5) / size[1], (K[1, 2] + 0.5) / size[0]
    if not all(0.25 < share < 0.75 for share in middle):
        raise ValueError(f"{path} has its optical axis at {K[0, 2]:g}, {K[1, 2]:g}, far from the middle of {size[1]}×{size[0]} "
                         f"{camera} pictures: it belongs to another size. Scale its first two rows, or use the pictures that it was made for.")
    return np.array([K[0, 0], K[1, 1], K[0, 2] + 0.5, K[1, 2] + 0.5])


def _depth_lens(folder: Path, depth: Path, size: tuple[int, int], color: Float64[np.ndarray, " 4"]) -> Float64[np.ndarray, " 4"]:
    """The depth camera's lens; where no file tells it and the sizes agree, that of the photos."""
    try:
        return _lens(folder, "depth", size_of(depth))
    except ValueError as error:
        if "has no intrinsic" in str(error) and size_of(depth) == size:
            return color
        raise


def _check_registered(folder: Path) -> None:
    """Raise ValueError when the two cameras of a frame stand apart."""
    for path in sorted((folder / "intrinsic").glob("extrinsic_*.txt")):
        T = _matrix(path)
        if T.shape != (4, 4) or np.abs(T - np.eye(4)).max() > 1e-3:
            raise ValueError(f"{path} moves one camera against the other:\n{T}\nExpected the identity. "
                             "Register the depth to the photos first.")
