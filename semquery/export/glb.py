"""Parts as a binary glTF 2.0: a tree of named nodes, each with the geometry that the part has to itself.

Notation
  n points, f faces, m nodes (parts that are written), v vertices, i indices. Nodes are in preorder.
Conventions
  Below the first node, `capture`, coordinates are the capture's own: its rotation turns the capture's up to glTF's +y.
  What a node draws is what lies in no part inside it; what a part is made of is the node with all below it. A node's
  name is its label's, or "part 12" where it has none; its number, path and facts are under "semquery" in its extras
  (what is not known is left out: older Blenders keep no null). glTF's vertex colours are linear: sixteen bits, since
  eight would merge dark shades.
The file is written here because trimesh keeps nodes by name: of two knobs one is renamed, and its colours have eight bits.
"""

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64, UInt8, UInt16, UInt32

from semquery.discs import disc_radii
from semquery.export.chosen import Chosen
from semquery.export.faces import part_of_face
from semquery.export.tree import box_json, number
from semquery.render import Mesh

CORNERS = 6  # of a disc
LOWER = 0.1  # radii that the rim of a disc is lower than its middle
POINTS, TRIANGLES = 0, 4  # glTF's modes of primitives
VERTEX_BUFFER, INDEX_BUFFER = 34962, 34963  # glTF's targets of buffer views
COMPONENT = {"<f4": 5126, "<u2": 5123, "<u4": 5125}  # glTF's types of components
KIND = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}


@dataclass(frozen=True)
class Drawn:
    """The geometry of all nodes, one after another: node k has the vertices and indices from [k] to [k + 1]."""

    positions: Float32[np.ndarray, "v 3"]
    normals: Float32[np.ndarray, "v 3"]
    colors: UInt16[np.ndarray, "v 4"]  # linear, the last is opacity
    indices: UInt32[np.ndarray, " i"]  # numbered within the node; none for points
    first_vertex: Int64[np.ndarray, " o"]
    first_index: Int64[np.ndarray, " o"]
    mode: int


def glb_bytes(
    chosen: Chosen, mesh: Mesh | None = None, as_points: bool = False, up: Sequence[float | int] | Float[np.ndarray, " 3"] = (0, 0, 1)
) -> bytes:
    """A GLB file: one node for each chosen part, in the tree's order.

    With a mesh its faces are drawn, each in the part of most of the points on it; without, a disc for every point,
    or with `as_points` the points themselves. `up`: the capture's up, of any length. Raises ValueError for an up
    without direction, for points that are no numbers, for a mesh without faces, and for a mesh that shall be points.
    """
    if mesh is not None and as_points:
        raise ValueError("A mesh is drawn as faces, not as points: leave out the mesh or as_points.")
    if not np.isfinite(chosen.surface.points).all() or (mesh is not None and not np.isfinite(mesh.vertices).all()):
        raise ValueError("Some points are not finite numbers, and a GLB file can hold none such. Make the surface anew.")
    turn = rotation_to_y(np.asarray(up, np.float64))
    drawn = faces_of(chosen, mesh) if mesh is not None else points_of(chosen) if as_points else discs_of(chosen)
    return container(_document(chosen, drawn, turn, [float(u) for u in up]), _views(drawn))


# ------------------------------------------------------------------ what is drawn


def points_of(chosen: Chosen) -> Drawn:
    """The points, each in the smallest part that holds it."""
    rows, first = _own_points(chosen)
    surface = chosen.surface
    none = np.zeros_like(first)
    return Drawn(surface.points[rows], _unit(surface.normals[rows]), linear(surface.colors[rows]),
                 np.zeros(0, np.uint32), first, none, POINTS)


def discs_of(chosen: Chosen) -> Drawn:
    """A hexagon at every point, square to its normal and as large as it takes to close the surface; its first vertex is the point.

    Discs of one plane overlap. Their rims are a little lower than their middles, so that where they do, the one whose
    middle is nearest is seen: in one plane they would flicker, and take each other's light.
    """
    rows, first = _own_points(chosen)
    surface, size = chosen.surface, CORNERS + 1
    points, normals = surface.points[rows], _unit(surface.normals[rows])
    radius = disc_radii(surface.points, surface.voxel_size).astype(np.float32)[rows, None] if len(rows) else np.zeros((0, 1), np.float32)
    across = _unit(np.cross(normals, np.eye(3, dtype=np.float32)[np.abs(normals).argmin(1)]))  # and the axis that is least along the normal
    along = np.cross(normals, across)
    vertices = np.empty((len(rows), size, 3), np.float32)
    vertices[:, 0] = points
    for k, angle in enumerate(2 * np.pi * np.arange(CORNERS) / CORNERS):
        out = np.float32(np.cos(angle)) * across + np.float32(np.sin(angle)) * along - np.float32(LOWER) * normals
        vertices[:, 1 + k] = points + radius * out
    fan = np.array([[0, 1 + k, 1 + (k + 1) % CORNERS] for k in range(CORNERS)], np.uint32).ravel()
    disc = np.arange(len(rows)) - np.repeat(first[:-1], np.diff(first))  # within its node
    indices = (disc.astype(np.uint32)[:, None] * np.uint32(size) + fan).reshape(-1)
    return Drawn(vertices.reshape(-1, 3), np.repeat(normals, size, 0), np.repeat(linear(surface.colors[rows]), size, 0), indices,
                 first * size, first * len(fan), TRIANGLES)


