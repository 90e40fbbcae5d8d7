"""Single and average linkage of sparse graphs with millions of edges.

Single linkage is Kruskal's algorithm: a radix sort and a union-find, in linkage.c.

Average linkage, where the distance of two clusters is the mean weight of the edges between them, is *reducible*: a
merged cluster is no nearer to anyone than the nearer of its two halves was. So two clusters that are each other's
nearest will merge whatever happens elsewhere, and all such pairs can merge at once (reciprocal agglomerative clustering;
Sumengen et al., "Scaling hierarchical agglomerative clustering to billion-sized datasets", 2021).
On features that is not enough: a large homogeneous part absorbs its noisy points one a round.
We merge whole *stars* at once. A hub is one cluster of a reciprocal pair, its followers are those whose nearest it is.
The hub absorbs a follower x in the same round as those nearer than x if nothing could come in between:
  reach   no neighbour of the hub that follows someone else, and no other neighbour of any follower, is nearer than x;
  clash   no two of those absorbed, x among them, are joined by an edge, which would change their distance to the hub.
Then x is at its own distance from the grown hub, and both are still each other's nearest: the merges are exactly those of
the sequential algorithm. Its dendrogram is the single-linkage tree of them, the n - 1 pairs weighted by their altitudes.

Notation
  n points, e edges, t = 2n - 1 nodes of the merge tree; within a round m clusters, and edges between clusters.
  Sums and distances are float64, altitudes of the tree float32. The rounds run on the device of their tensors.
"""

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Int, Int64, Num
from torch import Tensor

from semquery.compiled import call, library
from semquery.geometry import components
from semquery.types import MergeTree

_INF = float("inf")
_LOW = 2**31 - 1


def compiled(source: Literal["linkage.c", "average.c"] = "linkage.c") -> ctypes.CDLL | None:
    """The functions of a C file beside this one; None where there is no compiler."""
    slower = {"linkage.c": "Higra and Python loops", "average.c": "the same in torch"}[source]
    return library(Path(__file__).with_name(source), slower)


def single_linkage(n: int, edges: Int[np.ndarray, "e 2"], weights: Num[np.ndarray, " e"]) -> MergeTree:
    """The binary tree of merges along the lightest edge between clusters; edges of equal weight in the order given."""
    _check(n, edges, weights)
    edges, weights = np.ascontiguousarray(edges, np.int64), np.ascontiguousarray(weights, np.float32)
    if (c := compiled()) is None:
        _refuse_pieces(components(n, edges)[0])
        return _single_by_higra(n, edges, weights)
    parents, altitude = np.empty(2 * n - 1, np.int32), np.empty(2 * n - 1, np.float32)
    merges = call(c.canonical_tree, n, len(edges), edges, weights, parents, altitude)
    if merges < 0:
        raise MemoryError(f"No memory to sort {len(edges)} edges.")
    _refuse_pieces(n - merges)
    return MergeTree(parents, altitude)


def average_linkage(
    n: int, edges: Int[np.ndarray, "e 2"], weights: Num[np.ndarray, " e"], backend: Literal["auto", "c", "torch"] = "auto"
) -> MergeTree:
    """The binary tree of merges along the least mean weight of the edges between two clusters."""
    _check(n, edges, weights)
    _refuse_pieces(components(n, edges)[0])
    edges, weights = np.ascontiguousarray(edges, np.int64), np.ascontiguousarray(weights, np.float64)
    c = None if backend == "torch" else compiled("average.c")
    if c is None:
        pairs, altitude = average_merges(n, torch.from_numpy(edges), torch.from_numpy(weights))
        return single_linkage(n, pairs.numpy(), altitude.numpy())
    pairs, altitude = np.empty((n - 1, 2), np.int64), np.empty(n - 1)
    if call(c.average_merges, n, len(edges), edges, weights, pairs, altitude) < 0:
        raise MemoryError(f"No memory to merge along {len(edges)} edges.")
    return single_linkage(n, pairs, altitude)


def average_merges(n: int, edges: Int[Tensor, "e 2"], weights: Num[Tensor, " e"]) -> tuple[Int64[Tensor, "m 2"], Float64[Tensor, " m"]]:
    """The n - 1 merges of a connected graph: a point of either cluster, and the altitude; none before those below it."""
    i, j = edges.long().unbind(1)
    weights = weights.double()
    graph = _Clusters(torch.arange(n, device=edges.device), *_summed(n, i, j, weights, torch.ones_like(weights)))
    found = [(graph.name[:0], graph.name[:0], weights[:0])]
    while len(graph.i):
        x, hub, altitude = _stars(graph)
        found.append((graph.name[x], graph.name[hub], altitude))
        graph = _contracted(graph, x, hub)
    x, hub, altitude = (torch.cat(column) for column in zip(*found, strict=True))
    return torch.stack([x, hub], 1), altitude


