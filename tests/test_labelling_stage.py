"""`semquery label` on a run directory: what is written, what survives kill -9, limits, single parts, failures, names by hand, dry run."""

import json
import multiprocessing
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import NAMES, small_run
from labelling_helpers import Known, is_about_siblings, node
from PIL import Image

from semquery import stages
from semquery.cli import main
from semquery.labelling import LabelConfig
from semquery.stages import LabelRun
from semquery.store import Run, RunError
from semquery.vlm import Answer, Appearance, Request, VlmError

PLAIN = LabelConfig(carry_alternatives=False, reconsider=False, siblings=False, copy_alike=False)
ORDER = [4, 3, 0, 1, 2]


class Reading(Known):
    """Knows a part by its measured place in the tree: pictures of a run are real ones, so it counts what it hears."""

    def text(self, request: Request) -> str:
        if is_about_siblings(request):
            return json.dumps({"thinking": "", "renamed": []})
        return node(NAMES[self.part(request)])

    @staticmethod
    def part(request: Request) -> int:
        """By its number of points in words: shares of the parent tell the five parts apart."""
        text = request.turns[-1].text
        return next(p for words, p in (("whole scene", 4), (" 67 % of its", 3), (" 50 % of its", 0), (" 38 % of its", 1), (" 33 % of its", 2)) if words in text)

    @property
    def asked(self) -> list[int]:
        return [self.part(r) for r in self.requests if not is_about_siblings(r) and "could not be read" not in r.turns[-1].text]


@pytest.fixture
def run(tmp_path, monkeypatch) -> Run:
    """The hand-made run; its pictures are small, for these tests are about what is done with them."""
    stage = sys.modules["semquery.stages.label"]
    draw = stage.portraits
    monkeypatch.setattr(stage, "portraits", lambda *given: draw(*given[:4], replace(given[4], side=32), *given[5:]))
    return small_run(tmp_path / "run")


def lines(run: Run) -> tuple[list[dict], list[dict]]:
    """(answers, labels) of the journal."""
    found = [json.loads(line) for line in (run / "labels.jsonl").read_text().splitlines()]
    return [line for line in found if "answer" in line], [line for line in found if "part" in line]


def test_every_answer_and_every_label_is_a_line_and_every_picture_a_file(run, capsys):
    vlm = Reading()
    labels = stages.label(run, vlm, PLAIN)
    assert {p: v.name for p, v in labels.items()} == NAMES and vlm.asked == ORDER
    answers, named = lines(run)
    assert [line["part"] for line in named] == ORDER and [a["key"] for a in answers] == [n["key"] for n in named]
    assert all(a["answer"]["text"] == n["raw"] and a["identity"] == "Known" and a["seconds"] >= 0 for a, n in zip(answers, named, strict=True))
    last = vlm.requests[-1].turns[-1].images
    assert [(run / "views" / "2" / f"{k}.png").read_bytes() for k in range(len(last))] == list(last)
    assert "label: knows" in (out := capsys.readouterr().out) and "5 parts named, 0 failed; 5 calls" in out
    assert run.stage("label")["config"]["vlm"] == {"identity": "Known"} and run.stage("label")["calls"] == 5


def test_done_is_done_whatever_the_number_of_workers(run):
    stages.label(run, Reading(), PLAIN, LabelRun(workers=4))
    again = Reading()
    stages.label(run, again, PLAIN, LabelRun(workers=1))
    assert not again.requests
    with pytest.raises(RunError, match=r"labelling.siblings: False → True.*--overwrite"):
        stages.label(run, again, LabelConfig(carry_alternatives=False, reconsider=False, copy_alike=False))


def test_a_limit_of_calls_stops_and_the_same_command_goes_on(run, capsys):
    first = Reading()
    labels = stages.label(run, first, PLAIN, LabelRun(max_calls=2))
    assert sorted(labels) == [3, 4] and "stopped at --max-calls" in capsys.readouterr().out and run.stage("label")["event"] == "start"
    rest = Reading()
    stages.label(run, rest, PLAIN, LabelRun(max_calls=3))
    assert rest.asked == ORDER[2:] and run.stage("label")["event"] == "done" and len(lines(run)[1]) == 5


