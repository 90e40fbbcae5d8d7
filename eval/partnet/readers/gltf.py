"""GLB files as one mesh, with their scene graph.

Notation
  n vertices, f faces.
Conventions
  glTF's +y is up and +z the front; here z is up and the front looks towards -y. A file's nodes are numbered as it lists them.
  Faces stand in the order of the nodes that show them, those of one node in the order of its primitives: no order depends on the
  library that reads the file. Colours of glTF are linear light, here they are as screens take them (sRGB), like the pixels of textures.
"""

import io
import json
import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Float64, Int32, UInt8

from eval.partnet.readers.meshes import turned
from eval.textured import GREY

TRIANGLES = (4, 5)  # modes of primitives: triangles and strips of them
PACKED = ("KHR_draco_mesh_compression", "EXT_meshopt_compression")
START = 20  # bytes before the JSON of a GLB file
SIDE = 2048  # pixels; larger textures are made smaller


@dataclass(frozen=True)
class Body:
    """The faces that one node shows of one primitive."""

    node: int
    faces: slice
    in_geometry: int  # its place among what trimesh calls the geometry of a scene: meshes as the file lists them
    in_dump: int  # its place in what trimesh's Scene.dump() gives: the nodes in the order of its walk


@dataclass(frozen=True)
class Graph:
    """The nodes of the scene that a file shows, parents before children."""

    nodes: tuple[int, ...]
    parents: tuple[int, ...]  # node, -1 = none
    names: tuple[str, ...]


@dataclass(frozen=True)
class Gltf:
    """What a GLB file shows."""

    vertices: Float64[np.ndarray, "n 3"]
    faces: Int32[np.ndarray, "f 3"]
    tint: Float32[np.ndarray, "f 3"]  # 0..1
    uv: Float32[np.ndarray, "f 3 2"]
    texture_of_face: Int32[np.ndarray, " f"]  # -1 = none
    textures: tuple[UInt8[np.ndarray, "h w 3"], ...]
    bodies: tuple[Body, ...]
    graph: Graph
    notes: tuple[str, ...]


def read_glb(path: Path) -> Gltf:
    """A GLB file; raises ValueError where it is missing, broken or without triangles."""
    import trimesh

    header, rest = _chunks(path)
    graph = scene_graph(path, header)
    for listed in (header["nodes"], header.get("materials", [])):
        for number, entry in enumerate(listed):
            entry["name"] = str(number)  # trimesh tells nodes by names and would make them distinct
    header |= {"scene": 0, "scenes": [{"nodes": [node for node, parent in zip(graph.nodes, graph.parents, strict=True) if parent < 0]}]}
    try:
        scene = trimesh.load_scene(io.BytesIO(_bytes(header, rest)), file_type="glb", process=False)
    except Exception as error:  # trimesh raises whatever its readers raise
        raise ValueError(f"{path} cannot be read ({type(error).__name__}: {error}). Fetch it again.") from error
    meshes = {name: mesh for name, mesh in scene.geometry.items() if isinstance(mesh, trimesh.Trimesh)}
    walk = [name for name in scene.graph.nodes_geometry if scene.graph[name][1] in meshes]
    if not sum(len(meshes[scene.graph[name][1]].faces) for name in walk):
        raise ValueError(f"{path} shows no triangles: give a GLB file with a mesh.")
    return _joined(path, header, graph, scene, meshes, walk)


def _chunks(path: Path) -> tuple[dict, bytes]:
    """The JSON of a GLB file, and the chunks after it."""
    if not path.is_file():
        raise ValueError(f"{path} is missing. Fetch it again.")
    data = path.read_bytes()
    try:
        if len(data) < START:
            raise ValueError(f"it is too short: {len(data)} bytes, where one begins with {START}")
        magic, version, length, size, kind = struct.unpack("<4sII I4s", data[:20])
        if magic != b"glTF" or version != 2 or kind != b"JSON" or length > len(data):
            raise ValueError(f"{len(data)} bytes of {length}, version {version}" if magic == b"glTF" else "it does not begin with glTF")
        header = json.loads(data[20 : 20 + size])
        if not isinstance(header, dict) or not _listed(header, "nodes") or not _listed(header, "meshes"):
            raise ValueError("it has no nodes or no meshes")
        if header.get("materials", []) != [] and not _listed(header, "materials"):
            raise ValueError("its materials are no list of objects")
    except (ValueError, struct.error, RecursionError) as error:
        raise ValueError(f"{path} is no whole GLB file of version 2 ({error}). Fetch it again.") from error
    packed = set(PACKED) & set(header.get("extensionsRequired", ()))
    if packed:
        raise ValueError(f"{path} is compressed ({', '.join(sorted(packed))}): unpack it, for example with gltf-transform.")
    return header, data[20 + size : length]


