"""Part trees whose parts are sets of faces of one mesh, as objects.

Notation
  p parts, f faces of the file, a atoms.
Conventions
  A tree is a `Nested` in which "objs" name sets of faces. Sets may overlap: a face is then held by several parts, and owned by
  the innermost, the first of equals. Faces that no part names belong to the whole alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, Int32, Int64

from eval.partnet.readers.gltf import Gltf
from eval.partnet.readers.meshes import some_of
from eval.partnet.readers.nested import Nested, leaves_first, named
from eval.partnet.readers.partnet import inside_out, without_area, without_empty
from eval.partnet.readers.reference import Reference
from eval.partnet.records import PartObject, triangle_areas
from eval.textured import TexturedScene, face_colors

REST = "(faces that no part names)"
FaceSets = Mapping[str, Int64[np.ndarray, " _"]]  # by name: rows of faces, each once


@dataclass(frozen=True)
class Parts:
    """A tree as it is read, outer parts first, and what its parts hold."""

    tree: Nested
    sets: FaceSets
    types: frozenset[str] = frozenset()  # ids of the parts that only say of which type the part around them is
    notes: tuple[str, ...] = ()


def raw_only(reference: Reference, tree: str) -> None:
    """Raises ValueError for a tree that data sets of faces do not have."""
    if tree != "raw":
        raise ValueError(f"{reference.path} has no {tree} tree: it has one only, the raw one.")


def object_of_faces(reference: Reference, mesh: Gltf, parts: Parts, category: str, model: str) -> PartObject:
    """An object whose parts are sets of a mesh's faces; raises ValueError where no face is left."""
    good = finite_faces(mesh)
    sets = kept(complete(parts, len(good)), good)
    if not good.any():
        raise ValueError(f"{reference.path}: none of its {len(good)} faces has finite corners. Fetch the object again.")
    notes = (*mesh.notes, *parts.notes)
    if not good.all():
        notes += (f"Faces with a vertex that is no finite number, dropped: {len(good) - good.sum()} of {len(good)}.",)
    if len(parts.tree.ids) > 1 and len(sets[REST]):
        notes += (f"Faces that no part names, held by the whole alone: {len(sets[REST])} of {good.sum()}.",)
    nested, more = named(with_rest(parts.tree), category or reference.id)
    nested, empty = without_empty(nested, {name for name, faces in sets.items() if len(faces)})
    return _object(reference, mesh, good, leaves_first(nested), sets, parts.types, category, model, notes + more + empty)


def _object(
    reference: Reference, mesh: Gltf, good: Bool[np.ndarray, " f"], nested: Nested, sets: FaceSets, types: frozenset[str],
    category: str, model: str, notes: tuple[str, ...],
) -> PartObject:
    """Everything put together, of faces that are good and a tree in its final order."""
    none = np.zeros(0, np.int64)
    listed = [np.unique(np.concatenate([none, *(sets.get(name, none) for name in objs)])) for objs in nested.objs]
    own, atom_of_face = atoms_of_sets(listed, int(good.sum()))
    scene = _scene(mesh, good, innermost(own, nested.parents)[atom_of_face], nested)
    holds = inside_out(own, nested)
    area = np.bincount(atom_of_face, triangle_areas(scene), holds.shape[1])
    is_type = np.array([id in types for id in nested.ids])
    return PartObject(
        reference.id, category or nested.names[-1], model or reference.id, reference.format, scene, nested.ids, nested.texts, is_type,
        holds, atom_of_face, area, notes=notes + without_area(nested, holds, area))


def _scene(mesh: Gltf, good: Bool[np.ndarray, " f"], owner: Int32[np.ndarray, " _"], nested: Nested) -> TexturedScene:
    """The mesh without the faces that are not good."""
    uv, tint, texture_of_face = mesh.uv[good], mesh.tint[good], mesh.texture_of_face[good]
    return TexturedScene(
        vertices=np.nan_to_num(mesh.vertices.astype(np.float32), posinf=0, neginf=0),  # what is not finite is in no face any more
        faces=mesh.faces[good], colors=face_colors(tint, uv, texture_of_face, mesh.textures), part_of_face=owner,
        parents=nested.parents, names=nested.names, uv=uv, tint=tint, texture_of_face=texture_of_face, textures=mesh.textures)


