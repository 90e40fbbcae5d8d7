"""From a mesh and what is asked for to its faces: pictures from all around, a segmenter for each, fusion → a folder of its own.

    segments/     what the segmenter answered, by picture and query: asked once, whatever happens after
    views/        the pictures that it saw
    faces.npz     queries, scores [q, f] and mask [q, f] of the faces, pixels [f] in which each was seen
    result.json   what was found, who said so and who did not, with the settings and cameras
    found.ply found.glb picture.png views-<query>.png
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from semquery.export.faces import check_mesh, part_of_face
from semquery.fusion import Around, FaceTree, Found, FusionConfig, Up, ViewRegions, directions, fuse, mesh_graph
from semquery.fusion.shots import Shot, shots
from semquery.opened.doors import checked_text
from semquery.pictures import png_bytes
from semquery.render import Mesh, load_colored_mesh
from semquery.segmenter import Cached, Context, Segmenter, SegmenterError
from semquery.segmenter.cache import key_of
from semquery.segments import SegmentFolder
from semquery.stages.common import progress
from semquery.stages.mesh_files import DISSENT, put, write_answers
from semquery.store import Run, RunError, slug

GIVE_UP = 3  # pictures in a row for which nobody answered


@dataclass(frozen=True)
class MeshViews:
    """How a mesh is looked at."""

    views: Around = "ring8"
    """ring8: Reasoning3D's eight around it; ring8+2: and from above and below; ring16; fib16, fib32: all around, hardly a face unseen."""
    size: int = 1024
    """Width and height of the pictures, pixels."""
    up: Up = "y"
    """The axis of the mesh that points up: y in most OBJ and GLB files, z in most scans."""

    def __post_init__(self) -> None:
        if not 16 <= self.size <= 8192:
            raise ValueError(f"Expected pictures of 16 to 8192 pixels; got a size of {self.size}.")


def ask_mesh(
    model: Path, queries: Sequence[str], segmenter: Segmenter, out: Path, config: FusionConfig = FusionConfig(), how: MeshViews = MeshViews(),
    run: Path | None = None,
) -> tuple[Found, ...]:
    """What answers each query, written to `out`. With the run of the same mesh, also as parts of its tree.

    Raises ValueError for what cannot be asked or looked at, and when the segmenter does not answer; what it answered is kept.
    """
    asked = checked_queries(queries)
    mesh = load_colored_mesh(model)
    graph = mesh_graph(mesh.vertices, mesh.faces)
    opened = None if run is None else Run(run)
    tree = None if opened is None else tree_of_run(opened, mesh, model)
    folder = folder_for(out)
    seen = list(progress(shots(mesh, how.views, how.size, how.up), "views", len(directions(how.views))))
    if not any(shot.hits.mask.any() for shot in seen):
        raise ValueError(f"No view shows a face of {model}: they may all be without area. Repair the mesh first.")
    evidence, failed = regions_of(seen, mesh, asked, segmenter, folder)
    found = fuse(graph, evidence, config, tree)
    write_answers(folder, model, mesh, seen, evidence, found, config, how, segmenter.identity, failed, opened)
    return found


def checked_queries(queries: Sequence[str]) -> tuple[str, ...]:
    """Raises ValueError for none, for empty ones and for one that is given twice, be it with other capitals or another mark at its end."""
    asked = tuple(" ".join(checked_text(query).split()) for query in queries)
    if not asked or not all(asked):
        raise ValueError("There is nothing asked for: give what to look for in words, such as \"the part that one sits on\".")
    names = [slug(query) for query in asked]
    if len(set(names)) < len(names):
        raise ValueError(f"The same is asked for twice: {next(q for q, name in zip(asked, names, strict=True) if names.count(name) > 1)!r}.")
    return asked


def folder_for(out: Path) -> Path:
    """Made where it is not there. Raises RunError where it is a file or a run, or cannot be made."""
    folder = out.expanduser()
    if (folder / "run.jsonl").exists():
        raise RunError(f"{folder} is a run, whose files would be mixed with the answer's: name another folder with --out.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder} cannot be made ({error.strerror}): name another folder with --out.") from error
    return folder


def tree_of_run(run: Run, mesh: Mesh, model: Path) -> FaceTree:
    """The part tree of a run as sets of the mesh's faces. Raises ValueError for a run of another mesh."""
    parts, surface, last = run.parts(), run.surface(), run.stage("observe")
    made_of = None if last is None else last["config"].get("faces")
    if made_of is not None and made_of != len(mesh.faces):
        raise ValueError(f"{model} has {len(mesh.faces)} faces, and the mesh that {run.path} was made from {made_of}: give the same one.")
    check_mesh(mesh, surface, model)
    return FaceTree(part_of_face(surface, parts, mesh), parts.parents)


def regions_of(
    seen: Sequence[Shot], mesh: Mesh, queries: Sequence[str], segmenter: Segmenter, folder: Path
) -> tuple[dict[str, tuple[ViewRegions, ...]], dict[str, str]]:
    """What the segmenter answers for every view and query, and of which it failed for good, and why.

    What was answered before is not asked again, and where all was, the segmenter need not even be there.
    """
    shelf = SegmentFolder(folder / "segments")
    pictures = {shot.name: shot.picture(mesh.colors) for shot in seen}
    for name, picture in pictures.items():
        put(folder / "views" / f"{name}.png", png_bytes(picture))
    questions = [(query, shot) for query in queries for shot in seen]
    new = [True for query, shot in questions if shelf.find(key_of(pictures[shot.name], query, Context(shot.name), segmenter.identity)) is None]
    if new:
        print(f"mesh: {segmenter.check()}")
    cached, answers, failed, lost = Cached(segmenter, shelf), {}, {}, 0
    for query, shot in progress(questions, "segments"):
        try:
            answers[query, shot.name], lost = tuple(cached.segment(pictures[shot.name], query, Context(shot.name))), 0
        except SegmenterError as error:
            answers[query, shot.name], failed[f"{query} / {shot.name}"] = (), str(error)
            lost += error.is_away
            if lost >= GIVE_UP:
                raise ValueError(f"The segmenter does not answer any more: {error} What was answered is kept; the same command goes on from there.") from error
    if len(failed) == len(questions):
        raise ValueError(f"The segmenter failed on every picture: {next(iter(failed.values()))}")
    said = {query: tuple(ViewRegions(shot.face, answers[query, shot.name], shot.name, failed.get(f"{query} / {shot.name}", "")) for shot in seen)
            for query in queries}
    return said, failed


def said_in_words(found: Found) -> list[str]:
    """An answer as lines that a person reads."""
    asked = sum(view.num_regions > 0 for view in found.views)
    lines = [f"“{found.query[:200]}”: {int(found.mask.sum())} of {len(found.mask)} faces, from {asked} of {len(found.views)} views"]
    failed = [view for view in found.views if view.failed]
    lines += [f"  left out, for want of an answer: {len(failed)} of {len(found.views)} views; {failed[0].view}: {failed[0].failed}"] if failed else []
    if not asked:
        return lines + ["  no view shows it, says the segmenter"] * (len(failed) < len(found.views))
    lines += [f"  {found.explanation}"] if found.explanation else []
    lines += [f"  {view.view} (weight {view.weight:.2f}) {DISSENT[view.dissent]}: {view.text}".rstrip(" :") for view in found.views if view.dissent]
    if found.node >= 0:
        whole = f"parts {', '.join(map(str, found.nodes))}; " if found.nodes else "no part as a whole; "
        lines.append(f"  {whole}part {found.node} overlaps it best, by {found.node_iou:.2f}")
    return lines
