"""Masks as JSON: run lengths, compressed run lengths, polygons; what is broken is said."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from semquery.masks import MaskFolder
from semquery.masks.formats import mask_of_polygons, mask_of_runs, runs_of_mask, runs_of_text, text_of_runs

ANY_MASK = arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9)))
PHOTO = np.zeros((4, 6, 3), np.uint8)
MASK = np.array([[0, 1, 1, 0, 0, 0], [0, 1, 1, 0, 0, 0], [0, 0, 0, 0, 1, 0], [0, 0, 0, 0, 0, 0]], bool)
RUNS = [4, 2, 2, 2, 8, 1, 5]  # down the columns


def test_runs_by_hand():
    assert mask_of_runs(RUNS, (4, 6)).tolist() == MASK.tolist() and runs_of_mask(MASK) == RUNS


@settings(max_examples=80, deadline=None)
@given(ANY_MASK)
def test_runs_go_there_and_back(mask):
    assert mask_of_runs(runs_of_mask(mask), mask.shape).tolist() == mask.tolist()
    assert mask_of_runs(runs_of_text(text_of_runs(runs_of_mask(mask))), mask.shape).tolist() == mask.tolist()


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(0, 5_000_000), max_size=12))
def test_any_lengths_survive_their_text(runs):
    assert runs_of_text(text_of_runs(runs)) == runs


@settings(max_examples=40, deadline=None)
@given(ANY_MASK)
def test_compressed_runs_are_those_of_coco(mask):
    coco = pytest.importorskip("pycocotools.mask")
    theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    assert text_of_runs(runs_of_mask(mask)) == theirs
    assert mask_of_runs(runs_of_text(theirs), mask.shape).tolist() == mask.tolist()


def test_polygons_cover_the_pixels_whose_middles_they_hold():
    assert np.argwhere(mask_of_polygons([[1, 1, 4, 1, 4, 3, 1, 3]], (4, 6))).tolist() == [[y, x] for y in (1, 2) for x in (1, 2, 3)]


def test_polygons_of_one_mask_are_joined():
    both = mask_of_polygons([[0, 0, 2, 0, 2, 2, 0, 2], [4, 2, 6, 2, 6, 4, 4, 4]], (4, 6))
    assert both[:2, :2].all() and both[2:, 4:].all() and not both[:2, 4:].any()


def write(folder, held) -> MaskFolder:
    (folder / "view.json").write_text(held if isinstance(held, str) else json.dumps(held))
    return MaskFolder(folder)


def as_runs():
    return {"segmentation": {"size": [4, 6], "counts": RUNS}, "predicted_iou": 0.91, "stability_score": 0.97}


@pytest.mark.parametrize("segmentation", [
    {"size": [4, 6], "counts": RUNS}, {"size": [4, 6], "counts": text_of_runs(RUNS)}, [[1, 0, 3, 0, 3, 2, 1, 2], [4, 2, 5, 2, 5, 3, 4, 3]],
])
@pytest.mark.parametrize("wrapped", [False, True])
def test_every_way_of_writing_a_mask_is_read(tmp_path, segmentation, wrapped):
    records = [{"segmentation": segmentation, "predicted_iou": 0.5}]
    source = write(tmp_path, {"image": {"height": 4, "width": 6, "file_name": "view.jpg"}, "annotations": records} if wrapped else records)
    source.check(["view"])
    stack = source("view", PHOTO)
    assert stack.masks().tolist() == [MASK.tolist()] and stack.scores.tolist() == [0.5]


def test_scores_are_what_the_records_tell(tmp_path):
    records = [as_runs(), {**as_runs(), "predicted_iou": 1.2}, {"segmentation": as_runs()["segmentation"]},
               {"segmentation": as_runs()["segmentation"], "stability_score": 0.25}, {**as_runs(), "predicted_iou": float("nan")}]
    assert write(tmp_path, records)("view", PHOTO).scores.tolist() == pytest.approx([0.91, 1, 1, 0.25, 0])


def test_a_photo_without_masks_is_legal(tmp_path):
    assert write(tmp_path, [])("view", PHOTO).num_masks == 0
    assert write(tmp_path, {"image": {"height": 4, "width": 6}, "annotations": []})("view", PHOTO).num_masks == 0


@pytest.mark.parametrize(("held", "told"), [
    ("{torn", "cannot be read as JSON"),
    ("3", "holds a JSON int; expected a list of masks"),
    ({"masks": []}, "holds a JSON dict; expected a list of masks"),
    ([{"bbox": [0, 0, 1, 1]}], "mask 0 cannot be read: it has no 'segmentation'"),
    ([3], r'mask 0 cannot be read: it is a JSON int; expected \{"segmentation": \.\.\}\.'),
    ([as_runs(), "x"], "mask 1 cannot be read: it is a JSON str"),
    ([{"segmentation": {"size": 4, "counts": RUNS}}], "its size or its counts are of another form"),
    ([{"segmentation": {"size": [4, 6], "counts": None}}], "its size or its counts are of another form"),
    ({"image": {"height": None, "width": 6}, "annotations": []}, "its image has the height None and the width 6; expected numbers"),
    ([{"segmentation": {"size": [4, 6], "counts": [4, 2]}}], "mask 0 cannot be read: its runs cover 6 pixels of a frame of 4×6"),
    ([{"segmentation": {"size": [4, 6], "counts": [40, -16]}}], "its runs cover 24 pixels"),
    ([{"segmentation": {"size": [100000, 100000], "counts": [10**10]}}], "its runs cover"),
    ([{"segmentation": {"size": [4, 6], "counts": "ab\u00e9"}}], "holds? the character"),
    ([{"segmentation": {"size": [4, 6], "counts": "P"}}], "end in the middle of a number"),
    ([{"segmentation": {"counts": RUNS}}], "it has no 'size'"),
    ([{"segmentation": [[1, 2, 3]]}], "a polygon of 3 numbers"),
    ([{"segmentation": "handle"}], "mask 0 cannot be read: its segmentation is a JSON str; expected"),
    ([as_runs(), {"segmentation": {"size": [2, 3], "counts": [6]}}], "masks have different sizes"),
    ([{"segmentation": {"size": [6, 6], "counts": [36]}}], "is 6×6, its photo 4×6"),
])
def test_what_is_broken_is_refused_with_the_file_and_the_reason(tmp_path, held, told):
    with pytest.raises(ValueError, match=told) as refused:
        write(tmp_path, held)("view", PHOTO)
    assert str(refused.value).startswith(str(tmp_path / "view.json"))
