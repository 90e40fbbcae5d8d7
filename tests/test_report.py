"""The report page as a file: what is in it, what can never get out of its place, and how large it becomes."""

import base64
import hashlib
import io
import json
import shlex
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from helpers import part_tree, random_parts, small_labels, small_parts, small_run
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from semquery.export import part_colors
from semquery.report import Heading, ReportConfig, data_url, embedded, json_in_html, label_record, part_records, reading_order, report_page
from semquery.stages.report import report, shown_pictures
from semquery.store import RunError
from semquery.types import NodeLabel
from semquery.vlm import Answer

HOSTILE = (
    "</script><script>window.broken = 1</script>", "<img src=x onerror='window.broken = 1'>", "<!--<script>", "]]>\"'`&amp;\\u003c{{facts}}",
    "line\u2028paragraph\u2029end", "\u202eright to left\u202c \u200f\u2067", "half a character \ud800", "\x00\x1b[31m", "x" * 10_000, "javascript:window.broken=1",
)


VIEWER = "http://127.0.0.1:7007"  # where `semquery view` is


class Reader(HTMLParser):
    """Tags with their attributes, and the text inside script and style, as a browser cuts the page up."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags, self.inside, self.within = [], [], ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.within = tag
        if tag in ("script", "style", "title"):
            self.inside.append([tag, ""])

    def handle_endtag(self, tag):
        self.within = ""

    def handle_data(self, data):
        if self.within in ("script", "style", "title"):
            self.inside[-1][1] += data

    def texts(self, tag: str) -> list[str]:
        return [text for name, text in self.inside if name == tag]

    def facts(self) -> dict:
        return json.loads(self.texts("script")[0])

    def policy(self) -> dict[str, str]:
        text = next(a["content"] for tag, a in self.tags if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy")
        return dict(rule.strip().split(" ", 1) for rule in text.split(";"))


def page_of(labels, title="run", **more) -> Reader:
    return Reader(report_page(Heading(title, "tree"), small_parts(), labels, {}, **more))


def png(side: int = 40, seed: int = 0) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (side, side, 3)).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def opened(url: str) -> Image.Image:
    head, body = url.split(",")
    assert head == "data:image/webp;base64"
    return Image.open(io.BytesIO(base64.b64decode(body)))


# ------------------------------------------------------------------ one file, and nothing from outside


def test_the_page_asks_for_nothing_from_outside():
    page = page_of(small_labels(), levels=png())
    links = [a[name] for _, a in page.tags for name in ("src", "href", "action", "poster", "data") if name in a]
    assert links and all(link.startswith(("data:", "#")) for link in links if link != VIEWER)
    assert [(tag, a["rel"]) for tag, a in page.tags if VIEWER in a.values()] == [("a", "noopener noreferrer")]  # to click on, no more
    assert "http" not in " ".join(page.texts("style") + page.texts("script")[1:]) and "url(" not in page.texts("style")[0]
    assert page.policy() == page.policy() | {"default-src": "'none'", "img-src": "data:", "base-uri": "'none'", "form-action": "'none'"}


def test_only_the_pages_own_script_and_style_may_run():
    page = page_of(small_labels())
    kinds = [a.get("type", "") for tag, a in page.tags if tag == "script"]
    assert kinds == ["application/json", ""] and len(page.texts("style")) == 1
    for rule, text in (("script-src", page.texts("script")[1]), ("style-src", page.texts("style")[0])):
        assert page.policy()[rule] == f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
    assert not [name for _, a in page.tags for name in a if name.startswith("on") or name == "style"]


def test_the_scripts_never_turn_text_into_markup():
    script = page_of(small_labels()).texts("script")[1]
    assert not [word for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "DOMParser") if word in script]


@pytest.mark.parametrize("text", HOSTILE, ids=[ascii(t)[:24] for t in HOSTILE])
def test_no_text_can_leave_its_place(text):
    label = NodeLabel(0, text, (text,), text, ((text, 0.5),), text, 0.5, "vlm", raw=text, status="failed", reason=text)
    page, calm = page_of({0: label}, title=text), page_of({0: NodeLabel(0, "knob")})
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in calm.tags]
    assert page.texts("script")[1] == calm.texts("script")[1] and page.texts("style") == calm.texts("style")
    told = next(part for part in page.facts()["parts"] if part["part"] == 0)
    assert (told["name"], told["synonyms"], told["function"], told["alternatives"], told["thinking"]) == (text, [text], text, [[text, 0.5]], text)
    assert page.facts()["run"]["title"] == text and told["raw"] == text[:4000]


@settings(max_examples=60, deadline=None)
@given(st.recursive(st.text() | st.integers() | st.booleans(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8))
def test_json_in_a_page_is_the_same_json_without_a_letter_that_means_something_there(record):
    text = json_in_html(record)
    assert json.loads(text) == record and text.isascii() and not set(text) & set("<>&")


# ------------------------------------------------------------------ what is told


def test_parts_come_after_their_parents_and_larger_ones_first():
    assert reading_order(small_parts()) == [4, 3, 2, 0, 1]
    for seed in range(20):
        parts = random_parts(np.random.default_rng(seed), 12, 60)
        order = reading_order(parts)
        assert sorted(order) == list(range(12))
        for k, part in enumerate(order[1:], 1):
            assert int(parts.parents[part]) in order[:k]
            beside = [s for s in order[:k] if parts.parents[s] == parts.parents[part] and s != parts.root]
            assert all(parts.num_points[s] >= parts.num_points[part] for s in beside)


def test_a_part_is_told_with_its_place_its_size_and_its_colour():
    records = {r["part"]: r for r in part_records(small_parts(), small_labels(), {0: ["data:x"]}, {0: "data:y"})}
    assert records[4]["parent"] is None and [records[p]["parent"] for p in range(4)] == [3, 3, 4, 4]
    assert [records[p]["points"] for p in range(5)] == [4, 3, 4, 8, 12] and [records[p]["depth"] for p in range(5)] == [2, 2, 1, 1, 0]
    assert [records[p]["color"] for p in range(5)] == ["#" + bytes(c.tolist()).hex() for c in part_colors(5)]
    assert records[0]["pictures"] == ["data:x"] and (records[0]["thumb"], records[1]["thumb"]) == ("data:y", "") and records[1]["pictures"] == [] and records[1]["name"] == "right knob"


def test_a_part_without_a_label_waits_for_one():
    waiting = label_record(None)
    assert waiting["status"] == "waiting" and waiting["name"] == "" and "part" not in waiting
    assert set(waiting) == set(label_record(NodeLabel(0, "knob")))


def test_only_an_answer_that_could_not_be_read_is_shown_as_it_came():
    named = NodeLabel(0, "knob", raw="{long}", source="vlm")
    assert label_record(named)["raw"] == ""
    assert label_record(replace(named, status="failed", raw="x" * 9000))["raw"] == "x" * 4000


def test_a_confidence_that_is_no_number_becomes_zero():
    label = NodeLabel(0, "knob", alternatives=(("dial", float("inf")),), confidence=float("nan"))
    told = next(r for r in page_of({0: label}).facts()["parts"] if r["part"] == 0)
    assert told["confidence"] == 0 and told["alternatives"] == [["dial", 0]]


# ------------------------------------------------------------------ pictures, and the size of the page


def test_a_picture_keeps_its_proportions_and_is_never_enlarged():
    wide = io.BytesIO()
    Image.new("RGB", (60, 30), (200, 40, 35)).save(wide, "PNG")
    assert opened(data_url(wide.getvalue(), 20)).size == (20, 10) and opened(data_url(wide.getvalue(), 500)).size == (60, 30)
    shown = np.asarray(opened(data_url(wide.getvalue(), 500)).convert("RGB")).astype(int)
    assert np.abs(shown - (200, 40, 35)).max() < 12


def test_pictures_become_smaller_until_all_of_them_fit():
    pictures, order = {p: [png(200, p), png(200, p + 50)] for p in range(5)}, [4, 3, 2, 1, 0]
    roomy = embedded(pictures, order, ReportConfig(side=200))
    assert all(opened(url).size == (200, 200) for urls in roomy.values() for url in urls)
    whole = sum(len(url) for urls in roomy.values() for url in urls)
    tight = embedded(pictures, order, ReportConfig(side=200, megabytes=0.4 * whole / 1e6))
    assert {p: len(urls) for p, urls in tight.items()} == dict.fromkeys(range(5), 2)
    assert sum(len(url) for urls in tight.values() for url in urls) <= 0.4 * whole
    sides = {opened(url).size for urls in tight.values() for url in urls}
    assert len(sides) == 1 and sides.pop()[0] in (150, 100, 72)


def test_where_nothing_is_small_enough_the_first_pictures_in_order_are_kept():
    pictures = {p: [png(200, p)] for p in range(5)}
    one = len(data_url(pictures[4][0], 36))
    assert list(embedded(pictures, [4, 3, 2, 1, 0], ReportConfig(side=200, megabytes=2.5 * one / 1e6))) == [4, 3]
    assert embedded(pictures, range(5), ReportConfig(megabytes=1e-6)) == {}


@pytest.mark.parametrize(("name", "wrong", "told"), [
    ("side", 4, "The report's side is 4; expected"), ("unsure", 1.5, "The report's unsure is 1.5; expected"),
    ("unsure", float("nan"), "The report's unsure is nan; expected"), ("megabytes", 0.0, "The report's megabytes are 0; expected")])
def test_settings_that_make_no_page_are_refused(name, wrong, told):
    with pytest.raises(ValueError, match=told):
        ReportConfig(**{name: wrong})


def test_the_page_of_a_thousand_parts_stays_within_its_room():
    parts = part_tree([1000] * 1001, np.arange(1001))
    picture = png(24)
    page = report_page(Heading("run", "tree"), parts, {}, {p: [picture] for p in range(1001)}, config=ReportConfig(megabytes=0.3))
    assert len(page) < 0.3e6 + 1001 * (400 + len(data_url(picture, 104))) + 60_000


# ------------------------------------------------------------------ the stage


def labelled_run(path):
    run = small_run(path)
    for label in small_labels().values():
        run.append_label(replace(label, source="vlm", calls=1), f"key {label.part}")
    run.append_answer("key 0", Answer("{}", prompt_tokens=700, cached_tokens=500, answer_tokens=90), "a model", seconds=2.0)
    run.append_answer("key 1", Answer("{}", prompt_tokens=300, cached_tokens=0, answer_tokens=10), "a model", seconds=1.0)
    return run


def test_the_report_of_a_run_is_one_page_with_its_names_pictures_and_costs(tmp_path):
    run = labelled_run(tmp_path / "kitchen" / "first")
    for k in (0, 2, 10):
        run.write_bytes(f"views/3/{k}.png", png(20 + k))
    path = report(run)
    assert path == run / "report.html"
    facts = Reader(path.read_text()).facts()
    assert {p["part"]: p["name"] for p in facts["parts"]} == {p: label.name for p, label in small_labels().items()}
    panel = next(p for p in facts["parts"] if p["part"] == 3)
    assert [opened(url).size[0] for url in panel["pictures"]] == [20, 22, 30]  # 10.png is the last, not the second
    assert opened(panel["thumb"]).size == (30, 30)
    assert opened(facts["levels"]).size[0] > 900
    told = facts["run"]
    assert (told["title"], told["calls"], told["prompt_tokens"], told["cached_tokens"], told["answer_tokens"]) == ("kitchen/first", 2, 1000, 500, 100)


def test_the_page_says_who_was_asked_and_when(tmp_path):
    run = labelled_run(tmp_path / "run")
    run.begin("label", {"vlm": {"class": "OpenAiServer", "identity": "big-model at 0.0"}})
    run.done("label", 5.0)
    told = Reader(report(run).read_text()).facts()["run"]
    assert told["model"] == "big-model at 0.0" and told["made"] == run.stage("label")["time"]


def test_the_page_tells_the_command_that_shows_the_run_in_3d(tmp_path):
    run = small_run(tmp_path / "it's a run")
    run.append_label(NodeLabel(0, "knob"), "")
    command = Reader(report(run).read_text()).facts()["run"]["view"]
    assert shlex.split(command) == ["semquery", "view", str(run.path)]


def test_edits_belong_to_one_part_tree(tmp_path):
    run = labelled_run(tmp_path / "run")
    identity = lambda: Reader(report(run).read_text()).facts()["run"]["identity"]  # noqa: E731
    before = identity()
    run.append_label(NodeLabel(0, "dial"), "")
    assert identity() == before  # other names, same parts
    run.write_tree(run.merge_tree(), np.array([[0, 1]]), np.array([0.5]), part_tree([4, 3, 4, 4, 4], small_parts().part_of_point))
    assert identity() != before


def test_an_interrupted_naming_is_reported_as_far_as_it_came(tmp_path):
    run = small_run(tmp_path / "run")
    run.append_label(NodeLabel(4, "scene", source="vlm"), "key")
    told = {p["part"]: p["status"] for p in Reader(report(run, out=tmp_path / "elsewhere.html").read_text()).facts()["parts"]}
    assert told == {4: "named", 0: "waiting", 1: "waiting", 2: "waiting", 3: "waiting"} and not (run / "report.html").exists()


def test_a_run_without_names_is_told_to_make_some(tmp_path):
    run = small_run(tmp_path / "run")
    with pytest.raises(RunError, match="has no labels.jsonl yet. Make it with: semquery label"):
        report(run)


def test_only_numbered_pictures_are_those_the_model_saw(tmp_path):
    run = small_run(tmp_path / "run")
    for name in ("1.png", "0.png", "old.png", ".7.0.png"):
        run.write_bytes(f"views/2/{name}", name.encode())
    assert shown_pictures(run, 2) == [b"0.png", b"1.png"] and shown_pictures(run, 0) == []


def test_what_the_page_hands_over_is_read_as_names_by_hand():
    from semquery.labelling import labels_by_hand

    record = {"format": 1, "edits": {"0": {"name": "dial", "synonyms": ["knob", "control"], "function": "sets the power"}}}
    assert labels_by_hand(record, small_parts()) == [NodeLabel(0, "dial", ("knob", "control"), "sets the power", source="user")]
