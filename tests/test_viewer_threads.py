"""Many hands on one session: five hundred actions from eight threads, while one draws and one renders."""

import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import numpy as np
import pytest
from helpers import named_run, part_tree, small_labels, small_surface
from session_helpers import PATIENCE, Steered, ended, in_thread

from semquery import stages
from semquery.export import Chosen
from semquery.store import Run
from semquery.types import MergeTree, NodeLabel
from semquery.viewer import MODES, Loaded, Painter, Session, Shown, load
from semquery.viewer.session import ANEW

HANDS, ACTIONS = 8, 500
QUERIES = ("plate", "knobs", "left knob", "the knob left of the plate", "giraffe", "", "panel of glass", "scene")
QUESTIONS = ("where is the plate?", "what would I turn?", "")
REFUSED = ("Another export is being written", "is not the one that is shown")


def run_of(path: Path, tree, names: dict[int, str]) -> Run:
    run = named_run(path)
    run.write_tree(MergeTree(np.array([2, 2, 2], np.int32), np.array([0, 0, 1], np.float32)), np.array([[0, 1]]), np.array([0.5]), tree)
    run.set_labels_aside()
    for part, name in names.items():
        run.append_label(NodeLabel(part, name), "")
    stages.encode(run, overwrite=True)
    return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> tuple[Run, list[Loaded]]:
    """A run, and what one may find in its place: itself, other names, another tree, no names."""
    folder = tmp_path_factory.mktemp("threads")
    run = named_run(folder / "run")
    first = load(run)
    names = {part: label.name.replace("panel", "panel of glass") for part, label in small_labels().items()}
    run.append_label(NodeLabel(3, names[3]), "")
    renamed = load(run, first)
    other = load(run_of(folder / "other", part_tree([2, 2, 3, 3], [0] * 5 + [1] * 4 + [2] * 3), {0: "left knob", 1: "plate", 2: "panel", 3: "scene"}))
    (folder / "other" / "labels.jsonl").unlink()
    bare = load(Run(folder / "other"), other)
    assert renamed.tree is first.tree and bare.tree is other.tree and bare.scene is None and bare.max_level == other.max_level == 2
    return run, [first, renamed, other, bare]


@pytest.fixture
def turns_often() -> Iterator[None]:
    """Threads take turns fifty times as often as Python has them do, so that more of what may happen does."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(usual / 50)
    yield
    sys.setswitchinterval(usual)


# ------------------------------------------------------------------ what holds of every state


def check(shown: Shown) -> None:
    """Whatever is shown fits together."""
    loaded = shown.loaded
    assert loaded is not None and shown.mode in MODES and 0 <= shown.level <= loaded.max_level
    assert len(shown.history) == len(set(shown.history)) <= 20
    parts, holds = range(loaded.tree.num_parts), loaded.tree.holds
    for lit in (shown.lit, *shown.below):
        assert all(part in parts for part in lit)
        assert not any(holds[one, other] for one in lit for other in lit if one != other)
    assert all(part in parts for part in shown.trail)
    if shown.lit:
        Chosen(loaded.surface, loaded.tree, loaded.labels, shown.lit)
    for found in shown.found:
        assert found.shapes.tree is loaded.tree and all(part in parts for part in found.members)
    assert shown.heat is None or shown.heat.raw.shape == loaded.tree.parents.shape
    if shown.answered is not None:
        assert shown.answered.scene.tree is loaded.tree and all(part in parts for part in shown.answered.answer.targets)
    assert shown.visible is None or shown.visible.shape == loaded.tree.part_of_point.shape
    assert shown.rank is None or shown.lit == shown.lit_by(shown.found[shown.rank].members)


@dataclass
class Renderer:
    """Reads the session without a lock, as a host's render loop does, until it is told to end."""

    session: Session
    frames: int = 0
    wrong: list[str] = field(default_factory=list)
    end: threading.Event = field(default_factory=threading.Event)

    def __call__(self) -> None:
        version = -1
        while not self.end.is_set():
            self.session.wait(version, 0.05)
            shown = self.session.shown
            try:
                assert shown.version >= version, "an older state came after a newer one"
                check(shown)
            except AssertionError as error:
                self.wrong.append(f"{error} in {shown}")
            version, self.frames = shown.version, self.frames + 1


# ------------------------------------------------------------------ what is done


