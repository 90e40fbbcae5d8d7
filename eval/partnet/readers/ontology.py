"""Which parts of PartNet are no parts: `regular_leg_base` says of which type the `chair_base` is.

PartNet's files stats/{before,after}_merging_label_ids/CATEGORY.txt have a line for every part: number, path of names, and `leaf`,
`subcomponents` or `subtypes`. What is directly inside a part of `subtypes` is a type of it.

Notation
  p parts.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from eval.partnet.records import TreeKind

FOLDERS: dict[TreeKind, tuple[str, ...]] = {
    "raw": ("before_merging_label_ids", "after_merging_label_ids"), "merged": ("after_merging_label_ids", "before_merging_label_ids")}


def find_ontology(folder: Path, category: str, tree: TreeKind) -> Path | None:
    """The file of a category beside the folder of an object, or beside the folder around that; it lies in stats/ or ontology/."""
    if not category or Path(category).name != category:
        return None
    for root in (folder.parent, folder.parent.parent):
        for name in ("stats", "ontology"):
            for sub in (*FOLDERS[tree], "."):
                if (path := root / name / sub / f"{category}.txt").is_file():
                    return path
    return None


def read_types(path: Path) -> frozenset[str]:
    """Paths of the parts that are types; raises ValueError for a file of another kind."""
    rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if bad := [row for row in rows if len(row) != 3 or row[2] not in ("leaf", "subcomponents", "subtypes")]:
        kinds, met = "leaf, subcomponents or subtypes", " ".join(bad[0])
        raise ValueError(f"{path} is no ontology of parts: expected lines of number, path and {kinds}; met “{met}”.")
    varied = {where for _, where, kind in rows if kind == "subtypes"}
    return frozenset(where for _, where, _ in rows if where.rpartition("/")[0] in varied)


def are_types(names: Sequence[str], parents: Int[np.ndarray, " p"], types: frozenset[str]) -> Bool[np.ndarray, " p"]:
    """Which parts of a tree, root last, are types by their paths."""
    paths = list(names)
    for part in range(len(names) - 2, -1, -1):
        paths[part] = f"{paths[parents[part]]}/{names[part]}"
    return np.array([path in types for path in paths])
