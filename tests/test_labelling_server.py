"""The labeller through a real connection: a third of all answers goes wrong, and nothing is lost, and nothing is different."""

import dataclasses
import threading
import time

import pytest
from labelling_helpers import PLAIN
from stub_server import Faults, StubServer

from eval.bench.labelling import knowing, label_all, shares, subject
from semquery.labelling import Asker, LabelConfig, label_parts
from semquery.vlm.server import OpenAiServer

THINGS = subject(24)


def run(server, workers, config=PLAIN, **settings):
    model = OpenAiServer(server.url, "stub", first_delay=0.01, longest_delay=0.02, timeout=1.0, **settings)
    answers = {}
    asker = Asker(model, answers, lambda key, answer, seconds: answers.__setitem__(key, answer))
    return label_parts(THINGS, asker, config, workers=workers), answers


def told(labels):
    """Labels without what trouble leaves behind: the wrapping of an answer, and the number of tries."""
    return {p: dataclasses.replace(v, raw="", calls=0, confidence=0.0, thinking="", reason="", synonyms=(), function="") for p, v in labels.items()}


@pytest.fixture(scope="module")
def expected():
    with StubServer(knowing(THINGS), latency=0.0) as server:
        return run(server, 1)[0]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kinds", [("429", "500", "reset", "cut body"), ("429", "500", "timeout", "reset", "cut body", "cut text", "shape")])
def test_with_30_percent_errors_and_4_workers_the_labels_are_those_of_a_run_without_errors(expected, seed, kinds):
    # shapes with the whole answer, and two without a name
    readable = ("fenced", "fenced without a language", "amid prose", "trailing comma", "cut before the name", "refusal", "thoughts never opened",
                "raw control characters")
    faults = Faults(rate=0.3, kinds=kinds, most=2, seed=seed, hang=0.2, shapes=readable)
    with StubServer(knowing(THINGS), latency=0.005, faults=faults, enforce=False) as server:
        labels, _ = run(server, 4)
        assert sum(server.counts[k] for k in kinds) >= 3
    assert told(labels) == told(expected) and all(v.status == "named" for v in labels.values())


def test_when_no_answer_can_be_read_every_part_ends_failed_with_a_reason_and_none_is_lost():
    with StubServer(lambda body: "I'm sorry, but I cannot identify the part that is shown.", latency=0.0, enforce=False) as server:
        labels, answers = run(server, 4)
    assert len(labels) == 24 and {v.status for v in labels.values()} == {"failed"} and len(answers) == 24 * 3
    assert all(v.reason.startswith("the answer could not be read: \"I'm sorry") for v in labels.values())


def test_some_parts_fail_for_good_and_the_others_have_their_names(expected):
    good = knowing(THINGS)

    def answer(body):
        found = good(body)
        return "no idea" if found["name"] in ("thing 12", "thing 3") else found

    with StubServer(answer, latency=0.0, enforce=False) as server:
        labels, _ = run(server, 4)
    assert {p for p, v in labels.items() if v.status == "failed"} == {12, 3}
    assert {p: v.name for p, v in labels.items() if v.status == "named"} == {p: v.name for p, v in expected.items() if p not in (12, 3)}


def test_what_the_server_told_of_its_tokens_becomes_the_confidence(expected):
    assert all(0.9 < v.confidence < 0.96 and not v.reason for v in expected.values())  # exp(-.05)


@pytest.mark.parametrize("workers", [1, 4])
def test_as_many_requests_are_under_way_as_there_are_workers(workers):
    know, lock, under_way, most = knowing(THINGS), threading.Lock(), 0, 0

    def answer(body: dict) -> dict:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.05)
        with lock:
            under_way -= 1
        return know(body)

    with StubServer(answer, latency=0.0) as server:
        label_all(server.url, THINGS, workers)
    assert most == workers


def test_most_of_what_is_sent_was_computed_before():
    calls, share = shares(subject(30), 1, dataclasses.replace(PLAIN))
    assert calls == 30 and share <= 0.35
    assert shares(subject(30), 4, LabelConfig())[1] <= 0.35  # though second looks show pictures again


def test_from_the_command_line_to_names_and_again_from_the_record(tmp_path, capsys):
    from helpers import small_run

    from semquery.cli import main

    answer = {"thinking": "", "name": "knob", "synonyms": [], "function": "turns", "alternatives": [], "parent_suspect": False}
    first, second = small_run(tmp_path / "first"), small_run(tmp_path / "second")
    with StubServer(lambda body: {"thinking": "", "renamed": []} if "renamed" in str(body.get("response_format")) else answer, latency=0.0) as server:
        command = ["label", str(first.path), "vlm:open-ai-server", "--vlm.base-url", server.url, "--vlm.model", "stub", "--workers", "3"]
        assert main([*command, "--max-calls", "2"]) == 0 and "stopped at --max-calls" in capsys.readouterr().out
        assert main(command) == 0 and {v.name for v in first.labels().values()} == {"knob"}
        told = capsys.readouterr().out
        assert "5 parts named, 0 failed; 5 calls, 2 answers recorded before" in told and "% cached" in told
        asked = server.counts["answered"]
        assert main(command) == 0 and "already done" in capsys.readouterr().out
    assert main(["label", str(second.path), "vlm:replay", "--vlm.journal", str(first.path)]) == 0
    assert second.labels() == first.labels() and server.counts["answered"] == asked
