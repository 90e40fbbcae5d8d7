"""Which view said what, how much it was believed, and which of them see it otherwise than what was found.

Notation
  v views, r regions, f faces.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64
from scipy.sparse import csr_matrix

from semquery.fusion.evidence import Evidence, ViewRegions

AGREES = 0.5  # overlap from which on a view has said what was found
VISIBLE = 0.02  # share of what a view sees that must have been found for its silence to be dissent


@dataclass(frozen=True)
class ViewSaid:
    """One view's answer to one query, beside what was found by all of them."""

    view: str
    weight: float  # how much it was believed, the most is 1; of published modes the score
    num_regions: int
    pixels: int  # that its regions have on the mesh
    found: int  # pixels in which it shows what was found
    iou: float  # of the two
    text: str = ""  # of the region that is believed most
    failed: str = ""  # why nobody answered for it: it neither agrees nor dissents
    dissent: str = ""  # "" | elsewhere: it points at something else | silent: it shows what was found, and says nothing


def said_by_views(
    evidence: Evidence, seen: csr_matrix, mask: Bool[np.ndarray, " f"],
    of_view: Float64[np.ndarray, " v"], of_region: Float64[np.ndarray, " r"], views: Sequence[ViewRegions],
) -> tuple[ViewSaid, ...]:
    """A record for each view. IoU is in pixels: of a face of which a region holds a part, that part counts."""
    found, shown = seen @ mask, np.asarray(seen.sum(1)).reshape(-1)
    return tuple(
        _said(each, evidence, seen[view], mask, float(of_view[view]), of_region, float(found[view]), float(shown[view]), np.flatnonzero(evidence.view == view))
        for view, each in enumerate(views)
    )


def _said(view: ViewRegions, evidence: Evidence, seen: csr_matrix, mask, weight: float, of_region, found: float, shown: float, rows) -> ViewSaid:
    held = csr_matrix(evidence.pixels[rows].sum(0)).minimum(seen)
    pixels, both = float(held.sum()), float((held @ mask)[0])
    union = found + pixels - both
    iou = both / union if union > 0 else 1.0
    texts = [(float(of_region[row]), evidence.regions[row].text) for row in rows if evidence.regions[row].text]
    is_silent = not view.failed and not len(rows) and shown > 0 and found > VISIBLE * shown
    dissent = "silent" if is_silent else "elsewhere" if len(rows) and iou < AGREES else ""
    return ViewSaid(view.name, weight, len(rows), int(pixels), int(found), iou, max(texts)[1] if texts else "", view.failed, dissent)
