"""Gaussian splats: the Gaussians of a scene, and rendering them with any number of features, on any device.

`rasterize` is gsplat where there is a CUDA device and the torch twin elsewhere; both composite exactly the same Gaussians.
"""

from semquery.splatting.files import gaussians_of, ply_of
from semquery.splatting.gaussians import Gaussians, View
from semquery.splatting.project import Projected, project
from semquery.splatting.raster import Rendered, rasterize

__all__ = ["Gaussians", "Projected", "Rendered", "View", "gaussians_of", "ply_of", "project", "rasterize"]
