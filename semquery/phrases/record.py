"""What a query asks for, taken apart: a head noun, a number, a place in a row, relations to other parts, exclusions."""

from dataclasses import dataclass

KINDS = ("part_of", "above", "below", "left", "right", "front", "behind", "near", "nearest", "farthest", "inside", "on", "between",
         "row", "column", "without", "with")
SIDES = ("top", "bottom", "left", "right", "front", "back")
SIZES = ("largest", "smallest", "longest", "shortest", "tallest", "widest", "narrowest", "thickest", "thinnest")
PICKS = (*SIDES, "middle", *SIZES)


@dataclass(frozen=True)
class Order:
    """A place in a row: “the second … from the top”."""

    rank: int  # from 1; -1 is the last, -2 the last but one
    along: str = ""  # one of SIDES or SIZES that is counted from; "" = not said


@dataclass(frozen=True)
class Relation:
    """How what is asked for stands to other parts."""

    kind: str  # one of KINDS
    of: tuple["Phrase", ...]  # one; of between two, or one that names several parts


@dataclass(frozen=True)
class Phrase:
    """A query taken apart. What no rule understands stays whole in `head`."""

    head: str  # what it is called or described as; "" = any part
    number: int | None = 1  # how many are wanted; None = all
    order: Order | None = None
    pick: str = ""  # one of PICKS or several, such as "top left"
    relations: tuple[Relation, ...] = ()
    exclude: tuple["Phrase", ...] = ()
    also: tuple["Phrase", ...] = ()  # what is asked for beside it: "the handle and the knob"
    text: str = ""  # the words it was made from
    name: str = ""  # the noun with the words before it that were taken for a choice, which may be a name: "bottom panel"

    def __str__(self) -> str:
        return self.text or self.head or "any part"


def is_plain(phrase: Phrase) -> bool:
    """Whether the phrase is nothing but a name or a description of one part."""
    return phrase.number == 1 and not (phrase.order or phrase.pick or phrase.relations or phrase.exclude or phrase.also)
