"""What leaves a run: the whole tree, one part or several, or the answer to a query, in the formats that other programs read.

Formats and their files
  ply      parts.ply             every point with its part, level and colour; the paths in the header
  json     tree.json             the part tree, with names and boxes; its JSON Schema: semquery/export/part_tree.schema.json
  boxes    boxes.json boxes.ply  tight boxes as poses and sizes, and as lines
  picture  levels.png            the levels of the tree; of a part or a query picture.png, where it is seen
  glb      parts.glb             a named node for each part
  masks    ids/<view>.png        the smallest part each pixel shows, plus 1; of a part or a query also masks/<part>/<view>.png
  coco     coco.json             the masks of all parts in all photos
  splats   splats.ply            Gaussian splats with the part of each; of a part or a query also highlighted.ply
  parts    parts/<part>.ply      the points of each part; with splats also splats/<part>.ply
  always   export.json           which parts and files were written, by format
Each file is written whole or not at all. What an earlier export of the same format left in the folder goes, nothing else does.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Bool, Float64, Int32

from semquery.export import Chosen, boxes_json, boxes_lines, cloud_of_part, labelled_cloud, tree_json
from semquery.export.coco import coco_record, id_pngs, mask_pngs
from semquery.export.faces import check_mesh
from semquery.export.glb import glb_bytes
from semquery.export.splats import highlighted_splats, labelled_splats, read_splats, splats_of_parts
from semquery.facts import up_direction
from semquery.opened import Shapes
from semquery.opened.doors import checked_number, checked_text
from semquery.query.matching import checked
from semquery.render import Mesh, load_colored_mesh
from semquery.splatting import gaussians_of
from semquery.stages.answer import opened, photo_of
from semquery.stages.common import progress
from semquery.stages.exported import NAMED, RECORD, folder_at, forget, json_bytes, own_folder, recorded, write
from semquery.stages.splats import SplatScene, cleaned, given_splats, own_splats
from semquery.store import Run, RunError, slug
from semquery.strips import answer_picture
from semquery.types import Hit
from semquery.views import levels_picture, png_bytes

Format = Literal["ply", "json", "boxes", "picture", "glb", "masks", "coco", "splats", "parts"]
CHEAP: tuple[Format, ...] = ("ply", "json", "boxes", "picture")
FEW = 0.5  # share of a scene's splats that have a part, below which something is probably wrong

Written = Iterator[tuple[str, Any]]  # the file's name in the folder, and its bytes or PlyData


class NotFound(ValueError):
    """Nothing in the scene is called as it was asked for; the message says what comes nearest."""


@dataclass(frozen=True)
class Splats:
    """The Gaussian splats of the same capture."""

    splats: Path | None = None
    """A trained 3DGS scene (PLY), written again with the part of each splat; of a run made from splats (semquery fit --splats) those."""
    splats_transform: Path | None = None
    """Where the splats are not in the frame of the capture's poses but in that of their nerfstudio run: its dataparser_transforms.json."""
    reach: float | None = None
    """How far a splat's centre may be from the surface to belong to a part, in the capture's unit; by default three
    voxels, and up to twelve for splats that are that large themselves."""


@dataclass(frozen=True)
class Job:
    """What is exported, and what it is made from."""

    run: Run
    chosen: Chosen
    hit: Hit | None  # the chosen parts as an answer; None for the whole
    title: str
    mesh: Mesh | None = None
    splats: Any = None  # as they came, a plyfile.PlyData; None for none
    T_world_splats: Float64[np.ndarray, "4 4"] | None = None
    reach: float | None = None  # world units; None: as large Gaussians have it, and three voxels for the others
    left_out: Bool[np.ndarray, " s"] | None = None  # splats that are no surface, of a run that was made from splats

    @cached_property
    def labelled(self) -> Any:
        """The splats with their parts (plyfile.PlyData)."""
        return labelled_splats(self.splats, self.chosen, self.reach, self.T_world_splats, self.left_out)

    @property
    def part_of_splat(self) -> Int32[np.ndarray, " s"]:
        """-1 where a splat lies in no chosen part."""
        return np.asarray(self.labelled["vertex"]["part"], np.int32)


