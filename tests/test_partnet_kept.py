"""A record comes back from the disk as it was; a damaged one says so; no id leads astray."""

import json
from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.bench.scoring import simulated_record
from eval.partnet.records import Said
from eval.partnet.work.kept import folder_of, methods_kept, read_predicted, read_record, read_records, stem, write_predicted, write_record


def same(one, other) -> bool:
    """Equal in every field, type and byte."""
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if is_dataclass(one):
        return type(one) is type(other) and all(same(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, tuple):
        return isinstance(other, tuple) and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


@pytest.fixture
def record():
    drawn = simulated_record(np.random.default_rng(0), "7236", ("cot", "oracle"))
    pixels = np.arange(6, dtype=np.int32).reshape(2, 3) - 1
    return replace(drawn, overview=b"\x89PNG", atom_of_pixel=pixels, notes=("ein Stück fehlt",), seconds=1.25)


def test_a_record_comes_back_as_it_was(tmp_path, record):
    write_record(tmp_path, record)
    assert same(read_record(tmp_path, "7236"), record)
    assert [same(one, record) for one in read_records(tmp_path)] == [True] and methods_kept(tmp_path, "7236") == {"cot", "oracle"}


def test_names_in_any_script_and_methods_that_say_nothing_come_back(tmp_path, record):
    odd = ("取っ手", "ручка\u2028", "\ud800", "", 'a"b\\')
    said = Said({"name": np.zeros((1, 0), np.float32)})
    small = replace(record, names=odd, ids=odd, said={"silent": said}, notes=odd)
    write_record(tmp_path, small)
    assert same(read_record(tmp_path, "7236"), small)


def test_writing_again_takes_the_place_of_the_first(tmp_path, record):
    write_record(tmp_path, record)
    write_record(tmp_path, replace(record, said={"oracle": record.said["oracle"]}))
    assert methods_kept(tmp_path, "7236") == {"oracle"} and len(list(folder_of(tmp_path).iterdir())) == 3


@given(st.lists(st.text(max_size=200), min_size=2, max_size=8, unique=True))
def test_every_id_has_a_safe_name_of_its_own(ids):
    names = [stem(id) for id in ids]
    assert len(set(names)) == len(ids)
    for name in names:
        assert 0 < len(name) <= 80 and name == name.lower() and not set(name) & set('/\\:*?"<>| ') and name.strip(".") == name


def test_ids_of_data_sets_are_their_own_names_and_dangerous_ones_are_not():
    assert [stem(id) for id in ("7236", "a1b2-c3_d4", "v1.0")] == ["7236", "a1b2-c3_d4", "v1.0"]
    assert all("/" not in stem(id) and stem(id) not in ("", ".", "..") for id in ("", ".", "..", "../../etc/passwd", "/", "a/b", "A"))
    assert stem("Chair") != stem("chair") != stem("CHAIR")


@pytest.mark.parametrize("spoil", [
    lambda folder: (folder / "7236.json").write_text('{"version": 1'),
    lambda folder: (folder / "7236.json").write_text("[]"),
    lambda folder: (folder / "7236.json").write_text(json.dumps(json.loads((folder / "7236.json").read_text()) | {"version": 99})),
    lambda folder: (folder / "7236.npz").write_bytes((folder / "7236.npz").read_bytes()[:200]),
    lambda folder: (folder / "7236.npz").write_bytes((data := (folder / "7236.npz").read_bytes())[:100] + b"x" * 200 + data[300:]),
    lambda folder: (folder / "7236.npz").unlink(),
    lambda folder: (folder / "7236.png").unlink(),
])
def test_a_damaged_record_says_so_and_counts_as_none(tmp_path, record, spoil):
    write_record(tmp_path, record)
    spoil(folder_of(tmp_path))
    with pytest.raises(ValueError, match=r"7236.json cannot be read .*; delete it"):
        read_record(tmp_path, "7236")
    assert methods_kept(tmp_path, "7236") == set()


def test_an_object_without_a_record_says_so(tmp_path):
    with pytest.raises(ValueError, match="holds no record of '12'"):
        read_record(tmp_path, "12")
    assert list(read_records(tmp_path)) == []


def test_pickled_objects_are_refused(tmp_path, record):
    path = write_record(tmp_path, record).with_suffix(".npz")
    with np.load(path) as arrays:
        np.savez(path, **{**dict(arrays), "area": np.array([{}], object)})
    with pytest.raises(ValueError, match="cannot be read"):
        read_record(tmp_path, "7236")


def test_numbers_of_a_found_tree_are_kept_beside(tmp_path):
    write_predicted(tmp_path, "a/b", {"masks": "sam", "nc": 0.5})
    assert read_predicted(tmp_path, "a/b") == {"masks": "sam", "nc": 0.5} and read_predicted(tmp_path, "c") is None
