"""Queries of Gaussians: against a slow twin on the hand-made scene, on other trees, and what is refused."""

import dataclasses

import numpy as np
import pytest
from helpers import NAMES, named_run

from semquery import stages
from semquery.opened import Scene
from semquery.stages import LabelledGaussians, query_gaussians


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Scene:
    return Scene.open(named_run(tmp_path_factory.mktemp("named") / "run"))


def labelled(*parts: int) -> LabelledGaussians:
    """Gaussians of these parts."""
    part = np.array(parts, np.int32)
    return LabelledGaussians(part, np.zeros(len(part), np.float32), np.zeros((len(part), 0), np.float16), part < 0)


EACH = labelled(-1, 0, 1, 2, 3, 4, 2, -1)  # 0 and 1 lie in 3, 2 and 3 in 4, which is the root


def up_from(part: int, scene: Scene) -> list[int]:
    """The part and those around it."""
    way = [part]
    while scene.tree.parents[way[-1]] != way[-1]:
        way.append(int(scene.tree.parents[way[-1]]))
    return way


@pytest.mark.parametrize("text", [*NAMES.values(), NAMES[0] + " of it", "chair"])
def test_each_gaussian_fits_as_well_as_its_part_or_one_around_it(scene, text: str) -> None:
    found = query_gaussians(scene, EACH, text)
    score = scene.searcher.match(text).score
    for part, relevancy in zip(EACH.part, found.relevancy, strict=True):
        expected = np.nan if part < 0 else max(score[around] for around in up_from(part, scene))
        assert relevancy == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("text", NAMES.values())
def test_each_gaussian_is_of_the_best_answer_that_it_lies_in(scene, text: str) -> None:
    found, answers = query_gaussians(scene, EACH, text), scene.query(text)
    assert [each.hit for each in found.found] == [each.hit for each in answers] and answers
    for part, answer in zip(EACH.part, found.answer, strict=True):
        lies_in = [] if part < 0 else [k for k, each in enumerate(answers) if set(each.members) & set(up_from(part, scene))]
        assert answer == min(lies_in, default=-1)
    np.testing.assert_array_equal(found.is_hit, found.answer == 0)


def test_a_name_finds_the_gaussians_of_its_part_and_of_what_is_inside_it(scene) -> None:
    found = query_gaussians(scene, EACH, NAMES[3])
    assert EACH.part[found.is_hit].tolist() == [0, 1, 3]
    assert (found.relevancy[found.is_hit] == 1).all() and np.isnan(found.relevancy[EACH.part < 0]).all()
    assert EACH.part[query_gaussians(scene, EACH, NAMES[4]).is_hit].tolist() == [0, 1, 2, 3, 4, 2]  # the root holds all that have a part


def test_what_the_scene_does_not_have_is_no_gaussian(scene) -> None:
    found = query_gaussians(scene, EACH, "zebra crossing")
    assert found.found == () and (found.answer == -1).all() and not found.is_hit.any()


def test_at_most_so_many_answers_as_are_wanted_and_none_of_no_gaussians(scene) -> None:
    assert len(query_gaussians(scene, EACH, NAMES[0], top=1).found) == 1
    nothing = query_gaussians(scene, labelled(), NAMES[0])
    assert len(nothing.relevancy) == len(nothing.answer) == 0 and nothing.found


def test_gaussians_of_another_tree_and_unreadable_queries_are_refused(scene) -> None:
    with pytest.raises(ValueError, match="A Gaussian has part 5 and the tree has 5 parts: label the Gaussians"):
        query_gaussians(scene, labelled(0, 5), NAMES[0])
    with pytest.raises(ValueError, match="The query is empty"):
        query_gaussians(scene, EACH, " ")
    with pytest.raises(ValueError, match="top is how many answers"):
        query_gaussians(scene, EACH, NAMES[0], top=0)


def test_an_answer_is_plain_data(scene) -> None:
    found = stages.query_gaussians(scene, EACH, NAMES[0])
    assert (found.relevancy.dtype, found.answer.dtype) == (np.float32, np.int32) and found.text == NAMES[0]
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.text = "another"