def faces_of(chosen: Chosen, mesh: Mesh) -> Drawn:
    """The mesh's faces, each with three corners of its own, since its neighbours have other colours and normals."""
    place = np.full(chosen.parts.num_parts, len(chosen.nodes))  # of each part among the nodes; the last is none of them
    place[list(chosen.nodes)] = np.arange(len(chosen.nodes))
    node = place[part_of_face(chosen.surface, chosen.parts, mesh)]
    first = 3 * np.searchsorted(np.sort(node), np.arange(len(chosen.nodes) + 1))
    faces = np.argsort(node, kind="stable")[: first[-1] // 3]
    corners = mesh.vertices[mesh.faces[faces]]
    normals = _unit(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).astype(np.float32))
    indices = np.arange(3 * len(faces)) - np.repeat(first[:-1], np.diff(first))
    return Drawn(corners.reshape(-1, 3), np.repeat(normals, 3, 0), np.repeat(linear(mesh.colors[faces]), 3, 0), indices.astype(np.uint32),
                 first, first, TRIANGLES)


def _own_points(chosen: Chosen) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " o"]]:
    """The points that lie in each chosen part and in none inside it, one part after another, and where each part's begin."""
    rank, slices = chosen.spans.first[list(chosen.nodes)], chosen.spans.points
    count = slices.start[rank + 1] - slices.start[rank]
    return slices.within(np.stack([rank, rank + 1], 1)).astype(np.int64), np.concatenate([[0], np.cumsum(count)])


def _unit(vectors: Float32[np.ndarray, "n 3"]) -> Float32[np.ndarray, "n 3"]:
    """Unit vectors; z where there is no direction: glTF has no empty normals."""
    length = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    sure = np.isfinite(length) & (length > 0)
    return np.where(sure, vectors / np.where(sure, length, 1), [0.0, 0.0, 1.0]).astype(np.float32)


def linear(colors: UInt8[np.ndarray, "n 3"]) -> UInt16[np.ndarray, "n 4"]:
    """sRGB, as pictures have it, as linear light in sixteen bits, opaque (IEC 61966-2-1)."""
    share = np.arange(256) / 255
    curve = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    table = (65535 * curve).round().astype(np.uint16)
    return np.concatenate([table[colors], np.full((len(colors), 1), 65535, np.uint16)], axis=1)


def rotation_to_y(up: Float64[np.ndarray, " k"]) -> Float64[np.ndarray, " 4"]:
    """The shortest rotation that turns `up` to +y, as a unit quaternion x y z w; half a turn about x for -y."""
    if up.shape != (3,) or not np.isfinite(up).all() or not np.linalg.norm(up) > 0:
        raise ValueError(f"up is {up.tolist()}, which is no direction: give three numbers that are not all 0.")
    x, y, z = up / np.linalg.norm(up)
    turn = np.array([-z, 0.0, x, 1 + y])  # the axis up × y, and 1 + cos of the angle: twice the rotation, not yet of unit length
    return turn / np.linalg.norm(turn) if np.linalg.norm(turn) > 1e-9 else np.array([1.0, 0.0, 0.0, 0.0])


# ------------------------------------------------------------------ the file


def _document(chosen: Chosen, drawn: Drawn, turn: Float64[np.ndarray, " 4"], up: list[float]) -> dict[str, Any]:
    """The JSON of the file, but for its buffers."""
    node_of_part = {part: k + 1 for k, part in enumerate(chosen.nodes)}  # node 0 is the capture's
    inside: list[list[int]] = [[] for _ in range(len(node_of_part) + 1)]
    for part, node in node_of_part.items():
        above = int(chosen.parts.parents[part])
        inside[0 if part in chosen.tops else node_of_part[above]].append(node)
    meshes = _meshes(chosen, drawn)
    mesh_of_part = {part: k for k, part in enumerate(meshes)}
    about = {"about": "Nodes below have the capture's own coordinates; this one turns its up to +y.", "up": up}
    nodes = [{"name": "capture", "rotation": turn.tolist(), "extras": {"semquery": about}}]
    nodes += [{"name": _name(chosen, part), "extras": {"semquery": _facts(chosen, part)}}
              | ({"mesh": mesh_of_part[part]} if part in mesh_of_part else {}) for part in chosen.nodes]
    nodes = [node | ({"children": children} if children else {}) for node, children in zip(nodes, inside, strict=True)]
    schema = {"schema": "semquery/glb", "version": 1, "num_parts": len(chosen.nodes), "num_points": int(chosen.inside.sum())}
    return {"asset": {"version": "2.0", "generator": f"semquery {version('semquery')}"},
            "scene": 0, "scenes": [{"name": "semquery", "nodes": [0], "extras": {"semquery": schema}}],
            "nodes": nodes, "meshes": [mesh for mesh, _ in meshes.values()],
            "materials": [_material(_name(chosen, part)) for part in meshes],
            "accessors": [accessor for _, accessors in meshes.values() for accessor in accessors]}


