"""Objects of our own in PartNet's layout, so that everything can be tried and tested without its data.

    python -m eval objects --out DIR --count 42 --seed 0

Conventions
  An object is a folder named by its number, as PartNet v0 lays it out: result.json (the raw tree, meshes named on its
  leaves alone), result_after_merging.json (parts without a standard name are gone, what they hold stays with the part
  around; meshes named on all nodes; numbered anew, `ori_id` tells the raw number), meta.json, objs/, point_sample/.
  Written with +y up and +z the front, centred, at most 1 from the middle.
  Every fifth object is double sided: each triangle has a twin the other way round, of another material. Every fifth has
  textures, and then is laid out as PartNet-Mobility's (textured_objs/, images/). Every fifth has a part that is hidden.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int, Int32, UInt8

from eval.partnet.made.varied import Part, Solid, draw_objects, walk, with_hidden_core

FIRST = 100  # number of the first object
POINTS = 10_000  # of a point sample
# names that a merged tree does not know, besides those of added levels and pieces
UNKNOWN = {"control_button", "control_button_set", "switch_button_set", "stop_button", "start_button", "dial", "display",
           "bar_stretcher_set", "arm_vertical_bar", "mustard", "lamp_unit", "core", "vertical_divider_panel"}
ADDED = ("_unit", "_piece")
TEXTURES = ("streaks", "checks")


@dataclass(frozen=True)
class Traits:
    """What is special about an object."""

    double_sided: bool = False
    textured: bool = False
    hidden: bool = False


@dataclass(frozen=True)
class Mesh:
    """What one obj file holds; triangles of one part."""

    name: str
    leaf: int  # raw number of the part
    vertices: Float64[np.ndarray, "n 3"]  # +y up
    faces: Int32[np.ndarray, "f 3"]
    color: tuple[int, int, int]


@dataclass(frozen=True)
class ObjectsConfig:
    """Objects of our own in PartNet's layout."""

    out: Path
    """Folder for the objects, one folder each."""
    count: int = 42
    """How many."""
    seed: int = 0
    """Of every draw; the first objects of a seed are the same whatever the count."""


def write_objects(folder: Path, count: int, seed: int = 0) -> list[Path]:
    """So many different objects, each in a folder of its own; the folders.

    Raises ValueError for a count below 1, and where a file is in the way.
    """
    if count < 1:
        raise ValueError(f"Expected a count of 1 or more objects; got {count}.")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; give a folder, made if it is not there.")
    written = []
    for k, whole in enumerate(draw_objects(count, seed)):
        random, traits = np.random.default_rng((seed, k, 1)), traits_of(k)
        write_object(folder / str(FIRST + k), with_hidden_core(whole) if traits.hidden else whole, random, traits)
        written.append(folder / str(FIRST + k))
    return written


def traits_of(number: int) -> Traits:
    """In turns of five, while the categories take turns of seven: sooner or later every category has every trait."""
    return Traits(double_sided=number % 5 == 1, textured=number % 5 == 2, hidden=number % 5 == 3)


def write_object(folder: Path, whole: Part, random: np.random.Generator, traits: Traits = Traits()) -> None:
    """One object; its number is the folder's name."""
    folder.mkdir(parents=True, exist_ok=True)
    raw, meshes = raw_tree(whole, random)
    meshes = centred(meshes)
    meta = {"model_id": f"{random.integers(1 << 60):016x}", "anno_id": folder.name, "user_id": "procedural", "time_in_sec": "0",
            "version": "1", "model_cat": whole.name.replace("_", " ").title().replace(" ", "")}
    for name, record in (("result", [raw]), ("result_after_merging", [merged_tree(raw)]), ("meta", meta)):
        (folder / f"{name}.json").write_text(json.dumps(record, ensure_ascii=False))
    _write_meshes(folder, meshes, traits, random)
    _write_points(folder / "point_sample", meshes, random)


# ------------------------------------------------------------------ trees


