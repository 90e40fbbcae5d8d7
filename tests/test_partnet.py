"""PartNet-Mobility folders are read with the right owner of every face; what is missing or strange is named."""

import warnings

import numpy as np
import pytest
from partnet_folders import BACK, FRONT, QUAD, part, write

from eval.partnet import read_mobility
from eval.textured import LIFT, barycentric, read_obj, sample
from semquery.render import RayCaster, look_at, pinhole


def owners(scene):
    """Name of the owner of each face."""
    return [scene.names[part] for part in scene.part_of_face]


@pytest.fixture
def chair(tmp_path):
    raw = part("chair", part("base", part("leg", objs=["a"]), part("leg", objs=["b"])), part("back", part("frame", objs=["c", "d"])))
    merged = part("chair", part("base", part("leg", objs=["a"]), objs=["a", "b"]), objs=["a", "b", "c", "d"])
    return write(tmp_path / "1", raw, merged, a="", b="", c="", d="")


def test_the_raw_tree_is_leaves_first_with_chains_kept(chair):
    scene = read_mobility(chair)
    assert scene.names == ("leg", "leg", "frame", "base", "back", "chair") and scene.parents.tolist() == [3, 3, 4, 5, 5, 5]
    assert scene.part_of_face.tolist() == [0, 0, 1, 1, 2, 2, 2, 2] and scene.num_leaves == 3


def test_in_the_merged_tree_what_lost_its_part_stays_with_the_part_around_it(chair):
    scene = read_mobility(chair, "merged")
    assert scene.names == ("leg", "base", "chair") and scene.parents.tolist() == [1, 2, 2]
    assert sorted(owners(scene)) == ["base"] * 2 + ["chair"] * 4 + ["leg"] * 2


def test_every_face_has_its_material_and_up_is_z(chair):
    scene = read_mobility(chair)
    assert scene.colors[:, 0].tolist() == [26] * 2 + [51] * 2 + [76] * 2 + [102] * 2 and (scene.colors[:, 2] == 255).all()
    assert np.ptp(scene.vertices, axis=0)[1] == 0 and scene.vertices[:, 2].max() == 1  # y up became z up


def test_parts_without_a_face_are_left_out_and_named(tmp_path):
    raw = part("lamp", part("shade", objs=["a"]), part("cord", part("plug", objs=["none"])), part("bulb"))
    folder = write(tmp_path / "1", raw, a="", none="v 0 0 0\n")
    with pytest.warns(UserWarning, match="Parts that hold no face, left out: cord, plug, bulb"):
        scene = read_mobility(folder)
    assert scene.names == ("shade", "lamp")


def test_of_a_double_sided_face_the_front_is_seen(tmp_path):
    raw = part("r", part("front", objs=["a"]), part("back", objs=["b"]))
    scene = read_mobility(write(tmp_path / "1", raw, a=QUAD + FRONT, b=QUAD + BACK))
    caster = RayCaster(scene.vertices, scene.faces)
    for y, name in ((-3.0, "front"), (3.0, "back")):
        face = caster.cast(look_at(np.array([0.5, y, 0.5]), np.array([0.5, 0, 0.5])), pinhole(45, (9, 9)), (9, 9)).face
        assert {owners(scene)[k] for k in face[face >= 0]} == {name}


