"""The whole way, photos to answers, through the command line, on a small scene whose parts are known."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semquery.cli import main
from semquery.store import Run, slug


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("demo")
    assert main(["demo", "--out", str(out), "--geometry", "exact", "--size", "96", "--views", "24"]) == 0
    return out


def true_leaves(demo: Path, run: Run) -> np.ndarray:
    """The name of the true leaf that most pixels of each surface point show."""
    truth = json.loads((demo / "scene" / "truth.json").read_text())
    surface = run.surface()
    votes = np.zeros((len(surface.points), len(truth["names"])), int)
    for view, point in surface.point_of_pixel.items():
        leaf = np.load(demo / "scene" / "truth" / f"{view}.npz")["leaf"]
        both = (point >= 0) & (leaf >= 0)
        np.add.at(votes, (point[both], leaf[both]), 1)
    return np.array(truth["names"])[votes.argmax(1)]


def answer(run: Run, capsys, text: str) -> np.ndarray:
    """Which points the command line's best hit holds."""
    assert main(["query", str(run.path), text]) == 0
    printed = capsys.readouterr().out
    result = json.loads((run / "queries" / slug(text) / "result.json").read_text())
    assert result["hits"][0]["reason"].splitlines()[0] in printed
    return np.any([run.parts().points_of(member) for member in result["hits"][0]["members"]], axis=0)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_small_coloured_parts_are_found_by_what_they_look_like(demo, capsys):
    run = Run(demo / "exact")
    leaf = true_leaves(demo, run)
    assert iou(answer(run, capsys, "small red round part"), leaf == "dial") > 0.6
    assert iou(answer(run, capsys, "tiny green part"), leaf == "start button") > 0.5


def test_a_part_is_found_by_where_it_is(demo, capsys):
    run = Run(demo / "exact")
    assert iou(answer(run, capsys, "green part below the red round part"), true_leaves(demo, run) == "start button") > 0.5


def test_the_tree_has_tens_of_nodes_in_several_levels(demo):
    parts = Run(demo / "exact").parts()
    assert 10 <= parts.num_parts <= 120 and parts.depth.max() >= 3


def test_every_artefact_of_the_design_is_there(demo):
    for name in ("run.jsonl", "cameras.json", "masks/contact.png", "surface.npz", "surface.ply", "merge.npz", "parts.npz", "parts.json",
                 "labels.jsonl", "codebook.npz", "codebook.json", "field.safetensors", "views/0/0.png", "answers.png", "export/parts.ply", "export/tree.json"):
        assert (demo / "exact" / name).stat().st_size > 0, name
    assert len(list((demo / "exact" / "masks").glob("*.npz"))) == 24


def test_a_name_given_by_hand_is_found_after_encoding_again(demo, tmp_path, capsys):
    run = Run(demo / "exact")
    dial = int(np.bincount(run.parts().part_of_point[true_leaves(demo, run) == "dial"]).argmax())
    (tmp_path / "names.json").write_text(json.dumps({str(dial): {"name": "power dial", "synonyms": ["wattage knob"]}}))
    assert main(["label", str(run.path), "--labels", str(tmp_path / "names.json")]) == 0
    assert main(["query", str(run.path), "wattage knob"]) == 2  # the codebook is older than the labels
    assert "--overwrite" in capsys.readouterr().err
    assert main(["encode", str(run.path), "--overwrite"]) == 0
    assert main(["query", str(run.path), "wattage knobs"]) == 0
    assert f"part {dial}," in capsys.readouterr().out


def test_a_query_for_nothing_in_the_scene_says_so(demo, capsys):
    assert main(["query", str(demo / "exact"), "zebra"]) == 1
    assert "“zebra”: not found in this scene" in capsys.readouterr().out


def test_running_it_again_recomputes_nothing(demo, capsys):
    before = (demo / "exact" / "parts.npz").stat().st_mtime_ns
    assert main(["demo", "--out", str(demo), "--geometry", "exact", "--size", "96", "--views", "24"]) == 0
    assert (demo / "exact" / "parts.npz").stat().st_mtime_ns == before


def test_pictures_can_be_looked_at(demo):
    picture = Image.open(demo / "exact" / "queries" / "tiny-green-part" / "picture.png")
    assert picture.mode == "RGB" and min(picture.size) > 300
    assert len(picture.getcolors(1 << 24)) > 100
