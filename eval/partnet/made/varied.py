"""Part trees drawn by chance: the objects of `eval.objects` and a table, each taken apart and changed, so that no two are the same.

Notation
  n vertices, f faces of a solid.
Conventions
  Metres, z up, fronts towards -y, as in `semquery.procedural`. A part has either parts or solids, never both and never neither.
What is changed: repeated parts (legs, bars, buttons, drawers, feet) are dropped or kept, other parts are left out, a part may get
a level of its own ("handle" in "handle_unit"), a part of several solids may come apart into pieces, every colour is
another, and each axis is stretched. Of 42 objects of seed 0: 4 to 34 nodes (mean 18), 1 to 7 levels below the root
(median 4), and 31 % of the nodes have a sibling of the same name. PartNet's own: mean 24, 34 % of labels repeated.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from jaxtyping import Float, Float64, Int32

from eval.objects import SCENES
from semquery import tabletop
from semquery.procedural import KnownScene

FEWER = 0.5  # probability that of repeated siblings only some are kept
LEFT_OUT = 0.1  # … that a part without like siblings is left out
CHAIN = 0.08  # … that a part gets a level of its own
PIECES = 0.2  # … that a part of several solids comes apart
STRETCH = (0.7, 1.4)  # of each axis
MOST_PIECES = 6
TRIES = 1000  # draws of an object before the seed is given up


@dataclass(frozen=True)
class Solid:
    """A closed convex body."""

    vertices: Float64[np.ndarray, "n 3"]
    faces: Int32[np.ndarray, "f 3"]  # counter-clockwise from outside


@dataclass(frozen=True)
class Part:
    """A part with all that is in it."""

    name: str
    parts: tuple["Part", ...] = ()
    solids: tuple[Solid, ...] = ()
    color: tuple[int, int, int] = (160, 160, 160)


# ------------------------------------------------------------------ taking scenes apart


def taken_apart(scene: KnownScene) -> Part:
    """The scene's tree with the solids of its leaves; only leaves may own faces, as `assemble` makes them."""
    made: dict[int, Part] = {}
    for node, name in enumerate(scene.names):
        inside = [child for child in range(node) if scene.parents[child] == node]
        mine = np.flatnonzero(scene.part_of_face == node)
        if inside:
            made[node] = Part(name, tuple(made[child] for child in inside))
        else:
            made[node] = Part(name, (), tuple(_solids(scene, mine)), tuple(scene.colors[mine[0]].tolist()))
    return made[len(scene.parents) - 1]