def finite_faces(mesh: Gltf) -> Bool[np.ndarray, " f"]:
    """Which faces have finite corners, in 32 bits."""
    with np.errstate(over="ignore"):
        return np.isfinite(mesh.vertices.astype(np.float32)).all(1)[mesh.faces].all(1)


def complete(parts: Parts, num_faces: int) -> FaceSets:
    """The sets, and one of the faces in none."""
    free = np.ones(num_faces, bool)
    for faces in parts.sets.values():
        free[faces] = False
    return {**parts.sets, REST: np.flatnonzero(free)}


def kept(sets: FaceSets, good: Bool[np.ndarray, " f"]) -> FaceSets:
    """The sets of the faces that are good, which are numbered anew."""
    number = np.cumsum(good) - 1
    return {name: number[faces[good[faces]]] for name, faces in sets.items()}


def with_rest(tree: Nested) -> Nested:
    """The tree whose root, the first part, also names the rest."""
    return Nested(tree.ids, tree.names, tree.texts, ((*tree.objs[0], REST), *tree.objs[1:]), tree.parents)


def check_ids(ids: Sequence[str], where: object) -> None:
    """Raises ValueError where two parts have one id."""
    if len(set(ids)) < len(ids):
        twice = sorted({id for id in ids if ids.count(id) > 1})
        raise ValueError(f"{where}: several parts have the id {some_of(twice)}; give each part its own.")


def atoms_of_sets(own: Sequence[Int[np.ndarray, " _"]], num_faces: int) -> tuple[Bool[np.ndarray, "p a"], Int32[np.ndarray, " f"]]:
    """(which atoms each part's own set has, the atom of each face) of sets of faces; every face has to be in one.

    As `records.atoms_of`, in memory of all sets together and p·a bits instead of p·f: each set in turn splits the atoms
    that it meets, and of each new one it is kept what it came from.
    """
    atom = np.zeros(num_faces, np.int64)
    origin, added = [np.zeros(1, np.int64)], [np.full(1, -1, np.int64)]
    count = 1
    for part, faces in enumerate(own):
        met, split = np.unique(atom[faces], return_inverse=True)
        atom[faces] = count + split.reshape(-1)
        origin.append(met)
        added.append(np.full(len(met), part))
        count += len(met)
    origin, added = np.concatenate(origin), np.concatenate(added)
    left, atom_of_face = np.unique(atom, return_inverse=True)
    holds, column = np.zeros((len(own), len(left)), bool), np.arange(len(left))
    while (inside := added[left] >= 0).any():
        left, column = left[inside], column[inside]
        holds[added[left], column] = True
        left = origin[left]
    return holds, atom_of_face.reshape(-1).astype(np.int32)


def innermost(own: Bool[np.ndarray, "p a"], parents: Int32[np.ndarray, " p"]) -> Int32[np.ndarray, " a"]:
    """Of the parts that name an atom themselves the deepest, the first of equals."""
    depth = np.zeros(len(parents), np.int64)
    for part in range(len(parents) - 2, -1, -1):
        depth[part] = depth[parents[part]] + 1
    owner = np.full(own.shape[1], -1, np.int32)
    for part in np.lexsort((-np.arange(len(parents)), depth)):  # later ones, deeper or earlier, win
        owner[own[part]] = part
    return owner


def rows_of_ranges(first: Int64[np.ndarray, " k"], last: Int64[np.ndarray, " k"]) -> Int64[np.ndarray, " _"]:
    """All rows that lie in one of the ranges first ≤ row < last, each once, in order: in memory of the rows, however ranges overlap."""
    order = np.argsort(first)
    first, reach = first[order], np.maximum.accumulate(last[order])
    first = np.maximum(first, np.concatenate([first[:1], reach[:-1]]))  # what an earlier range has is not repeated
    count = np.maximum(reach - first, 0)
    return np.repeat(first, count) + np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
