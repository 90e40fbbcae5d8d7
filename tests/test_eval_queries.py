"""The written queries fit their scenes, and their scores are what a hand count gives."""

import itertools
import json
import math
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import part_tree, random_parts
from hypothesis import given
from hypothesis import strategies as st

from eval.metrics.resampling import bounds, draws
from eval.metrics.retrieval import auroc
from eval.objects import SCENES
from eval.queries.asking import SimulatedReader, decided, relevant_rows, subject_of
from eval.queries.big import crowd
from eval.queries.calibrating import balanced, head_of
from eval.queries.known import bare_labels, clean, described_labels, known_scenes, read_descriptions
from eval.queries.measure import Method, Outcome, Remembering, encoder_of
from eval.queries.report import failures, floors, kinds_table, numbers, write_chart
from eval.queries.run import QueriesConfig, run_queries
from eval.queries.scores import auroc_interval, best_iou, covered, iou, mean_interval, paired_interval, random_iou
from eval.queries.shortlists import described, told_share
from eval.queries.written import HALVES, KINDS, SETS, Query, check, digest, half_of, path_of, read_set, read_sets
from semquery import tabletop
from semquery.ask import AskConfig, Row, Shortlist, ask
from semquery.labelling import Asker

PROCEDURAL = {"tabletop": tabletop.build, **SCENES}
ALL_SETS = [read_set(path) for path in sorted(SETS.glob("*.json"))]
QUERIES = [query for queries in ALL_SETS for query in queries.queries]


# ------------------------------------------------------------------ the set


def test_there_are_enough_queries_of_every_kind_in_both_halves():
    assert len(QUERIES) >= 120
    count = Counter((query.kind, query.half) for query in QUERIES)
    assert set(count) == set(itertools.product(KINDS, HALVES))
    assert min(count.values()) >= 10
    assert abs(sum(q.half == "tuning" for q in QUERIES) / len(QUERIES) - 0.5) < 0.05


def test_ids_are_unique_and_no_text_is_asked_twice_of_a_scene():
    assert len({query.id for query in QUERIES}) == len(QUERIES)
    for queries in ALL_SETS:
        assert len({query.text for query in queries.queries}) == len(queries.queries)


@pytest.mark.parametrize("queries", ALL_SETS, ids=lambda queries: queries.scene)
def test_halves_take_turns_within_every_kind(queries):
    assert {q.id: q.half for q in queries.queries} == half_of([(q.id, q.kind) for q in queries.queries], queries.scene)
    for kind in KINDS:
        count = Counter(q.half for q in queries.queries if q.kind == kind)
        assert abs(count["tuning"] - count["report"]) <= 1


def test_absent_queries_have_no_answer_and_all_others_have_one():
    for query in QUERIES:
        assert (query.answer == ()) == (query.kind == "absent"), query.id
        assert all(query.also) and (query.answer or not query.also), query.id


@pytest.mark.parametrize("name", PROCEDURAL)
def test_procedural_scenes_still_have_the_parts_their_answers_name(name):
    scene, (queries,) = PROCEDURAL[name](), read_sets([name])
    check(queries, scene.parents, scene.names)
    in_answers = {part for q in queries.queries for answer in q.accepted for part in answer}
    assert in_answers == set(queries.path_of_part)


@pytest.mark.skipif("SEMQUERY_PARTNET" not in os.environ, reason="set SEMQUERY_PARTNET to a folder of PartNet-Mobility objects")
def test_partnet_objects_have_the_parts_their_answers_name():
    scenes = known_scenes((), Path(os.environ["SEMQUERY_PARTNET"]), 500)  # which checks
    assert {known.name for known in scenes} == {queries.scene for queries in ALL_SETS} - set(PROCEDURAL)


@pytest.mark.parametrize("name", PROCEDURAL)
def test_synonyms_share_no_word_with_the_names_they_stand_for(name):
    scene, (queries,) = PROCEDURAL[name](), read_sets([name])
    for query in queries.queries:
        if query.kind == "synonym":
            said = {word.rstrip("s") for word in clean(query.text).replace("-", " ").split()}
            true = {word.rstrip("s") for part in query.answer for word in clean(scene.names[part]).split()}
            assert not said & true, query.id


