"""An object with its true tree in the form in which the product's labeller takes a scene.

Notation
  n surface points, p nodes, f faces, a atoms.
Conventions
  Points are sampled from the mesh, evenly by area, with at least a few for every atom. A part holds what the object says
  that it holds, not what its tree adds up to: so measurements are true where two nodes share faces, and where all that a
  node has is owned by others. z is up.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Int32

from eval.partnet.methods.backends import Backends
from eval.partnet.pictures.crops import IN_WORDS
from eval.partnet.pictures.shown import Shown
from eval.partnet.records import PartObject
from eval.queries.known import UP, sample, true_tree
from semquery.facts import PartFacts, measure
from semquery.labelling import LabelConfig, Subject, candidates_of
from semquery.types import PartTree, Surface
from semquery.views import half_size

OPTIONS = "label."  # before the names of the labeller's options on this command line
NUM_POINTS = 20_000  # of an object; measurements are in words and two or three digits


@dataclass(frozen=True)
class TrueTree(PartTree):
    """A part tree whose parts hold what is said here; `part_of_point` only says who owns a point."""

    atom_of_point: Int32[np.ndarray, " n"]
    atoms_held: Bool[np.ndarray, "p a"]

    @cached_property
    def num_points(self) -> Int32[np.ndarray, " p"]:
        return (self.atoms_held @ np.bincount(self.atom_of_point, minlength=self.atoms_held.shape[1])).astype(np.int32)

    def points_of(self, part: int) -> Bool[np.ndarray, " n"]:
        return self.atoms_held[part][self.atom_of_point]


def subject_of(shown: Shown, backends: Backends, label: LabelConfig) -> Subject:
    """What is asked about an object. Style `paper` is shown on black; who does not look is shown nothing."""
    surface, parts = sampled(shown.thing)
    style = "black" if label.style == "paper" else shown.config.style
    pictures = _nothing if backends.vlm.source == "rule" else lambda node: shown.pictures(node, style)
    pixels = {node: int(most) for node, most in enumerate(shown.pixels)}
    return Subject(parts, facts_of(shown.thing, surface, parts), pictures, pixels, candidates_of(label, pictures, OPTIONS), half_size, IN_WORDS[style])


def facts_of(thing: PartObject, surface: Surface, parts: PartTree) -> dict[int, PartFacts]:
    """Measurements of every node; shares are of the exact area, of which small parts have more points than is theirs."""
    area = thing.holds @ thing.area
    share = area / np.maximum(area[thing.parents], 1e-30)
    return {node: replace(facts, share_of_parent=float(share[node])) for node, facts in measure(surface, parts, np.array(UP)).items()}


def sampled(thing: PartObject, num_points: int = NUM_POINTS) -> tuple[Surface, TrueTree]:
    """Points of an object, and its true tree over them. Raises ValueError for a node that holds no face: nothing can be measured of it."""
    empty = [f"{thing.ids[node]} ({thing.texts[node]})" for node in np.flatnonzero(~thing.holds.any(1))]
    if empty:
        raise ValueError(f"The nodes {', '.join(empty[:5])} of {thing.id} hold no face; a reader has to leave such nodes out.")
    surface, atom = sample(replace(thing.scene, part_of_face=thing.atom_of_face), num_points, seed=0)
    face = _with_flat_atoms(thing, surface.source, atom)
    moved = face != surface.source
    middles = thing.scene.vertices[thing.scene.faces[face]].mean(1)
    points = np.where(moved[:, None], middles, surface.points).astype(np.float32)
    surface = replace(surface, points=points, source=face, colors=thing.scene.colors[face])
    tree = true_tree(thing.parents, thing.scene.part_of_face[face])
    return surface, TrueTree(tree.parents, tree.altitude, tree.part_of_point, tree.support, tree.support_iou, atom, thing.holds)


def _with_flat_atoms(thing: PartObject, face: Int32[np.ndarray, " n"], atom: Int32[np.ndarray, " n"]) -> Int32[np.ndarray, " n"]:
    """The face of each point; one whose atom has no area, so that nothing could be drawn from it, lies on the atom's first face."""
    _, first = np.unique(thing.atom_of_face, return_index=True)
    return np.where(thing.atom_of_face[face] == atom, face, first[atom]).astype(np.int32)


def _nothing(node: int) -> tuple[bytes, ...]:
    return ()
