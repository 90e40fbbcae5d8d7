"""An encoder behind a server: what is sent, what comes back in whatever order, and every way in which it goes wrong."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from semquery.text import EmbeddingServer, Lexical
from semquery.text.server import vectors_from

WORDS = Lexical(dim=24)
TEXTS = ["handle", "left leg", "lid", "door", "screw"]


class Stub:
    """Embeds texts by their spelling. `faults`: what to answer instead, one of each per request, while there are any: (status, body)."""

    def __init__(self, faults: tuple = (), key: str = "", change: Callable[[dict], None] = lambda answer: None) -> None:
        self.faults, self.key, self.change, self.bodies, self.lock = list(faults), key, change, [], threading.Lock()

    def __enter__(self) -> "Stub":
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, answer = stub.answer(self.path, body, self.headers.get("Authorization"))
                data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self.http.shutdown()
        self.http.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_address[1]}/v1"

    def answer(self, path: str, body: dict, key: str | None) -> tuple[int, dict | bytes]:
        assert set(body) <= {"model", "input", "encoding_format", "dimensions"} and body["encoding_format"] == "float"
        assert body["input"] and all(isinstance(text, str) and text for text in body["input"])
        with self.lock:
            self.bodies.append(body)
            if self.faults:
                return self.faults.pop(0)
        if path != "/v1/embeddings" or body["model"] != "tiny":
            return 404, {"error": {"message": f"no {path} or {body['model']}"}}
        if self.key and key != f"Bearer {self.key}":
            return 401, {"error": {"message": "wrong key"}}
        vectors = 3 * WORDS.queries(body["input"])[:, : body.get("dimensions", 24)]
        rows = [{"object": "embedding", "index": k, "embedding": vector.tolist()} for k, vector in enumerate(vectors)]
        answer = {"object": "list", "data": rows[::-1], "model": "tiny"}
        self.change(answer)
        return 200, answer


def encoder(stub: Stub, **settings) -> EmbeddingServer:
    return EmbeddingServer(stub.url, "tiny", **{"tries": 3, "timeout": 5.0, "first_delay": 0.0, "longest_delay": 0.0} | settings)


def test_vectors_come_in_the_order_of_the_texts_whatever_the_batch():
    with Stub() as stub:
        for batch, num_requests in ((2, 3), (64, 1)):
            stub.bodies.clear()
            np.testing.assert_allclose(encoder(stub, batch=batch).queries(TEXTS), WORDS.queries(TEXTS), atol=1e-6)
            assert len(stub.bodies) == num_requests
        vectors = encoder(stub).queries(["", "leg", "\ud800 lid"])
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [0, 1, 1], atol=1e-6)
        assert encoder(stub).passages([]).shape == (0, 24)


def test_prefixes_are_sent_and_known_by_the_models_name():
    with Stub() as stub:
        set_by_hand = encoder(stub, query_prefix="query: ", passage_prefix="passage: ")
        set_by_hand.queries(["leg"]), set_by_hand.passages(["leg"])
        assert [body["input"] for body in stub.bodies] == [["query: leg"], ["passage: leg"]]
    assert "query='Instruct: " in EmbeddingServer().identity and "passage=''" in EmbeddingServer().identity
    assert "query='query: ' passage='passage: '" in EmbeddingServer(model="intfloat/e5-base-v2").identity


def test_dimensions_are_asked_for_and_checked():
    with Stub() as stub:
        assert encoder(stub, dimensions=8).queries(["handle of the door"]).shape == (1, 8) and stub.bodies[0]["dimensions"] == 8
    with Stub(change=lambda answer: [row["embedding"].append(1.0) for row in answer["data"]]) as stub:
        with pytest.raises(ValueError, match="vectors of 9 numbers; expected 8 .as asked for"):
            encoder(stub, dimensions=8).queries(["leg"])


@pytest.mark.parametrize("fault", [(503, {"error": "busy"}), (429, {}), (200, b"{"), (200, {"error": {"message": "upstream away"}}), (200, {"choices": []})])
def test_what_goes_wrong_twice_is_tried_three_times(fault):
    with Stub(faults=(fault, fault)) as stub:
        np.testing.assert_allclose(encoder(stub).queries(["leg"]), WORDS.queries(["leg"]), atol=1e-6)
        assert len(stub.bodies) == 3
    with Stub(faults=(fault,) * 3) as stub, pytest.raises(ValueError, match="cannot be used: .* did not answer in 3 tries"):
        encoder(stub).queries(["leg"])


def test_a_wrong_key_a_wrong_name_and_nobody_there_are_told(monkeypatch):
    with Stub(key="secret-of-mine") as stub:
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        with pytest.raises(ValueError, match="wants a key: put one into the environment variable OPENAI_API_KEY"):
            encoder(stub).check()
        monkeypatch.setenv("OPENAI_API_KEY", "another-secret")
        with pytest.raises(ValueError, match="does not accept the key in the environment variable OPENAI_API_KEY") as caught:
            encoder(stub).check()
        assert "another-secret" not in str(caught.value)
        monkeypatch.setenv("OPENAI_API_KEY", "secret-of-mine")
        found = encoder(stub).check()
        assert found.startswith("tiny at http://127.0.0.1") and "24 numbers" in found and "secret" not in encoder(stub).identity + repr(encoder(stub))
        with pytest.raises(ValueError, match="HTTP 404.*no model other"):
            EmbeddingServer(stub.url, "other").queries(["leg"])
    with pytest.raises(ValueError, match="No server can be reached at .*vllm serve tiny"):
        encoder(stub).check()


def spoiled(how: str) -> Callable[[dict], None]:
    def change(answer: dict) -> None:
        rows = answer["data"]
        if how == "lost":
            rows.pop()
        if how == "twice":
            rows[0]["index"] = rows[1]["index"]
        if how == "not a number":
            rows[0]["embedding"][0] = float("nan")
        if how == "zeros":
            rows[0]["embedding"] = [0.0] * 24
        if how == "unequal":
            rows[0]["embedding"].append(1.0)
        if how == "text":
            rows[0]["embedding"] = "AAAA"
        if how == "empty":
            answer["data"] = [row | {"embedding": []} for row in rows]

    return change


@pytest.mark.parametrize(("how", "told"), [
    ("lost", "expected 3 vectors"), ("twice", "expected 3 vectors"), ("not a number", "hold no numbers"), ("zeros", "a vector of zeros"),
    ("unequal", "of one length"), ("text", "expected 3 vectors of one length"), ("empty", "expected 3 lists of numbers"),
])
def test_vectors_that_are_none_are_refused(how, told):
    with Stub(change=spoiled(how)) as stub, pytest.raises(ValueError, match=told):
        encoder(stub).queries(TEXTS[:3])


@pytest.mark.parametrize("record", [{"data": 3}, {"data": ["x"]}, {"data": [{"index": 0}]}, {"data": [{"index": None, "embedding": [1.0]}]}])
def test_answers_of_another_shape_are_not_understood(record):
    with pytest.raises(ValueError, match="is not understood"):
        vectors_from(record, 1)


def test_another_model_behind_the_same_address_is_noticed():
    with Stub() as stub:
        asked = encoder(stub)
        asked.queries(["leg"])
        stub.change = lambda answer: [row["embedding"].append(1.0) for row in answer["data"]]
        with pytest.raises(ValueError, match="vectors of 25 numbers; expected 24 .as before.*another model"):
            asked.queries(["leg"])


def test_many_threads_get_the_vectors_that_one_gets():
    with Stub() as stub:
        asked, found = encoder(stub, batch=2), {}
        threads = [threading.Thread(target=lambda k=k: found.update({k: asked.queries(TEXTS[k:])})) for k in range(5)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        for k in range(5):
            np.testing.assert_allclose(found[k], WORDS.queries(TEXTS[k:]), atol=1e-6)


def test_identity_holds_neither_address_nor_key():
    one, other = EmbeddingServer("http://a.example/v1", "m", "KEY_A"), EmbeddingServer("http://b.example:8080", "m", "KEY_B", batch=3)
    assert one.identity == other.identity and "example" not in one.identity and "KEY" not in one.identity
    assert one.identity != EmbeddingServer(model="m", dimensions=8).identity


@pytest.mark.parametrize("given", [{"model": " "}, {"tries": 0}, {"batch": 0}, {"dimensions": 0}, {"timeout": 0.0}, {"base_url": "http://user:pw@x/v1"}])
def test_settings_that_make_no_sense_are_refused(given):
    with pytest.raises(ValueError):
        EmbeddingServer(**given)
