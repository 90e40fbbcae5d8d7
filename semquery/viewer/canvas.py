"""The 3D view of the standalone viewer: what is drawn, where a click goes, and where the cameras of the pages stand.

Notation
  n points of the surface. sx, sy: where a page was clicked, 0..1 from its left and from its top.
Conventions
  viser's world is the capture's frame times `look.scale`, which is 1 unless viser's fixed planes (0.05 and 1000 units from the
  camera) would cut such a scene: then it is drawn with a radius of DRAWN units. Its cameras have OpenCV axes
  (x right, y down, z forward) and a vertical field of view.
  A press is a click where the mouse stays where it was; viser's own pointer events would take every drag for one, and the
  camera could not be turned. So what is clicked is a dome that nobody sees around everything, and its nodes' parent listens.
"""

import threading
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float, Float64

from semquery.types import Surface
from semquery.viewer.cameras import CLEARLY, Pose, ball, pose_for, pose_of_view, up_of
from semquery.viewer.colours import Look, point_colors
from semquery.viewer.elements import Elements
from semquery.viewer.loaded import Loaded
from semquery.viewer.session import Session, Shown

SKY = "/sky"  # viser's name of what listens to clicks
FILL = 0.8  # share of the page's smaller side that the whole scene fills
STEEP = np.sin(np.radians(80))  # of a look from above or below: along the vertical no side is up
SMALLEST, LARGEST = 0.2, 150.0  # radius of a scene that viser's page shows well as it is, page units
DRAWN = 2.0  # radius that another one is drawn with
DOME = 900.0  # its radius, page units: beyond all that a page draws, whose far plane is at 1000


class Canvas:
    """The scene of one viser server, drawn by `paint`; the pages that show it share one `look`."""

    def __init__(self, server: Any, session: Session, elements: Elements) -> None:
        """`server`: a viser.ViserServer; `elements`: what is drawn of the surface."""
        self.server, self.session, self.elements = server, session, elements
        self._look, self._changing = Look(), threading.Lock()
        self._framed: Surface | None = None  # what the cameras were last put before
        self._far: set[int] = set()  # clients whose camera stands where it sees the whole scene taken apart
        self.waiting: Loaded | None = None  # drawn while there is no part tree: the surface in one piece
        add_sky(server).on_click(self._clicked)
        server.on_client_connect(self.reset)

    @property
    def look(self) -> Look:
        """How the scene is drawn at the moment."""
        return self._look

    def set_look(self, **changes: Any) -> None:
        """Draw it otherwise. Raises ValueError where it cannot be, and leaves it as it was."""
        shown = self.session.shown
        if changes.get("colouring") == "features" and shown.loaded is not None:
            point_colors(shown, "features")
        with self._changing:
            self._look = replace(self._look, **changes)
        self.session.touch()
        if self._look.explode == 0 and self._far:
            for client in [client for number, client in self.server.get_clients().items() if number in self._far]:
                self.reset(client)
            self._far.clear()

    def paint(self, shown: Shown) -> None:
        """Draw a state; where the surface is another one, put all cameras before it."""
        shown = replace(shown, loaded=self._drawn(shown))
        is_other = shown.loaded is not None and shown.loaded.surface is not self._framed
        if is_other:
            with self._changing:
                self._look = replace(self._look, scale=page_scale(shown.loaded))
        self.elements.paint(self.server, shown, self._look)
        if is_other:
            self._framed = shown.loaded.surface
            self.server.scene.set_up_direction(up_of(shown.loaded.cameras))  # for the pages to come
            for client in self.server.get_clients().values():
                self.reset(client)

    def _drawn(self, shown: Shown) -> Loaded | None:
        return shown.loaded if shown.loaded is not None else self.waiting

    # ------------------------------------------------------------------ cameras

    def reset(self, client: Any) -> None:
        """The whole scene in a page's view, upright."""
        loaded = self._drawn(self.session.shown)
        if loaded is not None:
            client.scene.set_up_direction(up_of(loaded.cameras))  # in one queue with the camera, which is told in these axes
            self.go(client, overview(loaded, client.camera.fov, client.camera.aspect, 1 + self._look.explode))
            if self._look.explode:
                self._far.add(client.client_id)

    def jump(self, client: Any, parts: tuple[int, ...]) -> None:
        """Move a page's camera to parts, where they are drawn; the camera of every page where no client is given."""
        shown = self.session.shown
        if shown.loaded is None:
            return
        rows = shown.loaded.spans.points_of(*parts)
        drawn, _ = self.elements.points(shown, self._look)
        away = (drawn[rows] - shown.loaded.surface.points[rows]).mean(0, dtype=np.float64) if len(rows) else np.zeros(3)
        for each in [client] if client is not None else self.server.get_clients().values():
            pose = pose_for(shown.loaded, parts, each.camera.fov, each.camera.aspect)
            self.go(each, Pose(pose.position + away, pose.look_at + away, pose.up))

    def go(self, client: Any, pose: Pose) -> None:
        """Put a page's camera somewhere (a pose of the capture's frame), at once."""
        self._far.discard(client.client_id)
        with client.atomic():
            client.camera.position = self._look.scale * pose.position  # first: it takes the point that is looked at along
            client.camera.up_direction = pose.up
            client.camera.look_at = self._look.scale * pose.look_at

    # ------------------------------------------------------------------ clicks

    def _clicked(self, event: Any) -> None:
        camera = event.client.camera  # the ray that viser sends along is not set for nodes inside others
        direction = ray_through(camera.wxyz, camera.fov, camera.aspect, event.screen_pos)
        points, visible = self.elements.points(self.session.shown, self._look)
        self.session.click(np.asarray(camera.position, np.float64) / self._look.scale, direction, points, visible)


