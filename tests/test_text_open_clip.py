"""CLIP by open_clip, with tiny random weights, against open_clip's own way from file to vector."""

import io
import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints_text import OPEN_CLIP, build_open_clip, png

from semquery.text import OpenClip, PictureEncoder

TEXTS = ["handle", "the thing you turn to open the door", "leg", "把手"]
COLOURS = [(200, 30, 30), (10, 60, 220), (90, 90, 90)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return build_open_clip(tmp_path_factory.mktemp("open_clip") / "tiny")


@pytest.fixture
def named(tmp_path) -> str:
    """A tiny architecture that open_clip knows by name."""
    import open_clip

    (tmp_path / "semquery-tiny.json").write_text(json.dumps(OPEN_CLIP))
    open_clip.add_model_config(tmp_path / "semquery-tiny.json")
    return "semquery-tiny"


def test_vectors_are_those_of_open_clip_itself(folder, named):
    import open_clip
    from PIL import Image

    config = json.loads((folder / "open_clip_config.json").read_bytes())["preprocess_cfg"]
    model, _, prepare = open_clip.create_model_and_transforms(named, str(folder / "open_clip_model.safetensors"), image_mean=config["mean"], image_std=config["std"])
    tokenizer, encoder = open_clip.get_tokenizer(named), OpenClip(str(folder), batch=2)
    texts, pictures = encoder.queries(TEXTS), encoder.pictures([png(color) for color in COLOURS])
    with torch.inference_mode():
        for k, text in enumerate(TEXTS):
            expected = model.eval().encode_text(tokenizer([text]))[0].numpy()
            np.testing.assert_allclose(texts[k], expected / np.linalg.norm(expected), atol=1e-5)
        for k, color in enumerate(COLOURS):
            expected = model.encode_image(prepare(Image.open(io.BytesIO(png(color))))[None])[0].numpy()
            np.testing.assert_allclose(pictures[k], expected / np.linalg.norm(expected), atol=1e-5)
    np.testing.assert_array_equal(encoder.passages(TEXTS), texts)
    assert encoder.kind == "clip" and isinstance(encoder, PictureEncoder) and "16 numbers" in encoder.check()


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_an_architecture_by_name_takes_weights_from_a_file(folder, named, tmp_path, suffix):
    from safetensors.torch import load_file

    weights = tmp_path / f"weights{suffix}"
    if suffix == ".pt":
        torch.save({"state_dict": {f"module.{k}": v for k, v in load_file(folder / "open_clip_model.safetensors").items()}}, weights)
    else:
        shutil.copy(folder / "open_clip_model.safetensors", weights)
    np.testing.assert_allclose(OpenClip(named, str(weights)).queries(TEXTS), OpenClip(str(folder)).queries(TEXTS), atol=1e-6)


def test_odd_texts_are_taken_and_empty_ones_are_zero(folder):
    encoder = OpenClip(str(folder))
    vectors = encoder.queries(["", "leg", " ", "word " * 2000, "\ud800"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [0, 1, 0, 1, 1], atol=1e-5)
    np.testing.assert_allclose(encoder.queries(["word " * 76]), encoder.queries(["word " * 2000]), atol=1e-6)
    assert encoder.queries([]).shape == encoder.pictures([]).shape == (0, 16)
    np.testing.assert_allclose(encoder.queries(["leg"])[0], vectors[1], atol=1e-5)


def test_many_threads_get_the_vectors_that_one_gets(folder):
    expected, encoder, found = OpenClip(str(folder)).queries(TEXTS), OpenClip(str(folder)), {}
    threads = [threading.Thread(target=lambda k=k: found.update({k: encoder.queries(TEXTS[k % 4:])})) for k in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    for k in range(8):
        np.testing.assert_allclose(found[k], expected[k % 4:], atol=1e-5)


def test_identity_is_content_and_not_the_place(folder, tmp_path):
    moved = shutil.copytree(folder, tmp_path / "moved")
    identity = OpenClip(str(folder)).identity
    assert identity == OpenClip(str(moved), device="cpu", batch=1).identity and str(folder) not in identity
    assert identity != OpenClip(str(build_open_clip(tmp_path / "other", seed=1))).identity
    config = json.loads((moved / "open_clip_config.json").read_bytes())
    config["preprocess_cfg"]["mean"] = [0.1, 0.2, 0.3]
    (moved / "open_clip_config.json").write_text(json.dumps(config))
    assert identity != OpenClip(str(moved)).identity


def test_weights_of_a_tag_are_found_in_the_hubs_cache_and_never_fetched_unasked(folder, tmp_path, monkeypatch):
    import huggingface_hub
    import open_clip

    with pytest.raises(ValueError, match="laion2b_s34b_b88k of ViT-B-16 are not on this machine.*`hf download laion/CLIP-ViT-B-16-laion2B-s34B-b88K`"):
        OpenClip().check()
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "semquery-cached", {"some_tag": {"hf_hub": "someone/tiny/", "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.4)}})
    (tmp_path / "semquery-cached.json").write_text(json.dumps(OPEN_CLIP))
    open_clip.add_model_config(tmp_path / "semquery-cached.json")
    asked = []

    def look(repository, file):
        asked.append((repository, file))
        return str(folder / file) if (folder / file).is_file() else None

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", look)
    encoder, shown = OpenClip("semquery-cached", "some_tag"), [png(color) for color in COLOURS]
    np.testing.assert_allclose(encoder.queries(TEXTS), OpenClip(str(folder)).queries(TEXTS), atol=1e-6)
    np.testing.assert_allclose(encoder.pictures(shown), OpenClip(str(folder)).pictures(shown), atol=1e-6)
    assert asked[0] == ("someone/tiny", "open_clip_model.safetensors")


def test_a_download_that_fails_says_so(monkeypatch):
    import open_clip

    def fail(config):
        raise FileNotFoundError("Failed to download file (open_clip_pytorch_model.bin) for someone/tiny")

    monkeypatch.setattr(open_clip.pretrained, "download_pretrained", fail)
    with pytest.raises(ValueError, match="laion2b_s34b_b88k of ViT-B-16 could not be fetched: Failed to download"):
        OpenClip(download=True).check()


@pytest.mark.parametrize(("model", "pretrained", "told"), [
    ("no-such", "x", "knows no architecture 'no-such'"), ("ViT-B-16", "no-such", "There are no weights 'no-such' for ViT-B-16.*laion2b_s34b_b88k"),
    ("coca_ViT-B-32", "laion2b_s13b_b90k", "or is no CLIP.*HfText"), ("ViT-B-16-SigLIP", "webli", "does not read with CLIP's own tokenizer.*HfText"),
])
def test_what_cannot_be_opened_is_refused_with_a_way_out(model, pretrained, told):
    with pytest.raises(ValueError, match=told):
        OpenClip(model, pretrained).check()


def test_damaged_folders_are_refused_in_one_sentence(folder, tmp_path, named):
    with pytest.raises(ValueError, match="holds no open_clip_config.json.*HfText"):
        OpenClip(str(tmp_path)).check()
    bare = shutil.copytree(folder, tmp_path / "bare")
    (bare / "open_clip_model.safetensors").unlink()
    with pytest.raises(ValueError, match="holds no weights; expected open_clip_model.safetensors or"):
        OpenClip(str(bare)).check()
    (bare / "open_clip_model.safetensors").write_bytes((folder / "open_clip_model.safetensors").read_bytes()[:200])
    with pytest.raises(ValueError, match="cannot be opened as weights of"):
        OpenClip(str(bare)).check()
    with pytest.raises(ValueError, match="Give weights of this architecture") as caught:
        OpenClip("ViT-B-32", str(folder / "open_clip_model.safetensors")).check()
    assert len(str(caught.value)) < 700
