"""Pieces of `semquery-splat` by themselves: gsplat's call on a CPU, lenses, and Gaussians in another frame."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

pytest.importorskip("nerfstudio.engine.trainer")

from nerfstudio.cameras.cameras import Cameras as TrainerCameras  # noqa: E402

from nerfstudio_plugin.rasterization import rasterization, thinned, viewmat_of  # noqa: E402
from nerfstudio_plugin.splat_observe import DOWN, is_distorted, rays_of  # noqa: E402
from semquery.splatting import Gaussians, View, rasterize  # noqa: E402
from semquery.splatting.gaussians import spherical_harmonics  # noqa: E402
from semquery.splatting.lens import looked_up  # noqa: E402
from semquery.splatting.moved import harmonics_turned, moved  # noqa: E402
from semquery.splatting.project import project  # noqa: E402
from semquery.splatting.raster import composite  # noqa: E402
from semquery.types import Cameras  # noqa: E402

SEEDS = st.integers(0, 2**31 - 1)


def some(seed: int, count: int = 12, harmonics: int = 4) -> Gaussians:
    """Gaussians some units before a camera that looks along +z."""
    rng = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(*shape, generator=rng, dtype=torch.float64)  # noqa: E731
    means = 0.5 * normal(count, 3) + torch.tensor([0, 0, 4.0])
    scales, opacities = (0.4 * normal(count, 3) - 1.5).exp(), normal(count).sigmoid()
    return Gaussians(means, normal(count, 4), scales, opacities, 0.4 * normal(count, harmonics, 3))


def similarity(seed: int, scale: float) -> torch.Tensor:
    T = np.eye(4)
    T[:3, :3] = scale * Rotation.random(random_state=seed).as_matrix()
    T[:3, 3] = np.random.default_rng(seed).normal(size=3)
    return torch.from_numpy(T)


K = torch.tensor([[[20.0, 0, 8], [0, 22, 6], [0, 0, 1]]], dtype=torch.float64)


def called(g: Gaussians, **how):
    view = {"viewmats": torch.eye(4, dtype=torch.float64)[None], "Ks": K, "width": 16, "height": 12}
    return rasterization(g.means, g.quats, g.scales, g.opacities, **view, **{"colors": g.sh, "sh_degree": 1, **how})


# ------------------------------------------------------------------------------------- gsplat's call


def by_pixels(g: Gaussians, values: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Values and opacity of every pixel, one after the other, from the definition (Kerbl et al. 2023, eqs. 2 to 5)."""
    picture, opacity = np.zeros((12, 16, values.shape[1])), np.zeros((12, 16))
    covariances, order = g.covariances.numpy(), np.argsort(g.means[:, 2].numpy(), kind="stable")
    for row in range(12):
        for column in range(16):
            left = 1.0
            for k in order:
                x, y, z = g.means[k].tolist()
                bx, by = 1.3 * 16 / 40, 1.3 * 12 / 44  # beyond that the derivative is taken at the edge
                x, y = z * np.clip(x / z, -bx, bx), z * np.clip(y / z, -by, by)
                J = np.array([[20 / z, 0, -20 * x / z**2], [0, 22 / z, -22 * y / z**2]])
                x, y, _ = g.means[k].tolist()
                away = np.array([column + 0.5 - (20 * x / z + 8), row + 0.5 - (22 * y / z + 6)])
                power = -0.5 * away @ np.linalg.solve(J @ covariances[k] @ J.T + 0.3 * np.eye(2), away)
                alpha = min(0.999, float(g.opacities[k]) * np.exp(power))
                if alpha < 1 / 255 or left * (1 - alpha) <= 1e-4:
                    continue
                picture[row, column] += left * alpha * values[k].numpy()
                opacity[row, column] += left * alpha
                left *= 1 - alpha
    return picture, opacity


@given(seed=SEEDS)
@settings(max_examples=5)
def test_pictures_are_those_of_the_definition(seed: int) -> None:
    g = some(seed)
    values = g.colors(torch.zeros(3, dtype=torch.float64))
    picture, opacity, _ = called(g)
    expected, seen = by_pixels(g, values)
    # beyond three standard deviations, which the rasteriser leaves out, a Gaussian has at most exp(-4.5) of its opacity
    np.testing.assert_allclose(opacity[0, ..., 0], seen, atol=0.08)
    assert np.abs(picture[0].numpy() - expected).mean() < 0.01
    as_values, _, _ = called(g, colors=values, sh_degree=None)
    torch.testing.assert_close(as_values, picture)


def test_expected_depth_is_the_last_channel_and_no_harmonics_beyond_the_degree_count() -> None:
    g = some(3)
    plain, _, told = called(g)
    deep, seen, _ = called(g, render_mode="RGB+ED")
    torch.testing.assert_close(deep[..., :3], plain)
    hit = seen[0, ..., 0] > 0.5
    assert deep[0, ..., 3][hit].min() > 2 and deep[0, ..., 3][hit].max() < 6
    flat = Gaussians(g.means, g.quats, g.scales, g.opacities, torch.cat([g.sh[:, :1], 0 * g.sh[:, 1:]], 1))
    torch.testing.assert_close(called(g, sh_degree=0)[0], called(flat)[0])
    assert told["n_cameras"] == 1 and (told["width"], told["height"]) == (16, 12) and told["radii"].shape == (1, 12)


