"""What leaves a run, read back by other programs."""

import dataclasses
import io
import itertools
import json

import numpy as np
import pytest
import trimesh
from helpers import part_tree, random_parts, small_labels, small_parts, small_surface
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from plyfile import PlyData

from semquery.export import (
    Chosen,
    boxes_json,
    boxes_lines,
    cloud_of_part,
    highlighted_cloud,
    labelled_cloud,
    part_colors,
    part_tree_schema,
    path_names,
    paths_of,
    point_cloud,
    tree_json,
)
from semquery.export.boxes import cube_edges
from semquery.export.tree import MOST_LEVELS
from semquery.types import NodeLabel, Surface


@pytest.fixture
def open3d():
    """It imports only where the system has the libraries it draws with."""
    try:
        import open3d
    except (ImportError, OSError) as error:
        pytest.skip(f"Open3D does not import here: {error}")
    return open3d


def read_back(cloud) -> PlyData:
    file = io.BytesIO()
    cloud.write(file)
    return PlyData.read(io.BytesIO(file.getvalue()))


def rows_of(cloud) -> np.ndarray:
    return read_back(cloud)["vertex"].data


def columns(rows, *names):
    return np.stack([rows[n] for n in names], 1)


def small_chosen(*tops: int, labels=None) -> Chosen:
    return Chosen(small_surface(), small_parts(), small_labels() if labels is None else labels, tops or (4,))


def random_scene(seed: int) -> Chosen:
    """Any tree over up to forty points, of which one or two parts are chosen; names, and parts without one, and without points."""
    random = np.random.default_rng(seed)
    parts = random_parts(random, int(random.integers(1, 12)), int(random.integers(1, 40)))
    n = len(parts.part_of_point)
    surface = Surface(random.normal(size=(n, 3)).astype(np.float32), np.tile(np.float32([0, 0, 1]), (n, 1)), random.integers(0, 256, (n, 3)).astype(np.uint8),
                      np.zeros((n, 0), np.float16), np.arange(n, dtype=np.int32), 0.1)
    labels = {p: NodeLabel(p, f"name {p}", ("other",), "for this", confidence=0.25, source="vlm") for p in range(parts.num_parts) if random.random() < 0.7}
    tops = random.permutation(parts.num_parts)[:2].tolist()
    nested = len(tops) == 2 and (parts.holds[tops[0], tops[1]] or parts.holds[tops[1], tops[0]])
    return Chosen(surface, parts, labels, tuple(tops[:1] if nested else tops))


# ------------------------------------------------------------------ what is chosen


def test_the_chosen_parts_come_with_all_that_is_inside_them():
    assert small_chosen().nodes == (4, 2, 3, 0, 1) and small_chosen(3).nodes == (3, 0, 1) and small_chosen(1, 2).nodes == (1, 2)
    assert small_chosen(3).inside.tolist() == [True] * 7 + [False] * 4 + [True]
    assert small_chosen().is_whole and not small_chosen(3).is_whole


@pytest.mark.parametrize(("tops", "told"), [((5,), "no part 5; parts are numbered 0 to 4"), ((-1,), "no part -1"), ((0, 3), "Part 0 would be written twice: it lies in part 3"),
                                            ((2, 2), "Part 2 would be written twice: it is given twice")])
def test_parts_that_are_not_there_or_are_chosen_twice_are_refused(tops, told):
    with pytest.raises(ValueError, match=told):
        small_chosen(*tops)
    with pytest.raises(ValueError, match="no part to export"):
        Chosen(small_surface(), small_parts(), {}, ())


# ------------------------------------------------------------------ clouds


def test_a_point_cloud_comes_back_with_all_its_columns():
    surface = small_surface()
    rows = rows_of(point_cloud(surface.points, surface.colors, surface.normals, rank=np.arange(12, dtype=np.int32), weight=np.ones(12)))
    np.testing.assert_array_equal(columns(rows, "x", "y", "z"), surface.points)
    np.testing.assert_array_equal(columns(rows, "nx", "ny", "nz"), surface.normals)
    np.testing.assert_array_equal(columns(rows, "red", "green", "blue"), surface.colors)
    assert rows["rank"].tolist() == list(range(12)) and rows["rank"].dtype == "<i4" and rows["weight"].dtype == "<f8"


