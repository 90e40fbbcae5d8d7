"""What several stages share: progress, photos, the device."""

from pathlib import Path

import numpy as np
import torch


def progress(items, what: str, total: int | None = None):
    """A progress bar with an estimate of the time left; silent when standard error is no terminal for long."""
    from tqdm import tqdm

    return tqdm(items, desc=what, total=total, unit="", dynamic_ncols=True, mininterval=0.5)


def default_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_photo(path: Path) -> np.ndarray:
    """A photo as uint8 [h, w, 3], or [h, w, 4] where it has transparency."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            has_alpha = picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info
            return np.asarray(picture.convert("RGBA" if has_alpha else "RGB"))
    except FileNotFoundError as error:
        raise ValueError(f"There is no photo at {path}.") from error
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"{path} cannot be read as an image: {error}") from error
