"""Gaussian splats with the part of each, as PLY.

A splat PLY is an element `vertex` with a row per Gaussian, in the layout of the original 3D Gaussian Splatting:

    x y z [nx ny nz] f_dc_0..2 [f_rest_0..8, ..23 or ..44] opacity scale_0..1 [scale_2] rot_0..3 [anything else]

f_dc and f_rest are spherical harmonics (degree 0 to 3), colour = ½ + SH_C0 · f_dc. All trainers write these names; orders and
further fields differ and are kept, as are the byte order, the comments and whether the file is text.

Notation
  s Gaussians, in the order of the file.
Conventions
  A Gaussian belongs to the part of the surface point nearest to its centre, if that is within reach: three voxels, more for a
  Gaussian that is itself larger. One that spans several parts has the part at its centre; opacity does not matter. A Gaussian
  whose centre is no finite number has none.
  Distances are in world units. Centres are taken for world coordinates unless `T_world_splats` says how to get there: it may
  scale, as a trainer's own frame does.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int32, Int64, Integer

from semquery.export.chosen import Chosen
from semquery.scene import applied_transform

SH_C0 = 0.28209479177387814  # the constant spherical harmonic, 1 / (2 √π)
CHUNK = 1 << 18  # Gaussians looked up at a time
REACH, MOST_REACH = 3.0, 12.0  # voxels from a Gaussian's centre to the surface within which it has a part, unless told otherwise;
SPAN = 2.0  # and between the two as many standard deviations of its longest axis
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

    _check_begins_as_ply(path)
    try:
        ply = PlyData.read(str(path))
    except (PlyParseError, OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as PLY ({error}); is it whole? Export the splats again, as an uncompressed PLY.") from error
    try:
        check_splats(ply)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return ply


def read_T_world_splats(path: Path | None, data: Path | None = None) -> Float64[np.ndarray, "4 4"] | None:
    """From the frame of the splats to that of the capture's poses; None for no file.

    `path`: the dataparser_transforms.json of the nerfstudio run that trained them, which leads from the frame of the structure from
    motion to that run's; or a transforms.json with nerfstudio's applied_transform, for splats in the frame of the structure from motion
    itself. `data`: the transforms.json (or its folder) whose poses are meant; without it they are those of the structure from motion,
    as a run of `ns-train` has them. Raises ValueError for a file that is neither.
    """
    if path is None:
        return None
    try:
        record = json.loads(path.read_bytes())
        if "frames" in record:
            return applied_transform(path)
        matrix, scale = np.eye(4), float(record["scale"])
        matrix[:3] = np.array(record["transform"], np.float64)[:3]
        if data is not None:  # poses were changed before they were saved, and the run's transform and scale include that
            applied = applied_transform(data)
            unit = abs(np.linalg.det(applied)) ** (1 / 3)
            matrix, scale = matrix @ np.linalg.inv(np.diag([1 / unit] * 3 + [1]) @ applied), scale / unit
        if not np.isfinite(matrix).all() or not scale > 0:
            raise ValueError("a number that is none, or a scale that is not above 0")
        return np.linalg.inv(np.diag([scale] * 3 + [1]) @ matrix)
    except (OSError, ValueError, KeyError, TypeError, np.linalg.LinAlgError) as error:
        raise ValueError(f"{path} cannot be read ({type(error).__name__}: {error}); expected nerfstudio's dataparser_transforms.json with a "
                         "3×4 transform and a scale, or a transforms.json.") from error


def check_splats(ply) -> None:
    """Raise ValueError where this is no splat PLY: it is compressed, lacks a field, or has one of another kind."""
    if "vertex" not in ply or "packed_position" in ply["vertex"]:
        what = "is a compressed splat PLY" if "vertex" in ply else "has no element 'vertex'"
        raise ValueError(f"This PLY {what}; export the splats as an uncompressed PLY.")
    kinds = ply["vertex"].data.dtype
    lacking = [name for name in NEEDED if name not in kinds.names]
    if lacking:
        plain = "; of ns-export gaussian-splat they come with --ply-color-mode sh_coeffs" if lacking == list(COLOR) else ""
        raise ValueError(f"This PLY is no splat PLY, it has no field {', '.join(lacking)}; expected {', '.join(NEEDED)} "
                         f"(colours as spherical harmonics{plain}).")
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
    ply, chosen: Chosen, reach: float | None = None, T_world_splats: Float[np.ndarray, "4 4"] | None = None
) -> tuple[Int32[np.ndarray, " s"], Float32[np.ndarray, " s"]]:
    """The smallest chosen part at each Gaussian, and how far the nearest surface point is, whatever part that belongs to.

    -1 where the nearest point is out of reach (world units; None: `usual_reach`) or not chosen; the distance of a centre that is no
    finite number is infinite. Raises ValueError for a reach that is not positive.
    """
    from scipy.spatial import cKDTree

    if reach is not None and not reach > 0:
        raise ValueError(f"Splats within a reach of {reach} were asked for; expected a positive length in world units.")
    check_splats(ply)
    far = usual_reach(ply, chosen.surface.voxel_size, T_world_splats) if reach is None else np.full(len(ply["vertex"].data), float(reach))
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
        part[rows] = np.where(away <= far[rows], of_point[near], -1)
        distance[rows] = np.minimum(away, np.finfo(np.float32).max)
    return part, distance


def usual_reach(ply, voxel_size: float, T_world_splats: Float[np.ndarray, "4 4"] | None = None) -> Float64[np.ndarray, " s"]:
    """How far each Gaussian may be from the surface to belong to it, world units: half of what a large one covers lies inside of a thing."""
    rows = ply["vertex"].data
    names = [name for name in ("scale_0", "scale_1", "scale_2") if name in rows.dtype.names]
    longest = np.exp(np.nan_to_num(np.max([rows[name].astype(np.float64) for name in names], axis=0)).clip(-60, 60))
    scale = 1.0 if T_world_splats is None else float(abs(np.linalg.det(T_world_splats[:3, :3]))) ** (1 / 3)
    return (SPAN * scale * longest).clip(REACH * voxel_size, MOST_REACH * voxel_size)


def labelled_splats(
    ply, chosen: Chosen, reach: float | None = None, T_world_splats: Float[np.ndarray, "4 4"] | None = None,
    left_out: Bool[np.ndarray, " s"] | None = None,
):
    """The same splats (a new PlyData) with two fields more: int32 `part` and float32 `part_distance`, as `part_of_splats` gives them;
    those `left_out` have no part.

    All other fields keep every bit, their order and that of the Gaussians. The two fields of an earlier export are replaced.
    A viewer that ignores the header, as the original one does, needs the files without further fields: those of
    `highlighted_splats` and `splats_of_parts`. Raises ValueError where a field `part` is someone else's.
    """
    part, distance = part_of_splats(ply, chosen, reach, T_world_splats)
    found = dict(zip(ADDED, (part if left_out is None else np.where(left_out, np.int32(-1), part), distance), strict=True))
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


def _check_begins_as_ply(path: Path) -> None:
    """Raises ValueError for what is there and no PLY, or not there."""
    if path.is_dir():
        inside = sorted(str(found.relative_to(path)) for found in path.rglob("*.ply"))[-3:]
        raise ValueError(f"{path} is a folder; expected a splat PLY{': one of ' + ', '.join(inside) if inside else ', and there is none in it'}.")
    try:
        with path.open("rb") as file:
            begins = file.read(3)
    except OSError as error:
        raise ValueError(f"There is no file {path}." if isinstance(error, FileNotFoundError) else f"{path} cannot be read ({error}).") from error
    if begins != b"ply":
        what = "is empty" if not begins else f"is no PLY (it begins with {begins!r})"
        raise ValueError(f"{path} {what}; export the splats as an uncompressed PLY, as all trainers do (SuperSplat turns .splat, .spz and the like "
                         "into one).")


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
