"""The pictures of a part: the right view, the right frame, the part never lost."""

import hashlib
import io
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from helpers import small_cameras, small_parts, small_surface
from painted import painted
from PIL import Image

from semquery.pictures import OUTLINE
from semquery.portraits import IN_WORDS, PortraitConfig, portraits
from semquery.sightings import ranked, sightings, worths
from semquery.views import repainted

STYLES = ["outlined", "black", "white", "dim", "blur"]


def opened(png: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(png))
    assert (image.format, image.mode) == ("PNG", "RGB")
    return np.asarray(image)


def drawn(name: str, world=None, **config) -> list[np.ndarray]:
    world = world or painted()
    draw = portraits(world.surface, world.parts, world.cameras, lambda view: world.photos[view], PortraitConfig(**{"side": 224, **config}))
    return [opened(png) for png in draw(world.names.index(name))]


def share_of(image: np.ndarray, *colors) -> float:
    return sum(float((np.abs(image.astype(int) - color).max(-1) <= 12).mean()) for color in colors)


def color(name: str) -> tuple[int, int, int]:
    return painted().color(painted().names.index(name))


def has_line(image: np.ndarray) -> bool:
    return bool((image == OUTLINE).all(-1).any())


# ------------------------------------------------------------------ place and close-up


def test_a_part_is_shown_in_its_place_and_closer():
    place, close = drawn("drawer knob")
    assert place.shape == close.shape == (224, 224, 3) and has_line(place) and has_line(close)
    assert share_of(place, color("drawer front")) > 0.2  # what holds it
    assert share_of(close, color("drawer knob")) > 3 * share_of(place, color("drawer knob")) > 0.03


def test_a_close_up_is_padded_by_the_share_asked_for():
    for pad in (0.0, 0.2, 0.5):
        close = drawn("drawer knob", pad=pad)[1]
        columns = np.flatnonzero((np.abs(close.astype(int) - color("drawer knob")).max(-1) < 12).any(0))
        assert (np.ptp(columns) + 1) / 224 == pytest.approx(1 / (1 + 2 * pad), abs=0.07)


