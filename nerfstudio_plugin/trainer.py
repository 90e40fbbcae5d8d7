"""Nerfstudio's trainer with what two phases need: masks first, schedules that end with their phase.

Settings have one home: the number of steps and the field's learning rates are the pipeline's, and the
trainer derives its own from them.
"""

import dataclasses
import os
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from nerfstudio.engine.optimizers import AdamOptimizerConfig, Optimizers
from nerfstudio.engine.schedulers import SchedulerConfig
from nerfstudio.engine.trainer import Trainer, TrainerConfig
from nerfstudio.utils.decorators import check_main_thread

from nerfstudio_plugin.pipeline import SemqueryPipeline, SemqueryPipelineConfig
from semquery.fit import FitConfig, cosine_rate
from semquery.store import RunError


@dataclass
class SemqueryTrainerConfig(TrainerConfig):
    """Nerfstudio's training settings; the number of steps follows from the pipeline's phases."""

    _target: type = field(default_factory=lambda: SemqueryTrainer)
    pipeline: SemqueryPipelineConfig = field(default_factory=SemqueryPipelineConfig)
    max_num_iterations: int = 0
    """Stop after this many steps in all, resumed ones included; 0 = when geometry and field are done."""

    def print_to_terminal(self) -> None:
        """The first that `ns-train` does: a training that cannot begin ends here, in a sentence."""
        try:
            self.pipeline.check_can_train(self.machine.device_type)
        except RunError as error:
            raise SystemExit(str(error)) from error
        super().print_to_terminal()

    def save_config(self) -> None:
        """Keep paths absolute: the run loads again, and finds its part tree, from any working directory."""
        self.output_dir = Path(self.output_dir).resolve()
        for holder in (self, self.pipeline.datamanager):
            holder.data = holder.data and Path(holder.data).resolve()
        self.pipeline.run = self.get_base_dir().resolve()
        super().save_config()


class SemqueryTrainer(Trainer):
    """Masks before geometry; resuming goes on to the planned end, not beyond."""

    config: SemqueryTrainerConfig
    pipeline: SemqueryPipeline

    def setup(self, test_mode: Literal["test", "val", "inference"] = "val") -> None:
        self.config.pipeline.check_can_train(self.config.machine.device_type)
        self.config.pipeline.run = self.base_dir.resolve()
        super().setup(test_mode)
        self.pipeline.make_masks(mask_cache(self.config))

    def setup_optimizers(self) -> Optimizers:
        pipeline = self.config.pipeline
        geometry = {name: _ending_at(groups, pipeline.geometry_steps) for name, groups in self.config.optimizers.items()}
        groups = self.pipeline.get_param_groups()
        settings = {**geometry, **field_optimizers(pipeline.fit, pipeline.geometry_steps)}
        return Optimizers({name: settings[name] for name in groups}, groups)

    def train(self) -> None:
        with warnings.catch_warnings():
            # a group that waits for its phase has a scheduler that steps and an optimiser that does not, on purpose
            warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
            # nerfstudio 1.1.5 on a recent torch: harmless, and printed at every camera access
            warnings.filterwarnings("ignore", message="Using a non-tuple sequence")
            warnings.filterwarnings("ignore", message="Converting a tensor with requires_grad")
            super().train()

    @check_main_thread
    def save_checkpoint(self, step: int) -> None:
        """As nerfstudio's, but a checkpoint that exists is whole: it is written elsewhere, then renamed."""
        folder, self.checkpoint_dir = self.checkpoint_dir, self.base_dir / ".unfinished"
        try:
            super().save_checkpoint(step)
        finally:
            unfinished, self.checkpoint_dir = self.checkpoint_dir, folder
        folder.mkdir(parents=True, exist_ok=True)
        new = folder / f"step-{step:09d}.ckpt"
        os.replace(unfinished / new.name, new)
        if self.config.save_only_latest_checkpoint:
            for path in set(folder.glob("*.ckpt")) - {new}:
                path.unlink()

    def _load_checkpoint(self) -> None:
        super()._load_checkpoint()
        # nerfstudio counts its steps from where it resumes; at least one, or it would save over the checkpoint as step 0
        planned = self.config.max_num_iterations or self.config.pipeline.total_steps
        self.config.max_num_iterations = max(1, planned - self._start_step)


def mask_cache(config: SemqueryTrainerConfig) -> Path:
    """Masks outlive the run: every run of the same photos finds them, whatever became of the one that made them."""
    config.set_experiment_name()
    return Path(config.output_dir) / str(config.experiment_name) / "semquery_masks"


def _ending_at(groups: dict[str, Any], steps: int) -> dict[str, Any]:
    """The same optimiser settings with a schedule that ends when the geometry does."""
    scheduler = groups["scheduler"]
    if scheduler is None or not hasattr(scheduler, "max_steps"):
        return groups
    return {**groups, "scheduler": dataclasses.replace(scheduler, max_steps=steps)}


def field_optimizers(fit: FitConfig, start: int) -> dict[str, dict[str, Any]]:
    """Optimiser and schedule of the feature field's two parameter groups."""
    rates = {"feature_table": fit.learning_rate, "feature_network": fit.network_learning_rate}
    schedule = FieldScheduleConfig(start=start, steps=fit.steps)
    return {name: {"optimizer": FieldAdamConfig(lr=rate), "scheduler": schedule} for name, rate in rates.items()}


@dataclass
class FieldAdamConfig(AdamOptimizerConfig):
    """Adam as `semquery fit` uses it."""

    eps: float = 1e-15
    betas: tuple[float, float] = (0.9, 0.99)
    """Decay of the two moments."""


@dataclass
class FieldScheduleConfig(SchedulerConfig):
    """A cosine to 3 % that begins when the geometry is done."""

    _target: type = field(default_factory=lambda: FieldSchedule)
    start: int = 0
    """First step of the field's training."""
    steps: int = 1
    """Length of it."""


@dataclass(frozen=True)
class FieldSchedule:
    """Makes the torch scheduler; nerfstudio steps it once per training step."""

    config: FieldScheduleConfig

    def get_scheduler(self, optimizer: torch.optim.Optimizer, lr_init: float) -> torch.optim.lr_scheduler.LRScheduler:
        return torch.optim.lr_scheduler.LambdaLR(optimizer, self.factor)

    def factor(self, step: int) -> float:
        return cosine_rate(step - self.config.start, self.config.steps)
