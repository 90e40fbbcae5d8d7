"""How far each way of fusing bears each kind of noise: `python -m eval reasoning noise`.

A cell is one subject, one row (a set of views and a noise on the masks that an oracle draws in them) and one seed. Cells are
kept under OUT/cells as they are done; the same command goes on from there. Sizes in pixels are those of pictures 512 pixels wide, and are
scaled with the side. Rows without chance have one seed.

Notation
  f faces, k labels.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int32

from eval.reasoning.methods import ALONE, METHODS, MethodName, Right, found_by, label_of, measured
from eval.reasoning.subjects import Subject, subjects
from eval.reasoning.views import oracle_of, regions_of, render_faces, seen_faces
from semquery.fusion.graph import MeshGraph, mesh_graph
from semquery.fusion.viewpoints import Around
from semquery.segmenter import Noisy, Oracle
from semquery.segmenter.oracle import Noise

SCALE = 512  # width of the pictures in which noise is told in pixels
IN_PIXELS = ("dilate", "erode", "jitter")
WITHOUT_CHANCE = ("dilate", "erode", "box")


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    around: Around
    kind: Noise | None = None  # None: exact masks
    amount: float | int = 0

    @property
    def has_chance(self) -> bool:
        return self.kind is not None and self.kind not in WITHOUT_CHANCE


ROWS: tuple[Row, ...] = (
    Row("exact", "ring8"), Row("exact, 32 views", "fib32"), Row("box", "ring8", "box"),
    Row("dilate 8 px", "ring8", "dilate", 8), Row("dilate 16 px", "ring8", "dilate", 16), Row("jitter 16 px", "ring8", "jitter", 16),
    Row("speckle 10 %", "ring8", "speckle", 0.1), Row("speckle 30 %", "ring8", "speckle", 0.3),
    Row("wrong part 20 %", "ring8", "hallucinate", 0.2), Row("wrong part 40 %", "ring8", "hallucinate", 0.4),
    Row("wrong part 60 %", "ring8", "hallucinate", 0.6), Row("wrong part 40 %, 16 views", "fib16", "hallucinate", 0.4),
    Row("miss 30 %", "ring8", "miss", 0.3), Row("miss 60 %", "ring8", "miss", 0.6),
)


@dataclass(frozen=True)
class NoiseConfig:
    """Fuse masks that are exact, or broken in known ways, and compare the faces with the truth.

    Writes OUT/noise.md (tables with intervals), OUT/results.json, and a picture a subject. Needs no model and no data: by
    default on a figure and objects that are made here.
    """

    out: Path
    """Folder for noise.md, results.json, pictures, and cells/ (what is done; the same command goes on from there)."""
    subjects: tuple[str, ...] = ("figure-coarse", "figure-fine", "chair", "lamp", "scissors", "cabinet")
    """Meshes made here: figure-coarse (4 parts), figure-fine (17), chair, lamp, scissors, microwave, cabinet, plate; none with a bare
    --subjects."""
    scan: Path | None = None
    """Mesh of a body that stands along +y (a FAUST scan); it gets geometric parts, which are not FAUST's labels."""
    partnet: Path | None = None
    """Folder of PartNet objects; what is asked for are the names of the parts that own faces."""
    rows: tuple[str, ...] = tuple(row.name for row in ROWS)
    """Lines of the table."""
    methods: tuple[MethodName, ...] = METHODS
    """Ways of fusing (see eval/reasoning/methods.py)."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of what chance decides in the noise."""
    side: int = 512
    """Width and height of the views, pixels."""
    overwrite: bool = False
    """Throw away cells of other settings."""

    def __post_init__(self) -> None:
        if unknown := [name for name in self.rows if name not in {row.name for row in ROWS}]:
            raise ValueError(f"There is no row {unknown[0]!r}; expected some of {', '.join(repr(row.name) for row in ROWS)}.")
        if not self.rows or not self.methods or not self.seeds or self.side < 16:
            raise ValueError("Give at least one row, one method, one seed, and a side of 16 pixels or more.")


@dataclass(frozen=True)
class Cell:
    """What was measured of one subject, row and seed."""

    subject: str
    row: str
    seed: int
    num_faces: int
    num_labels: int
    seen: float  # share of the faces that some view shows
    seeable: float  # share of the faces that can be seen at all
    right: Mapping[str, Right]  # by method


def run_noise(config: NoiseConfig) -> list[Cell]:
    """Measure what is not yet kept, write tables and pictures."""
    from eval.reasoning.report import write_report

    makers = subjects(config.subjects, config.scan, config.partnet)
    _check_settings(config)
    cells = [cell for name, make in makers.items() for cell in _of_subject(config, name, make)]
    write_report(config, cells)
    return cells


