"""Objects of all data sets that can be read: found in a folder, read one by one."""

from pathlib import Path
from types import ModuleType

from eval.partnet.readers import glb, objaverse, partnet, partnext
from eval.partnet.readers.reference import Reference
from eval.partnet.records import Format, PartObject, TreeKind

READERS: dict[Format, ModuleType] = {"partnet": partnet, "mobility": partnet, "partnext": partnext, "objaverse": objaverse, "glb": glb}
LAYOUTS = """\
  PartNet v0            ID/result.json, ID/objs/*.obj
  PartNet-Mobility      ID/result.json, ID/textured_objs/*.obj
  PartNeXt              glbs/**/ID.glb with annotations/ID.json, or its tables
  PartObjaverse-Tiny    *_semantic.json, semantic_gt/ID.npy, ID.glb
  a hierarchy of yours  NAME.glb with NAME.json, or alone"""


def find_objects(data: Path) -> list[Reference]:
    """Every object in a folder (or the object that it is), in the order of ids; no mesh is opened.

    Raises ValueError where there is none, and where two have the same id.
    """
    data = Path(data)
    if not data.exists():
        raise ValueError(f"{data} does not exist: give a folder of objects, one of\n{LAYOUTS}")
    found: list[Reference] = []
    for module in dict.fromkeys(READERS.values()):
        taken = {reference.path for reference in found}  # a GLB that a data set explains is no GLB without explanation
        found += [reference for reference in module.find(data) if reference.path not in taken]
    if not found:
        raise ValueError(f"{data} holds no object that can be read; expected one of\n{LAYOUTS}")
    _check_ids(found)
    return sorted(found, key=lambda reference: reference.order)


def _check_ids(references: list[Reference]) -> None:
    first: dict[str, Reference] = {}
    for reference in references:
        other = first.setdefault(reference.id, reference)
        if other is not reference:
            raise ValueError(f"Two objects have the id {reference.id}: {other.path} and {reference.path}. Give a folder with one of them.")


def read_object(reference: Reference, tree: TreeKind) -> PartObject:
    """The object with one of its trees; raises ValueError where it is broken."""
    return READERS[reference.format].read(reference, tree)


def names_of(reference: Reference, tree: TreeKind) -> tuple[str, ...]:
    """The names of an object's parts; opens no mesh."""
    return READERS[reference.format].names(reference, tree)


def files_of(reference: Reference) -> list[Path]:
    """The files that an object is read from."""
    return READERS[reference.format].files(reference)
