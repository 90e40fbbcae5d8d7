"""Gaussians to pictures: against a pixel-by-pixel reference, an independent projection, and numerical gradients."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from semquery.render import ring
from semquery.splatting import Gaussians, View, on_cuda, project, rasterize
from semquery.splatting.blocks import BLOCK, LEAST_ALPHA, TILE, batches, blocks_of, grid_of
from semquery.splatting.gaussians import rotations, spherical_harmonics
from semquery.splatting.raster import DONE, MOST_ALPHA, composite, pixel_weights


def random_scene(count: int, seed: int = 0, size=(20, 37), degree: int = 1, dtype=torch.float64) -> tuple[Gaussians, View]:
    torch.manual_seed(seed)
    gaussians = Gaussians(
        torch.randn(count, 3, dtype=dtype) * 0.6, torch.randn(count, 4, dtype=dtype), torch.rand(count, 3, dtype=dtype) * 0.2 + 0.02,
        torch.rand(count, dtype=dtype), torch.randn(count, (degree + 1) ** 2, 3, dtype=dtype) * 0.3)
    pose = ring(np.zeros(3), 2.0, 20.0, np.array([30.0]))[0]
    return gaussians, View.of(pose, np.array([30.0, 28.0, 17.0, 11.0]), size, gaussians.means)


def by_hand(projected, opacities, features, size):
    """Every pixel alone: the Gaussians whose tiles it lies in, sorted by depth, blended until it is full."""
    height, width = size
    out = np.zeros((height, width, features.shape[1] + 5))
    order = np.argsort(projected.depths.numpy(), kind="stable")
    for row in range(height):
        for column in range(width):
            transmittance, weights, depths, there = 1.0, [], [], []
            for g in order:
                radius, mean = float(projected.radii[g]), projected.means[g].numpy()
                low, high = np.floor((mean - radius) / TILE), np.ceil((mean + radius) / TILE)
                if radius <= 0 or not (low[0] <= column // TILE < high[0] and low[1] <= row // TILE < high[1]):
                    continue
                d = np.array([column + 0.5, row + 0.5]) - mean
                a, b, c = projected.conics[g].numpy()
                power = -0.5 * (a * d[0] ** 2 + c * d[1] ** 2) - b * d[0] * d[1]
                alpha = min(MOST_ALPHA, float(opacities[g]) * np.exp(power))
                if power > 0 or alpha < LEAST_ALPHA:
                    continue
                if transmittance * (1 - alpha) <= DONE:
                    break
                weights.append(alpha * transmittance)
                depths.append(float(projected.depths[g]))
                there.append(depths[-1] / (1 - float(np.clip(d @ projected.slopes[g].numpy() / depths[-1], -0.5, 0.5))))
                out[row, column, : features.shape[1]] += weights[-1] * features[g].numpy()
                transmittance *= 1 - alpha
            total = sum(weights)
            if total > 0:
                reached = np.cumsum(weights)
                out[row, column, features.shape[1]] = total
                out[row, column, features.shape[1] + 1] = np.dot(weights, depths) / total
                out[row, column, features.shape[1] + 2 :] = [there[int(np.argmax(reached >= share * reached[-1]))] for share in (0.25, 0.5, 0.75)]
    return out


@pytest.mark.parametrize("seed", range(3))
def test_a_picture_is_what_blending_pixel_by_pixel_gives(seed):
    gaussians, view = random_scene(60, seed)
    features = torch.randn(60, 5, dtype=torch.float64)
    rendered, slow = rasterize(gaussians, view, features), by_hand(project(gaussians, view), gaussians.opacities, features, view.size)
    np.testing.assert_allclose(rendered.features, slow[..., :5], atol=1e-12)
    np.testing.assert_allclose(rendered.opacity, slow[..., 5], atol=1e-12)
    np.testing.assert_allclose(rendered.depth, slow[..., 6], atol=1e-12)
    np.testing.assert_allclose(rendered.quartiles.permute(1, 2, 0), slow[..., 7:], atol=1e-12)


def test_projection_is_that_of_gsplat():
    """gsplat carries a torch twin of its projection, which runs without CUDA."""
    reference = pytest.importorskip("gsplat.cuda._torch_impl")
    gaussians, view = random_scene(500, dtype=torch.float32)
    fx, fy, cx, cy = view.intrinsics
    K = torch.tensor([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    radii, means, depths, conics, _ = reference._fully_fused_projection(gaussians.means, gaussians.covariances, view.T_cam_world[None], K[None], 37, 20)
    mine = project(gaussians, view)
    seen = mine.radii > 0
    np.testing.assert_array_equal(seen, radii[0] > 0)
    assert 50 < seen.sum() < 500
    np.testing.assert_array_equal(mine.radii[seen], radii[0][seen])
    for found, expected in ((mine.means, means), (mine.depths, depths), (mine.conics, conics)):
        torch.testing.assert_close(found[seen], expected[0][seen], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("degree", range(4))
def test_harmonics_are_those_of_gsplat_and_orthonormal(degree):
    count = (degree + 1) ** 2
    reference = pytest.importorskip("gsplat.cuda._torch_impl")
    directions = torch.nn.functional.normalize(torch.randn(20000, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), dim=-1)
    bases = spherical_harmonics(directions, count)
    torch.testing.assert_close(bases, reference._eval_sh_bases_fast(count, directions), rtol=1e-9, atol=1e-9)
    gram = 4 * np.pi * bases.T @ bases / len(directions)
    np.testing.assert_allclose(gram, np.eye(count), atol=0.06)  # by 20 000 random directions


def test_three_harmonics_are_no_degree():
    with pytest.raises(ValueError, match="3 spherical harmonics; expected 1, 4, 9 or 16"):
        spherical_harmonics(torch.randn(2, 3), 3)


def test_rotations_are_those_of_scipy():
    quats = torch.randn(50, 4, dtype=torch.float64) * 3
    np.testing.assert_allclose(rotations(quats), Rotation.from_quat(quats.numpy()[:, [1, 2, 3, 0]]).as_matrix(), atol=1e-12)


def test_gradients_are_those_of_finite_differences():
    gaussians, view = random_scene(6, seed=4, size=(6, 7))
    view = View(view.T_cam_world, torch.tensor([6.0, 6.0, 3.5, 3.0], dtype=torch.float64), (6, 7))
    given = [t.clone().requires_grad_() for t in (gaussians.means, gaussians.quats, gaussians.scales, 0.2 + 0.6 * gaussians.opacities, torch.rand(6, 2, dtype=torch.float64))]
    sums = torch.randn(5, 6 * 7 * 4, dtype=torch.float64)  # of what is rendered, so that few gradients are asked for

    def render(means, quats, scales, opacities, features):
        rendered = rasterize(Gaussians(means, quats, scales, opacities, gaussians.sh), view, features)
        out = torch.cat([rendered.features.flatten(), rendered.opacity.flatten(), rendered.depth.flatten()])
        return sums @ out

    assert torch.autograd.gradcheck(render, given, eps=1e-7, atol=1e-5, rtol=1e-4)


def test_a_single_opaque_gaussian_shows_its_feature_at_its_depth():
    one = Gaussians(torch.zeros(1, 3), torch.tensor([[1.0, 0, 0, 0]]), torch.full((1, 3), 0.3), torch.ones(1), torch.zeros(1, 1, 3))
    view = View(torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 4], [0, 0, 0, 1]]), torch.tensor([20.0, 20, 8, 8]), (16, 16))
    rendered = rasterize(one, view, torch.tensor([[7.0]]))
    assert rendered.opacity[8, 8] > 0.9 and rendered.features[8, 8, 0] == pytest.approx(7 * float(rendered.opacity[8, 8]))
    assert rendered.depth[8, 8] == rendered.quartiles[1, 8, 8] == 4.0 and rendered.opacity[0, 0] < 1e-2
    behind = Gaussians(torch.tensor([[0.0, 0, -9]]), one.quats, one.scales, one.opacities, one.sh)
    empty = rasterize(behind, view, torch.tensor([[7.0]]))
    assert not empty.opacity.any() and not empty.depth.any() and not empty.quartiles.any()


def test_the_nearer_of_two_opaque_gaussians_hides_the_other_in_either_order():
    means = torch.tensor([[0.0, 0, 0], [0, 0, 1]])
    view = View(torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 4], [0, 0, 0, 1]]), torch.tensor([20.0, 20, 8, 8]), (16, 16))
    for order in ([0, 1], [1, 0]):
        two = Gaussians(means[order], torch.tensor([[1.0, 0, 0, 0]] * 2), torch.full((2, 3), 0.5), torch.full((2,), 0.99), torch.zeros(2, 1, 3))
        rendered = rasterize(two, view, torch.eye(2)[order])
        assert rendered.features[8, 8, 0] > 0.85 > 0.15 > rendered.features[8, 8, 1] and rendered.quartiles[1, 8, 8] == 4.0


def test_turning_scene_and_camera_together_changes_nothing():
    gaussians, view = random_scene(40)
    turn = torch.as_tensor(Rotation.random(random_state=3).as_matrix())
    T = torch.eye(4, dtype=torch.float64)
    T[:3, :3] = turn
    quats = torch.as_tensor((Rotation.from_matrix(turn.numpy()) * Rotation.from_quat(gaussians.quats.numpy()[:, [1, 2, 3, 0]])).as_quat()[:, [3, 0, 1, 2]])
    turned = Gaussians(gaussians.means @ turn.T, quats, gaussians.scales, gaussians.opacities, gaussians.sh)
    features = torch.randn(40, 3, dtype=torch.float64)
    mine, other = rasterize(gaussians, view, features), rasterize(turned, View(view.T_cam_world @ T.inverse(), view.intrinsics, view.size), features)
    torch.testing.assert_close(mine.features, other.features, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(mine.depth, other.depth, rtol=1e-9, atol=1e-9)


def test_colours_of_degree_nought_are_the_same_from_everywhere_and_higher_ones_are_not():
    gaussians, view = random_scene(5, degree=0)
    torch.testing.assert_close(gaussians.colors(view.position), gaussians.colors(torch.ones(3, dtype=torch.float64)))
    bent, _ = random_scene(5, degree=3)
    assert not torch.allclose(bent.colors(view.position), bent.colors(torch.ones(3, dtype=torch.float64)))


def test_blocks_hold_every_gaussian_that_may_be_seen_in_them_and_no_other_nearest_first():
    """Slow twin: all pixels of all blocks, one Gaussian at a time."""
    gaussians, view = random_scene(200, size=(70, 90))
    projected, (rows, columns) = project(gaussians, view), grid_of(view.size)
    order, start = blocks_of(projected, gaussians.opacities, view.size)
    assert (rows, columns) == (10, 12) and len(start) == 121 and start[-1] == len(order)
    needed = 0
    for block in range(120):
        here = order[start[block] : start[block + 1]]
        assert (projected.depths[here].diff() >= 0).all()
        y, x = (a.ravel() + 0.5 for a in np.mgrid[:BLOCK, :BLOCK] + BLOCK * np.array([block // columns, block % columns])[:, None, None])
        d = np.stack([x, y], 1)[:, None] - projected.means.numpy()
        a, b, c = projected.conics.numpy().T
        shown = projected.radii.numpy() * (gaussians.opacities.numpy() * np.exp(-0.5 * (a * d[..., 0] ** 2 + c * d[..., 1] ** 2) - b * d[..., 0] * d[..., 1]) >= LEAST_ALPHA).any(0) > 0
        tile = np.array([block % columns, block // columns]) // 2
        means, radii = projected.means.numpy(), projected.radii.numpy()[:, None]
        inside = ((np.floor((means - radii) / TILE) <= tile) & (tile < np.ceil((means + radii) / TILE))).all(1)
        assert set(here.tolist()) >= set(np.flatnonzero(shown & inside)) and set(here.tolist()) <= set(np.flatnonzero(inside))
        needed += int((shown & inside).sum())
    assert needed <= len(order) < 1.35 * needed  # the box around an ellipse is larger than the ellipse


def test_batches_have_every_block_once_with_its_gaussians():
    gaussians, view = random_scene(200, size=(70, 90))
    order, start = blocks_of(project(gaussians, view), gaussians.opacities, view.size)
    found = {}
    for here, which in batches(order, start, 64 * 300):
        assert len(here) * which.shape[1] <= 300 or len(here) == 1
        found |= {int(block): rows[rows >= 0].tolist() for block, rows in zip(here, which, strict=True)}
    assert found == {block: order[start[block] : start[block + 1]].tolist() for block in range(120) if start[block] < start[block + 1]}


def test_hundreds_of_gaussians_behind_each_other_are_blended_chunk_by_chunk():
    """More than are blended at a time, in a picture some pixels of which are soon done and others never."""
    count = 700
    gaussians, view = random_scene(count, seed=7, size=(16, 24))
    gaussians = Gaussians(0.4 * gaussians.means, gaussians.quats, gaussians.scales, 0.05 + 0.2 * gaussians.opacities, gaussians.sh)
    features = torch.randn(count, 2, dtype=torch.float64)
    rendered, slow = rasterize(gaussians, view, features), by_hand(project(gaussians, view), gaussians.opacities, features, view.size)
    assert slow[..., 2].max() > 0.999 and slow[..., 2].min() < 0.9
    np.testing.assert_allclose(rendered.features, slow[..., :2], atol=1e-12)
    np.testing.assert_allclose(rendered.quartiles.permute(1, 2, 0), slow[..., 4:], atol=1e-12)


def test_weights_of_pixels_blend_to_the_picture():
    gaussians, view = random_scene(60, size=(20, 37))
    features = torch.randn(60, 4, dtype=torch.float64)
    projected, picture, seen = project(gaussians, view), torch.full((20 * 37, 4), 9.0, dtype=torch.float64), []
    for pixels, rows, weights in pixel_weights(projected, gaussians.opacities, view.size):
        blended = weights @ features[rows.clamp(min=0)]
        assert not weights.mT[rows < 0].any()
        picture[pixels[pixels >= 0]] = blended[pixels >= 0]
        seen += pixels[pixels >= 0].tolist()
    shown = torch.tensor(seen)
    assert len(seen) == len(set(seen))
    rendered = rasterize(gaussians, view, features)
    torch.testing.assert_close(picture[shown], rendered.features.reshape(-1, 4)[shown])
    rest = torch.ones(740, dtype=torch.bool)
    rest[shown] = False
    assert not rendered.opacity.reshape(-1)[rest].any()


@pytest.mark.parametrize("turned", [0.0, 40.0, 65.0])
def test_a_large_flat_gaussian_seen_aslant_has_the_depths_of_its_plane(turned):
    """By hand: the pixel's ray meets the plane through the centre."""
    turn = Rotation.from_euler("xy", [0.3 * turned, turned], degrees=True)
    quat = torch.as_tensor(turn.as_quat()[[3, 0, 1, 2]])[None]
    one = Gaussians(torch.tensor([[0.1, -0.05, 0.0]]).double(), quat, torch.tensor([[0.5, 0.5, 1e-4]]).double(), torch.ones(1).double(), torch.zeros(1, 1, 3).double())
    view = View(torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 4], [0, 0, 0, 1]]).double(), torch.tensor([120.0, 120, 32, 24]).double(), (48, 64))
    rendered = rasterize(one, view, one.means[:, :0])
    y, x = np.mgrid[:48, :64] + 0.5
    rays = np.stack([(x - 32) / 120, (y - 24) / 120, np.ones_like(x)], -1)
    normal, centre = turn.as_matrix()[:, 2], np.array([0.1, -0.05, 4.0])
    on_plane, seen = (normal @ centre) / (rays @ normal), rendered.opacity.numpy() > 0.05
    assert seen.sum() > 200 and (turned == 0 or np.ptp(on_plane[seen]) > 0.3)
    np.testing.assert_allclose(rendered.quartiles[1].numpy()[seen], on_plane[seen], rtol=5e-3)
    np.testing.assert_allclose(rendered.depth.numpy()[seen], 4.0)


