"""A run as a viewer reads it: whatever is there at the moment, read again when it changes.

A viewer is opened before the parts have names, while they are being named, and while a tree is made anew. What is there is
shown; what is not there yet, or cannot be read, is told in a sentence.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from semquery.codebook import build_codebook, said
from semquery.export import path_names
from semquery.opened import ASKS, Scene, Shapes, supporting_views
from semquery.prompts import bank, negatives
from semquery.spans import Spans
from semquery.store import Run, RunError
from semquery.text import Lexical, TextEncoder, encoder_from
from semquery.types import Cameras, Codebook, NodeLabel, PartTree, Surface
from semquery.vlm import Answer, VlmError

SURFACE, TREE, CAMERAS = ("surface.npz", "pixels"), ("parts.npz",), ("cameras.json",)  # read again each when its files have changed
WATCHED = (*CAMERAS, *SURFACE, *TREE, "labels.jsonl", "codebook.npz", "codebook.json")
SHARE = 4  # a look is followed by a pause of at least so many times what it took, so that reading does not slow down what is shown

Stamp = tuple[tuple[str, int, int], ...]  # name, time of change in ns, bytes


@dataclass(frozen=True)
class Loaded:
    """A run at one moment; only read, by any number of threads."""

    surface: Surface
    tree: PartTree
    labels: Mapping[int, NodeLabel]
    cameras: Cameras
    spans: Spans
    scene: Scene | None  # what is asked; None while nothing has a name
    notice: str = ""  # what is missing or out of date, in a sentence that says what to run; "" where all is well
    stamp: Stamp = field(default=(), repr=False)

    @cached_property
    def shapes(self) -> Shapes:
        """Where every part is."""
        return Shapes(self.surface, self.tree, self.labels, self.spans)

    @property
    def max_level(self) -> int:
        """The depth of the deepest part; the root is level 0."""
        return int(self.tree.depth.max())

    def name(self, part: int) -> str:
        """The part's name; its number where it has none."""
        return self.labels[part].name if part in self.labels else f"part {part}"

    def path(self, part: int) -> tuple[str, ...]:
        """Names from the top of the tree down to the part."""
        return path_names(self.tree, self.labels, part)


def told(error: Exception) -> str:
    """What went wrong, for whoever looks: the message of an error that was written for people, of another also its kind."""
    if isinstance(error, (ValueError, VlmError)) and str(error):
        return str(error)
    return f"It failed with {type(error).__name__}{f': {error}' if str(error) else ''}."


def stamp_of(run: Run) -> Stamp:
    """What the files that a viewer reads look like from outside; another stamp, another content."""
    found = []
    for name in WATCHED:
        try:
            state = (run / name).stat()
        except OSError:
            continue
        found.append((name, state.st_mtime_ns, state.st_size))
    return tuple(found)


def check_there(run: Run) -> None:
    """Raises RunError for a run whose folder is gone."""
    if not run.path.is_dir():
        raise RunError(f"The run folder is gone: {run.path}. What was read of it stays on show; "
                       "put it back, or open the run where it is now.")


def load(run: Run, earlier: Loaded | None = None) -> Loaded:
    """Read what there is; of `earlier`, the surface, tree and cameras are taken over whose files have not changed.

    Names and codebook that cannot be read are told in the notice. Raises RunError where the folder is gone or has
    no part tree yet, or where surface and tree are not of one another.
    """
    check_there(run)
    stamp = stamp_of(run)
    run.need("surface.npz")
    tree = earlier.tree if earlier and _same(stamp, earlier, TREE) else run.parts()
    surface = earlier.surface if earlier and _same(stamp, earlier, SURFACE) else run.surface()
    cameras = earlier.cameras if earlier and _same(stamp, earlier, CAMERAS) else run.cameras()
    if earlier and tree is earlier.tree and surface is earlier.surface:
        spans = earlier.spans
    else:
        _check_of_one_another(run, surface, tree)
        spans = Spans(tree, surface)
    before = earlier if earlier and spans is earlier.spans and cameras is earlier.cameras else None
    try:
        labels = {part: label for part, label in run.labels().items() if 0 <= part < tree.num_parts}
    except RunError as error:
        return Loaded(surface, tree, before.labels if before else {}, cameras, spans, before.scene if before else None, str(error), stamp)
    scene, notice = _scene(run, Loaded(surface, tree, labels, cameras, spans, None), before.scene if before else None)
    return Loaded(surface, tree, labels, cameras, spans, scene, notice, stamp)


