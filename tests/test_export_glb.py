"""GLB files of parts, read back by two other programs: the tree, the facts, the geometry, and whose face is whose."""

import dataclasses
import io
import json
import struct

import numpy as np
import pytest
import trimesh
from helpers import part_tree, random_parts, small_labels, small_parts, small_surface
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from semquery.export import faces
from semquery.export.chosen import Chosen
from semquery.export.faces import most_frequent, nearest_faces, part_of_face, samples_of
from semquery.export.glb import CORNERS, LOWER, container, glb_bytes, linear, rotation_to_y
from semquery.export.tree import box_json
from semquery.render import Mesh
from semquery.types import NodeLabel, Surface

WIDTH = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}
TYPE = {5126: "<f4", 5123: "<u2", 5125: "<u4"}


def small(*tops, labels=None) -> Chosen:
    return Chosen(small_surface(), small_parts(), small_labels() if labels is None else labels, tops or (4,))


def random_surface(random: np.random.Generator, count: int) -> Surface:
    normals = random.normal(size=(count, 3))
    return Surface(random.normal(size=(count, 3)).astype(np.float32),
                   (normals / np.linalg.norm(normals, axis=1, keepdims=True)).astype(np.float32),
                   random.integers(0, 256, (count, 3)).astype(np.uint8), np.zeros((count, 0), np.float16),
                   np.arange(count, dtype=np.int32), 0.1)


def random_mesh(random: np.random.Generator, count: int) -> Mesh:
    return Mesh(random.normal(size=(3 * count, 3)).astype(np.float32), np.arange(3 * count, dtype=np.int32).reshape(-1, 3),
                random.integers(0, 256, (count, 3)).astype(np.uint8))


def opened(data: bytes):
    """The file as pygltflib reads it."""
    return pytest.importorskip("pygltflib").GLTF2.load_from_bytes(data)


def array(gltf, number: int) -> np.ndarray:
    """The rows of an accessor, cut out of the binary chunk by the rules of glTF; checked against what the accessor says of them."""
    accessor = gltf.accessors[number]
    view, dtype, width = gltf.bufferViews[accessor.bufferView], np.dtype(TYPE[accessor.componentType]), WIDTH[accessor.type]
    row = dtype.itemsize * width
    begin = view.byteOffset + accessor.byteOffset
    assert begin % 4 == 0 and view.byteStride in (None, row) and accessor.byteOffset + accessor.count * row <= view.byteLength
    assert view.byteOffset + view.byteLength <= gltf.buffers[0].byteLength
    rows = np.frombuffer(gltf.binary_blob(), dtype, accessor.count * width, begin).reshape(-1, width)
    for name, bound in (("min", rows.min(0)), ("max", rows.max(0))):
        assert getattr(accessor, name) in ([], None, bound.tolist())
    return rows


def drawn(gltf, node):
    """Positions, normals, linear colours 0..1 and triangles of a node; None for no geometry."""
    if node.mesh is None:
        return None
    (primitive,) = gltf.meshes[node.mesh].primitives
    attributes = primitive.attributes
    assert gltf.accessors[attributes.POSITION].min and gltf.accessors[attributes.COLOR_0].normalized
    points, normals, colors = (array(gltf, k) for k in (attributes.POSITION, attributes.NORMAL, attributes.COLOR_0))
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)
    assert len(points) == len(normals) == len(colors) and (colors[:, 3] == 65535).all()
    if primitive.mode == 0:
        assert primitive.indices is None
        return points, normals, colors[:, :3] / 65535, np.zeros((0, 3), int)
    triangles = array(gltf, primitive.indices).reshape(-1, 3)
    assert np.unique(triangles).tolist() == list(range(len(points)))
    return points, normals, colors[:, :3] / 65535, triangles.astype(int)


