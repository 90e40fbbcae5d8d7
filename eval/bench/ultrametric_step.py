"""The ultrametric term of one training step, with its gradient: ours against the original algorithm, on a CPU.

    python -m eval.bench.ultrametric_step [--pixels 4096] [--dim 256] [--rows 150] [--threads 1]

The baseline is written from the description of Ultrametric Feature Fields (He et al., ECCV 2024) and its public code, step by
step as that does it:
  graph  all B x B x 3 differences of ray directions, their lengths, the 11 nearest less the first (itself)
  trees  1 - cosine on the edges, + 10 where an edge crosses a mask boundary; Higra's canonical binary partition tree
  pairs  the lowest common ancestor of one pair at a time, in a Python loop; its merging edge is the pair's bottleneck
all of it once for the positive and once for the negative pairs, then InfoNCE with temperature 0.1 and its gradient in
the features. 64 pairs a row and 150 rows are what its sampler gives for some 24 nested masks.

Ours is what `semquery.contrast` does: `pixel_graph`, `bottleneck_similarity`, `info_nce`. Both get the same pixels and
pairs and must give the same loss and gradient first. The original takes neighbours among ray directions, we among
surface points: here the directions are the points, so that the graphs are equal. (Our training steps leave the + 10 off
the negatives' tree; the original does not, so here it is on both sides for both.)
"""

import argparse
import statistics
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from eval.bench import compare
from eval.bench.peak import peak_mb
from semquery.contrast import bottleneck_similarity, crosses, info_nce, pixel_graph

TEMPERATURE, NEIGHBOURS, BOUNDARY = 0.1, 10, 10.0


@dataclass(frozen=True)
class Step:
    """The pixels, masks and pairs of one step."""

    features: Tensor  # b c, unit, a leaf of the gradient
    points: Tensor  # b 3, unit directions
    member: Tensor  # m b
    positive: Tensor  # r 2
    negative: Tensor  # r 2


