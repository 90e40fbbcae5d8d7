"""Tasks in one process and in several give the same; a process that dies takes nobody with it."""

import pytest
from partnet_tasks import away_at_two, buggy, killed_at_two, odd_only, square

from eval.partnet.work.workers import DIED, Failed, each
from semquery.labelling.asking import Unreachable


def test_one_process_works_in_order_and_several_on_everything():
    want = [(k, k * k) for k in range(7)]
    assert list(each(square, range(7))) == want
    assert sorted(each(square, range(7), workers=2)) == want


def test_a_task_that_cannot_be_done_is_a_result_with_its_reason():
    assert list(each(odd_only, [1, 2, 3])) == [(0, 1), (1, Failed("2 is even; give an odd number.")), (2, 3)]


@pytest.mark.parametrize("workers", [1, 2])
def test_when_the_model_is_away_what_is_done_comes_first_and_nothing_new_is_begun(workers):
    found = []
    with pytest.raises(Unreachable, match="nobody answers"):
        for k, result in each(away_at_two, range(40), workers):
            found.append((k, result))
    assert {(0, 0), (1, 1)} <= set(found) and len(found) < 10 and all(k == result for k, result in found)


def test_a_killed_process_costs_a_second_try_and_only_the_deadly_task_its_result(tmp_path):
    tasks = [(k, str(tmp_path)) for k in range(6)]
    told = []
    found = dict(each(killed_at_two, tasks, workers=2, died=told.append))
    assert {2, 4} & set(told) and 4 in told and len(told) == len(set(told))
    assert found == {k: DIED if k == 4 else k * k for k in range(6)}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bug_is_no_broken_object(workers):
    with pytest.raises(KeyError, match="a bug"):
        list(each(buggy, [1], workers))


def test_no_tasks_need_no_process():
    assert list(each(square, [], workers=2)) == []
