"""One text against all that is said of the parts.

Everything that does not depend on the query is worked out once; a query then costs one product of the distinct texts with
its vector and a maximum per part.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64

from semquery.phrases import singular
from semquery.query.calibrate import CALIBRATIONS, nearness_of
from semquery.query.config import QueryConfig
from semquery.query.entries import Entries
from semquery.query.scorers import SUITED, background, hybrid, leads, other_names, scores, strongest_negative
from semquery.text import PictureEncoder, TextEncoder
from semquery.types import Codebook

OTHER = 0.4  # share of its similarity that a name keeps which only looks like the query: “chair leg” for a chair
LONGEST = 1000  # characters of a query; what is longer is neither a name nor a description of a part


@dataclass(frozen=True)
class Match:
    """How well every part fits one query."""

    score: Float[np.ndarray, " p"]  # 0..1; 0 where nothing is known of a part
    lead: Float[np.ndarray, " p"]  # similarity less what has to be beaten; minus infinity where nothing is known
    entry: Int64[np.ndarray, " p"]  # of the codebook, the one that fits best; -1 where nothing is said
    exact: Bool[np.ndarray, " p"]  # the query is the part's name or a synonym
    nearness: float  # of the best text: see calibrate.py
    probability: float  # that the scene has what is asked for, as far as the texts tell (pictures order the parts, no more); 1 for a name


class Matcher:
    """A codebook with its encoders; not changed by matching."""

    def __init__(self, book: Codebook, num_parts: int, encoder: TextEncoder, config: QueryConfig, picture_encoder: PictureEncoder | None) -> None:
        """Raises ValueError for a codebook that other encoders have made."""
        check_encoder(book.encoder, encoder)
        self.pictures = picture_encoder if len(book.pictures) else None
        if self.pictures is not None:
            check_encoder(book.picture_encoder, self.pictures)
        self.book, self.encoder, self.config, self.num_parts = book, encoder, config, num_parts
        self.scorer = SUITED[encoder.kind] if config.scorer == "auto" else config.scorer
        self.entries = Entries(book, num_parts)
        self._strongest = strongest_negative(book.vectors, book.negatives)
        self._bank = book.bank[other_names(book.bank, book.vectors)]

    def match(self, text: str) -> Match:
        """How well every part fits the text. Raises ValueError for one that says nothing to the encoder.

        A plural is looked for as its singular: parts are named one by one, and spelling alone sees little of a leg in legs.
        """
        rows, vector = self.entries.rows_called(text), self.encoder.queries([singular(text.strip())])[0]
        if not vector.any() and not rows:
            raise ValueError(unknown(text, self.encoder.kind))
        return self.match_vector(vector, rows, self._like_pictures(text) if self.pictures is not None else None, self._other(text))

    def match_vector(
        self, vector: Float32[np.ndarray, " d"], rows: list[int], picture: Float[np.ndarray, " p"] | None = None,
        other: Bool[np.ndarray, " k"] | None = None,
    ) -> Match:
        """The same for an encoded query.

        `rows`: texts of the codebook that are the query itself. `picture`: the query's similarity to each part's picture.
        `other`: texts that it cannot mean, however like it they are.
        """
        behind, similarity = background(self._bank, vector), self.book.vectors @ vector
        if other is not None:
            similarity = np.where(other & (similarity > 0), OTHER * similarity, similarity)
        own = leads(self.scorer, np.ones(1), strongest_negative(vector[None], self.book.negatives), behind)
        lead, entry, exact = self.entries.best(leads(self.scorer, similarity, self._strongest, behind), rows, float(own[0]))
        if picture is not None:
            lead = self._with_pictures(lead, exact, picture)
        score = np.where(exact, 1.0, scores(self.scorer, lead, behind, self.config.temperature))
        nearness = nearness_of(float(similarity.max(initial=-1.0)), behind)
        chance = 1.0 if exact.any() else float(CALIBRATIONS[self.encoder.kind].probability(nearness))
        return Match(score, lead, entry, exact, nearness, chance)

    def _other(self, text: str) -> Bool[np.ndarray, " k"]:
        """Texts that the query cannot mean: of another number; by spelling, which knows no better, of another kind."""
        numbered = self.entries.names.otherwise_numbered(text)
        return numbered | self.entries.names.of_another_kind(text) if self.encoder.kind == "lexical" else numbered

    def _like_pictures(self, text: str) -> Float[np.ndarray, " p"]:
        """How near the text is to the picture of each part; NaN for those without."""
        similarity = np.full(self.num_parts, np.nan)
        similarity[self.book.part_of_picture] = self.book.pictures @ self.pictures.queries([singular(text.strip())])[0]
        return similarity

    def _with_pictures(
        self, lead: Float[np.ndarray, " p"], exact: Bool[np.ndarray, " p"], picture: Float[np.ndarray, " p"]
    ) -> Float[np.ndarray, " p"]:
        """The hybrid's leads; parts that are called exactly so stay before all others."""
        mixed = hybrid(np.where(np.isfinite(lead), lead, np.nan), picture, self.config.alpha)
        mixed = np.where(np.isnan(mixed), -np.inf, mixed)
        return np.where(exact, lead + max(0.0, float(mixed.max()) - float(lead[exact].min(initial=np.inf))), mixed)


def check_encoder(made_by: str, encoder: TextEncoder) -> None:
    """Vectors of two encoders cannot be compared: raises ValueError that names both."""
    if encoder.identity != made_by:
        raise ValueError(f"The codebook was made by {made_by}, the query is encoded by {encoder.identity}. Take the same encoder, "
                         "or make the codebook anew with this one: semquery encode RUN encoder:… --overwrite")


def checked(text: str) -> str:
    """A query that can be read. Raises ValueError for one that is blank or very long."""
    if not text.strip():
        raise ValueError("The query is empty; say what to look for, such as “handle” or “the second drawer from the top”.")
    if len(text) > LONGEST:
        raise ValueError(f"The query has {len(text)} characters, and at most {LONGEST} are read; name the part, or say in a sentence what it is for.")
    return text


def unknown(text: str, kind: str) -> str:
    """Why nothing can be searched for."""
    met = f"The query {text!r} has no word to search for: the encoder knows none of it."
    if kind != "lexical":
        return met
    return f"{met} It knows spelling alone: ask with the words of the names, in their language, or encode with a model that knows yours."
