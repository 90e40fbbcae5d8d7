"""From names to answers: codebook, queries, exports."""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from semquery.export import highlighted_cloud, labelled_cloud, tree_json
from semquery.manifest import as_config
from semquery.masks import on_white
from semquery.prompts import negatives
from semquery.query import QueryConfig, answer
from semquery.stages.common import load_photo
from semquery.store import Run, RunError, slug
from semquery.text import Lexical, TextEncoder, build_codebook
from semquery.types import Codebook, Hit, Surface
from semquery.views import answer_picture, levels_picture, part_mask, png_bytes, repainted


def photo_of(run: Run, surface: Surface) -> Callable[[str], np.ndarray]:
    """view → its photo on white; where the photo is gone, the view painted from the surface."""
    cameras = run.cameras()
    paths = dict(zip(cameras.names, cameras.images, strict=True))

    def photo(view: str) -> np.ndarray:
        path = Path(paths[view])
        return on_white(load_photo(path)) if path.exists() else repainted(surface, view)

    return photo


def encode(run: Run, encoder: TextEncoder = Lexical(), overwrite: bool = False) -> Codebook:
    """Embed everything that is said about the parts → codebook.npz."""
    run.need("labels.jsonl")
    if not run.labels():
        raise RunError(f"No part of {run.path} has a name yet. Name them with: semquery label {run.path}")
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
