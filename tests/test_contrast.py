"""Pairs and losses: every drawn pair checked against its definition, losses against loops."""

import numpy as np
import pytest
import torch

from semquery.contrast import (
    ContrastConfig,
    bottleneck_similarity,
    contrastive_losses,
    crosses,
    edge_cosine,
    info_nce,
    membership,
    paper_eq2,
    pick,
    pixel_graph,
    sample_pairs,
    surrounding,
)
from semquery.geometry import components


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def nested_labels() -> torch.Tensor:
    """40 pixels: mask 1 holds the first 30, mask 2 the first 10 of them, mask 3 the last 10."""
    labels = torch.zeros((40, 2), dtype=torch.int32)
    labels[:30, 0], labels[30:, 0], labels[:10, 1] = 1, 3, 2
    return labels


def test_membership_lists_masks_that_neither_miss_nor_fill_the_sample():
    member = membership(nested_labels())
    assert member.sum(1).tolist() == [30, 10, 10]
    assert membership(nested_labels(), min_pixels=11).sum(1).tolist() == []


def test_surrounding_is_the_smallest_mask_around():
    assert surrounding(membership(nested_labels())).tolist() == [-1, 0, -1]


def test_surrounding_ignores_the_same_mask_again():
    member = torch.zeros((2, 100), dtype=torch.bool)
    member[0, :50], member[1, :52] = True, True  # IoU .96: twice the same thing
    assert surrounding(member).tolist() == [-1, -1]


def test_picks_are_members_and_all_members_are_picked():
    member = torch.rand((5, 12), generator=seeded()) < 0.5
    member[:, 0] = True
    drawn = pick(member, (400, 2), seeded(1))
    assert drawn.shape == (5, 400, 2)
    for row, chosen in zip(member, drawn, strict=True):
        assert set(chosen.unique().tolist()) == set(row.nonzero()[:, 0].tolist())


def test_pairs_keep_their_promises():
    member, config = membership(nested_labels()), ContrastConfig(pairs=50, negatives=8, hard_share=0.5)
    pairs = sample_pairs(member, config, seeded())
    mask = torch.arange(len(member)).repeat_interleave(config.pairs)
    assert member[mask, pairs.anchor].all() and member[mask, pairs.positive].all()
    assert not member[mask[:, None], pairs.negative].any()
    # mask 2 lies in mask 1: half of its negatives come from the rest of mask 1
    hard = pairs.negative[mask == 1][:, :4]
    assert ((hard >= 10) & (hard < 30)).all()


def test_info_nce_equals_the_formula():
    positive, negative, tau = torch.randn(7, generator=seeded()), torch.randn((7, 3), generator=seeded(1)), 0.1
    rows = [-np.log(np.exp(p / tau) / (np.exp(p / tau) + np.exp(n / tau).sum())) for p, n in zip(positive.numpy(), negative.numpy(), strict=True)]
    assert float(info_nce(positive, negative, tau)) == pytest.approx(np.mean(rows), rel=1e-4)


def test_paper_eq2_is_linear_in_the_similarities():
    positive, negative = 0.1 * torch.randn(7, generator=seeded()), 0.1 * torch.randn((7, 3), generator=seeded(1))
    linear = -((positive[:, None] - negative) / 0.1).mean()
    assert float(paper_eq2(positive, negative, 0.1)) == pytest.approx(float(linear), rel=1e-3, abs=1e-4)


def test_bottleneck_similarity_is_the_best_worst_edge():
    features = torch.nn.functional.normalize(torch.randn((12, 4), generator=seeded()), dim=1)
    edges = pixel_graph(torch.randn((12, 3), generator=seeded(2)), 3)
    pairs = torch.cartesian_prod(torch.arange(12), torch.arange(12))
    found = bottleneck_similarity(features, edges, pairs)
    widest = torch.full((12, 12), -2.0)
    widest.fill_diagonal_(1.0)
    for a, b in edges.tolist():
        widest[a, b] = widest[b, a] = features[a] @ features[b]
    for k in range(12):
        widest = torch.maximum(widest, torch.minimum(widest[:, k : k + 1], widest[k : k + 1]))
    direct = features @ features.T
    _, parts = components(12, edges.numpy())
    connected = torch.from_numpy(parts[:, None] == parts[None])
    torch.testing.assert_close(found.reshape(12, 12), torch.where(connected, widest, direct))