def _of_subject(config: NoiseConfig, name: str, make) -> Iterator[Cell]:
    """The cells of a subject; its mesh is opened only where one is not kept."""
    wanted = [(row, seed) for row in ROWS if row.name in config.rows for seed in (config.seeds if row.has_chance else config.seeds[:1])]
    bench = None
    for row, seed in wanted:
        path = cell_path(config.out, name, row, seed)
        cell = read_cell(path, config.methods)
        if cell is None:
            bench = bench or Bench(make(), config.side)
            cell, labels = bench.measure(row, seed, config.methods)
            write_cell(path, cell, labels)
            values = ", ".join(f"{method} {right.seeable:.3f}" for method, right in cell.right.items())
            print(f"{name}, {row.name}, seed {seed}: {values}", flush=True)
        yield cell


class Bench:
    """One subject, its views rendered once for each set of cameras."""

    def __init__(self, subject: Subject, side: int) -> None:
        self.subject, self.side = subject, side
        self.graph: MeshGraph = mesh_graph(subject.vertices, subject.faces)
        self.seeable = seen_faces(render_faces(subject, "fib32", 2 * side), len(subject.faces))
        self._faces: dict[Around, dict[str, Int32[np.ndarray, "h w"]]] = {}

    def faces(self, around: Around) -> dict[str, Int32[np.ndarray, "h w"]]:
        if around not in self._faces:
            self._faces[around] = render_faces(self.subject, around, self.side)
        return self._faces[around]

    def measure(self, row: Row, seed: int, methods: tuple[MethodName, ...]) -> tuple[Cell, dict[str, Int32[np.ndarray, " f"]]]:
        """What every method makes of one row's noise: the numbers, and the label of every face."""
        subject, faces = self.subject, self.faces(row.around)
        segmenter = segmenter_of(oracle_of(subject, faces), row, seed, self.side)
        regions = {label: regions_of(segmenter, faces, label) for label in subject.labels}
        seen = seen_faces(faces, len(subject.faces))
        seeable = self.seeable | seen
        found = {method: found_by(method, self.graph, subject, regions) for method in methods}
        right = {method: measured(x, subject.label_of_face, seeable, seen, self.graph.area, method in ALONE) for method, x in found.items()}
        cell = Cell(subject.name, row.name, seed, len(subject.faces), subject.num_labels, float(seen.mean()), float(seeable.mean()), right)
        return cell, {method: label_of(x) for method, x in found.items()}


def segmenter_of(oracle: Oracle, row: Row, seed: int, side: int) -> Oracle | Noisy:
    """The oracle with the noise of a row; what is told in pixels is scaled with the side."""
    if row.kind is None:
        return oracle
    return Noisy(oracle, row.kind, row.amount * side / SCALE if row.kind in IN_PIXELS else row.amount, seed)


# ------------------------------------------------------------------ what is kept


def cell_path(out: Path, subject: str, row: Row, seed: int) -> Path:
    """Where a cell is kept, without suffix."""
    return out / "cells" / f"{subject}-{'-'.join(row.name.replace(',', '').replace('%', 'percent').split())}-{seed}"


def write_cell(path: Path, cell: Cell, labels: Mapping[str, Int32[np.ndarray, " f"]]) -> None:
    """The labels, then the numbers: a cell is there when its numbers are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path.with_name(f"{path.name}.npz"), **labels)
    whole = path.with_name(f".{path.name}.json")
    whole.write_text(json.dumps(asdict(cell), indent=1) + "\n", encoding="utf-8")
    whole.replace(path.with_name(f"{path.name}.json"))


def read_cell(path: Path, methods: tuple[MethodName, ...]) -> Cell | None:
    """A kept cell with these methods; None where there is none, or none that can be read."""
    try:
        held = json.loads(path.with_name(f"{path.name}.json").read_text(encoding="utf-8"))
        return Cell(**{**held, "right": {method: Right(**held["right"][method]) for method in methods}})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _check_settings(config: NoiseConfig) -> None:
    """Raises ValueError where OUT holds cells of other settings; with `overwrite` they are removed."""
    path, settings = config.out / "settings.json", settings_of(config)
    cells = config.out / "cells"
    if path.exists() and json.loads(path.read_text(encoding="utf-8")) != settings:
        if not config.overwrite:
            raise ValueError(f"{config.out} holds cells of other settings or other code; give another --out, or --overwrite.")
        for kept in (*cells.glob("*.json"), *cells.glob("*.npz")):
            kept.unlink()
    config.out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")


def settings_of(config: NoiseConfig) -> dict:
    """What decides a cell's numbers besides its subject, row and seed: the size of the views, the files that are read, the code."""
    import semquery

    package, own = Path(semquery.__file__).parent, Path(__file__).parent
    sources = [*sorted((package / "fusion").glob("*.py")), package / "attention.py", package / "segmenter" / "oracle.py",
               *(own / f"{name}.py" for name in ("bodies", "methods", "noise", "subjects", "views"))]
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    return {"side": config.side, "scan": str(config.scan), "partnet": str(config.partnet), "code": digest}
