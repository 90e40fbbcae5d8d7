"""What the panel is made of, on viser's widgets: each knows what a page shows by now and sends only what is new.

Conventions
  A value that Python sets comes back as an event without a client; `acting` leaves those out, so that painting is never
  taken for an action. What a person does calls the given functions, from any of the server's threads.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")


def acting(act: Callable[[Any], None]) -> Callable[[Any], None]:
    """A callback for a widget (of a viser GuiEvent) that leaves out what Python has set itself."""
    def called(event: Any) -> None:
        if event.client is not None:
            act(event)

    return called


def one_at_a_time(button: Any, act: Callable[[Any], None]) -> Callable[[Any], None]:
    """A callback for a button of what takes long: while it runs the button is greyed, and what presses it all the same is left out."""
    running = threading.Lock()

    def called(event: Any) -> None:
        if not running.acquire(blocking=False):
            return
        try:
            button.disabled = True
            act(event)
        finally:
            button.disabled = False
            running.release()

    return acting(called)


class Debounce(Generic[Value]):
    """Acts on the newest value once no other has come for a while: viser tells every keystroke, and no Enter."""

    def __init__(
        self, act: Callable[[Value], None], seconds: float = 0.7, timer: Callable[[float, Callable[[], None]], Any] = threading.Timer,
    ) -> None:
        """`timer`: what makes a clock that calls a function after so many seconds once it is started, unless it is cancelled."""
        self.act, self.seconds, self.timer = act, seconds, timer
        self._lock = threading.Lock()
        self._waiting: Any = None

    def put(self, value: Value) -> None:
        """A new value; those that wait are forgotten."""
        def due() -> None:
            with self._lock:
                if self._waiting is not clock:  # overtaken while it went off
                    return
                self._waiting = None
            self.act(value)

        clock = self.timer(self.seconds, due)
        clock.daemon = True
        self._replace(clock)
        clock.start()

    def drop(self) -> None:
        """Forget what waits."""
        self._replace(None)

    def _replace(self, clock: Any) -> None:
        with self._lock:
            earlier, self._waiting = self._waiting, clock
        if earlier is not None:
            earlier.cancel()


class Menu(Generic[Value]):
    """A dropdown whose lines stand for values; its first line, the placeholder, stands for none."""

    def __init__(self, server: Any, label: str, placeholder: str, choose: Callable[[Value | None], None], hint: str | None = None) -> None:
        """`choose` is called with the value of the line that a person chose, None for the placeholder."""
        self.server, self.choose = server, choose
        self._of_line: dict[str, Value | None] = {placeholder: None}
        self.handle = server.gui.add_dropdown(label, (placeholder,), hint=hint)
        self.handle.on_update(acting(lambda event: self._chosen(event.target.value)))

    def show(self, placeholder: str, lines: Sequence[tuple[str, Value]], chosen: Value | None) -> None:
        """Offer these lines, no two the same, and show the chosen one; the placeholder where `chosen` is none of them."""
        taken = {line for line, _ in lines}
        while placeholder in taken:  # a part may be called as the placeholder is
            placeholder += " "
        of_line: dict[str, Value | None] = {placeholder: None, **dict(lines)}
        self._of_line = of_line
        with self.server.atomic():
            if tuple(of_line) != tuple(self.handle.options):
                self.handle.options = tuple(of_line)
            self.point_at(chosen)

    def point_at(self, chosen: Value | None) -> None:
        """Show the line of a value; the placeholder where it has none."""
        line = next((line for line, value in self._of_line.items() if value == chosen), next(iter(self._of_line)))
        if line != self.handle.value:
            self.handle.value = line

    def _chosen(self, line: str) -> None:
        if line in self._of_line:  # no longer, where the lines were replaced meanwhile
            self.choose(self._of_line[line])


class Card:
    """Markup that is sent when it changes, and takes no room while it is empty."""

    def __init__(self, server: Any, markup: str = "") -> None:
        self.handle = server.gui.add_markdown(markup, visible=bool(markup))

    def show(self, markup: str) -> None:
        if markup and markup != self.handle.content:
            self.handle.content = markup
        self.handle.visible = bool(markup)


def assign(handle: Any, value: Any) -> None:
    """Show a value in a widget, unless it is what a page shows already."""
    if handle.value != value:
        handle.value = value


def same(one: tuple[Any, Any], other: tuple[Any, Any]) -> bool:
    """Whether two states are of one run as it was read, the very same, and equal otherwise."""
    return one[0] is other[0] and one[1] == other[1]
