"""GLB files with hierarchies of three kinds are read with the right faces in every part; what is missing or strange is named."""

import io
import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.partnet.readers import glb, objaverse, partnext
from eval.partnet.readers.faces import atoms_of_sets, innermost, rows_of_ranges
from eval.partnet.readers.find import find_objects, names_of, read_object
from eval.partnet.readers.gltf import read_glb, screen
from eval.partnet.records import atoms_of, triangle_areas
from eval.textured import LIFT
from semquery.render import RayCaster, look_at, pinhole

QUAD = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)


def strip(count, at=0.0):
    """A row of triangles of area 1/2 along x, side by side; (vertices, faces)."""
    k = np.arange(count)[:, None, None]
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]]) + k * [1, 0, 0] + [0, at, 0]
    return corners.reshape(-1, 3).astype(np.float32), np.arange(3 * count).reshape(-1, 3)


def write_glb(path, nodes, meshes, scene=(0,), materials=(), images=(), **extra):
    """A GLB file. `meshes` are lists of primitives: (vertices, faces), or with a dict of attributes and fields behind them."""
    blob, views, accessors = b"", [], []

    def view(data):
        nonlocal blob
        views.append({"buffer": 0, "byteOffset": len(blob), "byteLength": len(data)})
        blob += data + b"\0" * (-len(data) % 4)
        return len(views) - 1

    def accessor(array):
        array = np.ascontiguousarray(array, np.uint32 if array.dtype.kind in "iu" else np.float32)
        kind = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}[array.shape[1] if array.ndim > 1 else 1]
        accessors.append({"bufferView": view(array.tobytes()), "count": len(array), "type": kind,
                          "componentType": 5125 if array.dtype.kind == "u" else 5126})
        return len(accessors) - 1

    listed = []
    for mesh in meshes:
        primitives = []
        for vertices, faces, *more in mesh:
            fields = dict(more[0]) if more else {}
            attributes = {"POSITION": accessor(vertices)}
            attributes |= {name: accessor(fields.pop(name)) for name in ("TEXCOORD_0", "COLOR_0") if name in fields}
            primitives.append({"attributes": attributes, "indices": accessor(np.asarray(faces).reshape(-1))} | fields)
        listed.append({"primitives": primitives})
    pictures = [{"bufferView": view(data), "mimeType": "image/png"} for data in images]
    header = {"asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": list(scene)}], "nodes": nodes, "meshes": listed,
              "accessors": accessors, "bufferViews": views, "buffers": [{"byteLength": len(blob)}],
              "materials": list(materials), "images": pictures, "textures": [{"source": k} for k in range(len(pictures))]} | extra
    text = json.dumps({key: value for key, value in header.items() if value != []}).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(blob), b"BIN\0") + blob
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)
    return path


def mug(folder, tree=None, **about):
    """A cup of four triangles and a grip of six in two primitives, under one node."""
    nodes = [{"name": "all", "children": [1, 2]}, {"name": "cup", "mesh": 0}, {"name": "grip", "mesh": 1}]
    write_glb(folder / "mug.glb", nodes, [[strip(4)], [strip(2, 2.0), strip(4, 4.0)]])
    if tree is not None:
        (folder / "mug.json").write_text(json.dumps(about | {"tree": tree}))
    return folder


def only(folder, tree="raw"):
    """The one object of a folder."""
    (reference,) = find_objects(folder)
    return read_object(reference, tree)


def held(thing):
    """(name, numbers of its faces) of every part."""
    return [(name, np.flatnonzero(row[thing.atom_of_face]).tolist()) for name, row in zip(thing.scene.names, thing.holds, strict=True)]


TREE = {"name": "mug", "children": [
    {"name": "body", "meshes": ["cup"]},
    {"name": "handle", "text": "Handle", "children": [
        {"name": "inside", "faces": {"grip": [[0, 2]]}}, {"name": "outside", "faces": {"1": [3, 5]}}]}]}

# ------------------------------------------------------------------ a hierarchy of one's own


def test_parts_hold_the_faces_that_their_file_names(tmp_path):
    thing = only(mug(tmp_path, TREE, id="m-1", category="Mug", model="m"))
    assert (thing.id, thing.category, thing.model, thing.format) == ("m-1", "Mug", "m", "glb")
    assert held(thing)[:3] == [("body", [0, 1, 2, 3]), ("inside", [4, 5]), ("outside", [7, 9])]
    assert held(thing)[3:] == [("handle", [4, 5, 7, 9]), ("mug", list(range(10)))]
    assert thing.parents.tolist() == [4, 3, 3, 4, 4] and thing.texts[3] == "Handle" and thing.ids == ("1", "3", "4", "2", "0")
    assert thing.scene.part_of_face.tolist() == [0] * 4 + [1, 1, 4, 2, 4, 2]  # what no part names is the whole's
    assert thing.notes == ("Faces that no part names, held by the whole alone: 2 of 10.",)
    np.testing.assert_allclose(thing.holds @ thing.area, [2, 1, 1, 2, 5])
    np.testing.assert_allclose(thing.area, np.bincount(thing.atom_of_face, triangle_areas(thing.scene)))


