"""Records become numbers as the protocol says: against loops over sets, by hand, and by what must hold of any."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from eval.bench.scoring import simulated_record, simulated_records
from eval.metrics.retrieval import THRESHOLDS
from eval.objects import SCENES
from eval.partnet.numbers.measured import PIXELS, SIZES, binned, measure
from eval.partnet.numbers.pooling import calibration_table
from eval.partnet.numbers.scoring import plain, score, table, write_results
from eval.partnet.numbers.variants import VARIANTS, asked_for, chosen
from eval.partnet.records import Cost, Record, Said, asked_of, object_of

METHODS = ("cot", "oracle", "retrieve-all", "random", "mute")


def said_by(asked, p: int, relevancy) -> Said:
    return Said({one.kind: relevancy(one.positive).astype(np.float32) for one in asked}, cost=Cost(calls=p, seconds=0.5))


def record_of(name: str) -> Record:
    """A procedural object of which oracle, floors and a method in between speak; `mute` is asked names alone and names nothing right."""
    thing = object_of(SCENES[name](), name)
    asked, p = asked_of(thing, ("wing", "tail fin")), len(thing.parents)
    rng = np.random.default_rng(len(name))
    said = {
        "cot": said_by(asked, p, lambda positive: np.where(rng.random((p, 1)) < 0.7, positive, rng.random(positive.shape)) * 0.9),
        "oracle": said_by(asked, p, lambda positive: positive), "retrieve-all": said_by(asked, p, np.ones_like),
        "random": said_by(asked, p, lambda positive: rng.random(positive.shape)),
        "mute": Said({"name": np.zeros((p, len(asked[0].texts)), np.float32), "absent": np.zeros((p, 2), np.float32)}, ("",) * p),
    }
    said["cot"] = replace(said["cot"], names=tuple("drawer" if k % 3 == 0 else name for k, name in enumerate(thing.names)),
                          synonyms=tuple((name,) if k % 6 == 0 else () for k, name in enumerate(thing.names)), confidence=(0.75,) * p)
    return Record(name, thing.category, name, "procedural", "raw", thing.ids, thing.names, thing.parents, thing.is_type, thing.holds,
                  thing.area, thing.points, np.arange(p), asked, said)


@pytest.fixture(scope="module")
def records():
    return [record_of(name) for name in ("scissors", "lamp", "cabinet")]


@pytest.fixture(scope="module")
def results(records):
    return score(records, METHODS, bootstrap=200)


def mean(values):
    return sum(values) / len(values)


# ------------------------------------------------------------------ the protocol, by sets and loops


def curves_by_sets(records, method: str, t: float) -> tuple[float, float]:
    """(mIoU over objects, micro-F1) at one threshold."""
    of_objects, tp, fp, fn = [], 0, 0, 0
    for record in records:
        holds = [set(np.flatnonzero(row)) for row in record.holds]
        asked, ious = record.asked[0], []
        for k in range(len(asked.texts)):
            meant = {v for v, name in enumerate(record.names) if name == asked.texts[k]}
            found = {v for v in range(len(holds)) if float(record.said[method].relevancy["name"][v, k]) > t}
            truth, got = set().union(*(holds[v] for v in meant)), set().union(*(holds[v] for v in found))
            weigh = lambda atoms: sum(record.area[a] for a in atoms)  # noqa: E731
            ious.append(weigh(truth & got) / weigh(truth | got))
            tp, fp, fn = tp + len(meant & found), fp + len(found - meant), fn + len(meant - found)
        of_objects.append(mean(ious))
    return mean(of_objects), 2 * tp / (2 * tp + fp + fn)


@pytest.mark.parametrize("method", METHODS)
def test_curves_are_those_of_sets_and_loops(records, results, method):
    entry = results["scores"][method]["paper"]
    for k in (0, 20, 50, 85, 100):
        iou, f1 = curves_by_sets(records, method, THRESHOLDS[k])
        assert (entry["iou"]["curve"][k], entry["f1"]["curve"][k]) == pytest.approx((iou, f1), abs=1e-5)


def test_the_oracle_is_exactly_one_in_every_variant(results):
    for variant, entry in results["scores"]["oracle"].items():
        if variant == "positives=instance":  # one node of a name, while all of that name answer
            continue
        for key in ("iou", "iou_over_queries", "f1", "f1_over_objects", "f1_over_queries"):
            assert entry[key]["curve"][:100] == [1.0] * 100 and entry[key]["cross_fitted"] == 1 and entry[key]["area"] == 1, (variant, key)
        assert entry["average_precision"] == {"value": 1, "low": 1, "high": 1}
    assert results["naming"]["oracle"]["top1"]["value"] == results["naming"]["oracle"]["path"]["value"] == 1
    assert results["absent"]["oracle"]["auroc"]["value"] == 1 and results["absent"]["oracle"]["at_iou"]["value"] == 0


def test_retrieving_everything_is_its_closed_form(results):
    for variant, floor in results["floors"].items():
        entry = results["scores"]["retrieve-all"][variant]
        assert entry["iou"]["curve"][:100] == pytest.approx(floor["retrieve-all"]["iou"][:100], abs=2e-6)
        assert entry["f1"]["curve"][:100] == pytest.approx(floor["retrieve-all"]["f1"][:100], abs=2e-6)
    assert results["naming"]["retrieve-all"]["top1"]["value"] == 0 and results["absent"]["retrieve-all"]["auroc"]["value"] == 0.5


def test_relevancies_by_lot_come_near_their_expectation():
    records = list(simulated_records(40, ("random",)))
    rng = np.random.default_rng(0)
    drawn = [replace(r, said={"random": Said({a.kind: rng.random(a.positive.shape).astype(np.float32) for a in r.asked})}) for r in records]
    results = score(drawn, ("random",), bootstrap=100)
    for key, upto in (("iou", 50), ("f1", 90)):  # a ratio of expectations is no expectation of ratios: near 1 IoU departs
        curve = np.array(results["scores"]["random"]["paper"][key]["curve"])
        assert np.abs(curve - results["floors"]["paper"]["random"][key])[:upto].max() < 0.02


# ------------------------------------------------------------------ variants


def test_variants_choose_what_they_say():
    record = record_of("cabinet")
    of, names, parents = chosen(record), record.names, record.parents
    assert (len(of["paper"].nodes), len(of["paper"].queries)) == (len(names), len(set(names)))
    assert len(of["positives=instance"].queries) == len(names) and (of["positives=instance"].positive.sum(0) == 1).all()
    assert len(of["root=off"].nodes) == len(names) - 1 and names[-1] not in {record.asked[0].texts[k] for k in of["root=off"].queries}
    leaves = set(range(len(names))) - set(parents[:-1].tolist())
    assert set(of["leaves-only"].nodes.tolist()) == leaves
    assert {record.asked[0].texts[k] for k in of["leaves-only"].queries} == {names[v] for v in leaves}
    paths = {f"{names[parents[v]]} {names[v]}" for v in range(len(names) - 1)} | {names[-1]}
    assert set(asked_for(record, of["positives=path"].kind).texts) == paths


def test_instances_are_asked_by_their_names():
    record = record_of("scissors")
    pick = chosen(record)["positives=instance"]
    assert [record.asked[0].texts[k] for k in pick.queries] == list(record.names)


def test_nodes_of_the_same_elements_as_a_meant_one_are_not_counted():
    record = simulated_record(np.random.default_rng(3), "x", ("oracle",))
    pick = chosen(record)["alias=ignore"]
    for v in range(len(record.names)):
        for k, text in enumerate(record.asked[0].texts):
            twin = any(record.names[u] == text and (record.holds[u] == record.holds[v]).all() for u in range(len(record.names)))
            assert pick.counted[v, k] == (record.names[v] == text or not twin)
    assert not pick.counted.all()


def test_nodes_that_only_tell_the_type_leave_with_their_queries():
    record = record_of("lamp")
    gone = set(record.names[:2])
    types = np.array([name in gone for name in record.names])
    pick = chosen(replace(record, is_type=types))["no-types"]
    assert types.any() and set(pick.nodes.tolist()) == set(np.flatnonzero(~types).tolist())
    assert not {record.asked[0].texts[k] for k in pick.queries} & gone


def test_a_method_that_was_not_asked_a_kind_has_no_number_there(results):
    mute = results["scores"]["mute"]
    assert mute["phrase"] is mute["positives=path"] is None and set(mute) == set(VARIANTS)
    assert mute["paper"]["iou"]["peak"] == mute["paper"]["f1"]["peak"] == 0 and mute["paper"]["iou"]["at"] == 0


# ------------------------------------------------------------------ names, absent names, calibration


def test_names_are_counted_as_said(records, results):
    names = results["naming"]["cot"]
    exact = mean([mean([said == true for said, true in zip(r.said["cot"].names, r.names, strict=True)]) for r in records])
    told = [(r.names, r.said["cot"].names, r.said["cot"].synonyms) for r in records]
    either = mean([mean([said == true or true in more for true, said, more in zip(*one, strict=True)]) for one in told])
    assert names["exact"]["value"] == pytest.approx(exact, abs=1e-6) and names["synonym"]["value"] == pytest.approx(either, abs=1e-6)
    assert either > exact and results["naming"]["oracle"]["exact"] is None


def test_propagation_is_counted_by_parents_and_children(records, results):
    counts = np.zeros((2, 2), int)
    for record in records:
        r = record.said["cot"].relevancy["name"]
        own = [record.asked[0].texts.index(name) for name in record.names]
        right = [all(r[v, own[v]] > r[v, k] for k in range(r.shape[1]) if k != own[v]) and r[v, own[v]] > 0 for v in range(len(own))]
        for v, parent in enumerate(record.parents[:-1]):
            counts[int(right[parent]), int(right[v])] += 1
    names = results["naming"]["cot"]
    assert names["counts"] == counts.tolist()
    wrong = counts[:, 0] / counts.sum(1)
    assert names["propagation"]["value"] == pytest.approx(wrong[0] - wrong[1], abs=1e-6)
    assert names["recovery"]["value"] == pytest.approx(1 - wrong[0], abs=1e-6)
    assert np.sum([entry["methods"]["cot"]["propagation"] for entry in results["objects"]], axis=0).tolist() == counts.tolist()


def test_absent_names_are_told_apart_over_all_objects(records, results):
    present, missing = ([max(column) for r in records for column in r.said["cot"].relevancy[kind].T] for kind in ("name", "absent"))
    wins = mean([1.0 if a > b else 0.5 if a == b else 0.0 for a in present for b in missing])
    assert results["absent"]["cot"]["auroc"]["value"] == pytest.approx(wins, abs=1e-6)
    for key in ("iou", "f1"):
        t = results["scores"]["cot"]["paper"][key]["at"]
        assert results["absent"]["cot"][f"at_{key}"]["value"] == pytest.approx(mean([best > t for best in missing]), abs=1e-6)


def test_calibration_adds_up_over_objects(records, results):
    each = [np.stack([r.said["cot"].relevancy["name"].ravel(), r.asked[0].positive.ravel()]) for r in records]
    pairs = np.concatenate(each, axis=1).astype(np.float64)
    entry, error = results["calibration"]["cot"]["relevancy"], 0.0
    for k, row in enumerate(entry["bins"]):
        inside = (pairs[0] >= k / 10) & (pairs[0] < (k + 1) / 10)
        assert row["count"] == inside.sum()
        if inside.any():
            assert row["came"] == pytest.approx(pairs[1, inside].mean(), abs=1e-6)
            error += inside.sum() * abs(pairs[0, inside].mean() - pairs[1, inside].mean())
    assert entry["ece"] == pytest.approx(error / pairs.shape[1], abs=1e-6)
    assert results["calibration"]["cot"]["confidence"]["bins"][7]["count"] == sum(len(r.names) for r in records)
    assert results["calibration"]["oracle"]["confidence"] is None


def test_calibration_of_nothing_is_no_number():
    empty = measure(record_of("lamp"), ["oracle"]).methods["oracle"].relevancy
    assert math.isnan(calibration_table([replace(empty, count=empty.count * 0)])["ece"])


# ------------------------------------------------------------------ breakdowns, differences, objects


def test_every_query_and_node_falls_into_one_group_of_each_kind(records, results):
    queries, nodes = (sum(entry[key] for entry in results["objects"]) for key in ("queries", "nodes"))
    for kind, rows in results["breakdowns"]["cot"].items():
        assert sum(row["queries"] for row in rows) == queries and sum(row["nodes"] for row in rows) == nodes, kind
    every = [row for row in results["breakdowns"]["oracle"]["size"] if row["queries"]]
    assert all(row["iou"] == 1 for row in every)
    depth = {row["key"]: row for row in results["breakdowns"]["cot"]["depth"]}
    assert depth["0"]["queries"] == depth["0"]["nodes"] == len(records)


def test_bins_end_where_they_say():
    assert binned(np.array([0, 0.0009, 0.001, 0.01, 0.1, 1.0]), SIZES) == ["< 0.1 %", "< 0.1 %", "0.1–1 %", "1–10 %", "> 10 %", "> 10 %"]
    assert binned(np.array([0, 1, 15, 16, 64, 256, 9999]), PIXELS) == ["0", "1–15", "1–15", "16–63", "64–255", "≥ 256", "≥ 256"]


def test_differences_are_of_the_headlines(results):
    assert results["reference"] == "cot" and set(results["differences"]) == set(METHODS) - {"cot"}
    for method, entry in results["differences"].items():
        for key in ("iou", "f1"):
            gain = results["scores"][method]["paper"][key]["peak"] - results["scores"]["cot"]["paper"][key]["peak"]
            assert entry[key]["fixed"]["value"] == entry[key]["remaximised"]["value"] == pytest.approx(gain, abs=3e-6)
        right = [results["naming"][name]["top1"]["value"] for name in (method, "cot")]
        assert entry["top1"]["value"] == pytest.approx(right[0] - right[1], abs=3e-6)
    assert results["differences"]["oracle"]["iou"]["fixed"]["low"] > 0 > results["differences"]["mute"]["f1"]["fixed"]["high"]


def test_numbers_of_objects_add_up_to_the_whole(results):
    for method in METHODS:
        curves = np.array([[entry["methods"][method][key] for key in ("iou", "tp", "fp", "fn")] for entry in results["objects"]])
        whole = results["scores"][method]["paper"]
        assert curves[:, 0].mean(0) == pytest.approx(whole["iou"]["curve"], abs=2e-6)
        tp, fp, fn = curves[:, 1:].sum(0)
        assert 2 * tp / (2 * tp + fp + fn) == pytest.approx(whole["f1"]["curve"], abs=2e-6)


def test_cost_is_added_up(records, results):
    nodes = sum(len(record.names) for record in records)
    assert results["costs"]["cot"] == {"calls": nodes, "pictures": 0, "prompt_tokens": 0, "answer_tokens": 0, "failed": 0, "seconds": 1.5,
                                       "objects": 3, "nodes": nodes}


def test_the_order_of_methods_changes_no_number(records, results):
    turned = score(records, METHODS[::-1], bootstrap=200)
    assert turned["scores"] == results["scores"] and turned["naming"] == results["naming"] and turned["reference"] == "cot"


# ------------------------------------------------------------------ what is missing


def test_points_measure_where_there_are_points_and_objects_without_are_left_out(records):
    with_points = replace(records[0], points=np.arange(records[0].holds.shape[1]))
    results = score([with_points, records[1]], ["oracle"], domain="points", bootstrap=10)
    assert [entry["id"] for entry in results["objects"]] == ["scissors"] and [one["id"] for one in results["broken"]] == ["lamp"]
    assert "comes without a sample of points" in results["broken"][0]["reason"] and results["scores"]["oracle"]["paper"]["iou"]["peak"] == 1
    assert results["scores"]["oracle"]["paper"]["unmeasured"] == results["objects"][0]["unmeasured"] >= 0


def test_queries_without_any_measure_leave_the_mean_and_are_counted(records):
    record = records[1]
    name = record.asked[0].texts[0]
    gone = record.holds[[v for v, other in enumerate(record.names) if other == name]].any(0)
    results = score([replace(record, area=np.where(gone, 0.0, record.area))], ["oracle"], bootstrap=10)
    paper = results["scores"]["oracle"]["paper"]
    assert paper["unmeasured"] == results["objects"][0]["unmeasured"] == 1 and paper["iou"]["peak"] == paper["f1"]["peak"] == 1


def test_one_object_has_no_bounds_and_no_object_no_numbers(records):
    entry = score(records[:1], METHODS, bootstrap=10)["scores"]["cot"]["paper"]
    assert entry["iou"]["fixed"]["value"] > 0 and entry["iou"]["fixed"]["low"] is None and entry["iou"]["cross_fitted"] is None
    with pytest.raises(ValueError, match="No object could be evaluated"):
        score([], METHODS)
    with pytest.raises(ValueError, match="lamp holds no flat"):
        score([records[1]], ["flat"])


def test_an_object_of_one_node_is_measured():
    scene = SCENES["scissors"]()
    scene = replace(scene, part_of_face=np.zeros_like(scene.part_of_face), parents=np.zeros(1, np.int32), names=("scissors",))
    one = object_of(scene, "one")
    asked = asked_of(one)
    record = Record("one", "scissors", "one", "procedural", "raw", one.ids, one.names, one.parents, one.is_type, one.holds, one.area,
                    one.points, np.ones(1, int), asked, {"oracle": said_by(asked, 1, lambda positive: positive)})
    results = score([record], ["oracle"], bootstrap=10)
    assert results["scores"]["oracle"]["paper"]["f1"]["peak"] == 1 and results["scores"]["oracle"]["root=off"]["iou"]["peak"] is None
    assert results["objects"][0]["leaves"] == 1 and results["absent"]["oracle"]["auroc"]["value"] is None
    assert "oracle" in table(results) and "[" not in table(results)  # of one object there is no interval to explain


def test_what_is_written_is_json_without_nan(tmp_path, results):
    path = write_results(tmp_path, results | {"nothing": np.array([np.nan, 1.5]), "infinite": float("inf")})
    def refuse(constant):
        raise AssertionError(constant)
    read = json.loads(path.read_text(), parse_constant=refuse)
    assert read["nothing"] == [None, 1.5] and read["infinite"] is None and read["scores"] == results["scores"]
    assert plain({"a": (np.int64(3), np.float32(0.5), None, "x", True)}) == {"a": [3, 0.5, None, "x", True]}


def test_the_printed_table_has_a_line_for_every_method_and_floor(results):
    lines = table(results).splitlines()
    assert len(lines) == 1 + len(METHODS) + 2 + 1 and lines[0].split()[:2] == ["method", "mIoU"]
    (line,) = [line for line in lines if line.startswith("oracle")]
    assert "1.000 [1.000, 1.000]  .000" in line


def test_printed_intervals_are_those_at_the_optimum_and_say_so(results):
    scores = {name: {**of, "paper": {**of["paper"], "iou": {**of["paper"]["iou"], "fixed": {"value": 0.5, "low": 0.25, "high": 0.75}}}}
              for name, of in results["scores"].items()}
    lines = table({**results, "scores": scores}).splitlines()
    assert all(".500 [.250, .750]" in line for line in lines[1:-3]) and lines[-1].startswith("[95 % over objects; of mIoU and F1 at t*")
