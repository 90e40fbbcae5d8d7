"""Devices by name, and what errors say."""

import pytest
import torch

from semquery.devices import choose_device, first_line, is_out_of_memory


def test_a_device_is_the_one_named_or_the_first_that_is_there(monkeypatch):
    assert choose_device("cpu") == torch.device("cpu") and choose_device("auto", ("cpu",)).type == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")
    with pytest.raises(ValueError, match="The device 'toaster' cannot be used .*expected auto, cuda, mps, cpu or cuda:1"):
        choose_device("toaster")


@pytest.mark.parametrize(("error", "expected"), [
    (torch.cuda.OutOfMemoryError("full"), True), (RuntimeError("CUDA out of memory. Tried"), True), (MemoryError(), True),
    (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), True), (RuntimeError("[enforce fail] not enough memory"), True),
    (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling"), True), (RuntimeError("shapes differ"), False), (ValueError("x"), False),
])
def test_running_out_of_memory_is_told_from_other_errors(error, expected):
    assert is_out_of_memory(error) is expected


def test_of_an_error_the_first_line_is_told_and_the_second_where_the_first_only_announces():
    assert first_line(ValueError("a\nb")) == "a" and first_line(ValueError("one of:\n  x\ny")) == "one of: x"
    assert first_line(KeyError()) == "KeyError" and first_line(ValueError("ends:")) == "ends:"
