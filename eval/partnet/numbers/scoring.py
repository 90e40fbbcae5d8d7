"""Records to numbers: results.json, from which the report and the comparison of two evaluations are made.

Notation
  t thresholds 0, .01, …, 1 (a node is retrieved where its relevancy is > t), o objects, k queries, p nodes.
Conventions
  Objects whose queries are measured weigh alike in every mean over objects. Queries whose parts have no measure (area 0, no
  point) leave the mIoU and are counted. JSON has null where there is no number, never NaN. SPAN below is
  {"value", "low", "high"}: 95 % bootstrap over objects; low and high are null for a single object.

results.json
  version      1
  config       every field of PartnetConfig; settings: those that the records depend on (what two evaluations must share)
  versions     python and packages;  prompts {file: sha256};  models {vlm, encoder, picture_encoder: identity or null}
  sample       what sample.json says: ids, hashes, seed, rule;  broken [{"id", "reason"}];  seconds of all objects together
  thresholds   [t]
  methods      names, in the order shown;  reference: the method that all others are compared with
  variants     names; the first, "paper", is the protocol's
  objects      [{"id", "stem" (of its files in OUT/objects), "category", "model", "format", "nodes", "leaves", "depth", "queries",
                 "unmeasured" (queries), "notes", "seconds", "methods": {method: OBJECT}}]
    OBJECT     {"iou" [t] mean over the object's queries, "tp" "fp" "fn" [t], "average_precision" mean over queries,
                "top1" share of nodes, "propagation" [[wrong, right] below a wrong parent, [wrong, right] below a right one],
                "present" [k] and "absent" [k]: the best relevancy of any node for each name it has and each it has not,
                "auroc" of these two, "cost" COST}; paper variant
  scores       {method: {variant: SCORE or null where the method or the objects do not have it}}
    SCORE      {"objects", "queries", "nodes", "unmeasured",
                "iou" CURVE (headline: mean over objects of the mean over queries), "iou_over_queries" CURVE,
                "f1" CURVE (headline: micro), "f1_over_objects" CURVE, "f1_over_queries" CURVE,
                "average_precision" SPAN over objects, "average_precision_over_queries" number}
    CURVE      {"curve" [t], "low" [t], "high" [t] (bands at every fixed t, of iou and f1 of the paper variant; else null),
                "peak" value, "at" t*, "moved" [low, high] of the t* of draws, "fixed" SPAN at t*, "remaximised" SPAN with the
                peak sought anew in each draw, "cross_fitted" value with t from the other half, "area" under the curve,
                "width" of thresholds with ≥ 90 % of the peak}
  floors       {variant: {"retrieve-all" | "random": {"iou" [t], "f1" [t]}}}: closed forms, no lots drawn; retrieve-all retrieves
               at every t, 1 too
  naming       {method: {"top1" SPAN, "path" SPAN, "reciprocal_rank" SPAN, "hierarchical" {"precision" SPAN, "recall" SPAN, "f1" SPAN},
                "by_depth" [{"depth", "nodes", "top1"}], "propagation" SPAN, "recovery" SPAN, "counts" as in OBJECT,
                "exact" SPAN and "synonym" SPAN and "parent_repeat" SPAN (null for methods that say no names)}}
  absent       {method: {"auroc" SPAN, "at_iou" and "at_f1": SPAN share of absent names that some node answers at that t*}}
  calibration  {method: {"relevancy": TABLE, "confidence": TABLE or null}};
               of r(v, q) against whether v is meant, of a name's confidence against whether it is top-1 right
    TABLE      {"ece", "bins" [{"low", "high", "count", "said" mean probability, "came" share that is right}]}
  breakdowns   {method: {"category" | "depth" | "size" | "repeated" | "pixels": [{"key", "queries", "objects", "iou" (mean over
                queries at the t* of the headline), "nodes", "top1" (share of nodes)}]}}
  differences  {method (all but the reference): {"iou" | "f1": {"fixed" SPAN, "remaximised" SPAN, "cross_fitted" SPAN or value},
                "average_precision" SPAN, "top1" SPAN, "propagation" SPAN, "auroc" SPAN}}: method − reference, on the same draws
  costs        {method: COST with "objects", "nodes"};  COST {"calls", "pictures", "prompt_tokens", "answer_tokens", "failed", "seconds"}
  predicted    {"kind", "objects": {id: numbers}, "means": {name: SPAN}} or null
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from eval.metrics.retrieval import THRESHOLDS
from eval.partnet.numbers.measured import Measured, MeasuredMethod, measure
from eval.partnet.numbers.pooling import Draws, absent, breakdowns, calibrations, costs, differences, floors, naming, score_of
from eval.partnet.numbers.variants import VARIANTS
from eval.partnet.records import Record
from eval.partnet.work.kept import stem
from semquery.manifest import atomic

VERSION = 1
PAPER = next(iter(VARIANTS))
DIGITS = 6


def score(
    records: Iterable[Record], methods: Sequence[str], domain: str = "area", bootstrap: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """The numbers of results.json (thresholds to costs, and broken: what cannot be measured) of records that all hold these methods.

    Records are taken one at a time; only curves and counts are kept. Raises ValueError where no record can be measured.
    """
    things, broken = list[Measured](), list[dict[str, str]]()
    for record in records:
        try:
            things.append(measure(record, methods, domain))
        except ValueError as error:
            broken.append({"id": record.id, "reason": str(error)})
    if not things:
        reason = f"; the first of {len(broken)}: {broken[0]['reason']}" if broken else ""
        raise ValueError(f"No object could be evaluated{reason}")
    seconds = sum(thing.seconds for thing in things)
    return plain({"broken": broken, "seconds": seconds, **_numbers(things, methods, Draws(len(things), bootstrap, seed))})


def _numbers(things: Sequence[Measured], methods: Sequence[str], draws: Draws) -> dict[str, Any]:
    reference = "cot" if "cot" in methods else methods[0]
    of = {name: [thing.methods[name] for thing in things] for name in methods}
    scores = {name: {variant: score_of([method.retrieval[variant] for method in found], draws, bands=variant == PAPER)
                     for variant in VARIANTS} for name, found in of.items()}
    return {
        "thresholds": THRESHOLDS, "methods": list(methods), "reference": reference, "variants": list(VARIANTS),
        "objects": [entry_of(thing) for thing in things], "scores": scores,
        "floors": {variant: floors([thing.floors[variant] for thing in things]) for variant in VARIANTS},
        "naming": {name: naming(things, name, draws) for name in methods},
        "absent": {name: absent(of[name], [scores[name][PAPER][key]["at"] for key in ("iou", "f1")], draws) for name in methods},
        "calibration": {name: calibrations(of[name]) for name in methods},
        "breakdowns": {name: breakdowns(things, name, scores[name][PAPER]["iou"]["at"]) for name in methods},
        "differences": {name: differences(of[reference], of[name], PAPER, draws) for name in methods if name != reference},
        "costs": {name: costs(things, name) for name in methods},
    }


def entry_of(thing: Measured) -> dict[str, Any]:
    """One object's own numbers."""
    inner = np.unique(thing.parents[:-1])
    return {
        "id": thing.id, "stem": stem(thing.id), "category": thing.category, "model": thing.model, "format": thing.format,
        "nodes": len(thing.parents), "leaves": len(thing.parents) - len(inner), "depth": int(thing.depth.max()),
        "queries": len(thing.query_share), "unmeasured": int((thing.query_share == 0).sum()), "notes": thing.notes,
        "seconds": thing.seconds,
        "methods": {name: _own_numbers(method) for name, method in thing.methods.items()},
    }


