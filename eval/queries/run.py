"""Queries with known answers, put to every text encoder at hand.

    python -m eval queries --out DIR                                          procedural scenes, the encoder by spelling
    python -m eval queries --out DIR --partnet FOLDER --encoders lexical MODEL-FOLDER

Scenes come with their true tree and true names (see `known`), so what is measured is the asking alone. Writes
results.json, queries.md, failures.md and queries.png to DIR.
"""

import hashlib
import json
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

from eval.queries.asking import Asked, ask_all, asking_table, steadiness_table
from eval.queries.calibrating import calibrate
from eval.queries.known import DESCRIPTIONS, Known, known_scenes, read_descriptions
from eval.queries.measure import Labels, Method, Outcome, Scorer, encoder_of, measure
from eval.queries.report import auroc_table, failures, floors, kinds_table, methods_table, write_chart
from eval.queries.shortlists import shortlist_table
from eval.queries.written import HALVES, SETS
from eval.trees import SUITE
from semquery.query import QueryConfig


@dataclass(frozen=True)
class QueriesConfig:
    """Written queries on scenes whose parts and names are known."""

    out: Path
    """Folder for results.json, queries.md, failures.md and queries.png."""
    scenes: tuple[str, ...] = SUITE
    """Procedural scenes; none with a bare --scenes."""
    partnet: Path | None = None
    """Folder of PartNet-Mobility objects, each of which becomes a scene too."""
    encoders: tuple[str, ...] = ("lexical",)
    """lexical, and folders of checkpoints."""
    labels: tuple[Labels, ...] = ("names", "described")
    """names: the true names alone; described: with the synonyms and functions of descriptions.json."""
    scorers: tuple[Scorer, ...] = ("auto", "lerf", "cosine", "zscore")
    """How similarities are read."""
    num_points: int = 20_000
    """Surface points of each scene."""
    asking: bool = True
    """Also: questions without a model, recall of the shortlist, steadiness under dropped and added anchors."""
    query: QueryConfig = field(default_factory=QueryConfig)
    """How queries are answered; the scorer and, for the second asking, the threshold are set here."""


def run_queries(config: QueriesConfig) -> dict[Method, list[Outcome]]:
    """Measure, print the tables, write everything to OUT."""
    for name in config.encoders:
        print(f"{name}: {encoder_of(name).check()}")
    start, scenes = time.perf_counter(), known_scenes(config.scenes, config.partnet, config.num_points)
    descriptions = read_descriptions()
    outcomes = measure(scenes, config.encoders, config.labels, config.scorers, descriptions, config.query)
    asked = ask_all(scenes, config.encoders, descriptions) if config.asking else {}
    config.out.mkdir(parents=True, exist_ok=True)
    text = report(config, scenes, outcomes, asked, descriptions)
    (config.out / "queries.md").write_text(text)
    (config.out / "failures.md").write_text(failures(suited(outcomes), {known.name: known for known in scenes}))
    write_chart(config.out / "queries.png", suited(outcomes), floors(scenes, "report"), "report")
    (config.out / "results.json").write_text(json.dumps(record(config, outcomes, asked, time.perf_counter() - start), indent=1) + "\n")
    print(text)
    return outcomes


def suited(outcomes: Mapping[Method, list[Outcome]]) -> dict[Method, list[Outcome]]:
    """The methods with the scorer that suits their encoder, or all where none was left to choose."""
    return {m: found for m, found in outcomes.items() if m.scorer == "auto"} or dict(outcomes)


def report(
    config: QueriesConfig, scenes: Sequence[Known], outcomes: Mapping[Method, list[Outcome]], asked: Mapping[str, list[Asked]],
    descriptions: Mapping,
) -> str:
    """queries.md."""
    parts = [f"# Written queries: {sum(len(known.queries.queries) for known in scenes)} on {len(scenes)} scenes"]
    for half in HALVES[::-1]:
        parts += [f"## The half for {half}", methods_table(outcomes, half),
                  "Exactly right, by kind:", kinds_table(outcomes, floors(scenes, half), half),
                  "AUROC of the probability against absent parts, by kind of what is there:", auroc_table(suited(outcomes), half)]
    fitted = [f"- {Path(name).name}: {calibrate(scenes, name, descriptions)}" for name in config.encoders]
    parts += ["## Calibration, fitted on the half for tuning", "\n".join(fitted)]
    if asked:
        parts += ["## Questions without a language model", asking_table(asked),
                  "## Recall of the shortlist", shortlist_table(scenes, config.encoders, descriptions),
                  "## Anchors dropped and added at random (a simulated reader, no model)", steadiness_table(scenes, config.encoders, descriptions)]
    return "\n\n".join(parts) + "\n"


def record(config: QueriesConfig, outcomes: Mapping[Method, list[Outcome]], asked: Mapping[str, list[Asked]], seconds: float) -> dict:
    """results.json: what was measured, with what, on which queries."""
    files = [*sorted(SETS.glob("*.json")), DESCRIPTIONS]
    return {
        "config": json.loads(json.dumps(asdict(config), default=str)), "seconds": seconds,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in ("numpy", "semquery")}},
        "encoders": {name: encoder_of(name).identity for name in config.encoders},
        "sha256": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files},
        "outcomes": [{"method": asdict(method), "queries": [asdict(o) for o in found]} for method, found in outcomes.items()],
        "asked": {name: [asdict(a) for a in found] for name, found in asked.items()},
    }
