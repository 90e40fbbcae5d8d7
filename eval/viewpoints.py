"""Where to photograph an object from, so that each of its parts is seen: orbits, then close-ups of what they show too small.

Notation
  v views or candidates, p parts, k points. Counts of pixels are those a photo of `REFERENCE` pixels a side would have.
Conventions
  Cameras are T_world_cam (OpenGL), z is up, lengths in the scene's units. Everything is deterministic.
Close-ups are chosen one by one from many candidates: each view adds to what is seen of a part, up to `ENOUGH`
pixels a view and with diminishing returns, so the part seen least decides which view comes next.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Float64, Int

from semquery.procedural import KnownScene
from semquery.render import RayCaster, look_at, pinhole

FIELD_OF_VIEW = 45.0  # degrees
REFERENCE = 128
COARSE = 64  # pixels a side of the views that are only counted
ENOUGH = 150  # pixels of a part in a view, more add nothing
ELEVATIONS = {False: (-15, 15, 45), True: (0, 30)}  # degrees, of the orbits to train on and of those held out
OPENNESS = 0.25  # share of directions in which a camera has to see past the object: it is not inside


def views_of(scene: KnownScene, num_views: int = 48, heldout: bool = False) -> dict[str, Float64[np.ndarray, "4 4"]]:
    """T_world_cam by name: half on orbits around the object, the rest close-ups; held-out views look from between the others."""
    if num_views < 2:
        raise ValueError(f"views_of: {num_views} views; ask for 2 or more, half of them are orbits.")
    caster = RayCaster(scene.vertices, scene.faces)
    orbits = list(orbit_views(scene, (num_views + 1) // 2, heldout))
    seen = np.array([count_pixels(scene, caster, T) for T in orbits])
    candidates = [T for group in groups_of_parts(scene, seen) for T in close_views(scene, group, heldout)]
    candidates = [T for T, is_open in zip(candidates, are_outside(scene, caster, candidates), strict=True) if is_open]
    counts = np.array([count_pixels(scene, caster, T) for T in candidates])
    close = choose(seen, counts, num_views - len(orbits))
    return {**{f"orbit_{k:02d}": T for k, T in enumerate(orbits)}, **{f"close_{k:02d}": candidates[c] for k, c in enumerate(close)}}


def orbit_views(scene: KnownScene, count: int, heldout: bool) -> Iterator[Float64[np.ndarray, "4 4"]]:
    """Cameras all around the object, which fills their frame."""
    points = scene.vertices[np.unique(scene.faces)]
    elevations = ELEVATIONS[heldout]
    for level, elevation in enumerate(elevations):
        share = len(range(level, count, len(elevations)))
        # Levels are turned against each other, and held-out views against those to train on.
        first = level / len(elevations) + 0.5 * heldout
        for azimuth in 360 * (np.arange(share) + first) / max(share, 1):
            yield framed(points, towards(azimuth, elevation))


def towards(azimuth: float, elevation: float) -> Float64[np.ndarray, " 3"]:
    """The unit vector from the object to the camera; degrees, azimuth 0 is +x and 90 is +y."""
    a, e = np.radians(azimuth), np.radians(elevation)
    return np.array([np.cos(a) * np.cos(e), np.sin(a) * np.cos(e), np.sin(e)])


def framed(points: Float[np.ndarray, "k 3"], direction: Float[np.ndarray, " 3"], fill: float = 0.92) -> Float64[np.ndarray, "4 4"]:
    """The nearest camera in this direction from which all points are within the middle `fill` of the frame."""
    points = np.asarray(points, float)
    middle = (points.min(0) + points.max(0)) / 2
    axes = look_at(direction, np.zeros(3))[:3, :3]
    inside = (points - middle) @ axes
    slope = np.tan(np.radians(FIELD_OF_VIEW / 2)) * fill
    return look_at(middle + direction * (np.abs(inside[:, :2]).max(1) / slope + inside[:, 2]).max(), middle)


def count_pixels(scene: KnownScene, caster: RayCaster, T_world_cam: Float[np.ndarray, "4 4"]) -> Float64[np.ndarray, " p"]:
    """Pixels of each part, without the parts inside it."""
    face = caster.cast(T_world_cam, pinhole(FIELD_OF_VIEW, (COARSE, COARSE)), (COARSE, COARSE)).face
    return np.bincount(scene.part_of_face[face[face >= 0]], minlength=len(scene.parents)) * (REFERENCE / COARSE) ** 2


def groups_of_parts(scene: KnownScene, seen: Float[np.ndarray, "v p"]) -> list[Int[np.ndarray, " _"]]:
    """Parts that lie together: the small ones in tight groups, then all of them in wide ones."""
    from scipy.cluster.hierarchy import fcluster, linkage

    owners = np.unique(scene.part_of_face)
    small = owners[seen[:, owners].max(0) < ENOUGH]
    reach = np.linalg.norm(np.ptp(scene.vertices[np.unique(scene.faces)], axis=0))
    groups = []
    for parts, width in ((small, 0.2), (owners, 0.4)):
        if len(parts) < 2:
            groups += [parts] * len(parts)
            continue
        middles = np.array([(points.min(0) + points.max(0)) / 2 for points in (points_of(scene, [part]) for part in parts)])
        cluster = fcluster(linkage(middles, "complete"), width * reach, "distance")
        groups += [parts[cluster == c] for c in np.unique(cluster)]
    return groups


def points_of(scene: KnownScene, parts: Int[np.ndarray, " _"] | list[int]) -> Float[np.ndarray, "k 3"]:
    """The corners of the faces that these parts own."""
    return scene.vertices[np.unique(scene.faces[np.isin(scene.part_of_face, parts)])]


def close_views(scene: KnownScene, group: Int[np.ndarray, " _"], heldout: bool, count: int = 28) -> Iterator[Float64[np.ndarray, "4 4"]]:
    """Candidates all around a group: the group fills the frame or one part spans a quarter of it, and from half as far."""
    points = points_of(scene, group)
    span = np.median([np.linalg.norm(np.ptp(points_of(scene, [part]), axis=0)) for part in group])
    quarter = 2 * span / np.tan(np.radians(FIELD_OF_VIEW / 2))
    for direction in spiral(count, 0.5 * heldout):
        T_world_cam = framed(points, direction)
        middle = (points.min(0) + points.max(0)) / 2
        distance = max(quarter, float(np.linalg.norm(T_world_cam[:3, 3] - middle)))
        yield from (look_at(middle + direction * distance * nearer, middle) for nearer in (1.0, 0.5))


def spiral(count: int, shift: float) -> Iterator[Float64[np.ndarray, " 3"]]:
    """Directions spread evenly over the sphere, from 60 degrees below to 72 above; `shift` in steps of the spiral."""
    for k in range(count):
        height = -0.87 + (k + 0.25 + shift) / count * 1.82
        yield towards(137.50776 * (k + shift), np.degrees(np.arcsin(height)))


def are_outside(scene: KnownScene, caster: RayCaster, poses: list[Float64[np.ndarray, "4 4"]]) -> list[bool]:
    """Whether each camera sees past the object in enough directions; meshes need not be closed."""
    rays = np.array(list(spiral(48, 0.0)))
    origins = np.repeat([T[:3, 3] for T in poses], len(rays), axis=0)
    face, _, _ = caster.trace(origins, np.tile(rays, (len(poses), 1)))
    return ((face < 0).reshape(len(poses), -1).mean(1) >= OPENNESS).tolist()


def choose(seen: Float[np.ndarray, "o p"], counts: Float[np.ndarray, "v p"], num_views: int) -> list[int]:
    """The candidates to add, best first, given what the views so far have `seen`."""
    worth = np.minimum(counts, ENOUGH) / ENOUGH / 3
    have = (np.minimum(seen, ENOUGH) / ENOUGH / 3).sum(0)
    chosen = []
    for _ in range(min(num_views, len(counts))):
        gain = (np.exp(-have) * (1 - np.exp(-worth))).sum(1)
        gain[chosen] = -1
        chosen.append(int(gain.argmax()))
        have = have + worth[chosen[-1]]
    return chosen