def test_no_quantiles_are_worked_out_where_none_are_wanted():
    gaussians, view = random_scene(30)
    features = torch.rand(30, 2, dtype=torch.float64)
    with_all, without = rasterize(gaussians, view, features), rasterize(gaussians, view, features, ())
    assert without.quartiles.shape == (0, 20, 37)
    torch.testing.assert_close(without.features, with_all.features)
    torch.testing.assert_close(rasterize(gaussians, view, features, (0.5,)).quartiles[0], with_all.quartiles[1])


def test_what_is_no_number_is_not_drawn():
    gaussians, view = random_scene(30)
    means = gaussians.means.clone()
    means[3] = torch.nan
    broken = Gaussians(means, gaussians.quats, gaussians.scales, gaussians.opacities, gaussians.sh)
    rest = torch.arange(30) != 3
    features = torch.rand(30, 2, dtype=torch.float64)
    torch.testing.assert_close(rasterize(broken, view, features).features, rasterize(gaussians[rest], view, features[rest]).features)


def test_nothing_is_drawn_of_no_gaussians():
    gaussians, view = random_scene(3)
    none = gaussians[torch.zeros(3, dtype=torch.bool)]
    rendered = composite(project(none, view), none.opacities, torch.zeros(0, 4, dtype=torch.float64), view.size)
    assert rendered.features.shape == (20, 37, 4) and not rendered.opacity.any()