def _meshes(chosen: Chosen, drawn: Drawn) -> dict[int, tuple[dict, list[dict]]]:
    """The mesh of every part that draws something, and its accessors."""
    found: dict[int, tuple[dict, list[dict]]] = {}
    for k, part in enumerate(chosen.nodes):
        vertices, indices = slice(*drawn.first_vertex[k : k + 2].tolist()), slice(*drawn.first_index[k : k + 2].tolist())
        if vertices.start == vertices.stop:
            continue
        shape = {"POSITION": drawn.positions, "NORMAL": drawn.normals, "COLOR_0": drawn.colors}
        accessors = [_accessor(view, array, vertices) for view, array in enumerate(shape.values())]
        accessors[0] |= {"min": drawn.positions[vertices].min(0).tolist(), "max": drawn.positions[vertices].max(0).tolist()}
        accessors[2] |= {"normalized": True}
        if drawn.mode == TRIANGLES:
            accessors.append(_accessor(3, drawn.indices, indices))
        first = len(found) * len(accessors)  # every mesh has as many
        primitive = {"mode": drawn.mode, "material": len(found), "attributes": {name: first + j for j, name in enumerate(shape)}}
        primitive |= {"indices": first + 3} if drawn.mode == TRIANGLES else {}
        found[part] = {"name": _name(chosen, part), "primitives": [primitive]}, accessors
    return found


def _accessor(view: int, array: np.ndarray, rows: slice) -> dict[str, Any]:
    """Some rows of an array that fills a buffer view."""
    return {"bufferView": view, "byteOffset": rows.start * array.strides[0], "componentType": COMPONENT[array.dtype.newbyteorder("<").str],
            "count": rows.stop - rows.start, "type": KIND[array.shape[1] if array.ndim > 1 else 1]}


def _material(name: str) -> dict[str, Any]:
    """Matt, with the vertices' colours, seen from both sides."""
    return {"name": name, "pbrMetallicRoughness": {"metallicFactor": 0, "roughnessFactor": 1}, "doubleSided": True}


def _name(chosen: Chosen, part: int) -> str:
    return chosen.name(part) or f"part {part}"


def _facts(chosen: Chosen, part: int) -> dict[str, Any]:
    """What is known of a part; its box and its number of points are those of all inside it too."""
    label, box = chosen.labels.get(part), box_json(chosen.box(part))
    facts: dict[str, Any] = {"id": part, "path": list(chosen.path(part)), "num_points": int(chosen.spans.num_points[part])}
    if label is not None:
        facts |= {"name": label.name, "synonyms": list(label.synonyms), "function": label.function, "source": label.source}
        facts |= {"confidence": number(label.confidence)} if np.isfinite(label.confidence) else {}
    return facts | ({"box": box} if box else {})


def _views(drawn: Drawn) -> list[np.ndarray]:
    """What fills the buffer, in the order of the buffer views; every row a multiple of four bytes."""
    arrays = [drawn.positions, drawn.normals, drawn.colors, *([drawn.indices] if drawn.mode == TRIANGLES else [])]
    return [np.ascontiguousarray(array, array.dtype.newbyteorder("<")) for array in arrays if len(array)]


def container(document: dict[str, Any], arrays: Sequence[np.ndarray]) -> bytes:
    """The GLB file of a document and the arrays in its buffer views: a header, a chunk of JSON, a chunk of numbers.

    Raises ValueError above 4 GiB, the most that a GLB file can hold.
    """
    sizes = [array.nbytes for array in arrays]
    views = [{"buffer": 0, "byteOffset": sum(sizes[:k]), "byteLength": array.nbytes,
              **({"byteStride": array.strides[0], "target": VERTEX_BUFFER} if array.ndim > 1 else {"target": INDEX_BUFFER})}
             for k, array in enumerate(arrays)]
    whole = document | {"bufferViews": views, "buffers": [{"byteLength": sum(sizes)}] if arrays else []}
    written = {name: value for name, value in whole.items() if value != []}  # glTF has no empty lists
    text = json.dumps(written, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    text = text.encode(errors="replace")  # half a surrogate pair is no character
    text += b" " * (-len(text) % 4)
    total = 12 + 8 + len(text) + (8 + sum(sizes) if arrays else 0)
    if total >= 2**32:
        raise ValueError(f"The GLB file would have {total / 2**30:.1f} GiB; it can have 4 at most: choose fewer parts, or points.")
    chunks = [struct.pack("<4sII", b"glTF", 2, total), struct.pack("<I4s", len(text), b"JSON"), text]
    if arrays:
        chunks += [struct.pack("<I4s", sum(sizes), b"BIN\0"), *(memoryview(array).cast("B") for array in arrays)]
    return b"".join(chunks)
