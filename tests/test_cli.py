"""The command line: light to import, errors as one line, and the commands on a hand-made run."""

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import assert_same, named_run, small_run, write_photo
from PIL import Image
from stub_server import StubServer

from semquery.cli import COMMANDS, main
from semquery.demo import check_same_photos
from semquery.store import Run, slug
from semquery.tabletop import write_scene

ROOT = Path(__file__).parent.parent


def test_asking_for_help_imports_nothing_heavy():
    code = ("import sys\nfrom semquery.cli import main\nassert main(['--help']) == 0\n"
            "print(sorted({m.split('.')[0] for m in sys.modules} & {'torch', 'numpy', 'scipy', 'nerfstudio', 'transformers', 'open_clip', 'tyro', 'PIL'}))")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_python_dash_m_is_the_same_program():
    done = subprocess.run([sys.executable, "-m", "semquery", "nonsense"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("semquery: there is no command 'nonsense'")


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_help_lists_every_command(arguments, capsys):
    assert main(arguments) == 0
    told = capsys.readouterr().out
    assert all(re.search(rf"^  {name} +{re.escape(about)}$", told, re.M) for name, about in COMMANDS.items())


def test_the_version_is_told(capsys):
    assert main(["--version"]) == 0 and re.fullmatch(r"\d+\.\d+\S*\n", capsys.readouterr().out)


def test_an_unknown_command_is_answered_with_those_there_are(capsys):
    assert main(["tell"]) == 2
    assert capsys.readouterr().err == f"semquery: there is no command 'tell'; commands are {', '.join(COMMANDS)}.\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_its_arguments(name, capsys):
    from semquery import commands

    with pytest.raises(SystemExit) as left:
        main([name, "--help"])
    told = capsys.readouterr().out
    assert left.value.code == 0 and told.startswith(f"usage: semquery {name}")
    for argument in inspect.signature(getattr(commands, name)).parameters:
        flat = {"config": "--neighbours" if name == "tree" else "--steps" if name == "fit" else "--unsure" if name == "report" else "--port" if name == "view" else "--top"}.get(argument, argument)
        assert flat.lstrip("-").replace("_", "-") in told.lower()


def test_a_wrong_argument_leaves_with_two(capsys):
    with pytest.raises(SystemExit) as left:
        main(["query", "run", "text", "--bogus"])
    assert left.value.code == 2 and "bogus" in capsys.readouterr().err


def one_line(capsys) -> str:
    told = capsys.readouterr().err.strip()
    assert "\n" not in told and "Traceback" not in told
    return told


@pytest.mark.parametrize("command", [["query", "RUN", "knob"], ["tree", "RUN"], ["label", "RUN"], ["report", "RUN"], ["encode", "RUN"], ["export", "RUN"], ["fit", "RUN"]])
def test_a_run_that_is_not_there_is_one_line_and_two(command, tmp_path, capsys):
    assert main([a.replace("RUN", str(tmp_path / "gone")) for a in command]) == 2
    assert one_line(capsys).startswith(f"semquery {command[0]}: There is no run directory at {tmp_path / 'gone'}.")


@pytest.mark.parametrize(("command", "told"), [
    (["query", "RUN", "knob"], "has no names to search yet. Name its parts with: semquery label RUN"),
    (["encode", "RUN"], "has no labels.jsonl yet. Make it with: semquery label RUN"),
    (["fit", "RUN"], "has no masks yet. Make it with: semquery masks RUN --data SCENE"),
    (["fit", "RUN", "--mesh", "m.ply"], "--mesh and --data go together"),
    (["label", "RUN", "--labels", "gone.json"], "There is no file gone.json"),
    (["masks", "RUN", "--data", "gone"], "There is no folder gone"),
    (["masks", "RUN", "--data", "RUN"], "holds no photos"),
])
def test_what_is_missing_is_said_in_one_line_with_the_command_that_makes_it(command, told, tmp_path, capsys):
    run = str(small_run(tmp_path / "run").path)
    assert main([a.replace("RUN", run) for a in command]) == 2
    assert told.replace("RUN", run) in one_line(capsys)


def test_an_interruption_says_that_what_is_done_is_kept(tmp_path, capsys, monkeypatch):
    from semquery import stages

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, "label", interrupted)
    assert main(["label", str(small_run(tmp_path / "run").path)]) == 130
    assert "What was finished is kept" in capsys.readouterr().err


def test_from_a_part_tree_to_answers(tmp_path, capsys):
    """label, encode, query, names by hand, export on the hand-made run, whose photos are gone."""
    run = small_run(tmp_path / "run")
    (run / "config.yml").write_text("")
    assert main(["label", str(run.path)]) == 0
    assert "red rod" in capsys.readouterr().out and len((run / "labels.jsonl").read_text().splitlines()) == 5
    assert (run / "views" / "2" / "0.png").exists()
    assert main(["encode", str(run.path)]) == 0 and "of 5 parts, by Lexical" in capsys.readouterr().out

    assert main(["query", str(run / "config.yml"), "blue rod"]) == 0
    told = capsys.readouterr().out
    folder = run / "queries" / "blue-rod"
    result = json.loads((folder / "result.json").read_text())
    assert "part 2" in told and str(folder / "picture.png") in told and result["hits"][0]["part"] == 2
    assert sorted(p.name for p in (folder / "masks").iterdir()) == ["above.png", "close.png"]  # the view in front does not show it
    assert main(["query", str(run.path), "submarine"]) == 1 and not (run / "queries" / "submarine" / "picture.png").exists()
    assert main(["query", str(run.path), "of the part"]) == 2

    (tmp_path / "names.json").write_text('{"2": {"name": "drip tray", "synonyms": ["submarine"]}}')
    assert main(["label", str(run.path), "--labels", str(tmp_path / "names.json")]) == 0
    assert f"semquery encode {run.path} --overwrite" in capsys.readouterr().out
    assert main(["query", str(run.path), "submarine"]) == 2 and "labels.jsonl changed since" in capsys.readouterr().err
    assert main(["encode", str(run.path), "--overwrite"]) == 0 and main(["query", str(run.path), "submarine"]) == 0
    assert main(["label", str(run.path), "--overwrite"]) == 0 and run.labels()[2].name == "drip tray"

    assert main(["export", str(run.path), "--out", str(tmp_path / "out")]) == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["boxes.json", "boxes.ply", "export.json", "levels.png", "parts.ply", "tree.json"]
    assert json.loads((tmp_path / "out" / "tree.json").read_text())["parts"][0]["children"][0]["name"] == "drip tray"


@pytest.fixture
def named(tmp_path) -> str:
    return str(named_run(tmp_path / "run").path)


def result(run: str, text: str) -> dict:
    said, *seen = text.split("--")
    return json.loads((Path(run) / "queries" / "--".join([slug(said), *seen]) / "result.json").read_text())


def test_a_compound_query_tells_members_steps_and_frame(named, capsys):
    assert main(["query", named, "all the knobs"]) == 0
    assert "2 parts (0, 1)" in capsys.readouterr().out
    [hit] = result(named, "all the knobs")["hits"]
    assert hit["members"] == [0, 1] and hit["num_points"] == 7 and len(hit["box"]["extent"]) == 3
    assert sorted(p.name for p in (Path(named) / "queries" / "all-the-knobs" / "masks").iterdir()) == ["above.png", "close.png", "front.png"]

    for front, part in (("-1", 0), ("1", 1)):
        assert main(["query", named, "the leftmost knob", "--up", "0", "0", "1", "--front", "0", front, "0"]) == 0
        record = result(named, "the leftmost knob")
        assert record["hits"][0]["part"] == part and "given" in record["frame"]["origin"]
    assert main(["query", named, "the leftmost knob", "--view", "front"]) == 0
    record = result(named, "the leftmost knob--view-front")
    assert record["view"] == "front" and "front" in record["frame"]["origin"]


def test_a_language_model_takes_apart_what_the_rules_leave_whole_and_is_asked_once(named, capsys):
    """The rules take "whichever knob is furthest over on that left hand side" for a description; the model says what it means."""
    text = "whichever knob is furthest over on that left hand side"
    taken_apart = {"head": "knob", "number": 1, "rank": 0, "along": "", "pick": "left", "relations": [], "exclude": [], "also": []}
    with StubServer(lambda body: taken_apart, latency=0.0) as server:
        model = ["vlm:open-ai-server", "--vlm.base-url", server.url, "--vlm.model", "stub"]
        assert main(["query", named, text, "--up", "0", "0", "1", "--front", "0", "-1", "0", *model]) == 0
        hit = result(named, text)["hits"][0]
        assert hit["part"] == 0 and "left" in hit["reason"]
        recorded = (Path(named) / "asks.jsonl").read_text()
        assert main(["query", named, text, "--up", "0", "0", "1", "--front", "0", "1", "0", *model]) == 0 and result(named, text)["hits"][0]["part"] == 1
        assert (Path(named) / "asks.jsonl").read_text() == recorded and len(recorded.splitlines()) == 1
    assert main(["query", named, "plate", *model]) == 0, "a name needs no model, which is gone by now"


@pytest.mark.parametrize("text", ["plate", "the left knob", "all the knobs"])
def test_a_model_that_was_never_there_is_not_missed_by_queries_that_the_rules_understand(text, named, capsys):
    dead = ["vlm:open-ai-server", "--vlm.base-url", "http://127.0.0.1:9/v1", "--vlm.model", "stub", "--vlm.tries", "1"]
    assert main(["query", named, text, *dead]) == 0
    assert main(["query", named, "whichever knob is furthest over on that left hand side", *dead]) == 2


def test_a_query_of_bytes_that_are_no_text_is_one_line_and_two(named, capsys):
    assert main(["query", named, "knob \udcff"]) == 2 and "bytes that are no text" in one_line(capsys)
    assert main(["ask", named, "knob \udcff"]) == 2 and "bytes that are no text" in one_line(capsys)


def test_control_characters_of_a_query_never_reach_the_terminal(named, capsys):
    for command in (["query", named, "sub\x1b[2Jmarine"], ["ask", named, "where is the sub\x1b[2Jmarine?"], ["query", named, "the leftmost knob", "--view", "\x1b[2J"]):
        assert main(command) in (1, 2)
    told = capsys.readouterr()
    assert "\x1b" not in told.out + told.err and "sub\\x1b[2Jmarine" in told.out


def test_the_demo_is_not_mixed_with_photos_of_another_size(tmp_path, capsys):
    write_scene(tmp_path / "scene", 16, 3)
    assert main(["demo", "--out", str(tmp_path), "--geometry", "exact", "--size", "24", "--views", "3"]) == 2
    assert "holds 3 photos of 16×16, not 3 of 24×24. Go on with it: --size 16 --views 3" in one_line(capsys)
    check_same_photos(tmp_path / "scene", 16, 3)
    check_same_photos(tmp_path / "nowhere", 24, 3)


def test_what_is_not_here_says_what_comes_nearest_and_leaves_with_one(named, capsys):
    assert main(["query", named, "submarine"]) == 1
    assert re.search(r"“submarine”: not found in this scene\. .*closest is “.+”, \d+ % likely", capsys.readouterr().out)
    assert "closest is" in result(named, "submarine")["missing"] and result(named, "submarine")["hits"] == []
    assert main(["query", named, "the knob nearest to the submarine"]) == 1 and "submarine" in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "told"), [
    ([""], "The query is empty"), (["knob " * 2000], "at most 1000"), (["knob", "--view", "front", "--front", "0", "1", "0"], "--view and --front both"),
    (["the leftmost knob", "--view", "cellar"], "cellar"), (["knob", "--threshold", "2"], "threshold"),
    (["knob", "encoder:lexical", "--encoder.dim", "64"], "The codebook was made by Lexical"),
])
def test_queries_that_cannot_be_answered_are_one_line_and_two(arguments, told, named, capsys):
    assert main(["query", named, *arguments]) == 2
    assert told in one_line(capsys)


