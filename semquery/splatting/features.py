"""Features of Gaussians, rasterised: what a pixel shows is a blend of what the Gaussians before it carry.

Geometry is frozen while features are learnt, so the weights of a pixel are constants. They are worked out once: of every pixel the
heaviest few Gaussians and their weights, a sparse matrix from Gaussians to pixels. A step of training is then one gather and one
weighted sum, and gradients reach the features alone.

Notation
  g Gaussians, k pixels, j Gaussians of a pixel, heaviest first, c feature length, u Gaussians that a batch of pixels shows, n points.
Conventions
  A pixel's feature is Σ w f with Σ w = 1 over its j Gaussians, brought to unit length. If these carry the share s of the pixel's
  whole weight and no f is longer than 1, Σ w f differs from the blend of all Gaussians by at most 2 (1 - s).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, Int64, Num
from torch import Tensor, nn
from torch.nn.functional import embedding_bag, normalize

from semquery.field import FeatureField
from semquery.splatting.gaussians import Gaussians, View
from semquery.splatting.project import project
from semquery.splatting.raster import pixel_weights

UNLIKE = 0.1  # how much vectors differ at the start, of their length


@dataclass(frozen=True)
class RasterisedConfig:
    """How features of Gaussians become features of pixels."""

    most: int = 16
    """Gaussians that count in a pixel: its heaviest ones. Memory is 8 bytes for each, in every pixel of every view."""
    carried_by: Literal["field", "vectors"] = "field"
    """What a Gaussian's feature is: the feature field at its centre, or a vector of its own."""

    def __post_init__(self) -> None:
        if self.most < 1:
            raise ValueError(f"Rasterised features of {self.most} Gaussians a pixel were asked for; expected 1 or more (16 is usual).")


@dataclass(frozen=True)
class PixelWeights:
    """The heaviest Gaussians of some pixels; where a pixel has fewer, the rest weigh 0."""

    rows: Int[Tensor, "k j"]  # of the Gaussians
    weights: Float[Tensor, "k j"]  # they sum to 1, or to 0 where a pixel shows nothing
    share: Float[Tensor, " k"]  # of the pixel's whole weight that these Gaussians carry

    def __getitem__(self, chosen: Tensor) -> "PixelWeights":
        return PixelWeights(self.rows[chosen], self.weights[chosen], self.share[chosen])

    def to(self, device: torch.device) -> "PixelWeights":
        """On another device."""
        return PixelWeights(self.rows.to(device), self.weights.to(device), self.share.to(device))

    @property
    def num_bytes(self) -> int:
        """Memory held."""
        return sum(t.numel() * t.element_size() for t in (self.rows, self.weights, self.share))


@torch.no_grad()
def heaviest(gaussians: Gaussians, view: View, pixels: Int[Tensor, " k"], most: int) -> PixelWeights:
    """The `most` heaviest Gaussians of each pixel (distinct flat row-major indices); time and memory as for rendering the view."""
    means, (height, width) = gaussians.means, view.size
    rows = torch.zeros((len(pixels), most), dtype=torch.int32, device=means.device)
    weights, whole = means.new_zeros(len(pixels), most), means.new_zeros(len(pixels))
    place = torch.full((height * width + 1,), -1, device=means.device)  # the last is that of -1, no pixel
    place[pixels.long()] = torch.arange(len(pixels), device=means.device)
    for index, which, found in pixel_weights(project(gaussians, view), gaussians.opacities, view.size):
        block, pixel = (place[index] >= 0).nonzero(as_tuple=True)
        mine, found = place[index[block, pixel]], found[block, pixel]
        top = found.topk(min(most, found.shape[1]), dim=1)
        rows[mine, : top.values.shape[1]] = which[block].gather(1, top.indices).clamp(min=0).int()
        weights[mine, : top.values.shape[1]] = top.values
        whole[mine] = found.sum(1)
    kept = weights.sum(1)
    return PixelWeights(rows, weights / kept.clamp(min=1e-12)[:, None], torch.where(whole > 0, kept / whole.clamp(min=1e-12), 0.0))


def blended(of_gaussians: Callable[[Int64[Tensor, " u"]], Float[Tensor, "u c"]], seen: PixelWeights) -> Float[Tensor, "k c"]:
    """Features of pixels, of unit length: those of each Gaussian are asked for once, and only of Gaussians that are shown."""
    used, place = torch.unique(seen.rows.long(), return_inverse=True)
    features = of_gaussians(used)
    return normalize(embedding_bag(place, features, per_sample_weights=seen.weights.to(features.dtype), mode="sum"), dim=-1)


class VectorField(nn.Module):
    """A vector for every Gaussian, in place of a field: elsewhere in space, that of the nearest Gaussian that some pixel shows.

    It stands where a `FeatureField` does: in training, in checkpoints, and for the features of surface points. Vectors start nearly
    alike, as a field does: masks drive some of them apart, and nothing has to bring the others together again.
    """

    def __init__(self, dim: int, centres: Float[Tensor, "g 3"], is_shown: Tensor) -> None:
        super().__init__()
        start = normalize(torch.randn(dim), dim=0) + UNLIKE / dim**0.5 * torch.randn(len(centres), dim)
        self.vectors = nn.Parameter(start.to(centres.device))
        self.register_buffer("centres", centres.detach().clone().float())
        self.register_buffer("is_shown", is_shown.detach().clone())
        self.register_buffer("box", torch.stack([self.centres.amin(0), self.centres.amax(0)]))

    def of_gaussians(self, rows: Int64[Tensor, " u"]) -> Float[Tensor, "u c"]:
        """Unit vectors of these Gaussians."""
        return normalize(self.vectors[rows], dim=-1)

    @torch.no_grad()
    def at(self, points: Num[np.ndarray, "n 3"]) -> Float32[np.ndarray, "n c"]:
        """Features of any points. Raises ValueError where no Gaussian is shown by any pixel."""
        from scipy.spatial import cKDTree

        shown = self.is_shown.nonzero()[:, 0]
        if not len(shown):
            raise ValueError(f"None of the {len(self.centres)} Gaussians is shown by any pixel, so none has learnt a feature.")
        near = cKDTree(self.centres[shown].cpu().numpy()).query(points)[1]
        return self.of_gaussians(shown[torch.as_tensor(near, device=shown.device)]).float().cpu().numpy()


def at_centres(field: FeatureField, centres: Float[Tensor, "g 3"]) -> Callable[[Int64[Tensor, " u"]], Float[Tensor, "u c"]]:
    """Gaussians that carry what the field has at their centres."""
    return lambda rows: field(centres[rows])
