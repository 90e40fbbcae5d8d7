"""How well part trees come out, on scenes whose true tree is known, beside rival methods on the same masks and points.

    python -m eval trees --out DIR                                   every scene, mask regime and seed, exact geometry
    python -m eval trees --out DIR --geometry exact trained          … and the surface of a radiance field trained on the photos
    python -m eval trees --out DIR --scenes --partnet FOLDER         PartNet-Mobility objects in place of the procedural scenes
    python -m eval trees --out DIR --baselines all --jobs 2          … beside the rivals, two cells at a time

A cell is one scene, geometry, mask regime and seed: a run directory on which the stages of the command line are called.
Cells that were measured with the same settings are kept, so an interrupted evaluation goes on where it stopped.
Everything of ours was tuned on the scenes of `TUNED_ON`; the others are for reporting.
"""

import json
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from eval.baselines import BASELINES
from eval.judge import Cell, Geometry, Judge, Row, entry_of, row_of
from eval.trained import take_surface, train_geometry
from eval.truth import Regime, Truth, scenes, write_regime, write_truth
from semquery import stages
from semquery.contrast import ContrastConfig
from semquery.fit import FitConfig
from semquery.manifest import as_config
from semquery.parts import TreeConfig
from semquery.store import Run
from semquery.types import PartTree, Surface

OURS = "semquery"
TUNED_ON = ("tabletop", "chair", "microwave")
SUITE = ("tabletop", "chair", "microwave", "lamp", "scissors", "cabinet", "plate")


@dataclass(frozen=True)
class TreesConfig:
    """Part trees of scenes whose true tree is known."""

    out: Path
    """Folder for the scenes, the runs, trees.json, trees.md and a picture per scene."""
    scenes: tuple[str, ...] = SUITE
    """Procedural scenes; none with a bare --scenes."""
    partnet: Path | None = None
    """Folder of PartNet-Mobility objects, each of which becomes a scene too."""
    geometry: tuple[Geometry, ...] = ("exact",)
    """exact: the mesh itself; trained: the surface of a radiance field trained on the photos (some minutes a scene)."""
    regimes: tuple[Regime, ...] = ("exact", "sam", "hard", "regions")
    """Which masks to try."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of mask noise and training."""
    baselines: tuple[str, ...] = ()
    """Rivals to measure beside ours: names, or all."""
    size: int = 128
    """Width and height of the photos, pixels."""
    num_views: int = 48
    """Photos of each scene."""
    num_heldout: int = 10
    """Photos of each scene that no training sees, for the scores in 2D."""
    baseline_seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds the rivals are measured with: they take several times as long as ours."""
    jobs: int = 1
    """Cells measured at a time, each on one thread."""
    fit: FitConfig = field(default_factory=FitConfig)
    """How the field is trained; the rivals' too, but for their losses."""
    tree: TreeConfig = field(default_factory=TreeConfig)
    """How our tree is built."""


def run_trees(config: TreesConfig) -> list[Row]:
    """Measure every cell, print the tables, write them and the pictures to OUT."""
    from eval.report import write_report

    config = checked(config)
    makers = scenes(config.scenes, config.partnet)
    for name in makers:
        truth = open_truth(config, name)
        if "trained" in config.geometry:
            train_geometry(config.out / "geometry" / name, truth)
    cells = [Cell(scene, geometry, regime, seed) for geometry in config.geometry for seed in config.seeds
             for scene in makers for regime in config.regimes]
    rows = [row for measured in _each(config, cells) for row in measured]
    write_report(config, rows)
    return rows


def checked(config: TreesConfig) -> TreesConfig:
    """The configuration with `all` spelled out; ValueError before any work where it cannot be run."""
    names = tuple(BASELINES) if "all" in config.baselines else config.baselines
    if unknown := [name for name in names if name not in BASELINES]:
        raise ValueError(f"There is no baseline {unknown[0]!r}; choose from {', '.join(BASELINES)}, or all.")
    if not scenes(config.scenes, config.partnet):
        raise ValueError("There is nothing to measure: name scenes, or give a folder of objects with --partnet.")
    if empty := [name for name in ("geometry", "regimes", "seeds") if not getattr(config, name)]:
        raise ValueError(f"--{empty[0]} is empty; give at least one.")
    if config.jobs < 1:
        raise ValueError(f"--jobs is {config.jobs}; give 1 or more.")
    if config.out.exists() and not config.out.is_dir():
        raise ValueError(f"{config.out} is a file; --out is a folder, made if it is not there.")
    return replace(config, baselines=names)


def open_truth(config: TreesConfig, name: str) -> Truth:
    """A scene of the evaluation, its capture written if it is not there."""
    make = scenes(config.scenes, config.partnet)[name]
    return write_truth(config.out / "scenes" / name, name, make, config.size, config.num_views, config.num_heldout)


