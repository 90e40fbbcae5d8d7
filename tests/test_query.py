"""From a query to hits: what is said of a part, what is not here, and what is refused."""

import threading
from dataclasses import dataclass

import numpy as np
import pytest
from helpers import part_tree, small_cameras, small_labels, small_parts, small_surface
from hypothesis import given, settings
from hypothesis import strategies as st

from semquery.codebook import build_codebook
from semquery.phrases import Phrase, Relation, parse
from semquery.prompts import bank, negatives
from semquery.query import Matcher, QueryConfig, Searcher
from semquery.query.entries import kinds
from semquery.query.exact import canonical
from semquery.query.scorers import background
from semquery.relations import frame_of, places
from semquery.text import Lexical
from semquery.types import NodeLabel

ENCODER = Lexical(dim=1024)


@dataclass(frozen=True)
class Planted:
    """Vectors as they were planted; zeros for other texts."""

    planted: tuple[tuple[str, tuple[float, ...]], ...]
    kind: str = "sentence"
    identity: str = "planted"

    def check(self) -> str:
        return "planted"

    def queries(self, texts):
        width = len(self.planted[0][1])
        rows = np.array([dict(self.planted).get(t, (0.0,) * width) for t in texts], np.float32).reshape(-1, width)
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)

    passages = queries

    def pictures(self, pngs):
        return self.queries([png.decode() for png in pngs])


def searcher(labels=None, encoder=ENCODER, parts=None, pictures=None, against=None, generic=None, **config):
    labels, picture_encoder = labels or small_labels(), encoder if pictures else None
    against, generic = negatives() if against is None else against, bank() if generic is None else generic
    book = build_codebook(labels, encoder, against, generic, pictures, picture_encoder)
    return Searcher(parts or small_parts(), labels, book, encoder, QueryConfig(**config), picture_encoder)


# ------------------------------------------------------------------ names


@pytest.mark.parametrize(("one", "other"), [
    ("The Legs", "leg"), ("a left  knob", "left knob"), ("GRAY door", "grey doors"), ("ＫＮＯＢ", "knob"), ("the part", "The Part"),
    ("Straße", "STRASSE"), ("shelves", "shelf"), ("table legs", "table leg"),
])
def test_spellings_of_one_name_have_one_form(one, other):
    assert canonical(one) == canonical(other) != ""


@pytest.mark.parametrize(("one", "other"), [("glass", "glas"), ("left knob", "knob left"), ("leg", "log"), ("scissors", "scissor box")])
def test_other_names_have_other_forms(one, other):
    assert canonical(one) != canonical(other)


@given(st.text(max_size=40))
@settings(max_examples=100, deadline=None)
def test_every_text_that_can_be_read_has_a_form_and_keeps_it(text):
    assert bool(canonical(text)) == bool(text.split())


def test_an_answer_says_what_where_and_why():
    labels = {**small_labels(), 1: NodeLabel(1, "right knob", thinking="It is on the right.")}
    hit = searcher(labels).find("the right knob")[0]
    assert (hit.part, hit.members, hit.path, hit.matched, hit.num_points) == (1, (1,), ("panel", "right knob"), "right knob", 3)
    assert hit.reason == "its name “right knob” is what was asked for. It is on the right."
    assert (hit.score, hit.scorer) == (1.0, "exact") and hit.probability > 0.95


def test_a_near_name_is_an_answer_with_the_scorers_score():
    hits = searcher().find("knob")
    assert [(h.part, h.scorer) for h in hits] == [(0, "cosine"), (1, "cosine")] and 0.5 < hits[0].score < 1
    assert hits[0].reason == "its name “left knob” is closest to the query."


def test_a_synonym_is_a_name_but_comes_after_it():
    labels = {0: NodeLabel(0, "dial", ("knob",)), 1: NodeLabel(1, "knob"), 2: NodeLabel(2, "plate", (), "knob")}
    found = searcher(labels, near_best=0.0)
    assert [(h.part, h.scorer) for h in found.find("knob")][:2] == [(1, "exact"), (0, "exact")]
    assert found.match("knob").exact.tolist() == [True, True, False, False, False]  # a function line is no name


def test_parts_nothing_is_said_about_are_never_hits_but_stand_in_paths():
    found = searcher({0: NodeLabel(0, "left knob"), 2: NodeLabel(2, "unknown")}, threshold=0.0, near_best=0.0)
    hits = found.find("left knob")
    assert [h.part for h in hits] == [0] and hits[0].path == ("part 3", "left knob")
    match = found.match("unknown plate")
    assert match.score[1:].tolist() == [0] * 4 and match.entry.tolist() == [0, -1, -1, -1, -1]


