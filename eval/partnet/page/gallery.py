"""What a method found of an object, to look at: pictures of its answers, and the tree with the names that it gave.

Notation
  p nodes of the true tree, a atoms, k queries, h w height and width of the overview.
Conventions
  Pictures are made from the overview that was kept of the object, nothing is rendered. What was found is tinted, what was
  meant is outlined: an answer that is right is a tint that fills its outline, whoever looks at it and in whatever colours.
  A node's name is told apart in three: the very name that is in the truth, another one that is nearest to the right query,
  and one that is not.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, UInt8

from eval.metrics import depths
from eval.metrics.retrieval import iou_curves
from eval.partnet.records import Asked, Record, Said, normalised

TINT = (230, 159, 0)  # of what was found
OUTLINE = (0, 88, 66)  # of what was meant; darker than any tinted grey
GREY = 0.45  # how much of the picture's contrast is left below the tint
LINE = 2  # pixels of an outline

Verdict = Literal["same", "near", "wrong"]


@dataclass(frozen=True)
class Answer:
    """What one query retrieved of one object at one threshold."""

    query: str
    iou: float
    wanted: Bool[np.ndarray, " a"]
    found: Bool[np.ndarray, " a"]


@dataclass(frozen=True)
class Named:
    """One line of the tree: what a node is called in truth and by a method."""

    depth: int
    true: str
    said: str  # "" where the method gave nothing
    verdict: Verdict


def weight_of(record: Record, domain: str) -> Float64[np.ndarray, " a"]:
    """How much each atom counts: area, or points of the data set's own sample. Raises ValueError where there is no such sample."""
    if domain != "points":
        return record.area
    if len(record.points) != len(record.area):
        raise ValueError(f"The record of {record.id} holds no sample of points, but was scored by points; evaluate it with --overwrite.")
    return record.points.astype(np.float64)


def answers(record: Record, method: str, threshold: float, domain: str = "area") -> list[Answer]:
    """What every name of the object retrieves, best first; names of parts without any weight are left out."""
    asked, relevancy = of_kind(record, method)
    weight = weight_of(record, domain)
    wanted = (asked.positive.T @ record.holds) > 0
    found = ((relevancy.astype(np.float64) > threshold).T @ record.holds) > 0
    overlaps = iou_curves(record.holds, weight, asked.positive, relevancy, np.array([threshold]))[:, 0]
    given = [Answer(*row) for row in zip(asked.texts, overlaps.tolist(), wanted, found, strict=True) if np.isfinite(row[1])]
    return sorted(given, key=lambda answer: (-answer.iou, answer.query))


def extremes(found: Sequence[Answer], count: int) -> tuple[list[Answer], list[Answer]]:
    """(best, worst), `count` of each where there are so many; none is in both."""
    best = list(found[:count])
    return best, list(found[max(len(best), len(found) - count):])[::-1]


def of_kind(record: Record, method: str, kind: str = "name") -> tuple[Asked, Float[np.ndarray, "p k"]]:
    """(what was asked, the method's relevancy) of one kind of query. Raises ValueError where the record has no such thing."""
    asked = next((asked for asked in record.asked if asked.kind == kind), None)
    said = record.said.get(method)
    if asked is None or said is None or kind not in said.relevancy:
        raise ValueError(f"The record of {record.id} holds no {kind} queries of {method}; evaluate it again with the same --out.")
    return asked, said.relevancy[kind]


# ------------------------------------------------------------------ names


def named_tree(record: Record, method: str) -> list[Named]:
    """Every node from the root down, parents before their parts, with what the method called it.

    A method that gives no names is told by the query that is nearest to the node, if one is nearer than all others.
    """
    nearest, said, depth = nearest_query(record, method), record.said[method], depths(record.parents)
    return [Named(int(depth[node]), record.names[node], *_said(said, node, record.names[node], nearest[node]))
            for node in preorder(record.parents)]


def counted_lines(names: Sequence[Named]) -> list[tuple[Named, int]]:
    """The tree with leaves of one parent that have the same name, called name and verdict as one, at the first of them, and their number.

    `names` has every node before its parts, as `named_tree` gives them.
    """
    lines: dict[tuple[int, int, Named], int] = {}
    above: list[int] = []  # the nodes that the current one lies in
    for place, node in enumerate(names):
        del above[node.depth:]
        leaf = place + 1 == len(names) or names[place + 1].depth <= node.depth
        one = (above[-1] if above else -1, -1 if leaf else place, node)
        lines[one] = lines.get(one, 0) + 1
        above.append(place)
    return [(node, count) for (_, _, node), count in lines.items()]


def _said(said: Said, node: int, true: str, nearest: str) -> tuple[str, Verdict]:
    """(name, verdict) of one node."""
    name = said.names[node] if said.names else nearest
    if said.names and normalised(name) == true:
        return name, "same"
    return name, "near" if nearest == true else "wrong"


def nearest_query(record: Record, method: str) -> list[str]:
    """Of every node the name query that is most relevant to it; "" where two are, or none is at all."""
    asked, relevancy = of_kind(record, method)
    best = relevancy.max(1, keepdims=True)
    alone = ((relevancy == best).sum(1) == 1) & (best[:, 0] > 0)
    return [asked.texts[k] if single else "" for k, single in zip(relevancy.argmax(1), alone, strict=True)]


def preorder(parents: Int[np.ndarray, " p"]) -> list[int]:
    """Nodes from the root down, each before its parts, siblings by number."""
    parts: list[list[int]] = [[] for _ in parents]
    for node, parent in enumerate(parents[:-1]):
        parts[parent].append(node)
    order, waiting = [], [len(parents) - 1]
    while waiting:
        order.append(node := waiting.pop())
        waiting += reversed(parts[node])
    return order


# ------------------------------------------------------------------ pictures


def overlay(record: Record, wanted: Bool[np.ndarray, " a"], found: Bool[np.ndarray, " a"]) -> bytes:
    """The overview in grey with what was found tinted and what was meant outlined, as WebP. Needs a record with an overview."""
    from PIL import Image

    with Image.open(io.BytesIO(record.overview)) as opened:
        grey = np.asarray(opened.convert("L"))
    tinted, meant = (np.append(some, False)[record.atom_of_pixel] for some in (found, wanted))  # the last place is nothing's, -1
    faded = 255 - GREY * np.arange(255, -1, -1.0)[:, None].repeat(3, 1)  # of each grey, its colour
    colours = np.stack([faded, 0.3 * faded + 0.7 * np.array(TINT)]).astype(np.uint8)
    return webp(_outlined(colours[tinted.astype(np.uint8), grey], meant))


def _outlined(picture: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """With a dark line just outside the mask and a white one around that."""
    from scipy.ndimage import binary_dilation

    line = binary_dilation(mask, iterations=LINE) & ~mask
    halo = binary_dilation(mask, iterations=LINE + 1) & ~line & ~mask
    drawn = picture.copy()
    drawn[halo], drawn[line] = 255, OUTLINE
    return drawn


def visible(record: Record, atoms: Bool[np.ndarray, " a"]) -> bool:
    """Whether the overview shows any of these atoms."""
    shown = record.atom_of_pixel
    return bool(atoms[shown[shown >= 0]].any())


def webp(picture: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """A small file of a picture."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, "WEBP", quality=80)
    return file.getvalue()


def smaller(picture: bytes) -> bytes:
    """A picture as WebP, which takes a fifth of the room of PNG."""
    from PIL import Image

    with Image.open(io.BytesIO(picture)) as opened:
        return webp(np.asarray(opened.convert("RGB")))
