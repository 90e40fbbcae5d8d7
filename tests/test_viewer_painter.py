"""The painter: one thread, the newest state, every function in turn, whatever one of them raises."""

import threading

from helpers import named_run
from session_helpers import PATIENCE, ended, in_thread

from semquery.store import Run
from semquery.viewer import Painter, Session, load
from semquery.viewer.painter import MOST_TROUBLES


def an_empty_session(tmp_path) -> Session:
    return Session(Run(tmp_path))


def test_what_is_shown_is_painted_at_once_and_every_function_sees_the_same_state_in_turn(tmp_path):
    session, seen = an_empty_session(tmp_path), []
    painter = Painter(session, lambda shown: seen.append(("first", shown)), lambda shown: seen.append(("second", shown))).start()
    assert painter.settle(PATIENCE)
    session.set_level(7)
    assert painter.settle(PATIENCE)
    painter.stop()
    assert [name for name, _ in seen] == ["first", "second"] * (len(seen) // 2)
    assert all(one is other for (_, one), (_, other) in zip(seen[::2], seen[1::2], strict=True))
    assert seen[0][1].level == 2 and seen[-1][1].level == 7


def test_states_that_were_overtaken_are_skipped(tmp_path):
    session, seen = an_empty_session(tmp_path), []
    painting, go_on = threading.Event(), threading.Event()

    def slow(shown) -> None:
        seen.append(shown.level)
        painting.set()
        assert go_on.wait(PATIENCE)

    painter = Painter(session, slow).start()
    assert painting.wait(PATIENCE)
    for level in range(50):
        session.set_level(level)
    assert not painter.settle(0.01)
    go_on.set()
    assert painter.settle(PATIENCE)
    painter.stop()
    assert seen == [2, 49]


def test_two_states_are_never_painted_at_once_and_the_last_one_painted_is_the_last_one_shown(tmp_path):
    session, inside, most, seen = an_empty_session(tmp_path), [], [], []

    def paint(shown) -> None:
        inside.append(threading.get_ident())
        most.append(len(inside))
        seen.append(shown.version)
        inside.pop()

    painter = Painter(session, paint).start()
    ended(*[in_thread(lambda k=k: [session.set_level(k + n) for n in range(40)]) for k in range(6)])
    assert painter.settle(PATIENCE)
    assert max(most) == 1 and seen == sorted(set(seen)) and seen[-1] == session.shown.version
    painter.stop()


def test_a_function_that_fails_is_told_once_and_neither_ends_the_thread_nor_the_others(tmp_path, capfd):
    session, seen = an_empty_session(tmp_path), []

    def fails(shown) -> None:
        raise RuntimeError("no {paint} left")

    painter = Painter(session, fails, lambda shown: seen.append(shown.level)).start()
    for level in (3, 4, 5):
        session.set_level(level)
        assert painter.settle(PATIENCE)
    painter.stop()
    assert seen[-3:] == [3, 4, 5]
    assert [str(error) for error in painter.troubles] == ["no {paint} left"]
    told = capfd.readouterr().err
    assert told.count("could not be drawn (RuntimeError: no {paint} left)") == 1 and "in fails" in told


def test_faults_that_say_something_else_every_time_do_not_fill_the_terminal(tmp_path, capfd):
    session = an_empty_session(tmp_path)

    def fails(shown) -> None:
        raise KeyError(shown.version)

    painter = Painter(session, fails).start()
    for _ in range(MOST_TROUBLES + 10):
        painter.repaint()
        assert painter.settle(PATIENCE)
    painter.stop()
    assert len(painter.troubles) == MOST_TROUBLES


def test_it_paints_again_when_asked_though_nothing_has_changed(tmp_path):
    session, seen = an_empty_session(tmp_path), []
    painter = Painter(session, seen.append).start()
    assert painter.settle(PATIENCE)
    before = len(seen)
    painter.repaint()
    assert painter.settle(PATIENCE)
    painter.stop()
    assert len(seen) == before + 1
    assert {name for name, value in vars(seen[-1]).items() if value != vars(seen[0])[name]} == {"version"}


def test_what_a_paint_function_changes_is_painted_too(tmp_path):
    session, seen = an_empty_session(tmp_path), []

    def paint(shown) -> None:
        seen.append(shown.level)
        if shown.level < 5:
            session.set_level(shown.level + 1)

    painter = Painter(session, paint).start()
    while session.shown.level < 5:
        assert painter.settle(PATIENCE)
    assert painter.settle(PATIENCE)
    painter.stop()
    assert seen == [2, 3, 4, 5]


def test_stopping_joins_the_thread_and_nothing_is_painted_after(tmp_path):
    session, seen = an_empty_session(tmp_path), []
    painter = Painter(session, seen.append).start()
    assert painter.settle(PATIENCE)
    painter.stop()
    assert not painter._thread.is_alive()
    before = len(seen)
    session.set_level(9)
    assert not painter.settle(PATIENCE)  # at once: it will never be
    assert len(seen) == before
    painter.stop()  # twice is once


def test_it_may_be_stopped_by_what_it_paints_and_before_it_is_started(tmp_path):
    session = an_empty_session(tmp_path)
    painter = Painter(session, lambda shown: painter.stop())
    painter.start()
    painter._thread.join(PATIENCE)
    assert not painter._thread.is_alive() and not painter.troubles
    never = Painter(session, lambda shown: None)
    never.stop()
    assert not never.settle(0.0)


def test_a_painter_over_a_run_is_at_rest_when_the_run_is(tmp_path):
    run = named_run(tmp_path / "run")
    session, seen = Session(run, load(run)), []
    painter = Painter(session, lambda shown: seen.append(shown.lit)).start()
    session.search("plate")
    assert painter.settle(PATIENCE)
    painter.stop()
    assert seen[-1] == session.shown.lit == (2,)
