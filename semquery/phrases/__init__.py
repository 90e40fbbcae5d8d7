"""From words to what they ask for, by rules: English, pure text, no model.

A query is a noun phrase: a head ("handle"), how many, which of several ("the second … from the top", "the largest"), how it
stands to other parts ("of the left drawer"), and what is not meant ("but not the green one"). Anchors of relations are
phrases again. "The door without the handle" is the door but for its handle, "the drawer without a handle" the one that has
none, and so is "chair without arms"; "the door with a handle" is one that holds a handle, "not the door" is all but
the door. Nouns are joined where both have an article and nothing else is said of them ("the handle and the knob", "the handle
or the knob": both are shown). Comparisons ("larger than the dial") are not understood.

What no rule understands is a description and stays whole, so parsing never fails; a name that only looks compound
("bottom panel") is for the caller to try first, with the whole `text`, and a part called exactly so wins.
"""

from semquery.phrases.lexicon import CLAUSES, PLACES, is_plural, singular
from semquery.phrases.noun import without_articles
from semquery.phrases.parse import parse
from semquery.phrases.record import KINDS, PICKS, SIDES, SIZES, Order, Phrase, Relation, is_plain

__all__ = [
    "CLAUSES", "KINDS", "PICKS", "PLACES", "SIDES", "SIZES", "Order", "Phrase", "Relation", "is_plain", "is_plural", "parse", "singular",
    "without_articles",
]
