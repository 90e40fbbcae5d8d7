"""The run directory: what is written comes back, what is torn or of another make is refused with a remedy."""

import dataclasses
import json
import os
import re

import numpy as np
import pytest
import torch
from helpers import assert_same, small_cameras, small_labels, small_parts, small_run, small_surface

from semquery.codebook import build_codebook
from semquery.labelling import label_from
from semquery.manifest import FORMAT, RunError, append_line, sha256
from semquery.masks import stack_masks
from semquery.store import MADE_BY, Run, slug
from semquery.text import Lexical
from semquery.types import MergeTree, NodeLabel, Observation, PartTree
from semquery.vlm import Answer


@pytest.fixture
def run(tmp_path) -> Run:
    return Run(tmp_path / "run", create=True)


# ------------------------------------------------------------------ artefacts


def test_cameras_come_back(run):
    run.write_cameras(small_cameras())
    assert_same(run.cameras(), small_cameras())


def test_masks_come_back_by_view(run):
    masks = np.random.default_rng(0).random((5, 4, 7)) > 0.5
    stack = stack_masks(masks, np.linspace(0, 1, 5).astype(np.float32))
    run.write_masks("view.1", stack)
    run.write_masks("other", stack_masks(masks[:0], np.zeros(0, np.float32)))
    assert_same(run.masks("view.1"), stack)
    assert run.masked_views() == ["other", "view.1"] and run.masks("other").num_masks == 0


def test_observations_come_back(run):
    seen = Observation((3, 4), np.array([1, 5], np.int32), np.ones((2, 3), np.float32), np.full((2, 3), 9, np.uint8))
    run.write_observation("a", seen)
    assert_same(run.observation("a"), seen)
    assert run.observed_views() == ["a"]


def test_the_surface_comes_back_with_its_pixels_and_as_a_cloud(run):
    surface = dataclasses.replace(small_surface(), features=np.random.default_rng(0).random((12, 4)).astype(np.float16))
    run.write_surface(surface)
    back = run.surface()
    assert_same(back, dataclasses.replace(surface, point_of_pixel=dict(sorted(surface.point_of_pixel.items()))))
    assert (run / "surface.ply").read_bytes().startswith(b"ply\nformat binary_little_endian")


def test_trees_come_back_and_parts_can_be_read_by_eye(run):
    support = np.array([[3, 0, 1], [3, 1, 0]], np.int32)
    parts = dataclasses.replace(small_parts(), support=support, support_iou=np.array([0.6, 0.9], np.float32))
    merge = MergeTree(np.array([2, 2, 2], np.int32), np.array([0, 0, 0.5], np.float32))
    run.write_tree(merge, np.array([[0, 1]]), np.array([0.5]), parts)
    assert_same(run.parts(), parts)
    assert_same(run.merge_tree(), merge)
    rows = json.loads((run / "parts.json").read_text())
    assert rows[3] == {"part": 3, "parent": 4, "depth": 1, "points": 8, "altitude": 0.5, "views": 2}


def test_labels_come_back_the_newest_of_each_part(run):
    first = label_from({"name": "knob", "synonyms": ["dial"], "function": "turn", "alternatives": [{"name": "button", "score": 0.2}],
                        "thinking": "round…", "parent_suspect": True}, 0, "vlm", raw='{"name": "knob"}', confidence=0.8, calls=2,
                       reason="was “dial”")
    run.append_label(first, "k1")
    run.append_label(NodeLabel(1, "plate"), "k2")
    assert_same(run.labels()[0], first)
    run.append_label(NodeLabel(0, "dial"), "k3")
    assert {p: (label.name, key) for p, (label, key) in run.label_journal().items()} == {0: ("dial", "k3"), 1: ("plate", "k2")}


def test_answers_come_back_by_key_and_are_no_labels(run):
    first = Answer("text\u2028", (("a", -0.5), ("b", -1.0)), 10, 4, 2)
    run.append_answer("k", first, "Model", 0.25)
    run.append_label(NodeLabel(1, "plate"), "k")
    assert run.answers() == {"k": first} and list(run.labels()) == [1] and run.seconds_per_call() is None
    run.append_answer("k", Answer("newer"), "Model", 0.5)
    run.append_answer("other", Answer("x"), "Model", 1.0)
    assert run.answers() == {"k": Answer("newer"), "other": Answer("x")} and run.seconds_per_call() == 0.5


def test_answers_to_questions_have_a_journal_of_their_own(run):
    run.append_answer("k", Answer("a name"), "Model", 0.25)
    for seconds in (1.0, 2.0, 3.0):
        run.append_answer("k", Answer("a reply"), "Model", seconds, journal="asks.jsonl")
    assert run.answers() == {"k": Answer("a name")} and run.answers("asks.jsonl") == {"k": Answer("a reply")}
    assert run.seconds_per_call() is None and run.seconds_per_call("Model", "asks.jsonl") == 2.0 and run.labels() == {}


