"""What the commands print: trees and answers, as lines a person reads."""

from collections.abc import Mapping, Sequence

from semquery.labelling import depth_first
from semquery.types import Hit, NodeLabel, PartTree


def print_tree(parts: PartTree, labels: Mapping[int, NodeLabel], most: int = 80) -> None:
    """The tree as indented lines: number, name, points."""
    for shown, part in enumerate(depth_first(parts)):
        if shown == most:
            print(f"  … and {parts.num_parts - most} more (parts.json has all)")
            return
        name = printable(labels[part].name) if part in labels else ""
        print(f"  {'  ' * int(parts.depth[part])}{part:3d}  {name}  ({parts.num_points[part]} points)")


def printable(text: str) -> str:
    """A text as one may send it to a terminal: control characters are spelled out, so that no name or query moves the cursor."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def print_hits(text: str, hits: Sequence[Hit], missing: str = "") -> None:
    """The answers, best first; where there is none, why."""
    if not hits:
        print(f"“{printable(text)}”: not found in this scene. {printable(missing)} (semquery export RUN lists all names.)")
    for rank, hit in enumerate(hits, 1):
        size = " × ".join(f"{e:.3g}" for e in hit.extent)
        which = f"part {hit.part}" if len(hit.members) <= 1 else f"{len(hit.members)} parts ({', '.join(str(m) for m in hit.members)})"
        print(f"{rank}. {printable(' / '.join(hit.path))}   {which}, {100 * hit.probability:.0f} % likely, {hit.scorer} {hit.score:.3f}, "
              f"{hit.num_points} points, {size}")
        for line in hit.reason.splitlines():
            print(f"   {printable(line)}")
