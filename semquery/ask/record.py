"""What a question is about, and what comes of it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float64, UInt8

from semquery.labelling.parse import one_line
from semquery.query import Searcher
from semquery.relations import Places
from semquery.spans import Spans
from semquery.types import Cameras, NodeLabel, PartTree, Surface

SURE_NOT_KNOWN = "not known: the model gives no log-probabilities (--agreement N asks it N times more)"


@dataclass(frozen=True)
class Subject:
    """The scene that is asked about; only read, by any number of threads."""

    surface: Surface
    parts: PartTree
    cameras: Cameras
    searcher: Searcher
    places: Places  # in the frame that above, left and behind are meant in
    photo: Callable[[str], UInt8[np.ndarray, "_ _ 3"]]  # view → photo on white
    supporting: tuple[str, ...] | None = None  # the views that the tree's supports count; None = all that show the surface

    @property
    def labels(self) -> dict[int, NodeLabel]:
        return self.searcher.labels

    @cached_property
    def laid(self) -> Spans:
        """The tree laid out with what the views show of it."""
        laid = self.searcher.laid
        return laid if laid.sizes or not self.surface.point_of_pixel else Spans(self.parts, self.surface)

    @cached_property
    def names(self) -> dict[int, str]:
        """What each part is called, as one line; parts without a name are left out."""
        known = {part: one_line(label.name, 80) for part, label in self.labels.items() if label.status != "failed" and label.name != "unknown"}
        return {part: name for part, name in known.items() if name and 0 <= part < self.parts.num_parts}

    def name(self, part: int) -> str:
        return self.names.get(part, "unnamed")

    def lead(self, question: str) -> Float64[np.ndarray, " p"]:
        """How well each part fits the words of a question; 0 for all where its encoder knows nothing of them."""
        try:
            lead = self.searcher.match(question).lead
        except ValueError:  # such as a question in a language that the encoder cannot read
            return np.zeros(self.parts.num_parts)
        known = np.isfinite(lead)
        return np.where(known, lead, lead[known].min(initial=0.0)).astype(np.float64)


@dataclass(frozen=True)
class Considered:
    """A part that matters for a question."""

    part: int
    role: str  # candidate: it may be what is asked for; anchor: it helps to tell
    why: str


@dataclass(frozen=True)
class AskAnswer:
    """What answers a question, and how that was come to."""

    question: str
    targets: tuple[int, ...] = ()  # the parts that are the answer; none holds another, unless both were named
    explanation: str = ""
    relevant: tuple[Considered, ...] = ()  # the anchors and candidates that the answer was chosen among
    rejected: tuple[tuple[int, str], ...] = ()  # parts that were considered, and why not
    sure: float = 0.5  # 0..1
    sure_by: str = SURE_NOT_KNOWN  # where that number is from
    method: str = ""  # model NAME | symbolic | names
    frame: str = ""  # what above, left and behind mean, in words
    steps: tuple[str, ...] = ()  # what was done, in sentences
    calls: int = 0  # requests that were made, now or when they were recorded
    failed: str = ""  # why there is no answer

    @property
    def anchors(self) -> tuple[int, ...]:
        return tuple(each.part for each in self.relevant if each.role == "anchor")

    @property
    def candidates(self) -> tuple[int, ...]:
        return tuple(each.part for each in self.relevant if each.role == "candidate")

    def after(self, *steps: str) -> "AskAnswer":
        """The answer with what was done before."""
        return replace(self, steps=(*steps, *self.steps))
