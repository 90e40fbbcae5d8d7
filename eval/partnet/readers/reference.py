"""Where an object of a data set lies, before anything of it is read.

Every module of a data set has four functions:
  find(data: Path) -> list[Reference]                          its objects in a folder, [] where there are none; opens no mesh
  read(reference: Reference, tree: TreeKind) -> PartObject     one of them; raises ValueError where it is broken
  names(reference: Reference, tree: TreeKind) -> tuple[str, ...]   the names in its tree; opens no mesh
  files(reference: Reference) -> list[Path]                    what `read` reads of it, for the hashes of a sample
"""

import re
from dataclasses import dataclass
from pathlib import Path

from eval.partnet.records import Format


@dataclass(frozen=True)
class Reference:
    """An object that can be read: found by the names of files alone, no mesh was opened."""

    format: Format
    id: str  # of the annotation; where there are several of one model, the lowest is drawn
    path: Path  # its folder or file
    category: str  # "" where no small file tells
    model: str  # objects of one model are one draw
    key: str = ""  # of the row, where many objects share one file

    @property
    def order(self) -> tuple[bool, int, str]:
        """Sorts ids: whole numbers by value, before all others by their letters."""
        number = re.fullmatch("[0-9]{1,18}", self.id)
        return (False, int(self.id), self.id) if number else (True, 0, self.id)
