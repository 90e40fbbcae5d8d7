"""The session: selecting, walking, asking, what comes late, what goes wrong, and what becomes of all that when the run changes."""

import json
import threading
from dataclasses import replace

import numpy as np
import pytest
from helpers import NAMES, named_run, part_tree, small_parts, small_run
from hypothesis import given
from hypothesis import strategies as st
from session_helpers import PATIENCE, Gate, any_tree, ended, in_thread, steered, unnamed, until

from semquery import stages
from semquery.labelling import OutOfCalls
from semquery.opened import Scene
from semquery.spans import best_above
from semquery.store import Run, RunError
from semquery.types import MergeTree, NodeLabel
from semquery.viewer import Heat, Loaded, Session, Shown, load
from semquery.viewer.steps import selected, walked_down, walked_up
from semquery.vlm import Scripted, VlmError

AHEAD = np.array([0.0, 1.0, 0.0])
FAULTS = [ValueError("no."), VlmError("no."), OSError("no."), RuntimeError("no."), MemoryError("no."), KeyError("no."), OutOfCalls("no."), ConnectionError("no.")]
SEEDS = st.integers(0, 10**6)


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> tuple[Run, Loaded]:
    """Nobody writes into it."""
    run = named_run(tmp_path_factory.mktemp("shared") / "run")
    return run, load(run)


@pytest.fixture
def session(shared) -> Session:
    return Session(*shared)


@pytest.fixture
def own(tmp_path) -> Session:
    """Over a run of its own."""
    run = named_run(tmp_path / "run")
    return Session(run, load(run))


def parts_of(session: Session) -> list[tuple[int, ...]]:
    return [found.members for found in session.shown.found]


# ------------------------------------------------------------------ selecting


@given(SEEDS, st.lists(st.integers(-2, 14), max_size=6))
def test_what_is_lit_is_what_lies_in_no_other_of_the_parts(seed, parts):
    loaded = unnamed(any_tree(seed))
    shown = selected(Shown(loaded), parts)
    known = {part for part in parts if 0 <= part < loaded.tree.num_parts}
    assert set(shown.lit) == {part for part in known if not any(loaded.tree.holds[other, part] for other in known - {part})}
    assert len(shown.lit) == len(set(shown.lit))


@given(SEEDS, st.lists(st.integers(0, 11), min_size=1, max_size=4), st.integers(1, 5))
def test_walking_down_is_the_way_one_walked_up(seed, parts, steps):
    start = selected(Shown(unnamed(any_tree(seed))), parts)
    states = [start]
    for _ in range(steps):
        states.append(walked_up(states[-1]))
    shown = states[-1]
    for state in reversed(states[:-1]):
        if state.lit != shown.lit:
            shown = walked_down(shown)
            assert (shown.lit, shown.below) == (state.lit, state.below)


@given(SEEDS, st.lists(st.integers(0, 11), min_size=1, max_size=4))
def test_up_is_the_smallest_part_that_holds_all_that_was_lit_and_more(seed, parts):
    loaded = unnamed(any_tree(seed))
    start = selected(Shown(loaded), parts)
    shown, holds = walked_up(start), loaded.tree.holds
    if start.lit == (loaded.tree.root,) or not start.lit:
        assert shown == (replace(start, message="This is the whole scene.") if start.lit else start)
    else:
        around = [p for p in range(loaded.tree.num_parts) if holds[p, list(start.lit)].all() and (p,) != start.lit]
        assert shown.lit == (min(around, key=lambda p: holds[p].sum()),)


@given(SEEDS)
def test_down_without_a_way_goes_into_the_part_with_most_points(seed):
    loaded = unnamed(any_tree(seed))
    shown = walked_down(replace(selected(Shown(loaded), [loaded.tree.root]), trail=()))
    inner = loaded.tree.children(loaded.tree.root)
    assert shown.lit == ((max(inner, key=lambda p: loaded.tree.num_points[p]),) if inner else (loaded.tree.root,))