def test_another_encoder_encodes_again_when_that_is_asked_for(named, capsys):
    before = Run(named).codebook()
    assert main(["encode", named, "encoder:lexical", "--encoder.dim", "64"]) == 2
    told = one_line(capsys)
    assert before.encoder in told and "64" in told and "--overwrite" in told
    assert_same(Run(named).codebook(), before)
    assert main(["query", named, "left knob", "--reencode", "encoder:lexical", "--encoder.dim", "64"]) == 0
    assert Run(named).codebook().vectors.shape[1] == 64
    assert main(["query", named, "left knob"]) == 0, "the encoder is made again as the codebook recorded it"
    assert main(["encode", named, "--overwrite"]) == 0 and Run(named).codebook().vectors.shape[1] == 4096


def test_negatives_come_from_a_file_that_must_be_there(named, tmp_path, capsys):
    assert main(["encode", named, "--overwrite", "--negatives", str(tmp_path / "gone.txt")]) == 2 and "gone.txt cannot be read" in one_line(capsys)
    (tmp_path / "mine.txt").write_text("\n \n")
    assert main(["encode", named, "--overwrite", "--negatives", str(tmp_path / "mine.txt")]) == 2 and "is empty" in one_line(capsys)
    assert (Path(named) / "codebook.npz").exists()
    (tmp_path / "mine.txt").write_text("rubbish\nthing\n")
    assert main(["encode", named, "--overwrite", "--negatives", str(tmp_path / "mine.txt")]) == 0
    assert Run(named).codebook().negative_texts == ("rubbish", "thing")
    assert main(["query", named, "plate", "--reencode"]) == 0 and Run(named).codebook().negative_texts == ("rubbish", "thing")


def test_negatives_missing_from_the_installation_are_named(named, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("semquery.prompts._FOLDERS", (tmp_path,))
    assert main(["encode", named, "--overwrite"]) == 2
    assert "negatives.txt" in one_line(capsys) and (Path(named) / "codebook.npz").exists()


def test_masks_of_a_folder_of_photos(tmp_path, capsys):
    for name, color in (("a", (200, 30, 30)), ("b", (30, 30, 200))):
        write_photo(tmp_path / "photos" / f"{name}.png", (24, 32), color)
    assert main(["masks", str(tmp_path / "run"), "--data", str(tmp_path / "photos")]) == 0
    assert sorted(p.name for p in (tmp_path / "run" / "masks").iterdir()) == ["a.npz", "b.npz", "contact.png"]
    assert Image.open(tmp_path / "run" / "masks" / "contact.png").size[0] > 60
    assert main(["masks", str(tmp_path / "run"), "--data", str(tmp_path / "photos")]) == 0 and "already done" in capsys.readouterr().out