def test_parts_that_are_called_alike_are_one_hit_with_members():
    labels = {0: NodeLabel(0, "knob"), 1: NodeLabel(1, "Knob"), 2: NodeLabel(2, "plate")}
    (hit,) = searcher(labels).find("knob")
    assert (hit.part, hit.members, hit.num_points) == (0, (0, 1), 7)
    assert hit.reason == "2 parts are called so: its name “knob” is what was asked for."


def test_all_of_a_kind_are_found_by_their_plural_without_places():
    labels = {0: NodeLabel(0, "left knob"), 1: NodeLabel(1, "right knob"), 2: NodeLabel(2, "plate")}
    (hit,) = searcher(labels).find("all the knobs")
    assert hit.members == (0, 1) and hit.reason == "2 parts are called “knobs”."


def test_no_more_than_top_hits_the_best_first():
    labels = {p: NodeLabel(p, name) for p, name in enumerate(["red knob", "knob", "tin knob", "old knob"])}
    found = searcher(labels, parts=part_tree([4] * 5, [0, 1, 2, 3]), top=2, near_best=0.0)
    assert [h.part for h in found.find("knob")] == [1, 0] and len(found.candidates("knob")) == 4


# ------------------------------------------------------------------ phrases


def in_space():
    frame = frame_of(small_surface(), small_parts(), small_cameras(), up=np.array([0.0, 0, 1]), front=np.array([0.0, -1, 0]))
    return places(small_surface(), small_parts(), frame)


@pytest.mark.parametrize(("query", "answers"), [
    ("the knob on the right", [(1, (1,))]), ("the second knob from the left", [(1, (1,))]), ("knob nearest to the plate", [(1, (1,))]),
    ("all the knobs of the panel", [(0, (0, 1))]), ("knobs but not the left knob", [(1, (1,))]),
    ("handle of the panel", []), ("knob of the piano", []), ("third knob from the left", []),
])
def test_a_compound_query_goes_by_the_tree_and_by_places(query, answers):
    hits = searcher().find(query, in_space())
    assert [(h.part, h.members) for h in hits] == answers
    assert all("knob" in h.reason and 0.5 < h.score < 1 and h.probability > 0.5 for h in hits)


def test_parts_called_alike_are_one_answer_to_a_compound_query_too():
    labels = {**small_labels(), 0: NodeLabel(0, "knob"), 1: NodeLabel(1, "knob")}
    (hit,) = searcher(labels).find("knob of the panel", in_space())
    assert hit.members == (0, 1) and (hit.score, hit.scorer) == (1.0, "exact")


def test_a_name_that_looks_compound_is_taken_as_a_name():
    labels = {**small_labels(), 2: NodeLabel(2, "knob of the panel")}
    hit = searcher(labels).find("the knob of the panel")[0]
    assert (hit.part, hit.scorer) == (2, "exact")


def test_a_query_about_places_needs_them():
    with pytest.raises(ValueError, match="“knob of the panel” asks where parts are or which of several is meant; give the places"):
        searcher().find("knob of the panel")


def test_a_phrase_that_somebody_else_understood_is_followed():
    phrase = Phrase("knob", relations=(Relation("part_of", (Phrase("panel"),)),), pick="right")
    assert [h.part for h in searcher().find("der rechte Knopf", in_space(), phrase)] == [1]


def test_a_phrase_is_as_likely_as_the_least_likely_part_it_speaks_of():
    found = searcher()
    piano, knob = (found.match(text).probability for text in ("piano", "left knob"))
    assert found.probability(parse("left knob of the piano")) == piano < 0.5 < knob
    assert found.probability(Phrase("left knob", relations=(Relation("part_of", (Phrase("of the"),)),))) == knob


def test_candidates_are_rated_by_their_share_of_the_best_lead():
    labels = {p: NodeLabel(p, name) for p, name in enumerate(["knob", "red knob", "plate"])}
    (best, one), (other, share) = searcher(labels).candidates("knob")
    assert (best, one, other) == (0, 1.0, 1) and 0.7 < share < 1
    assert searcher().candidates("of the") == []


# ------------------------------------------------------------------ kinds


