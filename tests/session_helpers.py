"""Sessions over the hand-made run, with an encoder that waits or fails where a test wants it to."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from helpers import part_tree, random_parts, small_cameras

from semquery.spans import Spans
from semquery.text import Lexical
from semquery.types import PartTree, Surface
from semquery.viewer import Loaded, Session, Shown
from semquery.viewer.asking import warm

PATIENCE = 60.0  # seconds until what is waited for is given up; met on a loaded machine, so generous


class Steered:
    """Spelling, but `on` hears every query first, and may wait or raise."""

    kind = "lexical"

    def __init__(self, on: Callable[[str], None]) -> None:
        self.on, self.told = on, 0  # told: texts that were encoded to be searched in

    @property
    def identity(self) -> str:
        return Lexical().identity

    def check(self) -> str:
        return "spelling, steered"

    def queries(self, texts: Sequence[str]) -> np.ndarray:
        for text in texts:
            self.on(text)
        return Lexical().queries(texts)

    def passages(self, texts: Sequence[str]) -> np.ndarray:
        self.told += 1
        return Lexical().passages(texts)


class Gate:
    """Holds whoever asks for a text until it is opened; tells when somebody stands before it."""

    def __init__(self, text: str) -> None:
        self.text, self.opened, self.reached = text, threading.Event(), threading.Event()

    def __call__(self, text: str) -> None:
        if text == self.text:
            self.reached.set()
            assert self.opened.wait(PATIENCE)


def steered(loaded: Loaded, on: Callable[[str], None]) -> Loaded:
    """The same with an encoder that is steered, its places worked out."""
    assert loaded.scene is not None
    scene = loaded.scene.renamed(loaded.scene.labels, loaded.scene.searcher.book, Steered(on))
    warm(loaded.scene)  # what both scenes share
    return replace(loaded, scene=scene)


def unnamed(tree: PartTree) -> Loaded:
    """A tree over points on a line."""
    n = len(tree.part_of_point)
    points = np.zeros((n, 3), np.float32)
    points[:, 0] = np.arange(n)
    surface = Surface(points, points, np.zeros((n, 3), np.uint8), np.zeros((n, 0), np.float16), np.arange(n, dtype=np.int32), 0.4)
    return Loaded(surface, tree, {}, small_cameras(), Spans(tree, surface), None)


def any_tree(seed: int) -> PartTree:
    random = np.random.default_rng(seed)
    num_parts = int(random.integers(1, 12))
    return random_parts(random, num_parts, 20) if num_parts > 1 else part_tree([0], [0] * 20)


def until(session: Session, holds: Callable[[Shown], bool]) -> Shown:
    """What is shown as soon as something holds of it."""
    shown = session.shown
    while not holds(shown):
        newer = session.wait(shown.version, PATIENCE)
        assert newer.version > shown.version, f"waited in vain; shown is {shown}"
        shown = newer
    return shown


def in_thread(act: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    return thread


def ended(*threads: threading.Thread) -> None:
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
