"""Text-prompted SAM3: a tiny random checkpoint, opened and asked by the code users run."""

import dataclasses

import numpy as np
import pytest
import torch
from checkpoints_sam import write_checkpoint
from checkpoints_sam3 import write_sam3
from PIL import Image
from stub_server import StubServer, images_of, text_of
from test_segmenter_grounded import picture, server_of

from semquery.segmenter import Sam3, Segmenter, SegmenterError
from semquery.segmenter.sam3 import Phrase, phrase_from


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_sam3(tmp_path_factory.mktemp("sam3"))


@pytest.fixture(scope="module")
def sam3(checkpoint):
    return Sam3(str(checkpoint), device="cpu", threshold=0.0)


def test_it_answers_as_the_documented_calls_do(sam3, checkpoint):
    from transformers import Sam3Model, Sam3Processor

    model, processor = Sam3Model.from_pretrained(checkpoint).eval(), Sam3Processor.from_pretrained(checkpoint)
    fed = processor(images=Image.fromarray(picture()), text="red square", return_tensors="pt")
    with torch.inference_mode():
        out = model(**{name: value for name, value in fed.items() if name != "original_sizes"})
    twin = processor.post_process_instance_segmentation(out, threshold=0.0, target_sizes=[(60, 90)])[0]
    twin = [(s, b, m) for s, b, m in zip(twin["scores"], twin["boxes"], twin["masks"].bool().numpy(), strict=True) if m.any()]
    found = sam3.segment(picture(), "red square")
    assert len(found) == len(twin) > 0
    for region, (score, box, mask) in zip(found, twin, strict=True):
        assert region.score == pytest.approx(float(score), abs=1e-5) and np.allclose(region.box, box, atol=1e-3) and np.array_equal(region.mask, mask)
        assert region.mask.shape == (60, 90) and region.label == "red square" and "red square" in region.text


def test_the_phrase_matters_and_what_is_too_long_is_cut(sam3):
    scores = [[r.score for r in sam3.segment(picture(), phrase)] for phrase in ("leg", "red square", "the left armrest of it " * 20)]
    assert scores[0] != scores[1] and len(scores[2]) > 0


def test_instances_below_the_threshold_are_dropped(sam3):
    every = sorted(r.score for r in sam3.segment(picture(), "leg"))
    kept = dataclasses.replace(sam3, threshold=(every[-1] + every[-2]) / 2).segment(picture(), "leg")
    assert [r.score for r in kept] == [every[-1]]
    assert dataclasses.replace(sam3, threshold=1.0).segment(picture(), "leg") == []


def test_a_model_turns_a_query_by_purpose_into_a_phrase(sam3):
    answer = {"reasoning": "one sits on it", "visible": True, "phrase": "Seat."}
    with StubServer(lambda body: answer, latency=0.0) as stub:
        found = dataclasses.replace(sam3, vlm=server_of(stub)).segment(picture(), "where to sit")
        assert "where to sit" in text_of(stub.requests[-1]["messages"][-1]) and len(images_of(stub.requests[-1])) == 1
    assert {(r.label, r.text) for r in found} == {("Seat", "one sits on it")}
    assert [r.score for r in found] == [r.score for r in sam3.segment(picture(), "Seat")]


def test_what_the_model_does_not_see_is_not_looked_for(sam3):
    with StubServer(lambda body: {"reasoning": "", "visible": False, "phrase": ""}, latency=0.0) as stub:
        assert dataclasses.replace(sam3, vlm=server_of(stub)).segment(picture(), "where to sit") == []
    with pytest.raises(SegmenterError) as gone:
        dataclasses.replace(sam3, vlm=server_of(stub)).segment(picture(), "where to sit")
    assert gone.value.is_away


@pytest.mark.parametrize("text, phrase", [
    ('{"reasoning": "r", "visible": true, "phrase": "table leg"}', Phrase("table leg", "r")), ('```json\n{"phrase": "leg",}\n```', Phrase("leg")),
    ('{"visible": false, "phrase": "leg"}', Phrase("")), ('{"phrase": ""}', None), ("leg", None), ('{"phrase": 3}', None)])
def test_phrases_are_read_from_answers(text, phrase):
    assert phrase_from(text) == phrase


def test_the_identity_tells_weights_and_thresholds_and_no_folder(sam3, checkpoint):
    changed = [{"threshold": 0.1}, {"mask_threshold": 0.2}, {"precision": "float32"}, {"checkpoint": "facebook/sam3"}]
    with StubServer(lambda body: {}, latency=0.0) as stub:
        changed.append({"vlm": server_of(stub)})
        identities = {sam3.identity, *(dataclasses.replace(sam3, **change).identity for change in changed)}
    assert len(identities) == 6 and not any(str(checkpoint.parent) in i or "127.0.0.1" in i for i in identities)
    assert isinstance(sam3, Segmenter) and "M weights) on cpu" in sam3.check()


def test_a_checkpoint_that_is_absent_or_of_another_kind_is_named_with_what_to_do(tmp_path):
    with pytest.raises(ValueError, match="cannot be opened as SAM3: .*hf download facebook/sam3"):
        Sam3(str(tmp_path / "gone")).check()
    with pytest.raises(ValueError, match="it is a checkpoint of 'sam'"):
        Sam3(str(write_checkpoint("sam", tmp_path / "sam"))).check()
    with pytest.raises(ValueError, match="thresholds from 0 to 1"):
        Sam3(threshold=1.5)
