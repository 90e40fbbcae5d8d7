"""The panel in nerfstudio's viewer, live while it trains and afterwards in ns-viewer.

Nerfstudio finds a `ViewerControl` among the pipeline's attributes and hands it the viewer. Nothing here takes the lock that
training and rendering share: a query, however long, stops neither.

    callbacks of the page → Session → Painter → widgets, and a new `Sight` for the render threads

Conventions
  nerfstudio trains in a frame of its own and draws it ten times as large in viser: x_viser = 10 · x_train; `Frame` of
  capture.py goes between x_train and the capture's frame, in which the session works.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Thread
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from nerfstudio.utils.rich_utils import CONSOLE
from nerfstudio.viewer.render_state_machine import RenderAction
from nerfstudio.viewer.viewer import VISER_NERFSTUDIO_SCALE_RATIO, Viewer
from nerfstudio.viewer.viewer_elements import ViewerControl

from nerfstudio_plugin.beside import FieldBeside
from nerfstudio_plugin.capture import Frame
from nerfstudio_plugin.outputs import PICTURES, Scenery, Sight
from semquery import stages
from semquery.store import Run
from semquery.viewer import Loaded, Session, Shown, Watch
from semquery.viewer.cameras import Pose, pose_for
from semquery.viewer.canvas import add_sky, ray_through
from semquery.viewer.painter import Painter
from semquery.viewer.panel import Panel
from semquery.viewer.widgets import Card
from semquery.viewer.words import sentence
from semquery.vlm import OpenAiServer

FOLDER = "semquery"
PLAIN, LIT = "rgb", "highlight"  # outputs; what is selected moves the one who looks at the first to the second


@dataclass(frozen=True)
class AskedServer:
    """A model behind a server of the OpenAI dialect; flat settings, so that they mix with nerfstudio's own in any order."""

    model: str = ""
    """Name of the model, as the server calls it; "" = none."""
    base_url: str = OpenAiServer.base_url
    """Address of the server, with or without /v1."""
    key_variable: str = OpenAiServer.key_variable
    """Environment variable that holds the key; none is sent where it is empty."""

    @property
    def vlm(self) -> OpenAiServer | None:
        return OpenAiServer(self.base_url, self.model, self.key_variable) if self.model else None


