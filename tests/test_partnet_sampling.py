"""Objects are found, and drawn one a model by a seed: the same ones whatever the order of files, and only as long as they are the same."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from partnet_folders import part, quad, write

from eval.partnet.readers.find import files_of, find_objects, names_of, read_object
from eval.partnet.readers.reference import Reference
from eval.partnet.sampling import draw, draw_readable, fingerprint, in_turns, models, queues, read_sample, write_sample


def found(count, models=None, categories=("Chair",)):
    """References: object k is of model k mod `models`, and a model is of category model mod so many."""
    models = models or count
    return [Reference("partnet", str(k), Path(str(k)), categories[k % models % len(categories)], f"m{k % models:03}") for k in range(count)]


def ids(sample):
    return [drawn.id for drawn in sample.objects]


@pytest.fixture
def data(tmp_path):
    """Eight objects of six models in two categories: 9 is of the model of 1, 10 of that of 2."""
    models = {"1": "a", "2": "b", "3": "c", "4": "d", "5": "e", "20": "f", "9": "a", "10": "b"}
    for k, (id, model) in enumerate(models.items()):
        category = "Lamp" if model in "be" else "Chair"
        tree, meta = part(category.lower(), part(f"part_{k}", objs=["x"])), {"model_cat": category, "model_id": model}
        write(tmp_path / id, tree, mesh="objs", meta=meta, x=quad(k))
    return tmp_path


def spoil(data, *ids):
    for id in ids:
        (data / id / "objs" / "x.obj").write_text("v 0 0\n")


# ------------------------------------------------------------------ finding


def test_objects_are_found_in_the_order_of_whole_numbers(data):
    references = find_objects(data)
    assert [reference.id for reference in references] == ["1", "2", "3", "4", "5", "9", "10", "20"]
    assert names_of(references[0], "raw") == ("chair", "part_0")
    assert read_object(references[0], "raw").names == ("part 0", "chair")
    assert [path.name for path in files_of(references[0])] == ["meta.json", "x.obj", "result.json"]


def test_ids_are_ordered_as_numbers_before_all_others():
    references = [Reference("glb", id, Path(), "", "") for id in ("b", "10", "2", "a7", "²", "007")]
    assert [reference.id for reference in sorted(references, key=lambda reference: reference.order)] == ["2", "007", "10", "a7", "b", "²"]


def test_folders_without_objects_are_told_what_is_accepted(tmp_path):
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ValueError, match=r"(?s)(holds no object|does not exist).*ID/result.json, ID/textured_objs.*NAME.glb"):
            find_objects(path)


def test_two_objects_of_one_id_are_refused(tmp_path):
    for where in ("a/1", "b/1"):
        write(tmp_path / where, part("r", objs=["x"]), x="")
    with pytest.raises(ValueError, match="Two objects have the id 1: .*a/1 and .*b/1"):
        find_objects(tmp_path)


# ------------------------------------------------------------------ drawing


def test_the_sample_is_the_protocols_choice():
    references = found(300, 200)
    lowest = sorted({reference.model: reference.id for reference in reversed(references)}.values(), key=int)
    chosen = np.random.default_rng(7).choice(len(lowest), 50, replace=False)
    assert ids(draw(references, 50, 7)) == [lowest[k] for k in np.sort(chosen)]


@settings(max_examples=30)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 50), st.integers(0, 5), st.booleans(), st.randoms())
def test_a_sample_holds_one_of_each_model_whatever_the_order_of_files(count, num_models, num, seed, stratified, random):
    references = found(count, num_models, ("Chair", "Lamp", "Bed"))
    sample = draw(references, num, seed, stratified)
    shuffled = references[:]
    random.shuffle(shuffled)
    assert draw(shuffled, num, seed, stratified) == sample
    assert [drawn.model for drawn in sample.objects] == sorted({drawn.model for drawn in sample.objects})
    assert len(sample.objects) == min(num, count, num_models) and all(int(id) < num_models for id in ids(sample))


def test_another_seed_draws_others_and_the_same_the_same():
    references = found(200, categories=("Chair", "Lamp"))
    drawn = [ids(draw(references, 20, seed, stratified)) for seed in range(5) for stratified in (False, True)]
    assert len({tuple(sample) for sample in drawn}) == 10
    assert drawn[0] == ids(draw(references, 20, 0)) and len(set(sum(drawn, []))) > 60


def test_every_object_is_drawn_as_often_as_any_other():
    times = Counter(id for seed in range(400) for id in ids(draw(found(10), 3, seed)))
    assert len(times) == 10 and all(abs(number - 120) < 45 for number in times.values())  # 45 is five standard deviations


@settings(max_examples=30)
@given(st.lists(st.sampled_from(["Chair", "Lamp", "Bed", "Hat"]), min_size=1, max_size=30), st.integers(1, 30), st.integers(0, 3))
def test_stratified_samples_hold_equally_many_of_each_category(categories, num, seed):
    references = [Reference("partnet", str(k), Path(), category, str(k)) for k, category in enumerate(categories)]
    drawn, there = Counter(drawn.category for drawn in draw(references, num, seed, stratified=True).objects), Counter(categories)
    open_ended = [drawn[category] for category in there if drawn[category] < there[category]]  # not used up
    assert all(drawn[category] >= max(drawn.values()) - 1 for category in there if drawn[category] < there[category])
    assert not open_ended or max(open_ended) - min(open_ended) <= 1


def test_queues_hold_every_model_once_in_a_random_order():
    references = found(60, categories=("Chair", "Lamp"))
    for stratified in (False, True):
        queued = [[model[0].id for model in queue] for queue in queues(references, 10, 3, stratified)]
        assert sorted(sum(queued, []), key=int) == [reference.id for reference in references] and len(queued) == 1 + stratified
        assert all(queue != sorted(queue, key=int) for queue in queued)


def test_a_queue_whose_turn_it_is_offers_until_one_is_accepted():
    a, b = ([[reference] for reference in found(20)[k::2]] for k in range(2))
    taken = [reference.id for reference in in_turns([a, b], lambda model: model[0] if model[0].id in {"4", "6", "1", "3", "5"} else None)]
    assert taken == ["4", "1", "6", "3", "5"]


def test_objects_without_a_model_are_each_their_own():
    references = [Reference("partnet", id, Path(), "", "") for id in ("1", "2")]
    assert len(models(references)) == 2


def test_nothing_to_draw_is_named():
    for references, num in ((found(3), 0), ([], 5)):
        with pytest.raises(ValueError, match="cannot be drawn"):
            draw(references, num, 0)


# ------------------------------------------------------------------ what cannot be read


def test_where_all_can_be_read_that_is_the_protocols_sample(data):
    references = find_objects(data)
    for seed in range(4):
        sample, broken = draw_readable(references, 3, seed)
        assert ids(sample) == ids(draw(references, 3, seed)) and broken == ()
        assert [reference.id for reference in sample.references] == ids(sample) and all(len(drawn.sha256) == 64 for drawn in sample.objects)


def test_what_cannot_be_read_is_replaced_and_listed(data):
    spoil(data, "3", "5")
    sample, broken = draw_readable(find_objects(data), 8, 0)
    assert ids(sample) == ["1", "2", "4", "20"] and sorted(one.id for one in broken) == ["3", "5"]
    assert all("x.obj is broken at line 1" in one.why for one in broken)
    for seed in range(8):  # what was drawn and can be read stays
        sample, broken = draw_readable(find_objects(data), 3, seed)
        whole = ids(draw(find_objects(data), 3, seed))
        assert len(sample.objects) == 3 and set(whole) - {"3", "5"} <= set(ids(sample))
        assert set(whole) & {"3", "5"} <= {one.id for one in broken}


def test_of_a_model_the_lowest_that_can_be_read_is_taken(data):
    spoil(data, "1")
    sample, broken = draw_readable(find_objects(data), 6, 0)
    assert ids(sample) == ["2", "3", "4", "5", "9", "20"] and [one.id for one in broken] == ["1"]


def test_only_what_is_drawn_is_opened(data):
    opened = []

    def read(reference, tree):
        opened.append(reference.id)
        return read_object(reference, tree)

    sample, _ = draw_readable(find_objects(data), 2, 0, read=read)
    assert sorted(opened, key=int) == ids(sample)


def test_stratified_samples_replace_within_the_category(data):
    spoil(data, "2", "10")
    for seed in range(4):
        sample, _ = draw_readable(find_objects(data), 2, seed, stratified=True)
        assert sorted(drawn.category for drawn in sample.objects) == ["Chair", "Lamp"] and "5" in ids(sample)


def test_where_nothing_can_be_read_the_first_reason_is_given(data):
    spoil(data, *(path.name for path in data.iterdir()))
    with pytest.raises(ValueError, match="None of 8 objects can be read. The first: .*x.obj is broken"):
        draw_readable(find_objects(data), 3, 0)
    with pytest.raises(ValueError, match="has no merged tree"):
        draw_readable(find_objects(data), 3, 0, "merged")


# ------------------------------------------------------------------ on disk


def test_a_sample_is_read_again_as_it_was_written(data, tmp_path):
    references = find_objects(data)
    spoil(data, "3")
    sample, broken = draw_readable(references, 6, 0, stratified=True)
    path = tmp_path / "sample.json"
    write_sample(path, sample, broken)
    assert read_sample(path, references) == (sample, broken) and broken[0].id == "3"
    record = json.loads(path.read_text())
    assert record["seed"] == 0 and record["num_found"] == 8 and record["num_models"] == 6 and "categories take turns" in record["rule"]
    assert record["objects"][0].keys() == {"id", "category", "model", "format", "sha256"} and str(tmp_path) not in path.read_text()


def test_an_object_that_has_changed_or_gone_is_named(data, tmp_path):
    references = find_objects(data)
    sample, broken = draw_readable(references, 6, 0)
    path = tmp_path / "sample.json"
    write_sample(path, sample, broken)
    with pytest.raises(ValueError, match="The object 4 of .* is not in the data"):
        read_sample(path, [reference for reference in references if reference.id != "4"])
    (data / "4" / "objs" / "x.obj").write_text(quad(99))
    with pytest.raises(ValueError, match="The object 4 has changed"):
        read_sample(path, references)
    for text in ("{", "[]", '{"objects": []}', path.read_text().replace('"seed"', '"sead"')):
        path.write_text(text)
        with pytest.raises(ValueError, match="is no sample"):
            read_sample(path, references)


@pytest.mark.parametrize("change", ["text", "name", "more", "less"])
def test_hashes_tell_contents_and_names_of_files_but_not_where_they_lie(data, change):
    reference, *_ = find_objects(data)
    before = fingerprint(reference)
    (data / "around").mkdir()
    moved = (data / "1").rename(data / "around" / "1")
    again = find_objects(moved)[0]
    assert fingerprint(again) == before
    mesh = again.path / "objs" / "x.obj"
    if change == "text":
        mesh.write_text(mesh.read_text().replace("1", "2", 1))
    elif change == "name":
        mesh.rename(mesh.with_name("y.obj"))
    elif change == "more":
        mesh.with_name("y.obj").write_text("")
    else:
        (again.path / "result.json").unlink()
    assert fingerprint(again) != before
