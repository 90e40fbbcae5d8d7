"""What is said of each part, laid out so that the best of it is found for all parts at once.

Notation
  p parts, k distinct texts, e entries (a text said of a part), b bundles.
Of repeated parts the same is said: four hundred screws share a name, synonyms and a function. All that is said of a part,
in its order, is a bundle; a query looks at every bundle once, however many parts share it.
"""

from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Int64

from semquery.query.exact import canonical
from semquery.query.kinds import Names, kinds, number_of
from semquery.types import Codebook

SYNONYM = 0.05  # a part with the query for a synonym comes that far, in similarity, after one with it for a name


class Entries:
    """The codebook's entries by part; not changed once they are made."""

    def __init__(self, book: Codebook, num_parts: int) -> None:
        self.canonical = tuple(canonical(text) for text in book.texts)
        self._rows_of_kind: dict[str, list[int]] = {}
        for row, text in enumerate(book.texts):
            for form in kinds(text):
                self._rows_of_kind.setdefault(form, []).append(row)
        called = [text for text, field in zip(book.text_of_entry.tolist(), book.fields, strict=True) if field != "function"]
        self.names = Names(book.texts, np.isin(np.arange(len(book.texts)), called))
        self._is_numbered = np.array([number_of(text) >= 0 for text in book.texts], bool)
        self._text_of_entry, self._num_parts = book.text_of_entry, num_parts
        self._rows: dict[str, list[int]] = {}
        for row, form in enumerate(self.canonical):
            self._rows.setdefault(form, []).append(row)
        self._order = np.argsort(book.part_of_entry, kind="stable")  # a part's entries are a slice of it
        self._parts, self._start_of_part = np.unique(book.part_of_entry[self._order], return_index=True)
        said = [(int(book.text_of_entry[entry]), book.fields[entry]) for entry in self._order.tolist()]
        number: dict[tuple, int] = {}
        bounds = pairwise([*self._start_of_part.tolist(), len(said)])
        self._bundle_of_part = np.array([number.setdefault(tuple(said[a:b]), len(number)) for a, b in bounds], np.int64)
        self._count = np.array([len(bundle) for bundle in number], np.int64)
        self._start = np.cumsum(self._count) - self._count
        self._text = np.array([text for bundle in number for text, _ in bundle], np.int64)
        fields = [field for bundle in number for _, field in bundle]
        self._is_name = np.array([f == "name" for f in fields], bool)
        self._is_called = np.array([f in ("name", "synonym") for f in fields], bool)

    def of_kind(self, text: str) -> Bool[np.ndarray, " p"]:
        """Which parts have a name or a synonym that is the text, or ends in it but for a number."""
        found, rows = np.zeros(self._num_parts, bool), self._rows_of_kind.get(canonical(text), [])
        if rows:
            said = np.isin(self._text, rows) & self._is_called
            found[self._parts] = np.logical_or.reduceat(said, self._start)[self._bundle_of_part]
        return found

    def is_numbered(self, text: str) -> bool:
        """Whether a name of that kind has a number."""
        return bool(self._is_numbered[self._rows_of_kind.get(canonical(text), [])].any())

    def rows_called(self, text: str) -> list[int]:
        """Texts that are this one, but for case, articles and number."""
        return self._rows.get(canonical(text), [])

    def called(self, entry: int) -> str:
        """What an entry says, in one form for all spellings of a name."""
        return self.canonical[self._text_of_entry[entry]]

    def best(
        self, lead: Float[np.ndarray, " k"], rows: list[int], own: float
    ) -> tuple[Float[np.ndarray, " p"], Int64[np.ndarray, " p"], Bool[np.ndarray, " p"]]:
        """Of each part the best lead, its entry (the first of equals; -1 where nothing is said), and whether it is called exactly so.

        `rows`: the texts that are the query; parts with one of them for a name or a synonym come before all others, with
        the lead `own` that the query has over itself, or more where another part's is larger.
        """
        best, entry, exact = np.full(self._num_parts, -np.inf), np.full(self._num_parts, -1), np.zeros(self._num_parts, bool)
        if len(self._text):
            said, named = self._said(lead, rows, own)
            highest = np.maximum.reduceat(said, self._start)
            first = self._first(said == np.repeat(highest, self._count))
            best[self._parts] = highest[self._bundle_of_part]
            entry[self._parts] = self._order[self._start_of_part + first[self._bundle_of_part]]
            exact[self._parts] = np.logical_or.reduceat(named, self._start)[self._bundle_of_part]
        return best, entry, exact

    def _said(self, lead: Float[np.ndarray, " k"], rows: list[int], own: float) -> tuple[Float[np.ndarray, " c"], Bool[np.ndarray, " c"]]:
        """The lead of everything in the bundles, and which of it is a name or a synonym that is the query."""
        is_row = np.zeros(len(lead), bool)
        is_row[rows] = True
        said, named = lead[self._text], is_row[self._text] & self._is_called
        if not named.any():
            return said, named
        top = max(own, float(said[~named].max(initial=-np.inf)) + 2 * SYNONYM)
        return np.where(named, np.where(self._is_name, top, top - SYNONYM), said), named

    def _first(self, marked: Bool[np.ndarray, " c"]) -> Int64[np.ndarray, " b"]:
        """The first marked place of each bundle, counted from the bundle's start."""
        places = np.flatnonzero(marked)
        return places[np.searchsorted(places, self._start)] - self._start
