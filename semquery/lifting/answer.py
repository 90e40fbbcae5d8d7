"""From the regions that views answered with to what is meant on the surface: all steps in their order.

Notation
  v views that answered, n surface points, h w height and width of a picture.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float64, UInt8

from semquery.lifting.choose import Choosing
from semquery.lifting.fuse import FuseConfig, Fused, Weighed, agreement, dissenting, explanation, fuse, weigh
from semquery.lifting.head import DistillConfig, FieldTrunk, QueryHead, Taught, decided, distill, own_tokens
from semquery.lifting.keep import Dropped, KeepConfig, keep
from semquery.lifting.lift import Sight, Votes, lift
from semquery.lifting.pixels import ColourEdges, PixelEncoder, point_features
from semquery.lifting.snap import Snapped, snap
from semquery.segmenter import Region
from semquery.types import PartTree, Surface


@dataclass(frozen=True)
class ViewsConfig(KeepConfig, FuseConfig):
    """How a question is answered by views: which are asked, what is kept of their answers, and how far each is believed."""

    views_k: int = 8
    """Views that are asked (published: 4)."""
    choose: Choosing = "poses"
    """Which: random, as published; visibility, those that together see most of the surface; poses, one for each group of like poses."""
    views_seed: int = 0
    """Of what is drawn at random."""
    snap: bool = True
    """Answer with the parts of the tree that the views mean, where their overlap with what was lifted reaches least-snap."""
    least_snap: float = 0.5
    """Below this overlap (IoU) no part is taken for what is meant, and the points themselves are the answer."""
    distill: bool = False
    """Train a head on the field's features from what was lifted, and let it answer for every point, seen or not."""
    head: DistillConfig = field(default_factory=DistillConfig)
    """How the head is trained and read."""

    def __post_init__(self) -> None:
        KeepConfig.__post_init__(self)
        FuseConfig.__post_init__(self)
        if self.views_k < 1:
            raise ValueError(f"views-k is {self.views_k}; expected 1 or more views.")
        if not 0 <= self.least_snap <= 1:
            raise ValueError(f"least-snap is {self.least_snap}; expected a number from 0 to 1.")


@dataclass(frozen=True)
class Answer:
    """What the views mean, and how that was come to."""

    inside: Bool[np.ndarray, " n"]
    belief: Float64[np.ndarray, " n"]  # 0..1, of the fused views or of the head
    votes: Votes
    weighed: Weighed
    fused: Fused
    dropped: tuple[Dropped, ...]
    agreement: Float64[np.ndarray, " v"]  # IoU of each view's own mask with the answer
    dissent: tuple[str, ...]
    explanation: str
    parts: tuple[int, ...] = ()  # of the tree; none where nothing was snapped
    snap_iou: float | None = None  # of the best parts, taken or not; None where none were looked for
    head: QueryHead | None = None

    @property
    def token(self) -> Float64[np.ndarray, " d"]:
        """What the head is asked with."""
        return token_of(self.weighed)


def answer(
    sights: Mapping[str, Sight], answers: Mapping[str, Sequence[Region]], surface: Surface, tree: PartTree | None,
    photo: Callable[[str], UInt8[np.ndarray, "_ _ 3"]], config: ViewsConfig = ViewsConfig(), encoder: PixelEncoder = ColourEdges(),
) -> Answer:
    """Keep, lift, weigh, fuse; distil and snap if asked. A tree of None is not snapped to."""
    kept, dropped = keep(answers, config)
    votes = lift(sights, kept, len(surface.points))
    weighed = weigh(votes, config)
    fused = fuse(votes, weighed, config.doubt)
    belief, inside, head = fused.mask, fused.mask > 0.5, None
    if config.distill and fused.mask.any():
        looks = point_features(sights, votes, encoder, photo) if config.head.spatial > 0 else None
        head = distill(trunk_of(surface, config.head), [Taught(token_of(weighed), fused)], config.head, looks)
        belief = head.scores(token_of(weighed), config.head.rule)
        inside = decided(belief, config.head.rule, config.head.threshold)
    snapped = _snapped(tree, fused, belief, head is not None) if config.snap and tree is not None else None
    is_part = snapped is not None and bool(snapped.parts) and snapped.iou >= config.least_snap
    inside = snapped.inside if snapped is not None and is_part else inside
    whole = replace(fused, mask=inside.astype(np.float64))
    return Answer(
        inside, belief, votes, weighed, fused, dropped, agreement(votes, whole), dissenting(votes, whole), explanation(votes, weighed.weights),
        snapped.parts if snapped is not None and is_part else (), None if snapped is None else snapped.iou, head,
    )


def token_of(weighed: Weighed) -> Float64[np.ndarray, " d"]:
    """The token of the views; where they have none, one that stands for this question alone."""
    return own_tokens(1)[0] if weighed.token is None else weighed.token


def trunk_of(surface: Surface, config: DistillConfig):
    """On the trained features of a surface; on its points, colours and normals where there are none."""
    from semquery.lifting.backbone import point_trunk

    if surface.features.shape[1]:
        return FieldTrunk(surface.features, config.width, config.seed)
    return point_trunk(surface.points, surface.colors, surface.normals, surface.voxel_size, config.width, seed=config.seed)


def _snapped(tree: PartTree, fused: Fused, belief: Float64[np.ndarray, " n"], is_distilled: bool) -> Snapped:
    """A head knows every point alike; views know what they see as far as they are believed."""
    return snap(tree, belief.clip(0, 1), np.ones(len(belief)) if is_distilled else fused.trust)
