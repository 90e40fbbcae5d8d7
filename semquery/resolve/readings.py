"""Readings of a phrase that depend on what is there: names that look like choices, sides that are no parts, whom a choice is said of.

A part that is called "bottom panel" is that panel, and not the lowest of the panels, also where it is an anchor; so is one
that is called like all of a phrase ("door of the safe").
A relation binds to the noun before it, so "leg of the chair nearest to the door" asks for the nearest chair. Where there is
one chair only, nothing is to be chosen among chairs, and the choice is said of the leg.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from semquery.phrases import PLACES, SIDES, Phrase, Relation, is_plain, without_articles
from semquery.resolve.pool import CALLED, best_called
from semquery.resolve.wording import relation_in_words

Called = Callable[[Phrase], Sequence[tuple[int, float]]]


def reread(phrase: Phrase, called: Called, is_name: Callable[[str], bool]) -> tuple[Phrase, list[str]]:
    """The phrase as the scene lets it be understood, and what was changed."""
    if not is_plain(replace(phrase, number=1)) and is_name(phrase.text):
        return Phrase(without_articles(phrase.text.lower()), phrase.number, text=phrase.text), [f"“{phrase.text}” is taken as a name."]
    if phrase.name and (is_name(phrase.name) or (not called(phrase) and called(Phrase(phrase.name)))):
        return replace(phrase, head=phrase.name, pick="", order=None, name=""), [f"“{phrase.name}” is taken as a name."]
    steps: list[str] = []
    for k, relation in enumerate(phrase.relations):
        anchor = relation.of[0] if len(relation.of) == 1 and not is_name(relation.of[0].text) else Phrase("")
        if anchor.head in PLACES and len(anchor.relations) == 1 and not called(anchor):
            steps.append(f"Nothing here is called “{anchor.head}”, so it is taken as a place.")
            return replace(_with(phrase, k, anchor.relations), pick=f"{phrase.pick} {PLACES[anchor.head]}".strip()), steps
        choice = tuple(r for r in anchor.relations if r.kind in ("nearest", "farthest"))
        place = "" if choice or phrase.pick else _place_behind(anchor)
        if anchor.head and (choice or place) and len(best_called(called(anchor), CALLED)) == 1:
            said = relation_in_words(choice[0]) if choice else place
            steps.append(f"There is one “{anchor.head}” only, so “{said}” is said of the {phrase.head or 'part'}.")
            rest = tuple(r for r in anchor.relations if r not in choice)
            bare = replace(anchor, pick="" if place else anchor.pick, relations=rest, text=anchor.head)
            return replace(_with(phrase, k, (replace(relation, of=(bare,)), *choice)), pick=phrase.pick or place), steps
    return phrase, steps


def _with(phrase: Phrase, k: int, instead: tuple[Relation, ...]) -> Phrase:
    """With other relations in place of the one at k."""
    return replace(phrase, relations=(*phrase.relations[:k], *instead, *phrase.relations[k + 1 :]))


def _place_behind(anchor: Phrase) -> str:
    """The place that stands behind a noun ("the keypad in the middle"), which may be said of another; "" for "the left keypad"."""
    is_place = all(word in (*SIDES, "middle") for word in anchor.pick.split())
    return anchor.pick if is_place and anchor.text and not anchor.text.endswith(anchor.head) else ""
