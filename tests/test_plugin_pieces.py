"""Pieces of the nerfstudio plugin that need no training: frames, quantiles, grids, schedules, colours."""

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("nerfstudio.engine.trainer")

from nerfstudio.cameras.cameras import Cameras as TrainerCameras  # noqa: E402
from nerfstudio.data.dataparsers.base_dataparser import DataparserOutputs  # noqa: E402

import nerfstudio_plugin.config  # noqa: E402, F401 (declares what checkpoints may hold)
from nerfstudio_plugin.capture import Frame  # noqa: E402
from nerfstudio_plugin.model import quantiles, replace_grids  # noqa: E402
from nerfstudio_plugin.pipeline import SemqueryPipelineConfig  # noqa: E402
from nerfstudio_plugin.trainer import FieldScheduleConfig, field_optimizers  # noqa: E402
from semquery.fit import FitConfig  # noqa: E402
from semquery.masks import MaskFolder, Regions  # noqa: E402


def random_outputs(scale: float) -> DataparserOutputs:
    turn = torch.linalg.qr(torch.randn(3, 3))[0]
    poses = torch.cat([torch.linalg.qr(torch.randn(4, 3, 3))[0], torch.randn(4, 3, 1)], 2)
    cameras = TrainerCameras(poses, fx=50.0, fy=50.0, cx=24.0, cy=24.0, width=48, height=48)
    return DataparserOutputs([Path("a.png")] * 4, cameras, dataparser_transform=torch.cat([turn, torch.randn(3, 1)], 1), dataparser_scale=scale)


@pytest.mark.parametrize("scale", [1.0, 0.07, 30.0])
def test_frames_go_there_and_back(scale: float) -> None:
    torch.manual_seed(1)
    outputs = random_outputs(scale)
    frame, points = Frame.of(outputs), torch.randn(50, 3).double()
    torch.testing.assert_close(frame.to_trainer(frame.to_capture(points)), points)
    # nerfstudio's own definition: turn and shift first, then scale
    turn, shift = outputs.dataparser_transform[:, :3].double(), outputs.dataparser_transform[:, 3].double()
    torch.testing.assert_close(frame.to_trainer(points), scale * (points @ turn.T + shift))


def test_poses_go_back_as_nerfstudio_says() -> None:
    torch.manual_seed(2)
    outputs = random_outputs(0.3)
    ours = Frame.of(outputs).poses_to_capture(outputs.cameras.camera_to_worlds)
    theirs = outputs.transform_poses_to_original_space(outputs.cameras.camera_to_worlds, camera_convention="opengl")
    torch.testing.assert_close(ours[:, :3], theirs.double(), atol=1e-5, rtol=1e-5)


def test_quantiles_of_a_ray_by_hand() -> None:
    """Half of the weight in [1, 2], half in [4, 6]: the quartiles are the middles, the median the gap's near edge."""
    weights = torch.tensor([[0.4, 0.0, 0.4]])
    starts, ends = torch.tensor([[1.0, 2.0, 4.0]]), torch.tensor([[2.0, 4.0, 6.0]])
    low, middle, high = quantiles(weights, starts, ends)
    torch.testing.assert_close(torch.stack([low, middle, high])[:, 0], torch.tensor([1.5, 2.0, 5.0]))
    assert all(q.isfinite().all() for q in quantiles(torch.zeros(1, 3), starts, ends))


def test_shared_grids_stay_shared_when_replaced() -> None:
    from nerfstudio.field_components.encodings import HashEncoding

    shared = HashEncoding(num_levels=3, max_res=64, log2_hashmap_size=10, implementation="torch")
    module = torch.nn.ModuleDict({"a": shared, "b": torch.nn.Sequential(shared, torch.nn.Linear(6, 1))})
    replace_grids(module, position_gradients=False)
    assert module["a"] is module["b"][0] and module["a"].out_dim == 6
    assert module["b"](torch.rand(5, 3)).shape == (5, 1)


def test_the_field_learns_as_semquery_fit_would() -> None:
    groups = field_optimizers(FitConfig(steps=100, learning_rate=0.5), start=50)
    schedule = groups["feature_table"]["scheduler"]
    assert isinstance(schedule, FieldScheduleConfig)
    optimizer = groups["feature_table"]["optimizer"].setup(params=[torch.nn.Parameter(torch.zeros(1))])
    assert optimizer.defaults["betas"] == (0.9, 0.99) and optimizer.defaults["lr"] == 0.5
    factor = schedule.setup().factor
    assert factor(0) == factor(50) == 1.0 and factor(150) == pytest.approx(0.03) and factor(100) == pytest.approx(0.515)


def test_a_mask_folder_replaces_the_built_in_masks(tmp_path: Path) -> None:
    config = SemqueryPipelineConfig()
    assert isinstance(config.mask_source, Regions)
    config.mask_folder = tmp_path
    assert config.mask_source == MaskFolder(tmp_path)


def test_checkpoints_load_under_torchs_safe_loading(tmp_path: Path) -> None:
    torch.save({"lr": np.float64(0.1), "n": np.int64(3)}, tmp_path / "a.ckpt")
    assert torch.load(tmp_path / "a.ckpt", weights_only=True)["lr"] == 0.1