# -------------------------------------------------------------------- gsplat's side


def test_gsplat_is_called_as_it_wants_to_be_and_draws_the_same(monkeypatch):
    """gsplat's own call and checks, its kernels replaced by its torch twins, and blending by the pixel-by-pixel reference."""
    rendering, twins = pytest.importorskip("gsplat.rendering"), pytest.importorskip("gsplat.cuda._torch_impl")

    def projection(means, covars, quats, scales, viewmats, Ks, width, height, eps2d, near_plane, far_plane, **rest):
        assert quats is scales is None and rest["packed"] is False and rest["camera_model"] == "pinhole"
        full = covars[:, [0, 1, 2, 1, 3, 4, 2, 4, 5]].reshape(-1, 3, 3)
        return twins._fully_fused_projection(means, full, viewmats, Ks, width, height, eps2d, near_plane, far_plane)

    def tiles(means2d, radii, depths, tile_size, tile_width, tile_height, **rest):
        return twins._isect_tiles(means2d, radii, depths, tile_size, tile_width, tile_height)

    def pixels(means2d, conics, colors, opacities, width, height, tile_size, offsets, flatten_ids, **rest):
        import types

        assert tile_size == TILE and colors.shape[:2] == means2d.shape[:2]
        held = types.SimpleNamespace(means=means2d[0], conics=conics[0], depths=depths_of["depths"], radii=depths_of["radii"], slopes=torch.zeros(len(means2d[0]), 2))
        drawn = torch.as_tensor(by_hand(held, opacities[0], colors[0], (height, width)), dtype=torch.float32)
        c = colors.shape[2]
        return drawn[None, ..., :c], drawn[None, ..., c : c + 1]

    depths_of = {}

    def remembered(*args, **rest):
        radii, means2d, depths, conics, compensations = projection(*args, **rest)
        depths_of.update(depths=depths[0], radii=radii[0])
        return radii, means2d, depths, conics, compensations

    for name, twin in (("fully_fused_projection", remembered), ("isect_tiles", tiles), ("isect_offset_encode", twins._isect_offset_encode),
                       ("rasterize_to_pixels", pixels)):
        monkeypatch.setattr(rendering, name, twin)
    gaussians, view = random_scene(50, dtype=torch.float32)
    means = gaussians.means.clone()
    means[7] = torch.nan
    gaussians = Gaussians(means, gaussians.quats, gaussians.scales, gaussians.opacities, gaussians.sh)
    for c in (0, 3, 40):  # forty are blended in two turns
        features = torch.randn(50, c)
        theirs, mine = on_cuda.rasterize(gaussians, view, features, (0.25, 0.5, 0.75)), rasterize(gaussians, view, features)
        for name in ("features", "opacity", "depth", "quartiles"):
            torch.testing.assert_close(getattr(theirs, name), getattr(mine, name), rtol=1e-4, atol=2e-5)


