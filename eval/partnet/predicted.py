"""The same queries on the tree that the field finds: mesh → photos → masks → field → tree → names, and how much each costs.

Notation
  p true nodes, a atoms (as in `records`), u found nodes, k queries, t thresholds, c cells: surface points that lie in the
  same true and the same found nodes, d distinct true nodes.
Conventions
  Everything is measured on the points of the surface that the views show, all of one weight; what no view shows is not
  asked for. The tree scores of `eval.metrics.trees` take every face for its one owner's, all else goes by what nodes hold.
  True nodes of the same points (a part and its only part) are one to find, and whoever finds it may call it by any of
  their names. Neither root counts among what is to be found.
  Names are the labeller's, or to tell its share of the loss from the tree's: each found node takes the true names of the
  true node that it overlaps best, and is as relevant as can be to these and to nothing else.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int, Int32

from eval.metrics import contingency, score_tree
from eval.metrics.matching import ap50, label_aware_miou, leaves, matched, matched_rates
from eval.metrics.retrieval import iou_curves, known_mean, peak, retrieve_all_iou
from eval.partnet.config import PartnetConfig
from eval.partnet.methods.relevancy import relevancy_of_labels
from eval.partnet.records import Asked, PartObject, asked_of
from eval.truth import Truth, carry, write_regime
from eval.viewpoints import views_of
from semquery import stages
from semquery.fit import FitConfig
from semquery.procedural import write_scene
from semquery.store import Run
from semquery.types import PartTree


@dataclass(frozen=True)
class Predicted:
    """All numbers of one object's found tree; nan where there is nothing to measure."""

    masks: str  # where they came from: regions | sam
    points: int  # of the surface
    true_nodes: int  # distinct ones below the root that some point shows
    hidden_nodes: int  # true nodes below the root that no point shows
    nodes: int  # found, the root among them
    masks_per_view: float
    nc: float  # label-free scores of the tree, see eval.metrics.TreeScores
    sampled_nc: float
    purity: float
    recall50: float
    precision50: float
    matched_recall: float  # of the one-to-one matching at IoU ≥ .5
    matched_precision: float
    matched_miou: float  # over all true nodes, 0 for those without a match
    leaf_ap50: float  # leaves ranked by how much masks speak for them
    floor_miou: float  # of retrieving everything
    miou: tuple[float, ...]  # at each of THRESHOLDS, mean over the queries, with the labeller's names
    peak_miou: float
    peak_threshold: float
    label_aware_miou: float  # matched_miou with 0 for a node whose most relevant query is not its name
    true_names_miou: float  # the same two with true names: what is missing from 1 is the tree's share
    true_names_label_aware_miou: float
    failed: int  # found nodes without a name
    seconds: float = field(compare=False)

    def as_json(self) -> dict:
        """As JSON has it, which knows no nan: null in its place."""
        return json.loads(json.dumps(asdict(self)), parse_constant=lambda _: None)


def predict(thing: PartObject, config: PartnetConfig, folder: Path) -> Predicted:
    """Find the object's tree and names on a run directory in `folder`, and measure them.

    What was done there before with the same settings is not done again; what the stages say goes to folder/log.txt.
    Raises ValueError where nothing is to be predicted, where the folder holds another object's or another setting's
    work, and where the views show no parts to learn.
    """
    if config.predicted == "no":
        raise ValueError("Expected --predicted regions or sam, from which a tree can be found; got no.")
    if len(thing.parents) < 2:
        raise ValueError(f"{thing.id} is a single part, and there is no tree to be found in it; leave it out.")
    with _log(folder):
        run, truth = find_tree(thing, config, folder)
        labels = stages.label(run, config.vlm, config.label)
    surface, parts = run.surface(), run.parts()
    atom = carry(surface, atom_pictures(thing, truth), len(thing.area))
    (asked,) = (each for each in asked_of(thing) if each.kind == "name")
    relevancy = relevancy_of_labels(labels, parts.num_parts, [asked], config.encoder, config.index, config.temperature)["name"]
    return score(
        thing, asked, atom, parts, relevancy, masks=config.predicted, failed=sum(label.status == "failed" for label in labels.values()),
        masks_per_view=float(np.mean([run.masks(name).num_masks for name in run.masked_views()])),
        seconds=sum(run.stage(stage)["seconds"] for stage in ("observe", "masks", "fit", "tree", "label")),
    )


# ------------------------------------------------------------------ finding


