"""Reading posed photos: transforms.json in the nerfstudio, instant-ngp and blender dialects.

nerfstudio's own dataparsers read everything else (COLMAP, Polycam, …) on the way through `ns-train`; this
reader serves the stages that run without nerfstudio. Poses are camera-to-world, OpenGL axes.
"""

import dataclasses
import json
import os
from collections.abc import Container, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from semquery.types import Cameras

PHOTOS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
_NOT_FINITE = "{where} has NaN or infinite numbers in its pose. Remove the frame, or run pose estimation again."
PERSPECTIVE = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "RADIAL", "SIMPLE_RADIAL", "PERSPECTIVE")  # names of lenses in transforms.json
LENS = ("k1", "k2", "p1", "p2", "k3")
EARLY = np.array([[0.0, 1, 0, 0], [1, 0, 0, 0], [0, 0, -1, 0]])  # what nerfstudio did to COLMAP's poses before it said so
_CANDIDATES = ("transforms.json", "transforms_train.json")


def view_names(paths: Sequence[Path]) -> list[str]:
    """One short unique name per photo: its stem, or its path from the common folder where stems repeat; then numbered."""
    stems = [p.stem for p in paths]
    if len(set(stems)) < len(stems):
        base = os.path.commonpath([str(p.parent) for p in paths]) if paths else ""
        stems = ["_".join(Path(os.path.relpath(p, base)).with_suffix("").parts) for p in paths]
    names = ["".join(c if c.isalnum() or c in "._-" else "_" for c in s) for s in stems]
    return names if len(set(names)) == len(names) else [f"{i:04d}_{name}" for i, name in enumerate(names)]


def photos_in(folder: Path) -> list[Path]:
    """The photos directly inside a folder, by name. Raises ValueError when there are none."""
    if not folder.is_dir():
        raise ValueError(f"There is no folder {folder}.")
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in PHOTOS and not p.name.startswith("."))
    if not found:
        raise ValueError(f"{folder} holds no photos ({', '.join(PHOTOS)}).")
    return found


def scene_photos(data: Path) -> list[Path]:
    """The photos of a scene: those its transforms.json lists, else those in images/, else in the folder itself."""
    if (_transforms_of(data)) is not None:
        return [Path(p) for p in read_scene(data).images]
    return photos_in(data / "images" if (data / "images").is_dir() else data)


def read_scene(data: Path, without_photo: Container[str] = ()) -> Cameras:
    """Photos and poses of a scene folder (or of a transforms.json).

    Frames whose photo is absent are left out, as instant-ngp does, but for views named in `without_photo` whose size the
    transforms tell. Raises ValueError when no view is there, when a pose is not a finite 4×4 rigid matrix, or when intrinsics are missing.
    """
    path, record, present = _present(data, without_photo)
    for frame, _ in present:
        check_pose(np.array(frame["transform_matrix"], np.float64), f"{path}: {frame['file_path']}")
    poses = np.tile(np.eye(4), (len(present), 1, 1))
    poses[:, :3] = [np.array(f["transform_matrix"], np.float64)[:3] for f, _ in present]
    cameras = [_intrinsics(record | frame, photo) for frame, photo in present]
    return Cameras(
        names=tuple(view_names([p for _, p in present])),
        images=tuple(str(p) for _, p in present),
        T_world_cam=poses,
        intrinsics=np.array([k for k, _ in cameras], np.float64),
        sizes=np.array([s for _, s in cameras]),
    )


def read_lenses(data: Path, without_photo: Container[str] = ()) -> Float64[np.ndarray, "v 5"]:
    """How the lens of each view that `read_scene` gives bends straight lines: k1 k2 p1 p2 k3 of OpenCV's model, zero for a pinhole.

    Raises ValueError for a lens of another kind.
    """
    path, record, present = _present(data, without_photo)
    return np.array([_lens(record | frame, path) for frame, _ in present], np.float64)


def applied_transform(data: Path) -> Float64[np.ndarray, "4 4"]:
    """What was done to the poses before they were written to transforms.json, as nerfstudio records it: from the frame of the
    structure from motion to that of the file, scale included; the unit matrix where it tells nothing. Files written before
    nerfstudio recorded it lie beside a folder colmap/sparse/0.

    Raises ValueError where it is no transformation.
    """
    path = _transforms_of(data)
    record = json.loads(path.read_text()) if path is not None else {}
    untold = EARLY if path is not None and (path.parent / "colmap/sparse/0").is_dir() else np.eye(4)[:3]
    try:
        matrix = np.eye(4)
        matrix[:3] = np.array(record.get("applied_transform", untold), np.float64)[:3]
        matrix[:3] *= float(record.get("applied_scale", 1.0))
        if not np.isfinite(matrix).all() or not abs(np.linalg.det(matrix)) > 0:
            raise ValueError("it is flat, or holds what is no number")
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} has an applied_transform or applied_scale that cannot be read ({error}); expected 3×4 numbers and one.") from error
    return matrix


