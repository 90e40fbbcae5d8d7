"""Which of several hits are the answer: nested ones, and those that are called alike."""

import numpy as np
import pytest
from helpers import part_tree, random_parts, small_parts
from hypothesis import given, settings
from hypothesis import strategies as st

from semquery.query.select import Group, grouped, near_the_best, outermost, repeated
from semquery.spans import Spans

SEEDS = st.integers(0, 10**6)


def leads_of(score, num_parts):
    """Leads of relevancies at T = 10; minus infinity where there is none."""
    lead = np.full(num_parts, -np.inf)
    for part, value in score.items():
        lead[part] = np.log(value / (1 - value)) / 10
    return lead


def select(parts, lead, near_best=0.7, same=0.02):
    return outermost(near_the_best(lead, near_best), lead, parts.depth, Spans(parts), same)


def slow_select(parts, lead, near_best, same):
    """Every pair of hits compared by the table of who holds whom."""
    best = lead.max(initial=-1e9, where=np.isfinite(lead))
    hits = [p for p in range(parts.num_parts) if np.isfinite(lead[p]) and lead[p] >= min(best, near_best * best)]
    chosen = []
    for part in sorted(hits, key=lambda p: (-lead[p], parts.depth[p], p)):
        highest = min((p for p in hits if parts.holds[p, part] and lead[p] >= lead[part] - same), key=lambda p: parts.depth[p])
        if not any(parts.holds[c, highest] or parts.holds[highest, c] for c in chosen):
            chosen.append(highest)
    return sorted(chosen, key=lambda p: -lead[p])


# ------------------------------------------------------------------ nested


@pytest.mark.parametrize(("score", "answers"), [
    ({0: 0.9, 3: 0.895, 4: 0.2}, [3]),  # the panel is as good as its knob: the higher answers
    ({0: 0.9, 3: 0.85, 4: 0.2}, [0]),  # a clearly better knob stands for itself
    ({0: 0.9, 1: 0.9, 3: 0.8}, [0, 1]),  # both knobs
    ({0: 0.9, 3: 0.895, 4: 0.885}, [4]),
    ({0: 0.9, 4: 0.885, 2: 0.89}, [4]),  # an equal far above swallows all below
    ({0: 0.8, 2: 0.9}, [2]),  # .8 leads by 63 % of .9's lead
    ({0: 0.85, 2: 0.9}, [2, 0]),  # .85 by 79 %
    ({0: 0.99999, 4: 0.999}, [0]),  # relevancy saturates: these differ by .46 in similarity
    ({0: 0.4, 2: 0.3}, [0]),  # all trail what they have to beat: the best alone
    ({}, []),
])
def test_nested_hits_resolve_on_the_tree_of_five(score, answers):
    assert select(small_parts(), leads_of(score, 5)) == answers


@settings(max_examples=150, deadline=None)
@given(SEEDS, st.integers(1, 15), st.floats(0.0, 0.1), st.floats(0.0, 1.0), st.booleans())
def test_the_walk_up_the_tree_chooses_what_all_pairs_choose(seed, num_parts, same, near_best, equal):
    random = np.random.default_rng(seed)
    parts = random_parts(random, num_parts, 5)
    lead = random.choice([0.1, 0.12, 0.3], num_parts) if equal else random.uniform(-0.2, 0.5, num_parts)
    lead[random.random(num_parts) < 0.2] = -np.inf
    assert select(parts, lead, near_best, same) == slow_select(parts, lead, near_best, same)


@settings(max_examples=80, deadline=None)
@given(SEEDS, st.integers(1, 12), st.floats(0.0, 0.1), st.floats(0.0, 1.0))
def test_hits_are_never_nested_and_the_best_part_is_always_answered_for(seed, num_parts, same, near_best):
    random = np.random.default_rng(seed)
    parts = random_parts(random, num_parts, 5)
    lead = random.uniform(-0.2, 0.5, num_parts)
    chosen, best = select(parts, lead, near_best, same), int(lead.argmax())
    assert not any(parts.holds[a, b] for a in chosen for b in chosen if a != b)
    assert [lead[p] for p in chosen] == sorted((lead[p] for p in chosen), reverse=True)
    assert any(parts.holds[c, best] and lead[c] >= lead[best] - same for c in chosen)


