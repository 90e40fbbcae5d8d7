"""Kept answers to published queries, scored: `python -m eval reasoning answers`.

An answer is a file ANSWERS/SCENE/ROW.npy with one boolean for every point of the scene (ROW: of the query in its file, from 0).
A query without a file counts as answered with nothing, and the report says how many there are. Beside the answers stands the floor
of answering every query with the whole scene.

Writes results.json (every query's counts) and answers.md to OUT.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from eval.metrics.grounding import Overlaps, grounding, miou_interval, overlap, overlaps
from eval.reasoning.readers import DIALECTS, DialectName, ReasoningQuery, SceneLabels, find_scene, read_queries
from eval.report import markdown


@dataclass(frozen=True)
class AnswersConfig:
    """Score answers to Reason3D, Instruct3D, Intent3D, VG-w/o-ON, 3D ReasonSeg or Surprise3D.

    An answer is ANSWERS/SCENE/ROW.npy: a boolean for every point of the scene; ROW counts the queries of the file from 0.
    """

    queries: Path
    """JSON file of the data set."""
    format: DialectName
    """Which data set it is: the keys of its file, and what it takes for the truth (Reason3D: all points of a class)."""
    scenes: Path
    """Folder of scenes with labels: ID_reason.pth, ID.pth, ID.npz, or ID/ with ScanNet's or ScanNet++'s segments."""
    answers: Path
    """Folder of answers."""
    out: Path
    """Folder for results.json and answers.md."""


@dataclass(frozen=True)
class Answered:
    """The counts of one query."""

    id: str
    scene: str
    kind: str
    intersection: int
    union: int
    meant: int
    num_points: int
    is_missing: bool


def run_answers(config: AnswersConfig) -> list[Answered]:
    """Score every query, print the table, write it to OUT. Raises ValueError for what is missing or broken."""
    queries = read_queries(config.queries, config.format)
    if not config.answers.is_dir():
        raise ValueError(f"There is no folder {config.answers}; answers are ANSWERS/SCENE/ROW.npy.")
    scored = score_answers(queries, config.scenes, config.answers)
    text = report(scored, config.format)
    config.out.mkdir(parents=True, exist_ok=True)
    said = {"config": json.loads(json.dumps(asdict(config), default=str)), "truth": DIALECTS[config.format].truth,
            "queries": [asdict(a) for a in scored]}
    (config.out / "results.json").write_text(json.dumps(said, indent=1) + "\n")
    (config.out / "answers.md").write_text(text)
    print(text)
    return scored


def score_answers(queries: Sequence[ReasoningQuery], scenes: Path, answers: Path) -> list[Answered]:
    """Every query's counts; a scene is opened once for all of its queries."""
    by_scene = groupby(sorted(queries, key=lambda query: query.scene), key=lambda query: query.scene)
    return [_scored(query, labels, answers) for scene, asked in by_scene for labels in [find_scene(scenes, scene)] for query in asked]


def _scored(query: ReasoningQuery, labels: SceneLabels, answers: Path) -> Answered:
    meant, found = query.is_target(labels), read_answer(answers / f"{query.id}.npy", labels.num_points)
    intersection, union = overlap(np.zeros_like(meant) if found is None else found, meant)
    return Answered(query.id, query.scene, query.kind, intersection, union, int(meant.sum()), labels.num_points, found is None)


def read_answer(path: Path, num_points: int) -> Bool[np.ndarray, " n"] | None:
    """The mask that was kept, None where there is none. Raises ValueError for one of another type or size."""
    if not path.is_file():
        return None
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path} is no NumPy array ({error}).") from error
    if found.dtype != bool or found.shape != (num_points,):
        raise ValueError(f"{path} holds {found.dtype} {list(found.shape)}; expected a boolean for each of {num_points} points.")
    return found


def report(scored: Sequence[Answered], dialect: DialectName) -> str:
    """answers.md: a row for all queries and one a kind, and the floor."""
    missing, says = sum(a.is_missing for a in scored), DIALECTS[dialect]
    kinds = sorted({a.kind for a in scored})
    chosen = {"all": list(scored), **({kind: [a for a in scored if a.kind == kind] for kind in kinds} if len(kinds) > 1 else {})}
    rows = [_row(name, some, overlaps([(a.intersection, a.union) for a in some])) for name, some in chosen.items()]
    floor = _row("the whole scene", scored, overlaps([(a.meant, a.num_points) for a in scored]))
    head = ["queries", "number", "Acc@0.25", "Acc@0.5", "mIoU", "95 % over scenes", "gIoU", "cIoU"]
    lines = [f"# {says.title}: {len(scored)} queries on {len({a.scene for a in scored})} scenes", says.truth,
             "Acc@k: IoU strictly above k. mIoU: mean of I / (U + 1e-6) over all queries. gIoU: mean of I / U. cIoU: ΣI / ΣU.",
             markdown([head, *rows, floor])]
    return "\n\n".join(lines + ([f"{missing} queries have no answer and count as answered with nothing."] if missing else [])) + "\n"


def _row(name: str, some: Sequence[Answered], counts: Overlaps) -> list[str]:
    numbers = grounding(counts)
    _, low, high = miou_interval(counts, np.array([a.scene for a in some]))
    interval = "" if np.isnan(low) else f"{low:.3f} to {high:.3f}"
    return [name, str(numbers.num), *(f"{x:.3f}" for x in (numbers.acc25, numbers.acc50, numbers.miou)), interval,
            *(f"{x:.3f}" for x in (numbers.giou, numbers.ciou))]