def test_centres_in_the_picture_get_the_gradient_of_moving_there_alone() -> None:
    """What densification reads: the change of the picture when an ellipse is moved, its shape kept."""
    g = some(5)
    leaf = Gaussians(g.means.clone().requires_grad_(), g.quats, g.scales, g.opacities, g.sh)
    picture, _, told = called(leaf)
    told["means2d"].retain_grad()
    weight = torch.randn(picture.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    (picture * weight).sum().backward()
    grad, step = told["means2d"].grad[0], 1e-6

    seen_by = View(torch.eye(4, dtype=torch.float64), K[0, [0, 1, 0, 1], [0, 1, 2, 2]], (12, 16))
    projected, values = project(g, seen_by), g.colors(seen_by.position)
    for k in range(3):
        for axis in range(2):
            ends = []
            for sign in (1, -1):
                means = projected.means.clone()
                means[k, axis] += sign * step
                ends.append(float((composite(replace(projected, means=means), g.opacities, values, (12, 16)).features * weight[0]).sum()))
            assert float(grad[k, axis]) == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-4)
    assert leaf.means.grad.abs().sum() > 0


@pytest.mark.parametrize("how", [{"absgrad": True}, {"packed": True}], ids=str)
def test_what_gsplat_alone_can_do_is_refused(how: dict) -> None:
    with pytest.raises(ValueError, match="torch rasteriser was asked for.*set use_absgrad to False"):
        called(some(0), **how)


@given(seed=SEEDS)
@settings(max_examples=5)
def test_an_antialiased_picture_has_opacities_that_make_good_for_the_wider_ellipses(seed: int) -> None:
    """√(|Σ| / |Σ + ε I|) of each Gaussian's own covariance in the picture, and what is large as it was."""
    g, view = some(seed, 6), View(torch.eye(4, dtype=torch.float64), K[0, [0, 1, 0, 1], [0, 1, 2, 2]], (12, 16))
    conics = project(g, view).conics
    for share, (a, b, c) in zip(thinned(conics), conics, strict=True):
        wide = np.linalg.inv(np.array([[a, b], [b, c]]))
        before = np.linalg.det(wide - 0.3 * np.eye(2)) / np.linalg.det(wide)
        assert 0 <= float(share) <= 1 and float(share) == pytest.approx(np.sqrt(max(before, 1e-10)), rel=1e-6)
    large = Gaussians(g.means, g.quats, 100 * g.scales, g.opacities, g.sh)
    torch.testing.assert_close(called(large, rasterize_mode="antialiased")[0], called(large)[0], atol=1e-2, rtol=0)
    small = Gaussians(g.means, g.quats, 0.01 * g.scales, g.opacities, g.sh)
    assert called(small, rasterize_mode="antialiased")[1].max() < 0.2 and called(small)[1].max() > 0.2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="gsplat needs CUDA")
def test_gsplat_renders_the_same() -> None:
    from nerfstudio_plugin.rasterization import rasterization_on

    g = some(7, 200)
    on = [t.float().cuda() for t in (g.means, g.quats, g.scales, g.opacities, g.sh)]
    view = {"viewmats": torch.eye(4, device="cuda")[None], "Ks": K.float().cuda(), "width": 16, "height": 12}
    one = rasterization_on(torch.device("cuda"))(*on, **view, sh_degree=1, packed=False, render_mode="RGB+ED")
    other = rasterization(*on, **view, sh_degree=1, render_mode="RGB+ED")
    for a, b in zip(one[:2], other[:2], strict=True):
        torch.testing.assert_close(a, b, atol=2e-3, rtol=1e-3)
    torch.testing.assert_close(one[2]["means2d"][one[2]["radii"] > 0], other[2]["means2d"][one[2]["radii"] > 0], atol=1e-3, rtol=1e-4)


@given(seed=SEEDS)
def test_a_view_matrix_is_the_inverse_of_the_pose_with_turned_axes(seed: int) -> None:
    T = similarity(seed, 1.0)
    expected = torch.linalg.inv(T @ torch.diag(torch.tensor([1.0, -1, -1, 1], dtype=torch.float64)))
    torch.testing.assert_close(viewmat_of(T[None, :3])[0], expected)


# ------------------------------------------------------------------------------------- lenses


def lens(distortion: tuple[float, ...] = (0.0,) * 6, turn: int = 4) -> TrainerCameras:
    pose = similarity(turn, 1.0)[None, :3].float()
    fx, fy, cx, cy = torch.tensor([[30.0], [28.0], [15.5], [12.0]])
    return TrainerCameras(pose, fx, fy, cx, cy, 32, 24, torch.tensor([distortion]))


def pinhole(turn: int = 4) -> Cameras:
    return Cameras(("a",), ("a.png",), similarity(turn, 1.0).numpy()[None], np.array([[30.0, 28, 15.5, 12]]), np.array([[24, 32]]))


