"""Phrases, relations and lists of parts in words, for the steps and for what could not be answered."""

from collections.abc import Sequence

from semquery.phrases import Phrase, Relation

WORDS = {"part_of": "part of", "left": "left of", "right": "right of", "front": "in front of", "nearest": "nearest to",
         "farthest": "farthest from", "row": "in the same row as", "column": "in the same column as"}


def part_in(item: int | tuple[int, float]) -> int:
    """The part of a part with its score."""
    return item[0] if isinstance(item, tuple) else item


def parts_in_words(items: Sequence[int | tuple[int, float]]) -> str:
    return f"part{'s' if len(items) != 1 else ''} {listed([part_in(item) for item in items])}"


def listed(parts: Sequence[int], most: int = 8) -> str:
    return ", ".join(map(str, parts[:most])) + (f" and {len(parts) - most} more" if len(parts) > most else "")


def relation_in_words(relation: Relation) -> str:
    anchors = " and ".join(f"“{anchor}”" for anchor in relation.of)
    return f"{WORDS.get(relation.kind, relation.kind)} {anchors}"


def named(phrase: Phrase) -> str:
    return f"“{phrase.head}”" if phrase.head else "part"
