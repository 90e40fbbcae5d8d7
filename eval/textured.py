"""Meshes with pictures on their faces: obj files with their materials, and known scenes coloured by textures.

Notation
  n vertices, f faces, k points, h w image height and width.
Conventions
  Texture coordinates are (u, v), v upwards, and repeat beyond 0..1. An obj file and what it names have to lie in
  one folder; a file is called by its path in there.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby, islice
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Float64, Int, Int32, Int64, UInt8

from semquery.procedural import KnownScene
from semquery.render import Hits

GREY = (0.7, 0.7, 0.7)  # of a face without a material
PIECE = 65_536  # lines of an obj file that are read at a time
LIFT = 0.1  # added to black: models are often pure black, in which no light shows a shape


@dataclass(frozen=True)
class Shape:
    """One obj file."""

    vertices: Float64[np.ndarray, "n 3"]
    faces: Int32[np.ndarray, "f 3"]
    colors: Float64[np.ndarray, "f 3"]  # 0..1, of the material
    uv: Float64[np.ndarray, "f 3 2"]  # of each corner; 0 where there is none
    texture_of_face: Int32[np.ndarray, " f"]  # -1 = none
    textures: tuple[Path, ...]


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
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError) as error:  # SyntaxError: PIL, of broken PNGs
        raise ValueError(f"{path} cannot be read as a picture: {error}. Fetch it again.") from error


def read_obj(folder: Path, relative: str, materials: bool = True) -> Shape:
    """An obj file in a folder, by default with its materials; polygons become fans of triangles.

    Raises ValueError for a file that is missing, outside of the folder or broken; vertices may be nan or infinite.
    """
    path = inside(folder, relative)
    points, uvs, corners, runs, looks = _parse_obj(folder, relative, path, materials)
    if not len(points):
        raise ValueError(f"{path} is broken: it has no vertices. Fetch it again.")
    used = [looks.get(name, (GREY, None)) for name, _ in runs]
    lengths = [length for _, length in runs]
    textures = tuple(dict.fromkeys(texture for _, texture in used if texture))
    uv = np.append(np.nan_to_num(uvs, posinf=0, neginf=0), [[0, 0]], 0)[corners[..., 1]]  # the last row is for corners that have none
    return Shape(
        points, corners[..., 0].astype(np.int32), np.repeat(np.array([color for color, _ in used], float).reshape(-1, 3), lengths, 0), uv,
        np.repeat(np.array([textures.index(texture) if texture else -1 for _, texture in used], np.int32), lengths), textures)


def _parse_obj(folder: Path, relative: str, path: Path, materials: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray, list, dict]:
    """Vertices, texture coordinates, corners of triangles, (material, so many triangles) in order, and the looks of materials."""
    points, uvs, corners, runs, looks, current = [np.zeros((0, 3))], [np.zeros((0, 2))], [np.zeros((0, 3, 2), int)], [], {}, None
    num_points = num_uvs = 0
    for keyword, numbered in _runs(path):
        if keyword == "v":
            points.append(_located(path, numbered, lambda lines: _table(lines, 3)))
            num_points += len(points[-1])
        elif keyword == "vt":
            uvs.append(_located(path, numbered, lambda lines: _table(lines, 2)))
            num_uvs += len(uvs[-1])
        elif keyword == "f":
            corners.append(_located(path, numbered, partial(_triangles, num_points=num_points, num_uvs=num_uvs)))
            runs.append((current, len(corners[-1])))
        elif keyword == "usemtl":
            current = _rest(numbered[-1][1])
        elif keyword == "mtllib" and materials:
            for _, line in numbered:
                looks |= read_materials(folder, beside(relative, _rest(line)))
    return np.concatenate(points), np.concatenate(uvs), np.concatenate(corners), runs, looks


def _runs(path: Path) -> Iterator[tuple[str, list[tuple[int, str]]]]:
    """Keyword and numbered lines of every run of lines that say the same kind of thing; long runs in pieces, so that memory is bounded."""
    with path.open(encoding="utf-8", errors="replace") as file:
        numbered = ((number, words) for number, line in enumerate(file, 1) if (words := line.strip()) and words[0] != "#")
        for keyword, run in groupby(numbered, lambda line: line[1].split(None, 1)[0]):
            while piece := list(islice(run, PIECE)):
                yield keyword, piece


def _located(path: Path, numbered: list[tuple[int, str]], parse: Callable[[list[str]], np.ndarray]) -> np.ndarray:
    """What lines say; a line that says nothing sensible is named."""
    try:
        return parse([line for _, line in numbered])
    except (ValueError, OverflowError):
        for number, line in numbered:
            try:
                parse([line])
            except (ValueError, OverflowError) as error:
                raise ValueError(f"{path} is broken at line {number}: {error}. Fetch it again.") from error
        raise


def _table(lines: list[str], count: int) -> Float64[np.ndarray, "n count"]:
    """The first numbers of every line, after its keyword."""
    rows = [line.split(None, count + 1)[1 : count + 1] for line in lines]
    if short := [row for row in rows if len(row) < count]:
        raise ValueError(f"{len(short[0])} numbers where {count} belong")
    return np.array([[float(word) for word in row] for row in rows])


def _triangles(lines: list[str], num_points: int, num_uvs: int) -> Int64[np.ndarray, "k 3 2"]:
    """Rows of vertex and texture coordinate (-1 = none) of the corners of polygons, such as 3, 3/4, 3//5 or -1/-1/-1, cut into fans."""
    polygons = [line.split()[1:] for line in lines]
    words = [word for polygon in polygons for word in polygon]
    row = {word: k for k, word in enumerate(dict.fromkeys(words))}  # a corner is mostly said six times, and read once
    numbers = [word.split("/") for word in row]
    point = np.array([int(word[0]) for word in numbers], np.int64)
    uv = np.array([int(word[1]) if len(word) > 1 and word[1] else 0 for word in numbers], np.int64)
    none = uv == 0
    point, uv = (np.where(at < 0, at + count, np.where(at > 0, at - 1, count)) for at, count in ((point, num_points), (uv, num_uvs)))
    bad = (point < 0) | (point >= num_points) | ~none & ((uv < 0) | (uv >= num_uvs))
    if bad.any():
        raise ValueError(f"corner {list(row)[bad.argmax()]} of {num_points} vertices and {num_uvs} texture coordinates so far")
    sizes = np.array([len(polygon) for polygon in polygons])
    count = np.maximum(sizes - 2, 0)
    first = np.repeat(np.cumsum(sizes) - sizes, count)
    second = first + 1 + np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    corners = np.stack([point, np.where(none, -1, uv)], 1)[np.fromiter(map(row.__getitem__, words), np.int64, len(words))]
    return corners[np.stack([first, second, second + 1], 1)]


