"""Published sets of queries, on files of the same format that are made here."""

import json
import os

import numpy as np
import pytest
import torch

from eval.__main__ import main
from eval.reasoning.answers import AnswersConfig, run_answers
from eval.reasoning.readers import DIALECTS, find_scene, read_queries

SEMANTIC, INSTANCE = np.array([5, 5, 5, 5, 2, 2, 9, 9]), np.array([0, 0, 1, 1, 2, 2, 3, -100])
ROWS = {
    "reason3d": {"scene_id": "s0", "object_id": 5, "object_name": "chair", "question": "Where can I sit?", "type": "scannet"},
    "instruct3d": {"scene_id": "s0", "object_id": [0, 2], "object_name": "chair", "images": ["a.jpg"], "description": "what to sit on"},
    "intent3d": {"scene_id": "s0", "object_id": "1", "object_name": "chair", "ann_id": "0", "description": "I want to sit", "token": ["i"]},
    "vg-without-names": {"scene_id": "s0", "object_id": "1", "object_name": "chair", "ann_id": "0", "description": "it is by the door"},
    "3d-reasonseg": {"scene_id": "s0", "object_id": [3], "question": "What gives light?", "answer": "the lamp"},
    "surprise3d": {"scene_id": "s0", "object_id": [1], "object_name": "chair", "description": "for resting", "question_type": "purpose",
                   "reference_id": 7},
}


def write(path, rows):
    path.write_text(json.dumps(rows))
    return path


def labelled(folder, scene="s0"):
    folder.mkdir(exist_ok=True)
    np.savez(folder / f"{scene}.npz", points=np.zeros((8, 3)), semantic=SEMANTIC, instance=INSTANCE)
    return folder


# ------------------------------------------------------------------ queries


def test_reason3d_means_every_thing_of_the_class(tmp_path):
    (query,) = read_queries(write(tmp_path / "q.json", [ROWS["reason3d"]]), "reason3d")
    assert (query.id, query.query, query.kind) == ("s0/0", "Where can I sit?", "scannet")
    assert query.is_target(find_scene(labelled(tmp_path / "s"), "s0")).tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    assert "CLASS" in DIALECTS["reason3d"].truth


@pytest.mark.parametrize(("dialect", "meant", "kind"), [
    ("instruct3d", [1, 1, 0, 0, 1, 1, 0, 0], "instruct3d"), ("intent3d", [0, 0, 1, 1, 0, 0, 0, 0], "intent3d"),
    ("vg-without-names", [0, 0, 1, 1, 0, 0, 0, 0], "vg-without-names"), ("3d-reasonseg", [0, 0, 0, 0, 0, 0, 1, 0], "3d-reasonseg"),
    ("surprise3d", [0, 0, 1, 1, 0, 0, 0, 0], "purpose"),
])
def test_all_others_mean_the_union_of_instances(tmp_path, dialect, meant, kind):
    (query,) = read_queries(write(tmp_path / "q.json", [ROWS[dialect]]), dialect)
    assert query.kind == kind and query.query
    assert query.is_target(find_scene(labelled(tmp_path / "s"), "s0")).tolist() == meant


def test_every_dialect_has_an_example_here():
    assert ROWS.keys() == DIALECTS.keys()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_missing_key_is_named_with_its_row(tmp_path, dialect):
    for key in ("scene_id", "object_id", DIALECTS[dialect].text[0]):
        row = {k: v for k, v in ROWS[dialect].items() if k != key}
        with pytest.raises(ValueError, match=rf"row 1 has no {key}.*it has .*"):
            read_queries(write(tmp_path / "q.json", [ROWS[dialect], row]), dialect)


@pytest.mark.parametrize(("rows", "message"), [
    ({}, "holds no list"), ([], "holds no list"), ([3], "row 0 is a int"),
    ([{**ROWS["reason3d"], "object_id": "chair"}], "object_id 'chair'"),
    ([{**ROWS["reason3d"], "object_id": [1, 2]}], "has 2 object_ids"), ([{**ROWS["reason3d"], "object_id": []}], "empty object_id"),
    ([{**ROWS["reason3d"], "object_id": 1.5}], "object_id 1.5"), ([{**ROWS["reason3d"], "object_id": True}], "object_id True"),
    ([{**ROWS["reason3d"], "question": "  "}], "asks nothing"),
])
def test_what_is_no_query_is_said_in_one_sentence(tmp_path, rows, message):
    with pytest.raises(ValueError, match=message):
        read_queries(write(tmp_path / "q.json", rows), "reason3d")


