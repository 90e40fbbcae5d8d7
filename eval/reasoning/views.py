"""What is rendered of a subject, and what a segmenter finds there.

Notation
  h w height and width of a view, f faces.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Int, Int32

from eval.reasoning.subjects import Subject
from semquery.fusion.evidence import ViewRegions
from semquery.fusion.viewpoints import FOV, Around, directions, poses, unit_sphere
from semquery.render import RayCaster, pinhole
from semquery.segmenter import Context, Oracle, Segmenter


def render_faces(subject: Subject, around: Around, side: int) -> dict[str, Int32[np.ndarray, "h w"]]:
    """The face behind each pixel of every view, -1 where there is none; by name of the view."""
    caster, intrinsics = RayCaster(unit_sphere(subject.vertices)[0], subject.faces), pinhole(FOV, (side, side))
    cameras = poses(directions(around), up=subject.up)
    return {f"view-{k:02}": caster.cast(camera, intrinsics, (side, side)).face for k, camera in enumerate(cameras)}


def oracle_of(subject: Subject, faces: Mapping[str, Int[np.ndarray, "h w"]]) -> Oracle:
    """A segmenter that knows the labels of a subject in its views."""
    truth = {name: np.append(subject.label_of_face, -1)[face].astype(np.int32) for name, face in faces.items()}
    return Oracle(truth, {label: frozenset({k}) for k, label in enumerate(subject.labels)})


def regions_of(segmenter: Segmenter, faces: Mapping[str, Int32[np.ndarray, "h w"]], query: str) -> tuple[ViewRegions, ...]:
    """What a segmenter that knows the views by name finds in every one; the pictures it is handed are blank."""
    return tuple(
        ViewRegions(face, tuple(segmenter.segment(np.zeros((*face.shape, 3), np.uint8), query, Context(view=name))), name)
        for name, face in faces.items())


def seen_faces(faces: Mapping[str, Int[np.ndarray, "h w"]], num_faces: int) -> np.ndarray:
    """[f], which faces any view shows."""
    seen = np.zeros(num_faces + 1, bool)
    for face in faces.values():
        seen[face] = True
    return seen[:-1]
