"""The files of an export: each whole or not at all, and a record of which are an export's own."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from semquery.store import Run, RunError, slug

RECORD = "export.json"
NAMED = 6  # parts that the name of a folder and a title have
WRITTEN = frozenset("parts.ply tree.json boxes.json boxes.ply levels.png picture.png parts.glb coco.json splats.ply highlighted.ply export.json "
                    "ids masks parts splats".split())  # what an export may replace or remove in its folder


def own_folder(run: Run, tops: Sequence[int], query: str | None) -> Path:
    """RUN/export for the whole; of many parts the first few are named, and a hash of all tells their folders apart."""
    if query is not None:
        return run / "export" / f"query-{slug(query)}"
    if not tops:
        return run / "export"
    named = "-".join(map(str, tops[:NAMED]))
    more = f"-and-{len(tops) - NAMED}-more-{hashlib.sha256(repr(list(tops)).encode()).hexdigest()[:8]}" if len(tops) > NAMED else ""
    return run / "export" / f"part-{named}{more}"


def folder_at(folder: Path, run: Run, *given: Path | None) -> Path:
    """Made where it is not there. Raises RunError where it cannot be, where it is the run, and where a file that is read would be replaced."""
    folder = folder.expanduser()
    if folder.resolve() == run.path.resolve():
        raise RunError(f"{folder} is the run itself, whose files would be mixed with the export's: name another folder with --out.")
    for path in filter(None, given):
        for inner in {path.absolute(), path.resolve()}:
            if inner.is_relative_to(folder.resolve()) and inner.relative_to(folder.resolve()).parts[0] in WRITTEN:
                raise RunError(f"{path} lies in the folder that is written to, and would be replaced: name another with --out.")
    stood = next(each for each in (folder, *folder.parents) if each.exists())
    if not stood.is_dir():
        raise RunError(f"{stood} is a file, and an export is written into a folder: name another with --out.")
    with _told(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def json_bytes(record: Any) -> bytes:
    """Readable by every reader of JSON: no NaN; what is no text in a name (half of a surrogate pair) is a question mark."""
    return (json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8", "replace")


def write(run: Run, path: Path, data: Any) -> None:
    """Bytes, or a plyfile.PlyData. Raises RunError where the file cannot be written."""
    with _told(path):
        if isinstance(data, bytes):
            run.write_bytes(path, data)
        else:
            run.write_ply(path, data)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Whatever the file system refuses, as a sentence."""
    try:
        yield
    except OSError as error:
        raise RunError(f"{path} cannot be written ({error.strerror or error}); free it, or name another folder with --out.") from error


def recorded(folder: Path) -> dict[str, Any]:
    """format → what an earlier export wrote into the folder."""
    try:
        record = json.loads((folder / RECORD).read_bytes())
    except (OSError, ValueError):
        return {}
    is_ours = isinstance(record, dict) and record.get("schema") == "semquery/export" and isinstance(record.get("formats"), dict)
    return {name: each for name, each in record["formats"].items() if _is_a_list_of_files(each)} if is_ours else {}


def _is_a_list_of_files(each: Any) -> bool:
    return isinstance(each, dict) and isinstance(each.get("files"), list) and all(isinstance(name, str) for name in each["files"])


def forget(folder: Path, names: set[str]) -> None:
    """Remove files that an earlier export wrote; nothing outside the folder."""
    for path in (folder / name for name in names):
        if path.resolve().is_relative_to(folder.resolve()) and path.is_file():
            with _told(path):
                path.unlink()
                if path.parent != folder and not any(path.parent.iterdir()):
                    path.parent.rmdir()


def written_lines(paths: Sequence[Path]) -> list[str]:
    """What was written, with sizes: a line for each file, and one for all files of an inner folder."""
    folder, lines = paths[-1].parent, dict[Path, list[int]]()
    for path in paths:
        names = path.relative_to(folder).parts
        lines.setdefault(path if len(names) == 1 else folder / names[0], []).append(path.stat().st_size)
    inner = {path: "" if path in paths else f"{len(sizes)} files, " for path, sizes in lines.items()}
    return [f"{path}{'/' if inner[path] else ''}  ({inner[path]}{_size(sum(sizes))})" for path, sizes in lines.items()]


def _size(count: float | int) -> str:
    for unit in ("bytes", "kB", "MB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
