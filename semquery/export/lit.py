"""A mesh with some of its faces lit, as PLY and as binary glTF.

Notation
  n vertices, f faces, q answers (sets of faces).
Conventions
  Coordinates are the mesh's own. In the PLY the colours are those of faces, with the score of the best answer and its number beside them.
  In the GLB every answer is a node of its own, named after it, and what is left is the node "rest"; each face has three corners of its own.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import version

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from semquery.export.clouds import element, part_colors
from semquery.export.glb import COMPONENT, KIND, TRIANGLES, container, linear, rotation_to_y
from semquery.render import Mesh

FOUND = (235, 30, 30)  # the colour of an only answer
FADED = 0.45  # how much of its contrast what is not lit keeps


def lit_colors(mesh: Mesh, masks: Bool[np.ndarray, "q f"]) -> UInt8[np.ndarray, "f 3"]:
    """Answers in colours of their own (one alone in red), the last over the others; the rest of the mesh in pale grey."""
    grey = mesh.colors.astype(np.float64) @ [0.299, 0.587, 0.114]
    colors = np.repeat((FADED * grey + (1 - FADED) * 215)[:, None], 3, axis=1)
    for mask, color in zip(masks, answer_colors(len(masks)), strict=True):
        colors[mask] = color
    return colors.round().astype(np.uint8)


def answer_colors(count: int) -> UInt8[np.ndarray, "q 3"]:
    """Red for one, distinct colours for several."""
    return np.array([FOUND], np.uint8) if count == 1 else part_colors(count)


def lit_ply(mesh: Mesh, colors: UInt8[np.ndarray, "f 3"], scores: Float[np.ndarray, "q f"], masks: Bool[np.ndarray, "q f"], queries: Sequence[str]):
    """A binary PLY (plyfile.PlyData): vertices as they are, faces with red green blue, `score` and `answer` (its number, -1 = none)."""
    from plyfile import PlyData, PlyElement

    rows = np.empty(len(mesh.faces), [("vertex_indices", "i4", (3,)), ("red", "u1"), ("green", "u1"), ("blue", "u1"), ("score", "f4"), ("answer", "i4")])
    rows["vertex_indices"] = mesh.faces
    rows["red"], rows["green"], rows["blue"] = colors.T
    rows["score"] = scores.max(0)
    rows["answer"] = np.where(masks.any(0), masks.argmax(0), -1)
    comments = [f"answer {k} {query[:80].encode('ascii', 'backslashreplace').decode()}".replace("\n", " ") for k, query in enumerate(queries)]
    return PlyData([element("vertex", dict(zip("xyz", mesh.vertices.T))), PlyElement.describe(rows, "face")], byte_order="<", comments=comments)


def lit_glb(mesh: Mesh, colors: UInt8[np.ndarray, "f 3"], masks: Mapping[str, Bool[np.ndarray, " f"]], up: Sequence[float | int] = (0, 1, 0)) -> bytes:
    """A GLB file with a node for each answer, and one for the rest; faces of several answers are in the first. `up`: the mesh's own."""
    left, groups = np.ones(len(mesh.faces), bool), {}
    for name, mask in masks.items():
        groups[name] = mask & left
        left &= ~mask
    groups["rest"] = left
    order = np.concatenate([np.flatnonzero(group) for group in groups.values()])
    ends = np.cumsum([0, *(3 * int(group.sum()) for group in groups.values())])
    corners: Float32[np.ndarray, "f 3 3"] = mesh.vertices[mesh.faces[order]]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    normals = np.where(length > 0, normals / np.where(length > 0, length, 1), [0.0, 0.0, 1.0]).astype(np.float32)
    arrays = [corners.reshape(-1, 3).astype("<f4"), np.repeat(normals, 3, 0).astype("<f4"), np.repeat(linear(colors[order]), 3, 0).astype("<u2")]
    shown = [(name, int(a), int(b)) for name, a, b in zip(groups, ends[:-1], ends[1:], strict=True) if b > a]
    return container(_document(shown, arrays, up), arrays)


def _document(shown: Sequence[tuple[str, int, int]], arrays: Sequence[np.ndarray], up: Sequence[float | int]) -> dict:
    """The JSON of the file: nodes [name, first and last vertex], below one that turns `up` to glTF's."""
    accessors, meshes = [], []
    for name, first, last in shown:
        start = len(accessors)
        accessors += [{"bufferView": k, "byteOffset": first * array.strides[0], "componentType": COMPONENT[array.dtype.str], "count": last - first,
                       "type": KIND[array.shape[1]]} for k, array in enumerate(arrays)]
        accessors[start] |= {"min": arrays[0][first:last].min(0).tolist(), "max": arrays[0][first:last].max(0).tolist()}
        accessors[start + 2] |= {"normalized": True}
        attributes = {kind: start + k for k, kind in enumerate(("POSITION", "NORMAL", "COLOR_0"))}
        meshes.append({"name": name, "primitives": [{"mode": TRIANGLES, "material": 0, "attributes": attributes}]})
    nodes = [{"name": "mesh", "rotation": rotation_to_y(np.asarray(up, np.float64)).tolist(), "children": list(range(1, len(shown) + 1))}]
    nodes += [{"name": name, "mesh": k} for k, (name, _, _) in enumerate(shown)]
    matt = {"pbrMetallicRoughness": {"metallicFactor": 0, "roughnessFactor": 1}, "doubleSided": True}
    return {"asset": {"version": "2.0", "generator": f"semquery {version('semquery')}"}, "scene": 0, "scenes": [{"nodes": [0]}],
            "nodes": nodes, "meshes": meshes, "materials": [matt], "accessors": accessors}
