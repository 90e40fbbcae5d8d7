"""The points that PartNet has sampled on its objects: colours for meshes that have none, and a measure of parts.

point_sample/sample-points-all-pts-nor-rgba-10000.txt holds points of the whole ShapeNet model, x y z nx ny nz r g b a;
point_sample/label-10000.txt the id of the raw leaf of each point of another sample, drawn on the objs.

Notation
  n points, f faces, a atoms, p parts, k objs.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64, Int, Int64, UInt8

from eval.partnet.readers.meshes import turned
from eval.partnet.readers.nested import Nested
from eval.textured import TexturedScene

COLORS = "point_sample/sample-points-all-pts-nor-rgba-10000.txt"
LABELS = "point_sample/label-10000.txt"
TURN = 0.03  # a normal of its own counts as so large a share of the object's size
GOLDEN = 0.6180339887  # steps of this share go round a circle most evenly


def painted(scene: TexturedScene, folder: Path) -> tuple[TexturedScene, tuple[str, ...]]:
    """(a scene coloured by the sampled points, or in greys where there are none, notes)."""
    if not (folder / COLORS).is_file():
        return _colored(scene, greys(scene.part_of_face)), ()
    try:
        rows = np.loadtxt(folder / COLORS, ndmin=2)
        if rows.shape[1] < 9 or not len(rows) or not np.isfinite(rows).all():
            raise ValueError(f"{rows.shape[0]} rows of {rows.shape[1]} numbers, expected ten that are finite")
    except ValueError as error:
        return _colored(scene, greys(scene.part_of_face)), (f"{COLORS} cannot be read ({error}); parts are grey.",)
    return _colored(scene, nearest_colors(scene, turned(rows[:, :3]), turned(rows[:, 3:6]), rows[:, 6:9].clip(0, 255).astype(np.uint8))), ()


def nearest_colors(
    scene: TexturedScene, points: Float64[np.ndarray, "n 3"], normals: Float64[np.ndarray, "n 3"], colors: UInt8[np.ndarray, "n 3"]
) -> UInt8[np.ndarray, "f 3"]:
    """Of every face, the colour of the point that is nearest to its middle and faces the same way.

    Meshes are double sided, often with another material behind, so place alone does not tell: the distance is that of
    (place, TURN · normal).
    """
    from scipy.spatial import cKDTree

    a, b, c = scene.vertices[scene.faces].astype(np.float64).transpose(1, 0, 2)
    across = np.cross(b - a, c - a)
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-30)
    turn = TURN * np.ptp(scene.vertices, axis=0).max()
    return colors[cKDTree(np.hstack([points, turn * normals])).query(np.hstack([(a + b + c) / 3, turn * across]))[1]]


def greys(part_of_face: Int[np.ndarray, " f"]) -> UInt8[np.ndarray, "f 3"]:
    """Greys that differ a little by part."""
    return np.repeat(np.round(150 + 60 * (part_of_face * GOLDEN % 1))[:, None], 3, 1).astype(np.uint8)


def _colored(scene: TexturedScene, colors: UInt8[np.ndarray, "f 3"]) -> TexturedScene:
    return replace(scene, colors=colors, tint=(colors / 255).astype(np.float32))


def sampled_atoms(
    folder: Path, raw: Nested, atom_of_obj: Mapping[str, int], holds: Bool[np.ndarray, "p a"], area: Float64[np.ndarray, " a"]
) -> tuple[Int64[np.ndarray, " a"], tuple[str, ...]]:
    """(sampled points of each atom, notes); no numbers where no sample is.

    A point is labelled with a raw leaf. It counts for the leaf's atom that lies in the fewest parts, then the one of most area: they
    differ only where leaves share objs, and there the atom that is the leaf's alone is meant.
    """
    if not (folder / LABELS).is_file():
        return np.zeros(0, np.int64), ()
    try:
        labels = Counter(str(int(word)) for word in (folder / LABELS).read_text().split())
    except ValueError as error:
        return np.zeros(0, np.int64), (f"{LABELS} cannot be read ({error}); there are no sampled points.",)
    leaf = {id: {atom_of_obj[obj] for obj in objs if obj in atom_of_obj} for id, objs in zip(raw.ids, raw.objs, strict=True)}
    points, lost = np.zeros(len(area), np.int64), 0
    for id, number in labels.items():
        if not leaf.get(id):
            lost += number
            continue
        points[min(leaf[id], key=lambda atom: (holds[:, atom].sum(), -area[atom], atom))] += number
    return points, (f"Sampled points on no part that is here: {lost} of {sum(labels.values())}.",) if lost else ()
