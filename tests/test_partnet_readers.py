"""PartNet v0 and Mobility folders become objects: what parts hold, where points lie, which parts are types, what is said of bad data."""

import json
import tracemalloc
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from partnet_folders import FRONT, QUAD, part, quad, write

from eval import textured
from eval.partnet import read_mobility
from eval.partnet.readers.nested import Nested, _flat, leaves_first, named, read_tree, without
from eval.partnet.readers.ontology import are_types, read_types
from eval.partnet.readers.partnet import files, find, names, read, read_meta, read_partnet
from eval.partnet.readers.points import greys, sampled_atoms
from eval.partnet.records import triangle_areas
from eval.textured import read_materials, read_obj

RAW = part("chair", part("base", part("leg", objs=["a"], id=2), part("leg", objs=["b"], id=3), id=1),
           part("back", part("frame", objs=["c", "d"], id=5), id=4), id=0)
MERGED = part("chair", part("base", part("leg", objs=["a"], id=2), objs=["a", "b"], id=1), objs=["a", "b", "c", "d"], id=0)
META = {"model_cat": "Chair", "model_id": "m", "anno_id": "1"}


@pytest.fixture(params=["objs", "textured_objs"])
def folder(request, tmp_path):
    return write(tmp_path / "1", RAW, MERGED, request.param, META, a="", b="", c="", d="")


def held(thing, node):
    """Objs, by the x at which they begin, whose faces a node holds."""
    faces = thing.holds[node, thing.atom_of_face]
    return sorted(set(np.round(thing.scene.vertices[thing.scene.faces[faces]][..., 0].min(1)).astype(int).tolist()))


# ------------------------------------------------------------------ trees


def test_both_layouts_hold_the_same_tree(folder):
    raw, merged = read_partnet(folder, "raw"), read_partnet(folder, "merged")
    assert raw.names == ("leg", "leg", "frame", "base", "back", "chair") and raw.ids == ("2", "3", "5", "1", "4", "0")
    assert [held(raw, k) for k in range(6)] == [[0], [1], [2, 3], [0, 1], [2, 3], [0, 1, 2, 3]]
    assert merged.names == ("leg", "base", "chair") and [held(merged, k) for k in range(3)] == [[0], [0, 1], [0, 1, 2, 3]]
    assert raw.format == merged.format == {"objs": "partnet", "textured_objs": "mobility"}[next(p.name for p in folder.glob("*objs"))]
    assert (raw.id, raw.category, raw.model, raw.notes) == ("1", "Chair", "m", ())


def test_area_is_of_the_triangles_and_every_face_has_an_atom(folder):
    thing = read_partnet(folder, "merged")
    assert np.allclose(thing.holds @ thing.area, [1, 2, 4])
    assert np.allclose(np.bincount(thing.atom_of_face, triangle_areas(thing.scene)), thing.area)


def test_the_owner_of_a_face_is_the_innermost_part_that_names_it(folder):
    scene = read_partnet(folder, "merged").scene
    assert [scene.names[k] for k in scene.part_of_face] == ["leg"] * 2 + ["base"] * 2 + ["chair"] * 4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_mobility(folder, "merged").names == scene.names


def test_siblings_may_name_one_obj_and_both_hold_it(tmp_path):
    raw = part("r", part("left", objs=["a", "b"]), part("right", objs=["b", "c"]), part("same", objs=["b"]))
    thing = read_partnet(write(tmp_path / "1", raw, a="", b="", c=""), "raw")
    assert [held(thing, k) for k in range(4)] == [[0, 1], [1, 2], [1], [0, 1, 2]] and thing.holds.shape[1] == 3
    assert thing.scene.part_of_face.tolist() == [0, 0, 0, 0, 1, 1]


