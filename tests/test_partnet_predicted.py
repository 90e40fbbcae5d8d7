"""Found trees are measured as their definition says, a perfect one scores 1, and the way from a mesh to the numbers can be gone again."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.metrics.retrieval import THRESHOLDS
from eval.objects import SCENES
from eval.partnet.config import PartnetConfig, PredictedConfig
from eval.partnet.predicted import (
    Cells,
    atom_pictures,
    capture,
    cells_of,
    confidence,
    distinct,
    find_tree,
    mean_iou,
    names_said,
    names_taken,
    predict,
    score,
)
from eval.partnet.records import asked_of, object_of
from eval.truth import carry
from semquery.procedural import KnownScene
from semquery.store import Run
from semquery.types import NodeLabel, PartTree


def found_tree(parents, part_of_point, support=(), support_iou=()):
    support = np.array(support, np.int32).reshape(-1, 3)
    return PartTree(np.array(parents, np.int32), np.zeros(len(parents), np.float32), np.array(part_of_point, np.int32), support,
                    np.array(support_iou, np.float32))


def in_triangles(parents, names):
    """An object of which every leaf is one triangle."""
    leaves = sorted(set(range(len(parents))) - set(parents[:-1]))
    corners = np.array([[[k, 0, 0], [k + 1, 0, 0], [k, 1, 0]] for k in leaves], np.float32)
    faces = np.arange(3 * len(leaves), dtype=np.int32).reshape(-1, 3)
    return object_of(KnownScene(corners.reshape(-1, 3), faces, np.zeros((len(leaves), 3), np.uint8), np.array(leaves, np.int32),
                                np.array(parents, np.int32), tuple(names)), "made")


def names_asked(thing):
    return asked_of(thing)[0]


def collapsed(parents):
    """The tree without nodes that are the only part of theirs, and the new number of each node."""
    only = [v for v in range(len(parents)) if (np.array(parents[:-1]) == v).sum() == 1]
    new, kept = {}, []
    for v in range(len(parents)):
        if v in only:
            new[v] = new[next(c for c in range(v) if parents[c] == v)]
        else:
            new[v] = len(kept)
            kept.append(v)
    up = dict(enumerate(parents))

    def above(v):
        while up[v] != v and new[up[v]] == new[v]:
            v = up[v]
        return new[up[v]]

    return [above(v) for v in kept], new


# ------------------------------------------------------------------ twins


def ancestors(parents, node):
    while node >= 0:
        yield node
        node = -1 if parents[node] == node else parents[node]


def slow_sets(holds, atoms, parents, parts):
    """Points of every true and every found node, one point at a time."""
    true = [{i for i, a in enumerate(atoms) if a >= 0 and holds[v, a]} for v in range(len(holds))]
    found = [{i for i, p in enumerate(parts) if u in list(ancestors(parents, p))} for u in range(len(parents))]
    return true, found


def slow_mean_iou(true, found, positive, relevancy):
    curves = []
    for t in THRESHOLDS:
        values = []
        for q in range(positive.shape[1]):
            meant = set().union(*(true[v] for v in range(len(true)) if positive[v, q]))
            got = set().union(*(found[u] for u in range(len(found)) if relevancy[u, q] > t))
            if meant:
                values.append(len(meant & got) / len(meant | got))
        curves.append(np.mean(values))
    return curves


@st.composite
def trees(draw, most=7):
    count = draw(st.integers(1, most))
    return [draw(st.integers(k + 1, count - 1)) if k < count - 1 else k for k in range(count)]


@st.composite
def cases(draw):
    parents = draw(trees())
    num_true, num_atoms, n, k = draw(st.integers(1, 5)), draw(st.integers(1, 4)), draw(st.integers(1, 12)), draw(st.integers(1, 3))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    holds = random.random((num_true, num_atoms)) < 0.5
    holds[-1] = True
    atoms = random.integers(-1, num_atoms, n)
    atoms[0] = 0
    parts = random.integers(-1, len(parents), n)
    positive = random.random((num_true, k)) < 0.4
    positive[-1, 0] = True
    return holds, atoms, parents, parts, positive, random.integers(0, 11, (len(parents), k)).astype(np.float32) / 10


@given(cases())
def test_overlaps_and_retrieval_are_those_of_the_sets_of_points(case):
    holds, atoms, parents, parts, positive, relevancy = case
    cells = cells_of(holds, atoms, np.array(parents), parts)
    true, found = slow_sets(holds, atoms, parents, parts)
    slow = [[len(a & b) / max(len(a | b), 1) for b in found] for a in true]
    assert cells.weight.sum() == len(atoms) and np.allclose(cells.iou(), slow)
    assert np.allclose(mean_iou(cells, positive, relevancy), slow_mean_iou(true, found, positive, relevancy))


@given(cases())
def test_nodes_of_the_same_points_are_one_to_find_and_the_whole_is_none(case):
    holds, atoms, parents, parts, _, _ = case
    true, _ = slow_sets(holds, atoms, parents, parts)
    wanted = {frozenset(points) for points in true if points and points != true[-1]}
    together = distinct(cells_of(holds, atoms, np.array(parents), parts).true)
    assert {frozenset(true[v]) for row in together for v in np.flatnonzero(row)} == wanted and len(together) == len(wanted)
    assert all(len({frozenset(true[v]) for v in np.flatnonzero(row)}) == 1 for row in together)
    assert together.sum() == sum(bool(points) and points != true[-1] for points in true)


@given(cases())
def test_names_are_taken_from_the_nodes_that_overlap_best(case):
    holds, atoms, parents, parts, positive, _ = case
    iou = cells_of(holds, atoms, np.array(parents), parts).iou()
    for u, row in enumerate(names_taken(iou, positive)):
        best = [v for v in range(len(iou)) if iou[v, u] > 0 and all(iou[v, u] >= iou[w, u] for w in range(len(iou)))]
        assert set(np.flatnonzero(row)) == {q for v in best for q in np.flatnonzero(positive[v])}


def test_what_is_said_is_the_one_most_relevant_query():
    relevancy = np.array([[0.2, 0.9, 0.1], [0.5, 0.5, 0.2], [0, 0, 0]], np.float32)
    assert names_said(relevancy).tolist() == [[False, True, False], [False] * 3, [False] * 3]


def test_parts_are_trusted_by_the_masks_that_speak_for_them():
    tree = found_tree([2, 2, 2], [0, 1], support=[(0, 0, 0), (0, 1, 0), (2, 1, 3)], support_iou=[0.5, 0.75, 0.9])
    assert confidence(tree).tolist() == pytest.approx([1.25, 0, 0.9])


# ------------------------------------------------------------------ scores


@pytest.mark.parametrize("name", ["chair", "lamp", "cabinet"])
def test_a_perfect_tree_with_true_names_scores_one_everywhere(name):
    thing = object_of(SCENES[name](), name)
    parents, new = collapsed(thing.parents.tolist())
    atoms = np.repeat(np.arange(len(thing.area)), 10)
    leaf = np.array([np.flatnonzero(thing.holds[:, a])[0] for a in range(len(thing.area))])
    support = [(u, 0, 0) for u in range(len(parents))]
    parts = found_tree(parents, [new[v] for v in leaf[atoms]], support, np.ones(len(support)))
    asked = names_asked(thing)
    cells = cells_of(thing.holds, atoms, parts.parents, parts.part_of_point)
    found = score(thing, asked, atoms, parts, names_taken(cells.iou(), asked.positive).astype(np.float32))
    ones = ("nc", "sampled_nc", "purity", "recall50", "precision50", "matched_recall", "matched_precision", "matched_miou", "leaf_ap50",
            "peak_miou", "true_names_miou", "true_names_label_aware_miou")
    assert {each: getattr(found, each) for each in ones} == dict.fromkeys(ones, 1.0)
    assert found.miou[:-1] == (1.0,) * 100 and found.miou[-1] == 0  # nothing lies above 1
    assert found.hidden_nodes == 0 and found.true_nodes == len(parents) - 1
    assert 0 < found.floor_miou < 1


def test_a_tree_made_by_hand_has_the_numbers_worked_out_by_hand():
    """Three leaves of 4, 4 and 8 points; found are {a, half of b} and {the other half of b, c}. b is split in the middle."""
    thing = in_triangles([3, 3, 4, 4, 4], ["a", "b", "c", "ab", "whole"])
    atoms = np.repeat([0, 1, 2], [4, 4, 8])
    parts = found_tree([2, 2, 2], [0] * 6 + [1] * 10, [(0, 0, 0), (1, 0, 1)], [0.9, 0.8])
    relevancy = np.zeros((3, 5), np.float32)
    relevancy[0, 0], relevancy[1, 2], relevancy[2, 4] = 0.7, 0.6, 0.9  # named a, c, whole
    found = score(thing, names_asked(thing), atoms, parts, relevancy)
    # IoU: a with the first 4/6, ab with it 6/8, c with the second 8/10; so ab and c are matched
    assert found.true_nodes == 4 and found.matched_recall == 0.5 and found.matched_precision == 1
    assert found.matched_miou == pytest.approx((0.75 + 0.8) / 4)
    assert found.label_aware_miou == pytest.approx(0.8 / 4)  # a was said of what is matched with ab
    assert found.true_names_label_aware_miou == pytest.approx((0.75 + 0.8) / 4)
    assert found.miou[0] == pytest.approx((4 / 6 + 0 + 0.8 + 0 + 1) / 5, abs=1e-6)
    assert found.miou[65] == pytest.approx((4 / 6 + 1) / 5, abs=1e-6) and found.miou[75] == pytest.approx(1 / 5)
    assert found.true_names_miou == pytest.approx((0 + 0 + 0.8 + 0.75 + 1) / 5)
    assert found.floor_miou == pytest.approx((4 + 4 + 8 + 8 + 16) / 16 / 5)
    # leaves a, b, c; the first found leaf takes a (4/6), the second c: two of three, both right
    assert found.leaf_ap50 == pytest.approx(2 / 3)
    assert found.recall50 == 0.75 and found.precision50 == 1  # a, ab and c have a node above a half
    assert (found.peak_miou, found.peak_threshold) == (found.miou[0], 0.0)


def test_points_of_no_part_count_against_what_holds_them():
    thing = in_triangles([2, 2, 2], ["a", "b", "whole"])
    parts = found_tree([2, 2, 2], [0] * 4 + [1] * 4)
    exact = names_asked(thing).positive.astype(np.float32)
    assert score(thing, names_asked(thing), np.repeat([0, 1], 4), parts, exact).peak_miou == 1
    stray = score(thing, names_asked(thing), np.array([0, 0, 0, 0, 1, 1, 1, -1]), parts, exact)
    assert stray.peak_miou == pytest.approx((1 + 3 / 4 + 7 / 8) / 3, abs=1e-6)


def test_hidden_parts_are_neither_asked_for_nor_found():
    thing = in_triangles([3, 3, 3, 3], ["a", "b", "core", "whole"])
    exact = names_asked(thing).positive[[0, 1, 3]].astype(np.float32)
    found = score(thing, names_asked(thing), np.repeat([0, 1], 4), found_tree([2, 2, 2], [0] * 4 + [1] * 4), exact)
    assert (found.hidden_nodes, found.true_nodes, found.matched_recall, found.peak_miou) == (1, 2, 1, 1)


def test_faces_that_two_parts_hold_are_meant_by_both_names():
    thing = in_triangles([3, 3, 3, 3], ["a", "b", "c", "whole"])
    shared = replace(thing, holds=np.array([[1, 1, 0], [0, 1, 1], [0, 0, 1], [1, 1, 1]], bool))
    parts = found_tree([4, 4, 3, 4, 4], [0, 1, 2])
    relevancy = np.zeros((5, 4), np.float32)
    relevancy[[0, 1], 0] = 1
    relevancy[[1, 2], 1] = 1
    found = score(shared, names_asked(shared), np.array([0, 1, 2]), parts, relevancy)
    assert found.peak_miou == pytest.approx(2 / 4)  # a and b exactly, c and the whole not at all


def test_a_tree_of_the_root_alone_finds_nothing_and_json_knows_no_nan():
    thing = in_triangles([2, 2, 2], ["a", "b", "whole"])
    found = score(thing, names_asked(thing), np.array([0, 1]), found_tree([0], [0, 0]), np.zeros((1, 3), np.float32))
    assert found.matched_recall == 0 and math.isnan(found.matched_precision) and found.leaf_ap50 == 0 and found.peak_miou == 0
    entry = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert entry["matched_precision"] is None and entry["masks_per_view"] is None and len(entry["miou"]) == 101


@given(cases(), st.integers(0, 1000))
def test_the_order_of_points_changes_nothing(case, seed):
    holds, atoms, parents, parts, positive, relevancy = case
    order = np.random.default_rng(seed).permutation(len(atoms))
    once, again = (cells_of(holds, atoms[o], np.array(parents), parts[o]) for o in (np.arange(len(atoms)), order))
    assert np.array_equal(mean_iou(once, positive, relevancy), mean_iou(again, positive, relevancy))
    assert isinstance(once, Cells) and np.array_equal(once.iou(), again.iou())


# ------------------------------------------------------------------ the whole way


@pytest.fixture(scope="module")
def small():
    thing = object_of(SCENES["scissors"](), "scissors")
    return thing, PartnetConfig(data=None, predicted="sam", predict=PredictedConfig(views=8, size=40, steps=60))


@pytest.fixture(scope="module")
def found(small, tmp_path_factory):
    """The numbers, and the folder they were found in; interrupted once on the way."""
    folder = tmp_path_factory.mktemp("found")
    with pytest.MonkeyPatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("eval.partnet.predicted.stages.build_tree", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        predict(*small, folder)
    assert (folder / "run" / "surface.npz").exists() and not (folder / "run" / "parts.npz").exists()
    return predict(*small, folder), folder


def test_from_a_mesh_a_tree_is_found_that_is_worth_something(found):
    numbers, folder = found
    assert numbers.points > 150 and numbers.nodes > 2 and numbers.hidden_nodes == 0 and numbers.true_nodes == 7
    assert numbers.nc > 0.45 and numbers.true_names_miou > numbers.floor_miou
    assert 0 <= numbers.label_aware_miou <= numbers.true_names_label_aware_miou + 1e-9 <= numbers.matched_miou + 2e-9
    assert "parts named" in (folder / "log.txt").read_text()


def test_the_same_again_does_nothing_again(small, found, monkeypatch):
    numbers, folder = found
    monkeypatch.setattr("semquery.fit.FieldFit.train", lambda *_: pytest.fail("trained again"))
    monkeypatch.setattr("eval.partnet.predicted.write_scene", lambda *_: pytest.fail("photographed again"))
    assert predict(*small, folder) == numbers


def test_an_interrupted_run_ends_like_one_that_was_not(small, found, tmp_path):
    assert predict(*small, tmp_path) == found[0]


def test_a_labeller_that_says_the_true_names_is_found_to_be_right(small, found, monkeypatch):
    """Names through the encoder come as near to 1 as the tree lets them, and a node that failed is counted."""
    (thing, config), (numbers, folder) = small, found
    truth, run = capture(thing, config, folder), Run(folder / "run")
    parts = run.parts()
    atoms = carry(run.surface(), atom_pictures(thing, truth), len(thing.area))
    asked = names_asked(thing)
    taken = names_taken(cells_of(thing.holds, atoms, parts.parents, parts.part_of_point).iou(), asked.positive)
    labels = {u: NodeLabel(u, asked.texts[row.argmax()], status="named" if row.any() else "failed") for u, row in enumerate(taken)}
    monkeypatch.setattr("eval.partnet.predicted.stages.label", lambda *_: labels)
    said = predict(thing, config, folder)
    assert said.peak_miou == pytest.approx(numbers.true_names_miou, abs=0.1)
    assert said.label_aware_miou == numbers.true_names_label_aware_miou
    labels[parts.root] = NodeLabel(parts.root, "scissors", status="failed")
    assert predict(thing, config, folder).failed == said.failed + 1 and predict(thing, config, folder).peak_miou < said.peak_miou


def test_truth_of_the_points_agrees_with_the_owners_of_faces(small, found):
    thing, config = small
    _, folder = found
    truth = capture(thing, config, folder)
    surface = Run(folder / "run").surface()
    atoms = carry(surface, atom_pictures(thing, truth), len(thing.area))
    owner = np.array([np.flatnonzero(thing.holds[:, a])[0] for a in range(len(thing.area))])
    assert np.array_equal(np.where(atoms >= 0, owner[atoms], -1), carry(surface, truth.leaves(), len(thing.parents)))


def test_another_object_or_setting_is_not_mixed_in(small, found):
    thing, config = small
    _, folder = found
    with pytest.raises(ValueError, match="another views; use another folder"):
        predict(thing, replace(config, predict=replace(config.predict, views=9)), folder)
    with pytest.raises(ValueError, match="another masks, seed"):
        find_tree(thing, replace(config, predicted="regions", seed=1), folder)
    with pytest.raises(ValueError, match="another object, scene"):
        predict(object_of(SCENES["plate"](), "plate"), config, folder)
    with pytest.raises(ValueError, match="another steps;"):
        predict(thing, replace(config, predict=replace(config.predict, steps=50)), folder)


def test_what_cannot_be_predicted_is_said(small, tmp_path):
    thing, config = small
    with pytest.raises(ValueError, match="regions or sam"):
        predict(thing, replace(config, predicted="no"), tmp_path)
    with pytest.raises(ValueError, match="made is a single part"):
        predict(in_triangles([0], ["stone"]), config, tmp_path)
    with pytest.raises(ValueError, match="--predict.views is 1; give 2 or more"):
        PredictedConfig(views=1)
    assert not list(tmp_path.iterdir())
