"""Records on disk: what was measured of every object, each in files of its own.

    OUT/objects/STEM.npz    trees, atoms, areas, queries' positives, relevancies, the overview's atoms
    OUT/objects/STEM.json   names, query texts, what methods said, cost; written last: a record is there when this file is
    OUT/objects/STEM.png    the overview
    OUT/predicted/STEM.json numbers of the tree that the field finds, as eval.partnet.predicted gives them

Conventions
  STEM is the object's id where that is safe as a file name everywhere (small letters, digits, - _ and inner dots), else
  what is safe of it and a hash, so that no two ids meet and none leads out of the folder.
  Every file is written under another name and then renamed; arrays hold no pickled objects.
"""

import json
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from eval.partnet.records import Asked, Cost, Record, Said
from semquery.manifest import atomic

VERSION = 1  # of the files; others are refused

_ARRAYS = ("parents", "is_type", "holds", "area", "points", "pixels", "atom_of_pixel")
_LISTS = ("ids", "names", "notes")
_WORDS = ("id", "category", "model", "format", "tree", "seconds")


def stem(id: str) -> str:
    """A file name without ending for an object's id: safe, readable, and another for every id."""
    if re.fullmatch(r"[a-z0-9_-]([a-z0-9_.-]{0,78}[a-z0-9_-])?", id):
        return id
    safe = re.sub(r"[^a-z0-9_-]+", "-", id.lower())[:40].strip("-")
    return f"{safe}-{sha256(id.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}".lstrip("-")


def folder_of(out: Path) -> Path:
    """Where the records of an evaluation lie."""
    return out / "objects"


def evaluation_of(folder: Path) -> Path:
    """The OUT whose records the numbers in a folder are of: the folder itself, or for OUT/points the one around it."""
    return folder.parent if folder.name == "points" and not folder_of(folder).is_dir() else folder


def write_record(out: Path, record: Record) -> Path:
    """Write a record under OUT in place of an earlier one; the path of its JSON file."""
    path = folder_of(out) / stem(record.id)
    arrays = {name: getattr(record, name) for name in _ARRAYS}
    arrays |= {f"positive/{k}": asked.positive for k, asked in enumerate(record.asked)}
    arrays |= {f"relevancy/{method}/{kind}": r for method, said in record.said.items() for kind, r in said.relevancy.items()}
    with atomic(_file(path, "npz")) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)
    with atomic(_file(path, "png")) as temporary:
        temporary.write_bytes(record.overview)
    with atomic(_file(path, "json")) as temporary:  # last: it says what the others hold
        temporary.write_text(json.dumps(_words_of(record), indent=1) + "\n", encoding="utf-8")
    return _file(path, "json")


def read_record(out: Path, id: str) -> Record:
    """The record of an object; ValueError where there is none, or where it is damaged or of another version."""
    path = folder_of(out) / stem(id)
    if not _file(path, "json").exists():
        raise ValueError(f"{folder_of(out)} holds no record of {id!r}; run the evaluation on it first.")
    return _read(path)


def read_records(out: Path) -> Iterator[Record]:
    """Every record under OUT, one at a time, in the order of their file names."""
    for path in sorted(folder_of(out).glob("*.json")):
        if not path.name.startswith("."):
            yield _read(path.with_name(path.name.removesuffix(".json")))


def methods_kept(out: Path, id: str) -> set[str]:
    """The methods that the record of an object holds; none where there is no record that can be read."""
    record = record_if_any(out, id)
    return set() if record is None else set(record.said)


def record_if_any(out: Path, id: str) -> Record | None:
    """The record that OUT holds of an object; None where there is none that can be read."""
    try:
        return read_record(out, id)
    except ValueError:
        return None


def merged(old: Record | None, new: Record) -> Record:
    """A record with what both say, the new one's where both do. Raises ValueError where they are of different trees."""
    if old is None:
        return new
    same = (old.names == new.names and np.array_equal(old.parents, new.parents) and np.array_equal(old.holds, new.holds)
            and [(a.kind, a.texts) for a in old.asked] == [(a.kind, a.texts) for a in new.asked])
    if not same:
        raise ValueError(f"The object {new.id} is no longer what its record says; evaluate it anew with --overwrite.")
    return replace(new, said={**old.said, **new.said}, seconds=old.seconds + new.seconds)


def asked_only(record: Record, methods: Iterable[str]) -> Record:
    """The record with what these methods say alone."""
    return replace(record, said={name: record.said[name] for name in methods if name in record.said})


def write_predicted(out: Path, id: str, numbers: dict[str, Any]) -> Path:
    """Keep the numbers of an object's predicted tree; plain values only."""
    path = out / "predicted" / f"{stem(id)}.json"
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    return path


def read_predicted(out: Path, id: str) -> dict[str, Any] | None:
    """The numbers of an object's predicted tree; None where there are none that can be read."""
    try:
        return json.loads((out / "predicted" / f"{stem(id)}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _file(path: Path, ending: str) -> Path:
    return path.with_name(f"{path.name}.{ending}")


def _words_of(record: Record) -> dict[str, Any]:
    return {
        "version": VERSION, **{name: getattr(record, name) for name in (*_WORDS, *_LISTS)},
        "asked": [{"kind": asked.kind, "texts": asked.texts} for asked in record.asked],
        "said": {method: {"kinds": list(said.relevancy), "names": said.names, "synonyms": said.synonyms, "confidence": said.confidence,
                          "cost": asdict(said.cost)} for method, said in record.said.items()},
    }


def _read(path: Path) -> Record:
    try:
        words = json.loads(_file(path, "json").read_text(encoding="utf-8"))
        if words["version"] != VERSION:
            raise ValueError(f"version {words['version']}, this program writes {VERSION}")
        with np.load(_file(path, "npz"), allow_pickle=False) as arrays:
            return _record_of(words, arrays, _file(path, "png").read_bytes())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"The record {_file(path, 'json')} cannot be read ({error}); delete it and run the evaluation again.") from error


def _record_of(words: dict[str, Any], arrays: Any, overview: bytes) -> Record:
    return Record(
        **{name: words[name] for name in _WORDS}, **{name: arrays[name] for name in _ARRAYS},
        **{name: tuple(words[name]) for name in _LISTS}, overview=overview,
        asked=tuple(Asked(asked["kind"], tuple(asked["texts"]), arrays[f"positive/{k}"]) for k, asked in enumerate(words["asked"])),
        said={method: _said_of(method, said, arrays) for method, said in words["said"].items()},
    )


def _said_of(method: str, said: dict[str, Any], arrays: Any) -> Said:
    return Said(
        {kind: arrays[f"relevancy/{method}/{kind}"] for kind in said["kinds"]}, tuple(said["names"]), tuple(map(tuple, said["synonyms"])),
        tuple(said["confidence"]), Cost(**said["cost"]),
    )
