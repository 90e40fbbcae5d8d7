"""The tabs of the panel: search, the part tree, questions, exports.

Each makes its widgets in the viser container that is current, calls the session when a person does something, and is
brought up to date by `paint`. Only `ExportTab` shows something that is no state of the session: what came of its export.
"""

import io
import threading
import zipfile
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from semquery import stages
from semquery.viewer.loaded import Loaded
from semquery.viewer.session import Session, Shown
from semquery.viewer.widgets import Card, Debounce, Menu, acting, assign, one_at_a_time, same
from semquery.viewer.words import (
    answer_card,
    exported_whom,
    hit_line,
    number,
    part_lines,
    plain,
    sentence,
    small,
    typed_out,
    unique,
    who_answers,
)

MOST_DOWNLOADED = 50_000_000  # bytes; more is left in its folder
FORMATS = {
    "ply": "Points (PLY)", "json": "Part tree (JSON)", "boxes": "Boxes (JSON)", "picture": "Picture (PNG)", "glb": "Objects (GLB)",
    "masks": "Masks (PNG)", "coco": "Masks (COCO)", "parts": "Each part (PLY)",
}


class SearchTab:
    """Find parts by what they are called, and how well everything fits."""

    def __init__(self, server: Any, session: Session, timer: Callable[..., Any] = threading.Timer) -> None:
        gui = server.gui
        self.session = session
        self.typed = Debounce(self._search_new, timer=timer)
        self._sent: deque[str] = deque(maxlen=50)  # queries that were searched from the field, newest last
        self._settled = ""  # what stands in the field, unless somebody is typing
        self._seen = ""  # the query that was painted last
        self.compared = Debounce(self._compare, timer=timer)
        self.find = gui.add_text("Find", "", hint="A name, a description, or a place: “handle of the left drawer”. Searches as you type.")
        self.find.on_update(acting(lambda event: self.typed.put(event.target.value)))
        self.button = gui.add_button("Search", hint="Search now")
        self.button.on_click(acting(lambda event: self._search(self.find.value)))
        self.hits: Menu[int] = Menu(server, "Hits", "nothing searched yet", self._choose, "What answers, best first. Choosing selects.")
        self.history: Menu[str] = Menu(server, "Earlier", "earlier searches", self._again, "Search again")
        self._offered = False  # whether the codebook's negatives stand in their field, to be changed
        with gui.add_folder("Relevancy", expand_by_default=False):
            self.threshold = gui.add_slider("Threshold", 0.0, 1.0, 0.01, 0.5, hint="Less relevancy is not coloured. Hits stay as they are.")
            self.normalise = gui.add_checkbox("Normalise", False, hint="Stretch the colours to the scene's least and most. Hits stay.")
            self.negatives = gui.add_text("Negatives", "", hint="What a hit has to beat, with ; between. Empty: the usual ones. Searches "
                                          "again. They count only where a CLIP model has encoded the names.")
        self.threshold.on_update(acting(lambda event: session.set_heat(threshold=float(event.target.value))))
        self.normalise.on_update(acting(lambda event: session.set_heat(normalise=bool(event.target.value))))
        self.negatives.on_update(acting(lambda event: self.compared.put(event.target.value)))

    def paint(self, shown: Shown) -> None:
        """Bring the widgets up to date."""
        self._fill(shown.query)
        self.hits.show(_hits_told(shown), [(hit_line(found, rank), rank) for rank, found in enumerate(shown.found)], shown.rank)
        self.history.show("earlier searches", unique(typed_out(shown.history)), None)
        assign(self.threshold, float(shown.threshold))
        assign(self.normalise, shown.normalise)
        scene = shown.loaded.scene if shown.loaded else None
        if scene is not None and not self._offered:
            self._offered = True
            self.negatives.value = "; ".join(plain(text) for text in shown.negatives or scene.searcher.book.negative_texts)

    def stop(self) -> None:
        """Forget what waits for the end of typing."""
        self.typed.drop()
        self.compared.drop()

    def _fill(self, query: str) -> None:
        """Show a query that came from elsewhere in the field, unless somebody is typing into it."""
        is_new, self._seen = query != self._seen, query
        if is_new and query not in self._sent and self.find.value == self._settled:
            self._settled = query.encode("utf-8", "replace").decode()
            assign(self.find, self._settled)

    def _search(self, text: str) -> None:
        self.typed.drop()
        self._settled = text
        self._sent.append(text.strip())
        self.session.search(text.strip())

    def _search_new(self, text: str) -> None:
        """What was typed, unless it is what is shown already."""
        if text.strip() != self.session.shown.query:
            self._search(text)

    def _again(self, text: str | None) -> None:
        if text is not None:
            assign(self.find, text)
            self.history.point_at(None)
            self._search(text)

    def _choose(self, rank: int | None) -> None:
        if rank is None:
            self.session.clear()
        else:
            self.session.choose(rank)

    def _compare(self, text: str) -> None:
        """Beat these; the codebook's own are not said again, so that they follow it."""
        texts = tuple(each.strip() for each in text.split(";") if each.strip())
        loaded = self.session.shown.loaded
        own = loaded.scene.searcher.book.negative_texts if loaded and loaded.scene else ()
        texts = () if texts == tuple(own) else texts
        if texts != self.session.shown.negatives:
            self.session.set_negatives(texts)


def _hits_told(shown: Shown) -> str:
    """What the menu of hits says while none is chosen."""
    if not shown.query:
        return "nothing searched yet"
    count = len(shown.found)
    return f"{count or 'no'} {'hit' if count == 1 else 'hits'} for “{plain(shown.query, 30)}”"