def test_where_there_is_no_way_up_or_down_that_is_told(session):
    session.select(0)
    session.down()
    assert session.shown.lit == (0,) and session.shown.message == "This part has no parts inside."
    session.select(4)
    assert session.shown.message == ""
    session.up()
    assert session.shown.lit == (4,) and session.shown.message == "This is the whole scene."
    session.select(0, 2)
    session.down()
    assert session.shown.lit == (2, 0) and "select one of them" in session.shown.message


def test_a_part_inside_another_that_is_selected_is_not(session):
    session.select(0, 3, 2, 77, -1)
    assert session.shown.lit == (2, 3) and session.shown.part == 2
    session.clear()
    assert session.shown.lit == () and session.shown.part is None


def test_before_there_is_a_tree_nothing_is_selected_and_it_is_told_what_to_run(tmp_path):
    session = Session(Run(tmp_path))
    for act in (session.up, session.down, session.clear, lambda: session.select(1), lambda: session.choose(0), lambda: session.click(AHEAD, AHEAD)):
        act()
    assert session.shown.lit == () and "semquery tree" in session.shown.message
    session.search("plate")
    session.ask("what is it?")
    assert "semquery tree" in session.shown.message and not session.shown.busy and session.shown.history == ()
    with pytest.raises(ValueError, match="no part tree yet"):
        session.export()


# ------------------------------------------------------------------ clicking


def at(x: float, z: float) -> tuple[np.ndarray, np.ndarray]:
    """A ray along y through a point of the hand-made scene."""
    return np.array([x, -5.0, z]), AHEAD


@pytest.mark.parametrize(("level", "lit"), [(0, 4), (1, 3), (2, 0), (9, 0)])
def test_a_click_selects_at_the_level_that_is_shown_at_0_the_whole_scene(session, level, lit):
    session.set_level(level)
    session.click(*at(0, 2))
    assert session.shown.lit == (lit,) and session.shown.trail == (3, 0)


def test_down_after_a_click_goes_to_what_was_clicked(session):
    session.set_level(1)
    session.click(*at(2, 1))  # the right knob, which has fewer points than the left one
    session.down()
    assert session.shown.lit == (1,)
    session.up()
    session.up()
    assert session.shown.lit == (4,)
    session.down()
    session.down()
    session.down()  # there is nothing inside
    assert session.shown.lit == (1,)


def test_a_click_beside_the_surface_selects_nothing(session):
    session.select(2)
    session.click(*at(50, 50))
    assert session.shown.lit == () and session.shown.trail == ()


def test_a_click_meets_only_what_the_mode_shows(session):
    behind = session.shown.loaded.surface.points.copy()
    behind[7] = (0, 3, 0)  # a point of the plate straight behind one of the left knob
    for mode, lit, met in (("tint", 0, 0), ("hide", 0, 2), ("isolate", 2, 2), ("isolate", 0, 0)):
        session.set_mode(mode)
        session.select(lit)
        session.click(*at(0, 0), points=behind)
        assert session.shown.lit == (met,), mode


def test_a_click_meets_points_where_they_are_drawn_and_among_those_that_are_given(session):
    moved = session.shown.loaded.surface.points + np.float32(100)
    session.click(np.array([100.0, 0.0, 100.0]), AHEAD, points=moved)
    assert session.shown.lit == (0,)
    session.click(np.array([100.0, 0.0, 100.0]), AHEAD, points=moved, among=np.arange(12) >= 7)
    assert session.shown.lit == ()


def test_a_click_on_what_was_drawn_before_the_surface_was_made_anew_is_passed_over(session):
    session.select(2)
    session.click(*at(0, 0), points=np.zeros((3, 3), np.float32))
    session.click(*at(0, 0), among=np.ones(3, bool))
    assert session.shown.lit == (2,)


