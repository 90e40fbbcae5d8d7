"""What is taken of an RGB-D capture."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class RgbdConfig:
    """How the frames of a depth camera become surface points."""

    every: int = 1
    """Take every so-many-th of the frames that can be used: neighbours in a video show the same."""
    max_side: int = 320
    """Longer side of the grid of points of a view, pixels; the masks are made on the photos as they are."""
    depth_scale: float = 1000.0
    """What the depth files count for one unit of the poses: 1000 for millimetres and metres."""
    near: float = 0.1
    """Depth below this is no measurement, in units of the poses."""
    far: float = 10.0
    """Depth above this neither: what a sensor says of far things is mostly wrong."""
    jump: float = 0.05
    """Pixels whose depth leaves the plane of their neighbours by more than this share are dropped: they lie on outlines; 0 keeps all."""
    check: int = 0
    """Compare each view with this many others beside it, and drop points that more of them see through than see; 0 = no comparison."""
    tolerance: float = 0.03
    """Of that comparison: depths that differ by no more than this share are the same surface."""

    def __post_init__(self) -> None:
        if self.every < 1 or self.max_side < 1:
            raise ValueError(f"every is {self.every} and max-side {self.max_side}; both count, from 1.")
        if not (math.isfinite(self.depth_scale) and self.depth_scale > 0):
            raise ValueError(f"depth-scale is {self.depth_scale}; it is what the depth files count for one unit of the poses, mostly 1000.")
        if not 0 <= self.near < self.far:
            raise ValueError(f"near is {self.near} and far {self.far}; depth is kept between them: near has to be less, and not negative.")
        if self.jump < 0 or self.check < 0 or self.tolerance < 0:
            raise ValueError(f"jump {self.jump}, check {self.check}, tolerance {self.tolerance}: none of them may be negative.")