class TreeTab:
    """Walk through the part tree, level by level."""

    def __init__(self, server: Any, session: Session, container: Any) -> None:
        """`container`: the viser container that is current, for what is made anew later."""
        self.server, self.session, self.container = server, session, container
        self._listed: tuple[Loaded | None, int] = (None, -1)  # what the menu is of
        self._add_slider(1, 0)
        self.told = Card(server)
        self.parts: Menu[int] = Menu(server, "Part", "no part tree yet", self._choose, "Parts down to this level; type to find one.")

    def paint(self, shown: Shown) -> None:
        """Bring the widgets up to date; the lines of the menu are made anew for another level or other names only."""
        if shown.loaded is None:
            return
        if shown.loaded.max_level != self.deepest:
            self.level.remove()
            with self.container:
                self._add_slider(shown.loaded.max_level, shown.level)
        assign(self.level, shown.level)
        chosen = shown.part if len(shown.lit) == 1 else None
        if not same(self._listed, (shown.loaded, shown.level)):
            lines, there = part_lines(shown.loaded, shown.level)
            self.told.show(small(*_told_of_level(shown, len(lines), there)))
            self.parts.show(f"{number(there)} {'part' if there == 1 else 'parts'}", lines, chosen)
            self._listed = (shown.loaded, shown.level)
        self.parts.point_at(chosen)

    def _add_slider(self, deepest: int, level: int) -> None:
        """viser's sliders keep the most they were made with, so that a deeper tree takes another."""
        self.deepest = deepest
        hint = "0 is the whole scene. A click selects the part at this level."
        self.level = self.server.gui.add_slider("Level", 0, max(1, deepest), 1, level, order=0.0, hint=hint)
        self.level.on_update(acting(lambda event: self.session.set_level(int(event.target.value))))

    def _choose(self, part: int | None) -> None:
        if part is None:
            self.session.clear()
        else:
            self.session.select(part)


def _told_of_level(shown: Shown, listed: int, there: int) -> tuple[str, ...]:
    """How many parts there are, and which of them are listed."""
    assert shown.loaded is not None
    total = f"{number(shown.loaded.tree.num_parts)} parts, levels 0 to {shown.loaded.max_level}"
    most = (f"the {number(listed)} with the most points are listed",) if listed < there else ()
    return total, f"{number(there)} {'part' if there == 1 else 'parts'} down to level {shown.level}", *most


class AskTab:
    """Questions by purpose."""

    def __init__(self, server: Any, session: Session) -> None:
        gui = server.gui
        self.session = session
        self.question = gui.add_text("Question", "", hint="What would I press to start it?")
        self.button = gui.add_button("Ask")
        self.button.on_click(one_at_a_time(self.button, lambda event: self._ask(self.question.value)))
        self.who = Card(server, sentence(who_answers(session.vlm)))
        self.answer = Card(server)
        self._answered: Any = None

    def paint(self, shown: Shown) -> None:
        """Bring the answer up to date, and who is asked: the model may be known only once the run is read."""
        self.who.show(sentence(who_answers(self.session.vlm)))
        if shown.answered is not self._answered:
            self._answered = shown.answered
            self.answer.show("" if shown.answered is None else answer_card(shown.answered))

    def _ask(self, question: str) -> None:
        self.session.ask(question.strip())


class ExportTab:
    """Write the selection, or everything, and hand it to the page."""

    def __init__(self, server: Any, session: Session) -> None:
        gui = server.gui
        self.session = session
        self.what = Card(server)
        self.formats = {name: gui.add_checkbox(label, name in stages.CHEAP) for name, label in FORMATS.items()}
        self.button = gui.add_button("Export")
        self.button.on_click(one_at_a_time(self.button, lambda event: self._export(event.client)))
        self.outcome = Card(server)
        self._whom: tuple[Loaded | None, Any] = (None, None)

    def paint(self, shown: Shown) -> None:
        """Say what would be exported."""
        if not same(self._whom, (shown.loaded, shown.lit)):
            self._whom = (shown.loaded, shown.lit)
            self.what.show(sentence(exported_whom(shown.loaded, shown.lit)))

    def _export(self, client: Any) -> None:
        chosen = [name for name, box in self.formats.items() if box.value]
        self.outcome.show("" if chosen else sentence("Tick at least one format."))
        if not chosen:
            return
        try:
            files = self.session.export(chosen)
        except ValueError:  # the session tells why
            return
        try:
            self.outcome.show(_written(files, self._download(client, files)))
        except OSError as error:
            self.outcome.show(sentence(f"The files are written, but cannot be downloaded: {error}"))

    def _download(self, client: Any, files: Sequence[Path]) -> str:
        """Send the files to the page as one archive; why not, where they are too large."""
        size = sum(file.stat().st_size for file in files)
        if size > MOST_DOWNLOADED:
            return f"{size / 1e6:.0f} MB, too much to download from here: take them from the folder."
        client.send_file_download(f"{files[-1].parent.name}.zip", zipped(files))
        return f"{size / 1e6:.1f} MB, downloaded as an archive too."


def zipped(files: Sequence[Path]) -> bytes:
    """An archive of the files as they lie below the folder of the last one."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as into:
        for file in files:
            into.write(file, file.relative_to(files[-1].parent).as_posix())
    return archive.getvalue()


def _written(files: Sequence[Path], told: str) -> str:
    """Which files there are, as markup."""
    folder = files[-1].parent
    names = [file.relative_to(folder).as_posix() for file in files]
    listed = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    return "\n\n".join((sentence(listed), sentence(told)))
