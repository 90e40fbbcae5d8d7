"""The methods that `ns-train` finds: `semquery` and `semquery-tiny`, and on splats `semquery-splat` and `semquery-splat-tiny`.

Nerfstudio loads this module outside any try: whatever fails here would break every method of every
user. So nothing is imported but nerfstudio, torch and semquery's own light modules.
"""

import numpy as np
import torch
from nerfstudio.cameras.camera_optimizers import CameraOptimizerConfig
from nerfstudio.configs.base_config import MachineConfig, ViewerConfig
from nerfstudio.data.dataparsers.nerfstudio_dataparser import NerfstudioDataParserConfig
from nerfstudio.engine.optimizers import AdamOptimizerConfig
from nerfstudio.engine.schedulers import ExponentialDecaySchedulerConfig
from nerfstudio.plugins.types import MethodSpecification

from nerfstudio_plugin.capture import SemqueryDataManagerConfig
from nerfstudio_plugin.model import SemqueryModelConfig
from nerfstudio_plugin.observe import SurfaceConfig
from nerfstudio_plugin.pipeline import SemqueryPipelineConfig
from nerfstudio_plugin.splat_capture import SemquerySplatDataManagerConfig
from nerfstudio_plugin.splat_model import SemquerySplatModelConfig
from nerfstudio_plugin.splat_pipeline import SemquerySplatPipelineConfig
from nerfstudio_plugin.trainer import SemqueryTrainerConfig
from semquery.splatting.surface import SplatSurface


def allow_checkpoint_scalars() -> None:
    """Let torch load nerfstudio's checkpoints without switching its safety off.

    Learning rates are saved as numpy scalars, which torch 2.6 and later refuse unless they are declared
    harmless. A run's config.yml imports this module, so every ns-* command is served.
    """
    if not hasattr(torch.serialization, "add_safe_globals"):
        return
    scalar = np.float64(0).__reduce__()[0]  # its module moved between numpy 1 and 2: declare both names
    names = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    dtypes = [type(np.dtype(t)) for t in (np.float64, np.float32, np.int64)]
    torch.serialization.add_safe_globals([*names, np.dtype, *dtypes])


allow_checkpoint_scalars()


def _device() -> MachineConfig:
    return MachineConfig(device_type="cuda" if torch.cuda.is_available() else "cpu")


def _viewer(rays: int) -> ViewerConfig:
    """Local only, and gone when the training is: look at the result with ns-viewer."""
    return ViewerConfig(num_rays_per_chunk=rays, websocket_host="127.0.0.1", quit_on_train_completion=True)


def _adam(lr: float, lr_final: float, warmup: int = 0) -> dict:
    """Adam with an exponential decay that ends with the geometry phase."""
    schedule = ExponentialDecaySchedulerConfig(lr_final=lr_final, warmup_steps=warmup)
    return {"optimizer": AdamOptimizerConfig(lr=lr, eps=1e-15), "scheduler": schedule}


semquery = MethodSpecification(
    config=SemqueryTrainerConfig(
        method_name="semquery",
        steps_per_eval_batch=500,
        steps_per_save=2000,
        mixed_precision=True,
        pipeline=SemqueryPipelineConfig(
            geometry_steps=20000,
            datamanager=SemqueryDataManagerConfig(
                dataparser=NerfstudioDataParserConfig(), train_num_rays_per_batch=4096, eval_num_rays_per_batch=4096),
            model=SemqueryModelConfig(implementation="torch", eval_num_rays_per_chunk=1 << 14),
        ),
        optimizers={
            "proposal_networks": _adam(1e-2, 1e-4),
            "fields": _adam(1e-2, 1e-4),
            "camera_opt": _adam(1e-3, 1e-4),
        },
        machine=_device(),
        viewer=_viewer(1 << 15),
        vis="viewer",
    ),
    description="Masks, radiance field, ultrametric feature field and part tree of a captured scene (GPU).",
)

