"""The panel of a viewer: search, tree, questions and exports over one session, and the card of what is selected.

The same in every host. It makes its widgets in the viser container that is current and calls the session when a person
does something; `paint`, called by the painter after every change, is all that writes into its widgets.
"""

import threading
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from semquery.viewer.loaded import Loaded
from semquery.viewer.session import MODES, Session, Shown
from semquery.viewer.tabs import AskTab, ExportTab, SearchTab, TreeTab
from semquery.viewer.widgets import Card, acting, assign, same
from semquery.viewer.words import card, sentence


@runtime_checkable
class Host(Protocol):
    """What the page around the panel can do."""

    def jump(self, client: Any, parts: tuple[int, ...]) -> None:
        """Move the camera of one client (a viser ClientHandle) to the parts; called from a callback of the page, parts are never empty."""


class Panel:
    """The widgets; `tabs` is viser's tab group, to which a host may add tabs of its own."""

    def __init__(self, server: Any, session: Session, host: Host, timer: Callable[..., Any] = threading.Timer) -> None:
        """`server`: a viser.ViserServer. `timer` waits for the end of typing, as threading.Timer does."""
        self.session, self.host = session, host
        self.tabs = server.gui.add_tab_group()
        with self.tabs.add_tab("Search"):
            self.search = SearchTab(server, session, timer)
        with self.tabs.add_tab("Tree") as tab:
            self.tree = TreeTab(server, session, tab)
        with self.tabs.add_tab("Ask"):
            self.ask = AskTab(server, session)
        with self.tabs.add_tab("Export"):
            self.export = ExportTab(server, session)
        self.status = Card(server)
        with server.gui.add_folder("Selection"):
            self.card = Card(server)
            self.walk = server.gui.add_button_group("Go to", ("Parent", "Child"), hint="Child: back down, or into the largest part.")
            self.turn = server.gui.add_button_group("Selected", ("Look at", "Clear"), hint="Move the camera to it, or select nothing.")
            self.mode = server.gui.add_dropdown("Stands out", MODES, hint="tint: coloured. isolate: alone. hide: all but it.")
        for group in (self.walk, self.turn):
            group.value = ""  # viser tells a button of a group only where it is another than the last one, at first the first one
            group.on_click(acting(self._pressed))
        self.mode.on_update(acting(lambda event: session.set_mode(event.target.value)))
        self._carded: tuple[Loaded | None, tuple[int, ...]] | None = None
        self.paint(session.shown)

    def paint(self, shown: Shown) -> None:
        """Bring the widgets up to date; only what has changed is sent."""
        for tab in (self.search, self.tree, self.ask, self.export):
            tab.paint(shown)
        self.status.show(sentence(told(shown)))
        if self._carded is None or not same(self._carded, (shown.loaded, shown.lit)):
            self._carded = (shown.loaded, shown.lit)
            self.card.show(card(shown.loaded, shown.lit) if shown.loaded else sentence("There is no part tree yet."))
        self.walk.visible = self.turn.visible = bool(shown.lit)
        assign(self.mode, shown.mode)

    def stop(self) -> None:
        """Nothing that was typed before is searched for after this."""
        self.search.stop()

    def _pressed(self, event: Any) -> None:
        where = event.target.value
        event.target.value = ""
        lit = self.session.shown.lit
        if where == "Parent":
            self.session.up()
        elif where == "Child":
            self.session.down()
        elif where == "Clear":
            self.session.clear()
        elif where == "Look at" and lit:
            self.host.jump(event.client, lit)


def told(shown: Shown) -> str:
    """What is worked out, or what came of the last action; what the answer to a question says is not said twice."""
    if shown.busy:
        return f"{shown.busy[:1].upper()}{shown.busy[1:]} …"
    explained = shown.answered is not None and shown.message == shown.answered.explain()
    return "" if explained else shown.message
