"""Text encoders from folders of transformers, against pooling by hand; with tiny random checkpoints."""

import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints_text import QWEN_PROMPT, build_dual, build_sentence, png
from hypothesis import given, settings
from hypothesis import strategies as st

from semquery.text import HfText, PictureEncoder, TextEncoder
from semquery.text.layout import prefixes_of
from semquery.text.sentence import pooled

TEXTS = ["handle", "the thing you turn to open the door", "Leg", "把手", "x"]
SENTENCE, DUAL = ("minilm", "e5", "bge", "qwen", "dense"), ("clip", "siglip", "siglip2")


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """Family → its checkpoint; the names are those of real ones, of which some tell the prefixes."""
    root = tmp_path_factory.mktemp("texts")
    names = {"minilm": "all-MiniLM-L6-v2", "e5": "e5-small-v2", "bge": "bge-small-en-v1.5", "qwen": "Qwen3-Embedding-0.6B", "dense": "gemma-like"}
    return {family: build_sentence(family, root / names[family]) for family in SENTENCE} | {family: build_dual(family, root / family) for family in DUAL}


def slow_vector(folder: Path, text: str, pooling: str, dense: bool = False) -> np.ndarray:
    """One text by itself, unpadded, its tokens pooled one after another."""
    from safetensors.numpy import load_file
    from transformers import AutoModel, AutoTokenizer

    ids = AutoTokenizer.from_pretrained(folder)(text, truncation=True, max_length=48, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        hidden = AutoModel.from_pretrained(folder).eval()(input_ids=ids).last_hidden_state[0].numpy()
    vector = {"mean": sum(hidden) / len(hidden), "cls": hidden[0], "last": hidden[-1], "max": np.array([max(column) for column in hidden.T])}[pooling]
    if dense:
        layer = load_file(folder / "2_Dense" / "model.safetensors")
        vector = np.tanh(layer["linear.weight"] @ vector + layer["linear.bias"])
    return vector / np.sqrt(sum(x * x for x in vector))


@pytest.mark.parametrize(("family", "pooling", "query", "passage"), [
    ("minilm", "mean", "", ""), ("e5", "mean", "query: ", "passage: "), ("qwen", "last", QWEN_PROMPT, ""), ("dense", "mean", "", ""),
    ("bge", "cls", "Represent this sentence for searching relevant passages: ", ""),
])
def test_vectors_are_the_models_own_pooled_by_hand_in_whatever_batch(folders, family, pooling, query, passage):
    for batch in (1, 2, 32):
        encoder = HfText(str(folders[family]), batch=batch)
        expected = [slow_vector(folders[family], query + text, pooling, family == "dense") for text in TEXTS]
        np.testing.assert_allclose(encoder.queries(TEXTS), expected, atol=1e-5)
        expected = [slow_vector(folders[family], passage + text, pooling, family == "dense") for text in TEXTS]
        np.testing.assert_allclose(encoder.passages(TEXTS), expected, atol=1e-5)
    assert encoder.kind == "sentence" and isinstance(encoder, TextEncoder) and f"pooling {pooling}" in encoder.check()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.sampled_from(["mean", "cls", "last", "max"]), st.booleans())
def test_pooling_does_not_see_padding_on_either_side(lengths, pooling, left):
    hidden = torch.randn(len(lengths), 6, 3)
    mask = torch.zeros(len(lengths), 6, dtype=torch.long)
    for row, length in enumerate(lengths):
        mask[row, slice(6 - length, None) if left else slice(length)] = 1
    found = pooled(hidden, mask, pooling)
    for row, length in enumerate(lengths):
        kept = [hidden[row, t] for t in range(6) if mask[row, t]]
        expected = {"mean": sum(kept) / length, "cls": kept[0], "last": kept[-1], "max": torch.stack(kept).max(0).values}[pooling]
        torch.testing.assert_close(found[row], expected)


