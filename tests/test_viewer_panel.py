"""The panel over a real viser server, without a page: as the callbacks of its widgets see it."""

import io
import zipfile
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from helpers import named_run, random_parts, small_run
from viewing import Clock, Place, open_server, touch

from semquery.spans import Spans
from semquery.stages.export import Format
from semquery.types import NodeLabel
from semquery.viewer import Session, load
from semquery.viewer.panel import Panel, told
from semquery.viewer.tabs import FORMATS, zipped
from semquery.viewer.words import escaped
from semquery.vlm import Scripted


@pytest.fixture
def server():
    with open_server() as opened:
        yield opened


class Bench:
    """A panel over a session, painted when the test says so, and all that is sent to pages."""

    def __init__(self, server, session):
        self.session, self.place, self.server = session, Place(), server
        Clock.made = []
        self.panel = Panel(server, session, self.place, Clock)
        self.messages = []
        queue = server.gui._websock_interface.queue_message
        server.gui._websock_interface.queue_message = lambda message: (self.messages.append(message), queue(message))

    def paint(self):
        """Bring the panel up to date; what was sent for it: the new properties of widgets."""
        self.messages.clear()
        self.panel.paint(self.session.shown)
        return [message.updates for message in self.messages if hasattr(message, "updates")]

    @property
    def shown(self):
        return self.session.shown


@pytest.fixture
def bench(server, tmp_path):
    run = named_run(tmp_path / "run")
    made = Bench(server, Session(run, load(run)))
    yield made
    made.panel.stop()


# -------------------------------------------------------------------- search


def test_typing_searches_when_it_ends_and_selects_the_best_hit(bench):
    search = bench.panel.search
    touch(search.find, "left")
    touch(search.find, "left knob ")
    assert bench.shown.query == ""
    Clock.go_off()
    bench.paint()
    assert (bench.shown.query, bench.shown.lit) == ("left knob", (0,))
    assert search.hits.handle.value.endswith(" left knob · in panel") and search.hits.handle.options[0].endswith(" for “left knob”")
    assert escaped("left knob") in bench.panel.card.handle.content
    version = bench.shown.version
    touch(search.find, "left knob")  # the same again
    Clock.go_off()
    assert bench.shown.version == version
    touch(search.find, "   ")
    Clock.go_off()
    bench.paint()
    assert bench.shown.query == "" and bench.shown.lit == () and search.hits.handle.options == ("nothing searched yet",)


def test_the_button_searches_at_once_and_not_a_second_time_when_typing_ends(bench):
    touch(bench.panel.search.find, "plate")
    touch(bench.panel.search.button)
    assert bench.shown.lit == (2,)
    bench.session.clear()
    Clock.go_off()
    assert bench.shown.lit == ()
    touch(bench.panel.search.button)
    assert bench.shown.lit == (2,)  # the same again, because it was pressed


def test_another_hit_is_chosen_from_the_menu_and_the_placeholder_selects_nothing(bench):
    bench.session.search("knob")
    bench.paint()
    hits = bench.panel.search.hits.handle
    assert len(bench.shown.found) == 2 and hits.options[0] == "2 hits for “knob”"
    touch(hits, hits.options[2])
    assert bench.shown.lit == tuple(bench.shown.found[1].members)
    touch(hits, hits.options[0])
    bench.paint()
    assert bench.shown.lit == () and hits.value == hits.options[0] and len(hits.options) == 3


def test_earlier_searches_are_searched_again_and_stand_in_the_field(bench):
    for query in ("plate", "left knob"):
        bench.session.search(query)
    bench.paint()
    history = bench.panel.search.history.handle
    assert history.options == ("earlier searches", "left knob", "plate")
    touch(history, "plate")
    bench.paint()
    assert bench.shown.lit == (2,) and bench.panel.search.find.value == "plate"
    assert history.value == "earlier searches" and history.options == ("earlier searches", "plate", "left knob")


def test_a_query_from_elsewhere_stands_in_the_field_unless_somebody_is_typing(bench):
    find = bench.panel.search.find
    bench.session.search("plate")
    bench.paint()
    assert find.value == "plate"
    touch(find, "left kn")  # typing, and not yet searched
    bench.session.search("panel")
    bench.paint()
    assert find.value == "left kn"
    touch(find, "left knob  ")
    Clock.go_off()
    bench.paint()
    assert bench.shown.query == "left knob" and find.value == "left knob  "
    bench.session.search("right knob")
    bench.paint()
    assert find.value == "right knob"


def test_what_is_not_found_and_what_cannot_be_read_is_told_in_a_sentence(bench):
    bench.session.search("elephant trunk")
    bench.paint()
    status = bench.panel.status.handle
    assert bench.shown.message and status.visible and escaped(bench.shown.message.split(";")[0])[2:30] in status.content
    assert bench.panel.search.hits.handle.options == ("no hits for “elephant trunk”",)
    bench.session.search("plate")
    bench.paint()
    assert not status.visible