def test_parts_that_hold_the_same_share_atoms(tmp_path):
    thing = read_partnet(write(tmp_path / "1", part("r", part("chain", part("leaf", objs=["a", "b"]))), a="", b=""), "raw")
    assert thing.names == ("leaf", "chain", "r") and thing.holds.tolist() == [[True]] * 3


def test_texts_are_as_people_read_them_and_names_where_there_is_none(tmp_path):
    raw = {"name": "r", "text": "", "id": 0, "children": [{"name": "door_frame", "text": "Door Frame", "id": "7", "objs": ["a"]}]}
    thing = read_partnet(write(tmp_path / "1", raw, a=""), "raw")
    assert thing.texts == ("Door Frame", "r") and thing.ids == ("7", "0") and thing.names == ("door frame", "r")


def test_without_meta_the_root_names_the_category_and_the_id_the_model(tmp_path):
    thing = read_partnet(write(tmp_path / "77", part("lamp", objs=["a"]), a=""), "raw")
    assert (thing.id, thing.category, thing.model) == ("77", "lamp", "77")


@st.composite
def trees(draw, depth=4):
    """Nested parts with numbers, some names empty."""
    count = iter(range(1000))

    def one(depth):
        children = draw(st.lists(st.none(), max_size=3)) if depth else []
        return {"name": draw(st.sampled_from(["a", "b", "", " _"])), "id": next(count),
                "objs": draw(st.lists(st.sampled_from("uvwxyz"), max_size=2)), "children": [one(depth - 1) for _ in children]}

    return one(depth)


def inside(record):
    """id → (objs it holds, ids of the parts directly inside), by recursion."""
    parts = {}
    for child in record["children"]:
        parts |= inside(child)
    objs = set(record["objs"]).union(*(parts[str(child["id"])][0] for child in record["children"]))
    return parts | {str(record["id"]): (objs, sorted(str(child["id"]) for child in record["children"]))}


def by_id(tree: Nested):
    """The same of a flat tree."""
    children = {id: [] for id in tree.ids}
    for k, parent in enumerate(tree.parents):
        if parent != k:
            children[tree.ids[parent]].append(tree.ids[k])

    def objs(id):
        return set(tree.objs[tree.ids.index(id)]).union(*map(objs, children[id]))

    return {id: (objs(id), sorted(children[id])) for id in tree.ids}


@settings(max_examples=30)
@given(trees())
def test_a_flat_tree_is_the_nested_one(record):
    tree = _flat(record)
    assert by_id(tree) == inside(record) and all(tree.parents[1:] < np.arange(1, len(tree.ids)))


@settings(max_examples=30)
@given(trees())
def test_leaves_come_first_and_parents_after_what_is_inside_them(record):
    tree = leaves_first(_flat(record))
    parents, num = tree.parents, len(tree.parents)
    num_leaves = num - len(np.unique(parents)) if num > 1 else 1
    assert by_id(tree) == inside(record) and parents[-1] == num - 1 and (parents[:-1] > np.arange(num - 1)).all()
    assert num == 1 or set(range(num_leaves)).isdisjoint(parents.tolist())
    assert [id for id in _flat(record).ids if id in tree.ids[:num_leaves]] == list(tree.ids[:num_leaves])


@settings(max_examples=30)
@given(trees())
def test_what_a_part_without_a_name_holds_goes_to_the_part_around_it(record):
    def spliced(record):
        record = {**record, "children": [spliced(child) for child in record["children"]]}
        nameless = [child for child in record["children"] if not child["name"].strip(" _")]
        record["objs"] = [*record["objs"], *(obj for child in nameless for obj in child["objs"])]
        record["children"] = [new for child in record["children"] for new in (child["children"] if child in nameless else [child])]
        return record

    record["name"] = "root"
    tree, notes = named(_flat(record), "")
    assert by_id(tree) == inside(spliced(record)) and bool(notes) == (len(tree.ids) < len(_flat(record).ids))