def _killed(path, after: int, workers: int) -> None:
    class Dying(Reading):
        def __call__(self, request: Request) -> Answer:
            if len(self.requests) == after:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().__call__(request)

    stages.label(Run(path), Dying(), PLAIN, LabelRun(workers=workers))


@pytest.mark.parametrize(("after", "workers"), [(0, 1), (2, 1), (4, 1), (3, 4)])
def test_a_killed_walk_asks_only_what_is_missing(run, after, workers):
    process = multiprocessing.get_context("fork").Process(target=_killed, args=(run.path, after, workers))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    recorded = len(run.answers())
    assert recorded <= after and (workers > 1 or recorded == after)
    rest = Reading()
    labels = stages.label(run, rest, PLAIN, LabelRun(workers=workers))
    assert len(rest.requests) == 5 - recorded and {p: v.name for p, v in labels.items()} == NAMES


def test_a_half_written_line_is_asked_again_and_spoils_nothing(run):
    stages.label(run, Reading(), PLAIN)
    text = (run / "labels.jsonl").read_text().splitlines()
    answer = next(k for k, line in enumerate(text) if '"answer"' in line and k > 5)
    (run / "labels.jsonl").write_text("\n".join(text[:answer]) + "\n" + text[answer][:40])
    run.reopen("label")
    rest = Reading()
    stages.label(run, rest, PLAIN)
    assert len(rest.requests) == len([line for line in text[answer:] if '"answer"' in line]) and len(run.labels()) == 5


class Troubled(Reading):
    """Cannot be read about one part, cannot be reached about another."""

    def text(self, request: Request) -> str:
        last = next(t for t in reversed(request.turns) if t.images).text
        if " 38 % of its" in last:
            return "hm, hm"
        if " 33 % of its" in last:
            raise VlmError("the server said 500")
        return super().text(request)


def test_failed_parts_are_told_and_asked_again_when_wanted(run, capsys):
    labels = stages.label(run, Troubled(), PLAIN)
    assert {p for p, v in labels.items() if v.status == "failed"} == {1, 2} and run.stage("label")["failed"] == 2
    assert "3 parts named, 2 failed" in (out := capsys.readouterr().out) and "--relabel-failed" in out
    calm = Reading()
    stages.label(run, calm, PLAIN)
    assert not calm.requests  # done is done
    labels = stages.label(run, calm, PLAIN, LabelRun(relabel_failed=True))
    assert sorted(calm.asked) == [1, 2] and {p: v.name for p, v in labels.items()} == NAMES and run.stage("label")["failed"] == 0
    assert all(v.status == "named" for v in labels.values()) and run.stage("label")["event"] == "done"


def test_one_part_can_be_asked_for_alone_in_the_context_of_the_names_there_are(run):
    stages.label(run, Reading(), PLAIN)

    class Better(Reading):
        def text(self, request):
            return node("power knob")

    vlm = Better()
    labels = stages.label(run, vlm, PLAIN, LabelRun(only=0))
    assert vlm.asked == [0] and labels[0].name == "power knob" and labels[1].name == "right knob"
    assert [json.loads(t.text)["name"] for t in vlm.requests[0].turns if t.role == "assistant"] == ["scene", "panel"]
    assert run.stage("label")["event"] == "done"
    with pytest.raises(RunError, match="There is no part 9: parts are numbered 0 to 4"):
        stages.label(run, vlm, PLAIN, LabelRun(only=9))


def test_one_part_of_a_run_without_names_asks_for_its_ancestors_too(run):
    vlm = Reading()
    labels = stages.label(run, vlm, PLAIN, LabelRun(only=0))
    assert vlm.asked == [4, 3, 0] and sorted(labels) == [0, 3, 4] and run.stage("label")["event"] == "start"
    rest = Reading()
    stages.label(run, rest, PLAIN)
    assert rest.asked == [1, 2]


def test_names_by_hand_survive_and_are_told_to_what_is_inside(run, tmp_path):
    stages.label(run, Reading(), PLAIN)
    (tmp_path / "edits.json").write_text('{"format": 1, "edits": {"3": {"name": "control panel"}}}')
    assert stages.label_by_hand(run, tmp_path / "edits.json") == 1
    vlm = Reading()
    labels = stages.label(run, vlm, PLAIN)
    assert vlm.asked == [0, 1] and labels[3].name == "control panel" and "of the “control panel”" in vlm.requests[0].turns[-1].text
    stages.label(run, vlm, PLAIN)
    assert len(vlm.requests) == 2  # told once
    everything = Reading()
    assert stages.label(run, everything, PLAIN, overwrite=True)[3].source == "user" and everything.asked == []  # answers were paid for
    assert stages.label(run, everything, PLAIN, LabelRun(ask_anew=True), overwrite=True)[3].source == "user"
    assert everything.asked == [4, 0, 1, 2]


