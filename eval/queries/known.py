"""A scene with its true part tree and true names, in the form the query code takes: no photos, no field, no model.

What is measured on it is the asking alone: every mistake is one of the text encoder, the scorer or the rules.

Notation
  n surface points, p parts, f faces.
Conventions
  The surface is sampled from the mesh, evenly by area, with at least `LEAST` points for every part that owns a face.
  z is up and fronts look towards -y, as the makers of the scenes say; the frame is given, not guessed.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32

from eval.queries.written import QuerySet, check, read_sets
from eval.truth import scenes
from semquery.procedural import KnownScene
from semquery.types import NodeLabel, PartTree, Surface

DESCRIPTIONS = Path(__file__).parent / "descriptions.json"
LEAST = 40  # points of a part
UP, FRONT = (0.0, 0.0, 1.0), (0.0, -1.0, 0.0)


@dataclass(frozen=True)
class Known:
    """A scene to ask, and what to ask it."""

    name: str
    surface: Surface
    parts: PartTree
    names: tuple[str, ...]  # as a person writes them
    queries: QuerySet

    @property
    def object(self) -> str:
        """What the scene shows, as the descriptions know it."""
        return {"tabletop": "table-top"}.get(self.name, self.name.removeprefix("partnet-"))


def known_scenes(names: tuple[str, ...], partnet: Path | None, num_points: int, seed: int = 0) -> list[Known]:
    """The scenes asked for, checked against the parts their queries were written for."""
    makers = scenes(names, partnet)
    return [known(name, makers[name], queries, num_points, seed) for name, queries in zip(makers, read_sets(makers), strict=True)]


def known(name: str, make: Callable[[], KnownScene], queries: QuerySet, num_points: int, seed: int) -> Known:
    """One scene of its maker."""
    scene = make()
    check(queries, scene.parents, scene.names)
    surface, part_of_point = sample(scene, num_points, seed)
    return Known(name, surface, true_tree(scene.parents, part_of_point), tuple(map(clean, scene.names)), queries)


def clean(name: str) -> str:
    """A name as a person writes it: back_frame_vertical_bar → back frame vertical bar."""
    return name.split("#")[0].replace("_", " ").strip().lower()


def sample(scene: KnownScene, num_points: int, seed: int) -> tuple[Surface, Int32[np.ndarray, " n"]]:
    """Points on the mesh, and the part of each."""
    import trimesh

    mesh = trimesh.Trimesh(scene.vertices, scene.faces, process=False)
    area = np.bincount(scene.part_of_face, mesh.area_faces, len(scene.parents))
    owners = np.unique(scene.part_of_face)
    counts = np.maximum(LEAST, np.round(num_points * area[owners] / area.sum())).astype(int)
    samples = [
        trimesh.sample.sample_surface(mesh, count, face_weight=mesh.area_faces * (scene.part_of_face == part), seed=seed)
        for part, count in zip(owners, counts, strict=True)
    ]
    points = np.concatenate([points for points, _ in samples]).astype(np.float32)
    faces = np.concatenate([faces for _, faces in samples])
    surface = Surface(
        points, mesh.face_normals[faces].astype(np.float32), scene.colors[faces], np.zeros((len(points), 0), np.float16),
        faces.astype(np.int32), float(np.sqrt(area.sum() / len(points))),
    )
    return surface, np.repeat(owners, counts).astype(np.int32)


def true_tree(parents: Int32[np.ndarray, " p"], part_of_point: Int32[np.ndarray, " n"]) -> PartTree:
    """The true tree as a tree of parts; altitudes only rise towards the root."""
    altitude = np.linspace(0, 1, len(parents)).astype(np.float32)
    return PartTree(np.asarray(parents, np.int32), altitude, part_of_point, np.zeros((0, 3), np.int32), np.zeros(0, np.float32))


# ------------------------------------------------------------------ labels


def bare_labels(known: Known) -> dict[int, NodeLabel]:
    """Every part by its true name and nothing else."""
    return {part: NodeLabel(part, name) for part, name in enumerate(known.names)}


def described_labels(known: Known, descriptions: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[int, NodeLabel]:
    """Every part by its true name, with the synonyms and the function that a labeller wrote for it."""
    of_object, of_all = descriptions.get(known.object, {}), descriptions.get("*", {})
    missing = sorted({name for name in known.names if name not in of_object and name not in of_all})
    if missing:
        raise ValueError(f"{DESCRIPTIONS.name} says nothing of {', '.join(missing[:5])} of {known.name}; describe every name there.")
    said = [of_object.get(name) or of_all[name] for name in known.names]
    named = enumerate(zip(known.names, said, strict=True))
    return {part: NodeLabel(part, name, tuple(d["synonyms"]), d["function"]) for part, (name, d) in named}


def read_descriptions(path: Path = DESCRIPTIONS) -> dict[str, dict[str, dict[str, Any]]]:
    """object → name → {"synonyms": [...], "function": "..."}; "*" stands for every object."""
    return {of: {name.lower(): said for name, said in names.items()} for of, names in json.loads(path.read_text()).items()}

