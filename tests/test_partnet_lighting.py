"""Light by its formula, and the colours of faces with and without textures."""

from dataclasses import replace

import numpy as np
from partnet_pictures import image_of, triangles

from eval.partnet.config import PictureConfig
from eval.partnet.pictures import lighting
from eval.partnet.pictures.shown import Shown
from eval.partnet.records import object_of
from eval.textured import TexturedScene
from semquery.render import Hits


def test_light_is_tied_to_the_camera_and_a_little_to_the_sky():
    key = np.array(lighting.KEY) / np.linalg.norm(lighting.KEY)
    fill = np.array(lighting.FILL) / np.linalg.norm(lighting.FILL)
    normals = np.array([key, -key, (0, 0, 1.0)])
    expected = [0.30 + 0.55 * max(n @ key, 0) + 0.20 * max(n @ fill, 0) + 0.12 * max(n[2], 0) for n in normals]
    np.testing.assert_allclose(lighting.light(normals, np.eye(4)), expected, atol=1e-6)
    turned = np.eye(4)
    turned[:2, :2] = [[0, -1], [1, 0]]  # the whole scene, camera included, a quarter around z
    np.testing.assert_allclose(lighting.light(normals @ turned[:3, :3].T, turned), expected, atol=1e-6)


def sheet(texture: np.ndarray) -> TexturedScene:
    """A square that faces -y with a picture on it."""
    corners = np.array([[(0, 0, 0), (1, 0, 0), (1, 0, 1)], [(0, 0, 0), (1, 0, 1), (0, 0, 1)]], float)
    plain = triangles(corners, [0, 0], [1, 1])
    return TexturedScene(
        **plain.__dict__, uv=corners[..., [0, 2]].astype(np.float32), tint=np.ones((2, 3), np.float32),
        texture_of_face=np.zeros(2, np.int32), textures=(texture,))


def test_black_is_lifted_alike_with_and_without_textures_and_white_stays():
    for value, expected in ((0, lighting.LIFT), (255, 1.0)):
        textured = sheet(np.full((2, 2, 3), value, np.uint8))
        plain = replace(triangles(textured.vertices[textured.faces], [0, 0], [1, 1]), colors=np.full((2, 3), value, np.uint8))
        hits = Hits(np.zeros((1, 1), np.int32), np.full((1, 1, 3), 0.3, np.float32), np.zeros((1, 1, 3), np.float32))
        for scene in (textured, plain):
            np.testing.assert_allclose(lighting.lifted_albedo(scene, hits), expected, atol=1e-5)


def test_a_texture_is_seen_where_it_is():
    texture = np.zeros((2, 2, 3), np.uint8)
    texture[:, 0], texture[:, 1] = (255, 0, 0), (0, 0, 255)  # red on the left, blue on the right
    shown = Shown(object_of(sheet(texture), "sheet"), PictureConfig(side=64, survey=64))
    image = image_of(shown.crop(1)[0]).astype(int)
    rows, columns = np.nonzero(image.any(-1))
    middle = (columns.min() + columns.max()) / 2
    red, blue = (np.nonzero(image[..., a] > image[..., b] + 40)[1] for a, b in ((0, 2), (2, 0)))
    assert red.max() < middle + 6 and blue.min() > middle - 6 and min(len(red), len(blue)) > 0.3 * len(rows)
