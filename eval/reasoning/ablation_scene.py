"""A captured scene with known answers, and what one way of answering makes of the views that are asked.

Notation
  n surface points, v views, q queries, h w height and width of a photo.
Conventions
  A query is the name of a part; it means all parts of that name, as leaves of the true tree. Points of false geometry are never meant.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int, Int32, UInt8

from eval.truth import Truth, carry, write_regime
from semquery import stages
from semquery.fit import FitConfig
from semquery.lifting import PUBLISHED, FuseConfig, Fused, Sight, Votes, choose_views, fuse, keep, lift, sight_of_grid, snap, weigh
from semquery.lifting.head import DistillConfig, FieldTrunk, Taught, decided, distill
from semquery.lifting.pixels import ColourEdges, PointFeatures, point_features
from semquery.masks import on_white
from semquery.segmenter import Context, Segmenter
from semquery.segmenter.oracle import Noisy, Oracle
from semquery.stages.common import load_photo
from semquery.store import Run
from semquery.types import Cameras, PartTree, Surface

SHARES = (0.005, 0.5)  # of the surface's points: smaller targets are a matter of a few pixels, larger ones of no difficulty


@dataclass(frozen=True)
class Setting:
    """One way of answering: a row of the table."""

    name: str
    views: int
    fusion: FuseConfig = PUBLISHED
    learned: bool = True  # a head distilled from the views, or the views' mask as it is
    token_for_query: bool = True  # the head compares points with the projected token, or with a vector of each query's own
    spatial: bool = True  # with the spatial-consistency loss
    paper: float | None = None  # mIoU of the row it stands for, in %


@dataclass(frozen=True)
class Asked:
    """A scene to be asked."""

    surface: Surface
    tree: PartTree  # found, not the true one
    cameras: Cameras
    truth: Mapping[str, Int[np.ndarray, "h w"]]  # true leaf of each pixel of each view
    meant: Mapping[str, frozenset[int]]  # query → true leaves
    leaf_of_point: Int32[np.ndarray, " n"]

    def target(self, query: str) -> Bool[np.ndarray, " n"]:
        return np.isin(self.leaf_of_point, sorted(self.meant[query]))

    def photo(self, view: str) -> UInt8[np.ndarray, "h w 3"]:
        return on_white(load_photo(Path(self.cameras.images[self.cameras.names.index(view)])))


@dataclass(frozen=True)
class Found:
    """What one setting answers to one query, before and after it is snapped to the found tree."""

    query: str
    iou: float
    snapped: float
    best: float  # IoU of the found tree's best union of parts with what is meant: what snapping can reach


def prepare(folder: Path, truth: Truth, fit: FitConfig, max_queries: int) -> Asked:
    """Surface from the mesh, field and tree from masks with a segmenter's noise; done once, kept in the folder."""
    run = Run(folder, create=True)
    stages.observe_mesh(run, truth.folder / "mesh.ply", truth.cameras)
    write_regime(run, truth, "sam", 0)
    stages.fit(run, fit)
    parts, surface, scene = stages.build_tree(run), run.surface(), truth.scene
    leaves = truth.leaves()
    leaf = carry(surface, leaves, len(scene.parents))
    meant = named_targets(scene.names, scene.parents, leaf, max_queries)
    return Asked(surface, parts, truth.cameras, {view: leaves[view] for view in surface.point_of_pixel}, meant, leaf)


def named_targets(
    names: Sequence[str], parents: Int[np.ndarray, " p"], leaf_of_point: Int[np.ndarray, " n"], most: int
) -> dict[str, frozenset[int]]:
    """Query → leaves, of the names whose parts together are neither tiny nor most of the scene; evenly over sizes where too many.

    Of names that mean the same leaves the first stays: two queries with one answer are one.
    """
    below = {p: {p} for p in range(len(parents))}
    for part in range(len(parents) - 1):
        below[int(parents[part])] |= below[part]
    count = np.bincount(leaf_of_point[leaf_of_point >= 0], minlength=len(parents))
    targets: dict[frozenset[int], tuple[str, float]] = {}
    for name in dict.fromkeys(names):
        ids = frozenset(leaf for part, own in enumerate(names) if own == name for leaf in below[part] if count[leaf])
        share = float(count[sorted(ids)].sum()) / max(1, len(leaf_of_point))
        if SHARES[0] <= share <= SHARES[1]:
            targets.setdefault(ids, (name, share))
    by_size = sorted(((share, name, ids) for ids, (name, share) in targets.items()), key=lambda each: each[:2])
    kept = np.unique(np.linspace(0, len(by_size) - 1, min(most, len(by_size))).round().astype(int)) if by_size else []
    return {by_size[k][1]: by_size[k][2] for k in kept}


