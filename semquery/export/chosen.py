"""What is exported: some parts, with everything inside them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float64, Int

from semquery.boxes import OrientedBox, oriented_box
from semquery.spans import Spans
from semquery.types import NodeLabel, PartTree, Surface


@dataclass(frozen=True)
class Chosen:
    """A scene's surface and tree, and the parts of it that are written.

    Raises ValueError for no part, for a number that no part has, and for a part inside another of them.
    """

    surface: Surface
    parts: PartTree
    labels: Mapping[int, NodeLabel]
    tops: tuple[int, ...]  # the highest parts that are written, none inside another; (root,) for the whole
    _boxes: dict[int, OrientedBox | None] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        wrong = [part for part in self.tops if not 0 <= part < self.parts.num_parts]
        if wrong or not self.tops:
            raise ValueError(f"There is no part {wrong[0] if wrong else 'to export'}; parts are numbered 0 to {self.parts.num_parts - 1}.")
        for part in self.tops:
            around = set(self.tops) & set(_above(self.parts, part))
            if around or self.tops.count(part) > 1:
                why = f"lies in part {min(around)}" if around else "is given twice"
                raise ValueError(f"Part {part} would be written twice: it {why}. Leave one out.")

    @cached_property
    def spans(self) -> Spans:
        """Where every part lies in points and pixels."""
        return Spans(self.parts, self.surface)

    @cached_property
    def nodes(self) -> tuple[int, ...]:
        """The chosen parts and all inside them, each before what is inside it."""
        return tuple(int(node) for top in self.tops for node in self.spans.inside(top))

    @cached_property
    def inside(self) -> Bool[np.ndarray, " n"]:
        """Which points are written."""
        return self.spans.point_mask(*self.tops)

    @property
    def is_whole(self) -> bool:
        """Whether all of the scene is written."""
        return self.tops == (self.parts.root,)

    def rows(self, *parts: int) -> Int[np.ndarray, " k"]:
        """Rows of the surface that lie in one of the parts, increasing."""
        return np.sort(self.spans.points_of(*parts))

    def places(self, part: int) -> Float64[np.ndarray, "k 3"]:
        """The part's points, world units; without those that have a coordinate which is no number."""
        points = self.surface.points[self.rows(part)].astype(np.float64)
        return points[np.isfinite(points).all(1)]

    def box(self, part: int) -> OrientedBox | None:
        """The tight box around a part, worked out once; None where it has no surface point."""
        if part not in self._boxes:
            points = self.places(part)
            self._boxes[part] = oriented_box(points) if len(points) else None
        return self._boxes[part]

    @property
    def unboxed(self) -> tuple[int, ...]:
        """The chosen parts whose box is not worked out yet."""
        return tuple(node for node in self.nodes if node not in self._boxes)

    def name(self, part: int) -> str:
        """The part's name; its number where it has none."""
        label = self.labels.get(part)
        return label.name if label else f"part {part}"

    def path(self, part: int) -> tuple[str, ...]:
        """Names from the top of the tree down to the part."""
        return tuple(map(self.name, self.parts.path(part)))


def _above(parts: PartTree, part: int) -> list[int]:
    """The parts around a part, its parent first."""
    found: list[int] = []
    while part != parts.root:
        part = int(parts.parents[part])
        found.append(part)
    return found
