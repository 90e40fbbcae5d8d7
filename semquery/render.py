"""What a camera sees of a triangle mesh: ray casting and plain shading, on the CPU.

Notation
  n vertices, f faces, k rays or pixels that hit, h w image height and width.
Conventions
  Cameras and pixel centres as in `types`. `T_world_cam` is OpenGL's (x right, y up, z towards the
  viewer), `intrinsics` are (fx, fy, cx, cy) in pixels. Ids are row numbers, -1 is "nothing here".
  A face's front is the side from which its corners run counter-clockwise.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int, Int32, Num, UInt8

from semquery.types import Cameras, Observation
from semquery.zbuffer import rasterised

KEY_LIGHT = (-0.45, -0.6, 0.66)  # world direction towards the main light; z is up
GREY = 178  # of a mesh that brings no colour


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh with one colour a face."""

    vertices: Float32[np.ndarray, "n 3"]
    faces: Int32[np.ndarray, "f 3"]
    colors: UInt8[np.ndarray, "f 3"]


@dataclass(frozen=True)
class Hits:
    """The first face behind each pixel. Where there is none, face is -1 and the rest is 0."""

    face: Int32[np.ndarray, "h w"]
    points: Float32[np.ndarray, "h w 3"]  # world
    normals: Float32[np.ndarray, "h w 3"]  # unit, of the face, turned towards the camera

    @property
    def mask(self) -> Bool[np.ndarray, "h w"]:
        return self.face >= 0


def look_at(
    eye: Float[np.ndarray, " 3"], target: Float[np.ndarray, " 3"], up: tuple[float | int, ...] = (0, 0, 1)
) -> Float64[np.ndarray, "4 4"]:
    """T_world_cam of a camera at `eye` that sees `target` in its centre and `up` upwards."""
    eye, target = np.asarray(eye, float), np.asarray(target, float)
    back = eye - target
    right = np.cross(up, back)
    if np.linalg.norm(right) <= 1e-9 * np.linalg.norm(back):
        raise ValueError(f"look_at: the view from {eye} to {target} is parallel to up {up} (or empty); tilt one of them.")
    axes = np.stack([right, np.cross(back, right), back], 1)
    T_world_cam = np.eye(4)
    T_world_cam[:3, :3] = axes / np.linalg.norm(axes, axis=0)
    T_world_cam[:3, 3] = eye
    return T_world_cam


def ring(
    target: Float[np.ndarray, " 3"], distance: float | int, elevation: float | int, azimuths: Num[np.ndarray, " v"]
) -> Float64[np.ndarray, "v 4 4"]:
    """Cameras on a circle around `target` that look at it. Degrees; azimuth 0 is +x, 90 is +y, z is up."""
    a, e = np.radians(np.asarray(azimuths, float)), np.radians(elevation)
    offsets = np.stack([np.cos(a) * np.cos(e), np.sin(a) * np.cos(e), np.full_like(a, np.sin(e))], 1)
    return np.array([look_at(target + distance * o, target) for o in offsets]).reshape(-1, 4, 4)


def pinhole(fov: float | int, size: tuple[int, int]) -> Float64[np.ndarray, " 4"]:
    """Intrinsics of square pixels, with the optical axis in the middle. `fov`: degrees across the width."""
    height, width = size
    focal = width / 2 / np.tan(np.radians(fov) / 2)
    return np.array([focal, focal, width / 2, height / 2])


def pixel_rays(
    T_world_cam: Float[np.ndarray, "4 4"], intrinsics: Float[np.ndarray, " 4"], size: tuple[int, int]
) -> tuple[Float64[np.ndarray, " 3"], Float64[np.ndarray, "h w 3"]]:
    """The camera's position, and a unit direction through the centre of every pixel; world axes."""
    fx, fy, cx, cy = intrinsics
    rows, columns = np.indices(size) + 0.5
    rays = np.stack([(columns - cx) / fx, (cy - rows) / fy, np.full(size, -1.0)], -1) @ T_world_cam[:3, :3].T
    return T_world_cam[:3, 3].astype(float), rays / np.linalg.norm(rays, axis=-1, keepdims=True)