def test_names_by_hand_on_a_models_run_leave_its_names_until_it_is_asked_again(run, tmp_path, capsys):
    stages.label(run, Reading(), PLAIN)
    (tmp_path / "names.json").write_text('{"2": "tray"}')
    assert main(["label", str(run.path), "--labels", str(tmp_path / "names.json")]) == 0
    assert "the other names, by Known, stay as they are" in capsys.readouterr().out
    assert {p: v.name for p, v in run.labels().items()} == {**NAMES, 2: "tray"}


def test_before_the_end_one_may_change_ones_mind_and_answers_that_fit_are_kept(run):
    stages.label(run, Reading(), PLAIN, LabelRun(max_calls=3))
    vlm = Reading()
    stages.label(run, vlm, LabelConfig())  # the same questions, and then second looks
    assert vlm.asked == ORDER[3:] and len(vlm.requests) == 4
    with pytest.raises(RunError, match=r"vlm.identity: Known → Other.*--overwrite"):
        stages.label(run, Reading(identity="Other"), LabelConfig())


def test_measured_names_give_way_to_a_models_and_not_the_other_way_round(run):
    stages.label(run)
    assert {v.name for v in stages.label(run, Reading(), PLAIN).values()} == set(NAMES.values())
    with pytest.raises(RunError, match="by Known; measured names would take their place.*vlm"):
        stages.label(run)
    with pytest.raises(RunError, match="measured names would take their place"):
        stages.label(run, how=LabelRun(only=0))
    assert {v.source for v in stages.label(run, overwrite=True).values()} == {"rule"}
    again = Reading()
    assert {v.name for v in stages.label(run, again, PLAIN).values()} == set(NAMES.values()) and again.asked == []


class Closed(Reading):
    def check(self) -> str:
        raise ValueError("nobody is there")


@pytest.mark.parametrize("settings", [
    {"vlm": Closed()}, {"vlm": Reading(), "config": LabelConfig(candidates=Path("gone.json"))},
    {"vlm": Reading(), "config": LabelConfig(candidates_clip="gone")},
])
def test_what_cannot_work_costs_nothing_that_was_there(run, settings):
    stages.label(run, Reading(), PLAIN)
    before = (run / "labels.jsonl").read_bytes(), sorted(p.name for p in (run / "views").rglob("*.png"))
    with pytest.raises(ValueError, match=r"nobody is there|no file gone.json|chooses from a list"):
        stages.label(run, overwrite=True, **settings)
    assert before == ((run / "labels.jsonl").read_bytes(), sorted(p.name for p in (run / "views").rglob("*.png")))
    assert run.stage("label")["event"] == "done"


@pytest.mark.parametrize("wrong", [{"workers": 0}, {"max_calls": -1}])
def test_ways_of_working_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match="Expected --workers ≥ 1 and --max-calls ≥ 0"):
        LabelRun(**wrong)


@pytest.mark.parametrize("wrong", [{"repairs": -1}, {"agreement": -1}, {"max_tokens": 0}, {"unsure": 7.0}])
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match="Expected --repairs ≥ 0, --agreement ≥ 0, --max-tokens ≥ 1"):
        LabelConfig(**wrong)


def test_an_interruption_keeps_what_was_answered(run):
    with pytest.raises(KeyboardInterrupt):
        stages.label(run, Reading(stop_after=3), PLAIN)
    assert len(run.answers()) == 3 and sorted(run.labels()) == [0, 3, 4]


def _slow(path, workers: int, started, interrupted) -> None:
    class Slow(Reading):
        def text(self, request):
            if len(self.requests) >= 2:  # plate or panel is on its way, and stays there until the signal was sent
                started.set()
                interrupted.wait(20)
            return super().text(request)

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are born deaf to it
    try:
        stages.label(Run(path), Slow(), PLAIN, LabelRun(workers=workers))
    except KeyboardInterrupt:
        os._exit(130)


