"""The part tree as JSON, and the path of names that leads to a part.

Conventions
  Version 2 of `semquery/part-tree`, whose JSON Schema is part_tree.schema.json beside this file. Positions are in the frame
  and unit of the capture's own poses. What is not known is null; nothing is NaN.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Num

from semquery.boxes import OrientedBox
from semquery.export.chosen import Chosen
from semquery.types import NodeLabel, PartTree

VERSION = 2  # 1 had one tree under `root`, without parents and oriented boxes
MOST_LEVELS = 150  # readers of JSON refuse what is nested deeper; every level takes two
DIGITS = 9  # significant ones; points are known to seven


def path_names(parts: PartTree, labels: Mapping[int, NodeLabel], part: int) -> tuple[str, ...]:
    """Names from the top of the tree down to the part; parts without a label are called by their number."""
    return tuple(labels[p].name if p in labels else f"part {p}" for p in parts.path(part))


def tree_json(chosen: Chosen) -> dict[str, Any]:
    """The chosen parts as JSON, each with what is inside it nested under `children`.

    Raises ValueError for a tree of more levels than JSON can nest.
    """
    depth = chosen.parts.depth[list(chosen.nodes)]
    if (levels := int(depth.max() - depth.min()) + 1) > MOST_LEVELS:
        raise ValueError(f"The parts to write are nested {levels} levels deep, and JSON is written of at most {MOST_LEVELS}: "
                         "choose a part further inside.")
    return {"schema": "semquery/part-tree", "version": VERSION, "frame": "capture", "num_points": len(chosen.surface.points),
            "parts": [_node_json(chosen, top) for top in chosen.tops]}


def part_tree_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of what `tree_json` gives."""
    return json.loads((Path(__file__).parent / "part_tree.schema.json").read_text(encoding="utf-8"))


def _node_json(chosen: Chosen, part: int) -> dict[str, Any]:
    return part_json(chosen, part) | {"children": [_node_json(chosen, child) for child in chosen.parts.children(part)]}


def part_json(chosen: Chosen, part: int) -> dict[str, Any]:
    """What is known of one part."""
    parts, label, points = chosen.parts, chosen.labels.get(part), chosen.places(part)
    return {
        "id": int(part), "name": label.name if label else None, "path": list(chosen.path(part)),
        "parent": None if part == parts.root else int(parts.parents[part]), "level": int(parts.depth[part]),
        "synonyms": list(label.synonyms) if label else [], "function": label.function if label else "",
        "confidence": number(label.confidence) if label else None, "source": label.source if label else None,
        "num_points": int(chosen.spans.num_points[part]), "altitude": number(parts.altitude[part]),
        "centre": numbers(points.mean(0)) if len(points) else None,
        "box": [numbers(points.min(0)), numbers(points.max(0))] if len(points) else None,
        "oriented_box": box_json(chosen.box(part)),
    }


def box_json(box: OrientedBox | None) -> dict[str, Any] | None:
    """The pose of a box and the lengths of its sides, longest first; None for no box."""
    return None if box is None else {"T_world_box": [numbers(row) for row in box.T_world_box], "size": numbers(box.extent)}


def numbers(values: Num[np.ndarray, " k"]) -> list[float | None]:
    return [number(value) for value in values]


def number(value: Any) -> float | None:
    """As JSON has it: of so many digits as are known, without a sign at zero; None for what is no finite number."""
    return round(float(f"{value:.{DIGITS}g}"), 12) + 0.0 if np.isfinite(value) else None
