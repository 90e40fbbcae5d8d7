"""A run as a viewer reads it: what is there, what is not there yet, what cannot be read, and what changes while one looks."""

import os
import threading

import numpy as np
import pytest
from helpers import NAMES, named_run, part_tree, small_labels, small_parts, small_run, small_surface
from session_helpers import PATIENCE, ended

from semquery import stages
from semquery.manifest import append_line
from semquery.store import Run, RunError
from semquery.text import Lexical
from semquery.types import MergeTree, NodeLabel
from semquery.viewer import Watch, load
from semquery.viewer.loaded import stamp_of, told
from semquery.vlm import VlmError

MERGE = MergeTree(np.array([2, 2, 2], np.int32), np.array([0, 0, 1], np.float32))


@pytest.fixture
def run(tmp_path) -> Run:
    return named_run(tmp_path / "run")


def make_tree(run: Run, tree) -> None:
    run.write_tree(MERGE, np.array([[0, 1]]), np.array([0.5]), tree)


def age(run: Run, name: str) -> None:
    """As if a file had been written at another time: what is written twice within a tick of the clock has one time."""
    state = (run / name).stat()
    os.utime(run / name, ns=(state.st_atime_ns, state.st_mtime_ns - 10**9))


# ------------------------------------------------------------------ what is there


def test_a_named_run_is_all_there(run):
    loaded = load(run)
    assert loaded.notice == "" and loaded.stamp == stamp_of(run)
    assert {part: label.name for part, label in loaded.labels.items()} == NAMES
    assert loaded.max_level == 2 and loaded.name(0) == "left knob" and loaded.path(0) == ("panel", "left knob")
    assert loaded.scene.query("plate")[0].members == (2,)
    assert loaded.shapes.part(3).path == ("panel",)


def test_without_a_tree_the_error_says_what_to_run(tmp_path, run):
    (run / "parts.npz").unlink()
    with pytest.raises(RunError, match="no parts.npz yet. Make it with: semquery tree"):
        load(run)
    with pytest.raises(RunError, match="no surface.npz yet. Make it with: semquery fit"):
        load(Run(tmp_path / "empty", create=True))


def test_without_names_there_is_a_tree_and_nothing_to_ask(tmp_path):
    loaded = load(small_run(tmp_path / "run"))
    assert loaded.scene is None and "semquery label" in loaded.notice
    assert loaded.name(2) == "part 2" and loaded.path(0) == ("part 3", "part 0")


def test_names_that_are_not_encoded_are_asked_by_their_spelling(tmp_path):
    run = small_run(tmp_path / "run")
    run.append_label(NodeLabel(2, "plate"), "")
    loaded = load(run)
    assert loaded.scene.query("plate")[0].part == 2 and loaded.scene.query("knob") == []
    assert "by spelling for now" in loaded.notice and "semquery encode" in loaded.notice


def test_an_outdated_codebook_is_not_asked(run):
    run.append_label(NodeLabel(2, "mirror"), "")
    loaded = load(run)
    assert loaded.scene.query("mirror")[0].part == 2 and "labels.jsonl changed since `semquery encode`" in loaded.notice
    stages.encode(run, overwrite=True)
    assert load(run, loaded).notice == ""


@pytest.mark.parametrize("error", [ValueError("no such weights"), OSError("disk gone"), RuntimeError("CUDA error"), ImportError("no module x")])
def test_an_encoder_that_cannot_be_opened_leaves_the_names_by_their_spelling(run, monkeypatch, error):
    def fails(self):
        raise error

    monkeypatch.setattr("semquery.viewer.loaded.encoder_from", lambda record: type("Broken", (Lexical,), {"identity": property(fails)})())
    loaded = load(run)
    assert str(error) in loaded.notice and loaded.scene.query("plate")[0].part == 2


# ------------------------------------------------------------------ what cannot be read


def test_a_broken_line_of_names_is_told_and_the_tree_is_there(run):
    append_line(run / "labels.jsonl", {"part": "two", "name": 3})
    loaded = load(run)
    assert loaded.tree.num_parts == 5 and loaded.scene is None and loaded.labels == {}
    assert loaded.notice.startswith("Line 6 of ") and "is no label" in loaded.notice


def test_a_broken_line_of_names_leaves_the_names_there_were(run):
    before = load(run)
    append_line(run / "labels.jsonl", {"part": 1})
    after = load(run, before)
    assert after.labels is before.labels and after.scene is before.scene and "is no label" in after.notice


def test_labels_of_parts_that_are_not_there_are_left_out(run):
    for part in (-1, 5, 99):
        run.append_label(NodeLabel(part, "ghost"), "")
    assert set(load(run).labels) == set(NAMES)


def test_a_broken_record_of_questions_does_not_matter(run):
    append_line(run / "asks.jsonl", {"key": 1, "answer": 3})
    assert load(run).scene is not None and load(run).notice == ""


def test_a_tree_or_pixels_of_another_surface_are_not_shown(run):
    make_tree(run, part_tree([1, 1], [0] * 9))
    with pytest.raises(RunError, match="is of 9 points and its surface has 12: one of them is being made anew"):
        load(run)
    make_tree(run, small_parts())
    run._save("pixels/close.npz", point=np.full((6, 6), 12, np.int32))
    with pytest.raises(RunError, match="show points that its surface does not have"):
        load(run)


def test_errors_are_told_in_a_sentence_each():
    assert told(ValueError("Give a name.")) == "Give a name." and told(VlmError("It is away.")) == "It is away."
    assert told(KeyError("x")) == "It failed with KeyError: 'x'." and told(MemoryError()) == "It failed with MemoryError."
    assert told(ValueError()) == "It failed with ValueError."


