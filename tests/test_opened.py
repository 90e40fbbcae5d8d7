"""A scene that is opened once: answers with their geometry, the same from every thread, whatever becomes of the run."""

import json
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import DRAWN, NAMES, named_run, small_parts, small_run, small_surface

from semquery import Scene, stages
from semquery.cli import main
from semquery.opened.doors import checked_axis, checked_count, checked_number, checked_text
from semquery.query import QueryConfig
from semquery.store import RunError
from semquery.text import Lexical
from semquery.types import NodeLabel, Observation
from semquery.vlm.scripted import Scripted

QUERIES = ["left knob", "right knob", "plate", "panel", "all the knobs", "knob", "scene", "submarine", "the leftmost knob", "knob but not the left knob",
           "knob of the panel", "the knob to the right of the left knob", "what is below the plate", "largest knob", "two knobs"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return named_run(tmp_path_factory.mktemp("opened") / "run")


@pytest.fixture(scope="module")
def scene(run) -> Scene:
    return Scene.open(run.path)


# ------------------------------------------------------------------ answers


@pytest.mark.parametrize(("part", "name"), [(p, n) for p, n in NAMES.items() if p != small_parts().root])
def test_every_name_finds_its_part_with_points_box_and_masks(part, name, scene):
    found = scene.query(name)[0]
    inside = small_parts().points_of(part)
    assert (found.part, found.members, found.name, found.probability > 0.5) == (part, (part,), name, True)
    assert found.point_ids.tolist() == np.flatnonzero(inside).tolist()
    np.testing.assert_array_equal(found.points, small_surface().points[inside])
    np.testing.assert_array_equal(found.normals, small_surface().normals[inside])
    assert found.hit.num_points == inside.sum()
    along = (found.points - found.box.centre) @ found.box.axes.T
    assert (np.abs(along) <= found.box.extent / 2 + 1e-6).all()


@pytest.mark.parametrize("members", [(0,), (1,), (2,), (3,), (4,), (0, 2), (0, 1), (1, 3)])
def test_masks_are_the_pixels_that_show_the_points(members, scene):
    """Slow twin: every drawn pixel's point, looked up."""
    points = set(scene.points_of(members).tolist())
    slow = {view: [[pixel != "." and int(pixel, 16) in points for pixel in row] for row in rows] for view, rows in DRAWN.items()}
    assert {view: scene.mask(members, view).tolist() for view in DRAWN} == slow
    shown = scene.masks(members)
    assert shown.keys() == {view for view in slow if np.any(slow[view])}
    assert all(mask.tolist() == slow[view] for view, mask in shown.items())


def test_several_that_answer_together_are_one_answer_with_members(scene):
    [found] = scene.query("all the knobs")
    assert sorted(found.members) == [0, 1] and found.point_ids.tolist() == list(range(7)) and found.hit.num_points == 7
    assert [each.part for each in found.each()] == list(found.members)
    assert [each.point_ids.tolist() for each in sorted(found.each(), key=lambda each: each.part)] == [[0, 1, 2, 3], [4, 5, 6]]
    assert "2 parts" in found.explain() and found.hit.reason in found.explain()


def test_what_is_not_here_is_not_found_and_its_nearest_name_is_told(scene):
    assert scene.query("submarine") == []
    assert re.search("closest is “plate”, [0-9]+ % likely", scene.missing("plat"))
    assert scene.query("the knob nearest to the submarine") == [] and "submarine" in scene.missing("the knob nearest to the submarine")


def test_relations_are_answered_in_the_frame_of_a_named_view(run):
    scene = Scene.open(run.path, up=(0, 0, 1), front=(0, -1, 0))  # x is to the right of whoever looks along +y
    assert scene.query("the leftmost knob")[0].part == 0 and scene.query("the rightmost knob")[0].part == 1
    behind = Scene.open(run.path, up=(0, 0, 1), front=(0, 1, 0))
    assert behind.query("the leftmost knob")[0].part == 1
    assert "front" in scene.frame("front").origin and scene.frame("front") is scene.frame("front")


def test_only_queries_about_places_take_the_places_of_parts(scene):
    asks = {text: scene.asks_where(text) for text in ("knob", "left knob", "the leftmost knob", "all the knobs", "something to turn")}
    assert asks == {"knob": False, "left knob": False, "the leftmost knob": True, "all the knobs": True, "something to turn": False}


def test_parts_are_listed_by_name_and_found_by_number(scene):
    assert scene.parts == {name: (part,) for part, name in sorted(NAMES.items(), key=lambda item: item[1])}
    assert scene.part(1).name == "right knob" and scene.part(1).points.shape == (3, 3) and scene.part(4).path == ("scene",)
    with pytest.raises(ValueError, match="no part 5: parts are numbered 0 to 4"):
        scene.part(5)


def test_parts_that_failed_are_not_listed(run, tmp_path):
    shutil.copytree(run.path, tmp_path / "run")
    again = type(run)(tmp_path / "run")
    again.append_label(NodeLabel(2, "unreadable", status="failed"), "")
    stages.encode(again, overwrite=True)
    assert "unreadable" not in Scene.open(again).parts


def test_a_part_without_points_has_no_box_and_no_masks(scene):
    empty = Scene(scene.surface, replace(small_parts(), part_of_point=np.where(small_parts().part_of_point == 2, 4, small_parts().part_of_point)),
                  scene.labels, scene.searcher.book, scene.cameras)
    plate = empty.query("plate")[0]
    assert plate.part == 2 and plate.hit.num_points == 0 and plate.masks() == {} and not plate.mask("front").any()
    with pytest.raises(ValueError, match="no box around no points"):
        _ = plate.box


def test_a_view_that_is_not_there_is_named_with_those_that_are(scene):
    with pytest.raises(ValueError, match="no view 'cellar'.*front"):
        scene.query("plate")[0].mask("cellar")
    with pytest.raises(ValueError, match="cellar"):
        scene.query("the leftmost knob", view="cellar")


def test_fewer_answers_are_the_first_of_more(run):
    scene = Scene.open(run, QueryConfig(threshold=0.0, near_best=0.0))
    assert len(scene.query("plate")) >= len(scene.query("plate", top=1)) == 1
    assert scene.query("plate", top=1) == scene.query("plate")[:1]


# ------------------------------------------------------------------ questions


def said_by_the_model(request) -> dict:
    """A model that thinks the plate is meant, because of the panel."""
    if "relevant" in request.schema["properties"]:
        return {"thinking": "", "relevant": [{"part": 2, "role": "candidate", "why": "flat"}, {"part": 3, "role": "anchor", "why": "beside it"}], "open": []}
    return {"thinking": "", "targets": [2], "explanation": "One puts the cup there.", "rejected": []}


def test_a_question_is_answered_by_a_model_with_geometry_and_asked_once(run):
    asked = []
    vlm = Scripted(lambda request: asked.append(1) or said_by_the_model(request))
    scene = Scene.open(run)
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    answered = scene.ask("where would I put my cup?", vlm)
    assert [found.part for found in answered.targets] == [2] and [found.part for found in answered.anchors] == [3]
    assert answered.targets[0].points.shape == (4, 3) and answered.explain() == "One puts the cup there." and 0 <= answered.sure <= 1
    calls = len(asked)
    assert scene.ask("where would I put my cup?", vlm) == answered and len(asked) == calls
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == before


def test_what_was_answered_in_the_run_before_is_not_asked_again(run, tmp_path):
    shutil.copytree(run.path, tmp_path / "run")
    again = type(run)(tmp_path / "run")
    first = stages.ask(again, Scene.open(again), "where would I put my cup?", Scripted(said_by_the_model))

    def nobody(request):
        raise AssertionError("asked again")

    assert Scene.open(again).ask("where would I put my cup?", Scripted(nobody)).answer == first


def test_without_a_model_the_form_of_the_question_decides(run):
    scene = Scene.open(run, up=(0, 0, 1), front=(0, -1, 0))
    assert [found.part for found in scene.ask("which knob is the leftmost?").targets] == [0]
    nothing = scene.ask("where is the submarine?")
    assert nothing.targets == () and "nothing here is called" in nothing.explain().lower()


# ------------------------------------------------------------------ threads and changes


def test_eight_threads_get_the_answers_that_one_gets(run):
    """Every thread asks all queries in an order of its own, of a scene that nobody has asked before."""
    one, many = Scene.open(run), Scene.open(run)
    alone = {text: one.query(text) for text in QUERIES}
    assert sum(bool(found) for found in alone.values()) >= 10

    def ask(seed: int) -> bool:
        order = np.random.default_rng(seed).integers(0, len(QUERIES), 60)
        return all(_same(many.query(QUERIES[k]), alone[QUERIES[k]]) for k in order)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(8)))


