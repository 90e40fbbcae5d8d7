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


@pytest.fixture(scope="session")
def box_photos(tmp_path_factory):
    """A capture of a coloured box (see training.py); for tests that have nerfstudio."""
    from training import photograph

    return photograph(tmp_path_factory.mktemp("box") / "photos")


@pytest.fixture(scope="session")
def trained_box(box_photos, tmp_path_factory):
    """A whole small training on it (nerfstudio_plugin's SemqueryTrainer), shared: tests leave it as it is."""
    from training import tiny, train

    return train(tiny(box_photos, tmp_path_factory.mktemp("out")))
