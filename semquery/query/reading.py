"""What a phrase means where these are the names.

The rules of phrases know no names. Where a part is called like the words of a query, those words are its name. Else, if that
gives names that are there, two nouns in a row are a part of a part ("door window", a window in a door), a part of what has
no name of its own is looked for under both names ("leg of the chair", called chair leg), nouns with "and" or "or" between
them are each asked for, and a number behind a name counts ("slat 2", where all are called slat). "With a handle" is a
description where no part is a handle.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool

from semquery.phrases import Order, Phrase, Relation, is_plain, is_plural, parse, without_articles
from semquery.spans import Spans

MOST_WORDS = 6  # of a noun made of nouns
MOST_SIDES = 8  # of “and” and “or”


@dataclass(frozen=True)
class Reader:
    """Phrases read with the names of a scene at hand."""

    of_kind: Callable[[str], Bool[np.ndarray, " p"]]  # the parts whose name is a text or ends in it
    is_found: Callable[[str], bool]  # whether some part is called or described so
    is_numbered: Callable[[str], bool]  # whether parts of that kind have numbers in their names
    laid: Spans

    def read(self, phrase: Phrase) -> Phrase:
        """The phrase with its nouns taken as names that are there; itself where that gives none."""
        if self._has(phrase.text) and not is_plain(replace(phrase, number=1)):
            return phrase
        if self._describes(phrase):
            return Phrase(without_articles(phrase.text.casefold()), text=phrase.text)
        phrase = self._under_both_names(phrase)
        if not phrase.head or self._has(phrase.head) or (phrase.name and self._has(phrase.name)):
            return self._inner(phrase)
        return self._inner(self._each(phrase) or self._counted(phrase) or self._compound(phrase) or phrase)

    def _has(self, text: str) -> bool:
        return bool(text) and bool(self.of_kind(text).any())

    def _inner(self, phrase: Phrase) -> Phrase:
        """With everything that the phrase speaks of read too."""
        relations = tuple(replace(r, of=tuple(self.read(anchor) for anchor in r.of)) for r in phrase.relations)
        also, exclude = (tuple(self.read(other) for other in others) for others in (phrase.also, phrase.exclude))
        return replace(phrase, relations=relations, also=also, exclude=exclude)

    def _describes(self, phrase: Phrase) -> bool:
        """Whether “with a …” speaks of nothing that is a part."""
        return any(r.kind == "with" and not all(self._has(anchor.head) for anchor in r.of) for r in phrase.relations)

    def _under_both_names(self, phrase: Phrase) -> Phrase:
        """Of "leg of the chair", the chair leg, where nothing is a chair."""
        first = phrase.relations[0] if phrase.relations else None
        if first is None or first.kind != "part_of" or not phrase.head or not is_plain(first.of[0]) or self._has(first.of[0].head):
            return phrase
        both = f"{first.of[0].head} {phrase.head}"
        return replace(phrase, head=both, name="", relations=phrase.relations[1:]) if self._has(both) else phrase

    def _each(self, phrase: Phrase) -> Phrase | None:
        """Of "door and window", the one and the other, where both are there."""
        sides = re.split(" (?:and|or|&) ", phrase.head)
        if not 1 < len(sides) <= MOST_SIDES or not all(sides):
            return None
        read = [self.read(parse(side)) for side in sides]
        if not all(not is_plain(replace(each, number=1)) or self.is_found(each.head) for each in read):
            return None
        if not any(self._has(each.head) for each in read):
            return None
        first = replace(read[0], relations=(*read[0].relations, *phrase.relations), exclude=(*read[0].exclude, *phrase.exclude))
        return replace(first, also=(*first.also, *read[1:], *phrase.also), text=phrase.text)

    def _counted(self, phrase: Phrase) -> Phrase | None:
        """Of "slat 2", the second, where slats have no numbers in their names."""
        found = re.fullmatch("(.+) ([1-9][0-9]{0,2})", phrase.head)
        if not found or phrase.order or not self._has(found[1]) or self.is_numbered(found[1]):
            return None
        return replace(phrase, head=found[1], order=Order(int(found[2])), name="")

    def _compound(self, phrase: Phrase) -> Phrase | None:
        """Of "door window", the window of the door, where a window lies in a door; the longest name first."""
        words = phrase.head.split()
        for k in range(1, len(words) if len(words) <= MOST_WORDS else 0):
            holder, part = " ".join(words[:k]), " ".join(words[k:])
            owner = self.read(Phrase(holder, text=holder)) if self._has(part) else Phrase("")
            if owner.head and self._lies_in(part, owner):
                number = None if phrase.number == 1 and not phrase.order and is_plural(part) else phrase.number
                return replace(phrase, head=part, number=number, name="", relations=(Relation("part_of", (owner,)), *phrase.relations))
        return None

    def _lies_in(self, part: str, owner: Phrase) -> bool:
        holders = np.flatnonzero(self.of_kind(owner.head)).tolist()
        return any(self.of_kind(part)[self.laid.inside(holder)[1:]].any() for holder in holders)
