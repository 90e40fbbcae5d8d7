"""Two evaluations compared: the same numbers as scoring gives, by hand where that is easy, and a sentence for what cannot be compared."""

import json

import numpy as np
import pytest
from partnet_written import changed, record_of, written

from eval.__main__ import main
from eval.metrics.retrieval import THRESHOLDS
from eval.partnet.compare import CompareConfig, _gain, common_objects, different_settings, run_compare
from eval.partnet.numbers.paired import side_of
from eval.partnet.numbers.scoring import write_results
from eval.partnet.page.results import curve, read_results, span

SMALL = {"bootstrap": 60}


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluation")
    return out, written(out)


def compare(a, b, out, *methods):
    return run_compare(CompareConfig(a, b, methods, out, **SMALL))


def rewritten(folder, results):
    folder.mkdir(exist_ok=True)
    write_results(folder, results)
    return folder


def test_an_evaluation_compared_with_itself_differs_in_nothing(evaluation, tmp_path):
    told = compare(evaluation[0], evaluation[0], tmp_path)
    assert list(told["methods"]) == evaluation[1]["methods"] and told["settings"] == []
    for entry in told["methods"].values():
        assert {entry[key][way]["value"] for key in ("iou", "f1") for way in ("fixed", "remaximised", "cross_fitted")} == {0.0}
        assert set(entry["per_object"]) == {0.0}
        assert entry["iou"]["fixed"] == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_two_methods_of_one_folder_differ_by_what_scoring_says(evaluation, tmp_path):
    (entry,) = compare(evaluation[0], evaluation[0], tmp_path, "cot", "clip-crop")["methods"].values()
    scored = evaluation[1]["differences"]["clip-crop"]
    for key in ("iou", "f1"):
        for way in ("fixed", "remaximised", "cross_fitted"):
            assert span(entry[key][way]) == pytest.approx(span(scored[key][way]), abs=2e-5)
    for key in ("average_precision", "top1", "propagation", "auroc"):
        assert span(entry[key]["gain"]) == pytest.approx(span(scored[key]), abs=2e-5, nan_ok=True)


def test_swapping_the_sides_turns_every_sign(evaluation, tmp_path):
    there, back = (next(iter(compare(evaluation[0], evaluation[0], tmp_path, *pair)["methods"].values()))
                   for pair in (("cot", "random"), ("random", "cot")))
    for key in ("iou", "f1"):
        value, low, high = span(there[key]["fixed"])
        assert span(back[key]["fixed"]) == pytest.approx((-value, -high, -low))
    assert there["per_object"] == [-value for value in back["per_object"]]


def test_a_gain_that_every_object_has_is_found_without_any_doubt(evaluation, tmp_path):
    _, results = evaluation
    better = results
    for entry in results["objects"]:
        better = changed(better, entry["id"], "cot", iou=[value + 0.125 for value in entry["methods"]["cot"]["iou"]])
    told = compare(evaluation[0], rewritten(tmp_path / "b", better), tmp_path / "out")["methods"]["cot"]
    assert told["iou"]["fixed"] == {key: pytest.approx(0.125) for key in ("value", "low", "high")}
    assert told["per_object"] == [pytest.approx(0.125)] * 3 and told["f1"]["fixed"]["value"] == 0


def test_by_hand_of_two_objects_whose_best_thresholds_differ(evaluation, tmp_path):
    _, results = evaluation
    first, second = np.zeros(101), np.zeros(101)
    first[20], second[60] = 0.5, 0.75
    ids = [entry["id"] for entry in results["objects"]][:2]
    a = {**results, "objects": results["objects"][:2]}
    b = a
    for id in ids:
        a, b = changed(a, id, "cot", iou=first.tolist()), changed(b, id, "cot", iou=second.tolist())
    told = compare(rewritten(tmp_path / "a", a), rewritten(tmp_path / "b", b), tmp_path / "out", "cot", "cot")["methods"]["cot"]
    assert told["iou"]["a"] == {"peak": 0.5, "at": THRESHOLDS[20], "cross_fitted": 0.5}
    assert told["iou"]["b"] == {"peak": 0.75, "at": THRESHOLDS[60], "cross_fitted": 0.75}
    assert told["per_object"] == [0.25, 0.25]


