"""The Gaussians of a scene, and the cameras they are seen by.

Notation
  g Gaussians, k spherical harmonics (1, 4, 9 or 16 of degree 0 to 3).
Conventions
  Quaternions are w x y z of any length. Scales are standard deviations in world units, opacities 0..1: what a 3DGS PLY holds as
  logarithm and logit. Camera axes are OpenCV's (x right, y down, z forward), as gsplat has them; pixel (row, column) has its
  centre at (column + .5, row + .5).
"""

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from semquery.export.splats import SH_C0


@dataclass(frozen=True)
class View:
    """A pinhole camera.

    Where the Gaussians are in a frame of their own, `T_cam_world` may be the way from that frame, scale included: depths are in the
    camera's unit all the same.
    """

    T_cam_world: Float[Tensor, "4 4"]  # OpenCV axes
    intrinsics: Float[Tensor, " 4"]  # fx fy cx cy, pixels
    size: tuple[int, int]  # height, width

    @staticmethod
    def of(
        T_world_cam: Float[np.ndarray, "4 4"], intrinsics: Float[np.ndarray, " 4"], size: tuple[int, int], like: Tensor,
        T_world_splats: Float[np.ndarray, "4 4"] | None = None,
    ) -> "View":
        """From a camera-to-world pose with OpenGL's axes, as `types.Cameras` holds it; type and device of `like`."""
        way = np.linalg.inv(np.array(T_world_cam, np.float64) @ np.diag([1.0, -1.0, -1.0, 1.0]))
        way = way if T_world_splats is None else way @ T_world_splats
        return View(torch.as_tensor(way).to(like), torch.as_tensor(np.array(intrinsics, np.float64)).to(like), size)

    @property
    def position(self) -> Float[Tensor, " 3"]:
        """Of the camera, in the frame of the Gaussians."""
        return -torch.linalg.solve(self.T_cam_world[:3, :3], self.T_cam_world[:3, 3])


@dataclass(frozen=True)
class Gaussians:
    """A scene of anisotropic Gaussians."""

    means: Float[Tensor, "g 3"]  # world units
    quats: Float[Tensor, "g 4"]
    scales: Float[Tensor, "g 3"]
    opacities: Float[Tensor, " g"]
    sh: Float[Tensor, "g k 3"]  # of colour; colour = ½ + Σ sh_k Y_k(direction), cut off below 0

    def __len__(self) -> int:
        return len(self.means)

    def __getitem__(self, rows: Tensor) -> "Gaussians":
        return replace(self, **{each.name: getattr(self, each.name)[rows] for each in fields(self)})

    def to(self, device: torch.device) -> "Gaussians":
        """On another device."""
        return replace(self, **{each.name: getattr(self, each.name).to(device) for each in fields(self)})

    @property
    def covariances(self) -> Float[Tensor, "g 3 3"]:
        """R S Sᵀ Rᵀ."""
        turned = rotations(self.quats) * self.scales[:, None, :]
        return turned @ turned.mT

    def colors(self, eye: Float[Tensor, " 3"]) -> Float[Tensor, "g 3"]:
        """As seen from a point of the world: 0 and more, 1 is white."""
        bases = spherical_harmonics(normalize(self.means - eye, dim=-1), self.sh.shape[1])
        return ((bases[:, :, None] * self.sh).sum(1) + 0.5).clamp(min=0)


def rotations(quats: Float[Tensor, "g 4"]) -> Float[Tensor, "g 3 3"]:
    """Rotation matrices of quaternions w x y z of any length."""
    w, x, y, z = normalize(quats, dim=-1).unbind(-1)
    rows = [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
            2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
            2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]
    return torch.stack(rows, -1).reshape(-1, 3, 3)


def spherical_harmonics(directions: Float[Tensor, "g 3"], count: int) -> Float[Tensor, "g {count}"]:
    """Real spherical harmonics up to degree 3 of unit directions, in the order and with the signs of 3DGS (Kerbl et al. 2023).

    `count`: 1, 4, 9 or 16. Raises ValueError for another count.
    """
    if count not in (1, 4, 9, 16):
        raise ValueError(f"There are {count} spherical harmonics; expected 1, 4, 9 or 16 (degree 0 to 3).")
    x, y, z = directions.unbind(-1)
    bases = [torch.full_like(x, SH_C0)]
    if count > 1:
        bases += [-0.4886025119029199 * y, 0.4886025119029199 * z, -0.4886025119029199 * x]
    if count > 4:
        bases += [1.0925484305920792 * x * y, -1.0925484305920792 * y * z, 0.31539156525252005 * (2 * z * z - x * x - y * y),
                  -1.0925484305920792 * x * z, 0.5462742152960396 * (x * x - y * y)]
    if count > 9:
        bases += [-0.5900435899266435 * y * (3 * x * x - y * y), 2.890611442640554 * x * y * z,
                  -0.4570457994644658 * y * (4 * z * z - x * x - y * y), 0.3731763325901154 * z * (2 * z * z - 3 * x * x - 3 * y * y),
                  -0.4570457994644658 * x * (4 * z * z - x * x - y * y), 1.445305721320277 * z * (x * x - y * y),
                  -0.5900435899266435 * x * (x * x - 3 * y * y)]
    return torch.stack(bases, -1)