def page_scale(loaded: Loaded) -> float:
    """How many page units a capture unit is drawn as: 1 where viser's page shows the scene well so."""
    _, radius = ball(loaded, (loaded.tree.root,))
    return 1.0 if SMALLEST <= radius <= LARGEST else DRAWN / radius


def overview(loaded: Loaded, fov: float, aspect: float, growth: float = 1.0) -> Pose:
    """The whole scene, seen from the side of the photo that shows the most parts; of a scene that surrounds its cameras, that photo.

    `growth`: how many times larger it is drawn than it is, where it is taken apart.
    """
    view = richest_view(loaded)
    if view is None:
        return pose_for(loaded, (), fov, aspect)
    photo = pose_of_view(loaded.cameras, view)
    centre, radius = ball(loaded, (loaded.tree.root,))
    away = photo.position - centre
    height = abs(float(away @ photo.up)) / float(np.linalg.norm(away) * np.linalg.norm(photo.up))
    if np.linalg.norm(away) <= radius or height > STEEP:
        return photo
    distance = growth * radius / np.sin(np.arctan(FILL * np.tan(fov / 2) * min(1.0, aspect)))
    return Pose(centre + distance * away / np.linalg.norm(away), centre, up_of(loaded.cameras))


def richest_view(loaded: Loaded) -> str | None:
    """The view that shows the most parts, of those the one that shows most surface; None where there is no view with a camera."""
    def worth(view: str) -> tuple[int, int]:
        pixels = loaded.spans.num_pixels(view)
        return int((pixels >= CLEARLY).sum()), int(pixels[loaded.tree.root])

    return max((view for view in loaded.cameras.names if view in loaded.spans.sizes), key=worth, default=None)


def ray_through(
    wxyz: Float[np.ndarray, " 4"], fov: float, aspect: float, at: tuple[float, float]
) -> Float64[np.ndarray, " 3"]:
    """The direction in the world of a pixel of a camera, of any length; `at`: (sx, sy)."""
    from scipy.spatial.transform import Rotation

    w, x, y, z = wxyz
    half = np.tan(fov / 2)
    return Rotation.from_quat([x, y, z, w]).apply([half * aspect * (2 * at[0] - 1), half * (2 * at[1] - 1), 1.0])


def add_sky(server: Any) -> Any:
    """The dome around everything that hears clicks: an invisible one inside a node that is not, as only visible nodes are told."""
    import trimesh

    dome = trimesh.creation.icosphere(subdivisions=1, radius=DOME)
    sky = server.scene.add_frame(SKY, show_axes=False)
    vertices, faces = np.asarray(dome.vertices, np.float32), np.asarray(dome.faces, np.uint32)
    server.scene.add_mesh_simple(f"{SKY}/dome", vertices, faces, side="double", visible=False)
    return sky
