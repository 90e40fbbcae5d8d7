"""`semquery view`: a run in a browser, on the surface alone.

    run directory ── Watch ──► Session ──► Painter ──► Canvas (points, mesh or splats), Photos, Panel, ViewTab
                                  ▲                                        │
                                  └──────── clicks and widgets ◄───────────┘
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from semquery.export.splats import read_T_world_splats
from semquery.spans import Spans
from semquery.stages.label import vlm_of
from semquery.stages.splats import SplatScene, given_splats, own_splats
from semquery.store import Run, RunError
from semquery.types import PartTree
from semquery.viewer.canvas import Canvas
from semquery.viewer.elements import Elements, PointElements, open_mesh, open_splats
from semquery.viewer.guarded import free_port, is_loopback, open_server
from semquery.viewer.loaded import Loaded, Watch, load
from semquery.viewer.painter import Painter
from semquery.viewer.panel import Panel
from semquery.viewer.photos import Photos
from semquery.viewer.session import Session, Shown
from semquery.viewer.view_tab import ViewTab, dress
from semquery.vlm import Vlm

GRACE = 5.0  # seconds that what is being worked out may go on when the viewer ends
SOME = ("run.jsonl", "config.yml", "cameras.json", "masks", "surface.npz", "parts.npz")  # a directory with any of them is a run


@dataclass(frozen=True)
class ViewConfig:
    """What is drawn, and where the page is."""

    host: str = "127.0.0.1"
    """Address to listen on. Anybody who reaches another than this machine's own (127.0.0.1) can ask and export; there is no password."""
    port: int = 7007
    """Port to listen on; the next free one where it is taken."""
    mesh: Path | None = None
    """Draw the faces of this mesh, of which the run was made (semquery fit --mesh), instead of points."""
    splats: Path | None = None
    """Draw the Gaussian splats of this trained 3DGS scene (PLY) of the same capture instead of points; of a run that was made from splats
    (semquery fit --splats) those are drawn."""
    splats_transform: Path | None = None
    """Where the splats are not in the frame of the capture's poses but in that of their nerfstudio run: its dataparser_transforms.json."""
    reach: float | None = None
    """How far a splat's centre may be from the surface to belong to a part, in the capture's unit; by default three
    voxels, and up to twelve for splats that are that large themselves."""
    points: bool = False
    """Draw points, of a run that was made from splats, too."""


class Viewer:
    """A run that is looked at in browsers: its page, its session, and the threads between them."""

    def __init__(self, run: Run, config: ViewConfig = ViewConfig(), vlm: Vlm | None = None) -> None:
        """`vlm`: the model that questions are put to; by default the one that named the parts.

        Raises ValueError for what cannot be opened, before anything is started.
        """
        check_run(run)
        self.config, self.port = config, free_port(config.host, config.port)
        loaded, self.missing = opened(run)
        own = own_splats(run) if config.splats is None else given_splats(run, config.splats, config.splats_transform)
        elements = elements_of(config, loaded, own)
        self.session = Session(run, loaded, vlm if vlm is not None else vlm_of(run))
        if self.missing:
            self.session.trouble(self.missing)
        self.server = open_server(config.host, self.port, f"semquery · {run.path.resolve().name}")
        dress(self.server)
        self.canvas = Canvas(self.server, self.session, elements)
        self.canvas.waiting = None if loaded is not None else in_one_piece(run, self.missing)
        self.photos = Photos(self.server, self.session.touch, self.canvas.go)
        self.panel = Panel(self.server, self.session, self.canvas)
        self.tab = ViewTab(self.server, self.panel.tabs, self.canvas, self.photos)
        self.painter = Painter(self.session, self.canvas.paint, self._paint_photos, self.panel.paint, self.tab.paint).start()
        self.watch = Watch(run, loaded, self.session.refresh, trouble=self.session.trouble).start()

    def _paint_photos(self, shown: Shown) -> None:
        self.photos.paint(shown, self.canvas.look.photos, self.canvas.look.scale)

    @property
    def address(self) -> str:
        """What to open in a browser on this machine."""
        host = "127.0.0.1" if self.config.host in ("0.0.0.0", "::") else self.config.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def stop(self, patience: float = GRACE) -> bool:
        """End it; whether all its threads have ended within some seconds. One that waits for a model's answer may not."""
        ending = threading.Thread(target=self._stop, name="semquery-ending", daemon=True)
        ending.start()
        ending.join(patience)
        return not ending.is_alive()

    def _stop(self) -> None:
        for each in (self.watch, self.panel, self.photos, self.painter, self.server):
            each.stop()


