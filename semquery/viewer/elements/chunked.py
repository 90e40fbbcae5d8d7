"""Drawing a scene in chunks: what the page has is kept, shown, hidden and moved; only what is new is sent.

Conventions
  A chunk has a node for each shade (`chunks`), made when it is first needed and sent again when its content is another one;
  one at most is visible. Plain and dim ones are sent at the start, so a selection sends the chunks it touches; isolating and
  hiding send what they cut through, clearing and moving apart next to nothing. A page holds every item three times at most.
  What the page need not have any more is replaced by nothing before its node is removed: viser keeps the last content of
  every name, for pages that are opened later.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, Int64, UInt8

from semquery.spans import Spans
from semquery.types import PartTree, Surface
from semquery.viewer.colours import Basis, Look, pca_basis, point_colors
from semquery.viewer.elements.chunks import Chunk, Content, Inks, Scenery, Shade, Wanted, chunks_of, lit_places, wanted
from semquery.viewer.explode import centres, offsets, part_offsets
from semquery.viewer.loaded import Loaded
from semquery.viewer.shown import Shown

Position = tuple[float, float, float]
Of = tuple[Surface, PartTree]  # what something was made from


@runtime_checkable
class Medium(Protocol):
    """The items of one run, and how they are sent."""

    items: Loaded  # a run whose surface points are the items: their places, colours and parts
    num_chunks: int
    has_shades: bool  # whether the nodes of a chunk stay in the page side by side; else it has one, and that is sent anew
    is_renamed: bool  # whether the page takes new content only under a new name

    def send(self, server: Any, name: str, content: Content, position: Position, visible: bool) -> Any:
        """Make a node, one of nothing for a content without rows; its handle."""


@dataclass
class Node:
    """A node of the page, and what it was last sent."""

    handle: Any
    name: str
    content: Content
    position: Position

    def show(self, position: Position) -> None:
        """Make it visible there."""
        if position != self.position:
            self.handle.position, self.position = np.array(position), position
        self.handle.visible = True


@dataclass
class Sheet:
    """What a page was sent of one medium."""

    server: Any
    medium: Medium
    nodes: dict[tuple[Chunk, Shade], Node] = field(default_factory=dict)
    num_sent: int = 0
    is_prepared: bool = False

    def draw(self, chunk: Chunk, want: Wanted | None) -> None:
        """Show this of the chunk and nothing else."""
        shade: Shade = want.shade if want is not None and self.medium.has_shades else "plain"
        if want is not None:
            node = self.nodes.get((chunk, shade))
            if node is not None and node.content.equals(want.content):
                node.show(want.position)
            else:
                self._send((chunk, shade), want)
        for other in ("plain", "dim", "own"):
            node = self.nodes.get((chunk, other))
            if node is not None and (want is None or other != shade):
                node.handle.visible = False

    def prepare(self, chunks: Collection[Chunk], scenery: Scenery) -> None:
        """Send ahead, unseen, how everything is beside a selection: the first one need not wait for it."""
        self.is_prepared = True
        dimmed_all = replace(scenery, is_lit=np.zeros(len(scenery.order), bool), mode="tint")
        for chunk in chunks if self.medium.has_shades else ():
            if (chunk, "dim") not in self.nodes:
                self._send((chunk, "dim"), wanted(chunk, dimmed_all), visible=False)

    def keep(self, chunks: Collection[Chunk]) -> None:
        """Take all other chunks out of the page."""
        for key in [key for key in self.nodes if key[0] not in chunks]:
            self._forget(self.nodes.pop(key))

    def _send(self, key: tuple[Chunk, Shade], want: Wanted, visible: bool = True) -> None:
        earlier = self.nodes.get(key)
        self.num_sent += 1
        name = f"/surface/{key[0].begin}-{key[0].end}-{key[1]}" + (f"-{self.num_sent}" if self.medium.is_renamed else "")
        self.nodes[key] = Node(self.medium.send(self.server, name, want.content, want.position, visible), name, want.content, want.position)
        if earlier is not None and earlier.name != name:
            self._forget(earlier)

    def _forget(self, node: Node) -> None:
        nothing = Content(node.content.rows[:0], node.content.colors[:0])
        self.medium.send(self.server, node.name, nothing, (0.0, 0.0, 0.0), False).remove()


@dataclass(frozen=True)
class Layout:
    """How the items of a run are cut."""

    of: Of
    level: int | None  # of the parts it is cut at besides
    chunks: tuple[Chunk, ...]


class Chunked:
    """Draws a run in chunks of one medium; see `Elements`."""

    def __init__(self, medium_of: Callable[[Loaded], Medium]) -> None:
        self.medium_of = medium_of
        self._made: tuple[Of, Medium] | None = None
        self._sheet: Sheet | None = None
        self._layout: Layout | None = None
        self._inks: tuple[tuple, tuple, Inks] | None = None  # what they hang on, what must not be freed meanwhile, and they
        self._basis: tuple[Surface, Basis] | None = None
        self._apart: tuple[Loaded, int, Float64[np.ndarray, "p 3"]] | None = None

    def fit(self, loaded: Loaded) -> Medium:
        """What is drawn of a run, worked out once. Raises ValueError where what is drawn is of another run."""
        of = (loaded.surface, loaded.tree)
        if self._made is None or not _same(self._made[0], of):
            self._made = of, self.medium_of(loaded)
        return self._made[1]

    def paint(self, server: Any, shown: Shown, look: Look) -> None:
        """Bring the page to this state; what it has already is not sent again. Raises ValueError where the medium is of another run."""
        if shown.loaded is None:
            self.clear()
            return
        sheet, layout = self._laid_out(server, shown, look)
        items = sheet.medium.items
        offset = (look.explode * self._moving(shown)).astype(np.float32) if look.explode else None
        scenery = Scenery(items.spans.points.items, self._colors(items, shown, look), lit_places(items.spans, shown.lit), shown.mode,
                          items.tree.part_of_point, offset, look.scale * look.point_size * items.surface.voxel_size, look.scale)
        for chunk in layout.chunks:
            sheet.draw(chunk, wanted(chunk, scenery))
        if not sheet.is_prepared and not shown.lit:
            sheet.prepare(layout.chunks, scenery)

    def points(self, shown: Shown, look: Look) -> tuple[Float32[np.ndarray, "n 3"], Bool[np.ndarray, " n"]]:
        """Where each point of the surface is drawn (capture units), and whether it can be clicked; none before there is a run."""
        if shown.loaded is None:
            return np.zeros((0, 3), np.float32), np.zeros(0, bool)
        points = shown.loaded.surface.points
        if look.explode:
            points = points + offsets(shown.loaded, shown.level, look.explode)
        return points, np.ones(len(points), bool) if shown.visible is None else shown.visible

    def clear(self) -> None:
        """Take everything out of the page."""
        if self._sheet is not None:
            self._sheet.keep(())
        self._sheet = self._layout = self._inks = None

    def _laid_out(self, server: Any, shown: Shown, look: Look) -> tuple[Sheet, Layout]:
        """Cut as this state needs it; a scene that was taken apart stays cut so when it is put together again."""
        of = (shown.loaded.surface, shown.loaded.tree)
        sheet, layout = self._sheet, self._layout
        if sheet is None or layout is None or not _same(layout.of, of) or sheet.server is not server:
            self.clear()
            sheet, layout = Sheet(server, self.fit(shown.loaded)), Layout(of, None, ())
        level = shown.level if look.explode else layout.level
        if not layout.chunks or level != layout.level:
            group = None if level is None else shown.loaded.tree.level(level)
            chunks = chunks_of(sheet.medium.items.spans, group, sheet.medium.num_chunks)
            sheet.keep(set(chunks))
            layout = Layout(of, level, chunks)
        self._sheet, self._layout = sheet, layout
        return sheet, layout

    def _colors(self, items: Loaded, shown: Shown, look: Look) -> Inks:
        """Beside a heat map nothing is dimmed, as it is dimmed where it is not hot; a surface without features is as captured."""
        surface = shown.loaded.surface
        colouring = "photo" if look.colouring == "features" and not surface.features.size else look.colouring
        heat = (id(shown.heat), shown.threshold, shown.normalise) if colouring == "relevancy" else ()
        key = (id(items), colouring, shown.level if colouring == "parts" else None, *heat)
        if self._inks is None or self._inks[0] != key:
            is_heat = colouring == "relevancy" and shown.heat is not None
            plain = self._features(surface, items) if colouring == "features" else point_colors(replace(shown, loaded=items), colouring)
            self._inks = key, (items, shown.heat), Inks(plain[items.spans.points.items], stands_back=is_heat)
        return self._inks[2]

    def _features(self, surface: Surface, items: Loaded) -> UInt8[np.ndarray, "i 3"]:
        """Each item in the colour of the surface point next to it."""
        if self._basis is None or self._basis[0] is not surface:
            self._basis = surface, pca_basis(surface.features)
        colors = self._basis[1].colors(surface.features)
        return colors if items.surface is surface else colors[nearest(surface.points, items.surface.points)]

    def _moving(self, shown: Shown) -> Float64[np.ndarray, "p 3"]:
        """How far each part moves when all is taken apart: that of the surface's points, whatever is drawn."""
        loaded = shown.loaded
        if self._apart is None or self._apart[0] is not loaded or self._apart[1] != shown.level:
            self._apart = loaded, shown.level, part_offsets(loaded.tree, centres(loaded.tree, loaded.surface.points), shown.level)
        return self._apart[2]


def items_at(
    loaded: Loaded, places: Float32[np.ndarray, "i 3"], colors: UInt8[np.ndarray, "i 3"], part_of_item: Int32[np.ndarray, " i"]
) -> Loaded:
    """The same run with other things in the place of its surface points; these have no normals, features or pixels."""
    tree = replace(loaded.tree, part_of_point=part_of_item)
    instead = Surface(places, np.zeros_like(places), colors, np.zeros((len(places), 0), np.float16), np.arange(len(places), dtype=np.int32),
                      loaded.surface.voxel_size)
    return replace(loaded, surface=instead, tree=tree, spans=Spans(tree), scene=None)


def nearest(points: Float32[np.ndarray, "n 3"], places: Float32[np.ndarray, "i 3"]) -> Int64[np.ndarray, " i"]:
    """The finite point next to each place."""
    from scipy.spatial import cKDTree

    rows = np.flatnonzero(np.isfinite(points).all(1))
    return rows[cKDTree(points[rows], compact_nodes=False, balanced_tree=False).query(places, workers=-1)[1]]


def _same(one: Of, other: Of) -> bool:
    return one[0] is other[0] and one[1] is other[1]
