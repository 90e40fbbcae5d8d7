"""Beginnings of prompts: what is shared, where it may be cut, what is kept."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from semquery.vlm.prefix import PrefixStore, branch, common_prefix, cut_before_picture

marks = st.lists(st.integers(-2, 1), max_size=12).map(lambda m: np.array(m, np.int64))


@given(marks, marks)
def test_common_prefix_is_what_a_loop_finds(a, b):
    n = 0
    while n < min(len(a), len(b)) and a[n] == b[n]:
        n += 1
    assert common_prefix(a, b) == common_prefix(b, a) == n
    assert common_prefix(a, a) == len(a)


@given(marks, st.integers(0, 12))
def test_no_picture_is_split(given_marks, length):
    length = min(length, len(given_marks))
    cut = cut_before_picture(given_marks, length)
    assert 0 <= cut <= length
    assert cut in (0, len(given_marks)) or given_marks[cut] >= 0 or given_marks[cut] != given_marks[cut - 1]


def test_a_cut_falls_back_to_the_start_of_its_picture():
    row = np.array([1, 2, -7, -7, -7, 3, -7, -8], np.int64)
    assert [cut_before_picture(row, n) for n in range(9)] == [0, 1, 2, 2, 2, 5, 6, 7, 8]


def keys_of(length: int, value: float = 0.0):
    """A cache of one layer, as attention keeps it: 8 bytes a token."""
    from transformers import DynamicCache

    cache = DynamicCache()
    rows = torch.full((1, 1, length, 1), value)
    cache.update(rows, rows.clone(), 0)
    return cache


def test_the_longest_shared_prefix_is_found_and_one_token_left_to_compute():
    store = PrefixStore(10_000)
    store.add(np.array([1, 2, 3, 4]), keys_of(4))
    store.add(np.array([1, 2, 9]), keys_of(3))
    assert store.longest(np.array([1, 2, 3, 8]))[0] == 3
    assert store.longest(np.array([1, 2, 9, 8]))[0] == 3
    assert store.longest(np.array([1, 2, 3, 4]))[0] == 3  # the whole prompt is known, and its last token computed anew
    assert store.longest(np.array([5, 6])) == (0, None)
    known, cache = store.longest(np.array([1, 7]))
    assert known == cache.get_seq_length() == 1


def test_a_picture_that_differs_is_not_known():
    store = PrefixStore(10_000)
    store.add(np.array([1, -5, -5, 2]), keys_of(4))
    assert store.longest(np.array([1, -6, -6, 2]))[0] == 1


def test_a_prefix_within_another_needs_no_place():
    store = PrefixStore(10_000)
    for length in (2, 4, 3):
        store.add(np.arange(length), keys_of(length))
    assert [len(p.marks) for p in store.prefixes] == [4]


def test_the_store_keeps_its_limit_and_forgets_what_shares_least_first():
    store = PrefixStore(8 * 10)  # ten tokens
    store.add(np.array([1, 2, 3, 4]), keys_of(4))
    store.add(np.array([5, 6, 7, 8]), keys_of(4))
    store.longest(np.array([1, 2, 3, 9]))  # the first is walked again
    store.add(np.array([1, 2, 9, 9]), keys_of(4))
    assert [p.marks[0] for p in store.prefixes] == [1, 1]
    store.add(np.arange(20), keys_of(20))  # larger than the store: left out, and nothing lost for it
    assert store.num_bytes == 64


def test_branches_of_a_cache_leave_it_alone():
    cache = keys_of(5, value=1.0)
    a, b = branch(cache, 3), branch(cache, 5)
    a.update(torch.zeros(1, 1, 2, 1), torch.zeros(1, 1, 2, 1), 0)
    assert a.layers[0].keys.flatten().tolist() == [1, 1, 1, 0, 0]
    assert b.layers[0].keys.flatten().tolist() == cache.layers[0].keys.flatten().tolist() == [1] * 5
