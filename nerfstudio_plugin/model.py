"""Nerfacto with a feature field on its surface.

The radiance field is nerfstudio's, but for its hash grids, which are semquery's: the same on every
device, several times as fast on a CPU. The feature field lives beside it: see
beside.py.

Notation: r rays, s samples of a ray. Depth is distance along the ray, in the trainer's unit.
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from nerfstudio.cameras.rays import RayBundle, RaySamples
from nerfstudio.field_components.encodings import HashEncoding
from nerfstudio.field_components.field_heads import FieldHeadNames
from nerfstudio.model_components.scene_colliders import AABBBoxCollider
from nerfstudio.models.nerfacto import NerfactoModel, NerfactoModelConfig
from torch import Tensor, nn

from nerfstudio_plugin.beside import FieldBeside, without_lpips
from nerfstudio_plugin.capture import HAS_ALPHA, IS_BOUNDED
from nerfstudio_plugin.cutaway import Cut
from nerfstudio_plugin.outputs import tree_pictures
from semquery.field import GridConfig, HashGrid


@dataclass
class SemqueryModelConfig(NerfactoModelConfig):
    """Nerfacto's settings, and those of its surface."""

    _target: type = field(default_factory=lambda: SemqueryModel)
    opacity_loss_mult: float = 0.0
    """Weight of the entropy of a ray's opacity: a ray should either hit something or nothing."""
    bounded_thickness: float = 4.0
    """Optical thickness at the start, where silhouettes bound the scene, of their box from side to side: it begins
    solid and is carved, so that plain faces, whose depth no photo tells, stay where the silhouettes put them.
    Much more than this and light never gets in."""
    bounded_distortion_mult: float = 0.007
    """Weight of the distortion loss there, where it can be larger because samples lie close."""
    bounded_max_res: int | None = None
    """Finest grid there, where it covers no more than the box; None = `max_res`."""
    surface_samples: int = 64
    """Samples per ray when the surface is rendered once for all; training may use fewer."""


