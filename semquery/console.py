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
        name = labels[part].name if part in labels else ""
        print(f"  {'  ' * int(parts.depth[part])}{part:3d}  {name}  ({parts.num_points[part]} points)")


def print_hits(text: str, hits: Sequence[Hit]) -> None:
    if not hits:
        print(f"“{text}”: nothing in this scene is called anything like it. (semquery export RUN lists all names.)")
    for rank, hit in enumerate(hits, 1):
        size = " × ".join(f"{e:.3g}" for e in hit.extent)
        print(f"{rank}. {' / '.join(hit.path)}   part {hit.part}, relevancy {hit.score:.3f}, {hit.num_points} points, {size}")
        print(f"   {hit.reason}")
