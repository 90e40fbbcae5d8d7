"""The capture as nerfstudio parsed it: checks, image size, transparency, and the way between frames.

Nerfstudio trains in a frame of its own: x_train = scale · (R x_capture + t). Everything semquery keeps
is in the capture's frame and unit; `Frame` goes back and forth. Only parsed outputs are used, so every
dataparser is served.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from nerfstudio.data.datamanagers.base_datamanager import DataManagerConfig, VanillaDataManager, VanillaDataManagerConfig
from nerfstudio.data.dataparsers.base_dataparser import DataparserOutputs
from nerfstudio.data.datasets.base_dataset import InputDataset
from nerfstudio.data.scene_box import SceneBox
from torch import Tensor

from nerfstudio_plugin.hull import hull_box
from semquery.scene import check_finite_poses

HAS_ALPHA = "semquery_has_alpha"  # key in the dataset's metadata: the photos tell foreground from background
IS_BOUNDED = "semquery_is_bounded"  # all of the surface lies in the scene box


class CaptureError(ValueError):
    """The capture cannot be trained on; the message says what to mend."""


@dataclass(frozen=True)
class Frame:
    """The similarity from the capture's frame to the trainer's."""

    matrix: Float[Tensor, "4 4"]

    @staticmethod
    def of(outputs: DataparserOutputs) -> "Frame":
        matrix = torch.eye(4, dtype=torch.float64)
        matrix[:3] = outputs.dataparser_transform.double() * float(outputs.dataparser_scale)
        return Frame(matrix)

    def to_capture(self, points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
        return _apply(torch.linalg.inv(self.matrix.double()), points)

    def to_trainer(self, points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
        return _apply(self.matrix, points)

    def poses_to_capture(self, T_train_cam: Float[Tensor, "v 3 4"]) -> Float[Tensor, "v 4 4"]:
        """Camera poses; the scale moves their centres but must not stretch their axes."""
        poses = torch.eye(4, dtype=torch.float64).repeat(len(T_train_cam), 1, 1)
        T_train_cam = T_train_cam.double().cpu()
        turn = self.matrix[:3, :3].double().cpu()
        turn = turn / turn.det().abs() ** (1 / 3)
        poses[:, :3, :3] = turn.inverse() @ T_train_cam[:, :3, :3]
        poses[:, :3, 3] = self.to_capture(T_train_cam[:, :3, 3])
        return poses


def _apply(matrix: Float[Tensor, "4 4"], points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
    matrix = matrix.to(points.device)
    return (points.double() @ matrix[:3, :3].double().T + matrix[:3, 3].double()).to(points.dtype)


class CheckedCapture:
    """For a nerfstudio datamanager: the capture is checked before anything is trained on it, and transparency is kept."""

    config: Any
    """With `data`, `dataparser`, `camera_res_scale_factor` and `max_side`."""

    def __init__(self, config: DataManagerConfig, **kwargs: Any) -> None:
        try:  # before parsing: nerfstudio centres the poses, and one NaN among them makes all of them NaN
            check_finite_poses(Path(config.data or config.dataparser.data))
        except ValueError as error:
            raise CaptureError(str(error)) from error
        try:
            super().__init__(config, **kwargs)
        except CaptureError:
            raise
        except (OSError, AssertionError, ValueError, RuntimeError, LookupError) as error:
            raise CaptureError(
                f"The capture at {config.data} could not be read as {type(config.dataparser).__name__.removesuffix('Config')} "
                f"({type(error).__name__}: {' '.join(str(error).split())[:300]}). Check the folder, or name its format after the other "
                "options: blender-data, instant-ngp-data, nerfstudio-data or colmap."
            ) from error

    def create_train_dataset(self) -> InputDataset:
        outputs = self.train_dataparser_outputs
        check_capture(outputs)
        box = hull_box(outputs.cameras, outputs.image_filenames) if transparent(outputs.image_filenames) else None
        if box is not None:
            outputs.scene_box = SceneBox(aabb=box)
            outputs.metadata = {**outputs.metadata, IS_BOUNDED: True}
        return self._dataset(outputs)

    def create_eval_dataset(self) -> InputDataset:
        return self._dataset(self.dataparser.get_dataparser_outputs(split=self.test_split))

    def _dataset(self, outputs: DataparserOutputs) -> InputDataset:
        """The photos; RGBA stays RGBA, so that training may put any colour behind the object."""
        if transparent(outputs.image_filenames):
            outputs.alpha_color = None
            outputs.metadata = {**outputs.metadata, HAS_ALPHA: True}
        return self.dataset_type(dataparser_outputs=outputs, scale_factor=self._scale(outputs))

    def _scale(self, outputs: DataparserOutputs) -> float:
        longest = int(max(outputs.cameras.height.max(), outputs.cameras.width.max()))
        if self.config.max_side is None or longest <= self.config.max_side:
            return self.config.camera_res_scale_factor
        # the hair keeps the floor of cameras (float32) and of images (float64) from falling on different sides
        return self.config.max_side / longest * (1 + 1e-6)


@dataclass
class SemqueryDataManagerConfig(VanillaDataManagerConfig):
    """Nerfstudio's datamanager, with a cap on the image size and with transparency kept."""

    _target: type = field(default_factory=lambda: SemqueryDataManager)
    max_side: int | None = None
    """Images are shrunk to at most this many pixels on their longer side; None = as they are."""


class SemqueryDataManager(CheckedCapture, VanillaDataManager[InputDataset]):
    """Rays of checked photos."""

    config: SemqueryDataManagerConfig


def check_capture(outputs: DataparserOutputs) -> None:
    """Raise CaptureError when the photos or poses cannot be trained on."""
    from PIL import Image

    names = outputs.image_filenames
    if not names:
        raise CaptureError("The capture has no photos. Check the file paths in its transforms file.")
    finite = outputs.cameras.camera_to_worlds.isfinite().flatten(1).all(1).flatten().tolist()
    bad = [path for path, good in zip(names, finite, strict=True) if not good]
    if bad:
        raise CaptureError(
            f"{len(bad)} of {len(names)} camera poses hold NaN or infinity (first: {bad[0].name}). "
            "Remove these frames from the transforms file or pose the photos again (ns-process-data)."
        )
    for path in names:
        try:
            Image.open(path).close()
        except OSError as error:
            raise CaptureError(f"The photo {path} cannot be opened ({error}). Restore it or remove its frame.") from error
    if transparent(names) and not any(_shows_something(path) for path in names):
        raise CaptureError(f"All {len(names)} photos are fully transparent: there is nothing to train on.")


def transparent(photos: Sequence[Path]) -> bool:
    """Whether the photos carry an alpha channel (all photos of a capture have the same mode)."""
    from PIL import Image

    if not photos:
        return False
    with Image.open(photos[0]) as photo:
        return photo.mode in ("RGBA", "LA")


def _shows_something(path: Path) -> bool:
    from PIL import Image

    with Image.open(path) as photo:
        return photo.getchannel("A").getextrema()[1] > 127
