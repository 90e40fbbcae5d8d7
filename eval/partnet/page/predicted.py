"""The page's section on the trees that the field finds: every number in words, with what it tells."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from eval.metrics.resampling import peak_interval
from eval.partnet.page.markup import Html, name, number, section, table, text, with_interval
from eval.partnet.page.results import Results, at, curve, span

COUNTS = {  # field of eval.partnet.predicted.Predicted → (in words, what it tells)
    "points": ("points", "of the surface that the views show; everything below is measured on them"),
    "true_nodes": ("true nodes", "to be found: below the root, seen, those of the same points counted once"),
    "hidden_nodes": ("hidden nodes", "true nodes that no view shows; they are not asked for"),
    "nodes": ("found nodes", "of the predicted tree, its root among them"),
    "masks_per_view": ("masks a view", "from which the field learned"),
    "failed": ("without a name", "found nodes whose label could not be read"),
    "seconds": ("seconds", "for photos, masks, field, tree and names of one object"),
}
RATES = {
    "nc": ("NC", "normalized covering: the best IoU of any found node with each true node; the mean over the tree's levels"),
    "sampled_nc": ("sampled NC", "the same by the sampled definition of the original"),
    "purity": ("purity", "mean, over pairs of points of one true part, of that part's share of the smallest found node that holds both"),
    "recall50": ("recall at IoU .5", "share of true nodes that some found node overlaps with IoU > .5; one may serve several"),
    "precision50": ("precision at IoU .5", "share of found nodes that some true node overlaps so"),
    "matched_recall": ("matched recall", "share of true nodes with a found node of their own at IoU ≥ .5, matched one to one"),
    "matched_precision": ("matched precision", "share of found nodes with a true node of their own, by the same matching"),
    "matched_miou": ("matched mIoU", "mean IoU of the matched pairs over all true nodes, 0 for those without a match"),
    "leaf_ap50": ("leaf AP50", "average precision of the leaves at IoU .5, ranked by how much masks speak for them"),
    "floor_miou": ("mIoU, retrieve-all", "what retrieving everything gives: a floor"),
    "peak": ("mIoU", "of the queries on the found tree, with the labeller's names: the highest value of the mean curve, and its t"),
    "true_names_miou": ("mIoU, true names", "the same when the found nodes bear true names: what lacks to 1 is the tree's share"),
    "label_aware_miou": ("label-aware mIoU", "matched mIoU, with 0 where the found node is most relevant to another name"),
    "true_names_label_aware_miou": ("label-aware mIoU, true names", "the same when the found nodes bear true names"),
}
OF_EACH = ("peak_miou", "peak_threshold")  # every object at its own threshold; the peak of the mean curve stands for them


def predicted(results: Results) -> Html:
    """The same queries on the tree that the field finds: counts, then scores, then what this page has no words for."""
    means = dict(at(results, "predicted", "means") or {})
    best = peak_of_mean(results)
    others = {field: (field.replace("_", " "), "") for field in means if field not in {**COUNTS, **RATES} and field not in OF_EACH}
    rows = [_row(words, with_interval(span(means[field]), 0)) for field, words in COUNTS.items() if field in means]
    for field, words in {**RATES, **others}.items():
        if field == "peak" and best:
            rows.append(_row(words, best))
        elif field in means:
            rows.append(_row(words, with_interval(span(means[field]))))
    told = f"On the trees that the field finds from masks ({at(results, 'predicted', 'kind')}), means over objects with 95 % intervals"
    return section("Predicted trees", table(["number", "mean", "what it tells"], rows, told, prose=True))


def peak_of_mean(results: Results) -> Html | None:
    """The highest value of the mean of the objects' curves, its interval there, and where it is; nothing without their curves."""
    objects: Mapping[str, Any] = at(results, "predicted", "objects") or {}
    curves = [values for entry in objects.values() if len(values := curve(at(entry, "miou"))) == len(results["thresholds"])]
    if not curves:
        return None
    config = results.get("config") or {}
    top = peak_interval(np.stack(curves), curve(results["thresholds"]), num=config.get("bootstrap", 2000), seed=config.get("seed", 0))
    if not np.isfinite(top.value):
        return None
    return Html(f"{with_interval((top.value, *top.fixed))} <small>at {number(top.threshold, 2)}</small>")


def _row(words: tuple[str, str], value: Html) -> list[Html]:
    return [name(words[0]), value, text(words[1])]
