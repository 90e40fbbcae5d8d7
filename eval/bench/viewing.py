"""From a query to a highlighted frame: the session and the drawing in chunks against relevancy at every point and the whole cloud.

    python -m eval.bench.viewing             # 10⁴ parts, 10⁶ points, 50 views of 512 × 512
    python -m eval.bench.viewing --small     # a tenth of the parts and points, 10 views of 256 × 256
    python -m eval.bench.viewing --browser   # and until a page in a headless Chromium shows it

The scene is that of `querying`, and so is the baseline's rule: LERF's relevancy of every point against four negatives, a threshold,
new colours for the whole cloud, and the cloud sent again, for viser cannot recolour what a page has. Both sides must light the same
points. Sent is what has come to a client of the same machine, at the end of its connection; what the page then does with it is the
graphics card's. With --browser Chromium draws in software: its frames are slow on both sides, and a picture of the page, which
tells that the frame is there, takes time itself; both are told.
"""

import itertools
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from eval.bench import compare, querying
from eval.bench.seen import drawing
from semquery import stages
from semquery.codebook import build_codebook
from semquery.opened import Scene
from semquery.prompts import bank, negatives
from semquery.query.scorers import relevancy
from semquery.spans import Spans
from semquery.store import Run
from semquery.types import Cameras, MergeTree
from semquery.viewer import Loaded, Session, load
from semquery.viewer.colours import Look, tinted
from semquery.viewer.elements import PointElements
from semquery.viewer.guarded import free_port, open_server

PLAIN = Look()
TEXTS = 8  # asked in turn, so that what one left in the page does not serve the next
NAMED = 500  # parts that have names where the opening is timed: their writing is not


@dataclass
class Wire:
    """A viser server and a client that stands for a page: it takes all that comes, and knows when an update is over."""

    server: Any
    client: Any  # websockets.sync.client.ClientConnection
    marks: Iterator[int] = field(default_factory=itertools.count)
    last: int = 0  # bytes of the last update, as a page unpacks them

    def sent(self, draw: Callable[[], object]) -> None:
        """Draw something, and return when the client has all of it."""
        draw()
        mark = f"update {next(self.marks)} is over"
        self.server.scene.add_label("/end", mark)
        self.server.flush()
        self.last = 0
        while True:
            window = self.client.recv()
            self.last += len(window)
            if mark.encode() in window:
                return


@contextmanager
def wired() -> Iterator[Wire]:
    """A server on a free port of this machine, with its client."""
    from websockets.sync.client import connect

    server = open_server("127.0.0.1", free_port("127.0.0.1", 7107), "bench")
    try:
        with connect(f"ws://127.0.0.1:{server.get_port()}", max_size=None) as client:
            yield Wire(server, client)
    finally:
        server.stop()


@dataclass(frozen=True)
class Bench:
    """The scene of `querying`, opened as a viewer opens it."""

    known: querying.Bench
    loaded: Loaded
    session: Session
    texts: tuple[str, ...]  # asked in turn


def make_bench(folder: Path, num_parts: int, side: int, num_views: int, pixels: int) -> Bench:
    """The run's folder stays empty: questions and exports are not measured."""
    known = querying.make_bench(num_parts, side, num_views, pixels, distinct=False)
    book = build_codebook(known.labels, querying.Scattered(), negatives(), bank())
    spans = Spans(known.parts, known.surface)
    scene = Scene(known.surface, known.parts, known.labels, book, cameras(num_views, pixels), querying.Scattered(), spans=spans)
    loaded = Loaded(known.surface, known.parts, known.labels, scene.cameras, spans, scene)
    return Bench(known, loaded, Session(Run(folder, create=True), loaded), often_to_seldom(known))


def often_to_seldom(known: querying.Bench) -> tuple[str, ...]:
    """TEXTS names, from the one that the most leaves have to the one that the fewest have, evenly over their ranks."""
    ranked = [name for name, _ in Counter(known.labels[part].name for part in np.unique(known.parts.part_of_point).tolist()).most_common()]
    return tuple(ranked[round(k)] for k in np.linspace(0, len(ranked) - 1, TEXTS))


