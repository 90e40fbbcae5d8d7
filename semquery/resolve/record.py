"""What became of a phrase."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Resolution:
    """The parts a phrase means, and how that was found."""

    members: tuple[int, ...] = ()  # best first; several when several were asked for or the phrase does not tell which
    scores: tuple[float, ...] = ()  # of each member, 0..1
    anchors: tuple[int, ...] = ()  # parts the relations were measured from
    steps: tuple[str, ...] = ()  # what was done, in sentences
    rejected: tuple[tuple[int, str], ...] = ()  # parts that were considered, and why not
    failed: str = ""  # why there is no answer