def _own_numbers(method: MeasuredMethod) -> dict[str, Any]:
    paper = method.retrieval[PAPER]
    assert paper is not None, "the names are asked of every method"
    return {
        "iou": paper.iou, **dict(zip(("tp", "fp", "fn"), paper.counts, strict=True)), "average_precision": paper.average_precision,
        "top1": method.naming.right.mean(), "propagation": method.naming.counts, "present": method.present, "absent": method.absent,
        "auroc": method.auroc, "cost": asdict(method.cost),
    }


def plain(value: Any) -> Any:
    """As JSON has it: lists, rounded numbers, None for what is no number."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, (float, np.floating)):
        return round(float(value), DIGITS) if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def write_results(out: Path, results: Mapping[str, Any]) -> Path:
    """OUT/results.json, in place of an earlier one."""
    path = out / "results.json"
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(plain(results), allow_nan=False, separators=(",", ":")) + "\n", encoding="utf-8")
    return path


# ------------------------------------------------------------------ the table that is printed

COLUMNS = ("method", "mIoU", "at", "F1", "at", "mAP", "top-1", "propagation", "AUROC absent")
INTERVALS = "[95 % over objects; of mIoU and F1 at t*, the column beside it. The page also has them with t* sought anew in each draw.]"


def table(results: Mapping[str, Any]) -> str:
    """Methods and floors, a line each: value [low, high], peaks with the threshold t* they are at; below, what the intervals are."""
    rows = [COLUMNS]
    for name in results["methods"]:
        paper, names = results["scores"][name][PAPER], results["naming"][name]
        peaks = [cell for key in ("iou", "f1") for cell in (_cell(paper[key]["fixed"]), _number(paper[key]["at"]))]
        spans = (paper["average_precision"], names["top1"], names["propagation"], results["absent"][name]["auroc"])
        rows.append((name, *peaks, *map(_cell, spans)))
    for name, floor in results["floors"][PAPER].items():
        best = [_number(max((v for v in floor[key] if v is not None), default=None)) for key in ("iou", "f1")]
        rows.append((f"({name}, expected)", best[0], "", best[1], *[""] * 5))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, INTERVALS] if any("[" in line for line in lines) else lines)


def _cell(span: Mapping[str, float | None]) -> str:
    bounds = "" if span["low"] is None else f" [{_number(span['low'])}, {_number(span['high'])}]"
    return _number(span["value"]) + bounds


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.3f}"