def test_ctrl_c_waits_for_answers_that_are_on_their_way(run):
    context = multiprocessing.get_context("fork")
    started, interrupted = context.Event(), context.Event()
    process = context.Process(target=_slow, args=(run.path, 4, started, interrupted))
    process.start()
    assert started.wait(20)
    time.sleep(0.2)  # for the other one to start, too
    os.kill(process.pid, signal.SIGINT)
    time.sleep(0.2)  # for the signal to arrive before the answers
    interrupted.set()
    process.join()
    assert process.exitcode == 130 and len(run.answers()) == 3  # the scene, then panel and plate at once
    rest = Reading()
    assert {p: v.name for p, v in stages.label(run, rest, PLAIN).items()} == NAMES and sorted(rest.asked) == [0, 1]


def test_a_server_that_is_not_there_is_one_sentence_and_the_next_go_finds_it(run):
    class Gone(Reading):
        def text(self, request):
            raise VlmError("connection refused")

    with pytest.raises(ValueError, match="None of the first 5 requests was answered; the last one failed with: connection refused"):
        stages.label(run, Gone(), PLAIN)
    vlm = Reading()
    assert {p: v.name for p, v in stages.label(run, vlm, PLAIN).items()} == NAMES and vlm.asked == ORDER


# ------------------------------------------------------------------ dry run


def test_a_dry_run_asks_nobody_and_shows_a_sample_request_with_its_pictures(run, capsys):
    before = {p.name for p in run.path.iterdir()}
    asked = ["label", str(run.path), "vlm:open-ai-server", "--vlm.model", "stub", "--dry-run"]
    assert main([*asked, "--price-in", "0.5", "--price-out", "2", "--workers", "4"]) == 0
    told = capsys.readouterr().out
    for words in ("5 in 3 levels", "prompt tokens", "new with a prefix cache", "assuming 2 s a call", "price", "dry-run/request.json"):
        assert words in told
    assert {p.name for p in run.path.iterdir()} - before == {"dry-run"}
    sample = json.loads((run / "dry-run" / "request.json").read_text())
    assert [t["role"] for t in sample["turns"]] == ["system", "user", "assistant", "user", "assistant", "user"] and "name" in sample["schema"]["properties"]
    shown = [name for turn in sample["turns"] for name in turn["images"]]
    assert shown == [f"{k}.png" for k in range(len(shown))] and all(max(Image.open(run / "dry-run" / name).size) == 32 for name in shown)


def test_a_dry_run_of_what_asks_nobody_or_of_one_part_is_refused(run):
    with pytest.raises(ValueError, match="Measured names ask nobody"):
        stages.estimate_labels(run, Appearance())
    with pytest.raises(ValueError, match="--only asks for one part"):
        stages.estimate_labels(run, Reading(), how=LabelRun(only=0))


def test_after_some_calls_a_dry_run_tells_what_is_left_at_the_measured_pace(run):
    vlm = Reading()
    stages.label(run, vlm, PLAIN, LabelRun(max_calls=4))
    left, _ = stages.estimate_labels(run, vlm, PLAIN)
    assert (left.calls, left.recorded, left.measured) == (1, 4, run.seconds_per_call("Known") is not None)
    stages.label(run, vlm, PLAIN)
    assert stages.estimate_labels(run, vlm, PLAIN)[0].calls == 0
    assert stages.estimate_labels(run, vlm, PLAIN, LabelRun(ask_anew=True))[0].calls == 5


def test_prices_without_a_dry_run_are_refused(run, capsys):
    assert main(["label", str(run.path), "--price-in", "1", "--price-out", "2"]) == 2
    assert "--price-in and --price-out go together, and with --dry-run" in capsys.readouterr().err


def test_parts_that_lost_their_labels_to_a_new_tree_are_named_though_one_was_named_by_hand(run, tmp_path, capsys):
    stages.label(run)
    run.set_labels_aside()  # as a tree that is built anew does
    (tmp_path / "names.json").write_text('{"2": "saucer"}')
    assert stages.label_by_hand(run, tmp_path / "names.json") == 1 and run.labels().keys() == {2}
    labels = stages.label(run)
    assert labels.keys() == set(range(5)) and labels[2].name == "saucer" and "already done" not in capsys.readouterr().out
    assert stages.label(run) == labels and "already done" in capsys.readouterr().out
