"""What everything that runs a model needs: a device by name, whether an error means that memory ran out, an error in one line."""

from collections.abc import Sequence
from typing import Any


def choose_device(wanted: str, among: Sequence[str] = ("cuda", "mps", "cpu")) -> Any:
    """A torch device by name; auto: the first of these that is there. Raises ValueError when it cannot be used."""
    import torch

    is_there = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available, "cpu": lambda: True}
    name = next(kind for kind in among if is_there[kind]()) if wanted == "auto" else wanted
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"The device {name!r} cannot be used ({first_line(error)}); expected auto, {', '.join(among)} or cuda:1.") from error
    return device


def is_out_of_memory(error: BaseException) -> bool:
    """Torch has a class for it on a GPU, and messages elsewhere."""
    import torch

    words = str(error).lower()
    told = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")
    return isinstance(error, MemoryError | torch.cuda.OutOfMemoryError) or any(part in words for part in told)


def first_line(error: BaseException) -> str:
    """What an error says, without the pages that may follow nor the last stop; where its first line only announces, the second with it."""
    first, *more = (str(error).strip() or type(error).__name__).splitlines()
    return (f"{first.rstrip()} {more[0].strip()}" if more and first.rstrip().endswith(":") else first).rstrip(". ")
