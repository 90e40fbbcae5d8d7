"""Compiling a C file on first use, for loops that neither numpy nor torch can vectorise.

The compiler is the system's `cc` (or $CC); nothing else is needed and nothing may depend on it: every C
function has a twin in Python that serves where there is no compiler, and `library` says so once, in one line
of log. Libraries are cached, named after their source, flags, compiler and processor.
"""

import ctypes
import hashlib
import logging
import os
import platform
import subprocess
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np

FLAGS = ("-O3", "-march=native")  # sums stay in the order of the source
PLAIN_FLAGS = ("-O2",)  # for compilers that refuse one of the fast flags


@lru_cache
def library(source: Path, slower: str) -> ctypes.CDLL | None:
    """The compiled functions of a C file; None, with one line of log that names the slower twin, where compiling fails."""
    try:
        return ctypes.CDLL(str(compile_library(source)))
    except (OSError, subprocess.SubprocessError) as error:
        logging.getLogger(__name__).warning("%s could not be built (%s); using %s.", source.name, error, slower)
        return None


def compile_library(source: Path, name: str = "", flags: tuple[str, ...] = FLAGS, define: tuple[str, ...] = ()) -> Path:
    """Path of the shared library; built under a temporary name and renamed, so a file that exists is whole."""
    compiler = os.environ.get("CC", "cc")
    key = "\0".join((source.read_text(), *define, compiler, *flags, _processor()))
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "semquery" / "kernels"
    target = cache / f"{name or source.stem}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.so"
    if not target.exists():
        cache.mkdir(parents=True, exist_ok=True)
        temporary = target.with_suffix(f".{os.getpid()}.tmp")
        try:
            _run_compiler(compiler, source, temporary, flags, define)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    return target


def _run_compiler(compiler: str, source: Path, target: Path, flags: tuple[str, ...], define: tuple[str, ...]) -> None:
    for attempt in (flags, PLAIN_FLAGS):
        command = [compiler, *attempt, "-shared", "-fPIC", *(f"-D{name}" for name in define), str(source), "-o", str(target), "-lm"]
        result = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if result.returncode == 0:
            return
    raise OSError(f"{compiler} failed: {result.stderr.strip()[-300:]}")


def _processor() -> str:
    """What -march=native depends on: a home folder may be shared by machines with different processors."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
    except OSError:
        return platform.machine() + platform.processor()


def call(function: Callable[..., int], *arguments: int | np.ndarray) -> int:
    """Call a C function of int64_t numbers and pointers to the first elements of arrays; it must return int64_t."""
    assert all(a.flags.c_contiguous for a in arguments if isinstance(a, np.ndarray))
    function.restype = ctypes.c_int64
    return function(*(ctypes.c_void_p(a.ctypes.data) if isinstance(a, np.ndarray) else ctypes.c_int64(a) for a in arguments))
