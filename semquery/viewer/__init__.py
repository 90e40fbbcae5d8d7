"""Looking at a run and asking it in a browser, on viser: what is shown, how it changes, and how it is drawn.

One `Session` holds what is shown; it is replaced whole, never changed, so that any number of threads (callbacks of the page,
a render loop, the painter) read it without locks. `semquery view` and nerfstudio's viewer have the same panel over it.
"""

from semquery.viewer.loaded import Loaded, Watch, load
from semquery.viewer.painter import Painter
from semquery.viewer.session import MODES, Heat, Mode, Session, Shown

__all__ = ["MODES", "Heat", "Loaded", "Mode", "Painter", "Session", "Shown", "Watch", "load"]
