"""`semquery ask` on a run: what is written, what is recorded, what is said when something is missing."""

import dataclasses
import json

import numpy as np
import pytest
from asking_helpers import Reader, Wanted, is_first
from helpers import named_run, small_labels, small_run
from painted import painted
from PIL import Image
from stub_server import Faults, StubServer
from test_oracle import request_of

from semquery import stages
from semquery.ask import AskConfig
from semquery.cli import main
from semquery.manifest import json_lines
from semquery.opened import Scene
from semquery.store import Run, RunError
from semquery.types import MergeTree, NodeLabel
from semquery.vlm import Answer, OpenAiServer, Replay, VlmError
from semquery.vlm.scripted import Scripted

QUESTION = "What would I turn?"
KNOBS = {QUESTION: Wanted("left knob", ("panel",)), "And the plate?": Wanted("plate"), "Wo ist das Klavier?": Wanted("piano")}


def reader() -> Reader:
    return Reader(KNOBS)


@pytest.fixture
def run(tmp_path):
    return named_run(tmp_path / "run")


def asked(run, vlm=None, question=QUESTION, **more):
    return stages.ask(run, Scene.open(run), question, vlm, **more)


# what is written


def test_the_command_asks_a_server_writes_the_answer_and_says_it(run, capsys):
    model = reader()
    with StubServer(lambda body: model.said(request_of(body)), latency=0.0) as server:
        command = ["ask", str(run.path), QUESTION, "vlm:open-ai-server", "--vlm.base-url", server.url, "--vlm.model", "stub"]
        assert main(command) == 0 and server.counts["answered"] == 3  # with the client's question whether schemas are enforced
        told = capsys.readouterr().out
        assert main(command) == 0 and server.counts["answered"] == 3
    assert "→ panel / left knob (part 0)\n  It is the left knob.\n  95 % sure, by the probability" in told and "seen from: panel (part 3), belongs to it" in told
    folder = run / "queries" / "what-would-i-turn--ask"
    record = json.loads((folder / "result.json").read_text())
    assert record["schema"] == "semquery/ask" and record["targets"][0]["part"] == 0 and record["targets"][0]["path"] == ["panel", "left knob"]
    assert record["relevant"] == [{"part": 0, "name": "left knob", "path": ["panel", "left knob"], "role": "candidate", "why": "called so"},
                                  {"part": 3, "name": "panel", "path": ["panel"], "role": "anchor", "why": "belongs to it"}]
    assert record["method"] == "model OpenAiServer stub seed=0 thinking=False" and record["config"]["stages"] == 2 and record["calls"] == 2
    mask = np.asarray(Image.open(folder / "masks" / "front.png"))
    assert (mask == np.isin(run.surface().point_of_pixel["front"], [0, 1, 2, 3])).all() and record["views"] == ["above", "close", "front"]
    assert (folder / "picture.png").exists() and (folder / "parts.ply").exists()


def test_targets_and_anchors_are_marked_apart_in_the_cloud(run):
    from plyfile import PlyData

    scene = Scene.open(run)
    answer = stages.ask(run, scene, QUESTION, reader())
    hit = PlyData.read(str(stages.write_asked(run, scene, answer) / "parts.ply"))["vertex"]["hit"]
    assert hit.tolist() == [1] * 4 + [2] * 3 + [0] * 4 + [2]


def test_without_an_answer_the_command_leaves_with_1_and_writes_why(run, capsys):
    model = reader()
    with StubServer(lambda body: model.said(request_of(body)), latency=0.0) as server:
        assert main(["ask", str(run.path), "Wo ist das Klavier?", "vlm:open-ai-server", "--vlm.base-url", server.url, "--vlm.model", "stub"]) == 1
    assert "Nothing in this scene is meant. a piano" in capsys.readouterr().out
    folder = run / "queries" / "wo-ist-das-klavier--ask"
    assert json.loads((folder / "result.json").read_text())["targets"] == [] and not (folder / "masks").exists() and not (folder / "picture.png").exists()


