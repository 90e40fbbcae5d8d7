"""Packing masks, finding regions on drawn pictures, and reading folders of masks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from semquery.masks import (
    MaskFolder,
    Regions,
    containing_mask,
    empty_stack,
    pairwise_iou,
    regions_of,
    shrink,
    stack_masks,
    without_duplicates,
)

MASKS = st.tuples(st.integers(0, 7), st.integers(1, 5), st.integers(1, 6)).flatmap(lambda shape: arrays(bool, shape))


def ones(masks) -> np.ndarray:
    return np.ones(len(masks), np.float32)


def slow_iou(a, b):
    one, other = set(np.flatnonzero(a).tolist()), set(np.flatnonzero(b).tolist())
    return len(one & other) / len(one | other) if one | other else 0.0


# ------------------------------------------------------------------ packing


@settings(max_examples=80, deadline=None)
@given(MASKS)
def test_what_is_stacked_comes_back_and_no_layer_holds_two_masks_in_a_pixel(masks):
    stack = stack_masks(masks, ones(masks))
    assert stack.masks().tolist() == masks.tolist() and stack.size == masks.shape[1:]
    for k, mask in enumerate(masks):
        shown = [int((layer == k + 1).sum()) for layer in stack.layers]
        assert sum(shown) == mask.sum() and sum(s > 0 for s in shown) <= 1


def test_nested_masks_take_a_layer_a_level_and_disjoint_ones_share():
    rows = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 0, 0]], bool)
    stack = stack_masks(rows[:, None], np.array([0.1, 0.2, 0.3, 0.4], np.float32))
    assert stack.layers.tolist() == [[[1, 1, 1, 1]], [[2, 2, 3, 3]], [[4, 0, 0, 0]]]
    assert stack.scores.tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4])


def test_too_many_masks_are_refused():
    with pytest.raises(ValueError, match="65536 masks in one view"):
        stack_masks(np.zeros((65536, 1, 1), bool), np.zeros(65536, np.float32))


def test_an_empty_stack_has_a_size_and_no_masks():
    assert empty_stack((3, 4)).masks().shape == (0, 3, 4)


@settings(max_examples=40, deadline=None)
@given(MASKS, st.integers(0, 3))
def test_iou_agrees_with_sets_of_pixels_also_when_there_is_nothing_to_compare(masks, k):
    some = masks[:k]
    iou = pairwise_iou(masks, some)
    assert iou.shape == (len(masks), len(some))
    np.testing.assert_allclose(iou, np.array([[slow_iou(a, b) for b in some] for a in masks]).reshape(iou.shape), atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(MASKS, st.sampled_from([0.0, 0.301, 0.501, 0.851]))
def test_duplicates_are_dropped_as_by_comparing_each_with_every_kept_one(masks, same):
    kept = []
    for k in sorted(range(len(masks)), key=lambda k: (-int(masks[k].sum()), k)):
        if all(slow_iou(masks[k], masks[other]) <= same for other in kept):
            kept.append(k)
    assert without_duplicates(masks, same).tolist() == masks[kept].tolist()


def test_regions_of_labels_leave_out_the_small_and_the_zero():
    found = regions_of(np.array([[0, 0, 0], [5, 5, 9], [5, 7, 7]]), min_pixels=2)
    assert [m.sum() for m in found] == [3, 2]


@pytest.mark.parametrize(("size", "expected"), [((40, 100), (20, 50)), ((100, 40), (50, 20)), ((30, 50), (30, 50)), ((1, 400), (1, 50))])
def test_shrinking_keeps_the_shape_and_never_enlarges(size, expected):
    image = np.full((*size, 3), 77, np.uint8)
    assert shrink(image, 50).shape == (*expected, 3) and (shrink(image, 50) == 77).all()


# ------------------------------------------------------------------ regions of a picture


def drawn():
    """A red disc, and a yellow square inside a blue one, on white; and the shapes."""
    y, x = np.indices((96, 120)) + 0.5
    shapes = {
        "disc": (y - 48) ** 2 + (x - 30) ** 2 < 20**2,
        "outer": (abs(y - 48) < 30) & (abs(x - 85) < 25),
        "inner": (abs(y - 40) < 10) & (abs(x - 85) < 10),
    }
    image = np.full((96, 120, 3), 245, np.uint8)
    for name, color in (("disc", (200, 40, 40)), ("outer", (40, 80, 190)), ("inner", (230, 210, 60))):
        image[shapes[name]] = color
    return image, {"disc": shapes["disc"], "ring": shapes["outer"] & ~shapes["inner"], "inner": shapes["inner"]}


def test_regions_find_the_shapes_of_a_drawn_picture():
    image, shapes = drawn()
    stack = Regions()("view", image)
    best = pairwise_iou(stack.masks(), np.stack(list(shapes.values()))).max(0)
    assert dict(zip(shapes, best, strict=True)) == {name: pytest.approx(1, abs=0.1) for name in shapes}
    assert stack.num_masks < 80 and stack.masks().sum((1, 2)).min() >= Regions().min_pixels


def test_regions_are_the_same_every_time():
    image, _ = drawn()
    one, other = Regions()("view", image), Regions()("another name", image)
    assert one.layers.tolist() == other.layers.tolist()


def test_regions_never_cover_a_transparent_background():
    image, shapes = drawn()
    alpha = shapes["disc"] | shapes["ring"] | shapes["inner"]
    stack = Regions()("view", np.dstack([image, np.where(alpha, 255, 0).astype(np.uint8)]))
    assert stack.num_masks > 2 and not stack.masks()[:, ~alpha].any()


def test_a_view_of_nothing_but_background_has_no_masks():
    stack = Regions()("view", np.zeros((20, 30, 4), np.uint8))
    assert stack.num_masks == 0 and stack.layers.shape == (0, 20, 30)


def test_large_photos_are_segmented_small():
    image, _ = drawn()
    assert Regions(max_side=60)("view", image).size == (48, 60)


@pytest.mark.filterwarnings("ignore")
def test_a_picture_of_one_colour_is_one_region_at_most_per_setting():
    stack = Regions()("view", np.full((40, 40, 3), 128, np.uint8))
    assert stack.num_masks >= 1 and stack.masks().any(0).all()


# ------------------------------------------------------------------ folders of masks

PHOTO = np.zeros((8, 12, 3), np.uint8)


def two_masks() -> np.ndarray:
    masks = np.zeros((2, 8, 12), bool)
    masks[0, 1:7, 1:9], masks[1, 4:6, 3:5] = True, True
    return masks


def write_npz(folder, masks):
    np.savez(folder / "view.npz", masks=masks)


def write_uint8_npz(folder, masks):
    np.savez(folder / "view.npz", masks=masks.astype(np.uint8) * 255)


def write_layers(folder, masks):
    stack = stack_masks(masks, ones(masks))
    np.savez(folder / "view.npz", layers=stack.layers, scores=stack.scores)


def write_pngs(folder, masks):
    (folder / "view").mkdir()
    for k, mask in enumerate(masks):
        Image.fromarray(mask).save(folder / "view" / f"{k}.png")


@pytest.mark.parametrize("write", [write_npz, write_uint8_npz, write_layers, write_pngs])
def test_nested_masks_are_read_from_every_layout_that_can_hold_them(tmp_path, write):
    write(tmp_path, two_masks())
    source = MaskFolder(tmp_path)
    source.check(["view"])
    assert source("view", PHOTO).masks().tolist() == two_masks().tolist()


@pytest.mark.parametrize("mode", ["8", "16", "P"])
def test_label_images_are_read_in_every_depth(tmp_path, mode):
    labels = np.zeros((8, 12), np.uint16)
    labels[1:3, 2:5], labels[5:7, 6:9] = 3, 200 if mode != "16" else 900
    if mode == "16":
        picture = Image.fromarray(labels)
    else:
        picture = Image.fromarray(labels.astype(np.uint8))
        if mode == "P":
            picture.putpalette(np.random.default_rng(0).integers(0, 256, 768).astype(np.uint8).tobytes())
            assert picture.mode == "P"
    picture.save(tmp_path / "view.png")
    assert MaskFolder(tmp_path)("view", PHOTO).masks().tolist() == [(labels == k).tolist() for k in sorted({*labels.ravel().tolist()} - {0})]


def test_masks_may_be_smaller_than_the_photo_but_not_of_another_shape(tmp_path):
    np.savez(tmp_path / "small.npz", masks=np.ones((1, 4, 6), bool))
    np.savez(tmp_path / "other.npz", masks=np.ones((1, 8, 8), bool))
    assert MaskFolder(tmp_path)("small", PHOTO).size == (4, 6)
    with pytest.raises(ValueError, match="is 8×8, its photo 8×12"):
        MaskFolder(tmp_path)("other", PHOTO)


def test_an_absent_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match="no mask folder at .*gone"):
        MaskFolder(tmp_path / "gone").check(["view"])


@pytest.mark.parametrize("allow_missing", [True, False])
def test_a_folder_of_another_scene_is_refused(tmp_path, allow_missing):
    write_npz(tmp_path, two_masks())
    with pytest.raises(ValueError, match=r"no masks for 2 of 2 views \(first: a\); it holds \['view.npz'\]"):
        MaskFolder(tmp_path, allow_missing).check(["a", "b"])


def test_views_without_an_entry_have_to_be_allowed(tmp_path):
    write_npz(tmp_path, two_masks())
    with pytest.raises(ValueError, match=r"1 of 2 views \(first: b\).*set allow-missing"):
        MaskFolder(tmp_path).check(["view", "b"])
    lenient = MaskFolder(tmp_path, allow_missing=True)
    lenient.check(["view", "b"])
    assert lenient("b", PHOTO).num_masks == 0


def test_what_cannot_be_masks_is_refused_with_what_was_expected(tmp_path):
    np.savez(tmp_path / "keys.npz", segments=np.zeros(3))
    np.savez(tmp_path / "half.npz", layers=np.zeros((1, 8, 12), np.uint16))
    np.savez(tmp_path / "object.npz", masks=np.array([{"a": 1}], object))
    (tmp_path / "folder").mkdir()
    Image.fromarray(PHOTO).save(tmp_path / "colour.png")
    (tmp_path / "torn.npz").write_bytes((tmp_path / "keys.npz").read_bytes()[:60])
    source = MaskFolder(tmp_path)
    for name, message in (("keys", r"holds \['segments'\]; expected `masks`"), ("half", r"holds \['layers'\]"), ("object", "pickle"),
                          ("folder", "holds no PNG"), ("colour", "is a colour image"), ("torn", "torn.npz cannot be read")):
        with pytest.raises(ValueError, match=message):
            source(name, PHOTO)


def test_more_that_cannot_be_masks_is_refused(tmp_path):
    np.savez(tmp_path / "flat.npz", masks=np.zeros((8, 12), bool))
    np.savez(tmp_path / "unscored.npz", layers=np.full((1, 8, 12), 3, np.uint16), scores=np.ones(2, np.float32))
    (tmp_path / "torn.png").write_bytes(b"\x89PNG\r\n")
    (tmp_path / "sizes").mkdir()
    for k, size in enumerate([(8, 12), (4, 6)]):
        Image.fromarray(np.ones(size, bool)).save(tmp_path / "sizes" / f"{k}.png")
    source = MaskFolder(tmp_path)
    for name, message in (("flat", r"has shape \(8, 12\)"), ("unscored", "labels up to 3"), ("torn", "cannot be read as an image"),
                          ("sizes", "must be of one size")):
        with pytest.raises(ValueError, match=message):
            source(name, PHOTO)


# ------------------------------------------------------------------ hierarchy by containment


def test_nested_masks_know_what_contains_them():
    rows = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0]], bool)[:, None]
    assert containing_mask(rows).tolist() == [-1, 0, 1, 0, -1]
    assert containing_mask(rows, 0.5).tolist() == [-1, 0, 1, 1, -1]  # half of the fourth lies in the second


@settings(max_examples=80, deadline=None)
@given(MASKS, st.sampled_from([0.301, 0.701, 0.9, 1.0]))
def test_the_containing_mask_is_the_smallest_larger_one_that_holds_enough(masks, ratio):
    order = sorted(range(len(masks)), key=lambda k: (-int(masks[k].sum()), k))
    expected = [-1] * len(masks)
    for place, k in enumerate(order):
        for larger in order[:place]:
            if masks[k].any() and (masks[k] & masks[larger]).sum() >= ratio * masks[k].sum():
                expected[k] = larger  # the last that holds it is the smallest
    assert containing_mask(masks, ratio).tolist() == expected


@settings(max_examples=40, deadline=None)
@given(MASKS)
def test_containment_is_a_forest_and_survives_packing(masks):
    parents = containing_mask(masks)
    for k in range(len(masks)):
        seen = set()
        while k >= 0:
            assert k not in seen
            seen.add(k)
            k = int(parents[k])
    assert containing_mask(stack_masks(masks, ones(masks)).masks()).tolist() == parents.tolist()
