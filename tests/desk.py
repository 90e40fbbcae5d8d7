"""A run that can be looked at: a panel with two knobs above a plate, all in one plane, seen by three cameras in front of it.

The parts are those of `helpers`: 4 scene ─┬─ 3 panel ─┬─ 0 left knob
                                           │           └─ 1 right knob
                                           └─ 2 plate
"""

from pathlib import Path

import numpy as np
from helpers import part_tree, small_labels

from semquery import stages
from semquery.render import ring
from semquery.store import Run
from semquery.types import Cameras, MergeTree, Surface

STEP = 0.05
SIZE = 48  # pixels of the photos
COLORS = np.array([(120, 120, 120), (60, 60, 200), (70, 160, 60), (190, 180, 150), (0, 0, 0)], np.uint8)
CENTRE = np.array([[-0.6, 0.0, 0.5], [0.6, 0.0, 0.5], [0.0, 0.0, -0.8], [0.0, 0.0, 0.5]])  # of each part; of the panel without its knobs


def desk_surface() -> tuple[Surface, np.ndarray]:
    """The surface, and the part of each point."""
    x, z = (axis.ravel() for axis in np.meshgrid(np.arange(-1.5, 1.5, STEP), np.arange(-1.2, 1.2, STEP)))
    knob = [np.hypot(x - CENTRE[k, 0], z - CENTRE[k, 2]) < 0.35 for k in (0, 1)]
    part = np.select([knob[0], knob[1], z < -0.4, z > -0.2], [0, 1, 2, 3], -1)
    points = np.stack([x, np.zeros_like(x), z], 1)[part >= 0].astype(np.float32)
    part = part[part >= 0]
    cameras = desk_cameras()
    pixels = {name: seen(points, cameras, k) for k, name in enumerate(cameras.names)}
    rows = np.arange(len(points), dtype=np.int32)
    return Surface(points, np.tile(np.array([0, -1, 0], np.float32), (len(points), 1)), COLORS[part], np.zeros((len(points), 0), np.float16), rows,
                   STEP, pixels), part


def desk_cameras() -> Cameras:
    poses = ring(np.zeros(3), 4.0, 10.0, np.array([-90.0, -70.0, -110.0]))
    return Cameras(("a", "b", "c"), ("gone/a.jpg", "gone/b.jpg", "gone/c.jpg"), poses, np.tile([50.0, 50.0, SIZE / 2, SIZE / 2], (3, 1)),
                   np.full((3, 2), SIZE))


def seen(points: np.ndarray, cameras: Cameras, k: int) -> np.ndarray:
    """The point that each pixel shows: the first that falls into it, as nothing hides anything."""
    T_world_cam, (fx, fy, cx, cy) = cameras.T_world_cam[k], cameras.intrinsics[k]
    x, y, z = ((points - T_world_cam[:3, 3]) @ T_world_cam[:3, :3]).T
    column, row = np.floor(cx - fx * x / z).astype(int), np.floor(cy + fy * y / z).astype(int)
    drawn = np.full((SIZE, SIZE), -1, np.int32)
    inside = (0 <= row) & (row < SIZE) & (0 <= column) & (column < SIZE)
    drawn[row[inside], column[inside]] = np.flatnonzero(inside)
    return drawn


def desk_run(path: Path) -> Run:
    """A run directory with names, encoded by their spelling."""
    surface, part = desk_surface()
    run = Run(path, create=True)
    run.write_cameras(desk_cameras())
    run.write_surface(surface)
    parts = part_tree([3, 3, 4, 4, 4], part, altitude=[0.1, 0.1, 0.2, 0.5, 1.0])
    run.write_tree(MergeTree(np.array([2, 2, 2], np.int32), np.array([0, 0, 1], np.float32)), np.array([[0, 1]]), np.array([0.5]), parts)
    for label in small_labels().values():
        run.append_label(label, "")
    stages.encode(run)
    return run
