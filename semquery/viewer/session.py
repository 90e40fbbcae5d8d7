"""Everything one can do to what is shown.

`Session.shown` is replaced whole and never changed: whoever reads it once sees one state, however long it takes to draw.
Actions may come from any thread, and take effect one after the other. What takes long (a query, a question, an export) is
worked out without a lock, and of what changes the selection the latest wins: a slow query that was overtaken, by a click
or by another query, is dropped when it is done. It leaves no trace in the history, which has what was answered.

Notation
  n points of the surface. Parts are numbers of the tree, points and rays are in the capture's frame.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
from jaxtyping import Bool, Float

from semquery import stages
from semquery.opened import Answered, Scene
from semquery.store import Run
from semquery.types import PartTree
from semquery.viewer.asking import LookedUp, against, heat_of, look_up, unbeaten, warm
from semquery.viewer.loaded import TREE, Loaded, check_there, stamp_of, told
from semquery.viewer.pick import picked
from semquery.viewer.shown import DEFAULT_LEVEL, MODES, Heat, Mode, Shown
from semquery.viewer.steps import answered_again, answered_query, answered_question, reread, selected, walked_down, walked_up
from semquery.vlm import Vlm

__all__ = ["DEFAULT_LEVEL", "MODES", "Heat", "Mode", "Session", "Shown", "against", "heat_of"]

ANEW = "The part tree has been made anew; ask again."


class Session:
    """A run that is being looked at; every method may be called from any thread."""

    def __init__(self, run: Run, loaded: Loaded | None = None, vlm: Vlm | None = None) -> None:
        """`vlm`: the model that questions are put to; without one the form of the question and the names decide."""
        self.run, self.vlm = run, vlm
        self._shown = Shown(message=self._lacking)
        self._ticket = 0  # of the latest action that changes the selection
        self._changed = threading.Condition()
        self._doing: dict[str, str] = {}  # what is being worked out, in words: an answer, an export
        self._exporting = threading.Lock()
        self._beaten: tuple[Scene, tuple[str, ...], Scene] | None = None  # a scene, other negatives, and the scene with them
        self._warmed: tuple[object, object] | None = None  # tree and encoder
        if loaded is not None:
            self.refresh(loaded)

    # ------------------------------------------------------------------ reading

    @property
    def shown(self) -> Shown:
        """What is shown now."""
        return self._shown

    def wait(self, version: int, timeout: float | None = None) -> Shown:
        """What is shown as soon as it is newer than `version`; after `timeout` seconds, what is shown then."""
        with self._changed:
            self._changed.wait_for(lambda: self._shown.version > version, timeout)
            return self._shown

    def touch(self) -> None:
        """Publish the same state as a new version, so that whoever waits for one draws it again."""
        self._publish(lambda shown: replace(shown))

    # ------------------------------------------------------------------ what is looked at

    def refresh(self, loaded: Loaded) -> None:
        """The run has changed: another tree empties the selection, other names keep it. The query is asked again."""
        with self._changed:
            is_same_tree = self._shown.loaded is not None and self._shown.loaded.tree is loaded.tree
            self._publish(lambda shown: reread(shown, loaded, self._lacking))
        self._warm(loaded.scene)
        self._look_again(is_same_tree)

    def trouble(self, why: str) -> None:
        """The run has changed and cannot be read: what was there stays, and the notice says why."""
        self._publish(lambda shown: replace(shown, loaded=replace(shown.loaded, notice=why) if shown.loaded else None, message=why))

    def set_level(self, level: int) -> None:
        """Which level of the tree is shown, and selected by a click; 0 is the whole scene."""
        self._publish(lambda shown: replace(shown, level=max(0, level if shown.loaded is None else min(level, shown.loaded.max_level))))

    def set_mode(self, mode: str) -> None:
        """How the selection stands out. Raises ValueError for another mode."""
        if mode not in MODES:
            raise ValueError(f"There is no mode {mode!r}; expected one of {', '.join(MODES)}.")
        self._publish(lambda shown: replace(shown, mode=cast(Mode, mode)))

    def set_heat(self, threshold: float | None = None, normalise: bool | None = None) -> None:
        """How relevancy is drawn; what is None stays."""
        self._publish(lambda shown: replace(shown, threshold=shown.threshold if threshold is None else float(np.clip(threshold, 0, 1)),
                                            normalise=shown.normalise if normalise is None else normalise))

    # ------------------------------------------------------------------ selecting

    def select(self, *parts: int, trail: Sequence[int] | None = None) -> None:
        """Select parts; none of them inside another is kept. Nothing that is no part of the tree is selected."""
        self._begin(lambda shown: selected(shown, parts, trail))

    def clear(self) -> None:
        """Select nothing."""
        self.select()

    def choose(self, rank: int) -> None:
        """Select one of the answers, from 0; nothing where there is no such answer."""
        self._begin(lambda shown: selected(shown, shown.found[rank].members) if 0 <= rank < len(shown.found) else shown)

    def click(
        self, origin: Float[np.ndarray, " 3"], direction: Float[np.ndarray, " 3"], points: Float[np.ndarray, "n 3"] | None = None,
        among: Bool[np.ndarray, " n"] | None = None,
    ) -> None:
        """Select the part, at the level that is shown, of the first surface point along a ray; nothing where the ray meets none.

        `points`: where the surface is drawn, if not where it is. `among`: which points can be met; by default those that the
        mode shows. Raises ValueError for a ray without a direction.
        """
        ticket, shown = self._begin(lambda shown: shown)
        if shown.loaded is None:
            return
        surface, tree = shown.loaded.surface, shown.loaded.tree
        places, seen = surface.points if points is None else points, shown.visible if among is None else among
        if len(places) != len(surface.points) or (seen is not None and len(seen) != len(places)):
            return  # drawn before the surface was made anew
        point = picked(places, np.asarray(origin, np.float64), np.asarray(direction, np.float64), surface.voxel_size, seen)
        if point is None:
            self._end(ticket, lambda now: selected(now, ()), tree)
            return
        smallest = int(tree.part_of_point[point])
        part = int(tree.level(shown.level)[smallest])
        self._end(ticket, lambda now: selected(now, (part,), tree.path(smallest)), tree)

    def up(self) -> None:
        """Select what holds the selection: the parent of one part, the smallest part around several."""
        self._begin(walked_up)

    def down(self) -> None:
        """Select what was walked up from; else the part inside the selected one that was clicked, or the one with most points."""
        self._begin(walked_down)

    # ------------------------------------------------------------------ asking

    def search(self, text: str) -> None:
        """Find what a query means and select the best answer; why there is none is told in the message. A blank one clears the last."""
        if not str(text).strip():
            self._begin(lambda shown: replace(selected(shown, ()), query="", found=(), heat=None))
            return
        ticket, shown = self._begin(lambda shown: replace(shown, message=""), f"searching for “{text}”")
        outcome = self._looked_up(shown, text)
        self._end(ticket, lambda now: answered_query(now, text, outcome), shown.loaded.tree if shown.loaded else None)
        if shown.loaded is not self.shown.loaded:
            self._look_again()

    def set_negatives(self, texts: Sequence[str]) -> None:
        """What a hit has to beat, instead of what the codebook says; nothing goes back to that. The query is asked again.

        Where the scorer knows no negatives the message says that they change nothing.
        """
        self._publish(lambda shown: replace(shown, negatives=tuple(text.strip() for text in texts if text.strip())))
        if self.shown.query:
            self.search(self.shown.query)
        shown = self.shown
        if shown.negatives and shown.loaded and shown.loaded.scene and not shown.message and (why := unbeaten(shown.loaded.scene)):
            self._tell(why)

    def ask(self, question: str) -> None:
        """Find what answers a question of purpose, and select it. A blank one clears the last."""
        if not str(question).strip():
            self._begin(lambda shown: replace(shown, question="", answered=None, message=""))
            return
        ticket, shown = self._begin(lambda shown: replace(shown, message=""), f"thinking about “{question}”")
        tree, notice = (shown.loaded.tree, shown.loaded.notice) if shown.loaded else (None, self._lacking)
        try:
            scene = self._scene(shown)
            answered = Answered(stages.ask(self.run, scene, question, self.vlm), scene) if scene else None
            message = answered.explain() if answered else notice
        except Exception as error:  # a model may fail in any way its library does
            answered, message = None, told(error)
        self._end(ticket, lambda now: answered_question(now, question, answered, message), tree)

    def export(self, formats: Sequence[str] = stages.CHEAP) -> list[Path]:
        """Write the selected parts (the whole tree where nothing is selected); the files. One export at a time.

        What came of it is told in the message too. Raises ValueError as the stage does, and for whatever else goes wrong.
        """
        if not self._exporting.acquire(blocking=False):
            raise ValueError(self._tell("Another export is being written; wait until it is done."))
        try:
            self._do("export", "writing the selected parts" if self.shown.lit else "writing all parts")
            files = self._written(self.shown, formats)
        except Exception as error:
            raise ValueError(self._tell(told(error))) from error
        finally:
            self._exporting.release()
            self._do("export")
        self._tell(f"{len(files)} files are written to {files[-1].parent}")
        return files

    def _written(self, shown: Shown, formats: Sequence[str]) -> list[Path]:
        if shown.loaded is None:
            raise ValueError(self._lacking)
        check_there(self.run)
        if [entry for entry in stamp_of(self.run) if entry[0] in TREE] != [entry for entry in shown.loaded.stamp if entry[0] in TREE]:
            raise ValueError(f"The part tree in {self.run.path} is not the one that is shown: it is being made anew. "
                             "Wait for it, and select again.")
        return stages.export(self.run, formats=formats, part=shown.lit or None)

    # ------------------------------------------------------------------ working it out

    @property
    def _lacking(self) -> str:
        return f"There is no part tree yet. It is shown as soon as it is made: semquery tree {self.run.path}"

    def _scene(self, shown: Shown) -> Scene | None:
        """What is asked, with the negatives that are shown; made once for them."""
        scene = shown.loaded.scene if shown.loaded else None
        if scene is None or not shown.negatives:
            return scene
        held = self._beaten
        if held is None or held[0] is not scene or held[1] != shown.negatives:
            held = self._beaten = (scene, shown.negatives, against(scene, shown.negatives))
        return held[2]

    def _looked_up(self, shown: Shown, text: str) -> LookedUp:
        try:
            scene = self._scene(shown)
        except Exception as error:  # encoding the negatives, as in `look_up`
            return LookedUp(message=told(error))
        if scene is None:
            return LookedUp(message=shown.loaded.notice if shown.loaded else self._lacking)
        return look_up(scene, text)

    def _look_again(self, select: bool = True) -> None:
        """Ask the query that is shown once more, for names have changed; `select`: the best answer, where there was none before."""
        shown = self.shown
        if not shown.query or shown.loaded is None or shown.loaded.scene is None:
            return
        outcome = self._looked_up(shown, shown.query)

        def change(now: Shown) -> Shown:
            if now.loaded is not shown.loaded or (now.query, now.negatives) != (shown.query, shown.negatives):
                return now
            return answered_again(now, outcome, select and "answer" not in self._doing)

        self._publish(change)

    def _warm(self, scene: Scene | None) -> None:
        """Open what the first query takes, meanwhile."""
        if scene is None or (self._warmed and self._warmed[0] is scene.tree and self._warmed[1] is scene.searcher.matcher.encoder):
            return
        self._warmed = (scene.tree, scene.searcher.matcher.encoder)

        def open_all() -> None:
            try:
                warm(scene)
            except Exception as error:  # the first query will meet it too; whoever looks knows sooner
                self._tell(told(error))

        threading.Thread(target=open_all, name="semquery-warm", daemon=True).start()

    # ------------------------------------------------------------------ publishing

    def _publish(self, change: Callable[[Shown], Shown]) -> None:
        with self._changed:
            new, busy = change(self._shown), "; ".join(self._doing.values())
            if new.busy != busy:
                new = replace(new, busy=busy)
            if new is not self._shown:
                self._shown = replace(new, version=self._shown.version + 1)
                self._changed.notify_all()

    def _tell(self, message: str) -> str:
        self._publish(lambda shown: replace(shown, message=message))
        return message

    def _do(self, what: str, words: str = "", change: Callable[[Shown], Shown] = lambda shown: shown) -> None:
        """What is being worked out (without words, it is done), published with a change."""
        with self._changed:
            self._doing = {name: doing for name, doing in {**self._doing, what: words}.items() if doing}
            self._publish(change)

    def _begin(self, change: Callable[[Shown], Shown], busy: str = "") -> tuple[int, Shown]:
        """Publish an action that changes the selection and overtakes what is still worked out; its ticket, and what is shown now."""
        with self._changed:
            self._ticket += 1
            self._do("answer", busy, change)
            return self._ticket, self._shown

    def _end(self, ticket: int, change: Callable[[Shown], Shown], tree: PartTree | None) -> None:
        """Publish what came of an action, unless a later one has been begun; where another tree than its own is shown by now, that is told."""
        with self._changed:
            if ticket != self._ticket:
                return
            is_other = tree is not None and (self._shown.loaded is None or self._shown.loaded.tree is not tree)
            self._do("answer", "", lambda shown: replace(shown, message=ANEW) if is_other else change(shown))
