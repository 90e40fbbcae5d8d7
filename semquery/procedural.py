"""Scenes put together from convex solids, whose every part is known, and their photos with the truth beside them.

Notation
  n vertices, f faces, p parts, k points or pixels, h w image height and width.
Conventions
  Metres unless a scene says otherwise; z is up. The tree is laid out as in `types`: leaves first, root last.
  A scene is written down as nested dicts of name → parts, with a `Leaf` where a part has no parts; what follows
  a # in a name only tells siblings apart ("leg#1", "leg#2" are two parts named "leg"). A leaf is a few solids,
  each the convex hull of a few points; what is not convex is put together from several.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Float64, Int32, UInt8

from semquery.render import Hits, RayCaster, picture, pinhole

Solid = Float64[np.ndarray, "_ 3"]  # points whose hull is the solid


@dataclass(frozen=True)
class Leaf:
    """A part without parts."""

    color: tuple[int, int, int]
    solids: tuple[Solid, ...]
    grain: str = ""  # axis x, y or z along which wood is streaked; "" for a plain surface


@dataclass(frozen=True)
class KnownScene:
    """A mesh and its true part tree."""

    vertices: Float32[np.ndarray, "n 3"]
    faces: Int32[np.ndarray, "f 3"]
    colors: UInt8[np.ndarray, "f 3"]
    part_of_face: Int32[np.ndarray, " f"]  # the deepest part that owns it, mostly a leaf
    parents: Int32[np.ndarray, " p"]
    names: tuple[str, ...]  # one per part
    grains: tuple[str, ...] = ()  # one per leaf, as in `Leaf`; () for colours without texture
    grain_size: float = 1.0  # how much larger than on furniture the texture is

    @property
    def num_leaves(self) -> int:
        return len(self.parents) - len(np.unique(self.parents))

    def albedo(self, hits: Hits) -> Float32[np.ndarray, "h w 3"]:
        """Textured colour of each pixel, 0..1: faint mottles, or streaks along the grain of wood."""
        part = self.part_of_face[hits.face]
        contrast = np.zeros(hits.face.shape)
        for grain in set(self.grains):
            at = hits.mask & np.isin(part, [k for k, g in enumerate(self.grains) if g == grain])
            stretch = np.where([axis == grain for axis in "xyz"], 0.12, 1.0) * (2.0 if grain else 1.0)
            contrast[at] = (0.075 if grain else 0.025) * noise(hits.points[at] * (stretch / self.grain_size))
        return (self.colors[hits.face] / 255.0 * (1 + contrast[..., None])).clip(0, 1).astype(np.float32)


def assemble(tree: dict, root: str, grain_size: float = 1.0) -> KnownScene:
    """The scene of nested dicts of leaves; `root` names the whole."""
    leaves, groups = flatten(tree, root)
    order = {path: k for k, path in enumerate([*leaves, *groups])}
    parents = [order[path[:-1]] if len(path) > 1 else order[path] for path in order]
    vertices, faces, part_of_face, colors = [], [], [], []
    for k, leaf in enumerate(leaves.values()):
        for solid in leaf.solids:
            triangles = hull(solid)
            faces.append(triangles + sum(map(len, vertices)))
            vertices.append(solid)
            part_of_face.append(np.full(len(triangles), k))
            colors.append(np.tile(leaf.color, (len(triangles), 1)))
    return KnownScene(
        np.concatenate(vertices).astype(np.float32), np.concatenate(faces).astype(np.int32),
        np.concatenate(colors).astype(np.uint8), np.concatenate(part_of_face).astype(np.int32),
        np.array(parents, np.int32), tuple(path[-1].split("#")[0] for path in order), tuple(leaf.grain for leaf in leaves.values()), grain_size,
    )


def flatten(tree: dict, root: str) -> tuple[dict[tuple, Leaf], list[tuple]]:
    """Paths of the leaves (depth first) and of the groups (children before parents) of nested dicts."""
    leaves, groups = {}, []

    def visit(node: dict | Leaf, path: tuple) -> None:
        if isinstance(node, Leaf):
            leaves[path] = node
            return
        if not node:
            raise ValueError(f"The part {'/'.join(path)} has neither solids nor parts: give it a Leaf or leave it out.")
        for name, child in node.items():
            visit(child, (*path, name))
        groups.append(path)

    visit(tree, (root,))
    return leaves, groups


# ----------------------------------------------------------------------------------------------- solids


def box(center: tuple, size: tuple, chamfer: float = 0.004, taper: float = 1.0) -> Float64[np.ndarray, "24 3"]:
    """A box with cut edges; `taper` scales its lower end."""
    half = np.array(size) / 2
    signs = np.array(list(product((-1.0, 1.0), repeat=3)))
    points = np.concatenate([signs * (half - chamfer * (1 - axis)) for axis in np.eye(3)])
    points[points[:, 2] < 0, :2] *= taper
    return points + center


def rod(center: tuple, radius: float, length: float, axis: str, sides: int = 24) -> Float64[np.ndarray, "k 3"]:
    """A round rod along an axis, with rounded rims."""
    angle = 2 * np.pi * (np.arange(sides) + 0.5) / sides
    rings = [(radius, 0.5 * length - 0.15 * radius), (0.85 * radius, 0.5 * length)]
    points = np.concatenate([
        np.stack([r * np.cos(angle), r * np.sin(angle), np.full(sides, sign * h)], 1) for r, h in rings for sign in (-1, 1)])
    return np.roll(points, "xyz".index(axis) + 1, axis=1) + center


def bar(start: tuple, end: tuple, radii: tuple[float, float], sides: int = 16) -> Float64[np.ndarray, "k 3"]:
    """A straight bar between two points, round, with the radius at either end: a rod, a cone or a frustum."""
    ends = np.array([start, end], float)
    return np.concatenate([_circle(at, ends[1] - ends[0], radius, sides) for at, radius in zip(ends, radii, strict=True)])


def chain(centers: Float[np.ndarray, "k 3"], radius: float, sides: int = 12) -> tuple[Solid, ...]:
    """A bent round bar along a polyline, closed where the polyline is."""
    steps = np.diff(centers, axis=0)
    steps /= np.linalg.norm(steps, axis=1, keepdims=True)
    closed = np.allclose(centers[0], centers[-1])
    before = np.concatenate([steps[-1:] if closed else steps[:1], steps])
    after = np.concatenate([steps, steps[:1] if closed else steps[-1:]])
    circles = [_circle(at, along, radius, sides) for at, along in zip(centers, before + after, strict=True)]
    return tuple(np.concatenate(pair) for pair in pairwise(circles))


def _circle(center: Float[np.ndarray, " 3"], along: Float[np.ndarray, " 3"], radius: float, sides: int) -> Float64[np.ndarray, "k 3"]:
    """Points of a circle around an axis through its centre."""
    first = np.cross(along, np.eye(3)[np.abs(along).argmin()])
    second = np.cross(along, first)
    angle = 2 * np.pi * (np.arange(sides) + 0.5) / sides
    sideways = np.stack([first / np.linalg.norm(first), second / np.linalg.norm(second)])
    return center + radius * np.stack([np.cos(angle), np.sin(angle)], 1) @ sideways


def ellipsoid(center: tuple, radii: tuple[float, float, float], sides: int = 20) -> Float64[np.ndarray, "k 3"]:
    """A ball with its own radius along each axis."""
    height = np.cos(np.pi * (np.arange(sides // 2) + 0.5) / (sides // 2))
    angle = 2 * np.pi * np.arange(sides) / sides
    width = np.sqrt(1 - height**2)
    points = [[w * np.cos(a), w * np.sin(a), h] for h, w in zip(height, width, strict=True) for a in angle]
    return np.array(points) * radii + center


def arc(
    center: tuple, radii: tuple[float, float], axis: str, span: tuple[float, float] = (0.0, 360.0), segments: int = 24
) -> Float64[np.ndarray, "k 3"]:
    """A polyline on an ellipse around an axis; `span` in degrees from the axis that follows it (z: from x to y)."""
    angle = np.radians(np.linspace(*span, segments + 1))
    points = np.stack([radii[0] * np.cos(angle), radii[1] * np.sin(angle), np.zeros(segments + 1)], 1)
    return np.roll(points, "xyz".index(axis) + 1, axis=1) + center


def annulus(center: tuple, profile: Float[np.ndarray, "k 2"], segments: int = 24) -> tuple[Solid, ...]:
    """A ring around z: the convex outline (distance from the axis, height) swept around, in wedges."""
    angle = 2 * np.pi * np.arange(segments + 1) / segments
    sweep = np.stack([profile[None, :, 0] * np.cos(angle)[:, None], profile[None, :, 0] * np.sin(angle)[:, None],
                      np.broadcast_to(profile[:, 1], (segments + 1, len(profile)))], -1) + center
    return tuple(sweep[k : k + 2].reshape(-1, 3) for k in range(segments))


def prism(outline: Float[np.ndarray, "k 2"], low: float, high: float) -> Float64[np.ndarray, "_ 3"]:
    """A convex outline in x, y between two heights."""
    return np.concatenate([np.column_stack([outline, np.full(len(outline), z)]) for z in (low, high)])


def hull(points: Solid) -> Int32[np.ndarray, "f 3"]:
    """Triangles of the convex hull, counter-clockwise from outside."""
    from scipy.spatial import ConvexHull

    faces = ConvexHull(points).simplices
    a, b, c = (points[faces[:, k]] for k in range(3))
    outwards = np.einsum("fc,fc->f", np.cross(b - a, c - a), a - points.mean(0)) > 0
    return np.where(outwards[:, None], faces, faces[:, ::-1]).astype(np.int32)


def noise(points: Float[np.ndarray, "k 3"]) -> Float64[np.ndarray, " k"]:
    """Smooth solid noise of unit variance: plane waves of 3 to 25 cm in fixed random directions."""
    random = np.random.default_rng(7)
    directions = random.normal(size=(20, 3))
    waves = directions / np.linalg.norm(directions, axis=1, keepdims=True) / np.geomspace(0.03, 0.25, 20)[:, None]
    phase = random.uniform(0, 2 * np.pi, 20)
    return np.cos(2 * np.pi * points @ waves.T + phase).sum(1) / np.sqrt(10)


# ----------------------------------------------------------------------------------------------- photos


def write_scene(
    folder: Path | str,
    scene: KnownScene,
    poses: Mapping[str, Float64[np.ndarray, "4 4"]],
    heldout_poses: Mapping[str, Float64[np.ndarray, "4 4"]],
    size: int,
    field_of_view: float = 45.0,
) -> None:
    """Photos, poses (T_world_cam by name), mesh and truth of the scene, in a folder a trainer can be pointed at.

    images/*.png and transforms.json are the capture, mesh.ply the surface; truth.json (names, parents,
    part of each face) and truth/<view>.npz (part of each pixel centre, -1 = none) are for measuring only.
    `heldout/` repeats all that for views no trainer sees. `field_of_view`: degrees across the width.
    """
    folder, caster = Path(folder), RayCaster(scene.vertices, scene.faces)
    intrinsics = pinhole(field_of_view, (size, size))
    _write_views(folder, scene, caster, poses, intrinsics, size)
    _write_views(folder / "heldout", scene, caster, heldout_poses, intrinsics, size)
    _write_mesh(folder / "mesh.ply", scene)
    truth = {"names": scene.names, "parents": scene.parents.tolist(), "part_of_face": scene.part_of_face.tolist()}
    (folder / "truth.json").write_text(json.dumps(truth) + "\n")


def _write_views(folder: Path, scene: KnownScene, caster: RayCaster, poses: Mapping, intrinsics: Float64[np.ndarray, " 4"], size: int) -> None:
    from PIL import Image

    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "truth").mkdir(exist_ok=True)
    for name, T_world_cam in poses.items():
        Image.fromarray(picture(caster, scene.albedo, T_world_cam, intrinsics, (size, size))).save(folder / "images" / f"{name}.png")
        face = caster.cast(T_world_cam, intrinsics, (size, size)).face
        leaf = np.where(face >= 0, scene.part_of_face[face], -1).astype(np.int32)
        np.savez_compressed(folder / "truth" / f"{name}.npz", leaf=leaf)
    lens = dict(zip(("fl_x", "fl_y", "cx", "cy"), intrinsics.tolist(), strict=True))
    frames = [{"file_path": f"images/{name}.png", "transform_matrix": T.tolist()} for name, T in poses.items()]
    transforms = {"camera_model": "OPENCV", **lens, "w": size, "h": size, "frames": frames}
    (folder / "transforms.json").write_text(json.dumps(transforms, indent=1) + "\n")


def _write_mesh(path: Path, scene: KnownScene) -> None:
    """mesh.ply, its face order kept: row k is face k of the truth."""
    import trimesh

    trimesh.Trimesh(scene.vertices, scene.faces, face_colors=scene.colors, process=False).export(path)
