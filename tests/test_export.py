"""What leaves a run, read back by other programs."""

import io
import json

import numpy as np
import trimesh
from helpers import small_labels, small_parts, small_surface
from plyfile import PlyData

from semquery.export import highlighted_cloud, labelled_cloud, part_colors, path_names, point_cloud, tree_json
from semquery.types import NodeLabel


def read_back(cloud) -> np.ndarray:
    file = io.BytesIO()
    cloud.write(file)
    return PlyData.read(io.BytesIO(file.getvalue()))["vertex"].data


def columns(rows, *names):
    return np.stack([rows[n] for n in names], 1)


def test_a_point_cloud_comes_back_with_all_its_columns():
    surface = small_surface()
    rows = read_back(point_cloud(surface.points, surface.colors, surface.normals, rank=np.arange(12, dtype=np.int32), weight=np.ones(12)))
    np.testing.assert_array_equal(columns(rows, "x", "y", "z"), surface.points)
    np.testing.assert_array_equal(columns(rows, "nx", "ny", "nz"), surface.normals)
    np.testing.assert_array_equal(columns(rows, "red", "green", "blue"), surface.colors)
    assert rows["rank"].tolist() == list(range(12)) and rows["rank"].dtype == "<i4" and rows["weight"].dtype == "<f8"


def test_labelled_points_carry_their_part_and_level_and_its_colour(tmp_path):
    surface, parts = small_surface(), small_parts()
    cloud = labelled_cloud(surface, parts)
    rows = read_back(cloud)
    assert rows["part"].tolist() == parts.part_of_point.tolist() and rows["level"].tolist() == [2] * 7 + [1] * 5
    assert (columns(rows, "red", "green", "blue") == part_colors(5)[parts.part_of_point]).all()
    cloud.write(str(tmp_path / "parts.ply"))
    opened = trimesh.load(tmp_path / "parts.ply")
    np.testing.assert_allclose(opened.vertices, surface.points)
    assert (opened.colors[:, :3] == part_colors(5)[parts.part_of_point]).all()
    assert opened.metadata["_ply_raw"]["vertex"]["data"]["part"].ravel().tolist() == parts.part_of_point.tolist()


def test_hits_stand_out_of_grey_the_first_in_red():
    surface, parts = small_surface(), small_parts()
    rows = read_back(highlighted_cloud(surface, parts, [np.flatnonzero(parts.points_of(p)) for p in (1, 3, 2)]))  # the right knob, the panel around it, the plate
    assert rows["hit"].tolist() == [2, 2, 2, 2, 1, 1, 1, 3, 3, 3, 3, 2]  # the better hit keeps its points
    colors = columns(rows, "red", "green", "blue")
    assert {tuple(c) for c in colors[4:7].tolist()} == {(235, 30, 30)}
    assert {tuple(c) for c in np.delete(colors, [4, 5, 6], 0).tolist()} == {(250, 160, 60)}
    none = read_back(highlighted_cloud(surface, parts, []))
    assert (none["red"] == none["green"]).all() and (none["green"] == none["blue"]).all() and not none["hit"].any()


def test_colours_of_parts_are_distinct_and_do_not_depend_on_how_many_there_are():
    colors = part_colors(200)
    assert len(np.unique(colors, axis=0)) == 200 and (part_colors(7) == colors[:7]).all() and part_colors(0).shape == (0, 3)


def test_paths_name_parts_from_the_top_and_number_the_nameless():
    assert path_names(small_parts(), {0: NodeLabel(0, "knob")}, 0) == ("part 3", "knob")
    assert path_names(small_parts(), small_labels(), 4) == ("scene",)


def test_the_tree_is_nested_json_with_what_is_known_of_every_part():
    record = json.loads(json.dumps(tree_json(small_surface(), small_parts(), {p: label for p, label in small_labels().items() if p != 2})))
    assert (record["schema"], record["version"], record["num_points"]) == ("semquery/part-tree", 1, 12)
    root = record["root"]
    shape = lambda node: (node["id"], [shape(c) for c in node["children"]])  # noqa: E731
    assert shape(root) == (4, [(2, []), (3, [(0, []), (1, [])])])
    knob = root["children"][1]["children"][1]
    assert (knob["name"], knob["path"], knob["num_points"], knob["source"]) == ("right knob", ["panel", "right knob"], 3, "rule")
    assert knob["centre"] == [2, 0, 1] and knob["box"] == [[2, 0, 0], [2, 0, 2]]
    plate = root["children"][0]
    assert plate["name"] is None and plate["path"] == ["part 2"] and "source" not in plate
