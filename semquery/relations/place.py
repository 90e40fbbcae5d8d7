"""Where every part is: boxes and sizes in the axes of a frame.

Notation
  n points, p parts. Axes are the frame's: x right, y away from the viewer, z up; lengths in world units.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float32, Float64, Int64

from semquery.geometry import principal_extent
from semquery.relations.frame import Frame
from semquery.spans import Spans
from semquery.types import PartTree, Surface

STRAY = 0.01  # share of a part's points that may lie outside its box on each side of each axis
SAMPLE = 2000  # points that stand for a part where distances are measured


@dataclass(frozen=True)
class Places:
    """Where every part is, seen in one frame."""

    frame: Frame
    centre: Float64[np.ndarray, "p 3"]  # middle of the box: points lie denser where there were more photos
    low: Float64[np.ndarray, "p 3"]  # of the box without the outermost points
    high: Float64[np.ndarray, "p 3"]
    num_points: Int64[np.ndarray, " p"]
    points: Float32[np.ndarray, "n 3"]
    spans: Spans
    spacing: float  # between neighbouring points

    @cached_property
    def size(self) -> Float64[np.ndarray, "p 3"]:
        return self.high - self.low

    @cached_property
    def volume(self) -> Float64[np.ndarray, " p"]:
        return self.size.prod(1)

    @cached_property
    def diagonal(self) -> Float64[np.ndarray, " p"]:
        return np.linalg.norm(self.size, axis=1)

    @cached_property
    def area(self) -> Float64[np.ndarray, " p"]:
        """Half the surface of the box: how large a part looks, flat or not."""
        x, y, z = self.size.T
        return x * y + y * z + z * x

    def sample(self, part: int) -> Float32[np.ndarray, "k 3"]:
        """At most SAMPLE points of a part, spread over all of it."""
        points = self.spans.points_of(part)
        return self.points[points[:: max(1, -(-len(points) // SAMPLE))]]

    def extent(self, part: int) -> Float64[np.ndarray, " 3"]:
        """Sizes along the part's own principal axes, the longest first."""
        return np.asarray(principal_extent(self.sample(part))[0], np.float64)


def places(surface: Surface, parts: PartTree, frame: Frame) -> Places:
    """Measure all parts. Parts without points sit at the middle of the scene and have no size."""
    points = (surface.points.astype(np.float64) @ frame.axes().T).astype(np.float32)
    layout = Spans(parts)
    middle = np.median(points, axis=0) if len(points) else np.zeros(3)
    low, high = np.tile(middle, (parts.num_parts, 1)).astype(np.float64), np.tile(middle, (parts.num_parts, 1)).astype(np.float64)
    for part in np.flatnonzero(layout.num_points):
        low[part], high[part] = np.quantile(points[layout.points_of(int(part))], [STRAY, 1 - STRAY], axis=0)
    return Places(frame, (low + high) / 2, low, high, layout.num_points, points, layout, float(surface.voxel_size))
