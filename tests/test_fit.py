"""Training the field: it learns a toy scene, resumes exactly, and refuses what it cannot use."""

import dataclasses

import numpy as np
import pytest
import torch

from semquery.field import FeatureField, FieldConfig, GridConfig
from semquery.fit import FieldFit, FitConfig, ViewPixels, checkpoint_tensors, labels_at, load_checkpoint_tensors
from semquery.types import MaskStack, Observation

SMALL = FitConfig(steps=60, batch=256, field=FieldConfig(grid=GridConfig(levels=4, features=2, log2_table=10, coarsest=4, finest=32), hidden=16, dim=8))


def two_halves(seed: int = 0) -> dict[str, ViewPixels]:
    """Points of a unit square in two views; the left half is mask 1, the right half mask 2."""
    rng = np.random.default_rng(seed)
    views = {}
    for name in ("a", "b"):
        points = np.concatenate([rng.random((400, 2)), np.zeros((400, 1))], 1).astype(np.float32)
        labels = np.where(points[:, :1] < 0.5, 1, 2).astype(np.int32)
        views[name] = ViewPixels(torch.from_numpy(points), torch.from_numpy(labels))
    return views


def new_fit(config: FitConfig = SMALL) -> FieldFit:
    torch.manual_seed(config.seed)
    return FieldFit(FeatureField(config.field, np.array([[0.0, 0, 0], [1, 1, 1]])), two_halves(), config)


def test_features_are_unit_vectors_that_separate_the_masks():
    fit = new_fit()
    fit.train(fit.optimizer())
    left, right = fit.field.at(np.array([[0.2, 0.3, 0], [0.3, 0.8, 0], [0.1, 0.5, 0]])), fit.field.at(np.array([[0.8, 0.3, 0], [0.7, 0.8, 0]]))
    np.testing.assert_allclose(np.linalg.norm(left, axis=1), 1, atol=1e-5)
    assert (left @ left.T).min() > 0.9 > 0.3 > (left @ right.T).max()


def test_an_interrupted_training_resumes_to_the_same_field():
    whole = new_fit()
    whole.train(whole.optimizer())
    first = new_fit()
    optimizer = first.optimizer()
    kept = {}

    class Killed(Exception):
        pass

    def stop_half_way(step: int, losses: dict[str, float]) -> None:
        if step == 25:
            kept.update({name: t.clone() for name, t in checkpoint_tensors(first.field, optimizer).items()})
            raise Killed

    with pytest.raises(Killed):
        first.train(optimizer, on_step=stop_half_way)
    second = new_fit()
    optimizer = second.optimizer()
    load_checkpoint_tensors(kept, second.field, optimizer)
    second.train(optimizer, start=25)
    points = np.random.default_rng(0).random((50, 3))
    np.testing.assert_allclose(second.field.at(points), whole.field.at(points), atol=1e-5)


def test_a_checkpoint_of_another_field_is_refused_with_the_remedy():
    fit = new_fit()
    other = FeatureField(FieldConfig(grid=GridConfig(levels=3, features=2, log2_table=10, coarsest=4, finest=32), hidden=16, dim=8))
    with pytest.raises(ValueError, match="overwrite"):
        load_checkpoint_tensors(checkpoint_tensors(fit.field, fit.optimizer()), other)


def test_a_step_is_a_function_of_seed_and_step_alone():
    fit = new_fit(dataclasses.replace(SMALL, steps=5))
    fit.train(fit.optimizer())
    value = lambda step: {name: loss.item() for name, loss in fit.losses(step).items()}  # noqa: E731
    assert value(7) == value(7) != value(8)


def test_every_view_is_used_once_per_epoch():
    fit = new_fit()
    assert all({fit._view_of(2 * e), fit._view_of(2 * e + 1)} == {0, 1} for e in range(10))


def test_rate_falls_along_a_cosine_to_three_percent():
    fit = new_fit()
    rates = [fit.rate(s) for s in range(SMALL.steps + 1)]
    assert rates[0] == 1 and rates[-1] == pytest.approx(0.03) and rates == sorted(rates, reverse=True)
    assert fit.rate(10 * SMALL.steps) == pytest.approx(0.03)


def test_views_without_masks_are_left_out_and_none_at_all_is_an_error():
    views = two_halves()
    empty = ViewPixels(views["a"].points, torch.zeros((400, 0), dtype=torch.int32))
    field = FeatureField(SMALL.field)
    assert FieldFit(field, {"a": views["a"], "c": empty}, SMALL).names == ["a"]
    with pytest.raises(ValueError, match="None of the 1 views has both masks and surface points"):
        FieldFit(field, {"c": empty}, SMALL)


def test_labels_are_read_by_relative_position():
    layers = np.arange(1, 5, dtype=np.uint16).reshape(1, 2, 2)
    seen = Observation((4, 4), np.array([0, 3, 12, 15], np.int32), np.zeros((4, 3), np.float32), np.zeros((4, 3), np.uint8))
    assert labels_at(MaskStack(layers, np.ones(4, np.float32)), seen).tolist() == [[1], [2], [3], [4]]


def test_a_box_that_is_no_box_is_refused():
    for bad in ([[0, 0, 0], [0, 0, 0]], [[0, 0, 0], [np.nan, 1, 1]]):
        with pytest.raises(ValueError, match="finite box"):
            FeatureField(SMALL.field, np.array(bad, float))
