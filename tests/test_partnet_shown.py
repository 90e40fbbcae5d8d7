"""Pictures of nodes against renders of each node alone, views chosen by hand, and objects that hide or repeat their parts."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from partnet_pictures import image_of, triangles

from eval.partnet.config import PictureConfig
from eval.partnet.pictures.crops import CANONICAL, IN_WORDS, WHOLE, Drawing, Stage, focal, marked, viewpoints
from eval.partnet.pictures.shown import Shown, chain_scores, chain_views, ranking, survey
from eval.partnet.records import object_of
from semquery.frames import Frame
from semquery.pictures import OUTLINE
from semquery.procedural import Leaf, assemble, box

SMALL = PictureConfig(side=64, survey=64)
RED, GREEN, BLUE = (200, 40, 40), (40, 200, 40), (40, 40, 200)
STYLES = tuple(IN_WORDS)


@cache
def stand() -> Shown:
    """A table with a tiny button on top, and a box closed in its leg: leaves button 0, top 1, leg 2, secret 3; leg_set 4, table 5."""
    return Shown(object_of(assemble({
        "button": Leaf(RED, (box((0.2, -0.2, 0.53), (0.02, 0.02, 0.02), 0.0),)),
        "top": Leaf(GREEN, (box((0, 0, 0.5), (0.6, 0.6, 0.04), 0.0),)),
        "leg_set": {"leg": Leaf(BLUE, (box((0, 0, 0.09), (0.2, 0.2, 0.78), 0.0),)),
                    "secret": Leaf(RED, (box((0, 0, 0.2), (0.1, 0.1, 0.1), 0.0),))},
    }, "table"), "stand"), SMALL)


# ----------------------------------------------------------------------------------------------- the survey


def test_the_survey_is_what_the_nearest_of_renders_of_each_leaf_alone_shows():
    thing = stand().thing
    poses, _ = viewpoints(stand().stage.vertices)
    for pose in poses[[3, 8]]:
        depths = []
        for atom in range(thing.holds.shape[1]):
            hits = Stage(thing.scene, thing.atom_of_face, np.flatnonzero(thing.atom_of_face == atom)).cast(pose, WHOLE, 40)
            depths.append(np.where(hits.mask, np.linalg.norm(hits.points - pose[:3, 3], axis=-1), np.inf))
        nearest = np.where(np.isfinite(depths).any(0), np.argmin(depths, 0), -1)
        assert (stand().stage.atoms(pose, WHOLE, 40) == nearest).all() and (nearest >= 0).any()


def test_pixels_and_boxes_are_those_of_each_node_s_mask():
    thing, poses = stand().thing, stand().poses[[8, 20]]
    pixels, boxes = survey(stand().stage, poses, thing.holds, 40)
    for view, pose in enumerate(poses):
        atom = stand().stage.atoms(pose, WHOLE, 40)
        for node in range(len(thing.parents)):
            mask = np.isin(atom, np.flatnonzero(thing.holds[node]))
            assert pixels[view, node] == mask.sum()
            if mask.any():
                rows, columns = np.nonzero(mask)
                start = np.array([rows.min(), columns.min()])
                expected = [*start, *(np.array([rows.max(), columns.max()]) + 1 - start)]
                np.testing.assert_allclose(boxes[view, node] * 40, expected, atol=1e-9)
            else:
                assert np.isnan(boxes[view, node]).all()


def test_every_view_shows_the_whole_object_and_the_canonical_one_sees_its_front_from_above():
    vertices = np.random.default_rng(0).normal(size=(50, 3)) * (1, 2, 0.3) + 5
    poses, order = viewpoints(vertices)
    assert len(poses) == 24 and sorted(order) == list(range(24))
    for pose in poses:
        x, y, z = ((vertices - pose[:3, 3]) @ pose[:3, :3]).T
        assert (z < 0).all() and (np.abs(focal() * np.array([x, y]) / z) < 0.5).all()
    x, y, z = poses[order[0]][:3, 2]
    assert np.degrees(np.arcsin(z)) == pytest.approx(CANONICAL[1]) and np.degrees(np.arctan2(x, -y)) == pytest.approx(CANONICAL[0])


# ----------------------------------------------------------------------------------------------- which views


def test_views_are_chosen_along_a_chain_by_hand():
    # views × nodes: handle 0, blade 1, half 2 = {handle, blade}, root 3; the canonical view is 1, then 0, then 2
    seen = np.array([[10, 9, 19, 19], [6, 1, 20, 20], [8, 10, 15, 15]])
    parents, order = np.array([2, 2, 3, 3], np.int32), [1, 0, 2]
    scores = chain_scores(seen, parents)
    np.testing.assert_allclose(scores[:, 0], [0.95, 0.6, 0.75])  # the half's .95 and .75 bound the handle's 1 and .8
    np.testing.assert_allclose(scores[:, 1], [0.9, 0.1, 0.75])
    np.testing.assert_allclose(scores[:, 3], 1)
    assert ranking(scores[:, 0], order) == [0, 2, 1] and ranking(scores[:, 3], order) == order
    assert ranking(np.array([0.98, 0.96, 0.94, -1.0]), [3, 2, 1, 0]) == [1, 0, 2]  # .98 and .96 are about as good
    # the handle is seen well enough from the half's view, the blade is not
    assert chain_views(seen, scores, parents, order).tolist() == [1, 0, 1, 1]


def test_views_that_do_not_show_a_node_are_not_ranked():
    scores = chain_scores(np.array([[0, 4], [0, 5]]), np.array([1, 1], np.int32))
    assert ranking(scores[:, 0], [0, 1]) == []
    assert chain_views(np.array([[0, 4], [0, 5]]), scores, np.array([1, 1], np.int32), [1, 0]).tolist() == [-1, 1]


@given(st.data())
def test_a_chain_s_score_is_the_least_share_of_its_nodes(data):
    num_nodes = data.draw(st.integers(2, 7))
    parents = np.array([data.draw(st.integers(k + 1, num_nodes - 1)) for k in range(num_nodes - 1)] + [num_nodes - 1], np.int32)
    seen = np.array(data.draw(st.lists(st.lists(st.integers(0, 9), min_size=num_nodes, max_size=num_nodes), min_size=3, max_size=3)))
    scores, views = chain_scores(seen, parents), chain_views(seen, chain_scores(seen, parents), parents, [0, 1, 2])
    for node in range(num_nodes - 1):
        chain, at = [], node
        while at != num_nodes - 1:
            chain.append(at)
            at = parents[at]
        for view in range(3):
            shares = [seen[view, k] / max(seen[:, k].max(), 1) for k in chain]
            assert scores[view, node] == (min(shares) if seen[view, node] else -1)
        above, most = views[parents[node]], seen[:, node].max()
        assert (views[node] == -1) == (most == 0)
        if most and above >= 0:  # the parent's view is left only where it shows less than half
            assert views[node] == above or seen[above, node] < most / 2


def test_the_chain_shares_the_canonical_view_and_further_views_follow_without_repeats():
    shown = stand()
    canonical = shown.order[0]
    assert shown.best_views(5) == shown.best_views(4) == shown.best_views(2) == [canonical]
    (from_above,) = shown.best_views(1)  # the canonical view shows less than half of what this one does of the flat top
    assert 2 * shown.seen[canonical, 1] < shown.seen[from_above, 1] and shown.poses[from_above][2, 2] > 0.8
    several = shown.best_views(2, count=30)
    assert len(several) == len(set(several)) and set(several) == set(np.flatnonzero(shown.seen[:, 2]))
    assert shown.best_views(2, chain=False) == ranking(shown._scores[:, 2], shown.order)[:1]


# ----------------------------------------------------------------------------------------------- windows


def test_a_window_shows_what_the_same_pixels_of_the_whole_view_show():
    stage, pose = stand().stage, stand().poses[8]
    whole = stage.draw(pose, WHOLE, 96, 1)
    window = stage.draw(pose, Frame(0.25, 0.125, 0.5, 0.5), 48, 1)
    assert (window.atom == whole.atom[24:72, 12:60]).mean() > 0.999  # rays through the same points, but for rounding
    same = window.atom == whole.atom[24:72, 12:60]
    assert np.abs(window.colors[same].astype(int) - whole.colors[24:72, 12:60][same]).max() <= 2


def test_the_crop_of_a_tiny_node_fills_the_frame():
    assert stand().pixels[0] < 12  # a dot in the whole view
    image = image_of(stand().crop(0)[0])
    rows, columns = np.nonzero(image.any(-1))
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == pytest.approx(64 / 1.2, abs=2.5)
    assert rows.min() + rows.max() == pytest.approx(63, abs=2.5) and columns.min() + columns.max() == pytest.approx(63, abs=2.5)
    red = image.reshape(-1, 3)[image.any(-1).ravel()].astype(int)
    assert (red[:, 0] > 2 * red[:, 1]).mean() > 0.9


@pytest.mark.parametrize("style", ["black", "black_crop"])
@pytest.mark.parametrize("node", [0, 1, 4])
def test_black_styles_are_black_where_no_ray_meets_the_node_and_as_drawn_where_all_do(style, node):
    shown = stand()
    image = image_of(shown.pictures(node, style)[0])
    if style == "black":
        drawing = shown.stage.draw(shown.poses[shown.best_views(node)[0]], WHOLE, 64, 2)
        share = np.isin(drawing.atom, np.flatnonzero(shown.thing.holds[node])).reshape(64, 2, 64, 2).mean((1, 3))
        assert (image[share == 0] == 0).all() and image[share > 0].any(-1).all()
        plain = drawing.colors.reshape(64, 2, 64, 2, 3).mean((1, 3))
        np.testing.assert_allclose(image[share == 1], plain[share == 1], atol=0.51)
    else:
        rim = np.ones((64, 64), bool)
        rim[3:-3, 3:-3] = False
        assert not image[rim].any() and image.any()


def test_fade_zoom_leaves_the_node_its_colour_and_greys_all_else():
    image = image_of(stand().pictures(0, "fade_zoom")[0]).astype(int)
    spread = image.max(-1) - image.min(-1)
    assert (spread[28:36, 28:36] > 60).all()  # the red button in the middle
    assert (spread[:4] <= 1).all() and (image[:4] >= 0.55 * 255 - 1).all() and (image[:4] <= 0.9 * 255 + 1).all()


def test_outline_shows_the_whole_and_then_a_closer_one_both_with_a_red_line():
    whole, close = map(image_of, stand().pictures(0, "outline"))
    for image in (whole, close):
        assert (image == OUTLINE).all(-1).sum() > 20
    green = [(image[..., 1] > 1.5 * image[..., 2]).mean() for image in (whole, close)]
    assert (whole[0] == 255).all() and green[1] > 2 * green[0]  # the close-up is all table top


def test_what_fills_the_whole_view_has_one_outlined_picture():
    leaf = Leaf(RED, (box((0, 0, 0), (1, 1, 1)),))
    shown = Shown(object_of(assemble({"case": {"body": leaf}}, "radio"), "chain"), SMALL)
    for node in range(3):
        assert len(shown.pictures(node, "outline")) == 1
    assert len(set(shown.pixels)) == 1 and len({shown.crop(node) for node in range(3)}) == 1


def test_count_gives_pictures_of_several_views():
    shown = stand()
    assert len(set(shown.crop(1, 3))) == 3 and shown.crop(1, 3)[0] == shown.crop(1)[0]
    assert len(shown.pictures(0, "outline", 2)) == 3  # the whole once


def test_marks_are_decided_ray_by_ray_by_hand():
    colors, mask = np.full((64, 64, 3), (100, 200, 50), np.uint8), np.zeros((64, 64), bool)
    mask[8:56, 30] = True  # a cord half a pixel wide: of its pixels two rays of four
    drawing = Drawing(colors, np.zeros((64, 64), np.int32), 2)
    grey = 0.299 * 100 + 0.587 * 200 + 0.114 * 50
    rest = np.round(0.55 * 255 + 0.35 * grey)
    faded, black, lined = (marked(drawing, mask, style).astype(float) for style in ("fade_zoom", "black", "outline"))
    np.testing.assert_allclose(faded[0, 0], [rest] * 3)
    np.testing.assert_allclose(faded[10, 15], (np.array([100, 200, 50]) + rest) / 2, atol=0.51)
    np.testing.assert_allclose(black[10, 15], [50, 100, 25])
    assert not black[:, :15].any() and not black[:, 16:].any()
    np.testing.assert_allclose(lined[10, 15], [100, 200, 50])  # the line runs beside it
    np.testing.assert_allclose(lined[10, [14, 16]], [OUTLINE] * 2)


# ----------------------------------------------------------------------------------------------- hidden and empty nodes


@pytest.mark.parametrize("style", STYLES)
def test_a_hidden_node_is_drawn_alone_and_says_so(style):
    shown = stand()
    assert shown.is_isolated(3) and shown.pixels[3] == 0 and shown.best_views(3) == []
    assert [shown.is_isolated(node) for node in (0, 1, 2, 4, 5)] == [False] * 5
    (png,) = shown.pictures(3, style, 2)
    image = image_of(png).astype(int)
    coloured = (image.max(-1) - image.min(-1) > 40) & ~(image == OUTLINE).all(-1)
    assert coloured.any() and (image[coloured][:, 0] > image[coloured][:, 2]).all()  # red, nothing of the blue leg
    assert not (image[..., 2] > image[..., 0] + 20).any() and not (image[..., 1] > image[..., 0] + 20).any()


def test_a_hidden_flat_node_is_not_drawn_from_its_edge():
    scene, turn = assemble({"box": Leaf(RED, (box((0, 0, 0), (1, 1, 1), 0.0),))}, "all"), np.radians(CANONICAL[0])
    scene = triangles(np.array([  # the sheet lies in the plane of the canonical view's axis
        0.1 * np.array([(0, 0, 0), (np.sin(turn), -np.cos(turn), 0), (0, 0, 1)]), *scene.vertices[scene.faces]]), [1, *[0] * 12], [2, 2, 2])
    shown = Shown(object_of(scene, "sheet in a box"), SMALL)
    areas = Stage(scene, shown.thing.atom_of_face, np.array([0])).shown_area(shown.poses)
    assert shown.is_isolated(1) and areas[shown.order[0]] < 0.01 * areas.max()
    assert image_of(shown.crop(1)[0]).any(-1).sum() > 400


def test_a_node_without_faces_or_without_area_has_no_pictures():
    corners = np.array([[(0, 0, 0), (1, 0, 0), (0, 0, 1)], [(0.2, 0.1, 0.2)] * 3])
    shown = Shown(object_of(triangles(corners, [0, 1], [3, 3, 3, 3]), "empty"), SMALL)  # node 2 owns nothing
    for node in (1, 2):
        assert shown.pixels[node] == 0 and shown.is_isolated(node) and shown.best_views(node) == []
        assert all(shown.pictures(node, style) == () for style in STYLES)
    assert len(shown.pictures(0)) == 1


def test_of_double_sided_faces_that_belong_to_two_nodes_each_side_shows_its_own():
    front = [(0, 0, 0), (1, 0, 0), (0, 0, 1)]  # counter-clockwise as seen from -y
    shown = Shown(object_of(triangles(np.array([front, front[::-1]]), [0, 1], [2, 2, 2]), "twins"), SMALL)
    from_front = shown.poses[:, 1, 3] < 0
    assert (shown.seen[from_front, 0] > 0).all() and not shown.seen[~from_front, 0].any()
    assert (shown.seen[~from_front, 1] > 0).all() and not shown.seen[from_front, 1].any()
    assert not shown.is_isolated(0) and not shown.is_isolated(1)


def test_the_overview_tells_the_atom_of_every_pixel():
    png, atom = stand().overview(48)
    image = image_of(png).astype(int)
    assert image.shape == (48, 48, 3) and atom.shape == (48, 48) and atom.dtype == np.int32
    assert (image[:2] == 255).all() and (atom[:2] == -1).all()
    for owner, channel in ((1, 1), (2, 2)):  # the green top, the blue leg
        pixels = image[atom == owner]
        assert (pixels.argmax(1) == channel).mean() > 0.85 and len(pixels) > 40


# ----------------------------------------------------------------------------------------------- the same again


def test_pictures_are_the_same_bytes_again_anew_and_from_threads():
    thing = stand().thing
    tasks = [(node, style) for node in (0, 2, 3) for style in STYLES] * 2
    one, other = Shown(thing, SMALL), Shown(thing, SMALL)
    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(lambda task: one.pictures(*task), reversed(tasks)))[::-1]
    assert threaded == [other.pictures(*task) for task in tasks]
    assert all(png.startswith(b"\x89PNG") for pngs in threaded for png in pngs)


def test_the_configured_style_is_the_default_and_is_told_in_words():
    shown = Shown(stand().thing, replace(SMALL, style="black"))
    assert shown.pictures(1) == stand().pictures(1, "black") and "blacked out" in shown.marking and "red" in stand().marking


@pytest.mark.parametrize("wrong", [(6, "black", 1), (-1, "black", 1), (0, "dim", 1), (0, "black", 0)])
def test_nodes_styles_and_counts_that_there_are_not_are_refused(wrong):
    with pytest.raises(ValueError, match="stand: expected a node of 0..5, one of the styles outline, fade_zoom, black_crop, black"):
        stand().pictures(*wrong)


@pytest.mark.parametrize("change", [{"side": 8}, {"survey": 0}, {"supersample": 0}])
def test_pictures_of_no_size_are_refused(change):
    with pytest.raises(ValueError, match=r"--pictures\.\w+ is \d; give (16|1) or more"):
        Shown(stand().thing, replace(SMALL, **change))
