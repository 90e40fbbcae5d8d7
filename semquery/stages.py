"""The stages, each from artefacts to artefacts of one run directory.

Every stage can be run alone, is skipped when it was done from the same inputs, resumes where it was
interrupted, and refuses to mix what was made from different inputs. Mathematics is elsewhere; here is
order, progress and bookkeeping. The command line, the nerfstudio plugin and the evaluation all call these.
"""

import json
import shutil
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from semquery.export import highlighted_cloud, labelled_cloud, tree_json
from semquery.facts import measure, up_direction
from semquery.field import FeatureField
from semquery.fit import FieldFit, FitConfig, ViewPixels, checkpoint_tensors, labels_at, load_checkpoint_tensors
from semquery.geometry import bulk_box, fuse
from semquery.labelling import labels_by_hand, walk
from semquery.masks import MaskFolder, MaskSource
from semquery.parts import TreeConfig, build_part_tree
from semquery.pictures import contact_sheet, on_white, resized
from semquery.prompts import negatives
from semquery.query import QueryConfig, answer
from semquery.store import Run, RunError, as_config, slug
from semquery.text import Lexical, TextEncoder, build_codebook
from semquery.types import Cameras, Codebook, Hit, MaskStack, NodeLabel, Observation, PartTree, Surface
from semquery.views import answer_picture, levels_picture, part_mask, part_pictures, png_bytes, repainted
from semquery.vlm import Appearance, Vlm

Views = Sequence[tuple[str, Path]]  # name and photo of each view


def progress(items, what: str, total: int | None = None):
    """A progress bar with an estimate of the time left; silent when standard error is no terminal for long."""
    from tqdm import tqdm

    return tqdm(items, desc=what, total=total, unit="", dynamic_ncols=True, mininterval=0.5)


def default_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_photo(path: Path) -> np.ndarray:
    """A photo as uint8 [h, w, 3], or [h, w, 4] where it has transparency."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            has_alpha = picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info
            return np.asarray(picture.convert("RGBA" if has_alpha else "RGB"))
    except FileNotFoundError as error:
        raise ValueError(f"There is no photo at {path}.") from error
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"{path} cannot be read as an image: {error}") from error


# ------------------------------------------------------------------ masks


def make_masks(run: Run, views: Views, source: MaskSource, overwrite: bool = False) -> None:
    """Masks of every view → masks/<view>.npz, one at a time; views already done are kept."""
    names = [name for name, _ in views]
    if not views:
        raise ValueError("There are no photos to make masks of.")
    if isinstance(source, MaskFolder):
        source.check(names)
    if not overwrite:
        check_same_views(run, names)
    photos = {name: f"{path.name} {path.stat().st_size}" for name, path in views if path.exists()}
    if not run.begin("masks", {"source": source, "photos": photos}, overwrite=overwrite):
        print(f"masks: {len(names)} views, already done")
        return
    start, done = time.time(), set(run.masked_views())
    for name, path in progress([v for v in views if v[0] not in done], "masks"):
        run.write_masks(name, source(name, load_photo(path)))
    counts = np.array([run.masks(name).num_masks for name in names])
    _report_masks(names, counts)
    _contact_sheet(run, views)
    run.done("masks", time.time() - start, masks_per_view=float(counts.mean()))


def check_same_views(run: Run, names: Sequence[str]) -> None:
    """Raise when the run's masks are of other views: then it is the run of another scene."""
    held = set(run.masked_views())
    if held and not held <= set(names):
        raise RunError(
            f"{run.path} belongs to another scene: it holds masks of {sorted(held)[:3]}…, this scene has "
            f"{sorted(names)[:3]}…. Use another run directory, or --overwrite to replace what is there."
        )


