"""Gaussian splats with the part of each, as PLY.

A splat PLY is an element `vertex` with a row per Gaussian, in the layout of the original 3D Gaussian Splatting:

    x y z [nx ny nz] f_dc_0..2 [f_rest_0..8, ..23 or ..44] opacity scale_0..1 [scale_2] rot_0..3 [anything else]

f_dc and f_rest are spherical harmonics (degree 0 to 3), colour = ½ + SH_C0 · f_dc. All trainers write these names; orders and
further fields differ and are kept, as are the byte order, the comments and whether the file is text.

Notation
  s Gaussians, in the order of the file.
Conventions
  A Gaussian belongs to the part of the surface point nearest to its centre, if that is within reach. Its size and opacity do
  not matter: one far larger than the reach, which spans several parts, has the part at its centre, and one that is nearly
  transparent has a part like any other. A Gaussian whose centre is no finite number has none.
  Distances are in world units. Centres are taken for world coordinates unless `T_world_splats` says how to get there: it may
  scale, as a trainer's own frame does.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Float64, Int32, Int64, Integer

from semquery.export.chosen import Chosen

SH_C0 = 0.28209479177387814  # the constant spherical harmonic, 1 / (2 √π)
CHUNK = 1 << 18  # Gaussians looked up at a time
REACH = 3.0  # voxels from a Gaussian's centre to the surface within which it has a part, unless told otherwise
CENTRE = ("x", "y", "z")
COLOR = ("f_dc_0", "f_dc_1", "f_dc_2")
NEEDED = (*CENTRE, *COLOR, "opacity", "scale_0", "scale_1", "rot_0", "rot_1", "rot_2", "rot_3")
NUM_REST = (0, 9, 24, 45)  # f_rest fields of degrees 0 to 3
ADDED = {"part": np.dtype(np.int32), "part_distance": np.dtype(np.float32)}


def read_splats(path: Path):
    """A splat PLY (plyfile.PlyData), binary of either byte order or text.

    Raises ValueError for a file that is not there, is no PLY, ends early, or is no uncompressed splat PLY.
    """
    from plyfile import PlyData, PlyParseError

    try:
        ply = PlyData.read(str(path))
    except FileNotFoundError as error:
        raise ValueError(f"There is no file {path}.") from error
    except (PlyParseError, OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as PLY ({error}); export the splats as an uncompressed PLY.") from error
    try:
        check_splats(ply)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return ply


def read_T_world_splats(path: Path | None) -> Float64[np.ndarray, "4 4"] | None:
    """From the trainer's frame to the capture's: the inverse of what nerfstudio's dataparser did to the poses; None for no file.

    Raises ValueError for a file that is no dataparser_transforms.json.
    """
    if path is None:
        return None
    try:
        record = json.loads(path.read_bytes())
        matrix = np.eye(4)
        matrix[:3] = np.array(record["transform"], np.float64)[:3] * float(record["scale"])
        if not np.isfinite(matrix).all() or not float(record["scale"]):
            raise ValueError("a number that is none, or a scale of 0")
        return np.linalg.inv(matrix)
    except (OSError, ValueError, KeyError, TypeError, np.linalg.LinAlgError) as error:
        raise ValueError(f"{path} cannot be read ({type(error).__name__}: {error}); expected nerfstudio's dataparser_transforms.json, "
                         "with a 3×4 transform and a scale.") from error


def check_splats(ply) -> None:
    """Raise ValueError where this is no splat PLY: it is compressed, lacks a field, or has one of another kind."""
    if "vertex" not in ply or "packed_position" in ply["vertex"]:
        what = "is a compressed splat PLY" if "vertex" in ply else "has no element 'vertex'"
        raise ValueError(f"This PLY {what}; export the splats as an uncompressed PLY.")
    kinds = ply["vertex"].data.dtype
    lacking = [name for name in NEEDED if name not in kinds.names]
    if lacking:
        raise ValueError(f"This PLY is no splat PLY, it has no field {', '.join(lacking)}; expected {', '.join(NEEDED)} "
                         "(colours as spherical harmonics).")
    rest = _rest(ply)
    if len(rest) not in NUM_REST or set(rest) != {f"f_rest_{k}" for k in range(len(rest))}:
        raise ValueError(f"This PLY has {len(rest)} fields f_rest; expected f_rest_0 to f_rest_8, _23 or _44 (degree 1, 2 or 3), or none.")
    strange = [name for name in (*NEEDED, *rest) if kinds[name].kind != "f"]
    if strange:
        raise ValueError(f"The field {strange[0]} of this PLY is {kinds[strange[0]]}; expected a floating-point number.")
    lists = [name for name in kinds.names if kinds[name].kind == "O"]
    if lists:
        raise ValueError(f"The field {lists[0]} of this PLY is a list for each splat; expected a number: remove it.")


def part_of_splats(
    ply, chosen: Chosen, reach: float, T_world_splats: Float[np.ndarray, "4 4"] | None = None
) -> tuple[Int32[np.ndarray, " s"], Float32[np.ndarray, " s"]]:
    """The smallest chosen part at each Gaussian, and how far the nearest surface point is, whatever part that belongs to.

    -1 where the nearest point is out of reach or not chosen; the distance of a centre that is no finite number is infinite.
    Raises ValueError for a reach that is not positive.
    """
    from scipy.spatial import cKDTree

    if not reach > 0:
        raise ValueError(f"Splats within a reach of {reach} were asked for; expected a positive length in world units.")
    check_splats(ply)
    solid = np.isfinite(chosen.surface.points).all(1)
    points, centres = chosen.surface.points[solid], _centres(ply, T_world_splats)
    tree = cKDTree(points, compact_nodes=False, balanced_tree=False)  # its other layouts are slow for Gaussians far from the surface
    of_point = np.where(chosen.inside, chosen.parts.part_of_point, -1)[solid]
    of_point = np.append(of_point, -1).astype(np.int32)  # what is found where there is no point at all
    part, distance = np.full(len(centres), -1, np.int32), np.full(len(centres), np.inf, np.float32)
    known = np.flatnonzero(np.isfinite(centres).all(1))
    known = known[_neighbours_together(centres[known], points)]
    for rows in np.split(known, range(CHUNK, len(known), CHUNK)):
        away, near = tree.query(centres[rows], workers=-1)
        part[rows] = np.where(away <= reach, of_point[near], -1)
        distance[rows] = np.minimum(away, np.finfo(np.float32).max)
    return part, distance


def labelled_splats(ply, chosen: Chosen, reach: float, T_world_splats: Float[np.ndarray, "4 4"] | None = None):
    """The same splats (a new PlyData) with two fields more: int32 `part` and float32 `part_distance`, as `part_of_splats` gives them.

    All other fields keep every bit, their order and that of the Gaussians. The two fields of an earlier export are replaced.
    A viewer that ignores the header, as the original one does, needs the files without further fields: those of
    `highlighted_splats` and `splats_of_parts`. Raises ValueError where a field `part` is someone else's.
    """
    found = dict(zip(ADDED, part_of_splats(ply, chosen, reach, T_world_splats), strict=True))
    rows = ply["vertex"].data
    kinds = {name: rows.dtype[name].newbyteorder("=") for name in ADDED if name in rows.dtype.names}
    if kinds and kinds != ADDED:
        raise ValueError(f"The splats have a field {next(iter(kinds))} already, which is not of semquery's making: rename it in the PLY.")
    kept = [(name, kind) for name, kind in rows.dtype.descr if name not in ADDED]
    order = rows.dtype["x"].byteorder
    more = np.empty(len(rows), [*kept, *((name, kind.newbyteorder(order).str) for name, kind in ADDED.items())])
    for name, _ in kept:
        more[name] = rows[name]
    for name, column in found.items():
        more[name] = column
    return _with_vertices(ply, more)


def highlighted_splats(ply, part_of_splat: Integer[np.ndarray, " s"], color: tuple[int, int, int] = (235, 30, 30)):
    """The same splats (a new PlyData), those that have a part (are not -1) in one colour from all sides: f_dc set, f_rest zero.

    Fields and layout are the input's, and everything else keeps every bit. Raises ValueError for parts of other splats.
    """
    check_splats(ply)
    inside = _parts_of_these(ply, part_of_splat) >= 0
    rows = np.array(ply["vertex"].data)
    for name, value in zip(COLOR, color, strict=True):
        rows[name][inside] = (value / 255 - 0.5) / SH_C0
    for name in _rest(ply):
        rows[name][inside] = 0
    return _with_vertices(ply, rows)


def splats_of_parts(
    ply, part_of_splat: Integer[np.ndarray, " s"], chosen: Chosen, parts: Iterable[int] | None = None
) -> Iterator[tuple[int, object]]:
    """(part, PlyData) for every part that has Gaussians: its own and those of all parts inside it, in the order of the file.

    `parts`: by default all that were chosen; as nested parts repeat what they hold, all files together are as many times as large
    as the tree is deep. Fields and layout are the input's; of further elements nothing is kept, as they may count vertices.
    Raises ValueError for parts of other splats.
    """
    from plyfile import PlyData

    check_splats(ply)
    part_of_splat, spans = _parts_of_these(ply, part_of_splat, chosen.parts.num_parts), chosen.spans
    held = np.flatnonzero(part_of_splat >= 0)
    rank = spans.first[part_of_splat[held]]
    order = np.argsort(rank, kind="stable")
    held, rank = held[order], rank[order]
    for part in chosen.nodes if parts is None else parts:
        begin, end = np.searchsorted(rank, [spans.first[part], spans.last[part]])
        if end > begin:
            rows = np.asarray(ply["vertex"].data)[np.sort(held[begin:end])]
            yield part, PlyData([_element(ply, rows)], ply.text, ply.byte_order, ply.comments, ply.obj_info)


def _centres(ply, T_world_splats: Float[np.ndarray, "4 4"] | None) -> Float64[np.ndarray, "s 3"]:
    rows = ply["vertex"].data
    centres = np.stack([rows[name].astype(np.float64) for name in CENTRE], axis=1)
    if T_world_splats is None:
        return centres
    with np.errstate(invalid="ignore"):  # infinite times zero
        return centres @ T_world_splats[:3, :3].T + T_world_splats[:3, 3]


def _neighbours_together(centres: Float64[np.ndarray, "t 3"], points: Float32[np.ndarray, "n 3"]) -> Int64[np.ndarray, " t"]:
    """An order that goes through space cell by cell: looked up so, places find most of the tree in the processor's cache."""
    cell = float(np.ptp(points, axis=0).max()) / 32 if len(points) else 0.0
    return np.lexsort(np.floor(centres / (cell or 1.0)).T)


def _rest(ply) -> list[str]:
    return [name for name in ply["vertex"].data.dtype.names if name.startswith("f_rest_")]


def _parts_of_these(ply, part_of_splat: Integer[np.ndarray, " t"], num_parts: int | None = None) -> Integer[np.ndarray, " t"]:
    """The parts, if there is one for each Gaussian and the tree has them all."""
    if len(part_of_splat) != len(ply["vertex"].data):
        raise ValueError(f"There are parts of {len(part_of_splat)} splats and {len(ply['vertex'].data)} splats: label these splats first.")
    if num_parts is not None and part_of_splat.max(initial=-1) >= num_parts:
        raise ValueError(f"A splat has part {part_of_splat.max()} and the tree has {num_parts} parts: "
                         "label the splats with this tree first.")
    return part_of_splat


def _element(ply, rows: np.ndarray):
    from plyfile import PlyElement

    return PlyElement.describe(rows, "vertex", comments=ply["vertex"].comments)


def _with_vertices(ply, rows: np.ndarray):
    """The same file with other vertices."""
    from plyfile import PlyData

    elements = [_element(ply, rows) if element.name == "vertex" else element for element in ply.elements]
    return PlyData(elements, ply.text, ply.byte_order, ply.comments, ply.obj_info)
