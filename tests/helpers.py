"""A scene small enough to check by hand, and what else several tests share.

Twelve points 0..9, a, b; five parts:

    4 scene ─┬─ 3 panel (and point b itself) ─┬─ 0 left knob:  0 1 2 3
             │                                └─ 1 right knob: 4 5 6
             └─ 2 plate: 7 8 9 a
"""

import dataclasses
from pathlib import Path

import numpy as np

from semquery.facts import measure
from semquery.render import ring
from semquery.store import Run
from semquery.types import Cameras, MergeTree, NodeLabel, PartTree, Surface

# which point each pixel of a view shows
DRAWN = {
    "front": ["......", ".0044.", ".1155.", ".2266.", ".33bb.", "......"],
    "close": ["778899", "aa....", "......", "..04..", "......", "......"],
    "above": ["......", ".7788.", ".99aa.", ".....0", ".....1", "......"],
}
RED, BLUE, GREEN = (200, 40, 35), (50, 90, 190), (60, 160, 65)
NAMES = {0: "left knob", 1: "right knob", 2: "plate", 3: "panel", 4: "scene"}


def small_surface() -> Surface:
    part = small_parts().part_of_point
    points = np.array([[x, 0, z] for x, z in
                       [(0, 0), (0, 1), (0, 2), (0, 3), (2, 0), (2, 1), (2, 2), (6, 0), (7, 0), (8, 0), (9, 0), (1, 1)]], np.float32)
    colors = np.array([(RED, RED, BLUE, GREEN)[p] for p in part], np.uint8)
    normals = np.tile(np.array([0, -1, 0], np.float32), (12, 1))
    pixels = {name: np.array([[-1 if c == "." else int(c, 16) for c in row] for row in rows], np.int32) for name, rows in DRAWN.items()}
    return Surface(points, normals, colors, np.zeros((12, 0), np.float16), np.arange(12, dtype=np.int32), 0.5, pixels)


def small_parts() -> PartTree:
    return part_tree([3, 3, 4, 4, 4], [0] * 4 + [1] * 3 + [2] * 4 + [3], altitude=[0.1, 0.1, 0.2, 0.5, 1.0])


def part_tree(parents, part_of_point, altitude=None) -> PartTree:
    altitude = np.linspace(0, 1, len(parents)) if altitude is None else altitude
    return PartTree(np.array(parents, np.int32), np.array(altitude, np.float32), np.array(part_of_point, np.int32),
                    np.zeros((0, 3), np.int32), np.zeros(0, np.float32))


def random_parts(random: np.random.Generator, num_parts: int, num_points: int) -> PartTree:
    """Any tree whose parents come after their children."""
    parents = [int(random.integers(p + 1, num_parts)) for p in range(num_parts - 1)] + [num_parts - 1]
    return part_tree(parents, random.integers(0, num_parts, num_points))


def small_cameras(images: tuple[str, ...] = ("gone/front.png", "gone/close.png", "gone/above.png")) -> Cameras:
    poses = ring(np.array([4.0, 0.0, 1.0]), 10.0, 20.0, np.array([-90.0, -60.0, -120.0]))
    return Cameras(tuple(DRAWN), images, poses, np.tile([5.0, 5.0, 3.0, 3.0], (3, 1)), np.full((3, 2), 6))


def small_labels() -> dict[int, NodeLabel]:
    return {p: NodeLabel(p, name) for p, name in NAMES.items()}


def small_facts():
    return measure(small_surface(), small_parts(), np.array([0.0, 0.0, 1.0]))


def small_run(path: Path) -> Run:
    """A run directory that holds the hand-made scene up to its part tree."""
    run = Run(path, create=True)
    run.write_cameras(small_cameras())
    run.write_surface(small_surface())
    merge = MergeTree(np.array([2, 2, 2], np.int32), np.array([0, 0, 1], np.float32))
    run.write_tree(merge, np.array([[0, 1]]), np.array([0.5]), small_parts())
    return run


def named_run(path: Path) -> Run:
    """The same with its names, encoded by their spelling."""
    from semquery import stages

    run = small_run(path)
    for label in small_labels().values():
        run.append_label(label, "")
    stages.encode(run)
    return run


def write_photo(path: Path, size: tuple[int, int] = (6, 8), color=(10, 200, 30)) -> Path:
    """A photo of one colour, height × width."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, len(color)), color, np.uint8)).save(path)
    return path


def assert_same(a, b) -> None:
    """Two records hold equal values of equal types, arrays included."""
    assert type(a) is type(b)
    for field in dataclasses.fields(a):
        one, other = getattr(a, field.name), getattr(b, field.name)
        if isinstance(one, dict):
            assert one.keys() == other.keys(), field.name
            for key in one:
                np.testing.assert_array_equal(one[key], other[key], err_msg=field.name)
        elif isinstance(one, np.ndarray):
            assert one.dtype == other.dtype, field.name
            np.testing.assert_array_equal(one, other, err_msg=field.name)
        else:
            assert one == other, field.name
