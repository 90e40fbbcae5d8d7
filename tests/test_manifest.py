"""The record of stages: what is skipped, resumed, refused and cleared."""

import json
from pathlib import Path

import pytest

from semquery.manifest import FORMAT, OUTPUTS, Manifest, RunError, append_line, as_config, atomic, sha256
from semquery.masks import Regions
from semquery.query import QueryConfig
from semquery.text import Lexical


@pytest.fixture
def run(tmp_path) -> Manifest:
    return Manifest(tmp_path)


def test_a_stage_runs_once_and_is_skipped_while_its_inputs_stay(run):
    (run.path / "parts.npz").write_text("parts")
    assert run.begin("encode", {"dim": 4}, inputs=("parts.npz",))
    for output in OUTPUTS["encode"]:
        (run.path / output).write_text("made")
    run.done("encode", 1.234, seed=3, rows=9)
    assert not run.begin("encode", {"dim": 4}, inputs=("parts.npz",))
    last = run.stage("encode")
    assert (last["event"], last["seconds"], last["seed"], last["rows"], last["outputs"]) == ("done", 1.23, 3, 9, list(OUTPUTS["encode"]))
    assert last["versions"]["numpy"] and last["inputs"] == {"parts.npz": sha256(run.path / "parts.npz")}
    assert [line["event"] for line in run.manifest()] == ["start", "done"]


def test_an_interrupted_stage_is_resumed_without_a_second_start(run):
    assert run.begin("fit", {"steps": 1}) and run.begin("fit", {"steps": 1})
    assert [line["event"] for line in run.manifest()] == ["start"]


def test_a_stage_whose_output_was_deleted_runs_again(run):
    run.begin("encode", {})
    (run.path / "codebook.npz").write_text("made")
    run.done("encode", 0.0)
    (run.path / "codebook.npz").unlink()
    assert run.begin("encode", {}) and run.stage("encode")["event"] == "start"


def test_what_changed_is_named_whether_configuration_or_input(run):
    (run.path / "labels.jsonl").write_text("a")
    run.begin("encode", Lexical(dim=64), inputs=("labels.jsonl",))
    with pytest.raises(RunError, match=r"made from something else \(dim: 64 → 128\).*--overwrite"):
        run.begin("encode", Lexical(dim=128), inputs=("labels.jsonl",))
    (run.path / "labels.jsonl").write_text("b")
    with pytest.raises(RunError, match=r"\(inputs.labels.jsonl: ca978112ca1b → 3e23e8160039\)"):
        run.begin("encode", Lexical(dim=64), inputs=("labels.jsonl",))
    with pytest.raises(RunError, match="class: Lexical → QueryConfig"):
        run.begin("encode", QueryConfig(), inputs=("labels.jsonl",))


def test_overwrite_clears_what_the_stage_made_and_nothing_else(run):
    (run.path / "keep.txt").write_text("mine")
    run.begin("label", {"a": 1})
    (run.path / "labels.jsonl").write_text("old")
    (run.path / "views" / "3").mkdir(parents=True)
    run.done("label", 0.0)
    assert run.begin("label", {"a": 2}, overwrite=True)
    assert sorted(p.name for p in run.path.iterdir()) == ["keep.txt", "run.jsonl"]
    assert run.stage("label")["config"] == {"a": 2}


def test_a_stage_of_an_older_format_is_refused(run):
    append_line(run.path / "run.jsonl", {"stage": "tree", "event": "done", "format": FORMAT - 1, "config": {}, "inputs": {}, "outputs": []})
    with pytest.raises(RunError, match=rf"\(format: {FORMAT - 1} → {FORMAT}\).*--overwrite"):
        run.begin("tree", {})
    assert run.begin("tree", {}, overwrite=True)


def test_inputs_that_changed_after_a_stage_are_noticed(run):
    (run.path / "labels.jsonl").write_text("a")
    run.check_current("encode")
    run.begin("encode", {}, inputs=("labels.jsonl",))
    run.done("encode", 0.0)
    run.check_current("encode")
    (run.path / "labels.jsonl").write_text("b")
    with pytest.raises(RunError, match="labels.jsonl changed since `semquery encode` was run.*--overwrite"):
        run.check_current("encode")


@pytest.mark.parametrize("torn", [b'{"stage": "fit", "ev', '{"stage": "fit", "what": "3 ×'.encode()[:-1], b"\xff\xfe"])
def test_a_last_line_cut_off_by_a_crash_spoils_neither_what_is_before_nor_after(run, torn):
    run.begin("masks", {})
    with (run.path / "run.jsonl").open("ab") as file:
        file.write(torn)
    assert [line["stage"] for line in run.manifest()] == ["masks"]
    run.begin("tree", {})
    assert [line["stage"] for line in run.manifest()] == ["masks", "tree"]


def test_configurations_are_plain_json_with_their_class():
    config = as_config({"source": Regions(scales=(1.0, 2.0)), "path": Path("a"), "none": None})
    assert config["source"]["class"] == "Regions" and config["source"]["scales"] == [1.0, 2.0]
    assert isinstance(config["path"], str) and json.loads(json.dumps(config)) == config


def test_a_failed_write_leaves_the_old_file_and_nothing_else(run):
    path = run.path / "deep" / "file.txt"
    with atomic(path) as temporary:
        temporary.write_text("old")
    with pytest.raises(KeyError, match="crash"), atomic(path) as temporary:
        temporary.write_text("half")
        raise KeyError("crash")
    assert path.read_text() == "old" and [p.name for p in path.parent.iterdir()] == ["file.txt"]


def test_of_many_differences_three_are_named_and_the_others_counted(run):
    photos = {f"view{k:02d}": f"{k:08x}" for k in range(40)}
    run.begin("masks", {"photos": photos})
    with pytest.raises(RunError, match=r"\(photos.view00: 00000000 → None; [^;]*; [^;]*; and 37 more\)"):
        run.begin("masks", {"photos": {}})
    run.begin("encode", {"negatives": ["thing"] * 500})
    with pytest.raises(RunError) as caught:
        run.begin("encode", {"negatives": ["stuff"] * 500})
    assert len(str(caught.value)) < 500
