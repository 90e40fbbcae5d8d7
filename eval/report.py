"""What the tree evaluation shows: tables with intervals, and a picture of every scene.

NC takes the best node for each true part, so thousands of nodes raise it; F50, the harmonic mean of R50 and P50, does not.
A table row is one method under one geometry and mask regime; its numbers are means over scenes and seeds with 95 %
intervals of Student's t over the scenes' means (cells of one scene are no independent samples). `gap` is ours minus
the method, paired cell by cell.

A picture shows one held-out view. Each column is a level of the true tree; the first line shows its parts in their
colours, the lines below, for every method and regime, the predicted node that fits each true part best, in the
colour of the true part: what is dark was found by no node (IoU of a half or less).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int, UInt8

from eval.metrics import contingency, depths, interval, node_iou

if TYPE_CHECKING:
    from eval.judge import Row
    from eval.trees import TreesConfig

REGIMES = ("exact", "sam", "hard", "regions")  # in the order of a picture's lines
COLUMNS = ("sampled", "held-out", "VC", "purity", "R50", "R75", "P50", "F50", "nodes/true", "s")


def numbers(row: "Row") -> tuple[float, ...]:
    """NC, then one value a column."""
    s = row.scores
    f50 = 2 * s.recall50 * s.precision50 / max(s.recall50 + s.precision50, 1e-9)
    return (s.nc, s.sampled_nc, row.heldout_nc, row.consistency, s.purity, s.recall50, s.recall75, s.precision50, f50,
            s.num_nodes / row.true_nodes, row.seconds)


def write_report(config: "TreesConfig", rows: Sequence["Row"]) -> str:
    """trees.md and trees.json in OUT; the text is printed too."""
    import json

    from eval.judge import entry_of
    from eval.trees import OURS, TUNED_ON

    parts = ["# Part trees of known scenes\n", methods_table(rows, OURS)]
    rest = [row for row in rows if row.cell.scene not in TUNED_ON]
    if rest and len(rest) < len(rows):
        parts += [f"\n## Without the scenes tuned on ({', '.join(TUNED_ON)})\n", methods_table(rest, OURS)]
    parts += ["\n## Ours, scene by scene\n", scenes_table([row for row in rows if row.method == OURS])]
    kept = levels_kept([row for row in rows if row.method == OURS])
    parts += ["\n## Trained geometry as a share of exact geometry, level by level\n", kept] if kept else []
    text = "\n".join(parts) + "\n"
    (config.out / "trees.md").write_text(text)
    write_pictures(config, rows)
    (config.out / "trees.json").write_text(json.dumps([entry_of(row) for row in rows], indent=1) + "\n")
    print(text)
    return text


# ------------------------------------------------------------------ tables


def methods_table(rows: Sequence["Row"], ours: str) -> str:
    """One line for every geometry, regime and method; intervals are over scenes."""
    lines = [["geometry", "masks", "method", "cells", "NC", "±", *COLUMNS, "gap"]]
    for geometry, regime in dict.fromkeys((r.cell.geometry, r.cell.regime) for r in rows):
        same = [r for r in rows if (r.cell.geometry, r.cell.regime) == (geometry, regime)]
        our_nc = {r.cell: r.scores.nc for r in same if r.method == ours}
        for method in dict.fromkeys(r.method for r in same):
            mine = [r for r in same if r.method == method]
            spread = interval(_by_scene(mine, [r.scores.nc for r in mine]))
            gap = interval(_by_scene(mine, [our_nc[r.cell] - r.scores.nc for r in mine]))
            ahead = f"{gap[0]:+.3f} {_half(gap)}".strip() if method != ours else ""
            lines.append([geometry, regime, method, str(len(mine)), *_means(mine, _half(spread)), ahead])
    return markdown(lines)


def scenes_table(rows: Sequence["Row"]) -> str:
    """One line for every scene, geometry and regime; intervals are over seeds."""
    most = max(len(row.scores.levels) for row in rows)
    lines = [["scene", "geometry", "masks", "seeds", "NC", "±", *COLUMNS, *(f"L{k + 1}" for k in range(most))]]
    for key in dict.fromkeys((r.cell.scene, r.cell.geometry, r.cell.regime) for r in rows):
        same = [r for r in rows if (r.cell.scene, r.cell.geometry, r.cell.regime) == key]
        levels = np.mean([r.scores.levels for r in same], 0).tolist()
        spread = _half(interval([r.scores.nc for r in same]))
        lines.append([*key, str(len(same)), *_means(same, spread), *map(_short, levels), *[""] * (most - len(levels))])
    return markdown(lines)


def _means(rows: Sequence["Row"], spread: str) -> list[str]:
    """The mean of every number, and half the interval of the first behind it."""
    first, *rest = map(_short, np.mean([numbers(row) for row in rows], 0))
    return [first, spread, *rest]


def levels_kept(rows: Sequence["Row"]) -> str:
    """Per scene and regime: each level's NC on trained geometry as a share of that on exact geometry; "" without both."""
    def levels(scene: str, regime: str, geometry: str) -> list[tuple[float, ...]]:
        return [r.scores.levels for r in rows if (r.cell.scene, r.cell.regime, r.cell.geometry) == (scene, regime, geometry)]

    both = [(s, m) for s, m in dict.fromkeys((r.cell.scene, r.cell.regime) for r in rows) if levels(s, m, "trained") and levels(s, m, "exact")]
    shares = [np.mean(levels(s, m, "trained"), 0) / np.mean(levels(s, m, "exact"), 0) for s, m in both]
    if not both:
        return ""
    most = max(map(len, shares))
    return markdown([["scene", "masks", *(f"L{k + 1}" for k in range(most))],
                     *([*key, *map(_short, share), *[""] * (most - len(share))] for key, share in zip(both, shares, strict=True))])