def _solids(scene: KnownScene, faces: Int32[np.ndarray, " f"]) -> Iterator[Solid]:
    """Faces that share corners, together."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    used, corners = np.unique(scene.faces[faces], return_inverse=True)
    corners = corners.reshape(-1, 3)
    ends = corners[:, [0, 1]], corners[:, [1, 2]]
    rows, columns = np.concatenate(ends).T
    count, solid = connected_components(coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(used), len(used))), directed=False)
    for k in range(count):
        mine = corners[solid[corners[:, 0]] == k]
        kept, mine = np.unique(mine, return_inverse=True)
        yield Solid(scene.vertices[used[kept]].astype(np.float64), mine.reshape(-1, 3).astype(np.int32))


def table() -> Part:
    """The table of the demo scene, its legs called alike."""
    whole = taken_apart(tabletop.build(("table",))).parts[0]
    return replace(whole, parts=tuple(replace(part, name=part.name.rstrip(" 0123456789").replace(" ", "_")) for part in whole.parts))


@cache
def kinds() -> dict[str, Part]:
    """What objects are made from, by category; made once, not to be changed."""
    return {"table": table(), **{name: taken_apart(make()) for name, make in SCENES.items()}}


# ------------------------------------------------------------------ changes


def mapped(part: Part, change: Callable[[Part], Part]) -> Part:
    """The tree with every part changed, inner parts first."""
    return change(replace(part, parts=tuple(mapped(child, change) for child in part.parts)))


def walk(part: Part) -> Iterator[Part]:
    """The part and all in it, a part before its parts."""
    yield part
    for child in part.parts:
        yield from walk(child)


def shape_of(part: Part) -> tuple:
    """Names and nesting alone; trees of one shape are equal."""
    return part.name, tuple(map(shape_of, part.parts))


def varied(whole: Part, random: np.random.Generator) -> Part:
    """The object with all the changes drawn."""
    whole = mapped(whole, lambda part: with_fewer(part, random))
    whole = mapped(whole, lambda part: in_pieces(part, random))
    inside = tuple(mapped(part, lambda inner: with_level(inner, random)) for part in whole.parts)
    return recoloured(stretched(replace(whole, parts=inside), random.uniform(*STRETCH, 3)), random)


def with_fewer(part: Part, random: np.random.Generator) -> Part:
    """Some of the repeated parts, and of the others not all; at least one part is left."""
    kept: list[Part] = []
    for name in dict.fromkeys(child.name for child in part.parts):
        alike = [child for child in part.parts if child.name == name]
        if len(alike) > 1 and random.random() < FEWER:
            chosen = random.choice(len(alike), random.integers(1, len(alike) + 1), replace=False)
            kept += [alike[k] for k in sorted(chosen)]
        elif len(alike) > 1 or random.random() >= LEFT_OUT:
            kept += alike
    return replace(part, parts=tuple(kept) or part.parts[:1])


def in_pieces(part: Part, random: np.random.Generator) -> Part:
    """A part of several solids, perhaps as so many pieces."""
    if len(part.solids) < 2 or random.random() >= PIECES:
        return part
    groups = np.array_split(np.arange(len(part.solids)), min(len(part.solids), MOST_PIECES))
    pieces = tuple(Part(f"{part.name}_piece", (), tuple(part.solids[k] for k in group), part.color) for group in groups)
    return Part(part.name, pieces)


def with_level(part: Part, random: np.random.Generator) -> Part:
    """The part, perhaps alone inside another."""
    return Part(f"{part.name}_unit", (part,)) if random.random() < CHAIN else part


def stretched(whole: Part, factors: Float[np.ndarray, " 3"]) -> Part:
    """Every axis by its factor."""
    return mapped(whole, lambda part: replace(part, solids=tuple(Solid(solid.vertices * factors, solid.faces) for solid in part.solids)))


def recoloured(whole: Part, random: np.random.Generator) -> Part:
    """Parts of one colour get another one together."""
    colors = dict.fromkeys(part.color for part in walk(whole) if part.solids)
    channels = random.permutation(3)
    new = {color: tuple(int(value) for value in (np.array(color)[channels] + random.integers(-30, 31, 3)).clip(8, 247)) for color in colors}
    return mapped(whole, lambda part: replace(part, color=new[part.color]) if part.solids else part)


def with_hidden_core(whole: Part) -> Part:
    """The object with one part more, which lies inside the largest solid: no view shows it."""
    solids = [solid for part in walk(whole) for solid in part.solids]
    largest = max(solids, key=lambda solid: float(np.prod(np.ptp(solid.vertices, axis=0))))
    middle = largest.vertices.mean(0)  # of a convex solid, hence inside
    core = Part("core", (), (Solid(middle + 0.3 * (largest.vertices - middle), largest.faces),), (220, 30, 200))
    return replace(whole, parts=(*whole.parts, core))


# ------------------------------------------------------------------ objects


def draw_objects(count: int, seed: int = 0) -> Iterator[Part]:
    """So many objects, no two of one tree; the first ones are the same whatever the count.

    Raises ValueError where no new tree is found: a draw has only so many.
    """
    made, seen = list(kinds().values()), set()
    for k in range(count):
        random = np.random.default_rng((seed, k))
        for _ in range(TRIES):
            drawn = varied(made[k % len(made)], random)
            if shape_of(drawn) not in seen:
                break
        else:
            raise ValueError(f"Object {k} of seed {seed} came out as one before it {TRIES} times; ask for fewer objects.")
        seen.add(shape_of(drawn))
        yield drawn
