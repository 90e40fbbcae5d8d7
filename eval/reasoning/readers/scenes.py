"""The points of a scene with their semantic and instance labels, from the files that data sets come in.

Notation
  n points, g groups (instances), k segments.
Conventions
  Labels are the files' own numbers. Of these layouts the first that is there is read:
    ID_reason.pth, ID.pth  what torch.save wrote of (points, colours, superpoint, semantic, instance) for ScanNet, or
                           (points, colours, superpoint, category) for Matterport. Read with weights_only=True, which runs nothing
                           that the file brings: tensors and plain numpy arrays alone.
    ID.npz                 points, and semantic or instance or both
    ID/                    a folder of ScanNet (*.segs.json with *.aggregation.json) or ScanNet++ (scans/segments.json with
                           scans/segments_anno.json): instances as unions of segments; points in the order of its mesh.
"""

import json
import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int64

LAYOUTS = "ID_reason.pth, ID.pth, ID.npz, or ID/ with ScanNet's or ScanNet++'s segments"


@dataclass(frozen=True)
class SceneLabels:
    """What is known of the points of one scene."""

    source: str  # the file, for messages
    num_points: int
    points: Float[np.ndarray, "n 3"] | None = None
    semantic: Int64[np.ndarray, " n"] | None = None
    instance: Int64[np.ndarray, " n"] | None = None

    def __post_init__(self) -> None:
        for name in ("points", "semantic", "instance"):
            values = getattr(self, name)
            if values is not None and len(values) != self.num_points:
                raise ValueError(f"{self.source} has {len(values)} {name} for {self.num_points} points.")


def find_scene(folder: Path, scene: str) -> SceneLabels:
    """The labels of a scene. Raises ValueError where there is no file of it, or one that cannot be read."""
    if not folder.is_dir():
        raise ValueError(f"There is no folder {folder} of scenes; expected {LAYOUTS}.")
    for name, read in ((f"{scene}_reason.pth", read_pth), (f"{scene}.pth", read_pth), (f"{scene}.npz", read_npz)):
        if (folder / name).is_file():
            return read(folder / name)
    if (folder / scene).is_dir():
        return read_segments(folder / scene)
    raise ValueError(f"{folder} has no scene {scene}; expected {LAYOUTS.replace('ID', scene)}.")


def read_npz(path: Path) -> SceneLabels:
    """A scene as plain arrays."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            held = {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path} cannot be read ({error}); expected arrays points, semantic, instance.") from error
    if "points" not in held or not held.keys() & {"semantic", "instance"}:
        raise ValueError(f"{path} holds {', '.join(sorted(held)) or 'nothing'}; expected points, and semantic or instance.")
    return _labels(path, held["points"], held.get("semantic"), held.get("instance"))


def read_pth(path: Path) -> SceneLabels:
    """A scene of Reason3D: four entries of Matterport or five of ScanNet. Nothing that the file brings is run."""
    import torch

    allowed = torch.serialization.get_safe_globals()
    try:
        with torch.serialization.safe_globals(_numpy_globals()):
            held = torch.load(path, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError as error:  # its text advises to run what the file brings
        raise ValueError(f"{path} is broken, or holds other things than tensors and plain arrays, which are never opened.") from error
    except (RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        raise ValueError(f"{path} cannot be read ({error or type(error).__name__}); expected what torch.save wrote.") from error
    finally:
        torch.serialization.add_safe_globals(allowed)  # torch takes back on leaving also what others had allowed before
    if not isinstance(held, (tuple, list)) or len(held) not in (4, 5):
        size = f" of {len(held)}" if isinstance(held, (tuple, list, dict)) else ""
        raise ValueError(f"{path} holds a {type(held).__name__}{size}; expected (points, colours, superpoint, semantic[, instance]).")
    points, semantic, instance = (np.asarray(held[k]) if k < len(held) else None for k in (0, 3, 4))
    return _labels(path, points, semantic, instance)


def read_segments(folder: Path) -> SceneLabels:
    """A folder of ScanNet or ScanNet++: a segment of every vertex, and the segments of every instance."""
    pairs = (("*.segs.json", "*.aggregation.json"), *((f"{at}segments.json", f"{at}segments_anno.json") for at in ("scans/", "")))
    for fine, grouped in pairs:
        segments, groups = sorted(folder.glob(fine)), sorted(folder.glob(grouped))
        if segments and groups:
            return _labels(segments[0], None, None, instances_of(_indices(segments[0]), groups[0]))
    raise ValueError(f"{folder} has no segments with their instances; expected *.segs.json with *.aggregation.json (ScanNet), "
                     "or scans/segments.json with scans/segments_anno.json (ScanNet++).")


def instances_of(segment: Int64[np.ndarray, " n"], path: Path) -> Int64[np.ndarray, " n"]:
    """The objectId of every point, -1 where no group has its segment; of groups that share one the last in the file."""
    groups = _key(path, "segGroups")
    distinct, place = np.unique(segment, return_inverse=True)
    instance = np.full(len(distinct), -1, np.int64)
    for number, group in enumerate(groups):
        if not isinstance(group, dict) or not {"objectId", "segments"} <= group.keys():
            raise ValueError(f"{path}, group {number} has no objectId or no segments.")
        instance[np.isin(distinct, group["segments"])] = int(group["objectId"])
    return instance[place.reshape(-1)]


def _indices(path: Path) -> Int64[np.ndarray, " n"]:
    try:
        return np.array(_key(path, "segIndices"), np.int64).reshape(-1)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: segIndices is no list of numbers ({error}).") from error


def _key(path: Path, key: str) -> list:
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no JSON ({error}).") from error
    if not isinstance(held, dict) or not isinstance(held.get(key), list):
        raise ValueError(f"{path} has no list {key}.")
    return held[key]


def _labels(path: Path, points: np.ndarray | None, semantic: np.ndarray | None, instance: np.ndarray | None) -> SceneLabels:
    number = len(points if points is not None else instance)
    whole = [None if x is None else np.asarray(x).reshape(-1).astype(np.int64) for x in (semantic, instance)]
    return SceneLabels(str(path), number, None if points is None else np.asarray(points, np.float64).reshape(-1, 3), *whole)


def _numpy_globals() -> list:
    """What a plain array needs to be put together again; no code of a file's own is among it."""
    try:
        from numpy._core.multiarray import _reconstruct, scalar
    except ImportError:  # numpy 1
        from numpy.core.multiarray import _reconstruct, scalar
    types = {type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")}
    names = [(_reconstruct, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")]
    return [*names, *((scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")), np.ndarray, np.dtype, *types]
