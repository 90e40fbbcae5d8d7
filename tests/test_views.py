"""Where a part is seen, pixel by pixel, and which view shows it best."""

import io

import numpy as np
import pytest
from helpers import BLUE, DRAWN, small_cameras, small_parts, small_surface, write_photo
from PIL import Image

from semquery.views import best_views, half_size, levels_picture, part_mask, photo_of, png_bytes, repainted, visible_pixels


def painted(view):
    return repainted(small_surface(), view)


def slow_mask(view: str, part: int) -> list[list[bool]]:
    """Look up every drawn pixel's point, the point's part, and walk up from there."""
    tree = small_parts()

    def shows(pixel: str) -> bool:
        if pixel == ".":
            return False
        at = int(tree.part_of_point[int(pixel, 16)])
        while at != part and at != tree.root:
            at = int(tree.parents[at])
        return at == part

    return [[shows(pixel) for pixel in row] for row in DRAWN[view]]


@pytest.mark.parametrize("view", DRAWN)
@pytest.mark.parametrize("part", range(5))
def test_a_parts_mask_is_the_pixels_that_show_its_points(view, part):
    mask = part_mask(small_surface(), small_parts().points_of(part), view)
    assert mask.tolist() == slow_mask(view, part)


def test_visible_pixels_count_descendants_too():
    names, pixels = visible_pixels(small_surface(), small_parts())
    slow = [[int(np.sum(slow_mask(view, part))) for part in range(5)] for view in DRAWN]
    assert names == list(DRAWN) and pixels.tolist() == slow
    assert pixels[0].tolist() == [8, 6, 0, 16, 16]


def test_the_best_view_shows_much_of_the_part_and_does_not_cut_it_off():
    surface, parts = small_surface(), small_parts()
    assert best_views(surface, parts.points_of(0)) == ["front"]
    assert best_views(surface, parts.points_of(2), count=3) == ["above", "close"]  # as many pixels, but not at the border
    assert best_views(surface, parts.points_of(4), count=9) == ["front", "above", "close"]


def test_the_best_view_of_several_parts_shows_most_of_them_together():
    surface, parts = small_surface(), small_parts()
    assert best_views(surface, parts.points_of(0) | parts.points_of(2), count=1) == ["above"]


def test_a_part_no_view_shows_has_no_best_view():
    surface, parts = small_surface(), small_parts()
    for view in ("front", "above"):
        surface.point_of_pixel[view][:] = -1
    surface.point_of_pixel["close"][:2] = -1
    assert best_views(surface, parts.points_of(2)) == []


def test_png_keep_every_pixel():
    for image in (np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8), np.eye(4, dtype=bool)):
        assert (np.asarray(Image.open(io.BytesIO(png_bytes(image)))) == image).all()


def test_half_a_picture_is_the_mean_of_each_four_pixels():
    image = np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    half = np.asarray(Image.open(io.BytesIO(half_size(png_bytes(image)))))
    mean = image.reshape(3, 2, 4, 2, 3).mean((1, 3))
    assert half.shape == (3, 4, 3) and np.abs(half - mean).max() <= 1
    assert half_size(png_bytes(image)) == half_size(png_bytes(image))
    assert np.asarray(Image.open(io.BytesIO(half_size(png_bytes(image[:1, :1]))))).shape == (1, 1, 3)


def test_a_view_is_repainted_in_the_surfaces_colours_on_white():
    shown = painted("above")
    assert shown[0, 0].tolist() == [255] * 3 and shown[1, 1].tolist() == list(BLUE)
    for y, row in enumerate(DRAWN["above"]):
        for x, pixel in enumerate(row):
            assert shown[y, x].tolist() == ([255] * 3 if pixel == "." else small_surface().colors[int(pixel, 16)].tolist())


def test_a_photo_is_read_where_it_is_and_painted_where_it_is_gone(tmp_path):
    write_photo(tmp_path / "front.png", (6, 6), (10, 200, 30))
    photo = photo_of(small_cameras((str(tmp_path / "front.png"), "gone.png", "gone.png")), small_surface())
    assert (photo("front") == (10, 200, 30)).all() and (photo("above") == painted("above")).all()


def test_the_picture_of_the_levels_has_a_column_for_each():
    picture = levels_picture(small_surface(), small_parts(), painted, side=60, views=2)
    assert picture.shape[1] == 3 * 60 + 12  # photo, level 1, level 2
    colours = {tuple(c) for c in picture[:60, 66:126].reshape(-1, 3).tolist()} - {(255, 255, 255)}
    assert len(colours) == 1  # at level 1 the view in front shows the panel alone
