"""Stages on real files: skipping, resuming after kill -9, refusing to mix, and errors before long work."""

import json
import multiprocessing
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semquery import stages
from semquery.contrast import ContrastConfig
from semquery.field import FieldConfig, GridConfig
from semquery.fit import FitConfig
from semquery.geometry import FusionConfig
from semquery.masks import MaskFolder, Regions
from semquery.parts import TreeConfig
from semquery.scene import read_scene
from semquery.store import Run, RunError
from semquery.tabletop import write_scene
from semquery.types import MaskStack, Observation

FIT = FitConfig(
    steps=120, batch=512, contrast=ContrastConfig(masks=8, pairs=8, negatives=4),
    field=FieldConfig(grid=GridConfig(levels=6, features=2, log2_table=12, coarsest=4, finest=64), hidden=16, dim=8),
    fusion=FusionConfig(resolution=60),
)
REGIONS = Regions(superpixels=60, scales=(60.0, 200.0), color_steps=(8.0, 20.0))


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("scene")
    write_scene(folder, size=56, num_views=8, num_heldout=0, objects=("microwave",))
    return folder


def views_of(scene: Path) -> list[tuple[str, Path]]:
    cameras = read_scene(scene)
    return [(name, Path(image)) for name, image in zip(cameras.names, cameras.images, strict=True)]


def make_masks(run: Run, scene: Path) -> None:
    stages.make_masks(run, views_of(scene), REGIONS)


def observe(run: Run, scene: Path) -> None:
    stages.observe_mesh(run, scene / "mesh.ply", read_scene(scene))


STEPS = {
    "masks": make_masks,
    "observe": observe,
    "fit": lambda run, scene: stages.fit(run, FIT),
    "tree": lambda run, scene: stages.build_tree(run),
    "label": lambda run, scene: stages.label(run),
    "encode": lambda run, scene: stages.encode(run),
}


@pytest.fixture(scope="module")
def finished(scene, tmp_path_factory) -> Path:
    """A whole run, made once."""
    run = Run(tmp_path_factory.mktemp("finished") / "run", create=True)
    for step in STEPS.values():
        step(run, scene)
    return run.path


@pytest.fixture
def run(finished, tmp_path) -> Run:
    """A copy of the whole run, to be spoiled."""
    shutil.copytree(finished, tmp_path / "run")
    return Run(tmp_path / "run")


def stamps(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file() and p.name != "run.jsonl"}


# ------------------------------------------------------------------ order


def test_a_finished_stage_is_skipped_and_nothing_is_written(run, scene):
    before = stamps(run.path)
    for step in STEPS.values():
        step(run, scene)
    assert stamps(run.path) == before


def test_the_manifest_says_what_was_made_from_what(run):
    done = {line["stage"]: line for line in run.manifest() if line["event"] == "done"}
    assert set(done) == set(STEPS)
    assert done["fit"]["config"]["contrast"]["temperature"] == 0.1 and done["fit"]["seed"] == 0
    assert set(done["tree"]["inputs"]) == {"surface.npz", "masks"} and all(done["tree"]["inputs"].values())


def test_other_settings_are_refused_until_overwrite_is_given(run):
    with pytest.raises(RunError, match=r"gamma: 1.0 → 2.0.*--overwrite"):
        stages.build_tree(run, TreeConfig(gamma=2.0))
    assert stages.build_tree(run, TreeConfig(gamma=2.0), overwrite=True).num_parts >= 1


def test_a_query_on_a_codebook_older_than_its_labels_says_what_to_run(run, tmp_path):
    names = tmp_path / "names.json"
    names.write_text(json.dumps({str(run.parts().root): "kitchen"}))
    assert stages.label_by_hand(run, names) == 1
    with pytest.raises(RunError, match="labels.jsonl changed.*semquery encode .* --overwrite"):
        stages.query(run, "kitchen")
    stages.encode(run, overwrite=True)
    assert stages.query(run, "kitchen")[0].part == run.parts().root


def test_names_by_hand_survive_asking_everything_anew(run, tmp_path):
    (tmp_path / "names.json").write_text('{"0": "start button"}')
    stages.label_by_hand(run, tmp_path / "names.json")
    labels = stages.label(run, overwrite=True)
    assert labels[0].name == "start button" and labels[0].source == "user"
    assert labels[1].source == "rule"


def test_a_new_tree_does_not_inherit_names_of_old_numbers_but_keeps_them(run, tmp_path, capsys):
    (tmp_path / "names.json").write_text('{"0": "start button"}')
    stages.label_by_hand(run, tmp_path / "names.json")
    stages.build_tree(run, overwrite=True)
    assert "labels.old1.jsonl" in capsys.readouterr().out
    assert "start button" in (run / "labels.old1.jsonl").read_text() and not run.labels()
    assert "start button" not in {label.name for label in stages.label(run, overwrite=True).values()}


