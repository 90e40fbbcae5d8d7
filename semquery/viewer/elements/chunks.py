"""What is to be seen of a scene that is cut into chunks, and what a chunk has to be sent for it.

viser (0.2) has no way to recolour what the page has: a cloud of 10⁶ points is 15 MB, sent again for every change. So what is
drawn is cut into about a hundred chunks, a node each, and a node is shown, hidden or moved by a message of a few bytes.

Notation
  i items: the things drawn one by one (points, faces, Gaussians), sorted by the rank of their part (`spans`), so that a part
  is one slice of them; k items of a chunk; p parts. Places are positions in that order, rows are numbers of items as they came.
Conventions
  A chunk is a run of whole ranks. It is shown in one of three shades, or not at all:
    plain  all its items in the colours of the colouring
    dim    all its items as they are beside a selection
    own    what neither can show: some of its items only, or lit ones and dimmed ones together
  While parts are moved apart, chunks are cut at the parts of the level besides, and a chunk is moved as a whole. Where the
  level has more than `MOST_GROUPS` parts, the items of a chunk may move differently: they are sent where they have moved to.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32, Int32, Integer, UInt8

from semquery.spans import Spans
from semquery.viewer.colours import dimmed, tinted
from semquery.viewer.shown import Mode

MOST_GROUPS = 256  # parts that are moved apart as chunks of their own

Shade = Literal["plain", "dim", "own"]


@dataclass(frozen=True)
class Chunk:
    """The places of the items of a run of ranks."""

    begin: int
    end: int
    is_rigid: bool = field(default=True, compare=False)  # whether its items move together when parts are moved apart


@dataclass(frozen=True)
class Inks:
    """The colours of all items by place."""

    plain: UInt8[np.ndarray, "i 3"]
    stands_back: bool = False  # the plain ones are dimmed enough as they are, as a heat map is

    @cached_property
    def dim(self) -> UInt8[np.ndarray, "i 3"]:
        """Beside a selection."""
        return self.plain if self.stands_back else dimmed(self.plain)

    def marked(self, places: slice, is_lit: Bool[np.ndarray, " k"]) -> UInt8[np.ndarray, "k 3"]:
        """Those of some places: lit where they are selected, dim where they are not."""
        colors, plain = self.dim[places].copy(), self.plain[places][is_lit]
        colors[is_lit] = tinted(plain, np.ones(len(plain), bool))
        return colors


@dataclass(frozen=True)
class Content:
    """What a node draws."""

    rows: Int32[np.ndarray, " k"]
    colors: UInt8[np.ndarray, "k 3"]
    moved: Float32[np.ndarray, "k 3"] | None = None  # how far each item is from its place; None: not at all
    size: float = 0.0  # of a point, page units
    scale: float = 1.0  # page units of a capture unit

    def equals(self, other: "Content") -> bool:
        """Whether both look the same."""
        if (self.size, self.scale) != (other.size, other.scale) or (self.moved is None) != (other.moved is None):
            return False
        same = np.array_equal(self.rows, other.rows) and np.array_equal(self.colors, other.colors)
        return same and (self.moved is None or np.array_equal(self.moved, other.moved))


@dataclass(frozen=True)
class Wanted:
    """What is to be seen of a chunk."""

    shade: Shade
    content: Content
    position: tuple[float, float, float] = (0.0, 0.0, 0.0)  # page units


@dataclass(frozen=True)
class Scenery:
    """All that says what is seen of the chunks."""

    order: Int32[np.ndarray, " i"]  # the row at each place
    inks: Inks
    is_lit: Bool[np.ndarray, " i"] | None  # by place; None where nothing is selected
    mode: Mode
    part_of_row: Int32[np.ndarray, " i"]
    offset_of_part: Float32[np.ndarray, "p 3"] | None  # None where nothing is moved
    size: float  # of a point, page units
    scale: float = 1.0  # page units of a capture unit


def chunks_of(spans: Spans, group_of_part: Int32[np.ndarray, " p"] | None, num_chunks: int) -> tuple[Chunk, ...]:
    """Runs of ranks of about as many items each; none is empty, and together they hold every item once. A rank with more is alone.

    `group_of_part`: which part each part moves with. Cuts are made between these too, if they are not more than `MOST_GROUPS`.
    """
    start = spans.points.start
    num_ranks, total = len(start) - 1, int(start[-1])
    even = np.searchsorted(start, np.arange(1, num_chunks) * (total / num_chunks))
    large = np.flatnonzero(np.diff(start) > total / num_chunks)
    cuts = np.unique(np.concatenate([[0], even, large, large + 1, [num_ranks]]).clip(0, num_ranks))
    group = np.zeros(num_ranks, np.int32) if group_of_part is None else group_of_part[spans.order]
    borders = 1 + np.flatnonzero(np.diff(group))
    if len(borders) < MOST_GROUPS:
        cuts = np.union1d(cuts, borders)
    held = [(a, b) for a, b in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True) if start[b] > start[a]]
    return tuple(Chunk(int(start[a]), int(start[b]), bool((group[a:b] == group[a]).all())) for a, b in held)


def lit_places(spans: Spans, lit: Sequence[int]) -> Bool[np.ndarray, " i"] | None:
    """Which places lie in one of the selected parts; None where none is selected."""
    if not lit:
        return None
    mask = np.zeros(int(spans.points.start[-1]), bool)
    for begin, end in spans.points.start[spans.ranges(lit)].tolist():
        mask[begin:end] = True
    return mask


def wanted(chunk: Chunk, scenery: Scenery) -> Wanted | None:
    """What is to be seen of a chunk; None for nothing."""
    places = slice(chunk.begin, chunk.end)
    shade, kept, colors = _shaded(scenery, places)
    if shade is None:
        return None
    rows = scenery.order[places]
    if kept is not None:
        rows, colors = rows[kept], colors[kept]
    (x, y, z), moved = _moved(chunk, scenery, rows)
    scale = scenery.scale
    return Wanted(shade, Content(rows, colors, moved, scenery.size, scale), (scale * x, scale * y, scale * z))


def _shaded(scenery: Scenery, places: slice) -> tuple[Shade | None, Bool[np.ndarray, " k"] | None, UInt8[np.ndarray, "k 3"]]:
    """The shade of a chunk, which of its items are drawn (None: all), and the colours of all of them."""
    inks, mode = scenery.inks, scenery.mode
    plain = inks.plain[places]
    if scenery.is_lit is None:
        return "plain", None, plain
    is_lit = scenery.is_lit[places]
    if mode == "tint":
        if not is_lit.any():
            return "dim", None, inks.dim[places]
        return "own", None, inks.marked(places, is_lit)
    seen = is_lit if mode == "isolate" else ~is_lit
    if seen.all():
        return "plain", None, plain
    return ("own" if seen.any() else None), seen, plain


def _moved(
    chunk: Chunk, scenery: Scenery, rows: Integer[np.ndarray, " k"]
) -> tuple[tuple[float, float, float], Float32[np.ndarray, "k 3"] | None]:
    """Where the chunk is moved to as a whole, and how far each of its items where they do not move together."""
    offset = scenery.offset_of_part
    if offset is None:
        return (0.0, 0.0, 0.0), None
    if not chunk.is_rigid:
        return (0.0, 0.0, 0.0), offset[scenery.part_of_row[rows]]
    x, y, z = offset[scenery.part_of_row[rows[0]]].tolist()
    return (x, y, z), None
