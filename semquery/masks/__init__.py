"""2D masks of a view: where they come from and how they are packed.

A mask source is a frozen dataclass, configuration and callable in one: `source(name, image)` gives the
masks of one view as label layers. Masks may nest and may be empty; they need not agree between views,
which is what the field is for. A source may work at a smaller size than the photo: masks are read by
relative position, so only the aspect ratio has to match.

    Regions      regions of like colour: no weights, the offline default
    MaskFolder   masks made elsewhere
    Sam          a checkpoint of the SAM family
"""

from typing import Any

from semquery.manifest import as_config
from semquery.masks.folder import MaskFolder, load_arrays
from semquery.masks.regions import Regions
from semquery.masks.sam import Sam
from semquery.masks.stacks import (
    containing_mask,
    empty_stack,
    on_white,
    pairwise_iou,
    regions_of,
    shrink,
    stack_masks,
    without_duplicates,
)

MaskSource = Regions | MaskFolder | Sam


def identity(source: MaskSource) -> dict[str, Any]:
    """What decides a source's masks, as JSON: not where it runs, nor where its files happen to lie."""
    return source.identity() if isinstance(source, Sam) else as_config(source)


__all__ = [
    "MaskFolder", "MaskSource", "Regions", "Sam", "containing_mask", "empty_stack", "identity", "load_arrays", "on_white",
    "pairwise_iou", "regions_of", "shrink", "stack_masks", "without_duplicates",
]
