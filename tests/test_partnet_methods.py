"""Every method says of every node how relevant it is to each query: by formula, by pictures, by lot; and says so if it cannot."""


import math
from dataclasses import replace

import numpy as np
import pytest
from checkpoints_qwen import build_qwen
from checkpoints_text import build_dual, build_sentence
from hypothesis import given
from hypothesis import strategies as st
from partnet_helpers import MODELS, QUICK, SMALL, Heard, asked, backends, config, equal, knowing, node, shown, squares, without_seconds

from eval.metrics.naming import propagation, propagation_counts
from eval.partnet.methods import METHODS, check, default_methods, refusals, relevancy_of_labels, relevancy_of_vectors, say
from eval.partnet.methods.floors import draws
from eval.partnet.methods.pictured import unit
from eval.partnet.methods.relevancy import relevancies
from eval.partnet.methods.subject import OPTIONS, facts_of, sampled, subject_of
from eval.partnet.pictures.shown import Shown
from eval.partnet.records import Asked, asked_of, object_of
from semquery.labelling import LabelConfig, Unreachable, candidates_of
from semquery.prompts import bank, negatives
from semquery.text import EmbeddingServer, HfText, Lexical
from semquery.types import NodeLabel
from semquery.vlm import OpenAiServer, QwenVl, Scripted


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> HfText:
    return HfText(str(build_dual("clip", tmp_path_factory.mktemp("clip"))))


@pytest.fixture(scope="module")
def qwen(tmp_path_factory) -> QwenVl:
    return QwenVl(str(build_qwen("qwen2_5_vl", tmp_path_factory.mktemp("qwen"))), min_pixels=56 * 56, max_pixels=56 * 56)


# ---------------------------------------------------------------------------------------------- relevancy


def test_relevancy_of_a_hand_made_case():
    """r = min_j e^{T s} / (e^{T s} + e^{T n_j}): against the nearer of two negatives."""
    vectors = np.array([[1.0, 0.0], [0.6, 0.8]])
    found = relevancies(vectors, np.array([[0.8, 0.6]]), np.array([[0.0, 1.0], [1.0, 0.0]]), 10.0)
    wanted = [[1 / (1 + math.exp(10 * (1.0 - 0.8)))], [1 / (1 + math.exp(10 * (0.8 - 0.96)))]]
    assert np.allclose(found, wanted, atol=1e-6)


units = st.lists(st.integers(-3, 3), min_size=3, max_size=3).map(lambda v: unit(np.array([v], float))[0])


@given(st.lists(units, max_size=4), st.lists(units, max_size=3), st.lists(units, min_size=1, max_size=3), st.floats(0.1, 100))
def test_relevancy_is_the_least_softmax_over_the_negatives_and_nothing_is_near_what_is_not_known(vectors, queries, beaten, temperature):
    shaped = [np.array(rows, np.float32).reshape(-1, 3) for rows in (vectors, queries, beaten)]
    found = relevancies(*shaped, temperature)
    assert found.shape == (len(vectors), len(queries)) and found.dtype == np.float32
    for v, vector in enumerate(vectors):
        for q, query in enumerate(queries):
            least = min(1 / (1 + math.exp(-temperature * float(vector @ query - vector @ other))) for other in beaten)
            assert found[v, q] == pytest.approx(least if vector.any() and query.any() else 0, abs=1e-5)


def test_a_node_is_as_relevant_as_the_best_that_is_said_of_it():
    kinds = (Asked("name", ("knob", "dial", "tuning"), np.zeros((3, 3), bool)),)
    labels = {0: NodeLabel(0, "knob", ("dial",), "for tuning", alternatives=(("plug", 0.3),)), 1: NodeLabel(1, "dial")}
    by_name = relevancy_of_labels(labels, 3, kinds, Lexical(), "name")["name"]
    by_all = relevancy_of_labels(labels, 3, kinds, Lexical(), "said")["name"]
    assert (by_name[0] > 0.9).tolist() == [True, False, False] and (by_all[0, :2] > 0.9).all() and by_all[0, 2] > by_name[0, 2]
    assert not by_all[2].any()  # nothing is said of it
    plug = (Asked("name", ("plug",), np.zeros((3, 1), bool)),)
    assert equal(relevancy_of_labels(labels, 3, plug, Lexical(), "said"), relevancy_of_labels(labels, 3, plug, Lexical(), "name"))


def test_names_that_failed_or_of_which_the_encoder_knows_nothing_have_no_relevancy():
    kinds = (Asked("name", ("part", "knob"), np.zeros((4, 2), bool)),)
    labels = {0: NodeLabel(0, "knob", status="failed"), 1: NodeLabel(1, "unknown"), 2: NodeLabel(2, "the part"), 3: NodeLabel(3, "knob")}
    found = relevancy_of_labels(labels, 4, kinds, Lexical())["name"]
    assert not found[:3].any() and found[3, 1] > 0.99 and found[3, 0] == 0  # to Lexical "part" is a stop word


