"""Answers recorded before, and answers from a script."""

import dataclasses
import json

import pytest
from helpers import small_run
from stub_server import StubServer, images_of
from test_server import DOOR, KEY, client, request

from semquery import stages
from semquery.manifest import Manifest
from semquery.vlm import Answer, Vlm, VlmError
from semquery.vlm.replay import Replay
from semquery.vlm.scripted import Scripted

ANSWER = Answer("text", (("te", -0.1), ("xt", -0.2)), 12, 3, 2)


def line(asked, identity: str, answer: Answer = ANSWER, **changes) -> dict:
    return {"key": asked.key(identity), "answer": dataclasses.asdict(answer), "identity": identity} | changes


def journal(path, *lines):
    path.mkdir(exist_ok=True)
    (path / "labels.jsonl").write_text("".join(json.dumps(record) + "\n" for record in lines))
    return path / "labels.jsonl"


def test_what_was_recorded_is_answered_as_it_was(tmp_path):
    path = journal(tmp_path, line(request("red"), "M"), {"key": "", "part": 3, "name": "door"}, line(request("blue"), "M", Answer("other")))
    replay = Replay(path)
    assert isinstance(replay, Vlm) and replay.source == "vlm" and replay.identity == "M" and replay.check() == f"2 answers of M recorded in {path}"
    assert replay(request("red")) == ANSWER and replay(request("blue")) == Answer("other")
    assert Replay(tmp_path)(request("red")) == ANSWER  # the run directory will do


@pytest.mark.parametrize("other", [request("green"), request("red", text="else?"), request("red", max_tokens=9), request("red", temperature=0.7), request("red", schema=None)])
def test_what_was_not_recorded_is_an_error_that_says_so(tmp_path, other):
    replay = Replay(journal(tmp_path, line(request("red"), "M")))
    with pytest.raises(VlmError, match="No answer to this request is recorded in .*labels.jsonl: M was asked"):
        replay(other)


def test_the_newest_answer_counts_and_the_newest_model_speaks(tmp_path):
    new = Answer("new")
    replay = Replay(journal(tmp_path, line(request("red"), "Old"), line(request("red"), "M"), line(request("red"), "M", new), line(request("blue"), "Old", new)))
    assert replay.identity == "Old" and replay.check().startswith("2 answers of Old") and replay(request("red")) == ANSWER
    replay = Replay(journal(tmp_path, line(request("blue"), "Old"), line(request("red"), "M"), line(request("red"), "M", new)))
    assert replay(request("red")) == new and replay.check().startswith("1 answers of M")


def test_a_half_written_last_line_spoils_nothing(tmp_path):
    path = journal(tmp_path, line(request("red"), "M"))
    path.write_bytes(path.read_bytes() + b'{"key": "ab", "answer": {"text": "ha')
    assert Replay(path)(request("red")) == ANSWER


def test_what_is_replayed_may_be_overwritten_meanwhile(tmp_path):
    replay = Replay(journal(tmp_path, line(request("red"), "M")))
    journal(tmp_path)
    assert replay(request("red")) == ANSWER and replay.identity == "M"


def test_without_names_in_its_lines_the_runs_record_says_who_answered(tmp_path):
    bare = {k: v for k, v in line(request("red"), "M").items() if k != "identity"}
    path = journal(tmp_path, bare)
    with pytest.raises(ValueError, match="says whose answers these are; copy the whole run directory"):
        Replay(path)
    Manifest(tmp_path).begin("label", {"vlm": {"class": "Any", "identity": "M"}})
    assert Replay(path).identity == "M" and Replay(path)(request("red")) == ANSWER


def test_nothing_to_replay_is_said_at_once(tmp_path):
    with pytest.raises(ValueError, match="There is no .*nowhere to replay: give a run whose model's answers are recorded.*asks.jsonl for questions"):
        Replay(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="holds no answer of a model"):
        Replay(journal(tmp_path, {"key": "", "part": 3, "name": "door"}))


def test_a_servers_answers_can_be_replayed_and_hold_no_key(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with StubServer(lambda body: DOOR, latency=0.0, key=KEY) as server:
        vlm = client(server)
        answer = vlm(request("red"))
        path = journal(tmp_path, line(request("red"), vlm.identity, answer))
    assert Replay(path)(request("red")) == answer and KEY not in path.read_text() and server.url not in path.read_text()


def test_a_replayed_run_has_the_labels_of_the_run_that_was_recorded(tmp_path):
    def named(body: dict) -> dict:
        return DOOR | {"name": f"part with {len(images_of(body, last=True)[0])} bytes"} if "renamed" not in str(body["response_format"]) else {"thinking": "", "renamed": []}

    recorded, replayed = small_run(tmp_path / "a"), small_run(tmp_path / "b")
    with StubServer(named, latency=0.0) as server:
        told = stages.label(recorded, client(server))
        assert server.counts["answered"] > 5
    assert stages.label(replayed, Replay(tmp_path / "a")) == told and {named.status for named in told.values()} == {"named"}


def test_a_script_answers_with_whatever_it_says():
    assert Scripted(lambda r: "a")(request("red")) == Answer("a")
    assert json.loads(Scripted(lambda r: DOOR)(request("red")).text) == DOOR
    assert Scripted(lambda r: ANSWER)(request("red")) is ANSWER
    assert Scripted(lambda r: r.turns[-1].text)(request("red", text="echo")).text == "echo"
    with pytest.raises(VlmError, match="away"):
        Scripted(lambda r: VlmError("away"))(request("red"))
    assert isinstance(Scripted(str), Vlm) and Scripted(str, identity="s").identity == "s" and "no model" in Scripted(str).check()
