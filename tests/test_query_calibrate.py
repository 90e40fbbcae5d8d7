"""The logistic function that tells what is here from what is not, and its fit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semquery.query.calibrate import CALIBRATIONS, Calibration, fit, nearness_of
from semquery.query.scorers import SUITED, Background


def loss(bias, slope, nearness, present, penalty):
    """The definition: minus the log-likelihood, an answer at a time, and the penalty."""
    total = penalty / 2 * slope * slope
    for near, there in zip(nearness, present, strict=True):
        chance = 1 / (1 + np.exp(-(bias + slope * near)))
        total -= np.log(chance if there else 1 - chance)
    return total


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(4, 30))
def test_no_other_coefficients_are_likelier(seed, num_queries):
    random = np.random.default_rng(seed)
    nearness = random.normal(3, 2, num_queries)
    present = random.random(num_queries) < 1 / (1 + np.exp(-(nearness - 3)))
    present[:2] = [True, False]
    found = fit(nearness, present, penalty=0.1)
    least = loss(found.bias, found.slope, nearness, present, 0.1)
    for off in ([0.05, 0], [-0.05, 0], [0, 0.05], [0, -0.05], [0.1, -0.03], [-0.1, 0.03]):
        assert loss(found.bias + off[0], found.slope + off[1], nearness, present, 0.1) > least


def test_half_of_those_at_one_nearness_being_there_is_a_probability_of_a_half():
    found = fit(np.array([1.0, 1, 5, 5]), np.array([False, False, True, False]), penalty=1e-9)
    assert found.probability(5.0) == pytest.approx(0.5, abs=1e-3)


def test_nearness_that_tells_without_an_error_gets_a_finite_slope():
    nearness = np.array([4.0] * 5 + [1.0] * 5)
    found = fit(nearness, np.array([True] * 5 + [False] * 5))
    chance = found.probability(nearness)
    assert 1 < found.slope < 100 and (chance[:5] > 0.9).all() and (chance[5:] < 0.1).all()


@pytest.mark.parametrize("present", [[True, True], [False, False]])
def test_calibration_takes_what_is_there_and_what_is_not(present):
    with pytest.raises(ValueError, match="takes queries for what is there and for what is not"):
        fit(np.zeros(2), np.array(present))


def test_nearness_is_in_standard_deviations_of_the_background():
    assert nearness_of(0.8, Background(0.2, 0.1)) == pytest.approx(6)


@pytest.mark.parametrize("kind", SUITED)
def test_every_kind_of_encoder_has_a_calibration_that_rises(kind):
    calibration = CALIBRATIONS[kind]
    assert calibration.probability(1.0) < calibration.probability(3.0) < calibration.probability(9.0)


def test_far_from_all_that_was_seen_the_probability_is_still_a_number():
    with np.errstate(all="raise", under="ignore"):
        assert Calibration(0.0, 1.0).probability(np.array([1e9, -1e9])).tolist() == pytest.approx([1, 0])
