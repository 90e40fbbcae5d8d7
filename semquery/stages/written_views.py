"""What views answered, as files and in words: which were asked, how far each was believed, what was left out and why."""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8

from semquery.boxes import oriented_box
from semquery.export import highlighted_cloud, path_names
from semquery.lifting.answer import ViewsConfig
from semquery.lifting.head import head_tensors
from semquery.lifting.lift import at_size
from semquery.loose_json import one_line
from semquery.manifest import as_config
from semquery.pictures import captioned, enlarged, grid, outlined, png_bytes
from semquery.stages.answer import answer_folder, mask_files
from semquery.stages.ask_views import Viewed
from semquery.store import Run
from semquery.types import PartTree
from semquery.views import best_views, part_mask, photo_of

SIDE = 360  # of the pictures of an answer, pixels
SAID, MEANT = (60, 120, 255), (255, 40, 40)  # what a view said, and the answer


def write_viewed(run: Run, viewed: Viewed, config: ViewsConfig = ViewsConfig()) -> Path:
    """queries/<slug>--views/: result.json, masks/ (the answer in every view that shows it), said/ (what each view answered),
    parts.ply (columns hit and belief), picture.png and, if one was trained, head.safetensors."""
    folder, found = answer_folder(run, viewed.question, None, "views"), viewed.answer
    masks = {view: mask for view in viewed.surface.point_of_pixel if (mask := part_mask(viewed.surface, found.inside, view)).any()}
    said = {view: merged(regions) for view, regions in viewed.regions.items() if regions}
    run.write_json(folder / "result.json", viewed_record(viewed, config) | {"masks": mask_files(masks)})
    for name, pictures in (("masks", masks), ("said", said)):
        for view, mask in pictures.items():
            run.write_bytes(folder / name / f"{view}.png", png_bytes(mask))
    tree = viewed.tree or _one_part(len(found.inside))
    lit = [np.flatnonzero(found.inside)] if found.inside.any() else []
    run.write_ply(folder / "parts.ply", highlighted_cloud(viewed.surface, tree, lit, belief=found.belief.astype(np.float32)))
    if found.head is not None:
        run.write_tensors(str(folder.relative_to(run.path) / "head.safetensors"), head_tensors(found.head), question=viewed.question, rule=config.head.rule)
    run.write_bytes(folder / "picture.png", png_bytes(viewed_picture(viewed)))
    return folder


def merged(regions) -> Bool[np.ndarray, "h w"]:
    """All regions of a view as one mask."""
    return np.any([region.mask for region in regions], axis=0)


def _one_part(num_points: int) -> PartTree:
    """For a run without a tree: everything is one part."""
    none = np.zeros(0, np.float32)
    return PartTree(np.zeros(1, np.int32), np.zeros(1, np.float32), np.zeros(num_points, np.int32), np.zeros((0, 3), np.int32), none)


def viewed_record(viewed: Viewed, config: ViewsConfig) -> dict:
    """All of an answer as JSON: every view that was asked with its weight, what it said, and how far it agrees with the answer."""
    found, tree = viewed.answer, viewed.tree
    parts = [] if tree is None else [{"part": part, "path": list(path_names(tree, viewed.labels, part))} for part in found.parts]
    return {
        "schema": "semquery/ask-views", "version": 1, "question": viewed.question, "method": "views", "config": as_config(config),
        "segmenter": viewed.segmenter, "pixels": viewed.encoder if found.head is not None and config.head.spatial else None,
        "views": view_records(viewed), "weighed_by": found.weighed.by, "explanation": found.explanation, "dissent": list(found.dissent), "failed": viewed.failed,
        "dropped": [{"view": each.view, "why": each.why} for each in found.dropped],
        "num_points": int(found.inside.sum()), "share_seen": round(float(found.fused.known.mean()), 4),
        "parts": parts, "snap_iou": None if found.snap_iou is None else round(found.snap_iou, 4), "distilled": found.head is not None, "box": _box(viewed),
    }


