"""The pipeline on splats: as pipeline.py has it, with splatfacto's geometry and the surface that its depth maps show."""

from dataclasses import dataclass, field
from typing import Any

import torch

from nerfstudio_plugin.observe import Capture
from nerfstudio_plugin.pipeline import SemqueryPipeline, SemqueryPipelineConfig
from nerfstudio_plugin.splat_capture import SemquerySplatDataManagerConfig
from nerfstudio_plugin.splat_model import SemquerySplatModelConfig
from nerfstudio_plugin.splat_observe import is_distorted, observe_splat_views
from semquery.scene import view_names
from semquery.splatting.clean import CleanConfig
from semquery.splatting.surface import SplatSurface
from semquery.store import Run, RunError


@dataclass
class SemquerySplatPipelineConfig(SemqueryPipelineConfig):
    """Splats, masks, feature field and tree."""

    _target: type = field(default_factory=lambda: SemquerySplatPipeline)
    datamanager: SemquerySplatDataManagerConfig = field(default_factory=SemquerySplatDataManagerConfig)
    model: SemquerySplatModelConfig = field(default_factory=SemquerySplatModelConfig)
    geometry_steps: int = 15000
    surface: SplatSurface = field(default_factory=SplatSurface)
    """Which pixels count as surface."""
    cleaning: CleanConfig = field(default_factory=CleanConfig)
    """Which Gaussians are no surface."""

    def check_can_train(self, device_type: str) -> None:
        if self.model.rasterizer == "gsplat" and not (device_type == "cuda" and torch.cuda.is_available()):
            raise RunError(
                "semquery-splat renders with gsplat, which needs a CUDA device, and there is none here: take "
                "`ns-train semquery-splat-tiny` (or --pipeline.model.rasterizer torch) for the slower rasteriser that runs on a CPU, "
                "`ns-train semquery` or `semquery-tiny` for a radiance field, or `semquery fit RUN --splats SCENE.ply` for splats "
                "trained elsewhere."
            )
        if self.fit.feature_rendering == "rasterised" and self.fit.rasterised.carried_by == "vectors":
            raise RunError(
                "ns-train trains the feature field, and --pipeline.fit.rasterised.carried_by vectors has none: train with the field, then "
                "`semquery fit RUN --feature-rendering rasterised --rasterised.carried-by vectors --overwrite` on the run."
            )


class SemquerySplatPipeline(SemqueryPipeline):
    """Nerfstudio's pipeline for splats with a second phase."""

    config: SemquerySplatPipelineConfig

    def __init__(self, config: SemquerySplatPipelineConfig, device: str, **kwargs: Any) -> None:
        super().__init__(config, device, **kwargs)
        if config.fit.feature_rendering == "rasterised" and is_distorted(self.datamanager.photo_cameras):
            raise RunError("The photos are distorted, and rasterised features take pinholes: leave --pipeline.fit.feature-rendering at surface, "
                           "or undistort the photos first (colmap image_undistorter).")
        self.model.cleaning = config.cleaning
        self.model.end_refinement(config.geometry_steps)

    @property
    def capture(self) -> Capture:
        data = self.datamanager.train_dataset
        photos, masks = data.image_filenames, data._dataparser_outputs.mask_filenames
        return Capture(view_names(photos), photos, self.datamanager.photo_cameras, masks)

    def observe(self, run: Run) -> None:
        observe_splat_views(run, self.model, self.capture, self.datamanager.pinhole_cameras, self.config.surface)
