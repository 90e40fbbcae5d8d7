"""A demo scene whose every part is known: a table with a microwave on it, and a chair beside it.

Photos, poses, mesh and the true part tree come out of a few numbers in this file, so the whole method
can be tried and measured with nothing to download.

Notation
  n vertices, f faces, p parts, h w image height and width.
Conventions
  Metres; z is up, the floor is z = 0, the microwave's front looks towards -y. The tree is laid out as in
  `types`: leaves first, root last. A leaf is a few convex solids, each the hull of a few points.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Float64, Int32, UInt8

from semquery.render import Hits, RayCaster, picture, pinhole, ring

OBJECTS = ("table", "microwave", "chair")
FIELD_OF_VIEW = 45.0  # degrees, of every camera
SCENE_CENTRE = (0.0, 0.0, 0.52)
MICROWAVE = (-0.30, 0.03, 0.92)  # its middle
CHAIR = (0.80, -0.05, 0.51)


@dataclass(frozen=True)
class Leaf:
    """A part without parts."""

    color: tuple[int, int, int]
    solids: tuple[Float64[np.ndarray, "_ 3"], ...]  # points whose hull is the solid
    grain: str = ""  # axis x, y or z along which wood is streaked; "" for a plain surface


@dataclass(frozen=True)
class Tabletop:
    """The scene as a mesh and its true part tree."""

    vertices: Float32[np.ndarray, "n 3"]
    faces: Int32[np.ndarray, "f 3"]
    colors: UInt8[np.ndarray, "f 3"]
    part_of_face: Int32[np.ndarray, " f"]  # a leaf
    parents: Int32[np.ndarray, " p"]
    names: tuple[str, ...]  # one per part
    grains: tuple[str, ...]  # one per leaf

    @property
    def num_leaves(self) -> int:
        return len(self.grains)

    def albedo(self, hits: Hits) -> Float32[np.ndarray, "h w 3"]:
        """Textured colour of each pixel, 0..1: faint mottles, or streaks along the grain of wood."""
        leaf = self.part_of_face[hits.face]
        contrast = np.zeros(hits.face.shape)
        for grain in set(self.grains):
            at = hits.mask & np.isin(leaf, [k for k, g in enumerate(self.grains) if g == grain])
            stretch = np.where([axis == grain for axis in "xyz"], 0.12, 1.0) * (2.0 if grain else 1.0)
            contrast[at] = (0.075 if grain else 0.025) * _noise(hits.points[at] * stretch)
        return (self.colors[hits.face] / 255.0 * (1 + contrast[..., None])).clip(0, 1).astype(np.float32)


def build(objects: tuple[str, ...] = OBJECTS) -> Tabletop:
    """The scene with these objects."""
    unknown = set(objects) - set(OBJECTS)
    if unknown or not objects:
        raise ValueError(f"build: objects {objects}; choose one or more of {OBJECTS}.")
    makers = {"table": _table, "microwave": _microwave, "chair": _chair}
    tree = {name: makers[name]() for name in OBJECTS if name in objects}
    leaves, groups = _flatten(tree, "scene")
    order = {path: k for k, path in enumerate([*leaves, *groups])}
    parents = [order[path[:-1]] if len(path) > 1 else order[path] for path in order]
    vertices, faces, part_of_face, colors = [], [], [], []
    for k, leaf in enumerate(leaves.values()):
        for solid in leaf.solids:
            triangles = _hull(solid)
            faces.append(triangles + sum(map(len, vertices)))
            vertices.append(solid)
            part_of_face.append(np.full(len(triangles), k))
            colors.append(np.tile(leaf.color, (len(triangles), 1)))
    return Tabletop(
        np.concatenate(vertices).astype(np.float32), np.concatenate(faces).astype(np.int32),
        np.concatenate(colors).astype(np.uint8), np.concatenate(part_of_face).astype(np.int32),
        np.array(parents, np.int32), tuple(path[-1] for path in order), tuple(leaf.grain for leaf in leaves.values()),
    )


# ------------------------------------------------------------------------------------------ the objects


def _table() -> dict:
    x, y = MICROWAVE[0], MICROWAVE[1]
    legs = {
        f"table leg {k + 1}": Leaf((74, 78, 86), (_box((x + 0.60 * sx, y + 0.33 * sy, 0.35), (0.075, 0.075, 0.70), taper=0.6),))
        for k, (sx, sy) in enumerate(product((-1, 1), (-1, 1)))
    }
    return {"table top": Leaf((206, 168, 116), (_box((x, y, 0.725), (1.34, 0.80, 0.05), 0.01),), "x"), **legs}


def _microwave() -> dict:
    x, y, z = MICROWAVE
    front = y - 0.21
    body = [_box((x, y + 0.005, z + 0.005), (0.66, 0.42, 0.33), 0.012)]
    body += [_box((x + sx * 0.26, y + sy * 0.15, z - 0.165), (0.05, 0.05, 0.02)) for sx, sy in product((-1, 1), (-1, 1))]
    rails = [_box((x - 0.105 + dx, front - 0.012, z + 0.005 + dz), size, 0.003) for dx, dz, size in (
        (-0.19, 0, (0.05, 0.03, 0.30)), (0.18, 0, (0.07, 0.03, 0.30)),
        (-0.005, 0.1225, (0.32, 0.03, 0.055)), (-0.005, -0.1225, (0.32, 0.03, 0.055)))]
    grip = x + 0.078
    handle = [_rod((grip, front - 0.062, z + 0.005), 0.013, 0.25, "z")]
    handle += [_box((grip, front - 0.042, z + 0.005 + dz), (0.018, 0.04, 0.018)) for dz in (-0.1, 0.1)]
    return {
        "body": Leaf((198, 201, 205), tuple(body)),
        "door": {
            "door frame": Leaf((96, 100, 108), tuple(rails)),
            "window": Leaf((38, 48, 74), (_box((x - 0.110, front - 0.006, z + 0.005), (0.33, 0.012, 0.19)),)),
            "handle": Leaf((228, 224, 214), tuple(handle)),
        },
        "panel": _panel(x + 0.225, front, z + 0.005),
    }


def _panel(x: float, front: float, z: float) -> dict:
    face = front - 0.02
    keys = {}
    for row, column in product(range(3), range(3)):
        number = 3 * row + column + 1
        start = number == 9
        center = (x + 0.046 * (column - 1), face - 0.011, z - 0.083 - 0.040 * (row - 1))
        keys["start button" if start else f"button {number}"] = Leaf(
            (52, 168, 83) if start else (240, 238, 232), (_box(center, (0.035, 0.014, 0.030), 0.003),))
    return {
        "plate": Leaf((58, 62, 72), (_box((x, front - 0.01, z), (0.18, 0.02, 0.30), 0.003),)),
        "display": Leaf((104, 205, 214), (_box((x, face - 0.003, z + 0.118), (0.13, 0.006, 0.042)),)),
        "dial": Leaf((212, 48, 42), (_rod((x, face - 0.014, z + 0.038), 0.036, 0.028, "y"),)),
        "keypad": {"keypad plate": Leaf((128, 134, 142), (_box((x, face - 0.003, z - 0.083), (0.15, 0.006, 0.128)),)), **keys},
    }


def _chair() -> dict:
    x, y, _ = CHAIR
    corners = list(product((-1, 1), (-1, 1)))
    legs = {
        f"chair leg {k + 1}": Leaf((112, 70, 44), (_box((x + 0.19 * sx, y + 0.19 * sy, 0.22), (0.05, 0.05, 0.44), taper=0.65),), "z")
        for k, (sx, sy) in enumerate(corners)
    }
    posts = {
        f"post {k + 1}": Leaf((150, 96, 58), (_box((x + 0.20, y + 0.19 * sy, 0.75), (0.042, 0.042, 0.54)),), "z")
        for k, sy in enumerate((-1, 1))
    }
    slats = {
        f"slat {k + 1}": Leaf((226, 182, 104), (_box((x + 0.20, y, 0.60 + 0.115 * k), (0.022, 0.338, 0.062)),), "y") for k in range(4)
    }
    seat = Leaf((66, 110, 178), (_box((x, y, 0.465), (0.48, 0.48, 0.05), 0.014),))
    return {"seat": seat, **legs, "back": {**posts, **slats}}


def _box(center: tuple, size: tuple, chamfer: float = 0.004, taper: float = 1.0) -> Float64[np.ndarray, "24 3"]:
    """A box with cut edges; `taper` scales its lower end."""
    half = np.array(size) / 2
    signs = np.array(list(product((-1.0, 1.0), repeat=3)))
    points = np.concatenate([signs * (half - chamfer * (1 - axis)) for axis in np.eye(3)])
    points[points[:, 2] < 0, :2] *= taper
    return points + center


def _rod(center: tuple, radius: float, length: float, axis: str, sides: int = 24) -> Float64[np.ndarray, "k 3"]:
    """A round rod along an axis, with rounded rims."""
    angle = 2 * np.pi * (np.arange(sides) + 0.5) / sides
    rings = [(radius, 0.5 * length - 0.15 * radius), (0.85 * radius, 0.5 * length)]
    points = np.concatenate([
        np.stack([r * np.cos(angle), r * np.sin(angle), np.full(sides, sign * h)], 1) for r, h in rings for sign in (-1, 1)])
    return np.roll(points, "xyz".index(axis) + 1, axis=1) + center


def _hull(points: Float64[np.ndarray, "k 3"]) -> Int32[np.ndarray, "f 3"]:
    """Triangles of the convex hull, counter-clockwise from outside."""
    from scipy.spatial import ConvexHull

    faces = ConvexHull(points).simplices
    a, b, c = (points[faces[:, k]] for k in range(3))
    outwards = np.einsum("fc,fc->f", np.cross(b - a, c - a), a - points.mean(0)) > 0
    return np.where(outwards[:, None], faces, faces[:, ::-1]).astype(np.int32)


def _flatten(tree: dict, root: str) -> tuple[dict[tuple, Leaf], list[tuple]]:
    """Paths of the leaves (depth first) and of the groups (children before parents) of nested dicts."""
    leaves, groups = {}, []

    def visit(node: dict | Leaf, path: tuple) -> None:
        if isinstance(node, Leaf):
            leaves[path] = node
            return
        for name, child in node.items():
            visit(child, (*path, name))
        groups.append(path)

    visit(tree, (root,))
    return leaves, groups


def _noise(points: Float[np.ndarray, "k 3"]) -> Float64[np.ndarray, " k"]:
    """Smooth solid noise of unit variance: plane waves of 3 to 25 cm in fixed random directions."""
    random = np.random.default_rng(7)
    directions = random.normal(size=(20, 3))
    waves = directions / np.linalg.norm(directions, axis=1, keepdims=True) / np.geomspace(0.03, 0.25, 20)[:, None]
    phase = random.uniform(0, 2 * np.pi, 20)
    return np.cos(2 * np.pi * points @ waves.T + phase).sum(1) / np.sqrt(10)


# ------------------------------------------------------------------------------------ cameras and photos


def cameras(objects: tuple[str, ...] = OBJECTS, heldout: bool = False) -> dict[str, Float64[np.ndarray, "4 4"]]:
    """T_world_cam by name: orbits of the scene, then close-ups, without which small parts are a pixel wide."""
    turn = 13.0 if heldout else 0.0  # held-out views look from between the others
    poses = {}
    for name, target, distance, elevations, azimuths in _rings(objects, heldout):
        views = [T for e, a in zip(elevations, azimuths, strict=True) for T in ring(np.array(target), distance, e + turn / 3, np.array(a) + turn)]
        poses.update({f"{name}_{k:02d}": T for k, T in enumerate(views)})
    return poses


def _rings(objects: tuple[str, ...], heldout: bool) -> Iterator[tuple]:
    """Name, target, distance, elevations, and the azimuths at each elevation, of every group of views."""
    around = np.arange(0.0, 360, 60)
    small = len(objects) == 1 and objects[0] != "table"
    centre = {"microwave": MICROWAVE, "chair": CHAIR}[objects[0]] if small else SCENE_CENTRE
    orbits = ((20, 40), ([20, 200], [110, 290])) if heldout else ((6, 28, 50), (around, around + 30, [0, 90, 180, 270]))
    yield "orbit", centre, 1.6 if small else 2.75, *orbits
    if "microwave" in objects:
        fronts = [-150, -120, -90, -60, -30, 90]
        yield "microwave", MICROWAVE, 1.05, *(((15,), ([-130, -90, -50, 120],)) if heldout else ((2, 22, 46), (fronts,) * 3))
    if "chair" in objects:
        open_side = np.array([-125.0, -75, -25, 25, 75, 125])  # towards the table, the table top would hide the chair
        yield "chair", CHAIR, 1.6, *(((20,), ([-60, 40],)) if heldout else ((8, 36), (open_side, open_side + 10)))
    if "microwave" in objects:
        panel = (MICROWAVE[0] + 0.225, MICROWAVE[1] - 0.23, MICROWAVE[2])
        yield "panel", panel, 0.5, *(((10,), ([-95],)) if heldout else ((4, 34), ([-112, -90, -68], [-90])))


def write_scene(
    folder: Path | str, size: int = 160, num_views: int = 50, num_heldout: int = 11, objects: tuple[str, ...] = OBJECTS
) -> Tabletop:
    """Photos, poses, mesh and truth of the scene, in a folder a trainer can be pointed at.

    images/*.png and transforms.json are the capture, mesh.ply the surface; truth.json (names, parents,
    leaf of each face) and truth/<view>.npz (leaf of each pixel centre, -1 = none) are for measuring only.
    `heldout/` repeats all that for views no trainer sees. Fewer views than there are take every so-many-th.
    """
    folder, scene = Path(folder), build(objects)
    caster = RayCaster(scene.vertices, scene.faces)
    _write_views(folder, scene, caster, _thin(cameras(objects), num_views), size)
    _write_views(folder / "heldout", scene, caster, _thin(cameras(objects, heldout=True), num_heldout), size)
    _write_mesh(folder / "mesh.ply", scene)
    truth = {"names": scene.names, "parents": scene.parents.tolist(), "part_of_face": scene.part_of_face.tolist()}
    (folder / "truth.json").write_text(json.dumps(truth) + "\n")
    return scene


def _thin(poses: dict, count: int) -> dict:
    """`count` of the views, evenly spread over the list, so that every group keeps its share."""
    keep = {int(k) for k in (np.arange(count) + 0.5) * len(poses) / max(count, 1)} if count < len(poses) else range(len(poses))
    return {name: T for k, (name, T) in enumerate(poses.items()) if k in keep}


def _write_views(folder: Path, scene: Tabletop, caster: RayCaster, poses: dict, size: int) -> None:
    from PIL import Image

    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "truth").mkdir(exist_ok=True)
    intrinsics = pinhole(FIELD_OF_VIEW, (size, size))
    for name, T_world_cam in poses.items():
        Image.fromarray(picture(caster, scene.albedo, T_world_cam, intrinsics, (size, size))).save(folder / "images" / f"{name}.png")
        face = caster.cast(T_world_cam, intrinsics, (size, size)).face
        leaf = np.where(face >= 0, scene.part_of_face[face], -1).astype(np.int32)
        np.savez_compressed(folder / "truth" / f"{name}.npz", leaf=leaf)
    lens = dict(zip(("fl_x", "fl_y", "cx", "cy"), intrinsics.tolist(), strict=True))
    frames = [{"file_path": f"images/{name}.png", "transform_matrix": T.tolist()} for name, T in poses.items()]
    transforms = {"camera_model": "OPENCV", **lens, "w": size, "h": size, "frames": frames}
    (folder / "transforms.json").write_text(json.dumps(transforms, indent=1) + "\n")


def _write_mesh(path: Path, scene: Tabletop) -> None:
    """mesh.ply, its face order kept: row k is face k of the truth."""
    import trimesh

    trimesh.Trimesh(scene.vertices, scene.faces, face_colors=scene.colors, process=False).export(path)