def test_only_objects_that_both_have_are_compared_whatever_their_order(evaluation, tmp_path, capsys):
    out, results = evaluation
    fewer = rewritten(tmp_path / "b", {**results, "objects": results["objects"][:0:-1]})
    told = compare(out, fewer, tmp_path / "out")
    assert told["objects"] == [entry["id"] for entry in results["objects"][1:]] and told["only_a"] == 1 and told["only_b"] == 0
    assert set(told["methods"]["cot"]["per_object"]) == {0.0}
    assert "2 common objects (1 only in A, 0 only in B)" in capsys.readouterr().out


def test_objects_without_an_overlap_to_measure_are_left_out_of_miou_alone(evaluation, tmp_path):
    out, results = evaluation
    id = results["objects"][0]["id"]
    unmeasured = rewritten(tmp_path / "a", changed(results, id, "cot", iou=[None] * 101))
    told = compare(unmeasured, out, tmp_path / "out", "cot", "cot")["methods"]["cot"]
    assert told["per_object"] == [None, 0.0, 0.0] and told["iou"]["fixed"]["value"] == 0.0


def test_what_is_written_is_what_is_told(evaluation, tmp_path, capsys):
    told = compare(evaluation[0], evaluation[0], tmp_path, "cot", "oracle")
    assert json.loads((tmp_path / "compare.json").read_text()) == told
    assert (tmp_path / "compare.png").read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    gain = told["methods"]["cot → oracle"]["iou"]["fixed"]
    assert f"{gain['value']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]*" in printed


@pytest.mark.parametrize("low, high, shown", [
    (0.0123, 0.05, "+0.031 [+0.012, +0.050]*"),
    (0.0004, 0.05, "+0.031 [+0.0004, +0.050]*"),
    (-0.00002, 0.05, "+0.031 [-0.00002, +0.050]"),
    (0.0, 0.05, "+0.031 [+0.000, +0.050]"),
    (1e-17, 0.05, "+0.031 [+0.000, +0.050]"),  # the noise of adding up is no difference
    (None, None, "+0.031"),
])
def test_a_bound_that_is_not_0_does_not_read_as_0(low, high, shown):
    assert _gain({"value": 0.031, "low": low, "high": high}) == shown


