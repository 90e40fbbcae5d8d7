"""What holds for every test: one thread, no display. Nothing of semquery is imported here, before types are checked."""

import os

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("PYOPENGL_PLATFORM", "egl")

import pytest  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture
def parts():
    from helpers import small_parts

    return small_parts()