def _same(found, others) -> bool:
    return found == others and all(
        a.masks().keys() == b.masks().keys() and (a.point_ids == b.point_ids).all() and (a.box.extent == b.box.extent).all()
        for a, b in zip(found, others, strict=True) if len(a.points))


def test_an_open_scene_does_not_notice_that_its_run_is_gone(run, tmp_path):
    shutil.copytree(run.path, tmp_path / "run")
    scene = Scene.open(tmp_path / "run")
    before = scene.query("all the knobs")
    shutil.rmtree(tmp_path / "run")
    assert scene.query("all the knobs") == before and scene.query("the leftmost knob") and scene.query("plate")[0].masks()


# ------------------------------------------------------------------ what goes wrong


def test_a_run_without_names_or_codebook_is_refused_with_the_command_to_run(tmp_path):
    run = small_run(tmp_path / "run")
    with pytest.raises(RunError, match="has no names to search yet.*semquery label .*run"):
        Scene.open(run.path)
    run.append_label(NodeLabel(0, "knob"), "")
    with pytest.raises(RunError, match="has no codebook.npz yet.*semquery encode .*run"):
        Scene.open(run)
    with pytest.raises(RunError, match="no run directory"):
        Scene.open(tmp_path / "gone")


def test_a_codebook_older_than_its_names_is_refused(run, tmp_path):
    shutil.copytree(run.path, tmp_path / "run")
    again = type(run)(tmp_path / "run")
    again.append_label(NodeLabel(0, "wattage dial", source="user"), "")
    with pytest.raises(RunError, match="labels.jsonl changed.*semquery encode .* --overwrite"):
        Scene.open(again)
    stages.encode(again, overwrite=True)
    assert Scene.open(again).query("wattage dial")[0].part == 0