def test_labels_of_earlier_versions_are_named(run):
    (run / "labels.jsonl").write_text('{"key": "k", "part": 0, "name": "knob", "source": "vlm"}\n')
    assert run.labels()[0] == NodeLabel(0, "knob", source="vlm") and run.labels()[0].status == "named"


def test_a_name_given_by_the_user_wins_whenever_it_came(run):
    run.append_label(NodeLabel(0, "first", source="user"), "")
    run.append_label(NodeLabel(0, "later by a model", source="vlm"), "k")
    assert run.labels()[0].name == "first"
    run.append_label(NodeLabel(0, "second", source="user"), "")
    assert run.labels()[0].name == "second"


def test_the_codebook_comes_back(run):
    book = build_codebook(small_labels(), Lexical(dim=64), ("object", "thing"), ("knob", "wheel", "lid"))
    run.write_codebook(book)
    assert_same(run.codebook(), book)


def test_a_codebook_with_pictures_comes_back(run):
    random = np.random.default_rng(0)
    book = dataclasses.replace(
        build_codebook(small_labels(), Lexical(dim=16), ("object",), ("knob",)), part_of_picture=np.array([1, 3], np.int32),
        pictures=random.random((2, 8)).astype(np.float32), picture_encoder="Clip(“tiny”)", picture_encoder_config={"class": "Clip", "size": [3, 4]})
    run.write_codebook(book)
    assert_same(run.codebook(), book)


def test_a_codebook_of_an_older_version_says_what_to_run(run):
    run.write_codebook(build_codebook(small_labels(), Lexical(dim=8), (), ()))
    (run / "codebook.json").write_text(json.dumps({"format": FORMAT, "encoder": "Lexical()", "texts": ["knob"], "fields": ["name"], "negatives": []}))
    with pytest.raises(RunError, match="made by an older version. Make it anew: semquery encode .*run --overwrite"):
        run.codebook()


def test_tensors_come_back_with_their_facts(run):
    run.write_tensors("field.safetensors", {"w": torch.arange(6.0).reshape(2, 3)}, step=7)
    tensors, facts = run.read_tensors("field.safetensors")
    assert tensors["w"].tolist() == [[0, 1, 2], [3, 4, 5]] and facts == {"step": "7"}