def find_tree(thing: PartObject, config: PartnetConfig, folder: Path) -> tuple[Run, Truth]:
    """The run with the tree, on the exact surface of the mesh, and its truth."""
    truth = capture(thing, config, folder)
    run = Run(folder / "run", create=True)
    stages.observe_mesh(run, truth.folder / "mesh.ply", truth.cameras)
    write_regime(run, truth, config.predicted, config.seed)
    stages.fit(run, FitConfig(steps=config.predict.steps, seed=config.seed))
    stages.build_tree(run)
    return run, truth


def capture(thing: PartObject, config: PartnetConfig, folder: Path) -> Truth:
    """Photos and mesh of the object in folder/scene, written once."""
    note, scene = folder / "object.json", thing.scene
    arrays = (scene.vertices, scene.faces, scene.part_of_face, scene.parents, scene.colors)
    now = {"object": thing.id, "scene": hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest(),
           "masks": config.predicted, "seed": config.seed, **asdict(config.predict)}
    if not note.exists():
        write_scene(folder / "scene", scene, views_of(scene, config.predict.views), {}, config.predict.size)
        note.write_text(json.dumps(now, indent=1) + "\n")  # last: an interrupted capture is made anew
    elif (was := json.loads(note.read_text())) != now:
        changed = ", ".join(name for name in now if was.get(name) != now[name])
        raise ValueError(f"{folder} holds the tree found for another {changed}; use another folder, or remove this one.")
    return Truth(thing.id, folder / "scene", scene)


def atom_pictures(thing: PartObject, truth: Truth) -> dict[str, Int32[np.ndarray, "h w"]]:
    """The atom that each pixel of each view shows; -1 where there is nothing."""
    cameras, found = truth.cameras, {}
    for name, T_world_cam, intrinsics, (height, width) in zip(
            cameras.names, cameras.T_world_cam, cameras.intrinsics, cameras.sizes.tolist(), strict=True):
        face = truth.caster.cast(T_world_cam, intrinsics, (height, width)).face
        found[name] = np.where(face >= 0, thing.atom_of_face[face], -1).astype(np.int32)
    return found


