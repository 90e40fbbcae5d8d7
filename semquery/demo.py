"""The demo: the commands one would run on a capture of one's own, on a scene made by `tabletop.py`."""

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np

from semquery import stages
from semquery.console import print_hits, print_tree
from semquery.fit import FitConfig
from semquery.masks import Regions
from semquery.opened import Found, Scene
from semquery.query import QueryConfig
from semquery.scene import read_scene
from semquery.store import Run
from semquery.strips import answers_picture
from semquery.views import png_bytes

QUERIES = ("small red round part", "tiny green part", "large plate", "green part below the red round part")

NEXT = """
See it in 3D, and ask it there: semquery view {run}

Next, on photos of your own:
  ns-process-data images --data PHOTOS --output-dir SCENE     poses, with COLMAP (30 to 150 photos, close-ups of what matters)
  ns-train semquery --data SCENE                              on a GPU; semquery-tiny on a CPU
  semquery label RUN, semquery encode RUN, semquery query RUN "all the legs", semquery ask RUN "what would I press to start it?"
The names here are measured (colour, shape, size), not understood. Names that are: semquery label RUN vlm:open-ai-server --vlm.model NAME
(or vlm:qwen-vl --vlm.checkpoint FOLDER). Read and correct them: semquery report RUN. Then semquery encode RUN --overwrite.
"""


def run_demo(out: Path, geometry: Literal["trained", "exact"], size: int, views: int) -> int:
    """Scene, masks, surface, field, tree, names, answers; every step is skipped when it is already done."""
    from semquery.tabletop import write_scene

    start, scene = time.time(), out / "scene"
    check_same_photos(scene, size, views)
    with step(f"scene: {views} photos of {size}×{size} with poses → {scene}"):
        if not (scene / "truth.json").exists():
            write_scene(scene, size, views)
    run = trained_run(out, scene) if geometry == "trained" else exact_run(out, scene)
    with step(f"semquery label {run.path}"):
        labels = stages.label(run)
    print_tree(run.parts(), labels)
    with step(f"semquery encode {run.path}"):
        stages.encode(run)
    opened = stages.opened(run, QueryConfig(top=3))
    found = {text: ask(run, opened, text) for text in QUERIES}
    with step(f"semquery export {run.path}"):
        pictures = [path for path in stages.export(run) if path.suffix == ".png"]
    strip = write_answers(run, opened, found)
    print(f"\nDone in {(time.time() - start) / 60:.1f} minutes. Look at:")
    for picture in [run / "masks" / "contact.png", *pictures, run / "queries", strip]:
        print(f"  {picture}")
    print(NEXT.format(run=run.path))
    return 0


def check_same_photos(scene: Path, size: int, views: int) -> None:
    """Raises ValueError when the folder holds a scene of other photos than those asked for: all that follows was made from them."""
    if not (scene / "truth.json").exists():
        return
    cameras = read_scene(scene)
    held, (height, width) = len(cameras.names), cameras.sizes[0].tolist()
    if (held, height, width) != (views, size, size):
        raise ValueError(
            f"{scene} holds {held} photos of {width}×{height}, not {views} of {size}×{size}. Go on with it: --size {width} --views {held}; "
            "or make another one in another folder: --out FOLDER."
        )


@contextmanager
def step(what: str) -> Iterator[None]:
    """Announce a step, and say what it took."""
    print(f"\n── {what}", flush=True)
    start = time.time()
    yield
    print(f"   {time.time() - start:.0f} s", flush=True)


def exact_run(out: Path, scene: Path) -> Run:
    """A run on the scene's own mesh."""
    run, cameras = Run(out / "exact", create=True), read_scene(scene)
    with step(f"semquery masks {run.path} --data {scene}"):
        stages.make_masks(run, [(name, Path(image)) for name, image in zip(cameras.names, cameras.images, strict=True)], Regions())
    with step(f"semquery fit {run.path} --mesh {scene / 'mesh.ply'} --data {scene}"):
        stages.observe_mesh(run, scene / "mesh.ply", cameras)
        stages.fit(run, FitConfig())
    with step(f"semquery tree {run.path}"):
        stages.build_tree(run)
    return run


def trained_run(out: Path, scene: Path) -> Run:
    """A run whose surface is a radiance field, trained from the photos by nerfstudio in a process of its own."""
    folder = out / "outputs" / "tabletop" / "semquery-tiny" / "demo"
    command = ["ns-train", "semquery-tiny", "--data", str(scene), "--output-dir", str(out / "outputs"),
               "--experiment-name", "tabletop", "--timestamp", "demo"]
    if any((folder / "nerfstudio_models").glob("*.ckpt")):
        command += ["--load-dir", str(folder / "nerfstudio_models")]
    if not (folder / "parts.npz").exists():
        with step(" ".join(command)):
            program = str(Path(sys.executable).with_name("ns-train"))
            if subprocess.run([program, *command[1:]], check=False).returncode:
                raise ValueError(
                    "ns-train failed; its messages are above. Run the demo again to go on from its last checkpoint, "
                    "or see the rest without nerfstudio: semquery demo --geometry exact"
                )
    return Run(folder)


def ask(run: Run, scene: Scene, text: str) -> list[Found]:
    """One query, printed and drawn."""
    print(f'\n── semquery query {run.path} "{text}"')
    found = scene.query(text)
    missing = "" if found else scene.missing(text)
    print_hits(text, [each.hit for each in found], missing)
    folder = stages.write_answer(run, scene, text, found, missing=missing)
    print(f"  → {folder / ('picture.png' if (folder / 'picture.png').exists() else 'result.json')}")
    return found


def write_answers(run: Run, scene: Scene, found: Mapping[str, Sequence[Found]]) -> Path:
    """answers.png in the run: every query and its best answer in one strip."""
    first = [(text, each[0].hit if each else None, each[0].point_ids if each else np.zeros(0, np.int64)) for text, each in found.items()]
    run.write_bytes("answers.png", png_bytes(answers_picture(scene.surface, first, scene.photo())))
    return run / "answers.png"