def test_a_scene_whose_parts_have_other_names_is_noticed():
    scene, (queries,) = PROCEDURAL["lamp"](), read_sets(["lamp"])
    names = tuple("shade" if name == "lamp_shade" else name for name in scene.names)
    with pytest.raises(ValueError, match="part 0 was 'table_or_floor_lamp/lamp_unit/lamp_head/lamp_shade'"):
        check(queries, scene.parents, names)


def test_a_digest_stands_for_a_path_that_may_not_be_written_down():
    parents, names = np.array([2, 2, 3, 3], np.int32), ("a", "b", "inner", "root")
    assert [path_of(k, parents, names) for k in range(4)] == ["inner/a", "inner/b", "inner", "root"]
    queries = read_sets(["lamp"])[0]
    check(type(queries)("x", (), {1: digest("inner/b")[:12], 2: "inner"}), parents, names)
    with pytest.raises(ValueError, match="no such part"):
        check(type(queries)("x", (), {4: "gone"}), parents, names)


def test_a_scene_without_queries_and_a_file_that_is_none_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no queries for 'boat'"):
        read_sets(["boat"])
    (tmp_path / "x.json").write_text('{"scene": "x"}')
    with pytest.raises(ValueError, match=r"x\.json is no query set"):
        read_set(tmp_path / "x.json")


# ------------------------------------------------------------------ scenes and labels


def test_the_sampled_surface_shows_every_part_and_keeps_its_owner():
    (known,) = known_scenes(("microwave",), None, 3000)
    scene = PROCEDURAL["microwave"]()
    own = np.bincount(known.parts.part_of_point, minlength=len(scene.parents))
    assert all((own > 0) == np.isin(np.arange(len(scene.parents)), scene.part_of_face))
    for part in np.unique(scene.part_of_face):
        corners = scene.vertices[scene.faces[scene.part_of_face == part]].reshape(-1, 3)
        points = known.surface.points[known.parts.part_of_point == part]
        assert (points >= corners.min(0) - 1e-5).all() and (points <= corners.max(0) + 1e-5).all()


def test_every_true_name_is_described():
    descriptions = read_descriptions()
    for known in known_scenes(tuple(PROCEDURAL), None, 500):
        labels = described_labels(known, descriptions)
        assert [label.name for label in labels.values()] == list(known.names) == [label.name for label in bare_labels(known).values()]
        assert all(label.synonyms and label.function for label in labels.values())


def test_a_name_without_description_is_named():
    (known,) = known_scenes(("lamp",), None, 500)
    with pytest.raises(ValueError, match="says nothing of cord, lamp, lamp base"):
        described_labels(known, {"*": {}})


# ------------------------------------------------------------------ scores

#  4 root ─┬─ 3 ─┬─ 0: 4 points
#          │     └─ 1: 2 points
#          └─ 2: 4 points
TREE = part_tree([3, 3, 4, 4, 4], [0] * 4 + [1] * 2 + [2] * 4)


def test_a_group_and_its_members_are_one_answer():
    assert best_iou(TREE, [0, 1], [[3]]) == best_iou(TREE, [3], [[0, 1]]) == 1
    assert best_iou(TREE, [0, 3], [[3]]) == 1


def test_overlap_by_hand():
    assert best_iou(TREE, [0], [[3]]) == 4 / 6
    assert best_iou(TREE, [4], [[2], [3]]) == 6 / 10
    assert best_iou(TREE, [2], [[3]]) == 0
    assert best_iou(TREE, [], [[3]]) == 0
    assert random_iou(TREE, [[3]]).tolist() == [4 / 6, 2 / 6, 0, 1, 6 / 10]


def test_two_answers_of_nothing_agree():
    assert iou(np.zeros(3, bool), np.zeros(3, bool)) == 1


@given(st.integers(0, 999))
def test_overlap_equals_a_count_point_by_point(seed):
    random = np.random.default_rng(seed)
    parts = random_parts(random, 8, 30)
    given_parts, answer = random.choice(8, 2, replace=False).tolist(), random.choice(8, 3, replace=False).tolist()

    def inside(point, members):
        part = int(parts.part_of_point[point])
        while part not in members and part != parts.root:
            part = int(parts.parents[part])
        return part in members

    one, other = ({point for point in range(30) if inside(point, members)} for members in (given_parts, answer))
    assert set(np.flatnonzero(covered(parts, given_parts))) == one
    assert best_iou(parts, given_parts, [answer]) == (len(one & other) / len(one | other) if one | other else 1)