def _listed(header: dict, key: str) -> bool:
    values = header.get(key)
    return isinstance(values, list) and bool(values) and all(isinstance(value, dict) for value in values)


def _bytes(header: dict, rest: bytes) -> bytes:
    """A GLB file again."""
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 4)
    return struct.pack("<4sII I4s", b"glTF", 2, 20 + len(text) + len(rest), len(text), b"JSON") + text + rest


def read_graph(path: Path) -> Graph:
    """The scene graph of a GLB file; no mesh is read."""
    return scene_graph(path, _chunks(path)[0])


def scene_graph(path: Path, header: dict) -> Graph:
    """The nodes of the scene that is shown; raises ValueError where they are no forest."""
    nodes = header["nodes"]
    try:
        scenes = header.get("scenes")
        inside = [child for node in nodes for child in node.get("children", ())]
        roots = scenes[header.get("scene", 0)].get("nodes", []) if scenes else sorted(set(range(len(nodes))) - set(inside))
        order, parents, waiting = [], [], [(root, -1) for root in reversed(roots)]
        while waiting and len(order) <= len(nodes):
            node, parent = waiting.pop()
            order.append(node)
            parents.append(parent)
            waiting += [(child, node) for child in reversed(_children(nodes, node))]
    except (TypeError, KeyError, IndexError, AttributeError) as error:
        raise ValueError(f"{path} has a broken scene graph ({type(error).__name__}: {error}). Fetch it again.") from error
    if len(set(order)) < len(order):
        twice = Counter(order).most_common(1)[0][0]
        raise ValueError(f"{path}: node {twice} ({nodes[twice].get('name', '')}) is inside itself, or in two places; expected a tree.")
    return Graph(tuple(order), tuple(parents), tuple(str(nodes[node].get("name") or "") for node in order))


def _children(nodes: list[dict], node: Any) -> list[int]:
    if not isinstance(node, int) or isinstance(node, bool) or not 0 <= node < len(nodes):
        raise IndexError(f"node {node} of {len(nodes)}")
    return list(nodes[node].get("children", ()))


@dataclass(frozen=True)
class Piece:
    """The faces of one body, before they are joined."""

    vertices: Float64[np.ndarray, "n 3"]  # y up, in their place
    faces: Int32[np.ndarray, "f 3"]
    tint: Float32[np.ndarray, "f 3"]
    uv: Float32[np.ndarray, "f 3 2"]
    texture: int  # its number in the file, -1 = none
    image: Any  # the picture, None where it cannot be read


def _piece(path: Path, header: dict, mesh: Any, T: Float64[np.ndarray, "4 4"]) -> Piece:
    """A mesh in the place that a transform gives it."""
    if len(mesh.faces) and not 0 <= mesh.faces.min() <= mesh.faces.max() < len(mesh.vertices):
        raise ValueError(f"{path} is broken: a face names vertex {mesh.faces.max()} of {len(mesh.vertices)}. Fetch it again.")
    faces = np.asarray(mesh.faces, np.int32)[:, :: -1 if np.linalg.det(T[:3, :3]) < 0 else 1]  # a mirrored mesh keeps its fronts
    with np.errstate(invalid="ignore", over="ignore"):
        vertices = np.asarray(mesh.vertices, float) @ T[:3, :3].T + T[:3, 3]
    uv = getattr(mesh.visual, "uv", None)
    if uv is None or len(uv) != len(mesh.vertices):
        return Piece(vertices, faces, _tint(mesh, faces), np.zeros((len(faces), 3, 2), np.float32), -1, None)
    uv = np.nan_to_num(np.asarray(uv, np.float32), posinf=0, neginf=0)[faces]
    return Piece(vertices, faces, _tint(mesh, faces), uv, _texture(header, mesh), getattr(mesh.visual.material, "baseColorTexture", None))


