"""The page and its figures: the numbers are those of results.json, text stays text, labels stay apart, pictures show what was found."""

import io
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from partnet_written import METHODS, NAMES, record_of, written
from PIL import Image

from eval.metrics.retrieval import THRESHOLDS, iou_curves
from eval.partnet.page import figures, gallery
from eval.partnet.page.cards import best_threshold, ranked, retrieved_share, tree_text
from eval.partnet.page.cards import gallery as gallery_cards
from eval.partnet.page.markup import folded, nested, number, table, text, with_interval
from eval.partnet.page.predicted import predicted
from eval.partnet.page.report import floors_of, heading, measured, write_report
from eval.partnet.page.results import curve, read_results, span
from eval.partnet.page.tables import MOST_GROUPS, bins_of, breakdowns, floor_peak, largest, share_right
from eval.partnet.work.kept import folder_of

ATTACK = "</pre></script><script>window.broken = 1</script><img src=x onerror='window.broken = 1'>{{body}}\u202e"
VOID = {"meta", "link", "img"}


class Page(HTMLParser):
    """Tags, attributes and text of a page; every element must be closed where it was opened."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.words, self.rows, self.open = [], [], [], []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)
        if {"th", "td"} & set(self.open):
            self.rows[-1][-1] += data

    @property
    def text(self):
        return "".join(self.words)


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluation")
    results = written(out, broken=[{"id": "4711", "reason": "result.json is cut short"}])
    return out, results, Page(write_report(out).read_text(encoding="utf-8"))


# ------------------------------------------------------------------ the page


def test_the_page_is_one_file_without_scripts_that_asks_nothing_of_anybody(evaluation):
    _, _, page = evaluation
    assert "script" not in {tag for tag, _ in page.tags}
    assert all(attrs["src"].startswith("data:image/") and attrs["alt"] for tag, attrs in page.tags if tag == "img")
    given = [(key, value) for _, attrs in page.tags for key, value in attrs.items()]
    assert not [value for key, value in given if key in ("href", "srcset", "action", "style") and value != "data:,"]
    assert not [key for key, _ in given if key.startswith("on")]
    (policy,) = [attrs["content"] for _, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ") and "unsafe" not in policy


def test_the_headline_says_what_the_results_say(evaluation):
    _, results, page = evaluation
    rows = {row[0]: row[1:] for row in page.rows[1 : len(METHODS) + 3]}
    assert list(rows)[: len(METHODS)] == list(METHODS)
    for method in METHODS:
        paper = results["scores"][method]["paper"]
        fixed = paper["iou"]["fixed"]
        assert rows[method][0] == f"{paper['iou']['peak']:.3f} {fixed['low']:.3f}…{fixed['high']:.3f} at {paper['iou']['at']:.2f}"
        assert rows[method][1].startswith(f"{paper['f1']['peak']:.3f} ")
        assert rows[method][2].startswith(f"{paper['average_precision']['value']:.3f}")
        assert rows[method][3].startswith(f"{results['naming'][method]['top1']['value']:.3f}")
        assert rows[method][5].startswith(f"{results['absent'][method]['auroc']['value']:.3f}")
    assert rows["oracle"][0].startswith("1.000") and rows["oracle"][1].startswith("1.000")
    assert rows["retrieve-all closed form"][0] == rows["retrieve-all"][0].split()[0]


def test_every_section_is_there(evaluation):
    _, results, page = evaluation
    titles = ["Results", "Over the threshold", "Optima", "Names", "Names that are not there", "Where it goes well", "Calibration",
              "Against each other", "Variants", "Cost", "Gallery", "Broken objects", "Sample", "How it was made"]
    assert [word for word in page.words if word in titles] == titles
    assert "result.json is cut short" in page.text and "4711" in page.text
    assert all(drawn["sha256"] in page.text for drawn in results["sample"]["objects"]) and "ab" * 32 in page.text
    assert "Predicted trees" not in page.text


def test_variants_and_costs_are_those_of_the_results(evaluation):
    _, results, page = evaluation
    head = next(k for k, row in enumerate(page.rows) if row[1:] == results["variants"])
    assert page.rows[head + 1] == ["cot", *(f"{results['scores']['cot'][v]['iou']['peak']:.3f}" for v in results["variants"])]
    cost = next(row for row in page.rows if row[0] == "cot" and len(row) == 7 and row[1] == "0")
    assert cost[1:6] == ["0"] * 5


def test_names_from_elsewhere_stay_text(tmp_path):
    record = record_of("scissors", ("cot",))
    names = tuple(ATTACK if name == "blade" else name for name in record.names)
    asked = tuple(replace(asked, texts=tuple(t.replace("blade", ATTACK) for t in asked.texts)) for asked in record.asked)
    said = replace(record.said["cot"], names=(ATTACK,) * len(names))
    record = replace(record, names=names, asked=asked, category=ATTACK, notes=(ATTACK,), said={"cot": said})
    written(tmp_path, [record], broken=[{"id": ATTACK, "reason": ATTACK}], config={"data": ATTACK, ATTACK: [ATTACK, {"a": ATTACK}]})
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    assert "script" not in {tag for tag, _ in page.tags} and not any("onerror" in attrs for _, attrs in page.tags)
    assert page.text.count(ATTACK) > 10


def test_halves_of_characters_can_be_written():
    assert text("a\ud800b") == "a?b"


def test_one_object_without_pictures_names_or_absent_names_makes_a_page(tmp_path):
    record = record_of("lamp", ("clip-crop",), overview=b"", atom_of_pixel=np.zeros((0, 0), np.int32))
    asked = tuple(replace(a, texts=(), positive=a.positive[:, :0]) if a.kind == "absent" else a for a in record.asked)
    relevancy = {**record.said["clip-crop"].relevancy, "absent": np.zeros((len(record.names), 0), np.float32)}
    written(tmp_path, [replace(record, asked=asked, said={"clip-crop": replace(record.said["clip-crop"], relevancy=relevancy)})])
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    head = next(row for row in page.rows if row[0] == "clip-crop")
    assert re.fullmatch(r"0\.\d{3} at 0\.\d\d", head[1]) and head[6] == "–"  # one object has no interval
    assert {attrs["src"][:18] for tag, attrs in page.tags if tag == "img"} == {"data:image/svg+xml"}


def test_a_record_that_is_gone_is_a_sentence_in_its_card(tmp_path):
    written(tmp_path, [record_of(name, ("cot",)) for name in NAMES])
    (folder_of(tmp_path) / "lamp.json").unlink()
    cards = gallery_cards(tmp_path, read_results(tmp_path))
    assert "holds no record of &#x27;lamp&#x27;" in cards and cards.count('<article class="card">') == 3


def predicted_rows(means, *curves):
    objects = {str(k): {"miou": values} for k, values in enumerate(curves)}
    found = {"kind": "regions", "objects": objects, "means": means}
    results = {"predicted": found, "thresholds": [0.0, 0.5, 1.0], "config": {"bootstrap": 50}}
    return {row[0]: row[1:] for row in Page(predicted(results)).rows}


def test_predicted_trees_are_told_in_words_and_counts_in_whole_numbers():
    one = {"label_aware_miou": {"value": 0.25, "low": 0.125, "high": 0.5}, "points": {"value": 20326.4, "low": 13271.0, "high": None},
           "nodes": {"value": 25.2, "low": 9.0, "high": 41.0}, "new_number": {"value": 0.75, "low": None, "high": None}}
    rows = predicted_rows(one)
    assert list(rows) == ["number", "points", "found nodes", "label-aware mIoU", "new number"]
    assert all(rows[key][1] for key in list(rows)[:-1])  # what is known is explained
    assert rows["label-aware mIoU"][0] == "0.250 0.125…0.500" and rows["points"][0] == "20,326" and rows["found nodes"][0] == "25 9…41"
    assert predicted({"predicted": None}) == ""


def test_the_peak_of_predicted_trees_is_that_of_the_mean_curve_or_is_left_out():
    means = {"peak_miou": {"value": 0.75, "low": 0.5, "high": 1.0}, "peak_threshold": {"value": 0.25, "low": 0.0, "high": 0.5}}
    rows = predicted_rows(means, [0.25, 1.0, 0.0], [0.5, 0.25, 0.0], [None, None, None])
    assert list(rows) == ["number", "mIoU"] and rows["mIoU"][0] == "0.625 0.250…1.000 at 0.50"  # each object's own would make 0.75
    assert predicted_rows(means) == {} == predicted_rows(means, [None, None, None])


def test_one_object_is_not_objects(evaluation):
    _, results, page = evaluation
    one = heading({**results, "objects": results["objects"][:1], "methods": ["cot"]})
    assert all(f"<dt>{word}</dt><dd>1</dd>" in one for word in ("object", "category", "method")) and "<dt>nodes</dt>" in one
    assert "Drawn: 3 objects" in page.text


def test_tables_of_many_columns_put_intervals_below_their_numbers_and_prose_may_break():
    cells = [text("x")] * 12
    assert 'class="dense"' in table(["a"] * 12, [cells]) and 'class=""' in table(["a"] * 5, [cells[:5]])
    assert 'class="prose"' in table(["a"] * 2, [cells[:2]], prose=True)


def test_intervals_of_the_headline_and_of_the_optima_say_at_which_threshold(evaluation):
    _, results, page = evaluation
    assert "95 % intervals over objects, at that t*" in page.text
    head = next(k for k, row in enumerate(page.rows) if row[1:4] == ["best t*", "95 % at t*", "95 % with t* sought anew"])
    entry = results["scores"]["cot"]["paper"]["iou"]
    told = [f"{entry[way]['value']:.3f} {entry[way]['low']:.3f}…{entry[way]['high']:.3f}" for way in ("fixed", "remaximised")]
    assert page.rows[head + 1][:4] == ["cot", f"{entry['at']:.2f}", *told]


def test_without_results_the_report_says_what_to_run(tmp_path):
    with pytest.raises(ValueError, match="There is no .*results.json"):
        write_report(tmp_path)


@pytest.mark.parametrize("value, shown", [(0.5, "0.500"), (-0.25, "−0.250"), (-0.0001, "0.000"), (math.nan, "–"), (math.inf, "–")])
def test_numbers_are_short_and_have_a_real_minus(value, shown):
    assert number(value) == shown


def test_intervals_stand_behind_their_number_and_nothing_behind_one_without():
    assert with_interval((0.5, 0.25, 0.75)) == "0.500 <small>0.250…0.750</small>"
    assert with_interval((0.5, math.nan, math.nan)) == "0.500" and span(None)[0] != span(None)[0]


def test_settings_of_any_depth_are_lists():
    assert nested({"a": {"b": [1, 2]}, "c": None}) == "<ul><li><b>a</b> <ul><li><b>b</b> 1, 2</li></ul></li><li><b>c</b> –</li></ul>"
    assert nested([{"id": "<x>"}]) == "<ul><li><ul><li><b>id</b> &lt;x&gt;</li></ul></li></ul>" and nested({}) == "–"


# ------------------------------------------------------------------ figures


def test_both_figures_are_files(evaluation):
    for file in ("miou.png", "f1.png"):
        with Image.open(evaluation[0] / file) as image:
            assert image.size == (1344, 864)


def test_floors_are_drawn_in_both_figures_from_their_closed_forms(evaluation):
    _, results, _ = evaluation
    for score in ("iou", "f1"):
        floors = floors_of(results, score)
        figure = figures.curves_figure(curve(results["thresholds"]), measured(results, score), score, floors)
        drawn = [line.get_ydata() for line in figure.axes[0].lines if len(line.get_ydata()) == 101]
        for floor in floors:
            assert any(np.array_equal(line, results["floors"]["paper"][floor.name][score]) for line in drawn)
        assert [f.name for f in floors] == ["retrieve-all", "random"] and floors[0].values[0] == floors[0].values[100]
        assert len(drawn) == 5  # cot, clip-crop, oracle; the methods of chance give way to the closed forms


def test_a_ring_marks_the_first_of_the_highest_values():
    values = np.zeros(101)
    values[[30, 60]] = 0.5
    axes = figures.curves_figure(THRESHOLDS, [figures.Curve("cot", values)], "mIoU").axes[0]
    (ring,) = [line for line in axes.lines if line.get_marker() == "o"]
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (0.3, 0.5) and axes.texts[0].get_text() == "cot 0.50 at 0.30"


@settings(max_examples=8)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.02, 0.9)), min_size=1, max_size=9))
def test_labels_lie_inside_the_axes_and_on_no_other_label(hills):
    names = list(figures.STYLES)
    curves = [figures.Curve(names[k], top * np.exp(-((THRESHOLDS - at) ** 2) / 0.02)) for k, (at, top) in enumerate(hills)]
    figure = figures.curves_figure(THRESHOLDS, curves, "mIoU")
    boxes = [label.get_window_extent() for label in figure.axes[0].texts]
    frame = figure.axes[0].bbox
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1 for box in boxes)
    assert not any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[:k])


def test_ink_under_a_label_is_counted_as_one_by_one():
    draw = np.random.default_rng(0)
    ink, centres = draw.integers(0, 100, (400, 2)) * 2.0 + 1, draw.integers(15, 90, (20, 2)) * 2.0  # ink inside cells, boxes along them
    counted = figures._covered(ink, centres, (24.0, 12.0))
    assert counted.tolist() == [(np.abs(ink - centre) < (12, 6)).all(1).sum() for centre in centres] and counted.max() > 3


def test_points_along_a_steep_line_are_close_together():
    line = np.array([(0.0, 0.0), (1.0, 100.0), (50.0, 100.0)])
    along = figures._dense(line)
    assert np.abs(np.diff(along, axis=0)).max() <= 3 and np.array_equal(along[[0, -1]], line[[0, -1]])
    assert (along == (1.0, 100.0)).all(1).any()


def test_a_figure_is_the_same_bytes_every_time():
    def drawn():
        return figures.saved(figures.values_figure({"cot": (0.1, 0.0, 0.2), "flat": (0.3, math.nan, math.nan)}, "gain", "as cot"))

    assert drawn() == drawn() and "<svg" in drawn()


def test_groups_have_their_floor_and_a_dot_for_every_method():
    rows = {"cot": [(0.5, 0.4, 0.6), (math.nan,) * 3], "flat": [(0.25, math.nan, math.nan), (0.75, 0.7, 0.8)]}
    axes = figures.groups_figure(["small (3)", "large (1)"], rows, "mIoU", [0.125, 0.375]).axes[0]
    floor = [list(line.get_ydata()) for line in axes.lines if line.get_linestyle() == "--"]
    assert floor == [[0.125, 0.125], [0.375, 0.375]] and [t.get_text() for t in axes.get_xticklabels()] == ["small\n(3)", "large\n(1)"]
    dots = [list(container.lines[0].get_ydata()) for container in axes.containers]
    np.testing.assert_equal(dots, [[0.5, math.nan], [0.25, 0.75]])


def test_calibration_leaves_out_empty_bins_and_knows_the_share_that_is_right():
    bins = [{"count": 3, "said": 0.25, "came": 0.0}, {"count": 1, "said": 0.9, "came": 1.0}, {"count": 0, "said": None, "came": None}]
    assert bins_of({"bins": bins}) == [(0.25, 0.0, 3.0), (0.9, 1.0, 1.0)] and share_right(bins_of({"bins": bins})) == 0.25


def test_what_is_drawn_for_retrieving_everything_is_its_share_of_right_pairs(evaluation):
    _, results, _ = evaluation
    shares = {share_right(bins_of(results["calibration"][method]["relevancy"])) for method in METHODS}
    assert max(shares) - min(shares) < 1e-5
    f1 = floor_peak(results, "paper", "retrieve-all", "f1")
    assert min(shares) == pytest.approx(f1 / (2 - f1), abs=1e-5)  # F1 of everything is 2s / (1 + s)


def test_a_chart_shows_the_largest_groups_and_the_table_all():
    rows = {str(k): {"key": str(k), "queries": (k * 7) % 30, "objects": 1, "iou": 0.5, "nodes": 3, "top1": 0.5} for k in range(30)}
    assert largest(list(rows), rows) == [str(k) for k in range(30) if (k * 7) % 30 >= 30 - MOST_GROUPS]
    assert largest(["b", "a"], {"a": {"queries": 1}, "b": {"queries": 2}}) == ["b", "a"]
    page = Page(breakdowns({"methods": ["cot"], "breakdowns": {"cot": {"category": list(rows.values())}}}))
    assert len([row for row in page.rows if row[0] in rows]) == 2 * 30 and f"the {MOST_GROUPS} with most queries" in page.text


# ------------------------------------------------------------------ the gallery


@pytest.mark.parametrize("threshold", [0.0, 0.4, 0.8])
def test_answers_are_the_unions_of_what_is_above_the_threshold(threshold):
    record = record_of("lamp")
    asked, relevancy = gallery.of_kind(record, "clip-crop")
    for answer in (found := gallery.answers(record, "clip-crop", threshold)):
        k = asked.texts.index(answer.query)
        inside = {a for v in range(len(record.parents)) if float(relevancy[v, k]) > threshold for a in np.flatnonzero(record.holds[v])}
        meant = {a for v in range(len(record.parents)) if record.names[v] == answer.query for a in np.flatnonzero(record.holds[v])}
        assert set(np.flatnonzero(answer.found)) == inside and set(np.flatnonzero(answer.wanted)) == meant
        assert answer.iou == pytest.approx(sum(record.area[list(inside & meant)]) / sum(record.area[list(inside | meant)]))
    assert [a.iou for a in found] == sorted((a.iou for a in found), reverse=True) and len(found) == len(asked.texts)


def test_parts_without_weight_are_no_answers_and_points_need_a_sample():
    record = record_of("scissors")
    screws = record.holds[[name == "screw" for name in record.names]].any(0)
    names = {answer.query for answer in gallery.answers(replace(record, area=np.where(screws, 0.0, record.area)), "oracle", 0.5)}
    assert "screw" in record.names and "screw" not in names and record.names[-1] in names
    with pytest.raises(ValueError, match="scissors holds no sample of points"):
        gallery.answers(record, "oracle", 0.5, "points")
    points = np.arange(len(record.area)) + 1
    assert {a.iou for a in gallery.answers(replace(record, points=points), "oracle", 0.5, "points")} == {1.0}


def test_what_a_record_does_not_hold_is_said():
    with pytest.raises(ValueError, match="scissors holds no name queries of hybrid"):
        gallery.answers(record_of("scissors"), "hybrid", 0.5)


@given(st.integers(0, 12), st.integers(0, 5))
def test_the_best_and_the_worst_are_never_the_same(number, count):
    found = [gallery.Answer(str(k), 1 - k / 12, np.zeros(1, bool), np.zeros(1, bool)) for k in range(number)]
    best, worst = gallery.extremes(found, count)
    assert not {a.query for a in best} & {a.query for a in worst} and len(best) + len(worst) == min(number, 2 * count)
    assert best == found[: len(best)] and worst == found[::-1][: len(worst)]


def test_the_overlay_tints_what_was_found_and_outlines_what_was_meant_outside_of_it():
    record = record_of("scissors")
    num_atoms = record.holds.shape[1]
    wanted, found, other = (np.arange(num_atoms) == k for k in (1, 3, 4))
    with Image.open(io.BytesIO(gallery.overlay(record, wanted, found))) as image:
        shown = np.asarray(image.convert("RGB")).astype(int)
    assert shown.shape[:2] == record.atom_of_pixel.shape
    inner = slice(8, 24)  # away from the picture's compression at the stripes' ends
    colourful = shown[inner][..., 0] - shown[inner][..., 2]
    tinted, plain = (colourful[some[record.atom_of_pixel[inner]]].mean() for some in (found, other))
    assert tinted > 90 and abs(plain) < 40
    stripe = np.flatnonzero(record.atom_of_pixel[10] == 1)
    assert shown[8:24, [stripe[0] - 1, stripe[-1] + 1]].mean() < shown[8:24, stripe].mean() - 40


def test_an_outline_is_seen_on_what_is_tinted_too():
    record = record_of("scissors")
    shown = np.zeros((64, 64), np.int32)
    shown[24:40, 24:40] = 1
    num_atoms = record.holds.shape[1]
    file = io.BytesIO()
    Image.new("L", (64, 64), 128).save(file, "PNG")
    record = replace(record, overview=file.getvalue(), atom_of_pixel=shown)
    picture = gallery.overlay(record, np.arange(num_atoms) == 1, np.ones(num_atoms, bool))
    with Image.open(io.BytesIO(picture)) as image:
        blue, red = (np.asarray(image.convert("RGB")).astype(int)[32, :, c] for c in (2, 0))
    assert red[22:24].max() < 90 < 160 < red[32]  # a dark line of two pixels just outside of the part
    assert blue[21] > blue[16] + 60 and blue[21] > blue[32] + 60  # and a white one around it


def test_what_the_picture_does_not_show_is_told(evaluation):
    record = record_of("scissors")
    hidden = replace(record, atom_of_pixel=np.where(record.atom_of_pixel == 0, -1, record.atom_of_pixel))
    first = np.arange(record.holds.shape[1]) == 0
    assert gallery.visible(record, first) and not gallery.visible(hidden, first)
    assert not gallery.visible(replace(record, atom_of_pixel=np.zeros((0, 0), np.int32)), first)


def test_the_tree_is_read_from_the_root_with_every_parent_before_its_parts():
    record = record_of("lamp")
    order = gallery.preorder(record.parents)
    place = {node: k for k, node in enumerate(order)}
    assert sorted(order) == list(range(len(order))) and order[0] == len(order) - 1
    assert all(place[record.parents[v]] < place[v] for v in order[1:])
    depth = [named.depth for named in gallery.named_tree(record, "cot")]
    assert depth[0] == 0 and all(b <= a + 1 for a, b in zip(depth, depth[1:], strict=False))
    assert gallery.preorder(np.array([0])) == [0]


def test_names_are_told_apart_as_the_same_as_near_and_as_wrong():
    record = record_of("scissors", ("cot",))
    texts = record.asked[0].texts
    relevancy = np.zeros((len(record.names), len(texts)), np.float32)
    for node, name in enumerate(record.names):
        relevancy[node, texts.index(name)] = 0.8
    relevancy[1], relevancy[2] = 0.5, 0.0  # the second is near to everything, the third to nothing
    names = ("Screw", *["shears"] * 2, *record.names[3:])
    said = replace(record.said["cot"], relevancy={"name": relevancy}, names=names)
    record = replace(record, names=("screw", *record.names[1:]), said={"cot": said})
    given = {named.said: named.verdict for named in gallery.named_tree(record, "cot")}
    assert given["shears"] == "wrong" and given["Screw"] == "same" and given[record.names[-1]] == "same"
    nearest = gallery.nearest_query(record, "cot")
    assert nearest[1] == nearest[2] == "" and nearest[3:] == list(record.names[3:])


def test_a_tree_in_words_says_more_than_colours():
    lines = [gallery.Named(0, "lamp", "Lamp", "same"), gallery.Named(1, "shade", "hood", "near"), gallery.Named(2, "cord", "", "wrong")]
    plain = re.sub(r"<[^>]+>", "", tree_text(lines, says=True))
    assert plain == "✓ lamp\n  ≈ shade — called hood\n    ✗ cord — called nothing"
    assert "nearest to <bdi>hood</bdi>" in tree_text(lines, says=False)


def test_alike_leaves_of_one_parent_are_one_line_and_others_are_not():
    button, other = gallery.Named(2, "button", "knob", "wrong"), gallery.Named(2, "button", "button", "same")
    inner = gallery.Named(1, "panel", "panel", "same")
    root, last = gallery.Named(0, "remote", "remote", "same"), gallery.Named(1, "button", "", "wrong")
    names = [root, inner, button, other, button, button, inner, button, last]
    assert gallery.counted_lines(names) == [(root, 1), (inner, 1), (button, 3), (other, 1), (inner, 1), (button, 1), (last, 1)]
    assert "<bdi>button</bdi> × 3 — called <bdi>knob</bdi>\n" in tree_text(names, says=True)


@settings(max_examples=20)
@given(st.lists(st.tuples(st.integers(1, 4), st.sampled_from("ab")), max_size=15))
def test_lines_stand_for_every_node_once_and_keep_their_order(steps):
    names = [gallery.Named(0, "root", "", "wrong")]
    for depth, true in steps:
        names.append(gallery.Named(min(names[-1].depth + 1, depth), true, "", "wrong"))
    lines = gallery.counted_lines(names)
    assert sum(count for _, count in lines) == len(names)
    left = iter(names)
    assert all(line in left for line, _ in lines)  # in this order among the nodes
    parent = [max((j for j in range(k) if names[j].depth == names[k].depth - 1), default=-1) for k in range(len(names))]
    kinds = [(parent[k], names[k], k if k in parent else None) for k in range(len(names))]  # what has parts is like nothing else
    alike = [kinds.index(kind) for kind in kinds]
    assert lines == [(names[k], alike.count(k)) for k in sorted(set(alike))]


def test_the_first_method_that_names_parts_is_open_and_no_other(evaluation):
    out, results, _ = evaluation
    tags = Page(gallery_cards(out, {**results, "methods": ["clip-crop", "cot"]})).tags
    assert [("open" in attrs) for tag, attrs in tags if tag == "details"].count(True) == 1
    opened = gallery_cards(out, {**results, "methods": ["clip-crop", "cot"]}).split("<details open><summary>")[1]
    assert opened.startswith("cot: best and worst")
    assert "<details open><summary>clip-crop" in gallery_cards(out, {**results, "methods": ["clip-crop"]})
    assert folded("a", text("b")).startswith("<details><summary>")


def test_a_method_that_retrieves_everything_at_its_optimum_is_said_to_have_found_nothing(evaluation, tmp_path):
    _, results, page = evaluation
    assert retrieved_share(results, "retrieve-all") == 1 and "found nothing:" not in page.text
    t = round(100 * best_threshold(results, "cot"))
    pairs = sum(entry["nodes"] * entry["queries"] for entry in results["objects"])
    got = sum(entry["methods"]["cot"][key][t] for entry in results["objects"] for key in ("tp", "fp"))
    assert retrieved_share(results, "cot") == pytest.approx(got / pairs) and got < pairs
    record = record_of("lamp", ("cot",))
    alike = {kind: np.full_like(found, 0.5) for kind, found in record.said["cot"].relevancy.items()}
    written(tmp_path, [replace(record, said={"cot": replace(record.said["cot"], relevancy=alike)})])
    shown = Page(write_report(tmp_path).read_text(encoding="utf-8")).text
    assert "at t = 0.00, where everything is retrieved" in shown
    assert "By mIoU cot has found nothing: no threshold is better than t = 0.00" in shown


def test_objects_are_ranked_by_their_miou_at_the_methods_own_optimum(evaluation):
    _, results, _ = evaluation
    found = dict(ranked(results, "cot"))
    t = best_threshold(results, "cot")
    for name in NAMES:
        record = record_of(name)
        asked, relevancy = gallery.of_kind(record, "cot")
        iou = iou_curves(record.holds, record.area, asked.positive, relevancy, np.array([t]))
        assert found[name] == pytest.approx(iou.mean(), abs=1e-6)
    assert list(found.values()) == sorted(found.values(), reverse=True) and [id for id, _ in ranked(results, "oracle")] == sorted(NAMES)