def test_a_file_that_is_missing_or_no_json_is_named(tmp_path):
    with pytest.raises(ValueError, match="There is no file"):
        read_queries(tmp_path / "none.json", "reason3d")
    (tmp_path / "q.json").write_text("{")
    with pytest.raises(ValueError, match="is no JSON"):
        read_queries(tmp_path / "q.json", "reason3d")


def test_a_target_that_no_point_has_is_refused(tmp_path):
    (query,) = read_queries(write(tmp_path / "q.json", [{**ROWS["intent3d"], "object_id": 77}]), "intent3d")
    with pytest.raises(ValueError, match="No point .* instance label 77"):
        query.is_target(find_scene(labelled(tmp_path / "s"), "s0"))


# ------------------------------------------------------------------ scenes


@pytest.mark.parametrize(("name", "entries"), [("s0_reason.pth", 5), ("s0.pth", 4)])
@pytest.mark.parametrize("as_tensors", [True, False])
def test_reason3ds_scenes_are_read_as_tensors_and_as_arrays(tmp_path, name, entries, as_tensors):
    held = (np.zeros((8, 3), np.float32), np.zeros((8, 3), np.float32), np.zeros(8), SEMANTIC.astype(np.float64), INSTANCE)[:entries]
    torch.save(tuple(map(torch.from_numpy, held)) if as_tensors else held, tmp_path / name)
    scene = find_scene(tmp_path, "s0")
    assert scene.semantic.tolist() == SEMANTIC.tolist() and scene.points.shape == (8, 3)
    assert (scene.instance is None) == (entries == 4)
    if entries == 4:
        (query,) = read_queries(write(tmp_path / "q.json", [ROWS["intent3d"]]), "intent3d")
        with pytest.raises(ValueError, match="no instance labels"):
            query.is_target(scene)


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("went-off",)


def test_what_others_allow_in_checkpoints_is_still_allowed_afterwards(tmp_path):
    from eval.reasoning.readers.scenes import read_pth

    points = np.zeros((2, 3), np.float32)
    torch.save((points, points, np.zeros(2, np.int64), np.zeros(2, np.int64)), tmp_path / "scene.pth")
    torch.serialization.add_safe_globals([np.dtype])
    before = set(map(str, torch.serialization.get_safe_globals()))
    read_pth(tmp_path / "scene.pth")
    assert before <= set(map(str, torch.serialization.get_safe_globals()))


def test_a_pickle_that_runs_code_is_never_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save((Bomb(), 1, 2, 3), tmp_path / "s0.pth")
    with pytest.raises(ValueError, match="never opened") as error:
        find_scene(tmp_path, "s0")
    assert not (tmp_path / "went-off").exists()
    assert "weights_only" not in str(error.value)


def test_scannets_segments_become_instances(tmp_path):
    folder = tmp_path / "s0"
    folder.mkdir()
    write(folder / "s0_vh_clean_2.0.010000.segs.json", {"segIndices": [70, 70, 4, 4, 4, 30]})
    write(folder / "s0.aggregation.json", {"segGroups": [{"objectId": 0, "segments": [70], "label": "chair"},
                                                         {"objectId": 3, "segments": [30, 99], "label": "desk"}]})
    assert find_scene(tmp_path, "s0").instance.tolist() == [0, 0, -1, -1, -1, 3]


def test_scannetpps_segments_become_instances(tmp_path):
    folder = tmp_path / "s0" / "scans"
    folder.mkdir(parents=True)
    write(folder / "segments.json", {"segIndices": [1, 2, 2]})
    write(folder / "segments_anno.json", {"segGroups": [{"objectId": 8, "segments": [2], "label": "cup"}]})
    scene = find_scene(tmp_path, "s0")
    assert scene.instance.tolist() == [-1, 8, 8] and scene.semantic is None


