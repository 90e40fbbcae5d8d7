"""What crosses the stages of the PartNet evaluation: an object, what it is asked, what a method says of it.

Notation
  p nodes of the true part tree, f faces, a atoms, k queries of one kind, h w image height and width.
  An atom is a set of elements (faces) that lie in exactly the same nodes; an object has far fewer atoms than faces, and
  everything that is measured is measured on them.
Conventions
  Trees as in semquery.types: leaves first, a parent's number larger than its children's, the root last and its own parent.
  A node holds its own elements and its descendants'. It may hold more than its children do together, and two nodes that
  lie in no line may share elements: data sets are like that, nothing is repaired.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, Int64

from semquery.procedural import KnownScene

Format = Literal["partnet", "mobility", "partnext", "objaverse", "glb", "procedural"]
TreeKind = Literal["raw", "merged"]
Kind = Literal["name", "path", "phrase", "absent"]  # the name of a node; its path; “NAME of a CATEGORY”; a name of other objects


@dataclass(frozen=True)
class PartObject:
    """One object with its true part tree."""

    id: str
    category: str
    model: str  # objects of one model are one draw
    format: Format
    scene: KnownScene  # the mesh (z up, front towards -y), the tree and the names as they are written; one owner a face
    ids: tuple[str, ...]  # of each node, as the file numbers it
    texts: tuple[str, ...]  # of each node, as people read it; the name where there is nothing else
    is_type: Bool[np.ndarray, " p"]  # a node that says of which type its parent is, and is no part of it
    holds: Bool[np.ndarray, "p a"]
    atom_of_face: Int32[np.ndarray, " f"]
    area: Float64[np.ndarray, " a"]  # of the atom's triangles, in squared units of the mesh
    points: Int64[np.ndarray, " a"] = field(default_factory=lambda: np.zeros(0, np.int64))  # of the data set's own sample; none: empty
    notes: tuple[str, ...] = ()  # what was left out or strange, in sentences

    @property
    def parents(self) -> Int32[np.ndarray, " p"]:
        return self.scene.parents

    @property
    def names(self) -> tuple[str, ...]:
        """Normalised: the queries of the protocol."""
        return tuple(map(normalised, self.scene.names))


@dataclass(frozen=True)
class Asked:
    """Queries of one kind, put to one object."""

    kind: Kind
    texts: tuple[str, ...]
    positive: Bool[np.ndarray, "p k"]  # the nodes that a query means; for an absent name none


@dataclass(frozen=True)
class Cost:
    """What an answer took."""

    calls: int = 0
    pictures: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0
    failed: int = 0  # nodes without a name that can be read
    seconds: float = 0.0


@dataclass(frozen=True)
class Said:
    """What one method says of one object."""

    relevancy: Mapping[str, Float32[np.ndarray, "p _"]]  # kind → of every node for every query of the kind, 0..1
    names: tuple[str, ...] = ()  # of every node, as it came; "" = none; () for methods that name nothing
    synonyms: tuple[tuple[str, ...], ...] = ()
    confidence: tuple[float, ...] = ()  # of each name, 0..1
    cost: Cost = Cost()


@dataclass(frozen=True)
class Record:
    """All that is kept of one object: the truth as numbers, and what every method said."""

    id: str
    category: str
    model: str
    format: str
    tree: str
    ids: tuple[str, ...]
    names: tuple[str, ...]  # normalised
    parents: Int32[np.ndarray, " p"]
    is_type: Bool[np.ndarray, " p"]
    holds: Bool[np.ndarray, "p a"]
    area: Float64[np.ndarray, " a"]
    points: Int64[np.ndarray, " a"]
    pixels: Int64[np.ndarray, " p"]  # most pixels that any view of the survey shows of a node
    asked: tuple[Asked, ...]
    said: Mapping[str, Said]  # by method
    overview: bytes = b""  # PNG
    atom_of_pixel: Int32[np.ndarray, "h w"] = field(default_factory=lambda: np.zeros((0, 0), np.int32))  # of the overview; -1 = none
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


def normalised(name: str) -> str:
    """The protocol's form of a name: lower case, underscores as spaces, single spaces."""
    return " ".join(name.replace("_", " ").lower().split())


def atoms_of(member: Bool[np.ndarray, "p e"]) -> tuple[Bool[np.ndarray, "p a"], Int32[np.ndarray, " e"]]:
    """(holds, the atom of each element) of elements of which each node holds some."""
    columns, atom = np.unique(np.packbits(member, axis=0).T, axis=0, return_inverse=True)
    holds = np.unpackbits(columns.T, axis=0, count=len(member)).astype(bool)
    return holds, atom.reshape(-1).astype(np.int32)


def triangle_areas(scene: KnownScene) -> Float64[np.ndarray, " f"]:
    """Exact area of every face, squared units of the mesh."""
    a, b, c = np.asarray(scene.vertices, np.float64)[scene.faces].transpose(1, 0, 2)
    return np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2


def object_of(scene: KnownScene, id: str, category: str = "", format: Format = "procedural") -> PartObject:
    """A scene whose every face has one owner, as an object: nodes hold what they and their descendants own."""
    num_parts = len(scene.parents)
    holds = np.eye(num_parts, dtype=bool)
    for node in range(num_parts - 1):
        holds[scene.parents[node]] |= holds[node]
    area = np.bincount(scene.part_of_face, triangle_areas(scene), num_parts)
    owners = np.unique(scene.part_of_face)  # an atom is what one node owns
    atom = np.full(num_parts, -1, np.int32)
    atom[owners] = np.arange(len(owners))
    return PartObject(
        id, category or scene.names[-1], id, format, scene, tuple(map(str, range(num_parts))), scene.names, np.zeros(num_parts, bool),
        holds[:, owners], atom[scene.part_of_face], area[owners],
    )


def asked_of(thing: PartObject, absent: Sequence[str] = ()) -> tuple[Asked, ...]:
    """Everything one object is asked: its distinct names, its distinct paths, the names in a phrase, and names it has not."""
    names, paths = thing.names, paths_of(thing)
    distinct = tuple(dict.fromkeys(names))
    of_name = np.array([[name == text for text in distinct] for name in names], bool).reshape(len(names), -1)
    distinct_paths = tuple(dict.fromkeys(paths))
    of_path = np.array([[path == text for text in distinct_paths] for path in paths], bool).reshape(len(names), -1)
    phrases = tuple(f"{name} of a {normalised(thing.category)}" for name in distinct)
    missing = tuple(name for name in dict.fromkeys(map(normalised, absent)) if name not in distinct)
    return (Asked("name", distinct, of_name), Asked("path", distinct_paths, of_path), Asked("phrase", phrases, of_name.copy()),
            Asked("absent", missing, np.zeros((len(names), len(missing)), bool)))


def paths_of(thing: PartObject) -> tuple[str, ...]:
    """Of every node its name after its parent's (“drawer handle”); of the root its name."""
    names = thing.names
    return tuple(name if thing.parents[k] == k else f"{names[thing.parents[k]]} {name}" for k, name in enumerate(names))
