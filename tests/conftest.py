"""What holds for every test: one thread, no display."""

import os

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("PYOPENGL_PLATFORM", "egl")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")  # kernels have their own tests; values must not depend on the machine

import pytest  # noqa: E402
import torch  # noqa: E402

from semquery.types import PartTree, Surface  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture
def surface() -> Surface:
    from helpers import small_surface

    return small_surface()


@pytest.fixture
def parts() -> PartTree:
    from helpers import small_parts

    return small_parts()
