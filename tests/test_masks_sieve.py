"""Which answers are masks: stability, boxes, suppression, duplicates; small regions; batches that fit."""

from collections import deque

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from semquery.masks.memory import Batches
from semquery.masks.sieve import best_boxes, best_masks, is_cut_off, mask_boxes, shared_area, stability
from semquery.masks.tidy import tidy

MASKS = st.tuples(st.integers(0, 6), st.integers(1, 6), st.integers(1, 7)).flatmap(lambda shape: arrays(bool, shape))


def box_iou(a, b) -> float:
    sides = [max(0, min(a[k + 2], b[k + 2]) - max(a[k], b[k])) for k in (0, 1)]
    both = sides[0] * sides[1]
    union = sum((x[2] - x[0]) * (x[3] - x[1]) for x in (a, b)) - both
    return both / union if union else 0.0


# ------------------------------------------------------------------ answers


def test_stability_by_hand():
    sharp = torch.tensor([[5.0, 5.0], [-5.0, -5.0]])
    soft = torch.tensor([[5.0, 0.5], [-0.5, -5.0]])  # one pixel above +1, three above -1
    nothing = torch.full((2, 2), -9.0)
    assert stability(torch.stack([sharp, soft, nothing]), 1.0).tolist() == pytest.approx([1, 1 / 3, 0])


@settings(max_examples=60, deadline=None)
@given(MASKS)
def test_boxes_are_those_of_the_pixels(masks):
    boxes = mask_boxes(torch.from_numpy(masks)).tolist()
    for mask, box in zip(masks, boxes, strict=True):
        y, x = np.nonzero(mask)
        assert box == ([x.min(), y.min(), x.max() + 1, y.max() + 1] if len(x) else [0, 0, 0, 0])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 9)] * 2, *[st.integers(1, 9)] * 2, st.integers(0, 50)), max_size=8, unique_by=lambda t: t[4]), st.sampled_from([0.0, 0.31, 0.71]))
def test_suppression_keeps_what_comparing_each_with_every_kept_one_keeps(rows, most):
    boxes = np.array([[x, y, x + w, y + h] for x, y, w, h, _ in rows], np.float32).reshape(-1, 4)
    scores = np.array([r[4] for r in rows], np.float32)
    kept = []
    for k in np.argsort(-scores):
        if all(box_iou(boxes[k], boxes[other]) <= most for other in kept):
            kept.append(int(k))
    assert best_boxes(torch.from_numpy(boxes), torch.from_numpy(scores), most).tolist() == kept


def test_suppression_takes_half_precision_which_it_could_not_compare_itself():
    boxes = torch.tensor([[0, 0, 4, 4], [0, 0, 4, 5]], dtype=torch.bfloat16)
    assert best_boxes(boxes, torch.tensor([0.5, 0.75], dtype=torch.bfloat16), 0.7).tolist() == [1]


@settings(max_examples=60, deadline=None)
@given(MASKS, st.sampled_from([0.0, 0.301, 0.851, 1.0]), st.randoms(use_true_random=False))
def test_duplicates_give_way_to_the_better_scored(masks, most, random):
    scores = np.array([random.choice([0.2, 0.5, 0.9]) for _ in masks], np.float32)
    iou = lambda a, b: (a & b).sum() / max(1, (a | b).sum())  # noqa: E731
    kept = []
    for k in sorted(range(len(masks)), key=lambda k: (-scores[k], k)):
        if all(iou(masks[k], masks[other]) <= most for other in kept):
            kept.append(k)
    assert best_masks(torch.from_numpy(masks), torch.from_numpy(scores), most) == kept


def test_shared_areas_do_not_depend_on_the_block():
    masks = torch.from_numpy(np.random.default_rng(0).random((5, 7, 9)) < 0.4)
    slow = torch.tensor([[float((a & b).sum()) for b in masks] for a in masks])
    assert torch.equal(shared_area(masks, block=10), slow) and torch.equal(shared_area(masks), slow)