def _by_scene(rows: Sequence["Row"], values: Sequence[float]) -> list[float]:
    """The mean of every scene."""
    scenes = [row.cell.scene for row in rows]
    return [float(np.mean([v for s, v in zip(scenes, values, strict=True) if s == scene])) for scene in dict.fromkeys(scenes)]


def _half(interval: tuple[float, float, float]) -> str:
    """Half the width of an interval; nothing where one value has none."""
    _, low, high = interval
    return "" if np.isnan(low) else f"±{(high - low) / 2:.3f}"


def _short(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.0f}"


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """A table with its columns aligned, so that it reads well unrendered too."""
    widths = [max(len(line[k]) for line in lines) for k in range(len(lines[0]))]
    text = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines]
    return "\n".join([text[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *text[1:]])


# ------------------------------------------------------------------ pictures


def write_pictures(config: "TreesConfig", rows: Sequence["Row"]) -> None:
    """OUT/<scene>-<geometry>.png: the held-out view that shows most parts, as its photo, its truth, and every method's first seed."""
    from PIL import Image

    from eval.judge import Judge
    from eval.trees import OURS, open_truth
    from semquery.masks import on_white
    from semquery.stages import load_photo
    from semquery.store import Run

    for scene, geometry in dict.fromkeys((row.cell.scene, row.cell.geometry) for row in rows):
        lines, first = [], {}
        for row in rows:
            if (row.cell.scene, row.cell.geometry) == (scene, geometry):
                first.setdefault((row.cell.regime, row.method), row.cell)
        for (regime, method), cell in sorted(first.items(), key=lambda item: REGIMES.index(item[0][0])):
            run, truth = Run(config.out / "runs" / cell.name), open_truth(config, scene)
            judge, true = Judge(truth, run, cell), truth.scene.parents
            view = int(np.argmax([len(np.unique(v.leaves)) for v in judge.views]))
            colors = part_palette(len(true))
            if not lines:
                photo = on_white(load_photo(Path(truth.heldout.images[view])))
                leaf = judge.views[view].leaves
                lines.append(("truth", [photo, *level_pictures(true, np.arange(len(true)), true, np.arange(len(true)), leaf, colors)]))
            tree = run.parts() if method == OURS else np.load(run / f"{method}.npz")
            parents, part = (tree.parents, tree.part_of_point) if method == OURS else (tree["parents"], tree["part_of_point"])
            found = level_pictures(true, judge.leaf, parents, part, judge.shown[view], colors)
            lines.append((f"{regime} masks\n{method}", [np.full_like(found[0], 255), *found]))
        Image.fromarray(sheet(lines)).save(config.out / f"{scene}-{geometry}.png")


def level_pictures(
    true_parents: Int[np.ndarray, " a"], leaf_of_point: Int[np.ndarray, " n"], parents: Int[np.ndarray, " p"],
    part_of_point: Int[np.ndarray, " n"], shown: Int[np.ndarray, "h w"], colors: UInt8[np.ndarray, "a 3"],
) -> list[UInt8[np.ndarray, "h w 3"]]:
    """A picture a level: the node that fits each true part best, in the part's colour; dark where none passes a half."""
    iou = node_iou(contingency(leaf_of_point, len(true_parents), part_of_point, len(parents)), true_parents, parents)
    best, holds, level = iou.argmax(1), _holds(parents), depths(true_parents)
    part = np.where(shown >= 0, part_of_point[shown], -1)
    pictures = []
    for k in range(1, level.max() + 1):
        picture = np.where(part[..., None] >= 0, np.uint8(45), np.uint8(255)).repeat(3, -1)
        nodes = [a for a in np.flatnonzero(level == k) if iou[a, best[a]] > 0.5]
        for a in sorted(nodes, key=lambda a: -holds[best[a]].sum()):  # small parts over large ones
            picture[(part >= 0) & holds[best[a], part]] = colors[a]
        pictures.append(picture)
    return pictures


def _holds(parents: Int[np.ndarray, " p"]) -> np.ndarray:
    """holds[a, b]: b is a or inside it."""
    holds = np.eye(len(parents), dtype=bool)
    for node in range(len(parents) - 1):
        holds[parents[node]] |= holds[node]
    return holds


def part_palette(count: int) -> UInt8[np.ndarray, "a 3"]:
    """Colours that differ between neighbours in number: hues by the golden ratio, two lightnesses."""
    from colorsys import hls_to_rgb

    return np.array([[round(255 * c) for c in hls_to_rgb(k * 0.618034 % 1, 0.55 if k % 2 else 0.68, 0.75)] for k in range(count)], np.uint8)


def sheet(lines: Sequence[tuple[str, Sequence[UInt8[np.ndarray, "h w 3"]]]], scale: int = 2) -> UInt8[np.ndarray, "H W 3"]:
    """Lines of pictures under each other, each with its name on the left."""
    from PIL import Image, ImageDraw

    height, width = lines[0][1][0].shape[:2]
    h, w, margin = height * scale, width * scale, 150
    page = Image.new("RGB", (margin + max(len(pictures) for _, pictures in lines) * (w + 4), len(lines) * (h + 4)), "white")
    for row, (name, pictures) in enumerate(lines):
        ImageDraw.Draw(page).text((6, row * (h + 4) + h // 2), name, fill="black")
        for column, picture in enumerate(pictures):
            page.paste(Image.fromarray(picture).resize((w, h), Image.Resampling.NEAREST), (margin + column * (w + 4), row * (h + 4)))
    return np.asarray(page)