def _joined(path: Path, header: dict, graph: Graph, scene: Any, meshes: dict, walk: list[str]) -> Gltf:
    """One mesh of everything that the walk over a scene met."""
    place = {name: k for k, name in enumerate(meshes)}
    nodes = [int(name.split("_")[0]) for name in walk]
    shown = sorted(range(len(walk)), key=lambda k: (nodes[k], place[scene.graph[walk[k]][1]]))
    pieces = [_piece(path, header, meshes[scene.graph[walk[k]][1]], scene.graph[walk[k]][0]) for k in shown]
    ends = np.cumsum([0, *(len(piece.faces) for piece in pieces)]).tolist()
    bodies = tuple(Body(nodes[k], slice(*ends[n : n + 2]), place[scene.graph[walk[k]][1]], k) for n, k in enumerate(shown))
    first_vertex = np.cumsum([0, *(len(piece.vertices) for piece in pieces[:-1])])
    images = {piece.texture: piece.image for piece in pieces if piece.texture >= 0}
    pixels = {texture: read for texture, image in images.items() if (read := _pixels(image)) is not None}
    row = {texture: k for k, texture in enumerate(pixels)}
    return Gltf(
        turned(np.concatenate([piece.vertices for piece in pieces])),
        np.concatenate([piece.faces + k for piece, k in zip(pieces, first_vertex, strict=True)]).astype(np.int32),
        np.concatenate([piece.tint for piece in pieces]), np.concatenate([piece.uv for piece in pieces]),
        np.repeat([row.get(piece.texture, -1) for piece in pieces], np.diff(ends)).astype(np.int32),
        tuple(pixels.values()), bodies, graph, _notes(header, len(images) - len(pixels)))


def _texture(header: dict, mesh: Any) -> int:
    """The number of the colour texture that the file gives a mesh, -1 = none."""
    name = getattr(getattr(mesh.visual, "material", None), "name", None)
    looks = header.get("materials", [])
    look = looks[int(name)] if str(name).isdecimal() and int(name) < len(looks) else None
    glossy = ("extensions", "KHR_materials_pbrSpecularGlossiness", "diffuseTexture", "index")
    for keys in (("pbrMetallicRoughness", "baseColorTexture", "index"), glossy):
        found = look
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        if isinstance(found, int):
            return found
    return -1


def _tint(mesh: Any, corners: Int32[np.ndarray, "f 3"]) -> Float32[np.ndarray, "f 3"]:
    """The colour of every face, 0..1: its material's, times the mean of its vertices'."""
    visual = mesh.visual
    material = getattr(visual, "material", None)
    factor = getattr(material, "baseColorFactor", None)
    of_vertex = visual.vertex_colors if visual.kind == "vertex" else getattr(visual, "vertex_attributes", {}).get("color")
    if material is None and of_vertex is None:
        return np.tile(np.array(GREY, np.float32), (len(corners), 1))
    linear = np.tile(np.ones(3) if factor is None else _unit(factor), (len(corners), 1))
    if of_vertex is not None:
        linear = linear * _unit(of_vertex)[corners].mean(1)
    return screen(linear)


def _unit(colors: Any) -> Float64[np.ndarray, "... 3"]:
    """Colours 0..1 of whole numbers or of 0..1, without opacity."""
    colors = np.asarray(colors)[..., :3]
    return colors / np.iinfo(colors.dtype).max if colors.dtype.kind in "iu" else colors.astype(float)


def screen(linear: Float[np.ndarray, "f 3"]) -> Float32[np.ndarray, "f 3"]:
    """Linear light 0..1 as sRGB (IEC 61966-2-1)."""
    linear = np.nan_to_num(linear).clip(0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055).astype(np.float32)


def _pixels(image: Any) -> UInt8[np.ndarray, "h w 3"] | None:
    """The pixels of a picture, None where it cannot be read."""
    try:
        image = image.convert("RGB")
        image.thumbnail((SIDE, SIDE))
        return np.array(image)
    except (OSError, ValueError, SyntaxError, AttributeError):  # SyntaxError: PIL, of broken PNGs; AttributeError: no picture at all
        return None


def _notes(header: dict, unread: int) -> tuple[str, ...]:
    """What a file has that is not here."""
    modes = Counter(primitive.get("mode", 4) in TRIANGLES for mesh in header["meshes"] for primitive in mesh.get("primitives", ()))
    notes = [f"Primitives that are points, lines or fans, left out: {modes[False]}."] if modes[False] else []
    return (*notes, f"Textures that cannot be read, left out: {unread}.") if unread else tuple(notes)
