"""What several stages share: progress, photos, the device."""

import torch

from semquery.pictures import load_photo

__all__ = ["default_device", "load_photo", "progress"]


def progress(items, what: str, total: int | None = None):
    """A progress bar with an estimate of the time left; none in a thread beside the main one, whose work a page follows."""
    import threading

    from tqdm import tqdm

    return tqdm(items, desc=what, total=total, unit="", dynamic_ncols=True, mininterval=0.5,
                disable=threading.current_thread() is not threading.main_thread())


def default_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