def test_pictures_and_point_clouds_of_an_answer_agree_with_the_part(run):
    from plyfile import PlyData

    scene, text = stages.opened(run), run.labels()[0].name
    found = scene.query(text)
    folder = stages.write_answer(run, scene, text, found)
    result = json.loads((folder / "result.json").read_text())
    assert result["hits"][0]["part"] == found[0].part and result["hits"][0]["members"] == list(found[0].members)
    inside = np.any([run.parts().points_of(member) for member in found[0].members], axis=0)
    assert (PlyData.read(folder / "parts.ply")["vertex"]["hit"] == 1).sum() == inside.sum()
    for mask in (folder / "masks").iterdir():
        point = run.surface().point_of_pixel[mask.stem]
        np.testing.assert_array_equal(np.asarray(Image.open(mask)) > 0, (point >= 0) & inside[point])
    assert Image.open(folder / "picture.png").size[0] > 300


def test_a_run_named_by_a_relative_path_keeps_its_files_in_itself(run, monkeypatch):
    monkeypatch.chdir(run.path.parent)
    relative, before = Run("run"), {p.name for p in run.path.iterdir()}
    scene, name = stages.opened(relative), relative.labels()[0].name
    stages.write_answer(relative, scene, name, scene.query(name))
    assert all(path.exists() for path in stages.export(relative))
    assert {p.name for p in run.path.iterdir()} - before == {"queries", "export"}
    assert {p.name for p in next((run / "queries").iterdir()).iterdir()} == {"result.json", "masks", "parts.ply", "picture.png"}


def test_export_writes_what_it_says(run):
    assert {p.name for p in stages.export(run)} == {"parts.ply", "tree.json", "boxes.json", "boxes.ply", "levels.png", "export.json"}
    tree = json.loads((run / "export" / "tree.json").read_text())
    assert tree["parts"][0]["id"] == run.parts().root and tree["schema"] == "semquery/part-tree"


def test_a_photo_that_is_gone_is_painted_from_the_surface(run, tmp_path):
    cameras = run.cameras()
    run.write_cameras(replace(cameras, images=tuple("gone.png" for _ in cameras.names)))
    image = stages.photo_of(run, run.surface())(cameras.names[0])
    assert image.shape[2] == 3 and len(np.unique(image.reshape(-1, 3), axis=0)) > 5


# ------------------------------------------------------------------ kill -9


KILL_AT = {  # stage → (method of Run, how many calls finish before the process is killed)
    "masks": ("write_masks", 3),
    "observe": ("write_observation", 3),
    "fit": ("write_surface", 0),
    "tree": ("write_tree", 0),
    "label": ("append_label", 2),
    "encode": ("write_codebook", 0),
}


def _killed(stage: str, path: Path, scene: Path) -> None:
    method, finished = KILL_AT[stage]
    write, calls = getattr(Run, method), []

    def write_or_die(self, *args, **kwargs):
        if len(calls) == finished:
            os.kill(os.getpid(), signal.SIGKILL)
        calls.append(1)
        return write(self, *args, **kwargs)

    setattr(Run, method, write_or_die)
    STEPS[stage](Run(path, create=True), scene)


@pytest.mark.parametrize("stage", list(STEPS))
def test_a_killed_stage_loses_nothing_that_was_finished(stage, scene, finished, tmp_path):
    run = Run(tmp_path / "run", create=True)
    order = list(STEPS)
    for name in order[: order.index(stage)]:
        STEPS[name](run, scene)
    process = multiprocessing.get_context("fork").Process(target=_killed, args=(stage, run.path, scene))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    kept = {name: t for name, t in stamps(run.path).items() if not Path(name).name.startswith(".")}
    answered = run.labels()
    STEPS[stage](run, scene)
    after = stamps(run.path)
    lost = {name for name in kept if after.get(name) != kept[name] and not name.startswith(("labels.jsonl", "views/", "cameras.json", "field.safetensors"))}
    assert not lost
    if stage == "masks":
        assert len([n for n in kept if n.startswith("masks/")]) == 3
    if stage == "label":
        assert len(answered) == 2 and all(run.labels()[p] == answered[p] for p in answered)
    assert run.stage(stage)["event"] == "done"
    if stage in ("tree", "label", "encode"):
        np.testing.assert_array_equal(Run(finished).parts().parents, run.parts().parents)


