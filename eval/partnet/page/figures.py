"""The pictures of the PartNet evaluation: curves over the threshold, breakdowns, propagation, calibration, differences.

Notation
  t thresholds.
Conventions
  A method has the same colour and the same dashes in every picture; what does nothing is grey. Curves are labelled where they
  run, not in a legend; a ring marks where a curve is highest. Bands are 95 % intervals over objects. What retrieving
  everything gives is drawn in every picture whose numbers it could reach. Figures are drawn on white, for print.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from eval.partnet.page.results import Value

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure



# Okabe and Ito's colours, which the colour-blind tell apart; the dashes tell them apart in grey
DASHED, DOTTED, MIXED = (0, (5, 1.5)), (0, (1, 1.5)), (0, (3, 1.5, 1, 1.5))
STYLES: dict[str, tuple[str, str | tuple]] = {
    "cot": ("#0072b2", "-"), "clip-crop": ("#d55e00", "-"), "hybrid": ("#009e73", "-"), "flat": ("#2f97d6", DASHED),
    "whole-tree": ("#cc79a7", DASHED), "text-only": ("#b58900", MIXED), "true-names": ("#004d40", MIXED), "simulated": ("#7b4fa3", MIXED),
    "oracle": ("#222222", "-"), "random": ("#8a8a8a", DOTTED), "retrieve-all": ("#8a8a8a", DASHED),
}
FLOOR = {"color": "#555555", "ls": DASHED}
OTHERS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b58900", "#2f97d6")  # of methods that are not known here, in turn


@dataclass(frozen=True)
class Curve:
    """One method over the threshold."""

    name: str
    values: Float[np.ndarray, " t"]
    low: Float[np.ndarray, " t"] | None = None
    high: Float[np.ndarray, " t"] | None = None


def style_of(name: str, k: int = 0) -> tuple[str, str | tuple]:
    """(colour, dashes) of a method; `k` is its place among the methods, for those that are not known here."""
    return STYLES.get(name, (OTHERS[k % len(OTHERS)], "-"))


# ------------------------------------------------------------------ over the threshold


def curves_figure(thresholds: Float[np.ndarray, " t"], curves: Sequence[Curve], ylabel: str, floors: Sequence[Curve] = ()) -> "Figure":
    """One of the paper's two figures: every method over the relevancy threshold, with bands and optima; floors are thin and grey."""
    figure, axes = _axes((8.4, 5.4))
    axes.set(xlabel="relevancy threshold", ylabel=ylabel, xlim=(0, 1), ylim=(0, 1.04))
    axes.set(xticks=np.linspace(0, 1, 11), yticks=np.linspace(0, 1, 6))
    lines = [*curves, *floors]
    for k, curve in enumerate(lines):
        colour, dashes = style_of(curve.name, k)
        if curve.low is not None and curve.high is not None:
            axes.fill_between(thresholds, curve.low, curve.high, color=colour, alpha=0.12, lw=0)
        axes.plot(thresholds, curve.values, color=colour, ls=dashes, lw=1.3 if curve in floors else 2.0)
        axes.plot(*_optimum(thresholds, curve), "o", ms=6.5, mfc="white", mec=colour, mew=1.8, zorder=5, clip_on=False)
    _label_curves(axes, thresholds, lines)
    return figure


def _optimum(thresholds: Float[np.ndarray, " t"], curve: Curve) -> tuple[float, float]:
    """(t*, value) where a curve is highest, the lowest such t."""
    best = int(np.argmax(np.nan_to_num(curve.values, nan=-1)))
    return float(thresholds[best]), float(curve.values[best])


def _label_curves(axes: "Axes", thresholds: Float[np.ndarray, " t"], curves: Sequence[Curve]) -> None:
    """Each curve's name and optimum near its ring, where it covers lines and labels least; a thin line leads to the ring."""
    from matplotlib.patheffects import withStroke

    axes.figure.draw_without_rendering()  # so that sizes are known
    inks = [axes.transData.transform(np.stack([thresholds, curve.values], 1)) for curve in curves]
    ink = np.concatenate([_dense(line[np.isfinite(line).all(1)]) for line in inks])
    taken: list[tuple[float, float, float, float]] = []
    for k, curve in enumerate(curves):
        at, value = _optimum(thresholds, curve)
        colour = style_of(curve.name, k)[0]
        label = f"{curve.name} {value:.2f}" + (f" at {at:.2f}" if at > 0 else "")
        text = axes.text(0, 0, label, color=colour, fontsize=9.5, fontweight="bold", ha="center", va="center", zorder=6,
                         path_effects=[withStroke(linewidth=2.5, foreground="white")])
        size = text.get_window_extent()
        ring = axes.transData.transform((at, value))
        place = _best_place(ink, ring, (size.width + 8, size.height + 6), axes.bbox.bounds, taken)
        taken.append((*place, size.width + 8, size.height + 6))
        lead = _lead(ring, place, (size.width + 4, size.height + 2))
        ink = np.concatenate([ink, _dense(lead)])
        text.set_position(axes.transData.inverted().transform(place))
        axes.plot(*axes.transData.inverted().transform(lead).T, color=colour, lw=0.7, zorder=4)


