"""What several stages share: progress, photos, the device."""

import torch

from semquery.pictures import load_photo

__all__ = ["default_device", "load_photo", "progress"]


def progress(items, what: str, total: int | None = None):
    """A progress bar with an estimate of the time left; silent when standard error is no terminal for long."""
    from tqdm import tqdm

    return tqdm(items, desc=what, total=total, unit="", dynamic_ncols=True, mininterval=0.5)


def default_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
