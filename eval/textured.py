"""Meshes with pictures on their faces: obj files with their materials, and known scenes coloured by textures.

Notation
  n vertices, f faces, k points, h w image height and width.
Conventions
  Texture coordinates are (u, v), v upwards, and repeat beyond 0..1. An obj file and what it names have to lie in
  one folder; a file is called by its path in there.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Float64, Int, Int32, UInt8

from semquery.procedural import KnownScene
from semquery.render import Hits

GREY = (0.7, 0.7, 0.7)  # of a face without a material
LIFT = 0.1  # added to black: models are often pure black, in which no light shows a shape


@dataclass(frozen=True)
class Shape:
    """One obj file."""

    vertices: Float64[np.ndarray, "n 3"]
    faces: Int32[np.ndarray, "f 3"]
    colors: Float64[np.ndarray, "f 3"]  # 0..1, of the material
    uv: Float64[np.ndarray, "f 3 2"]  # of each corner; 0 where there is none
    textures: tuple[Path | None, ...]  # one per face


@dataclass(frozen=True)
class TexturedScene(KnownScene):
    """A known scene with pictures on its faces."""

    uv: Float32[np.ndarray, "f 3 2"] = field(kw_only=True)  # of each corner, (0, 0) the lower left of the picture
    tint: Float32[np.ndarray, "f 3"] = field(kw_only=True)  # 0..1, what the texture is multiplied with
    texture_of_face: Int32[np.ndarray, " f"] = field(kw_only=True)  # -1 = none
    textures: tuple[UInt8[np.ndarray, "h w 3"], ...] = field(kw_only=True)

    def albedo(self, hits: Hits) -> Float32[np.ndarray, "h w 3"]:
        """Colour of each pixel, 0..1, from the texture where there is one; black is lifted a little."""
        colors = self.colors[hits.face] / np.float32(255)
        texture = np.where(hits.mask, self.texture_of_face[hits.face], -1)
        for k, image in enumerate(self.textures):
            face, points = hits.face[texture == k], hits.points[texture == k]
            weights = barycentric(self.vertices[self.faces[face]], points)
            uv = np.einsum("kc,kcx->kx", weights, self.uv[face])
            colors[texture == k] = sample(image, uv) * self.tint[face] / np.float32(255)
        return LIFT + (1 - LIFT) * colors


def barycentric(corners: Float[np.ndarray, "k 3 3"], points: Float[np.ndarray, "k 3"]) -> Float64[np.ndarray, "k 3"]:
    """Weights of the corners of a triangle that make a point in its plane."""
    corners = np.asarray(corners, float)
    b, c, at = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0], points - corners[:, 0]
    normal = np.cross(b, c)
    area = np.maximum((normal * normal).sum(1), 1e-30)
    second = (np.cross(at, c) * normal).sum(1) / area
    third = (np.cross(b, at) * normal).sum(1) / area
    return np.stack([1 - second - third, second, third], 1)


def sample(image: UInt8[np.ndarray, "h w 3"], uv: Float[np.ndarray, "k 2"]) -> UInt8[np.ndarray, "k 3"]:
    """The picture's colour at texture coordinates, of the nearest pixel."""
    height, width = image.shape[:2]
    # A coordinate just below a whole number can round up to it: min.
    column = np.minimum((uv[:, 0] % 1 * width).astype(int), width - 1)
    row = np.minimum(((1 - uv[:, 1]) % 1 * height).astype(int), height - 1)
    return image[row, column]


def face_colors(
    tint: Float[np.ndarray, "f 3"], uv: Float[np.ndarray, "f 3 2"], texture_of_face: Int[np.ndarray, " f"], textures: tuple[np.ndarray, ...]
) -> UInt8[np.ndarray, "f 3"]:
    """One colour a face: its material's, times the texture at its middle."""
    colors = 255 * np.asarray(tint, float)
    for k, image in enumerate(textures):
        at = texture_of_face == k
        colors[at] = sample(image, uv[at].mean(1)) * tint[at]
    return np.round(colors.clip(0, 255)).astype(np.uint8)


def read_image(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """The colours of a picture file."""
    from PIL import Image, UnidentifiedImageError

    try:
        return np.array(Image.open(path).convert("RGB"))
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"{path} cannot be read as a picture: {error}. Fetch it again.") from error