def tree_of(gltf) -> dict[int, int | None]:
    """Part → the part above it, from the extras and the children of the nodes; every node is reached once."""
    (root,) = gltf.scenes[gltf.scene].nodes
    above, left = {}, [(child, None) for child in gltf.nodes[root].children]
    while left:
        k, parent = left.pop()
        part = gltf.nodes[k].extras["semquery"]["id"]
        assert part not in above
        above[part] = parent
        left += [(child, part) for child in gltf.nodes[k].children]
    assert len(above) == len(gltf.nodes) - 1
    return above


def node_of(gltf, part: int):
    (node,) = [node for node in gltf.nodes if node.extras["semquery"].get("id") == part]
    return node


def srgb(light: np.ndarray) -> np.ndarray:
    """Linear light 0..1 as 0..255."""
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)


def sorted_rows(*columns: np.ndarray) -> np.ndarray:
    rows = np.concatenate(columns, axis=1)
    return rows[np.lexsort(rows.T)]


# ------------------------------------------------------------------ the tree


def test_the_hand_made_scene_is_a_tree_of_its_names():
    gltf = opened(glb_bytes(small()))
    assert tree_of(gltf) == {4: None, 3: 4, 2: 4, 0: 3, 1: 3}
    assert [node.name for node in gltf.nodes] == ["capture", "scene", "plate", "panel", "left knob", "right knob"]
    assert [mesh.name for mesh in gltf.meshes] == ["plate", "panel", "left knob", "right knob"]
    assert [material.name for material in gltf.materials] == ["plate", "panel", "left knob", "right knob"]
    assert node_of(gltf, 4).mesh is None and gltf.asset.version == "2.0" and gltf.asset.generator.startswith("semquery ")
    assert gltf.scenes[0].extras == {"semquery": {"schema": "semquery/glb", "version": 1, "num_parts": 5, "num_points": 12}}
    assert [len(drawn(gltf, node_of(gltf, part))[0]) // (CORNERS + 1) for part in (0, 1, 2, 3)] == [4, 3, 4, 1]


def test_every_node_has_the_facts_of_its_part():
    label = NodeLabel(0, "knob", ("dial", "button"), "to turn", confidence=0.75, source="vlm")
    chosen = small(labels=small_labels() | {0: label})
    facts = node_of(opened(glb_bytes(chosen)), 0).extras["semquery"]
    assert facts == {"id": 0, "path": ["panel", "knob"], "num_points": 4, "name": "knob", "synonyms": ["dial", "button"],
                     "function": "to turn", "source": "vlm", "confidence": 0.75, "box": box_json(chosen.box(0))}
    assert node_of(opened(glb_bytes(chosen)), 3).extras["semquery"]["num_points"] == 8


def test_what_is_not_known_is_left_out_and_a_part_without_a_name_is_called_by_its_number():
    parts = part_tree([2, 2, 2], [0] * 6 + [2] * 6)
    gltf = opened(glb_bytes(Chosen(small_surface(), parts, {2: NodeLabel(2, "", confidence=float("nan"))}, (2,))))
    assert [node.name for node in gltf.nodes] == ["capture", "part 2", "part 0", "part 1"]
    assert node_of(gltf, 1).extras == {"semquery": {"id": 1, "path": ["part 1"], "num_points": 0}} and node_of(gltf, 1).mesh is None
    assert "confidence" not in node_of(gltf, 2).extras["semquery"] and len(gltf.meshes) == 2


@pytest.mark.parametrize("name", ['the "big" knob', "two\nlines\ttab", "ручка 把手 🎛", "a\\b/c", "<b>&amp;</b>", "x" * 5000, "\0nul"])
def test_names_of_any_kind_come_back(name):
    gltf = opened(glb_bytes(small(labels={4: NodeLabel(4, name, (name,))})))
    assert gltf.nodes[1].name == name and gltf.nodes[1].extras["semquery"]["synonyms"] == [name]


def test_half_a_character_does_not_keep_a_file_from_being_written():
    assert opened(glb_bytes(small(labels={4: NodeLabel(4, "a\ud800b")}))).nodes[1].name == "a?b"


def test_a_tree_of_one_part_and_one_without_a_point():
    surface = small_surface()
    gltf = opened(glb_bytes(Chosen(surface, part_tree([0], [0] * 12), {}, (0,))))
    assert tree_of(gltf) == {0: None} and len(drawn(gltf, gltf.nodes[1])[3]) == 12 * CORNERS
    none = Surface(*(getattr(surface, name)[:0] for name in ("points", "normals", "colors", "features", "source")), 0.5)
    for as_points in (False, True):
        gltf = opened(glb_bytes(Chosen(none, part_tree([0], []), {}, (0,)), as_points=as_points))
        assert tree_of(gltf) == {0: None} and not gltf.meshes and not gltf.buffers


def test_several_answers_lie_side_by_side_with_what_is_inside_them():
    gltf = opened(glb_bytes(small(2, 3)))
    assert tree_of(gltf) == {2: None, 3: None, 0: 3, 1: 3} and gltf.scenes[0].extras["semquery"]["num_points"] == 12
    assert tree_of(opened(glb_bytes(small(1, 0)))) == {1: None, 0: None}
    assert gltf.nodes[1].extras["semquery"]["path"] == ["plate"]


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(0, 30), st.sampled_from(["discs", "points", "faces"]))
def test_whatever_the_tree_it_comes_back_with_everything_drawn_once(seed, num_parts, num_points, kind):
    random = np.random.default_rng(seed)
    surface, parts = random_surface(random, num_points + 1), random_parts(random, num_parts, num_points + 1)
    top = int(random.integers(num_parts))
    chosen = Chosen(surface, parts, {p: NodeLabel(p, "knob") for p in range(0, num_parts, 2)}, (top,))
    mesh = random_mesh(random, 9) if kind == "faces" else None
    gltf = opened(glb_bytes(chosen, mesh, kind == "points"))
    above = tree_of(gltf)
    assert set(above) == {p for p in range(num_parts) if parts.holds[top, p]}
    assert all(parent == (None if p == top else parts.parents[p]) for p, parent in above.items())
    of_face = part_of_face(surface, parts, mesh) if mesh is not None else None
    for part in above:
        node, found = node_of(gltf, part), drawn(gltf, node_of(gltf, part))
        own = parts.part_of_point == part
        assert node.name == ("knob" if part % 2 == 0 else f"part {part}")
        assert node.extras["semquery"]["num_points"] == parts.num_points[part]
        if mesh is not None:
            wanted, colors = mesh.vertices[mesh.faces[of_face == part]].reshape(-1, 3), np.repeat(mesh.colors[of_face == part], 3, 0)
        else:
            wanted, colors = surface.points[own], surface.colors[own]
        assert (found is None) == (not len(wanted))
        if found is not None:
            each = slice(None, None, CORNERS + 1 if kind == "discs" else 1)
            np.testing.assert_array_equal(sorted_rows(found[0][each], srgb(found[2][each]).round()), sorted_rows(wanted, colors))


