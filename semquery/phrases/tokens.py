"""A query as tokens: words, and the groups of words that say a relation, a place, a direction of counting or an exclusion."""

import re
from dataclasses import dataclass

from semquery.phrases.lexicon import DETERMINERS, NUMBERS, PLACES, SUPERLATIVES


@dataclass(frozen=True)
class Token:
    """A word or a group of words that says one thing."""

    kind: str  # word | relation | place | count | exclude
    value: str  # the word itself; the kind of relation; the places, as in PICKS
    text: str


_PLACE = "|".join(sorted({*PLACES, *(w for w, p in SUPERLATIVES.items() if p in PLACES)}, key=len, reverse=True))
_PLACES = f"(?:very |far )?(?P<{{}}>(?:{_PLACE})(?: (?:{_PLACE}))?)(?: hand)?"
_SETTLED = "(?:located|placed|positioned|found|sitting|standing|lying|resting|hanging|mounted|fixed|fastened|installed)"
_IS = f"(?:(?:that|which) (?:is|are|sits?|lies?|stands?|hangs?) |is |are |sits? |lies? )?(?:{_SETTLED} )?"
_LEAD = f"{_IS}(?:(?:directly|immediately|just|straight|right) )?"
_BEGIN = f"(?:{'|'.join(sorted(DETERMINERS))}|all|both|each|every|which|what|{'|'.join(NUMBERS)}|[0-9]+|{_PLACE})"
_NOUN = f"(?= {_BEGIN}(?!\\S))"  # a noun phrase begins: without one, "on" and "in" mostly belong to a name
_GO_ON = "in|on|at|above|below|under|next|near|between|behind|inside|but|except|from|that|which|and|is|are"
_RELATIONS = {
    "left": "(?:to the left(?: hand)?(?: side)?|on the left|left) of",
    "right": "(?:to the right(?: hand)?(?: side)?|on the right|right) of",
    "nearest": f"(?:the )?(?:closest|nearest)(?: to| from|{_NOUN})",
    "farthest": "(?:the )?(?:farthest|furthest|most distant)(?: away)? from",
    "front": "in front of",
    "row": "(?:in|on) the same (?:row|line) (?:as|with)",
    "column": "in the same column (?:as|with)",
    "without": "(?:(?:that |which )?(?:has|have|with)|having) no|without|lacking",  # “without the handle” is an exclusion
    "with": f"(?:(?:that |which )?has|(?:that |which )?have|with|having){_NOUN}",
    "on": f"on (?:the )?top of|upon|attached to|fixed to|on(?:to)?{_NOUN}",
    "near": f"next to|adjacent to|close to|near to|near|beside|alongside|by{_NOUN}",
    "above": f"above|higher than|over{_NOUN}",
    "below": "below|beneath|underneath|under|lower than",
    "behind": "behind|in back of",
    "between": "in between|between",
    "inside": f"inside of|inside|within|in{_NOUN}",
    "part_of": "belonging to|belongs to|of",
}
_EXCLUDE = ("but not|except for|except|excluding|other than|apart from|aside from|not including|and not|rather than|"
            f"(?:besides|but|minus|not){_NOUN}|without(?= (?:{'|'.join(sorted(DETERMINERS - {'a', 'an'}))})(?!\\S))")
_COUNT = f"(?:(?:counting|counted|starting) )?from (?:the )?(?:very )?(?P<side>{_PLACE})(?: (?:side|end))?(?: to (?:the )?(?:{_PLACE}))?"
# "at the top of the panel" is a place in the panel; "in the back of the chair" may speak of a part called back
_WHERE = (f"{_IS}(?:(?:at|to|on|in) the {_PLACES.format('corner')} (?:side|corner|end|edge|half)(?= (?:of|{_GO_ON})(?!\\S)|$)"
          f"|(?:at|to) the {_PLACES.format('at')}(?= (?:of|{_GO_ON})(?!\\S)|$)"
          f"|in the (?P<amid>middle|centre|center)(?= of )|in (?P<ahead>front|back)$"
          f"|(?:on|in) the {_PLACES.format('side_of')}(?= (?:{_GO_ON})(?!\\S)|$))")
_GRAMMAR = re.compile(
    f"(?<!\\S)(?:(?P<exclude>{_EXCLUDE})|(?P<count>{_COUNT})|"
    + "|".join(f"(?P<{kind}>{_LEAD}(?:{_RELATIONS[kind]}))" for kind in ("left", "right", "nearest", "farthest", "front"))
    + f"|(?P<place>{_WHERE})|"
    + "|".join(f"(?P<{kind}>{_LEAD}(?:{_RELATIONS[kind]}))" for kind in list(_RELATIONS)[5:])
    + ")(?!\\S)"
)


def place(words: str) -> str:
    """Words of place as in PICKS: "upper left" → "top left"."""
    return " ".join({**PLACES, **SUPERLATIVES}[word] for word in words.split())


def tokens(text: str) -> list[Token]:
    """The tokens of a text in lower case with single spaces, from left to right."""
    found, at = [], 0
    for match in _GRAMMAR.finditer(text):
        found += [Token("word", word, word) for word in text[at : match.start()].split()]
        found.append(_token(match))
        at = match.end()
    return found + [Token("word", word, word) for word in text[at:].split()]


def _token(match: re.Match) -> Token:
    if match["exclude"]:
        return Token("exclude", "", match[0])
    if match["count"]:
        return Token("count", place(match["side"]), match[0])
    if match["place"]:
        return Token("place", place(next(match[g] for g in ("corner", "at", "amid", "ahead", "side_of") if match[g])), match[0])
    return Token("relation", next(kind for kind in _RELATIONS if match[kind]), match[0])