def cameras(count: int, pixels: int) -> Cameras:
    """Cameras that nothing is asked of."""
    names = tuple(f"view {k:02d}" for k in range(count))
    return Cameras(names, tuple(f"{name}.png" for name in names), np.tile(np.eye(4), (count, 1, 1)), np.ones((count, 4)), np.full((count, 2), pixels))


# ------------------------------------------------------------------ the two ways


def dense_mask(bench: Bench, text: str) -> np.ndarray:
    """Which points answer, by the relevancy of each."""
    encoder = querying.Scattered()
    return relevancy(bench.known.features, encoder.queries([text])[0], encoder.queries(negatives())) > querying.THRESHOLD


def lit_mask(bench: Bench) -> np.ndarray:
    """Which points are selected in the session."""
    return bench.loaded.spans.point_mask(*bench.session.shown.lit)


def cloud(bench: Bench, server: Any, inside: np.ndarray) -> None:
    """The whole cloud, the selection marked in it."""
    surface = bench.known.surface
    server.scene.add_point_cloud("/cloud", surface.points, tinted(surface.colors, inside), point_size=surface.voxel_size, point_shape="circle")


def check_same(bench: Bench) -> None:
    """Both ways light the same points, and some."""
    for text in bench.texts:
        bench.session.search(text)
        assert lit_mask(bench).any() and (lit_mask(bench) == dense_mask(bench, text)).all()


@dataclass
class Ways:
    """Ours and the baseline's, over one wire; each call asks for the next text."""

    bench: Bench
    wire: Wire
    elements: PointElements = field(default_factory=PointElements)
    look: Look = PLAIN

    def __post_init__(self) -> None:
        searcher, self.texts = self.bench.loaded.scene.searcher, itertools.cycle(self.bench.texts)
        self.members = {text: searcher.find(text)[0].members for text in self.bench.texts}
        self.masks = {text: dense_mask(self.bench, text) for text in self.bench.texts}

    def paint(self) -> None:
        """What the session shows, to the page."""
        self.wire.sent(lambda: self.elements.paint(self.wire.server, self.bench.session.shown, self.look))

    def cloud(self, inside: np.ndarray) -> None:
        self.wire.sent(lambda: cloud(self.bench, self.wire.server, inside))

    def search(self) -> None:
        self.bench.session.search(next(self.texts))

    def search_and_paint(self) -> None:
        self.search()
        self.paint()

    def select_and_paint(self) -> None:
        self.bench.session.select(*self.members[next(self.texts)])
        self.paint()

    def dense(self) -> np.ndarray:
        return dense_mask(self.bench, next(self.texts))

    def dense_and_cloud(self) -> None:
        self.cloud(self.dense())

    def cloud_alone(self) -> None:
        self.cloud(self.masks[next(self.texts)])


def measure(bench: Bench, repeats: int = TEXTS) -> Iterator[str]:
    """Lines of the table."""
    with wired() as wire:
        ways = Ways(bench, wire)
        seconds = timed(ways.paint)
        yield f"first picture           {1e3 * seconds:8.1f} ms   {wire.last / 1e6:6.2f} MB"
        for _ in bench.texts:  # once, so that the page has all that stays
            ways.search_and_paint()
        yield line("query → what is lit", *compare(ways.search, ways.dense, repeats))
        each = [len(members) for members in ways.members.values()]
        yield f"lit parts               {statistics.median(each):8g}      median of {TEXTS} queries; the most {max(each)}"
        yield line("what is lit → sent", *compare(ways.select_and_paint, ways.cloud_alone, repeats))
        yield line("query → sent", *compare(ways.search_and_paint, ways.dense_and_cloud, repeats))
        found = sizes(wire, ways.search_and_paint, TEXTS)
        yield f"bytes of an update      {statistics.median(found) / 1e6:8.3f} MB   ours, median; the most {max(found) / 1e6:.3f} MB"
        ways.dense_and_cloud()
        yield f"bytes of an update      {wire.last / 1e6:8.3f} MB   baseline"
        yield from others(ways, repeats)


