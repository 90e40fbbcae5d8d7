"""The pipeline: masks, then geometry, then the surface, then features on it, then the part tree.

    setup            masks of every training view, kept in a cache beside the runs
    step < g         nerfstudio's own training of the geometry (g = geometry_steps)
    step = g or more the surface points of every view are rendered once, the geometry is frozen, and only
                     the feature field learns, without any ray marching
    after training   fused surface and part tree in the run directory

Which phase a step belongs to follows from its number and from what lies on disk, never from having
passed a certain step: a run that is resumed goes on where it was.
"""

import hashlib
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
import torch.distributed as dist
import tyro
from nerfstudio.engine.callbacks import TrainingCallback, TrainingCallbackAttributes, TrainingCallbackLocation
from nerfstudio.pipelines.base_pipeline import VanillaPipeline, VanillaPipelineConfig
from nerfstudio.utils.rich_utils import CONSOLE
from torch import Tensor

from nerfstudio_plugin.beside import FORMAT, FieldBeside
from nerfstudio_plugin.capture import Frame, SemqueryDataManagerConfig
from nerfstudio_plugin.model import SemqueryModelConfig
from nerfstudio_plugin.observe import Capture, SurfaceConfig, observe_views
from nerfstudio_plugin.panel import AskedServer, PartPanel
from semquery import stages
from semquery.fit import FieldFit, FitConfig
from semquery.masks import MaskFolder, MaskSource, Regions, Sam, identity
from semquery.parts import TreeConfig
from semquery.scene import view_names
from semquery.store import Run, RunError


@dataclass
class SemqueryPipelineConfig(VanillaPipelineConfig):
    """Geometry, masks, feature field and tree."""

    _target: type = field(default_factory=lambda: SemqueryPipeline)
    datamanager: SemqueryDataManagerConfig = field(default_factory=SemqueryDataManagerConfig)
    model: SemqueryModelConfig = field(default_factory=SemqueryModelConfig)
    geometry_steps: int = 20000
    """Steps spent on the geometry before the surface is frozen."""
    mask_folder: Path | None = None
    """Masks made elsewhere, one entry per view (see `semquery masks --help`); None = made here."""
    sam: Sam = field(default_factory=Sam)
    """Masks by a SAM checkpoint, as soon as --pipeline.sam.checkpoint names one."""
    masks: tyro.conf.AvoidSubcommands[MaskSource] = field(default_factory=Regions)
    """Where masks come from when neither a folder nor a checkpoint is given."""
    surface: SurfaceConfig = field(default_factory=SurfaceConfig)
    """Which pixels count as surface."""
    fit: FitConfig = field(default_factory=FitConfig)
    """Training of the feature field; its steps follow the geometry's."""
    tree: TreeConfig = field(default_factory=TreeConfig)
    """From features to parts."""
    vlm: AskedServer = AskedServer()  # a default that runs saved before this setting existed have too
    """Who answers questions in the viewer, as soon as --pipeline.vlm.model names a model; otherwise the one that named the parts."""
    run: Annotated[Path | None, tyro.conf.Suppress] = None
    """The run directory; filled in when the configuration is saved."""

    @property
    def mask_source(self) -> MaskSource:
        """A folder or a checkpoint where one is given; flat settings, so that they mix with nerfstudio's own in any order."""
        if self.mask_folder is not None and self.sam.checkpoint:
            raise ValueError("--pipeline.mask-folder and --pipeline.sam.checkpoint are both given; masks come from one of them.")
        if self.mask_folder is not None:
            return MaskFolder(self.mask_folder)
        return self.sam if self.sam.checkpoint else self.masks

    @property
    def total_steps(self) -> int:
        return self.geometry_steps + self.fit.steps

    def check_can_train(self, device_type: str) -> None:
        """Raise RunError where this cannot be trained, or not on such a device; told before any work."""
        if self.fit.feature_rendering == "rasterised":
            raise RunError(
                "Rasterised features are blended from those of Gaussians, and a radiance field has none: leave "
                "--pipeline.fit.feature-rendering at surface, or train splats (ns-train semquery-splat)."
            )


