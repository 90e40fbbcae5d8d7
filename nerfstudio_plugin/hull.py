"""The box of a capture whose photos tell foreground from background: carved from the silhouettes.

A cell of space can hold surface only if no view that shows the cell sees nothing but background there.
The box of the cells that are left is where samples and grid vertices are worth spending; a tight box is
most of the difference between a blurred and a usable surface in two minutes.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int32
from nerfstudio.cameras.cameras import Cameras
from torch import Tensor

CELLS = 48  # along each edge of the carved cube
SILHOUETTE_SIDE = 128  # pixels
DRAWS = 20  # times the points that are wanted, at most


def hull_box(cameras: Cameras, photos: Sequence[Path]) -> Float[Tensor, "2 3"] | None:
    """Box of what the silhouettes leave, in the cameras' frame; None where they do not bound the scene.

    Behind an object that fills close-ups, space is shown by these close-ups alone and cannot be carved. So
    cells must be shown by a share of the views, the largest with which no foreground pixel looks past the box.
    """
    distances = [_distance_to_foreground(path) for path in photos]
    for share in (0.4, 0.2, 0.1):
        box = _carved_box(cameras, distances, max(2.0, share * len(distances)))
        if box is not None and _meets_all_foreground(box, cameras, distances):
            return box
    return None


def hull_points(cameras: Cameras, photos: Sequence[Path], box: Float[Tensor, "2 3"], count: int, seed: int = 0) -> Float[Tensor, "n 3"]:
    """`count` points of the box, evenly spread, that no silhouette rules out; fewer where the scene fills little of its box."""
    rng = torch.Generator().manual_seed(seed)
    distances, found = [_distance_to_foreground(path) for path in photos], []
    for _ in range(DRAWS):
        points = box[0] + (box[1] - box[0]) * torch.rand(count, 3, generator=rng)
        found.append(points[_carve(points, 0.0, cameras, distances) > 0])
        if sum(map(len, found)) >= count:
            break
    return torch.cat(found)[:count]


def _carved_box(cameras: Cameras, distances: list[Tensor], least_shown: float) -> Float[Tensor, "2 3"] | None:
    eyes = cameras.camera_to_worlds[:, :3, 3]
    centre, reach = (eyes.amax(0) + eyes.amin(0)) / 2, float((eyes.amax(0) - eyes.amin(0)).max())
    box = first = torch.stack([centre - reach, centre + reach])
    for _ in range(4):  # each round spends the same cells on a smaller box
        cells, half = _cells(box)
        left = cells[_carve(cells, float(half.norm()), cameras, distances) >= least_shown]
        if len(left) == 0:
            return None
        box = torch.stack([left.amin(0) - half, left.amax(0) + half])
    touches = (box[0] <= first[0] + 1e-4) | (box[1] >= first[1] - 1e-4)
    return None if bool(touches.any()) else box


def _meets_all_foreground(box: Float[Tensor, "2 3"], cameras: Cameras, distances: list[Tensor]) -> bool:
    """Whether the ray of (nearly) every foreground pixel crosses the box."""
    total, met = 0, 0
    for view, distance in enumerate(distances):
        pixels = torch.nonzero(distance == 0)
        coords = (pixels + 0.5) * cameras.width[view] / distance.shape[1]  # (row, column) of the photo
        rays = cameras[view : view + 1].generate_rays(camera_indices=0, coords=coords)
        near, far = ((corner - rays.origins) / (rays.directions + 1e-9) for corner in box)
        total += len(pixels)
        met += int((torch.minimum(near, far).amax(1) < torch.maximum(near, far).amin(1)).sum())
    return met >= 0.998 * total


def _distance_to_foreground(path: Path) -> Float[Tensor, "h w"]:
    """Of every pixel of the shrunken photo, in widths of the photo; everywhere large in an empty one."""
    from PIL import Image
    from scipy.ndimage import distance_transform_edt

    with Image.open(path) as photo:
        alpha = photo.getchannel("A")
    alpha.thumbnail((SILHOUETTE_SIDE, SILHOUETTE_SIDE), Image.Resampling.BOX)
    background = np.asarray(alpha) <= 12
    distance = np.full(background.shape, 9.0) if background.all() else distance_transform_edt(background) / background.shape[1]
    return torch.from_numpy(distance).float()


def _cells(box: Float[Tensor, "2 3"]) -> tuple[Float[Tensor, "n 3"], Float[Tensor, " 3"]]:
    """Centres of the box's cells, and half a cell's size."""
    half = (box[1] - box[0]) / (2 * CELLS)
    axes = [low + h * torch.arange(1, 2 * CELLS, 2) for low, h in zip(box[0], half, strict=True)]
    return torch.cartesian_prod(*axes), half


def _carve(cells: Float[Tensor, "n 3"], radius: float, cameras: Cameras, distances: list[Tensor]) -> Int32[Tensor, " n"]:
    """How many views show each cell; 0 for cells that some view shows as background through and through."""
    alive, shown = torch.ones(len(cells), dtype=torch.bool), torch.zeros(len(cells), dtype=torch.int32)
    for view, distance in enumerate(distances):
        rows = torch.nonzero(alive)[:, 0]
        inside, may_hold = _look_up(cells[rows], radius, cameras, view, distance)
        shown[rows] += inside.int()
        alive[rows] = may_hold | ~inside
    return shown * alive


def _look_up(
    points: Float[Tensor, "n 3"], radius: float, cameras: Cameras, view: int, distance: Float[Tensor, "h w"]
) -> tuple[Bool[Tensor, " n"], Bool[Tensor, " n"]]:
    """Whether each ball's centre falls into the view, and whether foreground is near enough there to lie in the ball.

    Lens distortion is left out: it is smaller than the pixel and a half that is allowed for.
    """
    pose, (h, w) = cameras.camera_to_worlds[view], distance.shape
    x, y, z = ((points - pose[:3, 3]) @ pose[:3, :3]).T
    depth, width = -z, cameras.width[view]
    u = (cameras.fx[view] * x / depth + cameras.cx[view]) / width
    v = (cameras.cy[view] - cameras.fy[view] * y / depth) / cameras.height[view]
    inside = (depth > radius) & (u >= 0) & (u < 1) & (v >= 0) & (v < 1)
    column, row = (torch.where(inside, a * n, torch.zeros_like(a)).long() for a, n in ((u, w), (v, h)))
    reach = cameras.fx[view] / width * radius / (depth - radius).clamp(min=1e-6) + 1.5 / w
    return inside, inside & (distance[row, column] <= reach)
