"""How well part trees come out, on a scene whose true tree is known.

    python -m eval trees --out DIR                      exact geometry, every mask regime
    python -m eval trees --out DIR --geometry RUN       the surface of a trained radiance field

The stages are those of the command line, called on one run directory per mask regime and seed. The truth
of a surface point is the true leaf that most of its pixels show, whatever geometry made the point; points
whose pixels mostly show nothing are false geometry and count against the parts that hold them.

Mask regimes: exact (every visible node), sam and hard (synthetic noise on those, see `noise`), regions
(the scikit-image masks of the offline default, from the photos alone).
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Int, Int32

from eval.metrics import TreeScores, score_tree
from eval.noise import HARD, SAM_LIKE, exact_masks, noisy_masks
from semquery import stages
from semquery.fit import FitConfig
from semquery.masks import Regions
from semquery.parts import TreeConfig
from semquery.render import RayCaster
from semquery.scene import read_scene
from semquery.store import Run, RunError
from semquery.tabletop import OBJECTS, Tabletop, write_scene
from semquery.types import Cameras, MaskStack, PartTree, Surface

Regime = Literal["exact", "sam", "hard", "regions"]


@dataclass(frozen=True)
class TreesConfig:
    """Trees of the tabletop scene, measured against its true tree."""

    out: Path
    """Folder for the scene, the runs and trees.json."""
    geometry: Path | None = None
    """Run directory of a training on OUT/scene, whose observed surface is used; without it, the exact one."""
    regimes: tuple[Regime, ...] = ("exact", "sam", "hard", "regions")
    """Which masks to try."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of mask noise and training."""
    size: int = 160
    """Width and height of the photos, pixels."""
    num_views: int = 50
    """Photos of the scene, at most 50."""
    objects: tuple[str, ...] = OBJECTS
    """What stands in the scene."""
    fit: FitConfig = field(default_factory=FitConfig)
    """How the field is trained."""
    tree: TreeConfig = field(default_factory=TreeConfig)
    """How the tree is built."""


@dataclass(frozen=True)
class Row:
    """One measured tree."""

    regime: str
    geometry: str
    seed: int
    scores: TreeScores
    masks_per_view: float
    points: int  # of the surface
    seconds: float  # of training and tree together


def run_trees(config: TreesConfig) -> list[Row]:
    """Measure every regime with every seed, print the table, write it to OUT/trees.json."""
    scene = write_scene(config.out / "scene", config.size, config.num_views, num_heldout=0, objects=config.objects)
    rows = []
    for regime in config.regimes:
        for seed in config.seeds:
            rows.append(measure(config, scene, regime, seed))
            (config.out / "trees.json").write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    print(table(rows))
    return rows


def measure(config: TreesConfig, scene: Tabletop, regime: Regime, seed: int) -> Row:
    """One run: geometry, masks, field, tree, scores. Stages done before from the same inputs are kept."""
    trained = Run(config.geometry) if config.geometry else None
    geometry = trained.path.name if trained else "exact"
    run = Run(config.out / "runs" / f"{geometry}-{regime}-{seed}", create=True)
    cameras = read_scene(config.out / "scene")
    if trained:
        take_surface(run, trained, cameras)
    else:
        stages.observe_mesh(run, config.out / "scene" / "mesh.ply", cameras)
    write_regime(run, scene, cameras, regime, seed)
    stages.fit(run, replace(config.fit, seed=seed))
    parts = stages.build_tree(run, config.tree)
    surface, leaves = run.surface(), true_leaves(config.out / "scene")
    scores = score_surface(scene.parents, surface, leaves, parts)
    masks = float(np.mean([run.masks(name).num_masks for name in run.masked_views()]))
    seconds = sum(run.stage(stage)["seconds"] for stage in ("fit", "tree"))
    return Row(regime, geometry, seed, scores, masks, len(surface.points), seconds)


def take_surface(run: Run, trained: Run, cameras: Cameras) -> None:
    """Copy the observed surface of a trained run: its views, not its masks or field."""
    trained.need("observed")
    strangers = sorted(set(trained.observed_views()) - set(cameras.names))
    if strangers:
        raise RunError(f"{trained.path} saw views {strangers[:3]}… that the scene does not have: train it on OUT/scene.")
    shutil.copytree(trained / "observed", run / "observed", dirs_exist_ok=True)
    shutil.copy(trained / "cameras.json", run / "cameras.json")


