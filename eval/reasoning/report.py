"""The noise table and its pictures: OUT/noise.md, OUT/results.json, OUT/SUBJECT.png.

A number is the mean of `seeable`: over labels the IoU of their faces, of all faces that can be seen from somewhere. In a subject's
table it is a mean over seeds with a 95 % interval of Student's t; in the table of all it is a mean over subjects of their means, with an
interval over subjects. `margin` is the least by which `robust` is ahead of the better of `sum` and SATR's scores (`both`, `satr`) on any
subject.
"""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float64, Int, UInt8

from eval.metrics import interval
from eval.reasoning.methods import ALONE
from eval.reasoning.noise import ROWS, Cell, NoiseConfig, Row, cell_path, settings_of
from eval.report import markdown, part_palette
from semquery.fusion.viewpoints import FOV, poses, unit_sphere

if TYPE_CHECKING:
    from eval.reasoning.subjects import Subject
    from semquery.render import Hits, RayCaster

Measure = Literal["seeable", "miou", "seen", "area", "accuracy"]
RIVALS = ("sum", "both", "satr")
SIDE = 150  # of each picture of a sheet, pixels
SHOWN = ("exact", "box", "dilate 16 px", "speckle 30 %", "wrong part 40 %", "wrong part 40 %, 16 views")


def write_report(config: NoiseConfig, cells: Sequence[Cell]) -> str:
    """Tables, numbers and pictures; the table of all subjects is printed too."""
    text = report(config, cells)
    (config.out / "noise.md").write_text(text, encoding="utf-8")
    said = {"config": json.loads(json.dumps(asdict(config), default=str)), "settings": settings_of(config),
            "versions": {"python": platform.python_version(), **{name: version(name) for name in ("numpy", "scipy", "semquery")}},
            "cells": [asdict(cell) for cell in cells]}
    (config.out / "results.json").write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    write_pictures(config, cells)
    print(all_table(cells), f"\n\nMore in {config.out / 'noise.md'}")
    return text


# ------------------------------------------------------------------ tables


def report(config: NoiseConfig, cells: Sequence[Cell]) -> str:
    """noise.md."""
    names = list(dict.fromkeys(cell.subject for cell in cells))
    parts = [f"# Regions fused on {len(names)} meshes, {config.side}² pixels, seeds {', '.join(map(str, config.seeds))}",
             "Means of IoU over labels, on faces that can be seen. Methods that answer one query at a time: " + ", ".join(ALONE) + ".",
             "## All subjects, ± over subjects", all_table(cells), "## Exact masks", exact_table(cells)]
    for name in names:
        own = [cell for cell in cells if cell.subject == name]
        parts += [f"## {name}: {own[0].num_faces:,} faces, {own[0].num_labels} labels, ± over seeds", subject_table(own)]
    parts += ["## All subjects, all faces", all_table(cells, "miou"), "## All subjects, faces seen in the views", all_table(cells, "seen")]
    return "\n\n".join(parts) + "\n"


def subject_table(cells: Sequence[Cell], measure: Measure = "seeable") -> str:
    """A line a row, a column a method."""
    lines = [["masks", "faces seen", *cells[0].right]]
    for row in dict.fromkeys(cell.row for cell in cells):
        same = [cell for cell in cells if cell.row == row]
        lines.append([row, f"{np.mean([cell.seen for cell in same]):.3f}",
                      *(_with_interval([getattr(cell.right[method], measure) for cell in same]) for method in same[0].right)])
    return markdown(lines)


def all_table(cells: Sequence[Cell], measure: Measure = "seeable") -> str:
    """A line a row: means over subjects, and the worst margin of `robust` with the subject that has it."""
    methods = list(cells[0].right)
    has_margin = "robust" in methods and any(rival in methods for rival in RIVALS)
    lines = [["masks", *methods, *(["margin", "of"] if has_margin else [])]]
    for row in dict.fromkeys(cell.row for cell in cells):
        of = means([cell for cell in cells if cell.row == row], measure)
        line = [row, *(_with_interval([mean[method] for mean in of.values()]) for method in methods)]
        lines.append(line + ([f"{(worst := min(margins(of).items(), key=lambda item: item[1]))[1]:+.3f}", worst[0]] if has_margin else []))
    return markdown(lines)


def means(cells: Sequence[Cell], measure: Measure) -> dict[str, dict[str, float]]:
    """Of every subject the mean over seeds of each method, for cells of one row."""
    names = dict.fromkeys(cell.subject for cell in cells)
    return {name: {method: float(np.mean([getattr(cell.right[method], measure) for cell in cells if cell.subject == name]))
                   for method in cells[0].right} for name in names}


