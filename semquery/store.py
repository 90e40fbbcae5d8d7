"""The run directory: the only place that reads and writes artefacts.

One folder holds one scene (for a nerfstudio run, the folder of its config.yml). Files are npz, json,
png, ply and safetensors, never pickle; each is written under a temporary name and renamed, so a file
that exists is whole. What was made from what is recorded by `manifest.py`.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from semquery.journal import Journal
from semquery.manifest import FORMAT, OUTPUTS, RunError, atomic
from semquery.masks import load_arrays
from semquery.types import (
    Cameras,
    Codebook,
    MaskStack,
    MergeTree,
    Observation,
    PartTree,
    Surface,
)

# artefact → the command that makes it, for the error of whoever misses it
FROM_GEOMETRY = "(or semquery fit RUN --mesh MESH --data SCENE, semquery fit RUN --splats SPLATS --cameras SCENE, semquery surface RUN --rgbd DIR)"
MADE_BY = {
    "cameras.json": f"ns-train semquery --data SCENE {FROM_GEOMETRY}",
    "masks": "semquery masks RUN --data SCENE",
    "observed": f"ns-train semquery --data SCENE {FROM_GEOMETRY}",
    "field.safetensors": "semquery fit RUN",
    "surface.npz": "semquery fit RUN",
    "merge.npz": "semquery tree RUN",
    "parts.npz": "semquery tree RUN",
    "labels.jsonl": "semquery label RUN",
    "codebook.npz": "semquery encode RUN",
    "codebook.json": "semquery encode RUN",
}

CODEBOOK_VERSION = 2  # 1 had one row per text of each part
CODEBOOK_ARRAYS = ("vectors", "part_of_entry", "text_of_entry", "negatives", "bank", "part_of_picture", "pictures")
CODEBOOK_WORDS = ("texts", "fields", "negative_texts", "bank_texts", "encoder", "encoder_config", "picture_encoder", "picture_encoder_config")


def slug(text: str) -> str:
    """A file name made from any text: lower-case words joined by dashes, at most 60 characters.

    Texts that differ in more than case, blanks and the mark they end with have different names: where something else was
    dropped or cut, a hash of the text follows.
    """
    said = " ".join(text.lower().split()).rstrip(" .?!")
    words = " ".join("".join(c if c.isalnum() else " " for c in said).split())
    name = words.replace(" ", "-")[:60].encode(errors="ignore")[:90].decode(errors="ignore")  # file systems count bytes
    if said and name.replace("-", " ") == said:
        return name
    return "-".join([name.strip("-") or "query", hashlib.sha256(said.encode(errors="replace")).hexdigest()[:8]])


class Run(Journal):
    """A run directory. `Run(path)` opens one (a folder, or a config.yml inside it); `create=True` makes it."""

    def __init__(self, path: Path | str, create: bool = False) -> None:
        path = Path(path).expanduser()
        if path.name == "config.yml":
            path = path.parent
        if not path.is_dir():
            if path.exists():
                raise RunError(f"{path} is a file; a run is a directory (or the config.yml inside it).")
            if not create:
                raise RunError(
                    f"There is no run directory at {path}. Make one with `ns-train semquery --data SCENE`, "
                    "`semquery masks RUN --data SCENE`, or see a whole run with `semquery demo`."
                )
            path.mkdir(parents=True)
        super().__init__(path)

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def need(self, name: str) -> Path:
        """The path of an artefact that must be there; otherwise an error that names the command to run."""
        path = self.path / name
        if not path.exists() or (path.is_dir() and not any(path.glob("*.npz"))):
            command = MADE_BY[name].replace("RUN", str(self.path))
            gone = name in OUTPUTS["encode"] and self.stage("encode") is not None  # from other names or by another encoder, perhaps
            raise RunError(f"{self.path} has no {name} {'any more' if gone else 'yet'}. Make it with: {command}{' --overwrite' if gone else ''}")
        return path

    # ---------------------------------------------------------------- artefacts

    def write_cameras(self, cameras: Cameras) -> None:
        """cameras.json in nerfstudio's transforms dialect: OpenGL camera-to-world, pixels."""
        frames = [
            {
                "name": name, "file_path": image, "transform_matrix": T.tolist(),
                "fl_x": float(k[0]), "fl_y": float(k[1]), "cx": float(k[2]), "cy": float(k[3]),
                "h": int(size[0]), "w": int(size[1]),
            }
            for name, image, T, k, size in zip(
                cameras.names, cameras.images, cameras.T_world_cam, cameras.intrinsics, cameras.sizes, strict=True)
        ]
        with atomic(self.path / "cameras.json") as path:
            path.write_text(json.dumps({"format": FORMAT, "camera_model": "PINHOLE", "frames": frames}, indent=1))

    def cameras(self) -> Cameras:
        self.need("cameras.json")
        frames = self._load_json("cameras.json")["frames"]
        return Cameras(
            names=tuple(f["name"] for f in frames),
            images=tuple(f["file_path"] for f in frames),
            T_world_cam=np.array([f["transform_matrix"] for f in frames], np.float64).reshape(-1, 4, 4),
            intrinsics=np.array([[f[k] for k in ("fl_x", "fl_y", "cx", "cy")] for f in frames], np.float64).reshape(-1, 4),
            sizes=np.array([[f["h"], f["w"]] for f in frames]).reshape(-1, 2),
        )

    def write_masks(self, view: str, stack: MaskStack) -> None:
        self._save(f"masks/{view}.npz", layers=stack.layers, scores=stack.scores)

    def masks(self, view: str) -> MaskStack:
        data = self._load(f"masks/{view}.npz")
        return MaskStack(data["layers"], data["scores"])

    def masked_views(self) -> list[str]:
        return _stems(self.path / "masks")

    def write_observation(self, view: str, seen: Observation) -> None:
        self._save(f"observed/{view}.npz", size=np.array(seen.size, np.int32), pixels=seen.pixels,
                   points=seen.points, colors=seen.colors)

    def observation(self, view: str) -> Observation:
        data = self._load(f"observed/{view}.npz")
        height, width = (int(s) for s in data["size"])
        return Observation((height, width), data["pixels"], data["points"], data["colors"])

    def observed_views(self) -> list[str]:
        return _stems(self.path / "observed")

    def write_surface(self, surface: Surface) -> None:
        from semquery.export import point_cloud

        for view, points in surface.point_of_pixel.items():
            self._save(f"pixels/{view}.npz", point=points)
        with atomic(self.path / "surface.ply") as path:
            point_cloud(surface.points, surface.colors, surface.normals).write(str(path))
        self._save("surface.npz", points=surface.points, normals=surface.normals, colors=surface.colors,
                   features=surface.features.astype(np.float16), source=surface.source,
                   voxel_size=np.array(surface.voxel_size))

    def surface(self) -> Surface:
        self.need("surface.npz")
        data = self._load("surface.npz")
        views = _stems(self.path / "pixels")
        if self.observed_views() and not views:
            raise RunError(
                f"{self.path / 'pixels'} is empty: which point each pixel shows is not known, so there are no masks. "
                f"Make the surface anew with: semquery fit {self.path} --overwrite"
            )
        pixels = {view: self._load(f"pixels/{view}.npz")["point"] for view in views}
        return Surface(data["points"], data["normals"], data["colors"], data["features"], data["source"],
                       float(data["voxel_size"]), pixels)

    def write_tree(self, merge: MergeTree, edges: np.ndarray, weights: np.ndarray, parts: PartTree) -> None:
        self._save("merge.npz", edges=edges, weights=weights, parents=merge.parents, altitude=merge.altitude)
        table = [
            {"part": p, "parent": int(parts.parents[p]), "depth": int(parts.depth[p]), "points": int(parts.num_points[p]),
             "altitude": round(float(parts.altitude[p]), 4), "views": int((parts.support[:, 0] == p).sum())}
            for p in range(parts.num_parts)
        ]
        with atomic(self.path / "parts.json") as path:
            path.write_text("[\n" + ",\n".join(json.dumps(row) for row in table) + "\n]\n")
        self._save("parts.npz", parents=parts.parents, altitude=parts.altitude, part_of_point=parts.part_of_point,
                   support=parts.support, support_iou=parts.support_iou)

    def parts(self) -> PartTree:
        self.need("parts.npz")
        data = self._load("parts.npz")
        return PartTree(data["parents"], data["altitude"], data["part_of_point"], data["support"], data["support_iou"])

    def merge_tree(self) -> MergeTree:
        self.need("merge.npz")
        data = self._load("merge.npz")
        return MergeTree(data["parents"], data["altitude"])

    def write_codebook(self, book: Codebook) -> None:
        """codebook.npz has the arrays, codebook.json the words: what is said, and by which encoders."""
        record = {name: getattr(book, name) for name in CODEBOOK_WORDS}
        with atomic(self.path / "codebook.json") as path:
            path.write_text(json.dumps({"format": FORMAT, "version": CODEBOOK_VERSION, **record}, indent=1, ensure_ascii=False))
        self._save("codebook.npz", **{name: getattr(book, name) for name in CODEBOOK_ARRAYS})

    def codebook(self) -> Codebook:
        self.need("codebook.npz")
        self.need("codebook.json")
        words, anew = self._load_json("codebook.json"), f"Make it anew: semquery encode {self.path} --overwrite"
        if words.get("version") != CODEBOOK_VERSION:
            raise RunError(f"The codebook of {self.path} was made by an older version. {anew}")
        arrays = self._load("codebook.npz")
        lacking = sorted({*CODEBOOK_ARRAYS} - arrays.keys() | {*CODEBOOK_WORDS} - words.keys())
        broken = [name for name in CODEBOOK_ARRAYS if name in arrays and not np.isfinite(arrays[name]).all()]
        if lacking or broken:
            what = f"lacks {', '.join(lacking)}" if lacking else f"holds what is no number in {', '.join(broken)}"
            raise RunError(f"The codebook of {self.path} {what}. {anew}")
        texts = {name: tuple(words[name]) if isinstance(words[name], list) else words[name] for name in CODEBOOK_WORDS}
        return Codebook(**texts, **{name: arrays[name] for name in CODEBOOK_ARRAYS})

    def write_tensors(self, name: str, tensors: Mapping[str, Any], **facts: Any) -> None:
        """Named torch tensors with a few facts, as safetensors."""
        from safetensors.torch import save_file

        with atomic(self.path / name) as path:
            save_file(dict(tensors), path, metadata={"format": str(FORMAT), **{k: str(v) for k, v in facts.items()}})

    def read_tensors(self, name: str) -> tuple[dict[str, Any], dict[str, str]]:
        """Tensors by name, and the facts stored with them."""
        from safetensors import SafetensorError, safe_open

        path = self.path / name
        try:
            with safe_open(path, framework="pt") as file:
                tensors, facts = {k: file.get_tensor(k) for k in file.keys()}, dict(file.metadata() or {})
        except (SafetensorError, OSError) as error:
            raise RunError(f"{path} cannot be read ({error}). Delete it and run the stage again.") from error
        _check_format(facts.pop("format", None), path)
        return tensors, facts

    def write_json(self, path: Path, record: Any) -> None:
        with atomic(path) as temporary:
            temporary.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")

    def write_bytes(self, name: Path | str, data: bytes) -> None:
        """A file, whole or not at all: a string names one of the run's, a path is taken as it is."""
        with atomic(self.path / name if isinstance(name, str) else name) as path:
            path.write_bytes(data)

    def write_ply(self, path: Path, cloud: Any) -> None:
        with atomic(path) as temporary:
            cloud.write(str(temporary))

    def _save(self, name: str, **arrays: np.ndarray) -> None:
        path = self.path / name
        with atomic(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, format=np.array(FORMAT), **arrays)

    def _load(self, name: str) -> dict[str, np.ndarray]:
        path = self.path / name
        try:
            arrays = load_arrays(path)
        except ValueError as error:
            raise RunError(f"{error} Delete it and run the stage again.") from error
        _check_format(arrays.pop("format", None), path)
        return arrays

    def _load_json(self, name: str) -> dict[str, Any]:
        path = self.path / name
        try:
            record = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise RunError(f"{path} cannot be read ({error}). Delete it and run the stage again.") from error
        _check_format(record.pop("format", None), path)
        return record


def _stems(folder: Path) -> list[str]:
    return sorted(p.stem for p in folder.glob("*.npz") if not p.name.startswith("."))


def _check_format(found: Any, path: Path) -> None:
    if found is None or int(found) != FORMAT:
        raise RunError(
            f"{path} has format {found}, this semquery reads format {FORMAT}: it was made by another version. "
            "Run the stage again with --overwrite, or use the version that made it."
        )
