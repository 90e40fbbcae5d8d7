"""A viser server and a browser to look at it with, for tests of viewers.

`page` needs Playwright for Python and a Chromium that is already installed, and skips where either is missing; nothing is
downloaded, and the browser reaches nothing but this machine.
"""

import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from semquery.viewer import guarded

PATIENCE = 180.0  # seconds until what is waited for is given up; met on a loaded machine, so generous
CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
OPTIONS = ("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-background-networking",
           "--disable-component-update", "--no-first-run", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


@contextmanager
def open_server() -> Iterator[Any]:
    """A viser server on a free port of 127.0.0.1 (`address_of` tells which); stopped afterwards."""
    server = guarded.open_server("127.0.0.1", free_port(), "semquery")
    try:
        yield server
    finally:
        server.stop()


def address_of(server: Any) -> str:
    return f"http://127.0.0.1:{server.get_port()}"


def wait_until(condition: Callable[[], Any], what: str = "", patience: float = PATIENCE) -> Any:
    """What `condition` returns as soon as that is true. Fails after `patience` seconds."""
    end = time.monotonic() + patience
    while not (met := condition()):
        assert time.monotonic() < end, f"waited {patience:g} s in vain{f' for {what}' if what else ''}"
        time.sleep(0.02)
    return met


def touch(handle: Any, value: Any = None, client: Any = "a client") -> None:
    """What a page does: set a widget's value, or press a button where there is none; returns when all callbacks have.

    As viser does, a value that the widget has already is not told.
    """
    from viser import GuiEvent

    if value is not None:
        if handle._impl.value == value:
            return
        handle._impl.value = value
    for callback in handle._impl.update_cb:
        callback(GuiEvent(client, 0, handle))


class Clock:
    """A timer, as threading.Timer, that goes off when the test says so; `made` are all since the test emptied it."""

    made: list["Clock"] = []

    def __init__(self, seconds, due):
        self.seconds, self.due, self.started, self.cancelled = seconds, due, False, False
        Clock.made.append(self)

    def start(self):
        self.started = True

    def cancel(self):
        self.cancelled = True

    @classmethod
    def go_off(cls):
        """All that wait, one after another."""
        waiting, cls.made = cls.made, []
        for clock in waiting:
            if clock.started and not clock.cancelled:
                clock.due()


class Place:
    """A host that remembers where it was asked to jump, and a page that keeps what it was sent."""

    def __init__(self):
        self.jumps, self.sent = [], []

    def jump(self, client, parts):
        self.jumps.append((client, parts))

    def send_file_download(self, filename, content):
        self.sent.append((filename, content))


@contextmanager
def open_browser() -> Iterator[Any]:
    """A headless Chromium that draws WebGL in software (Playwright's Browser). Skips the test where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=list(OPTIONS))
        try:
            yield running
        finally:
            running.close()


@dataclass
class Visit:
    """One page of a viewer, and what it told and asked for."""

    page: Any  # Playwright's Page
    told: list[str] = field(default_factory=list)  # dialogs and errors that no script caught
    asked: list[str] = field(default_factory=list)  # addresses outside of this machine

    def shot(self, path: Any) -> None:
        self.page.screenshot(path=str(path))


@contextmanager
def visiting(browser: Any, address: str, **options: Any) -> Iterator[Visit]:
    """A page at an address, open until the end; what it asks of other machines is refused and kept in `asked`."""
    context = browser.new_context(accept_downloads=True, **{"viewport": {"width": 1280, "height": 800}, **options})
    context.set_default_timeout(1000 * PATIENCE)
    visit = Visit(context.new_page())

    def refuse(route: Any) -> None:
        visit.asked.append(route.request.url)
        route.abort()

    context.route(lambda url: not url.startswith((address, "data:", "blob:")), refuse)
    visit.page.on("pageerror", lambda error: visit.told.append(str(error)))
    visit.page.on("dialog", lambda dialog: (visit.told.append(dialog.message), dialog.dismiss()))
    visit.page.goto(address)
    try:
        yield visit
    finally:
        context.close()


def labelled(page: Any, label: str) -> Any:
    """The field or menu beside a label of viser's panel (Playwright's Locator): its label is not tied to it for all widgets."""
    return page.locator(f"xpath=//label[normalize-space()='{label}']/../../..//input").locator("visible=true").first


def choose(page: Any, label: str, line: str) -> None:
    """Choose, from the menu beside a label, the line that holds a text."""
    labelled(page, label).click()
    page.get_by_role("option").locator("visible=true").filter(has_text=line).first.click()


@pytest.fixture
def server() -> Iterator[Any]:
    with open_server() as opened:
        yield opened


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as running:
        yield running