def _dense(line: Float[np.ndarray, "t 2"]) -> Float[np.ndarray, "_ 2"]:
    """Points along a line of pixels, three pixels apart or less, so that steep pieces are felt too."""
    steps = np.maximum(1, np.ceil(np.abs(np.diff(line, axis=0)).max(1) / 3)).astype(int)
    pieces = [line[i] + np.linspace(0, 1, n, endpoint=False)[:, None] * (line[i + 1] - line[i]) for i, n in enumerate(steps)]
    return np.concatenate([*pieces, line[-1:]])


def _best_place(
    ink: np.ndarray, ring: np.ndarray, size: tuple[float, float], frame: Sequence[float], taken: Sequence[tuple[float, ...]]
) -> tuple[float, float]:
    """The centre of a label of this size, in pixels: inside the frame, on no label, on as little ink as can be, near its ring."""
    (width, height), (left, bottom, wide, high) = size, frame
    columns = np.linspace(left + width / 2, left + wide - width / 2, 60)
    rows = np.linspace(bottom + height / 2, bottom + high - height / 2, 60)
    x, y = (axis.ravel() for axis in np.meshgrid(columns, rows))
    covered = _covered(ink - (left, bottom), np.stack([x - left, y - bottom], 1), size)
    clash = sum((np.abs(x - a) < (width + w) / 2) & (np.abs(y - b) < (height + h) / 2) for a, b, w, h in taken)
    away = np.hypot(np.abs(x - ring[0]).clip(width / 2) - width / 2, np.abs(y - ring[1]).clip(height / 2 + 5) - height / 2)
    best = int(np.argmin(3 * covered + 1e4 * np.asarray(clash) + 0.25 * away))
    return float(x[best]), float(y[best])


def _covered(ink: np.ndarray, centres: np.ndarray, size: tuple[float, float], cell: float = 2.0) -> np.ndarray:
    """How many points of ink a box of this size covers at each centre, to the nearest cell: from sums over a grid of cells."""
    number = np.ceil(np.maximum(ink.max(0, initial=0), centres.max(0) + size) / cell).astype(int) + 1
    counts, *_ = np.histogram2d(*ink.T, bins=number, range=[(0, end) for end in number * cell])
    below = np.pad(counts.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    (x0, y0), (x1, y1) = (np.round((centres + side * np.array(size) / 2) / cell).astype(int).clip(0).T for side in (-1, 1))
    return below[x1, y1] - below[x0, y1] - below[x1, y0] + below[x0, y0]


def _lead(ring: np.ndarray, place: tuple[float, float], size: tuple[float, float]) -> np.ndarray:
    """From the ring to the nearest point of the label's box."""
    half, middle = np.array(size) / 2, np.array(place)
    return np.stack([ring, np.clip(ring, middle - half, middle + half)])


# ------------------------------------------------------------------ groups


def groups_figure(groups: Sequence[str], rows: Mapping[str, Sequence[Value]], ylabel: str, floor: Sequence[float] = ()) -> "Figure":
    """A dot with its interval for every method in every group, side by side; the floor of each group as a line."""
    figure, axes = _axes((min(max(6.4, 1.4 + 0.95 * len(groups)), 9.0), 4.4))
    for k, (name, values) in enumerate(rows.items()):
        place = np.arange(len(groups)) + (k + 0.5) / len(rows) * 0.76 - 0.38
        _dots(axes, place, values, name, k, size=5 if len(groups) * len(rows) < 60 else 3.5)
    for k, height in enumerate(floor):
        axes.plot([k - 0.45, k + 0.45], [height] * 2, **FLOOR, lw=1.3,
                  label="retrieve-all" if k == 0 else None, zorder=1)
    for k in range(1, len(groups)):
        axes.axvline(k - 0.5, color="#e4e4e4", lw=0.8, zorder=0)
    axes.set(ylabel=ylabel, xlim=(-0.5, len(groups) - 0.5), ylim=(0, 1.04), xticks=range(len(groups)))
    few = len(groups) <= 9
    broken = [group.replace(" (", "\n(") for group in groups]
    axes.set_xticklabels(broken, rotation=0 if few else 40, ha="center" if few else "right")
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=9, handlelength=2.6)
    return figure