def frames_of(knob: tuple[int, int], panel: tuple[slice, slice], **config) -> list[list[int]]:
    """The first and last row and column of the photo that each picture of a knob of 5 × 5 pixels shows; its colours tell them."""
    point = np.full((100, 100), -1, np.int32)
    point[panel] = 11
    point[knob[0] : knob[0] + 5, knob[1] : knob[1] + 5] = 0
    rows, columns = np.indices((100, 100))
    ramp = np.stack([2 * columns, 2 * rows, 0 * rows], -1).astype(np.uint8)
    surface = replace(small_surface(), point_of_pixel={"front": point})
    settings = PortraitConfig(least_pixels=0, least_share=0.0, **config)
    draw = portraits(surface, small_parts(), small_cameras(), lambda view: ramp, settings)
    images = [opened(png) // 2 for png in draw(0)]
    return [[int(i[0, 0, 1]), int(i[0, 0, 0]), int(i[-1, -1, 1]), int(i[-1, -1, 0])] for i in images]


def test_the_place_is_what_holds_the_part_and_no_more_than_so_many_times_its_width():
    panel = slice(40, 60), slice(20, 60)  # padded: a square of 56 around (50, 40)
    place, close = frames_of((45, 30), panel, context=50.0)
    assert np.abs(np.array(place) - [22, 12, 77, 67]).max() <= 1 and np.abs(np.array(close) - [43, 28, 51, 36]).max() <= 1
    place, _ = frames_of((45, 30), panel, context=8.0)  # 40 around the knob's middle, (47.5, 32.5)
    assert np.abs(np.array(place) - [28, 13, 67, 52]).max() <= 1
    place, _ = frames_of((54, 54), panel, context=8.0)  # moved back into the panel's frame
    assert np.abs(np.array(place) - [37, 28, 77, 67]).max() <= 1


def test_frames_are_moved_into_the_photo_rather_than_filled_with_white():
    place, close = frames_of((95, 0), (slice(60, 100), slice(0, 40)), context=50.0, pad=0.3)  # a frame of 64, and one of 8
    assert np.abs(np.array(place) - [36, 0, 99, 63]).max() <= 1 and np.abs(np.array(close) - [92, 0, 99, 7]).max() <= 1


def test_the_place_of_a_part_of_the_scene_is_the_whole_photo_if_it_is_large_in_it():
    world = painted()
    place = drawn("desk")[0]
    view = world.surface.point_of_pixel
    shown = [np.asarray(Image.fromarray(world.photos[name]).resize((224, 224), Image.Resampling.BICUBIC)) for name in view]
    unmarked = [(np.abs(place.astype(int) - photo).max(-1) <= 2).mean() for photo in shown]
    assert max(unmarked) > 0.8 > sorted(unmarked)[-2]


def test_what_is_tiny_in_its_parent_gets_a_smaller_frame():
    wide, narrow = drawn("drawer knob", context=50.0)[0], drawn("drawer knob", context=2.0)[0]
    assert share_of(narrow, color("drawer knob")) > 2 * share_of(wide, color("drawer knob"))


def test_the_whole_scene_needs_one_picture_and_a_part_that_fills_its_place_too():
    assert len(drawn("room")) == 1 and has_line(drawn("room")[0])
    assert len(drawn("drawer front")) == 1
    assert len(drawn("room", style="black")) == len(drawn("drawer front", style="black")) == 1


@pytest.mark.parametrize("style", ["white", "dim", "blur"])
def test_a_style_is_seen_in_a_close_up_even_if_that_is_no_closer_than_its_place(style):
    place, close = drawn("drawer front", style=style)
    assert (place == drawn("drawer front")[0]).all() and has_line(place) and not has_line(close)
    assert share_of(close, color("drawer front")) > 0.1 and not np.array_equal(close, place)
    assert len(drawn("room", style=style)) == 2


def test_further_views_are_further_close_ups_best_first():
    world = painted()
    three, one = drawn("handle", views=3), drawn("handle")
    assert len(three) == 4 and all((a == b).all() for a, b in zip(three, one, strict=False))
    seen = sightings(world.surface, world.parts, world.cameras)
    worth = worths(seen, world.parts, sorted(seen.views), 0.2)[:, world.names.index("handle")]
    assert seen.views[ranked(worth)[0]] == "handle"


# ------------------------------------------------------------------ styles


@pytest.mark.parametrize("style", STYLES)
def test_each_style_marks_the_close_up_in_its_own_way_and_says_so(style):
    images = drawn("drawer knob", style=style)
    close, knob, front = images[-1], color("drawer knob"), color("drawer front")
    assert share_of(close, knob) > 0.2 and len(images) == (1 if style == "black" else 2)
    around = {"outlined": front, "black": (0, 0, 0), "white": (255, 255, 255), "dim": tuple(round(0.3 * c) for c in front), "blur": front}
    assert share_of(close, around[style]) > 0.2 and has_line(close) == (style == "outlined")
    assert all(has_line(image) for image in images[:-1])
    assert ("red" in IN_WORDS[style]) == has_line(images[0])


# ------------------------------------------------------------------ small, hidden, unseen


def without_views(world, *kept: str):
    return replace(world, surface=replace(world.surface, point_of_pixel={v: world.surface.point_of_pixel[v] for v in kept}))


def test_a_part_of_few_pixels_is_drawn_from_the_surface():
    world = without_views(painted(), "room0", "room1")
    photographed, rendered = drawn("drawer knob", world, least_pixels=1), drawn("drawer knob", world, least_pixels=10_000)
    assert (photographed[0] == rendered[0]).all()  # its place is still the photo
    assert share_of(rendered[1], color("drawer knob")) > 0.15 and has_line(rendered[1])
    assert share_of(rendered[1], color("drawer front")) > 0.15  # among what is around it
    assert not np.array_equal(photographed[1], rendered[1])
    black = drawn("drawer knob", world, least_pixels=10_000, style="black")[-1]
    assert share_of(black, color("drawer knob")) > 0.15 and share_of(black, (0, 0, 0)) > 0.4


def test_a_part_hidden_in_its_best_photo_is_also_drawn_alone():
    world = painted()
    leg, point = world.names.index("right leg"), world.surface.point_of_pixel["room3"].copy()
    inside = world.parts.points_of(leg)
    visible = np.argwhere((point >= 0) & inside[point])
    point[tuple(visible[: int(0.8 * len(visible))].T)] = -1  # as if something stood there
    hidden = replace(world, surface=replace(world.surface, point_of_pixel={"room3": point}))
    images, full = drawn("right leg", hidden), drawn("right leg", without_views(world, "room3"))
    assert len(images) == len(full) + 1
    alone = images[-1]
    assert share_of(alone, color("right leg"), (255, 255, 255), OUTLINE) > 0.97 and share_of(alone, color("right leg")) > 0.1


@pytest.mark.parametrize("style", STYLES)
def test_a_part_no_view_shows_is_drawn_alone(style):
    world = without_views(painted(), "handle")  # the lamp is elsewhere
    (alone,) = drawn("shade", world, style=style)
    background = (0, 0, 0) if style == "black" else (255, 255, 255)
    assert share_of(alone, color("shade")) > 0.2 and share_of(alone, background) > 0.1
    assert has_line(alone) == (style != "black")


def test_without_any_view_or_camera_every_part_is_drawn():
    surface, parts = replace(small_surface(), point_of_pixel={}), small_parts()
    nothing = {"T_world_cam": np.zeros((0, 4, 4)), "intrinsics": np.zeros((0, 4)), "sizes": np.zeros((0, 2), int)}
    cameras = replace(small_cameras(), names=(), images=(), **nothing)
    draw = portraits(surface, parts, cameras, lambda view: pytest.fail("no photo is needed"), PortraitConfig(side=64))
    for part in range(5):
        (png,) = draw(part)
        assert has_line(opened(png))


def test_a_part_without_points_has_no_pictures():
    parts = small_parts()
    empty = replace(parts, part_of_point=np.where(parts.part_of_point == 1, 0, parts.part_of_point).astype(np.int32))
    assert portraits(small_surface(), empty, small_cameras(), lambda view: repainted(small_surface(), view))(1) == ()


# ------------------------------------------------------------------ never lost


@pytest.mark.parametrize("pixels", [[(30, 40)], [(30, 40), (31, 40)], [(0, 0)], [(59, 89)], [(59, 0), (58, 0), (58, 1)]])
@pytest.mark.parametrize("scale", [(1, 1), (3, 3), (0.5, 0.5), (20, 15)])
def test_parts_of_one_to_three_pixels_anywhere_stay_marked_at_any_size_of_the_photo(pixels, scale):
    """The left knob alone is seen, as these pixels, in a photo of another size than the grid."""
    point = np.full((60, 90), 7, np.int32)
    for y, x in pixels:
        point[y, x] = 0
    surface = replace(small_surface(), point_of_pixel={"front": point})
    photo = np.full((round(60 * scale[0]), round(90 * scale[1]), 3), 120, np.uint8)
    for style in ("outlined", "black"):
        config = PortraitConfig(style, side=96, least_pixels=0, least_share=0.0)
        draw = portraits(surface, small_parts(), small_cameras(), lambda view: photo, config)
        images = [opened(png) for png in draw(0)]
        for image in images:
            marked = (image > 10).any(-1) if style == "black" else (image == OUTLINE).all(-1)
            assert marked.sum() >= 4
        assert (images[-1] == (120, 120, 120)).all(-1).any()  # the part itself is not painted over


@pytest.mark.parametrize("size", [(90, 30), (30, 90), (7, 300)])
def test_photos_of_any_shape_keep_it(size):
    point = np.full(size, 7, np.int32)
    point[size[0] // 2 : size[0] // 2 + 3, size[1] // 2 : size[1] // 2 + 3] = 0  # the left knob, in the middle of the panel
    point[0, 0] = point[-1, -1] = 11
    surface = replace(small_surface(), point_of_pixel={"front": point})
    draw = portraits(surface, small_parts(), small_cameras(), lambda view: np.full((*size, 3), 120, np.uint8),
                     PortraitConfig(side=100, context=1000.0, least_pixels=0, least_share=0.0))
    whole, close = (opened(png) for png in draw(0))
    assert whole.shape[0] / whole.shape[1] == pytest.approx(size[0] / size[1], rel=0.2) and max(whole.shape) == 100
    assert close.shape == (100, 100, 3) and has_line(close) and has_line(whole)


def test_transparent_photos_lie_on_white():
    world = painted()
    clear = {view: np.dstack([photo, np.where((photo == 255).all(-1), 0, 255).astype(np.uint8)]) for view, photo in world.photos.items()}
    assert all((a == b).all() for a, b in zip(drawn("lamp"), drawn("lamp", replace(world, photos=clear)), strict=True))


# ------------------------------------------------------------------ how it is made


def test_pictures_are_the_same_bytes_every_time_and_for_every_thread_and_photos_are_read_once():
    world, reads = painted(), []

    def photo(view):
        reads.append(view)
        time.sleep(0.01)  # long enough for others to ask for it too
        return world.photos[view]

    make = lambda: portraits(world.surface, world.parts, world.cameras, photo, PortraitConfig(side=96))  # noqa: E731
    digest = lambda pngs: hashlib.sha256(b"".join(pngs)).hexdigest()  # noqa: E731
    draw, parts = make(), range(len(world.names))
    with ThreadPoolExecutor(4) as pool:
        together = [digest(pngs) for pngs in pool.map(draw, list(parts) * 2)]
    assert len(reads) == len(set(reads))
    again = make()
    alone = [digest(again(part)) for part in parts]
    assert together[: len(alone)] == together[len(alone) :] == alone and len(set(alone)) == len(alone)


def test_supporting_views_are_counted_by_the_names_given():
    world, shade = painted(), painted().names.index("shade")
    for names, number, row in ((sorted(world.photos), 5, "room0"), (["gone", "lamp"], 1, "lamp")):
        parts = replace(world.parts, support=np.array([[shade, number, 0]], np.int32), support_iou=np.ones(1, np.float32))
        seen = sightings(world.surface, parts, world.cameras)
        raised = worths(seen, parts, names, 0.2)[:, shade] / np.maximum(worths(seen, parts, [], 0.2)[:, shade], 1e-9)
        assert [seen.views[k] for k in np.flatnonzero(raised > 1.5)] == [row]


@pytest.mark.parametrize(("name", "wrong", "told"), [
    ("side", 0, "side is 0; expected at least 16."), ("views", 0, "views is 0; expected at least 1."),
    ("pad", -0.1, "pad is -0.1; expected at least 0 and at most 10."), ("context", 0.5, "context is 0.5; expected at least 1."),
    ("context", float("nan"), "context is nan; expected at least 1."), ("least_pixels", -1, "least_pixels is -1; expected at least 0."),
    ("least_share", 1.5, "least_share is 1.5; expected at least 0 and at most 1.")])
def test_settings_that_make_no_picture_are_refused_in_one_sentence(name, wrong, told):
    with pytest.raises(ValueError) as refused:
        PortraitConfig(**{name: wrong})
    assert str(refused.value) == f"Pictures of parts: {told}"
    with pytest.raises(ValueError, match=name):
        replace(PortraitConfig(), **{name: wrong})
