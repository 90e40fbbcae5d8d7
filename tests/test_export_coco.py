"""Masks that leave a run as COCO and as PNG, read back by pycocotools and Pillow."""

import contextlib
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from helpers import DRAWN, part_tree, random_parts, small_cameras, small_labels, small_parts, small_surface
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from semquery.export import coco
from semquery.export.chosen import Chosen
from semquery.export.coco import coco_record, id_pngs, mask_pngs, nearest, runs_of_pixels
from semquery.masks.formats import mask_of, runs_of_mask
from semquery.types import Cameras, NodeLabel


def small_chosen(*tops: int, **changes) -> Chosen:
    return Chosen(small_surface(), small_parts(), changes.pop("labels", small_labels()), tops or (4,), **changes)


def sized(cameras: Cameras, *sizes: tuple[int, int]) -> Cameras:
    return replace(cameras, sizes=np.array(sizes))


def read_by_coco(record: dict, folder):
    """pycocotools' own reader, of the file."""
    reader = pytest.importorskip("pycocotools.coco")
    path = folder / "coco.json"
    path.write_text(json.dumps(record, allow_nan=False))
    with contextlib.redirect_stdout(io.StringIO()):
        return reader.COCO(str(path))


def scaled_by_hand(grid: np.ndarray, height: int, width: int) -> np.ndarray:
    """The value of the pixel that each centre falls into, one after another."""
    return np.array([[grid[int((r + 0.5) / height * grid.shape[0]), int((c + 0.5) / width * grid.shape[1])] for c in range(width)]
                     for r in range(height)])


def masks_by_hand(chosen: Chosen, cameras: Cameras) -> dict[tuple[str, int], np.ndarray]:
    """(view, part) → mask at the photo's size, for each that shows anything."""
    masks = {}
    for view, (height, width) in zip(cameras.names, cameras.sizes, strict=True):
        point = scaled_by_hand(chosen.surface.point_of_pixel[view], height, width)
        for part in range(chosen.parts.num_parts):
            mask = (point >= 0) & chosen.parts.points_of(part)[point]
            if any(chosen.parts.holds[top, part] for top in chosen.tops) and mask.any():
                masks[view, part] = mask
    return masks


def masks_of_record(record: dict) -> dict[tuple[str, int], np.ndarray]:
    view = {image["id"]: image["semquery"]["view"] for image in record["images"]}
    return {(view[each["image_id"]], each["semquery"]["part"]): mask_of(each["segmentation"], (0, 0)) for each in record["annotations"]}


def assert_equal_masks(one: dict, other: dict) -> None:
    assert one.keys() == other.keys()
    for key in one:
        np.testing.assert_array_equal(one[key], other[key], err_msg=str(key))


def picture(png: bytes) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(png)))


def test_coco_itself_reads_the_masks_areas_and_boxes(tmp_path):
    mask_api = pytest.importorskip("pycocotools.mask")
    chosen, cameras = small_chosen(), sized(small_cameras(), (6, 6), (12, 18), (7, 5))
    loaded, expected = read_by_coco(coco_record(chosen, cameras), tmp_path), masks_by_hand(chosen, cameras)
    seen = set()
    for each in loaded.loadAnns(loaded.getAnnIds()):
        image, = loaded.loadImgs(each["image_id"])
        key = image["semquery"]["view"], each["semquery"]["part"]
        np.testing.assert_array_equal(loaded.annToMask(each), expected[key])
        rle = loaded.annToRLE(each)
        assert each["area"] == mask_api.area(rle) == expected[key].sum()
        assert each["bbox"] == mask_api.toBbox(rle).tolist()
        encoded = mask_api.encode(np.asfortranarray(expected[key].astype(np.uint8)))
        assert each["segmentation"] == {"size": encoded["size"], "counts": encoded["counts"].decode()}
        seen.add(key)
    assert seen == expected.keys()
    assert loaded.getImgIds(catIds=loaded.getCatIds(catNms=["right knob"])) == [1, 2]