class PartPanel(ViewerControl):
    """The session over the run that is trained or shown, with the widgets for it; the host of the shared `Panel`."""

    def __init__(self, model: FieldBeside, asked: AskedServer = AskedServer()) -> None:
        """The run is the model's `pictures.run`, read when the viewer is there."""
        self.model, self.asked = model, asked
        self.session: Session | None = None
        self.painter: Painter | None = None
        self.panel: Panel | None = None
        self.place: Card | None = None  # which run is shown
        self._watch: Watch | None = None
        self._scenery: Scenery | None = None
        self._followed: tuple[int, ...] = ()  # the selection that the viewer's output was last changed for

    # ---------------------------------------------------------------- the viewer opens and closes

    def _setup(self, viewer: Viewer) -> None:
        """Called by nerfstudio at the end of the viewer's constructor."""
        self.close()
        super()._setup(viewer)
        run = self.model.pictures.run
        if run is not None and run.is_dir():
            self.open(Run(run.resolve()))  # so that all that is told of it names the place in full
        else:
            CONSOLE.log(f"The viewer has no panel of parts, because the run's directory {run} is not there. Was it moved? Its config.yml holds its path.")

    def open(self, run: Run) -> None:
        """Make the widgets, between nerfstudio's own line of state and its tabs; the run is read beside them."""
        self.session, self._scenery, self._followed = Session(run, None, self.asked.vlm), None, ()
        with self.viser_server.gui.add_folder(FOLDER, order=self.viewer.stats_markdown.order + 0.5):
            self.place = Card(self.viser_server, sentence(where(run)))
            self.panel = Panel(self.viser_server, self.session, self)
        add_sky(self.viser_server).on_click(self._click)  # nerfstudio's own pointer events would keep the camera from being turned
        pictures = self.model.pictures
        pictures.is_live, pictures.sight, pictures.watched = True, None, self._watched
        self.painter = Painter(self.session, self.panel.paint, self._look, self._switch, self._rerender).start()
        self._watch = Watch(run, None, self._refresh, trouble=self.session.trouble).start()

    def close(self) -> None:
        """End the threads; pictures are made from the run again."""
        for thread in (self._watch, self.painter, self.panel):
            if thread is not None:
                thread.stop()
        self._watch = self.painter = self.panel = self.session = None
        pictures = self.model.pictures
        pictures.is_live, pictures.sight, pictures.watched = False, None, None

    # ---------------------------------------------------------------- from the page

    def jump(self, client: Any, parts: tuple[int, ...]) -> None:
        """Move a client's camera to parts, to the side that a photo shows them best from."""
        loaded = self.session.shown.loaded
        if loaded is not None:
            pose = drawn_pose(pose_for(loaded, parts, client.camera.fov, client.camera.aspect), self.model.frame)
            with client.atomic():
                client.camera.position, client.camera.look_at, client.camera.up_direction = pose.position, pose.look_at, pose.up

    def _click(self, event: Any) -> None:
        camera = event.client.camera
        self.pick(camera.position, ray_through(camera.wxyz, camera.fov, camera.aspect, event.screen_pos))

    def pick(self, origin: Sequence[float], direction: Sequence[float]) -> None:
        """Select what a ray of the page meets; in the page's units, which are VISER_NERFSTUDIO_SCALE_RATIO of the trainer's."""
        self.session.click(*captured_ray(origin, direction, self.model.frame))

    # ---------------------------------------------------------------- from the run

    def _refresh(self, loaded: Loaded) -> None:
        if self.session.vlm is None:
            self.session.vlm = stages.vlm_of(self.session.run)  # the one that named the parts
        self.session.refresh(loaded)

    # ---------------------------------------------------------------- painting, in the painter's thread

    def _look(self, shown: Shown) -> None:
        """Make ready what frames show from now on; a render thread only ever takes it whole."""
        if shown.loaded is None:
            self.model.pictures.sight = None
            return
        if self._scenery is None or self._scenery.tree is not shown.loaded.tree:
            self._scenery = self.model.pictures.scenery(shown.loaded.surface, shown.loaded.tree).prepare()
            Thread(target=self._scenery.prepare_cuts, name="semquery-cuts", daemon=True).start()  # seconds, before they are asked for
        self.model.pictures.sight = Sight.of(shown, self._scenery, self.model.T_train_capture, self.model.device)

    def _switch(self, shown: Shown) -> None:
        """Show a new selection to who looks at the plain picture, and the plain picture when nothing is selected any more."""
        output = self.viewer.control_panel._output_render  # nerfstudio has no public name for it
        if shown.lit == self._followed or LIT not in output.options:  # the options come with the first frame
            return
        self._followed = shown.lit
        wanted = LIT if shown.lit else PLAIN
        if output.value in {PLAIN, LIT} - {wanted}:
            output.value = wanted

    def _rerender(self, shown: Shown) -> None:
        """As nerfstudio's own, but for pages that come and go meanwhile."""
        if self.viewer.ready:
            for machine in list(self.viewer.render_statemachines.values()):
                machine.action(RenderAction("move", self.viewer.get_camera_state(machine.client)))

    def _watched(self) -> frozenset[str]:
        """The pictures that somebody looks at."""
        control = self.viewer.control_panel
        return frozenset(PICTURES) & ({control.output_render} | ({control.split_output_render} if control.split else set()))


def where(run: Run) -> str:
    """Which run is shown and exported into: config.yml says it, and nerfstudio does not tell where it has read that file."""
    return f"Run: {run.path}"


# ---------------------------------------------------------------- between frames


def captured_ray(origin: Sequence[float], direction: Sequence[float], frame: Frame) -> tuple[Float64[np.ndarray, " 3"], Float64[np.ndarray, " 3"]]:
    """Origin and direction in the capture's frame of a ray in the page's units."""
    start = np.array(origin, np.float64) / VISER_NERFSTUDIO_SCALE_RATIO
    ends = frame.to_capture(torch.from_numpy(np.stack([start, start + np.array(direction, np.float64)]))).cpu().numpy()
    return ends[0], ends[1] - ends[0]


def drawn_pose(pose: Pose, frame: Frame) -> Pose:
    """A pose of the capture's frame as viser draws it here."""
    at = frame.to_trainer(torch.from_numpy(np.stack([pose.position, pose.look_at, pose.position + pose.up]))).cpu().numpy()
    up = at[2] - at[0]
    return Pose(VISER_NERFSTUDIO_SCALE_RATIO * at[0], VISER_NERFSTUDIO_SCALE_RATIO * at[1], up / np.linalg.norm(up))
