"""From names to answers: codebook, queries."""

import hashlib
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from semquery import views
from semquery.codebook import build_codebook, said
from semquery.export import highlighted_cloud
from semquery.manifest import as_config
from semquery.opened import Found, Scene, supporting_views
from semquery.phrases import Phrase
from semquery.portraits import PortraitConfig, portraits
from semquery.prompts import bank, negatives
from semquery.query import QueryConfig
from semquery.relations import Frame
from semquery.stages.common import progress
from semquery.store import Run, RunError, slug
from semquery.strips import answer_picture
from semquery.text import HfText, Lexical, OpenClip, PictureEncoder, TextEncoder, encoder_from
from semquery.types import Codebook, NodeLabel, PartTree, Surface
from semquery.views import png_bytes


def photo_of(run: Run, surface: Surface) -> Callable[[str], np.ndarray]:
    """view → its photo on white; where the photo is gone, the view painted from the surface."""
    return views.photo_of(run.cameras(), surface)


def encode(
    run: Run, encoder: TextEncoder = Lexical(), pictures: PictureEncoder | None = None, against: Sequence[str] | None = None,
    shown: PortraitConfig = PortraitConfig(), overwrite: bool = False,
) -> Codebook:
    """Embed everything that is said about the parts, and with `pictures` what they look like → codebook.npz.

    `against`: what a hit has to beat, by default prompts/negatives.txt. What was there is replaced only by a whole codebook.
    """
    run.need("labels.jsonl")
    if not any(said(named) for named in run.labels().values()):
        raise RunError(f"No part of {run.path} has a name yet. Name them with: semquery label {run.path}")
    if pictures is not None and pictures.kind != "clip":
        raise ValueError(f"To encode pictures takes a CLIP or a SigLIP, and this encoder takes texts alone: {pictures.check()}.")
    beaten, generic = tuple(against or negatives()), bank()
    for each in (encoder, *([] if pictures is None else [pictures])):
        found = each.check()
        if each.kind != "lexical":
            print(f"encode: {found}")
    recorded = {"encoder": encoder.identity, "negatives": list(beaten), "bank": hashlib.sha256("\n".join(generic).encode()).hexdigest()[:12],
                "pictures": "" if pictures is None else {"encoder": pictures.identity, "shown": shown}}
    inputs = ("labels.jsonl", "parts.npz")
    if not overwrite and not run.begin("encode", recorded, inputs):
        return run.codebook()
    start = time.time()
    parts, labels = run.parts(), run.labels()
    known = {part: named for part, named in labels.items() if part < parts.num_parts}
    drawn = {} if pictures is None else _close_ups(run, parts, known, shown)
    book = build_codebook(known, _absolute(encoder), beaten, generic, drawn, None if pictures is None else _absolute(pictures))
    if overwrite:  # only now: the codebook that is there serves until the new one is whole
        run.begin("encode", recorded, inputs, overwrite=True)
    run.write_codebook(book)
    run.done("encode", time.time() - start, rows=len(book.texts), pictures=len(book.part_of_picture))
    return book


def _absolute(encoder: TextEncoder) -> TextEncoder:
    """With the whole paths of its files, so that queries find them from any folder."""
    if not isinstance(encoder, (HfText, OpenClip)):
        return encoder
    named = {name: Path(getattr(encoder, name)) for name in ("checkpoint", "model", "pretrained") if hasattr(encoder, name)}
    return replace(encoder, **{name: str(path.resolve()) for name, path in named.items() if path.exists()})


def _close_ups(run: Run, parts: PartTree, labels: Mapping[int, NodeLabel], shown: PortraitConfig) -> dict[int, bytes]:
    """The close-up of every part that has a name; none for parts without a surface point."""
    surface = run.surface()
    draw = portraits(surface, parts, run.cameras(), photo_of(run, surface), shown, supporting_views(run, surface))
    drawn = {part: draw(part) for part in progress(sorted(labels), "encode: pictures")}
    return {part: pngs[-1] for part, pngs in drawn.items() if pngs}


def opened(
    run: Run, config: QueryConfig = QueryConfig(), encoder: TextEncoder | None = None, reencode: bool = False,
    up: Sequence[float | int] | None = None, front: Sequence[float | int] | None = None,
) -> Scene:
    """The run, ready to be asked; with `reencode` its codebook is made anew first, by `encoder` or by the one that made it.

    A codebook with pictures keeps them: they are encoded again by the same encoder.
    """
    if reencode:
        _encode_again(run, encoder)
    return Scene.open(run, config, encoder, up, front)


