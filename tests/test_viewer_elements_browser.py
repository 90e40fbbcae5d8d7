"""Points, faces and splats as a real page draws them: the selection shows, and another one shows instead of it.

Two squares, a grey one on the left and a green one on the right, fill the view of a camera in front of them.
"""

from pathlib import Path

import numpy as np
import pytest
from helpers import part_tree, small_cameras
from viewing import address_of, browser, server, visiting, wait_until  # noqa: F401

from semquery.export.splats import SH_C0
from semquery.render import Mesh
from semquery.spans import Spans
from semquery.types import Surface
from semquery.viewer import Loaded, Shown
from semquery.viewer.colours import LIT, Look
from semquery.viewer.elements import MeshElements, PointElements, SplatElements

SIDE, STEP = 24, 0.05  # points along a square, and between them
GREY, GREEN = (128, 128, 128), (40, 160, 60)
LEFT, RIGHT = 0, 1


def squares() -> Loaded:
    """In the plane z = 0, side by side with a gap, x to the right and y upwards; their middles at x = -0.8 and 0.8."""
    across, up = np.meshgrid(*[STEP * (np.arange(SIDE) - SIDE / 2)] * 2)
    one = np.stack([across.ravel(), up.ravel(), np.zeros(SIDE**2)], 1)
    points = np.concatenate([one - [0.8, 0, 0], one + [0.8, 0, 0]]).astype(np.float32)
    colors = np.repeat(np.array([GREY, GREEN], np.uint8), SIDE**2, 0)
    surface = Surface(points, np.tile(np.float32([0, 0, 1]), (len(points), 1)), colors, np.zeros((len(points), 0), np.float16),
                      np.arange(len(points), dtype=np.int32), STEP)
    tree = part_tree([2, 2, 2], np.repeat([LEFT, RIGHT], SIDE**2))
    return Loaded(surface, tree, {}, small_cameras(), Spans(tree, surface), None)


def as_mesh(loaded: Loaded) -> Mesh:
    corners = loaded.surface.points[:, None] + np.float32(STEP / 2) * np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], np.float32)
    faces = np.arange(4 * len(corners)).reshape(-1, 4)[:, [[0, 1, 2], [0, 2, 3]]].reshape(-1, 3)
    return Mesh(corners.reshape(-1, 3), faces.astype(np.int32), np.repeat(loaded.surface.colors, 2, 0))


def as_splats(loaded: Loaded):
    """Round, opaque Gaussians (plyfile.PlyData)."""
    from plyfile import PlyData, PlyElement

    names = ("x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3")
    rows = np.zeros(len(loaded.surface.points), [(name, "f4") for name in names])
    for axis in range(3):
        rows["xyz"[axis]] = loaded.surface.points[:, axis]
        rows[f"f_dc_{axis}"] = (loaded.surface.colors[:, axis] / 255 - 0.5) / SH_C0
        rows[f"scale_{axis}"] = np.log(STEP)
    rows["opacity"], rows["rot_0"] = 8, 1
    return PlyData([PlyElement.describe(rows, "vertex")])


def kind_of(color: np.ndarray) -> str:
    """What a colour of the page stands for; light and blending change it a little."""
    red, green, blue = color.astype(int)
    if min(red, green, blue) > 240:
        return "nothing"
    if red - green > 60 and blue - green > 60:
        return "lit"
    if green - red > 50:
        return "green"
    return "grey" if max(red, green, blue) - min(red, green, blue) < 40 else f"{red, green, blue}"


def in_view(client) -> tuple[str, str]:
    """What stands in the middles of the two squares."""
    picture = client.camera.get_render(120, 240)[..., :3]
    return kind_of(picture[60, 120 - 26]), kind_of(picture[60, 120 + 26])


@pytest.fixture(scope="module")
def loaded():
    return squares()


@pytest.mark.parametrize("kind", ["points", "mesh", "splats"])
def test_what_is_selected_shows_in_the_page(kind, loaded, server, browser):  # noqa: F811
    assert kind_of(np.array(LIT)) == "lit"
    make = {"points": PointElements, "mesh": lambda: MeshElements(as_mesh(loaded), Path("mesh.ply")),
            "splats": lambda: SplatElements(as_splats(loaded))}
    elements = make[kind]()
    with visiting(browser, address_of(server)) as visit:
        client = wait_for(visit, lambda: next(iter(server.get_clients().values()), None))
        client.camera.position, client.camera.up_direction, client.camera.look_at = (0.0, 0.0, 2.4), (0.0, 1.0, 0.0), (0.0, 0.0, 0.0)
        for shown, expected in (
            (Shown(loaded), ("grey", "green")),
            (Shown(loaded, lit=(LEFT,)), ("lit", "grey")),
            (Shown(loaded, lit=(RIGHT,)), ("grey", "lit")),
            (Shown(loaded, lit=(RIGHT,), mode="isolate"), ("nothing", "green")),
            (Shown(loaded, lit=(RIGHT,), mode="hide"), ("grey", "nothing")),
            (Shown(loaded), ("grey", "green")),
        ):
            elements.paint(server, shown, Look(point_size=1.2))
            wait_for(visit, lambda: in_view(client) == expected)
        elements.clear()
        wait_for(visit, lambda: in_view(client) == ("nothing", "nothing"))
        assert visit.told == []


def wait_for(visit, condition):
    """What `condition` returns as soon as that is true; the page goes on meanwhile."""
    return wait_until(lambda: condition() or visit.page.wait_for_timeout(50))
