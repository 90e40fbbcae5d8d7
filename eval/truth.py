"""Scenes whose every part is known, on disk: their captures, their masks by regime, the truth of surface points.

The truth of a surface point is the true part that most of its pixels show, whatever geometry made the point;
points whose pixels mostly show nothing are false geometry and count against the parts that hold them.

Mask regimes: exact (every visible node), sam and hard (synthetic noise on those, see `noise`), regions
(the scikit-image masks of the offline default, from the photos alone).
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32, Int, Int32

from eval.noise import HARD, SAM_LIKE, exact_masks, noisy_masks
from eval.objects import SCENES, views_of
from eval.partnet import read_mobility
from semquery import stages, tabletop
from semquery.masks import Regions
from semquery.procedural import KnownScene, write_scene
from semquery.render import RayCaster
from semquery.scene import read_scene
from semquery.store import Run
from semquery.types import Cameras, MaskStack, Surface

Regime = Literal["exact", "sam", "hard", "regions"]


@dataclass(frozen=True)
class Truth:
    """A scene and its capture. Views are named; `heldout` views are seen by no training."""

    name: str
    folder: Path
    scene: KnownScene

    @cached_property
    def caster(self) -> RayCaster:
        return RayCaster(self.scene.vertices, self.scene.faces)

    @cached_property
    def cameras(self) -> Cameras:
        return read_scene(self.folder)

    @cached_property
    def heldout(self) -> Cameras:
        return read_scene(self.folder / "heldout")

    def leaves(self, heldout: bool = False) -> dict[str, Int32[np.ndarray, "h w"]]:
        """The smallest true part of every pixel of every view, -1 where there is nothing."""
        folder = self.folder / "heldout" if heldout else self.folder
        return {path.stem: np.load(path)["leaf"] for path in sorted((folder / "truth").glob("*.npz"))}

    def points(self, view: int) -> Float32[np.ndarray, "h w 3"]:
        """The true 3D point behind every pixel of a held-out view."""
        height, width = self.heldout.sizes[view]
        return self.caster.cast(self.heldout.T_world_cam[view], self.heldout.intrinsics[view], (int(height), int(width))).points


# ------------------------------------------------------------------ scenes


def scenes(names: tuple[str, ...], partnet: Path | None) -> dict[str, Callable[[], KnownScene]]:
    """Makers of the scenes asked for: by name, then every object of a folder of PartNet-Mobility objects."""
    known = {"tabletop": tabletop.build, **SCENES}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"There is no scene {unknown[0]!r}; choose from {', '.join(known)}.")
    makers = {name: known[name] for name in names}
    if partnet is not None:
        objects = sorted(path.parent for path in partnet.glob("*/result.json"))
        if not objects:
            raise ValueError(f"{partnet} holds no PartNet-Mobility object: expected folders with a result.json in each.")
        makers |= {f"partnet-{path.name}": partial(read_mobility, path) for path in objects}
    return makers


def write_truth(folder: Path, name: str, make: Callable[[], KnownScene], size: int, num_views: int, num_heldout: int) -> Truth:
    """The scene's capture in a folder, written once; raises ValueError when the folder holds one of other settings."""
    scene, note = make(), folder / "capture.json"
    settings = {"size": size, "views": num_views, "heldout": num_heldout, "faces": len(scene.faces)}
    if note.exists():
        if json.loads(note.read_text()) != settings:
            raise ValueError(f"{folder} was written with {note.read_text().strip()}, asked for is {json.dumps(settings)}. Use another folder.")
        return Truth(name, folder, scene)
    if name == "tabletop":
        tabletop.write_scene(folder, size, num_views, num_heldout)
    else:
        write_scene(folder, scene, views_of(scene, num_views), views_of(scene, num_heldout, heldout=True), size)
    note.write_text(json.dumps(settings) + "\n")
    return Truth(name, folder, scene)


# ------------------------------------------------------------------ masks


def write_regime(run: Run, truth: Truth, regime: Regime, seed: int) -> None:
    """The masks of every observed view of a run."""
    cameras, observed = truth.cameras, set(run.observed_views())
    shown = [k for k, name in enumerate(cameras.names) if name in observed]
    if regime == "regions":
        stages.make_masks(run, [(cameras.names[k], Path(cameras.images[k])) for k in shown], Regions())
        return
    if not run.begin("masks", {"regime": regime, "seed": seed}):
        return
    for k in shown:
        run.write_masks(cameras.names[k], true_masks(truth, k, regime, seed))
    run.done("masks", 0.0, seed=seed)


def true_masks(truth: Truth, view: int, regime: Regime, seed: int) -> MaskStack:
    """Masks of one view drawn from the true tree."""
    cameras, scene = truth.cameras, truth.scene
    height, width = cameras.sizes[view]
    hits = truth.caster.cast(cameras.T_world_cam[view], cameras.intrinsics[view], (int(height), int(width)))
    leaf = np.where(hits.mask, scene.part_of_face[hits.face], -1)
    if regime == "exact":
        return exact_masks(leaf, scene.parents)
    return noisy_masks(leaf, hits.normals, scene.parents, {"sam": SAM_LIKE, "hard": HARD}[regime], (seed, view))


# ------------------------------------------------------------------ truth of a surface


def carry(surface: Surface, leaves: Mapping[str, Int[np.ndarray, "h w"]], num_true: int) -> Int32[np.ndarray, " n"]:
    """The part that most pixels of each point show; -1 where most show nothing. Pictures may differ in size."""
    votes = np.zeros((len(surface.points), num_true + 1), np.int32)
    for view, point in surface.point_of_pixel.items():
        leaf = leaves[view]
        row, column = (((np.arange(n) + 0.5) * m / n).astype(int) for n, m in zip(point.shape, leaf.shape, strict=True))
        shown, seen = leaf[np.ix_(row, column)], point >= 0
        np.add.at(votes, (point[seen], shown[seen]), 1)  # -1 is the last column
    winner = votes.argmax(1)
    return np.where(winner == num_true, -1, winner).astype(np.int32)
