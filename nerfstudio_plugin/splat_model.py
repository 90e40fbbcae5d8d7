"""Splatfacto with a feature field beside it: see beside.py.

The Gaussians, their training and densification are nerfstudio's. What is rendered is this module's: with gsplat or, without CUDA, the
torch rasteriser, and with the part tree in the colours of the Gaussians themselves.

Notation
  g Gaussians, h w height and width.
Conventions
  Depth is along the camera's axis, in the trainer's unit, as splatfacto has it.
"""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.data.scene_box import OrientedBox
from nerfstudio.models.splatfacto import RGB2SH, SplatfactoModel, SplatfactoModelConfig, num_sh_bases, random_quat_tensor
from torch import Tensor, nn

from nerfstudio_plugin.beside import FieldBeside, without_lpips
from nerfstudio_plugin.outputs import PICTURES, tree_pictures
from nerfstudio_plugin.rasterization import Rasterised, rasterization, rasterization_on, viewmat_of
from nerfstudio_plugin.splat_outputs import SplatScenery, drawable, stacked
from semquery.splatting import Gaussians
from semquery.splatting.clean import CleanConfig
from semquery.splatting.moved import moved
from semquery.stages.splats import cleaned
from semquery.types import PartTree, Surface

PLAIN_GRADIENT = 0.25  # of the threshold for absolute gradients: those that cancel are smaller (.0002 in 3DGS, .0008 in AbsGS)
ON_BLACK = ("parts", "features")  # pictures without what is behind the Gaussians


@dataclass
class SemquerySplatModelConfig(SplatfactoModelConfig):
    """Splatfacto's settings, and what renders."""

    _target: type = field(default_factory=lambda: SemquerySplatModel)
    rasterizer: Literal["gsplat", "torch"] = "gsplat"
    """What renders in training: gsplat needs CUDA, torch runs anywhere and is a hundred times slower. A trained run opens anywhere."""


