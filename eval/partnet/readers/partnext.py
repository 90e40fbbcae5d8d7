"""Objects of PartNeXt: textured GLB files with a part tree over their faces.

A folder holds, itself or in the folders in it,
  glbs/TYPE/ID.glb                  the meshes (what lies deeper or not so deep in glbs is found too)
and one of
  annotations/**/ID.json            {"hierarchyList", "masks", "mesh_face_num"?}, one file an object
  *.arrow or *.parquet              tables of the columns model_id, type_id, hierarchyList, masks, mesh_face_num, the last three as
                                    JSON text; to be read with pyarrow, which is only needed for them
with
  hierarchyList  a list of one part {"name", "nodeId", "refNodeId", "children" | "maskId"}; refNodeId is a number in a template of the
                 category, not of this tree, and is not looked at
  masks          {maskId: {number of a mesh: [numbers of its faces]}}
  mesh_face_num  {number of a mesh: how many faces it has}

Conventions
  Leaves hold faces, other parts what their parts hold. The description numbers meshes as trimesh's Scene.dump(concatenate=False) gives
  them, the data set's own tools as Scene.geometry lists them, and the two differ: whichever fits mesh_face_num is taken, the second
  where both do or where there are no such counts. The category is the name of the whole, the draw goes by model_id.
  Not verified: no file of the data set was at hand; the layout is that of its public description and tools. Those say that a few
  masks are a bare number instead of a list of one, and that some belong to no part.
"""

import ast
import json
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from eval.partnet.readers.faces import Parts, object_of_faces, raw_only
from eval.partnet.readers.glb import face_numbers
from eval.partnet.readers.gltf import Body, Gltf, read_glb
from eval.partnet.readers.meshes import some_of
from eval.partnet.readers.nested import Nested
from eval.partnet.readers.reference import Reference
from eval.partnet.records import PartObject, TreeKind

ROOT_NAME = re.compile(r"""\s*\[\s*\{\s*(["'])name\1\s*:\s*(["'])((?:(?!\2|\\).)*)\2""")  # where the name comes first, without an escape
TABLES = ("arrow", "parquet")
TEXTS = ("hierarchyList", "masks", "mesh_face_num")


# ------------------------------------------------------------------ what there is


def find(data: Path) -> list[Reference]:
    """The annotated objects whose meshes are there; opens no mesh, warns of how many annotations have none."""
    folders = (found for pattern in ("glbs", "*/glbs") for found in data.glob(pattern))
    meshes = {path.stem: path for folder in folders for path in sorted(folder.rglob("*.glb"))}
    if not meshes:
        return []
    seen: dict[str, int] = {}
    references, lost = [], 0
    for model, category, annotation, row in _annotations(data):
        if model not in meshes:
            lost += 1
            continue
        seen[model] = seen.get(model, 0) + 1
        id = model if seen[model] == 1 else f"{model}@{seen[model]}"  # annotated again
        key = os.path.relpath(annotation, meshes[model].parent) + row
        references.append(Reference("partnext", id, meshes[model], category, model, key))
    if not references:
        raise ValueError(f"{data} has {len(meshes)} meshes in glbs, and no annotations of them: put annotations/ID.json or tables beside.")
    if lost:
        warnings.warn(f"{data}: {lost} annotated objects have no mesh in glbs and are left out.", stacklevel=2)
    return references


def _annotations(data: Path) -> Iterator[tuple[str, str, Path, str]]:
    """(model, category, file, row in it) of every annotation."""
    for pattern in ("annotations", "*/annotations"):
        for folder in data.glob(pattern):
            yield from ((path.stem, _root_name(_text(path)), path, "") for path in sorted(folder.rglob("*.json")))
    for path in sorted({path for depth in ("", "*/", "*/*/") for ending in TABLES for path in data.glob(f"{depth}*.{ending}")}):
        number = 0
        for batch in _batches(path, ["model_id", "hierarchyList"]):
            for row in batch.to_pylist():
                yield row["model_id"], _root_name(row["hierarchyList"]), path, f"#{number}"
                number += 1


