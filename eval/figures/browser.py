"""The figures that are pictures of a page: both viewers, opened in a headless Chromium that is already installed.

Nothing is downloaded. Where Playwright or Chromium is missing, or a page does not come, a sentence is given in place of the picture.
"""

import io
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from semquery.demo import QUERIES
from semquery.store import Run

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = ("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-first-run",
           "--disable-background-networking", "--disable-component-update", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
SIZE = (1280, 600)  # pixels of the window
HIDE = "Hide Train Cams"  # a button of nerfstudio's viewer
PATIENCE = 240.0  # seconds; software rendering on a busy machine is slow


def screenshots(run: Run, nerfstudio: Run | None) -> Iterator[tuple[str, np.ndarray | str]]:
    """File names, each with its picture or the reason why there is none."""
    port = _free_port()
    yield "viewer.jpg", _tried([sys.executable, "-m", "semquery", "view", str(run.path), "--port", str(port)], port, "handle")
    if nerfstudio is None:
        yield "nerfstudio.jpg", "it takes a run trained by ns-train (--nerfstudio RUN)"
        return
    port = _free_port()
    command = [sys.executable, "-m", "nerfstudio.scripts.viewer.run_viewer", "--load-config", str(nerfstudio / "config.yml"),
               "--viewer.websocket-port", str(port), "--viewer.websocket-host", "127.0.0.1"]
    yield "nerfstudio.jpg", _tried(command, port, QUERIES[0])


def _tried(command: Sequence[str], port: int, query: str) -> np.ndarray | str:
    """The page that a command opens, after a query."""
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        return "Playwright is not installed"
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        return "there is no Chromium on this machine"
    try:
        with sync_playwright() as playwright, _served(command, port):
            running = playwright.chromium.launch(executable_path=browser, args=list(OPTIONS))
            page = running.new_page(viewport={"width": SIZE[0] - 40, "height": SIZE[1] - 40})
            page.set_default_timeout(1000 * PATIENCE)
            page.goto(f"http://127.0.0.1:{port}")
            return _asked(page, query)
    except (Error, TimeoutError) as error:
        return f"the page did not come ({str(error).splitlines()[0]})"


@contextmanager
def _served(command: Sequence[str], port: int) -> Iterator[None]:
    """A server in a process of its own, once it listens; ended afterwards."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _until(lambda: process.poll() is not None or _listens(port), "the server listens")
        if process.poll() is not None:
            raise TimeoutError(f"{' '.join(map(str, command[:4]))} … ended with {process.returncode}")
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _asked(page: Any, query: str) -> np.ndarray:
    """The page after a query was typed and answered, its camera near the answer, and nothing changes any more."""
    field = page.locator("xpath=//label[normalize-space()='Find']/../../..//input").first  # viser ties no label to its field
    field.wait_for()
    is_nerfstudio = page.get_by_text(HIDE, exact=True).count() > 0
    if is_nerfstudio:
        page.get_by_text(HIDE, exact=True).click()
    _still(page)
    field.fill(query)
    look = page.get_by_text("Look at", exact=True)  # it is there while something is selected
    look.wait_for()
    if is_nerfstudio:  # its first camera looks from anywhere
        look.click()
        _still(page)
    page.mouse.move(SIZE[0] // 3, SIZE[1] // 2)
    page.mouse.wheel(0, 1500 if is_nerfstudio else -350)
    page.mouse.move(5, 5)
    _still(page)
    page.set_viewport_size({"width": SIZE[0], "height": SIZE[1]})  # viser draws coarsely where drawing is slow, until the page's size changes
    shot = _still(page)
    if is_nerfstudio:  # its pictures become finer in steps
        page.get_by_text("Resolution: 512").wait_for()
        field.scroll_into_view_if_needed()
        shot = _still(page)
    return shot


def _still(page: Any, times: int = 4) -> np.ndarray:
    """The page once so many pictures of it, some tenths of a second apart, are the same; the last after PATIENCE."""
    from PIL import Image

    end, last, same = time.monotonic() + PATIENCE, b"", 0
    while same < times and time.monotonic() < end:
        page.wait_for_timeout(400)
        shot = page.screenshot(type="png")
        same, last = (same + 1 if shot == last else 0), shot
    return np.asarray(Image.open(io.BytesIO(last)).convert("RGB"))


def _until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {PATIENCE:g} s in vain until {what}")
        time.sleep(0.2)


def _listens(port: int) -> bool:
    with socket.socket() as asking:
        asking.settimeout(1.0)
        return asking.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]