def test_without_a_file_the_scene_graph_is_the_hierarchy(tmp_path):
    leg = {"mesh": 0, "translation": [0, 5, 0]}
    nodes = [{"name": "table", "children": [1, 2, 4], "mesh": 0}, {"name": "leg", **leg}, {"name": "leg.001", **leg}, {"name": "lamp"},
             {"name": "базис", "children": [5]}, {"name": "脚", **leg}]
    write_glb(tmp_path / "t.glb", nodes, [[strip(2)]])
    thing = only(tmp_path)
    assert held(thing) == [("leg", [2, 3]), ("leg", [4, 5]), ("脚", [6, 7]), ("базис", [6, 7]), ("table", list(range(8)))]
    assert thing.texts[:2] == ("leg", "leg.001") and thing.ids == ("1", "2", "5", "4", "0")
    (reference,) = find_objects(tmp_path)
    assert sorted(names_of(reference, "raw")) == sorted(thing.scene.names)


def test_several_roots_become_parts_of_one_whole(tmp_path):
    write_glb(tmp_path / "pair.glb", [{"name": "a", "mesh": 0}, {"name": "b", "mesh": 0}], [[strip(1)]], scene=(1, 0))
    thing = only(tmp_path)
    assert held(thing) == [("b", [1]), ("a", [0]), ("pair", [0, 1])]


def test_parts_that_overlap_both_hold_a_face_and_the_innermost_owns_it(tmp_path):
    tree = {"name": "mug", "meshes": ["cup", "grip"], "children": [
        {"name": "a", "faces": {"cup": [[0, 3]]}, "children": [{"name": "deep", "faces": {"cup": [1]}}]},
        {"name": "b", "faces": {"cup": [1, 2, 2]}}]}
    thing = only(mug(tmp_path, tree))
    assert dict(held(thing)) == {"deep": [1], "b": [1, 2], "a": [0, 1, 2], "mug": list(range(10))}
    assert [thing.scene.names[k] for k in thing.scene.part_of_face[:4]] == ["a", "deep", "b", "mug"]  # b stands before a: it is a leaf
    assert thing.notes == ()


@settings(max_examples=25)
@given(st.data())
def test_whatever_the_tree_every_part_holds_what_it_and_its_parts_name(tmp_path_factory, data):
    """Against walking the written tree for every face."""
    folder = tmp_path_factory.mktemp("any")

    def part(depth):
        faces = {mesh: data.draw(st.lists(st.integers(0, count - 1), max_size=4)) for mesh, count in (("cup", 4), ("1", 6))}
        inside = data.draw(st.integers(0, 2)) if depth else 0
        return {"name": f"n{data.draw(st.integers(0, 3))}", "faces": faces, "children": [part(depth - 1) for _ in range(inside)]}

    def names_holding(node, face):
        mesh, number = ("cup", face) if face < 4 else ("1", face - 4)
        inside = [name for child in node["children"] for name in names_holding(child, face)]
        return inside + [node["name"]] * bool(inside or number in node["faces"][mesh])

    tree = part(3)
    thing = only(mug(folder, tree))
    for face in range(10):
        expected = names_holding(tree, face) or [tree["name"]]
        assert sorted(np.array(thing.scene.names)[thing.holds[:, thing.atom_of_face[face]]]) == sorted(expected)


def test_subtypes_are_marked_and_empty_parts_left_out(tmp_path):
    tree = {"name": "mug", "id": 9, "children": [{"name": "tall mug", "id": "t", "type": "subtypes", "meshes": ["cup", 1]},
                                                 {"name": "lid", "id": 3, "children": [{"name": "knob", "id": 4, "faces": {"cup": []}}]}]}
    thing = only(mug(tmp_path, tree))
    assert thing.ids == ("t", "9") and thing.is_type.tolist() == [True, False]
    assert thing.notes == ("Parts that hold no face, left out: lid, knob.",)