def test_another_encoder_than_the_codebooks_is_refused(run):
    with pytest.raises(ValueError, match=r"Lexical.*--overwrite"):
        Scene.open(run, encoder=Lexical(dim=64))


@pytest.mark.parametrize(("text", "told"), [("", "empty"), ("  \n ", "empty"), ("knob " * 2000, "1000"), ("of the", "no word to search for")])
def test_a_query_that_cannot_be_read_says_why(text, told, scene):
    with pytest.raises(ValueError, match=told):
        scene.query(text)


def test_another_language_is_not_found_by_spelling_and_that_is_said(scene):
    assert scene.query("左のつまみ") == [] and "no other language" in scene.missing("左のつまみ")


def test_importing_a_scene_imports_no_torch():
    code = "import sys\nfrom semquery import Scene\nprint(sorted({m.split('.')[0] for m in sys.modules} & {'torch', 'transformers', 'open_clip', 'PIL', 'trimesh', 'tyro'}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_answer_is_written_as_json_with_members_box_and_frame(run, scene):
    record = json.loads(json.dumps(stages.as_record(scene, "all the knobs", scene.query("all the knobs"))))
    [hit] = record["hits"]
    assert sorted(hit["members"]) == [0, 1] and len(hit["box"]["axes"]) == 3 and record["frame"]["up"] and record["missing"] == ""
    nothing = stages.as_record(scene, "submarine", [], missing=scene.missing("submarine"))
    assert nothing["hits"] == [] and "closest" in nothing["missing"] and nothing["frame"] is None


# ------------------------------------------------------------------ what comes in at the door


@pytest.mark.parametrize(("call", "told"), [
    (lambda: checked_text(None), "A query is a text.*got None"), (lambda: checked_text(5, "question"), "A question is a text.*got 5 .int."),
    (lambda: checked_text("knob \udcff"), "bytes that are no text .*character 6"), (lambda: checked_count(0), "1 or more; got 0"),
    (lambda: checked_count(-1), "1 or more"), (lambda: checked_count(1.5), "1 or more"), (lambda: checked_count(True), "1 or more"),
    (lambda: checked_number("door", 5), "by its number, 0 to 4; got 'door'"), (lambda: checked_number(2.5, 5), "by its number"),
    (lambda: checked_number(-1, 5), "no part -1"), (lambda: checked_axis((0, 0, 0), "up"), "up is a direction.*not all 0"),
    (lambda: checked_axis((0, 1), "front"), "front is a direction"), (lambda: checked_axis("up", "up"), "up is a direction"),
    (lambda: checked_axis((0, float("nan"), 1), "up"), "up is a direction"),
])
def test_what_is_no_text_number_or_direction_is_told(call, told):
    with pytest.raises(ValueError, match=told):
        call()


