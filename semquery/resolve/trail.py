"""What a phrase is resolved in, and the record of how: anchors, steps, and why parts dropped out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from semquery.phrases import Phrase, singular
from semquery.relations import Places
from semquery.resolve.wording import part_in
from semquery.types import PartTree

Scored = list[tuple[int, float]]


class Unanswerable(ValueError):
    """Why a phrase has no answer, as a sentence for the one who asked."""


@dataclass(frozen=True)
class Names:
    """What the parts are called, as the caller's search tells it."""

    candidates: Callable[[str], Sequence[tuple[int, float]]]  # the parts called so, best first, none nested; none where nothing is
    is_name: Callable[[str], bool]  # whether a part is called exactly so
    inside: Callable[[str, int], Sequence[int]]  # the parts in a part that are of the kind its text names, none nested


@dataclass
class Trail:
    """The scene, and what was done in it."""

    names: Names
    places: Places
    parts: PartTree
    anchors: list[int] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    rejected: dict[int, str] = field(default_factory=dict)
    directed: bool = False  # a direction of the frame was used

    def told(self) -> tuple[str, ...]:
        """The steps, and the frame where it mattered."""
        return tuple(self.steps) + ((f"Directions: {self.places.frame.origin}.",) if self.directed else ())

    def called(self, phrase: Phrase) -> Scored:
        """The parts called like the head, by the word as it was said or by its singular."""
        return [(part, score) for part, score in self._said(phrase) if self.places.num_points[part]]

    def unseen(self, phrase: Phrase) -> list[int]:
        """The parts called like the head that have no surface point, so nothing can be measured of them."""
        return [part for part, _ in self._said(phrase) if not self.places.num_points[part]]

    def _said(self, phrase: Phrase) -> Scored:
        found = list(self.names.candidates(phrase.head)) if phrase.head else []
        if not found and phrase.head and singular(phrase.head) != phrase.head:
            found = list(self.names.candidates(singular(phrase.head)))
        return [(int(part), float(score)) for part, score in found]

    def reject(self, pool: Sequence, kept: Sequence, why: str) -> None:
        """Remember why parts dropped out; the first reason stays."""
        staying = {part_in(item) for item in kept}
        for item in pool:
            if part_in(item) not in staying:
                self.rejected.setdefault(part_in(item), why)