# ------------------------------------------------------------------ the geometry


def test_a_point_that_the_nodes_have_turned_is_the_captures_with_up_along_y():
    random = np.random.default_rng(3)
    for up in ((0, 0, 1), (0, -2, 0), (0.0, 5.0, 0.0), (-1, 0, 0), tuple(random.normal(size=3))):
        scene = trimesh.load_scene(io.BytesIO(glb_bytes(small(), as_points=True, up=up)), file_type="glb", process=False)
        turned = np.concatenate([trimesh.transform_points(scene.geometry[name].vertices, T)
                                 for T, name in (scene.graph[node] for node in scene.graph.nodes_geometry)])
        points, unit = small_surface().points, np.array(up) / np.linalg.norm(up)
        R = Rotation.from_quat(rotation_to_y(np.array(up, float))).as_matrix()
        np.testing.assert_allclose(sorted_rows(turned.round(4) + 0.0), sorted_rows((points @ R.T).round(4) + 0.0), atol=2e-4)
        np.testing.assert_allclose(turned[:, 1].sum(), (points @ unit).sum(), atol=1e-4)  # heights are along y
    np.testing.assert_allclose(Rotation.from_quat(rotation_to_y(np.array([0.0, 0, 1]))).apply([1, 2, 3]), [1, 3, -2])


