"""The run directory: the only place that reads and writes artefacts.

One folder holds one scene (for a nerfstudio run, the folder of its config.yml). Files are npz, json,
png, ply and safetensors, never pickle; each is written under a temporary name and renamed, so a file
that exists is whole. What was made from what is recorded by `manifest.py`.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from semquery.manifest import FORMAT, Manifest, RunError, append_line, atomic, json_lines
from semquery.masks import load_arrays
from semquery.types import (
    Cameras,
    Codebook,
    MaskStack,
    MergeTree,
    NodeLabel,
    Observation,
    PartTree,
    Surface,
)
from semquery.vlm import Answer

# artefact → the command that makes it, for the error of whoever misses it
MADE_BY = {
    "cameras.json": "ns-train semquery --data SCENE (or semquery fit RUN --mesh MESH --data SCENE)",
    "masks": "semquery masks RUN --data SCENE",
    "observed": "ns-train semquery --data SCENE (or semquery fit RUN --mesh MESH --data SCENE)",
    "field.safetensors": "semquery fit RUN",
    "surface.npz": "semquery fit RUN",
    "merge.npz": "semquery tree RUN",
    "parts.npz": "semquery tree RUN",
    "labels.jsonl": "semquery label RUN",
    "codebook.npz": "semquery encode RUN",
}


def slug(text: str) -> str:
    """A file name made from any text: lower-case words joined by dashes, at most 60 characters."""
    words = "".join(c if c.isalnum() else " " for c in text.lower()).split()
    return "-".join(words)[:60] or "query"


class Run(Manifest):
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
            raise RunError(f"{self.path} has no {name} yet. Make it with: {command}")
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
        pixels = {view: self._load(f"pixels/{view}.npz")["point"] for view in _stems(self.path / "pixels")}
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

    def append_label(self, label: NodeLabel, key: str) -> None:
        """One line per label, appended and flushed."""
        append_line(self.path / "labels.jsonl", {"key": key, **dataclasses.asdict(label)})

    def append_answer(self, key: str, answer: Answer, identity: str, seconds: float = 0.0) -> None:
        """One line per answer of a model, with who gave it, appended and flushed: what was answered is never lost, nor asked again."""
        line = {"key": key, "answer": dataclasses.asdict(answer), "identity": identity, "seconds": round(seconds, 3)}
        append_line(self.path / "labels.jsonl", line)

    def answers(self) -> dict[str, Answer]:
        """Recorded answers by the content key of their request, the newest of each."""
        return {line["key"]: Answer(**{**line["answer"], "tokens": tuple((str(t), float(p)) for t, p in line["answer"].get("tokens", ()))})
                for line in json_lines(self.path / "labels.jsonl") if "answer" in line}

    def seconds_per_call(self, identity: str | None = None) -> float | None:
        """Median time that recorded answers (of one model) took; None before three were timed."""
        lines = [line for line in json_lines(self.path / "labels.jsonl") if "answer" in line and identity in (None, line.get("identity"))]
        seconds = [line["seconds"] for line in lines if line.get("seconds")]
        return float(np.median(seconds)) if len(seconds) >= 3 else None

    def set_labels_aside(self) -> Path | None:
        """Rename labels.jsonl, whose part numbers are about to lose their meaning; its new path, None if there is none."""
        labels = self.path / "labels.jsonl"
        if not labels.exists():
            return None
        number = 1 + sum(1 for _ in self.path.glob("labels.old*.jsonl"))
        return labels.rename(self.path / f"labels.old{number}.jsonl")

    def keep_answers_and_labels_by_hand(self) -> None:
        """Drop all labels but those the user gave; answers stay, they were paid for. One step, which cannot lose any."""
        answers = [line for line in json_lines(self.path / "labels.jsonl") if "answer" in line]
        kept = [{"key": "", **dataclasses.asdict(label)} for label in self.labels().values() if label.source == "user"]
        with atomic(self.path / "labels.jsonl") as path:
            path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in [*answers, *kept]))

    def labels(self) -> dict[int, NodeLabel]:
        """The newest label of each part; a label given by the user wins over any other."""
        return {part: label for part, (label, _) in self.label_journal().items()}

    def label_journal(self) -> dict[int, tuple[NodeLabel, str]]:
        """part → (label, content key of the request that was answered)."""
        journal: dict[int, tuple[NodeLabel, str]] = {}
        for line in json_lines(self.path / "labels.jsonl"):
            if "part" not in line:
                continue
            key = line.pop("key", "")
            line["synonyms"] = tuple(line.get("synonyms", ()))
            line["alternatives"] = tuple((str(n), float(s)) for n, s in line.get("alternatives", ()))
            label = NodeLabel(**line)
            held = journal.get(label.part)
            if held is None or held[0].source != "user" or label.source == "user":
                journal[label.part] = (label, key)
        return journal

    def write_codebook(self, book: Codebook) -> None:
        with atomic(self.path / "codebook.json") as path:
            path.write_text(json.dumps({"format": FORMAT, "encoder": book.encoder, "texts": book.texts,
                                        "fields": book.fields, "negatives": book.negative_texts}, indent=1))
        self._save("codebook.npz", vectors=book.vectors, part_of_vector=book.part_of_vector, negatives=book.negatives)

    def codebook(self) -> Codebook:
        self.need("codebook.npz")
        data, words = self._load("codebook.npz"), self._load_json("codebook.json")
        return Codebook(data["vectors"], data["part_of_vector"], tuple(words["texts"]), tuple(words["fields"]),
                        data["negatives"], tuple(words["negatives"]), words["encoder"])

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
