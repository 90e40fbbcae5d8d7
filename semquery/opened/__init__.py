"""A run, opened once and asked many times: names to points, boxes and masks.

    scene = Scene.open("outputs/kitchen/semquery/2026-01-01")
    for found in scene.query("handle of the left drawer"):
        found.box.T_world_box, found.points, found.masks()

`Scene.open` reads everything it needs: later changes of the run's files do not reach an open scene. A scene is not changed
by asking, and any number of threads may ask it at once. What only some questions need (axes to tell left from right, the
places of the parts) is worked out when it is first needed, once.

Points, boxes and normals are in the capture's own frame and unit, as its cameras are.
"""

from semquery.opened.found import Found, Shapes
from semquery.opened.scene import ASKS, Answered, Scene, supporting_views

__all__ = ["ASKS", "Answered", "Found", "Scene", "Shapes", "supporting_views"]
