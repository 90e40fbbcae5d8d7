"""A coloured box, its photos, and a small training on them, for the tests of the nerfstudio plugin.

Nerfstudio is imported with this module: tests that may run without it skip before.
"""

import json
import random
from pathlib import Path

import numpy as np
import torch
import yaml
from nerfstudio.data.dataparsers.nerfstudio_dataparser import NerfstudioDataParserConfig
from PIL import Image

from nerfstudio_plugin import config as plugin
from nerfstudio_plugin.trainer import SemqueryTrainer, SemqueryTrainerConfig
from semquery.fit import FitConfig
from semquery.render import RayCaster, picture, pinhole, ring

SIZE, CENTRE, HALF = 48, np.array([0.5, -0.3, 0.2]), 0.35


def poses() -> np.ndarray:
    """Camera-to-world of the twelve photos, OpenGL axes."""
    return np.concatenate([ring(CENTRE, 1.6, e, np.arange(0.0, 360, 60) + e) for e in (-35, 30)])


def photograph(folder: Path) -> Path:
    """Photos of a box whose six faces differ in colour, off the origin, with transparent background."""
    (folder / "images").mkdir(parents=True)
    caster, colors = box_mesh()
    frames = []
    for k, T in enumerate(poses()):
        photo = picture(caster, lambda hits: colors[hits.face].astype(np.float32), T, pinhole(50, (SIZE, SIZE)), (SIZE, SIZE))
        Image.fromarray(photo).save(folder / "images" / f"view_{k:02d}.png")
        frames.append({"file_path": f"images/view_{k:02d}.png", "transform_matrix": T.tolist()})
    write_transforms(folder, frames)
    return folder


def box_mesh() -> tuple[RayCaster, np.ndarray]:
    import trimesh

    mesh = trimesh.creation.box(2 * HALF * np.ones(3))
    axis = np.abs(mesh.face_normals).argmax(1)
    colors = np.eye(3)[axis] * 0.7 + 0.2 + 0.1 * (mesh.face_normals.sum(1) > 0)[:, None]
    return RayCaster(mesh.vertices + CENTRE, mesh.faces), colors.clip(0, 1)


def write_transforms(folder: Path, frames: list[dict]) -> None:
    fx, fy, cx, cy = pinhole(50, (SIZE, SIZE)).tolist()
    lens = {"camera_model": "OPENCV", "fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy, "w": SIZE, "h": SIZE}
    (folder / "transforms.json").write_text(json.dumps({**lens, "frames": frames}))


def tiny(scene: Path, output: Path, geometry_steps: int = 60, fit_steps: int = 30) -> SemqueryTrainerConfig:
    """semquery-tiny, smaller still; the configuration is copied the way the command line would fill it."""
    config = yaml.load(yaml.dump(plugin.semquery_tiny.config), Loader=yaml.Loader)
    config.data = config.pipeline.datamanager.data = scene
    config.output_dir, config.timestamp, config.vis = output, "run", "tensorboard"
    config.pipeline.datamanager.dataparser = NerfstudioDataParserConfig(data=scene, eval_mode="all")
    config.pipeline.datamanager.train_num_rays_per_batch = 512
    config.pipeline.geometry_steps, config.pipeline.fit = geometry_steps, FitConfig(steps=fit_steps, batch=256)
    config.pipeline.model.surface_samples, config.pipeline.model.proposal_weights_anneal_max_num_iters = 24, 10
    config.machine.device_type, config.steps_per_save = "cpu", 10_000
    return config


def train(config: SemqueryTrainerConfig) -> SemqueryTrainer:
    """The same training each time: nerfstudio draws from all three generators, and threads add in any order."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        config.save_config()
        trainer = config.setup(local_rank=0, world_size=1)
        trainer.setup()
        trainer.train()
    finally:
        torch.set_num_threads(threads)
    return trainer
