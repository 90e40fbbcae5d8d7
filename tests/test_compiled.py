"""C files compiled on first use: called on arrays, kept, and done without where there is no compiler."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

import semquery
from semquery.compiled import call, compile_library, library

DOUBLED = """#include <stdint.h>
#ifndef FACTOR
#define FACTOR 2
#endif
int64_t times(int64_t n, const double *from, double *to) {
    for (int64_t i = 0; i < n; i++) to[i] = FACTOR * from[i];
    return n << 33;
}
"""
SOURCES = sorted(Path(semquery.__file__).parent.rglob("*.c"))


@pytest.fixture
def source(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "times.c").write_text(DOUBLED)
    yield tmp_path / "times.c"
    library.cache_clear()


def needs_compiler(source: Path):
    if (functions := library(source, "nothing")) is None:
        pytest.skip("no C compiler here")
    return functions


def test_a_c_function_reads_and_fills_arrays_and_returns_64_bits(source):
    functions, filled = needs_compiler(source), np.empty(3)
    assert call(functions.times, 3, np.array([1.0, 2, 3]), filled) == 3 << 33
    assert filled.tolist() == [2, 4, 6]


def test_arrays_with_gaps_are_refused(source):
    with pytest.raises(AssertionError):
        call(needs_compiler(source).times, 3, np.zeros((3, 2))[:, 0], np.empty(3))


def test_a_library_is_compiled_once_for_every_source_and_definition(source, monkeypatch):
    needs_compiler(source)
    first, other = compile_library(source), compile_library(source, define=("FACTOR=3",))
    assert first != other and first.exists() and other.exists()
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("compiled again"))
    assert compile_library(source) == first
    assert {file.suffix for file in first.parent.iterdir()} == {".so"}


def test_plain_flags_serve_a_compiler_that_refuses_the_fast_ones(source):
    needs_compiler(source)
    assert compile_library(source, flags=("--no-such-flag",)).exists()


def test_without_a_compiler_there_is_no_library_and_one_line_says_so(source, monkeypatch, caplog):
    monkeypatch.setenv("CC", "no-such-compiler")
    assert library(source, "the slow twin") is None and library(source, "the slow twin") is None
    (record,) = caplog.records
    assert "times.c could not be built" in record.message and "the slow twin" in record.message
    assert not list(source.parent.rglob("*.so"))


@pytest.mark.parametrize("file", SOURCES, ids=[file.name for file in SOURCES])
def test_every_c_file_of_the_library_compiles_without_a_warning(file, source, tmp_path):
    needs_compiler(source)
    command = ["cc", "-Wall", "-Wextra", "-Werror", "-DFEATURES=2", "-shared", "-fPIC", str(file), "-o", str(tmp_path / "x.so"), "-lm"]
    assert subprocess.run(command, capture_output=True, text=True).stderr == ""
