"""The command line: light to import, errors as one line, and the commands on a hand-made run."""

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import small_run, write_photo
from PIL import Image

from semquery.cli import COMMANDS, main

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
    assert main(["ask"]) == 2
    assert capsys.readouterr().err == f"semquery: there is no command 'ask'; commands are {', '.join(COMMANDS)}.\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_its_arguments(name, capsys):
    from semquery import commands

    with pytest.raises(SystemExit) as left:
        main([name, "--help"])
    told = capsys.readouterr().out
    assert left.value.code == 0 and told.startswith(f"usage: semquery {name}")
    for argument in inspect.signature(getattr(commands, name)).parameters:
        flat = {"config": "--neighbours" if name == "tree" else "--steps" if name == "fit" else "--unsure" if name == "report" else "--top"}.get(argument, argument)
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
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["levels.png", "parts.ply", "tree.json"]
    assert json.loads((tmp_path / "out" / "tree.json").read_text())["root"]["children"][0]["name"] == "drip tray"


def test_masks_of_a_folder_of_photos(tmp_path, capsys):
    for name, color in (("a", (200, 30, 30)), ("b", (30, 30, 200))):
        write_photo(tmp_path / "photos" / f"{name}.png", (24, 32), color)
    assert main(["masks", str(tmp_path / "run"), "--data", str(tmp_path / "photos")]) == 0
    assert sorted(p.name for p in (tmp_path / "run" / "masks").iterdir()) == ["a.npz", "b.npz", "contact.png"]
    assert Image.open(tmp_path / "run" / "masks" / "contact.png").size[0] > 60
    assert main(["masks", str(tmp_path / "run"), "--data", str(tmp_path / "photos")]) == 0 and "already done" in capsys.readouterr().out