def test_what_the_user_sets_counts_more_than_what_the_folder_says(folders):
    encoder = HfText(str(folders["qwen"]), pooling="max", query_prefix="Q ", passage_prefix="")
    np.testing.assert_allclose(encoder.queries(["leg"])[0], slow_vector(folders["qwen"], "Q leg", "max"), atol=1e-5)
    np.testing.assert_allclose(encoder.passages(["leg"])[0], slow_vector(folders["qwen"], "leg", "max"), atol=1e-5)


def test_a_plain_transformer_is_pooled_as_its_family_was_trained(folders, tmp_path):
    plain = build_sentence("plain", tmp_path / "some-encoder")
    np.testing.assert_allclose(HfText(str(plain)).queries(["leg"])[0], slow_vector(plain, "leg", "mean"), atol=1e-5)
    decoder = shutil.copytree(folders["qwen"], tmp_path / "decoder")
    for file in ("modules.json", "config_sentence_transformers.json"):
        (decoder / file).unlink()
    np.testing.assert_allclose(HfText(str(decoder)).queries(["leg"])[0], slow_vector(decoder, "leg", "last"), atol=1e-5)


def test_long_texts_are_cut_where_positions_are_counted_from_behind_the_padding(tmp_path):
    from checkpoints_text import SIZE, write_tokenizer
    from transformers import RobertaConfig, RobertaModel

    torch.manual_seed(0)
    RobertaModel(RobertaConfig(**SIZE, vocab_size=260, max_position_embeddings=20, pad_token_id=1), add_pooling_layer=False).save_pretrained(tmp_path)
    write_tokenizer(tmp_path)
    encoder = HfText(str(tmp_path))
    np.testing.assert_allclose(encoder.queries(["x" * 10_000]), encoder.queries(["x" * 16]), atol=1e-6)
    assert np.abs(encoder.queries(["x" * 15]) - encoder.queries(["x" * 16])).max() > 1e-4


def test_models_that_write_texts_are_refused(tmp_path):
    from checkpoints_text import write_tokenizer
    from transformers import T5Config, T5Model

    T5Model(T5Config(vocab_size=260, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)).save_pretrained(tmp_path)
    write_tokenizer(tmp_path)
    with pytest.raises(ValueError, match="of the kind t5, which writes texts; expected a sentence encoder"):
        HfText(str(tmp_path)).check()


def test_clip_inside_a_folder_of_sentence_transformers_is_opened(folders, tmp_path):
    shutil.copytree(folders["clip"], tmp_path / "0_CLIPModel")
    (tmp_path / "modules.json").write_text(json.dumps([{"type": "sentence_transformers.models.CLIPModel", "path": "0_CLIPModel"}]))
    encoder = HfText(str(tmp_path))
    assert encoder.kind == "clip"
    np.testing.assert_array_equal(encoder.queries(TEXTS), HfText(str(folders["clip"])).queries(TEXTS))


@pytest.mark.parametrize(("name", "query", "passage"), [
    ("intfloat/e5-base-v2", "query: ", "passage: "), ("intfloat/multilingual-e5-large", "query: ", "passage: "),
    ("intfloat/multilingual-e5-large-instruct", "Instruct: .*\nQuery: $", ""), ("Qwen/Qwen3-Embedding-0.6B", "Instruct: .*\nQuery:$", ""),
    ("BAAI/bge-large-en-v1.5", "Represent this sentence.*: ", ""), ("BAAI/bge-m3", "$", ""), ("sentence-transformers/all-MiniLM-L6-v2", "$", ""),
    ("my-cabbage-small-en", "$", ""),
])
def test_the_families_prefixes_are_known_by_name(name, query, passage):
    import re

    found = prefixes_of(name)
    assert re.match(query, found[0]) and found[1] == passage


