"""The tight boxes of parts, as JSON and as lines to look at.

Conventions
  T_world_box maps coordinates along the sides of a box, from its centre, to the frame of the capture; sizes are in its unit,
  longest side first. A part without a surface point has no box and is left out.
"""

from typing import Any

import numpy as np
from jaxtyping import Int32

from semquery.export.chosen import Chosen
from semquery.export.clouds import element, part_colors, path_comments
from semquery.export.tree import box_json

VERSION = 1


def boxes_json(chosen: Chosen) -> dict[str, Any]:
    """The box of every chosen part, each part before what is inside it."""
    boxes = {node: box_json(chosen.box(node)) for node in chosen.nodes}
    listed = [{"id": node, "path": list(chosen.path(node)), **box} for node, box in boxes.items() if box is not None]
    return {"schema": "semquery/boxes", "version": VERSION, "frame": "capture", "boxes": listed}


def boxes_lines(chosen: Chosen):
    """The twelve edges of every box in the colour of its part (plyfile.PlyData).

    Element `vertex`: x y z, colour and `part`, the corners of one box after another; element `edge`: `vertex1 vertex2`, which are rows
    of `vertex`, and nothing else, since trimesh takes all columns for ends.
    """
    from plyfile import PlyData

    boxes = {node: box for node in chosen.nodes if (box := chosen.box(node)) is not None}
    corners = np.concatenate([np.zeros((0, 3)), *(box.corners for box in boxes.values())]).astype(np.float32)
    of_corner = np.repeat(np.array(list(boxes), np.int32), 8)
    ends = (cube_edges()[None] + 8 * np.arange(len(boxes), dtype=np.int32)[:, None, None]).reshape(-1, 2)
    colors = part_colors(chosen.parts.num_parts)[of_corner]
    vertices = {**dict(zip("xyz", corners.T)), **dict(zip(("red", "green", "blue"), colors.T)), "part": of_corner}
    edges = {"vertex1": ends[:, 0], "vertex2": ends[:, 1]}
    return PlyData([element("vertex", vertices), element("edge", edges)], byte_order="<", comments=path_comments(chosen, boxes))


def cube_edges() -> Int32[np.ndarray, "12 2"]:
    """Pairs of corners of a box, numbered as in `OrientedBox.corners`, that differ in one sign."""
    return np.array([(a, a | bit) for bit in (4, 2, 1) for a in range(8) if not a & bit], np.int32)
