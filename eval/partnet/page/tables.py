"""The page's sections of numbers: names, absent names, calibration, groups, differences, variants, cost.

Every section takes the content of results.json and gives nothing where that has no such numbers.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eval.partnet.page import figures
from eval.partnet.page.markup import Html, chart, folded, joined, name, number, section, table, text, with_interval
from eval.partnet.page.results import NAN, Results, Value, at, curve, span

FLOORS = ("retrieve-all", "random")
GROUPS = {
    "depth": "depth below the root", "size": "share of the object's area", "category": "category",
    "repeated": "names that occur once, or more often", "pixels": "pixels that the best view shows",
}
MOST_GROUPS = 12  # in one chart; the table has all
Rows = dict[str, dict[str, dict[str, Any]]]  # method → group → its numbers


def key(method: str) -> Html:
    """A method's name at the head of a row."""
    return Html(f"<b>{name(method)}</b>")


def closed(floor: str) -> Html:
    """The head of a floor's row, whose numbers are computed without drawing lots."""
    return Html(f"<i>{text(floor)}</i> <small>closed form</small>")


# ------------------------------------------------------------------ names


def naming(results: Results) -> Html:
    """How right the names are, and how errors travel down the tree."""
    columns = {
        "top-1": ("top1",), "whole path": ("path",), "reciprocal rank": ("reciprocal_rank",), "the very name": ("exact",),
        "or a synonym": ("synonym",), "parent's name again": ("parent_repeat",), "hier. precision": ("hierarchical", "precision"),
        "hier. recall": ("hierarchical", "recall"), "hier. F1": ("hierarchical", "f1"), "recovery": ("recovery",),
    }
    rows = _columns(results["naming"], columns)
    travelling = _known({method: span(at(entry, "propagation")) for method, entry in results["naming"].items()})
    axis = "P(wrong | parent wrong) − P(wrong | parent right)"
    drawn = [chart(figures.saved(figures.values_figure(travelling, axis, "errors do not travel")), "Propagation of errors, by method",
                   "How errors travel down the tree. Recovery, in the table, is P(right | parent wrong).")] if travelling else []
    return section("Names", table(["method", *columns], rows, "Names of nodes, without any threshold"), *drawn)


def absent(results: Results) -> Html:
    """How present names are told from absent ones."""
    columns = {"AUROC": ("auroc",), "answered at t* of mIoU": ("at_iou",), "answered at t* of F1": ("at_f1",)}
    told = "Names of other objects: AUROC against names that are there, and the share that is answered all the same"
    return section("Names that are not there", table(["method", *columns], _columns(results["absent"], columns), told))


def _columns(entries: Mapping[str, Any], columns: Mapping[str, Sequence[str]]) -> list[list[Html]]:
    """A row for every method that has an entry."""
    return [[key(method), *(with_interval(span(at(entry, *keys))) for keys in columns.values())]
            for method, entry in entries.items() if entry]


def _known(values: Mapping[str, Value]) -> dict[str, Value]:
    return {method: value for method, value in values.items() if np.isfinite(value[0])}


# ------------------------------------------------------------------ calibration


def calibration(results: Results) -> Html:
    """How often what is given a number is right."""
    pieces = []
    for kind, title in {"relevancy": "Relevancy", "confidence": "Confidence of the names"}.items():
        tables = {method: entry[kind] for method, entry in (results.get("calibration") or {}).items() if at(entry, kind)}
        shown = {method: bins_of(entry) for method, entry in tables.items() if method not in FLOORS and bins_of(entry)}
        if not shown:
            continue
        drawn = figures.saved(figures.calibration_figure(shown, share_right(next(iter(shown.values()))) if kind == "relevancy" else NAN))
        told = f"{title}. Below the diagonal it promises too much; larger dots hold more."
        rows = [[key(method), number(span(entry.get("ece"))[0])] for method, entry in tables.items()]
        pieces += [chart(drawn, f"{title}: how often it is right", told),
                   folded(f"Expected calibration error of the {title.lower()}", table(["method", "ECE"], rows))]
    return section("Calibration", *pieces)


def bins_of(entry: Mapping[str, Any]) -> list[Value]:
    """(mean number, share right, count) of every bin that holds something."""
    rows = [(span(b["said"])[0], span(b["came"])[0], float(b["count"] or 0)) for b in entry["bins"]]
    return [row for row in rows if row[2] > 0 and np.isfinite(row[:2]).all()]


def share_right(bins: Sequence[Value]) -> float:
    """The share of everything that is right: what retrieving everything gives, whoever is asked."""
    _, right, count = np.array(bins).T
    return float(right @ count / count.sum())


# ------------------------------------------------------------------ groups