@pytest.mark.parametrize(("mode", "lit", "seen"), [("tint", (0,), None), ("isolate", (), None), ("hide", (), None)])
def test_without_a_selection_or_when_it_is_tinted_all_points_are_seen(session, mode, lit, seen):
    session.set_mode(mode)
    session.select(*lit)
    assert session.shown.visible is seen


def test_isolated_parts_are_seen_alone_and_hidden_ones_are_not(session):
    session.select(0, 2)
    session.set_mode("isolate")
    assert np.flatnonzero(session.shown.visible).tolist() == [0, 1, 2, 3, 7, 8, 9, 10]
    session.set_mode("hide")
    assert np.flatnonzero(session.shown.visible).tolist() == [4, 5, 6, 11]


# ------------------------------------------------------------------ searching


def test_a_query_selects_its_best_answer_and_remembers_itself(session):
    session.search("plate")
    shown = session.shown
    assert (shown.query, shown.lit, shown.trail, shown.rank, shown.busy, shown.message) == ("plate", (2,), (2,), 0, "", "")
    session.search("left knob")
    session.search("plate")
    assert session.shown.history == ("plate", "left knob")


def test_down_after_up_returns_to_several_parts_that_answered_together(session):
    session.search("knobs and plate")
    lit = session.shown.lit
    assert set(lit) == {0, 1, 2} and session.shown.rank == 0
    session.up()
    assert session.shown.lit == (4,) and session.shown.rank is None
    session.down()
    assert session.shown.lit == lit and session.shown.rank == 0


def test_an_answer_is_chosen_by_its_rank_and_none_that_there_is_not(session):
    session.search("knob")
    assert len(parts_of(session)) == 2
    session.choose(1)
    assert session.shown.lit == parts_of(session)[1] and session.shown.rank == 1
    for rank in (-1, 2):
        session.choose(rank)
        assert session.shown.rank == 1


def test_nothing_found_clears_the_selection_and_says_what_comes_nearest(session):
    session.select(2)
    session.search("giraffe")
    assert session.shown.lit == () and session.shown.found == () and "Nothing here is called" in session.shown.message
    assert session.shown.heat is not None and session.shown.history == ("giraffe",)


@pytest.mark.parametrize("blank", ["", "  ", "\n"])
def test_a_blank_query_clears_the_last_one_without_a_word(session, blank):
    session.search("plate")
    session.search(blank)
    shown = session.shown
    assert (shown.query, shown.found, shown.heat, shown.lit, shown.message) == ("", (), None, (), "") and shown.history == ("plate",)
    session.ask(blank)
    assert session.shown.question == "" and session.shown.message == ""


def test_without_names_a_query_is_told_what_to_run_and_kept(tmp_path):
    run = small_run(tmp_path / "run")
    session = Session(run, load(run))
    session.search("plate")
    assert "semquery label" in session.shown.message and session.shown.query == "plate" and session.shown.history == ()


@pytest.mark.parametrize("error", FAULTS, ids=lambda error: type(error).__name__)
def test_whatever_the_encoder_raises_ends_in_a_message(shared, error):
    def fails(text: str) -> None:
        if text == "plate":
            raise error

    session = Session(shared[0], steered(shared[1], fails))
    session.select(3)
    session.search("plate")
    shown = session.shown
    assert "no." in shown.message and not shown.busy and shown.found == () and shown.lit == (3,) and shown.history == ()
    session.search("left knob")
    assert session.shown.lit == (0,)


@pytest.mark.parametrize("error", FAULTS, ids=lambda error: type(error).__name__)
def test_whatever_a_model_raises_ends_in_a_message(tmp_path, error):
    run = named_run(tmp_path / "run")
    session = Session(run, load(run), Scripted(lambda request: error))
    session.select(3)
    session.ask("what do I turn?")
    assert "no." in session.shown.message and not session.shown.busy and session.shown.answered is None and session.shown.lit == (3,)


def test_a_question_without_a_model_is_answered_by_its_form_and_the_names(own):
    own.ask("where is the plate?")
    assert own.shown.lit == (2,) and own.shown.question == "where is the plate?" and not own.shown.busy
    assert own.shown.message == own.shown.answered.explain()


