"""Point clouds of parts, as PLY.

Notation
  n points of the surface, k of them written, p parts.
Conventions
  Positions are in the frame and unit of the capture. Colours of parts are distinct and stable: they follow from the part's
  number alone. The header tells the path of every part in comments of ASCII: `part 12 ["microwave", "door"]`, the number and
  the names from the top of the tree as JSON, which neither line breaks nor other scripts in a name can spoil. Readers take
  header lines of at most 512 bytes (MeshLab): longer paths go on in further comments of the same part.
"""

import colorsys
import json
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float, Int, UInt8

from semquery.export.chosen import Chosen
from semquery.types import PartTree, Surface

LONGEST = 400  # characters of a path in one comment


def point_cloud(
    points: Float[np.ndarray, "n 3"], colors: UInt8[np.ndarray, "n 3"], normals: Float[np.ndarray, "n 3"], *, comments: Sequence[str] = (),
    **columns: np.ndarray,
):
    """A binary little-endian PLY (plyfile.PlyData): x y z, nx ny nz, red green blue, and any further columns [n]."""
    from plyfile import PlyData

    named = {
        **dict(zip("xyz", points.T.astype(np.float32))),
        **dict(zip(("nx", "ny", "nz"), normals.T.astype(np.float32))),
        **dict(zip(("red", "green", "blue"), colors.T)),
        **columns,
    }
    return PlyData([element("vertex", named)], byte_order="<", comments=comments)


def element(name: str, columns: dict[str, np.ndarray]):
    """A plyfile.PlyElement of columns of the same length."""
    from plyfile import PlyElement

    rows = np.empty(len(next(iter(columns.values()))), dtype=[(key, column.dtype.str) for key, column in columns.items()])
    for key, column in columns.items():
        rows[key] = column
    return PlyElement.describe(rows, name)


def part_colors(num_parts: int) -> UInt8[np.ndarray, "p 3"]:
    """One colour per part: hues by the golden ratio, so that neighbours in number differ most."""
    rows = [colorsys.hsv_to_rgb((0.11 + 0.6180339887 * i) % 1, (0.85, 0.6, 0.7)[i % 3], (0.9, 0.95, 0.7)[i // 3 % 3]) for i in range(num_parts)]
    return (np.array(rows).reshape(-1, 3) * 255).round().astype(np.uint8)


def labelled_cloud(chosen: Chosen):
    """The chosen points in the colours of their parts (plyfile.PlyData).

    Further columns: `part`, the smallest part that holds the point; `level`, its depth in the tree of the scene; and
    `photo_red photo_green photo_blue`, the colour it was captured in. The header has the paths: `paths_of`.
    """
    colors = part_colors(chosen.parts.num_parts)[chosen.parts.part_of_point]
    return _cloud(chosen, chosen.rows(*chosen.tops), colors, chosen.nodes)


def cloud_of_part(chosen: Chosen, part: int):
    """The points of one part, those of the parts inside it included, as they were captured; the same columns (plyfile.PlyData)."""
    return _cloud(chosen, chosen.rows(part), chosen.surface.colors, (int(node) for node in chosen.spans.inside(part)))


def _cloud(chosen: Chosen, rows: Int[np.ndarray, " k"], colors: UInt8[np.ndarray, "n 3"], nodes: Iterable[int]):
    """Rows of the surface, in colours of all of its points."""
    surface, part = chosen.surface, chosen.parts.part_of_point[rows].astype(np.int32)
    captured = dict(zip(("photo_red", "photo_green", "photo_blue"), surface.colors[rows].T))
    return point_cloud(surface.points[rows], colors[rows], surface.normals[rows], comments=path_comments(chosen, nodes),
                       part=part, level=chosen.parts.depth[part].astype(np.int32), **captured)


def path_comments(chosen: Chosen, nodes: Iterable[int]) -> list[str]:
    """Header comments that tell the path of each of the parts, of at most `LONGEST` characters each, and a few for the number."""
    return [f"part {node} {piece}" for node in nodes for piece in _pieces(chosen.path(node))]


def _pieces(path: Sequence[str]) -> list[str]:
    """The names as JSON, in one piece or in several; these hold no blank, which readers strip at the ends of a line."""
    text = json.dumps(path)
    if len(text) <= LONGEST:
        return [text]
    tight = json.dumps(path, separators=(",", ":")).replace(" ", r"\u0020")
    return [tight[i : i + LONGEST] for i in range(0, len(tight), LONGEST)]


def paths_of(ply) -> dict[int, tuple[str, ...]]:
    """part → names from the top of the tree down to it, out of a header that `path_comments` wrote (plyfile.PlyData).

    Raises ValueError for a path that was cut or changed since.
    """
    told: dict[int, str] = {}
    for comment in (c for each in (ply, *ply.elements) for c in each.comments):
        word, _, rest = comment.partition(" ")
        number, _, piece = rest.partition(" ")
        if word == "part" and number.isascii() and number.isdigit():
            told[int(number)] = told.get(int(number), "") + piece
    return {part: _path(part, text) for part, text in told.items()}


def _path(part: int, text: str) -> tuple[str, ...]:
    try:
        names = json.loads(text)
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"The path of part {part} in the header is no JSON list of names ({text[:60]!r}); "
                         "write the file anew: semquery export RUN.")
    return tuple(names)


def highlighted_cloud(surface: Surface, parts: PartTree, hits: Sequence[Int[np.ndarray, " _"]], **columns: np.ndarray):
    """The surface in muted grey, the first hit's points in bright red, those of further hits in orange; column `hit` = rank, 0 = none.

    Any further columns [n] are written with them.
    """
    grey = surface.colors.astype(np.float32).mean(1, keepdims=True)
    colors, rank = np.repeat(140 + 0.4 * (grey - 128), 3, axis=1), np.zeros(len(surface.points), np.int32)
    for i in reversed(range(len(hits))):
        colors[hits[i]], rank[hits[i]] = ((235, 30, 30) if i == 0 else (250, 160, 60)), i + 1
    return point_cloud(surface.points, colors.round().clip(0, 255).astype(np.uint8), surface.normals, part=parts.part_of_point, hit=rank, **columns)
