"""Imports point one way: plugin, eval → commands → stages → store → stage mathematics → types."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
# Floors of the house, from the ground up; a module may import from its own floor and from those below.
FLOORS = [
    {"types"},
    {"ultrametric", "compiled", "devices", "geometry", "borders", "pieces", "prompts", "scene", "manifest", "phrases", "spans", "boxes", "loose_json"},
    {"linkage"},
    {"masks", "field", "contrast", "hierarchy", "render", "discs", "zbuffer", "export", "splatting", "facts", "relations"},
    {"rgbd", "coverage", "evidence", "facility", "fit", "pictures", "vlm", "resolve", "procedural", "tabletop"},
    {"text", "segmenter", "attention"},
    {"fusion", "lifting"},
    {"codebook"},
    {"groups", "parts", "views", "frames", "sightings", "query"},
    {"portraits", "strips"},
    {"labelling", "report"},
    {"understand", "ask"},
    {"journal", "segments"},
    {"store", "console"},
    {"opened"},
    {"stages"},
    {"viewer"},
    {"commands", "demo"},
    {"cli", "__main__", "__init__"},
]
FLOOR = {module: level for level, floor in enumerate(FLOORS) for module in floor}


def floor_of(module: str) -> int | None:
    """A module inside a package stands where its package stands."""
    return FLOOR.get(module, FLOOR.get(module.split(".")[0]))


FORBIDDEN = {"nerfstudio", "nerfstudio_plugin", "eval", "tinycudann"}


def imports(path: Path) -> set[str]:
    """Every module a file imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def library() -> dict[str, Path]:
    files = (ROOT / "semquery").rglob("*.py")
    return {".".join(f.relative_to(ROOT / "semquery").with_suffix("").parts).removesuffix(".__init__"): f for f in files}


def test_every_module_has_its_floor_and_every_floor_its_modules():
    assert [m for m in library() if m != "__init__" and floor_of(m) is None] == []
    assert set(FLOOR) <= set(library())


def test_no_module_imports_from_a_higher_floor():
    wrong = []
    for module, path in library().items():
        for name in imports(path):
            target = name.removeprefix("semquery.")
            above = floor_of(target) if name.startswith("semquery.") else None
            if above is not None and above > (floor_of(module) or 0):
                wrong.append(f"{module} → {target}")
    assert not wrong


def test_the_library_knows_neither_its_host_nor_its_judge():
    allowed = {"field.grid": {"tinycudann"}}  # optional, where present
    wrong = {m: found for m, path in library().items() if (found := {i.split(".")[0] for i in imports(path)} & FORBIDDEN - allowed.get(m, set()))}
    assert not wrong


def test_only_the_store_writes_into_a_run():
    """No module below the store opens files for writing."""
    wrong = []
    for module, path in library().items():
        if module != "__init__" and floor_of(module) < FLOOR["store"] and module not in ("procedural", "compiled", "manifest", "journal", "segments"):  # a scene is no run; a compiled kernel neither
            text = path.read_text()
            wrong += [f"{module}: {word}" for word in ("write_text", "write_bytes", '"wb"', "savez") if word in text]
    assert not wrong


def test_every_module_opens_with_what_it_is_about():
    files = [*library().values(), *(ROOT / "nerfstudio_plugin").glob("*.py"), *(ROOT / "eval").rglob("*.py")]
    assert [str(f) for f in files if not ast.get_docstring(ast.parse(f.read_text()))] == []