def raw_tree(whole: Part, random: np.random.Generator) -> tuple[dict, list[Mesh]]:
    """The raw tree as result.json has it, and its meshes. Numbers are in no order and have gaps; a leaf has one to three meshes."""
    parts = list(walk(whole))
    ids = iter(random.permutation(3 * len(parts))[: len(parts)].tolist())
    names = iter(random.permutation(4 * sum(len(part.solids) for part in parts)).tolist())
    meshes: list[Mesh] = []

    def record(part: Part) -> dict:
        found = {"text": part.name.replace("_", " ").title(), "name": part.name, "id": next(ids)}
        if part.parts:
            return found | {"children": [record(child) for child in part.parts]}
        groups = np.array_split(np.arange(len(part.solids)), min(len(part.solids), random.integers(1, 4)))
        mine = [Mesh(f"original-{next(names)}", found["id"], *joined([part.solids[k] for k in group]), part.color) for group in groups]
        meshes.extend(mine)
        return found | {"objs": [mesh.name for mesh in mine]}

    return record(whole), meshes


def joined(solids: Sequence[Solid]) -> tuple[Float64[np.ndarray, "n 3"], Int32[np.ndarray, "f 3"]]:
    """Corners and triangles of several solids, +y up."""
    first = np.cumsum([0, *(len(solid.vertices) for solid in solids)])
    x, y, z = np.concatenate([solid.vertices for solid in solids]).T
    faces = np.concatenate([solid.faces + start for solid, start in zip(solids, first, strict=False)])
    return np.stack([x, z, -y], 1), faces.astype(np.int32)


def centred(meshes: Sequence[Mesh]) -> list[Mesh]:
    """The object around the origin, its farthest corner 1 away."""
    points = np.concatenate([mesh.vertices for mesh in meshes])
    middle = (points.min(0) + points.max(0)) / 2
    reach = np.linalg.norm(points - middle, axis=1).max()
    return [Mesh(mesh.name, mesh.leaf, (mesh.vertices - middle) / reach, mesh.faces, mesh.color) for mesh in meshes]


def merged_tree(raw: dict) -> dict:
    """The merged tree of a raw one, as result_after_merging.json has it; the root is always kept."""
    whole = _merged(raw)
    for number, record in enumerate(_records(whole)):
        record["id"] = number
    return whole


def _merged(raw: dict) -> dict:
    children = [found for child in raw.get("children", ()) for found in _kept(child)]
    record = {"text": raw["name"], "name": raw["name"], "objs": _objs(raw), "ori_id": raw["id"]}
    return record | ({"children": children} if children else {})


def _kept(raw: dict) -> list[dict]:
    """The part, or where its name is not known those of its parts that are."""
    if raw["name"] not in UNKNOWN and not raw["name"].endswith(ADDED):
        return [_merged(raw)]
    return [found for child in raw.get("children", ()) for found in _kept(child)]


def _objs(record: dict) -> list[str]:
    return [*record.get("objs", ()), *(name for child in record.get("children", ()) for name in _objs(child))]


def _records(record: dict) -> Iterator[dict]:
    yield record
    for child in record.get("children", ()):
        yield from _records(child)


# ------------------------------------------------------------------ files


def _write_meshes(folder: Path, meshes: Sequence[Mesh], traits: Traits, random: np.random.Generator) -> None:
    """The obj and mtl file of every mesh, and the pictures that they name."""
    place = folder / ("textured_objs" if traits.textured else "objs")
    place.mkdir(exist_ok=True)
    if traits.textured:
        _write_textures(folder / "images", random)
    leaves = {mesh.leaf: random.choice(["", *TEXTURES]) if traits.textured else "" for mesh in meshes}  # a part is all of one texture
    if traits.textured:
        leaves[meshes[0].leaf] = TEXTURES[0]
    for mesh in meshes:
        texture = leaves[mesh.leaf]
        (place / f"{mesh.name}.obj").write_text(f"mtllib {mesh.name}.mtl\n{obj_text(mesh, bool(texture), traits.double_sided)}")
        back = _material("back", 255 - np.array(mesh.color), "") if traits.double_sided else ""
        (place / f"{mesh.name}.mtl").write_text(_material("front", mesh.color, texture) + back)