class SemqueryPipeline(VanillaPipeline):
    """Nerfstudio's pipeline with a second phase."""

    config: SemqueryPipelineConfig

    def __init__(self, config: SemqueryPipelineConfig, device: str, **kwargs: Any) -> None:
        super().__init__(config, device, **kwargs)
        self.rank = kwargs.get("local_rank", 0)
        self.model.set_field(config.fit.field)
        self.model.to(device)
        self.model.T_train_capture.copy_(Frame.of(self.datamanager.train_dataparser_outputs).matrix)
        self.model.pictures.run = config.run
        self.panel = PartPanel(self.model, config.vlm)  # the viewer finds and opens it
        self.feature_fit: FieldFit | None = None

    @property
    def model(self) -> FieldBeside:
        return super().model

    @property
    def capture(self) -> Capture:
        data = self.datamanager.train_dataset
        photos, masks = data.image_filenames, data._dataparser_outputs.mask_filenames
        return Capture(view_names(photos), photos, data.cameras, masks)

    def load_pipeline(self, loaded_state: dict[str, Tensor], step: int) -> None:
        check_checkpoint(loaded_state, self.state_dict(), tuple(f"_model.{name}" for name in self.model.growing))
        super().load_pipeline(loaded_state, step)

    # ---------------------------------------------------------------- masks

    def make_masks(self, cache_root: Path) -> None:
        """Masks of all training views into the run directory, through a cache that outlives the run."""
        if self.rank == 0:
            views = list(zip(*(getattr(self.capture, f) for f in ("names", "photos")), strict=True))
            run, source = Run(self.config.run, create=True), self.config.mask_source
            stages.check_same_views(run, [name for name, _ in views])
            cache = Run(cache_root / _mask_key(source, views), create=True)
            stages.make_masks(cache, views, source)
            _link_masks(cache, run)
            stages.make_masks(run, views, source)
        self._wait()

    def _wait(self) -> None:
        """Where several processes train, only the first writes; the others wait for it here."""
        if self.world_size > 1:
            dist.barrier()

    # ---------------------------------------------------------------- training

    def get_train_loss_dict(self, step: int) -> tuple[dict, dict[str, Tensor], dict]:
        if step < self.config.geometry_steps:
            return super().get_train_loss_dict(step)
        fit = self.feature_phase()
        with torch.autocast(self.device.type, enabled=False):
            losses = fit.losses(step - self.config.geometry_steps)
            if not losses:  # the drawn pixels had no masks
                losses = {"contrast": 0 * fit.field(torch.zeros(1, 3, device=self.device)).sum()}
        return {}, losses, {}

    def feature_phase(self) -> FieldFit:
        """Freeze the geometry, make sure the surface is on disk, and open the field's training. Idempotent."""
        if self.feature_fit is None:
            self.model.requires_grad_(False)
            self.model.feature_field.requires_grad_(True)
            if self.rank == 0:
                self.observe(Run(self.config.run))
            self._wait()
            # several processes take the same steps from the same seed: they stay alike without exchanging gradients
            self.feature_fit = stages.open_fit(Run(self.config.run), self.config.fit, self.model.feature_field)
            self.model.is_field_trained.fill_(True)
        return self.feature_fit

    def observe(self, run: Run) -> None:
        """The surface of every view into the run directory; what is there from this very geometry is kept."""
        observe_views(run, self.model, self.capture, self.config.surface)

    def get_training_callbacks(self, attributes: TrainingCallbackAttributes) -> list[TrainingCallback]:
        def keep_geometry(step: int) -> None:
            # the surface is rendered from these very parameters: a killed run must come back to them, not to a relative
            if step == self.config.geometry_steps - 1:
                attributes.trainer.save_checkpoint(step)

        kept = TrainingCallback([TrainingCallbackLocation.AFTER_TRAIN_ITERATION], keep_geometry, update_every_num_iters=1)
        after = TrainingCallback([TrainingCallbackLocation.AFTER_TRAIN], self.finish)
        return [*super().get_training_callbacks(attributes), kept, after]

    def finish(self, step: int) -> None:
        """Fused surface and part tree; runs after the last checkpoint is safe."""
        if self.rank != 0:
            return
        if step + 1 < self.config.total_steps:
            CONSOLE.print(
                f"Stopped after {step + 1} of {self.config.total_steps} steps, so there is no part tree yet. "
                f"Go on with the same command and --load-dir {self.config.run}/nerfstudio_models"
            )
            return
        run, start = Run(self.config.run), time.time()
        self.feature_phase()
        again = run.stage("fit") is not None  # an earlier training in the same directory gives way to this one
        if run.begin("fit", self.config.fit, inputs=("masks", "observed"), overwrite=again):
            stages.finish_fit(run, self.model.feature_field, self.config.fit)
            run.done("fit", time.time() - start, seed=self.config.fit.seed)
        stages.build_tree(run, self.config.tree, overwrite=True)
        self.model.pictures.forget()
        CONSOLE.print(f"The part tree is in {run.path}. Next: semquery label {run.path}")


def _mask_key(source: MaskSource, views: list[tuple[str, Path]]) -> str:
    """A folder name that changes with whatever the masks depend on."""
    facts = {"source": identity(source), "views": [[n, str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns] for n, p in views]}
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _link_masks(cache: Run, run: Run) -> None:
    """Give the run the cache's masks; hard links where the file system has them, copies elsewhere."""
    import shutil

    (run / "masks").mkdir(exist_ok=True)
    for name in cache.masked_views():
        source, target = cache / "masks" / f"{name}.npz", run / "masks" / f"{name}.npz"
        if not target.exists():
            try:
                os.link(source, target)
            except OSError:
                shutil.copyfile(source, target)


def check_checkpoint(found: dict[str, Tensor], wanted: dict[str, Tensor], growing: tuple[str, ...] = ()) -> None:
    """Raise RunError when a checkpoint is of another version or another configuration.

    Tensors whose names begin with one of `growing` may have any number of rows.
    """
    found = {name.removeprefix("module."): t for name, t in found.items()}
    made = next((int(t) for name, t in found.items() if name.endswith("_model.format")), None)
    if made != FORMAT:
        raise RunError(
            f"The checkpoint has format {made}, this semquery reads format {FORMAT}: it was made by another version "
            "or another method. Train again, or use the version that made it."
        )
    shape = lambda state, name: tuple(state[name].shape)[name.startswith(growing) :] if name in state else "nothing"  # noqa: E731
    wrong = [name for name in sorted(found.keys() | wanted.keys()) if shape(found, name) != shape(wanted, name)]
    if wrong:
        raise RunError(
            f"The checkpoint does not fit this configuration in {len(wrong)} tensors: {wrong[0]} has {shape(found, wrong[0])}, "
            f"expected {shape(wanted, wrong[0])}. Load it with the config.yml of its own run, or train again."
        )
