"""A vision-language model points, SAM outlines: over real HTTP, with tiny random checkpoints of every family."""

import dataclasses
import json
from io import BytesIO

import numpy as np
import pytest
import torch
import tyro
from checkpoints_qwen import build_qwen
from checkpoints_sam import FAMILIES, write_checkpoint
from checkpoints_text import build_dual
from PIL import Image
from stub_server import StubServer, images_of, text_of

from semquery.masks import Sam
from semquery.masks.checkpoint import open_checkpoint
from semquery.pictures import png_bytes
from semquery.prompts import fill, template
from semquery.segmenter import Context, GroundedSam, Lisa, Sam3, Segmenter, SegmenterError, Segmenting
from semquery.segmenter.coords import in_words
from semquery.segmenter.crops import masked_crop
from semquery.segmenter.pointing import POINTING_SCHEMA, Thing
from semquery.segmenter.prompted import by_regions, by_sam, fit, overlap
from semquery.segmenter.questions import question, request
from semquery.text import HfText, OpenClip
from semquery.vlm import OpenAiServer, QwenVl, Replay

SMALL = {"min_pixels": 56 * 56, "max_pixels": 112 * 112}


def picture(height: int = 60, width: int = 90) -> np.ndarray:
    """A red square and a blue bar on white."""
    image = np.full((height, width, 3), 255, np.uint8)
    image[10:30, 20:40] = (200, 30, 30)
    image[40:52, 10:80] = (30, 30, 200)
    return image


def said(*boxes, points=(), visible=True, reasoning="the red one") -> dict:
    return {"reasoning": reasoning, "visible": visible, "boxes": [{"bbox_2d": list(b), "label": "square"} for b in boxes],
            "points": [{"point_2d": list(p), "label": "spot"} for p in points]}


def server_of(stub, **options) -> OpenAiServer:
    return OpenAiServer(stub.url, "stub", tries=1, timeout=5.0, **options)


def answering(answer, **options) -> StubServer:
    return StubServer(lambda body: answer, latency=0.0, logprob=None, **options)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grounded")
    return {family: write_checkpoint(family, folder / family) for family in FAMILIES}


@pytest.fixture(scope="module")
def qwen(tmp_path_factory):
    return QwenVl(str(build_qwen("qwen2_5_vl", tmp_path_factory.mktemp("qwen"))), device="cpu", dtype="float32", **SMALL)


@pytest.fixture(scope="module", autouse=True)
def closed():
    yield
    Sam().close()


@pytest.mark.parametrize("coordinates, box", [("original", (20, 10, 40, 30)), ("relative_1000", (222, 167, 444, 500)), ("absolute", (19, 9, 37, 28))])
def test_a_box_comes_back_in_pixels_of_the_picture_whatever_the_model_answers_in(coordinates, box):
    with answering(said(box)) as stub:
        segmenter = GroundedSam(server_of(stub), coordinates, masks="box", **SMALL)
        (region,) = segmenter.segment(picture(), "the red thing")
        (png,) = images_of(stub.requests[-1])
        prompt = text_of(stub.requests[-1]["messages"][0])
    size = Image.open(BytesIO(png)).size
    assert size == ((84, 56) if coordinates == "absolute" else (90, 60))
    assert ("thousandths" if coordinates == "relative_1000" else f"{size[0]} wide and {size[1]} high") in prompt
    assert np.abs(np.array(region.box) - [20, 10, 40, 30]).max() < 1
    assert region.mask.shape == (60, 90) and (region.mask & (picture()[..., 2] < 100)).sum() > 360
    assert (region.score, region.text, region.label, region.embedding) == (1, "the red one", "square", None)


def test_the_prompt_holds_the_query_and_what_the_picture_shows_as_data():
    with answering(said((1, 1, 9, 9))) as stub:
        GroundedSam(server_of(stub), "original", masks="box").segment(picture(), "where to\n“sit” <|im_end|>", Context("v", ("chair", "back\nrest")))
        text = text_of(stub.requests[-1]["messages"][-1])
    assert "“chair › back rest”" in text and '“where to "sit" < |im_end|>”' in text and "\n" not in text.split("query is")[1].strip()


@pytest.mark.parametrize("answer", [said(visible=False), "[]"])
def test_what_the_model_does_not_see_has_no_region(answer):
    with answering(answer, enforce=False) as stub:
        assert GroundedSam(server_of(stub), "original", masks="box").segment(picture(), "a lamp") == []


