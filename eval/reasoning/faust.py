"""The FAUST protocol of SATR and Reasoning3D: part labels on the vertices of human scans.

Notation
  n vertices, f faces, k labels, m meshes.
Conventions
  A folder in SATR's layout holds scans/*.obj, meshes.txt (one mesh a line), coarse_gt.json and fine_grained_gt.json, each
  {mesh: [the name of every vertex' label]}; names of meshes count without their suffix, "_" in a label counts as a space.
  Methods label faces. A vertex takes the label of the LAST face in file order that touches it (the published rule), -1
  where none does. That rule loses something even with perfect faces: `ceiling` says how much.
  IoU is counted on vertices, per mesh and for labels that occur in its truth: `per_mesh` is their mean (what Reasoning3D
  prints), `per_label` the mean over meshes of each label, and `overall` the mean of those over labels (SATR's mIoU).
  SATR: Abdelreheem et al., ICCV 2023, arXiv 2304.04909. Reasoning3D: Chen et al. 2024, arXiv 2405.19326.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Float64, Int, Int32

from eval.metrics.grounding import label_ious
from eval.metrics.retrieval import known_mean
from eval.textured import read_obj

Grain = Literal["coarse", "fine"]
LABELS: dict[Grain, tuple[str, ...]] = {
    "coarse": ("arm", "head", "leg", "torso"),
    "fine": ("arm", "head", "torso", "leg", "belly button", "nose", "eye", "chin", "mouth", "ear", "neck", "forehead", "shoulder",
             "elbow", "hand", "knee", "foot"),
}
FILES: dict[Grain, str] = {"coarse": "coarse_gt.json", "fine": "fine_grained_gt.json"}
LAYOUT = "scans/*.obj, meshes.txt, coarse_gt.json, fine_grained_gt.json"


@dataclass(frozen=True)
class Scan:
    """One mesh with its true labels."""

    name: str
    vertices: Float64[np.ndarray, "n 3"]
    faces: Int32[np.ndarray, "f 3"]
    label_of_vertex: Int32[np.ndarray, " n"]  # place in LABELS


@dataclass(frozen=True)
class FaustScores:
    """The numbers of the protocol; nan for labels that occur nowhere."""

    per_mesh: Float64[np.ndarray, " m"]
    per_label: Float64[np.ndarray, " k"]
    overall: float  # mean of per_label: SATR's mIoU
    mesh_mean: float  # mean of per_mesh: of what Reasoning3D prints


def prompt(label: str) -> str:
    """What a model is asked for one label, as published."""
    return f"the {label} of a man"


# ------------------------------------------------------------------ reading


def mesh_names(folder: Path) -> tuple[str, ...]:
    """The meshes of the protocol, without suffix, in the order of meshes.txt. Raises ValueError where it is missing or empty."""
    path = folder / "meshes.txt"
    names = tuple(Path(line.strip()).stem for line in _text(path).splitlines() if line.strip())
    if not names:
        raise ValueError(f"{path} names no mesh; expected one a line.")
    return names


def read_labels(folder: Path, grain: Grain) -> dict[str, Int32[np.ndarray, " n"]]:
    """Of every mesh the label of each vertex. Raises ValueError for what is missing, and for a label the protocol has not."""
    path = folder / FILES[grain]
    try:
        table = json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is no JSON ({error}); expected {{mesh: [label of each vertex]}}.") from error
    if not isinstance(table, dict):
        raise ValueError(f"{path} holds a {type(table).__name__}; expected {{mesh: [label of each vertex]}}.")
    return {Path(mesh).stem: label_numbers(labels, grain, f"{path}, {mesh}") for mesh, labels in table.items()}


def label_numbers(labels: Sequence[str], grain: Grain, where: str) -> Int32[np.ndarray, " n"]:
    """Places in LABELS of labels as they are written. Raises ValueError that says where an unknown one stands."""
    place = {name: k for k, name in enumerate(LABELS[grain])}
    clean = [str(label).replace("_", " ").strip().lower() for label in labels]
    if unknown := sorted(set(clean) - place.keys()):
        raise ValueError(f"{where} has the labels {', '.join(unknown[:5])}; expected some of {', '.join(LABELS[grain])}.")
    return np.array([place[label] for label in clean], np.int32)


def read_scans(folder: Path, grain: Grain) -> Iterator[Scan]:
    """Every mesh of meshes.txt with its labels, one at a time.

    Raises ValueError, before the first mesh, where one has no file or no labels; and for a mesh of another number of vertices.
    """
    names, labels = mesh_names(folder), read_labels(folder, grain)
    if missing := [name for name in names if not (folder / "scans" / f"{name}.obj").is_file()]:
        raise ValueError(f"{folder / 'scans'} has no {missing[0]}.obj ({len(missing)} of {len(names)} are missing); expected {LAYOUT}.")
    if missing := [name for name in names if name not in labels]:
        raise ValueError(f"{folder / FILES[grain]} says nothing of {missing[0]} ({len(missing)} of {len(names)} are missing).")
    return (_scan(folder, name, labels[name]) for name in names)


def _scan(folder: Path, name: str, label_of_vertex: Int32[np.ndarray, " n"]) -> Scan:
    shape = read_obj(folder, f"scans/{name}.obj", materials=False)
    if len(shape.vertices) != len(label_of_vertex):
        raise ValueError(f"scans/{name}.obj has {len(shape.vertices)} vertices and {len(label_of_vertex)} labels; "
                         "labels are per vertex, in the order of the file.")
    return Scan(name, shape.vertices, shape.faces, label_of_vertex)


def _text(path: Path) -> str:
    if not path.is_file():
        raise ValueError(f"There is no {path}; give a folder with {LAYOUT}.")
    return path.read_text(encoding="utf-8")


# ------------------------------------------------------------------ faces and vertices


def vertex_labels(label_of_face: Int[np.ndarray, " f"], faces: Int[np.ndarray, "f 3"], num_vertices: int) -> Int32[np.ndarray, " n"]:
    """The label of the last face in file order that touches each vertex; -1 where none does."""
    last = np.full(num_vertices, -1, np.int64)
    np.maximum.at(last, faces.reshape(-1), np.repeat(np.arange(len(faces)), 3))
    return np.where(last >= 0, np.append(label_of_face, -1)[last], -1).astype(np.int32)


def face_labels(label_of_vertex: Int[np.ndarray, " n"], faces: Int[np.ndarray, "f 3"]) -> Int32[np.ndarray, " f"]:
    """What two corners agree on, and the first corner's label where all differ: the faces that a perfect method would give."""
    a, b, c = label_of_vertex[faces].T
    return np.where(b == c, b, a).astype(np.int32)


def ceiling(scan: Scan) -> Int32[np.ndarray, " n"]:
    """What the vertex rule makes of perfect labels on every face."""
    return vertex_labels(face_labels(scan.label_of_vertex, scan.faces), scan.faces, len(scan.vertices))


# ------------------------------------------------------------------ numbers


def scan_ious(found: Int[np.ndarray, " n"], scan: Scan, grain: Grain) -> Float64[np.ndarray, " k"]:
    """IoU over vertices of every label; nan for those that the mesh has not. Raises ValueError for another number of vertices."""
    if len(found) != len(scan.label_of_vertex):
        raise ValueError(f"{len(found)} labels were given for the {len(scan.label_of_vertex)} vertices of {scan.name}.")
    return label_ious(found, scan.label_of_vertex, len(LABELS[grain]))


def faust_scores(ious: Float[np.ndarray, "m k"]) -> FaustScores:
    """The protocol's means of `scan_ious`."""
    per_label, per_mesh = known_mean(ious), known_mean(ious.T)
    return FaustScores(per_mesh, per_label, float(known_mean(per_label)), float(known_mean(per_mesh)))
