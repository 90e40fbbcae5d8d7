"""The inner part of a phrase: determiner, number, ordinal, superlatives and places, and the head that they stand before."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from semquery.phrases.lexicon import ALL, ANY, DETERMINERS, NAMES, NUMBERS, ORDINALS, PLACES, SUPERLATIVES, is_plural
from semquery.phrases.record import SIDES, SIZES, Order, Phrase
from semquery.phrases.tokens import Token

_JOINS = frozenset("and or & nor".split())


@dataclass
class _Read:
    """What the words before the head said."""

    number: int | None = 1
    counted: bool = False  # a number was said
    rank: int = 0
    picks: list[str] = field(default_factory=list)


def noun(found: Sequence[Token]) -> Phrase:
    """Head, number, order and picks of words, places and directions of counting; the head is "" where they end before it."""
    words = turned([token.value for token in found if token.kind == "word"])
    counts = [token.value for token in found if token.kind == "count"]
    read, head = _Read(), list(words)
    name = ""
    while head and _takes(head, read):
        name = name or (" ".join(head) if read.picks or read.rank else "")
        head.pop(0)
    if read.rank and not counts and len(head) > 1 and head[-1] in ("down", "up"):
        counts = ["top" if head.pop() == "down" else "bottom"]
    picks = read.picks + [side for token in found if token.kind == "place" for side in token.value.split()]
    order, picks = _order(read.rank, counts, picks)
    named = " ".join(head)
    plural = not (read.counted or order) and (is_plural(named) or named in ("everything", "anything"))
    return Phrase(named, None if plural else read.number, order, " ".join(dict.fromkeys(picks)), name=name if named else "")


def turned(words: list[str]) -> list[str]:
    """With "drawer is the second" as "the second drawer"; a verb that nothing follows is dropped."""
    verb = next((k for k, word in enumerate(words) if word in ("is", "are")), None)
    if not verb:
        return words
    said = [w for w in words[verb + 1 :] if w not in DETERMINERS and w not in ("one", "ones")]
    if all(w in SUPERLATIVES or w in ORDINALS or w in PLACES for w in said):
        return said + words[:verb]
    return words


def without_articles(text: str) -> str:
    """Without the determiners that a text begins with, unless there is nothing else."""
    words = text.split()
    while len(words) > 1 and words[0] in ("the", "a", "an"):
        words.pop(0)
    return " ".join(words)


def _takes(words: list[str], read: _Read) -> bool:
    """Whether the first word is no part of the head; what it says goes into `read`."""
    word, last = words[0], len(words) == 1
    following = "" if last else words[1]
    if f"{word} {following}" in NAMES or following in _JOINS:
        return False
    if word in DETERMINERS or (word in ("any", "either", "very", "far") and not last):
        read.counted |= word in ("a", "an")
    elif word in ALL:
        read.number, read.counted = None, True
    elif (number := _number(word)) and (last or is_plural(words[-1]) or words[-1] in ANY):
        read.number, read.counted = (None if read.counted and read.number is None else number), True
    elif rank := _rank(word):
        read.rank = rank
    elif word in SUPERLATIVES or (word in PLACES and not last):
        read.picks.append(SUPERLATIVES.get(word) or PLACES[word])
    else:
        return False
    return True


def _number(word: str) -> int:
    """The number a word says, 0 for none."""
    return 2 if word == "both" else int(word) if re.fullmatch("[1-9][0-9]?", word) else NUMBERS.get(word, 0)


def _rank(word: str) -> int:
    ordinal = re.fullmatch("([1-9][0-9]{0,2})(?:st|nd|rd|th)", word)
    return int(ordinal[1]) if ordinal else ORDINALS.get(word, 0)


def _order(rank: int, counts: list[str], picks: list[str]) -> tuple[Order | None, list[str]]:
    """The place in a row, and the picks that it does not use up: "second largest" counts from the largest."""
    if counts and not rank:
        return None, picks + counts
    if counts or not rank:
        return Order(rank, counts[0]) if rank else None, picks
    along = next((pick for pick in picks if pick in SIDES or pick in SIZES), "")
    return Order(rank, along), [pick for pick in picks if pick != along]
