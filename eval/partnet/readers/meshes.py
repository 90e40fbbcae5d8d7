"""The meshes of PartNet's objects: many obj files as one scene.

Notation
  n vertices, f faces, k obj files, p parts.
Conventions
  PartNet's +y is up and +z the front; here z is up and the front looks towards -y.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from eval.textured import Shape, TexturedScene, face_colors, read_image, read_obj, within


def read_shapes(folder: Path, sub: str, objs: Sequence[str], materials: bool) -> tuple[dict[str, Shape], tuple[str, ...]]:
    """(the obj files that have faces, by name, notes on the others) of those that a tree names.

    Raises ValueError for one that is broken or outside of the folder. Those that are missing are noted; faces with a vertex that is
    no finite number are dropped and noted.
    """
    there = {name: within(folder, f"{sub}/{name}.obj").is_file() for name in objs}
    shapes = {name: read_obj(folder, f"{sub}/{name}.obj", materials) for name in objs if there[name]}
    finite = {name: finite_part(shape) for name, shape in shapes.items()}
    dropped = {name: len(shapes[name].faces) - len(finite[name].faces) for name in shapes}
    notes = []
    if missing := [name for name in objs if not there[name]]:
        notes.append(f"Objs that are missing: {some_of([f'{name}.obj' for name in missing])}.")
    if any(dropped.values()):
        where = some_of([name for name, number in dropped.items() if number])
        notes.append(f"Faces with a vertex that is no finite number, dropped: {sum(dropped.values())} in {where}.")
    return {name: shape for name, shape in finite.items() if len(shape.faces)}, tuple(notes)


def unnamed(folder: Path, sub: str, objs: Sequence[str]) -> tuple[str, ...]:
    """A note on the obj files of a folder that no part names, if there are any."""
    files = {path.name.removesuffix(".obj") for path in (folder / sub).glob("*.obj")}
    extra = sorted(files - set(objs))
    return (f"Objs that no part names, left out: {some_of(extra)}.",) if extra else ()


def some_of(names: Sequence[str], most: int = 8) -> str:
    """Names for a note, the first ones where there are many."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def finite_part(shape: Shape) -> Shape:
    """A shape without the faces of which a vertex is no finite number (in 32 bits), and without such vertices."""
    with np.errstate(over="ignore"):
        good = np.isfinite(shape.vertices.astype(np.float32)).all(1)
    if good.all():
        return shape
    faces = good[shape.faces].all(1)
    number = np.cumsum(good) - 1
    return replace(
        shape, vertices=shape.vertices[good], faces=number[shape.faces[faces]].astype(np.int32), colors=shape.colors[faces],
        uv=shape.uv[faces], texture_of_face=shape.texture_of_face[faces])


def turned(points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    """Points of PartNet, y up and front +z, as here: z up and front -y."""
    x, y, z = points.T
    return np.stack([x, -z, y], 1)


def put_together(
    shapes: Sequence[Shape], owners: Int[np.ndarray, " k"], parents: Int[np.ndarray, " p"], names: tuple[str, ...]
) -> TexturedScene:
    """One mesh of all shapes, given which part owns each."""
    first = np.cumsum([0, *(len(shape.vertices) for shape in shapes[:-1])])
    number = {path: k for k, path in enumerate(dict.fromkeys(path for shape in shapes for path in shape.textures))}
    images = tuple(read_image(path) for path in number)
    texture_of_face = np.concatenate([
        np.array([*(number[path] for path in shape.textures), -1], np.int32)[shape.texture_of_face] for shape in shapes])
    uv = np.concatenate([shape.uv for shape in shapes]).astype(np.float32)
    tint = np.concatenate([shape.colors for shape in shapes])
    return TexturedScene(
        vertices=turned(np.concatenate([shape.vertices for shape in shapes])).astype(np.float32),
        faces=np.concatenate([shape.faces + k for shape, k in zip(shapes, first, strict=True)]).astype(np.int32),
        colors=face_colors(tint, uv, texture_of_face, images),
        part_of_face=np.repeat(owners, [len(shape.faces) for shape in shapes]).astype(np.int32),
        parents=np.asarray(parents, np.int32), names=names, uv=uv, tint=tint.astype(np.float32), texture_of_face=texture_of_face,
        textures=images,
    )
