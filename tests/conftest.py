"""What holds for every test: one thread, no display, the same examples. Nothing of semquery is imported here, before types are checked.

Hypothesis draws the same examples every time, so that a test that fails tells of the change at hand;
HYPOTHESIS_PROFILE=hunt draws new and more ones.
"""

import os

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("PYOPENGL_PLATFORM", "egl")

import pytest  # noqa: E402
import torch  # noqa: E402
from hypothesis import settings  # noqa: E402

torch.set_num_threads(1)
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("hunt", max_examples=1000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


@pytest.fixture
def parts():
    from helpers import small_parts

    return small_parts()
