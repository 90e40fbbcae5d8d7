"""Parts that look alike and lie in the same parent: one of them is asked for, the others copy its name.

Alike are parts of one colour and shape whose extents differ by less than a quarter. In a group, the part of which
some view shows most pixels speaks for the others.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace

from semquery.facts import PartFacts
from semquery.types import NodeLabel, PartTree


def speakers(parts: PartTree, facts: Mapping[int, PartFacts], pixels: Mapping[int, int], apart: Collection[int] = ()) -> dict[int, int]:
    """part → the part whose name it copies, for those that copy; parts in `apart` (named already) neither copy nor speak."""
    copies: dict[int, int] = {}
    for parent in range(parts.num_parts):
        speaking: list[int] = []
        for part in sorted((c for c in parts.children(parent) if c not in apart), key=lambda c: (-pixels.get(c, 0), c)):
            speaker = next((s for s in speaking if alike(facts[s], facts[part])), None)
            if speaker is None:
                speaking.append(part)
            else:
                copies[part] = speaker
    return copies


def alike(a: PartFacts, b: PartFacts) -> bool:
    same_look = (a.color, a.second_color, a.shape, a.is_round) == (b.color, b.second_color, b.shape, b.is_round)
    return same_look and a.num_parts == b.num_parts and all(abs(x - y) < 0.25 * max(x, y) + 1e-9 for x, y in zip(a.extent, b.extent, strict=True))


def copied(label: NodeLabel, part: int) -> NodeLabel:
    """The label under another part's number; what was seen of the first stays with the first."""
    return replace(label, part=part, thinking="", raw="", calls=0, parent_suspect=False, reason=f"copied from part {label.part}, which looks alike")
