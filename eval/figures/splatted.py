"""The figure of splats: those of the scene as they are, by their parts, and with the answer to a query lit, as exports write them.

Notation
  n points, each with a splat of its own; h w size of a picture.
"""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float32, UInt8

from eval.figures.drawn import QUERIES, Picture, Shown, trimmed, with_arrows
from semquery.discs import disc_radii
from semquery.export import Chosen, part_colors
from semquery.export.splats import REACH, SH_C0, highlighted_splats, labelled_splats
from semquery.pictures import enlarged
from semquery.splatting import Gaussians, gaussians_of, ply_of
from semquery.splatting.placed import picture
from semquery.strips import in_rows, under
from semquery.types import Surface

WIDE, THIN, OPACITY = 0.6, 0.06, 0.95  # of a splat: standard deviations, of a point's disc, and how opaque it is
LIT = (235, 30, 30)


def splats(shown: Shown, side: int = 300) -> Picture:
    """Splats, their parts and the answer, from the view of the other figures."""
    loaded = shown.loaded
    chosen = Chosen(loaded.surface, loaded.tree, loaded.labels, (loaded.tree.root,))
    reach, ply = REACH * loaded.surface.voxel_size, ply_of(splats_on(loaded.surface))
    part = np.asarray(labelled_splats(ply, chosen, reach)["vertex"]["part"], np.int32)
    colors = part_colors(loaded.tree.num_parts)[loaded.tree.level(2)][part]
    of_answer = Chosen(loaded.surface, loaded.tree, loaded.labels, shown.answer.members)
    lit = highlighted_splats(ply, np.asarray(labelled_splats(ply, of_answer, reach)["vertex"]["part"], np.int32), LIT)
    made = {"splats": gaussians_of(ply), "the part of each": _painted(gaussians_of(ply), colors), f"export --query “{QUERIES[0]}”": gaussians_of(lit)}
    drawn = trimmed([_drawn(shown, gaussians) for gaussians in made.values()])
    return in_rows(with_arrows([under(enlarged(image, side), words) for image, words in zip(drawn, made, strict=True)]), 10_000)


def splats_on(surface: Surface) -> Gaussians:
    """A flat Gaussian on every surface point, in its colour."""
    radii = disc_radii(surface.points, surface.voxel_size)
    scales = radii[:, None] * np.array([WIDE, WIDE, THIN])
    count = len(surface.points)
    columns = (surface.points, _turned_to(surface.normals), scales, np.full(count, OPACITY), ((surface.colors / 255 - 0.5) / SH_C0)[:, None])
    return Gaussians(*(torch.tensor(column, dtype=torch.float32) for column in columns))


def _turned_to(normals: Float32[np.ndarray, "n 3"]) -> Float32[np.ndarray, "n 4"]:
    """Quaternions w x y z that turn z to the normals by the shortest way: (1 + z·n, z × n), which normalising makes a turn."""
    x, y, z = normals.T
    turned = np.stack([1 + z, -y, x, np.zeros_like(z)], 1)
    turned[z < -1 + 1e-6] = [0, 1, 0, 0]
    return turned.astype(np.float32)


def _painted(gaussians: Gaussians, colors: UInt8[np.ndarray, "n 3"]) -> Gaussians:
    sh = torch.from_numpy((colors / 255 - 0.5) / SH_C0).float()[:, None]
    return Gaussians(gaussians.means, gaussians.quats, gaussians.scales, gaussians.opacities, sh)


def _drawn(shown: Shown, gaussians: Gaussians) -> Picture:
    """By the camera of the view, twice as large."""
    cameras = shown.loaded.cameras
    larger = replace(cameras, sizes=2 * cameras.sizes, intrinsics=2 * cameras.intrinsics)
    return (255 * picture(gaussians, larger, cameras.names.index(shown.view))).round().astype(np.uint8)
