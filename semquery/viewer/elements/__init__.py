"""What a run looks like in the page: its surface as points, as the faces of its mesh, or as Gaussian splats.

Each of the three is an `Elements`: it draws a state of the session into viser's scene, and says where the surface's points
are drawn, so that what is clicked is what is seen. `chunks` decides what has to be sent; the others know how.
"""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32

from semquery.viewer.colours import Look
from semquery.viewer.elements.mesh import MeshElements, open_mesh
from semquery.viewer.elements.points import PointElements
from semquery.viewer.elements.splats import SplatElements, open_splats
from semquery.viewer.shown import Shown

__all__ = ["Elements", "MeshElements", "PointElements", "SplatElements", "open_mesh", "open_splats"]


@runtime_checkable
class Elements(Protocol):
    """Draws what a session shows. `paint` and `clear` belong to one thread, `points` to any."""

    def paint(self, server, shown: Shown, look: Look) -> None:
        """Bring the scene of a viser server to this state; what the page has already is not sent again.

        Raises ValueError where the run of this state is not that of the mesh or the splats.
        """

    def points(self, shown: Shown, look: Look) -> tuple[Float32[np.ndarray, "n 3"], Bool[np.ndarray, " n"]]:
        """Where each point of the surface is drawn (capture units, whatever `look.scale` is), and whether it can be clicked; none before there is a run."""

    def clear(self) -> None:
        """Take everything out of the scene, to draw other elements or none."""