def obj_text(mesh: Mesh, textured: bool, double_sided: bool) -> str:
    """The mesh as an obj file: material `front`, and with twins `back`. Pictures are laid on along the axis that a face looks to."""
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in mesh.vertices.tolist()]
    corners = (mesh.faces + 1).tolist()
    if textured:
        lines += [f"vt {u:.5f} {v:.5f}" for u, v in (3 * _laid_on(mesh)).tolist()]
        written = [" ".join(f"{corner}/{3 * k + j + 1}" for j, corner in enumerate(face)) for k, face in enumerate(corners)]
    else:
        written = [" ".join(map(str, face)) for face in corners]
    lines += ["usemtl front", *(f"f {face}" for face in written)]
    if double_sided:
        lines += ["usemtl back", *(f"f {' '.join(reversed(face.split()))}" for face in written)]
    return "\n".join(lines) + "\n"


def _laid_on(mesh: Mesh) -> Float64[np.ndarray, "k 2"]:
    """Of each corner of each face, the two coordinates along which the face lies most."""
    a, b, c = mesh.vertices[mesh.faces].transpose(1, 0, 2)
    away = np.abs(np.cross(b - a, c - a)).argmax(1)
    along = np.array([(2, 1), (0, 2), (0, 1)])[away]
    return np.take_along_axis(mesh.vertices[mesh.faces], along[:, None, :], 2).reshape(-1, 2)


def _material(name: str, color: Sequence[int] | Int[np.ndarray, " 3"], texture: str) -> str:
    red, green, blue = (f"{int(value) / 255:.4f}" for value in color)
    return f"newmtl {name}\nKd {red} {green} {blue}\n" + (f"map_Kd ../images/{texture}.png\n" if texture else "")


def _write_textures(folder: Path, random: np.random.Generator) -> None:
    from PIL import Image

    folder.mkdir(exist_ok=True)
    row, column = np.indices((64, 64)) // 8
    patterns = {"checks": np.where((row + column) % 2, 255, 170), "streaks": np.broadcast_to(random.integers(150, 256, 64), (64, 64))}
    for name, pattern in patterns.items():
        Image.fromarray(pattern.astype(np.uint8)).convert("RGB").save(folder / f"{name}.png")


def _write_points(folder: Path, meshes: Sequence[Mesh], random: np.random.Generator) -> None:
    """Points evenly over all triangles, twins apart, each with the raw number of its leaf."""
    folder.mkdir(exist_ok=True)
    points, normals, colors, leaf = sampled(meshes, POINTS, random)
    place = [f"{x:.6f} {y:.6f} {z:.6f}" for x, y, z in points.tolist()]
    shown = [f"{at} {a:.6f} {b:.6f} {c:.6f} {red} {green} {blue} 1.000000" for at, (a, b, c), (red, green, blue) in
             zip(place, normals.tolist(), colors.tolist(), strict=True)]
    numbers = list(map(str, leaf.tolist()))
    files = {"pts": place, "sample-points-all-pts-nor-rgba": shown, "label": numbers, "sample-points-all-label": numbers}
    for name, lines in files.items():
        (folder / f"{name}-{POINTS}.txt").write_text("\n".join(lines) + "\n")


def sampled(
    meshes: Sequence[Mesh], count: int, random: np.random.Generator
) -> tuple[Float64[np.ndarray, "k 3"], Float64[np.ndarray, "k 3"], UInt8[np.ndarray, "k 3"], Int[np.ndarray, " k"]]:
    """(points, unit normals, colours, raw number of the leaf), drawn evenly over the surface."""
    corners = np.concatenate([mesh.vertices[mesh.faces] for mesh in meshes])
    number = np.repeat(np.arange(len(meshes)), [len(mesh.faces) for mesh in meshes])
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    size = np.linalg.norm(normal, axis=1)
    face = random.choice(len(size), count, p=size / size.sum())
    weights = random.dirichlet(np.ones(3), count)  # even over a triangle
    mine = number[face]
    points = np.einsum("kc,kcx->kx", weights, corners[face])
    colors = np.array([mesh.color for mesh in meshes], np.uint8)[mine]
    return points, normal[face] / size[face, None], colors, np.array([mesh.leaf for mesh in meshes])[mine]


def run_objects(config: ObjectsConfig) -> list[Path]:
    """Write the objects and say where they are."""
    written = write_objects(config.out, config.count, config.seed)
    print(f"{len(written)} objects in {config.out}: {written[0].name} to {written[-1].name}")
    return written
