"""Answers of segmenters in a folder, one file each: what was asked once is not asked again.

An entry is KEY.npz; it is there whole or not at all, and holds no objects that would have to be trusted. Deleting entries, or the
whole folder, costs only the asking.
"""

import threading
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from semquery.manifest import atomic

_WRITING = threading.Lock()  # two threads with one question would write to one temporary file


@dataclass(frozen=True)
class SegmentFolder:
    """A shelf for segmenter.Cached; the folder is made when the first answer is kept."""

    path: Path

    def find(self, key: str) -> dict[str, np.ndarray] | None:
        """The arrays of an entry; None where there is none, or a damaged one."""
        try:
            with np.load(self.path / f"{key}.npz", allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        except (OSError, EOFError, ValueError, KeyError, NotImplementedError, AttributeError, zipfile.BadZipFile, zlib.error):
            return None

    def put(self, key: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Write an entry, in place of one that may be there."""
        with _WRITING, atomic(self.path / f"{key}.npz") as path, path.open("wb") as file:
            np.savez_compressed(file, **arrays)