@pytest.mark.parametrize(("name", "said"), [
    ("start button", {"start button", "button"}), ("Table legs 2", {"table legs 2", "table leg", "leg"}),
    ("leg of the chair", {"leg of chair", "leg"}), ("handle", {"handle"}), ("the part", {"the part", "part"}), ("取っ手", {"取っ手"})])
def test_the_last_words_of_a_name_say_what_kind_of_thing_it_is(name, said):
    assert set(kinds(name)) == said


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_parts_of_a_kind_are_those_with_a_name_or_synonym_that_ends_so(seed):
    random = np.random.default_rng(seed)
    pick = lambda: " ".join(random.choice(["red", "button", "knob", "top"], random.integers(1, 4)))  # noqa: E731
    labels = {p: NodeLabel(p, pick(), (pick(),), pick()) for p in random.permutation(5).tolist()[:4]}
    found = searcher(labels).matcher.entries.of_kind("the Buttons")
    said = {p: (label.name, *label.synonyms) for p, label in labels.items()}
    assert found.tolist() == [any(name.split()[-1] == "button" for name in said.get(p, ())) for p in range(5)]


def test_what_is_named_so_comes_before_a_synonym_a_kind_and_never_with_what_only_comes_near():
    names = [NodeLabel(0, "start button"), NodeLabel(1, "key", ("button",)), NodeLabel(2, "button"), NodeLabel(3, "button plate")]
    found = searcher(dict(enumerate(names)), parts=part_tree([4] * 5, [0, 1, 2, 3]), near_best=0.0)
    parts, shares = zip(*found.candidates("the buttons"), strict=True)
    assert parts == (2, 1, 0) and shares == pytest.approx((1, 0.95, 0.9))
    assert found.candidates("plate") == [(3, 1.0)]
    (hit,) = found.find("all the buttons")
    assert hit.members == (0, 1, 2)


def test_a_part_that_is_called_like_the_parts_it_is_made_of_is_these():
    names = {4: "keys", 0: "key 1", 1: "key 2", 2: "key 3", 3: "plate"}
    labels = {p: NodeLabel(p, name) for p, name in names.items()}
    only_keys = part_tree([4, 4, 4, 5, 5, 5], [0] * 9 + [1] * 9 + [2] * 9 + [3])
    assert {p for p, _ in searcher(labels, parts=only_keys).candidates("key")} == {0, 1, 2}
    with_more = searcher(labels, parts=part_tree([4, 4, 4, 4, 5, 5], [0, 1, 2] + [3] * 9))
    assert with_more.candidates("key") == [(4, 1.0)] and with_more.inside("key", 4) == [0, 1, 2] and with_more.inside("key", 0) == []


def test_a_kind_is_there_however_far_its_whole_name_is():
    encoder = Planted((("side brace", (1.0, 0.0)), ("brace", (0.0, 1.0)), ("thing", (-0.6, 0.8)), ("plate", (0.5, 0.5))))
    found = searcher({0: NodeLabel(0, "side brace"), 2: NodeLabel(2, "plate")}, encoder, against=(), generic=("thing",))
    assert found.match("brace").probability < 0.5 < found.probability(Phrase("brace"))
    assert found.candidates("brace") == [(0, 1.0)]


def test_more_words_than_a_name_has_are_not_the_name():
    labels = {**small_labels(), 2: NodeLabel(2, "plate")}
    found = searcher(labels)
    assert found.is_a_name("the plate") and found.is_a_name("Plates") and not found.is_a_name("the thing on the plate")


def test_equally_good_answers_to_one_question_are_one_hit_that_says_so():
    names = ["left knob", "right knob"]
    found = searcher({p: NodeLabel(p, name) for p, name in enumerate(names)} | {3: NodeLabel(3, "panel")})
    (hit,) = found.find("knob of the panel", in_space())
    assert hit.members == (0, 1) and "does not tell which of 2 is meant" in hit.reason


# ------------------------------------------------------------------ against the definition