# ------------------------------------------------------------------ what comes late


@pytest.mark.parametrize("overtakes", [
    lambda s: s.select(3), lambda s: s.clear(), lambda s: s.choose(0), lambda s: s.up(), lambda s: s.down(), lambda s: s.click(*at(0, 0)),
    lambda s: s.search("right knob"), lambda s: s.ask("where is the right knob?"), lambda s: s.search(""),
])
def test_a_slow_query_is_dropped_when_anything_overtakes_it_and_leaves_no_trace(tmp_path, overtakes):
    run, gate = named_run(tmp_path / "run"), Gate("plate")
    session = Session(run, steered(load(run), gate))
    slow = in_thread(lambda: session.search("plate"))
    assert gate.reached.wait(PATIENCE) and session.shown.busy == "searching for “plate”"
    overtakes(session)
    before = session.shown
    assert before.busy == ""
    gate.opened.set()
    ended(slow)
    assert session.shown is before and "plate" not in before.history


def test_what_does_not_select_overtakes_nothing(shared):
    gate = Gate("plate")
    session = Session(shared[0], steered(shared[1], gate))
    slow = in_thread(lambda: session.search("plate"))
    assert gate.reached.wait(PATIENCE)
    session.set_level(1)
    session.set_mode("hide")
    session.set_heat(0.3, True)
    session.touch()
    assert session.shown.busy
    gate.opened.set()
    ended(slow)
    assert session.shown.lit == (2,) and session.shown.level == 1 and not session.shown.busy


def test_of_two_queries_the_later_one_counts_whichever_is_done_first(shared):
    gate = Gate("plate")
    session = Session(shared[0], steered(shared[1], gate))
    slow = in_thread(lambda: session.search("plate"))
    assert gate.reached.wait(PATIENCE)
    session.search("left knob")
    gate.opened.set()
    ended(slow)
    assert session.shown.query == "left knob" and session.shown.lit == (0,) and session.shown.history == ("left knob",)


def test_while_a_query_is_worked_out_states_are_seen_and_clicks_served(shared):
    gate, frames, drawn, end = Gate("plate"), [], threading.Semaphore(0), threading.Event()
    session = Session(shared[0], steered(shared[1], gate))

    def render() -> None:
        while not end.is_set():
            frames.append(session.shown)
            drawn.release()

    slow = in_thread(lambda: session.search("plate"))
    assert gate.reached.wait(PATIENCE)
    render_thread = in_thread(render)
    for _ in range(1000):
        assert drawn.acquire(timeout=PATIENCE)
    assert frames[-1].busy
    session.set_level(2)
    session.click(*at(2, 1))
    until(session, lambda shown: shown.lit == (1,))
    seen = len(frames)
    while not any(frame.lit == (1,) for frame in frames[seen:]):
        assert drawn.acquire(timeout=PATIENCE)
    gate.opened.set()
    ended(slow)
    end.set()
    ended(render_thread)
    assert session.shown.lit == (1,) and not session.shown.busy and session.shown.query == ""
    assert all(one.version <= other.version for one, other in zip(frames, frames[1:], strict=False))


def test_rapid_steps_are_each_taken(shared):
    deep = unnamed(part_tree([*range(1, 41), 40], [0] * 12))
    session = Session(shared[0], deep)
    session.select(0)
    ended(*[in_thread(lambda: [session.up() for _ in range(5)]) for _ in range(6)])
    assert session.shown.lit == (30,)
    ended(*[in_thread(lambda: [session.down() for _ in range(5)]) for _ in range(6)])
    assert session.shown.lit == (0,)


# ------------------------------------------------------------------ negatives, heat, level


