"""The figures of the README: what they are made of, that they are small, and that README and folder agree."""

import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import named_run, part_tree, small_parts
from PIL import Image

from eval.figures import drawn
from eval.figures.__main__ import DRAWN, MOST_BYTES, encoded
from eval.figures.scene import is_encoded, overlaps, true_names
from semquery import stages
from semquery.masks import stack_masks
from semquery.types import NodeLabel

ROOT = Path(__file__).parent.parent
FIGURES = ROOT / "docs" / "figures"
SHOWN = re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", (ROOT / "README.md").read_text())


@pytest.fixture(scope="module")
def shown(tmp_path_factory) -> drawn.Shown:
    """The small run with features and names that the figures' queries find."""
    run = named_run(tmp_path_factory.mktemp("figures") / "run")
    surface = run.surface()
    run.write_surface(replace(surface, features=np.random.default_rng(0).normal(size=(len(surface.points), 4)).astype(np.float16)))
    for view, point in surface.point_of_pixel.items():
        run.write_masks(view, stacked(point))
    run.append_label(NodeLabel(0, "handle"), "")
    stages.encode(run, overwrite=True)
    return drawn.Shown(run)


def stacked(point: np.ndarray):
    return stack_masks(np.stack([point >= 0, (point >= 0) & (point < 4)]), np.ones(2, np.float32))


# ------------------------------------------------------------------ README and folder


def test_every_picture_that_the_readme_shows_is_there_and_told_in_words():
    assert SHOWN
    for words, path in SHOWN:
        assert (ROOT / path).is_file() and len(words) > 20, path


def test_every_figure_is_shown_in_the_readme_and_small():
    files = [path for path in FIGURES.iterdir() if path.is_file()]
    assert {f"docs/figures/{path.name}" for path in files} == {path for _, path in SHOWN}
    for path in files:
        assert path.stat().st_size <= MOST_BYTES, path.name
        with Image.open(path) as image:
            assert max(image.size) <= 2000 and min(image.size) >= 80


def test_every_figure_that_takes_no_browser_is_one_that_the_readme_shows():
    assert {f"docs/figures/{name}" for name in DRAWN} < {path for _, path in SHOWN}


# ------------------------------------------------------------------ drawing


SMALL = {"method.jpg": {"side": 60}, "levels.png": {"side": 60}, "answers.jpg": {"side": 60}, "exploded.jpg": {"size": (40, 60)}, "splats.jpg": {"side": 60}}


@pytest.mark.parametrize("name", DRAWN)
def test_every_figure_is_drawn_of_any_run_the_same_each_time(shown, name):
    one, two = (encoded(DRAWN[name](drawn.Shown(shown.run), **SMALL[name]), name) for _ in range(2))
    assert one == two
    image = np.asarray(Image.open(io.BytesIO(one)).convert("RGB"))
    assert 1 < len(np.unique(image.reshape(-1, 3), axis=0))


def test_the_view_of_the_method_shows_the_answer(shown, monkeypatch):
    monkeypatch.setattr(drawn, "SEEN", 2)
    fresh = drawn.Shown(shown.run)
    assert fresh.answer.part == 0 and fresh.answer.mask(fresh.view).any()


def test_a_run_in_which_nothing_is_found_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(ValueError, match="“handle” finds nothing in .*delete the folder"):
        _ = drawn.Shown(named_run(tmp_path / "run")).answer


def test_trimming_cuts_all_alike_and_nothing_that_is_drawn():
    white = np.full((60, 80, 3), 255, np.uint8)
    first, other = white.copy(), white.copy()
    first[20:30, 40:50] = 0
    other[25, 45] = 9
    a, b = drawn.trimmed([first, other])
    assert a.shape == b.shape == (26, 26, 3) and (a == 0).all(-1).sum() == 100 and (b == 9).all(-1).sum() == 1
    assert drawn.narrowed(first).shape == (60, 26, 3)


# ------------------------------------------------------------------ files


def test_a_file_that_cannot_be_small_enough_is_refused():
    noise = np.random.default_rng(0).integers(0, 256, (1500, 1500, 3)).astype(np.uint8)
    with pytest.raises(ValueError, match="noise.jpg takes .* bytes"):
        encoded(noise, "noise.jpg")


def test_a_flat_picture_keeps_its_colours_as_png():
    flat = np.zeros((40, 50, 3), np.uint8)
    flat[:, 20:] = (200, 30, 90)
    assert (np.asarray(Image.open(io.BytesIO(encoded(flat, "flat.png"))).convert("RGB")) == flat).all()


# ------------------------------------------------------------------ the true names


def slow_iou(tree, leaf, parents, part, true) -> float:
    def up(at, above):
        found = [at]
        while above[at] != at:
            at = above[at]
            found.append(at)
        return found

    one = {k for k, at in enumerate(tree.part_of_point.tolist()) if part in up(at, tree.parents.tolist())}
    other = {k for k, at in enumerate(leaf.tolist()) if at >= 0 and true in up(at, parents)}
    return len(one & other) / max(len(one | other), 1)


@pytest.mark.parametrize("seed", range(4))
def test_overlaps_are_those_of_the_sets_of_points(seed):
    random = np.random.default_rng(seed)
    tree = part_tree([4, 3, 5, 5, 5, 5], random.integers(0, 6, 40))
    leaf, parents = random.integers(-1, 3, 40).astype(np.int32), [3, 3, 4, 4, 4]
    found = overlaps(tree, leaf, parents)
    for part in range(6):
        for true in range(5):
            assert found[part, true] == pytest.approx(slow_iou(tree, leaf, parents, part, true))


def test_only_parts_that_are_true_ones_get_their_names():
    truth = {"names": ["left knob", "right knob", "plate", "panel", "scene"], "parents": [3, 3, 4, 4, 4]}
    tree = small_parts()
    leaf = tree.part_of_point.copy()
    leaf[leaf == 3] = -1
    assert true_names(tree, leaf, truth) == {0: "left knob", 1: "right knob", 2: "plate", 3: "panel", 4: "scene"}
    leaf[:3] = 1  # most of the left knob is a piece of the right one
    assert 0 not in true_names(tree, leaf, truth)


def test_names_that_came_after_the_codebook_are_noticed(tmp_path):
    run = named_run(tmp_path / "run")
    assert is_encoded(run)
    run.append_label(NodeLabel(0, "handle"), "")
    assert not is_encoded(run)