def test_scenes_that_cannot_be_read_say_why(tmp_path):
    with pytest.raises(ValueError, match="no folder"):
        find_scene(tmp_path / "none", "s0")
    with pytest.raises(ValueError, match="has no scene s0.*s0_reason.pth"):
        find_scene(tmp_path, "s0")
    np.savez(tmp_path / "s0.npz", points=np.zeros((2, 3)), semantic=np.zeros(3))
    with pytest.raises(ValueError, match="3 semantic for 2 points"):
        find_scene(tmp_path, "s0")
    np.savez(tmp_path / "s1.npz", points=np.zeros((2, 3)))
    with pytest.raises(ValueError, match="holds points; expected"):
        find_scene(tmp_path, "s1")
    torch.save({"points": 1}, tmp_path / "s2.pth")
    with pytest.raises(ValueError, match="holds a dict of 1"):
        find_scene(tmp_path, "s2")
    (tmp_path / "s3").mkdir()
    with pytest.raises(ValueError, match="no segments with their instances"):
        find_scene(tmp_path, "s3")
    (tmp_path / "s4.pth").write_bytes(b"no zip, no pickle")
    with pytest.raises(ValueError, match="s4.pth"):
        find_scene(tmp_path, "s4")


# ------------------------------------------------------------------ answers


def answered(tmp_path, rows, answers, dialect="surprise3d"):
    labelled(tmp_path / "scenes")
    labelled(tmp_path / "scenes", "s1")
    (tmp_path / "answers").mkdir()
    for id, mask in answers.items():
        (tmp_path / "answers" / id).parent.mkdir(exist_ok=True)
        np.save(tmp_path / "answers" / f"{id}.npy", np.array(mask))
    return AnswersConfig(write(tmp_path / "q.json", rows), dialect, tmp_path / "scenes", tmp_path / "answers", tmp_path / "out")


def test_answers_are_scored_as_counted_by_hand(tmp_path, capsys):
    row = ROWS["surprise3d"]
    rows = [row, {**row, "scene_id": "s1", "question_type": "relative", "object_id": [0]}, {**row, "object_id": [2]}]
    config = answered(tmp_path, rows, {"s0/0": [False, False, True, False] + [False] * 4, "s1/1": [True] * 8})
    scored = run_answers(config)
    counted = {(a.id, a.intersection, a.union, a.is_missing) for a in scored}
    assert counted == {("s0/0", 1, 2, False), ("s1/1", 2, 8, False), ("s0/2", 0, 2, True)}
    text = (tmp_path / "out" / "answers.md").read_text()
    all_row = next(line for line in text.splitlines() if line.startswith("| all"))
    assert [cell.strip() for cell in all_row.split("|")[2:6]] == ["3", "0.333", "0.000", "0.250"]
    assert "| purpose" in text and "| relative" in text and "the whole scene" in text
    assert "1 queries have no answer" in text and text in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "results.json").read_text())["queries"][0]["num_points"] == 8


def test_reason3ds_report_says_that_its_truth_is_a_class(tmp_path):
    run_answers(answered(tmp_path, [ROWS["reason3d"]], {"s0/0": SEMANTIC == 5}, "reason3d"))
    text = (tmp_path / "out" / "answers.md").read_text()
    assert "CLASS mask" in text and "| all             | 1      | 1.000" in text


def test_answers_of_another_type_or_size_are_refused(tmp_path):
    config = answered(tmp_path, [ROWS["surprise3d"]], {"s0/0": [0.5] * 8})
    with pytest.raises(ValueError, match="holds float64 .*a boolean for each of 8 points"):
        run_answers(config)


def test_the_command_ends_with_2_and_one_sentence_where_a_file_is_missing(tmp_path, capsys):
    config = answered(tmp_path, [ROWS["surprise3d"]], {})
    arguments = ["reasoning", "answers", "--queries", str(tmp_path / "none.json"), "--format", "surprise3d", "--scenes", str(config.scenes),
                 "--answers", str(config.answers), "--out", str(config.out)]
    assert main(arguments) == 2
    assert "There is no file" in capsys.readouterr().err
    arguments[3] = str(config.queries)
    assert main(arguments) == 0