class SemqueryModel(FieldBeside, NerfactoModel):
    """Radiance field, feature field, and the outputs the viewer shows."""

    config: SemqueryModelConfig

    def populate_modules(self) -> None:
        self._adapt_to_capture()
        with without_lpips():
            super().populate_modules()
        if self.has(IS_BOUNDED):
            self.collider = AABBBoxCollider(self.scene_box, near_plane=self.config.near_plane)
        if self.config.implementation == "torch":
            moves_rays = self.config.camera_optimizer.mode != "off" or self.config.predict_normals
            replace_grids(self, position_gradients=moves_rays)
        self.add_field()

    def _adapt_to_capture(self) -> None:
        """Settings that follow from what the photos tell; the saved configuration keeps the user's."""
        config = self.config
        if self.has(HAS_ALPHA):
            config.background_color = "random"  # a fixed colour lets fog of that colour hide in the background
        if self.has(IS_BOUNDED):
            config.disable_scene_contraction = True
            config.proposal_initial_sampler = "uniform"
            config.average_init_density = config.bounded_thickness / float((self.scene_box.aabb[1] - self.scene_box.aabb[0]).max())
            config.distortion_loss_mult = config.bounded_distortion_mult
            config.max_res = config.bounded_max_res or config.max_res
            config.use_gradient_scaling = False  # against specks before the cameras, where the box leaves no room

    def get_outputs(self, ray_bundle: RayBundle) -> dict[str, Tensor]:
        outputs = super().get_outputs(ray_bundle)
        if not self.training:
            outputs.update(self._tree_pictures(ray_bundle, outputs))
            if self.has(IS_BOUNDED):
                outputs["depth"] = torch.where(outputs["accumulation"] < 0.5, self._behind_the_scene(ray_bundle), outputs["depth"])
        return outputs

    @torch.no_grad()
    def get_outputs_for_camera_ray_bundle(self, camera_ray_bundle: RayBundle) -> dict[str, Tensor]:
        with self.pictures.frame() as frame:
            self.pictures.say_what_is_missing(frame)
            return super().get_outputs_for_camera_ray_bundle(camera_ray_bundle)

    def _tree_pictures(self, rays: RayBundle, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        points = self.frame.to_capture(rays.origins + rays.directions * outputs["depth"])
        features = lambda: self.feature_field(points) if self.is_field_trained else None  # noqa: E731
        left = lambda cut: self.rgb_of(rays, cut)  # noqa: E731
        return tree_pictures(self.pictures.now, outputs["rgb"], outputs["accumulation"], points, features, left)

    @torch.no_grad()
    def rgb_of(self, rays: RayBundle, cut: Cut) -> Float[Tensor, "r 3"]:
        """The colours of what a cut leaves: density is nothing elsewhere, also to where samples are drawn.

        Nothing of the model is changed for it, as a render may be interrupted at any line.
        """
        density_fns = [lambda positions, density=density: density(positions) * cut(positions) for density in self.density_fns]
        samples, _, _ = self.proposal_sampler(rays, density_fns=density_fns)
        density, embedding = self.field.get_density(samples)
        colors = self.field.get_outputs(samples, density_embedding=embedding)[FieldHeadNames.RGB]
        return self.renderer_rgb(rgb=colors, weights=samples.get_weights(density * cut(samples.frustums.get_positions())))

    def _behind_the_scene(self, rays: RayBundle) -> Float[Tensor, "n 1"]:
        """A depth for rays that hit nothing: just past the scene's box, so that a depth picture keeps its contrast."""
        box = self.scene_box.aabb.to(rays.origins)
        return (rays.origins - box.mean(0)).norm(dim=-1, keepdim=True) + (box[1] - box[0]).norm() / 2

    def get_loss_dict(self, outputs, batch, metrics_dict=None) -> dict[str, Tensor]:
        losses = super().get_loss_dict(outputs, batch, metrics_dict)
        if self.training and self.config.opacity_loss_mult > 0 and self.has(HAS_ALPHA):
            losses["opacity_loss"] = self.config.opacity_loss_mult * opacity_entropy(outputs["accumulation"])
        return losses

    @torch.no_grad()
    def surface_along(self, rays: RayBundle) -> "RaySurface":
        """Where rays meet the surface, with more samples than training uses. `rays` is flat and has camera indices."""
        if self.collider is not None:
            rays = self.collider(rays)
        sampler, few = self.proposal_sampler, self.proposal_sampler.num_nerf_samples_per_ray
        sampler.num_nerf_samples_per_ray = max(few, self.config.surface_samples)
        try:
            samples, _, _ = sampler(rays, density_fns=self.density_fns)
        finally:
            sampler.num_nerf_samples_per_ray = few
        density, _ = self.field.get_density(samples)
        return RaySurface.of(samples.get_weights(density)[..., 0], samples)


@dataclass(frozen=True)
class RaySurface:
    """Where each ray ends: the median of its termination, how spread that is, and how opaque it is."""

    depth: Float[Tensor, " r"]
    spread: Float[Tensor, " r"]  # distance between the quartiles of the termination
    opacity: Float[Tensor, " r"]

    @staticmethod
    def of(weights: Float[Tensor, "r s"], samples: RaySamples) -> "RaySurface":
        opacity = weights.sum(1)
        low, depth, high = quantiles(weights, samples.frustums.starts[..., 0], samples.frustums.ends[..., 0])
        return RaySurface(depth, high - low, opacity)


def quantiles(
    weights: Float[Tensor, "r s"], starts: Float[Tensor, "r s"], ends: Float[Tensor, "r s"], at: tuple[float, ...] = (0.25, 0.5, 0.75)
) -> list[Float[Tensor, " r"]]:
    """Depths at which a share of a ray's opacity is reached, linear inside a sample: finer than the samples are."""
    cumulative = weights.cumsum(1)
    found = []
    for share in at:
        wanted = share * cumulative[:, -1:]
        k = torch.searchsorted(cumulative, wanted).clamp(max=weights.shape[1] - 1)
        inside = (wanted - (cumulative - weights).gather(1, k)) / weights.gather(1, k).clamp(min=1e-10)
        start, end = starts.gather(1, k), ends.gather(1, k)
        found.append((start + (end - start) * inside.clamp(0, 1))[:, 0])
    return found


def opacity_entropy(accumulation: Float[Tensor, "r 1"]) -> Float[Tensor, ""]:
    """Mean entropy of the rays' opacities, 0 when each is 0 or 1."""
    a = accumulation.clamp(1e-4, 1 - 1e-4)
    return -(a * a.log() + (1 - a) * (1 - a).log()).mean()


class _PositionGrid(HashGrid):
    """A grid whose positions need no gradient: nerfstudio asks for one at every sample, used or not."""

    def forward(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n c"]:
        return super().forward(x.detach())


def replace_grids(module: nn.Module, position_gradients: bool) -> None:
    """Put semquery's grid in the place of each of nerfstudio's torch grids, shared ones included."""
    made: dict[int, HashGrid] = {}
    for parent in module.modules():
        for name, child in parent.named_children():
            if isinstance(child, HashEncoding) and child.tcnn_encoding is None:
                made.setdefault(id(child), _same_shape(child, position_gradients))
                setattr(parent, name, made[id(child)])


def _same_shape(grid: HashEncoding, position_gradients: bool) -> HashGrid:
    finest = round(grid.min_res * float(grid.growth_factor) ** (grid.num_levels - 1))
    config = GridConfig(grid.num_levels, grid.features_per_level, grid.log2_hashmap_size, grid.min_res, finest, grid.hash_init_scale)
    return HashGrid(config) if position_gradients else _PositionGrid(config)
