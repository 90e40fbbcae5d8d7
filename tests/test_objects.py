"""The six objects have the trees they should, and the views chosen for them show every part."""

import numpy as np
import pytest

from eval.metrics import depths
from eval.objects import SCENES
from eval.viewpoints import FIELD_OF_VIEW, are_outside, choose, framed, groups_of_parts, spiral, towards, views_of
from semquery.procedural import Leaf, assemble, box
from semquery.render import RayCaster, look_at, pinhole

SHAPES = {"chair": (4, 26, 17), "lamp": (5, 12, 5), "scissors": (3, 8, 5), "microwave": (4, 32, 25), "cabinet": (5, 35, 22), "plate": (4, 16, 10)}


@pytest.fixture(scope="module")
def objects():
    return {name: make() for name, make in SCENES.items()}


def pixels_of_parts(scene, poses, size=128):
    caster, counts = RayCaster(scene.vertices, scene.faces), []
    for T in poses:
        face = caster.cast(T, pinhole(FIELD_OF_VIEW, (size, size)), (size, size)).face
        counts.append(np.bincount(scene.part_of_face[face[face >= 0]], minlength=len(scene.parents)))
    return np.array(counts)


def test_each_tree_is_in_the_layout_of_types_with_its_depth_nodes_and_leaves(objects):
    assert {name: (depths(s.parents).max() + 1, len(s.parents), s.num_leaves) for name, s in objects.items()} == SHAPES
    for scene in objects.values():
        last = len(scene.parents) - 1
        assert (scene.parents[:-1] > np.arange(last)).all() and scene.parents[-1] == last
        assert set(np.unique(scene.part_of_face)) == set(range(scene.num_leaves)) == set(range(last + 1)) - set(scene.parents.tolist())


def test_the_trees_hold_the_difficulties_they_are_for(objects):
    assert objects["chair"].names.count("leg") == 4
    children = np.bincount(objects["lamp"].parents[:-1])
    assert (children == 1).sum() == 4  # chains: a part and its only part are the same thing
    holders = {objects["cabinet"].names[p] for p, n in zip(objects["cabinet"].parents, objects["cabinet"].names, strict=True) if n == "handle"}
    assert holders == {"drawer", "cabinet_door"}


def test_solids_are_closed_and_look_outwards(objects):
    for scene in objects.values():
        a, b, c = (scene.vertices[scene.faces[:, k]].astype(float) for k in range(3))
        areas = np.cross(b - a, c - a)
        for leaf in range(scene.num_leaves):
            at = scene.part_of_face == leaf
            assert np.abs(areas[at].sum(0)).max() < 1e-6, scene.names[leaf]  # the areas of a closed surface cancel
            assert np.einsum("fc,fc->", a[at] - a[at].mean(0), areas[at]) > 0, scene.names[leaf]  # six times the volume


@pytest.mark.parametrize("name", SCENES)
def test_every_leaf_has_sixty_pixels_in_three_views_or_more(objects, name):
    scene = objects[name]
    counts = pixels_of_parts(scene, views_of(scene).values())
    good = (counts[:, : scene.num_leaves] >= 60).sum(0)
    assert (good >= 3).all(), dict(zip(scene.names, good, strict=False))


def test_views_are_the_same_every_time_and_named_by_kind(objects):
    first, second = views_of(objects["scissors"], 9), views_of(objects["scissors"], 9)
    assert list(first) == [f"orbit_{k:02d}" for k in range(5)] + [f"close_{k:02d}" for k in range(4)]
    assert all((first[name] == second[name]).all() for name in first)
    with pytest.raises(ValueError, match="ask for 2 or more"):
        views_of(objects["scissors"], 1)


def test_held_out_views_look_from_between_the_others(objects):
    for name in ("scissors", "chair"):
        scene = objects[name]
        train, heldout = views_of(scene), views_of(scene, 10, heldout=True)
        reach = np.linalg.norm(np.ptp(scene.vertices, axis=0))
        apart = [min(np.linalg.norm(T[:3, 3] - S[:3, 3]) for S in train.values()) for T in heldout.values()]
        assert len(heldout) == 10 and min(apart) > 0.03 * reach


def test_a_framed_object_just_fills_the_frame():
    points = np.random.default_rng(0).normal(size=(50, 3))
    for azimuth, elevation in ((0, 0), (100, 45), (200, -60)):
        T = framed(points, towards(azimuth, elevation), fill=1.0)
        inside = (points - T[:3, 3]) @ T[:3, :3]
        edge = np.abs(inside[:, :2] / -inside[:, 2:]).max()
        assert (inside[:, 2] < 0).all() and edge == pytest.approx(np.tan(np.radians(FIELD_OF_VIEW / 2)))


def test_a_camera_in_a_closed_box_is_inside_and_one_before_it_is_not():
    sides = [(s * e, 2 - 1.9 * e) for e in np.eye(3) for s in (-1, 1)]
    walls = {f"wall#{k}": Leaf((9, 9, 9), (box(tuple(center), tuple(size)),)) for k, (center, size) in enumerate(sides)}
    scene = assemble(walls, "room")
    poses = [look_at(np.array(eye), np.array([0.0, 0.1, 0])) for eye in ((0.5, 0.0, 0.0), (3.0, 0.0, 0.0))]
    assert are_outside(scene, RayCaster(scene.vertices, scene.faces), poses) == [False, True]


def test_directions_spread_evenly_over_the_sphere():
    first, second = np.array(list(spiral(28, 0.0))), np.array(list(spiral(28, 0.5)))
    assert np.linalg.norm(first, axis=1) == pytest.approx(1)
    nearest = lambda a, b: np.sort(np.linalg.norm(a[:, None] - b[None], axis=2), 1)  # noqa: E731
    assert nearest(first, first)[:, 1].min() > 0.3 and nearest(second, first)[:, 0].min() > 0.1


def test_small_parts_that_lie_together_are_one_group():
    cubes = {f"cube#{k}": Leaf((9, 9, 9), (box((x, 0, 0), (0.1, 0.1, 0.1)),)) for k, x in enumerate((0.0, 0.2, 5.0))}
    scene = assemble(cubes, "r")
    groups = [set(group.tolist()) for group in groups_of_parts(scene, np.array([[10.0, 10, 200, 0]]))]
    assert groups == [{0, 1}, {0, 1}, {2}]  # the small ones, then all


def test_views_are_chosen_as_by_trying_all_of_them():
    random = np.random.default_rng(0)
    seen, counts = random.integers(0, 100, (2, 5)), random.integers(0, 300, (9, 5))
    worth = lambda views: -np.exp(-sum((np.minimum(view, 150) / 450 for view in views), np.zeros(5))).sum()  # noqa: E731
    chosen: list[int] = []
    for _ in range(4):
        rest = [k for k in range(9) if k not in chosen]
        chosen.append(max(rest, key=lambda k: worth([*seen, *counts[chosen], counts[k]])))
    assert choose(seen.astype(float), counts.astype(float), 4) == chosen
    assert choose(np.zeros((1, 2)), np.array([[0.0, 0], [150, 0], [150, 150], [0, 150]]), 2)[0] == 2