def test_a_field_training_resumes_from_its_checkpoint(scene, run, monkeypatch, capsys):
    """Killed at step 100 of 120 after a checkpoint at 50: the second process starts at 50 and ends alike."""
    whole = run.surface().features.copy()
    monkeypatch.setattr("semquery.stages.learn.CHECKPOINT_EVERY", 50)

    def train_and_die(path: Path) -> None:
        write = Run.write_tensors

        def write_or_die(self, name, tensors, **facts):
            if facts.get("step") == 100:
                os.kill(os.getpid(), signal.SIGKILL)
            write(self, name, tensors, **facts)

        Run.write_tensors = write_or_die
        stages.fit(Run(path), FIT, overwrite=True)

    process = multiprocessing.get_context("fork").Process(target=train_and_die, args=(run.path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    stages.fit(run, FIT)
    assert "resuming at step 50" in capsys.readouterr().out
    np.testing.assert_allclose(run.surface().features.astype(np.float32), whole.astype(np.float32), atol=2e-3)
    assert not (run / "fit.partial.safetensors").exists()


# ------------------------------------------------------------------ bad input


def test_missing_stages_name_the_command_to_run(tmp_path):
    run = Run(tmp_path / "new", create=True)
    for call, command in [
        (lambda: stages.fit(run, FIT), "semquery masks"), (lambda: stages.build_tree(run), "semquery fit"),
        (lambda: stages.label(run), "semquery tree"), (lambda: stages.encode(run), "semquery label"),
        (lambda: stages.query(run, "handle"), "semquery label"), (lambda: stages.export(run), "semquery fit"),
    ]:
        with pytest.raises(RunError, match=command):
            call()


def test_no_photos_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no photos"):
        stages.make_masks(Run(tmp_path / "run", create=True), [], Regions())


def test_a_photo_that_is_no_photo_is_named(tmp_path):
    (tmp_path / "a.png").write_text("not a picture")
    with pytest.raises(ValueError, match=r"a\.png cannot be read as an image"):
        stages.make_masks(Run(tmp_path / "run", create=True), [("a", tmp_path / "a.png")], Regions())


def test_a_mask_folder_of_other_views_is_refused_before_anything_is_written(scene, tmp_path):
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.ones((8, 8), np.uint8)).save(tmp_path / "masks" / "other.png")
    run = Run(tmp_path / "run", create=True)
    with pytest.raises(ValueError, match=r"no masks for 8 of 8 views.*other\.png"):
        stages.make_masks(run, views_of(scene), MaskFolder(tmp_path / "masks"))
    assert not (run / "masks").exists() and not run.manifest()


def test_a_run_of_another_scene_is_refused(run, scene, tmp_path):
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "stranger.png")
    with pytest.raises(RunError, match="another scene"):
        stages.make_masks(run, [("stranger", tmp_path / "stranger.png")], REGIONS)
    with pytest.raises(RunError, match="another scene"):
        other = tmp_path / "other"
        write_scene(other, size=32, num_views=3, num_heldout=0, objects=("chair",))
        stages.observe_mesh(run, other / "mesh.ply", read_scene(other))


def test_masks_and_surface_of_different_scenes_are_refused(tmp_path):
    run = Run(tmp_path / "run", create=True)
    run.write_masks("a", MaskStack(np.ones((1, 4, 4), np.uint16), np.ones(1, np.float32)))
    run.write_observation("b", Observation((4, 4), np.arange(16, dtype=np.int32), np.zeros((16, 3), np.float32), np.zeros((16, 3), np.uint8)))
    with pytest.raises(RunError, match="different scenes"):
        stages.fit(run, FIT)


def test_all_views_without_masks_is_an_error_and_some_are_told(tmp_path, capsys):
    for name, value in (("a", 0), ("b", 255)):
        image = np.zeros((32, 32, 4), np.uint8)
        image[..., 3], image[8:20, 8:20, 0] = value, 255
        Image.fromarray(image).save(tmp_path / f"{name}.png")
    with pytest.raises(RunError, match="None of the 1 views has a single mask"):
        stages.make_masks(Run(tmp_path / "one", create=True), [("a", tmp_path / "a.png")], Regions())
    stages.make_masks(Run(tmp_path / "two", create=True), [(n, tmp_path / f"{n}.png") for n in "ab"], Regions())
    assert "masks: 1 of 2 views have no masks (first: a)\n" in capsys.readouterr().out


def test_views_that_show_nothing_are_an_error(run):
    for name in run.observed_views():
        run.write_observation(name, Observation((4, 4), np.zeros(0, np.int32), np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8)))
    with pytest.raises(ValueError, match="has both masks and surface points"):
        stages.fit(run, FIT, overwrite=True)


def test_an_artefact_of_an_older_version_is_refused(run, monkeypatch):
    monkeypatch.setattr("semquery.store.FORMAT", 2)
    monkeypatch.setattr("semquery.manifest.FORMAT", 2)
    with pytest.raises(RunError, match="format 1, this semquery reads format 2"):
        run.surface()
    with pytest.raises(RunError, match="format: 1 → 2"):
        stages.build_tree(run)


def test_names_by_hand_that_make_no_sense_are_refused(run, tmp_path):
    for text, message in [("{", "not JSON"), ("{}", "JSON object"), ('{"999": "x"}', "no part '999'"), ('{"0": 3}', "Part 0")]:
        (tmp_path / "names.json").write_text(text)
        with pytest.raises(ValueError, match=message):
            stages.label_by_hand(run, tmp_path / "names.json")
    with pytest.raises(ValueError, match="There is no file"):
        stages.label_by_hand(run, tmp_path / "nowhere.json")


def test_labels_say_they_are_measured(run):
    assert all(label.source == "rule" and "not understood" in label.thinking for label in run.labels().values())
    assert run.stage("label")["config"]["vlm"] == {"identity": "Appearance"}
