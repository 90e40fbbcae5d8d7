"""The demo scene is a valid tree whose every part can be seen, and its files agree with one another."""

import json

import numpy as np
import pytest

from semquery.render import RayCaster, load_mesh
from semquery.tabletop import build, cameras, write_scene


@pytest.fixture(scope="module")
def scene_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tabletop")
    write_scene(folder, size=96)
    return folder


def depths(parents: np.ndarray) -> np.ndarray:
    depth = np.zeros(len(parents), int)
    for part in range(len(parents) - 2, -1, -1):
        depth[part] = depth[parents[part]] + 1
    return depth


def test_the_tree_is_in_the_layout_of_types_with_the_expected_levels():
    scene = build()
    assert len(scene.names) == len(set(scene.names)) == len(scene.parents) == 41 and scene.num_leaves == 33
    assert (scene.parents[:-1] > np.arange(40)).all() and scene.parents[-1] == 40
    assert not np.isin(scene.parents, np.arange(33)).any()  # no leaf is a parent
    assert np.bincount(depths(scene.parents)).tolist() == [1, 3, 14, 13, 10]
    assert set(np.unique(scene.part_of_face)) == set(range(33))


def test_solids_are_closed_and_look_outwards():
    import trimesh

    scene = build()
    for leaf in range(scene.num_leaves):
        mesh = trimesh.Trimesh(scene.vertices, scene.faces[scene.part_of_face == leaf], process=False)
        for solid in mesh.split(only_watertight=False):
            assert solid.is_watertight and solid.volume > 0, scene.names[leaf]


def test_one_object_alone_is_a_smaller_tree_of_the_same_kind():
    scene = build(("microwave",))
    assert scene.names[-2:] == ("microwave", "scene") and scene.num_leaves == 17
    with pytest.raises(ValueError, match="choose one or more"):
        build(("fridge",))


def test_there_are_fifty_views_to_train_on_and_eleven_others():
    train, heldout = cameras(), cameras(heldout=True)
    kinds = [name.split("_")[0] for name in train]
    assert [kinds.count(k) for k in ("orbit", "microwave", "chair", "panel")] == [16, 18, 12, 4] and len(heldout) == 11
    apart = [min(np.linalg.norm(T[:3, 3] - S[:3, 3]) for S in train.values()) for T in heldout.values()]
    assert min(apart) > 0.03


def test_every_leaf_is_seen_in_three_views_or_more(scene_folder):
    seen = np.zeros(33, int)
    for path in (scene_folder / "truth").glob("*.npz"):
        counts = np.bincount(np.load(path)["leaf"].ravel() + 1, minlength=34)[1:]
        seen += counts >= 12
    names = json.loads((scene_folder / "truth.json").read_text())["names"]
    assert (seen >= 3).all(), dict(zip(names, seen, strict=False))


def test_truth_agrees_with_the_written_mesh_through_the_written_cameras(scene_folder):
    transforms = json.loads((scene_folder / "transforms.json").read_text())
    truth = json.loads((scene_folder / "truth.json").read_text())
    intrinsics = np.array([transforms[k] for k in ("fl_x", "fl_y", "cx", "cy")])
    caster = RayCaster(*load_mesh(scene_folder / "mesh.ply"))
    assert len(transforms["frames"]) == 50
    for frame in transforms["frames"][::12]:
        face = caster.cast(np.array(frame["transform_matrix"]), intrinsics, (transforms["h"], transforms["w"])).face
        leaf = np.where(face >= 0, np.array(truth["part_of_face"])[face], -1)
        stem = frame["file_path"].removeprefix("images/").removesuffix(".png")
        assert (leaf == np.load(scene_folder / "truth" / f"{stem}.npz")["leaf"]).all()


def test_photos_are_clear_where_there_is_nothing_and_coloured_by_their_part(scene_folder):
    from PIL import Image

    names = json.loads((scene_folder / "truth.json").read_text())["names"]
    rgba = np.asarray(Image.open(scene_folder / "images" / "panel_01.png")).astype(int)
    leaf = np.load(scene_folder / "truth" / "panel_01.npz")["leaf"]
    assert rgba.shape == (96, 96, 4) and (rgba[leaf >= 0, 3] > 0).all()
    red, green, blue = rgba[leaf == names.index("dial"), :3].T
    assert np.median(red) > 2 * np.median(green) and np.median(red) > 2 * np.median(blue)
    red, green, _ = rgba[leaf == names.index("start button"), :3].T
    assert np.median(green) > 2 * np.median(red)


def test_held_out_views_are_kept_apart(scene_folder):
    heldout = json.loads((scene_folder / "heldout" / "transforms.json").read_text())
    assert len(heldout["frames"]) == 11 == len(list((scene_folder / "heldout" / "truth").glob("*.npz")))


def test_the_scene_can_be_small_and_is_the_same_every_time(tmp_path):
    for name in ("a", "b"):
        write_scene(tmp_path / name, size=32, num_views=9, num_heldout=0, objects=("microwave",))
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert sum(p.suffix == ".png" for p in files) == 9
    for path in files:
        if path.suffix == ".npz":  # a zip holds the time of writing
            assert (np.load(tmp_path / "a" / path)["leaf"] == np.load(tmp_path / "b" / path)["leaf"]).all()
        else:
            assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes(), path
