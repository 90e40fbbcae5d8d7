"""The part trees of PartNet: JSON files of one nested part.

A part is {"name", "id", "text"?, "objs"?: [names of obj files without .obj], "children"?: [parts]}. In result.json, the raw tree, only
leaves name objs; in result_after_merging.json all parts do, ids are new and "ori_id" is the raw one.

Notation
  p parts.
Conventions
  A tree is flat. As it is read, parts come before those inside them; `leaves_first` orders it as in semquery.types.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int32

from eval.partnet.records import TreeKind, normalised

TREES: dict[TreeKind, str] = {"raw": "result.json", "merged": "result_after_merging.json"}
WITHOUT: dict[TreeKind, str] = {  # what to do about an object without one
    "raw": "Fetch the object again.",
    "merged": "PartNet-Mobility's objects from 100000 on have the raw one alone: give --tree raw, or leave them out."}


@dataclass(frozen=True)
class Nested:
    """A part tree as it is written."""

    ids: tuple[str, ...]
    names: tuple[str, ...]
    texts: tuple[str, ...]
    objs: tuple[tuple[str, ...], ...]  # what each part names itself
    parents: Int32[np.ndarray, " p"]  # the root is its own


def read_tree(folder: Path, tree: TreeKind) -> Nested:
    """One of the two trees of an object, parts before those inside them; raises ValueError where there is none, or no tree in it."""
    path = folder / TREES[tree]
    if not path.is_file():
        raise ValueError(f"{folder} has no {tree} tree ({path.name}). {WITHOUT[tree]}")
    try:
        roots = json.loads(path.read_text(encoding="utf-8-sig"))
        if not isinstance(roots, list) or len(roots) != 1:
            raise ValueError(f"{len(roots)} roots" if isinstance(roots, list) else f"a {type(roots).__name__}")
        return _flat(roots[0])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        what = f"{type(error).__name__}: {error}"
        raise ValueError(f"{path} is no part tree ({what}); expected a list of one nested part. Fetch it again.") from error


def _flat(root: Any) -> Nested:
    """A nested part and all inside it, depth first; without recursion, however deep it is."""
    parts: list[tuple[str, str, str, tuple[str, ...]]] = []
    parents: list[int] = []
    waiting = [(root, 0)]
    while waiting:
        record, parent = waiting.pop()
        waiting += [(child, len(parts)) for child in reversed(_checked(record))]
        name = record["name"]
        parts.append((str(record["id"]), name, str(record.get("text") or name), tuple(dict.fromkeys(record.get("objs") or ()))))
        parents.append(parent)
    ids, names, texts, objs = zip(*parts, strict=True)
    _check_ids(ids, parents)
    return Nested(ids, names, texts, objs, np.array(parents, np.int32))


def _checked(record: Any) -> list:
    """The children of a part whose fields are what they should be."""
    if not isinstance(record, dict):
        raise TypeError(f"{str(record)[:40]!r} where a part belongs")
    objs, children = record.get("objs") or [], record.get("children") or []
    if not isinstance(record["name"], str) or isinstance(record["id"], bool) or not isinstance(record["id"], int | str):
        raise TypeError(f"a part has the name {record['name']!r} and the id {record['id']!r}, expected a text and a whole number")
    if not isinstance(objs, list) or not all(isinstance(name, str) for name in objs) or not isinstance(children, list):
        raise TypeError(f"the objs of part {record['id']} are no list of names, or its children are no list")
    return children


def _check_ids(ids: tuple[str, ...], parents: list[int]) -> None:
    """Raises ValueError where a part has the id of one around it (a circle, written out) or of any other."""
    first: dict[str, int] = {}
    for part, id in enumerate(ids):
        other = first.setdefault(id, part)
        if other != part:
            circle = other in _around(part, parents)
            raise ValueError(f"part {id} is inside itself" if circle else f"two parts have the id {id}")


def _around(part: int, parents: list[int]) -> Iterator[int]:
    """The parts around a part, the root last."""
    while part:
        part = parents[part]
        yield part


def without(tree: Nested, gone: Bool[np.ndarray, " p"]) -> Nested:
    """The tree without some of its parts (not the root): what is inside them, objs too, goes to the part around them."""
    around, objs = tree.parents.copy(), list(tree.objs)
    for part in range(len(around)):  # parts come before those inside them
        around[part] = around[around[part]] if gone[around[part]] else around[part]
    for part in np.flatnonzero(gone)[::-1]:
        objs[tree.parents[part]] = tuple(dict.fromkeys(objs[tree.parents[part]] + objs[part]))
    kept = np.flatnonzero(~gone)
    number = np.cumsum(~gone) - 1
    ids, names, texts, objs = (tuple(values[k] for k in kept) for values in (tree.ids, tree.names, tree.texts, objs))
    return Nested(ids, names, texts, objs, number[around[kept]].astype(np.int32))


def named(tree: Nested, root_name: str) -> tuple[Nested, tuple[str, ...]]:
    """(the tree without the parts that have no name, notes); a root without one gets another."""
    if not normalised(tree.names[0]):
        if not normalised(root_name):
            raise ValueError("the root of the tree has no name, nor has meta.json a model_cat: give one of the two")
        tree = Nested(tree.ids, (root_name, *tree.names[1:]), (root_name, *tree.texts[1:]), tree.objs, tree.parents)
    gone = np.array([not normalised(name) for name in tree.names])
    if not gone.any():
        return tree, ()
    ids = ", ".join(tree.ids[k] for k in np.flatnonzero(gone))
    return without(tree, gone), (f"Parts without a name, left out, what they hold goes to the part around them: {ids}.",)


def leaves_first(tree: Nested) -> Nested:
    """The tree with leaves first, depth first, and the other parts after them, inner ones first, the root last."""
    num_parts = len(tree.parents)
    last = np.arange(num_parts)  # the last part inside each
    for part in range(num_parts - 1, 0, -1):
        last[tree.parents[part]] = max(last[tree.parents[part]], last[part])
    leaves = np.flatnonzero(last == np.arange(num_parts))
    groups = np.flatnonzero(last != np.arange(num_parts))
    order = np.concatenate([leaves, groups[np.lexsort((-groups, last[groups]))]])
    number = np.argsort(order)
    ids, names, texts, objs = (tuple(values[k] for k in order) for values in (tree.ids, tree.names, tree.texts, tree.objs))
    return Nested(ids, names, texts, objs, number[tree.parents[order]].astype(np.int32))
