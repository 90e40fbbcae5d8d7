"""The tab View: in what colours, how large and how far taken apart the scene is drawn, the photos, and pictures of the page."""

import io
import threading
from typing import Any

import numpy as np
from jaxtyping import UInt8

from semquery.store import slug
from semquery.viewer.canvas import Canvas
from semquery.viewer.colours import COLOURINGS
from semquery.viewer.photos import Photos
from semquery.viewer.session import Shown
from semquery.viewer.widgets import Card, acting, assign
from semquery.viewer.words import plain, sentence

SLIDERS = ("point_size", "explode")
HEIGHT = 1080  # pixels of a screenshot
DARK, LIGHT = (20, 20, 20), (255, 255, 255)  # what viser's page has behind the scene


class ViewTab:
    """Widgets over the look of a canvas; of all pages together, as the look is."""

    def __init__(self, server: Any, tabs: Any, canvas: Canvas, photos: Photos) -> None:
        """`server`: a viser.ViserServer; `tabs`: its tab group that this one is added to."""
        self.server, self.canvas, self.photos_drawn = server, canvas, photos
        self._pictured: set[int] = set()  # clients that a picture is being made of
        gui, look = server.gui, canvas.look
        with tabs.add_tab("View"):
            self.colouring = gui.add_dropdown("Colours", COLOURINGS, look.colouring, hint=(
                "photo: as captured. parts: one colour for each part at the level of the tree. relevancy: how well the query fits. "
                "features: what the field has learned, alike where parts are."))
            self.point_size = gui.add_slider("Point size", 0.3, 3.0, 0.1, look.point_size, hint="In voxels of the surface.")
            self.explode = gui.add_slider("Take apart", 0.0, 1.0, 0.05, look.explode, hint="Moves the parts at the level of the tree apart.")
            self.photos = gui.add_checkbox("Photos", look.photos, hint="The captured photos, where they were taken from. Click one to look from there.")
            self.dark = gui.add_checkbox("Dark", False)
            self.note = Card(server)
            self.reset = gui.add_button("Whole scene", hint="Put the camera before the whole scene.")
            self.picture = gui.add_button("Screenshot", hint="The scene as it is seen now, as a PNG that the browser saves.")
        for name in ("colouring", *SLIDERS, "photos"):
            getattr(self, name).on_update(acting(lambda event, name=name: self._set(name, event)))
        self.dark.on_update(acting(lambda event: dress(server, event.target.value)))
        self.reset.on_click(acting(lambda event: canvas.reset(event.client)))
        self.picture.on_click(acting(lambda event: self._picture(event.client)))

    def paint(self, shown: Shown) -> None:
        """What is drawn is what the widgets say; and how many photos there are."""
        for name in ("colouring", *SLIDERS, "photos"):
            assign(getattr(self, name), getattr(self.canvas.look, name))
        note = self.photos_drawn.told() if self.canvas.look.photos else ""
        if self.canvas.look.colouring == "relevancy" and shown.heat is None:
            note = f"{note} There is no relevancy before something is searched for.".strip()
        self.note.show(sentence(note) if note else "")

    def _set(self, name: str, event: Any) -> None:
        value = event.target.value  # a page sends whole numbers as such
        try:
            self.canvas.set_look(**{name: float(value) if name in SLIDERS else value})
        except ValueError as error:
            event.client.add_notification("It stays as it is", plain(str(error)), auto_close=8000)
            assign(event.target, getattr(self.canvas.look, name))

    def _picture(self, client: Any) -> None:
        """In a thread of its own: a page that is closed meanwhile never answers."""
        if client.client_id in self._pictured:
            return
        self._pictured.add(client.client_id)
        threading.Thread(target=self._hand_over_picture, args=(client,), name="semquery-picture", daemon=True).start()

    def _hand_over_picture(self, client: Any) -> None:
        try:
            image = client.camera.get_render(HEIGHT, max(1, round(HEIGHT * client.camera.aspect)), "png")
            background = DARK if self.dark.value else LIGHT
            client.send_file_download(picture_name(self.canvas.session.shown), png_on(image, background))
        finally:
            self._pictured.discard(client.client_id)


def dress(server: Any, is_dark: bool = False) -> None:
    """How the page looks: nothing of viser's own, and the panel at the side."""
    server.gui.configure_theme(control_layout="collapsible", control_width="medium", dark_mode=is_dark, show_logo=False, show_share_button=False,
                               brand_color=(30, 100, 160))


def picture_name(shown: Shown) -> str:
    """The name of a screenshot: the query or what is selected, and the scene where there is neither."""
    named = " ".join(shown.loaded.path(shown.lit[0])[-2:]) if shown.loaded and shown.lit else ""
    is_answer = bool(shown.query) and shown.rank is not None
    return f"semquery-{slug((shown.query if is_answer else named) or 'scene')}.png"


def png_on(image: UInt8[np.ndarray, "h w c"], background: tuple[int, int, int]) -> bytes:
    """A picture, over a background where it has transparency, as a PNG."""
    from PIL import Image

    color = image[..., :3].astype(np.float32)
    if image.shape[2] == 4:
        share = image[..., 3:].astype(np.float32) / 255
        color = share * color + (1 - share) * np.array(background, np.float32)
    file = io.BytesIO()
    Image.fromarray(color.round().astype(np.uint8)).save(file, "PNG")
    return file.getvalue()