@dataclass(frozen=True)
class _Clusters:
    """The graph of a round's clusters. No two edges join the same two clusters."""

    name: Int64[Tensor, " m"]  # one point of each cluster
    i: Int64[Tensor, " e"]
    j: Int64[Tensor, " e"]
    total: Float64[Tensor, " e"]  # sum of the weights of the edges between points of the two
    count: Float64[Tensor, " e"]  # their number


@dataclass(frozen=True)
class _Nearest:
    """What every cluster knows of its neighbours."""

    cluster: Int64[Tensor, " m"]  # the nearest
    edge: Int64[Tensor, " m"]  # the edge to it
    first: Float64[Tensor, " m"]  # its distance
    second: Float64[Tensor, " m"]  # the distance of the nearest other one


def _stars(graph: _Clusters) -> tuple[Int64[Tensor, " k"], Int64[Tensor, " k"], Float64[Tensor, " k"]]:
    """The clusters that are absorbed in this round, the hub that absorbs each, and the altitudes."""
    distance = graph.total / graph.count
    nearest = _nearest(graph, distance)
    hub, follows = _hubs(nearest.cluster)
    x = _where(follows >= 0)
    near = _take(nearest.first, x) <= _take(_reach(graph, distance, nearest, hub, follows), _take(follows, x))
    x = x[near]
    h, first = _take(follows, x), _take(nearest.first, x)
    clash = _clash(graph, nearest, follows, x)
    # the hub's own nearest is always absorbed: a round without a merge would never end
    absorbed = (_take(nearest.edge, x) == _take(nearest.edge, h)) | (first < _take(clash, h))
    return x[absorbed], h[absorbed], first[absorbed]


def _nearest(graph: _Clusters, distance: Float64[Tensor, " e"]) -> _Nearest:
    """Nearest and second nearest neighbours; of equally long edges the one that comes first in one fixed shuffled order."""
    first = _least(len(graph.name), (graph.i, distance), (graph.j, distance))
    keyed = []
    for end in (graph.i, graph.j):
        edge = _where(distance == _take(first, end))
        # shuffled, because along a chain of equal edges only one pair is reciprocal if the lower number always wins
        keyed.append((_take(end, edge), (edge * 0x9E3779B1 & _LOW) << 31 | edge))
    edge = _least(len(graph.name), *keyed) & _LOW
    own, i = torch.arange(len(graph.name), device=edge.device), _take(graph.i, edge)
    cluster, is_i = i + _take(graph.j, edge) - own, i == own
    rest = [distance.index_fill(0, edge[mine], _INF) for mine in (is_i, ~is_i)]
    return _Nearest(cluster, edge, first, _least(len(own), (graph.i, rest[0]), (graph.j, rest[1])))


def _hubs(nearest: Int64[Tensor, " m"]) -> tuple[Bool[Tensor, " m"], Int64[Tensor, " m"]]:
    """Of every reciprocal pair the cluster that is nearest to more others; and the hub that each cluster follows, or -1."""
    own = torch.arange(len(nearest), device=nearest.device)
    followers = torch.bincount(nearest, minlength=len(nearest))
    others = followers[nearest]
    hub = (nearest[nearest] == own) & ((followers > others) | ((followers == others) & (own < nearest)))
    return hub, torch.where(hub[nearest] & ~hub, nearest, -1)


def _reach(graph, distance, nearest: _Nearest, hub, follows) -> Float64[Tensor, " m"]:
    """How far a hub may reach before a neighbour comes into play that does not follow it, or a neighbour of a follower."""
    x = _where(follows >= 0)
    limits = [(_take(follows, x), _take(nearest.second, x))]
    for a, b in ((graph.i, graph.j), (graph.j, graph.i)):
        edge = _where(_take(hub, a))
        a, b = _take(a, edge), _take(b, edge)
        limits.append((a, torch.where(_take(follows, b) == a, _INF, _take(distance, edge))))
    return _least(len(hub), *limits)