def _report_masks(names: Sequence[str], counts: np.ndarray) -> None:
    if not counts.any():
        raise RunError(
            f"None of the {len(names)} views has a single mask, so there is nothing to learn parts from. "
            "Look at the photos (all background? all one colour?) or use another mask source."
        )
    empty = [name for name, count in zip(names, counts, strict=True) if not count]
    if empty:
        warnings.warn(f"{len(empty)} of {len(names)} views have no masks (first: {empty[0]}).", stacklevel=3)
    print(f"masks: {len(names)} views, {counts.mean():.1f} masks a view ({counts.min()} to {counts.max()})")


def _contact_sheet(run: Run, views: Views, most: int = 12) -> None:
    shown = [views[i] for i in np.unique(np.linspace(0, len(views) - 1, min(most, len(views))).round().astype(int))]
    sheet = contact_sheet([(load_photo(path), run.masks(name)) for name, path in shown])
    run.write_bytes("masks/contact.png", png_bytes(sheet))


# ------------------------------------------------------------------ surface and field


def observe_mesh(run: Run, mesh: Path, cameras: Cameras, max_side: int = 256, overwrite: bool = False) -> None:
    """The surface of a mesh as the cameras see it → observed/<view>.npz and cameras.json."""
    from semquery.render import RayCaster, load_mesh, observe
    from semquery.scene import limited

    (vertices, faces), cameras = load_mesh(mesh), limited(cameras, max_side)
    check_same_views(run, cameras.names)
    config = {"mesh": mesh.name, "faces": len(faces), "max_side": max_side, "views": " ".join(cameras.names)}
    if not run.begin("observe", config, overwrite=overwrite):
        return
    start, done = time.time(), set(run.observed_views())
    run.write_cameras(cameras)
    caster = RayCaster(vertices, faces)
    for i, name in progress([(i, n) for i, n in enumerate(cameras.names) if n not in done], "surface"):
        photo = resized(on_white(load_photo(Path(cameras.images[i]))), tuple(cameras.sizes[i].tolist()))
        run.write_observation(name, observe(caster, cameras, i, photo))
    run.done("observe", time.time() - start)


def load_masks(run: Run) -> dict[str, MaskStack]:
    run.need("masks")
    return {name: run.masks(name) for name in run.masked_views()}


def load_observations(run: Run) -> dict[str, Observation]:
    """The observed views of a run, checked against its masks."""
    run.need("observed")
    views, masked = run.observed_views(), set(run.masked_views())
    if not masked & set(views):
        raise RunError(
            f"{run.path} has masks of {sorted(masked)[:3]}… but surface points of {views[:3]}…: "
            "they belong to different scenes."
        )
    return {name: run.observation(name) for name in views}


def open_fit(run: Run, config: FitConfig, field: FeatureField | None = None, device: torch.device | None = None) -> FieldFit:
    """Masks and surface points of a run, ready to train a field on."""
    run.need("masks")
    seen = load_observations(run)
    masked = set(run.masked_views())
    views = {
        name: ViewPixels(torch.from_numpy(o.points), torch.from_numpy(labels_at(run.masks(name), o)))
        for name, o in seen.items() if name in masked
    }
    torch.manual_seed(config.seed)
    if field is None:
        field = FeatureField(config.field).to(device or default_device())
    observed = [o.points for o in seen.values() if len(o.points)]
    if observed:
        field.set_box(bulk_box(np.concatenate(observed)))
    return FieldFit(field, views, config)


