"""What `semquery mesh` leaves in its folder: faces, a lit mesh, pictures, and the record of who said what."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8

from semquery.export import path_names
from semquery.export.lit import answer_colors, lit_colors, lit_glb, lit_ply
from semquery.fusion import Found, FusionConfig, ViewRegions, unit_sphere
from semquery.fusion.shots import Shot
from semquery.fusion.viewpoints import FOV, Up
from semquery.manifest import as_config, atomic, sha256
from semquery.pictures import captioned, grid, outlined, png_bytes, resized, window
from semquery.render import Mesh, pinhole
from semquery.stages.exported import json_bytes
from semquery.store import Run, RunError, slug

SIDE = 360  # of a view in a picture for people, pixels
UP: dict[Up, tuple[int, int, int]] = {"y": (0, 1, 0), "z": (0, 0, 1)}
DISSENT = {"": "", "elsewhere": "points elsewhere", "silent": "does not see it"}


def write_answers(
    folder: Path, model: Path, mesh: Mesh, seen: Sequence[Shot], evidence: Mapping[str, Sequence[ViewRegions]], found: Sequence[Found],
    config: FusionConfig, how: Any, segmenter: str, failed: Mapping[str, str], run: Run | None,
) -> None:
    masks, scores = np.stack([each.mask for each in found]), np.stack([each.scores for each in found])
    colors = lit_colors(mesh, masks)
    pixels = sum(np.bincount(shot.face[shot.hits.mask], minlength=len(mesh.faces)) for shot in seen)
    with atomic(folder / "faces.npz") as path, path.open("wb") as file:
        np.savez_compressed(file, queries=np.array([each.query for each in found]), scores=scores.astype(np.float32), mask=masks, pixels=np.asarray(pixels, np.int32))
    with atomic(folder / "found.ply") as path:
        lit_ply(mesh, colors, scores, masks, [each.query for each in found]).write(str(path))
    put(folder / "found.glb", lit_glb(mesh, colors, {each.query: each.mask for each in found}, UP[seen[0].up]))
    put(folder / "picture.png", png_bytes(overview(seen, mesh, found)))
    for each in found:
        put(folder / f"views-{slug(each.query)}.png", png_bytes(views_picture(seen, mesh, evidence[each.query], each)))
    record = {
        "schema": "semquery/mesh", "version": 1, "semquery": version("semquery"), "model": model.name, "model_sha256": sha256(model),
        "num_faces": len(mesh.faces), "segmenter": segmenter, "config": as_config(config), "views": as_config(how),
        "cameras": camera_records(seen, mesh), "failed": dict(failed), "answers": [answer_record(each, mesh, run) for each in found],
    }
    put(folder / "result.json", json_bytes(record))


def answer_record(found: Found, mesh: Mesh, run: Run | None) -> dict[str, Any]:
    """One answer as JSON; parts of the tree with their names."""
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    record: dict[str, Any] = {
        "query": found.query, "num_faces": int(found.mask.sum()), "area_share": float(area[found.mask].sum() / max(area.sum(), 1e-300)),
        "explanation": found.explanation, "dissenting": list(found.dissenting), "views": [asdict(view) for view in found.views],
    }
    if run is None:
        return record
    parts, labels = run.parts(), run.labels() if (run / "labels.jsonl").exists() else {}
    named = [{"part": part, "path": list(path_names(parts, labels, part)) if labels else []} for part in (*found.nodes, found.node) if part >= 0]
    return record | {"nodes": named[: len(found.nodes)], "best_node": named[-1] | {"iou": found.node_iou} if found.node >= 0 else None}


def camera_records(seen: Sequence[Shot], mesh: Mesh) -> list[dict[str, Any]]:
    """Name, pose in the mesh's own coordinates (OpenGL, camera to world) and intrinsics of every view."""
    _, shift, scale = unit_sphere(mesh.vertices)
    records = []
    for shot in seen:
        pose, size = shot.T_world_cam.copy(), shot.face.shape
        pose[:3, 3] = scale * pose[:3, 3] + shift
        fx, fy, cx, cy = pinhole(FOV, size).tolist()
        records.append({"name": shot.name, "transform_matrix": pose.tolist(), "fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy, "h": size[0], "w": size[1]})
    return records


def overview(seen: Sequence[Shot], mesh: Mesh, found: Sequence[Found], most: int = 4) -> UInt8[np.ndarray, "h w 3"]:
    """All answers in their colours, in the views that show them best, and below what was asked for."""
    masks = np.stack([each.mask for each in found])
    colors = lit_colors(mesh, masks)
    best = best_shots(seen, masks, most)
    sheet = grid([captioned(cut(seen[k].picture(colors), seen[k]), seen[k].name) for k in best], columns=len(best))
    return np.concatenate([sheet, *(_line(each.query, color, sheet.shape[1]) for each, color in zip(found, answer_colors(len(found)), strict=True))])


def best_shots(seen: Sequence[Shot], masks: Bool[np.ndarray, "q f"], most: int) -> list[int]:
    """Views that together show every answer best: one after another, the one that adds most of what any view shows of each."""
    pixels = np.array([[(shot.hits.mask & mask[shot.face]).sum() for mask in masks] for shot in seen], float)
    share = pixels / np.maximum(pixels.max(0), 1)
    chosen: list[int] = []
    for _ in range(min(most, len(seen))):
        had = share[chosen].max(0, initial=0)
        gain = np.maximum(share - had, 0).sum(1) + 1e-3 * share.sum(1)
        gain[chosen] = -1
        chosen.append(int(gain.argmax()))
    return sorted(chosen)


def views_picture(seen: Sequence[Shot], mesh: Mesh, evidence: Sequence[ViewRegions], found: Found) -> UInt8[np.ndarray, "h w 3"]:
    """Every view with what was found in red, what the segmenter said outlined in blue, and how much the view was believed."""
    cells, colors = [], lit_colors(mesh, found.mask[None])
    for shot, each, said in zip(seen, evidence, found.views, strict=True):
        image = cut(shot.picture(colors), shot)
        for region in each.regions:
            image = outlined(image, cut(region.mask, shot), color=(20, 60, 220))
        words = [f"{said.view}: {said.num_regions or 'no'} region{'' if said.num_regions == 1 else 's'}, weight {said.weight:.2f}", DISSENT[said.dissent]]
        words = [f"{said.view}: no answer"] if said.failed else words
        cells.append(captioned(image, ", ".join(filter(None, words))))
    return grid(cells, columns=4)


def cut(image: np.ndarray, shot: Shot) -> np.ndarray:
    """The square of a picture or mask around the mesh, `SIDE` pixels wide."""
    if not shot.hits.mask.any():
        return resized(image, (SIDE, SIDE))
    top, left, side = window(shot.hits.mask, 0.04)
    border = [(side, side), (side, side)] + [(0, 0)] * (image.ndim - 2)
    framed = np.pad(image, border, constant_values=False if image.dtype == bool else 255)
    return resized(framed[top + side : top + 2 * side, left + side : left + 2 * side], (SIDE, SIDE))


def _line(text: str, color: UInt8[np.ndarray, " 3"], width: int) -> UInt8[np.ndarray, "h w 3"]:
    """A patch of colour and what it stands for."""
    line = captioned(np.zeros((0, width - 40, 3), np.uint8), text[: width // 9])
    line = np.pad(line, ((0, 4), (40, 0), (0, 0)), constant_values=255)
    line[6:20, 6:30] = color
    return line


def put(path: Path, data: bytes) -> None:
    """A file, whole or not at all. Raises RunError where it cannot be written."""
    try:
        with atomic(path) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        raise RunError(f"{path} cannot be written ({error.strerror or error}); free it, or name another folder with --out.") from error