def _encode_again(run: Run, encoder: TextEncoder | None) -> None:
    """The codebook anew, by another encoder where one is given, all else as it was."""
    if not (run / "codebook.npz").exists():
        encode(run, encoder or Lexical(), overwrite=True)
        return
    book, last = run.codebook(), run.stage("encode")
    pictures = encoder_from(book.picture_encoder_config) if book.picture_encoder else None
    shown = last["config"]["pictures"]["shown"] if last is not None and pictures is not None else {}
    portrait = PortraitConfig(**{name: value for name, value in shown.items() if name != "class"})
    encode(run, encoder or encoder_from(book.encoder_config), pictures, book.negative_texts, portrait, overwrite=True)


def query(run: Run, text: str, config: QueryConfig = QueryConfig(), view: str | None = None) -> list[Found]:
    """The parts that answer a query, best first. Whoever asks more than once opens the run once: `Scene.open`."""
    return opened(run, config).query(text, view=view)


def write_answer(
    run: Run, scene: Scene, text: str, found: Sequence[Found], view: str | None = None, missing: str = "", phrase: Phrase | None = None
) -> Path:
    """queries/<slug>/: result.json, the best hit's mask in every view that shows it, parts.ply (hit = rank of the answer), picture.png.

    `missing`: why nothing was found, where nothing was. `phrase`: the query as it was understood, if not by the rules.
    """
    folder, masks = answer_folder(run, text, view), found[0].masks() if found else {}
    run.write_json(folder / "result.json", as_record(scene, text, found, view, missing, phrase) | {"masks": mask_files(masks)})
    run.write_ply(folder / "parts.ply", highlighted_cloud(scene.surface, scene.tree, [each.point_ids for each in found]))
    for file, mask in zip(mask_files(masks), masks.values(), strict=True):
        run.write_bytes(folder / file, png_bytes(mask))
    picture = answer_picture(scene.surface, [(each.hit, each.point_ids) for each in found], scene.photo(), text) if found else None
    if picture is not None:
        run.write_bytes(folder / "picture.png", png_bytes(picture))
    return folder


def answer_folder(run: Run, text: str, view: str | None = None, kind: str = "") -> Path:
    """queries/<slug>, emptied; questions and what is asked as seen in a view have folders of their own."""
    queries = run / "queries"
    if queries.exists() and not queries.is_dir():
        raise RunError(f"{queries} is a file, and answers are written into a folder of that name: move it away.")
    name = "--".join(filter(None, (slug(text), kind, view and f"view-{slug(view)}")))  # a slug has no two dashes in a row
    shutil.rmtree(queries / name, ignore_errors=True)
    return queries / name


def mask_files(masks: Mapping[str, Any]) -> list[str]:
    """Where the mask of each view is written, within the folder of the answer."""
    return [f"masks/{view}.png" for view in masks]


def as_record(
    scene: Scene, text: str, found: Sequence[Found], view: str | None = None, missing: str = "", phrase: Phrase | None = None
) -> dict:
    """An answer as JSON: every hit with its members, its box in world units and how it was come to.

    `frame`: what up, front and right were taken for, where the query asks about places; `steps`: what was done then, in sentences.
    """
    hits = [{**asdict(each.hit), "name": each.name, "members": list(each.members), "box": box_record(each)} for each in found]
    frame = frame_record(scene.frame(view)) if scene.asks_where(text, phrase) else None
    steps = list(scene.steps(text, view, phrase))
    return {"schema": "semquery/answer", "version": 2, "query": text, "config": as_config(scene.config), "view": view,
            "frame": frame, "steps": steps, "hits": hits, "missing": missing}


def frame_record(frame: Frame) -> dict:
    """Unit directions in the world, and in words where they are from."""
    return {"origin": frame.origin, **{name: np.asarray(getattr(frame, name)).tolist() for name in ("up", "front", "right")}}


def box_record(found: Found) -> dict | None:
    """The oriented box as lists; None for parts without a surface point."""
    if not len(found.point_ids):
        return None
    return {"centre": found.box.centre.tolist(), "axes": found.box.axes.tolist(), "extent": found.box.extent.tolist()}