def slow_leads(book, vector, scorer, rows):
    """The lead of every entry in turn."""
    behind = background(np.array([b for b in book.bank if all(b @ v < 0.95 for v in book.vectors)]).reshape(-1, len(vector)), vector)

    def lead(row):
        strongest = max((row @ n for n in book.negatives), default=0.0)
        return float({"lerf": row @ vector - strongest, "cosine": row @ vector, "zscore": row @ vector - behind.mean}[scorer])

    own = {"lerf": 1 - max((vector @ n for n in book.negatives), default=0.0), "cosine": 1.0, "zscore": 1 - behind.mean}[scorer]
    texts = book.text_of_entry.tolist()
    named = [text in rows and field in ("name", "synonym") for text, field in zip(texts, book.fields, strict=True)]
    top = max([own, *(lead(book.vectors[text]) + 0.1 for text, is_named in zip(texts, named, strict=True) if not is_named)])
    return [(top if field == "name" else top - 0.05) if is_named else lead(book.vectors[text])
            for text, field, is_named in zip(texts, book.fields, named, strict=True)]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["lerf", "cosine", "zscore"]), st.booleans())
def test_every_part_is_spoken_for_by_its_best_entry(seed, scorer, exact):
    random = np.random.default_rng(seed)
    texts = [f"t{i}" for i in range(9)]
    encoder = Planted(tuple((t, tuple(random.normal(size=4).tolist())) for t in [*texts, "q", "n", "m", "b", "c"]))
    pick = lambda: texts[random.integers(9)]  # noqa: E731
    labels = {p: NodeLabel(p, pick(), (pick(), pick()), pick()) for p in random.permutation(6).tolist()[:4]}
    book = build_codebook(labels, encoder, ("n", "m"), ("b", "c"))
    matcher = Matcher(book, 6, encoder, QueryConfig(scorer=scorer), None)
    vector, rows = encoder.queries(["q"])[0], [0, 2] if exact else []
    match, slow = matcher.match_vector(vector, rows), slow_leads(book, vector, scorer, rows)
    for part in range(6):
        own = [entry for entry, whose in enumerate(book.part_of_entry.tolist()) if whose == part]
        assert match.lead[part] == pytest.approx(max((slow[entry] for entry in own), default=-np.inf), abs=1e-6)
        assert match.entry[part] in (own or [-1])
        assert not own or slow[match.entry[part]] == pytest.approx(match.lead[part], abs=1e-6)


def test_of_equal_entries_the_first_speaks():
    labels = {0: NodeLabel(0, "mug", ("jar", "cup")), 1: NodeLabel(1, "lid", ("cup",))}
    encoder = Planted(tuple((t, (1.0, 0.0)) for t in ("mug", "jar", "cup")) + (("lid", (0.0, 1.0)), ("q", (1.0, 0.0)), ("n", (0.5, 0.5))))
    book = build_codebook(labels, encoder, ("n",), ())
    assert Matcher(book, 2, encoder, QueryConfig(), None).match("q").entry.tolist() == [0, 4]


# ------------------------------------------------------------------ pictures

SEEN = Planted((("mug", (1, 0, 0, 0)), ("cup", (0.9, 0.44, 0, 0)), ("jar", (0.8, 0.6, 0, 0)), ("red", (0.5, 0, 0.9, 0)), ("blue", (0, 0, 0, 1)),
                ("red mug", (0.8, 0, 0.6, 0))))


def test_pictures_tell_parts_apart_that_are_called_alike():
    labels = {0: NodeLabel(0, "mug"), 1: NodeLabel(1, "mug"), 2: NodeLabel(2, "jar")}
    pictures = {0: b"blue", 1: b"red", 2: b"blue"}
    plain, mixed = (searcher(labels, SEEN, pictures=seen, against=(), generic=("blue",), threshold=0.0) for seen in (None, pictures))
    assert [h.members for h in plain.find("red mug")][0] == (0, 1)
    assert mixed.find("red mug")[0].members == (1,)
    same = searcher(labels, SEEN, pictures=pictures, against=(), generic=("blue",), threshold=0.0, alpha=1.0)
    np.testing.assert_allclose(same.match("red mug").lead, plain.match("red mug").lead, atol=1e-6)


def test_a_part_without_a_name_is_found_by_its_picture():
    labels = {0: NodeLabel(0, "cup"), 1: NodeLabel(1, "jar"), 3: NodeLabel(3, "unknown")}
    found = searcher(labels, SEEN, pictures={0: b"blue", 1: b"blue", 3: b"red"}, against=(), generic=("blue",), threshold=0.0)
    hit = found.find("red")[0]
    assert (hit.part, hit.matched, hit.reason) == (3, "", "its picture is closest to the query.")


