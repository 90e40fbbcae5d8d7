"""Gaussians that are no surface: nearly transparent ones, huge ones, and those that float alone.

A trainer leaves them behind where photos disagree. They are told by statistics of the scene itself, not by fixed sizes: a
Gaussian floats when its neighbours are much farther away than neighbours usually are (statistical outlier removal, Rusu et al. 2008)
and most of them do not touch it. The few large Gaussians that make a plain wall are far apart, and touch: each reaches the other. A
large one before a surface of small ones reaches these, and they do not reach it.

Notation
  g Gaussians, k nearest others of each.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

SAME = 1e-9
LEAST_SIGMA = 0.3  # of the logarithm: in a regular grid all neighbours are equally far, and a third more is no outlier
REACH = 3.0  # standard deviations of its longest axis that a Gaussian reaches


@dataclass(frozen=True)
class CleanConfig:
    """Which Gaussians are left out."""

    min_opacity: float = 0.05
    """Those less opaque are left out."""
    max_size: float = 20.0
    """Those whose longest standard deviation is more than this many times the median's are left out."""
    neighbours: int = 8
    """How many nearest others tell whether a Gaussian floats."""
    max_sigma: float = 4.0
    """A Gaussian floats when the logarithm of the mean distance to its neighbours is so many robust standard deviations above the median,
    and fewer than half of them touch it."""

    def __post_init__(self) -> None:
        if not 0 <= self.min_opacity < 1 or not self.max_size > 0 or self.neighbours < 1 or not self.max_sigma > 0:
            raise ValueError(f"Expected 0 ≤ min opacity < 1, max size > 0, neighbours ≥ 1 and max sigma > 0; got {self.min_opacity:g}, "
                             f"{self.max_size:g}, {self.neighbours} and {self.max_sigma:g}.")


@dataclass(frozen=True)
class Cleaned:
    """Which Gaussians stay, and why the others do not; each has one reason."""

    kept: Bool[np.ndarray, " g"]
    broken: Bool[np.ndarray, " g"]  # something of it is no number
    faint: Bool[np.ndarray, " g"]
    huge: Bool[np.ndarray, " g"]
    floating: Bool[np.ndarray, " g"]

    def in_words(self) -> str:
        """How many went for which reason, in a sentence."""
        why = {"nearly transparent": self.faint, "huge": self.huge, "floating alone": self.floating, "no numbers": self.broken}
        told = [f"{int(mask.sum())} {reason}" for reason, mask in why.items() if mask.any()]
        return f"{int((~self.kept).sum())} of {len(self.kept)} Gaussians left out" + (f": {', '.join(told)}" if told else "")


def clean(
    means: Float[np.ndarray, "g 3"], scales: Float[np.ndarray, "g 3"], opacities: Float[np.ndarray, " g"], config: CleanConfig = CleanConfig()
) -> Cleaned:
    """Which Gaussians are surface. Scaling, turning and moving the scene changes nothing."""
    longest = scales.max(1, initial=0.0)
    whole = np.isfinite(means).all(1) & np.isfinite(longest) & np.isfinite(opacities)
    faint = whole & (opacities < config.min_opacity)
    rest = whole & ~faint
    huge = rest & (longest > config.max_size * np.median(longest[rest])) if rest.any() else rest
    rest = rest & ~huge
    floating = np.zeros(len(means), bool)
    floating[rest] = _floating(means[rest], longest[rest], config)
    return Cleaned(rest & ~floating, ~whole, faint, huge, floating)


def _floating(means: Float[np.ndarray, "g 3"], longest: Float[np.ndarray, " g"], config: CleanConfig) -> Bool[np.ndarray, " g"]:
    """Those far from their neighbours, most of which do not touch them; of fewer than there must be neighbours, none."""
    from scipy.spatial import cKDTree

    if len(means) <= config.neighbours:
        return np.zeros(len(means), bool)
    apart, near = (found[:, 1:] for found in cKDTree(means).query(means, config.neighbours + 1, workers=-1))
    away = apart.mean(1)
    log = np.log(np.maximum(away, SAME * away.max(initial=0.0) + np.finfo(float).tiny))
    middle = np.median(log)
    sigma = max(1.4826 * float(np.median(np.abs(log - middle))), LEAST_SIGMA)
    touching = apart <= REACH * np.minimum(longest[:, None], longest[near])
    return (log > middle + config.max_sigma * sigma) & (touching.mean(1) < 0.5)
