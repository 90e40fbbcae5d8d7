"""Objects in GLB files, with a hierarchy of one's own.

NAME.glb beside NAME.json, or a folder NAME with model.glb and model.json. The JSON file says which faces each part holds:

    {"id": "mug-3-a", "category": "Mug", "model": "mug-3",
     "tree": {"name": "mug", "children": [
        {"name": "body", "meshes": ["cup", "ring"]},
        {"name": "handle", "text": "Handle", "faces": {"grip": [[0, 160]], "1": [7, 8, 12]}}]}}

id        of the object; by default NAME
category  by default the name of the whole
model     objects of one model are one draw; by default the id
tree      the whole, a part: {"name", "id"?, "text"?, "type"?, "meshes"?, "faces"?, "children"?}
  name      as queries say it
  id        of the part, a text or a whole number; all parts have one or none has
  text      the name as people read it; by default the name
  type      "subtypes": the part only says of which type the part around it is (a “regular table” of a table)
  meshes    the nodes of the file that the part holds whole
  faces     what it holds of others: numbers of faces, or [from, to] ranges that begin with `from` and end before `to`
  children  the parts inside it, whose faces it holds too

A mesh is called by the name of its node, or by its number among the nodes that show triangles, in the order in which the file
lists them; faces by their number within the node, one primitive after another. Without a JSON file the scene graph is the
hierarchy and the names are those of its nodes, without the numbers (.001) that Blender puts behind equal ones.

Notation
  f faces.
"""

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from eval.partnet.readers.faces import Parts, check_ids, object_of_faces, raw_only, rows_of_ranges
from eval.partnet.readers.gltf import Gltf, Graph, read_glb, read_graph
from eval.partnet.readers.meshes import some_of
from eval.partnet.readers.nested import Nested
from eval.partnet.readers.reference import Reference
from eval.partnet.records import PartObject, TreeKind

FIELDS = {"id", "category", "model", "tree"}
PART_FIELDS = {"name", "id", "text", "type", "meshes", "faces", "children"}
NUMBERED = re.compile(r"\.[0-9]{3,}$")


def find(data: Path) -> list[Reference]:
    """The GLB files of a folder and the model.glb of folders in it; opens no mesh."""
    paths = [data] if data.suffix.lower() == ".glb" else [*data.glob("*.glb"), *data.glob("*/model.glb")]
    return [_reference(path) for path in sorted(paths)]


def _reference(path: Path) -> Reference:
    name = path.resolve().parent.name if path.stem == "model" else path.stem
    try:
        about = read_about(path)
    except ValueError:
        about = {}  # to be told when the object is read
    id = about.get("id", name)
    return Reference("glb", id, path, about.get("category") or about.get("tree", {}).get("name", ""), about.get("model", id))


def files(reference: Reference) -> list[Path]:
    """The mesh and its hierarchy."""
    return [path for path in (reference.path, reference.path.with_suffix(".json")) if path.is_file()]


def names(reference: Reference, tree: TreeKind) -> tuple[str, ...]:
    """The names of an object's parts; no mesh is opened."""
    raw_only(reference, tree)
    about = read_about(reference.path)
    if not about:
        return tuple(filter(None, tree_of_graph(read_graph(reference.path), reference.id).names))
    return tuple(part["name"] for part, _ in parts_of(about["tree"], reference.path.with_suffix(".json")))


def read(reference: Reference, tree: TreeKind) -> PartObject:
    """The object; raises ValueError where it is broken or its hierarchy does not fit the mesh."""
    raw_only(reference, tree)
    about = read_about(reference.path)
    mesh = read_glb(reference.path)
    if not about:
        parts = Parts(tree_of_graph(mesh.graph, reference.id), {_set(node): faces for node, faces in faces_of_nodes(mesh).items()})
        return object_of_faces(reference, mesh, parts, reference.category, reference.model)
    parts = _parts(about["tree"], mesh, reference.path.with_suffix(".json"))
    return object_of_faces(reference, mesh, parts, about.get("category", ""), about.get("model", ""))


# ------------------------------------------------------------------ the scene graph as hierarchy


def tree_of_graph(graph: Graph, whole: str) -> Nested:
    """The nodes as parts; where there are several roots they are parts of one that is called `whole`."""
    several = graph.parents.count(-1) != 1
    place = {-1: 0} | {node: k + several for k, node in enumerate(graph.nodes)}
    names = [NUMBERED.sub("", name) for name in graph.names]
    return Nested(
        (*["whole"] * several, *map(str, graph.nodes)), (*[whole] * several, *names),
        (*[whole] * several, *(text or name for text, name in zip(graph.names, names, strict=True))),
        (*[()] * several, *((_set(node),) for node in graph.nodes)),
        np.array([*[0] * several, *(place[parent] for parent in graph.parents)], np.int32))


def faces_of_nodes(mesh: Gltf) -> dict[int, Int64[np.ndarray, " _"]]:
    """The faces that each node shows, in the order of the nodes; those that show none are not in it."""
    faces = defaultdict(list)
    for body in mesh.bodies:
        faces[body.node].append(np.arange(body.faces.start, body.faces.stop))
    return {node: np.concatenate(faces[node]) for node in sorted(faces)}


def _set(node: int) -> str:
    return f"node {node}"


# ------------------------------------------------------------------ the JSON file


def read_about(path: Path) -> dict[str, Any]:
    """What the JSON file beside a GLB file says, {} where there is none; the tree is not looked into."""
    path = path.with_suffix(".json")
    if not path.is_file():
        return {}
    try:
        about = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON ({type(error).__name__}: {error}). Write it anew.") from error
    if not isinstance(about, dict) or not isinstance(about.get("tree"), dict) or set(about) - FIELDS:
        met = some_of(sorted(about)) if isinstance(about, dict) else type(about).__name__
        raise ValueError(f"{path} has the fields {met}; expected a tree, and perhaps {', '.join(sorted(FIELDS - {'tree'}))}.")
    for field in FIELDS - {"tree"}:
        if not isinstance(about.get(field, "text"), str) or not about.get(field, "text").strip():
            raise ValueError(f"{path}: {field} is {about[field]!r}; expected a text.")
    return about