def read_obj(folder: Path, relative: str) -> Shape:
    """An obj file in a folder with its materials; polygons become fans of triangles."""
    path = inside(folder, relative)
    points, uvs, corners, material_of_face, materials = _parse_obj(folder, relative, path)
    if not points:
        raise ValueError(f"{path} is broken: it has no vertices. Fetch it again.")
    rows = np.array(corners, np.int32).reshape(-1, 3, 2)
    uv = np.array([*uvs, [0, 0]], float)[rows[..., 1]]  # the last row is for corners that have none
    looks = [materials.get(name, (GREY, None)) for name in material_of_face]
    colors = np.array([color for color, _ in looks], float).reshape(-1, 3)
    return Shape(np.array(points, float), rows[..., 0], colors, uv, tuple(texture for _, texture in looks))


def _parse_obj(folder: Path, relative: str, path: Path) -> tuple[list, list, list, list, dict]:
    """Vertices, texture coordinates, corners of triangles, the material of each, and the materials."""
    points, uvs, corners, material_of_face, materials, current, number = [], [], [], [], {}, None, 0
    try:
        for number, words in _lines(path):
            if words[0] == "v":
                points.append(_numbers(words[1:4], 3))
            elif words[0] == "vt":
                uvs.append(_numbers(words[1:3], 2))
            elif words[0] == "mtllib":
                materials |= read_materials(folder, beside(relative, " ".join(words[1:])))
            elif words[0] == "usemtl":
                current = " ".join(words[1:])
            elif words[0] == "f":
                polygon = [_corner(word, len(points), len(uvs)) for word in words[1:]]
                fan = [(polygon[0], polygon[k], polygon[k + 1]) for k in range(1, len(polygon) - 1)]
                corners += fan
                material_of_face += [current] * len(fan)
    except ValueError as error:
        raise ValueError(f"{path} is broken at line {number}: {error}. Fetch it again.") from error
    return points, uvs, corners, material_of_face, materials


def _numbers(words: list[str], count: int) -> list[float]:
    """So many words as numbers."""
    if len(words) < count:
        raise ValueError(f"{len(words)} numbers where {count} belong")
    return [float(word) for word in words]


def _corner(word: str, num_points: int, num_uvs: int) -> tuple[int, int]:
    """Row of the vertex and of its texture coordinate (-1 = none) of a corner such as 3, 3/4, 3//5 or -1/-1/-1."""
    numbers = [int(number) if number else 0 for number in word.split("/")[:2]] + [0]
    rows = [k - 1 if k > 0 else k + count if k < 0 else -1 for k, count in zip(numbers, (num_points, num_uvs), strict=False)]
    if not 0 <= rows[0] < num_points or not -1 <= rows[1] < num_uvs:
        raise ValueError(f"corner {word} of {num_points} vertices and {num_uvs} texture coordinates so far")
    return rows[0], rows[1]


def read_materials(folder: Path, relative: str) -> dict[str, tuple[tuple[float, ...], Path | None]]:
    """Diffuse colour and texture of each material of an mtl file."""
    materials, name = {}, ""
    for _, words in _lines(inside(folder, relative)):
        color, texture = materials.get(name, (GREY, None))
        if words[0] == "newmtl":
            name = " ".join(words[1:])
            materials[name] = (GREY, None)
        elif words[0] == "Kd":
            materials[name] = (tuple(_numbers(words[1:4], 3)), texture)
        elif words[0] == "map_Kd":
            materials[name] = (color, inside(folder, beside(relative, words[-1])))
    return materials


def beside(relative: str, other: str) -> str:
    """What a file calls `other`, as seen from the folder."""
    return os.path.join(os.path.dirname(relative), other)


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Number and words of every line that says something."""
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        words = line.split()
        if words and not words[0].startswith("#"):
            yield number, words


def inside(folder: Path, relative: str) -> Path:
    """A file that has to be in the folder, whatever other files call it."""
    path = Path(os.path.normpath(folder / relative))
    if not path.is_relative_to(os.path.normpath(folder)):
        raise ValueError(f"{folder} names the file {relative}, which lies outside of it. Do not trust it.")
    if not path.is_file():
        raise ValueError(f"{path} is missing. Fetch it again.")
    return path
