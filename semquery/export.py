"""What leaves a run: labelled point clouds and the part tree, as data for others to write.

Colours of parts are distinct and stable: they follow from the part's number alone.
"""

import colorsys
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, UInt8

from semquery.types import NodeLabel, PartTree, Surface


def point_cloud(points: Float[np.ndarray, "n 3"], colors: UInt8[np.ndarray, "n 3"], normals: Float[np.ndarray, "n 3"], **columns: np.ndarray):
    """A binary little-endian PLY (plyfile.PlyData): x y z, nx ny nz, red green blue, and any further columns [n]."""
    from plyfile import PlyData, PlyElement

    named = {
        **dict(zip("xyz", points.T.astype(np.float32))),
        **dict(zip(("nx", "ny", "nz"), normals.T.astype(np.float32))),
        **dict(zip(("red", "green", "blue"), colors.T)),
        **columns,
    }
    rows = np.empty(len(points), dtype=[(name, column.dtype.str) for name, column in named.items()])
    for name, column in named.items():
        rows[name] = column
    return PlyData([PlyElement.describe(rows, "vertex")], byte_order="<")


def part_colors(num_parts: int) -> UInt8[np.ndarray, "p 3"]:
    """One colour per part: hues by the golden ratio, so that neighbours in number differ most."""
    rows = [colorsys.hsv_to_rgb((0.11 + 0.6180339887 * i) % 1, (0.85, 0.6, 0.7)[i % 3], (0.9, 0.95, 0.7)[i // 3 % 3]) for i in range(num_parts)]
    return (np.array(rows).reshape(-1, 3) * 255).round().astype(np.uint8)


def path_names(parts: PartTree, labels: dict[int, NodeLabel], part: int) -> tuple[str, ...]:
    """Names from the top of the tree down to the part; parts without a label are called by their number."""
    return tuple(labels[p].name if p in labels else f"part {p}" for p in parts.path(part))


def labelled_cloud(surface: Surface, parts: PartTree, colors: UInt8[np.ndarray, "p 3"] | None = None):
    """The surface with the part of every point as a column `part`, and its depth in the tree as `level`."""
    colors = part_colors(parts.num_parts) if colors is None else colors
    return point_cloud(surface.points, colors[parts.part_of_point], surface.normals,
                       part=parts.part_of_point.astype(np.int32), level=parts.depth[parts.part_of_point].astype(np.uint8))


def highlighted_cloud(surface: Surface, parts: PartTree, hits: Sequence[Int[np.ndarray, " _"]]):
    """The surface in muted grey, the first hit's points in bright red, those of further hits in orange; column `hit` = rank, 0 = none."""
    grey = surface.colors.astype(np.float32).mean(1, keepdims=True)
    colors, rank = np.repeat(140 + 0.4 * (grey - 128), 3, axis=1), np.zeros(len(surface.points), np.int32)
    for i in reversed(range(len(hits))):
        colors[hits[i]], rank[hits[i]] = ((235, 30, 30) if i == 0 else (250, 160, 60)), i + 1
    return point_cloud(surface.points, colors.round().clip(0, 255).astype(np.uint8), surface.normals, part=parts.part_of_point, hit=rank)


def tree_json(surface: Surface, parts: PartTree, labels: dict[int, NodeLabel]) -> dict:
    """The part tree as JSON: schema, unit-free facts of every part, nested children."""
    return {"schema": "semquery/part-tree", "version": 1, "num_points": len(surface.points),
            "root": _node_json(surface, parts, labels, parts.root)}


def _node_json(surface: Surface, parts: PartTree, labels: dict[int, NodeLabel], part: int) -> dict:
    points = surface.points[parts.points_of(part)]
    label = labels.get(part)
    facts: dict = {"id": part, "name": label.name if label else None, "path": list(path_names(parts, labels, part)),
                   "num_points": int(len(points)), "altitude": float(parts.altitude[part])}
    if len(points):
        facts |= {"centre": _rounded(points.mean(0)), "box": [_rounded(points.min(0)), _rounded(points.max(0))]}
    if label:
        facts |= {"synonyms": list(label.synonyms), "function": label.function, "confidence": label.confidence, "source": label.source}
    return facts | {"children": [_node_json(surface, parts, labels, c) for c in parts.children(part)]}


def _rounded(values: Int[np.ndarray, " k"] | Float[np.ndarray, " k"]) -> list[float]:
    return [round(float(v), 5) for v in values]
