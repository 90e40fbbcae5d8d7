"""The FAUST protocol on a folder of the same layout that is made here, and bodies with geometric parts."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.__main__ import main
from eval.reasoning.bodies import COARSE, NUM_FINE, coarse_parts, distances, farthest, figure, fine_parts
from eval.reasoning.faust import LABELS, Scan, ceiling, face_labels, faust_scores, mesh_names, read_scans, scan_ious, vertex_labels
from eval.reasoning.protocol import FaustConfig, read_labels_of, run_faust
from semquery.fusion.graph import mesh_graph

# A strip of five vertices and three triangles; vertices 0 1 are an arm, 2 3 a head, 4 a torso.
OBJ = "v 0 0 0\nv 0 1 0\nv 1 0 0\nv 1 1 0\nv 2 0 0\nf 1 2 3\nf 2 4 3\nf 3 4 5\n"
NAMES = ["arm", "arm", "head", "head", "torso"]


def satr(folder, meshes=("a", "b"), **labels):
    (folder / "scans").mkdir(parents=True)
    for mesh in meshes:
        (folder / "scans" / f"{mesh}.obj").write_text(OBJ)
    (folder / "meshes.txt").write_text("".join(f"{mesh}.obj\n" for mesh in meshes))
    table = {mesh: labels.get(mesh, NAMES) for mesh in meshes}
    for file in ("coarse_gt.json", "fine_grained_gt.json"):
        (folder / file).write_text(json.dumps(table))
    return folder


def test_a_folder_in_satrs_layout_is_read(tmp_path):
    folder = satr(tmp_path / "faust", b=["belly_button"] * 5)
    assert mesh_names(folder) == ("a", "b")
    first, second = read_scans(folder, "fine")
    assert (first.name, first.vertices.shape, first.faces.tolist()) == ("a", (5, 3), [[0, 1, 2], [1, 3, 2], [2, 3, 4]])
    assert [LABELS["fine"][k] for k in first.label_of_vertex] == NAMES
    assert {LABELS["fine"][k] for k in second.label_of_vertex} == {"belly button"}


def test_the_last_face_that_touches_a_vertex_decides():
    faces = np.array([[0, 1, 2], [1, 3, 2], [2, 3, 4]])
    assert vertex_labels(np.array([7, 8, 9]), faces, 6).tolist() == [7, 8, 9, 9, 9, -1]


@given(st.lists(st.lists(st.integers(0, 6), min_size=3, max_size=3), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_vertex_labels_are_those_of_a_loop_over_faces(faces, random):
    labels, expected = [random.randrange(4) for _ in faces], [-1] * 7
    for face, label in zip(faces, labels, strict=True):
        for vertex in face:
            expected[vertex] = label
    assert vertex_labels(np.array(labels), np.array(faces), 7).tolist() == expected


@given(st.lists(st.integers(0, 2), min_size=3, max_size=3))
def test_a_face_takes_what_two_corners_agree_on(corners):
    found = face_labels(np.array(corners), np.array([[0, 1, 2]]))[0]
    assert found == (max(set(corners), key=corners.count) if len(set(corners)) < 3 else corners[0])


def test_the_ceiling_of_the_strip_is_counted_by_hand(tmp_path):
    scan = next(read_scans(satr(tmp_path / "faust"), "coarse"))
    # faces: arm, head, head; vertices by the last face: arm, head, head, head, head
    assert [LABELS["coarse"][k] for k in ceiling(scan)] == ["arm", "head", "head", "head", "head"]
    assert scan_ious(ceiling(scan), scan, "coarse") == pytest.approx([1 / 2, 2 / 4, np.nan, 0], nan_ok=True)


def test_means_are_over_labels_that_a_mesh_has_and_over_meshes_that_have_a_label():
    scores = faust_scores(np.array([[1.0, 0.5, np.nan], [0.0, np.nan, np.nan]]))
    assert scores.per_mesh == pytest.approx([0.75, 0.0]) and scores.mesh_mean == pytest.approx(0.375)
    assert scores.per_label == pytest.approx([0.5, 0.5, np.nan], nan_ok=True) and scores.overall == pytest.approx(0.5)


def test_perfect_labels_score_1_and_no_label_matches_nothing(tmp_path):
    scan = next(read_scans(satr(tmp_path / "faust"), "fine"))
    assert faust_scores(scan_ious(scan.label_of_vertex, scan, "fine")[None]).overall == 1
    assert faust_scores(scan_ious(np.full(5, -1), scan, "fine")[None]).overall == 0


def test_answers_are_taken_per_face_and_per_vertex(tmp_path, capsys):
    folder, answers = satr(tmp_path / "faust"), tmp_path / "answers"
    answers.mkdir()
    (answers / "a.json").write_text(json.dumps(NAMES))
    (answers / "b.json").write_text(json.dumps(["arm", "unknown", ""]))
    paths = ["--data", str(folder), "--answers", str(answers), "--out", str(tmp_path / "out")]
    assert main(["reasoning", "faust", *paths, "--grain", "coarse"]) == 0
    ious = json.loads((tmp_path / "out" / "results.json").read_text())["iou"]["answers"]
    assert ious == [[1, 1, None, 1], [0.5, 0, None, 0]]
    text = (tmp_path / "out" / "faust.md").read_text()
    assert "ceiling of the vertex rule" in text and "| arm " in text and text in capsys.readouterr().out


def test_without_answers_the_ceiling_alone_is_told(tmp_path):
    scores = run_faust(FaustConfig(satr(tmp_path / "faust"), tmp_path / "out", grain="coarse"))
    assert list(scores) == ["ceiling of the vertex rule"] and scores["ceiling of the vertex rule"].overall == pytest.approx(1 / 3)


def test_what_is_missing_or_strange_is_named(tmp_path):
    with pytest.raises(ValueError, match="There is no .*meshes.txt"):
        list(read_scans(tmp_path, "fine"))
    folder = satr(tmp_path / "one", a=[*NAMES[:4], "tail"])
    with pytest.raises(ValueError, match="a has the labels tail; expected some of arm"):
        list(read_scans(folder, "fine"))
    with pytest.raises(ValueError, match="5 vertices and 4 labels"):
        list(read_scans(satr(tmp_path / "two", a=NAMES[:4]), "fine"))
    folder = satr(tmp_path / "three")
    (folder / "scans" / "b.obj").unlink()
    with pytest.raises(ValueError, match="no b.obj"):
        read_scans(folder, "fine")
    (folder / "meshes.txt").write_text("c\n")
    (folder / "scans" / "c.obj").write_text(OBJ)
    with pytest.raises(ValueError, match="says nothing of c"):
        read_scans(folder, "fine")
    (folder / "coarse_gt.json").write_text("[]")
    with pytest.raises(ValueError, match="holds a list"):
        read_scans(folder, "coarse")
    scan = Scan("a", np.zeros((5, 3)), np.zeros((3, 3), np.int32), np.zeros(5, np.int32))
    with pytest.raises(ValueError, match="no answer"):
        read_labels_of(tmp_path / "x.json", scan, "fine")
    (tmp_path / "x.json").write_text('["arm"]')
    with pytest.raises(ValueError, match="holds 1 labels; expected one for each of 3 faces or 5 vertices"):
        read_labels_of(tmp_path / "x.json", scan, "fine")


# ------------------------------------------------------------------ bodies


@pytest.fixture(scope="module")
def body():
    return figure(0.03, 0.02)


def test_the_figure_is_one_closed_surface(body):
    import trimesh

    mesh = trimesh.Trimesh(*body, process=False)
    assert mesh.is_watertight and mesh.body_count == 1 and mesh.volume > 0
    assert np.ptp(body[0][:, 1]) == pytest.approx(1, abs=0.06)  # of unit height, along +y


def test_coarse_parts_lie_where_a_body_has_them(body):
    vertices, faces = body
    label, middle = coarse_parts(vertices, faces), vertices[faces].mean(1)
    mean = {name: middle[label == k] for k, name in enumerate(COARSE)}
    assert mean["head"][:, 1].min() > mean["torso"][:, 1].mean() > mean["leg"][:, 1].max()
    assert np.abs(mean["arm"][:, 0]).min() > 0.1
    left, right = (label == 0) & (middle[:, 0] < 0), (label == 0) & (middle[:, 0] > 0)
    assert 0.8 < left.sum() / right.sum() < 1.25


def test_fine_parts_are_the_cells_of_seeds_that_lie_far_apart(body):
    vertices, faces = body
    label = fine_parts(vertices, faces)
    assert len(label) == len(faces) and np.bincount(label, minlength=NUM_FINE).min() > 0
    graph = mesh_graph(vertices, faces)
    nearest, seeds = farthest(graph, 5, start=0)
    table = np.array([distances(graph, np.array([seed]))[0] for seed in seeds])
    assert seeds[0] == 0 and (nearest == table.argmin(0)).all()
    for k in range(1, 5):
        assert table[:k, seeds[k]].min() == table[:k].min(0).max()
