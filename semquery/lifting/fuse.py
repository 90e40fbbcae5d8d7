"""From the votes of the views to one mask on the surface, with how far each view was believed and which ones dissent.

Notation
  v views that answered, s silent views, n surface points, d embedding width. ω weights of views, m votes.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64

from semquery.attention import consensus, token_attention
from semquery.lifting.lift import Votes

Belief = Literal["auto", "tokens", "consensus", "uniform"]


@dataclass(frozen=True)
class FuseConfig:
    """How the views' votes become one mask."""

    belief: Belief = "auto"
    """How far each view is believed: by the agreement of embeddings (tokens, as published), by that of the masks (consensus), or all alike;
    auto = tokens where every region has an embedding, else consensus."""
    power: float = 8.0
    """Sharpens the weights of tokens; 1 = as published."""
    doubt: float = 0.25
    """Every point counts as if one more view, believed this share of the best one, had seen it and not voted for it: a view that is
    hardly believed cannot decide about what it alone sees. 0 = nothing of the kind, as published."""
    silence: float = 0.0
    """A view that answers that nothing is visible counts this share of the best one against what it sees; 0 = nothing, as published.
    By consensus it does so only where the others see nothing of what they mean."""

    def __post_init__(self) -> None:
        if not self.power > 0:
            raise ValueError(f"The power of the attention is {self.power}; expected a number above 0 (1 is the published weight).")
        for name in ("doubt", "silence"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a number from 0 to 1.")


PUBLISHED = FuseConfig("tokens", power=1.0, doubt=0.0, silence=0.0)


@dataclass(frozen=True)
class Weighed:
    """How far each view is believed."""

    weights: Float64[np.ndarray, " v"]  # of views that answered; sum to 1
    silent: Float64[np.ndarray, " s"]  # of silent views, in the same unit
    token: Float64[np.ndarray, " d"] | None  # what the views agree is meant, unit length; None without embeddings
    by: str  # tokens | consensus | uniform


@dataclass(frozen=True)
class Fused:
    """The pseudo mask: what the views say of each point together."""

    mask: Float64[np.ndarray, " n"]  # 0..1; 0 where nobody sees the point
    heard: Float64[np.ndarray, " n"]  # Σ ω over the views that see it, silent ones included
    best: float  # max ω

    @property
    def known(self) -> Bool[np.ndarray, " n"]:
        return self.heard > 0

    @property
    def trust(self) -> Float64[np.ndarray, " n"]:
        """0..1: how much of a view that is believed most sees the point; 1 from one such view on."""
        return (self.heard / (self.best or 1.0)).clip(0, 1)


def weigh(votes: Votes, config: FuseConfig = FuseConfig()) -> Weighed:
    """The weights of the views. Raises ValueError for tokens where embeddings are missing.

    Silent views weigh `silence` of the best one; by consensus each its own share of that, which is nothing where others mean what it sees.
    """
    is_bare = votes.embeddings is None
    by = config.belief if config.belief != "auto" else "consensus" if is_bare else "tokens"
    if by == "tokens" and is_bare and votes.views:
        raise ValueError("Views can be weighed by tokens only where every region has an embedding, all of one width; take --belief consensus or auto.")
    raw, silent, token = np.ones(len(votes.views)), np.ones(len(votes.silent)), None
    if by == "tokens" and votes.embeddings is not None:
        raw, token = token_attention(votes.embeddings, votes.scores, config.power)
    elif by == "consensus":
        raw, silent = by_consensus(votes)
    weights = raw / (raw.sum() or 1.0)
    if token is None and votes.embeddings is not None:
        token = token_attention(votes.embeddings, weights)[1]
    return Weighed(weights, config.silence * weights.max(initial=0) * silent, token, by)


def by_consensus(votes: Votes) -> tuple[Float64[np.ndarray, " v"], Float64[np.ndarray, " s"]]:
    """Squared overlaps with what the others say, of the views that answered and of the silent ones, whose votes are all 0."""
    number, none = len(votes.views), np.zeros(votes.silent.shape, np.float32)
    weights = consensus(np.concatenate([votes.seen, votes.silent]), np.concatenate([votes.share, none]))
    return (weights[:number] if weights[:number].any() else np.ones(number)), weights[number:]


def fuse(votes: Votes, weighed: Weighed, doubt: float = 0.0) -> Fused:
    """Σ ω m / (Σ ω + doubt · max ω), of each point over the views that see it."""
    heard = weighed.weights @ votes.seen + weighed.silent @ votes.silent
    best = float(weighed.weights.max(initial=0))
    said, sure = weighed.weights @ votes.share.astype(np.float64), heard + doubt * best
    return Fused(np.divide(said, sure, out=np.zeros_like(said), where=heard > 0).clip(0, 1), heard, best)


def agreement(votes: Votes, fused: Fused, threshold: float = 0.5) -> Float64[np.ndarray, " v"]:
    """IoU of each view's own mask with the fused one, over the points that the view sees; 1 where both are empty there."""
    own, all_ = votes.seen & (votes.share > threshold), votes.seen & (fused.mask > threshold)
    union = (own | all_).sum(1)
    return np.where(union > 0, (own & all_).sum(1) / np.maximum(union, 1), 1.0)


def dissenting(votes: Votes, fused: Fused, threshold: float = 0.5, least: float = 0.5) -> tuple[str, ...]:
    """Views whose own mask has an IoU below `least` with what was decided, where they see it."""
    return tuple(view for view, iou in zip(votes.views, agreement(votes, fused, threshold), strict=True) if iou < least)


def explanation(votes: Votes, weights: Float64[np.ndarray, " v"]) -> str:
    """What the view that is believed most says, of those that say anything."""
    said = [(weight, text) for weight, text in zip(weights, votes.texts, strict=True) if text and weight > 0]
    return max(said, key=lambda each: each[0])[1] if said else ""