def test_a_root_without_a_name_is_called_after_its_category():
    tree = _flat({"name": "_", "id": 0, "children": [{"name": "", "id": 1}, {"name": "leg", "id": 2}]})
    found, notes = named(tree, "Chair")
    assert found.names == ("Chair", "leg") and notes == (
        "Parts without a name, left out, what they hold goes to the part around them: 1.",)
    with pytest.raises(ValueError, match="root of the tree has no name"):
        named(tree, "")


def test_nothing_taken_out_is_the_same_tree():
    tree = _flat(RAW)
    same = without(tree, np.zeros(6, bool))
    assert by_id(same) == by_id(tree) and same.ids == tree.ids


def test_names_in_any_script_are_kept(tmp_path):
    raw = part("椅子", part("пожка_стула", objs=["a"]), part("كرسي", objs=["b"]), part("Fuß🪑", objs=["c"]))
    folder = write(tmp_path / "1", raw, a="", b="", c="")
    assert read_partnet(folder, "raw").names == ("пожка стула", "كرسي", "fuß🪑", "椅子")
    (folder / "result.json").write_text("\ufeff" + json.dumps([raw], ensure_ascii=False), encoding="utf-8")
    assert read_partnet(folder, "raw").scene.names[-1] == "椅子"


# ------------------------------------------------------------------ bad data