def test_relevancy_has_its_threshold_scale_and_negatives(bench):
    search = bench.panel.search
    assert search.negatives.value == "; ".join(bench.shown.loaded.scene.searcher.book.negative_texts) != ""
    touch(search.threshold, 0.25)
    touch(search.normalise, True)
    touch(search.negatives, "plate; ;  knob ")
    Clock.go_off()
    assert (bench.shown.threshold, bench.shown.normalise, bench.shown.negatives) == (0.25, True, ("plate", "knob"))
    bench.session.set_heat(0.75, False)
    bench.paint()
    assert (search.threshold.value, search.normalise.value, search.negatives.value) == (0.75, False, "plate; ;  knob ")
    touch(search.negatives, "; ".join(bench.shown.loaded.scene.searcher.book.negative_texts))  # those of the codebook, which it may change
    Clock.go_off()
    assert bench.shown.negatives == ()


# -------------------------------------------------------------------- tree and selection


def test_the_tree_lists_parts_down_to_its_level_and_selects_the_chosen_one(bench):
    tree = bench.panel.tree
    bench.session.set_level(1)
    bench.paint()
    assert tree.parts.handle.options == ("2 parts", "plate", "panel") and tree.level.value == 1
    touch(tree.level, 2)
    bench.paint()
    assert bench.shown.level == 2 and tree.parts.handle.options[1:] == ("plate", "panel", "panel / left knob", "panel / right knob")
    touch(tree.parts.handle, "panel / right knob")
    bench.paint()
    assert bench.shown.lit == (1,) and escaped("right knob") in bench.panel.card.handle.content
    touch(tree.parts.handle, "4 parts")
    assert bench.shown.lit == ()


def test_at_level_0_the_whole_scene_is_listed(bench):
    touch(bench.panel.tree.level, 0)
    bench.paint()
    assert bench.panel.tree.parts.handle.options == ("1 part", "scene")
    assert "1 part down to level 0" in bench.panel.tree.told.handle.content
    touch(bench.panel.tree.parts.handle, "scene")
    assert bench.shown.lit == (4,)


def test_the_selection_is_walked_looked_at_and_cleared(bench):
    walk, turn = bench.panel.walk, bench.panel.turn
    assert not walk.visible and not turn.visible
    bench.session.select(1)
    bench.paint()
    assert walk.visible and turn.visible
    touch(walk, "Parent")
    touch(walk, "Parent")  # the same button twice
    assert bench.shown.lit == (4,)
    touch(walk, "Child")
    touch(walk, "Child")
    assert bench.shown.lit == (1,)
    touch(turn, "Look at", client="me")
    assert bench.place.jumps == [("me", (1,))]
    touch(turn, "Clear")
    touch(turn, "Look at", client="me")
    assert bench.shown.lit == () and len(bench.place.jumps) == 1


def test_how_the_selection_stands_out_is_chosen(bench):
    touch(bench.panel.mode, "isolate")
    assert bench.shown.mode == "isolate"
    bench.session.set_mode("hide")
    bench.paint()
    assert bench.panel.mode.value == "hide"


def test_a_deeper_tree_takes_a_longer_slider(bench):
    assert bench.panel.tree.deepest == bench.shown.loaded.max_level == 2
    old, tree = bench.panel.tree.level, random_parts(np.random.default_rng(0), 40, 12)
    bench.session.refresh(replace(bench.shown.loaded, tree=tree, labels={}, spans=Spans(tree), scene=None))
    bench.paint()
    level = bench.panel.tree.level
    assert level is not old and bench.panel.tree.deepest == int(tree.depth.max()) > 2
    touch(level, bench.panel.tree.deepest)
    assert bench.shown.level == bench.panel.tree.deepest


def test_only_what_has_changed_is_sent(bench):
    bench.paint()
    assert bench.paint() == []
    bench.session.select(0)
    sent = bench.paint()
    assert sent and not [updates for updates in sent if "options" in updates]
    assert bench.paint() == []


def test_of_a_large_tree_a_change_of_selection_sends_little(bench):
    tree = random_parts(np.random.default_rng(0), 5000, 20_000)
    labels = {part: NodeLabel(part, f"thing {part % 70}") for part in range(5000)}
    bench.session.refresh(replace(bench.shown.loaded, tree=tree, labels=labels, spans=Spans(tree), scene=None))
    bench.session.set_level(99)
    bench.paint()
    menu = bench.panel.tree.parts.handle
    assert menu.options[0] == "4 999 parts".replace(" ", "\u202f", 1) and len(menu.options) == 401
    assert "the 400 with the most points are listed" in bench.panel.tree.told.handle.content
    bench.session.select(int(tree.parents[0]))
    assert sum(len(str(updates)) for updates in bench.paint()) < 5000