def margins(of: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """By how much `robust` is ahead of the best rival, per subject."""
    return {name: mean["robust"] - max(mean[rival] for rival in RIVALS if rival in mean) for name, mean in of.items()}


def exact_table(cells: Sequence[Cell]) -> str:
    """What exact masks leave to be desired: faces that no view shows. Nothing for rows with noise."""
    exact = [cell for cell in cells if cell.row.startswith("exact")]
    lines = [["mesh", "masks", "seen", "seeable", "method", "right of the seen", "mIoU seen", "mIoU seeable", "mIoU all"]]
    for cell in exact:
        for method, right in cell.right.items():
            if method in ("sum", "robust", "robust-tree"):
                lines.append([cell.subject, cell.row, f"{cell.seen:.3f}", f"{cell.seeable:.3f}", method, f"{right.accuracy:.4f}",
                              *(f"{value:.4f}" for value in (right.seen, right.seeable, right.miou))])
    return markdown(lines) if exact else "No row has exact masks."


def _with_interval(values: Sequence[float]) -> str:
    mean, low, high = interval(values)
    return f"{mean:.3f}" if np.isnan(low) else f"{mean:.3f} ±{(high - low) / 2:.3f}"


# ------------------------------------------------------------------ pictures


def write_pictures(config: NoiseConfig, cells: Sequence[Cell]) -> None:
    """A sheet a subject: a line a row of noise (the first seed), a column a method, the truth on top; from the front and from behind."""
    from PIL import Image

    from eval.reasoning.subjects import subjects

    makers = subjects(config.subjects, config.scan, config.partnet)
    for name, make in makers.items():
        rows = [row for row in ROWS if row.name in config.rows and row.name in SHOWN]
        if not rows:
            return
        Image.fromarray(sheet(config, make(), rows)).save(config.out / f"{name}.png")


def sheet(config: NoiseConfig, subject: "Subject", rows: Sequence[Row]) -> UInt8[np.ndarray, "H W 3"]:
    """All of a subject's pictures, with what they are."""
    from PIL import Image, ImageDraw

    from semquery.render import RayCaster

    methods = [method for method in config.methods if method not in ALONE]
    caster = RayCaster(unit_sphere(subject.vertices)[0], subject.faces)
    at = np.array([[0.2, np.pi / 2], [0.2, -np.pi / 2]] if subject.up == "y" else [[0.6, -np.pi / 3], [0.6, 2 * np.pi / 3]])
    shown = [close_up(caster, camera) for camera in poses(at, up=subject.up)]
    lines = [("", {"truth": subject.label_of_face})]
    for row in rows:
        with np.load(cell_path(config.out, subject.name, row, config.seeds[0]).with_suffix(".npz")) as held:
            lines.append((row.name, {method: held[method] for method in methods}))
    wide, margin, top = 2 * SIDE + 6, 150, 22
    page = Image.new("RGB", (margin + wide * len(methods), top + SIDE * len(lines)), "white")
    pen = ImageDraw.Draw(page)
    for k, method in enumerate(methods):
        pen.text((margin + k * wide + SIDE - 20, top + SIDE - 14), method, fill="black")
    for y, (row, labels) in enumerate(lines):
        pen.text((6, top + y * SIDE + SIDE // 2), row or "truth", fill="black")
        for x, label in enumerate(labels.values()):
            pair = np.concatenate([coloured(hits, label, subject.num_labels) for hits in shown], 1)
            page.paste(Image.fromarray(pair), (margin + x * wide, top + y * SIDE - (10 if not row else 0)))
    return np.asarray(page)


def close_up(caster: "RayCaster", camera: Float64[np.ndarray, "4 4"]) -> "Hits":
    """What a camera sees of a mesh in the unit sphere, with the angle narrowed until the mesh fills the picture."""
    from semquery.render import pinhole

    wide = pinhole(FOV, (SIDE, SIDE))
    places = np.argwhere(caster.cast(camera, wide, (SIDE, SIDE)).mask)
    reach = np.abs(places + 0.5 - SIDE / 2).max(initial=1) / (SIDE / 2) + 0.02
    return caster.cast(camera, wide * [1 / reach, 1 / reach, 1, 1], (SIDE, SIDE))


def coloured(hits: "Hits", label: Int[np.ndarray, " f"], num_labels: int) -> UInt8[np.ndarray, "h w 3"]:
    """A view in the colours of labels; dark where a face has none, white beside the mesh."""
    from semquery.render import shade

    colors = np.concatenate([part_palette(num_labels), np.full((1, 3), 45, np.uint8)]) / 255
    lit = shade(hits, colors[label[hits.face]])
    return np.where(hits.mask[..., None], (255 * lit).round(), 255).astype(np.uint8)