def test_the_scene_with_other_negatives_is_made_once_for_them(shared):
    loaded = steered(shared[1], lambda text: None)
    session, encoder = Session(shared[0], loaded), loaded.scene.searcher.matcher.encoder
    session.set_negatives(["spoon", "  "])
    session.search("plate")
    session.search("left knob")
    assert encoder.told == 1 and session.shown.negatives == ("spoon",)
    scene = session._scene(session.shown)
    assert scene.searcher.book.negative_texts == ("spoon",) and scene.places() is loaded.scene.places()
    session.set_negatives([])
    assert session._scene(session.shown) is loaded.scene and encoder.told == 1


def test_other_negatives_ask_the_query_again(session):
    session.search("plate")
    before = session.shown.heat
    session.set_negatives(["plate"])
    assert session.shown.query == "plate" and session.shown.heat is not before


def test_negatives_count_in_the_hits_where_relevancy_is_compared_with_them_and_elsewhere_it_is_told_that_they_do_not(shared):
    run, loaded = shared
    session = Session(run, loaded)
    session.search("knob")
    before = [found.hit for found in session.shown.found], session.shown.heat.raw.tolist()
    session.set_negatives(["left"])
    assert ([found.hit for found in session.shown.found], session.shown.heat.raw.tolist()) == before
    assert "change nothing" in session.shown.message and "spelling" in session.shown.message
    scene = loaded.scene
    lerf = Scene(scene.surface, scene.tree, scene.labels, scene.searcher.book, scene.cameras, config=replace(scene.config, scorer="lerf"))
    session = Session(run, replace(loaded, scene=lerf))
    session.search("knob")
    session.set_negatives(["left"])
    assert session.shown.found[0].part == 1 and session.shown.lit == (1,) and session.shown.message == ""
    session.set_negatives(["right"])
    assert session.shown.found[0].part == 0 and session.shown.lit == (0,)


def test_negatives_that_cannot_be_encoded_are_told(shared, monkeypatch):
    loaded = steered(shared[1], lambda text: None)
    session = Session(shared[0], loaded)
    session.search("plate")

    def fails(texts):
        raise ConnectionError("gone")

    monkeypatch.setattr(loaded.scene.searcher.matcher.encoder, "passages", fails)
    session.set_negatives(["spoon"])
    assert "gone" in session.shown.message and not session.shown.busy


@given(SEEDS)
def test_the_heat_of_a_part_is_the_best_of_it_and_what_is_around_it(seed):
    tree = any_tree(seed)
    value = np.random.default_rng(seed).random(tree.num_parts, np.float32)
    slow = [max(value[p] for p in range(tree.num_parts) if tree.holds[p, part]) for part in range(tree.num_parts)]
    np.testing.assert_array_equal(best_above(value, tree.parents), np.array(slow, np.float32))


def test_heat_below_the_threshold_is_not_drawn_and_normalised_it_goes_from_0_to_1():
    heat = Heat("x", np.array([0.2, 0.4, 0.6], np.float32))
    np.testing.assert_array_equal(heat.shown(0.4, False), np.array([np.nan, 0.4, 0.6], np.float32))
    np.testing.assert_allclose(heat.shown(0.0, True), [0, 0.5, 1], atol=1e-6)
    flat = Heat("x", np.full(3, 0.5, np.float32))
    np.testing.assert_array_equal(flat.shown(0.0, True), flat.raw)


def test_settings_stay_within_what_there_is(session):
    session.set_level(99)
    assert session.shown.level == 2
    session.set_level(-3)
    assert session.shown.level == 0
    session.set_heat(threshold=7.0)
    assert session.shown.threshold == 1.0 and not session.shown.normalise
    session.set_heat(normalise=True)
    assert session.shown.threshold == 1.0 and session.shown.normalise
    with pytest.raises(ValueError, match="There is no mode 'glow'; expected one of tint, isolate, hide."):
        session.set_mode("glow")


