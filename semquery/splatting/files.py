"""Gaussians from and to a 3DGS PLY, the file of every trainer (its layout: see export/splats.py).

Conventions
  The file holds logarithms of scales, logits of opacities, and harmonics channel by channel: f_rest has all higher ones of red,
  then of green, then of blue. Gaussians of two scales (2DGS) are flat: their third scale is 0.
"""

import numpy as np
import torch
from jaxtyping import Float32

from semquery.splatting.gaussians import Gaussians

BASE = ("x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2")


def gaussians_of(ply) -> Gaussians:
    """The Gaussians of a PLY that `export.splats.read_splats` has read (plyfile.PlyData), float32, in the order of the file.

    Those that hold what is no number stay, and are never drawn: their opacity is NaN.
    """
    rows = ply["vertex"].data
    rest = sum(name.startswith("f_rest_") for name in rows.dtype.names) // 3
    higher = _columns(rows, [f"f_rest_{k}" for k in range(3 * rest)]).reshape(len(rows), 3, rest).transpose(0, 2, 1)
    with np.errstate(over="ignore"):
        scales = np.exp(_columns(rows, [name for name in ("scale_0", "scale_1", "scale_2") if name in rows.dtype.names]))
    flat = np.zeros((len(rows), 3 - scales.shape[1]), np.float32)
    sh = np.concatenate([_columns(rows, ["f_dc_0", "f_dc_1", "f_dc_2"])[:, None], higher], 1)
    opacities = 1 / (1 + np.exp(-_columns(rows, ["opacity"])[:, 0].clip(-80, 80)))
    means, quats = _columns(rows, ["x", "y", "z"]), _columns(rows, [f"rot_{k}" for k in range(4)])
    whole = np.concatenate([means, quats, scales, sh.reshape(len(rows), 3 * sh.shape[1])], 1)
    opacities = np.where(np.isfinite(whole).all(1), opacities, np.nan)
    parts = (means, quats, np.concatenate([scales, flat], 1), opacities, sh)
    return Gaussians(*(torch.from_numpy(np.ascontiguousarray(part, np.float32)) for part in parts))


def ply_of(gaussians: Gaussians):
    """A PLY (plyfile.PlyData, binary, little-endian) in the layout of the original 3DGS."""
    from plyfile import PlyData, PlyElement

    count, rest = len(gaussians), gaussians.sh.shape[1] - 1
    names = [*BASE, *(f"f_rest_{k}" for k in range(3 * rest)), "opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    opacities = gaussians.opacities.detach().cpu().double().clamp(1e-7, 1 - 1e-7)
    columns = np.concatenate([
        _numpy(gaussians.means), np.zeros((count, 3)), _numpy(gaussians.sh[:, 0]), _numpy(gaussians.sh[:, 1:].transpose(1, 2).reshape(count, 3 * rest)),
        (opacities / (1 - opacities)).log().numpy()[:, None], np.log(_numpy(gaussians.scales).clip(1e-12)), _numpy(gaussians.quats)], 1)
    table = np.empty(count, [(name, "<f4") for name in names])
    for name, column in zip(names, columns.T, strict=True):
        table[name] = column
    return PlyData([PlyElement.describe(table, "vertex")], byte_order="<")


def _columns(rows: np.ndarray, names: list[str]) -> Float32[np.ndarray, "g c"]:
    return np.stack([rows[name].astype(np.float32) for name in names], 1) if names else np.zeros((len(rows), 0), np.float32)


def _numpy(values: torch.Tensor) -> np.ndarray:
    return values.detach().cpu().double().numpy()
