"""Tight boxes around points, however turned.

Notation
  n points, in world units. A box's axes are rows.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Num

from semquery.geometry import principal_extent

BOX_CORNERS = 3000  # most corners of a hull that decide how its box is turned: each face is tried
FLAT = 1e-5  # what is thinner than this share of its length lies in a plane: its hull's faces have no reliable direction


@dataclass(frozen=True)
class OrientedBox:
    """A box turned in space, in world units; a flat thing has an extent of 0."""

    centre: Float64[np.ndarray, " 3"]
    axes: Float64[np.ndarray, "3 3"]  # rows, unit and right-handed: the longest side first
    extent: Float64[np.ndarray, " 3"]  # whole lengths of the sides along the axes, longest first

    @property
    def T_world_box(self) -> Float64[np.ndarray, "4 4"]:
        """Maps coordinates along the box's sides, from its centre, to world coordinates."""
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = self.axes.T, self.centre
        return pose

    @property
    def corners(self) -> Float64[np.ndarray, "8 3"]:
        signs = np.array(np.meshgrid([-0.5, 0.5], [-0.5, 0.5], [-0.5, 0.5], indexing="ij")).reshape(3, 8).T
        return self.centre + (signs * self.extent) @ self.axes


def oriented_box(points: Num[np.ndarray, "n 3"]) -> OrientedBox:
    """A tight box around the points, however turned: the smallest of those on the faces of their hull that were tried, along
    the principal axes and along the world's, each also turned about its own sides. What lies in a plane has the smallest rectangle in it.

    Of a hull with very many corners an even sample decides how the box is turned; it holds all points. Raises ValueError without points.
    """
    if not len(points):
        raise ValueError("There is no box around no points.")
    points = points.astype(np.float64)
    axes = _smallest_box_axes(points)
    along = points @ axes.T
    low, high = along.min(0), along.max(0)
    order = np.argsort(low - high, kind="stable")
    turned = axes[order]
    turned[2] *= np.sign(np.linalg.det(turned))
    return OrientedBox((low + high) / 2 @ axes, turned, (high - low)[order])


def _smallest_box_axes(points: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "3 3"]:
    """The sides' directions as rows."""
    from scipy.spatial import ConvexHull, QhullError

    principal, centred = principal_extent(points)[1], points - points.mean(0)
    order = np.argsort(-np.ptp(centred @ principal.T, axis=0), kind="stable")
    principal, spread = principal[order], np.ptp(centred @ principal[order].T, axis=0)
    if len(points) < 3 or spread[1] <= 1e-9 * max(spread[0], 1e-30):  # a line has no hull
        return principal
    try:
        if spread[2] <= FLAT * spread[0]:
            return _smallest_rectangle_axes(centred @ principal[:2].T) @ principal
        corners = centred[ConvexHull(centred).vertices]
        tried = [*_axes_on_a_face(corners), principal, np.eye(3)]
        tried += [_turned_about(corners, axes[[k, k - 1, k - 2]]) for axes in tried for k in range(3)]
    except QhullError:  # too flat for a hull and too round for a plane
        return principal
    return min(tried, key=lambda axes: float(np.ptp(corners @ axes.T, axis=0).prod()))


def _axes_on_a_face(corners: Float64[np.ndarray, "n 3"]) -> list[Float64[np.ndarray, "3 3"]]:
    """The axes of a small box with a side on a face of the hull; none where no face has a direction."""
    from trimesh.bounds import oriented_bounds

    try:
        with np.errstate(all="ignore"):  # slivers among the hull's triangles have no normal; they are not used
            return [oriented_bounds(corners[:: -(-len(corners) // BOX_CORNERS)])[0][:3, :3]]
    except (ValueError, TypeError):  # what it raises where all faces are slivers
        return []


def _turned_about(corners: Float64[np.ndarray, "n 3"], axes: Float64[np.ndarray, "3 3"]) -> Float64[np.ndarray, "3 3"]:
    """The smallest box that has the first of these axes as one of its own."""
    return _smallest_rectangle_axes(corners @ axes[1:].T) @ axes[[1, 2, 0]]


def _smallest_rectangle_axes(flat: Float64[np.ndarray, "n 2"]) -> Float64[np.ndarray, "3 3"]:
    """Axes, in the plane and its normal, of the smallest rectangle: one of its sides lies on a side of the hull."""
    from scipy.spatial import ConvexHull

    outline = flat[ConvexHull(flat).vertices]
    sides = np.roll(outline, -1, axis=0) - outline
    along = sides / np.linalg.norm(sides, axis=1, keepdims=True)
    across = along[:, ::-1] * [-1, 1]
    area = np.ptp(outline @ along.T, axis=0) * np.ptp(outline @ across.T, axis=0)
    axes, best = np.eye(3), int(area.argmin())
    axes[0, :2], axes[1, :2] = along[best], across[best]
    return axes
