"""Segmenters that know the answer, and what spoils it."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semquery.segmenter import Context, Noisy, Oracle, Segmenter
from semquery.segmenter.oracle import box_around, boxed, embedding_of, grown, speckled

VIEWS = tuple(f"view {i:02d}" for i in range(10))
QUERIES = {"seat": frozenset({1}), "back": frozenset({2}), "legs": frozenset({3, 4})}


def chair() -> Oracle:
    """Ten views of a seat, a back and two legs, shifted from view to view; no leg is seen in the last."""
    truth = {}
    for i, view in enumerate(VIEWS):
        parts = np.full((60, 48), -1)
        parts[30:38, 8 + i : 30 + i] = 1
        parts[4:30, 8 + i : 12 + i] = 2
        parts[38:56, 8 + i : 11 + i] = 3
        parts[38:56, 26 + i : 30 + i] = 4
        truth[view] = np.where(parts > 2, -1, parts) if i == 9 else parts
    return Oracle(truth, QUERIES)


def ask(segmenter, view: str, query: str):
    return segmenter.segment(np.zeros((60, 48, 3), np.uint8), query, Context(view))


def mask_of(segmenter, view: str = VIEWS[0], query: str = "seat") -> np.ndarray:
    (region,) = ask(segmenter, view, query)
    return region.mask


def test_they_are_segmenters():
    assert isinstance(chair(), Segmenter) and isinstance(Noisy(chair(), "box"), Segmenter)
    assert "10 views and 3 queries" in chair().check() and "miss 0.5" in Noisy(chair(), "miss", 0.5).check()


def test_the_oracle_answers_with_the_pixels_of_what_is_meant():
    oracle = chair()
    for view in VIEWS[:9]:
        for query, ids in QUERIES.items():
            (region,) = ask(oracle, view, query)
            assert all(region.mask[y, x] == (oracle.truth[view][y, x] in ids) for y in range(60) for x in range(48))
            assert region.label == query and query in region.text and region.score == 1


def test_what_is_not_visible_has_no_region():
    assert ask(chair(), VIEWS[9], "legs") == []
    assert all(ask(Noisy(chair(), kind, 1), VIEWS[9], "legs") == [] for kind in ("dilate", "erode", "jitter", "box", "speckle", "miss"))


@pytest.mark.parametrize("view, query, told", [("nowhere", "seat", "no truth for the view 'nowhere'"), (VIEWS[0], "lamp", "knows 'seat'")])
def test_what_it_does_not_know_is_an_error_not_an_empty_answer(view, query, told):
    with pytest.raises(ValueError, match=told):
        ask(Noisy(chair(), "box"), view, query)


def test_a_picture_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"\(60, 47\) pixels; the truth about it \(60, 48\)"):
        chair().segment(np.zeros((60, 47, 3), np.uint8), "seat", Context(VIEWS[0]))


def test_the_identity_changes_with_all_that_decides_the_answers_and_with_nothing_else():
    oracle = chair()
    moved = Oracle({**oracle.truth, VIEWS[0]: oracle.truth[VIEWS[0]].T.copy()}, oracle.meant)
    others = [moved, Oracle(oracle.truth, {**QUERIES, "seat": frozenset({2})}), Noisy(oracle, "box"), Noisy(oracle, "miss", 0.1),
              Noisy(oracle, "miss", 0.2), Noisy(oracle, "miss", 0.2, seed=1), Noisy(Noisy(oracle, "box"), "miss", 0.2, seed=1)]
    assert len({s.identity for s in [oracle, *others]}) == 8
    assert chair().identity == oracle.identity
    assert Oracle({v: t.astype(np.int16) for v, t in oracle.truth.items()}, QUERIES).identity == oracle.identity


def test_embeddings_are_unit_vectors_that_tell_right_from_wrong():
    vectors = np.stack([embedding_of(frozenset({part})) for part in range(40)])
    cosines = (vectors @ vectors.T)[np.triu_indices(40, 1)]
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert cosines.mean() == pytest.approx(0.3, abs=0.01) and np.quantile(cosines, 0.02) > 0.18 and np.quantile(cosines, 0.98) < 0.42
    assert np.array_equal(embedding_of(frozenset({3, 4})), embedding_of(frozenset({4, 3})))


masks = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).random((23, 19)) < 0.1)


@given(masks, st.floats(0, 6))
def test_growing_reaches_what_is_near_enough_to_a_pixel(mask, pixels):
    ys, xs = np.nonzero(mask)
    slow = np.array([[bool(((ys - y) ** 2 + (xs - x) ** 2 <= pixels**2).any()) for x in range(19)] for y in range(23)])
    assert np.array_equal(grown(mask, pixels), slow)


@given(masks.filter(np.any))
def test_a_box_holds_its_mask_and_no_smaller_one_does(mask):
    box = np.array(box_around(mask))
    assert boxed(mask.shape, tuple(box))[mask].all()
    for smaller in box + np.diag([1, 1, -1, -1]):
        assert not boxed(mask.shape, tuple(smaller))[mask].all()


@given(masks, st.floats(0, 1), st.integers(0, 100))
def test_speckle_flips_whole_blocks_and_the_share_of_them_that_is_asked_for(mask, share, seed):
    flipped = mask ^ speckled(mask, share, np.random.default_rng(seed))
    blocks = [flipped[y : y + 8, x : x + 8] for y in range(0, 23, 8) for x in range(0, 19, 8)]
    assert all(block.all() or not block.any() for block in blocks)
    assert sum(block.all() for block in blocks) == round(share * 9)


def test_dilation_and_erosion_move_the_outline_by_hand():
    oracle = chair()
    seat = mask_of(oracle)
    wide, narrow = mask_of(Noisy(oracle, "dilate", 2)), mask_of(Noisy(oracle, "erode", 2))
    assert box_around(seat) == (8, 30, 30, 38) and box_around(wide) == (6, 28, 32, 40) and box_around(narrow) == (10, 32, 28, 36)
    assert not wide[28, 6] and wide[28, 8] and narrow[32, 10]  # corners are round outside
    assert ask(Noisy(oracle, "erode", 4), VIEWS[0], "seat") == []


def test_jitter_does_either():
    oracle, areas = chair(), []
    for view in VIEWS:
        mask = mask_of(Noisy(oracle, "jitter", 2), view)
        assert np.array_equal(mask, mask_of(Noisy(oracle, "dilate", 2), view)) or np.array_equal(mask, mask_of(Noisy(oracle, "erode", 2), view))
        areas.append(mask.sum())
    assert len({int(a) for a in areas}) == 2


def test_a_mask_becomes_its_box():
    (region,) = ask(Noisy(chair(), "box"), VIEWS[0], "legs")
    assert region.box == (8, 38, 30, 56) and np.array_equal(region.mask, boxed((60, 48), region.box))


@pytest.mark.parametrize("share, number", [(0.0, 0), (0.3, 3), (0.6, 6), (1.0, 10)])
def test_so_many_views_have_no_answer(share, number):
    missed = [view for view in VIEWS if not ask(Noisy(chair(), "miss", share), view, "seat")]
    assert len(missed) == number


def test_a_hallucinated_view_shows_another_part_with_the_embedding_of_that():
    oracle = chair()
    noisy = Noisy(oracle, "hallucinate", 0.4, seed=3)
    wrong = [view for view in VIEWS if not np.array_equal(mask_of(noisy, view), mask_of(oracle, view))]
    assert len(wrong) == 4 and set(wrong) == noisy.spoiled("seat")
    for view in wrong:
        (region,) = ask(noisy, view, "seat")
        assert region.label in ("back", "legs") and np.array_equal(region.mask, mask_of(oracle, view, region.label))
        assert 0.2 < region.embedding @ ask(oracle, view, "seat")[0].embedding < 0.4


def test_with_one_query_any_other_part_is_hallucinated_and_without_other_parts_nothing():
    truth = chair().truth
    alone = Noisy(Oracle(truth, {"seat": frozenset({1})}), "hallucinate", 1)
    assert {ask(alone, view, "seat")[0].label for view in VIEWS} == {"part 2", "part 3", "part 4"}
    whole = Noisy(Oracle(truth, {"chair": frozenset({1, 2, 3, 4})}), "hallucinate", 1)
    assert ask(whole, VIEWS[0], "chair") == []


def test_chance_hangs_on_seed_view_and_query_not_on_the_order_of_asking():
    noisy = Noisy(Noisy(chair(), "speckle", 0.2, seed=1), "hallucinate", 0.5, seed=2)
    asked = [(view, query) for view in VIEWS for query in QUERIES]
    there = {key: [r.mask.tobytes() for r in ask(noisy, *key)] for key in asked}
    assert there == {key: [r.mask.tobytes() for r in ask(noisy, *key)] for key in reversed(asked)}
    other = Noisy(noisy.inner, "hallucinate", 0.5, seed=3)
    assert any(there[key] != [r.mask.tobytes() for r in ask(other, *key)] for key in asked)
    assert len({noisy.spoiled(query) for query in QUERIES}) > 1
    assert all(a <= b for a, b in pairwise(Noisy(chair(), "miss", share).spoiled("seat") for share in (0, 0.2, 0.4, 0.8)))


def test_noises_nest_in_the_order_they_are_given():
    noisy = Noisy(Noisy(chair(), "dilate", 2), "hallucinate", 1)
    (region,) = ask(noisy, VIEWS[0], "seat")
    assert np.array_equal(region.mask, grown(mask_of(chair(), VIEWS[0], region.label), 2))


@pytest.mark.parametrize("kind, amount", [("dilate", -1.0), ("miss", 1.5), ("speckle", -0.1), ("hallucinate", float("nan"))])
def test_amounts_that_make_no_sense_are_refused(kind, amount):
    with pytest.raises(ValueError, match=f"The amount of {kind} is"):
        Noisy(chair(), kind, amount)