def test_labelled_points_carry_their_part_and_level_and_its_colour(tmp_path):
    surface, parts = small_surface(), small_parts()
    cloud = labelled_cloud(small_chosen())
    rows = rows_of(cloud)
    assert rows["part"].tolist() == parts.part_of_point.tolist() and rows["level"].tolist() == [2] * 7 + [1] * 5
    assert (columns(rows, "red", "green", "blue") == part_colors(5)[parts.part_of_point]).all()
    assert (columns(rows, "photo_red", "photo_green", "photo_blue") == surface.colors).all()
    cloud.write(str(tmp_path / "parts.ply"))
    opened = trimesh.load(tmp_path / "parts.ply")
    np.testing.assert_allclose(opened.vertices, surface.points)
    assert (opened.colors[:, :3] == part_colors(5)[parts.part_of_point]).all()
    assert opened.metadata["_ply_raw"]["vertex"]["data"]["part"].ravel().tolist() == parts.part_of_point.tolist()


@given(st.integers(0, 10**6))
@settings(max_examples=50)
def test_of_chosen_parts_just_the_points_that_lie_in_them_are_written_each_once(seed):
    chosen = random_scene(seed)
    surface, parts = chosen.surface, chosen.parts
    inside = [n for n in range(len(surface.points)) if any(int(parts.part_of_point[n]) == q or q in _walk_up(parts, int(parts.part_of_point[n])) for q in chosen.tops)]
    rows = rows_of(labelled_cloud(chosen))
    np.testing.assert_array_equal(columns(rows, "x", "y", "z"), surface.points[inside])
    assert rows["part"].tolist() == [int(parts.part_of_point[n]) for n in inside]
    assert rows["level"].tolist() == [len(_walk_up(parts, int(parts.part_of_point[n]))) for n in inside]
    for part in chosen.nodes:
        alone = rows_of(cloud_of_part(chosen, part))
        np.testing.assert_array_equal(columns(alone, "x", "y", "z"), surface.points[parts.points_of(part)])
        np.testing.assert_array_equal(columns(alone, "red", "green", "blue"), surface.colors[parts.points_of(part)])


def _walk_up(parts, part: int) -> list[int]:
    above = []
    while parts.parents[part] != part:
        part = int(parts.parents[part])
        above.append(part)
    return above


NASTY = ('door\nelement vertex 3', 'on/off "switch"', "Türgriff", "取っ手 " * 60, "\u2028", " blank ends ", "", "end_header", "\ud800", "\x7f\x00", "a\\", "🚪" * 90)


@given(st.lists(st.sampled_from(NASTY) | st.text(max_size=300), min_size=5, max_size=5))
def test_paths_come_back_from_the_header_whatever_the_names_are(names):
    chosen = small_chosen(labels={p: NodeLabel(p, name) for p, name in enumerate(names)})
    for cloud in (labelled_cloud(chosen), boxes_lines(chosen)):
        file = io.BytesIO()
        cloud.write(file)
        header, _, body = file.getvalue().partition(b"\nend_header\n")
        assert header.isascii() and max(map(len, header.split(b"\n"))) <= 510
        assert paths_of(PlyData.read(io.BytesIO(file.getvalue()))) == {p: path_names(chosen.parts, dict(chosen.labels), p) for p in range(5)}
        assert len(body) == sum(element.data.nbytes for element in cloud.elements)


def test_only_the_paths_of_chosen_parts_are_told_from_the_top_of_the_tree():
    assert paths_of(read_back(labelled_cloud(small_chosen(1, 2)))) == {1: ("panel", "right knob"), 2: ("plate",)}
    assert paths_of(read_back(cloud_of_part(small_chosen(), 3))) == {3: ("panel",), 0: ("panel", "left knob"), 1: ("panel", "right knob")}


