"""The report page in a real browser: folding, search, filters, edits, and text that must stay text.

Needs Playwright for Python and a Chromium that is already installed; nothing is downloaded.
"""

import io
import json
import shutil
from dataclasses import replace

import pytest
from helpers import small_parts, small_run
from PIL import Image

from semquery.report import Heading, report_page
from semquery.types import NodeLabel

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")

OPTIONS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--no-first-run",
           "--host-resolver-rules=MAP * ~NOTFOUND")
ATTACK = "</script><script>window.broken = 1</script><img src=x onerror='window.broken = 1'>"
LABELS = {
    4: NodeLabel(4, "microwave front", ("oven face",), "all that is used from outside", confidence=0.97, source="vlm"),
    3: NodeLabel(3, "unknown", confidence=0.0, source="vlm", status="failed", reason="three answers could not be read", raw=ATTACK),
    2: NodeLabel(2, "name plate", (), "tells the maker", (("label", 0.4), (ATTACK, 0.1)), "Shiny and flat, so perhaps a mirror.", 0.45, "vlm"),
    1: NodeLabel(1, "timer knob", ("dial",), "turn it to set the time", confidence=0.88, source="vlm", parent_suspect=True),
    0: NodeLabel(0, "power knob", ("dial", "control"), "turn it to set the power", confidence=0.5, source="user"),
}


def png(color) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (32, 32), color).save(file, "PNG")
    return file.getvalue()


PICTURES = {p: [png((20 * p, 90, 90)), png((90, 20 * p, 90))] for p in range(4)}  # no view shows the whole


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=list(OPTIONS))
        yield running
        running.close()


class Visit:
    """One browser profile; every page it opens is watched."""

    def __init__(self, browser, folder, **options):
        self.folder, self.told, self.asked = folder, [], []
        self.context = browser.new_context(accept_downloads=True, **options)
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.told.append(message.text))
        self.page.on("pageerror", lambda error: self.told.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.told.append(dialog.message), dialog.dismiss()))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def open(self, labels=LABELS, identity="tree", view=""):
        text = report_page(Heading("kitchen", identity, model="a model", calls=7, view=view), small_parts(), labels, PICTURES, png((9, 9, 9)))
        (self.folder / "report.html").write_text(text)
        self.page.goto(f"file://{self.folder / 'report.html'}")
        return self.page

    def part(self, part, inside=""):
        return self.page.locator(f".part[data-part='{part}'] > {inside or '.row'}")

    def name(self, part):
        return self.part(part, ".row .name").inner_text()

    def seen(self) -> list[int]:
        """The parts that can be seen, from top to bottom."""
        rows = self.page.locator(".part:visible")
        return [int(rows.nth(k).get_attribute("data-part")) for k in range(rows.count())]

    def hits(self) -> list[int]:
        return [p for p in self.seen() if not self.page.locator(f".part[data-part='{p}'].context").count()]

    def field(self, part, name):
        return self.part(part, f".form [name={name}]")

    def edit(self, part, name, synonyms=None, function=None):
        self.part(part, ".row .edit").click()
        self.part(part, ".form [name=name]").fill(name)
        if synonyms is not None:
            self.part(part, ".form [name=synonyms]").fill(synonyms)
        if function is not None:
            self.part(part, ".form [name=function]").fill(function)
        self.part(part, ".form .main").click()


@pytest.fixture
def visit(browser, tmp_path):
    here = Visit(browser, tmp_path)
    here.open()
    yield here
    told, asked = here.told, here.asked
    here.context.close()
    assert told == [] and all(url.startswith(("file://", "data:", "blob:")) for url in asked)
    assert sum(url.startswith("file://") for url in asked) == len([url for url in asked if url.endswith("/report.html")])


def test_the_tree_folds_and_unfolds_by_mouse(visit):
    assert visit.seen() == [4, 3, 0, 1, 2]
    visit.part(3, ".row .fold").click()
    assert visit.seen() == [4, 3, 2] and visit.part(3, ".row .fold").get_attribute("aria-expanded") == "false"
    visit.page.click("#fold")
    assert visit.seen() == [4, 3, 2]
    visit.part(3, ".row .fold").click()
    assert visit.seen() == [4, 3, 0, 1, 2]
    assert not visit.part(2, ".row .fold").is_visible()  # nothing inside