def test_an_interval_holds_its_mean_and_is_wide_where_scenes_differ():
    same = mean_interval(np.array([1.0, 0, 1, 0]), ["a", "a", "b", "b"])
    apart = mean_interval(np.array([1.0, 1, 0, 0]), ["a", "a", "b", "b"])
    assert same == (0.5, 0.5, 0.5)
    assert apart == (0.5, 0.0, 1.0)
    assert math.isnan(mean_interval(np.array([1.0, 0]), ["a", "a"])[1])
    assert paired_interval(np.zeros(4), np.ones(4), ["a", "a", "b", "b"]) == (1, 1, 1)


def test_a_drawn_scene_brings_all_its_queries():
    """The bootstrap of a ratio by weights equals one that copies the queries of drawn scenes."""
    random = np.random.default_rng(3)
    present, absent = random.random(12), random.random(9)
    scene_a, scene_b = [str(k % 4) for k in range(12)], [str(k % 3) for k in range(9)]
    drawn = []
    for times in draws(4):
        a = np.concatenate([present[np.array(scene_a) == str(s)] for s in range(4) for _ in range(times[s])])
        b = np.concatenate([np.zeros(0), *(absent[np.array(scene_b) == str(s)] for s in range(4) for _ in range(times[s]))])
        drawn.append(auroc(a, b))
    assert auroc_interval(present, scene_a, absent, scene_b)[1:] == pytest.approx(bounds(np.array(drawn)))


# ------------------------------------------------------------------ a scene of many objects


def test_copies_keep_their_trees_under_one_root():
    scenes = known_scenes(("lamp", "scissors"), None, 300)
    many = crowd(scenes, 3)
    assert many.parts.num_parts == 3 * (12 + 8) + 1
    has_children = np.isin(np.arange(many.parts.num_parts), many.parts.parents)
    assert np.flatnonzero(~has_children).max() < np.flatnonzero(has_children).min()
    assert (many.parts.parents[:-1] > np.arange(many.parts.num_parts - 1)).all()
    for known in scenes:
        labels = many.labels({s.name: bare_labels(s) for s in scenes})
        for new in many.numbers[known.name]:
            assert (many.parts.parents[new[:-1]] == new[known.parts.parents[:-1]]).all()
            assert many.parts.parents[new[-1]] == many.parts.root
            assert many.parts.num_points[new].tolist() == known.parts.num_points.tolist()
            assert [labels[int(part)].name for part in new] == list(known.names)
    numbers = np.concatenate([new for copies in many.numbers.values() for new in copies])
    assert sorted(numbers.tolist()) == list(range(many.parts.num_parts - 1))


def test_copies_do_not_overlap():
    many = crowd(known_scenes(("lamp", "scissors"), None, 300), 2)
    tops = [many.parts.points_of(int(new[-1])) for copies in many.numbers.values() for new in copies]
    boxes = [(many.surface.points[top].min(0), many.surface.points[top].max(0)) for top in tops]
    for (low, high), (other_low, other_high) in itertools.combinations(boxes, 2):
        assert (low[:2] > other_high[:2]).any() or (other_low[:2] > high[:2]).any()


# ------------------------------------------------------------------ tables


def outcome(kind="name", members=(1,), overlap=1.0, forced=None, forced_overlap=None, probability=0.9, score=0.9, scene="lamp", id="lamp-01"):
    return Outcome(scene, id, "light bulb", kind, "report", members, overlap, members if forced is None else forced,
                   overlap if forced_overlap is None else forced_overlap, probability, score, "why")