def _each(config: TreesConfig, cells: list[Cell]) -> Iterator[list[Row]]:
    """The rows of every cell, `jobs` at a time, in the order of the cells."""
    bar = stages.progress(None, "cells", total=len(cells))
    if config.jobs == 1:
        for cell in cells:
            yield measure(config, cell)
            bar.update(1)
        return
    with ProcessPoolExecutor(config.jobs, get_context("spawn"), _one_thread) as pool:
        pending = {pool.submit(measure, config, cell): k for k, cell in enumerate(cells)}
        found: dict[int, list[Row]] = {}
        for done in as_completed(pending):
            found[pending[done]] = done.result()
            bar.update(1)
    yield from (found[k] for k in range(len(cells)))


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)  # several processes on few cores: more threads than cores slow all of them down
    os.environ["TQDM_DISABLE"] = "1"


# ------------------------------------------------------------------ one cell


def measure(config: TreesConfig, cell: Cell) -> list[Row]:
    """The rows of one cell; those measured before with the same settings are read back."""
    run = Run(config.out / "runs" / cell.name, create=True)
    rivals = config.baselines if cell.seed in config.baseline_seeds else ()
    kept = _kept(run, config)
    if all(name in kept for name in (OURS, *rivals)):
        return [kept[name] for name in (OURS, *rivals)]
    truth = open_truth(config, cell.scene)
    if cell.geometry == "trained":
        take_surface(run, config.out / "geometry" / cell.scene, truth)
    else:
        stages.observe_mesh(run, truth.folder / "mesh.ply", truth.cameras)
    write_regime(run, truth, cell.regime, cell.seed)
    ours = _ours(run, config, cell.seed)
    judge = Judge(truth, run, cell)
    kept[OURS] = kept.get(OURS) or judge.row(OURS, *ours)
    for name, parts, seconds in _rivals(run, config, cell.seed, [name for name in rivals if name not in kept]):
        kept[name] = judge.row(name, parts, seconds)
        np.savez_compressed(run / f"{name}.npz", parents=parts.parents, part_of_point=parts.part_of_point)  # for the pictures
    # rivals that are not asked for this time stay
    (run / "rows.json").write_text(json.dumps({"asked": _settings(config), "rows": [*map(entry_of, kept.values())]}, indent=1) + "\n")
    return [kept[name] for name in (OURS, *rivals)]


def _settings(config: TreesConfig) -> dict:
    """What a row depends on beside its cell, as JSON gives it back."""
    return json.loads(json.dumps(as_config({"fit": config.fit, "tree": config.tree})))


def _kept(run: Run, config: TreesConfig) -> dict[str, Row]:
    """Rows by method, where they were measured with the same settings."""
    note = run / "rows.json"
    kept = json.loads(note.read_text()) if note.exists() else {"asked": None, "rows": []}
    return {row.method: row for row in map(row_of, kept["rows"])} if kept["asked"] == _settings(config) else {}


def _ours(run: Run, config: TreesConfig, seed: int) -> tuple[PartTree, float]:
    """Our tree, and the seconds it took."""
    fit, last = replace(config.fit, seed=seed), run.stage("fit")
    stages.fit(run, fit, overwrite=last is not None and last["config"] != as_config(fit))
    parts = stages.build_tree(run, config.tree, overwrite=run.stage("tree") is not None)
    return parts, sum(run.stage(stage)["seconds"] for stage in ("fit", "tree"))


def _rivals(run: Run, config: TreesConfig, seed: int, names: Sequence[str]) -> Iterator[tuple[str, PartTree, float]]:
    """Name, tree and seconds of these baselines; those that want the same losses share one field."""
    fields: dict[ContrastConfig | None, tuple[Surface, float]] = {}
    masks = {name: run.masks(name) for name in run.observed_views()}
    for name in names:
        rival = BASELINES[name]
        if rival.contrast not in fields:
            fields[rival.contrast] = _with_features(run, config, rival.contrast, seed)
        surface, seconds = fields[rival.contrast]
        start = time.perf_counter()
        parts = rival.build(surface, masks)
        yield name, parts, seconds + time.perf_counter() - start


def _with_features(run: Run, config: TreesConfig, contrast: ContrastConfig | None, seed: int) -> tuple[Surface, float]:
    """The run's surface with the features of a field trained on these losses, and the seconds it took."""
    start, surface = time.perf_counter(), run.surface()
    if contrast is None:
        return surface, 0.0
    trainer = stages.open_fit(run, replace(config.fit, contrast=contrast, seed=seed))
    trainer.train(trainer.optimizer())
    features = trainer.field.at(surface.points).astype(np.float16)
    return replace(surface, features=features), time.perf_counter() - start
