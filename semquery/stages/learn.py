"""Learning: the feature field on the surface, and the part tree from its features."""

import time
from dataclasses import replace

import numpy as np
import torch

from semquery.field import FeatureField
from semquery.fit import FieldFit, FitConfig, ViewPixels, checkpoint_tensors, labels_at, load_checkpoint_tensors
from semquery.geometry import bulk_box, fuse
from semquery.parts import TreeConfig, build_part_tree
from semquery.splatting.features import VectorField
from semquery.stages.blending import Placed, open_rasterised, splats_of
from semquery.stages.common import default_device, progress
from semquery.store import Run, RunError
from semquery.types import MaskStack, Observation, PartTree

CHECKPOINT_EVERY = 500  # steps of the field training between two checkpoints


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


def open_fit(
    run: Run, config: FitConfig, field: FeatureField | None = None, device: torch.device | None = None, splats: Placed | None = None
) -> FieldFit:
    """Masks and surface points of a run, ready to train a field on.

    `splats`: the Gaussians that carry rasterised features; by default those the run was made from. Raises RunError for a run without.
    """
    run.need("masks")
    seen = load_observations(run)
    masked = set(run.masked_views())
    views = {
        name: ViewPixels(torch.from_numpy(o.points), torch.from_numpy(labels_at(run.masks(name), o)))
        for name, o in seen.items() if name in masked
    }
    torch.manual_seed(config.seed)
    device = device or (default_device() if field is None else field.box.device)
    is_rasterised = config.feature_rendering == "rasterised"
    if is_rasterised and config.rasterised.carried_by == "vectors":
        if field is not None:
            raise ValueError("Vectors of Gaussians take the place of a field, and a field was given: set rasterised.carried_by to field.")
        return open_rasterised(run, config, None, views, seen, splats or splats_of(run), device)
    field = FeatureField(config.field).to(device) if field is None else field
    observed = [o.points for o in seen.values() if len(o.points)]
    if observed:
        field.set_box(bulk_box(np.concatenate(observed)))
    if is_rasterised:
        return open_rasterised(run, config, field, views, seen, splats or splats_of(run), device)
    return FieldFit(field, views, config)


def fit(
    run: Run, config: FitConfig = FitConfig(), overwrite: bool = False, device: torch.device | None = None, splats: Placed | None = None
) -> None:
    """Train the feature field on the run's surface points → field.safetensors, surface.npz. `splats` as in `open_fit`."""
    run.need("masks"), run.need("observed")
    if config.feature_rendering == "rasterised" and splats is None:
        splats = splats_of(run)  # before the run records that it began
    if not run.begin("fit", config, inputs=("masks", "observed"), overwrite=overwrite):
        print("fit: already done")
        return
    start = time.time()
    trainer = open_fit(run, config, device=device, splats=splats)
    optimizer = trainer.optimizer()
    first = _resume(run, trainer.field, optimizer)
    bar = progress(None, "field", total=config.steps)
    bar.update(first)

    def on_step(step: int, losses: dict[str, float]) -> None:
        bar.update(1)
        if step % 50 == 0:
            bar.set_postfix({name: f"{loss:.3f}" for name, loss in losses.items()}, refresh=False)
        if step % CHECKPOINT_EVERY == 0 and step < config.steps:
            run.write_tensors("fit.partial.safetensors", checkpoint_tensors(trainer.field, optimizer), step=step)

    trainer.train(optimizer, first, on_step)
    bar.close()
    finish_fit(run, trainer.field, config)
    (run / "fit.partial.safetensors").unlink(missing_ok=True)
    run.done("fit", time.time() - start, seed=config.seed)


def _resume(run: Run, field: FeatureField | VectorField, optimizer: torch.optim.Adam) -> int:
    """Load an interrupted training, if there is one; the step to go on from."""
    if not (run / "fit.partial.safetensors").exists():
        return 0
    tensors, facts = run.read_tensors("fit.partial.safetensors")
    load_checkpoint_tensors(tensors, field, optimizer)
    print(f"fit: resuming at step {facts['step']}")
    return int(facts["step"])


def finish_fit(run: Run, field: FeatureField | VectorField, config: FitConfig) -> None:
    """Fuse the observed points, give each its feature, and write the field and the surface."""
    cameras, seen = run.cameras(), load_observations(run)
    eyes = {name: T[:3, 3] for name, T in zip(cameras.names, cameras.T_world_cam, strict=True)}
    surface = fuse(seen, {name: eyes[name] for name in seen}, config.fusion)
    surface = replace(surface, features=field.at(surface.points).astype(np.float16))
    run.write_tensors("field.safetensors", {n: t.detach().cpu().contiguous() for n, t in field.state_dict().items()})
    run.write_surface(surface)
    print(f"surface: {len(surface.points)} points, voxels of {surface.voxel_size:.4g}")


def build_tree(run: Run, config: TreeConfig = TreeConfig(), overwrite: bool = False) -> PartTree:
    """Features and masks → merge.npz, parts.npz."""
    run.need("surface.npz")
    if overwrite and (aside := run.set_labels_aside()) is not None:
        print(f"tree: parts get new numbers; the names of the old ones are kept in {aside}")
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