def read_materials(folder: Path, relative: str) -> dict[str, tuple[tuple[float, ...], Path | None]]:
    """Diffuse colour, 0..1, and texture of each material of an mtl file."""
    path = inside(folder, relative)
    materials, name = {}, ""
    for keyword, numbered in _runs(path):
        for number, line in numbered:
            color, texture = materials.get(name, (GREY, None))
            if keyword == "newmtl":
                name = _rest(line)
                materials[name] = (GREY, None)
            elif keyword == "Kd":
                row = _located(path, [(number, line)], lambda lines: _table(lines, 3))[0]
                materials[name] = (tuple(np.nan_to_num(row).clip(0, 1).tolist()), texture)
            elif keyword == "map_Kd":  # options come before the file, whose name may have spaces where there are none
                file = line.split()[-1] if " -" in line else _rest(line)
                materials[name] = (color, inside(folder, beside(relative, file)))
    return materials


def _rest(line: str) -> str:
    """All words after the first."""
    return " ".join(line.split()[1:])


def beside(relative: str, other: str) -> str:
    """What a file calls `other`, as seen from the folder."""
    return os.path.join(os.path.dirname(relative), other.replace("\\", "/"))


def within(folder: Path, relative: str) -> Path:
    """A path that has to be in the folder, whatever other files call it."""
    path = Path(os.path.normpath(folder / relative))
    if not path.is_relative_to(os.path.normpath(folder)):
        raise ValueError(f"{folder} names the file {relative}, which lies outside of it. Do not trust it.")
    return path


def inside(folder: Path, relative: str) -> Path:
    """A file that has to be in the folder."""
    path = within(folder, relative)
    if not path.is_file():
        raise ValueError(f"{path} is missing. Fetch it again.")
    return path
