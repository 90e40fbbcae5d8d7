"""What the query evaluation shows: tables with intervals, a picture by kind, and every failure to read.

Columns
  recall@1   share of present queries whose first hit covers exactly the answer
  IoU>.5     share whose first hit overlaps the answer by more than half
  mIoU       mean overlap of the first hit, 0 where nothing was answered
  AUROC p, s how well the probability, and the bare score, of the best hit tell present from absent
  false      share of absent queries that are answered all the same
  lost       recall@1 without the threshold less recall@1 with it
  none       share of present queries that get no answer
Intervals are 95 %, drawn by scene (see `scores`). Two floors do nothing: always the whole scene, and one part at random.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from eval.metrics.retrieval import auroc
from eval.queries.known import Known
from eval.queries.measure import Method, Outcome
from eval.queries.scores import auroc_interval, best_iou, mean_interval, random_iou
from eval.queries.written import KINDS, Query
from eval.report import markdown

PRESENT = KINDS[:-1]
Numbers = dict[str, float]


def present(outcomes: Sequence[Outcome]) -> list[Outcome]:
    return [o for o in outcomes if o.kind != "absent"]


def absent(outcomes: Sequence[Outcome]) -> list[Outcome]:
    return [o for o in outcomes if o.kind == "absent"]


def share(outcomes: Sequence[Outcome], value: Callable[[Outcome], float]) -> tuple[float, float, float]:
    """(mean, low, high) of a number of every outcome."""
    return mean_interval(np.array([value(o) for o in outcomes], float), [o.scene for o in outcomes])


def numbers(outcomes: Sequence[Outcome]) -> dict[str, tuple[float, float, float]]:
    """Every column, as (value, low, high)."""
    here, gone = present(outcomes), absent(outcomes)
    scenes = [o.scene for o in here], [o.scene for o in gone]
    columns = {
        "recall@1": share(here, lambda o: o.right),
        "IoU>.5": share(here, lambda o: float(o.iou > 0.5)),
        "mIoU": share(here, lambda o: o.iou),
    }
    for name, value in (("AUROC p", lambda o: o.probability), ("AUROC s", lambda o: o.score)):
        a, b = (np.array([value(o) for o in some], float) for some in (here, gone))
        columns[name] = auroc_interval(a, scenes[0], b, scenes[1])
    columns["false"] = share(gone, lambda o: float(bool(o.members)))
    columns["lost"] = share(here, lambda o: float(o.forced_iou == 1) - o.right)
    columns["none"] = share(here, lambda o: float(not o.members))
    return columns


def methods_table(outcomes: Mapping[Method, Sequence[Outcome]], half: str) -> str:
    """One line a method on one half of the queries."""
    lines: list[list[str]] = []
    for method, found in outcomes.items():
        columns = numbers([o for o in found if o.half == half])
        if not lines:
            lines.append(["encoder", "labels", "scorer", *columns])
        lines.append([method.encoder, method.labels, method.scorer, *map(with_bounds, columns.values())])
    return markdown(lines)


def kinds_table(outcomes: Mapping[Method, Sequence[Outcome]], floors: Mapping[str, Mapping[str, float]], half: str) -> str:
    """Recall@1 of every kind, and the share of absent queries that rightly get no answer; below the floors."""
    counts = {kind: sum(o.kind == kind and o.half == half for o in next(iter(outcomes.values()))) for kind in KINDS}
    lines = [["encoder", "labels", "scorer", *(f"{kind} ({count})" for kind, count in counts.items())]]
    for method, found in outcomes.items():
        of_kind = [share([o for o in found if o.kind == kind and o.half == half], lambda o: o.right) for kind in KINDS]
        lines.append([method.encoder, method.labels, method.scorer, *map(with_bounds, of_kind)])
    return markdown([*lines, *([floor, "", "", *(f"{values[kind]:.2f}" for kind in KINDS)] for floor, values in floors.items())])


def floors(scenes: Sequence[Known], half: str) -> dict[str, dict[str, float]]:
    """Recall@1 by kind of the answers that look at nothing: always the root, or any one part with equal chance."""
    def mean(value: Callable[[Known, Query], float]) -> dict[str, float]:
        asked = [(known, query) for known in scenes for query in known.queries.queries if query.half == half]
        values = {kind: [value(known, q) for known, q in asked if q.kind == kind] for kind in PRESENT}
        return {**{kind: float(np.mean(v)) if v else float("nan") for kind, v in values.items()}, "absent": 0.0}

    return {
        "always the root": mean(lambda known, q: float(best_iou(known.parts, [known.parts.root], q.accepted) == 1)),
        "a part at random": mean(lambda known, q: float((random_iou(known.parts, q.accepted) == 1).mean())),
    }


def auroc_table(outcomes: Mapping[Method, Sequence[Outcome]], half: str) -> str:
    """AUROC of present against absent by kind of the present queries: a purpose is harder to tell from what is absent than a name."""
    lines = [["encoder", "labels", "scorer", *PRESENT]]
    for method, found in outcomes.items():
        gone = np.array([o.probability for o in found if o.kind == "absent" and o.half == half])
        here = [np.array([o.probability for o in found if o.kind == kind and o.half == half]) for kind in PRESENT]
        lines.append([method.encoder, method.labels, method.scorer, *(f"{auroc(a, gone):.3f}" for a in here)])
    return markdown(lines)


def with_bounds(value: tuple[float, float, float]) -> str:
    """.71 [.62, .80]"""
    middle, low, high = (f"{v:.2f}" for v in value)
    return middle if np.isnan(value[1]) else f"{middle} [{low}, {high}]"


# ------------------------------------------------------------------ what went wrong


def failures(outcomes: Mapping[Method, Sequence[Outcome]], scenes: Mapping[str, Known]) -> str:
    """Every query that a method got wrong, with what was wanted and what came."""
    blocks = ["# Queries that were answered wrongly\n"]
    for method, found in outcomes.items():
        wrong = [o for o in found if o.iou < 1]
        blocks.append(f"\n## {method.name}: {len(wrong)} of {len(found)}\n")
        blocks += [_failure(o, scenes[o.scene]) for o in wrong]
    return "\n".join(blocks) + "\n"


def _failure(outcome: Outcome, known: Known) -> str:
    (query,) = [q for q in known.queries.queries if q.id == outcome.id]
    asked = f"{outcome.id} ({outcome.kind}, {outcome.half}) “{outcome.text}”"
    came = f"{named(known, outcome.members)} (p {outcome.probability:.2f})"
    return f"- {asked}: wanted {named(known, query.answer)}; came {came}. {outcome.reason}"


def named(known: Known, members: Sequence[int], most: int = 4) -> str:
    """Numbers and names of parts, those behind the first few as a count."""
    if not members:
        return "nothing"
    said = ", ".join(f"{part} {known.names[part]}" for part in members[:most])
    return said + (f" and {len(members) - most} more" if len(members) > most else "")


# ------------------------------------------------------------------ the picture


def write_chart(path: Path, outcomes: Mapping[Method, Sequence[Outcome]], floor: Mapping[str, Mapping[str, float]], half: str) -> None:
    """Bars of recall@1 by kind with intervals, one colour a method, and the floors as lines."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(outcomes)
    for k, (method, found) in enumerate(outcomes.items()):
        values = np.array([share([o for o in found if o.kind == kind and o.half == half], lambda o: o.right) for kind in KINDS])
        spread = np.nan_to_num(np.abs(values[:, 1:] - values[:, :1]).T)
        axes.bar(np.arange(len(KINDS)) + (k + 0.5) * width - 0.4, values[:, 0], width * 0.92, yerr=spread, label=method.name,
                 error_kw={"lw": 0.8, "ecolor": "0.3"})
    for (name, of_kind), style in zip(floor.items(), ("-", ":"), strict=True):
        for k, kind in enumerate(KINDS):
            axes.plot([k - 0.42, k + 0.42], [of_kind[kind]] * 2, "k", ls=style, lw=1.4, label=name if k == 0 else None)
    axes.set(xticks=range(len(KINDS)), xticklabels=KINDS, ylim=(0, 1.02), ylabel="exactly right", title=f"Written queries, {half} half")
    figure.legend(loc="outside lower center", fontsize=8, ncols=6)
    figure.savefig(path, dpi=130)
