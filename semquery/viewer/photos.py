"""The captured photos as frusta in the scene, small, with the outline of what is selected; a click on one moves there.

Reading sixty photos of twelve megapixels takes long: they are read when they are first asked for, in a thread of its own, at
a fraction of their size, and drawn as they come. Photos that are gone are painted from the surface.

Notation
  v views. Thumbnails are uint8 [h, w, 3], the longer side `SIDE` pixels or less.
"""

import threading
from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from semquery.masks import on_white, shrink
from semquery.pictures import outlined
from semquery.types import Cameras, PartTree, Surface
from semquery.viewer.cameras import Pose, focus, frustum, pose_of_view
from semquery.viewer.colours import LIT
from semquery.viewer.loaded import Loaded
from semquery.viewer.session import Shown
from semquery.views import repainted

SIDE = 160  # pixels of a thumbnail
LARGE = 1024  # of the photo that was clicked
MOST = 60  # photos that are shown
SIZE = 0.04  # of a frustum, in distances of the cameras from what they look at
FRAME = (120, 120, 120)
TOUCH_EVERY = 8  # photos that are read between two paintings
ROOT = "/photos"  # viser's name of what holds the frusta
MARGIN = 0.95  # share of the page that a photo fills when one looks from where it was taken
NEAREST = 0.1  # page units: a page draws nothing nearer than half of that


class Photos:
    """The frusta of a viser server; drawn by `paint`, which belongs to one thread."""

    def __init__(self, server: Any, touch: Callable[[], None], go: Callable[[Any, Pose], None]) -> None:
        """`server`: a viser.ViserServer. `touch` asks for another painting; `go` moves the camera of a client."""
        self.server, self.touch, self.go = server, touch, go
        self.thumbnails: Thumbnails | None = None  # of the run that is shown, as soon as they were asked for
        self._tree: PartTree | None = None
        self._drawn: dict[int, tuple[tuple[int, ...], bool]] = {}  # view → the parts outlined in it, and whether it is large
        self._root: Any = None
        self._large: int | None = None  # the view that was clicked last
        self._scale = 1.0  # page units of a capture unit

    def paint(self, shown: Shown, are_shown: bool, scale: float = 1.0) -> None:
        """Draw the photos that were read; those that stay as they are are not sent again. `scale`: page units of a capture unit."""
        self._scale = scale
        if self._root is not None:
            self._root.visible = are_shown
        if shown.loaded is None or not are_shown:
            return
        if self.thumbnails is None or self.thumbnails.cameras is not shown.loaded.cameras:
            self.clear()
            self.thumbnails = Thumbnails(shown.loaded.cameras, shown.loaded.surface, self.touch).start()
            self._root = self.server.scene.add_frame(ROOT, show_axes=False)
        if self._tree is not shown.loaded.tree:
            self._tree, self._drawn = shown.loaded.tree, {}
        seen = set(shown.loaded.spans.views_of(*shown.lit)) if shown.lit else set()
        for k, image in dict(self.thumbnails.images).items():
            self._paint_one(shown.loaded, k, image, shown.lit if shown.loaded.cameras.names[k] in seen else ())

    def told(self) -> str:
        """How many are shown, and how many are still to come; "" before they were asked for."""
        return "" if self.thumbnails is None else self.thumbnails.told()

    def stop(self) -> None:
        """Read no further; returns when the thread has ended."""
        if self.thumbnails is not None:
            self.thumbnails.stop()

    def clear(self) -> None:
        """Take all frusta out of the scene."""
        self.stop()
        if self._root is not None:
            self._root.remove()
        self.thumbnails, self._tree, self._drawn, self._root, self._large = None, None, {}, None, None

    def _paint_one(self, loaded: Loaded, k: int, image: UInt8[np.ndarray, "h w 3"], lit: tuple[int, ...]) -> None:
        assert self.thumbnails is not None
        is_large = k == self._large
        if self._drawn.get(k) == (lit, is_large):
            return
        self._drawn[k] = (lit, is_large)
        image = self.thumbnails.picture(k, LARGE)[0] if is_large else image
        if lit:
            image = outlined(image, loaded.spans.mask(loaded.cameras.names[k], *lit), width=1 + max(image.shape) // 250, color=LIT)
        camera = frustum(loaded.cameras, k)
        handle = self.server.scene.add_camera_frustum(
            f"{ROOT}/{k}", camera.fov, camera.aspect, self._scale * size_of(loaded.cameras), LIT if lit else FRAME, image, "jpeg", 85, camera.wxyz,
            self._scale * camera.position)
        handle.on_click(lambda event: self._clicked(loaded.cameras, k, event.client))

    def _clicked(self, cameras: Cameras, k: int, client: Any) -> None:
        self._large = k
        self.go(client, pose_before(cameras, k, client.camera.fov, client.camera.aspect, NEAREST / self._scale))
        self.touch()


class Thumbnails:
    """The photos of a run made small, read one after another in a thread."""

    def __init__(self, cameras: Cameras, surface: Surface, touch: Callable[[], None]) -> None:
        """`touch` is called now and then while they are read, and at the end."""
        self.cameras, self.surface, self.touch = cameras, surface, touch
        self.views = chosen(cameras.names, surface.point_of_pixel)
        self.images: dict[int, UInt8[np.ndarray, "h w 3"]] = {}  # of the views that were read
        self.num_gone = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._read, name="semquery-photos", daemon=True)

    def start(self) -> "Thumbnails":
        self._thread.start()
        return self

    def stop(self) -> None:
        """Returns when the thread has ended."""
        self._stopped.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    def picture(self, k: int, side: int) -> tuple[UInt8[np.ndarray, "h w 3"], bool]:
        """A view at most `side` pixels long, and whether it is the photo."""
        return small_photo(Path(self.cameras.images[k]), self.cameras.names[k], self.surface, side)

    def told(self) -> str:
        """How many there are, in words."""
        total, some, read = len(self.cameras.names), len(self.views), len(self.images)
        which = f"{some} of {total} photos" if some < total else f"{total} photos"
        gone = f" {self.num_gone} cannot be read any more and are painted from the surface." if self.num_gone else ""
        return (f"{which}, {read} read so far." if read < some else f"{which}; click one to look from there.") + gone

    def _read(self) -> None:
        for count, k in enumerate(self.views, 1):
            if self._stopped.is_set():
                return
            image, is_photo = self.picture(k, SIDE)
            self.num_gone += not is_photo
            self.images[k] = image
            if count % TOUCH_EVERY == 0 or count == len(self.views):
                self.touch()