class RayCaster:
    """Finds the first face along rays: with embree where embreex is installed; else whole views by rasterisation, which
    gives the same ids, and single rays with trimesh's own search, which is slow. `views` chooses for `cast`.

    Meshes from modelling programs are often double-sided: every triangle has a reversed twin in the same
    place, and which of the two a ray reports is chance. Here it is the one whose front the viewer sees,
    and the lower id among equals, so that ids do not change between views, machines or backends.
    """

    def __init__(
        self, vertices: Float[np.ndarray, "n 3"], faces: Int[np.ndarray, "f 3"], views: Literal["rays", "z-buffer"] | None = None
    ) -> None:
        if len(faces) == 0:
            raise ValueError(f"RayCaster: a mesh of {len(vertices)} vertices and no faces cannot be seen. Give one with triangles.")
        if faces.min() < 0 or faces.max() >= len(vertices):
            raise ValueError(f"RayCaster: faces name vertices {faces.min()}..{faces.max()}, there are {len(vertices)}.")
        import trimesh

        corners = np.asarray(vertices, np.float64)[faces]
        self.anchors = corners[:, 0]
        self.normals = _unit(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
        self._twins, self._group, self._side = _coincident(vertices, faces)
        self._first = trimesh.Trimesh(vertices, faces, process=False).ray.intersects_first
        self._vertices, self._faces = vertices, faces
        self._rasterises = (views or ("rays" if trimesh.ray.has_embree else "z-buffer")) == "z-buffer"

    def cast(self, T_world_cam: Float[np.ndarray, "4 4"], intrinsics: Float[np.ndarray, " 4"], size: tuple[int, int]) -> Hits:
        """The first hit behind the centre of every pixel."""
        origin, directions = pixel_rays(T_world_cam, intrinsics, size)
        origins, directions = np.broadcast_to(origin, (directions[..., 0].size, 3)), directions.reshape(-1, 3)
        if self._rasterises:
            first = rasterised(self._vertices, self._faces, T_world_cam, intrinsics, size).reshape(-1)
            face, points, normals = self._surface(first, origins, directions)
        else:
            face, points, normals = self.trace(origins, directions)
        return Hits(face.reshape(size), points.reshape(*size, 3), normals.reshape(*size, 3))

    def trace(
        self, origins: Float[np.ndarray, "k 3"], directions: Float[np.ndarray, "k 3"]
    ) -> tuple[Int32[np.ndarray, " k"], Float32[np.ndarray, "k 3"], Float32[np.ndarray, "k 3"]]:
        """Face (-1 = none), point and normal of the first hit of each ray."""
        return self._surface(np.asarray(self._first(origins, directions)).astype(np.int32), origins, directions)

    def _surface(
        self, face: Int32[np.ndarray, " k"], origins: Float[np.ndarray, "k 3"], directions: Float[np.ndarray, "k 3"]
    ) -> tuple[Int32[np.ndarray, " k"], Float32[np.ndarray, "k 3"], Float32[np.ndarray, "k 3"]]:
        """Of faces that rays hit: those whose front is seen, and where and how they lie there."""
        face, hit = face.copy(), face >= 0
        face[hit] = self._facing(face[hit], directions[hit])
        points, normals = np.zeros((2, len(face), 3), np.float32)
        n, o, d = self.normals[face[hit]], origins[hit], directions[hit]
        # Embree answers in single precision; the plane of the face it names gives the exact point.
        along = np.einsum("kc,kc->k", n, d)
        depth = np.einsum("kc,kc->k", n, self.anchors[face[hit]] - o) / np.where(along == 0, np.inf, along)
        points[hit] = o + depth[:, None] * d
        normals[hit] = n * np.where(along > 0, -1.0, 1.0)[:, None]
        return face, points, normals

    def _facing(self, face: Int32[np.ndarray, " k"], directions: Float[np.ndarray, "k 3"]) -> Int32[np.ndarray, " k"]:
        """Of the faces that coincide with each hit one, the first whose front looks back along the ray."""
        from_behind = np.einsum("kc,kc->k", self.normals[face], directions) > 0
        group, side = self._group[face], self._side[face]
        twin = self._twins[group, (side ^ from_behind).astype(int)]
        return np.where(twin >= 0, twin, self._twins[group, side.astype(int)])


def _coincident(
    vertices: Float[np.ndarray, "n 3"], faces: Int[np.ndarray, "f 3"]
) -> tuple[Int32[np.ndarray, "g 2"], Int32[np.ndarray, " f"], Bool[np.ndarray, " f"]]:
    """Groups of faces with the same corners: the first face of either orientation, and each face's group and side."""
    _, same = np.unique(np.asarray(vertices, np.float32) + 0.0, axis=0, return_inverse=True)  # + 0.: no negative zero
    corners = same.reshape(-1)[faces]
    start = corners.argmin(1)[:, None]
    turned = np.take_along_axis(corners, (start + np.arange(3)) % 3, 1)  # the smallest corner first
    side = turned[:, 1] > turned[:, 2]
    _, group = np.unique(np.sort(corners, 1), axis=0, return_inverse=True)
    group = group.reshape(-1).astype(np.int32)
    first = np.full((group.max() + 1, 2), -1, np.int32)
    backwards = np.arange(len(faces) - 1, -1, -1)
    first[group[backwards], side[backwards].astype(int)] = backwards  # the last write, the lowest id, stays
    return first, group, side


def observe(caster: RayCaster, cameras: Cameras, view: int, colors: UInt8[np.ndarray, "..."]) -> Observation:
    """The surface as one view sees it.

    `colors` are the mesh's own, [f, 3], or the view's photo, [h, w, 3 or 4], of any resolution: the photo's
    pixels are then the pixel grid, so a reduced photo makes a reduced observation.
    """
    size = (int(cameras.sizes[view][0]), int(cameras.sizes[view][1]))
    grid = colors.shape[:2] if colors.ndim == 3 else size
    reduced = np.array([grid[1] / size[1], grid[0] / size[0]] * 2)  # x, y of focal lengths and of the centre
    hits = caster.cast(cameras.T_world_cam[view], cameras.intrinsics[view] * reduced, grid)
    pixels = np.flatnonzero(hits.mask).astype(np.int32)
    seen = colors[..., :3].reshape(-1, 3)[pixels] if colors.ndim == 3 else colors[hits.face.ravel()[pixels]]
    return Observation(grid, pixels, hits.points.reshape(-1, 3)[pixels], np.ascontiguousarray(seen))


def picture(
    caster: RayCaster,
    albedo: Callable[[Hits], Float32[np.ndarray, "h w 3"]],
    T_world_cam: Float[np.ndarray, "4 4"],
    intrinsics: Float[np.ndarray, " 4"],
    size: tuple[int, int],
    supersample: int = 2,
) -> UInt8[np.ndarray, "h w 4"]:
    """A shaded RGBA picture; alpha is the share of the pixel's s×s rays that hit. Colours 0..1 before shading."""
    s = supersample
    hits = caster.cast(T_world_cam, np.asarray(intrinsics) * s, (size[0] * s, size[1] * s))
    fine = np.concatenate([shade(hits, albedo(hits)), np.ones((*hits.face.shape, 1))], -1) * hits.mask[..., None]
    mean = fine.reshape(size[0], s, size[1], s, 4).mean((1, 3))
    mean[..., :3] /= np.maximum(mean[..., 3:], 1e-9)  # straight alpha: the colour of what was hit, undarkened
    return np.round(255 * mean.clip(0, 1)).astype(np.uint8)


def shade(hits: Hits, albedo: Float[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w 3"]:
    """Matt shading by a sky, a key light and its faint opposite, fixed in the world so that all views agree."""
    key = _unit(np.array([KEY_LIGHT]))[0]
    towards = hits.normals @ key
    light = 0.52 + 0.14 * hits.normals[..., 2] + 0.36 * np.maximum(towards, 0) + 0.10 * np.maximum(-towards, 0)
    return (albedo * light[..., None]).clip(0, 1)


def load_mesh(path: Path | str) -> tuple[Float32[np.ndarray, "n 3"], Int32[np.ndarray, "f 3"]]:
    """Vertices and faces of a mesh file."""
    mesh = load_colored_mesh(path)
    return mesh.vertices, mesh.faces


def load_colored_mesh(path: Path | str) -> Mesh:
    """A mesh file (PLY, OBJ, GLB, …) as triangles with face colours; the nodes of a scene are put together."""
    import trimesh

    path = Path(path)
    if not path.is_file():
        raise ValueError(f"There is no mesh at {path}. Give a PLY, OBJ, GLB, STL or OFF file.")
    try:
        scene = trimesh.load_scene(path, process=False)
        for mesh in scene.geometry.values():
            _with_vertex_colors(mesh)
        nodes = scene.dump()
    except Exception as error:  # trimesh's readers raise whatever their formats raise
        raise ValueError(f"{path} cannot be read as a mesh ({type(error).__name__}: {error}). Give a PLY, OBJ, GLB, STL or OFF file.") from error
    parts = [node for node in nodes if isinstance(node, trimesh.Trimesh) and len(node.faces)]
    if not parts:
        raise ValueError(f"{path} has no triangles (a point cloud?). Give a mesh with faces.")
    first = np.cumsum([0, *(len(part.vertices) for part in parts[:-1])])
    return Mesh(
        np.concatenate([part.vertices for part in parts]).astype(np.float32),
        np.concatenate([part.faces + k for part, k in zip(parts, first, strict=True)]).astype(np.int32),
        np.concatenate([_face_colors(part) for part in parts]),
    )


def _face_colors(mesh) -> UInt8[np.ndarray, "f 3"]:
    """Face colours of a trimesh, from whatever it has: faces, vertices, a material, or its texture at face centres."""
    visual = mesh.visual
    if visual.kind == "texture":
        pictured = getattr(visual.material, "image", None) or getattr(visual.material, "baseColorTexture", None)
        if visual.uv is not None and pictured is not None:
            colors = visual.material.to_color(visual.uv[mesh.faces].mean(1))
        else:
            colors = np.tile(visual.material.main_color, (len(mesh.faces), 1))
    else:
        colors = visual.face_colors if visual.defined else np.full((len(mesh.faces), 3), GREY)
    return np.ascontiguousarray(colors[:, :3], np.uint8)


def _with_vertex_colors(mesh) -> None:
    """Of a glTF mesh with colours and a material without a picture, the product of both as its colours: trimesh drops them in a copy."""
    import trimesh

    colors = getattr(mesh.visual, "vertex_attributes", {}).get("color")
    if colors is None or getattr(mesh.visual.material, "baseColorTexture", None) is not None:
        return
    factor = getattr(mesh.visual.material, "baseColorFactor", None)
    light = _shares(colors) * (1.0 if factor is None else _shares(np.asarray(factor)[None]))
    mesh.visual = trimesh.visual.ColorVisuals(mesh, vertex_colors=_srgb(light))


def _shares(colors: np.ndarray) -> Float[np.ndarray, "n 3"]:
    """Colours 0..1, of floats or of integers that fill their type."""
    return colors[:, :3] / (1.0 if colors.dtype.kind == "f" else float(np.iinfo(colors.dtype).max))


def _srgb(light: Float[np.ndarray, "n 3"]) -> UInt8[np.ndarray, "n 3"]:
    """Linear light 0..1 as pictures have it (IEC 61966-2-1)."""
    share = np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055)
    return (255 * share.clip(0, 1)).round().astype(np.uint8)


def _unit(vectors: Float[np.ndarray, "... 3"]) -> Float[np.ndarray, "... 3"]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-30)