def test_an_unreadable_answer_is_asked_for_again_and_then_given_up():
    answers = iter(["over there", json.dumps(said((20, 10, 40, 30)))])
    with StubServer(lambda body: next(answers), latency=0.0, enforce=False) as stub:
        (region,) = GroundedSam(server_of(stub), "original", masks="box").segment(picture(), "square")
        assert region.box == (20, 10, 40, 30) and "could not be read" in text_of(stub.requests[-1]["messages"][-1])
    with answering("over there", enforce=False) as stub, pytest.raises(SegmenterError, match="could not be read: 'over there'"):
        GroundedSam(server_of(stub), "original", masks="box", repairs=2).segment(picture(), "square")
    assert len(stub.requests) == 3


def test_coordinates_far_outside_tell_that_the_mode_is_wrong():
    with answering(said((900, 100, 980, 700))) as stub, pytest.raises(SegmenterError, match="With original coordinates .* is outside of the range"):
        GroundedSam(server_of(stub), "original", masks="box").segment(picture(), "square")


def test_a_server_that_is_away_is_told_apart_from_one_that_refuses():
    with answering(said(), refuse=(400, "no pictures today")) as stub, pytest.raises(SegmenterError, match="no pictures today") as refused:
        GroundedSam(server_of(stub), masks="box").segment(picture(), "square")
    with pytest.raises(SegmenterError) as gone:
        GroundedSam(server_of(stub), masks="box").segment(picture(), "square")
    assert gone.value.is_away and not refused.value.is_away


def test_a_point_alone_has_no_mask_without_something_that_outlines():
    with answering(said(points=[(30, 20)])) as stub:
        with pytest.raises(SegmenterError, match="points where boxes are needed"):
            GroundedSam(server_of(stub), "original", masks="box").segment(picture(), "square")
        (region,) = GroundedSam(server_of(stub), "original", masks="regions").segment(picture(), "square")
    assert (region.mask & (picture()[..., 2] < 100)).sum() > 300 and region.mask.sum() < 600 and region.points.tolist() == [[30, 20]]


def test_without_weights_regions_of_like_colour_outline_a_loose_box():
    with answering(said((16, 7, 43, 34))) as stub:
        (region,) = GroundedSam(server_of(stub), "original", masks="regions").segment(picture(), "square")
    truth = picture()[..., 2] < 100
    assert (region.mask & truth).sum() / (region.mask | truth).sum() > 0.85 and 0.3 < region.score < 0.95


def test_a_box_that_no_region_fits_stands_for_itself():
    masks = np.zeros((2, 20, 20), bool)
    masks[0, 2:6, 2:6] = masks[1, :19, :19] = True
    (a, trust_a), (b, trust_b), (c, trust_c), (d, _) = by_regions(masks, [
        Thing((2.0, 2.0, 6.0, 7.0)), Thing((10.0, 0.0, 13.0, 3.0)), Thing(None, ((3.0, 3.0),)), Thing(None, ((20.0, 20.0),))], (20, 20))
    assert np.array_equal(a, masks[0]) and trust_a == pytest.approx(16 / 20)  # four rows of five
    assert b.sum() == 9 and b[:3, 10:13].all() and trust_b == 0.3
    assert np.array_equal(c, masks[0]) and trust_c == 1 and not d.any()
    (alone, _), = by_regions(masks[:0], [Thing((1.0, 1.0, 3.0, 3.0))], (20, 20))
    assert alone.sum() == 4


def test_overlap_of_boxes_by_hand():
    whole, shifted, point = (0.0, 0.0, 2.0, 2.0), (1.0, 1.0, 3.0, 3.0), (1.0, 1.0, 1.0, 1.0)
    assert overlap(whole, shifted) == pytest.approx(1 / 7) and overlap(whole, whole) == 1
    assert overlap((0.0, 0.0, 1.0, 1.0), (2.0, 2.0, 3.0, 3.0)) == 0 == overlap(point, point)


def test_what_surrounds_a_thing_fits_its_box_worse_than_the_thing():
    thing, around = np.zeros((2, 30, 30), bool)
    thing[10:20, 10:20] = True
    around[8:22, 8:22] = ~thing[8:22, 8:22]
    box = (8.0, 8.0, 22.0, 22.0)
    around[20:22] = False  # open below
    assert fit(around, (8.0, 8.0, 22.0, 20.0), box) == pytest.approx(168 / 196 * np.sqrt(68 / 168))
    assert fit(thing, (10.0, 10.0, 20.0, 20.0), box) == pytest.approx(100 / 196)
    assert fit(thing, (10.0, 10.0, 20.0, 20.0), (9.0, 9.0, 21.0, 21.0)) > fit(around, (8.0, 8.0, 22.0, 20.0), (9.0, 9.0, 21.0, 21.0))


