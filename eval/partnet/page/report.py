"""The page of an evaluation: tables, the paper's two figures, and objects to look at; and the figures as files.

    OUT/report.html           one file; it needs no network, no script and no other file
    OUT/miou.png, OUT/f1.png  the two figures, for papers

Everything is taken from OUT/results.json, but for the gallery, which reads the records of the objects it shows.
"""

from pathlib import Path

import numpy as np

from eval.partnet.page import figures, tables
from eval.partnet.page.cards import gallery
from eval.partnet.page.markup import (
    Html,
    chart,
    counted,
    facts,
    folded,
    joined,
    name,
    nested,
    number,
    paragraph,
    section,
    table,
    text,
    with_interval,
)
from eval.partnet.page.predicted import predicted
from eval.partnet.page.results import NAN, Results, at, curve, read_results, span
from eval.partnet.page.tables import FLOORS, closed, floor_peak, key
from eval.partnet.work.kept import evaluation_of
from semquery.manifest import atomic
from semquery.prompts import fill
from semquery.report import policy

MEANING = {
    "cot": "labels asked from the whole to the smallest part, each with the pictures and answers of all it lies in",
    "flat": "labels asked of every part alone",
    "whole-tree": "all labels of an object asked at once",
    "text-only": "labels guessed from the shape of the tree, without pictures: what a model knows before it looks",
    "clip-crop": "pictures of the cut-out parts, compared with the query: the published baseline",
    "hybrid": "the name's vector and the picture's, mixed",
    "true-names": "the true names, compared with the query by the encoder: the most that names can give with it",
    "oracle": "relevant exactly where it should be",
    "retrieve-all": "every node for every query: a floor",
    "random": "relevancy by lot: a floor",
    "simulated": "true names, some of them replaced, more often below a wrong parent",
}
READ_SO = (
    "mIoU is the mean over objects of the mean over their queries; F1 counts nodes over everything. Both are read at the threshold that is "
    "best on these very objects, which flatters: the optima below are also cross-fitted. Propagation is how much likelier a wrong name is "
    "below a parent that is named wrongly. AUROC is how well the best relevancy tells a name the object has from one it has not.")
CURVES_SO = (
    "Left, everything is retrieved; right, nothing. A ring marks the optimum; bands are 95 % intervals at every fixed threshold. The grey "
    "lines look at nothing: what lies on them has found nothing, whatever its mIoU.")
AXES = {"iou": "mIoU (mean over objects of the mean over queries)", "f1": "F1 (over all objects, queries and nodes)"}
FILES = {"iou": "miou.png", "f1": "f1.png"}
AVERAGES = {"iou": "mIoU over objects", "iou_over_queries": "mIoU over queries", "f1": "F1, micro", "f1_over_objects": "F1 over objects",
            "f1_over_queries": "F1 over queries"}