def test_crossing_edges_are_avoided_where_another_way_exists():
    features = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.05], [1.0, 1.0], [1.0, 0.1]]), dim=1)
    edges = torch.tensor([[0, 3], [0, 1], [1, 2], [2, 3]])  # the direct edge 0-3 is alike but crosses
    crossing = torch.tensor([True, False, False, False])
    pair = torch.tensor([[0, 3]])
    assert float(bottleneck_similarity(features, edges, pair)[0]) == pytest.approx(float(features[0] @ features[3]))
    around = bottleneck_similarity(features, edges, pair, crossing)
    assert float(around[0]) == pytest.approx(float(features[1] @ features[2]), abs=1e-6)


def test_losses_fall_when_features_separate_the_masks():
    member, points = membership(nested_labels()), torch.randn((40, 3), generator=seeded())
    random = torch.nn.functional.normalize(torch.randn((40, 4), generator=seeded()), dim=1)
    # one direction per region, mask 2 nearer to mask 1 than to mask 3
    ideal = torch.zeros((40, 4))
    ideal[:10], ideal[10:30], ideal[30:] = torch.tensor([1.0, 0.5, 0, 0]), torch.tensor([1.0, -0.5, 0, 0]), torch.tensor([0, 0, 1.0, 0])
    ideal = torch.nn.functional.normalize(ideal, dim=1)
    config = ContrastConfig(ultrametric_weight=0.3)
    worse, better = (contrastive_losses(f, points, member, config, seeded()) for f in (random, ideal))
    assert set(worse) == {"euclidean", "ultrametric"}
    assert all(better[name] < worse[name] for name in worse)


def test_losses_have_finite_gradients_even_where_features_coincide():
    features = torch.ones((40, 4)) / 2
    features.requires_grad_(True)
    losses = contrastive_losses(features, torch.zeros((40, 3)), membership(nested_labels()), ContrastConfig(), seeded())
    sum(losses.values()).backward()
    assert torch.isfinite(features.grad).all()


def test_a_weight_of_zero_leaves_the_term_out():
    member, points = membership(nested_labels()), torch.randn((40, 3), generator=seeded())
    features = torch.nn.functional.normalize(torch.randn((40, 4), generator=seeded()), dim=1)
    assert set(contrastive_losses(features, points, member, ContrastConfig(ultrametric_weight=0.0), seeded())) == {"euclidean"}
    assert set(contrastive_losses(features, points, member, ContrastConfig(euclidean_weight=0.0), seeded())) == {"ultrametric"}


def test_cosines_across_edges_are_those_of_their_ends():
    features = torch.nn.functional.normalize(torch.randn((30, 7), generator=seeded()), dim=1)
    edges = pixel_graph(torch.randn((30, 3), generator=seeded(1)), 4)
    torch.testing.assert_close(edge_cosine(features, edges), (features[edges[:, 0]] * features[edges[:, 1]]).sum(1))
    with pytest.raises(ValueError, match="not sorted"):
        edge_cosine(features, edges.flip(0))


@pytest.mark.parametrize("masks", [0, 1, 24, 62, 63, 130])
def test_an_edge_crosses_where_some_mask_holds_one_end_only(masks):
    member = torch.rand((masks, 40), generator=seeded()) < 0.02
    edges = torch.randint(40, (60, 2), generator=seeded(1))
    expected = [any(bool(m[u]) != bool(m[v]) for m in member) for u, v in edges]
    assert crosses(member, edges).tolist() == expected
