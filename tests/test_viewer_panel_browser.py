"""The panel in a real browser: somebody searches, walks and exports; names that attack the page stay names.

Needs Playwright for Python and a Chromium that is already installed; nothing is downloaded.
"""

import zipfile

import pytest
from helpers import named_run, small_run
from viewing import Place, address_of, choose, labelled, open_browser, open_server, visiting

from semquery import stages
from semquery.types import NodeLabel
from semquery.viewer import Session, load
from semquery.viewer.painter import Painter
from semquery.viewer.panel import Panel

ATTACKS = {
    0: "</script><img src=http://127.0.0.1:9/x onerror='window.broken = 1'>",
    1: "{window.broken = 1} ![x](http://127.0.0.1:9/y.png) `a` **b**",
    2: "[a](javascript:alert(1)) www.example.org https://example.org",
    3: "\u202eknob\n# b\n- c \\u0041 \"}{window.broken = 1}{\"",
    4: "scene",
}


@pytest.fixture(scope="module")
def browser():
    with open_browser() as running:
        yield running


@pytest.fixture
def server():
    with open_server() as opened:
        yield opened


def test_a_person_types_chooses_a_hit_and_walks_to_its_parent(browser, server, tmp_path):
    run = named_run(tmp_path / "run")
    session = Session(run, load(run))
    panel = Panel(server, session, Place())
    painter = Painter(session, panel.paint).start()
    with visiting(browser, address_of(server)) as visit:
        page = visit.page
        labelled(page, "Find").fill("knob")
        page.get_by_text("left knob", exact=True).or_(page.get_by_text("right knob", exact=True)).locator("visible=true").first.wait_for()
        choose(page, "Hits", "2. ")
        second = session.shown.found[1].name
        page.locator("b").get_by_text(second, exact=True).wait_for()
        page.get_by_role("button", name="Parent").click()
        page.locator("b").get_by_text("panel", exact=True).wait_for()
        assert session.shown.lit == (3,)
        page.get_by_role("button", name="Parent").click()
        page.locator("b").get_by_text("scene", exact=True).wait_for()
        page.get_by_role("tab", name="Export").click()
        with page.expect_download() as download:
            page.get_by_role("button", name="Export").click()
        assert zipfile.ZipFile(download.value.path()).testzip() is None
        assert visit.told == []
    painter.stop()
    assert painter.troubles == []


def test_a_page_shows_hostile_names_as_they_are_and_does_nothing_of_what_they_say(browser, server, tmp_path):
    run = small_run(tmp_path / "run")
    for part, name in ATTACKS.items():
        run.append_label(NodeLabel(part, name, (name,), name, ((name, 0.5),), name, 0.5, "vlm", reason=name), "")
    stages.encode(run)
    session = Session(run, load(run))
    panel = Panel(server, session, Place())
    painter = Painter(session, panel.paint).start()
    with visiting(browser, address_of(server)) as visit:
        page = visit.page
        page.get_by_text("Nothing is selected. Search").wait_for()
        asked, foreign = len(visit.asked), page.locator("img, script, a").count()  # those of viser's own page
        for part, shown in ((0, ATTACKS[0]), (1, ATTACKS[1]), (2, ATTACKS[2]), (3, "knob # b - c \\u0041 \"}{window.broken = 1}{\"")):
            session.select(part)
            card = page.locator("b").filter(has_text=shown[:30])
            card.first.wait_for()
            assert card.first.inner_text() in (shown, shown[:39].rstrip() + "…")
            thought = page.locator("details").first.text_content()
            assert thought.replace(" ", "") == "Thinking" + shown.replace(" ", "")  # its lines stand below one another
        session.select(0, 1, 2)
        page.get_by_text("3 parts", exact=True).wait_for()
        session.search("knob ![x](http://127.0.0.1:9/z.png) {window.broken = 1}")
        assert painter.settle(60.0)
        page.get_by_role("tab", name="Tree").click()
        labelled(page, "Part").click()
        assert page.get_by_role("option").locator("visible=true").count() == 5
        assert page.locator("img, script, a").count() == foreign
        assert page.evaluate("window.broken") is None and visit.told == [] and visit.asked[asked:] == []
        assert not [url for url in visit.asked if "127.0.0.1:9" in url or "example" in url]
    painter.stop()
    assert painter.troubles == []