def _clash(graph, nearest: _Nearest, follows, x) -> Float64[Tensor, " m"]:
    """The distance at which a hub would absorb the second of two neighbouring followers, of those given."""
    candidate = torch.zeros_like(follows, dtype=torch.bool).index_fill_(0, x, True)
    edge = _where(_take(candidate, graph.i) & _take(candidate, graph.j))
    i, j = _take(graph.i, edge), _take(graph.j, edge)
    same = _where(_take(follows, i) == _take(follows, j))
    i, j = _take(i, same), _take(j, same)
    return _least(len(follows), (_take(follows, i), torch.maximum(_take(nearest.first, i), _take(nearest.first, j))))


def _contracted(graph: _Clusters, x: Int64[Tensor, " k"], hub: Int64[Tensor, " k"]) -> _Clusters:
    """The graph once every x has become part of its hub; only edges that touch one of them are sorted."""
    stays = torch.ones_like(graph.name, dtype=torch.bool).index_fill_(0, x, False)
    number = stays.cumsum(0) - 1
    number[x] = number[hub]
    changed = (~stays).index_fill_(0, hub, True)
    touched = _take(changed, graph.i) | _take(changed, graph.j)
    old, new = _where(~touched), _where(touched)
    i, j = (_take(number, _take(end, new)) for end in (graph.i, graph.j))
    merged = _summed(int(stays.sum()), i, j, _take(graph.total, new), _take(graph.count, new))
    kept = (_take(number, _take(graph.i, old)), _take(number, _take(graph.j, old)), _take(graph.total, old), _take(graph.count, old))
    return _Clusters(graph.name[stays], *(torch.cat(pair) for pair in zip(kept, merged, strict=True)))


def _summed(m: int, i, j, total, count) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Edges without loops, those between the same two clusters added up."""
    proper = _where(i != j)
    i, j = _take(i, proper), _take(j, proper)
    key, order = torch.sort(torch.minimum(i, j) * m + torch.maximum(i, j))
    key, group = torch.unique_consecutive(key, return_inverse=True)
    order = _take(proper, order)
    sums = (torch.zeros(len(key), dtype=torch.float64, device=key.device).index_add_(0, group, _take(s, order)) for s in (total, count))
    return key // m, key % m, *sums


def _least(m: int, *valued: tuple[Int64[Tensor, " _"], Num[Tensor, " _"]]) -> Num[Tensor, " m"]:
    """The least value given to each of m places by any of the (places, values)."""
    kind = valued[0][1]
    least = torch.full((m,), _INF if kind.is_floating_point() else 2**62, dtype=kind.dtype, device=kind.device)
    for place, value in valued:
        least.scatter_reduce_(0, place, value, "amin")
    return least


def _take(values: Tensor, at: Int64[Tensor, " k"]) -> Tensor:
    return values.index_select(0, at)  # several times faster than values[at] on a CPU


def _where(mask: Bool[Tensor, " k"]) -> Int64[Tensor, " _"]:
    return mask.nonzero().view(-1)


def _check(n: int, edges: np.ndarray, weights: np.ndarray) -> None:
    if n > 2**30 or len(edges) >= 2**31:
        raise ValueError(f"{n} points and {len(edges)} edges do not fit into 32-bit numbers; thin the points out.")
    if len(edges) != len(weights):
        raise ValueError(f"There are {len(edges)} edges and {len(weights)} weights; give every edge one weight.")
    if len(edges) and not (0 <= edges.min() and edges.max() < n):
        raise ValueError(f"Edges name points {edges.min()} to {edges.max()}, but there are {n} points, numbered from 0.")
    if not np.isfinite(weights).all():
        raise ValueError(f"{np.sum(~np.isfinite(weights))} of {len(weights)} edge weights are not finite; drop or repair these edges.")


def _refuse_pieces(count: int) -> None:
    if count != 1:
        raise ValueError(f"The neighbour graph has {count} components; join them with geometry.bridges first.")


def _single_by_higra(n: int, edges: Int64[np.ndarray, "e 2"], weights: Float32[np.ndarray, " e"]) -> MergeTree:
    import higra as hg

    if n == 1:
        return MergeTree(np.zeros(1, np.int32), np.zeros(1, np.float32))
    graph = hg.UndirectedGraph(n)
    graph.add_edges(edges[:, 0], edges[:, 1])
    tree, altitude = hg.bpt_canonical(graph, weights)
    return MergeTree(np.asarray(tree.parents()).astype(np.int32), np.asarray(altitude).astype(np.float32))
