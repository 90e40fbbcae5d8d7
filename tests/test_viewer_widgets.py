"""What the panel is made of: the end of typing, menus that stand for things, buttons that are pressed once."""

import threading

import pytest
from viewing import Clock, open_server, touch, wait_until

from semquery.viewer.widgets import Card, Debounce, Menu, acting, one_at_a_time, same


@pytest.fixture(scope="module")
def server():
    with open_server() as opened:
        yield opened


def test_typing_acts_once_when_it_ends_and_on_the_newest_value():
    Clock.made, acted = [], []
    quiet = Debounce(acted.append, 0.7, Clock)
    for text in ("h", "ha", "handle"):
        quiet.put(text)
    assert acted == [] and [clock.seconds for clock in Clock.made] == [0.7] * 3
    Clock.go_off()
    assert acted == ["handle"]
    quiet.put("knob")
    Clock.go_off()
    assert acted == ["handle", "knob"]


def test_a_clock_that_goes_off_while_it_is_overtaken_or_dropped_does_nothing():
    Clock.made, acted = [], []
    quiet = Debounce(acted.append, timer=Clock)
    quiet.put("h")
    quiet.put("ha")
    first, second = Clock.made
    first.due()
    quiet.drop()
    second.due()
    assert acted == [] and first.cancelled and second.cancelled


def test_a_real_clock_acts_by_itself():
    acted = threading.Event()
    Debounce(lambda value: acted.set(), 0.01).put("x")
    assert acted.wait(60)


def test_what_python_sets_is_no_action(server):
    acted = []
    handle = server.gui.add_text("x", "")
    handle.on_update(acting(lambda event: acted.append(event.target.value)))
    handle.value = "by Python"
    touch(handle, "by a person")
    assert wait_until(lambda: acted) == ["by a person"]


def test_a_menu_tells_what_its_lines_stand_for_and_none_for_the_placeholder(server):
    chosen = []
    menu = Menu(server, "x", "none", chosen.append)
    menu.show("two", [("a", 7), ("b", 8)], 8)
    assert menu.handle.options == ("two", "a", "b") and menu.handle.value == "b"
    touch(menu.handle, "a")
    touch(menu.handle, "two")
    touch(menu.handle, "gone")  # chosen by a page that has not got the new lines yet
    menu.show("two", [("a", 1), ("b", 2)], 99)
    assert menu.handle.value == "two"
    touch(menu.handle, "a")
    assert chosen == [7, None, 1]


@pytest.mark.parametrize("names", [["all"], ["all", "all "], ["all "], ["x"]])
def test_a_line_that_reads_as_the_placeholder_is_still_offered(server, names):
    chosen = []
    menu = Menu(server, "x", "none", chosen.append)
    menu.show("all", [(name, rank) for rank, name in enumerate(names)], None)
    assert len(set(menu.handle.options)) == len(names) + 1 and menu.handle.value == menu.handle.options[0] not in names
    for name in names:
        touch(menu.handle, name)
    assert chosen == list(range(len(names)))


def test_a_button_of_what_takes_long_is_greyed_meanwhile_and_pressed_once(server):
    button, going, end, runs = server.gui.add_button("x"), threading.Event(), threading.Event(), []
    button.on_click(one_at_a_time(button, lambda event: (runs.append(1), going.set(), end.wait(60))))
    first = threading.Thread(target=touch, args=(button,))
    first.start()
    assert going.wait(60) and button.disabled
    touch(button)
    end.set()
    first.join(60)
    assert runs == [1] and not button.disabled
    touch(button)
    assert runs == [1, 1]


def test_a_button_works_again_after_what_it_did_failed(server):
    button = server.gui.add_button("x")
    button.on_click(one_at_a_time(button, lambda event: 1 / 0))
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            touch(button)
    assert not button.disabled


def test_a_card_takes_room_only_while_it_says_something(server):
    card = Card(server)
    assert not card.handle.visible
    card.show("said")
    assert card.handle.visible and card.handle.content == "said"
    card.show("")
    assert not card.handle.visible


def test_states_are_the_same_where_the_run_is_the_very_one_that_was_read():
    one, equal = [1], [1]
    assert same((one, (2,)), (one, (2,))) and not same((one, (2,)), (equal, (2,))) and not same((one, (2,)), (one, (3,)))