def test_comments_of_others_are_no_paths_and_a_path_that_was_cut_is_told():
    cloud = labelled_cloud(small_chosen(3))
    cloud.comments = [*cloud.comments, "part of a capture", "made by hand", "party 3 x"]
    assert set(paths_of(cloud)) == {3, 0, 1}
    for broken in ('part 3 ["pan', "part 3 [1, 2]", "part 3"):
        cloud.comments = [broken]
        with pytest.raises(ValueError, match="path of part 3 in the header is no JSON list of names"):
            paths_of(cloud)


def test_a_part_without_points_is_a_cloud_without_points(tmp_path):
    chosen = Chosen(small_surface(), part_tree([2, 2, 2], [0] * 12), {}, (1,))
    labelled_cloud(chosen).write(str(tmp_path / "none.ply"))
    assert PlyData.read(tmp_path / "none.ply")["vertex"].count == 0 and boxes_json(chosen)["boxes"] == []
    lines = read_back(boxes_lines(chosen))
    assert lines["vertex"].count == lines["edge"].count == 0


def test_hits_stand_out_of_grey_the_first_in_red():
    surface, parts = small_surface(), small_parts()
    rows = rows_of(highlighted_cloud(surface, parts, [np.flatnonzero(parts.points_of(p)) for p in (1, 3, 2)]))  # the right knob, the panel around it, the plate
    assert rows["hit"].tolist() == [2, 2, 2, 2, 1, 1, 1, 3, 3, 3, 3, 2]  # the better hit keeps its points
    colors = columns(rows, "red", "green", "blue")
    assert {tuple(c) for c in colors[4:7].tolist()} == {(235, 30, 30)}
    assert {tuple(c) for c in np.delete(colors, [4, 5, 6], 0).tolist()} == {(250, 160, 60)}
    none = rows_of(highlighted_cloud(surface, parts, []))
    assert (none["red"] == none["green"]).all() and (none["green"] == none["blue"]).all() and not none["hit"].any()


def test_colours_of_parts_are_distinct_and_do_not_depend_on_how_many_there_are():
    colors = part_colors(200)
    assert len(np.unique(colors, axis=0)) == 200 and (part_colors(7) == colors[:7]).all() and part_colors(0).shape == (0, 3)


def test_paths_name_parts_from_the_top_and_number_the_nameless():
    assert path_names(small_parts(), {0: NodeLabel(0, "knob")}, 0) == ("part 3", "knob")
    assert path_names(small_parts(), small_labels(), 4) == ("scene",)
    assert small_chosen(labels={0: NodeLabel(0, "knob")}).path(0) == ("part 3", "knob") and small_chosen().path(4) == ("scene",)


# ------------------------------------------------------------------ the tree


def strictly_read(record: dict) -> dict:
    """The record as a reader of JSON gets it, who refuses NaN; it fits its schema."""
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    read = json.loads(json.dumps(record), parse_constant=refuse)
    Draft202012Validator(part_tree_schema()).validate(read)
    return read


def test_the_schema_is_one_and_allows_nothing_that_it_does_not_name():
    Draft202012Validator.check_schema(part_tree_schema())
    for spoil in (lambda r: r.update(version=1), lambda r: r["parts"][0].update(colour="red"), lambda r: r["parts"][0].pop("centre"),
                  lambda r: r["parts"][0]["children"][0].update(id="2"), lambda r: r["parts"][0]["oriented_box"]["T_world_box"].pop()):
        record = strictly_read(tree_json(small_chosen()))
        spoil(record)
        assert not Draft202012Validator(part_tree_schema()).is_valid(record)


def test_the_tree_is_nested_json_with_what_is_known_of_every_part():
    record = strictly_read(tree_json(small_chosen(labels={p: label for p, label in small_labels().items() if p != 2})))
    assert (record["schema"], record["version"], record["num_points"]) == ("semquery/part-tree", 2, 12)
    [root] = record["parts"]
    shape = lambda node: (node["id"], [shape(c) for c in node["children"]])  # noqa: E731
    assert shape(root) == (4, [(2, []), (3, [(0, []), (1, [])])]) and root["parent"] is None
    knob = root["children"][1]["children"][1]
    assert (knob["name"], knob["path"], knob["num_points"], knob["source"]) == ("right knob", ["panel", "right knob"], 3, "rule")
    assert knob["centre"] == [2, 0, 1] and knob["box"] == [[2, 0, 0], [2, 0, 2]] and (knob["parent"], knob["level"]) == (3, 2)
    assert knob["oriented_box"]["size"] == [2, 0, 0] and [row[3] for row in knob["oriented_box"]["T_world_box"]] == [2, 0, 1, 1]
    plate = root["children"][0]
    assert plate["name"] is None and plate["path"] == ["part 2"] and plate["source"] is None and plate["confidence"] is None