def seen_at(rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the pinhole's picture is looked up, and whether it can be."""
    cameras = pinhole()
    return looked_up(rays[:, :2] * DOWN, tuple(cameras.sizes[0].tolist()), cameras.intrinsics[0])


def test_where_no_lens_bends_every_pixel_is_looked_up_at_itself() -> None:
    place, inside = seen_at(rays_of(lens(), 0))
    assert inside.all() and np.array_equal(place, np.arange(24 * 32))


def test_lenses_that_bend_nothing_are_not_distorted() -> None:
    assert not is_distorted(lens()) and is_distorted(lens((0, 0, 0, 0, 0, 1e-3)))
    plain = lens()
    plain.distortion_params = None
    assert not is_distorted(plain)
    plain.camera_type = plain.camera_type + 1  # a fisheye without coefficients
    assert is_distorted(plain)


def test_a_bent_ray_is_looked_up_where_the_lens_equation_says() -> None:
    """What an undistorted photo has at (x, y), the photo shows at (x, y) · (1 + k₁ r²)."""
    k1 = 0.2
    rays = rays_of(lens((k1, 0, 0, 0, 0, 0)), 0)
    squared = (rays[:, :2] ** 2).sum(1)
    bent = rays[:, :2] * (1 + k1 * squared)[:, None]
    row, column = np.divmod(np.arange(24 * 32), 32)
    np.testing.assert_allclose(30 * bent[:, 0] + 15.5, column + 0.5, atol=2e-3)
    np.testing.assert_allclose(12 - 28 * bent[:, 1], row + 0.5, atol=2e-3)
    place, inside = seen_at(rays)
    assert inside.all() and (place != np.arange(24 * 32)).any()
    outward, outside = seen_at(rays_of(lens((-0.3, 0, 0, 0, 0, 0)), 0))
    assert not outside.all() and (outward[~outside] == 0).all()  # shown by the photo, lost when it was undistorted


# ------------------------------------------------------------------------------------- another frame


@given(seed=SEEDS, scale=st.floats(0.05, 20), harmonics=st.sampled_from([1, 4, 9, 16]))
@settings(max_examples=20)
def test_moved_gaussians_look_the_same_from_a_moved_camera(seed: int, scale: float, harmonics: int) -> None:
    g, T = some(seed, 5, harmonics), similarity(seed, scale)
    there, turn = moved(g, T), T[:3, :3]
    eye = torch.tensor([0.3, -0.2, -1.0], dtype=torch.float64)
    torch.testing.assert_close(there.means, g.means @ turn.T + T[:3, 3])
    torch.testing.assert_close(there.covariances, turn @ g.covariances @ turn.T)
    torch.testing.assert_close(there.colors(turn @ eye + T[:3, 3]), g.colors(eye))
    seen_by = View(torch.eye(4, dtype=torch.float64), torch.tensor([20.0, 22, 8, 6], dtype=torch.float64), (12, 16))
    moved_by = View(torch.linalg.inv(T), seen_by.intrinsics, seen_by.size)
    with torch.no_grad():
        here, same = rasterize(g, seen_by, g.sh[:, 0]), rasterize(there, moved_by, there.sh[:, 0])
    torch.testing.assert_close(same.opacity, here.opacity, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(same.depth, here.depth, atol=1e-6, rtol=1e-6)


@given(seed=SEEDS, scale=st.floats(0.1, 10))
@settings(max_examples=20)
def test_moving_there_and_back_changes_nothing(seed: int, scale: float) -> None:
    g, T = some(seed, 4, 16), similarity(seed, scale)
    back = moved(moved(g, T), torch.linalg.inv(T))
    for name in ("means", "covariances", "opacities", "sh"):
        torch.testing.assert_close(getattr(back, name), getattr(g, name), atol=1e-8, rtol=1e-6)


@given(seed=SEEDS)
def test_turns_of_harmonics_are_rotations_that_mix_no_degrees(seed: int) -> None:
    turn = similarity(seed, 1.0)[:3, :3]
    M = harmonics_turned(turn, 16)
    torch.testing.assert_close(M @ M.T, torch.eye(16, dtype=torch.float64), atol=1e-9, rtol=0)
    blocks = torch.block_diag(*(torch.ones(2 * degree + 1, 2 * degree + 1) for degree in range(4)))
    assert float(M[blocks == 0].abs().max()) < 1e-10
    direction = torch.nn.functional.normalize(torch.randn(9, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=1)
    torch.testing.assert_close(spherical_harmonics(direction @ turn.T, 16) @ M, spherical_harmonics(direction, 16))


@pytest.mark.parametrize("bend", [np.diag([1.0, 2, 1]), np.diag([1.0, 1, -1]), np.zeros((3, 3))], ids=["stretch", "mirror", "nothing"])
def test_what_is_no_similarity_is_refused(bend: np.ndarray) -> None:
    T = torch.eye(4, dtype=torch.float64)
    T[:3, :3] = torch.from_numpy(bend)
    with pytest.raises(ValueError, match="expected a turn times a positive scale"):
        moved(some(0), T)