def test_only_crop_sides_inside_the_frame_cut_masks_off():
    """The left half of a frame 100 wide and 50 high: its right side is the only one beyond which something may go on."""
    crop, boxes = np.array([0, 0, 50, 50]), torch.tensor([[0.0, 0, 20, 50], [30, 10, 50, 20], [30, 10, 47, 20], [30, 10, 49, 20], [0, 0, 50, 50]])
    assert is_cut_off(boxes, crop, (50, 100), 2.0).tolist() == [False, True, False, True, True]
    assert not is_cut_off(boxes, crop, (50, 50), 2.0).any()


# ------------------------------------------------------------------ small regions


def slow_regions(mask):
    """8-connected regions as sets of pixels, by flooding."""
    left, regions = set(zip(*np.nonzero(mask), strict=True)), []
    while left:
        queue, region = deque([left.pop()]), set()
        while queue:
            y, x = queue.popleft()
            region.add((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            queue.extend(near)
        regions.append(region)
    return regions


def slow_tidy(mask, least):
    if not mask.any():
        return mask
    y, x = np.nonzero(mask)
    out = mask.copy()
    for region in slow_regions(~mask):
        within = all(y.min() <= a <= y.max() and x.min() <= b <= x.max() for a, b in region)
        if within and len(region) < least:
            out[tuple(zip(*region, strict=True))] = True
    islands = slow_regions(out)
    largest = max(map(len, islands))
    for region in islands:
        if len(region) < least and len(region) < largest:
            out[tuple(zip(*region, strict=True))] = False
    return out


@settings(max_examples=150, deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))), st.integers(2, 12))
def test_tidying_fills_and_drops_what_flooding_finds_small(mask, least):
    tidied, slow = tidy(mask, least), slow_tidy(mask, least)
    if sorted(map(len, slow_regions(slow)))[:1] < [least] and len(slow_regions(slow)) > 1:
        return  # several largest islands, all small: which of them stays is a matter of order
    assert tidied.tolist() == slow.tolist()


def test_a_hole_and_a_speck_by_hand():
    drawn = ["#####...", "#...#...", "#.#.#..#", "#...#...", "#####..."]
    mask = np.array([[c == "#" for c in row] for row in drawn])
    clean = [["#" * 5 + "..." for _ in drawn], drawn]
    assert tidy(mask, 10).tolist() == [[c == "#" for c in row] for row in clean[0]]
    assert tidy(mask, 1).tolist() == mask.tolist()


def test_the_largest_island_stays_whatever_its_size():
    mask = np.zeros((3, 6), bool)
    mask[0, 0], mask[0, 3:5] = True, True
    assert np.argwhere(tidy(mask, 100)).tolist() == [[0, 3], [0, 4]]
    assert not tidy(np.zeros((3, 3), bool), 100).any()


@settings(max_examples=60, deadline=None)
@given(arrays(bool, (7, 7)), st.integers(2, 9))
def test_tidying_twice_changes_nothing_more(mask, least):
    once = tidy(mask, least)
    assert tidy(once, least).tolist() == once.tolist()


# ------------------------------------------------------------------ memory


@pytest.mark.parametrize("error", [torch.cuda.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), MemoryError()])
def test_batches_are_halved_when_memory_runs_out_and_nothing_is_done_twice(error):
    batches, tried, done = Batches(64), [], []

    def work(start, stop):
        tried.append(stop - start)
        if stop - start > 10:
            raise error
        done.extend(range(start, stop))
        return stop - start

    assert sum(batches.run(100, work)) == 100 and done == list(range(100))
    assert tried[:4] == [64, 32, 16, 8] and set(tried[4:]) <= {8, 4} and batches.size == 8
    assert list(batches.run(8, work)) == [8], "what was learnt is forgotten"


def test_other_errors_are_not_taken_for_full_memory():
    def work(start, stop):
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        list(Batches(4).run(8, work))


def test_memory_too_small_for_one_point_is_said():
    def work(start, stop):
        raise torch.cuda.OutOfMemoryError("full")

    with pytest.raises(ValueError, match="even one point at a time. Use a smaller checkpoint"):
        list(Batches(4).run(8, work))


def test_no_points_are_no_batches():
    assert list(Batches(4).run(0, lambda start, stop: 1)) == []
