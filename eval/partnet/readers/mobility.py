"""Objects of PartNet-Mobility as scenes whose every part is known."""

import warnings
from pathlib import Path

from eval.partnet.readers.partnet import read_partnet
from eval.partnet.records import TreeKind
from semquery.procedural import KnownScene


def read_mobility(folder: Path | str, tree: TreeKind = "raw") -> KnownScene:
    """The scene of the object in a PartNet folder, with this one of its two trees; warns of what was left out."""
    thing = read_partnet(Path(folder), tree)
    for note in thing.notes:
        warnings.warn(f"{folder}: {note}", stacklevel=2)
    return thing.scene
