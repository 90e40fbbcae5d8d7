"""The one thread that draws: whatever a session shows is painted in turn, and what was overtaken meanwhile is skipped.

Callbacks of the page only call the session; what follows from that, in the scene and in the panel, is made here. So two
changes never write into the scene at once, and what is drawn last is what is shown last.
"""

import sys
import threading
import time
import traceback
from collections.abc import Callable

from semquery.viewer.session import Session, Shown

MOST_TROUBLES = 50  # kept and printed; a fault that says something else every time would fill the terminal


class Painter:
    """Paints what a session shows, the newest only; a paint function that fails is told and does not stop the others."""

    def __init__(self, session: Session, *paint: Callable[[Shown], None]) -> None:
        """`paint`: called in this order, each time with the same state, from the painter's thread."""
        self.session, self.paint = session, paint
        self.troubles: list[Exception] = []  # what paint functions raised, once for each message
        self._told: set[str] = set()
        self._painted = -1  # the newest version that was painted
        self._stopped = False
        self._progress = threading.Condition()
        self._thread = threading.Thread(target=self._follow, name="semquery-painter", daemon=True)

    def start(self) -> "Painter":
        """Paint what is shown now, and from then on every change."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Returns when the thread has ended; what was not painted by then is not painted."""
        with self._progress:
            self._stopped = True
            self._progress.notify_all()
        self.session.touch()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    def repaint(self) -> None:
        """Paint again though the session stands as it is, because something else that is drawn has changed."""
        self.session.touch()

    def settle(self, timeout: float | int) -> bool:
        """Wait until everything published so far is painted; whether it was within `timeout` seconds."""
        version = self.session.shown.version
        deadline = time.monotonic() + timeout
        with self._progress:
            while self._painted < version and not self._stopped:
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._progress.wait(left)
            return self._painted >= version

    def _follow(self) -> None:
        while not self._stopped:
            shown = self.session.wait(self._painted)
            if self._stopped:
                return
            for paint in self.paint:
                self._try(paint, shown)
            with self._progress:
                self._painted = shown.version
                self._progress.notify_all()

    def _try(self, paint: Callable[[Shown], None], shown: Shown) -> None:
        try:
            paint(shown)
        except Exception as error:  # whatever it is, the next state may be painted again
            told = f"{type(error).__name__}: {error}"
            if told in self._told or len(self.troubles) >= MOST_TROUBLES:
                return
            self._told.add(told)
            self.troubles.append(error)
            print(f"What is shown could not be drawn ({told}).\n{''.join(traceback.format_exception(error))}", file=sys.stderr)
