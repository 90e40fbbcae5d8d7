"""How much each view is believed: by the agreement of their embeddings with a query token, or of their masks with each other.

The query token is what the views agree that was meant. A view whose embedding points elsewhere saw something else, and
weighs less (MLLM-For3D, arXiv 2503.18135, "token attention"; the fixed point is not specified there and is ours).

Notation
  v views, d embedding width, n points or faces.
  α a view's score, e its embedding at unit length, s = e·q, ω its weight, q the query token.
Conventions
  Weights of tokens sum to 1. Weights of the consensus are squared overlaps, 0..1 each, and only their ratios matter.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64

SETTLED = 1e-9  # change of a weight below which the fixed point is reached


def token_attention(
    embeddings: Float32[np.ndarray, "v d"], scores: Float[np.ndarray, " v"], power: float = 1.0, iterations: int = 10
) -> tuple[Float64[np.ndarray, " v"], Float64[np.ndarray, " d"]]:
    """Weights ω ∝ (α·max(0, e·q))^power that sum to 1, and the query token q = Σ ω e at unit length, by fixed point from ω ∝ α.

    Power 1 is the published weight; a larger one leaves the views that agree best. Views without an embedding (all zeros) weigh
    nothing beside views that have one. Where nothing tells the views apart (all scores 0, embeddings that cancel out) the
    scores decide, and where these are 0 all weigh the same; a token that nothing tells is zero. No views: no weights.
    Raises ValueError for scores below 0, a power that is not above 0, or numbers that are not finite.
    """
    (weights,), (token,) = contested_attention([embeddings], [scores], power, iterations)
    return weights, token


def contested_attention(
    embeddings: Sequence[Float32[np.ndarray, "_ d"]], scores: Sequence[Float[np.ndarray, " _"]], power: float = 1.0, iterations: int = 10
) -> tuple[list[Float64[np.ndarray, " _"]], list[Float64[np.ndarray, " d"]]]:
    """Token attention of several queries that exclude each other: what speaks for a view is how much nearer its embedding is to its own
    query's token than to any other query's, max(0, e·q − max(0, e·q′)).

    A view that answers with what another query means is found out though most views of its own query do the same: the other query
    knows its token better. With one query this is `token_attention`, which says what holds where nothing tells views apart.
    """
    for each, alpha in zip(embeddings, scores, strict=True):
        _check(each, alpha, power)
    units = [_unit(each.astype(np.float64)) for each in embeddings]
    alphas = [each.astype(np.float64) if each.any() else np.ones(len(each)) for each in scores]
    weights = [_normalised(alpha * e.any(1), alpha) for alpha, e in zip(alphas, units, strict=True)]
    for _ in range(iterations):
        before, tokens = weights, _tokens(weights, units)
        meant = [alpha * _margin(e @ tokens.T, k) for k, (alpha, e) in enumerate(zip(alphas, units, strict=True))]
        weights = [_normalised(_sharpened(each, power), was) for each, was in zip(meant, before, strict=True)]
        if max((np.abs(now - was).max(initial=0) for now, was in zip(weights, before, strict=True)), default=0) < SETTLED:
            break
    return weights, list(_tokens(weights, units))


def consensus(
    seen: Bool[np.ndarray, "v n"], votes: Float[np.ndarray, "v n"], iterations: int = 4, area: Float[np.ndarray, " n"] | None = None
) -> Float64[np.ndarray, " v"]:
    """Weights ω = (overlap of a view's votes with what the other views say of the points that it sees)², without any embedding.

    What the others say is Σ ω m / Σ ω over the views that see a point; the overlap is Σ min / Σ max over the points that both
    the view and some other see. A view that shares no point with others, or votes for nothing where they do, is not
    contradicted: 1. Where no two views agree at all, every view weighs 1. `votes` are 0..1; `area` is how much a point or face
    counts. Time and memory are of the order v·n.
    """
    size = np.ones(seen.shape[1]) if area is None else area.astype(np.float64)
    cast = np.where(seen, votes, 0.0).astype(np.float64)
    weights = np.ones(len(seen))
    for _ in range(iterations):
        said, heard = weights @ cast, weights @ seen
        weights = np.array([_overlap(cast[i], s, said - w * cast[i], heard - w * s, size) ** 2 for i, (s, w) in enumerate(zip(seen, weights, strict=True))])
        weights = weights if weights.any() else np.ones(len(seen))
    return weights


def _overlap(own, sees, said, heard, size) -> float:
    """Soft IoU of a view's votes with the weighted mean of the others', where both are known."""
    both = sees & (heard > SETTLED)
    others = np.clip(said[both] / heard[both], 0, 1)
    union = float(size[both] @ np.maximum(own[both], others))
    return float(size[both] @ np.minimum(own[both], others)) / union if union > 0 else 1.0


def _tokens(weights: Sequence[Float64[np.ndarray, " _"]], units: Sequence[Float64[np.ndarray, "_ d"]]) -> Float64[np.ndarray, "k d"]:
    return _unit(np.stack([w @ e for w, e in zip(weights, units, strict=True)]))


def _margin(near: Float64[np.ndarray, "v k"], own: int) -> Float64[np.ndarray, " v"]:
    """By how much the own token is nearer than the nearest other one; how near it is, where there is no other."""
    return np.maximum(near[:, own] - np.maximum(np.delete(near, own, axis=1).max(1, initial=0.0), 0), 0)


def _sharpened(weights: Float64[np.ndarray, " v"], power: float) -> Float64[np.ndarray, " v"]:
    """To a power, relative to the largest: a high power of small numbers must not vanish as a whole."""
    largest = weights.max(initial=0)
    return (weights / largest) ** power if largest > 0 else weights


def _normalised(weights: Float64[np.ndarray, " v"], otherwise: Float64[np.ndarray, " v"]) -> Float64[np.ndarray, " v"]:
    chosen = weights if weights.any() else otherwise
    return chosen / chosen.sum() if len(chosen) else chosen


def _unit(rows: Float64[np.ndarray, "v d"]) -> Float64[np.ndarray, "v d"]:
    """Rows at unit length; what is zero, up to rounding, stays zero."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(length > SETTLED, rows / np.maximum(length, SETTLED), 0.0)


def _check(embeddings, scores, power: float) -> None:
    if not (np.isfinite(embeddings).all() and np.isfinite(scores).all()) or (scores < 0).any():
        raise ValueError("Embeddings and scores of views must be finite, and scores not below 0.")
    if not power > 0:
        raise ValueError(f"The power of the attention is {power}; expected a number above 0 (1 is the published weight).")