def chosen(names: Sequence[str], with_surface: Container[str], most: int = MOST) -> list[int]:
    """The views that are shown, by number: those that show surface, evenly picked where there are more than `most`."""
    usable = [k for k, name in enumerate(names) if name in with_surface]
    picked = np.linspace(0, len(usable) - 1, min(most, len(usable))).round().astype(int)
    return [usable[i] for i in picked]


def small_photo(path: Path, view: str, surface: Surface, side: int) -> tuple[UInt8[np.ndarray, "h w 3"], bool]:
    """A photo on white, at most `side` pixels long; painted from the surface, and False, where it cannot be read."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            picture.draft("RGB", (side, side))  # a JPEG is read at a fraction of its size
            picture.thumbnail((side, side))
            has_alpha = "A" in picture.getbands() or "transparency" in picture.info
            return on_white(np.asarray(picture.convert("RGBA" if has_alpha else "RGB"))), True
    except (OSError, ValueError, SyntaxError):  # what Pillow raises of files that are none, or broken
        return shrink(repainted(surface, view), side), False


def size_of(cameras: Cameras) -> float:
    """How large frusta are drawn, as viser measures it: the cube root of their volume, capture units."""
    away = np.linalg.norm(cameras.T_world_cam[:, :3, 3] - focus(cameras), axis=1)
    return SIZE * float(np.median(away)) or SIZE


def depth_of(fov: float, aspect: float, size: float) -> float:
    """How far from its apex viser draws the picture of a frustum."""
    half = np.tan(fov / 2)
    return float(size / np.cbrt(half * half * aspect / 3))


def pose_before(cameras: Cameras, k: int, fov: float, aspect: float, nearest: float = NEAREST) -> Pose:
    """A camera that looks as a photo's does, from where the picture in its frustum fills the page, `nearest` (capture units) or farther."""
    pose, photo = pose_of_view(cameras, cameras.names[k]), frustum(cameras, k)
    ahead = (pose.look_at - pose.position) / np.linalg.norm(pose.look_at - pose.position)
    depth = depth_of(photo.fov, photo.aspect, size_of(cameras))
    half = depth * np.tan(photo.fov / 2)  # of the picture's height
    away = max(half, half * photo.aspect / aspect) / (MARGIN * np.tan(fov / 2))
    return Pose(pose.position + (depth - max(away, nearest)) * ahead, pose.look_at, pose.up)
