"""Answers that are remembered: by content, whole, and only if there was one."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from semquery.segmenter import Cached, Context, Region, Segmenter, SegmenterError
from semquery.segmenter.cache import key_of, packed, unpacked
from semquery.segments import SegmentFolder


@dataclass(frozen=True)
class Counting:
    """Answers with the dark pixels, and counts how often it is asked; fails for the query "fail"."""

    identity: str = "Counting"
    asked: list = field(default_factory=list)

    def check(self) -> str:
        return "counts"

    def segment(self, image, query: str, context: Context = Context()) -> list[Region]:
        self.asked.append((query, context))
        if query == "fail":
            raise SegmenterError("no luck", is_away=True)
        mask = image[..., 0] < 128
        return [Region(mask, 0.5, (0.0, 1.0, 2.0, 3.0), np.ones((2, 2), np.float32), np.arange(3, dtype=np.float32), "why", "what")] if mask.any() else []


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (9, 13, 3), dtype=np.uint8)


def same(a: Region, b: Region) -> bool:
    pairs = [(a.mask, b.mask), (a.points, b.points), (a.embedding, b.embedding)]
    return (a.score, a.box, a.text, a.label) == (b.score, b.box, b.text, b.label) and all(
        x is y is None or (x is not None and y is not None and x.dtype == y.dtype and np.array_equal(x, y)) for x, y in pairs)


regions = st.builds(
    Region, arrays.arrays(bool, (9, 13)), st.floats(0, 1), st.none() | st.tuples(*[st.floats(-1e3, 1e3)] * 4),
    st.none() | arrays.arrays(np.float32, st.tuples(st.integers(0, 4), st.just(2)), elements=st.floats(-100, 100, width=32)),
    st.none() | arrays.arrays(np.float32, st.integers(1, 5), elements=st.floats(-1, 1, width=32)), st.text(), st.text())


@given(st.lists(regions, max_size=4))
def test_what_is_packed_comes_out_as_it_went_in(found):
    again = unpacked(packed(found, (9, 13)), (9, 13))
    assert len(again) == len(found) and all(same(a, b) for a, b in zip(found, again, strict=True))


def test_what_was_asked_once_is_not_asked_again_not_even_by_another_process(tmp_path):
    first, second = (Cached(Counting(), SegmentFolder(tmp_path / "segments")) for _ in range(2))
    (fresh,), (known,) = first.segment(picture(), "dark"), second.segment(picture(), "dark")
    assert same(fresh, known) and len(first.inner.asked) == 1 and second.inner.asked == []
    assert isinstance(first, Segmenter) and first.identity == "Counting" and first.check() == "counts"
    assert [path.suffix for path in (tmp_path / "segments").iterdir()] == [".npz"]


def test_that_nothing_is_visible_is_remembered_too(tmp_path):
    cached = Cached(Counting(), SegmentFolder(tmp_path))
    assert cached.segment(np.full((4, 4, 3), 255, np.uint8), "dark") == cached.segment(np.full((4, 4, 3), 255, np.uint8), "dark") == []
    assert len(cached.inner.asked) == 1


def test_all_that_may_change_the_answer_is_in_the_key():
    base, context = (picture(), "dark", Context("v", ("chair",)), "A"), Context("v", ("chair", "back"))
    others = [(picture(1), *base[1:]), (picture()[:, ::-1], *base[1:]), (picture().reshape(13, 9, 3), *base[1:]), (base[0], "darker", *base[2:]),
              (*base[:2], context, "A"), (*base[:2], Context("w", ("chair",)), "A"), (*base[:3], "B")]
    keys = [key_of(*case) for case in (base, *others)]
    assert len(set(keys)) == len(keys) and key_of(picture()[::-1][::-1], *base[1:]) == keys[0]
    assert all(len(key) == 32 and set(key) <= set("0123456789abcdef") for key in keys)


def test_a_failure_is_not_remembered(tmp_path):
    cached = Cached(Counting(), SegmentFolder(tmp_path))
    for _ in range(2):
        with pytest.raises(SegmenterError, match="no luck"):
            cached.segment(picture(), "fail")
    assert len(cached.inner.asked) == 2 and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", [
    lambda data: b"", lambda data: data[: len(data) // 2], lambda data: b"PK" + b"\0" * 60, lambda data: b"nonsense" * 9, lambda data: data[:-40],
    lambda data: data.replace(b"told", b"tole"), lambda data: bytes(b ^ (0xFF if 60 < i < 90 else 0) for i, b in enumerate(data))])
def test_a_damaged_entry_is_asked_anew_and_mended(tmp_path, damage):
    cached = Cached(Counting(), SegmentFolder(tmp_path))
    (fresh,) = cached.segment(picture(), "dark")
    (entry,) = tmp_path.iterdir()
    entry.write_bytes(damage(entry.read_bytes()))
    for _ in range(2):
        assert same(cached.segment(picture(), "dark")[0], fresh)
    assert len(cached.inner.asked) == 2


def test_an_entry_with_objects_or_of_another_size_is_never_trusted(tmp_path):
    folder = SegmentFolder(tmp_path)
    cached = Cached(Counting(), folder)
    key = key_of(picture(), "dark", Context(), "Counting")
    for wrong in ({"told": np.array([{"a": 1}], dtype=object)}, packed([Region(np.ones((3, 3), bool))], (3, 3)),
                  {**packed([Region(np.ones((9, 13), bool))], (9, 13)), "masks": np.zeros(3, np.uint8)}, {"told": np.array(3)},
                  {**packed([Region(np.ones((9, 13), bool))], (9, 13)), "embedding 0": np.array([np.nan], np.float32)}):
        np.savez(tmp_path / f"{key}.npz", **wrong)
        assert cached.segment(picture(), "dark")[0].text == "why"
    assert len(cached.inner.asked) == 5


def test_nothing_half_written_is_left_when_writing_fails(tmp_path, monkeypatch):
    def torn(file, **arrays):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", torn)
    with pytest.raises(OSError, match="disk full"):
        Cached(Counting(), SegmentFolder(tmp_path)).segment(picture(), "dark")
    assert list(tmp_path.iterdir()) == []