def parts_of(root: Any, where: Path) -> list[tuple[dict[str, Any], int]]:
    """Every part and the number of the one around it, outer ones first; raises ValueError for fields that are not as they should be."""
    parts, waiting = [], [(root, 0)]
    while waiting:
        part, parent = waiting.pop()
        _check(part, where)
        waiting += [(child, len(parts)) for child in reversed(part.get("children", []))]
        parts.append((part, parent))
    return parts


def _check(part: Any, where: Path) -> None:
    """Raises ValueError where a part's fields are not as they should be; faces and meshes are looked into with the mesh."""
    if not isinstance(part, dict) or not isinstance(part.get("name"), str) or not part["name"].strip():
        raise ValueError(f"{where}: {str(part)[:60]} is no part; expected an object with a name.")
    what = f"{where}: part “{part['name']}”"
    if set(part) - PART_FIELDS:
        raise ValueError(f"{what} has the field {sorted(set(part) - PART_FIELDS)[0]}; expected some of {', '.join(sorted(PART_FIELDS))}.")
    kinds = {"text": str, "meshes": list, "faces": dict, "children": list}
    for field, kind in kinds.items():
        if not isinstance(part.get(field, kind()), kind):
            raise ValueError(f"{what}: {field} is a {type(part[field]).__name__}; expected a {kind.__name__}.")
    if isinstance(part.get("id", ""), bool) or not isinstance(part.get("id", ""), str | int):
        raise ValueError(f"{what}: id is {part['id']!r}; expected a text or a whole number.")
    if part.get("type", "subtypes") != "subtypes":
        raise ValueError(f"{what}: type is {part['type']!r}; expected “subtypes”, or none.")


def _parts(root: dict[str, Any], mesh: Gltf, where: Path) -> Parts:
    """The tree of a JSON file, on its mesh."""
    parts = parts_of(root, where)
    given = ["id" in part for part, _ in parts]
    if any(given) and not all(given):
        raise ValueError(f"{where}: {sum(given)} of {len(given)} parts have an id; give all of them one, or none.")
    ids = tuple(str(part.get("id", k)) for k, (part, _) in enumerate(parts))
    check_ids(ids, where)
    nodes = faces_of_nodes(mesh)
    called = _calls(mesh, list(nodes))
    sets = {id: _faces(part, nodes, called, f"{where}: part “{part['name']}”") for id, (part, _) in zip(ids, parts, strict=True)}
    names = tuple(part["name"] for part, _ in parts)
    texts = tuple(part.get("text") or part["name"] for part, _ in parts)
    types = frozenset(id for id, (part, _) in zip(ids, parts, strict=True) if "type" in part)
    return Parts(Nested(ids, names, texts, tuple((id,) for id in ids), np.array([parent for _, parent in parts], np.int32)), sets, types)


def _calls(mesh: Gltf, nodes: list[int]) -> dict[str, list[int]]:
    """The nodes that each name or number means."""
    name = dict(zip(mesh.graph.nodes, mesh.graph.names, strict=True))
    called = defaultdict(list)
    for node in nodes:
        called[name[node]].append(node)
    return {str(k): [node] for k, node in enumerate(nodes)} | dict(called)


def _faces(
    part: dict[str, Any], nodes: Mapping[int, Int64[np.ndarray, " _"]], called: dict[str, list[int]], what: str
) -> Int64[np.ndarray, " _"]:
    """All faces that a part names itself, each once."""
    own = [nodes[_node(mesh, called, what)] for mesh in part.get("meshes", [])]
    for mesh, listed in part.get("faces", {}).items():
        faces = nodes[_node(mesh, called, what)]
        own.append(faces[face_numbers(listed, len(faces), f"{what}, mesh {mesh}")])
    return np.unique(np.concatenate([np.zeros(0, np.int64), *own]))


def _node(mesh: Any, called: dict[str, list[int]], what: str) -> int:
    meant = called.get(str(mesh), [])
    if len(meant) != 1 or isinstance(mesh, bool) or not isinstance(mesh, str | int):
        several = f"{len(meant)} meshes are called {mesh!r}; call them by their numbers" if meant else f"there is no mesh {mesh!r}"
        raise ValueError(f"{what}: {several}. There are {some_of([f'{name!r}' for name in called if name])}.")
    return meant[0]


def face_numbers(listed: Any, count: int, what: str) -> Int64[np.ndarray, " _"]:
    """Numbers, or [from, to] ranges, as numbers of faces of a mesh that has so many, each once."""
    try:
        numbers = np.asarray(listed if len(listed) else np.zeros(0, np.int64))
    except (ValueError, TypeError):
        numbers = np.zeros(0, object)
    if not isinstance(listed, list) or numbers.dtype.kind not in "iu" or numbers.shape[1:] not in ((), (2,)):
        raise ValueError(f"{what}: {str(listed)[:60]} are no faces; expected whole numbers, or pairs of them: [from, to].")
    first, last = (numbers, numbers + 1) if numbers.ndim == 1 else numbers.T
    if len(numbers) and (first.min() < 0 or last.max() > count or (first >= last).any()):
        named = f"faces {first.min()} to {last.max() - 1} are named"
        raise ValueError(f"{what}: {named}; there are {count}, from 0, and ranges have to begin before they end.")
    return rows_of_ranges(first.astype(np.int64), last.astype(np.int64))