class SemquerySplatModel(FieldBeside, SplatfactoModel):
    """Gaussians, feature field, and the outputs the viewer shows."""

    config: SemquerySplatModelConfig
    growing = ("gauss_params.",)
    cleaning = CleanConfig()
    """Which Gaussians are no surface; the pipeline's, as nerfstudio gives models no settings but their own."""

    def populate_modules(self) -> None:
        seeds, self.seed_points = self.seed_points, None  # splatfacto wants CUDA for them
        with without_lpips():
            super().populate_modules()
        if seeds is not None and not self.config.random_init and len(seeds[0]) > 3:
            self.gauss_params = self._seeded(*seeds)
        if self.config.rasterizer == "torch" and self.strategy.absgrad:
            self.strategy = replace(self.strategy, absgrad=False, grow_grad2d=PLAIN_GRADIENT * self.strategy.grow_grad2d)
        self.add_field(self._scenery)

    def _seeded(self, points: Float[Tensor, "g 3"], rgb: Tensor) -> nn.ParameterDict:
        """Round Gaussians as large as their neighbours are far, in the colours of the points (0..255)."""
        away = torch.from_numpy(self.k_nearest_sklearn(points, 3)[0]).mean(1, keepdim=True).clamp(min=1e-6)
        colors = (rgb.float() / 255).clamp(0.01, 0.99) if len(rgb) else torch.full((len(points), 3), 0.5)
        rest = torch.zeros(len(points), num_sh_bases(self.config.sh_degree) - 1, 3)
        made = {
            "means": points.float().clone(), "scales": away.log().repeat(1, 3), "quats": random_quat_tensor(len(points)),
            "features_dc": RGB2SH(colors) if self.config.sh_degree > 0 else colors.logit(), "features_rest": rest,
            "opacities": torch.full((len(points), 1), 0.1).logit(),
        }
        return nn.ParameterDict({name: nn.Parameter(values) for name, values in made.items()})

    def end_refinement(self, geometry_steps: int) -> None:
        """Gaussians come, go and are made faint in the first two thirds of the geometry's training at most: the rest settles them."""
        self.strategy.refine_stop_iter = min(self.config.stop_split_at, 2 * geometry_steps // 3)

    def step_post_backward(self, step: int) -> None:
        if self.means.requires_grad:  # the geometry is trained
            super().step_post_backward(step)

    def load_state_dict(self, state: dict[str, Tensor], **kwargs: Any) -> Any:
        """With as many Gaussians as were saved; the parameters stay the same objects, as optimisers hold them."""
        for name, parameter in self.gauss_params.items():
            parameter.data = torch.zeros_like(state[f"gauss_params.{name}"], device=self.device)
        return super(SplatfactoModel, self).load_state_dict(state, **kwargs)

    # ---------------------------------------------------------------- the Gaussians

    @property
    def gaussians(self) -> Gaussians:
        """In the trainer's frame."""
        sh = torch.cat([self.shs_0[:, None], self.shs_rest], 1)
        return Gaussians(self.means, self.quats, self.scales.exp(), self.opacities.sigmoid()[:, 0], sh)

    @torch.no_grad()
    def captured_gaussians(self) -> Gaussians:
        """In the capture's frame and unit, with the harmonics turned."""
        return moved(self.gaussians, torch.linalg.inv(self.T_train_capture))

    def _scenery(self, surface: Surface, tree: PartTree) -> SplatScenery:
        gaussians = self.captured_gaussians()
        return SplatScenery(surface, tree, gaussians.means.float().cpu().numpy(), cleaned(gaussians, self.cleaning).kept)

    # ---------------------------------------------------------------- rendering

    def get_outputs(self, camera: Cameras) -> dict[str, Tensor]:
        """Of one camera; while the geometry is trained at the size, and with the harmonics, that splatfacto has come to."""
        return self._trained_outputs(camera) if self.training else self._shown_outputs(camera)

    @torch.no_grad()
    def get_outputs_for_camera(self, camera: Cameras, obb_box: OrientedBox | None = None) -> dict[str, Tensor]:
        with self.pictures.frame() as frame:
            self.pictures.say_what_is_missing(frame)
            return super().get_outputs_for_camera(camera, obb_box)

    def _trained_outputs(self, camera: Cameras) -> dict[str, Tensor]:
        config, g = self.config, self.gaussians
        degree = min(self.step // config.sh_degree_interval, config.sh_degree)
        mode = "RGB+ED" if config.output_depth_during_training else "RGB"
        T = self.camera_optimizer.apply_to_camera(camera)
        picture, opacity, self.info = self._rasterised(
            g, g.sh, T, camera, self._get_downscale_factor(), sh_degree=degree, render_mode=mode, absgrad=self.strategy.absgrad)
        self.strategy.step_pre_backward(self.gauss_params, self.optimizers, self.strategy_state, self.step, self.info)
        background = self._get_background_color()
        rgb = (picture[..., :3] + (1 - opacity) * background).clamp(0, 1)
        if config.use_bilateral_grid and camera.metadata is not None and "cam_idx" in camera.metadata:
            rgb = self._apply_bilateral_grid(rgb, camera.metadata["cam_idx"], *rgb.shape[1:3])
        depth = _depth(picture, opacity) if mode == "RGB+ED" else None
        return {"rgb": rgb[0], "depth": depth, "accumulation": opacity[0], "background": background}

    def _shown_outputs(self, camera: Cameras) -> dict[str, Tensor]:
        rows, T = self._shown_rows(), camera.camera_to_worlds
        g, background = self.gaussians[rows], self._get_background_color()
        drawn, cut = self._pictures(g.colors(T[0, :, 3]), rows)
        channels, begin = stacked({name: drawn[name] for name in PICTURES}, drawn["rgb"])
        picture, opacity, _ = self._rasterised(g, channels, T, camera, render_mode="RGB+ED")
        under = (1 - opacity) * background
        at = lambda name: picture[..., begin[name] : begin[name] + 3] + (0 if name in ON_BLACK and begin[name] else under)  # noqa: E731
        outputs = {"rgb": picture[..., :3] + under, **{name: at(name) for name in PICTURES}}
        if cut is not None:
            left = replace(g, opacities=g.opacities * cut)
            alone, seen, _ = self._rasterised(left, drawn["rgb"], T, camera)
            outputs["highlight"] = alone + (1 - seen) * background
        outputs = {name: values.clamp(0, 1)[0] for name, values in outputs.items()}
        shown = {"depth": _depth(picture, opacity), "accumulation": opacity[0], "background": background.expand(*opacity.shape[1:3], 3)}
        return {"rgb": outputs.pop("rgb"), **shown, **outputs}

    def _pictures(self, rgb: Float[Tensor, "g 3"], rows: Bool[Tensor, " n"]) -> tuple[dict[str, Tensor], Bool[Tensor, " g"] | None]:
        """Colours of the Gaussians in the plain picture and in each of PICTURES; and which are left, where some are hidden."""
        frame = drawable(self.pictures.now, len(rows))
        points = self.frame.to_capture(self.means)
        features = lambda: self.feature_field(points) if self.is_field_trained else None  # noqa: E731
        everywhere = rgb.new_zeros(len(rows), 3)
        everywhere[rows] = rgb
        drawn = tree_pictures(frame, everywhere, rgb.new_ones(len(rows), 1), points, features, lambda cut: everywhere)
        cut = frame.sight.cut if frame.sight is not None and "highlight" in frame.wanted else None
        kept = {name: rgb if values is everywhere else values[rows] for name, values in drawn.items()}
        return {"rgb": rgb, **kept}, None if cut is None else cut[rows]

    def _shown_rows(self) -> Bool[Tensor, " n"]:
        """The Gaussians in the viewer's crop box."""
        if self.crop_box is None:
            return torch.ones(len(self.means), dtype=torch.bool, device=self.device)
        return self.crop_box.within(self.means).reshape(-1)

    def _rasterised(
        self, g: Gaussians, colors: Tensor, T_world_cam: Float[Tensor, "1 3 4"], camera: Cameras, downscale: int = 1, **how: Any
    ) -> Rasterised:
        K = camera.get_intrinsics_matrices().to(self.device)
        K = torch.cat([K[:, :2] / downscale, K[:, 2:]], 1)
        size = int(camera.width.item()) // downscale, int(camera.height.item()) // downscale
        call = rasterization if self.config.rasterizer == "torch" else rasterization_on(self.device)
        return call(g.means, g.quats, g.scales, g.opacities, colors, viewmat_of(T_world_cam.to(self.device)), K, *size,
                    packed=False, rasterize_mode=self.config.rasterize_mode, **how)


def _depth(picture: Float[Tensor, "1 h w c"], opacity: Float[Tensor, "1 h w 1"]) -> Float[Tensor, "h w 1"]:
    """The last channel; where nothing is, the farthest."""
    depth = picture[..., -1:]
    return torch.where(opacity > 0, depth, depth.detach().max())[0]
