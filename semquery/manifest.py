"""What was made from what: the append-only record of a run's stages.

A stage writes a `start` line and a `done` line into run.jsonl, with its configuration and the sha256 of its
inputs. From these a later run knows what can be kept, what must be resumed and what no longer fits.
"""

import dataclasses
import functools
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

FORMAT = 1  # raised when an artefact changes meaning; older ones are refused, not guessed at

LATER = {"later": True}  # metadata of a field younger than runs: recorded only where it is not the default, so that they stay current

MOST_TOLD = 3  # differences that an error names

# stage → what it writes, and what --overwrite therefore clears
OUTPUTS = {
    "masks": ("masks",),
    "observe": ("observed",),
    "fit": ("fit.partial.safetensors", "field.safetensors", "surface.npz", "surface.ply", "pixels"),
    "tree": ("merge.npz", "parts.npz", "parts.json"),
    "label": ("labels.jsonl", "views"),
    "encode": ("codebook.npz", "codebook.json"),
}


class RunError(ValueError):
    """Something about a run directory that the user can mend; the message says how."""


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary sibling to write to; it takes the real name only when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def as_config(config: Any) -> Any:
    """A dataclass as JSON: its class name and its fields; a tensor-free dict of plain values."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        fields = {f.name: as_config(getattr(config, f.name)) for f in dataclasses.fields(config) if not _is_silent(f, getattr(config, f.name))}
        return {"class": type(config).__name__, **fields}
    if isinstance(config, Mapping):
        return {str(k): as_config(v) for k, v in config.items()}
    if isinstance(config, (list, tuple)):
        return [as_config(c) for c in config]
    return config if config is None or isinstance(config, (str, int, float, bool)) else str(config)


def _is_silent(field: dataclasses.Field, value: Any) -> bool:
    default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    return "later" in field.metadata and value == default


def sha256(path: Path) -> str:
    """Hash of a file's bytes, or of the names and hashes of a folder's files; "" when absent."""
    if path.is_dir():
        names = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
        lines = "".join(f"{p.relative_to(path)} {sha256(p)}\n" for p in names)
        return hashlib.sha256(lines.encode()).hexdigest()
    if not path.exists():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else hashlib.sha256(file.read()).hexdigest()


class Manifest:
    """The record of one directory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def manifest(self) -> list[dict]:
        """All lines of run.jsonl; a line cut off by a crash is dropped."""
        return list(json_lines(self.path / "run.jsonl"))

    def stage(self, name: str) -> dict | None:
        """The newest line of a stage."""
        return next((line for line in reversed(self.manifest()) if line["stage"] == name), None)

    def begin(
        self, stage: str, config: Any, inputs: Sequence[str] = (), overwrite: bool = False, keep: Sequence[str] = ()
    ) -> bool:
        """Whether a stage has to run. Raises RunError when what is there was made from something else.

        False: done before, from the same inputs. True: never run, interrupted (resume), or overwritten, in which
        case what it made before is removed, but for the outputs in `keep`.
        """
        now = {"config": as_config(config), "inputs": {i: sha256(self.path / i) for i in inputs}}
        last = self.stage(stage)
        if last is not None and not overwrite:
            changed = _differences({k: last.get(k) for k in now}, now)
            if last.get("format") != FORMAT:
                changed = [f"format: {last.get('format')} → {FORMAT}"]
            if changed:
                more = f"; and {len(changed) - MOST_TOLD} more" if len(changed) > MOST_TOLD else ""
                raise RunError(
                    f"The {stage} in {self.path} was made from something else ({'; '.join(changed[:MOST_TOLD])}{more}). "
                    f"Give --overwrite to make it anew, or use another run directory."
                )
            if last["event"] == "done" and all((self.path / o).exists() for o in last["outputs"]):
                return False
            if last["event"] == "start":
                return True
        if overwrite:
            for name in set(OUTPUTS.get(stage, ())) - set(keep):
                _remove(self.path / name)
        self._log({"stage": stage, "event": "start", "format": FORMAT, **now})
        return True

    def done(self, stage: str, seconds: float, seed: int | None = None, **facts: Any) -> None:
        """Close a stage: its line repeats what `begin` recorded, with the cost and the outputs."""
        start = self.stage(stage)
        assert start is not None, f"{stage} was never begun"
        outputs = [o for o in OUTPUTS.get(stage, ()) if (self.path / o).exists()]
        self._log({**start, "event": "done", "outputs": outputs, "seconds": round(seconds, 2), "seed": seed,
                   "versions": _versions(), **facts})

    def reopen(self, stage: str) -> None:
        """Mark a finished stage as begun again from the same inputs, what it made left in place."""
        last = self.stage(stage)
        assert last is not None, f"{stage} was never begun"
        self._log({k: last[k] for k in ("stage", "format", "config", "inputs")} | {"event": "start"})

    def check_current(self, stage: str) -> None:
        """Raise when a stage's recorded inputs are no longer the ones in the directory."""
        last = self.stage(stage)
        if last is None or last["event"] != "done":
            return
        stale = [name for name, was in last["inputs"].items() if sha256(self.path / name) != was]
        if stale:
            raise RunError(
                f"{', '.join(stale)} changed since `semquery {stage}` was run on {self.path}. "
                f"Run it again: semquery {stage} {self.path} --overwrite"
            )

    def _log(self, line: dict) -> None:
        line = {**line, "time": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
        append_line(self.path / "run.jsonl", line)


def append_line(path: Path, line: dict) -> None:
    """Append one JSON line durably; a last line cut off by a crash is closed first, so it spoils nothing."""
    with path.open("ab+") as file:
        if file.seek(0, os.SEEK_END) and file.seek(-1, os.SEEK_END) >= 0 and file.read(1) != b"\n":
            file.write(b"\n")
        file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def json_lines(path: Path) -> Iterator[dict]:
    """The records of a file that has one on each line. A line that cannot be read is left out, and told on standard error."""
    return (record for _, record in numbered_lines(path))


def numbered_lines(path: Path) -> Iterator[tuple[int, dict]]:
    """Line numbers, from 1, and records."""
    lines = path.read_bytes().split(b"\n") if path.exists() else []  # not splitlines: answers may hold U+2028 and its like
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except ValueError:  # perhaps cut inside a character
            record = None
        if isinstance(record, dict):
            yield number, record
        elif line.strip() and number < len(lines):  # the last one may be the half line of a killed process
            _tell_left_out(path, number)


@functools.cache
def _tell_left_out(path: Path, number: int) -> None:
    """Once for each line, however often a file is read."""
    print(f"{path}: line {number} cannot be read and is left out", file=sys.stderr)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _differences(was: Any, now: Any, prefix: str = "") -> list[str]:
    if isinstance(was, dict) and isinstance(now, dict):
        keys = sorted({*was, *now})
        return [d for k in keys for d in _differences(was.get(k), now.get(k), f"{prefix}.{k}" if prefix else k)]
    if was == now:
        return []
    short = [str(x)[:12] if prefix.startswith("inputs") else _shortened(str(x)) for x in (was, now)]
    return [f"{prefix.removeprefix('config.')}: {short[0]} → {short[1]}"]


def _shortened(text: str, most: int = 60) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def _versions() -> dict[str, str]:
    found = {}
    for name in ("semquery", "torch", "numpy", "higra", "scikit-image", "nerfstudio"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