def test_columns_by_hand():
    """Four present: right, half right, lost to the threshold, wrong; two absent: one answered."""
    found = [outcome(), outcome(overlap=0.6, probability=0.8), outcome(members=(), overlap=0.0, forced=(1,), forced_overlap=1.0, probability=0.3),
             outcome(overlap=0.0, probability=0.7), outcome("absent", (2,), 0.0, probability=0.75), outcome("absent", (), 1.0, (2,), 0.0, 0.1)]
    columns = {name: value[0] for name, value in numbers(found).items()}
    assert columns == pytest.approx({
        "recall@1": 1 / 4, "IoU>.5": 2 / 4, "mIoU": 1.6 / 4, "AUROC p": (1 + 1 + 0.5 + 0.5) / 4, "AUROC s": 0.5,
        "false": 1 / 2, "lost": 1 / 4, "none": 1 / 4})


def test_absent_queries_are_right_when_nothing_is_answered():
    text = kinds_table({Method("lexical", "names", "auto"): [outcome(), outcome("absent", (), 1.0)]}, {}, "report")
    head, _, line = ([cell.strip() for cell in row.strip("|").split("|")] for row in text.splitlines())
    of_kind = dict(zip(head, line, strict=True))
    assert of_kind["name (1)"] == of_kind["absent (1)"] == "1.00" and of_kind["purpose (0)"] == "nan"


def test_floors_know_nothing():
    (lamp,) = known_scenes(("lamp",), None, 300)
    for half in HALVES:
        for floor in floors([lamp], half).values():
            assert floor["absent"] == 0 and not any(value > 0.5 for value in floor.values())  # nan: no query of the kind


def test_the_floor_of_a_random_part_counts_every_part_that_is_the_answer():
    """Of the lamp's twelve parts the shade alone covers the shade; `foot` is covered by the base and by its only part."""
    (lamp,) = known_scenes(("lamp",), None, 300)
    queries = [replace(q, half="report") for q in lamp.queries.queries if q.text in ("lamp shade", "foot")]
    alone = replace(lamp, queries=replace(lamp.queries, queries=tuple(queries)))
    floor = floors([alone], "report")["a part at random"]
    assert (floor["name"], floor["synonym"]) == (1 / 12, 2 / 12)


def test_failures_say_what_was_wanted_and_what_came():
    (lamp,) = known_scenes(("lamp",), None, 300)
    text = failures({Method("lexical", "names", "auto"): [outcome(overlap=0.2, id="lamp-02", members=(0,)), outcome()]}, {"lamp": lamp})
    assert "1 of 2" in text
    assert "lamp-02 (name, report) “light bulb”: wanted 1 light bulb; came 0 lamp shade (p 0.90). why" in text


def test_a_chart_is_drawn(tmp_path):
    from PIL import Image

    nothing = dict.fromkeys(KINDS, 0.0)
    found = {Method("lexical", "names", "auto"): [outcome(), outcome("absent")]}
    write_chart(tmp_path / "chart.png", found, {"always the root": nothing, "a part at random": nothing}, "report")
    assert Image.open(tmp_path / "chart.png").size[0] > 600


# ------------------------------------------------------------------ measuring


def test_absent_queries_are_repeated_until_both_sides_weigh_alike():
    there = np.array([True, True, True, True, False])
    nearness, present = balanced(np.arange(5.0), there, np.zeros(5, bool))
    assert nearness.tolist() == [0, 1, 2, 3, 4, 4, 4, 4] and present.sum() == 4
    nearness, present = balanced(np.arange(5.0), there, np.array([True, False, True, False, False]))
    assert nearness.tolist() == [1, 3, 4, 4, 4, 4] and present.sum() == 2  # the exact ones count, and are left out


def test_a_query_about_a_place_tells_nothing_of_what_is_absent():
    assert head_of("the fourth drawer from the top", absent=True) == ""
    assert head_of("the fourth drawer from the top", absent=False) == "drawer"
    assert head_of("keyhole", absent=True) == "keyhole"


def test_a_text_is_encoded_once():
    class Counting:
        identity, kind = "counting", "sentence"
        asked: list[str] = []

        def queries(self, texts):
            self.asked.extend(texts)
            return np.array([[len(text), 1] for text in texts], np.float32).reshape(-1, 2)

        passages = queries

    encoder = Remembering(Counting())
    assert encoder.queries(["a", "bb", "a"]).tolist() == [[1, 1], [2, 1], [1, 1]]
    assert encoder.queries(["bb", "ccc"]).tolist() == [[2, 1], [3, 1]]
    assert encoder.passages(["bb"]).tolist() == [[2, 1]] and encoder.queries([]).shape == (0, 2)
    assert Counting.asked == ["a", "bb", "ccc", "bb"]


