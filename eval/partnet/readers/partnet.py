"""Objects of PartNet v0 and of PartNet-Mobility, with their part trees.

A folder holds result.json (the raw tree), mostly result_after_merging.json (the merged tree, from which parts without a standard
name are gone), meta.json, mostly point_sample/, and either objs/*.obj (v0, no colours) or textured_objs/*.obj with their *.mtl and
the pictures in images/ (Mobility). The data has terms of its own: nothing of it may be passed on.

Notation
  p parts, k objs.
Conventions
  A part holds the objs that it names and those that parts inside it name. Where several name an obj, its faces are owned by the
  innermost: in a merged tree what lost its part stays with the part around it. What could be mended is noted, all else raises
  ValueError. A v0 folder was never at hand: the layout of objs/ is as its authors describe it.
"""

import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from eval.partnet.readers.meshes import put_together, read_shapes, some_of, unnamed
from eval.partnet.readers.nested import TREES, Nested, leaves_first, named, read_tree, without
from eval.partnet.readers.ontology import are_types, find_ontology, read_types
from eval.partnet.readers.points import COLORS, LABELS, painted, sampled_atoms
from eval.partnet.readers.reference import Reference
from eval.partnet.records import Format, PartObject, TreeKind, atoms_of, triangle_areas
from eval.textured import Shape

MESHES: dict[str, Format] = {"textured_objs": "mobility", "objs": "partnet"}  # by folder; where there are both the first is read


def find(data: Path) -> list[Reference]:
    """The objects in a folder or in folders in it; `data` may be an object itself. Opens no file but meta.json."""
    return [_reference(Path(path), mesh) for path, mesh in _folders(data, 2)]


def _folders(folder: Path | str, depth: int) -> Iterator[tuple[str, str]]:
    """(folder of an object, folder of its meshes), at most so many folders down."""
    if not os.path.isdir(folder):
        return
    try:
        with os.scandir(folder) as entries:
            inside = {entry.name: entry for entry in entries}
    except PermissionError:
        warnings.warn(f"{folder} may not be opened and is left out.", stacklevel=2)
        return
    mesh = next((name for name in MESHES if name in inside), "")
    if mesh or any(name in inside for name in TREES.values()):
        yield os.fspath(folder), mesh
    elif depth:
        for _, entry in sorted(inside.items()):
            if entry.is_dir():
                yield from _folders(entry.path, depth - 1)


def _reference(path: Path, mesh: str) -> Reference:
    try:
        meta = read_meta(path)
    except ValueError:
        meta = {}  # to be told when the object is read
    id = id_of(path)
    return Reference(MESHES.get(mesh, "partnet"), id, path, meta.get("model_cat", ""), meta.get("model_id") or id)


def id_of(folder: Path) -> str:
    """The name of a folder, which is the number of the annotation."""
    return os.path.basename(os.path.abspath(folder))


