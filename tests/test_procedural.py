"""Solids are closed, look outwards and have the volume they should; nested names become the tree; files agree."""

import json

import numpy as np
import pytest

from semquery.procedural import (
    KnownScene,
    Leaf,
    annulus,
    arc,
    assemble,
    bar,
    box,
    chain,
    ellipsoid,
    flatten,
    hull,
    noise,
    prism,
    rod,
    write_scene,
)
from semquery.render import Hits, look_at

SQUARE = np.array([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)])


def volume(points: np.ndarray) -> float:
    """Of the hull's triangles by the divergence theorem: negative if they look inwards, wrong if they leave a hole."""
    a, b, c = (points[hull(points)[:, k]] for k in range(3))
    return float(np.einsum("fc,fc->f", a, np.cross(b, c)).sum() / 6)


def test_nested_names_become_leaves_first_and_root_last():
    leaf = Leaf((0, 0, 0), ())
    leaves, groups = flatten({"a": {"b": leaf, "c": {"d": leaf}}, "e": leaf}, "r")
    assert [path[-1] for path in leaves] == ["b", "d", "e"]
    assert [path[-1] for path in groups] == ["c", "a", "r"]


def test_a_part_with_nothing_in_it_is_refused():
    with pytest.raises(ValueError, match="r/a has neither solids nor parts"):
        flatten({"a": {}, "b": Leaf((0, 0, 0), ())}, "r")


def test_a_scene_is_put_together_by_hand():
    cube = box((0, 0, 0), (1, 1, 1))
    scene = assemble({"legs": {"leg#1": Leaf((9, 0, 0), (cube, cube + 2)), "leg#2": Leaf((0, 9, 0), (cube + 4,), "z")}}, "r")
    assert scene.names == ("leg", "leg", "legs", "r") and scene.parents.tolist() == [2, 2, 3, 3] and scene.num_leaves == 2
    assert np.bincount(scene.part_of_face).tolist() == [2 * len(hull(cube)), len(hull(cube))]
    assert (scene.colors[scene.part_of_face == 1] == (0, 9, 0)).all() and scene.grains == ("", "z")
    assert (scene.vertices[scene.faces[scene.part_of_face == 1]] > 3.4).all()


def test_the_hull_holds_all_points_and_has_no_other_corner():
    random = np.random.default_rng(0)
    for _ in range(5):
        points = random.normal(size=(30, 3))
        faces = hull(points)
        a, b, c = (points[faces[:, k]] for k in range(3))
        normals = np.cross(b - a, c - a)
        above = np.einsum("fc,fpc->fp", normals, points[None] - a[:, None])
        assert above.max() < 1e-9  # nothing lies outside of any triangle: a slow, obvious definition


@pytest.mark.parametrize("points, expected", [
    (box((1, 2, 3), (1.0, 2.0, 0.5), chamfer=0.0), 1.0),
    (rod((0, 1, 0), 0.1, 2.0, "x", sides=200), np.pi * 0.02),
    (bar((0, 0, 0), (1, 2, 2), (0.3, 0.3), sides=200), np.pi * 0.09 * 3),
    (bar((0, 0, 1), (0, 0, 4), (0.5, 1e-9), sides=200), np.pi * 0.25),
    (ellipsoid((1, 1, 1), (1.0, 2.0, 0.5), sides=80), 4 / 3 * np.pi),
    (prism(SQUARE, -1.0, 2.0), 3.0),
])
def test_solids_look_outwards_and_have_their_volume(points, expected):
    assert volume(points) == pytest.approx(expected, rel=0.02)


def test_a_ring_is_closed_and_turns_around_its_centre():
    wedges = annulus((5, 5, 5), np.array([(1.0, 0.0), (2.0, 0.0), (2.0, 0.5), (1.0, 0.5)]), segments=90)
    assert sum(map(volume, wedges)) == pytest.approx(np.pi * 3 * 0.5, rel=0.01)
    assert np.concatenate(wedges).mean(0)[:2] == pytest.approx([5, 5], abs=0.1)


def test_a_chain_follows_its_line_and_closes_where_the_line_does():
    straight = chain(np.array([(0.0, 0, 0), (1, 0, 0), (3, 0, 0)]), 0.1, sides=100)
    assert sum(map(volume, straight)) == pytest.approx(np.pi * 0.01 * 3, rel=0.01)
    loop = arc((0, 0, 2), (1.0, 1.0), "x")
    assert loop[0] == pytest.approx((0, 1, 2)) and np.linalg.norm(loop - (0, 0, 2), axis=1) == pytest.approx(1.0)
    links = chain(loop, 0.05)
    assert np.sort(links[0][:12], 0) == pytest.approx(np.sort(links[-1][12:], 0))


def test_noise_is_fixed_and_of_unit_variance():
    points = np.random.default_rng(0).uniform(-1, 1, (4000, 3))
    assert (noise(points) == noise(points)).all()
    assert noise(points).std() == pytest.approx(1, abs=0.15)


def test_texture_grows_with_the_grain_and_may_be_absent():
    cube = {"cube": Leaf((200, 100, 50), (box((0, 0, 0), (1, 1, 1)),), "x")}
    one, small = assemble(cube, "r"), assemble(cube, "r", grain_size=0.25)
    points = np.random.default_rng(0).random((2, 3, 3)).astype(np.float32)
    at, nearer = (Hits(np.zeros((2, 3), np.int32), p, np.zeros((2, 3, 3), np.float32)) for p in (points, points / 4))
    assert np.allclose(one.albedo(at), small.albedo(nearer), atol=1e-5) and np.ptp(one.albedo(at)) > 0.1
    plain = KnownScene(one.vertices, one.faces, one.colors, one.part_of_face, one.parents, one.names)
    assert np.allclose(plain.albedo(at), np.array([200, 100, 50]) / 255)


def test_the_written_truth_names_inner_parts_that_own_faces(tmp_path):
    scene = assemble({"a": {"b": Leaf((9, 9, 9), (box((0, 0, 0), (1, 1, 1)),))}}, "r")
    inner = KnownScene(scene.vertices, scene.faces, scene.colors, scene.part_of_face + 1, scene.parents, scene.names)
    pose = {"front": look_at(np.array([0.0, -4, 1]), np.zeros(3))}
    write_scene(tmp_path, inner, pose, {}, 24)
    assert set(np.unique(np.load(tmp_path / "truth" / "front.npz")["leaf"])) == {-1, 1}
    assert json.loads((tmp_path / "truth.json").read_text())["parents"] == [1, 2, 2]
    assert json.loads((tmp_path / "heldout" / "transforms.json").read_text())["frames"] == []
    assert (tmp_path / "images" / "front.png").is_file() and (tmp_path / "mesh.ply").is_file()
