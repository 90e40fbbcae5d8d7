"""Rivals on the very same masks and surface points: each turns a surface with features, and its masks, into a part tree.

Notation
  n points, e edges of their neighbour graph, c flat cuts, p parts.
  A cut gives every point the number of its segment, -1 = rest, which is no segment.

`nested` makes one tree of many cuts: every distinct segment is a node, and the whole scene the root. That is
how methods that end in flat cuts can be scored as trees; their rest, a segment in the original evaluation of
Ultrametric Feature Fields, is none here. A node of such a tree has no altitude: its share of the points stands in.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Float32, Int, Int32, Int64

from semquery.contrast import ContrastConfig
from semquery.geometry import bridges, knn_edges
from semquery.hierarchy import cut, merge_tree
from semquery.parts import TreeConfig, build_part_tree
from semquery.types import MaskStack, PartTree, Surface

_APART = np.float32(1e3)  # weight of an edge that only makes the graph connected: above every distance of unit features


@dataclass(frozen=True)
class Baseline:
    """A rival, and the field it wants its features from."""

    name: str
    contrast: ContrastConfig | None  # None: it uses no features
    build: Callable[[Surface, Mapping[str, MaskStack]], PartTree]


# ------------------------------------------------------------------------------------------ the rivals


def flat_cuts(surface: Surface, masks: Mapping[str, MaskStack], neighbours: int = 16, keep: int = 200) -> PartTree:
    """Ultrametric Feature Fields' segmentation (ECCV 2024): connected components at 50 feature distances .01 … .50.

    16 neighbours, the 200 largest segments of each cut, as in the authors' code. Components below a distance are
    cuts of one single-linkage tree, so the tree is built once.
    """
    edges, weights = feature_graph(surface, neighbours)
    tree = merge_tree(len(surface.points), edges, weights, "single")
    below = np.nextafter((np.arange(1, 51) / 100).astype(np.float32), np.float32(0))  # edges strictly below the distance
    return laminar_tree(np.stack([largest(cut(tree, float(level)), keep) for level in below]))


def watershed_persistence(surface: Surface, masks: Mapping[str, MaskStack]) -> PartTree:
    """The paper's hierarchy with the usual choice of nodes: single linkage, parts by a persistence of .1."""
    config = TreeConfig(linkage="single", cooccurrence=0.0, crease=0.0, rejoin=0.0, select="persistence", persistence=0.1)
    return build_part_tree(surface, masks, config)[0]


def hdbscan_cuts(
    surface: Surface, masks: Mapping[str, MaskStack], min_cluster: int = 30, cuts: int = 25, limit: int = 20_000
) -> PartTree:
    """Features clustered by HDBSCAN, after GARField (CVPR 2024) and OmniSeg3D (CVPR 2024): its clusters and 25 flat cuts.

    GARField takes clusters of at least 30 points at one scale; the cuts, at distances .01 … 1 in equal ratios, give it
    the levels that other scales would. HDBSCAN's time grows with the square of the points: of more than `limit`,
    evenly spaced ones are clustered, with a smallest size in proportion, and the others follow their nearest
    neighbour in feature space.
    """
    features = surface.features.astype(np.float32)
    chosen = np.unique(np.linspace(0, len(features) - 1, min(limit, len(features))).round().astype(np.int64))
    smallest = max(2, round(min_cluster * len(chosen) / len(features)))
    labels = hdbscan_labels(features[chosen], smallest, cuts)
    return laminar_tree(labels[:, nearest(features, features[chosen])])


def cooccurrence_tree(surface: Surface, masks: Mapping[str, MaskStack]) -> PartTree:
    """No learning: masks alone weigh the edges; average linkage and the selection of parts are our own.

    That is a strong form of the baseline: what is missing is the field, and the creases. Features that are everywhere
    the same leave nothing but the masks' evidence in the weights.
    """
    blank = replace(surface, features=np.zeros((len(surface.points), 1), np.float16))
    return build_part_tree(blank, masks, TreeConfig(cooccurrence=1.0, crease=0.0, rejoin=0.0))[0]


BASELINES: dict[str, Baseline] = {
    b.name: b
    for b in (
        Baseline("flat cuts", ContrastConfig(ultrametric_weight=1.0), flat_cuts),
        Baseline("watershed", ContrastConfig(ultrametric_weight=1.0), watershed_persistence),
        Baseline("hdbscan", ContrastConfig(ultrametric_weight=0.0), hdbscan_cuts),
        Baseline("co-occurrence", None, cooccurrence_tree),
    )
}