def write_report(out: Path) -> Path:
    """Write OUT/report.html, OUT/miou.png and OUT/f1.png from OUT/results.json; the page's path.

    Raises ValueError where results.json is missing, damaged or of another version.
    """
    results = read_results(out)
    page = report_page(results, gallery(evaluation_of(out), results), out)
    path = out / "report.html"
    with atomic(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def report_page(results: Results, cards: Html, figures_to: Path | None = None) -> str:
    """The whole page; the two figures are also written to a folder, where one is given."""
    style, skeleton = ((Path(__file__).parent / file).read_text(encoding="utf-8") for file in ("page.css", "page.html"))
    parts = [
        headline(results), over_threshold(results, figures_to), optima(results), tables.naming(results), tables.absent(results),
        tables.breakdowns(results), tables.calibration(results), tables.differences(results), tables.variants(results),
        predicted(results), tables.costs(results), cards, broken(results), sample(results), configuration(results),
    ]
    body = joined([part for part in parts if part])
    return fill(skeleton, policy=text(policy("", style)), style=style, facts=heading(results), body=body)


def heading(results: Results) -> Html:
    """What was measured, in numbers."""
    objects = results["objects"]
    counts = [
        counted(len(objects), "object"), counted(len({entry["category"] for entry in objects}), "category", "categories"),
        counted(sum(entry["nodes"] for entry in objects), "node"), counted(sum(entry["queries"] for entry in objects), "query", "queries"),
        counted(len(results["methods"]), "method"),
    ]
    return facts({
        **{what: value for value, what in (count.split(" ", 1) for count in counts)},
        "tree": at(results, "config", "tree"), "measured by": at(results, "config", "domain"),
        "broken, left out": len(results.get("broken") or ()),
    })


# ------------------------------------------------------------------ the headline


def headline(results: Results) -> Html:
    """One line a method, the floors below."""
    rows = [_headline(results, method) for method in results["methods"]]
    for floor in FLOORS:
        best = [number(floor_peak(results, results["variants"][0], floor, score)) for score in AXES]
        rows.append([closed(floor), *best, *[number(NAN)] * 4])
    told = table(["method", "mIoU", "F1", "mAP", "top-1", "propagation", "AUROC, absent"], rows,
                 "At each method's best threshold t*, with 95 % intervals over objects, at that t* (below, Optima also has t* sought anew)")
    meaning = [[key(method), text(MEANING[method])] for method in results["methods"] if method in MEANING]
    return section("Results", told, paragraph(READ_SO),
                   folded("What the methods are", table(["method", "what it does"], meaning, prose=True)))


def _headline(results: Results, method: str) -> list[Html]:
    spans = [("scores", method, results["variants"][0], "average_precision"), ("naming", method, "top1"), ("naming", method, "propagation"),
             ("absent", method, "auroc")]
    told = [with_interval(span(at(results, *keys))) for keys in spans]
    return [key(method), _peak(results, method, "iou"), _peak(results, method, "f1"), *told]


def _peak(results: Results, method: str, score: str) -> Html:
    entry = at(results, "scores", method, results["variants"][0], score)
    best = span(at(entry, "at"))[0]
    return Html(with_interval(span(at(entry, "fixed"))) + (f" <small>at {best:.2f}</small>" if np.isfinite(best) else ""))


def over_threshold(results: Results, folder: Path | None) -> Html:
    """The paper's two figures."""
    charts = []
    for score, axis in AXES.items():
        curves = measured(results, score)
        figure = figures.curves_figure(curve(results["thresholds"]), curves, axis, floors_of(results, score))
        best = "; ".join(f"{line.name} {np.nanmax(line.values, initial=0):.2f}" for line in curves)
        drawn = figures.saved(figure, folder / FILES[score] if folder else None)
        charts.append(chart(drawn, f"{axis}, over the threshold. Highest: {best}"))
    return section("Over the threshold", *charts, paragraph(CURVES_SO))


def measured(results: Results, score: str) -> list[figures.Curve]:
    """The curve of every method but the floors, which are drawn from their closed forms."""
    entries = {method: entry for method, entry in _scores(results, score).items() if method not in FLOORS}
    return [figures.Curve(method, curve(entry["curve"]), _band(entry, "low"), _band(entry, "high")) for method, entry in entries.items()]


def _scores(results: Results, score: str) -> dict[str, dict]:
    """One score of the protocol's own variant, of every method that has it."""
    entries = {method: at(results, "scores", method, results["variants"][0], score) for method in results["methods"]}
    return {method: entry for method, entry in entries.items() if entry}


def _band(entry: dict, end: str) -> np.ndarray | None:
    values = curve(entry.get(end))
    return values if np.isfinite(values).any() else None


def floors_of(results: Results, score: str) -> list[figures.Curve]:
    """The curves of what looks at nothing."""
    given = {floor: curve(at(results, "floors", results["variants"][0], floor, score)) for floor in FLOORS}
    return [figures.Curve(floor, values) for floor, values in given.items() if len(values)]


def optima(results: Results) -> Html:
    """Where every curve is highest and how sure that is, for each way to average."""
    head = ["method", "best t*", "95 % at t*", "95 % with t* sought anew", "cross-fitted", "area", "width at 90 %"]
    told = [table(head, rows, title) for score, title in AVERAGES.items() if (rows := _optima(results, score))]
    return section("Optima", folded("Thresholds, intervals, cross-fitted values, areas and widths", *told))


def _optima(results: Results, score: str) -> list[list[Html]]:
    ways = ("fixed", "remaximised", "cross_fitted", "area", "width")
    return [[key(method), number(span(entry["at"])[0], 2), *(with_interval(span(at(entry, way))) for way in ways)]
            for method, entry in _scores(results, score).items()]


# ------------------------------------------------------------------ what it was measured on and with


def broken(results: Results) -> Html:
    """Objects that were left out, and why."""
    rows = [[name(entry["id"]), name(entry["reason"])] for entry in results.get("broken") or ()]
    return section("Broken objects", table(["object", "why it was left out"], rows, prose=True))


def sample(results: Results) -> Html:
    """The objects that were drawn, with what they hold."""
    columns = ("id", "category", "model", "format", "nodes", "leaves", "depth", "queries")
    rows = [[*(name(entry[column]) for column in columns), name("; ".join(entry.get("notes") or ()))] for entry in results["objects"]]
    drawn = nested(results["sample"] or {})
    return section("Sample", folded(f"Drawn: {counted(len(rows), 'object')}", table([*columns, "notes"], rows, prose=True)),
                   folded("The draw, with hashes of the files", drawn))


def configuration(results: Results) -> Html:
    """Settings, versions, prompts and models."""
    titles = {"config": "Settings", "versions": "Versions", "models": "Models", "prompts": "Prompts, sha256"}
    told = [folded(title, nested(results[entry])) for entry, title in titles.items() if results.get(entry)]
    seconds = sum(entry["seconds"] for entry in results["objects"])
    return section("How it was made", *told, paragraph(f"All objects together took {seconds:.0f} s."))
