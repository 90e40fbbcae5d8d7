"""A triangle mesh as graphs: which faces share an edge, and how far it is along the surface.

Notation
  n vertices, f faces, e edges, b bridges.
Conventions
  Vertices in one place are one vertex: files repeat them along seams, and neighbours would be strangers. Faces keep their numbers,
  whatever is wrong with them; a face of no area has neighbours and length like others. Two faces are neighbours when they share an edge,
  also where more than two do (which of them continue the surface is not known). Pieces that do not touch are joined by the shortest
  bridges between their vertices, so that every distance is finite.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Float64, Int, Int64
from scipy.sparse import csr_matrix

from semquery.fusion.viewpoints import unit_sphere
from semquery.geometry import bridges, components

SAME = 1e-6  # of the mesh's radius: vertices that are nearer are one


@dataclass(frozen=True)
class MeshGraph:
    """A mesh in the unit sphere, with its vertices merged; `mesh_graph` makes one."""

    vertices: Float64[np.ndarray, "n 3"]
    faces: Int64[np.ndarray, "f 3"]

    @property
    def num_faces(self) -> int:
        return len(self.faces)

    @cached_property
    def area(self) -> Float64[np.ndarray, " f"]:
        a, b, c = self.vertices[self.faces].transpose(1, 0, 2)
        return np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2

    @cached_property
    def area_of_vertex(self) -> Float64[np.ndarray, " n"]:
        """A third of the faces around each."""
        return np.bincount(self.faces.ravel(), np.repeat(self.area / 3, 3), len(self.vertices))

    @cached_property
    def middle(self) -> Float64[np.ndarray, "f 3"]:
        return self.vertices[self.faces].mean(1)

    @cached_property
    def neighbours(self) -> csr_matrix:
        """[f, f], 1 where two faces share an edge, and on the diagonal."""
        sides = np.sort(self.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
        _, edge = np.unique(sides @ np.array([len(self.vertices), 1]), return_inverse=True)
        face = np.repeat(np.arange(self.num_faces), 3)
        edge, proper = edge.reshape(-1), sides[:, 0] != sides[:, 1]  # a side of no length is no edge
        return _sharing(face[proper], edge[proper], self.num_faces)

    @cached_property
    def edges(self) -> Int64[np.ndarray, "e 2"]:
        """Each edge once, the smaller vertex first."""
        sides = np.sort(self.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
        sides = sides[sides[:, 0] != sides[:, 1]]
        n = len(self.vertices)
        return np.stack(np.divmod(np.unique(sides[:, 0] * n + sides[:, 1]), n), 1)

    @cached_property
    def piece(self) -> Int64[np.ndarray, " n"]:
        """The connected piece of each vertex."""
        return components(len(self.vertices), self.edges)[1].astype(np.int64)

    @cached_property
    def apart(self) -> csr_matrix:
        """[n, n], the length of each edge, both ways: pieces are infinitely far from each other."""
        return self._lengths(self.edges)

    @cached_property
    def joined(self) -> csr_matrix:
        """[n, n], as `apart`, with bridges between pieces."""
        return self._lengths(np.concatenate([self.edges, bridges(self.vertices, self.edges)]))

    def _lengths(self, edges: Int64[np.ndarray, "e 2"]) -> csr_matrix:
        a, b = edges.T
        # A stored zero would be no edge for a sparse matrix.
        length = np.maximum(np.linalg.norm(self.vertices[a] - self.vertices[b], axis=1), 1e-12)
        ways = np.concatenate([length, length]), (np.concatenate([a, b]), np.concatenate([b, a]))
        return csr_matrix(ways, shape=(len(self.vertices),) * 2)


def mesh_graph(vertices: Float[np.ndarray, "n 3"], faces: Int[np.ndarray, "f 3"]) -> MeshGraph:
    """The graph of a mesh of any size and place. Raises ValueError for a mesh without faces, or with faces of vertices it has not."""
    if not len(faces):
        raise ValueError(f"A mesh of {len(vertices)} vertices has no faces. Give one with triangles.")
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise ValueError(f"Faces name vertices {faces.min()}..{faces.max()}, there are {len(vertices)}.")
    points, _, _ = unit_sphere(vertices)
    used, faces = np.unique(faces, return_inverse=True)  # a vertex of no face would be a piece of its own
    points = points[used]
    _, first, merged = np.unique(np.round(points / SAME), axis=0, return_index=True, return_inverse=True)
    return MeshGraph(points[first], merged.reshape(-1)[faces.reshape(-1, 3)].astype(np.int64))


MANY = 8  # faces at one edge from which on only the first of them is the others' neighbour


def _sharing(face: Int64[np.ndarray, " k"], edge: Int64[np.ndarray, " k"], num_faces: int) -> csr_matrix:
    """Faces that share an edge, and each with itself. At an edge of very many faces all are two steps apart: pairs would be too many."""
    edge, face = np.divmod(np.unique(edge * num_faces + face), num_faces)  # a face may have an edge twice
    start = np.flatnonzero(np.r_[True, edge[1:] != edge[:-1]]) if len(edge) else np.zeros(0, np.int64)
    count = np.diff(np.r_[start, len(edge)])
    place = np.arange(len(edge)) - np.repeat(start, count)  # of each face at its edge
    pairs = [np.stack([np.arange(num_faces)] * 2)]
    for step in range(1, min(MANY, int(count.max(initial=0)))):
        few = (place >= step) & (np.repeat(count, count) <= MANY)
        at = np.flatnonzero(few)
        pairs += [np.stack([face[at], face[at - step]]), np.stack([face[at - step], face[at]])]
    crowd = np.flatnonzero((place > 0) & (np.repeat(count, count) > MANY))
    hub = face[np.repeat(start, count)[crowd]]
    pairs += [np.stack([face[crowd], hub]), np.stack([hub, face[crowd]])]
    rows, columns = np.concatenate(pairs, axis=1)
    found = csr_matrix((np.ones(len(rows), np.int32), (rows, columns)), shape=(num_faces, num_faces))
    found.data[:] = 1
    return found
