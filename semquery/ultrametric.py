"""Bottlenecks of a graph: the minimax edge of a pair, exactly, with gradients through the edge it picks.

The ultrametric distance of two vertices is the least weight w such that a path of edges no heavier than w
joins them; the edge of that weight is the pair's *bottleneck*, and it lies on their path in the minimum
spanning tree. Which edge it is, is combinatorics without gradient; its weight carries the gradient.

The computation is Boruvka's algorithm kept as a tree of components (King, "A simpler minimum spanning
tree verification algorithm", 1997): in every round each component picks its lightest outgoing edge, and
the heaviest edge on the tree path u-v of the spanning tree equals the heaviest edge picked by the
components on the path u-v of the *component* tree. That tree has at most log2 n levels, so a pair is
answered by at most log2 n gathers: no rooted tree, no common ancestors, the same code on CPU and CUDA.

Notation: n vertices, e edges, q pairs, t rounds.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

_FAR = torch.iinfo(torch.int64).max
SAME_VERTEX = -1
NOT_CONNECTED = -2


@dataclass(frozen=True)
class ComponentTree:
    """Boruvka rounds: the component of every vertex at the start of each round, and the edge each picked."""

    component: tuple[Int64[Tensor, " n"], ...]
    picked: tuple[Int64[Tensor, " _"], ...]  # keys: (float32 bits of the weight) << 32 | edge
    final: Int64[Tensor, " n"]  # connected component of every vertex

    @property
    def num_rounds(self) -> int:
        return len(self.picked)


def component_tree(num_vertices: int, edges: Int64[Tensor, "e 2"], weights: Float[Tensor, " e"]) -> ComponentTree:
    """Run Boruvka's algorithm. Weights must be ≥ 0; ties are broken by edge number, so any graph is fine.

    Complexity: O(e log n) work in at most log2 n rounds. Raises ValueError for negative or NaN weights.
    """
    if len(weights) and not bool((weights >= 0).all()):
        raise ValueError(f"Edge weights must be ≥ 0; the least is {weights.min().item()}.")
    # For floats ≥ 0 the order of the bits as integers is the order of the values (+ 0 makes -0 positive).
    bits = (weights.detach().float() + 0.0).view(torch.int32).long()
    key = (bits << 32) | torch.arange(len(edges), device=edges.device)
    component, (u, v) = torch.arange(num_vertices, device=edges.device), edges.T.contiguous()
    components, picks = [], []
    while True:
        a, b = component.take(u), component.take(v)
        crossing = (a != b).nonzero().squeeze(1)
        if not len(crossing):
            return ComponentTree(tuple(components), tuple(picks), component)
        u, v, a, b, key = (t.take(crossing) for t in (u, v, a, b, key))
        picked = _lightest(a, b, key, int(component.max()) + 1)
        components.append(component)
        picks.append(picked)
        component = _joined(picked, component, edges).take(component)


def _lightest(a: Int64[Tensor, " e"], b: Int64[Tensor, " e"], key: Int64[Tensor, " e"], count: int) -> Int64[Tensor, " c"]:
    picked = torch.full((count,), _FAR, device=key.device)
    for ends in (a, b):
        picked.scatter_reduce_(0, ends, key, "amin")
    return picked


def _joined(picked: Int64[Tensor, " c"], component: Int64[Tensor, " n"], edges: Int64[Tensor, "e 2"]) -> Int64[Tensor, " c"]:
    """The new component of each component, once all have followed the edge they picked."""
    me = torch.arange(len(picked), device=picked.device)
    ends = component[edges[torch.where(picked == _FAR, 0, picked & 0xFFFFFFFF)]]
    other = torch.where(ends[:, 0] == me, ends[:, 1], ends[:, 0])
    parent = torch.where(picked == _FAR, me, other)
    # keys are totally ordered, so the only cycles are two components that picked the same edge
    parent = torch.where((parent[parent] == me) & (me < parent), me, parent)
    for _ in range(max(1, len(picked).bit_length())):
        parent = parent[parent]
    return torch.unique(parent, return_inverse=True)[1]


def bottleneck_edge(tree: ComponentTree, pairs: Int64[Tensor, "*q 2"]) -> Int64[Tensor, "*q"]:
    """The bottleneck edge of each pair; SAME_VERTEX or NOT_CONNECTED where there is none."""
    u, v = pairs[..., 0], pairs[..., 1]
    heaviest = torch.full_like(u, -1)
    for component, picked in zip(tree.component, tree.picked, strict=True):
        of_vertex = picked.take(component)  # `take` gathers several times as fast as indexing
        on_path = torch.maximum(of_vertex.take(u), of_vertex.take(v))
        on_path = on_path.masked_fill_(component.take(u) == component.take(v), -1)
        heaviest = torch.maximum(heaviest, on_path)
    edge = torch.where(u == v, SAME_VERTEX, heaviest & 0xFFFFFFFF)
    return torch.where(tree.final[u] == tree.final[v], edge, NOT_CONNECTED)


def ultrametric_distance(tree: ComponentTree, weights: Float[Tensor, " e"], pairs: Int64[Tensor, "*q 2"]) -> Float[Tensor, "*q"]:
    """Weight of each pair's bottleneck, differentiable in the weights; 0 for a vertex itself, inf if unconnected."""
    edge = bottleneck_edge(tree, pairs)
    distance = weights[edge.clamp(min=0)] if len(weights) else torch.zeros(edge.shape)
    distance = torch.where(edge == SAME_VERTEX, 0.0, distance)
    return torch.where(edge == NOT_CONNECTED, torch.inf, distance)
