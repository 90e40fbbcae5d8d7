"""The model that named a run, made again from the run's record, which holds no key and changes nothing about what is skipped."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_labelling_stage import PLAIN, Reading
from test_labelling_stage import run as run  # the fixture

from semquery import stages
from semquery.manifest import as_config
from semquery.stages import LabelRun
from semquery.vlm import Appearance, OpenAiServer, QwenVl, Scripted, vlm_from, vlm_record

SECRET = "sk-proj-0123456789abcdef"
TEXT = st.text(min_size=1, max_size=20).filter(str.strip)


@given(st.builds(OpenAiServer, model=TEXT, seed=st.integers(), thinking=st.booleans(), tries=st.integers(1, 9), timeout=st.floats(1, 1e6)))
def test_a_server_is_made_again_as_it_was(server):
    assert vlm_from(json.loads(json.dumps(vlm_record(server)))) == server


def test_a_checkpoint_is_made_again_from_any_folder_and_fetches_nothing(tmp_path, monkeypatch):
    (tmp_path / "weights").mkdir()
    monkeypatch.chdir(tmp_path)
    vlm = QwenVl("weights", download=True, seed=3)
    assert vlm_from(vlm_record(vlm)) == replace(vlm, checkpoint=str(tmp_path / "weights"), download=False)
    assert vlm_from(vlm_record(QwenVl("Qwen/Qwen2.5-VL-3B-Instruct"))) == QwenVl("Qwen/Qwen2.5-VL-3B-Instruct")


def test_what_cannot_answer_another_question_is_not_recorded():
    assert vlm_record(Appearance()) is None and vlm_record(Scripted(lambda request: "")) is None


def test_a_key_that_was_given_in_place_of_its_variable_makes_no_record():
    assert vlm_record(OpenAiServer(key_variable=SECRET)) is None


@pytest.mark.parametrize("record", [
    {}, {"class": "Oracle"}, {"class": "OpenAiServer", "voice": 3}, {"class": "OpenAiServer", "tries": 0}, {"class": "OpenAiServer", "base_url": "a b"},
    {"class": "OpenAiServer", "model": 7}, as_config(Appearance()),
])
def test_a_record_of_another_version_makes_no_model(record):
    assert vlm_from(record) is None


def test_a_named_run_knows_its_model_and_no_key(run, monkeypatch):
    server, reading = OpenAiServer(model="seer", tries=2), Reading()
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setattr(OpenAiServer, "check", lambda self: "is there")
    monkeypatch.setattr(OpenAiServer, "__call__", lambda self, request: reading(request))
    assert stages.vlm_of(run) is None
    stages.label(run, server, PLAIN, LabelRun(max_calls=2))
    assert stages.vlm_of(run) is None, "not all parts are named yet"
    stages.label(run, server, PLAIN)
    assert stages.vlm_of(run) == server
    assert not any(SECRET in path.read_text(errors="replace") for path in run.path.rglob("*.json*"))


def test_a_run_that_was_named_by_an_older_version_is_neither_stale_nor_has_it_a_model(run, capsys):
    vlm = Reading()
    stages.label(run, vlm, PLAIN)
    lines = [{name: value for name, value in line.items() if name != "asked"} for line in run.manifest()]
    (run / "run.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    asked = len(vlm.requests)
    stages.label(run, vlm, PLAIN)
    assert "label: already done" in capsys.readouterr().out and len(vlm.requests) == asked
    assert stages.vlm_of(run) is None


def test_measured_names_have_no_model(run):
    stages.label(run)
    assert stages.vlm_of(run) is None
