"""Names ranked by what a picture looks like, with tiny random CLIP and SigLIP checkpoints; and what of it reaches a prompt."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints_text import build_dual, png
from labelling_helpers import small_subject
from PIL import Image

from semquery.labelling import LabelConfig, all_names, by_looks, candidates_from
from semquery.labelling.context import question
from semquery.types import NodeLabel
from semquery.vlm.clip import PHRASE, ClipRanking
from semquery.vlm.dual import load_model

NAMES = ["door", "handle", "leg", "screw", "seat"]


@pytest.fixture(scope="module", params=["clip", "siglip", "siglip2"])
def checkpoint(request, tmp_path_factory) -> Path:
    return build_dual(request.param, tmp_path_factory.mktemp(request.param))


def slow_scores(folder: Path, image: bytes) -> list[float]:
    """One name after another, by the model's own forward pass; SigLIP was trained without an attention mask."""
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(folder).eval()
    shown = AutoImageProcessor.from_pretrained(folder)(images=Image.open(io.BytesIO(image)), return_tensors="pt")
    taken = ("input_ids", "attention_mask") if model.config.model_type == "clip" else ("input_ids",)
    found = []
    for name in NAMES:
        ids = AutoTokenizer.from_pretrained(folder)(PHRASE.format(name), padding="max_length", max_length=48, return_tensors="pt")
        with torch.inference_mode():
            out = model(**shown, **{k: ids[k] for k in taken})
        found.append(float((out.image_embeds * out.text_embeds).sum()))
    return found


def test_scores_are_the_models_own_cosines(checkpoint):
    ranking = ClipRanking(str(checkpoint))
    for color in ((200, 30, 30), (10, 60, 220)):
        scores = ranking.scores(png(color), NAMES)
        np.testing.assert_allclose(scores, slow_scores(checkpoint, png(color)), atol=1e-5)
        best = ranking.best(png(color), NAMES, 3)
        assert best == [NAMES[k] for k in np.argsort(-scores)[:3]] and len(set(scores.tolist())) == 5


def test_a_name_is_embedded_once_and_scores_do_not_depend_on_the_others(checkpoint):
    ranking = ClipRanking(str(checkpoint))
    together = ranking.scores(png((9, 9, 9)), NAMES)
    known = dict(ranking._known)
    alone = [float(ranking.scores(png((9, 9, 9)), [name])[0]) for name in NAMES]
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert all(ranking._known[name] is known[name] for name in NAMES) and ranking.best(png((9, 9, 9)), [], 3) == []


def test_nothing_is_asked_of_the_network(checkpoint, monkeypatch):
    import socket

    def refuse(*_):
        raise AssertionError("a network was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert ClipRanking(str(checkpoint)).scores(png((1, 2, 3)), NAMES).shape == (5,)
    with pytest.raises(AssertionError, match="a network was asked for"):
        socket.create_connection(("localhost", 9))


def test_what_is_no_such_checkpoint_is_refused_with_a_way_out(tmp_path):
    with pytest.raises(ValueError, match="cannot be used to rank names.*hf download openai/clip-vit-base-patch16"):
        ClipRanking(str(tmp_path / "gone")).check()
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match="it is of the kind bert; expected clip, siglip, siglip2"):
        ClipRanking(str(tmp_path)).check()


def last_letters(image: bytes, names: list[str], most: int) -> list[str]:
    return sorted(names, reverse=True)[:most]


def test_the_likeliest_of_the_list_are_offered_and_of_all_names_where_the_list_is_silent():
    listed = candidates_from(Path("ontology_partnet.json"))
    every = all_names(Path("ontology_partnet.json"))
    likeliest = by_looks(listed, every, lambda part: b"picture", last_letters, most=3)
    chair = listed(0, ["scene", "chair"])
    assert likeliest(0, ["scene", "chair"]) == sorted(chair, reverse=True)[:3] and len(chair) > 3
    assert likeliest(0, ["thing"]) == sorted(every, reverse=True)[:3]
    unseen = by_looks(listed, every, lambda part: None, last_letters, most=2)
    assert unseen(0, ["chair"]) == chair[:2] and len(every) == len(set(every)) > 200


def test_offered_names_reach_the_question():
    subject = small_subject(candidates=by_looks(lambda part, ancestors: NAMES, NAMES, lambda part: b"x", last_letters, most=2))
    asked = question(subject, 4, {4: NodeLabel(4, "scene")}, LabelConfig())
    assert "It may be one of these, or something else: seat, screw." in asked.text


def test_a_checkpoint_opens_without_a_bar_and_leaves_bars_to_others(checkpoint, monkeypatch, capfd):
    from transformers.utils import logging

    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    logging.enable_progress_bar()
    _, missing = load_model(checkpoint)
    assert missing == [] and "Loading" not in capfd.readouterr().err and logging.is_progress_bar_enabled()
