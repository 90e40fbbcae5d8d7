"""Objects of PartObjaverse-Tiny: GLB files with a label and an instance of every face.

A folder holds, itself or in the folders in it,
  *_semantic.json          {group: {ID: [labels]}}, or {ID: [labels]}
  ID.glb                   the mesh
  *semantic_gt/ID.npy      of every face the number of its label, -1 = none
  *instance_gt/ID.npy      of every face the number of its instance, -1 = none; not needed

The tree is flat: the whole, and a part for every instance (without such a file for every label), named by its label.

Notation
  f faces.
Conventions
  Faces are counted along trimesh's Scene.dump(), as the data set's description does. The group is the category. Faces without a
  label or without an instance belong to the whole alone; of an instance with several labels the most frequent one is its name.
  Not verified: no file of the data set but the list of labels was at hand; that -1 is “none” is how its own measures read it.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from eval.partnet.readers.faces import Parts, object_of_faces, raw_only
from eval.partnet.readers.gltf import Gltf, read_glb
from eval.partnet.readers.meshes import some_of
from eval.partnet.readers.nested import Nested
from eval.partnet.readers.reference import Reference
from eval.partnet.records import PartObject, TreeKind

LABELS = "*_semantic.json"
ABOVE = 3  # folders above a mesh in which its labels are looked for


def find(data: Path) -> list[Reference]:
    """The labelled objects whose meshes are there; opens no mesh."""
    found = []
    for path in sorted({path for depth in ("", "*/") for path in data.glob(depth + LABELS)}):
        meshes = {mesh.stem: mesh for mesh in sorted(path.parent.rglob("*.glb"))}
        found += [Reference("objaverse", id, meshes[id], group, id) for id, (group, _) in read_labels(path).items() if id in meshes]
    return found


def files(reference: Reference) -> list[Path]:
    """The mesh, the labels, and what is said of every face."""
    return [path for path in (reference.path, _labels_of(reference), *_faces_of(reference).values()) if path]


def names(reference: Reference, tree: TreeKind) -> tuple[str, ...]:
    """The names of an object's labels and of the whole; no mesh is opened."""
    raw_only(reference, tree)
    return (*_labels(reference)[1], "object")


def read(reference: Reference, tree: TreeKind) -> PartObject:
    """The object; raises ValueError where something is missing or does not fit the mesh."""
    raw_only(reference, tree)
    group, labels = _labels(reference)
    paths = _faces_of(reference)
    if "semantic" not in paths:
        raise ValueError(f"{reference.path}: there is no *semantic_gt/{reference.id}.npy. Unpack PartObjaverse-Tiny_semantic_gt.zip there.")
    mesh = read_glb(reference.path)
    label = read_numbers(paths["semantic"], len(mesh.faces))
    if label.max() >= len(labels):
        raise ValueError(f"{paths['semantic']} names label {label.max()}; {_labels_of(reference)} has {len(labels)} of it, from 0.")
    instance = read_numbers(paths["instance"], len(mesh.faces)) if "instance" in paths else label
    return object_of_faces(reference, mesh, parts_of_faces(label, instance, labels, walked(mesh)), group, reference.model)


def parts_of_faces(
    label: Int64[np.ndarray, " f"], instance: Int64[np.ndarray, " f"], labels: Sequence[str], rows: Int64[np.ndarray, " f"]
) -> Parts:
    """A part for every instance; `rows` are those of the counted faces in the mesh."""
    marked = (label >= 0) & (instance >= 0)
    numbers, which = np.unique(instance[marked], return_inverse=True)
    votes = np.zeros((len(numbers), len(labels)), np.int64)
    np.add.at(votes, (which.reshape(-1), label[marked]), 1)
    sets = {str(number): np.sort(rows[marked & (instance == number)]) for number in numbers.tolist()}
    called = tuple(labels[k] for k in votes.argmax(1)) if len(numbers) else ()
    mixed = [str(number) for number, several in zip(numbers.tolist(), (votes > 0).sum(1) > 1, strict=True) if several]
    notes = (f"Instances with several labels, named by the most frequent: {some_of(mixed)}.",) if mixed else ()
    own = ((), *((number,) for number in sets))
    tree = Nested(("whole", *sets), ("object", *called), ("object", *called), own, np.zeros(len(sets) + 1, np.int32))
    return Parts(tree, sets, notes=notes)


def walked(mesh: Gltf) -> Int64[np.ndarray, " f"]:
    """The rows of a mesh's faces, as they are counted along trimesh's walk over the scene."""
    bodies = sorted(mesh.bodies, key=lambda body: body.in_dump)
    return np.concatenate([np.arange(body.faces.start, body.faces.stop) for body in bodies])


def read_numbers(path: Path, num_faces: int) -> Int64[np.ndarray, " f"]:
    """What a npy file says of each face; raises ValueError where it is not one whole number a face."""
    try:
        numbers = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path} is no npy file of numbers ({error}). Fetch it again.") from error
    numbers = np.squeeze(numbers)
    if numbers.dtype.kind not in "iu" or numbers.shape != (num_faces,):
        raise ValueError(f"{path} has {numbers.dtype} of shape {numbers.shape}; expected a whole number of each of the {num_faces} faces.")
    return numbers.astype(np.int64)


# ------------------------------------------------------------------ labels


def read_labels(path: Path) -> dict[str, tuple[str, list[str]]]:
    """(group, labels) by id; the group is "" in files that have none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        grouped = {id: (group, labels) for group, inside in content.items() for id, labels in _inside(group, inside).items()}
    except (ValueError, AttributeError, RecursionError) as error:
        what = f"{type(error).__name__}: {error}"
        raise ValueError(f"{path} is no list of labels ({what}); expected {{group: {{id: [labels]}}}}. Fetch it again.") from error
    if wrong := [id for id, (_, labels) in grouped.items() if not isinstance(labels, list) or {*map(type, labels)} - {str}]:
        raise ValueError(f"{path}: the labels of {some_of(wrong)} are no list of texts. Fetch it again.")
    return {id: ("" if group == id else group, labels) for id, (group, labels) in grouped.items()}


def _inside(group: str, inside: Any) -> dict[str, Any]:
    return {group: inside} if isinstance(inside, list) else inside


def _labels_of(reference: Reference) -> Path | None:
    """The nearest list of labels above a mesh that knows it."""
    for folder in reference.path.resolve().parents[:ABOVE]:
        for path in sorted(folder.glob(LABELS)):
            if reference.id in read_labels(path):
                return path
    return None


def _labels(reference: Reference) -> tuple[str, list[str]]:
    path = _labels_of(reference)
    if path is None:
        raise ValueError(f"{reference.path}: no {LABELS} in the folders around it knows {reference.id}. Put the data set's own there.")
    return read_labels(path)[reference.id]


def _faces_of(reference: Reference) -> dict[str, Path]:
    """What is said of the faces: semantic, and perhaps instance."""
    labels = _labels_of(reference)
    folder = labels.parent if labels else reference.path.parent
    found = {}
    for what in ("semantic", "instance"):
        paths = sorted({path for depth in ("", "*/", "*/*/") for path in folder.glob(f"{depth}*{what}_gt/{reference.id}.npy")})
        found |= {what: paths[0]} if paths else {}
    return found