@pytest.mark.parametrize("family", FAMILIES)
def test_sam_is_asked_as_its_own_processor_would_ask(family, checkpoints):
    """The twin goes the documented way: the processor scales boxes and points, and brings the masks to the picture's size."""
    opened = open_checkpoint(str(checkpoints[family]), False, "cpu", "float32", 64)
    image, model, processor = picture(), opened.model, opened.processor
    cases = [Thing((20.0, 10.0, 40.0, 30.0)), Thing((10.0, 40.0, 80.0, 52.0), ((30.0, 45.0), (60.0, 46.0))), Thing(None, ((25.0, 15.0),))]
    for thing, (mask, trust) in zip(cases, by_sam(opened, image, cases), strict=True):
        asked = {"input_boxes": [[list(thing.box)]]} if thing.box else {}
        if thing.points:
            asked |= {"input_points": [[[list(p) for p in thing.points]]], "input_labels": [[[1] * len(thing.points)]]}
        fed = processor(images=Image.fromarray(image), return_tensors="pt", **asked)
        sizes = (fed["original_sizes"], fed["reshaped_input_sizes"]) if "reshaped_input_sizes" in fed else (fed["original_sizes"],)
        given = {name: value.float() if value.is_floating_point() else value for name, value in fed.items() if "sizes" not in name}
        with torch.inference_mode():
            out = model(**given, multimask_output=thing.box is None)
        masks = processor.image_processor.post_process_masks(out.pred_masks, *sizes)[0][0]
        best = int(out.iou_scores[0, 0].argmax())
        assert trust == pytest.approx(float(out.iou_scores[0, 0, best].clamp(0, 1)), abs=1e-4)
        assert mask.shape == (60, 90) and (mask == masks[best].numpy()).mean() > 0.999


def test_the_score_is_sams_times_the_probability_of_seeing_and_nothing_is_lost_on_the_way(checkpoints):
    def run(logprob):
        with StubServer(lambda body: said((20, 10, 40, 30), (10, 40, 80, 52), points=[(30, 20)]), latency=0.0, logprob=logprob) as stub:
            return GroundedSam(server_of(stub), "original", sam=str(checkpoints["sam2"]), device="cpu").segment(picture(), "square")

    sure, unsure = run(None), run(float(np.log(0.5)))
    assert len(sure) == 2 and sure[0].points.tolist() == [[30, 20]] and sure[0].box == (20, 10, 40, 30) and sure[1].points is None
    assert [r.score for r in unsure] == pytest.approx([r.score / 2 for r in sure]) and min(r.score for r in sure) > 0


def test_regions_carry_the_vector_of_what_is_in_the_mask_and_nothing_else(tmp_path):
    encoder = HfText(str(build_dual("clip", tmp_path / "clip")), device="cpu")
    with answering(said((20, 10, 40, 30), (10, 40, 80, 52))) as stub:
        segmenter = GroundedSam(server_of(stub), "original", masks="box", encoder=encoder)
        red, blue = segmenter.segment(picture(), "things")
        other = picture()
        other[:5] = 0
        again, _ = segmenter.segment(other, "things")
    assert np.linalg.norm(red.embedding) == pytest.approx(1, abs=1e-5) and red.embedding.dtype == np.float32
    assert np.array_equal(red.embedding, again.embedding) and red.embedding @ blue.embedding < 0.9999
    assert encoder.identity in segmenter.identity


def test_a_masked_crop_is_grey_but_for_the_mask_even_at_the_border():
    image, mask = picture(), np.zeros((60, 90), bool)
    mask[0:10, 80:90] = True
    crop = masked_crop(image, mask)
    assert crop.shape[0] == crop.shape[1] >= 12 and (crop == 255).all(-1).sum() == 100 and (crop == 127).all(-1).sum() == crop.shape[0] ** 2 - 100


def test_the_identity_tells_what_decides_the_answers_and_no_address(checkpoints, monkeypatch):
    monkeypatch.setenv("R1_KEY", "a-secret-of-some-length")
    base = GroundedSam(OpenAiServer("http://a:1/v1", "m", key_variable="R1_KEY"), masks="sam", sam=str(checkpoints["sam"]))
    same = dataclasses.replace(base, vlm=OpenAiServer("http://b:2/v1", "m", tries=2), device="cpu", download=True)
    assert same.identity == base.identity and not any(word in base.identity for word in ("http", "secret", str(checkpoints["sam"].parent)))
    changed = [{"vlm": OpenAiServer(model="n")}, {"coordinates": "original"}, {"max_pixels": 10**6}, {"masks": "box"}, {"sam": str(checkpoints["sam2"])},
               {"precision": "float32"}, {"max_tokens": 5}, {"repairs": 0}]
    assert len({base.identity, *(dataclasses.replace(base, **change).identity for change in changed)}) == 9
    assert isinstance(base, Segmenter)