def test_in_a_painted_room_the_command_finds_the_leg_by_its_colour_through_a_server(tmp_path, capsys):
    world, run, model = painted(), Run(tmp_path / "run", create=True), Reader()
    for view, photo in world.photos.items():
        Image.fromarray(photo).save(tmp_path / f"{view}.png")
    run.write_cameras(dataclasses.replace(world.cameras, images=tuple(str(tmp_path / f"{view}.png") for view in world.cameras.names)))
    run.write_surface(world.surface)
    run.write_tree(MergeTree(np.array([2, 2, 2], np.int32), np.array([0, 0, 1], np.float32)), np.array([[0, 1]]), np.array([0.5]), world.parts)
    for part, name in enumerate(world.names):
        run.append_label(NodeLabel(part, "leg" if name.endswith("leg") else name), "")
    stages.encode(run)
    with StubServer(lambda body: model.said(request_of(body)), latency=0.0) as server:
        assert main(["ask", str(run.path), "Which leg of the desk is green?", "vlm:open-ai-server", "--vlm.base-url", server.url, "--vlm.model", "stub"]) == 0
    leg, told = world.names.index("right leg"), capsys.readouterr().out
    assert f"→ desk / leg (part {leg})" in told and f"not: desk / leg (part {world.names.index('left leg')}), another colour" in told
    mask = np.asarray(Image.open(run / "queries" / "which-leg-of-the-desk-is-green--ask" / "masks" / "desk.png"))
    truth = world.truth["desk"] == leg
    assert (mask & truth).sum() > 0.9 * (mask | truth).sum() > 0


@pytest.mark.parametrize(("question", "code", "said"), [
    ("the knob closest to the plate", 0, "→ panel / right knob (part 1)"), ("plate", 0, "→ plate (part 2)"), ("what would I press to start it?", 1, "No model was named")])
def test_without_a_model_geometry_and_names_answer_and_say_so(run, capsys, question, code, said):
    assert main(["ask", str(run.path), question]) == code
    assert said in capsys.readouterr().out and not (run / "asks.jsonl").exists()


# what is recorded


def test_a_question_that_was_interrupted_goes_on_and_one_that_was_answered_costs_nothing(run):
    model, asked_of = reader(), []

    def stops(request):
        asked_of.append(is_first(request))
        if len(asked_of) == 2:
            raise KeyboardInterrupt
        return model(request)

    with pytest.raises(KeyboardInterrupt):
        asked(run, Scripted(stops))
    assert [line["identity"] for line in json_lines(run / "asks.jsonl")] == ["Scripted"]
    found = asked(run, Scripted(stops))
    assert found.targets == (0,) and asked_of == [True, False, False]
    assert asked(run, Scripted(lambda r: VlmError("nobody is there"))) == found
    assert asked(run, Scripted(stops), how=stages.AskRun(ask_anew=True)) == found and len(asked_of) == 5


def test_at_max_calls_the_command_stops_and_goes_on_the_next_time(run, capsys):
    model = reader()
    with StubServer(lambda body: model.said(request_of(body)), latency=0.0) as server:
        command = ["ask", str(run.path), QUESTION, "vlm:open-ai-server", "--vlm.base-url", server.url, "--vlm.model", "stub", "--max-calls", "1"]
        assert main(command) == 1 and "stopped at --max-calls" in capsys.readouterr().out
        assert main(command) == 0


def test_answers_to_questions_are_no_labels_and_labels_no_answers_to_questions(run):
    before = (run / "labels.jsonl").read_bytes()
    asked(run, reader())
    assert (run / "labels.jsonl").read_bytes() == before and run.answers() == {} and len(run.answers("asks.jsonl")) == 2


def test_recorded_questions_can_be_replayed_without_the_model(run, tmp_path):
    found, other = asked(run, reader()), named_run(tmp_path / "other")
    assert asked(other, Replay(run / "asks.jsonl")) == found
    with pytest.raises(ValueError, match="No answer to this request is recorded"):
        asked(other, Replay(run / "asks.jsonl"), "And the plate?")


