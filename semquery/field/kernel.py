"""kernel.c, compiled on first use, called on torch tensors.

`kernel(features)` returns None where compiling fails, and says so once. The C functions are serial and work on ranges;
threads are Python's, which ctypes lets run side by side because it releases the interpreter lock. So no
OpenMP is needed, and none can clash with torch's.
"""

import ctypes
import logging
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from semquery.compiled import compile_library

SOURCE = Path(__file__).with_name("kernel.c")
# no -ffast-math: with it, older gcc makes merely loading the library flush denormals for the whole process
FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros", "-fassociative-math")


class Level(ctypes.Structure):
    """One level of the grid; the struct of the same name in kernel.c."""

    _fields_ = [("scale", ctypes.c_float), ("resolution", ctypes.c_uint32),
                ("size", ctypes.c_uint32), ("offset", ctypes.c_uint32)]


@lru_cache
def kernel(features: int) -> "Kernel | None":
    """The compiled kernel for table rows of this width; None, with one line of log, where there is no compiler."""
    try:
        return Kernel(_compile(features))
    except (OSError, subprocess.SubprocessError) as error:
        logging.getLogger(__name__).warning("The C hash grid could not be built (%s); using the slower torch grid.", error)
        return None


def _compile(features: int) -> Path:
    return compile_library(SOURCE, "grid", FLAGS, (f"FEATURES={features}",))


class Kernel:
    """kernel.c on contiguous float32 CPU tensors. `levels` is a ctypes array of Level."""

    def __init__(self, library: Path) -> None:
        self.c = ctypes.CDLL(str(library))

    def forward(self, levels: ctypes.Array, table: Float[Tensor, "rows f"], x: Float[Tensor, "n 3"]) -> Float[Tensor, "n c"]:
        out = x.new_empty(len(x), len(levels) * table.shape[1])
        shared = (levels, len(levels), _at(table), _at(x), _at(out))
        _parallel(lambda a, b: self.c.grid_forward(*shared, _long(a), _long(b)), len(x), smallest=512)
        return out

    def backward_table(
        self, levels: ctypes.Array, table: Float[Tensor, "rows f"], x: Float[Tensor, "n 3"], grad: Float[Tensor, "n c"]
    ) -> Float[Tensor, "rows f"]:
        grad_table = torch.zeros_like(table)
        shared = (levels, len(levels), _at(x), _at(grad), _at(grad_table), _long(len(x)))
        _parallel(lambda a, b: self.c.grid_backward_table(*shared, a, b), len(levels), chunks=len(levels))
        return grad_table

    def backward_x(
        self, levels: ctypes.Array, table: Float[Tensor, "rows f"], x: Float[Tensor, "n 3"], grad: Float[Tensor, "n c"]
    ) -> Float[Tensor, "n 3"]:
        grad_x = torch.empty_like(x)
        shared = (levels, len(levels), _at(table), _at(x), _at(grad), _at(grad_x))
        _parallel(lambda a, b: self.c.grid_backward_x(*shared, _long(a), _long(b)), len(x), smallest=512)
        return grad_x


def _parallel(work: Callable[[int, int], None], n: int, chunks: int = 0, smallest: int = 1) -> None:
    """Call work(first, last) on ranges that cover 0..n-1, on as many threads as torch uses."""
    threads = torch.get_num_threads()
    chunks = chunks or max(1, min(threads, n // smallest))
    bounds = [n * c // chunks for c in range(chunks + 1)]
    ranges = list(zip(bounds[:-1], bounds[1:], strict=True))
    if threads == 1 or len(ranges) == 1:
        for first, last in ranges:
            work(first, last)
    else:
        list(_pool(threads).map(lambda r: work(*r), ranges))


@lru_cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="hash-grid")


def _at(tensor: Tensor) -> ctypes.c_void_p:
    assert tensor.is_contiguous() and tensor.dtype == torch.float32 and tensor.device.type == "cpu"
    return ctypes.c_void_p(tensor.data_ptr())


def _long(value: int) -> ctypes.c_int64:
    return ctypes.c_int64(value)
