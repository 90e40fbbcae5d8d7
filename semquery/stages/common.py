"""What several stages share: progress, photos, the device."""

from collections.abc import Sequence

import torch

from semquery.pictures import load_photo
from semquery.store import Run, RunError

__all__ = ["check_same_views", "default_device", "load_photo", "progress"]


def progress(items, what: str, total: int | None = None):
    """A progress bar with an estimate of the time left; none in a thread beside the main one, whose work a page follows."""
    import threading

    from tqdm import tqdm

    return tqdm(items, desc=what, total=total, unit="", dynamic_ncols=True, mininterval=0.5,
                disable=threading.current_thread() is not threading.main_thread())


def default_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def check_same_views(run: Run, names: Sequence[str]) -> None:
    """Raise when the run's masks are of other views: then it is the run of another scene."""
    held = set(run.masked_views())
    if held and not held <= set(names):
        raise RunError(
            f"{run.path} belongs to another scene: it holds masks of {sorted(held)[:3]}…, this scene has "
            f"{sorted(names)[:3]}…. Use another run directory, or --overwrite to replace what is there."
        )