@given(st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda up: np.linalg.norm(up) > 1e-3))
def test_up_is_turned_to_y_the_shortest_way(up):
    rotation, unit = Rotation.from_quat(rotation_to_y(np.array(up))), np.array(up) / np.linalg.norm(up)
    np.testing.assert_allclose(rotation.apply(unit), [0, 1, 0], atol=1e-6)
    np.testing.assert_allclose(rotation.magnitude(), np.arccos(np.clip(unit[1], -1, 1)), atol=1e-6)


def test_colours_come_back_exactly_from_linear_light():
    every = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, 1)
    light = linear(every)
    assert (srgb(light[:, :3] / 65535).round() == every).all() and (light[:, 3] == 65535).all()
    assert light[[0, 128, 255], 0].tolist() == [0, round(65535 * ((128 / 255 + 0.055) / 1.055) ** 2.4), 65535]


def test_a_disc_lies_around_its_point_and_faces_along_its_normal():
    random = np.random.default_rng(0)
    surface = random_surface(random, 40)
    gltf = opened(glb_bytes(Chosen(surface, part_tree([0], [0] * 40), {}, (0,))))
    points, normals, _, triangles = drawn(gltf, gltf.nodes[1])
    discs, facing = points.reshape(40, -1, 3).astype(float), normals.reshape(40, -1, 3)[:, 0].astype(float)
    np.testing.assert_array_equal(points[:: CORNERS + 1], surface.points)
    np.testing.assert_allclose(facing, surface.normals, atol=1e-6)
    rim = discs[:, 1:] - discs[:, :1]
    height = np.einsum("nkc,nc->nk", rim, facing)
    radius = np.linalg.norm(rim - height[..., None] * facing[:, None], axis=2)
    assert (radius >= 0.75 * 0.1 - 1e-5).all() and (radius <= 0.3 + 1e-5).all()
    np.testing.assert_allclose(height, -LOWER * radius, atol=1e-5)
    np.testing.assert_allclose(radius, np.repeat(radius[:, :1], CORNERS, 1), atol=1e-5)
    corners = points[triangles].astype(float)
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (np.einsum("tc,tc->t", across, normals[triangles[:, 0]]) > 0).all()  # counter-clockwise as seen from outside
    sides = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).reshape(40, CORNERS, 3)
    assert (sides <= 1.01 * radius[:, :, None]).all()  # of a hexagon no triangle is longer than its radius
    area = np.linalg.norm(across, axis=1).reshape(40, -1).sum(1) / 2
    np.testing.assert_allclose(area, CORNERS / 2 * np.sin(2 * np.pi / CORNERS) * radius[:, 0] ** 2, rtol=0.02)


def test_a_point_without_a_normal_is_drawn_all_the_same():
    surface = dataclasses.replace(small_surface(), normals=np.zeros((12, 3), np.float32))
    gltf = opened(glb_bytes(Chosen(surface, small_parts(), {}, (4,))))
    assert (drawn(gltf, node_of(gltf, 0))[1] == [0, 0, 1]).all() and np.isfinite(drawn(gltf, node_of(gltf, 0))[0]).all()


