"""From regions in pictures to votes on surface points.

Notation
  v views that answered, s views that are silent, n surface points, k pairs of a pixel and the point that it shows, h w height and width of a view's pixel grid,
  a b height and width of a picture of the same frame at another resolution, d embedding width.
Conventions
  A vote is the share of a point's pixels in a view that lie in what was answered, 0..1. Depth is along the camera's axis of
  sight (z), positive in front of it, in world units. Camera axes are OpenGL's, as everywhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int32, Int64

from semquery.geometry import image_points
from semquery.segmenter import Region


@dataclass(frozen=True)
class Sight:
    """Which pixels of a view show which points; occlusion is already decided."""

    size: tuple[int, int]  # height, width of the pixel grid
    points: Int64[np.ndarray, " k"]
    pixels: Int64[np.ndarray, " k"]  # flat, row by row


@dataclass(frozen=True)
class Answered:
    """What a view's regions say together."""

    mask: Bool[np.ndarray, "a b"]
    score: float  # mean of the regions' scores, by their areas
    embedding: Float32[np.ndarray, " d"] | None  # mean of the regions' at unit length, by their areas; None where one has none
    text: str


@dataclass(frozen=True)
class Votes:
    """What the views that answered say of each point."""

    views: tuple[str, ...]
    seen: Bool[np.ndarray, "v n"]
    share: Float32[np.ndarray, "v n"]  # 0 where not seen
    scores: Float64[np.ndarray, " v"]
    embeddings: Float32[np.ndarray, "v d"] | None  # None where a view has none
    texts: tuple[str, ...]
    silent: Bool[np.ndarray, "s n"]  # what the views see that were asked and answered that nothing is visible


def sight_of_grid(point_of_pixel: Int32[np.ndarray, "h w"]) -> Sight:
    """From a fused surface: every pixel that shows a point."""
    pixels = np.flatnonzero(point_of_pixel >= 0)
    return Sight(point_of_pixel.shape, point_of_pixel.reshape(-1)[pixels].astype(np.int64), pixels)


def sight_of_depth(
    points: Float[np.ndarray, "n 3"], T_world_cam: Float64[np.ndarray, "4 4"], intrinsics: Float64[np.ndarray, " 4"],
    depth: Float[np.ndarray, "h w"], tolerance: float,
) -> Sight:
    """From a depth map: each point at the pixel it falls into, if |depth − z| ≤ tolerance there (MLLM-For3D: 0.05 m).

    `intrinsics` fx fy cx cy are of the depth map. Pixels without depth (0, or not finite) show nothing.
    """
    column, row, z = image_points(points, T_world_cam, intrinsics)
    column, row = np.floor(column), np.floor(row)
    inside = np.flatnonzero((z > 0) & (row >= 0) & (row < depth.shape[0]) & (column >= 0) & (column < depth.shape[1]))
    pixels = (row[inside] * depth.shape[1] + column[inside]).astype(np.int64)
    found = depth.reshape(-1)[pixels].astype(np.float64)
    shown = np.isfinite(found) & (found > 0)
    shown[shown] = np.abs(found[shown] - z[inside[shown]]) <= tolerance
    return Sight(depth.shape, inside[shown], pixels[shown])


def at_size(mask: Bool[np.ndarray, "a b"], size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """A mask of the same frame, read at the centres of another grid's pixels."""
    rows, columns = (((np.arange(n) + 0.5) * m / n).astype(np.int64) for n, m in zip(size, mask.shape, strict=True))
    return mask[rows[:, None], columns]


def votes_of(sight: Sight, mask: Bool[np.ndarray, "a b"], num_points: int) -> tuple[Bool[np.ndarray, " n"], Float32[np.ndarray, " n"]]:
    """Which points a view sees, and the share of each one's pixels that lie in the mask."""
    inside = at_size(mask, sight.size).reshape(-1)[sight.pixels]
    pixels = np.bincount(sight.points, minlength=num_points)
    return pixels > 0, (np.bincount(sight.points, inside, num_points) / np.maximum(pixels, 1)).astype(np.float32)


def together(regions: Sequence[Region]) -> Answered:
    """All regions of a view as one: the query means all that is answered. At least one region is expected."""
    areas = np.array([max(1, int(region.mask.sum())) for region in regions], np.float64)
    shares = areas / areas.sum()
    texts = dict.fromkeys(region.text for region in regions if region.text)
    return Answered(np.any([region.mask for region in regions], axis=0), float(shares @ [region.score for region in regions]),
                    _mean_embedding([region.embedding for region in regions], shares), " ".join(texts))


def _mean_embedding(embeddings: Sequence[np.ndarray | None], shares: Float64[np.ndarray, " r"]) -> Float32[np.ndarray, " d"] | None:
    """None unless every region has one, of one width."""
    there = [e.astype(np.float64) for e in embeddings if e is not None]
    if len(there) < len(embeddings) or len({len(e) for e in there}) > 1:
        return None
    unit = np.stack([e / (np.linalg.norm(e) or 1.0) for e in there])
    return (shares @ unit).astype(np.float32)


def lift(sights: Mapping[str, Sight], answers: Mapping[str, Sequence[Region]], num_points: int) -> Votes:
    """The votes of the views that answered. A view with no region is silent; one that is missing from `answers` does not count at all."""
    views = [view for view in sights if answers.get(view)]
    said = [together(answers[view]) for view in views]
    cast = [votes_of(sights[view], each.mask, num_points) for view, each in zip(views, said, strict=True)]
    widths = {None if each.embedding is None else len(each.embedding) for each in said}
    embeddings = None if None in widths or len(widths) != 1 else np.stack([each.embedding for each in said if each.embedding is not None])
    return Votes(
        tuple(views),
        np.array([seen for seen, _ in cast], bool).reshape(-1, num_points),
        np.array([share for _, share in cast], np.float32).reshape(-1, num_points),
        np.array([each.score for each in said], np.float64), embeddings, tuple(each.text for each in said),
        np.array([votes_of(sights[view], np.zeros((1, 1), bool), num_points)[0] for view in sights if view in answers and not answers[view]], bool).reshape(-1, num_points),
    )