def test_without_names_and_without_queries_the_shapes_are_right():
    kinds = (Asked("name", (), np.zeros((2, 0), bool)), Asked("absent", ("wing",), np.zeros((2, 1), bool)))
    found = relevancy_of_labels({}, 2, kinds, Lexical())
    assert found["name"].shape == (2, 0) and found["absent"].tolist() == [[0.0], [0.0]]


def test_the_order_of_queries_and_kinds_changes_nothing():
    what, kinds = shown("lamp"), asked("lamp")
    labels = {k: NodeLabel(k, name) for k, name in enumerate(what.thing.names)}
    found = relevancy_of_labels(labels, len(labels), kinds, Lexical())
    turned = tuple(replace(each, texts=each.texts[::-1], positive=each.positive[:, ::-1]) for each in kinds[::-1])
    assert equal(found, {kind: r[:, ::-1] for kind, r in relevancy_of_labels(labels, len(labels), turned, Lexical()).items()})


# ------------------------------------------------------------------------------------- ceilings and floors


def test_ceilings_and_floors_are_what_they_say():
    what, kinds = shown("lamp"), asked("lamp")
    found = say(("oracle", "retrieve-all", "random", "true-names"), what, kinds, backends())
    for each in kinds:
        assert np.array_equal(found["oracle"].relevancy[each.kind], each.positive)
        assert np.array_equal(found["retrieve-all"].relevancy[each.kind], np.ones_like(each.positive))
    assert (found["true-names"].relevancy["name"][kinds[0].positive] > 0.99).all() and found["true-names"].names == what.thing.names


def test_chance_is_even_and_hangs_on_the_seed_and_the_object_alone():
    what, kinds = shown("microwave"), asked("microwave")
    one, again = (METHODS["random"](what, kinds, backends()).relevancy for _ in range(2))
    other = METHODS["random"](what, kinds, backends(seed=1)).relevancy
    assert equal(one, again) and not equal(one, other)
    assert abs(np.concatenate([r.ravel() for r in one.values()]).mean() - 0.5) < 0.03
    others = ((0, "1", "random"), (0, "2", "random"), (0, "1", "simulated"), (1, "1", "random"), (-3, "ä/\0", ""))
    first = {draws(*given).random() for given in others}
    assert len(first) == 5


def test_simulated_names_err_as_they_are_told_to():
    what, kinds = shown("cabinet"), asked("cabinet")
    for share, names_right in ((1.0, len(what.thing.names)), (0.0, 0)):
        found = METHODS["simulated"](what, kinds, backends(simulated=(share, share)))
        assert sum(a == b for a, b in zip(found.names, what.thing.names, strict=True)) == names_right
        assert set(found.names) <= set(what.thing.names)
    counts = np.zeros((2, 2), np.int64)
    for seed in range(150):
        names = METHODS["simulated"](what, kinds[:1], backends(seed=seed, simulated=(0.7, 0.2))).names
        counts += propagation_counts(np.array([a == b for a, b in zip(names, what.thing.names, strict=True)]), what.thing.parents)
    assert propagation(counts) == pytest.approx(0.5, abs=0.05)


def test_a_simulated_name_is_found_by_itself_its_path_and_its_phrase_only():
    what, kinds = shown("scissors"), asked("scissors")
    found = METHODS["simulated"](what, kinds, backends(simulated=(1.0, 1.0)))
    by_kind = {each.kind: each for each in kinds}
    assert all(np.array_equal(found.relevancy[kind], by_kind[kind].positive) for kind in by_kind)
    wrong = METHODS["simulated"](what, kinds, backends(simulated=(0.0, 0.0)))
    for kind, text in (("name", "{0}"), ("phrase", "{0} of a scissors"), ("path", "{1} {0}")):
        for part, name in enumerate(wrong.names[:-1]):
            said = text.format(name, wrong.names[what.thing.parents[part]])
            assert wrong.relevancy[kind][part].tolist() == [query == said for query in by_kind[kind].texts]


def test_wrong_names_of_an_object_of_one_name_are_generic_ones():
    one = squares(np.array([[True]]), [0], ("handle",))
    found = METHODS["simulated"](Shown(one, SMALL), asked_of(one), backends(simulated=(0.0, 0.0)))
    assert found.names[0] in bank() and found.names != ("handle",) and not found.relevancy["name"].any()


# ------------------------------------------------------------------------------- an object as the labeller takes it