def others(ways: Ways, repeats: int) -> Iterator[str]:
    """What else one does: clicks, modes, levels."""
    bench, points = ways.bench, ways.bench.known.surface.points
    targets = itertools.cycle(points[:: len(points) // 7])
    down, above = np.array([0.0, 0.0, -1.0]), np.array([0.0, 0.0, 500.0])
    clicked = [timed(lambda: bench.session.click(next(targets) + above, down)) for _ in range(repeats)]
    yield f"click → part            {1e3 * statistics.median(clicked):8.1f} ms"
    bench.session.search(bench.texts[-1])
    for mode in ("isolate", "hide", "tint"):
        bench.session.set_mode(mode)
        yield f"{mode:23s} {1e3 * timed(ways.paint):8.1f} ms   {ways.wire.last / 1e6:6.2f} MB"
    bench.session.clear()
    ways.look = Look(colouring="parts")
    for level in (2, 3):
        bench.session.set_level(level)
        seconds = timed(ways.paint)
    yield f"another level, in colour {1e3 * seconds:7.1f} ms   {ways.wire.last / 1e6:6.2f} MB"


def sizes(wire: Wire, act: Callable[[], object], count: int) -> list[int]:
    """Bytes that each of some updates takes."""
    found = []
    for _ in range(count):
        act()
        found.append(wire.last)
    return found


def timed(act: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def line(what: str, ours: float, baseline: float, ratio: float) -> str:
    return f"{what:23s} {1e3 * ours:8.1f} ms   baseline {1e3 * baseline:8.1f} ms   {ratio:6.1f}×"


# ------------------------------------------------------------------ opening


def opening(bench: Bench, folder: Path) -> Iterator[str]:
    """Seconds from a run's folder to what a viewer shows, with names compared by spelling."""
    run, known = Run(folder, create=True), bench.known
    run.write_cameras(bench.loaded.cameras)
    run.write_surface(known.surface)
    run.write_tree(MergeTree(np.zeros(1, np.int32), np.zeros(1, np.float32)), np.zeros((0, 2), np.int64), np.zeros(0), known.parts)
    (run / "labels.jsonl").write_text("")
    for part in range(0, known.parts.num_parts, max(1, known.parts.num_parts // NAMED)):
        run.append_label(known.labels[part], "")
    stages.encode(run)
    yield f"run → session           {timed(lambda: Session(run, load(run))):8.2f} s"


def in_page(bench: Bench, server: Any) -> dict[str, Callable[[str | None], object]]:
    """The two ways of lighting what answers a text, or nothing, in a server's pages."""
    elements, none = PointElements(), np.zeros(len(bench.known.surface.points), bool)

    def ours(text: str | None) -> None:
        bench.session.search(text or "")
        elements.paint(server, bench.session.shown, PLAIN)

    def whole(text: str | None) -> None:
        elements.clear()
        cloud(bench, server, none if text is None else dense_mask(bench, text))

    return {"ours": ours, "the whole cloud": whole}


def main() -> None:
    size = (1000, 316, 10, 256) if "--small" in sys.argv else (10_000, 1000, 50, 512)
    print(f"{size[0]} parts, {size[1] ** 2} points, {size[2]} views of {size[3]} × {size[3]}")
    with TemporaryDirectory() as folder:
        bench = make_bench(Path(folder) / "empty", *size)
        check_same(bench)
        lines = [measure(bench), opening(bench, Path(folder) / "run")]
        if "--browser" in sys.argv:
            lines.append(drawing(lambda server: in_page(bench, server), bench.texts, float(bench.known.surface.points.max())))
        for told in itertools.chain(*lines):
            print(told, flush=True)


if __name__ == "__main__":
    main()