def test_an_encoder_that_is_neither_known_nor_a_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected lexical or the folder of a checkpoint"):
        encoder_of(str(tmp_path / "none"))


# ------------------------------------------------------------------ asking


def query(answer, *also):
    return Query("x-01", "text", "name", tuple(answer), also, "report")


def test_an_answer_is_told_of_by_its_parts_or_by_what_holds_just_them():
    assert told_share(TREE, [3], query([0, 1])) == told_share(TREE, [0, 1], query([3])) == 1
    assert told_share(TREE, [0], query([3])) == 4 / 6
    assert told_share(TREE, [4], query([3])) == 0  # the scene alone tells of everything, and so of nothing
    assert told_share(TREE, [2, 1], query([3], (2,))) == 1


def test_what_only_the_last_row_names_is_not_told_of():
    assert described(Shortlist((Row((4,)), Row((0, 1)), Row((2, 3), 1, others=True)), 1)) == {0, 1, 4}


TABLE = """id | name | what it is for | inside | middle
4 | “scene” | not known | the world | 50 | 1. of 1 in size
3 | “door” | “closes the oven” | 4 | 10 | alone
0 | “door handle” | “pulled to open” | 3 | 20 | alone
1, 2 | “button” | 2 parts called alike; open one to tell them apart | 3 | | |
The question is: “the handle of the doors”
"""


def test_the_simulated_reader_goes_by_the_words_of_the_table():
    found = [(row["part"], row["role"]) for row in relevant_rows(TABLE, "the handle of the doors")]
    assert found == [(0, "candidate"), (3, "anchor")]
    assert [row["part"] for row in relevant_rows(TABLE, "buttons")] == [1, 2]
    assert list(relevant_rows(TABLE, "piano")) == []


def test_the_simulated_reader_decides_by_words_and_by_what_is_near_the_anchors():
    lines = ["- 3 “door”: anchor, because “x”; middle 1 2 3, size 1 1 1",
             "- 0 “handle”: candidate; middle 1 2 3, size 1 1 1; a part of 3; fits the words of the question better than 80 % of all parts",
             "- 5 “handle”: candidate; middle 1 2 3, size 1 1 1; left of 3, 40 away from 3; fits the words of the question better than 80 % of all parts"]
    assert decided("\n".join(lines)) == [0]
    without_anchor = [line.replace("a part of 3; ", "").replace("left of 3, 40 away from 3; ", "") for line in lines[1:]]
    assert decided("\n".join(without_anchor)) == [0, 5]
    assert decided("no part") == []


def test_the_simulated_reader_answers_what_ask_sends():
    (lamp,) = known_scenes(("lamp",), None, 1000)
    subject = subject_of(lamp, "lexical", "described", read_descriptions())
    answer = ask("the light bulb", subject, Asker(SimulatedReader(), {}, lambda *told: None), AskConfig(overviews=0, closeups=0))
    assert answer.calls == 2 and not answer.failed
    assert 1 in answer.candidates and answer.targets == (1,)


def test_the_harness_runs_on_one_scene(tmp_path, capsys):
    outcomes = run_queries(QueriesConfig(tmp_path / "out", scenes=("lamp",), scorers=("auto", "zscore"), num_points=2000))
    assert set(outcomes) == set(itertools.starmap(Method, itertools.product(["lexical"], ["names", "described"], ["auto", "zscore"])))
    assert all(len(found) == 21 for found in outcomes.values())
    by_id = {o.id: o for o in outcomes[Method("lexical", "names", "auto")]}
    assert by_id["lamp-02"].text == "light bulb" and by_id["lamp-02"].right == 1
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"results.json", "queries.md", "failures.md", "queries.png"}
    record = json.loads((tmp_path / "out" / "results.json").read_text())
    assert record["sha256"]["lamp.json"] == digest((SETS / "lamp.json").read_text())
    assert "# Written queries: 21 on 1 scenes" in capsys.readouterr().out