def test_a_run_directory_stands_for_the_questions_it_was_asked(run, tmp_path):
    found, other = asked(run, reader()), named_run(tmp_path / "other")
    run.append_answer("key", Answer("of a label"), "Labeller")
    assert asked(other, Replay(run.path)) == found


def test_a_third_of_all_requests_may_go_wrong_and_the_answers_are_the_same(run, tmp_path):
    model, faults = reader(), 0
    kinds = ("429", "500", "timeout", "reset", "cut body", "cut text")

    def all_answers(into, server):
        vlm = OpenAiServer(server.url, "stub", first_delay=0.01, longest_delay=0.02, timeout=1.0)
        return [(a.targets, a.relevant) for a in (asked(into, vlm, q, config=AskConfig(repairs=4, side=128)) for q in KNOBS)]

    with StubServer(lambda body: model.said(request_of(body)), latency=0.0) as server:
        expected = all_answers(run, server)
    for seed in range(4):
        with StubServer(lambda body: model.said(request_of(body)), latency=0.0, faults=Faults(kinds=kinds, most=2, seed=seed, hang=0.1), enforce=False) as server:
            assert all_answers(named_run(tmp_path / str(seed)), server) == expected
            faults += sum(server.counts[kind] for kind in kinds)
    assert faults >= 2


# what is missing


def test_a_run_without_names_or_codebook_is_told_what_to_run(tmp_path, capsys):
    bare = small_run(tmp_path / "run")
    assert main(["ask", str(bare.path), QUESTION]) == 2 and "semquery label" in capsys.readouterr().err
    for label in small_labels().values():
        bare.append_label(label, "")
    assert main(["ask", str(bare.path), QUESTION]) == 2 and "semquery encode" in capsys.readouterr().err


@pytest.mark.parametrize(("question", "said"), [("", "The question is empty"), ("x" * 10_000, "at most 1000 are read")])
def test_a_question_that_is_none_is_refused_before_anybody_is_asked(run, capsys, question, said):
    assert main(["ask", str(run.path), question, "vlm:open-ai-server", "--vlm.base-url", "http://localhost:1/v1"]) == 2
    assert said in capsys.readouterr().err


def test_a_server_that_is_away_is_said_at_once_and_nothing_is_written(run, capsys):
    assert main(["ask", str(run.path), QUESTION, "vlm:open-ai-server", "--vlm.base-url", "http://localhost:1/v1"]) == 2
    assert "No server can be reached" in capsys.readouterr().err and not (run / "queries").exists()


def test_a_view_that_is_not_there_and_two_places_of_the_viewer_are_refused(run, capsys):
    assert main(["ask", str(run.path), "left knob", "--view", "cellar"]) == 2 and "cellar" in capsys.readouterr().err
    assert main(["ask", str(run.path), "left knob", "--view", "front", "--front", "0", "1", "0"]) == 2 and "give one of them" in capsys.readouterr().err


def test_names_newer_than_the_codebook_are_noticed(run):
    run.append_label(small_labels()[0], "")
    with pytest.raises(RunError, match="encode"):
        asked(run)


def test_a_question_and_a_query_of_the_same_words_have_folders_of_their_own(run):
    said = "which knob is the leftmost"
    assert main(["query", str(run.path), said]) in (0, 1) and main(["ask", str(run.path), said]) == 0
    assert main(["ask", str(run.path), said, "--view", "front"]) == 0
    folders = {path.name: json.loads((path / "result.json").read_text()) for path in (run / "queries").iterdir()}
    assert {name: record["schema"] for name, record in folders.items()} == {
        "which-knob-is-the-leftmost": "semquery/answer", "which-knob-is-the-leftmost--ask": "semquery/ask",
        "which-knob-is-the-leftmost--ask--view-front": "semquery/ask"}
    seen = folders["which-knob-is-the-leftmost--ask--view-front"]
    assert seen["view"] == "front" and "front" in seen["frame"]["origin"]
    written = run / "queries" / "which-knob-is-the-leftmost--ask--view-front"
    assert seen["masks"] and {str(path.relative_to(written)) for path in (written / "masks").iterdir()} == set(seen["masks"])
