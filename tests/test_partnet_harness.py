"""Objects are evaluated once each, wherever that is; what was done is kept, what is broken is listed, what differs is refused."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from test_partnet_kept import same

from eval.__main__ import main
from eval.partnet.compare import CompareConfig, run_compare
from eval.partnet.config import PartnetConfig, PictureConfig, PredictedConfig
from eval.partnet.made.faulty import broken_objects
from eval.partnet.made.procedural import write_objects
from eval.partnet.methods import METHODS
from eval.partnet.page.results import read_results
from eval.partnet.readers.find import find_objects
from eval.partnet.sampling import draw
from eval.partnet.work import harness
from eval.partnet.work.clearing import clear
from eval.partnet.work.harness import Task, absent_names, ending, evaluate, run_partnet
from eval.partnet.work.kept import folder_of, merged, methods_kept, read_record, write_record
from eval.partnet.work.provenance import differences
from semquery.labelling.asking import Unreachable

SMALL = PictureConfig(side=32, supersample=1, survey=24)
FLOORS = ("oracle", "retrieve-all", "random")


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    folder = tmp_path_factory.mktemp("objects")
    write_objects(folder, 3)
    return folder


@pytest.fixture(scope="module")
def done(objects, tmp_path_factory):
    """An evaluation that ran to its end."""
    config = PartnetConfig(objects, tmp_path_factory.mktemp("out"), methods=FLOORS, pictures=SMALL, absent=4, bootstrap=20)
    return config, run_partnet(config)


@pytest.fixture(autouse=True)
def without_report(monkeypatch):
    """Once, in `done`, the report is written; it takes longer than all else here."""
    monkeypatch.setattr("eval.partnet.page.report.write_report", lambda out: out / "report.html")


@pytest.fixture
def out(done, tmp_path):
    """A copy of it, to go on with."""
    shutil.copytree(done[0].out, tmp_path / "out")
    return replace(done[0], out=tmp_path / "out")


def stamps(config: PartnetConfig) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder_of(config.out).iterdir()}


def without_seconds(record):
    said = {name: replace(one, cost=replace(one.cost, seconds=0.0)) for name, one in record.said.items()}
    return replace(record, seconds=0.0, said=said)


# ------------------------------------------------------------------ one object


def test_a_record_holds_the_object_as_it_is_and_what_every_method_says(objects):
    reference = find_objects(objects)[0]
    config = PartnetConfig(objects, methods=FLOORS, pictures=SMALL)
    record = evaluate(Task(reference, config, FLOORS, ("wing", "Wing ", "tail")))
    assert [asked.kind for asked in record.asked] == ["name", "path", "phrase", "absent"] and record.asked[3].texts == ("wing", "tail")
    assert set(record.said) == set(FLOORS) and (record.said["oracle"].relevancy["name"] == record.asked[0].positive).all()
    p, atoms = record.holds.shape
    assert len(record.names) == len(record.parents) == len(record.pixels) == p and len(record.area) == atoms == len(record.points)
    assert record.overview.startswith(b"\x89PNG") and record.atom_of_pixel.max() < atoms and record.pixels[-1] > 0
    assert same(without_seconds(evaluate(Task(reference, config, FLOORS, ("wing", "tail")))), without_seconds(record))


# ------------------------------------------------------------------ many objects


def test_a_run_writes_records_sample_settings_results_and_report(done):
    config, results = done
    assert {path.name for path in config.out.iterdir()} >= {"objects", "sample.json", "settings.json", "results.json", "report.html"}
    written = json.loads((config.out / "results.json").read_text())
    assert written["scores"] == results["scores"] and written["methods"] == ["oracle", "retrieve-all", "random"]
    assert [entry["id"] for entry in written["objects"]] == [one["id"] for one in written["sample"]["objects"]]
    assert written["versions"]["numpy"] == np.__version__ and len(written["prompts"]) > 3 and written["broken"] == []
    assert written["models"] == {"vlm": None, "encoder": None, "picture_encoder": None} and written["config"]["seed"] == 0
    assert written["scores"]["oracle"]["paper"]["iou"]["peak"] == written["scores"]["oracle"]["paper"]["f1"]["peak"] == 1


def test_what_is_done_is_not_done_again(out, monkeypatch):
    before = stamps(out)
    monkeypatch.setattr(harness, "evaluate", lambda task: pytest.fail("evaluated anew"))
    run_partnet(out)
    assert stamps(out) == before


def test_missing_methods_are_added_and_the_others_left_as_they_are(out):
    before = {id: read_record(out.out, id) for id in _ids(out)}
    results = run_partnet(replace(out, methods=("true-names", "oracle")))
    for id, record in before.items():
        after = read_record(out.out, id)
        assert set(after.said) == {*FLOORS, "true-names"} and all(same(after.said[name], record.said[name]) for name in FLOORS)
    assert results["methods"] == ["true-names", *FLOORS] == list(results["scores"])  # all that every record holds, named now or before


def test_a_method_that_only_some_records_hold_is_told_and_not_shown(out, capsys):
    first = read_record(out.out, _ids(out)[0])
    write_record(out.out, replace(first, said={"oracle": first.said["oracle"]}))
    assert run_partnet(replace(out, methods=("oracle",)))["methods"] == ["oracle"]
    told = capsys.readouterr().out
    assert "random is not shown: 2 of 3 records have it; name it with --methods" in told and "oracle is not" not in told


def test_a_damaged_record_is_made_anew(out):
    id = _ids(out)[0]
    before = without_seconds(read_record(out.out, id))
    (folder_of(out.out) / f"{id}.npz").write_bytes(b"half")
    run_partnet(out)
    assert same(without_seconds(read_record(out.out, id)), before)


def test_other_settings_are_refused_by_name_and_overwrite_starts_anew(out):
    with pytest.raises(ValueError, match=r"other settings \(pictures.survey: 24 → 28; temperature: 10.0 → 5.0\).*--overwrite"):
        run_partnet(replace(out, temperature=5.0, pictures=replace(SMALL, survey=28)))
    (out.out / "notes.txt").write_text("mine")
    run_partnet(replace(out, temperature=5.0, methods=("oracle",), overwrite=True))
    assert all(methods_kept(out.out, id) == {"oracle"} for id in _ids(out)) and (out.out / "notes.txt").exists()


def test_overwrite_removes_what_the_evaluation_wrote_and_no_file_of_others(out):
    work = out.out / "trees" / "lamp-sam"
    theirs = [out.out / name for name in (
        "objects/notes.txt", "objects/mine.json", "objects/mine.npz", "predicted/mine.json", "trees/plan.txt", "trees/mine/object.json",
        "trees/lamp-sam/run/masks/notes.txt", "points/figure.svg", "answers/a.jsonl")]
    ours = [work / name for name in (
        "log.txt", "object.json", "scene/mesh.ply", "scene/images/v.png", "scene/heldout/truth/v.npz", "run/run.jsonl", "run/masks/v.npz",
        "run/views/0/1.png", "run/parts.npz")]
    ours += [out.out / "points" / "results.json", out.out / "predicted" / "lamp.json", folder_of(out.out) / f"{_ids(out)[0]}.npz"]
    for path in (*theirs, *ours):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("[1]")
    (out.out / "predicted" / "lamp.json").write_text('{"masks": "sam"}')
    (work / "object.json").write_text('{"object": "lamp", "masks": "sam"}')
    clear(out.out)
    assert [path for path in theirs if not path.exists()] == [] and [path for path in ours if path.exists()] == []
    left = {path for path in out.out.rglob("*") if path.is_file()}
    assert left == {*theirs, out.out / "settings.json"} and not (work / "scene").exists()


def test_nothing_of_an_evaluation_is_left_when_it_is_cleared_but_settings(out):
    clear(out.out)
    assert [path.name for path in out.out.iterdir()] == ["settings.json"]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name, sentence", [
    ("results.json", "holds results.json and no settings.json, .*another --out"),
    ("settings.json", "settings.json is damaged, or of another program .*another --out"),
])
def test_files_of_another_program_are_left_and_refused(out, tmp_path, name, sentence, overwrite):
    theirs = tmp_path / "theirs" / name
    theirs.parent.mkdir()
    theirs.write_text('{"editor.tabSize": 4}')
    with pytest.raises(ValueError, match=sentence):
        run_partnet(replace(out, out=theirs.parent, overwrite=overwrite))
    assert theirs.read_text() == '{"editor.tabSize": 4}' and list(theirs.parent.iterdir()) == [theirs]


def test_settings_bind_only_when_there_is_a_record(out):
    shutil.rmtree(folder_of(out.out))
    assert run_partnet(replace(out, num_objects=2))["objects"][1:] and len(_ids(out)) == 2


def test_how_fast_and_what_is_scored_may_change(out):
    before = (out.out / "results.json").read_bytes(), stamps(out)
    by_points = run_partnet(replace(out, bootstrap=10, domain="points"))
    assert ((out.out / "results.json").read_bytes(), stamps(out)) == before  # the same records, numbers of their own
    by_area, written = read_results(out.out), read_results(out.out / "points")
    assert written["config"]["domain"] == "points" and written["scores"] == by_points["scores"] != by_area["scores"]
    told = run_compare(CompareConfig(out.out, out.out / "points", out=out.out / "compared", bootstrap=5))
    assert told["objects"] == _ids(out) and ["domain", "area", "points"] in told["settings"]


def test_a_model_that_was_not_used_agrees_with_any():
    was, now = ({"models": {"vlm": vlm, "encoder": "a"}, "tree": "raw"} for vlm in (None, "Qwen"))
    assert differences(was, now) == []
    assert differences(now, now | {"models": {"vlm": "Llama", "encoder": "a"}}) == ["models.vlm: Qwen → Llama"]
    assert differences(was, was | {"seed": 1}) == ["seed: None → 1"]


def test_broken_objects_are_listed_and_the_others_go_on(objects, tmp_path, monkeypatch, capsys):
    data = tmp_path / "data"
    shutil.copytree(objects, data)
    unreadable, hated, *_ = (path for path in sorted(data.iterdir()) if path.is_dir())
    (unreadable / "result.json").write_text("[{")
    def picky(shown, asked, backends):
        if shown.thing.id == hated.name:
            raise ValueError("This one cannot be said anything of.")
        return METHODS["random"](shown, asked, backends)
    monkeypatch.setitem(METHODS, "oracle", picky)
    results = run_partnet(PartnetConfig(data, tmp_path / "out", methods=("oracle",), pictures=SMALL, bootstrap=10))
    written = json.loads((tmp_path / "out" / "results.json").read_text())
    reasons = {one["id"]: one["reason"] for one in written["broken"]}
    assert set(reasons) == {unreadable.name, hated.name} and "result.json" in reasons[unreadable.name]
    assert reasons[hated.name] == "This one cannot be said anything of." and len(results["objects"]) == 1
    told = capsys.readouterr().out
    assert all(f"broken: {id}: {reason}" in told for id, reason in reasons.items())


def test_of_objects_with_one_fault_each_the_hopeless_are_listed_and_the_strange_measured(tmp_path):
    broken_objects(tmp_path / "data")
    config = PartnetConfig(tmp_path / "data", tmp_path / "out", methods=("oracle", "true-names"), pictures=SMALL, bootstrap=10)
    results = run_partnet(config)
    left_out = {one["id"] for one in json.loads((config.out / "results.json").read_text())["broken"]}
    measured = {entry["id"] for entry in results["objects"]}
    assert {"sound", "names-in-other-scripts", "empty-part", "nan-vertices"} <= measured and not measured & left_out
    assert {"truncated-tree", "duplicated-ids", "endless-nesting", "mesh-outside"} <= left_out
    assert results["scores"]["oracle"]["paper"]["iou"]["peak"] == results["scores"]["oracle"]["paper"]["f1"]["peak"] == 1


def test_where_every_object_is_broken_the_first_reason_is_told(objects, tmp_path, monkeypatch):
    def never(shown, asked, backends):
        raise ValueError("Nothing can be said.")
    monkeypatch.setitem(METHODS, "oracle", never)
    with pytest.raises(ValueError, match="None of 3 objects could be evaluated. The first: Nothing can be said."):
        run_partnet(PartnetConfig(objects, tmp_path / "out", methods=("oracle",), pictures=SMALL))


@pytest.mark.parametrize("error", [Unreachable("The model does not answer."), KeyboardInterrupt()])
def test_a_run_that_ends_early_keeps_what_is_done_and_goes_on_from_there(objects, tmp_path, monkeypatch, done, error):
    config = replace(done[0], out=tmp_path / "out")
    asked = []
    def dying(shown, given, backends):
        asked.append(shown.thing.id)
        if len(asked) == 2:
            raise error
        return METHODS["retrieve-all"](shown, given, backends)
    with monkeypatch.context() as patch:
        patch.setitem(METHODS, "oracle", dying)
        with pytest.raises(type(error)):
            run_partnet(replace(config, methods=("oracle",)))
        assert [id for id in _ids(config) if methods_kept(config.out, id)] == asked[:1] and not (config.out / "results.json").exists()
    run_partnet(config)
    assert (read_record(config.out, asked[0]).said["oracle"].relevancy["name"] == 1).all()  # as it was kept
    now, then = ([without_seconds(read_record(out, id)) for id in _ids(config)] for out in (config.out, done[0].out))
    assert [id for id, one, other in zip(_ids(config), now, then, strict=True) if not same(one, other)] == asked[:1]


def test_in_several_processes_records_are_the_same_but_for_seconds(done, tmp_path):
    config = replace(done[0], out=tmp_path / "out", workers=2)
    run_partnet(config)
    for id in _ids(config):
        assert same(without_seconds(read_record(config.out, id)), without_seconds(read_record(done[0].out, id)))


def test_data_that_changed_since_it_was_drawn_is_refused(objects, tmp_path, done):
    data = tmp_path / "data"
    shutil.copytree(objects, data)
    shutil.copytree(done[0].out, tmp_path / "out")
    id = _ids(done[0])[0]
    (data / id / "meta.json").write_text((data / id / "meta.json").read_text() + " ")
    with pytest.raises(ValueError, match=f"object {id} .*has changed"):
        run_partnet(replace(done[0], data=data, out=tmp_path / "out"))


def test_records_of_different_trees_are_not_mixed(done):
    record = read_record(done[0].out, _ids(done[0])[0])
    assert same(merged(None, record), record) and set(merged(record, replace(record, said={})).said) == set(FLOORS)
    with pytest.raises(ValueError, match="no longer what its record says"):
        merged(record, replace(record, names=("x", *record.names[1:])))


def test_the_last_line_counts_objects_and_says_why_where_half_or_more_are_left_out(tmp_path):
    assert ending(1, [], tmp_path) == f"1 object, 0 left out: {tmp_path}"
    assert ending(3, ["broken"], tmp_path) == f"3 objects, 1 left out: {tmp_path}"
    assert ending(1, ["broken", "gone"], tmp_path) == f"1 object, 2 left out (the first: broken): {tmp_path}"


def test_a_worker_that_dies_is_told(objects, tmp_path, monkeypatch, capsys):
    def dying(work, tasks, workers, died):
        died(1)
        return enumerate(map(work, tasks))
    monkeypatch.setattr(harness, "each", dying)
    config = PartnetConfig(objects, tmp_path / "out", methods=("oracle",), pictures=SMALL, bootstrap=5)
    run_partnet(config)
    assert f"a worker died; {_ids(config)[1]} is begun again" in capsys.readouterr().out


# ------------------------------------------------------------------ absent names


def test_absent_names_are_others_names_and_do_not_depend_on_the_order(objects):
    references = find_objects(objects)
    sample = draw(references, 3, 0)
    found = absent_names(sample, 5, 0)
    own = {id: set(read.names) for id, read in ((ref.id, harness.read_object(ref, "raw")) for ref in references)}
    for id, names in found.items():
        assert len(set(names)) == 5 and not set(names) & own[id] and all(any(name in own[other] for other in own) for name in names)
    turned = replace(sample, references=sample.references[::-1], objects=sample.objects[::-1])
    assert absent_names(turned, 5, 0) == found != absent_names(sample, 5, 1)
    assert absent_names(sample, 0, 0) == dict.fromkeys(found, ()) and max(map(len, absent_names(sample, 10**6, 0).values())) < 10**3


# ------------------------------------------------------------------ found trees


def test_found_trees_are_kept_averaged_and_not_found_twice(out, monkeypatch):
    from eval.partnet import predicted

    class Found:
        def __init__(self, id):
            self.id = id

        def as_json(self):
            return {"masks": "sam", "nc": float(len(self.id)), "purity": None, "miou": [0.0, 1.0]}

    calls, (first, *_) = [], _ids(out)
    def predict(thing, config, folder):
        calls.append((thing.id, folder.parent.name))
        if thing.id == first:
            raise ValueError("There is no tree in it.")
        return Found(thing.id)
    monkeypatch.setattr(predicted, "predict", predict)
    for _ in range(2):
        run_partnet(replace(out, predicted="sam"))
    written = json.loads((out.out / "results.json").read_text())["predicted"]
    assert calls == [(id, "trees") for id in _ids(out)] + [(first, "trees")]  # what failed is tried again
    assert written["kind"] == "sam" and set(written["objects"]) == set(_ids(out)[1:])
    assert written["means"]["nc"]["value"] == len(first) and written["means"]["purity"]["value"] is None and "miou" not in written["means"]


# ------------------------------------------------------------------ the command


def test_the_command_runs_and_says_in_one_line_what_is_wrong(objects, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    floors = ["--methods", "oracle", "--pictures.survey", "24", "--bootstrap", "5"]
    assert main(["partnet", "--data", str(objects), "--out", str(tmp_path / "out"), *floors]) == 0
    assert "oracle" in capsys.readouterr().out
    for arguments, message in (
        (["--data", str(tmp_path / "nowhere")], "nowhere does not exist"),
        (["--data", str(objects), "--out", str(tmp_path / "file")], "file is a file; --out is a folder"),
        (["--data", str(objects), "--methods", "clip-crop"], "clip-crop compares pictures"),
        (["--data", str(objects), "--workers", "2", "--ray", "local"], "give one of them"),
        (["--data", str(objects), "--out", str(tmp_path / "out"), "--seed", "1", *floors], "other settings (seed: 0 → 1"),
    ):
        given = arguments if "--out" in arguments else [*arguments, "--out", str(tmp_path / "none")]
        assert main(["partnet", *given]) == 2
        told = capsys.readouterr().err.strip()
        assert message in told and told.startswith("eval: ")


def test_an_option_out_of_range_is_named_alone_before_anything_is_written(objects, tmp_path):
    for options, sentence in (
        ({"seed": -1}, "--seed is -1; give 0 or more."), ({"workers": 0}, "--workers is 0; give 1 or more."),
        ({"absent": -1, "bootstrap": 0}, "--bootstrap is 0; give 1 or more. --absent is -1; give 0 or more."),
        ({"alpha": 1.5}, "--alpha is 1.5; give a share within 0..1."), ({"simulated": (0.5, 2.0)}, "--simulated is 0.5 2; give two shares"),
        ({"temperature": float("nan")}, "--temperature is nan; give a number above 0."),
    ):
        with pytest.raises(ValueError, match=f"^{re.escape(sentence)}"):
            PartnetConfig(objects, tmp_path / "out", **options)
    with pytest.raises(ValueError, match="^--pictures.side is 8; give 16 or more.$"):
        PictureConfig(side=8)
    with pytest.raises(ValueError, match="^--predict.steps is 0; give 1 or more.$"):
        PredictedConfig(steps=0)


@pytest.mark.parametrize("command", [["partnet", "--data"], ["objects"], ["trees"], ["queries"], ["compare", "a", "b"]])
@pytest.mark.parametrize("below", ["file", "file/below"])
def test_a_folder_that_cannot_be_written_to_is_told_before_any_work(objects, tmp_path, capsys, monkeypatch, command, below):
    (tmp_path / "file").write_text("")
    given = [*command, str(objects)] if command[-1] == "--data" else command
    assert main([*given, "--out", str(tmp_path / below)]) == 2
    assert "file; --out is a folder" in capsys.readouterr().err

    def refused(*_, **__):
        raise OSError(30, "Read-only file system")
    monkeypatch.setattr("eval.__main__.TemporaryDirectory", refused)
    assert main([*given, "--out", str(tmp_path / "new")]) == 2
    assert capsys.readouterr().err == f"eval: Nothing can be written to {tmp_path / 'new'} (Read-only file system); give another --out.\n"


def test_a_disk_that_is_full_in_the_middle_is_told_in_one_line(objects, tmp_path, capsys, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", "object.npz")
    monkeypatch.setattr(harness, "write_record", full)
    floors = ["--methods", "oracle", "--pictures.survey", "24", "--bootstrap", "5"]
    assert main(["partnet", "--data", str(objects), "--out", str(tmp_path / "out"), *floors]) == 2
    assert "eval: object.npz: No space left on device" in capsys.readouterr().err


def _ids(config: PartnetConfig) -> list[str]:
    return [one["id"] for one in json.loads((config.out / "sample.json").read_text())["objects"]]