@pytest.mark.parametrize("change, message", [
    ({"name": "mug", "mesh": ["cup"]}, "the field mesh; expected some of children, faces"),
    ({"name": "mug", "children": [{}]}, "is no part; expected an object with a name"),
    ({"name": " "}, "is no part"),
    ({"name": "mug", "children": {"name": "a"}}, "children is a dict; expected a list"),
    ({"name": "mug", "faces": [1]}, "faces is a list; expected a dict"),
    ({"name": "mug", "faces": {"pot": [1]}}, "“mug”: there is no mesh 'pot'. There are '0', '1', 'cup', 'grip'"),
    ({"name": "mug", "meshes": [2]}, "there is no mesh 2"),
    ({"name": "mug", "faces": {"cup": [4]}}, "faces 4 to 4 are named; there are 4, from 0"),
    ({"name": "mug", "faces": {"cup": [-1]}}, "faces -1 to -1"),
    ({"name": "mug", "faces": {"cup": [[2, 2]]}}, "ranges have to begin before they end"),
    ({"name": "mug", "faces": {"cup": [[0, 1], 2]}}, "are no faces; expected whole numbers, or pairs"),
    ({"name": "mug", "faces": {"cup": [1.5]}}, "are no faces"),
    ({"name": "mug", "faces": {"cup": [True]}}, "are no faces"),
    ({"name": "mug", "faces": {"cup": [10**30]}}, "are no faces"),
    ({"name": "mug", "faces": {"cup": 3}}, "are no faces"),
    ({"name": "mug", "id": 1, "children": [{"name": "a", "id": "1"}]}, "several parts have the id 1"),
    ({"name": "mug", "id": 1, "children": [{"name": "a"}]}, "1 of 2 parts have an id; give all of them one, or none"),
    ({"name": "mug", "type": "leaf"}, "type is 'leaf'; expected “subtypes”"),
    ({"name": "mug", "text": 3}, "text is a int; expected a str"),
])
def test_a_hierarchy_that_is_wrong_is_told_where(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        only(mug(tmp_path, change))


@pytest.mark.parametrize("text, message", [
    ('{"tree": {"name": "mug"', "mug.json is no JSON"),
    ("[1]", "has the fields list; expected a tree"),
    ('{"tree": 3}', "expected a tree"),
    ('{"tree": {"name": "a"}, "colour": 1}', "has the fields colour, tree; expected a tree, and perhaps category, id, model"),
    ('{"tree": {"name": "a"}, "category": 7}', "category is 7; expected a text"),
    ('{"tree": ' + "[" * 100_000, "is no JSON"),
])
def test_a_file_that_is_cut_off_or_something_else_is_told_when_the_object_is_read(tmp_path, text, message):
    mug(tmp_path)
    (tmp_path / "mug.json").write_text(text)
    (reference,) = find_objects(tmp_path)
    assert reference.id == reference.model == "mug"
    with pytest.raises(ValueError, match=message):
        read_object(reference, "raw")


def test_there_is_no_merged_tree(tmp_path):
    (reference,) = find_objects(mug(tmp_path, TREE))
    for call in (read_object, names_of):
        with pytest.raises(ValueError, match="has no merged tree: it has one only, the raw one"):
            call(reference, "merged")


def test_objects_are_found_as_files_or_folders_and_named_without_their_meshes(tmp_path):
    mug(tmp_path, TREE, category="Mug")
    mug(tmp_path / "cup-7", TREE)
    (tmp_path / "cup-7" / "mug.glb").rename(tmp_path / "cup-7" / "model.glb")
    (tmp_path / "cup-7" / "mug.json").rename(tmp_path / "cup-7" / "model.json")
    found = find_objects(tmp_path)
    assert [(r.id, r.category, r.model) for r in found] == [("cup-7", "mug", "cup-7"), ("mug", "Mug", "mug")]
    for reference in found:
        assert len(glb.files(reference)) == 2
        reference.path.write_bytes(b"")
        assert names_of(reference, "raw") == ("mug", "body", "handle", "inside", "outside")


# ------------------------------------------------------------------ the mesh


def test_up_is_z_the_front_is_minus_y_and_nodes_stand_where_their_transforms_put_them(tmp_path):
    outer = {"name": "a", "translation": [1, 2, 3], "scale": [2, 2, 2], "children": [1]}
    nodes = [outer, {"name": "b", "mesh": 0, "translation": [0, 0, 1]}]
    write_glb(tmp_path / "a.glb", nodes, [[(QUAD, [[0, 1, 2], [0, 2, 3]])]])
    scene = only(tmp_path).scene
    assert scene.vertices.min(0).tolist() == [1, -5, 2] and scene.vertices.max(0).tolist() == [3, -5, 4]
    a, b, c = scene.vertices[scene.faces[0]]
    assert np.cross(b - a, c - a)[1] < 0  # glTF's front +z looks towards -y


def test_a_mirrored_mesh_keeps_its_front_and_its_texture(tmp_path):
    faces, uv = [[0, 1, 2], [0, 2, 3]], QUAD[:, :2]
    nodes = [{"name": "r", "children": [1, 2]}, {"name": "a", "mesh": 0}, {"name": "b", "mesh": 0, "scale": [-1, 1, 1]}]
    mesh = read_glb(write_glb(tmp_path / "a.glb", nodes, [[(QUAD, faces, {"TEXCOORD_0": uv, "material": 0})]], materials=[{}]))
    a, b, c = mesh.vertices[mesh.faces].transpose(1, 0, 2)
    assert (np.cross(b - a, c - a)[:, 1] < 0).all()
    assert (mesh.vertices[mesh.faces[2:], 0] == -mesh.vertices[mesh.faces[:2, ::-1], 0]).all()
    np.testing.assert_allclose(mesh.uv[..., 0], np.abs(mesh.vertices[mesh.faces, 0]))


def png(pixels):
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.array(pixels, np.uint8)).save(file, "PNG")
    return file.getvalue()