def test_an_exact_name_comes_before_any_picture():
    labels = {0: NodeLabel(0, "red"), 1: NodeLabel(1, "jar"), 2: NodeLabel(2, "cup")}
    found = searcher(labels, SEEN, pictures={0: b"blue", 1: b"red", 2: b"red"}, against=(), generic=("blue",), alpha=0.0)
    assert found.find("red")[0].part == 0


# ------------------------------------------------------------------ not here, and refused


@pytest.mark.parametrize("query", ["submarine", "piano", "zebra stripes", "steering wheel"])
def test_a_query_for_what_is_not_here_has_no_answer(query):
    found = searcher()
    assert found.find(query) == [] and found.candidates(query) == []
    assert searcher(threshold=0.0).find(query)  # 0 always answers
    assert found.closest(query)[1] < 0.5


def test_the_closest_text_is_told():
    assert searcher().closest("right knob")[0] == "right knob"


@pytest.mark.parametrize("query", ["", "  \n\t"])
def test_an_empty_query_is_refused(query):
    with pytest.raises(ValueError, match="The query is empty; say what to look for"):
        searcher().find(query)


def test_a_query_of_ten_thousand_characters_is_refused():
    with pytest.raises(ValueError, match="has 10000 characters, and at most 1000 are read"):
        searcher().find("knob " * 2000)
    assert searcher().find("knob " * 200)


@pytest.mark.parametrize("query", ["?!", "of the"])
def test_a_query_the_encoder_knows_nothing_of_is_refused(query):
    with pytest.raises(ValueError, match="knows none of it. It knows spelling alone: ask with the words of the names"):
        searcher().match(query)
    with pytest.raises(ValueError, match="knows none of it.$"):
        searcher(encoder=Planted((("knob", (1, 0)),))).match(query)


def test_other_languages_find_names_in_their_own_words():
    labels = {0: NodeLabel(0, "linker Drehknopf"), 1: NodeLabel(1, "ручка"), 2: NodeLabel(2, "取っ手")}
    found = searcher(labels)
    assert [[h.part for h in found.find(q)][:1] for q in ("Drehknopf", "ручка", "取っ手", "ножка")] == [[0], [1], [2], []]


def test_a_codebook_of_another_encoder_is_refused():
    book = build_codebook(small_labels(), ENCODER, (), ())
    with pytest.raises(ValueError, match=r"made by Lexical\(dim=1024.*encoded by Lexical\(dim=64.*semquery encode RUN encoder:… --overwrite"):
        Searcher(small_parts(), small_labels(), book, Lexical(dim=64))


def test_pictures_of_another_encoder_are_refused():
    labels = {0: NodeLabel(0, "mug")}
    book = build_codebook(labels, SEEN, (), (), {0: b"red"}, SEEN)
    with pytest.raises(ValueError, match="made by planted, the query is encoded by another"):
        Searcher(small_parts(), labels, book, SEEN, picture_encoder=Planted(SEEN.planted, identity="another"))


def test_a_scene_of_which_nothing_is_said_has_no_answer():
    found = searcher({2: NodeLabel(2, "unknown")}, threshold=0.0)
    assert found.find("knob") == [] and found.candidates("knob") == []


@pytest.mark.parametrize(("wrong", "said"), [({"threshold": 1.5}, "got threshold 1.5"), ({"top": 0}, "got top 0")])
def test_settings_that_mean_nothing_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        QueryConfig(**wrong)


def test_a_scorer_there_is_not_is_refused_where_types_go_unchecked():
    config = QueryConfig()
    object.__setattr__(config, "scorer", "bm25")
    with pytest.raises(ValueError, match="no scorer called 'bm25'; expected auto, lerf, cosine or zscore"):
        config.__post_init__()


# ------------------------------------------------------------------ threads


def test_many_threads_get_the_answers_of_one():
    found, queries = searcher(), ["knob", "left knob", "plate", "panel", "scene", "right knob"] * 30
    wanted = [found.find(q) for q in queries]
    answers = [None] * len(queries)
    shared = searcher()

    def work(start):
        for k in range(start, len(queries), 4):
            answers[k] = shared.find(queries[k])

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    [t.start() for t in threads], [t.join() for t in threads]
    assert answers == wanted


@pytest.mark.parametrize("text", ["small red part", "the red thing", "red parts", "red one"])
def test_a_part_or_a_thing_may_be_of_any_kind(text):
    from semquery.query.kinds import Names

    names = Names(["small red knob", "red plate"], np.ones(2, bool))
    assert not names.of_another_kind(text).any() and names.of_another_kind("red button").all()
