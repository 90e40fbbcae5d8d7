"""Peak memory of a call, measured in a copy of this process, so that one call leaves no trace on the next."""

import ctypes
import gc
import os
import resource
import struct
import sys
from collections.abc import Callable

_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes a unit of ru_maxrss


def peak_mb(call: Callable[[], object]) -> float:
    """Megabytes that the process grows by at most during the call. Needs fork; the call must run on one thread."""
    give_back()  # else the call is served from what earlier ones have freed, and seems to need less
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            call()
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            os.write(write, struct.pack("d", grown * _UNIT / 1e6))
        finally:
            os._exit(0)  # without the parent's clean-up
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    if not answer:
        raise ValueError("The measured call failed in its own process; run it directly to see why.")
    return struct.unpack("d", answer)[0]


def give_back() -> None:
    """Return freed memory to the system, where the C library can (glibc)."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