# ------------------------------------------------------------------ what is read again


def test_only_what_has_changed_is_read_again(run):
    first = load(run)
    run.append_label(NodeLabel(2, "mirror"), "")
    named = load(run, first)
    assert all(getattr(named, name) is getattr(first, name) for name in ("surface", "tree", "cameras", "spans"))
    run.write_cameras(run.cameras())
    age(run, "cameras.json")
    posed = load(run, named)
    assert posed.cameras is not named.cameras and posed.tree is named.tree and posed.surface is named.surface
    make_tree(run, small_parts())
    age(run, "parts.npz")
    anew = load(run, posed)
    assert anew.tree is not posed.tree and anew.spans is not posed.spans and anew.surface is posed.surface


def test_where_the_parts_are_is_not_worked_out_again_for_other_names(run):
    first = load(run)
    where = first.scene.places()
    run.append_label(NodeLabel(2, "mirror"), "")
    after = load(run, first)
    assert after.scene.places() is where
    assert first.scene.part(2).name == "plate" and after.scene.part(2).name == "mirror" and after.scene.parts["mirror"] == (2,)


def test_an_encoder_stays_open_when_names_change(run, monkeypatch):
    monkeypatch.setattr("semquery.viewer.loaded.encoder_from", lambda record: Lexical(dim=4096))
    first = load(run)
    stages.encode(run, overwrite=True)
    age(run, "codebook.npz")
    after = load(run, first)
    assert after.scene.searcher.matcher.encoder is first.scene.searcher.matcher.encoder


# ------------------------------------------------------------------ the watch


def test_a_watch_tells_each_change_once(run):
    heard = []
    watch = Watch(run, load(run), heard.append)
    assert not watch.look()
    run.append_label(NodeLabel(2, "mirror"), "")
    assert watch.look() and heard[-1].name(2) == "mirror"
    assert not watch.look() and len(heard) == 1


def test_names_arrive_one_by_one_while_the_parts_are_being_named(tmp_path):
    run = small_run(tmp_path / "run")
    heard = []
    watch = Watch(run, load(run), heard.append)
    for part in (4, 3, 0, 1, 2):
        run.append_label(small_labels()[part], "")
        assert watch.look()
        assert heard[-1].scene.query(NAMES[part])[0].part == part
    assert [len(loaded.labels) for loaded in heard] == [1, 2, 3, 4, 5]
    assert len({id(loaded.tree) for loaded in heard}) == 1


def test_half_a_line_is_not_read_and_does_not_end_anything(run):
    heard, troubles = [], []
    watch = Watch(run, load(run), heard.append, trouble=troubles.append)
    with (run / "labels.jsonl").open("ab") as file:
        file.write(b'{"part": 2, "na')
    assert watch.look() and heard[-1].name(2) == "plate" and not troubles
    with (run / "labels.jsonl").open("ab") as file:
        file.write(b'me": "mirror", "key": ""}\n')
    assert watch.look() and heard[-1].name(2) == "mirror"


def test_a_run_without_a_tree_is_picked_up_when_the_tree_comes(tmp_path):
    run, heard, troubles = Run(tmp_path / "run", create=True), [], []
    watch = Watch(run, None, heard.append, trouble=troubles.append)
    assert not watch.look() and "semquery fit" in troubles[-1]
    assert not watch.look() and len(troubles) == 1
    run.write_surface(small_surface())
    assert not watch.look() and "semquery tree" in troubles[-1] and not heard
    small_run(tmp_path / "run")
    assert watch.look() and heard[-1].tree.num_parts == 5


def test_what_is_there_stays_while_surface_and_tree_are_made_anew(run):
    first, heard, troubles = load(run), [], []
    watch = Watch(run, first, heard.append, trouble=troubles.append)
    make_tree(run, part_tree([1, 1], [0] * 9))
    assert not watch.look() and "being made anew" in troubles[-1]
    assert watch.loaded is first and not heard
    (run / "parts.npz").unlink()
    assert not watch.look() and "no parts.npz yet" in troubles[-1]
    make_tree(run, part_tree([1, 1], [0] * 12))
    assert watch.look() and heard[-1].tree.num_parts == 2 and not {*heard[-1].labels} - {0, 1}


def test_a_file_that_is_torn_is_told_and_read_when_it_is_whole(run):
    heard, troubles = [], []
    watch = Watch(run, load(run), heard.append, trouble=troubles.append)
    whole = (run / "parts.npz").read_bytes()
    (run / "parts.npz").write_bytes(whole[:100])
    assert not watch.look() and "cannot be read" in troubles[-1]
    (run / "parts.npz").write_bytes(whole)
    assert watch.look() and heard[-1].tree.num_parts == 5


def test_the_thread_goes_on_after_what_it_could_not_read_and_ends_when_it_is_told_to(run):
    news, wrong, told_of = threading.Event(), threading.Event(), []
    watch = Watch(run, load(run), lambda loaded: (told_of.append(loaded), news.set()), every=0.005, trouble=lambda why: wrong.set()).start()
    (run / "parts.npz").unlink()
    assert wrong.wait(PATIENCE)
    make_tree(run, small_parts())
    assert news.wait(PATIENCE) and told_of[-1].tree.num_parts == 5
    watch.stop()
    ended(watch._thread)


def test_a_watch_that_was_never_started_can_be_stopped(run):
    Watch(run, None, lambda loaded: None).stop()
