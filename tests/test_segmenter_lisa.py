"""LISA behind HTTP: the documented server, with a stand-in for the model, and the client against it and against worse ones."""

import base64
import importlib.util
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from semquery.segmenter import Lisa, Segmenter, SegmenterError
from semquery.segmenter.lisa import mask_from, regions_from

spec = importlib.util.spec_from_file_location("lisa_server", Path(__file__).parent.parent / "docs" / "lisa_server.py")
lisa_server = importlib.util.module_from_spec(spec)
spec.loader.exec_module(lisa_server)

QUICK = {"tries": 2, "timeout": 5.0, "first_delay": 0.0, "longest_delay": 0.0}


def red_parts(image: np.ndarray, query: str) -> list[dict]:
    """Stands in for LISA: what is red, with an embedding that tells the query's length."""
    mask = (image[..., 0] > 150) & (image[..., 2] < 100)
    return [{"mask": mask, "score": 0.75, "embedding": [len(query), 1.0], "text": f"Asked: {query}", "label": ""}] if mask.any() else []


@contextmanager
def served(http):
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_address[1]}"
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def replying(*replies):
    """A server that gives these (status, bytes) one after the other."""
    left = list(replies)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            status, data = left.pop(0)
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *told):
            pass

    return ThreadingHTTPServer(("127.0.0.1", 0), Handler)


def picture() -> np.ndarray:
    image = np.full((30, 45, 3), 255, np.uint8)
    image[5:15, 20:30] = (200, 30, 30)
    return image


def test_a_query_goes_there_and_its_regions_come_back():
    with served(lisa_server.serve(red_parts, 0)) as url:
        lisa = Lisa(url, question="Show {query}.", **QUICK)
        (region,) = lisa.segment(picture(), "what is red")
        assert lisa.segment(np.zeros((8, 9, 3), np.uint8), "what is red") == []
        assert "no embedding seen yet" in lisa.check()
    assert np.array_equal(region.mask, picture()[..., 2] < 100) and region.box == (20, 5, 30, 15)
    assert region.score == 0.75 and region.embedding.tolist() == [17, 1] and region.text == "Asked: Show what is red."


@pytest.mark.parametrize("ending", ["", "/", "/segment", "/v1"])
def test_the_address_may_be_given_with_or_without_its_route(ending):
    with served(lisa_server.serve(red_parts, 0)) as url:
        assert len(Lisa(url + ending, **QUICK).segment(picture(), "red")) == 1


def test_a_key_is_demanded_and_given_and_never_told(monkeypatch):
    with served(lisa_server.serve(red_parts, 0, key="a-long-enough-secret")) as url:
        with pytest.raises(SegmenterError, match="401.*key is missing or wrong") as refused:
            Lisa(url, key_variable="R1_LISA", **QUICK).segment(picture(), "red")
        monkeypatch.setenv("R1_LISA", "a-long-enough-secret")
        lisa = Lisa(url, key_variable="R1_LISA", **QUICK)
        assert len(lisa.segment(picture(), "red")) == 1
    assert not refused.value.is_away and "secret" not in lisa.identity + repr(lisa)


def test_a_model_that_fails_once_is_tried_again_and_one_that_always_fails_is_away():
    fails = iter([True, False, True, True])

    def flaky(image, query):
        if next(fails):
            raise RuntimeError("out of memory")
        return red_parts(image, query)

    with served(lisa_server.serve(flaky, 0)) as url:
        assert len(Lisa(url, **QUICK).segment(picture(), "red")) == 1
        with pytest.raises(SegmenterError, match="2 tries.*RuntimeError: out of memory") as gone:
            Lisa(url, **QUICK).segment(picture(), "red")
    assert gone.value.is_away


@pytest.mark.parametrize("record, told", [
    ([], "base64 of a PNG"), ({"image": "x", "query": 3}, "base64 of a PNG"), ({"image": "!!!", "query": "q"}, "no base64 of a PNG"),
    ({"image": base64.b64encode(b"none").decode(), "query": "q"}, "no base64 of a PNG")])
def test_the_server_refuses_what_is_no_question(record, told):
    with pytest.raises(ValueError, match=told):
        lisa_server.answer(red_parts, record)


def test_the_server_has_one_route():
    with served(lisa_server.serve(red_parts, 0)) as url, pytest.raises(SegmenterError, match="404.*only /segment"):
        Lisa(url + "/other", **QUICK).segment(picture(), "red")


def test_masks_survive_the_way():
    masks = np.random.default_rng(0).random((20, 13, 17)) < 0.5
    assert all(np.array_equal(mask_from(lisa_server.encoded(mask), (13, 17)), mask) for mask in masks)


WHOLE = {"mask": lisa_server.encoded(np.ones((30, 45), bool)), "score": 1.0}


@pytest.mark.parametrize("regions, told", [
    ([{**WHOLE, "mask": "???"}], "no base64"), ([{**WHOLE, "mask": lisa_server.encoded(np.ones((45, 30), bool))}], "30 × 45 pixels, the picture 45 × 30"),
    ([{**WHOLE, "mask": base64.b64encode(b"x").decode()}], "UnidentifiedImageError"), ([{"score": 1}], "KeyError"), ([{**WHOLE, "score": 1.5}], "from 0 to 1"),
    ([{**WHOLE, "score": float("nan")}], "from 0 to 1"), ([{**WHOLE, "embedding": [[1.0]]}], "shape"), ([{**WHOLE, "embedding": ["a"]}], "ValueError"),
    ([{**WHOLE, "embedding": [float("inf")]}], "not finite"), (3, "TypeError"), (["a"], "TypeError")])
def test_an_answer_that_breaks_the_protocol_is_named_as_such(regions, told):
    with pytest.raises(SegmenterError, match=f"not understood.*{told}"):
        regions_from({"regions": regions}, (30, 45))


def test_the_score_and_the_rest_may_be_left_out_and_empty_masks_say_nothing():
    found = regions_from({"regions": [{"mask": WHOLE["mask"]}, {"mask": lisa_server.encoded(np.zeros((30, 45), bool))}]}, (30, 45))
    assert [(r.score, r.embedding, r.text, r.label) for r in found] == [(1, None, "", "")]


def test_busy_servers_and_broken_answers_are_tried_again():
    good = json.dumps({"regions": []}).encode()
    for bad in ((503, b"busy"), (200, b"<html>"), (200, b"{}")):
        with served(replying(bad, (200, good))) as url:
            assert Lisa(url, **QUICK).segment(picture(), "red") == []


def test_a_server_that_is_not_there_is_named_with_what_to_do():
    with served(replying()) as url:
        pass
    with pytest.raises(ValueError, match="No server can be reached .*lisa_server.py"):
        Lisa(url, **QUICK).check()
    with pytest.raises(SegmenterError) as gone:
        Lisa(url, **QUICK).segment(picture(), "red")
    assert gone.value.is_away


def test_the_identity_tells_model_and_question_and_no_address():
    assert Lisa("http://a:1").identity == Lisa("http://b:2", tries=1).identity != Lisa(model="LISA-7B").identity != Lisa(question="{query}").identity
    assert "http" not in Lisa().identity and isinstance(Lisa(), Segmenter)


@pytest.mark.parametrize("wrong, told", [({"tries": 0}, "tries ≥ 1"), ({"question": "Show it."}, "no place for the query"), ({"base_url": "http://u:p@h"}, "no user")])
def test_settings_that_make_no_sense_are_refused(wrong, told):
    with pytest.raises(ValueError, match=told):
        Lisa(**wrong)
