"""How well what is said of a part fits a query, as numbers that can be compared.

Notation
  k texts (codebook rows), d embedding width, j negatives, b bank names, p parts. Rows are of unit length (or zero), so a
  scalar product s = text · query is a cosine.
Every scorer gives a text a lead, in units of similarity: by how much it is nearer to the query than what it has to beat.
A score is the lead read as a number 0..1; it grows with the lead, so for one query both give the same order.

  lerf    The lead is s - max_j(text · negative_j); the score is LERF's relevancy (Kerr et al., ICCV 2023), the least over
          the negatives of e^{T s} / (e^{T s} + e^{T n_j}) with T = 10. .5: no more like the query than like a negative.
          Departure: LERF's phi is the embedding of an image, here it is the embedding of what is said about the part.
  cosine  The lead is s, and so is the score, 0 where s is negative.
  zscore  The lead is s - mean_b(query · bank_b); the score is the share of a normal distribution that lies below
          lead / std_b(query · bank_b): the percentile that the text would have among generic names of parts. A spread
          below .05 counts as .05: an encoder by spelling finds hardly any generic name near a rare word.
The bank says what else might be meant. A bank name within a cosine of .95 of a text of the scene, or of the query itself,
says the same and is left out: it would count against the very part that is asked for.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

# scorer by kind of encoder; by spelling, texts without a word in common are not alike at all: there is no noise to be told from
SUITED = {"clip": "lerf", "sentence": "zscore", "lexical": "cosine"}
LEAST_SPREAD = 0.05
NEARLY = 0.95


@dataclass(frozen=True)
class Background:
    """How near a query is to what else it might mean."""

    mean: float
    spread: float  # standard deviation, at least LEAST_SPREAD


def background(bank: Float[np.ndarray, "b d"], query: Float[np.ndarray, " d"]) -> Background:
    """The query's similarities to the bank, but for names that all but say the query; of an empty bank, those to nothing at all."""
    near = bank @ query
    near = near[near < NEARLY]
    if not len(near):
        return Background(0.0, LEAST_SPREAD)
    return Background(float(near.mean()), max(float(near.std()), LEAST_SPREAD))


def strongest_negative(vectors: Float[np.ndarray, "k d"], negatives: Float[np.ndarray, "j d"]) -> Float[np.ndarray, " k"]:
    """How near each row is to the nearest negative; without negatives, 0."""
    return (vectors @ negatives.T).max(1) if len(negatives) else np.zeros(len(vectors), vectors.dtype)


def other_names(bank: Float[np.ndarray, "b d"], vectors: Float[np.ndarray, "k d"]) -> Bool[np.ndarray, " b"]:
    """The bank names that no text of the scene says, or nearly says."""
    return (bank @ vectors.T).max(1) < NEARLY if len(vectors) else np.ones(len(bank), bool)


def leads(
    scorer: str, similarity: Float[np.ndarray, " k"], strongest: Float[np.ndarray, " k"], behind: Background
) -> Float[np.ndarray, " k"]:
    """The lead of each text; `strongest` are its similarities to the nearest negative."""
    return {"lerf": lambda: similarity - strongest, "cosine": lambda: similarity, "zscore": lambda: similarity - behind.mean}[scorer]()


def scores(scorer: str, lead: Float[np.ndarray, " k"], behind: Background, temperature: float) -> Float[np.ndarray, " k"]:
    """Leads read as numbers 0..1; a lead of minus infinity is 0."""
    if scorer == "cosine":
        return np.clip(lead, 0, 1)
    from scipy.special import expit, ndtr

    return expit(temperature * lead) if scorer == "lerf" else ndtr(lead / behind.spread)


def relevancy(
    vectors: Float[np.ndarray, "k d"], query: Float[np.ndarray, " d"], negatives: Float[np.ndarray, "j d"], temperature: float = 10.0
) -> Float[np.ndarray, " k"]:
    """LERF relevancy of each row, 0..1; without negatives, against a similarity of 0."""
    lead = vectors @ query - strongest_negative(vectors, negatives)  # the least softmax is the one against the strongest
    return scores("lerf", lead, Background(0.0, LEAST_SPREAD), temperature)


def hybrid(text: Float[np.ndarray, " p"], picture: Float[np.ndarray, " p"], alpha: float) -> Float[np.ndarray, " p"]:
    """alpha·z(text) + (1 - alpha)·z(picture), z-scored over the scene's parts and read on the scale of `text` again.

    A part that has only one of the two (NaN in the other) goes by that one, a part with neither stays NaN. With alpha = 1
    every part that has a text keeps its lead, so leads of all scorers mean the same with and without pictures.
    """
    z_text, mean, spread = _standardised(text)
    z_picture, _, _ = _standardised(picture)
    both = alpha * z_text + (1 - alpha) * z_picture
    return np.where(np.isnan(picture), z_text, np.where(np.isnan(text), z_picture, both)) * spread + mean


def _standardised(values: Float[np.ndarray, " p"]) -> tuple[Float[np.ndarray, " p"], float, float]:
    """z-scores of what is known, with mean and standard deviation; equal values are all 0."""
    known = values[~np.isnan(values)]
    mean, spread = (float(known.mean()), float(known.std())) if len(known) else (0.0, 1.0)
    return (values - mean) / (spread if spread > 1e-9 else 1.0), mean, spread if spread > 1e-9 else 1.0