def test_ten_thousand_parts_in_a_chain_are_one_answer():
    chain = part_tree(np.minimum(np.arange(10_000) + 1, 9_999), [0])
    assert select(chain, np.full(10_000, 0.3)) == [9_999]
    assert len(Spans(chain).above(0)) == 9_999


# ------------------------------------------------------------------ repeated

# 9 scene ─┬─ 8 table ─┬─ 7 legs: 0 1 2 3 (a point each)
#          │           └─ 4 top: two points
#          └─ 5 lid (one point), 6 lid (one point)
TABLE = part_tree([7, 7, 7, 7, 8, 9, 9, 8, 9, 9], [0, 1, 2, 3, 4, 4, 5, 6])
CALLED = ["leg", "leg", "leg", "leg", "top", "lid", "lid", "leg", "table", "scene"]


def groups(lead, called=CALLED, parts=TABLE, same=0.02):
    laid, hits = Spans(parts), near_the_best(lead, 0.7)
    is_hit = np.isin(np.arange(parts.num_parts), hits)
    chosen = outermost(hits, lead, parts.depth, laid, same)
    members = [repeated(part, is_hit, called.__getitem__, lead, laid, same) for part in chosen]
    return grouped(chosen, members, called.__getitem__, lead, laid, same)


def leads_at(**values):
    lead = np.full(10, -np.inf)
    for part, value in values.items():
        lead[int(part[1:])] = value
    return lead


def test_a_part_that_is_nothing_but_several_of_its_kind_answers_with_them():
    assert groups(leads_at(p0=0.5, p1=0.5, p2=0.5, p3=0.5, p7=0.5)) == [Group(7, (0, 1, 2, 3))]


def test_members_find_the_part_that_is_just_them_though_it_is_called_otherwise():
    assert groups(leads_at(p0=0.5, p1=0.5, p2=0.5, p3=0.5)) == [Group(7, (0, 1, 2, 3))]


def test_parts_called_alike_without_a_part_of_their_own_are_spoken_for_by_the_best():
    assert groups(leads_at(p5=0.49, p6=0.5)) == [Group(6, (5, 6))]
    assert groups(leads_at(p0=0.5, p1=0.5, p3=0.5)) == [Group(0, (0, 1, 3))]  # three of four are not the legs


def test_other_names_and_clearly_other_leads_make_groups_of_their_own():
    assert groups(leads_at(p4=0.51, p5=0.5, p6=0.5)) == [Group(4, (4,)), Group(5, (5, 6))]
    assert groups(leads_at(p5=0.4, p6=0.5)) == [Group(6, (6,)), Group(5, (5,))]


def test_a_hit_around_hits_of_another_name_stays_one_part():
    called = [*CALLED[:7], "support", *CALLED[8:]]
    assert groups(leads_at(p0=0.5, p1=0.5, p2=0.5, p3=0.5, p7=0.5), called) == [Group(7, (7,))]


def test_a_hit_that_is_more_than_the_hits_inside_it_stays_one_part():
    called = [*CALLED[:8], "leg", "scene"]  # the table was called a leg
    assert groups(leads_at(p0=0.5, p1=0.5, p2=0.5, p3=0.5, p8=0.5), called) == [Group(8, (8,))]


@settings(max_examples=80, deadline=None)
@given(SEEDS, st.integers(1, 15))
def test_every_answer_is_in_one_group_and_no_point_in_two(seed, num_parts):
    random = np.random.default_rng(seed)
    parts = random_parts(random, num_parts, 12)
    lead, called = random.choice([0.4, 0.5, 0.51], num_parts), random.choice(["a", "b"], num_parts).tolist()
    found, laid = groups(lead, called, parts), Spans(parts)
    members = [m for group in found for m in group.members]
    assert laid.highest(members) == sorted(members, key=lambda p: laid.first[p])  # none holds another
    chosen = outermost(near_the_best(lead, 0.7), lead, parts.depth, laid, 0.02)
    assert all(any(laid.holds(c, m) for c in chosen) for m in members)
    for group in found:
        assert group.members == tuple(sorted(group.members))
        assert group.part in group.members or laid.num_points[list(group.members)].sum() >= 0.9 * laid.num_points[group.part]