def _same(stamp: Stamp, earlier: Loaded, names: tuple[str, ...]) -> bool:
    return [entry for entry in stamp if entry[0] in names] == [entry for entry in earlier.stamp if entry[0] in names]


def _check_of_one_another(run: Run, surface: Surface, tree: PartTree) -> None:
    """Raises RunError for a tree or pixels of another surface."""
    num_points, num_held = len(surface.points), len(tree.part_of_point)
    if num_held != num_points:
        raise RunError(f"The part tree of {run.path} is of {num_held} points and its surface has {num_points}: one of them is being made "
                       f"anew. Wait for it, or run: semquery tree {run.path} --overwrite")
    if any(int(point.max(initial=-1)) >= num_points for point in surface.point_of_pixel.values()):
        raise RunError(f"The pixels of {run.path} show points that its surface does not have: it is being made anew. "
                       f"Wait for it, or run: semquery fit {run.path} --overwrite")


def _scene(run: Run, there: Loaded, earlier: Scene | None) -> tuple[Scene | None, str]:
    """What is asked: the codebook where it is up to date, else the names by their spelling; and what is to be said of it."""
    if not any(said(label) for label in there.labels.values()):
        return None, f"No part has a name yet, so there is nothing to search by. Name them with: semquery label {run.path}{_set_aside(run)}"

    def scene(book: Codebook, encoder: TextEncoder) -> Scene:
        if earlier is not None:
            return earlier.renamed(there.labels, book, encoder)
        return Scene(there.surface, there.tree, there.labels, book, there.cameras, encoder,
                     supporting=supporting_views(run, there.surface), recorded=_recorded(run), spans=there.spans)

    try:
        run.need("codebook.npz")
        run.check_current("encode")
        book = run.codebook()
        return scene(book, _kept(encoder_from(book.encoder_config))), ""
    except Exception as error:  # a model is opened here, which fails as its library likes
        notice = f"Names are compared by spelling for now. {told(error)}"
    return scene(build_codebook(there.labels, Lexical(), negatives(), bank()), Lexical()), notice


def _set_aside(run: Run) -> str:
    """Where the names of an earlier tree are kept, in a sentence after another; "" where there are none."""
    kept = sorted(run.path.glob("labels.old*.jsonl"), key=lambda path: (len(path.name), path.name))
    return f" (the names of the tree before this one are kept in {kept[-1].name})" if kept else ""


@lru_cache(maxsize=2)
def _kept(encoder: TextEncoder) -> TextEncoder:
    """The first of equal encoders: what it has opened serves again when the names have changed."""
    return encoder


def _recorded(run: Run) -> dict[str, Answer]:
    """What models answered to questions; nothing where the record cannot be read, for it only saves asking."""
    try:
        return run.answers(ASKS)
    except RunError:
        return {}


class Watch:
    """Reads a run again whenever its files change, in a thread of its own; what cannot be read leaves what was there."""

    def __init__(
        self, run: Run, loaded: Loaded | None, tell: Callable[[Loaded], None], every: float = 1.0,
        trouble: Callable[[str], None] | None = None,
    ) -> None:
        """`tell` is called with what was read, `trouble` with why nothing could be, both from the thread; `every` in seconds."""
        self.run, self.loaded, self.tell, self.every, self.trouble = run, loaded, tell, every, trouble
        self._tried: Stamp | None = None if loaded is None else loaded.stamp
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="semquery-watch", daemon=True)

    def start(self) -> "Watch":
        self._thread.start()
        return self

    def stop(self) -> None:
        """Returns when the thread has ended."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> bool:
        """Read if anything changed since the last look; whether something new was told."""
        stamp = stamp_of(self.run)
        if stamp == self._tried:
            return False
        self._tried = stamp
        try:
            self.loaded = load(self.run, self.loaded)
        except Exception as error:  # in the middle of being made, in whatever state: the next change is looked at again
            if self.trouble is not None:
                self.trouble(told(error))
            return False
        self.tell(self.loaded)
        return True

    def _follow(self) -> None:
        pause = self.every
        while not self._stop.wait(pause):
            start = time.monotonic()
            self.look()
            pause = max(self.every, SHARE * (time.monotonic() - start))