def test_every_change_has_a_newer_version_and_a_state_never_changes(session):
    states = [session.shown]
    for act in (lambda: session.search("plate"), session.up, session.down, session.touch, lambda: session.set_level(1)):
        before = dict(vars(states[-1]))
        act()
        assert {name: vars(states[-1])[name] for name in before} == before
        states.append(session.shown)
    versions = [state.version for state in states]
    assert versions == sorted(set(versions))


# ------------------------------------------------------------------ the run changes


def test_other_names_keep_the_selection_and_are_those_that_are_shown(own):
    own.search("plate")
    own.ask("where is the plate?")
    own.search("plate")
    own.up()
    own.run.append_label(NodeLabel(2, "plate of glass"), "")
    own.refresh(load(own.run, own.shown.loaded))
    shown = own.shown
    assert shown.lit == (4,) and shown.below == ((2,),) and shown.query == "plate" and parts_of(own) == [(2,)]
    assert shown.found[0].name == "plate of glass" and shown.found[0].each()[0].name == "plate of glass"
    assert shown.answered.targets[0].name == "plate of glass"


def test_a_query_that_found_nothing_lights_up_when_the_name_comes(tmp_path):
    run = small_run(tmp_path / "run")
    session = Session(run, load(run))
    session.search("plate")
    run.append_label(NodeLabel(3, "panel"), "")
    session.refresh(load(run, session.shown.loaded))
    assert session.shown.found == () and session.shown.lit == ()
    run.append_label(NodeLabel(2, "plate"), "")
    session.refresh(load(run, session.shown.loaded))
    assert session.shown.lit == (2,) and session.shown.rank == 0
    session.select(0)
    run.append_label(NodeLabel(0, "left knob"), "")
    session.refresh(load(run, session.shown.loaded))
    assert session.shown.lit == (0,) and parts_of(session) == [(2,)]


def test_another_tree_empties_the_selection_and_the_query_is_asked_again(own):
    own.search("plate")
    own.up()
    own.set_level(2)
    own.run.write_tree(MergeTree(np.array([2, 2, 2], np.int32), np.zeros(3, np.float32)), np.array([[0, 1]]), np.array([0.5]), part_tree([2, 2, 2], [0] * 6 + [1] * 6))
    own.refresh(load(own.run, own.shown.loaded))
    shown = own.shown
    assert shown.lit == shown.trail == shown.below == () and shown.level == 1 and shown.answered is None
    assert parts_of(own) == [(2,)] and len(shown.heat.raw) == 3


def test_a_folder_that_is_gone_is_told_by_the_notice_and_by_an_export(own):
    own.run.path.rename(own.run.path.with_name("elsewhere"))
    with pytest.raises(RunError, match="The run folder is gone"):
        load(own.run, own.shown.loaded)
    with pytest.raises(ValueError, match="The run folder is gone"):
        own.export()
    assert "The run folder is gone" in own.shown.message and not own.run.path.exists()


def test_names_that_are_gone_take_the_answers_with_them(own):
    own.search("plate")
    own.run.set_labels_aside()
    own.refresh(load(own.run, own.shown.loaded))
    assert own.shown.found == () and own.shown.heat is None and own.shown.lit == (2,) and "semquery label" in own.shown.message
    assert "labels.old1.jsonl" in own.shown.message


def test_a_query_under_way_when_names_change_is_answered_by_the_new_ones(own):
    gate = Gate("plate")
    own.refresh(steered(own.shown.loaded, gate))
    slow = in_thread(lambda: own.search("plate"))
    assert gate.reached.wait(PATIENCE)
    own.run.append_label(NodeLabel(2, "plate of glass"), "")
    own.refresh(load(own.run, own.shown.loaded))
    gate.opened.set()
    ended(slow)
    assert own.shown.found[0].name == "plate of glass" and own.shown.lit == (2,) and not own.shown.busy


def test_a_query_under_way_when_the_tree_is_made_anew_is_dropped_and_that_is_told(own):
    gate = Gate("plate")
    own.refresh(steered(own.shown.loaded, gate))
    slow = in_thread(lambda: own.search("plate"))
    assert gate.reached.wait(PATIENCE)
    own.refresh(unnamed(part_tree([1, 1], [0] * 12)))
    gate.opened.set()
    ended(slow)
    assert own.shown.lit == () and own.shown.found == () and "made anew" in own.shown.message and not own.shown.busy


