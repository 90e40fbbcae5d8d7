"""What a model is told and shown of a scene: table, views, close-ups, priors."""

import dataclasses
import io

import numpy as np
import pytest
from asking_helpers import painted_subject, small_subject
from helpers import DRAWN, part_tree, random_parts, small_parts, small_surface
from hypothesis import given, settings
from hypothesis import strategies as st
from painted import painted
from PIL import Image
from seeing import colors_in, opened, outlined_region

from semquery.ask import Considered, Row
from semquery.ask.pictures import ANCHOR, CANDIDATE, close_ups, inmost, marked, overviews, pruned, showing
from semquery.ask.priors import fit, look_alikes, pooled, relations, told
from semquery.ask.table import COLUMNS, line, table
from semquery.types import NodeLabel


@pytest.fixture(scope="module")
def room():
    return painted_subject(painted())


NUMBER = {name: part for part, name in enumerate(painted().names)}


# the table


def test_a_row_tells_name_function_parent_place_and_size():
    subject = small_subject()
    subject.labels[0] = NodeLabel(0, "knob", function="turns\nit")
    cells = line(Row((0,)), subject).split(" | ")
    assert cells[:4] == ["0", "“knob”", "“turns it”", "3"] and len(cells) == 1 + COLUMNS.count("|")
    right, away, up = (float(x) for x in cells[4].split())
    assert 100 / 9 * 1.5 == pytest.approx(up, abs=1.5) and right == pytest.approx(0, abs=1.5)  # in hundredths of its nine units of width
    assert cells[6].startswith("1. of 2 in size; left of 1")


def test_the_scene_itself_and_what_has_no_name_have_rows_too():
    subject = small_subject()
    del subject.labels[1]
    assert line(Row((4,)), subject).split(" | ")[3] == "the world"
    assert line(Row((1,), hidden=3), subject).startswith("1 | unnamed (+3 parts inside) | not known | 3 | ")
    assert line(Row((0, 1)), subject).startswith("0, 1 | “left knob” | 2 parts called alike; open one to tell them apart | 3 |")


def test_the_others_share_a_row_that_tells_which_bears_which_name():
    subject = small_subject(p1="left knob", p2="unknown")
    said = line(Row((0, 1, 2), hidden=5, others=True), subject)
    assert said == "0, 1, 2 | “left knob” 0 1, unnamed 2 (+5 parts inside) | 3 more parts; open one to see it closely | 3 | | | others"
    assert line(Row((0, 2), others=True), subject).startswith("0, 2 | “left knob” 0, unnamed 2 | 2 more parts;")


@given(st.text(max_size=300))
@settings(max_examples=50, deadline=None)
def test_whatever_a_name_says_a_table_has_a_row_a_part_and_its_columns(name):
    subject = small_subject()
    subject.labels[0] = NodeLabel(0, name, function=name)
    rows = [Row((p,)) for p in (4, 3, 0, 1, 2)]
    lines = table(rows, subject).split("\n")
    assert len(lines) == 6 and all(len(each.split(" | ")) == len(COLUMNS.split(" | ")) and each.count("|") == COLUMNS.count("|") for each in lines)
    assert lines[3].count("“") == lines[3].count("”") == (2 if subject.names.get(0) else lines[3].count("“"))


# views and pictures


def test_the_views_chosen_show_together_what_can_be_seen(room):
    leaves = [NUMBER[name] for name in ("left leg", "handle", "shade", "drawer knob")]
    chosen = showing(room, leaves, 4)
    shown = {p for view in chosen for p in leaves if room.laid.mask(view, p).sum() >= 20}
    alone = {p for view in room.laid.sizes for p in leaves if room.laid.mask(view, p).sum() >= 20}
    assert shown == alone and 1 <= len(chosen) <= 4
    best = max(len([p for p in leaves if room.laid.mask(view, p).sum() >= 20]) for view in room.laid.sizes)
    assert len([p for p in leaves if room.laid.mask(chosen[0], p).sum() >= 20]) == best


def test_a_view_that_cuts_a_part_off_is_the_worse_one():
    views = {"cut": ["778899", "aa7788", "......"], "free": ["......", ".7788.", ".99aa.", "......"]}
    point = {name: np.array([[-1 if c == "." else int(c, 16) for c in row] for row in rows], np.int32) for name, rows in views.items()}

    def best(pad: int) -> list[str]:
        seen = {name: np.pad(grid, pad, constant_values=-1) for name, grid in point.items()}
        subject = small_subject()
        return showing(dataclasses.replace(subject, surface=dataclasses.replace(subject.surface, point_of_pixel=seen)), [2], 1)

    assert best(0) == ["free"] and best(1) == ["cut"]  # which shows more of the plate, once there is room around it


def test_without_views_or_parts_there_is_nothing_to_show():
    subject = small_subject()
    blind = dataclasses.replace(subject, surface=dataclasses.replace(subject.surface, point_of_pixel={}))
    assert showing(blind, [0], 2) == [] and overviews(blind, range(5), 3, 64) == () and showing(subject, [], 2) == [] and showing(subject, [0], 0) == []


def test_anchors_are_outlined_in_blue_and_candidates_in_red_where_they_are(room):
    desk, leg = NUMBER["desk"], NUMBER["right leg"]
    (png,) = marked(room, [desk], [leg], 1, 400)
    image = opened(png)
    mask = np.asarray(Image.fromarray(room.laid.mask(showing(room, [leg, desk], 1)[0], leg)).resize(image.shape[1::-1], Image.Resampling.NEAREST))
    red, blue = ((image == color).all(-1) for color in (CANDIDATE, ANCHOR))
    rows, columns = np.nonzero(mask)
    around = np.zeros(mask.shape, bool)
    around[max(0, rows.min() - 3) : rows.max() + 4, max(0, columns.min() - 3) : columns.max() + 4] = True
    assert red.any() and blue.any() and not (red & ~around).any() and (blue & ~around).any()


