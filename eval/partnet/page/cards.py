"""The gallery of the page: each method's best and worst objects, with what was found of them and what their parts were called."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np

from eval.partnet.page.gallery import Answer, Named, answers, counted_lines, extremes, named_tree, overlay, smaller, visible
from eval.partnet.page.markup import Html, folded, image, joined, name, number, paragraph, section, text
from eval.partnet.page.results import Results, at, curve, span
from eval.partnet.records import Record
from eval.partnet.work.kept import read_record

NOT_SHOWN = ("oracle", "retrieve-all", "random")  # there is nothing to learn from their answers
OBJECTS = 3  # best ones and worst ones of every method
QUERIES = 2  # best ones and worst ones of every object
READ_SO = (
    "What was found is tinted orange; what was meant is outlined in green. Each method stands at its own best threshold. In the trees ✓ is "
    "the very name, ≈ another one that is nearest to the right query, ✗ one that is not. Pictures show one view: of what lies behind, only "
    "the number tells.")
EVERYTHING = 0.99  # share of all nodes and queries from which on a method has told nothing apart
MARKS = {"same": "✓", "near": "≈", "wrong": "✗"}


def gallery(out: Path, results: Results) -> Html:
    """Cards of every method's best and worst objects; a sentence where a record cannot be read."""
    read = lru_cache(maxsize=None)(lambda id: read_record(out, id))
    shown = [method for method in results["methods"] if method not in NOT_SHOWN]
    naming = [method for method in shown if at(results, "naming", method, "exact")]
    first = next(iter(naming or shown), "")
    return section("Gallery", paragraph(READ_SO), *(_method(read, results, method, open=method == first) for method in shown))


def ranked(results: Results, method: str) -> list[tuple[str, float]]:
    """(object, its mIoU at the method's best threshold), best first; objects without a number are left out."""
    t = best_threshold(results, method)
    if not np.isfinite(t):
        return []
    place = int(np.abs(curve(results["thresholds"]) - t).argmin())
    rows = [(entry["id"], curve(at(entry, "methods", method, "iou"))) for entry in results["objects"]]
    found = [(id, float(values[place])) for id, values in rows if len(values) and np.isfinite(values[place])]
    return sorted(found, key=lambda pair: (-pair[1], pair[0]))


def best_threshold(results: Results, method: str) -> float:
    """Where the method's headline mIoU is highest; nan where it has none."""
    return span(at(results, "scores", method, results["variants"][0], "iou", "at"))[0]


def retrieved_share(results: Results, method: str) -> float:
    """How many of all pairs of a node and a query the method retrieves at its best threshold, over all objects; nan without counts."""
    t = best_threshold(results, method)
    place = int(np.abs(curve(results["thresholds"]) - t).argmin()) if np.isfinite(t) else 0
    counts = [(curve(at(entry, "methods", method, "tp")), curve(at(entry, "methods", method, "fp")), entry["nodes"] * entry["queries"])
              for entry in results["objects"]]
    known = [(tp[place] + fp[place], pairs) for tp, fp, pairs in counts if len(tp) and len(fp)]
    got, of = np.array(known, float).reshape(-1, 2).sum(0)
    return float(got / of) if of else float("nan")


def _method(read: Callable[[str], Record], results: Results, method: str, open: bool) -> Html:
    best, worst = extremes(ranked(results, method), OBJECTS)
    threshold, domain = best_threshold(results, method), at(results, "config", "domain") or "area"
    pieces, nothing = [], retrieved_share(results, method) >= EVERYTHING
    if nothing:
        pieces.append(paragraph(
            f"By mIoU {method} has found nothing: no threshold is better than t = {threshold:.2f}, where every part is retrieved for every "
            "query. The tint covers the whole object whatever is asked, and the IoU is the share that the part has of the object."))
    for title, some in (("Best", best), ("Worst", worst)):
        cards = [_card(read, id, score, method, threshold, domain) for id, score in some]
        pieces += [Html(f"<h4>{title}</h4>"), *cards] if cards else []
    told = ", where everything is retrieved" if nothing else ""
    return folded(f"{method}: best and worst objects, at t = {threshold:.2f}{told}", *pieces, open=open)


def _card(read: Callable[[str], Record], id: str, score: float, method: str, threshold: float, domain: str) -> Html:
    """One object of one method."""
    try:
        record = read(id)
        best, worst = extremes(answers(record, method, threshold, domain), QUERIES)
        names = named_tree(record, method)
    except ValueError as error:
        return Html(f'<article class="card"><h5>{name(id)}</h5><p>{text(error)}</p></article>')
    whole = [image(smaller(record.overview), "image/webp", f"{record.category} {id}")] if record.overview else []
    pictures = [*(Html(f"<figure>{picture}</figure>") for picture in whole), *(_answer(record, answer) for answer in (*best, *worst))]
    said = Html(f'<pre class="tree">{tree_text(names, bool(record.said[method].names))}</pre>')
    right = sum(node.verdict != "wrong" for node in names)
    return Html(f'<article class="card"><h5>{name(record.category)} {name(id)} <small>mIoU {number(score)}</small></h5>\n'
                f'<div class="pictures">{joined(pictures)}</div>\n{folded(f"Names: {right} of {len(names)} right", said)}</article>')


def _answer(record: Record, answer: Answer) -> Html:
    unseen = "" if visible(record, answer.wanted) else " · not seen from here"
    told = Html(f"<figcaption>{name(answer.query)} <small>IoU {number(answer.iou)}{text(unseen)}</small></figcaption>")
    if not record.overview:
        return Html(f"<figure>{told}</figure>")
    shown = image(overlay(record, answer.wanted, answer.found), "image/webp", f"{answer.query}: IoU {answer.iou:.2f}")
    return Html(f"<figure>{shown}{told}</figure>")


def tree_text(names: list[Named], says: bool) -> Html:
    """The tree as indented lines: the mark, the true name, and what it was called where that is another; alike leaves are one line.

    `says` tells whether the method gives names; of one that does not, the nearest query stands there.
    """
    lines = []
    for node, count in counted_lines(names):
        called = name(node.said) if node.said else "nothing"
        told = "" if node.verdict == "same" or node.said == node.true else f" — {'called' if says else 'nearest to'} {called}"
        times = f" × {count}" if count > 1 else ""
        lines.append(f'{"  " * node.depth}<span class="{node.verdict}">{MARKS[node.verdict]}</span> {name(node.true)}{times}{told}')
    return Html("\n".join(lines))
