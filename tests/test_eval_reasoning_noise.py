"""Masks that are exact or broken in known ways, fused on meshes whose every face has a known label."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from eval.__main__ import main
from eval.objects import SCENES
from eval.reasoning.bodies import figure
from eval.reasoning.methods import METHODS, Right, found_by, label_of, measured, tree_of
from eval.reasoning.noise import ROWS, Bench, Cell, NoiseConfig, Row, cell_path, read_cell, run_noise, segmenter_of, write_cell
from eval.reasoning.report import all_table, margins, means
from eval.reasoning.subjects import Subject, body_subject, cut, object_subject, scan_subject, subjects
from eval.reasoning.views import oracle_of, regions_of, render_faces, seen_faces
from semquery.segmenter import Noisy, Oracle

ROW = {row.name: row for row in ROWS}
SIDE = 96


@cache
def body(grain: str) -> Subject:
    return body_subject(f"small-{grain}", *figure(0.035, 0.02), grain)


@cache
def bench(grain: str) -> Bench:
    return Bench(body(grain), SIDE)


def cubes(**changes) -> Subject:
    """Three boxes apart from each other, the first of which has every face twice, once reversed, and a triangle on an edge of it."""
    import trimesh

    boxes = [trimesh.creation.box((0.5, 0.5, 0.5)).apply_translation((x, 0, 0)) for x in (-1, 0, 1)]
    vertices = np.concatenate([*(box.vertices for box in boxes), [[-1, 0, 0.6]]])
    first, second, third = (box.faces + 8 * k for k, box in enumerate(boxes))
    a, b = np.flatnonzero((vertices[:8, 2] > 0) & (vertices[:8, 1] > 0))
    faces = np.concatenate([first, first[:, ::-1], [[a, b, 24]], second, third]).astype(np.int32)
    label = np.repeat([0, 1, 2], [25, 12, 12]).astype(np.int32)
    return replace(Subject("cubes", vertices, faces, "z", label, ("red", "green", "blue"), label), **changes)


# ------------------------------------------------------------------ subjects


@pytest.mark.parametrize("name", SCENES)
def test_an_objects_labels_are_the_names_of_what_owns_its_faces(name):
    scene, subject = SCENES[name](), object_subject(name, SCENES[name]())
    names = [scene.names[part].replace("_", " ").lower() for part in scene.part_of_face]
    assert [subject.labels[k] for k in subject.label_of_face] == names
    pairs = np.unique(np.stack([subject.piece_of_face, scene.part_of_face]), axis=1)
    assert pairs.shape[1] == len(np.unique(scene.part_of_face))  # a piece is a part that owns faces


@pytest.mark.parametrize("grain", ["coarse", "fine"])
def test_a_bodys_pieces_respect_the_borders_of_its_labels(grain):
    subject = body(grain)
    assert subject.num_labels == {"coarse": 4, "fine": 17}[grain]
    assert (np.bincount(subject.label_of_face, minlength=subject.num_labels) > 0).all()
    pairs = np.unique(np.stack([subject.piece_of_face, subject.label_of_face]), axis=1)
    assert pairs[0].tolist() == list(range(pairs.shape[1])) and pairs.shape[1] >= 60


def test_pieces_are_cut_where_the_label_changes():
    assert cut(np.array([5, 5, 5, 7]), np.array([0, 1, 0, 0])).tolist() == [0, 1, 0, 2]


def test_a_scan_is_labelled_from_its_file(tmp_path):
    import trimesh

    trimesh.Trimesh(*figure(0.035, 0.02), process=False).export(tmp_path / "someone.obj")
    subject = scan_subject(tmp_path / "someone.obj", "coarse")
    assert subject.name == "someone-coarse" and (subject.label_of_face == body("coarse").label_of_face).mean() > 0.99
    assert set(subjects((), tmp_path / "someone.obj")) == {"someone-coarse", "someone-fine"}


def test_subjects_that_there_are_not_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no subject dog; expected some of figure-coarse"):
        subjects(("chair", "dog"))
    with pytest.raises(ValueError, match="no mesh at"):
        subjects((), tmp_path / "none.obj")
    with pytest.raises(ValueError, match="nothing to measure on"):
        subjects(())


# ------------------------------------------------------------------ views


def test_the_oracle_finds_the_pixels_of_the_labels_in_every_view():
    subject = cubes()
    faces = render_faces(subject, "ring8", 64)
    for k, label in enumerate(subject.labels):
        for view in regions_of(oracle_of(subject, faces), faces, label):
            shown = np.isin(view.face, np.flatnonzero(subject.label_of_face == k))
            assert len(view.regions) == int(shown.any()) and all((region.mask == shown).all() for region in view.regions)
    seen = seen_faces(faces, len(subject.faces))
    assert set(np.flatnonzero(seen)) == {int(f) for face in faces.values() for f in np.unique(face)} - {-1}


def test_noise_in_pixels_follows_the_size_of_the_views():
    oracle = Oracle({"a": np.zeros((4, 4), np.int32)}, {"x": frozenset({0})})
    assert segmenter_of(oracle, ROW["exact"], 0, 128) is oracle
    scaled, share = segmenter_of(oracle, ROW["dilate 8 px"], 3, 128), segmenter_of(oracle, ROW["miss 30 %"], 3, 128)
    assert isinstance(scaled, Noisy) and (scaled.amount, scaled.seed) == (2, 3)
    assert isinstance(share, Noisy) and share.amount == 0.3


# ------------------------------------------------------------------ fusion, measured


def right_of(subject: Subject, row: Row, method: str, side: int = SIDE) -> Right:
    return Bench(subject, side).measure(row, 0, (method,))[0].right[method]


@pytest.mark.parametrize("row", ["exact", "exact, 32 views"])
@pytest.mark.parametrize("grain", ["coarse", "fine"])
def test_with_exact_masks_every_seen_face_of_a_body_is_right(grain, row):
    cell, _ = bench(grain).measure(ROW[row], 0, ("sum", "both", "robust", "robust-tree"))
    assert all(right.accuracy == right.seen == 1.0 for right in cell.right.values())
    assert cell.right["robust-tree"].miou == 1.0
    assert cell.right["robust"].miou >= (0.995 if row == "exact, 32 views" else 0.97)  # with unseen faces filled
    assert cell.right["sum"].miou < cell.right["robust"].miou


@pytest.mark.parametrize("name", ["scissors", "cabinet"])
def test_with_exact_masks_every_seen_face_of_an_object_is_right(name):
    assert right_of(object_subject(name, SCENES[name]()), ROW["exact"], "robust", 64).accuracy == 1.0


def test_many_pieces_faces_twice_and_edges_of_three_faces_are_no_obstacle():
    right = right_of(cubes(), ROW["exact"], "robust", 64)
    assert (right.accuracy, right.miou) == (1.0, 1.0)


@pytest.mark.parametrize("row", ["box", "speckle 10 %", "wrong part 40 %", "miss 60 %"])
@pytest.mark.parametrize("grain", ["coarse", "fine"])
def test_robust_bears_noise_at_least_as_well_as_what_is_published(grain, row):
    cell, _ = bench(grain).measure(ROW[row], 0, ("sum", "both", "satr", "robust"))
    for measure in ("seeable", "seen", "miou"):
        value = {method: getattr(right, measure) for method, right in cell.right.items()}
        assert value.pop("robust") >= max(value.values()) - 0.01


def test_published_weights_are_the_sum_where_there_are_none():
    subject = cubes()
    faces = render_faces(subject, "ring8", 64)
    regions = {label: regions_of(oracle_of(subject, faces), faces, label) for label in subject.labels}
    graph = bench_graph(subject)
    found = {method: label_of(found_by(method, graph, subject, regions)) for method in ("sum", "ggr", "vs", "both")}
    assert len({label.tobytes() for label in found.values()}) == 1  # exact masks: weights change scores and no label
    assert ((found["sum"] >= 0) == seen_faces(faces, len(subject.faces))).all()


def bench_graph(subject: Subject):
    from semquery.fusion.graph import mesh_graph

    return mesh_graph(subject.vertices, subject.faces)


def test_how_right_labels_are_is_counted_by_hand():
    found = np.array([[1, 1, 0, 0, 0], [0, 0, 1, 0, 0]], bool)
    truth, area = np.array([0, 0, 0, 1, 1], np.int32), np.array([1.0, 1, 2, 1, 5])
    seeable, seen = np.array([1, 1, 1, 1, 0], bool), np.array([1, 1, 1, 0, 0], bool)
    right = measured(found, truth, seeable, seen, area, False)
    assert right.miou == pytest.approx((2 / 3 + 0) / 2) and right.seeable == right.miou
    assert right.seen == pytest.approx(2 / 3)  # of the label that is seen at all
    assert right.area == pytest.approx((2 / 4 + 0) / 2) and right.accuracy == pytest.approx(2 / 3)


def test_queries_that_are_answered_alone_may_overlap():
    found = np.array([[1, 1, 1], [1, 1, 1]], bool)
    right = measured(found, np.array([0, 0, 1], np.int32), *[np.ones(3, bool)] * 2, np.ones(3), True)
    assert right.miou == pytest.approx((2 / 3 + 1 / 3) / 2) and right.accuracy == pytest.approx(3 / 6)
    assert measured(found, np.array([0, 0, 1], np.int32), *[np.ones(3, bool)] * 2, np.ones(3), False).miou == pytest.approx((2 / 3 + 0) / 2)


def test_the_tree_of_a_subject_has_its_pieces_under_one_root():
    tree = tree_of(cubes())
    assert tree.parents.tolist() == [3, 3, 3, 3] and tree.part_of_face.max() == 2


# ------------------------------------------------------------------ the run


def cell(subject: str, row: str, seed: int, **right: float) -> Cell:
    return Cell(subject, row, seed, 10, 2, 0.9, 1.0, {method: Right(x, x, x, x, x) for method, x in right.items()})


def test_the_margin_is_over_the_better_rival_on_the_worst_subject():
    cells = [cell("a", "box", 0, sum=0.5, satr=0.25, robust=0.75), cell("a", "box", 1, sum=0.25, satr=0.25, robust=0.75),
             cell("b", "box", 0, sum=0.5, satr=0.875, robust=0.75)]
    of = means(cells, "seeable")
    assert of == {"a": {"sum": 0.375, "satr": 0.25, "robust": 0.75}, "b": {"sum": 0.5, "satr": 0.875, "robust": 0.75}}
    assert margins(of) == {"a": 0.375, "b": -0.125}
    assert "-0.125 | b" in all_table(cells) and "0.750 ±0.000" in all_table(cells)


def test_a_cell_is_read_back_as_it_was_written(tmp_path):
    path, written = cell_path(tmp_path, "chair", ROW["miss 30 %"], 2), cell("chair", "miss 30 %", 2, sum=0.1, robust=0.3)
    assert path.name == "chair-miss-30-percent-2" and read_cell(path, ("sum",)) is None
    write_cell(path, written, {"sum": np.zeros(3, np.int32)})
    assert read_cell(path, ("sum", "robust")) == written
    assert read_cell(path, ("sum", "vs")) is None  # not measured yet
    path.with_name(path.name + ".json").write_text("{")
    assert read_cell(path, ("sum",)) is None


def test_rows_have_names_of_their_own_that_make_files_of_their_own(tmp_path):
    assert len({row.name for row in ROWS}) == len(ROWS) == len({cell_path(tmp_path, "a", row, 0) for row in ROWS})


def small(out, **changes) -> NoiseConfig:
    settings = {"subjects": ("scissors",), "rows": ("exact", "miss 60 %"), "methods": ("sum", "robust"), "seeds": (0, 1), "side": 64}
    return NoiseConfig(out, **{**settings, **changes})


def test_a_run_goes_on_from_what_is_kept(tmp_path, monkeypatch, capsys):
    first = run_noise(small(tmp_path, seeds=(0,)))
    assert [(c.row, c.seed) for c in first] == [("exact", 0), ("miss 60 %", 0)]
    measured_now, original = [], Bench.measure

    def measure(bench, row, seed, methods):
        measured_now.append((row.name, seed))
        return original(bench, row, seed, methods)

    monkeypatch.setattr(Bench, "measure", measure)
    again = run_noise(small(tmp_path))
    assert measured_now == [("miss 60 %", 1)] and again[:2] == first
    capsys.readouterr()
    run_noise(small(tmp_path))
    assert measured_now == [("miss 60 %", 1)]
    said = json.loads((tmp_path / "results.json").read_text())
    assert said["config"]["seeds"] == [0, 1] and len(said["cells"]) == 3
    text = (tmp_path / "noise.md").read_text()
    assert "| exact " in text and "| miss 60 %" in text and all(method in text for method in ("sum", "robust"))
    assert (tmp_path / "scissors.png").stat().st_size > 1000


def test_cells_of_other_settings_are_not_mixed_in(tmp_path):
    run_noise(small(tmp_path, rows=("exact",)))
    with pytest.raises(ValueError, match="other settings.*--overwrite"):
        run_noise(small(tmp_path, rows=("exact",), side=48))
    (cell,) = run_noise(small(tmp_path, rows=("exact",), side=48, overwrite=True))
    assert cell.right["robust"].accuracy == 1.0


def test_the_same_seed_gives_the_same_numbers(tmp_path):
    row = ROW["speckle 30 %"]
    one, two = (Bench(cubes(), 48).measure(row, 1, ("sum", "robust"))[0] for _ in range(2))
    assert one == two != Bench(cubes(), 48).measure(row, 2, ("sum", "robust"))[0]


def test_what_cannot_be_measured_is_refused(tmp_path, capsys):
    with pytest.raises(ValueError, match="no row 'fog'; expected some of 'exact'"):
        small(tmp_path, rows=("fog",))
    with pytest.raises(ValueError, match="at least one row"):
        small(tmp_path, seeds=())
    assert main(["reasoning", "noise", "--out", str(tmp_path), "--subjects", "dog"]) == 2
    assert "no subject dog" in capsys.readouterr().err


def test_all_methods_run_by_command(tmp_path, capsys):
    arguments = ["reasoning", "noise", "--out", str(tmp_path), "--subjects", "scissors", "--rows", "box", "--side", "48", "--seeds", "0"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert all(method in printed for method in METHODS)
