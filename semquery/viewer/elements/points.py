"""The surface as the points it was fused from."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from semquery.viewer.elements.chunked import Chunked, Position
from semquery.viewer.elements.chunks import Content
from semquery.viewer.loaded import Loaded


@dataclass(frozen=True)
class PointCloud:
    """A medium: 15 bytes a point."""

    items: Loaded
    num_chunks: ClassVar[int] = 128
    has_shades: ClassVar[bool] = True
    is_renamed: ClassVar[bool] = False

    def send(self, server: Any, name: str, content: Content, position: Position, visible: bool) -> Any:
        """Points that are no finite numbers are left out."""
        points = self.items.surface.points[content.rows]
        points = points if content.moved is None else points + content.moved
        finite = np.isfinite(points).all(1)
        return server.scene.add_point_cloud(name, content.scale * points[finite], content.colors[finite], point_size=content.size, point_shape="circle",
                                            position=position, visible=visible)


class PointElements(Chunked):
    """The surface's points, discs that face the camera, `look.point_size` voxels wide."""

    def __init__(self) -> None:
        super().__init__(PointCloud)