def view_records(viewed: Viewed) -> list[dict]:
    """Of every chosen view, in the order of choice; `weight` is null where nothing that it said counts."""
    votes, found = viewed.answer.votes, viewed.answer
    row = {view: k for k, view in enumerate(votes.views)}
    records = []
    for view in viewed.views:
        regions = viewed.regions.get(view)
        record = {"view": view, "regions": None if regions is None else len(regions), "weight": None}
        if view in row:
            k = row[view]
            record |= {"weight": round(float(found.weighed.weights[k]), 4), "score": round(float(votes.scores[k]), 4),
                       "agreement": round(float(found.agreement[k]), 4), "text": votes.texts[k], "dissents": view in found.dissent}
        records.append(record)
    return records


def _box(viewed: Viewed) -> dict | None:
    points = viewed.surface.points[viewed.answer.inside]
    if not len(points):
        return None
    box = oriented_box(points)
    return {"centre": box.centre.tolist(), "axes": box.axes.tolist(), "extent": box.extent.tolist()}


def viewed_picture(viewed: Viewed) -> UInt8[np.ndarray, "h w 3"]:
    """The views as they were asked, those believed most first: what each said outlined in blue, the answer in red. Before them the
    view that shows the answer best, where none of those asked does so better."""
    photo, found = photo_of(viewed.cameras, viewed.surface), viewed.answer
    records = sorted(view_records(viewed), key=lambda record: -(record["weight"] or 0))
    best = best_views(viewed.surface, found.inside, 1) if found.inside.any() else []
    cells = [_cell(viewed, photo(view), view, f"“{viewed.question[:80]}” ({view})", False) for view in best]
    cells += [_cell(viewed, photo(record["view"]), record["view"], _caption(record), True) for record in records]
    return grid(cells, columns=min(3, len(cells)))


def _cell(viewed: Viewed, image: UInt8[np.ndarray, "h w 3"], view: str, caption: str, with_said: bool) -> UInt8[np.ndarray, "a b 3"]:
    drawn = enlarged(image, SIDE)
    regions = viewed.regions.get(view) if with_said else None
    if regions:
        drawn = outlined(drawn, at_size(merged(regions), drawn.shape[:2]), width=2, tint=0.35, color=SAID)
    mask = part_mask(viewed.surface, viewed.answer.inside, view)
    drawn = outlined(drawn, at_size(mask, drawn.shape[:2]), width=2, tint=0.0 if with_said else 0.35, color=MEANT) if mask.any() else drawn
    return captioned(drawn, caption)


def _caption(record: dict) -> str:
    if record["weight"] is None:
        return f"{record['view']}: " + ("failed" if record["regions"] is None else "nothing is seen" if not record["regions"] else "left out")
    return f"{record['view']}: weight {record['weight']:.2f}" + (", dissents" if record["dissents"] else "")


def viewed_in_words(viewed: Viewed) -> list[str]:
    """An answer as lines that a person reads."""
    found, tree = viewed.answer, viewed.tree
    lines = [f"“{viewed.question[:200]}”", *([viewed.failed] if viewed.failed else [])]
    if found.parts and tree is not None:
        lines += [f"→ {' / '.join(path_names(tree, viewed.labels, part))} (part {part})" for part in found.parts]
    elif found.inside.any():
        lines.append(f"→ {int(found.inside.sum())} points" + ("; no part of the tree is like them" if found.snap_iou is not None else ""))
    lines += [f"  {found.explanation}"] if found.explanation and found.inside.any() else []
    believed = sorted((r for r in view_records(viewed) if r["weight"] is not None), key=lambda r: -r["weight"])
    lines += [f"  {r['view']}: believed {100 * r['weight']:.0f} %" + (f", but sees it otherwise{f' ({text})' if (text := r['text']) else ''}" if r["dissents"] else "") for r in believed]
    lines += [f"  {each.view}: left out, {each.why}" for each in found.dropped]
    how = {"tokens": "as far as their tokens agree", "consensus": "as far as their masks agree"}.get(found.weighed.by, "all alike")
    return [*lines, f"  {len(viewed.views)} of {len(viewed.surface.point_of_pixel)} views asked ({one_line(viewed.segmenter, 80)}), believed {how}"]