def test_texts_numbers_and_directions_come_through_as_they_are():
    assert checked_text("Tür 🙂") == "Tür 🙂" and checked_count(None) is None and checked_count(np.int64(3)) == 3 and checked_number(np.int32(4), 5) == 4
    assert checked_axis(None, "up") is None and checked_axis((0, 0, 2), "up").tolist() == [0, 0, 2]


def test_a_scene_tries_what_comes_in_where_no_types_are_checked(run):
    """In a process without the type checks of the tests."""
    calls = ["s.query(None)", "s.query(5)", "s.query('knob', top=0)", "s.part('door')", "s.part(2.5)", "s.ask(b'knob')", "s.missing(3)",
             "Scene.open(p, up=(0, 0, 0))", "Scene.open(p, front=(0, 1))"]
    code = f"""
from semquery import Scene
p = {str(run.path)!r}
s = Scene.open(p)
for call in {calls!r}:
    try:
        eval(call)
    except ValueError as error:
        print(call, '->', error)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=True)
    assert [line.split(" -> ")[0] for line in done.stdout.splitlines()] == calls


# ------------------------------------------------------------------ runs that were tampered with


@pytest.fixture
def copied(run, tmp_path):
    shutil.copytree(run.path, tmp_path / "copied")
    return type(run)(tmp_path / "copied")


def test_a_run_whose_pixels_are_gone_is_refused_rather_than_answered_without_masks(copied):
    copied.write_observation("front", Observation((6, 6), np.zeros(0, np.int32), np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8)))
    assert Scene.open(copied).query("plate")[0].masks()
    shutil.rmtree(copied / "pixels")
    with pytest.raises(RunError, match="pixels is empty.*no masks.*semquery fit .* --overwrite"):
        Scene.open(copied)


@pytest.mark.parametrize("name", ["codebook.npz", "codebook.json"])
def test_where_the_codebook_is_gone_the_command_that_is_told_makes_it_anew(copied, name):
    copied.append_label(NodeLabel(0, "wattage dial", source="user"), "")
    stages.encode(copied, overwrite=True)
    copied.append_label(NodeLabel(0, "timer", source="user"), "")
    (copied / name).unlink()
    with pytest.raises(RunError, match=rf"{name} any more.*semquery encode .* --overwrite" if name.endswith("npz") else "semquery encode .* --overwrite"):
        Scene.open(copied)
    assert main(["encode", str(copied.path), "--overwrite"]) == 0
    assert Scene.open(copied).query("timer")[0].part == 0


def test_a_codebook_without_its_words_is_named(copied):
    (copied / "codebook.json").unlink()
    with pytest.raises(RunError, match="has no codebook.json any more. Make it with: semquery encode .* --overwrite"):
        Scene.open(copied)


def test_a_codebook_with_what_is_no_number_is_refused(copied):
    book = copied.codebook()
    copied.write_codebook(replace(book, vectors=np.full_like(book.vectors, np.nan)))
    with pytest.raises(RunError, match="holds what is no number in vectors.*semquery encode .* --overwrite"):
        Scene.open(copied)


def test_a_file_where_answers_go_is_told(copied):
    (copied / "queries").write_text("")
    scene = Scene.open(copied)
    with pytest.raises(RunError, match="queries is a file"):
        stages.write_answer(copied, scene, "plate", scene.query("plate"))


def test_a_written_answer_names_its_masks_steps_and_axes(copied):
    scene = Scene.open(copied, up=(0, 0, 1), front=(0, -1, 0))
    folder = stages.write_answer(copied, scene, "the leftmost knob", scene.query("the leftmost knob"))
    record = json.loads((folder / "result.json").read_text())
    assert {str(path.relative_to(folder)) for path in (folder / "masks").iterdir()} == set(record["masks"]) and record["masks"]
    assert record["hits"][0]["name"] == "left knob" and len(record["steps"]) >= 2 and " ".join(record["steps"]) == record["hits"][0]["reason"]
    assert record["frame"]["up"] == [0, 0, 1] and record["frame"]["front"] == [0, -1, 0] and record["frame"]["right"] == [1, 0, 0]
    seen = stages.write_answer(copied, scene, "the leftmost knob", scene.query("the leftmost knob", view="front"), "front")
    assert (folder.name, seen.name) == ("the-leftmost-knob", "the-leftmost-knob--view-front") and (folder / "result.json").exists()