def answer_all(asked: Asked, setting: Setting, segmenter: Segmenter, distillation: DistillConfig, seed: int) -> list[Found]:
    """Every query of a scene asked in views chosen at random, answered as the setting says, and scored."""
    sights, votes = _votes(asked, setting, segmenter, seed)
    weighed = {query: weigh(each, setting.fusion) for query, each in votes.items() if each.views}
    fused = {query: fuse(votes[query], each, setting.fusion.doubt) for query, each in weighed.items()}
    masks = {query: (each.mask, each.known) for query, each in fused.items()}
    if setting.learned and fused:
        tokens = {query: weighed[query].token for query in fused}
        masks = _distilled(asked, setting, votes, sights, fused, tokens, replace(distillation, seed=seed))
    nothing = np.zeros(len(asked.surface.points)), np.zeros(len(asked.surface.points), bool)
    return [_scored(asked, query, *masks.get(query, nothing)) for query in asked.meant]


def spoiled(asked: Asked, hallucinate: float, jitter: float, seed: int) -> Segmenter:
    """Knows the answers, draws its masks too large or too small, and in a share of the views means another part."""
    return Noisy(Noisy(Oracle(asked.truth, asked.meant), "jitter", jitter, seed), "hallucinate", hallucinate, seed)


def _votes(asked: Asked, setting: Setting, segmenter: Segmenter, seed: int) -> tuple[dict[str, Sight], dict[str, Votes]]:
    """What the views say of each query; every query is asked in the same views."""
    names = list(asked.surface.point_of_pixel)
    poses = asked.cameras.T_world_cam[[asked.cameras.names.index(name) for name in names]]
    rows = choose_views("random", np.zeros((len(names), 1), bool), poses, setting.views, seed)
    sights = {names[row]: sight_of_grid(asked.surface.point_of_pixel[names[row]]) for row in rows}
    blank = {view: np.zeros((*asked.truth[view].shape, 3), np.uint8) for view in sights}
    votes = {}
    for query in asked.meant:
        kept, _ = keep({view: segmenter.segment(blank[view], query, Context(view=view)) for view in sights})
        votes[query] = lift(sights, kept, len(asked.surface.points))
    return sights, votes


def _distilled(
    asked: Asked, setting: Setting, votes: Mapping[str, Votes], sights: Mapping[str, Sight], fused: Mapping[str, Fused],
    tokens: Mapping[str, np.ndarray | None], config: DistillConfig,
) -> dict[str, tuple[Float64[np.ndarray, " n"], Bool[np.ndarray, " n"]]]:
    """One head for all queries of the scene; it has an opinion of every point."""
    own = dict(zip(fused, np.eye(len(fused)), strict=True))
    taught = {query: Taught(tokens[query] if setting.token_for_query else own[query], each) for query, each in fused.items()}
    looks = _looks(asked, votes, sights) if setting.spatial else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        trunk = FieldTrunk(asked.surface.features, config.width)
    head = distill(trunk, list(taught.values()), config if setting.spatial else replace(config, spatial=0.0), looks)
    everywhere = np.ones(len(asked.surface.points), bool)
    return {query: (head.scores(each.token, config.rule), everywhere) for query, each in taught.items()}


def _looks(asked: Asked, votes: Mapping[str, Votes], sights: Mapping[str, Sight]) -> PointFeatures:
    """What the views show where they voted, over all queries."""
    each = [point_features(sights, found, ColourEdges(), asked.photo) for found in votes.values() if found.views]
    return PointFeatures(np.sum([p.total for p in each], axis=0, dtype=np.float32), np.sum([p.count for p in each], axis=0))


def _scored(asked: Asked, query: str, mask: Float64[np.ndarray, " n"], known: Bool[np.ndarray, " n"]) -> Found:
    meant = asked.target(query)
    best = snap(asked.tree, meant.astype(np.float64), np.ones(len(meant), bool), each=0.0).inside
    plain, snapped = decided(mask, "probability", 0.5), snap(asked.tree, mask, known).inside
    return Found(query, iou_of(plain, meant), iou_of(snapped, meant), iou_of(best, meant))


def iou_of(found: Bool[np.ndarray, " n"], meant: Bool[np.ndarray, " n"]) -> float:
    """Intersection over union; something is always meant."""
    return float((found & meant).sum() / (found | meant).sum())