@pytest.mark.skipif(not (torch.cuda.is_available() and on_cuda.is_there()), reason="takes a CUDA device and gsplat's kernels")
def test_gsplat_and_torch_draw_the_same_and_have_the_same_gradients():
    gaussians, view = random_scene(2000, seed=5, size=(90, 130), dtype=torch.float32)
    view = View(view.T_cam_world, torch.tensor([110.0, 100.0, 65.0, 45.0]), view.size)
    features, found = torch.randn(2000, 40), []
    for device in ("cpu", "cuda"):
        parts = [t.detach().clone().to(device).requires_grad_() for t in (gaussians.means, gaussians.quats, gaussians.scales, gaussians.opacities, features)]
        scene, there = Gaussians(*parts[:4], gaussians.sh.to(device)), View(view.T_cam_world.to(device), view.intrinsics.to(device), view.size)
        rendered = rasterize(scene, there, parts[4])
        (rendered.features.sin().sum() + rendered.opacity.sum() + rendered.depth.sum()).backward()
        found.append([*(getattr(rendered, name).detach().cpu() for name in ("features", "opacity", "depth", "quartiles")), *(p.grad.cpu() for p in parts)])
    for mine, theirs in zip(*found, strict=True):
        off = (mine - theirs).abs() > 1e-3 * mine.abs() + 1e-3 * mine.abs().mean()
        assert off.float().mean() < 1e-3  # a rounding may move a pixel over one of the thresholds


def test_what_cannot_be_used_of_gsplat_is_said_and_torch_draws(monkeypatch, caplog):
    import sys

    on_cuda.is_there.cache_clear()
    monkeypatch.setitem(sys.modules, "gsplat.cuda._backend", None)
    assert not on_cuda.is_there() and "splats are rendered by torch" in caplog.text
    on_cuda.is_there.cache_clear()