def _dots(axes: "Axes", place: np.ndarray, values: Sequence[Value], name: str, k: int, size: float) -> None:
    middle, low, high = np.array(values, float).reshape(-1, 3).T
    spread = np.nan_to_num(np.stack([middle - low, high - middle])).clip(0)
    marker = "osD^vP*X"[k % 8]
    axes.errorbar(place, middle, spread, color=style_of(name, k)[0], fmt=marker, ms=size, lw=1.2, label=name)


def values_figure(rows: Mapping[str, Value], xlabel: str, zero: str = "") -> "Figure":
    """One number of every method with its interval, a line for each; the meaning of zero is written at its line."""
    figure, axes = _axes((6.4, 1.1 + 0.36 * len(rows)))
    for k, (name, (middle, low, high)) in enumerate(reversed(rows.items())):
        colour = style_of(name, len(rows) - 1 - k)[0]
        if np.isfinite(low) and np.isfinite(high):
            axes.plot([low, high], [k, k], color=colour, lw=2)
        axes.plot(middle, k, "o", color=colour, ms=6)
    _lines(axes, list(rows), f"{xlabel}   (0: {zero})" if zero else xlabel)
    return figure


def _lines(axes: "Axes", names: Sequence[str], xlabel: str) -> None:
    """A line for every name, the first on top, and a mark at 0."""
    axes.axvline(0, **FLOOR, lw=1)
    axes.set(xlabel=xlabel, yticks=range(len(names)), yticklabels=names[::-1], ylim=(-0.6, len(names) - 0.4))
    axes.grid(axis="y", visible=False)


def calibration_figure(tables: Mapping[str, Sequence[tuple[float, float, float]]], base: float = float("nan")) -> "Figure":
    """How often what is given a number is right: (mean number, share right, count) of every bin; dots grow with the count."""
    figure, axes = _axes((6.4, 5.2))
    axes.plot([0, 1], [0, 1], color="#8a8a8a", lw=1)
    axes.text(0.03, 0.06, "as often right as it says", color="#666666", fontsize=9, rotation=35)
    if np.isfinite(base):
        axes.axhline(base, **FLOOR, lw=1.3)
        axes.text(0.99, base + 0.012, "retrieve-all", color="#555555", fontsize=9, ha="right")
    for k, (name, table) in enumerate(tables.items()):
        said, right, count = np.array(table, float).reshape(-1, 3).T
        colour, dashes = style_of(name, k)
        axes.plot(said, right, color=colour, ls=dashes, lw=1.5, label=name)
        axes.scatter(said, right, 12 + 90 * np.sqrt(count / max(count.max(), 1)), color=colour, alpha=0.8, lw=0)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="what it says", ylabel="share that is right")
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=9, handlelength=2.6)
    return figure


def differences_figure(differences: Mapping[str, Sequence[float]], xlabel: str) -> "Figure":
    """The second less the first on every object, one line of dots a pair, with their mean."""
    figure, axes = _axes((6.8, 1.2 + 0.62 * len(differences)))
    jitter = np.random.default_rng(0)
    for k, (name, values) in enumerate(reversed(differences.items())):
        colour, shown = style_of(name, len(differences) - 1 - k)[0], np.asarray(values, float)
        axes.scatter(shown, k + jitter.uniform(-0.22, 0.22, len(shown)), 14, color=colour, alpha=0.55, lw=0)
        axes.plot([shown.mean()] * 2, [k - 0.36, k + 0.36], color="#111111", lw=2)
    _lines(axes, list(differences), xlabel)
    return figure


# ------------------------------------------------------------------ files


def _axes(size: tuple[float, float]) -> tuple["Figure", "Axes"]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#ececec", lw=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def saved(figure: "Figure", path: Path | None = None) -> str:
    """The figure as SVG text, the same bytes every time; also as PNG where a path is given."""
    import io

    import matplotlib

    if path is not None:
        figure.savefig(path, dpi=160, metadata={"Software": None})
    file = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "semquery", "svg.fonttype": "path"}):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return file.getvalue()
