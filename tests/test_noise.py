"""Masks drawn from the truth: exact ones are the nodes, noisy ones are broken as much as asked."""

import numpy as np
import pytest

from eval import noise
from eval.noise import HARD, SAM_LIKE, Noise, exact_masks, noisy_masks
from semquery.render import RayCaster, pinhole
from semquery.tabletop import FIELD_OF_VIEW, build, cameras

# root 4 ── 3 ── leaves 0, 1
#        └─ leaf 2
FIVE = np.array([3, 3, 4, 4, 4])
QUIET = Noise(levels=1, drop=0, merge=0, facet=0, boundary=0)


def picture_of_five() -> np.ndarray:
    leaf = np.full((20, 30), -1)
    leaf[4:16, 2:10], leaf[4:16, 10:18], leaf[4:16, 18:28] = 0, 1, 2
    leaf[0, :5] = 2  # too far from the rest to touch it
    return leaf


def flat(leaf) -> np.ndarray:
    return np.broadcast_to(np.float32([0, 0, 1]), (*leaf.shape, 3))


@pytest.fixture(scope="module")
def views():
    scene, size = build(), (96, 96)
    caster = RayCaster(scene.vertices, scene.faces)
    seen = []
    for T in cameras().values():
        hits = caster.cast(T, pinhole(FIELD_OF_VIEW, size), size)
        seen.append((np.where(hits.mask, scene.part_of_face[hits.face], -1), hits.normals))
    return scene.parents, seen


def test_exact_masks_are_the_visible_nodes():
    leaf = picture_of_five()
    masks = exact_masks(leaf, FIVE).masks()
    assert len(masks) == 4
    for mask, leaves in zip(masks, ([0], [1], [2], [0, 1]), strict=True):
        assert (mask == np.isin(leaf, leaves)).all()


def test_nodes_of_few_pixels_are_left_out():
    leaf = np.full((10, 10), 2)
    leaf[0, :11], leaf[1, :2] = 0, 1
    assert len(exact_masks(leaf, FIVE).masks()) == 2  # leaf 2, and 0 and 1 together


def test_without_noise_the_noisy_masks_are_the_exact_ones():
    leaf = picture_of_five()
    exact, quiet = exact_masks(leaf, FIVE).masks(), noisy_masks(leaf, flat(leaf), FIVE, QUIET, (0, 0)).masks()
    assert {m.tobytes() for m in exact} == {m.tobytes() for m in quiet}


def test_a_view_without_levels_or_without_parts_has_no_masks():
    leaf = picture_of_five()
    assert noisy_masks(leaf, flat(leaf), FIVE, Noise(levels=0), (0,)).num_masks == 0
    nothing = np.full((8, 8), -1)
    assert noisy_masks(nothing, flat(nothing), FIVE, SAM_LIKE, (0,)).num_masks == exact_masks(nothing, FIVE).num_masks == 0


def test_merging_unites_only_what_touches_and_is_disjoint():
    leaf = np.full((10, 30), -1)
    leaf[:, :8], leaf[:, 8:16], leaf[:, 22:] = 0, 1, 2
    masks, _ = noise.node_masks(leaf, FIVE)  # 0, 1, 2 and 3 = 0 or 1
    merged = noise.merge_touching(masks, 1.0, np.random.default_rng(0))
    assert (merged[0] == masks[3]).all() and (merged[1] == masks[3]).all()
    assert (merged[2:] == masks[2:]).all()


def test_of_a_mask_one_facet_is_left_and_large_ones_more_often():
    normals = np.zeros((10, 12, 3), np.float32)
    normals[:, :6, 0], normals[:, 6:9, 1], normals[:, 9:, 1] = 1, 0.9, -0.9
    masks = np.ones((400, 10, 12), bool)
    left = noise.keep_one_facet(masks, normals, 0.5, np.random.default_rng(0)).sum((1, 2))
    counts = {int(size): int((left == size).sum()) for size in np.unique(left)}
    assert set(counts) == {30, 60, 120} and counts[120] == pytest.approx(200, abs=40)
    assert counts[60] == pytest.approx(100, abs=30)


def test_signed_distance_is_half_a_pixel_beside_the_outline():
    mask = np.zeros((5, 6), bool)
    mask[:, 3:] = True
    np.testing.assert_allclose(noise.signed_distance(mask)[2], [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])
    assert (noise.signed_distance(np.ones((2, 2), bool)) == np.inf).all()


@pytest.mark.parametrize("pixels", [1.0, 2.0])
def test_outlines_move_by_as_much_as_asked(pixels):
    mask = np.zeros((400, 60), bool)
    mask[:, 30:] = True
    moved = noise.move_outlines(mask[None], pixels, 6.0, np.random.default_rng(0))[0]
    assert (30 - moved.sum(1)).std() == pytest.approx(pixels, rel=0.3)


def test_smooth_fields_have_unit_variance_and_neighbours_move_together():
    field = noise.smooth_field((200, 200), 6.0, np.random.default_rng(1))
    assert field.std() == pytest.approx(1, abs=0.15)
    assert np.abs(np.diff(field, axis=0)).mean() < 0.15


def test_noise_is_the_same_for_the_same_seed_and_other_for_another_view(views):
    parents, seen = views
    leaf, normals = seen[20]
    one, again, other = (noisy_masks(leaf, normals, parents, SAM_LIKE, (3, view)) for view in (20, 20, 21))
    assert (one.layers.shape == again.layers.shape) and (one.layers == again.layers).all()
    assert one.layers.shape != other.layers.shape or (one.layers != other.layers).any()


def test_harder_noise_leaves_fewer_and_worse_masks(views):
    parents, seen = views
    num, quality = [], []
    for setting in (QUIET, SAM_LIKE, HARD):
        stacks = [noisy_masks(leaf, normals, parents, setting, (0, k)).masks() for k, (leaf, normals) in enumerate(seen)]
        num.append(np.mean([len(s) for s in stacks]))
        best = [noise_iou(noise.node_masks(leaf, parents)[0], s) for (leaf, _), s in zip(seen, stacks, strict=True)]
        quality.append(np.mean(np.concatenate(best)))
    assert num[0] > 1.8 * num[1] and num[1] > 1.3 * num[2]
    assert quality[0] > 0.97 and 0.35 < quality[1] < 0.75 and 0.15 < quality[2] < quality[1] - 0.1


def noise_iou(true, found):
    """Best IoU of each true mask, pair by pair."""
    return [max(((t & f).sum() / (t | f).sum() for f in found), default=0.0) for t in true]
