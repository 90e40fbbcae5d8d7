"""Gaussians in another frame: a similarity moves, turns and scales them, and the harmonics of their colours turn with them.

Notation
  g Gaussians, k spherical harmonics, d directions.
"""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from semquery.splatting.gaussians import Gaussians, spherical_harmonics

DIRECTIONS = 64  # on the sphere: more than the sixteen harmonics that are told apart by them


def moved(gaussians: Gaussians, T_to_from: Float64[Tensor, "4 4"]) -> Gaussians:
    """The same Gaussians in the frame that a similarity leads to; what they look like from a moved camera is the same.

    Worked out in double precision, given back in the type of `gaussians`. Raises ValueError for what is no similarity of positive scale.
    """
    T = T_to_from.detach().double().cpu()
    scale = float(torch.linalg.det(T[:3, :3]).clamp(min=0)) ** (1 / 3)
    turn = T[:3, :3] / max(scale, 1e-30)
    if not torch.allclose(turn @ turn.T, torch.eye(3, dtype=torch.float64), atol=1e-5):
        raise ValueError(f"Gaussians were to be moved by {T[:3, :3].tolist()}; expected a turn times a positive scale.")
    change = harmonics_turned(turn, gaussians.sh.shape[1]).to(gaussians.sh.device)
    means = gaussians.means.double() @ T[:3, :3].T.to(gaussians.means.device) + T[:3, 3].to(gaussians.means.device)
    quats = _times(_quaternion(turn).to(gaussians.quats.device), gaussians.quats.double())
    sh = torch.einsum("kl,glc->gkc", change, gaussians.sh.double())
    quats, sh, scales = quats.to(gaussians.quats), sh.to(gaussians.sh), gaussians.scales * scale
    return replace(gaussians, means=means.to(gaussians.means), quats=quats, scales=scales, sh=sh)


def harmonics_turned(turn: Float64[Tensor, "3 3"], count: int) -> Float64[Tensor, "{count} {count}"]:
    """The matrix M with Σ (M c)_k Y_k(turn · d) = Σ c_k Y_k(d) for every c and d: harmonics of a degree turn among themselves.

    Found by least squares over directions spread on the sphere (a Fibonacci lattice), exact as the harmonics span their turns.
    """
    place = np.arange(DIRECTIONS) + 0.5
    height, angle = 1 - 2 * place / DIRECTIONS, np.pi * (1 + 5**0.5) * place
    ring = np.sqrt(1 - height**2)
    directions = torch.from_numpy(np.stack([ring * np.cos(angle), ring * np.sin(angle), height], 1))
    return torch.linalg.lstsq(spherical_harmonics(directions @ turn.T, count), spherical_harmonics(directions, count)).solution


def _quaternion(turn: Float64[Tensor, "3 3"]) -> Float64[Tensor, " 4"]:
    """w x y z."""
    from scipy.spatial.transform import Rotation

    return torch.from_numpy(Rotation.from_matrix(turn.numpy()).as_quat()[[3, 0, 1, 2]])


def _times(one: Float[Tensor, " 4"], other: Float[Tensor, "g 4"]) -> Float[Tensor, "g 4"]:
    """Hamilton's product: first the turn of `other`, then that of `one`."""
    (a, b, c, d), (w, x, y, z) = one.unbind(-1), other.unbind(-1)
    return torch.stack([a * w - b * x - c * y - d * z, a * x + b * w + c * z - d * y,
                        a * y - b * z + c * w + d * x, a * z + b * y - c * x + d * w], -1)
