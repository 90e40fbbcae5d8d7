"""`ns-train semquery --pipeline.sam.checkpoint`: a SAM checkpoint as the source of a training's masks."""

from pathlib import Path

import pytest
import tyro
import yaml
from checkpoints_sam import EVERYTHING, write_checkpoint
from helpers import write_photo

pytest.importorskip("nerfstudio.engine.trainer")

from nerfstudio_plugin import config as plugin  # noqa: E402
from nerfstudio_plugin import pipeline  # noqa: E402
from nerfstudio_plugin.trainer import SemqueryTrainerConfig  # noqa: E402
from semquery.masks import MaskFolder, Regions, Sam  # noqa: E402
from semquery.store import Run  # noqa: E402


def parsed(*arguments: str) -> SemqueryTrainerConfig:
    """As `ns-train semquery-tiny ARGUMENTS`: nerfstudio too wants True and False spelt out."""
    methods = tyro.extras.subcommand_type_from_defaults({"semquery-tiny": plugin.semquery_tiny.config, "semquery": plugin.semquery.config})
    return tyro.cli(tyro.conf.SuppressFixed[tyro.conf.FlagConversionOff[methods]], args=["semquery-tiny", *arguments])


def test_a_checkpoint_on_the_command_line_is_the_source_of_masks() -> None:
    config = parsed("--data", "scene", "--pipeline.sam.checkpoint", "sam-vit-base", "--pipeline.sam.crop-layers", "1", "--pipeline.geometry-steps", "7",
                    "--pipeline.sam.download", "True")
    assert config.pipeline.mask_source == Sam("sam-vit-base", download=True, crop_layers=1) and config.pipeline.geometry_steps == 7


def test_without_one_masks_are_regions_with_the_settings_they_had() -> None:
    assert parsed("--pipeline.masks.max-side", "99").pipeline.mask_source == Regions(max_side=99)
    assert parsed("--pipeline.mask-folder", "made").pipeline.mask_source == MaskFolder(Path("made"))


def test_a_folder_and_a_checkpoint_are_one_too_many() -> None:
    with pytest.raises(ValueError, match="--pipeline.mask-folder and --pipeline.sam.checkpoint are both given"):
        parsed("--pipeline.mask-folder", "made", "--pipeline.sam.checkpoint", "sam").pipeline.mask_source  # noqa: B018


def test_the_choice_survives_config_yml() -> None:
    config = parsed("--pipeline.sam.checkpoint", "sam-vit-base").pipeline
    assert yaml.load(yaml.dump(config), Loader=yaml.Loader).mask_source == Sam("sam-vit-base")


class Training:
    """What the masks' phase knows of a training."""

    def __init__(self, folder: Path, source: Sam, views: dict[str, Path]) -> None:
        self.rank, self.world_size = 0, 1
        self.config = pipeline.SemqueryPipelineConfig(sam=source, run=folder)
        self.capture = pipeline.Capture(list(views), list(views.values()), None)

    _wait = pipeline.SemqueryPipeline._wait


def test_the_masks_phase_asks_the_checkpoint_once_for_all_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second run of the same photos takes the masks from the cache, also with the checkpoint moved elsewhere."""
    views = {f"v{k}": write_photo(tmp_path / f"v{k}.png", (36, 64), (60 * k, 90, 200)) for k in range(2)}
    source = Sam(str(write_checkpoint("sam2", tmp_path / "tiny")), points_per_side=3, device="cpu", **EVERYTHING)
    asked, original = [], Sam.__call__
    monkeypatch.setattr(Sam, "__call__", lambda self, name, image: asked.append(name) or original(self, name, image))
    for run in ("one", "two"):
        pipeline.SemqueryPipeline.make_masks(Training(tmp_path / run, source, views), tmp_path / "cache")
        (moved := tmp_path / f"from {run}").mkdir()
        source = Sam(str(Path(source.checkpoint).rename(moved / "tiny")), points_per_side=3, device="cpu", **EVERYTHING)
    assert asked == ["v0", "v1"]
    assert all(Run(tmp_path / run).masks(name).num_masks > 0 for run in ("one", "two") for name in views)
