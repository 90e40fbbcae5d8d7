"""What a head learns from lifted masks: its losses, its training, and the networks and pictures that it stands on."""

import numpy as np
import pytest
import torch
from checkpoints_sam import write_checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import binary_cross_entropy_with_logits

from semquery.lifting import PUBLISHED, Fused, fuse, lift, sight_of_grid, weigh
from semquery.lifting.answer import ViewsConfig, answer
from semquery.lifting.backbone import EdgeConv, level_of, point_trunk
from semquery.lifting.head import (
    DistillConfig,
    FieldTrunk,
    Taught,
    alignment_loss,
    decided,
    distill,
    head_tensors,
    load_head,
    own_tokens,
    spatial_loss,
)
from semquery.lifting.pixels import ColourEdges, PixelEncoder, PointFeatures, SamEncoder, point_features, unit_at_points
from semquery.masks import Sam
from semquery.segmenter import Region
from semquery.types import Surface

SEEDS = st.integers(0, 10_000)
QUICK = DistillConfig(steps=120, batch=256, width=16, spatial=0.0)


def clusters(n=120, seed=0):
    """Unit features of three parts, and the part of each point."""
    random = np.random.default_rng(seed)
    part = np.repeat([0, 1, 2], n // 3)
    middle = np.array([[1, 0, 0, 0.3], [0, 1, 0, -0.3], [0, 0, 1, 0.1]])
    features = middle[part] + 0.08 * random.normal(size=(n, 4))
    return (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float16), part


def half_seen(inside, seed=0, n=120):
    """What views say of a part when they see half of the points, and err in a tenth."""
    random = np.random.default_rng(seed)
    seen = random.random(n) < 0.5
    mask = np.where(random.random(n) < 0.1, 1.0 - inside, inside) * seen
    return Fused(mask, seen.astype(float), 1.0)


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


# losses


@settings(max_examples=15)
@given(SEEDS)
def test_the_alignment_loss_is_the_mean_over_pairs_of_point_and_view(seed):
    random = np.random.default_rng(seed)
    grids = [random.integers(-1, 9, (6, 6)).astype(np.int32) for _ in range(3)]
    answers = {f"v{k}": [Region(random.random((6, 6)) < 0.5, embedding=random.normal(size=4).astype(np.float32))] for k in range(3)}
    votes = lift({f"v{k}": sight_of_grid(grid) for k, grid in enumerate(grids)}, answers, 9)
    weighed = weigh(votes, PUBLISHED)
    fused = fuse(votes, weighed)
    logits = torch.from_numpy(random.normal(size=9))
    pairs = [(i, p) for i in range(3) for p in range(9) if votes.seen[i, p]]
    each = [weighed.weights[i] * binary_cross_entropy_with_logits(logits[p], torch.tensor(float(votes.share[i, p]), dtype=torch.float64)) for i, p in pairs]
    slow = sum(each) / sum(weighed.weights[i] for i, _ in pairs)
    fast = alignment_loss(logits[None], torch.from_numpy(fused.mask)[None], torch.from_numpy(fused.heard)[None])
    assert np.isclose(float(fast), float(slow))


@settings(max_examples=15)
@given(SEEDS, st.booleans())
def test_the_spatial_loss_is_the_mean_of_1_minus_cos_over_pairs(seed, everywhere):
    random = np.random.default_rng(seed)
    grids = [random.integers(-1, 6, (5, 5)).astype(np.int32) for _ in range(2)]
    sights = {f"v{k}": sight_of_grid(grid) for k, grid in enumerate(grids)}
    votes = lift(sights, {view: [Region(np.ones((5, 5), bool))] for view in sights}, 6)
    photos = {view: random.integers(0, 255, (5, 5, 3)).astype(np.uint8) for view in sights}
    seen = point_features(sights, votes, ColourEdges(), photos.__getitem__, everywhere)
    projected = torch.from_numpy(random.normal(size=(6, 12)))
    each = []
    for view, grid in zip(sights, grids):
        dense = ColourEdges().dense(photos[view])
        for p in range(6):
            if (grid == p).any():
                mean = torch.from_numpy(dense[grid == p].mean(0)).double()
                each.append(1 - torch.nn.functional.cosine_similarity(projected[p], mean, dim=0))
    fast = spatial_loss(projected, torch.from_numpy(seen.total).double(), torch.from_numpy(seen.count))
    assert np.isclose(float(fast), float(sum(each) / len(each)), atol=1e-5)


# training


@pytest.mark.parametrize("rule", ["probability", "cosine"])
def test_a_head_answers_for_points_that_no_view_saw_and_mends_what_views_got_wrong(rule):
    features, part = clusters()
    fused, token = half_seen((part == 1).astype(float)), np.array([0.6, 0.8, 0.0])
    head = distill(FieldTrunk(features, 16), [Taught(token, fused)], QUICK)
    found = decided(head.scores(token, rule), rule, 0.5)
    assert iou(fused.mask > 0.5, part == 1) < 0.6 and iou(found, part == 1) > 0.97


def test_the_published_rule_takes_what_lies_above_the_mean_by_most_of_a_deviation():
    scores = np.array([0.0, 0.0, 0.0, 1.0])
    assert decided(scores, "deviation", 0.5).tolist() == [False, False, False, True] and not decided(scores - 5, "probability", 0.5).any()


def test_one_head_answers_several_queries_by_their_tokens_alone():
    features, part = clusters()
    tokens = np.random.default_rng(0).normal(size=(3, 8))
    taught = [Taught(token, half_seen((part == k).astype(float), k)) for k, token in enumerate(tokens)]
    head = distill(FieldTrunk(features, 16), taught, QUICK)
    for k, token in enumerate(tokens):
        assert iou(head.scores(token) > 0.5, part == k) > 0.9
    own = distill(FieldTrunk(features, 16), [Taught(row, each.fused) for row, each in zip(own_tokens(3), taught)], QUICK)
    assert iou(own.scores(own_tokens(3)[2]) > 0.5, part == 2) > 0.9


def test_the_projections_are_trained_and_saved():
    features, part = clusters()
    seen = PointFeatures(np.random.default_rng(1).normal(size=(120, 5)).astype(np.float32), np.ones(120))
    taught = [Taught(np.array([1.0, 0.0]), half_seen((part == 0).astype(float)))]
    once, long = (head_tensors(distill(FieldTrunk(features, 16), taught, DistillConfig(steps=steps, batch=64, width=16), seen)) for steps in (1, 60))
    assert {"token.weight", "pixels.weight", "bias"} <= set(long) and not any("features" in name for name in long)
    for name in ("token.weight", "pixels.weight"):
        assert float((once[name] - long[name]).abs().max()) > 0.05
    again = load_head(FieldTrunk(features, 16), long)
    assert np.allclose(again.scores(taught[0].token), distill(FieldTrunk(features, 16), taught, DistillConfig(steps=60, batch=64, width=16), seen).scores(taught[0].token))


def test_the_spatial_loss_pulls_the_features_towards_the_pictures():
    features, part = clusters()
    unit = np.eye(3, 6, dtype=np.float32)[part]
    taught = [Taught(np.array([1.0]), half_seen((part == 0).astype(float)))]
    losses = []
    for weight in (0.0, 1.0):
        head = distill(FieldTrunk(features, 16), taught, DistillConfig(steps=80, batch=128, width=16, spatial=weight), PointFeatures(unit, np.ones(120)))
        assert (head.pixels is None) == (weight == 0)
        if head.pixels is not None:
            with torch.no_grad():
                losses.append(float(spatial_loss(head.pixels(head.trunk()), torch.from_numpy(unit), torch.ones(120))))
    assert losses[0] < 0.1


def test_the_same_seed_gives_the_same_head_and_torch_draws_on_as_before():
    features, part = clusters()
    taught = [Taught(np.array([1.0]), half_seen((part == 0).astype(float)))]
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    a, b = (distill(FieldTrunk(features, 16), taught, DistillConfig(steps=5, batch=32, width=8 * 2)).scores(np.array([1.0])) for _ in range(2))
    assert (a == b).all() and torch.equal(torch.rand(2), expected)
    other = DistillConfig(steps=5, batch=32, width=16, seed=1)
    assert not np.allclose(a, distill(FieldTrunk(features, 16, 1), taught, other).scores(np.array([1.0])))


def test_what_cannot_be_learned_or_loaded_is_refused_in_a_sentence():
    features, _ = clusters()
    with pytest.raises(ValueError, match="nothing to distil"):
        distill(FieldTrunk(features, 16), [Taught(np.ones(1), Fused(np.zeros(120), np.zeros(120), 0.0))], QUICK)
    with pytest.raises(ValueError, match="no head for this trunk"):
        load_head(FieldTrunk(features, 16), {"token.weight": torch.zeros(16, 2)})
    with pytest.raises(ValueError, match="steps is 0"):
        DistillConfig(steps=0)


# the point network


def cloud(seed=0, n=300):
    random = np.random.default_rng(seed)
    points = random.random((n, 3)).astype(np.float32)
    colors = np.where(points[:, :1] > 0.5, (200, 40, 40), (40, 40, 200)).astype(np.uint8)
    normals = np.tile(np.array([0, 0, 1], np.float32), (n, 1))
    return points, colors, normals


@settings(max_examples=15)
@given(SEEDS)
def test_an_edge_convolution_is_the_largest_answer_over_the_neighbours(seed):
    points = np.random.default_rng(seed).random((20, 3)).astype(np.float32)
    level = level_of(points, 0.3, 4)
    torch.manual_seed(seed)
    conv, x = EdgeConv(5), torch.randn(len(level.count), 5)
    for v in range(len(x)):
        each = [torch.relu(conv.own(x[v]) + conv.other(x[j] - x[v]) + conv.place(level.offset[v, k])) for k, j in enumerate(level.near[v])]
        assert torch.allclose(conv(x, level)[v], torch.stack(each).amax(0), atol=1e-5)


def test_each_point_lies_in_one_voxel_of_its_own_place_and_the_nearest_voxel_is_itself():
    points, _, _ = cloud()
    level = level_of(points, 0.25, 6)
    cell = np.floor((points - points.min(0)) / 0.25)
    same = (cell[:, None] == cell[None]).all(2)
    voxel = level.voxel_of_point.numpy()
    assert (same == (voxel[:, None] == voxel[None])).all()
    assert (level.near[:, 0].numpy() == np.arange(len(level.count))).all() and int(level.count.sum()) == 300


def test_a_point_network_does_not_depend_on_the_order_of_the_points_nor_on_where_the_scene_lies():
    points, colors, normals = cloud()
    order = np.random.default_rng(1).permutation(300)
    one = point_trunk(points, colors, normals, 0.05, 8, (2.0, 8.0))
    other = point_trunk(points[order], colors[order], normals[order], 0.05, 8, (2.0, 8.0))
    with torch.no_grad():
        assert torch.allclose(one()[order], other(), atol=1e-4)
        assert torch.allclose(one(torch.tensor([5, 2])), one()[[5, 2]])


def test_without_a_field_a_point_network_learns_what_is_meant_from_places_and_colours():
    points, colors, normals = cloud()
    meant = points[:, 0] > 0.5
    random = np.random.default_rng(0)
    seen = random.random(300) < 0.5
    fused = Fused(meant * seen * 1.0, seen * 1.0, 1.0)
    head = distill(point_trunk(points, colors, normals, 0.05, 16), [Taught(np.ones(1), fused)], DistillConfig(steps=60, batch=128, width=16, spatial=0.0))
    assert iou(head.scores(np.ones(1)) > 0.5, meant) > 0.95
    again = load_head(point_trunk(points, colors, normals, 0.05, 16), head_tensors(head))
    assert np.allclose(again.scores(np.ones(1)), head.scores(np.ones(1)))


# pictures


def test_colour_and_edges_are_told_apart_and_neither_says_anything_about_grey():
    image = np.full((20, 20, 3), 128, np.uint8)
    assert np.abs(ColourEdges().dense(image)).max() < 0.01
    image[:, 10:] = (255, 0, 0)
    dense = ColourEdges((1.0,)).dense(image)
    assert dense.shape == (20, 20, 6) and dense[5, 15, 1] > 0.9 and abs(dense[5, 2, 1]) < 0.01  # red − green
    assert dense[5, 9, 4] > 0.1 and dense[5, 15, 4] < 0.01  # its slope
    assert isinstance(ColourEdges(), PixelEncoder)


def test_the_feature_of_a_point_is_the_mean_of_its_pixels_at_unit_length_at_any_resolution():
    sight = sight_of_grid(np.array([[0, 0, 1, -1]] * 2, np.int32))
    dense = np.array([[[1.0, 0], [0, 2]], [[1.0, 0], [0, 2]]], np.float32)  # half as wide
    assert np.allclose(unit_at_points(sight, dense, 3), [[1, 0], [0, 1], [0, 0]])


@pytest.mark.parametrize("family", ["sam", "sam2"])
def test_the_encoder_of_a_sam_gives_a_feature_for_each_patch_of_the_picture(family, tmp_path):
    encoder = SamEncoder(Sam(str(write_checkpoint(family, tmp_path / family))))
    image = np.random.default_rng(0).integers(0, 255, (48, 64, 3)).astype(np.uint8)
    dense = encoder.dense(image)
    a, b, e = dense.shape
    assert e >= 8 and (a / b == 0.75 if family == "sam" else a == b) and np.isfinite(dense).all()  # SAM pads, SAM2 stretches
    assert family in encoder.identity and isinstance(encoder, PixelEncoder)
    Sam().close()


# all together


def test_views_without_embeddings_or_a_field_are_distilled_all_the_same():
    points, colors, normals = cloud()
    grid = np.arange(300, dtype=np.int32).reshape(15, 20)
    surface = Surface(points, normals, colors, np.zeros((300, 0), np.float16), np.arange(300, dtype=np.int32), 0.05, {"a": grid, "b": grid})
    meant = points[:, 0] > 0.5
    answers = {view: [Region(meant[grid])] for view in "ab"}
    config = ViewsConfig(distill=True, snap=False, head=DistillConfig(steps=60, batch=128, width=16))
    found = answer({view: sight_of_grid(grid) for view in "ab"}, answers, surface, None, lambda view: colors[grid], config)
    assert found.head is not None and found.token.tolist() == [1] and iou(found.inside, meant) > 0.95 and found.parts == () and found.snap_iou is None
