"""Contrastive losses on pairs of pixels of one view, by cosine and by bottleneck similarity.

Notation
  b sampled pixels of one view, m of its masks, s pairs per mask, k negatives per pair, c feature length.
  member[i, j]: pixel j lies in mask i.  A pair is two indices into the b pixels.
  sim is a similarity in [-1, 1]; tau the temperature.

The loss is InfoNCE, -log e^{sim+/tau} / (e^{sim+/tau} + sum_k e^{sim-_k/tau}), once with the cosine of the
two features and once with the cosine of the edge that is the pair's bottleneck (`ultrametric.py`).

Departure from the paper: its eq. (2) as printed, -log p + log(1 - p), collapses to -(sim+ - sim-)/tau,
a linear loss that never saturates (and with d a distance has the wrong sign). The authors' code trains the
cross-entropy term alone, as we do. `form="paper_eq2"` keeps the printed one, for comparison only.
"""

import warnings
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor
from torch.nn.functional import cross_entropy

from semquery.geometry import knn_edges
from semquery.ultrametric import SAME_VERTEX, bottleneck_edge, component_tree

_BOUNDARY = 10.0  # added to edges that cross a mask boundary: far above any 1 - cosine


@dataclass(frozen=True)
class ContrastConfig:
    """Which pairs are compared, and how."""

    temperature: float = 0.1
    """tau: smaller punishes the hardest negatives more."""
    euclidean_weight: float = 1.0
    """Weight of InfoNCE on the cosine of the pair."""
    ultrametric_weight: float = 0.2
    """Weight of InfoNCE on the pair's bottleneck; a regulariser against inconsistent masks (0.1 to 0.3)."""
    masks: int = 24
    """Masks used per step."""
    pairs: int = 32
    """Positive pairs per mask."""
    negatives: int = 8
    """Negatives per positive pair."""
    hard_share: float = 0.5
    """Share of the negatives taken from the smallest mask around the pair's own, where there is one."""
    neighbours: int = 10
    """Neighbours of each pixel's surface point in the graph of bottlenecks."""
    form: Literal["infonce", "paper_eq2"] = "infonce"
    """Form of the loss; paper_eq2 is an ablation (see the module's docstring)."""


@dataclass(frozen=True)
class Pairs:
    """Pixel pairs of one step: r = m·s anchors, each with one positive and k negatives."""

    anchor: Int64[Tensor, " r"]
    positive: Int64[Tensor, " r"]
    negative: Int64[Tensor, "r k"]


def membership(labels: Int[Tensor, "b l"], min_pixels: int = 6) -> Bool[Tensor, "m b"]:
    """The masks that hold at least `min_pixels` of the pixels and leave as many out."""
    ids = torch.unique(labels)
    ids = ids[ids > 0]
    member = (labels[None] == ids[:, None, None]).any(-1)
    count = member.sum(1)
    return member[(count >= min_pixels) & (count <= labels.shape[0] - min_pixels)]


def surrounding(member: Bool[Tensor, "m b"], inside: float = 0.95, same: float = 0.9) -> Int64[Tensor, " m"]:
    """The smallest mask that surrounds each mask (holds 95 % of it and is not the same again), or -1."""
    M = member.float()
    both, size = M @ M.T, M.sum(1)
    iou = both / (size[:, None] + size[None] - both).clamp(min=1)
    holds = (both / size[:, None].clamp(min=1) > inside) & (iou < same) & (size[None] > size[:, None])
    around = torch.where(holds, size[None], torch.inf)
    return torch.where(holds.any(1), around.argmin(1), -1) if len(M) else size.long()


def pick(member: Bool[Tensor, "m b"], shape: tuple[int, ...], rng: torch.Generator) -> Int64[Tensor, "m ..."]:
    """Uniformly chosen members of each row, with replacement; rows must not be empty."""
    rank = member.long().cumsum(1)
    drawn = torch.rand((len(member), *shape), generator=rng, device=member.device)
    wanted = (drawn.flatten(1) * rank[:, -1:]).long() + 1
    return torch.searchsorted(rank, wanted).reshape(len(member), *shape)


def sample_pairs(member: Bool[Tensor, "m b"], config: ContrastConfig, rng: torch.Generator) -> Pairs:
    """Anchors and positives inside each mask; negatives outside it, a share from its surrounding mask."""
    m, s, k = len(member), config.pairs, config.negatives
    around = surrounding(member)
    shell = torch.where((around >= 0)[:, None], member[around] & ~member, ~member)
    shell = torch.where(shell.any(1, keepdim=True), shell, ~member)
    num_hard = round(k * config.hard_share)
    negative = torch.cat([pick(shell, (s, num_hard), rng), pick(~member, (s, k - num_hard), rng)], -1)
    return Pairs(pick(member, (s,), rng).reshape(m * s), pick(member, (s,), rng).reshape(m * s), negative.reshape(m * s, k))


def info_nce(positive: Float[Tensor, " r"], negative: Float[Tensor, "r k"], temperature: float) -> Float[Tensor, ""]:
    """Mean over pairs of -log of the positive's share among itself and its negatives."""
    logits = torch.cat([positive[:, None], negative], 1) / temperature
    return cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))