def actions(session: Session, loaded: list[Loaded], random: np.random.Generator, count: int) -> list[tuple[str, Callable[[], object]]]:
    """What a hand does, drawn before it begins."""
    points = small_surface().points

    def one(kind: str) -> Callable[[], object]:
        k, question = int(random.integers(100)), QUESTIONS[random.integers(len(QUESTIONS))]
        text = QUERIES[random.integers(len(QUERIES))] + " " * (k % 9)  # blanks make it one that is not remembered
        parts, origin = random.integers(-1, 6, 3).tolist(), points[random.integers(len(points))] + np.array([0.0, -5, 0.1 * (k % 9)])
        return {
            "search": lambda: session.search(text), "ask": lambda: session.ask(question), "select": lambda: session.select(*parts[: k % 4]),
            "choose": lambda: session.choose(k % 3), "up": session.up, "down": session.down, "level": lambda: session.set_level(k % 4 - 1),
            "click": lambda: session.click(origin, np.array([0.0, 1.0, 0.0])), "refresh": lambda: session.refresh(loaded[k % len(loaded)]),
            "negatives": lambda: session.set_negatives(["spoon", "wall"][: k % 3]), "touch": session.touch, "trouble": lambda: session.trouble("torn"),
            "export": lambda: session.export(("json",)),
        }[kind]

    kinds = ["search"] * 5 + ["click"] * 3 + ["up", "down", "select", "choose", "refresh"] * 2 + ["ask", "level", "negatives", "touch", "trouble"]
    drawn = [kinds[random.integers(len(kinds))] if k % 40 else "export" for k in range(count)]
    return [(kind, one(kind)) for kind in drawn]


def settings(session: Session, random: np.random.Generator, count: int) -> list[tuple[str, Callable[[], object]]]:
    """What the one hand does that alone changes how the selection and relevancy are drawn: how it ends does not depend on the others."""
    modes, heats = random.integers(len(MODES), size=count).tolist(), random.random(count).round(2).tolist()
    steps = [(lambda m=m: session.set_mode(MODES[m])) if k % 2 else (lambda h=h: session.set_heat(h, h > 0.5)) for k, (m, h) in enumerate(zip(modes, heats, strict=True))]
    return [("settings", step) for step in steps]


def until_changed(session: Session, loaded: Loaded) -> Loaded:
    """The same with an encoder that takes until something else has happened, if anything does: queries are overtaken often."""
    if loaded.scene is None:
        return loaded
    encoder = Steered(lambda text: session.wait(session.shown.version, 0.02))
    return replace(loaded, scene=loaded.scene.renamed(loaded.scene.labels, loaded.scene.searcher.book, encoder))


def concluded(session: Session, loaded: Loaded) -> dict[str, object]:
    """The state after a last few actions, one after the other; without what tells of the past."""
    session.refresh(loaded)
    session.set_negatives([])
    session.set_level(2)
    session.ask("where is the plate?")
    session.search("left knob")
    session.up()
    return {each.name: getattr(session.shown, each.name) for each in fields(Shown) if each.name not in ("version", "history", "heat", "loaded")}


@pytest.mark.parametrize("seed", [0, 1])
def test_five_hundred_actions_of_eight_hands_leave_nothing_broken(runs, turns_often, seed):
    run, loaded = runs
    raised: list[tuple[str, Exception]] = []
    alone, session = Session(run, loaded[0]), Session(run, loaded[0])
    loaded = [until_changed(session, each) for each in loaded]
    each = ACTIONS // HANDS + 1
    seeds = np.random.SeedSequence(seed).spawn(HANDS)
    hands = [actions(session, loaded, np.random.default_rng(s), each) for s in seeds[1:]] + [settings(session, np.random.default_rng(seeds[0]), each)]
    assert sum(map(len, hands)) >= ACTIONS
    together = threading.Barrier(HANDS, timeout=PATIENCE)

    def work(hand: list[tuple[str, Callable[[], object]]]) -> None:
        together.wait()
        for kind, act in hand:
            try:
                act()
            except Exception as error:
                if not (kind == "export" and isinstance(error, ValueError) and any(words in str(error) for words in REFUSED)):
                    raised.append((kind, error))

    renderer, painter = Renderer(session), Painter(session, check).start()
    render_thread, workers = in_thread(renderer), [in_thread(lambda hand=hand: work(hand)) for hand in hands]
    ended(*workers)
    assert painter.settle(PATIENCE) and painter.troubles == []
    renderer.end.set()
    ended(render_thread)
    assert renderer.wrong == [] and renderer.frames > 0 and raised == []
    assert session.shown.busy == "" and {text.strip() for text in session.shown.history} <= set(QUERIES) - {""}

    for _, act in settings(alone, np.random.default_rng(seeds[0]), each):
        act()
    assert concluded(session, runs[1][0]) == concluded(alone, runs[1][0])
    np.testing.assert_array_equal(session.shown.heat.raw, alone.shown.heat.raw)
    assert painter.settle(PATIENCE) and painter.troubles == []
    painter.stop()
    assert ANEW not in alone.shown.message


def test_the_check_of_every_state_finds_what_does_not_fit(runs):
    _, (first, _, other, _) = runs
    session = Session(runs[0], first)
    session.search("plate")
    shown = session.shown
    check(shown)
    wrong = [{"lit": (0, 3)}, {"lit": (9,)}, {"below": ((0, 4),)}, {"loaded": other}, {"level": 7}, {"history": ("a", "a")}, {"trail": (-1,)}]
    for change in wrong:
        with pytest.raises((AssertionError, IndexError)):
            check(Shown(**{each.name: getattr(shown, each.name) for each in fields(Shown)} | change))