def test_close_ups_from_the_pruned_tree_show_each_part_in_its_outline(room):
    which = [NUMBER[name] for name in ("handle", "crown", "left leg")]
    for part, pngs in close_ups(room, which).items():
        image = opened(pngs[-1])
        assert colors_in(image, outlined_region(image), np.array([painted().color(leaf) for leaf in range(12)])) == [part]


def test_overviews_number_what_lies_directly_in_the_scene(room):
    pngs = overviews(room, range(18), 2, 300)
    assert 1 <= len(pngs) <= 2 and all(max(Image.open(io.BytesIO(png)).size) == 300 for png in pngs)
    assert all((opened(png) == ANCHOR).all(-1).sum() > 100 for png in pngs)


@given(st.integers(0, 10**6), st.integers(2, 20), st.data())
@settings(max_examples=40, deadline=None)
def test_a_pruned_tree_keeps_the_parts_the_way_to_them_and_their_points(seed, num_parts, data):
    tree = random_parts(np.random.default_rng(seed), num_parts, 40)
    which = data.draw(st.lists(st.integers(0, num_parts - 1), max_size=5))
    small, old = pruned(tree, which)
    assert set(which) <= set(old.tolist()) == {tree.root, *(a for p in which for a in tree.path(p))}
    for new, part in enumerate(old.tolist()):
        assert (small.points_of(new) == tree.points_of(part)).all() and old[small.parents[new]] == tree.parents[part]


def test_support_stays_with_the_parts_that_are_kept():
    tree = dataclasses.replace(small_parts(), support=np.array([[0, 5, 6], [2, 1, 1], [3, 0, 2]], np.int32), support_iou=np.array([0.1, 0.2, 0.3], np.float32))
    small, old = pruned(tree, [0])
    assert old.tolist() == [0, 3, 4] and small.support.tolist() == [[0, 5, 6], [1, 0, 2]] and small.support_iou.tolist() == [np.float32(0.1), np.float32(0.3)]


def test_the_inmost_pixel_is_as_far_from_the_border_as_any():
    mask = np.zeros((9, 9), bool)
    mask[1:8, 2:7] = True
    assert inmost(mask) in {(3, 4), (4, 4), (5, 4)}
    ring = mask.copy()
    ring[3:6, 4] = False
    assert ring[inmost(ring)]


# priors


def test_relations_say_what_holds_and_how_far_it_is(room):
    assert relations(NUMBER["left leg"], [NUMBER["desk"]], room) == [f"a part of {NUMBER['desk']}"]
    crown, lamp = relations(NUMBER["crown"], [NUMBER["door"]], room), relations(NUMBER["desk"], [NUMBER["cupboard"]], room)
    assert f"above {NUMBER['door']}" in crown and f"left of {NUMBER['cupboard']}" in lamp and any("away from" in each for each in lamp)
    assert relations(NUMBER["crown"], [NUMBER["crown"]], room) == []


def test_the_fit_is_the_share_of_parts_that_fit_less_well():
    assert fit(np.array([0.1, 0.5, 0.5, -1.0])).tolist() == [25.0, 50.0, 50.0, 0.0]
    assert fit(np.zeros(4)) is None and fit(np.zeros(0)) is None


def test_likeness_is_the_cosine_of_the_mean_features():
    subject = small_subject()
    features = np.zeros((12, 2), np.float16)
    features[:4], features[4:7], features[7:11] = (1, 0), (0.6, 0.8), (0, 1)
    seen = dataclasses.replace(subject, surface=dataclasses.replace(subject.surface, features=features))
    np.testing.assert_allclose(pooled([0, 1, 2], seen), [[1, 0], [0.6, 0.8], [0, 1]], atol=1e-3)
    found = look_alikes([0, 1, 2], seen, most=1)
    assert {part: others[0][0] for part, others in found.items()} == {0: 1, 1: 2, 2: 1} and found[0][0][1] == pytest.approx(0.6, abs=1e-3)
    assert look_alikes([0], seen) == {} and look_alikes([0, 1], subject) == {}


def test_a_prior_is_one_line_a_part_whatever_was_said_of_it():
    subject = small_subject(p0="evil\nname “x”")
    lines = told([Considered(0, "candidate", "a\nb”"), Considered(3, "anchor", "")], np.array([0.5, 0, 0, 0, 0.1]), subject).split("\n")
    assert len(lines) == 2 and lines[0].startswith("- 0 “evil name \"x\"”: candidate, because “a b\"”; middle ") and lines[1].startswith("- 3 “panel”: anchor; middle ")
    assert "a part of 3; fits the words of the question better than 80 % of all parts" in lines[0]


def test_parts_without_points_are_told_without_relations():
    tree = part_tree([3, 3, 3, 3], [0] * 6 + [1] * 6)  # part 2 has none
    from asking_helpers import subject_of
    from helpers import small_cameras

    subject = subject_of(small_surface(), tree, small_cameras(), {p: NodeLabel(p, f"thing {p}") for p in range(4)})
    assert relations(2, [0], subject) == [] and relations(0, [2], subject) == []
    assert line(Row((2,)), subject).startswith("2 | “thing 2”") and set(DRAWN) == set(subject.laid.sizes)
    assert close_ups(subject, [2])[2] == ()