def test_coco_scores_its_own_annotations_as_perfect(tmp_path):
    """Its evaluation takes the number 0 for no match, so numbers start at 1."""
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    loaded = read_by_coco(coco_record(small_chosen(), sized(small_cameras(), *[(60, 60)] * 3)), tmp_path)
    told = ("image_id", "category_id", "segmentation")
    results = [{name: each[name] for name in told} | {"score": 0.9} for each in loaded.dataset["annotations"]]
    with contextlib.redirect_stdout(io.StringIO()):
        scored = evaluation.COCOeval(loaded, loaded.loadRes(results), "segm")
        scored.evaluate()
        scored.accumulate()
        scored.summarize()
    assert scored.stats[0] == pytest.approx(1.0)


def test_one_part_writes_itself_and_what_is_inside_it_and_nothing_else():
    record = coco_record(small_chosen(3), small_cameras())
    assert {each["semquery"]["part"] for each in record["annotations"]} == {0, 1, 3}
    assert [c["name"] for c in record["categories"]] == ["left knob", "panel", "right knob"]
    panel = next(each for each in record["annotations"] if each["semquery"]["part"] == 3)
    assert panel["semquery"] == {"part": 3, "path": ["panel"], "parent": 4}
    assert (panel["image_id"], panel["area"], panel["bbox"], panel["iscrowd"]) == (1, 16, [1, 1, 4, 4], 0)
    assert_equal_masks(masks_of_record(record), masks_by_hand(small_chosen(3), small_cameras()))


def test_categories_are_names_below_what_their_parents_are_called_most_often():
    parts = part_tree([6, 6, 7, 6, 7, 8, 8, 8, 8], [0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 2])
    names = ["handle", "handle", "handle", "screw", "screw", "", "drawer", "door", "kitchen"]
    labels = {p: NodeLabel(p, name) for p, name in enumerate(names)} | {5: NodeLabel(5, " ")}
    record = coco_record(Chosen(small_surface(), parts, labels, (8,)), small_cameras())
    above = {c["name"]: c["supercategory"] for c in record["categories"]}
    assert above == {"handle": "drawer", "screw": "door", **dict.fromkeys(("unknown", "drawer", "door", "kitchen"), "kitchen")}
    assert [c["id"] for c in record["categories"]] == [1, 2, 3, 4, 5, 6] and [*above] == sorted(above)
    nameless = coco_record(small_chosen(labels={}), small_cameras())
    assert [c["name"] for c in nameless["categories"]] == ["unknown"] and len(nameless["annotations"]) > 3


def test_images_are_named_by_their_path_below_the_folder_that_holds_all_photos():
    files = lambda *photos: (lambda record: (record["info"]["photos"], [i["file_name"] for i in record["images"]]))(  # noqa: E731
        coco_record(small_chosen(), small_cameras(photos)))
    assert files("/shot/left/1.png", "/shot/right/1.png", "/shot/above/x.png") == ("/shot", ["left/1.png", "right/1.png", "above/x.png"])
    assert files("/shot/1.png", "/shot/2.png", "/shot/3.png") == ("/shot", ["1.png", "2.png", "3.png"])
    assert files("1.png", "2.png", "3.png") == ("", ["1.png", "2.png", "3.png"])
    assert files("/shot/1.png", "2.png", "3.png") == ("", ["/shot/1.png", "2.png", "3.png"])


def test_a_camera_that_saw_no_surface_has_no_image_and_a_view_without_chosen_parts_has_one():
    cameras = small_cameras()
    blind = replace(cameras, names=("blind", *cameras.names[1:]))
    surface = small_surface()
    surface.point_of_pixel["close"][:] = -1
    del surface.point_of_pixel["front"]
    record = coco_record(Chosen(surface, small_parts(), {}, (2,)), blind)
    assert [image["semquery"]["view"] for image in record["images"]] == ["close", "above"]
    assert {each["image_id"] for each in record["annotations"]} == {2}


def test_without_views_or_without_their_cameras_it_says_so():
    with pytest.raises(ValueError, match="made without views, so there are no masks"):
        coco_record(Chosen(replace(small_surface(), point_of_pixel={}), small_parts(), {}, (4,)), small_cameras())
    renamed = replace(small_cameras(), names=("front", "far", "above"))
    for write in (coco_record, mask_pngs, id_pngs):
        with pytest.raises(ValueError, match="has a view close and the cameras have none of that name"):
            list(write(small_chosen(), renamed))


