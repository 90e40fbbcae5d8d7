"""How likely it is that the scene has what was asked for at all.

A best hit exists for every query, also for one that means nothing here. What tells the two apart does not depend on the
size of the similarities, which differ from encoder to encoder: the nearness of the best text, its similarity in standard
deviations above the query's mean similarity to the bank of generic names. A logistic function of it is the probability
(Platt, 1999); its coefficients differ by kind of encoder and are fitted to queries for which it is known whether the scene
has what they ask for. A query that is the name or a synonym of a part needs none of this: what it asks for is here.

Notation
  q queries.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64

from semquery.query.scorers import Background


@dataclass(frozen=True)
class Calibration:
    """Coefficients of the logistic function."""

    bias: float
    slope: float

    def probability(self, nearness: Float[np.ndarray, " q"] | float) -> Float64[np.ndarray, " q"] | float:
        from scipy.special import expit

        return expit(self.bias + self.slope * nearness)


# Fitted on the tuning half of the written queries (`python -m eval queries`), with one present query to one absent: spelling
# by `Lexical`, sentences by all-MiniLM-L6-v2. CLIP's are those of sentences, for want of measurements.
CALIBRATIONS = {
    "sentence": Calibration(-5.67, 1.07),
    "clip": Calibration(-5.67, 1.07),
    "lexical": Calibration(-2.42, 0.37),
}


def nearness_of(best: float, behind: Background) -> float:
    """How near a query's best text is, in standard deviations above the bank's mean."""
    return (best - behind.mean) / behind.spread


def fit(nearness: Float[np.ndarray, " q"], present: Bool[np.ndarray, " q"], penalty: float = 0.01) -> Calibration:
    """The coefficients under which the answers are most likely, less penalty / 2 times the square of the slope.

    The penalty keeps it finite where nearness tells present from absent without an error. Raises ValueError unless there
    are queries of both kinds.
    """
    from scipy.optimize import minimize

    if present.all() or not present.any():
        raise ValueError(f"Calibration takes queries for what is there and for what is not; {present.sum()} of {len(present)} are there.")
    sign = np.where(present, -1.0, 1.0)

    def loss(weights: Float64[np.ndarray, " 2"]) -> float:
        return float(np.logaddexp(0, sign * (weights[0] + weights[1] * nearness)).sum() + penalty / 2 * weights[1] ** 2)

    return Calibration(*minimize(loss, np.zeros(2), method="BFGS").x.tolist())
