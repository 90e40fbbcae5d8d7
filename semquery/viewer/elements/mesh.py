"""The surface as the faces of the mesh it was made from.

Notation
  f faces; i corners of faces. A face is drawn with three corners of its own, since its neighbours have other colours.
Conventions
  viser's own meshes have one colour each, so faces go as small GLB files, 60 bytes a face: positions, and the colour of the
  face as linear light in sixteen bits. Normals are left out: the page then shades every face flatly.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float32, UInt16

from semquery.export.faces import check_mesh, part_of_face
from semquery.export.glb import container, linear
from semquery.render import Mesh, load_colored_mesh
from semquery.viewer.elements.chunked import Chunked, Position, items_at
from semquery.viewer.elements.chunks import Content
from semquery.viewer.loaded import Loaded

FLOAT, UINT16, TRIANGLES = 5126, 5123, 4  # glTF's numbers


@dataclass(frozen=True)
class Faces:
    """A medium."""

    items: Loaded
    corners: Float32[np.ndarray, "f 3 3"]
    num_chunks: ClassVar[int] = 64
    has_shades: ClassVar[bool] = True
    is_renamed: ClassVar[bool] = False

    def send(self, server: Any, name: str, content: Content, position: Position, visible: bool) -> Any:
        """A GLB with one mesh; an empty one for no faces."""
        corners = self.corners[content.rows]
        corners = corners if content.moved is None else corners + content.moved[:, None]
        glb = glb_of_faces(content.scale * corners, np.repeat(linear(content.colors), 3, 0))
        return server.scene.add_glb(name, glb, position=position, visible=visible)


class MeshElements(Chunked):
    """A mesh whose faces belong to the parts of the points on them."""

    def __init__(self, mesh: Mesh, path: Path) -> None:
        """`path`: what the mesh is called where it is not that of the run."""
        super().__init__(lambda loaded: faces_of(loaded, mesh, path))


def open_mesh(path: Path, loaded: Loaded | None = None) -> MeshElements:
    """The faces of a mesh file. Raises ValueError for a file that is no mesh, and, with a run, for a mesh that lies elsewhere."""
    mesh = load_colored_mesh(path)
    if loaded is not None:
        check_mesh(mesh, loaded.surface, path)
    return MeshElements(mesh, path)


def faces_of(loaded: Loaded, mesh: Mesh, path: Path) -> Faces:
    """The faces as items of a run. Raises ValueError for a mesh that does not lie where the surface does."""
    check_mesh(mesh, loaded.surface, path)
    corners = mesh.vertices[mesh.faces]
    return Faces(items_at(loaded, corners.mean(1), mesh.colors, part_of_face(loaded.surface, loaded.tree, mesh)), corners)


def glb_of_faces(corners: Float32[np.ndarray, "k 3 3"], colors: UInt16[np.ndarray, "3*k 4"]) -> bytes:
    """A GLB of one mesh: triangles with a linear colour for each of their corners, seen from both sides."""
    nodes: dict[str, Any] = {"asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}], "nodes": [{"name": "faces"}]}
    if not len(corners):
        return container(nodes, [])
    flat = np.ascontiguousarray(corners.reshape(-1, 3), np.float32)
    positions = {"bufferView": 0, "componentType": FLOAT, "count": len(flat), "type": "VEC3",
                 "min": flat.min(0).tolist(), "max": flat.max(0).tolist()}
    shades = {"bufferView": 1, "componentType": UINT16, "normalized": True, "count": len(flat), "type": "VEC4"}
    material = {"pbrMetallicRoughness": {"metallicFactor": 0, "roughnessFactor": 1}, "doubleSided": True}
    primitive = {"mode": TRIANGLES, "material": 0, "attributes": {"POSITION": 0, "COLOR_0": 1}}
    nodes |= {"nodes": [{"name": "faces", "mesh": 0}], "meshes": [{"primitives": [primitive]}], "materials": [material],
              "accessors": [positions, shades]}
    return container(nodes, [flat, np.ascontiguousarray(colors)])