@contextmanager
def _log(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log.txt").open("a") as log, redirect_stdout(log):
        yield


# ------------------------------------------------------------------ measuring


@dataclass(frozen=True)
class Cells:
    """The surface in sets of points that lie in the same true and the same found nodes."""

    weight: Float64[np.ndarray, " c"]  # points
    true: Bool[np.ndarray, "p c"]
    found: Bool[np.ndarray, "u c"]

    def iou(self) -> Float64[np.ndarray, "p u"]:
        """Of every true with every found node; 0 of two that hold nothing."""
        true, found = (self.true * self.weight), self.found.astype(np.float64)
        both = true @ found.T
        around = true.sum(1)[:, None] + found @ self.weight - both
        return both / np.where(around > 0, around, 1)


def cells_of(
    holds: Bool[np.ndarray, "p a"], atom_of_point: Int[np.ndarray, " n"],
    parents: Int[np.ndarray, " u"], part_of_point: Int[np.ndarray, " n"],
) -> Cells:
    """From the true atom (-1 = of no part) and the smallest found node (-1 = none) of each point."""
    number = contingency(atom_of_point, holds.shape[1], part_of_point, len(parents))
    atom, part = np.nonzero(number)
    below = np.eye(len(parents), dtype=bool)
    for node in range(len(parents) - 1):
        below[parents[node]] |= below[node]
    none = [np.zeros((len(rows), 1), bool) for rows in (holds, below)]
    return Cells(number[atom, part].astype(np.float64), np.hstack([holds, none[0]])[:, atom], np.hstack([below, none[1]])[:, part])


def distinct(true: Bool[np.ndarray, "p c"]) -> Bool[np.ndarray, "d p"]:
    """The true nodes in sets of the same points, without those that have none and those that have the root's."""
    wanted = np.flatnonzero(true.any(1) & (true != true[-1]).any(1))
    _, kind = np.unique(true[wanted], axis=0, return_inverse=True)
    together = np.zeros((len(np.unique(kind)), len(true)), bool)
    together[kind.reshape(-1), wanted] = True
    return together


def names_taken(iou: Float[np.ndarray, "p u"], positive: Bool[np.ndarray, "p k"]) -> Bool[np.ndarray, "u k"]:
    """Of every found node the names of the true nodes that it overlaps best, of several equal ones all; none where it overlaps none."""
    best = (iou == iou.max(0)) & (iou > 0)
    return (best.T.astype(np.float32) @ positive.astype(np.float32)) > 0


def names_said(relevancy: Float[np.ndarray, "u k"]) -> Bool[np.ndarray, "u k"]:
    """Of every found node the one query that it is most relevant to; none where several are, or all are 0."""
    best = (relevancy == relevancy.max(1, keepdims=True)) & (relevancy > 0)
    return best & (best.sum(1, keepdims=True) == 1)


def mean_iou(cells: Cells, positive: Bool[np.ndarray, "p k"], relevancy: Float[np.ndarray, "u k"]) -> Float64[np.ndarray, " t"]:
    """Mean over the queries of the IoU of what the found nodes retrieve with what the true nodes mean, at each of THRESHOLDS."""
    none_true, none_found = np.zeros(positive.shape, np.float32), np.zeros(relevancy.shape, bool)
    curves = iou_curves(  # true nodes are never retrieved, found ones never meant
        np.concatenate([cells.true, cells.found]), cells.weight,
        np.concatenate([positive, none_found]), np.concatenate([none_true, relevancy.astype(np.float32)]))
    return known_mean(curves)


def score(
    thing: PartObject, asked: Asked, atom_of_point: Int[np.ndarray, " n"], parts: PartTree, relevancy: Float32[np.ndarray, "u k"],
    masks: str = "", failed: int = 0, masks_per_view: float = float("nan"), seconds: float = 0.0,
) -> Predicted:
    """Every number of a found tree whose nodes have these relevancies; `parts` goes over the same points as the atoms."""
    cells = cells_of(thing.holds, atom_of_point, parts.parents, parts.part_of_point)
    taken = names_taken(cells.iou(), asked.positive)
    curve = np.round(mean_iou(cells, asked.positive, relevancy), 6)
    best, threshold = peak(curve)
    to_find = distinct(cells.true)
    return Predicted(
        masks=masks, points=len(atom_of_point), true_nodes=len(to_find), hidden_nodes=int((~cells.true[:-1].any(1)).sum()),
        nodes=parts.num_parts, masks_per_view=masks_per_view,
        floor_miou=float(known_mean(retrieve_all_iou(cells.true, cells.weight, asked.positive))),
        miou=tuple(curve.tolist()), peak_miou=best, peak_threshold=threshold,
        true_names_miou=float(mean_iou(cells, asked.positive, taken.astype(np.float32))[0]), failed=failed, seconds=seconds,
        **label_free(thing, atom_of_point, parts),
        **matching(cells, to_find, leaves(thing.parents), parts, asked.positive, names_said(relevancy), taken),
    )


def label_free(thing: PartObject, atom_of_point: Int[np.ndarray, " n"], parts: PartTree) -> dict[str, float]:
    """The tree scores, every face its one owner's."""
    owner = np.full(len(thing.area) + 1, -1)  # the last one is for points of no part
    owner[thing.atom_of_face] = thing.scene.part_of_face
    found = score_tree(thing.parents, owner[atom_of_point], parts.parents, parts.part_of_point)
    return {name: getattr(found, name) for name in ("nc", "sampled_nc", "purity", "recall50", "precision50")}


def matching(
    cells: Cells, to_find: Bool[np.ndarray, "d p"], leaf: Bool[np.ndarray, " p"], parts: PartTree, positive: Bool[np.ndarray, "p k"],
    said: Bool[np.ndarray, "u k"], taken: Bool[np.ndarray, "u k"],
) -> dict[str, float]:
    """The numbers of the best one-to-one matching of what is to be found with the found nodes below the root."""
    iou = cells.iou()[to_find.argmax(1)][:, :-1]  # any of a set of equal nodes
    pairs = matched(iou)
    recall, precision = matched_rates(pairs, *iou.shape)
    meant = (to_find.astype(np.float32) @ positive.astype(np.float32)) > 0
    same = {"label_aware_miou": said, "true_names_label_aware_miou": taken}
    aware = {name: label_aware_miou(iou, pairs, meant @ names[:-1].T) for name, names in same.items()}
    true_leaf, found_leaf = (to_find & leaf).any(1), leaves(parts.parents)[:-1]
    return {
        "matched_recall": recall, "matched_precision": precision, "matched_miou": label_aware_miou(iou, pairs, np.ones(iou.shape, bool)),
        "leaf_ap50": ap50(iou[true_leaf][:, found_leaf], confidence(parts)[:-1][found_leaf]), **aware,
    }


def confidence(parts: PartTree) -> Float64[np.ndarray, " u"]:
    """How much masks speak for each part: the IoU of the masks that agree with it, added up over the views."""
    return np.bincount(parts.support[:, 0], parts.support_iou.astype(np.float64), parts.num_parts)