semquery_tiny = MethodSpecification(
    config=SemqueryTrainerConfig(
        method_name="semquery-tiny",
        steps_per_eval_batch=100_000,
        steps_per_eval_image=100_000,
        steps_per_eval_all_images=100_000,
        steps_per_save=500,
        pipeline=SemqueryPipelineConfig(
            geometry_steps=2000,
            datamanager=SemqueryDataManagerConfig(
                dataparser=NerfstudioDataParserConfig(), train_num_rays_per_batch=1024, eval_num_rays_per_batch=1024, max_side=200),
            model=SemqueryModelConfig(
                implementation="torch",
                num_levels=8, features_per_level=4, base_res=8, max_res=1024, bounded_max_res=320, log2_hashmap_size=16,
                hidden_dim=32, hidden_dim_color=32, use_gradient_scaling=True,
                num_proposal_iterations=1, num_proposal_samples_per_ray=(48,), num_nerf_samples_per_ray=20,
                proposal_net_args_list=[
                    {"hidden_dim": 16, "log2_hashmap_size": 15, "num_levels": 5, "max_res": 128, "use_linear": False}],
                proposal_warmup=400, proposal_update_every=3, proposal_weights_anneal_max_num_iters=200,
                use_appearance_embedding=False, camera_optimizer=CameraOptimizerConfig(mode="off"),
                average_init_density=0.1, opacity_loss_mult=0.01, surface_samples=40, eval_num_rays_per_chunk=4096,
            ),
            surface=SurfaceConfig(max_side=200),
        ),
        optimizers={"proposal_networks": _adam(2e-2, 6e-4, 30), "fields": _adam(2e-2, 6e-4, 30)},
        machine=_device(),
        viewer=_viewer(4096),
        vis="viewer",
    ),
    description="The same in a few minutes on a CPU: small grids, small photos.",
)


def _gaussians(means: float, colors: float, opacities: float, scales: float, quats: float) -> dict:
    """Adam for each parameter of the Gaussians; the centres' rate falls to a hundredth."""
    rates = {"features_dc": colors, "features_rest": colors / 20, "opacities": opacities, "scales": scales, "quats": quats}
    others = {name: {"optimizer": AdamOptimizerConfig(lr=lr, eps=1e-15), "scheduler": None} for name, lr in rates.items()}
    return {"means": _adam(means, means / 100), **others}


semquery_splat = MethodSpecification(
    config=SemqueryTrainerConfig(
        method_name="semquery-splat",
        steps_per_eval_batch=0,
        steps_per_eval_image=500,
        steps_per_eval_all_images=100_000,
        steps_per_save=2000,
        pipeline=SemquerySplatPipelineConfig(
            datamanager=SemquerySplatDataManagerConfig(
                dataparser=NerfstudioDataParserConfig(load_3D_points=True), cache_images_type="uint8"),
            model=SemquerySplatModelConfig(),
        ),
        optimizers={
            **_gaussians(1.6e-4, 2.5e-3, 5e-2, 5e-3, 1e-3),
            "camera_opt": _adam(1e-4, 5e-7, 1000),
            "bilateral_grid": _adam(2e-3, 1e-4, 1000),
        },
        machine=_device(),
        viewer=_viewer(1 << 15),
        vis="viewer",
    ),
    description="Masks, Gaussian splats, ultrametric feature field and part tree of a captured scene (GPU).",
)

semquery_splat_tiny = MethodSpecification(
    config=SemqueryTrainerConfig(
        method_name="semquery-splat-tiny",
        steps_per_eval_batch=0,
        steps_per_eval_image=100_000,
        steps_per_eval_all_images=100_000,
        steps_per_save=500,
        pipeline=SemquerySplatPipelineConfig(
            geometry_steps=800,
            datamanager=SemquerySplatDataManagerConfig(
                dataparser=NerfstudioDataParserConfig(load_3D_points=True), cache_images_type="uint8", max_side=100, num_seeds=5000),
            model=SemquerySplatModelConfig(
                rasterizer="torch", num_downscales=1, resolution_schedule=300, warmup_length=200, stop_screen_size_at=0,
                num_random=5000, random_scale=4.0, sh_degree=1, sh_degree_interval=400, reset_alpha_every=100, cull_alpha_thresh=0.05),
            surface=SplatSurface(max_side=160, finer=1),  # it trains on small photos: finer, there would be gaps between Gaussians
        ),
        optimizers={
            **_gaussians(1e-3, 2e-2, 5e-2, 1e-2, 5e-3),
            "camera_opt": _adam(1e-4, 5e-7, 100),
            "bilateral_grid": _adam(2e-3, 1e-4, 100),
        },
        machine=_device(),
        viewer=_viewer(4096),
        vis="viewer",
    ),
    description="The same in some minutes on a CPU: few Gaussians, small photos, the torch rasteriser.",
)
