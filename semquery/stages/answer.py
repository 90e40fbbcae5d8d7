"""From a part tree to answers: names, codebook, queries, exports."""

import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from semquery.export import highlighted_cloud, labelled_cloud, tree_json
from semquery.facts import measure, up_direction
from semquery.labelling import labels_by_hand, walk
from semquery.manifest import as_config
from semquery.pictures import on_white
from semquery.prompts import negatives
from semquery.query import QueryConfig, answer
from semquery.stages.common import load_photo, progress
from semquery.store import Run, RunError, slug
from semquery.text import Lexical, TextEncoder, build_codebook
from semquery.types import Codebook, Hit, NodeLabel, Surface
from semquery.views import answer_picture, levels_picture, part_mask, part_pictures, png_bytes, repainted
from semquery.vlm import Appearance, Vlm


def photo_of(run: Run, surface: Surface) -> Callable[[str], np.ndarray]:
    """view → its photo on white; where the photo is gone, the view painted from the surface."""
    cameras = run.cameras()
    paths = dict(zip(cameras.names, cameras.images, strict=True))

    def photo(view: str) -> np.ndarray:
        path = Path(paths[view])
        return on_white(load_photo(path)) if path.exists() else repainted(surface, view)

    return photo


def label(run: Run, vlm: Vlm = Appearance(), overwrite: bool = False) -> dict[int, NodeLabel]:
    """Name every part, depth first → labels.jsonl (one line per answer) and views/<part>/*.png.

    With `overwrite` everything is asked anew, but names given by hand stay.
    """
    parts, surface, cameras = run.parts(), run.surface(), run.cameras()
    if overwrite:
        run.keep_labels_by_hand()
    if not run.begin("label", {"vlm": vlm}, inputs=("parts.npz", "surface.npz"), overwrite=overwrite, keep=("labels.jsonl",)):
        print("label: already done")
        return run.labels()
    start = time.time()
    facts = measure(surface, parts, up_direction(cameras.T_world_cam))
    draw = part_pictures(surface, parts, photo_of(run, surface))
    bar = progress(None, "label", total=parts.num_parts)

    def pictures(part: int) -> tuple[bytes, ...]:
        bar.update(1)
        shown = draw(part)
        for k, png in enumerate(shown):
            run.write_bytes(f"views/{part}/{k}.png", png)
        return shown

    labels = walk(parts, facts, pictures, vlm, run.label_journal(), run.append_label)
    bar.close()
    run.done("label", time.time() - start, unknown=sum(given.name == "unknown" for given in labels.values()))
    return labels


def label_by_hand(run: Run, names: Path) -> int:
    """Append names from a JSON file (part number → name); they win over every other label."""
    if not names.is_file():
        raise ValueError(f"There is no file {names}.")
    try:
        record = json.loads(names.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{names} is not JSON: {error}.") from error
    given = labels_by_hand(record, run.parts())
    for named in given:
        run.append_label(named, "")
    return len(given)


def encode(run: Run, encoder: TextEncoder = Lexical(), overwrite: bool = False) -> Codebook:
    """Embed everything that is said about the parts → codebook.npz."""
    run.need("labels.jsonl")
    against = negatives()
    if not run.begin("encode", {"encoder": encoder, "negatives": against}, inputs=("labels.jsonl", "parts.npz"), overwrite=overwrite):
        return run.codebook()
    start = time.time()
    parts, labels = run.parts(), run.labels()
    book = build_codebook({p: named for p, named in labels.items() if p < parts.num_parts}, encoder, against)
    run.write_codebook(book)
    run.done("encode", time.time() - start, rows=len(book.texts))
    return book


def query(run: Run, text: str, config: QueryConfig = QueryConfig(), encoder: TextEncoder = Lexical()) -> list[Hit]:
    """The parts that answer a query, best first."""
    if not (run / "labels.jsonl").exists():
        raise RunError(f"{run.path} has no names to search yet. Name its parts with: semquery label {run.path}")
    run.need("codebook.npz")
    run.check_current("encode")
    return answer(text, run.surface(), run.parts(), run.labels(), run.codebook(), config, encoder)


def write_answer(run: Run, text: str, hits: Sequence[Hit], config: QueryConfig) -> Path:
    """queries/<slug>/: result.json, the best hit's mask in every view, parts.ply, picture.png."""
    folder = run / "queries" / slug(text)
    shutil.rmtree(folder, ignore_errors=True)
    surface, parts = run.surface(), run.parts()
    run.write_json(folder / "result.json", {"query": text, "config": as_config(config), "hits": [asdict(hit) for hit in hits]})
    inside = parts.points_of(hits[0].part) if hits else np.zeros(len(surface.points), bool)
    for view in surface.point_of_pixel:
        mask = part_mask(surface, inside, view)
        if mask.any():
            run.write_bytes(folder / "masks" / f"{view}.png", png_bytes(mask))
    run.write_ply(folder / "parts.ply", highlighted_cloud(surface, parts, [hit.part for hit in hits]))
    if hits:
        run.write_bytes(folder / "picture.png", png_bytes(answer_picture(surface, parts, hits, photo_of(run, surface), text)))
    return folder


def export(run: Run, out: Path | None = None) -> list[Path]:
    """parts.ply (every point with its part) and tree.json (the tree with names and boxes), and a picture of the levels."""
    surface, parts, labels = run.surface(), run.parts(), run.labels()
    folder = out or run / "export"
    run.write_ply(folder / "parts.ply", labelled_cloud(surface, parts))
    run.write_json(folder / "tree.json", tree_json(surface, parts, labels))
    run.write_bytes(folder / "levels.png", png_bytes(levels_picture(surface, parts, photo_of(run, surface))))
    return [folder / name for name in ("parts.ply", "tree.json", "levels.png")]
