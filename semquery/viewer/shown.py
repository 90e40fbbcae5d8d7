"""What a viewer shows at one moment: plain data that is replaced whole and never changed.

Notation
  p parts, n points of the surface. Parts are numbers of the tree.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float32

from semquery.opened import Answered, Found
from semquery.viewer.loaded import Loaded

Mode = Literal["tint", "isolate", "hide"]
MODES: tuple[Mode, ...] = get_args(Mode)
DEFAULT_LEVEL = 2


@dataclass(frozen=True)
class Heat:
    """How well the parts fit a query: of each part, the best of its own relevancy and that of the parts around it."""

    text: str
    raw: Float32[np.ndarray, " p"]  # 0..1

    def shown(self, threshold: float, normalise: bool) -> Float32[np.ndarray, " p"]:
        """0..1 as it is drawn, NaN below the threshold (of what is drawn); normalised: the scene's least is 0 and its most is 1."""
        low, high = float(self.raw.min(initial=1.0)), float(self.raw.max(initial=0.0))
        value = (self.raw - low) / (high - low) if normalise and high > low else self.raw
        return np.where(value >= threshold, value, np.nan).astype(np.float32)


@dataclass(frozen=True)
class Shown:
    """All that a viewer shows, at one moment."""

    loaded: Loaded | None = None  # None while there is no part tree
    version: int = 0  # grows with every change
    level: int = DEFAULT_LEVEL  # of the tree: what the output of parts colours, and what a click selects
    lit: tuple[int, ...] = ()  # the selected parts, none inside another; several where several answer together
    trail: tuple[int, ...] = ()  # from below the root to the smallest part at the spot that was clicked: the way down
    mode: Mode = "tint"  # how the selection stands out
    query: str = ""
    found: tuple[Found, ...] = ()  # what answers the query, best first
    heat: Heat | None = None
    threshold: float = 0.5
    normalise: bool = False
    negatives: tuple[str, ...] = ()  # what a hit has to beat; () = those of the codebook
    history: tuple[str, ...] = ()  # queries, newest first
    question: str = ""
    answered: Answered | None = None
    busy: str = ""  # what is being worked out
    message: str = ""  # what came of the last action, in a sentence; plain text
    below: tuple[tuple[int, ...], ...] = ()  # the selections that were walked up from, the last one last

    @property
    def part(self) -> int | None:
        """The first selected part."""
        return self.lit[0] if self.lit else None

    @property
    def rank(self) -> int | None:
        """Which of `found` is selected, from 0."""
        return next((rank for rank, found in enumerate(self.found) if self.lit == self.lit_by(found.members)), None)

    @cached_property
    def visible(self) -> Bool[np.ndarray, " n"] | None:
        """Which points are seen, by the mode; None for all of them."""
        if self.loaded is None or not self.lit or self.mode == "tint":
            return None
        is_lit = self.loaded.spans.point_mask(*self.lit)
        return is_lit if self.mode == "isolate" else ~is_lit

    def lit_by(self, parts: Sequence[int]) -> tuple[int, ...]:
        """The highest of these parts, in preorder: what is lit when they are selected. Numbers that no part has are left out."""
        if self.loaded is None:
            return ()
        return tuple(self.loaded.spans.highest(part for part in parts if 0 <= part < self.loaded.tree.num_parts))