def test_textures_lie_where_the_coordinates_say(tmp_path):
    pixels = [[(200, 0, 0), (0, 200, 0)], [(0, 0, 200), (200, 200, 200)]]  # upper row first; in glTF v runs down
    material = {"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}, "baseColorFactor": [1, 1, 1, 1]}}
    uv = np.array([[0, 1], [1, 1], [1, 0], [0, 0]])
    write_glb(tmp_path / "a.glb", [{"name": "a", "mesh": 0}], [[(QUAD, [[0, 1, 2], [0, 2, 3]], {"TEXCOORD_0": uv, "material": 0})]],
              materials=[material], images=[png(pixels)])
    scene = only(tmp_path).scene
    front = look_at(np.array([0.5, -3, 0.5]), np.array([0.5, 0, 0.5]))
    hits = RayCaster(scene.vertices, scene.faces).cast(front, pinhole(15, (8, 8)), (8, 8))
    albedo = (scene.albedo(hits) - LIFT) / (1 - LIFT) * 255
    assert hits.mask.all()
    np.testing.assert_allclose(albedo[[1, 1, 6, 6], [1, 6, 1, 6]], [(200, 0, 0), (0, 200, 0), (0, 0, 200), (200, 200, 200)], atol=0.1)


def test_colours_of_materials_and_vertices_are_kept_as_screens_show_them(tmp_path):
    materials = [{"pbrMetallicRoughness": {"baseColorFactor": [1.0, 0.5, 0.0, 1.0]}}, {}]
    ones = np.ones((3, 3), np.float32)
    one = [strip(1)[0], [[0, 1, 2]]]
    looks = [{"material": 0}, {"material": 0, "COLOR_0": ones * 0.5}, {"COLOR_0": ones * [1, 0, 0]}, {"material": 1}, {}]
    primitives = [(*one, look) for look in looks]
    write_glb(tmp_path / "a.glb", [{"name": "a", "mesh": 0}], [primitives], materials=materials)
    colors = only(tmp_path).scene.colors
    assert np.abs(colors.astype(int) - [(255, 188, 0), (188, 137, 0), (255, 0, 0), (255, 255, 255), (178, 178, 178)]).max() <= 1
    assert screen(np.array([[0.0, 0.0031308, 1.0]]))[0].tolist() == pytest.approx([0, 0.04045, 1], abs=1e-4)


def test_a_texture_that_cannot_be_read_is_noted(tmp_path):
    material = {"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}
    whole = png(np.random.default_rng(0).integers(0, 255, (40, 40, 3)))
    for name, data in (("cut", whole[: len(whole) // 2]), ("none", b"no picture")):
        primitive = (QUAD, [[0, 1, 2]], {"TEXCOORD_0": QUAD[:, :2], "material": 0})
        write_glb(tmp_path / name / "a.glb", [{"name": "a", "mesh": 0}], [[primitive]], materials=[material], images=[data])
        thing = only(tmp_path / name)
        assert thing.notes == ("Textures that cannot be read, left out: 1.",) and (thing.scene.texture_of_face == -1).all()


def test_faces_with_a_vertex_that_is_no_number_are_dropped_and_noted(tmp_path):
    vertices, faces = strip(4)
    vertices[[3, 6]] = [[np.nan, 0, 0], [0, np.inf, 0]]
    write_glb(tmp_path / "a.glb", [{"name": "a", "mesh": 0}], [[(vertices, faces)]])
    tree = {"name": "a", "children": [{"name": "bad", "faces": {"a": [1, 2]}}, {"name": "good", "faces": {"a": [2, 3]}}]}
    (tmp_path / "a.json").write_text(json.dumps({"tree": tree}))
    thing = only(tmp_path)
    assert held(thing) == [("good", [1]), ("a", [0, 1])] and np.isfinite(thing.scene.vertices).all()
    assert thing.notes[0] == "Faces with a vertex that is no finite number, dropped: 2 of 4." and "left out: bad" in thing.notes[-1]
    vertices[:] = np.nan
    write_glb(tmp_path / "a.glb", [{"name": "a", "mesh": 0}], [[(vertices, faces)]])
    with pytest.raises(ValueError, match="none of its 4 faces has finite corners"):
        only(tmp_path)


def test_points_and_lines_are_left_out_and_noted(tmp_path):
    write_glb(tmp_path / "a.glb", [{"name": "a", "mesh": 0}], [[strip(1), (*strip(1), {"mode": 0}), (*strip(1), {"mode": 1})]])
    thing = only(tmp_path)
    assert len(thing.scene.faces) == 1 and thing.notes == ("Primitives that are points, lines or fans, left out: 2.",)


@pytest.mark.parametrize("nodes, message", [
    ([{"name": "a", "mesh": 0, "children": [0]}], r"node 0 \(a\) is inside itself, or in two places"),
    ([{"children": [1]}, {"name": "b", "children": [2]}, {"name": "c", "mesh": 0, "children": [1]}], r"is inside itself"),
    ([{"children": [1, 2]}, {"name": "b", "children": [2]}, {"name": "c", "mesh": 0}], r"node 2 \(c\) is inside itself, or in two"),
    ([{"name": "a", "children": [7]}], "broken scene graph .*node 7 of 1"),
    ([{"name": "a", "children": 7}], "broken scene graph"),
    ([{"name": "a"}], "shows no triangles"),
])
def test_scene_graphs_that_are_no_trees_are_refused(tmp_path, nodes, message):
    write_glb(tmp_path / "a.glb", nodes, [[strip(1)]])
    with pytest.raises(ValueError, match=message):
        only(tmp_path)


def test_broken_and_missing_meshes_are_told(tmp_path):
    path = mug(tmp_path) / "mug.glb"
    whole = path.read_bytes()
    for data in (whole[:-40], whole[:100], b"", b"PK" + whole):
        path.write_bytes(data)
        with pytest.raises(ValueError, match="no whole GLB file of version 2"):
            only(tmp_path)
    for size in (0, 4, 19):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=f"it is too short: {size} bytes, where one begins with 20"):
            only(tmp_path)
    write_glb(path, [{"mesh": 0}], [[(QUAD, [[0, 1, 9]])]])
    with pytest.raises(ValueError, match="a face names vertex 9 of 4"):
        only(tmp_path)
    write_glb(path, [{"mesh": 0}], [[(QUAD, [[0, 1, 2]])]], extensionsRequired=["KHR_draco_mesh_compression"])
    with pytest.raises(ValueError, match="is compressed"):
        only(tmp_path)
    (reference,) = find_objects(tmp_path)
    path.unlink()
    with pytest.raises(ValueError, match="is missing"):
        read_object(reference, "raw")


@settings(max_examples=60)
@given(st.data())
def test_whatever_byte_is_wrong_the_object_is_read_or_refused_with_a_reason(tmp_path_factory, data):
    folder = mug(tmp_path_factory.mktemp("wrong"), TREE)
    (reference,) = find_objects(folder)
    content = bytearray(reference.path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    reference.path.write_bytes(bytes(content))
    try:
        thing = read_object(reference, "raw")
    except ValueError as error:
        assert "mug." in str(error)
    else:
        assert thing.scene.names[-1] == "mug" and np.isfinite(thing.area).all()


# ------------------------------------------------------------------ PartNeXt


def next_part(name, node, *children, mask=None):
    return {"name": name, "nodeId": node, "refNodeId": 0} | ({"maskId": mask} if mask is not None else {"children": list(children)})


NEXT = [next_part("Table", 0, next_part("Top", 1, mask=0), next_part("Base", 2, next_part("Leg", 3, mask=1), next_part("Leg", 4, mask=2)))]
MASKS = {"0": {"0": [0, 1]}, "1": {"1": [0], "0": [2]}, "2": {"1": 1}}


def annotated(folder, counts=None, roots=NEXT, masks=MASKS, id="t1"):
    """Two meshes of three and two faces; trimesh's walk meets the second one first."""
    nodes = [{"name": "r", "children": [1, 2]}, {"name": "a", "mesh": 0}, {"name": "b", "mesh": 1}]
    write_glb(folder / "glbs" / "000-000" / f"{id}.glb", nodes, [[strip(3)], [strip(2, 3.0)]])
    record = {"hierarchyList": roots, "masks": masks} | ({"mesh_face_num": counts} if counts else {})
    (folder / "annotations").mkdir(exist_ok=True)
    (folder / "annotations" / f"{id}.json").write_text(json.dumps(record))
    return folder


def test_partnext_leaves_hold_their_masks(tmp_path):
    thing = only(annotated(tmp_path, {"0": 3, "1": 2}))
    assert (thing.id, thing.category, thing.model, thing.format) == ("t1", "Table", "t1", "partnext")
    assert held(thing) == [("Top", [0, 1]), ("Leg", [2, 3]), ("Leg", [4]), ("Base", [2, 3, 4]), ("Table", [0, 1, 2, 3, 4])]
    assert thing.ids == ("1", "3", "4", "2", "0") and thing.notes == ()
    (reference,) = find_objects(tmp_path)
    assert names_of(reference, "raw") == ("Table", "Top", "Base", "Leg", "Leg") and len(partnext.files(reference)) == 2


def test_partnext_meshes_are_numbered_as_their_numbers_of_faces_say(tmp_path):
    masks = {"0": {"1": [0, 1]}, "1": {"0": [0], "1": [2]}, "2": {"0": [1]}}  # the same parts, counted along the walk
    thing = only(annotated(tmp_path / "walk", {"0": 2, "1": 3}, masks=masks))
    assert dict(held(thing))["Top"] == [0, 1] and held(thing)[2] == ("Leg", [4])
    assert "their order is not checked" in only(annotated(tmp_path / "unsaid")).notes[0]
    with pytest.raises(ValueError, match="has meshes of 3, 2 faces; the annotation is of 3, 4"):
        only(annotated(tmp_path / "other", {"0": 3, "1": 4}))


def test_partnext_masks_that_do_not_fit_are_told_or_noted(tmp_path):
    for masks, message in (({"0": {"2": [0]}}, "mask 0 names mesh 2; there are 2"), ({"0": {"0": [3]}}, "faces 3 to 3 are named"),
                           ({"0": [1]}, "expected hierarchyList, a list, and masks"), ({"0": {"x": [1]}}, "names mesh x")):
        with pytest.raises(ValueError, match=message):
            only(annotated(tmp_path, {"0": 3, "1": 2}, masks=masks))
    thing = only(annotated(tmp_path, {"0": 3, "1": 2}, masks={"0": {"0": [0]}, "7": {"0": [1]}}))
    assert [note.split(":")[0] for note in thing.notes] == [
        "Masks that no part names", "Masks that are missing", "Faces that no part names, held by the whole alone",
        "Parts that hold no face, left out"]
    assert held(thing) == [("Top", [0]), ("Table", [0, 1, 2, 3, 4])]


def test_partnext_trees_that_are_strange_are_mended_with_a_note_or_refused(tmp_path):
    counts = {"0": 3, "1": 2}
    twice = [next_part("Table", 0, next_part("Top", 1, mask=0), next_part("?", 1, mask=1))]
    thing = only(annotated(tmp_path, counts, roots=twice))
    assert thing.ids == ("1", "2", "0") and "id of another, numbered anew: 1" in " ".join(thing.notes)
    thing = only(annotated(tmp_path, counts, roots=[next_part("Top", 1, mask=0), next_part("Leg", 2, mask=1)]))
    assert thing.scene.names == ("Top", "Leg", "Top") and thing.notes[0] == "2 roots, put into one whole."
    for roots in ([3], [{"nodeId": 1}], [{"name": "a", "children": 3}]):
        with pytest.raises(ValueError, match="is no part; expected a name"):
            only(annotated(tmp_path, counts, roots=roots))
    with pytest.raises(ValueError, match="expected hierarchyList"):
        only(annotated(tmp_path, counts, roots={"name": "a"}))


def test_partnext_annotations_and_meshes_that_lack_each_other_are_told(tmp_path):
    annotated(tmp_path)
    (tmp_path / "annotations" / "t2.json").write_text(json.dumps({"hierarchyList": NEXT, "masks": MASKS}))
    with pytest.warns(UserWarning, match="1 annotated objects have no mesh"):
        (reference,) = find_objects(tmp_path)
    (tmp_path / "annotations" / "t2.json").unlink()
    text = (tmp_path / "annotations" / "t1.json").read_text()
    (tmp_path / "annotations" / "t1.json").write_text(text[:-30])
    with pytest.raises(ValueError, match="is cut off or no JSON"):
        read_object(reference, "raw")
    (tmp_path / "annotations" / "t1.json").unlink()
    with pytest.raises(ValueError, match="no annotations of them"):
        find_objects(tmp_path)


def test_partnext_tables_are_read_or_it_is_said_what_reads_them(tmp_path, monkeypatch):
    annotated(tmp_path)
    (tmp_path / "annotations" / "t1.json").unlink()
    (tmp_path / "data-00000-of-00001.arrow").write_bytes(b"no table")
    import sys

    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(ValueError, match="pip install .semquery.partnext"):
            find_objects(tmp_path)
    pa = pytest.importorskip("pyarrow")
    with pytest.raises(ValueError, match="is no table of PartNeXt"):
        find_objects(tmp_path)
    # The second as Python writes its values; the third of an object without a mesh.
    texts = {"hierarchyList": NEXT, "masks": MASKS, "mesh_face_num": {"0": 3, "1": 2}}
    rows = [{"model_id": "t1", "type_id": "000-000"} | {key: write(value) for key, value in texts.items()} for write in (json.dumps, repr)]
    table = pa.Table.from_pylist([*rows, rows[0] | {"model_id": "t3"}])
    import pyarrow.parquet as parquet

    for kind in ("stream", "file", "parquet"):
        path = tmp_path / ("a.parquet" if kind == "parquet" else "data-00000-of-00001.arrow")
        if kind == "parquet":
            (tmp_path / "data-00000-of-00001.arrow").unlink()
            parquet.write_table(table, path)
        else:
            with pa.OSFile(str(path), "wb") as sink, getattr(pa.ipc, f"new_{kind}")(sink, table.schema) as writer:
                writer.write_table(table, max_chunksize=1)
        with pytest.warns(UserWarning, match="1 annotated objects have no mesh"):
            found = find_objects(tmp_path)
        assert [(r.id, r.model, r.category) for r in found] == [("t1", "t1", "Table"), ("t1@2", "t1", "Table")]
        for reference in found:
            assert held(read_object(reference, "raw"))[1] == ("Leg", [2, 3])


# ------------------------------------------------------------------ PartObjaverse-Tiny


def labelled(folder, label=(1, 1, 0, 0, -1), instance=(0, 0, 2, 2, -1), labels=("Body", "Arm"), grouped=True):
    """The meshes of `annotated`: faces are counted along the walk, so first the two of the second mesh."""
    nodes = [{"name": "r", "children": [1, 2]}, {"name": "a", "mesh": 0}, {"name": "b", "mesh": 1}]
    write_glb(folder / "PartObjaverse-Tiny_mesh" / "u1.glb", nodes, [[strip(3)], [strip(2, 3.0)]])
    for what, numbers in (("semantic", label), ("instance", instance)):
        if numbers is not None:
            path = folder / f"PartObjaverse-Tiny_{what}_gt" / "u1.npy"
            path.parent.mkdir(exist_ok=True)
            np.save(path, np.array(numbers))
    inside = {"u1": list(labels), "u2": ["Wing"]}
    (folder / "PartObjaverse-Tiny_semantic.json").write_text(json.dumps({"Animals": inside} if grouped else inside))
    return folder


def test_objaverse_instances_are_parts_named_by_their_labels(tmp_path):
    thing = only(labelled(tmp_path, label=(1, 1, 1, 0, -1), instance=(0, 0, 1, 2, -1)))
    assert (thing.id, thing.category, thing.model, thing.format) == ("u1", "Animals", "u1", "objaverse")
    assert held(thing) == [("Arm", [3, 4]), ("Arm", [0]), ("Body", [1]), ("object", [0, 1, 2, 3, 4])]
    assert thing.notes == ("Faces that no part names, held by the whole alone: 1 of 5.",)
    (reference,) = find_objects(tmp_path)
    assert names_of(reference, "raw") == ("Body", "Arm", "object") and len(objaverse.files(reference)) == 4


def test_objaverse_labels_alone_make_one_part_each(tmp_path):
    thing = only(labelled(tmp_path, instance=None, grouped=False))
    assert held(thing) == [("Body", [0, 1]), ("Arm", [3, 4]), ("object", [0, 1, 2, 3, 4])] and thing.category == "object"


def test_objaverse_instances_of_several_labels_take_the_most_frequent(tmp_path):
    thing = only(labelled(tmp_path, label=(1, 1, 0, 0, 0), instance=(3, 3, 3, 4, 4)))
    assert [name for name, _ in held(thing)] == ["Arm", "Body", "object"]
    assert thing.notes == ("Instances with several labels, named by the most frequent: 3.",)


@pytest.mark.parametrize("change, message", [
    ({"label": None}, r"there is no \*semantic_gt/u1.npy"),
    ({"label": (0, 0, 0)}, r"int64 of shape \(3,\); expected a whole number of each of the 5 faces"),
    ({"label": (0, 0, 0, 0, 9)}, "names label 9; .* has 2 of it"),
    ({"label": (0.0,) * 5}, "float64 of shape"),
    ({"instance": (0,) * 6}, r"shape \(6,\)"),
    ({"labels": (1, 2)}, "the labels of u1 are no list of texts"),
])
def test_objaverse_files_that_do_not_fit_are_told(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        only(labelled(tmp_path, **change))


def test_objaverse_files_that_are_cut_off_are_told(tmp_path):
    labelled(tmp_path)
    (reference,) = find_objects(tmp_path)
    (tmp_path / "PartObjaverse-Tiny_semantic_gt" / "u1.npy").write_bytes(b"\x93NUMPY\1")
    with pytest.raises(ValueError, match="is no npy file of numbers"):
        read_object(reference, "raw")
    (tmp_path / "PartObjaverse-Tiny_semantic.json").write_text('{"Animals": {"u1": ["a"')
    with pytest.raises(ValueError, match="is no list of labels"):
        find_objects(tmp_path)
    (tmp_path / "PartObjaverse-Tiny_semantic.json").unlink()
    with pytest.raises(ValueError, match="knows u1"):
        read_object(reference, "raw")


# ------------------------------------------------------------------ sets of faces


@given(st.integers(1, 6), st.integers(1, 25), st.integers(0, 10**6))
def test_atoms_of_sets_are_the_atoms_of_the_table(num_parts, num_faces, seed):
    member = np.random.default_rng(seed).random((num_parts, num_faces)) < 0.4
    member[0, ~member.any(0)] = True
    own, atom = atoms_of_sets([np.flatnonzero(row) for row in member], num_faces)
    assert (own[:, atom] == member).all()
    expected, other = atoms_of(member)
    assert own.shape == expected.shape and len(np.unique(np.stack([atom, other]), axis=1).T) == own.shape[1]


@given(st.integers(1, 7), st.integers(0, 10**6))
def test_the_innermost_is_the_deepest_and_first(num_parts, seed):
    random = np.random.default_rng(seed)
    parents = np.array([random.integers(k + 1, num_parts) for k in range(num_parts - 1)] + [num_parts - 1], np.int32)
    own = random.random((num_parts, 9)) < 0.5

    def depth(part):
        return 0 if parents[part] == part else 1 + depth(parents[part])

    for atom, owner in enumerate(innermost(own, parents)):
        naming = np.flatnonzero(own[:, atom])
        assert owner == min(naming, key=lambda part: (-depth(part), part), default=-1)


@given(st.lists(st.tuples(st.integers(0, 19), st.integers(1, 20)), max_size=6))
def test_rows_of_ranges_are_those_of_counting(ranges):
    first = np.array([a for a, _ in ranges], np.int64)
    last = np.array([min(a + b, 20) for a, b in ranges], np.int64)
    assert rows_of_ranges(first, last).tolist() == sorted({row for a, b in zip(first, last, strict=True) for row in range(a, b)})


def test_a_large_object_takes_memory_for_its_faces_not_for_faces_times_parts(tmp_path):
    """200 000 faces in 2000 parts, each with a part inside it: as a table 800 MB."""
    from eval.bench.peak import peak_mb

    count, parts = 200_000, 2000
    write_glb(tmp_path / "a.glb", [{"name": "a", "mesh": 0}], [[strip(count)]])
    step = count // parts
    first = [{"name": "in", "faces": {"a": [k * step]}} for k in range(parts)]
    children = [{"name": f"p{k % 7}", "faces": {"a": [[k * step, (k + 1) * step]]}, "children": [first[k]]} for k in range(parts)]
    (tmp_path / "a.json").write_text(json.dumps({"tree": {"name": "a", "children": children}}))
    thing = only(tmp_path)
    assert thing.holds.shape == (2 * parts + 1, 2 * parts)
    assert sorted(np.bincount(thing.atom_of_face).tolist()) == [1] * parts + [step - 1] * parts
    assert peak_mb(lambda: only(tmp_path)) < 400
