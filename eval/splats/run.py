"""The evaluation of splats: every scene, way, mask regime and seed, each a run directory on which the stages are called.

The splats of a scene and seed are made (and optimised) once; all ways and regimes share them. Ways:

mesh         the surface is the mesh itself: what perfect geometry gives
surface      the splats' rendered depth; the field is trained at surface points
rasterised   the same surface; a pixel's feature is the blend of the field at the centres of its Gaussians
vectors      the same surface; a blend of vectors, one of each Gaussian's own
trained      the surface of a radiance field trained on the photos (`eval.trained`)

Cells that were measured with the same settings are kept, so an interrupted evaluation goes on where it stopped.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Int32

from eval.judge import Cell, Judge, Row, entry_of, row_of
from eval.splats.judge import CleanScores, SplatScores, score_clean, score_splats
from eval.splats.made import KnownSplats, MadeConfig, make_splats
from eval.splats.refine import RefineConfig, refine
from eval.trained import take_surface, train_geometry
from eval.truth import Regime, Truth, scenes, write_regime, write_truth
from semquery import stages
from semquery.export.splats import read_splats
from semquery.fit import FitConfig
from semquery.manifest import as_config
from semquery.parts import TreeConfig
from semquery.splatting import gaussians_of, ply_of
from semquery.splatting.clean import CleanConfig, clean
from semquery.splatting.features import RasterisedConfig
from semquery.splatting.surface import SplatSurface
from semquery.store import Run
from semquery.types import PartTree

Way = Literal["mesh", "surface", "rasterised", "vectors", "trained"]


@dataclass(frozen=True)
class SplatsConfig:
    """Part trees on Gaussian splats of scenes whose true tree, and the true part of each Gaussian, are known."""

    out: Path
    """Folder for the scenes, the splats, the runs, splats.json, splats.md and a picture per scene."""
    scenes: tuple[str, ...] = ("tabletop", "chair")
    """Procedural scenes."""
    ways: tuple[Way, ...] = ("mesh", "surface", "rasterised", "vectors")
    """Where surface and features come from (see the module's docstring)."""
    regimes: tuple[Regime, ...] = ("exact", "sam", "regions")
    """Which masks to try."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of splats, mask noise and training."""
    size: int = 128
    """Width and height of the photos, pixels."""
    num_views: int = 48
    """Photos of each scene."""
    num_heldout: int = 10
    """Photos of each scene that no training sees."""
    made: MadeConfig = field(default_factory=MadeConfig)
    """What the splats are like."""
    refine: RefineConfig = field(default_factory=lambda: RefineConfig(steps=0))
    """How they are optimised against the photos; by default not."""
    surface: SplatSurface = field(default_factory=SplatSurface)
    """How a surface is seen in them."""
    cleaning: CleanConfig = field(default_factory=CleanConfig)
    """Which Gaussians are left out."""
    most: int = 16
    """Gaussians that count in a pixel, of rasterised features."""
    fit: FitConfig = field(default_factory=FitConfig)
    """How the features are trained."""
    tree: TreeConfig = field(default_factory=TreeConfig)
    """How the tree is built."""


@dataclass(frozen=True)
class SplatRow:
    """One measured tree, and the labels it gives the Gaussians."""

    row: Row
    splats: SplatScores


@dataclass(frozen=True)
class Scene:
    """A scene's capture and splats, on disk."""

    truth: Truth
    folder: Path  # scene.ply, and a run `seen` with the surface that the views see
    splats: KnownSplats
    kept: Bool[np.ndarray, " g"]  # by the clean-up

    @property
    def cleaned(self) -> CleanScores:
        """How well the clean-up told floaters."""
        return score_clean(self.splats.leaf, self.kept)


def run_splats(config: SplatsConfig) -> list[SplatRow]:
    """Measure every cell, print the tables, write them and the pictures to OUT."""
    from eval.splats.report import write_report

    makers = scenes(checked(config).scenes, None)
    if "trained" in config.ways:
        for name in makers:
            train_geometry(config.out / "geometry" / name, open_truth(config, name))
    rows, cleaned = [], {}
    for name in makers:
        for seed in config.seeds:
            scene = open_scene(config, name, seed)
            cleaned[name, seed] = scene.cleaned
            rows += list(_measured(config, scene, seed))
    write_report(config, rows, cleaned)
    return rows


def checked(config: SplatsConfig) -> SplatsConfig:
    """The configuration; ValueError before any work where it cannot be run."""
    if empty := [name for name in ("scenes", "ways", "regimes", "seeds") if not getattr(config, name)]:
        raise ValueError(f"--{empty[0]} is empty; give at least one.")
    if config.fit.feature_rendering != "surface":
        raise ValueError("--fit.feature-rendering is chosen by --ways here; leave it out.")
    scenes(config.scenes, None)
    return config


def open_truth(config: SplatsConfig, name: str) -> Truth:
    """A scene of the evaluation, its capture written if it is not there."""
    make = scenes((name,), None)[name]
    return write_truth(config.out / "scenes" / name, name, make, config.size, config.num_views, config.num_heldout)


def open_scene(config: SplatsConfig, name: str, seed: int) -> Scene:
    """A scene's splats, made, optimised and looked at from all views if that is not done."""
    truth, folder = open_truth(config, name), config.out / "splats" / f"{name}-{seed}"
    settings = json.loads(json.dumps(as_config({"made": config.made, "refine": config.refine})))
    note = folder / "splats.json"
    if not note.exists():
        made = refine(make_splats(truth, config.made, seed), truth, config.refine, seed)
        folder.mkdir(parents=True, exist_ok=True)
        ply_of(made.gaussians).write(str(folder / "scene.ply"))
        np.save(folder / "leaf.npy", made.leaf)
        note.write_text(json.dumps({**settings, "spacing": made.spacing}) + "\n")
    told = json.loads(note.read_text())
    if {key: told[key] for key in settings} != settings:
        raise ValueError(f"{folder} holds splats of other settings ({note.read_text().strip()}). Use another folder.")
    gaussians = gaussians_of(read_splats(folder / "scene.ply"))
    splats = KnownSplats(gaussians, np.load(folder / "leaf.npy"), told["spacing"])
    if {"mesh", "trained"} != {*config.ways, "mesh", "trained"}:
        stages.observe_splats(Run(folder / "seen", create=True), folder / "scene.ply", truth.cameras, config.surface, config.cleaning)
    kept = clean(gaussians.means.numpy(), gaussians.scales.numpy(), gaussians.opacities.numpy(), config.cleaning).kept
    return Scene(truth, folder, splats, kept)


# ------------------------------------------------------------------ one cell


def _measured(config: SplatsConfig, scene: Scene, seed: int) -> Iterator[SplatRow]:
    for regime in config.regimes:
        for way in config.ways:
            yield measure(config, scene, Cell(scene.truth.name, way, regime, seed))


def measure(config: SplatsConfig, scene: Scene, cell: Cell) -> SplatRow:
    """One cell; one measured before with the same settings is read back."""
    run, asked = Run(config.out / "runs" / cell.name, create=True), _settings(config)
    note = run / "row.json"
    if note.exists() and (kept := json.loads(note.read_text()))["asked"] == asked:
        return read_row(kept["row"])
    _see(run, config, scene, cell)
    write_regime(run, scene.truth, cell.regime, cell.seed)
    fit, last = fit_of(config, cell), run.stage("fit")
    carriers = scene.splats.gaussians[torch.from_numpy(scene.kept)]
    stages.fit(run, fit, overwrite=last is not None and last["config"] != as_config(fit), splats=(carriers, None))
    parts = stages.build_tree(run, config.tree, overwrite=run.stage("tree") is not None)
    seconds = sum(run.stage(stage)["seconds"] for stage in ("fit", "tree"))
    row = Judge(scene.truth, run, cell).row("semquery", parts, seconds)
    opacity, true = scene.splats.gaussians.opacities.double().numpy(), scene.truth.scene.parents
    measured = SplatRow(row, score_splats(scene.splats.leaf, labelled(config, run, scene), opacity, true, parts.parents))
    note.write_text(json.dumps({"asked": asked, "row": entry(measured)}) + "\n")
    return measured


def fit_of(config: SplatsConfig, cell: Cell) -> FitConfig:
    """The training of a cell's way and seed."""
    if cell.geometry not in ("rasterised", "vectors"):
        return replace(config.fit, seed=cell.seed)
    carried_by = "field" if cell.geometry == "rasterised" else "vectors"
    return replace(config.fit, seed=cell.seed, feature_rendering="rasterised", rasterised=RasterisedConfig(config.most, carried_by))


def labelled(config: SplatsConfig, run: Run, scene: Scene) -> Int32[np.ndarray, " g"]:
    """The part of each Gaussian, as the library gives it; -1 of those that the clean-up left out."""
    return stages.labelled_gaussians(run, stages.SplatScene(scene.folder / "scene.ply", None, config.cleaning)).part


def _see(run: Run, config: SplatsConfig, scene: Scene, cell: Cell) -> None:
    """The surface of the cell's way."""
    if cell.geometry == "mesh":
        stages.observe_mesh(run, scene.truth.folder / "mesh.ply", scene.truth.cameras)
    elif cell.geometry == "trained":
        take_surface(run, config.out / "geometry" / cell.scene, scene.truth)
    else:
        take_surface(run, scene.folder / "seen", scene.truth)


def _settings(config: SplatsConfig) -> dict:
    """What a row depends on beside its cell and its splats, as JSON gives it back."""
    return json.loads(json.dumps(as_config({name: getattr(config, name) for name in ("surface", "cleaning", "most", "fit", "tree")})))


def entry(measured: SplatRow) -> dict:
    """A row as JSON has it; null where nothing could be counted."""
    return {**entry_of(measured.row), "splats": json.loads(json.dumps(asdict(measured.splats)), parse_constant=lambda _: None)}


def read_row(told: dict) -> SplatRow:
    """Inverse of `entry`."""
    of_splats = {name: float("nan") if value is None else value for name, value in told["splats"].items()}
    return SplatRow(row_of({name: value for name, value in told.items() if name != "splats"}), SplatScores(**of_splats))


def tree_of(config: SplatsConfig, cell: Cell) -> tuple[Run, PartTree]:
    """The run and tree of a measured cell."""
    run = Run(config.out / "runs" / cell.name)
    return run, run.parts()
