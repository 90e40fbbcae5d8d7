"""Until a page shows it: the part of `viewing` that takes a browser, a headless Chromium that is already installed."""

import io
import itertools
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from eval.figures.browser import BROWSERS, OPTIONS
from semquery.viewer.guarded import free_port, open_server

PATIENCE = 300.0  # seconds until a page that shows nothing is given up


@contextmanager
def page_of(server: Any, side: float) -> Iterator[Any]:
    """A page of a server in a headless Chromium, with its camera above the square of points. Raises SystemExit where there is none."""
    from playwright.sync_api import sync_playwright

    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        raise SystemExit("There is no Chromium on this machine: leave --browser out.")
    centre = np.array([side / 2, side / 2, 0.0])

    def place(client: Any) -> None:
        client.camera.up_direction, client.camera.position = np.array([0.0, 1.0, 0.0]), centre + np.array([0.0, 0.0, 1.2 * side])
        client.camera.look_at = centre

    server.on_client_connect(place)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=browser, args=list(OPTIONS))
        page = running.new_page(viewport={"width": 800, "height": 600})
        page.goto(f"http://127.0.0.1:{server.get_port()}")
        yield page
        running.close()


def drawing(ways: Callable[[Any], Mapping[str, Callable[[str | None], object]]], texts: tuple[str, ...], side: float, repeats: int = 3) -> Iterator[str]:
    """Seconds from a query to a page that shows it; between queries nothing is lit.

    `ways`: of a server, the ways of lighting what answers a text, or nothing for None. `side`: of the square of points.
    """
    server = open_server("127.0.0.1", free_port("127.0.0.1", 7107), "bench")
    try:
        with page_of(server, side) as page:
            for name, light in ways(server).items():
                found = [seconds_until_seen(page, light, text) for text in [texts[0], *itertools.islice(itertools.cycle(texts), repeats)]]
                start = time.perf_counter()
                shot(page)
                yield (f"query → seen in the page {statistics.median(found[1:]):6.2f} s    {name}; "
                       f"a picture of the page alone takes {time.perf_counter() - start:.2f} s")
    finally:
        server.stop()


def seconds_until_seen(page: Any, light: Callable[[str | None], object], text: str) -> float:
    """From nothing lit to something."""
    light(None)
    seen(page, False)
    start = time.perf_counter()
    light(text)
    seen(page, True)
    return time.perf_counter() - start


def seen(page: Any, wanted: bool) -> None:
    """Wait until the highlight is in the page, or is not."""
    end = time.monotonic() + PATIENCE
    while is_lit(shot(page)) != wanted:
        if time.monotonic() > end:
            raise SystemExit(f"The page did not show what it was sent within {PATIENCE:g} s.")


def shot(page: Any) -> np.ndarray:
    """A picture of the page, beside the panel."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(page.screenshot(clip={"x": 0, "y": 0, "width": 440, "height": 600}))).convert("RGB"))


def is_lit(image: np.ndarray) -> bool:
    """Whether the highlight's magenta is in a picture."""
    red, green, blue = (image[..., k].astype(int) for k in range(3))
    return bool(((red > green + 60) & (blue > green + 60)).any())