@pytest.mark.parametrize("text, message", [
    ('[{"name": "r", "id": 0, "chil', "is no part tree .*Expecting|is no part tree .*Unterminated"),
    ("", "is no part tree"),
    ("[]", "0 roots"),
    (json.dumps([part("r"), part("s")]), "2 roots"),
    (json.dumps(part("r")), "a dict"),
    (json.dumps([part("r", part("s", part("r", objs=["a"], id=8), id=9), id=8)]), "part 8 is inside itself"),
    (json.dumps([part("r", part("s", objs=["a"], id=9), part("t", objs=["a"], id=9))]), "two parts have the id 9"),
    ('[{"name": "r"}]', "KeyError: 'id'"),
    ('[{"name": null, "id": 1}]', "has the name None"),
    ('[{"name": "r", "id": 1, "objs": "a"}]', "objs of part 1 are no list"),
    ('[{"name": "r", "id": 1, "objs": [1]}]', "objs of part 1 are no list"),
    ('[{"name": "r", "id": 1, "children": [3]}]', "'3' where a part belongs"),
    ('[{"name": "r", "id": 1}]', "none of its 0 objs has a face"),
    ("[" * 100_000, "is no part tree"),
])
def test_what_is_no_tree_is_named(tmp_path, text, message):
    folder = write(tmp_path / "1", RAW, a="")
    (folder / "result.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_partnet(folder, "raw")


def test_a_tree_in_no_encoding_is_named(tmp_path):
    folder = write(tmp_path / "1", RAW, a="")
    (folder / "result.json").write_bytes(b'[{"name": "\xff\xfe", "id": 0, "objs": ["a"]}]')
    with pytest.raises(ValueError, match="no part tree .UnicodeDecodeError"):
        read_partnet(folder, "raw")


def test_a_very_deep_tree_is_read(tmp_path):
    deep = part("leaf", objs=["a"])
    for _ in range(300):
        deep = part("around", deep)
    assert len(read_partnet(write(tmp_path / "1", deep, a=""), "raw").names) == 301


def test_missing_objs_are_noted_and_parts_left_with_nothing_are_left_out(folder):
    for path in folder.glob("*objs/[bc].obj"):
        path.unlink()
    thing = read_partnet(folder, "raw")
    assert thing.names == ("leg", "frame", "base", "back", "chair") and held(thing, 1) == [3]
    assert thing.notes == ("Objs that are missing: b.obj, c.obj.", "Parts that hold no face, left out: leg.")
    for path in folder.glob("*objs/*.obj"):
        path.unlink()
    with pytest.raises(ValueError, match="none of its 4 objs has a face. Objs that are missing: a.obj, b.obj, c.obj, d.obj"):
        read_partnet(folder, "raw")


def test_objs_that_no_part_names_are_noted(tmp_path):
    thing = read_partnet(write(tmp_path / "1", part("r", objs=["a"]), a="", extra="", more=""), "raw")
    assert thing.notes == ("Objs that no part names, left out: extra, more.",) and len(thing.scene.faces) == 2


@pytest.mark.parametrize("number", ["nan", "-inf", "1e400", "1e39"])
def test_faces_with_a_vertex_that_is_no_number_are_dropped_and_noted(tmp_path, number):
    text = QUAD + f"v {number} 0 0\n" + FRONT + "f 1 2 5\nf 5 2 3\n"
    thing = read_partnet(write(tmp_path / "1", part("r", part("p", objs=["a"])), a=text), "raw")
    assert thing.notes == ("Faces with a vertex that is no finite number, dropped: 2 in a.",) and len(thing.scene.faces) == 2
    assert np.isfinite(thing.scene.vertices).all() and np.isclose(thing.area.sum(), 1) and thing.scene.faces.max() == 3


def test_a_part_all_of_whose_faces_are_dropped_is_left_out(tmp_path):
    raw = part("r", part("good", objs=["a"]), part("bad", objs=["b"]))
    thing = read_partnet(write(tmp_path / "1", raw, a="", b="v nan 0 0\nv 1 0 0\nv 1 1 0\nf 1 2 3\n"), "raw")
    assert thing.names == ("good", "r") and thing.notes[1] == "Parts that hold no face, left out: bad."


def test_parts_without_area_stay_and_are_noted(tmp_path):
    raw = part("r", part("good", objs=["a"]), part("flat", objs=["b"]))
    thing = read_partnet(write(tmp_path / "1", raw, a="", b="v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n"), "raw")
    assert thing.names == ("good", "flat", "r") and thing.notes == ("Parts whose faces have no area: flat.",)


@pytest.mark.parametrize("name", ["../../secret", "x/../../../secret"])
def test_names_that_lead_out_of_the_folder_are_refused(folder, name):
    (folder.parent / "secret.obj").write_text(quad(0))
    (folder / "result.json").write_text(json.dumps([part("r", part("a", objs=["a", name]))]))
    with pytest.raises(ValueError, match="secret.obj, which lies outside"):
        read_partnet(folder, "raw")


def test_a_whole_path_as_a_name_is_looked_for_in_the_folder(folder):
    (folder.parent / "secret.obj").write_text(quad(0))
    (folder / "result.json").write_text(json.dumps([part("r", part("a", objs=["a", str(folder.parent / "secret")]))]))
    thing = read_partnet(folder, "raw")
    assert "Objs that are missing" in thing.notes[0] and len(thing.scene.faces) == 2


@pytest.mark.parametrize("text, message", [
    ("v 0 0 zero\n", "a.obj is broken at line 1"), (QUAD + "f 1 2 9\n", "line 9: corner 9 of 4 vertices and 4 texture"),
    (QUAD + FRONT + "f 1 2 -5\n", "line 10: corner -5 of 4"), (QUAD + "f 0 1 2\n", "line 9: corner 0 of 4"),
    (QUAD + "f 1/9 2 3\n", "line 9: corner 1/9 of 4"), (QUAD + "f 1/-5 2 3\n", "line 9: corner 1/-5"),
    (QUAD + "f 1 2 9999999999999999999999\n", "line 9"), (QUAD + "f 1 2 3.5\n", "line 9"), (QUAD + "f a b c\n", "line 9"),
    ("f 1 2 3\n" + QUAD, "line 1: corner 1 of 0 vertices"), ("\0\1\2", "no vertices"),
])
def test_a_broken_mesh_breaks_the_object_and_the_line_is_named(folder, text, message):
    next(folder.glob("*objs/a.obj")).write_text(text)
    with pytest.raises(ValueError, match=message):
        read_partnet(folder, "raw")


def test_a_broken_meta_is_named_when_read_and_lets_the_object_be_found(folder):
    (folder / "meta.json").write_text('{"model_cat": "Cha')
    assert [(found.id, found.category, found.model) for found in find(folder.parent)] == [("1", "", "1")]
    for text in ('{"model_cat": "Cha', "[]"):
        (folder / "meta.json").write_text(text)
        with pytest.raises(ValueError, match="meta.json is broken"):
            read_partnet(folder, "raw")


def test_an_object_without_meshes_or_without_the_tree_is_named(tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "result.json").write_text(json.dumps([RAW]))
    with pytest.raises(ValueError, match="has no meshes: expected textured_objs or objs"):
        read_partnet(tmp_path / "1", "raw")
    with pytest.raises(ValueError, match=r"has no merged tree \(result_after_merging.json\)\. .*give --tree raw"):
        read_partnet(tmp_path / "1", "merged")
    (tmp_path / "1" / "result.json").unlink()
    with pytest.raises(ValueError, match=r"has no raw tree \(result.json\)\. Fetch the object again\.$"):
        read_partnet(tmp_path / "1", "raw")


# ------------------------------------------------------------------ obj files


def slow_obj(text):
    """Triangles (vertex rows, texture coordinates) of an obj text, line by line."""
    points, uvs, triangles = 0, [], []
    for line in text.splitlines():
        word, *rest = line.split() or [""]
        points += word == "v"
        if word == "vt":
            uvs.append([float(number) for number in rest[:2]])
        if word == "f":
            corners = []
            for corner in rest:
                at, which = ([int(number) if number else 0 for number in corner.split("/")] + [0])[:2]
                corners.append((at - 1 if at > 0 else points + at, uvs[which - 1 if which > 0 else which] if which else [0, 0]))
            triangles += [[corners[0], corners[k], corners[k + 1]] for k in range(1, len(corners) - 1)]
    return triangles


@st.composite
def obj_texts(draw):
    lines = ["v 0 0 0", "v 1 0 0", "v 0 1 0", "vt 0 0.5"]
    for _ in range(draw(st.integers(1, 12))):
        points, uvs = sum(line[:2] == "v " for line in lines), sum(line[:2] == "vt" for line in lines)
        at = st.integers(-points, points).filter(bool)
        which = st.integers(-uvs, uvs).filter(bool)
        both = st.tuples(at, which)
        corner = st.one_of(at.map(str), both.map("{0[0]}/{0[1]}".format), both.map("{0[0]}/{0[1]}/1".format), at.map("{}//7".format))
        lines.append(draw(st.one_of(
            st.sampled_from(["v 1 2 3", "v -1 0.5 1e-3 0.1 0.2 0.3", "vt 0.25 1 0", "", "# said", "g part", "  v 0 2 0", "vn 0 0 1"]),
            st.lists(corner, min_size=3, max_size=5).map(lambda words: "f " + " ".join(words)))))
    return "\n".join(lines)


@settings(max_examples=40)
@given(obj_texts(), st.sampled_from([1, 2, 65_536]))
def test_an_obj_file_says_what_its_lines_say_one_by_one(tmp_path_factory, text, piece):
    folder = tmp_path_factory.mktemp("obj")
    (folder / "a.obj").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(textured, "PIECE", piece)
        shape = read_obj(folder, "a.obj")
    triangles = slow_obj(text)
    assert shape.faces.tolist() == [[at for at, _ in triangle] for triangle in triangles]
    assert shape.uv.tolist() == [[uv for _, uv in triangle] for triangle in triangles]


def test_every_face_has_the_material_that_was_last_named(tmp_path):
    (tmp_path / "i").mkdir()
    for name in ("one two.png", "b.png"):
        (tmp_path / "i" / name).write_bytes(b"")
    (tmp_path / "a.mtl").write_text("newmtl m\nKd 0.5 2 nan\nmap_Kd i\\one two.png\nnewmtl n n\nKd 0 0 1\nmap_Kd -s 1 1 1 i/b.png\n")
    (tmp_path / "a.obj").write_text(f"mtllib a.mtl\n{QUAD}f 1 2 3\nusemtl m\nf 1 2 3\nf 1 2 4\nusemtl n n\nf 1 2 3\nusemtl gone\nf 1 2 3\n")
    shape = read_obj(tmp_path, "a.obj")
    assert shape.colors.tolist() == [list(textured.GREY), [0.5, 1, 0], [0.5, 1, 0], [0, 0, 1], list(textured.GREY)]
    assert shape.texture_of_face.tolist() == [-1, 0, 0, 1, -1] and [path.name for path in shape.textures] == ["one two.png", "b.png"]
    plain = read_obj(tmp_path, "a.obj", materials=False)
    assert plain.textures == () and (plain.colors == textured.GREY).all()
    with pytest.raises(ValueError, match="b.mtl is broken at line 2: 2 numbers where 3 belong"):
        (tmp_path / "b.mtl").write_text("newmtl m\nKd 1 2\n")
        read_materials(tmp_path, "b.mtl")


def test_a_large_mesh_is_read_in_bounded_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(textured, "PIECE", 2000)
    side = 100
    x, y = np.meshgrid(np.arange(side + 1), np.arange(side + 1))
    corner = (np.arange(side)[:, None] * (side + 1) + np.arange(side)).ravel() + 1
    across = corner + side + 2
    rows = np.concatenate([np.stack([corner, corner + 1, across], 1), np.stack([corner, across, across - 1], 1)])
    text = "".join(f"v {a} {b} 0\n" for a, b in zip(x.ravel(), y.ravel(), strict=True)) + "".join(f"f {a} {b} {c}\n" for a, b, c in rows)
    folder = write(tmp_path / "1", part("r", objs=["a"]), mesh="objs", a=text)
    read_partnet(folder, "raw")
    tracemalloc.start()
    thing = read_partnet(folder, "raw")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(thing.scene.faces) == 2 * side**2 and np.isclose(thing.area.sum(), side**2)
    assert peak / len(thing.scene.faces) < 550  # bytes; 720 when all lines are kept as words at once


# ------------------------------------------------------------------ points and colours


def test_sampled_points_are_counted_by_the_leaf_they_lie_on(folder):
    (folder / "point_sample").mkdir()
    (folder / "point_sample" / "label-10000.txt").write_text("2\n2\n3\n5\n5\n5\n")
    for tree, expected in (("raw", [2, 1, 3, 3, 3, 6]), ("merged", [2, 3, 6])):
        thing = read_partnet(folder, tree)
        assert (thing.holds @ thing.points).tolist() == expected and thing.notes == ()


def test_points_without_a_part_are_noted_and_a_broken_file_too(folder):
    (folder / "point_sample").mkdir()
    labels = folder / "point_sample" / "label-10000.txt"
    labels.write_text("2\n99\n4\n")
    thing = read_partnet(folder, "raw")
    assert thing.points.sum() == 1 and thing.notes == ("Sampled points on no part that is here: 2 of 3.",)
    labels.write_text("2\nx\n")
    thing = read_partnet(folder, "raw")
    assert len(thing.points) == 0 and "label-10000.txt cannot be read" in thing.notes[0]
    (folder / "result.json").unlink()
    assert "Without result.json" in read_partnet(folder, "merged").notes[0]
    labels.unlink()
    assert len(read_partnet(folder, "merged").points) == 0 and read_partnet(folder, "merged").notes == ()


def test_where_leaves_share_objs_a_point_is_of_the_atom_that_is_the_leafs_alone(tmp_path):
    (tmp_path / "point_sample").mkdir()
    (tmp_path / "point_sample" / "label-10000.txt").write_text("1 1 2\n")
    raw = _flat(part("r", part("left", objs=["a", "b"], id=1), part("right", objs=["b"], id=2), id=0))
    holds = np.array([[True, True], [False, True], [True, True]])
    points, notes = sampled_atoms(tmp_path, raw, {"a": 0, "b": 1}, holds, np.array([1.0, 50.0]))
    assert points.tolist() == [2, 1] and notes == ()


def test_a_mesh_without_colours_has_those_of_the_nearest_sampled_points(tmp_path):
    folder = write(tmp_path / "1", RAW, mesh="objs", a="", b="", c="", d="")
    grey = read_partnet(folder, "raw").scene
    assert (np.ptp(grey.colors.astype(int), axis=1) == 0).all() and len(np.unique(grey.colors)) == 3  # one of each leaf
    (folder / "point_sample").mkdir()
    sample = folder / "point_sample" / "sample-points-all-pts-nor-rgba-10000.txt"
    sample.write_text("".join(f"{k + 0.5} 0.5 0 0 0 1 {10 * k} 20 30 1.0\n" for k in range(4)))
    scene = read_partnet(folder, "raw").scene
    assert scene.colors.tolist() == [[10 * k, 20, 30] for k in range(4) for _ in range(2)] and np.allclose(scene.tint * 255, scene.colors)
    for text in ("1 2 3\n", "nan 0 0 0 0 1 1 1 1 1\n", "word\n", ""):
        sample.write_text(text)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            thing = read_partnet(folder, "raw")
        assert (thing.scene.colors == grey.colors).all() and "rgba-10000.txt cannot be read" in thing.notes[0]


def test_the_two_sides_of_a_sheet_may_have_different_colours(tmp_path):
    back = quad(0).replace(FRONT, "f 1/1 4/4 3/3 2/2\n")
    folder = write(tmp_path / "1", part("r", part("front", objs=["a"]), part("back", objs=["b"])), mesh="objs", a=quad(0), b=back)
    (folder / "point_sample").mkdir()
    sample = folder / "point_sample" / "sample-points-all-pts-nor-rgba-10000.txt"
    sample.write_text("".join(f"{x} {y} 0 0 0 {side} {side + 100} 0 0 1\n" for side in (1, -1) for x in (0.2, 0.8) for y in (0.3, 0.7)))
    assert read_partnet(folder, "raw").scene.colors[:, 0].tolist() == [101, 101, 99, 99]


def test_materials_of_v0_meshes_are_of_no_account(tmp_path):
    folder = write(tmp_path / "1", part("r", objs=["a"]), mesh="objs", a=f"mtllib gone.mtl\nusemtl m\n{quad(0)}")
    assert read_partnet(folder, "raw").notes == ()


def test_greys_of_neighbours_differ():
    shades = greys(np.arange(100))[:, 0].astype(int)
    assert (np.abs(np.diff(shades)) > 10).all() and shades.min() >= 150 and shades.max() <= 210


# ------------------------------------------------------------------ types of parts


def test_what_is_directly_inside_subtypes_is_a_type(tmp_path):
    path = tmp_path / "Chair.txt"
    path.write_text("1 chair subcomponents\n2 chair/base subtypes\n3 chair/base/leg_base subcomponents\n4 chair/base/leg_base/leg leaf\n")
    types = read_types(path)
    assert types == {"chair/base/leg_base"}
    names = ("leg", "leg_base", "base", "leg_base", "chair")
    assert are_types(names, np.array([1, 2, 4, 4, 4]), types).tolist() == [False, True, False, False, False]
    path.write_text("1 chair\n")
    with pytest.raises(ValueError, match="no ontology of parts: .*met “1 chair”"):
        read_types(path)


@pytest.mark.parametrize("where", ["stats/before_merging_label_ids", "ontology", "../stats/after_merging_label_ids"])
def test_an_ontology_beside_the_data_is_found(tmp_path, where):
    data = tmp_path / "data"
    folder = write(data / "1", RAW, meta=META, a="", b="", c="", d="")
    assert not read_partnet(folder, "raw").is_type.any()
    (data / where).mkdir(parents=True)
    (data / where / "Chair.txt").write_text("1 chair subcomponents\n2 chair/base subtypes\n3 chair/base/leg leaf\n")
    assert read_partnet(folder, "raw").is_type.tolist() == [True, True, False, False, False, False]


def test_each_tree_prefers_the_ontology_of_its_own(tmp_path):
    folder = write(tmp_path / "1", RAW, MERGED, meta=META, a="", b="", c="", d="")
    for name, kind in (("before", "subtypes"), ("after", "subcomponents")):
        path = tmp_path / "stats" / f"{name}_merging_label_ids" / "Chair.txt"
        path.parent.mkdir(parents=True)
        path.write_text(f"1 chair subcomponents\n2 chair/base {kind}\n3 chair/base/leg leaf\n")
    assert read_partnet(folder, "raw").is_type.sum() == 2 and read_partnet(folder, "merged").is_type.sum() == 0


def test_a_category_that_leads_elsewhere_finds_no_ontology(tmp_path):
    (tmp_path / "secret.txt").write_text("1 r subtypes\n2 r/a leaf\n")
    (tmp_path / "data" / "ontology").mkdir(parents=True)
    folder = write(tmp_path / "data" / "1", part("r", part("a", objs=["a"])), meta={"model_cat": "../../secret"}, a="")
    assert not read_partnet(folder, "raw").is_type.any()


# ------------------------------------------------------------------ finding


def test_objects_are_found_at_two_depths_and_alone_without_opening_a_mesh(tmp_path):
    for k, (where, mesh) in enumerate((("2", "objs"), ("10", "textured_objs"), ("more/7", "objs"))):
        write(tmp_path / where, RAW, mesh=mesh, meta={"model_cat": "Chair", "model_id": f"m{k}"}, a="broken")
    (tmp_path / "stats" / "labels").mkdir(parents=True)
    (tmp_path / "notes.txt").write_text("")
    found = {found.id: (found.format, found.category, found.model) for found in find(tmp_path)}
    assert found == {"2": ("partnet", "Chair", "m0"), "10": ("mobility", "Chair", "m1"), "7": ("partnet", "Chair", "m2")}
    assert [found.id for found in find(tmp_path / "10")] == ["10"] and find(tmp_path / "stats") == []


def test_folders_that_lack_something_are_found_so_that_they_are_named_when_read(tmp_path):
    write(tmp_path / "1", a="")
    (tmp_path / "2").mkdir()
    (tmp_path / "2" / "result.json").write_text(json.dumps([RAW]))
    found = sorted(find(tmp_path), key=lambda reference: reference.order)
    for reference, message in zip(found, ("has no raw tree", "has no meshes"), strict=True):
        with pytest.raises(ValueError, match=message):
            read(reference, "raw")


def test_names_are_read_without_meshes_and_are_those_of_the_object(folder):
    (reference,) = find(folder)
    expected = {tree: sorted(read(reference, tree).scene.names) for tree in ("raw", "merged")}
    assert len(files(reference)) == {"partnet": 7, "mobility": 11}[reference.format]
    for path in folder.glob("*objs/*"):
        path.unlink()
    assert {tree: sorted(names(reference, tree)) for tree in ("raw", "merged")} == expected


def test_a_tree_is_read_as_it_is_written(folder):
    tree = read_tree(folder, "raw")
    assert tree.ids == ("0", "1", "2", "3", "4", "5") and tree.objs[5] == ("c", "d") and tree.parents.tolist() == [0, 0, 1, 1, 0, 4]
    assert read_meta(folder) == META
