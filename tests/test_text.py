"""The lexical encoder, what all encoders share, and encoders made again from their records."""

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semquery.manifest import as_config
from semquery.text import ENCODERS, EmbeddingServer, HfText, Lexical, OpenClip, PictureEncoder, TextEncoder, encoder_from, words
from semquery.text.base import encoded, once, unit_rows
from semquery.text.files import ENDS, content_hash, deciding_files, find_folder

ROOT = Path(__file__).parent.parent
ENCODER = Lexical()
TEXTS = st.lists(st.text(max_size=30), min_size=1, max_size=4)


def slow_vector(text, encoder):
    """The definition, a dictionary of tokens at a time."""
    import zlib

    slots = {}
    for word in words(text):
        padded = f"<{word}>"
        grams = ["#" + padded[i : i + encoder.ngram] for i in range(len(padded)) if i + encoder.ngram <= len(padded)]
        for token, weight in [(word, 1.0)] + [(g, (encoder.ngram_weight / len(grams)) ** 0.5) for g in grams]:
            slot = zlib.crc32(token.encode()) % encoder.dim
            slots[slot] = slots.get(slot, 0) + weight
    vector = np.zeros(encoder.dim)
    for slot, weight in slots.items():
        vector[slot] = weight
    return vector / (np.linalg.norm(vector) or 1)


@settings(max_examples=60, deadline=None)
@given(TEXTS)
def test_vectors_are_of_unit_length_or_zero_and_equal_for_equal_texts(texts):
    vectors = ENCODER.queries(texts + texts)
    norms = np.linalg.norm(vectors, axis=1)
    assert ((abs(norms - 1) < 1e-5) | (norms == 0)).all()
    assert (vectors[: len(texts)] == vectors[len(texts) :]).all() and (ENCODER.passages(texts) == vectors[: len(texts)]).all()
    for text, norm in zip(texts, norms, strict=False):
        assert (norm > 0) == bool(words(text))


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=30), st.sampled_from([Lexical(), Lexical(dim=16, ngram=2, ngram_weight=1.0)]))
def test_vectors_agree_with_their_definition(text, encoder):
    np.testing.assert_allclose(encoder.queries([text])[0], slow_vector(text, encoder), atol=1e-5)


@pytest.mark.parametrize(("query", "right", "wrong"), [
    ("buttons", "button", "bottle cap"), ("legs", "leg", "lid"), ("microwaves", "microwave", "table"),
    ("red round part", "red round disc", "blue square plate"), ("gray door", "grey door", "grand piano"),
    ("ручки", "ручка", "дверь"), ("Knöpfe", "knöpfe", "Klappe"),
])
def test_the_right_name_is_closer_than_the_wrong_one(query, right, wrong):
    vectors = ENCODER.queries([query, right, wrong])
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.1


def test_word_order_case_punctuation_and_stop_words_do_not_count():
    a, b, c = ENCODER.queries(["The LID of the pot!", "pot lid", "please show me: pot (lid)"])
    assert a @ b == pytest.approx(1, abs=1e-6) and a @ c == pytest.approx(1, abs=1e-6)
    assert words("Which part of it is the gray one?") == ["grey"] and words("把手。Ручка") == ["把手", "ручка"]


def test_a_text_of_stop_words_alone_is_zero():
    assert not ENCODER.queries(["the part of it", "", "?!"]).any() and ENCODER.queries([]).shape == (0, ENCODER.dim)


def test_odd_texts_are_taken():
    assert np.isfinite(ENCODER.queries(["x" * 10_000, "word " * 2000, "\ud800 leg", "\x00"])).all()


def test_vectors_are_the_same_in_another_process():
    code = "from semquery.text import Lexical; v = Lexical(dim=64).queries(['handle of the door']); print(v.tobytes().hex())"
    told = {subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": seed, "PATH": ""}, cwd=ROOT, capture_output=True,
                           text=True, check=True).stdout.strip() for seed in ("1", "2")}
    assert told == {Lexical(dim=64).queries(["handle of the door"]).tobytes().hex()}


def test_the_lexical_encoder_needs_nothing_and_says_so():
    assert "4096 slots" in ENCODER.check() and ENCODER.kind == "lexical" and isinstance(ENCODER, TextEncoder) and not isinstance(ENCODER, PictureEncoder)
    assert ENCODER.identity != Lexical(dim=64).identity
    for given_ in ({"dim": 0}, {"ngram": 0}, {"ngram_weight": -1.0}, {"ngram_weight": float("nan")}):
        with pytest.raises(ValueError, match="Expected dim and ngram ≥ 1"):
            Lexical(**given_)


@pytest.mark.parametrize("encoder", [
    Lexical(dim=64), OpenClip("ViT-B-32", "openai", batch=3), HfText("some/folder", pooling="cls", query_prefix=""),
    EmbeddingServer(model="m", dimensions=8, passage_prefix="p: "),
])
def test_an_encoder_is_made_again_from_its_record(encoder):
    assert encoder_from(as_config(encoder)) == encoder
    assert type(encoder) in get_args(ENCODERS)