def test_the_command_that_shows_the_run_in_3d_is_told_and_copied(visit):
    assert not visit.page.locator("#look").is_visible()  # this page was made of no run
    visit.context.grant_permissions(["clipboard-read", "clipboard-write"])
    command = f"semquery view '{ATTACK}'"
    visit.open(view=command)
    assert visit.page.locator("#look code").inner_text() == command
    visit.page.click("#look button")
    visit.page.get_by_text("Copied.").wait_for()
    assert visit.page.evaluate("navigator.clipboard.readText()") == command
    assert visit.page.locator("#look a").get_attribute("href") == "http://127.0.0.1:7007"


def test_where_a_page_may_not_copy_the_command_is_selected(visit):
    visit.open(view="semquery view RUN")
    visit.page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(); }")
    visit.page.click("#look button")
    visit.page.get_by_text("Selected").wait_for()
    assert visit.page.evaluate("String(getSelection())") == "semquery view RUN"


def test_the_tree_can_be_walked_by_keyboard_alone(visit):
    page, at = visit.page, lambda: visit.page.evaluate("document.activeElement.closest('.part')?.dataset.part ?? document.activeElement.id")
    page.keyboard.press("/")
    assert at() == "words"
    visit.part(4, ".row .name").focus()
    walked = []
    for key in ("ArrowDown", "ArrowRight", "ArrowDown", "ArrowDown", "End", "Home", "ArrowDown", "ArrowLeft", "ArrowDown", "ArrowUp", "ArrowRight", "ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
        walked.append(at())
    assert walked == ["3", "0", "1", "2", "2", "4", "3", "3", "2", "3", "3", "0", "3"]  # at the second "3", folded; unfolded two keys before "0"
    page.keyboard.press("Enter")
    assert visit.part(3, ".more").is_visible()
    page.keyboard.press("e")
    assert page.evaluate("document.activeElement.name") == "name"
    page.keyboard.press("Escape")
    assert not visit.part(3, ".form").is_visible() and at() == "3"


def test_a_part_opens_to_what_is_known_of_it(visit):
    visit.part(2, ".row .name").click()
    more = visit.part(2, ".more")
    assert more.locator(".alternatives li").all_inner_texts()[0].split("\n") == ["label", "0.40"]
    assert more.locator(".facts").inner_text().split("\n") == [
        "Part", "2", "Points", "4", "Level", "1", "Named by", "the model", "Confidence", "0.45"]
    thought = more.locator(".thinking p")
    assert not thought.is_visible()
    more.locator("summary", has_text="Thinking").click()
    assert thought.inner_text() == "Shiny and flat, so perhaps a mirror."
    assert visit.part(1, ".row .badges").inner_text() == "doubts its parent"
    assert visit.part(3, ".row .function").inner_text() == "No name: three answers could not be read"


def test_a_picture_is_enlarged_and_leads_to_the_others_of_its_part(visit):
    viewer = visit.page.locator("#viewer")
    visit.part(1, ".row .thumb").click()
    assert viewer.is_visible() and viewer.locator("p").inner_text() == "timer knob what the model saw, 2 of 2 (← →)"
    last = viewer.locator("img").get_attribute("src")
    visit.page.keyboard.press("ArrowRight")
    assert "1 of 2" in viewer.locator("p").inner_text() and viewer.locator("img").get_attribute("src") != last
    assert viewer.locator("img").evaluate("image => image.complete && image.naturalWidth") == 32
    visit.page.keyboard.press("Escape")
    assert not viewer.is_visible() and visit.part(4, ".row .thumb").is_disabled()


def test_a_search_keeps_what_leads_to_its_hits_and_marks_the_words(visit):
    visit.part(3, ".row .fold").click()
    visit.page.fill("#words", "TIME turn")
    assert visit.hits() == [1] and visit.seen() == [4, 3, 1]
    assert visit.part(1, ".row mark").all_inner_texts() == ["time", "turn", "time"]
    assert visit.page.locator("#count").inner_text() == "1 of 5 parts"
    visit.page.fill("#words", "mirror")  # a thought: it is opened where it hits
    assert visit.hits() == [2] and visit.part(2, ".more .thinking mark").is_visible()
    visit.page.fill("#words", "no.such[part")
    assert visit.seen() == [] and visit.page.locator("#nothing").is_visible()
    visit.page.click("#clear")
    assert visit.seen() == [4, 3, 2] and not visit.page.locator("mark").count()  # folded as it was before
    assert not visit.part(2, ".more").is_visible()


def test_filters_show_the_failed_the_unsure_and_those_by_hand(visit):
    button = lambda name: visit.page.locator(f"[data-filter={name}]")  # noqa: E731
    assert [button(name).inner_text() for name in ("failed", "unsure", "hand")] == ["Failed 1", "Unsure 1", "By hand 1"]
    button("failed").click()
    assert visit.hits() == [3] and button("failed").get_attribute("aria-pressed") == "true"
    button("unsure").click()
    assert visit.hits() == [3, 2]
    button("failed").click()
    assert visit.hits() == [2]
    for below, hits in ((0.4, []), (0.9, [1, 2]), (1.0, [4, 1, 2])):  # a name by hand is never unsure
        visit.page.locator("#unsure").fill(str(below))
        assert visit.hits() == hits
    button("unsure").click()
    button("hand").click()
    assert visit.hits() == [0] and visit.seen() == [4, 3, 0]


def test_edits_survive_a_reload_and_can_be_undone_one_by_one(visit):
    visit.edit(1, "  clock\tdial ", "timer\n\n egg  timer ")
    visit.edit(3, "control panel")
    assert (visit.name(1), visit.name(3)) == ("clock dial", "control panel")
    visit.page.reload()
    assert (visit.name(1), visit.name(3)) == ("clock dial", "control panel")
    assert visit.part(1, ".row .synonyms").inner_text().replace("\n", "") == "timeregg timer"
    assert [visit.page.locator(f"[data-filter={n}] b").inner_text() for n in ("failed", "hand")] == ["0", "3"]
    assert visit.page.locator("#edits li").all_inner_texts()[0].split("\n") == ["1", "timer knob", "clock dial", "Undo"]
    visit.part(1, ".row .undo").click()
    visit.page.reload()
    assert (visit.name(1), visit.name(3)) == ("timer knob", "control panel")
    visit.page.locator("#edits .undo").click()
    assert visit.name(3) == "unknown" and not visit.page.locator("#download").is_visible()
    assert visit.page.evaluate("localStorage.length") == 0


def test_an_edited_part_is_shown_wherever_it_is(visit):
    visit.edit(1, "clock dial")
    visit.part(3, ".row .fold").click()
    visit.page.fill("#words", "plate")
    visit.page.locator("#edits .number").click()
    assert visit.seen() == [4, 3, 0, 1, 2] and visit.page.evaluate("document.activeElement.innerText") == "clock dial"


def test_an_edit_that_changes_nothing_is_none_and_a_name_must_not_be_empty(visit):
    visit.edit(1, "timer knob")
    assert not visit.page.locator("#edits li").count()
    visit.edit(1, "   ")
    assert visit.part(1, ".form .wrong").inner_text() == "A part needs a name." and visit.name(1) == "timer knob"
    visit.field(1, "name").press_sequentially("t")
    assert not visit.part(1, ".form .wrong").is_visible()  # it has one now
    visit.part(1, ".form .cancel").click()
    assert not visit.page.locator(".form").count()  # forms of parts nobody edits would hold up the browser: 19 s for 1500 of them


def test_a_new_name_does_not_inherit_what_was_said_of_the_old_one_unless_it_is_kept(visit):
    old, said = visit.part(1, ".form .old"), lambda: [visit.field(1, name).input_value() for name in ("synonyms", "function")]
    visit.part(1, ".row .edit").click()
    assert said() == ["dial", "turn it to set the time"] and not old.is_visible()
    visit.field(1, "name").fill("key pad")
    assert said() == ["", ""] and old.inner_text().startswith("Synonyms and purpose of the old name were taken out.")
    visit.field(1, "name").fill(" timer  knob ")
    assert said() == ["dial", "turn it to set the time"] and not old.is_visible()  # the old name again
    visit.field(1, "name").fill("key")
    old.locator(".restore").click()
    assert said() == ["dial", "turn it to set the time"] and not old.is_visible()
    visit.field(1, "name").fill("key pad")
    assert said() == ["dial", "turn it to set the time"]  # kept is kept
    visit.part(1, ".form .cancel").click()
    visit.edit(1, "key pad")
    assert visit.name(1) == "key pad" and not visit.part(1, ".row .function").is_visible()
    assert json.loads(visit.page.evaluate("editsJson()"))["edits"]["1"] == {"name": "key pad", "synonyms": [], "function": ""}


def test_what_was_typed_stays_when_the_name_changes_afterwards(visit):
    visit.part(1, ".row .edit").click()
    visit.field(1, "function").fill("press it")
    visit.field(1, "name").fill("key")
    assert visit.field(1, "function").input_value() == "press it" and visit.field(1, "synonyms").input_value() == ""
    visit.part(1, ".form .restore").click()
    assert visit.field(1, "function").input_value() == "press it" and visit.field(1, "synonyms").input_value() == "dial"
    visit.part(1, ".form .cancel").click()
    visit.part(3, ".row .edit").click()
    visit.field(3, "name").fill("panel")  # nothing was said of it
    assert not visit.part(3, ".form .old").is_visible()


def test_a_measured_name_is_neither_sure_nor_unsure(visit):
    visit.open(LABELS | {1: NodeLabel(1, "small grey block", confidence=0.3, source="rule", parent_suspect=True)})
    assert visit.part(1, ".row .badges").inner_text().split("\n")[0] == "measured" and visit.part(1, ".row .sure").inner_text() == ""
    assert visit.page.locator("[data-filter=unsure]").inner_text() == "Unsure 1"
    visit.page.locator("[data-filter=unsure]").click()
    visit.page.locator("#unsure").fill("1")
    assert visit.hits() == [4, 2]
    visit.open({p: NodeLabel(p, "block", confidence=0.3, source="rule") for p in range(5)})
    assert not visit.page.locator(".threshold").is_visible() and visit.page.locator("[data-filter=unsure] b").inner_text() == "0"
    visit.edit(1, "timer knob")
    assert visit.part(1, ".row .badges").inner_text().split("\n") == ["edited", "Undo"]


def test_the_whole_scene_has_no_parent_to_doubt(visit):
    visit.open(LABELS | {4: replace(LABELS[4], parent_suspect=True)})
    assert visit.part(4, ".row .badges").inner_text() == "" and visit.part(1, ".row .badges").inner_text() == "doubts its parent"


def test_edits_are_kept_for_their_own_tree_and_end_when_they_have_arrived(visit):
    visit.edit(1, "clock dial", "dial", "turn it to set the time")
    visit.open(identity="another tree")
    assert visit.name(1) == "timer knob"
    visit.open()
    assert visit.name(1) == "clock dial" and visit.page.locator("#edits li").count() == 1
    visit.open(LABELS | {1: NodeLabel(1, "clock dial", ("dial",), "turn it to set the time", source="user")})
    assert visit.name(1) == "clock dial" and visit.page.locator("#edits li").count() == 0


@pytest.mark.parametrize("kept", ["nonsense", "[]", "null", '{"1": {"name": 5}}', '{"99": {"name": "x", "synonyms": [], "function": ""}}', '{"1": {"name": " ", "synonyms": [], "function": ""}}'])
def test_what_is_no_edit_in_the_browsers_drawer_is_passed_over(visit, kept):
    visit.page.evaluate("kept => localStorage.setItem('semquery-report tree', kept)", kept)
    visit.page.reload()
    assert visit.seen() == [4, 3, 0, 1, 2] and visit.name(1) == "timer knob"


def test_downloaded_edits_name_the_parts_of_the_run(visit, tmp_path):
    visit.edit(1, "clock dial", "timer\negg timer", "turn it to set the time")
    visit.edit(2, "</script> “quoted” 钮\u2028", function="tells the maker")
    with visit.page.expect_download() as download:
        visit.page.click("#download")
    assert download.value.suggested_filename == "edits.json"
    download.value.save_as(tmp_path / "edits.json")
    assert json.loads((tmp_path / "edits.json").read_text()) == {"format": 1, "edits": {
        "1": {"name": "clock dial", "synonyms": ["timer", "egg timer"], "function": "turn it to set the time"},
        "2": {"name": "</script> “quoted” 钮", "synonyms": [], "function": "tells the maker"}}}
    from semquery.stages import label_by_hand

    run = small_run(tmp_path / "run")
    assert label_by_hand(run, tmp_path / "edits.json") == 2
    assert (run.labels()[1].name, run.labels()[1].synonyms, run.labels()[1].source) == ("clock dial", ("timer", "egg timer"), "user")


def test_hostile_text_is_shown_as_text_and_no_script_of_it_runs(visit):
    labels = {p: NodeLabel(p, ATTACK, (ATTACK,), ATTACK, ((ATTACK, 0.5),), ATTACK, 0.5, "vlm") for p in range(4)}
    visit.open(labels | {3: NodeLabel(3, ATTACK, source="vlm", status="failed", reason=ATTACK, raw=ATTACK)})
    visit.page.fill("#words", "window.broken onerror")
    visit.edit(1, ATTACK + "!", ATTACK)
    visit.part(0, ".row .name").click()
    visit.part(0, ".row .thumb").click()
    assert visit.page.locator("#viewer bdi").inner_text() == visit.name(0) == ATTACK and visit.name(1) == ATTACK + "!"
    visit.page.reload()
    assert visit.page.evaluate("window.broken") is None and not visit.page.locator("img[src=x]").count()


def test_the_policy_stops_a_script_that_did_get_in(browser, tmp_path):
    visit = Visit(browser, tmp_path)
    visit.open()
    visit.page.evaluate("""() => {
        const script = document.createElement("script"), image = document.createElement("img");
        script.textContent = "window.broken = 1";
        image.setAttribute("onerror", "window.broken = 1");
        image.src = "https://example.org/x.png";
        document.body.append(script, image);
    }""")
    visit.page.wait_for_timeout(200)
    assert visit.page.evaluate("window.broken") is None
    assert len([told for told in visit.told if "Content Security Policy" in told]) >= 2
    visit.context.close()


def test_names_of_any_length_and_direction_leave_the_page_in_shape(visit):
    labels = LABELS | {1: NodeLabel(1, "x" * 10_000, ("y" * 3000,), "z" * 3000), 0: NodeLabel(0, "\u202eknob \u2067dial", function="to turn")}
    visit.page.set_viewport_size({"width": 390, "height": 800})
    visit.open(labels)
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert visit.part(1).bounding_box()["height"] < 300  # cut off after two lines until it is opened
    assert visit.part(0, ".row .function").inner_text() == "to turn"
    visit.part(1, ".row .name").click()
    assert visit.part(1).bounding_box()["height"] > 1000
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("width", [390, 820, 1360])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_the_paper_at_any_width_in_light_and_dark(browser, tmp_path, width, scheme):
    visit = Visit(browser, tmp_path, color_scheme=scheme, viewport={"width": width, "height": 800})
    page = visit.open()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    shades = page.evaluate("""() => {
        const shade = (text) => { const [r, g, b] = text.match(/\\d+/g).map((c) => { c /= 255; return c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4; });
                                  return .2126 * r + .7152 * g + .0722 * b; };
        const paper = shade(getComputedStyle(document.body).backgroundColor);
        return ["h1", "#about", ".name", ".function", ".synonyms", ".badge", ".value", "#count"].map((selector) => {
            const element = document.querySelector(selector), style = getComputedStyle(element);
            const behind = style.backgroundColor === "rgba(0, 0, 0, 0)" ? paper : shade(style.backgroundColor), front = shade(style.color);
            return [selector, (Math.max(front, behind) + .05) / (Math.min(front, behind) + .05)];
        });
    }""")
    visit.context.close()
    assert visit.told == [] and not [(name, ratio) for name, ratio in shades if ratio < 4.5]  # WCAG AA


def test_on_paper_everything_is_unfolded_and_nothing_asks_to_be_pressed(visit):
    visit.part(3, ".row .fold").click()
    visit.page.emulate_media(media="print")
    assert visit.seen() == [4, 3, 0, 1, 2] and visit.part(2, ".more .facts").is_visible()
    assert not visit.page.locator("aside:visible, .edit:visible, .fold:visible").count()
