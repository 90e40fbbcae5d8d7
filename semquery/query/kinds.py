"""What kind of thing a name says, and which names a query cannot mean for all that they are spelled alike.

A name's last words say what kind of thing it is: a start button is a button, and so is "button 3"; a "leg of the chair" is a
leg. The words before only tell it from others: a chair leg is no chair. Only a word for a shape or an amount does not say what
a thing is: a lettuce leaf is lettuce. A number at the end is a part of the name.
"""

import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from semquery.phrases import CLAUSES, PLACES
from semquery.query.exact import canonical

_SHAPES = frozenset("leaf slice piece sheet slab strip chunk bit surface area section region set group pair stack pile bunch heap".split())
_ANYTHING = frozenset("part parts piece pieces thing things object objects item items one ones".split())  # "the red part" is of any kind
_BEHIND = re.compile(" (?:of|for|in|on|at|to|with|without|from|under|over|between|behind|that|which) ")
_NUMBER = re.compile(" ([0-9]{1,9})$")


def kinds(text: str) -> list[str]:
    """What a name says that a part is, ever more generally: "chair leg 1" is a chair leg, a leg, and itself."""
    noun = _noun(text)
    return list(dict.fromkeys([canonical(text), *(" ".join(noun[k:]) for k in range(len(noun)))]))


def number_of(text: str) -> int:
    """The number that a name ends in; -1 for none."""
    found = _NUMBER.search(canonical(text))
    return int(found[1]) if found else -1


class Names:
    """The names among some texts, laid out to find those that a query cannot mean."""

    def __init__(self, texts: Sequence[str], is_name: Bool[np.ndarray, " k"]) -> None:
        self._is_name, self._number = is_name, np.array([number_of(text) for text in texts], np.int64)
        self._nouns = [tuple(_noun(text)) for text in texts]
        self._rows: dict[str, list[int]] = {}
        for row in np.flatnonzero(is_name).tolist():
            for word in {*self._nouns[row], *([str(self._number[row])] if self._number[row] >= 0 else [])}:
                self._rows.setdefault(word, []).append(row)

    def otherwise_numbered(self, text: str) -> Bool[np.ndarray, " k"]:
        """Names with another number than the query's: slat 1 is not slat 2."""
        wanted = number_of(text)
        return self._is_name & (self._number >= 0) & (self._number != wanted) if wanted >= 0 else np.zeros(len(self._is_name), bool)

    def of_another_kind(self, text: str) -> Bool[np.ndarray, " k"]:
        """Names that share words with the query but not the last, which says what it is; none for what is no noun."""
        found, noun = np.zeros(len(self._is_name), bool), _noun(text)
        if noun and not _ANYTHING & set(re.findall(r"\w+", text.casefold())[-1:]) and not CLAUSES - {"with"} & set(text.casefold().split()):
            sharing = self._sharing(canonical(text).split())
            found[[row for row in sharing if self._is_other(self._nouns[row], noun)]] = True
        return found

    def _sharing(self, words: Sequence[str]) -> list[int]:
        return sorted({row for word in words for row in self._rows.get(word, ())})

    @staticmethod
    def _is_other(name: Sequence[str], noun: Sequence[str]) -> bool:
        return name[-1] not in (noun[-1], _without_place(noun)[-1], *_SHAPES) and set(name) != set(noun)


def _noun(text: str) -> list[str]:
    """The words of a name up to the first that joins another noun, without a number."""
    return canonical(_NUMBER.sub("", _BEHIND.split(text.casefold().strip(), maxsplit=1)[0])).split()


def _without_place(noun: Sequence[str]) -> list[str]:
    """Without places behind it: a "leg left" is a leg."""
    kept = list(noun)
    while len(kept) > 1 and kept[-1] in PLACES:
        kept.pop()
    return kept
