"""Meshes whose every face has a known label: what is asked for, and what is true.

Notation
  n vertices, f faces, k labels, p parts.
Conventions
  A label is what one query means; it may be on many parts ("leg"). `piece_of_face` is finer: pieces respect the borders of labels,
  as a good part tree does, and are what a mode that knows a tree may snap to. On objects they are the true parts that own
  the faces, on bodies geodesic cells cut at the borders of labels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int, Int32

from semquery.fusion.viewpoints import Up
from semquery.procedural import KnownScene

CELLS = 60  # geodesic cells of a body, before they are cut at the borders of labels


@dataclass(frozen=True)
class Subject:
    """One mesh with true labels."""

    name: str
    vertices: Float64[np.ndarray, "n 3"]
    faces: Int32[np.ndarray, "f 3"]
    up: Up
    label_of_face: Int32[np.ndarray, " f"]
    labels: tuple[str, ...]
    piece_of_face: Int32[np.ndarray, " f"]

    @property
    def num_labels(self) -> int:
        return len(self.labels)


def subjects(procedural: tuple[str, ...], scan: Path | None = None, partnet: Path | None = None) -> dict[str, Callable[[], Subject]]:
    """What makes each subject, by name; no mesh is opened. Raises ValueError for a name that there is not, and for missing files.

    figure-coarse and figure-fine are a body of our own; other names are those of `eval.objects`.
    """
    from eval.objects import SCENES
    from eval.partnet.readers.find import find_objects

    if scan is not None and not scan.is_file():
        raise ValueError(f"There is no mesh at {scan}; --scan is the file of one body that stands along +y.")
    known: dict[str, Callable[[], Subject]] = {f"figure-{grain}": partial(figure_subject, grain) for grain in ("coarse", "fine")}
    known |= {name: partial(_procedural, name) for name in SCENES}
    if unknown := [name for name in procedural if name not in known]:
        raise ValueError(f"There is no subject {unknown[0]}; expected some of {', '.join(known)}.")
    found = {name: known[name] for name in procedural}
    if scan is not None:
        found |= {f"{scan.stem}-{grain}": partial(scan_subject, scan, grain) for grain in ("coarse", "fine")}
    for reference in find_objects(partnet) if partnet is not None else ():
        found[f"partnet-{reference.id}"] = partial(_partnet, reference)
    if not found:
        raise ValueError("There is nothing to measure on; give --subjects, --scan or --partnet.")
    return found


def object_subject(name: str, scene: KnownScene) -> Subject:
    """An object with the names of the parts that own its faces as labels: parts of one name are one label."""
    owners, owner_of_face = np.unique(scene.part_of_face, return_inverse=True)
    labels, label_of_owner = np.unique([scene.names[owner].replace("_", " ").lower() for owner in owners], return_inverse=True)
    return Subject(
        name, scene.vertices.astype(np.float64), scene.faces, "z", label_of_owner.reshape(-1)[owner_of_face.reshape(-1)].astype(np.int32),
        tuple(map(str, labels)), owner_of_face.reshape(-1).astype(np.int32))


def body_subject(name: str, vertices: Float64[np.ndarray, "n 3"], faces: Int32[np.ndarray, "f 3"], grain: str) -> Subject:
    """A body that stands along +y, with geometric parts: 4 coarse or 17 fine ones (see `bodies`)."""
    from eval.reasoning.bodies import COARSE, coarse_parts, fine_parts

    label = coarse_parts(vertices, faces) if grain == "coarse" else fine_parts(vertices, faces)
    labels = COARSE if grain == "coarse" else tuple(f"cell {k}" for k in range(label.max() + 1))
    return Subject(name, vertices, faces, "y", label, labels, cut(fine_parts(vertices, faces, CELLS), label))


def cut(piece: Int[np.ndarray, " f"], label: Int[np.ndarray, " f"]) -> Int32[np.ndarray, " f"]:
    """Pieces cut where the label changes, numbered 0.. without gaps."""
    _, place = np.unique(np.stack([piece, label], 1), axis=0, return_inverse=True)
    return place.reshape(-1).astype(np.int32)


def figure_subject(grain: str) -> Subject:
    """The body of our own."""
    from eval.reasoning.bodies import figure

    return body_subject(f"figure-{grain}", *figure(), grain)


def scan_subject(path: Path, grain: str) -> Subject:
    """A scan of a body; its file has no labels that are read."""
    from semquery.render import load_mesh

    vertices, faces = load_mesh(path)
    return body_subject(f"{path.stem}-{grain}", vertices.astype(np.float64), faces, grain)


def _procedural(name: str) -> Subject:
    from eval.objects import SCENES

    return object_subject(name, SCENES[name]())


def _partnet(reference) -> Subject:
    from eval.partnet.readers.find import read_object

    return object_subject(f"partnet-{reference.id}", read_object(reference, "raw").scene)
