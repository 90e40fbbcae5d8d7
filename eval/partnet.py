"""Objects of PartNet-Mobility, with their part trees, as scenes whose every part is known.

A folder holds result.json (the raw tree), mostly result_after_merging.json (the merged tree, from which parts
without a standard name are gone), textured_objs/*.obj with their *.mtl, and images/ with the textures.

Notation
  f faces, p parts.
Conventions
  PartNet's +y is up and +z the front; here z is up and the front looks towards -y. A part owns the objs that none
  of the parts inside it names: in a merged tree what lost its part stays with the part around it. Parts
  that hold no face are left out. The data has terms of its own: nothing of it may be passed on.
"""

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Int32

from eval.textured import Shape, TexturedScene, face_colors, read_image, read_obj

TREES = {"raw": "result.json", "merged": "result_after_merging.json"}


@dataclass(frozen=True)
class Node:
    """A part of the tree as it is read."""

    name: str
    objs: tuple[str, ...]  # those of no part inside
    children: tuple["Node", ...]


def read_mobility(folder: Path | str, tree: Literal["raw", "merged"] = "raw") -> TexturedScene:
    """The object in a PartNet-Mobility folder, with this one of its two trees."""
    folder = Path(folder)
    root = read_tree(folder, tree)
    shapes = {name: read_obj(folder, f"textured_objs/{name}.obj") for name in objs_of(root)}
    left_out: list[str] = []
    kept = without_empty(root, shapes, left_out)
    if kept is None:
        raise ValueError(f"{folder}: none of its {len(shapes)} objs has a face. Fetch the object again.")
    if left_out:
        warnings.warn(f"{folder}: {len(left_out)} parts hold no face and are left out: {', '.join(left_out)}.", stacklevel=2)
    leaves, groups = in_order(kept)
    order = {id(node): k for k, node in enumerate([*leaves, *groups])}
    parents = np.full(len(order), len(order) - 1, np.int32)
    for node in groups:
        parents[[order[id(child)] for child in node.children]] = order[id(node)]
    owned = [(k, shapes[name]) for k, node in enumerate([*leaves, *groups]) for name in node.objs]
    return put_together(owned, parents, tuple(node.name for node in [*leaves, *groups]))


def read_tree(folder: Path, tree: Literal["raw", "merged"]) -> Node:
    """The root of one of the two trees of an object."""
    path = folder / TREES[tree]
    if not path.is_file():
        raise ValueError(f"{folder} has no {tree} tree ({path.name}): give a PartNet-Mobility object that has (ids of 100000 on are raw only).")
    try:
        (root,) = json.loads(path.read_text())
        return _node(root, set())
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} is no part tree ({type(error).__name__}: {error}); expected a list of one nested part.") from error


def _node(record: dict, taken: set[str]) -> Node:
    """A part and all inside it; an obj belongs to the first part that names it, innermost parts first."""
    children = tuple(_node(child, taken) for child in record.get("children", ()))
    objs = tuple(name for name in dict.fromkeys(record.get("objs", ())) if name not in taken)
    taken.update(objs)
    return Node(record["name"], objs, children)


def objs_of(node: Node) -> list[str]:
    """The objs of a part and of all parts inside it."""
    return [*node.objs, *(name for child in node.children for name in objs_of(child))]


def without_empty(node: Node, shapes: dict[str, Shape], left_out: list[str]) -> Node | None:
    """The tree without the parts that hold no face; their names are added to `left_out`."""
    children = [without_empty(child, shapes, left_out) for child in node.children]
    children = tuple(child for child in children if child is not None)
    objs = tuple(name for name in node.objs if len(shapes[name].faces))
    if not (children or objs):
        left_out.append(node.name)
        return None
    return Node(node.name, objs, children)


def in_order(node: Node) -> tuple[list[Node], list[Node]]:
    """Leaves depth first, and the other parts with the inner ones first."""
    if not node.children:
        return [node], []
    inside = [in_order(child) for child in node.children]
    return [leaf for leaves, _ in inside for leaf in leaves], [*(group for _, groups in inside for group in groups), node]


def put_together(owned: list[tuple[int, Shape]], parents: Int32[np.ndarray, " p"], names: tuple[str, ...]) -> TexturedScene:
    """One mesh of the shapes of all parts, given which part owns each."""
    owners, shapes = zip(*owned, strict=True)
    first = np.cumsum([0, *(len(shape.vertices) for shape in shapes[:-1])])
    x, y, z = np.concatenate([shape.vertices for shape in shapes]).T
    paths = [path for shape in shapes for path in shape.textures]
    number = {path: k for k, path in enumerate(dict.fromkeys(path for path in paths if path))}
    images = tuple(read_image(path) for path in number)
    texture_of_face = np.array([number.get(path, -1) for path in paths], np.int32)
    uv = np.concatenate([shape.uv for shape in shapes]).astype(np.float32)
    tint = np.concatenate([shape.colors for shape in shapes])
    return TexturedScene(
        vertices=np.stack([x, -z, y], 1).astype(np.float32),
        faces=np.concatenate([shape.faces + k for shape, k in zip(shapes, first, strict=True)]).astype(np.int32),
        colors=face_colors(tint, uv, texture_of_face, images),
        part_of_face=np.repeat(owners, [len(shape.faces) for shape in shapes]).astype(np.int32),
        parents=parents, names=names, uv=uv, tint=tint.astype(np.float32), texture_of_face=texture_of_face, textures=images,
    )