def test_trimesh_has_the_same_triangles_and_names():
    random = np.random.default_rng(1)
    mesh, surface = random_mesh(random, 30), random_surface(random, 50)
    chosen = Chosen(surface, random_parts(random, 6, 50), {p: NodeLabel(p, f"part of {p}") for p in range(6)}, (5,))
    scene = trimesh.load_scene(io.BytesIO(glb_bytes(chosen, mesh, up=(0, 1, 0))), file_type="glb", process=False)
    assert set(scene.graph.nodes) == {"world", "capture", *(f"part of {p}" for p in range(6))}
    for p in range(5):
        assert scene.graph.transforms.parents[f"part of {p}"] == f"part of {chosen.parts.parents[p]}"
    corners = np.concatenate([found.vertices[found.faces].reshape(-1, 9) for found in scene.geometry.values()])
    np.testing.assert_array_equal(sorted_rows(corners), sorted_rows(mesh.vertices[mesh.faces].reshape(-1, 9)))
    for found in scene.geometry.values():
        assert (found.visual.vertex_attributes["color"][::3] == found.visual.vertex_attributes["color"][2::3]).all()


def test_the_file_is_two_chunks_that_begin_at_multiples_of_four():
    for labels in ({}, {4: NodeLabel(4, "a")}, {4: NodeLabel(4, "ab")}, {4: NodeLabel(4, "é")}):
        data = glb_bytes(small(labels=labels))
        magic, number, total = struct.unpack_from("<4sII", data)
        length, kind = struct.unpack_from("<I4s", data, 12)
        numbers, binary = struct.unpack_from("<I4s", data, 20 + length)
        assert (magic, number, kind, binary) == (b"glTF", 2, b"JSON", b"BIN\0") and total == len(data) == 28 + length + numbers
        assert length % 4 == 0 and numbers % 4 == 0 and json.loads(data[20 : 20 + length])["buffers"] == [{"byteLength": numbers}]


# ------------------------------------------------------------------ whose face is whose


def test_a_face_belongs_to_most_of_its_points_and_one_without_to_the_point_next_to_it():
    corners = np.array([(0, 0, 0), (3, 0, 0), (0, 3, 0), (3, 0, 0), (3, 3, 0), (0, 3, 0), (9, 0, 0), (10, 0, 0), (9, 1, 0)], np.float32)
    mesh = Mesh(corners, np.arange(9, dtype=np.int32).reshape(3, 3), np.zeros((3, 3), np.uint8))
    points = np.array([[0.5, 0.5, 0.1], [1, 0.5, -0.1], [0.5, 1, 0], [2.5, 2.5, 0], [2, 2.5, 0.05], [2.5, 2, 0]], np.float32)
    surface = Surface(points, np.tile(np.float32([0, 0, 1]), (6, 1)), np.zeros((6, 3), np.uint8), np.zeros((6, 0), np.float16),
                      np.arange(6, dtype=np.int32), 0.5)
    assert part_of_face(surface, part_tree([3, 3, 3, 3], [0, 0, 1, 2, 1, 2]), mesh).tolist() == [0, 2, 2]
    assert part_of_face(surface, part_tree([3, 3, 3, 3], [1, 0, 3, 1, 1, 0]), mesh).tolist() == [0, 1, 0]  # the lowest of equals


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), max_size=40))
def test_the_most_frequent_part_is_found_as_by_counting(pairs):
    face, part = np.array(pairs, np.int32).reshape(-1, 2).T
    wanted = [max(range(5), key=lambda p: (sum(part[face == f] == p), -p)) if (face == f).any() else -1 for f in range(6)]
    assert most_frequent(face, part, 6).tolist() == wanted


def distance(point, triangle) -> float:
    """From a point to a triangle: the least over its plane's foot where that lies inside, its sides and its corners."""
    a, b, c = triangle
    normal = np.cross(b - a, c - a)
    u, v, along = np.linalg.solve(np.stack([b - a, c - a, normal], 1), point - a)
    found = [abs(along) * np.linalg.norm(normal)] if u >= 0 and v >= 0 and u + v <= 1 else []
    for p, q in ((a, b), (b, c), (c, a)):
        t = np.clip((point - p) @ (q - p) / ((q - p) @ (q - p)), 0, 1)
        found.append(np.linalg.norm(p + t * (q - p) - point))
    return min(found)