def test_only_what_was_chosen_is_in_the_tree_with_its_path_from_the_top():
    record = strictly_read(tree_json(small_chosen(1, 2)))
    assert [(p["id"], p["path"], p["parent"], p["children"]) for p in record["parts"]] == [(1, ["panel", "right knob"], 3, []), (2, ["plate"], 4, [])]


@given(st.integers(0, 10**6))
@settings(max_examples=30)
def test_every_fact_of_the_tree_is_what_the_points_and_labels_say(seed):
    chosen = random_scene(seed)
    surface, parts = chosen.surface, chosen.parts
    todo, seen = strictly_read(tree_json(chosen))["parts"], []
    while todo:
        node = todo.pop(0)
        todo = node["children"] + todo
        seen.append(node["id"])
        points, label = surface.points[parts.points_of(node["id"])].astype(float), chosen.labels.get(node["id"])
        assert node["num_points"] == len(points) and node["altitude"] == pytest.approx(parts.altitude[node["id"]])
        assert [c["id"] for c in node["children"]] == parts.children(node["id"])
        assert (node["name"], node["confidence"], node["source"], node["synonyms"]) == ((label.name, 0.25, "vlm", ["other"]) if label else (None, None, None, []))
        if not len(points):
            assert node["centre"] is node["box"] is node["oriented_box"] is None
            continue
        np.testing.assert_allclose(node["centre"], points.mean(0), atol=1e-6)
        np.testing.assert_allclose(node["box"], [points.min(0), points.max(0)], atol=1e-6)
        pose, size = np.array(node["oriented_box"]["T_world_box"]), np.array(node["oriented_box"]["size"])
        np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-6)
        within = (points - pose[:3, 3]) @ pose[:3, :3]
        assert (np.abs(within) <= size / 2 + 1e-5).all() and (np.diff(size) <= 1e-9).all()
    assert tuple(seen) == chosen.nodes


def test_numbers_that_are_none_are_null_and_points_that_are_nowhere_are_left_out_of_boxes():
    surface, parts = small_surface(), small_parts()
    points = surface.points.copy()
    points[5], points[7:11] = np.nan, np.inf  # one point of the right knob, all of the plate
    parts = dataclasses.replace(parts, altitude=np.array([0.1, 0.1, 0.2, 0.5, np.inf], np.float32))
    chosen = Chosen(dataclasses.replace(surface, points=points), parts, {0: NodeLabel(0, "knob", confidence=float("nan"))}, (4,))
    [root] = strictly_read(tree_json(chosen))["parts"]
    plate, panel = root["children"]
    assert root["altitude"] is None and plate["box"] is plate["oriented_box"] is None and plate["num_points"] == 4
    assert panel["children"][0]["confidence"] is None and panel["children"][1]["centre"] == [2, 0, 1] and panel["children"][1]["num_points"] == 3
    assert [box["id"] for box in boxes_json(chosen)["boxes"]] == [4, 3, 0, 1]
    assert np.isfinite(columns(rows_of(boxes_lines(chosen)), "x", "y", "z")).all()


def test_a_tree_too_deep_for_readers_of_json_is_refused_and_its_inner_parts_are_not():
    chain = part_tree([*range(1, 160), 159], [159] * 12)
    with pytest.raises(ValueError, match=f"nested 160 levels deep, and JSON is written of at most {MOST_LEVELS}"):
        tree_json(Chosen(small_surface(), chain, {}, (159,)))
    deepest = tree_json(Chosen(small_surface(), chain, {}, (MOST_LEVELS - 1,)))
    assert json.loads(json.dumps(deepest, indent=1)) == deepest


