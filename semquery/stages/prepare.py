"""Before anything is learnt: masks of the photos, and the surface points of a mesh (those of splats: `observing.py`)."""

import time
from collections.abc import Sequence
from contextlib import closing, nullcontext
from pathlib import Path

import numpy as np

from semquery.masks import MaskFolder, MaskSource, Sam, identity, on_white
from semquery.pictures import contact_sheet, resized
from semquery.scene import limited
from semquery.stages.common import check_same_views, load_photo, progress
from semquery.stages.observing import observe_splats
from semquery.store import Run, RunError
from semquery.types import Cameras
from semquery.views import png_bytes

__all__ = ["check_same_views", "make_masks", "observe_mesh", "observe_splats"]

Views = Sequence[tuple[str, Path]]  # name and photo of each view
WORTH_TELLING = 60.0  # seconds: what takes longer is announced


def make_masks(run: Run, views: Views, source: MaskSource, overwrite: bool = False) -> None:
    """Masks of every view → masks/<view>.npz, one at a time; views already done are kept.

    Whatever can be known to fail fails before the run is touched: nothing made before is lost to a typing error.
    """
    names = [name for name, _ in views]
    if not views:
        raise ValueError("There are no photos to make masks of.")
    if isinstance(source, MaskFolder | Sam):
        source.check(names)
    if not overwrite:
        check_same_views(run, names)
    start, photos = time.time(), {name: f"{path.name} {path.stat().st_size}" for name, path in views if path.exists()}
    with closing(source) if isinstance(source, Sam) else nullcontext():
        _try_out(run, views, source, overwrite)
        if not run.begin("masks", {"source": identity(source), "photos": photos}, overwrite=overwrite):
            print(f"masks: {len(names)} views, already done")
            return
        _mask_views(run, _without_masks(run, views), source)
    counts = np.array([run.masks(name).num_masks for name in names])
    _report_masks(names, counts, source)
    _contact_sheet(run, views)
    run.done("masks", time.time() - start, masks_per_view=float(counts.mean()))


def _without_masks(run: Run, views: Views) -> Views:
    done = set(run.masked_views())
    return [view for view in views if view[0] not in done]


def _try_out(run: Run, views: Views, source: MaskSource, overwrite: bool) -> None:
    """Raise what would stop the work, before the run records that it began, or clears what it has."""
    is_fresh = overwrite or run.stage("masks") is None
    if isinstance(source, Sam) and is_fresh and (overwrite or _without_masks(run, views)):
        source.open()
    if isinstance(source, MaskFolder) and overwrite and source.folder.resolve() == (run / "masks").resolve():
        raise RunError(f"{source.folder} is what --overwrite clears; copy the masks to a folder of their own first.")
    if overwrite and run.masked_views():
        for name, path in views:
            photo = load_photo(path)
            if isinstance(source, MaskFolder):
                source(name, photo)


def _mask_views(run: Run, views: Views, source: MaskSource) -> None:
    """The masks of these views, with a bar that tells masks a view and the time left; a model is opened once."""
    if not views:
        return
    if isinstance(source, Sam):
        print(f"masks: {source.open()}")
    bar, found, start = progress(views, "masks"), 0, time.time()
    for number, (name, path) in enumerate(bar, 1):
        stack = source(name, load_photo(path))
        run.write_masks(name, stack)
        found += stack.num_masks
        bar.set_postfix_str(f"{found / number:.0f} masks a view")
        if number == 1:
            _tell_cost(time.time() - start, len(views))


def _tell_cost(seconds: float, num_views: int) -> None:
    """What the whole will take, measured on the first view, while there is time to stop and choose otherwise."""
    from tqdm import tqdm

    if num_views * seconds > WORTH_TELLING:
        tqdm.write(f"masks: {seconds:.1f} s for the first view, about {num_views * seconds / 60:.0f} minutes for all {num_views}; "
                   "interrupted, it goes on where it stopped")


def _report_masks(names: Sequence[str], counts: np.ndarray, source: MaskSource) -> None:
    if not counts.any():
        raise RunError(
            f"None of the {len(names)} views has a single mask, so there is nothing to learn parts from. {_how_to_get_some(source)}"
        )
    empty = [name for name, count in zip(names, counts, strict=True) if not count]
    if empty:
        print(f"masks: {len(empty)} of {len(names)} views have no masks (first: {empty[0]})")
    print(f"masks: {len(names)} views, {counts.mean():.1f} masks a view ({counts.min()} to {counts.max()})")


def _how_to_get_some(source: MaskSource) -> str:
    if isinstance(source, Sam):
        return (
            f"The model was sure of nothing: lower min-predicted-iou (now {source.min_predicted_iou:g}) or min-stability "
            f"(now {source.min_stability:g}) and give --overwrite, or take another checkpoint."
        )
    if isinstance(source, MaskFolder):
        return f"Look at what {source.folder} holds, or use another mask source."
    return "Look at the photos (all background? all one colour?) or use another mask source."


def _contact_sheet(run: Run, views: Views, most: int = 12) -> None:
    shown = [views[i] for i in np.unique(np.linspace(0, len(views) - 1, min(most, len(views))).round().astype(int))]
    sheet = contact_sheet([(load_photo(path), run.masks(name)) for name, path in shown])
    run.write_bytes("masks/contact.png", png_bytes(sheet))


def observe_mesh(run: Run, mesh: Path, cameras: Cameras, max_side: int = 256, overwrite: bool = False) -> None:
    """The surface of a mesh as the cameras see it → observed/<view>.npz and cameras.json."""
    from semquery.render import RayCaster, load_mesh, observe

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
