"""How a query is scored and answered."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class QueryConfig:
    """How a query is scored and answered."""

    top: int = 5
    """Most hits to return."""
    threshold: float = 0.5
    """Least probability that the scene has what is asked for; below it there is no answer. 0 always answers."""
    scorer: Literal["auto", "lerf", "cosine", "zscore"] = "auto"
    """lerf: relevancy against negatives; cosine: similarity; zscore: percentile among generic names; auto: what suits the encoder."""
    temperature: float = 10.0
    """LERF's T: how sharply relevancy turns from 0 to 1."""
    near_best: float = 0.85
    """A hit must lead what it has to beat by at least this share of the best hit's lead."""
    same: float = 0.02
    """Leads in similarity that differ by less count as equal: of nested hits the highest answers, parts of one name answer together."""
    alpha: float = 0.5
    """Share of the text in the hybrid with pictures; where the codebook has no pictures, the text alone counts."""

    def __post_init__(self) -> None:
        if self.scorer not in ("auto", "lerf", "cosine", "zscore"):
            raise ValueError(f"There is no scorer called {self.scorer!r}; expected auto, lerf, cosine or zscore.")
        shares = {"threshold": self.threshold, "near best": self.near_best, "alpha": self.alpha}
        wrong = [f"{name} {value:g}" for name, value in shares.items() if not 0 <= value <= 1]
        if wrong or self.top < 1 or not self.temperature > 0 or not self.same >= 0:
            given = ", ".join(wrong) or f"top {self.top}, temperature {self.temperature:g}, same {self.same:g}"
            raise ValueError(f"Expected top ≥ 1, temperature > 0, same ≥ 0, and threshold, near best, alpha within 0..1; got {given}.")