@settings(max_examples=15)
@given(st.integers(0, 10_000))
def test_the_nearest_face_is_the_one_that_measuring_all_finds(seed):
    random = np.random.default_rng(seed)
    mesh = random_mesh(random, 12)
    corners = mesh.vertices[mesh.faces].astype(float)
    share = random.dirichlet([1, 1, 1], 30)
    points = (np.einsum("nk,nkc->nc", share, corners[random.integers(0, 12, 30)]) + random.normal(0, 0.02, (30, 3))).astype(np.float32)
    measured = np.array([[distance(point, triangle) for triangle in corners] for point in points.astype(float)])
    found = nearest_faces(points, mesh, 0.05)
    assert (measured[np.arange(30), found] <= measured.min(1) + 0.05).all()
    sure = np.sort(measured, 1)[:, 1] > measured.min(1) + 0.1  # where others are farther than samples are apart
    assert sure.any() and (found[sure] == measured.argmin(1)[sure]).all()


def test_samples_of_a_mesh_lie_in_their_faces_evenly_and_are_never_too_many(monkeypatch):
    random = np.random.default_rng(5)
    corners = random.normal(size=(6, 3, 3))
    corners[5] = [[0, 0, 0], [30, 0, 0], [15, 1e-3, 0]]  # a sliver is sampled along its length
    samples, of_sample = samples_of(corners, 0.1)
    assert max(distance(point, corners[face]) for point, face in zip(samples[::7], of_sample[::7], strict=True)) < 1e-9
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    count = np.bincount(of_sample)
    assert (count >= area / 0.01).all() and count[5] >= 300
    for face in range(5):
        np.testing.assert_allclose(samples[of_sample == face].mean(0), corners[face].mean(0), atol=0.1 * np.abs(corners[face]).max())
    monkeypatch.setattr(faces, "MOST_SAMPLES", 1000)
    assert 500 < len(samples_of(np.tile(corners, (50, 1, 1)), 0.01)[0]) <= 1000 + 300
    assert len(samples_of(np.zeros((3, 3, 3)), 0.0)[0]) == 3


def test_of_a_mesh_only_the_chosen_parts_faces_are_drawn():
    random = np.random.default_rng(2)
    mesh, surface = random_mesh(random, 40), small_surface()
    of_face = part_of_face(surface, small_parts(), mesh)
    gltf = opened(glb_bytes(small(3), mesh))
    assert {part: 0 if (found := drawn(gltf, node_of(gltf, part))) is None else len(found[3]) for part in (0, 1, 3)} == {
        part: int((of_face == part).sum()) for part in (0, 1, 3)}


# ------------------------------------------------------------------ bad input


def test_what_cannot_be_written_is_said_in_a_sentence():
    mesh = random_mesh(np.random.default_rng(0), 2)
    for up in ((0, 0, 0), (0, float("nan"), 1), (1, 0)):
        with pytest.raises(ValueError, match="no direction"):
            glb_bytes(small(), up=up)
    with pytest.raises(ValueError, match="leave out the mesh or as_points"):
        glb_bytes(small(), mesh, as_points=True)
    with pytest.raises(ValueError, match="has no faces"):
        glb_bytes(small(), dataclasses.replace(mesh, faces=mesh.faces[:0], colors=mesh.colors[:0]))
    none = Surface(*(getattr(small_surface(), name)[:0] for name in ("points", "normals", "colors", "features", "source")), 0.5)
    with pytest.raises(ValueError, match="surface has no points"):
        glb_bytes(Chosen(none, part_tree([0], []), {}, (0,)), mesh)
    broken = small_surface().points.copy()
    broken[3, 1] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        glb_bytes(Chosen(dataclasses.replace(small_surface(), points=broken), small_parts(), {}, (4,)))
    with pytest.raises(ValueError, match="12.0 GiB; it can have 4 at most"):
        container({}, [np.broadcast_to(np.zeros((1, 3), np.float32), (2**30, 3))])