def fit(run: Run, config: FitConfig = FitConfig(), overwrite: bool = False, device: torch.device | None = None) -> None:
    """Train the feature field on the run's surface points → field.safetensors, surface.npz."""
    run.need("masks"), run.need("observed")
    if not run.begin("fit", config, inputs=("masks", "observed"), overwrite=overwrite):
        print("fit: already done")
        return
    start = time.time()
    trainer = open_fit(run, config, device=device)
    optimizer = trainer.optimizer()
    first = _resume(run, trainer.field, optimizer)
    bar = progress(None, "field", total=config.steps)
    bar.update(first)

    def on_step(step: int, losses: dict[str, float]) -> None:
        bar.update(1)
        if step % 50 == 0:
            bar.set_postfix({name: f"{loss:.3f}" for name, loss in losses.items()}, refresh=False)
        if step % 500 == 0 and step < config.steps:
            run.write_tensors("fit.partial.safetensors", checkpoint_tensors(trainer.field, optimizer), step=step)

    trainer.train(optimizer, first, on_step)
    bar.close()
    finish_fit(run, trainer.field, config)
    (run / "fit.partial.safetensors").unlink(missing_ok=True)
    run.done("fit", time.time() - start, seed=config.seed)


def _resume(run: Run, field: FeatureField, optimizer: torch.optim.Adam) -> int:
    """Load an interrupted training, if there is one; the step to go on from."""
    if not (run / "fit.partial.safetensors").exists():
        return 0
    tensors, facts = run.read_tensors("fit.partial.safetensors")
    load_checkpoint_tensors(tensors, field, optimizer)
    print(f"fit: resuming at step {facts['step']}")
    return int(facts["step"])


def finish_fit(run: Run, field: FeatureField, config: FitConfig) -> None:
    """Fuse the observed points, give each its feature, and write the field and the surface."""
    cameras, seen = run.cameras(), load_observations(run)
    eyes = {name: T[:3, 3] for name, T in zip(cameras.names, cameras.T_world_cam, strict=True)}
    surface = fuse(seen, {name: eyes[name] for name in seen}, config.fusion)
    surface = replace(surface, features=field.at(surface.points).astype(np.float16))
    run.write_tensors("field.safetensors", {n: t.detach().cpu().contiguous() for n, t in field.state_dict().items()})
    run.write_surface(surface)
    print(f"surface: {len(surface.points)} points, voxels of {surface.voxel_size:.4g}")


# ------------------------------------------------------------------ tree


def build_tree(run: Run, config: TreeConfig = TreeConfig(), overwrite: bool = False) -> PartTree:
    """Features and masks → merge.npz, parts.npz."""
    run.need("surface.npz")
    if not run.begin("tree", config, inputs=("surface.npz", "masks"), overwrite=overwrite):
        print("tree: already done")
        return run.parts()
    start = time.time()
    surface = run.surface()
    masks = load_masks(run) if config.select == "masks" or config.cooccurrence else {}
    # numbered as in `masks`, so that support rows name views by their place in this order
    shown = {name: stack for name, stack in masks.items() if name in surface.point_of_pixel}
    parts, merge, edges, weights = build_part_tree(surface, shown, config)
    run.write_tree(merge, edges, weights, parts)
    run.done("tree", time.time() - start, parts=parts.num_parts)
    print(f"tree: {parts.num_parts} parts, {int(parts.depth.max())} levels")
    return parts


# ------------------------------------------------------------------ names


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
    by_hand = [label for label in run.labels().values() if label.source == "user"]
    if not run.begin("label", {"vlm": vlm}, inputs=("parts.npz", "surface.npz"), overwrite=overwrite):
        print("label: already done")
        return run.labels()
    if overwrite:
        for given in by_hand:
            run.append_label(given, "")
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


# ------------------------------------------------------------------ queries


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


# ------------------------------------------------------------------ export


def export(run: Run, out: Path | None = None) -> list[Path]:
    """parts.ply (every point with its part) and tree.json (the tree with names and boxes), and a picture of the levels."""
    surface, parts, labels = run.surface(), run.parts(), run.labels()
    folder = out or run / "export"
    run.write_ply(folder / "parts.ply", labelled_cloud(surface, parts))
    run.write_json(folder / "tree.json", tree_json(surface, parts, labels))
    run.write_bytes(folder / "levels.png", png_bytes(levels_picture(surface, parts, photo_of(run, surface))))
    return [folder / name for name in ("parts.ply", "tree.json", "levels.png")]
