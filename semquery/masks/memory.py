"""Work in batches that fit the memory: a batch that does not fit is halved, and the work goes on where it stopped."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch

from semquery.devices import is_out_of_memory

Result = TypeVar("Result")


@dataclass
class Batches:
    """How many items to take at a time: learnt once, kept for all that follows."""

    size: int

    def run(self, count: int, work: Callable[[int, int], Result]) -> Iterator[Result]:
        """work(start, stop) over 0..count; raises ValueError when a single item is too much."""
        start = 0
        while start < count:
            stop = min(start + self.size, count)
            result, fits = None, True
            try:
                result = work(start, stop)
            except (torch.cuda.OutOfMemoryError, RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                fits = False
            # outside the handler, whose error holds on to the tensors that filled the memory
            if fits:
                yield result
                start = stop
            else:
                self._halve(stop - start)

    def _halve(self, tried: int) -> None:
        if tried == 1:
            raise ValueError(
                "The memory does not hold even one point at a time. Use a smaller checkpoint, smaller masks (max-side), "
                "another device, or close what else fills the memory."
            )
        self.size = tried // 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def free_bytes(device: torch.device) -> int:
    """Memory that is free on a device; 4 GiB where nobody tells."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        from psutil import virtual_memory
    except ImportError:  # it comes with nerfstudio, but is none of ours
        return 4 << 30
    return virtual_memory().available