def _text(path: Path) -> str:
    """The hierarchy of an annotation of its own, "" where it cannot be read: that is told when the object is."""
    try:
        return json.dumps(_read_json(path)["hierarchyList"])
    except (ValueError, KeyError, TypeError):
        return ""


def _root_name(text: str) -> str:
    """The name of the whole in a written hierarchy, "" where there is none."""
    if found := ROOT_NAME.match(text):
        return found.group(3)
    try:
        return str(_parsed(text)[0]["name"])
    except (ValueError, LookupError, TypeError):
        return ""


def _batches(path: Path, columns: list[str]) -> Iterator[Any]:
    """A table as pyarrow's record batches: some rows at a time, of which none is copied yet."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise ValueError(f"{path} is a table that pyarrow reads: pip install 'semquery[partnext]', or give annotations/ID.json instead.") from error
    try:
        if path.suffix == ".parquet":
            yield from parquet.ParquetFile(path).iter_batches(256, columns=columns)
            return
        with pa.memory_map(str(path)) as source:
            try:
                batches = pa.ipc.open_stream(source)
            except pa.ArrowInvalid:
                reader = pa.ipc.open_file(source)
                batches = (reader.get_batch(k) for k in range(reader.num_record_batches))
            yield from (batch.select(columns) for batch in batches)
    except (pa.ArrowInvalid, KeyError, OSError) as error:
        raise ValueError(f"{path} is no table of PartNeXt ({error}); expected the columns {', '.join(columns)}. Fetch it again.") from error


# ------------------------------------------------------------------ one object


def files(reference: Reference) -> list[Path]:
    """The mesh, and the annotation where it is a file of its own: a table is not the object's alone."""
    annotation, row = _annotation_of(reference)
    return [path for path in (reference.path, *([] if row else [annotation])) if path.is_file()]


def _annotation_of(reference: Reference) -> tuple[Path, str]:
    file, _, row = reference.key.partition("#")
    return Path(os.path.normpath(reference.path.parent / file)), row


def names(reference: Reference, tree: TreeKind) -> tuple[str, ...]:
    """The names of an object's parts; no mesh is opened."""
    raw_only(reference, tree)
    return tuple(name for name in _tree(_record(reference), reference)[0].names if name.strip())


def read(reference: Reference, tree: TreeKind) -> PartObject:
    """The object; raises ValueError where it is broken or its faces are not those of the mesh."""
    raw_only(reference, tree)
    record = _record(reference)
    nested, notes = _tree(record, reference)
    mesh = read_glb(reference.path)
    bodies, more = in_order(mesh, record.get("mesh_face_num"), reference.path)
    sets = {f"mask {mask}": _faces(mesh, bodies, listed, f"{reference.path}: mask {mask}") for mask, listed in record["masks"].items()}
    used = {name for objs in nested.objs for name in objs}
    if lost := sorted(set(sets) - used):
        notes += (f"Masks that no part names: {some_of(lost)}.",)
    if missing := sorted(used - set(sets)):
        notes += (f"Masks that are missing: {some_of(missing)}.",)
    parts = Parts(nested, {name: faces for name, faces in sets.items() if name in used}, notes=notes + more)
    return object_of_faces(reference, mesh, parts, reference.category, reference.model)


def _record(reference: Reference) -> dict[str, Any]:
    """The annotation of an object, with what is written as text read."""
    path, row = _annotation_of(reference)
    record = _row(path, int(row)) if row else _read_json(path)
    if not isinstance(record, dict):
        raise ValueError(f"{path} is a {type(record).__name__}; expected an object with {', '.join(TEXTS)}.")
    try:
        record = {key: _parsed(record[key]) for key in TEXTS if record.get(key) is not None}
    except (ValueError, TypeError) as error:
        raise ValueError(f"{reference.key} of {reference.path} is cut off or no JSON ({error}). Fetch it again.") from error
    masks = record.get("masks")
    by_number = isinstance(masks, dict) and all(isinstance(mask, dict) for mask in masks.values())
    if not isinstance(record.get("hierarchyList"), list) or not by_number:
        raise ValueError(f"{reference.key} of {reference.path} has {some_of(sorted(record))}; expected hierarchyList, a list, and masks.")
    return record