def read_meta(folder: Path) -> dict[str, str]:
    """meta.json, {} where there is none; raises ValueError for a broken one."""
    path = folder / "meta.json"
    if not path.is_file():
        return {}
    try:
        meta = json.loads(path.read_text(encoding="utf-8-sig"))
        return {str(key): str(value) for key, value in meta.items()}
    except (ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is broken ({type(error).__name__}: {error}); expected one JSON object. Fetch it again.") from error


def files(reference: Reference) -> list[Path]:
    """All that is read of an object: trees, meshes, their materials and pictures, sampled points."""
    folder = reference.path
    single = [folder / name for name in (*TREES.values(), "meta.json", COLORS, LABELS)]
    many = [path for sub in ("objs", "textured_objs", "images") for path in (folder / sub).rglob("*")]
    return sorted(path for path in (*single, *many) if path.is_file())


def names(reference: Reference, tree: TreeKind) -> tuple[str, ...]:
    """The names in an object's tree; no mesh is opened."""
    return named(read_tree(reference.path, tree), reference.category)[0].names


def read(reference: Reference, tree: TreeKind) -> PartObject:
    """The object, as `read_partnet`."""
    return read_partnet(reference.path, tree)


def read_partnet(folder: Path, tree: TreeKind) -> PartObject:
    """The object in a folder, with one of its two trees; raises ValueError where that cannot be."""
    mesh = next((name for name in MESHES if (folder / name).is_dir()), "")
    meta = read_meta(folder)
    whole = read_tree(folder, tree)
    if not mesh:
        raise ValueError(f"{folder} has no meshes: expected {' or '.join(MESHES)} beside {TREES[tree]}.")
    nested, notes = named(whole, meta.get("model_cat", ""))
    objs = tuple(dict.fromkeys(obj for part in nested.objs for obj in part))
    shapes, more = read_shapes(folder, mesh, objs, materials=MESHES[mesh] == "mobility")
    notes += more + unnamed(folder, mesh, objs)
    if not shapes:
        raise ValueError(f"{folder}: none of its {len(objs)} objs has a face. {' '.join(notes)} Fetch the object again.")
    nested, more = without_empty(nested, set(shapes))
    nested = leaves_first(nested)
    own = np.array([[obj in part for obj in shapes] for part in map(set, nested.objs)])
    return _object(folder, mesh, tree, meta, nested, own, shapes, notes + more)


def _object(
    folder: Path, mesh: str, tree: TreeKind, meta: dict[str, str], nested: Nested, own: Bool[np.ndarray, "p k"], shapes: dict[str, Shape],
    notes: tuple[str, ...],
) -> PartObject:
    """Everything put together, given which objs each part names itself."""
    scene = put_together(tuple(shapes.values()), own.argmax(0), nested.parents, nested.names)
    if MESHES[mesh] == "partnet":
        scene, more = painted(scene, folder)
        notes += more
    holds, atom_of_obj = atoms_of(inside_out(own, nested))
    atom_of_face = np.repeat(atom_of_obj, [len(shape.faces) for shape in shapes.values()])
    area = np.bincount(atom_of_face, triangle_areas(scene), holds.shape[1])
    points, more = _points(folder, dict(zip(shapes, atom_of_obj.tolist(), strict=True)), holds, area)
    category = meta.get("model_cat") or nested.names[-1]
    ontology = find_ontology(Path(os.path.abspath(folder)), category, tree)
    is_type = are_types(nested.names, nested.parents, read_types(ontology) if ontology else frozenset())
    id = id_of(folder)
    return PartObject(
        id, category, meta.get("model_id") or id, MESHES[mesh], scene, nested.ids, nested.texts, is_type, holds, atom_of_face, area,
        points, notes + more + without_area(nested, holds, area))


def _points(folder: Path, atom_of_obj: dict[str, int], holds: np.ndarray, area: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """The sampled points of each atom, by the ids of the raw tree."""
    if not (folder / LABELS).is_file():
        return np.zeros(0, np.int64), ()
    if not (folder / TREES["raw"]).is_file():
        return np.zeros(0, np.int64), (f"Without {TREES['raw']} nobody knows what {LABELS} means; there are no sampled points.",)
    return sampled_atoms(folder, read_tree(folder, "raw"), atom_of_obj, holds, area)


def inside_out(own: Bool[np.ndarray, "p k"], nested: Nested) -> Bool[np.ndarray, "p k"]:
    """Which objs each part of a tree with the root last holds: its own and those of all parts inside it."""
    holds = own.copy()
    for part in range(len(holds) - 1):
        holds[nested.parents[part]] |= holds[part]
    return holds


def without_empty(nested: Nested, objs: set[str]) -> tuple[Nested, tuple[str, ...]]:
    """(a tree with outer parts first, without the parts that hold none of the objs that have faces, notes)."""
    full = np.array([not objs.isdisjoint(part) for part in nested.objs])
    for part in range(len(full) - 1, 0, -1):
        full[nested.parents[part]] |= full[part]
    if full.all():
        return nested, ()
    empty = [nested.names[k] for k in np.flatnonzero(~full)]
    return without(nested, ~full), (f"Parts that hold no face, left out: {some_of(empty)}.",)


def without_area(nested: Nested, holds: Bool[np.ndarray, "p a"], area: np.ndarray) -> tuple[str, ...]:
    """A note on the parts whose faces have no area, if there are any."""
    flat = [name for name, part in zip(nested.names, holds @ area, strict=True) if not part > 0]
    return (f"Parts whose faces have no area: {some_of(flat)}.",) if flat else ()
