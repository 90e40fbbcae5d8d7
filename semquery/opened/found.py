"""An answer and where it is: points, box and masks of the parts that were found, made when they are asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float32, Int

from semquery.boxes import OrientedBox, oriented_box
from semquery.export import path_names
from semquery.geometry import principal_extent
from semquery.opened.doors import checked_number
from semquery.spans import Spans
from semquery.types import Hit, NodeLabel, PartTree, Surface

EXTENT_POINTS = 20_000  # of a larger part an even sample of about so many tells its size


@dataclass(frozen=True)
class Found:
    """An answer and where it is: one part, or several that answer together."""

    hit: Hit  # what was found and why, plain data
    shapes: "Shapes" = field(repr=False, compare=False)

    @property
    def part(self) -> int:
        return self.hit.part

    @property
    def members(self) -> tuple[int, ...]:
        """The parts that answer together; the part itself where it answers alone."""
        return self.hit.members or (self.hit.part,)

    @property
    def path(self) -> tuple[str, ...]:
        """Names from the top of the tree down to the part."""
        return self.hit.path

    @property
    def name(self) -> str:
        return self.hit.path[-1]

    @property
    def score(self) -> float:
        return self.hit.score

    @property
    def probability(self) -> float:
        """How likely it is that the scene has what was asked for, 0..1."""
        return self.hit.probability

    @cached_property
    def point_ids(self) -> Int[np.ndarray, " k"]:
        """Rows of the scene's surface that lie in the members, increasing."""
        return self.shapes.points_of(self.members)

    @cached_property
    def points(self) -> Float32[np.ndarray, "k 3"]:
        """World units."""
        return self.shapes.surface.points[self.point_ids]

    @property
    def normals(self) -> Float32[np.ndarray, "k 3"]:
        """Unit, towards the cameras that saw each point."""
        return self.shapes.surface.normals[self.point_ids]

    @cached_property
    def box(self) -> OrientedBox:
        """A tight box around all points, however turned. Raises ValueError for parts without a surface point."""
        return oriented_box(self.points)

    def each(self) -> tuple["Found", ...]:
        """The members one by one, each with its own points, box and masks."""
        return tuple(self.shapes.part(member) for member in self.members)

    def mask(self, view: str) -> Bool[np.ndarray, "h w"]:
        """The pixels of a view that show it. Raises ValueError for a view that the scene does not have."""
        return self.shapes.mask(self.members, view)

    def masks(self) -> dict[str, Bool[np.ndarray, "h w"]]:
        """view → mask, of the views that show it."""
        return self.shapes.masks(self.members)

    def explain(self) -> str:
        """What was found, how sure that is, and why, in lines to read."""
        several = f", {len(self.members)} parts: {', '.join(str(m) for m in self.members)}" if len(self.members) > 1 else ""
        sure = f"{100 * self.probability:.0f} % likely; {self.hit.scorer} {self.score:.3f}"
        return f"{' / '.join(self.path)} (part {self.part}{several}): {sure}\n{self.hit.reason}"


@dataclass(frozen=True)
class Shapes:
    """Where the parts of a scene are; only read, by any number of threads."""

    surface: Surface
    tree: PartTree
    labels: Mapping[int, NodeLabel]
    spans: Spans

    def found(self, hit: Hit) -> Found:
        """A hit with its members, and with how many points they have and how large they are together."""
        members = hit.members or (hit.part,)
        points = self.surface.points[self.spans.points_of(*members)]
        a, b, c = principal_extent(points[:: -(-len(points) // EXTENT_POINTS) or 1])[0].tolist()
        return Found(replace(hit, members=members, num_points=len(points), extent=(a, b, c)), self)

    def part(self, number: int) -> Found:
        """A part by its number. Raises ValueError for a number that no part has."""
        number = checked_number(number, self.tree.num_parts)
        path = path_names(self.tree, dict(self.labels), number)
        return self.found(Hit(number, 1.0, path, path[-1], "asked for by its number.", 0, (0.0, 0.0, 0.0), (number,), 1.0, "exact"))

    def points_of(self, members: Sequence[int]) -> Int[np.ndarray, " k"]:
        """Rows of the surface that lie in the parts, increasing."""
        return np.sort(self.spans.points_of(*members))

    def mask(self, members: Sequence[int], view: str) -> Bool[np.ndarray, "h w"]:
        """The pixels of a view that show the parts."""
        if view not in self.surface.point_of_pixel:
            views = list(self.surface.point_of_pixel)
            raise ValueError(f"There is no view {view!r} with surface in this scene; the first of {len(views)}: {', '.join(views[:8])}.")
        return self.spans.mask(view, *members)

    def masks(self, members: Sequence[int]) -> dict[str, Bool[np.ndarray, "h w"]]:
        """view → mask, of the views that show the parts, the one that shows most first."""
        return self.spans.masks(*members)