def test_by_default_a_comparison_has_a_folder_of_its_own(evaluation, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    out = rewritten(tmp_path / "runs", evaluation[1])
    named = {(): "runs-vs-runs", ("cot", "oracle"): "runs-cot-vs-runs-oracle", ("oracle", "cot"): "runs-oracle-vs-runs-cot"}
    for methods, folder in named.items():
        assert CompareConfig(out, out / "results.json", methods).out.as_posix() == f"partnet-compare/{folder}"
    assert main(["compare", "runs", "runs", "--methods", "cot", "oracle", "--bootstrap", "20"]) == 0
    printed = capsys.readouterr().out
    assert (tmp_path / "partnet-compare/runs-cot-vs-runs-oracle/compare.json").is_file() and "in place of" not in printed
    assert "partnet-compare/runs-cot-vs-runs-oracle/compare.json" in printed
    assert "* the interval, 95 % over objects, does not hold 0" in printed


def test_a_comparison_that_takes_the_place_of_another_says_so(evaluation, tmp_path, capsys):
    out = evaluation[0]
    for _ in range(2):
        compare(out, out, tmp_path, "cot", "oracle")
        assert "in place of" not in capsys.readouterr().out
    compare(out, out, tmp_path, "cot", "random")
    assert f"(in place of the comparison of {out} with {out} (cot → oracle), which was there)" in capsys.readouterr().out
    compare(out, out, tmp_path, "cot", "random")
    assert "in place of" not in capsys.readouterr().out
    (tmp_path / "compare.json").write_text("[1, 2]")
    compare(out, out, tmp_path, "cot", "random")
    assert "(in place of a file that is no comparison, which was there)" in capsys.readouterr().out


def test_other_settings_are_told_and_those_that_change_the_questions_are_warnings(evaluation, tmp_path, capsys):
    out, results = evaluation
    config = {**results["config"], "domain": "points", "vlm": {"class": "QwenVl"}, "out": "elsewhere"}
    b = {**results, "config": config, "models": {"vlm": "QwenVl", "encoder": None}}
    assert [key for key, _, _ in different_settings(results, b)] == ["domain", "vlm", "models"]
    compare(out, rewritten(tmp_path / "b", b), tmp_path / "out")
    printed = capsys.readouterr().out
    assert 'warning: domain is "area" in A and "points" in B' in printed
    assert 'note: models is {"vlm": "Appearance"} in A and {"vlm": "QwenVl"} in B' in printed and "elsewhere" not in printed


def test_a_side_holds_the_objects_own_numbers(evaluation):
    _, results = evaluation
    ids = common_objects(results, results)
    side = side_of(results, "cot", ids)
    entry = results["objects"][1]["methods"]["cot"]
    assert np.array_equal(side.iou[1], curve(entry["iou"])) and side.counts[1, 2].tolist() == entry["fn"]
    assert side.propagation[1].tolist() == entry["propagation"] and side.absent[1].tolist() == entry["absent"]


# ------------------------------------------------------------------ what cannot be compared


def test_no_common_object_is_refused_with_what_each_side_has(evaluation, tmp_path):
    other = tmp_path / "other"
    written(other, [record_of("microwave"), record_of("cabinet")])
    with pytest.raises(ValueError, match=r"no object in common: A has 3 \(lamp.*B has 2 \(cabinet"):
        compare(evaluation[0], other, tmp_path)


def test_objects_whose_files_changed_are_refused(evaluation, tmp_path):
    out, results = evaluation
    sample = {**results["sample"], "objects": [{**drawn, "sha256": "f" * 64} for drawn in results["sample"]["objects"]]}
    with pytest.raises(ValueError, match="3 of 3 common objects are not the same .*scissors.*evaluate both on the same data"):
        compare(out, rewritten(tmp_path / "b", {**results, "sample": sample}), tmp_path)


def test_objects_of_one_tree_with_other_nodes_are_refused_and_of_another_tree_only_told(evaluation, tmp_path):
    out, results = evaluation
    b = {**results, "objects": [{**entry, "nodes": entry["nodes"] + 1} for entry in results["objects"]]}
    with pytest.raises(ValueError, match="3 of 3 common objects are not the same"):
        compare(out, rewritten(tmp_path / "b", b), tmp_path)
    merged = {**b, "config": {**b["config"], "tree": "merged"}}
    assert compare(out, rewritten(tmp_path / "b", merged), tmp_path)["settings"] == [["tree", "raw", "merged"]]


@pytest.mark.parametrize("change, sentence", [
    ({"version": 2}, "is of version 2, this program reads 1"),
    ({"thresholds": [0.0, 0.5]}, "A was measured at 101 thresholds and B at 2 others"),
    ({"methods": ["hybrid"]}, "No method is in both: A has cot, .*, B has hybrid; name one of each"),
])
def test_evaluations_that_do_not_fit_are_refused(evaluation, tmp_path, change, sentence):
    with pytest.raises(ValueError, match=sentence):
        compare(evaluation[0], rewritten(tmp_path / "b", {**evaluation[1], **change}), tmp_path)


def test_a_method_that_is_named_and_missing_is_refused(evaluation, tmp_path):
    with pytest.raises(ValueError, match="B has no method 'hybrid'; it has cot, clip-crop"):
        compare(evaluation[0], evaluation[0], tmp_path, "cot", "hybrid")
    with pytest.raises(ValueError, match="names 1 methods; give two"):
        CompareConfig(tmp_path, tmp_path, ("cot",))


@pytest.mark.parametrize("content, sentence", [
    (None, "There is no .*results.json; give the --out"),
    ('{"version": 1, "objects": [{"id": "lam', "cannot be read as JSON .*cut short"),
    ("\x00\x01", "cannot be read as JSON"),
    ("[1, 2]", "is no results.json of `python -m eval partnet`: it does not say its version"),
    ('{"version": 1, "config": {}}', "has no sample, thresholds, methods"),
])
def test_what_is_no_results_file_is_refused(tmp_path, content, sentence):
    if content is not None:
        (tmp_path / "results.json").write_text(content)
    with pytest.raises(ValueError, match=sentence):
        read_results(tmp_path)


def test_a_folder_and_its_file_are_the_same(evaluation):
    assert read_results(evaluation[0]) == read_results(evaluation[0] / "results.json")


def test_the_command_compares_and_says_in_one_line_what_is_wrong(evaluation, tmp_path, capsys):
    out = str(evaluation[0])
    assert main(["compare", out, out, "--methods", "cot", "oracle", "--out", str(tmp_path), "--bootstrap", "20"]) == 0
    assert "cot → oracle" in capsys.readouterr().out
    (tmp_path / "file").write_text("")
    assert main(["compare", out, out, "--out", str(tmp_path / "file"), "--bootstrap", "20"]) == 2
    assert capsys.readouterr().err.startswith(f"eval: {tmp_path / 'file'} is a file")
    assert main(["compare", str(tmp_path), out]) == 2
    assert capsys.readouterr().err.startswith("eval: There is no ")