def write_regime(run: Run, scene: Tabletop, cameras: Cameras, regime: Regime, seed: int) -> None:
    """The masks of every observed view."""
    shown = [k for k, name in enumerate(cameras.names) if name in set(run.observed_views())]
    if regime == "regions":
        stages.make_masks(run, [(cameras.names[k], Path(cameras.images[k])) for k in shown], Regions())
        return
    if not run.begin("masks", {"regime": regime, "seed": seed}):
        return
    caster = RayCaster(scene.vertices, scene.faces)
    for k in shown:
        run.write_masks(cameras.names[k], true_masks(scene, caster, cameras, k, regime, seed))
    run.done("masks", 0.0, seed=seed)


def true_masks(scene: Tabletop, caster: RayCaster, cameras: Cameras, view: int, regime: Regime, seed: int) -> MaskStack:
    """Masks of one view drawn from the true tree."""
    height, width = cameras.sizes[view]
    hits = caster.cast(cameras.T_world_cam[view], cameras.intrinsics[view], (int(height), int(width)))
    leaf = np.where(hits.mask, scene.part_of_face[hits.face], -1)
    if regime == "exact":
        return exact_masks(leaf, scene.parents)
    return noisy_masks(leaf, hits.normals, scene.parents, {"sam": SAM_LIKE, "hard": HARD}[regime], (seed, view))


def true_leaves(scene_folder: Path) -> dict[str, Int32[np.ndarray, "h w"]]:
    """The true leaf of every pixel of every view, -1 where there is nothing."""
    return {path.stem: np.load(path)["leaf"] for path in sorted((scene_folder / "truth").glob("*.npz"))}


def score_surface(
    true_parents: Int[np.ndarray, " a"], surface: Surface, leaves: Mapping[str, Int[np.ndarray, "h w"]], parts: PartTree
) -> TreeScores:
    """Scores of a predicted tree over the points of its surface."""
    leaf = carry(surface, leaves, len(true_parents))
    return score_tree(true_parents, leaf, parts.parents, parts.part_of_point)


def carry(surface: Surface, leaves: Mapping[str, Int[np.ndarray, "h w"]], num_true: int) -> Int32[np.ndarray, " n"]:
    """The leaf that most pixels of each point show; -1 where most show nothing. Pictures may differ in size."""
    votes = np.zeros((len(surface.points), num_true + 1), np.int32)
    for view, point in surface.point_of_pixel.items():
        leaf = leaves[view]
        row, column = (((np.arange(n) + 0.5) * m / n).astype(int) for n, m in zip(point.shape, leaf.shape, strict=True))
        shown, seen = leaf[np.ix_(row, column)], point >= 0
        np.add.at(votes, (point[seen], shown[seen]), 1)  # -1 is the last column
    winner = votes.argmax(1)
    return np.where(winner == num_true, -1, winner).astype(np.int32)


def table(rows: list[Row]) -> str:
    """The rows as text, and a mean where there are several seeds."""
    num_levels = max(len(row.scores.levels) for row in rows)
    heads = ["masks", "geometry", "seed", "m/view", "NC", *(f"L{k + 1}" for k in range(num_levels)),
             "sampled", "R50", "R75", "P50", "nodes", "points", "s"]
    cells = [_cells(row) for row in rows]
    for regime in dict.fromkeys(row.regime for row in rows):
        same = [_cells(row) for row in rows if row.regime == regime]
        if len(same) > 1:
            cells.append([*same[0][:2], "mean", *np.mean([c[3:] for c in same], axis=0)])
    text = [heads, *([c if isinstance(c, str) else f"{c:.3f}" if abs(c) <= 1 else f"{c:.4g}" for c in row] for row in cells)]
    widths = [max(len(line[k]) for line in text) for k in range(len(heads))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in text)


def _cells(row: Row) -> list:
    s = row.scores
    return [row.regime, row.geometry, str(row.seed), row.masks_per_view, s.nc, *s.levels, s.sampled_nc,
            s.recall50, s.recall75, s.precision50, float(s.num_nodes), float(row.points), row.seconds]
