"""The FAUST protocol over a folder of scans: `python -m eval reasoning faust`.

An answer is a file ANSWERS/MESH.json: a list with the name of a label for every face of the mesh, or for every vertex; "" and
"unknown" are no label. Faces become vertices by the published rule. Without answers the ceiling of that rule alone is measured.
Writes results.json (IoU of every mesh and label) and faust.md to OUT.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int32

from eval.metrics.resampling import mean_interval
from eval.reasoning.faust import (
    LABELS,
    FaustScores,
    Grain,
    Scan,
    ceiling,
    faust_scores,
    label_numbers,
    read_scans,
    scan_ious,
    vertex_labels,
)
from eval.report import markdown

NOTHING = ("", "unknown")


@dataclass(frozen=True)
class FaustConfig:
    """Score labels of FAUST's scans, in SATR's layout (scans/*.obj, meshes.txt, coarse_gt.json, fine_grained_gt.json).

    An answer is ANSWERS/MESH.json: the name of a label for every face, or for every vertex; "" = none.
    """

    data: Path
    """Folder in SATR's layout. The scans need a licence of their own and are not part of this."""
    out: Path
    """Folder for results.json and faust.md."""
    answers: Path | None = None
    """Folder of answers; without it the ceiling of the vertex rule alone is measured."""
    grain: Grain = "fine"
    """coarse: 4 labels; fine: 17."""


def run_faust(config: FaustConfig) -> dict[str, FaustScores]:
    """Score every mesh, print the table, write it to OUT. Raises ValueError for what is missing or broken."""
    if config.answers is not None and not config.answers.is_dir():
        raise ValueError(f"There is no folder {config.answers}; answers are ANSWERS/MESH.json.")
    names, ious = [], {"ceiling of the vertex rule": [], **({"answers": []} if config.answers else {})}
    for scan in read_scans(config.data, config.grain):
        names.append(scan.name)
        ious["ceiling of the vertex rule"].append(scan_ious(ceiling(scan), scan, config.grain))
        if config.answers:
            ious["answers"].append(scan_ious(read_labels_of(config.answers / f"{scan.name}.json", scan, config.grain), scan, config.grain))
    tables = {method: np.array(rows) for method, rows in ious.items()}
    scores = {method: faust_scores(table) for method, table in tables.items()}
    text = report(scores, config.grain, len(names))
    config.out.mkdir(parents=True, exist_ok=True)
    said = {"config": json.loads(json.dumps(asdict(config), default=str)), "labels": LABELS[config.grain], "meshes": names,
            "iou": {method: _plain(table) for method, table in tables.items()}}
    (config.out / "results.json").write_text(json.dumps(said, indent=1) + "\n")
    (config.out / "faust.md").write_text(text)
    print(text)
    return scores


def read_labels_of(path: Path, scan: Scan, grain: Grain) -> Int32[np.ndarray, " n"]:
    """The label of every vertex from a kept answer. Raises ValueError where it is missing, or of another size or other labels."""
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"There is no answer {path}; expected one for every mesh of meshes.txt.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no JSON ({error}); expected a list of labels.") from error
    if not isinstance(names, list) or len(names) not in (len(scan.faces), len(scan.vertices)):
        found = f"{len(names)} labels" if isinstance(names, list) else f"a {type(names).__name__}"
        raise ValueError(f"{path} holds {found}; expected one for each of {len(scan.faces)} faces or {len(scan.vertices)} vertices.")
    is_known = np.array([name not in NOTHING for name in names])
    labels = np.full(len(names), -1, np.int32)
    labels[is_known] = label_numbers([name for name in names if name not in NOTHING], grain, str(path))
    return vertex_labels(labels, scan.faces, len(scan.vertices)) if len(names) == len(scan.faces) else labels


def report(scores: dict[str, FaustScores], grain: Grain, num_meshes: int) -> str:
    """faust.md: a column a method, a row a label."""
    rows = [[label, *(_number(s.per_label[k]) for s in scores.values())] for k, label in enumerate(LABELS[grain])]
    intervals = {method: mean_interval(s.per_mesh) for method, s in scores.items()}
    spread = ["" if np.isnan(low) else f"{low:.3f} to {high:.3f}" for _, low, high in intervals.values()]
    lines = [
        f"# FAUST, {grain}: {num_meshes} meshes",
        "IoU over vertices. A vertex takes the label of the last face in file order that touches it; the ceiling is what that rule makes "
        "of perfect faces (the label on which two corners agree).",
        markdown([["", *scores], ["mIoU over labels (SATR)", *(_number(s.overall) for s in scores.values())],
                  ["mean over meshes of their mIoU (Reasoning3D)", *(_number(s.mesh_mean) for s in scores.values())],
                  ["95 % over meshes", *spread], *rows])]
    return "\n\n".join(lines) + "\n"


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.3f}"


def _plain(table: Float64[np.ndarray, "m k"]) -> list[list[float | None]]:
    """Numbers that JSON knows: None for nan."""
    return [[None if np.isnan(x) else float(x) for x in row] for row in table]
