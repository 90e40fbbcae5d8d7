"""`semquery export`: what is written where, and what is refused."""

import json
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import trimesh
from helpers import named_run, small_run, small_surface
from PIL import Image
from plyfile import PlyData, PlyElement

from semquery import stages
from semquery.cli import main
from semquery.export import paths_of
from semquery.stages import Splats
from semquery.stages.export import Format
from semquery.stages.exported import own_folder
from semquery.store import Run, RunError

DEFAULT = ["boxes.json", "boxes.ply", "export.json", "levels.png", "parts.ply", "tree.json"]


@pytest.fixture
def run(tmp_path) -> Run:
    return named_run(tmp_path / "run")


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def splats_at(path: Path, points: np.ndarray) -> Path:
    """A splat PLY of degree 0 with a Gaussian at each point."""
    fields = ["x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    rows = np.zeros(len(points), [(name, "<f4") for name in fields])
    for name, column in zip("xyz", points.T, strict=True):
        rows[name] = column
    PlyData([PlyElement.describe(rows, "vertex")], byte_order="<").write(str(path))
    return path


def test_by_default_the_whole_tree_is_written_into_the_run(run, capsys):
    written = stages.export(run)
    assert names(run / "export") == DEFAULT and sorted(path.name for path in written) == DEFAULT
    tree = json.loads((run / "export" / "tree.json").read_text())
    assert [part["id"] for part in tree["parts"]] == [4] and tree["version"] == 2
    assert len(paths_of(PlyData.read(run / "export" / "parts.ply"))) == 5
    assert main(["export", str(run.path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{run / 'export' / 'parts.ply'}  (") and lines[0].endswith(" bytes)") and len(lines) == len(DEFAULT)


def test_a_run_without_names_is_exported_by_numbers(tmp_path):
    stages.export(small_run(tmp_path / "run"))
    assert paths_of(PlyData.read(tmp_path / "run" / "export" / "parts.ply"))[0] == ("part 3", "part 0")


def test_one_part_has_a_folder_of_its_own_and_holds_nothing_else(run, capsys):
    assert main(["export", str(run.path), "--part", "3"]) == 0
    folder = run / "export" / "part-3"
    assert names(folder) == sorted(name.replace("levels", "picture") for name in DEFAULT)
    assert sorted(set(PlyData.read(folder / "parts.ply")["vertex"]["part"].tolist())) == [0, 1, 3]
    assert [box["id"] for box in json.loads((folder / "boxes.json").read_text())["boxes"]] == [3, 0, 1]
    assert not (run / "export" / "parts.ply").exists()


def test_several_parts_are_exported_together_in_whatever_order_they_are_named(run):
    assert main(["export", str(run.path), "--part", "2", "0"]) == 0
    folder = run / "export" / "part-0-2"
    assert names(folder) == sorted(name.replace("levels", "picture") for name in DEFAULT)
    assert sorted(set(PlyData.read(folder / "parts.ply")["vertex"]["part"].tolist())) == [0, 2]
    assert json.loads((folder / "export.json").read_text())["formats"]["ply"]["parts"] == [0, 2]
    assert stages.export(run, formats=("json",), part=[0, 2])[0] == stages.export(run, formats=("json",), part=(2, 0))[0] == folder / "tree.json"


@pytest.mark.parametrize(("part", "told"), [
    ([], "no part to export"), ([0, 3], "Part 0 would be written twice: it lies in part 3"), ([1, 1], "Part 1 would be written twice: it is given twice"),
    ([0, 9], "There is no part 9"), ([True], "by its number"),
])
def test_parts_that_do_not_go_together_are_refused_and_nothing_is_written(run, part, told):
    with pytest.raises(ValueError, match=told):
        stages.export(run, part=part)
    assert not (run / "export").exists()


def test_folders_of_many_parts_have_short_names_of_their_own():
    run, many = Run(Path("."), create=True), [tuple(range(k, k + 40)) for k in (0, 0, 1)]
    first, same, other = (own_folder(run, tops, None).name for tops in many)
    assert first == same != other and first.startswith("part-0-1-2-3-4-5-and-34-more-")
    assert own_folder(run, tuple([*range(39), 99]), None).name != first


def test_a_query_exports_all_members_of_its_first_answer(run, capsys):
    assert main(["export", str(run.path), "--query", "all the knobs", "--formats", "ply", "json", "parts", "masks", "coco"]) == 0
    folder = run / "export" / "query-all-the-knobs"
    assert [part["id"] for part in json.loads((folder / "tree.json").read_text())["parts"]] == [0, 1]
    assert PlyData.read(folder / "parts.ply")["vertex"].count == 7
    assert {name for name in names(folder) if "/" in name} == {
        "ids/above.png", "ids/close.png", "ids/front.png", "masks/0-left-knob/above.png", "masks/0-left-knob/close.png", "masks/0-left-knob/front.png",
        "masks/1-right-knob/close.png", "masks/1-right-knob/front.png", "parts/0-left-knob.ply", "parts/1-right-knob.ply"}
    assert f"{folder / 'masks'}/  (5 files, " in capsys.readouterr().out
    ids, point = np.array(Image.open(folder / "ids" / "front.png")), small_surface().point_of_pixel["front"]
    assert (ids == np.where(point < 0, 0, np.where(point < 4, 1, np.where(point < 7, 2, 0)))).all()
    assert {a["semquery"]["part"] for a in json.loads((folder / "coco.json").read_text())["annotations"]} == {0, 1}


def test_what_is_not_there_is_not_found_and_leaves_with_one(run, capsys):
    assert main(["export", str(run.path), "--query", "submarine"]) == 1
    assert "“submarine”: not found in this scene." in capsys.readouterr().out and not (run / "export").exists()


@pytest.mark.parametrize(("arguments", "told"), [
    (["--part", "5"], "There is no part 5: parts are numbered 0 to 4"), (["--part", "-1"], "There is no part -1"),
    (["--part", "1", "--query", "plate"], "--part and --query both"), (["--query", " "], "query is empty"), (["--query", "\udcff"], "bytes that are no text"),
    (["--formats", "splats"], "--splats SCENE.ply"), (["--reach", "1"], "--splats SCENE.ply"), (["--splats", "gone.ply"], "no file gone.ply"),
    (["--mesh", "gone.glb"], "no mesh at gone.glb"), (["--out", "FILE"], "FILE is a file, and an export is written into a folder"),
    (["--out", "FILE/inner/deep"], "FILE is a file"),
])
def test_what_does_not_fit_is_one_line_and_two_and_nothing_is_written(arguments, told, run, tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    place = lambda text: text.replace("FILE", str(tmp_path / "file"))  # noqa: E731
    assert main(["export", str(run.path), *map(place, arguments)]) == 2
    error = capsys.readouterr().err.strip()
    assert place(told) in error and "\n" not in error
    assert not (run / "export").exists() and (tmp_path / "file").read_text() == "mine"


def test_a_query_takes_a_codebook_and_a_part_does_not(tmp_path):
    run = small_run(tmp_path / "run")
    with pytest.raises(RunError, match="semquery label"):
        stages.export(run, query="plate")
    (run / "labels.jsonl").write_text('{"part": 2, "name": "plate"}\n')
    with pytest.raises(RunError, match="semquery encode"):
        stages.export(run, query="plate")
    assert stages.export(run, part=2)


def test_an_unknown_format_is_told_to_programs_too(run):
    for formats, told in ((("obj",), "no format 'obj'"), ((), "No format was named")):
        with pytest.raises(ValueError, match=told):
            stages.export(run, formats=formats)


def test_exported_again_nothing_of_the_last_time_is_left_and_nothing_of_others_is_touched(run, tmp_path):
    out = tmp_path / "out"
    (out / "parts").mkdir(parents=True)
    (out / "parts" / "7-mine.ply").write_text("mine")
    stages.export(run, out, ("parts", "masks"), part=3)
    assert {"parts/3-panel.ply", "parts/0-left-knob.ply", "masks/3-panel/front.png"} <= set(names(out))
    stages.export(run, out, ("json",))
    stages.export(run, out, ("parts", "masks"), part=2)
    assert names(out) == ["export.json", "ids/above.png", "ids/close.png", "ids/front.png", "masks/2-plate/above.png", "masks/2-plate/close.png",
                          "parts/2-plate.ply", "parts/7-mine.ply", "tree.json"]
    assert not (out / "masks" / "3-panel").exists()
    record = json.loads((out / "export.json").read_text())["formats"]
    assert record["json"]["parts"] == [4] and record["parts"] == {"parts": [2], "query": None, "files": ["parts/2-plate.ply"]}


@pytest.mark.parametrize("record", ["no json", "[]", '{"schema": "semquery/export", "formats": {"ply": 3, "json": {"files": [["x"]]}}}',
                                    '{"schema": "semquery/export", "formats": {"ply": {"files": ["../mine.txt", "/", ".", "gone.ply"]}}}'])
def test_a_record_that_others_wrote_removes_nothing_outside_the_folder(record, run, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "out" / "export.json").write_text(record)
    stages.export(run, tmp_path / "out", ("ply", "json"))
    assert (tmp_path / "mine.txt").exists() and names(tmp_path / "out") == ["export.json", "parts.ply", "tree.json"]


def test_a_file_is_replaced_only_by_a_whole_one(run, tmp_path, monkeypatch):
    out = tmp_path / "out"
    stages.export(run, out, ("ply",))
    before = (out / "parts.ply").read_bytes()

    def full(self, stream):
        Path(stream).write_bytes(b"ply\n")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(PlyData, "write", full)
    with pytest.raises(RunError, match=r"parts\.ply cannot be written \(No space left on device\)"):
        stages.export(run, out, ("ply",), part=0)
    assert (out / "parts.ply").read_bytes() == before and names(out) == ["export.json", "parts.ply"]


def test_a_folder_where_a_file_should_go_is_told(run, tmp_path):
    (tmp_path / "out" / "tree.json").mkdir(parents=True)
    with pytest.raises(RunError, match="tree.json cannot be written"):
        stages.export(run, tmp_path / "out", ("json",))


def test_splats_get_the_parts_of_the_surface_near_them(run, tmp_path):
    points = np.append(small_surface().points, [[50, 50, 50]], axis=0)
    scene = splats_at(tmp_path / "scene.ply", points)
    stages.export(run, tmp_path / "out", ("parts",), splats=Splats(scene))
    assert PlyData.read(tmp_path / "out" / "splats.ply")["vertex"]["part"].tolist() == [*run.parts().part_of_point.tolist(), -1]
    assert PlyData.read(tmp_path / "out" / "splats" / "3-panel.ply")["vertex"].count == 8
    stages.export(run, tmp_path / "out", ("splats",), query="plate", splats=Splats(scene, reach=0.1))
    assert (PlyData.read(tmp_path / "out" / "splats.ply")["vertex"]["part"] == 2).sum() == 4
    assert (PlyData.read(tmp_path / "out" / "highlighted.ply")["vertex"]["f_dc_0"] != 0).sum() == 4


def test_splats_in_the_frame_of_their_nerfstudio_run_are_brought_into_the_captures(run, tmp_path):
    turn = np.array([[0, -1, 0, 3], [1, 0, 0, -2], [0, 0, 1, 5]], float)  # world → trainer, before it is scaled
    points = 0.25 * (small_surface().points @ turn[:, :3].T + turn[:, 3])
    scene, transform = splats_at(tmp_path / "scene.ply", points), tmp_path / "dataparser_transforms.json"
    transform.write_text(json.dumps({"transform": turn.tolist(), "scale": 0.25}))
    with pytest.raises(ValueError, match="None of the 12 splats .* --splats-transform"):
        stages.export(run, tmp_path / "out", ("splats",), splats=Splats(scene, reach=0.01))
    stages.export(run, tmp_path / "out", ("splats",), splats=Splats(scene, transform, 0.01))
    assert PlyData.read(tmp_path / "out" / "splats.ply")["vertex"]["part"].tolist() == run.parts().part_of_point.tolist()
    transform.write_text('{"transform": [[1]]}')
    with pytest.raises(ValueError, match="expected nerfstudio's dataparser_transforms.json"):
        stages.export(run, tmp_path / "out", ("splats",), splats=Splats(scene, transform))


def test_what_is_read_is_never_written_over(run, tmp_path):
    scene = splats_at(tmp_path / "splats.ply", small_surface().points)
    before = scene.read_bytes()
    with pytest.raises(RunError, match="splats.ply lies in the folder that is written to"):
        stages.export(run, tmp_path, ("splats",), splats=Splats(scene))
    assert scene.read_bytes() == before


def test_a_file_of_an_earlier_export_is_not_read_into_the_same_folder(run, tmp_path):
    out = tmp_path / "out"
    stages.export(run, out, ("parts",), splats=Splats(splats_at(tmp_path / "scene.ply", small_surface().points)))
    inner = out / "splats" / "3-panel.ply"
    before = inner.read_bytes()
    with pytest.raises(RunError, match="3-panel.ply lies in the folder that is written to"):
        stages.export(run, out, ("parts",), part=0, splats=Splats(inner))
    (out / "link.ply").symlink_to(inner)
    with pytest.raises(RunError, match="would be replaced"):
        stages.export(run, out, ("parts",), part=0, splats=Splats(out / "link.ply"))
    assert inner.read_bytes() == before
    stages.export(run, out, ("splats",), splats=Splats(splats_at(out / "scene.ply", small_surface().points)))  # no export writes that name
    assert (out / "scene.ply").exists()


def test_the_run_itself_is_no_folder_for_exports(run):
    with pytest.raises(RunError, match="is the run itself"):
        stages.export(run, run.path, ("ply",))
    assert not (run / "parts.ply").exists()


@pytest.mark.parametrize("reach", [0.0, -1.0, float("nan"), float("inf")])
def test_a_reach_that_is_none_is_refused_before_anything_is_written(run, tmp_path, reach):
    with pytest.raises(ValueError, match="--reach is .*; expected a distance above 0"):
        stages.export(run, tmp_path / "out", splats=Splats(splats_at(tmp_path / "scene.ply", small_surface().points), reach=reach))
    assert not (tmp_path / "out").exists()


def test_splats_far_from_the_surface_are_told_and_counted(run, tmp_path, capsys):
    far, points = 100 + small_surface().points, small_surface().points
    with pytest.raises(ValueError, match="None of the 12 splats"):
        stages.export(run, tmp_path / "out", splats=Splats(splats_at(tmp_path / "far.ply", far)))
    assert not (tmp_path / "out").exists()
    stages.export(run, tmp_path / "out", ("splats",), splats=Splats(splats_at(tmp_path / "some.ply", np.concatenate([points[:2], far]))))
    told = capsys.readouterr().out
    assert "2 of 14 splats lie on the surface" in told and "Few: are they in the capture's frame (--splats-transform)" in told
    stages.export(run, tmp_path / "out", ("splats",), splats=Splats(splats_at(tmp_path / "all.ply", points)))
    told = capsys.readouterr().out
    assert "12 of 12 splats" in told and "Few" not in told


def test_a_mesh_that_lies_elsewhere_is_refused(run, tmp_path):
    trimesh.Trimesh(100 + np.eye(3), [[0, 1, 2]], process=False).export(tmp_path / "away.ply")
    with pytest.raises(ValueError, match="100 % of the surface lies outside of the mesh .*away.ply"):
        stages.export(run, tmp_path / "out", ("glb",), mesh=tmp_path / "away.ply")
    assert not (tmp_path / "out").exists()


def test_what_answers_a_query_is_told(run, tmp_path, capsys):
    stages.export(run, tmp_path / "out", ("json",), query="plate")
    assert "“plate” is plate (part 2), 100 % likely" in capsys.readouterr().out


def test_a_glb_has_a_node_for_each_part_and_stands_upright(run, tmp_path):
    stages.export(run, tmp_path / "out", ("glb",))
    scene = trimesh.load_scene(tmp_path / "out" / "parts.glb")
    assert {"left knob", "right knob", "plate", "panel", "scene"} <= set(scene.graph.nodes)
    tall = scene.bounds[1] - scene.bounds[0]
    assert tall.argmax() == 0 and tall[1] > 2.9, "the capture is 9 wide and 3 high along z, which is y in glTF"


def test_names_that_are_no_text_are_written_so_that_every_reader_takes_them(tmp_path):
    run = small_run(tmp_path / "run")
    (run / "labels.jsonl").write_text('{"part": 0, "name": "knob \\ud800"}\n{"part": 2, "name": "取っ手\\n../../x"}\n')
    stages.export(run, formats=("ply", "json", "boxes", "parts"))
    tree = json.loads((run / "export" / "tree.json").read_bytes().decode("utf-8"))
    assert tree["parts"][0]["children"][1]["children"][0]["name"] == "knob ?" and tree["parts"][0]["children"][0]["name"] == "取っ手\n../../x"
    assert all(path.is_relative_to(run / "export") for path in (run / "export").rglob("*")) and len(names(run / "export" / "parts")) == 5


def test_every_format_that_is_named_is_made(run, tmp_path):
    scene = splats_at(tmp_path / "scene.ply", small_surface().points)
    for name in get_args(Format):
        assert len(stages.export(run, tmp_path / name, (name,), splats=Splats(scene) if name == "splats" else Splats())) >= 2
