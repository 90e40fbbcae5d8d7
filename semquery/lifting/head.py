"""Distillation: a head that tells from the features of a point, and a query token, whether the point is meant.

    f = trunk(point)                             features of the trained field through a small network, or a point network
    t = W q                                      token for query
    s = f·t + b,  p = σ(s)
    L = Σ ω BCE(p, m) / Σ ω                      alignment, over pairs of a point and a view that sees it
      + λ mean(1 − cos(V f, f2D))                spatial consistency, over pairs that the view voted for

after MLLM-For3D (arXiv 2503.18135). Departures: W and V are trained and saved (in the published code neither is); V takes
points to the space of the pictures' features, which are fixed, and not these to that of the points, so that the second loss
cannot be met by making all features the same; there is a bias b, as few points are meant.

BCE is linear in its target and cos in a fixed unit vector, so both sums over views are taken once, before training: the target
of a point is its fused mask Σ ω m / Σ ω, weighted by Σ ω. Nothing is approximated by that (the tests compare it).

Notation
  n points, b points of a batch, q queries, c channels of the field's features, w width, d of tokens, e of pictures' features.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64, Num
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cosine_similarity

from semquery.lifting.backbone import seeded
from semquery.lifting.fuse import Fused
from semquery.lifting.pixels import PointFeatures

Rule = Literal["probability", "cosine", "deviation"]


@dataclass(frozen=True)
class DistillConfig:
    """How the head is trained and read."""

    steps: int = 300
    """Training steps."""
    batch: int = 4096
    """Points per step, half of them from where views voted."""
    learning_rate: float = 1e-2
    """Adam's rate; it falls along a cosine to nothing."""
    width: int = 64
    """Width of the features that a token is compared with."""
    spatial: float = 0.1
    """λ, weight of the spatial-consistency loss; 0 = without."""
    rule: Rule = "probability"
    """What is meant: σ(s) above the threshold, the cosine of f and t above it, or s above its mean by 0.8 deviations (the published code)."""
    threshold: float = 0.5
    """For `probability` and `cosine`."""
    seed: int = 0
    """Of weights and draws."""

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("batch", 2), ("width", 1), ("spatial", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; expected {least} or more.")


@dataclass(frozen=True)
class Taught:
    """One query: its token and what the views say of it."""

    token: Float64[np.ndarray, " d"]
    fused: Fused


def own_tokens(count: int) -> Float64[np.ndarray, "q q"]:
    """Tokens that say nothing but which query is meant, so that each learns a vector of its own: for views without embeddings, and
    for the paper's ablation without token-for-query. A head trained on them knows no other query."""
    return np.eye(count)


class FieldTrunk(nn.Module):
    """Features of a trained field → features for the head. The field stays as it is, and is not saved again."""

    def __init__(self, features: Num[np.ndarray, "n c"], width: int, seed: int = 0) -> None:
        super().__init__()
        self.register_buffer("features", torch.from_numpy(features.astype(np.float32)), persistent=False)
        with seeded(seed):
            self.network = nn.Sequential(nn.Linear(features.shape[1], width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, rows: Int64[Tensor, " b"] | None = None) -> Float[Tensor, "b w"]:
        return self.network(self.features if rows is None else self.features[rows])


class QueryHead(nn.Module):
    """W, V and b on a trunk."""

    def __init__(self, trunk: nn.Module, width: int, token_width: int, pixel_width: int = 0) -> None:
        super().__init__()
        self.trunk = trunk
        self.token = nn.Linear(token_width, width, bias=False)  # W
        self.pixels = nn.Linear(width, pixel_width, bias=False) if pixel_width else None  # V
        self.bias = nn.Parameter(torch.zeros(()))

    def logits(self, features: Float[Tensor, "b w"], tokens: Float[Tensor, "q d"]) -> Float[Tensor, "q b"]:
        """s of every query at every point."""
        return self.token(tokens) @ features.T + self.bias

    @torch.no_grad()
    def scores(self, token: Float64[np.ndarray, " d"], rule: Rule = "probability") -> Float64[np.ndarray, " n"]:
        """Of all points σ(s), the cosine of f and t, or s itself (`deviation`); takes a token alone, no views."""
        asked, features = torch.from_numpy(token.astype(np.float32))[None], self.trunk()
        if rule == "cosine":
            return cosine_similarity(features, self.token(asked), dim=1).double().numpy()
        found = self.logits(features, asked)[0].double()
        return (found.sigmoid() if rule == "probability" else found).numpy()


def decided(scores: Float64[np.ndarray, " n"], rule: Rule, threshold: float) -> Bool[np.ndarray, " n"]:
    """The points that are meant."""
    return scores > (scores.mean() + 0.8 * scores.std() if rule == "deviation" else threshold)


# ----------------------------------------------------------------------------------------------- losses


def alignment_loss(
    logits: Float[Tensor, "q b"], mask: Float[Tensor, "q b"], heard: Float[Tensor, "q b"], weight: Float[Tensor, "q b"] | None = None
) -> Float[Tensor, ""]:
    """Σ heard · BCE(σ(logits), mask) / Σ heard; `weight` makes up for how points were drawn."""
    each = heard if weight is None else heard * weight
    return binary_cross_entropy_with_logits(logits, mask, each, reduction="sum") / each.sum().clamp_min(1e-12)


def spatial_loss(projected: Float[Tensor, "b e"], total: Float[Tensor, "b e"], count: Float[Tensor, " b"]) -> Float[Tensor, ""]:
    """Mean of 1 − cos over pairs of point and view, from the sums of the views' unit features: 1 − Σ V f/|V f| · Σ m f2D / Σ m."""
    unit = nn.functional.normalize(projected, dim=1)
    return 1 - (unit * total).sum() / count.sum().clamp_min(1e-12)


# ----------------------------------------------------------------------------------------------- training


def distill(
    trunk: nn.Module, taught: Sequence[Taught], config: DistillConfig = DistillConfig(), seen: PointFeatures | None = None
) -> QueryHead:
    """Train a head on the pseudo masks of one or more queries. Raises ValueError where no view said anything of any point.

    `seen`: what pictures look like at the points, for the spatial-consistency loss; without it that loss is left out. The trunk
    is trained along. The same seed and trunk give the same head; torch's own generator is left as it was.
    """
    mask, heard = (torch.from_numpy(np.stack(each).astype(np.float32)) for each in zip(*((t.fused.mask, t.fused.heard) for t in taught)))
    tokens = torch.from_numpy(np.stack([t.token for t in taught]).astype(np.float32))
    rows = torch.nonzero(heard.any(0))[:, 0]
    if not len(rows):
        raise ValueError("There is nothing to distil: no view that answered sees any point of the surface.")
    is_spatial = seen is not None and config.spatial > 0 and seen.count.any()
    with seeded(config.seed):
        head = QueryHead(trunk, config.width, tokens.shape[1], seen.total.shape[1] if seen is not None and is_spatial else 0)
        _begin(head, mask[:, rows], heard[:, rows])
        looks = (torch.from_numpy(seen.total), torch.from_numpy(seen.count).float()) if seen is not None and is_spatial else None
        strata = _strata(mask, rows)
        _train(head, tokens, mask, heard, strata, looks, config)
    return head.eval()


def _begin(head: QueryHead, mask: Tensor, heard: Tensor) -> None:
    """b begins at the share of points that are meant: training need not find that out."""
    share = float((mask * heard).sum() / heard.sum())
    with torch.no_grad():
        head.bias.fill_(math.log(max(share, 1e-4) / max(1 - share, 1e-4)))


def _strata(mask: Float[Tensor, "q n"], rows: Int64[Tensor, " r"]) -> list[Int64[Tensor, " _"]]:
    """Points that some view voted for, and the others: drawn equally often, and weighted by how many they are."""
    voted = (mask[:, rows] > 0).any(0)
    return [part for part in (rows[voted], rows[~voted]) if len(part)]


def _train(head: QueryHead, tokens: Tensor, mask: Tensor, heard: Tensor, strata: list[Tensor], looks: tuple[Tensor, Tensor] | None, config: DistillConfig) -> None:
    optimizer = torch.optim.Adam(head.parameters(), lr=config.learning_rate)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
    share = -(-config.batch // len(strata))
    for _ in range(config.steps):
        drawn = [part if len(part) <= share else part[torch.randint(len(part), (share,))] for part in strata]
        rows = torch.cat(drawn)
        weight = torch.cat([torch.full((len(some),), len(part) / len(some)) for part, some in zip(strata, drawn, strict=True)])
        features = head.trunk(rows)
        loss = alignment_loss(head.logits(features, tokens), mask[:, rows], heard[:, rows], weight.expand(len(tokens), -1))
        if looks is not None and head.pixels is not None and bool(looks[1][rows].any()):
            loss = loss + config.spatial * spatial_loss(head.pixels(features), looks[0][rows], looks[1][rows])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        rate.step()


def head_tensors(head: QueryHead) -> dict[str, Tensor]:
    """All weights, W and V among them (`token.weight`, `pixels.weight`), as they are saved; the points and the field are not."""
    return {name: tensor.detach().contiguous() for name, tensor in head.state_dict().items()}


def load_head(trunk: nn.Module, tensors: Mapping[str, Tensor]) -> QueryHead:
    """Inverse of `head_tensors`, on a trunk of the same kind over any points. Raises ValueError when the tensors are of another."""
    try:
        width, token_width = tensors["token.weight"].shape
        head = QueryHead(trunk, width, token_width, len(tensors["pixels.weight"]) if "pixels.weight" in tensors else 0)
        head.load_state_dict(dict(tensors))
    except (KeyError, RuntimeError) as error:
        raise ValueError(f"These tensors are no head for this trunk ({str(error).splitlines()[0]}); distil it again.") from error
    return head.eval()