def export(
    run: Run, out: Path | None = None, formats: Sequence[str] = CHEAP, part: int | Sequence[int] | None = None, query: str | None = None,
    splats: Splats = Splats(), mesh: Path | None = None,
) -> list[Path]:
    """Write the whole tree, one part or several, or all members of the first answer to a query; the files that were written.

    `out`: the folder; by default RUN/export, and in it part-12, part-3-7 or query-handle for parts or a query. `mesh`: for a run that was
    made from a mesh, that mesh: the GLB has its faces. What is given is read before the first file is written. Raises RunError for
    what the run lacks, NotFound (a ValueError) for a query without an answer, ValueError for what does not fit.
    """
    scene = _splat_scene(run, formats, splats)
    asked = _checked(formats, scene, splats.reach, mesh, part, query)
    job = _job(run, part, query, scene, splats.reach, mesh)
    _tell(job, query)
    folder = folder_at(out or own_folder(run, () if part is None else job.chosen.tops, query), run, scene and scene.path, mesh)
    record, written = recorded(folder), []
    for each in asked:
        names = []
        for name, data in MAKERS[each](job):
            write(run, folder / name, data)
            names.append(name)
        forget(folder, set(record.get(each, {}).get("files", ())) - set(names))
        record[each] = {"parts": list(job.chosen.tops), "query": query, "files": names}
        write(run, folder / RECORD, json_bytes({"schema": "semquery/export", "version": 1, "formats": record}))
        written += [folder / name for name in names]
    return [*written, folder / RECORD]


# -------------------------------------------------------------------- before anything is written


def _splat_scene(run: Run, formats: Sequence[str], given: Splats) -> SplatScene | None:
    """The splats that are meant: those given, or where splats are wanted those that the run was made from.

    Raises ValueError where they are wanted and there are none, RunError where the run's are gone.
    """
    if given.splats is not None:
        return given_splats(run, given.splats, given.splats_transform)
    own = own_splats(run) if "splats" in formats and given.splats_transform is None else None
    if own is None and "splats" in formats:
        raise ValueError("The format splats labels the splats of a trained scene, and none were given: --splats SCENE.ply")
    if own is None and (given.splats_transform is not None or given.reach is not None):
        raise ValueError("--splats-transform and --reach say where splats lie, and none were given: --splats SCENE.ply")
    if own is not None and not own.path.is_file():
        raise RunError(f"{run.path} was made from the splats {own.path}, which are not there any more. Say where they are now: --splats SCENE.ply")
    return own


def _checked(
    formats: Sequence[str], scene: SplatScene | None, reach: float | None, mesh: Path | None, part: Any, query: str | None
) -> tuple[str, ...]:
    """The formats, each once. Raises ValueError for what does not go together."""
    known = get_args(Format)
    wrong = [each for each in formats if each not in known]
    if wrong or not formats:
        raise ValueError(f"{f'There is no format {wrong[0]!r}' if wrong else 'No format was named'}; formats are {', '.join(known)}.")
    if part is not None and query is not None:
        raise ValueError("--part and --query both say what is exported: give one of them.")
    if reach is not None and not 0 < reach < float("inf"):
        raise ValueError(f"--reach is {reach:g}; expected a distance above 0, in the capture's unit.")
    given = {"glb": mesh, "splats": scene}  # whoever gives what a format takes wants the format
    return tuple(dict.fromkeys((*formats, *(name for name, one in given.items() if one is not None))))


def _job(
    run: Run, part: int | Sequence[int] | None, query: str | None, scene: SplatScene | None, reach: float | None, mesh: Path | None
) -> Job:
    chosen, hit, title = _of_parts(run, part) if query is None else _of_query(run, checked(checked_text(query)))
    faces = None if mesh is None else load_colored_mesh(mesh)
    ply, T = (None, None) if scene is None else (read_splats(scene.path), scene.T_world_splats)
    if faces is not None:
        check_mesh(faces, chosen.surface, mesh)
    left_out = None if ply is None or own_splats(run) is None else ~cleaned(gaussians_of(ply), scene.cleaning).kept
    job = Job(run, chosen, hit, title, faces, ply, T, reach, left_out)
    if ply is not None and not (job.part_of_splat >= 0).any():
        raise ValueError(f"None of the {len(job.part_of_splat)} splats lies within reach of the surface of the chosen parts. If they are in "
                         "the frame of their nerfstudio run, give --splats-transform; if they only lie farther off, --reach.")
    return job


def _tell(job: Job, query: str | None) -> None:
    """What answers a query, and how many splats have a part: files do not say it."""
    if query is not None and job.hit is not None:
        numbers = ", ".join(map(str, job.chosen.tops[:8])) + (", …" if len(job.chosen.tops) > 8 else "")
        print(f"export: “{query}” is {' / '.join(job.hit.path)} (part {numbers}), {100 * job.hit.probability:.0f} % likely")
    if job.splats is not None:
        inside, total = int((job.part_of_splat >= 0).sum()), len(job.part_of_splat)
        few = job.chosen.is_whole and inside < FEW * total
        why = " Few: are they in the capture's frame (--splats-transform), and is the surface near them (--reach)?" if few else ""
        print(f"export: {inside} of {total} splats lie on the surface of the chosen parts or near it.{why}")