def breakdowns(results: Results) -> Html:
    """A chart of mIoU by group for every way to group, and the same as tables."""
    entries = results.get("breakdowns") or {}
    pieces = []
    for way, title in GROUPS.items():
        found = {method: rows for method in results["methods"] if method not in FLOORS and (rows := rows_of(entries, method, way))}
        groups = list(dict.fromkeys(group for rows in found.values() for group in rows))
        if groups:
            shown = largest(groups, next(iter(found.values())))
            told = title if len(shown) == len(groups) else f"{title}, the {len(shown)} with most queries"
            pieces += [_groups_chart(found, shown, rows_of(entries, "retrieve-all", way), told),
                       folded(f"Numbers by {title}", _groups_table(found, groups))]
    return section("Where it goes well", *pieces)


def rows_of(entries: Mapping[str, Any], method: str, way: str) -> dict[str, dict[str, Any]]:
    """Group → numbers of one method."""
    return {str(row["key"]): row for row in at(entries, method, way) or ()}


def largest(groups: Sequence[str], rows: Mapping[str, Any]) -> list[str]:
    """The groups with most queries, as many as a chart can show, in their own order."""
    kept = sorted(groups, key=lambda group: -(at(rows, group, "queries") or 0))[:MOST_GROUPS]
    return [group for group in groups if group in kept]


def _groups_chart(found: Rows, groups: Sequence[str], nothing: Mapping[str, Any], title: str) -> Html:
    first = next(iter(found.values()))
    values = {method: [span(at(rows, group, "iou")) for group in groups] for method, rows in found.items()}
    floor = [span(at(nothing, group, "iou"))[0] for group in groups]
    drawn = figures.groups_figure([f"{group} ({at(first, group, 'queries')})" for group in groups], values, "mIoU over queries", floor)
    return chart(figures.saved(drawn), f"mIoU by {title}", f"By {title}; in brackets the queries. Each method at its own best threshold.")


def _groups_table(found: Rows, groups: Sequence[str]) -> Html:
    first, tables = next(iter(found.values())), []
    kinds = {"iou": ("mIoU of queries", ("objects", "queries")), "top1": ("Nodes nearest to their own name", ("nodes",))}
    for score, (title, counts) in kinds.items():
        rows = [[name(group), *(text(at(first, group, count)) for count in counts),
                 *(with_interval(span(at(found[method], group, score))) for method in found)] for group in groups]
        tables.append(table(["group", *counts, *found], rows, title))
    return joined(tables)


# ------------------------------------------------------------------ methods against each other, other readings, cost


def differences(results: Results) -> Html:
    """Every method less the reference, on the same draws of objects."""
    columns = {
        "mIoU, fixed t": ("iou", "fixed"), "mIoU, t anew": ("iou", "remaximised"), "mIoU, cross-fitted": ("iou", "cross_fitted"),
        "F1, fixed t": ("f1", "fixed"), "F1, t anew": ("f1", "remaximised"), "F1, cross-fitted": ("f1", "cross_fitted"),
        "mAP": ("average_precision",), "top-1": ("top1",), "propagation": ("propagation",), "AUROC": ("auroc",),
    }
    entries, reference = results.get("differences") or {}, results.get("reference")
    shown = _known({method: span(at(entry, "iou", "fixed")) for method, entry in entries.items()})
    figure = figures.values_figure(shown, f"mIoU less that of {reference}", f"as {reference}") if shown else None
    drawn = [chart(figures.saved(figure), f"mIoU of every method less that of {reference}")] if figure else []
    told = table(["method", *columns], _columns(entries, columns), f"Each method less {reference}, paired by object")
    return section("Against each other", *drawn, told)


def variants(results: Results) -> Html:
    """The optima under every other reading of the protocol."""
    return section("Variants", _variants(results, "iou", "Highest mIoU under other readings of the protocol"),
                   _variants(results, "f1", "Highest F1 under the same"))


def _variants(results: Results, score: str, title: str) -> Html:
    rows = [[key(method), *(number(span(at(results, "scores", method, variant, score, "peak"))[0]) for variant in results["variants"])]
            for method in results["methods"]]
    rows += [[closed(floor), *(number(floor_peak(results, variant, floor, score)) for variant in results["variants"])] for floor in FLOORS]
    return table(["method", *results["variants"]], rows, title)


def floor_peak(results: Results, variant: str, floor: str, score: str) -> float:
    """The highest value of a floor's curve; nan where there is none."""
    values = curve(at(results, "floors", variant, floor, score))
    return float(np.nanmax(values)) if np.isfinite(values).any() else NAN


def costs(results: Results) -> Html:
    """What the answers took."""
    columns = ("calls", "pictures", "prompt_tokens", "answer_tokens", "failed")
    rows = [[key(method), *(text(f"{entry[column]:,}") for column in columns), number(entry["seconds"] / max(entry["nodes"], 1))]
            for method, entry in (results.get("costs") or {}).items()]
    told = "Of all objects together; failed are nodes without a name that can be read"
    return section("Cost", table(["method", *(column.replace("_", " ") for column in columns), "seconds a node"], rows, told))