# ------------------------------------------------------------------ torn, foreign and old files


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04 half a zip", "torn", "flipped"])
def test_an_unreadable_npz_says_what_to_do(run, content):
    small_run(run.path)
    path = run / "surface.npz"
    whole = bytearray(path.read_bytes())
    if content == "flipped":
        whole[60:200] = bytes(140)
        content = bytes(whole)
    path.write_bytes(bytes(whole[: len(whole) // 2]) if content == "torn" else content)
    with pytest.raises(RunError, match=r"surface\.npz cannot be read .*Delete it and run the stage again"):
        run.surface()


def test_pickles_are_never_opened(run):
    touched = run / "touched"

    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(touched),)

    np.savez(run / "parts.npz", parents=np.array([Bomb()], object))
    with pytest.raises(RunError, match="parts.npz cannot be read"):
        run.parts()
    assert not touched.exists()


@pytest.mark.parametrize("name", ["codebook.json", "cameras.json"])
def test_torn_json_says_what_to_do(run, name):
    small_run(run.path).write_codebook(build_codebook(small_labels(), Lexical(dim=8), (), ()))
    (run / name).write_text((run / name).read_text()[:50])
    with pytest.raises(RunError, match=f"{name} cannot be read .*Delete it"):
        run.cameras() if name == "cameras.json" else run.codebook()


def test_torn_tensors_say_what_to_do(run):
    (run / "field.safetensors").write_bytes(b"\0" * 20)
    with pytest.raises(RunError, match="field.safetensors cannot be read .*Delete it"):
        run.read_tensors("field.safetensors")
    with pytest.raises(RunError, match="gone.safetensors cannot be read"):
        run.read_tensors("gone.safetensors")


def test_files_of_another_format_are_refused_not_guessed_at(run):
    np.savez(run / "parts.npz", parents=np.zeros(1, np.int32))
    with pytest.raises(RunError, match=f"has format None, this semquery reads format {FORMAT}: it was made by another version"):
        run.parts()
    (run / "cameras.json").write_text(json.dumps({"format": FORMAT + 1, "frames": []}))
    with pytest.raises(RunError, match=f"has format {FORMAT + 1}"):
        run.cameras()


def test_temporary_files_of_a_killed_process_are_not_views(run):
    run.write_masks("a", stack_masks(np.ones((1, 2, 2), bool), np.ones(1, np.float32)))
    (run / "masks" / ".77.b.npz").write_bytes(b"half")
    before = sha256(run / "masks")
    (run / "masks" / ".77.b.npz").unlink()
    assert run.masked_views() == ["a"] and sha256(run / "masks") == before


# ------------------------------------------------------------------ opening, and what is missing


def test_a_config_yml_opens_its_folder(run):
    (run / "config.yml").write_text("!!python/object:not.read {}")
    assert Run(run / "config.yml").path == run.path


def test_a_run_that_is_not_there_names_what_makes_one(tmp_path):
    with pytest.raises(RunError, match="no run directory at .*gone.*ns-train semquery --data SCENE.*semquery demo"):
        Run(tmp_path / "gone")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="is a file; a run is a directory"):
        Run(tmp_path / "file", create=True)


@pytest.mark.parametrize("name", MADE_BY)
def test_every_missing_artefact_names_the_command_that_makes_it(run, name):
    with pytest.raises(RunError, match=f"has no {name} yet. Make it with: (semquery|ns-train)") as error:
        run.need(name)
    assert " RUN" not in str(error.value)


def test_an_empty_folder_of_masks_counts_as_missing(run):
    (run / "masks").mkdir()
    with pytest.raises(RunError, match="has no masks yet"):
        run.need("masks")


# ------------------------------------------------------------------ names


def test_strange_line_separators_in_an_answer_do_not_split_its_line(run):
    odd = "a\u2028b\u0085c\x0bd\x1ce\nf"
    run.append_label(NodeLabel(0, odd), "k")
    assert run.labels()[0].name == odd


@pytest.mark.parametrize(("text", "name"), [
    ("Small  red part!", "small-red-part"), ("Wo ist die Tür?", "wo-ist-die-tür"), ("../../etc/passwd", "etc-passwd-[0-9a-f]{8}"),
    ("¿?", "query-[0-9a-f]{8}"), ("x" * 99, "x{60}-[0-9a-f]{8}"), ("𠀀" * 60, "𠀀{22}-[0-9a-f]{8}"), ("\udcff", "query-[0-9a-f]{8}")])
def test_a_query_becomes_a_harmless_file_name(text, name):
    assert re.fullmatch(name, slug(text)) and len(slug(text).encode(errors="replace")) <= 99


def test_texts_that_differ_have_folders_that_differ():
    texts = ["C", "C++", "C#", "left-knob", "left knob", "left knob, plate", "¿?", "¡!", "query", "?", *("x" * k for k in (59, 60, 61, 62))]
    assert len({slug(text) for text in texts}) == len(texts)
    assert slug("Left  knob ") == slug("left knob") == slug("left knob?")


def test_a_broken_line_among_good_ones_is_told_once_and_a_torn_last_one_is_not(run, capsys):
    run.append_label(NodeLabel(0, "knob"), "k")
    with (run / "labels.jsonl").open("ab") as file:
        file.write(b'{"key": "k", "part": 1, "na\n[1, 2]\n\n')
    run.append_label(NodeLabel(2, "plate"), "k")
    with (run / "labels.jsonl").open("ab") as file:
        file.write(b'{"key": "k", "par')
    for _ in range(2):
        assert {part: named.name for part, named in run.labels().items()} == {0: "knob", 2: "plate"}
    told = capsys.readouterr().err.splitlines()
    assert told == [f"{run / 'labels.jsonl'}: line {number} cannot be read and is left out" for number in (2, 3)]


@pytest.mark.parametrize("line", [{"part": 1}, {"name": "knob"}, {"part": "1", "name": "knob"}, {"part": 1, "name": None}, {"part": 1, "name": "knob", "colour": 3},
                                  {"part": 1, "name": "knob", "synonyms": 4}])
def test_a_line_that_is_no_label_is_named_with_its_file(run, line):
    run.append_label(NodeLabel(0, "knob"), "k")
    append_line(run / "labels.jsonl", line)
    with pytest.raises(RunError, match=r"Line 2 of .*labels.jsonl is no label .*Correct the line or delete it"):
        run.labels()


@pytest.mark.parametrize("line", [{"key": "k", "answer": 3}, {"answer": {"text": "a"}}, {"key": "k", "answer": {"words": "a"}}])
def test_a_line_that_is_no_answer_is_named_with_its_file(run, line):
    append_line(run / "asks.jsonl", line)
    with pytest.raises(RunError, match=r"Line 1 of .*asks.jsonl is no answer"):
        run.answers("asks.jsonl")


def test_part_trees_that_were_written_answer_like_the_ones_in_memory(run):
    small_run(run.path)
    assert isinstance(run.parts(), PartTree) and run.parts().path(0) == [3, 0]
