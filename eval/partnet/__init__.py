"""The evaluation on objects whose part trees are known: PartNet first.

`python -m eval partnet --data DIR` draws objects, asks every method for the names of their parts, and measures how well
the parts are found again by those names. The protocol is docs/partnet.md.

records    what crosses the stages: an object, what it is asked, what a method says of it
readers/   PartNet v0, PartNet-Mobility, PartNeXt, PartObjaverse-Tiny, GLB with a hierarchy: one neutral object
sampling   which objects, by model, with a seed and hashes
pictures/  an object's nodes, rendered from its mesh
methods/   clip-crop, depth-first and other labellers, floors
predicted  the same on the tree that the field finds
work/      one object; many objects, in this process, in several, on a Ray cluster; going on after an interruption
numbers/   records to numbers, one method beside another
page/      the report: tables, figures, best and worst
compare    two evaluations
made/      objects of our own in PartNet's layout
"""

from eval.partnet.readers.mobility import read_mobility

__all__ = ["read_mobility"]