def test_nothing_is_there_before_there_is_a_part_tree(server, tmp_path):
    made = Bench(server, Session(small_run(tmp_path / "run")))
    assert "There is no part tree yet" in made.panel.card.handle.content
    for handle in (made.panel.search.button, made.panel.ask.button):
        touch(made.panel.search.find, "plate")
        touch(made.panel.ask.question, "what is it?")
        touch(handle)
    made.paint()
    assert made.panel.status.handle.visible and made.shown.lit == ()
    made.session.refresh(load(made.session.run))
    made.paint()
    assert made.panel.tree.parts.handle.options[0] == "4 parts" and made.panel.search.negatives.value == ""


# -------------------------------------------------------------------- questions and exports


def test_a_question_is_answered_with_its_reasons_and_they_are_told_once(bench):
    assert "No model is configured" in bench.panel.ask.who.handle.content.replace('{"', "").replace("\\u003a", ":")
    touch(bench.panel.ask.question, "where is the plate?")
    touch(bench.panel.ask.button)
    bench.paint()
    answer = bench.panel.ask.answer.handle
    assert bench.shown.lit == (2,) and answer.visible and escaped("plate") in answer.content
    assert bench.shown.message and told(bench.shown) == "" and not bench.panel.status.handle.visible
    touch(bench.panel.ask.question, "")
    touch(bench.panel.ask.button)
    bench.paint()
    assert bench.shown.question == "" and not answer.visible


def test_it_is_told_which_model_is_asked(server, tmp_path):
    run = named_run(tmp_path / "run")
    panel = Panel(server, Session(run, load(run), Scripted(lambda request: "", "Owl <7>")), Place())
    assert escaped("Questions are put to Owl <7>.") in panel.ask.who.handle.content


def test_a_model_that_is_known_only_once_the_run_is_read_is_told_then(bench):
    bench.session.vlm = Scripted(lambda request: "", "Owl")
    bench.paint()
    assert escaped("Questions are put to Owl.") in bench.panel.ask.who.handle.content


def test_an_export_writes_the_selection_and_hands_it_over_as_an_archive(bench):
    bench.session.select(3)
    bench.paint()
    export = bench.panel.export
    assert escaped("Exports panel, with 2 parts inside.") in export.what.handle.content
    for name, box in export.formats.items():
        touch(box, name in ("ply", "json"))
    touch(export.button, client=bench.place)
    ((name, content),) = bench.place.sent
    files = zipfile.ZipFile(io.BytesIO(content))
    assert sorted(files.namelist()) == ["export.json", "parts.ply", "tree.json"] and name.endswith(".zip")
    for file in files.namelist():
        (path,) = bench.session.run.path.rglob(f"export/**/{file}")
        assert files.read(file) == path.read_bytes()
    bench.paint()
    assert escaped("parts.ply, tree.json, export.json") in export.outcome.handle.content and not export.button.disabled
    assert escaped(str(path.parent))[2:-2] in bench.panel.status.handle.content


def test_an_export_that_cannot_be_made_says_why(bench):
    for box in bench.panel.export.formats.values():
        touch(box, False)
    touch(bench.panel.export.button, client=bench.place)
    bench.paint()
    outcome = bench.panel.export.outcome.handle
    assert bench.place.sent == [] and outcome.visible and not bench.panel.export.button.disabled
    assert escaped("Tick at least one format.") in outcome.content
    touch(bench.panel.export.formats["ply"], True)
    bench.session.run.path.rename(bench.session.run.path.with_name("elsewhere"))
    touch(bench.panel.export.button, client=bench.place)
    bench.paint()
    assert bench.place.sent == [] and not outcome.visible
    assert escaped("The run folder is gone")[2:-2] in bench.panel.status.handle.content


def test_every_format_that_needs_nothing_else_is_offered():
    assert set(FORMATS) == set(get_args(Format)) - {"splats"}


def test_what_is_written_but_cannot_be_downloaded_is_told(bench):
    class Gone(Place):
        def send_file_download(self, filename, content):
            raise OSError("the page is closed")

    touch(bench.panel.export.button, client=Gone())
    assert escaped("the page is closed")[2:-2] in bench.panel.export.outcome.handle.content


def test_what_is_too_large_to_download_stays_in_its_folder(bench, monkeypatch):
    from semquery.viewer import tabs

    monkeypatch.setattr(tabs, "MOST_DOWNLOADED", 10)
    touch(bench.panel.export.button, client=bench.place)
    assert bench.place.sent == [] and "too much to download" in bench.panel.export.outcome.handle.content


def test_an_archive_keeps_the_folders_of_its_files(tmp_path):
    (tmp_path / "ids").mkdir()
    for name in ("ids/a.png", "export.json"):
        (tmp_path / name).write_text(name)
    files = zipfile.ZipFile(io.BytesIO(zipped([tmp_path / "ids/a.png", tmp_path / "export.json"])))
    assert {name: files.read(name).decode() for name in files.namelist()} == {"ids/a.png": "ids/a.png", "export.json": "export.json"}
