"""`semquery view` as one meets it: a real process, a real browser, from a query to an export.

Needs Playwright for Python and a Chromium that is already installed; nothing is downloaded.
"""

import io
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from desk import COLORS, desk_run
from PIL import Image
from viewing import browser, free_port, labelled, visiting, wait_until  # noqa: F401

pytest.importorskip("viser", reason="viser is not installed")
NOT_OURS = ("computeBoundingSphere", "GL Driver Message")  # viser's page says so of its own empty splats


@contextmanager
def started(*arguments):
    """A running `semquery view` and its address; ended by Ctrl-C, which it takes well."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-m", "semquery", "view", *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True, env=environment)
    told = []
    try:
        for line in process.stdout:
            told.append(line)
            if found := re.search(r"open (http://\S+) in a browser", line):
                yield found.group(1)
                break
        else:
            pytest.fail("".join(told))
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
        assert process.returncode == 0 and "Traceback" not in "".join(told) + rest, "".join(told) + rest
    finally:
        if process.poll() is None:
            process.kill()
        process.stdout.close()


def spot_of(page, color) -> tuple[int, int] | None:
    """The middle of what has a colour in the scene; None while too little has it. Panel and scene find their places as the page loads."""
    shot = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(int)
    rows, columns = np.nonzero((np.abs(shot[:, : shot.shape[1] * 2 // 3] - color) < 25).all(2))
    return (round(float(np.median(columns))), round(float(np.median(rows)))) if len(rows) > 400 else None


def settled_spots(page) -> list[tuple[int, int]]:
    """Where the two knobs and the plate are, as soon as they stay there."""
    seen: list = []

    def stay() -> bool:
        seen.append([spot_of(page, COLORS[part].astype(int)) for part in (0, 1, 2)])
        return len(seen) > 3 and None not in seen[-1] and all(look == seen[-1] for look in seen[-4:])

    wait_until(stay, "the scene to come to rest")
    return seen[-1]


def color_at(page, pixel) -> np.ndarray:
    """The median colour of a few pixels, r g b."""
    shot = np.asarray(Image.open(io.BytesIO(page.screenshot(clip={"x": pixel[0] - 2, "y": pixel[1] - 2, "width": 5, "height": 5}))).convert("RGB"))
    return np.median(shot.reshape(-1, 3), 0)


def is_lit(page, pixel) -> bool:
    """Whether the highlight colour is there, which nothing of the scene has."""
    red, green, blue = color_at(page, pixel)
    return red > 150 and blue > 130 and green < 0.6 * min(red, blue)


def test_a_query_lights_a_part_a_click_selects_one_its_parent_is_exported_and_pictured(tmp_path, browser):  # noqa: F811
    run = desk_run(tmp_path / "desk")
    with started(run.path, "--port", free_port()) as address, visiting(browser, address, viewport={"width": 1000, "height": 640}) as visit:
        page, errors = visit.page, []
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.get_by_text("Nothing is selected. Search").wait_for()
        left, right, plate = settled_spots(page)
        assert page.title() == "semquery · desk" and not is_lit(page, left)

        labelled(page, "Find").fill("left knob")
        wait_until(lambda: is_lit(page, left), "the hit to light up")
        assert not is_lit(page, right) and not is_lit(page, plate)

        page.mouse.click(*right)
        page.get_by_text("part 1 · level").wait_for()
        wait_until(lambda: is_lit(page, right) and not is_lit(page, left), "what was clicked to light up alone")

        page.get_by_text("Parent", exact=True).click()
        page.get_by_text("part 3 · level").wait_for()
        wait_until(lambda: is_lit(page, right) and is_lit(page, left) and not is_lit(page, plate), "the parent to light up")

        page.get_by_role("tab", name="Export").click()
        with page.expect_download() as exported:
            page.get_by_role("button", name=re.compile("^Export")).locator("visible=true").click()
        assert exported.value.suggested_filename.endswith(".zip")
        assert {"parts.ply", "tree.json"} <= {path.name for path in (run / "export" / "part-3").iterdir()}

        page.get_by_role("tab", name="View").click()
        with page.expect_download() as pictured:
            page.get_by_role("button", name="Screenshot").click()
        picture = np.asarray(Image.open(pictured.value.path()).convert("RGB")).astype(int)
        assert pictured.value.suggested_filename == "semquery-panel.png" and picture.shape[0] == 1080
        magenta = (picture[..., 0] > 150) & (picture[..., 2] > 130) & (picture[..., 1] < 110)
        assert 0.02 < magenta.mean() < 0.6
        assert visit.told == [] and visit.asked == [] and [e for e in errors if not any(known in e for known in NOT_OURS)] == []
