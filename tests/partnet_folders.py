"""Folders in PartNet's two layouts, of a few quads each."""

import json
from itertools import count
from pathlib import Path

QUAD = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"
FRONT, BACK = "f 1/1 2/2 3/3 4/4\n", "f 1/1 4/4 3/3 2/2\n"


def part(name, *children, objs=(), id=None, numbers=count()):
    """A part as the files write it, by default with a number of its own."""
    return {"name": name, "id": next(numbers) if id is None else id,
            **({"objs": list(objs)} if objs else {}), **({"children": list(children)} if children else {})}


def quad(x: float, width: float = 1) -> str:
    """A quad that begins at x, facing front."""
    return f"v {x} 0 0\nv {x + width} 0 0\nv {x + width} 1 0\nv {x} 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n{FRONT}"


def write(folder: Path, raw=None, merged=None, mesh="textured_objs", meta=None, **objs: str) -> Path:
    """An object of which each obj is a quad of one unit, or the text given; obj k is k units to the right, of the k-th colour."""
    (folder / mesh).mkdir(parents=True)
    (folder / "images").mkdir()
    for name, tree in (("result.json", raw), ("result_after_merging.json", merged)):
        if tree:
            (folder / name).write_text(json.dumps([tree]), encoding="utf-8")
    if meta is not None:
        (folder / "meta.json").write_text(json.dumps(meta))
    for k, (name, text) in enumerate(objs.items()):
        look = "" if mesh == "objs" else f"mtllib {name}.mtl\nusemtl m\n"
        (folder / mesh / f"{name}.obj").write_text(text or look + quad(k))
        if look:
            (folder / mesh / f"{name}.mtl").write_text(f"newmtl m\nKd 0.{k + 1} 0 1\n")
    return folder