def make_step(pixels: int, dim: int, rows: int, seed: int = 0) -> Step:
    """Pixels on a jittered grid, in 24 nested masks: 4 of 1/4, 8 of 1/8 and 12 of 1/12 of the picture's width, features to match."""
    g = torch.Generator().manual_seed(seed)
    side = int(np.ceil(np.sqrt(pixels)))
    at = torch.stack(torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij"), -1).reshape(-1, 2)[:pixels]
    at = (at + torch.rand(at.shape, generator=g)) / side - 0.5
    strip = [((at[:, 1] + 0.5) * count).long().clamp(max=count - 1) for count in (4, 8, 12)]
    member = torch.cat([s == torch.arange(count)[:, None] for s, count in zip(strip, (4, 8, 12), strict=True)])
    codes = [torch.randn(count, dim, generator=g) for count in (4, 8, 12)]
    features = sum(code[s] for code, s in zip(codes, strip, strict=True)) + torch.randn(pixels, dim, generator=g)
    positive, negative = [], []
    for row in range(rows):
        inside, outside = (torch.nonzero(m).squeeze(1) for m in (member[row % 24], ~member[row % 24]))
        draw = lambda of: of[torch.randint(len(of), (64,), generator=g)]  # noqa: E731
        positive.append(torch.stack([draw(inside), draw(inside)], 1))
        negative.append(torch.stack([positive[-1][:, 0], draw(outside)], 1))
    points = normalize(torch.cat([at, torch.ones(pixels, 1)], 1), dim=1)
    return Step(normalize(features, dim=1).requires_grad_(), points, member, torch.cat(positive), torch.cat(negative))


# ------------------------------------------------------------------ the original's way


def dense_graph(points: Tensor) -> Tensor:
    """Edges [b·10, 2] to the nearest by all pairwise distances."""
    distance = (points[:, None] - points[None]).norm(dim=-1)
    near = distance.topk(NEIGHBOURS + 1, largest=False).indices[:, 1:]
    return torch.stack([torch.arange(len(points))[:, None].expand_as(near), near], -1).reshape(-1, 2)


def partition_tree(step: Step, edges: Tensor):
    """Higra's canonical binary partition tree, and the edge of each of its merges."""
    import higra as hg

    features = step.features.detach()
    weights = 1 - (features[edges[:, 0]] * features[edges[:, 1]]).sum(-1)
    weights += BOUNDARY * (step.member[:, edges[:, 0]] != step.member[:, edges[:, 1]]).any(0)
    graph = hg.UndirectedGraph(len(features))
    graph.add_edges(edges[:, 0].numpy(), edges[:, 1].numpy())
    tree, _ = hg.bpt_canonical(graph, weights.numpy().astype(np.float64))
    return tree, tree.mst_edge_map


def pair_by_pair(step: Step, edges: Tensor, tree, edge_of_merge: np.ndarray, pairs: Tensor) -> Tensor:
    """Cosine of the merging edge at each pair's lowest common ancestor; 1 for a pixel and itself."""
    found = []
    for a, b in pairs:
        node = tree.lowest_common_ancestor(int(a), int(b))
        found.append(int(edge_of_merge[node - len(step.features)]) if a != b else -1)
    edge = torch.tensor(found)
    u, v = edges[edge.clamp(min=0)].T
    return torch.where(edge < 0, 1.0, (step.features[u] * step.features[v]).sum(-1))


def original(step: Step) -> tuple[Tensor, Tensor]:
    """Loss and gradient, everything made once for the positives and once for the negatives."""
    similarity = []
    for pairs in (step.positive, step.negative):
        edges = dense_graph(step.points)
        similarity.append(pair_by_pair(step, edges, *partition_tree(step, edges), pairs))
    return with_gradient(step, *similarity)


# ------------------------------------------------------------------ ours


def ours(step: Step) -> tuple[Tensor, Tensor]:
    """The same by `semquery.contrast`."""
    edges = pixel_graph(step.points, NEIGHBOURS)
    both = bottleneck_similarity(step.features, edges, torch.stack([step.positive, step.negative]), crosses(step.member, edges))
    return with_gradient(step, both[0], both[1])


def with_gradient(step: Step, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    loss = info_nce(positive, negative[:, None], TEMPERATURE)
    (gradient,) = torch.autograd.grad(loss, step.features)
    return loss.detach(), gradient


def check_same(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> None:
    """Raise AssertionError where losses or gradients differ beyond rounding."""
    torch.testing.assert_close(a[0], b[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(a[1], b[1], rtol=1e-3, atol=1e-6)


def shares(step: Step, repeats: int = 3) -> dict[str, float]:
    """Median seconds of each part of the original's step, both halves together."""
    edges = dense_graph(step.points)
    tree = partition_tree(step, edges)
    parts = {
        "graph": lambda: dense_graph(step.points),
        "trees": lambda: partition_tree(step, edges),
        "pairs": lambda: pair_by_pair(step, edges, *tree, step.positive),
    }
    return {name: 2 * statistics.median(seconds(part) for _ in range(repeats)) for name, part in parts.items()}


def seconds(call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description="The ultrametric term of one training step, ours against the original algorithm.")
    parser.add_argument("--pixels", type=int, default=4096)
    parser.add_argument("--dim", type=int, default=256, help="length of a feature")
    parser.add_argument("--rows", type=int, default=150, help="rows of 64 pairs")
    parser.add_argument("--repeats", type=int, default=5, help="timed pairs of steps")
    parser.add_argument("--threads", type=int, default=1, help="of torch, for both sides")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    step = make_step(a.pixels, a.dim, a.rows)
    check_same(ours(step), original(step))
    print(f"{a.pixels} pixels, {a.dim} dimensions, {len(step.positive)} positive and as many negative pairs, {a.threads} thread(s)")
    fast, slow, ratio = compare(lambda: ours(step), lambda: original(step), a.repeats)
    print(f"ours {1e3 * fast:.1f} ms, original {1e3 * slow:.0f} ms, ratio {ratio:.0f}×")
    print("of the original:", ", ".join(f"{name} {1e3 * s:.0f} ms" for name, s in shares(step).items()))
    torch.set_num_threads(1)  # a forked process has no worker threads
    print(f"memory: ours {peak_mb(lambda: ours(step)):.0f} MB, original {peak_mb(lambda: original(step)):.0f} MB")


if __name__ == "__main__":
    main()
