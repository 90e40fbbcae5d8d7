"""A demo scene whose every part is known: a table with a microwave on it, and a chair beside it.

Photos, poses, mesh and the true part tree come out of a few numbers in this file, so the whole method
can be tried and measured with nothing to download.

Conventions
  Metres; z is up, the floor is z = 0, the microwave's front looks towards -y. Parts and their tree as in `procedural`.
"""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from semquery import procedural
from semquery.procedural import KnownScene, Leaf, assemble, box, rod
from semquery.render import ring

OBJECTS = ("table", "microwave", "chair")
FIELD_OF_VIEW = 45.0  # degrees, of every camera
SCENE_CENTRE = (0.0, 0.0, 0.52)
MICROWAVE = (-0.30, 0.03, 0.92)  # its middle
CHAIR = (0.80, -0.05, 0.51)


def build(objects: tuple[str, ...] = OBJECTS) -> KnownScene:
    """The scene with these objects."""
    unknown = set(objects) - set(OBJECTS)
    if unknown or not objects:
        raise ValueError(f"build: objects {objects}; choose one or more of {OBJECTS}.")
    makers = {"table": _table, "microwave": _microwave, "chair": _chair}
    tree = {name: makers[name]() for name in OBJECTS if name in objects}
    return assemble(tree, "scene")


# ------------------------------------------------------------------------------------------ the objects


def _table() -> dict:
    x, y = MICROWAVE[0], MICROWAVE[1]
    legs = {
        f"table leg {k + 1}": Leaf((74, 78, 86), (box((x + 0.60 * sx, y + 0.33 * sy, 0.35), (0.075, 0.075, 0.70), taper=0.6),))
        for k, (sx, sy) in enumerate(product((-1, 1), (-1, 1)))
    }
    return {"table top": Leaf((206, 168, 116), (box((x, y, 0.725), (1.34, 0.80, 0.05), 0.01),), "x"), **legs}


def _microwave() -> dict:
    x, y, z = MICROWAVE
    front = y - 0.21
    body = [box((x, y + 0.005, z + 0.005), (0.66, 0.42, 0.33), 0.012)]
    body += [box((x + sx * 0.26, y + sy * 0.15, z - 0.165), (0.05, 0.05, 0.02)) for sx, sy in product((-1, 1), (-1, 1))]
    rails = [box((x - 0.105 + dx, front - 0.012, z + 0.005 + dz), size, 0.003) for dx, dz, size in (
        (-0.19, 0, (0.05, 0.03, 0.30)), (0.18, 0, (0.07, 0.03, 0.30)),
        (-0.005, 0.1225, (0.32, 0.03, 0.055)), (-0.005, -0.1225, (0.32, 0.03, 0.055)))]
    grip = x + 0.078
    handle = [rod((grip, front - 0.062, z + 0.005), 0.013, 0.25, "z")]
    handle += [box((grip, front - 0.042, z + 0.005 + dz), (0.018, 0.04, 0.018)) for dz in (-0.1, 0.1)]
    return {
        "body": Leaf((198, 201, 205), tuple(body)),
        "door": {
            "door frame": Leaf((96, 100, 108), tuple(rails)),
            "window": Leaf((38, 48, 74), (box((x - 0.110, front - 0.006, z + 0.005), (0.33, 0.012, 0.19)),)),
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
            (52, 168, 83) if start else (240, 238, 232), (box(center, (0.035, 0.014, 0.030), 0.003),))
    return {
        "plate": Leaf((58, 62, 72), (box((x, front - 0.01, z), (0.18, 0.02, 0.30), 0.003),)),
        "display": Leaf((104, 205, 214), (box((x, face - 0.003, z + 0.118), (0.13, 0.006, 0.042)),)),
        "dial": Leaf((212, 48, 42), (rod((x, face - 0.014, z + 0.038), 0.036, 0.028, "y"),)),
        "keypad": {"keypad plate": Leaf((128, 134, 142), (box((x, face - 0.003, z - 0.083), (0.15, 0.006, 0.128)),)), **keys},
    }


def _chair() -> dict:
    x, y, _ = CHAIR
    corners = list(product((-1, 1), (-1, 1)))
    legs = {
        f"chair leg {k + 1}": Leaf((112, 70, 44), (box((x + 0.19 * sx, y + 0.19 * sy, 0.22), (0.05, 0.05, 0.44), taper=0.65),), "z")
        for k, (sx, sy) in enumerate(corners)
    }
    posts = {
        f"post {k + 1}": Leaf((150, 96, 58), (box((x + 0.20, y + 0.19 * sy, 0.75), (0.042, 0.042, 0.54)),), "z")
        for k, sy in enumerate((-1, 1))
    }
    slats = {
        f"slat {k + 1}": Leaf((226, 182, 104), (box((x + 0.20, y, 0.60 + 0.115 * k), (0.022, 0.338, 0.062)),), "y") for k in range(4)
    }
    seat = Leaf((66, 110, 178), (box((x, y, 0.465), (0.48, 0.48, 0.05), 0.014),))
    return {"seat": seat, **legs, "back": {**posts, **slats}}


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
) -> KnownScene:
    """Photos, poses, mesh and truth of the scene, as `procedural.write_scene` lays them out.

    Fewer views than there are take every so-many-th.
    """
    scene = build(objects)
    train, heldout = _thin(cameras(objects), num_views), _thin(cameras(objects, heldout=True), num_heldout)
    procedural.write_scene(folder, scene, train, heldout, size, FIELD_OF_VIEW)
    return scene


def _thin(poses: dict, count: int) -> dict:
    """`count` of the views, evenly spread over the list, so that every group keeps its share."""
    keep = {int(k) for k in (np.arange(count) + 0.5) * len(poses) / max(count, 1)} if count < len(poses) else range(len(poses))
    return {name: T for k, (name, T) in enumerate(poses.items()) if k in keep}