def test_what_a_part_holds_is_measured_as_the_object_says():
    """Two parts share the middle square; the third owns nothing that others do not own too."""
    member = np.array([[1, 1, 0, 0], [0, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]], bool)
    thing = squares(member, [3, 3, 3, 3], ("a", "b", "c", "d"))
    surface, tree = sampled(thing, 4000)
    inside = [set(np.unique((surface.points[tree.points_of(part), 0] // 2).astype(int))) for part in range(4)]
    assert inside == [set(np.flatnonzero(row)) for row in member]
    assert tree.num_points.tolist() == [int(tree.points_of(part).sum()) for part in range(4)]
    assert abs(tree.num_points / tree.num_points[3] - member.sum(1) / 4).max() < 0.01


def test_a_part_without_area_lies_where_its_face_is_and_one_without_faces_is_refused():
    thing = squares(np.array([[1, 0], [0, 1], [1, 1]], bool), [2, 2, 2], ("dot", "plate", "all"), sides=[0.0, 1.0])
    surface, tree = sampled(thing, 500)
    assert (surface.points[tree.points_of(0)] == 0).all() and (surface.points[tree.points_of(1), 0] >= 2).all()
    facts = facts_of(thing, surface, tree)
    assert [facts[part].share_of_parent for part in range(3)] == [0.0, 1.0, 1.0] and facts[0].extent == (0, 0, 0)
    with pytest.raises(ValueError, match=r"The nodes 0 \(dot\) of squares hold no face"):
        sampled(replace(thing, holds=thing.holds & np.array([[False], [True], [True]])))


def test_who_does_not_look_is_shown_nothing_and_the_paper_is_shown_black():
    what = shown("scissors")
    seen = subject_of(what, backends(Scripted(lambda request: "")), LabelConfig())
    assert subject_of(what, backends(), LabelConfig()).pictures(0) == ()
    assert seen.pictures(0) == what.pictures(0) and seen.marking == what.marking
    assert seen.pixels == dict(enumerate(what.pixels.tolist())) and seen.facts[7].place == "the whole scene"
    black = subject_of(what, backends(Scripted(lambda request: "")), LabelConfig(style="paper"))
    assert black.pictures(0) == what.pictures(0, "black")


def test_names_may_be_offered(tmp_path):
    (tmp_path / "names.json").write_text('["blade", "screw"]')
    assert list(candidates_of(LabelConfig(candidates=tmp_path / "names.json"), lambda part: ())(0, ())) == ["blade", "screw"]
    with pytest.raises(ValueError, match="give one with --label.candidates"):
        candidates_of(LabelConfig(candidates_clip="clip"), lambda part: (), OPTIONS)


# ------------------------------------------------------------------------------------------------- pictures


def test_clip_crop_by_a_loop_over_nodes(clip):
    what, kinds = shown("scissors"), asked("scissors")
    for views in (1, 3):
        found = METHODS["clip-crop"](what, kinds, backends(encoder=clip, crop_views=views))
        beaten, texts = clip.queries(negatives()), clip.queries(kinds[0].texts)
        for part in range(8):
            mean = np.mean([clip.pictures([png])[0] for png in what.crop(part, views)], axis=0)
            vector = mean / np.linalg.norm(mean)
            wanted = [min(1 / (1 + math.exp(-10 * (vector @ query - vector @ other))) for other in beaten) for query in texts]
            assert found.relevancy["name"][part] == pytest.approx(wanted, abs=1e-4)
        assert found.names == () and found.cost.pictures == sum(len(what.crop(part, views)) for part in range(8))


def test_hybrid_goes_from_the_picture_to_the_name(clip):
    what, kinds = shown("scissors"), asked("scissors")
    nameless = ("", *what.thing.names[1:])
    heard = Heard(knowing(what, nameless))
    options = {"encoder": clip, "label": QUICK}
    crop, name = (METHODS[m](what, kinds, backends(Scripted(heard.script), **options)).relevancy["name"] for m in ("clip-crop", "cot"))
    all_picture = METHODS["hybrid"](what, kinds, backends(heard.vlm, alpha=0.0, **options))
    all_name = METHODS["hybrid"](what, kinds, backends(heard.vlm, alpha=1.0, **options))
    assert np.allclose(all_picture.relevancy["name"], crop, atol=1e-6) and np.allclose(all_name.relevancy["name"], name, atol=1e-6)
    half = METHODS["hybrid"](what, kinds, backends(heard.vlm, **options))
    assert half.names == nameless and half.cost.failed == 1 and np.allclose(half.relevancy["name"][0], crop[0], atol=1e-6)
    mixed = unit(0.5 * clip.passages(nameless) + 0.5 * clip.pictures([what.crop(k)[0] for k in range(8)]))
    assert np.allclose(half.relevancy["name"], relevancy_of_vectors(mixed, np.arange(8), 8, kinds, clip)["name"], atol=1e-6)


def test_hybrid_asks_nobody_where_cot_is_known(clip):
    what, kinds, heard = shown("scissors"), asked("scissors"), Heard(knowing(shown("scissors")))
    both = say(("hybrid", "cot"), what, kinds, backends(heard.vlm, encoder=clip))
    calls = len(heard.requests)
    assert both["hybrid"].cost.calls == both["cot"].cost.calls == calls and list(both) == ["hybrid", "cot"]
    later = say(("hybrid",), what, kinds, backends(heard.vlm, encoder=clip), {"cot": both["cot"]})
    assert len(heard.requests) == calls and without_seconds(later["hybrid"]) == without_seconds(both["hybrid"])
    assert without_seconds(say(("hybrid",), what, kinds, backends(heard.vlm, encoder=clip))["hybrid"]) == without_seconds(both["hybrid"])


def test_opposite_pictures_and_missing_ones_leave_no_vector(clip):
    assert unit(np.array([[1.0, 0], [0, 0], [3, 4], [1e-9, 0]])).tolist() == pytest.approx(np.array([[1, 0], [0, 0], [0.6, 0.8], [0, 0]]))

    class OneUnseen(Shown):
        def crop(self, node, count=1):
            return () if node == 3 else super().crop(node, count)

    found = METHODS["clip-crop"](OneUnseen(shown("scissors").thing, SMALL), asked("scissors"), backends(encoder=clip))
    assert not found.relevancy["name"][3].any() and found.relevancy["name"][2].any() and found.cost.failed == 1


# ------------------------------------------------------------------------------------------------ what can be run


def test_by_default_all_that_the_given_models_can_do_is_run(clip, tmp_path):
    plain = ("cot", "true-names", "oracle", "retrieve-all", "random")
    assert default_methods(config()) == plain
    assert set(default_methods(config(encoder=clip))) - set(plain) == {"clip-crop", "hybrid"}
    assert set(default_methods(config(picture_encoder=clip))) - set(plain) == {"clip-crop", "hybrid"}
    assert set(default_methods(config(vlm=QwenVl(), encoder=clip))) == set(METHODS) - {"simulated"}
    sentences = HfText(str(build_sentence("minilm", tmp_path / "sentences")))
    assert default_methods(config(encoder=sentences)) == plain
    assert {"clip-crop", "hybrid"} <= set(refusals(config(picture_encoder=sentences)))


def test_a_method_that_cannot_be_run_is_refused_in_a_sentence():
    with pytest.raises(ValueError, match="The method clip-crop compares pictures with words, and Lexical as given knows words alone"):
        check(config(methods=("cot", "clip-crop")))
    with pytest.raises(ValueError, match="The method text-only asks a model for names, and Appearance only measures"):
        check(config(methods=("text-only",)))
    with pytest.raises(ValueError, match="no such encoder is given"):
        METHODS["clip-crop"](shown("scissors"), asked("scissors"), backends())
    with pytest.raises(ValueError):
        check(config(methods=("oracle", "flat"), label=LabelConfig(candidates_clip="clip")))


def test_only_what_is_used_is_tried(clip):
    away = OpenAiServer("http://127.0.0.1:9", "m", tries=1)
    assert check(config(vlm=away, methods=("oracle", "random", "simulated"))) == []
    found = check(config(vlm=away, encoder=clip, methods=("true-names", "clip-crop")))
    assert [line.split(":")[0] for line in found] == ["words", "pictures"]
    with pytest.raises(ValueError, match="No server can be reached"):
        check(config(vlm=away, methods=("whole-tree",)))
    assert [line.split(":")[0] for line in check(config())] == ["names", "words"]


def test_a_server_of_vectors_that_is_away_is_no_broken_object():
    away = EmbeddingServer("http://127.0.0.1:9", tries=1)
    with pytest.raises(Unreachable, match="The embedding server cannot be used"):
        say(("oracle", "true-names"), shown("scissors"), asked("scissors"), backends(encoder=away))


@pytest.mark.parametrize("method", ["cot", "flat", "true-names", "random", "simulated"])
def test_the_same_is_said_twice(method):
    what, kinds = shown("lamp"), asked("lamp")
    assert without_seconds(METHODS[method](what, kinds, backends())) == without_seconds(METHODS[method](what, kinds, backends()))


def test_an_object_of_one_part_goes_through_every_method(clip):
    from partnet_helpers import SMALL

    from eval.partnet.pictures.shown import Shown

    one = object_of(squares(np.array([[True]]), [0], ("plate",)).scene, "one")
    what = Shown(one, SMALL)
    script = Scripted(lambda r: {"names": {"0": "plate"}} if "names" in r.schema["properties"] else node("plate"))
    found = say(tuple(METHODS), what, asked_of(one), backends(script, encoder=clip))
    assert all(said.relevancy["name"].shape == (1, 1) and said.relevancy["absent"].shape == (1, 0) for said in found.values())
    assert all(found[name].names == ("plate",) for name in (*MODELS, "hybrid", "true-names"))