# ------------------------------------------------------------------ boxes


def test_boxes_are_listed_with_pose_size_and_path():
    record = json.loads(json.dumps(boxes_json(small_chosen(3)), allow_nan=False))
    assert (record["schema"], record["version"], [box["id"] for box in record["boxes"]]) == ("semquery/boxes", 1, [3, 0, 1])
    panel = record["boxes"][0]
    assert panel["path"] == ["panel"] and panel["size"] == [3, 2, 0]
    pose = np.array(panel["T_world_box"])
    corners = np.array(list(itertools.product((-1.5, 1.5), (-1, 1), (0,)))) @ pose[:3, :3].T + pose[:3, 3]
    assert {tuple(c) for c in corners.round(6).tolist()} == {(0, 0, 0), (2, 0, 0), (0, 0, 3), (2, 0, 3)}


def test_the_edges_of_a_box_are_its_sides_four_times_each():
    edges = cube_edges()
    signs = np.array(list(itertools.product((-1, 1), repeat=3)))
    assert len(edges) == 12
    assert {frozenset(e) for e in edges.tolist()} == {frozenset((a, b)) for a in range(8) for b in range(8) if (signs[a] != signs[b]).sum() == 1}
    chosen = small_chosen()
    lines = read_back(boxes_lines(chosen))
    corners, ends = columns(lines["vertex"], "x", "y", "z"), columns(lines["edge"], "vertex1", "vertex2")
    assert lines["vertex"]["part"].tolist() == np.repeat(chosen.nodes, 8).tolist()
    for k, node in enumerate(chosen.nodes):
        mine = ends[12 * k : 12 * k + 12]
        assert (mine // 8 == k).all() and (columns(lines["vertex"], "red", "green", "blue")[8 * k] == part_colors(5)[node]).all()
        lengths = np.sort(np.linalg.norm(corners[mine[:, 0]] - corners[mine[:, 1]], axis=1))
        np.testing.assert_allclose(lengths, np.sort(np.repeat(chosen.box(node).extent, 4)), atol=1e-5)


def test_trimesh_reads_the_boxes_as_lines(tmp_path):
    chosen = small_chosen()
    boxes_lines(chosen).write(str(tmp_path / "boxes.ply"))
    path = trimesh.load(tmp_path / "boxes.ply", file_type="ply")
    corners = np.concatenate([chosen.box(node).corners for node in chosen.nodes])
    ends = np.concatenate([corners[8 * k + cube_edges()] for k in range(len(chosen.nodes))])
    assert path.length == pytest.approx(np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1).sum(), rel=1e-5)
    np.testing.assert_allclose(path.bounds, [corners.min(0), corners.max(0)], atol=1e-5)


# ------------------------------------------------------------------ Open3D


def test_open3d_reads_the_points_and_the_lines(open3d, tmp_path):
    chosen = small_chosen(labels={p: NodeLabel(p, NASTY[p]) for p in range(5)})
    labelled_cloud(chosen).write(str(tmp_path / "parts.ply"))
    boxes_lines(chosen).write(str(tmp_path / "boxes.ply"))
    cloud = open3d.io.read_point_cloud(str(tmp_path / "parts.ply"))
    np.testing.assert_allclose(np.asarray(cloud.points), chosen.surface.points)
    np.testing.assert_allclose(np.asarray(cloud.normals), chosen.surface.normals)
    np.testing.assert_allclose(np.asarray(cloud.colors) * 255, part_colors(5)[chosen.parts.part_of_point], atol=1e-6)
    columns_read = open3d.t.io.read_point_cloud(str(tmp_path / "parts.ply")).point
    assert columns_read["part"].numpy().ravel().tolist() == chosen.parts.part_of_point.tolist()
    lines, written = open3d.io.read_line_set(str(tmp_path / "boxes.ply")), boxes_lines(chosen)
    np.testing.assert_allclose(np.asarray(lines.points), columns(written["vertex"], "x", "y", "z"), atol=1e-6)
    assert (np.asarray(lines.lines) == columns(written["edge"], "vertex1", "vertex2")).all()
