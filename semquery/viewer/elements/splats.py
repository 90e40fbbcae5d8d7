"""The scene as the Gaussian splats of a trained 3DGS file, each in the part of the surface next to it.

Notation
  s Gaussians, those of the file whose numbers are finite.
Conventions
  A Gaussian is drawn in its base colour (the constant term of its spherical harmonics) from all sides. One without a part,
  out of reach of the surface, belongs to the scene as a whole: it is lit, isolated and hidden with the root alone.
  The page merges all Gaussians into one buffer that it sorts whenever the camera moves, the invisible ones too, and merges
  them anew for every node that comes. So chunks are few and a chunk is in the page once. It takes the content of a node
  only when the node is new.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Float32, Float64, UInt8

from semquery.export import Chosen
from semquery.export.splats import CENTRE, COLOR, SH_C0, part_of_splats, read_splats
from semquery.viewer.elements.chunked import Chunked, Position, items_at
from semquery.viewer.elements.chunks import Content
from semquery.viewer.loaded import Loaded

FLATTEST = 1e-2  # the thinnest side of a Gaussian over its longest: what is flat has no Cholesky factor


@dataclass(frozen=True)
class Gaussians:
    """A medium: 32 bytes a Gaussian."""

    items: Loaded
    covariances: Float32[np.ndarray, "s 3 3"]
    opacities: UInt8[np.ndarray, "s 1"]
    num_chunks: ClassVar[int] = 16
    has_shades: ClassVar[bool] = False
    is_renamed: ClassVar[bool] = True

    def send(self, server: Any, name: str, content: Content, position: Position, visible: bool) -> Any:
        """One Gaussian that cannot be seen for none."""
        add = _add_splats(server)
        if not len(content.rows):
            origin, black, clear = np.zeros((1, 3), np.float32), np.zeros((1, 3), np.uint8), np.zeros((1, 1), np.uint8)
            return add(name, origin, np.eye(3, dtype=np.float32)[None], black, clear, position=position, visible=False)
        centres = self.items.surface.points[content.rows]
        centres = centres if content.moved is None else centres + content.moved
        rows, scale = content.rows, content.scale
        return add(name, scale * centres, scale * scale * self.covariances[rows], content.colors, self.opacities[rows], position=position,
                   visible=visible)


class SplatElements(Chunked):
    """The splats of a PLY."""

    def __init__(self, ply: Any, T_world_splats: Float[np.ndarray, "4 4"] | None = None, reach: float | None = None) -> None:
        """`ply`: plyfile.PlyData. `reach`: from a Gaussian's centre to the surface, world units; None: as for an export."""
        super().__init__(lambda loaded: gaussians_of(loaded, ply, T_world_splats, reach))


def open_splats(
    path: Path, loaded: Loaded | None = None, T_world_splats: Float64[np.ndarray, "4 4"] | None = None, reach: float | None = None
) -> SplatElements:
    """The splats of a file; `T_world_splats` leads from their frame to the capture's, where that is another.

    Raises ValueError for a file that is no splat PLY, and, with a run, where none of them is near its surface.
    """
    elements = SplatElements(read_splats(path), T_world_splats, reach)
    if loaded is not None:
        elements.fit(loaded)
    return elements


def gaussians_of(loaded: Loaded, ply: Any, T_world_splats: Float[np.ndarray, "4 4"] | None, reach: float | None) -> Gaussians:
    """The Gaussians as items of a run. Raises ValueError where none is near the surface."""
    root = loaded.tree.root
    part, _ = part_of_splats(ply, Chosen(loaded.surface, loaded.tree, loaded.labels, (root,)), reach, T_world_splats)
    if not (part >= 0).any():
        raise ValueError(f"None of the {len(part)} splats lies within reach of the surface. If they are in the frame of their "
                         "nerfstudio run, give --splats-transform; if they only lie farther off, --reach.")
    rows = ply["vertex"].data
    covariances = covariances_of(log_scales_of(rows), _columns(rows, [f"rot_{k}" for k in range(4)]))
    centres = _columns(rows, CENTRE)
    if T_world_splats is not None:
        turn = T_world_splats[:3, :3]
        centres, covariances = centres @ turn.T + T_world_splats[:3, 3], turn @ covariances @ turn.T
    colors = (255 * np.nan_to_num(0.5 + SH_C0 * _columns(rows, COLOR)).clip(0, 1)).round().astype(np.uint8)
    opacities = (255 / (1 + np.exp(-np.nan_to_num(_columns(rows, ["opacity"])).clip(-50, 50)))).round().astype(np.uint8)
    known = np.isfinite(centres).all(1) & np.isfinite(covariances).all((1, 2))
    items = items_at(loaded, centres[known].astype(np.float32), colors[known], np.where(part < 0, root, part)[known].astype(np.int32))
    return Gaussians(items, covariances[known].astype(np.float32), opacities[known])


def covariances_of(log_scales: Float64[np.ndarray, "s 3"], quaternions: Float64[np.ndarray, "s 4"]) -> Float64[np.ndarray, "s 3 3"]:
    """R S² Rᵀ of Gaussians whose sides are e^log_scales, turned by quaternions w x y z of any length but 0 (Kerbl et al. 2023, eq. 6)."""
    sides = np.exp(log_scales.clip(-60, 60))
    sides = np.maximum(sides, FLATTEST * sides.max(1, keepdims=True))
    w, x, y, z = (quaternions / np.maximum(np.linalg.norm(quaternions, axis=1, keepdims=True), 1e-30)).T
    turn = np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
                     2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
                     2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], 1).reshape(-1, 3, 3)
    along = turn * sides[:, None]
    return along @ along.swapaxes(1, 2)


def log_scales_of(rows: np.ndarray) -> Float64[np.ndarray, "s 3"]:
    """Of flat splats, which have two, the third as thin as is drawn."""
    scales = _columns(rows, ["scale_0", "scale_1"])
    third = _columns(rows, ["scale_2"]) if "scale_2" in rows.dtype.names else np.full((len(rows), 1), -60.0)
    return np.concatenate([scales, third], axis=1)


def _columns(rows: np.ndarray, names: Sequence[str]) -> Float64[np.ndarray, "s k"]:
    return np.stack([rows[name].astype(np.float64) for name in names], axis=1)


def _add_splats(server: Any) -> Any:
    """What viser draws splats with; before it was made public it had an underscore."""
    return getattr(server.scene, "add_gaussian_splats", None) or server.scene._add_gaussian_splats