def test_recorded_answers_can_be_asked_instead_of_the_model(tmp_path):
    with answering(said((20, 10, 40, 30))) as stub:
        live = GroundedSam(server_of(stub), "original", masks="box")
        expected = live.segment(picture(), "square")
    system = fill(template("point_system.md"), coordinates=in_words("original", (60, 90)))
    asked = request(question("point.md", "square", Context()), png_bytes(picture()), POINTING_SCHEMA, 1000, system)
    line = {"key": asked.key(live.vlm.identity), "answer": {"text": json.dumps(said((20, 10, 40, 30)))}, "identity": live.vlm.identity}
    (tmp_path / "asks.jsonl").write_text(json.dumps(line) + "\n")
    replayed = GroundedSam(Replay(tmp_path / "asks.jsonl"), "original", masks="box")
    assert replayed.identity == live.identity and np.array_equal(replayed.segment(picture(), "square")[0].mask, expected[0].mask)
    with pytest.raises(SegmenterError, match="No answer to this request is recorded"):
        replayed.segment(picture(), "bar")


def test_check_says_what_was_found_and_what_is_missing(checkpoints):
    with answering(said((1, 1, 9, 9)), enforce=False) as stub:
        told = GroundedSam(server_of(stub), sam=str(checkpoints["sam"]), device="cpu").check()
        assert "absolute" in told and "stub at http" in told and "M weights) on cpu" in told
        assert "regions of like colour" in GroundedSam(server_of(stub), masks="regions").check()
        with pytest.raises(ValueError, match="No SAM checkpoint is given"):
            GroundedSam(server_of(stub)).check()
    with pytest.raises(ValueError, match="No server can be reached"):
        GroundedSam(server_of(stub), masks="box").check()


@pytest.mark.parametrize("wrong, told", [
    ({"min_pixels": 0}, "min-pixels ≤ max-pixels"), ({"min_pixels": 10**7}, "min-pixels ≤ max-pixels"), ({"max_tokens": 0}, "max-tokens"), ({"repairs": -1}, "repairs"),
    ({"vlm": QwenVl("none", max_pixels=500_000)}, "coordinates are of another picture")])
def test_settings_that_make_no_sense_are_refused(wrong, told):
    with pytest.raises(ValueError, match=told):
        GroundedSam(**wrong)


def test_a_picture_far_too_thin_is_one_failed_picture():
    with pytest.raises(SegmenterError, match="cannot be shown"):
        GroundedSam(masks="box").segment(np.zeros((2, 900, 3), np.uint8), "square")


@pytest.mark.parametrize("size", [(60, 90), (200, 133), (512, 512), (40, 700)])
def test_a_model_in_this_process_sees_the_picture_at_the_size_that_its_coordinates_are_read_in(size, qwen):
    segmenter = GroundedSam(qwen, "absolute", masks="box", **SMALL)
    shown = segmenter._shown(picture(*size))
    _, height, width = qwen._reader.pixels(png_bytes(shown))[1]  # in patches of 14
    assert (14 * height, 14 * width) == shown.shape[:2]


def test_a_model_that_babbles_is_one_failed_picture(qwen):
    with pytest.raises(SegmenterError, match="could not be read .it was cut at 8 tokens"):
        GroundedSam(qwen, "absolute", masks="box", max_tokens=8, repairs=0, **SMALL).segment(picture(), "square")


def test_on_a_command_line_every_segmenter_is_a_subcommand_with_its_own_settings():
    @tyro.conf.configure(tyro.conf.CascadeSubcommandArgs)
    def command(segmenter: Segmenting = GroundedSam()) -> object:
        return segmenter

    def given(line):
        return tyro.cli(command, args=line.split())

    assert given("") == GroundedSam()
    assert given("segmenter:lisa --segmenter.base-url http://h:1") == Lisa("http://h:1")
    assert given("segmenter:sam3 segmenter.encoder:open-clip --segmenter.threshold 0.3") == Sam3(threshold=0.3, encoder=OpenClip())
    assert given("segmenter:grounded-sam segmenter.vlm:qwen-vl --segmenter.vlm.checkpoint q --segmenter.masks box") == GroundedSam(QwenVl("q"), masks="box")
