"""semquery: ask a captured 3D scene for any part of it, and get that part in 3D.

Photos with poses → masks → surface → ultrametric feature field → part tree → names → answers.
The modules are described in the README; `semquery demo` runs them all. From Python: `from semquery import Scene`.
"""

from typing import Any

__all__ = ["Scene"]


def __getattr__(name: str) -> Any:
    """`Scene` is imported when it is asked for, so that the command line stays light."""
    if name == "Scene":
        from semquery.opened import Scene

        return Scene
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