# ------------------------------------------------------------------------------------------ what they share


def nested(labels: Int[np.ndarray, "c n"]) -> tuple[Int32[np.ndarray, " p"], Int32[np.ndarray, " n"]]:
    """(parents, smallest node of each point) of the tree of all distinct segments, any order of cuts; root added.

    Segments are put in largest first: in a tree, all points of the next one lie in the same node so far.
    """
    labels = np.asarray(labels)
    n = labels.shape[1]
    parent, size, at = [0], [n], np.zeros(n, np.int64)
    for points in _segments(labels):
        inside = at[points]
        if (inside != inside[0]).any():
            raise ValueError(
                f"nested: a segment of {len(points)} points lies across two others, of which one holds point {points[0]} and the "
                f"other point {points[np.argmax(inside != inside[0])]}; cuts of one tree never do. Build a tree of each cut by itself."
            )
        if size[inside[0]] > len(points):  # else it is that node again
            at[points] = len(parent)
            parent.append(int(inside[0]))
            size.append(len(points))
    has_child = np.isin(np.arange(len(parent)), parent[1:])
    order = np.lexsort((-np.arange(len(parent)), has_child))  # leaves first; a child, put in later, before its parent
    number = np.argsort(order).astype(np.int32)
    return number[np.array(parent)[order]], number[at]


def _segments(labels: Int[np.ndarray, "c n"]) -> list[Int64[np.ndarray, " _"]]:
    """The points of every segment of every cut, largest first."""
    found = []
    for row in labels:
        order = np.argsort(row, kind="stable")
        starts = np.flatnonzero(np.diff(row[order], prepend=-1))  # none where a point is rest
        found += np.split(order, starts)[1:]
    return sorted(found, key=len, reverse=True)


def laminar_tree(labels: Int[np.ndarray, "c n"]) -> PartTree:
    """`nested` as a part tree, which no mask supports."""
    parents, part = nested(labels)
    points = np.bincount(part, minlength=len(parents))
    for node in range(len(parents) - 1):
        points[parents[node]] += points[node]
    share = (points / max(len(part), 1)).astype(np.float32)
    return PartTree(parents, share, part, np.zeros((0, 3), np.int32), np.zeros(0, np.float32))


def largest(labels: Int[np.ndarray, " n"], keep: int) -> Int64[np.ndarray, " n"]:
    """Segments renumbered by size, largest first; beyond `keep` they are rest."""
    number, points = np.unique(labels, return_inverse=True, return_counts=True)[1:]
    rank = np.argsort(np.argsort(-points, kind="stable"))[number.reshape(-1)]
    return np.where(rank < keep, rank, -1)


def feature_graph(surface: Surface, neighbours: int) -> tuple[Int64[np.ndarray, "e 2"], Float32[np.ndarray, " e"]]:
    """Edges between neighbours and the feature distance across each; edges that only connect pieces are far apart."""
    features = surface.features.astype(np.float32)
    edges = knn_edges(surface.points, neighbours)
    across = bridges(surface.points, edges)
    distance = np.linalg.norm(features[edges[:, 0]] - features[edges[:, 1]], axis=1)
    return np.concatenate([edges, across]), np.append(distance, np.full(len(across), _APART)).astype(np.float32)


def hdbscan_labels(features: Float[np.ndarray, "n d"], smallest: int, cuts: int) -> Int64[np.ndarray, "c n"]:
    """HDBSCAN's own clusters (excess of mass) and its flat cuts, all of one tree; clusters have `smallest` points."""
    from sklearn.cluster import HDBSCAN

    model = HDBSCAN(min_cluster_size=smallest, metric="euclidean", algorithm="kd_tree", copy=True).fit(features)
    flat = [model.dbscan_clustering(level, min_cluster_size=smallest) for level in np.geomspace(0.01, 1, cuts)]
    return np.maximum(np.stack([model.labels_, *flat]), -1).astype(np.int64)


def nearest(points: Float[np.ndarray, "n d"], among: Float[np.ndarray, "k d"]) -> Int64[np.ndarray, " n"]:
    """The row of `among` nearest to each point."""
    from scipy.spatial import cKDTree

    return cKDTree(among).query(points)[1]