def _present(data: Path, without_photo: Container[str]) -> tuple[Path, dict, list[tuple[dict, Path]]]:
    """The transforms' file, what it holds, and the frames that count, each with its photo."""
    path = _transforms_of(data)
    if path is None:
        raise ValueError(f"{data} holds no {' or '.join(_CANDIDATES)}. Make poses with `ns-process-data images`.")
    try:
        record = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not JSON: {error}.") from error
    frames = (record.get("frames") if isinstance(record, dict) else None) or []
    if not frames:
        raise ValueError(f"{path} lists no frames.")
    lacking = next((k for f in frames for k in ("file_path", "transform_matrix") if k not in f), None)
    if lacking:
        raise ValueError(f"{path} has a frame without {lacking}.")
    named = [path.parent / f["file_path"] for f in frames]
    files = [_photo(path.parent, f["file_path"]) or (at if name in without_photo and "w" in record | f and "h" in record | f else None)
             for f, at, name in zip(frames, named, view_names(named), strict=True)]
    present = [(f, p) for f, p in zip(frames, files, strict=True) if p is not None]
    if not present:
        raise ValueError(
            f"None of the {len(frames)} photos that {path} lists is there (first: {frames[0]['file_path']}). "
            "The poses belong to other images, or the images were moved."
        )
    return path, record, present


def check_undistorted(data: Path) -> None:
    """Raise ValueError when a scene's lenses distort: rays cast into a mesh are those of a pinhole."""
    path = _transforms_of(data)
    record = json.loads(path.read_text()) if path is not None else {}
    for holder in (record, *(record.get("frames") or [])):
        found = {k: holder[k] for k in ("k1", "k2", "k3", "k4", "p1", "p2") if holder.get(k)}
        if found:
            raise ValueError(f"{path} has a distorting lens ({found}). Undistort the photos first (colmap image_undistorter).")


def check_finite_poses(data: Path) -> None:
    """Raise ValueError, naming the frame, when a pose in any transforms*.json of a scene holds NaN or infinity."""
    for path in [data] if data.suffix == ".json" else sorted(data.glob("transforms*.json")):
        for frame in json.loads(path.read_text()).get("frames") or []:
            if not np.isfinite(np.array(frame.get("transform_matrix", 0), np.float64)).all():
                raise ValueError(_NOT_FINITE.format(where=f"{path}: {frame.get('file_path')}"))


def check_pose(T_world_cam: np.ndarray, where: str) -> None:
    """Raise ValueError unless a pose is a finite rigid 4×4 (or 3×4) matrix."""
    if T_world_cam.shape not in ((4, 4), (3, 4)):
        raise ValueError(f"{where} has a pose of shape {T_world_cam.shape}; expected a 4×4 camera-to-world matrix.")
    if not np.isfinite(T_world_cam).all():
        raise ValueError(_NOT_FINITE.format(where=where))
    R = T_world_cam[:3, :3]
    if np.linalg.det(R) <= 0 or np.abs(R @ R.T - np.eye(3)).max() > 1e-2:
        raise ValueError(f"{where} has a pose whose rotation part is not a rotation:\n{R.round(4)}")


def _transforms_of(data: Path) -> Path | None:
    if data.suffix == ".json":
        return data if data.exists() else None
    return next((data / name for name in _CANDIDATES if (data / name).exists()), None)


def _photo(folder: Path, name: str) -> Path | None:
    """The photo a frame names; blender's dialect leaves out the suffix."""
    base = folder / name
    found = [base, *(base.with_name(base.name + suffix) for suffix in PHOTOS)]
    return next((p for p in found if p.is_file()), None)


def _intrinsics(frame: dict, photo: Path) -> tuple[list[float], tuple[int, int]]:
    """(fx fy cx cy), (height, width) of the photo as it is on disk; where it is gone, as it was."""
    from PIL import Image

    if photo.is_file():
        with Image.open(photo) as picture:
            width, height = picture.size
    else:
        width, height = int(frame["w"]), int(frame["h"])
    if "fl_x" in frame:
        fx, fy = float(frame["fl_x"]), float(frame.get("fl_y", frame["fl_x"]))
    elif "camera_angle_x" in frame:
        fx = fy = 0.5 * float(frame.get("w", width)) / np.tan(0.5 * float(frame["camera_angle_x"]))
    else:
        raise ValueError(f"{photo}: its transforms give neither fl_x nor camera_angle_x, so the focal length is unknown.")
    scale_x, scale_y = width / float(frame.get("w", width)), height / float(frame.get("h", height))
    cx, cy = float(frame.get("cx", width / scale_x / 2)), float(frame.get("cy", height / scale_y / 2))
    return [fx * scale_x, fy * scale_y, cx * scale_x, cy * scale_y], (height, width)


def _lens(holder: dict, path: Path) -> list[float]:
    """k1 k2 p1 p2 k3 of what a frame and its file say together."""
    told = dict(zip(("k1", "k2", "k3", "k4", "p1", "p2"), holder.get("distortion_params") or (), strict=False)) | holder
    model = "OPENCV_FISHEYE" if told.get("is_fisheye") else told.get("camera_model", "OPENCV")
    if model not in PERSPECTIVE or told.get("k4"):
        raise ValueError(f"{path} has a lens of the kind {model}{' with k4' if told.get('k4') else ''}; expected a pinhole, or k1, k2, k3, p1 and p2 "
                         "of OpenCV's model. Undistort the photos first (colmap image_undistorter).")
    return [float(told.get(k) or 0) for k in LENS]


def limited(cameras: Cameras, max_side: int) -> Cameras:
    """The same cameras with images of at most `max_side` pixels; intrinsics follow."""
    factor = np.minimum(1, max_side / cameras.sizes.max(1, keepdims=True))
    sizes = np.maximum(1, (cameras.sizes * factor).round().astype(int))
    scale = sizes / cameras.sizes  # rows, columns
    intrinsics = cameras.intrinsics * scale[:, [1, 0, 1, 0]]
    return dataclasses.replace(cameras, sizes=sizes, intrinsics=intrinsics)