def check_run(run: Run) -> None:
    """Raises RunError for a directory with nothing of a run in it."""
    if not any((run / name).exists() for name in SOME):
        raise RunError(f"{run.path} has nothing of a run in it (no {', '.join(SOME[:-1])} or {SOME[-1]}). "
                       "Make one with `ns-train semquery --data SCENE`, or see a whole run with `semquery demo`.")


def opened(run: Run) -> tuple[Loaded | None, str]:
    """The run as far as it is there, and why there is nothing to look at yet."""
    try:
        return load(run), ""
    except ValueError as error:
        return None, str(error)


def in_one_piece(run: Run, why: str) -> Loaded | None:
    """The surface of a run that has no part tree yet, as one part, to look at meanwhile; None where it cannot be read."""
    try:
        surface, cameras = run.surface(), run.cameras()
    except (RunError, OSError):
        return None
    tree = PartTree(np.zeros(1, np.int32), np.zeros(1, np.float32), np.zeros(len(surface.points), np.int32), np.zeros((0, 3), np.int32),
                    np.zeros(0, np.float32))
    return Loaded(surface, tree, {}, cameras, Spans(tree, surface), None, why)


def elements_of(config: ViewConfig, loaded: Loaded | None, own: SplatScene | None = None) -> Elements:
    """What draws the surface; `own`: the splats that are given, or that it was made from. Raises ValueError for what cannot be read, does not lie where the
    run does, or goes not together."""
    if (config.mesh is not None) + (config.splats is not None) + config.points > 1:
        raise ValueError("--mesh, --splats and --points say what is drawn: give one of them.")
    if config.splats is None and (config.splats_transform is not None or config.reach is not None):
        raise ValueError("--splats-transform and --reach say where splats lie, and none were given: --splats SCENE.ply")
    if config.reach is not None and not 0 < config.reach < float("inf"):
        raise ValueError(f"--reach is {config.reach:g}; expected a distance above 0, in the capture's unit.")
    if config.mesh is not None:
        return open_mesh(config.mesh, loaded)
    if config.splats is not None:
        given = own or SplatScene(config.splats, read_T_world_splats(config.splats_transform))
        return open_splats(given.path, loaded, given.T_world_splats, config.reach)
    if own is not None and own.path.is_file() and not config.points:
        return open_splats(own.path, loaded, own.T_world_splats)
    return PointElements()


def run_viewer(run: Run, config: ViewConfig = ViewConfig(), vlm: Vlm | None = None, query: str | None = None, show: bool = False) -> int:
    """Look at a run until the process is told to end; 0. Raises ValueError for what cannot be opened.

    `query`: searched for at once. `show`: whether a browser is opened.
    """
    with told_to_end() as end:
        viewer = Viewer(run, config, vlm)
        print("\n".join(greeting(viewer)), flush=True)
        if query is not None:
            threading.Thread(target=first_query, args=(viewer.session, query), name="semquery-first-query", daemon=True).start()
        if show:
            import webbrowser

            webbrowser.open(viewer.address)
        end.wait()
    if not viewer.stop():
        print("view: what was still being worked out is given up", flush=True)
        sys.stderr.flush()
        os._exit(0)  # Python would wait for viser's threads
    print("view: ended", flush=True)
    return 0


def first_query(session: Session, text: str) -> None:
    """Search for what the command was given, and say what came of it."""
    session.search(text)
    shown = session.shown
    if shown.query == text and shown.message:
        print(f"view: {shown.message}", flush=True)


def greeting(viewer: Viewer) -> list[str]:
    """What is said when it has started."""
    config, loaded = viewer.config, viewer.session.shown.loaded
    lines = [f"view: {viewer.missing}" if loaded is None else
             f"view: {len(loaded.surface.points)} points, {loaded.tree.num_parts} parts, {len(loaded.labels)} names"]
    if loaded is None:
        lines.append("view: the page shows it as soon as it is there")
    else:
        lines += [f"view: {each}" for each in (loaded.notice,) if each]
    if viewer.port != config.port:
        lines.append(f"view: port {config.port} is taken; the page is at port {viewer.port}")
    if not is_loopback(config.host):
        lines.append(f"view: listening on {config.host}: there is no password, and whoever reaches it can ask (which may cost) and "
                     "export into the run")
    return [*lines, f"view: open {viewer.address} in a browser; Ctrl-C ends it"]


@contextmanager
def told_to_end() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set; a second Ctrl-C interrupts as usual."""
    end = threading.Event()
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}

    def ended(number: int, _: object) -> None:
        end.set()
        signal.signal(number, before[signal.Signals(number)] if number != signal.SIGINT else signal.default_int_handler)

    for each in before:
        signal.signal(each, ended)
    try:
        yield end
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