def test_an_encoder_is_known_as_one_without_being_opened():
    class Double:
        identity: str = "double"
        kind = "sentence"
        check = queries = passages = print

    class WithPictures(Double):
        pictures = print

    assert isinstance(Double(), TextEncoder) and not isinstance(Double(), PictureEncoder) and isinstance(WithPictures(), PictureEncoder)
    assert isinstance(HfText("nobody/has-this"), PictureEncoder) and isinstance(OpenClip("nobody has this"), PictureEncoder)
    assert not isinstance("text", TextEncoder) and not isinstance(EmbeddingServer(), PictureEncoder)


def test_records_of_unknown_encoders_are_refused():
    with pytest.raises(ValueError, match="no text encoder called 'Magic'; expected Lexical, OpenClip, HfText, EmbeddingServer"):
        encoder_from({"class": "Magic"})
    with pytest.raises(ValueError, match="no text encoder called None"):
        encoder_from({})
    with pytest.raises(ValueError, match="Lexical has no colour; was it recorded by another version"):
        encoder_from({"class": "Lexical", "colour": 3})


def test_importing_the_encoders_opens_nothing_heavy():
    code = "import sys, semquery.text; print([m for m in ('torch', 'transformers', 'open_clip', 'PIL', 'scipy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip() == "[]"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=6), max_size=7), st.integers(1, 4))
def test_texts_go_through_a_model_in_batches_and_empty_ones_never(texts, batch):
    seen = []

    def encode(some):
        assert 0 < len(some) <= batch
        seen.extend(some)
        return np.array([[len(text), 1.0] for text in some])

    vectors = encoded(texts, encode, "p: ", batch)
    assert vectors.shape == (len(texts), 2) and all(text.startswith("p: ") and text != "p: " for text in seen if any(t.strip() for t in texts))
    for text, vector in zip(texts, vectors, strict=True):
        plain = text.encode(errors="replace").decode().strip()
        expected = np.array([len(plain) + 3, 1.0]) / np.hypot(len(plain) + 3, 1.0) if plain else np.zeros(2)
        np.testing.assert_allclose(vector, expected, atol=1e-6)


def test_vectors_that_hold_no_numbers_are_refused():
    with pytest.raises(ValueError, match="hold no numbers"):
        encoded(["leg"], lambda some: np.array([[np.nan, 1.0]]), "", 8)


def test_rows_of_zeros_stay_zero():
    np.testing.assert_allclose(unit_rows(np.array([[3.0, 4.0], [0.0, 0.0], [1e-30, 0.0]])), [[0.6, 0.8], [0, 0], [1, 0]])


def test_what_is_computed_once_is_computed_once_however_many_come():
    class Slow:
        count = 0

        @once
        def value(self) -> int:
            """It counts."""
            Slow.count += 1
            time.sleep(0.01)
            return Slow.count

    slow, found = Slow(), []
    threads = [threading.Thread(target=lambda: found.append(slow.value)) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert found == [1] * 8 and Slow().value == 2 and Slow.value.__doc__ == "It counts."


def test_a_content_hash_sees_names_sizes_and_both_ends(tmp_path):
    def hashed(**files: bytes) -> str:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        for name, data in files.items():
            (folder / name).write_bytes(data)
        return content_hash(folder, folder.iterdir())

    whole = bytes(3 * ENDS)
    different = [hashed(a=whole), hashed(b=whole), hashed(a=whole + b"\0"), hashed(a=b"\1" + whole[1:]), hashed(a=whole[1:] + b"\1"), hashed(a=whole, b=b""),
                 hashed(a=b"x"), hashed(a=b"y")]
    assert len(set(different)) == len(different) and hashed(a=whole) == different[0]


def test_only_the_weights_that_are_loaded_decide(tmp_path):
    for name in ("config.json", "README.md", "pytorch_model.bin", "tokenizer.json"):
        (tmp_path / name).write_bytes(b"x")
    assert [f.name for f in deciding_files([tmp_path])] == ["config.json", "pytorch_model.bin", "tokenizer.json"]
    (tmp_path / "model.safetensors").write_bytes(b"x")
    assert [f.name for f in deciding_files([tmp_path])] == ["config.json", "model.safetensors", "tokenizer.json"]


def test_a_checkpoint_of_the_hub_is_fetched_only_when_that_is_asked_for(tmp_path, monkeypatch):
    import huggingface_hub

    asked = []

    def snapshot(name, local_files_only, allow_patterns):
        asked.append((name, local_files_only))
        if local_files_only:
            raise FileNotFoundError("not cached")
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    with pytest.raises(ValueError, match="nothing is fetched without being asked. Get it with `hf download some/model`, or set download"):
        find_folder("some/model")
    assert find_folder("some/model", download=True) == tmp_path and asked == [("some/model", True), ("some/model", False)]
    assert find_folder(str(tmp_path)) == tmp_path
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: (_ for _ in ()).throw(OSError("no route\nto the hub")))
    with pytest.raises(ValueError, match="fetching it failed .no route."):
        find_folder("some/model", download=True)
