"""When a query is a name: up to case, articles, the spelling of grey, and number (`The Legs` is `leg`).

Words that join two nouns stay: a door with a handle is no door handle.
"""

import unicodedata

from semquery.phrases import singular
from semquery.text import words

JOINING = frozenset("by for from in of on to with at".split())


def canonical(text: str) -> str:
    """One form for all spellings of a name; empty only for a text without a character to read."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    kept = [word for piece in plain.split() for word in ([piece] if piece in JOINING else words(piece))]
    return singular(" ".join(kept if words(plain) else plain.split()))  # `the part` is made of words that say nothing, and still is a name
