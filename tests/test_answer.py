"""The codebook's stage: encoders with files, pictures of parts, and what happens when any of them changes."""

import shutil

import numpy as np
import pytest
from checkpoints_text import build_dual, build_sentence
from helpers import NAMES, assert_same, named_run, small_run

from semquery import Scene, stages
from semquery.codebook import build_codebook
from semquery.portraits import PortraitConfig
from semquery.query import QueryConfig
from semquery.store import Run, RunError
from semquery.text import HfText, Lexical
from semquery.types import NodeLabel

SMALL = PortraitConfig(side=32)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Checkpoints with random weights."""
    home = tmp_path_factory.mktemp("checkpoints")
    return {"clip": build_dual("clip", home / "clip"), "minilm": build_sentence("minilm", home / "minilm"),
            "other": build_sentence("minilm", home / "other", seed=1)}


@pytest.fixture
def run(tmp_path) -> Run:
    return named_run(tmp_path / "run")


def test_the_codebook_remembers_its_encoder_so_that_queries_need_not_name_it(run, folders, monkeypatch):
    monkeypatch.chdir(folders["minilm"].parent)
    book = stages.encode(run, HfText("minilm"), overwrite=True)
    monkeypatch.chdir(run.path)  # the path was recorded whole
    assert book.encoder_config["class"] == "HfText" and run.codebook().encoder_config == book.encoder_config
    for part, name in NAMES.items():
        assert Scene.open(run).query(f"the {name}s")[0].part == part  # by name: the weights are random
    for config in (QueryConfig(scorer="lerf", threshold=0.0), QueryConfig(scorer="zscore", threshold=0.0), QueryConfig(scorer="cosine", threshold=0.0)):
        assert Scene.open(run, config).query("something to hold")


def test_a_checkpoint_that_moved_can_be_given_and_another_is_refused(run, folders, tmp_path):
    shutil.copytree(folders["minilm"], tmp_path / "here")
    stages.encode(run, HfText(str(tmp_path / "here")), overwrite=True)
    shutil.move(tmp_path / "here", tmp_path / "there")
    with pytest.raises(ValueError, match="here"):
        Scene.open(run).query("plate")
    assert Scene.open(run, encoder=HfText(str(tmp_path / "there"))).query("plate")[0].part == 2
    with pytest.raises(ValueError, match="The codebook was made by .*the query is encoded by"):
        Scene.open(run, encoder=HfText(str(folders["other"])))


def test_another_encoder_is_refused_until_overwrite_and_says_both(run, folders):
    before = run.codebook()
    with pytest.raises(RunError, match=r"encoder: .*Lexical.* → HfText.*--overwrite"):
        stages.encode(run, HfText(str(folders["minilm"])))
    assert_same(run.codebook(), before)


def test_an_encoder_that_cannot_be_used_clears_nothing(run, tmp_path):
    before = run.codebook()
    with pytest.raises(ValueError, match="nowhere"):
        stages.encode(run, HfText(str(tmp_path / "nowhere")), overwrite=True)
    with pytest.raises(ValueError, match="nowhere"):
        stages.encode(run, Lexical(), pictures=HfText(str(tmp_path / "nowhere")), overwrite=True)
    assert_same(run.codebook(), before)
    assert Scene.open(run).query("plate")


def test_an_encoder_that_dies_on_the_way_leaves_the_codebook_that_was_there(run, monkeypatch):
    before = run.codebook()

    def gone(self, texts):
        raise ValueError("the server is gone")

    with monkeypatch.context() as patched:
        patched.setattr(Lexical, "passages", gone)
        with pytest.raises(ValueError, match="the server is gone"):
            stages.encode(run, Lexical(ngram=4), overwrite=True)
    assert_same(run.codebook(), before)
    assert Scene.open(run).query("plate")[0].part == 2
    assert stages.encode(run, Lexical(ngram=4), overwrite=True).encoder != before.encoder


def test_an_encoder_of_texts_alone_is_refused_for_pictures_before_anything_is_cleared(run, folders):
    before = run.codebook()
    with pytest.raises(ValueError, match="pictures"):
        stages.encode(run, Lexical(), pictures=HfText(str(folders["minilm"])), overwrite=True)
    assert_same(run.codebook(), before)


def test_pictures_of_parts_are_encoded_beside_their_names_and_count_in_queries(run, folders):
    clip = HfText(str(folders["clip"]))
    book = stages.encode(run, Lexical(), pictures=clip, shown=SMALL, overwrite=True)
    assert book.part_of_picture.tolist() == list(NAMES) and book.picture_encoder == clip.identity
    np.testing.assert_allclose(np.linalg.norm(book.pictures, axis=1), 1, atol=1e-5)
    assert_same(run.codebook(), book)
    ranks = {alpha: [f.part for f in Scene.open(run, QueryConfig(top=9, threshold=0.0, near_best=0.0, same=0.0, alpha=alpha)).query("knob")] for alpha in (0.0, 1.0)}
    like = book.pictures @ clip.queries(["knob"])[0]
    assert ranks[1.0][0] in (0, 1) and like[ranks[0.0][0]] == like.max()


def test_encoding_again_keeps_pictures_and_negatives(run, folders):
    clip = HfText(str(folders["clip"]))
    stages.encode(run, Lexical(), pictures=clip, against=("rubbish",), shown=SMALL, overwrite=True)
    before = run.codebook()
    run.append_label(NodeLabel(2, "drip tray", source="user"), "")
    scene = stages.opened(run, encoder=Lexical(dim=128), reencode=True)
    after = run.codebook()
    assert scene.query("drip tray")[0].part == 2 and after.vectors.shape[1] == 128 and after.negative_texts == ("rubbish",)
    np.testing.assert_array_equal(after.pictures, before.pictures)
    assert run.stage("encode")["config"]["pictures"]["shown"]["side"] == 32


def test_encoding_again_makes_a_codebook_that_never_was(tmp_path):
    run = small_run(tmp_path / "run")
    run.append_label(NodeLabel(2, "plate"), "")
    assert stages.opened(run, reencode=True).query("plate")[0].part == 2


def test_a_run_in_which_nothing_could_be_named_says_so(tmp_path):
    run = small_run(tmp_path / "run")
    for label in (NodeLabel(0, "unknown"), NodeLabel(1, "part 1", status="failed")):
        run.append_label(label, "")
    with pytest.raises(RunError, match="No part of .* has a name yet.*semquery label"):
        stages.encode(run)


def test_names_of_parts_that_the_tree_lost_are_left_out(run):
    run.append_label(NodeLabel(99, "ghost"), "")
    assert "ghost" not in stages.encode(run, overwrite=True).texts
    assert Scene.open(run).query("plate")


def test_the_stage_writes_what_the_codebook_module_makes(run):
    from semquery.prompts import bank, negatives

    assert_same(run.codebook(), build_codebook(run.labels(), Lexical(), negatives(), bank()))
