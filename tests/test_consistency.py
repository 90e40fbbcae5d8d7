"""View consistency against pixels drawn one by one, by hand on four pixels, and by what must not matter."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval import consistency
from eval.consistency import View, correspondences, lineages, view_consistency
from semquery.geometry import image_points
from semquery.render import RayCaster, pinhole, pixel_rays, ring

FIVE = np.array([3, 3, 4, 4, 4])  # root 4 ── 3 ── leaves 0, 1; leaf 2
ABOVE = np.diag([1.0, 1, 1, 1])
ABOVE[:3, 3] = [4.0, 4.0, 10.0]  # 10 above the middle of 8 × 8 unit squares, looking down
LENS = np.array([10.0, 10.0, 4.0, 4.0])


def plane_view(leaves, parts, step: tuple[int, int] = (0, 0)) -> View:
    """The floor z = 0, a pixel a unit square, from a camera moved by `step` units along x and y."""
    shift = np.array([*step, 0.0])
    row, column = np.indices(leaves.shape) + 0.5
    points = np.stack([column, leaves.shape[0] - row, np.zeros_like(row)], -1) + shift
    pose = ABOVE.copy()
    pose[:3, 3] = [leaves.shape[1] / 2, leaves.shape[0] / 2, 10.0]
    pose[:3, 3] += shift
    return View(parts, leaves, points, pose, np.array([10.0, 10.0, leaves.shape[1] / 2, leaves.shape[0] / 2]))


def path(parents, node):
    """The node and all above it, smallest first."""
    nodes = [node] if node >= 0 else []
    while nodes and parents[nodes[-1]] != nodes[-1]:
        nodes.append(int(parents[nodes[-1]]))
    return nodes


def slow_consistency(true_parents, parents, views, tolerance, min_pixels):
    """Every pair of views, every true node, every pixel of it, with sets of pixels."""
    levels = {}
    for a in views:
        pixels = list(np.ndindex(a.leaves.shape))
        inside = lambda image, tree, node: {x for x in pixels if node in path(tree, image[x])}  # noqa: E731
        for b in views:
            if a is b:
                continue
            to_b = correspondences(a, b, tolerance)
            seen = {x: divmod(int(to_b[x]), b.leaves.shape[1]) for x in pixels if to_b[x] >= 0}
            for g in range(len(true_parents) - 1):
                segment = inside(a.leaves, true_parents, g)
                if len(segment) < min_pixels or not segment & set(seen):
                    continue
                scores = []
                for x in sorted(segment & set(seen)):
                    holders, there = path(parents, a.parts[x]), path(parents, b.parts[seen[x]])
                    if not holders or not there:
                        scores.append(0.0)
                        continue
                    iou = lambda v: len(inside(a.parts, parents, v) & segment) / len(inside(a.parts, parents, v) | segment)  # noqa: E731
                    v = max(holders, key=iou)  # the first of equals is the smallest
                    u = there[max(0, len(there) - len(path(parents, v)))]
                    mask_a = {y for y in seen if v in path(parents, a.parts[y])}
                    mask_b = {y for y in seen if u in path(parents, b.parts[seen[y]])}
                    scores.append(len(mask_a & mask_b) / len(mask_a | mask_b))
                levels.setdefault(len(path(true_parents, g)) - 1, []).append(np.mean(scores))
    return [float(np.mean(levels[k])) if k in levels else np.nan for k in range(1, len(levels) + 1)]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_counting_combinations_equals_drawing_every_pixel(seed):
    random = np.random.default_rng(seed)
    p = int(random.integers(1, 8))
    parents = np.array([random.integers(k + 1, p) for k in range(p - 1)] + [p - 1])
    world_leaf, world_part = random.integers(-1, 3, (9, 9)), random.integers(-1, p, (9, 9))
    views = []
    for step in ((0, 0), (1, 0), (2, 3)):
        frame = np.s_[3 - step[1] : 9 - step[1], step[0] : step[0] + 6]  # the world's first row is the farthest along y
        part = np.where(random.random((6, 6)) < 0.3, random.integers(-1, p, (6, 6)), world_part[frame])
        views.append(plane_view(world_leaf[frame], part, step))
    expected = slow_consistency(FIVE, parents, views, 0.1, 2)
    vc, levels = view_consistency(FIVE, parents, views, 0.1, 2)
    np.testing.assert_allclose(levels, expected)
    assert vc == pytest.approx(np.nanmean(expected))


def test_a_prediction_that_two_views_share_is_consistent_and_one_they_cut_differently_is_not():
    """Four pixels in a row, leaf 0 twice and leaf 1 twice; B moves the border by one pixel."""
    leaf = np.array([[0, 0, 1, 1]])
    a, same, moved = (plane_view(leaf, np.array([part])) for part in ([0, 0, 1, 1], [0, 0, 1, 1], [0, 1, 1, 1]))
    flat = np.array([2, 2, 2])
    assert view_consistency(flat, flat, [a, same], 0.1, min_pixels=2) == (1, (1,))
    # A → B: leaf 0's pixels meet {0} (1/2) and {1 2 3} (1/4); leaf 1's both meet {1 2 3} (2/3).
    # B → A: the first pixel of leaf 0 lies in {0} (there {0 1}: 1/2), the second lies best in the root (there the root: 1).
    there, back = np.mean([np.mean([1 / 2, 1 / 4]), 2 / 3]), np.mean([np.mean([1 / 2, 1]), 2 / 3])
    assert view_consistency(flat, flat, [a, moved], 0.1, min_pixels=2)[0] == pytest.approx((there + back) / 2)


def test_the_true_tree_is_consistent_wherever_two_views_look_at_a_box():
    """Ray-cast views of a box in two parts; what one view hides is not asked of the other."""
    import trimesh

    box = trimesh.creation.box((1.0, 1.0, 1.0))
    caster, lens, size, views = RayCaster(box.vertices, box.faces), pinhole(35.0, (40, 40)), (40, 40), []
    for pose in ring(np.zeros(3), 3.0, 30.0, np.array([20.0, 60.0, 200.0])):
        hits = caster.cast(pose, lens, size)
        leaf = np.where(hits.mask, (hits.points[..., 2] > 0).astype(int), -1)
        views.append(View(leaf, leaf, hits.points, pose, lens))
    flat = np.array([2, 2, 2])
    assert view_consistency(flat, flat, views, 0.05)[0] > 0.93  # pixels across the border are followed half a pixel off
    seen = correspondences(views[0], views[1], 0.05)
    a, b = views[0].points[seen >= 0], views[1].points.reshape(-1, 3)[seen[seen >= 0]]
    assert 0.2 < (seen >= 0).sum() / (views[0].leaves >= 0).sum() < 1 and np.linalg.norm(a - b, axis=1).max() <= 0.05


def test_a_pixel_without_a_predicted_part_counts_nothing():
    leaf = np.array([[0, 0, 1, 1]])
    whole, holed = plane_view(leaf, leaf), plane_view(leaf, np.array([[-1, 0, 1, 1]]))
    flat = np.array([2, 2, 2])
    assert view_consistency(flat, flat, [whole, holed], 0.1, 2)[0] == pytest.approx(np.mean([np.mean([0, 1 / 2]), 1]))


def test_the_order_of_views_does_not_matter():
    random = np.random.default_rng(1)
    leaf = random.integers(0, 3, (6, 6))
    views = [plane_view(leaf, random.integers(0, 5, (6, 6))) for _ in range(3)]
    assert view_consistency(FIVE, FIVE, views, 0.1, 2)[1] == pytest.approx(view_consistency(FIVE, FIVE, views[::-1], 0.1, 2)[1])


def test_a_point_hidden_in_the_other_view_has_no_counterpart():
    a = plane_view(np.zeros((2, 2), int), np.zeros((2, 2), int))
    raised = a.points.copy()
    raised[0, 0, 2] = 0.5  # something stands there
    b = replace(a, points=raised)
    assert (correspondences(a, b, 0.1) >= 0).tolist() == [[False, True], [True, True]]


def test_lineages_by_hand():
    assert lineages(FIVE).tolist() == [[4, 3, 0], [4, 3, 1], [4, 2, 2], [4, 3, 3], [4, 4, 4]]


def test_the_best_holder_is_the_smallest_of_equals():
    iou = np.array([[0.5, 0.2, 0.1, 0.5, 0.3]])
    assert consistency.best_holders(iou, FIVE).tolist() == [[0, 3, 4, 3, 4]]


def test_views_that_share_nothing_are_refused():
    a = plane_view(np.zeros((4, 4), int), np.zeros((4, 4), int))
    with pytest.raises(ValueError, match="give views that overlap"):
        view_consistency(FIVE, FIVE, [a, plane_view(a.leaves, a.parts, (50, 0))], 0.1)


def test_image_points_inverts_pixel_rays():
    size, pose, lens = (12, 16), ring(np.zeros(3), 3.0, 25.0, np.array([30.0]))[0], np.array([14.0, 11.0, 7.5, 6.2])
    origin, rays = pixel_rays(pose, lens, size)
    column, row, depth = image_points((origin + 2.5 * rays).reshape(-1, 3), pose, lens)
    rows, columns = np.indices(size)
    np.testing.assert_allclose(column.reshape(size), columns + 0.5)
    np.testing.assert_allclose(row.reshape(size), rows + 0.5)
    assert (depth > 0).all()