def test_textures_lie_where_the_coordinates_say(tmp_path):
    from PIL import Image

    folder = write(tmp_path / "1", part("r", part("a", objs=["a"])), a=f"mtllib a.mtl\nusemtl m\n{QUAD}{FRONT}")
    (folder / "textured_objs" / "a.mtl").write_text("newmtl m\nKd 1 1 0.5\nmap_Kd ../images/t.png\n")
    picture = np.array([[(200, 0, 0), (0, 200, 0)], [(0, 0, 200), (200, 200, 200)]], np.uint8)  # upper row first
    Image.fromarray(picture).save(folder / "images" / "t.png")
    scene = read_mobility(folder)
    pose = look_at(np.array([0.5, -3, 0.5]), np.array([0.5, 0, 0.5]))
    hits = RayCaster(scene.vertices, scene.faces).cast(pose, pinhole(15, (8, 8)), (8, 8))
    albedo = (scene.albedo(hits) - LIFT) / (1 - LIFT) * 255
    assert hits.mask.all()
    assert np.allclose(albedo[[1, 1, 6, 6], [1, 6, 1, 6]], [(200, 0, 0), (0, 200, 0), (0, 0, 100), (200, 200, 100)], atol=0.1)
    (folder / "images" / "t.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="t.png cannot be read as a picture"):
        read_mobility(folder)


@pytest.mark.parametrize("text, message", [
    (None, "Objs that are missing: a.obj"),
    ("v 0 0 zero\n", "a.obj is broken at line 1"),
    (QUAD + "f 1 2 9\n", r"a.obj is broken at line 9: corner 9 of 4 vertices"),
    (QUAD.replace("v 1 0 0", "v 1 0"), "a.obj is broken at line 2"),
    ("", "a.obj is broken: it has no vertices"),
    ("mtllib b.mtl\n" + QUAD + FRONT, "b.mtl is missing"),
    ("mtllib ../../b.mtl\n" + QUAD + FRONT, "lies outside"),
])
def test_what_is_missing_or_broken_is_named(tmp_path, text, message):
    folder = write(tmp_path / "1", part("r", part("a", objs=["a"])), other="")
    if text is not None:
        (folder / "textured_objs" / "a.obj").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_mobility(folder)


def test_names_that_lead_out_of_the_folder_are_refused(tmp_path):
    (tmp_path / "secret.obj").write_text(QUAD + FRONT)
    folder = write(tmp_path / "1", part("r", part("a", objs=["../../secret"])))
    with pytest.raises(ValueError, match="lies outside"):
        read_mobility(folder)


def test_trees_that_are_absent_or_no_trees_are_named(tmp_path):
    folder = write(tmp_path / "1", part("r", objs=["a"]), a="")
    with pytest.raises(ValueError, match="has no merged tree"):
        read_mobility(folder, "merged")
    for text in ("{", "[]", "[1]", '[{"id": 3}]'):
        (folder / "result.json").write_text(text)
        with pytest.raises(ValueError, match="result.json is no part tree"):
            read_mobility(folder)


def test_an_object_may_be_one_part(tmp_path):
    scene = read_mobility(write(tmp_path / "1", part("r", objs=["a"]), a=""))
    assert scene.names == ("r",) and scene.parents.tolist() == [0]


def test_polygons_and_all_ways_to_write_a_corner_are_understood(tmp_path):
    (tmp_path / "a.obj").write_text(QUAD + "vn 0 0 1\nf 1 2 3\nf 1//1 2//1 3//1\nf -4/-4/-1 -3/-3/-1 -2/-2/-1 -1/-1/-1\n")
    shape = read_obj(tmp_path, "a.obj")
    assert shape.faces.tolist() == [[0, 1, 2], [0, 1, 2], [0, 1, 2], [0, 2, 3]]
    assert shape.uv[0].tolist() == [[0, 0]] * 3 and shape.uv[3].tolist() == [[0, 0], [1, 1], [0, 1]]


def test_weights_of_corners_make_the_point_again():
    random = np.random.default_rng(0)
    corners, weights = random.normal(size=(20, 3, 3)), random.dirichlet(np.ones(3), 20)
    assert np.allclose(barycentric(corners, np.einsum("kc,kcx->kx", weights, corners)), weights)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(barycentric(np.zeros((1, 3, 3)), np.ones((1, 3)))).all()


def test_textures_repeat():
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    uv = np.array([[0.1, 0.9], [1.1, -0.1], [-0.1, 0.1], [-1e-17, 1.0]])
    assert sample(image, uv)[:, 0].tolist() == [0, 0, 9, 3]
