"""Which view shows a part best, against counting pixel by pixel."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import random_parts, small_cameras, small_parts, small_surface
from hypothesis import given, settings
from hypothesis import strategies as st

from semquery.render import ring
from semquery.sightings import BARE, CELLS, CUT_OFF, EDGE_ON, STRAY, ranked, sightings, worths
from semquery.types import Cameras, Surface


def random_scene(seed: int):
    """Twenty points, four views of any size, any tree."""
    random = np.random.default_rng(seed)
    parts = random_parts(random, 7, 20)
    points = random.uniform(-1, 1, (20, 3)).astype(np.float32)
    normals = random.normal(size=(20, 3))
    normals = (normals / np.linalg.norm(normals, axis=1, keepdims=True)).astype(np.float32)
    sizes = random.integers(1, 12, (4, 2))
    pixels = {f"view{k}": random.integers(-1, 20, tuple(s)).astype(np.int32) for k, s in enumerate(sizes)}
    colors, features, source = np.zeros((20, 3), np.uint8), np.zeros((20, 0), np.float16), np.arange(20, dtype=np.int32)
    surface = Surface(points, normals, colors, features, source, 0.1, pixels)
    cameras = Cameras(tuple(list(pixels)[:3]), ("",) * 3, ring(np.zeros(3), 3.0, 30, np.array([0, 90, 200])),
                      np.tile([5.0, 5, 3, 3], (3, 1)), sizes[:3])  # the fourth view has no pose
    support = np.array([[p, v, 0] for p in range(7) for v in range(4) if random.random() < 0.3], np.int32).reshape(-1, 3)
    return surface, replace(parts, support=support, support_iou=random.random(len(support)).astype(np.float32)), cameras


def slow_share(surface, parts, shown, part: int) -> float:
    own = [p for p in range(20) if parts.holds[part, parts.part_of_point[p]]]
    if not own:
        return 0.0
    low, high = surface.points[own].astype(float).min(0), surface.points[own].astype(float).max(0)
    cells_a_unit = CELLS / max((high - low).max(), 1e-12)
    cell = {p: tuple(min(int(c), CELLS - 1) for c in (surface.points[p].astype(float) - low) * cells_a_unit) for p in own}
    return len({cell[p] for _, _, p in shown if p in cell}) / len(set(cell.values()))


def slow_worth(surface, parts, cameras, view: str, part: int, pad: float) -> tuple[float, list[int]]:
    """One pixel after another."""
    grid = surface.point_of_pixel[view]
    shown = [(y, x, int(grid[y, x])) for y, x in np.ndindex(grid.shape) if grid[y, x] >= 0]
    hits = [(y, x, p) for y, x, p in shown if parts.holds[part, parts.part_of_point[p]]]
    if not hits:
        return 0.0, [0, 0, 0, 0]
    cosines = [1.0]
    if view in cameras.names:
        eye = cameras.T_world_cam[cameras.names.index(view), :3, 3]
        sights = [surface.points[p] - eye for _, _, p in hits]
        cosines = [abs(np.dot(s / np.linalg.norm(s), surface.normals[p])) for s, (_, _, p) in zip(sights, hits, strict=True)]
    share = slow_share(surface, parts, shown, part)
    children = [slow_share(surface, parts, shown, child) for child in parts.children(part)]
    revealed = BARE + (1 - BARE) * (np.mean(children) if children else 1)
    trimmed = int(STRAY * len(hits))
    rows, columns = (sorted(h[k] for h in hits)[trimmed : len(hits) - trimmed] for k in (0, 1))
    box = [rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]
    margin = 1.0
    for gap in (box[0], box[1], grid.shape[0] - box[2], grid.shape[1] - box[3]):
        margin *= CUT_OFF + (1 - CUT_OFF) * min(1, gap / (pad * max(box[2] - box[0], box[3] - box[1])))
    number = sorted(surface.point_of_pixel).index(view)
    ious = [iou for (p, v, _), iou in zip(parts.support, parts.support_iou, strict=True) if (p, v) == (part, number)]
    return len(hits) * margin * max(np.mean(cosines), EDGE_ON) * share * revealed * (1 + max(ious, default=0.0)), box


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 100_000))
def test_a_views_worth_is_that_of_looking_at_each_pixel(seed):
    surface, parts, cameras = random_scene(seed)
    seen = sightings(surface, parts, cameras)
    found = worths(seen, parts, sorted(surface.point_of_pixel), pad=0.2)
    for (k, view), part in ((kv, p) for kv in enumerate(seen.views) for p in range(7)):
        worth, box = slow_worth(surface, parts, cameras, view, part, 0.2)
        assert found[k, part] == pytest.approx(worth, rel=1e-5) and seen.box[k, part].tolist() == box


def facing_scene(drawn: dict[str, list[str]]) -> Surface:
    """The hand-made surface with other pictures of it."""
    pixels = {name: np.array([[-1 if c == "." else int(c, 16) for c in row] for row in rows], np.int32) for name, rows in drawn.items()}
    return replace(small_surface(), point_of_pixel=pixels)


def best(surface: Surface, part: int, parts=None, cameras=None) -> str:
    parts, cameras = parts or small_parts(), cameras or small_cameras()
    seen = sightings(surface, parts, cameras)
    return seen.views[ranked(worths(seen, parts, sorted(seen.views), 0.2)[:, part])[0]]


def test_of_two_views_alike_but_for_one_thing_the_better_one_is_chosen():
    few, many = [".....", ".01..", ".23..", "....."], [".....", ".001.", ".223.", "....."]
    cut, also = ["......", "0011..", "2233..", "......"], ["......", "..0011", "..2233", "......"]
    corner = ["0011..", "2233..", "......", "......"]
    middle = ["......", ".0011.", ".2233.", "......"]
    some, whole = [".....", ".00..", ".11..", "....."], [".....", ".01..", ".23..", "....."]
    assert best(facing_scene({"few": few, "many": many}), 0) == "many"
    assert best(facing_scene({"also": also, "cut": cut}), 0) == "also"  # both touch one side of the border, the first comes first
    assert best(facing_scene({"corner": corner, "cut": cut}), 0) == "cut"  # one side rather than two
    assert best(facing_scene({"cut": cut, "middle": middle}), 0) == "middle"
    assert best(facing_scene({"some": some, "whole": whole}), 0) == "whole"


def test_each_side_of_the_border_that_a_part_touches_counts_once():
    free = np.full((20, 20), -1, np.int32)
    free[8:12, 8:12] = 0
    across, along, all_over = np.full((4, 20), -1, np.int32), free[8:], np.zeros((4, 4), np.int32)
    across[:, 8:12] = 0
    corner, three = free[8:, 8:], across[:, 8:]
    views = {"a": free, "b": along, "c": across, "d": corner, "e": three, "f": all_over}
    seen = sightings(replace(small_surface(), point_of_pixel=views), small_parts(), small_cameras())  # without poses: all frontal
    worth = worths(seen, small_parts(), [], 0.2)[:, 0]
    assert worth / worth[0] == pytest.approx([CUT_OFF**k for k in (0, 1, 2, 2, 3, 4)])


def test_what_fills_a_photo_is_shown_in_another_where_it_can_be_seen_as_a_thing():
    filling = np.full((30, 30), 7, np.int32)  # a panel all around a plate
    filling[10:20, 10:20] = 11
    whole = np.full((30, 30), -1, np.int32)
    whole[10:22, 9:21] = 7
    surface = replace(small_surface(), point_of_pixel={"filling": filling, "whole": whole})
    assert best(surface, small_parts().part_of_point[7]) == "whole"


def test_a_thing_is_shown_from_where_its_own_parts_are_seen():
    back, front = ["......", ".bbbb.", ".bbbb.", "......"], ["......", ".bb0..", ".1b4..", "......"]
    assert best(facing_scene({"back": back, "front": front}), 3) == "front"  # fewer pixels of the panel, but its knobs
    assert best(facing_scene({"back": back, "front": ["......", ".bbb..", ".bbb..", "......"]}), 3) == "back"


def test_of_equal_views_the_frontal_one_is_chosen():
    rows = ["....", ".01.", ".23.", "...."]
    poses = ring(np.array([0, 0, 1.5]), 10.0, 0.0, np.array([-10.0, -85.0]))  # the knob looks towards -y
    cameras = Cameras(("side", "front"), ("", ""), poses, np.tile([5.0, 5, 2, 2], (2, 1)), np.full((2, 2), 4))
    surface = facing_scene({"side": rows, "front": rows})
    assert best(surface, 0, cameras=cameras) == "front"
    seen = sightings(surface, small_parts(), cameras)
    assert seen.frontality[0, 0] < 0.4 < 0.95 < seen.frontality[1, 0]


def test_of_equal_views_the_one_whose_mask_made_the_part_is_chosen():
    rows = ["....", ".01.", ".23.", "...."]
    parts = replace(small_parts(), support=np.array([[0, 2, 5], [1, 1, 0]], np.int32), support_iou=np.array([0.8, 1.0], np.float32))
    assert best(facing_scene({"a": rows, "b": rows, "c": rows}), 0, parts) == "c"
    assert best(facing_scene({"a": rows, "b": rows, "c": rows}), 0) == "a"


def test_stray_pixels_do_not_widen_the_box():
    grid = np.full((40, 40), -1, np.int32)
    grid[10:25, 12:30] = 0
    grid[0, 0] = grid[39, 39] = 1  # of the same part, far off
    seen = sightings(replace(small_surface(), point_of_pixel={"front": grid}), small_parts(), small_cameras())
    assert seen.box[0, 0].tolist() == [10, 12, 25, 30] and seen.pixels[0, 0] == 15 * 18 + 2


def test_half_of_a_thing_seen_large_is_less_of_it_than_the_whole_seen_small():
    """A board of 400 points: one view shows its left half, a pixel a point, the other all of it, every fourth point."""
    number = np.arange(400, dtype=np.int32).reshape(20, 20)
    xz = np.stack(np.meshgrid(np.arange(20.0), np.arange(20.0)), -1).reshape(-1, 2)
    points = np.stack([xz[:, 0], 0 * xz[:, 0], xz[:, 1]], 1).astype(np.float32)
    surface = Surface(points, np.tile(np.float32([0, -1, 0]), (400, 1)), np.zeros((400, 3), np.uint8), np.zeros((400, 0), np.float16),
                      np.arange(400, dtype=np.int32), 1.0, {"half": number[:, :10], "whole": number[::2, ::2]})
    parts = random_parts(np.random.default_rng(0), 1, 400)
    seen = sightings(surface, parts, small_cameras())
    assert seen.pixels[:, 0].tolist() == [200, 100] and seen.share[1, 0] == 1.0 and seen.share[0, 0] == pytest.approx(0.5, abs=0.01)


def test_a_scene_without_views_shows_nothing():
    seen = sightings(replace(small_surface(), point_of_pixel={}), small_parts(), small_cameras())
    assert seen.pixels.shape == (0, 5) and ranked(worths(seen, small_parts(), [], 0.2)[:, 0]) == []
