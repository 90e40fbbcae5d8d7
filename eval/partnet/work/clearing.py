"""An evaluation removed from OUT, file by file: what it wrote, and nothing that somebody else put there.

Conventions
  A record, the numbers of a found tree and the work on one are told by what they say of themselves, not by where they lie.
  What models answered stays: it is found by its question. settings.json stays too, and says until it is replaced whose OUT this is.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eval.partnet.work.kept import folder_of, stem
from semquery.manifest import OUTPUTS

NUMBERS = ("results.json", "report.html", "miou.png", "f1.png")
WRITTEN = ("sample.json", *NUMBERS, *(f"points/{name}" for name in NUMBERS))
FOUND = ("regions", "sam")  # how the masks of a found tree were made
VIEWS = ("transforms.json", "images/*.png", "truth/*.npz")
SCENE = ("mesh.ply", "truth.json", *VIEWS, *(f"heldout/{name}" for name in VIEWS))
RUN = ("run.jsonl", "cameras.json", *(name for names in OUTPUTS.values() for name in names))
INSIDE = ("*.npz", "*/*.png")  # of a run's outputs that are folders: arrays of views, pictures of parts


def clear(out: Path) -> None:
    """Remove what an evaluation wrote to OUT, but for settings.json and answers; folders that are empty then, too."""
    for path in tuple(_written(out)):
        path.unlink(missing_ok=True)
    for name in ("objects", "predicted", "trees", "points"):
        _without_empty(out / name)


def _written(out: Path) -> Iterator[Path]:
    yield from (out / name for name in WRITTEN)
    for path in folder_of(out).glob("*.json"):
        if _is_record(path):
            yield from (path.with_name(f"{path.name.removesuffix('.json')}.{ending}") for ending in ("json", "npz", "png"))
    yield from (path for path in (out / "predicted").glob("*.json") if _told(path).get("masks") in FOUND)
    for note in (out / "trees").glob("*/object.json"):
        told = _told(note)
        if note.parent.name == f"{stem(str(told.get('object')))}-{told.get('masks')}":
            yield from _of_tree(note.parent)
            yield note  # last: it says that the rest is ours


def _of_tree(folder: Path) -> Iterator[Path]:
    """The files of the work on a found tree."""
    yield folder / "log.txt"
    for name in SCENE:
        yield from (folder / "scene").glob(name)
    for output in (folder / "run" / name for name in RUN):
        yield from (path for inside in INSIDE for path in output.glob(inside)) if output.is_dir() else (output,)


def _is_record(path: Path) -> bool:
    told = _told(path)
    return "said" in told and "asked" in told and stem(str(told.get("id"))) == path.name.removesuffix(".json")


def _told(path: Path) -> dict[str, Any]:
    """The object in a JSON file; {} where there is none."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return told if isinstance(told, dict) else {}
    except (OSError, ValueError, RecursionError):
        return {}


def _without_empty(folder: Path) -> None:
    """Remove a folder and those in it, innermost first, as far as they are empty; a link to one stays."""
    if folder.is_symlink() or not folder.is_dir():
        return
    for inner in folder.iterdir():
        _without_empty(inner)
    if not any(folder.iterdir()):
        folder.rmdir()
