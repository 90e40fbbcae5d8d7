"""The ablation's model: it errs as often as it is told to, and each second look mends what its premise says."""

import pytest

from eval.confused import NONE, SWITCHES, Confused, measure, scene, wrong_share
from semquery.labelling import Asker, LabelConfig, label_parts


def test_a_model_that_never_errs_has_everything_right_under_every_switch():
    for config in SWITCHES.values():
        assert measure(config, 1, errs=0.0, errs_below_unsure=0.0, errs_below_wrong=0.0, errs_alone=0.0, spoils_beside=0.0)[0] == 0


def test_without_propagation_the_share_of_wrong_names_is_the_rate():
    wrong, error, calls = measure(NONE, 25, errs=0.2, errs_below_wrong=0.2)
    assert abs(wrong - 0.2) < 4 * error and calls == 1


def test_errors_travel_down_and_second_looks_mend_them():
    gullible = {"errs_below_wrong": 0.8, "errs_below_unsure": 0.15}
    plain, carried, reconsidered, beside = (measure(SWITCHES[s], 12, **gullible)[0] for s in ("none", "carry alternatives", "reconsider", "siblings"))
    still = measure(NONE, 12, errs_below_wrong=0.12)[0]
    assert plain > still + 0.06 and max(carried, reconsidered, beside) < plain - 0.03


def test_look_alikes_take_fewer_calls():
    assert measure(SWITCHES["copy alike"], 4)[2] < 1


@pytest.mark.parametrize("seed", range(3))
def test_the_same_request_has_the_same_answer(seed):
    subject, truth = scene(seed)
    first, second = (
        label_parts(subject, Asker(Confused(truth, {p: int(q) for p, q in enumerate(subject.parts.parents)}, seed), {}, lambda *_: None), LabelConfig())
        for _ in range(2))
    assert first == second and 0 <= wrong_share(first, truth) < 0.5