@pytest.mark.parametrize("family", [*SENTENCE, *DUAL])
def test_odd_texts_are_taken_and_empty_ones_are_zero(folders, family):
    encoder = HfText(str(folders[family]))
    vectors = encoder.queries(["", "leg", "  \n", "x" * 10_000, "\ud800", "ручка", "<s></s><pad>"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [0, 1, 0, 1, 1, 1, 1], atol=1e-5)
    assert encoder.queries([]).shape == encoder.passages([]).shape == (0, vectors.shape[1]) and vectors.dtype == np.float32
    np.testing.assert_allclose(encoder.queries(["leg"])[0], vectors[1], atol=1e-5)


def slow_dual(folder: Path, text: str, image: bytes) -> tuple[np.ndarray, np.ndarray]:
    """By the model's own forward pass; SigLIP was trained without attention mask."""
    import io

    from PIL import Image
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    ids = AutoTokenizer.from_pretrained(folder)(text, padding="max_length", max_length=48, return_tensors="pt")
    model = AutoModel.from_pretrained(folder).eval()
    ids = {k: v for k, v in ids.items() if k == "input_ids" or k == "attention_mask" and model.config.model_type == "clip"}
    shown = AutoImageProcessor.from_pretrained(folder)(images=Image.open(io.BytesIO(image)), return_tensors="pt")
    with torch.inference_mode():
        out = model(**shown, **ids)
    return out.text_embeds[0].numpy(), out.image_embeds[0].numpy()


@pytest.mark.parametrize("family", DUAL)
def test_texts_and_pictures_of_clip_and_siglip_are_the_models_own(folders, family):
    encoder, shown = HfText(str(folders[family]), batch=2), [png((200, 30, 30)), png((10, 60, 220), (30, 64)), png((90, 90, 90))]
    assert encoder.kind == "clip" and isinstance(encoder, PictureEncoder) and "texts and pictures" in encoder.check()
    pictures, texts = encoder.pictures(shown), encoder.queries(TEXTS[:3])
    for k in range(3):
        text, picture = slow_dual(folders[family], TEXTS[k], shown[k])
        np.testing.assert_allclose(texts[k], text, atol=1e-5)
        np.testing.assert_allclose(pictures[k], picture, atol=1e-5)
    assert encoder.pictures([]).shape == (0, pictures.shape[1]) and pictures.dtype == np.float32


def test_transparent_pictures_are_seen_on_white(folders):
    encoder = HfText(str(folders["clip"]))
    clear, white = encoder.pictures([png((90, 90, 90, 0)), png((0, 0, 0, 0))])
    np.testing.assert_allclose(clear, white, atol=1e-6)


def test_a_sentence_encoder_says_that_it_knows_no_pictures(folders):
    with pytest.raises(ValueError, match="is a bert checkpoint, which knows no pictures; expected one of clip"):
        HfText(str(folders["minilm"])).pictures([png((1, 2, 3))])


def test_many_threads_get_the_vectors_that_one_gets(folders):
    for family in ("minilm", "clip"):
        expected, encoder = HfText(str(folders[family])).queries(TEXTS), HfText(str(folders[family]))
        found, start = [None] * 8, threading.Barrier(8)

        def ask(k, encoder=encoder, found=found, start=start):
            start.wait()
            found[k] = [encoder.queries(TEXTS[k % 4:]) for _ in range(5)]

        threads = [threading.Thread(target=ask, args=(k,)) for k in range(8)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        for k, several in enumerate(found):
            for vectors in several:
                np.testing.assert_allclose(vectors, expected[k % 4:], atol=1e-5)


def test_threads_that_come_at_once_open_one_model(folders, monkeypatch):
    from semquery.text import sentence

    opened, original, start = [], sentence.open_sentence, threading.Barrier(4)
    monkeypatch.setattr(sentence, "open_sentence", lambda *given: opened.append(given) or original(*given))
    encoder = HfText(str(folders["minilm"]))
    threads = [threading.Thread(target=lambda: (start.wait(), encoder.queries(["leg"]))) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(opened) == 1


def test_identity_is_content_and_prefixes_and_not_the_place(folders, tmp_path):
    moved = shutil.copytree(folders["minilm"], tmp_path / "elsewhere")
    identity = HfText(str(folders["minilm"])).identity
    assert identity == HfText(str(moved), device="cpu", batch=3).identity and str(folders["minilm"]) not in identity
    assert identity != HfText(str(moved), query_prefix="query: ").identity and identity != HfText(str(moved), pooling="cls").identity
    (moved / "openvino").mkdir()
    (moved / "openvino" / "model.bin").write_bytes(b"not used")
    assert identity == HfText(str(moved)).identity
    weights = bytearray((moved / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (moved / "model.safetensors").write_bytes(weights)
    assert identity != HfText(str(moved)).identity
    assert identity != HfText(str(build_sentence("minilm", tmp_path / "other seed", seed=1))).identity


def changed(folder: Path, file: str, **fields) -> None:
    record = json.loads((folder / file).read_bytes())
    (folder / file).write_text(json.dumps(record | fields))


def test_layouts_that_are_not_known_are_refused_with_a_way_out(folders, tmp_path):
    def copied(family: str) -> Path:
        return shutil.copytree(folders[family], tmp_path / f"{len(list(tmp_path.iterdir()))}")

    for types, told in ((["custom_st.Transformer"], "custom_st.Transformer; expected Transformer, Pooling"), (["sentence_transformers.models.WordEmbeddings"], "WordEmbeddings")):
        folder = copied("minilm")
        (folder / "modules.json").write_text(json.dumps([{"type": kind, "path": ""} for kind in types]))
        with pytest.raises(ValueError, match=f"{told}.*EmbeddingServer"):
            HfText(str(folder)).check()
    folder = copied("minilm")
    (folder / "modules.json").write_text('[{"kind": "Transformer"}]')
    with pytest.raises(ValueError, match="is no list of modules"):
        HfText(str(folder)).check()
    folder = copied("minilm")
    changed(folder, "1_Pooling/config.json", pooling_mode_mean_tokens=False, pooling_mode_weightedmean_tokens=True)
    with pytest.raises(ValueError, match="wants the pooling weightedmean_tokens; expected one of mean, cls, last, max"):
        HfText(str(folder)).check()
    assert HfText(str(folder), pooling="mean").queries(["leg"]).shape == (1, 32)
    folder = copied("dense")
    (folder / "2_Dense" / "model.safetensors").rename(folder / "2_Dense" / "pytorch_model.bin")
    with pytest.raises(ValueError, match="its layer 2_Dense .* expected .* weights in model.safetensors"):
        HfText(str(folder)).check()


def test_newer_files_that_name_their_pooling_are_read(folders, tmp_path):
    folder = shutil.copytree(folders["minilm"], tmp_path / "new")
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode": "lasttoken"}')
    np.testing.assert_allclose(HfText(str(folder)).queries(["leg"])[0], slow_vector(folder, "leg", "last"), atol=1e-5)


def test_what_is_no_text_encoder_is_refused_with_a_way_out(folders, tmp_path):
    for name, told in (("gone/nowhere/x", "There is no folder"), ("nobody/has-this", "is not on this machine and nothing is fetched.*hf download nobody/has-this"),
                       (str(tmp_path), "holds no model")):
        with pytest.raises(ValueError, match=told):
            HfText(name).check()
    folder = shutil.copytree(folders["minilm"], tmp_path / "cut")
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:500])
    with pytest.raises(ValueError, match="cannot be used as a text encoder"):
        HfText(str(folder)).check()
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match="cannot be read as JSON"):
        HfText(str(folder)).check()
    with pytest.raises(ValueError, match="batch ≥ 1"):
        HfText(batch=0)


def test_weights_that_a_file_lacks_are_not_made_up(folders, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(folders["minilm"], tmp_path / "some")
    weights = load_file(folder / "model.safetensors")
    save_file({name: tensor for name, tensor in weights.items() if "layer.1.attention" not in name}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match="it lacks 10 weights"):
        HfText(str(folder)).check()


def test_nothing_is_asked_of_the_network(folders, monkeypatch):
    import socket

    def refuse(*_):
        raise AssertionError("a network was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for family in ("qwen", "clip"):
        assert HfText(str(folders[family])).queries(["leg"]).any()
    with pytest.raises(ValueError, match="nothing is fetched"):
        HfText("nobody/has-this").check()
