"""The demo scene as the views see it, with its true part tree and names, for tests that ask where things are."""

import re
from collections.abc import Callable
from functools import cache

import numpy as np
from helpers import part_tree

from semquery import tabletop
from semquery.phrases import singular
from semquery.procedural import KnownScene
from semquery.render import RayCaster, pinhole
from semquery.types import Cameras, PartTree, Surface

SIZE = (72, 72)
VOXEL = 0.006


@cache
def tabletop_scene() -> tuple[KnownScene, Surface, PartTree, Cameras]:
    """Surface points that at least one camera sees, one to a voxel, each in its true part."""
    scene, poses = tabletop.build(), tabletop.cameras()
    caster, lens = RayCaster(scene.vertices, scene.faces), pinhole(tabletop.FIELD_OF_VIEW, SIZE)
    hits = [caster.cast(pose, lens, SIZE) for pose in poses.values()]
    points, normals, faces = (np.concatenate([field[hit.mask] for hit, field in pairs]) for pairs in zip(*(
        [(hit, hit.points), (hit, hit.normals), (hit, hit.face)] for hit in hits), strict=True))
    _, first = np.unique(np.floor(points / VOXEL).astype(np.int64), axis=0, return_index=True)
    parts = part_tree(scene.parents, scene.part_of_face[faces[first]])
    surface = Surface(points[first], normals[first], scene.colors[faces[first]], np.zeros((len(first), 0), np.float16), faces[first], VOXEL)
    cameras = Cameras(tuple(poses), tuple(poses), np.array(list(poses.values())), np.tile(lens, (len(poses), 1)), np.tile(SIZE, (len(poses), 1)))
    return scene, surface, parts, cameras


def called(scene: KnownScene) -> Callable[[str], list[tuple[int, float]]]:
    """Parts by name: the whole name, or its last words, in the singular too, whatever number tells siblings apart."""
    names = [re.sub(" [0-9]+$", "", name) for name in scene.names]

    def candidates(text: str) -> list[tuple[int, float]]:
        wanted = {text, singular(text)}
        exact = [(p, 1.0) for p, name in enumerate(scene.names) if name in wanted]
        return exact or [(p, 0.9) for p, name in enumerate(names) if any(f" {name}".endswith(f" {w}") for w in wanted if w)]

    return candidates