def _of_parts(run: Run, part: int | Sequence[int] | None) -> tuple[Chosen, Hit | None, str]:
    """One part or several together; without any, the whole."""
    surface, parts = run.surface(), run.parts()
    given = part if isinstance(part, Sequence) else (part,)
    tops = (parts.root,) if part is None else tuple(sorted(checked_number(each, parts.num_parts) for each in given))
    chosen = Chosen(surface, parts, run.labels(), tops)
    if part is None:
        return chosen, None, ""
    shapes = Shapes(surface, parts, chosen.labels, chosen.spans)
    found = shapes.part(tops[0])
    names = list(dict.fromkeys(map(chosen.name, tops)))
    return chosen, shapes.found(replace(found.hit, members=tops)).hit, ", ".join([*names[:NAMED], *(["…"] if len(names) > NAMED else [])])


def _of_query(run: Run, text: str) -> tuple[Chosen, Hit | None, str]:
    """All members of the first answer. Raises RunError where the run has no codebook, and NotFound."""
    scene = opened(run)
    answers = scene.query(text, top=1)
    if not answers:
        raise NotFound(f"“{text}”: not found in this scene. {scene.missing(text)}")
    return Chosen(scene.surface, scene.tree, scene.labels, tuple(scene.shapes.spans.highest(answers[0].members))), answers[0].hit, text


# -------------------------------------------------------------------- formats


def _ply(job: Job) -> Written:
    yield "parts.ply", labelled_cloud(job.chosen)


def _tree(job: Job) -> Written:
    _work_out_boxes(job.chosen)
    yield "tree.json", json_bytes(tree_json(job.chosen))


def _boxes(job: Job) -> Written:
    _work_out_boxes(job.chosen)
    yield "boxes.json", json_bytes(boxes_json(job.chosen))
    yield "boxes.ply", boxes_lines(job.chosen)


def _work_out_boxes(chosen: Chosen) -> None:
    """The boxes are kept: whoever asks for them next need not wait."""
    for node in _bar(chosen.unboxed, "export: boxes"):
        chosen.box(node)


def _picture(job: Job) -> Written:
    """Nothing where no view shows any of it."""
    chosen, surface = job.chosen, job.chosen.surface
    if not surface.point_of_pixel:
        return
    photo = photo_of(job.run, surface)
    if job.hit is None:
        yield "levels.png", png_bytes(levels_picture(surface, chosen.parts, photo))
    elif (shown := answer_picture(surface, [(job.hit, chosen.rows(*chosen.tops))], photo, job.title)) is not None:
        yield "picture.png", png_bytes(shown)


def _glb(job: Job) -> Written:
    up = up_direction(job.run.cameras().T_world_cam)
    yield "parts.glb", glb_bytes(job.chosen, job.mesh, up=up)


def _masks(job: Job) -> Written:
    chosen, cameras, views = job.chosen, job.run.cameras(), len(job.chosen.surface.point_of_pixel)
    for view, png in _bar(id_pngs(chosen, cameras), "export: masks", views):
        yield f"ids/{view}.png", png
    for view, part, png in () if job.hit is None else mask_pngs(chosen, cameras):
        yield f"masks/{_called(chosen, part)}/{view}.png", png


def _coco(job: Job) -> Written:
    yield "coco.json", json.dumps(coco_record(job.chosen, job.run.cameras()), ensure_ascii=True, allow_nan=False).encode()


def _splats(job: Job) -> Written:
    yield "splats.ply", job.labelled
    if job.hit is not None:
        yield "highlighted.ply", highlighted_splats(job.splats, job.part_of_splat)


def _parts(job: Job) -> Written:
    chosen = job.chosen
    for node in _bar(chosen.nodes, "export: parts"):
        if chosen.spans.num_points[node]:
            yield f"parts/{_called(chosen, node)}.ply", cloud_of_part(chosen, node)
    if job.splats is not None:
        for node, ply in _bar(splats_of_parts(job.splats, job.part_of_splat, chosen), "export: splats of parts", len(chosen.nodes)):
            yield f"splats/{_called(chosen, node)}.ply", ply


MAKERS: Mapping[str, Callable[[Job], Written]] = {
    "ply": _ply, "json": _tree, "boxes": _boxes, "picture": _picture, "glb": _glb, "masks": _masks, "coco": _coco, "splats": _splats,
    "parts": _parts,
}


def _called(chosen: Chosen, part: int) -> str:
    """A file name: the part's number and its name."""
    return f"{part}-{slug(chosen.name(part))}" if part in chosen.labels else str(part)


def _bar(items, what: str, total: int | None = None):
    """A progress bar, for what may take long; none for a few."""
    total = len(items) if total is None else total
    return progress(items, what, total) if total > 20 else items