def paper_eq2(positive: Float[Tensor, " r"], negative: Float[Tensor, "r k"], temperature: float) -> Float[Tensor, ""]:
    """Eq. (2) as printed, -log p + log(1 - p) with a two-way p: linear in the similarities. Ablation only."""
    p = torch.sigmoid((positive[:, None] - negative) / temperature)
    return (-torch.log(p) + torch.log1p(-p)).mean()


def bottleneck_similarity(
    features: Float[Tensor, "b c"],
    edges: Int64[Tensor, "e 2"],
    pairs: Int64[Tensor, "*q 2"],
    crossing: Bool[Tensor, " e"] | None = None,
) -> Float[Tensor, "*q"]:
    """Cosine of each pair's bottleneck edge; of the pair itself where the graph does not connect it.

    `crossing` edges are taken last when the spanning tree is built; the similarity stays the raw cosine.
    """
    n = len(features)
    with torch.no_grad():
        weights = (1 - edge_cosine(features, edges)).clamp(min=0)
    tree = component_tree(n, edges, weights if crossing is None else weights + _BOUNDARY * crossing)
    edge = bottleneck_edge(tree, pairs)
    key = pairs[..., 0] * n + pairs[..., 1]
    if len(edges):
        of_edge = edges[:, 0] * n + edges[:, 1]
        key = torch.where(edge >= 0, of_edge.take(edge.clamp(min=0)), key)
    # few edges are the bottlenecks of many pairs: each is computed once, and only these carry a gradient
    used, which = torch.unique(key, return_inverse=True)
    u, v = features.index_select(0, torch.cat([used // n, used % n])).chunk(2)
    similarity = (u * v).sum(-1).index_select(0, which.reshape(-1)).reshape(edge.shape)
    return torch.where(edge == SAME_VERTEX, 1.0, similarity)


def edge_cosine(features: Float[Tensor, "b c"], edges: Int64[Tensor, "e 2"]) -> Float[Tensor, " e"]:
    """Cosine across each edge, without gradient. Edges are sorted by their first vertex, as `pixel_graph` gives them.

    A dense product sampled at the edges reads every feature where it lies; gathering both ends first takes three times as long.
    """
    n, (u, v) = len(features), edges.T.contiguous()
    if bool((u[1:] < u[:-1]).any()):
        raise ValueError(f"The {len(edges)} edges are not sorted by their first vertex; sort them, as semquery.contrast.pixel_graph does.")
    rows = torch.searchsorted(u, torch.arange(n + 1, device=u.device))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        pattern = torch.sparse_csr_tensor(rows, v, features.new_zeros(len(edges)), (n, n), check_invariants=False)
    return torch.sparse.sampled_addmm(pattern, features, features.T, beta=0).values()


def crosses(member: Bool[Tensor, "m b"], edges: Int64[Tensor, "e 2"]) -> Bool[Tensor, " e"]:
    """Whether a mask's boundary runs between the ends of each edge. The masks of a pixel are the bits of a few integers."""
    u, v = edges.unbind(1)
    found = torch.zeros(len(edges), dtype=torch.bool, device=edges.device)
    for some in member.split(62):
        bits = (some.long() << torch.arange(len(some), device=edges.device)[:, None]).sum(0)
        found |= bits.take(u) != bits.take(v)
    return found


def pixel_graph(points: Float[Tensor, "b 3"], k: int) -> Int64[Tensor, "e 2"]:
    """Neighbour graph of the pixels' surface points: a k-d tree on the CPU, dense distances on a GPU."""
    if points.is_cuda:
        near = torch.cdist(points, points).topk(min(k + 1, len(points)), largest=False).indices
        i = torch.arange(len(points), device=points.device)[:, None].expand_as(near)
        edges = torch.stack([torch.minimum(i, near), torch.maximum(i, near)], -1).reshape(-1, 2)
        return torch.unique(edges[edges[:, 0] != edges[:, 1]], dim=0)
    return torch.from_numpy(knn_edges(points.numpy(), k))


def contrastive_losses(
    features: Float[Tensor, "b c"],
    points: Float[Tensor, "b 3"],
    member: Bool[Tensor, "m b"],
    config: ContrastConfig,
    rng: torch.Generator,
) -> dict[str, Float[Tensor, ""]]:
    """The weighted losses of one step, by name; `member` must have at least one mask."""
    if len(member) > config.masks:
        member = member[torch.randperm(len(member), generator=rng, device=member.device)[: config.masks]]
    pairs = sample_pairs(member, config, rng)
    positive = torch.stack([pairs.anchor, pairs.positive], -1)
    negative = torch.stack([pairs.anchor[:, None].expand_as(pairs.negative), pairs.negative], -1)
    form = {"infonce": info_nce, "paper_eq2": paper_eq2}[config.form]
    losses = {}
    if config.euclidean_weight:
        cosine = [(features[p[..., 0]] * features[p[..., 1]]).sum(-1) for p in (positive, negative)]
        losses["euclidean"] = config.euclidean_weight * form(*cosine, config.temperature)
    if config.ultrametric_weight:
        edges = pixel_graph(points, config.neighbours)
        crossing = crosses(member, edges)
        within = bottleneck_similarity(features, edges, positive, crossing)
        between = bottleneck_similarity(features, edges, negative)
        losses["ultrametric"] = config.ultrametric_weight * form(within, between, config.temperature)
    return losses