def test_the_notice_of_a_run_is_told_once_and_goes_when_it_is_mended(own):
    assert own.shown.message == ""
    own.run.append_label(NodeLabel(2, "plate"), "")
    own.refresh(load(own.run, own.shown.loaded))
    assert "semquery encode" in own.shown.message
    own.select(1)
    own.refresh(replace(own.shown.loaded))
    assert own.shown.message == ""
    own.trouble("It is torn.")
    assert own.shown.message == own.shown.loaded.notice == "It is torn." and own.shown.lit == (1,)
    stages.encode(own.run, overwrite=True)
    own.refresh(load(own.run, own.shown.loaded))
    assert own.shown.message == own.shown.loaded.notice == ""


# ------------------------------------------------------------------ the encoder is opened early


def test_the_encoder_is_opened_before_anybody_asks_and_once(shared):
    heard, asked = [], threading.Event()
    loaded = steered(shared[1], lambda text: (heard.append(text), asked.set()))
    session = Session(shared[0], loaded)
    assert asked.wait(PATIENCE) and session.shown.query == "" and session.shown.history == ()
    session.refresh(replace(loaded))
    session.search("plate")
    assert heard.count("handle") == 1


def test_an_encoder_that_cannot_be_opened_is_told_before_anybody_asks(shared):
    def fails(text: str) -> None:
        raise OSError("weights gone")

    session = Session(shared[0], steered(shared[1], fails))
    assert "weights gone" in until(session, lambda shown: bool(shown.message)).message


# ------------------------------------------------------------------ exporting


def test_the_selection_is_exported_and_without_one_the_whole_tree(own):
    own.select(0, 2)
    files = own.export(("json",))
    assert own.shown.message.endswith(str(own.run / "export" / "part-0-2")) and not own.shown.busy
    assert [part["id"] for part in json.loads(files[0].read_text())["parts"]] == [0, 2]
    own.clear()
    assert own.export(("json",))[0] == own.run / "export" / "tree.json"


def test_one_export_is_written_at_a_time_and_the_others_are_told(own, monkeypatch):
    reached, go_on, written = threading.Event(), threading.Event(), []

    def slow(run, formats, part):
        reached.set()
        assert go_on.wait(PATIENCE)
        return [run / "export" / "export.json"]

    monkeypatch.setattr(stages, "export", slow)
    first = in_thread(lambda: written.extend(own.export()))
    assert reached.wait(PATIENCE) and own.shown.busy == "writing all parts"
    with pytest.raises(ValueError, match="Another export is being written"):
        own.export()
    own.search("plate")
    assert own.shown.lit == (2,) and own.shown.busy == "writing all parts"
    go_on.set()
    ended(first)
    assert len(written) == 1 and not own.shown.busy and own.shown.lit == (2,)


@pytest.mark.parametrize("error", FAULTS, ids=lambda error: type(error).__name__)
def test_an_export_that_fails_is_told_and_the_next_one_is_let_in(own, monkeypatch, error):
    def fails(run, formats, part):
        raise error

    monkeypatch.setattr(stages, "export", fails)
    for _ in range(2):
        with pytest.raises(ValueError, match="no."):
            own.export()
        assert "no." in own.shown.message and not own.shown.busy


def test_parts_of_a_tree_that_is_no_longer_there_are_not_exported(own):
    own.select(2)
    own.run.write_tree(MergeTree(np.array([2, 2, 2], np.int32), np.zeros(3, np.float32)), np.array([[0, 1]]), np.array([0.5]), small_parts())
    with pytest.raises(ValueError, match="is not the one that is shown"):
        own.export(("json",))
    assert set(NAMES) == set(own.shown.loaded.labels)
