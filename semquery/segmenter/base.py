"""What a segmenter that reasons is asked, and what it answers.

A segmenter looks at one picture and answers a query, by name or by purpose, with the regions that are meant. It is a frozen
dataclass, configuration and callable in one; what it opens (weights, connections) it opens at the first picture, or in `check`,
which is called once before long work starts.

Notation
  h w height and width of the picture, k points, d embedding width.
Conventions
  Pixel (row, column) has its centre at (row + .5, column + .5); boxes and points are (x, y) = (column, row) in pixels of the
  picture that was handed in, whatever size or unit a model answers in. No regions means that what is asked for is not visible.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, UInt8


class SegmenterError(Exception):
    """One picture that failed for good: the model could not be reached, refused, or answered what cannot be read.

    `is_away`: nobody answered, however often it was tried; when that goes on, other pictures will not succeed either.
    """

    def __init__(self, message: str, is_away: bool = False) -> None:
        super().__init__(message)
        self.is_away = is_away


@dataclass(frozen=True)
class Region:
    """One thing in a picture that answers the query."""

    mask: Bool[np.ndarray, "h w"]
    score: float = 1.0  # 0..1; of a SAM the overlap with the truth that it predicts itself
    box: tuple[float, float, float, float] | None = None  # x0 y0 x1 y1, pixels
    points: Float32[np.ndarray, "k 2"] | None = None  # x y of where it was pointed at, pixels
    embedding: Float32[np.ndarray, " d"] | None = None  # of what is meant here, any length; a [SEG] token's, or a crop's
    text: str = ""  # why this is what was asked for
    label: str = ""  # what it is called

    def __post_init__(self) -> None:
        if not np.isfinite(self.score) or not 0 <= self.score <= 1:
            raise ValueError(f"A region's score is {self.score}; expected a number from 0 to 1.")
        if self.embedding is not None and not np.isfinite(self.embedding).all():
            raise ValueError("A region's embedding has values that are not finite.")


@dataclass(frozen=True)
class Context:
    """What is known about a picture."""

    view: str = ""  # its name among the pictures of one scene
    ancestors: tuple[str, ...] = ()  # names of what the picture shows, outermost first: ("chair", "backrest")


@runtime_checkable
class Segmenter(Protocol):
    """A model that segments by reasoning, or something in its place."""

    @property
    def identity(self) -> str:
        """What decides its answers (class, models, prompt, settings), and nothing else: no address, key or number of tries."""

    def check(self) -> str:
        """Open what is needed and try it; one line that says what was found. Raises ValueError when it cannot be used."""

    def segment(self, image: UInt8[np.ndarray, "h w 3"], query: str, context: Context = Context()) -> list[Region]:
        """The regions that answer the query; none where it is not visible. Raises SegmenterError."""