def test_a_mask_is_a_png_of_one_bit_per_view_that_shows_the_part():
    chosen, cameras = small_chosen(1, 2), sized(small_cameras(), (6, 6), (12, 18), (7, 5))
    expected = {key: mask for key, mask in masks_by_hand(small_chosen(), cameras).items() if key[1] in (1, 2)}
    assert_equal_masks({(view, part): picture(png) for view, part, png in mask_pngs(chosen, cameras)}, expected)
    assert {(view, part) for view, part, _ in mask_pngs(chosen, cameras, [0])} == {("front", 0), ("close", 0), ("above", 0)}
    assert Image.open(io.BytesIO(next(mask_pngs(chosen, cameras))[2])).mode == "1"


def test_a_picture_of_numbers_has_the_smallest_chosen_part_plus_one_in_sixteen_bits():
    chosen, cameras = small_chosen(3), sized(small_cameras(), (6, 6), (6, 6), (12, 6))
    for (view, png), (name, rows), size in zip(id_pngs(chosen, cameras), DRAWN.items(), cameras.sizes, strict=True):
        shown = picture(png)
        assert view == name and Image.open(io.BytesIO(png)).mode == "I;16" and shown.shape == tuple(size)
        number = {"0": 1, "1": 1, "2": 1, "4": 2, "b": 4} | dict.fromkeys(".789a", 0) | {"3": 1, "5": 2, "6": 2}
        expected = np.array([[number[c] for c in row] for row in rows])
        np.testing.assert_array_equal(shown, expected if name != "above" else expected.repeat(2, axis=0))


def test_numbers_beyond_sixteen_bits_are_an_error_and_the_largest_that_fits_is_kept(monkeypatch):
    many = part_tree([65534] * 65535, np.append(np.zeros(11, int), 65534))
    numbers = [picture(png) for _, png in id_pngs(Chosen(small_surface(), many, {}, (65534,)), small_cameras())]
    assert max(shown.max() for shown in numbers) == 65535 and coco.MOST_PARTS == 65535
    monkeypatch.setattr(coco, "MOST_PARTS", 4)
    with pytest.raises(ValueError, match="5 parts, and a picture of 16 bits has numbers for 4: export coco"):
        list(id_pngs(small_chosen(), small_cameras()))


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(1, 6))
def test_runs_of_pixels_are_those_of_the_mask(inside, height):
    mask = np.resize(np.array(inside), (height, -(-len(inside) // height)))
    assert runs_of_pixels(np.flatnonzero(mask.T), mask.size) == runs_of_mask(mask)


def test_no_pixel_is_one_run_and_a_full_picture_starts_with_an_empty_one():
    assert runs_of_pixels(np.zeros(0, np.int64), 6) == [6] and runs_of_pixels(np.arange(6), 6) == [0, 6]
    assert runs_of_pixels(np.array([1, 2, 5]), 6) == [1, 2, 2, 1]


@given(st.tuples(*[st.integers(1, 9)] * 4))
def test_each_pixel_of_another_size_has_the_value_its_centre_falls_into(sizes):
    a, b, height, width = sizes
    grid = np.arange(a * b, dtype=np.int32).reshape(a, b)
    np.testing.assert_array_equal(nearest(grid, (height, width)), scaled_by_hand(grid, height, width))
    np.testing.assert_array_equal(nearest(grid, (a, b)), grid)


@given(st.integers(0, 10_000), st.integers(1, 9))
def test_masks_of_any_tree_are_those_made_by_hand(seed, num_parts):
    random = np.random.default_rng(seed)
    pixels = {name: random.integers(-1, 12, random.integers(1, 7, 2)).astype(np.int32) for name in DRAWN}
    parts = random_parts(random, num_parts, 12)
    chosen = Chosen(replace(small_surface(), point_of_pixel=pixels), parts, {}, (int(random.integers(num_parts)),))
    cameras = sized(small_cameras(), *random.integers(1, 9, (3, 2)).tolist())
    record, expected = coco_record(chosen, cameras), masks_by_hand(chosen, cameras)
    assert_equal_masks(masks_of_record(record), expected)
    for each, mask in zip(record["annotations"], masks_of_record(record).values(), strict=True):
        rows, columns = np.nonzero(mask)
        assert each["bbox"] == [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1] and each["area"] == len(rows)
