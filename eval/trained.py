"""The surface of a radiance field trained on a scene's photos, for evaluations that would know what real geometry costs."""

import shutil
import subprocess
import sys
from pathlib import Path

from eval.truth import Truth
from semquery.store import Run, RunError


def train_geometry(folder: Path, truth: Truth) -> None:
    """A radiance field trained on the photos, and the surface its training views see → folder/observed. Kept when there."""
    if (folder / "observed").is_dir() and len(list((folder / "observed").glob("*.npz"))) == len(truth.cameras.names):
        return
    tool = Path(sys.executable).with_name("ns-train")
    if not tool.exists():
        raise RunError(f"There is no {tool}: trained geometry needs nerfstudio installed beside this Python (see `make env`).")
    # the field is not what is wanted here: one step of it, on the coarsest masks
    command = [str(tool), "semquery-tiny", "--output-dir", str(folder.parent / "training"), "--experiment-name", truth.name,
               "--timestamp", "run", "--pipeline.fit.steps", "1", "--pipeline.masks.max-side", "64",
               "nerfstudio-data", "--data", str(truth.folder), "--eval-mode", "all"]
    log = folder.parent / f"{truth.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as out:
        if subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, check=False).returncode:
            raise RunError(f"Training the geometry of {truth.name} failed; see {log}.")
    trained = folder.parent / "training" / truth.name / "semquery-tiny" / "run"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(trained / "cameras.json", folder / "cameras.json")
    shutil.copytree(trained / "observed", folder / "observed", dirs_exist_ok=True)


def take_surface(run: Run, folder: Path, truth: Truth) -> None:
    """Copy an observed surface into a run: its views, not its masks or field."""
    trained = Run(folder)
    trained.need("observed")
    strangers = sorted(set(trained.observed_views()) - set(truth.cameras.names))
    if strangers:
        raise RunError(f"{folder} saw views {strangers[:3]}… that {truth.name} does not have: train it on {truth.folder}.")
    shutil.copytree(folder / "observed", run / "observed", dirs_exist_ok=True)
    shutil.copy(folder / "cameras.json", run / "cameras.json")
