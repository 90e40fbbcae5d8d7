"""Nerfstudio's viewer over the trained box, with parts that are known: its six faces, in three pairs.

    9 box ─┬─ 6 red pair ──── 0 west face, 1 east face       across x
           ├─ 7 green pair ── 2 south face, 3 north face     across y
           └─ 8 blue pair ─── 4 bottom face, 5 top face      across z

Nerfstudio is imported with this module: tests that may run without it skip before.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from types import SimpleNamespace

import numpy as np
from helpers import part_tree
from nerfstudio.configs.base_config import ViewerConfig
from nerfstudio.viewer.render_state_machine import RenderAction, RenderStateMachine
from nerfstudio.viewer.viewer import VISER_NERFSTUDIO_SCALE_RATIO, Viewer
from training import CENTRE
from viewing import free_port, wait_until

from nerfstudio_plugin.trainer import SemqueryTrainer
from semquery import stages
from semquery.store import Run
from semquery.types import MergeTree, NodeLabel

FACES = ("west face", "east face", "south face", "north face", "bottom face", "top face")
NAMES = (*FACES, "red pair", "green pair", "blue pair", "box")
WEST, TOP, RED_PAIR, BLUE_PAIR, BOX = 0, 5, 6, 8, 9


def face_of(points: np.ndarray) -> np.ndarray:
    """Which face of the box each point of the capture is nearest to."""
    away = points - CENTRE
    axis = np.abs(away).argmax(1)
    return (2 * axis + (away[np.arange(len(away)), axis] > 0)).astype(np.int32)


def named_box(trained: SemqueryTrainer, path: Path) -> Run:
    """A copy of the training's run whose parts are the faces, named and encoded by their spelling."""
    shutil.copytree(trained.base_dir, path)
    run = Run(path)
    tree = part_tree([6, 6, 7, 7, 8, 8, 9, 9, 9, 9], face_of(run.surface().points), altitude=[0.1] * 6 + [0.5] * 3 + [1.0])
    run.write_tree(MergeTree(np.array([2, 2, 2], np.int32), np.array([0, 0, 1], np.float32)), np.array([[0, 1]]), np.array([0.5]), tree)
    for part, name in enumerate(NAMES):
        run.append_label(NodeLabel(part, name), "")
    stages.encode(run)
    return run


@contextmanager
def open_viewer(trained: SemqueryTrainer, run: Run, is_named: bool = True) -> Iterator[Viewer]:
    """The viewer of `ns-viewer` over the trained model, its panel (`viewer.pipeline.panel`) over a run; both gone afterwards."""
    pipeline = trained.pipeline
    pipeline.model.pictures.run = run.path
    config = ViewerConfig(websocket_host="127.0.0.1", websocket_port=free_port(), num_rays_per_chunk=4096)
    viewer = Viewer(config, run / "viewer.txt", pipeline.datamanager.get_datapath(), pipeline, train_lock=Lock())
    viewer.control_panel._max_res.value = 64
    try:
        viewer.init_scene(pipeline.datamanager.train_dataset, "completed")
        if is_named:
            wait_until(lambda: pipeline.model.pictures.sight, "the run to be read")
        yield viewer
    finally:
        machines = list(viewer.render_statemachines.values())
        for machine in machines:
            machine.running = False
        pipeline.panel.close()
        for machine in machines:
            machine.join()
        viewer.viser_server.stop()
        pipeline.model.pictures.run = trained.base_dir


@dataclass
class Onlooker:
    """A page that nobody drew: a camera, and the frames that it was sent."""

    camera: SimpleNamespace
    frames: list[np.ndarray] = field(default_factory=list)
    machine: RenderStateMachine | None = None

    @property
    def scene(self) -> "Onlooker":
        return self

    def set_background_image(self, image: np.ndarray, **options) -> None:
        self.frames.append(image)

    def move(self) -> None:
        """Ask for another frame, as a page does whose camera moved."""
        self.machine.action(RenderAction("move", self.machine.viewer.get_camera_state(self)))

    def wait_for_frames(self, more: int) -> None:
        wanted = len(self.frames) + more
        while len(self.frames) < wanted:
            before = len(self.frames)
            self.move()
            wait_until(lambda before=before: len(self.frames) > before, "another frame")


def looking(viewer: Viewer, away: tuple[float, float, float] = (3.0, 3.0, 3.0)) -> Onlooker:
    """A page whose camera looks at the middle of the viewer's scene."""
    import viser.transforms as vtf

    forward = -np.array(away) / np.linalg.norm(away)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    wxyz = vtf.SO3.from_matrix(np.stack([right, np.cross(forward, right), forward], 1)).wxyz
    page = Onlooker(SimpleNamespace(wxyz=wxyz, position=np.array(away), fov=0.9, aspect=1.0))
    page.machine = RenderStateMachine(viewer, VISER_NERFSTUDIO_SCALE_RATIO, page)
    viewer.render_statemachines[-1] = page.machine
    page.machine.start()
    return page
