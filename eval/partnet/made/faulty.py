"""Objects in PartNet's layout with one thing wrong or strange each, to try what readers say of them.

Conventions
  Each folder is named after what is wrong. All are the same small chair (seat, two legs, a back of frame and pad) but for that.
"""

import json
import shutil
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np

from eval.partnet.made.procedural import write_object
from eval.partnet.made.varied import Part, Solid

CORNERS = np.array(list(product((-1.0, 1.0), repeat=3)))


def broken_objects(folder: Path) -> list[Path]:
    """One folder for each fault; the folders, `sound` first, which has none."""
    sound, *others = (folder / name for name in FAULTS)
    write_object(sound, small_chair(), np.random.default_rng(0))
    meta = json.loads((sound / "meta.json").read_text())
    for other in others:
        shutil.copytree(sound, other, dirs_exist_ok=True)
        (other / "meta.json").write_text(json.dumps(meta | {"anno_id": other.name, "model_id": other.name}))  # each a model of its own
        FAULTS[other.name](other)
    return [sound, *others]


def small_chair() -> Part:
    """Five leaves, two levels."""
    legs = tuple(block("leg", (0.4 * side, 0, 0.2), (0.1, 0.1, 0.4)) for side in (-1, 1))
    back = Part("back", (block("frame", (0, 0.4, 0.9), (1, 0.05, 0.8)), block("pad", (0, 0.35, 0.9), (0.8, 0.05, 0.6))))
    return Part("chair", (block("seat", (0, 0, 0.45), (1, 0.9, 0.1)), *legs, back))


def block(name: str, center: tuple[float, float, float], size: tuple[float, float, float]) -> Part:
    """A part that is a box."""
    from scipy.spatial import ConvexHull

    points = CORNERS * size / 2 + center
    return Part(name, (), (Solid(points, ConvexHull(points).simplices.astype(np.int32)),))


# ------------------------------------------------------------------ faults


def in_tree(change: Callable[[dict], None]) -> Callable[[Path], None]:
    """What happens to the root of the raw tree."""
    def spoil(folder: Path) -> None:
        path = folder / "result.json"
        (root,) = json.loads(path.read_text())
        change(root)
        path.write_text(json.dumps([root], ensure_ascii=False))
    return spoil


def in_text(name: str, change: Callable[[str], str]) -> Callable[[Path], None]:
    """What happens to the text of a file; * in its name is the seat's mesh."""
    return lambda folder: _path(folder, name).write_text(change(_path(folder, name).read_text()))


def _path(folder: Path, name: str) -> Path:
    (root,) = json.loads((folder / "result.json").read_text())
    return folder / name.replace("*", root["children"][0]["objs"][0])


def in_vertices(word: str) -> Callable[[Path], None]:
    """The first coordinate of the seat's mesh is this word."""
    return in_text("objs/*.obj", lambda text: "\n".join(
        " ".join(["v", word, *line.split()[2:]]) if k == 1 else line for k, line in enumerate(text.split("\n"))))


def _flat(text: str) -> str:
    """All corners in one place."""
    return "\n".join("v 0 0 0" if line.startswith("v ") else line for line in text.split("\n"))


def _all_meshes_gone(folder: Path) -> None:
    for path in (folder / "objs").iterdir():
        path.unlink()


def _renamed(*names: str) -> Callable[[dict], None]:
    def change(root: dict) -> None:
        for node, name in zip(root["children"], names, strict=False):
            node["name"] = node["text"] = name
    return change


def _nested(folder: Path) -> None:
    """Two thousand levels, more than a function can call itself; hence written as text."""
    (root,) = json.loads((folder / "result.json").read_text())
    start = "".join(f'{{"name": "unit", "text": "Unit", "id": {1000 + k}, "children": [' for k in range(2000))
    (folder / "result.json").write_text(f"[{start}{json.dumps(root)}{']}' * 2000}]")


FAULTS: dict[str, Callable[[Path], None]] = {
    "sound": lambda folder: None,
    "no-tree": lambda folder: (folder / "result.json").unlink(),
    "no-merged-tree": lambda folder: (folder / "result_after_merging.json").unlink(),
    "no-meta": lambda folder: (folder / "meta.json").unlink(),
    "truncated-tree": in_text("result.json", lambda text: text[: len(text) // 2]),
    "truncated-meta": in_text("meta.json", lambda text: text[: len(text) // 2]),
    "not-a-tree": lambda folder: (folder / "result.json").write_text("[1]"),
    "two-roots": in_text("result.json", lambda text: f"[{text[1:-1]}, {text[1:-1]}]"),
    "no-roots": lambda folder: (folder / "result.json").write_text("[]"),
    "duplicated-ids": in_tree(lambda root: root["children"][1].update(id=root["children"][0]["id"])),
    "endless-nesting": _nested,
    "missing-mesh": lambda folder: _path(folder, "objs/*.obj").unlink(),
    "missing-material": lambda folder: _path(folder, "objs/*.mtl").unlink(),
    "all-meshes-missing": _all_meshes_gone,
    "truncated-mesh": in_text("objs/*.obj", lambda text: text[:30]),
    "nan-vertices": in_vertices("nan"),
    "infinite-vertices": in_vertices("inf"),
    "no-number": in_vertices("zero"),
    "corner-out-of-range": in_text("objs/*.obj", lambda text: text + "f 1 2 999\n"),
    "empty-mesh": in_text("objs/*.obj", lambda text: ""),
    "flat-mesh": in_text("objs/*.obj", _flat),
    "empty-part": in_tree(lambda root: root["children"].append({"name": "cushion", "text": "Cushion", "id": 900, "objs": []})),
    "mesh-of-no-part": in_tree(lambda root: root["children"].pop(0)),
    "mesh-of-two-parts": in_tree(lambda root: root["children"][1].update(objs=root["children"][0]["objs"])),
    "mesh-outside": in_tree(lambda root: root["children"][0].update(objs=["../../sound/objs/secret"])),
    "names-in-other-scripts": in_tree(_renamed("座面", "Ножка", "رِجل", "πλάτη 🪑")),
    "empty-names": in_tree(_renamed("", "   ", "\n")),
    "name-that-is-no-text": in_tree(lambda root: root["children"][0].update(name=7)),
    "labels-of-no-part": in_text("point_sample/label-10000.txt", lambda text: "999999\n" * text.count("\n")),
    "too-few-labels": in_text("point_sample/label-10000.txt", lambda text: text[:100]),
}