def _row(path: Path, number: int) -> dict[str, Any]:
    for batch in _batches(path, list(TEXTS)):
        if number < batch.num_rows:
            return batch.slice(number, 1).to_pylist()[0]
        number -= batch.num_rows
    raise ValueError(f"{path} has fewer rows than when it was listed. List it again.")


def _read_json(path: Path) -> Any:
    if not path.is_file():
        raise ValueError(f"{path} is missing. Fetch it again.")
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is cut off or no JSON ({type(error).__name__}: {error}). Fetch it again.") from error


def _parsed(value: Any) -> Any:
    """JSON, or a text of it, or of Python's own values."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        pass
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _tree(record: dict[str, Any], reference: Reference) -> tuple[Nested, tuple[str, ...]]:
    """The tree, outer parts first, whose "objs" name masks, and notes."""
    roots = record["hierarchyList"]
    several = len(roots) != 1
    parts: list[tuple[str, str, tuple[str, ...]]] = [("whole", reference.category or "object", ())] * several
    parents, waiting = [0] * several, [(root, 0) for root in reversed(roots)]
    while waiting:
        part, parent = waiting.pop()
        if not isinstance(part, dict) or not isinstance(part.get("name"), str) or not isinstance(part.get("children") or [], list):
            where = f"{reference.key} of {reference.path}"
            raise ValueError(f"{where}: {str(part)[:60]} is no part; expected a name and children or a maskId.")
        waiting += [(child, len(parts)) for child in reversed(part.get("children") or [])]
        mask = () if part.get("maskId") is None else (f"mask {part['maskId']}",)
        parts.append((str(part.get("nodeId", len(parts))), part["name"], mask))
        parents.append(parent)
    ids, names, objs = zip(*parts, strict=True)
    notes = (f"{len(roots)} roots, put into one whole.",) if several else ()
    if len(set(ids)) < len(ids):
        twice = sorted({id for id in ids if ids.count(id) > 1})
        notes += (f"Parts with an id of another, numbered anew: {some_of(twice)}.",)
        ids = tuple(map(str, range(len(ids))))
    return Nested(ids, names, names, objs, np.array(parents, np.int32)), notes


def in_order(mesh: Gltf, counts: Any, path: Path) -> tuple[tuple[Body, ...], tuple[str, ...]]:
    """(a file's meshes as annotations number them, notes), by how many faces each has."""
    orders = [tuple(sorted(mesh.bodies, key=lambda body: body.in_geometry)), tuple(sorted(mesh.bodies, key=lambda body: body.in_dump))]
    if not isinstance(counts, Mapping):
        return orders[0], ("Nothing tells how many faces each mesh has: their order is not checked.",) if len(mesh.bodies) > 1 else ()
    by_number = {str(number): count for number, count in counts.items()}
    expected = [by_number.get(str(k)) for k in range(len(counts))]
    sizes = [[body.faces.stop - body.faces.start for body in order] for order in orders]
    for order, have in zip(orders, sizes, strict=True):
        if have == expected:
            return order, ("Both orders of meshes fit the numbers of faces.",) if sizes[0] == sizes[1] and orders[0] != orders[1] else ()
    raise ValueError(f"{path} has meshes of {some_of([str(size) for size in sizes[0]])} faces; the annotation is of "
                     f"{some_of([str(size) for size in expected])}. Fetch both again.")


def _faces(mesh: Gltf, bodies: tuple[Body, ...], listed: Mapping[str, Any], what: str) -> Int64[np.ndarray, " _"]:
    """The faces of one mask, {number of a mesh: numbers of faces}, as rows of the whole."""
    own = [np.zeros(0, np.int64)]
    for number, faces in listed.items():
        if not str(number).isdecimal() or int(number) >= len(bodies):
            raise ValueError(f"{what} names mesh {number}; there are {len(bodies)}, from 0.")
        body = bodies[int(number)].faces
        bare = isinstance(faces, int) and not isinstance(faces, bool)
        own.append(body.start + face_numbers([faces] if bare else faces, body.stop - body.start, f"{what}, mesh {number}"))
    return np.unique(np.concatenate(own))
